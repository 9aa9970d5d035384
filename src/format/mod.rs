//! Bytes that cross a wall: disk, wire, paper. `FORMAT.md` beside this file is normative; one file here per record.
//!
//! Each file keeps the raw view of bytes apart from their legal meaning, and every parser is total: any bytes whatever
//! give a value or [`Malformed`], never a panic and never more memory than the limits allow.

pub mod compacted;
pub mod compare;
pub mod event;
pub mod head;
pub mod healed;
pub mod index;
mod index_deltas;
pub mod keys;
pub mod lived;
pub mod mended;
pub mod message;
pub mod opening;
pub mod record;
pub mod release;
pub mod roster;
pub mod runs;
pub mod sealed_note;
pub mod segment;
mod signature;
pub mod ticket;
pub mod unfinished;
pub mod unmet;
pub mod verified;

mod envelope;

pub use envelope::{decode, decode_file, encode, encode_file};

/// Bytes that are not what they should be. The fact says which record and which rule; nothing was changed by finding out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {record}: {rule}")]
pub struct Malformed {
    /// Which record of FORMAT.md it should have been.
    pub record: &'static str,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// Shorthand for an error of one record.
pub(crate) const fn malformed(record: &'static str, rule: &'static str) -> Malformed {
    Malformed { record, rule }
}
