//! Stories of what is stored when files are renamed, copied, moved, appended to or inserted into, and when they vanish.

use super::house::{House, bytes, run};
use super::world::Thing;
use crate::author::{SnapshotError, SnapshotReport};
use crate::format::head::Manifest;
use crate::format::keys::{DataKeys, ReserveSecret};
use crate::terms::{ChunkId, KeyEpoch, Kind};
use std::collections::BTreeSet;
use std::rc::Rc;

/// A house whose files have settled, with its first snapshot taken.
async fn settled() -> (House, SnapshotReport) {
    let house = House::furnished(2, (2, 2));
    let report = Box::pin(house.take()).await.expect("taken");
    (house, report)
}

/// Chunks of data that keepers did not have, and their bytes: pages, nodes and manifest are counted apart.
pub(super) fn new_data(house: &House, before: &SnapshotReport, after: &SnapshotReport) -> usize {
    let (before, after) = (data_of(house, before), data_of(house, after));
    after.difference(&before).count()
}

#[test]
fn a_renamed_directory_of_small_files_stores_no_data() {
    run(async {
        let (house, before) = settled().await;
        house.world.tree.rename("/d/a", "/d/renamed");
        let after = house.take().await.expect("taken");
        assert_eq!(new_data(&house, &before, &after), 0);
        assert_eq!(house.contents(&after), house.expected());
        assert!(after.head.head.accepted, "moved is not gone");
    });
}

#[test]
fn copies_of_large_and_small_files_store_no_data() {
    run(async {
        let (house, before) = settled().await;
        let tree = &house.world.tree;
        tree.file("/d/copy of small", bytes("b", 7, 84));
        tree.file("/d/b/copy of large", bytes("a", 99, 20_000));
        tree.file("/d/copy of huge", bytes("huge", 0, 400_000));
        let after = house.take().await.expect("taken");
        assert_eq!(new_data(&house, &before, &after), 0);
        assert_eq!(house.contents(&after), house.expected());
    });
}

#[test]
fn an_append_and_an_insertion_store_only_what_is_new() {
    run(async {
        let (house, before) = settled().await;
        let tree = &house.world.tree;
        let mut huge = bytes("huge", 0, 400_000);
        huge.splice(200_000..200_000, *b"inserted in the middle");
        tree.file("/d/b/huge", huge);
        let mut large = bytes("a", 99, 20_000);
        large.extend(*b"appended");
        tree.file("/d/a/large", large);
        let after = house.take().await.expect("taken");
        let new = new_data(&house, &before, &after);
        assert!((2..=8).contains(&new), "{new}");
        assert_eq!(house.contents(&after), house.expected());
    });
}

#[test]
fn a_change_of_one_small_file_leaves_the_packs_of_the_others_even_without_memory() {
    run(async {
        let (house, before) = settled().await;
        house.world.tree.file("/d/a/small3", *b"changed");
        // Everything is read and packed again: the packs behind the change come out as they were.
        house.world.disk.0.borrow_mut().clear();
        let after = house.take().await.expect("taken");
        let new = new_data(&house, &before, &after);
        assert!((1..=3).contains(&new), "{new}");
    });
}

#[test]
fn a_pack_of_which_less_than_half_is_alive_is_packed_anew() {
    run(async {
        let house = House::new(2, (2, 2));
        for number in 0..10u8 {
            house
                .world
                .tree
                .file(format!("/d/{number}"), bytes("x", number, 100));
        }
        let first = house.take().await.expect("taken");
        for number in 0..6u8 {
            house.world.tree.remove(&format!("/d/{number}"));
        }
        let second = house.take().await.expect("taken");
        assert_eq!(
            new_data(&house, &first, &second),
            0,
            "what lives keeps its place at first"
        );
        assert_eq!(second.files_reused, 4);
        let third = house.take().await.expect("taken");
        assert_eq!(new_data(&house, &second, &third), 1);
        assert_eq!(third.files_reused, 0);
        assert!(third.head.head.accepted);
        let fourth = house.take().await.expect("taken");
        assert_eq!(
            (fourth.files_reused, new_data(&house, &third, &fourth)),
            (4, 0)
        );
        assert_eq!(house.contents(&fourth), house.expected());
    });
}

#[test]
fn a_pack_nobody_has_any_more_is_not_used_for_a_renamed_file() {
    run(async {
        let (house, _) = settled().await;
        house.world.tree.rename("/d/a", "/d/renamed");
        for key in [1, 2] {
            house.street.shop(key).chunks.borrow_mut().clear();
        }
        let after = house.take().await.expect("taken");
        assert!(after.is_protected());
        house.assert_placed(&after, None).await;
        assert_eq!(house.contents(&after), house.expected());
    });
}

