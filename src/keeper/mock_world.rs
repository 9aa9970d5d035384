//! The smallest world a store can live in: a disk in memory that forgets what was not synced, a clock that jumps, and
//! counted randomness. No people's files, no network: a store that asks for them is wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::mock_nothing::Nothing;
use super::mock_time::{MockClock, MockEntropy};
use crate::terms::Stamp;
use crate::terms::limits::{BLOCK_BYTES, STORE_BUFFER_BYTES, STORE_BUFFERS};
use crate::world::{Buffer, Disk, DiskFile, World};

#[derive(Clone)]
pub(super) struct MockWorld {
    pub(super) disk: MockDisk,
    pub(super) clock: MockClock,
    entropy: MockEntropy,
}

impl MockWorld {
    pub(super) fn new() -> Self {
        Self::on(MockDisk::new())
    }

    /// Another start of the same Box.
    pub(super) fn on(disk: MockDisk) -> Self {
        Self {
            clock: disk.clock.clone(),
            disk,
            entropy: MockEntropy::default(),
        }
    }
}

impl World for MockWorld {
    type Disk = MockDisk;
    type Tree = Nothing;
    type Net = Nothing;
    type Clock = MockClock;
    type Entropy = MockEntropy;

    fn disk(&self) -> &MockDisk {
        &self.disk
    }
    fn tree(&self) -> &Nothing {
        &Nothing
    }
    fn net(&self) -> &Nothing {
        &Nothing
    }
    fn clock(&self) -> &MockClock {
        &self.clock
    }
    fn entropy(&self) -> &MockEntropy {
        &self.entropy
    }
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

/// One file: what a reader sees, and what a power cut leaves.
#[derive(Clone, Default)]
struct Bytes {
    now: Vec<u8>,
    durable: Vec<u8>,
    is_name_durable: bool,
    /// Counts changes by programs; rot is none.
    changes: u32,
    /// Where a block begins that cannot be read.
    bad_blocks: Vec<usize>,
}

#[derive(Default)]
struct Platter {
    files: BTreeMap<String, Rc<RefCell<Bytes>>>,
    syncs_until_failure: Option<usize>,
    rot_at_failure: Option<usize>,
    free_bytes: u64,
    syncs: usize,
    reads: usize,
    /// How busy the disk is with something else, and how often that was asked.
    pressure_percent: Option<u8>,
    /// A file that the file system does not give.
    shut: Option<String>,
}

#[derive(Clone)]
pub(super) struct MockDisk {
    platter: Rc<RefCell<Platter>>,
    pool: std::sync::Arc<Semaphore>,
    /// Goes on over power cuts.
    clock: MockClock,
}

impl MockDisk {
    fn new() -> Self {
        Self::of(Platter {
            free_bytes: 1 << 40,
            ..Platter::default()
        })
    }

    fn of(platter: Platter) -> Self {
        Self {
            platter: Rc::new(RefCell::new(platter)),
            pool: std::sync::Arc::new(Semaphore::new(STORE_BUFFERS)),
            clock: MockClock::default(),
        }
    }

    /// So many days pass.
    pub(super) fn wait_days(&self, days: i64) {
        let wall = &self.clock.1;
        wall.set(wall.get() + days * 24 * 3600);
    }

    /// The disk as the next start finds it; the old one goes on for nobody.
    pub(super) fn power_cut(&self) -> Self {
        let platter = self.platter.borrow();
        let mut files = BTreeMap::new();
        for (path, bytes) in &platter.files {
            let bytes = bytes.borrow();
            if bytes.is_name_durable {
                let durable = Bytes {
                    now: bytes.durable.clone(),
                    ..bytes.clone()
                };
                files.insert(path.clone(), Rc::new(RefCell::new(durable)));
            }
        }
        let cut = Self::of(Platter {
            files,
            free_bytes: platter.free_bytes,
            ..Platter::default()
        });
        Self {
            clock: self.clock.clone(),
            ..cut
        }
    }

    /// As [`Self::power_cut`], but of what was not synced some blocks are there by chance.
    pub(super) fn torn_power_cut(&self, mut chance: impl FnMut() -> bool) -> Self {
        let cut = self.power_cut();
        for (path, bytes) in &cut.platter.borrow().files {
            let written = self.bytes(path);
            let mut bytes = bytes.borrow_mut();
            let durable = bytes.durable.len();
            for at in (durable..written.len()).step_by(BLOCK_BYTES) {
                let end = (at + BLOCK_BYTES).min(written.len());
                if chance() {
                    bytes.durable.resize(end, 0);
                    bytes.durable[at..end].copy_from_slice(&written[at..end]);
                }
            }
            bytes.now = bytes.durable.clone();
        }
        cut
    }

