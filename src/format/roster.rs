//! The roster's bytes: signed facts about the reserve and its peers. How facts made apart are merged is `roster`'s business.

use std::net::SocketAddr;

use ed25519_dalek::{Signer, SigningKey};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use smol_str::SmolStr;

use super::signature::{self, NotSigned};
use super::{Malformed, decode, encode, malformed};
use crate::terms::limits::{
    ADDRESSES_MAX, CHOICES_MAX, EPOCHS_MAX, EVENT_PERIOD_HOURS_MAX, KEEPER_AWAY_HOURS_MAX,
    MEMBERS_MAX, NAME_BYTES_MAX, RELEASE_DELAY_DAYS_MAX, RELEASE_DELAY_DAYS_MIN, ROSTER_BYTES_MAX,
    SWEEP_PERIOD_DAYS_MAX, WARNING_WINDOW_DAYS_MAX,
};
use crate::terms::{HeadHash, KeyEpoch, Limitation, PeerKey, ReserveId, SnapshotNumber, Suite};

const ROSTER: &str = "roster";
const SIGNED: &[u8] = b"reserve 2026-11-24 fact v1";
const NOISE_SIGNED: &[u8] = b"reserve 2026-11-24 noise key v1";
/// Nine of each Box, and what can be said of the reserve.
const FACTS_MAX: usize = 32 + 9 * MEMBERS_MAX;
/// Pairs of four and 32 bytes, a version, a length; a one-time key and a code.
const NOTE_BYTES_MAX: usize = 37 * EPOCHS_MAX + 8 + 48;

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
    /// The epochs' secrets, sealed to the recovery key. The newest epoch's stands, and names the present one.
    EpochSecret(EpochNote),
    /// The Box is a member.
    Member {
        /// Its Noise static key.
        noise: [u8; 32],
        /// By the Box's own key over that: nobody else can give it another one, with which secrets sealed to it would be read.
        proof: ByteArray<64>,
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
    /// The Box is a member whatever members say: stands in the place of `Removed`, and only the recovery key may say so.
    Stays,
    /// The epochs' secrets, sealed to this Box. The newest epoch's stands.
    Secrets(EpochNote),
    /// The Box continues the history of this former one.
    Replaces(PeerKey),
    /// Hours between events that all is well (0: as usual).
    EventPeriod(u16),
    /// Days before a limit is reached people must be told (0: as usual).
    WarningWindow(u16),
    /// The same for one limitation (0: as for all others).
    WarningWindowOf(Limitation, u16),
    /// Days within which everything is read again (0: as usual).
    SweepPeriod(u16),
    /// Which snapshots are kept.
    Retention(Retention),
    /// Hours a keeper may stay away before its copies are made elsewhere (0: as usual).
    KeeperAway(u16),
    /// Days of its running time after which a keeper lets go of what an author gave up (0: as usual).
    ReleaseDelay(u16),
    /// Which of the Box's snapshots a person chose, where several bear one number; by number, rising.
    Chosen(Vec<Choice>),
}

/// Of the snapshots that bear one number, the one a person chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The number.
    pub number: SnapshotNumber,
    /// The head that stands.
    pub head: HeadHash,
    /// Chunks in its closure: of two choices made apart, the one that keeps more stands.
    pub chunks: u64,
}

/// Secrets sealed to one key. What they are the secrets of stands in clear, so that whoever has more can say more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochNote {
    /// The newest epoch in it.
    pub epoch: KeyEpoch,
    /// All epochs in it, rising.
    pub held: Vec<KeyEpoch>,
    /// Lost Boxes that were not given the newest epoch's secret, rising.
    pub without: Vec<PeerKey>,
    /// A sealed note that holds a bare envelope of (epoch, secret) pairs, epochs rising.
    pub note: ByteBuf,
}

/// How many snapshots of each age are kept; all of them when all are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retention {
    /// One an hour, for so many hours.
    pub hourly: u16,
    /// One a day.
    pub daily: u16,
    /// One a week.
    pub weekly: u16,
    /// One a month.
    pub monthly: u16,
    /// One a year.
    pub yearly: u16,
    /// The newest, however old.
    pub last: u16,
}

impl EpochNote {
    fn is_possible(&self) -> bool {
        let rises = self.held.windows(2).all(|pair| pair[0] < pair[1]);
        let names_rise = self.without.windows(2).all(|pair| pair[0] < pair[1]);
        rises
            && names_rise
            && self.held.len() <= EPOCHS_MAX
            && self.without.len() <= MEMBERS_MAX
            && self.held.last() == Some(&self.epoch)
            && self.note.len() <= NOTE_BYTES_MAX
    }
}

/// Slots from here on are of single limitations.
const LIMITATION_SLOT: u8 = 64;

/// A Box's word that this is its Noise key.
#[must_use]
pub fn noise_proof(noise: &[u8; 32], of: &SigningKey) -> ByteArray<64> {
    ByteArray::new(of.sign(&[NOISE_SIGNED, noise].concat()).to_bytes())
}

