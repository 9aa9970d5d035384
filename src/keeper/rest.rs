//! How a reading that nobody waits for gives way to whoever needs the disk.

use std::cell::Cell;
use std::time::Duration;

use super::verify::Pace;
use crate::terms::limits::STORE_BUFFER_BYTES;
use crate::world::{Clock, Disk, Moment, World};

/// Gives way to others, a buffer at a time.
pub struct Rest {
    pace: Pace,
    is_patient: bool,
    bytes: usize,
    since: Option<Moment>,
    pressure: Pressure,
}

/// How many people wait for something that rests.
#[derive(Default)]
pub(super) struct Hurry(Cell<usize>);

/// One who waits. Dropping it is not waiting any more.
pub(super) struct Waiting<'a>(&'a Cell<usize>);

impl Hurry {
    /// Somebody begins to wait.
    pub(super) fn begin(&self) -> Waiting<'_> {
        self.0.set(self.0.get() + 1);
        Waiting(&self.0)
    }

    /// Whether anybody waits.
    pub(super) fn is_on(&self) -> bool {
        self.0.get() > 0
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// How busy others keep the disk, as it was found last.
#[derive(Default)]
struct Pressure {
    asked: Option<Moment>,
    percent: Option<u8>,
}

impl Pressure {
    async fn percent<W: World>(&mut self, world: &W, now: Moment) -> u8 {
        let is_new = self
            .asked
            .is_some_and(|asked| now.since(asked) < PRESSURE_LASTS);
        if !is_new {
            self.asked = Some(now);
            self.percent = world.disk().pressure_percent().await;
        }
        self.percent.unwrap_or(0)
    }
}

impl Rest {
    /// At this pace; the patient also wait while the disk is busy with something else.
    #[must_use]
    pub fn new(pace: Pace, is_patient: bool) -> Self {
        Self {
            pace,
            is_patient,
            bytes: 0,
            since: None,
            pressure: Pressure::default(),
        }
    }

    /// So many bytes were looked at. In a hurry, since somebody waits for this to end, there is no rest.
    pub async fn take<W: World>(&mut self, world: &W, bytes: usize, in_a_hurry: bool) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes < STORE_BUFFER_BYTES {
            return;
        }
        self.bytes = 0;
        if self.pace == Pace::Full || in_a_hurry {
            tokio::task::yield_now().await;
            return;
        }
        let clock = world.clock();
        let now = clock.now();
        let worked = self.since.map_or(Duration::ZERO, |since| now.since(since));
        let is_busy = self.is_patient
            && (worked > SLOW_READ || self.pressure.percent(world, now).await >= BUSY_PERCENT);
        let rest = match is_busy {
            true => BUSY_REST,
            false => (worked * 3).min(REST_MAX),
        };
        clock.sleep(rest).await;
        self.since = Some(clock.now());
    }
}

/// The longest rest from work: a read that hung once is no reason to sleep for ever.
const REST_MAX: Duration = Duration::from_secs(1);
/// The rest while the disk has other work: a segment takes an hour then.
const BUSY_REST: Duration = Duration::from_secs(15);
/// A buffer that takes this long comes from a disk that has other work: the slowest of them reads it in a tenth.
const SLOW_READ: Duration = Duration::from_millis(500);
/// The part of the time in which somebody waits for the disk (Linux, `/proc/pressure/io`, "some avg10") from which on it is busy with something
/// else: reading in a quarter of the time makes a quarter.
const BUSY_PERCENT: u8 = 40;
/// The system averages over ten seconds.
const PRESSURE_LASTS: Duration = Duration::from_secs(2);
