//! What can be retrieved: heads of every author, from every keeper in reach, with who has them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Service;
use super::views::{say_what_is_kept, snapshot_view};
use crate::console::control::SnapshotView;
use crate::format::head::SignedHead;
use crate::keeper::{Ask, Host, Keepers};
use crate::terms::{HeadHash, PeerKey, SnapshotNumber};
use crate::world::{Clock, World};

/// The newest snapshots of each author that are listed.
const LISTED_OF_EACH: u64 = 100;
/// A keeper that takes longer is left out.
const PATIENCE: Duration = Duration::from_secs(10);

type Found = BTreeMap<(PeerKey, SnapshotNumber, HeadHash), (SignedHead, Vec<PeerKey>)>;

impl<W: World> Service<W> {
    /// Everything that can be retrieved, newest first.
    pub async fn snapshots(&self) -> Vec<SnapshotView> {
        let mut found = Found::new();
        let keepers = self.keepers();
        for member in keepers.members() {
            let Some(keeper) = keepers.reach(member.key) else {
                continue;
            };
            // What a slow keeper did not tell in time is simply not listed as held there.
            let _ = self
                .world()
                .clock()
                .within(PATIENCE, list(&keeper, member.key, &mut found))
                .await;
        }
        found.retain(|(author, ..), _| self.is_ours(*author));
        let mut list: Vec<_> = found.into_values().collect();
        list.sort_by_key(|(signed, _)| std::cmp::Reverse((signed.head.taken, signed.head.number)));
        let roster = self.roster();
        let views = list.iter();
        let views = views.map(|(signed, holders)| {
            let view = snapshot_view(&roster, signed, holders);
            (view, signed.hash())
        });
        let mut views: Vec<_> = views.collect();
        self.mark_leaving(&mut views).await;
        let mut views: Vec<_> = views.into_iter().map(|(view, _)| view).collect();
        say_what_is_kept(&roster.retention(), &mut views);
        views
    }
}

async fn list<K: Ask>(keeper: &K, holder: PeerKey, found: &mut Found) {
    let Ok(newest) = keeper.heads(None, SnapshotNumber(0)).await else {
        return;
    };
    for head in newest {
        let author = head.head.author;
        let after = SnapshotNumber(head.head.number.0.saturating_sub(LISTED_OF_EACH));
        for signed in keeper.heads(Some(author), after).await.unwrap_or_default() {
            let place = (author, signed.head.number, signed.hash());
            let (_, holders) = found.entry(place).or_insert_with(|| (signed, Vec::new()));
            // Its author's own memory of a snapshot is no copy.
            if holder != author && !holders.contains(&holder) {
                holders.push(holder);
            }
        }
    }
}
