//! The store of one keeper: put, have, get, and the heads of snapshots. Every yes is durable before it is given.
//!
//! Not here: who may ask (the session knows), where copies should go (placement), and giving back space (compact).

use std::collections::BTreeSet;
use std::rc::Rc;

use super::holding::{Inner, Word};
use super::queue::{What, stride_of};
use super::refuse::StoreError;
use super::room::Need;
use super::sets::SetIndex;
use super::table::prefix_of;
use super::writing::footer_room;
use crate::format::head::SignedHead;
use crate::format::message::Room;
use crate::format::record::{RecordHeader, id_of};
use crate::format::segment::FrameType;
use crate::terms::canary::{self, Canary};
use crate::terms::limits::{
    BLOCK_BYTES, FRAME_HEADER_BYTES, HEADS_OF_ONE_NUMBER_MAX, RECORD_BYTES_MAX,
};
use crate::terms::{ChunkId, Kind, PeerKey, SnapshotNumber, Stamp};
use crate::world::{Clock, World};

/// How large a store may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// Chunks the table has room for.
    pub table_chunks: usize,
    /// Bytes the segments may take; `None` is all the file system has.
    pub capacity_bytes: Option<u64>,
    /// Bytes of the chunks that one author may claim by putting them; `None` is no limit.
    pub quota_bytes_per_author: Option<u64>,
}

/// What a store says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreFigures {
    /// Chunks in the table, damaged ones included.
    pub chunks: usize,
    /// Chunks it has room for.
    pub chunks_max: usize,
    /// Bytes the table takes.
    pub table_bytes: usize,
    /// Chunks found not whole and not replaced since.
    pub damaged: u64,
    /// Segments that are believed to be whole because they were read, or written, lately.
    pub segments_verified: usize,
    /// The oldest such reading.
    pub verified_oldest: Option<Stamp>,
    /// Segments that were read again within the sweep period.
    pub segments_read: usize,
    /// The oldest such reading.
    pub read_oldest: Option<Stamp>,
    /// The sweep period.
    pub sweep_period_days: u64,
    /// Heads of snapshots.
    pub heads: usize,
    /// Segment files.
    pub segments: u32,
    /// Bytes of all segments.
    pub disk_bytes: u64,
    /// Bytes they may take.
    pub capacity_bytes: Option<u64>,
    /// Bytes of data that still find room.
    pub room_bytes: u64,
    /// Bytes one author may claim.
    pub quota_bytes_per_author: Option<u64>,
    /// Bytes the file system had left after the last commit.
    pub free_bytes: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Times a file was made durable since the start.
    pub fdatasyncs: u64,
    /// Chunks that somebody asked for by name since the start.
    pub asked: u64,
}

/// What the bytes of a store are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// All segments.
    pub held_bytes: u64,
    /// Records that are whole and that somebody claims.
    pub live_bytes: u64,
    /// Records that everybody who claimed them gave up, and that still wait to go.
    pub released_bytes: u64,
    /// What nobody claims: frames' ends, what was freed, what was replaced. Compacting gives back most of it.
    pub reclaimable_bytes: u64,
}

/// The store. Clones are the same store; when the last one is dropped it writes what waits and ends.
pub struct Store<W: World>(Rc<Door<W>>);

struct Door<W: World>(Rc<Inner<W>>);

impl<W: World> Clone for Store<W> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<W: World> Drop for Door<W> {
    fn drop(&mut self) {
        self.0.shared.begin_closing();
    }
}

impl<W: World> Store<W> {
    pub(super) fn of(inner: Rc<Inner<W>>) -> Self {
        Self(Rc::new(Door(inner)))
    }

    pub(super) fn inner(&self) -> &Inner<W> {
        &self.0.0
    }

    /// Keeps a record for an author on its own word; returns when record and claim are durable. One that is here already is only
    /// claimed.
    pub async fn put(
        &self,
        author: PeerKey,
        id: ChunkId,
        record: Rc<Vec<u8>>,
    ) -> Result<(), StoreError> {
        self.put_for(author, Word::Own, id, record).await
    }

