//! Stories of file systems mounted below a data set that are gone one day.

use std::collections::BTreeMap;

use super::house::{House, bytes, run};
use super::world::Thing;
use crate::author::SnapshotReport;
use crate::author::again::TRIES_MAX;
use crate::world::Stat;

/// The device of what is mounted.
const DISK: u64 = 6;

type Things = BTreeMap<Vec<u8>, (Thing, Stat)>;

/// A data set with a disk at `disk`, which holds files of all sizes.
fn with_disk(at: &str) -> House {
    let house = House::furnished(2, (2, 2));
    let tree = &house.world.tree;
    tree.add(at, Thing::Dir);
    tree.add(format!("{at}/films"), Thing::Dir);
    tree.file(format!("{at}/films/large"), bytes("film", 0, 20_000));
    for number in 0..30u8 {
        tree.file(format!("{at}/{number}"), bytes("disk", number, 300));
    }
    for (path, (_, stat)) in tree.0.things.borrow_mut().iter_mut() {
        if path.starts_with(at.as_bytes()) {
            stat.device = DISK;
        }
    }
    house
}

/// All that is at a path or below it is gone.
fn unplug(house: &House, at: &str) -> Things {
    let mut things = house.world.tree.0.things.borrow_mut();
    let (gone, rest): (Things, Things) = std::mem::take(&mut *things)
        .into_iter()
        .partition(|(path, _)| path.starts_with(at.as_bytes()));
    *things = rest;
    gone
}

fn plug_in(house: &House, disk: Things) {
    house.world.tree.0.things.borrow_mut().extend(disk);
}

#[track_caller]
fn told(report: &SnapshotReport, path: &str, why: &str) {
    assert_eq!(report.unread_count, 1, "{:?}", report.unread);
    assert_eq!(report.unread[0].path, path.as_bytes());
    assert!(report.unread[0].reason.contains(why), "{:?}", report.unread);
}

#[test]
fn what_was_on_a_disk_that_is_gone_stays_as_it_was_until_it_is_back() {
    run(async {
        let house = with_disk("/d/disk");
        let first = house.take().await.expect("taken");
        assert_eq!(first.unread_count, 0, "{:?}", first.unread);
        let (before, read) = (house.expected(), house.world.tree.0.files_read.get());
        let disk = unplug(&house, "/d/disk");
        // An empty directory is left where it was mounted.
        house.world.tree.add("/d/disk", Thing::Dir);
        for _ in 0..3 {
            let report = house.take().await.expect("taken");
            told(&report, "disk", "is its disk connected?");
            assert!(report.head.head.accepted && report.is_protected());
            assert_eq!(report.files, first.files);
            assert_eq!(house.contents(&report), before);
            house.assert_placed(&report, None).await;
        }
        // What somebody puts there meanwhile is not taken for what was there.
        house.world.tree.file("/d/disk/astray", *b"astray");
        told(
            &house.take().await.expect("taken"),
            "disk",
            "is its disk connected?",
        );
        unplug(&house, "/d/disk");
        plug_in(&house, disk);
        let back = house.take().await.expect("taken");
        assert_eq!(back.unread_count, 0, "{:?}", back.unread);
        assert_eq!(house.contents(&back), before);
        assert_eq!(
            house.world.tree.0.files_read.get(),
            read,
            "nothing is read again"
        );
    });
}

#[test]
fn where_the_mount_point_and_what_it_was_in_are_gone_as_well_it_is_noticed_too() {
    run(async {
        for at in ["/d/media/usb", "/d/zz/usb"] {
            let house = House::furnished(2, (2, 2));
            let parent = at.strip_suffix("/usb").expect("as above");
            house.world.tree.add(parent, Thing::Dir);
            plug_in(&house, unplug(&with_disk(at), at));
            house.take().await.expect("taken");
            let before = house.expected();
            unplug(&house, parent);
            for _ in 0..2 {
                let report = house.take().await.expect("taken");
                told(&report, &at[3..], "its directory as well");
                assert!(report.head.head.accepted);
                assert_eq!(house.contents(&report), before);
            }
        }
    });
}

