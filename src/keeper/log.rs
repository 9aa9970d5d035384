//! The one task that appends: gathers what waits into a commit, writes it, makes it durable, then tells all who waited.
//!
//! Invariants: nobody is told yes before fdatasync returned Ok; one commit is written at a time, so frames of a later commit
//! on the disk prove that all earlier ones are whole; a block with acknowledged bytes is never written again; a file whose
//! write or sync failed is never appended to again, unless it failed for want of space: then what was written of the commit is cut
//! and the file goes on when there is room.

use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::holding::Inner;
use super::queue::{Job, Shared};
use super::refuse::StoreError;
use super::room::Need;
use super::writing::{Footer, Stage, Unwritten, begin_segment, close_segment, footer_room};
use crate::format::segment::{FooterEntry, FrameHeader, FrameType, Location, SEGMENT_NUMBER_MAX};
use crate::format::verified::SegmentMark;
use crate::terms::ChunkId;
use crate::terms::limits::{
    BLOCK_BYTES, COMMIT_FRAMES_MAX, COMMIT_WAIT_DISK_MS, COMMIT_WAIT_SSD_MS, FRAME_ALIGN_BYTES,
    SEGMENT_FRAMES_MAX,
};
use crate::world::{Clock, Disk, DiskFile, World};

/// The segment that is appended to.
pub(super) struct OpenSegment<W: World> {
    pub(super) number: u32,
    pub(super) file: <W::Disk as Disk>::File,
    /// Where the next commit begins.
    pub(super) end: u64,
    /// What the footer will list.
    pub(super) entries: Vec<FooterEntry>,
    /// Something behind the last frame is not ours to trust: only a footer may follow.
    pub(super) must_close: bool,
}

/// Closed segments that a power cut may make the next start read again.
const MARKS_UNSAVED_MAX: usize = 16;

/// The task.
pub(super) struct Writer<W: World> {
    pub(super) inner: Rc<Inner<W>>,
    pub(super) segment: Option<OpenSegment<W>>,
    pub(super) next_number: u32,
    pub(super) next_commit: u64,
    /// That the store is not where it was has been told: not again with every commit that is refused.
    pub(super) was_away: bool,
}

/// Whether a frame fits: its segment must keep room for the footer.
fn fits(sizes_segment: u64, position: u64, frames: usize, stride: u64) -> bool {
    let end = (position + stride).next_multiple_of(BLOCK_BYTES as u64);
    frames < SEGMENT_FRAMES_MAX && end + footer_room(frames + 1) <= sizes_segment
}

impl<W: World> Writer<W> {
    /// Writes until the store closes.
    pub(super) async fn run(mut self) {
        while self.inner.shared.wait_for_work().await {
            self.make_way().await;
            match self.ready_segment().await {
                Ok(segment) => self.commit(segment).await,
                // There was no room for a segment's first block, or the last one's footer.
                Err(StoreError::DiskFull) if self.inner.make_way_blindly().await => {}
                Err(error) => self.refuse_all(&error),
            }
            self.inner.refresh_free().await;
            self.inner.hold_back().await;
            self.inner.shared.end_commit();
        }
        self.inner.save_trust(1).await;
        self.inner.shared.end_writing();
    }

    /// What waits, a footer and a new segment find room, if need be where space was held back for them.
    async fn make_way(&self) {
        let queued = self.inner.shared.queued_for_sure();
        let footer = footer_room(
            self.segment
                .as_ref()
                .map_or(0, |open| open.entries.len() + 1),
        );
        self.inner
            .make_way(queued + footer + 2 * BLOCK_BYTES as u64)
            .await;
    }

