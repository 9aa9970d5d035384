//! When and where, as data: a wall-clock reading and the mark of a file system.

use serde::{Deserialize, Serialize};

/// A wall-clock time, as files carry it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Stamp {
    /// Seconds since 1970, negative before it.
    pub seconds: i64,
    /// Nanoseconds of that second, below a thousand million.
    pub nanos: u32,
}

/// Which file system a path is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemId {
    /// `f_type` of statfs.
    pub magic: u64,
    /// `st_dev`.
    pub device: u64,
}
