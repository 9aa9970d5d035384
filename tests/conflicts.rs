//! Two histories of one Box: its disk was copied, and both copies took snapshots that bear one number. Every Box keeps both and says so,
//! nothing is guessed, a person decides, and the Box goes on. And what is no conflict: a Box restored from an old image.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use stage::trio::Trio;
use stage::{BoxProcess, Stage, assert_same_trees};

/// The disk of a Box whose keeper does not run, copied bit for bit.
fn copied(stage: &Stage, from: &Path, name: &str) -> PathBuf {
    let to = stage.path(name);
    let copied = Command::new("cp").arg("-a").arg(from).arg(&to).status();
    assert!(copied.unwrap().success());
    to
}

/// Has it take a snapshot and waits until its head is on another Box.
#[track_caller]
fn take(author: &BoxProcess, on: &BoxProcess, number: u64) -> String {
    author.until_met(&on.name);
    author.succeeds(&["snapshot"]);
    let list = on.until(&["snapshots", "--json"], |list| {
        let list = list.as_array().unwrap();
        list.iter()
            .any(|one| one["number"] == number && one["author"] == "home")
    });
    let list = list.as_array().unwrap().iter();
    let taken: Vec<_> = list
        .filter(|one| one["number"] == number && one["author"] == "home")
        .collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    taken[0]["id"].as_str().unwrap().to_owned()
}

fn side<'a>(conflict: &'a Value, id: &str) -> &'a Value {
    let sides = conflict["sides"].as_array().unwrap();
    sides
        .iter()
        .find(|side| side["snapshot"]["id"] == id)
        .unwrap()
}

struct Parted {
    trio: Trio,
    /// What home holds now, and its snapshot of that.
    ours: String,
    /// What the copy of its disk held, and its snapshot.
    theirs: String,
    as_theirs: PathBuf,
    copy: BoxProcess,
}

/// Home's disk is copied. Home takes its second snapshot while only office can be reached, the copy while only friend can.
fn parted() -> Parted {
    let mut trio = Trio::protected();
    trio.home.stop();
    let mut copy = trio.stage.new_box("copy");
    copy.dir = copied(&trio.stage, &trio.home.dir, "copy-of-home");

    trio.office.stop();
    copy.start();
    fs::write(trio.files.join("only there"), "what the copy saw").unwrap();
    let theirs = take(&copy, &trio.friend, 2);
    copy.stop();
    let as_theirs = copied(&trio.stage, &trio.files, "as-theirs");

    trio.friend.stop();
    trio.office.start();
    trio.home.start();
    fs::remove_file(trio.files.join("only there")).unwrap();
    fs::write(trio.files.join("only here"), "what home saw, which is more").unwrap();
    let ours = take(&trio.home, &trio.office, 2);
    trio.home.stop();
    assert_ne!(ours, theirs);
    trio.friend.start();
    Parted {
        trio,
        ours,
        theirs,
        as_theirs,
        copy,
    }
}