    /// A segment that the first waiting frame fits in.
    async fn ready_segment(&mut self) -> Result<OpenSegment<W>, StoreError> {
        let sizes = self.inner.shared.sizes;
        if let Some(segment) = self.findable_segment().await {
            let room = self.inner.shared.first_job(|job| {
                fits(
                    sizes.segment_bytes,
                    segment.end,
                    segment.entries.len(),
                    job.stride(),
                )
            });
            if room != Some(false) && !segment.must_close {
                return Ok(segment);
            }
            self.close(segment).await?;
        }
        let number = self.next_number;
        if number > SEGMENT_NUMBER_MAX {
            return Err(StoreError::SegmentsFull);
        }
        let is_away = !self.inner.is_at_home().await;
        let was_away = std::mem::replace(&mut self.was_away, is_away);
        if is_away {
            if !was_away {
                tracing::error!("the store is not where it was: no segment is begun there");
            }
            return Err(StoreError::DiskFailed);
        }
        let begun = begin_segment(&self.inner.world, self.inner.shared.store, number).await;
        let file = match begun {
            Ok(file) => file,
            Err(error) => {
                if error.kind() == io::ErrorKind::AlreadyExists {
                    // Left by an attempt that could not even be undone.
                    self.next_number += 1;
                }
                tracing::error!(number, %error, "could not begin a segment");
                return Err(StoreError::io("begin a segment")(error));
            }
        };
        self.next_number += 1;
        {
            let mut state = self.inner.shared.state.borrow_mut();
            state.fdatasyncs += 1;
            state.segments += 1;
            state.disk_bytes += BLOCK_BYTES as u64;
        }
        let shared = &self.inner.shared;
        shared.open_segment_is(Some((number, BLOCK_BYTES as u64)));
        let now = self.inner.world.clock().wall();
        self.inner.trust.borrow_mut().begin_at(number, 0, now);
        // That it was begun is known, should it be gone one day.
        self.inner.save_trust(1).await;
        Ok(OpenSegment {
            number,
            file,
            end: BLOCK_BYTES as u64,
            entries: Vec::new(),
            must_close: false,
        })
    }

    /// The segment that is written to, unless its file was removed.
    async fn findable_segment(&mut self) -> Option<OpenSegment<W>> {
        let segment = self.segment.take()?;
        if segment.file.is_named().await.unwrap_or(true) {
            return Some(segment);
        }
        self.lose(segment.number, Vec::new());
        None
    }

    /// The file that was written to was removed: nothing in it outlives this process, so nothing in it counts.
    fn lose(&self, number: u32, taken: Vec<(Job, u64)>) {
        tracing::error!(
            segment = number,
            "the file of the segment that was written to is gone, and all that was in it"
        );
        self.inner.segment_is_gone(number);
        self.inner.shared.open_segment_is(None);
        for (job, _) in taken {
            self.inner.shared.fail(job, StoreError::DiskFailed);
        }
    }

    /// Gathers, writes and settles one commit.
    async fn commit(&mut self, mut segment: OpenSegment<W>) {
        let mut taken = Vec::new();
        let written = self.gather(&segment, &mut taken).await;
        let shared = &self.inner.shared;
        // Written or not, the number is used: what is on the disk of it is never mistaken for another commit.
        self.next_commit += 1;
        let end = match written {
            // Looked at after the sync: a yes speaks of what the next start finds.
            Ok(end) if segment.file.is_named().await.unwrap_or(true) => end,
            Ok(_) => return self.lose(segment.number, taken),
            Err(Unwritten::Full) => {
                self.go_back(segment, taken).await;
                return;
            }
            Err(Unwritten::Failed(error)) => {
                tracing::error!(segment = segment.number, %error, "a commit failed; its segment is left as it is");
                self.abandon(segment, taken, || StoreError::DiskFailed)
                    .await;
                return;
            }
        };
        {
            let mut state = shared.state.borrow_mut();
            state.fdatasyncs += 1;
            state.commits += 1;
            state.disk_bytes += end - segment.end;
        }
        segment.end = end;
        shared.open_segment_is(Some((segment.number, end)));
        let now = self.inner.world.clock().wall();
        self.inner.trust.borrow_mut().wrote(segment.number, now);
        for (job, offset) in taken {
            match (
                Location::new(segment.number, offset),
                entry_of(&job, offset),
            ) {
                (Some(location), Some(entry)) => {
                    segment.entries.push(entry);
                    shared.fulfil(job, location);
                }
                _ => shared.fail(job, StoreError::DiskFull),
            }
        }
        self.segment = Some(segment);
    }

