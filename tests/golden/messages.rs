//! One fixed message of each variant, and its bytes.

use reserve::format::compare::{Basis, Marker, Marks, Prints, Ranges, Unmatched, to_bytes};
use reserve::format::message::{Envelope, Hello, JoinRequest, LastCopies, Message, Refusal, Room};
use reserve::terms::{ChunkId, PeerKey, SnapshotNumber};
use serde_bytes::{ByteArray, ByteBuf};

use super::snapshots::author;
use super::vectors::{Part, part, ramp};

/// How many places [`place`] knows.
pub const MESSAGES: usize = 33;

/// A number for each message; the compiler asks here for a new one, and the test for its vector.
pub const fn place(message: &Message) -> usize {
    match message {
        Message::Hello(_) => 0,
        Message::Ping => 1,
        Message::Pong => 2,
        Message::Credit { .. } => 3,
        Message::Have { .. } => 4,
        Message::Put { .. } => 5,
        Message::Get { .. } => 6,
        Message::Pull { .. } => 7,
        Message::PutHead => 8,
        Message::Heads { .. } => 9,
        Message::Roster => 10,
        Message::Join(_) => 11,
        Message::Held { .. } => 12,
        Message::Done => 13,
        Message::Record => 14,
        Message::Absent => 15,
        Message::HeadList => 16,
        Message::Welcome => 17,
        Message::Refused(_) => 18,
        Message::AskRoom => 19,
        Message::Room(_) => 20,
        Message::Recover { .. } => 21,
        Message::Survivor { .. } => 22,
        Message::Working => 23,
        Message::Prints(_) => 24,
        Message::Differ { .. } => 25,
        Message::Marks(_) => 26,
        Message::Unmatched(_) => 27,
        Message::Claimed { .. } => 28,
        Message::ClaimedPage => 29,
        Message::Release => 30,
        Message::AskLastCopies { .. } => 31,
        Message::LastCopies(_) => 32,
    }
}

fn hello() -> Hello {
    Hello {
        peer: author(),
        proof: ByteArray::new(ramp(0)),
        boot: 0x0102_0304_0506_0708,
        version: "0.1.0".into(),
        roster: ramp(0x50),
        credit_bytes: 5 << 20,
        heads: vec![(author(), SnapshotNumber(41))],
    }
}

fn join() -> JoinRequest {
    JoinRequest {
        peer: author(),
        proof: ByteArray::new(ramp(0)),
        noise_proof: ByteArray::new(ramp(9)),
        name: "office".into(),
        site: "harbour".into(),
        fast_aes: false,
        replaces: None,
    }
}

fn basis() -> Basis {
    Basis {
        salt: 0x0807_0605_0403_0201,
        places: ramp(0x60),
        absent: vec![PeerKey(ramp(1))],
    }
}

fn prints() -> Prints {
    Prints {
        basis: basis(),
        ranges: Ranges {
            depth: 4,
            of: vec![3, 9],
        },
        split: 1,
        prints: to_bytes(&[1, 2, 3, u64::MAX]),
    }
}

/// The marks are those of two claims, so that the hash is pinned too.
fn marks() -> Marks {
    let marker = Marker::new(basis().salt, author());
    Marks {
        basis: basis(),
        ranges: Ranges {
            depth: 0,
            of: vec![0],
        },
        after: Some(ramp(0)),
        copies_below: 2,
        marks: to_bytes(&[marker.mark(&ramp(0x10)), marker.mark(&ramp(0x18))]),
    }
}

