//! The sessions of this Box: who is reached now, who is called, who called us.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use super::rule::{Candidate, keeps_old, whereabouts};
use crate::session::{Session, SessionError};
use crate::terms::limits::{
    HANDSHAKES_MAX, HANDSHAKES_OF_AN_ADDRESS_MAX, REDIAL_MS, RETURN_SECONDS_MAX,
};
use crate::terms::{KeyEpoch, PeerKey};
use crate::world::{Clock, Entropy, Listener, Moment, Net, World};

/// How long an address may take to answer at all before the next one is tried.
const CALL_PATIENCE: Duration = Duration::from_secs(5);

/// A session that lived this long was a good one.
const SETTLED: Duration = Duration::from_secs(10);

/// A member to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callee {
    /// Who.
    pub peer: PeerKey,
    /// Its Noise static key.
    pub noise: [u8; 32],
    /// Whether it has AES instructions.
    pub fast_aes: bool,
    /// Where it was last known to be.
    pub addresses: Vec<SocketAddr>,
    /// Under which epoch's keys: a new one is a reason to call again at once.
    pub epoch: KeyEpoch,
}

/// What the mesh asks of the rest of the Box.
#[allow(async_fn_in_trait)] // one thread: no Send bounds are wanted
pub trait Host<W: World>: Clone + 'static {
    /// This Box.
    fn me(&self) -> PeerKey;
    /// All other members, as the roster knows them now.
    fn callees(&self) -> Vec<Callee>;
    /// Resolves when the roster changed.
    async fn roster_changed(&self);
    /// Makes a call into a session with a member.
    async fn open(&self, link: <W::Net as Net>::Link, callee: &Callee) -> Option<Session>;
    /// Makes a call of somebody into a session with a member. A guest is looked after to its end before nothing is returned: until
    /// then it counts as a stranger.
    async fn answer(&self, link: <W::Net as Net>::Link, from: SocketAddr) -> Option<Session>;
    /// A session began: serve it, tell it the news. Ends when the session does.
    fn met(&self, session: Session);
}

struct Inner<W: World, H: Host<W>> {
    world: W,
    host: H,
    sessions: RefCell<BTreeMap<PeerKey, Session>>,
    started: Moment,
    /// Since when there is no session with a peer; nothing of one with which there is a session, or was until just now.
    ended: RefCell<BTreeMap<PeerKey, Moment>>,
    /// Counts comings and goings.
    generation: Cell<u64>,
    changed: Notify,
    called: RefCell<Vec<PeerKey>>,
    /// Where callers that have not proven who they are come from.
    strangers: RefCell<Vec<IpAddr>>,
}

/// The sessions of this Box.
pub struct Mesh<W: World, H: Host<W>>(Rc<Inner<W, H>>);

impl<W: World, H: Host<W>> Clone for Mesh<W, H> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<W: World, H: Host<W>> Mesh<W, H> {
    /// Begins to call all members and to answer calls.
    pub fn start(world: W, host: H, listener: <W::Net as Net>::Listener) -> Self {
        let mesh = Self(Rc::new(Inner {
            world: world.clone(),
            host,
            sessions: RefCell::default(),
            started: world.clock().now(),
            ended: RefCell::default(),
            generation: Cell::new(0),
            changed: Notify::new(),
            called: RefCell::default(),
            strangers: RefCell::default(),
        }));
        world.spawn(mesh.clone().answer_calls(listener));
        world.spawn(mesh.clone().call_members());
        mesh
    }

    /// Answers calls at one more place.
    pub fn hear(&self, listener: <W::Net as Net>::Listener) {
        self.0.world.spawn(self.clone().answer_calls(listener));
    }

    /// The live session with a peer.
    #[must_use]
    pub fn session(&self, peer: PeerKey) -> Option<Session> {
        self.0
            .sessions
            .borrow()
            .get(&peer)
            .filter(|session| !session.is_closed())
            .cloned()
    }

