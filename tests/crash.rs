//! kill -9 in the middle: nothing acknowledged is lost and the work completes.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use stage::{Stage, assert_same_trees, make_tree};

#[test]
fn a_keeper_killed_during_a_snapshot_returns_and_the_snapshot_completes() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 40);
    let mut home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let friend = stage.joined_box("friend", &home);
    home.succeeds(&["snapshot"]);
    // Killed once it has acknowledged something, and while there is more to come.
    office.until(&["status", "--json"], |status| {
        status["store"]["chunks"].as_u64() > Some(5)
    });
    office.kill();
    office.start();
    home.until(&["status", "--json"], |status| {
        status["safe"] == true && status["copies"] == 2
    });
    drop(friend);
    home.destroy();
    let to = stage.path("came-back");
    office.json(&[
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
fn an_author_killed_during_a_snapshot_starts_again_and_sends_only_what_is_missing() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 40);
    let mut home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    home.succeeds(&["snapshot"]);
    office.until(&["status", "--json"], |status| {
        status["store"]["chunks"].as_u64() > Some(40)
    });
    home.kill();
    let arrived = office.json(&["status", "--json"])["store"]["bytes"]
        .as_u64()
        .unwrap();
    home.start();
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true);
    let total = outcome["snapshot"]["sealed_bytes"].as_u64().unwrap();
    let sent = outcome["bytes_sent"].as_u64().unwrap();
    // Up to one window was on its way when the author died.
    assert!(
        sent + arrived <= total + (16 << 20),
        "{sent} sent, {arrived} had arrived, of {total}"
    );
}

#[test]
fn a_keeper_killed_during_a_retrieval_is_replaced_by_the_other() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 40);
    let mut home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let friend = stage.joined_box("friend", &home);
    assert_eq!(
        home.json(&["snapshot", "--wait", "--json"])["protected"],
        true
    );
    home.destroy();
    let new = stage.joined_box("new", &friend);
    new.until(&["peers", "--json"], |peers| {
        peers.as_array().is_some_and(|peers| {
            peers
                .iter()
                .filter(|peer| peer["connected"] == true)
                .count()
                >= 3
        })
    });
    let to = stage.path("came-back");
    let mut retrieving = new
        .command()
        .args([
            "retrieve",
            "--author",
            "home",
            "--json",
            "--to",
            to.to_str().unwrap(),
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !to.join("photos").exists() && retrieving.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    office.kill();
    let output = retrieving.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_same_trees(&files, &to);
}
