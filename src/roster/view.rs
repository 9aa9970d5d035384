//! What the roster says, for the other rooms. Reads only.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use smol_str::{SmolStr, format_smolstr};

use super::Roster;
use super::merge::MEMBER_SLOT;
use crate::format::roster::{Subject, Value};
use crate::terms::limits::{FACTOR_DEFAULT, FACTOR_MIN_DEFAULT};
use crate::terms::{PeerKey, ReserveId, Suite};

/// A Box that belongs, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub key: PeerKey,
    /// What people call it; of two members of one name the one with the greater key has its first digits added.
    pub name: SmolStr,
    /// Where it stands.
    pub site: SmolStr,
    /// Its Noise static key.
    pub noise: [u8; 32],
    /// Where it can be reached.
    pub addresses: Vec<SocketAddr>,
    /// Whether it has AES instructions.
    pub fast_aes: bool,
    /// If it is out: whether as lost.
    pub removed: Option<Removal>,
    /// The former Box whose history it continues.
    pub replaces: Option<PeerKey>,
}

/// How a Box left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It was taken out.
    Left,
    /// Somebody else may have it.
    Lost,
}

impl Roster {
    /// Which reserve.
    #[must_use]
    pub const fn reserve(&self) -> ReserveId {
        self.reserve
    }

    /// The key the recovery words sign with.
    #[must_use]
    pub const fn recovery(&self) -> PeerKey {
        self.recovery
    }

