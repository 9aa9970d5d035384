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

/// Names in a directory in the order of their bytes, in one piece of memory.
#[derive(Debug, Clone, Default)]
pub struct Names {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// Whether the directory has names behind these.
    pub has_more: bool,
}

impl Names {
    /// Memory a name takes in a list, beside its bytes.
    pub const OF_EACH_BYTES: usize = size_of::<u32>();

    /// No names yet.
    #[must_use]
    pub const fn new(has_more: bool) -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            has_more,
        }
    }

    /// Adds the next name.
    pub fn push(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        let end = u32::try_from(self.bytes.len());
        self.ends
            .push(end.expect("a list is asked for with a limit far below 4 GiB"));
    }

    /// The name at a place.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        let end = *self.ends.get(at)? as usize;
        let start = at
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize);
        Some(&self.bytes[start..end])
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The memory they take, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * Self::OF_EACH_BYTES
    }
}

/// An extended attribute: its name and its value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Extended attributes of a thing, access lists among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Xattrs {
    /// Sorted by name; together at most [`crate::terms::limits::XATTRS_BYTES_MAX`].
    pub kept: Vec<Xattr>,
    /// Those that could not be read or did not fit: name and why.
    pub left_out: Vec<(Vec<u8>, String)>,
}

/// A small file read whole.
#[derive(Debug, Clone)]
pub struct Whole {
    /// What it said of itself after reading.
    pub stat: Stat,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its extended attributes.
    pub xattrs: Xattrs,
    /// Whether parts of it take no space.
    pub has_holes: bool,
}

/// A small file to be written whole.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// Its path below the root.
    pub path: Vec<u8>,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether blocks of zeros are to take no space.
    pub has_holes: bool,
    /// Its attributes.
    pub attributes: Attributes,
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Low 12 bits of `st_mode`; not set on symlinks.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of contents.
    pub mtime: Stamp,
    /// Extended attributes, access lists among them.
    pub xattrs: Vec<Xattr>,
}

/// What the note of an unfinished restore is called in its root.
pub const NOTE_NAME: &str = ".reserve-unfinished";