    /// Appends what waits until the commit is large, the segment is full, nobody else is coming, or the first waiter has
    /// waited long enough; then makes it durable. What it took is in `taken`, also when it fails.
    async fn gather(
        &self,
        segment: &OpenSegment<W>,
        taken: &mut Vec<(Job, u64)>,
    ) -> Result<u64, Unwritten> {
        let Inner { world, shared, .. } = &*self.inner;
        let wait = commit_wait(world.disk().is_rotational());
        let began = world.clock().now();
        let mut stage = Stage::new(world, segment.file.clone(), segment.end);
        loop {
            while let Some(job) = self.next_job(segment, &stage, taken.len()) {
                let offset = stage.position();
                let header = FrameHeader {
                    frame: job.frame(),
                    payload_bytes: u32::try_from(job.payload().len())
                        .expect("put and put_head refuse what is longer than a record"),
                    store: shared.store,
                    commit: self.next_commit,
                    id: job.id,
                    author: job.key,
                };
                // Before the first wait, so that a failure reaches whoever waits for it.
                taken.push((job, offset));
                stage.push(&header.encode()).await?;
                if let Some((job, _)) = taken.last() {
                    stage.push(job.payload()).await?;
                }
                stage.pad(FRAME_ALIGN_BYTES).await?;
            }
            if !shared.is_queue_empty() {
                break;
            }
            tokio::task::yield_now().await;
            if !shared.is_queue_empty() {
                continue;
            }
            let waited = world.clock().now().since(began);
            if !shared.is_busy() || waited >= wait {
                break;
            }
            let company = world
                .clock()
                .within(wait - waited, shared.wait_for_company());
            if company.await.is_none() {
                break;
            }
        }
        let end = stage.flush().await?;
        // A sync that fails has lost bytes, whatever it says was the reason.
        segment.file.sync_data().await.map_err(Unwritten::Failed)?;
        Ok(end)
    }

    fn next_job(&self, segment: &OpenSegment<W>, stage: &Stage<W>, taken: usize) -> Option<Job> {
        let Shared { sizes, .. } = self.inner.shared;
        let position = stage.position();
        if taken >= COMMIT_FRAMES_MAX || position - segment.end >= sizes.commit_bytes_max {
            return None;
        }
        let frames = segment.entries.len() + taken;
        self.inner
            .shared
            .next_job(|job| fits(sizes.segment_bytes, position, frames, job.stride()))
    }

    /// There was no space for a commit. Nothing in it was acknowledged, so it is cut off and the segment goes on; what describes data
    /// is tried again without the data.
    async fn go_back(&mut self, segment: OpenSegment<W>, taken: Vec<(Job, u64)>) {
        if let Err(error) = cut(&segment).await {
            tracing::error!(segment = segment.number, %error, "a commit for which there was no space cannot be cut off");
            self.abandon(segment, taken, || StoreError::DiskFull).await;
            return;
        }
        self.segment = Some(segment);
        let shared = &self.inner.shared;
        let data = taken.iter().filter(|(job, _)| job.need == Need::Data);
        let refused: BTreeSet<ChunkId> = data.map(|(job, _)| job.id).collect();
        // Without the data it is less; without any it finds room only where some was held back.
        let has_given_way = refused.is_empty() && self.inner.make_way_blindly().await;
        let mut again = Vec::new();
        for (job, _) in taken {
            // A claim of what is refused is refused with it.
            let stays = job.need != Need::Data && !refused.contains(&job.id);
            if stays && (has_given_way || !refused.is_empty()) {
                again.push(job);
            } else {
                shared.fail(job, StoreError::DiskFull);
            }
        }
        shared.put_back(again);
        tracing::warn!(
            "the disk is full: what was being written is refused; all that was kept stays"
        );
    }

