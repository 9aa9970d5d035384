//! What one author's heads say together: which snapshot `latest` means, and which numbers more than one snapshot bears. Pure, and
//! whatever the order in which heads are told.
//!
//! Two histories of one author part where two heads bear one number, and each of their numbers is borne twice from there on. So:
//!
//! - the accepted head with the highest number stands for `latest`; what it does not descend from stays aside, kept and shown;
//! - two accepted heads of the highest number are an *unresolved conflict*: nothing stands until a person chooses, or their author
//!   goes on from one of them;
//! - a choice sets the other heads of that number aside with all that descends from them, also what is found later. The chosen one counts
//!   as accepted. What cannot be seen to descend from them is not set aside.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::head::SignedHead;
use crate::format::roster::Choice;
use crate::terms::limits::CHOICE_FOLLOWED_NUMBERS;
use crate::terms::{HeadHash, SnapshotNumber};

/// What `latest` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Latest {
    /// There is no accepted snapshot.
    Nothing,
    /// This one.
    Stands(HeadHash),
    /// One of these: nothing decides which.
    Disputed(Vec<HeadHash>),
    /// The one a person chose, of which no head was told.
    Unseen(Choice),
}

/// What an author's heads come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What `latest` means.
    pub latest: Latest,
    /// The newest accepted snapshot that all sides of a dispute have in common, if `latest` is not decided.
    pub undisputed: Option<HeadHash>,
    /// Where two histories stand beside each other, by number.
    pub conflicts: Vec<Conflict>,
    set_aside: BTreeSet<HeadHash>,
}

/// Numbers without a gap that more than one snapshot bears each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The first such number.
    pub from: SnapshotNumber,
    /// The last.
    pub until: SnapshotNumber,
    /// The last snapshot of each history within these numbers, newest first.
    pub sides: Vec<Side>,
    /// Heads of the number that most of them bear.
    pub of_one_number: usize,
}

/// One of the histories of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// Its last snapshot within the conflict.
    pub head: HeadHash,
    /// That one's number.
    pub number: SnapshotNumber,
    /// How it stands.
    pub stance: Stance,
}

/// How one side of a conflict stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stance {
    /// `latest` is this one, or goes on from it.
    Stands,
    /// A person has to choose.
    Open,
    /// A person chose another.
    NotChosen,
    /// It waits for a person to accept what was gone or rewritten.
    Waits,
    /// The author's history went on without it.
    Aside,
}

impl Stance {
    /// Its name, as programs read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stands => "stands",
            Self::Open => "open",
            Self::NotChosen => "not_chosen",
            Self::Waits => "waits",
            Self::Aside => "aside",
        }
    }
}

impl Conflict {
    /// Whether a person has to choose.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sides.iter().any(|side| side.stance == Stance::Open)
    }
}

impl Judged {
    /// Whether a person chose against this one, or against what it descends from.
    #[must_use]
    pub fn is_set_aside(&self, head: &HeadHash) -> bool {
        self.set_aside.contains(head)
    }
}

struct History<'a> {
    heads: BTreeMap<HeadHash, &'a SignedHead>,
    /// By number; the hashes of each rise.
    of_number: BTreeMap<SnapshotNumber, Vec<HeadHash>>,
    chosen: BTreeSet<HeadHash>,
    set_aside: BTreeSet<HeadHash>,
}

/// After which number heads have to be told to judge this one: what was chosen against is known by what descends from it.
#[must_use]
pub fn judged_after(newest: SnapshotNumber, choices: &[Choice]) -> SnapshotNumber {
    let followed = newest.0.saturating_sub(CHOICE_FOLLOWED_NUMBERS);
    let chosen = choices.iter().map(|choice| choice.number.0);
    let first = chosen.filter(|number| *number >= followed).min();
    SnapshotNumber(first.unwrap_or(newest.0).min(newest.0).saturating_sub(1))
}

/// Judges heads of one author, with what people chose. Heads of other authors are left out by the caller.
#[must_use]
pub fn judge<'a>(heads: impl IntoIterator<Item = &'a SignedHead>, choices: &[Choice]) -> Judged {
    let mut history = History::of(heads);
    history.heed(choices);
    let latest = history.latest(choices);
    let undisputed = match &latest {
        Latest::Nothing | Latest::Stands(_) => None,
        Latest::Disputed(sides) => history.undisputed(sides),
        Latest::Unseen(choice) => history.newest_below(choice.number),
    };
    Judged {
        conflicts: history.conflicts(&latest),
        latest,
        undisputed,
        set_aside: history.set_aside,
    }
}

impl<'a> History<'a> {
    fn of(heads: impl IntoIterator<Item = &'a SignedHead>) -> Self {
        let heads: BTreeMap<_, _> = heads.into_iter().map(|head| (head.hash(), head)).collect();
        let mut of_number: BTreeMap<SnapshotNumber, Vec<HeadHash>> = BTreeMap::new();
        for (hash, signed) in &heads {
            of_number.entry(signed.head.number).or_default().push(*hash);
        }
        Self {
            heads,
            of_number,
            chosen: BTreeSet::new(),
            set_aside: BTreeSet::new(),
        }
    }

