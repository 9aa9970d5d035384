//! What Boxes say to each other inside a session: a small header, and for some messages a body.
//!
//! On the wire the header's length (u16, little-endian), the header and the body follow each other through as many Noise
//! messages as they need; the next message starts a new one.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use smol_str::SmolStr;

use super::compare::{Marks, Prefix, Prints, Unmatched};
use super::{Malformed, decode, encode, malformed};
use crate::terms::limits::{ASK_IDS_MAX, BODY_BYTES_MAX, MEMBERS_MAX, MESSAGE_BYTES_MAX};
use crate::terms::{ChunkId, PeerKey, SnapshotNumber};

const MESSAGE: &str = "message";

/// A message's header on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Which request it is or answers; the asking side counts. 0 for messages that want no answer.
    pub request: u32,
    /// What is said.
    pub message: Message,
    /// Bytes that follow the header.
    pub body_bytes: u32,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// First in each direction.
    Hello(Hello),
    /// Asks for a sign of life.
    Ping,
    /// Gives one.
    Pong,
    /// The receiver has room for so many more bytes of `Put` bodies.
    Credit {
        /// Bytes.
        bytes: u32,
    },
    /// Which of these do you have, verified? A yes is a durable claim of the author.
    Have {
        /// Who claims.
        author: PeerKey,
        /// At most `ASK_IDS_MAX`.
        ids: Vec<ChunkId>,
    },
    /// Keep this; the body is a sealed record. The speaker is its author and claims it.
    Put {
        /// Its name.
        id: ChunkId,
    },
    /// Give me this.
    Get {
        /// Its name.
        id: ChunkId,
    },
    /// Fetch these from other keepers and keep them; the author claims them.
    Pull {
        /// Who claims.
        author: PeerKey,
        /// At most `ASK_IDS_MAX`.
        ids: Vec<ChunkId>,
    },
    /// Keep this head; the body is a signed head.
    PutHead,
    /// Which heads do you have? The answer's body is a list of at most a hundred, oldest first, each a byte string.
    Heads {
        /// Of one author, or of all.
        author: Option<PeerKey>,
        /// Only those after this one (with one author).
        after: SnapshotNumber,
    },
    /// My roster is in the body: merge it. The answer is `Done`.
    Roster,
    /// A new Box asks to be taken in (join sessions only).
    Join(JoinRequest),

    /// Answers `Have` and `Pull`: bit i (from the least significant of byte 0) is 1 if the i-th chunk is here, durable.
    Held {
        /// One bit for each name asked.
        bits: ByteBuf,
    },
    /// Answers `Put`, `PutHead`, `Roster`: it is durable.
    Done,
    /// Answers `Get`: the body is the record.
    Record,
    /// Answers `Get`: it is not here, or not whole.
    Absent,
    /// Answers `Heads`: the body is an encoded list of signed heads.
    HeadList,
    /// Answers `Join`: the body is an encoded [`JoinGrant`].
    Welcome,
    /// The request was not carried out.
    Refused(Refusal),

    /// How much room have you, and how much of it do I use?
    AskRoom,
    /// Answers `AskRoom`.
    Room(Room),

    /// Somebody proves to have the recovery words (recover sessions only, and first).
    Recover {
        /// By the recovery key over the session's handshake hash.
        proof: ByteArray<64>,
    },
    /// Answers `Recover`: the body is the answerer's roster.
    Survivor {
        /// Who answers.
        peer: PeerKey,
        /// By its key over the session's handshake hash.
        proof: ByteArray<64>,
    },

    /// The request of this number is being worked on, and has come further since the last word. Wants no answer; no body.
    Working,
    /// Which ranges of names differ from what you have?
    Prints(Prints),
    /// Answers `Prints`: bit i (from the least significant of byte 0) is 1 if the i-th part differs.
    Differ {
        /// One bit for each part.
        bits: ByteBuf,
    },
    /// What of these have you not, and what have you besides?
    Marks(Marks),
    /// Answers `Marks`.
    Unmatched(Unmatched),

    /// Which chunks do I claim, as their author, on you? So many behind a name.
    Claimed {
        /// The first bytes of the name.
        after: Option<Prefix>,
    },
    /// Answers `Claimed`: the body is an encoded [`ClaimedPage`](super::release::ClaimedPage).
    ClaimedPage,
    /// I give up what the body names, a signed release. Answered with `Done` when it is durable.
    Release,

    /// What would nobody have any more whom you reach, if these Boxes were shut out (recover sessions only)?
    AskLastCopies {
        /// At most `MEMBERS_MAX`.
        out: Vec<PeerKey>,
    },
    /// Answers `AskLastCopies`.
    LastCopies(LastCopies),
}

