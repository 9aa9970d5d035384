//! What an author gives up on a keeper, signed; the keeper's list of what the author claims there; and what the keeper's log says of both.
//!
//! A name stands here as its first 12 bytes, as in the chunk table. A release counts only at the keeper and for the basis it names: it can
//! neither be shown to another keeper nor be shown again.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use super::compare::{PREFIX_BYTES, Prefix};
use super::runs::Runs;
use super::{Malformed, decode, encode, malformed};
use crate::terms::limits::{
    CLAIMED_PAGE_MAX, RECORD_BYTES_MAX, RELEASE_NAMES_MAX, RELEASE_RUNS_MAX,
};
use crate::terms::{PeerKey, ReserveId};

const RELEASE: &str = "release";
const CLAIMED: &str = "list of claims";
const NOTED: &str = "noted release";
const FREED: &str = "list of what was freed";
const SIGNED: &[u8] = b"reserve 2026-11-24 release v1";
/// Runs of numbers in one note of a keeper: what was one run in a release may be several when it is noted.
pub const FREED_RUNS_MAX: usize = 4 * RELEASE_RUNS_MAX;
/// Bytes of a claim in a list: the name's first bytes, and how long its records are.
const CLAIM_BYTES: usize = PREFIX_BYTES + 4;

/// What an author gives up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// In which reserve.
    pub reserve: ReserveId,
    /// Who.
    pub author: PeerKey,
    /// On which keeper, and on no other.
    pub keeper: PeerKey,
    /// As in the author's heads: an author that lost its memory gives nothing up before it has signed a head anew.
    pub incarnation: [u8; 8],
    /// As the list of claims said that this stands on. It is another one as soon as the author claims anything there.
    pub basis: u64,
    /// Snapshots that leave.
    pub numbers: Runs,
    /// Chunks that are not needed: 12 bytes of each name, rising.
    pub names: ByteBuf,
}

/// A release with its author's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRelease {
    /// What is signed.
    pub release: Release,
    /// By the author's key.
    pub signature: ByteArray<64>,
}

impl Release {
    /// Signs.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedRelease {
        let signature = ByteArray::new(key.sign(&signed_bytes(&self)).to_bytes());
        SignedRelease {
            release: self,
            signature,
        }
    }

    /// The names, rising.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> + '_ {
        prefixes(&self.names)
    }

    fn check(&self) -> Result<(), Malformed> {
        if self.numbers.is_empty() && self.names.is_empty() {
            return Err(malformed(RELEASE, "it gives nothing up"));
        }
        check_lists(RELEASE, &self.numbers, RELEASE_RUNS_MAX, &self.names)
    }
}

impl SignedRelease {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a release and checks its signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let signed: Self = decode(RELEASE, bytes)?;
        signed.release.check()?;
        let key = VerifyingKey::from_bytes(&signed.release.author.0)
            .map_err(|_| malformed(RELEASE, "its author is no key"))?;
        key.verify_strict(
            &signed_bytes(&signed.release),
            &Signature::from_bytes(&signed.signature),
        )
        .map_err(|_| malformed(RELEASE, "its signature does not match"))?;
        Ok(signed)
    }
}

fn signed_bytes(release: &Release) -> Vec<u8> {
    let mut bytes = SIGNED.to_vec();
    bytes.extend(encode(release));
    bytes
}

/// Some of what an author claims on a keeper and has not given up there, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClaimedPage {
    /// Counts the author's own claims in this run of the keeper: a release must name the one its list had.
    pub basis: u64,
    /// More claims follow behind the last of these.
    pub more: bool,
    /// What the author gave up and what is not effective yet.
    pub waiting: Option<Waiting>,
    /// 16 bytes each, rising: 12 of the name, the bytes of its records as `u32`.
    pub claims: ByteBuf,
}

/// What waits for its time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Waiting {
    /// Snapshots that leave.
    pub numbers: Runs,
    /// Chunks that were given up and not claimed since.
    pub chunks: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Seconds the keeper must still live through before it becomes effective, at the least.
    pub effective_seconds: u64,
    /// For so many seconds of the keeper's life more may be given up with it.
    pub open_seconds: u64,
}

