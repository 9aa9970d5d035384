//! One data set on its way into the snapshot: entries wait in order here until their chunks are known, then go into
//! pages, pages into the tree.
//!
//! Small files are read in batches and packed in walk order, by `packing`. What waits is bounded by [`WAITING_MAX`] entries and
//! [`WAITING_BYTES_MAX`]: then the pack is closed early.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::again::Again;
use super::draft::{Draft, Made, MadePiece};
use super::error::SnapshotError;
use super::index::{Closing, MadePage, PageBuilder, TreeBuilder, child_of_node, child_of_page};
use super::known::Known;
use super::links::Links;
use super::replicate::Replicator;
use super::report::Progress;
use super::sample::Sampler;
use super::seal::Sealer;
use super::shelf::ShelfWriter;
use super::sizes::Sizes;
use crate::format::index::Child;
use crate::format::keys::{DataKeys, PlainName};
use crate::keeper::Keepers;
use crate::terms::{ChunkId, Kind};
use crate::world::{Stat, World};

/// Entries that may wait for the open pack.
const WAITING_MAX: usize = 4096;
/// Their size in memory, roughly.
const WAITING_BYTES_MAX: usize = 2 << 20;
/// Small files read at once.
const BATCH_FILES_MAX: usize = 64;
/// Their bytes.
const BATCH_BYTES_MAX: u64 = 1 << 20;

/// What the gathering of a data set shares with the rest of the snapshot.
pub struct Means<'a, W: World, K: Keepers> {
    /// The data set's files, and nothing a link below it leads to.
    pub tree: W::Tree,
    /// The way to keepers.
    pub out: &'a Replicator<W, K>,
    /// Keys.
    pub keys: &'a DataKeys,
    /// Progress.
    pub progress: &'a Progress,
    /// What may still be tried again.
    pub again: &'a Again<W::Clock>,
    /// Keys of earlier epochs under which data may be on keepers already, newest first; none where that is not looked for.
    pub older: &'a [Rc<DataKeys>],
    /// Keys of all earlier epochs, newest first: by them a file is known for what it was.
    pub epochs: &'a [Rc<DataKeys>],
    /// Whether what keepers say they have is not sent again; not where that came to nothing before.
    pub believes_keepers: bool,
    /// Keys of any epoch under which a file that is missing may be remembered; none where nothing is missing, or there was no
    /// other epoch.
    pub called_before: &'a [Rc<DataKeys>],
    /// What packs hold already.
    pub known: &'a Known<'a, W::Disk>,
    /// How large everything is.
    pub sizes: Sizes,
    /// Where the data set is.
    pub base: &'a [u8],
    /// Its device.
    pub device: u64,
}

/// Counts over the pages of a data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Entries of any kind.
    pub entries: u64,
    /// Regular files.
    pub files: u64,
    /// Their lengths.
    pub bytes: u64,
    /// Chunks, pages and nodes included; one that two pages name counts twice unless they are neighbours.
    pub chunks: u64,
    /// Their sealed bytes.
    pub sealed_bytes: u64,
}

/// What stood at a path in the snapshot before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// No file.
    Nothing,
    /// A small file whose plaintext had this name.
    Small(PlainName),
    /// Some other file.
    Other,
}

/// What became of small files that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moves {
    /// With other contents than before.
    pub rewritten: u64,
    /// At a new path, with contents that were there before.
    pub moved: u64,
    /// Whose bytes went into a new pack.
    pub packed: u64,
    /// There before, and gone when they were to be read.
    pub gone: u64,
}

/// A small file that is yet to be read.
pub(super) struct Small {
    pub(super) number: u64,
    pub(super) path: Vec<u8>,
    pub(super) stat: Stat,
    pub(super) before: Before,
    /// Whether nothing says that it was changed since.
    pub(super) is_untouched: bool,
    /// What stands in if it cannot be read.
    pub(super) old: Option<Box<Draft>>,
}

/// A data set on its way.
pub struct Gather<'a, W: World> {
    pub(super) sealer: &'a mut Sealer,
    pub(super) waiting: VecDeque<Draft>,
    pub(super) waiting_bytes: usize,
    /// How many drafts have left `waiting`: the number of its front.
    pub(super) left: u64,
    pub(super) batch: Vec<Small>,
    pub(super) batch_bytes: u64,
    pub(super) pack: Vec<u8>,
    pub(super) places: BTreeMap<PlainName, u32>,
    pages: PageBuilder,
    tree: TreeBuilder,
    shelf: ShelfWriter<W::Disk>,
    page_before: Vec<ChunkId>,
    /// What it has come to.
    pub totals: Totals,
    /// What small files came to.
    pub moves: Moves,
    /// What could not be taken as it is.
    pub trouble: Vec<Trouble>,
    /// Files with several names that were read.
    pub links: Links,
    /// Draws a sample of all files.
    pub(super) sampler: Sampler,
}

/// Something that could not be taken as it is.
pub struct Trouble {
    /// Where.
    pub path: Vec<u8>,
    /// Why.
    pub reason: String,
    /// Whether it changed while it was read.
    pub has_changed: bool,
}

impl<'a, W: World> Gather<'a, W> {
    /// An empty one.
    pub(super) fn new(
        sealer: &'a mut Sealer,
        sizes: Sizes,
        keys: &DataKeys,
        (shelf, sampler): (ShelfWriter<W::Disk>, Sampler),
    ) -> Self {
        Self {
            sealer,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            left: 0,
            batch: Vec::new(),
            batch_bytes: 0,
            pack: Vec::new(),
            places: BTreeMap::new(),
            pages: PageBuilder::new(keys.cut, sizes),
            tree: TreeBuilder::new(keys.cut, sizes),
            shelf,
            page_before: Vec::new(),
            totals: Totals::default(),
            moves: Moves::default(),
            trouble: Vec::new(),
            links: Links::default(),
            sampler,
        }
    }

