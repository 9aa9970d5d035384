//! Finding the frames of a segment that has no footer: the one that was appended to, one whose disk failed, one whose footer
//! is damaged. Reads only; what to do about what it found is decided in `open`.
//!
//! One commit is written at a time, so only the last one can be incomplete: its bodies are compared with their names. What a power
//! cut left unwritten of it reads as zeros, sector by sector, or is beyond the file's end; what was written and is not whole is damage.

use super::reading::{Segment, Window};
use crate::format::segment::{FooterEntry, FrameHeader, SEGMENT_NUMBER_MAX};
use crate::terms::limits::{BLOCK_BYTES, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES};
use crate::terms::{AuthorIndex, PeerKey, StoreId};
use crate::world::Disk;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Frames closer together than this are read many at once.
const CLOSE_BYTES: u64 = 64 << 10;
const MANY_AHEAD_BYTES: usize = 256 << 10;
/// What a disk writes wholly or not at all, at least.
const SECTOR_BYTES: u64 = 512;
/// A piece of a sector with so many zeros was not written. What stands between two frames is shorter.
const UNWRITTEN_BYTES_MIN: usize = 32;
const _: () = assert!(UNWRITTEN_BYTES_MIN as u64 == FRAME_ALIGN_BYTES);

/// What a scan found.
pub(super) struct Scanned {
    /// Frames that are there, in order.
    pub(super) entries: Vec<FooterEntry>,
    /// The last commit that was seen, whole or not.
    pub(super) commit: u64,
    /// Where the segment may be cut and go on: the end of the last frame's last block, or of what cannot be read behind it.
    pub(super) end: u64,
    /// Stretches that should have been frames.
    pub(super) gaps: Vec<Gap>,
    /// Whether anything but zeros follows the last frame.
    pub(super) is_tail_torn: bool,
}

/// A stretch that should have been frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) to: u64,
    /// It looks as a power cut leaves a commit that was never finished, and therefore never acknowledged.
    pub(super) is_unfinished: bool,
}

impl Scanned {
    /// All that stood before `end` was acknowledged: what is not there now is damage, whatever it looks like, and is not cut.
    pub(super) fn is_acknowledged_to(&mut self, end: u64) {
        for gap in &mut self.gaps {
            gap.is_unfinished &= gap.from >= end;
        }
        if self.end < end {
            self.gaps.push(Gap {
                from: self.end,
                to: end,
                is_unfinished: false,
            });
            self.end = end.next_multiple_of(BLOCK);
        }
    }
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
                    is_unfinished: false,
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
        let in_last_commit =
            gap.from >= last_from || gap.to == last_from && gap.from.is_multiple_of(BLOCK);
        // Of a frame without a header only that is known: behind its end there may always have been zeros.
        let header_end = gap.from + FRAME_HEADER_BYTES as u64;
        gap.is_unfinished = in_last_commit && is_torn(window, segment, gap.from, header_end).await;
    }
    let mut entries: Vec<FooterEntry> = seen.into_iter().map(|frame| frame.entry).collect();
    let whole = verify(window, segment, entries.split_off(first_of_last)).await;
    let last_whole = whole.iter().rposition(|(_, is_whole)| *is_whole);
    let mut rotten = Vec::new();
    for (at, (entry, is_whole)) in whole.into_iter().enumerate() {
        if is_whole {
            entries.push(entry);
            continue;
        }
        let (from, to) = (u64::from(entry.offset), frame_end(&entry));
        let is_unfinished = is_torn(window, segment, from, to).await;
        let gap = Gap {
            from,
            to,
            is_unfinished,
        };
        if last_whole.is_some_and(|last| at < last) {
            gaps.push(gap);
        } else if is_unfinished {
            is_tail_torn = true;
        } else {
            // All of it was written: nothing says that it was not acknowledged.
            rotten.push(gap);
        }
    }
    // What turned out not to be whole proves nothing about what stands before it: that belongs to the tail.
    let last_whole_from = entries.last().map_or(0, |last| u64::from(last.offset));
    gaps.retain(|gap| gap.to <= last_whole_from);
    let rotten_to = rotten.last().map_or(0, |gap| gap.to);
    gaps.append(&mut rotten);
    let last_end = entries
        .last()
        .map_or(BLOCK, frame_end)
        .max(rotten_to)
        .next_multiple_of(BLOCK);
    let tail_bytes = len.saturating_sub(last_end);
    let end = if unreadable_to > last_end || tail_bytes > torn_bytes_max {
        // No unfinished commit leaves so much, or makes blocks unreadable: what stood here stays for whoever can read it.
        gaps.push(Gap {
            from: last_end,
            to: len,
            is_unfinished: false,
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

/// Whether part of a stretch was never written. What cannot be read, or reads as something else, was.
async fn is_torn<D: Disk>(
    window: &mut Window<D>,
    segment: &Segment<D>,
    from: u64,
    to: u64,
) -> bool {
    let Ok(len) = usize::try_from(to.saturating_sub(from)) else {
        return false;
    };
    let mut zeros = Zeros {
        at: from,
        run: 0,
        seen: false,
    };
    let read = window.stream(segment, from, len, |piece| zeros.look(piece));
    match read.await {
        Ok(is_all_there) => !is_all_there || zeros.end(),
        Err(_) => false,
    }
}

/// Looks for a sector, or what a stretch has of one, that is nothing but zeros.
struct Zeros {
    at: u64,
    /// Bytes of the sector seen so far, if all are zero.
    run: usize,
    seen: bool,
}

impl Zeros {
    fn look(&mut self, piece: &[u8]) {
        for byte in piece {
            if self.at.is_multiple_of(SECTOR_BYTES) {
                self.end();
                self.run = 0;
            }
            self.run = match (*byte, self.run) {
                (0, usize::MAX) => usize::MAX,
                (0, run) => run + 1,
                // Not zero, and stays so up to the next sector.
                _ => usize::MAX,
            };
            self.at += 1;
        }
    }

    fn end(&mut self) -> bool {
        self.seen |= self.run != usize::MAX && self.run >= UNWRITTEN_BYTES_MIN;
        self.seen
    }
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
