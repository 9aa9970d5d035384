//! A keeper that lost or damaged what it keeps, or has no more room, says so, and everything is as it should be again by itself.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use stage::mounted::Mounted;
use stage::trio::Trio;
use stage::{BoxProcess, Stage, make_tree};

/// Office starts again; returns when it has proven all of its share in this run.
fn office_returns(reserve: &mut Trio) {
    let proofs = || reserve.home.log().matches("confirmed its share").count();
    let before = proofs();
    reserve.office.start();
    reserve.home.until(&["status", "--json"], |status| {
        status["safe"] == true && status["copies"] == 2 && proofs() > before
    });
}

fn first_segment(keeper: &BoxProcess) -> PathBuf {
    keeper.dir.join("store/seg-000001")
}

/// Flips a bit every so many bytes: some hit bodies, some headers.
fn rot(segment: &Path, every: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(segment)
        .unwrap();
    let len = file.metadata().unwrap().len();
    for at in (4096 + 40..len).step_by(usize::try_from(every).unwrap()) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    }
    file.sync_all().unwrap();
}

#[test]
fn a_keeper_damaged_while_it_was_off_confirms_only_what_is_whole_and_gets_the_rest_again() {
    let mut reserve = Trio::protected();
    reserve.office.kill();
    rot(&first_segment(&reserve.office), 2_500_000);
    office_returns(&mut reserve);
    let log = reserve.office.log();
    assert!(log.contains("a chunk is damaged"), "{log}");
    // Compared with both others since, it lacks nothing any more: no later start tells that place again.
    let is_healed = |status: &Value| {
        status["store"]["damaged"] == 0 && status["store"]["damaged_at_start"] == 0
    };
    reserve.office.until(&["status", "--json"], is_healed);
    reserve
        .office
        .until_told("store_damaged", "clear", |_| true);
    reserve.office.kill();
    office_returns(&mut reserve);
    let status = reserve.office.json(&["status", "--json"]);
    assert_eq!(status["store"]["damaged_at_start"], 0, "{status}");
    let log = reserve.office.log();
    let (_, started) = log.rsplit_once("the store is open").unwrap();
    let (start, _) = started.split_once("the keeper runs").unwrap();
    assert!(!start.contains("damage"), "{start}");
    reserve.comes_back_from_office_alone();
}

