//! Stories of an author whose memory is gone: what it knew comes back from keepers, so that nothing is read or sent again and the
//! guard against vanishing has something to compare with.

use std::rc::Rc;

use super::house::{House, bytes, run};
use super::world::Thing;
use crate::author::{DataSetConfig, Extent, FileProgress, Sizes, rebuild_index, sweep_files};
use crate::format::keys::{DataKeys, ReserveSecret};
use crate::terms::{KeyEpoch, PeerKey};

fn forget_everything(house: &House) {
    house.world.disk.0.borrow_mut().clear();
}

fn data_set() -> [DataSetConfig; 1] {
    [DataSetConfig {
        name: "d".into(),
        path: b"/d".to_vec(),
    }]
}

#[test]
fn an_author_that_lost_its_memory_neither_reads_nor_sends_anything_again() {
    run(async {
        let house = House::furnished(3, (2, 2));
        let first = house.take().await.expect("taken");
        let (read, puts) = (house.world.tree.0.files_read.get(), house.street.puts());
        forget_everything(&house);
        let second = house.take().await.expect("taken");
        assert_eq!(house.world.tree.0.files_read.get(), read);
        // Its manifest alone is new, on two keepers.
        assert_eq!(house.street.puts(), puts + 2);
        assert_eq!(second.files_reused, second.files);
        assert_eq!(second.number.0, first.number.0 + 1);
        assert_ne!(second.head.head.incarnation, first.head.head.incarnation);
        assert_eq!(second.head.head.previous, Some(first.hash));
        assert_eq!(second.head.head.chunks, first.head.head.chunks);
        assert!(second.is_protected() && second.head.head.accepted);
        assert_eq!(house.contents(&second), house.expected());
        house.assert_placed(&second, None).await;
    });
}

#[test]
fn only_the_part_that_is_lost_comes_from_keepers() {
    run(async {
        for lost in ["author/state", "author/index-", "author/known"] {
            let house = House::furnished(2, (2, 2));
            house.take().await.expect("taken");
            let read = house.world.tree.0.files_read.get();
            let is_lost = |name: &String| name.starts_with(lost);
            house
                .world
                .disk
                .0
                .borrow_mut()
                .retain(|name, _| !is_lost(name));
            let second = house.take().await.expect("taken");
            assert_eq!(house.world.tree.0.files_read.get(), read, "{lost}");
            assert_eq!(second.files_reused, second.files, "{lost}");
            assert_eq!(house.contents(&second), house.expected());
        }
    });
}

#[test]
fn as_many_files_under_other_names_do_not_pass_the_guard_of_an_author_that_forgot() {
    run(async {
        let house = House::furnished(2, (2, 2));
        house.take().await.expect("taken");
        forget_everything(&house);
        // What a thief of files does: as many as before, of which nothing is what it was.
        for dir in ["a", "b"] {
            for number in 0..20u8 {
                let path = format!("/d/{dir}/small{number}");
                house.world.tree.remove(&path);
                house
                    .world
                    .tree
                    .file(format!("{path}.locked"), bytes("locked", number, 300));
            }
        }
        for _ in 0..3 {
            let report = house.take().await.expect("taken");
            assert!(!report.head.head.accepted, "it waits for a person");
        }
    });
}

#[test]
fn small_files_that_were_moved_after_the_loss_are_moved_and_not_gone() {
    run(async {
        let house = House::furnished(2, (2, 2));
        house.take().await.expect("taken");
        forget_everything(&house);
        house.world.tree.rename("/d/a", "/d/moved");
        house.world.tree.rename("/d/b", "/d/moved too");
        let second = house.take().await.expect("taken");
        assert!(second.head.head.accepted);
        assert_eq!(house.contents(&second), house.expected());
    });
}

#[test]
fn a_data_set_that_is_not_there_after_the_loss_stays_as_it_was() {
    run(async {
        let mut house = House::furnished(2, (2, 2));
        house.more.push("disk");
        house.world.tree.add("/disk", Thing::Dir);
        house
            .world
            .tree
            .file("/disk/film", bytes("film", 0, 20_000));
        let first = house.take().await.expect("taken");
        forget_everything(&house);
        house.world.tree.remove("/disk");
        house.world.tree.remove("/disk/film");
        let second = house.take().await.expect("taken");
        assert_eq!(second.files, first.files);
        assert_eq!(second.held.len(), 1, "{:?}", second.held);
        assert!(second.head.head.accepted);
    });
}

#[test]
fn a_page_that_no_keeper_has_costs_reading_and_nothing_else() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let first = house.take().await.expect("taken");
        let read = house.world.tree.0.files_read.get();
        forget_everything(&house);
        let pages: Vec<_> = house.index_of(&first);
        for key in [1, 2] {
            house
                .street
                .shop(key)
                .chunks
                .borrow_mut()
                .remove(&pages[pages.len() / 2]);
        }
        let second = house.take().await.expect("taken");
        assert!(house.world.tree.0.files_read.get() > read + 80);
        assert!(second.is_protected() && second.head.head.accepted);
        assert_eq!(house.contents(&second), house.expected());
    });
}

