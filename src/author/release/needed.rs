//! What is needed of all snapshots that stay: the first twelve bytes of each name in their closures, in order, on this Box's own disk.
//!
//! Snapshots share nearly all of their indexes, so they are walked through side by side, from the roots down: of each level the names are
//! sorted, and each part is read once. Memory does not grow with how many snapshots or chunks there are. If one part cannot be had there
//! is no list at all.

use super::sorted::{Sorted, Sorter};
use super::{Progress, ReleaseError};
use crate::author::closure::{CatchUpError, Keyring};
use crate::author::index_source::IndexSource;
use crate::format::compare::{PREFIX_BYTES, Prefix};
use crate::format::head::Manifest;
use crate::format::malformed;
use crate::keeper::Keepers;
use crate::terms::canary::{self, Canary};
use crate::terms::limits::TREE_HEIGHT_MAX;
use crate::terms::{ChunkId, SnapshotNumber};
use crate::world::Disk;

/// Parts of indexes fetched at once: half a mebibyte each at most, seldom more than a tenth of that.
const AT_ONCE: usize = 4;

/// Names of needed chunks, in order.
pub type Needed<D> = Sorted<D, PREFIX_BYTES>;

/// A list of what is needed in the making.
pub struct NeededBuilder<'a, D: Disk, K: Keepers> {
    index: IndexSource<'a, K>,
    /// Names of nodes by their levels; at 0 of pages.
    levels: Vec<Sorter<D, 32>>,
    needed: Sorter<D, PREFIX_BYTES>,
    progress: &'a Progress,
}

/// The first bytes of a name.
#[must_use]
pub fn prefix_of(id: &ChunkId) -> Prefix {
    let mut prefix = Prefix::default();
    prefix.copy_from_slice(&id.0[..PREFIX_BYTES]);
    prefix
}

impl<'a, D: Disk, K: Keepers> NeededBuilder<'a, D, K> {
    /// An empty one; `id` is random.
    pub fn new(
        disk: &D,
        id: u64,
        keepers: &'a K,
        keyring: &'a Keyring,
        progress: &'a Progress,
    ) -> Self {
        progress.parts.set(0);
        progress.parts_all.set(None);
        let level = |level: u8| Sorter::new(disk.clone(), &format!("level-{level}"), id);
        Self {
            index: IndexSource::new(keepers, keyring, keepers.me()),
            levels: (0..=TREE_HEIGHT_MAX).map(level).collect(),
            needed: Sorter::new(disk.clone(), "needed", id),
            progress,
        }
    }

    /// The manifest of the snapshot with this number.
    pub async fn manifest(
        &mut self,
        id: ChunkId,
        number: SnapshotNumber,
    ) -> Result<Manifest, CatchUpError> {
        self.count(1);
        let manifest = self.index.manifest(id).await?;
        if manifest.number != number {
            return Err(malformed("manifest", "it is of another snapshot").into());
        }
        Ok(manifest)
    }

    /// All of this snapshot is needed.
    pub async fn add(&mut self, id: ChunkId, manifest: &Manifest) -> Result<(), ReleaseError> {
        self.needed.push(prefix_of(&id)).await?;
        for set in &manifest.data_sets {
            let level = self.levels.get_mut(usize::from(set.level));
            // A manifest with another one was refused when it was read.
            let level = level.ok_or(ReleaseError::TooHigh)?;
            level.push(set.root.0).await?;
        }
        Ok(())
    }

    /// Walks through all that was added.
    pub async fn finish(mut self) -> Result<Needed<D>, ReleaseError> {
        while let Some(level) = self.levels.pop() {
            let height = u8::try_from(self.levels.len()).unwrap_or(u8::MAX);
            let names = level.finish().await?;
            if height == 0 {
                // Nothing comes below them.
                let parts = self.progress.parts.get();
                self.progress.parts_all.set(Some(parts + names.about()));
            }
            let mut reader = names.reader();
            loop {
                let mut some = Vec::with_capacity(AT_ONCE);
                while some.len() < AT_ONCE
                    && let Some(id) = reader.next().await?
                {
                    some.push(ChunkId(id));
                }
                if some.is_empty() {
                    break;
                }
                self.count(some.len() as u64);
                self.walk(height, &some).await?;
            }
        }
        Ok(self.needed.finish().await?)
    }

    /// Takes in what these nodes, or pages, name.
    async fn walk(&mut self, height: u8, ids: &[ChunkId]) -> Result<(), ReleaseError> {
        if height == 0 {
            let page = async |at: usize| match ids.get(at) {
                Some(id) if !is_overlooked(id) => {
                    self.index.page(*id).await.map(|page| page.chunks)
                }
                Some(_) | None => Ok(Vec::new()),
            };
            let (a, b, c, d) = tokio::join!(page(0), page(1), page(2), page(3));
            for chunks in [a, b, c, d] {
                for id in chunks? {
                    self.needed.push(prefix_of(&id)).await?;
                }
            }
        } else {
            let node = async |at: usize| match ids.get(at) {
                Some(id) => self.index.node(*id, height).await.map(|node| node.children),
                None => Ok(Vec::new()),
            };
            let (a, b, c, d) = tokio::join!(node(0), node(1), node(2), node(3));
            let below = usize::from(height - 1);
            for children in [a, b, c, d] {
                for child in children? {
                    self.levels[below].push(child.id.0).await?;
                }
            }
        }
        for id in ids {
            self.needed.push(prefix_of(id)).await?;
        }
        Ok(())
    }

    fn count(&mut self, more: u64) {
        let parts = &self.progress.parts;
        parts.set(parts.get() + more);
    }
}

/// A mistake made on purpose.
fn is_overlooked(page: &ChunkId) -> bool {
    canary::sings(Canary::ForgetNeededPage) && page.0[0].is_multiple_of(3)
}

impl From<(SnapshotNumber, CatchUpError)> for ReleaseError {
    fn from((number, why): (SnapshotNumber, CatchUpError)) -> Self {
        Self::Unreadable { number, why }
    }
}
