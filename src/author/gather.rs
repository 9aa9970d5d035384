//! One data set on its way into the snapshot: entries wait in order here until their chunks are known, then go into
//! pages, pages into the tree.
//!
//! Small files are read in batches and packed in walk order. What waits is bounded by [`WAITING_MAX`] entries and
//! [`WAITING_BYTES_MAX`]: then the pack is closed early.

use std::collections::{BTreeMap, VecDeque};

use super::draft::{Draft, Made, MadePiece, Ref};
use super::error::SnapshotError;
use super::index::{Closing, MadePage, PageBuilder, TreeBuilder, child_of_node, child_of_page};
use super::known::Known;
use super::read::same_contents;
use super::replicate::Replicator;
use super::report::{Progress, add};
use super::seal::Sealer;
use super::shelf::ShelfWriter;
use super::sizes::Sizes;
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
    Small([u8; 32]),
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
}

/// A small file that is yet to be read.
struct Small {
    number: u64,
    path: Vec<u8>,
    stat: Stat,
    before: Before,
}

/// A data set on its way.
pub struct Gather<'a, W: World> {
    sealer: &'a mut Sealer,
    waiting: VecDeque<Draft>,
    waiting_bytes: usize,
    /// How many drafts have left `waiting`: the number of its front.
    left: u64,
    batch: Vec<Small>,
    batch_bytes: u64,
    pack: Vec<u8>,
    places: BTreeMap<[u8; 32], u32>,
    pages: PageBuilder,
    tree: TreeBuilder,
    shelf: ShelfWriter<W::Disk>,
    page_before: Vec<ChunkId>,
    /// What it has come to.
    pub totals: Totals,
    /// What small files came to.
    pub moves: Moves,
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
            moves: Moves::default(),
            trouble: Vec::new(),
        }
    }

    /// Adds the next draft in order.
    pub fn push(&mut self, draft: Draft) {
        self.waiting_bytes += weight(&draft);
        self.waiting.push_back(draft);
    }

    /// Adds a small file that is to be read with others.
    pub fn push_small(&mut self, draft: Draft, stat: Stat, before: Before) {
        let number = self.left + self.waiting.len() as u64;
        let path = draft.path.clone();
        self.batch.push(Small {
            number,
            path,
            stat,
            before,
        });
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
            .map(|small| joined(means.base, &small.path))
            .collect();
        let answers = means.world.tree().read_many(paths, bytes_max).await;
        for (small, mut answer) in batch.into_iter().zip(answers) {
            let Small {
                number,
                path,
                stat: mut seen,
                before,
            } = small;
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
                    self.pack_file(means, number, &stat, &plain, before).await?;
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

    /// Finds a place for a small file: where its plaintext lies already, or in the open pack.
    pub async fn pack_file<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
        number: u64,
        stat: &Stat,
        plain: &[u8],
        before: Before,
    ) -> Result<(), SnapshotError> {
        let name = means.keys.lookup_name(plain);
        let is_rewritten = match before {
            Before::Nothing => false,
            Before::Small(before) => before != name,
            Before::Other => true,
        };
        self.moves.rewritten += u64::from(is_rewritten);
        let what = if plain.is_empty() {
            Made::Empty
        } else {
            self.place(means, name, plain, before == Before::Nothing)
                .await?
        };
        let at = usize::try_from(number - self.left).unwrap_or(usize::MAX);
        if let Some(draft) = self.waiting.get_mut(at) {
            draft.mark(stat, means.device);
            draft.what = what;
        }
        if ends_pack(&name, plain.len(), self.pack.len(), &means.sizes) {
            self.close_pack(means).await?;
        }
        Ok(())
    }

    async fn place<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
        name: [u8; 32],
        plain: &[u8],
        is_new_path: bool,
    ) -> Result<Made, SnapshotError> {
        let bytes = plain.len() as u64;
        if let Some(offset) = self.places.get(&name) {
            return Ok(Made::Packed {
                bytes,
                name,
                pack: None,
                offset: *offset,
            });
        }
        if let Some(place) = means.known.small(&name, plain.len()).await {
            self.moves.moved += u64::from(is_new_path);
            return Ok(Made::Packed {
                bytes,
                name,
                pack: Some(place.pack),
                offset: place.offset,
            });
        }
        if self.pack.len() + plain.len() > means.sizes.pack_bytes_max {
            self.close_pack(means).await?;
        }
        let offset = u32::try_from(self.pack.len()).expect("a pack is at most PACK_BYTES_MAX long");
        self.pack.extend_from_slice(plain);
        self.places.insert(name, offset);
        self.moves.packed += 1;
        Ok(Made::Packed {
            bytes,
            name,
            pack: None,
            offset,
        })
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
        let plain_bytes =
            u32::try_from(plain.len()).expect("a pack is at most PACK_BYTES_MAX long");
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
                    plain_bytes,
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

/// Whether a pack ends after this file. The files themselves decide, so that the packs behind a change are as they were.
fn ends_pack(name: &[u8; 32], file_bytes: usize, pack_bytes: usize, sizes: &Sizes) -> bool {
    let draw = u32::from_le_bytes([name[0], name[1], name[2], name[3]]);
    let mean = sizes.pack_bytes_max as u64 * 3 / 8;
    pack_bytes >= sizes.pack_bytes_max / 2 && (u64::from(draw) * mean) >> 32 < file_bytes as u64
}

fn weight(draft: &Draft) -> usize {
    let more = match &draft.what {
        Made::Pieces { pieces, .. } => pieces.len() * size_of::<MadePiece>(),
        Made::Symlink(target) => target.len(),
        Made::Dir | Made::Empty | Made::Packed { .. } | Made::ToRead | Made::Dropped => 0,
    };
    size_of::<Draft>() + draft.path.len() + more
}
