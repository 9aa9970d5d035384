//! What the house asks of the outside, as small traits. `uring` is the real one; the simulated one is `tests/sim`.
//!
//! Every flow (put, snapshot, retrieve, serve a peer) is generic over [`World`] and reads from top to bottom as an async
//! function. Everything runs on one thread, so nothing here is `Send`. Rules that both worlds keep:
//!
//! - a disk or tree operation, once asked for, runs to its end even if the future that asked is dropped;
//! - nothing written to a [`Disk`] is there after a power cut unless it was synced: file bytes by [`DiskFile::sync_data`],
//!   names by [`Disk::sync_dir`];
//! - only [`Clock`] sleeps and tells time.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::terms::Stamp;
use crate::terms::limits::SEGMENT_BYTES;

#[cfg(test)]
pub(crate) mod nothing;
mod tree;
pub mod uring;

pub use tree::{
    Attributes, DirEntry, FileKind, NOTE_NAME, Names, NewFile, NotSet, Room, Stat, Tree, TreeFile,
    TreePath, Whole, Xattr, Xattrs,
};

/// The outside of one process on one Box.
pub trait World: Clone + 'static {
    /// The keeper's own files.
    type Disk: Disk;
    /// People's files.
    type Tree: Tree;
    /// Ways to other Boxes.
    type Net: Net;
    /// Time.
    type Clock: Clock;
    /// Randomness.
    type Entropy: Entropy;

    /// The keeper's own files.
    fn disk(&self) -> &Self::Disk;
    /// People's files.
    fn tree(&self) -> &Self::Tree;
    /// Ways to other Boxes.
    fn net(&self) -> &Self::Net;
    /// Time.
    fn clock(&self) -> &Self::Clock;
    /// Randomness.
    fn entropy(&self) -> &Self::Entropy;
    /// Starts a task on this thread. It lives until it ends or the Box loses power.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}

/// A buffer of a disk: aligned as the device wants it, its length a multiple of the block.
pub trait Buffer: Deref<Target = [u8]> + DerefMut + 'static {}

/// The keeper's own files, by paths relative to the Box's state directory with `/` between names.
///
/// The directory's files are few and belong to us alone; errors are the operating system's.
#[allow(async_fn_in_trait)] // one thread: no Send bounds are wanted
pub trait Disk: Clone + 'static {
    /// A buffer for direct reads and writes.
    type Buffer: Buffer;
    /// An open file.
    type File: DiskFile<Buffer = Self::Buffer>;

    /// Takes a buffer of [`crate::terms::limits::STORE_BUFFER_BYTES`] from the pool, waiting for one if all are out.
    /// Its contents are whatever the last user left. Dropping it gives it back.
    async fn buffer(&self) -> Self::Buffer;
    /// Names of the plain files in a directory, sorted. A directory that is not there has none.
    async fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Makes a directory and its parents, and makes their names durable.
    async fn make_dir(&self, dir: &str) -> io::Result<()>;
    /// Opens a file for direct reading and writing. With `create_new` it must not exist yet.
    async fn open(&self, path: &str, create_new: bool) -> io::Result<Self::File>;
    /// The whole of a small file, or `None` if it is not there.
    async fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>>;
    /// Replaces a small file so that a power cut leaves the old or the new bytes, durable when it returns
    /// (written aside, synced, renamed, directory synced). `secret` files get mode 0600, others 0644.
    async fn replace_small(&self, path: &str, bytes: &[u8], secret: bool) -> io::Result<()>;
    /// Removes a file. One that is not there is no error.
    async fn remove(&self, path: &str) -> io::Result<()>;
    /// Renames a file over another.
    async fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes a directory's names durable.
    async fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Bytes that can still be written on the file system a directory is on: the store's may be a disk of its own.
    async fn free_bytes(&self, dir: &str) -> io::Result<u64>;
    /// In which part of the last seconds somebody waited for a disk, in percent; `None` where the system does not tell.
    async fn pressure_percent(&self) -> Option<u8> {
        None
    }
    /// Whether the device spins: a commit then waits longer for company.
    fn is_rotational(&self) -> bool;
    /// How large a file of the store may get. A simulated disk may want many small ones, so that a short life closes, loses and compacts
    /// some.
    fn segment_bytes(&self) -> u64 {
        SEGMENT_BYTES
    }
}

