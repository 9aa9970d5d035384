//! A retrieval that was killed, stopped or cut off goes on with the same command and fetches only what is missing.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;
use stage::{BoxProcess, Stage, assert_same_trees, make_tree, noise};

/// Long enough that what is fetched twice, the window and what was not noted yet, is a small part of it.
const FILM_BYTES: usize = 160 << 20;
/// Just long enough to be gone on with.
const CLIP_BYTES: usize = 80 << 20;

/// Home's files are on office; home is gone.
fn flooded(stage: &Stage, film_bytes: usize) -> (PathBuf, BoxProcess, u64) {
    let files = stage.path("files");
    make_tree(&files, 6);
    if film_bytes > 0 {
        fs::write(files.join("zz-film"), noise("film", film_bytes)).unwrap();
    }
    let mut home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    home.json(&["snapshot", "--wait", "--json"]);
    home.destroy();
    let total = sizes(&files);
    (files, office, total)
}

/// Bytes of all files below a directory, as far as they are written.
fn sizes(dir: &Path) -> u64 {
    let mut total = 0;
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        // What is there may be renamed while this looks.
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if let Ok(meta) = entry.metadata() {
                if meta.is_dir() {
                    todo.push(entry.path());
                } else if meta.is_file() {
                    total += meta.size();
                }
            }
        }
    }
    total
}

