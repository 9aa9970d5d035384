//! The index: entries in pages, pages in a tree. A page or node is the plaintext of a chunk of its kind.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::keys::PlainName;
use super::{Malformed, decode, encode, index_deltas, malformed};
use crate::terms::limits::{
    ENTRY_CHUNKS_MAX, NODE_CHILDREN_MAX, PAGE_BYTES_MAX, PAGE_ENTRIES_MAX, PATH_BYTES_MAX,
    TREE_HEIGHT_MAX, XATTRS_BYTES_MAX, XATTRS_MAX,
};
use crate::terms::{ChunkId, Stamp};

const PAGE: &str = "index page";
const NODE: &str = "page-tree node";

/// A page: chunk names once, and entries that point at them by number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// Every chunk the entries refer to, each once, in order of first use.
    pub chunks: Vec<ChunkId>,
    /// Sorted by [`path_order`], then by part.
    pub entries: Vec<Entry>,
}

/// One thing in a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative to the data set, names separated by `/`; empty for the data set itself.
    pub path: ByteBuf,
    /// What it is.
    pub what: What,
    /// Low 12 bits of `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of contents.
    pub mtime: Stamp,
    /// How the author recognises it unchanged.
    pub ctime: Stamp,
    /// The same.
    pub inode: u64,
    /// Names of one thing carry the same number; a directory has none.
    pub hard_link: Option<u64>,
    /// Extended attributes, access lists among them, sorted by name; those of a file stand in its first entry.
    pub xattrs: Vec<(ByteBuf, ByteBuf)>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A directory.
    Dir,
    /// A regular file.
    File {
        /// Its length in bytes.
        bytes: u64,
        /// Where its bytes are.
        content: Content,
        /// Whether it has holes: then blocks of zeros in it take no space.
        has_holes: bool,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: ByteBuf,
    },
    /// A named pipe.
    Fifo,
    /// A device node.
    Device {
        /// Of a block device rather than a character device.
        is_block: bool,
        /// Its number.
        rdev: u64,
    },
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// There are none.
    Empty,
    /// In a pack, among other small files.
    Packed {
        /// The plaintext's name under the lookup key.
        name: PlainName,
        /// Which of the page's chunks.
        chunk: u32,
        /// Where in the pack's plaintext.
        offset: u32,
    },
    /// In chunks of its own.
    Pieces {
        /// 0 for the first entry of a file; a file with many pieces goes on in the next entry.
        part: u32,
        /// Whether this is the file's last entry.
        last: bool,
        /// In order.
        pieces: Vec<Piece>,
    },
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// The whole plaintext of a chunk.
    Data {
        /// Which of the page's chunks.
        chunk: u32,
        /// Its length.
        bytes: u32,
    },
    /// Zeros that take no space.
    Hole {
        /// How many.
        bytes: u64,
    },
}

impl Piece {
    /// How far it reaches.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match self {
            Self::Data { bytes, .. } => *bytes as u64,
            Self::Hole { bytes } => *bytes,
        }
    }
}

/// A node of the page tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Height above the pages: the children of a node of level 1 are pages.
    pub level: u8,
    /// In path order.
    pub children: Vec<Child>,
}

/// A child of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The child's chunk.
    pub id: ChunkId,
    /// The path of its first entry.
    pub first: ByteBuf,
    /// Entries below it.
    pub entries: u64,
}

/// Path order: `/` sorts before every other byte, so a directory's contents follow it at once and walk order is sort order.
#[must_use]
pub fn path_order(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    a.iter().map(rank).cmp(b.iter().map(rank))
}

/// Whether a path may stand in an index: no absolute path, no empty name, no `.` or `..`, no NUL.
#[must_use]
pub fn path_is_legal(path: &[u8]) -> bool {
    path.len() <= PATH_BYTES_MAX
        && (path.is_empty()
            || path.split(|byte| *byte == b'/').all(|name| {
                !matches!(name, b"" | b"." | b"..") && name.len() <= 255 && !name.contains(&0)
            }))
}

