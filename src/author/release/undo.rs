//! Taking back what was let go and is not effective yet: the author says the heads again, which cancels all that waits at a keeper.

use super::forgotten::Forgotten;
use super::history::{History, each_head};
use super::{Means, ReleaseError, waiting};
use crate::author::numbers::State;
use crate::format::head::SignedHead;
use crate::keeper::{Ask, AskError, Keepers};
use crate::terms::PeerKey;
use crate::world::World;

/// What became of what waited at a keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// Nothing waited there.
    NothingWaited,
    /// All of it stays.
    All,
    /// Chunks wait there of which no head could be said again: they stay as soon as they are claimed again.
    ChunksWait,
}

/// Takes back all that was let go, durably, before anybody hears of it. Heads that only others list are told to this Box's own keeper, so
/// that it sees to their copies again. Gives the keepers at which something may wait: each is to be asked with [`cancel`].
///
/// # Errors
/// If this Box's own disk fails.
pub async fn undo<W: World, K: Keepers>(
    means: &Means<'_, W, K>,
) -> Result<Vec<PeerKey>, ReleaseError> {
    let disk = means.world.disk();
    let state = State::load(disk).await?;
    let history = History::collect(means.keepers, &state).await;
    let mut forgotten = Forgotten::load(disk).await?;
    let gone = history.snapshots().iter();
    let gone = gone.filter(|known| forgotten.has(known.number, &known.hash));
    let me = means.keepers.me();
    let missing: Vec<_> = gone
        .filter(|known| !history.lists(me, known))
        .map(|known| known.hash)
        .collect();
    let keepers: Vec<PeerKey> = means.keepers.members().iter().map(|one| one.key).collect();
    forgotten.take_back(|_| true);
    forgotten.is_to_cancel(&keepers);
    forgotten.store(disk).await?;
    let own = means.keepers.reach(me).filter(|_| !missing.is_empty());
    let Some(own) = own else {
        return Ok(keepers);
    };
    for peer in &keepers {
        let Some(keeper) = means.keepers.reach(*peer) else {
            continue;
        };
        let mut heads: Vec<SignedHead> = Vec::new();
        each_head(&keeper, me, |head| {
            if missing.contains(&head.hash()) {
                heads.push(head.clone());
            }
        })
        .await;
        for head in heads {
            if let Err(error) = own.put_head(head).await {
                tracing::warn!(%error, "a snapshot that stays after all could not be noted here");
            }
        }
    }
    Ok(keepers)
}

/// Has a keeper keep all that waits there, and notes that it was told.
///
/// # Errors
/// As it answers: it is to be asked again. Or if this Box's own disk fails.
pub async fn cancel<W: World, K: Keepers>(
    means: &Means<'_, W, K>,
    peer: PeerKey,
) -> Result<Result<Cancelled, AskError>, ReleaseError> {
    let Some(keeper) = means.keepers.reach(peer) else {
        return Ok(Err(AskError::Gone));
    };
    let cancelled = cancel_at(&keeper, means.keepers.me()).await;
    if cancelled.is_ok() {
        let disk = means.world.disk();
        let mut forgotten = Forgotten::load(disk).await?;
        forgotten.was_cancelled(peer);
        forgotten.store(disk).await?;
    }
    Ok(cancelled)
}

async fn cancel_at<A: Ask>(keeper: &A, me: PeerKey) -> Result<Cancelled, AskError> {
    let Some(group) = waiting(keeper).await? else {
        return Ok(Cancelled::NothingWaited);
    };
    let mut heads: Vec<SignedHead> = Vec::new();
    let all_told = each_head(keeper, me, |head| {
        if group.numbers.has(head.head.number) {
            heads.push(head.clone());
        }
    });
    if !all_told.await {
        return Err(AskError::Gone);
    }
    // The first says it for all of them; the others only if that is not so.
    for head in heads {
        keeper.put_head(head).await?;
        if waiting(keeper).await?.is_none() {
            return Ok(Cancelled::All);
        }
    }
    Ok(Cancelled::ChunksWait)
}
