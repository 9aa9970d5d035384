//! Owner, mode and time of what a restore made. What the caller has no right to set is told, not fatal.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::reading::stat_open;
use crate::world::{Attributes, NotSet, Stat};

/// Sets what an open file or directory should have. Owner first: a change of owner clears the set-user and set-group bits.
pub(super) fn set_open(file: impl AsFd, attributes: Attributes) -> io::Result<NotSet> {
    let times = times_of(attributes)?;
    let found = stat_open(&file)?;
    let owner = set_owner(&found, attributes, |uid, gid| {
        rustix::fs::fchown(&file, uid, gid)
    })?;
    // Somebody else's program must not become the caller's with the caller's rights.
    let special = attributes.mode & 0o6000;
    let wanted = if owner {
        attributes.mode & !0o6000
    } else {
        attributes.mode
    };
    let mut mode = wanted != attributes.mode;
    match rustix::fs::fchmod(&file, Mode::from_raw_mode(wanted & 0o7777)) {
        Ok(()) => {
            // The kernel drops set-group in silence when the caller is not in that group.
            if special != 0 && !mode {
                mode = stat_open(&file)?.mode & 0o6000 != special;
            }
        }
        // File systems without rights of their own.
        Err(Errno::PERM | Errno::NOTSUP) => mode = true,
        Err(error) => return Err(error.into()),
    }
    rustix::fs::futimens(&file, &times)?;
    Ok(NotSet { owner, mode })
}

/// The same for a symbolic link, which has no mode.
pub(super) fn set_link(
    dir: impl AsFd,
    name: &[u8],
    found: &Stat,
    attributes: Attributes,
) -> io::Result<NotSet> {
    let times = times_of(attributes)?;
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let owner = set_owner(found, attributes, |uid, gid| {
        rustix::fs::chownat(&dir, name, uid, gid, flags)
    })?;
    rustix::fs::utimensat(&dir, name, &times, flags)?;
    Ok(NotSet { owner, mode: false })
}

/// Changes owner and group where they differ; returns whether that was not allowed.
fn set_owner(
    found: &Stat,
    attributes: Attributes,
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
fn times_of(attributes: Attributes) -> io::Result<Timestamps> {
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
    use crate::world::uring::restoring::tests::{own, place};

    #[test]
    fn attributes_come_back_to_the_nanosecond_even_before_1970() {
        let mut place = place();
        let (root, last) = (&place.root, &mut place.last);
        let wanted = own(0o640, -1_000_000_000, 123_456_789);
        assert!(root.is_empty().expect("tells"));
        root.make_dir(last, b"d").expect("makes");
        let not_set = root
            .write_small(last, b"d/file", b"hello", wanted)
            .expect("writes");
        assert_eq!(not_set, NotSet::default());
        root.make_symlink(last, b"d/link", b"file").expect("links");
        root.set(last, b"d/link", wanted).expect("sets");
        root.set(last, b"d", own(0o1755, 5, 7)).expect("sets");
        root.set(last, b"", own(0o711, 6, 8)).expect("sets");
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
            .write_small(&mut place.last, b"mine", b"x", wanted)
            .expect("writes");
        assert_eq!(not_set, NotSet::default());
        assert_eq!(place.stat("mine").mode, 0o4755);
        // A number that nobody can have: even the superuser is refused.
        wanted.uid = u32::MAX;
        let not_set = place
            .root
            .write_small(&mut place.last, b"theirs", b"x", wanted)
            .expect("writes");
        assert_eq!(
            not_set,
            NotSet {
                owner: true,
                mode: true
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
            .write_small(&mut place.last, b"given", b"x", wanted)
            .expect("writes");
        assert_eq!(not_set, NotSet::default());
        let found = place.stat("given");
        assert_eq!((found.uid, found.gid, found.mode), (12_345, 54_321, 0o6755));
    }
}
