//! What a store makes of segments whose files are removed while it runs, told in sentences.

use std::rc::Rc;

use super::mock_world::MockWorld;
use super::open::{DamageKind, OpenReport};
use super::presence::{Presence, begin_anew};
use super::refuse::StoreError;
use super::store_tests::{ANNA, CONFIG, FIRST, open, open_with, put, record, run};
use super::verify::Which;
use super::verify_tests::{SECOND, held, read, sizes, three_segments};
use crate::terms::limits::{BLOCK_BYTES, FRAME_HEADER_BYTES};
use crate::world::Disk;

const THIRD: &str = "store/seg-000003";

#[test]
fn a_store_whose_files_were_all_removed_while_it_runs_says_so_and_begins_anew() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        for path in [FIRST, SECOND, THIRD] {
            disk.lose(path);
        }
        let report = read(&store, Which::Due).await;
        let mut told: Vec<_> = report.damaged.iter().map(|d| (d.segment, d.kind)).collect();
        told.sort_by_key(|(number, _)| *number);
        let missing = [1, 2, 3].map(|number| (number, DamageKind::Missing));
        assert_eq!(told, missing, "the last one is still open");
        assert_eq!(store.figures().damaged, 5);
        assert_eq!(held(&store, &ids).await, [false; 5]);
        for number in 0..5 {
            put(&store, ANNA, number, 20_000).await;
        }
        assert_eq!(store.figures().damaged, 0);
        let (store, _) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
        assert_eq!(held(&store, &ids).await, [true; 5]);
    });
}

#[test]
fn a_store_that_is_gone_as_a_whole_is_not_begun_anew_until_a_person_says_so() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        store.close().await;
        let disk = disk.power_cut();
        assert_eq!(begin_anew(&disk).await.ok(), Some(Presence::Here));
        for name in disk.list("store").await.expect("a list") {
            disk.lose(&format!("store/{name}"));
        }
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert!(store.is_lost() && report.segments == 0);
        assert_eq!(held(&store, &ids).await, [false; 5]);
        // Nobody may take that for a loss: what is not mounted may still be on its disk.
        let asked = store.get(ids[0]).await;
        assert!(matches!(asked, Err(StoreError::DiskFailed)), "{asked:?}");
        let (id, bytes) = record(9, 20_000);
        let refused = store.put(ANNA, id, Rc::clone(&bytes)).await;
        assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
        store.remember().await;
        store.close().await;
        let there = disk.list("store").await.expect("a list");
        assert_eq!(
            there, [""; 0],
            "nothing is written under an empty mount point"
        );

        assert_eq!(begin_anew(&disk).await.ok(), Some(Presence::Gone));
        let (store, _) = open_with(&disk, CONFIG, sizes()).await;
        assert!(!store.is_lost());
        store.put(ANNA, id, bytes).await.expect("kept");
    });
}

#[test]
fn a_segment_whose_first_block_rotted_is_told_by_a_sweep_and_what_is_in_it_counts() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        assert_eq!(read(&store, Which::All).await.damaged_count, 0);
        disk.rot(SECOND, 9);
        let report = read(&store, Which::All).await;
        let told: Vec<_> = report.damaged.iter().map(|d| (d.segment, d.kind)).collect();
        assert_eq!(told, [(2, DamageKind::Header)]);
        assert_eq!(held(&store, &ids).await, [true; 5]);
        assert_eq!(store.figures().damaged, 0);
    });
}

#[test]
fn a_store_that_is_gone_while_it_runs_begins_no_segment_in_its_place() {
    run(async {
        let (disk, store, _) = three_segments().await;
        for name in disk.list("store").await.expect("a list") {
            disk.lose(&format!("store/{name}"));
        }
        let (id, bytes) = record(9, 20_000);
        let refused = store.put(ANNA, id, bytes).await;
        assert!(
            matches!(refused, Err(StoreError::DiskFailed)),
            "{refused:?}"
        );
        let there = disk.list("store").await.expect("a list");
        assert_eq!(there, [""; 0]);
        assert_eq!(store.presence().await.ok(), Some(Presence::Gone));
    });
}

#[test]
fn nothing_is_acknowledged_into_a_file_that_was_removed() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        disk.lose(THIRD);
        assert_eq!(held(&store, &ids).await, [true, true, true, true, false]);
        let (id, bytes) = record(9, 20_000);
        store.put(ANNA, id, bytes).await.expect("in a new segment");
        assert_eq!(store.figures().damaged, 1, "what was in it is gone");
        let (store, _) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
        assert_eq!(held(&store, &[id, ids[4]]).await, [true, false]);
    });
}

