//! Who belongs: a Box is drained and leaves, a lost Box is shut out, a new Box continues its history, and the words bring one back.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use stage::{BoxProcess, Stage, assert_same_trees, make_tree};

fn retrieve(from: &BoxProcess, author: &str, to: &std::path::Path) -> serde_json::Value {
    let to = to.to_str().unwrap();
    from.json(&["retrieve", "--author", author, "--to", to, "--json"])
}

fn protected(home: &BoxProcess) -> serde_json::Value {
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");
    outcome
}

fn names(of: &BoxProcess) -> Vec<String> {
    let peers = of.json(&["peers", "--json"]);
    let mut names: Vec<String> = peers
        .as_array()
        .unwrap()
        .iter()
        .map(|peer| peer["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// The epochs a Box has the secrets of: what its file holds, counted.
fn epochs(of: &BoxProcess) -> usize {
    let bytes = std::fs::read(of.dir.join("secrets")).unwrap();
    // Magic, version, number of pairs.
    usize::from(bytes[5])
}

#[test]
fn a_lost_box_is_shut_out_by_a_new_epoch_and_its_copies_are_made_again() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 4);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let mut friend = stage.joined_box("friend", &home);
    let mut attic = stage.joined_box("attic", &home);
    let peers_are = |count: usize| {
        move |peers: &serde_json::Value| {
            let peers = peers.as_array().unwrap();
            peers.len() == count && peers.iter().all(|peer| peer["connected"] == true)
        }
    };
    home.until(&["peers", "--json"], peers_are(4));
    let before = protected(&home);
    assert_eq!(before["copies"], 3, "{before}");

    // The office was burgled while the attic was off.
    office.kill();
    attic.kill();
    let refused = home.run(&["remove", "office", "--lost", "--json"]);
    // Everything is at the friend's too: nothing stands in the way.
    assert!(refused.status.success(), "{refused:?}\n{}", home.log());
    let told: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((&told["lost"], epochs(&home)), (&true.into(), 2), "{told}");
    friend.until(&["peers", "--json"], |peers| {
        peers.as_array().unwrap().len() == 3
    });
    home.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        let friend = peers.iter().find(|peer| peer["name"] == "friend").unwrap();
        friend["connected"] == true
    });
    assert_eq!(epochs(&friend), 2);

    // The attic comes back under the old epoch and learns the new one.
    attic.start();
    home.until(&["peers", "--json"], peers_are(3));
    assert_eq!(epochs(&attic), 2);
    let status = home.until(&["status", "--json"], |status| {
        status["safe"] == true && status["copies"] == 2
    });
    assert!(status["mending_since_seconds"].is_i64(), "{status}");

    // The thief starts the stolen Box: nobody speaks with it.
    office.start();
    let turned_away = "not a member";
    let mut told = String::new();
    for _ in 0..600 {
        told = home.log() + &friend.log() + &attic.log();
        if told.contains(turned_away) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(told.contains(turned_away), "{told}");
    let peers = office.json(&["peers", "--json"]);
    let alone = peers.as_array().unwrap().iter();
    assert!(
        alone
            .filter(|peer| peer["is_me"] == false)
            .all(|peer| peer["connected"] == false),
        "{peers}"
    );
    assert_eq!(epochs(&office), 1);

    // What is new is sealed under the new epoch, what is old stays readable.
    std::fs::write(files.join("after.txt"), "written after the burglary").unwrap();
    protected(&home);
    friend.kill();
    friend.start();
    let to = stage.path("came-back");
    retrieve(&friend, "home", &to);
    assert_same_trees(&files, &to);
}

