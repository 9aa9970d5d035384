//! The story of disks that are missing: what vanished is reported, never copied, and everything else goes on.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;
use stage::{BoxProcess, Stage, assert_same_trees, make_tree, noise};

fn taken(home: &BoxProcess, args: &[&str]) -> (Option<i32>, Value, String) {
    let output = home.run(&[&["snapshot", "--wait", "--json"], args].concat());
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), value, told)
}

#[test]
fn a_data_set_whose_disk_is_missing_stays_as_it_was_and_the_others_go_on() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let disk = stage.path("disk");
    fs::create_dir_all(disk.join("films")).unwrap();
    for number in 0..3 {
        let name = format!("films/{number}");
        fs::write(disk.join(&name), noise(&name, 400_000)).unwrap();
    }
    let kept = stage.path("kept");
    let home = stage.first_box("home", &files);
    let films = format!("films={}", disk.join("films").display());
    home.succeeds(&["data", "add", &films]);
    let office = stage.joined_box("office", &home);
    let (code, first, told) = taken(&home, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(first["held"], serde_json::json!([]), "{first}");

    // The disk is pulled; an empty directory is left where it was mounted.
    fs::rename(&disk, &kept).unwrap();
    fs::create_dir_all(&disk).unwrap();
    fs::write(files.join("news"), "news").unwrap();
    let (code, second, _) = taken(&home, &[]);
    assert_eq!(code, Some(3), "{second}");
    assert_eq!(second["held"][0][0], "films", "{second}");
    assert_eq!(second["protected"], true, "{second}");
    assert_eq!(second["snapshot"]["accepted"], true, "{second}");
    let status = home.run(&["status"]);
    assert_eq!(status.status.code(), Some(3));
    let both = stage.path("both");
    office.json(&[
        "retrieve",
        "--author",
        "home",
        "--to",
        both.to_str().unwrap(),
        "--json",
    ]);
    assert_same_trees(&kept.join("films"), &both.join("films"));
    assert_eq!(fs::read(both.join("files/news")).unwrap(), b"news");

    // Another file system stands in its place, with other files on it.
    if std::path::Path::new("/dev/shm").is_dir() {
        let other = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::create_dir(other.path().join("films")).unwrap();
        fs::write(other.path().join("films/strange"), "strange").unwrap();
        fs::remove_dir(&disk).unwrap();
        symlink(other.path(), &disk).unwrap();
        let (code, third, _) = taken(&home, &[]);
        assert_eq!(code, Some(3), "{third}");
        let why = third["held"][0][1].as_str().unwrap();
        assert!(why.contains("file system"), "{third}");
        fs::remove_file(&disk).unwrap();
    } else {
        fs::remove_dir(&disk).unwrap();
    }

    // It is back.
    fs::rename(&kept, &disk).unwrap();
    let (code, fourth, told) = taken(&home, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(fourth["held"], serde_json::json!([]), "{fourth}");
    assert_eq!(home.run(&["status"]).status.code(), Some(0));
}

#[test]
fn when_much_is_gone_latest_stays_what_it_was_until_a_person_accepts() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    assert_eq!(taken(&home, &[]).0, Some(0));
    for number in 0..60 {
        fs::remove_file(files.join(format!("a/{number}.txt"))).unwrap();
        fs::write(
            files.join(format!("a/{number}.txt.locked")),
            noise("locked", 3000 + number),
        )
        .unwrap();
    }
    let (code, pending, _) = taken(&home, &[]);
    assert_eq!(code, Some(3), "{pending}");
    assert_eq!(pending["snapshot"]["accepted"], false, "{pending}");
    // As a person reads it.
    let told = home.run(&["snapshot", "--wait"]);
    assert_eq!(told.status.code(), Some(3), "{told:?}");
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("WAITS FOR YOU"), "{told}");
    assert!(told.contains("--accept-loss"), "{told}");
    let to = stage.path("before");
    office.json(&[
        "retrieve",
        "--author",
        "home",
        "--to",
        to.to_str().unwrap(),
        "--json",
    ]);
    assert!(to.join("a/7.txt").exists() && !to.join("a/7.txt.locked").exists());
    let (code, accepted, _) = taken(&home, &["--accept-loss"]);
    assert_eq!(code, Some(0), "{accepted}");
    let to = stage.path("after");
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
fn data_sets_are_added_listed_and_removed_with_and_without_a_keeper() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    let _office = stage.joined_box("office", &home);
    let more = stage.path("more");
    fs::create_dir_all(more.join("deep")).unwrap();
    fs::write(more.join("deep/file"), "x").unwrap();
    let at = |name: &str, path: &std::path::Path| format!("{name}={}", path.display());

    // With a running keeper: the next snapshot has it.
    home.succeeds(&["data", "add", &at("more", &more)]);
    assert_eq!(taken(&home, &[]).1["snapshot"]["number"], 1);
    let status = home.json(&["status", "--json"]);
    assert_eq!(status["data"].as_array().map(Vec::len), Some(2), "{status}");
    let nested = home.run(&["data", "add", &at("deep", &more.join("deep"))]);
    assert!(nested.status.success());
    assert!(
        String::from_utf8_lossy(&nested.stderr).contains("deep lies inside more"),
        "{nested:?}"
    );

    home.kill();
    for (name, path, why) in [
        ("twice", more.clone(), "under the name"),
        ("more", more.join("deep"), "already"),
        ("state", home.dir.clone(), "state directory"),
        ("store", home.dir.join("store"), "state directory"),
        (
            "all",
            home.dir.parent().unwrap().to_path_buf(),
            "state directory",
        ),
        ("gone", stage.path("nowhere"), "No such file"),
    ] {
        let refused = home.run(&["data", "add", &at(name, &path)]);
        assert_eq!(refused.status.code(), Some(2), "{name}: {refused:?}");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(told.contains(why), "{name}: {told}");
    }
    home.succeeds(&["data", "remove", "deep"]);
    assert_eq!(home.run(&["data", "remove", "deep"]).status.code(), Some(2));
    let list = home.json(&["data", "list", "--json"]);
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|set| set["name"].clone())
        .collect();
    assert_eq!(names, ["files", "more"]);
    home.succeeds(&["data", "remove", "files"]);
    home.start();
    let (code, outcome, _) = taken(&home, &[]);
    assert_eq!(
        (code, &outcome["snapshot"]["accepted"]),
        (Some(0), &true.into()),
        "{outcome}"
    );
    let status = home.json(&["status", "--json"]);
    assert_eq!(status["data"][0][0], "more", "{status}");
}
