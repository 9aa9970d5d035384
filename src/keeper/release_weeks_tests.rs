//! What a keeper promises of what an author gives up, through weeks of it, compacting and power cuts at every moment.

use std::collections::BTreeMap;

use super::holding::Word;
use super::mock_world::MockDisk;
use super::release_tests::{
    again, author, begin, chunks, give_up, has, key, live, live_hours, said,
};
use super::store_tests::{BELA, CONFIG, head, open_with, record, run};
use super::table::{Prefix, prefix_of};
use super::verify::{Pace, Which};
use super::verify_tests::{read, sizes};
use crate::terms::{ChunkId, SnapshotNumber};

#[test]
fn what_went_does_not_come_back_when_the_note_of_it_is_compacted() {
    run(async {
        let (disk, store) = begin().await;
        for number in 1..=3 {
            let kept = store
                .put_head_for(&head(&key(), number, 3), Word::Own)
                .await;
            kept.expect("there is room");
        }
        // The first segment keeps more than half of what it has; the note stands in a later one, most of which goes.
        let ids = chunks(&store, 0..2).await;
        let mut later = chunks(&store, 2..3).await;
        assert_eq!(give_up(&store, &ids[..1], &[1]).await, Ok(()));
        assert_eq!(live(&store, 31).await.len(), 1);
        later.extend(chunks(&store, 3..7).await);
        assert_eq!(give_up(&store, &later[..4], &[]).await, Ok(()));
        assert_eq!(live(&store, 31).await.len(), 1);
        let wanted = said(&store).await;
        assert_eq!(wanted.heads.len(), 2);
        let (mut disk, mut store) = again(&disk, store).await;
        let mut gone = 0;
        for _ in 0..4 {
            let reclaimed = store.compact(Pace::Full).await.expect("the disk works");
            gone += reclaimed.segments;
            (disk, store) = again(&disk, store).await;
            assert_eq!(said(&store).await, wanted);
        }
        assert!(gone >= 2, "{gone} were compacted");
    });
}

/// Numbers that look drawn and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Weeks of a keeper whose author puts, asks, gives up and wants back, while the power goes and segments are compacted. What the author
/// was told last is what must be.
async fn weeks(seed: u64) {
    const CHUNKS: u64 = 24;
    let mut dice = Dice(seed);
    let (mut disk, mut store) = begin().await;
    // Whether the author's last word for a chunk was that it needs it.
    let mut needed: BTreeMap<u32, bool> = BTreeMap::new();
    let mut heads: BTreeMap<u64, bool> = BTreeMap::new();
    for _ in 0..120 {
        let number = u32::try_from(dice.roll(CHUNKS)).expect("few");
        let (id, bytes) = record(number, 12_000);
        match dice.roll(12) {
            0..=2 => {
                store.put(author(), id, bytes).await.expect("there is room");
                needed.insert(number, true);
            }
            3 | 4 => {
                let held = store.have(author(), &[id]).await.expect("works")[0];
                assert!(held || !needed.get(&number).is_some_and(|needed| *needed));
                if held {
                    needed.insert(number, true);
                }
            }
            5 => {
                let _ = store
                    .have_for(author(), Word::Fellow, &[id])
                    .await
                    .expect("works");
                let _ = store.put_for(BELA, Word::Own, id, bytes).await;
            }
            6 | 7 => {
                let many = 1 + dice.roll(CHUNKS);
                let numbers: Vec<u32> = (0..many)
                    .map(|_| u32::try_from(dice.roll(CHUNKS)).expect("few"))
                    .collect();
                let names: Vec<ChunkId> = numbers
                    .iter()
                    .map(|number| record(*number, 12_000).0)
                    .collect();
                let newest = heads.keys().last().copied();
                let leave: Vec<u64> = heads
                    .keys()
                    .copied()
                    .filter(|head| Some(*head) != newest && dice.roll(3) == 0)
                    .collect();
                if give_up(&store, &names, &leave).await == Ok(()) {
                    needed.extend(numbers.into_iter().map(|number| (number, false)));
                    heads.extend(leave.into_iter().map(|head| (head, false)));
                }
            }
            8 => {
                let next = heads.keys().last().map_or(1, |last| last + 1);
                let number = if dice.roll(3) == 0 {
                    1 + dice.roll(next)
                } else {
                    next
                };
                let kept = store
                    .put_head_for(&head(&key(), number, 3), Word::Own)
                    .await;
                kept.expect("there is room");
                heads.insert(number, true);
            }
            9 => drop(live(&store, dice.roll(20)).await),
            10 => {
                store.compact(Pace::Full).await.expect("the disk works");
            }
            _ => (disk, store) = again(&disk, store).await,
        }
        let there = said(&store).await.heads;
        for (number, needed) in &heads {
            assert!(
                !needed || there.contains(&SnapshotNumber(*number)),
                "snapshot {number}"
            );
        }
        for (number, needed) in &needed {
            assert!(
                !needed || has(&store, record(*number, 12_000).0).await,
                "chunk {number}"
            );
        }
    }
    // In the end all that is not needed goes, whatever came between.
    live(&store, 32).await;
    let names = |wanted: bool| -> Vec<ChunkId> {
        let some = needed.iter().filter(|(_, needed)| **needed == wanted);
        some.map(|(number, _)| record(*number, 12_000).0).collect()
    };
    if !names(false).is_empty() {
        assert_eq!(give_up(&store, &names(false), &[]).await, Ok(()));
    }
    live(&store, 32).await;
    store.compact(Pace::Full).await.expect("the disk works");
    let (_, store) = again(&disk, store).await;
    let mut wanted: Vec<Prefix> = names(true).iter().map(prefix_of).collect();
    wanted.sort_unstable();
    let claims: Vec<Prefix> = said(&store)
        .await
        .claims
        .iter()
        .map(|(prefix, _)| *prefix)
        .collect();
    assert_eq!(claims, wanted);
    assert_eq!(read(&store, Which::All).await.damaged, []);
}

