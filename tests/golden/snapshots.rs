//! Fixed pages, nodes, heads, manifests and rosters, and their bytes.

use ed25519_dalek::SigningKey;
use reserve::format::head::{DataSet, Head, Manifest, SignedHead};
use reserve::format::index::{Child, Content, Entry, Node, Page, Piece, What};
use reserve::format::roster::{
    Choice, EpochNote, Fact, Facts, Retention, SignedFact, Subject, Value,
};
use reserve::terms::{
    ChunkId, ConsistencyLabel, FileSystemId, HeadHash, KeyEpoch, Limitation, PeerKey, ReserveId,
    SnapshotNumber, Stamp, Suite,
};
use serde_bytes::ByteBuf;

use super::vectors::{Part, part, ramp};

const RESERVE: ReserveId = ReserveId([0xa0; 16]);

pub fn signer() -> SigningKey {
    SigningKey::from_bytes(&ramp(0x30))
}

pub fn author() -> PeerKey {
    PeerKey(signer().verifying_key().to_bytes())
}

fn entry(path: &str, what: What) -> Entry {
    Entry {
        path: ByteBuf::from(path),
        what,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        mtime: Stamp {
            seconds: 1_700_000_000,
            nanos: 123_456_789,
        },
        ctime: Stamp {
            seconds: -1,
            nanos: 0,
        },
        inode: 4711,
        hard_link: None,
        xattrs: Vec::new(),
    }
}

fn file(path: &str, bytes: u64, content: Content) -> Entry {
    entry(
        path,
        What::File {
            bytes,
            content,
            has_holes: bytes > 1 << 33,
        },
    )
}

fn page() -> Page {
    let linked = Entry {
        hard_link: Some(3),
        xattrs: vec![
            (
                ByteBuf::from("system.posix_acl_access"),
                ByteBuf::from(ramp::<28>(2)),
            ),
            (ByteBuf::from("user.tag"), ByteBuf::from("boat")),
        ],
        ..file(
            "a/photo.jpg",
            21,
            Content::Packed {
                name: ramp(0x11),
                chunk: 0,
                offset: 7,
            },
        )
    };
    let first = Content::Pieces {
        part: 0,
        last: false,
        pieces: vec![
            Piece::Data {
                chunk: 1,
                bytes: 300_000,
            },
            Piece::Hole { bytes: 1 << 33 },
        ],
    };
    let second = Content::Pieces {
        part: 1,
        last: true,
        pieces: vec![Piece::Data { chunk: 0, bytes: 5 }],
    };
    let length = 300_000 + (1 << 33) + 5;
    Page {
        chunks: vec![ChunkId(ramp(0)), ChunkId(ramp(0x80))],
        entries: vec![
            entry("", What::Dir),
            entry("a", What::Dir),
            file("a/empty", 0, Content::Empty),
            linked,
            file("a/video.mkv", length, first),
            file("a/video.mkv", length, second),
            entry(
                "a.link",
                What::Symlink {
                    target: ByteBuf::from("a/photo.jpg"),
                },
            ),
            entry("b.pipe", What::Fifo),
            entry(
                "c.tty",
                What::Device {
                    is_block: false,
                    rdev: 0x0440,
                },
            ),
            entry(
                "d.disk",
                What::Device {
                    is_block: true,
                    rdev: 0x0010_3f03,
                },
            ),
        ],
    }
}

pub fn index() -> Vec<Part> {
    let child = |start, first: &str, entries| Child {
        id: ChunkId(ramp(start)),
        first: ByteBuf::from(first),
        entries,
    };
    let node = Node {
        level: 1,
        children: vec![child(1, "", 10), child(2, "b/c", 512)],
    };
    vec![part("page", page().encode()), part("node", node.encode())]
}

/// Paths in path order: `/` before every other byte.
pub fn path_order() -> Vec<Part> {
    [
        &b""[..],
        b"a",
        b"a/b",
        b"a/b/c",
        b"a/c",
        b"a\x01",
        b"a!",
        b"a-",
        b"a.txt",
        b"aa",
        b"b",
        b"\xc3\xa9",
        b"\xff",
    ]
    .iter()
    .enumerate()
    .map(|(place, path)| part(&format!("path {place}"), *path))
    .collect()
}

