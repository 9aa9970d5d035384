//! Fixed inputs and what src/format makes of them: records, keys, segments, tickets, openings, notes, state files.

use reserve::format::compacted::Compacted;
use reserve::format::healed::Healed;
use reserve::format::keys::{DataKeys, NetworkKeys, RecoveryKeys, RecoveryWay, ReserveSecret};
use reserve::format::mended::{Confirmed, Mended};
use reserve::format::opening::{MAC_BYTES, Opening, Wish};
use reserve::format::record::{id_of, seal};
use reserve::format::segment::{FooterEntry, FrameHeader, FrameType, SegmentHeader, Trailer};
use reserve::format::ticket::Ticket;
use reserve::format::unmet::Unmet;
use reserve::format::verified::{SegmentMark, Verified};
use reserve::format::{encode_file, sealed_note};
use reserve::terms::{
    ChunkId, Codec, KeyEpoch, Kind, PeerKey, SnapshotNumber, Stamp, StoreId, Suite,
};
use x25519_dalek::{PublicKey, StaticSecret};

/// A named stretch of bytes of a golden file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub bytes: Vec<u8>,
}

pub fn part(name: &str, bytes: impl Into<Vec<u8>>) -> Part {
    Part {
        name: name.to_owned(),
        bytes: bytes.into(),
    }
}

/// 0, 1, 2, ... from `start`: bytes of which each place can be told.
pub fn ramp<const N: usize>(start: u8) -> [u8; N] {
    let mut bytes = [start; N];
    for at in 1..N {
        bytes[at] = bytes[at - 1].wrapping_add(1);
    }
    bytes
}

const EPOCH: KeyEpoch = KeyEpoch(1);
const STORE: StoreId = StoreId([0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58]);
/// What the golden note holds.
pub const NOTE_SECRET: &[u8; 32] = b"thirty-two bytes of epoch secret";
/// A hand-made zstd frame of one run: 100 times `a`. A compressor would give other bytes after an update.
const ZSTD_RUN: [u8; 10] = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 100, 0x23, 0x03, 0x00, b'a'];

fn secret() -> ReserveSecret {
    ReserveSecret(ramp(0))
}

pub fn data_keys() -> DataKeys {
    DataKeys::derive(EPOCH, &secret())
}

/// The plaintext of a golden record.
pub fn plaintext(name: &str) -> Vec<u8> {
    match name {
        "record zstd" => vec![b'a'; 100],
        "record empty" => Vec::new(),
        _ => b"the photo of the boat".to_vec(),
    }
}

pub fn records() -> Vec<Part> {
    let record = |name: &str, suite, kind, codec, body: &[u8]| {
        part(
            name,
            seal(
                &data_keys(),
                suite,
                kind,
                codec,
                plaintext(name).len(),
                body,
            ),
        )
    };
    let boat = plaintext("");
    vec![
        record(
            "record chacha20poly1305",
            Suite::ChaCha20Poly1305,
            Kind::Data,
            Codec::Plain,
            &boat,
        ),
        record(
            "record aes256gcm",
            Suite::Aes256Gcm,
            Kind::Data,
            Codec::Plain,
            &boat,
        ),
        record(
            "record page",
            Suite::Aes256Gcm,
            Kind::Page,
            Codec::Plain,
            &boat,
        ),
        record(
            "record node",
            Suite::Aes256Gcm,
            Kind::Node,
            Codec::Plain,
            &boat,
        ),
        record(
            "record manifest",
            Suite::Aes256Gcm,
            Kind::Manifest,
            Codec::Plain,
            &boat,
        ),
        record(
            "record zstd",
            Suite::ChaCha20Poly1305,
            Kind::Data,
            Codec::Zstd,
            &ZSTD_RUN,
        ),
        record(
            "record empty",
            Suite::ChaCha20Poly1305,
            Kind::Data,
            Codec::Plain,
            b"",
        ),
    ]
}

pub fn keys() -> Vec<Part> {
    let network = NetworkKeys::derive(EPOCH, &secret());
    let data = data_keys();
    let recovery = RecoveryKeys::derive(&ramp(0x80));
    let sign = PeerKey(recovery.sign.verifying_key().to_bytes());
    let open = PublicKey::from(&recovery.open).to_bytes();
    let way = RecoveryWay::derive(&sign, &open);
    vec![
        part("reserve secret", secret().0),
        part("network psk", network.psk),
        part("network mac1", network.mac),
        part("tag", data.tag),
        part("seal", data.seal),
        part("lookup", data.lookup),
        part("cut", data.cut),
        part("cut seed, u64 little-endian", data.cut_seed().to_le_bytes()),
        part(
            "lookup name of \"the photo of the boat\"",
            data.lookup_name(&plaintext("")),
        ),
        part(
            "id of \"record chacha20poly1305\" of record.hex",
            id_of(&records()[0].bytes).0,
        ),
        part("recovery entropy", ramp::<32>(0x80)),
        part("recovery sign, public", sign.0),
        part("recovery open, public", open),
        part("recover psk", way.psk),
        part("recover mac1", way.mac),
        part("recover noise, secret", way.noise),
    ]
}

