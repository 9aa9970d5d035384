//! The chunk table's promise about memory, counted: bytes a chunk, and nothing allocated once it is open.

// An allocator can only be counted by being one; each call goes on to the system's own, unchanged.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use reserve::format::segment::Location;
use reserve::keeper::sets::{SetIndex, Sets};
use reserve::keeper::table::{Entry, Table, prefix_of};
use reserve::terms::{AuthorIndex, ChunkId};

struct Counting;

thread_local! {
    // Of this thread alone: the one that runs the tests allocates when it likes.
    static BYTES: Cell<usize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// A thread that ends has no counters any more.
fn count(bytes: usize) {
    let _ = BYTES.try_with(|counted| counted.set(counted.get() + bytes));
    let _ = CALLS.try_with(|counted| counted.set(counted.get() + 1));
}

// SAFETY: every call is handed to `System` with the caller's own arguments; counting touches no memory of theirs.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and all memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        // SAFETY: the caller keeps the contract of `realloc`, and all memory came from `System`.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CHUNKS: u64 = 1_000_000;

fn id_of(number: u64) -> ChunkId {
    ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

#[test]
fn a_million_chunks_take_thirty_two_bytes_each_and_nothing_is_allocated_after_open() {
    let before = BYTES.get();
    let mut table = Table::new(usize::try_from(CHUNKS).expect("it fits"));
    let mut sets = Sets::new();
    let bytes = BYTES.get() - before;
    assert!(
        bytes as u64 <= 32 * CHUNKS,
        "{bytes} bytes for {CHUNKS} chunks"
    );

    let calls = CALLS.get();
    for number in 0..CHUNKS {
        let id = id_of(number);
        let author = AuthorIndex(u16::try_from(number % 5).expect("it fits"));
        let entry = Entry {
            prefix: prefix_of(&id),
            location: Location::new(1, number * 32 % (256 << 20)).expect("it fits"),
            record_bytes: 1 << 20,
            damaged: false,
            holders: SetIndex::EMPTY,
            claims: sets.with(SetIndex::EMPTY, author).expect("there is room"),
        };
        assert!(table.insert(entry).is_ok(), "chunk {number} has no room");
    }
    assert_eq!(table.chunks() as u64, CHUNKS);
    for number in (0..CHUNKS).step_by(1000) {
        assert_eq!(table.matches(&id_of(number)).count(), 1);
    }
    let is_sorted = table
        .scan()
        .map(|entry| black_box(entry.prefix))
        .is_sorted();
    assert!(is_sorted);
    assert_eq!(CALLS.get(), calls, "it allocated");
}
