//! Stories of databases that do not hold still, or cannot be read.

use super::ailing::{Deed, FOR_EVER};
use super::house::{House, bytes, run};
use super::world::{Files, Thing};
use crate::author::SnapshotReport;
use crate::author::again::TRIES_MAX;
use crate::format::head::Manifest;
use crate::terms::{ConsistencyLabel, Kind};

/// Puts a LevelDB directory somewhere.
fn place(tree: &Files, dir: &str) {
    tree.add(dir, Thing::Dir);
    for (name, text) in [
        ("CURRENT", "MANIFEST-000001"),
        ("MANIFEST-000001", "edits"),
        ("000003.log", "log"),
    ] {
        tree.file(format!("{dir}/{name}"), text.as_bytes());
    }
    tree.file(format!("{dir}/000002.ldb"), bytes("table", 0, 20_000));
}

fn labels(house: &House, report: &SnapshotReport) -> Vec<ConsistencyLabel> {
    let manifest = house.open(report.head.head.manifest, Kind::Manifest);
    let manifest = Manifest::decode(&manifest).expect("a manifest");
    manifest.data_sets.iter().map(|set| set.label).collect()
}

#[test]
fn a_database_that_never_holds_still_is_best_effort_and_not_counted_as_one_that_opens() {
    run(async {
        let mut house = House::new(2, (2, 2));
        let tree = house.world.tree.clone();
        place(&tree, "/d/busy");
        house.more.push("e");
        tree.add("/e", Thing::Dir);
        place(&tree, "/e/quiet");
        // Another time stands on it after each reading.
        let current = b"/d/busy/CURRENT".to_vec();
        tree.0.restless.borrow_mut().insert(current, u32::MAX);
        let report = house.take().await.expect("taken");
        let best = [ConsistencyLabel::BestEffort, ConsistencyLabel::Crash];
        assert_eq!(labels(&house, &report), best);
        assert_eq!(report.databases, 1, "the quiet one");
        assert_eq!(report.unread_count, 1, "{:?}", report.unread);
        assert_eq!(report.unread[0].path, b"busy");
        assert!(report.unread[0].reason.contains("may not open"));
        let opened = |path: &str| tree.0.opened.borrow()[path.as_bytes()];
        // The log once in each of six rounds, what changes three times in each, the table once and for all.
        assert_eq!(opened("/d/busy/000003.log"), 6);
        assert_eq!(opened("/d/busy/CURRENT"), 18);
        assert_eq!(opened("/d/busy/000002.ldb"), 1);
        assert_eq!(opened("/e/quiet/000003.log"), 1);

        // It rests: the next snapshot has it whole.
        tree.0.restless.borrow_mut().clear();
        let rested = house.take().await.expect("taken");
        assert_eq!(labels(&house, &rested), [ConsistencyLabel::Crash; 2]);
        assert_eq!((rested.databases, rested.unread_count), (2, 0));
    });
}

#[test]
fn a_database_that_comes_to_rest_in_its_last_round_is_whole() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        place(tree, "/d/base");
        // Three readings a round: it rests in the sixth.
        let current = b"/d/base/CURRENT".to_vec();
        tree.0.restless.borrow_mut().insert(current, 15);
        let report = house.take().await.expect("taken");
        assert_eq!(labels(&house, &report), [ConsistencyLabel::Crash]);
        assert_eq!((report.databases, report.unread_count), (1, 0));
        assert_eq!(tree.0.opened.borrow()[&b"/d/base/000003.log"[..]], 6);
    });
}

#[test]
fn a_database_with_a_table_that_cannot_be_read_is_said_to_be_that_and_not_counted() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        place(tree, "/d/base");
        let table = "/d/base/000002.ldb";
        tree.0.ailing.fail(table, Deed::Open, FOR_EVER, libc::EIO);
        let report = house.take().await.expect("taken");
        assert_eq!(labels(&house, &report), [ConsistencyLabel::BestEffort]);
        assert_eq!((report.databases, report.unread_count), (0, 2));
        // It rests, so the others need not be read again and again for it.
        assert_eq!(tree.0.opened.borrow()[&b"/d/base/000003.log"[..]], 1);
        assert_eq!(house.world.clock.1.get(), TRIES_MAX);
        let why = |path: &[u8]| {
            let mut unread = report.unread.iter();
            let told = unread.find(|unread| unread.path == path).expect("named");
            told.reason.clone()
        };
        assert!(why(b"base").contains("not all could be read"));
        assert!(!why(b"base").contains("written to"));
        assert!(why(b"base/000002.ldb").contains("os error 5"));
    });
}
