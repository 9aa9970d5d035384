//! The pool of buffers for direct reads and writes: a fixed number, allocated once, handed out in the order asked.
//!
//! They are registered with the ring where the system allows that; where it does not (the limit on locked memory), the same
//! buffers go through ordinary ring operations.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_uring::buf::fixed::{FixedBuf, FixedBufRegistry};

use super::raw::AlignedMemory;
use crate::terms::limits::{STORE_BUFFER_BYTES, STORE_BUFFERS};

/// A buffer of the pool. Dropping it gives it back.
pub struct UringBuffer {
    // Dropped in this order: the memory is back before the right to take it is.
    memory: FixedBuf,
    turn: OwnedSemaphorePermit,
}

impl Deref for UringBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory
    }
}

impl DerefMut for UringBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

impl super::super::Buffer for UringBuffer {}

impl UringBuffer {
    /// The memory for an operation, and the turn to be kept until it is over.
    pub(super) fn into_parts(self) -> (FixedBuf, OwnedSemaphorePermit) {
        (self.memory, self.turn)
    }

    /// Puts together again what an operation took apart.
    pub(super) fn from_parts(memory: FixedBuf, turn: OwnedSemaphorePermit) -> Self {
        Self { memory, turn }
    }
}

/// All buffers of a process.
pub(super) struct Pool {
    registry: FixedBufRegistry<AlignedMemory>,
    turns: Arc<Semaphore>,
    registered: bool,
}

impl Pool {
    /// Allocates the buffers and registers them if `register` says so and the system allows it.
    pub(super) fn new(register: bool) -> Rc<Self> {
        let memory = (0..STORE_BUFFERS).map(|_| AlignedMemory::new(STORE_BUFFER_BYTES));
        let registry = FixedBufRegistry::new(memory);
        let registered = register
            && match registry.register() {
                Ok(()) => true,
                Err(error) => {
                    tracing::info!(%error, "buffers could not be registered with io_uring; disk writes cost more CPU");
                    false
                }
            };
        Rc::new(Self {
            registry,
            turns: Arc::new(Semaphore::new(STORE_BUFFERS)),
            registered,
        })
    }

    /// Whether operations may name the buffers by number.
    pub(super) fn is_registered(&self) -> bool {
        self.registered
    }

    /// The next free buffer, first come, first served.
    pub(super) async fn take(&self) -> UringBuffer {
        let turn = Arc::clone(&self.turns)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed: nobody but the pool has it");
        let memory = (0..STORE_BUFFERS)
            .find_map(|index| self.registry.check_out(index))
            .expect("there are as many buffers as turns, and a buffer comes back before its turn");
        UringBuffer { memory, turn }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::terms::limits::BLOCK_BYTES;
    use crate::world::uring::tests::in_ring;

    #[test]
    fn buffers_are_aligned_and_full_length() {
        in_ring(async {
            for register in [true, false] {
                let buffer = Pool::new(register).take().await;
                assert_eq!(buffer.len(), STORE_BUFFER_BYTES);
                assert!(buffer.as_ptr().addr().is_multiple_of(BLOCK_BYTES));
            }
        });
    }

    #[test]
    fn an_empty_pool_lets_askers_wait_and_serves_them_in_order() {
        in_ring(async {
            let pool = Pool::new(false);
            let mut taken = Vec::new();
            for _ in 0..STORE_BUFFERS {
                taken.push(pool.take().await);
            }
            let served = Rc::new(RefCell::new(Vec::new()));
            let waiting: Vec<_> = (0..3)
                .map(|number| {
                    let (pool, served) = (Rc::clone(&pool), Rc::clone(&served));
                    tokio::task::spawn_local(async move {
                        drop(pool.take().await);
                        served.borrow_mut().push(number);
                    })
                })
                .collect();
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(
                served.borrow().is_empty(),
                "nobody may be served from an empty pool"
            );
            drop(taken.pop());
            for asker in waiting {
                asker.await.expect("ends");
            }
            assert_eq!(*served.borrow(), [0, 1, 2]);
        });
    }
}
