//! Starting a store: builds the table from footers and, where there is none, from the frames themselves.
//!
//! Nothing is changed before everything is read: a foreign or too large store is left as it is. Then only a tail of the last
//! segment that holds nothing whole is cut. Damage with whole frames behind it is never cut, only told.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::compact::COMPACTED_PATH;
use super::healed::{StartDamage, healed_of};
use super::holding::{Inner, VERIFIED_PATH};
use super::lived::Life;
use super::loading::{Loading, Tail, header_of};
use super::log::{OpenSegment, Writer};
use super::presence::{ID_PATH, Presence, presence, remember};
use super::queue::{Shared, Sizes};
use super::reading::Window;
use super::refuse::StoreError;
use super::room::{Limits, held_back_bytes};
use super::state::State;
use super::store::{Store, StoreConfig};
use super::writing::{STORE_DIR, number_of, path_of};
use crate::format::compacted::Compacted;
use crate::format::healed::DamagedPlace;
use crate::format::verified::Verified;
use crate::format::{Malformed, decode_file, encode_file};
use crate::terms::StoreId;
use crate::terms::limits::{BLOCK_BYTES, DAMAGE_FACTS_MAX, HEALED_PLACES_MAX};
use crate::world::{Clock, Disk, DiskFile, Entropy, World};

const BLOCK: u64 = BLOCK_BYTES as u64;
const FORMAT_VERSION: u16 = 1;

/// What a start found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Chunks in the table.
    pub chunks: usize,
    /// Heads of snapshots.
    pub heads: usize,
    /// Segment files.
    pub segments: usize,
    /// Bytes of a commit that was never finished, and was therefore never acknowledged.
    pub torn_bytes_cut: u64,
    /// Bytes of it that stay where they are, since whole frames stand behind them. No damage: nobody was told that they are kept.
    pub unfinished_bytes: u64,
    /// The first places that are not as they should be.
    pub damaged: Vec<Damage>,
    /// How many there are.
    pub damaged_count: u64,
    /// The first of them as they are remembered, more than are told.
    pub(super) places: Vec<DamagedPlace>,
    /// Damaged places that are as they were, and of which nothing is lacking any more: told no more.
    pub(super) healed: Vec<DamagedPlace>,
}

/// A place that is not as it should be. Nothing was changed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// In which segment.
    pub segment: u32,
    /// From where.
    pub offset: u64,
    /// How far.
    pub bytes: u64,
    /// What it is.
    pub kind: DamageKind,
}

/// What is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// The segment's file is gone, and all that was in it.
    Missing,
    /// The file system does not give the segment's file; it may again.
    Unreadable,
    /// The segment's first block.
    Header,
    /// The footer of a closed segment is missing or damaged: its frames were found one by one.
    Footer,
    /// Something acknowledged stood here and cannot be read.
    Frames,
    /// The segment could not be made durable or cut: what is in it is still read, nothing more is appended to it.
    Unwritable,
    /// A head that does not read.
    Head,
    /// It is whole, and there is no place for it in the lists in memory.
    NoPlace,
}

impl Damage {
    /// From a segment's beginning on.
    pub(super) const fn from_start(segment: u32, bytes: u64, kind: DamageKind) -> Self {
        Self {
            segment,
            offset: 0,
            bytes,
            kind,
        }
    }

    /// As it is remembered.
    fn place(&self) -> DamagedPlace {
        first_of(&format!("{self:?}"))
    }
}

fn first_of(text: &str) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(text.as_bytes()).as_bytes();
    [a, b, c, d, e, f, g, h]
}

impl OpenReport {
    /// What is as it was when nothing of it was lacking is no damage that anybody has to hear of.
    fn leave_out(&mut self, healed: &[DamagedPlace]) {
        let is_healed = |place: &DamagedPlace| healed.contains(place);
        let left_out: Vec<_> = self
            .places
            .extract_if(.., |place| is_healed(place))
            .collect();
        self.damaged_count -= left_out.len() as u64;
        self.damaged.retain(|damage| !is_healed(&damage.place()));
        self.healed.extend(left_out);
    }

