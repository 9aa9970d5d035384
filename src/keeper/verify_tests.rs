//! What reading everything again finds, and what a store believes without reading, told in sentences.

use std::time::Duration;

use super::mock_world::{MockDisk, MockWorld};
use super::open::DamageKind;
use super::queue::Sizes;
use super::refuse::StoreError;
use super::store_tests::{ANNA, BELA, CONFIG, FIRST, MockStore, open, open_with, put, record, run};
use super::verify::{Pace, SweepProgress, SweepReport, Which};
use crate::terms::ChunkId;
use crate::terms::limits::{BLOCK_BYTES, FRAME_HEADER_BYTES};
use crate::world::{Clock, World};

pub(super) const SECOND: &str = "store/seg-000002";

pub(super) fn sizes() -> Sizes {
    Sizes {
        segment_bytes: 64 << 10,
        ..Sizes::default()
    }
}

/// A store with two closed segments of two chunks each and one that is written to; one commit a chunk.
pub(super) async fn three_segments() -> (MockDisk, MockStore, Vec<ChunkId>) {
    let disk = MockWorld::new().disk;
    let (store, _) = open_with(&disk, CONFIG, sizes()).await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(put(&store, ANNA, number, 20_000).await);
    }
    assert_eq!(store.figures().segments, 3);
    (disk, store, ids)
}

pub(super) async fn read(store: &MockStore, which: Which) -> SweepReport {
    let progress = SweepProgress::default();
    let report = store.verify(which, Pace::Gentle, &progress).await;
    let report = report.expect("the disk works");
    assert_eq!(progress.damaged.get(), report.damaged_count);
    assert_eq!(progress.segments.get(), report.segments);
    report
}

pub(super) async fn held(store: &MockStore, ids: &[ChunkId]) -> Vec<bool> {
    store.have(ANNA, ids).await.expect("the disk works")
}

#[test]
fn a_whole_store_is_read_to_its_last_byte_and_nothing_is_found() {
    run(async {
        let (_, store, ids) = three_segments().await;
        let report = read(&store, Which::All).await;
        assert_eq!((report.segments, report.frames), (3, 5));
        assert!(report.bytes >= 5 * 20_000);
        assert_eq!(report.damaged, []);
        assert_eq!(held(&store, &ids).await, [true; 5]);
    });
}

#[test]
fn any_flipped_bit_of_a_frame_is_found_flagged_and_named() {
    run(async {
        let second_at = BLOCK_BYTES + (FRAME_HEADER_BYTES + 20_000).next_multiple_of(BLOCK_BYTES);
        for at in [0, 4, 9, 13, 30, 40, 70, 95, 96, 5000, 20_095] {
            for (path, segment, chunk) in [(FIRST, 1, 1), (SECOND, 2, 3)] {
                let (disk, store, ids) = three_segments().await;
                disk.rot(path, second_at + at);
                let report = read(&store, Which::All).await;
                let found: Vec<_> = report.damaged.iter().map(|d| (d.segment, d.kind)).collect();
                assert_eq!(found, [(segment, DamageKind::Frames)], "byte {at}");
                let mut whole = vec![true; 5];
                whole[chunk] = false;
                assert_eq!(held(&store, &ids).await, whole, "byte {at}");
                assert_eq!(
                    store.damaged_chunks().await,
                    [(ids[chunk], ANNA)],
                    "byte {at}: the footer knows the name even when the header is gone"
                );
                // A new copy takes its place, and what is left of the old one is no loss any more.
                let number = u32::try_from(chunk).expect("small");
                put(&store, BELA, number, 20_000).await;
                assert_eq!(held(&store, &ids).await, [true; 5]);
                assert_eq!(read(&store, Which::All).await.damaged, []);
                assert_eq!(store.figures().damaged, 0);
            }
        }
    });
}

#[test]
fn a_chunk_that_another_was_written_over_is_found_though_what_stands_there_is_whole() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(put(&store, ANNA, number, 20_000).await);
        }
        let len = (FRAME_HEADER_BYTES + 20_000).next_multiple_of(BLOCK_BYTES);
        let second_at = BLOCK_BYTES + len;
        disk.write_over(FIRST, second_at..second_at + len, BLOCK_BYTES);
        assert_eq!(read(&store, Which::All).await.damaged_count, 1);
        assert_eq!(held(&store, &ids).await, [false, true, true]);
    });
}

