//! Sorting more than fits into memory: records of one length, each once, in runs on this Box's own disk that are merged into one file.
//!
//! It is scratch: nothing here outlives the work it is made for, and [`clean`] removes what a power cut left. Every block carries a
//! checksum, whose file it is and which one it is: a record that was written is read, or reading fails. It never just lacks.
//! Memory: one run while records come, a few blocks of each run while they are merged.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;

use crate::terms::limits::{BLOCK_BYTES, STORE_BUFFER_BYTES};
use crate::world::{Disk, DiskFile};

const DIR: &str = "author";
/// How the names of all scratch files begin.
const SCRATCH: &str = "release-";
/// Bytes of records sorted in memory at once.
const RUN_BYTES: usize = 1 << 20;
/// Runs merged at once; more are merged in steps.
const MERGE_MAX: usize = 32;
/// Blocks that are written, or read, in one go.
const WINDOW_BLOCKS: usize = 4;
/// CRC-32, records `u16`, 2 reserved, whose `u64`, which block of which file `u64`.
const HEAD_BYTES: usize = 24;

/// Removes whatever scratch files there are.
pub async fn clean<D: Disk>(disk: &D) -> io::Result<()> {
    for file in disk.list(DIR).await? {
        if file.starts_with(SCRATCH) {
            disk.remove(&format!("{DIR}/{file}")).await?;
        }
    }
    Ok(())
}

/// Records on their way into order.
pub struct Sorter<D: Disk, const N: usize> {
    disk: D,
    name: String,
    id: u64,
    run: Vec<[u8; N]>,
    run_max: usize,
    files: VecDeque<Run>,
    made: u32,
}

#[derive(Clone, Copy)]
struct Run {
    number: u32,
    blocks: u32,
}

impl<D: Disk, const N: usize> Sorter<D, N> {
    /// An empty one. No other with this name may be in use; `id` is random.
    pub fn new(disk: D, name: &str, id: u64) -> Self {
        Self {
            disk,
            name: format!("{DIR}/{SCRATCH}{name}"),
            id,
            run: Vec::new(),
            run_max: RUN_BYTES / N,
            files: VecDeque::new(),
            made: 0,
        }
    }

    /// Sorts fewer in memory at once.
    #[cfg(test)]
    pub fn with_runs_of(mut self, records: usize) -> Self {
        self.run_max = records;
        self
    }

    /// Adds a record.
    pub async fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        self.run.push(record);
        if self.run.len() >= self.run_max {
            self.order();
            // Where most of them come again and again there is no need to write yet.
            if self.run.len() > self.run_max / 2 {
                self.end_run().await?;
            }
        }
        Ok(())
    }

    /// All of them, in order, each once.
    pub async fn finish(mut self) -> io::Result<Sorted<D, N>> {
        self.order();
        if !self.files.is_empty() && !self.run.is_empty() {
            self.end_run().await?;
        }
        while self.files.len() > 1 {
            self.merge_some().await?;
        }
        let file = self.files.pop_front();
        Ok(Sorted {
            path: file.map(|run| self.path(run.number)),
            run: file,
            disk: self.disk,
            id: self.id,
            memory: self.run,
        })
    }

    fn order(&mut self) {
        self.run.sort_unstable();
        self.run.dedup();
    }

    fn path(&self, number: u32) -> String {
        format!("{}-{number}", self.name)
    }

    async fn begin_file(&mut self) -> io::Result<Writer<D, N>> {
        let number = self.made;
        self.made += 1;
        let path = self.path(number);
        self.disk.make_dir(DIR).await?;
        self.disk.remove(&path).await?;
        Ok(Writer {
            file: self.disk.open(&path, true).await?,
            disk: self.disk.clone(),
            id: self.id,
            run: Run { number, blocks: 0 },
            open: Vec::new(),
            waiting: Vec::new(),
        })
    }

    async fn end_run(&mut self) -> io::Result<()> {
        let mut file = self.begin_file().await?;
        let mut records = std::mem::take(&mut self.run);
        for record in &records {
            file.push(record).await?;
        }
        records.clear();
        self.run = records;
        self.files.push_back(file.finish().await?);
        Ok(())
    }

    async fn merge_some(&mut self) -> io::Result<()> {
        let some = self.files.len().min(MERGE_MAX);
        let some: Vec<Run> = self.files.drain(..some).collect();
        let mut readers = Vec::new();
        let mut next = BinaryHeap::new();
        for run in &some {
            let mut reader =
                Reader::<D, N>::open(&self.disk, self.id, *run, &self.path(run.number));
            let reader_at = readers.len();
            if let Some(record) = reader.next().await? {
                next.push(Reverse((record, reader_at)));
            }
            readers.push(reader);
        }
        let mut file = self.begin_file().await?;
        let mut last = None;
        while let Some(Reverse((record, at))) = next.pop() {
            if last.replace(record) != Some(record) {
                file.push(&record).await?;
            }
            if let Some(record) = readers[at].next().await? {
                next.push(Reverse((record, at)));
            }
        }
        self.files.push_back(file.finish().await?);
        for run in some {
            self.disk.remove(&self.path(run.number)).await?;
        }
        Ok(())
    }
}

