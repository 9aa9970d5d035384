//! How Boxes speak: a Noise handshake, whole messages both ways, credit. It knows nothing of what is said.
//!
//! [`open`] calls a member, [`join`] an inviter with a ticket, [`recover`] any Box with the recovery words, [`answer`] takes any call; all give a [`Session`].
//! What it is not: it finds nobody, dials nobody, calls nobody again, and carries out no request.
//!
//! - A stranger gets silence: not one byte is sent before the code in front of the first message and the whole first message
//!   verify, and nothing but a handshake answer before the caller's first transport message does (the first may be a replay).
//! - Messages go out whole, one after the other. One task reads, one writes, one watches the time; when any of them ends the
//!   session, all waiting questions end with [`SessionError::Gone`] and the link is closed.
//! - Memory is bounded: bodies of requests take a lease of the [`Pool`], `Put` bodies also the peer's credit, headers and the
//!   number of open requests have limits that both sides keep; who does not is disconnected.
//!
//! A room that holds a lease must not wait for an answer from another peer: that peer's session may be waiting for the lease.

mod credit;
mod guest;
mod handshake;
mod incoming;
mod noise;
mod pool;
mod pulse;
mod queue;
mod reader;
mod state;
mod surroundings;
mod talk;
mod writer;

pub use guest::{join, recover};
pub use handshake::{Answered, Callee, Gate, HelloFacts, LocalKeys, answer, open};
pub use incoming::{Incoming, Reply, Word};
pub use noise::{Side, prove, verify};
pub use pool::{Lease, Pool};
pub use surroundings::Surroundings;
pub use talk::{Counters, Session};

use crate::format::Malformed;
use crate::terms::KeyEpoch;

/// Why no session came about. Nothing was changed on either side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The other side hung up, as it does without a word when it does not know the keys.
    #[error(
        "the other side hung up during the handshake; if this repeats, check that both Boxes belong to one reserve"
    )]
    HungUp,
    /// The link failed.
    #[error("the link failed during the handshake ({0}); it is tried again later")]
    Link(std::io::ErrorKind),
    /// The handshake took too long.
    #[error("the handshake took too long; it is tried again later")]
    TooSlow,
    /// The first bytes are not an opening.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The caller speaks under an epoch whose keys are not (any more) accepted here.
    #[error("the caller uses the keys of epoch {}, which are not accepted here", .0.0)]
    EpochUnknown(KeyEpoch),
    /// The caller holds a ticket that is not (any more) good here.
    #[error("ticket {0} is not good here (any more); make a new one with `reserve invite`")]
    TicketUnknown(u64),
    /// The caller does not have the network key, or calls another Box.
    #[error("a stranger called; nothing was answered")]
    Stranger,
    /// The handshake does not verify.
    #[error(
        "the handshake does not verify; check that the address belongs to the Box that was called"
    )]
    NotVerified,
    /// The identity and the Noise key do not belong together.
    #[error("the peer could not prove its identity; the connection was closed")]
    NotProven,
    /// A Box other than the one that was called.
    #[error("another Box answered than the one that was called; the connection was closed")]
    OtherBox,
    /// The identity is not a member's.
    #[error("the caller is not a member of this reserve; the connection was closed")]
    NotMember,
}

/// Why a session is over. What was acknowledged before stands; whether open requests were carried out is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// It ended before the answer came.
    #[error("the connection to the peer ended; what it acknowledged before is safe")]
    Gone,
    /// This side closed it.
    #[error("the connection was closed by this Box")]
    Closed,
    /// The link failed.
    #[error("the link to the peer failed ({0}); it is called again")]
    Link(std::io::ErrorKind),
    /// Nothing was received for too long.
    #[error("the peer gave no sign of life; it is called again")]
    Silent,
    /// Nothing could be sent for too long.
    #[error("the peer stopped reading; it is called again")]
    Stalled,
    /// A question was not answered, and nothing was said of it, for too long.
    #[error(
        "the peer lives but left a question without an answer for {} minutes; its disk may hang; it is called again",
        crate::terms::limits::ANSWER_SECONDS_MAX / 60
    )]
    Unanswered,
    /// The bytes were changed on their way.
    #[error("what arrived does not verify; the connection was closed")]
    Tampered,
    /// The peer sent a message that is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The peer broke a rule of the conversation.
    #[error("the peer broke a rule of the conversation ({0}); the connection was closed")]
    Rule(&'static str),
}

#[cfg(test)]
mod tests;
