//! What waits to be written, and whether there is room for it. One task writes; all others put jobs here and wait for their
//! answers. Nothing here touches the disk.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};

use super::heads::HeadPlace;
use super::refuse::StoreError;
use super::room::{Limits, Need, table_room};
use super::state::State;
use crate::format::record::id_of;
use crate::format::release::{Freed, Release};
use crate::format::segment::{FrameType, Location};
use crate::terms::limits::{
    COMMIT_BYTES_MAX, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, SEGMENT_BYTES, STORE_HELD_BACK_BYTES,
};
use crate::terms::{AuthorIndex, ChunkId, PeerKey, SnapshotNumber, StoreId};

/// Sizes that tests make small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) segment_bytes: u64,
    pub(super) commit_bytes_max: u64,
    pub(super) held_back_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            commit_bytes_max: COMMIT_BYTES_MAX,
            held_back_bytes: STORE_HELD_BACK_BYTES,
        }
    }
}

/// What is to be appended.
pub(super) enum What {
    /// A record; `replaces` is the place of a damaged one of the same name.
    Chunk {
        record: Rc<Vec<u8>>,
        replaces: Option<Location>,
    },
    /// An author's claim of a chunk that is here or before it in the queue.
    Claim,
    /// An encoded head.
    Head {
        bytes: Vec<u8>,
        number: SnapshotNumber,
    },
    /// An author's release, as it was noted, and when that was in seconds of the keeper's life.
    Release {
        bytes: Vec<u8>,
        group: u64,
        at: u64,
        release: Box<Release>,
    },
    /// What is an author's no more. True when it was queued.
    Freed { bytes: Vec<u8>, freed: Box<Freed> },
    /// A record, or a head, that stands elsewhere in the store already: whoever queued it says when the new place counts.
    Again {
        frame: FrameType,
        bytes: Rc<Vec<u8>>,
    },
}

/// One frame to append, and who waits for it.
pub(super) struct Job {
    pub(super) what: What,
    pub(super) need: Need,
    pub(super) author: AuthorIndex,
    pub(super) key: PeerKey,
    pub(super) id: ChunkId,
    pub(super) done: oneshot::Sender<Result<Location, StoreError>>,
}

impl Job {
    pub(super) fn frame(&self) -> FrameType {
        match self.what {
            What::Chunk { .. } => FrameType::Chunk,
            What::Claim => FrameType::Claim,
            What::Head { .. } => FrameType::Head,
            What::Release { .. } => FrameType::Release,
            What::Freed { .. } => FrameType::Freed,
            What::Again { frame, .. } => frame,
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        match &self.what {
            What::Chunk { record, .. } => record,
            What::Claim => &[],
            What::Head { bytes, .. } | What::Release { bytes, .. } | What::Freed { bytes, .. } => {
                bytes
            }
            What::Again { bytes, .. } => bytes,
        }
    }

    pub(super) fn stride(&self) -> u64 {
        stride_of(self.payload().len())
    }
}

/// Bytes a frame with this payload takes.
pub(super) fn stride_of(payload_bytes: usize) -> u64 {
    (FRAME_HEADER_BYTES as u64 + payload_bytes as u64).next_multiple_of(FRAME_ALIGN_BYTES)
}

/// What all of the store's tasks share.
pub(super) struct Shared {
    pub(super) store: StoreId,
    pub(super) sizes: Sizes,
    pub(super) limits: Limits,
    pub(super) state: RefCell<State>,
    /// Calls that may still put something into the queue.
    busy: Cell<usize>,
    /// The segment that is written to and where its last commit ends.
    open: Cell<Option<(u32, u64)>>,
    queue_grew: Notify,
    commit_ended: Notify,
}

/// Marks a call that may still put something into the queue: the writer then waits a little for company.
pub(super) struct Busy<'a>(&'a Shared);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        self.0.queue_grew.notify_one();
    }
}

/// The answer to a queued job.
pub(super) struct Answer(oneshot::Receiver<Result<Location, StoreError>>);

impl Answer {
    pub(super) async fn wait(self) -> Result<(), StoreError> {
        self.place().await.map(drop)
    }

    /// Where it stands now.
    pub(super) async fn place(self) -> Result<Location, StoreError> {
        // A writer that is gone without an answer wrote nothing that may be relied on.
        self.0.await.unwrap_or(Err(StoreError::DiskFailed))
    }
}

impl Shared {
    pub(super) fn new(store: StoreId, sizes: Sizes, limits: Limits, state: State) -> Self {
        Self {
            store,
            sizes,
            limits,
            state: RefCell::new(state),
            busy: Cell::new(0),
            open: Cell::new(None),
            queue_grew: Notify::new(),
            commit_ended: Notify::new(),
        }
    }

