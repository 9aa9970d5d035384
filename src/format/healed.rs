//! What a store remembers of damage that a start found and that was healed since: what it is, and where.
//!
//! Only a memory: without it each start tells that damage anew, and takes it for a loss.

use serde::{Deserialize, Serialize};

use super::{Malformed, decode_file, encode_file, malformed};
use crate::terms::StoreId;
use crate::terms::limits::HEALED_PLACES_MAX;

const HEALED: &str = "list of healed places";

/// Which place, and what is wrong with it: the first bytes of a hash of both.
pub type DamagedPlace = [u8; 8];

/// Places of which nothing is lacking any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healed {
    /// Which store.
    pub store: StoreId,
    /// At most [`HEALED_PLACES_MAX`].
    pub places: Vec<DamagedPlace>,
}

impl Healed {
    /// None yet.
    #[must_use]
    pub const fn new(store: StoreId) -> Self {
        Self {
            store,
            places: Vec::new(),
        }
    }

    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_file(self)
    }

    /// Reads it; too many are refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let healed: Self = decode_file(HEALED, bytes)?;
        if healed.places.len() > HEALED_PLACES_MAX {
            return Err(malformed(HEALED, "it is longer than it may be"));
        }
        Ok(healed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_and_too_many_are_refused() {
        let healed = |many| Healed {
            store: StoreId([1; 8]),
            places: vec![[3; 8]; many],
        };
        let good = healed(HEALED_PLACES_MAX);
        assert_eq!(Healed::decode(&good.encode()), Ok(good));
        assert!(Healed::decode(&healed(HEALED_PLACES_MAX + 1).encode()).is_err());
    }
}
