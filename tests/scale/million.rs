//! A store as large as its table: it opens complete, in little memory.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use reserve::format::record::{RecordHeader, id_of};
use reserve::format::segment::{FooterEntry, FrameType, SegmentHeader, TRAILER_BYTES, Trailer};
use reserve::format::verified::{SegmentMark, Verified};
use reserve::keeper::Ask;
use reserve::terms::limits::{BLOCK_BYTES, TABLE_HELD_BACK_ONE_IN};
use reserve::terms::{ChunkId, Codec, KeyEpoch, Kind, Stamp, StoreId, Suite};

use super::caller;
use super::filling::{ANNA, all_at_once, fill, on_the_ring, open, record, world};
use super::stage::{BoxProcess, Stage};

/// Bytes of each chunk: the smallest cost the most a byte.
const LEN: usize = 64;
const CHUNKS: u32 = 1_000_000;
/// Of these, data: a table's last places are held back for what describes it.
const DATA: usize = CHUNKS as usize - CHUNKS as usize / TABLE_HELD_BACK_ONE_IN;

/// The smallest record there can be: data, or an index page behind them.
fn tiny(number: u32) -> (ChunkId, Rc<Vec<u8>>) {
    if (number as usize) < DATA {
        return record(number, LEN);
    }
    let header = RecordHeader {
        suite: Suite::ChaCha20Poly1305,
        kind: Kind::Page,
        codec: Codec::Plain,
        epoch: KeyEpoch(0),
        plain_bytes: 0,
        tag: *blake3::hash(&number.to_le_bytes()).as_bytes(),
    };
    let mut bytes = header.encode().to_vec();
    bytes.resize(LEN, 0);
    (id_of(&bytes), Rc::new(bytes))
}
const KEEPER_KIB_MAX: u64 = 64 << 10;

#[test]
fn a_store_with_a_million_chunks_opens_complete_and_its_keeper_stays_within_64_mib() {
    let stage = Stage::new();
    let files = stage.path("files");
    std::fs::create_dir(&files).unwrap();
    let mut home = stage.first_box("home", &files);
    home.kill();
    on_the_ring(async {
        let world = world(&home.dir);
        let (store, _) = open(&world).await;
        let began = Instant::now();
        fill(&store, CHUNKS, tiny).await;
        println!("filled with {CHUNKS} chunks in {:?}", began.elapsed());
        store.close().await;
    });
    on_the_ring(async {
        let world = world(&home.dir);
        let began = Instant::now();
        let (store, report) = open(&world).await;
        println!("opened in {:?}: {report:?}", began.elapsed());
        assert_eq!(report.chunks, CHUNKS as usize);
        assert_eq!((report.torn_bytes_cut, report.damaged_count), (0, 0));
        for number in (0..CHUNKS).step_by(CHUNKS as usize / 1000) {
            let (id, bytes) = tiny(number);
            let got = store.get(id).await.expect("the disk reads");
            assert_eq!(got.as_ref(), Some(&*bytes), "chunk {number}");
        }
        store.close().await;
    });
    let began = Instant::now();
    home.start();
    println!("the keeper listened after {:?}", began.elapsed());
    let status = caller::store_of(&home);
    println!("its peak is {} KiB", home.peak_kib());
    assert_eq!(status["chunks"], CHUNKS, "{status}");
    assert!(home.peak_kib() <= KEEPER_KIB_MAX, "{} KiB", home.peak_kib());
}

/// Segments of a store of almost a million chunks of a MiB, and chunks in each.
const SEGMENTS: u32 = 3_850;
const SEGMENT_CHUNKS: u32 = 255;
const STRIDE: u32 = (1 << 20) + 128;

/// A closed segment as its writer leaves it, but for the records: where they would stand is a hole that takes no space.
fn forge_segment(dir: &Path, number: u32) {
    let store = StoreId([7; 8]);
    let block = u32::try_from(BLOCK_BYTES).unwrap();
    let entries: Vec<u8> = (0..SEGMENT_CHUNKS)
        .flat_map(|at| {
            let name = number * SEGMENT_CHUNKS + at;
            FooterEntry {
                frame: FrameType::Chunk,
                author: 0,
                payload_bytes: 1 << 20,
                offset: block + at * STRIDE,
                id: ChunkId(*blake3::hash(&name.to_le_bytes()).as_bytes()),
            }
            .encode()
        })
        .collect();
    let mut footer = ANNA.0.to_vec();
    footer.extend(entries);
    let trailer = Trailer {
        store,
        number,
        footer_offset: (block + SEGMENT_CHUNKS * STRIDE).next_multiple_of(block),
        authors: 1,
        entries: SEGMENT_CHUNKS,
        footer_sum: crc32fast::hash(&footer),
        commit: u64::from(number) * 40,
    };
    let with_trailer = (footer.len() + TRAILER_BYTES).next_multiple_of(BLOCK_BYTES);
    footer.resize(with_trailer - TRAILER_BYTES, 0);
    footer.extend(trailer.encode());
    let file = File::create(dir.join(format!("seg-{number:06}"))).unwrap();
    let header = SegmentHeader { store, number };
    file.write_all_at(&header.encode(), 0).unwrap();
    file.write_all_at(&footer, u64::from(trailer.footer_offset))
        .unwrap();
}

