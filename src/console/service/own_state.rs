//! This Box's own files, compared with what the service knows: keys, secrets, roster, the journal of events.
//!
//! `box.toml` belongs to a person and is not touched; what else is in the state directory is rebuilt where it is used.

use std::time::Duration;

use super::Service;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::roster;
use crate::world::{Clock, World};

/// The files are small; what a restart in between would find is a Box that does not come up.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3600);

/// What a look came to.
#[derive(Default)]
pub(super) struct OwnState {
    /// Files that were written again.
    pub(super) repaired: Vec<String>,
    /// Places in the journal that did not read.
    pub(super) events_damaged: u64,
}

impl<W: World> Service<W> {
    /// Looks again and again.
    pub(super) async fn mind_own_state(self) {
        loop {
            self.world().clock().sleep(LOOK_EVERY).await;
            self.heal_own_state().await;
        }
    }

    /// Compares own files with what is known, and writes anew and tells what differs.
    pub(super) async fn heal_own_state(&self) -> OwnState {
        let events_damaged = self.0.dispatcher.check_journal().await;
        // Nobody changes the roster meanwhile.
        let _turn = self.0.roster_turn.lock().await;
        let (secrets, roster) = (self.secrets(), self.roster());
        let disk = self.world().disk();
        let healed = roster::heal_files(disk, &self.0.identity, &secrets, &roster).await;
        let repaired = match healed {
            Ok(repaired) => repaired,
            Err(error) => {
                tracing::error!(%error, "this Box's own files could not be compared with what it knows");
                Vec::new()
            }
        };
        for file in &repaired {
            tracing::warn!(file, "a file did not read and was written again");
            let path = [EventFact::new(FactName::Path, *file)];
            let kind = EventKind::StateRepaired;
            self.reporter().tell(kind, Subject::Itself, &path);
        }
        OwnState {
            repaired: repaired.into_iter().map(str::to_owned).collect(),
            events_damaged,
        }
    }
}
