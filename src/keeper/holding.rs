//! What is on the disk under which name: opens segments, compares full names, reads records and heads, flags what rotted.
//!
//! Reads only; a read holds one buffer of the disk and no borrow of the state while it waits.

use std::cell::{Cell, RefCell};
use std::io;

use heapless::Deque;
use tokio::sync::Notify;

use super::frames::{frame_in, head_in};
use super::fullness::Met;
use super::healed::StartDamage;
use super::held_back::HeldBack;
use super::lived::Life;
use super::queue::{Answer, Shared, What, stride_of};
use super::readers::Readers;
use super::reading::{Segment, Window};
use super::refuse::StoreError;
use super::rest::Hurry;
use super::room::Need;
use super::table::{Entry, prefix_of};
use super::trust::Trust;
use super::writing::path_of;
use crate::format::compacted::Compacted;
use crate::format::head::SignedHead;
use crate::format::segment::{FooterEntry, FrameHeader, FrameType, Location};
use crate::terms::canary::{self, Canary};
use crate::terms::limits::{BLOCK_BYTES, DAMAGED_TOLD_MAX, STORE_FILES_MAX};
use crate::terms::{AuthorIndex, ChunkId, PeerKey};
use crate::world::{Clock, Disk, DiskFile, Entropy, World};

/// Entries of an equal prefix that are looked at; more than one is a wonder already.
const MATCHES_MAX: usize = 8;
/// Which segments were found whole.
pub(super) const VERIFIED_PATH: &str = "store/verified";
/// Headers closer together than this are read at once.
const CLOSE_BYTES: usize = 64 << 10;

/// What the store's calls and its writer share.
pub(super) struct Inner<W: World> {
    pub(super) world: W,
    pub(super) shared: Shared,
    files: RefCell<heapless::Vec<Segment<W::Disk>, STORE_FILES_MAX>>,
    /// A segment whose write failed and that is being read again.
    doubt: Cell<Option<u32>>,
    pub(super) trust: RefCell<Trust>,
    pub(super) start_damage: RefCell<StartDamage>,
    /// The store was not there when it was opened.
    pub(super) is_lost: Cell<bool>,
    /// One reading of everything at a time.
    pub(super) verifying: tokio::sync::Mutex<()>,
    /// Whether a person waits for the reading that runs to end.
    pub(super) hurry: Hurry,
    pub(super) damage_seen: Notify,
    /// The first damaged chunks that nobody was told of.
    pub(super) damage_found: RefCell<Deque<FoundDamage, DAMAGED_TOLD_MAX>>,
    /// What was refused for want of room.
    pub(super) met: Met,
    /// Who may still hold a place that a chunk had a moment ago.
    pub(super) readers: Readers,
    /// Space that nobody else can take.
    pub(super) held_back: HeldBack<W::Disk>,
    /// Segments whose files were removed, since all that was needed of them stands elsewhere.
    pub(super) compacted: RefCell<Compacted>,
    /// How long this keeper has run.
    pub(super) life: RefCell<Life>,
    /// What waits, or how much of it, is not as it was.
    pub(super) releases_changed: Notify,
}

/// Whose word a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The author's own: it cancels what it gave up.
    Own,
    /// Another Box's, which saw the claim elsewhere.
    Fellow,
}

/// A chunk that was found damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundDamage {
    /// Which.
    pub id: ChunkId,
    /// In which segment.
    pub segment: u32,
    /// From which byte of it.
    pub offset: u64,
}

impl FoundDamage {
    /// The segment's file, below the Box's state directory.
    #[must_use]
    pub fn path(&self) -> String {
        path_of(self.segment)
    }
}

/// What was found under a name.
pub(super) struct Found {
    pub(super) held: Option<Entry>,
    pub(super) damaged: Option<Location>,
}

enum Check {
    Held,
    Damaged,
    Other,
}

