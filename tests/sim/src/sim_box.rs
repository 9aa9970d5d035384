//! The whole world and a Box in it, as stories hold them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use reserve::terms::Stamp;
use reserve::world::World;

use crate::clock::{SimClock, SimEntropy};
use crate::dice::Dice;
use crate::disk::{DiskStats, SimDisk};
use crate::faults::Faults;
use crate::lie::Lie;
use crate::machine::{Alarm, Boot, Machine};
use crate::meddling::Meddling;
use crate::net::{Network, SimNet};
use crate::platter::Torn;
use crate::strike::Strike;
use crate::trace::{Trace, TraceHash};
use crate::traffic::Traffic;
use crate::tree::SimTree;

/// The power of a Box was cut before the work on it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerWasCut;

impl fmt::Display for PowerWasCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the Box lost power before this was done")
    }
}

impl std::error::Error for PowerWasCut {}

/// All Boxes, one network, one virtual time.
#[derive(Clone)]
pub struct SimWorld {
    shared: Rc<Shared>,
}

struct Shared {
    seed: u64,
    trace: Rc<Trace>,
    network: Rc<Network>,
    alarm: Rc<Alarm>,
    machines: RefCell<BTreeMap<String, Rc<Machine>>>,
}

impl SimWorld {
    /// An empty world. Must be called where virtual time runs: inside [`crate::run`], which hands one over.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let trace = Rc::new(Trace::new());
        let network = Network::new(seed, Rc::clone(&trace));
        let shared = Shared {
            seed,
            trace,
            network,
            alarm: Rc::default(),
            machines: RefCell::default(),
        };
        Self {
            shared: Rc::new(shared),
        }
    }

    /// The Box of that name, switched on when it is named for the first time. Addresses are given in that order: 10.0.0.1,
    /// 10.0.0.2 and so on.
    #[must_use]
    pub fn box_named(&self, name: &str) -> SimBox {
        let mut machines = self.shared.machines.borrow_mut();
        let number = machines.len() + 1;
        let machine = machines.entry(name.to_owned()).or_insert_with(|| {
            let number = u8::try_from(number).expect("a story has fewer than 256 Boxes");
            let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, number));
            self.shared.network.host_is_up(ip);
            let (trace, network, alarm) = (
                Rc::clone(&self.shared.trace),
                Rc::clone(&self.shared.network),
                Rc::clone(&self.shared.alarm),
            );
            Rc::new(Machine::new(
                self.shared.seed,
                name,
                ip,
                trace,
                network,
                alarm,
            ))
        });
        SimBox::of(machine)
    }

    /// Makes the network between two Boxes silent: nothing arrives any more, and nothing tells that it does not.
    pub fn partition(&self, one: &SimBox, other: &SimBox) {
        self.silence(one, other);
        self.silence(other, one);
    }

    /// The same in one direction only.
    pub fn silence(&self, from: &SimBox, to: &SimBox) {
        self.shared.network.silence(from.ip(), to.ip());
    }

    /// Ends a partition; what was under way arrives now.
    pub fn heal(&self, one: &SimBox, other: &SimBox) {
        self.shared.network.hear(one.ip(), other.ip());
        self.shared.network.hear(other.ip(), one.ip());
    }

    /// Lets everything take longer from one Box to another.
    pub fn slow_down(&self, from: &SimBox, to: &SimBox, by: Duration) {
        self.shared.network.slow_down(from.ip(), to.ip(), by);
    }

    /// Ends all links between two Boxes as if a router had forgotten them.
    pub fn reset_links(&self, one: &SimBox, other: &SimBox) {
        self.shared.network.reset(one.ip(), other.ip());
    }

    /// All links between two Boxes go dead, and nobody is told: what is sent into them arrives nowhere. New ones work.
    pub fn forget_links(&self, one: &SimBox, other: &SimBox) {
        self.shared.network.forget(one.ip(), other.ip());
    }

    /// Something on the way does this to the next bytes from one Box to another.
    pub fn meddle(&self, from: &SimBox, to: &SimBox, how: Meddling) {
        self.shared.network.meddle(from.ip(), to.ip(), how);
    }

    /// Nothing is read on a Box any more, whoever sends; it can still send.
    pub fn stop_reading(&self, at: &SimBox) {
        for from in self.shared.machines.borrow().values() {
            self.shared.network.silence(from.ip, at.ip());
        }
    }

    /// It reads again.
    pub fn read_again(&self, at: &SimBox) {
        for from in self.shared.machines.borrow().values() {
            self.shared.network.hear(from.ip, at.ip());
        }
    }

    /// Ends everything that is wrong with the network.
    pub fn calm_network(&self) {
        self.shared.network.calm();
    }

    /// From now on these bytes must not be seen on any wire.
    pub fn watch_for(&self, secret: &[u8]) {
        self.shared.network.watch_for(secret);
    }

    /// What must not be seen on any wire.
    #[must_use]
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        self.shared.network.secrets()
    }

    /// Where something that must not be seen was seen, one sentence each.
    #[must_use]
    pub fn leaks(&self) -> Vec<String> {
        self.shared.network.leaks()
    }

    /// A stream of chance for whoever tells the story, from the world's seed.
    #[must_use]
    pub fn dice(&self, label: &str) -> Dice {
        Dice::new(self.shared.seed, label)
    }

    pub(crate) fn trace_hash(&self) -> TraceHash {
        self.shared.trace.hash()
    }

    pub(crate) async fn alarm(&self) {
        self.shared.alarm.rang.notified().await;
    }
}

