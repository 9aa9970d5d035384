//! Long waits, all of them on one timer of the kernel and at whole ticks, so that a Box with nothing to do sleeps.
//!
//! tokio's own timers wake the thread two or three times for each wait of seconds, once for each level of its wheel. Here
//! whoever waits until about the same time is woken together, and once. A wait is never shorter than asked for and less than
//! a tick longer. Memory: an entry for each waiting task.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Waits end at multiples of this.
const TICK: Duration = Duration::from_millis(500);

/// One timer for many waits.
#[derive(Debug)]
pub(super) struct Alarm {
    start: Instant,
    timer: AsyncFd<OwnedFd>,
    /// Who waits, by tick and then by number.
    waiting: RefCell<BTreeMap<(u64, u64), Waker>>,
    /// The tick the timer is set to.
    set_to: Cell<Option<u64>>,
    next: Cell<u64>,
}

/// A place among those that wait, given up however the wait ends.
struct Place<'a> {
    alarm: &'a Alarm,
    key: (u64, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.alarm.waiting.borrow_mut().remove(&self.key);
    }
}

fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX)
}

impl Alarm {
    /// A timer, and the task that listens to it.
    #[allow(
        deprecated,
        reason = "unsound only for what does not own its descriptor; its successor is an unsafe call"
    )]
    pub(super) fn start(start: Instant) -> io::Result<Rc<Self>> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let alarm = Rc::new(Self {
            start,
            timer: AsyncFd::new(timer)?,
            waiting: RefCell::default(),
            set_to: Cell::new(None),
            next: Cell::new(0),
        });
        drop(tokio::task::spawn_local(alarm.clone().ring()));
        Ok(alarm)
    }

    /// Waits so long, and less than a tick longer.
    pub(super) async fn wait(&self, how_long: Duration) {
        let tick = ticks(self.start.elapsed().saturating_add(how_long));
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let place = Place {
            alarm: self,
            key: (tick, number),
        };
        poll_fn(|context| {
            if self.is_past(tick) {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            self.waiting.borrow_mut().insert(place.key, waker);
            if self.set_to.get().is_none_or(|set_to| tick < set_to) {
                self.set(tick);
            }
            Poll::Pending
        })
        .await;
    }

    fn is_past(&self, tick: u64) -> bool {
        u128::from(tick) * TICK.as_nanos() <= self.start.elapsed().as_nanos()
    }

    fn set(&self, tick: u64) {
        let at = u128::from(tick) * TICK.as_nanos();
        let left = at.saturating_sub(self.start.elapsed().as_nanos()).max(1);
        let left = Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX));
        let value = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            },
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &value)
            .expect("the timer is ours, and its time is a time");
        self.set_to.set(Some(tick));
    }

    /// Listens to the timer and wakes whoever's time has come.
    async fn ring(self: Rc<Self>) {
        // An error means that the runtime ends.
        while let Ok(mut ready) = self.timer.readable().await {
            let mut rung = [0; 8];
            // What it says, how often it rang, is of no interest; when nothing is there it was set anew meanwhile.
            let _ = rustix::io::read(self.timer.get_ref(), &mut rung);
            ready.clear_ready();
            self.set_to.set(None);
            let next = loop {
                let first = self.waiting.borrow().first_key_value().map(|(key, _)| *key);
                match first {
                    Some(key) if self.is_past(key.0) => {
                        let waker = self.waiting.borrow_mut().remove(&key);
                        waker.into_iter().for_each(Waker::wake);
                    }
                    other => break other,
                }
            };
            if let Some((tick, _)) = next {
                self.set(tick);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::uring::tests::in_ring;

    #[test]
    fn a_wait_is_never_shorter_and_waits_end_in_their_order() {
        in_ring(async {
            let start = Instant::now();
            let alarm = Alarm::start(start).expect("there is a timer");
            let ended = Rc::new(RefCell::new(Vec::new()));
            let waits: Vec<_> = [1200, 100, 700]
                .into_iter()
                .map(|ms| {
                    let (alarm, ended) = (alarm.clone(), ended.clone());
                    tokio::task::spawn_local(async move {
                        alarm.wait(Duration::from_millis(ms)).await;
                        assert!(start.elapsed() >= Duration::from_millis(ms));
                        ended.borrow_mut().push(ms);
                    })
                })
                .collect();
            for wait in waits {
                wait.await.expect("it ends");
            }
            assert_eq!(*ended.borrow(), [100, 700, 1200]);
            assert!(alarm.waiting.borrow().is_empty());
        });
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_nothing_and_the_next_one_ends() {
        in_ring(async {
            let alarm = Alarm::start(Instant::now()).expect("there is a timer");
            tokio::select! {
                biased;
                () = alarm.wait(Duration::from_millis(400)) => panic!("it was not to wait so long"),
                () = tokio::task::yield_now() => {}
            }
            assert!(alarm.waiting.borrow().is_empty());
            alarm.wait(Duration::from_millis(600)).await;
        });
    }

    #[test]
    fn those_that_wait_until_about_the_same_time_share_a_tick() {
        let ms = Duration::from_millis;
        assert_eq!(
            (ticks(ms(5000)), ticks(ms(5001)), ticks(ms(5499))),
            (10, 11, 11)
        );
    }
}
