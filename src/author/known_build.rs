//! Making the table of `known`: places are sorted in runs on disk, the runs merged, the result put in its place at once.
//!
//! Memory: one run of places, and a few blocks of each run while they are merged. It is synced once, at its end: lost to a
//! power cut it would be no more than a cache, but files moved on the next day would look as if they were gone.

use std::collections::BinaryHeap;
use std::io;

use super::asked::DataSetConfig;
use super::draft::{Draft, Made};
use super::known::{
    ENTRIES_MAX, ENTRY_BYTES, Identity, PATH, Place, Shape, block, read_block, read_blocks,
    shape_block, word_blocks,
};
use super::shelf::ShelfReader;
use crate::format::keys::DataKeys;
use crate::terms::limits::{BLOCK_BYTES, STORE_BUFFER_BYTES};
use crate::world::{Disk, DiskFile, Entropy, World};

/// Places sorted in memory at once: a mebibyte.
const RUN_MAX: usize = 1 << 14;
/// Runs merged at once; more are merged in steps.
const MERGE_MAX: usize = 32;
/// Blocks of a run that are in memory while it is merged.
const WINDOW_BLOCKS: usize = 4;
/// Entries a block has room for when names are spread: enough is left that few spill.
const SPREAD_ENTRIES: u64 = 48;
const NEW: &str = "author/known-new";
const RUN: &str = "author/known-run-";

/// A table in the making.
pub struct KnownBuilder<D: Disk> {
    disk: D,
    id: u64,
    run: Vec<Place>,
    pub(super) run_max: usize,
    runs: Vec<Run>,
    made: u64,
    places: u64,
}

#[derive(Clone, Copy)]
struct Run {
    number: u64,
    blocks: u64,
}

impl<D: Disk> KnownBuilder<D> {
    /// An empty one; what an interrupted one left is removed. `id` is random.
    pub async fn start(disk: D, id: [u8; 8]) -> io::Result<Self> {
        disk.make_dir("author").await?;
        for file in disk.list("author").await? {
            let path = format!("author/{file}");
            if path == NEW || path.starts_with(RUN) {
                disk.remove(&path).await?;
            }
        }
        Ok(Self {
            disk,
            id: u64::from_le_bytes(id),
            run: Vec::new(),
            run_max: RUN_MAX,
            runs: Vec::new(),
            made: 0,
            places: 0,
        })
    }

    /// Adds a place. One of a name that is there already is dropped.
    pub async fn push(&mut self, place: Place) -> io::Result<()> {
        self.places += 1;
        self.run.push(place);
        if self.run.len() >= self.run_max {
            self.end_run().await?;
        }
        Ok(())
    }

    /// Makes it the table that is read next time.
    pub async fn finish(mut self) -> io::Result<()> {
        if !self.runs.is_empty() && !self.run.is_empty() {
            self.end_run().await?;
        }
        while self.runs.len() > MERGE_MAX {
            let rest = self.runs.split_off(MERGE_MAX);
            let some = std::mem::replace(&mut self.runs, rest);
            let merged = self.merge_some(some).await?;
            self.runs.push(merged);
        }
        let mut table = Table::create(&self.disk, self.id, self.places).await?;
        if self.runs.is_empty() {
            self.run.sort_unstable_by_key(|place| place.name);
            for place in self.run.drain(..) {
                table.push(place).await?;
            }
        } else {
            let mut merge = Merge::open(&self.disk, self.id, &self.runs).await?;
            while let Some(place) = merge.next().await? {
                table.push(place).await?;
            }
        }
        table.finish().await?;
        for run in &self.runs {
            self.disk.remove(&run.path()).await?;
        }
        self.disk.rename(NEW, PATH).await?;
        self.disk.sync_dir("author").await
    }

    async fn end_run(&mut self) -> io::Result<()> {
        let mut places = std::mem::take(&mut self.run);
        places.sort_unstable_by_key(|place| place.name);
        let number = self.made;
        self.made += 1;
        let mut file =
            Blocks::create(&self.disk, &Run { number, blocks: 0 }.path(), self.id, 0).await?;
        for place in &places {
            file.push(place).await?;
        }
        let blocks = file.finish().await?;
        self.runs.push(Run { number, blocks });
        places.clear();
        self.run = places;
        Ok(())
    }

