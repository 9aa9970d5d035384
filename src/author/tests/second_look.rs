//! Stories of what must not be taken over from the snapshot before, although nothing about it seems to have changed.

use super::house::{House, bytes, run};
use super::world::Thing;
use crate::author::SnapshotReport;
use crate::author::again::TRIES_MAX;
use crate::world::{FileKind, Xattrs};

fn told<'a>(report: &'a SnapshotReport, path: &str) -> Option<&'a str> {
    let of_path = report
        .unread
        .iter()
        .find(|told| told.path == path.as_bytes());
    of_path.map(|told| told.reason.as_str())
}

/// A data set with a LevelDB directory that has no table yet.
fn with_database() -> House {
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
    house
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
        let house = with_database();
        let tree = &house.world.tree;
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

#[test]
fn what_cannot_be_read_any_more_stays_as_it_was() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        tree.file("/d/small", bytes("small", 0, 100));
        tree.file("/d/large", bytes("large", 0, 20_000));
        tree.add("/d/dir", Thing::Dir);
        tree.file("/d/dir/in it", bytes("in it", 0, 100));
        tree.add("/d/link", Thing::Link(b"small".to_vec()));
        house.take().await.expect("taken");
        let before = house.expected();
        tree.add("/d/small", Thing::Locked(FileKind::File));
        tree.add("/d/dir", Thing::Locked(FileKind::Dir));
        tree.add("/d/link", Thing::Locked(FileKind::Symlink));
        tree.change("/d/large", |stat| stat.mtime.nanos += 1);
        let broken = b"/d/large".to_vec();
        tree.0.broken_from.borrow_mut().insert(broken, 0);
        let report = house.take().await.expect("taken");
        assert_eq!(house.contents(&report), before);
        assert_eq!(report.unread_count, 4, "{:?}", report.unread);
        let entries = house.entries(&report);
        assert!(
            entries
                .iter()
                .any(|(entry, _)| entry.path.as_slice() == b"link")
        );
        for path in ["small", "large", "dir", "link"] {
            assert!(told(&report, path).is_some_and(|reason| reason.contains("as it was before")));
        }
        let again = house.take().await.expect("taken");
        assert_eq!((again.unread_count, house.contents(&again)), (4, before));
        // What is gone is gone.
        for path in ["/d/small", "/d/large", "/d/dir", "/d/dir/in it", "/d/link"] {
            tree.remove(path);
        }
        let after = house.take().await.expect("taken");
        assert_eq!(house.contents(&after), house.expected());
        assert_eq!(after.unread_count, 0);
    });
}

#[test]
fn a_box_that_remembers_nothing_does_not_make_an_empty_directory_the_newest() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let first = house.take().await.expect("taken");
        assert!(first.head.head.accepted);
        let things = house.world.tree.0.things.borrow().clone();
        // A new Box goes on for this one; its directory is still empty.
        house.world.disk.0.borrow_mut().clear();
        house
            .world
            .tree
            .0
            .things
            .borrow_mut()
            .retain(|path, _| path == b"/d");
        for _ in 0..2 {
            let empty = house.take().await.expect("taken");
            assert!(!empty.head.head.accepted, "it waits for a person");
        }
        house.world.tree.0.things.borrow_mut().extend(things);
        let back = house.take().await.expect("taken");
        assert!(back.head.head.accepted, "all of it is back");
        assert_eq!(house.contents(&back), house.expected());
    });
}

#[test]
fn a_data_set_that_was_never_there_does_not_stop_the_others() {
    run(async {
        let mut house = House::new(2, (2, 2));
        house.world.tree.file("/d/file", *b"text");
        house.more.push("unplugged");
        let report = house.take().await.expect("taken");
        assert!(report.is_protected());
        assert_eq!(report.unread_count, 1);
        assert_eq!(report.unread[0].data_set, "unplugged");
        house.world.tree.add("/unplugged", Thing::Dir);
        house.world.tree.file("/unplugged/film", *b"film");
        let both = house.take().await.expect("taken");
        assert_eq!((both.unread_count, both.files), (0, 2));
    });
}

#[test]
fn a_file_of_a_database_that_was_overlooked_once_is_there_once() {
    run(async {
        let house = with_database();
        let tree = &house.world.tree;
        tree.file("/d/base/000002.ldb", b"table");
        house.take().await.expect("taken");
        let table = b"/d/base/000002.ldb".to_vec();
        tree.0.unseen.borrow_mut().insert(table, TRIES_MAX + 1);
        let report = house.take().await.expect("taken");
        assert_eq!(report.unread_count, 0, "{:?}", report.unread);
        let entries = house.entries(&report);
        let is_it = |entry: &[u8]| entry == b"base/000002.ldb";
        let many = entries.iter().filter(|(entry, _)| is_it(&entry.path));
        assert_eq!(many.count(), 1);
        assert_eq!(house.contents(&report), house.expected());
    });
}

#[test]
fn a_young_directory_is_doubted_at_one_look_only() {
    run(async {
        let mut house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        let now = house.world.clock.0.get();
        tree.file("/d/file", *b"text");
        tree.change("/d", |stat| stat.ctime.seconds = now - 1);
        house.take().await.expect("taken");
        house.world.clock.0.set(now + 3600);
        assert!(house.still().await.is_none());
        house.options.only_news = true;
        assert!(house.take().await.expect("looked").is_unchanged);
        assert!(house.still().await.is_some());
    });
}

#[test]
fn a_file_that_says_to_be_empty_and_is_not_is_read_to_its_end_each_time() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        for (path, len) in [("/d/short", 40), ("/d/long", 20_000), ("/d/empty", 0)] {
            tree.file(path, bytes("said", 0, len));
            tree.change(path, |stat| (stat.size, stat.blocks) = (0, 0));
        }
        let first = house.take().await.expect("taken");
        assert_eq!(first.unread_count, 0, "{:?}", first.unread);
        assert_eq!(house.contents(&first), house.expected());
        // Nothing that is told of such a file shows that it changed.
        tree.swap("/d/short", bytes("anew", 0, 50));
        let second = house.take().await.expect("taken");
        assert_eq!(house.contents(&second), house.expected());
        assert_eq!(second.files_reused, 1, "the empty one");
    });
}
