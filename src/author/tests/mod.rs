//! Stories of the author in a small world in memory.

mod again;
mod ailing;
mod database;
mod disk;
mod epochs;
mod forgotten;
mod growth;
pub mod house;
mod kinds;
mod known;
mod lacks;
mod mounts;
mod open_file;
mod progress;
mod rot;
mod second_look;
pub mod street;
pub mod world;

use std::rc::Rc;

use self::house::{House, bytes, run};
use self::world::Thing;
use super::{Progress, Sizes, SnapshotError, SnapshotReport, last_head, protect};
use crate::format::head::Manifest;
use crate::format::index::path_order;
use crate::format::message::Refusal;
use crate::terms::limits::SEND_WINDOW_BYTES;
use crate::terms::{ChunkId, Kind, PeerKey, SnapshotNumber};
use crate::world::FileKind;

#[test]
fn what_went_in_is_what_the_snapshot_holds() {
    run(async {
        let house = House::furnished(3, (2, 2));
        let report = house.take().await.expect("taken");
        assert_eq!(house.contents(&report), house.expected());
        assert!(report.is_protected());
        assert_eq!(report.copies, 2);
        assert_eq!((report.unread_count, report.skipped_count), (0, 1));
        assert_eq!(report.skipped[0].path, b"socket");
        assert_eq!(report.number, SnapshotNumber(1));
        house.assert_placed(&report, None).await;
        let entries = house.entries(&report);
        assert!(entries.windows(2).all(|pair| {
            path_order(&pair[0].0.path, &pair[1].0.path).is_lt()
                || pair[0].0.is_continued_by(&pair[1].0)
        }));
        let manifest = house.open(report.head.head.manifest, Kind::Manifest);
        let manifest = Manifest::decode(&manifest).expect("a manifest");
        assert!(manifest.data_sets[0].level >= 2, "the story needs a tree");
    });
}

#[test]
fn a_data_set_of_one_file_is_a_page_of_one_entry() {
    run(async {
        let house = House::new(2, (2, 2));
        house.world.tree.file("/d", *b"alone");
        let report = house.take().await.expect("taken");
        assert_eq!(house.contents(&report), house.expected());
        assert_eq!(report.files, 1);
    });
}

#[test]
fn an_unchanged_tree_is_neither_read_nor_sent_again() {
    run(async {
        let house = House::furnished(3, (2, 2));
        let first = house.take().await.expect("taken");
        let (read, puts) = (house.world.tree.0.files_read.get(), house.street.puts());
        let second = house.take().await.expect("taken");
        assert_eq!(house.world.tree.0.files_read.get(), read);
        // Its manifest alone is new, on two keepers.
        assert_eq!(house.street.puts(), puts + 2);
        assert_eq!(second.files_reused, second.files);
        assert_eq!(second.number, SnapshotNumber(2));
        assert_eq!(second.head.head.previous, Some(first.hash));
        assert_eq!(second.head.head.incarnation, first.head.head.incarnation);
        assert_eq!(second.head.head.chunks, first.head.head.chunks);
        assert!(second.is_protected());
        assert_eq!(house.contents(&second), house.expected());
    });
}

#[test]
fn one_changed_file_is_all_that_is_read() {
    run(async {
        let house = House::furnished(3, (2, 2));
        house.take().await.expect("taken");
        let read = house.world.tree.0.files_read.get();
        house.world.tree.file("/d/b/small7", *b"changed");
        let second = house.take().await.expect("taken");
        assert_eq!(house.world.tree.0.files_read.get(), read + 1);
        assert_eq!(second.files_reused + 1, second.files);
        assert_eq!(house.contents(&second), house.expected());
        assert!(second.head.head.accepted);
    });
}

