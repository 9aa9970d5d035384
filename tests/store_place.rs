//! What a Box keeps for the others lies where `box.toml` says, and is missed when its disk is not there.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;
use std::path::Path;

use stage::mounted::Mounted;
use stage::{BoxProcess, Stage, assert_same_trees, make_tree};

fn lie_at(of: &BoxProcess, place: &Path) {
    let path = of.dir.join("box.toml");
    let before = fs::read_to_string(&path).unwrap();
    let said = format!("[store]\npath = \"{}\"", place.display());
    let after = before.replace("[store]", &said);
    assert_ne!(before, after);
    fs::write(path, after).unwrap();
}

fn segments(place: &Path) -> usize {
    let names = fs::read_dir(place).into_iter().flatten();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("seg-")).count()
}

fn doctor(of: &BoxProcess) -> serde_json::Value {
    let output = of.run(&["doctor", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_store_lies_where_it_is_told_and_nowhere_else() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let home = stage.first_box("home", &files);
    let mut office = stage.new_box("office");
    let ticket = home.succeeds(&["invite"]);
    office.succeeds(&["join", "--name", "office", ticket.trim()]);
    let disk = stage.path("disk");
    let place = disk.join("kept for others");
    lie_at(&office, &place);
    // Its disk is not mounted yet: nothing is made in its place.
    let refused = office.run(&["keeper", "--listen", "127.0.0.1:0"]);
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("Is its disk mounted?"), "{told}");
    assert!(!disk.exists());

    fs::create_dir(&disk).unwrap();
    office.start();
    home.until_met("office");
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");
    assert!(segments(&place) > 0);
    assert!(!office.dir.join("store").exists());
    let told = doctor(&office).to_string();
    assert!(told.contains("kept for others"), "{told}");

    // Without a keeper it is read there as well.
    office.kill();
    let list = office.json(&["snapshots", "--json"]);
    assert_eq!(list[0]["author"], "home", "{list}");

    // The disk is unplugged: told, and nothing is begun in its place.
    let unplugged = stage.path("unplugged");
    fs::rename(&disk, &unplugged).unwrap();
    fs::create_dir(&disk).unwrap();
    office.start();
    let told = doctor(&office).to_string();
    assert!(told.contains("is its disk mounted?"), "{told}");
    assert!(!place.exists() && !office.dir.join("store").exists());
    office.kill();
    fs::remove_dir(&disk).unwrap();
    fs::rename(&unplugged, &disk).unwrap();
    office.start();
    let to = stage.path("back");
    let to_text = to.to_str().unwrap();
    office.succeeds(&["retrieve", "--author", "home", "--to", to_text]);
    assert_same_trees(&files, &to);

    // What goes round in circles is refused by name.
    let around = format!("all={}", disk.display());
    let refused = office.run(&["data", "add", &around]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && told.contains("circles"),
        "{told}"
    );
}

#[test]
fn a_store_whose_file_system_became_read_only_gives_all_it_has_and_takes_again_when_it_can() {
    let stage = Stage::new();
    let Some(disk) = Mounted::small(stage.path("disk"), 300) else {
        return;
    };
    let files = stage.path("files");
    make_tree(&files, 1);
    let home = stage.first_box("home", &files);
    let mut office = stage.new_box("office");
    let ticket = home.succeeds(&["invite"]);
    office.succeeds(&["join", "--name", "office", ticket.trim()]);
    lie_at(&office, &disk.path().join("store"));
    office.start();
    home.until_met("office");
    assert_eq!(home.taken(&[]).0, Some(0));

    office.kill();
    disk.remount("ro");
    office.start();
    home.until_met("office");
    home.until(&["status", "--json"], |status| status["safe"] == true);
    let found = doctor(&office);
    let mut lines = found.as_array().unwrap().iter();
    let store = lines.find(|line| line["code"] == "store").unwrap();
    assert_eq!(store["verdict"], "failure", "{store}");
    fs::write(files.join("news"), "they are not taken").unwrap();
    let refused = home.run(&["snapshot", "--wait"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");

    // Nobody starts it anew.
    disk.remount("rw");
    assert_eq!(home.taken(&[]).0, Some(0));

    office.kill();
    disk.remount("ro");
    office.start();
    let (mut home, back) = (home, stage.path("back"));
    home.destroy();
    let to = back.to_str().unwrap();
    office.succeeds(&["retrieve", "--author", "home", "--to", to]);
    assert_same_trees(&files, &back);
}
