//! Restores that cannot do all they should: the rest goes on, and what is missing is told.

use super::Bench;
use crate::retriever::RetrieveError;
use crate::retriever::mock::{data_set, dir, empty, link, pages, part};

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
        matches!(ended, Err(RetrieveError::TargetFailed(_))),
        "{ended:?}"
    );

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