pub fn messages() -> Vec<Part> {
    let id = ChunkId(ramp(0x10));
    let ids = vec![id, ChunkId(ramp(0x18))];
    let all = [
        ("hello", Message::Hello(hello()), 0),
        ("ping", Message::Ping, 0),
        ("pong", Message::Pong, 0),
        ("credit", Message::Credit { bytes: 1 << 20 }, 0),
        (
            "have",
            Message::Have {
                author: author(),
                ids: ids.clone(),
            },
            0,
        ),
        ("put", Message::Put { id }, 1_000_000),
        ("get", Message::Get { id }, 0),
        (
            "pull",
            Message::Pull {
                author: author(),
                ids,
            },
            0,
        ),
        ("put head", Message::PutHead, 300),
        (
            "heads of one",
            Message::Heads {
                author: Some(author()),
                after: SnapshotNumber(7),
            },
            0,
        ),
        (
            "heads of all",
            Message::Heads {
                author: None,
                after: SnapshotNumber(0),
            },
            0,
        ),
        ("roster", Message::Roster, 2000),
        ("join", Message::Join(join()), 0),
        (
            "join, replaces",
            Message::Join(JoinRequest {
                replaces: Some("home".into()),
                ..join()
            }),
            0,
        ),
        (
            "held",
            Message::Held {
                bits: ByteBuf::from([0b10]),
            },
            0,
        ),
        ("done", Message::Done, 0),
        ("record", Message::Record, 1_000_000),
        ("absent", Message::Absent, 0),
        ("head list", Message::HeadList, 600),
        ("welcome", Message::Welcome, 4000),
        ("refused damaged", Message::Refused(Refusal::Damaged), 0),
        (
            "refused table full",
            Message::Refused(Refusal::TableFull),
            0,
        ),
        ("refused disk full", Message::Refused(Refusal::DiskFull), 0),
        (
            "refused disk failed",
            Message::Refused(Refusal::DiskFailed),
            0,
        ),
        (
            "refused heads full",
            Message::Refused(Refusal::HeadsFull),
            0,
        ),
        (
            "refused head conflict",
            Message::Refused(Refusal::HeadConflict),
            0,
        ),
        (
            "refused ticket invalid",
            Message::Refused(Refusal::TicketInvalid),
            0,
        ),
        (
            "refused name taken",
            Message::Refused(Refusal::NameTaken),
            0,
        ),
        (
            "refused reserve full",
            Message::Refused(Refusal::ReserveFull),
            0,
        ),
        (
            "refused not understood",
            Message::Refused(Refusal::NotUnderstood),
            0,
        ),
        (
            "refused quota full",
            Message::Refused(Refusal::QuotaFull),
            0,
        ),
        ("ask room", Message::AskRoom, 0),
        (
            "room",
            Message::Room(Room {
                chunks: 1000,
                chunks_max: 1_000_000,
                stored_bytes: 1 << 30,
                room_bytes: 1 << 40,
                yours_bytes: 500 << 20,
                quota_bytes: Some(1 << 33),
                damaged: 3,
                unbroken: 1 << 60,
            }),
            0,
        ),
        (
            "refused nothing to replace",
            Message::Refused(Refusal::NothingToReplace),
            0,
        ),
        (
            "recover",
            Message::Recover {
                proof: ByteArray::new(ramp(0)),
            },
            0,
        ),
        (
            "survivor",
            Message::Survivor {
                peer: author(),
                proof: ByteArray::new(ramp(0)),
            },
            2000,
        ),
        ("working", Message::Working, 0),
        ("prints", Message::Prints(prints()), 0),
        (
            "differ",
            Message::Differ {
                bits: ByteBuf::from([0b0110]),
            },
            0,
        ),
        ("marks", Message::Marks(marks()), 0),
        (
            "unmatched",
            Message::Unmatched(Unmatched {
                lacking: ByteBuf::from([0b10]),
                named: vec![(author(), vec![id])],
                more: Some(ramp(0x10)),
            }),
            0,
        ),
        (
            "refused other places",
            Message::Refused(Refusal::OtherPlaces),
            0,
        ),
        ("claimed", Message::Claimed { after: None }, 0),
        (
            "claimed behind a name",
            Message::Claimed {
                after: Some(ramp(0x10)),
            },
            0,
        ),
        ("claimed page", Message::ClaimedPage, 200_000),
        ("release", Message::Release, 200_000),
        (
            "refused release waits",
            Message::Refused(Refusal::ReleaseWaits { seconds: 2_592_000 }),
            0,
        ),
        (
            "refused claimed since",
            Message::Refused(Refusal::ClaimedSince),
            0,
        ),
        (
            "refused newest stays",
            Message::Refused(Refusal::NewestStays),
            0,
        ),
        (
            "refused other incarnation",
            Message::Refused(Refusal::OtherIncarnation),
            0,
        ),
        ("refused forgotten", Message::Refused(Refusal::Forgotten), 0),
        (
            "ask last copies",
            Message::AskLastCopies {
                out: vec![author()],
            },
            0,
        ),
        (
            "last copies",
            Message::LastCopies(LastCopies {
                chunks: vec![(author(), 300)],
                away: vec![PeerKey(ramp(0x20))],
            }),
            0,
        ),
    ];
    all.into_iter()
        .enumerate()
        .map(|(number, (name, message, body_bytes))| {
            let request = 100 * u32::try_from(number).expect("a few messages");
            part(
                name,
                Envelope {
                    request,
                    message,
                    body_bytes,
                }
                .encode(),
            )
        })
        .collect()
}
