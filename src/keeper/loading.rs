//! Taking in the segments at a start, one after the other: by its footer if it has a whole one, frame by frame otherwise.
//!
//! Changes nothing on the disk (it makes durable what a killed process left unsynced, which is no change to any reader).

use std::rc::Rc;

use super::frames::head_number_in;
use super::heads::HeadPlace;
use super::holding::Inner;
use super::open::{DamageKind, OpenReport};
use super::queue::stride_of;
use super::reading::{Segment, Window};
use super::refuse::{StoreError, is_want};
use super::scan::{Scanned, scan};
use super::table::prefix_of;
use super::writing::{footer_room, path_of};
use crate::format::record::id_of;
use crate::format::release::{Freed, NotedRelease};
use crate::format::segment::{
    FOOTER_ENTRY_BYTES, FooterEntry, FrameType, Location, SegmentHeader, TRAILER_BYTES, Trailer,
};
use crate::format::verified::SegmentMark;
use crate::terms::limits::{BLOCK_BYTES, FRAME_HEADER_BYTES, RECORD_BYTES_MAX, SEGMENT_FRAMES_MAX};
use crate::terms::{AuthorIndex, ChunkId, PeerKey, StoreId};
use crate::world::{Disk, DiskFile, World};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// What is read at once at a segment's end: the footer of chunks of average size.
const FOOTER_AHEAD_BYTES: u64 = 16 << 10;

/// What the last segment needs before it can be appended to.
pub(super) struct Tail {
    pub(super) number: u32,
    pub(super) len: u64,
    pub(super) scanned: Scanned,
    pub(super) is_header_whole: bool,
}

/// The header in a segment's first block, if it can be read.
pub(super) async fn header_of<D: Disk>(
    window: &mut Window<D>,
    segment: &Segment<D>,
) -> Option<SegmentHeader> {
    let block = window.bytes(segment, 0, BLOCK_BYTES, BLOCK_BYTES).await;
    block
        .ok()
        .and_then(|block| SegmentHeader::decode(block).ok())
}

/// Whether the first block says whose segment it is and which.
pub(super) async fn is_header_whole<W: World>(
    world: &W,
    segment: &Segment<W::Disk>,
    store: StoreId,
) -> bool {
    let mut window = Window::new(world.disk()).await;
    let header = header_of(&mut window, segment).await;
    header.is_some_and(|header| header.store == store && header.number == segment.0)
}

/// Reads a segment's footer (authors, then entries) into `footer`; `None` if there is none, or not a whole one.
pub(super) async fn footer_of<D: Disk>(
    window: &mut Window<D>,
    segment: &Segment<D>,
    len: u64,
    store: StoreId,
    footer: &mut Vec<u8>,
) -> Option<Trailer> {
    if len < 2 * BLOCK || !len.is_multiple_of(BLOCK) {
        return None;
    }
    // What stands before the trailer is probably the footer: a second read would be a second way to the disk.
    let tail_bytes = len.min(FOOTER_AHEAD_BYTES);
    let tail = usize::try_from(tail_bytes).ok()?;
    let end = window.bytes(segment, len - tail_bytes, tail, tail).await;
    let trailer = match end.ok().map(Trailer::decode) {
        Some(trailer) => trailer,
        None => {
            // Perhaps only what stands before it cannot be read.
            let block = window
                .bytes(segment, len - BLOCK, BLOCK_BYTES, BLOCK_BYTES)
                .await;
            Trailer::decode(block.ok()?)
        }
    };
    let trailer = trailer.ok()?;
    let start = u64::from(trailer.footer_offset);
    let bytes = trailer.footer_bytes();
    let is_ours = trailer.store == store
        && trailer.number == segment.0
        && trailer.entries as usize <= SEGMENT_FRAMES_MAX
        && start >= BLOCK
        && start + bytes + TRAILER_BYTES as u64 <= len;
    if !is_ours {
        return None;
    }
    let bytes = usize::try_from(bytes).ok()?;
    footer.clear();
    footer.reserve(bytes);
    let there = window
        .stream(segment, start, bytes, |piece| {
            footer.extend_from_slice(piece);
        })
        .await;
    let is_whole = there.is_ok_and(|there| there) && crc32fast::hash(footer) == trailer.footer_sum;
    is_whole.then_some(trailer)
}

