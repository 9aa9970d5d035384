//! An index entry in the making: like [`Entry`], but it names its chunks directly instead of by their number on a page.

use serde_bytes::ByteBuf;

use crate::format::index::{Content, Entry, Page, Piece, What};
use crate::format::keys::PlainName;
use crate::terms::{ChunkId, Stamp};
use crate::world::{FileKind, Stat, Xattr};

/// A chunk an entry refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ref {
    /// Its name.
    pub id: ChunkId,
    /// The length of its sealed record in bytes.
    pub sealed_bytes: u32,
    /// The length of its plaintext in bytes; 0 where that is not known.
    pub plain_bytes: u32,
    /// Whether it is taken over from the previous snapshot, so that keepers must still be asked whether they have it.
    pub reused: bool,
}

/// An entry in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Relative to the data set.
    pub path: Vec<u8>,
    /// What it is.
    pub what: Made,
    /// Attributes as the index has them.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of contents.
    pub mtime: Stamp,
    /// Last change of anything.
    pub ctime: Stamp,
    /// Its number on its file system.
    pub inode: u64,
    /// The same for all names of one thing.
    pub hard_link: Option<u64>,
    /// Whether it is a file with holes.
    pub has_holes: bool,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// What a draft is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A device node.
    Device {
        /// Of a block device.
        is_block: bool,
        /// Its number.
        rdev: u64,
    },
    /// A file without bytes.
    Empty,
    /// A small file in a pack.
    Packed {
        /// Length.
        bytes: u64,
        /// The plaintext's name under the lookup key.
        name: PlainName,
        /// The pack; `None` while it is still open.
        pack: Option<Ref>,
        /// Where in it.
        offset: u32,
    },
    /// A file in pieces, or one part of it.
    Pieces {
        /// Length of the whole file.
        bytes: u64,
        /// Which part.
        part: u32,
        /// Whether it is the last.
        last: bool,
        /// In order.
        pieces: Vec<MadePiece>,
    },
    /// A small file that is yet to be read.
    ToRead,
    /// Could not be read; it gets no entry.
    Dropped,
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadePiece {
    /// A whole chunk.
    Data(Ref, u32),
    /// Zeros.
    Hole(u64),
}

/// The `ctime` of an entry that is not surely all of the thing: nothing on disk is taken for it, so the next walk reads it again.
pub const TO_READ_AGAIN: Stamp = Stamp {
    seconds: 0,
    nanos: 0,
};

impl Draft {
    /// A draft with a thing's attributes. `device` is the data set's: links are only told apart on one file system.
    #[must_use]
    pub fn new(path: Vec<u8>, stat: &Stat, device: u64, what: Made) -> Self {
        let mut draft = Self {
            path,
            what,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Stamp::default(),
            ctime: Stamp::default(),
            inode: 0,
            hard_link: None,
            has_holes: false,
            xattrs: Vec::new(),
        };
        draft.mark(stat, device);
        draft
    }

    /// Takes over a thing's attributes.
    pub fn mark(&mut self, stat: &Stat, device: u64) {
        let whole = |stamp: Stamp| Stamp {
            nanos: stamp.nanos.min(999_999_999),
            ..stamp
        };
        self.mode = stat.mode & 0o7777;
        self.uid = stat.uid;
        self.gid = stat.gid;
        self.mtime = whole(stat.mtime);
        self.ctime = whole(stat.ctime);
        self.inode = stat.inode;
        let is_linked = stat.kind != FileKind::Dir && stat.links > 1 && stat.device == device;
        self.hard_link = is_linked.then_some(stat.inode);
    }

    /// The memory its attributes take beside itself, in bytes.
    #[must_use]
    pub fn xattr_bytes(&self) -> usize {
        let each = |(name, value): &Xattr| size_of::<Xattr>() + name.len() + value.len();
        self.xattrs.iter().map(each).sum()
    }

