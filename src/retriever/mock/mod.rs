//! The smallest world a retriever's tests need: a tree in memory, a clock that jumps, a source that counts.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests on tokio's paused time"
)]

mod index;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::terms::{FileSystemId, Stamp};
use crate::world::{
    Attributes, Clock, DirEntry, FileKind, Moment, Names, NewFile, NotSet, Room, Stat, Tree,
    TreeFile, TreePath, Whole, World, Xattrs,
};

use crate::world::nothing::{Nothing, nothing};
pub(in crate::retriever) use index::*;

/// Runs a test on one thread with time that jumps.
pub(in crate::retriever) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O asks for nothing");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// A clock whose hours pass at once when everybody waits.
#[derive(Clone, Copy)]
pub(in crate::retriever) struct PausedClock;

impl Clock for PausedClock {
    fn now(&self) -> Moment {
        static BEGAN: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
        let now = tokio::time::Instant::now();
        Moment(now.saturating_duration_since(*BEGAN.get_or_init(|| now)))
    }
    fn wall(&self) -> Stamp {
        Stamp::default()
    }
    async fn sleep(&self, how_long: Duration) {
        tokio::time::sleep(how_long).await;
    }
}

#[derive(Clone, Default)]
pub(in crate::retriever) struct MockWorld {
    pub(in crate::retriever) tree: MockTree,
}

impl World for MockWorld {
    type Disk = Nothing;
    type Tree = MockTree;
    type Net = Nothing;
    type Clock = PausedClock;
    type Entropy = Nothing;
    fn disk(&self) -> &Nothing {
        &Nothing
    }
    fn tree(&self) -> &MockTree {
        &self.tree
    }
    fn net(&self) -> &Nothing {
        &Nothing
    }
    fn clock(&self) -> &PausedClock {
        &PausedClock
    }
    fn entropy(&self) -> &Nothing {
        &Nothing
    }
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

/// What stands under a name below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::retriever) enum Thing {
    Dir,
    File(Vec<u8>),
    Link(Vec<u8>),
    Special(FileKind, u64),
}

/// A tree in memory. Making something in a directory whose attributes were set already is written down as a mistake.
#[derive(Clone, Default)]
pub(in crate::retriever) struct MockTree(pub(in crate::retriever) Rc<RefCell<TreeState>>);

#[derive(Default)]
pub(in crate::retriever) struct TreeState {
    pub(in crate::retriever) things: BTreeMap<Vec<u8>, Thing>,
    pub(in crate::retriever) attributes: BTreeMap<Vec<u8>, Attributes>,
    pub(in crate::retriever) temporary: BTreeMap<u64, Vec<u8>>,
    pub(in crate::retriever) temporary_made: u64,
    pub(in crate::retriever) mistakes: Vec<String>,
    pub(in crate::retriever) refused: BTreeMap<Vec<u8>, io::ErrorKind>,
    pub(in crate::retriever) owner_cannot_be_set: bool,
    /// Further names, and the first one of each.
    pub(in crate::retriever) links: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(in crate::retriever) links_are_refused: bool,
    pub(in crate::retriever) xattr_refused: Option<Vec<u8>>,
    pub(in crate::retriever) syncs: u32,
    pub(in crate::retriever) dirs_open_most: usize,
    pub(in crate::retriever) note: Option<Vec<u8>>,
    /// Unfinished files that another run may go on with.
    pub(in crate::retriever) parts: BTreeMap<Vec<u8>, u64>,
    pub(in crate::retriever) boot: u8,
    pub(in crate::retriever) free_bytes: Option<u64>,
    pub(in crate::retriever) free_things: Option<u64>,
}

