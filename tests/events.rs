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

use serde_json::Value;
use stage::{BoxProcess, Stage, make_tree};

fn events(of: &BoxProcess, more: &[&str]) -> Vec<Value> {
    of.events(more)
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
    home.until_told("box_joined", "moment", |_| true);
    office.kill();
    let raised = home.until_told("box_out_of_reach", "raise", |_| true);
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
    home.until_told("stopped_uncleanly", "moment", |_| true);
    office.start();
    let cleared = home.until_told("box_out_of_reach", "clear", |_| true);
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
    let missing = home.until_told("data_set_missing", "raise", |_| true);
    assert_eq!(missing["subject"]["data_set"], "files", "{missing}");
    assert_eq!(missing["type"], "failure", "{missing}");
    std::fs::rename(&away, &files).unwrap();
    home.json(&["snapshot", "--wait", "--json"]);
    home.until_told("data_set_missing", "clear", |_| true);
    home.until_told("snapshot_failed", "clear", |_| true);
}

#[test]
fn a_changed_setting_is_told_on_every_box_with_who_changed_it_from_what_to_what() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    home.succeeds(&["config", "set", "warning_window_days.disk", "90"]);
    for told_by in [&home, &office] {
        let told = told_by.until_told("configuration_changed", "moment", |_| true);
        assert_eq!(told["subject"], "reserve", "{told}");
        let facts = &told["facts"];
        assert_eq!(
            facts["setting"]["text"], "warning_window_days.disk",
            "{told}"
        );
        assert_eq!(
            (&facts["before"]["text"], &facts["now"]["text"]),
            (&"30".into(), &"90".into())
        );
        assert_eq!(facts["by"]["text"], "home", "{told}");
    }
    // One that was off hears of it when it returns; saying the same again is no change.
    office.stop();
    home.succeeds(&["config", "set", "sweep_period_days", "60"]);
    home.succeeds(&["config", "set", "sweep_period_days", "60"]);
    office.start();
    office.until_told("configuration_changed", "moment", |event| {
        let facts = &event["facts"];
        facts["setting"]["text"] == "sweep_period_days" && facts["by"]["text"] == "home"
    });
    for told_by in [&home, &office] {
        let all = told_by.events(&[]).into_iter();
        let changes = all.filter(|event| event["kind"] == "configuration_changed");
        assert_eq!(changes.count(), 2, "{}", told_by.name);
    }
    let shown = home.succeeds(&["events"]);
    assert!(
        shown.contains("sweep_period_days; from 30 to 60; by home"),
        "{shown}"
    );
}
