//! Which parts of the store may be believed without reading them: what was written or found whole within the sweep period and was not
//! touched since. All else is read before a yes. That this run wrote something is no reason for ever: a disk rots under a running keeper too.
//!
//! Memory: one mark for each closed segment, and there are at most 2^17 of them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::sweep_plan::{Candidate, Known};
use crate::format::segment::Location;
use crate::format::verified::{SegmentMark, Verified};
use crate::terms::limits::SWEEP_PERIOD_DAYS;
use crate::terms::{Stamp, StoreId};

const DAY_SECONDS: i64 = 24 * 3600;

/// What is believed.
pub(super) struct Trust {
    marks: BTreeMap<u32, SegmentMark>,
    /// What may be believed of the segment that is written to, which has no mark yet.
    fresh: Option<Fresh>,
    /// Segments in which something was found that is not whole, and when one was read last to its end: only a reading that finds all of
    /// it whole clears it.
    doubted: BTreeMap<u32, Option<Stamp>>,
    /// Segments beside them, not read since that was found.
    beside: BTreeSet<u32>,
    /// The earliest time at which this store is known to have been read: a clock that says less is wrong.
    earliest: Option<Stamp>,
    period_days: i64,
    /// Marks that are not on the disk yet.
    unsaved: usize,
    /// Drawn anew whenever something that was kept is found lost or damaged.
    unbroken: u64,
    /// What the disk says of where the open segment's last commit ended.
    saved_end: End,
}

/// A segment that is appended to, and where its last acknowledged commit ended.
type End = Option<(u32, u64)>;

#[derive(Clone, Copy)]
struct Fresh {
    segment: u32,
    /// From here on it was written, or found whole, since then.
    from: u64,
    since: Stamp,
    /// When the first was written that was not read back yet.
    unread: Option<Stamp>,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            marks: BTreeMap::new(),
            fresh: None,
            doubted: BTreeMap::new(),
            beside: BTreeSet::new(),
            earliest: None,
            period_days: SWEEP_PERIOD_DAYS,
            unsaved: 0,
            unbroken: 0,
            saved_end: None,
        }
    }
}

impl Trust {
    /// Everything comes due after so many days.
    pub(super) fn period_is(&mut self, days: u16) {
        self.period_days = i64::from(days);
    }

    /// A segment is written to from here on.
    pub(super) fn begin_at(&mut self, segment: u32, from: u64, now: Stamp) {
        self.fresh = Some(Fresh {
            segment,
            from,
            since: now,
            unread: None,
        });
    }

    /// Something was written behind what the open segment had.
    pub(super) fn wrote(&mut self, segment: u32, now: Stamp) {
        if let Some(fresh) = &mut self.fresh
            && fresh.segment == segment
        {
            fresh.unread.get_or_insert(now);
        }
    }

    /// Whether the frame there is believed.
    pub(super) fn covers(&self, place: Location, now: Stamp) -> bool {
        match self.fresh {
            Some(fresh) if fresh.segment == place.segment() => {
                place.offset() >= fresh.from
                    && !self.doubted.contains_key(&fresh.segment)
                    && !self.is_old(fresh.since, now)
            }
            Some(_) | None => !self.is_due(place.segment(), now),
        }
    }

    /// Since when all of the segment that is written to is known to be whole, if it is, and whether all of it was read back.
    pub(super) fn whole_since(&self, segment: u32) -> Option<(Stamp, bool)> {
        self.fresh
            .filter(|fresh| fresh.segment == segment && fresh.from == 0)
            .filter(|_| !self.doubted.contains_key(&segment))
            .map(|fresh| (fresh.since, fresh.unread.is_none()))
    }

    /// Whether a segment is not believed any more.
    fn is_due(&self, segment: u32, now: Stamp) -> bool {
        let whole_since = match self.marks.get(&segment) {
            Some(mark) => Some(mark.verified),
            None => self.whole_since(segment).map(|(since, _)| since),
        };
        whole_since.is_none_or(|since| self.is_old(since, now))
    }

    /// What the plan of the sweep is made of. One whose file is not there is known only by what a reading said of it.
    pub(super) fn candidate(&self, segment: u32, is_there: bool, now: Stamp) -> Candidate {
        let age = |since: Stamp| {
            u64::try_from(now.seconds.saturating_sub(since.seconds)).unwrap_or_default()
        };
        let known = match self.doubted.get(&segment) {
            Some(Some(read)) if *read <= now => Known::Damaged(age(*read)),
            Some(_) => Known::Nothing,
            None if !is_there || self.is_due(segment, now) => Known::Nothing,
            None => match (self.marks.get(&segment), self.fresh) {
                (Some(mark), _) if mark.is_read => Known::Read(age(mark.verified)),
                (Some(mark), _) => Known::Written(age(mark.verified)),
                (None, Some(fresh)) => match fresh.unread {
                    Some(since) => Known::Written(age(since)),
                    None => Known::Read(age(fresh.since)),
                },
                (None, None) => Known::Nothing,
            },
        };
        Candidate {
            number: segment,
            known,
            is_beside_damage: self.beside.contains(&segment),
        }
    }

