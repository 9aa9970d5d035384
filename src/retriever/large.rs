//! A file that comes in pieces: created under a temporary name, written as its pieces arrive in any order, and named when all
//! of them are there. The first reason against it stays, and then nothing of it does; but when the restore ends before that,
//! a file that is long enough can be gone on with.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use super::Source;
use super::files::{IN_NO_DIR, OpenDir, Work, after_name};
use super::links::Turn;
use super::present::{Place, Sought};
use super::unfinished::{Going, PART_BYTES_MIN, PART_NOTED_EVERY_BYTES};
use crate::format::index::Piece;
use crate::terms::{ChunkId, Kind};
use crate::world::{Attributes, FileKind, NotSet, Tree, TreeFile, World};

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
    /// It stands there already, or why it is not made was noted when that was found.
    passed_over: bool,
    /// Whether it is gone on with when it is not whole.
    is_kept: bool,
    /// What an earlier run left of it.
    had: u64,
    arrived: RefCell<Arrived>,
}

/// How much of a file is there from its start on, while its pieces arrive in any order.
#[derive(Default)]
struct Arrived {
    whole: u64,
    /// Pieces behind a gap: no more than the window holds.
    ahead: BTreeMap<u64, u64>,
    noted: u64,
}

impl Arrived {
    fn from(whole: u64) -> Self {
        Self {
            whole,
            noted: whole,
            ..Self::default()
        }
    }

    /// Takes a piece; gives how much is there when that should be noted.
    fn add(&mut self, offset: u64, bytes: u64) -> Option<u64> {
        self.ahead.insert(offset, bytes);
        while let Some(first) = self.ahead.first_entry()
            && *first.key() <= self.whole
        {
            let (offset, bytes) = first.remove_entry();
            self.whole = self.whole.max(offset.saturating_add(bytes));
        }
        let is_due = self.whole >= self.noted.saturating_add(PART_NOTED_EVERY_BYTES);
        is_due.then(|| {
            self.noted = self.whole;
            self.whole
        })
    }
}

impl<W: World, S: Source> Work<W, S> {
    /// Opens a large file under a temporary name; with it comes how much of it an earlier run left.
    async fn open_large(
        &self,
        path: &[u8],
        is_kept: bool,
    ) -> io::Result<(<W::Tree as Tree>::File, u64)> {
        let tree = self.world.tree();
        if !is_kept {
            return Ok((tree.create(&self.root, path).await?, 0));
        }
        let file = tree.open_part(&self.root, path).await?;
        let there = file.stat().await?.size;
        let told = self.going.as_ref();
        let told = told.map_or(0, |going: &Going| going.bytes_of_part(path));
        // A hole at the end takes no length before the file is whole; what came behind what was told may have gaps.
        let had = told.min(there);
        let had = if had == told { told } else { 0 };
        file.set_len(had).await?;
        if had > 0 {
            self.progress.update(|progress| progress.bytes += had);
        }
        Ok((file, had))
    }
}

