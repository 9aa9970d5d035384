//! The configuration: what one Box changes reaches all, what two changed apart becomes one, and a first boot needs nobody.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use stage::{BoxProcess, Stage, make_tree};

fn value(of: &BoxProcess, key: &str) -> String {
    of.succeeds(&["config", "get", key]).trim().to_owned()
}

fn becomes(of: &BoxProcess, key: &str, wanted: &str) {
    of.until(&["config", "get", key, "--json"], |setting| {
        setting["value"] == wanted
    });
}

fn all_meet(home: &BoxProcess, count: usize) {
    home.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers.len() == count && peers.iter().all(|peer| peer["connected"] == true)
    });
}

#[test]
fn what_one_box_changes_reaches_all_and_what_two_changed_apart_becomes_one() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let mut friend = stage.joined_box("friend", &home);
    all_meet(&home, 3);

    friend.kill();
    let changed = home.json(&["config", "set", "sweep_period_days", "14", "--json"]);
    assert_eq!(
        (&changed["before"], &changed["now"]),
        (&"30".into(), &"14".into()),
        "{changed}"
    );
    becomes(&office, "sweep_period_days", "14");
    // The one that was off hears of it when it returns.
    assert_eq!(value(&friend, "sweep_period_days"), "30");
    friend.start();
    becomes(&friend, "sweep_period_days", "14");

    // Apart: one setting each, and one they do not agree on. The safer value of it stands: warned for longer.
    home.kill();
    office.kill();
    friend.kill();
    home.succeeds(&["config", "set", "replication_factor_min", "1"]);
    home.succeeds(&["config", "set", "warning_window_days.disk", "20"]);
    office.succeeds(&["config", "set", "retention", "daily=30 yearly=10"]);
    office.succeeds(&["config", "set", "warning_window_days.disk", "90"]);
    home.start();
    office.start();
    friend.start();
    all_meet(&home, 3);
    for keeper in [&home, &office, &friend] {
        becomes(keeper, "replication_factor_min", "1");
        becomes(
            keeper,
            "retention",
            "last=0 hourly=0 daily=30 weekly=0 monthly=0 yearly=10",
        );
        becomes(keeper, "warning_window_days.disk", "90");
        assert_eq!(value(keeper, "warning_window_days.wear"), "30");
    }
    // Whoever said the one that does not stand is told there.
    let told = home.until_told("edit_dropped", "moment", |event| {
        event["facts"]["setting"]["text"] == "warning_window_days.disk"
    });
    let said = ["now", "by", "dropped", "dropped_by"];
    let said = said.map(|fact| told["facts"][fact]["text"].as_str());
    assert_eq!(said, ["90", "office", "20", "home"].map(Some), "{told}");
    let all = home.json(&["config", "get", "--json"]);
    let source = |key: &str| {
        let mut settings = all.as_array().unwrap().iter();
        let found = settings.find(|setting| setting["key"] == key);
        found.unwrap()["source"].as_str().unwrap().to_owned()
    };
    assert_eq!(source("name"), "local");
    assert_eq!(source("retention"), "shared");
    assert_eq!(source("event_period_hours"), "default");

    for (key, value) in [
        ("replication_factor", "0"),
        ("colour", "blue"),
        ("name", "x"),
    ] {
        let refused = home.run(&["config", "set", key, value]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            told.contains(key) && told.to_lowercase().contains("nothing was changed"),
            "{told}"
        );
    }
    home.succeeds(&["config", "set", "replication_factor_min", "default"]);
    becomes(&friend, "replication_factor_min", "2");
}

#[test]
fn box_toml_is_checked_by_name_and_line_without_a_keeper() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    home.kill();
    assert!(home.succeeds(&["config", "check"]).contains("in order"));
    let other = stage.path("other.toml");
    std::fs::write(&other, "name = \"home\"\n\n[store]\ncapacity = 5\n").unwrap();
    let refused = home.run(&["config", "check", "--file", other.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("other.toml, line 4") && told.contains("capacity"),
        "{told}"
    );
}

#[test]
fn a_first_boot_needs_nobody_and_may_be_repeated() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let write = |name: &str, text: &str| {
        let path = stage.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let data = format!(
        "[[data]]\nname = \"files\"\npath = \"{}\"\n",
        files.display()
    );
    let sheet = stage.path("words");
    let of_home = write(
        "home.toml",
        &format!(
            "name = \"home\"\nsite = \"house\"\nsheet = \"{}\"\n{data}",
            sheet.display()
        ),
    );
    let mut home = stage.new_box("home");
    let wrong = write("wrong.toml", "name = \"home\"\ntikcet = \"x\"\n");
    let refused = home.run(&["init", "--from-file", &wrong]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("wrong.toml, line 2") && told.contains("tikcet"),
        "{told}"
    );
    assert!(!home.dir.join("identity").exists());

    home.succeeds(&["init", "--from-file", &of_home]);
    let words = std::fs::read_to_string(&sheet).unwrap();
    assert!(words.contains("24. "), "numbered to the last");
    let identity = std::fs::read(home.dir.join("identity")).unwrap();
    home.succeeds(&["init", "--from-file", &of_home]);
    home.start();
    // Also while its keeper runs.
    home.succeeds(&["init", "--from-file", &of_home]);
    assert_eq!(std::fs::read(home.dir.join("identity")).unwrap(), identity);
    assert_eq!(home.json(&["peers", "--json"])[0]["site"], "house");

    let ticket = stage.path("ticket");
    std::fs::write(&ticket, home.succeeds(&["invite"])).unwrap();
    let of_office = write(
        "office.toml",
        &format!(
            "name = \"office\"\nticket_file = \"{}\"\n",
            ticket.display()
        ),
    );
    let mut office = stage.new_box("office");
    office.succeeds(&["join", "--from-file", &of_office]);
    // The ticket is spent and its file gone: there is nothing left to do with it.
    std::fs::remove_file(&ticket).unwrap();
    office.succeeds(&["join", "--from-file", &of_office]);
    office.start();
    all_meet(&home, 2);
    let other = office.run(&["join", "--name", "another", "reserve-x"]);
    assert_eq!(other.status.code(), Some(1), "{other:?}");

    // And back in with the words, as unattended.
    home.destroy();
    let of_new = write(
        "new.toml",
        &format!(
            "name = \"new\"\nfrom = \"{}\"\nwords_file = \"{}\"\nlost = [\"home\"]\nreplaces = \"home\"\n",
            office.address(),
            sheet.display()
        ),
    );
    let mut new = stage.new_box("new");
    new.succeeds(&["recover", "--from-file", &of_new]);
    new.succeeds(&["recover", "--from-file", &of_new]);
    new.start();
    office.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers
            .iter()
            .any(|peer| peer["name"] == "new" && peer["connected"] == true)
    });
}
