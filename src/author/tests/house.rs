//! An author's house for stories: its files, its keepers, and how to look into a snapshot it took.

use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use ed25519_dalek::SigningKey;

use super::street::Street;
use super::world::{Small, Thing};
use crate::author::{
    AuthorIdentity, Closure, DataSetConfig, Options, Progress, Sizes, SnapshotError,
    SnapshotReport, snapshot,
};
use crate::format::head::Manifest;
use crate::format::index::{Content, Entry, Node, Page, Piece, What};
use crate::format::keys::{DataKeys, ReserveSecret};
use crate::format::record;
use crate::keeper::placement::place;
use crate::terms::{ChunkId, KeyEpoch, Kind, ReserveId, Suite};
use crate::world::FileKind;

/// A Box, its reserve and what it is told.
pub struct House {
    pub world: Small,
    pub street: Street,
    pub identity: AuthorIdentity,
    pub options: Options,
    /// Data sets besides `d`: each a directory of that name.
    pub more: Vec<&'static str>,
}

impl House {
    pub fn new(others: u8, factors: (u8, u8)) -> Self {
        let identity = AuthorIdentity {
            signing: SigningKey::from_bytes(&[9; 32]),
            reserve: ReserveId([1; 16]),
            line: vec![crate::terms::PeerKey(
                SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes(),
            )],
            choices: Vec::new(),
            keys: Rc::new(DataKeys::derive(KeyEpoch(1), &ReserveSecret([7; 32]))),
            older: Vec::new(),
            keyring: Rc::new(|epoch| Some(DataKeys::derive(epoch, &ReserveSecret([7; 32])))),
            suite: Suite::ChaCha20Poly1305,
        };
        let house = Self {
            world: Small::default(),
            street: Street::new(identity.peer(), others, factors),
            identity,
            options: Options {
                wait_protected: true,
                accept_loss: false,
                only_news: false,
                try_anyway: false,
                sizes: Sizes::small(),
            },
            more: Vec::new(),
        };
        house.world.tree.add("/d", Thing::Dir);
        house
    }

    /// Files of all sizes in several directories.
    pub fn furnished(others: u8, factors: (u8, u8)) -> Self {
        let house = Self::new(others, factors);
        let tree = &house.world.tree;
        for dir in ["a", "a!", "b", "b/c"] {
            tree.add(format!("/d/{dir}"), Thing::Dir);
            for number in 0..20u8 {
                tree.file(
                    format!("/d/{dir}/small{number}"),
                    bytes(dir, number, usize::from(number) * 12),
                );
            }
            tree.file(format!("/d/{dir}/large"), bytes(dir, 99, 20_000));
        }
        tree.file("/d/b/huge", bytes("huge", 0, 400_000));
        tree.file("/d/a.txt", *b"text");
        tree.file("/d/a-b", *b"dash");
        tree.file("/d/zeros", vec![0; 50_000]);
        tree.file(b"/d/\xff\xfe not text", *b"bytes");
        tree.add("/d/link", Thing::Link(b"a/small1".to_vec()));
        tree.add("/d/socket", Thing::Special(FileKind::Socket));
        tree.add("/d/pipe", Thing::Special(FileKind::Fifo));
        for (name, kind) in [
            ("tty", FileKind::CharDevice),
            ("disk", FileKind::BlockDevice),
        ] {
            let path = format!("/d/{name}");
            tree.add(&path, Thing::Special(kind));
            tree.change(&path, |stat| stat.rdev = 2049);
        }
        house
    }

    fn data_sets(&self) -> Vec<DataSetConfig> {
        let names = std::iter::once("d").chain(self.more.iter().copied());
        let set = |name: &str| DataSetConfig {
            name: name.into(),
            path: format!("/{name}").into_bytes(),
        };
        names.map(set).collect()
    }

    /// A look without asking the two keepers, which both have everything.
    pub async fn still(&self) -> Option<SnapshotReport> {
        let share = |key| crate::author::KeeperShare {
            key: crate::terms::PeerKey([key; 32]),
            needed: 0,
            confirmed: 0,
            refused: 0,
            refusal: None,
            has_head: true,
        };
        let shares = vec![share(1), share(2)];
        let looked = crate::author::still(&self.world, &self.data_sets(), shares, (2, 2)).await;
        looked.expect("the disk can be read")
    }

    pub async fn take(&self) -> Result<SnapshotReport, SnapshotError> {
        self.take_showing(&Rc::default()).await
    }

    /// The same, with whoever wants to know how far it is.
    pub async fn take_showing(
        &self,
        progress: &Rc<Progress>,
    ) -> Result<SnapshotReport, SnapshotError> {
        let data_sets = self.data_sets();
        let taking = snapshot(
            &self.world,
            &self.street,
            &self.identity,
            &data_sets,
            &self.options,
            progress,
        );
        Box::pin(taking).await
    }

    pub fn open(&self, id: ChunkId, kind: Kind) -> Vec<u8> {
        let sealed = self.street.any(id).expect("some keeper has it");
        let epoch = record::RecordHeader::of(&sealed).expect("a record").epoch;
        let keys = (self.identity.keyring)(epoch).expect("a key");
        let (header, plain) = record::open(&keys, sealed).expect("it opens");
        assert_eq!(header.kind, kind);
        plain
    }

