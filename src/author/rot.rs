//! Files whose bytes are not what was written although nothing about them says so. They are remembered, so that the snapshot keeps
//! the good version whatever makes the walk look at them again, until somebody writes them anew. Bounded: what finds no place is
//! counted, and found again by the next sweep.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use smol_str::SmolStr;

use crate::format::{decode_file, encode_file};
use crate::terms::Stamp;
use crate::world::{Disk, Stat};

const ROTTEN: &str = "list of rotten files";
const DIR: &str = "author";
const PATH: &str = "author/rotten";
/// Files that are remembered,
const FILES_MAX: usize = 256;
/// and bytes of their paths.
const PATHS_BYTES_MAX: usize = 64 << 10;

/// What is told of such a file in a snapshot's report.
pub(super) const WHY: &str = "its bytes are not what was written, though nothing says that it was changed: its disk damaged it. It is in the \
     snapshot as it was before; retrieve it to have it whole again";

/// The files that are known to have rotted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rotten {
    /// In the order they were found.
    pub files: Vec<RottenFile>,
    /// How many more there are.
    pub more: u64,
}

/// One of them, and how it looked. Whoever writes it changes that; the disk that damaged it did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RottenFile {
    /// Its data set.
    pub data_set: SmolStr,
    /// Below it.
    pub path: ByteBuf,
    bytes: u64,
    mtime: Stamp,
    inode: u64,
}

impl RottenFile {
    /// Whether it is still what was found.
    pub(super) fn looks_like(&self, stat: &Stat) -> bool {
        (self.bytes, self.mtime, self.inode) == (stat.size, stat.mtime, stat.inode)
    }
}

impl Rotten {
    /// Reads the list; what is missing or damaged is found again.
    pub(super) async fn load<D: Disk>(disk: &D) -> Self {
        let bytes = disk.read_small(PATH).await.ok().flatten();
        bytes
            .and_then(|bytes| decode_file(ROTTEN, &bytes).ok())
            .unwrap_or_default()
    }

    /// Writes it, durable when it returns.
    pub(super) async fn store<D: Disk>(&self, disk: &D) -> std::io::Result<()> {
        disk.make_dir(DIR).await?;
        disk.replace_small(PATH, &encode_file(self), false).await
    }

    /// Whether this file is one of them, as it was found.
    pub(super) fn has(&self, data_set: &str, path: &[u8], stat: &Stat) -> bool {
        let mut files = self.files.iter();
        files.any(|file| file.is(data_set, path) && file.looks_like(stat))
    }

    pub(super) fn add(&mut self, data_set: &str, path: &[u8], stat: &Stat) {
        self.forget(data_set, path);
        let bytes: usize = self.files.iter().map(|file| file.path.len()).sum();
        if self.files.len() >= FILES_MAX || bytes + path.len() > PATHS_BYTES_MAX {
            self.more += 1;
            return;
        }
        self.files.push(RottenFile {
            data_set: data_set.into(),
            path: ByteBuf::from(path),
            bytes: stat.size,
            mtime: stat.mtime,
            inode: stat.inode,
        });
    }

    /// It is whole.
    pub(super) fn forget(&mut self, data_set: &str, path: &[u8]) {
        self.files.retain(|file| !file.is(data_set, path));
    }
}

impl RottenFile {
    fn is(&self, data_set: &str, path: &[u8]) -> bool {
        self.data_set == data_set && self.path.as_slice() == path
    }
}
