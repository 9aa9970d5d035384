//! Which snapshots need what nobody has, and how that is found.

use std::collections::BTreeSet;

use super::house::{House, bytes, run};
use crate::author::{CatchUpError, Lacks, Placement, Seen, SnapshotReport, catch_up_with};
use crate::keeper::Keepers;
use crate::terms::{ChunkId, PeerKey};

/// One snapshot without a film, one with it, and one without it again.
async fn three(house: &House) -> [SnapshotReport; 3] {
    let first = house.take().await.expect("taken");
    house
        .world
        .tree
        .file("/d/b/film", bytes("film", 0, 300_000));
    let second = house.take().await.expect("taken");
    house.world.tree.remove("/d/b/film");
    let third = house.take().await.expect("taken");
    [first, second, third]
}

fn all_of(house: &House, report: &SnapshotReport) -> BTreeSet<ChunkId> {
    let entries = house.entries(report).into_iter();
    let data = entries.flat_map(|(_, chunks)| chunks);
    data.chain(house.index_of(report)).collect()
}

async fn lacking(house: &House, of: &[SnapshotReport], lost: &BTreeSet<ChunkId>) -> Vec<bool> {
    let mut lacks = Lacks::of(lost);
    let mut found = Vec::new();
    for report in of {
        let keyring = &house.identity.keyring;
        let looked = lacks.is_in(&house.street, keyring, &report.head).await;
        found.push(looked.expect("its index can be read"));
    }
    found
}

#[test]
fn only_snapshots_that_need_what_is_lost_lack_something() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let taken = three(&house).await;
        let [first, second, third] = [0, 1, 2].map(|at: usize| all_of(&house, &taken[at]));
        assert!(house.index_of(&taken[1]).len() > 3, "there is a tree");
        assert_eq!(lacking(&house, &taken, &BTreeSet::new()).await, [false; 3]);
        let film: Vec<_> = second.difference(&first).copied().collect();
        for id in film.into_iter().filter(|id| !third.contains(id)) {
            let lost = BTreeSet::from([id]);
            let found = lacking(&house, &taken, &lost).await;
            assert_eq!(found, [false, true, false], "{id}");
        }
        // What all have in common, wherever it stands, all of them lack: also those that come after it was met.
        for id in first.intersection(&second).filter(|id| third.contains(id)) {
            let lost = BTreeSet::from([*id]);
            assert_eq!(lacking(&house, &taken, &lost).await, [true; 3], "{id}");
        }
    });
}

#[test]
fn a_part_of_an_index_that_nobody_has_is_lacking() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let taken = three(&house).await;
        let others = all_of(&house, &taken[0]);
        let mut own = house.index_of(&taken[1]).into_iter();
        let page = own.rfind(|id| !others.contains(id));
        let page = page.expect("the film is listed somewhere");
        for key in [1, 2] {
            house.street.shop(key).chunks.borrow_mut().remove(&page);
        }
        let elsewhere = BTreeSet::from([ChunkId([7; 32])]);
        let found = lacking(&house, &taken[..2], &elsewhere).await;
        assert_eq!(found, [false, true]);
        // Who is away may have it.
        house.street.set_away(2, true);
        let mut lacks = Lacks::of(&elsewhere);
        let keyring = &house.identity.keyring;
        let looked = lacks.is_in(&house.street, keyring, &taken[1].head).await;
        assert_eq!(looked, Err(CatchUpError::Missing(page)));
    });
}

/// What came of seeing to one keeper's copies of a snapshot.
async fn seen_to(house: &House, report: &SnapshotReport, key: u8) -> Option<BTreeSet<ChunkId>> {
    let placement = Placement {
        members: house.street.members(),
        factor: 2,
    };
    let mut seen = Seen::default();
    let keyring = &house.identity.keyring;
    let peer = PeerKey([key; 32]);
    let done = catch_up_with(
        &house.street,
        keyring,
        &report.head,
        &placement,
        &mut seen,
        peer,
    );
    match done.await {
        Ok(_) | Err(CatchUpError::Missing(_)) => seen.nowhere.known(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_nobody_who_answers_has_is_lost_and_what_others_may_have_is_not() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let [_, second, _] = three(&house).await;
        assert_eq!(seen_to(&house, &second, 1).await, Some(BTreeSet::new()));
        let entries = house.entries(&second).into_iter();
        let data: BTreeSet<_> = entries.flat_map(|(_, chunks)| chunks).collect();
        let id = *data.first().expect("there are files");
        // The other keeper has it.
        house.street.shop(1).chunks.borrow_mut().remove(&id);
        assert_eq!(seen_to(&house, &second, 1).await, Some(BTreeSet::new()));
        for key in [1, 2] {
            house.street.shop(key).chunks.borrow_mut().remove(&id);
        }
        let lost = Some(BTreeSet::from([id]));
        assert_eq!(seen_to(&house, &second, 1).await, lost);
        // Who is away may have it after all.
        house.street.shop(2).is_away.set(true);
        assert_eq!(seen_to(&house, &second, 1).await, None);
    });
}