    /// Tells one state of damage from another; nothing if there is none.
    fn mark(&self) -> Option<[u8; 8]> {
        (self.damaged_count > 0)
            .then(|| first_of(&format!("{} {:?}", self.damaged_count, self.damaged)))
    }

    pub(super) fn tell(&mut self, segment: u32, offset: u64, bytes: u64, kind: DamageKind) {
        let damage = Damage {
            segment,
            offset,
            bytes,
            kind,
        };
        self.damaged_count += 1;
        if self.damaged.len() < DAMAGE_FACTS_MAX {
            self.damaged.push(damage);
        }
        if self.places.len() < HEALED_PLACES_MAX {
            self.places.push(damage.place());
        }
    }
}

/// The small file that names a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) store: StoreId,
    /// Chunks the table was made for when the store was last opened.
    table_chunks: u64,
    format: u16,
}

/// Whether the small file must be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// It is right as it is.
    Known,
    /// Its name is right, the rest is not.
    Stale,
    /// It is not there or cannot be read.
    Needed,
}

impl<W: World> Store<W> {
    /// Opens the store in the Box's state directory, making it if there is none.
    pub async fn open(world: W, config: StoreConfig) -> Result<(Self, OpenReport), StoreError> {
        let sizes = Sizes {
            segment_bytes: world.disk().segment_bytes(),
            held_back_bytes: held_back_bytes(config.capacity_bytes),
            ..Sizes::default()
        };
        Self::open_sized(world, config, sizes).await
    }