#[test]
fn whoever_forgot_waits_for_a_keeper_before_it_walks() {
    run(async {
        let house = Rc::new(House::furnished(2, (2, 2)));
        house.take().await.expect("taken");
        let read = house.world.tree.0.files_read.get();
        forget_everything(&house);
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
        assert_eq!(report.files_reused, report.files);
        assert_eq!(house.world.tree.0.files_read.get(), read);
    });
}

#[test]
fn what_was_young_when_it_was_taken_is_read_again_after_the_loss() {
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
        forget_everything(&house);
        let second = house.take().await.expect("taken");
        assert_eq!(house.contents(&second), house.expected());
    });
}

#[test]
fn the_last_accepted_snapshot_is_what_is_remembered() {
    run(async {
        let house = House::furnished(2, (2, 2));
        let good = house.take().await.expect("taken");
        let things = house.world.tree.0.things.borrow().clone();
        let is_root = |path: &Vec<u8>| path == b"/d";
        let all = &house.world.tree.0.things;
        all.borrow_mut().retain(|path, _| is_root(path));
        let empty = house.take().await.expect("taken");
        assert!(!empty.head.head.accepted);
        forget_everything(&house);
        all.borrow_mut().extend(things);
        let read = house.world.tree.0.files_read.get();
        let back = house.take().await.expect("taken");
        assert!(back.head.head.accepted, "all of it is back");
        assert_eq!(house.world.tree.0.files_read.get(), read);
        assert_eq!(back.head.head.chunks, good.head.head.chunks);
    });
}

#[test]
fn a_box_that_goes_on_for_another_takes_over_what_stands_there_untouched() {
    run(async {
        let mut house = House::furnished(2, (2, 2));
        let first = house.take().await.expect("taken");
        let (read, puts) = (house.world.tree.0.files_read.get(), house.street.puts());
        forget_everything(&house);
        // Another Box, with the former one's disk of files; the reserve seals under a new epoch meanwhile.
        let former = house.identity.peer();
        let key = |epoch| DataKeys::derive(KeyEpoch(epoch), &ReserveSecret([7; 32]));
        house.identity.signing = ed25519_dalek::SigningKey::from_bytes(&[8; 32]);
        house.identity.line = vec![house.identity.peer(), former];
        house.identity.older = vec![Rc::new(key(1))];
        house.identity.keys = Rc::new(key(2));
        let street = super::street::Street::new(house.identity.peer(), 2, (2, 2));
        for number in [1, 2] {
            let (old, new) = (house.street.shop(number), street.shop(number));
            new.chunks.borrow_mut().extend(old.chunks.borrow().clone());
            new.heads.borrow_mut().extend(old.heads.borrow().clone());
        }
        house.street = street;
        let second = house.take().await.expect("taken");
        assert_eq!(second.number.0, first.number.0 + 1);
        assert_eq!(
            second.head.head.author,
            PeerKey(house.identity.signing.verifying_key().to_bytes())
        );
        assert_eq!(house.world.tree.0.files_read.get(), read);
        assert!(second.head.head.accepted);
        assert!(
            house.street.puts() < puts / 3,
            "its own index alone is sealed anew"
        );
        assert_eq!(house.contents(&second), house.expected());
    });
}

#[test]
fn a_sweep_after_the_loss_is_not_over_before_there_is_something_to_compare_with() {
    run(async {
        let house = House::furnished(2, (2, 2));
        house.take().await.expect("taken");
        let mut good = house.expected()[&b"a/large"[..]].clone();
        good[19_999] ^= 1;
        house.world.tree.swap("/d/a/large", good);
        forget_everything(&house);
        let progress = FileProgress::default();
        let how = (Sizes::small(), Extent::Due { period_days: 30 });
        let (world, street, identity) = (&house.world, &house.street, &house.identity);
        let sets = data_set();
        let swept = sweep_files(world, street, identity, &sets, how, &progress).await;
        assert_eq!(swept.expect("the disk works").files, 0);
        assert!(
            !house.world.disk.0.borrow().contains_key("author/swept"),
            "a round that met nothing is not over"
        );
        rebuild_index(world, street, identity, &sets, Sizes::small())
            .await
            .expect("keepers have it");
        let how = (Sizes::small(), Extent::All);
        let swept = sweep_files(world, street, identity, &sets, how, &progress).await;
        let swept = swept.expect("the disk works");
        assert_eq!(swept.rotten_count, 1, "{swept:?}");
        assert_eq!(swept.rotten[0].1, b"a/large");
    });
}
