//! Which keepers a chunk goes to: rendezvous hashing over the members, different sites first.
//!
//! It is a pure function of the chunk's name and the list of members, so the author, every keeper and the retriever find
//! the same answer without asking anybody. It knows nothing of who can be reached or has room.
//! Invariant: a member that leaves moves only the chunks it held.

use heapless::Vec as FewVec;

use super::MemberView;
use super::table::{Prefix, prefix_of};
use crate::terms::limits::MEMBERS_MAX;
use crate::terms::{ChunkId, PeerKey};

/// Which function this is: two Boxes that place by different ones find nothing out by comparing.
pub(super) const PLACEMENT_VERSION: u8 = 2;

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
    let mut ranking = Few::new();
    in_order(prefix, author, members, |member| {
        // It has room for as many as there are.
        let _ = ranking.push(member.key);
        true
    });
    ranking
}

/// Whether all of these members are among the first `factor` of a chunk's ranking. A comparison asks that of each chunk there is, so
/// no more is reckoned than what decides: most members are out as soon as as many sites as there are copies have somebody better.
#[must_use]
pub fn places_all(
    prefix: &Prefix,
    author: PeerKey,
    members: &[MemberView],
    factor: u8,
    wanted: &[PeerKey],
) -> bool {
    let rank = |member: &MemberView| (score(prefix, member.key), member.key);
    let mut ours: FewVec<_, MEMBERS_MAX> = FewVec::new();
    for key in wanted {
        let found = members.iter().take(MEMBERS_MAX).find(|m| m.key == *key);
        let Some(member) = found.filter(|member| member.key != author) else {
            return false;
        };
        if ours.push((rank(member), &member.site)).is_err() {
            return false;
        }
    }
    let Some(lowest) = ours.iter().map(|(rank, _)| *rank).min() else {
        return true;
    };
    let mut sites: FewVec<_, MEMBERS_MAX> = FewVec::new();
    let mut are_first = true;
    let others = members.iter().take(MEMBERS_MAX);
    for member in others.filter(|member| member.key != author) {
        let better = rank(member);
        if better <= lowest {
            continue;
        }
        are_first &= ours
            .iter()
            .all(|(rank, site)| better <= *rank || **site != member.site);
        if !sites.contains(&&member.site) {
            // It has room for as many as there are members.
            let _ = sites.push(&member.site);
        }
        if sites.len() >= usize::from(factor) {
            return false;
        }
    }
    // Whoever is not the best of its site comes behind those who are: then the whole order decides.
    (are_first && factor > 0) || are_all_in_order(prefix, author, members, factor, wanted)
}

fn are_all_in_order(
    prefix: &Prefix,
    author: PeerKey,
    members: &[MemberView],
    factor: u8,
    wanted: &[PeerKey],
) -> bool {
    let (mut left, mut missing) = (factor, wanted.len());
    in_order(prefix, author, members, |member| {
        if left == 0 {
            return false;
        }
        left -= 1;
        missing -= usize::from(wanted.contains(&member.key));
        missing > 0
    });
    missing == 0
}

/// Shows all members but the author in the order of the ranking, until it has been enough. Nothing is copied: members are many bytes.
fn in_order<'m>(
    prefix: &Prefix,
    author: PeerKey,
    members: &'m [MemberView],
    mut show: impl FnMut(&'m MemberView) -> bool,
) {
    let mut scored: FewVec<(u64, u8), MEMBERS_MAX> = FewVec::new();
    for (at, member) in (0..).zip(members.iter().take(MEMBERS_MAX)) {
        if member.key != author {
            // It has room for as many as are taken.
            let _ = scored.push((score(prefix, member.key), at));
        }
    }
    let by_score = |a: &(u64, u8), b: &(u64, u8)| {
        let key = |scored: &(u64, u8)| members[usize::from(scored.1)].key;
        b.0.cmp(&a.0).then(key(b).cmp(&key(a)))
    };
    // Highest score first, as `places_all` has it; equal ones hardly happen, but an order must not hang on luck.
    scored.sort_unstable_by(by_score);
    let of = |at: usize| &members[usize::from(scored[at].1)];
    let first_of_site = |at: usize| (0..at).all(|earlier| of(earlier).site != of(at).site);
    let firsts = (0..scored.len()).filter(|at| first_of_site(*at));
    let rest = (0..scored.len()).filter(|at| !first_of_site(*at));
    for at in firsts.chain(rest) {
        if !show(of(at)) {
            return;
        }
    }
}

