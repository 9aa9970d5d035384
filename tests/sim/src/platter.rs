//! What a keeper's disk holds: how it looks now, and what would be left if the power went. Pure: no time, no tasks.
//!
//! Invariants: a file's bytes become durable only by [`Platter::sync`] of that file; names only by [`Platter::sync_dir`] of
//! their directory, in the order they were given; reading shows the newest bytes, as through a drive's cache.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use reserve::terms::limits::BLOCK_BYTES;

use crate::dice::Dice;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// What a power cut leaves of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Torn {
    /// Nothing.
    Nothing,
    /// Of the bytes a random part, block by block; of the names the first few changes.
    SomeBlocks,
}

/// A file, whatever it is called.
pub(crate) type Inode = u64;

/// The bytes of a file, sparse.
#[derive(Clone, Default)]
struct Bytes {
    len: u64,
    blocks: BTreeMap<u64, Rc<[u8]>>,
    /// Space that is taken from its beginning on, written or not.
    taken: u64,
}

enum Pending {
    Block(u64, Rc<[u8]>),
    Len(u64),
    Taken(u64),
}

#[derive(Default)]
struct File {
    durable: Bytes,
    now: Bytes,
    /// In the order made; the number is the platter's count of changes.
    pending: Vec<(u64, Pending)>,
    /// The number of its last change; rot is none.
    changed: u64,
}

/// One change of the names of one directory; all its parts survive or none.
struct NameChange {
    dir: String,
    names: Vec<(String, Option<Inode>)>,
}

/// A disk's content.
#[derive(Default)]
pub(crate) struct Platter {
    files: BTreeMap<Inode, File>,
    inodes_used: u64,
    changes: u64,
    dirs: BTreeSet<String>,
    names: BTreeMap<String, Inode>,
    durable_names: BTreeMap<String, Inode>,
    /// Which files have names now, as far as somebody asked since the last change.
    named: RefCell<Option<BTreeSet<Inode>>>,
    journal: Vec<NameChange>,
}

impl Platter {
    pub(crate) fn make_dir(&mut self, dir: &str) {
        let mut end = 0;
        while let Some(slash) = dir[end..].find('/') {
            self.dirs.insert(dir[..end + slash].to_owned());
            end += slash + 1;
        }
        self.dirs.insert(dir.to_owned());
    }

    pub(crate) fn create(&mut self, path: &str) -> io::Result<Inode> {
        if self.names.contains_key(path) || self.is_dir(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.new_file(path, Bytes::default())?;
        self.rename_all(dir_of(path), vec![(path.to_owned(), Some(inode))]);
        Ok(inode)
    }

    /// Puts a small file in place, durable at once.
    pub(crate) fn replace(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut content = Bytes::default();
        for (index, piece) in (0..).zip(bytes.chunks(BLOCK_BYTES)) {
            let mut block = vec![0; BLOCK_BYTES];
            block[..piece.len()].copy_from_slice(piece);
            content.put(index, block.into());
        }
        content.set_len(bytes.len() as u64);
        let inode = self.new_file(path, content)?;
        self.rename_all(dir_of(path), vec![(path.to_owned(), Some(inode))]);
        self.sync_dir(dir_of(path))
    }

    pub(crate) fn remove(&mut self, path: &str) {
        if self.names.contains_key(path) {
            self.rename_all(dir_of(path), vec![(path.to_owned(), None)]);
        }
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.find(from)?;
        self.check_dir(dir_of(to))?;
        if self.is_dir(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if from == to {
            return Ok(());
        }
        let (arrives, leaves) = ((to.to_owned(), Some(inode)), (from.to_owned(), None));
        if dir_of(from) == dir_of(to) {
            self.rename_all(dir_of(to), vec![arrives, leaves]);
        } else {
            self.rename_all(dir_of(to), vec![arrives]);
            self.rename_all(dir_of(from), vec![leaves]);
        }
        Ok(())
    }

    pub(crate) fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        self.check_dir(dir)?;
        let (ours, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.journal)
            .into_iter()
            .partition(|change| change.dir == dir);
        self.journal = others;
        for change in ours {
            apply(&mut self.durable_names, change.names);
        }
        Ok(())
    }

    /// Writes whole blocks.
    pub(crate) fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) {
        for (index, block) in (offset / BLOCK..).zip(bytes.chunks(BLOCK_BYTES)) {
            self.change(inode, Pending::Block(index, block.into()));
        }
    }

    pub(crate) fn set_len(&mut self, inode: Inode, bytes: u64) {
        self.change(inode, Pending::Len(bytes));
    }

    /// Takes space for a file up to a length, which it then has.
    pub(crate) fn allocate(&mut self, inode: Inode, bytes: u64) {
        self.change(inode, Pending::Taken(bytes));
    }