#[test]
fn a_keeper_that_was_off_is_caught_up_when_it_comes() {
    run(async {
        let mut house = House::furnished(3, (2, 2));
        house.street.set_away(2, true);
        house.options.wait_protected = false;
        let mut report = house.take().await.expect("published");
        assert!(!report.is_protected());
        assert_eq!(report.copies, 1);
        assert!(report.behind().contains(&PeerKey([2; 32])));
        house.assert_placed(&report, Some(2)).await;

        house.street.set_away(2, false);
        let progress = Progress::default();
        protect(&house.street, &house.identity, &mut report, &progress).await;
        assert!(report.is_protected());
        assert_eq!(report.copies, 2);
        assert_eq!(report.behind(), []);
        house.assert_placed(&report, None).await;
    });
}

#[test]
fn a_keeper_that_leaves_in_the_middle_does_not_stop_the_walk() {
    run(async {
        let mut house = House::furnished(3, (2, 2));
        house.street.shop(1).leaves_after.set(Some(3));
        house.options.wait_protected = false;
        let report = house.take().await.expect("published");
        assert!(!report.is_protected());
        house.assert_placed(&report, Some(1)).await;
        assert!(house.street.shop(1).heads.borrow().is_empty());
    });
}

#[test]
fn a_keeper_that_lives_but_never_answers_is_left_alone_and_the_snapshot_goes_on() {
    run(async {
        let mut house = House::furnished(3, (2, 2));
        house.street.shop(1).hangs.set(true);
        house.options.wait_protected = false;
        let report = house.take().await.expect("published");
        assert!(!report.is_protected());
        // Its room is asked for first; what was given up is not waited for again.
        assert_eq!(house.street.shop(1).given_up.get(), 1);
        house.assert_placed(&report, Some(1)).await;

        house.street.shop(1).hangs.set(false);
        house.options.wait_protected = true;
        let report = house.take().await.expect("published");
        assert!(report.is_protected(), "the next snapshot asks it again");
    });
}

#[test]
fn when_nobody_can_be_reached_the_walk_waits_and_goes_on() {
    run(async {
        let house = Rc::new(House::furnished(2, (2, 2)));
        for key in [1, 2] {
            house.street.set_away(key, true);
        }
        let taking = tokio::task::spawn_local({
            let house = house.clone();
            async move { house.take().await }
        });
        for _ in 0..500 {
            tokio::task::yield_now().await;
        }
        assert!(!taking.is_finished());
        for key in [1, 2] {
            house.street.set_away(key, false);
        }
        let report = taking.await.expect("ran").expect("taken");
        assert!(report.is_protected());
        house.assert_placed(&report, None).await;
    });
}

#[test]
fn a_full_keeper_is_named_and_the_others_go_on() {
    run(async {
        let house = House::furnished(3, (3, 2));
        house.street.shop(3).refuses.set(Some(Refusal::DiskFull));
        let report = house.take().await.expect("taken");
        assert!(report.is_protected());
        assert_eq!(report.copies, 2);
        let full = report.keepers.iter().find(|share| share.key.0[0] == 3);
        let full = full.expect("it has a share");
        assert_eq!(full.refusal, Some(Refusal::DiskFull));
        assert!(full.refused > 0);
    });
}

#[test]
fn when_all_keepers_are_full_the_snapshot_fails_and_says_so() {
    run(async {
        let house = House::furnished(2, (2, 1));
        for key in [1, 2] {
            house.street.shop(key).refuses.set(Some(Refusal::TableFull));
        }
        let error = house.take().await.expect_err("nobody takes it");
        assert!(matches!(
            error,
            SnapshotError::NobodyKeeps(Refusal::TableFull)
        ));
    });
}

#[test]
fn a_chunk_that_one_keeper_lost_is_pulled_and_one_that_all_lost_is_read_again() {
    run(async {
        let house = House::furnished(2, (2, 2));
        house.take().await.expect("taken");
        let lost: Vec<ChunkId> = {
            let chunks = house.street.shop(1).chunks.borrow();
            chunks.keys().copied().collect()
        };
        house.street.shop(1).chunks.borrow_mut().clear();
        let report = house.take().await.expect("taken");
        house.assert_placed(&report, None).await;
        let read = house.world.tree.0.files_read.get();
        for id in lost.iter().take(5) {
            for key in [1, 2] {
                house.street.shop(key).chunks.borrow_mut().remove(id);
            }
        }
        let report = house.take().await.expect("taken");
        assert!(report.is_protected());
        house.assert_placed(&report, None).await;
        assert_eq!(house.contents(&report), house.expected());
        assert!(house.world.tree.0.files_read.get() > read);
    });
}