    /// The same on somebody's word.
    pub async fn put_for(
        &self,
        author: PeerKey,
        word: Word,
        id: ChunkId,
        record: Rc<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let answer = self.keep((author, word), id, record).await;
        self.inner().met.note(author, &answer);
        answer
    }

    async fn keep(
        &self,
        (author, word): (PeerKey, Word),
        id: ChunkId,
        record: Rc<Vec<u8>>,
    ) -> Result<(), StoreError> {
        let inner = self.inner();
        let busy = inner.shared.enter();
        let frame_bytes = stride_of(record.len());
        let segment_room = inner.shared.sizes.segment_bytes - footer_room(1) - BLOCK_BYTES as u64;
        if record.is_empty() || record.len() > RECORD_BYTES_MAX || frame_bytes > segment_room {
            return Err(StoreError::NoRecord);
        }
        if id_of(&record) != id {
            return Err(StoreError::Damaged);
        }
        // A record of a later version is data to us: the held-back space is for what we know.
        let need = match RecordHeader::of(&record) {
            Ok(header) if header.kind != Kind::Data => Need::Index,
            Ok(_) | Err(_) => Need::Data,
        };
        let who = inner.author(author)?;
        let mut asked_again = false;
        let reading = inner.readers.enter();
        let answer = loop {
            let found = inner.find(&id).await?;
            // From here to the queue nothing waits, so what is there now is still so.
            let is_held = found.held.is_some() && inner.is_listed(&id);
            if is_held || inner.shared.is_pending(&id) {
                match inner.claim((who, author), word, id)? {
                    Some(answer) => break answer,
                    None => return Ok(()),
                }
            }
            // What replaces a damaged chunk is counted already.
            let checked = match inner.shared.check_room(frame_bytes, need, who) {
                Err(StoreError::QuotaFull) if found.damaged.is_some() => Ok(()),
                checked => checked,
            };
            match checked {
                Ok(()) => {
                    let replaces = found.damaged;
                    let what = What::Chunk { record, replaces };
                    inner.note_word(who, word);
                    break inner.shared.queue(what, need, (who, author), id)?;
                }
                Err(StoreError::DiskFull) if !asked_again => {
                    inner.refresh_free().await;
                    asked_again = true;
                }
                Err(error) => return Err(error),
            }
        };
        drop((busy, reading));
        answer.wait().await
    }

    /// Which of these are here, found by name on the disk; each yes is a durable claim of the author, on its own word.
    pub async fn have(&self, author: PeerKey, ids: &[ChunkId]) -> Result<Vec<bool>, StoreError> {
        self.have_for(author, Word::Own, ids).await
    }

    /// The same on somebody's word.
    pub async fn have_for(
        &self,
        author: PeerKey,
        word: Word,
        ids: &[ChunkId],
    ) -> Result<Vec<bool>, StoreError> {
        self.inner().shared.state.borrow_mut().asked += ids.len() as u64;
        let answer = self.look_for(author, word, ids).await;
        self.inner().met.note(author, &answer);
        answer
    }

    async fn look_for(
        &self,
        author: PeerKey,
        word: Word,
        ids: &[ChunkId],
    ) -> Result<Vec<bool>, StoreError> {
        let inner = self.inner();
        let busy = inner.shared.enter();
        let who = inner.author(author)?;
        let mut held = vec![false; ids.len()];
        let reading = inner.readers.enter();
        inner.find_many(ids, &mut held).await?;
        drop(reading);
        for (id, held) in ids.iter().zip(&mut held) {
            *held &= inner.is_listed(id);
        }
        let claimed = ids.iter().zip(&held).filter(|(_, held)| **held);
        // A name asked for many times is claimed once.
        let claimed: BTreeSet<ChunkId> = claimed.map(|(id, _)| *id).collect();
        let mut answers = Vec::new();
        for id in claimed {
            answers.extend(inner.claim((who, author), word, id)?);
        }
        drop(busy);
        for answer in answers {
            answer.wait().await?;
        }
        if canary::sings(Canary::HaveWhatIsNot) {
            held.fill(true);
        }
        Ok(held)
    }

