//! The part of the world a session needs. Every [`World`] has it; a session touches no disk and no tree.

use crate::world::{Clock, Entropy, World};

/// Time, randomness and tasks.
pub trait Surroundings: Clone + 'static {
    /// Time.
    type Clock: Clock;
    /// Randomness.
    type Entropy: Entropy;

    /// Time.
    fn clock(&self) -> &Self::Clock;
    /// Randomness.
    fn entropy(&self) -> &Self::Entropy;
    /// Starts a task on this thread.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}

impl<W: World> Surroundings for W {
    type Clock = W::Clock;
    type Entropy = W::Entropy;

    fn clock(&self) -> &Self::Clock {
        World::clock(self)
    }

    fn entropy(&self) -> &Self::Entropy {
        World::entropy(self)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        World::spawn(self, task);
    }
}