    /// Whether all that its entry needs is known.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(self.what, Made::ToRead | Made::Packed { pack: None, .. })
    }

    /// The length of the file it begins, if it is a file's first entry.
    #[must_use]
    pub fn file_bytes(&self) -> Option<u64> {
        match &self.what {
            Made::Empty => Some(0),
            Made::Packed { bytes, .. } | Made::Pieces { bytes, part: 0, .. } => Some(*bytes),
            Made::Pieces { .. }
            | Made::Dir
            | Made::Symlink(_)
            | Made::Fifo
            | Made::Device { .. }
            | Made::ToRead
            | Made::Dropped => None,
        }
    }

    /// The chunks it refers to.
    pub fn refs(&self) -> impl Iterator<Item = Ref> + '_ {
        let (pack, pieces): (Option<Ref>, &[MadePiece]) = match &self.what {
            Made::Packed { pack, .. } => (*pack, &[]),
            Made::Pieces { pieces, .. } => (None, pieces),
            Made::Dir
            | Made::Symlink(_)
            | Made::Fifo
            | Made::Device { .. }
            | Made::Empty
            | Made::ToRead
            | Made::Dropped => (None, &[]),
        };
        pack.into_iter()
            .chain(pieces.iter().filter_map(|piece| match piece {
                MadePiece::Data(chunk, _) => Some(*chunk),
                MadePiece::Hole(_) => None,
            }))
    }

    /// The entry, with chunks numbered by `number`. `None` if there is to be none.
    #[must_use]
    pub fn entry(self, mut number: impl FnMut(Ref) -> u32) -> Option<Entry> {
        let has_holes = self.has_holes;
        let what = match self.what {
            Made::Dir => What::Dir,
            Made::Fifo => What::Fifo,
            Made::Device { is_block, rdev } => What::Device { is_block, rdev },
            Made::Symlink(target) => What::Symlink {
                target: ByteBuf::from(target),
            },
            Made::Empty => What::File {
                bytes: 0,
                content: Content::Empty,
                has_holes,
            },
            Made::Packed {
                bytes,
                name,
                pack,
                offset,
            } => What::File {
                bytes,
                content: Content::Packed {
                    name,
                    chunk: number(pack?),
                    offset,
                },
                has_holes,
            },
            Made::Pieces {
                bytes,
                part,
                last,
                pieces,
            } => What::File {
                bytes,
                content: Content::Pieces {
                    part,
                    last,
                    pieces: pieces
                        .into_iter()
                        .map(|piece| match piece {
                            MadePiece::Data(chunk, bytes) => Piece::Data {
                                chunk: number(chunk),
                                bytes,
                            },
                            MadePiece::Hole(bytes) => Piece::Hole { bytes },
                        })
                        .collect(),
                },
                has_holes,
            },
            Made::ToRead | Made::Dropped => return None,
        };
        Some(Entry {
            path: ByteBuf::from(self.path),
            what,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            ctime: self.ctime,
            inode: self.inode,
            hard_link: self.hard_link,
            xattrs: self
                .xattrs
                .into_iter()
                .map(|(name, value)| (ByteBuf::from(name), ByteBuf::from(value)))
                .collect(),
        })
    }

    /// What an entry of an earlier snapshot stands for, its chunks marked as taken over. `None` if page or lengths do not
    /// fit together.
    #[must_use]
    pub fn again(entry: &Entry, page: &Page, lengths: &[(u32, u32)]) -> Option<Self> {
        let chunk = |number: u32| {
            let (sealed_bytes, plain_bytes) = *lengths.get(number as usize)?;
            Some(Ref {
                id: *page.chunks.get(number as usize)?,
                sealed_bytes,
                plain_bytes,
                reused: true,
            })
        };
        let has_holes = matches!(
            entry.what,
            What::File {
                has_holes: true,
                ..
            }
        );
        let what = match &entry.what {
            What::Dir => Made::Dir,
            What::Fifo => Made::Fifo,
            What::Device { is_block, rdev } => Made::Device {
                is_block: *is_block,
                rdev: *rdev,
            },
            What::Symlink { target } => Made::Symlink(target.to_vec()),
            What::File { bytes, content, .. } => match content {
                Content::Empty => Made::Empty,
                Content::Packed {
                    name,
                    chunk: number,
                    offset,
                } => Made::Packed {
                    bytes: *bytes,
                    name: *name,
                    pack: Some(chunk(*number)?),
                    offset: *offset,
                },
                Content::Pieces { part, last, pieces } => Made::Pieces {
                    bytes: *bytes,
                    part: *part,
                    last: *last,
                    pieces: pieces
                        .iter()
                        .map(|piece| match piece {
                            Piece::Data {
                                chunk: number,
                                bytes,
                            } => Some(MadePiece::Data(chunk(*number)?, *bytes)),
                            Piece::Hole { bytes } => Some(MadePiece::Hole(*bytes)),
                        })
                        .collect::<Option<_>>()?,
                },
            },
        };
        Some(Self {
            path: entry.path.to_vec(),
            what,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            ctime: entry.ctime,
            inode: entry.inode,
            hard_link: entry.hard_link,
            has_holes,
            xattrs: entry
                .xattrs
                .iter()
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect(),
        })
    }
}