/// Replaces the store of a Box by one with all these segments.
fn forge_store(dir: &Path) {
    let store = dir.join("store");
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::create_dir(&store).unwrap();
    // It is another store than the one this Box remembers.
    std::fs::remove_file(dir.join("store-id")).unwrap();
    for number in 1..=SEGMENTS {
        forge_segment(&store, number);
    }
    forge_marks(&store);
}

#[test]
fn a_tebibyte_in_thousands_of_segments_opens_complete_and_serves_three_peers_within_64_mib() {
    let stage = Stage::new();
    let files = stage.path("files");
    std::fs::create_dir(&files).unwrap();
    let mut home = stage.first_box("home", &files);
    let callers = ["anna", "bela", "cleo"].map(|name| caller::invited(&stage, name, &home));
    home.kill();
    forge_store(&home.dir);
    // The first start also waits for what was just forged to reach the disk.
    home.start();
    home.kill();
    let began = Instant::now();
    home.start();
    println!("the keeper listened after {:?}", began.elapsed());
    let opened = caller::store_of(&home);
    println!("its peak is {} KiB", home.peak_kib());
    assert_eq!(opened["chunks"], SEGMENTS * SEGMENT_CHUNKS, "{opened}");
    put_and_get(&home, &callers);
    let status = caller::store_of(&home);
    println!("under load its peak is {} KiB", home.peak_kib());
    let all = SEGMENTS * SEGMENT_CHUNKS + BODIES;
    assert_eq!(status["chunks"], all, "{status}");
    assert_eq!(status["damaged"], 0, "{status}");
    assert!(home.peak_kib() <= KEEPER_KIB_MAX, "{} KiB", home.peak_kib());
    assert!(
        !home.log().contains("damage in the store"),
        "{}",
        home.log()
    );
}

/// The memory that all of them were found whole a moment ago, as a store keeps it: their bodies are holes.
fn forge_marks(dir: &Path) {
    let stamp = |seconds, nanos: i64| Stamp {
        seconds,
        nanos: u32::try_from(nanos).unwrap(),
    };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    let mark = |number| {
        let found = std::fs::metadata(dir.join(format!("seg-{number:06}"))).unwrap();
        SegmentMark {
            number,
            len: found.len(),
            changed: stamp(found.ctime(), found.ctime_nsec()),
            verified: stamp(i64::try_from(now.as_secs()).unwrap(), 0),
            is_read: true,
        }
    };
    let verified = Verified {
        store: StoreId([7; 8]),
        segments: (1..=SEGMENTS).map(mark).collect(),
        unbroken: 1,
        end: None,
    };
    std::fs::write(dir.join("verified"), verified.encode()).unwrap();
}

/// Bodies the callers put, all at once, and get back.
const BODIES: u32 = 150;

fn put_and_get(home: &BoxProcess, callers: &[BoxProcess]) {
    let address = caller::address_of(home);
    on_the_ring(async {
        let mut keepers = Vec::new();
        for caller in callers {
            keepers.push(caller::call(&caller.dir, "home", &address).await);
        }
        let of = |number: u32| keepers[number as usize % keepers.len()].clone();
        all_at_once(0..BODIES, |number| {
            let keeper = of(number);
            async move {
                let (id, bytes) = record(number, 1 << 20);
                keeper.put(id, bytes).await.expect("it is kept");
            }
        })
        .await;
        all_at_once(0..BODIES, |number| {
            let keeper = of(number);
            async move {
                let (id, bytes) = record(number, 1 << 20);
                let got = keeper.get(id).await.expect("it answers");
                assert_eq!(got.as_ref(), Some(&*bytes), "chunk {number}");
            }
        })
        .await;
    });
}

/// The most an author's Box may take with a full table: some room is left below what is promised. Of an unoptimised program so
/// much more is in memory that it would not keep the promise itself: it takes 13 MiB more than the one that is flashed.
const AUTHOR_KIB_MAX: u64 = if cfg!(debug_assertions) {
    72 << 10
} else {
    60 << 10
};
/// The most a Box may take that keeps a few hundred chunks.
const SMALL_KEEPER_KIB_MAX: u64 = 40 << 10;

#[test]
fn a_box_with_a_full_table_protects_thousands_of_files_and_media_with_memory_to_spare() {
    let stage = Stage::new();
    let files = stage.path("files");
    for number in 0..6_000 {
        let dir = files.join(format!("notes/{:02}", number / 200));
        std::fs::create_dir_all(&dir).unwrap();
        let text = format!("note {number} ").repeat(40 + number % 300);
        std::fs::write(
            dir.join(format!("a note of which there are many, {number}")),
            text,
        )
        .unwrap();
    }
    for number in 0..12 {
        let name = format!("photo {number}.jpg");
        std::fs::write(files.join(&name), super::stage::noise(&name, 5_000_000)).unwrap();
    }
    let mut home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    home.kill();
    forge_store(&home.dir);
    home.start();
    home.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().cloned().unwrap_or_default();
        peers.len() == 2 && peers.iter().all(|peer| peer["connected"] == true)
    });
    let taken = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(taken["protected"], true, "{taken}");
    home.json(&["snapshot", "--wait", "--json"]);
    let status = caller::store_of(&home);
    println!("peaks: {} and {} KiB", home.peak_kib(), office.peak_kib());
    assert_eq!(status["chunks"], SEGMENTS * SEGMENT_CHUNKS, "{status}");
    assert!(home.peak_kib() <= AUTHOR_KIB_MAX, "{} KiB", home.peak_kib());
    let small = office.peak_kib();
    assert!(small <= SMALL_KEEPER_KIB_MAX, "{small} KiB");
}