#[test]
fn a_touched_tree_is_not_a_rewritten_one() {
    run(async {
        let (house, _) = settled().await;
        house.world.tree.touch_all();
        let after = house.take().await.expect("taken");
        assert_eq!(after.files_reused, 0);
        assert!(after.head.head.accepted);
        let small = |number: u8| format!("/d/a/small{number}");
        for dir in ["a", "a!", "b", "b/c"] {
            for number in 1..20u8 {
                let path = format!("/d/{dir}/small{number}");
                house.world.tree.file(path, bytes("scrambled", number, 150));
            }
        }
        assert!(!house.take().await.expect("taken").head.head.accepted);
        house.world.tree.file(small(1), *b"x");
        assert!(
            !house.take().await.expect("taken").head.head.accepted,
            "it waits for a person"
        );
    });
}

#[test]
fn on_schedule_nothing_new_means_no_new_head() {
    run(async {
        let (mut house, first) = settled().await;
        house.options.only_news = true;
        let same = house.take().await.expect("looked");
        assert!(same.is_unchanged && same.is_protected());
        assert_eq!(same.hash, first.hash);
        house.world.tree.file("/d/news", *b"news");
        let second = house.take().await.expect("taken");
        assert!(!second.is_unchanged);
        assert_eq!(second.number.0, 2);
        // What every keeper lost is made again, even if no file changed.
        for key in [1, 2] {
            house.street.shop(key).chunks.borrow_mut().clear();
        }
        let third = house.take().await.expect("taken");
        assert!(third.is_protected());
        house.assert_placed(&third, None).await;
    });
}

#[test]
fn a_look_by_the_walk_alone_asks_nobody_and_notices_every_change() {
    type Change = fn(&House);
    let changes: [Change; 8] = [
        |house| house.world.tree.file("/d/news", *b"news"),
        |house| house.world.tree.file("/d/zz", *b""),
        |house| house.world.tree.file("/d/a/small7", *b"other"),
        |house| house.world.tree.rename("/d/b/c/large", "/d/b/c/larger"),
        |house| house.world.tree.rename("/d/zeros", "/elsewhere"),
        |house| house.world.tree.change("/d/b", |stat| stat.mode ^= 0o020),
        |house| house.world.tree.change("/d/a.txt", |stat| stat.uid += 1),
        |house| house.world.tree.0.device.set(77),
    ];
    run(async {
        let (house, first) = settled().await;
        // Nobody has anything any more, and nobody is asked.
        for key in [1, 2] {
            house.street.shop(key).chunks.borrow_mut().clear();
        }
        let same = house.still().await.expect("nothing changed");
        assert!(same.is_unchanged && same.is_protected());
        assert_eq!((same.hash, same.files), (first.hash, first.files));
        for (number, change) in changes.into_iter().enumerate() {
            let (house, _) = settled().await;
            change(&house);
            assert!(house.still().await.is_none(), "change {number}");
        }
        let (mut house, _) = settled().await;
        house.more = vec!["e"];
        assert!(house.still().await.is_none(), "another data set");
    });
}

#[test]
fn a_data_set_that_is_not_where_it_was_stays_as_it_was_and_the_others_go_on() {
    run(async {
        let mut house = House::furnished(2, (2, 2));
        house.more = vec!["e"];
        house.world.tree.add("/e", Thing::Dir);
        for number in 0..30u8 {
            house
                .world
                .tree
                .file(format!("/e/{number}"), bytes("e", number, 500));
        }
        house.take().await.expect("taken");
        house.world.tree.file("/d/news", *b"news");
        house.world.tree.rename("/e", "/elsewhere");
        let second = house.take().await.expect("taken");
        assert_eq!(second.held.len(), 1, "{:?}", second.held);
        assert_eq!((second.held[0].0.as_str(), second.unread_count), ("e", 1));
        assert!(second.head.head.accepted);
        let manifest = house.open(second.head.head.manifest, Kind::Manifest);
        let manifest = Manifest::decode(&manifest).expect("a manifest");
        assert_eq!(manifest.data_sets[1].files, 30);
        house.assert_placed(&second, None).await;
        // An empty directory of another device where it was.
        house.world.tree.add("/e", Thing::Dir);
        house.world.tree.0.device.set(77);
        let third = house.take().await.expect("taken");
        assert_eq!(third.held.len(), 1, "{:?}", third.held);
        assert!(third.held[0].1.contains("another file system"));
        house.assert_placed(&third, None).await;
        house.world.tree.rename("/d", "/away");
        let all = house.take().await.expect_err("nothing is where it was");
        assert!(matches!(all, SnapshotError::DataSetMissing { .. }));
        house.world.tree.rename("/away", "/d");
        house.options.accept_loss = true;
        let fourth = house.take().await.expect("a person said so");
        assert!(fourth.held.is_empty() && fourth.head.head.accepted);
    });
}

