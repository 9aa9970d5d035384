//! One directory of a hundred thousand names goes out, is found unchanged and comes back, in no more memory than any other.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use stage::{Stage, until_settled};

/// Names in the directory.
const NAMES: usize = 100_000;
/// Of these, files of a few bytes of their own.
const TINY: usize = 4_000;
/// After so many names others are given to another file: no file system allows more than some 65,000 of one.
const NAMES_OF_ONE: usize = 3_000;

/// Makes the directory: some files hold a few bytes, most names are second names of one of those, all others are empty files.
fn make_crowd(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    let mut last = None;
    for number in 0..NAMES {
        // Not in the order in which they are walked.
        let path = dir.join(format!("{:05x}-{number}", number * 48_271 % 99_991));
        match number % (NAMES / TINY) {
            0 => {
                fs::write(&path, format!("note {number}")).unwrap();
                if number % NAMES_OF_ONE == 0 {
                    last = Some(path);
                }
            }
            1..=17 => fs::hard_link(last.as_ref().unwrap(), &path).unwrap(),
            _ => drop(File::create(&path).unwrap()),
        }
    }
}

/// What a name stands for: kind and rights, length, times, contents of what is not empty. Second names of a file have one number.
type Told = (u32, u64, i64, i64, Vec<u8>, u64);

fn told(dir: &Path) -> BTreeMap<Vec<u8>, Told> {
    let (mut found, mut groups) = (BTreeMap::new(), BTreeMap::new());
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_encoded_bytes();
        let meta = entry.metadata().unwrap();
        // Each file is read once, whatever it is called.
        let (names, contents) = groups.entry(meta.ino()).or_insert_with(|| {
            let contents = match meta.size() {
                0 => Vec::new(),
                _ => fs::read(entry.path()).unwrap(),
            };
            (Vec::new(), contents)
        });
        names.push(name.clone());
        let told = (
            meta.mode(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            contents.clone(),
            meta.nlink(),
        );
        found.insert(name, told);
    }
    // The names of one file here are the names of one file there.
    for (names, _) in groups.values_mut() {
        names.sort();
        for name in &*names {
            let told = found.get_mut(name).unwrap();
            told.4.extend(&names[0]);
        }
    }
    found
}

#[test]
fn a_directory_of_a_hundred_thousand_names_comes_back_identical_in_little_memory() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_crowd(&files.join("crowd"));
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    until_settled();
    let first = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(first["protected"], true, "{first}");
    assert_eq!(first["files_read"], NAMES, "{first}");

    let second = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(second["files_read"], 0, "{second}");
    assert_eq!(second["chunks_new"], 1, "its manifest: {second}");

    let to = stage.path("came-back");
    let args = ["retrieve", "--author", "home", "--json", "--to"];
    let back = office.json(&[&args[..], &[to.to_str().unwrap()]].concat());
    assert_eq!(back["files"], NAMES, "{back}");
    let (ours, theirs) = (told(&files.join("crowd")), told(&to.join("crowd")));
    assert_eq!(ours.len(), NAMES);
    let differs = ours
        .iter()
        .find(|(name, told)| theirs.get(*name) != Some(told));
    assert!(differs.is_none() && theirs.len() == NAMES, "{differs:?}");

    let least = 64 << 20;
    for keeper in [&home, &office] {
        let status = keeper.json(&["status", "--json"]);
        let told = status["memory_bytes"][1].as_u64().unwrap();
        assert!(told <= least, "{} says {told} bytes", keeper.name);
        assert!(
            keeper.peak_kib() << 10 <= least,
            "{} KiB",
            keeper.peak_kib()
        );
    }
    assert!(back["memory_peak_bytes"].as_u64() <= Some(least), "{back}");
}
