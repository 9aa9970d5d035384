//! People's files: what an author reads and a retriever writes.

use std::io;

use crate::terms::{FileSystemId, Stamp};

/// A path as the file system has it: any bytes but NUL. Absolute, or relative to the caller's working directory.
pub type TreePath = [u8];

/// What kind of thing a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// What a file system says of a name, links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits with set-user, set-group and sticky: the low 12 bits of `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes (of a symlink: of its target).
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Last change of contents.
    pub mtime: Stamp,
    /// Last change of anything.
    pub ctime: Stamp,
    /// The file's number on its file system.
    pub inode: u64,
    /// The file system's device.
    pub device: u64,
    /// Names this file has.
    pub links: u64,
    /// A device node's own number.
    pub rdev: u64,
}

/// One name in a directory.
#[derive(Debug, Clone)]
pub struct DirEntry {
    /// The name, without a slash.
    pub name: Vec<u8>,
    /// What it stands for, or why that cannot be told.
    pub stat: Result<Stat, i32>,
}

/// What a retriever sets on a thing it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Low 12 bits of `st_mode`; not set on symlinks.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of contents.
    pub mtime: Stamp,
}

/// People's files.
///
/// Path calls may hang for as long as a dead disk likes; they never block the thread that decides. Links are never followed
/// in a path's last component when reading, nor in any component below `root` when writing.
#[allow(async_fn_in_trait)]
pub trait Tree: Clone + 'static {
    /// A file open for reading or writing.
    type File: TreeFile;
    /// A directory opened as the root of a restore: nothing is made outside it.
    type Root: Clone + 'static;

    /// What stands at a path, the last component not followed.
    async fn stat(&self, path: &TreePath) -> io::Result<Stat>;
    /// Everything in a directory, sorted by name as bytes, each with its [`Stat`].
    async fn list(&self, dir: &TreePath) -> io::Result<Vec<DirEntry>>;
    /// Where a symbolic link points.
    async fn read_link(&self, path: &TreePath) -> io::Result<Vec<u8>>;
    /// Opens a regular file for reading, without following a link and without touching its access time where that is allowed.
    async fn open(&self, path: &TreePath) -> io::Result<Self::File>;
    /// Small files at once, in the order asked: each with the `Stat` of the opened file *after* reading, and at most
    /// `bytes_max` of its bytes. One that cannot be read has its error; the others go on.
    async fn read_many(
        &self,
        paths: Vec<Vec<u8>>,
        bytes_max: usize,
    ) -> Vec<io::Result<(Stat, Vec<u8>)>>;
    /// Which file system a path is on.
    async fn file_system(&self, path: &TreePath) -> io::Result<FileSystemId>;
    /// The number the file system a path is on gives itself, 0 if none: on some it stays the same for life, on others it
    /// changes with every mount.
    async fn file_system_serial(&self, path: &TreePath) -> io::Result<u64>;

    /// Opens a directory to restore into, making it if it is not there. The path may pass through links.
    async fn root(&self, path: &TreePath) -> io::Result<Self::Root>;
    /// Names in the root itself.
    async fn root_is_empty(&self, root: &Self::Root) -> io::Result<bool>;
    /// What stands at some paths below the root, no link followed anywhere; in the order asked.
    async fn stat_below(&self, root: &Self::Root, paths: Vec<Vec<u8>>) -> Vec<io::Result<Stat>>;
    /// Removes what is no directory from below the root. What is not there is no error.
    async fn remove_below(&self, root: &Self::Root, path: &TreePath) -> io::Result<()>;
    /// Makes a directory below the root (mode 0700 until [`Tree::set`]); one that is there already stays.
    async fn make_dir(&self, root: &Self::Root, path: &TreePath) -> io::Result<()>;
    /// Makes a symbolic link below the root.
    async fn make_symlink(
        &self,
        root: &Self::Root,
        path: &TreePath,
        target: &[u8],
    ) -> io::Result<()>;
    /// Creates a file under a temporary name beside `path`, open for writing. It is gone after [`Tree::discard`].
    async fn create(&self, root: &Self::Root, path: &TreePath) -> io::Result<Self::File>;
    /// Sets the attributes of a created file, then gives it its final name. What the caller has no right to set is returned.
    async fn finish(
        &self,
        root: &Self::Root,
        file: Self::File,
        path: &TreePath,
        attributes: Attributes,
    ) -> io::Result<NotSet>;
    /// Whole small files at once: created, written, attributes set, named; in the order given.
    async fn write_many(
        &self,
        root: &Self::Root,
        files: Vec<(Vec<u8>, Vec<u8>, Attributes)>,
    ) -> Vec<io::Result<NotSet>>;
    /// Removes a created file that was not finished.
    async fn discard(&self, root: &Self::Root, file: Self::File);
    /// Sets the attributes of a directory or symlink below the root (an empty path is the root itself).
    async fn set(
        &self,
        root: &Self::Root,
        path: &TreePath,
        attributes: Attributes,
    ) -> io::Result<NotSet>;
    /// Makes everything below the root durable.
    async fn sync(&self, root: &Self::Root) -> io::Result<()>;
}

/// Attributes that the caller has no right to set: reported, not fatal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotSet {
    /// Owner or group.
    pub owner: bool,
    /// Set-user or set-group bits, left off because the owner could not be set.
    pub mode: bool,
}

/// One open file of people's.
#[allow(async_fn_in_trait)]
pub trait TreeFile: Clone + 'static {
    /// What the open file says of itself now.
    async fn stat(&self) -> io::Result<Stat>;
    /// Reads up to `bytes_max` at `offset` into the end of `into` (its capacity is reused); 0 at the end.
    async fn read_at(
        &self,
        into: Vec<u8>,
        bytes_max: usize,
        offset: u64,
    ) -> (io::Result<usize>, Vec<u8>);
    /// Writes all of `bytes` at `offset` and hands the buffer back.
    async fn write_at(&self, bytes: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>);
    /// Cuts or extends the file.
    async fn set_len(&self, bytes: u64) -> io::Result<()>;
}
