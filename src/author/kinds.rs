//! Taking what is not a file: directories, symbolic links, pipes, devices. And what is told of attributes that stay behind.

use std::io;

use super::draft::{Draft, Made, TO_READ_AGAIN};
use super::untouched::is_untouched;
use super::walk::joined;
use crate::terms::Stamp;
use crate::terms::limits::PATH_BYTES_MAX;
use crate::world::{FileKind, Stat, Tree, Xattrs};

/// A thing that is no file, as it goes into the index, or why it does not.
pub(super) async fn take<T: Tree>(
    tree: &T,
    base: &[u8],
    path: &[u8],
    (stat, device): (&Stat, u64),
    (old, began): (Option<Draft>, Stamp),
    tell: &mut impl FnMut(&[u8], &str),
) -> Option<Draft> {
    let old = old.filter(|old| kind_of(old) == Some(stat.kind));
    if let Some(old) = &old
        && is_untouched(old, stat, began)
    {
        let mut old = old.clone();
        old.mark(stat, device);
        return Some(old);
    }
    let what = match stat.kind {
        FileKind::Dir => Made::Dir,
        FileKind::Symlink => match tree.read_link(&joined(base, path)).await {
            Ok(target) if is_target(&target) => Made::Symlink(target),
            Ok(_) => {
                tell(path, "it points to nothing that can be named");
                return None;
            }
            Err(reason) => {
                let mut old = old.filter(|_| is_unreadable(&reason));
                let told = match &mut old {
                    Some(old) => {
                        old.ctime = TO_READ_AGAIN;
                        as_it_was(&reason)
                    }
                    None => reason.to_string(),
                };
                tell(path, &told);
                return old;
            }
        },
        FileKind::Fifo => Made::Fifo,
        FileKind::CharDevice | FileKind::BlockDevice => Made::Device {
            is_block: stat.kind == FileKind::BlockDevice,
            rdev: stat.rdev,
        },
        FileKind::File | FileKind::Socket => return None,
    };
    let mut draft = Draft::new(path.to_vec(), stat, device, what);
    take_xattrs(tree, base, &mut draft, tell).await;
    Some(draft)
}

/// Adds a thing's extended attributes to its draft; those that stay behind are told.
pub(super) async fn take_xattrs<T: Tree>(
    tree: &T,
    base: &[u8],
    draft: &mut Draft,
    tell: &mut impl FnMut(&[u8], &str),
) {
    match tree.xattrs(&joined(base, &draft.path)).await {
        Ok(found) => give_xattrs(draft, found, tell),
        Err(reason) => {
            let reason = format!("its extended attributes could not be read: {reason}");
            tell(&draft.path, &reason);
            draft.ctime = TO_READ_AGAIN;
        }
    }
}

/// Adds extended attributes that were read to a draft.
pub(super) fn give_xattrs(draft: &mut Draft, found: Xattrs, tell: &mut impl FnMut(&[u8], &str)) {
    for reason in left_out(&found) {
        tell(&draft.path, &reason);
    }
    draft.xattrs = found.kept;
}

/// Whether this says that something is there but cannot be read; what is gone is gone.
pub(super) fn is_unreadable(reason: &io::Error) -> bool {
    reason.kind() != io::ErrorKind::NotFound
}

/// Whether a file says that it is not there. What has words of its own says that something else stands there.
fn says_it_is_not_there(reason: &io::Error) -> bool {
    reason.kind() == io::ErrorKind::NotFound && reason.get_ref().is_none()
}

/// Whether a file that is not gone (see [`has_gone`]) is as it was, for all that is known, and only cannot be read.
pub(super) fn may_be_as_it_was(reason: &io::Error) -> bool {
    is_unreadable(reason) || says_it_is_not_there(reason)
}

/// Whether a file that could not be read is gone, as if it had gone a moment before it was listed. Some file systems list names whose
/// bytes they do not have: those are there, and cannot be read.
pub(super) async fn has_gone<T: Tree>(tree: &T, at: &[u8], reason: &io::Error) -> bool {
    says_it_is_not_there(reason)
        && tree
            .stat(at)
            .await
            .is_err_and(|error| says_it_is_not_there(&error))
}

/// What is told of something that could not be read and was there before.
pub(super) fn as_it_was(reason: &io::Error) -> String {
    format!("it is in the snapshot as it was before, since it could not be read: {reason}")
}

/// A sentence for each attribute that stays behind.
pub(super) fn left_out(xattrs: &Xattrs) -> impl Iterator<Item = String> + '_ {
    xattrs.left_out.iter().map(|(name, why)| {
        let name = String::from_utf8_lossy(name);
        format!("its extended attribute {name} was left out: {why}")
    })
}

pub(super) const fn kind_of(draft: &Draft) -> Option<FileKind> {
    Some(match &draft.what {
        Made::Dir => FileKind::Dir,
        Made::Symlink(_) => FileKind::Symlink,
        Made::Fifo => FileKind::Fifo,
        Made::Device { is_block: true, .. } => FileKind::BlockDevice,
        Made::Device { .. } => FileKind::CharDevice,
        Made::Empty | Made::Packed { .. } | Made::Pieces { .. } | Made::ToRead => FileKind::File,
        Made::Dropped => return None,
    })
}

fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= PATH_BYTES_MAX && !target.contains(&0)
}
