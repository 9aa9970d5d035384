//! One Box's hardware, and what a process on it holds of it: a [`Boot`], which is worth nothing once the power was cut.
//!
//! Invariant: no deed asked for under one boot changes anything after that boot ended.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use reserve::terms::Stamp;
use reserve::terms::limits::SEGMENT_BYTES;

use crate::dice::Dice;
use crate::disk::{DiskStats, Pool};
use crate::faults::Faults;
use crate::lie::Lie;
use crate::net::Network;
use crate::platter::{Platter, Torn};
use crate::strike::{Strike, Strikes};
use crate::trace::Trace;
use crate::wood::Wood;

const EIO: i32 = 5;
/// What every Box's wall clock says when a run begins: the first second of 2026.
const WALL_START_SECONDS: i64 = 1_767_225_600;

/// A task of some Box panicked: the story must fail, though tokio would only tell whoever joins the task.
#[derive(Default)]
pub(crate) struct Alarm {
    pub(crate) rang: Notify,
}

pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
    pub(crate) trace: Rc<Trace>,
    pub(crate) network: Rc<Network>,
    pub(crate) dice: Dice,
    pub(crate) keys: Dice,
    pub(crate) platter: RefCell<Platter>,
    pub(crate) wood: RefCell<Wood>,
    pub(crate) faults: RefCell<Faults>,
    pub(crate) strikes: RefCell<Strikes>,
    pub(crate) disk_stats: RefCell<DiskStats>,
    pub(crate) wall_offset_seconds: Cell<i64>,
    /// How many times as long looks that nobody waits for are apart.
    pub(crate) idleness: Cell<u32>,
    /// Whether deeds of its disk take no time: nobody else is there to do something meanwhile.
    pub(crate) is_timeless: Cell<bool>,
    /// What its disk lies about.
    pub(crate) lie: Cell<Option<Lie>>,
    /// How large a file of its store may get, if it is not as in life.
    pub(crate) segment_bytes: Cell<u64>,
    /// Buffers nobody uses: making one takes longer than most that is done with it.
    pub(crate) spare: Rc<RefCell<Vec<Vec<u8>>>>,
    alarm: Rc<Alarm>,
    born: Instant,
    is_on: Cell<bool>,
    boot: Cell<u64>,
    booted: Cell<Instant>,
    pool: RefCell<Rc<Pool>>,
    tasks: RefCell<BTreeMap<u64, AbortHandle>>,
    tasks_started: Cell<u64>,
}

/// The machine as long as it stays on: what every handle of a simulated Box holds.
#[derive(Clone)]
pub(crate) struct Boot {
    pub(crate) machine: Rc<Machine>,
    number: u64,
}

/// The mark of a task that runs: dropped with it, however it ends.
struct Running {
    machine: Rc<Machine>,
    number: u64,
}

impl Machine {
    pub(crate) fn new(
        seed: u64,
        name: &str,
        ip: IpAddr,
        trace: Rc<Trace>,
        network: Rc<Network>,
        alarm: Rc<Alarm>,
    ) -> Self {
        let now = Instant::now();
        let spare = Rc::default();
        Self {
            name: name.to_owned(),
            ip,
            trace,
            network,
            dice: Dice::new(seed, &format!("machine {name}")),
            keys: Dice::new(seed, &format!("entropy {name}")),
            platter: RefCell::default(),
            wood: RefCell::new(Wood::new(ip)),
            faults: RefCell::default(),
            strikes: RefCell::default(),
            disk_stats: RefCell::default(),
            wall_offset_seconds: Cell::new(0),
            idleness: Cell::new(1),
            is_timeless: Cell::new(false),
            lie: Cell::new(None),
            segment_bytes: Cell::new(SEGMENT_BYTES),
            spare: Rc::clone(&spare),
            alarm,
            born: now,
            is_on: Cell::new(true),
            boot: Cell::new(1),
            booted: Cell::new(now),
            pool: RefCell::new(Pool::new(spare)),
            tasks: RefCell::default(),
            tasks_started: Cell::new(0),
        }
    }

    /// The power goes: tasks stop where they stand, links break, the disk forgets.
    pub(crate) fn power_cut(&self, torn: Torn) {
        if !self.is_on.replace(false) {
            return;
        }
        self.event("power cut", &[], &[]);
        let tasks = self.tasks.take();
        for task in tasks.values() {
            task.abort();
        }
        self.network.host_lost_power(self.ip);
        self.platter.borrow_mut().power_cut(torn, &self.dice);
    }

    pub(crate) fn restart(&self) {
        self.power_cut(Torn::Nothing);
        self.event("power on", &[], &[]);
        self.is_on.set(true);
        self.boot.set(self.boot.get() + 1);
        self.booted.set(Instant::now());
        self.pool.replace(Pool::new(Rc::clone(&self.spare)));
        self.network.host_is_up(self.ip);
    }

