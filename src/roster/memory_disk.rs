//! Small files in memory, with a power cut after a given number of writes. For the tests of this room.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use crate::world::nothing::{NoBuffer, Nothing, nothing};
use crate::world::{Disk, Entropy};

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

impl Disk for MemoryDisk {
    type Buffer = NoBuffer;
    type File = Nothing;

    async fn buffer(&self) -> NoBuffer {
        NoBuffer
    }
    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let files = self.files.borrow();
        let below = |path: &String| Some(path.strip_prefix(dir)?.strip_prefix('/')?.to_owned());
        Ok(files.keys().filter_map(below).collect())
    }
    async fn make_dir(&self, _: &str) -> io::Result<()> {
        nothing()
    }
    async fn open(&self, _: &str, _: bool) -> io::Result<Nothing> {
        nothing()
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
        nothing()
    }
    async fn sync_dir(&self, _: &str) -> io::Result<()> {
        nothing()
    }
    async fn free_bytes(&self, _: &str) -> io::Result<u64> {
        nothing()
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
