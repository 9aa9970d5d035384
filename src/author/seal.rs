//! From plaintext to a sealed record: the choice of the codec, the seal, and a look at the memory it was made in.
//!
//! Sealing stays deterministic: the choice depends on the plaintext alone. It knows nothing of where records go.

use std::rc::Rc;

use crate::format::keys::DataKeys;
use crate::format::record;
use crate::terms::limits::SEAL_CHECK_ONE_IN;
use crate::terms::{ChunkId, Codec, Kind, Suite};

/// A start of this length tells whether the rest is worth a try.
const SAMPLE_BYTES: usize = 32 << 10;
/// The compressed form must save one part in this many.
const GAIN_ONE_IN: usize = 32;

/// Why a record could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// What was sealed did not open to its source, twice.
    #[error(
        "this Box's memory is not reliable: a chunk it sealed did not open to what it was made of, twice; nothing was \
         published, earlier snapshots are unchanged; have the Box's memory checked or replace the Box"
    )]
    MemoryUnreliable,
}

/// Seals chunks with one reserve's keys.
pub struct Sealer {
    keys: Rc<DataKeys>,
    suite: Suite,
    fast: zstd::bulk::Compressor<'static>,
    thorough: zstd::bulk::Compressor<'static>,
    made: u32,
}

impl Sealer {
    /// A sealer. Compression contexts are made once, here.
    pub fn new(keys: Rc<DataKeys>, suite: Suite) -> std::io::Result<Self> {
        Ok(Self {
            keys,
            suite,
            fast: zstd::bulk::Compressor::new(1)?,
            thorough: thorough()?,
            made: 0,
        })
    }

    /// A piece of a file.
    pub fn piece(&mut self, plain: &[u8]) -> Result<(ChunkId, Vec<u8>), SealError> {
        let packed = self.packed_piece(plain);
        self.record(Kind::Data, plain, packed)
    }

    /// What data would be called under other keys, and how long it would be sealed; `is_pack` as in [`Self::dense`].
    pub fn names_under(
        &mut self,
        others: &[Rc<DataKeys>],
        plain: &[u8],
        is_pack: bool,
    ) -> Vec<(ChunkId, u32)> {
        if others.is_empty() {
            return Vec::new();
        }
        let packed = if is_pack {
            gain(&mut self.thorough, plain)
        } else {
            self.packed_piece(plain)
        };
        let (codec, body) = match &packed {
            Some(packed) => (Codec::Zstd, packed.as_slice()),
            None => (Codec::Plain, plain),
        };
        let name = |keys: &Rc<DataKeys>| {
            let record = record::seal(keys, self.suite, Kind::Data, codec, plain.len(), body);
            let bytes = u32::try_from(record.len()).unwrap_or(u32::MAX);
            (record::id_of(&record), bytes)
        };
        others.iter().map(name).collect()
    }

    fn packed_piece(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let sample = &plain[..plain.len().min(SAMPLE_BYTES)];
        let promising = sample.len() == plain.len() || gain(&mut self.fast, sample).is_some();
        if promising {
            gain(&mut self.fast, plain)
        } else {
            None
        }
    }

    /// Something small and textual: a pack, a page, a node, a manifest.
    pub fn dense(&mut self, kind: Kind, plain: &[u8]) -> Result<(ChunkId, Vec<u8>), SealError> {
        let packed = gain(&mut self.thorough, plain);
        self.record(kind, plain, packed)
    }

    fn record(
        &mut self,
        kind: Kind,
        plain: &[u8],
        packed: Option<Vec<u8>>,
    ) -> Result<(ChunkId, Vec<u8>), SealError> {
        let (codec, body) = match &packed {
            Some(packed) => (Codec::Zstd, packed.as_slice()),
            None => (Codec::Plain, plain),
        };
        let make = || record::seal(&self.keys, self.suite, kind, codec, plain.len(), body);
        let is_checked = self.made.is_multiple_of(SEAL_CHECK_ONE_IN);
        self.made = self.made.wrapping_add(1);
        if !is_checked {
            let record = make();
            return Ok((record::id_of(&record), record));
        }
        made_twice_at_most(make, |record| {
            record::open(&self.keys, record)
                .is_ok_and(|(header, opened)| header.kind == kind && opened.as_slice() == plain)
        })
    }
}

