//! Whether something is as it was at the snapshot before, so that it need not be read. Pure.

use super::draft::{Draft, Made, TO_READ_AGAIN};
use super::snapshot::Trust;
use crate::terms::Stamp;
use crate::terms::limits::SETTLED_SECONDS;
use crate::world::Stat;

/// Whether more parts of the same file follow.
pub(super) const fn is_continued(draft: &Draft) -> bool {
    matches!(draft.what, Made::Pieces { last: false, .. })
}

/// Whether a file is as it was, so that its contents need not be read. `began`: when the walk did that made the entry.
pub(super) fn may_be_taken_over(old: &Draft, stat: &Stat, began: Stamp, trust: &Trust<'_>) -> bool {
    let (bytes, is_in_parts) = match &old.what {
        Made::Empty => (0, false),
        Made::Packed { bytes, .. } => (*bytes, false),
        Made::Pieces { bytes, last, .. } => (*bytes, !*last),
        Made::Dir
        | Made::Symlink(_)
        | Made::Fifo
        | Made::Device { .. }
        | Made::ToRead
        | Made::Dropped => return false,
    };
    let is_trusted = trust.is_total
        && (!is_in_parts || trust.distrusted.is_empty())
        && old
            .refs()
            .all(|chunk| !trust.distrusted.contains(&chunk.id));
    bytes == stat.size && is_untouched(old, stat, began) && is_trusted
}

/// Whether nothing of a thing has changed since its entry was made: a change of attributes moves `ctime` as well. `began` is when the
/// walk did that made the entry. Clocks of file systems tick slowly: a change in the moment it was read leaves the same times, so
/// what was young then is looked at once more.
pub(super) fn is_untouched(old: &Draft, stat: &Stat, began: Stamp) -> bool {
    old.ctime != TO_READ_AGAIN
        && old.mtime == stat.mtime
        && old.ctime == stat.ctime
        && old.inode == stat.inode
        && had_settled(stat.ctime, began)
}

/// Whether the last change of a thing was long enough ago when the walk began that looked at it.
pub(super) fn had_settled(ctime: Stamp, began: Stamp) -> bool {
    let settled = Stamp {
        seconds: ctime.seconds.saturating_add(SETTLED_SECONDS),
        ..ctime
    };
    settled <= began
}
