//! The store as a whole: told when it is not where it was, and gone on with when it is back.

use std::time::Duration;

use super::Service;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::keeper::Presence;
use crate::world::{Clock, World};

/// How often is looked while it is not there: a person waits.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// And while it is.
const LOOK_NOW_AND_THEN: Duration = Duration::from_secs(60);

impl<W: World> Service<W> {
    /// Watches for as long as the service runs.
    pub(super) async fn mind_presence(self) {
        loop {
            let is_lost = self.tell_presence().await;
            let wait = if is_lost {
                LOOK_AGAIN
            } else {
                LOOK_NOW_AND_THEN
            };
            let clock = self.world().clock();
            clock.sleep(clock.idly(wait)).await;
        }
    }

    /// Returns when the store is back that was not there: the service is to begin anew with it.
    pub async fn has_its_store_again(&self) {
        loop {
            let back = self.0.store_is_back.notified();
            if self.0.is_store_back.get() {
                return;
            }
            back.await;
        }
    }

    /// What is wrong with the place of the store, for people.
    #[must_use]
    pub fn store_lost(&self) -> Option<&'static str> {
        self.0.store_presence.get().in_words()
    }

    async fn tell_presence(&self) -> bool {
        let reporter = self.reporter();
        let kind = EventKind::StoreLost;
        let was_lost = self.0.store_presence.get() != Presence::Here;
        // What cannot be read now says nothing; the disk's failures are told elsewhere.
        if let Ok(found) = self.store().presence().await {
            self.0.store_presence.set(found);
        }
        let found = self.0.store_presence.get();
        let why = found.in_words().unwrap_or_default();
        let facts = [EventFact::new(FactName::Reason, why)];
        let is_lost = found != Presence::Here;
        reporter.settle(is_lost, kind, Subject::Itself, &facts);
        if was_lost && !is_lost {
            self.0.is_store_back.set(true);
            self.0.store_is_back.notify_waiters();
        }
        is_lost
    }
}