    /// After a failed write or sync: the waiters are told, and what was acknowledged in the file is read again.
    async fn abandon(
        &self,
        segment: OpenSegment<W>,
        taken: Vec<(Job, u64)>,
        told: impl Fn() -> StoreError,
    ) {
        self.inner.shared.open_segment_is(None);
        self.inner.shared.void_all();
        self.inner.trust.borrow_mut().doubt(segment.number);
        self.inner.begin_doubt(segment.number);
        for (job, _) in taken {
            self.inner.shared.fail(job, told());
        }
        // Frames nobody was told of must not be found by a later start that cannot know. If this fails too, that start compares
        // them with their names.
        let _ = segment.file.set_len(segment.end).await;
        if let Ok(len) = segment.file.len().await {
            self.inner.shared.state.borrow_mut().disk_bytes += len.saturating_sub(segment.end);
        }
        self.inner
            .read_again(segment.number, &segment.entries)
            .await;
        self.inner.end_doubt();
    }

    /// Gives a segment its footer. Where there is no space even for that, it stays as it is until there is.
    async fn close(&mut self, segment: OpenSegment<W>) -> Result<(), StoreError> {
        let authors = self.inner.shared.state.borrow().authors.keys().to_vec();
        let footer = Footer {
            store: self.inner.shared.store,
            number: segment.number,
            commit: self.next_commit.saturating_sub(1),
            authors: &authors,
            entries: &segment.entries,
        };
        let world = &self.inner.world;
        match close_segment(world, segment.file.clone(), segment.end, &footer).await {
            Ok(end) => {
                self.inner.shared.count_sync(end - segment.end);
                self.is_closed(&segment, end).await;
                Ok(())
            }
            Err(Unwritten::Full) if cut(&segment).await.is_ok() => {
                self.segment = Some(segment);
                Err(StoreError::DiskFull)
            }
            Err(error) => {
                // Without a footer it is read frame by frame at the next start.
                tracing::error!(segment = segment.number, %error, "could not close a segment");
                self.abandon(segment, Vec::new(), || StoreError::DiskFailed)
                    .await;
                Ok(())
            }
        }
    }

    /// A closed segment that was written in this run, or read in it, and in which nothing is known to be damaged, is as good as read.
    async fn is_closed(&self, segment: &OpenSegment<W>, len: u64) {
        self.inner.shared.open_segment_is(None);
        let number = segment.number;
        let Some((verified, is_read)) = self.inner.trust.borrow().whole_since(number) else {
            return;
        };
        // The time of the last change stands only when nothing more is written.
        if let Ok(changed) = segment.file.changed().await {
            self.inner.trust.borrow_mut().found_whole(SegmentMark {
                number,
                len,
                changed,
                verified,
                is_read,
            });
        }
        self.inner.save_trust(MARKS_UNSAVED_MAX).await;
    }

    fn refuse_all(&self, error: &StoreError) {
        while let Some(job) = self.inner.shared.next_job(|_| true) {
            let told = match error {
                StoreError::SegmentsFull => StoreError::SegmentsFull,
                StoreError::DiskFull => StoreError::DiskFull,
                _ => StoreError::DiskFailed,
            };
            self.inner.shared.fail(job, told);
        }
    }
}

/// Cuts off what was written behind a segment's last commit, durably, so that no later start takes it for one.
async fn cut<W: World>(segment: &OpenSegment<W>) -> io::Result<()> {
    segment.file.set_len(segment.end).await?;
    segment.file.sync_data().await
}

/// How long the first waiter of a commit waits for others.
fn commit_wait(is_rotational: bool) -> Duration {
    Duration::from_millis(if is_rotational {
        COMMIT_WAIT_DISK_MS
    } else {
        COMMIT_WAIT_SSD_MS
    })
}

fn entry_of(job: &Job, offset: u64) -> Option<FooterEntry> {
    let frame: FrameType = job.frame();
    Some(FooterEntry {
        frame,
        author: u8::try_from(job.author.0).ok()?,
        payload_bytes: u32::try_from(job.payload().len()).ok()?,
        offset: u32::try_from(offset).ok()?,
        id: job.id,
    })
}