/// One open file of a [`Disk`]. Offsets and lengths are multiples of [`crate::terms::limits::BLOCK_BYTES`].
#[allow(async_fn_in_trait, clippy::len_without_is_empty)] // nobody asks whether a segment is empty
pub trait DiskFile: Clone + 'static {
    /// Its buffers.
    type Buffer: Buffer;

    /// Reads `buffer[at..at + len]` from `offset`; returns the buffer and how many bytes there were before the end.
    async fn read_at(
        &self,
        buffer: Self::Buffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<usize>, Self::Buffer);
    /// Writes all of `buffer[at..at + len]` at `offset`.
    async fn write_at(
        &self,
        buffer: Self::Buffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<()>, Self::Buffer);
    /// What is read next comes from the device, not from the system's memory. Where reads are direct there is nothing to do.
    async fn forget_cached(&self) {}
    /// Makes the bytes written so far durable (fdatasync).
    async fn sync_data(&self) -> io::Result<()>;
    /// The file's length in bytes.
    async fn len(&self) -> io::Result<u64>;
    /// When the file was changed last, by whomever, as the file system tells it (ctime).
    async fn changed(&self) -> io::Result<Stamp>;
    /// Whether a name still leads to the file: one that was removed lives on, unseen, for as long as somebody has it open.
    async fn is_named(&self) -> io::Result<bool>;
    /// Cuts or extends the file to a length in bytes.
    async fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Extends the file to a length in bytes and takes the space for all of it from the file system now. [`io::ErrorKind::Unsupported`]
    /// where that is not given in advance.
    async fn allocate(&self, _bytes: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Ways to other Boxes: ordered streams of bytes that may end at any moment.
#[allow(async_fn_in_trait)]
pub trait Net: Clone + 'static {
    /// A stream of bytes in both directions.
    type Link: AsyncRead + AsyncWrite + Unpin + 'static;
    /// Something that waits for calls.
    type Listener: Listener<Link = Self::Link>;

    /// Calls an address.
    async fn connect(&self, to: SocketAddr) -> io::Result<Self::Link>;
    /// Waits for calls at an address; port 0 takes any free one.
    async fn listen(&self, at: SocketAddr) -> io::Result<Self::Listener>;
}

/// Something that waits for calls.
#[allow(async_fn_in_trait)]
pub trait Listener: 'static {
    /// What a call becomes.
    type Link;

    /// The next call and where it came from.
    async fn accept(&mut self) -> io::Result<(Self::Link, SocketAddr)>;
    /// Where it waits.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A moment of this process's monotonic time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Moment {
    /// How long ago `earlier` was; zero if it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Time.
#[allow(async_fn_in_trait)]
pub trait Clock: Clone + 'static {
    /// Monotonic time since some start.
    fn now(&self) -> Moment;
    /// What the clock on the wall says. Data, never a reason.
    fn wall(&self) -> Stamp;
    /// Waits.
    async fn sleep(&self, how_long: Duration);

    /// How long to wait between looks that nobody waits for: signs of life, questions how things stand. A simulated world may have
    /// them be fewer, since they are nearly all that happens in a quiet week.
    fn idly(&self, usual: Duration) -> Duration {
        usual
    }

    /// Waits for `work`, but not longer than `how_long`; `None` when time was up. `work` is dropped then: never a disk write
    /// whose answer matters.
    async fn within<T>(&self, how_long: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.sleep(how_long) => None,
        }
    }
}

/// Randomness.
pub trait Entropy: Clone + 'static {
    /// Fills the bytes with randomness fit for keys.
    fn fill(&self, bytes: &mut [u8]);

    /// A fresh array of it.
    fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}
