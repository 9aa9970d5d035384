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

/// Collects heads. A keeper that once took too long is not waited for again by the same one and its clones.
#[derive(Clone)]
pub struct Heads<K: Keepers, W: World> {
    keepers: K,
    world: W,
    silent: Rc<RefCell<BTreeSet<PeerKey>>>,
}

/// Heads with the members that have them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// By author, oldest first. A snapshot's author is no holder of it: its own memory of it is no copy.
    pub heads: Vec<(SignedHead, Vec<PeerKey>)>,
    /// Members that could not be reached or did not answer: they may know more.
    pub missing: Vec<PeerKey>,
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
    pub fn new(keepers: K, world: W) -> Self {
        Self {
            keepers,
            world,
            silent: Rc::default(),
        }
    }

    /// The newest `of_each` heads of every author that each member knows of, and who has which.
    pub async fn held(&self, of_each: u64) -> Held {
        let mut lists = Together::new();
        for member in self.keepers.members() {
            let heads = self.clone();
            lists.add(async move { (member.key, heads.held_by(member.key, of_each).await) });
        }
        let mut found: BTreeMap<_, (SignedHead, Vec<PeerKey>)> = BTreeMap::new();
        let mut held = Held::default();
        while let Some((member, (heads, is_all))) = lists.next().await {
            if !is_all {
                held.missing.push(member);
            }
            for signed in heads {
                let author = signed.head.author;
                let place = (author, signed.head.number, signed.hash());
                let (_, holders) = found.entry(place).or_insert_with(|| (signed, Vec::new()));
                if member != author && !holders.contains(&member) {
                    holders.push(member);
                }
            }
        }
        held.missing.sort_unstable();
        held.heads = found.into_values().collect();
        for (_, holders) in &mut held.heads {
            holders.sort_unstable();
        }
        held
    }

    /// What one member has, and whether it said all.
    async fn held_by(&self, member: PeerKey, of_each: u64) -> (Vec<SignedHead>, bool) {
        let Some(newest) = self.list(member, None, SnapshotNumber(0)).await else {
            return (Vec::new(), false);
        };
        let mut all = Vec::new();
        for head in newest {
            let after = SnapshotNumber(head.head.number.0.saturating_sub(of_each));
            let Some(more) = self.list(member, Some(head.head.author), after).await else {
                return (all, false);
            };
            all.extend(more);
        }
        (all, true)
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
        if self.silent.borrow().contains(&peer) {
            return None;
        }
        let asking = keeper.heads(author, after);
        let limit = Duration::from_secs(LIST_SECONDS_MAX);
        let answer = self.world.clock().within(limit, asking).await;
        if answer.is_none() {
            self.silent.borrow_mut().insert(peer);
        }
        answer?.ok()
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
