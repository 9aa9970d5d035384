//! How an author gives up what it does not need: the keeper tells it what it claims, takes its word, and lets it be taken back.
//!
//! Invariants:
//! - A release counts only if its author claimed nothing here since it was told what it claims. So one that was late, or is shown again,
//!   meets nothing that was claimed after it was made.
//! - Nobody gives up the newest snapshot of an author that is known here.
//! - What is said again, or taken back, is durable before the yes.

use super::holding::{Inner, Word};
use super::queue::{What, stride_of};
use super::refuse::StoreError;
use super::room::Need;
use super::state::State;
use super::store::Store;
use super::table::Prefix;
use crate::format::message::Refusal;
use crate::format::record::id_of;
use crate::format::release::{ClaimedPage, NotedRelease, SignedRelease, Waiting};
use crate::terms::limits::RELEASE_OPEN_HOURS;
use crate::terms::{AuthorIndex, PeerKey, SnapshotNumber};
use crate::world::{Clock, Entropy, World};

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
    /// How many snapshots are here that are newer than that.
    pub newer: u64,
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
        let mut told = Told {
            page: &mut page,
            last: None,
            after,
        };
        let mut next = Some(after.unwrap_or_default());
        while let Some(from) = next.take() {
            next = told.tell(&inner.shared.state.borrow(), who, from);
            tokio::task::yield_now().await;
        }
        if let Some((prefix, bytes)) = told.last {
            page.push(&prefix, bytes);
        }
        page.waiting = inner.waiting(who);
        page
    }

    /// Takes an author's word for what it gives up; returns when it is durable. The caller knows that it is the author who speaks, and
    /// that it speaks to this keeper.
    pub async fn release(&self, signed: &SignedRelease) -> Result<(), StoreError> {
        let inner = self.inner();
        let busy = inner.shared.enter();
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
        drop(busy);
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
            let newest = group.numbers.iter().last().map(|(_, last)| last);
            let newer = newest.map_or(0, |newest| state.heads.after(who, newest).len());
            Some(WaitingRelease {
                author: state.authors.key(who)?,
                group: group.id,
                waiting: inner.waiting_of(&state, who)?,
                claimed_bytes: state.claimed_by(who),
                newest,
                newer: newer as u64,
            })
        };
        waiting.filter_map(view).collect()
    }

    /// Resolves when what waits is not as it was when this was last asked.
    pub async fn releases_changed(&self) {
        self.inner().releases_changed.notified().await;
    }
}

/// A page of claims as it is filled.
struct Told<'a> {
    page: &'a mut ClaimedPage,
    /// The last name, which another chunk may have too.
    last: Option<(Prefix, u32)>,
    after: Option<Prefix>,
}

impl Told<'_> {
    /// Tells what so many places of the table have from a name on; the name to go on from.
    fn tell(&mut self, state: &State, who: AuthorIndex, from: Prefix) -> Option<Prefix> {
        for (at, entry) in state.table.scan_from(&from).enumerate() {
            if at >= SLICE && entry.prefix != from {
                return Some(entry.prefix);
            }
            let is_told = self.after.is_some_and(|after| entry.prefix <= after);
            let is_theirs = state.sets.contains(entry.claims, who);
            if is_told || !is_theirs || state.waits(entry.claims, who) {
                continue;
            }
            if let Some((prefix, bytes)) = &mut self.last
                && *prefix == entry.prefix
            {
                *bytes = bytes.saturating_add(entry.record_bytes);
                continue;
            }
            let before = self.last.replace((entry.prefix, entry.record_bytes));
            if let Some((prefix, bytes)) = before {
                self.page.push(&prefix, bytes);
            }
            if self.page.is_full() {
                (self.page.more, self.last) = (true, None);
                return None;
            }
        }
        None
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

    fn waiting_of(&self, state: &State, who: AuthorIndex) -> Option<Waiting> {
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
}
