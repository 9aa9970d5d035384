//! Rebuilds one data set: takes its entries in order and begins the deeds of `files.rs` for them.
//!
//! The index may be hostile, so an entry's directory must have come before it, a file's parts must follow each other and
//! add up, and nothing is made but below the target. Only after a part of the index was lost are directories made that
//! nobody told of, because the files in them matter more than the modes of the directories.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Source;
use super::files::{IN_NO_DIR, OpenDir, PACK_KIB, RESTORE_WINDOW_KIB, SmallFile, Work};
use super::kinds::{Name, given};
use super::links::Print;
use super::parts::OpenFile;
use super::plan::{Stretch, Walk};
use super::report::{Differs, RetrieveError};
use super::selection::{Selection, Wanted, lies_below, parent, placed};
use crate::format::head::DataSet;
use crate::format::index::{Content, Entry, Page, What, path_is_legal};
use crate::terms::ChunkId;
use crate::world::{Attributes, Tree, World};

/// The restore of one data set.
pub(super) struct Rebuild<'r, W: World, S: Source> {
    pub(super) work: &'r Rc<Work<W, S>>,
    set: &'r DataSet,
    pub(super) base: &'r [u8],
    /// The directory the walk is in, and those it lies in; the data set's own first.
    dirs: Vec<Rc<OpenDir>>,
    /// The innermost one's path in the data set.
    here: Vec<u8>,
    /// The file whose entries go on.
    pub(super) open: Option<OpenFile<W, S>>,
    /// A page was lost: what comes now may lie in directories nobody has heard of.
    pub(super) gap: bool,
    /// Entries met, and how many of them go on with a file.
    entries: u64,
    entries_going_on: u64,
    /// The path met last.
    met: Vec<u8>,
}

/// Small files of one page by pack, in the order in which packs are first met.
#[derive(Default)]
struct ByPack {
    groups: Vec<(Option<ChunkId>, Vec<SmallFile>)>,
    places: BTreeMap<Option<ChunkId>, usize>,
    /// Further names of files that are on their way.
    waiting: Vec<(Print, Option<ChunkId>, SmallFile)>,
}

impl ByPack {
    fn add(&mut self, pack: Option<ChunkId>, file: SmallFile) {
        let place = *self.places.entry(pack).or_insert(self.groups.len());
        match self.groups.get_mut(place) {
            Some((_, files)) => files.push(file),
            None => self.groups.push((pack, vec![file])),
        }
    }
}

impl<'r, W: World, S: Source> Rebuild<'r, W, S> {
    pub(super) fn new(work: &'r Rc<Work<W, S>>, set: &'r DataSet, base: &'r [u8]) -> Self {
        Self {
            work,
            set,
            base,
            dirs: Vec::new(),
            here: Vec::new(),
            open: None,
            gap: false,
            entries: 0,
            entries_going_on: 0,
            met: Vec::new(),
        }
    }

    /// Walks the data set and begins all that is wanted of it.
    pub(super) async fn walk(&mut self, selection: &Selection) -> Result<(), RetrieveError> {
        let work = self.work;
        let mut walk = Walk::new(&work.world, &work.source, selection, self.set);
        while let Some(stretch) = walk.next().await? {
            match stretch {
                Stretch::Page(page) => self.page(&page, selection).await?,
                Stretch::Lost {
                    first,
                    entries,
                    why,
                } => {
                    self.gap = true;
                    let place = placed(self.base, &first);
                    let reason = format!(
                        "{entries} entries from here on are listed in a part of the index that is lost: {why}"
                    );
                    let mut report = work.report.borrow_mut();
                    report.fail_many(&place, &reason, entries);
                }
            }
            if work.is_over() {
                return Ok(());
            }
            work.close_dirs().await;
            self.make_durable().await?;
        }
        if self.open.is_some() && !self.gap {
            return Err(RetrieveError::wrong_index("a file has no end"));
        }
        let things = self.entries - self.entries_going_on;
        let whole = selection.is_everything() && !self.gap;
        if whole && self.set.entries != things && self.set.entries != self.entries {
            return Err(RetrieveError::wrong_index(
                "a data set holds fewer or more entries than its manifest tells",
            ));
        }
        Ok(())
    }

    /// Now and then: waits for all that is under way, then everything up to here is there to stay.
    async fn make_durable(&self) -> Result<(), RetrieveError> {
        if !self.work.should_be_durable() {
            return Ok(());
        }
        drop(self.work.window.acquire_many(RESTORE_WINDOW_KIB).await);
        self.work.close_dirs().await;
        let mark = placed(self.base, &self.met);
        self.work.make_durable(Some(&mark)).await
    }

