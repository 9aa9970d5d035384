//! Who is who in a store: authors get small numbers, and sets of them get small numbers too, so that a chunk's claims fit
//! in two bytes. Both lists are bounded and belong to one run of the process; on disk stand whole keys.
//!
//! A set knows of each member whether it gave its claim up. Such a claim is a claim until it is taken out.

use crate::terms::limits::{MEMBERS_MAX, TABLE_SETS_FOR_CLAIMS, TABLE_SETS_MAX};
use crate::terms::{AuthorIndex, PeerKey};

/// A set of authors or holders, as a table slot has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetIndex(pub u16);

impl SetIndex {
    /// The set of nobody.
    pub const EMPTY: Self = Self(0);
}

/// The authors a store has met, in the order it met them.
#[derive(Default)]
pub struct Authors(heapless::Vec<PeerKey, MEMBERS_MAX>);

impl Authors {
    /// An author's number, given now if it has none; `None` if the reserve cannot have so many members.
    pub fn index_of(&mut self, key: PeerKey) -> Option<AuthorIndex> {
        let at = match self.0.iter().position(|known| *known == key) {
            Some(at) => at,
            None => {
                self.0.push(key).ok()?;
                self.0.len() - 1
            }
        };
        u16::try_from(at).ok().map(AuthorIndex)
    }

    /// An author's number, if it has one.
    #[must_use]
    pub fn find(&self, key: PeerKey) -> Option<AuthorIndex> {
        let at = self.0.iter().position(|known| *known == key)?;
        u16::try_from(at).ok().map(AuthorIndex)
    }

    /// Whose number it is.
    #[must_use]
    pub fn key(&self, index: AuthorIndex) -> Option<PeerKey> {
        self.0.get(usize::from(index.0)).copied()
    }

    /// All of them, in the order of their numbers.
    #[must_use]
    pub fn keys(&self) -> &[PeerKey] {
        &self.0
    }
}

/// The sets in use: who is in each, and who of them gave its claim up.
pub struct Sets(Vec<Members>);

/// Two bit masks over the authors' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Members {
    all: u64,
    /// Part of the former.
    given_up: u64,
}

impl Sets {
    /// Only the empty set; room for all is taken now.
    #[must_use]
    pub fn new() -> Self {
        let mut sets = Vec::with_capacity(TABLE_SETS_MAX);
        sets.push(Members::default());
        Self(sets)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The set with one more member, which gave nothing up; `None` if there are too many different sets already.
    pub fn with(&mut self, set: SetIndex, member: AuthorIndex) -> Option<SetIndex> {
        let Members { all, given_up } = self.of(set);
        self.number_of(Members {
            all: all | 1 << member.0,
            given_up: given_up & !(1 << member.0),
        })
    }

    /// The same of a chunk's holders; `None` also if there are so many sets that the rest is for claims: a claim that finds no place is
    /// refused, a holder that finds none is only not known.
    pub fn with_holder(&mut self, set: SetIndex, member: AuthorIndex) -> Option<SetIndex> {
        let Members { all, given_up } = self.of(set);
        self.number_of_holders(Members {
            all: all | 1 << member.0,
            given_up,
        })
    }

    /// Holders with one less.
    pub fn without_holder(&mut self, set: SetIndex, member: AuthorIndex) -> Option<SetIndex> {
        let Members { all, given_up } = self.of(set);
        self.number_of_holders(Members {
            all: all & !(1 << member.0),
            given_up,
        })
    }

    fn number_of_holders(&mut self, members: Members) -> Option<SetIndex> {
        let has_room = self.0.len() < TABLE_SETS_MAX - TABLE_SETS_FOR_CLAIMS;
        let is_known = || self.0.contains(&members);
        (has_room || is_known())
            .then(|| self.number_of(members))
            .flatten()
    }

    /// The set in which a member gave its claim up. `None` if it is no member, or if there are half as many different sets already as
    /// there may be: the rest is for claims.
    pub fn with_given_up(&mut self, set: SetIndex, member: AuthorIndex) -> Option<SetIndex> {
        let Members { all, given_up } = self.of(set);
        let wanted = Members {
            all,
            given_up: given_up | 1 << member.0,
        };
        let has_room = self.0.len() < TABLE_SETS_MAX / 2 || self.0.contains(&wanted);
        (self.contains(set, member) && has_room)
            .then(|| self.number_of(wanted))
            .flatten()
    }

    /// The set with one member less; `None` if there are too many different sets already.
    pub fn without(&mut self, set: SetIndex, member: AuthorIndex) -> Option<SetIndex> {
        let Members { all, given_up } = self.of(set);
        self.number_of(Members {
            all: all & !(1 << member.0),
            given_up: given_up & !(1 << member.0),
        })
    }

    fn number_of(&mut self, members: Members) -> Option<SetIndex> {
        let at = match self.0.iter().position(|known| *known == members) {
            Some(at) => at,
            None if self.0.len() < TABLE_SETS_MAX => {
                self.0.push(members);
                self.0.len() - 1
            }
            None => return None,
        };
        u16::try_from(at).ok().map(SetIndex)
    }

    /// Its members, in the order of their numbers.
    pub fn members(&self, set: SetIndex) -> impl Iterator<Item = AuthorIndex> + use<> {
        numbers(self.of(set).all)
    }

    /// Its members but for those of `waiting` that gave their claims up.
    pub fn standing(
        &self,
        set: SetIndex,
        waiting: u64,
    ) -> impl Iterator<Item = AuthorIndex> + use<> {
        let Members { all, given_up } = self.of(set);
        numbers(all & !(given_up & waiting))
    }

    /// Whether it has this member.
    #[must_use]
    pub fn contains(&self, set: SetIndex, member: AuthorIndex) -> bool {
        self.of(set).all & 1 << member.0 != 0
    }

    /// Whether this member gave its claim up.
    #[must_use]
    pub fn has_given_up(&self, set: SetIndex, member: AuthorIndex) -> bool {
        self.of(set).given_up & 1 << member.0 != 0
    }

    fn of(&self, set: SetIndex) -> Members {
        self.0.get(usize::from(set.0)).copied().unwrap_or_default()
    }
}

fn numbers(mut mask: u64) -> impl Iterator<Item = AuthorIndex> {
    std::iter::from_fn(move || {
        let first = u16::try_from(mask.trailing_zeros()).ok()?;
        (mask != 0).then(|| {
            mask &= mask - 1;
            AuthorIndex(first)
        })
    })
}

impl Default for Sets {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_share_one_number_however_they_were_made() {
        let mut sets = Sets::new();
        let (a, b) = (AuthorIndex(0), AuthorIndex(63));
        let only_a = sets.with(SetIndex::EMPTY, a).expect("room");
        let only_b = sets.with(SetIndex::EMPTY, b).expect("room");
        let both = sets.with(only_a, b).expect("room");
        assert_eq!(sets.with(only_b, a), Some(both));
        assert_eq!(sets.with(both, a), Some(both));
        assert!(sets.contains(both, b) && !sets.contains(only_a, b));
    }

