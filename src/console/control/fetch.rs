//! Behind the lines of JSON: requests for chunks and their answers, in binary; and at the end what came of the retrieval.

use crate::terms::{ChunkId, Kind};

/// Bytes of a chunk request: tag `u32`, kind `u8`, id; little-endian.
pub const FETCH_BYTES: usize = 37;
/// Bytes before each answer: tag `u32`, status `u8` (0 plaintext follows, 1 a reason in words follows), length `u32`.
pub const CHUNK_HEADER_BYTES: usize = 9;

/// One chunk request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// Comes back with the answer.
    pub tag: u32,
    /// What the chunk must hold.
    pub kind: Kind,
    /// Which.
    pub id: ChunkId,
}

impl Fetch {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FETCH_BYTES] {
        let mut bytes = [0; FETCH_BYTES];
        bytes[..4].copy_from_slice(&self.tag.to_le_bytes());
        bytes[4] = self.kind.byte();
        bytes[5..].copy_from_slice(&self.id.0);
        bytes
    }

    /// Reads one; `None` if the kind is not known.
    #[must_use]
    pub fn decode(bytes: &[u8; FETCH_BYTES]) -> Option<Self> {
        let [a, b, c, d, kind, id @ ..] = *bytes;
        Some(Self {
            tag: u32::from_le_bytes([a, b, c, d]),
            kind: Kind::from_byte(kind)?,
            id: ChunkId(id),
        })
    }
}

/// How a retrieval ended. It stands where a request would: tag `u32`, `u8` 0, files `u64`, bytes `u64`, things that did not come back
/// `u64`, `u8` 1 if it ended early, 7 reserved. The answer is a header without a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Comes back with the answer.
    pub tag: u32,
    /// Files that are there, whole.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Things that did not come back.
    pub missing: u64,
    /// It ended before its end.
    pub early: bool,
}

impl Ended {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FETCH_BYTES] {
        let mut bytes = [0; FETCH_BYTES];
        bytes[..4].copy_from_slice(&self.tag.to_le_bytes());
        let counts = [self.files, self.bytes, self.missing, self.early.into()];
        for (place, count) in bytes[5..].chunks_exact_mut(8).zip(counts) {
            place.copy_from_slice(&count.to_le_bytes());
        }
        bytes
    }

    /// Reads one; `None` if it is something else.
    #[must_use]
    pub fn decode(bytes: &[u8; FETCH_BYTES]) -> Option<Self> {
        let [a, b, c, d, 0, counts @ ..] = bytes else {
            return None;
        };
        let mut counts = counts
            .chunks_exact(8)
            .filter_map(|count| count.try_into().ok().map(u64::from_le_bytes));
        Some(Self {
            tag: u32::from_le_bytes([*a, *b, *c, *d]),
            files: counts.next()?,
            bytes: counts.next()?,
            missing: counts.next()?,
            early: match counts.next()? {
                0 => false,
                1 => true,
                _ => return None,
            },
        })
    }
}

/// The header of one chunk answer.
#[must_use]
pub fn chunk_header(tag: u32, is_chunk: bool, bytes: u32) -> [u8; CHUNK_HEADER_BYTES] {
    let mut header = [0; CHUNK_HEADER_BYTES];
    header[..4].copy_from_slice(&tag.to_le_bytes());
    header[4] = u8::from(!is_chunk);
    header[5..].copy_from_slice(&bytes.to_le_bytes());
    header
}

/// Reads the header of one chunk answer: tag, whether a chunk follows, how many bytes.
#[must_use]
pub fn read_chunk_header(header: &[u8; CHUNK_HEADER_BYTES]) -> (u32, bool, u32) {
    let [a, b, c, d, status, e, f, g, h] = *header;
    (
        u32::from_le_bytes([a, b, c, d]),
        status == 0,
        u32::from_le_bytes([e, f, g, h]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_and_its_answer_read_back() {
        let fetch = Fetch {
            tag: 7,
            kind: Kind::Page,
            id: ChunkId([9; 32]),
        };
        assert_eq!(Fetch::decode(&fetch.encode()), Some(fetch));
        assert_eq!(Ended::decode(&fetch.encode()), None);
        for early in [false, true] {
            let ended = Ended {
                tag: 8,
                files: 1 << 40,
                bytes: 2,
                missing: 3,
                early,
            };
            assert_eq!(Ended::decode(&ended.encode()), Some(ended));
            assert_eq!(Fetch::decode(&ended.encode()), None);
        }
        let mut strange = fetch.encode();
        strange[4] = 0;
        assert_eq!(Ended::decode(&strange), None, "a reserved byte is not zero");
        assert_eq!(
            read_chunk_header(&chunk_header(7, true, 123)),
            (7, true, 123)
        );
    }
}
