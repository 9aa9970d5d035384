//! What people and the service are told of a snapshot: progress while it runs, a report at its end.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use smol_str::SmolStr;
use tokio::sync::Notify;

use crate::format::head::{SignedHead, UNREAD_MAX};
use crate::format::message::Refusal;
use crate::keeper::Keepers;
use crate::terms::{HeadHash, PeerKey, SnapshotNumber};

/// What a snapshot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Nothing yet.
    #[default]
    Starting,
    /// Walking a data set.
    Walking,
    /// Waiting for keepers to confirm what they were sent.
    Landing,
    /// Handing the head to keepers.
    Publishing,
    /// Bringing keepers that were away up to date.
    CatchingUp,
    /// Finished.
    Done,
}

/// Progress, shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// What is being done.
    pub phase: Cell<Phase>,
    /// Regular files seen.
    pub files: Cell<u64>,
    /// Their bytes, read or taken over.
    pub bytes: Cell<u64>,
    /// Bytes read from files.
    pub bytes_read: Cell<u64>,
    /// Regular files there are to see, as far as is known.
    pub files_ahead: Cell<Option<u64>>,
    /// What `bytes_read` comes to when all is read, as far as is known.
    pub bytes_ahead: Cell<Option<u64>>,
    /// What was read before the walk began that runs.
    read_before: Cell<u64>,
    has_read: Notify,
    /// Records made, whether keepers have them or not.
    pub chunks_sealed: Cell<u64>,
    /// Their bytes.
    pub bytes_sealed: Cell<u64>,
    /// Records that some keeper did not have and was sent.
    pub chunks_new: Cell<u64>,
    /// Their bytes.
    pub bytes_new: Cell<u64>,
    /// Sealed bytes that keepers were sent and acknowledged, all together.
    pub bytes_sent: Cell<u64>,
    /// The same for each keeper: records and bytes.
    pub sent: RefCell<BTreeMap<PeerKey, (u64, u64)>>,
    /// Where the walk is.
    pub path: RefCell<Vec<u8>>,
    /// The head that was signed: from then on this Box may remember it, whether the snapshot comes to its end or not.
    pub signed: RefCell<Option<SignedHead>>,
}

impl Progress {
    /// A walk begins; what the last snapshot had, if there was one, is what there may be to see.
    pub(super) fn walk_begins(&self, files_before: Option<u64>) {
        self.phase.set(Phase::Walking);
        self.files.set(0);
        self.bytes.set(0);
        self.read_before.set(self.bytes_read.get());
        self.files_ahead.set(files_before);
        self.bytes_ahead.set(None);
    }

    /// All there is was looked at: so many files, of which so many bytes are to be read.
    pub(super) fn looked_ahead(&self, files: u64, to_read_bytes: u64) {
        self.files_ahead.set(Some(files));
        let bytes = self.read_before.get().saturating_add(to_read_bytes);
        self.bytes_ahead.set(Some(bytes));
    }

    /// All there was to see was seen, and what was to be read was read.
    pub(super) fn walk_ends(&self) {
        self.phase.set(Phase::Landing);
        self.files_ahead.set(Some(self.files.get()));
        self.bytes_ahead.set(Some(self.bytes_read.get()));
    }

    /// Resolves once this walk has read so much.
    pub(super) async fn reads(&self, bytes: u64) {
        while self.bytes_read.get() - self.read_before.get() < bytes {
            self.has_read.notified().await;
        }
    }

    pub(super) fn count_read(&self, bytes: u64) {
        add(&self.bytes_read, bytes);
        self.has_read.notify_waiters();
    }

    pub(super) fn count_made(&self, bytes: u32) {
        add(&self.chunks_sealed, 1);
        add(&self.bytes_sealed, u64::from(bytes));
    }

    pub(super) fn count_sent(&self, peer: PeerKey, bytes: u64, is_first: bool) {
        if is_first {
            add(&self.chunks_new, 1);
            add(&self.bytes_new, bytes);
        }
        add(&self.bytes_sent, bytes);
        let mut sent = self.sent.borrow_mut();
        let (records, all_bytes) = sent.entry(peer).or_default();
        *records += 1;
        *all_bytes = all_bytes.saturating_add(bytes);
    }
}

pub(super) fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get().saturating_add(more));
}

/// One keeper's share of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperShare {
    /// Who.
    pub key: PeerKey,
    /// Chunks placed there, as often as pages name them.
    pub needed: u64,
    /// Of these, confirmed as durable.
    pub confirmed: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Why it takes no more, if it does not.
    pub refusal: Option<Refusal>,
    /// Whether it has the head, and so all of its share.
    pub has_head: bool,
}

