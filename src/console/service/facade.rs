//! What may be asked of a running service without the control socket: by stories of the simulated world, as a person would.
//!
//! Nothing is decided here. What the socket offers is `control`; both call the same functions.

use std::collections::BTreeSet;

use super::job::Asked;
use super::lacking::{LOST_MAX, MARKED_MAX};
use super::{Compared, Directory, Service};
use crate::console::cli::Guests;
use crate::console::control::{
    ConflictView, CopiesView, ForgetCall, ForgetView, JobOutcome, Removal, RemovedView,
    SnapshotOutcome, SweepView, TicketView,
};
use crate::console::fault::Fault;
use crate::format::head::SignedHead;
use crate::keeper::{Bounded, StoreFigures};
use crate::retriever::Gather;
use crate::session::Pool;
use crate::terms::limits::{
    EVENTS_STANDING_MAX, MEMBERS_MAX, RECEIVE_POOL_BYTES, ROSTER_BYTES_MAX,
};
use crate::terms::{ChunkId, PeerKey};
use crate::world::World;

/// A Box's newest snapshot, and what this Box would say of it now.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Which.
    pub head: SignedHead,
    /// Other Boxes that hold each of its chunks, at least.
    pub copies: u32,
    /// How many should.
    pub factor: u32,
    /// Below this nothing is called protected.
    pub factor_min: u32,
}

impl Shown {
    /// Whether people are told that it is protected.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.copies >= self.factor_min
    }
}

impl<W: World> Service<W> {
    /// Who this Box is.
    #[must_use]
    pub fn key(&self) -> PeerKey {
        self.me()
    }

    /// How its newest snapshot stands, as `reserve status` says it.
    pub async fn shown(&self) -> Option<Shown> {
        let (head, standing) = self.standing().await?;
        let (factor, factor_min) = self.roster().factors();
        Some(Shown {
            head,
            copies: standing.copies,
            factor: u32::from(factor),
            factor_min: u32::from(factor_min),
        })
    }

    /// Where chunks come from, as for `reserve retrieve`.
    #[must_use]
    pub fn source(&self) -> Gather<Directory<W>, W> {
        self.gather()
    }

    /// A one-time ticket, as `reserve invite` prints it.
    ///
    /// # Errors
    /// A sentence for people.
    pub async fn ticket(&self) -> Result<TicketView, Fault> {
        self.invite().await
    }

    /// `reserve snapshot --wait`.
    ///
    /// # Errors
    /// A sentence for people.
    pub async fn take_now(&self, accept_loss: bool) -> Result<SnapshotOutcome, Fault> {
        let asked = Asked {
            accept_loss,
            try_anyway: false,
            only_news: false,
        };
        match self.begin_snapshot(asked).await?.ended().await? {
            JobOutcome::Snapshot(outcome) => Ok(self.until_protected(*outcome).await),
            other => Err(not_of_it(&other)),
        }
    }

    /// `reserve conflicts --choose ID`.
    ///
    /// # Errors
    /// A sentence for people.
    pub async fn decide(&self, id: &str) -> Result<Vec<ConflictView>, Fault> {
        self.choose(id).await
    }

    /// `reserve sweep --now`.
    ///
    /// # Errors
    /// A sentence for people.
    pub async fn sweep_now(&self) -> Result<SweepView, Fault> {
        match self.begin_sweep().ended().await? {
            JobOutcome::Sweep(view) => Ok(view),
            other => Err(not_of_it(&other)),
        }
    }

    /// `reserve forget`.
    ///
    /// # Errors
    /// A sentence for people.
    pub async fn forget(&self, call: ForgetCall) -> Result<ForgetView, Fault> {
        match self.begin_forgetting_as(call)?.ended().await? {
            JobOutcome::Forgotten(view) => Ok(view),
            other => Err(not_of_it(&other)),
        }
    }

