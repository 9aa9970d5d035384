//! What is in the snapshot as it was before: it cannot be read any more, or its disk damaged it.

use std::io;

use super::super::draft::{Draft, TO_READ_AGAIN};
use super::super::error::SnapshotError;
use super::super::{kinds, rot};
use super::SetWalk;
use crate::keeper::Keepers;
use crate::world::{Stat, World};

impl<W: World, K: Keepers> SetWalk<'_, W, K> {
    /// Whether a file is known to have rotted and was not written since. Then it is told, and the good version stays.
    pub(super) async fn is_rotten(&mut self, old: &Draft, stat: &Stat) -> bool {
        let is_so = self.common.rotten.has(&self.config.name, &old.path, stat)
            && old.mtime == stat.mtime
            && old.file_bytes() == Some(stat.size)
            && self.is_trusted(old)
            && self.is_whole(old).await;
        if is_so {
            self.notes.unread(&old.path, rot::WHY);
        }
        is_so
    }

    /// What cannot be looked at, and all below it, is in the snapshot as it was before.
    pub(super) async fn stand_in(
        &mut self,
        path: &[u8],
        reason: &io::Error,
    ) -> Result<(), SnapshotError> {
        let mut stands = false;
        if kinds::is_unreadable(reason) {
            while let Some(old) = self.before.next_within(path).await {
                if self.is_trusted(&old) {
                    stands = true;
                    self.push_as_it_was(old).await?;
                }
            }
        }
        let told = if stands {
            kinds::as_it_was(reason)
        } else {
            reason.to_string()
        };
        self.notes.unread(path, &told);
        Ok(())
    }

    /// Whether keepers have, as far as is known, what an entry is made of.
    pub(super) fn is_trusted(&self, old: &Draft) -> bool {
        let trust = self.common.trust;
        old.refs()
            .all(|chunk| !trust.distrusted.contains(&chunk.id))
    }

    pub(super) async fn push_as_it_was(&mut self, mut old: Draft) -> Result<(), SnapshotError> {
        old.ctime = TO_READ_AGAIN;
        self.gather.push(old);
        self.gather.settle(&self.means).await
    }
}
