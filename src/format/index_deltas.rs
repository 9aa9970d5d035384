//! What an index page holds instead of numbers that the entry before gives away: differences.
//!
//! Files made one after the other lie one after the other, in packs and in their file system, so most differences are the
//! same small number, and a compressor finds what is the same and not what merely follows. Any number has a difference and
//! any difference gives a number: all of it wraps, so nothing in here can fail.

use super::index::{Content, Entry, What};

/// What the entry before says.
#[derive(Debug, Clone, Copy, Default)]
struct Before {
    inode: u64,
    seconds: i64,
    /// The chunk a packed file lies in, and where in it that file ends.
    pack: u32,
    end: u32,
}

impl Before {
    /// Where the next packed file begins if it follows the one before.
    const fn next_in(&self, chunk: u32) -> u32 {
        if chunk == self.pack { self.end } else { 0 }
    }
}

/// Small differences, also negative ones, as small numbers.
const fn zigzag(difference: u64) -> u64 {
    (difference << 1) ^ (if difference >> 63 == 1 { u64::MAX } else { 0 })
}

const fn unzigzag(folded: u64) -> u64 {
    (folded >> 1) ^ (folded & 1).wrapping_neg()
}

/// Numbers into differences.
pub(super) fn fold(entries: &mut [Entry]) {
    let mut before = Before::default();
    for entry in entries {
        let mut now = Before {
            inode: entry.inode,
            seconds: entry.mtime.seconds,
            ..before
        };
        entry.inode = zigzag(entry.inode.wrapping_sub(before.inode));
        entry.ctime.seconds = entry.ctime.seconds.wrapping_sub(entry.mtime.seconds);
        entry.ctime.nanos ^= entry.mtime.nanos;
        entry.mtime.seconds = entry.mtime.seconds.wrapping_sub(before.seconds);
        if let Some((chunk, offset, bytes)) = packed(entry) {
            (now.pack, now.end) = (chunk, offset.wrapping_add(bytes));
            *offset = offset.wrapping_sub(before.next_in(chunk));
        }
        before = now;
    }
}

/// Differences into numbers.
pub(super) fn unfold(entries: &mut [Entry]) {
    let mut before = Before::default();
    for entry in entries {
        entry.inode = unzigzag(entry.inode).wrapping_add(before.inode);
        entry.mtime.seconds = entry.mtime.seconds.wrapping_add(before.seconds);
        entry.ctime.seconds = entry.ctime.seconds.wrapping_add(entry.mtime.seconds);
        entry.ctime.nanos ^= entry.mtime.nanos;
        before.inode = entry.inode;
        before.seconds = entry.mtime.seconds;
        if let Some((chunk, offset, bytes)) = packed(entry) {
            *offset = offset.wrapping_add(before.next_in(chunk));
            (before.pack, before.end) = (chunk, offset.wrapping_add(bytes));
        }
    }
}

/// The pack a file lies in, where, and how long it is there: what does not fit lies in no pack, and a reader refuses it.
fn packed(entry: &mut Entry) -> Option<(u32, &mut u32, u32)> {
    match &mut entry.what {
        What::File {
            bytes,
            content: Content::Packed { chunk, offset, .. },
            ..
        } => Some((*chunk, offset, u32::try_from(*bytes).unwrap_or(u32::MAX))),
        What::File { .. } | What::Dir | What::Symlink { .. } | What::Fifo | What::Device { .. } => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_bytes::ByteBuf;

    use super::*;
    use crate::terms::Stamp;

    fn entry(
        (inode, seconds, nanos): (u64, (i64, i64), (u32, u32)),
        pack: (u32, u32, u64),
    ) -> Entry {
        let stamp = |seconds, nanos| Stamp { seconds, nanos };
        let (chunk, offset, bytes) = pack;
        let content = Content::Packed {
            name: [7; 16],
            chunk,
            offset,
        };
        Entry {
            path: ByteBuf::from(b"a".to_vec()),
            what: if bytes == 0 {
                What::Dir
            } else {
                What::File {
                    bytes,
                    content,
                    has_holes: false,
                }
            },
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: stamp(seconds.0, nanos.0),
            ctime: stamp(seconds.1, nanos.1),
            inode,
            hard_link: None,
            xattrs: Vec::new(),
        }
    }

    #[test]
    fn files_that_follow_each_other_differ_in_little() {
        let mut entries = [
            entry((90, (1000, 1000), (5, 5)), (0, 0, 10)),
            entry((91, (1000, 1000), (6, 6)), (0, 10, 20)),
            entry((90, (998, 1000), (7, 8)), (1, 0, 5)),
        ];
        fold(&mut entries);
        let expected = [
            entry((180, (1000, 0), (5, 0)), (0, 0, 10)),
            entry((2, (0, 0), (6, 0)), (0, 0, 20)),
            entry((1, (-2, 2), (7, 15)), (1, 0, 5)),
        ];
        assert_eq!(entries, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_entries_come_back_and_any_differences_do(
            parts in prop::collection::vec((any::<(u64, (i64, i64), (u32, u32))>(), any::<(u32, u32, u64)>()), 0..20)
        ) {
            let entries: Vec<_> = parts.into_iter().map(|(times, pack)| entry(times, pack)).collect();
            let mut there = entries.clone();
            fold(&mut there);
            unfold(&mut there);
            prop_assert_eq!(&there, &entries);
            unfold(&mut there);
            fold(&mut there);
            prop_assert_eq!(&there, &entries);
        }
    }
}