impl KeeperShare {
    /// Whether everything placed there is confirmed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.confirmed >= self.needed
    }
}

/// Something that is not, or not surely, in the snapshot as it is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Which data set.
    pub data_set: SmolStr,
    /// Where in it.
    pub path: Vec<u8>,
    /// Why.
    pub reason: SmolStr,
}

/// What a snapshot came to.
#[derive(Debug, Clone)]
pub struct SnapshotReport {
    /// Its head.
    pub head: SignedHead,
    /// Its place in the author's history.
    pub number: SnapshotNumber,
    /// Its name.
    pub hash: HeadHash,
    /// Regular files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether nothing had changed, so that the head is the one that was there before.
    pub is_unchanged: bool,
    /// Records that some keeper did not have and was sent.
    pub chunks_new: u64,
    /// Their sealed bytes.
    pub bytes_new: u64,
    /// Files taken over without reading.
    pub files_reused: u64,
    /// Each other member's share.
    pub keepers: Vec<KeeperShare>,
    /// The fewest other Boxes that any of its chunks is confirmed on.
    pub copies: u8,
    /// How many it takes to be called protected.
    pub copies_min: u8,
    /// Data sets that are in it as they were before, since they are not where they were: name and reason.
    pub held: Vec<(SmolStr, SmolStr)>,
    /// What a person should know before it happens.
    pub warnings: Vec<SmolStr>,
    /// Databases that were recognised and read as such.
    pub databases: u64,
    /// What could not be read or changed meanwhile, the first [`UNREAD_MAX`].
    pub unread: Vec<Unread>,
    /// How many there were.
    pub unread_count: u64,
    /// Sockets, pipes and devices, which hold no data; the first [`UNREAD_MAX`].
    pub skipped: Vec<Unread>,
    /// How many there were.
    pub skipped_count: u64,
    /// Whether this Box's own index of the previous snapshot was damaged, so that files were read again.
    pub index_was_damaged: bool,
}

impl SnapshotReport {
    pub(super) fn bare(head: SignedHead, keepers: Vec<KeeperShare>, copies_min: u8) -> Self {
        Self {
            number: head.head.number,
            hash: HeadHash(head.hash().0),
            head,
            files: 0,
            bytes: 0,
            is_unchanged: false,
            chunks_new: 0,
            bytes_new: 0,
            files_reused: 0,
            keepers,
            copies: 0,
            copies_min,
            held: Vec::new(),
            warnings: Vec::new(),
            databases: 0,
            unread: Vec::new(),
            unread_count: 0,
            skipped: Vec::new(),
            skipped_count: 0,
            index_was_damaged: false,
        }
    }

    /// The report of a snapshot of which nothing is proven (yet): what a Box that was started anew begins with.
    #[must_use]
    pub fn unproven<K: Keepers>(keepers: &K, head: SignedHead) -> Self {
        let me = head.head.author;
        let shares = keepers
            .members()
            .into_iter()
            .filter(|member| member.key != me)
            .map(|member| KeeperShare {
                key: member.key,
                needed: u64::MAX,
                confirmed: 0,
                refused: 0,
                refusal: None,
                has_head: false,
            })
            .collect();
        Self::bare(head, shares, keepers.factors().1)
    }

    /// Whether every chunk is on as many other Boxes as it takes, and the head that names them as well.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        let heads = self.keepers.iter().filter(|keeper| keeper.has_head).count();
        self.copies > 0 && self.copies >= self.copies_min && heads >= usize::from(self.copies_min)
    }

    /// Keepers that are to be brought up to date: members that have not got the head (yet).
    #[must_use]
    pub fn behind(&self) -> Vec<PeerKey> {
        self.keepers
            .iter()
            .filter(|keeper| !keeper.has_head)
            .map(|keeper| keeper.key)
            .collect()
    }

    pub(super) fn add_unread(&mut self, more: Vec<Unread>) {
        let room = UNREAD_MAX.saturating_sub(self.unread.len());
        self.unread.extend(more.into_iter().take(room));
    }

    pub(super) fn add_skipped(&mut self, more: Vec<Unread>) {
        let room = UNREAD_MAX.saturating_sub(self.skipped.len());
        self.skipped.extend(more.into_iter().take(room));
    }

    pub(super) fn push_bounded(list: &mut Vec<Unread>, count: &mut u64, what: Unread) {
        *count += 1;
        if list.len() < UNREAD_MAX {
            list.push(what);
        }
    }
}
