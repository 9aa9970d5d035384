//! What a Box remembers of members it did not meet: for how many hours of its own running time.
//!
//! Only a memory: without it the hours are counted anew.

use serde::{Deserialize, Serialize};

use super::{Malformed, decode_file, encode_file, malformed};
use crate::terms::PeerKey;
use crate::terms::limits::MEMBERS_MAX;

const UNMET: &str = "list of members that were not met";

/// Who was not met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmet {
    /// Members and hours, keys rising.
    pub members: Vec<(PeerKey, u32)>,
}

impl Unmet {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_file(self)
    }

    /// Reads it; keys that do not rise are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let unmet: Self = decode_file(UNMET, bytes)?;
        if unmet.members.len() > MEMBERS_MAX {
            return Err(malformed(UNMET, "it is longer than it may be"));
        }
        let keys = unmet.members.iter().map(|(key, _)| key);
        if !keys.is_sorted_by(|one, next| one < next) {
            return Err(malformed(UNMET, "its keys do not rise"));
        }
        Ok(unmet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_read_back_and_disorder_is_refused() {
        let unmet = |keys: &[u8]| Unmet {
            members: keys.iter().map(|key| (PeerKey([*key; 32]), 7)).collect(),
        };
        let good = unmet(&[1, 2, 9]);
        assert_eq!(Unmet::decode(&good.encode()), Ok(good));
        let many: Vec<u8> = (0..=64).collect();
        for bad in [&[2, 1][..], &[1, 1], &many] {
            assert!(Unmet::decode(&unmet(bad).encode()).is_err());
        }
    }
}