    async fn merge_some(&mut self, some: Vec<Run>) -> io::Result<Run> {
        let number = self.made;
        self.made += 1;
        let mut merge = Merge::open(&self.disk, self.id, &some).await?;
        let mut file =
            Blocks::create(&self.disk, &Run { number, blocks: 0 }.path(), self.id, 0).await?;
        while let Some(place) = merge.next().await? {
            file.push(&place).await?;
        }
        let blocks = file.finish().await?;
        for run in &some {
            self.disk.remove(&run.path()).await?;
        }
        Ok(Run { number, blocks })
    }
}

impl Run {
    fn path(&self) -> String {
        format!("{RUN}{}", self.number)
    }
}

/// Full blocks one after the other, from a number on.
struct Blocks<D: Disk> {
    disk: D,
    file: D::File,
    id: u64,
    number: u64,
    entries: Vec<u8>,
    waiting: Vec<u8>,
    written: u64,
}

impl<D: Disk> Blocks<D> {
    async fn create(disk: &D, path: &str, id: u64, first: u64) -> io::Result<Self> {
        disk.remove(path).await?;
        Ok(Self {
            file: disk.open(path, true).await?,
            disk: disk.clone(),
            id,
            number: first,
            entries: Vec::with_capacity(BLOCK_BYTES),
            waiting: Vec::new(),
            written: first,
        })
    }

    fn many(&self) -> usize {
        self.entries.len() / ENTRY_BYTES
    }

    async fn push(&mut self, place: &Place) -> io::Result<()> {
        if self.many() == ENTRIES_MAX {
            self.end_block().await?;
        }
        place.encode(&mut self.entries);
        Ok(())
    }

    async fn end_block(&mut self) -> io::Result<()> {
        let many = self.many();
        self.waiting
            .extend(block(self.id, self.number, many, &self.entries));
        self.entries.clear();
        self.number += 1;
        if self.waiting.len() >= STORE_BUFFER_BYTES / 4 {
            self.write_out().await?;
        }
        Ok(())
    }

    async fn write_out(&mut self) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        write(&self.disk, &self.file, self.written, &waiting).await?;
        self.written = self.number;
        Ok(())
    }

    /// How many blocks there are, counted from 0.
    async fn finish(mut self) -> io::Result<u64> {
        if !self.entries.is_empty() {
            self.end_block().await?;
        }
        self.write_out().await?;
        Ok(self.number)
    }
}

async fn write<D: Disk>(disk: &D, file: &D::File, first: u64, bytes: &[u8]) -> io::Result<()> {
    for (at, part) in bytes.chunks(STORE_BUFFER_BYTES).enumerate() {
        let mut buffer = disk.buffer().await;
        buffer[..part.len()].copy_from_slice(part);
        let offset = first * BLOCK_BYTES as u64 + (at * STORE_BUFFER_BYTES) as u64;
        let (written, _buffer) = file.write_at(buffer, 0, part.len(), offset).await;
        written?;
    }
    Ok(())
}

/// The table itself: names spread over its blocks, a full one spilling into the next.
struct Table<D: Disk> {
    blocks: Blocks<D>,
    shape: Shape,
    last: Option<super::known::Name>,
    filter: Vec<u64>,
    alive: Vec<u32>,
}

impl<D: Disk> Table<D> {
    async fn create(disk: &D, id: u64, places: u64) -> io::Result<Self> {
        let shape = Shape {
            id,
            spread: places.div_ceil(SPREAD_ENTRIES).max(1),
            blocks: 0,
        };
        Ok(Self {
            blocks: Blocks::create(disk, NEW, id, 1).await?,
            last: None,
            filter: vec![0; shape.filter_words()],
            alive: vec![0; shape.pack_slots()],
            shape,
        })
    }

    async fn push(&mut self, place: Place) -> io::Result<()> {
        if self.last.replace(place.name) == Some(place.name) {
            return Ok(());
        }
        while self.blocks.number < 1 + self.shape.home(&place.name) {
            self.blocks.end_block().await?;
        }
        self.blocks.push(&place).await?;
        for bit in self.shape.filter_bits(&place.name) {
            self.filter[bit / 64] |= 1 << (bit % 64);
        }
        let alive = &mut self.alive[self.shape.slot(&place.pack.id)];
        *alive = alive.saturating_add(place.bytes);
        Ok(())
    }