    pub(super) fn enter(&self) -> Busy<'_> {
        self.busy.set(self.busy.get() + 1);
        Busy(self)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.get() > 0
    }

    /// Whether so many more bytes of an author's frame find room.
    pub(super) fn check_room(
        &self,
        frame_bytes: u64,
        need: Need,
        author: AuthorIndex,
    ) -> Result<(), StoreError> {
        let state = self.state.borrow();
        if state.closing {
            return Err(StoreError::Closed);
        }
        if frame_bytes > self.limits.room_bytes(state.taken(), need) {
            return Err(StoreError::DiskFull);
        }
        let left = self.limits.quota_left(state.claimed_by(author), need);
        if left.is_some_and(|left| frame_bytes > left) {
            return Err(StoreError::QuotaFull);
        }
        Ok(())
    }

    /// The segment that is written to and where its last commit ends.
    pub(super) fn open_segment(&self) -> Option<(u32, u64)> {
        self.open.get()
    }

    /// The writer says which that is.
    pub(super) fn open_segment_is(&self, open: Option<(u32, u64)>) {
        self.open.set(open);
    }

    /// A file was made durable, longer by so much.
    pub(super) fn count_sync(&self, bytes: u64) {
        let mut state = self.state.borrow_mut();
        state.fdatasyncs += 1;
        state.disk_bytes += bytes;
    }

    pub(super) fn is_pending(&self, id: &ChunkId) -> bool {
        self.state.borrow().pending.contains(id)
    }

    pub(super) fn is_head_pending(&self, author: AuthorIndex, number: SnapshotNumber) -> bool {
        let state = self.state.borrow();
        state.pending_heads.contains(&(author, number))
    }

    /// Queues a frame if the lists it will stand in have room for it.
    pub(super) fn queue(
        &self,
        what: What,
        need: Need,
        (author, key): (AuthorIndex, PeerKey),
        id: ChunkId,
    ) -> Result<Answer, StoreError> {
        let mut state = self.state.borrow_mut();
        if state.closing {
            return Err(StoreError::Closed);
        }
        match &what {
            What::Chunk { record, replaces } => {
                let coming = state.table.chunks() + state.pending.len();
                let room = table_room(coming, state.table.chunks_max(), need);
                // Asked before anything is written: a frame that is durable and refused would be found by the next start.
                let fits = match replaces {
                    Some(_) => state.can_claim(&id, author),
                    None => room > 0 && state.can_enter(&id, author),
                };
                if !fits {
                    return Err(StoreError::TableFull);
                }
                state.pending.insert(id);
                state.coming_bytes[usize::from(author.0)] += record.len() as u64;
            }
            What::Claim if !state.can_claim(&id, author) => return Err(StoreError::TableFull),
            What::Claim => *state.pending_claims.entry(id).or_default() += 1,
            What::Again { .. } => {}
            What::Release { .. } => state.groups.of_mut(author).coming += 1,
            What::Freed { freed, .. } => {
                state.groups.of_mut(author).leaving += u32::from(!freed.numbers.is_empty());
                state.groups.noting += u32::from(freed.over.is_some());
            }
            What::Head { number, .. } => {
                if !state.has_place_for_head(author) {
                    return Err(StoreError::HeadsFull);
                }
                state.pending_heads.insert((author, *number));
            }
        }
        let (done, told) = oneshot::channel();
        let job = Job {
            what,
            need,
            author,
            key,
            id,
            done,
        };
        state.queued_bytes += job.stride();
        state.queue.push_back(job);
        self.queue_grew.notify_one();
        Ok(Answer(told))
    }

    /// Queues a note of what is an author's no more. What it says must be true now, and nothing may wait between finding that out and
    /// this.
    pub(super) fn note(&self, author: AuthorIndex, freed: Freed) -> Result<Answer, StoreError> {
        let key = self.state.borrow().authors.key(author);
        let key = key.ok_or(StoreError::TableFull)?;
        let bytes = freed.encode();
        self.check_room(stride_of(bytes.len()), Need::Claim, author)?;
        let id = id_of(&bytes);
        let freed = Box::new(freed);
        self.queue(What::Freed { bytes, freed }, Need::Claim, (author, key), id)
    }

    /// An author's group is over, and nothing of it goes: at once, and after a start as soon as the note is durable. `None` if there is no
    /// group.
    pub(super) fn void(&self, author: AuthorIndex) -> Option<Result<Answer, StoreError>> {
        let group = self.state.borrow_mut().end_group(author)?;
        Some(self.note_over(author, group))
    }

    /// Notes that a group is over. What could not be noted is tried again.
    pub(super) fn note_over(&self, author: AuthorIndex, group: u64) -> Result<Answer, StoreError> {
        let over = Freed {
            over: Some(group),
            ..Freed::default()
        };
        self.note(author, over).inspect_err(|_| {
            self.state.borrow_mut().groups.unnoted.push((author, group));
        })
    }

    /// Something that the log says may be lost, perhaps a claim that was said again: nothing that was given up goes.
    pub(super) fn void_all(&self) {
        let waiting = {
            let state = self.state.borrow();
            state.groups.authors(state.groups.waiting())
        };
        for author in waiting {
            // Whether it could be noted is seen to.
            let _told = self.void(author);
        }
    }

    /// Bytes of what waits and is no data.
    pub(super) fn queued_for_sure(&self) -> u64 {
        let state = self.state.borrow();
        let sure = state.queue.iter().filter(|job| job.need != Need::Data);
        sure.map(Job::stride).sum()
    }

    /// Waits until there is something to write; false when the store closes and all is written.
    pub(super) async fn wait_for_work(&self) -> bool {
        loop {
            {
                let state = self.state.borrow();
                if !state.queue.is_empty() {
                    return true;
                }
                if state.closing {
                    return false;
                }
            }
            self.queue_grew.notified().await;
        }
    }

    /// Waits until a call ended or something was queued.
    pub(super) async fn wait_for_company(&self) {
        self.queue_grew.notified().await;
    }

    /// The next job, if it is one that `fits`.
    pub(super) fn next_job(&self, fits: impl FnOnce(&Job) -> bool) -> Option<Job> {
        let mut state = self.state.borrow_mut();
        if !fits(state.queue.front()?) {
            return None;
        }
        state.queue.pop_front()
    }

    /// Puts jobs back to the front, in their order.
    pub(super) fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.state.borrow_mut();
        for job in jobs.into_iter().rev() {
            state.queue.push_front(job);
        }
    }

    pub(super) fn first_job<T>(&self, look: impl FnOnce(&Job) -> T) -> Option<T> {
        self.state.borrow().queue.front().map(look)
    }

    pub(super) fn is_queue_empty(&self) -> bool {
        self.state.borrow().queue.is_empty()
    }

    /// A job's frame is durable at `location`: it counts from now on, and whoever waits is told.
    pub(super) fn fulfil(&self, job: Job, location: Location) {
        let mut state = self.state.borrow_mut();
        self.settle(&mut state, &job);
        let result = match &job.what {
            What::Chunk { record, replaces } => u32::try_from(record.len())
                .map_err(|_| StoreError::NoRecord)
                .and_then(|len| state.enter(&job.id, job.author, location, len, *replaces)),
            What::Claim => match state.claim(&job.id, job.author) {
                Ok(true) => Ok(()),
                // The chunk was before it in the queue and failed.
                Ok(false) => Err(StoreError::DiskFailed),
                Err(error) => Err(error),
            },
            What::Head { number, .. } => {
                let head = HeadPlace {
                    author: job.author,
                    number: *number,
                    location,
                };
                state.groups.of_mut(job.author).forgotten.remove(*number);
                match state.heads.insert(head) {
                    true => Ok(()),
                    false => Err(StoreError::HeadsFull),
                }
            }
            What::Release {
                group, at, release, ..
            } => {
                state.note_release(job.author, *group, *at, release);
                Ok(())
            }
            What::Freed { freed, .. } => {
                state.note_freed(job.author, freed);
                Ok(())
            }
            What::Again { frame, .. } => {
                // A start takes it for a claim.
                if *frame == FrameType::Chunk {
                    state.say_again(&job.id, job.author);
                }
                Ok(())
            }
        };
        drop(state);
        // Whoever asked may have gone: what is durable stays.
        let _ = job.done.send(result.map(|()| location));
    }

    /// A job was not carried out.
    pub(super) fn fail(&self, job: Job, error: StoreError) {
        let mut state = self.state.borrow_mut();
        self.settle(&mut state, &job);
        if let What::Freed { freed, .. } = &job.what {
            let over = freed.over.map(|group| (job.author, group));
            state.groups.unnoted.extend(over);
        }
        drop(state);
        let _ = job.done.send(Err(error));
    }

    fn settle(&self, state: &mut State, job: &Job) {
        state.queued_bytes -= job.stride();
        match &job.what {
            What::Chunk { record, .. } => {
                state.pending.remove(&job.id);
                state.coming_bytes[usize::from(job.author.0)] -= record.len() as u64;
            }
            What::Claim => {
                if let Some(waiting) = state.pending_claims.get_mut(&job.id) {
                    *waiting -= 1;
                    if *waiting == 0 {
                        state.pending_claims.remove(&job.id);
                    }
                }
            }
            What::Again { .. } => {}
            What::Release { .. } => {
                let coming = &mut state.groups.of_mut(job.author).coming;
                *coming = coming.saturating_sub(1);
            }
            What::Freed { freed, .. } => {
                let leaving = &mut state.groups.of_mut(job.author).leaving;
                *leaving = leaving.saturating_sub(u32::from(!freed.numbers.is_empty()));
                let noting = &mut state.groups.noting;
                *noting = noting.saturating_sub(u32::from(freed.over.is_some()));
            }
            What::Head { number, .. } => {
                state.pending_heads.remove(&(job.author, *number));
            }
        }
    }

    pub(super) fn end_commit(&self) {
        self.commit_ended.notify_waiters();
    }

    /// Waits for the end of the commit under way or the next one. The future counts from its making, not its first poll.
    pub(super) fn next_commit(&self) -> impl Future<Output = ()> {
        self.commit_ended.notified()
    }

    /// Nothing new is taken from now on.
    pub(super) fn begin_closing(&self) {
        self.state.borrow_mut().closing = true;
        self.queue_grew.notify_one();
    }

    pub(super) fn end_writing(&self) {
        self.state.borrow_mut().writer_ended = true;
        self.commit_ended.notify_waiters();
    }

    pub(super) fn has_writing_ended(&self) -> bool {
        self.state.borrow().writer_ended
    }
}