#[test]
fn where_all_of_the_authors_memory_is_damaged_keepers_know_what_was_in_it() {
    run(async {
        let house = House::furnished(2, (2, 2));
        house.take().await.expect("taken");
        for bytes in house.world.disk.0.borrow_mut().values_mut() {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        let second = house.take().await.expect("taken");
        assert_eq!(second.files_reused, second.files);
        assert_eq!(house.contents(&second), house.expected());
        // The state was damaged too: the keepers' word counts, in a new incarnation.
        assert_eq!(second.number, SnapshotNumber(2));
        assert_eq!(
            last_head(&house.world)
                .await
                .expect("state")
                .map(|head| head.hash()),
            Some(second.hash)
        );
    });
}

#[test]
fn a_shelf_that_breaks_off_anywhere_even_inside_a_file_costs_only_reading() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let mut read_before = 0;
        for part in 0.. {
            let first = house.take().await.expect("taken");
            let name = {
                let disk = house.world.disk.0.borrow();
                let end = format!("-{part}");
                disk.keys().find(|name| name.ends_with(&end)).cloned()
            };
            let Some(name) = name else {
                assert!(part > 3, "the story needs several parts");
                break;
            };
            house.world.disk.0.borrow_mut().remove(&name);
            read_before += first.files_reused;
            let second = house.take().await.expect("taken");
            assert!(second.is_protected());
            assert!(second.files_reused < second.files);
            assert_eq!(house.contents(&second), house.expected());
        }
        assert!(read_before > 0);
    });
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_goes_on() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let tree = &house.world.tree;
        tree.add("/d/a/locked", Thing::Locked(FileKind::Dir));
        tree.add("/d/a/secret", Thing::Locked(FileKind::File));
        let report = house.take().await.expect("taken");
        assert_eq!(house.contents(&report), house.expected());
        let paths: Vec<_> = report
            .unread
            .iter()
            .map(|unread| &unread.path[..])
            .collect();
        assert_eq!(paths, [&b"a/locked"[..], b"a/secret"]);
        let contents = house.contents(&report);
        let no_file = |what: &Vec<u8>| what.starts_with(b"<");
        let files: Vec<_> = contents.values().filter(|what| !no_file(what)).collect();
        assert_eq!(report.files, files.len() as u64);
        assert_eq!(
            report.bytes,
            files.iter().map(|what| what.len() as u64).sum::<u64>()
        );
    });
}

#[test]
fn a_file_that_changes_is_read_again_and_one_that_never_rests_is_named() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let set = |path: &[u8], times| {
            let mut restless = house.world.tree.0.restless.borrow_mut();
            restless.insert(path.to_vec(), times);
        };
        set(b"/d/a/small9", 1);
        set(b"/d/a/large", 2);
        set(b"/d/b/small9", 100);
        set(b"/d/b/large", 100);
        let report = house.take().await.expect("taken");
        let mut paths: Vec<_> = report
            .unread
            .iter()
            .map(|unread| &unread.path[..])
            .collect();
        paths.sort_unstable();
        assert_eq!(paths, [&b"b/large"[..], b"b/small9"]);
        assert_eq!(house.contents(&report), house.expected());
    });
}

#[test]
fn much_gone_at_once_waits_for_a_person() {
    run(async {
        let mut house = House::furnished(2, (2, 2));
        house.take().await.expect("taken");
        for number in 0..20 {
            house.world.tree.remove(&format!("/d/a/small{number}"));
            house.world.tree.remove(&format!("/d/b/small{number}"));
        }
        for _ in 0..2 {
            let report = house.take().await.expect("taken");
            assert!(!report.head.head.accepted);
        }
        house.options.accept_loss = true;
        assert!(house.take().await.expect("taken").head.head.accepted);
        house.options.accept_loss = false;
        assert!(house.take().await.expect("taken").head.head.accepted);
    });
}

