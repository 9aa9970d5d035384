//! Giving space back: what still counts in a segment of which less than half does is written again at the log's end, and only then
//! the segment's file is removed.
//!
//! Invariants:
//! - There are never fewer good copies than before. A record is compared with its name when it is read, is durable at its new place,
//!   is read back from there and compared again, and only then counts there. The file goes last, when nothing counts in it.
//! - What the log says of what is here stays the same. Claims and heads of a segment that goes are written again; so are all claims
//!   of a chunk of which a frame goes, since a start takes a claim only where its chunk stands before it.
//! - What an author gave up and is written again is claimed again with it. So a segment with much of that is left alone until it goes, and
//!   so is one with a release that waits. Of a note that claims went, what is still true is said again, as it is when it is queued.
//! - What is damaged, in doubt, or not listed by a whole footer is left as it is: repair comes first. So is a segment in which
//!   anything but frames stands between frames.
//! - That the file goes is durable before it does, so a number that is missing for another reason is a loss.
//!
//! Memory: one segment's footer and some megabytes of records.

use std::rc::Rc;

use super::holding::Inner;
use super::loading::footer_of;
use super::queue::{Answer, What, stride_of};
use super::reading::{Segment, Window};
use super::refuse::StoreError;
use super::rest::Rest;
use super::room::Need;
use super::sets::SetIndex;
use super::store::Store;
use super::verify::Pace;
use super::writing::{STORE_DIR, path_of};
use crate::format::record::id_of;
use crate::format::release::{FREED_RUNS_MAX, Freed};
use crate::format::segment::{FOOTER_ENTRY_BYTES, FooterEntry, FrameType, Location};
use crate::terms::limits::{BLOCK_BYTES, COMMIT_FRAMES_MAX, FRAME_HEADER_BYTES};
use crate::terms::{AuthorIndex, ChunkId, PeerKey};
use crate::world::{Disk, DiskFile, World};

/// Which segments were removed.
pub(super) const COMPACTED_PATH: &str = "store/compacted";
/// Bytes of frames that are written again before they are read back.
const CARRY_BYTES_MAX: u64 = 4 << 20;
const CARRY_FRAMES_MAX: usize = COMMIT_FRAMES_MAX / 4;
/// A disk that gives back something else than what was written is not asked a third time.
const TRIES: usize = 2;

/// What a compaction came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Segments whose files were removed.
    pub segments: u64,
    /// Bytes these had.
    pub bytes: u64,
    /// Bytes of what still counted in them and was written again.
    pub carried_bytes: u64,
}

/// Something of a segment that still counts.
struct Keep {
    what: Kept,
    id: ChunkId,
    location: Location,
    payload_bytes: u32,
}

enum Kept {
    /// A chunk that counts here, and an author that claims it.
    Chunk(AuthorIndex),
    Head(AuthorIndex),
    /// Another place counts for its chunk, or it is a claim: that somebody claims it is said again.
    Claim(AuthorIndex),
    /// What went is not to come back because the note of it is gone.
    Freed(AuthorIndex),
}

/// What stands at the log's end now.
struct Written {
    id: ChunkId,
    place: Location,
    payload_bytes: u32,
}

/// An answer that is awaited, what is written with it, and how long that is; nothing if there was nothing to write.
type Again = Option<(Answer, ChunkId, u32)>;

impl Keep {
    fn bytes(&self) -> u64 {
        match self.what {
            Kept::Chunk(_) | Kept::Head(_) | Kept::Freed(_) => {
                stride_of(self.payload_bytes as usize)
            }
            Kept::Claim(_) => stride_of(0),
        }
    }
}

/// Where a frame ends that follows what ended at `end`; `None` if something else stands between them: what was kept there is in
/// no list, and perhaps somebody can still read it.
fn end_behind(end: u64, entry: &FooterEntry) -> Option<u64> {
    let offset = u64::from(entry.offset);
    let follows = offset == end || offset == end.next_multiple_of(BLOCK_BYTES as u64);
    follows.then(|| offset + stride_of(entry.payload_bytes as usize))
}