#[test]
fn two_newest_snapshots_are_kept_and_told_everywhere_and_stand_for_nothing_until_a_person_chooses()
{
    let Parted {
        mut trio,
        ours,
        theirs,
        as_theirs,
        ..
    } = parted();
    for of in [&trio.office, &trio.friend] {
        let told = of.until_told("unresolved_conflict", "raise", |_| true);
        assert_eq!(told["type"], "warning", "{told}");
        assert!(
            told["text"].to_string().contains("reserve conflicts"),
            "{told}"
        );
        of.until_told("history_parted", "moment", |_| true);
        let status = of.until(&["status", "--json"], |status| {
            status["conflicts"] != serde_json::json!([])
        });
        let open = serde_json::json!([{ "author": "home", "number": 2 }]);
        assert_eq!(status["conflicts"], open);
        let screen = String::from_utf8(of.run(&["status"]).stdout).unwrap();
        assert!(
            screen.contains("WARNING") && screen.contains("reserve conflicts"),
            "{screen}"
        );
    }

    // Each side is on both in full, also what only one of them was sent.
    let conflicts = trio.office.until(&["conflicts", "--json"], |conflicts| {
        let sides = conflicts[0]["sides"].as_array();
        sides.is_some_and(|sides| sides.len() == 2 && sides.iter().all(|side| side["copies"] == 2))
    });
    let conflict = &conflicts[0];
    assert_eq!(conflicts.as_array().unwrap().len(), 1);
    assert_eq!(
        (&conflict["open"], &conflict["from"], &conflict["until"]),
        (&true.into(), &2.into(), &2.into())
    );
    for (id, files) in [(&ours, &trio.files), (&theirs, &as_theirs)] {
        let side = side(conflict, id);
        assert_eq!(side["stance"], "open");
        assert_eq!(side["snapshot"]["held_by"].as_array().unwrap().len(), 2);
        assert_eq!(side["data_sets"][0]["alike"], false);
        let regular = stage::tree(files)
            .values()
            .filter(|told| told.contains("is_file: true"))
            .count();
        assert_eq!(side["data_sets"][0]["files"], regular);
    }

    // Nothing is guessed: both are named, and what nobody disputes.
    let first = trio.office.json(&["snapshots", "--json"]);
    let first = first
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["number"] == 1)
        .unwrap()["id"]
        .clone();
    let to = trio.stage.path("guess");
    let asked = ["retrieve", "--author", "home", "--to", to.to_str().unwrap()];
    let refused = trio.office.run(&asked);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{told}");
    for words in [
        ours.as_str(),
        theirs.as_str(),
        first.as_str().unwrap(),
        "reserve conflicts",
        "Nothing was written",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!to.exists());
    assert_eq!(conflict["undisputed"], first);

    // Each can be had by its name, from either.
    for (nth, (from, id, files)) in [
        (&trio.office, &theirs, &as_theirs),
        (&trio.friend, &ours, &trio.files),
    ]
    .into_iter()
    .enumerate()
    {
        let to = trio.stage.path(&format!("by-id-{nth}"));
        from.succeeds(&[
            "retrieve",
            "--author",
            "home",
            "--snapshot",
            id,
            "--to",
            to.to_str().unwrap(),
        ]);
        assert_same_trees(files, &to);
    }

    // What names no side decides nothing.
    let refused = trio
        .office
        .run(&["conflicts", "--choose", first.as_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");

    // A person decides on one Box, and all of them heed it, also after a restart.
    let decided = trio
        .friend
        .json(&["conflicts", "--choose", &theirs, "--json"]);
    assert_eq!(
        (&decided[0]["open"], &decided[0]["chosen_on"]),
        (&false.into(), &"friend".into())
    );
    assert_eq!(side(&decided[0], &theirs)["stance"], "stands");
    assert_eq!(side(&decided[0], &ours)["stance"], "not_chosen");
    for of in [&trio.office, &trio.friend] {
        let told = of.until_told("unresolved_conflict", "clear", |_| true);
        assert!(told["text"].to_string().contains("friend"), "{told}");
    }
    trio.office.stop();
    trio.office.start();
    trio.office.until_met("friend");
    let status = trio.office.run(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["conflicts"], serde_json::json!([]));
    let to = trio.stage.path("chosen");
    trio.office
        .succeeds(&["retrieve", "--author", "home", "--to", to.to_str().unwrap()]);
    assert_same_trees(&as_theirs, &to);
    let raised = trio
        .office
        .events(&[])
        .into_iter()
        .filter(|event| event["kind"] == "unresolved_conflict" && event["phase"] == "raise");
    assert_eq!(raised.count(), 1, "one episode");

    // Home comes back: it had the other one, and goes on from what was chosen.
    trio.home.start();
    trio.home.until(&["conflicts", "--json"], |conflicts| {
        conflicts[0]["chosen_on"] == "friend"
    });
    let outcome = trio.home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(
        (&outcome["snapshot"]["number"], &outcome["protected"]),
        (&3.into(), &true.into())
    );
    let to = trio.stage.path("goes-on");
    trio.friend
        .succeeds(&["retrieve", "--author", "home", "--to", to.to_str().unwrap()]);
    assert_same_trees(&trio.files, &to);
    let after = trio.friend.json(&["conflicts", "--json"]);
    assert_eq!(side(&after[0], &theirs)["stance"], "stands");
    assert_eq!(side(&after[0], &ours)["stance"], "not_chosen");
}

#[test]
fn the_history_that_goes_on_decides_without_anybody_and_the_other_side_stays() {
    let Parted {
        mut trio,
        ours,
        theirs,
        as_theirs,
        ..
    } = parted();
    trio.office
        .until_told("unresolved_conflict", "raise", |_| true);
    trio.home.start();
    fs::write(trio.files.join("later"), "home goes on").unwrap();
    let outcome = trio.home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["snapshot"]["number"], 3, "{outcome}");
    trio.office
        .until_told("unresolved_conflict", "clear", |_| true);
    let conflicts = trio.office.json(&["conflicts", "--json"]);
    assert_eq!(
        (&conflicts[0]["open"], &conflicts[0]["chosen_on"]),
        (&false.into(), &Value::Null)
    );
    assert_eq!(side(&conflicts[0], &ours)["stance"], "stands");
    assert_eq!(side(&conflicts[0], &theirs)["stance"], "aside");
    let to = trio.stage.path("aside");
    trio.office.succeeds(&[
        "retrieve",
        "--author",
        "home",
        "--snapshot",
        &theirs,
        "--to",
        to.to_str().unwrap(),
    ]);
    assert_same_trees(&as_theirs, &to);
    trio.comes_back_from_office_alone();
}