    /// Adds the next draft in order.
    pub fn push(&mut self, draft: Draft) {
        self.waiting_bytes += weight(&draft);
        self.waiting.push_back(draft);
    }

    /// Adds a small file that is to be read with others.
    pub fn push_small(
        &mut self,
        draft: Draft,
        stat: Stat,
        (before, is_untouched): (Before, bool),
        old: Option<Draft>,
    ) {
        let number = self.left + self.waiting.len() as u64;
        let path = draft.path.clone();
        self.batch.push(Small {
            number,
            path,
            stat,
            before,
            is_untouched,
            old: old.map(Box::new),
        });
        self.batch_bytes += stat.size;
        self.push(draft);
    }

    /// What was read under another name of this file, if it still is what it was.
    pub async fn read_before<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
        stat: &Stat,
        path: &[u8],
    ) -> Result<Option<Vec<Draft>>, SnapshotError> {
        if self
            .batch
            .iter()
            .any(|small| small.stat.inode == stat.inode)
        {
            self.read_batch(means).await?;
        }
        Ok(self.links.find(stat, path))
    }

    /// Moves on what can be moved on.
    pub async fn settle<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
    ) -> Result<(), SnapshotError> {
        if self.batch.len() >= BATCH_FILES_MAX || self.batch_bytes >= BATCH_BYTES_MAX {
            self.read_batch(means).await?;
        }
        if self.waiting.len() >= WAITING_MAX || self.waiting_bytes >= WAITING_BYTES_MAX {
            self.read_batch(means).await?;
            self.close_pack(means).await?;
        }
        self.drain(means).await
    }

    /// Ends the data set: its root and the root's level. Its index is committed by the returned writer.
    pub async fn finish<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
    ) -> Result<Option<(ChunkId, u8)>, SnapshotError> {
        self.read_batch(means).await?;
        self.close_pack(means).await?;
        self.drain(means).await?;
        if let Some(page) = self.pages.finish() {
            self.take_page(means, page).await?;
        }
        loop {
            match self.tree.close() {
                Closing::Nothing => return Ok(None),
                Closing::Root(root, level) => return Ok(Some((root.id, level))),
                Closing::Node(node) => {
                    let (id, _) = self.seal(means, Kind::Node, &node.encode()).await?;
                    let child = child_of_node(id, &node);
                    self.climb(means, node.level, child).await?;
                }
            }
        }
    }

    /// Hands out the shelf, to be committed when keepers have confirmed.
    pub fn into_shelf(self) -> ShelfWriter<W::Disk> {
        self.shelf
    }

    async fn drain<K: Keepers>(&mut self, means: &Means<'_, W, K>) -> Result<(), SnapshotError> {
        while self.waiting.front().is_some_and(Draft::is_settled) {
            let Some(draft) = self.waiting.pop_front() else {
                break;
            };
            self.left += 1;
            if let Some(bytes) = draft.file_bytes() {
                self.totals.files += 1;
                self.totals.bytes = self.totals.bytes.saturating_add(bytes);
            }
            self.sampler.see(&draft);
            self.waiting_bytes = self.waiting_bytes.saturating_sub(weight(&draft));
            for page in self.pages.push(draft).into_iter().flatten() {
                self.take_page(means, page).await?;
            }
        }
        if self.waiting.is_empty() {
            self.waiting_bytes = 0;
        }
        Ok(())
    }

    async fn take_page<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
        made: MadePage,
    ) -> Result<(), SnapshotError> {
        for chunk in &made.refs {
            if self.page_before.binary_search(&chunk.id).is_ok() {
                continue;
            }
            self.totals.chunks += 1;
            self.totals.sealed_bytes += u64::from(chunk.sealed_bytes);
            if chunk.reused {
                means.out.confirm(chunk.id).await?;
            }
        }
        self.page_before.clone_from(&made.page.chunks);
        self.page_before.sort_unstable();
        self.totals.entries += made.page.entries.len() as u64;
        let plain = made.page.encode();
        let (id, _) = self.seal(means, Kind::Page, &plain).await?;
        self.shelf.push(&made, plain).await?;
        self.climb(means, 0, child_of_page(id, &made.page)).await
    }

    async fn climb<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
        mut level: u8,
        mut child: Child,
    ) -> Result<(), SnapshotError> {
        while let Some(node) = self.tree.push(level, child) {
            let (id, _) = self.seal(means, Kind::Node, &node.encode()).await?;
            child = child_of_node(id, &node);
            level = node.level;
        }
        Ok(())
    }

    pub(super) async fn seal<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
        kind: Kind,
        plain: &[u8],
    ) -> Result<(ChunkId, u32), SnapshotError> {
        let (id, record) = self.sealer.dense(kind, plain)?;
        let bytes = u32::try_from(record.len()).unwrap_or(u32::MAX);
        self.totals.chunks += 1;
        self.totals.sealed_bytes += u64::from(bytes);
        means.progress.count_made(bytes);
        means.out.submit(id, record).await?;
        tokio::task::yield_now().await;
        Ok((id, bytes))
    }
}

fn weight(draft: &Draft) -> usize {
    let more = match &draft.what {
        Made::Pieces { pieces, .. } => pieces.len() * size_of::<MadePiece>(),
        Made::Symlink(target) => target.len(),
        Made::Dir
        | Made::Fifo
        | Made::Device { .. }
        | Made::Empty
        | Made::Packed { .. }
        | Made::ToRead
        | Made::Dropped => 0,
    };
    size_of::<Draft>() + draft.path.len() + draft.xattr_bytes() + more
}
