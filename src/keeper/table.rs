//! The chunk table: which chunks are here and where, in a fixed 24 bytes a slot.
//!
//! Not the truth: the truth is the segments, and the full name of a chunk stands only there. The table is built from them
//! at start and allocated once; nothing here allocates afterwards.
//!
//! Invariants, which make a scan yield names in order and a search end early:
//! - a chunk's home slot grows with its name, and it never stands before its home;
//! - there is no empty slot between a chunk's home and the chunk;
//! - names in occupied slots do not fall from one slot to the next (equal ones stand together).
//!
//! There is no wrap-around: spare slots stand behind the last home.

use super::sets::SetIndex;
pub use crate::format::compare::{PREFIX_BYTES, Prefix};
use crate::format::segment::Location;
use crate::terms::ChunkId;
use crate::terms::limits::{RECORD_BYTES_MAX, TABLE_LOAD_PERCENT_MAX, TABLE_SLOT_BYTES};

/// Spare slots behind the last home: even in a full table a run of chunks is far shorter.
const SPARE_SLOTS: usize = 1024;
const LENGTH_MASK: u32 = (1 << 22) - 1;
const DAMAGED: u32 = 1 << 22;

type Slot = [u8; TABLE_SLOT_BYTES];

/// What the table knows of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The first bytes of its name.
    pub prefix: Prefix,
    /// Where its frame starts.
    pub location: Location,
    /// Bytes of its record.
    pub record_bytes: u32,
    /// Found not whole: it does not count as held, and a new put replaces it.
    pub damaged: bool,
    /// Which keepers are known to hold it.
    pub holders: SetIndex,
    /// Which authors claim it.
    pub claims: SetIndex,
}

/// No room: the table holds as many chunks as it was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunk table is full; nothing it holds is affected")]
pub struct TableFull;

/// The table.
pub struct Table {
    slots: Vec<Slot>,
    homes: usize,
    chunks: usize,
    chunks_max: usize,
}

impl Table {
    /// Room for so many chunks, allocated now and never again.
    #[must_use]
    pub fn new(chunks_max: usize) -> Self {
        let homes = (chunks_max * 100).div_ceil(TABLE_LOAD_PERCENT_MAX).max(1);
        Self {
            // Zeroed by the system: what nobody touched costs nothing yet, so a nearly empty table is nearly free. (A `vec!` of
            // arrays this long writes its zeros.)
            slots: bytemuck::zeroed_vec(homes + SPARE_SLOTS),
            homes,
            chunks: 0,
            chunks_max,
        }
    }

    /// Puts a chunk in, behind those of an equal prefix.
    pub fn insert(&mut self, entry: Entry) -> Result<(), TableFull> {
        if self.chunks >= self.chunks_max {
            return Err(TableFull);
        }
        let mut at = self.home(&entry.prefix);
        while self.prefix(at).is_some_and(|other| other <= entry.prefix) {
            at += 1;
        }
        let mut end = at;
        while self.prefix(end).is_some() {
            end += 1;
        }
        if end >= self.slots.len() {
            return Err(TableFull);
        }
        self.slots.copy_within(at..end, at + 1);
        self.slots[at] = pack(&entry);
        self.chunks += 1;
        Ok(())
    }

    /// Whether one more of this name finds a place.
    #[must_use]
    pub fn has_place(&self, id: &ChunkId) -> bool {
        let run = &self.slots[self.home(&prefix_of(id))..];
        self.chunks < self.chunks_max && run.iter().any(|slot| !is_occupied(slot))
    }

    /// Changes what is known of the chunk of this name at this place; its name stays. False if it is not there.
    pub fn update(
        &mut self,
        id: &ChunkId,
        location: Location,
        change: impl FnOnce(&mut Entry),
    ) -> bool {
        let prefix = prefix_of(id);
        let mut at = self.home(&prefix);
        while self.prefix(at).is_some_and(|other| other <= prefix) {
            let mut entry = unpack(&self.slots[at]);
            if entry.prefix == prefix && entry.location == location {
                change(&mut entry);
                entry.prefix = prefix;
                self.slots[at] = pack(&entry);
                return true;
            }
            at += 1;
        }
        false
    }

    /// Takes out the chunk of this name at this place. False if it is not there.
    pub fn remove(&mut self, id: &ChunkId, location: Location) -> bool {
        let prefix = prefix_of(id);
        let mut at = self.home(&prefix);
        while self.prefix(at).is_some_and(|other| other <= prefix) {
            let entry = unpack(&self.slots[at]);
            if entry.prefix == prefix && entry.location == location {
                // Those behind it move up, until one stands at its home.
                let mut end = at + 1;
                while self.prefix(end).is_some_and(|next| self.home(&next) < end) {
                    end += 1;
                }
                self.slots.copy_within(at + 1..end, at);
                self.slots[end - 1] = [0; TABLE_SLOT_BYTES];
                self.chunks -= 1;
                return true;
            }
            at += 1;
        }
        false
    }

