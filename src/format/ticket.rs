//! The one-time ticket of an invitation: one line of text a person carries to the new Box.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Malformed, decode, encode, malformed};
use crate::terms::limits::ADDRESSES_MAX;

const TICKET: &str = "ticket";
const PREFIX: &str = "reserve-";

/// What a new Box needs to reach and to trust its inviter.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Ticket {
    /// Where the inviter can be reached.
    #[zeroize(skip)]
    pub addresses: Vec<SocketAddr>,
    /// The inviter's Noise static key.
    pub noise: [u8; 32],
    /// Which ticket.
    pub number: u64,
    /// The pre-shared key of the join session.
    pub secret: [u8; 32],
}

impl Ticket {
    /// As one word without spaces: base32 in lower case, with a checksum.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = encode(self);
        let sum = crc32fast::hash(&bytes);
        bytes.extend(sum.to_le_bytes());
        format!(
            "{PREFIX}{}",
            data_encoding::BASE32_NOPAD
                .encode(&bytes)
                .to_ascii_lowercase()
        )
    }

    /// Reads a ticket that a person may have typed in capitals or with spaces around it.
    pub fn from_text(text: &str) -> Result<Self, Malformed> {
        let text = text.trim().to_ascii_lowercase();
        let coded = text
            .strip_prefix(PREFIX)
            .ok_or(malformed(TICKET, "it does not start with \"reserve-\""))?;
        let bytes = data_encoding::BASE32_NOPAD
            .decode(coded.to_ascii_uppercase().as_bytes())
            .map_err(|_| malformed(TICKET, "it was cut or mistyped"))?;
        let (body, sum) = bytes
            .split_last_chunk::<4>()
            .ok_or(malformed(TICKET, "it was cut"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return Err(malformed(TICKET, "it was cut or mistyped"));
        }
        let ticket: Self = decode(TICKET, body)?;
        if ticket.addresses.is_empty() || ticket.addresses.len() > ADDRESSES_MAX {
            return Err(malformed(TICKET, "its number of addresses is impossible"));
        }
        Ok(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_survives_capitals_and_a_mistyped_one_is_refused() {
        let ticket = Ticket {
            addresses: vec![([127, 0, 0, 1], 7717).into()],
            noise: [1; 32],
            number: 3,
            secret: [2; 32],
        };
        let text = ticket.to_text();
        assert!(
            Ticket::from_text(&format!(" {}\n", text.to_ascii_uppercase()))
                .is_ok_and(|back| back == ticket)
        );
        for at in PREFIX.len()..text.len() {
            let mut bad = text.clone().into_bytes();
            bad[at] = if bad[at] == b'a' { b'b' } else { b'a' };
            assert!(
                Ticket::from_text(&String::from_utf8(bad).expect("ascii")).is_err(),
                "digit {at}"
            );
        }
    }
}
