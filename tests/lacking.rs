//! What no Box has any more of an older snapshot is told, and the rest of it comes back.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;
use stage::{BoxProcess, Stage, make_tree, noise, tree};

/// Numbers of the snapshots that a list says lack something.
fn lacking(list: &Value) -> Vec<u64> {
    let list = list.as_array().unwrap();
    let lacking = list.iter().filter(|one| one["is_lacking"] == true);
    lacking.map(|one| one["number"].as_u64().unwrap()).collect()
}

/// One bit of a keeper's first segment rots while it is off; it finds that when it runs again.
fn rots(office: &mut BoxProcess, at: u64) {
    office.stop();
    let segment = office.dir.join("store/seg-000001");
    let mut file = OpenOptions::new();
    let file = file.read(true).write(true).open(segment).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    file.sync_all().unwrap();
    office.start();
    office.run(&["sweep", "--now"]);
    office.until_told("chunk_damaged", "raise", |_| true);
}

#[test]
fn an_author_is_told_which_older_snapshots_lack_what_no_box_has_any_more() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 2);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let taken = || {
        let (code, outcome) = home.taken(&[]);
        assert_eq!(code, Some(0), "{outcome}");
    };
    taken();
    let segment = office.dir.join("store/seg-000001");
    let end = || fs::metadata(&segment).unwrap().len();
    let film = end();
    fs::write(files.join("film"), noise("film", 3 << 20)).unwrap();
    taken();
    let song = end();
    fs::remove_file(files.join("film")).unwrap();
    fs::write(files.join("song"), noise("song", 1 << 20)).unwrap();
    taken();
    fs::remove_file(files.join("song")).unwrap();
    taken();
    assert_eq!(lacking(&home.json(&["snapshots", "--json"])), [0; 0]);

    // In the middle of the film's first chunk, which nobody but office has: no chunk is shorter than that.
    rots(&mut office, film + (100 << 10));
    home.until_met("office");

    let told = home.until_told("snapshots_lacking", "raise", |_| true);
    assert_eq!(
        (&told["type"], &told["subject"]),
        (&"failure".into(), &"itself".into()),
        "{told}"
    );
    assert_eq!(told["facts"]["count"]["number"], 1, "{told}");
    assert_eq!(told["facts"]["number"]["number"], 2, "{told}");
    let list = home.json(&["snapshots", "--json"]);
    assert_eq!(lacking(&list), [2], "{list}");
    let shown = home.succeeds(&["snapshots"]);
    let lines = shown.lines().filter(|line| line.contains("LACKS parts"));
    assert_eq!(lines.count(), 1, "{shown}");
    let status = home.run(&["status"]);
    let shown = String::from_utf8(status.stdout).unwrap();
    // The newest one is safe, and what is lost nobody can mend.
    assert_eq!(status.status.code(), Some(0), "{shown}");
    assert!(shown.starts_with("All your files are safe"), "{shown}");
    assert!(
        shown.contains("snapshots of this Box lack parts"),
        "{shown}"
    );

    // All but the film comes back.
    let list = list.as_array().unwrap();
    let second = list.iter().find(|one| one["number"] == 2).unwrap();
    let (id, to) = (second["id"].as_str().unwrap(), stage.path("back"));
    let to_text = to.to_str().unwrap();
    let back = home.run(&["retrieve", "--snapshot", id, "--to", to_text]);
    assert_eq!(back.status.code(), Some(4), "{back:?}");
    let below = |root: &Path| {
        let mut all = tree(root);
        // The directory itself changed when the film went, and what is not all there yet says so.
        for name in ["", ".reserve-unfinished"] {
            all.remove(Path::new(name));
        }
        all
    };
    assert_eq!(below(&files), below(&to));

    // What is lost beyond that is news, too.
    rots(&mut office, song + (100 << 10));
    let is_more = |told: &Value| told["facts"]["count"]["number"] == 2;
    home.until_told("snapshots_lacking", "raise", is_more);
    assert_eq!(lacking(&home.json(&["snapshots", "--json"])), [3, 2]);

    // Nobody needs any of it any more when those snapshots were let go.
    home.succeeds(&["forget", "2", "3", "--yes"]);
    home.until(&["snapshots", "--json"], |list| lacking(list).is_empty());
    home.until_told("snapshots_lacking", "clear", |_| true);
    assert_eq!(lacking(&home.json(&["snapshots", "--json"])), [0; 0]);
}

#[test]
fn a_store_that_is_not_mounted_loses_nothing() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 2);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let (code, outcome) = home.taken(&[]);
    assert_eq!(code, Some(0), "{outcome}");
    office.kill();
    let (store, disk) = (office.dir.join("store"), stage.path("disk"));
    fs::rename(&store, &disk).unwrap();
    fs::create_dir(&store).unwrap();
    office.start();
    office.until_told("store_lost", "raise", |_| true);
    // Home has looked at all that office no longer has, and could make none of it again.
    home.until(&["status", "--json"], |status| status["safe"] == false);
    let looked = "copies of snapshots could not be made again";
    home.until(&["status", "--json"], |_| home.log().contains(looked));
    let told = home.events(&[]).into_iter();
    let wrong: Vec<_> = told
        .filter(|event| event["kind"] == "snapshots_lacking")
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    fs::remove_dir(&store).unwrap();
    fs::rename(&disk, &store).unwrap();
    home.until(&["status", "--json"], |status| status["safe"] == true);
    assert_eq!(lacking(&home.json(&["snapshots", "--json"])), [0; 0]);
}