#[test]
fn a_box_is_drained_before_it_leaves_and_its_snapshots_stay() {
    let stage = Stage::new();
    let (files, at_home) = (stage.path("files"), stage.path("at-home"));
    make_tree(&files, 3);
    make_tree(&at_home, 1);
    let home = stage.first_box("home", &at_home);
    let mut office = stage.joined_box("office", &home);
    office.succeeds(&["data", "add", &format!("work={}", files.display())]);
    let mut friend = stage.joined_box("friend", &home);
    office.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers.len() == 3 && peers.iter().all(|peer| peer["connected"] == true)
    });
    protected(&home);
    protected(&office);

    // Who cannot be asked stands in the way; nothing is changed.
    friend.kill();
    home.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers
            .iter()
            .any(|peer| peer["name"] == "friend" && peer["connected"] == false)
    });
    let refused = home.run(&["remove", "office"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("friend") && told.contains("--even-if-copies-are-lost"),
        "{told}"
    );
    assert_eq!(names(&home), ["friend", "home", "office"]);
    friend.start();
    home.until(&["peers", "--json"], |peers| {
        peers
            .as_array()
            .unwrap()
            .iter()
            .all(|peer| peer["connected"] == true)
    });

    let removed = home.json(&["remove", "office", "--json"]);
    assert_eq!(
        (&removed["lost"], epochs(&home)),
        (&false.into(), 1),
        "{removed}"
    );
    assert!(removed["chunks"].as_u64() > Some(10), "{removed}");
    let status = office.until(&["status", "--json"], |status| {
        status["sentence"]
            .as_str()
            .unwrap()
            .contains("removed from its reserve")
    });
    let again = office.run(&["join", "--name", "office", "reserve-x"]);
    assert_eq!(again.status.code(), Some(1), "it is done with: {again:?}");
    assert_eq!(status["safe"], false);
    office.destroy();
    home.until(&["status", "--json"], |status| status["safe"] == true);
    let again = home.run(&["remove", "office"]);
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("removed before"),
        "{again:?}"
    );

    // One of the two that remain sees to the copies of what the office took.
    let of_office = |status: &serde_json::Value| status["former"][0]["copies"].as_u64();
    let mut found = None;
    for _ in 0..600 {
        found = [&home, &friend].iter().find_map(|keeper| {
            let output = keeper.run(&["status", "--json"]);
            of_office(&serde_json::from_slice(&output.stdout).unwrap())
                .filter(|copies| *copies == 2)
        });
        if found.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(found, Some(2), "{}", home.log());
    let to = stage.path("came-back");
    retrieve(&friend, "office", &to);
    assert_same_trees(&files, &to);

    // One Box alone would protect nothing.
    let refused = home.run(&["remove", "friend"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("minimum"), "{told}");
}

#[test]
fn the_words_and_the_one_box_that_survived_bring_a_new_box_back() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 2);
    let mut home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let friend = stage.joined_box("friend", &home);
    home.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers.len() == 3 && peers.iter().all(|peer| peer["connected"] == true)
    });
    protected(&home);
    home.destroy();
    office.destroy();
    let friends = friend.address().to_owned();
    let sheet = stage.path("home-words");

    // A stranger's words open nothing and are answered by nothing.
    let wrong = stage.path("wrong-words");
    std::fs::write(&wrong, "abandon ".repeat(23) + "art").unwrap();
    let mut new = stage.new_box("new");
    let mut args = vec![
        "recover",
        "--name",
        "new",
        "--from",
        &friends,
        "--words-file",
    ];
    let mut stranger = args.clone();
    stranger.push(wrong.to_str().unwrap());
    let refused = new.run(&stranger);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("does not know these recovery words"),
        "{told}"
    );
    assert!(!new.dir.join("identity").exists());

    assert!(!new.dir.exists(), "nothing is left of it");

    args.extend([sheet.to_str().unwrap(), "--replaces", "home"]);
    args.extend(["--lost", "home", "--lost", "office"]);
    new.succeeds(&args);
    new.start();
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
    assert_eq!(names(&new), ["friend", "new"]);
    friend.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers
            .iter()
            .any(|peer| peer["name"] == "new" && peer["connected"] == true)
    });
    assert_eq!((epochs(&new), epochs(&friend)), (2, 2));
    let peers = friend.json(&["peers", "--json"]);
    assert!(!peers.to_string().contains("\"home\""), "{peers}");

    // The history goes on, and nothing the friend has is sent again, though a new key epoch began.
    new.succeeds(&["data", "add", &format!("files={}", to.display())]);
    let next = protected(&new);
    assert_eq!(next["snapshot"]["number"], 2, "{next}");
    assert!(
        next["bytes_sent"].as_u64() < Some(200_000),
        "an index and a manifest, no files: {next}"
    );
    let list = friend.json(&["snapshots", "--json"]);
    assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
}

