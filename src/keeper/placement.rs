//! Which keepers a chunk goes to: rendezvous hashing over the members, different sites first.
//!
//! It is a pure function of the chunk's name and the list of members, so the author, every keeper and the retriever find
//! the same answer without asking anybody. It knows nothing of who can be reached or has room.
//! Invariant: a member that leaves moves only the chunks it held.

use heapless::Vec as FewVec;

use super::MemberView;
use super::table::{PREFIX_BYTES, Prefix, prefix_of};
use crate::terms::limits::MEMBERS_MAX;
use crate::terms::{ChunkId, PeerKey};

/// A short list of members, never longer than a reserve.
pub type Few = FewVec<PeerKey, MEMBERS_MAX>;

/// All members but the author, best keeper of this chunk first: the best of each site, then the rest.
///
/// More than [`MEMBERS_MAX`] members cannot be; those beyond it are left out.
#[must_use]
pub fn ranking(id: ChunkId, author: PeerKey, members: &[MemberView]) -> Few {
    ranking_of(&prefix_of(&id), author, members)
}

/// The same, of the part of a chunk's name that a keeper has in memory: nothing else of it decides.
#[must_use]
pub fn ranking_of(prefix: &Prefix, author: PeerKey, members: &[MemberView]) -> Few {
    let mut scored: FewVec<([u8; 32], &MemberView), MEMBERS_MAX> = members
        .iter()
        .filter(|member| member.key != author)
        .take(MEMBERS_MAX)
        .map(|member| (score(prefix, member.key), member))
        .collect();
    // Highest score first; equal scores do not happen, but an order must not hang on luck.
    scored.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.key.cmp(&b.1.key)));
    let first_of_site = |at: usize| {
        scored[..at]
            .iter()
            .all(|(_, earlier)| earlier.site != scored[at].1.site)
    };
    let firsts = (0..scored.len()).filter(|at| first_of_site(*at));
    let rest = (0..scored.len()).filter(|at| !first_of_site(*at));
    firsts.chain(rest).map(|at| scored[at].1.key).collect()
}

/// The keepers that should hold this chunk: the first `factor` of its [`ranking`], or fewer if there are fewer.
#[must_use]
pub fn place(id: ChunkId, author: PeerKey, members: &[MemberView], factor: u8) -> Few {
    let mut ranked = ranking(id, author, members);
    ranked.truncate(usize::from(factor));
    ranked
}

fn score(prefix: &Prefix, key: PeerKey) -> [u8; 32] {
    let mut bytes = [0; PREFIX_BYTES + 32];
    bytes[..PREFIX_BYTES].copy_from_slice(prefix);
    bytes[PREFIX_BYTES..].copy_from_slice(&key.0);
    *blake3::hash(&bytes).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(key: u8, site: &str) -> MemberView {
        MemberView {
            key: PeerKey([key; 32]),
            name: format!("box{key}").into(),
            site: site.into(),
        }
    }

    fn id(number: u32) -> ChunkId {
        ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    const AUTHOR: PeerKey = PeerKey([1; 32]);

    #[test]
    fn the_author_is_never_its_own_keeper() {
        let members: Vec<_> = (1..=5).map(|key| member(key, &format!("s{key}"))).collect();
        for number in 0..200 {
            assert!(!place(id(number), AUTHOR, &members, 5).contains(&AUTHOR));
            assert_eq!(ranking(id(number), AUTHOR, &members).len(), 4);
        }
    }

    #[test]
    fn different_sites_come_before_a_second_box_of_one_site() {
        let members = [
            member(1, "home"),
            member(2, "home"),
            member(3, "home"),
            member(4, "home"),
            member(5, "office"),
        ];
        for number in 0..200 {
            let placed = place(id(number), AUTHOR, &members, 2);
            assert!(placed.contains(&PeerKey([5; 32])), "{placed:?}");
            assert_eq!(placed.len(), 2);
        }
    }

    #[test]
    fn removing_a_member_moves_only_what_it_held() {
        let members: Vec<_> = (1..=6).map(|key| member(key, &format!("s{key}"))).collect();
        let gone = PeerKey([4; 32]);
        let left: Vec<_> = members
            .iter()
            .filter(|member| member.key != gone)
            .cloned()
            .collect();
        let mut moved = 0;
        for number in 0..1000 {
            let before = place(id(number), AUTHOR, &members, 2);
            let after = place(id(number), AUTHOR, &left, 2);
            if before.contains(&gone) {
                moved += 1;
                let stayed = before.iter().filter(|key| **key != gone);
                assert!(stayed.into_iter().all(|key| after.contains(key)));
            } else {
                assert_eq!(before, after);
            }
        }
        assert!(moved > 0);
    }

    #[test]
    fn chunks_spread_evenly() {
        let members: Vec<_> = (1..=5).map(|key| member(key, &format!("s{key}"))).collect();
        let mut counts = [0u32; 6];
        for number in 0..4000 {
            for key in place(id(number), AUTHOR, &members, 2) {
                counts[usize::from(key.0[0])] += 1;
            }
        }
        // 4,000 chunks on two of four keepers: 2,000 each, with a standard deviation of 32.
        for count in &counts[2..] {
            assert!((1840..=2160).contains(count), "{counts:?}");
        }
    }

    #[test]
    fn a_reserve_of_one_has_no_keepers() {
        assert!(place(id(1), AUTHOR, &[member(1, "home")], 3).is_empty());
    }
}
