//! Finding the frames of a segment that has no footer: the one that was appended to, one whose disk failed, one whose footer
//! is damaged. Reads only; what to do about what it found is decided in `open`.
//!
//! One commit is written at a time, so only the last one can be incomplete: its bodies are compared with their names.

use super::reading::{Segment, Window};
use crate::format::segment::{FooterEntry, FrameHeader, SEGMENT_NUMBER_MAX};
use crate::terms::limits::{BLOCK_BYTES, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES};
use crate::terms::{AuthorIndex, PeerKey, StoreId};
use crate::world::Disk;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Frames closer together than this are read many at once.
const CLOSE_BYTES: u64 = 64 << 10;
const MANY_AHEAD_BYTES: usize = 256 << 10;

/// What a scan found.
pub(super) struct Scanned {
    /// Frames that are there, in order.
    pub(super) entries: Vec<FooterEntry>,
    /// The last commit that was seen, whole or not.
    pub(super) commit: u64,
    /// Where the segment may be cut and go on: the end of the last frame's last block, or of what cannot be read behind it.
    pub(super) end: u64,
    /// Stretches that are no frames but have frames behind them, and whether they lie in the last commit.
    pub(super) gaps: Vec<Gap>,
    /// Whether anything but zeros follows the last frame.
    pub(super) is_tail_torn: bool,
}

/// A stretch that should have been frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) in_last_commit: bool,
}

struct Seen {
    entry: FooterEntry,
    commit: u64,
}

/// Scans from the first block after the header to `len`. A commit that was never finished, or a footer, takes at most
/// `torn_bytes_max`.
pub(super) async fn scan<D: Disk>(
    window: &mut Window<D>,
    segment: &Segment<D>,
    len: u64,
    store: StoreId,
    torn_bytes_max: u64,
    mut author: impl FnMut(PeerKey) -> Option<AuthorIndex>,
) -> Scanned {
    debug_assert!(segment.0 <= SEGMENT_NUMBER_MAX);
    let mut seen: Vec<Seen> = Vec::new();
    let mut gaps = Vec::new();
    let mut bad_from = None;
    let mut ahead = BLOCK_BYTES;
    let mut at = BLOCK;
    let mut unreadable_to = BLOCK;
    while at + FRAME_HEADER_BYTES as u64 <= len {
        let header = match window.header(segment, at, ahead).await {
            Ok(header) => header.filter(|h| h.store == store && end_of(at, h) <= len),
            Err(_) if ahead > BLOCK_BYTES => {
                // Only one block of the many may be the bad one.
                ahead = BLOCK_BYTES;
                continue;
            }
            Err(_) => {
                bad_from.get_or_insert(at);
                at = (at + 1).next_multiple_of(BLOCK);
                unreadable_to = at;
                continue;
            }
        };
        let entry = header
            .and_then(|header| Some((header, entry_of(&header, at, author(header.author)?)?)));
        if let Some((header, entry)) = entry {
            if let Some(from) = bad_from.take() {
                gaps.push(Gap {
                    from,
                    to: at,
                    in_last_commit: false,
                });
            }
            seen.push(Seen {
                entry,
                commit: header.commit,
            });
            ahead = if header.stride_bytes() < CLOSE_BYTES {
                MANY_AHEAD_BYTES
            } else {
                BLOCK_BYTES
            };
            at += header.stride_bytes();
        } else if bad_from.is_none() && is_padding(window, segment, at).await {
            at = at.next_multiple_of(BLOCK);
        } else {
            // Nothing says how long it is: the next frame may stand at any place where frames stand.
            bad_from.get_or_insert(at);
            ahead = MANY_AHEAD_BYTES;
            at += FRAME_ALIGN_BYTES;
        }
    }
    let mut is_tail_torn = bad_from.is_some() || at < len && !is_padding(window, segment, at).await;
    let commit = seen.last().map_or(0, |last| last.commit);
    let first_of_last = seen
        .iter()
        .rposition(|frame| frame.commit != commit)
        .map_or(0, |before| before + 1);
    let last_from = seen
        .get(first_of_last)
        .map_or(len, |first| u64::from(first.entry.offset));
    for gap in &mut gaps {
        // A gap that begins a block and ends at the last commit's first known frame was its beginning.
        gap.in_last_commit =
            gap.from >= last_from || gap.to == last_from && gap.from.is_multiple_of(BLOCK);
    }
    let mut entries: Vec<FooterEntry> = seen.into_iter().map(|frame| frame.entry).collect();
    let whole = verify(window, segment, entries.split_off(first_of_last)).await;
    let last_whole = whole.iter().rposition(|(_, is_whole)| *is_whole);
    for (at, (entry, is_whole)) in whole.into_iter().enumerate() {
        if is_whole {
            entries.push(entry);
        } else if last_whole.is_some_and(|last| at < last) {
            gaps.push(Gap {
                from: u64::from(entry.offset),
                to: frame_end(&entry),
                in_last_commit: true,
            });
        } else {
            is_tail_torn = true;
        }
    }
    // What turned out not to be whole proves nothing about what stands before it: that belongs to the tail.
    let last_whole_from = entries.last().map_or(0, |last| u64::from(last.offset));
    gaps.retain(|gap| gap.to <= last_whole_from);
    let last_end = entries
        .last()
        .map_or(BLOCK, frame_end)
        .next_multiple_of(BLOCK);
    let tail_bytes = len.saturating_sub(last_end);
    let end = if unreadable_to > last_end || tail_bytes > torn_bytes_max {
        // No unfinished commit leaves so much, or makes blocks unreadable: what stood here stays for whoever can read it.
        gaps.push(Gap {
            from: last_end,
            to: len,
            in_last_commit: false,
        });
        len.next_multiple_of(BLOCK)
    } else {
        last_end
    };
    Scanned {
        entries,
        commit,
        end,
        gaps,
        is_tail_torn,
    }
}

