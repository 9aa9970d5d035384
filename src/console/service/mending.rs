//! Copies that are made again: of this Box's older snapshots, and of everything a former Box took, when a Box is removed or lost,
//! when a keeper was started anew, and whenever it turns out that some are missing.
//!
//! Each author sees to its own snapshots. A former author cannot, so the member that ranks first for it among those in reach of
//! each other does; when two think they are it, the work is done twice and nothing else. Newest first, one question at a time, never
//! while a snapshot is being taken.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Service;
use super::views::name_of;
use crate::author::{self, CatchUpError, Placement, Seen};
use crate::console::control::{FormerView, MendingView};
use crate::format::head::SignedHead;
use crate::keeper::{AskError, Keepers, MemberView, placement};
use crate::roster::{Member, Removal, Roster};
use crate::terms::{ChunkId, PeerKey, SnapshotNumber, Stamp};
use crate::world::{Clock, World};

/// Whatever nobody said: how often it is looked whether something is to be done.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Heads looked at in one go.
const PAGE: u64 = 100;

/// What the copies of former authors' and older snapshots have come to. One entry for each pair of members.
#[derive(Debug, Default)]
pub struct Mended {
    /// Grows when more has to be on those who remain.
    places: u64,
    /// When it last did.
    since: Option<Stamp>,
    done: BTreeMap<(PeerKey, PeerKey), Pass>,
    now: Option<MendingView>,
}

/// A keeper confirmed all of an author's snapshots up to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pass {
    places: u64,
    boot: u64,
    newest: SnapshotNumber,
}

/// Whether somebody who was a keeper before has to hold more now: then what was confirmed says too little.
pub fn places_more(before: &Roster, after: &Roster) -> bool {
    let remains = |member: &Member| {
        after
            .member(&member.key)
            .is_some_and(|now| now.site == member.site)
    };
    !before.members().iter().all(remains) || before.factors().0 < after.factors().0
}

/// An author's heads on this Box, newest first.
pub(super) struct Backwards {
    author: PeerKey,
    until: u64,
    page: Vec<SignedHead>,
}

impl Backwards {
    pub(super) const fn from(author: PeerKey, newest: SnapshotNumber) -> Self {
        Self {
            author,
            until: newest.0,
            page: Vec::new(),
        }
    }

    pub(super) async fn next<W: World>(&mut self, service: &Service<W>) -> Option<SignedHead> {
        loop {
            if let Some(head) = self.page.pop() {
                return Some(head);
            }
            if self.until == 0 {
                return None;
            }
            let after = self.until.saturating_sub(PAGE);
            let heads = service
                .store()
                .heads(Some(self.author), SnapshotNumber(after));
            match heads.await {
                Ok(mut heads) => {
                    heads.retain(|head| head.head.number.0 <= self.until);
                    self.page = heads;
                }
                Err(error) => tracing::warn!(%error, "heads of older snapshots cannot be read"),
            }
            self.until = after;
        }
    }
}

impl<W: World> Service<W> {
    /// Which placement counts now; it changes when keepers have to hold more.
    pub(super) fn places(&self) -> u64 {
        self.0.mended.borrow().places
    }

    /// Nobody's earlier word says enough any more.
    pub(super) fn places_changed(&self) {
        {
            let mut mended = self.0.mended.borrow_mut();
            mended.places += 1;
            mended.since = Some(self.world().clock().wall());
        }
        self.0.protection.borrow_mut().forget();
        self.0.proven.notify_waiters();
        for session in self
            .mesh()
            .map(crate::path::Mesh::sessions)
            .unwrap_or_default()
        {
            let service = self.clone();
            let peer = session.peer();
            self.world()
                .spawn(async move { service.prove_to_peer(peer).await });
        }
        self.0.mend.notify_one();
    }

    /// Looks after copies for as long as the service runs.
    pub(super) async fn keep_mending(self) {
        loop {
            let news = self.0.mend.notified();
            let clock = self.world().clock();
            clock.within(clock.idly(LOOK_AGAIN), news).await;
            if self.roster().member(&self.me()).is_none() {
                continue;
            }
            for (author, newest) in self.to_mend() {
                for (peer, boot) in self.in_reach() {
                    if peer == author || self.running_job().is_some() {
                        continue;
                    }
                    let pass = Pass {
                        places: self.places(),
                        boot,
                        newest,
                    };
                    if self.0.mended.borrow().done.get(&(author, peer)) == Some(&pass) {
                        continue;
                    }
                    let is_whole = self.mend(author, newest, peer).await;
                    let mut mended = self.0.mended.borrow_mut();
                    mended.now = None;
                    if is_whole && mended.places == pass.places {
                        mended.done.insert((author, peer), pass);
                    } else {
                        mended.done.remove(&(author, peer));
                    }
                }
            }
        }
    }

