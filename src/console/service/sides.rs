//! What the sides of a conflict hold, for people: asked of everybody in reach.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Service;
use super::views::{name_of, snapshot_id, snapshot_view};
use crate::author;
use crate::console::control::{ConflictView, SideSet, SideView};
use crate::format::head::{DataSet, Manifest, SignedHead};
use crate::keeper::{Ask, Host, Keepers};
use crate::monitor::{Conflict, Disagreement, Judged, Side, judge};
use crate::retriever::Heads;
use crate::terms::{HeadHash, PeerKey, SnapshotNumber};
use crate::world::{Clock, World};

/// Heads of one author that are looked through.
const LOOKED_THROUGH_MAX: usize = 2_000;
/// What cannot be had within this time is not shown.
const PATIENCE: Duration = Duration::from_secs(10);
/// Counting copies asks for each chunk.
const COUNTING_PATIENCE: Duration = Duration::from_secs(60);

/// What is known of an author with snapshots that bear one number.
pub struct Found {
    /// The author.
    pub author: PeerKey,
    heads: Vec<SignedHead>,
    /// What they come to.
    pub judged: Judged,
}

impl Found {
    /// A head by its hash.
    pub fn head(&self, hash: &HeadHash) -> Option<&SignedHead> {
        self.heads.iter().find(|head| head.hash() == *hash)
    }
}

impl<W: World> Service<W> {
    /// Authors with snapshots that bear one number, as everybody in reach knows them.
    pub(super) async fn histories(&self) -> Vec<Found> {
        let heads = Heads::new(self.keepers(), self.world().clone());
        let newest = heads.of_all_authors().await.heads;
        let mut authors: BTreeSet<PeerKey> = self
            .store()
            .doubled_numbers()
            .into_iter()
            .map(|(author, _)| author)
            .collect();
        let doubled = newest.windows(2).filter(|two| {
            let [one, other] = [&two[0].head, &two[1].head];
            (one.author, one.number) == (other.author, other.number)
        });
        authors.extend(doubled.map(|two| two[0].head.author));
        authors.retain(|author| self.is_ours(*author));
        let mut found = Vec::new();
        for author in authors {
            let heads = heads.of(author, LOOKED_THROUGH_MAX).await.heads;
            let judged = judge(&heads, &self.roster().choices(author));
            found.push(Found {
                author,
                heads,
                judged,
            });
        }
        found
    }

    /// All conflicts there are, what is open first.
    pub async fn conflicts(&self) -> Vec<ConflictView> {
        let mut views = Vec::new();
        for found in self.histories().await {
            for conflict in found.judged.conflicts.iter().rev() {
                views.push(self.conflict_view(&found, conflict).await);
            }
        }
        views.sort_by_key(|view| !view.open);
        views
    }

    async fn conflict_view(&self, found: &Found, conflict: &Conflict) -> ConflictView {
        let mut sides = Vec::new();
        let mut sets_of_sides = Vec::new();
        for side in &conflict.sides {
            let Some(signed) = found.head(&side.head) else {
                continue;
            };
            sides.push(self.side_view(side, signed).await);
            sets_of_sides.push(self.data_sets_of(signed).await);
        }
        for (side, sets) in sides.iter_mut().zip(&sets_of_sides) {
            let shown = |set: &DataSet| SideSet {
                name: set.name.to_string(),
                files: set.files,
                bytes: set.bytes,
                alike: is_alike(set, &sets_of_sides),
            };
            side.data_sets = sets.as_ref().map(|sets| sets.iter().map(shown).collect());
        }
        let roster = self.roster();
        let undisputed = found.judged.undisputed.filter(|_| conflict.is_open());
        let undisputed = undisputed.as_ref().and_then(|hash| found.head(hash));
        ConflictView {
            author: name_of(&roster, found.author),
            author_key: found.author.to_string(),
            from: conflict.from.0,
            until: conflict.until.0,
            open: conflict.is_open(),
            chosen_on: roster
                .chosen_by(found.author)
                .map(|by| name_of(&roster, by)),
            sides,
            undisputed: undisputed.map(snapshot_id),
            reason: Disagreement::HeadsOfOneNumber.reason().into(),
        }
    }

    async fn side_view(&self, side: &Side, signed: &SignedHead) -> SideView {
        let holders = self.holders_of(signed).await;
        let keepers = self.patient();
        let keyring = self.keyring();
        let counting = author::copies_of(&keepers, &keyring, signed);
        let counted = self.world().clock().within(COUNTING_PATIENCE, counting);
        let copies = counted.await.and_then(Result::ok);
        SideView {
            snapshot: snapshot_view(&self.roster(), signed, &holders),
            stance: side.stance.name().into(),
            data_sets: None,
            copies: copies.map(|copies| copies as u64),
        }
    }

    /// Boxes in reach that have a head. Its author's own memory of it is no copy.
    async fn holders_of(&self, signed: &SignedHead) -> Vec<PeerKey> {
        let (author, number) = (signed.head.author, signed.head.number);
        let before = SnapshotNumber(number.0.saturating_sub(1));
        let keepers = self.keepers();
        let mut holders = Vec::new();
        for member in keepers.members() {
            let Some(keeper) = keepers.reach(member.key).filter(|_| member.key != author) else {
                continue;
            };
            let asking = keeper.heads(Some(author), before);
            let told = self.world().clock().within(PATIENCE, asking).await;
            if matches!(told, Some(Ok(heads)) if heads.contains(signed)) {
                holders.push(member.key);
            }
        }
        holders
    }

    async fn data_sets_of(&self, signed: &SignedHead) -> Option<Vec<DataSet>> {
        let (keepers, keyring) = (self.patient(), self.keyring());
        let fetching = author::manifest_of(&keepers, &keyring, signed);
        let manifest = self.world().clock().within(PATIENCE, fetching).await?;
        let Manifest { data_sets, .. } = manifest.ok()?;
        Some(data_sets)
    }
}

/// Whether all sides have this data set exactly alike; not known if one of them cannot be looked into.
fn is_alike(set: &DataSet, sides: &[Option<Vec<DataSet>>]) -> Option<bool> {
    let mut all = true;
    for side in sides {
        let same = |other: &DataSet| (&other.name, other.root) == (&set.name, set.root);
        all &= side.as_ref()?.iter().any(same);
    }
    Some(all)
}
