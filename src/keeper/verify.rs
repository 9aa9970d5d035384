//! Reading everything again: each frame of each segment is compared with its name, and with the table.
//!
//! Tells and flags what is not whole and deletes nothing. One reading at a time; it holds two of the store's buffers and gives way
//! after each of them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use super::ahead::Ahead;
use super::holding::{FoundDamage, Inner};
use super::loading::{footer_of, is_header_whole};
use super::open::{Damage, DamageKind};
use super::queue::stride_of;
use super::reading::{Segment, Window};
use super::refuse::{StoreError, is_want};
use super::rest::Rest;
use super::scan::scan;
use super::store::Store;
use super::sweep_plan::{self, Step};
use super::writing::{STORE_DIR, footer_room, number_of};
use crate::format::segment::{FOOTER_ENTRY_BYTES, FooterEntry, FrameHeader};
use crate::format::verified::SegmentMark;
use crate::terms::limits::{
    BLOCK_BYTES, DAMAGE_FACTS_MAX, FRAME_HEADER_BYTES, RECORD_BYTES_MAX, SEGMENT_FRAMES_MAX,
    STORE_BUFFER_BYTES,
};
use crate::world::{Clock, Disk, DiskFile, World};

/// How fast to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A person waits for it: as fast as the disk gives, giving way to others at each step.
    Full,
    /// Nobody waits: three quarters of the time are left to others, and nearly all of it while the disk is busy with something else.
    /// What is late does without the latter.
    Gentle,
}

/// What to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Everything.
    All,
    /// What the sweep's plan has for now, one after the other: see `keeper/sweep_plan`.
    Due,
}

/// How far a reading is. Others may look while it runs.
#[derive(Debug, Default)]
pub struct SweepProgress {
    /// Segments to read.
    pub segments_all: Cell<u64>,
    /// Segments read.
    pub segments: Cell<u64>,
    /// Bytes read.
    pub bytes: Cell<u64>,
    /// Places that are not whole.
    pub damaged: Cell<u64>,
    /// Somebody asks it to end behind the segment it reads.
    pub stopped: Cell<bool>,
}

/// What a reading found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Segments read.
    pub segments: u64,
    /// Frames compared.
    pub frames: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// The first places that are not whole and have no newer copy here.
    pub damaged: Vec<Damage>,
    /// How many there are.
    pub damaged_count: u64,
    /// How long nothing comes due, as far as is known.
    pub calm: Duration,
}

impl SweepReport {
    pub(super) fn tell(&mut self, progress: &SweepProgress, damage: Damage) {
        self.damaged_count += 1;
        progress.damaged.set(progress.damaged.get() + 1);
        if self.damaged.len() < DAMAGE_FACTS_MAX {
            self.damaged.push(damage);
        }
    }
}

/// A segment's frames in their order, whether its footer names them all, and whether nothing but frames was found in it.
struct Listed {
    entries: Vec<FooterEntry>,
    is_complete: bool,
    is_sound: bool,
}

impl<W: World> Store<W> {
    /// Reads segments again and compares every frame with its name. Whoever comes while another reading runs waits for its end.
    pub async fn verify(
        &self,
        which: Which,
        pace: Pace,
        progress: &SweepProgress,
    ) -> Result<SweepReport, StoreError> {
        let inner = self.inner();
        let waiting = (pace == Pace::Full).then(|| inner.hurry.begin());
        let _turn = inner.verifying.lock().await;
        drop(waiting);
        let mut report = SweepReport::default();
        let all: Vec<u32> = match which {
            Which::All => inner.segments_to_read().await?.into_keys().collect(),
            Which::Due => Vec::new(),
        };
        progress.segments_all.set(all.len() as u64);
        let mut all = all.into_iter();
        loop {
            let (number, is_patient) = match which {
                Which::All => match all.next() {
                    Some(number) if !progress.stopped.get() => (number, false),
                    Some(_) | None => break,
                },
                Which::Due => match inner.next_step().await? {
                    Step::Read { number, is_patient } => (number, is_patient),
                    Step::Wait(calm) => {
                        report.calm = calm;
                        break;
                    }
                },
            };
            let rest = Rest::new(pace, is_patient);
            inner
                .verify_segment(number, rest, progress, &mut report)
                .await?;
            report.segments += 1;
            progress.segments.set(report.segments);
            inner.save_trust(SAVE_EACH).await;
        }
        inner.save_trust(1).await;
        Ok(report)
    }

    /// Whether damage was found that nobody has taken note of.
    #[must_use]
    pub fn has_found_damage(&self) -> bool {
        !self.inner().damage_found.borrow().is_empty()
    }

    /// The first damaged chunks found since this was last asked.
    #[must_use]
    pub fn take_damage(&self) -> Vec<FoundDamage> {
        let mut found = self.inner().damage_found.borrow_mut();
        std::mem::take(&mut *found).into_iter().collect()
    }