/// A Box as long as its power is not cut; after that, [`SimBox::restart`] gives a new handle and the old one is worth nothing.
#[derive(Clone)]
pub struct SimBox {
    boot: Boot,
    disk: SimDisk,
    tree: SimTree,
    net: SimNet,
    clock: SimClock,
    entropy: SimEntropy,
}

impl SimBox {
    fn of(machine: &Rc<Machine>) -> Self {
        let boot = Boot::current(machine);
        Self {
            disk: SimDisk::new(boot.clone()),
            tree: SimTree::new(boot.clone()),
            net: SimNet::new(boot.clone()),
            clock: SimClock::new(boot.clone()),
            entropy: SimEntropy::new(boot.clone()),
            boot,
        }
    }

    /// Cuts the power: tasks stop where they stand, links break, and what was not synced is forgotten.
    pub fn power_cut(&self) {
        self.boot.machine.power_cut(Torn::Nothing);
    }

    /// The same, but a random part of what was not synced survives.
    pub fn torn_power_cut(&self) {
        self.boot.machine.power_cut(Torn::SomeBlocks);
    }

    /// Switches the Box on again (cutting the power first if it is on).
    #[must_use]
    pub fn restart(&self) -> Self {
        self.boot.machine.restart();
        Self::of(&self.boot.machine)
    }

    /// Water over everything: the power is cut and disk and tree are gone for ever.
    pub fn flood(&self) {
        self.boot.machine.lose_storage();
    }

    /// The keeper's drive is replaced by an empty one: the power is cut, and all that is left are people's files.
    pub fn lose_drive(&self) {
        self.boot.machine.lose_drive();
    }