impl<W: World> Inner<W> {
    pub(super) fn new(world: W, shared: Shared, compacted: Compacted, life: Life) -> Self {
        shared.state.borrow_mut().groups.drawn = u64::from_le_bytes(world.entropy().bytes());
        Self {
            world,
            shared,
            files: RefCell::new(heapless::Vec::new()),
            doubt: Cell::new(None),
            trust: RefCell::default(),
            start_damage: RefCell::default(),
            is_lost: Cell::new(false),
            verifying: tokio::sync::Mutex::new(()),
            hurry: Hurry::default(),
            damage_seen: Notify::new(),
            damage_found: RefCell::default(),
            met: Met::default(),
            readers: Readers::default(),
            held_back: HeldBack::default(),
            compacted: RefCell::new(compacted),
            life: RefCell::new(life),
            releases_changed: Notify::new(),
        }
    }

    /// An open segment; a few stay open.
    pub(super) async fn segment(&self, number: u32) -> io::Result<Segment<W::Disk>> {
        let known = {
            let mut files = self.files.borrow_mut();
            let at = files.iter().position(|(known, _)| *known == number);
            at.map(|at| {
                files[at..].rotate_left(1);
                files.last().cloned()
            })
        };
        if let Some(Some(segment)) = known {
            // One that was removed can be read while it is open, and keeps nothing.
            if segment.1.is_named().await.unwrap_or(true) {
                return Ok(segment);
            }
            self.forget_file(number);
        }
        let file = self.world.disk().open(&path_of(number), false).await?;
        let mut files = self.files.borrow_mut();
        if files.is_full() {
            files.remove(0);
        }
        // Full it is not, as one was just removed.
        let _ = files.push((number, file.clone()));
        Ok((number, file))
    }

    /// Closes a segment's file: it is opened anew when it is read again.
    pub(super) fn forget_file(&self, number: u32) {
        self.files
            .borrow_mut()
            .retain(|(known, _)| *known != number);
    }

    pub(super) fn begin_doubt(&self, number: u32) {
        self.forget_file(number);
        self.doubt.set(Some(number));
    }

    pub(super) fn end_doubt(&self) {
        self.doubt.set(None);
    }

    /// Reads acknowledged frames again from the device and flags chunks that are not whole.
    pub(super) async fn read_again(&self, number: u32, entries: &[FooterEntry]) {
        let mut window = Window::new(self.world.disk()).await;
        for entry in entries {
            if entry.frame != FrameType::Chunk {
                continue;
            }
            let offset = u64::from(entry.offset);
            let whole = match self.segment(number).await {
                Ok(segment) => {
                    window
                        .is_whole(&segment, offset, entry.payload_bytes, &entry.id)
                        .await
                }
                Err(error) => Err(error),
            };
            if let (Ok(false) | Err(_), Some(location)) = (whole, Location::new(number, offset)) {
                self.flag(&entry.id, location);
            }
        }
    }

    pub(super) fn author(&self, key: PeerKey) -> Result<AuthorIndex, StoreError> {
        let mut state = self.shared.state.borrow_mut();
        state.authors.index_of(key).ok_or(StoreError::TableFull)
    }

    /// Queues a claim; `None` if it is durable already. Whoever speaks for another author claims nothing anew that it gave up.
    pub(super) fn claim(
        &self,
        (who, key): (AuthorIndex, PeerKey),
        word: Word,
        id: ChunkId,
    ) -> Result<Option<Answer>, StoreError> {
        {
            let mut state = self.shared.state.borrow_mut();
            let is_said = match word {
                Word::Own => {
                    state.groups.of_mut(who).claims += 1;
                    state.is_claimed(&id, who)
                }
                Word::Fellow => state.has_claim(&id, who),
            };
            if is_said {
                return Ok(None);
            }
        }
        self.shared.check_room(stride_of(0), Need::Claim, who)?;
        self.shared
            .queue(What::Claim, Need::Claim, (who, key), id)
            .map(Some)
    }

    /// Whether the table has a chunk that may be of this name. What nobody claims may be taken out while somebody looks at it.
    pub(super) fn is_listed(&self, id: &ChunkId) -> bool {
        self.shared
            .state
            .borrow()
            .table
            .matches(id)
            .next()
            .is_some()
    }

