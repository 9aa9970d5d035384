//! Writing people's files: what the helper thread does for a restore.
//!
//! Everything happens below a root that was opened once. Whoever else can write there may place links: no path below the root
//! passes through one (openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS), and the last name is only ever used with calls
//! that do not follow it. A file has a temporary name until all of it, attributes too, is in place.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::attributes::set_open;
use super::deep::step_of;
use super::reading::stat_below;
use crate::terms::limits::BLOCK_BYTES;
use crate::world::{Attributes, FileKind, NOTE_NAME, NewFile, NotSet};

/// What a file is called until it is finished, before a number.
pub(super) const PART_PREFIX: &str = ".reserve-part-";

/// Tells roots apart, so that a remembered parent is never taken for another root's.
static ROOTS: AtomicU64 = AtomicU64::new(0);

/// A directory that is restored into.
pub(super) struct Root {
    number: u64,
    pub(super) dir: Arc<OwnedFd>,
    /// What the names of its temporary files contain; 0 when nobody set it.
    tag: AtomicU64,
}

/// The parent directory opened last: files come in the order of their paths.
pub(super) struct OpenParent {
    root: u64,
    path: Vec<u8>,
    dir: Arc<OwnedFd>,
}

/// A created file that has no final name yet.
pub(super) struct Part {
    dir: Arc<OwnedFd>,
    name: String,
}

impl Root {
    /// Opens a directory to restore into, with its parents made where they are missing.
    pub(super) fn open(path: &[u8]) -> io::Result<Self> {
        std::fs::create_dir_all(Path::new(OsStr::from_bytes(path)))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self {
            number: ROOTS.fetch_add(1, Ordering::Relaxed),
            dir: Arc::new(dir),
            tag: AtomicU64::new(0),
        })
    }

    pub(super) const fn dir(&self) -> &Arc<OwnedFd> {
        &self.dir
    }

    pub(super) fn tag(&self) -> u64 {
        self.tag.load(Ordering::Relaxed)
    }

    pub(super) fn set_tag(&self, tag: u64) {
        self.tag.store(tag, Ordering::Relaxed);
    }

    /// Whether it has no names but a note's.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." && name.to_bytes() != NOTE_NAME.as_bytes() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes everything on its file system durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.dir)?)
    }

    /// The directory a path's last name is in, and that name.
    pub(super) fn parent<'path>(
        &self,
        last: &mut Option<OpenParent>,
        path: &'path [u8],
    ) -> io::Result<(Arc<OwnedFd>, &'path [u8])> {
        check_path(path)?;
        let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else {
            return Ok((Arc::clone(&self.dir), path));
        };
        let (above, name) = (&path[..slash], &path[slash + 1..]);
        if let Some(open) = last
            && open.root == self.number
            && open.path == above
        {
            return Ok((Arc::clone(&open.dir), name));
        }
        let dir = Arc::new(self.open_dir(above)?);
        *last = Some(OpenParent {
            root: self.number,
            path: above.to_vec(),
            dir: Arc::clone(&dir),
        });
        Ok((dir, name))
    }

    /// A directory below the root, reached through no link, in as many steps as its path needs.
    fn open_dir(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let mut here: Option<OwnedFd> = None;
        let mut ahead = path;
        loop {
            let (step, rest) =
                step_of(ahead).map_or((ahead, None), |(step, rest)| (step, Some(rest)));
            let from = here.as_ref().map_or(self.dir.as_fd(), AsFd::as_fd);
            match rustix::fs::openat2(from, step, flags, Mode::empty(), resolve) {
                // Something was renamed meanwhile and the kernel could not be sure: look again.
                Err(Errno::AGAIN | Errno::INTR) => continue,
                opened => here = Some(opened?),
            }
            match (rest, here.take()) {
                (None, Some(dir)) => return Ok(dir),
                (rest, opened) => {
                    here = opened;
                    ahead = rest.unwrap_or_default();
                }
            }
        }
    }

    /// Makes a directory; one that is there already stays, a link or file in its place is an error.
    pub(super) fn make_dir(&self, last: &mut Option<OpenParent>, path: &[u8]) -> io::Result<()> {
        let (dir, name) = self.parent(last, path)?;
        match rustix::fs::mkdirat(&dir, name, Mode::RWXU) {
            Err(Errno::EXIST) if stat_below(&dir, name)?.kind == FileKind::Dir => Ok(()),
            made => Ok(made?),
        }
    }

    /// Creates a file under a temporary name beside `path`.
    pub(super) fn create(
        &self,
        last: &mut Option<OpenParent>,
        path: &[u8],
    ) -> io::Result<(OwnedFd, Part)> {
        let (dir, _) = self.parent(last, path)?;
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let name = part_name(self.tag());
            match rustix::fs::openat(&dir, name.as_str(), flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST) => {}
                opened => return Ok((opened?, Part { dir, name })),
            }
        }
    }

    /// Sets a created file's attributes and gives it its final name. When that fails, the file is removed.
    pub(super) fn finish(
        &self,
        last: &mut Option<OpenParent>,
        file: impl AsFd,
        part: &Part,
        path: &[u8],
        attributes: &Attributes,
    ) -> io::Result<NotSet> {
        let named = set_open(&file, attributes).and_then(|not_set| {
            let (dir, name) = self.parent(last, path)?;
            rustix::fs::renameat(&part.dir, part.name.as_str(), &dir, name)?;
            Ok(not_set)
        });
        if named.is_err() {
            part.remove();
        }
        named
    }

    /// A whole small file: created, written, attributes set, named.
    pub(super) fn write_small(
        &self,
        last: &mut Option<OpenParent>,
        new: &NewFile,
    ) -> io::Result<NotSet> {
        let (file, part) = self.create(last, &new.path)?;
        let written = if new.has_holes {
            write_around_zeros(&file, &new.bytes, 0)
                .and_then(|()| Ok(rustix::fs::ftruncate(&file, new.bytes.len() as u64)?))
        } else {
            write_all(&file, &new.bytes, 0)
        };
        if let Err(error) = written {
            part.remove();
            return Err(error);
        }
        self.finish(last, &file, &part, &new.path, &new.attributes)
    }
}