impl<W: World, S: Source> LargeFile<W, S> {
    /// Creates the file under a temporary name. If that fails, it is noted when the file is complete.
    pub(super) async fn create(work: &Rc<Work<W, S>>, dir: Rc<OpenDir>, plan: Plan) -> Rc<Self> {
        let path = plan.path;
        work.progress
            .update(|progress| progress.current.clone_from(&path));
        let (mut passed_over, mut had, mut turn) = (false, 0, plan.turn);
        let is_kept = work.going.is_some() && plan.bytes >= PART_BYTES_MIN;
        let made = if !dir.usable {
            Err(IN_NO_DIR.to_owned())
        } else {
            let sought = Sought {
                kind: FileKind::File,
                bytes: Some(plan.bytes),
                mtime: plan.attributes.mtime,
            };
            match work.place_of(&path, sought).await {
                Place::Free => {
                    let opened = work.open_large(&path, is_kept).await;
                    let opened = opened.map_err(|error| work.words_for(&error));
                    opened.map(|(file, left)| {
                        had = left;
                        file
                    })
                }
                Place::Kept(found) => {
                    work.kept(&path, plan.bytes, &plan.attributes, &found, turn.take())
                        .await;
                    passed_over = true;
                    Err(String::new())
                }
                Place::Noted => {
                    passed_over = true;
                    Err(String::new())
                }
            }
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
            turn: RefCell::new(turn),
            file: RefCell::new(file),
            failure: RefCell::new(failure),
            pieces_open: Cell::new(0),
            complete: Cell::new(false),
            ends_in_hole: Cell::new(false),
            passed_over,
            is_kept,
            had,
            arrived: RefCell::new(Arrived::from(had)),
        })
    }

    /// Gives the file up; the first reason stays.
    pub(super) fn fail(&self, reason: &str) {
        let first = || reason.to_owned();
        self.failure.borrow_mut().get_or_insert_with(first);
    }

    /// Whether a piece that ends here is of use.
    pub(super) fn wants(&self, end: u64) -> bool {
        self.is_good() && end > self.had
    }

    /// Whether more pieces are of use.
    fn is_good(&self) -> bool {
        self.failure.borrow().is_none() && !self.work.is_over()
    }

    /// Notes that a piece is under way; [`LargeFile::write_piece`] must follow.
    pub(super) fn expect_piece(&self) {
        self.pieces_open.set(self.pieces_open.get() + 1);
    }

    /// Notes the next piece of the list; a hole is there as soon as it is met.
    pub(super) async fn meets(&self, piece: &Piece, offset: u64) {
        let is_hole = matches!(piece, Piece::Hole { .. });
        self.ends_in_hole.set(is_hole);
        if is_hole && self.wants(offset.saturating_add(piece.bytes())) {
            self.arrives(offset, piece.bytes()).await;
        }
    }

    /// Notes a piece that is there, and now and then how much of the file is.
    async fn arrives(&self, offset: u64, bytes: u64) {
        let due = self.arrived.borrow_mut().add(offset, bytes);
        let (Some(whole), Some(going), true) = (due, &self.work.going, self.is_kept) else {
            return;
        };
        going.part_is_at(&self.path, whole);
        if self.work.should_be_durable() {
            if let Err(error) = self.work.make_durable(None).await {
                self.work.stopped.borrow_mut().get_or_insert(error);
            }
        } else {
            self.work.save_note(false).await;
        }
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
        let (written, memory) = if self.has_holes {
            file.write_around_zeros(plain, offset).await
        } else {
            file.write_at(plain, offset).await
        };
        self.work.source.give_back(memory);
        written.map_err(|error| self.work.words_for(&error))?;
        let count = u64::from(bytes);
        self.work
            .progress
            .update(|progress| progress.bytes += count);
        self.work.wrote(count);
        self.arrives(offset, count).await;
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
        if let Some(going) = &self.work.going
            && self.is_kept
        {
            if self.work.is_over() && file.is_some() {
                // It stays as it is, and the note tells how far it is.
                going.part_is_at(&self.path, self.arrived.borrow().whole);
                return;
            }
            going.part_is_over(&self.path);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_from_the_start_on_grows_when_gaps_close_and_is_noted_now_and_then() {
        let mib = 1 << 20;
        let mut arrived = Arrived::from(mib);
        assert_eq!(arrived.add(2 * mib, mib), None);
        assert_eq!((arrived.whole, arrived.ahead.len()), (mib, 1));
        assert_eq!(arrived.add(mib, mib), None);
        assert_eq!((arrived.whole, arrived.ahead.len()), (3 * mib, 0));
        assert_eq!(
            arrived.add(3 * mib, PART_NOTED_EVERY_BYTES),
            Some(3 * mib + PART_NOTED_EVERY_BYTES)
        );
        assert_eq!(arrived.add(3 * mib + PART_NOTED_EVERY_BYTES, mib), None);
    }
}
