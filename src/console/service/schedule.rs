//! Snapshots by themselves: how long until the next one. A plain decision over monotonic time; the loop at the end acts.
//!
//! One is taken soon after the start (a Box that was off is behind), then one a period after the last ended, whoever asked
//! for it, and at once where part of the last is on no Box any more. Boxes of a reserve do not all begin at the same moment: each wait is a little longer or shorter by chance.

use std::time::Duration;

use super::Service;
use super::job::Asked;
use crate::author;
use crate::roster::Config;
use crate::world::{Clock, Entropy, Moment, World};

/// The first one waits this part of a period, so that the Box has met the others.
const SOON_ONE_IN: u32 = 60;
/// But not less or more than this.
const SOON: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(120));
/// After a failure the next try comes after this part of a period.
const AGAIN_ONE_IN: u32 = 4;
/// How often the configuration is looked at while nothing is due.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// What the decision depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schedule {
    /// When the last one ended in this run of the service, and whether it was taken.
    last: Option<(Moment, bool)>,
    /// Part of the newest one is on no Box any more.
    is_wanted: bool,
}

impl Schedule {
    /// One ended.
    pub fn ended(&mut self, at: Moment, was_taken: bool) {
        self.last = Some((at, was_taken));
        self.is_wanted = false;
    }

    /// Part of the newest one is on no Box any more: only reading the files again brings it back.
    pub fn want(&mut self) {
        self.is_wanted = true;
    }

    /// When the next one is due. `chance` is random: it moves the wait by up to a tenth either way.
    pub fn due(&self, period: Duration, began: Moment, chance: u8) -> Moment {
        if self.is_wanted {
            return began;
        }
        let (from, wait) = match self.last {
            None => (
                began,
                (period / SOON_ONE_IN).clamp(SOON.0, SOON.1).min(period),
            ),
            Some((at, true)) => (at, period),
            Some((at, false)) => (at, period / AGAIN_ONE_IN),
        };
        let jittered = wait * 9 / 10 + wait / 5 * u32::from(chance) / 255;
        Moment(from.0 + jittered)
    }
}

impl<W: World> Service<W> {
    /// Takes snapshots by themselves for as long as the service runs.
    pub(super) async fn keep_schedule(self) {
        if let Ok(looked) = author::last_look(self.world()).await {
            self.0.looked.set(looked);
        }
        let [mut chance] = self.world().entropy().bytes();
        let mut was_wrong = false;
        loop {
            if let Some(job) = self.running_snapshot() {
                drop(job.ended().await);
            }
            let config = Config::load(self.world().disk()).await;
            let now = self.world().clock().now();
            let schedule = *self.0.schedule.borrow();
            let due = match &config {
                Ok(config) => {
                    let period = config.snapshots.period();
                    self.0.period.set(period);
                    let period = period.filter(|_| !config.data.is_empty());
                    let again = std::mem::take(&mut was_wrong);
                    period.map(|period| {
                        if again {
                            now
                        } else {
                            schedule.due(period, self.0.began, chance)
                        }
                    })
                }
                // Nothing is taken until somebody corrects it, so somebody has to hear of it.
                Err(error) => {
                    if self.0.period.get().is_some() && !self.0.data.borrow().is_empty() {
                        was_wrong = true;
                        self.tell_failed(&error.to_string());
                    }
                    None
                }
            };
            let is_out = self.roster().member(&self.me()).is_none();
            let is_alone = is_out || self.roster().members().len() < 2;
            if due.is_none_or(|due| due > now) || is_alone {
                let until = due.map_or(LOOK_EVERY, |due| due.since(now));
                let wait = if is_alone { LOOK_EVERY } else { until };
                // Whoever joins may be the first to keep anything.
                let joined = self.0.roster_changed.notified();
                let clock = self.world().clock();
                clock.within(wait.min(clock.idly(LOOK_EVERY)), joined).await;
                continue;
            }
            [chance] = self.world().entropy().bytes();
            match self.begin_snapshot(Asked::BY_ITSELF).await {
                // How it ends is told by the job itself.
                Ok(job) => drop(job.ended().await),
                Err(fault) => {
                    tracing::warn!(%fault, "the snapshot that was due could not begin");
                    self.tell_failed(&fault.what);
                    let now = self.world().clock().now();
                    self.0.schedule.borrow_mut().ended(now, false);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    #[test]
    fn the_first_comes_soon_after_the_start_and_the_next_a_period_after_the_last() {
        let mut schedule = Schedule::default();
        for chance in [0, 128, 255] {
            let first = schedule.due(HOUR, at(1000), chance);
            assert!(first >= at(1054) && first <= at(1066), "{first:?}");
        }
        schedule.ended(at(2000), true);
        for chance in [0, 128, 255] {
            let next = schedule.due(HOUR, at(1000), chance);
            assert!(
                next >= at(2000 + 3240) && next <= at(2000 + 3960),
                "{next:?}"
            );
        }
        assert_ne!(
            schedule.due(HOUR, at(0), 3),
            schedule.due(HOUR, at(0), 200),
            "two Boxes do not begin together"
        );
    }

    #[test]
    fn one_that_is_wanted_is_due_at_once_and_once() {
        let mut schedule = Schedule::default();
        schedule.ended(at(2000), true);
        schedule.want();
        assert!(schedule.due(HOUR, at(1000), 0) <= at(2000));
        schedule.ended(at(2010), false);
        assert!(schedule.due(HOUR, at(1000), 0) > at(2010));
    }

    #[test]
    fn after_a_failure_it_is_tried_again_sooner() {
        let mut schedule = Schedule::default();
        schedule.ended(at(0), false);
        let next = schedule.due(HOUR, at(0), 255);
        assert!(next >= at(800) && next <= at(1000), "{next:?}");
    }

    #[test]
    fn short_and_long_periods_begin_within_reason() {
        let schedule = Schedule::default();
        let minute = schedule.due(Duration::from_secs(60), at(0), 0);
        assert!(minute >= at(2) && minute <= at(4), "{minute:?}");
        let week = schedule.due(HOUR * 168, at(0), 255);
        assert!(week <= at(132), "{week:?}");
    }
}
