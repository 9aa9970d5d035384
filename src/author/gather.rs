//! One data set on its way into the snapshot: entries wait in order here until their chunks are known, then go into
//! pages, pages into the tree.
//!
//! Small files are read in batches and packed in walk order. What waits is bounded by [`WAITING_MAX`] entries and
//! [`WAITING_BYTES_MAX`]: then the pack is closed early.

use std::collections::{BTreeMap, VecDeque};

use super::draft::{Draft, Made, MadePiece, Ref};
use super::index::{Closing, MadePage, PageBuilder, TreeBuilder, child_of_node, child_of_page};
use super::read::same_contents;
use super::replicate::Replicator;
use super::report::{Progress, add};
use super::seal::Sealer;
use super::shelf::ShelfWriter;
use super::sizes::Sizes;
use super::snapshot::SnapshotError;
use super::walk::joined;
use crate::format::index::Child;
use crate::format::keys::DataKeys;
use crate::keeper::Keepers;
use crate::terms::{ChunkId, Kind, Stamp};
use crate::world::{FileKind, Stat, Tree, World};

/// Entries that may wait for the open pack.
const WAITING_MAX: usize = 4096;
/// Their size in memory, roughly.
const WAITING_BYTES_MAX: usize = 2 << 20;
/// Small files read at once.
const BATCH_FILES_MAX: usize = 64;
/// Their bytes.
const BATCH_BYTES_MAX: u64 = 1 << 20;
/// Times a changing small file is read again.
const AGAIN_MAX: u32 = 2;

/// What the gathering of a data set shares with the rest of the snapshot.
pub struct Means<'a, W: World, K: Keepers> {
    /// The outside.
    pub world: &'a W,
    /// The way to keepers.
    pub out: &'a Replicator<W, K>,
    /// Keys.
    pub keys: &'a DataKeys,
    /// Progress.
    pub progress: &'a Progress,
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

/// A data set on its way.
pub struct Gather<'a, W: World> {
    sealer: &'a mut Sealer,
    waiting: VecDeque<Draft>,
    waiting_bytes: usize,
    /// How many drafts have left `waiting`: the number of its front.
    left: u64,
    batch: Vec<(u64, Vec<u8>, Stat)>,
    batch_bytes: u64,
    pack: Vec<u8>,
    places: BTreeMap<[u8; 32], u32>,
    pages: PageBuilder,
    tree: TreeBuilder,
    shelf: ShelfWriter<W::Disk>,
    page_before: Vec<ChunkId>,
    /// What it has come to.
    pub totals: Totals,
    /// Small files that could not be read or changed: path and reason.
    pub trouble: Vec<(Vec<u8>, String)>,
}

impl<'a, W: World> Gather<'a, W> {
    /// An empty one.
    pub fn new(
        sealer: &'a mut Sealer,
        sizes: Sizes,
        keys: &DataKeys,
        shelf: ShelfWriter<W::Disk>,
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
            trouble: Vec::new(),
        }
    }

    /// Adds the next draft in order.
    pub fn push(&mut self, draft: Draft) {
        self.waiting_bytes += weight(&draft);
        self.waiting.push_back(draft);
    }

    /// Adds a small file that is to be read with others.
    pub fn push_small(&mut self, draft: Draft, stat: Stat) {
        let number = self.left + self.waiting.len() as u64;
        self.batch.push((number, draft.path.clone(), stat));
        self.batch_bytes += stat.size;
        self.push(draft);
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

    async fn read_batch<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
    ) -> Result<(), SnapshotError> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let bytes_max = means.sizes.small_file_bytes_max + 1;
        let paths = batch
            .iter()
            .map(|(_, path, _)| joined(means.base, path))
            .collect();
        let answers = means.world.tree().read_many(paths, bytes_max).await;
        for ((number, path, mut seen), mut answer) in batch.into_iter().zip(answers) {
            let mut tries = 0;
            // Unchanged since the listing, or between two reads: then the bytes are those of one moment.
            while let Ok((stat, _)) = &answer {
                if same_contents(&seen, stat) || tries == AGAIN_MAX {
                    break;
                }
                tries += 1;
                seen = *stat;
                let again = vec![joined(means.base, &path)];
                let mut answers = means.world.tree().read_many(again, bytes_max).await;
                match answers.pop() {
                    Some(next) => answer = next,
                    None => break,
                }
            }
            let at = usize::try_from(number - self.left).unwrap_or(usize::MAX);
            match answer {
                Err(reason) => self.drop_at(at, path, reason.to_string()),
                Ok((stat, _)) if stat.kind != FileKind::File => {
                    self.drop_at(at, path, "it is no longer a file".to_owned());
                }
                Ok((mut stat, mut plain)) => {
                    // What grew out of a pack since it was listed gives its start, and is named.
                    plain.truncate(means.sizes.small_file_bytes_max);
                    if !same_contents(&seen, &stat) || stat.size != plain.len() as u64 {
                        let reason = "it changed while it was read; taken with its last read";
                        self.trouble.push((path, reason.to_owned()));
                        // Torn bytes are never taken over as unchanged: no file has this time.
                        stat.ctime = Stamp::default();
                    }
                    add(&means.progress.bytes_read, plain.len() as u64);
                    self.pack_file(means, number, &stat, &plain).await?;
                }
            }
        }
        Ok(())
    }

    fn drop_at(&mut self, at: usize, path: Vec<u8>, reason: String) {
        if let Some(draft) = self.waiting.get_mut(at) {
            draft.what = Made::Dropped;
        }
        self.trouble.push((path, reason));
    }

    async fn pack_file<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
        number: u64,
        stat: &Stat,
        plain: &[u8],
    ) -> Result<(), SnapshotError> {
        let name = means.keys.lookup_name(plain);
        let is_new = !plain.is_empty() && !self.places.contains_key(&name);
        if is_new && self.pack.len() + plain.len() > means.sizes.pack_bytes_max {
            self.close_pack(means).await?;
        }
        let what = if plain.is_empty() {
            Made::Empty
        } else {
            let offset = match self.places.get(&name) {
                Some(offset) => *offset,
                None => {
                    let offset = u32::try_from(self.pack.len())
                        .expect("a pack is at most PACK_BYTES_MAX long");
                    self.pack.extend_from_slice(plain);
                    self.places.insert(name, offset);
                    offset
                }
            };
            Made::Packed {
                bytes: plain.len() as u64,
                name,
                pack: None,
                offset,
            }
        };
        let at = usize::try_from(number - self.left).unwrap_or(usize::MAX);
        if let Some(draft) = self.waiting.get_mut(at) {
            draft.mark(stat, means.device);
            draft.what = what;
        }
        Ok(())
    }

    async fn close_pack<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
    ) -> Result<(), SnapshotError> {
        self.places.clear();
        if self.pack.is_empty() {
            return Ok(());
        }
        let mut plain = std::mem::take(&mut self.pack);
        let (id, sealed_bytes) = self.seal(means, Kind::Data, &plain).await?;
        plain.clear();
        self.pack = plain;
        // Counted with its page, like all data.
        self.totals.chunks -= 1;
        self.totals.sealed_bytes -= u64::from(sealed_bytes);
        for draft in &mut self.waiting {
            if let Made::Packed { pack, .. } = &mut draft.what
                && pack.is_none()
            {
                *pack = Some(Ref {
                    id,
                    sealed_bytes,
                    reused: false,
                });
            }
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

    async fn seal<K: Keepers>(
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
        Made::Dir | Made::Empty | Made::Packed { .. } | Made::ToRead | Made::Dropped => 0,
    };
    size_of::<Draft>() + draft.path.len() + more
}
