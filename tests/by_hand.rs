//! The story of the README, by hand: init, invite, join, keeper, snapshot, snapshots, retrieve, status.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use stage::{Stage, assert_same_trees, make_tree};

#[test]
fn a_flooded_home_is_retrieved_on_a_new_box_from_the_two_that_are_left() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 6);
    let mut home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let friend = stage.joined_box("friend", &office);

    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");
    assert_eq!(outcome["copies"], 2, "{outcome}");
    let status = home.json(&["status", "--json"]);
    assert_eq!(
        (&status["safe"], &status["copies"]),
        (&true.into(), &2.into()),
        "{status}"
    );
    assert!(
        home.succeeds(&["status"])
            .starts_with("All your files are safe: 2 copies elsewhere"),
        "{}",
        home.succeeds(&["status"])
    );

    home.destroy();
    let new = stage.joined_box("new", &friend);
    let list = new.until(&["snapshots", "--json"], |list| {
        list.as_array().is_some_and(|list| !list.is_empty())
    });
    assert_eq!(
        (&list[0]["author"], &list[0]["number"]),
        (&"home".into(), &1.into()),
        "{list}"
    );
    let to = stage.path("came-back");
    let report = new.json(&[
        "retrieve",
        "--author",
        "home",
        "--to",
        to.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(report["failed_count"], 0, "{report}");
    assert_same_trees(&files, &to);
    let peak = report["memory_peak_bytes"].as_u64().unwrap();
    assert!((1 << 20..=64 << 20).contains(&peak), "{report}");
    for keeper in [&office, &friend, &new] {
        assert!(
            keeper.peak_kib() <= 64 << 10,
            "{}: {} KiB",
            keeper.name,
            keeper.peak_kib()
        );
    }
}

#[test]
fn an_unchanged_file_is_not_read_again_and_nothing_is_sent_twice() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 3);
    let home = stage.first_box("home", &files);
    let _office = stage.joined_box("office", &home);
    let first = home.json(&["snapshot", "--wait", "--json"]);
    assert!(first["bytes_sent"].as_u64() > Some(9_000_000), "{first}");
    // A file counts as settled when its last change is two seconds older than the walk: wait for the clock, not for luck.
    let settled = std::time::SystemTime::now() + std::time::Duration::from_millis(2_100);
    while std::time::SystemTime::now() < settled {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    home.json(&["snapshot", "--wait", "--json"]);
    let third = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(third["files_read"], 0, "{third}");
    assert!(
        third["bytes_sent"].as_u64() < Some(20_000),
        "a manifest and little else: {third}"
    );
    assert_eq!(third["protected"], true);
    // A sweep compares every file with what was taken.
    let swept = home.json(&["sweep", "--now", "--json"]);
    assert_eq!(swept["rotten_count"], 0, "{swept}");
    assert!(swept["files"].as_u64() >= Some(300), "{swept}");
    assert!(swept["file_bytes"].as_u64() > Some(9_000_000), "{swept}");
}

#[test]
fn a_keeper_that_was_off_catches_up_when_it_returns() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 4);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let mut friend = stage.joined_box("friend", &home);
    friend.kill();
    let started = home.json(&["snapshot", "--json"]);
    assert_eq!(started["job"], 1);
    home.until(&["snapshots", "--json"], |list| {
        list.as_array().is_some_and(|list| !list.is_empty())
    });
    let status: serde_json::Value =
        serde_json::from_slice(&home.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(
        status["safe"], false,
        "one copy is below the minimum of two: {status}"
    );

    friend.start();
    home.until(&["status", "--json"], |status| {
        status["safe"] == true && status["copies"] == 2
    });
    office.destroy();
    let to = stage.path("came-back");
    friend.json(&[
        "retrieve",
        "--author",
        "home",
        "--to",
        to.to_str().unwrap(),
        "--json",
    ]);
    assert_same_trees(&files, &to);
}

