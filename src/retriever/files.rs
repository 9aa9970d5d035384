//! The deeds of a restore: directories that close when all in them is done, small files by pack, large files by piece.
//!
//! Each deed is a task of its own that holds a share of the window; it notes its own outcome. A directory is held by
//! everything under way in it, so its attributes are set when the last of that is done: memory follows the depth and
//! the window, never the number of directories.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::packs::Packs;
use super::present::Existing;
use super::report::{Differs, Progress, Writing};
use super::{FetchError, RetrieveError, Source};
use crate::terms::{ChunkId, Kind};
use crate::world::{Attributes, NotSet, Tree, TreeFile, World};

/// Plaintext on its way from the source to the target, in KiB.
pub(super) const RESTORE_WINDOW_KIB: u32 = 12 << 10;
/// What the files of a pack take of the window: the pack, and as much again on its way to the target.
pub(super) const PACK_KIB: u32 = 2 << 10;
const _: () = assert!(PACK_KIB as usize * 1024 >= 2 * crate::terms::limits::PACK_BYTES_MAX);
/// Why something in a directory that is not there did not come back.
pub(super) const IN_NO_DIR: &str = "the directory it belongs in could not be made";
/// Small files handed over to be written at once.
const BATCH_FILES_MAX: usize = 128;
/// And their bytes, beyond the first file.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What all deeds of one restore share.
pub(super) struct Work<W: World, S: Source> {
    pub(super) world: W,
    pub(super) source: S,
    pub(super) root: <W::Tree as Tree>::Root,
    pub(super) existing: Existing,
    pub(super) progress: Progress,
    pub(super) report: RefCell<Writing>,
    pub(super) packs: Packs,
    pub(super) window: Arc<Semaphore>,
    pub(super) finished: Finished,
    pub(super) stopped: RefCell<Option<RetrieveError>>,
    pub(super) given_up: Cell<bool>,
}

/// Directories in which nothing is under way any more.
pub(super) type Finished = Rc<RefCell<Vec<FinishedDir>>>;

/// A directory that was made, held by all that is under way in it.
pub(super) struct OpenDir {
    parent: Option<Rc<Self>>,
    name: Vec<u8>,
    /// Whether something can be made in it.
    pub(super) usable: bool,
    attributes: Option<(Attributes, Differs)>,
    finished: Finished,
}

/// A directory whose attributes can be set.
pub(super) struct FinishedDir {
    parent: Option<Rc<OpenDir>>,
    name: Vec<u8>,
    attributes: Option<(Attributes, Differs)>,
}

impl OpenDir {
    /// A directory under `parent`; without attributes it is left as it is.
    pub(super) fn new(
        finished: &Finished,
        parent: Option<Rc<Self>>,
        name: &[u8],
        usable: bool,
        attributes: Option<(Attributes, Differs)>,
    ) -> Rc<Self> {
        Rc::new(Self {
            parent,
            name: name.to_vec(),
            usable,
            attributes,
            finished: finished.clone(),
        })
    }

    /// The path of something in it, below the target.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        path_below(Some(self), name)
    }
}

impl Drop for OpenDir {
    fn drop(&mut self) {
        // The parent is handed on, not dropped here: a deep tree must not become a deep stack.
        let done = FinishedDir {
            parent: self.parent.take(),
            name: std::mem::take(&mut self.name),
            attributes: self.attributes.take(),
        };
        self.finished.borrow_mut().push(done);
    }
}

fn path_below(dir: Option<&OpenDir>, name: &[u8]) -> Vec<u8> {
    let mut names = vec![name];
    let mut at = dir;
    while let Some(dir) = at {
        names.push(&dir.name);
        at = dir.parent.as_deref();
    }
    names.retain(|name| !name.is_empty());
    names.reverse();
    names.join(&b'/')
}

/// A file that lies whole in a pack, or is empty.
pub(super) struct SmallFile {
    pub(super) dir: Rc<OpenDir>,
    pub(super) name: Vec<u8>,
    pub(super) offset: usize,
    pub(super) bytes: usize,
    pub(super) attributes: Attributes,
    pub(super) differs: Differs,
}

/// A file under way, its pieces arriving in any order.
pub(super) struct LargeFile<W: World, S: Source> {
    work: Rc<Work<W, S>>,
    /// Keeps the directory open.
    _dir: Rc<OpenDir>,
    path: Vec<u8>,
    bytes: u64,
    attributes: Attributes,
    differs: Differs,
    file: RefCell<Option<<W::Tree as Tree>::File>>,
    failure: RefCell<Option<String>>,
    pieces_open: Cell<usize>,
    /// No piece will be added any more.
    complete: Cell<bool>,
    ends_in_hole: Cell<bool>,
    /// Why it is not made was noted when that was found.
    passed_over: bool,
}

impl<W: World, S: Source> Work<W, S> {
    /// Whether no more should be begun.
    pub(super) fn is_over(&self) -> bool {
        self.given_up.get() || self.stopped.borrow().is_some()
    }

