//! What authors gave up and what is not effective yet, and what became of their claims: the same rules while the store runs and while
//! its log is read at a start, so that both come to the same. Changed only where nothing waits; nothing here touches the disk.
//!
//! Invariants:
//! - An author has one group at a time. While it waits its chunks are claimed as before, and its snapshots are listed.
//! - A claim that is said again stands again, whatever the group says.
//! - What a group that is over left in the table counts for nothing, and is cleared before another begins.
//! - Every doubt is for keeping.

use super::sets::SetIndex;
use super::state::State;
use super::table::{Entry, PREFIX_BYTES, Prefix, prefix_of};
use crate::format::release::{Freed, Release};
use crate::format::runs::Runs;
use crate::terms::canary::{self, Canary};
use crate::terms::limits::{MEMBERS_MAX, RELEASE_RUNS_MAX};
use crate::terms::{AuthorIndex, ChunkId, SnapshotNumber};

/// Entries of an equal prefix that are looked at; more than one is a wonder already.
const MATCHES_MAX: usize = 8;

/// What an author gave up together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Drawn when it began.
    pub(super) id: u64,
    /// Snapshots that leave.
    pub(super) numbers: Runs,
    /// When its first release came, in seconds of the keeper's life.
    pub(super) began: u64,
    /// When its last one came.
    pub(super) last: u64,
}

/// What is known of one author's.
#[derive(Debug, Default)]
pub(super) struct OfAuthor {
    pub(super) group: Option<Group>,
    /// Snapshots that left.
    pub(super) forgotten: Runs,
    /// Chunks that wait, and the bytes of their records.
    pub(super) chunks: u64,
    pub(super) bytes: u64,
    /// The author's own claims in this run.
    pub(super) claims: u64,
    /// Releases that are queued or being written.
    pub(super) coming: u32,
    /// Notes that snapshots leave which are queued or being written.
    pub(super) leaving: u32,
}

/// All of them, by the authors' numbers.
pub(super) struct Groups {
    of: Vec<OfAuthor>,
    /// Authors that have a group.
    waiting: u64,
    /// Authors of which the table still has marks of a group that is over.
    stale: u64,
    /// Groups that are over, which could not be noted durably.
    pub(super) unnoted: Vec<(AuthorIndex, u64)>,
    /// Notes that a group is over which are queued or being written.
    pub(super) noting: u32,
    /// Where the counts of claims begin.
    pub(super) drawn: u64,
    /// While a store is being opened, chunks that nobody claims stay listed: a claim may come behind.
    pub(super) is_loading: bool,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            of: std::iter::repeat_with(OfAuthor::default)
                .take(MEMBERS_MAX)
                .collect(),
            waiting: 0,
            stale: 0,
            unnoted: Vec::new(),
            noting: 0,
            drawn: 0,
            is_loading: true,
        }
    }

    pub(super) fn of(&self, author: AuthorIndex) -> &OfAuthor {
        &self.of[usize::from(author.0)]
    }

    pub(super) fn of_mut(&mut self, author: AuthorIndex) -> &mut OfAuthor {
        &mut self.of[usize::from(author.0)]
    }

    pub(super) fn is_waiting(&self, author: AuthorIndex) -> bool {
        self.waiting & 1 << author.0 != 0
    }

    pub(super) fn is_stale(&self, author: AuthorIndex) -> bool {
        self.stale & 1 << author.0 != 0
    }

    /// Authors that have a group, as a mask.
    pub(super) const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Authors whose marks are to be cleared, or that have a group.
    pub(super) fn authors(&self, mask: u64) -> impl Iterator<Item = AuthorIndex> + use<> {
        (0..64)
            .filter(move |at| mask >> at & 1 == 1)
            .map(AuthorIndex)
    }

    pub(super) const fn stale(&self) -> u64 {
        self.stale
    }

    pub(super) fn is_clear(&mut self, author: AuthorIndex) {
        self.stale &= !(1 << author.0);
    }

    /// Whether a group of an author is over and nothing durable says so yet.
    pub(super) fn is_unnoted(&self, author: AuthorIndex) -> bool {
        self.unnoted.iter().any(|(whose, _)| *whose == author)
    }

    /// What a release must name. It is another one after each claim by the author itself.
    pub(super) fn basis(&self, author: AuthorIndex) -> u64 {
        let of = self.of(author);
        self.drawn.wrapping_add(of.claims)
    }

    /// Ends a group; the table's marks of it count no more.
    fn end(&mut self, author: AuthorIndex) -> Option<u64> {
        let bit = 1 << author.0;
        let of = self.of_mut(author);
        let group = of.group.take()?;
        let left = std::mem::take(&mut of.chunks);
        of.bytes = 0;
        self.waiting &= !bit;
        if left > 0 {
            self.stale |= bit;
        }
        Some(group.id)
    }
}

