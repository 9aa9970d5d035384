//! How a long question gets on, told to whoever asked: a keeper that works and one that hangs look the same otherwise.
//!
//! Said only when something was done since, never because time went by.

use std::cell::Cell;
use std::time::Duration;

use crate::session::Word;
use crate::terms::limits::WORKING_SECONDS;
use crate::world::{Clock, Moment};

/// One question that may take long.
pub(super) struct Further<C> {
    /// Nobody is told of work that nobody asked for.
    word: Option<Word>,
    clock: C,
    said_at: Cell<Moment>,
}

impl<C: Clock> Further<C> {
    /// Tells whoever waits for this answer.
    pub(super) fn new(word: Option<Word>, clock: &C) -> Self {
        Self {
            word,
            said_at: Cell::new(clock.now()),
            clock: clock.clone(),
        }
    }

    /// Something was done.
    pub(super) fn note(&self) {
        let now = self.clock.now();
        if now.since(self.said_at.get()) < Duration::from_secs(WORKING_SECONDS) {
            return;
        }
        self.said_at.set(now);
        if let Some(word) = &self.word {
            word.working();
        }
    }
}
