//! The two envelopes of postcard records: bare with a version byte, and as a file with magic and checksum.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Malformed, malformed};

const VERSION: u8 = 1;
const MAGIC: &[u8; 4] = b"RSVF";

/// Version byte, then postcard.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + encoded_bytes(value));
    bytes.push(VERSION);
    behind(bytes, value)
}

fn behind<T: Serialize>(bytes: Vec<u8>, value: &T) -> Vec<u8> {
    postcard::to_extend(value, bytes)
        .expect("our records have known lengths and memory is the only sink")
}

/// How long a record's postcard is: a buffer that grew to it by doubling could take three times as much for a moment.
fn encoded_bytes<T: Serialize>(value: &T) -> usize {
    struct Count(usize);
    impl Extend<u8> for Count {
        fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
            self.0 += bytes.into_iter().count();
        }
    }
    postcard::to_extend(value, Count(0))
        .expect("our records have known lengths and nothing is stored")
        .0
}

/// Reads what [`encode`] wrote; trailing bytes are refused.
pub fn decode<T: DeserializeOwned>(record: &'static str, bytes: &[u8]) -> Result<T, Malformed> {
    let (&version, rest) = bytes
        .split_first()
        .ok_or(malformed(record, "it is empty"))?;
    if version != VERSION {
        return Err(malformed(record, "its version is not known here"));
    }
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(malformed(record, "bytes follow its end")),
        Err(_) => Err(malformed(record, "it does not parse")),
    }
}

/// A small state file: magic, what [`encode`] gives, CRC-32 of all before (little-endian).
#[must_use]
pub fn encode_file<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(MAGIC.len() + 1 + encoded_bytes(value) + 4);
    bytes.extend(MAGIC);
    bytes.push(VERSION);
    let mut bytes = behind(bytes, value);
    let sum = crc32fast::hash(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// Reads what [`encode_file`] wrote.
pub fn decode_file<T: DeserializeOwned>(
    record: &'static str,
    bytes: &[u8],
) -> Result<T, Malformed> {
    let (body, sum) = bytes
        .split_last_chunk::<4>()
        .ok_or(malformed(record, "it is too short"))?;
    if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
        return Err(malformed(record, "its checksum does not match"));
    }
    let inner = body
        .strip_prefix(MAGIC.as_slice())
        .ok_or(malformed(record, "its magic is missing"))?;
    decode(record, inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_any_flipped_bit_is_refused() {
        let bytes = encode_file(&(7u32, "seven"));
        assert_eq!(
            decode_file::<(u32, String)>("test", &bytes),
            Ok((7, "seven".to_owned()))
        );
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                decode_file::<(u32, String)>("test", &bad).is_err(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = encode(&1u8);
        bytes.push(0);
        assert!(decode::<u8>("test", &bytes).is_err());
    }
}
