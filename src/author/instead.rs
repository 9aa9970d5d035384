//! Where a person chose between snapshots of this Box, and not the ones it remembers: what it goes on from instead.
//!
//! Without it each of its later snapshots would descend from what was set aside, and none would stand for `latest`.

use std::collections::BTreeSet;

use super::asked::AuthorIdentity;
use crate::format::head::SignedHead;
use crate::keeper::{Ask, Keepers};
use crate::monitor::{Latest, judge, judged_after};
use crate::terms::SnapshotNumber;
use crate::terms::limits::HEADS_MAX;

/// Pages of heads that one keeper may tell.
const PAGES_MAX: usize = HEADS_MAX / 100;

/// The head that stands, if the last one this Box signed was set aside. While nobody in reach has it, nothing.
pub(super) async fn instead_of<K: Keepers>(
    keepers: &K,
    identity: &AuthorIdentity,
    last: Option<&SignedHead>,
) -> Option<SignedHead> {
    let last = last?;
    let after = judged_after(last.head.number, &identity.choices);
    if identity.choices.iter().all(|choice| choice.number <= after) {
        return None;
    }
    let mut heads = since(keepers, identity, after).await;
    heads.push(last.clone());
    let judged = judge(&heads, &identity.choices);
    match judged.latest {
        Latest::Stands(standing) if judged.is_set_aside(&last.hash()) => {
            heads.into_iter().find(|head| head.hash() == standing)
        }
        Latest::Stands(_) | Latest::Nothing | Latest::Disputed(_) | Latest::Unseen(_) => None,
    }
}

/// This Box's heads after a number, from whoever can be reached.
async fn since<K: Keepers>(
    keepers: &K,
    identity: &AuthorIdentity,
    after: SnapshotNumber,
) -> Vec<SignedHead> {
    let me = identity.peer();
    let mut known = BTreeSet::new();
    let mut found: Vec<SignedHead> = Vec::new();
    for member in keepers.members() {
        let Some(keeper) = keepers.reach(member.key) else {
            continue;
        };
        let mut after = after;
        for _ in 0..PAGES_MAX {
            let Ok(heads) = keeper.heads(Some(me), after).await else {
                break;
            };
            let newest = heads.iter().map(|head| head.head.number).max();
            let Some(newest) = newest.filter(|newest| *newest > after) else {
                break;
            };
            after = newest;
            for head in heads {
                if head.head.author == me && known.insert(head.hash()) {
                    found.push(head);
                }
            }
        }
    }
    found
}
