//! What of snapshots is on no Box any more, told: which of this Box's snapshots need it, and of those of former Boxes it looks after.
//! The newest one is taken again from the files themselves; older ones cannot be. Found while copies are looked after (`mending`), and
//! only where all others answered: a Box that is away may have what the others do not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Service;
use super::backwards::Backwards;
use crate::author::Lacks;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::terms::{ChunkId, HeadHash, PeerKey, SnapshotNumber};
use crate::world::{Moment, World};

/// What is lost does not come back by asking for it: keepers are asked for it no oftener than this, unless a Box comes back
/// or snapshots were let go.
const ASK_AGAIN: Duration = Duration::from_secs(3600);
/// Lost chunks that are noted: a mebibyte or two. Snapshots that lack others alone are not marked.
pub(super) const LOST_MAX: usize = 16_384;
/// Snapshots that are marked.
pub(super) const MARKED_MAX: usize = 4096;

/// One entry for each author that is looked after.
#[derive(Debug, Default)]
pub(super) struct Lacking(BTreeMap<PeerKey, Lack>);

/// What of one author's snapshots is on no Box.
#[derive(Debug, Default)]
struct Lack {
    /// As it was found when each keeper was asked last.
    by_keeper: BTreeMap<PeerKey, Asked>,
    /// Snapshots that need any of it.
    marked: BTreeMap<HeadHash, SnapshotNumber>,
    /// Looked into for it are snapshots up to this one,
    looked_to: u64,
    /// for these chunks.
    looked_for: BTreeSet<ChunkId>,
}

/// What came of asking a keeper.
#[derive(Debug)]
struct Asked {
    /// What belongs there and is on no Box.
    lost: BTreeSet<ChunkId>,
    ground: Ground,
    /// Asked was for snapshots up to this one.
    newest: SnapshotNumber,
    /// When all of them were.
    since: Moment,
    /// Whether that says too little by now.
    is_old: bool,
}

/// When an answer no longer says enough: placement, and the keeper's own mark.
pub(super) type Ground = (u64, u64);

impl Lacking {
    /// Up to which snapshot nobody has to be asked again, though something is lost.
    pub(super) fn stands_to(
        &self,
        (author, keeper): (PeerKey, PeerKey),
        ground: Ground,
        now: Moment,
    ) -> Option<SnapshotNumber> {
        let asked = self.0.get(&author)?.by_keeper.get(&keeper)?;
        let is_young = now.since(asked.since) < ASK_AGAIN && !asked.is_old;
        (!asked.lost.is_empty() && asked.ground == ground && is_young).then_some(asked.newest)
    }

    /// Whether it is known of this run that nothing that belongs to a keeper is lost.
    pub(super) fn is_known_whole(&self, (author, keeper): (PeerKey, PeerKey)) -> bool {
        let lack = self.0.get(&author);
        lack.is_some_and(|lack| {
            let asked = lack.by_keeper.get(&keeper);
            asked.is_some_and(|asked| asked.lost.is_empty())
        })
    }

    /// A keeper was asked for snapshots up to `newest`: all of them, or those `since_before` alone.
    pub(super) fn note(
        &mut self,
        (author, keeper): (PeerKey, PeerKey),
        mut lost: BTreeSet<ChunkId>,
        (ground, newest): (Ground, SnapshotNumber),
        (since_before, now): (bool, Moment),
    ) {
        let lack = self.0.entry(author).or_default();
        let mut asked = Asked {
            lost: BTreeSet::new(),
            ground,
            newest,
            since: now,
            is_old: false,
        };
        if let Some(before) = lack.by_keeper.remove(&keeper).filter(|_| since_before) {
            lost.extend(before.lost);
            asked.since = before.since;
            asked.is_old = before.is_old;
        }
        let room = LOST_MAX.saturating_sub(self.sizes().0);
        while lost.len() > room {
            lost.pop_last();
        }
        asked.lost = lost;
        let lack = self.0.entry(author).or_default();
        lack.by_keeper.insert(keeper, asked);
    }

    /// A Box came back and may have what was nowhere, or less is needed.
    pub(super) fn ask_anew(&mut self) {
        let asked = self.0.values_mut();
        let asked = asked.flat_map(|lack| lack.by_keeper.values_mut());
        asked.for_each(|asked| asked.is_old = true);
    }

    /// Whether a snapshot lacks anything.
    pub(super) fn is_in(&self, author: PeerKey, head: &HeadHash) -> bool {
        let lack = self.0.get(&author);
        lack.is_some_and(|lack| lack.marked.contains_key(head))
    }

    /// Chunks and marks that are noted.
    pub(super) fn sizes(&self) -> (usize, usize) {
        let asked = self.0.values().flat_map(|lack| lack.by_keeper.values());
        let marked = self.0.values().map(|lack| lack.marked.len());
        (asked.map(|asked| asked.lost.len()).sum(), marked.sum())
    }