/// A name of which only the beginning is right.
pub(super) fn name_from(prefix: &Prefix, rest: u8) -> ChunkId {
    let mut id = [rest; 32];
    id[..PREFIX_BYTES].copy_from_slice(prefix);
    ChunkId(id)
}

impl State {
    fn matching(&self, prefix: &Prefix) -> heapless::Vec<Entry, MATCHES_MAX> {
        let id = name_from(prefix, 0);
        self.table.matches(&id).take(MATCHES_MAX).collect()
    }

    /// Whether an author's claim waits to be taken out.
    pub(super) fn waits(&self, claims: SetIndex, author: AuthorIndex) -> bool {
        self.groups.is_waiting(author) && self.sets.has_given_up(claims, author)
    }

    /// Whether the author's claim of this chunk is durable already and nothing takes it out. A claim on a damaged record is not one on
    /// its successor.
    pub(super) fn is_claimed(&self, id: &ChunkId, author: AuthorIndex) -> bool {
        // What is being given up at this moment is in no list yet: a claim behind it must be said.
        let is_safe = self.groups.of(author).coming == 0;
        self.table.matches(id).any(|entry| {
            let waits = self.waits(entry.claims, author) || !is_safe;
            let waits = waits && !canary::sings(Canary::ClaimWithoutCancelling);
            !entry.damaged && self.sets.contains(entry.claims, author) && !waits
        })
    }

    /// Whether an author's claim of this chunk is here, given up or not.
    pub(super) fn has_claim(&self, id: &ChunkId, author: AuthorIndex) -> bool {
        let mut there = self.table.matches(id).filter(|entry| !entry.damaged);
        there.any(|entry| self.sets.contains(entry.claims, author))
    }

    /// The set of an entry changes; what is counted of an author follows.
    fn claims_are(&mut self, entry: &Entry, author: AuthorIndex, claims: SetIndex) -> bool {
        let id = name_from(&entry.prefix, 0);
        let had = self.sets.contains(entry.claims, author);
        let waited = self.waits(entry.claims, author);
        let noted = self
            .table
            .update(&id, entry.location, |entry| entry.claims = claims);
        if !noted {
            return false;
        }
        let has = self.sets.contains(claims, author);
        let waits = self.waits(claims, author);
        let bytes = u64::from(entry.record_bytes);
        if let Some(claimed) = self.claimed_bytes.get_mut(usize::from(author.0)) {
            match (had, has) {
                (false, true) => *claimed += bytes,
                (true, false) => *claimed = claimed.saturating_sub(bytes),
                (true, true) | (false, false) => {}
            }
        }
        let of = self.groups.of_mut(author);
        match (waited, waits) {
            (false, true) => {
                of.chunks += 1;
                of.bytes += bytes;
            }
            (true, false) => {
                of.chunks = of.chunks.saturating_sub(1);
                of.bytes = of.bytes.saturating_sub(bytes);
            }
            (true, true) | (false, false) => {}
        }
        true
    }

