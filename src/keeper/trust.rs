//! Which parts of the store may be believed without reading them: what was written in this run, and segments that were found whole
//! within the sweep period and were not touched since. All else is read before a yes.
//!
//! Memory: one mark for each closed segment, and there are at most 2^17 of them.

use std::collections::BTreeMap;

use crate::format::segment::Location;
use crate::format::verified::{SegmentMark, Verified};
use crate::terms::limits::SWEEP_PERIOD_DAYS;
use crate::terms::{Stamp, StoreId};

const DAY_SECONDS: i64 = 24 * 3600;

/// What is believed.
#[derive(Default)]
pub(super) struct Trust {
    marks: BTreeMap<u32, SegmentMark>,
    /// Where this run began to write.
    fresh_from: Option<(u32, u64)>,
    /// Marks that are not on the disk yet.
    unsaved: usize,
}

impl Trust {
    /// From here on all is written by this run.
    pub(super) fn begin_at(&mut self, segment: u32, offset: u64) {
        self.fresh_from = Some((segment, offset));
    }

    /// Whether the frame there is believed.
    pub(super) fn covers(&self, place: Location, now: Stamp) -> bool {
        self.is_fresh(place.segment(), place.offset()) || !self.is_due(place.segment(), now)
    }

    /// Whether all of a segment was written by this run.
    pub(super) fn is_written_here(&self, segment: u32) -> bool {
        self.is_fresh(segment, 0)
    }

    /// Whether a closed segment must be read again.
    pub(super) fn is_due(&self, segment: u32, now: Stamp) -> bool {
        // A clock that was set back makes nothing old.
        self.marks.get(&segment).is_none_or(|mark| {
            now.seconds.saturating_sub(mark.verified.seconds) > SWEEP_PERIOD_DAYS * DAY_SECONDS
        })
    }

    /// A segment is as it was when it was found whole.
    pub(super) fn believe(&mut self, mark: SegmentMark) {
        self.marks.insert(mark.number, mark);
    }

    /// A segment was found whole just now.
    pub(super) fn found_whole(&mut self, mark: SegmentMark) {
        self.believe(mark);
        self.unsaved += 1;
    }

    /// The segment that is being written was read up to its end and found whole.
    pub(super) fn open_one_is_whole(&mut self, segment: u32) {
        if self.fresh_from.is_some_and(|(from, _)| from == segment) {
            self.fresh_from = Some((segment, 0));
        }
    }

    /// Something in a segment is not whole, or cannot be read.
    pub(super) fn doubt(&mut self, segment: u32) {
        self.unsaved += usize::from(self.marks.remove(&segment).is_some());
    }

    /// The oldest time at which a closed segment was found whole.
    pub(super) fn oldest(&self) -> Option<Stamp> {
        self.marks.values().map(|mark| mark.verified).min()
    }

    /// Closed segments that are believed.
    pub(super) fn count(&self) -> usize {
        self.marks.len()
    }

    /// What is to be written down, if so many marks are new.
    pub(super) fn take_unsaved(&mut self, store: StoreId, at_least: usize) -> Option<Verified> {
        if self.unsaved < at_least.max(1) {
            return None;
        }
        self.unsaved = 0;
        Some(Verified {
            store,
            segments: self.marks.values().copied().collect(),
        })
    }

    fn is_fresh(&self, segment: u32, offset: u64) -> bool {
        self.fresh_from
            .is_some_and(|from| (segment, offset) >= from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Stamp {
        Stamp {
            seconds: day * DAY_SECONDS,
            nanos: 0,
        }
    }

    fn mark(number: u32, day: i64) -> SegmentMark {
        SegmentMark {
            number,
            len: 1 << 20,
            changed: at(0),
            verified: at(day),
        }
    }

    fn place(segment: u32, offset: u64) -> Location {
        Location::new(segment, offset).expect("it fits")
    }

    #[test]
    fn what_was_written_here_or_found_whole_lately_is_believed_and_nothing_else() {
        let mut trust = Trust::default();
        assert!(!trust.covers(place(1, 4096), at(100)));
        trust.believe(mark(1, 90));
        assert!(trust.covers(place(1, 4096), at(100)));
        assert!(!trust.covers(place(1, 4096), at(90 + SWEEP_PERIOD_DAYS + 1)));
        assert!(
            trust.covers(place(1, 4096), at(3)),
            "the clock was set back"
        );
        trust.begin_at(7, 8192);
        assert!(trust.covers(place(7, 8192), at(100)) && trust.covers(place(8, 4096), at(100)));
        assert!(!trust.covers(place(7, 4096), at(100)));
        trust.open_one_is_whole(7);
        assert!(trust.covers(place(7, 4096), at(100)) && !trust.covers(place(6, 4096), at(100)));
        trust.doubt(1);
        assert!(!trust.covers(place(1, 4096), at(100)));
    }

    #[test]
    fn marks_are_written_down_when_enough_are_new() {
        let mut trust = Trust::default();
        trust.believe(mark(1, 1));
        assert_eq!(trust.take_unsaved(StoreId([1; 8]), 0), None);
        trust.found_whole(mark(2, 2));
        assert_eq!(trust.take_unsaved(StoreId([1; 8]), 2), None);
        let saved = trust.take_unsaved(StoreId([1; 8]), 1).expect("one is new");
        assert_eq!(saved.segments, [mark(1, 1), mark(2, 2)]);
        assert_eq!(trust.oldest(), Some(at(1)));
    }
}