pub fn segments() -> Vec<Part> {
    let frame = |name: &str, frame, payload_bytes| {
        let header = FrameHeader {
            frame,
            payload_bytes,
            store: STORE,
            commit: 0x0102_0304,
            id: ChunkId(ramp(0x10)),
            author: PeerKey(ramp(0x90)),
        };
        part(name, header.encode())
    };
    let entry = FooterEntry {
        frame: FrameType::Chunk,
        author: 2,
        payload_bytes: 85,
        offset: 4096,
        id: ChunkId(ramp(0x10)),
    };
    let trailer = Trailer {
        store: STORE,
        number: 77,
        footer_offset: 8192,
        authors: 3,
        entries: 5,
        footer_sum: 0xdead_beef,
        commit: 0x0102_0304,
    };
    vec![
        part(
            "segment header",
            SegmentHeader {
                store: STORE,
                number: 77,
            }
            .encode(),
        ),
        frame("frame chunk", FrameType::Chunk, 85),
        frame("frame claim", FrameType::Claim, 0),
        frame("frame head", FrameType::Head, 300),
        frame("frame release", FrameType::Release, 300),
        frame("frame freed", FrameType::Freed, 40),
        part("footer entry", entry.encode()),
        part("trailer", trailer.encode()),
    ]
}

pub fn tickets() -> Vec<Part> {
    let ticket = Ticket {
        addresses: vec![
            ([192, 168, 1, 20], 7717).into(),
            ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 7718).into(),
        ],
        noise: ramp(0x20),
        number: 9,
        secret: ramp(0x60),
    };
    vec![part("ticket text", ticket.to_text())]
}

/// The code of a golden opening: network mac1 key, responder 0x20.., message 0x00..0x5f.
pub fn opening_mac(opening: &Opening) -> [u8; MAC_BYTES] {
    let network = NetworkKeys::derive(EPOCH, &secret());
    opening.mac(&network.mac, &ramp(0x20), &ramp::<96>(0))
}

pub fn openings() -> Vec<Part> {
    let opening = |name: &str, wish, suite| {
        let opening = Opening {
            wish,
            suite,
            message_bytes: 96,
        };
        part(
            name,
            [opening.clear().as_slice(), &opening_mac(&opening)].concat(),
        )
    };
    vec![
        opening(
            "opening session",
            Wish::Session(KeyEpoch(3)),
            Suite::Aes256Gcm,
        ),
        opening("opening join", Wish::Join(9), Suite::ChaCha20Poly1305),
        opening("opening recover", Wish::Recover, Suite::ChaCha20Poly1305),
    ]
}

pub fn note_key() -> StaticSecret {
    StaticSecret::from(ramp(0x40))
}

pub fn sealed_notes() -> Vec<Part> {
    let to = PublicKey::from(&note_key()).to_bytes();
    vec![part(
        "sealed note",
        sealed_note::seal(ramp(0x70), &to, NOTE_SECRET),
    )]
}

/// What the golden state file holds: postcard's way with numbers, texts, options and lists.
pub type State = (u32, String, Option<u64>, Vec<(u16, bool)>);

pub fn state() -> State {
    (
        300,
        "büro".to_owned(),
        Some(1 << 40),
        vec![(1, true), (500, false)],
    )
}

pub fn state_files() -> Vec<Part> {
    let mark = |number| SegmentMark {
        number,
        len: 256 << 20,
        changed: Stamp {
            seconds: 1_795_000_000,
            nanos: 123_456_789,
        },
        verified: Stamp {
            seconds: 1_795_000_100,
            nanos: 1,
        },
        is_read: number == 1,
    };
    let mended = Mended {
        members: vec![
            (PeerKey([1; 32]), "home".into()),
            (PeerKey([2; 32]), "office".into()),
        ],
        factor: 2,
        confirmed: vec![Confirmed {
            author: PeerKey([1; 32]),
            keeper: PeerKey([2; 32]),
            newest: SnapshotNumber(300),
            unbroken: 1 << 60,
            since: Stamp {
                seconds: 1_795_000_000,
                nanos: 0,
            },
        }],
    };
    let verified = Verified {
        store: StoreId([5; 8]),
        segments: vec![mark(1), mark(70_000)],
        unbroken: 1 << 60,
        end: Some((70_001, 8192)),
    };
    let healed = Healed {
        store: StoreId([5; 8]),
        places: vec![[7; 8]],
    };
    let unmet = Unmet {
        members: vec![(PeerKey([2; 32]), 30)],
    };
    let compacted = Compacted {
        store: StoreId([5; 8]),
        runs: vec![(1, 1), (3, 70_000)],
    };
    vec![
        part("state file", encode_file(&state())),
        part("verified segments", verified.encode()),
        part("confirmed snapshots", mended.encode()),
        part("compacted segments", compacted.encode()),
        part("healed places", healed.encode()),
        part("members not met", unmet.encode()),
    ]
}
