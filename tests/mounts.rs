//! A disk mounted below a data set is unplugged: what was on it stays in the snapshot as it was and is told by its path, until it is
//! back or a person says that it is meant.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use stage::{Stage, assert_same_trees, make_tree, noise, until_settled};

/// A file system in memory at a directory, for as long as it is wanted.
struct Disk {
    at: PathBuf,
    is_there: bool,
}

impl Disk {
    /// None where whoever runs this may not mount anything.
    fn at(at: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "none"])
            .arg(at)
            .output();
        let is_there = mounted.is_ok_and(|mounted| mounted.status.success());
        is_there.then(|| Self {
            at: at.to_owned(),
            is_there,
        })
    }

    fn unplug(&mut self) {
        if std::mem::take(&mut self.is_there) {
            let unmounted = Command::new("umount").arg(&self.at).status().unwrap();
            assert!(unmounted.success());
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_there {
            let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        }
    }
}

#[test]
fn what_was_on_an_unplugged_disk_stays_as_it_was_and_is_told_by_its_path() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let mount_point = files.join("disk");
    fs::create_dir(&mount_point).unwrap();
    let Some(mut disk) = Disk::at(&mount_point) else {
        println!("nothing may be mounted here: a disk cannot be unplugged");
        return;
    };
    fs::create_dir(mount_point.join("films")).unwrap();
    for number in 0..5 {
        let name = format!("films/{number}");
        fs::write(mount_point.join(&name), noise(&name, 700_000)).unwrap();
    }
    let good = stage.path("good");
    let copied = Command::new("cp").arg("-a").arg(&files).arg(&good).status();
    assert!(copied.unwrap().success());
    until_settled();
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let (code, first) = home.taken(&[]);
    assert_eq!(code, Some(0), "{first}");

    disk.unplug();
    for _ in 0..2 {
        let (code, held) = home.taken(&[]);
        assert_eq!(code, Some(3), "{held}");
        assert_eq!(held["unread"][0][0], "disk", "{held}");
        let why = held["unread"][0][1].as_str().unwrap();
        assert!(why.contains("is its disk connected?"), "{held}");
        assert_eq!(held["protected"], true, "{held}");
        assert_eq!(held["snapshot"]["accepted"], true, "{held}");
        assert_eq!(held["files_read"], 0, "{held}");
    }
    let to = stage.path("back");
    let to_text = to.to_str().unwrap();
    office.succeeds(&["retrieve", "--author", "home", "--to", to_text]);
    assert_same_trees(&good, &to);

    let (code, meant) = home.taken(&["--accept-loss"]);
    assert_eq!(code, Some(0), "{meant}");
    let (code, after) = home.taken(&[]);
    assert_eq!(code, Some(0), "{after}");
}
