//! What stands in a keeper's segments: a header block, frames in commits, and a footer once the segment is full.

use super::{Malformed, malformed};
use crate::terms::limits::{
    BLOCK_BYTES, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, RECORD_BYTES_MAX, SEGMENT_BYTES,
};
use crate::terms::{ChunkId, PeerKey, StoreId};

const HEADER: &str = "segment header";
const FRAME: &str = "frame";
const FOOTER: &str = "segment footer";
const HEADER_MAGIC: &[u8; 8] = b"RSVSEGM1";
const FRAME_MAGIC: &[u8; 4] = b"RSVC";
const FOOTER_MAGIC: &[u8; 8] = b"RSVFOOT1";
/// Segment numbers have 17 bits in a location.
pub const SEGMENT_NUMBER_MAX: u32 = (1 << 17) - 1;
/// Bytes of a footer's entry.
pub const FOOTER_ENTRY_BYTES: usize = 44;
/// Bytes of the trailer that ends a closed segment; it is the last of its last block.
pub const TRAILER_BYTES: usize = 64;

/// The first block of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The store it belongs to.
    pub store: StoreId,
    /// Its number: the file is named by it.
    pub number: u32,
}

impl SegmentHeader {
    /// Its block.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[..8].copy_from_slice(HEADER_MAGIC);
        block[8..16].copy_from_slice(&self.store.0);
        block[16..20].copy_from_slice(&self.number.to_le_bytes());
        let sum = crc32fast::hash(&block[..20]);
        block[20..24].copy_from_slice(&sum.to_le_bytes());
        block
    }

    /// Reads it from the start of a segment.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; 24] = bytes
            .first_chunk()
            .ok_or(malformed(HEADER, "it is too short"))?;
        if &bytes[..8] != HEADER_MAGIC {
            return Err(malformed(HEADER, "its magic is missing"));
        }
        if crc32fast::hash(&bytes[..20]) != u32_at(bytes, 20) {
            return Err(malformed(HEADER, "its checksum does not match"));
        }
        Ok(Self {
            store: StoreId(array_at(bytes, 8)),
            number: u32_at(bytes, 16),
        })
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// A sealed record follows; the author named put it.
    Chunk = 1,
    /// Nothing follows: the author named claims the chunk named.
    Claim = 2,
    /// A signed head follows; the id is its hash.
    Head = 3,
    /// A noted release of the author named follows; the id is its hash.
    Release = 4,
    /// A list of what is the named author's no more follows; the id is its hash.
    Freed = 5,
}

impl FrameType {
    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Chunk),
            2 => Some(Self::Claim),
            3 => Some(Self::Head),
            4 => Some(Self::Release),
            5 => Some(Self::Freed),
            _ => None,
        }
    }
}

/// What stands before each payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What it is.
    pub frame: FrameType,
    /// Bytes of payload behind this header.
    pub payload_bytes: u32,
    /// The store it was written for: a reused disk's old frames are not ours.
    pub store: StoreId,
    /// Which commit it belongs to; grows through the life of a store.
    pub commit: u64,
    /// The chunk's name, or the head's hash.
    pub id: ChunkId,
    /// Who put or claims it.
    pub author: PeerKey,
}

