//! From a fresh link to a session: opening, Noise handshake, hellos. Straight down, each side within a bounded time.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use serde_bytes::ByteArray;
use smol_str::SmolStr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::noise::{Agreed, Handshake, NotVerified, Side, Terms, prove, verify};
use super::pool::Pool;
use super::queue::header;
use super::state::Parties;
use super::surroundings::Surroundings;
use super::talk::start;
use super::{OpenError, Session};
use crate::format::keys::{NetworkKeys, RecoveryWay};
use crate::format::malformed;
use crate::format::message::{Envelope, Hello, Message};
use crate::format::opening::{MAC_BYTES, Opening, Wish};
use crate::terms::limits::HANDSHAKE_SECONDS_MAX;
use crate::terms::{KeyEpoch, PeerKey, SnapshotNumber, Suite};
use crate::world::{Clock, Entropy};

/// An IK message without payload: a key, a sealed key, a seal. The opening tells its length before it is made.
const FIRST_BYTES: u16 = 32 + 48 + 16;
/// Its answer: a key, a seal.
const SECOND_BYTES: u16 = 32 + 16;

/// This Box's own keys.
#[derive(Clone)]
pub struct LocalKeys {
    /// The identity.
    pub sign: SigningKey,
    /// The Noise static key.
    pub noise: StaticSecret,
    /// Its public half, made once: strangers must not have a curve operation for the asking.
    noise_public: [u8; 32],
}

impl LocalKeys {
    /// Of both secrets.
    #[must_use]
    pub fn new(sign: SigningKey, noise: StaticSecret) -> Self {
        let noise_public = PublicKey::from(&noise).to_bytes();
        Self {
            sign,
            noise,
            noise_public,
        }
    }

    /// This Box's name among peers.
    #[must_use]
    pub fn peer(&self) -> PeerKey {
        PeerKey(self.sign.verifying_key().to_bytes())
    }

    /// The public half of the Noise key.
    #[must_use]
    pub fn noise_static(&self) -> [u8; 32] {
        self.noise_public
    }
}

/// What this side says of itself first; key and proof are added here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloFacts {
    /// Drawn at process start.
    pub boot: u64,
    /// The program's version, for people.
    pub version: SmolStr,
    /// BLAKE3 of the encoded roster.
    pub roster: [u8; 32],
    /// Bytes of `Put` bodies there is room for.
    pub credit_bytes: u32,
    /// The newest head of each author known here.
    pub heads: Vec<(PeerKey, SnapshotNumber)>,
}

/// Who may speak with this Box, and what it says of itself. Asked anew for each session.
pub trait Gate {
    /// The keys of an epoch, if it is still accepted.
    fn network_keys(&self, epoch: KeyEpoch) -> Option<NetworkKeys>;
    /// The secret of a ticket, if it is still good.
    fn ticket_secret(&self, number: u64) -> Option<[u8; 32]>;
    /// How somebody with the recovery words is answered, if anybody is.
    fn recovery_way(&self) -> Option<RecoveryWay>;
    /// Whether some member has this Noise key: nobody else is answered with a single byte.
    fn knows(&self, noise_static: &[u8; 32]) -> bool;
    /// Whether this key is a member's whose Noise key this is.
    fn admits(&self, peer: &PeerKey, noise_static: &[u8; 32]) -> bool;
    /// What is said first.
    fn hello(&self) -> HelloFacts;
}

/// Whom to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Callee {
    /// Who should answer.
    pub peer: PeerKey,
    /// Its Noise static key.
    pub noise: [u8; 32],
    /// Under which epoch's keys.
    pub epoch: KeyEpoch,
    /// With which cipher.
    pub suite: Suite,
}

/// What a call turned out to be.
pub enum Answered {
    /// A member.
    Session(Session),
    /// Somebody with a good ticket of this number. Who it is, its request to join must say and prove.
    Join(Session, u64),
    /// Somebody who knows the recovery key's public half. That it has the words, its first request must prove.
    Recover(Session),
}

