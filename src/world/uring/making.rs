//! What a restore makes that is no file: links of both kinds, pipes, devices; and the attributes of all that has no open file.
//!
//! The rules of `restoring` hold here too: no path below the root passes through a link, and a last name is never followed.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::attributes::{set_link, set_open, set_special};
use super::reading::{stat_below, stat_open};
use super::restoring::{OpenParent, Root, part_name};
use crate::world::{Attributes, FileKind, NotSet};

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

impl Root {
    /// Makes a symbolic link.
    pub(super) fn make_symlink(
        &self,
        last: &mut Option<OpenParent>,
        path: &[u8],
        target: &[u8],
    ) -> io::Result<()> {
        let (dir, name) = self.parent(last, path)?;
        Ok(rustix::fs::symlinkat(target, &dir, name)?)
    }

    /// Makes a named pipe or a device node.
    pub(super) fn make_special(
        &self,
        last: &mut Option<OpenParent>,
        path: &[u8],
        kind: FileKind,
        rdev: u64,
    ) -> io::Result<()> {
        let (kind, rdev) = match kind {
            FileKind::Fifo => (FileType::Fifo, 0),
            FileKind::CharDevice => (FileType::CharacterDevice, rdev),
            FileKind::BlockDevice => (FileType::BlockDevice, rdev),
            FileKind::File | FileKind::Dir | FileKind::Symlink | FileKind::Socket => {
                return Err(refused("it is neither a pipe nor a device"));
            }
        };
        let (dir, name) = self.parent(last, path)?;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::mknodat(&dir, name, kind, mode, rdev)?)
    }

    /// Gives a thing one more name, in place of whatever had it.
    pub(super) fn link(
        &self,
        last: &mut Option<OpenParent>,
        existing: &[u8],
        path: &[u8],
    ) -> io::Result<()> {
        let (from, from_name) = self.parent(last, existing)?;
        let (dir, name) = self.parent(last, path)?;
        if stat_below(&dir, name).is_ok_and(|there| there.kind == FileKind::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let part = loop {
            let part = part_name(self.tag());
            // Without a flag a link is linked itself, not what it points to.
            match rustix::fs::linkat(&from, from_name, &dir, part.as_str(), AtFlags::empty()) {
                Err(rustix::io::Errno::EXIST) => {}
                linked => {
                    linked?;
                    break part;
                }
            }
        };
        let named = rustix::fs::renameat(&dir, part.as_str(), &dir, name);
        // A name that stood for the same thing already stays, and so does the temporary one: then, and when it failed, it goes.
        let _ = rustix::fs::unlinkat(&dir, part.as_str(), AtFlags::empty());
        Ok(named?)
    }

    /// Sets the attributes of anything but a file; an empty path is the root itself.
    pub(super) fn set(
        &self,
        last: &mut Option<OpenParent>,
        path: &[u8],
        attributes: &Attributes,
    ) -> io::Result<NotSet> {
        if path.is_empty() {
            return set_open(&self.dir, attributes);
        }
        let (dir, name) = self.parent(last, path)?;
        let open = |flags: OFlags| -> io::Result<OwnedFd> {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(rustix::fs::openat(&dir, name, flags, Mode::empty())?)
        };
        let found = stat_below(&dir, name)?;
        match found.kind {
            FileKind::Symlink => set_link(&dir, name, &found, attributes),
            FileKind::Dir => set_open(open(OFlags::RDONLY | OFlags::DIRECTORY)?, attributes),
            FileKind::Fifo | FileKind::CharDevice | FileKind::BlockDevice => {
                // Opened without being read from: that could hang, or do something.
                let special = open(OFlags::PATH)?;
                let found = stat_open(&special)?;
                if matches!(found.kind, FileKind::Symlink | FileKind::File) {
                    return Err(refused("something else took its place"));
                }
                set_special(&special, &found, attributes)
            }
            FileKind::File | FileKind::Socket => {
                Err(refused("its attributes are not set in this way"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::uring::restoring::tests::{new_file, own, place};

    #[test]
    fn a_second_name_is_the_same_file_and_replaces_what_had_it() {
        let mut place = place();
        let (root, last) = (&place.root, &mut place.last);
        let any = own(0o600, 5, 6);
        root.make_dir(last, b"d").expect("makes");
        for name in [b"one".as_slice(), b"d/other"] {
            root.write_small(last, &new_file(name, &any))
                .expect("writes");
        }
        root.link(last, b"one", b"d/two").expect("links");
        root.link(last, b"one", b"d/other").expect("replaces");
        // Once more changes nothing and leaves nothing behind.
        root.link(last, b"one", b"d/other").expect("links again");
        root.link(last, b"one", b"d")
            .expect_err("a directory is in the way");
        root.link(last, b"d", b"e")
            .expect_err("directories have one name");
        let one = place.stat("one");
        assert_eq!((one.links, one.mtime), (3, any.mtime));
        assert_eq!(place.stat("d/two").inode, one.inode);
        assert_eq!(place.stat("d/other").inode, one.inode);
        assert_eq!(place.names("made/root/d"), [b"other".as_slice(), b"two"]);
        assert_eq!(place.names("made/root"), [b"d".as_slice(), b"one"]);
    }

    #[test]
    fn a_pipe_gets_its_attributes_without_being_opened_and_a_device_takes_the_superuser() {
        let mut place = place();
        let (root, last) = (&place.root, &mut place.last);
        let wanted = own(0o1755, -5, 7);
        root.make_special(last, b"pipe", FileKind::Fifo, 0)
            .expect("makes");
        let not_set = root.set(last, b"pipe", &wanted).expect("sets");
        assert_eq!(not_set, NotSet::default());
        let device = rustix::fs::makedev(1, 3);
        let made = root.make_special(last, b"null", FileKind::CharDevice, device);
        if rustix::process::geteuid().is_root() {
            made.expect("the superuser may");
            root.set(last, b"null", &own(0o666, 1, 2)).expect("sets");
            let found = place.stat("null");
            assert_eq!((found.kind, found.rdev), (FileKind::CharDevice, device));
            assert_eq!(found.mode, 0o666);
        } else {
            let refused = made.expect_err("only the superuser may");
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        }
        let (root, last) = (&place.root, &mut place.last);
        root.make_special(last, b"socket", FileKind::Socket, 0)
            .expect_err("a socket is made by who answers it");
        let found = place.stat("pipe");
        assert_eq!(
            (found.kind, found.mode, found.mtime),
            (FileKind::Fifo, 0o1755, wanted.mtime)
        );
    }

    #[test]
    fn a_path_longer_than_one_call_takes_is_made_and_found_again() {
        let mut place = place();
        let mut path = vec![b'd'; 200];
        while path.len() < 9000 {
            place.root.make_dir(&mut place.last, &path).expect("makes");
            path.push(b'/');
            path.extend([b'e'; 200]);
        }
        let any = own(0o640, 5, 6);
        let (root, last) = (&place.root, &mut place.last);
        root.write_small(last, &new_file(&path, &any))
            .expect("writes");
        let other = [path.as_slice(), b"2"].concat();
        root.make_symlink(last, &[path.as_slice(), b"3"].concat(), b"t")
            .expect("links");
        root.link(last, &path, &other).expect("links");
        let whole = String::from_utf8(other).expect("letters");
        assert_eq!(place.stat(&whole).links, 2);
        let dir = whole.rsplit_once('/').expect("deep").0;
        assert_eq!(place.names(&format!("made/root/{dir}")).len(), 3);
        let read = place.read(&whole);
        assert_eq!(
            (read.bytes.as_slice(), read.stat.size),
            (b"hello".as_slice(), 5)
        );
    }
}