    /// Sets aside what was not chosen, and what descends from it.
    fn heed(&mut self, choices: &[Choice]) {
        self.chosen = choices.iter().map(|choice| choice.head).collect();
        for (number, hashes) in &self.of_number {
            let choice = choices.iter().find(|choice| choice.number == *number);
            for hash in hashes {
                let previous = self.heads.get(hash).and_then(|signed| signed.head.previous);
                let is_other = choice.is_some_and(|choice| choice.head != *hash);
                let descends = previous.is_some_and(|before| self.set_aside.contains(&before));
                if is_other || (descends && !self.chosen.contains(hash)) {
                    self.set_aside.insert(*hash);
                }
            }
        }
    }

    /// Whether `latest` may mean it.
    fn counts(&self, hash: &HeadHash) -> bool {
        let is_accepted = self
            .heads
            .get(hash)
            .is_some_and(|signed| signed.head.accepted);
        (is_accepted || self.chosen.contains(hash)) && !self.set_aside.contains(hash)
    }

    fn counting_of(&self, hashes: &[HeadHash]) -> Vec<HeadHash> {
        let counting = hashes.iter().filter(|hash| self.counts(hash));
        counting.copied().collect()
    }

    fn latest(&self, choices: &[Choice]) -> Latest {
        let newest = self.of_number.iter().rev().find_map(|(number, hashes)| {
            let counting = self.counting_of(hashes);
            (!counting.is_empty()).then_some((*number, counting))
        });
        let reached = newest.as_ref().map(|(number, _)| *number);
        let unseen = choices
            .iter()
            .rev()
            .find(|choice| !self.heads.contains_key(&choice.head) && Some(choice.number) > reached);
        match (unseen, newest) {
            (Some(choice), _) => Latest::Unseen(*choice),
            (None, None) => Latest::Nothing,
            (None, Some((_, hashes))) => match hashes.as_slice() {
                [only] => Latest::Stands(*only),
                _ => Latest::Disputed(hashes),
            },
        }
    }

    /// A head and what it descends from, as far as heads were told.
    fn line_of(&self, head: HeadHash) -> BTreeSet<HeadHash> {
        let mut line = BTreeSet::new();
        let mut next = Some(head);
        while let Some(hash) = next
            && let Some(signed) = self.heads.get(&hash)
            && line.insert(hash)
        {
            next = signed.head.previous;
        }
        line
    }

    /// The newest that all sides descend from; where their lines cannot be followed so far, the newest before they bear the same numbers.
    fn undisputed(&self, sides: &[HeadHash]) -> Option<HeadHash> {
        let mut lines = sides.iter().map(|side| self.line_of(*side));
        let first = lines.next()?;
        let common = lines.fold(first, |common, line| &common & &line);
        let newest = common.into_iter().filter(|hash| self.counts(hash));
        let newest = newest.max_by_key(|hash| self.heads.get(hash).map(|it| it.head.number));
        newest.or_else(|| {
            let top = self.heads.get(sides.first()?)?.head.number;
            let run = self.runs().into_iter().find(|(_, until)| *until == top)?;
            self.newest_below(run.0)
        })
    }

    fn newest_below(&self, number: SnapshotNumber) -> Option<HeadHash> {
        let before = self.of_number.range(..number).rev();
        let mut counting = before.map(|(_, hashes)| self.counting_of(hashes));
        counting.find_map(|hashes| match hashes.as_slice() {
            [only] => Some(*only),
            _ => None,
        })
    }

    /// Runs of numbers that are borne more than once: the first and the last of each.
    fn runs(&self) -> Vec<(SnapshotNumber, SnapshotNumber)> {
        let mut runs: Vec<(SnapshotNumber, SnapshotNumber)> = Vec::new();
        let doubled = self.of_number.iter().filter(|(_, hashes)| hashes.len() > 1);
        for (number, _) in doubled {
            match runs.last_mut() {
                Some((_, until)) if until.0 + 1 == number.0 => *until = *number,
                _ => runs.push((*number, *number)),
            }
        }
        runs
    }

    fn conflicts(&self, latest: &Latest) -> Vec<Conflict> {
        let standing = match latest {
            Latest::Stands(head) => self.line_of(*head),
            Latest::Nothing | Latest::Disputed(_) | Latest::Unseen(_) => BTreeSet::new(),
        };
        let conflict = |(from, until): (SnapshotNumber, SnapshotNumber)| {
            let within = self.of_number.range(from..=until);
            let parents: BTreeSet<HeadHash> = within
                .clone()
                .flat_map(|(_, hashes)| hashes)
                .filter_map(|hash| self.heads.get(hash)?.head.previous)
                .collect();
            let sides = within.clone().rev().flat_map(|(number, hashes)| {
                let last = hashes.iter().filter(|hash| !parents.contains(hash));
                last.map(|head| Side {
                    head: *head,
                    number: *number,
                    stance: self.stance(head, latest, &standing),
                })
            });
            Conflict {
                from,
                until,
                sides: sides.collect(),
                of_one_number: within.map(|(_, hashes)| hashes.len()).max().unwrap_or(0),
            }
        };
        self.runs().into_iter().map(conflict).collect()
    }

    fn stance(&self, head: &HeadHash, latest: &Latest, standing: &BTreeSet<HeadHash>) -> Stance {
        if standing.contains(head) {
            return Stance::Stands;
        }
        if self.set_aside.contains(head) {
            return Stance::NotChosen;
        }
        if matches!(latest, Latest::Disputed(sides) if sides.contains(head)) {
            return Stance::Open;
        }
        if self.counts(head) {
            Stance::Aside
        } else {
            Stance::Waits
        }
    }
}
