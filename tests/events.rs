//! Events, as a person reads them: what happened is told once, what stands is known after a restart, and the end of each run is known.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use stage::{BoxProcess, Stage, make_tree};

fn events(of: &BoxProcess, more: &[&str]) -> Vec<Value> {
    let args = [&["events", "--json"], more].concat();
    let told = of.succeeds(&args);
    told.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Asks until there is such an event. The keeper tells; nothing here guesses how long it takes, only when to give up.
#[track_caller]
fn until(of: &BoxProcess, is_wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..900 {
        if let Some(found) = events(of, &[]).into_iter().find(|event| is_wanted(event)) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("never told: {:#?}\n{}", events(of, &[]), of.log());
}

fn is(event: &Value, kind: &str, phase: &str) -> bool {
    event["kind"] == kind && event["phase"] == phase
}

#[test]
fn a_box_that_goes_and_comes_back_is_one_episode_and_what_stands_is_known_after_a_restart() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    until(&home, |event| is(event, "box_joined", "moment"));
    office.kill();
    let raised = until(&home, |event| is(event, "box_out_of_reach", "raise"));
    assert_eq!(raised["type"], "warning", "{raised}");
    assert_eq!(raised["subject"]["box"], "office", "{raised}");
    assert_eq!(raised["text"], "office is out of reach", "{raised}");
    let shown = String::from_utf8(home.run(&["status"]).stdout).unwrap();
    assert!(shown.contains("WARNING"), "{shown}");

    // The power of home is cut; it still knows what stood, and that nobody ended it.
    home.kill();
    let told = home.run(&["events", "--json"]);
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(
        told.status.success() && said.contains("No keeper runs"),
        "{said}"
    );
    let at_rest: Value = serde_json::from_slice(&home.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(
        at_rest["standing"][0]["kind"], "box_out_of_reach",
        "{at_rest}"
    );
    home.start();
    until(&home, |event| is(event, "stopped_uncleanly", "moment"));
    office.start();
    let cleared = until(&home, |event| is(event, "box_out_of_reach", "clear"));
    assert_eq!(cleared["episode"], raised["sequence"], "{cleared}");
    assert_eq!(cleared["type"], "normal", "{cleared}");
    let all = events(&home, &[]);
    let again = all
        .iter()
        .filter(|event| is(event, "box_out_of_reach", "raise"))
        .count();
    assert_eq!(again, 1, "it stood already: {all:#?}");
    let numbers: Vec<_> = all.iter().map(|event| event["sequence"].as_u64()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");

    let since = format!("home:{}", raised["sequence"]);
    let later = events(&home, &["--since", &since]);
    assert!(
        later.len() < all.len() && is(&later[0], "stopped_uncleanly", "moment"),
        "{later:#?}"
    );
    let stranger = home.run(&["events", "--since", "cellar:1"]);
    assert_eq!(stranger.status.code(), Some(2), "{stranger:?}");

    home.stop();
    let last = events(&home, &[]).pop().unwrap();
    assert!(is(&last, "service_runs", "clear"), "{last}");
    home.start();
    let all = events(&home, &[]);
    let unclean = all
        .iter()
        .filter(|event| event["kind"] == "stopped_uncleanly")
        .count();
    assert_eq!(unclean, 1, "the last run was ended in good order: {all:#?}");
}

#[test]
fn who_follows_hears_of_a_snapshot_as_it_happens() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let home = stage.first_box("home", &files);
    let _office = stage.joined_box("office", &home);
    let mut following = home
        .command()
        .args(["events", "--follow", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    home.json(&["snapshot", "--wait", "--json"]);
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "snapshot_protected") {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        kinds.push(event["kind"].as_str().unwrap().to_owned());
    }
    assert!(kinds.contains(&"snapshot_taken".to_owned()), "{kinds:?}");
    following.kill().unwrap();
    following.wait().unwrap();

    // A data set that is gone is a failure by name, and over when it is back.
    let away = stage.path("away");
    std::fs::rename(&files, &away).unwrap();
    let failed = home.run(&["snapshot", "--wait"]);
    assert_eq!(failed.status.code(), Some(3), "{failed:?}");
    let missing = until(&home, |event| is(event, "data_set_missing", "raise"));
    assert_eq!(missing["subject"]["data_set"], "files", "{missing}");
    assert_eq!(missing["type"], "failure", "{missing}");
    std::fs::rename(&away, &files).unwrap();
    home.json(&["snapshot", "--wait", "--json"]);
    until(&home, |event| is(event, "data_set_missing", "clear"));
    until(&home, |event| is(event, "snapshot_failed", "clear"));
}