/// Space on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What whoever asks can still write, in bytes.
    pub free_bytes: u64,
    /// Things of any kind that can still be made; `u64::MAX` where the file system has no such limit.
    pub free_things: u64,
    /// A file takes a multiple of this.
    pub block_bytes: u64,
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

    /// The same files for somebody who stays within a directory: on the way from it to anything below it no link is followed, whoever
    /// puts one there meanwhile. The way to the directory itself may pass through links. A world without links on the way is its own.
    #[must_use]
    fn within(&self, _dir: &TreePath) -> Self {
        self.clone()
    }
    /// What stands at a path, the last component not followed.
    async fn stat(&self, path: &TreePath) -> io::Result<Stat>;
    /// The first names of a directory that come behind `behind` (empty: from the start), sorted by their bytes: as many as
    /// take `bytes_max` of memory, at least one if there is one. Whoever wants the rest asks again.
    async fn list(&self, dir: &TreePath, behind: &[u8], bytes_max: usize) -> io::Result<Names>;
    /// What stands under these names of a directory, in the order asked.
    async fn look(&self, dir: &TreePath, names: Vec<Vec<u8>>) -> Vec<DirEntry>;
    /// Where a symbolic link points.
    async fn read_link(&self, path: &TreePath) -> io::Result<Vec<u8>>;
    /// Extended attributes of what stands at a path, the last component not followed.
    async fn xattrs(&self, path: &TreePath) -> io::Result<Xattrs>;
    /// Opens a regular file for reading, without following a link and without touching its access time where that is allowed.
    async fn open(&self, path: &TreePath) -> io::Result<Self::File>;
    /// Small files at once, in the order asked: at most `bytes_max` of each one's bytes. One that cannot be read has its
    /// error; the others go on.
    async fn read_many(&self, paths: Vec<Vec<u8>>, bytes_max: usize) -> Vec<io::Result<Whole>>;
    /// Which file system a path is on.
    async fn file_system(&self, path: &TreePath) -> io::Result<FileSystemId>;
    /// The number the file system a path is on gives itself, 0 if none: on some it stays the same for life, on others it
    /// changes with every mount.
    async fn file_system_serial(&self, path: &TreePath) -> io::Result<u64>;

    /// Opens a directory to restore into, making it if it is not there. The path may pass through links.
    async fn root(&self, path: &TreePath) -> io::Result<Self::Root>;
    /// Whether the root has no names; a note does not count.
    async fn root_is_empty(&self, root: &Self::Root) -> io::Result<bool>;
    /// Extended attributes of what stands at a path below the root, no link followed anywhere.
    async fn xattrs_below(&self, root: &Self::Root, path: &TreePath) -> io::Result<Xattrs>;
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
    /// Makes a named pipe or a device node below the root (mode 0600 until [`Tree::set`]). `rdev` is a device's number.
    async fn make_special(
        &self,
        root: &Self::Root,
        path: &TreePath,
        kind: FileKind,
        rdev: u64,
    ) -> io::Result<()>;
    /// Gives a thing below the root, which is no directory, one more name below the root.
    async fn link(&self, root: &Self::Root, existing: &TreePath, path: &TreePath)
    -> io::Result<()>;
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
    async fn write_many(&self, root: &Self::Root, files: Vec<NewFile>) -> Vec<io::Result<NotSet>>;
    /// Removes a created file that was not finished.
    async fn discard(&self, root: &Self::Root, file: Self::File);
    /// Sets the attributes of anything but a file below the root (an empty path is the root itself).
    async fn set(
        &self,
        root: &Self::Root,
        path: &TreePath,
        attributes: Attributes,
    ) -> io::Result<NotSet>;
    /// Space on the root's file system.
    async fn room(&self, root: &Self::Root) -> io::Result<Room>;
    /// The run of the machine: another one after every start of it. `None` where that cannot be told.
    async fn boot(&self) -> Option<[u8; 16]>;
    /// The note in the root, if there is one that the caller can have left.
    async fn note(&self, root: &Self::Root) -> io::Result<Option<Vec<u8>>>;
    /// Replaces the note as a whole, or takes it away.
    async fn set_note(
        &self,
        root: &Self::Root,
        note: Option<Vec<u8>>,
        durable: bool,
    ) -> io::Result<()>;
    /// Sets what the names of temporary files made below the root contain from now on.
    async fn tag_parts(&self, root: &Self::Root, tag: u64);
    /// Like [`Tree::create`], but the temporary name follows from path and tag: what an earlier run left there is opened as it is.
    async fn open_part(&self, root: &Self::Root, path: &TreePath) -> io::Result<Self::File>;
    /// Removes temporary files with the tag from a directory below the root (an empty path is the root itself).
    async fn sweep_parts(&self, root: &Self::Root, dir: &TreePath) -> io::Result<()>;
    /// Makes everything below the root durable.
    async fn sync(&self, root: &Self::Root) -> io::Result<()>;
}

/// Attributes that the caller has no right to set: reported, not fatal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotSet {
    /// Owner or group.
    pub owner: bool,
    /// Set-user or set-group bits, left off because the owner could not be set.
    pub mode: bool,
    /// Names of extended attributes.
    pub xattrs: Vec<Vec<u8>>,
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
    /// Its extended attributes.
    async fn xattrs(&self) -> io::Result<Xattrs>;
    /// The first stretch at or behind `offset` that is no hole, from where to where; `None` if only a hole is left. It may end
    /// early, and beyond the file's end. Holes in it that are shorter than `hole_bytes_min` are taken as data.
    async fn next_data(&self, offset: u64, hole_bytes_min: u64) -> io::Result<Option<(u64, u64)>>;
    /// Like [`TreeFile::write_at`], but leaves out blocks of zeros: for a stretch that was never written.
    async fn write_around_zeros(&self, bytes: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>);
    /// Writes all of `bytes` at `offset` and hands the buffer back.
    async fn write_at(&self, bytes: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>);
    /// Cuts or extends the file.
    async fn set_len(&self, bytes: u64) -> io::Result<()>;
}