/// What has been taken in so far.
pub(super) struct Loading<'a, W: World> {
    inner: &'a Rc<Inner<W>>,
    window: Window<W::Disk>,
    marks: Vec<SegmentMark>,
    /// Up to where the segment that was appended to is known to have been acknowledged.
    known_end: Option<(u32, u64)>,
    /// The table is not as large as it was when the store was opened last.
    is_table_new: bool,
    /// The segment that should come next.
    next: u32,
    pub(super) report: OpenReport,
    /// The last commit seen.
    pub(super) commit: u64,
    /// Reused for each footer.
    footer: Vec<u8>,
}

impl<'a, W: World> Loading<'a, W> {
    /// `marks` are the segments that were found whole before, numbers rising; `known_end` is how far had been written when that was
    /// written down.
    pub(super) async fn new(
        inner: &'a Rc<Inner<W>>,
        marks: Vec<SegmentMark>,
        known_end: Option<(u32, u64)>,
        is_table_new: bool,
    ) -> Self {
        Self {
            inner,
            marks,
            known_end,
            is_table_new,
            next: 1,
            window: Window::new(inner.world.disk()).await,
            report: OpenReport::default(),
            commit: 0,
            footer: Vec::new(),
        }
    }

    /// Numbers that were passed over are segments that are gone.
    pub(super) fn missing_before(&mut self, number: u32) {
        for missing in self.next..number {
            if self.inner.compacted.borrow().has(missing) {
                continue;
            }
            self.report.tell(missing, 0, 0, DamageKind::Missing);
        }
        self.next = self.next.max(number + 1);
    }

    /// Takes in one segment. The last one's state is returned if it can go on.
    pub(super) async fn segment(
        &mut self,
        number: u32,
        is_last: bool,
    ) -> Result<Option<Tail>, StoreError> {
        let inner = self.inner;
        let opened = async {
            let segment = inner.segment(number).await?;
            let len = segment.1.len().await?;
            Ok((segment, len))
        };
        let (segment, len) = match opened.await {
            Ok(opened) => opened,
            // One file that a damaged file system does not give keeps nothing else from being served.
            Err(error) if !is_want(&error) => {
                tracing::error!(segment = number, %error, "a segment cannot be opened");
                self.report.tell(number, 0, 0, DamageKind::Unreadable);
                return Ok(None);
            }
            Err(error) => return Err(StoreError::io("open a segment")(error)),
        };
        {
            let mut state = inner.shared.state.borrow_mut();
            state.segments += 1;
            state.disk_bytes += len;
        }
        let ours = inner.shared.store;
        let header = header_of(&mut self.window, &segment).await;
        if let Some(SegmentHeader { store: found, .. }) = header
            && found != ours
        {
            return Err(StoreError::ForeignStore {
                path: path_of(number),
                found,
                ours,
            });
        }
        let is_header_whole = header.is_some_and(|header| header.number == number);
        if let Some(trailer) = self.footer(&segment, len).await {
            if !is_header_whole {
                self.report.tell(number, 0, BLOCK, DamageKind::Header);
            }
            self.commit = self.commit.max(trailer.commit);
            self.believe(&segment, len).await;
            self.take_footer(number, &trailer).await?;
            return Ok(None);
        }
        // What a process that was killed wrote is there for readers, but not yet for the next power cut.
        let is_synced = segment.1.sync_data().await.is_ok();
        if !is_synced {
            self.report.tell(number, 0, len, DamageKind::Unwritable);
        }
        let torn_bytes_max = inner.shared.sizes.commit_bytes_max
            + stride_of(RECORD_BYTES_MAX)
            + footer_room(SEGMENT_FRAMES_MAX);
        let mut scanned = scan(
            &mut self.window,
            &segment,
            len,
            ours,
            torn_bytes_max,
            |key| inner.shared.state.borrow_mut().authors.index_of(key),
        )
        .await;
        if let Some((known, end)) = self.known_end
            && known == number
        {
            scanned.is_acknowledged_to(end);
        }
        self.commit = self.commit.max(scanned.commit);
        // The last one may never have been begun.
        let is_unbegun = is_last && scanned.entries.is_empty() && len <= BLOCK;
        if !is_header_whole && !is_unbegun {
            self.report.tell(number, 0, BLOCK, DamageKind::Header);
        }
        for gap in &scanned.gaps {
            let bytes = gap.to - gap.from;
            if gap.is_unfinished {
                self.report.unfinished_bytes += bytes;
            } else {
                self.report
                    .tell(number, gap.from, bytes, DamageKind::Frames);
            }
        }
        // One that was given up after its disk failed has no footer; it is told until it was found whole.
        let is_given_up = !is_last && scanned.gaps.is_empty() && self.believe(&segment, len).await;
        if !is_last && !is_given_up {
            let bytes = len.saturating_sub(scanned.end);
            self.report
                .tell(number, scanned.end, bytes, DamageKind::Footer);
        }
        let authors = inner.shared.state.borrow().authors.keys().to_vec();
        for entry in &scanned.entries {
            self.entry(number, entry, &authors).await?;
        }
        Ok((is_last && is_synced).then_some(Tail {
            number,
            len,
            scanned,
            is_header_whole,
        }))
    }