pub fn snapshots() -> Vec<Part> {
    let head = |number, previous, accepted| {
        let head = Head {
            reserve: RESERVE,
            author: author(),
            incarnation: ramp(0xb0),
            number: SnapshotNumber(number),
            previous,
            manifest: ChunkId(ramp(0xc0)),
            taken: Stamp {
                seconds: 1_795_000_000,
                nanos: 5,
            },
            chunks: 1234,
            sealed_bytes: 1 << 40,
            accepted,
        };
        SignedHead::sign(head, &signer())
    };
    let first = head(1, None, true);
    let second = head(2, Some(HeadHash(first.hash().0)), false);
    let set = |name: &str, unread: Vec<(ByteBuf, smol_str::SmolStr)>| DataSet {
        name: name.into(),
        path: ByteBuf::from(format!("/data/{name}")),
        file_system: FileSystemId {
            magic: 0xef53,
            device: 0x803,
        },
        label: ConsistencyLabel::Crash,
        root: ChunkId(ramp(0xd0)),
        level: 2,
        entries: 99,
        files: 88,
        bytes: 1 << 35,
        unread_count: unread.len() as u64,
        unread,
    };
    let manifest = Manifest {
        author: author(),
        number: SnapshotNumber(2),
        data_sets: vec![
            set("notes", Vec::new()),
            set(
                "photos",
                vec![(ByteBuf::from("locked"), "permission denied".into())],
            ),
        ],
    };
    vec![
        part("head first", first.encode()),
        part("head second, not accepted", second.encode()),
        part("manifest", manifest.encode()),
    ]
}

fn note() -> EpochNote {
    EpochNote {
        epoch: KeyEpoch(0x0001_abcd),
        held: vec![KeyEpoch(1), KeyEpoch(0x0001_abcd)],
        without: vec![PeerKey(ramp(0x30))],
        note: ByteBuf::from(ramp::<80>(0)),
    }
}

pub fn roster() -> Vec<Part> {
    let of_reserve = [
        Value::Recovery {
            sign: PeerKey(ramp(1)),
            seal: ramp(2),
        },
        Value::ChunkSuite(Suite::Aes256Gcm),
        Value::Factor(3),
        Value::FactorMin(2),
        Value::EpochSecret(note()),
        Value::EventPeriod(24),
        Value::WarningWindow(30),
        Value::SweepPeriod(14),
        Value::Retention(Retention {
            hourly: 48,
            daily: 30,
            weekly: 12,
            monthly: 24,
            yearly: 10,
            last: 5,
        }),
        Value::KeeperAway(48),
        Value::ReleaseDelay(60),
        Value::WarningWindowOf(Limitation::Wear, 90),
    ];
    let of_peer = [
        Value::member(ramp(0x20), &signer()),
        Value::Name("home".into()),
        Value::Site("basement".into()),
        Value::Addresses(vec![([192, 168, 1, 20], 7717).into()]),
        Value::FastAes(true),
        Value::Removed { lost: true },
        Value::Secrets(note()),
        Value::Replaces(PeerKey(ramp(0x30))),
        Value::Chosen(vec![Choice {
            number: SnapshotNumber(300),
            head: HeadHash(ramp(0x40)),
            chunks: 70_000,
        }]),
    ];
    let sign = |subject, value, counter| {
        let fact = Fact {
            subject,
            value,
            counter,
            signer: author(),
        };
        SignedFact::sign(RESERVE, fact, &signer())
    };
    let facts = of_reserve
        .into_iter()
        .map(|value| sign(Subject::Reserve, value, 1))
        .chain(
            of_peer
                .into_iter()
                .map(|value| sign(Subject::Peer(author()), value, 300)),
        )
        .collect();
    vec![part(
        "roster",
        Facts {
            reserve: RESERVE,
            facts,
        }
        .encode(),
    )]
}
