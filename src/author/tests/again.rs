//! Stories of files that cannot be read: for a moment, or for ever.

use super::ailing::{Deed, FOR_EVER};
use super::house::{House, bytes, run};
use super::world::Thing;
use crate::author::SnapshotReport;
use crate::author::again::{IN_VAIN_MAX, TRIES_MAX};
use crate::world::FileKind;

/// Where a file of 400,000 bytes fails: its first parts are handed on by then.
const BEHIND_PARTS: Deed = Deed::Read { from: 300_000 };

fn paths(report: &SnapshotReport) -> Vec<String> {
    let unread = report.unread.iter();
    let mut paths: Vec<_> = unread
        .map(|unread| String::from_utf8_lossy(&unread.path).into_owned())
        .collect();
    paths.sort();
    paths
}

fn pauses(house: &House) -> u32 {
    house.world.clock.1.get()
}

#[test]
fn what_fails_once_or_twice_is_taken_whole_wherever_it_fails() {
    run(async {
        for times in 1..=TRIES_MAX {
            let house = House::furnished(2, (2, 2));
            let tree = &house.world.tree;
            tree.file("/d/sparse", vec![0; 50_000]);
            tree.change("/d/sparse", |stat| stat.blocks = 0);
            tree.file("/d/said empty", *b"not empty");
            tree.change("/d/said empty", |stat| (stat.size, stat.blocks) = (0, 0));
            for (path, deed, errno) in [
                ("/d/a/large", Deed::Open, libc::EACCES),
                ("/d/a!/large", Deed::Stat, libc::EIO),
                ("/d/sparse", Deed::FindHoles, libc::EIO),
                ("/d/a/small3", Deed::Read { from: 0 }, libc::EIO),
                ("/d/said empty", Deed::Read { from: 0 }, libc::EIO),
                ("/d/b/large", Deed::Read { from: 15_000 }, libc::EIO),
                ("/d/b/huge", BEHIND_PARTS, libc::ESTALE),
            ] {
                tree.0.ailing.fail(path, deed, times, errno);
            }
            // Whoever looks ahead whether there is room meets these two first.
            let listing = "/d/b/c";
            tree.0
                .ailing
                .fail(listing, Deed::List, times + 1, libc::ETIMEDOUT);
            let unseen = b"/d/b/small4".to_vec();
            tree.0.unseen.borrow_mut().insert(unseen, times + 1);
            let report = house.take().await.expect("taken");
            assert!(tree.0.ailing.are_over(), "the story needs them to fail");
            assert_eq!(paths(&report), [""; 0]);
            assert_eq!(house.contents(&report), house.expected());
            // Each of nine, each time.
            assert_eq!(pauses(&house), 9 * times);
        }
    });
}

#[test]
fn a_long_file_is_not_read_again_from_its_start_for_a_place_that_failed() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        tree.file("/d/huge", bytes("huge", 0, 400_000));
        tree.0.ailing.fail("/d/huge", BEHIND_PARTS, 2, libc::EIO);
        let report = house.take().await.expect("taken");
        assert_eq!(paths(&report), [""; 0]);
        assert_eq!(house.contents(&report), house.expected());
        assert_eq!(tree.0.bytes_read.get(), 400_000);
    });
}

#[test]
fn what_never_works_is_named_and_the_rest_goes_on() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let tree = &house.world.tree;
        for (path, deed) in [
            ("/d/a/large", Deed::Open),
            ("/d/a!/large", Deed::Stat),
            ("/d/a/small3", Deed::Read { from: 0 }),
            ("/d/b/large", Deed::Read { from: 15_000 }),
            ("/d/b/huge", BEHIND_PARTS),
        ] {
            tree.0.ailing.fail(path, deed, FOR_EVER, libc::EIO);
        }
        let report = house.take().await.expect("taken");
        let named = ["a!/large", "a/large", "a/small3", "b/huge", "b/large"];
        assert_eq!(paths(&report), named);
        assert_eq!(pauses(&house), 5 * TRIES_MAX);
        let (mut held, mut expected) = (house.contents(&report), house.expected());
        // Of the long one there is what could be read of it, to the last cut.
        let huge = held.remove(&b"b/huge"[..]).expect("its start");
        let whole = expected.remove(&b"b/huge"[..]).expect("it");
        assert_eq!(huge.len(), 400_000);
        assert!(huge[..290_000] == whole[..290_000]);
        assert!(huge[301_000..].iter().all(|byte| *byte == 0));
        for path in named {
            expected.remove(path.as_bytes());
        }
        assert_eq!(held, expected);
    });
}