#[test]
fn a_disk_that_is_unplugged_during_the_walk_is_noticed_and_nothing_is_published() {
    run(async {
        let (house, first) = settled().await;
        for number in 0..2000u32 {
            house
                .world
                .tree
                .file(format!("/d/more/{number}"), number.to_le_bytes());
        }
        house.world.tree.add("/d/more", Thing::Dir);
        house.world.tree.0.device_changes_after.set(Some(500));
        let error = house.take().await.expect_err("the ground moved");
        assert!(error.to_string().contains("changed while"), "{error}");
        house.world.tree.0.device.set(0);
        let second = house.take().await.expect("it is back");
        assert_eq!(second.number.0, first.number.0 + 1);
    });
}

#[test]
fn what_will_not_fit_is_told_before_it_is_sent() {
    run(async {
        let (mut house, _) = settled().await;
        house.world.tree.file("/d/film", bytes("film", 1, 300_000));
        house.street.shop(2).room.set(Some(100_000));
        let puts = house.street.puts();
        let error = house.take().await.expect_err("two copies are the minimum");
        assert!(matches!(error, SnapshotError::NoRoom(_)), "{error}");
        assert!(error.to_string().contains("room for 97.66 KiB"), "{error}");
        assert_eq!(house.street.puts(), puts);
        house.options.try_anyway = true;
        let report = house.take().await.expect("a person said so");
        assert_eq!(report.warnings.len(), 1);
        // Renamed, it takes no room, however little there is.
        house.options.try_anyway = false;
        house.street.shop(2).room.set(Some(10_000));
        house.world.tree.rename("/d/film", "/d/the film");
        let report = house.take().await.expect("nothing grew");
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    });
}

/// A house with so many larger files in one directory, all of which may go at once.
pub(super) fn with_films(many: u8) -> House {
    let house = House::furnished(2, (2, 2));
    house.world.tree.add("/d/films", Thing::Dir);
    for number in 0..many {
        let film = bytes("film", number, 5000);
        house.world.tree.file(format!("/d/films/{number}"), film);
    }
    house
}

/// Somebody was shut out: from here on new keys seal.
pub(super) fn begin_new_epoch(house: &mut House) {
    let old = house.identity.keys.clone();
    let mut new = DataKeys::derive(KeyEpoch(2), &ReserveSecret([8; 32]));
    // Names of plaintext and cut points survive an epoch.
    (new.lookup, new.cut) = (old.lookup, old.cut);
    house.identity.keys = Rc::new(new.clone());
    house.identity.older = vec![old.clone()];
    house.identity.keyring = Rc::new(move |epoch| {
        let keys = if epoch == KeyEpoch(2) { &new } else { &*old };
        Some(keys.clone())
    });
}

#[test]
fn what_is_back_in_a_new_epoch_is_known_and_sent_to_nobody_again() {
    run(async {
        let mut house = with_films(30);
        let before = house.take().await.expect("taken");
        // Their disk is not mounted for an hour, and somebody is shut out meanwhile.
        let films = carried_off(&house, "/d/films");
        assert!(!house.take().await.expect("taken").head.head.accepted);
        begin_new_epoch(&mut house);
        assert!(!house.take().await.expect("taken").head.head.accepted);
        put_back(&house, "/d/films", films);
        let after = house.take().await.expect("taken");
        assert!(after.head.head.accepted, "all of it is there");
        assert_eq!(new_data(&house, &before, &after), 0);
        assert_eq!(house.contents(&after), house.expected());
    });
}

#[test]
fn what_is_back_in_a_new_epoch_is_known_also_if_no_keeper_has_it_any_more() {
    run(async {
        let mut house = with_films(30);
        let before = house.take().await.expect("taken");
        let films = carried_off(&house, "/d/films");
        let without = house.take().await.expect("taken");
        assert!(!without.head.head.accepted);
        begin_new_epoch(&mut house);
        // All that only the films are made of is lost meanwhile: they are sealed anew, and called otherwise.
        let needed = data_of(&house, &without);
        for id in data_of(&house, &before).difference(&needed) {
            for key in [1, 2] {
                house.street.shop(key).chunks.borrow_mut().remove(id);
            }
        }
        put_back(&house, "/d/films", films);
        let after = house.take().await.expect("taken");
        assert!(after.head.head.accepted, "all of it is there");
        assert!(after.is_protected());
        assert_eq!(house.contents(&after), house.expected());
        // Strange films of their number are not they.
        let films = carried_off(&house, "/d/films");
        assert!(!house.take().await.expect("taken").head.head.accepted);
        for number in 0..30 {
            let strange = bytes("strange", number, 5000);
            house.world.tree.file(format!("/d/films/{number}"), strange);
        }
        assert!(!house.take().await.expect("taken").head.head.accepted);
        put_back(&house, "/d/films", films);
        assert!(house.take().await.expect("taken").head.head.accepted);
    });
}

