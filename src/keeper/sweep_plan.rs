//! Which segment the sweep reads next, and when: a plain function of what is known of each, without clock or disk.
//!
//! - What is not known to be whole comes at once, and so do the neighbours of damage.
//! - What was written and never read back comes within a day.
//! - All else is spread over the period: of `n` segments the one whose turn is `k`-th from now must not be older than
//!   `(n - k) / n` of it. So a store that was filled in one night is not read in one night thirty days later, and whatever
//!   restarts come between, the ages alone say how far the sweep is.
//!
//! Damage seldom comes alone: segments that lie beside each other grow old at slightly different speeds (by their bit-reversed numbers),
//! so what is read one after the other lies far apart and a bad region is met early; its neighbourhood follows at once.

use std::time::Duration;

/// One segment, as the plan sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its number.
    pub number: u32,
    /// What is known of it.
    pub known: Known,
    /// Something beside it is damaged.
    pub is_beside_damage: bool,
}

/// What is known of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing that may be believed.
    Nothing,
    /// It was found not to be whole so many seconds ago.
    Damaged(u64),
    /// It was written so many seconds ago and not read since.
    Written(u64),
    /// It was read so many seconds ago and found whole.
    Read(u64),
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Reads this one.
    Read {
        /// Which.
        number: u32,
        /// Whether the disk's other users come first, however long that takes.
        is_patient: bool,
    },
    /// Nothing is to be read before.
    Wait(Duration),
}

/// The next step of a sweep whose period has so many seconds.
pub(super) fn next(candidates: &[Candidate], period_seconds: u64) -> Step {
    let at_once = candidates.iter().filter(|one| is_at_once(one));
    if let Some(one) = at_once.min_by_key(|one| one.number.reverse_bits()) {
        return Step::Read {
            number: one.number,
            is_patient: !matches!(one.known, Known::Nothing),
        };
    }
    let spread_seconds = period_seconds * SPREAD_PERCENT / 100;
    let mut ages: Vec<(u64, u32)> = candidates.iter().filter_map(aging).collect();
    ages.sort_unstable_by(|one, other| other.cmp(one));
    let count = ages.len() as u64;
    let behind = (0..count).zip(&ages).map(|(turn, (age, _))| {
        let allowed = spread_seconds * (count - turn) / count;
        age.cast_signed() - allowed.cast_signed()
    });
    let behind = behind.max();
    if let (Some(behind), Some((oldest, number))) = (behind, ages.first())
        && behind > 0
    {
        return Step::Read {
            number: *number,
            is_patient: *oldest <= spread_seconds,
        };
    }
    let wait_to_spread = behind.map_or(WAIT_SECONDS_MAX, i64::unsigned_abs);
    let unread = candidates.iter().filter_map(|one| match one.known {
        Known::Written(age) => Some(READ_BACK_SECONDS.saturating_sub(age)),
        Known::Nothing | Known::Damaged(_) | Known::Read(_) => None,
    });
    let wait = unread.min().unwrap_or(WAIT_SECONDS_MAX).min(wait_to_spread);
    // To the second behind it, so that it is due then.
    Step::Wait(Duration::from_secs(
        (wait + 1).clamp(WAIT_SECONDS_MIN, WAIT_SECONDS_MAX),
    ))
}

fn is_at_once(one: &Candidate) -> bool {
    one.is_beside_damage
        || match one.known {
            Known::Nothing => true,
            Known::Damaged(age) => age > DAMAGED_AGAIN_SECONDS,
            Known::Written(age) => age > READ_BACK_SECONDS,
            Known::Read(_) => false,
        }
}

/// What grows old, and how fast; damage has its own rhythm.
fn aging(one: &Candidate) -> Option<(u64, u32)> {
    let age = match one.known {
        Known::Written(age) | Known::Read(age) => age.min(AGE_SECONDS_MAX),
        Known::Nothing | Known::Damaged(_) => return None,
    };
    let lead = u64::from(one.number.reverse_bits());
    Some((age + (((age / LEAD_PARTS) * lead) >> u32::BITS), one.number))
}

