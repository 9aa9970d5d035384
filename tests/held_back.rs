//! Another program fills the disk a keeper is on: data is refused, and what describes it still finds the room that was held back.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use stage::{Stage, make_tree, noise};

/// A small file system in memory, for as long as it is wanted.
struct Disk(PathBuf);

impl Disk {
    /// None where whoever runs this may not mount anything.
    fn at(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=112m", "none"])
            .arg(at)
            .output();
        let is_there = mounted.is_ok_and(|mounted| mounted.status.success());
        is_there.then(|| Self(at.to_owned()))
    }

    /// Takes all that is left; gives what it took it with.
    fn filled_by_another_program(&self) -> PathBuf {
        let path = self.0.join("somebody-elses");
        let mut file = File::create(&path).unwrap();
        let block = vec![1; 4096];
        while file.write_all(&block).is_ok() {}
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Bytes of a file that nobody else can take.
fn taken(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn a_snapshot_without_new_data_is_protected_on_a_disk_that_somebody_else_filled() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let home = stage.first_box("home", &files);
    let store = stage.path("office").join("store");
    let Some(disk) = Disk::at(&store) else {
        println!("nothing may be mounted here: a small disk cannot be had");
        return;
    };
    let office = stage.joined_box("office", &home);
    let protected = |args: &[&str]| {
        let outcome = home.run(&[&["snapshot", "--wait", "--json"], args].concat());
        let outcome: serde_json::Value = serde_json::from_slice(&outcome.stdout)
            .unwrap_or_else(|_| panic!("{outcome:?}\n{}", home.log()));
        outcome["protected"] == true
    };
    assert!(protected(&[]));
    let held_back = store.join("held-back");
    let all = taken(&held_back);
    assert_eq!(all, 64 << 20);

    let filling = disk.filled_by_another_program();
    assert!(taken(&held_back) == all, "nobody else can take it");
    // Nothing but attributes changed: an index, a manifest and a head.
    for number in 0..300 {
        let path = files.join(format!("a/{number}.txt"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert!(protected(&[]), "{}", office.log());
    assert!(taken(&held_back) < all, "it gave way");

    // Data finds no room there.
    fs::write(files.join("news"), noise("news", 1_000_000)).unwrap();
    let refused = home.run(&["snapshot", "--wait", "--try-anyway"]);
    assert!(!refused.status.success(), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("full"), "{told}");

    fs::remove_file(filling).unwrap();
    assert!(protected(&[]), "{}", home.log());
    assert_eq!(taken(&held_back), all, "it is held back again");
}
