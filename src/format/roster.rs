//! The roster's bytes: signed facts about the reserve and its peers. How facts made apart are merged is `roster`'s business.

use std::net::SocketAddr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use smol_str::SmolStr;

use super::{Malformed, decode, encode, malformed};
use crate::terms::limits::{ADDRESSES_MAX, MEMBERS_MAX, NAME_BYTES_MAX, ROSTER_BYTES_MAX};
use crate::terms::{KeyEpoch, PeerKey, ReserveId, Suite};

const ROSTER: &str = "roster";
const SIGNED: &[u8] = b"reserve 2026-11-24 fact v1";

/// All facts a Box knows, sorted by subject and slot, one for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Which reserve.
    pub reserve: ReserveId,
    /// The facts.
    pub facts: Vec<SignedFact>,
}

/// One thing somebody said about a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// About whom.
    pub subject: Subject,
    /// What.
    pub value: Value,
    /// The higher one wins.
    pub counter: u32,
    /// Who said it: a member, or the recovery key.
    pub signer: PeerKey,
}

/// A fact with its signer's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedFact {
    /// What is signed.
    pub fact: Fact,
    /// By the signer's key.
    pub signature: ByteArray<64>,
}

/// About whom a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// The reserve as a whole.
    Reserve,
    /// One Box.
    Peer(PeerKey),
}

/// What is said. Each variant is a slot of its own: of two facts for one subject and slot, one wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// The recovery key's public halves: signing, sealing.
    Recovery {
        /// ed25519.
        sign: PeerKey,
        /// x25519.
        seal: [u8; 32],
    },
    /// The cipher chunks are sealed with.
    ChunkSuite(Suite),
    /// Copies a chunk should have (0: as many as there are other Boxes, three at most).
    Factor(u8),
    /// Copies below which nothing is called protected (0: two, or one with two Boxes).
    FactorMin(u8),
    /// An epoch's secret, sealed to the recovery key. The newest epoch's stands.
    EpochSecret {
        /// Which epoch.
        epoch: KeyEpoch,
        /// A sealed note.
        note: ByteBuf,
    },
    /// The Box is a member.
    Member {
        /// Its Noise static key.
        noise: [u8; 32],
    },
    /// What people call it.
    Name(SmolStr),
    /// Where it stands: copies at one site share its fate.
    Site(SmolStr),
    /// Where it can be reached.
    Addresses(Vec<SocketAddr>),
    /// Whether it has AES instructions.
    FastAes(bool),
    /// The Box is out, for ever.
    Removed {
        /// Shut out at once, because somebody else may have it.
        lost: bool,
    },
}

impl Value {
    /// The slot this value belongs to.
    #[must_use]
    pub const fn slot(&self) -> u8 {
        match self {
            Self::Recovery { .. } => 0,
            Self::ChunkSuite(_) => 1,
            Self::Factor(_) => 2,
            Self::FactorMin(_) => 3,
            Self::EpochSecret { .. } => 4,
            Self::Member { .. } => 5,
            Self::Name(_) => 6,
            Self::Site(_) => 7,
            Self::Addresses(_) => 8,
            Self::FastAes(_) => 9,
            Self::Removed { .. } => 10,
        }
    }
}

/// Whether a text may name a Box, a site or a data set: 1 to 63 bytes of letters, digits, `-`, `_` and `.`, not starting with `-` or `.`.
#[must_use]
pub fn name_is_legal(name: &str) -> bool {
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.chars().all(legal)
        && !name.starts_with(['-', '.'])
}

impl SignedFact {
    /// Signs.
    #[must_use]
    pub fn sign(reserve: ReserveId, fact: Fact, key: &SigningKey) -> Self {
        let signature = ByteArray::new(key.sign(&signed_bytes(reserve, &fact)).to_bytes());
        Self { fact, signature }
    }

    /// Whether the value fits its subject and the signature its bytes.
    pub fn check(&self, reserve: ReserveId) -> Result<(), Malformed> {
        let fits = match (&self.fact.subject, &self.fact.value) {
            (Subject::Reserve, value) => value.slot() <= 4,
            (Subject::Peer(_), Value::Name(name) | Value::Site(name)) => name_is_legal(name),
            (Subject::Peer(_), Value::Addresses(addresses)) => addresses.len() <= ADDRESSES_MAX,
            (Subject::Peer(_), value) => value.slot() >= 5,
        };
        if !fits {
            return Err(malformed(ROSTER, "a fact is impossible"));
        }
        let key = VerifyingKey::from_bytes(&self.fact.signer.0)
            .map_err(|_| malformed(ROSTER, "a signer is no key"))?;
        key.verify_strict(
            &signed_bytes(reserve, &self.fact),
            &Signature::from_bytes(&self.signature),
        )
        .map_err(|_| malformed(ROSTER, "a signature does not match"))
    }
}

impl Facts {
    /// The roster's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a roster: each signature is checked, whether its signer may say so is not.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > ROSTER_BYTES_MAX {
            return Err(malformed(ROSTER, "it is longer than a roster may be"));
        }
        let facts: Self = decode(ROSTER, bytes)?;
        if facts.facts.len() > 8 + 8 * MEMBERS_MAX {
            return Err(malformed(
                ROSTER,
                "it has more facts than a reserve may have",
            ));
        }
        let place = |signed: &SignedFact| (signed.fact.subject, signed.fact.value.slot());
        if facts
            .facts
            .windows(2)
            .any(|pair| place(&pair[0]) >= place(&pair[1]))
        {
            return Err(malformed(ROSTER, "its facts are not in order"));
        }
        facts
            .facts
            .iter()
            .try_for_each(|signed| signed.check(facts.reserve))?;
        Ok(facts)
    }
}

fn signed_bytes(reserve: ReserveId, fact: &Fact) -> Vec<u8> {
    let mut bytes = SIGNED.to_vec();
    bytes.extend(reserve.0);
    bytes.extend(encode(fact));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_nobody_signed_is_refused() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let me = PeerKey(key.verifying_key().to_bytes());
        let reserve = ReserveId([1; 16]);
        let fact = Fact {
            subject: Subject::Peer(me),
            value: Value::Name("home".into()),
            counter: 1,
            signer: me,
        };
        let mut facts = Facts {
            reserve,
            facts: vec![SignedFact::sign(reserve, fact, &key)],
        };
        assert_eq!(Facts::decode(&facts.encode()).as_ref(), Ok(&facts));
        facts.facts[0].fact.counter = 2;
        assert!(Facts::decode(&facts.encode()).is_err());
    }

    #[test]
    fn names_are_short_and_plain() {
        for good in ["home", "büro-2", "NAS_1.old"] {
            assert!(name_is_legal(good), "{good}");
        }
        for bad in ["", "-x", ".", "a b", "a/b", "a\n", &"x".repeat(64)] {
            assert!(!name_is_legal(bad), "{bad}");
        }
    }
}
