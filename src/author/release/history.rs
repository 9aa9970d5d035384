//! Every snapshot of this author that anybody in reach knows, and who lists it.
//!
//! Memory: a hundred bytes for each, and there are at most so many as one keeper lists.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::ReleaseError;
use super::forgotten::Forgotten;
use crate::author::numbers::State;
use crate::author::retention::Aged;
use crate::format::head::SignedHead;
use crate::format::runs::Runs;
use crate::keeper::{Ask, Keepers};
use crate::terms::limits::HEADS_MAX;
use crate::terms::{ChunkId, HeadHash, PeerKey, SnapshotNumber, Stamp};

/// What is to be known of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its place in the history.
    pub number: SnapshotNumber,
    /// Its head's name.
    pub hash: HeadHash,
    /// Which life of the author it comes from.
    pub incarnation: [u8; 8],
    /// Its manifest.
    pub manifest: ChunkId,
    /// When it was taken, as data.
    pub taken: Stamp,
    /// Whether `latest` may mean it.
    pub is_accepted: bool,
    /// Members that list it, by their places in [`History::members`].
    listed_by: u64,
}

impl Known {
    fn of(head: &SignedHead) -> Self {
        Self {
            number: head.head.number,
            hash: head.hash(),
            incarnation: head.head.incarnation,
            manifest: head.head.manifest,
            taken: head.head.taken,
            is_accepted: head.head.accepted,
            listed_by: 0,
        }
    }

    /// What the rule of retention goes by.
    #[must_use]
    pub const fn aged(&self) -> Aged {
        Aged {
            number: self.number,
            taken: self.taken,
            is_accepted: self.is_accepted,
        }
    }
}

/// All of them.
#[derive(Debug, Clone)]
pub struct History {
    me: PeerKey,
    /// Rising by number.
    snapshots: Vec<Known>,
    /// The members, sorted.
    members: Vec<PeerKey>,
    /// Those that told all they list.
    answered: Vec<PeerKey>,
}

impl History {
    /// Asks everybody in reach, and this Box's own memory.
    pub async fn collect<K: Keepers>(keepers: &K, state: &State) -> Self {
        let me = keepers.me();
        let mut found: BTreeMap<(SnapshotNumber, HeadHash), Known> = BTreeMap::new();
        let members: Vec<PeerKey> = keepers.members().iter().map(|one| one.key).collect();
        let mut answered = Vec::new();
        for (at, member) in members.iter().enumerate() {
            let Some(keeper) = keepers.reach(*member) else {
                continue;
            };
            let mark = 1 << at;
            let told = each_head(&keeper, me, |head| {
                let known = match found.entry((head.head.number, head.hash())) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => place.insert(Known::of(head)),
                };
                known.listed_by |= mark;
            });
            if told.await {
                answered.push(*member);
            }
        }
        // Signed, and perhaps not told to anybody yet.
        if let Some(head) = state.last().filter(|head| head.head.author == me) {
            let place = (head.head.number, head.hash());
            found.entry(place).or_insert_with(|| Known::of(&head));
        }
        Self {
            me,
            snapshots: found.into_values().collect(),
            members,
            answered,
        }
    }

    /// All, rising by number.
    #[must_use]
    pub fn snapshots(&self) -> &[Known] {
        &self.snapshots
    }

    /// Whether a member lists this.
    #[must_use]
    pub fn lists(&self, member: PeerKey, snapshot: &Known) -> bool {
        let at = self.members.iter().position(|one| *one == member);
        at.is_some_and(|at| snapshot.listed_by >> at & 1 == 1)
    }

    /// Whether a member told all it lists.
    #[must_use]
    pub fn has_answered(&self, member: PeerKey) -> bool {
        self.answered.contains(&member)
    }

    /// Whether all other members did. This Box's own keeper knows what it was told, and what this Box signed last stands elsewhere too.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let mut others = self.members.iter().filter(|one| **one != self.me);
        others.all(|one| self.answered.contains(one))
    }

    /// Whether what is known is all there is: the newest is the one this Box signed last. Where it has once lost its memory, a keeper that
    /// did not answer may know of one that it does not.
    pub fn check(&self, state: &State) -> Result<[u8; 8], ReleaseError> {
        let newest = self.snapshots.last().ok_or(ReleaseError::NothingYet)?;
        let last = state.last().ok_or(ReleaseError::MemoryBehind)?;
        if newest.number != last.head.number || newest.hash != last.hash() || self.is_twice(newest)
        {
            return Err(ReleaseError::MemoryBehind);
        }
        let incarnation = last.head.incarnation;
        let is_one_life = self
            .snapshots
            .iter()
            .all(|known| known.incarnation == incarnation);
        if !is_one_life && !self.is_complete() {
            return Err(ReleaseError::OthersMayKnow);
        }
        Ok(incarnation)
    }

    fn is_twice(&self, snapshot: &Known) -> bool {
        let others = self.snapshots.iter().rev().skip(1);
        others
            .take_while(|known| known.number >= snapshot.number)
            .next()
            .is_some()
    }

    /// Numbers of snapshots that were let go and that a keeper still lists. One that it shares with a snapshot that stays is not said.
    #[must_use]
    pub fn to_tell(&self, keeper: PeerKey, forgotten: &Forgotten) -> Runs {
        let is_gone = |known: &Known| forgotten.has(known.number, &known.hash);
        let stays = |number: SnapshotNumber| {
            let from = self.snapshots.partition_point(|one| one.number < number);
            let same = self.snapshots[from..].iter();
            let mut same = same.take_while(|one| one.number == number);
            same.any(|one| !is_gone(one))
        };
        let mut numbers = Runs::default();
        for known in &self.snapshots {
            if self.lists(keeper, known) && is_gone(known) && !stays(known.number) {
                numbers.add(known.number);
            }
        }
        numbers
    }
}

/// Every head of an author that a keeper lists; whether it told all of them.
pub(super) async fn each_head<A: Ask>(
    keeper: &A,
    author: PeerKey,
    mut sink: impl FnMut(&SignedHead),
) -> bool {
    let mut after = SnapshotNumber(0);
    for _ in 0..=HEADS_MAX {
        let Ok(heads) = keeper.heads(Some(author), after).await else {
            return false;
        };
        let Some(last) = heads.iter().map(|head| head.head.number).max() else {
            return true;
        };
        if last <= after {
            return false;
        }
        for head in heads.iter().filter(|head| head.head.author == author) {
            sink(head);
        }
        after = last;
    }
    false
}
