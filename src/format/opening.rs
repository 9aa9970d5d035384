//! The first bytes of a connection: what kind of session is wanted, a keyed code that strangers cannot make, and the first
//! Noise message. A responder that cannot verify the code says nothing at all.

use super::{Malformed, malformed};
use crate::terms::{KeyEpoch, Suite};

const OPENING: &str = "opening";
/// The protocol's version; it stands in the Noise prologue too.
pub const VERSION: u8 = 1;
/// Bytes of the code.
pub const MAC_BYTES: usize = 16;
/// Bytes before the first Noise message.
pub const OPENING_BYTES: usize = 13 + MAC_BYTES;
/// The first Noise message of an honest opener is not longer.
pub const FIRST_MESSAGE_BYTES_MAX: usize = 256;

/// What kind of session is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Between members, under an epoch's network key.
    Session(KeyEpoch),
    /// A new Box with a ticket of this number, under the ticket's secret.
    Join(u64),
    /// Somebody with the recovery words.
    Recover,
}

/// The opening without its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// What kind of session is wanted.
    pub wish: Wish,
    /// The cipher of the session.
    pub suite: Suite,
    /// Length of the first Noise message.
    pub message_bytes: u16,
}

impl Opening {
    /// The bytes before the code; also the Noise prologue's last part, so that nothing of them can be changed on the way.
    #[must_use]
    pub fn clear(&self) -> [u8; 13] {
        let mut bytes = [0; 13];
        let (wish, number) = match self.wish {
            Wish::Session(epoch) => (1, u64::from(epoch.0)),
            Wish::Join(number) => (2, number),
            Wish::Recover => (3, 0),
        };
        bytes[0] = wish;
        bytes[1] = VERSION;
        bytes[2] = self.suite.byte();
        bytes[3..11].copy_from_slice(&number.to_le_bytes());
        bytes[11..].copy_from_slice(&self.message_bytes.to_le_bytes());
        bytes
    }

    /// Reads the clear part.
    pub fn decode(bytes: &[u8; 13]) -> Result<Self, Malformed> {
        if bytes[1] != VERSION {
            return Err(malformed(OPENING, "its version is not known here"));
        }
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[3..11]);
        let number = u64::from_le_bytes(number);
        let wish = match bytes[0] {
            1 => Wish::Session(KeyEpoch(
                u32::try_from(number).map_err(|_| malformed(OPENING, "its epoch is impossible"))?,
            )),
            2 => Wish::Join(number),
            3 if number == 0 => Wish::Recover,
            _ => return Err(malformed(OPENING, "its wish is not known here")),
        };
        let suite =
            Suite::from_byte(bytes[2]).ok_or(malformed(OPENING, "its suite is not known here"))?;
        let message_bytes = u16::from_le_bytes([bytes[11], bytes[12]]);
        if usize::from(message_bytes) > FIRST_MESSAGE_BYTES_MAX {
            return Err(malformed(OPENING, "its message is too long"));
        }
        Ok(Self {
            wish,
            suite,
            message_bytes,
        })
    }

    /// The Noise prologue.
    #[must_use]
    pub fn prologue(&self) -> Vec<u8> {
        let mut bytes = match self.wish {
            Wish::Session(_) => b"reserve session/1 ".to_vec(),
            Wish::Join(_) => b"reserve join/1 ".to_vec(),
            Wish::Recover => b"reserve recover/1 ".to_vec(),
        };
        bytes.extend(self.clear());
        bytes
    }

    /// The code over the clear part and the first message, for a responder with this static key.
    #[must_use]
    pub fn mac(&self, key: &[u8; 32], responder: &[u8; 32], message: &[u8]) -> [u8; MAC_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(responder);
        hasher.update(&self.clear());
        hasher.update(message);
        let mut mac = [0; MAC_BYTES];
        hasher.finalize_xof().fill(&mut mac);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_reads_back_and_unknown_wishes_are_refused() {
        for wish in [
            Wish::Session(KeyEpoch(3)),
            Wish::Join(u64::MAX),
            Wish::Recover,
        ] {
            let opening = Opening {
                wish,
                suite: Suite::Aes256Gcm,
                message_bytes: 96,
            };
            assert_eq!(Opening::decode(&opening.clear()), Ok(opening));
            let mut bad = opening.clear();
            bad[0] = 4;
            assert!(Opening::decode(&bad).is_err());
        }
    }
}