    /// A segment that is as it was when it was found whole is believed.
    async fn believe(&self, segment: &Segment<W::Disk>, len: u64) -> bool {
        let at = self
            .marks
            .binary_search_by_key(&segment.0, |mark| mark.number);
        let Some(mark) = at.ok().map(|at| self.marks[at]) else {
            return false;
        };
        let changed = segment.1.changed().await;
        let is_untouched = mark.len == len && changed.is_ok_and(|changed| changed == mark.changed);
        if is_untouched {
            self.inner.trust.borrow_mut().believe(mark);
        }
        is_untouched
    }

    /// Reads the footer into `self.footer`; `None` if there is none, or not a whole one.
    async fn footer(&mut self, segment: &Segment<W::Disk>, len: u64) -> Option<Trailer> {
        let store = self.inner.shared.store;
        footer_of(&mut self.window, segment, len, store, &mut self.footer).await
    }

    async fn take_footer(&mut self, number: u32, trailer: &Trailer) -> Result<(), StoreError> {
        let footer = std::mem::take(&mut self.footer);
        let (authors, entries) = footer.split_at(32 * trailer.authors as usize);
        let (authors, _) = authors.as_chunks::<32>();
        let authors: Vec<PeerKey> = authors.iter().copied().map(PeerKey).collect();
        let (entries, _) = entries.as_chunks::<FOOTER_ENTRY_BYTES>();
        for (at, bytes) in entries.iter().enumerate() {
            match FooterEntry::decode(bytes) {
                Ok(entry) => self.entry(number, &entry, &authors).await?,
                Err(_) => {
                    let offset = trailer.footer_offset as usize + at * FOOTER_ENTRY_BYTES;
                    let bytes = FOOTER_ENTRY_BYTES as u64;
                    self.report
                        .tell(number, offset as u64, bytes, DamageKind::Footer);
                }
            }
        }
        self.footer = footer;
        Ok(())
    }

    /// Takes in one frame; later ones of the same name win.
    async fn entry(
        &mut self,
        number: u32,
        entry: &FooterEntry,
        authors: &[PeerKey],
    ) -> Result<(), StoreError> {
        let offset = u64::from(entry.offset);
        let bytes = u64::from(entry.payload_bytes);
        let place = Location::new(number, offset);
        let key = authors.get(usize::from(entry.author)).copied();
        let (Some(location), Some(key)) = (place, key) else {
            self.report.tell(number, offset, bytes, DamageKind::Footer);
            return Ok(());
        };
        let author = {
            let mut state = self.inner.shared.state.borrow_mut();
            state.authors.index_of(key).ok_or(StoreError::TableFull)?
        };
        match entry.frame {
            FrameType::Chunk if entry.payload_bytes == 0 => {
                self.report.tell(number, offset, bytes, DamageKind::Footer);
            }
            FrameType::Chunk => {
                let old = self.same_before(entry).await?;
                let mut state = self.inner.shared.state.borrow_mut();
                let entered = state.enter(&entry.id, author, location, entry.payload_bytes, old);
                let (chunks, chunks_max) = (state.table.chunks(), state.table.chunks_max());
                drop(state);
                match entered {
                    Ok(()) => {}
                    Err(_) if chunks >= chunks_max => {
                        return Err(StoreError::TableTooSmall { chunks_max });
                    }
                    Err(_) => self.has_no_place(number, offset, bytes),
                }
            }
            FrameType::Claim => {
                let mut state = self.inner.shared.state.borrow_mut();
                // A claim of a chunk that was lost: the chunk's loss is what is told. One that finds no place was refused when it came.
                let _there = state.claim(&entry.id, author);
            }
            FrameType::Head => self.head(author, location, bytes).await?,
            FrameType::Release | FrameType::Freed => {
                self.note(entry, author, location, bytes).await?;
            }
        }
        Ok(())
    }

