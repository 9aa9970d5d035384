//! Which segments of a store were removed because all that was needed of them stands in later ones. Written, durably, before the
//! file goes: a number that is missing and not in here is a loss.

use serde::{Deserialize, Serialize};

use super::{Malformed, decode_file, encode_file, malformed};
use crate::format::segment::SEGMENT_NUMBER_MAX;
use crate::terms::StoreId;

const COMPACTED: &str = "list of compacted segments";

/// Every segment of a store that was compacted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// Which store.
    pub store: StoreId,
    /// First and last number of each run of them, rising, never touching each other.
    pub runs: Vec<(u32, u32)>,
}

impl Compacted {
    /// None yet.
    #[must_use]
    pub const fn new(store: StoreId) -> Self {
        Self {
            store,
            runs: Vec::new(),
        }
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_file(self)
    }

    /// Reads it; runs that do not rise, touch or have impossible numbers are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let compacted: Self = decode_file(COMPACTED, bytes)?;
        let is_run = |(first, last): &(u32, u32)| {
            1 <= *first && first <= last && *last <= SEGMENT_NUMBER_MAX
        };
        let rises = compacted
            .runs
            .is_sorted_by(|(_, last), (first, _)| last.saturating_add(1) < *first);
        if !compacted.runs.iter().all(is_run) || !rises {
            return Err(malformed(COMPACTED, "its numbers are impossible"));
        }
        Ok(compacted)
    }

    /// Whether a segment is one of them.
    #[must_use]
    pub fn has(&self, number: u32) -> bool {
        let at = self.runs.partition_point(|(_, last)| *last < number);
        self.runs.get(at).is_some_and(|(first, _)| *first <= number)
    }

    /// One more.
    pub fn add(&mut self, number: u32) {
        if self.has(number) {
            return;
        }
        let at = self.runs.partition_point(|(_, last)| *last < number);
        let ends_before = at > 0 && self.runs[at - 1].1 + 1 == number;
        let begins_behind = self
            .runs
            .get(at)
            .is_some_and(|(first, _)| *first == number + 1);
        match (ends_before, begins_behind) {
            (true, true) => {
                self.runs[at - 1].1 = self.runs[at].1;
                self.runs.remove(at);
            }
            (true, false) => self.runs[at - 1].1 = number,
            (false, true) => self.runs[at].0 = number,
            (false, false) => self.runs.insert(at, (number, number)),
        }
    }

    /// The last of them.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.runs.last().map(|(_, last)| *last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_has_what_was_added_and_nothing_else(numbers in prop::collection::vec(1..40u32, 0..60)) {
            let mut compacted = Compacted::new(StoreId([1; 8]));
            let mut model = BTreeSet::new();
            for number in numbers {
                compacted.add(number);
                model.insert(number);
                prop_assert_eq!(Compacted::decode(&compacted.encode()), Ok(compacted.clone()));
            }
            for number in 0..42 {
                prop_assert_eq!(compacted.has(number), model.contains(&number));
            }
            prop_assert_eq!(compacted.last(), model.last().copied());
        }
    }

    #[test]
    fn runs_that_make_no_sense_are_refused() {
        let runs = |runs: &[(u32, u32)]| Compacted {
            store: StoreId([1; 8]),
            runs: runs.to_vec(),
        };
        for bad in [
            &[(0, 1)][..],
            &[(2, 1)],
            &[(1, 2), (3, 4)],
            &[(5, 6), (1, 2)],
            &[(1, SEGMENT_NUMBER_MAX + 1)],
            &[(1, u32::MAX), (5, 6)],
        ] {
            assert!(Compacted::decode(&runs(bad).encode()).is_err(), "{bad:?}");
        }
    }
}
