//! The previous snapshot's index, kept on this Box so that unchanged files need not be read.
//!
//! It is a cache: when it is missing or damaged, everything is read again, and that is all. It lies as parts of about half
//! a mebibyte under a generation number, and a list file that names the generation; the list is replaced last, so a power
//! cut leaves the old shelf or the new one. Memory: one part while reading, one while writing.

use std::io;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::cmp::Ordering;

use super::draft::{Draft, Made};
use super::index::MadePage;
use crate::format::index::{Page, path_order};
use crate::format::{decode_file, encode_file};
use crate::terms::Stamp;
use crate::world::Disk;

const DIR: &str = "author";
const LIST: &str = "list of an author's index";
const PART: &str = "part of an author's index";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    generation: u64,
    parts: u32,
    files: u64,
    /// When the walk began that it comes from.
    began: Stamp,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredPage {
    page: ByteBuf,
    /// Sealed and plain length of each of its chunks.
    lengths: Vec<(u32, u32)>,
}

fn name_of(data_set: &str) -> String {
    let hash = blake3::hash(data_set.as_bytes());
    format!(
        "index-{}",
        data_encoding::HEXLOWER.encode(&hash.as_bytes()[..8])
    )
}

fn part_path(name: &str, generation: u64, part: u32) -> String {
    format!("{DIR}/{name}-{generation}-{part}")
}

/// Reads the previous index in order. A clone reads on from the same place.
#[derive(Clone)]
pub struct ShelfReader<D: Disk> {
    disk: D,
    name: String,
    list: Option<List>,
    part: u32,
    pages: std::vec::IntoIter<StoredPage>,
    page: Page,
    lengths: Vec<(u32, u32)>,
    at: usize,
    /// Files passed by that are no longer there.
    pub gone: u64,
    /// Their lengths, those of a database's own files included.
    pub gone_bytes: u64,
    /// When the walk began that the previous index comes from: what changed later, it may not have seen.
    pub began: Stamp,
    /// Whether something was there but could not be used: everything from there on is read again.
    pub is_damaged: bool,
}

impl<D: Disk> ShelfReader<D> {
    /// Opens what there is.
    pub async fn open(disk: D, data_set: &str) -> Self {
        let name = name_of(data_set);
        let (list, is_damaged) = match disk.read_small(&format!("{DIR}/{name}")).await {
            Ok(None) => (None, false),
            Ok(Some(bytes)) => match decode_file::<List>(LIST, &bytes) {
                Ok(list) => (Some(list), false),
                Err(_) => (None, true),
            },
            Err(_) => (None, true),
        };
        Self {
            disk,
            name,
            began: list.map_or_else(Stamp::default, |list| list.began),
            list,
            part: 0,
            pages: Vec::new().into_iter(),
            page: Page::default(),
            lengths: Vec::new(),
            at: 0,
            gone: 0,
            gone_bytes: 0,
            is_damaged,
        }
    }

    /// Whether there is a previous index.
    pub fn is_there(&self) -> bool {
        self.list.is_some()
    }

    /// Regular files of the previous snapshot.
    pub fn files(&self) -> u64 {
        self.list.map_or(0, |list| list.files)
    }

    /// The previous entry of this path (its first part), if there was one. Paths are asked for in order.
    pub async fn find(&mut self, path: &[u8]) -> Option<Draft> {
        loop {
            self.load().await?;
            let entry = self.page.entries.get(self.at)?;
            match path_order(&entry.path, path) {
                Ordering::Less => {
                    self.gone += u64::from(is_first_of_file(entry));
                    self.gone_bytes = self.gone_bytes.saturating_add(bytes_of(entry));
                    self.at += 1;
                }
                Ordering::Equal => return self.take(),
                Ordering::Greater => return None,
            }
        }
    }

    /// The next part of a path found before.
    pub async fn next_part(&mut self, path: &[u8]) -> Option<Draft> {
        self.load().await?;
        if self.page.entries.get(self.at)?.path.as_slice() != path {
            return None;
        }
        self.take()
    }

    /// The next entry at a path or below it. What stands before it is passed by.
    pub async fn next_within(&mut self, path: &[u8]) -> Option<Draft> {
        loop {
            self.load().await?;
            let entry = self.page.entries.get(self.at)?;
            let below = entry.path.strip_prefix(path);
            let is_within = below.is_some_and(|rest| {
                rest.is_empty() || path.is_empty() || rest.first() == Some(&b'/')
            });
            if is_within {
                return self.take();
            }
            if path_order(&entry.path, path) != Ordering::Less {
                return None;
            }
            self.gone += u64::from(is_first_of_file(entry));
            self.gone_bytes = self.gone_bytes.saturating_add(bytes_of(entry));
            self.at += 1;
        }
    }

    /// The next entry of all, whatever its path.
    pub async fn next(&mut self) -> Option<Draft> {
        self.load().await?;
        self.take()
    }

    /// Counts what is left as gone.
    pub async fn pass_rest(&mut self) {
        while self.load().await.is_some() {
            let left = &self.page.entries[self.at..];
            for entry in left {
                self.gone_bytes = self.gone_bytes.saturating_add(bytes_of(entry));
            }
            self.gone += left.iter().filter(|entry| is_first_of_file(entry)).count() as u64;
            self.at = self.page.entries.len();
        }
    }

    fn take(&mut self) -> Option<Draft> {
        let entry = self.page.entries.get(self.at)?;
        self.at += 1;
        Draft::again(entry, &self.page, &self.lengths)
    }