impl Page {
    /// The page's bytes: differences stand for numbers that the entry before gives away.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut page = self.clone();
        index_deltas::fold(&mut page.entries);
        encode(&page)
    }

    /// Reads a page: order, references and paths are checked, so a reader may trust them.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > PAGE_BYTES_MAX {
            return Err(malformed(PAGE, "it is longer than a page may be"));
        }
        let mut page: Self = decode(PAGE, bytes)?;
        index_deltas::unfold(&mut page.entries);
        if page.entries.is_empty() || page.entries.len() > PAGE_ENTRIES_MAX {
            return Err(malformed(PAGE, "its number of entries is impossible"));
        }
        for entry in &page.entries {
            page.check(entry)?;
        }
        for pair in page.entries.windows(2) {
            match path_order(&pair[0].path, &pair[1].path) {
                Ordering::Less => {}
                Ordering::Equal if pair[0].is_continued_by(&pair[1]) => {}
                Ordering::Equal | Ordering::Greater => {
                    return Err(malformed(PAGE, "its entries are not in order"));
                }
            }
        }
        Ok(page)
    }

    fn check(&self, entry: &Entry) -> Result<(), Malformed> {
        if !path_is_legal(&entry.path) {
            return Err(malformed(PAGE, "a path leads outside or is none"));
        }
        if entry.mode > 0o7777
            || entry.mtime.nanos >= 1_000_000_000
            || entry.ctime.nanos >= 1_000_000_000
        {
            return Err(malformed(PAGE, "an attribute is impossible"));
        }
        check_xattrs(&entry.xattrs)?;
        let known = |chunk: u32| (chunk as usize) < self.chunks.len();
        match &entry.what {
            What::Dir if entry.hard_link.is_some() => {
                Err(malformed(PAGE, "a directory has two names"))
            }
            What::Dir | What::Fifo | What::Device { .. } => Ok(()),
            What::Symlink { target }
                if target.is_empty() || target.len() > PATH_BYTES_MAX || target.contains(&0) =>
            {
                Err(malformed(PAGE, "a link points nowhere"))
            }
            What::Symlink { .. } => Ok(()),
            What::File { bytes, content, .. } => match content {
                Content::Empty if *bytes == 0 => Ok(()),
                Content::Empty => Err(malformed(PAGE, "a file has a length but no bytes")),
                Content::Packed { chunk, offset, .. } => {
                    let end = u64::from(*offset).saturating_add(*bytes);
                    let fits = known(*chunk)
                        && *bytes > 0
                        && end <= crate::terms::limits::CUT_BYTES_MAX as u64;
                    if fits {
                        Ok(())
                    } else {
                        Err(malformed(PAGE, "a packed file lies outside its pack"))
                    }
                }
                Content::Pieces { pieces, .. } => {
                    let mut reach: u64 = 0;
                    for piece in pieces {
                        if let Piece::Data { chunk, bytes } = piece
                            && (!known(*chunk)
                                || *bytes == 0
                                || *bytes as usize > crate::terms::limits::CUT_BYTES_MAX)
                        {
                            return Err(malformed(PAGE, "a piece is impossible"));
                        }
                        reach = reach
                            .checked_add(piece.bytes())
                            .ok_or(malformed(PAGE, "a file's pieces have no end"))?;
                    }
                    if pieces.is_empty() || pieces.len() > ENTRY_CHUNKS_MAX || reach > *bytes {
                        return Err(malformed(PAGE, "a file's pieces do not add up"));
                    }
                    Ok(())
                }
            },
        }
    }
}

fn check_xattrs(xattrs: &[(ByteBuf, ByteBuf)]) -> Result<(), Malformed> {
    let bytes: usize = xattrs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let is_name = |name: &[u8]| (1..=255).contains(&name.len()) && !name.contains(&0);
    let is_legal = xattrs.len() <= XATTRS_MAX
        && bytes <= XATTRS_BYTES_MAX
        && xattrs.iter().all(|(name, _)| is_name(name))
        && xattrs.is_sorted_by(|(a, _), (b, _)| a < b);
    if is_legal {
        Ok(())
    } else {
        Err(malformed(PAGE, "extended attributes are impossible"))
    }
}

impl Entry {
    /// Whether `next` goes on with the pieces of this same file.
    #[must_use]
    pub fn is_continued_by(&self, next: &Self) -> bool {
        match (&self.what, &next.what) {
            (
                What::File {
                    bytes: a,
                    content:
                        Content::Pieces {
                            part, last: false, ..
                        },
                    ..
                },
                What::File {
                    bytes: b,
                    content:
                        Content::Pieces {
                            part: next_part, ..
                        },
                    ..
                },
            ) => a == b && part.checked_add(1) == Some(*next_part) && self.path == next.path,
            _ => false,
        }
    }
}