#[test]
fn through_weeks_of_giving_up_and_wanting_back_nothing_that_is_needed_goes_and_all_else_does() {
    for seed in 0..12 {
        run(weeks(seed));
    }
}

/// What goes wrong at every moment of something: the store as each power cut leaves it, some of them torn.
async fn cut_at_every_moment(
    disk: &MockDisk,
    deed: impl Future<Output = ()> + 'static,
) -> Vec<MockDisk> {
    let doing = tokio::task::spawn_local(deed);
    let mut images = Vec::new();
    let mut coin = 1u32;
    while !doing.is_finished() {
        images.push(disk.power_cut());
        images.push(disk.torn_power_cut(|| {
            coin = coin.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            coin >> 31 == 1
        }));
        tokio::task::yield_now().await;
    }
    doing.await.expect("it ended");
    images.push(disk.power_cut());
    images
}

#[test]
fn the_power_may_be_cut_at_any_moment_of_giving_up_wanting_back_letting_go_and_compacting() {
    run(async {
        let (disk, store) = begin().await;
        for number in 1..=3 {
            let kept = store
                .put_head_for(&head(&key(), number, 3), Word::Own)
                .await;
            kept.expect("there is room");
        }
        let ids = chunks(&store, 0..8).await;
        let deeds = {
            let (store, ids) = (store.clone(), ids.clone());
            async move {
                assert_eq!(give_up(&store, &ids[..6], &[1]).await, Ok(()));
                let held = store.have(author(), &ids[..1]).await;
                assert_eq!(held.expect("works"), [true]);
            }
        };
        let mut images = cut_at_every_moment(&disk, deeds).await;
        live(&store, 29).await;
        live_hours(&store, 23).await;
        let deeds = {
            let store = store.clone();
            async move {
                assert_eq!(live_hours(&store, 1).await.len(), 1);
                let reclaimed = store.compact(Pace::Full).await;
                assert!(reclaimed.expect("the disk works").segments > 1);
            }
        };
        images.extend(cut_at_every_moment(&disk, deeds).await);
        assert!(images.len() > 100, "{} moments", images.len());
        let mut wanted = vec![prefix_of(&ids[0]), prefix_of(&ids[6]), prefix_of(&ids[7])];
        wanted.sort_unstable();
        for (moment, disk) in images.into_iter().enumerate() {
            let (store, report) = open_with(&disk, CONFIG, sizes()).await;
            assert_eq!(report.damaged, [], "moment {moment}");
            for id in [ids[0], ids[6], ids[7]] {
                assert!(has(&store, id).await, "moment {moment}");
            }
            let before = said(&store).await;
            let (disk, store) = again(&disk, store).await;
            if before.waiting.is_none() && before.claims.len() > 3 {
                // It was never said, or it is known to be over.
                let _ = store.have(author(), &ids[..1]).await.expect("works");
                assert_eq!(give_up(&store, &ids[1..6], &[1]).await, Ok(()));
            } else {
                // Perhaps the author's word that it wants one was cut off.
                assert_eq!(
                    store.have(author(), &ids[..1]).await.expect("works"),
                    [true]
                );
            }
            live(&store, 31).await;
            store.compact(Pace::Full).await.expect("the disk works");
            let (_, store) = again(&disk, store).await;
            let claims = said(&store).await.claims;
            let claims: Vec<Prefix> = claims.iter().map(|(prefix, _)| *prefix).collect();
            assert_eq!(claims, wanted, "moment {moment}");
            assert_eq!(said(&store).await.heads.len(), 2, "moment {moment}");
        }
    });
}
