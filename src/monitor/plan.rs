//! How a comparison narrows down, and when one is due. Pure.

use std::time::Duration;

use crate::format::compare::{DEPTH_MAX, Ranges};
use crate::world::Moment;

/// Claims in a range that is told mark by mark: fewer make more ranges to ask for, more make each difference dearer.
const MARKS_IN_A_RANGE: usize = 16;
/// So few claims are told at once, without fingerprints.
const LISTED_AT_ONCE: usize = 2048;
/// The first question has at most so many bits' fingerprints: 32 KiB.
const FIRST_BITS_MAX: u8 = 12;
/// The second cuts a range that differs into so many bits' parts.
const SECOND_BITS_MAX: u8 = 4;

/// Two keepers that are in touch compare at least this often.
const COMPARE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// A store that loses one thing after the other is not compared after each of them.
const COMPARE_LEAST: Duration = Duration::from_secs(30);
/// And after a line between them was cut, or a comparison that did not end well, not oftener than this.
const COMPARE_AGAIN: Duration = Duration::from_secs(600);
/// Whoever lacked something fetches it by itself and says nothing but how many chunks it has: when that changed it is compared again
/// after so long, and in any case after an hour. So is everybody when this keeper took something: others may have taken the same.
const COMPARE_TAKEN: Duration = Duration::from_secs(60);
const COMPARE_UNEVEN: Duration = Duration::from_secs(3600);

/// Into how many bits' parts names are cut, first and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Of all names; 0 goes to the marks at once.
    pub first: u8,
    /// Of each range that differs.
    pub second: u8,
}

impl Plan {
    /// For a store of so many chunks.
    #[must_use]
    pub fn of(chunks: usize) -> Self {
        if chunks <= LISTED_AT_ONCE {
            return Self {
                first: 0,
                second: 0,
            };
        }
        let leaves = chunks.div_ceil(MARKS_IN_A_RANGE).next_power_of_two();
        let bits = u8::try_from(leaves.trailing_zeros()).unwrap_or(DEPTH_MAX);
        let first = bits.min(FIRST_BITS_MAX);
        Self {
            first,
            second: (bits - first).min(SECOND_BITS_MAX),
        }
    }
}

/// Two halves of what turned out to be too much for one question; `None` if it cannot be cut.
#[must_use]
pub fn halves(ranges: &Ranges) -> Option<[Ranges; 2]> {
    let depth = ranges.depth;
    let of = |depth, of: &[u32]| Ranges {
        depth,
        of: of.to_vec(),
    };
    match ranges.of.as_slice() {
        [] => None,
        [one] if depth < DEPTH_MAX => {
            Some([of(depth + 1, &[2 * one]), of(depth + 1, &[2 * one + 1])])
        }
        [_] => None,
        many => {
            let (front, back) = many.split_at(many.len() / 2);
            Some([of(depth, front), of(depth, back)])
        }
    }
}

/// What a comparison with a keeper stood on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ground {
    /// Which line between the two it was: another one after each cut.
    pub line: u64,
    /// The mark of this keeper, drawn anew at each loss.
    pub mine: u64,
    /// The mark of the other.
    pub theirs: u64,
    /// Where chunks belonged, absent members taken into account.
    pub places: u64,
    /// How many chunks the other had.
    pub their_chunks: u64,
    /// How many claims this keeper had taken by comparisons.
    pub taken: u64,
}

/// The last comparison with a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// What it stood on.
    pub ground: Ground,
    /// When it ended.
    pub at: Moment,
    /// Whether nothing was lacking here any more.
    pub is_whole: bool,
    /// Whether the other lacked nothing either.
    pub is_even: bool,
}

