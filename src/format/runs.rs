//! Numbers of snapshots, many of them in few bytes: the first and the last of each run of them.
//!
//! Invariants, also of what is read: numbers are from 1 on, runs rise and never touch each other.

use serde::{Deserialize, Serialize};

use crate::terms::SnapshotNumber;

/// A set of numbers of snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Runs(Vec<(SnapshotNumber, SnapshotNumber)>);

impl Runs {
    /// Whether the invariants hold; asked of what was read.
    pub(super) fn is_legal(&self) -> bool {
        let is_run = |(first, last): &(SnapshotNumber, SnapshotNumber)| {
            SnapshotNumber(1) <= *first && first <= last
        };
        let rises = |one: &(_, SnapshotNumber), next: &(SnapshotNumber, _)| {
            one.1
                .0
                .checked_add(1)
                .is_some_and(|behind| behind < next.0.0)
        };
        self.0.iter().all(is_run) && self.0.is_sorted_by(rises)
    }

    /// Whether a number is in it.
    #[must_use]
    pub fn has(&self, number: SnapshotNumber) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < number);
        self.0.get(at).is_some_and(|(first, _)| *first <= number)
    }

    /// One more.
    pub fn add(&mut self, number: SnapshotNumber) {
        self.add_run(number, number);
    }

    /// All from `first` to `last`, none if there are none.
    pub fn add_run(&mut self, first: SnapshotNumber, last: SnapshotNumber) {
        let first = first.max(SnapshotNumber(1));
        if first > last {
            return;
        }
        // Those it overlaps or touches become one with it.
        let from = self
            .0
            .partition_point(|(_, end)| end.0.saturating_add(1) < first.0);
        let to = self
            .0
            .partition_point(|(begin, _)| begin.0 <= last.0.saturating_add(1));
        let joined = match self.0.get(from..to) {
            Some([one, .., other]) => (first.min(one.0), last.max(other.1)),
            Some([one]) => (first.min(one.0), last.max(one.1)),
            Some([]) | None => (first, last),
        };
        self.0.splice(from..to.max(from), [joined]);
    }

    /// All of another set.
    pub fn add_all(&mut self, other: &Self) {
        for (first, last) in other.iter() {
            self.add_run(first, last);
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, number: SnapshotNumber) {
        let at = self.0.partition_point(|(_, last)| *last < number);
        let Some((first, last)) = self
            .0
            .get(at)
            .copied()
            .filter(|(first, _)| *first <= number)
        else {
            return;
        };
        let mut left = Vec::with_capacity(2);
        if first < number {
            left.push((first, SnapshotNumber(number.0 - 1)));
        }
        if number < last {
            left.push((SnapshotNumber(number.0 + 1), last));
        }
        self.0.splice(at..=at, left);
    }

    /// The first and the last of each run, rising.
    pub fn iter(&self) -> impl Iterator<Item = (SnapshotNumber, SnapshotNumber)> + '_ {
        self.0.iter().copied()
    }

    /// How many runs there are.
    #[must_use]
    pub const fn runs(&self) -> usize {
        self.0.len()
    }

    /// How many numbers there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let each = self.0.iter().map(|(first, last)| last.0 - first.0);
        each.fold(0, |sum, more| sum.saturating_add(more).saturating_add(1))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<SnapshotNumber> for Runs {
    fn from_iter<I: IntoIterator<Item = SnapshotNumber>>(numbers: I) -> Self {
        let mut runs = Self::default();
        for number in numbers {
            runs.add(number);
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_hold_what_a_set_holds(steps in prop::collection::vec((any::<bool>(), 1..40u64, 0..5u64), 0..60)) {
            let mut runs = Runs::default();
            let mut model = BTreeSet::new();
            for (comes, first, more) in steps {
                if comes {
                    runs.add_run(SnapshotNumber(first), SnapshotNumber(first + more));
                    model.extend(first..=first + more);
                } else {
                    runs.remove(SnapshotNumber(first));
                    model.remove(&first);
                }
                prop_assert!(runs.is_legal(), "{runs:?}");
            }
            for number in 0..50 {
                prop_assert_eq!(runs.has(SnapshotNumber(number)), model.contains(&number));
            }
            prop_assert_eq!(runs.count(), model.len() as u64);
            let again: Runs = model.into_iter().map(SnapshotNumber).collect();
            prop_assert_eq!(again, runs);
        }
    }

    #[test]
    fn the_ends_of_all_numbers_are_no_trap() {
        let mut runs = Runs::default();
        runs.add_run(SnapshotNumber(0), SnapshotNumber(u64::MAX));
        assert!(runs.is_legal() && runs.has(SnapshotNumber(1)) && !runs.has(SnapshotNumber(0)));
        runs.remove(SnapshotNumber(u64::MAX));
        runs.remove(SnapshotNumber(1));
        assert_eq!(runs.count(), u64::MAX - 2);
        assert!(runs.is_legal());
    }

    #[test]
    fn runs_that_fall_or_touch_are_illegal() {
        let runs = |pairs: &[(u64, u64)]| {
            let pair = |(first, last): &(u64, u64)| (SnapshotNumber(*first), SnapshotNumber(*last));
            Runs(pairs.iter().map(pair).collect())
        };
        assert!(runs(&[(1, 1), (3, 9)]).is_legal());
        for bad in [
            &[(0, 1)][..],
            &[(2, 1)],
            &[(1, 2), (3, 4)],
            &[(5, 6), (1, 2)],
            &[(1, u64::MAX), (1, 1)],
        ] {
            assert!(!runs(bad).is_legal(), "{bad:?}");
        }
    }
}