#[test]
fn a_new_box_goes_on_with_a_former_ones_history_and_sends_nothing_again() {
    let stage = Stage::new();
    let (files, at_home) = (stage.path("files"), stage.path("at-home"));
    make_tree(&files, 4);
    make_tree(&at_home, 0);
    let home = stage.first_box("home", &at_home);
    let mut office = stage.joined_box("office", &home);
    office.succeeds(&["data", "add", &format!("work={}", files.display())]);
    let friend = stage.joined_box("friend", &home);
    office.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers.len() == 3 && peers.iter().all(|peer| peer["connected"] == true)
    });
    let first = protected(&office);
    assert!(first["bytes_sent"].as_u64() > Some(20_000_000), "{first}");
    home.json(&["remove", "office", "--json"]);
    office.destroy();

    let mut new = stage.new_box("new");
    let ticket = home.succeeds(&["invite"]);
    let ticket = ticket.trim();
    let refused = new.run(&["join", "--name", "office", "--replaces", "attic", ticket]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("no removed Box of that name"), "{told}");
    new.succeeds(&["join", "--name", "office", "--replaces", "office", ticket]);
    new.start();
    let back = stage.path("back");
    // Without a name its own are meant: those of the Box whose history it continues.
    new.json(&["retrieve", "--to", back.to_str().unwrap(), "--json"]);
    assert_same_trees(&files, &back);
    new.succeeds(&["data", "add", &format!("work={}", back.display())]);
    new.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers.len() == 3 && peers.iter().all(|peer| peer["connected"] == true)
    });
    let next = protected(&new);
    assert_eq!(next["snapshot"]["number"], 2, "{next}");
    assert!(
        next["bytes_sent"].as_u64() < Some(200_000),
        "an index and a manifest, no files: {next}"
    );
    let list = friend.until(&["snapshots", "--json"], |list| {
        let of_office = |snapshot: &&serde_json::Value| snapshot["author"] == "office";
        list.as_array().unwrap().iter().filter(of_office).count() == 2
    });
    let to = stage.path("came-back");
    retrieve(&friend, "office", &to);
    assert_same_trees(&back, &to);
    let first = stage.path("first");
    let first_args = ["retrieve", "--author", "office", "--snapshot", "1", "--to"];
    friend.succeeds(&[&first_args[..], &[first.to_str().unwrap()]].concat());
    assert_same_trees(&files, &first);
    assert!(list.as_array().unwrap().len() >= 2);
}

#[test]
fn a_box_with_the_last_copy_is_shut_out_only_when_told_in_full_words() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let mut friend = stage.joined_box("friend", &home);
    home.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers.len() == 3 && peers.iter().all(|peer| peer["connected"] == true)
    });
    friend.kill();
    home.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers
            .iter()
            .any(|peer| peer["name"] == "friend" && peer["connected"] == false)
    });
    // Only the office has it; then it is stolen.
    home.succeeds(&["snapshot", "--json"]);
    office.until(&["snapshots", "--json"], |list| {
        list.as_array().is_some_and(|list| !list.is_empty())
    });
    office.kill();
    let refused = home.run(&["remove", "office", "--lost"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("--even-if-copies-are-lost") && told.contains("friend"),
        "{told}"
    );
    assert_eq!(epochs(&home), 1, "nothing was changed");
    home.succeeds(&["remove", "office", "--lost", "--even-if-copies-are-lost"]);
    assert_eq!(names(&home), ["friend", "home"]);
    assert_eq!(epochs(&home), 2);
    // The file is still at home: it is read and sent again.
    friend.start();
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");
}

#[test]
fn when_the_only_other_box_is_lost_a_new_one_takes_all_of_it_and_nobody_has_to_do_anything() {
    let stage = Stage::new();
    let files = stage.path("files");
    std::fs::create_dir(&files).unwrap();
    // None shares a pack with another: each has chunks of its own.
    for number in 0..30 {
        let film = stage::noise(&format!("film {number}"), 300 << 10);
        std::fs::write(files.join(format!("{number}.mp4")), film).unwrap();
    }
    let home = stage.first_box("home", &files);
    // None is due by itself for hours.
    let config = home.dir.join("box.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let after = before.replace("every_minutes = 60", "every_minutes = 600");
    assert_ne!(before, after);
    std::fs::write(config, after).unwrap();
    let mut office = stage.joined_box("office", &home);
    assert_eq!(protected(&home)["protected"], true);
    office.destroy();
    // With it went the last copies, and new keys seal from here on.
    home.succeeds(&["remove", "office", "--lost", "--even-if-copies-are-lost"]);
    let _attic = stage.joined_box("attic", &home);
    home.until(&["status", "--json"], |status| status["safe"] == true);
    let latest = &home.json(&["status", "--json"])["latest"];
    assert_eq!(latest["number"], 2, "{latest}");
    assert_eq!(latest["accepted"], true, "{latest}");
    let asked = home.events(&[]).into_iter();
    let asked: Vec<_> = asked
        .filter(|event| event["kind"] == "loss_pending")
        .collect();
    assert!(asked.is_empty(), "{asked:#?}");
}

#[test]
fn a_snapshot_that_waits_for_a_box_that_is_gone_goes_to_the_one_that_comes() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    protected(&home);
    office.destroy();
    home.until(&["peers", "--json"], |peers| {
        let mut peers = peers.as_array().unwrap().iter();
        peers.any(|peer| peer["name"] == "office" && peer["connected"] == false)
    });
    std::fs::write(files.join("news"), stage::noise("news", 300 << 10)).unwrap();
    home.succeeds(&["snapshot"]);
    home.until(&["status", "--json"], |status| {
        status["job"] != serde_json::Value::Null
    });

    home.succeeds(&["remove", "office", "--lost", "--even-if-copies-are-lost"]);
    let _attic = stage.joined_box("attic", &home);
    home.until(&["status", "--json"], |status| status["safe"] == true);
    assert_eq!(home.json(&["status", "--json"])["latest"]["number"], 2);
}
