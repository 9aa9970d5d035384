//! Keepers that did not take what they should, left alone for a while: longer each time, so that a Box that is full for a month is not asked
//! for all of a history every minute. Whatever may have changed its mind ends that at once: it was started anew, lost something, has more
//! room, or has to hold more; and where it only could not get something, another Box that came.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::format::message::Room;
use crate::terms::PeerKey;
use crate::terms::limits::RECORD_BYTES_MAX;
use crate::world::Moment;

/// So many places more in a chunk table are room for something.
const MORE_CHUNKS: u64 = 16;

/// What a keeper is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// Its share of this Box's newest snapshot.
    Newest,
    /// Its share of all an author's snapshots.
    AllOf(PeerKey),
}

impl What {
    /// The first pause, which doubles, and the longest.
    const fn pauses(self) -> (Duration, Duration) {
        match self {
            // That is what people wait for.
            Self::Newest => (Duration::from_secs(30), Duration::from_secs(600)),
            Self::AllOf(_) => (Duration::from_secs(60), Duration::from_secs(3600)),
        }
    }
}

/// How things stood when a keeper was asked. While they stand so, asking again brings nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    /// Which placement counts.
    pub places: u64,
    /// The keeper's own mark and process.
    pub keeper: (u64, Option<u64>),
    /// What the keeper said of its room.
    pub space: Option<Space>,
    /// How many sessions began, where another Box may have what this one could not get.
    pub meetings: Option<u64>,
}

/// What a keeper said of its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    chunks: u64,
    bytes: u64,
}

impl Space {
    /// Of what it said.
    pub(super) fn of(room: &Room) -> Self {
        Self {
            chunks: room.chunks_max.saturating_sub(room.chunks),
            bytes: room.for_you_bytes(),
        }
    }

    /// Whether more of what was refused may fit. Other programs' files come and go on the same disk: less than that is no news.
    const fn is_more_than(self, before: Self) -> bool {
        self.chunks >= before.chunks.saturating_add(MORE_CHUNKS)
            || self.bytes >= before.bytes.saturating_add(RECORD_BYTES_MAX as u64)
    }

    fn least(self, other: Self) -> Self {
        Self {
            chunks: self.chunks.min(other.chunks),
            bytes: self.bytes.min(other.bytes),
        }
    }
}

impl Stand {
    /// Whether a keeper that did not take all may do so now.
    fn is_better_than(&self, before: &Self) -> bool {
        let has_more_room = match (before.space, self.space) {
            (Some(before), Some(now)) => now.is_more_than(before),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let others_came = before.meetings.is_some() && before.meetings != self.meetings;
        self.places != before.places || self.keeper != before.keeper || has_more_room || others_came
    }
}

#[derive(Debug)]
struct Rest {
    stand: Stand,
    since: Moment,
    pause: Duration,
}

/// One entry for each keeper and what it is asked for.
#[derive(Debug, Default)]
pub(super) struct LeftAlone(BTreeMap<(What, PeerKey), Rest>);

impl LeftAlone {
    /// Whether a keeper is to be left alone still. `meetings` of `stand` are those there are now.
    pub(super) fn is(&mut self, which: (What, PeerKey), stand: &Stand, now: Moment) -> bool {
        let Some(rest) = self.0.get_mut(&which) else {
            return false;
        };
        if now.since(rest.since) >= rest.pause || stand.is_better_than(&rest.stand) {
            return false;
        }
        // What it said before it said no was old: more than the least it had is more room.
        rest.stand.space = match (rest.stand.space, stand.space) {
            (Some(before), Some(now)) => Some(before.least(now)),
            (before, None) => before,
            (None, now) => now,
        };
        true
    }

    /// It did not take all. Whether that is news.
    pub(super) fn begin(&mut self, which: (What, PeerKey), stand: Stand, now: Moment) -> bool {
        let (first, longest) = which.0.pauses();
        let before = self.0.get(&which);
        let is_news = before.is_none_or(|before| stand.is_better_than(&before.stand));
        let pause = match before.filter(|_| !is_news) {
            Some(before) => longest.min(before.pause * 2),
            None => first,
        };
        let rest = Rest {
            stand,
            since: now,
            pause,
        };
        self.0.insert(which, rest);
        is_news
    }

    /// It took all.
    pub(super) fn end(&mut self, which: (What, PeerKey)) {
        self.0.remove(&which);
    }

    /// An author's snapshots are to be looked after anew.
    pub(super) fn end_all_of(&mut self, author: PeerKey) {
        self.0.retain(|(what, _), _| *what != What::AllOf(author));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHICH: (What, PeerKey) = (What::AllOf(PeerKey([1; 32])), PeerKey([2; 32]));

    fn stand() -> Stand {
        Stand {
            places: 1,
            keeper: (7, Some(3)),
            space: Some(space(10, 5 << 20)),
            meetings: None,
        }
    }

    fn space(chunks: u64, bytes: u64) -> Space {
        Space { chunks, bytes }
    }

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn a_keeper_that_goes_on_saying_no_is_asked_less_and_less_but_never_less_than_hourly() {
        let (mut left, mut now) = (LeftAlone::default(), 0);
        let mut pauses = Vec::new();
        for turn in 0..9 {
            assert_eq!(left.begin(WHICH, stand(), at(now)), turn == 0, "news once");
            let began = now;
            while left.is(WHICH, &stand(), at(now)) {
                now += 60;
            }
            pauses.push((now - began) / 60);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        left.end(WHICH);
        assert!(!left.is(WHICH, &stand(), at(now)));
        assert!(left.begin(WHICH, stand(), at(now)), "it is news again");
    }

    #[test]
    fn whatever_may_have_changed_its_mind_ends_that_at_once() {
        let mut left = LeftAlone::default();
        for _ in 0..3 {
            left.begin(WHICH, stand(), at(0));
        }
        let mut is_left = |change: fn(&mut Stand)| {
            let mut stand = stand();
            change(&mut stand);
            left.is(WHICH, &stand, at(1))
        };
        assert!(is_left(|_| {}));
        assert!(!is_left(|stand| stand.places = 2));
        assert!(!is_left(|stand| stand.keeper = (8, Some(3))));
        assert!(!is_left(|stand| stand.keeper = (7, Some(4))));
        assert!(
            is_left(|stand| stand.meetings = Some(5)),
            "it said no itself"
        );
    }

    #[test]
    fn room_is_more_than_the_least_there_was_since_by_what_a_chunk_takes() {
        let mut left = LeftAlone::default();
        let with = |chunks, mebibytes: u64| Stand {
            space: Some(space(chunks, mebibytes << 20)),
            ..stand()
        };
        left.begin(WHICH, with(20, 5), at(0));
        // What it said before it said no was old; and a log that is rotated away is no room.
        for mebibytes in [0, 1, 2, 1] {
            assert!(left.is(WHICH, &with(20, mebibytes), at(1)));
        }
        assert!(!left.is(WHICH, &with(20, 3), at(1)));
        assert!(left.is(WHICH, &with(35, 0), at(1)));
        assert!(!left.is(WHICH, &with(36, 0), at(1)));
    }

    #[test]
    fn one_that_could_not_get_something_is_asked_again_when_another_box_comes() {
        let mut left = LeftAlone::default();
        let met = |meetings| Stand {
            meetings: Some(meetings),
            ..stand()
        };
        left.begin(WHICH, met(4), at(0));
        assert!(left.is(WHICH, &met(4), at(1)));
        assert!(!left.is(WHICH, &met(5), at(1)));
        left.end_all_of(PeerKey([1; 32]));
        assert!(!left.is(WHICH, &met(4), at(1)));
    }
}