fn begin(office: &BoxProcess, to: &Path) -> Child {
    let mut command = office.command();
    command
        .args(["retrieve", "--author", "home", "--json", "--to"])
        .arg(to);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until so many bytes are in the target; false when it was over before.
fn until_there(retrieving: &mut Child, to: &Path, bytes: u64) -> bool {
    while sizes(to) < bytes {
        if retrieving.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    true
}

fn last_line(child: Child, status: i32) -> Value {
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    serde_json::from_slice(
        output
            .stdout
            .split(|byte| *byte == b'\n')
            .rfind(|line| !line.is_empty())
            .unwrap(),
    )
    .unwrap()
}

/// Whatever stands under a name of the snapshot's is whole.
fn assert_nothing_half(files: &Path, to: &Path) -> usize {
    let (ours, theirs) = (stage::tree(files), stage::tree(to));
    let is_file = |told: &str| told.contains("is_file: true");
    let mut whole = 0;
    for (path, told) in theirs.iter().filter(|(_, told)| is_file(told)) {
        let name = path.file_name().unwrap().to_string_lossy();
        if !name.starts_with(".reserve-") {
            assert_eq!(ours.get(path), Some(told), "{path:?}");
            whole += 1;
        }
    }
    whole
}

#[test]
fn a_retrieval_killed_at_half_fetches_at_most_three_fifths_when_it_is_given_again() {
    let stage = Stage::new();
    let (files, office, total) = flooded(&stage, FILM_BYTES);
    let to = stage.path("to");
    let mut first = begin(&office, &to);
    assert!(
        until_there(&mut first, &to, total / 2),
        "it was over before it could be killed"
    );
    first.kill().unwrap();
    first.wait().unwrap();
    let whole = assert_nothing_half(&files, &to);
    assert!(to.join(".reserve-unfinished").exists());
    let second = last_line(begin(&office, &to), 0);
    let fetched = second["bytes_fetched"].as_u64().unwrap();
    assert!(
        fetched * 10 <= total * 6,
        "{fetched} of {total} bytes were fetched again"
    );
    assert!(second["kept"].as_u64().unwrap() >= whole as u64, "{second}");
    assert_same_trees(&files, &to);
    assert!(!to.join(".reserve-unfinished").exists());
}

#[test]
fn a_retrieval_that_is_stopped_says_that_the_same_command_goes_on() {
    let stage = Stage::new();
    let (files, office, total) = flooded(&stage, CLIP_BYTES);
    let to = stage.path("to");
    let mut first = begin(&office, &to);
    assert!(
        until_there(&mut first, &to, total / 3),
        "it was over before it could be stopped"
    );
    let stop = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process(stop, rustix::process::Signal::INT).unwrap();
    let output = first.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("same command again"), "{told}");
    assert_nothing_half(&files, &to);
    // Another part is another retrieval.
    let mut command = office.command();
    let other = command
        .args(["retrieve", "--author", "home", "--path", "a", "--to"])
        .arg(&to)
        .output()
        .unwrap();
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    assert!(
        String::from_utf8_lossy(&other.stderr).contains("unfinished retrieval of something else"),
        "{other:?}"
    );
    let second = last_line(begin(&office, &to), 0);
    let fetched = second["bytes_fetched"].as_u64().unwrap();
    assert!(fetched < total * 8 / 10, "{fetched} of {total}");
    assert_same_trees(&files, &to);
}

#[test]
fn a_retrieval_whose_keeper_dies_goes_on_when_it_is_back() {
    let stage = Stage::new();
    let (files, mut office, total) = flooded(&stage, CLIP_BYTES);
    let to = stage.path("to");
    let mut first = begin(&office, &to);
    assert!(
        until_there(&mut first, &to, total / 2),
        "it was over before the keeper could be killed"
    );
    office.kill();
    let output = first.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_nothing_half(&files, &to);
    office.start();
    let second = last_line(begin(&office, &to), 0);
    let fetched = second["bytes_fetched"].as_u64().unwrap();
    assert!(fetched < total * 8 / 10, "{fetched} of {total}");
    assert_same_trees(&files, &to);
}

#[test]
fn names_of_one_thing_are_one_thing_again_after_a_kill() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 3);
    // First names are met pages before the film, second names on both sides of it.
    let many = files.join("many");
    fs::create_dir(&many).unwrap();
    for n in 0..2_100 {
        fs::write(many.join(format!("{n:04}")), "").unwrap();
    }
    for n in 0..40 {
        let first = files.join(format!("link-{n:02}"));
        fs::write(&first, noise(&format!("link {n}"), 3_000 + n)).unwrap();
        fs::hard_link(&first, files.join(format!("link-{n:02}-near"))).unwrap();
        fs::hard_link(&first, files.join(format!("zzz-link-{n:02}-far"))).unwrap();
    }
    fs::write(files.join("zz-film"), noise("film", CLIP_BYTES)).unwrap();
    fs::hard_link(files.join("zz-film"), files.join("zzz-film-again")).unwrap();
    let mut home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    home.json(&["snapshot", "--wait", "--json"]);
    home.destroy();
    let to = stage.path("to");
    let mut first = begin(&office, &to);
    assert!(
        until_there(&mut first, &to, (CLIP_BYTES / 2) as u64),
        "it was over before it could be killed"
    );
    while !to.join("link-39").exists() && first.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let inode = |name: &str| fs::metadata(to.join(name)).map(|meta| meta.ino());
    let whole = inode("link-00").expect("what comes before the film is there");
    let second = last_line(begin(&office, &to), 0);
    assert!(second["kept"].as_u64().unwrap() >= 40, "{second}");
    assert_eq!(inode("link-00").unwrap(), whole, "it was kept");
    for n in 0..40 {
        let one = inode(&format!("link-{n:02}")).unwrap();
        assert_eq!(inode(&format!("link-{n:02}-near")).unwrap(), one);
        assert_eq!(inode(&format!("zzz-link-{n:02}-far")).unwrap(), one);
    }
    assert_eq!(inode("zz-film").unwrap(), inode("zzz-film-again").unwrap());
    assert_same_trees(&files, &to);
    let all = fs::read_dir(&to).unwrap();
    let left = all.filter(|name| {
        let name = name.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".reserve-")
    });
    assert_eq!(left.count(), 0, "something was left behind");
}