/// The keepers that should hold this chunk: the first `factor` of its [`ranking`], or fewer if there are fewer.
#[must_use]
pub fn place(id: ChunkId, author: PeerKey, members: &[MemberView], factor: u8) -> Few {
    let mut ranked = ranking(id, author, members);
    ranked.truncate(usize::from(factor));
    ranked
}

/// How well a member suits a chunk: two of wyhash's steps over the name and the member's key. Names are hashes and keys are points of a
/// curve, so nothing has to be made even here, only mixed; and whoever belongs may choose its key, whatever the function. A comparison reckons
/// it for nearly each chunk there is, several times, so it has to cost next to nothing.
fn score(prefix: &Prefix, key: PeerKey) -> u64 {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *prefix;
    let first = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let last = u64::from(u32::from_le_bytes([i, j, k, l]));
    let (words, _) = key.0.as_chunks::<8>();
    let word = |at: usize| u64::from_le_bytes(words[at]) ^ WYHASH[at];
    let mixed = folded(first ^ word(0), last ^ word(1));
    folded(mixed ^ word(2), first ^ word(3))
}

/// The secret words of wyhash, version 4 (<https://github.com/wangyi-fudan/wyhash>, `_wyp`).
const WYHASH: [u64; 4] = [
    0x2d35_8dcc_aa6c_78a5,
    0x8bb8_4b93_962e_acc9,
    0x4b33_a62e_d433_d4a3,
    0x4d5a_2da5_1de1_aa47,
];

/// Both halves of a product, one over the other.
fn folded(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    #[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
    let low = product as u64;
    let high = (product >> 64) as u64;
    low ^ high
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
    fn whether_members_are_placed_is_as_the_places_say_however_many_share_a_site() {
        for members_of_a_site in 1..=4 {
            let members: Vec<_> = (1..=9)
                .map(|key| member(key, &format!("s{}", key / members_of_a_site)))
                .collect();
            for number in 0..100 {
                let prefix = prefix_of(&id(number));
                for factor in 0..9 {
                    let placed = place(id(number), AUTHOR, &members, factor);
                    let asked: [&[u8]; 7] =
                        [&[2, 3], &[4, 6], &[1, 2], &[5, 99], &[7], &[1], &[2, 5, 8]];
                    for asked in asked {
                        let asked: Vec<_> = asked.iter().map(|key| PeerKey([*key; 32])).collect();
                        let all = places_all(&prefix, AUTHOR, &members, factor, &asked);
                        let expected = asked.iter().all(|key| placed.contains(key));
                        assert_eq!(all, expected, "{number} {factor} {asked:?}");
                    }
                }
            }
        }
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
    fn each_pair_of_keepers_shares_as_much_as_each_other() {
        let drawn = |number: u8| PeerKey(*blake3::hash(&[number]).as_bytes());
        let near = |number: u8| PeerKey([number; 32]);
        for key_of in [&drawn as &dyn Fn(u8) -> PeerKey, &near] {
            let members: Vec<_> = (1..=9)
                .map(|number| MemberView {
                    key: key_of(number),
                    name: format!("box{number}").into(),
                    site: format!("site{number}").into(),
                })
                .collect();
            let mut shared = std::collections::BTreeMap::new();
            for number in 0..28_000 {
                let placed = place(id(number), key_of(1), &members, 3);
                for one in &placed {
                    for other in placed.iter().filter(|other| one < *other) {
                        *shared.entry((*one, *other)).or_insert(0u32) += 1;
                    }
                }
            }
            // 28,000 chunks with three of 28 pairs each: 3,000 a pair, with a standard deviation of 52.
            assert_eq!(shared.len(), 28);
            for count in shared.values() {
                assert!((2740..=3260).contains(count), "{shared:?}");
            }
        }
    }

    #[test]
    fn where_a_chunk_belongs_stays_as_it_is() {
        let members: Vec<_> = (1..=6).map(|key| member(key, &format!("s{key}"))).collect();
        let placed = |number| place(id(number), AUTHOR, &members, 3);
        let keys = |number| {
            placed(number)
                .iter()
                .map(|key| key.0[0])
                .collect::<Vec<_>>()
        };
        // Another order would have everything that is kept copied elsewhere.
        assert_eq!(
            [keys(1), keys(2), keys(3)],
            [[4, 3, 6], [5, 6, 4], [3, 2, 6]]
        );
    }

    #[test]
    fn a_reserve_of_one_has_no_keepers() {
        assert!(place(id(1), AUTHOR, &[member(1, "home")], 3).is_empty());
    }
}
