//! The words of the house as types, and every limit with its unit and its reason.
//!
//! Nothing here acts: no I/O, no clock, no randomness. Every room may import it; it imports nothing of ours.

pub mod canary;
pub mod limits;

mod events;
mod ids;
mod kinds;
mod places;

pub use events::{EventKind, EventType, FactName, Lasting};
pub use ids::{
    AuthorIndex, BadHex, ChunkId, HeadHash, KeyEpoch, PeerKey, ReserveId, SnapshotNumber, StoreId,
};
pub use kinds::{Codec, ConsistencyLabel, Kind, Limitation, Suite};
pub use places::{FileSystemId, Stamp};
