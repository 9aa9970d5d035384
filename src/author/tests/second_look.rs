//! Stories of what must not be taken over from the snapshot before, although nothing about it seems to have changed.

use super::house::{House, bytes, run};
use super::world::Thing;
use crate::author::SnapshotReport;
use crate::world::Xattrs;

fn told<'a>(report: &'a SnapshotReport, path: &str) -> Option<&'a str> {
    let of_path = report
        .unread
        .iter()
        .find(|told| told.path == path.as_bytes());
    of_path.map(|told| told.reason.as_str())
}

#[test]
fn a_file_whose_end_could_not_be_read_is_read_again_and_told_again() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        // Long enough for entries that are handed on before its end is met.
        tree.file("/d/huge", bytes("huge", 0, 400_000));
        let broken = b"/d/huge".to_vec();
        tree.0.broken_from.borrow_mut().insert(broken, 300_000);
        let first = house.take().await.expect("taken");
        assert!(told(&first, "huge").is_some_and(|reason| reason.contains("zeros")));
        let second = house.take().await.expect("taken");
        assert!(told(&second, "huge").is_some_and(|reason| reason.contains("zeros")));
        tree.0.broken_from.borrow_mut().clear();
        let mended = house.take().await.expect("taken");
        assert_eq!(mended.unread_count, 0, "{:?}", mended.unread);
        assert_eq!(house.contents(&mended), house.expected());
        let after = house.take().await.expect("taken");
        assert_eq!(after.files_reused, 1);
    });
}

#[test]
fn what_is_written_in_the_moment_it_is_read_is_read_again() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        let now = house.world.clock.0.get();
        for (path, len) in [("/d/small", 100), ("/d/large", 20_000)] {
            tree.file(path, bytes("before", 0, len));
            tree.change(path, |stat| stat.ctime.seconds = now - 1);
        }
        house.take().await.expect("taken");
        // In the same tick of the file system's clock: no time moves.
        tree.swap("/d/small", bytes("behind", 0, 100));
        tree.swap("/d/large", bytes("behind", 0, 20_000));
        house.world.clock.0.set(now + 3600);
        let second = house.take().await.expect("taken");
        assert_eq!(house.contents(&second), house.expected());
        assert_eq!(second.files_reused, 0);
        let third = house.take().await.expect("taken");
        assert_eq!(
            third.files_reused, 2,
            "now they had rested when they were read"
        );
    });
}

#[test]
fn attributes_that_could_not_be_read_are_asked_for_again() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        tree.add("/d/dir", Thing::Dir);
        tree.file("/d/large", bytes("large", 0, 20_000));
        tree.file("/d/empty", *b"");
        let paths = ["dir", "large", "empty"];
        for path in paths {
            let full = format!("/d/{path}").into_bytes();
            let kept = vec![(b"user.tag".to_vec(), b"kept".to_vec())];
            let xattrs = Xattrs {
                kept,
                left_out: Vec::new(),
            };
            tree.0.xattrs.borrow_mut().insert(full.clone(), xattrs);
            tree.0.mute.borrow_mut().push(full);
        }
        let first = house.take().await.expect("taken");
        assert_eq!(first.unread_count, 3, "{:?}", first.unread);
        let second = house.take().await.expect("taken");
        assert_eq!(second.unread_count, 3, "{:?}", second.unread);
        tree.0.mute.borrow_mut().clear();
        let mended = house.take().await.expect("taken");
        assert_eq!(mended.unread_count, 0, "{:?}", mended.unread);
        let entries = house.entries(&mended);
        for path in paths {
            let mut parts = entries
                .iter()
                .filter(|(entry, _)| entry.path.as_slice() == path.as_bytes());
            assert!(parts.any(|(entry, _)| entry.xattrs.len() == 1), "{path}");
        }
    });
}

#[test]
fn a_table_of_a_database_that_cannot_be_read_is_named() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        tree.add("/d/base", Thing::Dir);
        for (name, text) in [
            ("CURRENT", "MANIFEST-000001"),
            ("MANIFEST-000001", "edits"),
            ("000003.log", "log"),
        ] {
            tree.file(format!("/d/base/{name}"), text.as_bytes());
        }
        tree.file("/d/base/000002.ldb", bytes("table", 0, 20_000));
        let broken = b"/d/base/000002.ldb".to_vec();
        tree.0.broken_from.borrow_mut().insert(broken, 0);
        let report = house.take().await.expect("taken");
        assert!(
            told(&report, "base/000002.ldb").is_some(),
            "{:?}",
            report.unread
        );
    });
}
