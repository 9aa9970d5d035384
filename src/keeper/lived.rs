//! How long this keeper has run, all its runs together, and how long what an author gave up waits. Pure but for reading and writing
//! the small file.
//!
//! Invariants: only time in which it ran counts, and never more than the hours between two looks; what was not written down is lived
//! again; a shorter delay counts only after the longer one has passed, so that whoever shortens it gains nothing.

use std::time::Duration;

use crate::format::lived::Lived;
use crate::terms::StoreId;
use crate::terms::limits::{
    RELEASE_DELAY_DAYS_DEFAULT, RELEASE_DELAY_DAYS_MAX, RELEASE_DELAY_DAYS_MIN,
};
use crate::world::{Disk, Entropy, Moment, World};

/// Where it is written down.
pub(super) const LIVED_PATH: &str = "store/lived";
const DAY_SECONDS: u64 = 24 * 3600;
/// How often it is looked at and written down.
pub const LIVED_EVERY: Duration = Duration::from_secs(3600);

/// The count, and when it was looked at last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) lived: Lived,
    at: Moment,
    /// What this start found that was not as it should be.
    pub(super) mark: Option<[u8; 8]>,
}

impl Life {
    /// As the file says, or from the beginning.
    pub(super) async fn of<W: World>(world: &W, store: StoreId, now: Moment) -> Self {
        let bytes = world.disk().read_small(LIVED_PATH).await.ok().flatten();
        let known = bytes.and_then(|bytes| Lived::decode(&bytes).ok());
        let lived = known.filter(|lived| lived.store == store);
        Self::from(lived, store, world.entropy().bytes(), now)
    }

    pub(super) fn from(known: Option<Lived>, store: StoreId, drawn: [u8; 8], now: Moment) -> Self {
        let lived = known.unwrap_or(Lived {
            store,
            life: drawn,
            seconds: 0,
            delay_days: RELEASE_DELAY_DAYS_DEFAULT,
            lower: None,
            damage: None,
        });
        Self {
            lived,
            at: now,
            mark: None,
        }
    }

    /// Seconds until now.
    pub(super) fn seconds(&self, now: Moment) -> u64 {
        // A clock that leaps, or a machine that was asleep, is no time in which anybody could have noticed anything.
        let since = now.since(self.at).min(2 * LIVED_EVERY).as_secs();
        self.lived.seconds.saturating_add(since)
    }

    /// Looks at the clock; the file is to be written.
    pub(super) fn look(&mut self, now: Moment) {
        self.lived.seconds = self.seconds(now);
        self.at = now;
    }

    /// People say how many days are to be waited.
    pub(super) fn delay_is(&mut self, days: u16) {
        let days = days.clamp(RELEASE_DELAY_DAYS_MIN, RELEASE_DELAY_DAYS_MAX);
        let lived = &mut self.lived;
        if days >= lived.delay_days {
            (lived.delay_days, lived.lower) = (days, None);
            return;
        }
        match lived.lower {
            Some((lower, since)) if lower == days => {
                let waited = lived.seconds.saturating_sub(since);
                if waited >= u64::from(lived.delay_days) * DAY_SECONDS {
                    (lived.delay_days, lived.lower) = (days, None);
                }
            }
            Some(_) | None => lived.lower = Some((days, lived.seconds)),
        }
    }

    /// How many seconds more what was given up then must wait.
    pub(super) fn waits(&self, given_up: u64, now: Moment) -> u64 {
        let delay = u64::from(self.lived.delay_days) * DAY_SECONDS;
        let due = given_up.saturating_add(delay);
        due.saturating_sub(self.seconds(now))
    }

    /// When something was given up, by a note: in another count it is as if it were at the beginning of this one.
    pub(super) fn when(&self, life: [u8; 8], seconds: u64) -> u64 {
        if life == self.lived.life { seconds } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreId = StoreId([1; 8]);

    fn at(hours: u64) -> Moment {
        Moment(Duration::from_secs(hours * 3600))
    }

    fn life() -> Life {
        Life::from(None, STORE, [7; 8], at(0))
    }

    /// Lives through so many hours and looks at each.
    fn live(life: &mut Life, from: u64, hours: u64, days: u16) {
        for hour in from + 1..=from + hours {
            life.look(at(hour));
            life.delay_is(days);
        }
    }

    #[test]
    fn only_time_that_was_lived_counts() {
        let mut life = life();
        live(&mut life, 0, 24 * 29, 30);
        assert_eq!(life.waits(0, at(24 * 29)), 24 * 3600);
        assert_eq!(
            life.waits(0, at(24 * 29 + 1)),
            23 * 3600,
            "not written down"
        );
        let leap = at(24 * 365);
        assert_eq!(
            life.waits(0, leap),
            22 * 3600,
            "a leap of the clock is two hours"
        );
        let again = Life::from(Some(life.lived), STORE, [8; 8], at(0));
        assert_eq!(
            again.waits(0, at(0)),
            24 * 3600,
            "a machine that was off lived through nothing"
        );
    }

    #[test]
    fn a_lost_count_begins_anew_and_so_does_what_waits() {
        let mut life = life();
        live(&mut life, 0, 24 * 20, 30);
        let noted = (life.lived.life, life.lived.seconds);
        let other = Life::from(None, STORE, [9; 8], at(0));
        assert_eq!(other.when(noted.0, noted.1), 0);
        assert_eq!(other.waits(0, at(0)), 30 * DAY_SECONDS);
        assert_eq!(life.when(noted.0, noted.1), noted.1);
    }

    #[test]
    fn a_shorter_delay_counts_when_the_longer_one_has_passed_and_a_longer_one_at_once() {
        let mut life = life();
        live(&mut life, 0, 1, 7);
        live(&mut life, 1, 24 * 30 - 1, 7);
        assert_eq!(life.lived.delay_days, 30);
        // Somebody says something else meanwhile: that begins anew.
        live(&mut life, 24 * 30, 1, 8);
        live(&mut life, 24 * 30 + 1, 24 * 30 - 1, 8);
        assert_eq!(life.lived.delay_days, 30);
        live(&mut life, 24 * 60, 1, 8);
        assert_eq!((life.lived.delay_days, life.lived.lower), (8, None));
        life.delay_is(60);
        assert_eq!(life.lived.delay_days, 60);
        life.delay_is(0);
        assert_eq!(
            life.lived.lower.map(|(days, _)| days),
            Some(RELEASE_DELAY_DAYS_MIN)
        );
    }
}