    pub(super) fn bytes(&self, path: &str) -> Vec<u8> {
        let platter = self.platter.borrow();
        platter.files[path].borrow().now.clone()
    }

    /// As if the run before had not come to write down how whole the store is, and how far it is acknowledged.
    pub(super) fn forget_marks(&self) {
        self.remove_now("store/verified");
    }

    pub(super) fn remove_now(&self, path: &str) {
        self.platter.borrow_mut().files.remove(path);
    }

    pub(super) fn paths(&self) -> Vec<String> {
        self.platter.borrow().files.keys().cloned().collect()
    }

    /// Puts durable bytes under a path.
    pub(super) fn set_bytes(&self, path: &str, bytes: Vec<u8>) {
        let bytes = Bytes {
            durable: bytes.clone(),
            now: bytes,
            is_name_durable: true,
            changes: 0,
            bad_blocks: Vec::new(),
        };
        let mut platter = self.platter.borrow_mut();
        platter
            .files
            .insert(path.to_owned(), Rc::new(RefCell::new(bytes)));
    }

    /// The `nth` sync from now fails, and what it should have kept is lost.
    pub(super) fn fail_sync(&self, nth: usize) {
        self.platter.borrow_mut().syncs_until_failure = Some(nth);
    }

    /// A byte of the file whose sync fails rots then, durable or not.
    pub(super) fn rot_at_failure(&self, at: usize) {
        self.platter.borrow_mut().rot_at_failure = Some(at);
    }

    /// Flips a bit of a durable byte.
    pub(super) fn rot(&self, path: &str, at: usize) {
        self.spoil(path, |bytes| bytes[at] ^= 1);
    }

    /// All from there on is gone.
    pub(super) fn cut_off(&self, path: &str, from: usize) {
        self.spoil(path, |bytes| bytes.truncate(from));
    }

    /// A write went astray: what stands at one place stands at another, too, and what was there is gone.
    pub(super) fn write_over(&self, path: &str, from: std::ops::Range<usize>, to: usize) {
        self.spoil(path, |bytes| bytes.copy_within(from, to));
    }

    fn spoil(&self, path: &str, how: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes(path);
        how(&mut bytes);
        let platter = self.platter.borrow();
        let mut file = platter.files[path].borrow_mut();
        file.durable.clone_from(&bytes);
        file.now = bytes;
    }

    /// A program wrote to a file.
    pub(super) fn touch(&self, path: &str) {
        let platter = self.platter.borrow();
        platter.files[path].borrow_mut().changes += 1;
    }

    /// A file is gone.
    pub(super) fn lose(&self, path: &str) {
        self.platter.borrow_mut().files.remove(path);
    }

    /// A process was killed after it wrote a file's end and before it synced it.
    pub(super) fn unsync(&self, path: &str, len: usize) {
        let platter = self.platter.borrow();
        platter.files[path].borrow_mut().durable.truncate(len);
    }

    /// Others use the disk for such a part of the time.
    pub(super) fn press(&self, percent: u8) {
        self.platter.borrow_mut().pressure_percent = Some(percent);
    }

    /// A file cannot be opened any more.
    pub(super) fn shut(&self, path: &str) {
        self.platter.borrow_mut().shut = Some(path.to_owned());
    }

    /// A block can no longer be read.
    pub(super) fn spoil_block(&self, path: &str, at: usize) {
        let platter = self.platter.borrow();
        platter.files[path].borrow_mut().bad_blocks.push(at);
    }

    pub(super) fn set_free(&self, bytes: u64) {
        self.platter.borrow_mut().free_bytes = bytes;
    }

    pub(super) fn syncs(&self) -> usize {
        self.platter.borrow().syncs
    }

