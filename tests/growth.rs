//! The story of a data set that lives: files are renamed, copied, appended to and inserted into, and only what is new is sent.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs::{self, File};
use std::io::Write;

use serde_json::Value;
use stage::{BoxProcess, Stage, assert_same_trees, noise};

const MIB: u64 = 1 << 20;

/// Photos, a film of 24 MiB, and 400 notes.
fn make_media(root: &std::path::Path) {
    fs::create_dir_all(root.join("photos")).unwrap();
    for number in 0..4 {
        let name = format!("photos/{number}.jpg");
        fs::write(root.join(&name), noise(&name, 3_000_000)).unwrap();
    }
    fs::write(root.join("film.mp4"), noise("film", 24 << 20)).unwrap();
    fs::create_dir_all(root.join("notes")).unwrap();
    for number in 0..400 {
        let name = format!("notes/{number:03}");
        fs::write(root.join(&name), noise(&name, 500 + number * 20)).unwrap();
    }
}

fn snapshot(home: &BoxProcess) -> Value {
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");
    outcome
}

#[track_caller]
fn assert_new(outcome: &Value, data_chunks_max: u64, bytes_max: u64) {
    // Besides data: pages, nodes and the manifest.
    let chunks = outcome["chunks_new"].as_u64().unwrap();
    assert!(chunks <= data_chunks_max + 6, "{outcome}");
    let bytes = outcome["bytes_new"].as_u64().unwrap();
    assert!(bytes <= bytes_max, "{outcome}");
    for keeper in outcome["keepers"].as_array().unwrap() {
        assert!(keeper["sent_bytes"].as_u64() <= Some(bytes), "{outcome}");
    }
}

#[test]
fn only_what_is_new_is_stored_and_sent() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_media(&files);
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let _friend = stage.joined_box("friend", &home);
    let first = snapshot(&home);
    assert!(first["bytes_new"].as_u64() > Some(38_000_000), "{first}");
    assert_eq!(first["keepers"].as_array().map(Vec::len), Some(2));
    for keeper in first["keepers"].as_array().unwrap() {
        assert_eq!(keeper["sent_bytes"], first["bytes_new"], "{first}");
    }

    // Renamed: one large file, and a directory of small ones.
    fs::rename(files.join("film.mp4"), files.join("wedding.mp4")).unwrap();
    fs::rename(files.join("notes"), files.join("diary")).unwrap();
    let renamed = snapshot(&home);
    assert_new(&renamed, 0, 100_000);
    assert_eq!(renamed["snapshot"]["accepted"], true, "moved is not gone");

    // Copied.
    fs::copy(files.join("wedding.mp4"), files.join("copy.mp4")).unwrap();
    fs::copy(files.join("diary/007"), files.join("photos/note")).unwrap();
    assert_new(&snapshot(&home), 0, 100_000);

    // Appended to.
    let mut log = File::options()
        .append(true)
        .open(files.join("photos/1.jpg"))
        .unwrap();
    log.write_all(b"a caption").unwrap();
    assert_new(&snapshot(&home), 1, 2 * MIB + 100_000);

    // Inserted into, in the middle.
    let mut film = fs::read(files.join("copy.mp4")).unwrap();
    film.splice(12_000_000..12_000_000, *b"a scene that was cut");
    fs::write(files.join("copy.mp4"), film).unwrap();
    assert_new(&snapshot(&home), 3, 6 * MIB + 100_000);

    // One small file changed.
    fs::write(files.join("diary/100"), "changed").unwrap();
    assert_new(&snapshot(&home), 1, 100_000);

    let to = stage.path("came-back");
    let to_text = to.to_str().unwrap();
    office.json(&["retrieve", "--author", "home", "--to", to_text, "--json"]);
    assert_same_trees(&files, &to);
    assert!(home.peak_kib() <= 64 << 10, "{} KiB", home.peak_kib());
}

#[test]
fn a_snapshot_that_was_killed_in_the_middle_sends_nothing_twice() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_media(&files);
    for number in 0..60 {
        let name = format!("photos/more {number}.jpg");
        fs::write(files.join(&name), noise(&name, 3_000_000)).unwrap();
    }
    let mut home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let _friend = stage.joined_box("friend", &home);
    home.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().cloned().unwrap_or_default();
        peers
            .iter()
            .filter(|peer| peer["connected"] == true)
            .count()
            == 3
    });
    home.json(&["snapshot", "--json"]);
    let running = home.until(&["status", "--json"], |status| {
        status["job"]["bytes_sent"].as_u64() > Some(40 * MIB) || status["latest"].is_object()
    });
    home.kill();
    let acknowledged = running["job"]["bytes_sent"].as_u64();
    let acknowledged = acknowledged.expect("it was killed while it ran: make the story larger");
    // A file at the start changed meanwhile: the packs behind it come out as they were.
    fs::write(files.join("notes/000"), "changed while it was off").unwrap();
    home.start();
    let second = snapshot(&home);
    let sealed = second["bytes_sealed"].as_u64().unwrap();
    let sent = second["bytes_sent"].as_u64().unwrap();
    assert!(
        sent <= 2 * sealed - acknowledged + 2 * MIB,
        "{acknowledged} were acknowledged before, {second}"
    );
    assert!(second["bytes_new"].as_u64() < Some(sealed), "{second}");
    let to = stage.path("came-back");
    let to_text = to.to_str().unwrap();
    office.json(&["retrieve", "--author", "home", "--to", to_text, "--json"]);
    assert_same_trees(&files, &to);
}

#[test]
fn a_box_in_the_place_of_a_lost_one_sends_nothing_again() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_media(&files);
    let mut home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let _friend = stage.joined_box("friend", &home);
    snapshot(&home);
    home.destroy();
    let removed = office.run(&["remove", "home", "--lost", "--guests", "keep", "--json"]);
    assert!(removed.status.success(), "{removed:?}");
    let mut new = stage.new_box("new");
    let ticket = office.succeeds(&["invite"]);
    new.succeeds(&["join", "--name", "new", "--replaces", "home", ticket.trim()]);
    new.start();
    let to = stage.path("came-back");
    new.until(&["snapshots", "--json"], |list| {
        list.as_array().is_some_and(|list| !list.is_empty())
    });
    let to_text = to.to_str().unwrap();
    new.json(&["retrieve", "--author", "home", "--to", to_text, "--json"]);
    assert_same_trees(&files, &to);
    new.succeeds(&["data", "add", &format!("files={to_text}")]);
    // Everything is read, since nothing is remembered, and found under the key of the epoch before.
    let again = snapshot(&new);
    assert!(again["bytes_read"].as_u64() > Some(38_000_000), "{again}");
    assert_new(&again, 0, 200_000);
}