    async fn finish(mut self) -> io::Result<()> {
        let (disk, file) = (self.blocks.disk.clone(), self.blocks.file.clone());
        let end = self.blocks.finish().await?;
        self.shape.blocks = end - 1;
        write(
            &disk,
            &file,
            end,
            &word_blocks(&self.shape, &self.filter, &self.alive),
        )
        .await?;
        write(&disk, &file, 0, &shape_block(&self.shape)).await?;
        file.sync_data().await
    }
}

/// Runs read side by side.
struct Merge<D: Disk> {
    disk: D,
    id: u64,
    runs: Vec<Reading<D>>,
    next: BinaryHeap<std::cmp::Reverse<(super::known::Name, usize)>>,
}

struct Reading<D: Disk> {
    file: D::File,
    run: Run,
    at: u64,
    places: std::collections::VecDeque<Place>,
}

impl<D: Disk> Merge<D> {
    async fn open(disk: &D, id: u64, runs: &[Run]) -> io::Result<Self> {
        let mut merge = Self {
            disk: disk.clone(),
            id,
            runs: Vec::new(),
            next: BinaryHeap::new(),
        };
        for run in runs {
            let file = disk.open(&run.path(), false).await?;
            merge.runs.push(Reading {
                file,
                run: *run,
                at: 0,
                places: std::collections::VecDeque::new(),
            });
            merge.refill(merge.runs.len() - 1).await?;
        }
        Ok(merge)
    }

    async fn next(&mut self) -> io::Result<Option<Place>> {
        let Some(std::cmp::Reverse((_, which))) = self.next.pop() else {
            return Ok(None);
        };
        let place = self.runs[which].places.pop_front();
        self.refill(which).await?;
        Ok(place)
    }

    /// Sees to it that the run's next place is known and stands in line.
    async fn refill(&mut self, which: usize) -> io::Result<()> {
        let reading = &mut self.runs[which];
        if reading.places.is_empty() && reading.at < reading.run.blocks {
            let left = reading.run.blocks - reading.at;
            let many = WINDOW_BLOCKS.min(usize::try_from(left).unwrap_or(usize::MAX));
            let bytes = read_blocks(&self.disk, &reading.file, reading.at, many).await;
            let broken = || io::Error::other("a part of the author's own table does not hold");
            for bytes in bytes.ok_or_else(broken)?.chunks(BLOCK_BYTES) {
                let (id, entries, body) = read_block(bytes, reading.at).ok_or_else(broken)?;
                if id != self.id {
                    return Err(broken());
                }
                let (places, _) = body.as_chunks::<ENTRY_BYTES>();
                reading
                    .places
                    .extend(places[..entries].iter().map(Place::decode));
                reading.at += 1;
            }
            if reading.places.is_empty() {
                return Err(broken());
            }
        }
        if let Some(place) = reading.places.front() {
            self.next.push(std::cmp::Reverse((place.name, which)));
        }
        Ok(())
    }
}

/// Notes anew, from the indices of all data sets, what packs hold.
pub(super) async fn tell<W: World>(
    world: &W,
    keys: &DataKeys,
    data_sets: &[DataSetConfig],
) -> io::Result<()> {
    let disk = world.disk();
    let mut builder = KnownBuilder::start(disk.clone(), world.entropy().bytes()).await?;
    for config in data_sets {
        let mut index = ShelfReader::open(disk.clone(), &config.name).await;
        while let Some(draft) = index.next().await {
            if let Some(place) = place_of(keys, &draft) {
                builder.push(place).await?;
            }
        }
    }
    builder.finish().await
}

fn place_of(keys: &DataKeys, draft: &Draft) -> Option<Place> {
    match &draft.what {
        Made::Packed {
            bytes,
            name,
            pack: Some(pack),
            offset,
        } => {
            let bytes = u32::try_from(*bytes).ok()?;
            Some(Place::of_small(name, *pack, *offset, bytes))
        }
        Made::Pieces { part: 0, .. } => {
            Identity::of_draft(draft).map(|identity| Place::of_large(keys, identity))
        }
        Made::Packed { pack: None, .. }
        | Made::Pieces { .. }
        | Made::Dir
        | Made::Symlink(_)
        | Made::Fifo
        | Made::Device { .. }
        | Made::Empty
        | Made::ToRead
        | Made::Dropped => None,
    }
}
