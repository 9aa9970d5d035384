//! A file that comes in pieces: created under a temporary name, written as its pieces arrive in any order, and named when all
//! of them are there. The first reason against it stays, and then nothing of it does.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use super::Source;
use super::files::{IN_NO_DIR, OpenDir, Work, after_name};
use super::links::Turn;
use crate::terms::{ChunkId, Kind};
use crate::world::{Attributes, NotSet, Tree, TreeFile, World};

/// What is to be made of a file that comes in pieces.
pub(super) struct Plan {
    pub(super) path: Vec<u8>,
    pub(super) bytes: u64,
    pub(super) has_holes: bool,
    pub(super) attributes: Attributes,
    /// If it is the first of several names.
    pub(super) turn: Option<Turn>,
}

/// A file under way, its pieces arriving in any order.
pub(super) struct LargeFile<W: World, S: Source> {
    work: Rc<Work<W, S>>,
    /// Keeps the directory open.
    _dir: Rc<OpenDir>,
    path: Vec<u8>,
    bytes: u64,
    has_holes: bool,
    attributes: Attributes,
    turn: RefCell<Option<Turn>>,
    file: RefCell<Option<<W::Tree as Tree>::File>>,
    failure: RefCell<Option<String>>,
    pieces_open: Cell<usize>,
    /// No piece will be added any more.
    complete: Cell<bool>,
    ends_in_hole: Cell<bool>,
    /// Why it is not made was noted when that was found.
    passed_over: bool,
}

impl<W: World, S: Source> LargeFile<W, S> {
    /// Creates the file under a temporary name. If that fails, it is noted when the file is complete.
    pub(super) async fn create(work: &Rc<Work<W, S>>, dir: Rc<OpenDir>, plan: Plan) -> Rc<Self> {
        let path = plan.path;
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
            bytes: plan.bytes,
            has_holes: plan.has_holes,
            attributes: plan.attributes,
            turn: RefCell::new(plan.turn),
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
        let (written, _) = if self.has_holes {
            file.write_around_zeros(plain, offset).await
        } else {
            file.write_at(plain, offset).await
        };
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
                    let turn = self.turn.borrow_mut().take();
                    let differs = after_name(turn, &self.path, not_set);
                    self.work.came_back(&self.path, self.bytes, differs);
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
        if (self.ends_in_hole.get() || self.has_holes)
            && let Err(error) = file.set_len(self.bytes).await
        {
            tree.discard(root, file).await;
            return Err(error);
        }
        let named = tree
            .finish(root, file.clone(), &self.path, self.attributes.clone())
            .await;
        if named.is_err() {
            tree.discard(root, file).await;
        }
        named
    }
}