    /// The period, in seconds.
    pub(super) fn period_seconds(&self) -> u64 {
        (self.period_days * DAY_SECONDS).unsigned_abs()
    }

    /// How many segments were read within the period, not only written, and when the first of these was.
    pub(super) fn covered(&self, now: Stamp) -> (usize, Option<Stamp>) {
        let closed = self.marks.values().filter(|mark| mark.is_read);
        let open = self.fresh.filter(|fresh| {
            // A new one has nothing to read yet.
            fresh.from == 0 && fresh.unread.is_none() && !self.doubted.contains_key(&fresh.segment)
        });
        let read = closed
            .map(|mark| mark.verified)
            .chain(open.map(|fresh| fresh.since))
            .filter(|since| !self.is_old(*since, now));
        read.fold((0, None), |(count, oldest), since| {
            (
                count + 1,
                Some(oldest.map_or(since, |oldest: Stamp| oldest.min(since))),
            )
        })
    }

    /// A segment is as it was when it was found whole.
    pub(super) fn believe(&mut self, mark: SegmentMark) {
        self.earliest = self.earliest.map_or(Some(mark.verified), |earliest| {
            Some(earliest.min(mark.verified))
        });
        self.marks.insert(mark.number, mark);
    }

    /// A closed segment was found whole.
    pub(super) fn found_whole(&mut self, mark: SegmentMark) {
        self.believe(mark);
        self.doubted.remove(&mark.number);
        self.beside.remove(&mark.number);
        self.unsaved += 1;
    }

    /// What a segment has up to here is read now.
    pub(super) fn reading_begins(&mut self, segment: u32) {
        if let Some(fresh) = &mut self.fresh
            && fresh.segment == segment
        {
            fresh.unread = None;
        }
    }

    /// The segment that is being written was read up to its end and found whole.
    pub(super) fn open_one_is_whole(&mut self, segment: u32, now: Stamp) {
        if let Some(fresh) = &mut self.fresh
            && fresh.segment == segment
        {
            // What was written while it was read is still to be read back.
            (fresh.from, fresh.since) = (0, now);
            self.doubted.remove(&segment);
            self.beside.remove(&segment);
        }
    }

    /// What others compare to know whether anything was lost since they asked.
    pub(super) fn unbroken(&self) -> u64 {
        self.unbroken
    }

    /// As the disk says; `end` too.
    pub(super) fn unbroken_is(&mut self, unbroken: u64, end: End) {
        self.unbroken = unbroken;
        self.saved_end = end;
    }

    /// Something that was kept is lost or damaged: what others heard before says nothing any more.
    pub(super) fn break_off(&mut self, unbroken: u64) {
        self.unbroken = unbroken;
        self.unsaved += 1;
    }

    /// Something in a segment is not whole, or cannot be read.
    pub(super) fn doubt(&mut self, segment: u32) {
        if let Entry::Vacant(new) = self.doubted.entry(segment) {
            new.insert(None);
            let beside = [segment.saturating_sub(1), segment.saturating_add(1)];
            let calm = |number: &u32| !self.doubted.contains_key(number);
            self.beside.extend(beside.into_iter().filter(calm));
        }
        self.unsaved += usize::from(self.marks.remove(&segment).is_some());
    }

    /// It was read to its end, and something in it is not whole.
    pub(super) fn found_damaged(&mut self, segment: u32, now: Stamp) {
        self.doubt(segment);
        self.doubted.insert(segment, Some(now));
        self.beside.remove(&segment);
    }

