//! Reading people's files: what the helper thread does for a walk. Nothing here changes anything or follows a last link.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Statx, StatxFlags};
use rustix::io::Errno;

use super::deep::{Place, reach};
use super::raw::read_behind;
use super::xattrs::{self, Of};
use crate::terms::{FileSystemId, Stamp};
use crate::world::{FileKind, Stat, Whole, Xattrs};

/// How much more of a file that grew while it was read is asked for at once.
const GROWN_BYTES: usize = 64 << 10;
/// A stretch of data and short holes ends after this much.
const STRETCH_BYTES_MAX: u64 = 1 << 30;

/// What stands at a path.
pub(super) fn stat(path: &[u8]) -> io::Result<Stat> {
    let place = reach(path)?;
    stat_below(&place, place.rest)
}

pub(super) fn stat_below(dir: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Stat> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    translate(&rustix::fs::statx(
        dir,
        name,
        flags,
        StatxFlags::BASIC_STATS,
    )?)
}

/// What an open file says of itself.
pub(super) fn stat_open(file: impl AsFd) -> io::Result<Stat> {
    translate(&rustix::fs::statx(
        file,
        c"",
        AtFlags::EMPTY_PATH,
        StatxFlags::BASIC_STATS,
    )?)
}

fn translate(found: &Statx) -> io::Result<Stat> {
    let kind = match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Unknown => return Err(Errno::INVAL.into()),
    };
    Ok(Stat {
        kind,
        mode: u32::from(found.stx_mode) & 0o7777,
        uid: found.stx_uid,
        gid: found.stx_gid,
        size: found.stx_size,
        blocks: found.stx_blocks,
        mtime: Stamp {
            seconds: found.stx_mtime.tv_sec,
            nanos: found.stx_mtime.tv_nsec,
        },
        ctime: Stamp {
            seconds: found.stx_ctime.tv_sec,
            nanos: found.stx_ctime.tv_nsec,
        },
        inode: found.stx_ino,
        device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
        links: found.stx_nlink.into(),
        rdev: rustix::fs::makedev(found.stx_rdev_major, found.stx_rdev_minor),
    })
}

/// Where a symbolic link points.
pub(super) fn read_link(path: &[u8]) -> io::Result<Vec<u8>> {
    let place = reach(path)?;
    Ok(rustix::fs::readlinkat(&place, place.rest, Vec::new())?.into_bytes())
}

/// Opens a regular file; anything else is refused before a byte of it is read.
pub(super) fn open(path: &[u8]) -> io::Result<(OwnedFd, Stat)> {
    // NONBLOCK: a pipe that took the file's place must not hold us.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open_quietly(&reach(path)?, flags)?;
    let stat = stat_open(&file)?;
    match stat.kind {
        FileKind::File => Ok((file, stat)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file (any more)",
        )),
    }
}

/// Opens without touching the access time; only the owner may ask for that, so others do without.
pub(super) fn open_quietly(place: &Place<'_>, flags: OFlags) -> io::Result<OwnedFd> {
    let open = |flags| rustix::fs::openat(place, place.rest, flags, Mode::empty());
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => Ok(open(flags)?),
        opened => Ok(opened?),
    }
}

/// Extended attributes of what stands at a path.
pub(super) fn xattrs_at(path: &[u8]) -> io::Result<Xattrs> {
    let place = reach(path)?;
    xattrs::read(&Of::Named(&place.whole()))
}

/// The first stretch at or behind `offset` that is no hole; holes in it shorter than `hole_bytes_min` count as data.
pub(super) fn next_data(
    file: impl AsFd,
    offset: u64,
    hole_bytes_min: u64,
) -> io::Result<Option<(u64, u64)>> {
    let Some(start) = seek(&file, SeekFrom::Data(offset), offset)? else {
        return Ok(None);
    };
    let mut end = start;
    // A file of nothing but crumbs is handed out in stretches, so that nobody waits for its end.
    while end - start < STRETCH_BYTES_MAX {
        match seek(&file, SeekFrom::Hole(end), u64::MAX)? {
            Some(hole) => end = hole,
            // It was cut meanwhile; reading will find the end.
            None => return Ok(Some((start, u64::MAX))),
        }
        match seek(&file, SeekFrom::Data(end), u64::MAX)? {
            Some(data) if data - end < hole_bytes_min => end = data,
            Some(_) | None => break,
        }
    }
    Ok(Some((start, end)))
}

/// A step through a file's holes; `None` behind its end, and `unknown` where the file system does not know.
fn seek(file: impl AsFd, to: SeekFrom, unknown: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, to) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(Some(unknown)),
        Err(error) => Err(error.into()),
    }
}

/// Whether parts of an open file take no space. Asked only where it takes less than its length, for others have none.
fn has_holes(file: impl AsFd, stat: &Stat) -> bool {
    stat.blocks.saturating_mul(512) < stat.size
        && rustix::fs::seek(&file, SeekFrom::Hole(0)).is_ok_and(|hole| hole < stat.size)
}

