//! The story of a database that is written to while it is protected: what comes back opens and holds what was written before.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rusty_leveldb::{DB, LdbIterator, Options};
use stage::{Stage, noise};

fn options() -> Options {
    // Small tables, so that they come and go while the story runs.
    Options {
        write_buffer_size: 128 << 10,
        ..Options::default()
    }
}

fn key(number: u64) -> String {
    format!("entry {number:08}")
}

fn value(number: u64) -> Vec<u8> {
    noise(&key(number), 200)
}

/// Writes one entry after the other until told to stop.
struct Writer {
    thread: Option<std::thread::JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    flushed: Arc<AtomicU64>,
}

impl Writer {
    fn start(dir: &Path) -> Self {
        let mut db = DB::open(dir, options()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let flushed = Arc::new(AtomicU64::new(0));
        let (stopping, telling) = (Arc::clone(&stop), Arc::clone(&flushed));
        let thread = std::thread::spawn(move || {
            for number in 0.. {
                db.put(key(number).as_bytes(), &value(number)).unwrap();
                if number % 20 == 19 {
                    db.flush().unwrap();
                    telling.store(number + 1, Ordering::SeqCst);
                    // As fast as a busy program, not as a benchmark.
                    std::thread::sleep(Duration::from_millis(20));
                }
                if stopping.load(Ordering::SeqCst) {
                    break;
                }
            }
            db.close().unwrap();
        });
        Self {
            thread: Some(thread),
            stop,
            flushed,
        }
    }

    fn flushed(&self) -> u64 {
        self.flushed.load(Ordering::SeqCst)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.take().unwrap().join();
        assert!(
            ended.is_ok() || std::thread::panicking(),
            "the writer failed"
        );
    }
}

/// How many entries a database holds: all there were up to the last, each as it was written.
fn entries(dir: &Path) -> u64 {
    let mut db = DB::open(dir, options()).unwrap();
    let mut found = db.new_iter().unwrap();
    let mut many = 0;
    while let Some((name, bytes)) = found.next() {
        assert_eq!(name, key(many).as_bytes(), "an entry is missing");
        assert_eq!(bytes, value(many), "entry {many}");
        many += 1;
    }
    many
}

#[test]
fn a_database_that_may_not_open_is_told_to_whoever_chooses_what_to_retrieve() {
    let stage = Stage::of_an_ordinary_user();
    let files = stage.path("files");
    let table = files.join("orbitdb/000002.ldb");
    let may_read = |mode| {
        stage.as_user(|| std::fs::set_permissions(&table, Permissions::from_mode(mode)).unwrap());
    };
    stage.as_user(|| {
        std::fs::create_dir_all(files.join("orbitdb")).unwrap();
        for name in ["CURRENT", "MANIFEST-000001", "000003.log", "000002.ldb"] {
            std::fs::write(files.join("orbitdb").join(name), name).unwrap();
        }
    });
    may_read(0o000);
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let (status, outcome) = home.taken(&[]);
    assert_eq!(status, Some(3), "{outcome}");
    assert_eq!(outcome["databases"], 0, "{outcome}");

    let told = "orbitdb: a database of which not all could be read; it may not open";
    let list = office.succeeds(&["snapshots"]);
    assert!(list.contains("(best effort: files)"), "{list}");
    assert!(list.contains("a database in it may not open"), "{list}");
    let list = office.json(&["snapshots", "--json"]);
    let set = &list[0]["data_sets"][0];
    assert_eq!(
        (&set["name"], &set["consistency"]),
        (&"files".into(), &"best effort".into())
    );
    let to = stage.path("back");
    let to = to.to_str().unwrap();
    for args in [
        &["ls", "--author", "home"][..],
        &["retrieve", "--author", "home", "--json", "--to", to],
    ] {
        let output = office.run(args);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("best effort") && said.contains(told),
            "{said}"
        );
        if args[0] == "retrieve" {
            let text = String::from_utf8(output.stdout).unwrap();
            let outcome: serde_json::Value =
                serde_json::from_str(text.lines().last().unwrap()).unwrap();
            let set = &outcome["snapshot"]["data_sets"][0];
            assert_eq!(set["consistency"], "best effort", "{outcome}");
        }
    }

    may_read(0o644);
    let (status, outcome) = home.taken(&[]);
    assert_eq!(
        (status, &outcome["databases"]),
        (Some(0), &1.into()),
        "{outcome}"
    );
    let output = office.run(&["ls", "--author", "home"]);
    assert!(output.stderr.is_empty(), "{output:?}");
    let list = office.json(&["snapshots", "--json"]);
    let labels = |at: usize| list[at]["data_sets"][0]["consistency"].clone();
    assert_eq!(
        (labels(0), labels(1)),
        ("crash".into(), "best effort".into())
    );
}

#[test]
fn a_database_that_is_written_to_meanwhile_opens_after_it_came_back() {
    let stage = Stage::new();
    let files = stage.path("files");
    let orbit = files.join("orbitdb");
    std::fs::create_dir_all(&orbit).unwrap();
    std::fs::write(files.join("a file beside it"), "x").unwrap();
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    let writer = Writer::start(&orbit);
    let mut opened = 0;
    for round in 1..=4 {
        while writer.flushed() < round * 1500 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let before = writer.flushed();
        let output = home.run(&["snapshot", "--wait", "--json"]);
        let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        // Only one that held still is said to open.
        let is_still = outcome["unread_count"] == 0;
        assert_eq!(outcome["databases"], u64::from(is_still), "{outcome}");
        if outcome["unread_count"] != 0 {
            // It never held still: then it must be said.
            assert_eq!(output.status.code(), Some(3));
            assert!(
                outcome["unread"][0][1]
                    .as_str()
                    .unwrap()
                    .contains("database"),
                "{outcome}"
            );
            continue;
        }
        let to = stage.path(&format!("back {round}"));
        let number = outcome["snapshot"]["number"].to_string();
        office.json(&[
            "retrieve",
            "--author",
            "home",
            "--snapshot",
            &number,
            "--json",
            "--to",
            to.to_str().unwrap(),
        ]);
        let many = entries(&to.join("orbitdb"));
        assert!(many >= before, "{many} of {before} came back\n{outcome}");
        opened += 1;
    }
    assert!(opened > 0, "not one snapshot found it at rest");
    drop(writer);
}