#[test]
fn what_could_not_be_read_and_can_be_now_counts_again() {
    run(async {
        for (path, chunk) in [(FIRST, 0), (SECOND, 2)] {
            let (disk, store, ids) = three_segments().await;
            disk.rot(path, BLOCK_BYTES + 300);
            assert_eq!(read(&store, Which::All).await.damaged_count, 1);
            assert!(!held(&store, &ids).await[chunk]);
            // It was the cable.
            disk.rot(path, BLOCK_BYTES + 300);
            assert_eq!(read(&store, Which::All).await.damaged, []);
            assert_eq!(store.figures().damaged, 0);
            assert_eq!(held(&store, &ids).await, [true; 5]);
            assert!(
                store
                    .get(ids[chunk])
                    .await
                    .expect("the disk works")
                    .is_some()
            );
        }
    });
}

#[test]
fn a_segment_that_was_touched_while_the_keeper_was_off_is_read_before_a_yes() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        store.close().await;
        let disk = disk.power_cut();
        disk.rot(FIRST, BLOCK_BYTES + 300);
        disk.touch(FIRST);
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!(report.damaged, [], "a start does not read bodies");
        assert_eq!(
            held(&store, &ids).await,
            [false, true, true, true, true],
            "but no yes is given for what was not read"
        );
        assert_eq!(store.damaged_chunks().await, [(ids[0], ANNA)]);
    });
}

#[test]
fn what_was_found_whole_and_not_touched_is_not_read_again_before_it_is_due() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        store.close().await;
        let disk = disk.power_cut();
        let (store, _) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!(store.figures().segments_verified, 2);
        let before = disk.reads();
        assert_eq!(held(&store, &ids[..4]).await, [true; 4]);
        assert!(disk.reads() - before <= 4, "a header each");
        let report = read(&store, Which::Due).await;
        assert_eq!(report.segments, 1, "only the one that was not closed");
        assert_eq!(read(&store, Which::Due).await.segments, 0);
        assert_eq!(read(&store, Which::All).await.segments, 3);
    });
}

#[test]
fn a_segment_that_is_gone_is_told_and_nothing_in_it_is_confirmed() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        // While it runs: whoever asks learns it, and a reading finds all of it.
        disk.lose(SECOND);
        let report = read(&store, Which::All).await;
        let kinds: Vec<_> = report.damaged.iter().map(|d| (d.segment, d.kind)).collect();
        assert_eq!(kinds, [(2, DamageKind::Missing)]);
        assert_eq!(store.figures().damaged, 2);
        assert_eq!(held(&store, &ids).await, [true, true, false, false, true]);
        for number in [2, 3] {
            put(&store, ANNA, number, 20_000).await;
        }
        assert_eq!(held(&store, &ids).await, [true; 5]);
        assert_eq!(store.figures().damaged, 0);

        // At a start: what is passed over in the numbers is gone.
        let (disk, store, ids) = three_segments().await;
        store.close().await;
        let disk = disk.power_cut();
        disk.lose(FIRST);
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        let kinds: Vec<_> = report.damaged.iter().map(|d| (d.segment, d.kind)).collect();
        assert_eq!(kinds, [(1, DamageKind::Missing)]);
        assert_eq!(held(&store, &ids).await, [false, false, true, true, true]);
    });
}

#[test]
fn all_that_was_cut_off_a_closed_segment_is_found_by_one_reading() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        disk.cut_off(SECOND, 10_000);
        let report = read(&store, Which::All).await;
        assert!(report.damaged_count >= 2, "{report:?}");
        assert_eq!(store.figures().damaged, 2, "both that stood there");
        assert_eq!(held(&store, &ids).await, [true, true, false, false, true]);
    });
}

#[test]
fn blocks_that_cannot_be_read_cost_only_the_frames_they_hold() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        disk.spoil_block(FIRST, 2 * BLOCK_BYTES);
        let report = read(&store, Which::All).await;
        assert_eq!(report.damaged_count, 1, "{report:?}");
        assert_eq!(held(&store, &ids).await, [false, true, true, true, true]);
    });
}

#[test]
fn what_this_run_wrote_comes_due_as_everything_else_does() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        assert_eq!(read(&store, Which::Due).await.segments, 0);
        disk.wait_days(31);
        disk.rot(FIRST, BLOCK_BYTES + 300);
        assert_eq!(
            held(&store, &ids).await,
            [false, true, true, true, true],
            "no yes for what nobody read for so long"
        );
        let report = read(&store, Which::Due).await;
        assert_eq!((report.segments, report.damaged_count), (3, 1));
        assert_eq!(read(&store, Which::Due).await.segments, 0);
        disk.wait_days(2);
        let report = read(&store, Which::Due).await;
        assert_eq!(report.segments, 1, "only the one that is not whole");
    });
}

