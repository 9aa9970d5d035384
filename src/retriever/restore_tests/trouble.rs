//! Restores that cannot do all they should: the rest goes on, and what is missing is told.

use super::{Bench, Wishes};
use crate::format::head::DataSet;
use crate::retriever::mock::{Thing, data_set, dir, empty, link, packed, pages, part};
use crate::retriever::{RetrieveError, RetrieveReport};
use crate::terms::{ChunkId, Stamp};

#[test]
fn a_directory_that_cannot_be_made_costs_what_is_in_it() {
    let bench = Bench::default();
    let denied = std::io::ErrorKind::PermissionDenied;
    let mut state = bench.world.tree.0.borrow_mut();
    state.refused.insert(b"a".to_vec(), denied);
    drop(state);
    let drafts = [
        dir(""),
        dir("a"),
        empty("a/b"),
        dir("a/c"),
        link("a/c/d", "e"),
        empty("f"),
    ];
    let report = bench.restore_drafts(&drafts, 9);
    assert_eq!(report.failed_count, 4, "{report:?}");
    assert_eq!(bench.names(), ["f"]);
}

#[test]
fn a_full_disk_and_a_dead_keeper_end_the_restore_with_whole_files_only() {
    let bench = Bench::default();
    let id = bench.keep(vec![1; 10]);
    let mut drafts = vec![dir(""), part("a", 10, 0, true, &[(Some(id), 10)])];
    drafts.extend((0..50).map(|n| empty(&format!("b{n:02}"))));
    let set = || vec![data_set(&bench.source, "photos", &pages(&drafts, 9), 16)];
    let full = std::io::ErrorKind::StorageFull;
    let mut state = bench.world.tree.0.borrow_mut();
    state.refused.insert(b"b03".to_vec(), full);
    drop(state);
    let ended = bench.try_with(set(), |_| ());
    assert!(
        matches!(ended, Err(RetrieveError::TargetFailed { .. })),
        "{ended:?}"
    );
    let told = ended.expect_err("it ended").to_string();
    let there = bench.names().len();
    assert!(
        told.contains(&format!("({there} files, ")),
        "{there}: {told}"
    );
    assert!(told.contains("same command again"), "{told}");

    let bench = Bench {
        source: bench.source.clone(),
        ..Bench::default()
    };
    let fetched = bench.source.0.borrow().fetched.len();
    bench.source.0.borrow_mut().ends_after = Some(fetched + 3);
    let ended = bench.try_with(set(), |_| ());
    assert!(
        matches!(ended, Err(RetrieveError::SourceEnded(_))),
        "{ended:?}"
    );
}

#[test]
fn what_could_not_be_set_is_told_by_name() {
    let bench = Bench::default();
    bench.world.tree.0.borrow_mut().owner_cannot_be_set = true;
    bench.world.tree.0.borrow_mut().links_are_refused = true;
    let mut linked = empty("a");
    linked.entry.hard_link = Some(1);
    let mut other = empty("aa");
    other.entry.hard_link = Some(1);
    other.entry.mtime = linked.entry.mtime;
    let report = bench.restore_drafts(&[dir(""), linked, other, link("b", "c")], 9);
    assert_eq!((report.not_set_count, report.failed_count), (4, 0));
    assert!(report.not_set.iter().all(|(_, how)| how.owner));
    let copies = report.not_set.iter().filter(|(_, how)| how.hard_link);
    let copies: Vec<&[u8]> = copies.map(|(path, _)| path.as_slice()).collect();
    assert_eq!(copies, [b"aa"], "the second name has a copy of its own");
}