#[test]
fn a_disk_that_runs_in_two_machines_at_once_is_told_and_both_are_kept() {
    let Parted {
        mut trio, mut copy, ..
    } = parted();
    trio.home.start();
    copy.start();
    for of in [&trio.office, &trio.friend] {
        let told = of.until_told("box_runs_twice", "raise", |_| true);
        assert_eq!(told["type"], "failure", "{told}");
        let told = told["text"].to_string();
        assert!(
            told.contains("home") && told.contains("switch off the copy"),
            "{told}"
        );
    }
    copy.stop();
    let snapshots = trio.office.json(&["snapshots", "--json"]);
    let second = snapshots
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["number"] == 2);
    assert_eq!(second.count(), 2);
}

#[test]
fn a_box_restored_from_an_old_image_uses_no_number_again_and_is_no_conflict() {
    let mut trio = Trio::protected();
    trio.home.stop();
    let image = copied(&trio.stage, &trio.home.dir, "image");
    trio.home.start();
    for round in ["second", "third"] {
        fs::write(trio.files.join(round), round).unwrap();
        let outcome = trio.home.json(&["snapshot", "--wait", "--json"]);
        assert_eq!(outcome["protected"], true, "{outcome}");
    }
    trio.home.stop();
    fs::remove_dir_all(&trio.home.dir).unwrap();
    fs::rename(&image, &trio.home.dir).unwrap();
    trio.home.start();
    fs::write(trio.files.join("after the image"), "new").unwrap();
    let outcome = trio.home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["snapshot"]["number"], 4, "{outcome}");
    for of in [&trio.home, &trio.office, &trio.friend] {
        assert_eq!(of.json(&["conflicts", "--json"]), serde_json::json!([]));
        let wrong = ["unresolved_conflict", "history_parted", "box_runs_twice"];
        let told = of.events(&[]);
        let told = told
            .iter()
            .filter(|event| wrong.iter().any(|kind| event["kind"] == *kind));
        assert_eq!(told.count(), 0);
    }
    trio.comes_back_from_office_alone();
}
