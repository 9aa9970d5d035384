//! What a store makes of segments whose files are removed while it runs, told in sentences.

use std::rc::Rc;

use super::open::DamageKind;
use super::refuse::StoreError;
use super::store_tests::{ANNA, CONFIG, FIRST, open_with, put, record, run};
use super::verify::Which;
use super::verify_tests::{SECOND, held, read, sizes, three_segments};

const THIRD: &str = "store/seg-000003";

#[test]
fn a_store_whose_files_were_all_removed_while_it_runs_says_so_and_begins_anew() {
    run(async {
        let (disk, store, ids) = three_segments().await;
        for path in [FIRST, SECOND, THIRD] {
            disk.lose(path);
        }
        let report = read(&store, Which::Due).await;
        let told: Vec<_> = report.damaged.iter().map(|d| (d.segment, d.kind)).collect();
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