#[test]
fn a_second_keeper_on_the_same_state_refuses_to_start() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let home = stage.first_box("home", &files);
    let second = home.run(&["keeper", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains("another keeper"), "{told}");
    let status: serde_json::Value =
        serde_json::from_slice(&home.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["running"], true, "the first one goes on: {status}");
}

#[test]
fn reading_commands_work_without_a_keeper_and_say_so() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    home.kill();
    let status = home.run(&["status", "--json"]);
    assert_eq!(status.status.code(), Some(3));
    let view: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(
        (&view["running"], &view["name"]),
        (&false.into(), &"home".into())
    );
    assert_eq!(home.json(&["peers", "--json"])[0]["name"], "home");
    assert_eq!(home.json(&["snapshots", "--json"]), serde_json::json!([]));
    let refused = home.run(&["snapshot"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("no keeper runs"),
        "{refused:?}"
    );
}

/// All that is below a directory: names, lengths, times.
fn looks(dir: &std::path::Path) -> Vec<String> {
    let tree = stage::tree(dir).into_iter();
    tree.map(|(path, told)| format!("{path:?} {told}"))
        .collect()
}

#[test]
fn looking_for_snapshots_without_a_keeper_changes_nothing() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    home.succeeds(&["snapshot", "--wait"]);
    office.until(&["snapshots", "--json"], |list| {
        list.as_array().is_some_and(|list| list.len() == 1)
    });
    office.kill();
    // As a power cut leaves it: the end of the last segment was never acknowledged.
    let segments = std::fs::read_dir(office.dir.join("store")).unwrap();
    let segments = segments.map(|entry| entry.unwrap().path());
    let last = segments
        .filter(|path| path.to_string_lossy().contains("seg-"))
        .max()
        .unwrap();
    let torn = [std::fs::read(&last).unwrap(), vec![7; 5000]].concat();
    std::fs::write(&last, torn).unwrap();
    std::fs::remove_file(office.dir.join("control.sock")).unwrap();
    let before = looks(&office.dir);
    let list = office.json(&["snapshots", "--json"]);
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    assert_eq!(
        (&list[0]["author"], &list[0]["number"]),
        (&"home".into(), &1.into())
    );
    assert_eq!(looks(&office.dir), before);
    office.start();
}

#[test]
fn with_json_an_error_is_one_document_for_programs() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    home.stop();
    let told = |args: &[&str], status: i32, exit: &str| {
        let failed = home.run(args);
        assert_eq!(failed.status.code(), Some(status), "{failed:?}");
        assert!(failed.stdout.is_empty(), "{failed:?}");
        let said: serde_json::Value = serde_json::from_slice(&failed.stderr).unwrap();
        assert_eq!(
            (&said["status"], &said["fault"]["exit"]),
            (&status.into(), &exit.into()),
            "{said}"
        );
        for part in ["what", "unchanged", "todo"] {
            assert!(!said["fault"][part].as_str().unwrap().is_empty(), "{said}");
        }
    };
    told(&["snapshot", "--wait", "--json"], 1, "failed");
    told(&["config", "set", "colour", "blue", "--json"], 2, "usage");
    told(&["status", "--json", "--no-such"], 2, "usage");
}

#[test]
fn wrong_tickets_and_taken_names_are_refused_with_a_reason() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let home = stage.first_box("home", &files);
    let newcomer = stage.new_box("x");
    let bad = newcomer.run(&["join", "--name", "x", "reserve-nonsense"]);
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    let ticket = home.succeeds(&["invite"]);
    let taken = newcomer.run(&["join", "--name", "home", ticket.trim()]);
    assert!(
        String::from_utf8_lossy(&taken.stderr).contains("of that name"),
        "{taken:?}"
    );
    let ticket = home.succeeds(&["invite"]);
    newcomer.succeeds(&["join", "--name", "x", ticket.trim()]);
    let other = stage.new_box("y");
    let used = other.run(&["join", "--name", "y", ticket.trim()]);
    assert_eq!(used.status.code(), Some(1), "{used:?}");
    assert!(!other.dir.exists(), "nothing is left of it");
}
