//! A keeper by itself: how long it takes to start with a million chunks, and what it costs when there is nothing to do.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reserve::format::segment::{FooterEntry, FrameType, SegmentHeader, TRAILER_BYTES, Trailer};
use reserve::format::verified::{SegmentMark, Verified};
use reserve::terms::limits::BLOCK_BYTES;
use reserve::terms::{ChunkId, PeerKey, Stamp, StoreId};
use serde_json::Value;

use super::boxes::{BoxProcess, Reserve};
use super::measure::{Cost, Part, Watch, run};
use super::stage::Stage;

/// Chunks at full size, and in each segment.
const CHUNKS: u32 = 1_000_000;
const SEGMENT_CHUNKS: u32 = 255;
/// Bytes from one chunk to the next.
const STRIDE: u32 = (1 << 20) + 128;

/// A closed segment as its writer leaves it, but for the records: where they would stand is a hole that takes no space.
fn forge_segment(dir: &Path, number: u32, chunks: u32) -> Result<()> {
    let store = StoreId([7; 8]);
    let block = u32::try_from(BLOCK_BYTES)?;
    let mut footer = PeerKey([1; 32]).0.to_vec();
    for at in 0..chunks {
        let name = number * SEGMENT_CHUNKS + at;
        let entry = FooterEntry {
            frame: FrameType::Chunk,
            author: 0,
            payload_bytes: 1 << 20,
            offset: block + at * STRIDE,
            id: ChunkId(*blake3::hash(&name.to_le_bytes()).as_bytes()),
        };
        footer.extend(entry.encode());
    }
    let trailer = Trailer {
        store,
        number,
        footer_offset: (block + chunks * STRIDE).next_multiple_of(block),
        authors: 1,
        entries: chunks,
        footer_sum: crc32fast::hash(&footer),
        commit: u64::from(number) * 40,
    };
    let with_trailer = (footer.len() + TRAILER_BYTES).next_multiple_of(BLOCK_BYTES);
    footer.resize(with_trailer - TRAILER_BYTES, 0);
    footer.extend(trailer.encode());
    let file = File::create(dir.join(format!("seg-{number:06}")))?;
    file.write_all_at(&SegmentHeader { store, number }.encode(), 0)?;
    file.write_all_at(&footer, u64::from(trailer.footer_offset))?;
    Ok(())
}

/// The memory that all segments were found whole a moment ago, as a store keeps it: their bodies are holes, and the start is
/// what is measured.
fn forge_marks(dir: &Path, segments: u32) -> Result<()> {
    let stamp = |seconds, nanos: i64| -> Result<Stamp> {
        Ok(Stamp {
            seconds,
            nanos: u32::try_from(nanos)?,
        })
    };
    let now = std::time::UNIX_EPOCH.elapsed()?;
    let mut marks = Vec::new();
    for number in 1..=segments {
        let found = std::fs::metadata(dir.join(format!("seg-{number:06}")))?;
        marks.push(SegmentMark {
            number,
            len: found.len(),
            changed: stamp(found.ctime(), found.ctime_nsec())?,
            verified: stamp(i64::try_from(now.as_secs())?, 0)?,
            is_read: true,
        });
    }
    let verified = Verified {
        store: StoreId([7; 8]),
        segments: marks,
        unbroken: 1,
        end: None,
    };
    std::fs::write(dir.join("verified"), verified.encode())?;
    Ok(())
}

/// A Box with a store of a million chunks (divided), started once so that everything is warm.
pub fn full_box<'a>(stage: &'a Stage, program: &'a Path, divisor: u32) -> Result<BoxProcess<'a>> {
    let data = stage.empty("nothing")?;
    let mut full = BoxProcess::new(stage, program, "full");
    super::stage::remove(&full.dir())?;
    full.init(&data)?;
    full.start()?;
    fill(stage, &mut full, divisor)?;
    let told = run(stage, "status", &full.order(&["status", "--json"])).or_else(|_| {
        // A Box with nothing protected ends with status 3.
        let order = full.order(&["status", "--json"]);
        super::measure::run_all(stage, "status", &[order], &[3])
            .and_then(|mut all| all.pop().context("one"))
    })?;
    let status: Value = serde_json::from_str(&told.stdout)?;
    if status["store"]["chunks"] != CHUNKS / divisor || status["store"]["damaged"] != 0 {
        bail!("the keeper does not see all chunks: {}", status["store"]);
    }
    full.stop();
    Ok(full)
}

/// Puts a store of a million chunks (divided) in the place of a Box's own, and starts it.
pub fn fill(stage: &Stage, full: &mut BoxProcess<'_>, divisor: u32) -> Result<()> {
    full.stop();
    let store = full.dir().join("store");
    super::stage::remove(&store)?;
    std::fs::create_dir(&store)?;
    // It is another store than the one this Box remembers.
    std::fs::remove_file(full.dir().join("store-id")).context("store-id cannot be removed")?;
    let mut left = (CHUNKS / divisor).max(1);
    for number in 1.. {
        stage.go_on()?;
        let chunks = left.min(SEGMENT_CHUNKS);
        forge_segment(&store, number, chunks)?;
        left -= chunks;
        if left == 0 {
            forge_marks(&store, number)?;
            break;
        }
    }
    rustix::fs::sync();
    full.start().map(drop)
}

/// One more start.
pub fn start(full: &mut BoxProcess<'_>) -> Result<Cost> {
    let wall_s = full.start()?;
    let watched = full.watched()?;
    let part = Part {
        name: watched.name.clone(),
        cpu_s: watched.cpu_s()?,
        peak_kib: watched.status("VmHWM")?,
    };
    full.stop();
    Ok(Cost {
        wall_s,
        parts: vec![part],
        ..Cost::default()
    })
}

/// Two Boxes with a small store and nothing to do.
pub fn idle(stage: &Stage, reserve: &Reserve<'_>, seconds: u64) -> Result<Cost> {
    let watched = reserve.watched()?;
    // What the founding left to do is not idleness.
    Watch::begin(watched.iter().copied())?.end()?;
    let wakeups = || {
        watched
            .iter()
            .map(|one| one.wakeups())
            .collect::<Result<Vec<_>>>()
    };
    let run_s = || {
        watched
            .iter()
            .map(|one| one.run_s())
            .collect::<Result<Vec<_>>>()
    };
    let watch = Watch::begin(watched.iter().copied())?;
    let (began, woken, ran) = (Instant::now(), wakeups()?, run_s()?);
    while began.elapsed() < Duration::from_secs(seconds) {
        stage.go_on()?;
        sleep(Duration::from_millis(100));
    }
    let wall_s = began.elapsed().as_secs_f64();
    let (woken_after, ran_after) = (wakeups()?, run_s()?);
    let mut parts = watch.end()?;
    for (part, (before, after)) in parts.iter_mut().zip(ran.iter().zip(&ran_after)) {
        part.cpu_s = after - before;
    }
    let most = woken
        .iter()
        .zip(&woken_after)
        .map(|(before, after)| after - before)
        .max();
    Ok(Cost {
        wall_s,
        parts,
        wakeups: most.map(|most| most as f64 / wall_s),
        ..Cost::default()
    })
}