/// Calls a member over a fresh link.
///
/// # Errors
/// Says why there is no session; the link is closed then.
pub async fn open<W, L, G>(
    world: &W,
    mut link: L,
    me: &LocalKeys,
    gate: &G,
    to: &Callee,
    pool: &Pool,
) -> Result<Session, OpenError>
where
    W: Surroundings,
    L: AsyncRead + AsyncWrite + Unpin + 'static,
    G: Gate,
{
    let keys = gate.network_keys(to.epoch);
    let keys = keys.ok_or(OpenError::EpochUnknown(to.epoch))?;
    let facts = gate.hello();
    let granted = facts.credit_bytes;
    let (agreed, theirs) = in_time(
        world,
        Box::pin(async {
            let wish = Wish::Session(to.epoch);
            let keys = Shared {
                psk: keys.psk,
                mac: keys.mac,
            };
            let mut agreed = call(
                world,
                &mut link,
                (wish, to.suite),
                &keys,
                &me.noise,
                &to.noise,
            )
            .await?;
            say_hello(&mut link, &mut agreed, me, Side::Initiator, facts).await?;
            let theirs = hear_hello(&mut link, &mut agreed, Side::Responder).await?;
            if theirs.peer != to.peer {
                return Err(OpenError::OtherBox);
            }
            if !gate.admits(&theirs.peer, &agreed.noise_static) {
                return Err(OpenError::NotMember);
            }
            Ok((agreed, theirs))
        }),
    )
    .await?;
    let wish = Wish::Session(to.epoch);
    Ok(begin(
        world,
        link,
        (wish, agreed),
        theirs,
        Side::Initiator,
        granted,
        pool,
    ))
}

/// Takes a call. Nothing is said before the caller has shown that it knows the keys. What guests bring has a pool of its own: the
/// keys of a guest are known to Boxes that were shut out too, and these must not take the members' room.
///
/// # Errors
/// Says why there is no session; the link is closed then.
pub async fn answer<W, L, G>(
    world: &W,
    mut link: L,
    me: &LocalKeys,
    gate: &G,
    pool: &Pool,
    guests: &Pool,
) -> Result<Answered, OpenError>
where
    W: Surroundings,
    L: AsyncRead + AsyncWrite + Unpin + 'static,
    G: Gate,
{
    let side = Side::Responder;
    let (wish, agreed, greeting) = in_time(
        world,
        Box::pin(async {
            let (wish, mut agreed) = take_call(world, &mut link, me, gate).await?;
            if let Wish::Join(_) | Wish::Recover = wish {
                return Ok((wish, agreed, None));
            }
            // The caller's hello is the first thing that cannot be a replay: ours waits for it.
            let theirs = hear_hello(&mut link, &mut agreed, Side::Initiator).await?;
            if !gate.admits(&theirs.peer, &agreed.noise_static) {
                return Err(OpenError::NotMember);
            }
            let facts = gate.hello();
            let granted = facts.credit_bytes;
            say_hello(&mut link, &mut agreed, me, side, facts).await?;
            Ok((wish, agreed, Some((theirs, granted))))
        }),
    )
    .await?;
    let (theirs, granted) = greeting.unwrap_or_else(|| (blank(), 0));
    let pool = match wish {
        Wish::Session(_) => pool,
        Wish::Join(_) | Wish::Recover => guests,
    };
    let session = begin(world, link, (wish, agreed), theirs, side, granted, pool);
    Ok(match wish {
        Wish::Session(_) => Answered::Session(session),
        Wish::Join(number) => Answered::Join(session, number),
        Wish::Recover => Answered::Recover(session),
    })
}

/// The two secrets both sides know before they speak.
pub(super) struct Shared {
    pub(super) psk: [u8; 32],
    pub(super) mac: [u8; 32],
}

impl Shared {
    pub(super) fn of_way(way: &RecoveryWay) -> Self {
        Self {
            psk: way.psk,
            mac: way.mac,
        }
    }

    pub(super) fn of_ticket(secret: [u8; 32]) -> Self {
        Self {
            mac: blake3::derive_key("reserve 2026-11-24 join mac1 v1", &secret),
            psk: secret,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.psk);
        zeroize::Zeroize::zeroize(&mut self.mac);
    }
}