    pub(super) fn candidates(&self, id: &ChunkId) -> heapless::Vec<Entry, MATCHES_MAX> {
        let state = self.shared.state.borrow();
        state.table.matches(id).take(MATCHES_MAX).collect()
    }

    /// A chunk that is not whole no longer counts, and is told of by name. False if the table has it elsewhere, or not at all.
    pub(super) fn flag(&self, id: &ChunkId, location: Location) -> bool {
        if canary::sings(Canary::OverlookDamage) {
            return false;
        }
        let (is_there, is_new) = self.flag_nameless(id, location);
        if is_new {
            // More than there are places for are counted.
            let _ = self.damage_found.borrow_mut().push_back(FoundDamage {
                id: *id,
                segment: location.segment(),
                offset: location.offset(),
            });
        }
        is_there
    }

    /// The same for a chunk of which only the table's part of the name is known: whether it was there, and not flagged before.
    pub(super) fn flag_nameless(&self, id: &ChunkId, location: Location) -> (bool, bool) {
        let mut state = self.shared.state.borrow_mut();
        let mut is_new = false;
        let is_there = state.table.update(id, location, |entry| {
            is_new = !entry.damaged;
            entry.damaged = true;
        });
        state.damaged += u64::from(is_new);
        if is_new {
            // A dead drive makes a million of them.
            let damaged = state.damaged;
            if damaged <= DAMAGED_TOLD_MAX as u64 || damaged.is_power_of_two() {
                tracing::warn!(chunk = %id, segment = location.segment(), offset = location.offset(), damaged, "a chunk is damaged");
            }
            self.trust.borrow_mut().doubt(location.segment());
            self.is_broken();
            self.damage_seen.notify_one();
        }
        (is_there, is_new)
    }

    /// Something that was kept is lost or damaged: what others heard before says nothing any more.
    pub(super) fn is_broken(&self) {
        let unbroken = u64::from_le_bytes(self.world.entropy().bytes());
        self.trust.borrow_mut().break_off(unbroken);
    }

    /// The chunk of this very name, compared on the disk.
    pub(super) async fn find(&self, id: &ChunkId) -> Result<Found, StoreError> {
        let mut found = Found {
            held: None,
            damaged: None,
        };
        let mut window = None;
        for entry in self.candidates(id) {
            if entry.damaged {
                found.damaged = Some(entry.location);
                continue;
            }
            let window = match &mut window {
                Some(window) => window,
                None => window.insert(Window::new(self.world.disk()).await),
            };
            match self.check(window, &entry, id, BLOCK_BYTES).await? {
                Check::Held => found.held = Some(entry),
                Check::Damaged => found.damaged = Some(entry.location),
                Check::Other => {}
            }
        }
        Ok(found)
    }

    /// As [`Self::find`], in the order in which the chunks lie on the disk.
    pub(super) async fn find_many(
        &self,
        ids: &[ChunkId],
        held: &mut [bool],
    ) -> Result<(), StoreError> {
        let mut places: Vec<(Entry, usize)> = Vec::with_capacity(ids.len());
        for (at, id) in ids.iter().enumerate() {
            let whole = self
                .candidates(id)
                .into_iter()
                .filter(|entry| !entry.damaged);
            places.extend(whole.map(|entry| (entry, at)));
        }
        if places.is_empty() {
            return Ok(());
        }
        places.sort_unstable_by_key(|(entry, at)| (entry.location, *at));
        let mut window = Window::new(self.world.disk()).await;
        for (turn, (entry, at)) in places.iter().enumerate() {
            let next = places.get(turn + 1).map(|(next, _)| next.location);
            let ahead = match next {
                Some(next) if is_close(entry.location, next) => CLOSE_BYTES,
                _ => BLOCK_BYTES,
            };
            let check = self.check(&mut window, entry, &ids[*at], ahead).await?;
            held[*at] |= matches!(check, Check::Held);
        }
        Ok(())
    }

