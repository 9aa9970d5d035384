//! The deeds of a restore: directories that close when all in them is done, and small files by pack.
//!
//! Each deed is a task of its own that holds a share of the window; it notes its own outcome. A directory is held by
//! everything under way in it, so its attributes are set when the last of that is done: memory follows the depth and
//! the window, never the number of directories.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::links::{Links, Turn};
use super::packs::Packs;
use super::present::Existing;
use super::report::{Differs, Progress, Writing};
use super::unfinished::Going;
use super::{FetchError, RetrieveError, Source};
use crate::terms::ChunkId;
use crate::world::{Attributes, NewFile, NotSet, Tree, World};

/// Plaintext on its way from the source to the target, in KiB.
pub(super) const RESTORE_WINDOW_KIB: u32 = 12 << 10;
/// What the files of a pack take of the window: the pack, and as much again on its way to the target.
pub(super) const PACK_KIB: u32 = 4 << 10;
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
    pub(super) going: Option<Going>,
    pub(super) progress: Progress,
    pub(super) report: RefCell<Writing>,
    pub(super) packs: Packs,
    pub(super) links: Links,
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
    pub(super) has_holes: bool,
    pub(super) attributes: Attributes,
    /// If it is the first of several names.
    pub(super) turn: Option<Turn>,
}

impl<W: World, S: Source> Work<W, S> {
    /// Whether no more should be begun.
    pub(super) fn is_over(&self) -> bool {
        self.given_up.get() || self.stopped.borrow().is_some() || self.progress.is_stopped()
    }

    /// An error when it was asked to end.
    pub(super) fn is_wanted(&self) -> Result<(), RetrieveError> {
        let files = self.report.borrow().files;
        if self.progress.is_stopped() {
            return Err(RetrieveError::Stopped { files });
        }
        Ok(())
    }

    /// Why it was stopped, if it was, with what is there.
    pub(super) fn why_stopped(&self) -> Result<(), RetrieveError> {
        match self.stopped.take() {
            None => Ok(()),
            Some(RetrieveError::TargetFailed { why, .. }) => {
                let (files, bytes) = (self.report.borrow().files, self.report.borrow().bytes);
                Err(RetrieveError::TargetFailed { why, files, bytes })
            }
            Some(other) => Err(other),
        }
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

    pub(super) fn fail_file(&self, path: &[u8], reason: &str) {
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
            // What is under way may still come back: the rest is told at the end.
            let stop = || RetrieveError::TargetFailed {
                why: error.to_string(),
                files: 0,
                bytes: 0,
            };
            self.stopped.borrow_mut().get_or_insert_with(stop);
        }
        format!("could not be written: {error}")
    }

    /// The words for a chunk that could not be had; a source that is gone ends the restore.
    pub(super) fn words_for_lost(&self, why: &FetchError) -> String {
        if matches!(why, FetchError::Ended(_)) {
            let stop = || RetrieveError::SourceEnded(why.clone());
            self.stopped.borrow_mut().get_or_insert_with(stop);
        }
        why.to_string()
    }

    /// Notes a restored file.
    pub(super) fn came_back(&self, path: &[u8], bytes: u64, differs: Differs) {
        let mut report = self.report.borrow_mut();
        report.files += 1;
        report.bytes = report.bytes.saturating_add(bytes);
        report.differs(path, differs);
        self.progress.update(|progress| progress.files += 1);
    }

    /// Sets the attributes of directories in which all is done, the deepest first.
    pub(super) async fn close_dirs(&self) {
        loop {
            let next = self.finished.borrow_mut().pop();
            let Some(dir) = next else {
                return;
            };
            // One in which not all is done keeps the rights in which the same command can go on.
            if self.is_over() {
                continue;
            }
            let path = path_below(dir.parent.as_deref(), &dir.name);
            self.sweep(&path).await;
            let Some((attributes, differs)) = dir.attributes else {
                continue;
            };
            let done = self.world.tree().set(&self.root, &path, attributes).await;
            let mut report = self.report.borrow_mut();
            report.dirs += 1;
            report.differs(&path, after_set(differs, done));
        }
    }

    /// Writes the small files of one pack (or the empty ones).
    pub(super) async fn write_small(&self, pack: Option<ChunkId>, files: Vec<SmallFile>) {
        let files = self.sift(files).await;
        if files.is_empty() {
            return;
        }
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
            while let Some(mut file) = files.next_if(|file| {
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
                bytes += file.bytes;
                batch.push(NewFile {
                    path: path.clone(),
                    bytes: contents.to_vec(),
                    has_holes: file.has_holes,
                    attributes: std::mem::take(&mut file.attributes),
                });
                held.push((path, file));
            }
            self.write_batch(batch, held).await;
        }
    }

    async fn write_batch(&self, batch: Vec<NewFile>, held: Vec<(Vec<u8>, SmallFile)>) {
        if let Some((path, _)) = held.last() {
            self.progress
                .update(|progress| progress.current.clone_from(path));
        }
        let done = self.world.tree().write_many(&self.root, batch).await;
        for ((path, file), done) in held.into_iter().zip(done) {
            match done {
                Ok(not_set) => {
                    let bytes = file.bytes as u64;
                    self.came_back(&path, bytes, after_name(file.turn, &path, not_set));
                    self.progress.update(|progress| progress.bytes += bytes);
                    self.wrote(bytes);
                }
                Err(error) => self.fail_file(&path, &self.words_for(&error)),
            }
        }
    }
}

fn with(differs: Differs, not_set: NotSet) -> Differs {
    Differs {
        owner: differs.owner || not_set.owner,
        mode: differs.mode || not_set.mode,
        xattrs: not_set.xattrs,
        ..differs
    }
}

/// How a file differs that has its name now; its other names may be linked to it.
pub(super) fn after_name(turn: Option<Turn>, path: &[u8], not_set: NotSet) -> Differs {
    let differs = Differs {
        hard_link: turn.as_ref().is_some_and(|turn| turn.may_be_copy),
        ..Differs::default()
    };
    if let Some(turn) = turn {
        turn.stands(path);
    }
    with(differs, not_set)
}

/// How a thing differs after its attributes were set.
pub(super) fn after_set(differs: Differs, done: io::Result<NotSet>) -> Differs {
    match done {
        Ok(not_set) => with(differs, not_set),
        Err(_) => Differs {
            attributes: true,
            ..differs
        },
    }
}
