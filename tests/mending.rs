//! What keepers confirmed is remembered: a keeper, or an author, that was started anew is asked for the newest snapshot, and for older
//! ones only if the keeper lost something.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use stage::{BoxProcess, Stage, noise};

/// The same files with other contents each time: what is older is in no newer snapshot.
fn write_anew(files: &Path, round: u32) {
    fs::create_dir_all(files).unwrap();
    for number in 0..4 {
        let contents = noise(&format!("{round} {number}"), 3_000_000);
        fs::write(files.join(format!("{number}.jpg")), contents).unwrap();
    }
}

fn asked(keeper: &BoxProcess) -> u64 {
    let status = keeper.json(&["status", "--json"]);
    status["store"]["asked"].as_u64().unwrap()
}

fn chunks(keeper: &BoxProcess) -> u64 {
    let status = keeper.json(&["status", "--json"]);
    status["store"]["chunks"].as_u64().unwrap()
}

/// How often home said so of office.
fn said(home: &BoxProcess, what: &str) -> usize {
    let log = home.log();
    let lines = log.lines().filter(|line| line.contains(what));
    lines.filter(|line| line.contains("keeper=office")).count()
}

const LOOKED: &str = "looked after the copies of all snapshots";
const STANDS: &str = "what it confirmed before stands";

#[track_caller]
fn until_said(home: &BoxProcess, what: &str, more_than: usize) {
    home.until(&["status", "--json"], |status| {
        status["safe"] == true && said(home, what) > more_than
    });
}

#[test]
fn a_restart_costs_the_newest_snapshot_and_damage_costs_all_of_them() {
    let stage = Stage::new();
    let files = stage.path("files");
    write_anew(&files, 0);
    let mut home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let _friend = stage.joined_box("friend", &home);
    home.json(&["snapshot", "--wait", "--json"]);
    let one = chunks(&office);
    for round in 1..4 {
        write_anew(&files, round);
        home.json(&["snapshot", "--wait", "--json"]);
    }
    let all = chunks(&office);
    assert!(
        all > 3 * one,
        "{all} chunks of four snapshots, {one} of one"
    );
    // Begun by a new session: then all four are known to have been confirmed.
    office.stop();
    office.start();
    until_said(&home, LOOKED, 0);
    let log = home.log();
    let all_of_all = "snapshots=4 of=4 ";
    assert!(log.contains(all_of_all), "{all_of_all}: {log}");

    let looked = said(&home, LOOKED);
    for which in ["keeper", "author"] {
        let before = said(&home, STANDS);
        office.stop();
        if which == "author" {
            home.stop();
            home.start();
        }
        office.start();
        until_said(&home, STANDS, before);
        let asked = asked(&office);
        assert!(asked <= 2 * one, "{which}: {asked} of {all} were asked for");
        assert_eq!(said(&home, LOOKED), looked, "{which}");
    }

    // What lies in an older snapshot rots while the keeper is off. Nobody confirms that unread.
    office.kill();
    let segment = office.dir.join("store/seg-000001");
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(b"rotten", 1_000_000).unwrap();
    file.sync_all().unwrap();
    drop(file);
    office.start();
    until_said(&home, LOOKED, looked);
    assert!(asked(&office) >= all, "everything was asked for again");
    office.until(&["status", "--json"], |status| {
        status["store"]["damaged"] == 0
    });
    office.until_told("chunk_damaged", "clear", |_| true);
}
