//! A place in a data set's page tree that moves forward entry by entry, or leaps over a whole subtree unread.
//!
//! The next path is known before what it stands in is fetched. The index may be hostile: levels sink, children begin where
//! their parents tell and never lead back.

use std::cmp::Ordering;

use serde_bytes::ByteBuf;

use super::{FetchError, RetrieveError, Source};
use crate::format::head::DataSet;
use crate::format::index::{Child, Content, Entry, Node, Page, Piece, What, path_order};
use crate::format::keys::PlainName;
use crate::terms::{ChunkId, Kind};

/// Where a cursor is.
#[derive(Debug)]
pub(super) enum At<'c> {
    /// Before a subtree that was not read.
    Subtree {
        id: ChunkId,
        level: u8,
        first: &'c [u8],
        /// The first path behind it.
        until: Option<&'c [u8]>,
    },
    /// On an entry.
    Entry(&'c Entry),
}

impl At<'_> {
    /// The path that comes next.
    pub(super) fn path(&self) -> &[u8] {
        match self {
            Self::Subtree { first, .. } => first,
            Self::Entry(entry) => &entry.path,
        }
    }
}

/// A subtree that cannot be had; the cursor is behind it.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) first: Vec<u8>,
    pub(super) until: Option<Vec<u8>>,
    pub(super) entries: u64,
    pub(super) why: FetchError,
}

/// The bytes of a file, as far as the index tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Contents {
    pub(super) bytes: u64,
    name: [u8; 32],
}

/// A stretch of a file and where its bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stretch {
    /// Part of a chunk: from this byte on, so many.
    Chunk(ChunkId, usize, usize),
    /// Zeros.
    Hole(u64),
}

struct Frame {
    /// The children's level.
    level: u8,
    children: Vec<Child>,
    at: usize,
    /// The first path behind all of them.
    until: Option<ByteBuf>,
}

impl Frame {
    fn until(&self) -> Option<&[u8]> {
        let next = self.children.get(self.at + 1).map(|child| &child.first);
        next.or(self.until.as_ref()).map(|path| path.as_slice())
    }
}

/// A place in a data set.
pub(super) struct Cursor<'c, S> {
    source: &'c S,
    frames: Vec<Frame>,
    page: Option<(Page, usize)>,
    /// The path of the entry passed last.
    passed: Option<Vec<u8>>,
}

impl<'c, S: Source> Cursor<'c, S> {
    /// Before the first entry.
    pub(super) fn new(source: &'c S, set: &DataSet) -> Self {
        let root = Child {
            id: set.root,
            first: ByteBuf::new(),
            entries: set.entries,
        };
        let frame = Frame {
            level: set.level,
            children: vec![root],
            at: 0,
            until: None,
        };
        Self {
            source,
            frames: vec![frame],
            page: None,
            passed: None,
        }
    }

