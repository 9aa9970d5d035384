//! Owner, extended attributes, mode and time of what a restore made. What the caller has no right to set is told, not fatal.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::deep::below_open;
use super::reading::stat_open;
use super::xattrs::{self, Of};
use crate::world::{Attributes, NotSet, Stat};

/// Sets what an open file or directory should have. A change of owner clears the set-user and set-group bits and capabilities,
/// so it comes first; what may still be written to takes attributes that a read-only file refuses, so the mode comes after
/// them; and everything before it would move the time.
pub(super) fn set_open(file: impl AsFd, attributes: &Attributes) -> io::Result<NotSet> {
    let times = times_of(attributes)?;
    let found = stat_open(&file)?;
    let owner = set_owner(&found, attributes, |uid, gid| {
        rustix::fs::fchown(&file, uid, gid)
    })?;
    let of = Of::Open(file.as_fd());
    let xattrs = set_xattrs(&of, attributes, owner);
    let mode = set_mode(&file, attributes, owner, |mode| {
        rustix::fs::fchmod(&file, mode)
    })?;
    rustix::fs::futimens(&file, &times)?;
    Ok(NotSet {
        owner,
        mode,
        xattrs,
    })
}

/// The same for a symbolic link, which has no mode.
pub(super) fn set_link(
    dir: impl AsFd,
    name: &[u8],
    found: &Stat,
    attributes: &Attributes,
) -> io::Result<NotSet> {
    let times = times_of(attributes)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let owner = set_owner(found, attributes, |uid, gid| {
        rustix::fs::chownat(&dir, name, uid, gid, flags)
    })?;
    let path = below_open(&dir, name);
    let xattrs = set_xattrs(&Of::Named(&path), attributes, owner);
    rustix::fs::utimensat(&dir, name, &times, flags)?;
    Ok(NotSet {
        owner,
        mode: false,
        xattrs,
    })
}

/// The same for a pipe or device that was opened as a place only.
pub(super) fn set_special(
    special: impl AsFd,
    found: &Stat,
    attributes: &Attributes,
) -> io::Result<NotSet> {
    let times = times_of(attributes)?;
    let owner = set_owner(found, attributes, |uid, gid| {
        rustix::fs::chownat(&special, c"", uid, gid, AtFlags::EMPTY_PATH)
    })?;
    // The kernel's own link to what is open: it leads there and nowhere else.
    let path = format!("/proc/self/fd/{}", special.as_fd().as_raw_fd());
    let xattrs = set_xattrs(&Of::Followed(path.as_bytes()), attributes, owner);
    let mode = set_mode(&special, attributes, owner, |mode| {
        rustix::fs::chmod(path.as_str(), mode)
    })?;
    rustix::fs::utimensat(CWD, path.as_str(), &times, AtFlags::empty())?;
    Ok(NotSet {
        owner,
        mode,
        xattrs,
    })
}

/// Sets attributes; returns the names of those that could not be.
fn set_xattrs(of: &Of<'_>, attributes: &Attributes, is_anothers: bool) -> Vec<Vec<u8>> {
    xattrs::set(of, &attributes.xattrs, |name| {
        // Somebody else's program must not get rights here that it had there.
        !(is_anothers && name == b"security.capability")
    })
}