    /// Writes down what is known of how whole it is, if that is news.
    pub async fn remember(&self) {
        self.inner().save_trust(1).await;
    }

    /// Nothing is lacking any more of what the start found damaged: as long as it stays as it is, no start tells it again, and none
    /// takes it for a new loss.
    pub async fn start_damage_is_healed(&self) {
        self.inner().start_damage_is_healed().await;
    }

    /// What others compare to know whether anything was lost here since they asked.
    #[must_use]
    pub fn unbroken(&self) -> u64 {
        self.inner().trust.borrow().unbroken()
    }

    /// Resolves when something was found that is not whole, or was found since this was last asked.
    pub async fn damage_seen(&self) {
        self.inner().damage_seen.notified().await;
        // What is known not to be whole must not be believed after a restart.
        self.inner().save_trust(1).await;
    }

    /// Everything is read again within so many days.
    pub fn sweep_period_is(&self, days: u16) {
        self.inner().trust.borrow_mut().period_is(days);
    }
}

/// Segments found whole after which that is written down.
const SAVE_EACH: usize = 16;

impl<W: World> Inner<W> {
    /// Every segment there is or should be, and whether its file is there.
    async fn segments_to_read(&self) -> Result<BTreeMap<u32, bool>, StoreError> {
        let names = self.world.disk().list(STORE_DIR).await;
        let names = names.map_err(StoreError::io("list the store's directory"))?;
        let there: BTreeSet<u32> = names.iter().filter_map(|name| number_of(name)).collect();
        // Where the table has chunks there is a segment, whether its file is listed or not.
        let known = self.shared.state.borrow().table.last_segment();
        let last = known.max(there.last().copied());
        let numbers = 1..=last.unwrap_or(0);
        let compacted = self.compacted.borrow();
        Ok(numbers
            .filter(|number| !compacted.has(*number))
            .map(|number| (number, there.contains(&number)))
            .collect())
    }

    /// What the sweep does next.
    async fn next_step(&self) -> Result<Step, StoreError> {
        let segments = self.segments_to_read().await?;
        let now = self.world.clock().wall();
        let trust = self.trust.borrow();
        let candidates: Vec<_> = segments
            .into_iter()
            .map(|(number, is_there)| trust.candidate(number, is_there, now))
            .collect();
        Ok(sweep_plan::next(&candidates, trust.period_seconds()))
    }