pub(super) async fn call<W: Surroundings, L: AsyncRead + AsyncWrite + Unpin>(
    world: &W,
    link: &mut L,
    (wish, suite): (Wish, Suite),
    keys: &Shared,
    noise: &StaticSecret,
    responder: &[u8; 32],
) -> Result<Agreed, OpenError> {
    let opening = Opening {
        wish,
        suite,
        message_bytes: FIRST_BYTES,
    };
    let terms = Terms {
        suite,
        prologue: &opening.prologue(),
        psk: &keys.psk,
        noise: noise.as_bytes(),
        seed: Zeroizing::new(world.entropy().bytes()),
    };
    let mut handshake = Handshake::initiator(&terms, responder)?;
    let first = handshake.speak()?;
    let mac = opening.mac(&keys.mac, responder, &first);
    let flight = [&opening.clear()[..], &mac, &first].concat();
    link.write_all(&flight).await.map_err(failed)?;
    link.flush().await.map_err(failed)?;

    let mut length = [0; 2];
    link.read_exact(&mut length).await.map_err(failed)?;
    if u16::from_le_bytes(length) != SECOND_BYTES {
        return Err(OpenError::NotVerified);
    }
    let mut second = [0; SECOND_BYTES as usize];
    link.read_exact(&mut second).await.map_err(failed)?;
    handshake.hear(&second)?;
    Ok(handshake.finish()?)
}

async fn take_call<W: Surroundings, L: AsyncRead + AsyncWrite + Unpin, G: Gate>(
    world: &W,
    link: &mut L,
    me: &LocalKeys,
    gate: &G,
) -> Result<(Wish, Agreed), OpenError> {
    let mut clear = [0; 13];
    link.read_exact(&mut clear).await.map_err(failed)?;
    let opening = Opening::decode(&clear)?;
    // All of it is read before anything is decided: when this side hangs up must not tell which epochs and tickets are good.
    let mut mac = [0; MAC_BYTES];
    link.read_exact(&mut mac).await.map_err(failed)?;
    let mut first = vec![0; usize::from(opening.message_bytes)];
    link.read_exact(&mut first).await.map_err(failed)?;
    let mut noise = Zeroizing::new(me.noise.to_bytes());
    let mut called = me.noise_static();
    let keys = match opening.wish {
        Wish::Session(epoch) => {
            let keys = gate.network_keys(epoch);
            let keys = keys.ok_or(OpenError::EpochUnknown(epoch))?;
            Shared {
                psk: keys.psk,
                mac: keys.mac,
            }
        }
        Wish::Join(number) => {
            let secret = gate.ticket_secret(number);
            Shared::of_ticket(secret.ok_or(OpenError::TicketUnknown(number))?)
        }
        Wish::Recover => {
            let way = gate.recovery_way().ok_or(OpenError::Stranger)?;
            *noise = way.noise;
            called = way.noise_public;
            Shared::of_way(&way)
        }
    };
    if !is_same(&mac, &opening.mac(&keys.mac, &called, &first)) {
        return Err(OpenError::Stranger);
    }
    let terms = Terms {
        suite: opening.suite,
        prologue: &opening.prologue(),
        psk: &keys.psk,
        noise: &noise,
        seed: Zeroizing::new(world.entropy().bytes()),
    };
    let mut handshake = Handshake::responder(&terms)?;
    handshake.hear(&first)?;
    // A Box that was shut out has old keys and its own: it gets no answer.
    if let Wish::Session(_) = opening.wish
        && !handshake.caller().is_some_and(|caller| gate.knows(&caller))
    {
        return Err(OpenError::NotMember);
    }
    let second = handshake.speak()?;
    let flight = [&SECOND_BYTES.to_le_bytes()[..], &second].concat();
    link.write_all(&flight).await.map_err(failed)?;
    link.flush().await.map_err(failed)?;
    Ok((opening.wish, handshake.finish()?))
}

