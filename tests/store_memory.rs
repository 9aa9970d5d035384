//! The store's promise about memory under load, counted: what it takes beside its table and the records handed to it.

// An allocator can only be counted by being one; each call goes on to the system's own, unchanged.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reserve::format::record::id_of;
use reserve::keeper::{Store, StoreConfig};
use reserve::terms::PeerKey;
use reserve::terms::limits::{RECEIVE_POOL_BYTES, TABLE_CHUNKS_DEFAULT};
use reserve::world::uring::{self, Uring};
use tokio::sync::Semaphore;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn taken(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call is handed to `System` with the caller's own arguments; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and all memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        taken(bytes);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`, and all memory came from `System`.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PUTS: u32 = 300;
const RECORD_BYTES: usize = 1 << 20;
const AUTHORS: [PeerKey; 3] = [PeerKey([1; 32]), PeerKey([2; 32]), PeerKey([3; 32])];
/// Beside the records: tasks, queue, names, what the ring keeps of each operation.
const BESIDE_BYTES_MAX: usize = 1 << 20;

async fn put_all(store: &Store<Uring>) {
    let room = Arc::new(Semaphore::new(RECEIVE_POOL_BYTES / RECORD_BYTES));
    for number in 0..PUTS {
        // As a session does: memory for a body is leased before it is read, and given back once the answer is known.
        let lease = Arc::clone(&room).acquire_owned().await;
        let store = store.clone();
        let put = async move {
            let mut bytes = vec![0; RECORD_BYTES];
            blake3::Hasher::new()
                .update(&number.to_le_bytes())
                .finalize_xof()
                .fill(&mut bytes);
            let author = AUTHORS[number as usize % AUTHORS.len()];
            let id = id_of(&bytes);
            store
                .put(author, id, Rc::new(bytes))
                .await
                .expect("it is kept");
            drop(lease);
        };
        drop(tokio::task::spawn_local(put));
    }
    let all = u32::try_from(RECEIVE_POOL_BYTES / RECORD_BYTES).expect("it is small");
    drop(room.acquire_many(all).await);
}

// One test only: another thread's allocations would be counted too.
#[test]
fn puts_of_three_authors_take_little_more_memory_than_the_bodies_under_way() {
    let dir = tempfile::tempdir().expect("a directory");
    uring::run(async {
        let world = Uring::new(dir.path()).expect("the world starts");
        let config = StoreConfig {
            table_chunks: TABLE_CHUNKS_DEFAULT,
            capacity_bytes: None,
            quota_bytes_per_author: None,
        };
        let (store, _) = Store::open(world, config).await.expect("it opens");
        let before = NOW.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        put_all(&store).await;
        let more = MOST.load(Ordering::Relaxed) - before;
        let left = NOW.load(Ordering::Relaxed).saturating_sub(before);
        println!("at most {more} bytes more while {PUTS} records were put, {left} afterwards");
        assert_eq!(store.figures().chunks, PUTS as usize);
        assert!(
            more <= RECEIVE_POOL_BYTES + BESIDE_BYTES_MAX,
            "{more} bytes"
        );
        assert!(left <= BESIDE_BYTES_MAX, "{left} bytes stayed");
        store.close().await;
    })
    .expect("this machine has io_uring");
}
