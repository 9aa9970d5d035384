//! Who is who in a store: authors get small numbers, and sets of them get small numbers too, so that a chunk's claims fit
//! in two bytes. Both lists are bounded and belong to one run of the process; on disk stand whole keys.

use crate::terms::limits::{MEMBERS_MAX, TABLE_SETS_MAX};
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

/// The sets in use, each a bit mask over the authors' numbers.
pub struct Sets(Vec<u64>);

impl Sets {
    /// Only the empty set; room for all is taken now.
    #[must_use]
    pub fn new() -> Self {
        let mut masks = Vec::with_capacity(TABLE_SETS_MAX);
        masks.push(0);
        Self(masks)
    }

    /// The set with one more member; `None` if there are too many different sets already.
    pub fn with(&mut self, set: SetIndex, member: AuthorIndex) -> Option<SetIndex> {
        let mask = self.mask(set) | 1 << member.0;
        self.number_of(mask)
    }

    fn number_of(&mut self, mask: u64) -> Option<SetIndex> {
        let at = match self.0.iter().position(|known| *known == mask) {
            Some(at) => at,
            None if self.0.len() < TABLE_SETS_MAX => {
                self.0.push(mask);
                self.0.len() - 1
            }
            None => return None,
        };
        u16::try_from(at).ok().map(SetIndex)
    }

    /// The set with one member less; `None` if there are too many different sets already.
    pub fn without(&mut self, set: SetIndex, member: AuthorIndex) -> Option<SetIndex> {
        let mask = self.mask(set) & !(1 << member.0);
        self.number_of(mask)
    }

    /// Its members, in the order of their numbers.
    pub fn members(&self, set: SetIndex) -> impl Iterator<Item = AuthorIndex> + use<> {
        let mut mask = self.mask(set);
        std::iter::from_fn(move || {
            let first = u16::try_from(mask.trailing_zeros()).ok()?;
            (mask != 0).then(|| {
                mask &= mask - 1;
                AuthorIndex(first)
            })
        })
    }

    /// Whether it has this member.
    #[must_use]
    pub fn contains(&self, set: SetIndex, member: AuthorIndex) -> bool {
        self.mask(set) & 1 << member.0 != 0
    }

    /// One of its members.
    #[must_use]
    pub fn first(&self, set: SetIndex) -> Option<AuthorIndex> {
        let mask = self.mask(set);
        let first = u16::try_from(mask.trailing_zeros()).ok()?;
        (mask != 0).then_some(AuthorIndex(first))
    }

    fn mask(&self, set: SetIndex) -> u64 {
        self.0.get(usize::from(set.0)).copied().unwrap_or(0)
    }
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
