//! An author's history on this Box from its newest snapshot back, a page of heads in memory at a time.

use super::Service;
use crate::format::head::SignedHead;
use crate::terms::{PeerKey, SnapshotNumber};
use crate::world::World;

/// Heads looked at in one go.
const PAGE: u64 = 100;

/// An author's heads on this Box, newest first.
pub(super) struct Backwards {
    author: PeerKey,
    until: u64,
    page: Vec<SignedHead>,
    has_skipped: bool,
}

impl Backwards {
    pub(super) const fn from(author: PeerKey, newest: SnapshotNumber) -> Self {
        Self {
            author,
            until: newest.0,
            page: Vec::new(),
            has_skipped: false,
        }
    }

    /// Whether any could not be read so far.
    pub(super) const fn has_skipped(&self) -> bool {
        self.has_skipped
    }

    pub(super) async fn next<W: World>(&mut self, service: &Service<W>) -> Option<SignedHead> {
        loop {
            if let Some(head) = self.page.pop() {
                return Some(head);
            }
            if self.until == 0 {
                return None;
            }
            let after = self.until.saturating_sub(PAGE);
            let heads = service
                .store()
                .heads(Some(self.author), SnapshotNumber(after));
            match heads.await {
                Ok(mut heads) => {
                    heads.retain(|head| head.head.number.0 <= self.until);
                    self.page = heads;
                }
                Err(error) => {
                    self.has_skipped = true;
                    tracing::warn!(%error, "heads of older snapshots cannot be read");
                }
            }
            self.until = after;
        }
    }
}