impl TreeState {
    fn may_make(&mut self, path: &[u8]) -> io::Result<()> {
        if let Some(kind) = self.refused.get(path) {
            return Err((*kind).into());
        }
        let dir = super::selection::parent(path);
        if self.syncs > 0 || self.attributes.contains_key(dir) {
            let place = String::from_utf8_lossy(path).into_owned();
            self.mistakes.push(format!("{place} made too late"));
        }
        match self.things.get(dir) {
            _ if dir.is_empty() => Ok(()),
            Some(Thing::Dir) => Ok(()),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn name(&mut self, path: &[u8], bytes: Vec<u8>, attributes: Attributes) -> io::Result<NotSet> {
        self.may_make(path)?;
        if self.things.get(path) == Some(&Thing::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.things.insert(path.to_vec(), Thing::File(bytes));
        self.attributes.insert(path.to_vec(), attributes);
        Ok(self.not_set())
    }

    fn stat(&self, path: &[u8]) -> io::Result<Stat> {
        let found = self.things.get(path).ok_or(io::ErrorKind::NotFound)?;
        let (kind, size) = match found {
            Thing::Dir => (FileKind::Dir, 0),
            Thing::File(bytes) => (FileKind::File, bytes.len()),
            Thing::Link(target) => (FileKind::Symlink, target.len()),
            Thing::Special(kind, _) => (*kind, 0),
        };
        let set = self.attributes.get(path);
        Ok(Stat {
            kind,
            mode: set.map_or(0, |set| set.mode),
            uid: set.map_or(0, |set| set.uid),
            gid: set.map_or(0, |set| set.gid),
            size: size as u64,
            mtime: set.map_or(Stamp::default(), |set| set.mtime),
            ..nobody()
        })
    }

    fn not_set(&self) -> NotSet {
        NotSet {
            owner: self.owner_cannot_be_set,
            mode: false,
            xattrs: self.xattr_refused.clone().into_iter().collect(),
        }
    }
}

fn nobody() -> Stat {
    Stat {
        kind: FileKind::File,
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        blocks: 0,
        mtime: Stamp::default(),
        ctime: Stamp::default(),
        inode: 0,
        device: 0,
        links: 1,
        rdev: 0,
    }
}

#[derive(Clone)]
pub(in crate::retriever) struct MockFile(MockTree, u64);

impl TreeFile for MockFile {
    async fn stat(&self) -> io::Result<Stat> {
        let state = self.0.0.borrow();
        let size = state.temporary.get(&self.1).map_or(0, Vec::len) as u64;
        Ok(Stat {
            kind: FileKind::File,
            size,
            ..nobody()
        })
    }
    async fn read_at(&self, into: Vec<u8>, _: usize, _: u64) -> (io::Result<usize>, Vec<u8>) {
        (nothing(), into)
    }
    async fn write_at(&self, bytes: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>) {
        tokio::task::yield_now().await;
        let mut state = self.0.0.borrow_mut();
        let file = state.temporary.get_mut(&self.1).expect("open file");
        let start = usize::try_from(offset).expect("small test file");
        if file.len() < start + bytes.len() {
            file.resize(start + bytes.len(), 0);
        }
        file[start..start + bytes.len()].copy_from_slice(&bytes);
        (Ok(()), bytes)
    }
    async fn xattrs(&self) -> io::Result<Xattrs> {
        nothing()
    }
    async fn next_data(&self, _: u64, _: u64) -> io::Result<Option<(u64, u64)>> {
        nothing()
    }
    async fn write_around_zeros(&self, bytes: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>) {
        self.write_at(bytes, offset).await
    }
    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.0.0.borrow_mut();
        let file = state.temporary.get_mut(&self.1).expect("open file");
        file.resize(usize::try_from(bytes).expect("small test file"), 0);
        Ok(())
    }
}

impl Tree for MockTree {
    type File = MockFile;
    type Root = ();

    async fn stat(&self, _: &TreePath) -> io::Result<Stat> {
        nothing()
    }
    async fn list(&self, _: &TreePath, _: &[u8], _: usize) -> io::Result<Names> {
        nothing()
    }
    async fn look(&self, _: &TreePath, _: Vec<Vec<u8>>) -> Vec<DirEntry> {
        Vec::new()
    }
    async fn xattrs(&self, _: &TreePath) -> io::Result<Xattrs> {
        nothing()
    }
    async fn read_link(&self, _: &TreePath) -> io::Result<Vec<u8>> {
        nothing()
    }
    async fn open(&self, _: &TreePath) -> io::Result<MockFile> {
        nothing()
    }
    async fn read_many(&self, _: Vec<Vec<u8>>, _: usize) -> Vec<io::Result<Whole>> {
        Vec::new()
    }
    async fn file_system(&self, _: &TreePath) -> io::Result<FileSystemId> {
        nothing()
    }
    async fn file_system_serial(&self, _: &TreePath) -> io::Result<u64> {
        Ok(0)
    }
    async fn root(&self, _: &TreePath) -> io::Result<()> {
        Ok(())
    }
    async fn root_is_empty(&self, (): &()) -> io::Result<bool> {
        Ok(self.0.borrow().things.is_empty())
    }
    async fn stat_below(&self, (): &(), paths: Vec<Vec<u8>>) -> Vec<io::Result<Stat>> {
        let state = self.0.borrow();
        paths.iter().map(|path| state.stat(path)).collect()
    }
    async fn xattrs_below(&self, (): &(), path: &TreePath) -> io::Result<Xattrs> {
        let state = self.0.borrow();
        let set = state.attributes.get(path).ok_or(io::ErrorKind::NotFound)?;
        let is_set = |(name, _): &&(Vec<u8>, Vec<u8>)| Some(name) != state.xattr_refused.as_ref();
        Ok(Xattrs {
            kept: set.xattrs.iter().filter(is_set).cloned().collect(),
            left_out: Vec::new(),
        })
    }
    async fn remove_below(&self, (): &(), path: &TreePath) -> io::Result<()> {
        self.0.borrow_mut().things.remove(path);
        Ok(())
    }
    async fn make_dir(&self, (): &(), path: &TreePath) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.may_make(path)?;
        match state.things.get(path) {
            None => {
                state.things.insert(path.to_vec(), Thing::Dir);
                let is_open = |(name, thing): &(&Vec<u8>, &Thing)| {
                    **thing == Thing::Dir && !state.attributes.contains_key(*name)
                };
                let open = state.things.iter().filter(is_open).count();
                state.dirs_open_most = state.dirs_open_most.max(open);
                Ok(())
            }
            Some(Thing::Dir) => Ok(()),
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }
    async fn make_symlink(&self, (): &(), path: &TreePath, target: &[u8]) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.may_make(path)?;
        if state.things.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state
            .things
            .insert(path.to_vec(), Thing::Link(target.to_vec()));
        Ok(())
    }
    async fn make_special(
        &self,
        (): &(),
        path: &TreePath,
        kind: FileKind,
        rdev: u64,
    ) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.may_make(path)?;
        if kind != FileKind::Fifo && state.owner_cannot_be_set {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let special = Thing::Special(kind, rdev);
        state.things.insert(path.to_vec(), special);
        Ok(())
    }
    async fn link(&self, (): &(), existing: &TreePath, path: &TreePath) -> io::Result<()> {
        tokio::task::yield_now().await;
        let mut state = self.0.borrow_mut();
        state.may_make(path)?;
        if state.links_are_refused {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let thing = state.things.get(existing).cloned();
        let thing = thing.ok_or(io::ErrorKind::NotFound)?;
        state.things.insert(path.to_vec(), thing);
        let attributes = state.attributes[existing].clone();
        state.attributes.insert(path.to_vec(), attributes);
        state.links.insert(path.to_vec(), existing.to_vec());
        Ok(())
    }
    async fn create(&self, (): &(), path: &TreePath) -> io::Result<MockFile> {
        let mut state = self.0.borrow_mut();
        state.may_make(path)?;
        state.temporary_made += 1;
        let number = state.temporary_made;
        state.temporary.insert(number, Vec::new());
        Ok(MockFile(self.clone(), number))
    }
    async fn finish(
        &self,
        (): &(),
        file: MockFile,
        path: &TreePath,
        attributes: Attributes,
    ) -> io::Result<NotSet> {
        let mut state = self.0.borrow_mut();
        let bytes = state
            .temporary
            .get(&file.1)
            .cloned()
            .expect("finished or discarded once");
        let named = state.name(path, bytes, attributes)?;
        state.temporary.remove(&file.1);
        state.parts.retain(|_, number| *number != file.1);
        Ok(named)
    }
    async fn write_many(&self, (): &(), files: Vec<NewFile>) -> Vec<io::Result<NotSet>> {
        tokio::task::yield_now().await;
        let mut state = self.0.borrow_mut();
        files
            .into_iter()
            .map(|new| state.name(&new.path, new.bytes, new.attributes))
            .collect()
    }
    async fn discard(&self, (): &(), file: MockFile) {
        let mut state = self.0.borrow_mut();
        state.temporary.remove(&file.1);
        state.parts.retain(|_, number| *number != file.1);
    }
    async fn set(&self, (): &(), path: &TreePath, attributes: Attributes) -> io::Result<NotSet> {
        tokio::task::yield_now().await;
        let mut state = self.0.borrow_mut();
        state.attributes.insert(path.to_vec(), attributes);
        Ok(state.not_set())
    }
    async fn room(&self, (): &()) -> io::Result<Room> {
        Ok(Room {
            free_bytes: self.0.borrow().free_bytes.unwrap_or(u64::MAX),
            free_things: self.0.borrow().free_things.unwrap_or(u64::MAX),
            block_bytes: 1,
        })
    }
    async fn boot(&self) -> Option<[u8; 16]> {
        Some([self.0.borrow().boot; 16])
    }
    async fn note(&self, (): &()) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.borrow().note.clone())
    }
    async fn set_note(&self, (): &(), note: Option<Vec<u8>>, _: bool) -> io::Result<()> {
        self.0.borrow_mut().note = note;
        Ok(())
    }
    async fn tag_parts(&self, (): &(), _: u64) {}
    async fn open_part(&self, (): &(), path: &TreePath) -> io::Result<MockFile> {
        let mut state = self.0.borrow_mut();
        state.may_make(path)?;
        let known = state.parts.get(path).copied();
        let number = known.unwrap_or_else(|| {
            state.temporary_made += 1;
            let number = state.temporary_made;
            state.temporary.insert(number, Vec::new());
            state.parts.insert(path.to_vec(), number);
            number
        });
        Ok(MockFile(self.clone(), number))
    }
    async fn sweep_parts(&self, (): &(), _: &TreePath) -> io::Result<()> {
        Ok(())
    }
    async fn sync(&self, (): &()) -> io::Result<()> {
        self.0.borrow_mut().syncs += 1;
        Ok(())
    }
}