    /// Whether a part of the index is lost.
    pub(super) const fn has_gap(&self) -> bool {
        self.gap
    }

    /// Waits for all that is under way; a file that never got its end is discarded.
    pub(super) async fn settle(mut self, in_order: bool) {
        self.abandon(if in_order {
            "its end is listed in a part of the index that is lost"
        } else {
            "the restore was stopped"
        })
        .await;
        self.dirs.clear();
        let all = self.work.window.acquire_many(RESTORE_WINDOW_KIB).await;
        drop(all);
        self.work.close_dirs().await;
    }

    async fn page(&mut self, page: &Page, selection: &Selection) -> Result<(), RetrieveError> {
        let mut small = ByPack::default();
        for entry in &page.entries {
            self.entries += 1;
            let goes_on = matches!(
                &entry.what,
                What::File { content: Content::Pieces { part, .. }, .. } if *part > 0
            );
            self.entries_going_on += u64::from(goes_on);
            let wanted = match selection.wants(&entry.path) {
                Wanted::Yes => true,
                Wanted::OnTheWay => matches!(entry.what, What::Dir),
                Wanted::No => false,
            };
            if self.work.is_over() {
                return Ok(());
            }
            if !wanted {
                continue;
            }
            if goes_on {
                self.next_part(page, entry).await?;
                continue;
            }
            if self.open.is_some() {
                if !self.gap {
                    return Err(RetrieveError::wrong_index("a file has no end"));
                }
                self.abandon("its end is listed in a part of the index that is lost")
                    .await;
            }
            self.entry(page, entry, &mut small).await?;
        }
        if let (Some(last), None) = (page.entries.last(), &self.open) {
            last.path.as_slice().clone_into(&mut self.met);
        }
        for (pack, files) in small.groups {
            let permit = self.work.of_window(PACK_KIB).await;
            let work = self.work.clone();
            self.work.world.spawn(async move {
                work.write_small(pack, files).await;
                drop(permit);
            });
        }
        if !small.waiting.is_empty() {
            // The first names have their shares of the window already, so waiting for them comes to an end.
            let permit = self.work.of_window(PACK_KIB).await;
            let work = self.work.clone();
            self.work.world.spawn(async move {
                for (print, pack, mut file) in small.waiting {
                    let place = file.dir.path_of(&file.name);
                    let like = (file.bytes as u64, file.attributes.mtime);
                    if let Name::Make(turn) = work.name_after(print, &place, like).await {
                        file.turn = turn;
                        work.write_small(pack, vec![file]).await;
                    }
                }
                drop(permit);
            });
        }
        Ok(())
    }

    async fn entry(
        &mut self,
        page: &Page,
        entry: &Entry,
        small: &mut ByPack,
    ) -> Result<(), RetrieveError> {
        let path = entry.path.as_slice();
        let (dir, name) = if path.is_empty() {
            match &entry.what {
                What::Dir => return self.open_root(entry).await,
                What::File { .. } | What::Symlink { .. } | What::Fifo | What::Device { .. } => {
                    (self.base_dir().await, self.last_name())
                }
            }
        } else {
            let dir = self.dir_of(path).await?;
            let start = path
                .iter()
                .rposition(|byte| *byte == b'/')
                .map_or(0, |at| at + 1);
            (dir, &path[start..])
        };
        match &entry.what {
            What::Dir => self.open_dir(&dir, path, name, Some(given(entry))).await,
            What::Symlink { .. } | What::Fifo | What::Device { .. } => {
                let place = (&dir, name);
                self.work
                    .make_small_thing(self.base, page, entry, place)
                    .await;
            }
            What::File {
                bytes,
                content,
                has_holes,
            } => {
                let (attributes, _) = given(entry);
                let mut pack = None;
                let mut start = 0;
                match content {
                    Content::Pieces { .. } => {
                        return self.large_file(page, entry, &dir, name).await;
                    }
                    Content::Empty => {}
                    Content::Packed { chunk, offset, .. } => {
                        pack = Some(chunk_of(page, *chunk)?);
                        start = *offset as usize;
                    }
                }
                let mut file = SmallFile {
                    dir,
                    name: name.to_vec(),
                    offset: start,
                    // A page's check keeps packed files below a chunk's length.
                    bytes: usize::try_from(*bytes).unwrap_or(usize::MAX),
                    has_holes: *has_holes,
                    attributes,
                    turn: None,
                };
                if !file.dir.usable {
                    small.add(pack, file);
                    return Ok(());
                }
                let place = file.dir.path_of(name);
                let work = self.work;
                match work.name_for(self.base, page, entry, &place, *bytes).await {
                    Name::Make(turn) => {
                        file.turn = turn;
                        small.add(pack, file);
                    }
                    Name::Waits(print) => small.waiting.push((print, pack, file)),
                    Name::Done => {}
                }
            }
        }
        Ok(())
    }