#[test]
fn a_data_set_that_is_not_there_is_a_disaster_not_a_change() {
    run(async {
        let house = House::furnished(2, (2, 2));
        house.take().await.expect("taken");
        house.world.tree.remove("/d");
        let error = house.take().await.expect_err("it vanished");
        assert!(matches!(error, SnapshotError::DataSetMissing { .. }));
    });
}

#[test]
fn a_reserve_of_one_box_protects_nothing() {
    run(async {
        let house = House::furnished(0, (2, 2));
        let error = house.take().await.expect_err("nobody is there");
        assert!(matches!(error, SnapshotError::NoOtherBox));
    });
}

#[test]
fn a_slow_keeper_holds_the_walk_at_the_window_and_no_more() {
    run(async {
        let mut house = House::new(2, (2, 2));
        house.options.sizes = Sizes::default();
        // Three windows of noise.
        for number in 0..9u8 {
            let noise = bytes("noise", number, 2 << 20);
            house.world.tree.file(format!("/d/{number}"), noise);
        }
        house.street.shop(1).is_slow.set(true);
        let house = Rc::new(house);
        let taking = tokio::task::spawn_local({
            let house = house.clone();
            async move { house.take().await }
        });
        while house.street.shop(1).in_flight.get() < SEND_WINDOW_BYTES / 2 {
            tokio::task::yield_now().await;
        }
        for _ in 0..200_000 {
            tokio::task::yield_now().await;
        }
        assert!(!taking.is_finished());
        let other: usize = {
            let chunks = house.street.shop(2).chunks.borrow();
            chunks.values().map(|record| record.len()).sum()
        };
        assert!(other > 0 && other <= SEND_WINDOW_BYTES, "{other}");
        house.street.shop(1).is_slow.set(false);
        house.street.0.news.notify_waiters();
        let report = taking.await.expect("ran").expect("taken");
        assert!(report.is_protected());
        assert!(house.street.shop(1).in_flight_max.get() <= SEND_WINDOW_BYTES);
    });
}

#[test]
fn a_keeper_that_reaches_no_other_is_caught_up_through_the_author() {
    run(async {
        let mut house = House::furnished(2, (2, 2));
        house.street.set_away(2, true);
        house.street.shop(2).is_apart.set(true);
        house.options.wait_protected = false;
        let mut report = house.take().await.expect("published");
        house.street.set_away(2, false);
        let progress = Progress::default();
        protect(&house.street, &house.identity, &mut report, &progress).await;
        assert!(report.is_protected());
        house.assert_placed(&report, None).await;
    });
}

#[test]
fn a_box_that_started_anew_proves_its_last_snapshot_again() {
    run(async {
        let house = House::furnished(3, (2, 2));
        house.take().await.expect("taken");
        let head = last_head(&house.world).await.expect("state");
        let mut report = SnapshotReport::unproven(&house.street, head.expect("a head"));
        assert!(!report.is_protected());
        let lost = *house
            .street
            .shop(1)
            .chunks
            .borrow()
            .keys()
            .next()
            .expect("it has some");
        house.street.shop(1).chunks.borrow_mut().remove(&lost);
        let progress = Progress::default();
        protect(&house.street, &house.identity, &mut report, &progress).await;
        assert!(report.is_protected());
        assert_eq!(report.copies, 2);
        house.assert_placed(&report, None).await;
    });
}

#[test]
fn a_restored_image_goes_on_after_what_keepers_know() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let first = house.take().await.expect("taken");
        let image = house.world.disk.0.borrow().clone();
        house.world.tree.file("/d/new", *b"new");
        let second = house.take().await.expect("taken");
        *house.world.disk.0.borrow_mut() = image;
        house.world.tree.file("/d/newer", *b"newer");
        let third = house.take().await.expect("taken");
        assert_eq!(third.number, SnapshotNumber(3));
        assert_eq!(third.head.head.previous, Some(second.hash));
        assert_ne!(third.head.head.incarnation, first.head.head.incarnation);
        assert_eq!(house.contents(&third), house.expected());
    });
}
