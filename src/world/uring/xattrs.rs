//! Extended attributes and access lists, read and set.
//!
//! What is carried: `user.*`, `trusted.*`, `security.capability` and the POSIX access lists. What the system keeps there for
//! itself (labels of security modules, measurements, marks of layered file systems) belongs to the machine, not to the file.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::terms::limits::{XATTRS_BYTES_MAX, XATTRS_MAX};
use crate::world::{Xattr, Xattrs};

/// Times a list or value that grew while it was read is asked for again.
const AGAIN_MAX: usize = 8;

/// Whose attributes.
pub(super) enum Of<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// Whatever has this name; a link itself.
    Named(&'a [u8]),
    /// What this name leads to.
    Followed(&'a [u8]),
}

impl Of<'_> {
    /// Names of all attributes; no room asks for the length.
    fn list(&self, into: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Open(file) if into.is_empty() => rustix::fs::flistxattr_query(file),
            Self::Open(file) => rustix::fs::flistxattr(file, into),
            Self::Named(path) if into.is_empty() => rustix::fs::llistxattr_query(*path),
            Self::Named(path) => rustix::fs::llistxattr(*path, into),
            Self::Followed(path) if into.is_empty() => rustix::fs::listxattr_query(*path),
            Self::Followed(path) => rustix::fs::listxattr(*path, into),
        }
    }

    /// The same for a value.
    fn get(&self, name: &[u8], into: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Open(file) if into.is_empty() => rustix::fs::fgetxattr_query(file, name),
            Self::Open(file) => rustix::fs::fgetxattr(file, name, into),
            Self::Named(path) if into.is_empty() => rustix::fs::lgetxattr_query(*path, name),
            Self::Named(path) => rustix::fs::lgetxattr(*path, name, into),
            Self::Followed(path) if into.is_empty() => rustix::fs::getxattr_query(*path, name),
            Self::Followed(path) => rustix::fs::getxattr(*path, name, into),
        }
    }

    fn set(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        let flags = XattrFlags::empty();
        match self {
            Self::Open(file) => rustix::fs::fsetxattr(file, name, value, flags),
            Self::Named(path) => rustix::fs::lsetxattr(*path, name, value, flags),
            Self::Followed(path) => rustix::fs::setxattr(*path, name, value, flags),
        }
    }
}

/// Whether an attribute belongs to the file rather than to the machine.
fn is_carried(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || (name.starts_with(b"trusted.") && !name.starts_with(b"trusted.overlay."))
        || matches!(
            name,
            b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default"
        )
}

/// All that are carried, sorted by name, as far as they can be read and fit.
pub(super) fn read(of: &Of<'_>) -> io::Result<Xattrs> {
    let mut found = Xattrs::default();
    let listed = match sized(|into| of.list(into)) {
        Ok(listed) => listed,
        // File systems and things without any.
        Err(Errno::NOTSUP) => return Ok(found),
        Err(error) => return Err(error.into()),
    };
    let mut names: Vec<&[u8]> = listed
        .split(|byte| *byte == 0)
        .filter(|name| is_carried(name))
        .collect();
    names.sort_unstable();
    let mut bytes = 0;
    for name in names {
        match sized(|into| of.get(name, into)) {
            Ok(value) => {
                let more = name.len() + value.len();
                if bytes + more > XATTRS_BYTES_MAX || found.kept.len() == XATTRS_MAX {
                    let why = format!("it has more than {XATTRS_BYTES_MAX} bytes of attributes");
                    found.left_out.push((name.to_vec(), why));
                    continue;
                }
                bytes += more;
                found.kept.push((name.to_vec(), value));
            }
            // It went away since it was listed.
            Err(Errno::NODATA) => {}
            Err(error) => {
                let why = io::Error::from(error).to_string();
                found.left_out.push((name.to_vec(), why));
            }
        }
    }
    Ok(found)
}

/// Something of unknown length: asked for its length first, which is nothing most of the time.
fn sized(
    mut ask: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    for _ in 0..AGAIN_MAX {
        let mut bytes = vec![0; ask(&mut [])?];
        if bytes.is_empty() {
            return Ok(bytes);
        }
        match ask(&mut bytes) {
            Ok(len) => {
                bytes.truncate(len);
                return Ok(bytes);
            }
            Err(Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::RANGE)
}

/// Sets those that may be set; returns the names of those that may not, that the caller has no right to set, or that the file
/// system does not take.
pub(super) fn set(
    of: &Of<'_>,
    wanted: &[Xattr],
    may_be_set: impl Fn(&[u8]) -> bool,
) -> Vec<Vec<u8>> {
    let is_set =
        |(name, value): &Xattr| is_carried(name) && may_be_set(name) && of.set(name, value).is_ok();
    // An access list may take the owner's right to write away, which the others need.
    let is_list = |(name, _): &&Xattr| name.starts_with(b"system.");
    let others = wanted.iter().filter(|xattr| !is_list(xattr));
    let in_order = others.chain(wanted.iter().filter(is_list));
    let missing = in_order.filter(|xattr| !is_set(xattr));
    missing.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn what_was_set_is_read_and_what_belongs_to_the_machine_is_not_carried() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let of = Of::Open(file.as_fd());
        if of.set(b"user.probe", b"").is_err() {
            eprintln!("skipped, because this file system has no attributes");
            return;
        }
        let wanted = vec![
            (b"user.b".to_vec(), b"\0any\xff".to_vec()),
            (b"user.a".to_vec(), Vec::new()),
            (b"security.selinux".to_vec(), b"label".to_vec()),
        ];
        assert_eq!(set(&of, &wanted, |_| true), [b"security.selinux"]);
        let found = read(&of).expect("reads");
        let names: Vec<&[u8]> = found.kept.iter().map(|(name, _)| name.as_slice()).collect();
        assert_eq!(names, [b"user.a".as_slice(), b"user.b", b"user.probe"]);
        assert_eq!(found.kept[1].1, b"\0any\xff");
        assert!(found.left_out.is_empty());
        let path = file.path().as_os_str().as_bytes();
        assert_eq!(read(&Of::Named(path)).expect("reads"), found);
    }
}