/// Whether a keeper is to be compared with now.
#[must_use]
pub fn is_due(last: Option<&Last>, ground: &Ground, now: Moment) -> bool {
    let Some(last) = last else {
        return true;
    };
    let waited = now.since(last.at);
    // A loss on either side, and another place for things, wait for little.
    let same = Ground {
        line: ground.line,
        their_chunks: ground.their_chunks,
        taken: ground.taken,
        ..last.ground
    };
    if same != *ground {
        return waited >= COMPARE_LEAST;
    }
    // Whoever lacked something may have it by now.
    if !last.is_even && last.ground.their_chunks != ground.their_chunks {
        return waited >= COMPARE_TAKEN;
    }
    // What was taken from another since, the two may both have by now, and neither knows of the other.
    let has_more = last.ground.taken != ground.taken;
    let is_restless = !last.is_whole || last.ground.line != ground.line;
    waited >= COMPARE_EVERY
        || ((!last.is_even || has_more) && waited >= COMPARE_UNEVEN)
        || (is_restless && waited >= COMPARE_AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUND: Ground = Ground {
        line: 1,
        mine: 2,
        theirs: 3,
        places: 4,
        their_chunks: 5,
        taken: 6,
    };

    #[test]
    fn a_million_names_need_three_questions_and_a_handful_one() {
        assert_eq!(
            Plan::of(1_000_000),
            Plan {
                first: 12,
                second: 4
            }
        );
        assert_eq!(
            Plan::of(60_000),
            Plan {
                first: 12,
                second: 0
            }
        );
        assert_eq!(
            Plan::of(2_048),
            Plan {
                first: 0,
                second: 0
            }
        );
        assert_eq!(
            Plan::of(0),
            Plan {
                first: 0,
                second: 0
            }
        );
        let most = Plan::of(usize::MAX / 2);
        assert!(most.first + most.second <= DEPTH_MAX);
    }

    #[test]
    fn what_is_too_much_is_cut_into_halves_until_one_finest_range_is_left() {
        let all = Ranges {
            depth: 0,
            of: vec![0],
        };
        let [low, high] = halves(&all).expect("it can be cut");
        assert_eq!((low.depth, low.of, high.of), (1, vec![0], vec![1]));
        let three = Ranges {
            depth: 4,
            of: vec![1, 5, 9],
        };
        let [front, back] = halves(&three).expect("it can be cut");
        assert_eq!((front.of, back.of), (vec![1], vec![5, 9]));
        let finest = Ranges {
            depth: DEPTH_MAX,
            of: vec![7],
        };
        assert_eq!(halves(&finest), None);
    }

    #[test]
    fn a_loss_is_compared_soon_a_cut_line_after_a_while_and_quiet_ones_daily() {
        let ground = GROUND;
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let last = Last {
            ground,
            at: at(0),
            is_whole: true,
            is_even: true,
        };
        assert!(is_due(None, &ground, at(0)));
        assert!(!is_due(Some(&last), &ground, at(24 * 3600 - 1)));
        assert!(is_due(Some(&last), &ground, at(24 * 3600)));
        for lost in [
            Ground { mine: 9, ..ground },
            Ground {
                theirs: 9,
                ..ground
            },
            Ground {
                places: 9,
                ..ground
            },
        ] {
            assert!(!is_due(Some(&last), &lost, at(29)), "{lost:?}");
            assert!(is_due(Some(&last), &lost, at(30)), "{lost:?}");
        }
        let cut = Ground { line: 9, ..ground };
        assert!(!is_due(Some(&last), &cut, at(599)));
        assert!(is_due(Some(&last), &cut, at(600)));
        let lacking = Last {
            is_whole: false,
            is_even: false,
            ..last
        };
        assert!(!is_due(Some(&lacking), &ground, at(599)));
        assert!(is_due(Some(&lacking), &ground, at(600)));
        let uneven = Last {
            is_even: false,
            ..last
        };
        assert!(!is_due(Some(&uneven), &ground, at(3599)));
        assert!(is_due(Some(&uneven), &ground, at(3600)));
        let more = Ground {
            their_chunks: 6,
            ..ground
        };
        assert!(!is_due(Some(&uneven), &more, at(59)));
        assert!(is_due(Some(&uneven), &more, at(60)));
        assert!(!is_due(Some(&last), &more, at(24 * 3600 - 1)));
    }

    #[test]
    fn whoever_took_something_from_another_keeper_compares_again_within_an_hour() {
        let ground = GROUND;
        let last = Last {
            ground,
            at: Moment(Duration::ZERO),
            is_whole: true,
            is_even: true,
        };
        let at = |seconds| Moment(Duration::from_secs(seconds));
        let more = Ground { taken: 7, ..ground };
        assert!(!is_due(Some(&last), &more, at(3599)));
        assert!(is_due(Some(&last), &more, at(3600)));
        assert!(!is_due(Some(&last), &ground, at(3600)));
    }
}
