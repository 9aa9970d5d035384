//! An open file of the world in memory.

use std::io;

use super::ailing::Deed;
use super::world::{Files, Thing, denied, never};
use crate::world::{Stat, Tree, TreeFile, Xattrs};

#[derive(Clone)]
pub struct OpenFile {
    pub files: Files,
    pub path: Vec<u8>,
}

impl TreeFile for OpenFile {
    async fn stat(&self) -> io::Result<Stat> {
        self.files.0.ailing.attempt(&self.path, Deed::Stat)?;
        self.files.stat(&self.path).await
    }
    async fn read_at(
        &self,
        mut into: Vec<u8>,
        bytes_max: usize,
        offset: u64,
    ) -> (io::Result<usize>, Vec<u8>) {
        if offset == 0 {
            self.files.stir(&self.path);
        }
        let Ok((Thing::File(bytes), _)) = self.files.at(&self.path) else {
            return (Err(denied()), into);
        };
        let from = usize::try_from(offset).expect("small").min(bytes.len());
        let broken = self.files.0.broken_from.borrow().get(&self.path).copied();
        if broken.is_some_and(|broken| from >= broken) {
            return (Err(io::Error::other("a broken sector")), into);
        }
        if let Err(error) = self.files.0.ailing.attempt(&self.path, Deed::Read { from }) {
            return (Err(error), into);
        }
        // Short reads are legal, so they are made.
        let len = bytes_max.min(bytes.len() - from).min(1000);
        let read = &self.files.0.bytes_read;
        read.set(read.get() + len as u64);
        into.extend_from_slice(&bytes[from..from + len]);
        (Ok(len), into)
    }
    async fn xattrs(&self) -> io::Result<Xattrs> {
        self.files.xattrs_of(&self.path)
    }
    async fn next_data(&self, offset: u64, least: u64) -> io::Result<Option<(u64, u64)>> {
        self.files.0.ailing.attempt(&self.path, Deed::FindHoles)?;
        let Ok((Thing::File(bytes), _)) = self.files.at(&self.path) else {
            return Err(denied());
        };
        // Runs of so many zeros are holes.
        let at = |place: u64| usize::try_from(place).expect("small");
        let is_data = |byte: &u8| *byte != 0;
        let Some(start) = bytes[at(offset)..].iter().position(is_data) else {
            return Ok(None);
        };
        let start = at(offset) + start;
        let mut end = start;
        while let Some(next) = bytes[end..].iter().position(is_data) {
            if next as u64 >= least.max(100) {
                break;
            }
            end += next + 1;
        }
        Ok(Some((start as u64, end as u64)))
    }
    async fn write_around_zeros(&self, bytes: Vec<u8>, _: u64) -> (io::Result<()>, Vec<u8>) {
        (Err(never()), bytes)
    }
    async fn write_at(&self, bytes: Vec<u8>, _: u64) -> (io::Result<()>, Vec<u8>) {
        (Err(never()), bytes)
    }
    async fn set_len(&self, _: u64) -> io::Result<()> {
        Err(never())
    }
}
