//! What compacting a store promises, told in sentences; the power is cut between any two steps of it.

use std::cell::RefCell;
use std::rc::Rc;

use ed25519_dalek::SigningKey;

use super::mock_world::{MockDisk, MockWorld};
use super::store_tests::{ANNA, BELA, CONFIG, FIRST, MockStore, head, open_with, put, run};
use super::verify::{Pace, Which};
use super::verify_tests::{SECOND, read, sizes, three_segments};
use crate::terms::limits::{BLOCK_BYTES, FRAME_HEADER_BYTES};
use crate::terms::{ChunkId, PeerKey, SnapshotNumber};

/// Where the second chunk of a segment of [`three_segments`] stands.
const NEXT: usize = BLOCK_BYTES + (FRAME_HEADER_BYTES + 20_000).next_multiple_of(BLOCK_BYTES);

/// Everything a store says that it has: chunks whole and claimed, heads, and how much each author claims.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    whole: Vec<bool>,
    claimed: Vec<(PeerKey, u64)>,
    heads: Vec<SnapshotNumber>,
    chunks: usize,
}

async fn said(store: &MockStore, ids: &[ChunkId]) -> Said {
    let mut whole = Vec::new();
    for id in ids {
        whole.push(store.get(*id).await.expect("the disk works").is_some());
    }
    let mut claimed = store.claimed_bytes();
    claimed.sort_unstable();
    let heads = store.heads(Some(author()), SnapshotNumber(0)).await;
    let heads = heads.expect("the disk works");
    Said {
        whole,
        claimed,
        heads: heads.iter().map(|head| head.head.number).collect(),
        chunks: store.figures().chunks,
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn author() -> PeerKey {
    PeerKey(key().verifying_key().to_bytes())
}

/// Chunks of two authors, some claimed by both, in segments that lost chunks which were put anew later; a head among them.
async fn sparse() -> (MockDisk, MockStore, Vec<ChunkId>) {
    let (disk, store, mut ids) = three_segments().await;
    let held = store.have(BELA, &ids[..3]).await.expect("the disk works");
    assert_eq!(held, [true; 3]);
    store.put_head(&head(&key(), 1, 3)).await.expect("kept");
    for number in 5..8 {
        ids.push(put(&store, BELA, number, 20_000).await);
    }
    assert_eq!(store.have(ANNA, &ids[5..6]).await.expect("works"), [true]);
    // One chunk each of the first two segments rots, is found, and comes anew.
    disk.rot(FIRST, BLOCK_BYTES + FRAME_HEADER_BYTES + 50);
    disk.rot(SECOND, NEXT + FRAME_HEADER_BYTES + 50);
    assert_eq!(read(&store, Which::All).await.damaged_count, 2);
    put(&store, ANNA, 0, 20_000).await;
    put(&store, ANNA, 3, 20_000).await;
    for number in 8..11 {
        ids.push(put(&store, ANNA, number, 20_000).await);
    }
    store.put_head(&head(&key(), 2, 3)).await.expect("kept");
    (disk, store, ids)
}

async fn compact(store: &MockStore) -> u64 {
    let reclaimed = store.compact(Pace::Full).await;
    reclaimed.expect("the disk works").segments
}

#[test]
fn what_counts_moves_to_the_end_and_the_space_of_what_rotted_is_given_back() {
    run(async {
        let (disk, store, ids) = sparse().await;
        let before = said(&store, &ids).await;
        assert!(before.whole.iter().all(|whole| *whole));
        assert_eq!(before.heads, [SnapshotNumber(1), SnapshotNumber(2)]);
        let figures = store.figures();
        assert_eq!(compact(&store).await, 2, "the first two are half rotten");
        assert!(!disk.paths().contains(&FIRST.to_owned()));
        assert!(!disk.paths().contains(&SECOND.to_owned()));
        assert_eq!(said(&store, &ids).await, before);
        assert_eq!(compact(&store).await, 0, "nothing is left to do");
        let on_disk = |disk: &MockDisk| -> u64 {
            let segments = disk.paths().into_iter();
            let segments = segments.filter(|path| path.contains("seg-"));
            segments.map(|path| disk.bytes(&path).len() as u64).sum()
        };
        assert_eq!(store.figures().disk_bytes, on_disk(&disk));
        assert!(store.figures().segments <= figures.segments);
        assert_eq!(read(&store, Which::All).await.damaged, []);
        for start in 0..2 {
            let disk = disk.power_cut();
            let (store, report) = open_with(&disk, CONFIG, sizes()).await;
            assert_eq!((report.damaged, report.damaged_count), (vec![], 0));
            assert_eq!(said(&store, &ids).await, before, "start {start}");
            assert_eq!(store.figures().disk_bytes, on_disk(&disk));
            assert_eq!(read(&store, Which::All).await.damaged, []);
        }
    });
}

#[test]
fn whenever_the_power_is_cut_everything_is_there_and_it_goes_on() {
    run(async {
        let (disk, store, ids) = sparse().await;
        let before = said(&store, &ids).await;
        let done = Rc::new(RefCell::new(false));
        let compacting = {
            let (store, done) = (store.clone(), Rc::clone(&done));
            tokio::task::spawn_local(async move {
                assert_eq!(compact(&store).await, 2);
                *done.borrow_mut() = true;
            })
        };
        let mut images = Vec::new();
        let mut coin = 1u32;
        while !*done.borrow() {
            images.push(disk.power_cut());
            for _ in 0..2 {
                let torn = disk.torn_power_cut(|| {
                    coin = coin.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    coin >> 31 == 1
                });
                images.push(torn);
            }
            tokio::task::yield_now().await;
        }
        compacting.await.expect("it ended");
        assert!(images.len() > 60, "{} moments", images.len());
        let mut ends = [0; 3];
        for (moment, image) in images.into_iter().enumerate() {
            let (store, report) = open_with(&image, CONFIG, sizes()).await;
            assert_eq!(report.damaged, [], "moment {moment}");
            assert_eq!(said(&store, &ids).await, before, "moment {moment}");
            let left = usize::try_from(compact(&store).await).expect("few");
            ends[left] += 1;
            assert_eq!(said(&store, &ids).await, before, "moment {moment}");
            let (store, _) = open_with(&image.power_cut(), CONFIG, sizes()).await;
            assert_eq!(said(&store, &ids).await, before, "moment {moment}");
            assert_eq!(read(&store, Which::All).await.damaged, []);
        }
        assert!(ends.iter().all(|count| *count > 0), "{ends:?}");
    });
}

#[test]
fn a_file_that_stands_again_after_a_power_cut_is_removed_and_no_loss() {
    run(async {
        let (disk, store, ids) = sparse().await;
        let before = said(&store, &ids).await;
        let old = disk.bytes(FIRST);
        assert_eq!(compact(&store).await, 2);
        let disk = disk.power_cut();
        disk.set_bytes(FIRST, old);
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!(report.damaged, []);
        assert!(!disk.paths().contains(&FIRST.to_owned()));
        assert_eq!(said(&store, &ids).await, before);
    });
}

#[test]
fn a_store_that_forgot_what_it_compacted_tells_segments_as_missing_and_loses_nothing() {
    run(async {
        let (disk, store, ids) = sparse().await;
        let before = said(&store, &ids).await;
        assert_eq!(compact(&store).await, 2);
        let disk = disk.power_cut();
        disk.lose("store/compacted");
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!(report.damaged_count, 2);
        assert_eq!(said(&store, &ids).await, before);
    });
}

#[test]
fn a_segment_with_something_damaged_stays_until_that_is_repaired() {
    run(async {
        let (disk, store, ids) = sparse().await;
        // The other chunk of the first segment rots too, unseen.
        disk.rot(FIRST, NEXT + FRAME_HEADER_BYTES + 50);
        assert_eq!(compact(&store).await, 1, "only the second one");
        assert!(disk.paths().contains(&FIRST.to_owned()));
        assert_eq!(store.figures().damaged, 1, "it was found on the way");
        assert_eq!(compact(&store).await, 0);
        put(&store, ANNA, 1, 20_000).await;
        assert_eq!(compact(&store).await, 1);
        assert!(said(&store, &ids).await.whole.iter().all(|whole| *whole));
        let (store, report) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
        assert_eq!(report.damaged, []);
        assert!(said(&store, &ids).await.whole.iter().all(|whole| *whole));
        let held = store.have(BELA, &ids[..3]).await.expect("the disk works");
        assert_eq!(held, [true; 3]);
    });
}

#[test]
fn a_segment_with_something_in_it_that_no_list_names_stays() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open_with(&disk, CONFIG, sizes()).await;
        let mut ids = vec![put(&store, ANNA, 0, 20_000).await];
        ids.push(put(&store, ANNA, 1, 20_000).await);
        store.close().await;
        // The header of a chunk rots in the segment that is written to: the next start finds no name for it.
        let disk = disk.power_cut();
        disk.rot(FIRST, BLOCK_BYTES + 40);
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!((report.damaged_count, report.chunks), (1, 1));
        let bytes = disk.bytes(FIRST);
        for number in 2..6 {
            put(&store, ANNA, number, 20_000).await;
        }
        put(&store, ANNA, 0, 20_000).await;
        assert!(disk.bytes(FIRST).len() > bytes.len(), "it has a footer");
        assert_eq!(compact(&store).await, 0);
        assert!(disk.bytes(FIRST).starts_with(&bytes));
        assert_eq!(said(&store, &ids).await.whole, [true; 2]);
    });
}

