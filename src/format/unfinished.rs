//! The note an unfinished retrieval leaves in its target, so that the same command goes on where it ended.
//!
//! It helps and never decides what is safe: whoever can write in the target could have written it. A line for people comes
//! first, the record behind it.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Malformed, decode_file, encode_file, malformed};
use crate::terms::limits::PATH_BYTES_MAX;

const UNFINISHED: &str = "note of an unfinished retrieval";
/// What a person reads who opens the file.
const FOR_PEOPLE: &[u8] =
    b"This directory is not complete. The `reserve retrieve` command that filled it goes on when it is given again.\n";
/// The longest note.
pub const NOTE_BYTES_MAX: usize = 1 << 20;
/// Large files that are under way at once.
pub const NOTE_PARTS_MAX: usize = 8;

/// How far a retrieval came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// BLAKE3 of which snapshot, and what of it, was asked for.
    pub wish: [u8; 32],
    /// Stands in the names of its unfinished files.
    pub tag: u64,
    /// The target was empty at first: all in it is of this retrieval.
    pub began_empty: bool,
    /// The run of the machine (not of the program) in which this was written, where that can be told.
    pub boot: Option<[u8; 16]>,
    /// All that comes up to this path, it included, is on stable storage.
    pub durable: Option<ByteBuf>,
    /// Large files that are not whole yet.
    pub parts: Vec<UnfinishedPart>,
}

/// A large file that is not whole yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedPart {
    /// Its path below the target.
    pub path: ByteBuf,
    /// Bytes from its start that are written.
    pub bytes: u64,
    /// Bytes from its start that are on stable storage.
    pub durable_bytes: u64,
}

impl Unfinished {
    /// The note's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = FOR_PEOPLE.to_vec();
        bytes.extend(encode_file(self));
        bytes
    }

    /// Reads a note.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(malformed(UNFINISHED, "it is longer than a note may be"));
        }
        let record = bytes
            .strip_prefix(FOR_PEOPLE)
            .ok_or(malformed(UNFINISHED, "it does not begin as a note does"))?;
        let note: Self = decode_file(UNFINISHED, record)?;
        let paths = note
            .parts
            .iter()
            .map(|part| &part.path)
            .chain(&note.durable);
        if note.parts.len() > NOTE_PARTS_MAX {
            return Err(malformed(UNFINISHED, "it tells of too many files"));
        }
        // A path below the target has the name of its data set before it.
        if paths
            .into_iter()
            .any(|path| path.len() > PATH_BYTES_MAX + 256)
        {
            return Err(malformed(UNFINISHED, "a path is too long"));
        }
        if note
            .parts
            .iter()
            .any(|part| part.durable_bytes > part.bytes)
        {
            return Err(malformed(UNFINISHED, "more is durable than is written"));
        }
        Ok(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Unfinished {
        Unfinished {
            wish: [1; 32],
            tag: 7,
            began_empty: true,
            boot: Some([3; 16]),
            durable: Some(ByteBuf::from(b"a/b".to_vec())),
            parts: vec![UnfinishedPart {
                path: ByteBuf::from(b"film".to_vec()),
                bytes: 10,
                durable_bytes: 4,
            }],
        }
    }

    #[test]
    fn a_note_reads_back_and_begins_with_a_line_for_people() {
        let note = note();
        let bytes = note.encode();
        assert!(bytes.starts_with(b"This directory is not complete."));
        assert_eq!(Unfinished::decode(&bytes), Ok(note));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let mut lies = note();
        lies.parts[0].durable_bytes = 11;
        assert!(Unfinished::decode(&lies.encode()).is_err());
        let mut many = note();
        many.parts = vec![many.parts[0].clone(); NOTE_PARTS_MAX + 1];
        assert!(Unfinished::decode(&many.encode()).is_err());
        assert!(Unfinished::decode(b"").is_err());
        assert!(Unfinished::decode(&note().encode()[..150]).is_err());
    }
}