    /// A segment's file was removed, since nothing in it was needed.
    pub(super) fn forget(&mut self, segment: u32) {
        self.doubted.remove(&segment);
        self.beside.remove(&segment);
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

    /// What is to be written down, if so many marks are new; with less than two also if the log's end is another one.
    pub(super) fn take_unsaved(
        &mut self,
        store: StoreId,
        at_least: usize,
        end: End,
    ) -> Option<Verified> {
        let is_moved = at_least < 2 && end != self.saved_end;
        if self.unsaved < at_least.max(1) && !is_moved {
            return None;
        }
        self.unsaved = 0;
        self.saved_end = end;
        Some(Verified {
            store,
            segments: self.marks.values().copied().collect(),
            unbroken: self.unbroken,
            end,
        })
    }

    /// What was to be written down was not: it is tried again.
    pub(super) fn saving_failed(&mut self) {
        self.unsaved += 1;
    }

    /// A clock that was set back makes nothing old. One that was wrong for a while leaves times that are still to come: they say nothing.
    fn is_old(&self, since: Stamp, now: Stamp) -> bool {
        let age = now.seconds.saturating_sub(since.seconds);
        let is_clock_right = self.earliest.is_none_or(|earliest| earliest <= now);
        age > self.period_days * DAY_SECONDS || (age < -DAY_SECONDS && is_clock_right)
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
            is_read: false,
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
        trust.begin_at(7, 8192, at(99));
        assert!(trust.covers(place(7, 8192), at(100)) && !trust.covers(place(8, 4096), at(100)));
        assert!(!trust.covers(place(7, 4096), at(100)));
        assert!(!trust.covers(place(7, 8192), at(99 + SWEEP_PERIOD_DAYS + 1)));
        trust.open_one_is_whole(7, at(99));
        assert!(trust.covers(place(7, 4096), at(100)) && !trust.covers(place(6, 4096), at(100)));
        assert!(trust.is_due(7, at(99 + SWEEP_PERIOD_DAYS + 1)));
        trust.doubt(1);
        assert!(!trust.covers(place(1, 4096), at(100)));
        trust.doubt(7);
        assert!(!trust.covers(place(7, 4096), at(100)) && trust.is_due(7, at(100)));
    }

    #[test]
    fn damage_brings_its_neighbours_and_is_read_again_in_its_own_time() {
        let mut trust = Trust::default();
        for number in [4, 5, 6] {
            trust.believe(mark(number, 90));
        }
        trust.begin_at(7, 0, at(90));
        let seen = |trust: &Trust, number| {
            let seen = trust.candidate(number, true, at(91));
            (seen.known, seen.is_beside_damage)
        };
        let day = u64::try_from(DAY_SECONDS).expect("it fits");
        assert_eq!(seen(&trust, 5), (Known::Written(day), false));
        assert_eq!(seen(&trust, 7), (Known::Read(day), false));
        trust.wrote(7, at(91));
        assert_eq!(seen(&trust, 7), (Known::Written(0), false));
        trust.doubt(6);
        assert_eq!(seen(&trust, 6), (Known::Nothing, false));
        assert_eq!(seen(&trust, 5), (Known::Written(day), true));
        assert_eq!(seen(&trust, 7), (Known::Written(0), true));
        trust.found_damaged(6, at(91));
        assert_eq!(seen(&trust, 6), (Known::Damaged(0), false));
        trust.found_whole(mark(5, 91));
        assert_eq!(seen(&trust, 5), (Known::Written(0), false));
        assert!(!trust.candidate(4, true, at(91)).is_beside_damage);
        assert_eq!(trust.candidate(4, false, at(91)).known, Known::Nothing);
        assert_eq!(trust.covered(at(91)), (0, None), "written is not read");
        for (number, day) in [(4, 91), (5, 80)] {
            let is_read = true;
            trust.found_whole(SegmentMark {
                is_read,
                ..mark(number, day)
            });
        }
        assert_eq!(trust.covered(at(91)), (2, Some(at(80))));
        assert_eq!(trust.covered(at(115)), (1, Some(at(91))));
    }

    #[test]
    fn a_mark_of_a_clock_that_ran_ahead_does_not_stand_until_its_time_comes() {
        let mut trust = Trust::default();
        trust.believe(mark(1, 5000));
        trust.believe(mark(2, 90));
        assert!(trust.is_due(1, at(100)) && !trust.is_due(2, at(100)));
        assert!(!trust.is_due(1, at(3)), "this clock is the wrong one");
    }

    #[test]
    fn everything_comes_due_after_the_days_that_were_set() {
        let mut trust = Trust::default();
        trust.believe(mark(1, 90));
        assert!(!trust.is_due(1, at(98)));
        trust.period_is(7);
        assert!(trust.is_due(1, at(98)));
    }

    #[test]
    fn marks_are_written_down_when_enough_are_new() {
        let mut trust = Trust::default();
        trust.believe(mark(1, 1));
        let store = StoreId([1; 8]);
        assert_eq!(trust.take_unsaved(store, 0, None), None);
        trust.found_whole(mark(2, 2));
        assert_eq!(trust.take_unsaved(store, 2, Some((3, 4096))), None);
        let saved = trust.take_unsaved(store, 1, None).expect("one is new");
        assert_eq!(saved.segments, [mark(1, 1), mark(2, 2)]);
        let end = Some((3, 8192));
        let saved = trust.take_unsaved(store, 1, end).expect("the log went on");
        assert_eq!((saved.end, saved.unbroken), (end, 0));
        assert_eq!(trust.take_unsaved(store, 1, end), None);
        trust.break_off(9);
        let saved = trust.take_unsaved(store, 1, end).expect("it is news");
        assert_eq!(saved.unbroken, 9);
        assert_eq!(trust.oldest(), Some(at(1)));
    }
}
