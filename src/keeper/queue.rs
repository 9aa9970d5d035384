//! What the store knows while it runs, and what waits to be written. One task writes; all others look here, put jobs here
//! and wait for their answers. Nothing here touches the disk.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use tokio::sync::{Notify, oneshot};

use super::heads::{HeadList, HeadPlace};
use super::refuse::StoreError;
use super::sets::{Authors, SetIndex, Sets};
use super::table::{Entry, Table, prefix_of};
use crate::format::segment::{FrameType, Location};
use crate::terms::limits::{
    BLOCK_BYTES, COMMIT_BYTES_MAX, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, HEADS_MAX, SEGMENT_BYTES,
    STORE_HELD_BACK_BYTES,
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
}

/// One frame to append, and who waits for it.
pub(super) struct Job {
    pub(super) what: What,
    pub(super) author: AuthorIndex,
    pub(super) key: PeerKey,
    pub(super) id: ChunkId,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

impl Job {
    pub(super) fn frame(&self) -> FrameType {
        match self.what {
            What::Chunk { .. } => FrameType::Chunk,
            What::Claim => FrameType::Claim,
            What::Head { .. } => FrameType::Head,
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        match &self.what {
            What::Chunk { record, .. } => record,
            What::Claim => &[],
            What::Head { bytes, .. } => bytes,
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

/// What the store knows.
pub(super) struct State {
    pub(super) table: Table,
    pub(super) authors: Authors,
    pub(super) sets: Sets,
    pub(super) heads: HeadList,
    /// Chunks flagged damaged.
    pub(super) damaged: u64,
    /// Bytes of all segments.
    pub(super) disk_bytes: u64,
    /// What the file system had left when it was last asked.
    pub(super) free_bytes: u64,
    pub(super) segments: u32,
    pub(super) commits: u64,
    pub(super) fdatasyncs: u64,
    queue: VecDeque<Job>,
    /// Bytes queued or being written.
    queued_bytes: u64,
    /// Chunks queued or being written.
    pending: BTreeSet<ChunkId>,
    /// Heads queued or being written.
    pending_heads: BTreeSet<(AuthorIndex, SnapshotNumber)>,
    closing: bool,
    writer_ended: bool,
}

impl State {
    pub(super) fn new(table_chunks: usize) -> Self {
        Self {
            table: Table::new(table_chunks),
            authors: Authors::default(),
            sets: Sets::new(),
            heads: HeadList::new(),
            damaged: 0,
            disk_bytes: 0,
            free_bytes: 0,
            segments: 0,
            commits: 0,
            fdatasyncs: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            pending: BTreeSet::new(),
            pending_heads: BTreeSet::new(),
            closing: false,
            writer_ended: false,
        }
    }

    /// Whether the author's claim of this chunk is durable already. A claim on a damaged record is not one on its successor.
    pub(super) fn is_claimed(&self, id: &ChunkId, author: AuthorIndex) -> bool {
        self.table
            .matches(id)
            .any(|entry| !entry.damaged && self.sets.contains(entry.claims, author))
    }

    /// Adds an author's claim to all chunks that may be meant: a claim too many only keeps something longer.
    pub(super) fn claim(&mut self, id: &ChunkId, author: AuthorIndex) -> Result<bool, StoreError> {
        let mut any = false;
        let places: heapless::Vec<Entry, 8> = self.table.matches(id).take(8).collect();
        for entry in places {
            let claims = self
                .sets
                .with(entry.claims, author)
                .ok_or(StoreError::TableFull)?;
            let noted = self
                .table
                .update(id, entry.location, |entry| entry.claims = claims);
            // A yes speaks of a whole chunk: one that is damaged keeps the claim for its successor, but gives no yes.
            any |= noted && !entry.damaged;
        }
        Ok(any)
    }

    /// Enters a durable chunk: new, or in the place of a damaged one.
    pub(super) fn enter(
        &mut self,
        id: &ChunkId,
        author: AuthorIndex,
        location: Location,
        record_bytes: u32,
        replaces: Option<Location>,
    ) -> Result<(), StoreError> {
        if let Some(old) = replaces {
            let mut was_damaged = false;
            let replaced = self.table.update(id, old, |entry| {
                was_damaged = entry.damaged;
                entry.location = location;
                entry.record_bytes = record_bytes;
                entry.damaged = false;
            });
            self.damaged -= u64::from(was_damaged);
            if replaced {
                self.claim(id, author)?;
                return Ok(());
            }
        }
        let claims = self
            .sets
            .with(SetIndex::EMPTY, author)
            .ok_or(StoreError::TableFull)?;
        let entry = Entry {
            prefix: prefix_of(id),
            location,
            record_bytes,
            damaged: false,
            holders: SetIndex::EMPTY,
            claims,
        };
        self.table.insert(entry).map_err(|_| StoreError::TableFull)
    }
}

/// What all of the store's tasks share.
pub(super) struct Shared {
    pub(super) store: StoreId,
    pub(super) sizes: Sizes,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) state: RefCell<State>,
    /// Calls that may still put something into the queue.
    busy: Cell<usize>,
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
pub(super) struct Answer(oneshot::Receiver<Result<(), StoreError>>);

impl Answer {
    pub(super) async fn wait(self) -> Result<(), StoreError> {
        // A writer that is gone without an answer wrote nothing that may be relied on.
        self.0.await.unwrap_or(Err(StoreError::DiskFailed))
    }
}

impl Shared {
    pub(super) fn new(
        store: StoreId,
        sizes: Sizes,
        capacity_bytes: Option<u64>,
        state: State,
    ) -> Self {
        Self {
            store,
            sizes,
            capacity_bytes,
            state: RefCell::new(state),
            busy: Cell::new(0),
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

    /// Whether so many more bytes of a frame find room; data must leave some for what describes it.
    pub(super) fn has_room(&self, frame_bytes: u64, is_data: bool) -> bool {
        let state = self.state.borrow();
        let block = BLOCK_BYTES as u64;
        let held_back = if is_data {
            self.sizes.held_back_bytes
        } else {
            block
        };
        let wanted = state.queued_bytes + frame_bytes + block + held_back;
        let given = self
            .capacity_bytes
            .is_none_or(|capacity| state.disk_bytes + wanted <= capacity);
        given && wanted <= state.free_bytes
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
        author: AuthorIndex,
        key: PeerKey,
        id: ChunkId,
    ) -> Result<Answer, StoreError> {
        let mut state = self.state.borrow_mut();
        if state.closing {
            return Err(StoreError::Closed);
        }
        match &what {
            What::Chunk { replaces, .. } => {
                let coming = state.table.chunks() + state.pending.len();
                if replaces.is_none() && coming >= state.table.chunks_max() {
                    return Err(StoreError::TableFull);
                }
                state.pending.insert(id);
            }
            What::Claim => {}
            What::Head { number, .. } => {
                if state.heads.count() + state.pending_heads.len() >= HEADS_MAX {
                    return Err(StoreError::HeadsFull);
                }
                state.pending_heads.insert((author, *number));
            }
        }
        let (done, told) = oneshot::channel();
        let job = Job {
            what,
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
                match state.heads.insert(head) {
                    true => Ok(()),
                    false => Err(StoreError::HeadsFull),
                }
            }
        };
        drop(state);
        // Whoever asked may have gone: what is durable stays.
        let _ = job.done.send(result);
    }

    /// A job was not carried out.
    pub(super) fn fail(&self, job: Job, error: StoreError) {
        self.settle(&mut self.state.borrow_mut(), &job);
        let _ = job.done.send(Err(error));
    }

    fn settle(&self, state: &mut State, job: &Job) {
        state.queued_bytes -= job.stride();
        match &job.what {
            What::Chunk { .. } => {
                state.pending.remove(&job.id);
            }
            What::Claim => {}
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
