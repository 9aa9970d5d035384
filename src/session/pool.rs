//! Memory for what peers send of their own accord, shared by all sessions; and the lease that stands for a part of it.
//!
//! Answers to our own questions are not counted here: whoever asks knows how much it asks for. A session that waits for the
//! pool stops reading and so slows its peer down; waiting sessions are served in turn. Small bodies have a guaranteed place.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::state::State;
use crate::terms::limits::RECEIVE_GUARANTEED_BYTES;

/// Whole KiB that hold so many bytes: semaphores count in them.
pub(super) fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// Room for bodies on their way in. Clones share it.
#[derive(Debug, Clone)]
pub struct Pool {
    room: Arc<Semaphore>,
    bytes: usize,
}

impl Pool {
    /// A pool of so many bytes; the service uses [`crate::terms::limits::RECEIVE_POOL_BYTES`].
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(bytes >> 10)),
            bytes: bytes >> 10 << 10,
        }
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes nobody has a lease of.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.room.available_permits() << 10
    }
}

/// One session's way into the pool, with the little that is its own.
pub(super) struct Room {
    pool: Pool,
    guaranteed: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(pool: &Pool) -> Self {
        Self {
            pool: pool.clone(),
            guaranteed: Arc::new(Semaphore::new(RECEIVE_GUARANTEED_BYTES >> 10)),
        }
    }

    /// Room for a body, at once from the session's own if it fits. `None` if no pool of this size could ever hold it.
    pub(super) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = kib(bytes);
        if let Ok(permit) = self.guaranteed.clone().try_acquire_many_owned(wanted) {
            return Some(permit);
        }
        if bytes > self.pool.bytes {
            return None;
        }
        let room = self.pool.room.clone();
        room.acquire_many_owned(wanted).await.ok()
    }
}

/// A part of the pool, held for one body. Dropping it gives it back, and gives the peer the credit to send as much again.
#[must_use = "a lease given back early lets the peer send before there is room"]
pub struct Lease {
    state: Rc<State>,
    permit: Option<OwnedSemaphorePermit>,
    credit_bytes: u32,
}

impl Lease {
    pub(super) fn new(
        state: Rc<State>,
        permit: Option<OwnedSemaphorePermit>,
        credit_bytes: u32,
    ) -> Self {
        Self {
            state,
            permit,
            credit_bytes,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.state.return_credit(self.credit_bytes);
    }
}