    /// Bytes that this would take from the free space.
    pub(crate) fn more_bytes(&self, inode: Inode, bytes: u64) -> u64 {
        let used = self.files.get(&inode).map_or(0, |file| file.now.used());
        bytes.saturating_sub(used)
    }

    /// Makes the changes of a file up to a mark durable.
    pub(crate) fn sync(&mut self, inode: Inode, mark: u64) {
        if let Some(file) = self.files.get_mut(&inode) {
            let later = file.pending.partition_point(|(number, _)| *number <= mark);
            for (_, change) in file.pending.drain(..later) {
                file.durable.apply(change);
            }
        }
    }

    /// A sync failed: the changes up to a mark will never become durable, whatever is synced later.
    pub(crate) fn lose(&mut self, inode: Inode, mark: u64) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.pending.retain(|(number, _)| *number > mark);
        }
    }

    /// A bit rots, on the medium and in the cache.
    pub(crate) fn flip_bit(&mut self, path: &str, offset: u64, bit: u8) -> io::Result<()> {
        let inode = self.find(path)?;
        if let Some(file) = self.files.get_mut(&inode) {
            file.durable.flip_bit(offset, bit);
            file.now.flip_bit(offset, bit);
        }
        Ok(())
    }

    /// The power goes. `chance` decides what of the unsynced survives; without it, nothing does.
    pub(crate) fn power_cut(&mut self, torn: Torn, chance: &Dice) {
        let mut journal = std::mem::take(&mut self.journal);
        match torn {
            Torn::Nothing => journal.clear(),
            Torn::SomeBlocks => {
                let survive = chance.below(journal.len() as u64 + 1);
                journal.truncate(usize::try_from(survive).unwrap_or(usize::MAX));
            }
        }
        for change in journal {
            apply(&mut self.durable_names, change.names);
        }
        self.names = self.durable_names.clone();
        self.named.take();
        let named: BTreeSet<Inode> = self.names.values().copied().collect();
        self.files.retain(|inode, _| named.contains(inode));
        for file in self.files.values_mut() {
            for (_, change) in file.pending.drain(..) {
                if torn == Torn::SomeBlocks && chance.coin() {
                    file.durable.apply(change);
                }
            }
            file.now = file.durable.clone();
        }
    }

    pub(crate) fn find(&self, path: &str) -> io::Result<Inode> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The number of the newest change: what a sync asked for now will cover.
    pub(crate) fn mark(&self) -> u64 {
        self.changes
    }

    pub(crate) fn list(&self, dir: &str) -> Vec<String> {
        self.names
            .keys()
            .filter(|path| dir_of(path) == dir)
            .map(|path| path.rsplit('/').next().unwrap_or(path).to_owned())
            .collect()
    }

    /// Files whose paths begin so, with their lengths.
    pub(crate) fn files(&self, start: &str) -> Vec<(String, u64)> {
        let ours = self
            .names
            .iter()
            .filter(|(path, _)| path.starts_with(start));
        ours.map(|(path, inode)| (path.clone(), self.len(*inode)))
            .collect()
    }

    /// The whole of a file.
    pub(crate) fn contents(&self, path: &str) -> Vec<u8> {
        let Ok(inode) = self.find(path) else {
            return Vec::new();
        };
        let mut bytes = vec![0; usize::try_from(self.len(inode)).unwrap_or(0)];
        self.read(inode, 0, &mut bytes);
        bytes
    }

    /// A disk that holds what this one would after a power cut.
    pub(crate) fn durable_copy(&self) -> Self {
        let kept = |inode: &Inode| {
            let durable = self.files.get(inode)?.durable.clone();
            let file = File {
                now: durable.clone(),
                durable,
                pending: Vec::new(),
                changed: self.changed(*inode),
            };
            Some((*inode, file))
        };
        Self {
            files: self.durable_names.values().filter_map(kept).collect(),
            inodes_used: self.inodes_used,
            changes: self.changes,
            dirs: self.dirs.clone(),
            names: self.durable_names.clone(),
            durable_names: self.durable_names.clone(),
            named: RefCell::default(),
            journal: Vec::new(),
        }
    }

    pub(crate) fn read(&self, inode: Inode, offset: u64, into: &mut [u8]) -> usize {
        self.files
            .get(&inode)
            .map_or(0, |file| file.now.read(offset, into))
    }

    pub(crate) fn len(&self, inode: Inode) -> u64 {
        self.files.get(&inode).map_or(0, |file| file.now.len)
    }

    /// The number of a file's last change.
    pub(crate) fn changed(&self, inode: Inode) -> u64 {
        self.files.get(&inode).map_or(0, |file| file.changed)
    }

    /// Whether a name leads to a file.
    pub(crate) fn is_named(&self, inode: Inode) -> bool {
        let mut named = self.named.borrow_mut();
        let named = named.get_or_insert_with(|| self.names.values().copied().collect());
        named.contains(&inode)
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.names
            .values()
            .filter_map(|inode| self.files.get(inode))
            .map(|file| file.now.used())
            .sum()
    }

    /// Bytes that writing here would take from the free space.
    pub(crate) fn new_bytes(&self, inode: Inode, offset: u64, len: u64) -> u64 {
        let (first, end) = (offset / BLOCK, (offset + len).div_ceil(BLOCK));
        let there = self
            .files
            .get(&inode)
            .map_or(0, |file| file.now.blocks.range(first..end).count());
        (end - first - there as u64) * BLOCK
    }

    fn new_file(&mut self, path: &str, content: Bytes) -> io::Result<Inode> {
        self.check_dir(dir_of(path))?;
        self.inodes_used += 1;
        let file = File {
            durable: content.clone(),
            now: content,
            pending: Vec::new(),
            changed: self.changes,
        };
        self.files.insert(self.inodes_used, file);
        Ok(self.inodes_used)
    }

    fn rename_all(&mut self, dir: &str, names: Vec<(String, Option<Inode>)>) {
        apply(&mut self.names, names.clone());
        self.named.take();
        self.journal.push(NameChange {
            dir: dir.to_owned(),
            names,
        });
    }

    fn change(&mut self, inode: Inode, change: Pending) {
        self.changes += 1;
        if let Some(file) = self.files.get_mut(&inode) {
            let again = match &change {
                Pending::Block(index, block) => Pending::Block(*index, Rc::clone(block)),
                Pending::Len(bytes) => Pending::Len(*bytes),
                Pending::Taken(bytes) => Pending::Taken(*bytes),
            };
            file.now.apply(again);
            file.changed = self.changes;
            file.pending.push((self.changes, change));
        }
    }

    fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.dirs.contains(path)
    }

    fn check_dir(&self, dir: &str) -> io::Result<()> {
        if self.is_dir(dir) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }
}