#[test]
fn another_file_system_in_its_place_is_not_taken_for_it() {
    run(async {
        let house = with_disk("/d/disk");
        house.take().await.expect("taken");
        let before = house.expected();
        unplug(&house, "/d/disk");
        house.world.tree.add("/d/disk", Thing::Dir);
        house.world.tree.file("/d/disk/strange", *b"strange");
        house.world.tree.change("/d/disk", |stat| stat.device = 7);
        let report = house.take().await.expect("taken");
        told(&report, "disk", "another file system");
        assert_eq!(house.contents(&report), before);
    });
}

#[test]
fn a_file_in_its_place_is_not_taken_for_it() {
    run(async {
        let house = with_disk("/d/disk");
        house.take().await.expect("taken");
        let before = house.expected();
        unplug(&house, "/d/disk");
        house.world.tree.file("/d/disk", *b"no disk");
        let report = house.take().await.expect("taken");
        told(&report, "disk", "something else is in the place");
        assert_eq!(house.contents(&report), before);
    });
}

#[test]
fn a_person_who_took_it_away_says_so_once() {
    run(async {
        let mut house = with_disk("/d/disk");
        house.take().await.expect("taken");
        unplug(&house, "/d/disk");
        house.world.tree.add("/d/disk", Thing::Dir);
        assert_eq!(house.take().await.expect("taken").unread_count, 1);
        house.options.accept_loss = true;
        let meant = house.take().await.expect("taken");
        assert_eq!(meant.unread_count, 0, "{:?}", meant.unread);
        assert_eq!(house.contents(&meant), house.expected());
        house.options.accept_loss = false;
        let after = house.take().await.expect("taken");
        assert_eq!(after.unread_count, 0, "{:?}", after.unread);
        assert!(after.head.head.accepted);
    });
}

#[test]
fn a_disk_inside_a_disk_is_remembered_through_the_outer_ones_absence() {
    run(async {
        let house = with_disk("/d/disk");
        let tree = &house.world.tree;
        tree.add("/d/disk/inner", Thing::Dir);
        tree.file("/d/disk/inner/deep", bytes("deep", 0, 300));
        for path in ["/d/disk/inner", "/d/disk/inner/deep"] {
            tree.change(path, |stat| stat.device = 7);
        }
        house.take().await.expect("taken");
        let before = house.expected();
        let both = unplug(&house, "/d/disk");
        tree.add("/d/disk", Thing::Dir);
        told(
            &house.take().await.expect("taken"),
            "disk",
            "is its disk connected?",
        );
        unplug(&house, "/d/disk");
        plug_in(&house, both);
        // The outer one is back, the inner one is not.
        unplug(&house, "/d/disk/inner");
        tree.add("/d/disk/inner", Thing::Dir);
        tree.change("/d/disk/inner", |stat| stat.device = DISK);
        let report = house.take().await.expect("taken");
        told(&report, "disk/inner", "is its disk connected?");
        assert_eq!(house.contents(&report), before);
    });
}

#[test]
fn a_disk_that_does_not_answer_any_more_is_told_with_what_it_says() {
    run(async {
        let house = with_disk("/d/disk");
        house.take().await.expect("taken");
        let before = house.expected();
        let unseen = &house.world.tree.0.unseen;
        unseen
            .borrow_mut()
            .insert(b"/d/disk".to_vec(), TRIES_MAX + 1);
        let report = house.take().await.expect("taken");
        told(&report, "disk", "cannot be looked at");
        assert_eq!(house.contents(&report), before);
        let read = house.world.tree.0.files_read.get();
        let back = house.take().await.expect("taken");
        assert_eq!(back.unread_count, 0, "{:?}", back.unread);
        assert_eq!(house.world.tree.0.files_read.get(), read);
    });
}
