//! Torn tails: whatever a power cut left of commits that were never finished is cut, and costs nothing that was acknowledged.

use super::mock_world::{MockDisk, MockWorld};
use super::open::{DamageKind, OpenReport};
use super::store_tests::{ANNA, BELA, FIRST, open, put, record, run};
use crate::format::segment::{FrameHeader, FrameType, SegmentHeader};
use crate::terms::ChunkId;
use crate::terms::limits::BLOCK_BYTES;

/// A store with one acknowledged commit and a second one of three frames; where the second begins.
pub(super) async fn two_commits() -> (MockDisk, Vec<ChunkId>, Vec<ChunkId>, usize) {
    let disk = MockWorld::new().disk;
    let (store, _) = open(&disk).await;
    let first = vec![put(&store, ANNA, 1, 700).await];
    let start = disk.bytes(FIRST).len();
    let calls = [(2, 900), (3, 5000), (4, 50)].map(|(number, len)| {
        let store = store.clone();
        tokio::task::spawn_local(async move { put(&store, ANNA, number, len).await })
    });
    let mut second = Vec::new();
    for call in calls {
        second.push(call.await.expect("it is kept"));
    }
    assert_eq!(store.figures().commits, 2, "the three share a commit");
    (disk, first, second, start)
}

/// Opens what a power cut left, looks that all of `kept` is there, goes on, and looks again after another start.
async fn goes_on(left: Vec<u8>, disk: &MockDisk, kept: &[ChunkId], goes_on: bool) -> OpenReport {
    let disk = disk.power_cut();
    // What follows is no run that ended in good order.
    disk.forget_marks();
    disk.set_bytes(FIRST, left);
    let (store, report) = open(&disk).await;
    for id in kept {
        assert!(store.get(*id).await.expect("the disk works").is_some());
    }
    for number_and_len in [(1, 700), (2, 900), (3, 5000), (4, 50)] {
        let (id, bytes) = record(number_and_len.0, number_and_len.1);
        if store.have(BELA, &[id]).await.expect("the disk works") == [true] {
            let kept = store.get(id).await.expect("the disk works");
            assert_eq!(kept.as_ref(), Some(&*bytes), "a yes without the chunk");
        }
    }
    if goes_on {
        let new = put(&store, BELA, 1000, 6000).await;
        let newer = put(&store, BELA, 1001, 60).await;
        let (store, again) = open(&disk.power_cut()).await;
        assert_eq!((again.torn_bytes_cut, again.damaged_count), (0, 0));
        for id in kept.iter().chain([&new, &newer]) {
            assert!(store.get(*id).await.expect("the disk works").is_some());
        }
        let held = store.have(ANNA, kept).await.expect("the disk works");
        assert!(held.iter().all(|held| *held));
    }
    report
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_rest_goes_on() {
    run(async {
        let (disk, first, second, start) = two_commits().await;
        let whole = disk.bytes(FIRST);
        for cut in start..whole.len() {
            let on = cut % 61 == 0 || cut % BLOCK_BYTES < 3;
            let short = whole[..cut].to_vec();
            let report = goes_on(short, &disk, &first, on).await;
            assert_eq!(report.damaged_count, 0, "cut at {cut}");
            // A disk writes a sector wholly or not at all.
            if !cut.is_multiple_of(512) {
                continue;
            }
            let mut zeros = whole.clone();
            zeros[cut..].fill(0);
            let report = goes_on(zeros, &disk, &first, on).await;
            assert_eq!(report.damaged_count, 0, "zeros from {cut}");
        }
        let all: Vec<ChunkId> = first.into_iter().chain(second).collect();
        let report = goes_on(whole, &disk, &all, true).await;
        assert_eq!((report.chunks, report.torn_bytes_cut), (4, 0));
    });
}

#[test]
fn a_commit_whose_blocks_were_written_out_of_order_loses_only_itself() {
    run(async {
        let (disk, first, second, start) = two_commits().await;
        let whole = disk.bytes(FIRST);
        for lost in (start..whole.len()).step_by(BLOCK_BYTES) {
            let mut left = whole.clone();
            left[lost..lost + BLOCK_BYTES].fill(0);
            let report = goes_on(left, &disk, &first, true).await;
            assert_eq!(
                report.damaged,
                [],
                "block at {lost}: it was never acknowledged"
            );
            let left_out = report.unfinished_bytes + report.torn_bytes_cut;
            assert!(left_out > 0, "block at {lost}");
        }
        assert_eq!(second.len(), 3);
    });
}

#[test]
fn a_last_commit_that_was_written_and_rots_is_damage_and_never_cut() {
    run(async {
        let (disk, first, second, start) = two_commits().await;
        let whole = disk.bytes(FIRST);
        let bodies = [(0, 200), (1, 40), (1, 4096), (2, 20)];
        for (which, into) in bodies {
            // Where its frame's body is, found by the record itself.
            let (_, bytes) = record([2, 3, 4][which], [900, 5000, 50][which]);
            let body = (start..whole.len())
                .find(|at| whole[*at..].starts_with(&bytes))
                .expect("it was written");
            let disk = disk.power_cut();
            disk.rot(FIRST, body + into);
            let (store, report) = open(&disk).await;
            let told = (report.damaged_count, report.unfinished_bytes);
            assert_eq!(told, (1, 0), "frame {which}, byte {into}");
            assert_eq!(report.damaged[0].kind, DamageKind::Frames);
            assert_eq!(report.torn_bytes_cut, 0, "frame {which}, byte {into}");
            let new = put(&store, BELA, 1000, 600).await;
            let (store, again) = open(&disk.power_cut()).await;
            assert_eq!(again.torn_bytes_cut, 0);
            let others = second.iter().filter(|id| **id != second[which]);
            for id in others.chain(&first).chain([&new]) {
                assert!(store.get(*id).await.expect("the disk works").is_some());
            }
        }
    });
}

#[test]
fn after_an_end_in_good_order_nothing_that_is_missing_passes_for_a_torn_tail() {
    run(async {
        let (disk, first, ..) = two_commits().await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let whole = disk.bytes(FIRST);
        for at in (whole.len() - 2 * BLOCK_BYTES..whole.len()).step_by(BLOCK_BYTES) {
            for is_short in [true, false] {
                let disk = disk.power_cut();
                let mut left = whole.clone();
                left[at..].fill(0);
                left.truncate(if is_short { at } else { left.len() });
                disk.set_bytes(FIRST, left);
                let (store, report) = open(&disk).await;
                assert!(report.damaged_count > 0, "from {at}, short: {is_short}");
                assert_eq!(report.torn_bytes_cut, 0, "from {at}, short: {is_short}");
                assert!(store.get(first[0]).await.expect("the disk works").is_some());
            }
        }
        // A segment that is gone, though no later one is there.
        let disk = disk.power_cut();
        disk.remove_now(FIRST);
        let (_, report) = open(&disk).await;
        assert_eq!(report.damaged[0].kind, DamageKind::Missing);
    });
}

#[test]
fn two_unfinished_commits_one_behind_the_other_are_no_damage() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let first = vec![put(&store, ANNA, 1, 700).await];
        let start = disk.bytes(FIRST).len();
        let calls = [(2, 900), (3, 50_000)].map(|(number, len)| {
            let store = store.clone();
            tokio::task::spawn_local(async move { put(&store, ANNA, number, len).await })
        });
        for call in calls {
            call.await.expect("it is kept");
        }
        // The second commit's first frame is whole; of its next one a header and some bytes stand in the same block.
        let mut left = disk.bytes(FIRST)[..start + BLOCK_BYTES].to_vec();
        let later = FrameHeader {
            frame: FrameType::Chunk,
            payload_bytes: 5000,
            store: SegmentHeader::decode(&left).expect("it is whole").store,
            commit: 3,
            id: ChunkId([9; 32]),
            author: ANNA,
        };
        left.extend(later.encode());
        left.resize(
            left.len().next_multiple_of(BLOCK_BYTES) + 2 * BLOCK_BYTES,
            0,
        );
        let report = goes_on(left, &disk, &first, true).await;
        assert_eq!((report.damaged_count, report.chunks), (0, 2));
        assert_eq!(report.torn_bytes_cut, 3 * BLOCK_BYTES as u64);
    });
}