    /// The record, if it is here and whole. One that is not is flagged: `have` says no to it, and a put replaces it. A store that is not
    /// where it was says neither yes nor no.
    pub async fn get(&self, id: ChunkId) -> Result<Option<Vec<u8>>, StoreError> {
        let inner = self.inner();
        let _reading = inner.readers.enter();
        for entry in inner.candidates(&id) {
            if entry.damaged {
                continue;
            }
            let location = entry.location;
            let whole = FRAME_HEADER_BYTES + entry.record_bytes as usize;
            let Some((header, record)) = inner.read_frame(location, whole).await? else {
                inner.flag(&id, location);
                continue;
            };
            if header.id != id && prefix_of(&header.id) == entry.prefix {
                continue;
            }
            let is_whole = id_of(&record) == id || canary::sings(Canary::SkipVerification);
            if header.frame == FrameType::Chunk && is_whole {
                return Ok(Some(record));
            }
            inner.flag(&id, location);
        }
        // What is not mounted says nothing of what is on it.
        match inner.is_at_home().await {
            true => Ok(None),
            false => Err(StoreError::DiskFailed),
        }
    }

    /// Keeps a snapshot's head that another Box has; the caller has checked its signature. One that is here already is fine, and so are a few
    /// that bear one number: which of them stands is not the store's to say. One that left on its author's word stays away.
    pub async fn put_head(&self, head: &SignedHead) -> Result<(), StoreError> {
        self.put_head_for(head, Word::Fellow).await
    }

    /// The same on somebody's word. The author's own brings back what left, and cancels all that was given up with it.
    pub async fn put_head_for(&self, head: &SignedHead, word: Word) -> Result<(), StoreError> {
        let answer = match word {
            Word::Own => self.take_back(head.head.author, head.head.number).await,
            Word::Fellow => Ok(()),
        };
        let answer = match answer {
            Ok(()) => self.keep_head(head, word).await,
            Err(error) => Err(error),
        };
        self.inner().met.note(head.head.author, &answer);
        answer
    }

