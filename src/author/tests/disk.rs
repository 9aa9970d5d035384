//! A disk in memory that keeps small files, and files of blocks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::terms::Stamp;
use crate::world::{Buffer, Disk, DiskFile};

fn never() -> io::Error {
    io::Error::other("an author never does this")
}

/// A disk of a few files.
#[derive(Clone, Default)]
pub struct SmallDisk(pub Rc<RefCell<BTreeMap<String, Vec<u8>>>>);

pub struct SmallBuffer(Vec<u8>);

impl Deref for SmallBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for SmallBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buffer for SmallBuffer {}

/// A file of the disk by its name.
#[derive(Clone)]
pub struct SmallFile {
    disk: SmallDisk,
    path: String,
}

impl DiskFile for SmallFile {
    type Buffer = SmallBuffer;
    async fn read_at(
        &self,
        mut buffer: SmallBuffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<usize>, SmallBuffer) {
        let files = self.disk.0.borrow();
        let Some(bytes) = files.get(&self.path) else {
            return (Err(never()), buffer);
        };
        let from = usize::try_from(offset).expect("small").min(bytes.len());
        let len = len.min(bytes.len() - from);
        buffer.0[at..at + len].copy_from_slice(&bytes[from..from + len]);
        (Ok(len), buffer)
    }
    async fn write_at(
        &self,
        buffer: SmallBuffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<()>, SmallBuffer) {
        let mut files = self.disk.0.borrow_mut();
        let bytes = files.entry(self.path.clone()).or_default();
        let from = usize::try_from(offset).expect("small");
        bytes.resize(bytes.len().max(from + len), 0);
        bytes[from..from + len].copy_from_slice(&buffer.0[at..at + len]);
        (Ok(()), buffer)
    }
    async fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    async fn len(&self) -> io::Result<u64> {
        Err(never())
    }
    async fn changed(&self) -> io::Result<Stamp> {
        Err(never())
    }
    async fn is_named(&self) -> io::Result<bool> {
        Err(never())
    }
    async fn set_len(&self, _: u64) -> io::Result<()> {
        Err(never())
    }
}

impl Disk for SmallDisk {
    type Buffer = SmallBuffer;
    type File = SmallFile;
    async fn buffer(&self) -> SmallBuffer {
        SmallBuffer(vec![0; crate::terms::limits::STORE_BUFFER_BYTES])
    }
    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let files = self.0.borrow();
        let names = files
            .keys()
            .filter_map(|path| path.strip_prefix(dir)?.strip_prefix('/'));
        Ok(names.map(str::to_owned).collect())
    }
    async fn make_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    async fn open(&self, path: &str, create_new: bool) -> io::Result<SmallFile> {
        let mut files = self.0.borrow_mut();
        match (files.contains_key(path), create_new) {
            (true, true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (false, false) => return Err(io::ErrorKind::NotFound.into()),
            (true, false) => {}
            (false, true) => {
                files.insert(path.to_owned(), Vec::new());
            }
        }
        Ok(SmallFile {
            disk: self.clone(),
            path: path.to_owned(),
        })
    }
    async fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.borrow().get(path).cloned())
    }
    async fn replace_small(&self, path: &str, bytes: &[u8], _: bool) -> io::Result<()> {
        self.0.borrow_mut().insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }
    async fn remove(&self, path: &str) -> io::Result<()> {
        self.0.borrow_mut().remove(path);
        Ok(())
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.borrow_mut();
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }
    async fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    async fn free_bytes(&self, _: &str) -> io::Result<u64> {
        Ok(u64::MAX)
    }
    fn is_rotational(&self) -> bool {
        false
    }
}