impl FrameHeader {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(FRAME_MAGIC);
        bytes[4] = self.frame as u8;
        bytes[8..12].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.store.0);
        bytes[24..32].copy_from_slice(&self.commit.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.id.0);
        bytes[64..96].copy_from_slice(&self.author.0);
        let sum = Self::sum(&bytes);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads it; the store must still be compared.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes
            .first_chunk()
            .ok_or(malformed(FRAME, "it is too short"))?;
        if &bytes[..4] != FRAME_MAGIC {
            return Err(malformed(FRAME, "its magic is missing"));
        }
        if Self::sum(bytes) != u32_at(bytes, 12) {
            return Err(malformed(FRAME, "its checksum does not match"));
        }
        if bytes[5..8] != [0; 3] {
            return Err(malformed(FRAME, "its reserved bytes are not zero"));
        }
        let frame =
            FrameType::from_byte(bytes[4]).ok_or(malformed(FRAME, "its type is not known here"))?;
        let payload_bytes = u32_at(bytes, 8);
        let fits = match frame {
            FrameType::Chunk | FrameType::Head | FrameType::Release | FrameType::Freed => {
                payload_bytes as usize <= RECORD_BYTES_MAX && payload_bytes > 0
            }
            FrameType::Claim => payload_bytes == 0,
        };
        if !fits {
            return Err(malformed(FRAME, "its length is not one of its type"));
        }
        Ok(Self {
            frame,
            payload_bytes,
            store: StoreId(array_at(bytes, 16)),
            commit: u64::from_le_bytes(array_at(bytes, 24)),
            id: ChunkId(array_at(bytes, 32)),
            author: PeerKey(array_at(bytes, 64)),
        })
    }

    /// Bytes from this frame's start to where the next one of the same commit starts.
    #[must_use]
    pub const fn stride_bytes(&self) -> u64 {
        (FRAME_HEADER_BYTES as u64 + self.payload_bytes as u64).next_multiple_of(FRAME_ALIGN_BYTES)
    }

    fn sum(bytes: &[u8; FRAME_HEADER_BYTES]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..12]);
        hasher.update(&bytes[16..]);
        hasher.finalize()
    }
}

/// One frame as a footer lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FooterEntry {
    /// What it is.
    pub frame: FrameType,
    /// Its author's place in the footer's author list.
    pub author: u8,
    /// Bytes of payload.
    pub payload_bytes: u32,
    /// Where the frame starts in the segment.
    pub offset: u32,
    /// The chunk's name, or the head's hash.
    pub id: ChunkId,
}

impl FooterEntry {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FOOTER_ENTRY_BYTES] {
        let mut bytes = [0; FOOTER_ENTRY_BYTES];
        bytes[0] = self.frame as u8;
        bytes[1] = self.author;
        bytes[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.offset.to_le_bytes());
        bytes[12..44].copy_from_slice(&self.id.0);
        bytes
    }

    /// Reads one.
    pub fn decode(bytes: &[u8; FOOTER_ENTRY_BYTES]) -> Result<Self, Malformed> {
        let frame = FrameType::from_byte(bytes[0])
            .ok_or(malformed(FOOTER, "an entry's type is not known here"))?;
        let entry = Self {
            frame,
            author: bytes[1],
            payload_bytes: u32_at(bytes, 4),
            offset: u32_at(bytes, 8),
            id: ChunkId(array_at(bytes, 12)),
        };
        let end =
            u64::from(entry.offset) + FRAME_HEADER_BYTES as u64 + u64::from(entry.payload_bytes);
        if !u64::from(entry.offset).is_multiple_of(FRAME_ALIGN_BYTES)
            || end > SEGMENT_BYTES
            || entry.payload_bytes as usize > RECORD_BYTES_MAX
        {
            return Err(malformed(FOOTER, "an entry lies outside its segment"));
        }
        Ok(entry)
    }
}

/// The last 64 bytes of a closed segment: where its footer is and what it must hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// The store it belongs to.
    pub store: StoreId,
    /// The segment's number.
    pub number: u32,
    /// Where the footer starts: a multiple of the block.
    pub footer_offset: u32,
    /// How many authors it lists, 32 bytes each, before the entries.
    pub authors: u32,
    /// How many entries it lists.
    pub entries: u32,
    /// CRC-32 of authors and entries.
    pub footer_sum: u32,
    /// The last commit in the segment.
    pub commit: u64,
}