impl Part {
    pub(super) const fn new(dir: Arc<OwnedFd>, name: String) -> Self {
        Self { dir, name }
    }

    #[cfg(test)]
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Removes the unfinished file.
    pub(super) fn remove(&self) {
        // It may be gone already; and where it cannot be removed, its name says what it is.
        let _ = rustix::fs::unlinkat(&self.dir, self.name.as_str(), AtFlags::empty());
    }
}

/// The next temporary name. The tag keeps two restores apart; what a dead one left is stepped over.
pub(super) fn part_name(tag: u64) -> String {
    static PARTS: AtomicU64 = AtomicU64::new(0);
    let number = PARTS.fetch_add(1, Ordering::Relaxed);
    format!("{PART_PREFIX}{tag:016x}-{number}")
}

/// Only plain names separated by single slashes: what openat2 would let pass inside the root is refused as well.
fn check_path(path: &[u8]) -> io::Result<()> {
    let plain = path
        .split(|byte| *byte == b'/')
        .all(|name| !name.is_empty() && name != b"." && name != b".." && !name.contains(&0));
    if plain {
        Ok(())
    } else {
        let shown = String::from_utf8_lossy(path);
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{shown:?} is not a path below the directory restored into"),
        ))
    }
}

/// Writes all bytes at an offset.
pub(super) fn write_all(file: impl AsFd, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(&file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes at an offset all blocks that are not zeros only: for a stretch that was never written and so reads as zeros.
pub(super) fn write_around_zeros(file: impl AsFd, bytes: &[u8], offset: u64) -> io::Result<()> {
    // Blocks of the file, not of the piece, which may begin anywhere.
    let to_block = offset.next_multiple_of(BLOCK_BYTES as u64) - offset;
    let to_block = usize::try_from(to_block).unwrap_or(bytes.len());
    let (head, blocks) = bytes.split_at(to_block.min(bytes.len()));
    let mut at = head.len();
    let mut start = 0;
    let is_zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    if is_zero(head) {
        start = at;
    }
    for block in blocks.chunks(BLOCK_BYTES) {
        if is_zero(block) {
            write_all(&file, &bytes[start..at], offset + start as u64)?;
            start = at + block.len();
        }
        at += block.len();
    }
    write_all(&file, &bytes[start..at], offset + start as u64)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::terms::Stamp;
    use crate::world::Stat;
    use crate::world::Whole;
    use crate::world::uring::{listing, reading};

    pub(in crate::world::uring) struct Place {
        dir: tempfile::TempDir,
        pub(in crate::world::uring) root: Root,
        pub(in crate::world::uring) last: Option<OpenParent>,
    }

    /// A fresh root beside a directory that nothing may touch.
    pub(in crate::world::uring) fn place() -> Place {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("outside")).expect("makes");
        let root = Root::open(dir.path().join("made/root").as_os_str().as_bytes()).expect("opens");
        Place {
            dir,
            root,
            last: None,
        }
    }

    impl Place {
        /// A file below the root, read whole.
        pub(in crate::world::uring) fn read(&self, path: &str) -> Whole {
            let path = self.dir.path().join("made/root").join(path);
            reading::read_small(path.as_os_str().as_bytes(), 1 << 20).expect("reads")
        }

        pub(in crate::world::uring) fn path(&self) -> std::path::PathBuf {
            self.dir.path().join("made/root")
        }

        pub(in crate::world::uring) fn names(&self, below: &str) -> Vec<Vec<u8>> {
            let dir = self.dir.path().join(below);
            let listed = listing::list(dir.as_os_str().as_bytes(), b"", 1 << 20).expect("lists");
            (0..listed.len())
                .filter_map(|at| listed.get(at).map(<[u8]>::to_vec))
                .collect()
        }

        pub(in crate::world::uring) fn stat(&self, path: &str) -> Stat {
            let path = self.dir.path().join("made/root").join(path);
            reading::stat(path.as_os_str().as_bytes()).expect("is there")
        }
    }

    /// Attributes the caller may set, whoever it is.
    pub(in crate::world::uring) fn own(mode: u32, seconds: i64, nanos: u32) -> Attributes {
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Attributes {
            mode,
            uid,
            gid,
            mtime: Stamp { seconds, nanos },
            xattrs: Vec::new(),
        }
    }

    /// A small file without holes.
    pub(in crate::world::uring) fn new_file(path: &[u8], attributes: &Attributes) -> NewFile {
        NewFile {
            path: path.to_vec(),
            bytes: b"hello".to_vec(),
            has_holes: false,
            attributes: attributes.clone(),
        }
    }

    #[test]
    fn a_link_inside_the_root_leads_nowhere() {
        let mut place = place();
        let root = &place.root;
        symlink(
            place.dir.path().join("outside"),
            place.dir.path().join("made/root/link"),
        )
        .expect("links");
        symlink(".", place.dir.path().join("made/root/here")).expect("links");
        let any = own(0o600, 0, 0);
        for path in [b"link/x".as_slice(), b"here/x", b"here/link/x"] {
            let refusals = [
                root.write_small(&mut place.last, &new_file(path, &any))
                    .map(|_| ()),
                root.create(&mut place.last, path).map(|_| ()),
                root.make_dir(&mut place.last, path),
                root.make_symlink(&mut place.last, path, b"t"),
                root.set(&mut place.last, path, &any).map(|_| ()),
                root.make_special(&mut place.last, path, FileKind::Fifo, 0),
                root.link(&mut place.last, b"real", path),
                root.link(&mut place.last, path, b"new"),
            ];
            for refused in refusals {
                let error = refused.expect_err("goes through a link").raw_os_error();
                assert_eq!(error, Some(Errno::LOOP.raw_os_error()));
            }
        }
        // In the last place a link is not followed either, nor taken for a directory.
        root.make_dir(&mut place.last, b"link")
            .expect_err("a link is no directory");
        root.set(&mut place.last, b"link", &own(0o777, 9, 9))
            .expect("sets the link itself");
        let outside = place.dir.path().join("outside");
        let found = reading::stat(outside.as_os_str().as_bytes()).expect("is there");
        assert_ne!(found.mtime.seconds, 9);
        assert!(place.names("outside").is_empty());
        // A file takes the link's place.
        root.write_small(&mut place.last, &new_file(b"link", &any))
            .expect("replaces the link");
        assert_eq!(place.stat("link").kind, FileKind::File);
        assert!(place.names("outside").is_empty());
        assert_eq!(place.names("made/root"), [b"here".as_slice(), b"link"]);
    }

    #[test]
    fn only_plain_relative_paths_are_taken() {
        let mut place = place();
        let bad: [&[u8]; 9] = [
            b"/etc/x",
            b"../outside/x",
            b"a/../x",
            b"./x",
            b"a//x",
            b"x/",
            b"..",
            b".",
            b"a\0b",
        ];
        for path in bad {
            let refused = place
                .root
                .write_small(&mut place.last, &new_file(path, &own(0o600, 0, 0)));
            assert_eq!(
                refused.expect_err("is no plain path").kind(),
                io::ErrorKind::InvalidInput
            );
        }
        assert!(place.names("outside").is_empty() && place.names("made/root").is_empty());
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_finished() {
        let mut place = place();
        let (file, part) = place
            .root
            .create(&mut place.last, b"photo")
            .expect("creates");
        write_all(&file, b"half", 0).expect("writes");
        let names = place.names("made/root");
        assert!(
            names.len() == 1 && names[0].starts_with(PART_PREFIX.as_bytes()),
            "{names:?}"
        );
        place
            .root
            .finish(&mut place.last, &file, &part, b"photo", &own(0o444, 1, 2))
            .expect("ends");
        assert_eq!(place.names("made/root"), [b"photo"]);

        let (_file, part) = place
            .root
            .create(&mut place.last, b"other")
            .expect("creates");
        part.remove();
        assert_eq!(place.names("made/root"), [b"photo"]);

        // One that cannot get its name leaves nothing behind.
        place.root.make_dir(&mut place.last, b"dir").expect("makes");
        let blocked = place
            .root
            .write_small(&mut place.last, &new_file(b"dir", &own(0o600, 0, 0)));
        blocked.expect_err("a directory is in the way");
        let wrong_time = place
            .root
            .write_small(&mut place.last, &new_file(b"t", &own(0o600, 0, u32::MAX)));
        wrong_time.expect_err("that is no time");
        assert_eq!(place.names("made/root"), [b"dir".as_slice(), b"photo"]);
    }

    #[test]
    fn a_remembered_parent_is_not_taken_for_another_roots() {
        let (mut first, second) = (place(), place());
        first.root.make_dir(&mut first.last, b"d").expect("makes");
        second.root.make_dir(&mut first.last, b"d").expect("makes");
        let any = own(0o600, 0, 0);
        first
            .root
            .write_small(&mut first.last, &new_file(b"d/one", &any))
            .expect("writes");
        second
            .root
            .write_small(&mut first.last, &new_file(b"d/two", &any))
            .expect("writes");
        assert_eq!(first.names("made/root/d"), [b"one"]);
        assert_eq!(second.names("made/root/d"), [b"two"]);
    }
}
