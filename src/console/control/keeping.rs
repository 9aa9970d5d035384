//! What the control protocol says of stores: this Box's own, what the others keep for it, and the end of a sweep.

use serde::{Deserialize, Serialize};

/// What a Box keeps for the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// Chunks kept.
    pub chunks: u64,
    /// Chunks there is room for in the table.
    pub chunks_max: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Of these, bytes of records that somebody claims. The rest is what the store needs around them, and what compacting can
    /// give back.
    pub live_bytes: u64,
    /// Bytes of records that all who claimed them gave up, and that wait for their time.
    #[serde(default)]
    pub released_bytes: u64,
    /// Bytes that nobody claims: compacting gives back most of them, where it is worth it.
    #[serde(default)]
    pub reclaimable_bytes: u64,
    /// Bytes still free for data.
    pub free_bytes: u64,
    /// Chunks found not whole.
    pub damaged: u64,
    /// Places the last start found damaged, until nothing is lacking any more that any other Box knows to belong here.
    pub damaged_at_start: u64,
    /// Bytes one author may have here.
    pub quota_bytes: Option<u64>,
    /// Segment files, and how many of the closed ones were read, or written, lately and found whole.
    pub segments: (u64, u64),
    /// When the oldest of these was found whole, seconds since 1970.
    pub verified_seconds: Option<i64>,
    /// Segment files that were read again within the sweep period.
    pub segments_read: u64,
    /// When the first of these was, seconds since 1970.
    pub read_seconds: Option<i64>,
    /// The sweep period.
    pub sweep_period_days: u64,
    /// Times the disk was asked to make bytes durable, since the start.
    pub syncs: u64,
    /// Chunks that others, or this Box, asked for by name, since the start.
    pub asked: u64,
    /// How many keepers have what is kept here, as comparisons with them told; none was made yet without it.
    #[serde(default)]
    pub copies: Option<CopiesView>,
}

/// How many keepers have the chunks of a store, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopiesView {
    /// Whole chunks here.
    pub chunks: u64,
    /// Of these, known to be on as many keepers as they should be.
    pub enough: u64,
    /// Of these, known to be on fewer than the least number.
    pub few: u64,
    /// Chunks that belong on other keepers by now; they stay.
    pub extra: u64,
    /// Chunks that came here by comparing, in this run.
    pub taken: u64,
    /// Chunks others have and this keeper lacks: they could not be taken yet.
    pub lacking: u64,
    /// When it was compared last, seconds since 1970.
    pub compared_seconds: i64,
    /// With how many of the other keepers it was compared.
    pub compared_with: u32,
}

/// What a peer keeps for this Box, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomView {
    /// Chunks it keeps for everybody.
    pub chunks: u64,
    /// Chunks it has places for.
    pub chunks_max: u64,
    /// Bytes its store takes.
    pub stored_bytes: u64,
    /// Bytes of data it can still take.
    pub room_bytes: u64,
    /// Bytes it keeps for this Box.
    pub used_bytes: u64,
    /// Bytes this Box may have there.
    pub quota_bytes: Option<u64>,
    /// Chunks it found damaged and has not replaced yet.
    pub damaged: u64,
}

/// The end of `reserve sweep`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepView {
    /// Segments read.
    pub segments: u64,
    /// Frames compared with their names.
    pub frames: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// How long the reading took.
    pub milliseconds: u64,
    /// The first places that are not whole.
    pub damaged: Vec<String>,
    /// How many there are.
    pub damaged_count: u64,
    /// Chunks that were fetched anew from other Boxes.
    pub replaced: u64,
    /// Chunks that are still damaged.
    pub still_damaged: u64,
    /// Files of the Box's own state that did not read and were written again.
    pub state_repaired: Vec<String>,
    /// Places in the journal of events that did not read.
    pub events_damaged: u64,
    /// People's files that were compared with the last snapshot.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// The first that are not what was written.
    pub rotten: Vec<String>,
    /// How many there are.
    pub rotten_count: u64,
}
