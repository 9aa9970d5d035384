//! What can be retrieved: heads of every author, from every keeper in reach, with who has them.

use super::Service;
use super::views::{name_of, say_what_is_kept, snapshot_view};
use crate::console::control::SnapshotsView;
use crate::keeper::Host;
use crate::retriever::Heads;
use crate::world::World;

/// The newest snapshots of each author that are listed.
const LISTED_OF_EACH: u64 = 100;

impl<W: World> Service<W> {
    /// Everything that can be retrieved, newest first. All are asked at once, and none is waited for long.
    pub async fn snapshots(&self) -> SnapshotsView {
        let heads = Heads::new(self.keepers(), self.world().clone());
        let held = heads.held(LISTED_OF_EACH).await;
        let mut list = held.heads;
        list.retain(|(signed, _)| self.is_ours(signed.head.author));
        list.sort_by_key(|(signed, _)| std::cmp::Reverse((signed.head.taken, signed.head.number)));
        let roster = self.roster();
        let views = list.iter();
        let views = views.map(|(signed, holders)| {
            let view = snapshot_view(&roster, signed, holders);
            (view, signed.hash())
        });
        let mut views: Vec<_> = views.collect();
        self.mark_leaving(&mut views).await;
        let mut snapshots: Vec<_> = views.into_iter().map(|(view, _)| view).collect();
        say_what_is_kept(&roster.retention(), &mut snapshots);
        let not_asked = held.missing.iter();
        SnapshotsView {
            snapshots,
            not_asked: not_asked.map(|peer| name_of(&roster, *peer)).collect(),
        }
    }
}