#[test]
fn what_came_of_a_retrieval_is_an_event_of_the_box_that_was_asked() {
    let stage = Stage::new();
    let (files, mut office, _) = flooded(&stage, CLIP_BYTES / 20);
    let (to, late) = (stage.path("to"), stage.path("late"));
    let done = last_line(begin(&office, &to), 0);
    assert_same_trees(&files, &to);
    let told = |office: &BoxProcess| -> Vec<Value> {
        let told = office.succeeds(&["events", "--json"]);
        let events = told.lines().map(|line| serde_json::from_str(line).unwrap());
        let is_ours = |event: &Value| event["kind"].as_str().unwrap().starts_with("retrieval_");
        events.filter(is_ours).collect()
    };
    office.until_told("retrieval_done", "moment", |_| true);
    let events = told(&office);
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["kind"], "retrieval_done");
    let text = events[0]["text"].as_str().unwrap();
    let count = format!("of home; {} files", done["files"]);
    assert!(text.contains(&count), "{text}");

    // Something in the only copy rots.
    office.stop();
    let segment = office.dir.join("store/seg-000001");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle..middle + 16_384].fill(0xa5);
    fs::write(&segment, bytes).unwrap();
    office.start();
    let damaged = last_line(begin(&office, &late), 4);
    office.until_told("retrieval_incomplete", "moment", |_| true);
    let events = told(&office);
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!(events[1]["kind"], "retrieval_incomplete");
    assert_eq!(events[1]["type"], "failure");
    let missing = damaged["failed_count"].as_u64().unwrap();
    let text = events[1]["text"].as_str().unwrap();
    assert!(text.contains(&format!("{missing} thing")), "{text}");
    assert_nothing_half(&files, &late);
}

#[test]
fn what_cannot_be_had_is_listed_by_its_path_and_the_rest_comes_back() {
    let stage = Stage::new();
    let (files, mut office, _) = flooded(&stage, 0);
    office.stop();
    let segment = office.dir.join("store/seg-000001");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 16_384].fill(0xa5);
    fs::write(&segment, bytes).unwrap();
    office.start();
    let to = stage.path("to");
    let output = begin(&office, &to).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert_nothing_half(&files, &to);
    let (all, back) = (stage::tree(&files), stage::tree(&to));
    let missing = all.keys().filter(|path| !back.contains_key(*path));
    let missing: Vec<&str> = missing.map(|path| path.to_str().unwrap()).collect();
    assert!(!missing.is_empty() && missing.len() < 5, "{missing:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<_> = lines.collect();
    let told = lines
        .iter()
        .filter_map(|line| line["failed"]["path"].as_str());
    let mut told: Vec<_> = told.collect();
    told.sort_unstable();
    assert_eq!(told, missing, "{lines:?}");
    let last = lines.last().unwrap();
    assert_eq!(last["failed_count"], missing.len(), "{last}");
    assert_eq!(last["failed"][0][0], told[0], "{last}");
    assert_eq!(
        last["files"].as_u64(),
        Some(stage_files(&all) - missing.len() as u64)
    );
    // People see the same.
    let again = stage.path("again");
    let shown = office.run(&[
        "retrieve",
        "--author",
        "home",
        "--to",
        again.to_str().unwrap(),
    ]);
    assert_eq!(shown.status.code(), Some(4), "{shown:?}");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("did NOT come back"), "{shown}");
    for path in missing {
        assert!(shown.contains(&format!("\n  {path}: ")), "{path}: {shown}");
    }
}

#[test]
fn a_part_is_counted_as_a_part_in_plain_lines_without_a_terminal() {
    let stage = Stage::new();
    let (_files, office, _) = flooded(&stage, CLIP_BYTES);
    let to = stage.path("to");
    let mut command = office.command();
    let wanted = ["retrieve", "--author", "home", "--path", "zz-film", "--to"];
    let piped = command.args(wanted).arg(&to).stderr(Stdio::piped());
    let mut retrieving = piped.stdout(Stdio::null()).spawn().unwrap();
    assert!(
        until_there(&mut retrieving, &to, (CLIP_BYTES / 2) as u64),
        "it was over before anybody could look"
    );
    // The rest waits until somebody has read how far it is.
    stage::signal("-STOP", office.pid());
    let lines = BufReader::new(retrieving.stderr.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let line = lines.find(|line| line.starts_with("retrieving: "));
    stage::signal("-CONT", office.pid());
    let line = line.expect("it tells before its end");
    for said in [" of 80 MiB, ", "/s, ", " left, 0 of 1 file, zz-film"] {
        assert!(line.contains(said), "{said}: {line}");
    }
    assert_eq!(retrieving.wait().unwrap().code(), Some(0));
}

fn stage_files(tree: &std::collections::BTreeMap<PathBuf, String>) -> u64 {
    tree.values()
        .filter(|told| told.contains("is_file: true"))
        .count() as u64
}
