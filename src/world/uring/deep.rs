//! Paths longer than the kernel takes in one call: the way there in steps, by directory handles.
//!
//! Links on the way are followed as in any path, but for the part of it that must stay within a directory; whether the last name may
//! be one is up to the call it is used in.

use std::ffi::OsString;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

/// Bytes of a path that one call is given: the kernel takes 4,095.
pub(super) const STEP_BYTES: usize = 4000;

/// A place the kernel can be asked about: a name from a directory.
pub(super) struct Place<'p> {
    dir: Option<OwnedFd>,
    /// From there; short enough for a call.
    pub(super) rest: &'p [u8],
}

impl AsFd for Place<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_ref().map_or(CWD, AsFd::as_fd)
    }
}

impl Place<'_> {
    /// A path for calls that take no directory.
    pub(super) fn whole(&self) -> Vec<u8> {
        match &self.dir {
            None => self.rest.to_vec(),
            Some(dir) => below_open(dir, self.rest),
        }
    }
}

/// A path that any call takes, for one that may be longer; good as long as this lives.
pub struct ShortPath {
    path: PathBuf,
    /// Keeps the directory open that the path begins in.
    _dir: Option<OwnedFd>,
}

impl ShortPath {
    /// The way to what a path names, its last name not followed.
    ///
    /// # Errors
    /// If a directory on the way is not there.
    pub fn of(path: &Path) -> io::Result<Self> {
        let place = reach(path.as_os_str().as_bytes())?;
        Ok(Self {
            path: PathBuf::from(OsString::from_vec(place.whole())),
            _dir: place.dir,
        })
    }
}

impl AsRef<Path> for ShortPath {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl Deref for ShortPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// A path to something in an open directory, for calls that take no directory.
pub(super) fn below_open(dir: impl AsFd, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

/// Parts a directory from a path below it that must not leave it; no path has this byte.
const WITHIN: u8 = 0;

/// A path below `dir` on which no link is followed; any other path as it is.
pub(super) fn within(dir: &[u8], path: &[u8]) -> Vec<u8> {
    let below = path.strip_prefix(dir).and_then(|rest| {
        if dir.ends_with(b"/") {
            Some(rest)
        } else {
            rest.strip_prefix(b"/")
        }
    });
    match below {
        Some(below) if !below.is_empty() && !dir.is_empty() => [dir, &[WITHIN][..], below].concat(),
        _ => path.to_vec(),
    }
}

/// The place a path names.
pub(super) fn reach(path: &[u8]) -> io::Result<Place<'_>> {
    if let Some(at) = path.iter().position(|byte| *byte == WITHIN) {
        return reach_below(&path[..at], &path[at + 1..]);
    }
    let mut place = Place {
        dir: None,
        rest: path,
    };
    while let Some((step, rest)) = step_of(place.rest) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        place.dir = Some(rustix::fs::openat(&place, step, flags, Mode::empty())?);
        place.rest = rest;
    }
    Ok(place)
}

/// The place of something below a directory, no link on the way.
fn reach_below<'p>(dir: &[u8], path: &'p [u8]) -> io::Result<Place<'p>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = reach(dir)?;
    let mut dir = rustix::fs::openat(&top, top.rest, flags, Mode::empty())?;
    let (mut parents, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&path[..0], path),
    };
    let only_real = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    while !parents.is_empty() {
        let (step, rest) = step_of(parents).unwrap_or((parents, &[]));
        dir = rustix::fs::openat2(&dir, step, flags, Mode::empty(), only_real)?;
        parents = rest;
    }
    Ok(Place {
        dir: Some(dir),
        rest: name,
    })
}

/// The first directories of a path that is too long for one call, and the rest; `None` if it is short enough, or cannot be cut.
pub(super) fn step_of(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= STEP_BYTES {
        return None;
    }
    let cut = path[..STEP_BYTES].iter().rposition(|byte| *byte == b'/')?;
    (cut > 0).then(|| (&path[..cut], &path[cut + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_cut_between_names_and_nothing_is_lost() {
        let name = [b'x'; 99];
        let path = [b"/".as_slice(), &name].concat().repeat(200);
        let (mut left, mut steps) = (path.as_slice(), Vec::new());
        while let Some((step, rest)) = step_of(left) {
            assert!(step.len() < STEP_BYTES && !step.ends_with(b"/"));
            steps.push(step);
            left = rest;
        }
        steps.push(left);
        assert_eq!(steps.join(&b'/'), path);
        assert_eq!(steps.len(), 6);
        assert!(step_of(&[b'x'; 5000]).is_none(), "it has no directories");
    }
}
