//! What can be retrieved: heads of every author, from every keeper in reach, with who has them, and what may be expected of the
//! data sets in them.

use std::time::Duration;

use super::Service;
use super::find::manifest_of;
use super::views::{name_of, say_what_is_kept, snapshot_view};
use crate::console::consistency;
use crate::console::control::{DataSetView, SnapshotsView};
use crate::format::head::SignedHead;
use crate::keeper::Host;
use crate::retriever::{Heads, Source};
use crate::terms::Kind;
use crate::world::{Clock, World};

/// The newest snapshots of each author that are listed.
const LISTED_OF_EACH: u64 = 100;
/// The newest snapshots of all authors that are looked into. What was seen is remembered.
const LOOKED_INTO_MAX: usize = 256;
/// The list waits no longer for what is in them,
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
/// nor for what is in one: those behind it may be nearer.
const LOOK_AT_ONE_PATIENCE: Duration = Duration::from_millis(400);

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
            let (mut view, hash) = (snapshot_view(&roster, signed, holders), signed.hash());
            view.is_lacking = self.0.lacking.borrow().is_in(signed.head.author, &hash);
            (view, hash)
        });
        let mut views: Vec<_> = views.collect();
        let heads = list.iter().map(|(signed, _)| signed);
        self.look_into(heads.take(LOOKED_INTO_MAX)).await;
        for (view, hash) in &mut views {
            view.data_sets = self.0.data_sets.borrow().get(hash).cloned();
        }
        self.mark_leaving(&mut views).await;
        let mut snapshots: Vec<_> = views.into_iter().map(|(view, _)| view).collect();
        say_what_is_kept(&roster.retention(), &mut snapshots);
        let not_asked = held.missing.iter();
        SnapshotsView {
            snapshots,
            not_asked: not_asked.map(|peer| name_of(&roster, *peer)).collect(),
        }
    }

    /// Learns which data sets snapshots have, as far as that is to be had soon. Only what is listed now is remembered.
    async fn look_into(&self, heads: impl Iterator<Item = &SignedHead> + Clone) {
        let listed: Vec<_> = heads.clone().map(SignedHead::hash).collect();
        let known = &self.0.data_sets;
        known.borrow_mut().retain(|hash, _| listed.contains(hash));
        let looking = async {
            for signed in heads {
                let hash = signed.hash();
                if known.borrow().contains_key(&hash) {
                    continue;
                }
                if let Some(sets) = self.data_set_views(signed).await {
                    known.borrow_mut().insert(hash, sets);
                }
            }
        };
        self.world().clock().within(LOOK_PATIENCE, looking).await;
    }

    /// The data sets of a snapshot, without the names of what is not surely in them.
    async fn data_set_views(&self, signed: &SignedHead) -> Option<Vec<DataSetView>> {
        let gather = self.gather();
        let fetching = gather.fetch(signed.head.manifest, Kind::Manifest);
        let clock = self.world().clock();
        let bytes = clock.within(LOOK_AT_ONE_PATIENCE, fetching).await?;
        let mut sets = consistency::data_sets(&manifest_of(signed, &bytes.ok()?)?);
        sets.iter_mut().for_each(|set| set.unread.clear());
        Some(sets)
    }
}