    async fn verify_segment(
        &self,
        number: u32,
        rest: Rest,
        progress: &SweepProgress,
        report: &mut SweepReport,
    ) -> Result<(), StoreError> {
        self.trust.borrow_mut().reading_begins(number);
        let now = self.world.clock().wall();
        let segment = match self.segment(number).await {
            Ok(segment) => segment,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.segment_is_missing(number, progress, report);
                self.trust.borrow_mut().found_damaged(number, now);
                return Ok(());
            }
            Err(error) if is_want(&error) => {
                return Err(StoreError::io("open a segment")(error));
            }
            Err(error) => {
                // What is in it says no when it is asked for; the others are read all the same.
                tracing::error!(segment = number, %error, "a segment cannot be opened");
                self.trust.borrow_mut().found_damaged(number, now);
                report.tell(
                    progress,
                    Damage::from_start(number, 0, DamageKind::Unreadable),
                );
                return Ok(());
            }
        };
        let open_end = self
            .shared
            .open_segment()
            .filter(|(open, _)| *open == number);
        let len = match open_end {
            Some((_, end)) => end,
            None => segment
                .1
                .len()
                .await
                .map_err(StoreError::io("ask for a segment's length"))?,
        };
        segment.1.forget_cached().await;
        let changed = segment.1.changed().await.ok();
        let damaged_before = report.damaged_count;
        let begins_well = is_header_whole(&self.world, &segment, self.shared.store).await;
        let listed = self.listed(&segment, len).await;
        self.compare(&segment, len, &listed, rest, progress, report)
            .await;
        if !listed.is_complete {
            // Of a closed one nothing stands behind the end, so what the table has there was cut off.
            let end = open_end.map_or(u64::MAX, |(_, end)| end);
            self.flag_unlisted(number, end, &listed.entries, progress, report);
        }
        let verified = self.world.clock().wall();
        let mut trust = self.trust.borrow_mut();
        if report.damaged_count > damaged_before {
            trust.found_damaged(number, verified);
        } else if open_end.is_some() {
            trust.open_one_is_whole(number, verified);
        } else if let (Some(changed), true) = (changed, listed.is_sound) {
            trust.found_whole(SegmentMark {
                number,
                len,
                changed,
                verified,
                is_read: true,
            });
        } else {
            // Nothing is lost, but it is not as it was written either.
            trust.found_damaged(number, verified);
        }
        // Its frames say themselves what they are: they count all the same.
        if !begins_well {
            let damage = Damage::from_start(number, BLOCK_BYTES as u64, DamageKind::Header);
            report.tell(progress, damage);
        }
        Ok(())
    }

    /// A segment's frames by its footer, or one after the other where there is none.
    async fn listed(&self, segment: &Segment<W::Disk>, len: u64) -> Listed {
        let mut window = Window::new(self.world.disk()).await;
        let mut footer = Vec::new();
        let store = self.shared.store;
        if let Some(trailer) = footer_of(&mut window, segment, len, store, &mut footer).await {
            let (_, entries) = footer.split_at(32 * trailer.authors as usize);
            let (entries, _) = entries.as_chunks::<FOOTER_ENTRY_BYTES>();
            let read: Vec<_> = entries.iter().map(FooterEntry::decode).collect();
            let is_complete = read.iter().all(Result::is_ok);
            return Listed {
                entries: read.into_iter().flatten().collect(),
                is_complete,
                is_sound: is_complete,
            };
        }
        let torn_bytes_max = self.shared.sizes.commit_bytes_max
            + stride_of(RECORD_BYTES_MAX)
            + footer_room(SEGMENT_FRAMES_MAX);
        let scanned = scan(&mut window, segment, len, store, torn_bytes_max, |key| {
            self.shared.state.borrow_mut().authors.index_of(key)
        })
        .await;
        Listed {
            entries: scanned.entries,
            is_complete: false,
            is_sound: scanned.gaps.is_empty() && !scanned.is_tail_torn,
        }
    }

    /// Reads a segment from front to end and compares each frame; where the disk cannot read, frame by frame.
    async fn compare(
        &self,
        segment: &Segment<W::Disk>,
        len: u64,
        listed: &Listed,
        mut rest: Rest,
        progress: &SweepProgress,
        report: &mut SweepReport,
    ) {
        let Some(first) = listed.entries.first() else {
            return;
        };
        let mut reading = Some(Ahead::new(
            &self.world,
            segment.1.clone(),
            u64::from(first.offset),
            len,
        ));
        for entry in &listed.entries {
            let whole = match &mut reading {
                Some(ahead) => self.is_whole(ahead, entry, &mut rest).await,
                None => Err(()),
            };
            let is_whole = match whole {
                Ok(is_whole) => is_whole,
                Err(()) => {
                    // Its buffers are given back before another is taken.
                    reading = None;
                    rest.take(&self.world, STORE_BUFFER_BYTES, self.hurry.is_on())
                        .await;
                    self.is_whole_alone(segment, entry).await
                }
            };
            report.frames += 1;
            let bytes = stride_of(entry.payload_bytes as usize);
            report.bytes += bytes;
            progress.bytes.set(progress.bytes.get() + bytes);
            if is_whole {
                self.is_whole_after_all(segment.0, entry);
            } else {
                self.is_not_whole(segment.0, entry, progress, report);
            }
        }
    }

    /// Whether a frame is what its list says; an error if the disk could not read.
    async fn is_whole(
        &self,
        ahead: &mut Ahead<W>,
        entry: &FooterEntry,
        rest: &mut Rest,
    ) -> Result<bool, ()> {
        let mut at = u64::from(entry.offset);
        let mut header = [0; FRAME_HEADER_BYTES];
        let mut have = 0;
        while have < header.len() {
            let piece = ahead.piece(at, header.len() - have).await.map_err(drop)?;
            if piece.is_empty() {
                return Ok(false);
            }
            header[have..have + piece.len()].copy_from_slice(piece);
            have += piece.len();
            at += piece.len() as u64;
        }
        let header = FrameHeader::decode(&header).ok();
        let is_this = header.is_some_and(|header| self.is_listed_as(&header, entry));
        let mut left = entry.payload_bytes as usize;
        let mut hasher = blake3::Hasher::new();
        while left > 0 {
            let piece = ahead.piece(at, left).await.map_err(drop)?;
            if piece.is_empty() {
                return Ok(false);
            }
            hasher.update(piece);
            let bytes = piece.len();
            left -= bytes;
            at += bytes as u64;
            rest.take(&self.world, bytes, self.hurry.is_on()).await;
        }
        Ok(is_this && (entry.payload_bytes == 0 || *hasher.finalize().as_bytes() == entry.id.0))
    }

    async fn is_whole_alone(&self, segment: &Segment<W::Disk>, entry: &FooterEntry) -> bool {
        let mut window = Window::new(self.world.disk()).await;
        let offset = u64::from(entry.offset);
        let header = window.header(segment, offset, BLOCK_BYTES).await;
        let is_this = header
            .ok()
            .flatten()
            .is_some_and(|header| self.is_listed_as(&header, entry));
        is_this
            && (entry.payload_bytes == 0
                || window
                    .is_whole(segment, offset, entry.payload_bytes, &entry.id)
                    .await
                    .unwrap_or(false))
    }

    fn is_listed_as(&self, header: &FrameHeader, entry: &FooterEntry) -> bool {
        header.store == self.shared.store
            && header.frame == entry.frame
            && header.payload_bytes == entry.payload_bytes
            && header.id == entry.id
    }
}