impl Trailer {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(FOOTER_MAGIC);
        bytes[8..16].copy_from_slice(&self.store.0);
        bytes[16..20].copy_from_slice(&self.number.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.footer_offset.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.authors.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.entries.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.footer_sum.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.commit.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads it from the end of a segment.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes: &[u8; TRAILER_BYTES] = bytes
            .last_chunk()
            .ok_or(malformed(FOOTER, "it is too short"))?;
        if &bytes[..8] != FOOTER_MAGIC {
            return Err(malformed(FOOTER, "its magic is missing"));
        }
        if crc32fast::hash(&bytes[..60]) != u32_at(bytes, 60) {
            return Err(malformed(FOOTER, "its checksum does not match"));
        }
        let trailer = Self {
            store: StoreId(array_at(bytes, 8)),
            number: u32_at(bytes, 16),
            footer_offset: u32_at(bytes, 20),
            authors: u32_at(bytes, 24),
            entries: u32_at(bytes, 28),
            footer_sum: u32_at(bytes, 32),
            commit: u64::from_le_bytes(array_at(bytes, 40)),
        };
        if trailer.authors > 255
            || !u64::from(trailer.footer_offset).is_multiple_of(BLOCK_BYTES as u64)
        {
            return Err(malformed(FOOTER, "its numbers are impossible"));
        }
        Ok(trailer)
    }

    /// Bytes of authors and entries.
    #[must_use]
    pub const fn footer_bytes(&self) -> u64 {
        32 * self.authors as u64 + FOOTER_ENTRY_BYTES as u64 * self.entries as u64
    }
}

/// Where a frame is: 17 bits of segment number, 23 bits of offset in units of [`FRAME_ALIGN_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location(u64);

impl Location {
    /// Of a frame that starts at `offset` of a segment; `None` if it does not fit in 40 bits.
    #[must_use]
    pub fn new(segment: u32, offset: u64) -> Option<Self> {
        let fits = segment <= SEGMENT_NUMBER_MAX
            && offset < SEGMENT_BYTES
            && offset.is_multiple_of(FRAME_ALIGN_BYTES);
        fits.then(|| Self((u64::from(segment) << 23) | (offset / FRAME_ALIGN_BYTES)))
    }

    /// The segment's number.
    #[must_use]
    pub fn segment(self) -> u32 {
        u32::try_from(self.0 >> 23).expect("a location has 40 bits")
    }

    /// Where the frame starts in it.
    #[must_use]
    pub const fn offset(self) -> u64 {
        (self.0 & 0x7f_ffff) * FRAME_ALIGN_BYTES
    }

    /// As it stands in a table slot.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 5] {
        let [a, b, c, d, e, ..] = self.0.to_le_bytes();
        [a, b, c, d, e]
    }

    /// From a table slot: every five bytes are some location.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 5]) -> Self {
        let [a, b, c, d, e] = bytes;
        Self(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_reads_back_and_no_flipped_bit_passes() {
        let store = StoreId([5; 8]);
        let header = SegmentHeader { store, number: 77 };
        let frame = FrameHeader {
            frame: FrameType::Chunk,
            payload_bytes: 9,
            store,
            commit: 3,
            id: ChunkId([1; 32]),
            author: PeerKey([2; 32]),
        };
        let trailer = Trailer {
            store,
            number: 77,
            footer_offset: 8192,
            authors: 2,
            entries: 3,
            footer_sum: 4,
            commit: 5,
        };
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        assert_eq!(FrameHeader::decode(&frame.encode()), Ok(frame));
        assert_eq!(Trailer::decode(&trailer.encode()), Ok(trailer));
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mut bad = frame.encode();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(FrameHeader::decode(&bad).is_err(), "bit {bit}");
        }
        for bit in 0..TRAILER_BYTES * 8 {
            let mut bad = trailer.encode();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Trailer::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_location_keeps_its_forty_bits() {
        let last =
            Location::new(SEGMENT_NUMBER_MAX, SEGMENT_BYTES - FRAME_ALIGN_BYTES).expect("it fits");
        assert_eq!(
            (last.segment(), last.offset()),
            (SEGMENT_NUMBER_MAX, SEGMENT_BYTES - FRAME_ALIGN_BYTES)
        );
        assert_eq!(Location::from_bytes(last.to_bytes()), last);
        assert_eq!(Location::new(SEGMENT_NUMBER_MAX + 1, 0), None);
        assert_eq!(Location::new(0, SEGMENT_BYTES), None);
    }
}
