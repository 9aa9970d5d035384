//! A lost Box may have the last good copy of something: whoever shuts it out is told how much that is, and says so in full words.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;

use stage::{BoxProcess, Stage, make_tree, noise};

const FULL_WORDS: &str = "--even-if-copies-are-lost";

#[track_caller]
fn refused(by: &BoxProcess, args: &[&str], says: &[&str]) {
    let output = by.run(args);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let missing: Vec<_> = says
        .iter()
        .filter(|words| !told.contains(**words))
        .collect();
    assert!(missing.is_empty(), "{missing:?} is not in: {told}");
}

fn members(of: &BoxProcess) -> usize {
    of.json(&["peers", "--json"]).as_array().unwrap().len()
}

#[test]
fn who_has_the_last_copy_is_shut_out_only_in_full_words_with_and_without_the_words() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let film = files.join("film");
    fs::write(&film, noise("film", 3_000_000)).unwrap();
    let mut home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");

    // The film is deleted; what remembers it is at the office alone, and the office is gone.
    fs::remove_file(&film).unwrap();
    office.kill();
    let friend = stage.joined_box("friend", &home);
    let outcome = home.run(&["snapshot", "--json"]);
    assert!(outcome.status.success(), "{outcome:?}");
    friend.until(&["snapshots", "--json"], |list| {
        let list = list.as_array().unwrap();
        list.iter()
            .any(|one| one["number"] == 2 && one["held_by"] == serde_json::json!(["friend"]))
            && list.iter().any(|one| one["number"] == 1)
    });
    let says = ["chunks of home", "only office may have them", FULL_WORDS];
    refused(&home, &["remove", "office", "--lost"], &says);
    assert_eq!(members(&home), 3);

    // Home burns down. With the words it is the same.
    home.destroy();
    let sheet = stage.path("home-words");
    let friends = friend.address().to_owned();
    let new = stage.new_box("new");
    let mut args = vec!["recover", "--name", "new", "--from", &friends];
    args.extend(["--words-file", sheet.to_str().unwrap()]);
    args.extend(["--lost", "home", "--lost", "office", "--replaces", "home"]);
    let says = ["chunks of home", "home and office", FULL_WORDS];
    refused(&new, &args, &says);
    assert!(!new.dir.exists(), "nothing is left of it");
    assert_eq!(members(&friend), 3, "nobody was shut out");

    args.push(FULL_WORDS);
    new.succeeds(&args);
    friend.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers.len() == 2 && peers.iter().any(|peer| peer["name"] == "new")
    });
}
