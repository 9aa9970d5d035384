//! What the write and read paths cost, printed beside a plain direct write of the same bytes. Run by hand.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reserve::format::record::id_of;
use reserve::keeper::Store;
use reserve::terms::ChunkId;
use reserve::terms::limits::STORE_BUFFER_BYTES;
use reserve::world::uring::Uring;
use reserve::world::{Disk, DiskFile, World};
use tokio::sync::Semaphore;

use super::filling::{ANNA, on_the_ring, open, record, world};

const RECORDS: u32 = 2_000;
const RECORD_BYTES: usize = 1 << 20;
/// As many as a session's credit lets be under way.
const AT_ONCE: usize = 10;

/// User and system time of this process, its ring's workers included.
fn cpu() -> (Duration, Duration) {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap()
        .split_ascii_whitespace()
        .collect();
    let ticks = |at: usize| Duration::from_millis(10 * fields[at].parse::<u64>().unwrap());
    (ticks(11), ticks(12))
}

fn tell(what: &str, began: Instant, cpu_before: (Duration, Duration)) {
    let (user, sys) = cpu();
    let wall = began.elapsed().as_secs_f64();
    let mib = f64::from(RECORDS);
    println!(
        "{what}: {wall:.2} s wall, {:.0} MiB/s, {:.2} s user, {:.2} s sys",
        mib / wall,
        (user - cpu_before.0).as_secs_f64(),
        (sys - cpu_before.1).as_secs_f64(),
    );
}

/// The same bytes, one direct write after the other, a sync each 8 MiB.
async fn write_plainly(world: &Uring) {
    let disk = world.disk();
    disk.make_dir("plain").await.expect("makes");
    let file = disk.open("plain/file", true).await.expect("creates");
    let mut buffer = disk.buffer().await;
    buffer.copy_from_slice(&record(0, STORE_BUFFER_BYTES).1);
    for number in 0..u64::from(RECORDS) {
        let offset = number * STORE_BUFFER_BYTES as u64;
        let (written, back) = file.write_at(buffer, 0, STORE_BUFFER_BYTES, offset).await;
        written.expect("writes");
        buffer = back;
        if number % 8 == 7 {
            file.sync_data().await.expect("syncs");
        }
    }
    file.sync_data().await.expect("syncs");
    disk.remove("plain/file").await.expect("removes");
}

async fn put_all(store: &Store<Uring>, records: &[(ChunkId, Rc<Vec<u8>>)]) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = Vec::new();
    for (id, bytes) in records {
        let turn = Arc::clone(&turns).acquire_owned().await;
        let (store, id, bytes) = (store.clone(), *id, Rc::clone(bytes));
        tasks.push(tokio::task::spawn_local(async move {
            store.put(ANNA, id, bytes).await.expect("it is kept");
            drop(turn);
        }));
    }
    for task in tasks {
        task.await.expect("no put panics");
    }
}

/// Four at once, as a keeper answers its peers.
async fn get_all(store: &Store<Uring>, records: &[(ChunkId, Rc<Vec<u8>>)]) {
    let tasks: Vec<_> = (0..4)
        .map(|first| {
            let store = store.clone();
            let ids: Vec<_> = records.iter().skip(first).step_by(4).map(|r| r.0).collect();
            tokio::task::spawn_local(async move {
                for id in ids {
                    let got = store.get(id).await.expect("the disk reads");
                    assert_eq!(got.map(|bytes| bytes.len()), Some(RECORD_BYTES));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no get panics");
    }
}

#[test]
#[ignore = "a measurement of gigabytes, for a release build"]
fn what_puts_and_gets_cost_is_printed_beside_a_plain_direct_write() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = tempfile::tempdir_in(root).unwrap();
    on_the_ring(async {
        let world = world(dir.path());
        let records: Vec<_> = (0..RECORDS)
            .map(|number| record(number, RECORD_BYTES))
            .collect();
        for _ in 0..2 {
            let (began, before) = (Instant::now(), cpu());
            write_plainly(&world).await;
            tell("plain direct write", began, before);
        }

        let (store, _) = open(&world).await;
        let (began, before) = (Instant::now(), cpu());
        put_all(&store, &records).await;
        tell("put", began, before);
        println!("{:?}", store.figures());

        let (began, before) = (Instant::now(), cpu());
        for (id, bytes) in &records {
            let got = store.get(*id).await.expect("the disk reads");
            assert_eq!(got.as_ref(), Some(&**bytes));
        }
        tell(
            "get, one after the other, verified and compared",
            began,
            before,
        );

        let (began, before) = (Instant::now(), cpu());
        get_all(&store, &records).await;
        tell("get, four at once, verified", began, before);

        let (began, before) = (Instant::now(), cpu());
        let hashed = records.iter().filter(|(id, bytes)| id_of(bytes) == *id);
        assert_eq!(hashed.count(), records.len());
        tell("hashing alone", began, before);
        store.close().await;
    });
}
