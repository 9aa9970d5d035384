//! How two keepers find out what one of them lacks, without telling each other all they have: fingerprints of ranges of names,
//! then marks of what is in the ranges that differ.
//!
//! Compared are *claims*: pairs of a chunk and an author that needs it, of chunks that belong on both keepers. The first 12 bytes of a
//! chunk's name stand for it. Questions are answered from what they say alone: nobody remembers a comparison that is under way.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Malformed, malformed};
use crate::terms::limits::{COMPARE_NAMES_MAX, COMPARE_PRINTS_MAX, MEMBERS_MAX};
use crate::terms::{ChunkId, PeerKey};

/// The first bytes of a chunk's name: as many as a keeper has in memory.
pub const PREFIX_BYTES: usize = 12;

/// The first bytes of a chunk's name.
pub type Prefix = [u8; PREFIX_BYTES];

/// The finest ranges: names that agree in so many leading bits.
pub const DEPTH_MAX: u8 = 20;

const PRINT_BYTES: usize = 8;
const COMPARISON: &str = "comparison";

/// What both sides must see alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// Drawn anew for each comparison, so that nobody can make two sets whose fingerprints are equal.
    pub salt: u64,
    /// First bytes of a hash over members, sites and the wanted copies: placement must come out the same.
    pub places: [u8; 16],
    /// Members whose copies the asking keeper does not count on, sorted: they have been away for too long.
    pub absent: Vec<PeerKey>,
}

/// Ranges of names by their leading bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    /// How many leading bits.
    pub depth: u8,
    /// What they are, rising; at depth 0 it is the one range of all names.
    pub of: Vec<u32>,
}

/// Which of these differ from what you have? Each range is cut into `2^split` parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prints {
    /// What both must see alike.
    pub basis: Basis,
    /// Which ranges.
    pub ranges: Ranges,
    /// Into how many bits' parts each is cut.
    pub split: u8,
    /// The fingerprint of each part as eight bytes, in order.
    pub prints: ByteBuf,
}

/// These are the marks of what I have in these ranges: what of it have you not, and what have you besides?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// What both must see alike.
    pub basis: Basis,
    /// Which ranges.
    pub ranges: Ranges,
    /// Only what comes behind this name.
    pub after: Option<Prefix>,
    /// Only what fewer keepers than this are known to have is named; 0 names everything.
    pub copies_below: u8,
    /// Eight bytes each, in any order.
    pub marks: ByteBuf,
}

/// Answers [`Marks`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmatched {
    /// One bit for each mark, from the least significant of byte 0: 1 if the answerer lacks it.
    pub lacking: ByteBuf,
    /// What the answerer has besides, by the author that claims it.
    pub named: Vec<(PeerKey, Vec<ChunkId>)>,
    /// There is more behind this name.
    pub more: Option<Prefix>,
}

/// The mark of a claim: a 64-bit hash that nobody can choose, since its salt is drawn by whoever asks.
#[derive(Debug, Clone, Copy)]
pub struct Marker([u8; 32]);

impl Marker {
    /// For the claims of one author in one comparison.
    #[must_use]
    pub fn new(salt: u64, author: PeerKey) -> Self {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&salt.to_le_bytes());
        bytes[8..].copy_from_slice(&author.0);
        Self(*blake3::hash(&bytes).as_bytes())
    }

    /// Of a chunk. Keyed BLAKE3 of its prefix, first eight bytes.
    #[must_use]
    pub fn mark(&self, prefix: &Prefix) -> u64 {
        let hash = blake3::keyed_hash(&self.0, prefix);
        u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash is longer"))
    }
}

/// A name's leading bits.
#[must_use]
pub fn leading(prefix: &Prefix, bits: u8) -> u32 {
    let [a, b, c, d, ..] = *prefix;
    let leading = u64::from(u32::from_be_bytes([a, b, c, d]));
    u32::try_from(leading >> (32 - u32::from(bits.min(32)))).unwrap_or(u32::MAX)
}

