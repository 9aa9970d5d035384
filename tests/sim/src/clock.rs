//! Time and randomness of one Box.

use std::time::Duration;

use reserve::terms::Stamp;
use reserve::world::{Clock, Entropy, Moment};

use crate::machine::Boot;

/// Virtual time; monotonic from the Box's last start, in steps of a millisecond.
#[derive(Clone)]
pub struct SimClock {
    boot: Boot,
}

impl SimClock {
    pub(crate) fn new(boot: Boot) -> Self {
        Self { boot }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Moment {
        Moment(self.boot.up_time())
    }

    fn wall(&self) -> Stamp {
        self.boot.machine.wall()
    }

    async fn sleep(&self, how_long: Duration) {
        tokio::time::sleep(how_long).await;
    }

    fn idly(&self, usual: Duration) -> Duration {
        usual * self.boot.machine.idleness.get()
    }
}

/// Repeatable randomness: the same for a Box of the same name in a world of the same seed, and never the same twice.
#[derive(Clone)]
pub struct SimEntropy {
    boot: Boot,
}

impl SimEntropy {
    pub(crate) fn new(boot: Boot) -> Self {
        Self { boot }
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        self.boot.machine.keys.fill(bytes);
    }
}
