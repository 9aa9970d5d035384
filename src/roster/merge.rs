//! The roster in memory, and how rosters made apart become one. Pure.
//!
//! **Who may speak.** The reserve's id is a hash of its founder's key and the recovery key, so the root of trust travels with the
//! id: the one `Recovery` fact that hashes to the id names both, and never changes. The founder signs its own `Member` fact;
//! every other one is signed by the recovery key, or by a member whose own `Member` fact has a *lower* counter. Of two `Member`
//! facts for one Box the lower counter stands (the first membership counts), therefore chains end at the founder, cannot form
//! a circle, and a signer once entitled stays so. All other facts need a signer and a subject with a `Member` fact. What a
//! removed Box signed still stands, else removing an inviter would remove its guests; that it can say nothing new is up to
//! sessions, which do not speak with removed keys.
//!
//! **Merging.** What is not entitled within the incoming roster itself (a Box always sends all of its own) is refused and
//! counted. Then each subject and slot keeps the better fact by a total order (`order`): signed by the recovery key; lost
//! before left, newer epoch; higher counter; safer value; smaller hash. So merging is commutative, associative and idempotent
//! as long as no counter jumps further than [`COUNTER_JUMP_MAX`], which nobody honest does.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::found::reserve_id;
use super::order::generation;
use super::view::Member;
use crate::format::roster::{Fact, Facts, SignedFact, Subject, Value};
use crate::format::{Malformed, malformed};
use crate::terms::limits::{EPOCH_JUMP_MAX, MEMBERS_MAX, ROSTER_BYTES_MAX};
use crate::terms::{PeerKey, ReserveId};

/// An incoming counter may exceed ours by this much: nobody can lock a slot by jumping to the highest number.
pub const COUNTER_JUMP_MAX: u32 = 1_000_000;

pub(super) const MEMBER_SLOT: u8 = 5;

/// Who belongs, as this Box knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    pub(super) reserve: ReserveId,
    pub(super) recovery: PeerKey,
    pub(super) facts: BTreeMap<(Subject, u8), SignedFact>,
    /// What was reckoned from the facts. Facts change in [`Roster::merge`] alone, which begins it anew.
    pub(super) derived: Derived,
}

/// What follows from a roster's facts, reckoned when it is asked for first: it is asked with every call and every question.
#[derive(Debug, Clone, Default)]
pub(super) struct Derived {
    pub(super) members: OnceCell<Vec<Member>>,
    pub(super) hash: OnceCell<[u8; 32]>,
}

impl PartialEq for Derived {
    /// Says nothing that the facts do not say.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Derived {}

/// What merging did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// This roster is another one now: save it and tell the peers.
    pub changed: bool,
    /// What was not taken, by reason.
    pub refused: Refused,
}

/// Facts that were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// It is another reserve's roster, or names no founder: nothing was taken.
    pub foreign: bool,
    /// The result would be larger than a roster may be: nothing was taken.
    pub too_large: bool,
    /// Facts of signers who may not say so, or about Boxes that never belonged.
    pub not_entitled: usize,
    /// Facts whose counter jumps too far.
    pub jumps: usize,
}

impl Roster {
    /// Takes a decoded roster for its own; facts nobody was entitled to say are left out.
    pub fn from_facts(facts: &Facts) -> Result<Self, Malformed> {
        let (roster, _) =
            close(facts).ok_or(malformed("roster", "it does not name its founder"))?;
        Ok(roster)
    }

    /// Its facts, as they are stored and sent.
    #[must_use]
    pub fn to_facts(&self) -> Facts {
        Facts {
            reserve: self.reserve,
            facts: self.facts.values().cloned().collect(),
        }
    }

