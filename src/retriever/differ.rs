//! Compares two snapshots: walks both page trees side by side in path order and leaps over subtrees they share, so that what
//! is read follows what differs. What was renamed is found by contents, among the differences that are held back.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};

use super::cursor::{At, Contents, Cursor, Lost, Naming, goes_on};
use super::selection::placed;
use super::{FetchError, RetrieveError, Source};
use crate::format::head::{DataSet, Manifest};
use crate::format::index::{Entry, What, path_order};

/// Differences held back to find renamed files among them; beyond that the oldest are told as they are.
const HELD_MAX: usize = 10_000;

/// How a thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// It is another kind of thing.
    pub kind: bool,
    /// Its bytes, or where it points.
    pub contents: bool,
    /// Its rights.
    pub mode: bool,
    /// Its owner or group.
    pub owner: bool,
    /// The time of its last change.
    pub mtime: bool,
    /// Its extended attributes.
    pub xattrs: bool,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Both have it.
    Changed(Changes),
    /// The first has its contents under another path, which the second does not have.
    Renamed {
        /// That path.
        from: Vec<u8>,
    },
    /// So many entries from here on cannot be compared.
    Unknown {
        /// How many.
        entries: u64,
        /// Why.
        why: FetchError,
    },
}

/// How many there are of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiffTotals {
    /// Only in the second.
    pub added: u64,
    /// Only in the first.
    pub removed: u64,
    /// In both, but different.
    pub changed: u64,
    /// Under another path.
    pub renamed: u64,
    /// Entries that could not be compared.
    pub unknown: u64,
    /// Whoever looked had seen enough before the end.
    pub cut_short: bool,
}

/// A thing as it is compared.
pub(super) struct Thing {
    pub(super) path: Vec<u8>,
    pub(super) entry: Entry,
    pub(super) contents: Option<Contents>,
    /// The rest of it cannot be had.
    lost: Option<Lost>,
}

/// Compares two snapshots; `show` is called in path order, apart from what was held back for too long, until it returns false.
pub async fn diff<S: Source>(
    first: (&S, &Manifest),
    second: (&S, &Manifest),
    show: impl FnMut(&[u8], &Difference) -> bool,
) -> Result<DiffTotals, RetrieveError> {
    let several = first.1.data_sets.len() > 1 || second.1.data_sets.len() > 1;
    let mut held = Held::new(show);
    let mut sets: BTreeMap<&str, (Option<&DataSet>, Option<&DataSet>)> = BTreeMap::new();
    for set in &first.1.data_sets {
        sets.entry(&set.name).or_default().0 = Some(set);
    }
    for set in &second.1.data_sets {
        sets.entry(&set.name).or_default().1 = Some(set);
    }
    for (name, pair) in sets {
        let base = if several { name.as_bytes() } else { b"" };
        match pair {
            (Some(a), Some(b)) => {
                let mut both = Both {
                    a: Cursor::new(first.0, a),
                    b: Cursor::new(second.0, b),
                    base,
                };
                both.walk(&mut held).await?;
            }
            (Some(_), None) => held.add(name.as_bytes(), Difference::Removed, None),
            (None, _) => held.add(name.as_bytes(), Difference::Added, None),
        }
        if held.is_over {
            break;
        }
    }
    Ok(held.end())
}

struct Both<'b, S> {
    a: Cursor<'b, S>,
    b: Cursor<'b, S>,
    base: &'b [u8],
}

/// What to do next.
enum Step {
    End,
    LeapBoth,
    Open { a: bool, b: bool },
    Removed,
    Added,
    Compare,
}

