//! A clock that jumps to where it is slept to, and counted randomness: for a store without a machine.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::terms::Stamp;
use crate::world::{Clock, Entropy, Moment};

#[derive(Clone, Default)]
pub(super) struct MockClock(Rc<Cell<Duration>>, pub(super) Rc<Cell<i64>>);

impl Clock for MockClock {
    fn now(&self) -> Moment {
        Moment(self.0.get())
    }
    fn wall(&self) -> Stamp {
        Stamp {
            seconds: self.1.get(),
            nanos: 0,
        }
    }
    async fn sleep(&self, how_long: Duration) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.0.set(self.0.get() + how_long);
    }
}

#[derive(Clone, Default)]
pub(super) struct MockEntropy(Rc<Cell<u8>>);

impl Entropy for MockEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.set(self.0.get().wrapping_add(1));
        bytes.fill(self.0.get());
    }
}