/// The lowest name a range may have in it.
#[must_use]
pub fn first_of(range: u32, depth: u8) -> Prefix {
    let mut prefix = [0; PREFIX_BYTES];
    let leading = u64::from(range) << (32 - u32::from(depth.min(32)));
    prefix[..4].copy_from_slice(&u32::try_from(leading).unwrap_or(u32::MAX).to_be_bytes());
    prefix
}

/// Eight bytes each.
#[must_use]
pub fn to_bytes(numbers: &[u64]) -> ByteBuf {
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    ByteBuf::from(bytes.collect::<Vec<_>>())
}

/// Numbers of eight bytes; what is over at the end is none.
pub fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (numbers, _) = bytes.as_chunks::<PRINT_BYTES>();
    numbers.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

impl Basis {
    fn check(&self) -> Result<(), Malformed> {
        let rises = self.absent.is_sorted_by(|one, next| one < next);
        if !rises || self.absent.len() > MEMBERS_MAX {
            return Err(malformed(COMPARISON, "its list of members is none"));
        }
        Ok(())
    }
}

impl Ranges {
    fn check(&self) -> Result<(), Malformed> {
        let within = |range: &u32| u64::from(*range) < 1 << self.depth;
        let fits = self.depth <= DEPTH_MAX && self.of.iter().all(within);
        let rises = self.of.is_sorted_by(|one, next| one < next);
        if !fits || !rises || self.of.is_empty() || self.of.len() > COMPARE_PRINTS_MAX {
            return Err(malformed(COMPARISON, "its ranges are none"));
        }
        Ok(())
    }
}

impl Prints {
    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        self.basis.check()?;
        self.ranges.check()?;
        let is_fine = self.ranges.depth.saturating_add(self.split) <= DEPTH_MAX;
        let parts = self.ranges.of.len() << self.split.min(DEPTH_MAX);
        if !is_fine || parts > COMPARE_PRINTS_MAX || self.prints.len() != parts * PRINT_BYTES {
            return Err(malformed(
                COMPARISON,
                "its fingerprints do not match its ranges",
            ));
        }
        Ok(())
    }
}

impl Marks {
    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        self.basis.check()?;
        self.ranges.check()?;
        let is_whole = self.marks.len().is_multiple_of(PRINT_BYTES);
        if !is_whole || self.marks.len() > COMPARE_PRINTS_MAX * PRINT_BYTES {
            return Err(malformed(COMPARISON, "its marks are cut or too many"));
        }
        Ok(())
    }
}

impl Unmatched {
    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        let named: usize = self.named.iter().map(|(_, ids)| ids.len()).sum();
        let is_much = named > COMPARE_NAMES_MAX || self.named.len() > COMPARE_NAMES_MAX;
        if is_much || self.lacking.len() > COMPARE_PRINTS_MAX.div_ceil(8) {
            return Err(malformed(COMPARISON, "its answer is too long"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_begins_with_its_leading_bits() {
        for (range, depth) in [(0, 0), (0, 1), (1, 1), (0xabc, 12), (0xf_ffff, 20)] {
            let first = first_of(range, depth);
            assert_eq!(leading(&first, depth), range, "{range} of {depth} bits");
        }
        assert_eq!(leading(&[0xff; 12], 0), 0);
        assert_eq!(leading(&[0xff; 12], 20), 0xf_ffff);
    }

    #[test]
    fn a_claim_has_another_mark_for_another_author_and_another_salt() {
        let prefix = [7; 12];
        let mark = |salt, author| Marker::new(salt, PeerKey([author; 32])).mark(&prefix);
        assert_eq!(mark(1, 1), mark(1, 1));
        assert_ne!(mark(1, 1), mark(2, 1));
        assert_ne!(mark(1, 1), mark(1, 2));
    }
}