    /// The directory a path is in, left open by the entry that told of it.
    async fn dir_of(&mut self, path: &[u8]) -> Result<Rc<OpenDir>, RetrieveError> {
        while !lies_below(path, &self.here) {
            self.dirs.pop();
            self.here.truncate(parent(&self.here).len());
        }
        let known = parent(path) == self.here.as_slice();
        match self.dirs.last() {
            Some(dir) if known => Ok(dir.clone()),
            _ if self.gap => Ok(self.bridge(parent(path)).await),
            _ => Err(RetrieveError::wrong_index(
                "an entry's directory does not come before it",
            )),
        }
    }

    /// Makes the directories whose entries were lost, as far as they are missing; their attributes nobody knows.
    async fn bridge(&mut self, wanted: &[u8]) -> Rc<OpenDir> {
        let mut dir = match self.dirs.last() {
            Some(dir) => dir.clone(),
            None => {
                let dir = self.base_dir().await;
                self.dirs.push(dir.clone());
                dir
            }
        };
        let known = self.here.len();
        let missing = wanted[known..].split(|byte| *byte == b'/');
        for name in missing.filter(|name| !name.is_empty()) {
            let mut path = self.here.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend(name);
            let place = dir.path_of(name);
            let nothing_known = Differs {
                attributes: true,
                ..Differs::default()
            };
            self.work.report.borrow_mut().differs(&place, nothing_known);
            self.open_dir(&dir, &path, name, None).await;
            if let Some(made) = self.dirs.last() {
                dir = made.clone();
            }
        }
        dir
    }

    /// The data set's own directory.
    async fn open_root(&mut self, entry: &Entry) -> Result<(), RetrieveError> {
        // A directory that a person filled before keeps its own attributes.
        let wanted = given(entry);
        let theirs = if self.base.is_empty() {
            self.work.existing.is_theirs()
        } else {
            self.work.is_theirs(self.base, Some(&wanted.0)).await
        };
        let attributes = (!theirs).then_some(wanted);
        let dir = self.make_base(attributes).await;
        self.dirs.push(dir);
        Ok(())
    }

    /// The directory a data set without one of its own goes into.
    async fn base_dir(&self) -> Rc<OpenDir> {
        self.make_base(None).await
    }

    async fn make_base(&self, attributes: Option<(Attributes, Differs)>) -> Rc<OpenDir> {
        let usable = self.base.is_empty() || self.make_dir(self.base).await;
        let attributes = attributes.filter(|_| usable);
        OpenDir::new(&self.work.finished, None, self.base, usable, attributes)
    }

    /// What a data set that is a single file is called in the target.
    fn last_name(&self) -> &'r [u8] {
        let path = self.set.path.as_slice();
        let start = path
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |at| at + 1);
        let name = &path[start..];
        if !name.is_empty() && path_is_legal(name) {
            name
        } else {
            self.set.name.as_bytes()
        }
    }

    async fn make_dir(&self, place: &[u8]) -> bool {
        let made = self
            .work
            .world
            .tree()
            .make_dir(&self.work.root, place)
            .await;
        if let Err(error) = &made {
            self.work.fail(place, &self.work.words_for(error));
        }
        made.is_ok()
    }

    async fn open_dir(
        &mut self,
        dir: &Rc<OpenDir>,
        path: &[u8],
        name: &[u8],
        attributes: Option<(Attributes, Differs)>,
    ) {
        let place = dir.path_of(name);
        let wanted = attributes.as_ref().map(|(wanted, _)| wanted);
        let is_theirs = dir.usable && self.work.is_theirs(&place, wanted).await;
        let usable = if dir.usable {
            self.make_dir(&place).await
        } else {
            self.work.fail(&place, IN_NO_DIR);
            false
        };
        let attributes = attributes.filter(|_| usable && !is_theirs);
        let finished = &self.work.finished;
        let opened = OpenDir::new(finished, Some(dir.clone()), name, usable, attributes);
        self.dirs.push(opened);
        self.here = path.to_vec();
    }
}

pub(super) fn chunk_of(page: &Page, chunk: u32) -> Result<ChunkId, RetrieveError> {
    let found = page.chunks.get(chunk as usize).copied();
    found.ok_or(RetrieveError::wrong_index("an entry refers to no chunk"))
}
