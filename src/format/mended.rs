//! What a Box remembers of the copies it looked after: which keeper confirmed all of an author's snapshots, up to which number.
//!
//! Only a memory: without it everything is asked again.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Malformed, decode_file, encode_file, malformed};
use crate::terms::limits::{MEMBERS_MAX, MENDED_MAX};
use crate::terms::{PeerKey, SnapshotNumber, Stamp};

const MENDED: &str = "list of confirmed snapshots";

/// What was confirmed, and for whom chunks were placed then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mended {
    /// Members and their sites, keys rising.
    pub members: Vec<(PeerKey, SmolStr)>,
    /// Copies each chunk was to have.
    pub factor: u8,
    /// One entry for each author and keeper, rising.
    pub confirmed: Vec<Confirmed>,
}

/// A keeper confirmed its share of all of an author's snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Whose snapshots.
    pub author: PeerKey,
    /// Who has them.
    pub keeper: PeerKey,
    /// Up to this number.
    pub newest: SnapshotNumber,
    /// What the keeper compared itself by then ([`crate::format::message::Room::unbroken`]).
    pub unbroken: u64,
    /// When all of them were asked for.
    pub since: Stamp,
}

impl Mended {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_file(self)
    }

    /// Reads it; entries that do not rise are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mended: Self = decode_file(MENDED, bytes)?;
        if mended.members.len() > MEMBERS_MAX || mended.confirmed.len() > MENDED_MAX {
            return Err(malformed(MENDED, "it is longer than it may be"));
        }
        let pairs = mended.confirmed.iter().map(|one| (one.author, one.keeper));
        let members = mended.members.iter().map(|(key, _)| key);
        let rises = pairs.is_sorted_by(|one, next| one < next)
            && members.is_sorted_by(|one, next| one < next);
        if !rises {
            return Err(malformed(MENDED, "its entries do not rise"));
        }
        Ok(mended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_confirmed_reads_back_and_disorder_is_refused() {
        let confirmed = |author, keeper| Confirmed {
            author: PeerKey([author; 32]),
            keeper: PeerKey([keeper; 32]),
            newest: SnapshotNumber(9),
            unbroken: 7,
            since: Stamp::default(),
        };
        let mended = |pairs: &[(u8, u8)]| Mended {
            members: vec![(PeerKey([1; 32]), "home".into())],
            factor: 2,
            confirmed: pairs
                .iter()
                .map(|(one, other)| confirmed(*one, *other))
                .collect(),
        };
        let good = mended(&[(1, 1), (1, 2), (2, 1)]);
        assert_eq!(Mended::decode(&good.encode()), Ok(good));
        for bad in [&[(1, 2), (1, 1)][..], &[(1, 1), (1, 1)], &[(2, 1), (1, 1)]] {
            assert!(Mended::decode(&mended(bad).encode()).is_err());
        }
    }
}