    /// Takes in another Box's roster, as [`Facts::decode`] gave it.
    pub fn merge(&mut self, incoming: &Facts) -> Merged {
        let mut merged = Merged::default();
        let theirs = (incoming.reserve == self.reserve)
            .then(|| close(incoming))
            .flatten();
        let Some((theirs, not_entitled)) = theirs else {
            merged.refused.foreign = true;
            return merged;
        };
        merged.refused.not_entitled = not_entitled;
        let mut result = self.facts.clone();
        for (place, fact) in theirs.facts {
            let ours = result.get(&place);
            let near = |of: fn(&Fact) -> u32, most: u32| {
                let from = ours.map_or(0, |ours| of(&ours.fact));
                of(&fact.fact) <= from.saturating_add(most)
            };
            let jumps = !near(|fact| fact.counter, COUNTER_JUMP_MAX)
                || !near(|fact| generation(fact).unwrap_or(0), EPOCH_JUMP_MAX);
            if jumps && fact.fact.signer != self.recovery {
                merged.refused.jumps += 1;
            } else if ours.is_none_or(|ours| self.better(&fact, ours).is_gt()) {
                result.insert(place, fact);
            }
        }
        if result == self.facts {
            return merged;
        }
        let result = Self {
            reserve: self.reserve,
            recovery: self.recovery,
            facts: result,
            derived: Derived::default(),
        };
        if result.is_too_large() {
            merged.refused.too_large = true;
        } else {
            *self = result;
            merged.changed = true;
        }
        merged
    }

    /// A signer's place in the chain of memberships; the recovery key stands before all.
    pub(super) fn rank(&self, signer: &PeerKey) -> Option<u32> {
        if *signer == self.recovery {
            return Some(0);
        }
        let member = self.facts.get(&(Subject::Peer(*signer), MEMBER_SLOT))?;
        Some(if member.fact.signer == self.recovery {
            0
        } else {
            member.fact.counter
        })
    }

    pub(super) fn is_too_large(&self) -> bool {
        let peers = self.facts.keys().filter(|(_, slot)| *slot == MEMBER_SLOT);
        peers.count() > MEMBERS_MAX || self.to_facts().encode().len() > ROSTER_BYTES_MAX
    }
}

/// The entitled part of a roster by itself, and how many facts were not; `None` if it does not name its founder.
pub(super) fn close(facts: &Facts) -> Option<(Roster, usize)> {
    let (founder, recovery) = facts.facts.iter().find_map(|signed| {
        let Value::Recovery { sign, seal } = &signed.fact.value else {
            return None;
        };
        let founder = signed.fact.signer;
        (reserve_id(founder, *sign, seal) == facts.reserve).then_some((founder, *sign))
    })?;
    let mut roster = Roster {
        reserve: facts.reserve,
        recovery,
        facts: BTreeMap::new(),
        derived: Derived::default(),
    };
    let (mut waiting, others): (Vec<_>, Vec<_>) = facts
        .facts
        .iter()
        .partition(|signed| signed.fact.value.slot() == MEMBER_SLOT);
    // In the order of counters, signers stand before those they signed; only the recovery key's come before all.
    waiting.sort_by_key(|signed| (signed.fact.signer != recovery, signed.fact.counter));
    for signed in waiting {
        let Fact {
            subject,
            counter,
            signer,
            ..
        } = &signed.fact;
        let founds = *signer == founder && *subject == Subject::Peer(founder);
        let entitled = *signer == recovery
            || *counter <= COUNTER_JUMP_MAX
                && (founds || roster.rank(signer).is_some_and(|rank| rank < *counter));
        if entitled {
            roster.facts.insert((*subject, MEMBER_SLOT), signed.clone());
        }
    }
    for signed in others {
        let Fact {
            subject,
            signer,
            value,
            ..
        } = &signed.fact;
        let speaks = match value {
            Value::Recovery { sign, seal } => reserve_id(*signer, *sign, seal) == facts.reserve,
            Value::Stays => *signer == recovery,
            _ => roster.rank(signer).is_some(),
        };
        let known = match subject {
            Subject::Reserve => true,
            Subject::Peer(_) => roster.facts.contains_key(&(*subject, MEMBER_SLOT)),
        };
        if speaks && known {
            roster
                .facts
                .insert((*subject, value.slot()), signed.clone());
        }
    }
    let refused = facts.facts.len() - roster.facts.len();
    Some((roster, refused))
}
