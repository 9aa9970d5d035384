//! Files whose file system says that they are empty. Those of the kernel and of some FUSE file systems say so although they have
//! contents, so one byte is asked for.

use super::super::again::Tries;
use super::super::draft::{Draft, Made};
use super::super::error::SnapshotError;
use super::super::kinds;
use super::super::walk::joined;
use super::SetWalk;
use crate::keeper::Keepers;
use crate::world::{Stat, Tree, World};

impl<W: World, K: Keepers> SetWalk<'_, W, K> {
    /// Takes an empty file; one that has bytes after all is read to its end.
    pub(super) async fn read_said_empty(
        &mut self,
        path: Vec<u8>,
        stat: &Stat,
        old: Option<Draft>,
    ) -> Result<(), SnapshotError> {
        let (tree, base) = (&self.means.tree, self.means.base);
        let mut tries = Tries::default();
        let looked = loop {
            match tree.read_many(vec![joined(base, &path)], 1).await.pop() {
                Some(Err(reason)) if self.means.again.wait(&mut tries, &reason).await => {}
                looked => break looked,
            }
        };
        if matches!(looked, Some(Ok(_))) {
            self.means.again.helped(&mut tries);
        }
        if matches!(&looked, Some(Ok(whole)) if !whole.bytes.is_empty()) {
            return self.read_large(path, old).await;
        }
        let had_bytes = old.is_some_and(|old| old.file_bytes() != Some(0));
        self.moves.rewritten += u64::from(had_bytes);
        let mut draft = Draft::new(path, stat, self.means.device, Made::Empty);
        let notes = &mut self.notes;
        let mut tell = |path: &[u8], reason: &str| notes.unread(path, reason);
        match looked {
            Some(Ok(whole)) => kinds::give_xattrs(&mut draft, whole.xattrs, &mut tell),
            // Nothing of it need be read, but its attributes must be known.
            Some(Err(_)) | None => kinds::take_xattrs(tree, base, &mut draft, &mut tell).await,
        }
        self.gather.push(draft);
        Ok(())
    }
}
