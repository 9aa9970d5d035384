//! How a keeper lets go of what was given up, when its time was lived through.
//!
//! Invariants:
//! - Nothing goes before the delay has passed, counted in time this keeper ran, and nothing of an author that is no member any more.
//! - Snapshots leave before their chunks do, and the newest that is known here does not leave. What goes is named in the log, durably,
//!   before the table forgets it.
//! - Between finding out that something may go and queueing the note that it goes nothing waits.

use super::holding::Inner;
use super::lived::LIVED_PATH;
use super::refuse::StoreError;
use super::state::State;
use super::store::Store;
use super::table::Prefix;
use crate::format::release::Freed;
use crate::terms::canary::{self, Canary};
use crate::terms::limits::RELEASE_NAMES_MAX;
use crate::terms::{AuthorIndex, PeerKey};
use crate::world::{Clock, Disk, World};

/// Places of the table that are looked at in one go.
const SLICE: usize = 2048;

/// What became of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Whose.
    pub author: PeerKey,
    /// Snapshots that left.
    pub snapshots: u64,
    /// Chunks the author claims no more.
    pub chunks: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Nothing went: the author is no member any more.
    pub is_void: bool,
}

impl<W: World> Store<W> {
    /// Counts the time that was lived and lets go of what has waited for it; to be called every hour. `delay_days` is what people say.
    /// What could not be done is done the next time.
    pub async fn settle_releases(
        &self,
        delay_days: u16,
        is_member: impl Fn(PeerKey) -> bool,
    ) -> Vec<Settled> {
        let inner = self.inner();
        let mut settled = Vec::new();
        if inner.is_lost.get() {
            return settled;
        }
        inner.live_on(delay_days).await;
        inner.clear_marks().await;
        let waiting = {
            let state = inner.shared.state.borrow();
            state.groups.authors(state.groups.waiting())
        };
        for who in waiting {
            let key = inner.shared.state.borrow().authors.key(who);
            let Some(author) = key else {
                continue;
            };
            let became = if !is_member(author) {
                inner.let_nothing_go(who, author).await
            } else if inner.is_due(who) {
                inner.let_go(who, author).await
            } else {
                continue;
            };
            match became {
                Ok(became) => settled.push(became),
                Err(error) => {
                    tracing::warn!(author = %author.short(), %error, "what an author gave up could not be settled; it is tried again");
                }
            }
        }
        if !settled.is_empty() {
            inner.clear_marks().await;
            inner.releases_changed.notify_one();
        }
        settled
    }
}

impl<W: World> Inner<W> {
    /// Counts the time that was lived, durably; before that what must be known of groups that are over.
    async fn live_on(&self, delay_days: u16) {
        let unnoted = std::mem::take(&mut self.shared.state.borrow_mut().groups.unnoted);
        for (author, group) in unnoted {
            // One that fails is on the list again.
            if let Ok(noted) = self.shared.note_over(author, group) {
                let _told = noted.wait().await;
            }
        }
        loop {
            let commit = self.shared.next_commit();
            if self.shared.state.borrow().groups.noting == 0 {
                break;
            }
            commit.await;
        }
        let is_noted = self.shared.state.borrow().groups.unnoted.is_empty();
        let bytes = {
            let mut life = self.life.borrow_mut();
            life.look(self.world.clock().now());
            life.delay_is(delay_days);
            if is_noted {
                life.lived.damage = life.mark;
            }
            life.lived.encode()
        };
        if !self.is_at_home().await {
            return;
        }
        let disk = self.world.disk();
        if let Err(error) = disk.replace_small(LIVED_PATH, &bytes, false).await {
            tracing::debug!(%error, "how long this keeper has run is not written down");
        }
    }

    /// Clears what groups that are over left in the table.
    async fn clear_marks(&self) {
        let stale = {
            let state = self.shared.state.borrow();
            state.groups.authors(state.groups.stale())
        };
        for who in stale {
            let mut next = Some(Prefix::default());
            while let Some(from) = next.take() {
                next = self
                    .shared
                    .state
                    .borrow_mut()
                    .clear_marks(who, &from, SLICE);
                tokio::task::yield_now().await;
            }
            self.shared.state.borrow_mut().groups.is_clear(who);
        }
    }

