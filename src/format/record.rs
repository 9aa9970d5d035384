//! A chunk's sealed record: header, sealed body, authentication code. Named by the BLAKE3 of all of it.
//!
//! Sealing is deterministic: the same plaintext under the same keys gives the same record, so equal data is kept once.
//! The key of a record depends on everything that enters its cipher, so it never meets two different inputs.

use std::cell::RefCell;
use std::io;

use ring::aead;
use zstd::bulk::Decompressor;

use super::keys::DataKeys;
use super::{Malformed, malformed};
use crate::terms::canary::{self, Canary};
use crate::terms::limits::{
    CUT_BYTES_MAX, RECORD_BYTES_MAX, RECORD_HEADER_BYTES, RECORD_SEAL_BYTES,
};
use crate::terms::{ChunkId, Codec, KeyEpoch, Kind, Suite};

const RECORD: &str = "sealed record";
const VERSION: u8 = 1;

/// What stands in clear before a sealed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// The cipher.
    pub suite: Suite,
    /// What the chunk holds.
    pub kind: Kind,
    /// How the body was made from the plaintext.
    pub codec: Codec,
    /// Whose keys seal it.
    pub epoch: KeyEpoch,
    /// How long the plaintext is: what a reader must have room for.
    pub plain_bytes: u32,
    /// Keyed hash of kind, codec and body.
    pub tag: [u8; 32],
}

impl RecordHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[0] = VERSION;
        bytes[1] = self.suite.byte();
        bytes[2] = self.kind.byte();
        bytes[3] = self.codec.byte();
        bytes[4..8].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.plain_bytes.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.tag);
        bytes
    }

    /// Reads the header of a whole record.
    pub fn of(record: &[u8]) -> Result<Self, Malformed> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(malformed(RECORD, "it is longer than a record may be"));
        }
        if record.len() < RECORD_HEADER_BYTES + RECORD_SEAL_BYTES {
            return Err(malformed(RECORD, "it is shorter than an empty record"));
        }
        let (bytes, _) = record
            .split_first_chunk::<RECORD_HEADER_BYTES>()
            .ok_or(malformed(RECORD, "it has no header"))?;
        if bytes[0] != VERSION {
            return Err(malformed(RECORD, "its version is not known here"));
        }
        if bytes[12..16] != [0; 4] {
            return Err(malformed(RECORD, "its reserved bytes are not zero"));
        }
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let plain_bytes = u32_at(8);
        if plain_bytes as usize > CUT_BYTES_MAX {
            return Err(malformed(
                RECORD,
                "its plaintext is longer than a chunk may be",
            ));
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(&bytes[16..48]);
        Ok(Self {
            suite: Suite::from_byte(bytes[1])
                .ok_or(malformed(RECORD, "its suite is not known here"))?,
            kind: Kind::from_byte(bytes[2])
                .ok_or(malformed(RECORD, "its kind is not known here"))?,
            codec: Codec::from_byte(bytes[3])
                .ok_or(malformed(RECORD, "its codec is not known here"))?,
            epoch: KeyEpoch(u32_at(4)),
            plain_bytes,
            tag,
        })
    }
}

/// A record's name.
#[must_use]
pub fn id_of(record: &[u8]) -> ChunkId {
    ChunkId(*blake3::hash(record).as_bytes())
}

/// Seals a body (the plaintext, or its compressed form) into a record.
///
/// # Panics
/// If the body or the plaintext is longer than [`CUT_BYTES_MAX`]; the cutter never makes such a piece.
#[must_use]
pub fn seal(
    keys: &DataKeys,
    suite: Suite,
    kind: Kind,
    codec: Codec,
    plain_bytes: usize,
    body: &[u8],
) -> Vec<u8> {
    assert!(
        body.len() <= CUT_BYTES_MAX && plain_bytes <= CUT_BYTES_MAX,
        "a chunk is at most CUT_BYTES_MAX long"
    );
    let header = RecordHeader {
        suite,
        kind,
        codec,
        epoch: keys.epoch,
        plain_bytes: u32::try_from(plain_bytes).expect("checked above"),
        tag: tag_of(keys, kind, codec, body),
    };
    let head = header.encode();
    let mut record = Vec::with_capacity(RECORD_HEADER_BYTES + body.len() + RECORD_SEAL_BYTES);
    record.extend_from_slice(&head);
    record.extend_from_slice(body);
    let sealed = cipher(keys, &header)
        .seal_in_place_separate_tag(
            nonce(),
            aead::Aad::from(head),
            &mut record[RECORD_HEADER_BYTES..],
        )
        .expect("a chunk is far below the cipher's limit");
    record.extend_from_slice(sealed.as_ref());
    record
}

/// Why a record could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The bytes are no record.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Sealed under another epoch's keys.
    #[error("sealed under the keys of epoch {0:?}, which are not at hand")]
    OtherEpoch(KeyEpoch),
    /// Not sealed by these keys, or changed since.
    #[error("the seal does not match: changed since it was sealed, or sealed by another reserve")]
    Forged,
    /// The body does not give the plaintext that was announced.
    #[error("the body does not unpack to what its header announces")]
    Unpack,
}