    /// All lost chunks.
    pub(super) fn lost(&self) -> BTreeSet<ChunkId> {
        self.0.values().flat_map(Lack::lost).collect()
    }
}

impl Lack {
    fn lost(&self) -> BTreeSet<ChunkId> {
        let lost = self.by_keeper.values().flat_map(|asked| &asked.lost);
        lost.copied().collect()
    }
}

impl<W: World> Service<W> {
    /// What came of asking a keeper for an author's snapshots is known: marks those that lack something and tells of it. What could not
    /// be looked into is looked into the next time.
    pub(super) async fn mark_what_lacks(&self, author: PeerKey, newest: SnapshotNumber) {
        let members: BTreeSet<_> = self.roster().members().iter().map(|m| m.key).collect();
        let Some((lost, after)) = self.begin_marking(author, &members).await else {
            return;
        };
        let is_over = lost.is_empty()
            || self
                .mark(author, (SnapshotNumber(after), newest), &lost)
                .await;
        let (marked, is_known) = {
            let mut lacking = self.0.lacking.borrow_mut();
            let Some(lack) = lacking.0.get_mut(&author) else {
                return;
            };
            if is_over {
                lack.looked_to = newest.0;
            }
            let mut others = members.iter().filter(|key| **key != author);
            let is_known = is_over && others.all(|key| lack.by_keeper.contains_key(key));
            let marked: Vec<_> = lack.marked.values().copied().collect();
            (marked, is_known)
        };
        self.tell_lacking(author, &marked, (is_over, is_known));
    }

    /// Lost chunks to look for, and behind which snapshot. Marks of what was let go are dropped.
    async fn begin_marking(
        &self,
        author: PeerKey,
        members: &BTreeSet<PeerKey>,
    ) -> Option<(BTreeSet<ChunkId>, u64)> {
        let forgotten = self.forgotten().await;
        let is_mine = author == self.me();
        let mut lacking = self.0.lacking.borrow_mut();
        let lack = lacking.0.get_mut(&author)?;
        lack.by_keeper.retain(|keeper, _| members.contains(keeper));
        let lost = lack.lost();
        if lack.looked_for != lost {
            lack.marked.clear();
            lack.looked_to = 0;
            lack.looked_for.clone_from(&lost);
        }
        let is_left = |head: &HeadHash, number| !is_mine || !forgotten.has(number, head);
        lack.marked.retain(|head, number| is_left(head, *number));
        Some((lost, lack.looked_to))
    }

    /// Looks into an author's snapshots between two numbers, the newest first. Whether that came to its end.
    async fn mark(
        &self,
        author: PeerKey,
        (after, newest): (SnapshotNumber, SnapshotNumber),
        lost: &BTreeSet<ChunkId>,
    ) -> bool {
        let (places, keepers, keyring) = (self.places(), self.patient(), self.keyring());
        let mut lacks = Lacks::of(lost);
        let mut heads = Backwards::from(author, newest);
        let mut is_known = true;
        while let Some(head) = heads.next(self).await {
            if self.is_busy() || self.places() != places {
                return false;
            }
            if head.head.number <= after {
                break;
            }
            if self.has_let_go(&head).await {
                continue;
            }
            match lacks.is_in(&keepers, &keyring, &head).await {
                Ok(false) => {}
                // What this Box's files still are is sent again with its next snapshot: then it is seen what is left.
                Ok(true) if author == self.me() && head.head.number == newest => {
                    self.0.lacking.borrow_mut().ask_anew();
                    return false;
                }
                Ok(true) => self.note_mark(author, head.hash(), head.head.number),
                Err(error) => {
                    tracing::debug!(%error, "whether a snapshot lacks anything is not known");
                    is_known = false;
                }
            }
        }
        is_known
    }

    fn note_mark(&self, author: PeerKey, head: HeadHash, number: SnapshotNumber) {
        let mut lacking = self.0.lacking.borrow_mut();
        let has_room = lacking.sizes().1 < MARKED_MAX;
        if let Some(lack) = lacking.0.get_mut(&author).filter(|_| has_room) {
            lack.marked.insert(head, number);
        }
    }

    /// Goes on where marking did not come to its end.
    pub(super) async fn mark_the_rest(&self, authors: &[(PeerKey, SnapshotNumber)]) {
        for (author, newest) in authors {
            let is_open = {
                let lacking = self.0.lacking.borrow();
                let lack = lacking.0.get(author);
                lack.is_some_and(|lack| !lack.looked_for.is_empty() && lack.looked_to < newest.0)
            };
            if is_open && !self.is_busy() {
                self.mark_what_lacks(*author, *newest).await;
            }
        }
    }

