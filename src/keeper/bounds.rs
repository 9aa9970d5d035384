//! What a store holds in memory now, and the most it ever may: for whoever wants to see that the bounds hold.

use super::store::Store;
use crate::terms::limits::{
    HEADS_MAX, MEMBERS_MAX, RECEIVE_GUARANTEED_BYTES, RECEIVE_POOL_BYTES, RECORD_BYTES_MAX,
    REQUESTS_OPEN_MAX, SEND_WINDOW_BYTES, TABLE_SETS_MAX,
};
use crate::world::World;

/// Records that are fetched from other keepers at once, and frames that are moved.
const FETCHED_MAX: usize = 16;

/// Writes that wait: what all peers may ask for at once, what this Box's author has on its way, and what is fetched.
const WAITING_MAX: usize = (MEMBERS_MAX + 1) * REQUESTS_OPEN_MAX + FETCHED_MAX;

/// One thing that is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounded {
    /// What is counted.
    pub what: &'static str,
    /// How many, or how much.
    pub now: u64,
    /// The most there may be.
    pub most: u64,
    /// Whether there is none when nobody does anything.
    pub ends: bool,
}

impl<W: World> Store<W> {
    /// All that a store bounds.
    #[must_use]
    pub fn bounded(&self) -> Vec<Bounded> {
        let state = self.inner().shared.state.borrow();
        let waiting = RECEIVE_POOL_BYTES
            + SEND_WINDOW_BYTES
            + MEMBERS_MAX * RECEIVE_GUARANTEED_BYTES
            + FETCHED_MAX * RECORD_BYTES_MAX;
        let stays = |what, now: usize, most: usize| Bounded {
            what,
            now: now as u64,
            most: most as u64,
            ends: false,
        };
        let ends = |what, now: usize, most: usize| Bounded {
            ends: true,
            ..stays(what, now, most)
        };
        let queued_bytes = usize::try_from(state.queued_bytes).unwrap_or(usize::MAX);
        vec![
            stays("chunks", state.table.chunks(), state.table.chunks_max()),
            stays("heads", state.heads.count(), HEADS_MAX),
            stays("sets of authors", state.sets.count(), TABLE_SETS_MAX),
            ends("bytes that wait to be written", queued_bytes, waiting),
            ends(
                "chunks that wait to be written",
                state.pending.len(),
                WAITING_MAX,
            ),
        ]
    }
}
