//! A snapshot's head (public, signed) and manifest (sealed). The head names the manifest, so its signature covers all.

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use smol_str::SmolStr;

use super::signature::{self, NotSigned};
use super::{Malformed, decode, encode, malformed};
use crate::terms::limits::{DATA_SETS_MAX, NAME_BYTES_MAX, TREE_HEIGHT_MAX};
use crate::terms::{
    ChunkId, ConsistencyLabel, FileSystemId, HeadHash, PeerKey, ReserveId, SnapshotNumber, Stamp,
};

const HEAD: &str = "head";
const MANIFEST: &str = "manifest";
const SIGNED: &[u8] = b"reserve 2026-11-24 head v1";

/// What keepers without the data key may know of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which reserve.
    pub reserve: ReserveId,
    /// Whose snapshot.
    pub author: PeerKey,
    /// Drawn anew when the author's memory of its numbers was lost.
    pub incarnation: [u8; 8],
    /// Its place in the author's history.
    pub number: SnapshotNumber,
    /// The head before it.
    pub previous: Option<HeadHash>,
    /// The sealed manifest.
    pub manifest: ChunkId,
    /// What the author's clock said, as data.
    pub taken: Stamp,
    /// Chunks in its closure, manifest, nodes and pages included.
    pub chunks: u64,
    /// Their sealed bytes.
    pub sealed_bytes: u64,
    /// Whether `latest` may mean it: a snapshot that lost suspiciously much waits for a person.
    pub accepted: bool,
}

/// A head with its author's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// What is signed.
    pub head: Head,
    /// By the author's key.
    pub signature: ByteArray<64>,
}

impl SignedHead {
    /// Signs.
    #[must_use]
    pub fn sign(head: Head, key: &SigningKey) -> Self {
        let signature = ByteArray::new(key.sign(&signed_bytes(&head)).to_bytes());
        Self { head, signature }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a head and checks its signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let signed: Self = decode(HEAD, bytes)?;
        let author = &signed.head.author;
        signature::check(author, &signed_bytes(&signed.head), &signed.signature).map_err(
            |why| match why {
                NotSigned::NoKey => malformed(HEAD, "its author is no key"),
                NotSigned::Mismatch => malformed(HEAD, "its signature does not match"),
            },
        )?;
        Ok(signed)
    }

    /// Its name: BLAKE3 of its bytes.
    #[must_use]
    pub fn hash(&self) -> HeadHash {
        HeadHash(*blake3::hash(&self.encode()).as_bytes())
    }
}

fn signed_bytes(head: &Head) -> Vec<u8> {
    let mut bytes = SIGNED.to_vec();
    bytes.extend(encode(head));
    bytes
}

/// What a snapshot consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// As in the head.
    pub author: PeerKey,
    /// As in the head.
    pub number: SnapshotNumber,
    /// By name, sorted.
    pub data_sets: Vec<DataSet>,
}

/// One data set at the moment of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSet {
    /// The name a person gave it.
    pub name: SmolStr,
    /// Where it was on the author's Box.
    pub path: ByteBuf,
    /// The file system it was on.
    pub file_system: FileSystemId,
    /// What to expect of it.
    pub label: ConsistencyLabel,
    /// The root of its page tree.
    pub root: ChunkId,
    /// The root's level: 0 when it is a page.
    pub level: u8,
    /// Entries of any kind.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Their lengths added up.
    pub bytes: u64,
    /// Things that could not be read, by path with the reason, at most [`UNREAD_MAX`] of them.
    pub unread: Vec<(ByteBuf, SmolStr)>,
    /// How many there were.
    pub unread_count: u64,
}

/// Names of unread things a manifest lists.
pub const UNREAD_MAX: usize = 1000;

impl Manifest {
    /// Its plaintext.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let manifest: Self = decode(MANIFEST, bytes)?;
        if manifest.data_sets.len() > DATA_SETS_MAX {
            return Err(malformed(
                MANIFEST,
                "it has more data sets than a Box may have",
            ));
        }
        let sane = |set: &DataSet| {
            !set.name.is_empty()
                && set.name.len() <= NAME_BYTES_MAX
                && set.level <= TREE_HEIGHT_MAX
                && set.unread.len() <= UNREAD_MAX
        };
        if !manifest.data_sets.iter().all(sane) {
            return Err(malformed(MANIFEST, "a data set is impossible"));
        }
        if manifest
            .data_sets
            .windows(2)
            .any(|pair| pair[0].name >= pair[1].name)
        {
            return Err(malformed(MANIFEST, "its data sets are not in order"));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_was_touched_is_refused() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let head = Head {
            reserve: ReserveId([1; 16]),
            author: PeerKey(key.verifying_key().to_bytes()),
            incarnation: [4; 8],
            number: SnapshotNumber(9),
            previous: None,
            manifest: ChunkId([7; 32]),
            taken: Stamp {
                seconds: 1,
                nanos: 2,
            },
            chunks: 3,
            sealed_bytes: 4,
            accepted: true,
        };
        let bytes = SignedHead::sign(head, &key).encode();
        assert!(SignedHead::decode(&bytes).is_ok());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SignedHead::decode(&bad).is_err(), "bit {bit}");
        }
    }
}