    /// What stood in an earlier run stands until everybody was asked. When more snapshots lack something than was told, that is news.
    fn tell_lacking(
        &self,
        author: PeerKey,
        marked: &[SnapshotNumber],
        (is_over, is_known): (bool, bool),
    ) {
        let subject = if author == self.me() {
            Subject::Itself
        } else {
            Subject::Peer(author)
        };
        let (kind, reporter) = (EventKind::SnapshotsLacking, self.reporter());
        if let Some(newest) = marked.iter().max() {
            let count = marked.len() as u64;
            let told = reporter.count_of(kind, &subject);
            if is_over && told.is_some_and(|told| told < count) {
                let why = [EventFact::new(
                    FactName::Reason,
                    "more of them do than was told",
                )];
                reporter.clear(kind, &subject, &why);
            }
            let facts = [
                EventFact::new(FactName::Count, count),
                EventFact::new(FactName::Number, newest.0),
            ];
            reporter.raise(kind, subject, &facts);
        } else if is_known {
            reporter.clear(kind, &subject, &[]);
        }
    }

    /// What a keeper confirmed to an earlier run stands: nothing that belongs there was nowhere.
    pub(super) async fn nothing_lacks(
        &self,
        pair: (PeerKey, PeerKey),
        noted: (Ground, SnapshotNumber),
    ) {
        if self.0.lacking.borrow().is_known_whole(pair) {
            return;
        }
        let moment = self.now().moment;
        {
            let mut lacking = self.0.lacking.borrow_mut();
            lacking.note(pair, BTreeSet::new(), noted, (false, moment));
        }
        self.mark_what_lacks(pair.0, noted.1).await;
    }

    /// What others look after now, or nobody has to any more, is no concern of this Box.
    pub(super) fn lacking_only_of(&self, authors: &[(PeerKey, SnapshotNumber)]) {
        let is_here = |author: &PeerKey| authors.iter().any(|(of, _)| of == author);
        let mut lacking = self.0.lacking.borrow_mut();
        lacking.0.retain(|author, _| is_here(author));
        drop(lacking);
        let kind = EventKind::SnapshotsLacking;
        for subject in self.reporter().subjects_of(kind) {
            let author = match &subject {
                Subject::Peer(author) => *author,
                Subject::Itself
                | Subject::DataSet(_)
                | Subject::Snapshot(_)
                | Subject::Chunk(_)
                | Subject::Reserve => continue,
            };
            if !is_here(&author) {
                self.reporter().clear(kind, &subject, &[]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: (PeerKey, PeerKey) = (PeerKey([1; 32]), PeerKey([2; 32]));
    const GROUND: Ground = (3, 7);
    const NEWEST: SnapshotNumber = SnapshotNumber(9);

    fn at(minutes: u64) -> Moment {
        Moment(Duration::from_secs(minutes * 60))
    }

    fn chunks(many: u16) -> BTreeSet<ChunkId> {
        let id = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let mut id = [0; 32];
            (id[0], id[1]) = (high, low);
            ChunkId(id)
        };
        (0..many).map(id).collect()
    }

    #[test]
    fn what_is_lost_is_asked_for_again_after_an_hour_or_when_that_may_help() {
        let mut lacking = Lacking::default();
        lacking.note(PAIR, chunks(1), (GROUND, NEWEST), (false, at(0)));
        let stands =
            |lacking: &Lacking, ground, minute| lacking.stands_to(PAIR, ground, at(minute));
        assert_eq!(stands(&lacking, GROUND, 59), Some(NEWEST));
        assert_eq!(stands(&lacking, GROUND, 60), None, "an hour is over");
        assert_eq!(stands(&lacking, (4, 7), 1), None, "others belong");
        assert_eq!(
            stands(&lacking, (3, 8), 1),
            None,
            "the keeper lost something"
        );
        // Newer snapshots alone were asked for: the hour of the others goes on.
        let newer = SnapshotNumber(10);
        lacking.note(PAIR, BTreeSet::new(), (GROUND, newer), (true, at(50)));
        assert_eq!(stands(&lacking, GROUND, 59), Some(newer));
        assert_eq!(stands(&lacking, GROUND, 60), None);
        assert_eq!(lacking.lost(), chunks(1));
        lacking.ask_anew();
        assert_eq!(stands(&lacking, GROUND, 51), None, "a Box came back");
        // All of it is there again.
        lacking.note(PAIR, BTreeSet::new(), (GROUND, newer), (false, at(51)));
        assert_eq!(
            stands(&lacking, GROUND, 51),
            None,
            "then it is confirmed, and no lack stands"
        );
        assert!(lacking.lost().is_empty() && lacking.is_known_whole(PAIR));
    }

    #[test]
    fn however_much_is_lost_no_more_is_noted_than_there_is_room_for() {
        let mut lacking = Lacking::default();
        for keeper in (0..20).chain(0..20) {
            let pair = (PAIR.0, PeerKey([keeper; 32]));
            lacking.note(pair, chunks(1024), (GROUND, NEWEST), (false, at(0)));
        }
        assert_eq!(lacking.sizes().0, LOST_MAX);
    }
}
