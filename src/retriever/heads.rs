//! What can be retrieved: heads collected from every keeper that can be reached. Asks and merges; decides nothing for people.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::together::Together;
use crate::format::head::SignedHead;
use crate::format::roster::Choice;
use crate::keeper::{Ask, Keepers};
use crate::monitor::{Latest, judge, judged_after};
use crate::terms::canary::{self, Canary};
use crate::terms::limits::HEADS_MAX;
use crate::terms::{HeadHash, PeerKey, SnapshotNumber};
use crate::world::{Clock, World};

/// A keeper that takes longer for a list is left out of it.
const LIST_SECONDS_MAX: u64 = 10;
/// Heads of one author that are judged together, the newest: some 600 kB.
const JUDGED_MAX: usize = 2_000;
/// Heads in one answer, as the protocol has it.
const HEADS_IN_ANSWER: usize = 100;

/// Collects heads.
#[derive(Clone)]
pub struct Heads<K: Keepers, W: World> {
    keepers: K,
    world: W,
}

/// What keepers told, and who did not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collected {
    /// Newest first; those of one author and one number stand beside each other.
    pub heads: Vec<SignedHead>,
    /// Members that answered to the end.
    pub answered: Vec<PeerKey>,
    /// Members that could not be reached or did not answer: they may know more.
    pub missing: Vec<PeerKey>,
    /// If `latest` is not decided: the newest accepted snapshot of which nobody says anything else.
    pub undisputed: Option<SignedHead>,
    /// The snapshot a person chose for `latest`, if nobody told of it.
    pub unseen: Option<Choice>,
}

impl Collected {
    /// Only what `latest` means is left.
    fn judged(mut self, choices: &[Choice]) -> Self {
        let judged = judge(&self.heads, choices);
        let find = |wanted: &HeadHash| {
            let mut heads = self.heads.iter();
            heads.find(|head| head.hash() == *wanted).cloned()
        };
        self.undisputed = judged.undisputed.as_ref().and_then(find);
        let meant = match judged.latest {
            Latest::Nothing => Vec::new(),
            Latest::Stands(head) => vec![head],
            Latest::Disputed(sides) => sides,
            Latest::Unseen(choice) => {
                self.unseen = Some(choice);
                Vec::new()
            }
        };
        self.heads.retain(|head| meant.contains(&head.hash()));
        self
    }

    fn note(&mut self, member: PeerKey, answered: bool) {
        let list = if answered {
            &mut self.answered
        } else {
            &mut self.missing
        };
        list.push(member);
        list.sort_unstable();
    }
}

impl<K: Keepers, W: World> Heads<K, W> {
    /// Collects from these keepers.
    pub const fn new(keepers: K, world: W) -> Self {
        Self { keepers, world }
    }

    /// The newest `heads_max` heads of an author.
    pub async fn of(&self, author: PeerKey, heads_max: usize) -> Collected {
        let all = |_: &SignedHead| true;
        self.collect(author, SnapshotNumber(0), Merged::new(heads_max), all)
            .await
    }

    async fn collect(
        &self,
        author: PeerKey,
        after: SnapshotNumber,
        merged: Merged,
        wanted: fn(&SignedHead) -> bool,
    ) -> Collected {
        let merged = Rc::new(RefCell::new(merged));
        let mut walks = Together::new();
        for member in self.keepers.members() {
            let (heads, merged) = (self.clone(), merged.clone());
            walks.add(async move {
                let done = heads.walk(member.key, author, after, &merged, wanted).await;
                (member.key, done)
            });
        }
        let mut collected = Collected::default();
        while let Some((member, done)) = walks.next().await {
            collected.note(member, done);
        }
        collected.heads = merged.take().newest_first();
        collected
    }

    /// The newest head of every author anybody knows, accepted or not.
    pub async fn of_all_authors(&self) -> Collected {
        let mut newest: BTreeMap<PeerKey, Merged> = BTreeMap::new();
        let mut collected = Collected::default();
        let mut lists = Together::new();
        for member in self.keepers.members() {
            let heads = self.clone();
            lists.add(async move {
                let list = heads.list(member.key, None, SnapshotNumber(0)).await;
                (member.key, list)
            });
        }
        while let Some((member, list)) = lists.next().await {
            collected.note(member, list.is_some());
            for head in list.into_iter().flatten() {
                let author = newest
                    .entry(head.head.author)
                    .or_insert_with(|| Merged::new(HEADS_IN_ANSWER));
                author.add(head);
            }
        }
        for (_, merged) in newest {
            let heads = merged.newest_first();
            let number = heads.first().map(|head| head.head.number);
            let top = |head: &SignedHead| Some(head.head.number) == number;
            collected.heads.extend(heads.into_iter().filter(top));
        }
        collected
    }