    /// Those whose names begin as this one does: the full name must be compared on disk.
    pub fn matches(&self, id: &ChunkId) -> impl Iterator<Item = Entry> {
        let prefix = prefix_of(id);
        self.slots[self.home(&prefix)..]
            .iter()
            .take_while(|slot| is_occupied(slot))
            .map(unpack)
            .skip_while(move |entry| entry.prefix < prefix)
            .take_while(move |entry| entry.prefix == prefix)
    }

    /// All chunks, their prefixes in order.
    pub fn scan(&self) -> impl Iterator<Item = Entry> {
        self.slots
            .iter()
            .filter(|slot| is_occupied(slot))
            .map(unpack)
    }

    /// Chunks from this name on, their prefixes in order.
    pub fn scan_from(&self, first: &Prefix) -> impl Iterator<Item = Entry> {
        let first = *first;
        self.slots[self.home(&first)..]
            .iter()
            .filter(|slot| is_occupied(slot))
            .map(unpack)
            .skip_while(move |entry| entry.prefix < first)
    }

    /// Changes what is known of each chunk from this name on, until it says no; names and places stay.
    pub fn note_from(&mut self, first: &Prefix, mut note: impl FnMut(&mut Entry) -> bool) {
        let from = self.home(first);
        for slot in self.slots[from..]
            .iter_mut()
            .filter(|slot| is_occupied(slot))
        {
            let before = unpack(slot);
            if before.prefix < *first {
                continue;
            }
            let mut entry = before;
            if !note(&mut entry) {
                return;
            }
            entry.prefix = before.prefix;
            entry.location = before.location;
            *slot = pack(&entry);
        }
    }

    /// Chunks whose frames are in a segment: places, and names of which only the beginning is right.
    #[must_use]
    pub fn in_segment(&self, number: u32) -> Vec<(ChunkId, Location)> {
        let there = self
            .scan()
            .filter(|entry| entry.location.segment() == number);
        there
            .map(|entry| {
                let mut id = [0; 32];
                id[..PREFIX_BYTES].copy_from_slice(&entry.prefix);
                (ChunkId(id), entry.location)
            })
            .collect()
    }

    /// Bytes of the records whose claims count, by segment.
    #[must_use]
    pub fn bytes_by_segment(&self, counts: impl Fn(SetIndex) -> bool) -> Vec<u64> {
        let mut bytes = Vec::new();
        for entry in self.scan().filter(|entry| counts(entry.claims)) {
            let at = entry.location.segment() as usize;
            if bytes.len() <= at {
                bytes.resize(at + 1, 0);
            }
            bytes[at] += u64::from(entry.record_bytes);
        }
        bytes
    }

    /// The last segment it has chunks in.
    #[must_use]
    pub fn last_segment(&self) -> Option<u32> {
        self.scan().map(|entry| entry.location.segment()).max()
    }

    /// Chunks in it.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks
    }

    /// Chunks it has room for.
    #[must_use]
    pub fn chunks_max(&self) -> usize {
        self.chunks_max
    }

    /// Bytes it takes, used or not.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slots.len() * TABLE_SLOT_BYTES
    }

    fn home(&self, prefix: &Prefix) -> usize {
        let [a, b, c, d, e, f, g, h, ..] = *prefix;
        let leading = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        usize::try_from((u128::from(leading) * self.homes as u128) >> 64)
            .expect("it is less than the number of homes")
    }

    /// The name in a slot; `None` if it is empty or behind the end.
    fn prefix(&self, at: usize) -> Option<Prefix> {
        let slot = self.slots.get(at)?;
        is_occupied(slot).then(|| *slot.first_chunk().expect("a slot is longer than a prefix"))
    }
}

/// The first bytes of a name.
#[must_use]
pub fn prefix_of(id: &ChunkId) -> Prefix {
    *id.0.first_chunk().expect("a name is longer than a prefix")
}

/// A record has at least one byte, so a length of zero is an empty slot.
fn is_occupied(slot: &Slot) -> bool {
    slot[17..20] != [0; 3]
}

