//! Torn tails made by real means: a keeper that is killed, and bytes appended by hand as an unfinished commit leaves them.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use reserve::format::segment::{FrameHeader, FrameType, SegmentHeader};
use reserve::keeper::Ask;
use reserve::terms::ChunkId;

use super::caller;
use super::filling::{ANNA, on_the_ring, open, record, world};
use super::stage::{BoxProcess, Stage};

/// Acknowledged before the keeper is killed.
const ACKNOWLEDGED: usize = 40;

fn len_of(number: u32) -> usize {
    20_000 + number as usize * 300_007 % 900_000
}

fn last_segment(dir: &Path) -> PathBuf {
    let mut segments: Vec<_> = fs::read_dir(dir.join("store"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("seg-"))
        })
        .collect();
    segments.sort();
    segments.pop().expect("it has a segment")
}

/// Puts over a session until enough is acknowledged, then kills the keeper while more is on its way. Gives what it acknowledged.
fn kill_amid_puts(home: &mut BoxProcess, caller: &BoxProcess, first: u32) -> Vec<u32> {
    let address = caller::address_of(home);
    let acknowledged = Rc::new(RefCell::new(Vec::new()));
    on_the_ring(async {
        let keeper = caller::call(&caller.dir, "home", &address).await;
        let (tell, told) = tokio::sync::oneshot::channel();
        let tell = Rc::new(RefCell::new(Some(tell)));
        let tasks: Vec<_> = (first..first + 200)
            .map(|number| {
                let (keeper, acknowledged, tell) =
                    (keeper.clone(), Rc::clone(&acknowledged), Rc::clone(&tell));
                tokio::task::spawn_local(async move {
                    let (id, bytes) = record(number, len_of(number));
                    if keeper.put(id, bytes).await.is_ok() {
                        let mut all = acknowledged.borrow_mut();
                        all.push(number);
                        if all.len() == ACKNOWLEDGED
                            && let Some(tell) = tell.borrow_mut().take()
                        {
                            let _ = tell.send(());
                        }
                    }
                })
            })
            .collect();
        told.await.expect("enough is acknowledged");
        home.kill();
        for task in tasks {
            task.await.expect("no put panics");
        }
    });
    acknowledged.take()
}

/// Everything acknowledged reads back bit for bit.
fn assert_all_there(home: &BoxProcess, numbers: &[u32], damaged: u64) {
    on_the_ring(async {
        let world = world(&home.dir);
        let (store, report) = open(&world).await;
        assert_eq!(report.damaged_count, damaged, "{report:?}");
        for number in numbers {
            let (id, bytes) = record(*number, len_of(*number));
            let got = store.get(id).await.expect("the disk reads");
            assert_eq!(got.as_ref(), Some(&*bytes), "chunk {number}");
            assert_eq!(store.have(ANNA, &[id]).await.expect("asks"), [true]);
        }
        store.close().await;
    });
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

/// A frame as the next commit would write it, its payload cut off in the middle.
fn half_a_frame(segment: &Path) -> Vec<u8> {
    let bytes = fs::read(segment).unwrap();
    let header = FrameHeader {
        frame: FrameType::Chunk,
        payload_bytes: 300_000,
        store: SegmentHeader::decode(&bytes).expect("it is whole").store,
        commit: u64::MAX >> 8,
        id: ChunkId([9; 32]),
        author: ANNA,
    };
    let mut frame = header.encode().to_vec();
    frame.extend(vec![0x5a; 150_001]);
    frame
}

/// The whole frame, but its payload is not what its name says: blocks of it never reached the disk.
fn a_frame_with_holes(segment: &Path) -> Vec<u8> {
    let mut frame = half_a_frame(segment);
    frame.resize((96 + 300_000_usize).next_multiple_of(4096), 0);
    frame
}

fn garbage(_: &Path) -> Vec<u8> {
    record(77, 12_345).1.to_vec()
}

#[test]
fn a_killed_keeper_leaves_out_a_torn_tail_says_so_and_keeps_all_it_acknowledged() {
    let stage = Stage::new();
    let files = stage.path("files");
    fs::create_dir(&files).unwrap();
    let mut home = stage.first_box("home", &files);
    let caller = caller::invited(&stage, "anna", &home);
    let mut acknowledged = Vec::new();
    let tears: [fn(&Path) -> Vec<u8>; 3] = [garbage, half_a_frame, a_frame_with_holes];
    for (turn, tear) in (0u32..).zip(tears) {
        acknowledged.extend(kill_amid_puts(&mut home, &caller, turn * 200));
        assert!(acknowledged.len() >= (turn as usize + 1) * ACKNOWLEDGED);
        // What the kill itself tore is cut first, so that what follows stands where the next commit would.
        home.start();
        home.kill();
        let segment = last_segment(&home.dir);
        append(&segment, &tear(&segment));
        let told_before = home.log().matches("it was never acknowledged").count();
        home.start();
        let told = home.log().matches("it was never acknowledged").count();
        assert_eq!(told, told_before + 1, "{}", home.log());
        assert_eq!(
            caller::store_of(&home)["damaged"],
            0,
            "turn {turn}: {}",
            home.log()
        );
    }
    home.kill();
    assert_all_there(&home, &acknowledged, 0);
}

#[test]
fn a_last_segment_whose_tail_was_lost_costs_only_what_stood_there() {
    let stage = Stage::new();
    let files = stage.path("files");
    fs::create_dir(&files).unwrap();
    let mut home = stage.first_box("home", &files);
    home.kill();
    // One commit each, so that what stands before the tail was acknowledged before it was written.
    on_the_ring(async {
        let world = world(&home.dir);
        let (store, _) = open(&world).await;
        for number in 0..10 {
            let (id, bytes) = record(number, len_of(number));
            store.put(ANNA, id, bytes).await.expect("it is kept");
        }
        store.close().await;
    });
    let segment = last_segment(&home.dir);
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    file.set_len(file.metadata().unwrap().len() - 5000).unwrap();
    home.start();
    // It ended in order, so how far it was acknowledged is known: what is missing is damage, and is told as that.
    assert!(home.log().contains("damage in the store"), "{}", home.log());
    assert_eq!(caller::store_of(&home)["chunks"], 9);
    home.kill();
    assert_all_there(&home, &(0..9).collect::<Vec<_>>(), 1);
}