impl<W: World> Store<W> {
    /// Compacts what is worth it. It waits while the store is being read again, and the other way round. What it cannot do now it
    /// leaves for the next time.
    pub async fn compact(&self, pace: Pace) -> Result<Reclaimed, StoreError> {
        let inner = self.inner();
        let _turn = inner.verifying.lock().await;
        let mut reclaimed = Reclaimed::default();
        if !inner.shared.state.borrow().groups.unnoted.is_empty() {
            // What says that a group is over must not be missing when what spoke against it is gone.
            return Ok(reclaimed);
        }
        for number in inner.sparse_segments().await? {
            if inner.shared.state.borrow().closing {
                break;
            }
            if let Err(error) = inner.compact_segment(number, pace, &mut reclaimed).await {
                match error {
                    StoreError::DiskFull => tracing::info!("there is no room to compact"),
                    error => return Err(error),
                }
            }
        }
        Ok(reclaimed)
    }
}

impl<W: World> Inner<W> {
    async fn compact_segment(
        &self,
        number: u32,
        pace: Pace,
        reclaimed: &mut Reclaimed,
    ) -> Result<(), StoreError> {
        let Some(segment) = self.segment_or_none(number).await? else {
            return Ok(());
        };
        let len = segment.1.len().await;
        let len = len.map_err(StoreError::io("ask for a segment's length"))?;
        let Some(kept) = self.kept_of(&segment, len).await else {
            return Ok(());
        };
        let carried_bytes = kept.iter().map(Keep::bytes).sum::<u64>();
        if carried_bytes >= len / 2 {
            return Ok(());
        }
        let mut rest = Rest::new(pace, true);
        let mut left = kept.as_slice();
        while !left.is_empty() {
            let mut bytes = 0;
            let some = left.iter().take(CARRY_FRAMES_MAX).take_while(|keep| {
                bytes += keep.bytes();
                bytes <= CARRY_BYTES_MAX
            });
            let (now, later) = left.split_at(some.count().max(1));
            if !self.carry(now).await? {
                return Ok(());
            }
            let bytes = now.iter().map(Keep::bytes).sum::<u64>();
            // It was read twice and written once.
            let bytes = usize::try_from(3 * bytes).unwrap_or(usize::MAX);
            rest.take(&self.world, bytes, self.hurry.is_on()).await;
            left = later;
        }
        if self.retire(number, len).await? {
            reclaimed.segments += 1;
            reclaimed.bytes += len;
            reclaimed.carried_bytes += carried_bytes;
        }
        Ok(())
    }

    /// What still counts of a segment, in its order; `None` if the segment is to be left as it is.
    async fn kept_of(&self, segment: &Segment<W::Disk>, len: u64) -> Option<Vec<Keep>> {
        let mut footer = Vec::new();
        let mut window = Window::new(self.world.disk()).await;
        let store = self.shared.store;
        let trailer = footer_of(&mut window, segment, len, store, &mut footer).await?;
        drop(window);
        let (authors, entries) = footer.split_at(32 * trailer.authors as usize);
        let (authors, _) = authors.as_chunks::<32>();
        let (entries, _) = entries.as_chunks::<FOOTER_ENTRY_BYTES>();
        let heads = self.shared.state.borrow().heads.in_segment(segment.0);
        let mut kept = Vec::new();
        let mut end = BLOCK_BYTES as u64;
        for bytes in entries {
            let entry = FooterEntry::decode(bytes).ok()?;
            end = end_behind(end, &entry)?;
            let key = PeerKey(*authors.get(usize::from(entry.author))?);
            let location = Location::new(segment.0, u64::from(entry.offset))?;
            let who = self.shared.state.borrow().authors.find(key)?;
            let keep = |what| Keep {
                what,
                id: entry.id,
                location,
                payload_bytes: entry.payload_bytes,
            };
            match entry.frame {
                FrameType::Chunk => {
                    for what in self.kept_of_chunk(&entry, location)? {
                        kept.push(keep(what));
                    }
                }
                FrameType::Claim if self.is_claimant(&entry.id, who) => {
                    kept.push(keep(Kept::Claim(who)));
                }
                FrameType::Head if heads.binary_search(&location).is_ok() => {
                    kept.push(keep(Kept::Head(who)));
                }
                FrameType::Release if self.shared.state.borrow().groups.is_waiting(who) => {
                    return None;
                }
                FrameType::Freed => kept.push(keep(Kept::Freed(who))),
                FrameType::Claim | FrameType::Head | FrameType::Release => {}
            }
        }
        let is_all = end.next_multiple_of(BLOCK_BYTES as u64) == u64::from(trailer.footer_offset);
        is_all.then_some(kept)
    }

