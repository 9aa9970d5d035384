//! Snapshots asked for at once: one is taken after the other, and the one that waits says so.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::process::{Child, Stdio};

use serde_json::Value;
use stage::{BoxProcess, Stage, make_tree, noise, signal};

/// Asks for a snapshot and waits for its end elsewhere.
fn asked(home: &BoxProcess) -> Child {
    let mut command = home.command();
    command.args(["snapshot", "--wait", "--json"]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Number and state of each job.
fn states(jobs: &Value) -> Vec<(u64, &str)> {
    let jobs = jobs.as_array().map(Vec::as_slice).unwrap_or_default();
    let number = |job: &Value| job["id"].as_u64().unwrap();
    jobs.iter()
        .map(|job| (number(job), job["state"].as_str().unwrap()))
        .collect()
}

#[test]
fn of_two_snapshots_asked_for_at_once_one_waits_and_says_so_and_both_are_taken() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let before = home.json(&["snapshot", "--wait", "--json"]);
    let before = before["snapshot"]["number"].as_u64().unwrap();
    let done = states(&home.json(&["jobs", "--json"])).len();

    // Stopped, office takes nothing: what runs does not end by itself.
    std::fs::write(files.join("more"), noise("more", 3_000_000)).unwrap();
    signal("-STOP", office.pid());
    let running = asked(&home);
    let is_in = |jobs: &Value, at: usize, state: &str| {
        states(jobs)
            .get(done + at)
            .is_some_and(|job| job.1 == state)
    };
    home.until(&["jobs", "--json"], |jobs| is_in(jobs, 0, "running"));
    let waiting = asked(&home);
    let jobs = home.until(&["jobs", "--json"], |jobs| is_in(jobs, 1, "waiting"));
    assert!(is_in(&jobs, 0, "running"), "{jobs}");
    let why = jobs[done + 1]["progress"]["phase"].as_str().unwrap();
    assert_eq!(why, "waiting for the one before it");
    let shown = home.succeeds(&["jobs"]);
    let line = shown.lines().find(|line| line.contains("waiting "));
    assert!(line.is_some_and(|line| line.contains(why)), "{shown}");

    // A third would see no more than the second will: it is the second.
    let third = home.json(&["snapshot", "--json"]);
    assert_eq!(third["job"], jobs[done + 1]["id"], "{third}");
    assert_eq!(states(&home.json(&["jobs", "--json"])).len(), done + 2);

    signal("-CONT", office.pid());
    for (asked, number) in [(running, before + 1), (waiting, before + 2)] {
        let output = asked.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}\n{}", home.log());
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(outcome["snapshot"]["number"], number, "{outcome}");
    }
    let jobs = home.json(&["jobs", "--json"]);
    assert!(
        states(&jobs)[done..].iter().all(|job| job.1 == "done"),
        "{jobs}"
    );
}