    /// What finds no place in a table of the same size was refused when it came: nobody was told that it is here. In another it may be missed.
    fn has_no_place(&mut self, number: u32, offset: u64, bytes: u64) {
        tracing::warn!(
            segment = number,
            offset,
            "a chunk finds no place in the table and is not here"
        );
        if self.is_table_new {
            self.report.tell(number, offset, bytes, DamageKind::NoPlace);
        }
    }

    /// Where an earlier frame of the same chunk is: names equal in the table are compared on the disk.
    async fn same_before(&mut self, entry: &FooterEntry) -> Result<Option<Location>, StoreError> {
        let inner = self.inner;
        let before: heapless::Vec<Location, 8> = {
            let state = inner.shared.state.borrow();
            let matches = state.table.matches(&entry.id);
            matches.take(8).map(|entry| entry.location).collect()
        };
        let is_alike = |id: &ChunkId| prefix_of(id) == prefix_of(&entry.id);
        for location in before {
            let header = match inner.segment(location.segment()).await {
                Ok(segment) => {
                    let at = location.offset();
                    self.window.header(&segment, at, BLOCK_BYTES).await
                }
                Err(error) if is_want(&error) => {
                    return Err(StoreError::io("open a segment")(error));
                }
                Err(error) => Err(error),
            };
            // What cannot be read any more is replaced by what came later, and so is what something else was written over: what stands there
            // then is not even of the name the table has.
            match header.ok().flatten() {
                Some(header) if header.id != entry.id && is_alike(&header.id) => {}
                _ => return Ok(Some(location)),
            }
        }
        Ok(None)
    }

    async fn head(
        &mut self,
        author: AuthorIndex,
        location: Location,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let inner = self.inner;
        let segment = inner.segment(location.segment()).await;
        let segment = segment.map_err(StoreError::io("open a segment"))?;
        let number = head_number_in(&mut self.window, &segment, location.offset()).await;
        let Some(number) = number else {
            let (number, offset) = (location.segment(), location.offset());
            self.report.tell(number, offset, bytes, DamageKind::Head);
            return Ok(());
        };
        let mut state = inner.shared.state.borrow_mut();
        state.groups.of_mut(author).forgotten.remove(number);
        let pushed = state.heads.push(HeadPlace {
            author,
            number,
            location,
        });
        drop(state);
        if !pushed {
            let (number, offset) = (location.segment(), location.offset());
            self.report.tell(number, offset, bytes, DamageKind::NoPlace);
        }
        Ok(())
    }

    /// What an author gave up, or what is its no more. One that does not read is damage: then nothing goes.
    async fn note(
        &mut self,
        entry: &FooterEntry,
        author: AuthorIndex,
        location: Location,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let inner = self.inner;
        let ahead = FRAME_HEADER_BYTES + entry.payload_bytes as usize;
        let frame = inner.read_frame(location, ahead).await?;
        let payload = frame
            .filter(|(header, payload)| {
                header.frame == entry.frame && header.id == entry.id && id_of(payload) == entry.id
            })
            .map(|(_, payload)| payload);
        let mut state = inner.shared.state.borrow_mut();
        let is_noted = match (entry.frame, payload) {
            (FrameType::Release, Some(payload)) => {
                NotedRelease::decode(&payload).is_ok_and(|(noted, release)| {
                    let life = inner.life.borrow();
                    let at = life.when(noted.life, noted.lived_seconds);
                    state.note_release(author, noted.group, at, &release);
                    true
                })
            }
            (_, Some(payload)) => Freed::decode(&payload).is_ok_and(|freed| {
                state.note_freed(author, &freed);
                true
            }),
            (_, None) => false,
        };
        drop(state);
        if !is_noted {
            let (number, offset) = (location.segment(), location.offset());
            self.report.tell(number, offset, bytes, DamageKind::Frames);
        }
        Ok(())
    }
}
