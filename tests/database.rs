//! The story of a database that is written to while it is protected: what comes back opens and holds what was written before.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

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