    pub(super) async fn open_sized(
        world: W,
        config: StoreConfig,
        sizes: Sizes,
    ) -> Result<(Self, OpenReport), StoreError> {
        let disk = world.disk();
        let found = presence(disk).await;
        if found.map_err(StoreError::io("look for the store"))? != Presence::Here {
            return Ok((Self::lost(world, config, sizes), OpenReport::default()));
        }
        disk.make_dir(STORE_DIR)
            .await
            .map_err(StoreError::io("make the store's directory"))?;
        // A segment that a killed keeper had just made may not have a durable name yet.
        disk.sync_dir(STORE_DIR)
            .await
            .map_err(StoreError::io("sync the store's directory"))?;
        let names = disk.list(STORE_DIR).await;
        let names = names.map_err(StoreError::io("list the store's directory"))?;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        let (identity, naming) = identify(&world, &numbers, config.table_chunks).await?;
        let state = State::new(config.table_chunks);
        let limits = Limits {
            capacity_bytes: config.capacity_bytes,
            quota_bytes_per_author: config.quota_bytes_per_author,
            held_back_bytes: sizes.held_back_bytes,
        };
        let shared = Shared::new(identity.store, sizes, limits, state);
        let compacted = compacted_of(&world, identity.store).await;
        let leftover = numbers
            .extract_if(.., |number| compacted.has(*number))
            .collect::<Vec<_>>();
        let last_compacted = compacted.last();
        let life = Life::of(&world, identity.store, world.clock().now()).await;
        let inner = Rc::new(Inner::new(world.clone(), shared, compacted, life));
        let known = verified_of(&world, identity.store).await;
        let end = known.as_ref().and_then(|known| known.end);
        let unbroken = known.as_ref().map(|known| known.unbroken);
        let marks = known.map_or_else(Vec::new, |known| known.segments);
        let healed = healed_of(&world, identity.store).await.places;
        let last_known = marks.last().map(|mark| mark.number);
        let last_known = last_known.max(end.map(|(number, _)| number));
        let mut loading = Loading::new(&inner, marks, end, naming != Naming::Known).await;
        let mut tail = None;
        for number in &numbers {
            let is_last = numbers.last() == Some(number);
            loading.missing_before(*number);
            tail = loading.segment(*number, is_last).await?;
        }
        if let Some(last_known) = last_known {
            loading.missing_before(last_known + 1);
        }
        let Loading {
            mut report, commit, ..
        } = loading;
        report.leave_out(&healed);
        // What the loading itself flagged was drawn for already.
        match unbroken {
            Some(unbroken) if report.damaged_count == 0 => {
                inner.trust.borrow_mut().unbroken_is(unbroken, end);
            }
            Some(_) | None => inner.is_broken(),
        }
        {
            let mut state = inner.shared.state.borrow_mut();
            state.heads.sort();
            state.loading_ends();
        }
        // All is read and all is ours: from here on things may be changed.
        match (naming, write_identity(&world, &identity, naming).await) {
            (Naming::Needed, Err(error)) => return Err(error),
            // The name itself stands there already: a full disk is no reason not to read from it.
            (Naming::Known | Naming::Stale, _) | (Naming::Needed, Ok(())) => {}
        }
        if let Err(error) = remember(world.disk(), &identity).await {
            tracing::warn!(%error, "which store this Box has could not be noted: that it is gone would not be noticed");
        }
        inner.remove_leftover(&leftover).await;
        let last_number = numbers.last().copied().max(last_compacted);
        let mut next_number = last_number.map_or(1, |last| last + 1);
        let segment = match tail {
            Some(tail) => inner.trim(tail, &mut report, &mut next_number).await,
            None => None,
        };
        {
            let fresh = segment.as_ref().map(|open| (open.number, open.end));
            inner.shared.open_segment_is(fresh);
            let (number, offset) = fresh.unwrap_or((next_number, 0));
            let now = world.clock().wall();
            inner.trust.borrow_mut().begin_at(number, offset, now);
        }
        report.leave_out(&healed);
        inner.start_damage.replace(StartDamage {
            open: report.places.clone(),
            healed: report.healed.clone(),
        });
        inner.begin_holding_back().await;
        inner.save_trust(1).await;
        inner.looked_at_start(report.mark());
        {
            let state = inner.shared.state.borrow();
            report.chunks = state.table.chunks();
            report.heads = state.heads.count();
            report.segments = state.segments as usize;
        }
        let writer = Writer {
            inner: Rc::clone(&inner),
            segment,
            next_number,
            next_commit: commit + 1,
            was_away: false,
        };
        world.spawn(writer.run());
        Ok((Self::of(inner), report))
    }

    /// Stands in for a store that is not there: the rest of the Box goes on.
    fn lost(world: W, config: StoreConfig, sizes: Sizes) -> Self {
        let limits = Limits {
            capacity_bytes: config.capacity_bytes,
            quota_bytes_per_author: config.quota_bytes_per_author,
            held_back_bytes: sizes.held_back_bytes,
        };
        let nobody = StoreId(world.entropy().bytes());
        let shared = Shared::new(nobody, sizes, limits, State::new(config.table_chunks));
        let now = world.clock().now();
        let life = Life::from(None, nobody, [0; 8], now);
        let inner = Rc::new(Inner::new(world, shared, Compacted::new(nobody), life));
        inner.is_lost.set(true);
        inner.is_broken();
        inner.shared.begin_closing();
        inner.shared.end_writing();
        Self::of(inner)
    }
}

/// What was found whole before. Without it all is read again.
async fn verified_of<W: World>(world: &W, store: StoreId) -> Option<Verified> {
    let bytes = world.disk().read_small(VERIFIED_PATH).await.ok().flatten();
    let verified = bytes.and_then(|bytes| Verified::decode(&bytes).ok());
    verified.filter(|verified| verified.store == store)
}

/// Segments whose files were removed. Without it they are told as missing, and nothing else.
async fn compacted_of<W: World>(world: &W, store: StoreId) -> Compacted {
    let bytes = world.disk().read_small(COMPACTED_PATH).await.ok().flatten();
    let compacted = bytes.and_then(|bytes| Compacted::decode(&bytes).ok());
    compacted
        .filter(|compacted| compacted.store == store)
        .unwrap_or_else(|| Compacted::new(store))
}

