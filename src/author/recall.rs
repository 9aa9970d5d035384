//! What keepers know of an author's own history: its newest heads, and the last of them that was accepted.
//!
//! A Box that goes on for another, or lost its own state, has nothing else to compare its first snapshot with: without it an
//! empty directory would become `latest`.

use super::asked::AuthorIdentity;
use super::closure::manifest_of;
use super::numbers::Recalled;
use crate::format::head::{Manifest, SignedHead};
use crate::keeper::{Ask, Keepers};
use crate::terms::SnapshotNumber;

/// Heads that are looked through for an accepted one, behind the newest.
const BACK: u64 = 100;

/// The last accepted snapshot, as far as keepers in reach know.
pub(super) enum LastAccepted {
    /// Nobody knows of any snapshot.
    Nothing,
    /// There are snapshots, and none of those that can be looked at was accepted.
    Unknown,
    /// This one.
    Head(Box<SignedHead>),
}

/// The newest head of this author, and of those it continues, on every keeper that can be reached.
pub(super) async fn newest_heads<K: Keepers>(
    keepers: &K,
    identity: &AuthorIdentity,
) -> Vec<SignedHead> {
    let is_mine = |head: &SignedHead| identity.line.contains(&head.head.author);
    let mut known = Vec::new();
    for member in keepers.members() {
        let Some(keeper) = keepers.reach(member.key) else {
            continue;
        };
        if let Ok(heads) = keeper.heads(None, SnapshotNumber(0)).await {
            known.extend(heads.into_iter().filter(is_mine));
        }
    }
    known
}

/// The newest accepted one; `known` are the newest heads of this author and of those it goes on for.
pub(super) async fn last_accepted<K: Keepers>(
    keepers: &K,
    identity: &AuthorIdentity,
    known: &[SignedHead],
) -> LastAccepted {
    let Some(newest) = known.iter().map(|head| head.head.number).max() else {
        return LastAccepted::Nothing;
    };
    let mut accepted: Vec<SignedHead> = known.to_vec();
    accepted.retain(|head| head.head.accepted);
    if accepted.is_empty() {
        accepted = earlier(keepers, identity, newest).await;
    }
    let last = accepted.into_iter().max_by_key(|head| head.head.number);
    last.map_or(LastAccepted::Unknown, |head| {
        LastAccepted::Head(Box::new(head))
    })
}

/// The data sets of the last accepted snapshot.
pub(super) async fn recall<K: Keepers>(
    keepers: &K,
    identity: &AuthorIdentity,
    known: &[SignedHead],
) -> Recalled {
    let last = match last_accepted(keepers, identity, known).await {
        LastAccepted::Nothing => return Recalled::Nothing,
        LastAccepted::Unknown => return Recalled::Unknown,
        LastAccepted::Head(last) => last,
    };
    match manifest_of(keepers, &identity.keyring, &last).await {
        Ok(manifest) => recalled(&manifest),
        Err(error) => {
            tracing::warn!(%error, "what this Box's last snapshot held cannot be looked up: this one waits for a person");
            Recalled::Unknown
        }
    }
}

/// What a manifest says of its data sets.
pub(super) fn recalled(manifest: &Manifest) -> Recalled {
    let sets = manifest.data_sets.iter();
    Recalled::Sets(sets.map(|set| (set.name.clone(), set.files)).collect())
}

/// Accepted heads of some snapshots before this one, from whoever can be reached.
async fn earlier<K: Keepers>(
    keepers: &K,
    identity: &AuthorIdentity,
    newest: SnapshotNumber,
) -> Vec<SignedHead> {
    let after = SnapshotNumber(newest.0.saturating_sub(BACK));
    let mut found = Vec::new();
    for member in keepers.members() {
        let Some(keeper) = keepers.reach(member.key) else {
            continue;
        };
        for author in &identity.line {
            if let Ok(heads) = keeper.heads(Some(*author), after).await {
                let accepted = heads.into_iter().filter(|head| head.head.accepted);
                found.extend(accepted.filter(|head| head.head.author == *author));
            }
        }
    }
    found
}