    /// The session with a peer, waited for if it fell away, or this Box started, a moment ago.
    pub async fn session_again(&self, peer: PeerKey) -> Option<Session> {
        let since = self.gone_since(peer);
        loop {
            let seen = self.generation();
            if let Some(session) = self.session(peer) {
                return Some(session);
            }
            let gone_for = self.0.world.clock().now().since(since);
            let left = Duration::from_secs(RETURN_SECONDS_MAX).checked_sub(gone_for)?;
            let clock = self.0.world.clock();
            clock.within(left, self.changed_since(seen)).await?;
        }
    }

    /// Since when there is no session with a peer. Whoever asked over one hears that it is over before that was noted here: then
    /// it is over since now.
    fn gone_since(&self, peer: PeerKey) -> Moment {
        let had_one = self.0.sessions.borrow().contains_key(&peer);
        let noted = self.0.ended.borrow().get(&peer).copied();
        match noted {
            Some(since) => since,
            None if had_one => self.0.world.clock().now(),
            None => self.0.started,
        }
    }

    /// All live sessions.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.0
            .sessions
            .borrow()
            .values()
            .filter(|session| !session.is_closed())
            .cloned()
            .collect()
    }

    /// Grows with each coming and going.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.get()
    }

    /// Resolves once the generation is not `seen` any more.
    pub async fn changed_since(&self, seen: u64) {
        loop {
            let notified = self.0.changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.0.generation.get() != seen {
                return;
            }
            notified.await;
        }
    }

    fn bump(&self) {
        self.0.generation.set(self.0.generation.get() + 1);
        self.0.changed.notify_waiters();
    }

    /// Takes a new session in, or closes it if the one that is there stays.
    fn install(&self, session: &Session) -> bool {
        let me = self.0.host.me();
        let peer = session.peer();
        let candidate = |session: &Session| Candidate {
            caller: if session.initiated() { me } else { peer },
            boot: session.hello().boot,
        };
        let old = self.session(peer);
        if let Some(old) = &old {
            if keeps_old(candidate(old), candidate(session), me.min(peer)) {
                session.close();
                return false;
            }
            old.close();
        }
        self.0.sessions.borrow_mut().insert(peer, session.clone());
        self.0.ended.borrow_mut().remove(&peer);
        tracing::info!(peer = %peer.short(), called = session.initiated(), "session began");
        self.bump();
        let (mesh, over) = (self.clone(), session.clone());
        self.0.world.spawn(async move {
            over.closed().await;
            let why = over.ended().unwrap_or(SessionError::Gone);
            match why {
                SessionError::Unanswered
                | SessionError::Tampered
                | SessionError::Malformed(_)
                | SessionError::Rule(_) => {
                    tracing::warn!(peer = %peer.short(), %why, "session ended");
                }
                SessionError::Gone
                | SessionError::Closed
                | SessionError::Link(_)
                | SessionError::Silent
                | SessionError::Stalled => {
                    tracing::info!(peer = %peer.short(), %why, "session ended");
                }
            }
            let now = mesh.0.world.clock().now();
            // One that made way for another left no gap.
            if mesh.session(peer).is_none() {
                mesh.0.ended.borrow_mut().entry(peer).or_insert(now);
            }
            mesh.bump();
        });
        self.0.host.met(session.clone());
        true
    }

    async fn answer_calls(self, mut listener: <W::Net as Net>::Listener) {
        loop {
            let (link, from) = match listener.accept().await {
                Ok(call) => call,
                Err(error) => {
                    // Out of file descriptors, most likely: calls wait in the kernel meanwhile.
                    tracing::warn!(%error, "a call could not be taken");
                    self.0
                        .world
                        .clock()
                        .sleep(Duration::from_millis(REDIAL_MS.0))
                        .await;
                    continue;
                }
            };
            let place = whereabouts(from.ip());
            if !self.may_try(place) {
                tracing::debug!(%from, "too many strangers at once: hung up");
                continue;
            }
            self.0.strangers.borrow_mut().push(place);
            let mesh = self.clone();
            self.0.world.spawn(async move {
                let session = mesh.0.host.answer(link, from).await;
                let mut strangers = mesh.0.strangers.borrow_mut();
                if let Some(at) = strangers.iter().position(|there| *there == place) {
                    strangers.swap_remove(at);
                }
                drop(strangers);
                if let Some(session) = session {
                    mesh.install(&session);
                }
            });
        }
    }

    /// Whether one more caller from there may try to prove who it is: a few strangers must not keep everybody out.
    fn may_try(&self, from: IpAddr) -> bool {
        let strangers = self.0.strangers.borrow();
        let of_there = strangers.iter().filter(|ip| **ip == from).count();
        strangers.len() < HANDSHAKES_MAX && of_there < HANDSHAKES_OF_AN_ADDRESS_MAX
    }

    /// Keeps one caller for each member.
    async fn call_members(self) {
        loop {
            for callee in self.0.host.callees() {
                if !self.0.called.borrow().contains(&callee.peer) {
                    self.0.called.borrow_mut().push(callee.peer);
                    self.0.world.spawn(self.clone().call_member(callee.peer));
                }
            }
            self.0.host.roster_changed().await;
        }
    }

    /// Calls one member whenever there is no session with it, until it is no member any more.
    async fn call_member(self, peer: PeerKey) {
        let mut wait_ms = REDIAL_MS.0;
        loop {
            if let Some(session) = self.session(peer) {
                let began = self.0.world.clock().now();
                session.closed().await;
                // One that ends at once is no success: two Boxes with one identity, or a peer that closes after its hello,
                // would otherwise be called without a pause for ever.
                if self.0.world.clock().now().since(began) >= SETTLED {
                    wait_ms = REDIAL_MS.0;
                } else {
                    let pause = Duration::from_millis(wait_ms);
                    wait_ms = (wait_ms * 2).min(REDIAL_MS.1);
                    self.0.world.clock().sleep(pause).await;
                }
            }
            let Some(callee) = self
                .0
                .host
                .callees()
                .into_iter()
                .find(|callee| callee.peer == peer)
            else {
                break;
            };
            if self.session(peer).is_none() && self.call(&callee).await {
                continue;
            }
            // Jitter, so that two Boxes that start together do not call each other in step for ever.
            let [dice] = self.0.world.entropy().bytes::<1>();
            let pause = Duration::from_millis(wait_ms + wait_ms * u64::from(dice) / 512);
            let clock = self.0.world.clock();
            let moved = async {
                loop {
                    self.0.host.roster_changed().await;
                    let now = self
                        .0
                        .host
                        .callees()
                        .into_iter()
                        .find(|now| now.peer == peer);
                    if now.as_ref() != Some(&callee) {
                        break;
                    }
                }
            };
            let arrived = async {
                while self.session(peer).is_none() {
                    self.changed_since(self.generation()).await;
                }
            };
            tokio::select! {
                biased;
                () = moved => wait_ms = REDIAL_MS.0,
                () = arrived => {}
                () = clock.sleep(pause) => wait_ms = (wait_ms * 2).min(REDIAL_MS.1),
            }
        }
        self.0.called.borrow_mut().retain(|called| *called != peer);
    }

    async fn call(&self, callee: &Callee) -> bool {
        for address in &callee.addresses {
            let dialled = self
                .0
                .world
                .clock()
                .within(CALL_PATIENCE, self.0.world.net().connect(*address))
                .await;
            let link = match dialled.unwrap_or_else(|| Err(std::io::ErrorKind::TimedOut.into())) {
                Ok(link) => link,
                Err(error) => {
                    tracing::debug!(peer = %callee.peer.short(), %address, %error, "no way");
                    continue;
                }
            };
            if let Some(session) = self.0.host.open(link, callee).await {
                return self.install(&session) || self.session(callee.peer).is_some();
            }
        }
        false
    }
}