    /// A share of the window, when there is room for it.
    pub(super) async fn of_window(&self, kib: u32) -> Option<OwnedSemaphorePermit> {
        let kib = kib.clamp(1, RESTORE_WINDOW_KIB);
        self.window.clone().acquire_many_owned(kib).await.ok()
    }

    /// Notes what did not come back.
    pub(super) fn fail(&self, path: &[u8], reason: &str) {
        self.report.borrow_mut().fail(path, reason);
    }

    fn fail_file(&self, path: &[u8], reason: &str) {
        self.fail(path, reason);
        self.progress.update(|progress| progress.files += 1);
    }

    /// The words for an error of the target; one that every further write would meet ends the restore.
    pub(super) fn words_for(&self, error: &io::Error) -> String {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        if matches!(
            error.kind(),
            StorageFull | QuotaExceeded | ReadOnlyFilesystem
        ) {
            let stop = || RetrieveError::TargetFailed(error.to_string());
            self.stopped.borrow_mut().get_or_insert_with(stop);
        }
        format!("could not be written: {error}")
    }

    /// The words for a chunk that could not be had; a source that is gone ends the restore.
    fn words_for_lost(&self, why: &FetchError) -> String {
        if matches!(why, FetchError::Ended(_)) {
            let stop = || RetrieveError::SourceEnded(why.clone());
            self.stopped.borrow_mut().get_or_insert_with(stop);
        }
        why.to_string()
    }

    /// Notes a restored file.
    fn came_back(&self, path: &[u8], bytes: u64, not_set: NotSet, differs: Differs) {
        let mut report = self.report.borrow_mut();
        report.files += 1;
        report.bytes = report.bytes.saturating_add(bytes);
        report.differs(path, with(differs, not_set));
        self.progress.update(|progress| progress.files += 1);
    }

    /// Sets the attributes of directories in which all is done, the deepest first.
    pub(super) async fn close_dirs(&self) {
        loop {
            let next = self.finished.borrow_mut().pop();
            let Some(dir) = next else {
                return;
            };
            let Some((attributes, differs)) = dir.attributes else {
                continue;
            };
            let path = path_below(dir.parent.as_deref(), &dir.name);
            let done = self.world.tree().set(&self.root, &path, attributes).await;
            let mut report = self.report.borrow_mut();
            report.dirs += 1;
            report.differs(&path, after_set(differs, &done));
        }
    }

    /// Writes the small files of one pack (or the empty ones).
    pub(super) async fn write_small(&self, pack: Option<ChunkId>, files: Vec<SmallFile>) {
        let plain = match pack {
            Some(id) => self.packs.get(&self.source, id).await,
            None => Ok(Rc::new(Vec::new())),
        };
        let plain = match plain {
            Ok(plain) => plain,
            Err(why) => {
                let reason = self.words_for_lost(&why);
                for file in files {
                    self.fail_file(&file.dir.path_of(&file.name), &reason);
                }
                return;
            }
        };
        let mut files = files.into_iter().peekable();
        while files.peek().is_some() && !self.is_over() {
            let mut batch = Vec::new();
            let mut held = Vec::new();
            let mut bytes = 0;
            while let Some(file) = files.next_if(|file| {
                batch.is_empty()
                    || (batch.len() < BATCH_FILES_MAX && bytes + file.bytes <= BATCH_BYTES_MAX)
            }) {
                let path = file.dir.path_of(&file.name);
                if !file.dir.usable {
                    self.fail_file(&path, IN_NO_DIR);
                    continue;
                }
                let end = file.offset.saturating_add(file.bytes);
                let Some(contents) = plain.get(file.offset..end) else {
                    self.fail_file(&path, "the pack it should be in is too short");
                    continue;
                };
                if !self.may_be_made(&path).await {
                    self.progress.update(|progress| progress.files += 1);
                    continue;
                }
                bytes += file.bytes;
                batch.push((path.clone(), contents.to_vec(), file.attributes));
                held.push((path, file));
            }
            self.write_batch(batch, held).await;
        }
    }

    async fn write_batch(
        &self,
        batch: Vec<(Vec<u8>, Vec<u8>, Attributes)>,
        held: Vec<(Vec<u8>, SmallFile)>,
    ) {
        if let Some((path, _)) = held.last() {
            self.progress
                .update(|progress| progress.current.clone_from(path));
        }
        let done = self.world.tree().write_many(&self.root, batch).await;
        for ((path, file), done) in held.into_iter().zip(done) {
            match done {
                Ok(not_set) => {
                    self.came_back(&path, file.bytes as u64, not_set, file.differs);
                    let bytes = file.bytes as u64;
                    self.progress.update(|progress| progress.bytes += bytes);
                }
                Err(error) => self.fail_file(&path, &self.words_for(&error)),
            }
        }
    }
}