/// Opens a record in place and returns its header and plaintext.
///
/// The caller has compared [`id_of`] with the name it asked for; the seal says that a member wrote it.
pub fn open(keys: &DataKeys, mut record: Vec<u8>) -> Result<(RecordHeader, Vec<u8>), OpenError> {
    let header = RecordHeader::of(&record)?;
    if header.epoch != keys.epoch {
        return Err(OpenError::OtherEpoch(header.epoch));
    }
    // What comes out stands at the start: nothing has to be moved afterwards.
    let body_bytes = cipher(keys, &header)
        .open_within(
            nonce(),
            aead::Aad::from(header.encode()),
            &mut record,
            RECORD_HEADER_BYTES..,
        )
        .map_err(|_| OpenError::Forged)?
        .len();
    record.truncate(body_bytes);
    if tag_of(keys, header.kind, header.codec, &record) != header.tag {
        return Err(OpenError::Forged);
    }
    let plain_bytes = header.plain_bytes as usize;
    let plain = match header.codec {
        Codec::Plain => record,
        // The header bounds the output, so a bomb ends here.
        Codec::Zstd => unpacked(&record, plain_bytes).map_err(|_| OpenError::Unpack)?,
    };
    if plain.len() != plain_bytes {
        return Err(OpenError::Unpack);
    }
    Ok((header, plain))
}

thread_local! {
    /// Made once: making one takes longer than unpacking a page with it.
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn unpacked(bytes: &[u8], plain_bytes: usize) -> io::Result<Vec<u8>> {
    UNPACKER.with_borrow_mut(|unpacker| {
        let unpacker = match unpacker {
            Some(unpacker) => unpacker,
            None => unpacker.insert(Decompressor::new()?),
        };
        unpacker.decompress(bytes, plain_bytes)
    })
}

fn tag_of(keys: &DataKeys, kind: Kind, codec: Codec, body: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(&keys.tag);
    hasher.update(&[kind.byte(), codec.byte()]);
    if !canary::sings(Canary::SameKeyTwice) {
        hasher.update(body);
    }
    *hasher.finalize().as_bytes()
}

fn cipher(keys: &DataKeys, header: &RecordHeader) -> aead::LessSafeKey {
    let mut hasher = blake3::Hasher::new_keyed(&keys.seal);
    hasher.update(&[header.suite.byte(), header.kind.byte()]);
    hasher.update(&header.tag);
    let algorithm = match header.suite {
        Suite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        Suite::Aes256Gcm => &aead::AES_256_GCM,
    };
    let key = aead::UnboundKey::new(algorithm, hasher.finalize().as_bytes())
        .expect("both ciphers take 32 bytes");
    aead::LessSafeKey::new(key)
}

/// Zero: each key seals one record only.
fn nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::keys::ReserveSecret;

    fn keys() -> DataKeys {
        DataKeys::derive(KeyEpoch(1), &ReserveSecret([9; 32]))
    }

    #[test]
    fn a_record_opens_to_what_was_sealed_under_either_suite() {
        for suite in [Suite::ChaCha20Poly1305, Suite::Aes256Gcm] {
            for plain in [&b""[..], b"photo", &[3; 70_000]] {
                let record = seal(&keys(), suite, Kind::Data, Codec::Plain, plain.len(), plain);
                let again = seal(&keys(), suite, Kind::Data, Codec::Plain, plain.len(), plain);
                assert_eq!(id_of(&record), id_of(&again), "sealing is deterministic");
                let (header, opened) = open(&keys(), record).expect("just sealed");
                assert_eq!((header.kind, opened.as_slice()), (Kind::Data, plain));
            }
        }
    }

    #[test]
    fn a_compressed_record_opens_to_its_plaintext() {
        let plain = vec![b'a'; 100_000];
        let body = zstd::bulk::compress(&plain, 1).expect("memory");
        let record = seal(
            &keys(),
            Suite::Aes256Gcm,
            Kind::Page,
            Codec::Zstd,
            plain.len(),
            &body,
        );
        assert_eq!(open(&keys(), record).expect("just sealed").1, plain);
    }

    #[test]
    fn a_bomb_is_stopped_at_the_announced_length() {
        let plain = vec![0; 1 << 20];
        let body = zstd::bulk::compress(&plain, 1).expect("memory");
        let record = seal(
            &keys(),
            Suite::Aes256Gcm,
            Kind::Data,
            Codec::Zstd,
            10,
            &body,
        );
        assert_eq!(open(&keys(), record), Err(OpenError::Unpack));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let record = seal(
            &keys(),
            Suite::ChaCha20Poly1305,
            Kind::Node,
            Codec::Plain,
            5,
            b"photo",
        );
        for bit in 0..record.len() * 8 {
            let mut bad = record.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(id_of(&bad), id_of(&record));
            assert!(open(&keys(), bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_record_of_another_reserve_does_not_open() {
        let record = seal(
            &keys(),
            Suite::Aes256Gcm,
            Kind::Data,
            Codec::Plain,
            5,
            b"photo",
        );
        let other = DataKeys::derive(KeyEpoch(1), &ReserveSecret([8; 32]));
        assert_eq!(open(&other, record), Err(OpenError::Forged));
    }
}