    /// Whether the frame of an entry is of this name; its body is read only while its segment is in doubt.
    async fn check(
        &self,
        window: &mut Window<W::Disk>,
        entry: &Entry,
        id: &ChunkId,
        ahead: usize,
    ) -> Result<Check, StoreError> {
        let location = entry.location;
        let Some(segment) = self.segment_or_none(location.segment()).await? else {
            self.flag(id, location);
            return Ok(Check::Damaged);
        };
        let header = window
            .header(&segment, location.offset(), ahead)
            .await
            .ok()
            .flatten()
            .filter(|header| {
                header.store == self.shared.store
                    && header.frame == FrameType::Chunk
                    && prefix_of(&header.id) == entry.prefix
            });
        let is_whole = match header {
            Some(header) if header.id != *id => return Ok(Check::Other),
            Some(header) if header.payload_bytes != entry.record_bytes => false,
            Some(_) if !self.is_believed(location) => window
                .is_whole(&segment, location.offset(), entry.record_bytes, id)
                .await
                .unwrap_or(false),
            Some(_) => true,
            None => false,
        };
        if is_whole {
            return Ok(Check::Held);
        }
        self.flag(id, location);
        Ok(Check::Damaged)
    }

    /// Whether a frame's body may be believed without reading it.
    pub(super) fn is_believed(&self, location: Location) -> bool {
        let now = self.world.clock().wall();
        self.doubt.get() != Some(location.segment()) && self.trust.borrow().covers(location, now)
    }

    /// Writes down which segments were found whole, if so many marks are new. Without it they are read again after a start.
    pub(super) async fn save_trust(&self, at_least: usize) {
        let marks = self.trust.borrow_mut().take_unsaved(
            self.shared.store,
            at_least,
            self.shared.open_segment(),
        );
        let Some(marks) = marks else {
            return;
        };
        let noted = match self.is_at_home().await {
            true => {
                let disk = self.world.disk();
                disk.replace_small(VERIFIED_PATH, &marks.encode(), false)
                    .await
            }
            false => Err(io::ErrorKind::NotFound.into()),
        };
        if let Err(error) = noted {
            self.trust.borrow_mut().saving_failed();
            tracing::debug!(%error, "what was found whole is not written down");
        }
    }

    /// A segment's file, or `None` if it is gone. Other errors say nothing about what is in it.
    pub(super) async fn segment_or_none(
        &self,
        number: u32,
    ) -> Result<Option<Segment<W::Disk>>, StoreError> {
        match self.segment(number).await {
            Ok(segment) => Ok(Some(segment)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("open a segment")(error)),
        }
    }

    /// A frame of this store with its payload; `None` if it cannot be read. `ahead` says how long it probably is.
    pub(super) async fn read_frame(
        &self,
        location: Location,
        ahead: usize,
    ) -> Result<Option<(FrameHeader, Vec<u8>)>, StoreError> {
        let Some(segment) = self.segment_or_none(location.segment()).await? else {
            return Ok(None);
        };
        let mut window = Window::new(self.world.disk()).await;
        let frame = frame_in(&mut window, &segment, location.offset(), ahead).await;
        Ok(frame.filter(|(header, _)| header.store == self.shared.store))
    }

    pub(super) async fn read_head(
        &self,
        location: Location,
    ) -> Result<Option<SignedHead>, StoreError> {
        let Some(segment) = self.segment_or_none(location.segment()).await? else {
            return Ok(None);
        };
        let mut window = Window::new(self.world.disk()).await;
        Ok(head_in(&mut window, &segment, location.offset()).await)
    }

    /// The newest head of an author that can be read.
    pub(super) async fn newest_head(
        &self,
        author: PeerKey,
    ) -> Result<Option<SignedHead>, StoreError> {
        let mut before = usize::MAX;
        loop {
            let place = {
                let state = self.shared.state.borrow();
                let places = match state.authors.find(author) {
                    Some(who) => state.heads.of(who),
                    None => return Ok(None),
                };
                before = before.min(places.len());
                let Some(at) = before.checked_sub(1) else {
                    return Ok(None);
                };
                before = at;
                places[at]
            };
            if let Some(head) = self.read_head(place.location).await? {
                return Ok(Some(head));
            }
        }
    }
}

fn is_close(one: Location, next: Location) -> bool {
    one.segment() == next.segment() && next.offset() - one.offset() < CLOSE_BYTES as u64
}