impl<W: World, S: Source> LargeFile<W, S> {
    /// Creates the file under a temporary name. If that fails, it is noted when the file is complete.
    pub(super) async fn create(
        work: &Rc<Work<W, S>>,
        dir: Rc<OpenDir>,
        path: Vec<u8>,
        bytes: u64,
        attributes: Attributes,
        differs: Differs,
    ) -> Rc<Self> {
        work.progress
            .update(|progress| progress.current.clone_from(&path));
        let mut passed_over = false;
        let made = if !dir.usable {
            Err(IN_NO_DIR.to_owned())
        } else if work.may_be_made(&path).await {
            let file = work.world.tree().create(&work.root, &path).await;
            file.map_err(|error| work.words_for(&error))
        } else {
            passed_over = true;
            Err(String::new())
        };
        let (file, failure) = match made {
            Ok(file) => (Some(file), None),
            Err(reason) => (None, Some(reason)),
        };
        Rc::new(Self {
            work: work.clone(),
            _dir: dir,
            path,
            bytes,
            attributes,
            differs,
            file: RefCell::new(file),
            failure: RefCell::new(failure),
            pieces_open: Cell::new(0),
            complete: Cell::new(false),
            ends_in_hole: Cell::new(false),
            passed_over,
        })
    }

    /// Gives the file up; the first reason stays.
    pub(super) fn fail(&self, reason: &str) {
        let first = || reason.to_owned();
        self.failure.borrow_mut().get_or_insert_with(first);
    }

    /// Whether more pieces are of use.
    pub(super) fn is_good(&self) -> bool {
        self.failure.borrow().is_none() && !self.work.is_over()
    }

    /// Notes that a piece is under way; [`LargeFile::write_piece`] must follow.
    pub(super) fn expect_piece(&self) {
        self.pieces_open.set(self.pieces_open.get() + 1);
    }

    /// Notes whether the last piece so far is a hole.
    pub(super) fn ends_in_hole(&self, hole: bool) {
        self.ends_in_hole.set(hole);
    }

    /// Fetches a piece and writes it at its place. The last one of a complete file gives the file its name.
    pub(super) async fn write_piece(&self, id: ChunkId, bytes: u32, offset: u64) {
        let file = self.file.borrow().clone();
        if let Some(file) = file
            && self.is_good()
            && let Err(reason) = self.copy_piece(&file, id, bytes, offset).await
        {
            self.fail(&reason);
        }
        self.pieces_open.set(self.pieces_open.get() - 1);
        self.finish_if_done().await;
    }

    async fn copy_piece(
        &self,
        file: &<W::Tree as Tree>::File,
        id: ChunkId,
        bytes: u32,
        offset: u64,
    ) -> Result<(), String> {
        let fetched = self.work.source.fetch(id, Kind::Data).await;
        let plain = fetched.map_err(|why| self.work.words_for_lost(&why))?;
        if plain.len() as u64 != u64::from(bytes) {
            return Err(format!(
                "chunk {} is {} bytes long where the index says {bytes}",
                id.short(),
                plain.len()
            ));
        }
        if !self.is_good() {
            return Ok(());
        }
        let (written, _) = file.write_at(plain, offset).await;
        written.map_err(|error| self.work.words_for(&error))?;
        let count = u64::from(bytes);
        self.work
            .progress
            .update(|progress| progress.bytes += count);
        Ok(())
    }

    /// No piece will be added any more.
    pub(super) async fn complete(&self) {
        self.complete.set(true);
        self.finish_if_done().await;
    }

    async fn finish_if_done(&self) {
        if !self.complete.get() || self.pieces_open.get() > 0 {
            return;
        }
        if self.work.is_over() {
            self.fail("the restore was stopped");
        }
        let file = self.file.borrow_mut().take();
        let failure = self.failure.borrow().clone();
        let tree = self.work.world.tree();
        match (file, failure) {
            (Some(file), None) => match self.name_it(file).await {
                Ok(not_set) => {
                    self.work
                        .came_back(&self.path, self.bytes, not_set, self.differs);
                }
                Err(error) => {
                    let reason = self.work.words_for(&error);
                    self.work.fail_file(&self.path, &reason);
                }
            },
            (Some(file), Some(reason)) => {
                tree.discard(&self.work.root, file).await;
                self.work.fail_file(&self.path, &reason);
            }
            (None, _) if self.passed_over => {
                self.work.progress.update(|progress| progress.files += 1);
            }
            (None, reason) => {
                let reason = reason.unwrap_or_else(|| "it was never made".to_owned());
                self.work.fail_file(&self.path, &reason);
            }
        }
    }

    async fn name_it(&self, file: <W::Tree as Tree>::File) -> io::Result<NotSet> {
        let tree = self.work.world.tree();
        let root = &self.work.root;
        if self.ends_in_hole.get()
            && let Err(error) = file.set_len(self.bytes).await
        {
            tree.discard(root, file).await;
            return Err(error);
        }
        let named = tree
            .finish(root, file.clone(), &self.path, self.attributes)
            .await;
        if named.is_err() {
            tree.discard(root, file).await;
        }
        named
    }
}

fn with(differs: Differs, not_set: NotSet) -> Differs {
    Differs {
        owner: differs.owner || not_set.owner,
        mode: differs.mode || not_set.mode,
        ..differs
    }
}

/// How a thing differs after its attributes were set.
pub(super) fn after_set(differs: Differs, done: &io::Result<NotSet>) -> Differs {
    match done {
        Ok(not_set) => with(differs, *not_set),
        Err(_) => Differs {
            attributes: true,
            ..differs
        },
    }
}
