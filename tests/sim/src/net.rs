//! The one network between all Boxes, and a Box's way into it.
//!
//! A link is two pipes, each with a carrier of its own: a task of the network that lets bytes arrive after the pipe's
//! latency, and holds them while the two Boxes are partitioned. New kinds of trouble (loss, narrow lines) belong into
//! [`carry`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, sleep_until};

use reserve::world::{Listener, Net};

use crate::dice::Dice;
use crate::machine::{Boot, no_power};
use crate::meddling::Meddling;
use crate::pipe::{Item, Pipe};
use crate::secrets::{self, Secrets};
use crate::trace::Trace;
use crate::traffic::Counted;

/// Waits between attempts to connect, in seconds: what Linux does, about two minutes in all.
const CONNECT_WAITS_SECONDS: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];
/// The slowest line between two Boxes, in milliseconds one way.
const LATENCY_MS_MAX: u64 = 5;
/// Calls that may wait to be accepted.
const BACKLOG: usize = 128;
/// Where free ports begin.
const FREE_PORTS_START: u16 = 40_000;

pub(crate) struct Network {
    trace: Rc<Trace>,
    dice: Dice,
    healed: Notify,
    state: RefCell<State>,
    /// What nobody may ever see on the wire, and where it was seen.
    secrets: RefCell<Secrets>,
    leaks: RefCell<Vec<String>>,
    pub(crate) counted: Counted,
}

#[derive(Default)]
struct State {
    hosts: BTreeMap<IpAddr, Host>,
    /// From whom to whom nothing arrives.
    partitions: BTreeSet<(IpAddr, IpAddr)>,
    /// How much longer it takes from whom to whom.
    slow: BTreeMap<(IpAddr, IpAddr), Duration>,
    /// What happens to the next bytes from whom to whom.
    meddling: BTreeMap<(IpAddr, IpAddr), Meddling>,
    pipes: Vec<Weak<Pipe>>,
    listeners_made: u64,
}

#[derive(Default)]
struct Host {
    is_up: bool,
    listeners: BTreeMap<u16, (u64, mpsc::Sender<(SimLink, SocketAddr)>)>,
    ports_taken: u16,
}

/// A Box's way into the network.
#[derive(Clone)]
pub struct SimNet {
    boot: Boot,
}

/// One end of a link.
pub struct SimLink {
    incoming: Rc<Pipe>,
    outgoing: Rc<Pipe>,
}

/// Something that waits for calls.
pub struct SimListener {
    boot: Boot,
    number: u64,
    at: SocketAddr,
    calls: mpsc::Receiver<(SimLink, SocketAddr)>,
}

enum Called {
    Answered(SimLink),
    Refused,
    Silence,
}

impl Network {
    pub(crate) fn new(seed: u64, trace: Rc<Trace>) -> Rc<Self> {
        let dice = Dice::new(seed, "network");
        Rc::new(Self {
            trace,
            dice,
            healed: Notify::new(),
            state: RefCell::default(),
            secrets: RefCell::default(),
            leaks: RefCell::default(),
            counted: Counted::default(),
        })
    }

    pub(crate) fn host_is_up(&self, ip: IpAddr) {
        self.state.borrow_mut().hosts.entry(ip).or_default().is_up = true;
    }

    pub(crate) fn host_lost_power(&self, ip: IpAddr) {
        let mut state = self.state.borrow_mut();
        let host = state.hosts.entry(ip).or_default();
        host.is_up = false;
        let listeners = std::mem::take(&mut host.listeners);
        let pipes: Vec<_> = state.pipes.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        drop(listeners);
        for pipe in pipes {
            if pipe.from == ip {
                // A Box that comes back answers "unknown connection", a proxy in between ends it politely: both happen.
                pipe.shut(if self.dice.coin() {
                    Item::Reset
                } else {
                    Item::Fin
                });
            }
            if pipe.to == ip {
                pipe.drop_reader();
            }
        }
    }

    /// From now on nothing arrives there from here, and nothing tells that it does not.
    pub(crate) fn silence(&self, from: IpAddr, to: IpAddr) {
        self.tell("silence", from, to);
        self.state.borrow_mut().partitions.insert((from, to));
    }

    /// What is under way arrives now.
    pub(crate) fn hear(&self, from: IpAddr, to: IpAddr) {
        self.tell("hear", from, to);
        self.state.borrow_mut().partitions.remove(&(from, to));
        self.healed.notify_waiters();
    }

    /// Everything takes so much longer from here to there.
    pub(crate) fn slow_down(&self, from: IpAddr, to: IpAddr, by: Duration) {
        self.tell("slow", from, to);
        self.state.borrow_mut().slow.insert((from, to), by);
    }

    /// All links between two Boxes end as if a router had forgotten them.
    pub(crate) fn reset(&self, one: IpAddr, other: IpAddr) {
        self.tell("reset", one, other);
        let pipes: Vec<_> = {
            let state = self.state.borrow();
            state.pipes.iter().filter_map(Weak::upgrade).collect()
        };
        for pipe in pipes {
            if ordered(pipe.from, pipe.to) == ordered(one, other) {
                pipe.shut(Item::Reset);
                pipe.drop_reader();
            }
        }
    }