    /// Adds an author's claim to all chunks that may be meant, and lets it stand where it was given up: a claim too many only keeps
    /// something longer. Whether a whole chunk is there; `None` if there are too many different sets.
    pub(super) fn add_claim(&mut self, id: &ChunkId, author: AuthorIndex) -> Option<bool> {
        let mut any = false;
        for entry in self.matching(&prefix_of(id)) {
            let claims = self.sets.with(entry.claims, author)?;
            let noted = self.claims_are(&entry, author, claims);
            // A yes speaks of a whole chunk: one that is damaged keeps the claim for its successor, but gives no yes.
            any |= noted && !entry.damaged;
        }
        Some(any)
    }

    /// A chunk was written again with this author's claim, if it has one: that stands again, as a start would find it.
    pub(super) fn say_again(&mut self, id: &ChunkId, author: AuthorIndex) {
        for entry in self.matching(&prefix_of(id)) {
            if self.sets.contains(entry.claims, author)
                && let Some(claims) = self.sets.with(entry.claims, author)
            {
                self.claims_are(&entry, author, claims);
            }
        }
    }

    /// An author's release is in the log.
    pub(super) fn note_release(
        &mut self,
        author: AuthorIndex,
        id: u64,
        at: u64,
        release: &Release,
    ) {
        let of = self.groups.of_mut(author);
        let is_same = of.group.as_ref().is_some_and(|group| group.id == id);
        if !is_same {
            self.groups.end(author);
            if self.groups.is_stale(author) {
                self.clear_marks(author, &Prefix::default(), usize::MAX);
                self.groups.is_clear(author);
            }
            self.groups.waiting |= 1 << author.0;
        }
        let group = self.groups.of_mut(author).group.get_or_insert(Group {
            id,
            numbers: Runs::default(),
            began: at,
            last: at,
        });
        group.last = group.last.max(at);
        group.numbers.add_all(&release.numbers);
        for prefix in release.prefixes() {
            for entry in self.matching(&prefix) {
                if let Some(claims) = self.sets.with_given_up(entry.claims, author) {
                    self.claims_are(&entry, author, claims);
                }
            }
        }
    }

    /// What a keeper noted of an author's claims, snapshots and group is in the log.
    pub(super) fn note_freed(&mut self, author: AuthorIndex, freed: &Freed) {
        self.heads.remove_numbers(author, &freed.numbers);
        let forgotten = &mut self.groups.of_mut(author).forgotten;
        forgotten.add_all(&freed.numbers);
        for prefix in freed.prefixes() {
            self.take_claim_out(&prefix, author);
        }
        let group = self.groups.of(author).group.as_ref();
        if group.is_some_and(|group| freed.over == Some(group.id)) {
            self.groups.end(author);
        }
    }

    fn take_claim_out(&mut self, prefix: &Prefix, author: AuthorIndex) {
        for entry in self.matching(prefix) {
            if !self.sets.contains(entry.claims, author) {
                continue;
            }
            let Some(claims) = self.sets.without(entry.claims, author) else {
                continue;
            };
            self.claims_are(&entry, author, claims);
            if claims == SetIndex::EMPTY && !self.groups.is_loading && !self.is_awaited(prefix) {
                self.drop_entry(&entry);
            }
        }
    }

    fn drop_entry(&mut self, entry: &Entry) {
        if self
            .table
            .remove(&name_from(&entry.prefix, 0), entry.location)
        {
            self.damaged -= u64::from(entry.damaged);
        }
    }

    /// The log was read to its end: what nobody claims leaves the table, and marks of groups that are over are cleared.
    pub(super) fn loading_ends(&mut self) {
        self.groups.is_loading = false;
        for author in self.groups.authors(self.groups.stale) {
            self.clear_marks(author, &Prefix::default(), usize::MAX);
            self.groups.is_clear(author);
        }
        let all = self.table.scan();
        let unclaimed: Vec<Entry> = all
            .filter(|entry| entry.claims == SetIndex::EMPTY)
            .collect();
        for entry in unclaimed {
            self.drop_entry(&entry);
        }
    }