impl ClaimedPage {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a page; names must rise and be so many as a page may have.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let page: Self = decode(CLAIMED, bytes)?;
        let (claims, rest) = page.claims.as_chunks::<CLAIM_BYTES>();
        if !rest.is_empty() || claims.len() > CLAIMED_PAGE_MAX {
            return Err(malformed(CLAIMED, "its length is impossible"));
        }
        if !claims.is_sorted_by(|one, next| one[..PREFIX_BYTES] < next[..PREFIX_BYTES]) {
            return Err(malformed(CLAIMED, "its names do not rise"));
        }
        if page.more && claims.is_empty() {
            return Err(malformed(CLAIMED, "it ends nowhere"));
        }
        let runs = page.waiting.as_ref().map(|waiting| &waiting.numbers);
        if runs.is_some_and(|runs| !runs.is_legal() || runs.runs() > RELEASE_RUNS_MAX) {
            return Err(malformed(CLAIMED, "its numbers are impossible"));
        }
        Ok(page)
    }

    /// Whether it has as many claims as a page may have.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.claims.len() >= CLAIMED_PAGE_MAX * CLAIM_BYTES
    }

    /// One more claim, behind the last.
    pub fn push(&mut self, prefix: &Prefix, record_bytes: u32) {
        self.claims.extend_from_slice(prefix);
        self.claims.extend_from_slice(&record_bytes.to_le_bytes());
    }

    /// The claims, by names that rise, with the bytes of their records.
    pub fn claims(&self) -> impl Iterator<Item = (Prefix, u32)> + '_ {
        let (claims, _) = self.claims.as_chunks::<CLAIM_BYTES>();
        claims.iter().filter_map(|claim| {
            let (prefix, bytes) = claim.split_first_chunk()?;
            Some((*prefix, u32::from_le_bytes(bytes.try_into().ok()?)))
        })
    }
}

/// A release as it stands in a keeper's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedRelease {
    /// Drawn when the group began that it belongs to.
    pub group: u64,
    /// Which count of its own life the keeper went by, and how far that was, in seconds.
    pub life: [u8; 8],
    /// See `life`.
    pub lived_seconds: u64,
    /// An encoded [`SignedRelease`].
    pub signed: ByteBuf,
}

impl NotedRelease {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads it. The signature was checked before it was written; a frame's bytes are compared with their hash.
    pub fn decode(bytes: &[u8]) -> Result<(Self, Release), Malformed> {
        let noted: Self = decode(NOTED, bytes)?;
        let signed: SignedRelease = decode(RELEASE, &noted.signed)?;
        signed.release.check()?;
        Ok((noted, signed.release))
    }
}

/// A keeper's own note in its log: these are an author's no more. It holds for what stands before it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Freed {
    /// Snapshots that left.
    pub numbers: Runs,
    /// Chunks the author does not claim: 12 bytes of each name, rising.
    pub names: ByteBuf,
    /// A group of releases that is over, wherever its releases stand.
    pub over: Option<u64>,
}

impl Freed {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let freed: Self = decode(FREED, bytes)?;
        check_lists(FREED, &freed.numbers, FREED_RUNS_MAX, &freed.names)?;
        Ok(freed)
    }

    /// The names, rising.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> + '_ {
        prefixes(&self.names)
    }
}

fn prefixes(names: &[u8]) -> impl Iterator<Item = Prefix> + '_ {
    let (names, _) = names.as_chunks::<PREFIX_BYTES>();
    names.iter().copied()
}

fn check_lists(
    record: &'static str,
    numbers: &Runs,
    runs_max: usize,
    names: &[u8],
) -> Result<(), Malformed> {
    let (names, rest) = names.as_chunks::<PREFIX_BYTES>();
    if !rest.is_empty() || names.len() > RELEASE_NAMES_MAX || numbers.runs() > runs_max {
        return Err(malformed(record, "its length is impossible"));
    }
    if !names.is_sorted_by(|one, next| one < next) {
        return Err(malformed(record, "its names do not rise"));
    }
    if !numbers.is_legal() {
        return Err(malformed(record, "its numbers are impossible"));
    }
    Ok(())
}