fn pack(entry: &Entry) -> Slot {
    assert!(
        entry.record_bytes > 0 && entry.record_bytes as usize <= RECORD_BYTES_MAX,
        "a chunk's record has a length that fits in its slot"
    );
    let length = entry.record_bytes | if entry.damaged { DAMAGED } else { 0 };
    let mut slot = [0; TABLE_SLOT_BYTES];
    slot[..12].copy_from_slice(&entry.prefix);
    slot[12..17].copy_from_slice(&entry.location.to_bytes());
    slot[17..20].copy_from_slice(&length.to_le_bytes()[..3]);
    slot[20..22].copy_from_slice(&entry.holders.0.to_le_bytes());
    slot[22..].copy_from_slice(&entry.claims.0.to_le_bytes());
    slot
}

fn unpack(slot: &Slot) -> Entry {
    let mut prefix = [0; PREFIX_BYTES];
    prefix.copy_from_slice(&slot[..12]);
    let length = u32::from_le_bytes([slot[17], slot[18], slot[19], 0]);
    Entry {
        prefix,
        location: Location::from_bytes([slot[12], slot[13], slot[14], slot[15], slot[16]]),
        record_bytes: length & LENGTH_MASK,
        damaged: length & DAMAGED != 0,
        holders: SetIndex(u16::from_le_bytes([slot[20], slot[21]])),
        claims: SetIndex(u16::from_le_bytes([slot[22], slot[23]])),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn entry(id: &ChunkId, place: u64) -> Entry {
        Entry {
            prefix: prefix_of(id),
            location: Location::new(1, place * 32).expect("a small place fits"),
            record_bytes: u32::try_from(place).expect("a small place fits") + 1,
            damaged: false,
            holders: SetIndex(0),
            claims: SetIndex(7),
        }
    }

    /// Names that crowd at few homes, at the very end too, and some that differ only behind the prefix.
    fn names() -> impl Strategy<Value = ChunkId> {
        let lead = prop_oneof![Just(0u8), Just(0x7f), Just(0xff), any::<u8>()];
        (lead, 0..4u8, 0..3u8).prop_map(|(lead, second, last)| {
            let mut id = [lead; 32];
            id[11] = second;
            id[31] = last;
            ChunkId(id)
        })
    }

    proptest! {
        #[test]
        fn the_table_holds_what_a_map_holds_and_scans_in_order(
            ids in prop::collection::vec((names(), any::<bool>(), prop::option::of(0..120usize)), 0..120)
        ) {
            let mut table = Table::new(100);
            let mut model: BTreeMap<(Prefix, u64), Entry> = BTreeMap::new();
            for (place, (id, spoil, goes)) in ids.iter().enumerate() {
                let place = place as u64;
                if let Some((other, ..)) = goes.and_then(|goes| ids.get(goes)) {
                    let there = model.range((prefix_of(other), 0)..=(prefix_of(other), u64::MAX));
                    if let Some((at, gone)) = there.map(|(at, entry)| (*at, *entry)).next() {
                        model.remove(&at);
                        prop_assert!(table.remove(other, gone.location));
                        prop_assert!(!table.remove(other, gone.location));
                    }
                }
                let mut wanted = entry(id, place);
                match table.insert(wanted) {
                    Ok(()) => {
                        if *spoil {
                            let spoilt = table.update(id, wanted.location, |e| e.damaged = true);
                            prop_assert!(spoilt);
                            wanted.damaged = true;
                        }
                        model.insert((wanted.prefix, place), wanted);
                    }
                    Err(TableFull) => prop_assert_eq!(model.len(), 100),
                }
            }
            prop_assert_eq!(table.chunks(), model.len());
            let scanned: Vec<Entry> = table.scan().collect();
            prop_assert_eq!(scanned, model.values().copied().collect::<Vec<_>>());
            for (id, ..) in &ids {
                let wanted: Vec<Entry> = model
                    .range((prefix_of(id), 0)..=(prefix_of(id), u64::MAX))
                    .map(|(_, entry)| *entry)
                    .collect();
                prop_assert_eq!(table.matches(id).collect::<Vec<_>>(), wanted);
            }
            prop_assert_eq!(table.matches(&ChunkId([0x33; 32])).count(),
                model.values().filter(|e| e.prefix == [0x33; 12]).count());
        }
    }

    #[test]
    fn a_name_that_is_not_there_changes_nothing() {
        let mut table = Table::new(4);
        let place = entry(&ChunkId([1; 32]), 3);
        table.insert(place).expect("it is empty");
        assert!(!table.update(&ChunkId([2; 32]), place.location, |e| e.damaged = true));
        assert!(!table.update(
            &ChunkId([1; 32]),
            Location::new(9, 0).expect("it fits"),
            |e| e.damaged = true
        ));
        assert_eq!(table.scan().collect::<Vec<_>>(), [place]);
    }
}