    /// Runs work on this Box to its end, unless the power is cut before.
    ///
    /// # Errors
    /// [`PowerWasCut`]; the work was dropped where it stood.
    pub async fn run<T: 'static>(
        &self,
        work: impl Future<Output = T> + 'static,
    ) -> Result<T, PowerWasCut> {
        let (done, result) = oneshot::channel();
        self.boot.start(async move {
            // Whoever asked may be gone; the work is done all the same.
            let _ = done.send(work.await);
        });
        result.await.map_err(|_| PowerWasCut)
    }

    /// Breaks or mends the disk.
    pub fn faults<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        change(&mut self.boot.machine.faults.borrow_mut())
    }

    /// Strikes one deed of the disk: that many deeds from now, 0 being the next.
    pub fn strike(&self, deeds: u64, strike: Strike) {
        self.boot.machine.strikes.borrow_mut().plan(deeds, strike);
    }

    /// Nothing is struck any more. Whether the deed that was to be had come already.
    #[must_use]
    pub fn call_off_strike(&self) -> bool {
        self.boot.machine.strikes.borrow_mut().call_off()
    }

    /// Has deeds of the disk take no time.
    pub fn make_timeless(&self) {
        self.boot.machine.is_timeless.set(true);
    }

    /// Has them take their time again.
    pub fn make_timely(&self) {
        self.boot.machine.is_timeless.set(false);
    }

    /// What arrived from this Box, and at it, since it was made.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.boot.machine.network.counted.of(self.ip())
    }

    /// What the disk did since the Box was made.
    #[must_use]
    pub fn disk_stats(&self) -> DiskStats {
        *self.boot.machine.disk_stats.borrow()
    }

    /// Sets this Box's wall clock apart from the others', in seconds.
    pub fn set_wall_offset(&self, seconds: i64) {
        self.boot.machine.wall_offset_seconds.set(seconds);
    }

    /// Seconds since 1970 by a clock that goes right.
    #[must_use]
    pub fn wall_seconds(&self) -> i64 {
        self.boot.machine.wall().seconds - self.wall_offset()
    }

    /// Has its disk lie about something from now on.
    pub fn lie_about(&self, lie: Option<Lie>) {
        self.boot.machine.lie.set(lie);
    }

    /// Has files of its store be so large at most.
    pub fn make_segments(&self, bytes: u64) {
        self.boot.machine.segment_bytes.set(bytes);
    }

    /// Has looks that nobody waits for be so many times as far apart as in life, for weeks that are quick to run.
    pub fn idle(&self, times: u32) {
        self.boot.machine.idleness.set(times);
    }

    /// How far this Box's wall clock is from the others', in seconds.
    #[must_use]
    pub fn wall_offset(&self) -> i64 {
        self.boot.machine.wall_offset_seconds.get()
    }

    /// How long a run has lasted when a wall clock with this offset shows this.
    #[must_use]
    pub fn moment_of(&self, shown: Stamp, offset_seconds: i64) -> Option<Duration> {
        self.boot.machine.moment_of(shown, offset_seconds)
    }

    /// Whether it has power.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.boot.is_over()
    }

    /// Files of the keeper whose paths begin so, with their lengths.
    #[must_use]
    pub fn files(&self, start: &str) -> Vec<(String, u64)> {
        self.boot.machine.platter.borrow().files(start)
    }

    /// All bytes of all of the keeper's files, one after the other, as a thief would read them.
    pub fn each_file(&self, mut look: impl FnMut(&str, &[u8])) {
        let platter = self.boot.machine.platter.borrow();
        for (path, _) in platter.files("") {
            look(&path, &platter.contents(&path));
        }
    }

    /// Makes this Box's disk hold what another's would hold if its power went now.
    pub fn copy_disk_of(&self, other: &Self) {
        let copy = other.boot.machine.platter.borrow().durable_copy();
        self.boot.machine.platter.replace(copy);
        let mut faults = other.boot.machine.faults.borrow().clone();
        faults.pass();
        self.boot.machine.faults.replace(faults);
    }

    /// Where it is called.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.boot.machine.ip
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.boot.machine.name
    }
}

impl World for SimBox {
    type Disk = SimDisk;
    type Tree = SimTree;
    type Net = SimNet;
    type Clock = SimClock;
    type Entropy = SimEntropy;

    fn disk(&self) -> &SimDisk {
        &self.disk
    }

    fn tree(&self) -> &SimTree {
        &self.tree
    }

    fn net(&self) -> &SimNet {
        &self.net
    }

    fn clock(&self) -> &SimClock {
        &self.clock
    }

    fn entropy(&self) -> &SimEntropy {
        &self.entropy
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.boot.start(task);
    }
}
