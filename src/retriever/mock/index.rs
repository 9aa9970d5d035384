//! What a retriever's tests restore from: chunks in memory, and pages built of drafts of entries.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde_bytes::ByteBuf;

use crate::format::head::DataSet;
use crate::format::index::{Child, Content, Entry, Node, Page, Piece, What};
use crate::retriever::{FetchError, Source};
use crate::terms::{ChunkId, ConsistencyLabel, FileSystemId, Kind, Stamp};

/// Chunks in memory; each answer takes its own time, so answers come in any order.
#[derive(Clone, Default)]
pub(in crate::retriever) struct MockSource(pub(in crate::retriever) Rc<RefCell<SourceState>>);

#[derive(Default)]
pub(in crate::retriever) struct SourceState {
    pub(in crate::retriever) chunks: BTreeMap<ChunkId, (Kind, Vec<u8>)>,
    pub(in crate::retriever) missing: BTreeSet<ChunkId>,
    pub(in crate::retriever) fetched: Vec<(ChunkId, Kind)>,
    pub(in crate::retriever) in_flight_bytes: usize,
    pub(in crate::retriever) in_flight_bytes_most: usize,
    pub(in crate::retriever) ends_after: Option<usize>,
}

impl MockSource {
    pub(in crate::retriever) fn keep(&self, kind: Kind, plain: Vec<u8>) -> ChunkId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind.byte()]);
        hasher.update(&plain);
        let id = ChunkId(*hasher.finalize().as_bytes());
        self.0.borrow_mut().chunks.insert(id, (kind, plain));
        id
    }

    pub(in crate::retriever) fn fetched(&self, kind: Kind) -> usize {
        let state = self.0.borrow();
        state.fetched.iter().filter(|(_, k)| *k == kind).count()
    }

    /// Something under a name that is not its own: only a broken source can do that.
    pub(in crate::retriever) fn keep_as(&self, id: ChunkId, kind: Kind, plain: Vec<u8>) {
        self.0.borrow_mut().chunks.insert(id, (kind, plain));
    }

    pub(in crate::retriever) fn lose(&self, id: ChunkId) {
        self.0.borrow_mut().missing.insert(id);
    }
}

impl Source for MockSource {
    async fn fetch(&self, id: ChunkId, kind: Kind) -> Result<Vec<u8>, FetchError> {
        let found = {
            let mut state = self.0.borrow_mut();
            state.fetched.push((id, kind));
            let fetched = state.fetched.len();
            if state.ends_after.is_some_and(|most| fetched > most) {
                return Err(FetchError::Ended("test".to_owned()));
            }
            let missing = state.missing.contains(&id);
            let found = state.chunks.get(&id).filter(|_| !missing).cloned();
            state.in_flight_bytes += found.as_ref().map_or(0, |(_, plain)| plain.len());
            state.in_flight_bytes_most = state.in_flight_bytes_most.max(state.in_flight_bytes);
            found
        };
        tokio::time::sleep(Duration::from_millis(u64::from(id.0[0]))).await;
        let nowhere = FetchError::Nowhere {
            id,
            asked: Vec::new(),
        };
        let (found_kind, plain) = found.ok_or(nowhere)?;
        self.0.borrow_mut().in_flight_bytes -= plain.len();
        assert_eq!(found_kind, kind, "asked for as another kind");
        Ok(plain)
    }
}

/// An entry whose chunks have names of their own, before it is put on a page.
#[derive(Clone)]
pub(in crate::retriever) struct Draft {
    pub(in crate::retriever) entry: Entry,
    ids: Vec<ChunkId>,
}

pub(in crate::retriever) const MTIME_BASE: i64 = 1_000;

fn draft(path: &str, what: What, ids: Vec<ChunkId>) -> Draft {
    let seconds = MTIME_BASE + i64::try_from(path.len()).expect("short path");
    let entry = Entry {
        path: ByteBuf::from(path.as_bytes()),
        what,
        mode: 0o640,
        uid: 1000,
        gid: 100,
        mtime: Stamp { seconds, nanos: 7 },
        ctime: Stamp::default(),
        inode: 1,
        hard_link: None,
        xattrs: Vec::new(),
    };
    Draft { entry, ids }
}

pub(in crate::retriever) fn dir(path: &str) -> Draft {
    let mut draft = draft(path, What::Dir, Vec::new());
    draft.entry.mode = 0o550;
    draft
}

