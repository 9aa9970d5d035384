//! Anybody's snapshot can be looked into and retrieved, all or in part, from any Box: by number, id, day, into an empty place or not.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use stage::{BoxProcess, Stage, assert_same_trees, make_tree};

/// Two Boxes: home has two snapshots of its files, office has one of its own; both keepers run.
fn two_authors(stage: &Stage) -> (BoxProcess, BoxProcess) {
    let files = stage.path("files");
    make_tree(&files, 2);
    let home = stage.first_box("home", &files);
    let notes = stage.path("notes");
    fs::create_dir(&notes).unwrap();
    fs::write(notes.join("note"), "from the office").unwrap();
    let mut office = stage.new_box("office");
    let ticket = home.succeeds(&["invite"]);
    office.succeeds(&[
        "join",
        "--name",
        "office",
        "--data",
        &format!("notes={}", notes.display()),
        ticket.trim(),
    ]);
    office.start();
    home.json(&["snapshot", "--wait", "--json"]);
    fs::write(files.join("new"), "only in the second").unwrap();
    home.json(&["snapshot", "--wait", "--accept-loss", "--json"]);
    office.json(&["snapshot", "--wait", "--json"]);
    (home, office)
}

fn lines(output: &str) -> Vec<Value> {
    output
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn paths(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["path"].as_str().unwrap())
        .collect()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_snapshot_is_looked_into_like_a_directory() {
    let stage = Stage::new();
    let (home, _office) = two_authors(&stage);
    let text = home.succeeds(&["ls"]);
    assert!(
        text.lines()
            .any(|line| line.starts_with("drwxr-x---") && line.ends_with(" a")),
        "{text}"
    );
    assert!(text.contains("link -> a.txt"), "{text}");
    assert!(
        text.contains(r"name \xff\xfe") && text.contains(r"line\nbreak"),
        "{text}"
    );
    let top = lines(&home.succeeds(&["ls", "--json"]));
    let mut names: Vec<String> = fs::read_dir(stage.path("files"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        top.len(),
        names.len() + 1,
        "the names and the directory itself"
    );
    names.retain(|name| !name.contains(['\n', '\u{fffd}']));
    assert!(
        names
            .iter()
            .all(|name| paths(&top).contains(&name.as_str())),
        "{top:?}"
    );
    let odd = top
        .iter()
        .find(|line| line["path_hex"] == "6e616d6520fffe")
        .unwrap();
    assert_eq!(odd["path"], r"name \xff\xfe");
    let seventh = lines(&home.succeeds(&["ls", "--json", "a/7.txt"]));
    assert_eq!(
        (&seventh[0]["mtime_seconds"], &seventh[0]["mtime_nanos"]),
        (&1_000_000.into(), &123_456_789.into())
    );
    assert_eq!(lines(&home.succeeds(&["ls", "--json", "a"])).len(), 301);
    let all = lines(&home.succeeds(&["ls", "--json", "--recursive"]));
    assert_eq!(all.len(), stage::tree(&stage.path("files")).len());
    let missing = home.run(&["ls", "nowhere"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        told(&missing).contains("has nothing called \"nowhere\""),
        "{missing:?}"
    );
    // Whoever reads may stop at any line.
    let mut reader = home.command();
    let mut listing = reader
        .args(["ls", "--recursive"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(listing.stdout.take());
    assert!(listing.wait().unwrap().success());
}

#[test]
fn a_snapshot_is_found_by_number_id_and_day_and_its_author_by_name() {
    let stage = Stage::new();
    let (home, office) = two_authors(&stage);
    let has_new = |at: &str| {
        let listed =
            lines(&office.succeeds(&["ls", "--author", "home", "--snapshot", at, "--json"]));
        paths(&listed).contains(&"new")
    };
    let list = office.json(&["snapshots", "--json"]);
    let mut of_home = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["author"] == "home");
    let (second, first) = (of_home.next().unwrap(), of_home.next().unwrap());
    assert!(has_new("latest") && has_new("2") && !has_new("1"));
    assert!(has_new(second["id"].as_str().unwrap()) && !has_new(first["id"].as_str().unwrap()));
    let tomorrow = jiff::Zoned::now().tomorrow().unwrap();
    assert!(has_new(&tomorrow.date().to_string()));
    let before = office.run(&["ls", "--author", "home", "--snapshot", "2001-01-01"]);
    assert_eq!(before.status.code(), Some(1), "{before:?}");
    let no_day = office.run(&["ls", "--author", "home", "--snapshot", "2026-02-31"]);
    assert_eq!(no_day.status.code(), Some(2), "{no_day:?}");
    // Office means its own; a third Box has none and must be told, or asked where there is a terminal.
    assert!(office.succeeds(&["ls"]).contains("note"));
    let third = stage.joined_box("third", &home);
    let which = third.run(&["ls"]);
    assert_eq!(which.status.code(), Some(2), "{which:?}");
    assert!(
        told(&which).contains("--author: ") && told(&which).contains("home"),
        "{which:?}"
    );
    let asked = third.on_a_terminal("ls", "office\n");
    let asked = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(
        asked.contains("Whose files?") && asked.contains("note"),
        "{asked}"
    );
}

#[test]
fn a_part_comes_back_alone_and_nothing_that_was_there_is_lost_unasked() {
    let stage = Stage::new();
    let (home, office) = two_authors(&stage);
    let files = stage.path("files");
    let to = stage.path("to");
    let get = |more: &[&str]| {
        let mut command = office.command();
        command
            .args(["retrieve", "--author", "home", "--json", "--to"])
            .arg(&to)
            .args(more);
        command.output().unwrap()
    };
    let part = get(&["--path", "photos/2026/000.jpg", "--path", "a-b"]);
    assert_eq!(part.status.code(), Some(0), "{part:?}");
    let names: Vec<_> = stage::tree(&to).into_keys().collect();
    let expected = [
        "",
        "a-b",
        "a-b/x",
        "photos",
        "photos/2026",
        "photos/2026/000.jpg",
    ];
    assert_eq!(names, expected.map(Path::new));
    let mine = to.join("a.txt");
    fs::write(&mine, "mine").unwrap();
    let refused = get(&[]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(told(&refused).contains("is not empty"), "{refused:?}");
    let stays = get(&["--into-nonempty"]);
    assert_eq!(stays.status.code(), Some(0), "{stays:?}");
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    let last = lines(&String::from_utf8_lossy(&stays.stdout))
        .pop()
        .unwrap();
    assert_eq!(last["stayed_count"], 3, "{last}");
    assert!(
        last["stayed"].as_array().unwrap().contains(&"a.txt".into()),
        "{last}"
    );
    // Among a Box's own files something that came back could take the place of its keys.
    let identity = fs::read(office.dir.join("identity")).unwrap();
    for inside in [
        office.dir.clone(),
        office.dir.join("author/x"),
        home.dir.clone(),
    ] {
        let mut command = office.command();
        command.args(["retrieve", "--author", "home", "--overwrite", "--to"]);
        let refused = command.arg(&inside).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(told(&refused).contains("state directory"), "{refused:?}");
    }
    assert!(!office.dir.join("author/x").exists());
    assert_eq!(fs::read(office.dir.join("identity")).unwrap(), identity);
    let replaced = get(&["--overwrite"]);
    assert_eq!(replaced.status.code(), Some(0), "{replaced:?}");
    let ours = stage::tree(&files).into_iter();
    let theirs = stage::tree(&to);
    // The target's own attributes stay: it was there before.
    for (path, told) in ours.filter(|(path, _)| !path.as_os_str().is_empty()) {
        assert_eq!(theirs.get(&path), Some(&told), "{path:?}");
    }
    drop(home);
    let fresh = stage.path("fresh");
    let whole = office
        .command()
        .args(["retrieve", "--author", "home", "--to"])
        .arg(&fresh)
        .output()
        .unwrap();
    assert!(whole.status.success(), "{whole:?}");
    assert_same_trees(&files, &fresh);
    assert!(fresh.join(OsStr::from_bytes(b"name \xff\xfe")).exists());
}

#[test]
fn two_snapshots_are_compared_and_a_snapshot_with_files_on_disk() {
    let stage = Stage::new();
    let (home, office) = two_authors(&stage);
    let files = stage.path("files");
    fs::rename(
        files.join("photos/2026/000.jpg"),
        files.join("photos/kept.jpg"),
    )
    .unwrap();
    fs::write(files.join("a.txt"), "other words").unwrap();
    fs::remove_file(files.join("dangling")).unwrap();
    home.json(&["snapshot", "--wait", "--accept-loss", "--json"]);
    let text = office.succeeds(&["diff", "--author", "home", "1", "3"]);
    for line in [
        "~ a.txt  (contents, mtime)",
        "- dangling",
        "+ new",
        "> photos/kept.jpg  (was photos/2026/000.jpg)",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    let told = lines(&office.succeeds(&["diff", "--author", "home", "2", "3", "--json"]));
    let summary = &told.last().unwrap()["summary"];
    assert_eq!(
        (&summary["added"], &summary["removed"], &summary["renamed"]),
        (&0.into(), &1.into(), &1.into()),
        "{told:?}"
    );
    let same = home.succeeds(&["diff", "3", "latest"]);
    assert_eq!(same.trim(), "No differences.");
    // With what came back there is nothing to tell, and what was done to it since is told.
    let to = stage.path("to");
    let target = to.to_str().unwrap();
    office.succeeds(&["retrieve", "--author", "home", "--to", target]);
    let with = ["diff", "--author", "home", "latest", "--with", target];
    assert_eq!(office.succeeds(&with).trim(), "No differences.");
    fs::write(to.join("nothing"), "something").unwrap();
    fs::write(to.join("mine"), "").unwrap();
    fs::remove_file(to.join("line\nbreak")).unwrap();
    let text = office.succeeds(&with);
    for line in ["~ nothing  (contents, mtime)", "+ mine", "- line\\nbreak"] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    let bad = office.run(&["diff", "--author", "home", "latest"]);
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
}

#[test]
fn a_retrieval_that_is_refused_leaves_no_directory_behind() {
    let stage = Stage::new();
    let (_home, office) = two_authors(&stage);
    let deep = stage.path("not there/nor here/back");
    let refused = office
        .command()
        .args(["retrieve", "--author", "home", "--path", "/new", "--to"])
        .arg(&deep)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", told(&refused));
    assert!(!stage.path("not there").exists(), "{}", told(&refused));
}