fn is_its_own(subject: &Subject, noise: &[u8; 32], proof: &ByteArray<64>) -> bool {
    let Subject::Peer(peer) = subject else {
        return false;
    };
    signature::check(peer, &[NOISE_SIGNED, noise].concat(), proof).is_ok()
}

impl Value {
    /// That the Box with this key is a member, and what its Noise key is.
    #[must_use]
    pub fn member(noise: [u8; 32], of: &SigningKey) -> Self {
        let proof = noise_proof(&noise, of);
        Self::Member { noise, proof }
    }

    /// The slot this value belongs to.
    #[must_use]
    pub const fn slot(&self) -> u8 {
        match self {
            Self::Recovery { .. } => 0,
            Self::ChunkSuite(_) => 1,
            Self::Factor(_) => 2,
            Self::FactorMin(_) => 3,
            Self::EpochSecret(_) => 4,
            Self::Member { .. } => 5,
            Self::Name(_) => 6,
            Self::Site(_) => 7,
            Self::Addresses(_) => 8,
            Self::FastAes(_) => 9,
            Self::Removed { .. } | Self::Stays => 10,
            Self::Secrets(_) => 11,
            Self::Replaces(_) => 12,
            Self::Chosen(_) => 13,
            Self::EventPeriod(_) => 32,
            Self::WarningWindow(_) => 33,
            Self::SweepPeriod(_) => 34,
            Self::Retention(_) => 35,
            Self::KeeperAway(_) => 40,
            Self::ReleaseDelay(_) => 41,
            Self::WarningWindowOf(limitation, _) => LIMITATION_SLOT + limitation.byte(),
        }
    }

    /// Whether this can be said of this subject at all.
    fn fits(&self, subject: &Subject) -> bool {
        let of_reserve = matches!(subject, Subject::Reserve);
        match self {
            Self::Recovery { .. } | Self::ChunkSuite(_) | Self::Factor(_) | Self::FactorMin(_) => {
                of_reserve
            }
            Self::EpochSecret(note) => of_reserve && note.is_possible(),
            Self::EventPeriod(hours) => of_reserve && *hours <= EVENT_PERIOD_HOURS_MAX,
            Self::WarningWindow(days) | Self::WarningWindowOf(_, days) => {
                of_reserve && *days <= WARNING_WINDOW_DAYS_MAX
            }
            Self::SweepPeriod(days) => of_reserve && *days <= SWEEP_PERIOD_DAYS_MAX,
            Self::Retention(_) => of_reserve,
            Self::KeeperAway(hours) => of_reserve && *hours <= KEEPER_AWAY_HOURS_MAX,
            Self::ReleaseDelay(days) => {
                let range = RELEASE_DELAY_DAYS_MIN..=RELEASE_DELAY_DAYS_MAX;
                of_reserve && (*days == 0 || range.contains(days))
            }
            Self::Name(name) | Self::Site(name) => !of_reserve && name_is_legal(name),
            Self::Addresses(addresses) => !of_reserve && addresses.len() <= ADDRESSES_MAX,
            Self::Secrets(note) => !of_reserve && note.is_possible(),
            Self::Replaces(before) => !of_reserve && *subject != Subject::Peer(*before),
            Self::Member { noise, proof } => is_its_own(subject, noise, proof),
            Self::Chosen(choices) => {
                let rises = choices.windows(2).all(|two| two[0].number < two[1].number);
                !of_reserve && rises && (1..=CHOICES_MAX).contains(&choices.len())
            }
            Self::FastAes(_) | Self::Removed { .. } | Self::Stays => !of_reserve,
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
        if !self.fact.value.fits(&self.fact.subject) {
            return Err(malformed(ROSTER, "a fact is impossible"));
        }
        let said = signed_bytes(reserve, &self.fact);
        signature::check(&self.fact.signer, &said, &self.signature).map_err(|why| match why {
            NotSigned::NoKey => malformed(ROSTER, "a signer is no key"),
            NotSigned::Mismatch => malformed(ROSTER, "a signature does not match"),
        })
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
        if facts.facts.len() > FACTS_MAX {
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
    fn a_member_cannot_give_another_box_a_noise_key_of_its_own() {
        let [thief, office] = [[3; 32], [4; 32]].map(|seed| SigningKey::from_bytes(&seed));
        let reserve = ReserveId([1; 16]);
        let peer = |key: &SigningKey| PeerKey(key.verifying_key().to_bytes());
        let said = |value| {
            let fact = Fact {
                subject: Subject::Peer(peer(&office)),
                value,
                counter: 1,
                signer: peer(&thief),
            };
            SignedFact::sign(reserve, fact, &thief).check(reserve)
        };
        assert!(said(Value::member([9; 32], &office)).is_ok());
        assert!(said(Value::member([9; 32], &thief)).is_err());
        let proof = noise_proof(&[9; 32], &office);
        let noise = [8; 32];
        assert!(said(Value::Member { noise, proof }).is_err());
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
