//! The pace of the sweep of people's files: how far a round came, and how much of it is due. Pure.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use smol_str::SmolStr;

use crate::terms::Stamp;

/// What is due is read in slices of an hour.
const SLICES_SECONDS: u64 = 3600;
/// A Box that was off catches up at so many times the usual pace at most.
const CATCH_UP: u64 = 4;
/// A slice is at least so long, so that a small data set is not read byte by byte.
const SLICE_BYTES_MIN: u64 = 8 << 20;

/// How far the present round came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct SweptTo {
    /// When it began. Data, not a reason to believe anything: it only paces.
    pub began: Stamp,
    /// The data set it is in, and the file that was looked at last.
    pub data_set: SmolStr,
    /// That file.
    pub path: ByteBuf,
    /// What was read in this round.
    pub bytes: u64,
    /// Whether everything was looked at.
    pub is_at_end: bool,
}

/// How many bytes are due now, of `all`, when a round that began at `began` has read `done`.
pub(super) fn due_bytes(now: Stamp, began: Stamp, period_days: u16, all: u64, done: u64) -> u64 {
    let period = u64::from(period_days.max(1)) * 86_400;
    let elapsed = u64::try_from(now.seconds.saturating_sub(began.seconds)).unwrap_or(0);
    let target = u128::from(all) * u128::from(elapsed.min(period)) / u128::from(period);
    let due = u64::try_from(target)
        .unwrap_or(u64::MAX)
        .saturating_sub(done);
    let usual = all / (period / SLICES_SECONDS).max(1);
    due.min(usual.saturating_mul(CATCH_UP).max(SLICE_BYTES_MIN))
}

/// Whether a new round is to begin: the last one is over and its time is up, or its beginning lies in the future.
pub(super) fn begins_anew(now: Stamp, swept: &SweptTo, period_days: u16) -> bool {
    let elapsed = now.seconds.saturating_sub(swept.began.seconds);
    let is_up = elapsed >= i64::from(period_days.max(1)) * 86_400;
    (swept.is_at_end && is_up) || elapsed < -86_400
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64) -> Stamp {
        Stamp {
            seconds: 1_700_000_000 + day * 86_400,
            nanos: 0,
        }
    }

    #[test]
    fn a_round_is_spread_over_the_period_and_a_box_that_was_off_catches_up_slowly() {
        const ALL: u64 = 720 << 30;
        let hour = ALL / 720;
        assert_eq!(due_bytes(at(0), at(0), 30, ALL, 0), 0);
        assert_eq!(due_bytes(at(1), at(0), 30, ALL, 23 * hour), hour);
        assert_eq!(
            due_bytes(at(1), at(0), 30, ALL, 25 * hour),
            0,
            "it is ahead"
        );
        assert_eq!(due_bytes(at(10), at(0), 30, ALL, 0), 4 * hour);
        assert_eq!(due_bytes(at(-5), at(0), 30, ALL, 0), 0);
        assert_eq!(due_bytes(at(4000), at(0), 30, ALL, ALL), 0);
        // A small one comes in few slices.
        assert_eq!(due_bytes(at(15), at(0), 30, 1000, 0), 500);
    }

    #[test]
    fn a_new_round_begins_when_the_last_is_over_and_its_time_is_up() {
        let round = |is_at_end| SweptTo {
            began: at(0),
            is_at_end,
            ..SweptTo::default()
        };
        assert!(!begins_anew(at(29), &round(true), 30));
        assert!(begins_anew(at(30), &round(true), 30));
        assert!(!begins_anew(at(40), &round(false), 30), "it goes on");
        assert!(
            begins_anew(at(-2), &round(true), 30),
            "the clock was set back"
        );
    }
}
