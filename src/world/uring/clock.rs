//! Real time: tokio's timers for short waits and the alarm for long ones, the monotonic clock and the clock on the wall.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::alarm::Alarm;
use crate::terms::Stamp;
use crate::world::{Clock, Moment};

/// The clocks of this machine; moments count from when this was made.
#[derive(Debug, Clone)]
pub struct UringClock {
    start: Instant,
    /// Made when somebody first waits long; nothing in it if the system has none to give.
    alarm: Rc<OnceCell<Option<Rc<Alarm>>>>,
}

/// Waits from this long on may end a little later, together with others.
const LONG: Duration = Duration::from_secs(2);

impl UringClock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            alarm: Rc::default(),
        }
    }
}

impl Clock for UringClock {
    fn now(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    fn wall(&self) -> Stamp {
        stamp_of(SystemTime::now())
    }

    async fn sleep(&self, how_long: Duration) {
        if how_long >= LONG {
            let alarm = self.alarm.get_or_init(|| Alarm::start(self.start).ok());
            if let Some(alarm) = alarm {
                return alarm.wait(how_long).await;
            }
        }
        tokio::time::sleep(how_long).await;
    }
}

/// A system time as data; before 1970 the seconds are negative and the nanoseconds still count upwards.
fn stamp_of(time: SystemTime) -> Stamp {
    let seconds_of = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Stamp {
            seconds: seconds_of(after),
            nanos: after.subsec_nanos(),
        },
        Err(error) => {
            let before = error.duration();
            match before.subsec_nanos() {
                0 => Stamp {
                    seconds: -seconds_of(before),
                    nanos: 0,
                },
                nanos => Stamp {
                    seconds: -seconds_of(before) - 1,
                    nanos: 1_000_000_000 - nanos,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_count_seconds_down_and_nanoseconds_up() {
        let before = UNIX_EPOCH - Duration::new(3, 250_000_000);
        assert_eq!(
            stamp_of(before),
            Stamp {
                seconds: -4,
                nanos: 750_000_000
            }
        );
        let whole = UNIX_EPOCH - Duration::from_secs(3);
        assert_eq!(
            stamp_of(whole),
            Stamp {
                seconds: -3,
                nanos: 0
            }
        );
        let after = UNIX_EPOCH + Duration::new(3, 5);
        assert_eq!(
            stamp_of(after),
            Stamp {
                seconds: 3,
                nanos: 5
            }
        );
    }

    #[test]
    fn moments_never_go_back() {
        let clock = UringClock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
