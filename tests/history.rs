//! History of real processes: what leaves is seen before, everything can be retrieved until it is gone, and it can be taken back. That space
//! comes back a week or a month later is told in the simulated world, where time passes.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use stage::trio::Trio;
use stage::{BoxProcess, assert_same_trees, make_tree};

/// Home with three snapshots, the third of which stands in `files` as it is.
struct Past {
    reserve: Trio,
    /// How the files were at the first two.
    before: [PathBuf; 2],
}

impl Past {
    fn of_three() -> Self {
        let reserve = Trio::protected();
        let before = [1, 2].map(|number| {
            let kept = reserve.stage.path(&format!("as-it-was-{number}"));
            copy(&reserve.files, &kept);
            make_tree(&reserve.files.join(format!("more{number}")), 4);
            fs::write(reserve.files.join("letter"), format!("letter {number}\n")).unwrap();
            let outcome = reserve.home.json(&["snapshot", "--wait", "--json"]);
            assert_eq!(outcome["protected"], true, "{outcome}");
            kept
        });
        Self { reserve, before }
    }

    fn comes_back(&self, number: usize, name: &str) {
        let to = self.reserve.stage.path(name);
        self.reserve.office.succeeds(&[
            "retrieve",
            "--author",
            "home",
            "--snapshot",
            &number.to_string(),
            "--to",
            to.to_str().unwrap(),
        ]);
        let expected = self.before.get(number - 1).unwrap_or(&self.reserve.files);
        assert_same_trees(expected, &to);
    }
}

/// With times and rights, as `cp --archive` does it.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    let done = std::process::Command::new("cp")
        .arg("--archive")
        .arg(from)
        .arg(to)
        .status();
    assert!(done.unwrap().success());
}

fn numbers(view: &Value, what: &str) -> Vec<u64> {
    let list = view[what].as_array().unwrap();
    list.iter()
        .map(|one| one["number"].as_u64().unwrap())
        .collect()
}

/// Numbers of home's snapshots that leave, as a Box lists them.
fn leaving(on: &BoxProcess) -> Vec<u64> {
    let list = on.json(&["snapshots", "--json"]);
    let list = list.as_array().unwrap().iter();
    let list = list.filter(|one| one["author"] == "home" && one["is_leaving"] == true);
    let mut numbers: Vec<u64> = list.map(|one| one["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn stands(status: &Value, kind: &str) -> bool {
    let standing = status["standing"].as_array().unwrap();
    standing.iter().any(|event| event["kind"] == kind)
}

#[test]
fn what_leaves_is_shown_before_stays_retrievable_until_it_is_gone_and_is_taken_back() {
    let mut past = Past::of_three();
    let home = &past.reserve.home;

    // Looking changes nothing.
    let look = home.json(&["forget", "1", "3", "--json"]);
    assert_eq!(look["carried_out"], false, "{look}");
    assert_eq!(numbers(&look, "leaving"), [1]);
    assert_eq!(numbers(&look, "staying"), [3]);
    assert!(leaving(home).is_empty());
    let told = home.succeeds(&["forget", "1"]);
    assert!(
        told.contains("would leave") && told.contains("--yes"),
        "{told}"
    );

    let done = home.json(&["forget", "1", "2", "--yes", "--json"]);
    assert_eq!(done["carried_out"], true, "{done}");
    assert_eq!(numbers(&done, "leaving"), [1, 2]);
    for share in done["keepers"].as_array().unwrap() {
        assert_eq!(share["is_told"], true, "{share}");
        let days = share["effective_seconds"]
            .as_u64()
            .unwrap_or(0)
            .div_ceil(24 * 3600);
        assert!(share["chunks"] == 0 || days == 30, "{share}");
    }
    assert_eq!(leaving(home), [1, 2]);
    past.comes_back(1, "back-1");

    // A keeper that was off in between waits on, and tells it.
    past.reserve.office.kill();
    past.reserve.office.start();
    past.reserve.home.until_met("office");
    assert_eq!(leaving(&past.reserve.home), [1, 2]);
    let office = &past.reserve.office;
    office.until(&["status", "--json"], |status| {
        stands(status, "release_pending")
    });
    past.comes_back(2, "back-2");

    let undone = past.reserve.home.json(&["forget", "--undo", "--json"]);
    assert_eq!(undone["undone"], true, "{undone}");
    assert!(leaving(&past.reserve.home).is_empty());
    let office = &past.reserve.office;
    office.until(&["status", "--json"], |status| {
        !stands(status, "release_pending")
    });
    for number in 1..=3 {
        past.comes_back(number, &format!("again-{number}"));
    }
}

#[test]
fn a_keeper_that_was_off_is_told_when_somebody_asks_again() {
    let mut past = Past::of_three();
    past.reserve.friend.kill();
    past.reserve.home.until(&["peers", "--json"], |peers| {
        let mut peers = peers.as_array().unwrap().iter();
        peers.any(|peer| peer["name"] == "friend" && peer["connected"] == false)
    });
    let done = past.reserve.home.run(&["forget", "1", "--yes", "--json"]);
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    past.reserve.friend.start();
    past.reserve.home.until_met("friend");
    let again = past.reserve.home.json(&["forget", "--yes", "--json"]);
    let shares = again["keepers"].as_array().unwrap();
    let friend = shares
        .iter()
        .find(|share| share["keeper"] == "friend")
        .unwrap();
    assert_eq!(
        (&friend["is_told"], &friend["snapshots"]),
        (&Value::from(true), &Value::from(1))
    );
}

#[test]
fn a_rule_says_what_leaves_and_without_one_nothing_does() {
    let past = Past::of_three();
    let home = &past.reserve.home;
    let refused = home.run(&["forget", "--by-rule"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    home.succeeds(&["config", "set", "retention", "last=1"]);
    let look = home.json(&["forget", "--by-rule", "--json"]);
    assert_eq!(numbers(&look, "leaving"), [1, 2]);
    let unknown = home.run(&["forget", "77"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    assert!(leaving(home).is_empty());
}