#[test]
fn many_that_never_work_cost_as_much_as_a_few_and_leave_the_others_their_tries() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        for number in 0..500 {
            tree.add(format!("/d/locked{number}"), Thing::Locked(FileKind::File));
        }
        tree.file("/d/small", bytes("small", 0, 100));
        tree.file("/d/z-large", bytes("large", 0, 20_000));
        let small = Deed::Read { from: 0 };
        tree.0.ailing.fail("/d/small", small, 2, libc::EIO);
        tree.0.ailing.fail("/d/z-large", Deed::Open, 2, libc::EIO);
        let report = house.take().await.expect("taken");
        assert_eq!(report.unread_count, 500);
        assert_eq!(house.contents(&report), house.expected());
        assert_eq!(pauses(&house), IN_VAIN_MAX + 4);
    });
}

#[test]
fn what_helped_does_not_count_against_the_next() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        let many = 2 * IN_VAIN_MAX;
        for number in 0..many {
            let path = format!("/d/flaky{number}");
            tree.file(&path, bytes(&path, 0, 5_000));
            tree.0.ailing.fail(&path, Deed::Open, 2, libc::EIO);
        }
        let report = house.take().await.expect("taken");
        assert_eq!(paths(&report), [""; 0]);
        assert_eq!(house.contents(&report), house.expected());
        assert_eq!(pauses(&house), 2 * many);
    });
}

/// A large and a small file.
const TWO: [&str; 2] = ["/d/a/large", "/d/a/small3"];

#[test]
fn what_goes_between_its_listing_and_its_reading_was_gone_before() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let tree = &house.world.tree;
        let going = TWO.map(|path| path.as_bytes().to_vec());
        tree.0.going.borrow_mut().extend(going);
        let report = house.take().await.expect("taken");
        assert!(
            tree.0.going.borrow().is_empty(),
            "the story needs them to go"
        );
        assert_eq!(pauses(&house), 0, "nobody waits for them");
        assert_eq!(paths(&report), [""; 0]);
        assert_eq!(house.contents(&report), house.expected());
    });
}

#[test]
fn what_is_listed_and_says_that_it_is_not_there_is_named() {
    run(async {
        let mut house = House::furnished(2, (2, 2));
        let ail = |house: &House| {
            for (path, deed) in TWO.into_iter().zip([Deed::Open, Deed::Read { from: 0 }]) {
                let tree = &house.world.tree;
                tree.0.ailing.fail(path, deed, FOR_EVER, libc::ENOENT);
            }
        };
        ail(&house);
        let report = house.take().await.expect("taken");
        assert_eq!(pauses(&house), 0);
        assert_eq!(paths(&report), ["a/large", "a/small3"]);
        // Once it was read it stays as it was.
        house.world.tree.0.ailing.heal();
        let whole = house.take().await.expect("taken");
        assert_eq!(paths(&whole), [""; 0]);
        house.world.tree.touch_all();
        ail(&house);
        house.options.only_news = false;
        let again = house.take().await.expect("taken");
        assert_eq!(paths(&again), ["a/large", "a/small3"]);
        assert_eq!(house.contents(&again), house.contents(&whole));
    });
}

#[test]
fn what_goes_while_it_is_read_counts_as_vanished() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let tree = &house.world.tree;
        let paths: Vec<_> = (0..60).map(|number| format!("/d/more{number}")).collect();
        for path in &paths {
            tree.file(path, bytes(path, 0, 500));
        }
        assert!(house.take().await.expect("taken").head.head.accepted);
        tree.touch_all();
        let going = paths.into_iter().map(String::into_bytes);
        tree.0.going.borrow_mut().extend(going);
        assert!(!house.take().await.expect("taken").head.head.accepted);
    });
}

#[test]
fn a_file_that_another_took_the_place_of_while_it_failed_is_that_other() {
    run(async {
        let house = House::new(2, (2, 2));
        let tree = &house.world.tree;
        tree.file("/d/large", bytes("old", 0, 20_000));
        // Half of it was read when it failed; nobody may get half of each.
        let half = Deed::Read { from: 10_000 };
        tree.0.ailing.fail("/d/large", half, 1, libc::EIO);
        let restless = b"/d/large".to_vec();
        tree.0.restless.borrow_mut().insert(restless, 1);
        let report = house.take().await.expect("taken");
        assert_eq!(paths(&report), [""; 0]);
        assert_eq!(house.contents(&report), house.expected());
        assert_eq!(tree.0.opened.borrow()[&b"/d/large"[..]], 3);
    });
}
