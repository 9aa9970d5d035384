//! Where chunks belong, as a keeper reckons it for itself and for whoever asks; and what two keepers should both hold. Pure.

use super::MemberView;
use super::placement::{Few, PLACEMENT_VERSION, places_all, ranking_of};
use super::sets::Authors;
use crate::format::compare::{Basis, Marker, Prefix};
use crate::terms::limits::MEMBERS_MAX;
use crate::terms::{AuthorIndex, PeerKey};

/// Where chunks belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// All members, sorted by key.
    pub members: Vec<MemberView>,
    /// Copies a chunk should have when there are as many other Boxes.
    pub wanted: u8,
    /// Copies below which nothing is called protected.
    pub least: u8,
}

impl Places {
    /// What two Boxes compare to know that they would place alike: first bytes of BLAKE3 over the version of the placement, the wanted
    /// copies, then of each member its key, the length of its site and its site.
    #[must_use]
    pub fn mark(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[PLACEMENT_VERSION, self.wanted]);
        for member in &self.members {
            hasher.update(&member.key.0);
            let site = member.site.as_bytes();
            hasher.update(&u16::try_from(site.len()).unwrap_or(u16::MAX).to_le_bytes());
            hasher.update(site);
        }
        *hasher
            .finalize()
            .as_bytes()
            .first_chunk()
            .expect("a hash is longer")
    }

    /// The same without those who have been away for too long: their copies belong on others.
    #[must_use]
    pub fn without(&self, absent: &[PeerKey]) -> Self {
        let mut rest = self.clone();
        rest.members.retain(|member| !absent.contains(&member.key));
        rest
    }

    /// The keepers that should hold a chunk of an author.
    #[must_use]
    pub fn of(&self, prefix: &Prefix, author: PeerKey) -> Few {
        let mut ranked = ranking_of(prefix, author, &self.members);
        ranked.truncate(usize::from(self.wanted));
        ranked
    }

    /// Whether a keeper is one of them.
    #[must_use]
    pub fn is_on(&self, keeper: PeerKey, prefix: &Prefix, author: PeerKey) -> bool {
        places_all(prefix, author, &self.members, self.wanted, &[keeper])
    }

    /// How many keepers should hold a chunk of an author.
    #[must_use]
    pub fn copies_of(&self, author: PeerKey) -> usize {
        let others = self.members.iter().filter(|member| member.key != author);
        others.count().min(usize::from(self.wanted))
    }

    pub(super) fn has(&self, key: PeerKey) -> bool {
        self.members.iter().any(|member| member.key == key)
    }
}

/// What two keepers should both hold.
pub struct Shares {
    places: Places,
    pair: [PeerKey; 2],
    salt: u64,
    /// By the authors' numbers in this store.
    markers: heapless::Vec<(PeerKey, Marker, Common), MEMBERS_MAX>,
}

/// Which chunks of an author belong on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Common {
    /// None: one of the two is the author, or does not belong.
    None,
    /// All: there are no more keepers than copies.
    All,
    /// Those that are placed there.
    Placed,
}

impl Shares {
    /// Of these two, as the one that asks sees it.
    #[must_use]
    pub fn new(places: &Places, basis: &Basis, pair: [PeerKey; 2]) -> Self {
        Self {
            places: places.without(&basis.absent),
            pair,
            salt: basis.salt,
            markers: heapless::Vec::new(),
        }
    }

    /// Learns the authors this store has met.
    pub(super) fn meet(&mut self, authors: &Authors) {
        for key in &authors.keys()[self.markers.len()..] {
            // It has room for as many as a store can meet.
            let marker = Marker::new(self.salt, *key);
            let _ = self.markers.push((*key, marker, self.common(*key)));
        }
    }

    /// The author of this number and the mark of its claim, if the chunk belongs on both.
    pub(super) fn mark(&self, prefix: &Prefix, who: AuthorIndex) -> Option<(PeerKey, u64)> {
        let (author, marker, common) = self.markers.get(usize::from(who.0))?;
        let Places {
            members, wanted, ..
        } = &self.places;
        let belongs = match common {
            Common::None => false,
            Common::All => true,
            Common::Placed => places_all(prefix, *author, members, *wanted, &self.pair),
        };
        belongs.then(|| (*author, marker.mark(prefix)))
    }

    fn common(&self, author: PeerKey) -> Common {
        let is_keeper = |key: &PeerKey| *key != author && self.places.has(*key);
        if !self.pair.iter().all(is_keeper) {
            return Common::None;
        }
        let others = self.places.members.iter();
        let others = others.filter(|member| member.key != author).count();
        match others <= usize::from(self.places.wanted) {
            true => Common::All,
            false => Common::Placed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(keys: &[u8], wanted: u8) -> Places {
        let member = |key: &u8| MemberView {
            key: PeerKey([*key; 32]),
            name: format!("box{key}").into(),
            site: format!("site{key}").into(),
        };
        Places {
            members: keys.iter().map(member).collect(),
            wanted,
            least: 2,
        }
    }

    fn basis(absent: &[u8]) -> Basis {
        Basis {
            salt: 7,
            places: [0; 16],
            absent: absent.iter().map(|key| PeerKey([*key; 32])).collect(),
        }
    }

    const AUTHOR: PeerKey = PeerKey([1; 32]);
    const PAIR: [PeerKey; 2] = [PeerKey([2; 32]), PeerKey([3; 32])];

    fn shared(places: &Places, absent: &[u8], author: PeerKey) -> usize {
        let mut authors = Authors::default();
        let who = authors.index_of(author).expect("there is room");
        let mut shares = Shares::new(places, &basis(absent), PAIR);
        shares.meet(&authors);
        let prefixes = (0..200u32).map(|number| {
            let hash = blake3::hash(&number.to_le_bytes());
            *hash
                .as_bytes()
                .first_chunk::<12>()
                .expect("a hash is longer")
        });
        prefixes
            .filter(|prefix| shares.mark(prefix, who).is_some())
            .count()
    }

    #[test]
    fn two_keepers_share_what_placement_puts_on_both_and_nothing_of_their_own() {
        let few = places(&[1, 2, 3], 3);
        assert_eq!(shared(&few, &[], AUTHOR), 200);
        assert_eq!(shared(&few, &[], PAIR[0]), 0, "no Box keeps its own");
        let many = places(&[1, 2, 3, 4, 5, 6], 3);
        // Three of five: a pair shares three tenths.
        assert!((30..=90).contains(&shared(&many, &[], AUTHOR)));
        assert_eq!(
            shared(&many, &[4, 5], AUTHOR),
            200,
            "the rest is on all who are there"
        );
        assert_eq!(shared(&many, &[2], AUTHOR), 0);
    }

    #[test]
    fn another_site_or_factor_has_another_mark() {
        let one = places(&[1, 2, 3], 3);
        let mut other = one.clone();
        assert_eq!(one.mark(), other.mark());
        other.members[1].site = "elsewhere".into();
        assert_ne!(one.mark(), other.mark());
        assert_ne!(one.mark(), places(&[1, 2, 3], 2).mark());
        assert_ne!(one.mark(), places(&[1, 2], 3).mark());
    }
}