    fn is_due(&self, who: AuthorIndex) -> bool {
        let state = self.shared.state.borrow();
        let of = state.groups.of(who);
        let Some(group) = of.group.as_ref().filter(|_| of.coming == 0) else {
            return false;
        };
        let now = self.world.clock().now();
        canary::sings(Canary::ReleaseAtOnce) || self.life.borrow().waits(group.last, now) == 0
    }

    async fn let_nothing_go(
        &self,
        who: AuthorIndex,
        author: PeerKey,
    ) -> Result<Settled, StoreError> {
        if let Some(noted) = self.shared.void(who) {
            noted?.wait().await?;
        }
        Ok(Settled {
            author,
            snapshots: 0,
            chunks: 0,
            bytes: 0,
            is_void: true,
        })
    }

    /// The time of a group has come.
    async fn let_go(&self, who: AuthorIndex, author: PeerKey) -> Result<Settled, StoreError> {
        let mut settled = Settled {
            author,
            snapshots: 0,
            chunks: 0,
            bytes: 0,
            is_void: false,
        };
        let (id, leave, claimed_before) = {
            let state = self.shared.state.borrow();
            let group = state.groups.of(who).group.as_ref();
            let id = group.map(|group| group.id);
            (id, state.may_leave(who), state.claimed_by(who))
        };
        let is_same = || {
            let state = self.shared.state.borrow();
            state.groups.of(who).group.as_ref().map(|group| group.id) == id
        };
        let (Some(over), true) = (id, is_same()) else {
            return Ok(settled);
        };
        settled.snapshots = leave.count();
        if !leave.is_empty() {
            let freed = Freed {
                numbers: leave,
                ..Freed::default()
            };
            self.shared.note(who, freed)?.wait().await?;
        }
        let mut next = Some(Prefix::default());
        while let Some(from) = next.take() {
            let (names, more) = self.given_up(who, from).await;
            next = more;
            // From here to the queue nothing waits.
            if !is_same() {
                // The author took it back.
                return Ok(settled);
            }
            let names: Vec<Prefix> = {
                let state = self.shared.state.borrow();
                let may_go = |prefix: &Prefix| state.may_go(prefix, who);
                names.into_iter().filter(may_go).collect()
            };
            if names.is_empty() {
                continue;
            }
            settled.chunks += names.len() as u64;
            let freed = Freed {
                names: names.concat().into(),
                ..Freed::default()
            };
            self.shared.note(who, freed)?.wait().await?;
        }
        if is_same() {
            self.shared.note_over(who, over)?.wait().await?;
        }
        let claimed = self.shared.state.borrow().claimed_by(who);
        settled.bytes = claimed_before.saturating_sub(claimed);
        Ok(settled)
    }

    /// Names an author gave up, so many from one on, and the name to go on from.
    async fn given_up(&self, who: AuthorIndex, from: Prefix) -> (Vec<Prefix>, Option<Prefix>) {
        let mut names: Vec<Prefix> = Vec::new();
        let mut next = Some(from);
        while let Some(from) = next.take() {
            next = self.shared.state.borrow().given_up(who, from, &mut names);
            if names.len() >= RELEASE_NAMES_MAX {
                break;
            }
            tokio::task::yield_now().await;
        }
        (names, next)
    }
}

impl State {
    /// Adds names an author gave up, of so many places of the table from one on; the name to go on from.
    fn given_up(&self, who: AuthorIndex, from: Prefix, names: &mut Vec<Prefix>) -> Option<Prefix> {
        for (at, entry) in self.table.scan_from(&from).enumerate() {
            let is_enough = at >= SLICE || names.len() >= RELEASE_NAMES_MAX;
            if is_enough && entry.prefix != from {
                return Some(entry.prefix);
            }
            if self.waits(entry.claims, who) && names.last() != Some(&entry.prefix) {
                names.push(entry.prefix);
            }
        }
        None
    }
}