    async fn keep_head(&self, head: &SignedHead, word: Word) -> Result<(), StoreError> {
        let inner = self.inner();
        let busy = inner.shared.enter();
        let author = head.head.author;
        let number = head.head.number;
        let bytes = head.encode();
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(StoreError::NoRecord);
        }
        let who = inner.author(author)?;
        let mut seen = 0;
        let mut others: Vec<SignedHead> = Vec::new();
        let reading = inner.readers.enter();
        loop {
            let commit = inner.shared.next_commit();
            if inner.shared.is_head_pending(who, number) {
                // Another of this number is being written: what it is must be known first.
                commit.await;
                continue;
            }
            let (places, is_forgotten) = {
                let state = inner.shared.state.borrow();
                let places = state.heads.at(who, number).to_vec();
                (places, state.is_forgotten(who, number))
            };
            if is_forgotten && word == Word::Fellow {
                return Err(StoreError::Forgotten);
            }
            if places.len() == seen {
                break;
            }
            seen = places.len();
            others.clear();
            for place in places {
                let Some(other) = inner.read_head(place.location).await? else {
                    continue;
                };
                if other == *head {
                    return Ok(());
                }
                if !others.contains(&other) {
                    others.push(other);
                }
            }
        }
        if others.len() >= HEADS_OF_ONE_NUMBER_MAX {
            return Err(StoreError::HeadConflict);
        }
        // Nothing has waited since the list was looked at.
        inner
            .shared
            .check_room(stride_of(bytes.len()), Need::Claim, who)?;
        let id = ChunkId(head.hash().0);
        let answer =
            inner
                .shared
                .queue(What::Head { bytes, number }, Need::Claim, (who, author), id)?;
        drop((busy, reading));
        answer.wait().await
    }

    /// Up to a hundred heads, oldest first: of one author after a number, or the newest of every author, and then those that bear the
    /// same numbers.
    pub async fn heads(
        &self,
        author: Option<PeerKey>,
        after: SnapshotNumber,
    ) -> Result<Vec<SignedHead>, StoreError> {
        let inner = self.inner();
        let mut heads: Vec<SignedHead> = Vec::new();
        let _reading = self.inner().readers.enter();
        match author {
            Some(author) => {
                let mut after = after;
                // A page of which nothing can be read is not the end.
                while heads.is_empty() {
                    let places = inner.shared.state.borrow().page_of_heads(author, after);
                    let Some(last) = places.last() else {
                        break;
                    };
                    after = last.number;
                    for place in places {
                        let head = inner.read_head(place.location).await?;
                        heads.extend(head.filter(|head| !heads.contains(head)));
                    }
                }
            }
            None => {
                heads = self.newest_of_all().await?;
            }
        }
        Ok(heads)
    }

    /// What it says of itself.
    #[must_use]
    pub fn figures(&self) -> StoreFigures {
        let trust = self.inner().trust.borrow();
        let now = self.inner().world.clock().wall();
        let (segments_read, read_oldest) = trust.covered(now);
        let shared = &self.inner().shared;
        let state = shared.state.borrow();
        StoreFigures {
            chunks: state.table.chunks(),
            chunks_max: state.table.chunks_max(),
            table_bytes: state.table.bytes(),
            damaged: state.damaged,
            segments_verified: trust.count(),
            verified_oldest: trust.oldest(),
            segments_read,
            read_oldest,
            sweep_period_days: trust.period_seconds() / (24 * 3600),
            heads: state.heads.count(),
            segments: state.segments,
            disk_bytes: state.disk_bytes,
            capacity_bytes: shared.limits.capacity_bytes,
            room_bytes: shared.limits.room_bytes(state.taken(), Need::Data),
            quota_bytes_per_author: shared.limits.quota_bytes_per_author,
            free_bytes: state.free_bytes,
            commits: state.commits,
            fdatasyncs: state.fdatasyncs,
            asked: state.asked,
        }
    }

    /// What there is room for now, told to one author.
    pub async fn room(&self, author: PeerKey) -> Room {
        // Other programs write to the same disk.
        self.inner().refresh_free().await;
        let figures = self.figures();
        let state = self.inner().shared.state.borrow();
        let yours_bytes = state
            .authors
            .find(author)
            .map_or(0, |who| state.claimed_by(who));
        Room {
            chunks: figures.chunks as u64,
            chunks_max: figures.chunks_max as u64,
            stored_bytes: figures.disk_bytes,
            room_bytes: figures.room_bytes,
            yours_bytes,
            quota_bytes: figures.quota_bytes_per_author,
            damaged: figures.damaged,
            unbroken: self.unbroken(),
        }
    }

    /// Bytes of the records each author claims.
    #[must_use]
    pub fn claimed_bytes(&self) -> Vec<(PeerKey, u64)> {
        let state = self.inner().shared.state.borrow();
        let keys = state.authors.keys().iter();
        keys.filter_map(|key| Some((*key, state.claimed_by(state.authors.find(*key)?))))
            .collect()
    }

    /// What the bytes of the store are.
    #[must_use]
    pub fn space(&self) -> Space {
        let state = self.inner().shared.state.borrow();
        let groups = state.groups.waiting();
        let mut space = Space {
            held_bytes: state.disk_bytes,
            ..Space::default()
        };
        let mut taken = 0;
        for entry in state.table.scan() {
            if entry.claims == SetIndex::EMPTY {
                continue;
            }
            let bytes = u64::from(entry.record_bytes);
            taken += bytes;
            if state.sets.standing(entry.claims, groups).next().is_none() {
                space.released_bytes += bytes;
            } else if !entry.damaged {
                space.live_bytes += bytes;
            }
        }
        space.reclaimable_bytes = space.held_bytes.saturating_sub(taken);
        space
    }

    /// Takes nothing new and returns when all that waits is written.
    pub async fn close(&self) {
        let shared = &self.inner().shared;
        shared.begin_closing();
        loop {
            let commit = shared.next_commit();
            if shared.has_writing_ended() {
                return;
            }
            commit.await;
        }
    }
}