#[test]
fn a_damage_that_was_seen_is_not_forgotten_when_its_segment_is_closed() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open_with(&disk, CONFIG, sizes()).await;
        let rotten = put(&store, ANNA, 0, 20_000).await;
        disk.rot(FIRST, BLOCK_BYTES + 300);
        assert_eq!(store.get(rotten).await.expect("the disk works"), None);
        for number in 1..4 {
            put(&store, ANNA, number, 20_000).await;
        }
        store.close().await;
        let (store, _) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
        assert_eq!(held(&store, &[rotten]).await, [false]);
    });
}

#[test]
fn a_damage_in_a_segment_that_was_found_whole_is_known_after_a_power_cut() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        read(&store, Which::All).await;
        disk.rot(FIRST, BLOCK_BYTES + 300);
        assert_eq!(store.get(ids[0]).await.expect("the disk works"), None);
        store.damage_seen().await;
        let (store, _) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
        assert_eq!(held(&store, &ids[..1]).await, [false]);
    });
}

#[test]
fn the_sweep_period_is_the_one_that_was_set() {
    run(async {
        let (disk, store, _) = three_segments().await;
        read(&store, Which::All).await;
        disk.wait_days(6);
        let report = read(&store, Which::Due).await;
        assert_eq!(report.segments, 0);
        assert!(report.calm > Duration::from_secs(59), "{report:?}");
        store.sweep_period_is(5);
        assert_eq!(read(&store, Which::Due).await.segments, 3);
    });
}

#[test]
fn what_was_written_is_read_back_within_a_day_and_the_rest_is_spread() {
    run(async {
        let (disk, store, _) = three_segments().await;
        assert_eq!(store.figures().segments_read, 0);
        disk.wait_days(1);
        assert_eq!(read(&store, Which::Due).await.segments, 3);
        assert_eq!(store.figures().segments_read, 3);
        let mut days_read = Vec::new();
        for day in 1..=24 {
            disk.wait_days(1);
            let segments = read(&store, Which::Due).await.segments;
            days_read.extend((0..segments).map(|_| day));
        }
        let [first, second, third, ..] = days_read[..] else {
            panic!("{days_read:?}");
        };
        assert!(
            first >= 7 && second > first && third > second,
            "{days_read:?}"
        );
        // What is written behind them comes within a day as well.
        put(&store, ANNA, 9, 20_000).await;
        disk.wait_days(1);
        assert!(read(&store, Which::Due).await.segments > 0);
        assert_eq!(store.figures().segments_read, 3);
    });
}

#[test]
fn a_reading_waits_while_others_need_the_disk_but_not_when_somebody_waits_for_it() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        for number in 0..4 {
            put(&store, ANNA, number, 1_100_000).await;
        }
        let clock = store.inner().world.clock().clone();
        let took = async |pace| {
            disk.wait_days(1);
            let before = clock.now();
            let progress = SweepProgress::default();
            let which = match pace {
                Pace::Full => Which::All,
                Pace::Gentle => Which::Due,
            };
            let report = store.verify(which, pace, &progress).await;
            assert_eq!(report.expect("the disk works").segments, 1);
            clock.now().since(before)
        };
        disk.press(5);
        let alone = took(Pace::Gentle).await;
        put(&store, ANNA, 5, 20_000).await;
        disk.press(90);
        let pressed = took(Pace::Gentle).await;
        assert!(
            pressed > alone + Duration::from_secs(40),
            "{alone:?} {pressed:?}"
        );
        assert_eq!(took(Pace::Full).await, Duration::ZERO);
    });
}

#[test]
fn a_segment_given_up_after_a_failed_sync_is_read_once_and_then_told_no_more() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open_with(&disk, CONFIG, sizes()).await;
        let kept = put(&store, ANNA, 0, 20_000).await;
        disk.fail_sync(0);
        let (lost, bytes) = record(1, 20_000);
        let refused = store.put(ANNA, lost, bytes).await;
        assert!(matches!(refused, Err(StoreError::DiskFailed)));
        put(&store, ANNA, 2, 20_000).await;

        let disk = disk.power_cut();
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!(report.damaged_count, 1, "nobody has read it yet");
        assert_eq!(read(&store, Which::Due).await.segments, 2);
        assert_eq!(read(&store, Which::Due).await.segments, 0);

        let (store, report) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
        assert_eq!(report.damaged_count, 0);
        assert_eq!(held(&store, &[kept, lost]).await, [true, false]);
    });
}