#[test]
fn a_file_that_is_removed_while_a_commit_is_under_way_fails_the_commit() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        let (id, bytes) = record(9, 20_000);
        let putting = {
            let (store, bytes) = (store.clone(), Rc::clone(&bytes));
            tokio::task::spawn_local(async move { store.put(ANNA, id, bytes).await })
        };
        // Written, and not yet synced.
        let len = disk.bytes(THIRD).len();
        while disk.bytes(THIRD).len() == len {
            tokio::task::yield_now().await;
        }
        disk.lose(THIRD);
        let answer = putting.await.expect("it ends");
        assert!(matches!(answer, Err(StoreError::DiskFailed)), "{answer:?}");
        store.put(ANNA, id, bytes).await.expect("in a new segment");
        let (store, _) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
        assert_eq!(
            held(&store, &[id, ids[0], ids[4]]).await,
            [true, true, false]
        );
    });
}

#[test]
fn many_chunks_without_a_name_do_not_hide_one_that_has_one() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let mut puts = Vec::new();
        for number in 0..1500 {
            let (store, (id, bytes)) = (store.clone(), record(number, 40));
            puts.push(tokio::task::spawn_local(async move {
                store.put(ANNA, id, bytes).await.expect("it is kept");
            }));
        }
        for put in puts {
            put.await.expect("it ends");
        }
        disk.lose(FIRST);
        read(&store, Which::All).await;
        assert_eq!(store.figures().damaged, 1500);
        // The last in the order of the table.
        let last = (2000..200_000).find(|number| record(*number, 40).0.0[..2] == [255; 2]);
        let last = put(&store, ANNA, last.expect("one in so many"), 40).await;
        disk.rot(SECOND, BLOCK_BYTES + FRAME_HEADER_BYTES + 4);
        assert_eq!(store.get(last).await.expect("the disk works"), None);
        assert_eq!(store.damaged_chunks().await, [(last, ANNA)]);
    });
}

#[test]
fn a_segment_that_cannot_be_opened_stops_neither_a_start_nor_a_sweep() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        store.close().await;
        let disk = disk.power_cut();
        disk.shut(FIRST);
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        let told: Vec<_> = report.damaged.iter().map(|d| (d.segment, d.kind)).collect();
        assert_eq!(told, [(1, DamageKind::Unreadable)]);
        assert_eq!(held(&store, &ids).await, [false, false, true, true, true]);
        let report = read(&store, Which::All).await;
        assert_eq!(
            report
                .damaged
                .iter()
                .map(|d| (d.segment, d.kind))
                .collect::<Vec<_>>(),
            [(1, DamageKind::Unreadable)]
        );
        assert_eq!(report.frames, 3, "the others are read");
    });
}

#[test]
fn what_a_start_found_damaged_is_told_until_nothing_of_it_is_lacking_and_then_only_if_there_is_more()
 {
    run(async {
        let (disk, store, ids) = three_segments().await;
        store.close().await;
        let disk = disk.power_cut();
        disk.lose(SECOND);
        let told = |report: &OpenReport| -> Vec<_> {
            report.damaged.iter().map(|d| (d.segment, d.kind)).collect()
        };
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!(told(&report), [(2, DamageKind::Missing)]);
        store.close().await;
        // Nobody said that it is healed: the next start tells it too.
        let disk = disk.power_cut();
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!(told(&report), [(2, DamageKind::Missing)]);
        // Each start here draws the same: from now on it is another mark than a start would draw.
        store.inner().is_broken();
        for number in 0..5 {
            put(&store, ANNA, number, 20_000).await;
        }
        store.start_damage_is_healed().await;
        let unbroken = store.unbroken();
        store.close().await;
        let disk = disk.power_cut();
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!((told(&report), report.damaged_count), (vec![], 0));
        assert_eq!(store.unbroken(), unbroken, "nothing was lost since");
        assert_eq!(held(&store, &ids).await, [true; 5]);
        store.close().await;
        let disk = disk.power_cut();
        disk.rot(THIRD, 9);
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!(told(&report), [(3, DamageKind::Header)], "that is news");
        assert_ne!(store.unbroken(), unbroken);
    });
}