/// What is on none of some Boxes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LastCopies {
    /// Chunks by the author whose snapshots need them, authors rising.
    pub chunks: Vec<(PeerKey, u64)>,
    /// Boxes that could not be asked and may have them, rising.
    pub away: Vec<PeerKey>,
}

/// What a keeper has room for, told to one author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Room {
    /// Chunks it holds.
    pub chunks: u64,
    /// Chunks it has places for.
    pub chunks_max: u64,
    /// Bytes its store takes.
    pub stored_bytes: u64,
    /// Bytes of data it can still take, whoever sends them; what it holds back for the index is left out.
    pub room_bytes: u64,
    /// Bytes of chunks the asking Box claims.
    pub yours_bytes: u64,
    /// Of these, how many it may claim.
    pub quota_bytes: Option<u64>,
    /// Chunks it found damaged and has not replaced yet.
    pub damaged: u64,
    /// Drawn anew whenever it finds something it kept lost or damaged. While it is the same, what it confirmed before stands.
    pub unbroken: u64,
}

impl Room {
    /// Bytes of data it would take from the asking Box now.
    #[must_use]
    pub fn for_you_bytes(&self) -> u64 {
        let quota_left = self
            .quota_bytes
            .map_or(u64::MAX, |quota| quota.saturating_sub(self.yours_bytes));
        if self.chunks >= self.chunks_max {
            return 0;
        }
        self.room_bytes.min(quota_left)
    }
}

/// First in each direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The speaker.
    pub peer: PeerKey,
    /// By the speaker's key over the session's handshake hash: the Noise key and the identity belong together.
    pub proof: ByteArray<64>,
    /// Drawn at process start: tells a restarted peer from one whose old connection still hangs.
    pub boot: u64,
    /// The program's version, for people.
    pub version: SmolStr,
    /// BLAKE3 of the speaker's encoded roster.
    pub roster: [u8; 32],
    /// Bytes of `Put` bodies the speaker has room for.
    pub credit_bytes: u32,
    /// The newest head of each author the speaker knows.
    pub heads: Vec<(PeerKey, SnapshotNumber)>,
}

/// A new Box asks to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The new Box's key.
    pub peer: PeerKey,
    /// By that key over the session's handshake hash.
    pub proof: ByteArray<64>,
    /// By that key over the Noise key it speaks with: stands in the roster, so that nobody can say it has another.
    pub noise_proof: ByteArray<64>,
    /// What people call it.
    pub name: SmolStr,
    /// Where it stands.
    pub site: SmolStr,
    /// Whether it has AES instructions.
    pub fast_aes: bool,
    /// The former Box whose history it continues.
    pub replaces: Option<SmolStr>,
}

/// What a new Box is given.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGrant {
    /// The encoded roster, the new Box in it.
    pub roster: ByteBuf,
    /// Each epoch's secret, oldest first.
    pub secrets: Vec<(u32, ByteArray<32>)>,
    /// Where the inviter sees the new Box come from.
    pub seen_from: SocketAddr,
}