    /// Everything that was on the Box is gone, for ever.
    pub(crate) fn lose_storage(&self) {
        self.power_cut(Torn::Nothing);
        self.event("storage lost", &[], &[]);
        self.platter.replace(Platter::default());
        self.wood.replace(Wood::new(self.ip));
        self.faults.replace(Faults::default());
    }

    /// Whether the drive does anything now.
    pub(crate) fn check_there(&self) -> io::Result<()> {
        if self.strikes.borrow().is_now(Strike::Fails) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.faults.borrow().check_there()
    }

    /// Bytes on their way from the disk.
    pub(crate) fn bring(&self, bytes: &mut [u8]) {
        if self.strikes.borrow().is_now(Strike::ReadsWrong)
            && let Ok(at) = usize::try_from(self.dice.below(bytes.len().max(1) as u64))
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte ^= 1;
        }
    }

    /// The keeper's drive is replaced by an empty one; people's files are on another.
    pub(crate) fn lose_drive(&self) {
        self.power_cut(Torn::Nothing);
        self.event("drive replaced", &[], &[]);
        self.platter.replace(Platter::default());
        self.faults.replace(Faults::default());
    }

    pub(crate) fn wall(&self) -> Stamp {
        let passed = self.born.elapsed();
        let seconds = i64::try_from(passed.as_secs()).unwrap_or(i64::MAX);
        Stamp {
            seconds: WALL_START_SECONDS + seconds + self.wall_offset_seconds.get(),
            nanos: passed.subsec_nanos(),
        }
    }

    pub(crate) fn moment_of(&self, shown: Stamp, offset_seconds: i64) -> Option<Duration> {
        let seconds = shown.seconds - WALL_START_SECONDS - offset_seconds;
        let seconds = u64::try_from(seconds).ok()?;
        Some(Duration::new(seconds, shown.nanos))
    }

    pub(crate) fn event(&self, what: &str, numbers: &[u64], bytes: &[u8]) {
        self.trace.event(&self.name, what, numbers, bytes);
    }
}

impl Boot {
    /// The boot the machine is in now, or was in when its power was cut.
    pub(crate) fn current(machine: &Rc<Machine>) -> Self {
        Self {
            number: machine.boot.get(),
            machine: Rc::clone(machine),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        !self.machine.is_on.get() || self.machine.boot.get() != self.number
    }

    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_over() {
            Err(no_power())
        } else {
            Ok(())
        }
    }

    pub(crate) fn up_time(&self) -> Duration {
        self.machine.booted.get().elapsed()
    }

    pub(crate) fn pool(&self) -> Rc<Pool> {
        Rc::clone(&self.machine.pool.borrow())
    }

    /// Starts a task that ends with the boot at the latest.
    pub(crate) fn start(&self, task: impl Future<Output = ()> + 'static) {
        if self.is_over() {
            return;
        }
        let machine = &self.machine;
        let number = machine.tasks_started.get();
        machine.tasks_started.set(number + 1);
        let running = Running {
            machine: Rc::clone(machine),
            number,
        };
        let task = tokio::task::spawn_local(async move {
            let _running = running;
            task.await;
        });
        machine
            .tasks
            .borrow_mut()
            .insert(number, task.abort_handle());
    }

    /// Does something to the hardware a while from now, as a task of its own: it is done even if the asker stops waiting,
    /// but not if the power is cut before. `None` means that it was.
    pub(crate) async fn deed<T: 'static>(
        &self,
        takes: Duration,
        work: impl FnOnce(&Machine) -> T + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let boot = self.clone();
        self.start(async move {
            sleep(takes).await;
            if !boot.is_over() {
                // The asker may have stopped waiting; the deed is done all the same.
                let _ = answer.send(work(&boot.machine));
            }
        });
        answered.await.ok()
    }
}

impl Boot {
    /// The same for the keeper's disk, where single deeds can be struck.
    pub(crate) async fn disk_deed<T: 'static>(
        &self,
        takes: Duration,
        work: impl FnOnce(&Machine) -> T + 'static,
    ) -> Option<T> {
        if self.machine.is_timeless.get() {
            return (!self.is_over()).then(|| work(&self.machine));
        }
        let done = self.deed(takes, |machine| {
            let strike = machine.strikes.borrow_mut().begin();
            let done = (strike != Some(Strike::CutBefore)).then(|| work(machine));
            machine.strikes.borrow_mut().end();
            if matches!(strike, Some(Strike::CutBefore | Strike::CutAfter)) {
                let torn = if machine.dice.coin() {
                    Torn::SomeBlocks
                } else {
                    Torn::Nothing
                };
                machine.power_cut(torn);
                return None;
            }
            done
        });
        done.await.flatten()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.machine.tasks.borrow_mut().remove(&self.number);
        if std::thread::panicking() {
            self.machine.alarm.rang.notify_one();
        }
    }
}

/// What a deed answers when the power was cut: only code that does not run on the Box itself ever sees it.
pub(crate) fn no_power() -> io::Error {
    io::Error::other("the simulated Box has no power; restart it and take a new handle")
}