    /// This Box, and members with a live session; each with the process that speaks.
    fn in_reach(&self) -> Vec<(PeerKey, u64)> {
        let sessions = self
            .mesh()
            .map(crate::path::Mesh::sessions)
            .unwrap_or_default();
        let mut reach: Vec<_> = sessions
            .iter()
            .map(|session| (session.peer(), session.hello().boot))
            .collect();
        reach.push((self.me(), self.0.boot));
        reach
    }

    /// Authors this Box looks after, each with its newest snapshot known here.
    fn to_mend(&self) -> Vec<(PeerKey, SnapshotNumber)> {
        let mut newest = self.store().newest_heads();
        newest.retain(|(author, _)| {
            *author == self.me() || self.guardian_of(*author) == Some(self.me())
        });
        newest
    }

    /// Who looks after a former author: the first in its ranking of those in reach.
    fn guardian_of(&self, author: PeerKey) -> Option<PeerKey> {
        let former = self.roster().former();
        if !former.iter().any(|member| member.key == author) {
            return None;
        }
        let reach = self.in_reach();
        let members = self.keepers().members();
        let there: Vec<MemberView> = members
            .into_iter()
            .filter(|member| reach.iter().any(|(peer, _)| *peer == member.key))
            .collect();
        let ranked = placement::ranking(ChunkId(author.0), author, &there);
        ranked.first().copied()
    }

    /// Where an author's chunks belong.
    pub(super) fn placement_of(&self, author: PeerKey, without: Option<PeerKey>) -> Placement {
        let mut members = self.keepers().members();
        members.retain(|member| Some(member.key) != without);
        let (factor, _) = self.roster().factor_for(author, without);
        Placement { members, factor }
    }

    /// Has one keeper confirm or fetch its share of all snapshots of an author. Whether it has all of it now.
    async fn mend(&self, author: PeerKey, newest: SnapshotNumber, peer: PeerKey) -> bool {
        let (places, placement) = (self.places(), self.placement_of(author, None));
        let keyring = self.keyring();
        let mut view = MendingView {
            author: name_of(&self.roster(), author),
            keeper: name_of(&self.roster(), peer),
            ..MendingView::default()
        };
        let mut seen = Seen::default();
        let mut heads = Backwards::from(author, newest);
        let mut is_whole = true;
        while let Some(head) = heads.next(self).await {
            if self.places() != places || self.running_job().is_some() {
                return false;
            }
            view.number = head.head.number.0;
            self.0.mended.borrow_mut().now = Some(view.clone());
            let keepers = self.keepers();
            let done =
                author::catch_up_with(&keepers, &keyring, &head, &placement, &mut seen, peer).await;
            match done {
                Ok(done) => {
                    view.snapshots += 1;
                    view.chunks += done.confirmed;
                    is_whole &= done.has_head;
                }
                Err(CatchUpError::Away | CatchUpError::Ask(AskError::Gone)) => return false,
                Err(error) => {
                    is_whole = false;
                    tracing::warn!(author = %view.author, number = view.number, keeper = %view.keeper, %error,
                        "copies of a snapshot could not be made again");
                }
            }
        }
        tracing::info!(author = %view.author, keeper = %view.keeper, snapshots = view.snapshots, chunks = view.chunks, is_whole,
            "looked after the copies of all snapshots");
        is_whole
    }

    /// What copies are being made again now, and since when more had to be.
    pub(super) fn mending_view(&self) -> (Option<MendingView>, Option<i64>) {
        let mended = self.0.mended.borrow();
        (mended.now.clone(), mended.since.map(|since| since.seconds))
    }

    /// How the snapshots of former Boxes stand, as far as this Box looks after them.
    pub(super) fn former_views(&self) -> Vec<FormerView> {
        let roster = self.roster();
        let newest = self.store().newest_heads();
        let mended = self.0.mended.borrow();
        let view = |member: &Member| {
            let (_, number) = newest.iter().find(|(author, _)| *author == member.key)?;
            let guardian = self.guardian_of(member.key);
            let (factor, _) = roster.factor_for(member.key, None);
            let others = roster.members();
            let whole = others
                .iter()
                .filter(|other| {
                    let pass = mended.done.get(&(member.key, other.key));
                    pass.is_some_and(|pass| pass.places == mended.places && pass.newest == *number)
                })
                .count();
            let copies = usize::from(factor).saturating_sub(others.len() - whole);
            Some(FormerView {
                name: member.name.to_string(),
                is_lost: member.removed == Some(Removal::Lost),
                newest: number.0,
                looked_after_by: guardian.map(|guardian| name_of(&roster, guardian)),
                copies: (guardian == Some(self.me())).then_some(copies as u64),
                factor: u32::from(factor),
            })
        };
        roster.former().iter().filter_map(view).collect()
    }
}