pub(in crate::retriever) fn link(path: &str, target: &str) -> Draft {
    let target = ByteBuf::from(target.as_bytes());
    draft(path, What::Symlink { target }, Vec::new())
}

pub(in crate::retriever) fn empty(path: &str) -> Draft {
    let content = Content::Empty;
    let what = What::File {
        bytes: 0,
        content,
        has_holes: false,
    };
    draft(path, what, Vec::new())
}

pub(in crate::retriever) fn packed(path: &str, pack: ChunkId, offset: u32, bytes: u64) -> Draft {
    let content = Content::Packed {
        name: [0; 16],
        chunk: 0,
        offset,
    };
    let what = What::File {
        bytes,
        content,
        has_holes: false,
    };
    draft(path, what, vec![pack])
}

/// One entry of a larger file; a piece without a chunk is a hole.
pub(in crate::retriever) fn part(
    path: &str,
    file_bytes: u64,
    part: u32,
    last: bool,
    pieces: &[(Option<ChunkId>, u32)],
) -> Draft {
    let mut ids = Vec::new();
    let pieces = pieces
        .iter()
        .map(|(id, bytes)| match id {
            None => Piece::Hole {
                bytes: u64::from(*bytes),
            },
            Some(id) => {
                ids.push(*id);
                let chunk = u32::try_from(ids.len() - 1).expect("few");
                Piece::Data {
                    chunk,
                    bytes: *bytes,
                }
            }
        })
        .collect();
    let content = Content::Pieces { part, last, pieces };
    let what = What::File {
        bytes: file_bytes,
        content,
        has_holes: false,
    };
    draft(path, what, ids)
}

/// Pages of so many entries each.
pub(in crate::retriever) fn pages(drafts: &[Draft], per_page: usize) -> Vec<Page> {
    let page = |drafts: &[Draft]| {
        let mut page = Page::default();
        for draft in drafts {
            let mut entry = draft.entry.clone();
            let mut place = |chunk: &mut u32| {
                let id = draft.ids[*chunk as usize];
                let known = page.chunks.iter().position(|other| *other == id);
                let at = known.unwrap_or_else(|| {
                    page.chunks.push(id);
                    page.chunks.len() - 1
                });
                *chunk = u32::try_from(at).expect("few");
            };
            if let What::File { content, .. } = &mut entry.what {
                match content {
                    Content::Empty => {}
                    Content::Packed { chunk, .. } => place(chunk),
                    Content::Pieces { pieces, .. } => {
                        for piece in pieces {
                            if let Piece::Data { chunk, .. } = piece {
                                place(chunk);
                            }
                        }
                    }
                }
            }
            page.entries.push(entry);
        }
        page
    };
    drafts.chunks(per_page).map(page).collect()
}

pub(in crate::retriever) fn child(source: &MockSource, page: &Page) -> Child {
    Child {
        id: source.keep(Kind::Page, page.encode()),
        first: page.entries[0].path.clone(),
        entries: page.entries.len() as u64,
    }
}

pub(in crate::retriever) fn node(source: &MockSource, level: u8, children: &[Child]) -> Child {
    let node = Node {
        level,
        children: children.to_vec(),
    };
    Child {
        id: source.keep(Kind::Node, node.encode()),
        first: children[0].first.clone(),
        entries: children.iter().map(|child| child.entries).sum(),
    }
}

/// The page tree over these pages.
pub(in crate::retriever) fn data_set(
    source: &MockSource,
    name: &str,
    pages: &[Page],
    per_node: usize,
) -> DataSet {
    let mut children: Vec<Child> = pages.iter().map(|page| child(source, page)).collect();
    let mut level = 0;
    while children.len() > 1 {
        level += 1;
        let up = children.chunks(per_node);
        children = up.map(|children| node(source, level, children)).collect();
    }
    rooted(name, &children[0], level)
}

/// A data set with this root.
pub(in crate::retriever) fn rooted(name: &str, root: &Child, level: u8) -> DataSet {
    DataSet {
        name: name.into(),
        path: ByteBuf::from(format!("/srv/{name}.db").into_bytes()),
        file_system: FileSystemId {
            magic: 1,
            device: 1,
        },
        label: ConsistencyLabel::Crash,
        root: root.id,
        level,
        entries: root.entries,
        files: 1,
        // Tests that count set their own.
        bytes: u64::MAX,
        unread: Vec::new(),
        unread_count: 0,
    }
}