    /// Whether a claim of a chunk of this name is queued or being written.
    pub(super) fn is_awaited(&self, prefix: &Prefix) -> bool {
        let names = name_from(prefix, 0)..=name_from(prefix, 0xff);
        self.pending_claims.range(names.clone()).next().is_some()
            || self.pending.range(names).next().is_some()
    }

    /// The group of an author is over from now on; its number is still to be noted.
    pub(super) fn end_group(&mut self, author: AuthorIndex) -> Option<u64> {
        self.groups.end(author)
    }

    /// Clears marks of a group that is over, of so many chunks from a name on; the name to go on from.
    pub(super) fn clear_marks(
        &mut self,
        author: AuthorIndex,
        from: &Prefix,
        most: usize,
    ) -> Option<Prefix> {
        let sets = &mut self.sets;
        let (mut seen, mut next) = (0, None);
        self.table.note_from(from, |entry| {
            if seen >= most && entry.prefix != *from {
                next = Some(entry.prefix);
                return false;
            }
            seen += 1;
            if sets.has_given_up(entry.claims, author)
                && let Some(claims) = sets.with(entry.claims, author)
            {
                entry.claims = claims;
            }
            true
        });
        next
    }

    /// Of these names, those that may be noted as the author's no more: all of the name was given up, and nobody is about to claim it.
    pub(super) fn may_go(&self, prefix: &Prefix, author: AuthorIndex) -> bool {
        let there = self.matching(prefix);
        let is_waiting = |entry: &Entry| self.waits(entry.claims, author);
        let is_other = |entry: &Entry| !self.sets.contains(entry.claims, author);
        there.len() < MATCHES_MAX
            && there.iter().any(is_waiting)
            && there
                .iter()
                .all(|entry| is_waiting(entry) || is_other(entry))
            && !self.is_awaited(prefix)
    }

    /// Snapshots of the author's group that may leave now: not the newest, and none whose head is about to be written.
    pub(super) fn may_leave(&self, author: AuthorIndex) -> Runs {
        let Some(group) = &self.groups.of(author).group else {
            return Runs::default();
        };
        let mut numbers = group.numbers.clone();
        if let Some(newest) = self.heads.of(author).last() {
            numbers.remove(newest.number);
        }
        for (_, number) in self
            .pending_heads
            .iter()
            .filter(|(whose, _)| *whose == author)
        {
            numbers.remove(*number);
        }
        numbers
    }

    /// What of a note is still true, so that it may be said again at the log's end.
    pub(super) fn still_true(&self, author: AuthorIndex, freed: &Freed) -> Freed {
        let is_gone = |prefix: &Prefix| {
            let there = self.matching(prefix);
            let is_claimed = |entry: &Entry| self.sets.contains(entry.claims, author);
            there.len() < MATCHES_MAX && !there.iter().any(is_claimed) && !self.is_awaited(prefix)
        };
        let names: Vec<u8> = freed.prefixes().filter(is_gone).flatten().collect();
        let of = self.groups.of(author);
        let mut numbers = Runs::default();
        for (first, last) in freed.numbers.iter() {
            for (begins, ends) in of.forgotten.iter() {
                numbers.add_run(first.max(begins), last.min(ends));
            }
        }
        for (_, number) in self
            .pending_heads
            .iter()
            .filter(|(whose, _)| *whose == author)
        {
            numbers.remove(*number);
        }
        let group = of.group.as_ref().map(|group| group.id);
        Freed {
            numbers,
            names: names.into(),
            over: freed.over.filter(|over| Some(*over) != group),
        }
    }

    /// Whether a snapshot left on its author's word.
    pub(super) fn is_forgotten(&self, author: AuthorIndex, number: SnapshotNumber) -> bool {
        self.groups.of(author).forgotten.has(number)
    }

    /// Whether the runs of numbers of one more release find a place.
    pub(super) fn has_place_for_numbers(&self, author: AuthorIndex, more: &Runs) -> bool {
        let of = self.groups.of(author);
        let waiting = of.group.as_ref().map_or(0, |group| group.numbers.runs());
        waiting + more.runs() <= RELEASE_RUNS_MAX
    }
}
