//! How long a keeper has run, all its runs together: what a release waits for. No wall clock has a part in it.
//!
//! Saved every hour; what was not saved is lived again. Without it all that waits begins to wait anew.

use serde::{Deserialize, Serialize};

use super::{Malformed, decode_file, encode_file, malformed};
use crate::terms::StoreId;
use crate::terms::limits::{RELEASE_DELAY_DAYS_MAX, RELEASE_DELAY_DAYS_MIN};

const LIVED: &str = "count of lived time";

/// How long a keeper has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lived {
    /// Which store.
    pub store: StoreId,
    /// Drawn when the count began.
    pub life: [u8; 8],
    /// Seconds since then in which it ran.
    pub seconds: u64,
    /// Days of it that a release waits.
    pub delay_days: u16,
    /// A lower number of days that somebody said, and when. It counts when as many days have passed as releases wait until then.
    pub lower: Option<(u16, u64)>,
    /// What the last start found that was not as it should be, hashed; nothing if all was well.
    pub damage: Option<[u8; 8]>,
}

impl Lived {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_file(self)
    }

    /// Reads it; a delay that is too short is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let lived: Self = decode_file(LIVED, bytes)?;
        let lower = lived.lower.map(|(days, _)| days);
        let mut delays = [Some(lived.delay_days), lower].into_iter().flatten();
        if !delays.all(|days| (RELEASE_DELAY_DAYS_MIN..=RELEASE_DELAY_DAYS_MAX).contains(&days)) {
            return Err(malformed(LIVED, "its delay is impossible"));
        }
        Ok(lived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_reads_back_and_a_short_delay_is_refused() {
        let lived = Lived {
            store: StoreId([1; 8]),
            life: [2; 8],
            seconds: 3600,
            delay_days: 30,
            lower: Some((7, 1800)),
            damage: Some([3; 8]),
        };
        assert_eq!(Lived::decode(&lived.encode()), Ok(lived));
        let bad = [
            Lived {
                delay_days: 6,
                ..lived
            },
            Lived {
                lower: Some((0, 1)),
                ..lived
            },
        ];
        for bad in bad {
            assert!(Lived::decode(&bad.encode()).is_err());
        }
    }
}
