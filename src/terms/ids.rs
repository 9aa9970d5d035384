//! Names of things: 32-byte identities that never get mixed up, and numbers that order them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that should have been lower-case hexadecimal of a fixed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits")]
pub struct BadHex {
    /// How many digits the name has.
    pub expected: usize,
}

macro_rules! name_of_bytes {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The first eight hexadecimal digits: enough for a person to tell two apart.
            #[must_use]
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = BadHex;

            fn from_str(text: &str) -> Result<Self, BadHex> {
                let bad = BadHex { expected: 2 * $bytes };
                let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| bad)?;
                bytes.try_into().map(Self).map_err(|_| bad)
            }
        }
    };
}

name_of_bytes!(
    /// A chunk's name: BLAKE3 of its whole sealed record.
    ChunkId,
    32
);
name_of_bytes!(
    /// A peer's identity: its ed25519 public key.
    PeerKey,
    32
);
name_of_bytes!(
    /// BLAKE3 of an encoded head: what the next head names as its previous one.
    HeadHash,
    32
);
name_of_bytes!(
    /// A reserve's name, drawn when it is made.
    ReserveId,
    16
);
name_of_bytes!(
    /// A keeper's store, drawn when it is made: a segment of another store is never taken for one of ours.
    StoreId,
    8
);

/// Names one of the reserve's secrets; a new one begins when a Box is removed as lost.
///
/// The upper half counts, the lower half is drawn: two Boxes that begin an epoch apart name two secrets, never one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyEpoch(pub u32);

impl KeyEpoch {
    /// The one a reserve begins with.
    pub const FIRST: Self = Self(1);

    /// How many were begun before.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.0 >> 16
    }

    /// The next one; `None` when there is none.
    #[must_use]
    pub const fn next(self, drawn: [u8; 2]) -> Option<Self> {
        let [a, b] = drawn;
        match (self.0 | 0xffff).checked_add(1) {
            Some(first) => Some(Self(first | (a as u32) << 8 | b as u32)),
            None => None,
        }
    }
}

/// A snapshot's place in its author's history, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SnapshotNumber(pub u64);

impl fmt::Display for SnapshotNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A store's own small number for an author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorIndex(pub u16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_from_its_own_text() {
        let id = ChunkId([0xa5; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("a5".parse::<ChunkId>(), Err(BadHex { expected: 64 }));
        assert_eq!(id.short(), "a5a5a5a5");
    }
}