    /// All entries of the snapshot in the order of its pages.
    pub fn entries(&self, report: &SnapshotReport) -> Vec<(Entry, Vec<ChunkId>)> {
        let manifest = self.open(report.head.head.manifest, Kind::Manifest);
        let manifest = Manifest::decode(&manifest).expect("a manifest");
        let mut entries = Vec::new();
        for set in &manifest.data_sets {
            let before = entries.len();
            self.descend(set.root, set.level, &mut entries);
            assert_eq!((entries.len() - before) as u64, set.entries);
        }
        entries
    }

    pub fn descend(&self, id: ChunkId, level: u8, into: &mut Vec<(Entry, Vec<ChunkId>)>) {
        if level == 0 {
            let page = Page::decode(&self.open(id, Kind::Page)).expect("a page");
            let chunks = page.chunks;
            into.extend(
                page.entries
                    .into_iter()
                    .map(|entry| (entry, chunks.clone())),
            );
            return;
        }
        let node = Node::decode(&self.open(id, Kind::Node)).expect("a node");
        assert_eq!(node.level, level);
        for child in node.children {
            let before = into.len();
            self.descend(child.id, level - 1, into);
            assert_eq!((into.len() - before) as u64, child.entries);
            assert_eq!(into[before].0.path, child.first);
        }
    }

    /// Pages and nodes of the snapshot.
    pub fn index_of(&self, report: &SnapshotReport) -> Vec<ChunkId> {
        let manifest = self.open(report.head.head.manifest, Kind::Manifest);
        let manifest = Manifest::decode(&manifest).expect("a manifest");
        let sets = manifest.data_sets.iter();
        let (mut todo, mut found): (Vec<_>, _) =
            (sets.map(|set| (set.root, set.level)).collect(), Vec::new());
        while let Some((id, level)) = todo.pop() {
            found.push(id);
            if level > 0 {
                let node = Node::decode(&self.open(id, Kind::Node)).expect("a node");
                todo.extend(node.children.iter().map(|child| (child.id, level - 1)));
            }
        }
        found
    }

    /// What the snapshot would give back: contents by path.
    pub fn contents(&self, report: &SnapshotReport) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (entry, chunks) in self.entries(report) {
            let what = match &entry.what {
                What::Dir => b"<dir>".to_vec(),
                What::Fifo => b"<pipe>".to_vec(),
                What::Device { is_block, rdev } => format!("<{is_block} {rdev}>").into_bytes(),
                What::Symlink { target } => [b"<link>", target.as_slice()].concat(),
                What::File { bytes, content, .. } => match content {
                    Content::Empty => Vec::new(),
                    Content::Packed {
                        name,
                        chunk,
                        offset,
                    } => {
                        let pack = self.open(chunks[*chunk as usize], Kind::Data);
                        let from = *offset as usize;
                        let len = usize::try_from(*bytes).expect("small");
                        let plain = pack[from..from + len].to_vec();
                        assert_eq!(self.identity.keys.lookup_name(&plain), *name);
                        plain
                    }
                    Content::Pieces { pieces, .. } => {
                        let mut plain = all.remove(entry.path.as_slice()).unwrap_or_default();
                        for piece in pieces {
                            match piece {
                                Piece::Data { chunk, bytes } => {
                                    let more = self.open(chunks[*chunk as usize], Kind::Data);
                                    assert_eq!(more.len(), *bytes as usize);
                                    plain.extend(more);
                                }
                                Piece::Hole { bytes } => {
                                    let end = plain.len() + usize::try_from(*bytes).expect("small");
                                    plain.resize(end, 0);
                                }
                            }
                        }
                        plain
                    }
                },
            };
            all.insert(entry.path.to_vec(), what);
        }
        all
    }

    pub fn expected(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let things = self.world.tree.0.things.borrow();
        things
            .iter()
            .filter_map(|(path, (thing, _))| {
                let path = path.strip_prefix(b"/d")?;
                let path = path.strip_prefix(b"/").unwrap_or(path).to_vec();
                let what = match thing {
                    Thing::Dir | Thing::Locked(FileKind::Dir) => b"<dir>".to_vec(),
                    Thing::File(bytes) => bytes.to_vec(),
                    Thing::Link(target) => [b"<link>", target.as_slice()].concat(),
                    Thing::Special(FileKind::Fifo) => b"<pipe>".to_vec(),
                    Thing::Special(FileKind::CharDevice) => b"<false 2049>".to_vec(),
                    Thing::Special(FileKind::BlockDevice) => b"<true 2049>".to_vec(),
                    Thing::Special(_) | Thing::Locked(_) => return None,
                };
                Some((path, what))
            })
            .collect()
    }

    /// Every keeper has everything placed there.
    pub async fn assert_placed(&self, report: &SnapshotReport, but_not: Option<u8>) {
        let mut closure = Closure::new(&self.street, &self.identity.keyring, &report.head);
        let members = &self.street.0.members;
        let mut many = 0;
        while let Some(id) = closure.next().await.expect("the closure is there") {
            many += 1;
            for key in place(id, self.identity.peer(), members, self.street.0.factors.0) {
                let held = self.street.0.shops[&key].chunks.borrow().contains_key(&id);
                assert!(held || Some(key.0[0]) == but_not, "{key:?} misses {id:?}");
            }
        }
        assert!(many > 3);
    }
}

pub fn bytes(name: &str, number: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hash = blake3::Hasher::new();
    hash.update(name.as_bytes()).update(&[number]);
    hash.finalize_xof().fill(&mut bytes);
    bytes
}

/// Runs a story on one thread.
pub fn run<F: Future>(story: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, story)
}