#[test]
fn the_only_other_copy_stays_while_the_one_that_counts_was_not_read_for_long() {
    run(async {
        let (disk, store, ids) = sparse().await;
        disk.wait_days(crate::terms::limits::SWEEP_PERIOD_DAYS + 1);
        assert_eq!(compact(&store).await, 0, "what counts may have rotted");
        assert_eq!(read(&store, Which::Due).await.damaged, []);
        assert_eq!(compact(&store).await, 2);
        assert!(said(&store, &ids).await.whole.iter().all(|whole| *whole));
    });
}

#[test]
fn what_fails_on_the_way_leaves_everything_as_it_was() {
    run(async {
        for nth in 0..4 {
            let (disk, store, ids) = sparse().await;
            let before = said(&store, &ids).await;
            disk.fail_sync(nth);
            let _told = store.compact(Pace::Full).await;
            assert_eq!(said(&store, &ids).await, before, "sync {nth}");
            let (store, _) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
            assert_eq!(said(&store, &ids).await, before, "sync {nth}");
        }
        let (disk, store, ids) = sparse().await;
        let before = said(&store, &ids).await;
        disk.set_free(10_000);
        // The store learns of it with its next commit.
        store.put_head(&head(&key(), 3, 3)).await.expect("it fits");
        assert_eq!(compact(&store).await, 0, "there is no room");
        disk.set_free(1 << 30);
        store.put_head(&head(&key(), 4, 3)).await.expect("it fits");
        assert_eq!(compact(&store).await, 2);
        let after = said(&store, &ids).await;
        assert_eq!((after.whole, after.chunks), (before.whole, before.chunks));
    });
}