    /// What is to be written again for one chunk's frame; `None` if its segment is to be left as it is.
    fn kept_of_chunk(&self, entry: &FooterEntry, location: Location) -> Option<Vec<Kept>> {
        let mut kept = Vec::new();
        for there in self.candidates(&entry.id) {
            let is_here = there.location == location;
            let is_claimed = there.claims != SetIndex::EMPTY;
            // The bytes here may be the better ones, and what is damaged here is repaired first.
            let is_sure = !there.damaged && (is_here || self.is_believed(there.location));
            if is_claimed && !is_sure {
                return None;
            }
            let mut claimants = self.shared.state.borrow().sets.members(there.claims);
            if is_here {
                kept.extend(claimants.next().map(Kept::Chunk));
            }
            kept.extend(claimants.map(Kept::Claim));
        }
        Some(kept)
    }

    fn is_claimant(&self, id: &ChunkId, who: AuthorIndex) -> bool {
        let state = self.shared.state.borrow();
        let mut there = state.table.matches(id);
        there.any(|entry| state.sets.contains(entry.claims, who))
    }

    /// Writes some of it again and lets the new places count. False if something is not whole, or did not arrive whole.
    async fn carry(&self, some: &[Keep]) -> Result<bool, StoreError> {
        let mut records = Vec::new();
        for keep in some {
            let is_record = !matches!(keep.what, Kept::Claim(_));
            let record = if is_record {
                match self
                    .record_at(&keep.id, keep.location, keep.payload_bytes)
                    .await?
                {
                    Some(record) => Some(Rc::new(record)),
                    None => {
                        self.flag(&keep.id, keep.location);
                        return Ok(false);
                    }
                }
            } else {
                None
            };
            records.push(record);
        }
        for _ in 0..TRIES {
            let Some(written) = self.write_again(some, &records).await? else {
                return Ok(false);
            };
            if self.are_whole(&written).await? {
                let mut state = self.shared.state.borrow_mut();
                let mut heads = Vec::new();
                for (keep, written) in some.iter().zip(written) {
                    match (&keep.what, written) {
                        // One that was put anew meanwhile counts where it was put.
                        (Kept::Chunk(_), Some(written)) => {
                            let _counts_there = state.moved(&keep.id, keep.location, written.place);
                        }
                        (Kept::Head(_), Some(written)) => {
                            heads.push((keep.location, written.place))
                        }
                        (Kept::Claim(_) | Kept::Freed(_), _) | (_, None) => {}
                    }
                }
                state.heads.moved(&heads);
                return Ok(true);
            }
        }
        tracing::error!(
            "what was written to compact a segment does not read back as it was; the segment stays"
        );
        Ok(false)
    }

    /// A frame's payload, compared with its name.
    async fn record_at(
        &self,
        id: &ChunkId,
        location: Location,
        payload_bytes: u32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let ahead = FRAME_HEADER_BYTES + payload_bytes as usize;
        let frame = self.read_frame(location, ahead).await?;
        Ok(frame
            .filter(|(header, record)| header.id == *id && id_of(record) == *id)
            .map(|(_, record)| record))
    }