    pub(super) fn reads(&self) -> usize {
        self.platter.borrow().reads
    }
}

pub(super) struct MockBuffer(Vec<u8>, #[allow(dead_code)] OwnedSemaphorePermit);

impl Deref for MockBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for MockBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buffer for MockBuffer {}

impl Disk for MockDisk {
    type Buffer = MockBuffer;
    type File = MockFile;

    async fn buffer(&self) -> MockBuffer {
        let pool = std::sync::Arc::clone(&self.pool);
        let permit = pool.acquire_owned().await.expect("it is never closed");
        MockBuffer(vec![0xaa; STORE_BUFFER_BYTES], permit)
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{dir}/");
        let platter = self.platter.borrow();
        let names = platter
            .files
            .keys()
            .filter_map(|path| path.strip_prefix(&prefix));
        Ok(names.map(str::to_owned).collect())
    }

    async fn make_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    async fn pressure_percent(&self) -> Option<u8> {
        self.platter.borrow().pressure_percent
    }

    async fn open(&self, path: &str, create_new: bool) -> io::Result<MockFile> {
        let mut platter = self.platter.borrow_mut();
        if platter.shut.as_deref() == Some(path) {
            return Err(io::Error::other("the mock's file cannot be opened"));
        }
        let bytes = match (platter.files.get(path), create_new) {
            (Some(bytes), false) => Rc::clone(bytes),
            (Some(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, false) => return Err(io::ErrorKind::NotFound.into()),
            (None, true) => {
                let bytes: Rc<RefCell<Bytes>> = Rc::default();
                platter.files.insert(path.to_owned(), Rc::clone(&bytes));
                bytes
            }
        };
        drop(platter);
        Ok(MockFile {
            bytes,
            platter: Rc::clone(&self.platter),
        })
    }

    async fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let platter = self.platter.borrow();
        Ok(platter
            .files
            .get(path)
            .map(|bytes| bytes.borrow().now.clone()))
    }

    async fn replace_small(&self, path: &str, bytes: &[u8], _secret: bool) -> io::Result<()> {
        tokio::task::yield_now().await;
        self.set_bytes(path, bytes.to_vec());
        Ok(())
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        tokio::task::yield_now().await;
        self.platter.borrow_mut().files.remove(path);
        Ok(())
    }

    async fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let platter = self.platter.borrow();
        for (path, bytes) in &platter.files {
            if path.starts_with(dir) {
                bytes.borrow_mut().is_name_durable = true;
            }
        }
        Ok(())
    }

    async fn free_bytes(&self, _: &str) -> io::Result<u64> {
        Ok(self.platter.borrow().free_bytes)
    }

    fn is_rotational(&self) -> bool {
        false
    }
}

#[derive(Clone)]
pub(super) struct MockFile {
    bytes: Rc<RefCell<Bytes>>,
    platter: Rc<RefCell<Platter>>,
}

impl DiskFile for MockFile {
    type Buffer = MockBuffer;

    async fn read_at(
        &self,
        mut buffer: MockBuffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<usize>, MockBuffer) {
        assert!(at.is_multiple_of(BLOCK_BYTES) && len.is_multiple_of(BLOCK_BYTES));
        assert!(offset.is_multiple_of(BLOCK_BYTES as u64));
        tokio::task::yield_now().await;
        self.platter.borrow_mut().reads += 1;
        let bytes = self.bytes.borrow();
        let from = usize::try_from(offset).expect("small").min(bytes.now.len());
        let to = (from + len).min(bytes.now.len());
        if bytes.bad_blocks.iter().any(|bad| (from..to).contains(bad)) {
            return (Err(io::Error::other("the mock's block is bad")), buffer);
        }
        buffer[at..at + to - from].copy_from_slice(&bytes.now[from..to]);
        (Ok(to - from), buffer)
    }

    async fn write_at(
        &self,
        buffer: MockBuffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<()>, MockBuffer) {
        assert!(at.is_multiple_of(BLOCK_BYTES) && len.is_multiple_of(BLOCK_BYTES));
        assert!(offset.is_multiple_of(BLOCK_BYTES as u64));
        tokio::task::yield_now().await;
        let mut bytes = self.bytes.borrow_mut();
        let from = usize::try_from(offset).expect("small");
        let durable_end = bytes.durable.len();
        assert!(
            from >= durable_end,
            "a block with durable bytes is never written again"
        );
        if bytes.now.len() < from + len {
            bytes.now.resize(from + len, 0);
        }
        bytes.now[from..from + len].copy_from_slice(&buffer[at..at + len]);
        bytes.changes += 1;
        (Ok(()), buffer)
    }

    async fn sync_data(&self) -> io::Result<()> {
        // The writer is away here while others put more into its queue.
        tokio::task::yield_now().await;
        let mut platter = self.platter.borrow_mut();
        platter.syncs += 1;
        let mut bytes = self.bytes.borrow_mut();
        match &mut platter.syncs_until_failure {
            Some(0) => {
                platter.syncs_until_failure = None;
                if let Some(at) = platter.rot_at_failure.take() {
                    bytes.durable[at] ^= 1;
                }
                bytes.now = bytes.durable.clone();
                return Err(io::Error::other("the mock's sync fails"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        bytes.durable = bytes.now.clone();
        Ok(())
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.borrow().now.len() as u64)
    }

    async fn changed(&self) -> io::Result<Stamp> {
        Ok(Stamp {
            seconds: i64::from(self.bytes.borrow().changes),
            nanos: 0,
        })
    }

    async fn is_named(&self) -> io::Result<bool> {
        let platter = self.platter.borrow();
        let mut files = platter.files.values();
        Ok(files.any(|bytes| Rc::ptr_eq(bytes, &self.bytes)))
    }

    async fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).expect("small");
        self.bytes.borrow_mut().now.resize(len, 0);
        Ok(())
    }
}