const _: () = assert!(
    RELEASE_NAMES_MAX * PREFIX_BYTES + FREED_RUNS_MAX * 20 + 1024 <= RECORD_BYTES_MAX
        && CLAIMED_PAGE_MAX * CLAIM_BYTES + RELEASE_RUNS_MAX * 20 + 1024 <= RECORD_BYTES_MAX,
    "each of them fits into a frame and into a message's body"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::SnapshotNumber;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    fn release(numbers: &[u64], names: &[u8]) -> Release {
        let names = names
            .iter()
            .flat_map(|name| [*name; 12])
            .collect::<Vec<u8>>();
        Release {
            reserve: ReserveId([1; 16]),
            author: PeerKey(key().verifying_key().to_bytes()),
            keeper: PeerKey([2; 32]),
            incarnation: [4; 8],
            basis: 9,
            numbers: numbers.iter().copied().map(SnapshotNumber).collect(),
            names: names.into(),
        }
    }

    #[test]
    fn a_release_reads_back_and_nobody_can_change_it() {
        let signed = release(&[3, 4, 9], &[1, 2]).sign(&key());
        assert_eq!(
            SignedRelease::decode(&signed.encode()).as_ref(),
            Ok(&signed)
        );
        assert_eq!(
            signed.release.prefixes().collect::<Vec<_>>(),
            [[1; 12], [2; 12]]
        );
        let elsewhere = SignedRelease {
            release: Release {
                keeper: PeerKey([8; 32]),
                ..signed.release.clone()
            },
            ..signed.clone()
        };
        assert!(SignedRelease::decode(&elsewhere.encode()).is_err());
        let bytes = signed.encode();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(SignedRelease::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_release_of_nothing_or_in_disorder_is_refused() {
        for bad in [
            release(&[], &[]),
            release(&[1], &[2, 1]),
            release(&[1], &[1, 1]),
        ] {
            assert!(SignedRelease::decode(&bad.sign(&key()).encode()).is_err());
        }
        let mut odd = release(&[], &[1]);
        odd.names.push(0);
        assert!(SignedRelease::decode(&odd.sign(&key()).encode()).is_err());
        let mut long = release(&[], &[]);
        for name in 0..=u32::try_from(RELEASE_NAMES_MAX).expect("it is small") {
            long.names.extend_from_slice(&name.to_be_bytes());
            long.names.extend_from_slice(&[0; 8]);
        }
        assert!(SignedRelease::decode(&long.clone().sign(&key()).encode()).is_err());
        long.names.truncate(RELEASE_NAMES_MAX * PREFIX_BYTES);
        assert!(SignedRelease::decode(&long.sign(&key()).encode()).is_ok());
    }

    #[test]
    fn pages_and_notes_read_back() {
        let mut page = ClaimedPage {
            basis: 7,
            more: true,
            ..ClaimedPage::default()
        };
        assert!(
            ClaimedPage::decode(&page.encode()).is_err(),
            "it goes on behind nothing"
        );
        page.push(&[1; 12], 100);
        page.push(&[2; 12], 200);
        assert_eq!(ClaimedPage::decode(&page.encode()).as_ref(), Ok(&page));
        assert_eq!(
            page.claims().collect::<Vec<_>>(),
            [([1; 12], 100), ([2; 12], 200)]
        );
        page.push(&[2; 12], 300);
        assert!(ClaimedPage::decode(&page.encode()).is_err());

        let signed = release(&[3], &[1]).sign(&key());
        let noted = NotedRelease {
            group: 1,
            life: [6; 8],
            lived_seconds: 3600,
            signed: signed.encode().into(),
        };
        assert_eq!(
            NotedRelease::decode(&noted.encode()),
            Ok((noted, signed.release.clone()))
        );
        let freed = Freed {
            numbers: signed.release.numbers.clone(),
            names: signed.release.names,
            over: Some(1),
        };
        assert_eq!(Freed::decode(&freed.encode()), Ok(freed));
    }
}
