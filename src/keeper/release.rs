//! How a keeper gives up what an author does not need: it tells the author what it claims, takes its word, waits, and lets go.
//!
//! Invariants:
//! - A release counts only if its author claimed nothing here since it was told what it claims. So one that was late, or is shown again,
//!   meets nothing that was claimed after it was made.
//! - Nothing goes before the delay has passed, counted in time this keeper ran, and nothing of an author that is no member any more.
//! - Snapshots leave before their chunks do. What goes is named in the log, durably, before the table forgets it.
//! - The newest snapshot of an author that is known here never leaves.
//! - Between finding out that something may go and queueing the note that it goes nothing waits.

use super::holding::{Inner, Word};
use super::lived::LIVED_PATH;
use super::queue::{What, stride_of};
use super::refuse::StoreError;
use super::room::Need;
use super::store::Store;
use super::table::Prefix;
use crate::format::message::Refusal;
use crate::format::record::id_of;
use crate::format::release::{ClaimedPage, Freed, NotedRelease, SignedRelease, Waiting};
use crate::terms::canary::{self, Canary};
use crate::terms::limits::{CLAIMED_PAGE_MAX, RELEASE_NAMES_MAX, RELEASE_OPEN_HOURS};
use crate::terms::{AuthorIndex, PeerKey, SnapshotNumber};
use crate::world::{Clock, Disk, Entropy, World};

/// Places of the table that are looked at in one go.
const SLICE: usize = 2048;
const OPEN_SECONDS: u64 = RELEASE_OPEN_HOURS * 3600;

