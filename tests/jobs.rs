//! Long work of every sort is a job: listed with how far it is, not ended with the command that began it, ended by a person where that
//! leaves nothing half done.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, Stdio};

use serde_json::Value;
use stage::trio::Trio;
use stage::{BoxProcess, Stage, make_tree, signal};

fn last(jobs: &Value) -> &Value {
    jobs.as_array()
        .and_then(|jobs| jobs.last())
        .unwrap_or(&Value::Null)
}

/// Waits until the newest job is as wanted.
#[track_caller]
fn until_last(at: &BoxProcess, wanted: impl Fn(&Value) -> bool) -> Value {
    last(&at.until(&["jobs", "--json"], |jobs| wanted(last(jobs)))).clone()
}

/// Begins a command, whoever looks at it.
fn begin(at: &BoxProcess, args: &[&str]) -> Child {
    let mut command = at.command();
    let piped = command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    piped.spawn().unwrap()
}

fn killed(mut command: Child) {
    command.kill().unwrap();
    command.wait().unwrap();
}

/// Damages a chunk in a store; its other copies are elsewhere.
fn rot(keeper: &BoxProcess, at_mib: u64) {
    let path = keeper.dir.join("store/seg-000001");
    let segment = File::options().write(true).open(path).unwrap();
    segment.write_all_at(&[0xa5; 4096], at_mib << 20).unwrap();
}

#[test]
fn a_sweep_goes_on_without_its_command_and_is_ended_when_told() {
    let Trio {
        stage: _stage,
        home,
        office,
        friend,
        ..
    } = Trio::protected();
    office.until_met("friend");
    let stop = |name| {
        signal(name, home.pid());
        signal(name, friend.pid());
    };
    // What it finds damaged it asks others for, and they do not answer for now.
    rot(&office, 6);
    stop("-STOP");
    let sweeping = begin(&office, &["sweep", "--now"]);
    let is_reading = |job: &Value| {
        let read = job["progress"]["bytes_read"].as_u64();
        job["what"] == "sweep" && job["state"] == "running" && read > Some(0)
    };
    let job = until_last(&office, is_reading);
    let far = &job["progress"];
    assert!(
        far["bytes_total"].as_u64() >= far["bytes_read"].as_u64(),
        "{job}"
    );
    killed(sweeping);
    let id = job["id"].to_string();
    let listed = office.succeeds(&["jobs"]);
    assert!(listed.contains("sweep     running"), "{listed}");
    stop("-CONT");
    let job = until_last(&office, |job| job["state"] == "done");
    assert_eq!(job["id"].to_string(), id, "{job}");
    let outcome = &job["outcome"];
    assert!(outcome["damaged_count"].as_u64() > Some(0), "{job}");
    let far = &job["progress"];
    assert_eq!(far["bytes_read"], far["bytes_total"], "{job}");
    // Whoever asks for it later is told the same.
    let followed = office.run(&["jobs", "follow", &id]);
    let told = String::from_utf8_lossy(&followed.stdout).into_owned();
    assert!(
        told.contains("places of the store are damaged"),
        "{followed:?}"
    );

    rot(&office, 9);
    stop("-STOP");
    let sweeping = begin(&office, &["sweep", "--now"]);
    let job = until_last(&office, is_reading);
    assert_eq!(job["can_be_cancelled"], true, "{job}");
    office.succeeds(&["jobs", "cancel", &job["id"].to_string()]);
    stop("-CONT");
    let ended = sweeping.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("the sweep was cancelled (job "), "{told}");
    let job = until_last(&office, |job| job["fault"] != Value::Null);
    assert_eq!(job["state"], "cancelled", "{job}");
    assert_eq!(job["can_be_cancelled"], false, "{job}");
    // It begins anew, and by then everything is whole again.
    office.until(&["sweep", "--now", "--json"], |view| {
        view["still_damaged"] == 0
    });
}

#[test]
fn a_removal_goes_on_without_its_command_and_is_ended_before_anything_is_signed() {
    let Trio {
        stage: _stage,
        home,
        office: _office,
        friend,
        ..
    } = Trio::protected();
    // Friend is to have everything before office leaves, and does not answer for now.
    signal("-STOP", friend.pid());
    let leaving = begin(&home, &["remove", "office"]);
    let is_leaving = |job: &Value| {
        job["what"] == "remove" && job["subject"] == "office" && job["state"] == "running"
    };
    let job = until_last(&home, is_leaving);
    let id = job["id"].to_string();
    home.succeeds(&["jobs", "cancel", &id]);
    let ended = leaving.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(
        told.contains("Nobody was removed; what was copied stays."),
        "{told}"
    );
    assert_eq!(home.json(&["peers", "--json"]).as_array().unwrap().len(), 3);
    signal("-CONT", friend.pid());

    home.until_met("friend");
    let leaving = begin(&home, &["remove", "office"]);
    let job = until_last(&home, |next| next["id"] != job["id"]);
    killed(leaving);
    let id = job["id"].to_string();
    let job = until_last(&home, |job| job["state"] == "done");
    assert_eq!(
        (job["id"].to_string(), &job["outcome"]["name"]),
        (id.clone(), &"office".into())
    );
    let counted = &job["progress"]["counted"];
    assert!(counted["done"].as_u64() > Some(0), "{job}");
    assert_eq!(
        (&counted["what"], &counted["done"]),
        (&"snapshots".into(), &counted["total"])
    );
    let followed = home.succeeds(&["jobs", "follow", &id]);
    assert!(followed.contains("office has left"), "{followed}");
    assert_eq!(home.json(&["peers", "--json"]).as_array().unwrap().len(), 2);
    let late = home.run(&["jobs", "cancel", &id]);
    assert_eq!(late.status.code(), Some(1), "{late:?}");

    // Letting go of snapshots is a job too, also where it is only looked what would go.
    home.json(&["snapshot", "--wait", "--json"]);
    home.succeeds(&["forget", "1"]);
    let job = until_last(&home, |job| job["what"] == "forget");
    assert_eq!(job["outcome"]["leaving"][0]["number"], 1, "{job}");
    let counted = &job["progress"]["counted"];
    assert_eq!(
        (&counted["done"], &counted["total"]),
        (&2.into(), &2.into()),
        "{job}"
    );
    let listed = home.succeeds(&["jobs"]);
    assert!(listed.contains("1 snapshot would leave"), "{listed}");
}

#[test]
fn without_a_terminal_a_snapshot_says_in_plain_lines_how_far_it_is() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    // It answers nothing for now, and nobody else is asked.
    signal("-STOP", office.pid());
    let mut taking = begin(&home, &["snapshot", "--wait"]);
    let line = BufReader::new(taking.stderr.take().unwrap()).lines().next();
    signal("-CONT", office.pid());
    let line = line.unwrap().unwrap();
    assert_eq!(line, "protecting: 0 B, 0 B/s, 0 files, starting");
    assert_eq!(taking.wait().unwrap().code(), Some(0));
    let job = last(&home.json(&["jobs", "--json"])).clone();
    let far = &job["progress"];
    // A photo, 300 texts and 5 others.
    assert_eq!(
        (&far["files"], &far["files_total"]),
        (&306.into(), &306.into())
    );
    assert!(far["bytes_read"].as_u64() > Some(3_000_000), "{job}");
    assert_eq!(far["bytes_read"], far["bytes_total"], "{job}");
}
