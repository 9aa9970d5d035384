//! Tests of the comparison of two trees.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::compare::*;
use crate::console::control::{SnapshotOutcome, SnapshotView};
use crate::console::retrieve::RetrieveOutcome;

fn outcome() -> SnapshotOutcome {
    let snapshot = SnapshotView {
        id: String::new(),
        author: String::new(),
        author_key: String::new(),
        number: 1,
        taken: String::new(),
        taken_seconds: 0,
        chunks: 0,
        sealed_bytes: 0,
        held_by: Vec::new(),
        accepted: true,
        is_lacking: false,
        kept_by: None,
        is_leaving: false,
        gone_in_seconds: None,
        data_sets: None,
    };
    SnapshotOutcome {
        snapshot,
        protected: true,
        copies: 2,
        factor_min: 2,
        files_read: 0,
        bytes_read: 0,
        bytes_sent: 0,
        bytes_new: 0,
        chunks_sealed: 0,
        bytes_sealed: 0,
        unchanged: false,
        held: Vec::new(),
        warnings: Vec::new(),
        databases: 0,
        chunks_new: 0,
        unread: Vec::new(),
        unread_count: 0,
        skipped: 0,
        keepers: Vec::new(),
    }
}

fn came_back() -> RetrieveOutcome {
    RetrieveOutcome {
        snapshot: outcome().snapshot,
        files: 0,
        kept: 0,
        dirs: 0,
        symlinks: 0,
        specials: 0,
        bytes: 0,
        bytes_fetched: 0,
        failed: Vec::new(),
        failed_count: 0,
        absent_count: 0,
        not_set: vec![("a/photo".into(), "owner".into())],
        not_set_count: 1,
        stayed: Vec::new(),
        stayed_count: 0,
        memory_peak_bytes: None,
    }
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("a")).expect("made");
    fs::write(dir.path().join("a/photo"), vec![7; 2_500_000]).expect("written");
    symlink("a/photo", dir.path().join("link")).expect("linked");
    dir
}

/// The same times on both sides: of what was made just now.
fn same_times(a: &Path, b: &Path) {
    for relative in ["a/photo", "a", ""] {
        let time = fs::metadata(a.join(relative))
            .expect("there")
            .modified()
            .expect("a time");
        File::open(b.join(relative))
            .expect("opens")
            .set_modified(time)
            .expect("set");
    }
    fs::remove_file(a.join("link"))
        .and_then(|()| fs::remove_file(b.join("link")))
        .expect("removed");
    for side in [a, b] {
        File::open(side)
            .expect("opens")
            .set_modified(UNIX_EPOCH)
            .expect("set");
    }
}

#[test]
fn equal_trees_are_equal_and_one_flipped_byte_is_found() {
    let (a, b) = (tree(), tree());
    same_times(a.path(), b.path());
    let later = Some(SystemTime::now() + Duration::from_secs(10));
    let equal = Comparison::of(
        a.path(),
        b.path(),
        later,
        (&outcome(), &came_back()),
        &|| false,
    );
    assert_eq!(
        (
            equal.different_count,
            equal.changed_meanwhile.len(),
            equal.bytes
        ),
        (0, 0, 2_500_000),
        "{equal:?}"
    );

    let time = fs::metadata(b.path().join("a/photo"))
        .expect("there")
        .modified()
        .expect("a time");
    let mut bytes = vec![7; 2_500_000];
    bytes[2_000_000] = 8;
    fs::write(b.path().join("a/photo"), bytes).expect("written");
    File::options()
        .write(true)
        .open(b.path().join("a/photo"))
        .expect("opens")
        .set_modified(time)
        .expect("set");
    fs::write(b.path().join("extra"), "x").expect("written");
    File::open(b.path())
        .expect("opens")
        .set_modified(UNIX_EPOCH)
        .expect("set");
    let different = Comparison::of(
        a.path(),
        b.path(),
        later,
        (&outcome(), &came_back()),
        &|| false,
    );
    assert_eq!(different.different_count, 2, "{different:?}");
    assert!(
        different
            .different
            .contains(&("a/photo".into(), "differs at byte 2000000".into())),
        "{different:?}"
    );
}

#[test]
fn what_changed_since_the_drill_began_is_named_as_such() {
    let (a, b) = (tree(), tree());
    fs::write(a.path().join("a/photo"), "new").expect("written");
    let found = Comparison::of(
        a.path(),
        b.path(),
        Some(UNIX_EPOCH),
        (&outcome(), &came_back()),
        &|| false,
    );
    assert_eq!(found.different_count, 0);
    assert!(found.changed_meanwhile.contains(&"a/photo".to_owned()));
}

#[test]
fn what_may_not_be_set_is_told_apart_but_excuses_no_other_bytes() {
    let (a, b) = (tree(), tree());
    same_times(a.path(), b.path());
    let later = Some(SystemTime::now() + Duration::from_secs(10));
    let of = || {
        let told = (&outcome(), &came_back());
        Comparison::of(a.path(), b.path(), later, told, &|| false)
    };
    let photo = File::open(b.path().join("a/photo")).expect("opens");
    photo.set_modified(UNIX_EPOCH).expect("set");
    let found = of();
    assert_eq!(
        (found.different_count, found.not_set_count),
        (0, 1),
        "{found:?}"
    );
    let path = b.path().join("a/photo");
    fs::write(&path, vec![8; 2_500_000]).expect("written");
    assert_eq!(of().different_count, 1);
}

#[test]
fn names_of_one_file_must_be_names_of_one_file_again() {
    let (a, b) = (tree(), tree());
    for side in [&a, &b] {
        let photo = side.path().join("a/photo");
        fs::hard_link(&photo, side.path().join("a/same")).expect("linked");
        fs::write(side.path().join("a/tame"), vec![7; 2_500_000]).expect("written");
    }
    fs::remove_file(b.path().join("a/same")).expect("removed");
    fs::hard_link(b.path().join("a/tame"), b.path().join("a/same")).expect("linked");
    for side in [&a, &b] {
        for name in ["a/photo", "a/same", "a/tame"] {
            let file = File::open(side.path().join(name)).expect("opens");
            file.set_modified(UNIX_EPOCH).expect("set");
        }
    }
    same_times(a.path(), b.path());
    let later = Some(SystemTime::now() + Duration::from_secs(10));
    let told = (&outcome(), &came_back());
    let found = Comparison::of(a.path(), b.path(), later, told, &|| false);
    let how = "is a name of another file than before";
    assert!(
        found.different.contains(&("a/same".into(), how.into())),
        "{found:?}"
    );
}