/// Who the store is: by its file, or by its segments if the file is lost; a new one is drawn if there is neither.
async fn identify<W: World>(
    world: &W,
    numbers: &[u32],
    table_chunks: usize,
) -> Result<(Identity, Naming), StoreError> {
    let bytes = world.disk().read_small(ID_PATH).await;
    let bytes = bytes.map_err(StoreError::io("read store/id"))?;
    let known = bytes.map(|bytes| decode_identity(&bytes));
    let wanted = |store| Identity {
        store,
        table_chunks: table_chunks as u64,
        format: FORMAT_VERSION,
    };
    if let Some(Ok(identity)) = known {
        let wanted = wanted(identity.store);
        let naming = if wanted == identity {
            Naming::Known
        } else {
            Naming::Stale
        };
        return Ok((wanted, naming));
    }
    let mut window = Window::new(world.disk()).await;
    for number in numbers {
        let Ok(file) = world.disk().open(&path_of(*number), false).await else {
            continue;
        };
        if let Some(header) = header_of(&mut window, &(*number, file)).await {
            return Ok((wanted(header.store), Naming::Needed));
        }
    }
    match known {
        Some(Err(malformed)) => Err(StoreError::NoName(malformed)),
        _ => Ok((wanted(StoreId(world.entropy().bytes())), Naming::Needed)),
    }
}

pub(super) fn decode_identity(bytes: &[u8]) -> Result<Identity, Malformed> {
    let identity: Identity = decode_file("store id", bytes)?;
    if identity.format != FORMAT_VERSION {
        return Err(Malformed {
            record: "store id",
            rule: "its format is not known here",
        });
    }
    Ok(identity)
}

async fn write_identity<W: World>(
    world: &W,
    identity: &Identity,
    naming: Naming,
) -> Result<(), StoreError> {
    if naming == Naming::Known {
        return Ok(());
    }
    world
        .disk()
        .replace_small(ID_PATH, &encode_file(identity), false)
        .await
        .map_err(StoreError::io("write store/id"))
}

impl<W: World> Inner<W> {
    /// Cuts what a power cut left behind the last whole frame, and says how the segment goes on.
    async fn trim(
        &self,
        tail: Tail,
        report: &mut OpenReport,
        next_number: &mut u32,
    ) -> Option<OpenSegment<W>> {
        let Tail {
            number,
            len,
            scanned,
            is_header_whole,
        } = tail;
        if !is_header_whole && scanned.entries.is_empty() && len <= BLOCK {
            // Its first block was never finished, so nothing in it was ever acknowledged: begun again.
            self.forget_file(number);
            if self.world.disk().remove(&path_of(number)).await.is_ok() {
                let mut state = self.shared.state.borrow_mut();
                state.segments -= 1;
                state.disk_bytes -= len;
                report.torn_bytes_cut += len;
                *next_number = number;
            }
            return None;
        }
        let (_, file) = self.segment(number).await.ok()?;
        if len != scanned.end {
            let cut = match file.set_len(scanned.end).await {
                Ok(()) => file.sync_data().await,
                Err(error) => Err(error),
            };
            if cut.is_err() {
                report.tell(number, scanned.end, len, DamageKind::Unwritable);
                return None;
            }
            let mut state = self.shared.state.borrow_mut();
            state.disk_bytes = state.disk_bytes - len + scanned.end;
            report.torn_bytes_cut += len.saturating_sub(scanned.end);
        }
        let must_close = scanned.is_tail_torn || !scanned.gaps.is_empty() || !is_header_whole;
        Some(OpenSegment {
            number,
            file,
            end: scanned.end,
            entries: scanned.entries,
            must_close,
        })
    }
}
