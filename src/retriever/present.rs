//! What is in the target already, and what becomes of it: it stays, or it goes.

use std::io;

use super::Source;
use super::files::{IN_NO_DIR, OpenDir, Work};
use crate::world::{FileKind, Tree, World};

/// What may be in the target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// Nothing: the target was empty.
    Nothing,
    /// Things that must stay.
    Stays,
    /// Things that may be replaced by files of the same name.
    MayGo,
}

impl<W: World, S: Source> Work<W, S> {
    /// Whether a thing may get this name; what keeps it from that is noted.
    pub(super) async fn may_be_made(&self, path: &[u8]) -> bool {
        if self.existing == Existing::Nothing {
            return true;
        }
        let found = self
            .world
            .tree()
            .stat_below(&self.root, vec![path.to_vec()]);
        match found.await.pop() {
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => true,
            Some(Ok(stat)) if stat.kind != FileKind::Dir => {
                if self.existing == Existing::MayGo {
                    return true;
                }
                self.report.borrow_mut().stayed(path);
                false
            }
            Some(Err(error)) => {
                self.fail(path, &self.words_for(&error));
                false
            }
            Some(Ok(_)) | None => {
                self.fail(
                    path,
                    "a directory of that name is there; it was left as it is",
                );
                false
            }
        }
    }

    /// Whether a thing that cannot replace another may be made, which is taken away if it may go. What keeps it from that is noted.
    pub(super) async fn make_way(&self, dir: &OpenDir, path: &[u8]) -> bool {
        if !dir.usable {
            self.fail(path, IN_NO_DIR);
            return false;
        }
        if !self.may_be_made(path).await {
            return false;
        }
        if self.existing == Existing::MayGo {
            // Whatever is in the way by now is told by the call that makes the new one.
            let _ = self.world.tree().remove_below(&self.root, path).await;
        }
        true
    }
}