    /// Makes sure that an entry stands at `at`; `None` at the end.
    async fn load(&mut self) -> Option<()> {
        while self.at >= self.page.entries.len() {
            if let Some(stored) = self.pages.next() {
                match Page::decode(&stored.page) {
                    Ok(page) if page.chunks.len() == stored.lengths.len() => {
                        (self.page, self.lengths, self.at) = (page, stored.lengths, 0);
                    }
                    Ok(_) | Err(_) => return self.give_up(),
                }
                continue;
            }
            let list = self.list?;
            if self.part >= list.parts {
                return None;
            }
            let path = part_path(&self.name, list.generation, self.part);
            self.part += 1;
            let bytes = self.disk.read_small(&path).await.ok().flatten();
            match bytes.map(|bytes| decode_file::<Vec<StoredPage>>(PART, &bytes)) {
                Some(Ok(pages)) => self.pages = pages.into_iter(),
                Some(Err(_)) | None => return self.give_up(),
            }
        }
        Some(())
    }

    fn give_up(&mut self) -> Option<()> {
        self.is_damaged = true;
        self.list = None;
        self.pages = Vec::new().into_iter();
        self.page = Page::default();
        self.at = 0;
        None
    }
}

/// The length of the file that an entry begins.
fn bytes_of(entry: &crate::format::index::Entry) -> u64 {
    use crate::format::index::{Content, What};
    match &entry.what {
        What::File {
            content: Content::Pieces { part: 1.., .. },
            ..
        } => 0,
        What::File { bytes, .. } => *bytes,
        _ => 0,
    }
}

/// Whether an entry begins a file whose absence would mean something: a database's own files come and go.
fn is_first_of_file(entry: &crate::format::index::Entry) -> bool {
    use crate::format::index::{Content, What};
    if super::leveldb::is_own_name(super::leveldb::split(&entry.path).1) {
        return false;
    }
    match &entry.what {
        What::Dir | What::Symlink { .. } | What::Fifo | What::Device { .. } => false,
        What::File { content, .. } => !matches!(content, Content::Pieces { part: 1.., .. }),
    }
}

/// Whether a draft is a regular file.
#[must_use]
pub fn is_file(draft: &Draft) -> bool {
    match draft.what {
        Made::Dir | Made::Symlink(_) | Made::Fifo | Made::Device { .. } | Made::Dropped => false,
        Made::Empty | Made::Packed { .. } | Made::Pieces { .. } | Made::ToRead => true,
    }
}

/// Writes the next index beside the previous one.
pub struct ShelfWriter<D: Disk> {
    disk: D,
    name: String,
    generation: u64,
    parts: u32,
    pages: Vec<StoredPage>,
    bytes: usize,
    part_bytes: usize,
}

impl<D: Disk> ShelfWriter<D> {
    /// Starts a generation after the one that is there, and removes what an interrupted one left.
    pub async fn start(
        disk: D,
        data_set: &str,
        previous: &ShelfReader<D>,
        part_bytes: usize,
    ) -> io::Result<Self> {
        let name = name_of(data_set);
        disk.make_dir(DIR).await?;
        let current = previous.list.map(|list| list.generation);
        let mut highest = current.unwrap_or(0);
        for file in disk.list(DIR).await? {
            let Some(generation) = generation_of(&name, &file) else {
                continue;
            };
            highest = highest.max(generation);
            if Some(generation) != current {
                disk.remove(&format!("{DIR}/{file}")).await?;
            }
        }
        Ok(Self {
            disk,
            name,
            generation: highest + 1,
            parts: 0,
            pages: Vec::new(),
            bytes: 0,
            part_bytes,
        })
    }

    /// Adds a finished page.
    pub async fn push(&mut self, made: &MadePage, encoded: Vec<u8>) -> io::Result<()> {
        self.bytes += encoded.len() + 8 * made.refs.len();
        self.pages.push(StoredPage {
            page: ByteBuf::from(encoded),
            lengths: made
                .refs
                .iter()
                .map(|chunk| (chunk.sealed_bytes, chunk.plain_bytes))
                .collect(),
        });
        if self.bytes >= self.part_bytes {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        let pages = std::mem::take(&mut self.pages);
        self.bytes = 0;
        let path = part_path(&self.name, self.generation, self.parts);
        self.parts += 1;
        self.disk
            .replace_small(&path, &encode_file(&pages), false)
            .await
    }

    /// Makes this generation the one that is read next time, and removes the previous one.
    pub async fn commit(mut self, files: u64, began: Stamp) -> io::Result<()> {
        if !self.pages.is_empty() {
            self.flush().await?;
        }
        let list = List {
            generation: self.generation,
            parts: self.parts,
            files,
            began,
        };
        self.disk
            .replace_small(&format!("{DIR}/{}", self.name), &encode_file(&list), false)
            .await?;
        for file in self.disk.list(DIR).await? {
            if generation_of(&self.name, &file).is_some_and(|found| found != self.generation) {
                self.disk.remove(&format!("{DIR}/{file}")).await?;
            }
        }
        Ok(())
    }
}

fn generation_of(name: &str, file: &str) -> Option<u64> {
    let (generation, part) = file
        .strip_prefix(name)?
        .strip_prefix('-')?
        .split_once('-')?;
    part.parse::<u32>().ok()?;
    generation.parse().ok()
}