/// The part of the period over which readings are spread: what is left is for catching up after days without power.
const SPREAD_PERCENT: u64 = 80;
/// A segment comes sooner than its turn by up to such a part of its age, neighbours by very different ones.
const LEAD_PARTS: u64 = 8;
/// Older than any period.
const AGE_SECONDS_MAX: u64 = 1000 * 24 * 3600;
/// What was written is read back within a day: a drive that acknowledges and does not write is found while the author still has it all.
const READ_BACK_SECONDS: u64 = 18 * 3600;
/// What is damaged is read again once a day: a disk may have come back, or all of it may have been fetched anew.
const DAMAGED_AGAIN_SECONDS: u64 = 24 * 3600;
/// The shortest wait: nobody looks oftener.
const WAIT_SECONDS_MIN: u64 = 60;
/// The longest: segments come and go meanwhile.
const WAIT_SECONDS_MAX: u64 = 3600;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const DAY: u64 = 24 * 3600;
    const PERIOD: u64 = 30 * DAY;

    fn one(number: u32, known: Known) -> Candidate {
        Candidate {
            number,
            known,
            is_beside_damage: false,
        }
    }

    /// Lives through so many days with segments that were all written at the start; gives when each was read.
    fn live(count: u32, days: u64) -> Vec<(u64, u32)> {
        let mut read: BTreeMap<u32, Option<u64>> =
            (1..=count).map(|number| (number, None)).collect();
        let (mut now, mut readings) = (0, Vec::new());
        while now < days * DAY {
            let candidates: Vec<_> = read
                .iter()
                .map(|(number, read)| {
                    let known = match read {
                        Some(at) => Known::Read(now - at),
                        None => Known::Written(now),
                    };
                    one(*number, known)
                })
                .collect();
            match next(&candidates, PERIOD) {
                Step::Read { number, .. } => {
                    read.insert(number, Some(now));
                    readings.push((now, number));
                    now += 1;
                }
                Step::Wait(time) => now += time.as_secs(),
            }
        }
        readings
    }

    #[test]
    fn what_is_not_known_to_be_whole_comes_first_and_what_is_beside_damage_at_once() {
        let calm = [one(1, Known::Read(5)), one(2, Known::Nothing)];
        assert_eq!(
            next(&calm, PERIOD),
            Step::Read {
                number: 2,
                is_patient: false
            }
        );
        let mut beside = [one(1, Known::Read(5)), one(3, Known::Damaged(5))];
        assert!(matches!(next(&beside, PERIOD), Step::Wait(_)));
        beside[0].is_beside_damage = true;
        assert_eq!(
            next(&beside, PERIOD),
            Step::Read {
                number: 1,
                is_patient: true
            }
        );
    }

    #[test]
    fn damage_that_nobody_can_heal_is_read_once_a_day() {
        assert!(matches!(
            next(&[one(3, Known::Damaged(DAY))], PERIOD),
            Step::Wait(_)
        ));
        assert!(matches!(
            next(&[one(3, Known::Damaged(DAY + 1))], PERIOD),
            Step::Read { number: 3, .. }
        ));
    }

    #[test]
    fn what_was_written_is_read_back_within_a_day_and_then_spread_over_the_period() {
        let readings = live(100, 65);
        let (first, rest) = readings.split_at(100);
        assert!(rest.len() < 300, "{}", rest.len());
        assert!(first.iter().all(|(at, _)| *at < DAY));
        for day in (0..60).step_by(5) {
            let days = day..day + 5;
            let there = rest.iter().filter(|(at, _)| days.contains(&(at / DAY)));
            let count = there.count();
            assert!(
                (15..=27).contains(&count),
                "{count} readings in days {days:?}"
            );
        }
        for number in 1..=100 {
            let times: Vec<_> = readings.iter().filter(|(_, n)| *n == number).collect();
            assert!(times.windows(2).all(|pair| pair[1].0 - pair[0].0 < PERIOD));
            assert!(times.len() >= 3, "{number}: {times:?}");
        }
    }

    #[test]
    fn readings_that_follow_each_other_lie_far_apart() {
        let readings = live(64, 20);
        let spread: Vec<u32> = readings[64..].iter().map(|(_, number)| *number).collect();
        let far = spread
            .windows(2)
            .filter(|pair| pair[0].abs_diff(pair[1]) >= 8);
        assert!(
            far.count() * 10 > spread.len() * 8,
            "{:?}",
            &spread[..60.min(spread.len())]
        );
    }

    #[test]
    fn after_a_long_sleep_nobody_waits_and_the_oldest_comes_first() {
        let late = [
            one(1, Known::Read(25 * DAY)),
            one(2, Known::Read(29 * DAY)),
            one(3, Known::Read(DAY)),
        ];
        assert_eq!(
            next(&late, PERIOD),
            Step::Read {
                number: 2,
                is_patient: false
            }
        );
    }

    #[test]
    fn an_empty_store_has_nothing_to_read() {
        assert_eq!(
            next(&[], PERIOD),
            Step::Wait(Duration::from_secs(WAIT_SECONDS_MAX))
        );
    }
}