impl Drop for JoinGrant {
    fn drop(&mut self) {
        for (_, secret) in &mut self.secrets {
            zeroize::Zeroize::zeroize(&mut **secret);
        }
    }
}

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Not the bytes its name says.
    #[error("what arrived is not what its name says; it was not kept")]
    Damaged,
    /// The chunk table is full.
    #[error("the keeper's chunk table is full; nothing it holds is affected")]
    TableFull,
    /// The disk is full.
    #[error("the keeper's disk is full; nothing it holds is affected")]
    DiskFull,
    /// The disk failed.
    #[error("the keeper's disk failed; what it acknowledged before is checked again")]
    DiskFailed,
    /// The list of heads is full.
    #[error("the keeper's list of snapshots is full")]
    HeadsFull,
    /// As many different heads of one author and number as are kept.
    #[error(
        "the keeper has as many other snapshots of this author and number as it keeps; `reserve conflicts` there shows them"
    )]
    HeadConflict,
    /// The ticket was used, ran out, or was never given.
    #[error("the ticket is not valid (any more); ask for a new one with `reserve invite`")]
    TicketInvalid,
    /// A member of that name is there.
    #[error("a Box of that name is in the reserve already; choose another with --name")]
    NameTaken,
    /// The reserve has as many Boxes as it can.
    #[error("the reserve has as many Boxes as it can have")]
    ReserveFull,
    /// The request makes no sense here.
    #[error("the request makes no sense here")]
    NotUnderstood,
    /// The author claims as much as one author may.
    #[error("the keeper lets this Box have no more; nothing it holds is affected")]
    QuotaFull,
    /// There is no former Box of that name whose history could be continued.
    #[error(
        "there is no removed Box of that name whose history a new one could continue; `reserve remove` it first, or leave out --replaces"
    )]
    NothingToReplace,
    /// The two do not know the same members, sites and numbers of copies.
    #[error(
        "the other Box does not know the same members yet; nothing was changed, it is asked again"
    )]
    OtherPlaces,
    /// A group of releases waits for its time and takes no more.
    #[error(
        "the keeper still waits with what was given up before, for at least {} more days of its running time; nothing was given up now",
        seconds.div_ceil(24 * 3600)
    )]
    ReleaseWaits {
        /// Seconds it must still run before that is effective, at the least.
        seconds: u64,
    },
    /// The author claimed something here since it asked what it claims.
    #[error(
        "the keeper was told to keep something since it listed what it keeps; nothing was given up, ask again"
    )]
    ClaimedSince,
    /// It would be the author's newest snapshot here.
    #[error("the newest snapshot a keeper knows of is never given up; nothing was given up")]
    NewestStays,
    /// The newest snapshot here was taken in another life of this Box.
    #[error(
        "the keeper has a newer snapshot than this Box knows of; nothing was given up, take a snapshot first"
    )]
    OtherIncarnation,
    /// A snapshot that left on its author's word is not taken back from others.
    #[error("this snapshot left on its author's word")]
    Forgotten,
}

impl Envelope {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a header; its body is not longer than [`BODY_BYTES_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(malformed(MESSAGE, "its header is too long"));
        }
        let envelope: Self = decode(MESSAGE, bytes)?;
        if envelope.body_bytes as usize > BODY_BYTES_MAX {
            return Err(malformed(MESSAGE, "its body is too long"));
        }
        let asks_little = |ids: &Vec<ChunkId>| !ids.is_empty() && ids.len() <= ASK_IDS_MAX;
        match &envelope.message {
            Message::Have { ids, .. } | Message::Pull { ids, .. } if !asks_little(ids) => {
                Err(malformed(MESSAGE, "it asks for nothing or too much"))
            }
            Message::AskLastCopies { out } if out.is_empty() || out.len() > MEMBERS_MAX => {
                Err(malformed(MESSAGE, "it asks for nothing or too much"))
            }
            Message::LastCopies(last) if last.chunks.len().max(last.away.len()) > MEMBERS_MAX => {
                Err(malformed(MESSAGE, "it names more Boxes than there can be"))
            }
            Message::Prints(prints) => prints.check().map(|()| envelope),
            Message::Marks(marks) => marks.check().map(|()| envelope),
            Message::Unmatched(unmatched) => unmatched.check().map(|()| envelope),
            _ => Ok(envelope),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_question_fits() {
        let message = Message::Have {
            author: PeerKey([1; 32]),
            ids: vec![ChunkId([255; 32]); ASK_IDS_MAX],
        };
        let envelope = Envelope {
            request: u32::MAX,
            message,
            body_bytes: 0,
        };
        assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
    }

    #[test]
    fn a_body_longer_than_a_record_is_refused() {
        let envelope = Envelope {
            request: 1,
            message: Message::Record,
            body_bytes: u32::MAX,
        };
        assert!(Envelope::decode(&envelope.encode()).is_err());
    }
}
