//! What a store remembers of its last readings: which segments were found whole, how they looked then, and when; how far it had
//! written; and a mark that others compare to know whether it lost anything since they asked.
//!
//! Only a memory: without it everything is read again, and the others ask again.

use serde::{Deserialize, Serialize};

use super::{Malformed, decode_file, encode_file, malformed};
use crate::format::segment::SEGMENT_NUMBER_MAX;
use crate::terms::{Stamp, StoreId};

const VERIFIED: &str = "list of verified segments";

/// Every closed segment of a store that was found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Which store.
    pub store: StoreId,
    /// Its segments, numbers rising.
    pub segments: Vec<SegmentMark>,
    /// Drawn anew whenever something that was kept is found lost or damaged.
    pub unbroken: u64,
    /// The segment that was appended to, and where its last acknowledged commit ended.
    pub end: Option<(u32, u64)>,
}

/// One segment that was found whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentMark {
    /// Its number.
    pub number: u32,
    /// The file's length then, in bytes.
    pub len: u64,
    /// When the file had been changed last, as the file system tells it.
    pub changed: Stamp,
    /// When all of it was read, or written, and found whole.
    pub verified: Stamp,
    /// Whether it was read then, and not only written.
    pub is_read: bool,
}

impl Verified {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_file(self)
    }

    /// Reads it; numbers that do not rise are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let verified: Self = decode_file(VERIFIED, bytes)?;
        let numbers = || verified.segments.iter().map(|mark| mark.number);
        if !numbers().is_sorted_by(|one, next| one < next) {
            return Err(malformed(VERIFIED, "its numbers do not rise"));
        }
        let open = verified.end.map(|(number, _)| number);
        if numbers()
            .chain(open)
            .any(|number| number > SEGMENT_NUMBER_MAX)
        {
            return Err(malformed(VERIFIED, "a number is none of a segment"));
        }
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_read_back_and_disorder_is_refused() {
        let mark = |number| SegmentMark {
            number,
            len: 4096,
            changed: Stamp::default(),
            verified: Stamp::default(),
            is_read: number == 2,
        };
        let verified = |numbers: &[u32]| Verified {
            store: StoreId([1; 8]),
            segments: numbers.iter().copied().map(mark).collect(),
            unbroken: 7,
            end: Some((10, 8192)),
        };
        let good = verified(&[1, 2, 9]);
        assert_eq!(Verified::decode(&good.encode()), Ok(good));
        for bad in [&[2, 1][..], &[1, 1], &[SEGMENT_NUMBER_MAX + 1]] {
            assert!(Verified::decode(&verified(bad).encode()).is_err());
        }
        let mut beyond = verified(&[1]);
        beyond.end = Some((SEGMENT_NUMBER_MAX + 1, 0));
        assert!(Verified::decode(&beyond.encode()).is_err());
    }
}