/// Records in order, each once; may be read several times.
pub struct Sorted<D: Disk, const N: usize> {
    disk: D,
    id: u64,
    path: Option<String>,
    run: Option<Run>,
    memory: Vec<[u8; N]>,
}

impl<D: Disk, const N: usize> Sorted<D, N> {
    /// How many there are: exactly where they are few, else rounded up to whole blocks.
    pub fn about(&self) -> u64 {
        let a_block = ((BLOCK_BYTES - HEAD_BYTES) / N) as u64;
        match self.run {
            Some(run) => u64::from(run.blocks) * a_block,
            None => self.memory.len() as u64,
        }
    }

    /// Reads them from the first on.
    pub fn reader(&self) -> Reader<'_, D, N> {
        match (&self.path, self.run) {
            (Some(path), Some(run)) => Reader::open(&self.disk, self.id, run, path),
            (Some(_) | None, _) => Reader {
                memory: self.memory.iter(),
                ..Reader::open(
                    &self.disk,
                    self.id,
                    Run {
                        number: 0,
                        blocks: 0,
                    },
                    "",
                )
            },
        }
    }
}

/// Reads records in order.
pub struct Reader<'a, D: Disk, const N: usize> {
    disk: D,
    id: u64,
    path: String,
    run: Run,
    file: Option<D::File>,
    at: u32,
    window: VecDeque<[u8; N]>,
    last: Option<[u8; N]>,
    memory: std::slice::Iter<'a, [u8; N]>,
}

impl<D: Disk, const N: usize> Reader<'_, D, N> {
    fn open(disk: &D, id: u64, run: Run, path: &str) -> Self {
        Self {
            disk: disk.clone(),
            id,
            path: path.to_owned(),
            run,
            file: None,
            at: 0,
            window: VecDeque::new(),
            last: None,
            memory: [].iter(),
        }
    }

    /// The next one.
    pub async fn next(&mut self) -> io::Result<Option<[u8; N]>> {
        if self.window.is_empty() && self.at < self.run.blocks {
            self.refill().await?;
        }
        let next = self
            .window
            .pop_front()
            .or_else(|| self.memory.next().copied());
        if next.is_some() && next <= self.last {
            return Err(broken());
        }
        self.last = next;
        Ok(next)
    }

    async fn refill(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self
                .file
                .insert(self.disk.open(&self.path, false).await?)
                .clone(),
        };
        let left = usize::try_from(self.run.blocks - self.at).unwrap_or(usize::MAX);
        let bytes = BLOCK_BYTES * left.min(WINDOW_BLOCKS);
        let offset = u64::from(self.at) * BLOCK_BYTES as u64;
        let buffer = self.disk.buffer().await;
        let (read, buffer) = file.read_at(buffer, 0, bytes, offset).await;
        if read? < bytes {
            return Err(broken());
        }
        for block in buffer[..bytes].chunks(BLOCK_BYTES) {
            let place = place_of(self.run.number, self.at);
            let records = records_of::<N>(block, self.id, place).ok_or_else(broken)?;
            self.window.extend(records);
            self.at += 1;
        }
        Ok(())
    }
}

fn broken() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "what this Box wrote a moment ago does not read back",
    )
}

fn place_of(file: u32, block: u32) -> u64 {
    u64::from(file) << 32 | u64::from(block)
}

struct Writer<D: Disk, const N: usize> {
    disk: D,
    file: D::File,
    id: u64,
    run: Run,
    /// Records of the block that is being filled.
    open: Vec<u8>,
    /// Whole blocks that are not written yet.
    waiting: Vec<u8>,
}

impl<D: Disk, const N: usize> Writer<D, N> {
    async fn push(&mut self, record: &[u8; N]) -> io::Result<()> {
        if self.open.len() + N > BLOCK_BYTES - HEAD_BYTES {
            self.end_block();
            if self.waiting.len() >= STORE_BUFFER_BYTES / 4 {
                self.write_out().await?;
            }
        }
        self.open.extend(record);
        Ok(())
    }

    fn end_block(&mut self) {
        let records = std::mem::take(&mut self.open);
        self.waiting.extend(block::<N>(
            self.id,
            place_of(self.run.number, self.run.blocks),
            &records,
        ));
        self.run.blocks += 1;
    }