impl Node {
    /// The node's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a node; its children are in order and lower than it, so a descent ends.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let node: Self = decode(NODE, bytes)?;
        if node.level == 0 || node.level > TREE_HEIGHT_MAX {
            return Err(malformed(NODE, "its level is impossible"));
        }
        if node.children.is_empty() || node.children.len() > NODE_CHILDREN_MAX {
            return Err(malformed(NODE, "its number of children is impossible"));
        }
        if node
            .children
            .iter()
            .any(|child| !path_is_legal(&child.first) || child.entries == 0)
        {
            return Err(malformed(NODE, "a child is impossible"));
        }
        if node
            .children
            .windows(2)
            .any(|pair| path_order(&pair[0].first, &pair[1].first) == Ordering::Greater)
        {
            return Err(malformed(NODE, "its children are not in order"));
        }
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: Content, bytes: u64) -> Entry {
        Entry {
            path: ByteBuf::from(path.as_bytes()),
            what: What::File {
                bytes,
                content,
                has_holes: false,
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Stamp::default(),
            ctime: Stamp::default(),
            inode: 1,
            hard_link: None,
            xattrs: Vec::new(),
        }
    }

    #[test]
    fn a_directory_is_followed_at_once_by_its_contents() {
        let mut paths = [&b"a.txt"[..], b"a/b", b"a", b"a!", b"a/b/c", b"a-"];
        paths.sort_by(|a, b| path_order(a, b));
        assert_eq!(paths, [&b"a"[..], b"a/b", b"a/b/c", b"a!", b"a-", b"a.txt"]);
    }

    #[test]
    fn paths_that_lead_outside_are_illegal() {
        for bad in ["/etc", "..", "a/../b", "a//b", "a/", "./a", "a\0b"] {
            assert!(!path_is_legal(bad.as_bytes()), "{bad}");
        }
        for good in ["", "a", "a/b", "...", "\u{e9}/x y"] {
            assert!(path_is_legal(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn a_page_with_a_reference_to_nowhere_is_refused() {
        let page = Page {
            chunks: vec![ChunkId([1; 32])],
            entries: vec![file(
                "a",
                Content::Packed {
                    name: [0; 16],
                    chunk: 0,
                    offset: 0,
                },
                5,
            )],
        };
        assert_eq!(Page::decode(&page.encode()).as_ref(), Ok(&page));
        let page = Page {
            chunks: Vec::new(),
            ..page
        };
        assert!(Page::decode(&page.encode()).is_err());
    }

    #[test]
    fn a_long_file_goes_on_in_the_next_entry_and_only_there() {
        let piece = Piece::Data { chunk: 0, bytes: 5 };
        let part = |part, last| {
            file(
                "a",
                Content::Pieces {
                    part,
                    last,
                    pieces: vec![piece],
                },
                10,
            )
        };
        let page = |entries| Page {
            chunks: vec![ChunkId([1; 32])],
            entries,
        };
        assert!(Page::decode(&page(vec![part(0, false), part(1, true)]).encode()).is_ok());
        assert!(Page::decode(&page(vec![part(0, true), part(1, true)]).encode()).is_err());
        assert!(Page::decode(&page(vec![part(0, false), part(2, true)]).encode()).is_err());
    }

    #[test]
    fn attributes_that_no_file_can_have_are_refused() {
        let xattr = |name: &str, bytes| {
            (
                ByteBuf::from(name.as_bytes()),
                ByteBuf::from(vec![7; bytes]),
            )
        };
        let page = |what: What, hard_link, xattrs: Vec<_>| {
            let entry = Entry {
                what,
                hard_link,
                xattrs,
                ..file("a", Content::Empty, 0)
            };
            let page = Page {
                chunks: Vec::new(),
                entries: vec![entry],
            };
            Page::decode(&page.encode())
        };
        let device = What::Device {
            is_block: true,
            rdev: 0x801,
        };
        let good = vec![xattr("user.a", 0), xattr("user.b", 65_536)];
        for what in [What::Dir, What::Fifo, device] {
            assert!(page(what, None, good.clone()).is_ok());
        }
        assert!(page(What::Fifo, Some(1), Vec::new()).is_ok());
        assert!(page(What::Dir, Some(1), Vec::new()).is_err());
        for bad in [
            vec![xattr("user.b", 1), xattr("user.a", 1)],
            vec![xattr("user.a", 1), xattr("user.a", 1)],
            vec![xattr("", 1)],
            vec![xattr("user.\0", 1)],
            vec![xattr(&"x".repeat(256), 1)],
            vec![xattr("user.a", 70_000), xattr("user.b", 70_000)],
        ] {
            assert!(page(What::Fifo, None, bad).is_err());
        }
    }
}