/// A restore into a target with so much room: how it ended, and how many things are there then.
fn with_room(
    bench: &Bench,
    room: (u64, u64),
    set: &DataSet,
    change: impl FnOnce(&mut Wishes),
) -> (Result<RetrieveReport, RetrieveError>, usize) {
    let bench = Bench {
        source: bench.source.clone(),
        ..Bench::default()
    };
    let mut state = bench.world.tree.0.borrow_mut();
    state.free_bytes = Some(room.0);
    state.free_things = Some(room.1);
    drop(state);
    let done = bench.try_with(vec![set.clone()], change);
    if done.is_err() {
        assert!(
            bench.world.tree.0.borrow().note.is_none(),
            "a note was left"
        );
    }
    let names = bench.names().len();
    (done, names)
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written_and_holes_and_further_names_take_no_room()
 {
    let bench = Bench::default();
    let id = bench.keep(vec![1; 1000]);
    let bytes = 1000 + (1 << 20);
    let holey = |path: &str| part(path, bytes, 0, true, &[(Some(id), 1000), (None, 1 << 20)]);
    let named = |path: &str| {
        let mut name = packed(path, id, 0, 500);
        name.entry.hard_link = Some(1);
        name.entry.mtime = Stamp::default();
        name
    };
    let drafts = [dir(""), holey("a"), holey("b"), named("c"), named("d")];
    let mut set = data_set(&bench.source, "photos", &pages(&drafts, 2), 16);
    (set.files, set.bytes) = (4, 2 * bytes + 1000);
    let much = u64::MAX;

    let (refused, names) = with_room(&bench, (2499, much), &set, |_| ());
    let Err(RetrieveError::NoRoom { needed_bytes, .. }) = &refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!((*needed_bytes, names), (2500, 0));
    let told = refused.expect_err("was refused").to_string();
    assert!(
        told.contains("nothing was written") && told.contains("--path"),
        "{told}"
    );
    let (done, names) = with_room(&bench, (2500, much), &set, |_| ());
    assert!(done.is_ok_and(|report| report.is_complete()) && names == 4);
    let (done, names) = with_room(&bench, (1000, much), &set, |wishes| {
        wishes.paths = vec![b"b".to_vec()];
    });
    assert!(done.is_ok_and(|report| report.is_complete()) && names == 1);
    let (done, names) = with_room(&bench, (0, 0), &set, |wishes| wishes.try_anyway = true);
    assert!(done.is_ok_and(|report| report.is_complete()) && names == 4);

    // The directory itself, two files, and one that has two names.
    let (refused, names) = with_room(&bench, (much, 3), &set, |_| ());
    let Err(RetrieveError::NoRoomForThings { needed, .. }) = &refused else {
        panic!("not refused: {refused:?}");
    };
    assert_eq!((*needed, names), (4, 0));
    let (done, _) = with_room(&bench, (much, 4), &set, |_| ());
    assert!(done.is_ok_and(|report| report.is_complete()));
}

#[test]
fn what_an_earlier_run_left_needs_no_room_again() {
    let bench = Bench::default();
    let ids: Vec<ChunkId> = (0..40u8).map(|n| bench.keep(vec![n; 1 << 20])).collect();
    let mut drafts = vec![dir("")];
    for n in 0..20u32 {
        let id = bench.keep(format!("small {n}").repeat(100).into_bytes());
        drafts.push(packed(&format!("a{n:02}"), id, 0, 700));
    }
    let whole = 100 << 20;
    for number in 0..10u32 {
        let pieces: Vec<_> = (0..10)
            .map(|n| (Some(ids[(number as usize * 10 + n) % 40]), 1 << 20))
            .collect();
        drafts.push(part("film", whole, number, number == 9, &pieces));
    }
    let mut set = data_set(&bench.source, "photos", &pages(&drafts, 4), 16);
    (set.files, set.bytes) = (21, whole + 14_000);
    let needed = |bench: &Bench, free: u64| {
        bench.world.tree.0.borrow_mut().free_bytes = Some(free);
        match bench.try_once(vec![set.clone()], |_| ()) {
            Err(RetrieveError::NoRoom { needed_bytes, .. }) => Some(needed_bytes),
            Err(RetrieveError::SourceEnded(_)) => None,
            other => panic!("neither refused nor ended: {other:?}"),
        }
    };
    assert_eq!(needed(&bench, whole), Some(whole + 14_000));
    let fetched = bench.source.0.borrow().fetched.len();
    bench.source.0.borrow_mut().ends_after = Some(fetched + 90);
    assert_eq!(needed(&bench, u64::MAX), None);
    bench.later();
    let left = needed(&bench, 0).expect("it still does not fit");
    let there = bench.world.tree.0.borrow().things.clone();
    let small = there
        .values()
        .filter(|thing| matches!(thing, Thing::File(_)));
    let small = small.count() as u64;
    assert!(
        small > 10 && left <= whole - (30 << 20),
        "{small} files, {left} bytes left"
    );
    assert_eq!(
        (left - (20 - small) * 700) % (1 << 20),
        0,
        "whole pieces are left"
    );
    bench.world.tree.0.borrow_mut().free_bytes = Some(left);
    let report = bench.restore(vec![set.clone()]);
    assert!(report.is_complete() && report.files == 21, "{report:?}");
}

#[test]
fn a_file_that_stays_tells_again_which_attributes_it_could_not_be_given() {
    let bench = Bench::default();
    let mut drafts = vec![dir("")];
    for n in 0..30u32 {
        let pack = bench.keep(format!("pack {n:04}").into_bytes());
        let mut file = packed(&format!("f{n:02}"), pack, 0, 9);
        for name in ["user.good", "user.refused"] {
            let value = serde_bytes::ByteBuf::from(vec![1, 2]);
            let name = serde_bytes::ByteBuf::from(name.as_bytes());
            file.entry.xattrs.push((name, value));
        }
        drafts.push(file);
    }
    let set = data_set(&bench.source, "photos", &pages(&drafts, 9), 16);
    let refused = b"user.refused".to_vec();
    bench.world.tree.0.borrow_mut().xattr_refused = Some(refused.clone());
    bench.source.0.borrow_mut().ends_after = Some(20);
    assert!(bench.try_once(vec![set.clone()], |_| ()).is_err());
    bench.later();
    let report = bench.restore(vec![set]);
    assert!(report.kept > 0 && report.files == 30, "{report:?}");
    // Every file, and the directory.
    assert_eq!(report.not_set_count, 31);
    assert!(
        report
            .not_set
            .iter()
            .all(|(_, how)| how.xattrs == [refused.clone()])
    );
}