    /// Where it is; `None` at the end.
    pub(super) fn at(&mut self) -> Option<At<'_>> {
        if self
            .page
            .as_ref()
            .is_some_and(|(page, at)| *at >= page.entries.len())
        {
            self.page = None;
        }
        if self.page.is_none() {
            while self.frames.last()?.at >= self.frames.last()?.children.len() {
                self.frames.pop();
            }
        }
        match &self.page {
            Some((page, at)) => Some(At::Entry(&page.entries[*at])),
            None => {
                let frame = self.frames.last()?;
                let child = frame.children.get(frame.at)?;
                Some(At::Subtree {
                    id: child.id,
                    level: frame.level,
                    first: &child.first,
                    until: frame.until(),
                })
            }
        }
    }

    /// Leaps over the subtree it is before.
    pub(super) fn leap(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.at += 1;
        }
    }

    /// Reads what it is before: a node, then it is before its first child; or a page, then it is on its first entry. What cannot
    /// be had is leaped over and told.
    pub(super) async fn open(&mut self) -> Result<Option<Lost>, RetrieveError> {
        let Some(frame) = self.frames.last() else {
            return Ok(None);
        };
        let Some(child) = frame.children.get(frame.at).cloned() else {
            return Ok(None);
        };
        let (level, until) = (frame.level, frame.until().map(<[u8]>::to_vec));
        self.leap();
        let kind = if level == 0 { Kind::Page } else { Kind::Node };
        let bytes = match self.source.fetch(child.id, kind).await {
            Ok(bytes) => bytes,
            Err(why @ FetchError::Ended(_)) => return Err(RetrieveError::SourceEnded(why)),
            Err(why) => {
                return Ok(Some(Lost {
                    first: child.first.into_vec(),
                    until,
                    entries: child.entries,
                    why,
                }));
            }
        };
        let Some(below) = level.checked_sub(1) else {
            let page = Page::decode(&bytes).map_err(RetrieveError::index)?;
            self.enter(&page, &child)?;
            self.page = Some((page, 0));
            return Ok(None);
        };
        let node = Node::decode(&bytes).map_err(RetrieveError::index)?;
        if node.level != level
            || node.children.first().map(|first| &first.first) != Some(&child.first)
        {
            return Err(RetrieveError::wrong_index(
                "a node is not what its parent tells",
            ));
        }
        self.frames.push(Frame {
            level: below,
            children: node.children,
            at: 0,
            until: until.map(ByteBuf::from),
        });
        Ok(None)
    }

    /// Whether a page is where its parent tells, and comes behind all before it.
    fn enter(&self, page: &Page, child: &Child) -> Result<(), RetrieveError> {
        let Some(first) = page
            .entries
            .first()
            .filter(|first| first.path == child.first)
        else {
            return Err(RetrieveError::wrong_index(
                "a page does not begin where its parent tells",
            ));
        };
        let order = self
            .passed
            .as_ref()
            .map(|passed| path_order(passed, &first.path));
        match order {
            None | Some(Ordering::Less) => Ok(()),
            // A file goes on; whether it does so in order is seen when it is read.
            Some(Ordering::Equal) if goes_on(first) => Ok(()),
            Some(Ordering::Equal | Ordering::Greater) => Err(RetrieveError::wrong_index(
                "paths do not rise from page to page",
            )),
        }
    }

    /// Takes the entry it is on; `None` when it is not on one.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let (page, at) = self.page.as_mut()?;
        let entry = page.entries.get(*at)?.clone();
        *at += 1;
        let mut stretches = Vec::new();
        if let What::File { bytes, content, .. } = &entry.what {
            let chunk = |number: u32| page.chunks.get(number as usize).copied();
            match content {
                Content::Empty => {}
                Content::Packed {
                    chunk: number,
                    offset,
                    ..
                } => {
                    let bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
                    let id = chunk(*number)?;
                    stretches.push(Stretch::Chunk(id, *offset as usize, bytes));
                }
                Content::Pieces { pieces, .. } => {
                    for piece in pieces {
                        stretches.push(match *piece {
                            Piece::Hole { bytes } => Stretch::Hole(bytes),
                            Piece::Data {
                                chunk: number,
                                bytes,
                            } => Stretch::Chunk(chunk(number)?, 0, bytes as usize),
                        });
                    }
                }
            }
        }
        self.passed = Some(entry.path.to_vec());
        Some(Taken { entry, stretches })
    }
}

/// An entry that was taken, and where its bytes are as far as it tells.
pub(super) struct Taken {
    pub(super) entry: Entry,
    pub(super) stretches: Vec<Stretch>,
}

/// Whether an entry only goes on with the file of the one before it.
pub(super) const fn goes_on(entry: &Entry) -> bool {
    matches!(
        &entry.what,
        What::File { content: Content::Pieces { part, .. }, .. } if *part > 0
    )
}

/// Names the bytes of a file: what a small one is called in the index, or a hash of the names of a large one's chunks.
pub(super) struct Naming {
    bytes: u64,
    small: Option<PlainName>,
    hasher: blake3::Hasher,
}

impl Naming {
    /// Of a file's first entry.
    pub(super) fn begin(taken: &Taken) -> Option<Self> {
        let What::File { bytes, content, .. } = &taken.entry.what else {
            return None;
        };
        let small = match content {
            Content::Packed { name, .. } => Some(*name),
            Content::Empty => Some([0; 16]),
            Content::Pieces { .. } => None,
        };
        let mut naming = Self {
            bytes: *bytes,
            small,
            hasher: blake3::Hasher::new(),
        };
        naming.add(&taken.stretches);
        Some(naming)
    }

    /// Of what goes on with it.
    pub(super) fn add(&mut self, stretches: &[Stretch]) {
        for stretch in stretches {
            match stretch {
                Stretch::Chunk(id, ..) => {
                    self.hasher.update(&[1]);
                    self.hasher.update(&id.0);
                }
                Stretch::Hole(bytes) => {
                    self.hasher.update(&[0]);
                    self.hasher.update(&bytes.to_le_bytes());
                }
            }
        }
    }

    pub(super) fn end(self) -> Contents {
        Contents {
            bytes: self.bytes,
            name: match self.small {
                Some(small) => {
                    let mut name = [0; 32];
                    name[..small.len()].copy_from_slice(&small);
                    name
                }
                None => *self.hasher.finalize().as_bytes(),
            },
        }
    }
}
