//! Small files in memory, with a power cut after a given number of writes. For the tests of this room.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::world::{Buffer, Disk, DiskFile, Entropy};

/// Each file's bytes, and whether it is secret.
type Files = BTreeMap<String, (Vec<u8>, bool)>;

#[derive(Clone)]
pub(super) struct MemoryDisk {
    pub(super) files: Rc<RefCell<Files>>,
    pub(super) writes_left: Rc<Cell<usize>>,
}

impl MemoryDisk {
    pub(super) fn new() -> Self {
        Self {
            files: Rc::default(),
            writes_left: Rc::new(Cell::new(usize::MAX)),
        }
    }
}

pub(super) struct NoBuffer;

impl Deref for NoBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &[]
    }
}

impl DerefMut for NoBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut []
    }
}

impl Buffer for NoBuffer {}

#[derive(Clone)]
pub(super) struct NoFile;

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl DiskFile for NoFile {
    type Buffer = NoBuffer;

    async fn read_at(
        &self,
        buffer: NoBuffer,
        _: usize,
        _: usize,
        _: u64,
    ) -> (io::Result<usize>, NoBuffer) {
        (unsupported(), buffer)
    }
    async fn write_at(
        &self,
        buffer: NoBuffer,
        _: usize,
        _: usize,
        _: u64,
    ) -> (io::Result<()>, NoBuffer) {
        (unsupported(), buffer)
    }
    async fn sync_data(&self) -> io::Result<()> {
        unsupported()
    }
    async fn len(&self) -> io::Result<u64> {
        unsupported()
    }
    async fn changed(&self) -> io::Result<crate::terms::Stamp> {
        unsupported()
    }
    async fn is_named(&self) -> io::Result<bool> {
        unsupported()
    }
    async fn set_len(&self, _: u64) -> io::Result<()> {
        unsupported()
    }
}

impl Disk for MemoryDisk {
    type Buffer = NoBuffer;
    type File = NoFile;

    async fn buffer(&self) -> NoBuffer {
        NoBuffer
    }
    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let files = self.files.borrow();
        let below = |path: &String| Some(path.strip_prefix(dir)?.strip_prefix('/')?.to_owned());
        Ok(files.keys().filter_map(below).collect())
    }
    async fn make_dir(&self, _: &str) -> io::Result<()> {
        unsupported()
    }
    async fn open(&self, _: &str, _: bool) -> io::Result<NoFile> {
        unsupported()
    }
    async fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let files = self.files.borrow();
        Ok(files.get(path).map(|(bytes, _)| bytes.clone()))
    }
    async fn replace_small(&self, path: &str, bytes: &[u8], secret: bool) -> io::Result<()> {
        let left = self.writes_left.get().checked_sub(1);
        self.writes_left
            .set(left.ok_or(io::Error::other("power cut"))?);
        let file = (bytes.to_vec(), secret);
        self.files.borrow_mut().insert(path.to_owned(), file);
        Ok(())
    }
    async fn remove(&self, path: &str) -> io::Result<()> {
        self.files.borrow_mut().remove(path);
        Ok(())
    }
    async fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        unsupported()
    }
    async fn sync_dir(&self, _: &str) -> io::Result<()> {
        unsupported()
    }
    async fn free_bytes(&self, _: &str) -> io::Result<u64> {
        unsupported()
    }
    fn is_rotational(&self) -> bool {
        false
    }
}

/// Randomness that counts.
#[derive(Clone, Default)]
pub(super) struct Counting(pub(super) Rc<Cell<u64>>);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.set(self.0.get() + 1);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.get().to_le_bytes());
        hasher.finalize_xof().fill(bytes);
    }
}