    /// Queues all of it and waits until it is durable; what is to be read back of it, and where. `None` if the segment is to be left as it
    /// is.
    async fn write_again(
        &self,
        some: &[Keep],
        records: &[Option<Rc<Vec<u8>>>],
    ) -> Result<Option<Vec<Option<Written>>>, StoreError> {
        let mut answers = Vec::new();
        for (keep, record) in some.iter().zip(records) {
            // What is held back for claims stays so.
            let taken = self.shared.state.borrow().taken();
            if keep.bytes() > self.shared.limits.room_bytes(taken, Need::Index) {
                return Err(StoreError::DiskFull);
            }
            let again = match (&keep.what, record) {
                (Kept::Freed(who), Some(note)) => match self.note_again(*who, note)? {
                    Some(again) => again,
                    None => return Ok(None),
                },
                (Kept::Head(who), _) if self.shared.state.borrow().groups.of(*who).leaving > 0 => {
                    // Behind a note that it leaves it would be here again.
                    return Ok(None);
                }
                (Kept::Chunk(who), Some(bytes)) => {
                    let bytes = Rc::clone(bytes);
                    let what = What::Again {
                        frame: FrameType::Chunk,
                        bytes,
                    };
                    Some((
                        self.queue_again(*who, what, keep.id)?,
                        keep.id,
                        keep.payload_bytes,
                    ))
                }
                (Kept::Head(who), Some(bytes)) => {
                    let bytes = Rc::clone(bytes);
                    let what = What::Again {
                        frame: FrameType::Head,
                        bytes,
                    };
                    Some((
                        self.queue_again(*who, what, keep.id)?,
                        keep.id,
                        keep.payload_bytes,
                    ))
                }
                (Kept::Claim(who) | Kept::Chunk(who) | Kept::Head(who) | Kept::Freed(who), _) => {
                    Some((self.queue_again(*who, What::Claim, keep.id)?, keep.id, 0))
                }
            };
            answers.push(again);
        }
        let mut written = Vec::new();
        for again in answers {
            written.push(match again {
                Some((answer, id, payload_bytes)) => {
                    let place = answer.place().await?;
                    Some(Written {
                        id,
                        place,
                        payload_bytes,
                    })
                }
                None => None,
            });
        }
        Ok(Some(written))
    }

    fn queue_again(&self, who: AuthorIndex, what: What, id: ChunkId) -> Result<Answer, StoreError> {
        let key = self.shared.state.borrow().authors.key(who);
        let key = key.ok_or(StoreError::TableFull)?;
        self.shared.queue(what, Need::Index, (who, key), id)
    }

    /// Says again what of a note is true now. `Some(None)` if nothing is, `None` if it cannot be said.
    fn note_again(&self, who: AuthorIndex, note: &[u8]) -> Result<Option<Again>, StoreError> {
        let Ok(freed) = Freed::decode(note) else {
            return Ok(None);
        };
        let still = self.shared.state.borrow().still_true(who, &freed);
        if still == Freed::default() {
            return Ok(Some(None));
        }
        if still.numbers.runs() > FREED_RUNS_MAX {
            return Ok(None);
        }
        let bytes = still.encode();
        let payload_bytes = u32::try_from(bytes.len()).map_err(|_| StoreError::NoRecord)?;
        let id = id_of(&bytes);
        let answer = self.shared.note(who, still)?;
        Ok(Some(Some((answer, id, payload_bytes))))
    }

    /// Reads back what was written.
    async fn are_whole(&self, written: &[Option<Written>]) -> Result<bool, StoreError> {
        for Written {
            id,
            place,
            payload_bytes,
        } in written.iter().flatten()
        {
            let is_record = *payload_bytes > 0;
            if is_record && self.record_at(id, *place, *payload_bytes).await?.is_none() {
                self.trust.borrow_mut().doubt(place.segment());
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes a segment's file, if nothing in it counts any more.
    async fn retire(&self, number: u32, len: u64) -> Result<bool, StoreError> {
        if !self.shared.state.borrow_mut().drop_segment(number) {
            return Ok(false);
        }
        let mut compacted = self.compacted.borrow().clone();
        compacted.add(number);
        let bytes = compacted.encode();
        let disk = self.world.disk();
        let noted = disk.replace_small(COMPACTED_PATH, &bytes, false).await;
        noted.map_err(StoreError::io("note that a segment was compacted"))?;
        *self.compacted.borrow_mut() = compacted;
        // They may have looked into the table before.
        self.readers.earlier_ones_left().await;
        self.trust.borrow_mut().forget(number);
        if self.remove_segment(number).await {
            let mut state = self.shared.state.borrow_mut();
            state.segments -= 1;
            state.disk_bytes -= len;
        }
        self.refresh_free().await;
        Ok(true)
    }

    async fn remove_segment(&self, number: u32) -> bool {
        self.forget_file(number);
        let disk = self.world.disk();
        let removed = match disk.remove(&path_of(number)).await {
            Ok(()) => disk.sync_dir(STORE_DIR).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &removed {
            // The next start tries again.
            tracing::warn!(segment = number, %error, "a compacted segment's file cannot be removed");
        }
        removed.is_ok()
    }

    /// Removes files that a power cut or a failing disk left: all that was needed of them was elsewhere before they were to go.
    pub(super) async fn remove_leftover(&self, numbers: &[u32]) {
        for number in numbers {
            self.remove_segment(*number).await;
        }
    }
}
