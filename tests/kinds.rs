//! A tree of every kind of file goes out and comes back identical: as the superuser and as an ordinary user.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

#[path = "kinds/forest.rs"]
mod forest;
mod stage;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use forest::{data_bytes, open_rights, plant, told};
use serde_json::Value;
use stage::{BoxProcess, Stage, noise};

#[track_caller]
fn assert_same(a: &Path, b: &Path, but_not: &[&str]) {
    let (ours, theirs) = (told(a), told(b));
    let differing: Vec<_> = ours
        .keys()
        .chain(theirs.keys())
        .filter(|path| !but_not.iter().any(|left_out| path.as_os_str() == *left_out))
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| {
            format!(
                "{path:?}:\n  {:?}\n  {:?}",
                ours.get(path),
                theirs.get(path)
            )
        })
        .collect();
    assert!(differing.is_empty(), "differ:\n{}", differing.join("\n"));
}

/// A command's JSON, whatever its status; and the status.
#[track_caller]
fn answer(of: &BoxProcess, args: &[&str]) -> (Value, Option<i32>) {
    let output = of.run(args);
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let value = serde_json::from_str(last)
        .unwrap_or_else(|error| panic!("{error}: {output:?}\n{}", of.log()));
    (value, output.status.code())
}

/// A file counts as settled when its last change is two seconds older than the walk: wait for the clock, not for luck.
fn settle() {
    let settled = SystemTime::now() + Duration::from_millis(2_100);
    while SystemTime::now() < settled {
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn goes_out_and_comes_back(stage: &Stage) {
    let files = stage.path("files");
    let not_there = stage.as_user(|| plant(&files));
    for what in not_there {
        eprintln!("not among the kinds, because it cannot be made here: {what}");
    }
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let (first, status) = answer(&home, &["snapshot", "--wait", "--json"]);
    assert_eq!(status, Some(0), "{first}");
    assert_eq!(
        (&first["unread_count"], &first["skipped"]),
        (&0.into(), &1.into()),
        "{first}"
    );
    // Not the holes of a hundred gibibytes, and shared bytes once.
    assert!(first["bytes_read"].as_u64() < Some(20_000_000), "{first}");

    settle();
    home.json(&["snapshot", "--wait", "--json"]);
    let third = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(third["files_read"], 0, "{third}");
    assert_eq!(third["bytes_read"], 0, "{third}");

    let to = stage.path("came-back");
    let retrieve = ["retrieve", "--author", "home", "--json", "--to"];
    let args = [&retrieve[..], &[to.to_str().unwrap()]].concat();
    let (report, status) = answer(&office, &args);
    assert_eq!(status, Some(0), "{report}");
    assert_eq!(
        (&report["failed_count"], &report["not_set_count"]),
        (&0.into(), &0.into()),
        "{report}"
    );
    assert_same(&files, &to, &[]);
    for name in ["hole 100 GiB", "hole small", "hole only", "hole comb"] {
        let (ours, theirs) = (data_bytes(&files.join(name)), data_bytes(&to.join(name)));
        assert!(
            theirs <= ours + (256 << 10),
            "{name}: {theirs} bytes instead of {ours}"
        );
    }

    // A second name alone has the contents of the first.
    let some = stage.path("some");
    let args = [
        &retrieve[..],
        &[some.to_str().unwrap(), "--path", "z-large"],
    ]
    .concat();
    let (report, _) = answer(&office, &args);
    assert_eq!(report["failed_count"], 0, "{report}");
    assert_eq!(
        fs::read(some.join("z-large")).unwrap(),
        noise("large", 3_000_000)
    );
    for keeper in [&home, &office] {
        assert!(keeper.peak_kib() <= 64 << 10, "{} KiB", keeper.peak_kib());
    }
    for root in [&files, &to] {
        stage.as_user(|| open_rights(root));
    }
}

#[test]
fn every_kind_of_file_comes_back_identical() {
    goes_out_and_comes_back(&Stage::new());
}

#[test]
fn every_kind_that_an_ordinary_user_may_make_comes_back_identical() {
    goes_out_and_comes_back(&Stage::of_an_ordinary_user());
}

#[test]
fn what_an_ordinary_user_may_not_read_is_named_and_the_rest_comes_back() {
    let stage = Stage::of_an_ordinary_user();
    let files = stage.path("files");
    stage.as_user(|| {
        fs::create_dir_all(files.join("locked dir")).unwrap();
        fs::write(files.join("locked dir/inside"), "not seen").unwrap();
        for (name, bytes) in [
            ("locked", 10),
            ("locked large", 1_000_000),
            ("open", 10),
            ("locked \x1b]0;here\x07", 10),
        ] {
            fs::write(files.join(name), noise(name, bytes)).unwrap();
        }
        for name in [
            "locked",
            "locked large",
            "locked dir",
            "locked \x1b]0;here\x07",
        ] {
            fs::set_permissions(files.join(name), fs::Permissions::from_mode(0o000)).unwrap();
        }
    });
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let (report, status) = answer(&home, &["snapshot", "--wait", "--json"]);
    assert_eq!(status, Some(3), "{report}");
    let unread = report["unread"].as_array().unwrap();
    let named: Vec<_> = unread.iter().map(|one| one[0].as_str().unwrap()).collect();
    assert_eq!(report["unread_count"], 4, "{report}");
    // No name does anything to a terminal.
    for name in [
        "locked",
        "locked large",
        "locked dir",
        "locked \\x1b]0;here\\x07",
    ] {
        assert!(named.iter().any(|told| told.ends_with(name)), "{named:?}");
    }
    let to = stage.path("came-back");
    let args = [
        "retrieve",
        "--author",
        "home",
        "--json",
        "--to",
        to.to_str().unwrap(),
    ];
    let (report, status) = answer(&office, &args);
    assert_eq!(status, Some(0), "{report}");
    assert_eq!(fs::read(to.join("open")).unwrap(), noise("open", 10));
    assert!(!to.join("locked").exists() && !to.join("locked large").exists());
    stage.as_user(|| {
        for root in [&files, &to] {
            let dir = root.join("locked dir");
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
        }
    });
}