/// What an author gave up here and what waits for its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRelease {
    /// Whose.
    pub author: PeerKey,
    /// Tells it from an earlier one.
    pub group: u64,
    /// What it is and how long it still waits.
    pub waiting: Waiting,
    /// Bytes of all that the author claims here, these included.
    pub claimed_bytes: u64,
    /// The newest snapshot of those that leave.
    pub newest: Option<SnapshotNumber>,
}

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
    /// What an author claims here and has not given up, so many names behind one; and what of it waits.
    pub async fn claimed(&self, author: PeerKey, after: Option<Prefix>) -> ClaimedPage {
        let inner = self.inner();
        let mut page = ClaimedPage::default();
        let Ok(who) = inner.author(author) else {
            return page;
        };
        page.basis = inner.shared.state.borrow().groups.basis(who);
        let mut last: Option<(Prefix, u32)> = None;
        let mut seen = 0;
        let mut next = Some(after.unwrap_or_default());
        while let Some(from) = next.take() {
            let state = inner.shared.state.borrow();
            for (at, entry) in state.table.scan_from(&from).enumerate() {
                if at >= SLICE && entry.prefix != from {
                    next = Some(entry.prefix);
                    break;
                }
                let is_told = after.is_some_and(|after| entry.prefix <= after);
                let is_theirs = state.sets.contains(entry.claims, who);
                if is_told || !is_theirs || state.waits(entry.claims, who) {
                    continue;
                }
                match &mut last {
                    Some((prefix, bytes)) if *prefix == entry.prefix => {
                        *bytes = bytes.saturating_add(entry.record_bytes);
                        continue;
                    }
                    _ => {}
                }
                if let Some((prefix, bytes)) = last.replace((entry.prefix, entry.record_bytes)) {
                    page.push(&prefix, bytes);
                    seen += 1;
                }
                if seen == CLAIMED_PAGE_MAX {
                    (page.more, last, next) = (true, None, None);
                    break;
                }
            }
            drop(state);
            tokio::task::yield_now().await;
        }
        if let Some((prefix, bytes)) = last {
            page.push(&prefix, bytes);
        }
        page.waiting = inner.waiting(who);
        page
    }

    /// Takes an author's word for what it gives up; returns when it is durable. The caller knows that it is the author who speaks, and
    /// that it speaks to this keeper.
    pub async fn release(&self, signed: &SignedRelease) -> Result<(), StoreError> {
        let inner = self.inner();
        let _busy = inner.shared.enter();
        let release = &signed.release;
        let refused = |refusal| Err(StoreError::NotGivenUp(refusal));
        let who = inner.author(release.author)?;
        let answer = loop {
            let commit = inner.shared.next_commit();
            let (newest, is_coming) = {
                let state = inner.shared.state.borrow();
                let newest = state.heads.of(who).last().map(|head| head.number);
                (newest, state.groups.of(who).coming > 0)
            };
            if is_coming {
                // Whether it began a group must be known first.
                commit.await;
                continue;
            }
            if let Some(newest) = newest {
                if release.numbers.has(newest) {
                    return refused(Refusal::NewestStays);
                }
                if !inner.is_of_life(who, newest, release.incarnation).await? {
                    return refused(Refusal::OtherIncarnation);
                }
            }
            // From here to the queue nothing waits.
            let state = inner.shared.state.borrow();
            if state.heads.of(who).last().map(|head| head.number) != newest
                || state.groups.of(who).coming > 0
            {
                continue;
            }
            if state.groups.basis(who) != release.basis {
                return refused(Refusal::ClaimedSince);
            }
            let now = inner.world.clock().now();
            let life = inner.life.borrow();
            let at = life.seconds(now);
            let group = match &state.groups.of(who).group {
                Some(group) if at.saturating_sub(group.began) < OPEN_SECONDS => group.id,
                Some(group) => {
                    let seconds = life.waits(group.last, now);
                    return refused(Refusal::ReleaseWaits { seconds });
                }
                None if state.groups.is_stale(who) || state.groups.is_unnoted(who) => {
                    let seconds = super::LIVED_EVERY.as_secs();
                    return refused(Refusal::ReleaseWaits { seconds });
                }
                None => u64::from_le_bytes(inner.world.entropy().bytes()),
            };
            if !state.has_place_for_numbers(who, &release.numbers) {
                return Err(StoreError::HeadsFull);
            }
            let noted = NotedRelease {
                group,
                life: life.lived.life,
                lived_seconds: at,
                signed: signed.encode().into(),
            };
            drop((state, life));
            let bytes = noted.encode();
            inner
                .shared
                .check_room(stride_of(bytes.len()), Need::Claim, who)?;
            let id = id_of(&bytes);
            let what = What::Release {
                bytes,
                group,
                at,
                release: Box::new(release.clone()),
            };
            let author = (who, release.author);
            break inner.shared.queue(what, Need::Claim, author, id)?;
        };
        answer.wait().await?;
        inner.releases_changed.notify_one();
        Ok(())
    }

    /// The author says that it wants a snapshot: if that is to leave, all that was given up with it stays, durably.
    pub(super) async fn take_back(
        &self,
        author: PeerKey,
        number: SnapshotNumber,
    ) -> Result<(), StoreError> {
        let inner = self.inner();
        let who = inner.author(author)?;
        loop {
            let commit = inner.shared.next_commit();
            let is_settled = {
                let state = inner.shared.state.borrow();
                let of = state.groups.of(who);
                of.coming == 0 && of.leaving == 0
            };
            if is_settled {
                break;
            }
            // What is being written decides what there is to take back.
            commit.await;
        }
        inner.note_word(who, Word::Own);
        let is_leaving = {
            let state = inner.shared.state.borrow();
            let group = state.groups.of(who).group.as_ref();
            group.is_some_and(|group| group.numbers.has(number))
        };
        if is_leaving && let Some(noted) = inner.shared.void(who) {
            noted?.wait().await?;
            inner.releases_changed.notify_one();
        }
        Ok(())
    }

    /// What waits, of every author.
    #[must_use]
    pub fn waiting_releases(&self) -> Vec<WaitingRelease> {
        let inner = self.inner();
        let state = inner.shared.state.borrow();
        let waiting = state.groups.authors(state.groups.waiting());
        let view = |who: AuthorIndex| {
            let group = state.groups.of(who).group.as_ref()?;
            Some(WaitingRelease {
                author: state.authors.key(who)?,
                group: group.id,
                waiting: inner.waiting_of(&state, who)?,
                claimed_bytes: state.claimed_by(who),
                newest: group.numbers.iter().last().map(|(_, last)| last),
            })
        };
        waiting.filter_map(view).collect()
    }

    /// Resolves when what waits is not as it was when this was last asked.
    pub async fn releases_changed(&self) {
        self.inner().releases_changed.notified().await;
    }

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
    /// An author's own word changes what its releases must name.
    pub(super) fn note_word(&self, who: AuthorIndex, word: Word) {
        if word == Word::Own {
            self.shared.state.borrow_mut().groups.of_mut(who).claims += 1;
        }
    }

    fn waiting(&self, who: AuthorIndex) -> Option<Waiting> {
        self.waiting_of(&self.shared.state.borrow(), who)
    }

    fn waiting_of(&self, state: &super::state::State, who: AuthorIndex) -> Option<Waiting> {
        let of = state.groups.of(who);
        let group = of.group.as_ref()?;
        let now = self.world.clock().now();
        let life = self.life.borrow();
        let open_until = group.began.saturating_add(OPEN_SECONDS);
        Some(Waiting {
            numbers: group.numbers.clone(),
            chunks: of.chunks,
            bytes: of.bytes,
            effective_seconds: life.waits(group.last, now),
            open_seconds: open_until.saturating_sub(life.seconds(now)),
        })
    }

    /// Whether the newest snapshot here was taken in this life of its author.
    async fn is_of_life(
        &self,
        who: AuthorIndex,
        newest: SnapshotNumber,
        incarnation: [u8; 8],
    ) -> Result<bool, StoreError> {
        let places = self.shared.state.borrow().heads.at(who, newest).to_vec();
        for place in places {
            let head = self.read_head(place.location).await?;
            if head.is_some_and(|head| head.head.incarnation == incarnation) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a start found decides whether what waited before it still does.
    pub(super) fn looked_at_start(&self, mark: Option<[u8; 8]>) {
        let is_news = self.life.borrow().lived.damage != mark;
        if is_news && mark.is_some() {
            self.shared.void_all();
        }
        self.life.borrow_mut().mark = mark;
    }

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
            let state = self.shared.state.borrow();
            for (at, entry) in state.table.scan_from(&from).enumerate() {
                let is_enough = at >= SLICE || names.len() >= RELEASE_NAMES_MAX;
                if is_enough && entry.prefix != from {
                    next = Some(entry.prefix);
                    break;
                }
                if state.waits(entry.claims, who) && names.last() != Some(&entry.prefix) {
                    names.push(entry.prefix);
                }
            }
            drop(state);
            if names.len() >= RELEASE_NAMES_MAX {
                break;
            }
            tokio::task::yield_now().await;
        }
        (names, next)
    }
}
