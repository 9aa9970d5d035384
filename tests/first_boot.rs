//! Boxes that boot for the first time from one image whose root nobody may write to: what each becomes is in its state directory alone.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stage::{BoxProcess, Stage, assert_same_trees, make_tree, tree};

/// What a Box finds when it boots: a host name, a writable /var/lib and /run of its own, and everything else as it is, but read-only.
/// Variables: `host`, `disk` (what is its own), `image`.
const BOOT: &str = r#"#!/bin/sh
user=
[ "$(id -u)" = 0 ] || user="--user --map-root-user"
exec unshare $user --mount --uts --propagation private sh -euc '
    echo "$host" >/proc/sys/kernel/hostname
    mount --bind "$disk/lib" /var/lib
    mount --bind "$disk/run" /run
    mount --bind "$image" "$image"
    mount -o remount,bind,ro "$image"
    mount -o remount,bind,ro /
    if [ -w / ] || [ -w "$image" ]; then
        echo "the root is not read-only" >&2
        exit 99
    fi
    # The default place is meant.
    unset RESERVE_DIR
    exec "$image/reserve" "$@"
' sh "$@"
"#;

/// One that boots from the image.
struct Booting {
    reserve: BoxProcess,
    ticket: PathBuf,
}

/// The image, and where Boxes have what is their own.
fn image(stage: &Stage) -> PathBuf {
    let image = stage.path("image");
    fs::create_dir(&image).unwrap();
    fs::copy(stage::program(), image.join("reserve")).unwrap();
    let first_boot = "ticket_file = \"/run/ticket\"\nsite = \"attic\"\n";
    fs::write(image.join("first-boot.toml"), first_boot).unwrap();
    image
}

fn booting(stage: &Stage, image: &Path, name: &str) -> Booting {
    let disk = stage.path(&format!("{name}-disk"));
    for dir in ["lib", "run"] {
        fs::create_dir_all(disk.join(dir)).unwrap();
    }
    let boot = disk.join("boot");
    let said = [
        ("host", name),
        ("disk", disk.to_str().unwrap()),
        ("image", image.to_str().unwrap()),
    ];
    let said = said
        .map(|(name, value)| format!("export {name}='{value}'\n"))
        .concat();
    let (first, rest) = BOOT.split_once('\n').unwrap();
    fs::write(&boot, format!("{first}\n{said}{rest}")).unwrap();
    fs::set_permissions(&boot, fs::Permissions::from_mode(0o755)).unwrap();
    Booting {
        reserve: stage.new_box_in(name, disk.join("lib/reserve"), boot),
        ticket: disk.join("run/ticket"),
    }
}

/// What a Box is to others.
fn identity(of: &BoxProcess) -> Vec<u8> {
    fs::read(of.dir.join("identity")).unwrap()
}

#[test]
fn two_boxes_of_one_read_only_image_become_two_and_boot_again_without_harm() {
    let stage = Stage::new();
    let image = image(&stage);
    let boxes = ["attic", "cellar"].map(|name| booting(&stage, &image, name));
    let looked = boxes[0].reserve.run(&["--version"]);
    if !looked.status.success() {
        let why = String::from_utf8_lossy(&looked.stderr);
        assert_ne!(looked.status.code(), Some(99), "{why}");
        eprintln!("skipped, because no Box can have a root of its own here: {why}");
        return;
    }
    let of_image = tree(&image);
    let files = stage.path("files");
    make_tree(&files, 2);
    let home = stage.first_box("home", &files);

    let first_boot = image.join("first-boot.toml");
    let join = ["join", "--from-file", first_boot.to_str().unwrap()];
    let mut running = Vec::new();
    for Booting {
        mut reserve,
        ticket,
    } in boxes
    {
        let name = reserve.name.clone();
        assert!(!reserve.dir.exists(), "the image has no state");
        fs::write(&ticket, home.succeeds(&["invite"])).unwrap();
        reserve.succeeds(&join);
        let first = identity(&reserve);
        fs::remove_file(&ticket).unwrap();
        reserve.succeeds(&join);
        assert_eq!(identity(&reserve), first, "the second boot changes nothing");
        reserve.start();
        home.until_met(&name);
        running.push(reserve);
    }
    assert_ne!(identity(&running[0]), identity(&running[1]));
    let peers = home.json(&["peers", "--json"]);
    let keys = peers.as_array().unwrap().iter();
    let mut keys: Vec<_> = keys.map(|peer| peer["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 3, "{peers}");

    // They keep and give back as any other, and nothing of it is outside their state directories.
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(
        (&outcome["protected"], &outcome["copies"]),
        (&true.into(), &2.into()),
        "{outcome}"
    );
    for reserve in &mut running {
        let doctor: Value =
            serde_json::from_slice(&reserve.run(&["doctor", "--json"]).stdout).unwrap();
        let failed: Vec<_> = doctor
            .as_array()
            .unwrap()
            .iter()
            .filter(|line| line["verdict"] == "failure")
            .collect();
        assert!(failed.is_empty(), "{failed:?}");
        let to = reserve.dir.with_file_name("came-back");
        reserve.succeeds(&["retrieve", "--author", "home", "--to", "/var/lib/came-back"]);
        assert_same_trees(&files, &to);
        reserve.stop();
        // The next boot.
        reserve.succeeds(&join);
        reserve.start();
        home.until_met(&reserve.name);
    }
    assert_eq!(tree(&image), of_image, "the image is as it was");
}