    #[test]
    fn a_claim_that_was_given_up_is_one_until_it_is_taken_out_and_stands_again_when_it_is_said_again()
     {
        let mut sets = Sets::new();
        let (a, b) = (AuthorIndex(0), AuthorIndex(63));
        let only_a = sets.with(SetIndex::EMPTY, a).expect("room");
        let both = sets.with(only_a, b).expect("room");
        let given_up = sets.with_given_up(both, a).expect("room");
        assert!(sets.contains(given_up, a) && sets.has_given_up(given_up, a));
        assert!(!sets.has_given_up(given_up, b));
        assert_eq!(sets.standing(given_up, 1).collect::<Vec<_>>(), [b]);
        assert_eq!(sets.standing(given_up, 0).count(), 2, "nobody waits");
        assert_eq!(sets.with(given_up, a), Some(both));
        assert_eq!(sets.without(given_up, b), sets.with_given_up(only_a, a));
        assert_eq!(sets.without(given_up, a), sets.with(SetIndex::EMPTY, b));
        assert_eq!(sets.with_given_up(only_a, b), None, "it claims nothing");
    }

    #[test]
    fn however_many_sets_of_holders_there_are_a_new_author_finds_a_place_for_its_claims() {
        let mut sets = Sets::new();
        let mut pairs_refused = 0;
        for one in 0..60 {
            for other in 0..60 {
                for third in 0..4 {
                    let all = [one, other, third].map(AuthorIndex);
                    let mut set = Some(SetIndex::EMPTY);
                    for who in all {
                        set = set.and_then(|set| sets.with_holder(set, who));
                    }
                    pairs_refused += u32::from(set.is_none());
                }
            }
        }
        assert!(pairs_refused > 0, "there are as many as there may be");
        let last = AuthorIndex(63);
        let new = sets.with(SetIndex::EMPTY, last).expect("room for claims");
        assert!(sets.contains(new, last));
        let known = sets.with_holder(SetIndex::EMPTY, AuthorIndex(1));
        assert!(known.is_some_and(|known| sets.without_holder(known, AuthorIndex(1)).is_some()));
    }

    #[test]
    fn too_many_sets_or_authors_are_refused_and_known_ones_stay() {
        let mut sets = Sets::new();
        let mut last = SetIndex::EMPTY;
        let mut refused = false;
        for mask in 1..=u64::try_from(TABLE_SETS_MAX).expect("it is small") {
            let mut set = Some(SetIndex::EMPTY);
            for bit in (0..64).filter(|bit| mask >> bit & 1 == 1) {
                set = set.and_then(|set| sets.with(set, AuthorIndex(bit)));
            }
            match set {
                Some(set) => last = set,
                None => refused = true,
            }
        }
        assert!(refused);
        assert!(sets.contains(last, AuthorIndex(0)));

        let mut authors = Authors::default();
        for number in 0..MEMBERS_MAX {
            let key = PeerKey([u8::try_from(number).expect("it is small"); 32]);
            assert!(authors.index_of(key).is_some());
        }
        assert_eq!(authors.index_of(PeerKey([255; 32])), None);
        assert_eq!(authors.index_of(PeerKey([3; 32])), Some(AuthorIndex(3)));
    }
}
