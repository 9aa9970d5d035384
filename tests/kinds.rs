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

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
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

/// What belongs to somebody else, or only the superuser can make; and what is told of each when an ordinary user gets it back.
fn plant_what_is_not_ours(stage: &Stage, files: &Path) -> BTreeMap<String, String> {
    let somebody_else = Some(1234);
    stage.as_user(|| {
        fs::create_dir_all(files.join("given dir")).unwrap();
        for name in ["ours", "given", "set-user", "capable", "given dir/ours"] {
            fs::write(files.join(name), noise(name, 5000)).unwrap();
        }
        symlink("ours", files.join("given link")).unwrap();
    });
    for name in ["given", "set-user", "given dir"] {
        chown(files.join(name), somebody_else, somebody_else).unwrap();
    }
    lchown(files.join("given link"), somebody_else, somebody_else).unwrap();
    fs::set_permissions(files.join("set-user"), fs::Permissions::from_mode(0o4755)).unwrap();
    let bits = "owner, set-user or set-group bits";
    let mut told = vec![
        ("given", "owner"),
        ("given dir", "owner"),
        ("given link", "owner"),
        ("set-user", bits),
    ];
    // Not every place where stories are played lets even the superuser make these.
    if forest::make_device(&files.join("null")) {
        told.push(("null", "a device, which only the superuser may make"));
    }
    if forest::make_capable(&files.join("capable")) {
        told.push(("capable", "security.capability"));
    }
    let told = told.into_iter();
    told.map(|(name, what)| (name.to_owned(), what.to_owned()))
        .collect()
}

#[test]
fn what_an_ordinary_user_may_not_set_is_named_and_everything_comes_back() {
    let stage = Stage::of_an_ordinary_user();
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped, because only the superuser can give files to somebody else");
        return;
    }
    let files = stage.path("files");
    let wanted = plant_what_is_not_ours(&stage, &files);
    let mut home = stage.new_box_of_the_superuser("home");
    let (data, sheet) = (format!("files={}", files.display()), stage.path("words"));
    let args = ["init", "--name", "home", "--data", &data, "--sheet"];
    home.succeeds(&[&args[..], &[sheet.to_str().unwrap()]].concat());
    home.start();
    let office = stage.joined_box("office", &home);
    let (first, status) = answer(&home, &["snapshot", "--wait", "--json"]);
    assert_eq!(status, Some(0), "{first}");

    // The office's keeper and whoever calls it there are an ordinary user.
    let retrieve = ["retrieve", "--author", "home", "--to"];
    let to = stage.path("came-back");
    let output = office.run(&[&retrieve[..], &[to.to_str().unwrap(), "--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (report, each) = lines.split_last().unwrap();
    assert_eq!(report["failed_count"], 0, "{report}");
    assert_eq!(report["not_set_count"], wanted.len(), "{report}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = report["not_set"].as_array().unwrap().iter();
    let list: BTreeMap<_, _> = list.map(|one| (text(&one[0]), text(&one[1]))).collect();
    assert_eq!(list, wanted);
    let each = each.iter().map(|line| &line["not_set"]);
    let each: BTreeMap<_, _> = each
        .map(|one| (text(&one["path"]), text(&one["what"])))
        .collect();
    assert_eq!(each, wanted);

    let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
    assert_same(&files, &to, &names);
    for name in ["given", "set-user", "capable"] {
        assert_eq!(fs::read(to.join(name)).unwrap(), noise(name, 5000));
    }
    let bits = fs::metadata(to.join("set-user")).unwrap().mode() & 0o7777;
    assert_eq!(bits, 0o755, "whoever it belongs to now has not these bits");
    assert_eq!(
        fs::read_link(to.join("given link")).unwrap(),
        Path::new("ours")
    );
    assert!(!to.join("null").exists());

    let to = stage.path("came-back-in-words");
    let said = office.succeeds(&[&retrieve[..], &[to.to_str().unwrap()]].concat());
    let heading = format!("{} things with attributes you may not set:", wanted.len());
    let (_, listed) = said
        .split_once(&heading)
        .unwrap_or_else(|| panic!("{said}"));
    let listed: Vec<_> = listed.trim_start_matches('\n').lines().take(4).collect();
    for line in listed {
        let (name, what) = line
            .trim()
            .split_once(": ")
            .unwrap_or_else(|| panic!("{said}"));
        assert_eq!(wanted.get(name).map(String::as_str), Some(what), "{said}");
    }
}