/// Sets permission bits; returns whether some of them could not be.
fn set_mode(
    file: impl AsFd,
    attributes: &Attributes,
    is_anothers: bool,
    change: impl Fn(Mode) -> rustix::io::Result<()>,
) -> io::Result<bool> {
    // Somebody else's program must not become the caller's with the caller's rights.
    let special = attributes.mode & 0o6000;
    let wanted = if is_anothers {
        attributes.mode & !0o6000
    } else {
        attributes.mode
    };
    let lost = wanted != attributes.mode;
    match change(Mode::from_raw_mode(wanted & 0o7777)) {
        // The kernel drops set-group in silence when the caller is not in that group.
        Ok(()) if special != 0 && !lost => Ok(stat_open(&file)?.mode & 0o6000 != special),
        Ok(()) => Ok(lost),
        // File systems without rights of their own.
        Err(Errno::PERM | Errno::NOTSUP) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Changes owner and group where they differ; returns whether that was not allowed.
fn set_owner(
    found: &Stat,
    attributes: &Attributes,
    change: impl Fn(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
) -> io::Result<bool> {
    // The highest number means "leave it" to the kernel and belongs to nobody.
    if attributes.uid == u32::MAX || attributes.gid == u32::MAX {
        return Ok(true);
    }
    let uid = (found.uid != attributes.uid).then(|| Uid::from_raw(attributes.uid));
    let gid = (found.gid != attributes.gid).then(|| Gid::from_raw(attributes.gid));
    if uid.is_none() && gid.is_none() {
        return Ok(false);
    }
    match change(uid, gid) {
        Ok(()) => Ok(false),
        // Not allowed; or a number that this user namespace or file system does not have.
        Err(Errno::PERM | Errno::INVAL | Errno::OVERFLOW | Errno::NOTSUP) => {
            if uid.is_some() && gid.is_some() {
                // The group alone is often allowed, and half of it is better than nothing.
                let _ = change(None, gid);
            }
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

/// The last change as the kernel wants it; the access time stays.
fn times_of(attributes: &Attributes) -> io::Result<Timestamps> {
    // Larger numbers have other meanings to the kernel ("now", "leave it").
    if attributes.mtime.nanos >= 1_000_000_000 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a time has more nanoseconds than a second",
        ));
    }
    Ok(Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: attributes.mtime.seconds,
            tv_nsec: attributes.mtime.nanos.into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Stamp;
    use crate::world::FileKind;
    use crate::world::uring::restoring::tests::{new_file, own, place};

    #[test]
    fn attributes_come_back_to_the_nanosecond_even_before_1970() {
        let mut place = place();
        let (root, last) = (&place.root, &mut place.last);
        let wanted = own(0o640, -1_000_000_000, 123_456_789);
        assert!(root.is_empty().expect("tells"));
        root.make_dir(last, b"d").expect("makes");
        let not_set = root
            .write_small(last, &new_file(b"d/file", &wanted))
            .expect("writes");
        assert_eq!(not_set, NotSet::default());
        root.make_symlink(last, b"d/link", b"file").expect("links");
        root.set(last, b"d/link", &wanted).expect("sets");
        root.set(last, b"d", &own(0o1755, 5, 7)).expect("sets");
        root.set(last, b"", &own(0o711, 6, 8)).expect("sets");
        assert!(!root.is_empty().expect("tells"));

        let found = place.stat("d/file");
        assert_eq!(
            (found.mode, found.mtime, found.size),
            (0o640, wanted.mtime, 5)
        );
        assert_eq!((found.uid, found.gid), (wanted.uid, wanted.gid));
        let found = place.stat("d/link");
        assert_eq!((found.kind, found.mtime), (FileKind::Symlink, wanted.mtime));
        let found = place.stat("d");
        assert_eq!(
            (found.mode, found.mtime),
            (
                0o1755,
                Stamp {
                    seconds: 5,
                    nanos: 7
                }
            )
        );
        let found = place.stat("");
        assert_eq!(
            (found.mode, found.mtime),
            (
                0o711,
                Stamp {
                    seconds: 6,
                    nanos: 8
                }
            )
        );
    }

    #[test]
    fn an_owner_that_cannot_be_set_is_told_and_costs_the_set_user_bit() {
        let mut place = place();
        let mut wanted = own(0o4755, 0, 0);
        let not_set = place
            .root
            .write_small(&mut place.last, &new_file(b"mine", &wanted))
            .expect("writes");
        assert_eq!(not_set, NotSet::default());
        assert_eq!(place.stat("mine").mode, 0o4755);
        // A number that nobody can have: even the superuser is refused.
        wanted.uid = u32::MAX;
        let not_set = place
            .root
            .write_small(&mut place.last, &new_file(b"theirs", &wanted))
            .expect("writes");
        assert_eq!(
            not_set,
            NotSet {
                owner: true,
                mode: true,
                xattrs: Vec::new()
            }
        );
        assert_eq!(place.stat("theirs").mode, 0o755);
    }

    #[test]
    fn an_owner_that_can_be_set_is_set_with_its_set_user_bit() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped, because only the superuser may give files away");
            return;
        }
        let mut place = place();
        let wanted = Attributes {
            uid: 12_345,
            gid: 54_321,
            ..own(0o6755, 0, 0)
        };
        let not_set = place
            .root
            .write_small(&mut place.last, &new_file(b"given", &wanted))
            .expect("writes");
        assert_eq!(not_set, NotSet::default());
        let found = place.stat("given");
        assert_eq!((found.uid, found.gid, found.mode), (12_345, 54_321, 0o6755));
    }

    #[test]
    fn a_read_only_file_still_gets_its_attributes_and_what_is_refused_is_named() {
        let mut place = place();
        let mut wanted = own(0o444, 7, 8);
        wanted.xattrs = vec![
            (b"security.capability".to_vec(), b"nonsense".to_vec()),
            (b"user.tag".to_vec(), b"boat".to_vec()),
        ];
        let not_set = place
            .root
            .write_small(&mut place.last, &new_file(b"photo", &wanted))
            .expect("writes");
        let found = place.read("photo");
        if not_set.xattrs.contains(&b"user.tag".to_vec()) {
            eprintln!("skipped, because this file system has no attributes");
            return;
        }
        assert_eq!(not_set.xattrs, [b"security.capability"]);
        assert_eq!(found.xattrs.kept, wanted.xattrs[1..]);
        assert_eq!((found.stat.mode, found.stat.mtime), (0o444, wanted.mtime));
    }

    #[test]
    fn holes_come_back_as_holes_and_zeros_of_a_dense_file_as_bytes() {
        let mut place = place();
        let mut new = new_file(b"sparse", &own(0o600, 1, 1));
        new.bytes = vec![0; 200_000];
        new.bytes[100_000] = 1;
        new.bytes[199_999] = 2;
        for has_holes in [true, false] {
            new.has_holes = has_holes;
            new.path = if has_holes {
                b"sparse".to_vec()
            } else {
                b"dense".to_vec()
            };
            place
                .root
                .write_small(&mut place.last, &new)
                .expect("writes");
        }
        let (sparse, dense) = (place.read("sparse"), place.read("dense"));
        assert!(sparse.bytes == new.bytes && dense.bytes == new.bytes);
        // Two blocks hold all there is; a file system may take a few more for itself.
        assert!(sparse.stat.blocks <= 64, "{:?}", sparse.stat);
        if dense.stat.blocks < 200_000 / 512 {
            eprintln!("not compared, because this file system makes holes of zeros itself");
            return;
        }
        assert!(sparse.has_holes && !dense.has_holes);
    }
}