#[test]
fn a_store_whose_disk_is_not_mounted_is_told_and_nothing_is_written_in_its_place_until_it_is_back()
{
    let mut reserve = Trio::protected();
    reserve.office.kill();
    let (store, disk) = (reserve.office.dir.join("store"), reserve.stage.path("disk"));
    fs::rename(&store, &disk).unwrap();
    fs::create_dir(&store).unwrap();
    reserve.office.start();
    let office = &reserve.office;
    let told = office.until_told("store_lost", "raise", |_| true);
    assert_eq!(told["type"], "failure", "{told}");
    let status = office.until(&["status", "--json"], |status| status["safe"] == false);
    let sentence = status["sentence"].as_str().unwrap();
    assert!(sentence.contains("is not here"), "{status}");
    let doctor = String::from_utf8(office.run(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("reserve store new"), "{doctor}");
    // Home finds at its next contact that the copies cannot be counted on, and what it sends is refused.
    let home = &reserve.home;
    home.until(&["status", "--json"], |status| status["safe"] == false);
    assert_eq!(fs::read_dir(&store).unwrap().count(), 0);

    let proofs = || home.log().matches("confirmed its share").count();
    let before = proofs();
    fs::remove_dir(&store).unwrap();
    fs::rename(&disk, &store).unwrap();
    office.until_told("store_lost", "clear", |_| true);
    home.until(&["status", "--json"], |status| {
        status["safe"] == true && proofs() > before
    });
    let kept = office.succeeds(&["store", "new"]);
    assert!(kept.is_empty(), "what is said goes to people: {kept}");
    reserve.comes_back_from_office_alone();
}

#[test]
fn a_keeper_whose_disk_was_replaced_is_filled_again_when_a_person_says_so() {
    let mut reserve = Trio::protected();
    reserve.office.kill();
    let store = reserve.office.dir.join("store");
    fs::remove_dir_all(&store).unwrap();
    let proofs = || reserve.home.log().matches("confirmed its share").count();
    let before = proofs();
    reserve.office.start();
    reserve.office.until_told("store_lost", "raise", |_| true);
    assert!(!store.exists());
    reserve.office.succeeds(&["store", "new"]);
    reserve.office.until_told("store_lost", "clear", |_| true);
    reserve.home.until(&["status", "--json"], |status| {
        status["safe"] == true && status["copies"] == 2 && proofs() > before
    });
    reserve.comes_back_from_office_alone();
}

#[test]
fn a_keeper_whose_segment_was_deleted_is_filled_again() {
    let mut reserve = Trio::protected();
    reserve.office.kill();
    fs::remove_file(first_segment(&reserve.office)).unwrap();
    office_returns(&mut reserve);
    reserve.comes_back_from_office_alone();
}

#[test]
fn what_rots_while_the_keeper_runs_is_found_by_a_sweep_and_fetched_anew() {
    let mut reserve = Trio::protected();
    rot(&first_segment(&reserve.office), 3_000_000);
    let swept = reserve.office.run(&["sweep", "--now", "--json"]);
    let swept: Value = serde_json::from_slice(&swept.stdout).unwrap();
    assert!(swept["damaged_count"].as_u64() > Some(3), "{swept}");
    // What has no name any more comes with the author's next question; the rest came at once.
    assert!(swept["replaced"].as_u64() > Some(3), "{swept}");
    reserve.office.until(&["status", "--json"], |status| {
        status["store"]["damaged"] == 0
    });
    let swept = reserve.office.json(&["sweep", "--now", "--json"]);
    assert_eq!(swept["still_damaged"], 0, "{swept}");
    // Each chunk is an episode: where it was found, and how it was healed.
    let office = &reserve.office;
    let raised = office.until_told("chunk_damaged", "raise", |_| true);
    assert_eq!(raised["type"], "warning", "{raised}");
    assert_eq!(
        raised["facts"]["path"]["text"], "store/seg-000001",
        "{raised}"
    );
    let healed = office.until_told("chunk_damaged", "clear", |event| {
        event["episode"] == raised["sequence"]
    });
    assert_eq!(healed["subject"], raised["subject"], "{healed}");
    let how = healed["facts"]["reason"]["text"].as_str().unwrap();
    assert!(how.contains("a whole copy is here again"), "{healed}");
    office.until_told("store_damaged", "clear", |_| true);
    let standing = office.json(&["status", "--json"])["standing"].clone();
    assert_eq!(standing.as_array().map(Vec::len), Some(0), "{standing}");

    // With nobody left to fetch from, that is said.
    reserve.home.kill();
    reserve.friend.kill();
    rot(&first_segment(&reserve.office), 700_000);
    let output = reserve.office.run(&["sweep", "--now"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("still damaged"), "{told}");
    // The others return, and all is mended.
    reserve.friend.start();
    reserve.home.start();
    reserve.office.until(&["status", "--json"], |status| {
        status["store"]["damaged"] == 0
    });
    reserve.comes_back_from_office_alone();
}

fn peer(peers: &Value, name: &str) -> Value {
    let all = peers.as_array().unwrap();
    let found = all.iter().find(|peer| peer["name"] == name);
    found.cloned().unwrap_or(Value::Null)
}

/// Joins a Box whose `[store]` says something, and starts it.
fn joined_with(stage: &Stage, name: &str, inviter: &BoxProcess, store: &str) -> BoxProcess {
    let mut newcomer = stage.new_box(name);
    let ticket = inviter.succeeds(&["invite"]);
    newcomer.succeeds(&["join", "--name", name, ticket.trim()]);
    set_store(&newcomer, store);
    newcomer.start();
    newcomer
}

fn set_store(keeper: &BoxProcess, store: &str) {
    let path = keeper.dir.join("box.toml");
    let config = fs::read_to_string(&path).unwrap();
    let (before, after) = config.split_once("[store]\n").unwrap();
    let after = after
        .lines()
        .filter(|line| !line.contains("_bytes") && !line.contains("table_chunks"))
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(path, format!("{before}[store]\n{store}\n{after}\n")).unwrap();
}

/// The snapshot is published on friend, and office has no room for its share.
fn is_refused(home: &BoxProcess, why: &str) {
    // Home knows beforehand that it will not fit, and is told to go on.
    let output = home.run(&["snapshot", "--wait", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("will not fit on 1 of 2 keepers (office has room for"),
        "{told}"
    );
    let output = home.run(&["snapshot", "--wait", "--json", "--try-anyway"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let status = home.until(&["status", "--json"], |status| {
        status["todo"]
            .as_str()
            .is_some_and(|todo| todo.contains(&format!("office: {why}")))
    });
    assert_eq!(status["safe"], false, "{status}");
}

#[test]
fn a_keeper_with_a_small_capacity_refuses_with_its_figures_and_takes_the_rest_when_it_is_larger() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 8);
    let home = stage.first_box("home", &files);
    let mut office = joined_with(&stage, "office", &home, "capacity_bytes = 12000000");
    let _friend = stage.joined_box("friend", &home);
    is_refused(&home, "its disk is full (it keeps ");
    // Both sides tell it: the keeper that it refused, the author that it was refused.
    let full = office.until_told("disk_full", "raise", |event| event["subject"] == "itself");
    assert_eq!(full["type"], "failure", "{full}");
    office.until_told("disk_nearly_full", "raise", |event| {
        event["type"] == "warning" && event["subject"] == "itself"
    });
    let there = home.until_told("disk_full", "raise", |_| true);
    assert_eq!(there["subject"]["box"], "office", "{there}");
    let kept = office.json(&["status", "--json"])["store"]["bytes"].as_u64();
    assert!(
        kept <= Some(12_000_000) && kept > Some(6_000_000),
        "{kept:?}"
    );
    office.kill();
    set_store(&office, "capacity_bytes = 200000000");
    office.start();
    home.until(&["status", "--json"], |status| {
        status["safe"] == true && status["copies"] == 2
    });
    for kind in ["disk_full", "disk_nearly_full"] {
        office.until_told(kind, "clear", |event| event["subject"] == "itself");
        home.until_told(kind, "clear", |event| event["subject"]["box"] == "office");
    }
}

#[test]
fn people_are_warned_of_a_disk_a_table_and_a_quota_before_anything_is_refused() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 8);
    let home = stage.first_box("home", &files);
    let office = joined_with(&stage, "office", &home, "capacity_bytes = 31000000");
    let quota = "quota_bytes_per_author = 27500000";
    let mut friend = joined_with(&stage, "friend", &home, quota);
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");
    let disk = office.until_told("disk_nearly_full", "raise", |_| true);
    assert_eq!(
        (&disk["type"], &disk["subject"]),
        (&"warning".into(), &"itself".into())
    );
    let (used, room) = (
        &disk["facts"]["bytes"]["number"],
        &disk["facts"]["room_bytes"]["number"],
    );
    assert!(used.as_u64() > Some(20_000_000), "{disk}");
    assert!(room.as_u64() > Some(100_000), "{disk}");
    let near = friend.until_told("author_near_quota", "raise", |_| true);
    assert_eq!(near["subject"]["box"], "home", "{near}");
    assert_eq!(near["facts"]["bytes_max"]["number"], 27_500_000, "{near}");
    // How many chunks there are is the reserve's secret: a table that just holds them is made afterwards.
    let chunks = &friend.json(&["status", "--json"])["store"]["chunks"];
    let places = chunks.as_u64().unwrap() + 2;
    friend.stop();
    set_store(&friend, &format!("{quota}\ntable_chunks = {places}"));
    friend.start();
    friend.until_told("table_nearly_full", "raise", |_| true);
    // The author knows as soon as it asks how much room they have.
    home.until_told("disk_nearly_full", "raise", of("office"));
    home.until_told("quota_nearly_reached", "raise", of("friend"));
    home.until_told("table_nearly_full", "raise", of("friend"));
    for keeper in [&home, &office, &friend] {
        let failures = keeper.events(&[]).into_iter();
        let failed: Vec<_> = failures
            .filter(|event| event["type"] == "failure")
            .collect();
        assert!(failed.is_empty(), "nothing was refused: {failed:#?}");
    }
}

#[test]
fn an_author_at_its_quota_is_told_on_both_sides_and_all_of_it_is_taken_when_it_may_have_more() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 8);
    let home = stage.first_box("home", &files);
    let mut office = joined_with(&stage, "office", &home, "quota_bytes_per_author = 9000000");
    let _friend = stage.joined_box("friend", &home);
    is_refused(&home, "this Box may have 8.58 MiB there and has ");
    let there = peer(&home.json(&["peers", "--json"]), "office");
    let here = peer(&office.json(&["peers", "--json"]), "home");
    assert_eq!(there["room"]["quota_bytes"], 9_000_000, "{there}");
    // Home asked when it was refused; its index came after that.
    let (used, kept) = (&there["room"]["used_bytes"], &here["kept_bytes"]);
    assert!(used.as_u64() > Some(4_000_000), "{there}");
    assert!(kept.as_u64() >= used.as_u64(), "{here}");
    assert!(kept.as_u64() < Some(9_000_000), "{here}");
    let store = &office.json(&["status", "--json"])["store"];
    assert_eq!(store["quota_bytes"], 9_000_000);
    let full = office.until_told("author_at_quota", "raise", |_| true);
    assert_eq!(full["subject"]["box"], "home", "{full}");
    assert_eq!(full["type"], "failure", "{full}");
    let there = home.until_told("quota_reached", "raise", |_| true);
    assert_eq!(there["subject"]["box"], "office", "{there}");

    // It may have a little more than it has: nothing is refused any more, and people stay warned.
    office.stop();
    set_store(&office, "quota_bytes_per_author = 27500000");
    office.start();
    becomes_protected(&home);
    office.until_told("author_at_quota", "clear", of("home"));
    home.until_told("quota_reached", "clear", of("office"));
    let kinds = ["author_near_quota", "quota_nearly_reached"];
    until_stands(&office, kinds[0], true);
    until_stands(&home, kinds[1], true);
    // Nothing bounds it any more.
    office.stop();
    set_store(&office, "");
    office.start();
    until_stands(&office, kinds[0], false);
    until_stands(&home, kinds[1], false);
}