    /// What `latest` means for an author, with what people chose between its snapshots. More than one head, or a chosen one that nobody
    /// in reach has, means that nothing is decided: then `undisputed` is what a person may fall back on.
    pub async fn latest(&self, author: PeerKey, choices: &[Choice]) -> Collected {
        let known = self.of_all_authors().await;
        let newest = known.heads.iter().find(|head| head.head.author == author);
        let Some(newest) = newest.map(|head| head.head.number) else {
            return Collected {
                heads: Vec::new(),
                ..known
            };
        };
        if canary::sings(Canary::BelieveOldHead) {
            return self.oldest(author).await;
        }
        // Everybody's newest may hide a second snapshot of that number, so that number is asked for by itself; and what was chosen
        // against is known by what it descends from.
        let after = judged_after(newest, choices);
        let all = |_: &SignedHead| true;
        let accepted = |head: &SignedHead| head.head.accepted;
        let near = Merged::new(JUDGED_MAX);
        let near = self.collect(author, after, near, all).await;
        let wanted = match judge(&near.heads, choices).latest {
            Latest::Stands(_) => return near.judged(choices),
            // The newest wait for a person: the whole history is read for the last that was accepted.
            Latest::Nothing => accepted,
            // Or for what the sides of a dispute have in common.
            Latest::Disputed(_) | Latest::Unseen(_) => all,
        };
        let from_the_start = Merged::new(JUDGED_MAX);
        let whole = self
            .collect(author, SnapshotNumber(0), from_the_start, wanted)
            .await;
        whole.judged(choices)
    }

    /// A mistake made on purpose.
    async fn oldest(&self, author: PeerKey) -> Collected {
        let few = Merged::new(HEADS_IN_ANSWER);
        let mut collected = self
            .collect(author, SnapshotNumber(0), few, |head| head.head.accepted)
            .await;
        let oldest = collected.heads.last().map(|head| head.head.number);
        collected
            .heads
            .retain(|head| Some(head.head.number) == oldest);
        collected
    }

    /// Reads one keeper's heads of an author from the beginning; whether it answered to the end.
    async fn walk(
        &self,
        peer: PeerKey,
        author: PeerKey,
        mut after: SnapshotNumber,
        merged: &RefCell<Merged>,
        wanted: fn(&SignedHead) -> bool,
    ) -> bool {
        for _ in 0..=HEADS_MAX.div_ceil(HEADS_IN_ANSWER) {
            let Some(heads) = self.list(peer, Some(author), after).await else {
                return false;
            };
            let Some(last) = heads.iter().map(|head| head.head.number).max() else {
                return true;
            };
            for head in heads {
                if head.head.author == author && wanted(&head) {
                    merged.borrow_mut().add(head);
                }
            }
            if last <= after {
                return true;
            }
            after = last;
        }
        true
    }

    async fn list(
        &self,
        peer: PeerKey,
        author: Option<PeerKey>,
        after: SnapshotNumber,
    ) -> Option<Vec<SignedHead>> {
        let keeper = self.keepers.reach(peer)?;
        let asking = keeper.heads(author, after);
        let limit = Duration::from_secs(LIST_SECONDS_MAX);
        self.world.clock().within(limit, asking).await?.ok()
    }
}

/// Heads of one author without doubles; the oldest go when there are too many.
#[derive(Default)]
struct Merged {
    heads_max: usize,
    heads: BTreeMap<(SnapshotNumber, HeadHash), SignedHead>,
    forged: BTreeSet<HeadHash>,
}

impl Merged {
    fn new(heads_max: usize) -> Self {
        Self {
            heads_max,
            ..Self::default()
        }
    }

    /// Takes a head in, if its signature holds; a keeper's word alone makes no snapshot.
    fn add(&mut self, head: SignedHead) {
        let hash = head.hash();
        let place = (head.head.number, hash);
        if self.heads.contains_key(&place) || self.forged.contains(&hash) {
            return;
        }
        if SignedHead::decode(&head.encode()).is_err() {
            if self.forged.len() < HEADS_IN_ANSWER {
                self.forged.insert(hash);
            }
            return;
        }
        self.heads.insert(place, head);
        if self.heads.len() > self.heads_max {
            self.heads.pop_first();
        }
    }

    fn newest_first(self) -> Vec<SignedHead> {
        self.heads.into_values().rev().collect()
    }
}