#[test]
fn whoever_reads_while_a_segment_goes_finds_everything() {
    run(async {
        let (_, store, ids) = sparse().await;
        let compacting = {
            let store = store.clone();
            tokio::task::spawn_local(async move { compact(&store).await })
        };
        let mut rounds = 0;
        while !compacting.is_finished() {
            let asking = ids.iter().map(|id| {
                let (store, id) = (store.clone(), *id);
                tokio::task::spawn_local(async move {
                    let got = store.get(id).await.expect("the disk works");
                    let held = store.have(BELA, &[id]).await.expect("the disk works");
                    (got.is_some(), held)
                })
            });
            for answer in asking.collect::<Vec<_>>() {
                assert_eq!(answer.await.expect("it ended"), (true, vec![true]));
            }
            rounds += 1;
        }
        assert_eq!(compacting.await.expect("it ended"), 2);
        assert!(rounds > 1);
        assert_eq!(store.figures().damaged, 0);
    });
}

#[test]
fn a_segments_file_stays_while_somebody_reads_who_came_before_its_chunks_moved() {
    run(async {
        let (disk, store, ids) = sparse().await;
        let before = said(&store, &ids).await;
        let reading = store.inner().readers.enter();
        let compacting = {
            let store = store.clone();
            tokio::task::spawn_local(async move { compact(&store).await })
        };
        for _ in 0..5000 {
            tokio::task::yield_now().await;
        }
        let first = store.inner().candidates(&ids[1]);
        assert_ne!(first[0].location.segment(), 1, "it counts elsewhere");
        assert!(!compacting.is_finished() && disk.paths().contains(&FIRST.to_owned()));
        drop(reading);
        assert_eq!(compacting.await.expect("it ended"), 2);
        assert_eq!(said(&store, &ids).await, before);
    });
}

#[test]
fn a_claim_outlives_its_segment_whose_chunk_is_in_another() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open_with(&disk, CONFIG, sizes()).await;
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(put(&store, ANNA, number, 20_000).await);
        }
        // In the second segment, of a chunk in the first.
        assert_eq!(store.have(BELA, &ids[..1]).await.expect("works"), [true]);
        for number in 3..5 {
            ids.push(put(&store, ANNA, number, 20_000).await);
        }
        let behind_claim = NEXT + BLOCK_BYTES + FRAME_HEADER_BYTES + 50;
        for at in [BLOCK_BYTES + FRAME_HEADER_BYTES + 50, behind_claim] {
            disk.rot(SECOND, at);
        }
        assert_eq!(read(&store, Which::All).await.damaged_count, 2);
        put(&store, ANNA, 2, 20_000).await;
        put(&store, ANNA, 3, 20_000).await;
        let before = said(&store, &ids).await;
        assert_eq!(compact(&store).await, 1);
        assert!(!disk.paths().contains(&SECOND.to_owned()));
        for start in 0..2 {
            let (store, report) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
            assert_eq!(report.damaged, []);
            assert_eq!(said(&store, &ids).await, before, "start {start}");
        }
    });
}