impl Bytes {
    fn apply(&mut self, change: Pending) {
        match change {
            Pending::Block(index, block) => self.put(index, block),
            Pending::Len(bytes) => self.set_len(bytes),
            Pending::Taken(bytes) => {
                self.len = self.len.max(bytes);
                self.taken = self.taken.max(bytes);
            }
        }
    }

    /// Space it takes. Nobody writes into a file whose space was taken in advance.
    fn used(&self) -> u64 {
        (self.blocks.len() as u64 * BLOCK).max(self.taken)
    }

    fn put(&mut self, index: u64, block: Rc<[u8]>) {
        self.len = self.len.max(index * BLOCK + block.len() as u64);
        self.blocks.insert(index, block);
    }

    fn set_len(&mut self, bytes: u64) {
        self.taken = self.taken.min(bytes);
        if bytes < self.len {
            self.blocks.split_off(&bytes.div_ceil(BLOCK));
            let inside = usize::try_from(bytes % BLOCK).unwrap_or(0);
            if inside > 0
                && let Some(block) = self.blocks.get_mut(&(bytes / BLOCK))
            {
                let mut cut = block.to_vec();
                cut[inside..].fill(0);
                *block = cut.into();
            }
        }
        self.len = bytes;
    }

    fn flip_bit(&mut self, offset: u64, bit: u8) {
        if let Some(block) = self.blocks.get_mut(&(offset / BLOCK)) {
            let mut rotten = block.to_vec();
            if let Some(byte) = usize::try_from(offset % BLOCK)
                .ok()
                .and_then(|i| rotten.get_mut(i))
            {
                *byte ^= 1 << (bit % 8);
            }
            *block = rotten.into();
        }
    }

    /// Reads from a block's start.
    fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let there = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = there.min(into.len());
        for (index, piece) in (offset / BLOCK..).zip(into[..len].chunks_mut(BLOCK_BYTES)) {
            match self.blocks.get(&index) {
                Some(block) => piece.copy_from_slice(&block[..piece.len()]),
                None => piece.fill(0),
            }
        }
        len
    }
}

fn apply(names: &mut BTreeMap<String, Inode>, changes: Vec<(String, Option<Inode>)>) {
    for (path, inode) in changes {
        match inode {
            Some(inode) => names.insert(path, inode),
            None => names.remove(&path),
        };
    }
}

/// The directory a path is in; empty for the state directory itself.
pub(crate) fn dir_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

#[cfg(test)]
mod tests;
