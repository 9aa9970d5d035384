//! The author's memory is lost and its files are not: what it knew comes back from the others, so that nothing is read or sent again,
//! and what vanished or was replaced meanwhile is noticed as if nothing had been forgotten.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;

use serde_json::Value;
use stage::trio::Trio;
use stage::{BoxProcess, assert_same_trees, noise, until_settled};

/// What the author knows of its snapshots is gone; who it is and what it keeps are not.
fn forget(home: &mut BoxProcess) {
    home.stop();
    fs::remove_dir_all(home.dir.join("author")).unwrap();
    home.start();
    for name in ["office", "friend"] {
        home.until_met(name);
    }
}

/// All that was written before has rested when it is looked at next, and is in a snapshot that says so.
fn rested() -> Trio {
    let trio = Trio::protected();
    until_settled();
    let (code, outcome) = trio.home.taken(&[]);
    assert_eq!(code, Some(0), "{outcome}");
    trio
}

#[test]
fn nothing_is_read_or_sent_again_and_an_emptied_data_set_is_refused() {
    let mut trio = rested();
    forget(&mut trio.home);
    let (code, outcome) = trio.home.taken(&[]);
    assert_eq!(code, Some(0), "{outcome}");
    assert_eq!(
        (&outcome["files_read"], &outcome["bytes_read"]),
        (&0.into(), &0.into()),
        "{outcome}"
    );
    // The manifest alone is new.
    assert_eq!(outcome["chunks_new"], 1, "{outcome}");
    assert!(outcome["bytes_sent"].as_u64().unwrap() < 4096, "{outcome}");
    assert_eq!(outcome["snapshot"]["accepted"], true, "{outcome}");
    assert_eq!(outcome["snapshot"]["number"], 3, "{outcome}");
    let before = trio.stage.path("before");
    fs::rename(&trio.files, &before).unwrap();

    // It forgets again, and this time everything vanished as well.
    fs::create_dir(&trio.files).unwrap();
    forget(&mut trio.home);
    let (code, outcome) = trio.home.taken(&[]);
    assert_eq!(code, Some(3), "{outcome}");
    assert_eq!(outcome["snapshot"]["accepted"], false, "{outcome}");
    fs::remove_dir(&trio.files).unwrap();
    fs::rename(&before, &trio.files).unwrap();
    trio.comes_back_from_office_alone();
}

#[test]
fn as_many_strange_files_in_place_of_its_own_are_refused() {
    let mut trio = rested();
    let good = trio.stage.path("good");
    let dir = trio.files.join("a");
    fs::create_dir(&good).unwrap();
    for number in 0..100 {
        let path = dir.join(format!("{number}.txt"));
        fs::rename(&path, good.join(format!("{number}.txt"))).unwrap();
        let locked = noise("locked", 3000 + number);
        fs::write(path.with_extension("txt.locked"), locked).unwrap();
    }
    forget(&mut trio.home);
    let (code, outcome) = trio.home.taken(&[]);
    assert_eq!(code, Some(3), "{outcome}");
    assert_eq!(outcome["snapshot"]["accepted"], false, "{outcome}");
    let to = trio.stage.path("latest");
    let to_text = to.to_str().unwrap();
    trio.office.succeeds(&[
        "retrieve", "--author", "home", "--path", "a", "--to", to_text,
    ]);
    assert!(to.join("a/7.txt").exists() && !to.join("a/7.txt.locked").exists());
}

#[test]
fn a_sweep_after_the_loss_compares_with_what_keepers_have() {
    let mut trio = rested();
    let count = |swept: &Value| swept["files"].as_u64().unwrap();
    let before = trio.home.json(&["sweep", "--now", "--json"]);
    forget(&mut trio.home);
    let after = trio.home.json(&["sweep", "--now", "--json"]);
    assert_eq!(count(&after), count(&before), "{after}");
    assert!(count(&after) > 300, "{after}");
    let (code, outcome) = trio.home.taken(&[]);
    assert_eq!(code, Some(0), "{outcome}");
    assert_eq!(outcome["files_read"], 0, "{outcome}");
    let to = trio.stage.path("back");
    let to_text = to.to_str().unwrap();
    trio.friend
        .succeeds(&["retrieve", "--author", "home", "--to", to_text]);
    assert_same_trees(&trio.files, &to);
}