/// Waits until it is told that something stands, or stands no more.
#[track_caller]
fn until_stands(of: &BoxProcess, kind: &str, wanted: bool) {
    of.until(&["status", "--json"], |status| {
        let mut standing = status["standing"].as_array().unwrap().iter();
        standing.any(|event| event["kind"] == kind) == wanted
    });
}

#[test]
fn a_keeper_whose_table_is_full_gives_what_it_has_and_takes_the_rest_when_it_has_more_places() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 2);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let mut friend = stage.joined_box("friend", &home);
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(outcome["protected"], true, "{outcome}");
    // How many chunks there are is the reserve's secret: a table that just holds them is made afterwards.
    let chunks = &office.json(&["status", "--json"])["store"]["chunks"];
    let places = chunks.as_u64().unwrap() + 3;
    office.stop();
    set_store(&office, &format!("table_chunks = {places}"));
    office.start();
    home.until_met("office");

    let before = stage.path("before");
    assert!(copy(&files, &before));
    make_tree(&files.join("more"), 8);
    // Bytes there are enough of: nobody can know beforehand.
    let output = home.run(&["snapshot", "--wait", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let why = format!(
        "office: its chunk table is full ({places} of {places} places); raise table_chunks"
    );
    let status = home.until(&["status", "--json"], |status| {
        status["todo"]
            .as_str()
            .is_some_and(|todo| todo.contains("its chunk table is full"))
    });
    assert_eq!(status["safe"], false, "{status}");
    assert!(status["todo"].as_str().unwrap().contains(&why), "{status}");
    let full = office.until_told("table_full", "raise", |_| true);
    assert_eq!(
        (&full["type"], &full["subject"]),
        (&"failure".into(), &"itself".into())
    );
    assert_eq!(full["facts"]["count_max"]["number"], places, "{full}");
    home.until_told("table_full", "raise", of("office"));

    // What it has it gives, from its own store alone.
    friend.stop();
    let to = stage.path("came-back");
    let args = ["retrieve", "--author", "home", "--snapshot", "1", "--to"];
    office.succeeds(&[&args[..], &[to.to_str().unwrap()]].concat());
    stage::assert_same_trees(&before, &to);
    friend.start();

    office.stop();
    set_store(&office, "table_chunks = 100000");
    office.start();
    becomes_protected(&home);
    office.until_told("table_full", "clear", |_| true);
    home.until_told("table_full", "clear", of("office"));
    let swept = office.json(&["sweep", "--now", "--json"]);
    assert_eq!(swept["damaged_count"], 0, "{swept}");
}

/// Nobody does anything for it.
#[track_caller]
fn becomes_protected(home: &BoxProcess) {
    home.until(&["status", "--json"], |status| {
        status["safe"] == true && status["copies"] == 2
    });
}

fn of(name: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["subject"]["box"] == name
}

/// A directory with everything in it as it is.
fn copy(from: &Path, to: &Path) -> bool {
    let copying = Command::new("cp").arg("-a").args([from, to]).status();
    copying.unwrap().success()
}

#[test]
fn a_disk_that_another_program_filled_refuses_and_takes_the_rest_when_there_is_room_without_a_restart()
 {
    let stage = Stage::new();
    let Some(mounted) = Mounted::small(stage.path("office"), 160) else {
        return;
    };
    let files = stage.path("files");
    make_tree(&files, 8);
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let _friend = stage.joined_box("friend", &home);
    let filler = mounted.path().join("of another program");
    fs::write(&filler, vec![7; 85 << 20]).unwrap();
    is_refused(&home, "its disk is full (it keeps ");
    fs::remove_file(&filler).unwrap();
    home.until(&["status", "--json"], |status| {
        status["safe"] == true && status["copies"] == 2
    });
    assert_eq!(office.json(&["status", "--json"])["store"]["damaged"], 0);
    drop(office);
}
