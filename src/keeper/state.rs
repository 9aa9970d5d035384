//! What the store knows while it runs: the table and the lists beside it, what they count, and what waits to be written.
//! Changed only where nothing waits; nothing here touches the disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::groups::Groups;
use super::heads::{HeadList, HeadPlace};
use super::queue::Job;
use super::refuse::StoreError;
use super::remote::HEADS_IN_AN_ANSWER_MAX;
use super::room::Taken;
use super::sets::{Authors, SetIndex, Sets};
use super::table::{Entry, Table, prefix_of};
use crate::format::segment::Location;
use crate::terms::limits::{HEADS_MAX, MEMBERS_MAX};
use crate::terms::{AuthorIndex, ChunkId, PeerKey, SnapshotNumber};

/// What the store knows.
pub(super) struct State {
    pub(super) table: Table,
    pub(super) authors: Authors,
    pub(super) sets: Sets,
    pub(super) heads: HeadList,
    /// What authors gave up.
    pub(super) groups: Groups,
    /// Chunks flagged damaged.
    pub(super) damaged: u64,
    /// Bytes of the records each author claims.
    pub(super) claimed_bytes: [u64; MEMBERS_MAX],
    /// Of these, bytes that wait to be written.
    pub(super) coming_bytes: [u64; MEMBERS_MAX],
    /// Bytes of all segments.
    pub(super) disk_bytes: u64,
    /// What the file system had left when it was last asked, and what is held back on it.
    pub(super) free_bytes: u64,
    pub(super) segments: u32,
    pub(super) commits: u64,
    pub(super) fdatasyncs: u64,
    pub(super) asked: u64,
    pub(super) queue: VecDeque<Job>,
    /// Bytes queued or being written.
    pub(super) queued_bytes: u64,
    /// Chunks queued or being written.
    pub(super) pending: BTreeSet<ChunkId>,
    /// Chunks whose claims are queued or being written, and how many of them.
    pub(super) pending_claims: BTreeMap<ChunkId, u32>,
    /// Heads queued or being written.
    pub(super) pending_heads: BTreeSet<(AuthorIndex, SnapshotNumber)>,
    pub(super) closing: bool,
    pub(super) writer_ended: bool,
}

impl State {
    pub(super) fn new(table_chunks: usize) -> Self {
        Self {
            table: Table::new(table_chunks),
            authors: Authors::default(),
            sets: Sets::new(),
            heads: HeadList::new(),
            groups: Groups::new(),
            damaged: 0,
            claimed_bytes: [0; MEMBERS_MAX],
            coming_bytes: [0; MEMBERS_MAX],
            disk_bytes: 0,
            free_bytes: 0,
            segments: 0,
            commits: 0,
            fdatasyncs: 0,
            asked: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            pending: BTreeSet::new(),
            pending_claims: BTreeMap::new(),
            pending_heads: BTreeSet::new(),
            closing: false,
            writer_ended: false,
        }
    }

    /// Adds an author's claim to all chunks that may be meant; whether a whole one is among them.
    pub(super) fn claim(&mut self, id: &ChunkId, author: AuthorIndex) -> Result<bool, StoreError> {
        self.add_claim(id, author).ok_or(StoreError::TableFull)
    }

    /// Whether an author's claim of a chunk finds a place. Sets it makes may be used by others too.
    pub(super) fn can_claim(&mut self, id: &ChunkId, author: AuthorIndex) -> bool {
        let sets = &mut self.sets;
        self.table
            .matches(id)
            .take(8)
            .all(|entry| sets.with(entry.claims, author).is_some())
    }

    /// Whether a new chunk of an author finds a place.
    pub(super) fn can_enter(&mut self, id: &ChunkId, author: AuthorIndex) -> bool {
        self.table.has_place(id) && self.sets.with(SetIndex::EMPTY, author).is_some()
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
        self.table
            .insert(entry)
            .map_err(|_| StoreError::TableFull)?;
        self.count_claim(author, record_bytes);
        Ok(())
    }

    /// A chunk of which a copy stands elsewhere now, whole, counts there. False if the table has it somewhere else already.
    pub(super) fn moved(&mut self, id: &ChunkId, from: Location, to: Location) -> bool {
        let mut was_damaged = false;
        let is_moved = self.table.update(id, from, |entry| {
            was_damaged = entry.damaged;
            entry.location = to;
            entry.damaged = false;
        });
        self.damaged -= u64::from(was_damaged);
        is_moved
    }

    /// Takes out what a segment has that nobody claims. False, and nothing is changed, if it has anything that counts.
    pub(super) fn drop_segment(&mut self, number: u32) -> bool {
        let there = self.table.in_segment(number);
        let counts = |(id, place): &(ChunkId, Location)| {
            let is_waited_for =
                |(waiting, _): (&ChunkId, &u32)| prefix_of(waiting) == prefix_of(id);
            let mut here = self
                .table
                .matches(id)
                .filter(|entry| entry.location == *place);
            here.any(|entry| entry.claims != SetIndex::EMPTY)
                || self.pending_claims.iter().any(is_waited_for)
        };
        if there.iter().any(counts) || self.heads.has_segment(number) {
            return false;
        }
        for (id, place) in there {
            let was_damaged = self
                .table
                .matches(&id)
                .any(|entry| entry.location == place && entry.damaged);
            self.damaged -= u64::from(was_damaged);
            self.table.remove(&id, place);
        }
        true
    }

    /// The next heads of an author after a number, a hundred or so: the last number is there with all its heads.
    pub(super) fn page_of_heads(&self, author: PeerKey, after: SnapshotNumber) -> Vec<HeadPlace> {
        let Some(who) = self.authors.find(author) else {
            return Vec::new();
        };
        let all = self.heads.after(who, after);
        let mut end = all.len().min(HEADS_IN_AN_ANSWER_MAX);
        if let Some(next) = all.get(end) {
            let before = all[..end].partition_point(|head| head.number < next.number);
            // More heads of one number than an answer has room for are somebody's mischief.
            end = if before > 0 { before } else { end };
        }
        all[..end].to_vec()
    }

    /// Whether an author may have one more head: never more than what is left for the others.
    pub(super) fn has_place_for_head(&self, author: AuthorIndex) -> bool {
        let pending = self.pending_heads.iter();
        let pending = pending.filter(|(whose, _)| *whose == author).count();
        let taken = self.heads.count() + self.pending_heads.len();
        self.heads.of(author).len() + pending < HEADS_MAX.saturating_sub(taken)
    }

    /// Bytes of the records an author claims, those that wait to be written included.
    pub(super) fn claimed_by(&self, author: AuthorIndex) -> u64 {
        let at = usize::from(author.0);
        let count = |bytes: &[u64; MEMBERS_MAX]| bytes.get(at).copied().unwrap_or(0);
        count(&self.claimed_bytes) + count(&self.coming_bytes)
    }

    /// What is taken, queued and free.
    pub(super) fn taken(&self) -> Taken {
        Taken {
            disk_bytes: self.disk_bytes,
            queued_bytes: self.queued_bytes,
            free_bytes: self.free_bytes,
        }
    }

    fn count_claim(&mut self, author: AuthorIndex, record_bytes: u32) {
        if let Some(bytes) = self.claimed_bytes.get_mut(usize::from(author.0)) {
            *bytes += u64::from(record_bytes);
        }
    }
}