/// For what is small and textual: level 3 with tables twice as large, which finds more in packs at no cost in time.
fn thorough() -> std::io::Result<zstd::bulk::Compressor<'static>> {
    use zstd::zstd_safe::CParameter;
    let mut compressor = zstd::bulk::Compressor::new(3)?;
    compressor.set_parameter(CParameter::HashLog(18))?;
    compressor.set_parameter(CParameter::ChainLog(17))?;
    Ok(compressor)
}

/// What `make` gives, if it holds; tried once more if it does not. To hold means to open, and to be made a second time as it
/// was the first: opening uses a record up, which spares the memory of a copy.
fn made_twice_at_most(
    mut make: impl FnMut() -> Vec<u8>,
    holds: impl Fn(Vec<u8>) -> bool,
) -> Result<(ChunkId, Vec<u8>), SealError> {
    for _ in 0..2 {
        let first = make();
        let id = record::id_of(&first);
        if holds(first) {
            let record = make();
            if record::id_of(&record) == id {
                return Ok((id, record));
            }
        }
    }
    Err(SealError::MemoryUnreliable)
}

/// The compressed form, if it saves enough.
fn gain(compressor: &mut zstd::bulk::Compressor<'static>, plain: &[u8]) -> Option<Vec<u8>> {
    let packed = compressor.compress(plain).ok()?;
    (packed.len() + plain.len().div_ceil(GAIN_ONE_IN) <= plain.len()).then_some(packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::keys::ReserveSecret;
    use crate::format::record::{RecordHeader, open};
    use crate::terms::KeyEpoch;

    fn keys() -> Rc<DataKeys> {
        Rc::new(DataKeys::derive(KeyEpoch(1), &ReserveSecret([7; 32])))
    }

    fn sealer() -> Sealer {
        Sealer::new(keys(), Suite::ChaCha20Poly1305).expect("zstd has memory for a context")
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn what_was_sealed_opens_to_what_it_was_made_of() {
        let text = b"the basement floods ".repeat(9000);
        for plain in [&text[..], &noise(100_000), b"x", b""] {
            let (id, record) = sealer().piece(plain).expect("sealed");
            assert_eq!(record::id_of(&record), id);
            let (header, opened) = open(&keys(), record).expect("opened");
            assert_eq!((header.kind, opened.as_slice()), (Kind::Data, plain));
        }
    }

    #[test]
    fn text_is_compressed_and_noise_is_not() {
        let codec = |record: &[u8]| RecordHeader::of(record).map(|header| header.codec);
        let text = b"the basement floods ".repeat(9000);
        let (_, record) = sealer().piece(&text).expect("sealed");
        assert_eq!(codec(&record), Ok(Codec::Zstd));
        assert!(record.len() < text.len() / 10);
        let (_, record) = sealer().dense(Kind::Page, &noise(100_000)).expect("sealed");
        assert_eq!(codec(&record), Ok(Codec::Plain));
        // Noise at the start decides for the rest.
        let mut mixed = noise(SAMPLE_BYTES);
        mixed.extend(text);
        let (_, record) = sealer().piece(&mixed).expect("sealed");
        assert_eq!(codec(&record), Ok(Codec::Plain));
    }

    #[test]
    fn equal_plaintext_gives_equal_records_whatever_was_sealed_before() {
        let text = b"equal ".repeat(9000);
        let mut busy = sealer();
        for at in 0..70 {
            busy.piece(&noise(at * 100)).expect("sealed");
        }
        assert_eq!(
            busy.piece(&text).expect("sealed"),
            sealer().piece(&text).expect("sealed")
        );
    }

    #[test]
    fn a_bad_record_is_made_again_once_and_a_second_one_is_an_error() {
        let one_after_another = |made: &'static [u8]| {
            let mut made = made.iter();
            move || vec![*made.next().expect("it is not made so often")]
        };
        let good = Ok((record::id_of(&[2]), vec![2]));
        let is_two = |record: Vec<u8>| record == [2];
        assert_eq!(made_twice_at_most(one_after_another(&[2, 2]), is_two), good);
        // It did not open, or came out otherwise the second time.
        for made in [&[1, 2, 2], &[2, 1, 2, 2][..]] {
            assert_eq!(made_twice_at_most(one_after_another(made), is_two), good);
        }
        let made = made_twice_at_most(|| vec![9], |_| false);
        assert_eq!(made, Err(SealError::MemoryUnreliable));
    }
}