    /// All links between two Boxes go dead without a sign.
    pub(crate) fn forget(&self, one: IpAddr, other: IpAddr) {
        self.tell("forget", one, other);
        let state = self.state.borrow();
        for pipe in state.pipes.iter().filter_map(Weak::upgrade) {
            if ordered(pipe.from, pipe.to) == ordered(one, other) {
                pipe.is_dead.set(true);
            }
        }
    }

    pub(crate) fn meddle(&self, from: IpAddr, to: IpAddr, how: Meddling) {
        self.tell("meddle", from, to);
        self.state.borrow_mut().meddling.insert((from, to), how);
    }

    /// Bytes as they arrive, whatever was done to them on the way.
    fn arriving(&self, pipe: &Pipe, bytes: Vec<u8>) -> Vec<u8> {
        let way = (pipe.from, pipe.to);
        let meddling = self.state.borrow_mut().meddling.remove(&way);
        let Some(meddling) = meddling else {
            return bytes;
        };
        let sent = bytes.len();
        let bytes = meddling.done_to(bytes, &self.dice);
        pipe.are_now(sent, bytes.len());
        bytes
    }

    /// Everybody hears everybody, as fast as ever, and what went dead is known to be.
    pub(crate) fn calm(&self) {
        let mut state = self.state.borrow_mut();
        state.partitions.clear();
        state.slow.clear();
        state.meddling.clear();
        let pipes = state.pipes.iter().filter_map(Weak::upgrade);
        let dead: Vec<_> = pipes.filter(|pipe| pipe.is_dead.take()).collect();
        drop(state);
        for pipe in dead {
            pipe.shut(Item::Reset);
            pipe.drop_reader();
        }
        self.healed.notify_waiters();
    }

    /// From now on this must not be seen on any wire.
    pub(crate) fn watch_for(&self, secret: &[u8]) {
        self.secrets.borrow_mut().add(secret);
    }

    /// What is watched for.
    pub(crate) fn secrets(&self) -> Vec<Vec<u8>> {
        self.secrets.borrow().all()
    }

    pub(crate) fn leaks(&self) -> Vec<String> {
        self.leaks.borrow().clone()
    }

    fn look_for_secrets(&self, place: &str, bytes: &[u8]) {
        if self.secrets.borrow().are_in(bytes) {
            let leak = format!("something secret was in clear on the wire: {place}");
            self.leaks.borrow_mut().push(leak);
        }
    }

    /// What is written on a disk: nobody's text anywhere, and no key among what is kept for others.
    pub(crate) fn look_on_disk(&self, name: &str, path: &str, bytes: &[u8]) {
        let secrets = self.secrets.borrow();
        if secrets.are_written(path, bytes) {
            let leak = secrets::on_disk(name, path);
            self.leaks.borrow_mut().push(leak);
        }
    }

    fn tell(&self, what: &str, from: IpAddr, to: IpAddr) {
        let pair = format!("{from} {to}");
        self.trace.event("network", what, &[], pair.as_bytes());
    }

    fn is_silent(&self, from: IpAddr, to: IpAddr) -> bool {
        self.state.borrow().partitions.contains(&(from, to))
    }

    fn slowness(&self, from: IpAddr, to: IpAddr) -> Duration {
        let state = self.state.borrow();
        state.slow.get(&(from, to)).copied().unwrap_or_default()
    }

    fn latency(&self, one: IpAddr, other: IpAddr) -> Duration {
        let ms = if one == other {
            0
        } else {
            1 + self.dice.below(LATENCY_MS_MAX)
        };
        Duration::from_millis(ms)
    }

    fn call(self: &Rc<Self>, from: IpAddr, to: SocketAddr, latency: Duration) -> Called {
        if self.is_silent(from, to.ip()) || self.is_silent(to.ip(), from) {
            return Called::Silence;
        }
        let mut state = self.state.borrow_mut();
        let Some(host) = state.hosts.get(&to.ip()).filter(|host| host.is_up) else {
            return Called::Silence;
        };
        let Some((_, listener)) = host.listeners.get(&to.port()) else {
            return Called::Refused;
        };
        let Ok(place) = listener.clone().try_reserve_owned() else {
            return Called::Silence;
        };

        let there = Rc::new_cyclic(|there| {
            let back = Pipe::new(to.ip(), from, latency, Weak::clone(there));
            let back = Rc::new(back);
            state.pipes.retain(|pipe| pipe.strong_count() > 0);
            state.pipes.push(Rc::downgrade(&back));
            tokio::task::spawn_local(carry(Rc::clone(self), Rc::clone(&back)));
            Pipe::new(from, to.ip(), latency, Rc::downgrade(&back))
        });
        let Some(back) = state.pipes.last().and_then(Weak::upgrade) else {
            return Called::Silence;
        };
        state.pipes.push(Rc::downgrade(&there));
        tokio::task::spawn_local(carry(Rc::clone(self), Rc::clone(&there)));

        let from_port = state.hosts.get_mut(&from).map_or(0, Host::free_port);
        drop(state);
        let callee = SimLink {
            incoming: Rc::clone(&there),
            outgoing: Rc::clone(&back),
        };
        place.send((callee, SocketAddr::new(from, from_port)));
        Called::Answered(SimLink {
            incoming: back,
            outgoing: there,
        })
    }
}