/// A small file with its state after reading and its bytes up to `bytes_max`.
pub(super) fn read_small(path: &[u8], bytes_max: usize) -> io::Result<Whole> {
    let (file, before) = open(path)?;
    let expected = usize::try_from(before.size)
        .unwrap_or(usize::MAX)
        .min(bytes_max);
    let mut bytes = Vec::new();
    while bytes.len() < bytes_max {
        // One byte more than expected, so that a file that grew is noticed by the same read.
        let wanted = match expected.checked_sub(bytes.len()) {
            Some(left) => left.saturating_add(1),
            None => GROWN_BYTES,
        };
        let wanted = wanted.min(bytes_max - bytes.len());
        let offset = bytes.len() as u64;
        if read_behind(&file, &mut bytes, wanted, offset)? == 0 || bytes.len() == expected {
            break;
        }
    }
    Ok(Whole {
        xattrs: xattrs::read(&Of::Open(file.as_fd()))?,
        has_holes: has_holes(&file, &before),
        stat: stat_open(&file)?,
        bytes,
    })
}

fn place(path: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = reach(path)?;
    Ok(rustix::fs::openat(
        &place,
        place.rest,
        flags,
        Mode::empty(),
    )?)
}

/// The number its file system gives itself.
pub(super) fn file_system_serial(path: &[u8]) -> io::Result<u64> {
    Ok(rustix::fs::fstatvfs(&place(path)?)?.f_fsid)
}

/// Which file system a path is on.
pub(super) fn file_system(path: &[u8]) -> io::Result<FileSystemId> {
    let place = place(path)?;
    let device = stat_open(&place)?.device;
    // All magic numbers have 32 bits; where the field is a signed long, its upper half says nothing.
    let magic = i128::from(rustix::fs::fstatfs(&place)?.f_type) & 0xffff_ffff;
    Ok(FileSystemId {
        magic: u64::try_from(magic).unwrap_or_default(),
        device,
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use rustix::fs::CWD;

    use super::super::listing::{list, look};
    use super::*;

    fn bytes_of(path: &Path) -> &[u8] {
        path.as_os_str().as_bytes()
    }

    #[test]
    fn names_come_in_the_order_of_their_bytes_whatever_they_are() {
        let dir = tempfile::tempdir().expect("a directory");
        let names: [&[u8]; 6] = [b"b", b"\xff\xfe", b"a b", b"B", b"a", b"\n"];
        for name in names {
            fs::write(dir.path().join(OsStr::from_bytes(name)), name).expect("writes");
        }
        let listed = list(bytes_of(dir.path()), b"", 1 << 20).expect("lists");
        let found: Vec<&[u8]> = (0..listed.len()).filter_map(|at| listed.get(at)).collect();
        assert_eq!(
            found,
            [b"\n".as_slice(), b"B", b"a", b"a b", b"b", b"\xff\xfe"]
        );
        let names = found.iter().map(|name| name.to_vec()).collect();
        let sizes: Vec<u64> = look(bytes_of(dir.path()), names)
            .iter()
            .map(|entry| entry.stat.expect("is there").size)
            .collect();
        assert_eq!(sizes, [1, 1, 1, 3, 1, 2]);
    }

    #[test]
    fn a_link_is_told_as_a_link_and_never_opened_or_listed_through() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("file"), b"x").expect("writes");
        fs::create_dir(dir.path().join("dir")).expect("makes");
        for (name, target) in [("to-file", "file"), ("to-dir", "dir"), ("nowhere", "gone")] {
            symlink(target, dir.path().join(name)).expect("links");
            let path = dir.path().join(name);
            assert_eq!(
                stat(bytes_of(&path)).expect("is there").kind,
                FileKind::Symlink
            );
            assert_eq!(
                read_link(bytes_of(&path)).expect("reads"),
                target.as_bytes()
            );
            open(bytes_of(&path)).expect_err("a link is not opened");
            list(bytes_of(&path), b"", 100).expect_err("a link is not listed");
        }
    }

    #[test]
    fn only_regular_files_are_opened_and_a_pipe_does_not_hold_us() {
        let dir = tempfile::tempdir().expect("a directory");
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).expect("makes");
        for path in [pipe.as_path(), dir.path()] {
            let refused = open(bytes_of(path)).expect_err("is no file");
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(
            stat(bytes_of(&pipe)).expect("is there").kind,
            FileKind::Fifo
        );
    }

    #[test]
    fn small_files_are_read_up_to_the_limit_with_their_state() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let contents: Vec<u8> = (0..=255).cycle().take(5000).collect();
        fs::write(&path, &contents).expect("writes");
        for bytes_max in [0, 1, 4999, 5000, 5001, 100_000] {
            let whole = read_small(bytes_of(&path), bytes_max).expect("reads");
            let found = whole.stat;
            assert_eq!(
                whole.bytes,
                contents[..bytes_max.min(5000)],
                "limit {bytes_max}"
            );
            assert_eq!(
                (found.size, found.kind, found.links),
                (5000, FileKind::File, 1)
            );
        }
        // A file that says it is empty and is not, as those of the kernel do.
        let whole = read_small(b"/proc/self/status", 100_000).expect("reads");
        assert!(whole.stat.size == 0 && whole.bytes.starts_with(b"Name:"));
    }

    #[test]
    fn two_places_on_one_file_system_have_one_identity() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("file"), b"x").expect("writes");
        let here = file_system(bytes_of(dir.path())).expect("tells");
        assert_eq!(
            file_system(bytes_of(&dir.path().join("file"))).expect("tells"),
            here
        );
        assert_ne!(file_system(b"/proc").expect("tells"), here);
        assert_eq!(file_system(b"/proc").expect("tells").magic, 0x9fa0);
    }
}