pub(super) async fn say_hello<L: AsyncWrite + Unpin>(
    link: &mut L,
    agreed: &mut Agreed,
    me: &LocalKeys,
    side: Side,
    facts: HelloFacts,
) -> Result<(), OpenError> {
    let hello = Hello {
        peer: me.peer(),
        proof: ByteArray::new(prove(&me.sign, &agreed.handshake_hash, side)),
        boot: facts.boot,
        version: facts.version,
        roster: facts.roster,
        credit_bytes: facts.credit_bytes,
        heads: facts.heads,
    };
    let plain = header(0, Message::Hello(hello), None)
        .ok_or(malformed("hello", "it is too long to be sent"))?;
    let mut sealed = Vec::new();
    agreed.sealer.seal(&plain, &[], &mut sealed)?;
    link.write_all(&sealed).await.map_err(failed)?;
    link.flush().await.map_err(failed)
}

/// The other side's hello, its proof verified.
pub(super) async fn hear_hello<L: AsyncRead + Unpin>(
    link: &mut L,
    agreed: &mut Agreed,
    side: Side,
) -> Result<Hello, OpenError> {
    let mut length = [0; 2];
    link.read_exact(&mut length).await.map_err(failed)?;
    let mut sealed = vec![0; usize::from(u16::from_le_bytes(length))];
    link.read_exact(&mut sealed).await.map_err(failed)?;
    let mut plain = Vec::new();
    agreed.opener.open(&sealed, &mut plain)?;
    let header = plain
        .split_first_chunk::<2>()
        .filter(|(length, header)| usize::from(u16::from_le_bytes(**length)) == header.len())
        .map(|(_, header)| header)
        .ok_or(malformed("hello", "its length is wrong"))?;
    let Envelope {
        request: 0,
        message: Message::Hello(hello),
        body_bytes: 0,
    } = Envelope::decode(header)?
    else {
        return Err(malformed("hello", "something else was said first").into());
    };
    if !verify(&hello.peer, &agreed.handshake_hash, side, &hello.proof) {
        return Err(OpenError::NotProven);
    }
    Ok(hello)
}

pub(super) fn begin<W, L>(
    world: &W,
    link: L,
    (wish, agreed): (Wish, Agreed),
    theirs: Hello,
    side: Side,
    granted: u32,
    pool: &Pool,
) -> Session
where
    W: Surroundings,
    L: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let parties = Parties {
        theirs,
        initiated: side == Side::Initiator,
        handshake_hash: agreed.handshake_hash,
        noise_static: agreed.noise_static,
        epoch: match wish {
            Wish::Session(epoch) => Some(epoch),
            Wish::Join(_) | Wish::Recover => None,
        },
    };
    let ciphers = (agreed.sealer, agreed.opener);
    start(world, link, ciphers, parties, granted, pool)
}

pub(super) fn blank() -> Hello {
    Hello {
        peer: PeerKey([0; 32]),
        proof: ByteArray::new([0; 64]),
        boot: 0,
        version: SmolStr::default(),
        roster: [0; 32],
        credit_bytes: 0,
        heads: Vec::new(),
    }
}

pub(super) async fn in_time<W: Surroundings, T>(
    world: &W,
    work: impl Future<Output = Result<T, OpenError>>,
) -> Result<T, OpenError> {
    let how_long = Duration::from_secs(HANDSHAKE_SECONDS_MAX);
    let done = world.clock().within(how_long, work).await;
    done.unwrap_or(Err(OpenError::TooSlow))
}

fn is_same(a: &[u8; MAC_BYTES], b: &[u8; MAC_BYTES]) -> bool {
    // Every byte is looked at, so that time tells nothing.
    a.iter().zip(b).fold(0, |rest, (a, b)| rest | (a ^ b)) == 0
}

impl From<NotVerified> for OpenError {
    fn from(_: NotVerified) -> Self {
        Self::NotVerified
    }
}

#[allow(clippy::needless_pass_by_value)] // as `map_err` wants it
fn failed(error: std::io::Error) -> OpenError {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => OpenError::HungUp,
        kind => OpenError::Link(kind),
    }
}
