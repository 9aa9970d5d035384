//! The story of a Box nobody talks to: it takes snapshots by itself, a new one only if something is new, and says how old they are.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;

use stage::{Stage, make_tree};

#[test]
fn a_box_takes_snapshots_by_itself_and_soon_after_it_was_off() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let mut home = stage.first_box("home", &files);
    home.kill();
    let config = home.dir.join("box.toml");
    let text = fs::read_to_string(&config).unwrap();
    let wrong = text.replace("every_minutes = 60", "every_minutes = 999999");
    assert_ne!(text, wrong, "{text}");
    fs::write(&config, &wrong).unwrap();
    let refused = home.run(&["data", "list"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && told.contains("every_minutes"),
        "{told}"
    );
    fs::write(
        &config,
        text.replace("every_minutes = 60", "every_minutes = 1"),
    )
    .unwrap();
    home.start();
    let _office = stage.joined_box("office", &home);
    home.until(&["status", "--json"], |status| {
        status["latest"]["number"] == 1 && status["safe"] == true
    });

    // It was off; nothing changed meanwhile: it looks, and says so.
    home.kill();
    home.start();
    let looked = home.until(&["status", "--json"], |status| {
        status["up_to_date_seconds"].as_i64() > status["latest"]["taken_seconds"].as_i64()
            && status["safe"] == true
    });
    assert_eq!(looked["latest"]["number"], 1, "{looked}");
    let shown = home.succeeds(&["status"]);
    assert!(shown.contains("nothing had changed since"), "{shown}");
    let list = home.json(&["snapshots", "--json"]);
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");

    // It was off while something changed.
    home.kill();
    fs::write(files.join("news"), "news").unwrap();
    home.start();
    home.until(&["status", "--json"], |status| {
        status["latest"]["number"] == 2 && status["safe"] == true
    });

    // A mistyped line stops what is due, so it is no longer safe, and somebody is told; corrected, it goes on.
    let right = fs::read_to_string(&config).unwrap();
    fs::write(&config, right.replace("every_minutes", "evry_minutes")).unwrap();
    let status = home.until(&["status", "--json"], |status| status["safe"] == false);
    let said = status["sentence"].as_str().unwrap();
    assert!(said.contains("NOT taken: box.toml"), "{said}");
    let events = home.succeeds(&["events", "--json"]);
    assert!(events.contains("snapshot_failed"), "{events}");
    fs::write(&config, right).unwrap();
    home.until(&["status", "--json"], |status| status["safe"] == true);
}