    /// Members, sorted by key.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.living().to_vec()
    }

    fn living(&self) -> &[Member] {
        self.derived.members.get_or_init(|| {
            let mut names = BTreeSet::new();
            let mut members = self.all();
            members.retain(|member| member.removed.is_none());
            for member in &mut members {
                if !names.insert(member.name.clone()) {
                    member.name = format_smolstr!("{}-{}", member.name, member.key.short());
                }
            }
            members
        })
    }

    /// Boxes that were members, sorted by key. Their names may be in use again.
    #[must_use]
    pub fn former(&self) -> Vec<Member> {
        let mut former = self.all();
        former.retain(|member| member.removed.is_some());
        former
    }

    /// A member by its key.
    #[must_use]
    pub fn member(&self, key: &PeerKey) -> Option<Member> {
        let found = self.living().iter().find(|member| member.key == *key);
        found.cloned()
    }

    /// A member by what people call it.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<Member> {
        let found = self.living().iter().find(|member| member.name == name);
        found.cloned()
    }

    /// A Box, member or former, and the former ones whose history it continues, newest first.
    #[must_use]
    pub fn lineage(&self, key: PeerKey) -> Vec<PeerKey> {
        let mut line = vec![key];
        while let Some(Value::Replaces(before)) = line
            .last()
            .and_then(|key| self.value(Subject::Peer(*key), 12))
            && !line.contains(before)
        {
            line.push(*before);
        }
        line
    }

    /// The authors people mean by a name or a key, newest first: a Box and those whose history it continues.
    #[must_use]
    pub fn authors_called(&self, name: &str) -> Vec<PeerKey> {
        let former = || {
            let mut former = self.former();
            former.retain(|member| member.name == name || member.key.to_string() == name);
            // Of several of one name, the one that is nobody's past.
            let is_past = |key: PeerKey| {
                former
                    .iter()
                    .any(|other| other.key != key && self.lineage(other.key).contains(&key))
            };
            let newest = former.iter().find(|member| !is_past(member.key));
            newest.map(|member| member.key)
        };
        let by_key = |member: &Member| member.key.to_string() == name;
        let living = self
            .by_name(name)
            .or_else(|| self.members().into_iter().find(by_key))
            .map(|member| member.key);
        let found = living.or_else(former);
        found.map(|key| self.lineage(key)).unwrap_or_default()
    }

    /// A former Box of that name whose history no living Box continues.
    #[must_use]
    pub fn to_replace(&self, name: &str) -> Option<PeerKey> {
        let members = self.members();
        let is_open = |key: PeerKey| {
            members
                .iter()
                .all(|member| !self.lineage(member.key).contains(&key))
        };
        let former = self.former();
        let mut open: Vec<_> = former
            .iter()
            .filter(|member| member.name == name && is_open(member.key))
            .map(|member| member.key)
            .collect();
        let past: Vec<_> = open
            .iter()
            .flat_map(|key| self.lineage(*key).into_iter().skip(1))
            .collect();
        open.retain(|key| !past.contains(key));
        open.first().copied()
    }

    /// A former Box that left in good order, by its name, its key, or its name and the first digits of its key: it still has keys.
    #[must_use]
    pub fn drained(&self, name: &str) -> Option<Member> {
        let is_called = |member: &Member| {
            let (key, short) = (member.key, member.key.short());
            member.name == name
                || format_smolstr!("{}-{short}", member.name) == name
                || key.to_string() == name
        };
        let mut former = self.former().into_iter();
        former.find(|member| member.removed == Some(Removal::Left) && is_called(member))
    }

    /// Members who came in by the word of one of these Boxes, or of a lost one, or of somebody these brought in. When is not written
    /// anywhere: whoever had such a Box may have brought them in.
    #[must_use]
    pub fn brought_in_by(&self, those: &[PeerKey]) -> Vec<Member> {
        let mut suspects = self.lost();
        suspects.extend(those);
        let came_so = |member: &Member| {
            let mut at = member.key;
            // Chains of memberships end at the founder or the recovery key, and form no circle.
            while let Some(signed) = self.facts.get(&(Subject::Peer(at), MEMBER_SLOT)) {
                let signer = signed.fact.signer;
                if suspects.contains(&signer) && signer != at {
                    return true;
                }
                if signer == at {
                    return false;
                }
                at = signer;
            }
            false
        };
        let mut members = self.members();
        members.retain(|member| !those.contains(&member.key) && came_so(member));
        members
    }

    /// The minimum a person asked for, if one did.
    #[must_use]
    pub fn said_minimum(&self) -> Option<u8> {
        match self.value(Subject::Reserve, 3) {
            Some(Value::FactorMin(copies)) if *copies > 0 => Some(*copies),
            _ => None,
        }
    }

    /// Copies each chunk of an author's should have; like [`Roster::factors`], but a former author has one keeper more.
    #[must_use]
    pub fn factor_for(&self, author: PeerKey, without: Option<PeerKey>) -> (u8, u8) {
        let others = self
            .living()
            .iter()
            .filter(|member| member.key != author && Some(member.key) != without)
            .count();
        self.factors_among(u8::try_from(others).unwrap_or(u8::MAX))
    }

    /// Copies a chunk should have, and copies below which nothing is called protected; both count other Boxes only.
    #[must_use]
    pub fn factors(&self) -> (u8, u8) {
        let others = u8::try_from(self.living().len().saturating_sub(1)).unwrap_or(u8::MAX);
        self.factors_among(others)
    }

    /// The same, however few other Boxes there are: what placement goes by.
    #[must_use]
    pub fn factors_wanted(&self) -> (u8, u8) {
        self.factors_among(u8::MAX)
    }

    fn factors_among(&self, others: u8) -> (u8, u8) {
        let said = |slot| match self.value(Subject::Reserve, slot) {
            Some(Value::Factor(copies) | Value::FactorMin(copies)) => *copies,
            _ => 0,
        };
        factors(others, said(2), said(3))
    }

    /// The cipher chunks are sealed with.
    #[must_use]
    pub fn chunk_suite(&self) -> Suite {
        match self.value(Subject::Reserve, 1) {
            Some(Value::ChunkSuite(suite)) => *suite,
            _ => Suite::ChaCha20Poly1305,
        }
    }

    /// The recovery keys' public halves: what signs, what opens.
    #[must_use]
    pub fn recovery_halves(&self) -> (PeerKey, [u8; 32]) {
        (self.recovery, self.recovery_seal().unwrap_or_default())
    }

    pub(super) fn recovery_seal(&self) -> Option<[u8; 32]> {
        match self.value(Subject::Reserve, 0) {
            Some(Value::Recovery { seal, .. }) => Some(*seal),
            _ => None,
        }
    }

    /// BLAKE3 of the encoded roster: equal rosters, equal hash.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let hash = || *blake3::hash(&self.to_facts().encode()).as_bytes();
        *self.derived.hash.get_or_init(hash)
    }

    fn all(&self) -> Vec<Member> {
        let peer = |(subject, slot): &(Subject, u8)| match subject {
            Subject::Peer(key) if *slot == 5 => Some(*key),
            Subject::Peer(_) | Subject::Reserve => None,
        };
        let keys = self.facts.keys().filter_map(peer);
        keys.filter_map(|key| self.of(key)).collect()
    }

    fn of(&self, key: PeerKey) -> Option<Member> {
        let said = |slot| self.value(Subject::Peer(key), slot);
        let Some(Value::Member { noise, .. }) = said(5) else {
            return None;
        };
        let name = match said(6) {
            Some(Value::Name(name)) => name.clone(),
            _ => key.short().into(),
        };
        Some(Member {
            key,
            site: match said(7) {
                Some(Value::Site(site)) => site.clone(),
                _ => name.clone(),
            },
            name,
            noise: *noise,
            addresses: match said(8) {
                Some(Value::Addresses(addresses)) => addresses.clone(),
                _ => Vec::new(),
            },
            fast_aes: matches!(said(9), Some(Value::FastAes(true))),
            removed: match said(10) {
                Some(Value::Removed { lost: true }) => Some(Removal::Lost),
                Some(Value::Removed { lost: false }) => Some(Removal::Left),
                _ => None,
            },
            replaces: match said(12) {
                Some(Value::Replaces(before)) => Some(*before),
                _ => None,
            },
        })
    }

    fn value(&self, subject: Subject, slot: u8) -> Option<&Value> {
        let signed = self.facts.get(&(subject, slot))?;
        Some(&signed.fact.value)
    }
}

/// A factor asked for cannot exceed the Boxes there are; a minimum asked for can, and then nothing is protected until one joins.
fn factors(others: u8, factor: u8, factor_min: u8) -> (u8, u8) {
    let factor_min = match factor_min {
        0 => FACTOR_MIN_DEFAULT.min(others.max(1)),
        said => said,
    };
    let factor = match factor {
        0 => FACTOR_DEFAULT,
        said => said,
    };
    (factor.max(factor_min).min(others), factor_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_follow_the_number_of_other_boxes_unless_told_otherwise() {
        let defaults = [
            (0, (0, 1)),
            (1, (1, 1)),
            (2, (2, 2)),
            (3, (3, 2)),
            (4, (3, 2)),
        ];
        for (others, expected) in defaults {
            assert_eq!(factors(others, 0, 0), expected, "{others} others");
        }
        assert_eq!(factors(4, 4, 3), (4, 3));
        assert_eq!(factors(2, 9, 3), (2, 3));
        assert_eq!(factors(4, 1, 2), (2, 2));
    }
}