async fn verify<D: Disk>(
    window: &mut Window<D>,
    segment: &Segment<D>,
    entries: Vec<FooterEntry>,
) -> Vec<(FooterEntry, bool)> {
    let mut verified = Vec::with_capacity(entries.len());
    for entry in entries {
        let is_whole = entry.payload_bytes == 0
            || window
                .is_whole(
                    segment,
                    u64::from(entry.offset),
                    entry.payload_bytes,
                    &entry.id,
                )
                .await
                .unwrap_or(false);
        verified.push((entry, is_whole));
    }
    verified
}

/// Whether only zeros stand from here to the block's end: the end of a commit. A whole block of zeros is none.
async fn is_padding<D: Disk>(window: &mut Window<D>, segment: &Segment<D>, at: u64) -> bool {
    let rest = usize::try_from(at.next_multiple_of(BLOCK) - at).expect("it is less than a block");
    let bytes = window.bytes(segment, at, rest, BLOCK_BYTES).await;
    rest > 0 && bytes.is_ok_and(|bytes| bytes.len() == rest && bytes.iter().all(|byte| *byte == 0))
}

fn end_of(at: u64, header: &FrameHeader) -> u64 {
    at + FRAME_HEADER_BYTES as u64 + u64::from(header.payload_bytes)
}

fn frame_end(entry: &FooterEntry) -> u64 {
    u64::from(entry.offset) + FRAME_HEADER_BYTES as u64 + u64::from(entry.payload_bytes)
}

fn entry_of(header: &FrameHeader, at: u64, author: AuthorIndex) -> Option<FooterEntry> {
    Some(FooterEntry {
        frame: header.frame,
        author: u8::try_from(author.0).ok()?,
        payload_bytes: header.payload_bytes,
        offset: u32::try_from(at).ok()?,
        id: header.id,
    })
}
