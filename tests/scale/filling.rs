//! A store on the real world, and records to fill it with.

use std::future::Future;
use std::path::Path;
use std::rc::Rc;

use reserve::format::record::id_of;
use reserve::keeper::{OpenReport, Store, StoreConfig};
use reserve::terms::limits::TABLE_CHUNKS_DEFAULT;
use reserve::terms::{ChunkId, PeerKey};
use reserve::world::uring::{self, Uring};

pub const ANNA: PeerKey = PeerKey([1; 32]);

/// Runs a story on a ring; a machine without one cannot tell it.
pub fn on_the_ring<T>(story: impl Future<Output = T>) -> T {
    uring::run(story).expect("this machine has io_uring")
}

pub fn world(dir: &Path) -> Uring {
    Uring::new(dir).expect("the world starts")
}

/// The store of a state directory as the keeper opens it.
pub async fn open(world: &Uring) -> (Store<Uring>, OpenReport) {
    let config = StoreConfig {
        table_chunks: TABLE_CHUNKS_DEFAULT,
        capacity_bytes: None,
        quota_bytes_per_author: None,
    };
    Store::open(world.clone(), config).await.expect("it opens")
}

/// Bytes nobody can guess, the same for the same number.
pub fn record(number: u32, len: usize) -> (ChunkId, Rc<Vec<u8>>) {
    let mut bytes = vec![0; len.max(4)];
    blake3::Hasher::new()
        .update(&number.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    (id_of(&bytes), Rc::new(bytes))
}

/// Small ones of all lengths.
pub fn small_len(number: u32) -> usize {
    100 + number as usize * 977 % 3901
}

/// Starts a task for each number and waits for all.
pub async fn all_at_once<F: Future<Output = ()> + 'static>(
    numbers: impl Iterator<Item = u32>,
    mut work: impl FnMut(u32) -> F,
) {
    let tasks: Vec<_> = numbers
        .map(|number| tokio::task::spawn_local(work(number)))
        .collect();
    for task in tasks {
        task.await.expect("no put panics");
    }
}

/// Puts so many records of a kind, a commit's worth at a time.
pub async fn fill(
    store: &Store<Uring>,
    chunks: u32,
    make: impl Fn(u32) -> (ChunkId, Rc<Vec<u8>>) + Copy + 'static,
) {
    const BATCH: u32 = 4096;
    for first in (0..chunks).step_by(BATCH as usize) {
        let numbers = first..chunks.min(first + BATCH);
        all_at_once(numbers, |number| {
            let store = store.clone();
            async move {
                let (id, bytes) = make(number);
                store.put(ANNA, id, bytes).await.expect("it is kept");
            }
        })
        .await;
    }
}