#[test]
fn what_was_sealed_anew_in_a_new_epoch_is_known_when_it_is_back_under_its_older_names() {
    run(async {
        let mut house = with_films(60);
        house.take().await.expect("taken");
        begin_new_epoch(&mut house);
        house.world.tree.touch_all();
        let anew = house.take().await.expect("taken");
        assert!(anew.head.head.accepted);
        let mut films = carried_off(&house, "/d/films");
        assert!(!house.take().await.expect("taken").head.head.accepted);
        // Keepers have them by both names; the older one is as good. They come back in two halves.
        let others = films.split_off(30);
        put_back(&house, "/d/films", films);
        assert!(!house.take().await.expect("taken").head.head.accepted);
        put_back(&house, "/d/films", others);
        let after = house.take().await.expect("taken");
        assert!(after.head.head.accepted, "all of it is there");
        assert_eq!(house.contents(&after), house.expected());
    });
}

/// Chunks of files in a snapshot.
fn data_of(house: &House, report: &SnapshotReport) -> BTreeSet<ChunkId> {
    let entries = house.entries(report);
    entries.into_iter().flat_map(|(_, chunks)| chunks).collect()
}

#[test]
fn a_box_that_goes_on_for_another_in_a_new_epoch_sends_nothing_again() {
    run(async {
        let (mut house, before) = settled().await;
        begin_new_epoch(&mut house);
        house.world.disk.0.borrow_mut().clear();
        house.world.tree.touch_all();
        house.world.tree.file("/d/news", bytes("news", 0, 9000));
        let puts = house.street.puts();
        let after = house.take().await.expect("taken");
        assert!(after.is_protected());
        house.assert_placed(&after, None).await;
        let (old, new) = (data_of(&house, &before), data_of(&house, &after));
        // What the news is made of, and the pack that ends early before them.
        assert!(
            new.difference(&old).count() <= 14,
            "{}",
            new.difference(&old).count()
        );
        assert!(house.street.puts() - puts < 2 * new.len() as u64);
    });
}

/// Things with their names below some directory.
type Things = Vec<(Vec<u8>, (Thing, crate::world::Stat))>;

fn put_back(house: &House, dir: &str, things: Things) {
    for (name, thing) in things {
        let path = [dir.as_bytes(), b"/", &name].concat();
        house.world.tree.0.things.borrow_mut().insert(path, thing);
    }
}

/// Takes all below a directory away, and gives it back to whoever wants to put it somewhere.
fn carried_off(house: &House, dir: &str) -> Things {
    let mut things = house.world.tree.0.things.borrow_mut();
    let below = format!("{dir}/").into_bytes();
    let paths: Vec<_> = things
        .keys()
        .filter(|path| path.starts_with(&below))
        .cloned()
        .collect();
    let taken = paths.into_iter().map(|path| {
        let thing = things.remove(&path).expect("it was there");
        (path[below.len()..].to_vec(), thing)
    });
    taken.collect()
}

#[test]
fn as_many_strange_files_are_not_forgiven_one_snapshot_later() {
    run(async {
        let (house, _) = settled().await;
        let own = carried_off(&house, "/d/a");
        for number in 0..u8::try_from(own.len()).expect("few") {
            let strange = bytes("locked", number, 300);
            house
                .world
                .tree
                .file(format!("/d/a/{number}.locked"), strange);
        }
        for _ in 0..3 {
            let report = house.take().await.expect("taken");
            assert!(!report.head.head.accepted, "it waits for a person");
        }
        // They are themselves again.
        carried_off(&house, "/d/a");
        put_back(&house, "/d/a", own);
        assert!(house.take().await.expect("taken").head.head.accepted);
    });
}

#[test]
fn files_that_come_back_under_other_names_one_snapshot_later_are_moved() {
    run(async {
        let (house, before) = settled().await;
        let moved = [carried_off(&house, "/d/a"), carried_off(&house, "/d/b")].concat();
        assert!(!house.take().await.expect("taken").head.head.accepted);
        house.world.tree.add("/d/sorted", Thing::Dir);
        for (number, (_, (thing, stat))) in moved.into_iter().enumerate() {
            let path = format!("/d/sorted/{number}").into_bytes();
            house
                .world
                .tree
                .0
                .things
                .borrow_mut()
                .insert(path, (thing, stat));
        }
        let after = house.take().await.expect("taken");
        assert!(after.head.head.accepted, "all of it is there");
        assert_eq!(after.files, before.files);
        assert_eq!(house.contents(&after), house.expected());
    });
}
