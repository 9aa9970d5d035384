//! What of snapshots is on no Box: chunks that nobody in reach had when a keeper was brought up to date, and which snapshots need any
//! of them. Memory is bounded; what does not fit is left out, never taken for lost.

use std::collections::BTreeSet;

use super::closure::{CatchUpError, Keyring};
use super::index_source::{IndexSource, Sought};
use crate::format::head::SignedHead;
use crate::keeper::Keepers;
use crate::terms::ChunkId;

/// Chunks that are noted while one keeper is brought up to date.
const NOWHERE_MAX: usize = 1024;
/// Parts of indexes that are known to need nothing lost: half a mebibyte of names. Forgets when it is full.
const WALKED_MAX: usize = 16_384;

/// Chunks that are on no Box.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nowhere {
    chunks: BTreeSet<ChunkId>,
    /// Of others it could not be told, since somebody did not answer.
    some_unknown: bool,
}

impl Nowhere {
    /// Not everything was looked for to the end.
    pub const fn unsure(&mut self) {
        self.some_unknown = true;
    }

    /// What came of looking for a chunk; the first ones are noted, as far as there is room.
    pub(super) fn note(&mut self, id: ChunkId, sought: &Sought) {
        match sought {
            Sought::Found(_) => {}
            Sought::Unknown => self.some_unknown = true,
            Sought::Nowhere if self.chunks.len() < NOWHERE_MAX => {
                self.chunks.insert(id);
            }
            Sought::Nowhere => {}
        }
    }

    /// All of them; none if of some it could not be told.
    #[must_use]
    pub fn known(self) -> Option<BTreeSet<ChunkId>> {
        (!self.some_unknown).then_some(self.chunks)
    }
}

/// Looks into one author's snapshots, one after the other, for chunks that are lost. Snapshots share most of their indexes: each
/// part is looked into once.
#[derive(Debug)]
pub struct Lacks<'a> {
    lost: &'a BTreeSet<ChunkId>,
    /// Nothing below these is lost.
    whole: BTreeSet<ChunkId>,
    /// Something below these is.
    lacking: BTreeSet<ChunkId>,
}

/// A step of the walk.
enum Visit {
    /// Look into a part so high above pages.
    Enter(ChunkId, u8),
    /// All below this was looked into.
    Leave(ChunkId),
}

impl<'a> Lacks<'a> {
    /// Looks for these.
    #[must_use]
    pub const fn of(lost: &'a BTreeSet<ChunkId>) -> Self {
        Self {
            lost,
            whole: BTreeSet::new(),
            lacking: BTreeSet::new(),
        }
    }

    /// Whether a snapshot needs any of them. What hides behind a part of its index that nobody has is lost with that.
    ///
    /// # Errors
    /// If it is not known, since a part of its index cannot be used, or may be on a Box that does not answer.
    pub async fn is_in<K: Keepers>(
        &mut self,
        keepers: &K,
        keyring: &Keyring,
        head: &SignedHead,
    ) -> Result<bool, CatchUpError> {
        let index = IndexSource::new(keepers, keyring, head.head.author);
        match self.looked_into(&index, head).await {
            Err(CatchUpError::Missing(id)) => match index.sought(id, None).await {
                Sought::Nowhere => Ok(true),
                Sought::Found(_) | Sought::Unknown => Err(CatchUpError::Missing(id)),
            },
            looked => looked,
        }
    }

    async fn looked_into<K: Keepers>(
        &mut self,
        index: &IndexSource<'_, K>,
        head: &SignedHead,
    ) -> Result<bool, CatchUpError> {
        if self.lost.contains(&head.head.manifest) {
            return Ok(true);
        }
        let manifest = index.manifest(head.head.manifest).await?;
        let sets = manifest.data_sets.iter();
        let mut steps: Vec<_> = sets.map(|set| Visit::Enter(set.root, set.level)).collect();
        while let Some(step) = steps.pop() {
            let (id, level) = match step {
                Visit::Leave(id) => {
                    remember(&mut self.whole, id);
                    continue;
                }
                Visit::Enter(id, _) if self.whole.contains(&id) => continue,
                Visit::Enter(id, level) => (id, level),
            };
            let mut is_lost = self.lost.contains(&id) || self.lacking.contains(&id);
            if !is_lost {
                steps.push(Visit::Leave(id));
                if level == 0 {
                    let chunks = index.page(id).await?.chunks;
                    is_lost = chunks.iter().any(|chunk| self.lost.contains(chunk));
                } else {
                    let node = index.node(id, level).await?;
                    let below = node.children.iter();
                    steps.extend(below.map(|child| Visit::Enter(child.id, level - 1)));
                }
            }
            if is_lost {
                for above in steps {
                    if let Visit::Leave(above) = above {
                        remember(&mut self.lacking, above);
                    }
                }
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn remember(walked: &mut BTreeSet<ChunkId>, id: ChunkId) {
    if walked.len() == WALKED_MAX {
        walked.clear();
    }
    walked.insert(id);
}