    async fn write_out(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.waiting);
        let end = u64::from(self.run.blocks) * BLOCK_BYTES as u64;
        let mut buffer = self.disk.buffer().await;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        let offset = end - bytes.len() as u64;
        let (written, _buffer) = self.file.write_at(buffer, 0, bytes.len(), offset).await;
        written
    }

    async fn finish(mut self) -> io::Result<Run> {
        if !self.open.is_empty() {
            self.end_block();
        }
        if !self.waiting.is_empty() {
            self.write_out().await?;
        }
        Ok(self.run)
    }
}

fn block<const N: usize>(id: u64, place: u64, records: &[u8]) -> Vec<u8> {
    let many = u16::try_from(records.len() / N).unwrap_or(u16::MAX);
    let mut block = vec![0; BLOCK_BYTES];
    block[4..6].copy_from_slice(&many.to_le_bytes());
    block[8..16].copy_from_slice(&id.to_le_bytes());
    block[16..24].copy_from_slice(&place.to_le_bytes());
    block[HEAD_BYTES..HEAD_BYTES + records.len()].copy_from_slice(records);
    let sum = crc32fast::hash(&block[4..]);
    block[..4].copy_from_slice(&sum.to_le_bytes());
    block
}

fn records_of<const N: usize>(block: &[u8], id: u64, place: u64) -> Option<Vec<[u8; N]>> {
    let sum = u32::from_le_bytes(block.get(..4)?.try_into().ok()?);
    let many = usize::from(u16::from_le_bytes(block.get(4..6)?.try_into().ok()?));
    let is_ours =
        block.get(8..16)? == id.to_le_bytes() && block.get(16..24)? == place.to_le_bytes();
    if !is_ours || many == 0 || sum != crc32fast::hash(&block[4..]) {
        return None;
    }
    let (records, _) = block
        .get(HEAD_BYTES..HEAD_BYTES + many * N)?
        .as_chunks::<N>();
    Some(records.to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::author::tests::world::SmallDisk;

    fn run<F: Future>(story: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(story)
    }

    async fn all(sorted: &Sorted<SmallDisk, 4>) -> io::Result<Vec<u32>> {
        let mut reader = sorted.reader();
        let mut all = Vec::new();
        while let Some(record) = reader.next().await? {
            all.push(u32::from_be_bytes(record));
        }
        Ok(all)
    }

    async fn sorted(disk: &SmallDisk, numbers: &[u32], runs_of: usize) -> Sorted<SmallDisk, 4> {
        let mut sorter = Sorter::new(disk.clone(), "test", 7).with_runs_of(runs_of);
        for number in numbers {
            sorter.push(number.to_be_bytes()).await.expect("written");
        }
        sorter.finish().await.expect("merged")
    }

    proptest! {
        #[test]
        fn whatever_comes_goes_out_in_order_and_once(
            numbers in prop::collection::vec(0..5000u32, 0..6000),
            runs_of in 2..200usize,
        ) {
            let disk = SmallDisk::default();
            let mut expected = numbers.clone();
            expected.sort_unstable();
            expected.dedup();
            run(async {
                let sorted = sorted(&disk, &numbers, runs_of).await;
                prop_assert_eq!(&all(&sorted).await.expect("read"), &expected);
                prop_assert_eq!(&all(&sorted).await.expect("read again"), &expected);
                prop_assert!(disk.0.borrow().len() <= 1, "merged runs are removed");
                clean(&disk).await.expect("cleaned");
                prop_assert!(disk.0.borrow().is_empty());
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_file_that_rotted_or_lost_a_block_is_no_shorter_list_but_an_error() {
        run(async {
            let disk = SmallDisk::default();
            let numbers: Vec<u32> = (0..20_000).collect();
            let sorted = sorted(&disk, &numbers, 500).await;
            let path = disk.0.borrow().keys().next().expect("a file").clone();
            let good = disk.0.borrow()[&path].clone();
            for (at, flip) in [(0, 1), (5, 4), (9000, 2), (40_000, 128)] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                disk.0.borrow_mut().insert(path.clone(), bad);
                assert!(all(&sorted).await.is_err(), "byte {at}");
            }
            let mut swapped = good.clone();
            swapped[..8192].rotate_left(4096);
            for bad in [
                swapped,
                good[..good.len() - 4096].to_vec(),
                vec![0; good.len()],
            ] {
                disk.0.borrow_mut().insert(path.clone(), bad);
                assert!(all(&sorted).await.is_err());
            }
            disk.0.borrow_mut().insert(path, good);
            assert_eq!(all(&sorted).await.expect("read"), numbers);
        });
    }
}