/// Lets what is sent into a pipe arrive, until nothing will be sent any more.
async fn carry(network: Rc<Network>, pipe: Rc<Pipe>) {
    loop {
        let Some((arrives, item)) = pipe.next() else {
            if pipe.is_over() {
                return;
            }
            pipe.sent.notified().await;
            continue;
        };
        sleep_until(arrives).await;
        let slowness = network.slowness(pipe.from, pipe.to);
        if !slowness.is_zero() {
            sleep(slowness).await;
        }
        while network.is_silent(pipe.from, pipe.to) {
            network.healed.notified().await;
        }
        if pipe.is_dead.get() {
            continue;
        }
        let item = match item {
            Item::Bytes(bytes) => Item::Bytes(network.arriving(&pipe, bytes)),
            end => end,
        };
        let (kind, bytes): (u64, &[u8]) = match &item {
            Item::Bytes(bytes) => (0, bytes),
            Item::Fin => (1, &[]),
            Item::Reset => (2, &[]),
        };
        network.trace.event(&pipe.way, "arrives", &[kind], bytes);
        network.look_for_secrets(&pipe.way, bytes);
        network.counted.add(pipe.from, pipe.to, bytes.len() as u64);
        if kind == 2
            && let Some(back) = pipe.back.upgrade()
        {
            back.break_writer();
        }
        if !pipe.deliver(item) {
            pipe.break_writer();
        }
    }
}

impl Host {
    fn free_port(&mut self) -> u16 {
        let port = FREE_PORTS_START + self.ports_taken % 20_000;
        self.ports_taken = self.ports_taken.wrapping_add(1);
        port
    }
}

impl SimNet {
    pub(crate) fn new(boot: Boot) -> Self {
        Self { boot }
    }
}

impl Net for SimNet {
    type Link = SimLink;
    type Listener = SimListener;

    async fn connect(&self, to: SocketAddr) -> io::Result<SimLink> {
        let machine = &self.boot.machine;
        let network = &machine.network;
        let here = to.ip().is_loopback() || to.ip().is_unspecified();
        let to = SocketAddr::new(if here { machine.ip } else { to.ip() }, to.port());
        let latency = network.latency(machine.ip, to.ip());
        for wait in CONNECT_WAITS_SECONDS {
            self.boot.check()?;
            sleep(latency).await;
            let called = network.call(machine.ip, to, latency);
            if !matches!(called, Called::Silence) {
                sleep(latency).await;
            }
            match called {
                Called::Answered(link) => {
                    machine.event(
                        "connected",
                        &[u64::from(to.port())],
                        to.ip().to_string().as_bytes(),
                    );
                    return Ok(link);
                }
                Called::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                Called::Silence => sleep(Duration::from_secs(wait)).await,
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    async fn listen(&self, at: SocketAddr) -> io::Result<SimListener> {
        self.boot.check()?;
        let machine = &self.boot.machine;
        if !(at.ip().is_unspecified() || at.ip().is_loopback() || at.ip() == machine.ip) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let mut state = machine.network.state.borrow_mut();
        state.listeners_made += 1;
        let number = state.listeners_made;
        let host = state.hosts.entry(machine.ip).or_default();
        let port = if at.port() == 0 {
            host.free_port()
        } else {
            at.port()
        };
        if host.listeners.contains_key(&port) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (caller, calls) = mpsc::channel(BACKLOG);
        host.listeners.insert(port, (number, caller));
        let at = SocketAddr::new(at.ip(), port);
        Ok(SimListener {
            boot: self.boot.clone(),
            number,
            at,
            calls,
        })
    }
}

impl Listener for SimListener {
    type Link = SimLink;

    async fn accept(&mut self) -> io::Result<(SimLink, SocketAddr)> {
        self.calls.recv().await.ok_or_else(no_power)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.at)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let machine = &self.boot.machine;
        let mut state = machine.network.state.borrow_mut();
        if let Some(host) = state.hosts.get_mut(&machine.ip)
            // After a restart the port may belong to the next boot's listener.
            && host.listeners.get(&self.at.port()).is_some_and(|(number, _)| *number == self.number)
        {
            host.listeners.remove(&self.at.port());
        }
    }
}

impl AsyncRead for SimLink {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.incoming.poll_read(cx, into)
    }
}

impl AsyncWrite for SimLink {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outgoing.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.shut(Item::Fin);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimLink {
    fn drop(&mut self) {
        self.outgoing.shut(Item::Fin);
        self.incoming.drop_reader();
    }
}

fn ordered(one: IpAddr, other: IpAddr) -> (IpAddr, IpAddr) {
    (one.min(other), one.max(other))
}
