//! A Box that lies: snapshots whose index breaks the rules, sealed and signed with a member's own keys, in another member's store.

use std::rc::Rc;

use ed25519_dalek::SigningKey;
use reserve::format::head::{DataSet, Head, Manifest, SignedHead};
use reserve::format::index::{Child, Content, Entry, Node, Page, Piece, What};
use reserve::format::keys::DataKeys;
use reserve::format::record;
use reserve::keeper::{Store, StoreConfig};
use reserve::roster::LoadedBox;
use reserve::terms::limits::TABLE_CHUNKS_DEFAULT;
use reserve::terms::{
    ChunkId, Codec, ConsistencyLabel, FileSystemId, Kind, PeerKey, ReserveId, SnapshotNumber,
    Stamp, Suite,
};
use reserve::world::World;
use reserve::world::uring::{self, Uring};
use serde_bytes::ByteBuf;

use crate::stage::BoxProcess;

/// What every file of a lie holds.
pub const CONTENTS: &[u8] = b"this must never stand anywhere but below a target";

pub struct Liar {
    author: PeerKey,
    signing: SigningKey,
    reserve: ReserveId,
    keys: DataKeys,
    contents: ChunkId,
    records: Vec<(ChunkId, Vec<u8>)>,
    heads: Vec<SignedHead>,
}

impl Liar {
    /// With the keys of a member whose keeper does not run.
    pub fn in_the_place_of(member: &BoxProcess) -> Self {
        let loaded = uring::run(async {
            let world = Uring::new(&member.dir).unwrap();
            LoadedBox::load(world.disk()).await.unwrap()
        });
        let loaded = loaded.unwrap();
        let epoch = loaded.secrets.epoch(&loaded.roster);
        let mut liar = Self {
            author: loaded.identity.peer(),
            signing: loaded.identity.signing.clone(),
            reserve: loaded.roster.reserve(),
            keys: loaded.secrets.data_keys_of(epoch).unwrap(),
            contents: ChunkId([0; 32]),
            records: Vec::new(),
            heads: Vec::new(),
        };
        liar.contents = liar.seal(Kind::Data, CONTENTS);
        liar
    }

    fn seal(&mut self, kind: Kind, plain: &[u8]) -> ChunkId {
        let suite = Suite::ChaCha20Poly1305;
        let record = record::seal(&self.keys, suite, kind, Codec::Plain, plain.len(), plain);
        let id = record::id_of(&record);
        self.records.push((id, record));
        id
    }

    /// A page that nobody checks.
    pub fn page(&mut self, entries: &[Entry]) -> Child {
        let page = Page {
            chunks: vec![self.contents],
            entries: entries.to_vec(),
        };
        Child {
            id: self.seal(Kind::Page, &page.encode()),
            first: entries[0].path.clone(),
            entries: entries.len() as u64,
        }
    }

    /// The same, of which no Box has anything.
    pub fn lost_page(&mut self, entries: &[Entry]) -> Child {
        let page = self.page(entries);
        self.records.pop();
        page
    }

    pub fn node(&mut self, level: u8, children: Vec<Child>) -> Child {
        let first = children[0].first.clone();
        let entries = children.iter().map(|child| child.entries).sum();
        let id = self.seal(Kind::Node, &Node { level, children }.encode());
        Child { id, first, entries }
    }

    /// A snapshot of one data set with this root; its number.
    pub fn sign(&mut self, root: &Child, level: u8, change: impl FnOnce(&mut DataSet)) -> u64 {
        let mut set = DataSet {
            name: "photos".into(),
            path: ByteBuf::from(b"/srv/photos".to_vec()),
            file_system: FileSystemId {
                magic: 1,
                device: 1,
            },
            label: ConsistencyLabel::Crash,
            root: root.id,
            level,
            entries: root.entries,
            files: root.entries,
            bytes: root.entries.saturating_mul(CONTENTS.len() as u64),
            unread: Vec::new(),
            unread_count: 0,
        };
        change(&mut set);
        let number = SnapshotNumber(self.heads.len() as u64 + 1);
        let manifest = Manifest {
            author: self.author,
            number,
            data_sets: vec![set],
        };
        let head = Head {
            reserve: self.reserve,
            author: self.author,
            incarnation: [1; 8],
            number,
            previous: self.heads.last().map(SignedHead::hash),
            manifest: self.seal(Kind::Manifest, &manifest.encode()),
            taken: Stamp {
                seconds: 1_800_000_000,
                nanos: 0,
            },
            chunks: 1,
            sealed_bytes: 1,
            accepted: true,
        };
        self.heads.push(SignedHead::sign(head, &self.signing));
        number.0
    }

    /// All of it is kept by a member whose keeper does not run, as if it had come over a session.
    pub fn plant(self, keeper: &BoxProcess) {
        let planting = uring::run(async {
            let config = StoreConfig {
                table_chunks: TABLE_CHUNKS_DEFAULT,
                capacity_bytes: None,
                quota_bytes_per_author: None,
            };
            let world = Uring::new(&keeper.dir).unwrap();
            let (store, _) = Store::open(world, config).await.unwrap();
            for (id, bytes) in self.records {
                store.put(self.author, id, Rc::new(bytes)).await.unwrap();
            }
            for head in &self.heads {
                store.put_head(head).await.unwrap();
            }
            store.close().await;
        });
        planting.unwrap();
    }
}

fn entry(path: &str, what: What) -> Entry {
    Entry {
        path: ByteBuf::from(path.as_bytes()),
        what,
        mode: 0o755,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        mtime: Stamp::default(),
        ctime: Stamp::default(),
        inode: 1,
        hard_link: None,
        xattrs: Vec::new(),
    }
}

pub fn dir(path: &str) -> Entry {
    entry(path, What::Dir)
}

pub fn link(path: &str, target: &str) -> Entry {
    let target = ByteBuf::from(target.as_bytes());
    entry(path, What::Symlink { target })
}

/// A file that has its contents so many times.
pub fn file(path: &str, times: usize) -> Entry {
    let piece = Piece::Data {
        chunk: 0,
        bytes: u32::try_from(CONTENTS.len()).unwrap(),
    };
    let content = Content::Pieces {
        part: 0,
        last: true,
        pieces: vec![piece; times],
    };
    let bytes = (CONTENTS.len() * times) as u64;
    let what = What::File {
        bytes,
        content,
        has_holes: false,
    };
    entry(path, what)
}
