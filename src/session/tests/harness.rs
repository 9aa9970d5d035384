//! The smallest world a session needs, two members and their keys, and a link whose bytes can be seen and changed.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use smol_str::SmolStr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{LocalSet, spawn_local};
use x25519_dalek::StaticSecret;

use crate::format::keys::{NetworkKeys, RecoveryWay, ReserveSecret};
use crate::format::message::Message;
use crate::format::opening::Wish;
use crate::session::handshake::{Shared, call, hear_hello, say_hello};
use crate::session::noise::{Agreed, PLAIN_BYTES_MAX, Side};
use crate::session::queue::header;
use crate::session::{
    Answered, Callee, Gate, HelloFacts, LocalKeys, OpenError, Pool, Session, Surroundings, answer,
    open,
};
use crate::terms::limits::{RECEIVE_CREDIT_BYTES, RECEIVE_POOL_BYTES, ROSTER_BYTES_MAX};
use crate::terms::{KeyEpoch, PeerKey, Stamp, Suite};
use crate::world::{Clock, Entropy, Moment};

/// Runs a test on one thread whose time jumps to the next deadline whenever nothing else can happen.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, test);
}

/// A world of time, randomness and tasks.
#[derive(Clone)]
pub struct Bare {
    start: tokio::time::Instant,
    drawn: Rc<Cell<u64>>,
}

impl Bare {
    pub fn new() -> Self {
        Self {
            start: tokio::time::Instant::now(),
            drawn: Rc::default(),
        }
    }
}

impl Surroundings for Bare {
    type Clock = Self;
    type Entropy = Self;

    fn clock(&self) -> &Self {
        self
    }

    fn entropy(&self) -> &Self {
        self
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        spawn_local(task);
    }
}

impl Clock for Bare {
    fn now(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    fn wall(&self) -> Stamp {
        Stamp::default()
    }

    async fn sleep(&self, how_long: Duration) {
        tokio::time::sleep(how_long).await;
    }
}

impl Entropy for Bare {
    fn fill(&self, bytes: &mut [u8]) {
        self.drawn.set(self.drawn.get() + 1);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.drawn.get().to_le_bytes());
        hasher.finalize_xof().fill(bytes);
    }
}

/// Names, each with the key that belongs to it.
type Shelf<Name> = Rc<RefCell<Vec<(Name, [u8; 32])>>>;

/// One Box: its keys, whom it admits, its pool.
#[derive(Clone)]
pub struct Member {
    pub world: Bare,
    pub keys: LocalKeys,
    pub secret: [u8; 32],
    /// Makes the pre-shared key another one, but not the key of the code before the first message.
    pub psk_change: u8,
    pub admitted: Shelf<PeerKey>,
    pub tickets: Shelf<u64>,
    pub way: Option<RecoveryWay>,
    pub credit_bytes: u32,
    pub pool: Pool,
    pub guests: Pool,
}

impl Member {
    pub fn new(world: &Bare, number: u8) -> Self {
        Self {
            world: world.clone(),
            keys: LocalKeys::new(
                SigningKey::from_bytes(&[number; 32]),
                StaticSecret::from([number + 100; 32]),
            ),
            secret: [7; 32],
            psk_change: 0,
            admitted: Rc::default(),
            tickets: Rc::default(),
            way: None,
            credit_bytes: RECEIVE_CREDIT_BYTES,
            pool: Pool::new(RECEIVE_POOL_BYTES),
            guests: Pool::new(ROSTER_BYTES_MAX),
        }
    }

    pub fn admit(&self, other: &Self) {
        let member = (other.keys.peer(), other.keys.noise_static());
        self.admitted.borrow_mut().push(member);
    }

    pub fn callee(&self, suite: Suite) -> Callee {
        Callee {
            peer: self.keys.peer(),
            noise: self.keys.noise_static(),
            epoch: KeyEpoch(1),
            suite,
        }
    }

    pub async fn call(&self, link: DuplexStream, to: &Callee) -> Result<Session, OpenError> {
        open(&self.world, link, &self.keys, self, to, &self.pool).await
    }

    pub async fn take(&self, link: DuplexStream) -> Result<Answered, OpenError> {
        let (pool, guests) = (&self.pool, &self.guests);
        answer(&self.world, link, &self.keys, self, pool, guests).await
    }
}

impl Gate for Member {
    fn network_keys(&self, epoch: KeyEpoch) -> Option<NetworkKeys> {
        let mut keys = NetworkKeys::derive(epoch, &ReserveSecret(self.secret));
        keys.psk[0] ^= self.psk_change;
        (epoch == KeyEpoch(1)).then_some(keys)
    }

    fn ticket_secret(&self, number: u64) -> Option<[u8; 32]> {
        let tickets = self.tickets.borrow();
        let found = tickets.iter().find(|ticket| ticket.0 == number);
        found.map(|ticket| ticket.1)
    }

    fn recovery_way(&self) -> Option<RecoveryWay> {
        self.way.clone()
    }

    fn knows(&self, noise_static: &[u8; 32]) -> bool {
        let admitted = self.admitted.borrow();
        admitted.iter().any(|(_, noise)| noise == noise_static)
    }

    fn admits(&self, peer: &PeerKey, noise_static: &[u8; 32]) -> bool {
        self.admitted.borrow().contains(&(*peer, *noise_static))
    }

