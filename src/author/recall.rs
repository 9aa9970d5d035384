//! What keepers remember of an author that remembers nothing: a Box that goes on for another, or lost its own state.
//!
//! Without it such a Box would have nothing to compare its first snapshot with, and an empty directory would become `latest`.

use super::asked::AuthorIdentity;
use super::closure::manifest_of;
use super::numbers::Recalled;
use crate::format::head::SignedHead;
use crate::keeper::{Ask, Keepers};
use crate::terms::SnapshotNumber;

/// Heads that are looked through for an accepted one, behind the newest.
const BACK: u64 = 100;

/// The data sets of the newest accepted snapshot; `known` are the newest heads of this author and of those it goes on for.
pub(super) async fn recall<K: Keepers>(
    keepers: &K,
    identity: &AuthorIdentity,
    known: &[SignedHead],
) -> Recalled {
    let Some(newest) = known.iter().map(|head| head.head.number).max() else {
        return Recalled::Nothing;
    };
    let mut accepted: Vec<SignedHead> = known.to_vec();
    accepted.retain(|head| head.head.accepted);
    if accepted.is_empty() {
        accepted = earlier(keepers, identity, newest).await;
    }
    let Some(last) = accepted.iter().max_by_key(|head| head.head.number) else {
        return Recalled::Unknown;
    };
    match manifest_of(keepers, &identity.keyring, last).await {
        Ok(manifest) => Recalled::Sets(
            manifest
                .data_sets
                .into_iter()
                .map(|set| (set.name, set.files))
                .collect(),
        ),
        Err(error) => {
            tracing::warn!(%error, "what this Box's last snapshot held cannot be looked up: this one waits for a person");
            Recalled::Unknown
        }
    }
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