impl<S: Source> Both<'_, S> {
    async fn walk(
        &mut self,
        held: &mut Held<impl FnMut(&[u8], &Difference) -> bool>,
    ) -> Result<(), RetrieveError> {
        while !held.is_over {
            match self.step() {
                Step::End => break,
                Step::LeapBoth => {
                    self.a.leap();
                    self.b.leap();
                }
                Step::Open { a, b } => {
                    if a && let Some(lost) = self.a.open().await? {
                        pass_lost(&mut self.b, &lost).await?;
                        self.unknown(lost, held);
                    } else if b && let Some(lost) = self.b.open().await? {
                        pass_lost(&mut self.a, &lost).await?;
                        self.unknown(lost, held);
                    }
                }
                Step::Removed => {
                    if let Some(thing) = thing(&mut self.a, self.base).await? {
                        held.add(&thing.path, Difference::Removed, thing.contents);
                    }
                }
                Step::Added => {
                    if let Some(thing) = thing(&mut self.b, self.base).await? {
                        held.add(&thing.path, Difference::Added, thing.contents);
                    }
                }
                Step::Compare => {
                    let a = thing(&mut self.a, self.base).await?;
                    let b = thing(&mut self.b, self.base).await?;
                    if let (Some(a), Some(b)) = (a, b) {
                        let changes = changes(&a, &b);
                        if changes != Changes::default() {
                            held.add(&b.path, Difference::Changed(changes), None);
                        }
                        if let Some(lost) = a.lost.or(b.lost) {
                            self.unknown(lost, held);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Step {
        let (a, b) = match (self.a.at(), self.b.at()) {
            (None, None) => return Step::End,
            (Some(At::Subtree { .. }), None) => return Step::Open { a: true, b: false },
            (None, Some(At::Subtree { .. })) => return Step::Open { a: false, b: true },
            (Some(At::Entry(_)), None) => return Step::Removed,
            (None, Some(At::Entry(_))) => return Step::Added,
            (Some(a), Some(b)) => (a, b),
        };
        let order = path_order(a.path(), b.path());
        match (&a, &b) {
            (At::Entry(_), At::Entry(_)) => match order {
                Ordering::Less => Step::Removed,
                Ordering::Greater => Step::Added,
                Ordering::Equal => Step::Compare,
            },
            (
                At::Subtree {
                    id: a,
                    level: high_a,
                    ..
                },
                At::Subtree {
                    id: b,
                    level: high_b,
                    ..
                },
            ) => match order {
                Ordering::Equal if a == b && high_a == high_b => Step::LeapBoth,
                Ordering::Equal => Step::Open {
                    a: high_a >= high_b,
                    b: high_b >= high_a,
                },
                Ordering::Less => Step::Open { a: true, b: false },
                Ordering::Greater => Step::Open { a: false, b: true },
            },
            (At::Subtree { .. }, At::Entry(_)) => match order {
                Ordering::Greater => Step::Added,
                Ordering::Less | Ordering::Equal => Step::Open { a: true, b: false },
            },
            (At::Entry(_), At::Subtree { .. }) => match order {
                Ordering::Less => Step::Removed,
                Ordering::Greater | Ordering::Equal => Step::Open { a: false, b: true },
            },
        }
    }

    fn unknown(&self, lost: Lost, held: &mut Held<impl FnMut(&[u8], &Difference) -> bool>) {
        let (entries, why) = (lost.entries, lost.why);
        let path = placed(self.base, &lost.first);
        held.add(&path, Difference::Unknown { entries, why }, None);
    }
}

/// Moves a cursor behind what the other side cannot tell of.
pub(super) async fn pass_lost<S: Source>(
    cursor: &mut Cursor<'_, S>,
    lost: &Lost,
) -> Result<(), RetrieveError> {
    let reaches = |path: &[u8]| match &lost.until {
        Some(until) => path_order(path, until) != Ordering::Less,
        None => false,
    };
    loop {
        match cursor.at() {
            None => return Ok(()),
            Some(At::Subtree { first, until, .. }) => {
                if reaches(first) {
                    return Ok(());
                }
                let within = lost.until.is_none() || until.is_some_and(|until| !reaches(until));
                if within {
                    cursor.leap();
                } else if cursor.open().await?.is_some() {
                    // Lost here too: told once is enough.
                    continue;
                }
            }
            Some(At::Entry(entry)) => {
                if reaches(&entry.path) {
                    return Ok(());
                }
                cursor.take();
            }
        }
    }
}

/// Takes the thing a cursor is on, with all that goes on with it.
pub(super) async fn thing<S: Source>(
    cursor: &mut Cursor<'_, S>,
    base: &[u8],
) -> Result<Option<Thing>, RetrieveError> {
    let Some(taken) = cursor.take() else {
        return Ok(None);
    };
    let mut naming = Naming::begin(&taken);
    let mut lost = None;
    loop {
        match cursor.at() {
            Some(At::Entry(next)) if goes_on(next) && next.path == taken.entry.path => {
                if let (Some(naming), Some(more)) = (&mut naming, cursor.take()) {
                    naming.add(&more.stretches);
                }
            }
            Some(At::Subtree { first, .. }) if first == taken.entry.path.as_slice() => {
                // Without its end it has no name.
                lost = cursor.open().await?;
                if lost.is_some() {
                    naming = None;
                    break;
                }
            }
            _ => break,
        }
    }
    Ok(Some(Thing {
        path: placed(base, &taken.entry.path),
        contents: naming.map(Naming::end),
        entry: taken.entry,
        lost,
    }))
}

fn changes(a: &Thing, b: &Thing) -> Changes {
    let is_file = |thing: &Thing| matches!(thing.entry.what, What::File { .. });
    let (x, y) = (&a.entry, &b.entry);
    let kind = std::mem::discriminant(&x.what) != std::mem::discriminant(&y.what);
    Changes {
        kind,
        contents: !kind
            && if is_file(a) {
                a.contents.zip(b.contents).is_some_and(|(a, b)| a != b)
            } else {
                x.what != y.what
            },
        mode: x.mode != y.mode,
        owner: (x.uid, x.gid) != (y.uid, y.gid),
        mtime: x.mtime != y.mtime,
        xattrs: x.xattrs != y.xattrs,
    }
}

/// Differences on their way to whoever looks.
pub(super) struct Held<F> {
    show: F,
    waiting: VecDeque<(u64, Vec<u8>, Difference, Option<Contents>)>,
    next: u64,
    /// Files that may have been renamed, by contents: whether they were added, and their numbers.
    by_contents: BTreeMap<(Contents, bool), Vec<u64>>,
    totals: DiffTotals,
    pub(super) is_over: bool,
}

impl<F: FnMut(&[u8], &Difference) -> bool> Held<F> {
    pub(super) const fn new(show: F) -> Self {
        Self {
            show,
            waiting: VecDeque::new(),
            next: 0,
            by_contents: BTreeMap::new(),
            totals: DiffTotals {
                added: 0,
                removed: 0,
                changed: 0,
                renamed: 0,
                unknown: 0,
                cut_short: false,
            },
            is_over: false,
        }
    }

    pub(super) fn add(&mut self, path: &[u8], difference: Difference, contents: Option<Contents>) {
        let is_added = difference == Difference::Added;
        let contents = contents.filter(|contents| contents.bytes > 0);
        if let Some(contents) = contents {
            if let Some(other) = self.take_other(contents, !is_added) {
                self.rename(path, is_added, other);
                return;
            }
            let numbers = self.by_contents.entry((contents, is_added)).or_default();
            numbers.push(self.next);
        }
        self.waiting
            .push_back((self.next, path.to_vec(), difference, contents));
        self.next += 1;
        while self.waiting.len() > HELD_MAX {
            self.tell_first();
        }
    }

    fn take_other(&mut self, contents: Contents, is_added: bool) -> Option<u64> {
        let numbers = self.by_contents.get_mut(&(contents, is_added))?;
        let number = (!numbers.is_empty()).then(|| numbers.remove(0));
        if numbers.is_empty() {
            self.by_contents.remove(&(contents, is_added));
        }
        number
    }

    /// One of the two waits; what is told stands where the new path is.
    fn rename(&mut self, path: &[u8], is_added: bool, other: u64) {
        let Ok(at) = self
            .waiting
            .binary_search_by_key(&other, |waiting| waiting.0)
        else {
            return;
        };
        if is_added {
            if let Some((_, from, ..)) = self.waiting.remove(at) {
                let renamed = Difference::Renamed { from };
                self.waiting
                    .push_back((self.next, path.to_vec(), renamed, None));
                self.next += 1;
            }
        } else if let Some(added) = self.waiting.get_mut(at) {
            added.2 = Difference::Renamed {
                from: path.to_vec(),
            };
            added.3 = None;
        }
    }

    fn tell_first(&mut self) {
        let Some((number, path, difference, contents)) = self.waiting.pop_front() else {
            return;
        };
        if let Some(contents) = contents {
            let key = (contents, difference == Difference::Added);
            if let Some(numbers) = self.by_contents.get_mut(&key) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    self.by_contents.remove(&key);
                }
            }
        }
        let totals = &mut self.totals;
        match &difference {
            Difference::Added => totals.added += 1,
            Difference::Removed => totals.removed += 1,
            Difference::Changed(_) => totals.changed += 1,
            Difference::Renamed { .. } => totals.renamed += 1,
            Difference::Unknown { entries, .. } => {
                totals.unknown = totals.unknown.saturating_add(*entries);
            }
        }
        if !self.is_over && !(self.show)(&path, &difference) {
            self.is_over = true;
            self.totals.cut_short = true;
        }
    }

    pub(super) fn end(mut self) -> DiffTotals {
        while !self.waiting.is_empty() && !self.is_over {
            self.tell_first();
        }
        self.totals
    }
}