    /// `reserve remove NAME`, of somebody who knows all Boxes as their own; `forced` says it in full words.
    ///
    /// # Errors
    /// A sentence for people.
    pub async fn remove_box(
        &self,
        name: &str,
        lost: bool,
        forced: bool,
    ) -> Result<RemovedView, Fault> {
        let asked = Removal {
            name: name.into(),
            lost,
            forced,
            this_box: false,
            guests: lost.then_some(Guests::Keep),
        };
        match self.begin_leaving(&asked)?.ended().await? {
            JobOutcome::Removed(view) => Ok(view),
            other => Err(not_of_it(&other)),
        }
    }

    /// `reserve config set KEY VALUE`.
    ///
    /// # Errors
    /// A sentence for people.
    pub async fn change_setting(&self, key: &str, value: &str) -> Result<(), Fault> {
        self.set_config(key, value).await.map(drop)
    }

    /// Days within which everything is read again, as this Box has been told.
    #[must_use]
    pub fn sweep_period_days(&self) -> u16 {
        self.roster().sweep_period_days()
    }

    /// Warnings and failures that stand: of which kind each is, and what people are told.
    #[must_use]
    pub fn standing_now(&self) -> Vec<(String, String)> {
        let events = self.standing_events();
        events
            .into_iter()
            .map(|event| (event.kind, event.text))
            .collect()
    }

    /// Chunks of this Box's store that are damaged, or that people are told are.
    pub async fn damaged_chunks_now(&self) -> BTreeSet<ChunkId> {
        let known = self.store().damaged_chunks().await.into_iter();
        let told = self.damaged_told().into_iter();
        told.chain(known.map(|(id, _)| id)).collect()
    }

    /// Chunks of snapshots that this Box says are on no Box.
    #[must_use]
    pub fn lost_now(&self) -> BTreeSet<ChunkId> {
        self.0.lacking.borrow().lost()
    }

    /// All that is bounded in memory: how much there is now, and the most there may be.
    #[must_use]
    pub fn bounded_now(&self) -> Vec<Bounded> {
        let mut bounded = self.store().bounded();
        let mut add = |what, now: usize, most: usize, ends| {
            let (now, most) = (now as u64, most as u64);
            bounded.push(Bounded {
                what,
                now,
                most,
                ends,
            });
        };
        let taken = |pool: &Pool| pool.bytes() - pool.free_bytes();
        let (pool, guests) = (&self.0.pool, &self.0.guests_pool);
        add(
            "bytes that members bring",
            taken(pool),
            RECEIVE_POOL_BYTES,
            true,
        );
        add(
            "bytes that guests bring",
            taken(guests),
            ROSTER_BYTES_MAX,
            true,
        );
        add("sessions", self.in_touch().len(), MEMBERS_MAX, false);
        let (lost, marked) = self.0.lacking.borrow().sizes();
        add("chunks that are on no Box", lost, LOST_MAX, false);
        add("snapshots that lack something", marked, MARKED_MAX, false);
        let standing = self.reporter().standing().len();
        add(
            "conditions that stand",
            standing,
            EVENTS_STANDING_MAX,
            false,
        );
        bounded
    }

    /// How many copies there are of what is kept here, as `reserve status` says it; `None` before anything was compared.
    #[must_use]
    pub fn copies_now(&self) -> Option<CopiesView> {
        self.copies_view()
    }

    /// What comparing with other keepers came to in this run.
    #[must_use]
    pub fn compared_now(&self) -> Compared {
        self.compared()
    }

    /// The figures of this Box's store.
    #[must_use]
    pub fn store_now(&self) -> StoreFigures {
        self.store().figures()
    }

    /// Places in the store that are known to be damaged.
    #[must_use]
    pub fn damaged_now(&self) -> u64 {
        self.store().figures().damaged
    }

    /// Members there is a live session with.
    #[must_use]
    pub fn in_touch(&self) -> Vec<PeerKey> {
        let sessions = self.mesh().map(crate::path::Mesh::sessions);
        let sessions = sessions.unwrap_or_default();
        sessions.iter().map(|session| session.peer()).collect()
    }
}

/// No job ends as one of another sort does.
fn not_of_it(outcome: &JobOutcome) -> Fault {
    Fault::new(
        format!("a job ended as one of another sort: {outcome:?}"),
        "What it did stays.",
        "This is a mistake of the program: tell its makers.",
    )
}