    fn hello(&self) -> HelloFacts {
        HelloFacts {
            boot: 5,
            version: SmolStr::new_static("test"),
            roster: [9; 32],
            credit_bytes: self.credit_bytes,
            heads: Vec::new(),
        }
    }
}

/// Two members who admit each other.
pub fn pair() -> (Member, Member) {
    let world = Bare::new();
    let (a, b) = (Member::new(&world, 1), Member::new(&world, 2));
    a.admit(&b);
    b.admit(&a);
    (a, b)
}

/// A session of two members over a link of this width.
pub async fn meet(a: &Member, b: &Member, suite: Suite) -> (Session, Session) {
    let (near, far) = duplex(1 << 20);
    meet_over(a, b, suite, near, far).await
}

/// The same over given ends.
pub async fn meet_over(
    a: &Member,
    b: &Member,
    suite: Suite,
    near: DuplexStream,
    far: DuplexStream,
) -> (Session, Session) {
    let to = b.callee(suite);
    let (called, taken) = tokio::join!(a.call(near, &to), b.take(far));
    (called.expect("called"), session_of(taken))
}

/// The session of an answered call.
pub fn session_of(taken: Result<Answered, OpenError>) -> Session {
    match taken {
        Ok(Answered::Session(session)) => session,
        Ok(Answered::Join(..) | Answered::Recover(_)) => panic!("a guest, not a member"),
        Err(error) => panic!("not answered: {error}"),
    }
}

/// What a hand on the link does with a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// Passes this on.
    Pass(u8),
    /// Lets it vanish.
    Swallow,
}

/// A link through somebody's hands, who sees each byte of the caller's direction with its place, and keeps a copy.
pub fn tapped(
    hand: impl Fn(usize, u8) -> Hand + 'static,
) -> (DuplexStream, DuplexStream, Rc<RefCell<Vec<u8>>>) {
    let (near, near_hand) = duplex(1 << 20);
    let (far_hand, far) = duplex(1 << 20);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (mut from_near, mut to_near) = tokio::io::split(near_hand);
    let (mut from_far, mut to_far) = tokio::io::split(far_hand);
    let log = seen.clone();
    let forth = async move {
        let mut buffer = [0; 4096];
        while let Ok(bytes @ 1..) = from_near.read(&mut buffer).await {
            let mut passed = Vec::new();
            for byte in &buffer[..bytes] {
                let at = log.borrow().len();
                log.borrow_mut().push(*byte);
                match hand(at, *byte) {
                    Hand::Pass(byte) => passed.push(byte),
                    Hand::Swallow => {}
                }
            }
            if to_far.write_all(&passed).await.is_err() {
                return;
            }
        }
    };
    spawn_local(async move {
        tokio::select! {
            biased;
            () = forth => {}
            _ = tokio::io::copy(&mut from_far, &mut to_near) => {}
        }
    });
    (near, far, seen)
}

/// A member who keeps to no rule after the hellos: its end of the link and its ciphers.
pub struct Raw {
    pub link: DuplexStream,
    pub agreed: Agreed,
}

impl Raw {
    /// Calls `b` with the keys of `a`.
    pub async fn meet(a: &Member, b: &Member) -> (Self, Session) {
        let (mut link, far) = duplex(1 << 20);
        let to = b.callee(Suite::ChaCha20Poly1305);
        let call = async {
            let keys = NetworkKeys::derive(KeyEpoch(1), &ReserveSecret(a.secret));
            let keys = Shared {
                psk: keys.psk,
                mac: keys.mac,
            };
            let wish = (Wish::Session(to.epoch), to.suite);
            let called = call(&a.world, &mut link, wish, &keys, &a.keys.noise, &to.noise).await;
            let mut agreed = called.expect("called");
            let said = say_hello(&mut link, &mut agreed, &a.keys, Side::Initiator, a.hello()).await;
            said.expect("said");
            let heard = hear_hello(&mut link, &mut agreed, Side::Responder).await;
            heard.expect("heard");
            agreed
        };
        let (agreed, taken) = tokio::join!(call, b.take(far));
        (Self { link, agreed }, session_of(taken))
    }

    /// Says anything as one Noise message.
    pub async fn say(&mut self, plain: &[u8]) {
        let mut sealed = Vec::new();
        self.agreed
            .sealer
            .seal(plain, &[], &mut sealed)
            .expect("sealed");
        // The other side may have hung up already.
        let _ = self.link.write_all(&sealed).await;
    }

    /// Says a whole message.
    pub async fn tell(&mut self, request: u32, message: Message, body: &[u8]) {
        let mut plain = header(request, message, Some(body)).expect("a header");
        plain.extend_from_slice(body);
        for part in plain.chunks(PLAIN_BYTES_MAX) {
            self.say(part).await;
        }
    }

    /// Reads until the other side hangs up, and tells how many bytes came.
    pub async fn drain(&mut self) -> usize {
        let mut rest = Vec::new();
        self.link.read_to_end(&mut rest).await.expect("in memory")
    }
}

/// Answers everything with `Done` until the session is over.
pub fn serve_done(session: &Session) {
    let session = session.clone();
    spawn_local(async move {
        while let Some(incoming) = session.next().await {
            incoming.answer(Message::Done, None).await;
        }
    });
}

/// Bytes that differ from place to place and from seed to seed.
pub fn bytes(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Lets everything happen that can without time passing.
pub async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}
