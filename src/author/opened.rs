//! A file opened to be read: what could not be read of it is tried again, through a newly opened file if that still is the same.

use std::io;

use super::again::{Again, Tries};
use super::read::same_contents;
use crate::world::{Clock, FileKind, Stat, Tree, TreeFile, Xattrs};

/// An open file of a data set.
pub(super) struct Opened<'a, T: Tree, C: Clock> {
    /// What it said of itself when it was opened first.
    pub stat: Stat,
    /// Whether parts of it take no space.
    pub has_holes: bool,
    tree: &'a T,
    again: &'a Again<C>,
    at: &'a [u8],
    file: T::File,
    tries: Tries,
}

impl<'a, T: Tree, C: Clock> Opened<'a, T, C> {
    /// Opens a file.
    pub async fn open(tree: &'a T, again: &'a Again<C>, at: &'a [u8]) -> io::Result<Self> {
        let mut tries = Tries::default();
        loop {
            match look(tree, at).await {
                Ok((file, stat, has_holes)) => {
                    again.helped(&mut tries);
                    return Ok(Self {
                        stat,
                        has_holes,
                        tree,
                        again,
                        at,
                        file,
                        tries,
                    });
                }
                Err(reason) if again.wait(&mut tries, &reason).await => {}
                Err(reason) => return Err(reason),
            }
        }
    }

    /// Appends to the buffer what stands at a place, as [`TreeFile::read_at`] does.
    pub async fn read_at(
        &mut self,
        mut buffer: Vec<u8>,
        bytes_max: usize,
        offset: u64,
    ) -> (io::Result<usize>, Vec<u8>) {
        let before = buffer.len();
        loop {
            let (read, back) = self.file.read_at(buffer, bytes_max, offset).await;
            buffer = back;
            let reason = match self.settled(read) {
                Ok(read) => return (Ok(read), buffer),
                Err(reason) => reason,
            };
            buffer.truncate(before);
            if let Err(reason) = self.reopen(reason).await {
                return (Err(reason), buffer);
            }
        }
    }

    /// Where the next bytes that are no hole stand, as [`TreeFile::next_data`] tells.
    pub async fn next_data(&mut self, offset: u64, least: u64) -> io::Result<Option<(u64, u64)>> {
        loop {
            let found = self.file.next_data(offset, least).await;
            match self.settled(found) {
                Ok(found) => return Ok(found),
                Err(reason) => self.reopen(reason).await?,
            }
        }
    }

    /// Its extended attributes.
    pub async fn xattrs(&mut self) -> io::Result<Xattrs> {
        loop {
            let found = self.file.xattrs().await;
            match self.settled(found) {
                Ok(found) => return Ok(found),
                Err(reason) => self.reopen(reason).await?,
            }
        }
    }

    /// Whether its contents are still those it was opened with.
    pub async fn is_as_it_was(&mut self) -> io::Result<bool> {
        loop {
            let stat = self.file.stat().await;
            match self.settled(stat) {
                Ok(stat) => return Ok(same_contents(&self.stat, &stat)),
                Err(reason) => self.reopen(reason).await?,
            }
        }
    }

    fn settled<R>(&mut self, done: io::Result<R>) -> io::Result<R> {
        if done.is_ok() {
            self.again.helped(&mut self.tries);
        }
        done
    }

    /// Opens it anew after something failed; the reason if that is not to be, or if another file stands there now.
    async fn reopen(&mut self, mut reason: io::Error) -> io::Result<()> {
        while self.again.wait(&mut self.tries, &reason).await {
            match look(self.tree, self.at).await {
                Ok((file, stat, _)) if same_contents(&self.stat, &stat) => {
                    self.file = file;
                    return Ok(());
                }
                Ok(_) => return Err(reason),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }
}

async fn look<T: Tree>(tree: &T, at: &[u8]) -> io::Result<(T::File, Stat, bool)> {
    let file = tree.open(at).await?;
    let stat = file.stat().await?;
    if stat.kind != FileKind::File {
        let reason = io::Error::new(io::ErrorKind::NotFound, "it is no longer a file");
        return Err(reason);
    }
    let has_holes = has_holes(&file, &stat).await?;
    Ok((file, stat, has_holes))
}

/// Whether parts of a file take no space. Only one that takes less than its length can have holes.
async fn has_holes<F: TreeFile>(file: &F, stat: &Stat) -> io::Result<bool> {
    if stat.blocks.saturating_mul(512) >= stat.size {
        return Ok(false);
    }
    let first = file.next_data(0, 0).await?;
    Ok(first.is_none_or(|(start, end)| start > 0 || end < stat.size))
}
