//! One at a time for each name: who comes while a name is taken waits for its turn.

use std::cell::RefCell;
use std::collections::BTreeSet;

use tokio::sync::Notify;

/// Names that are taken now.
pub(super) struct Turns<Name> {
    taken: RefCell<BTreeSet<Name>>,
    given_back: Notify,
}

impl<Name> Default for Turns<Name> {
    fn default() -> Self {
        Self {
            taken: RefCell::default(),
            given_back: Notify::new(),
        }
    }
}

/// A name is taken until this is dropped.
pub(super) struct Turn<'a, Name: Ord> {
    turns: &'a Turns<Name>,
    name: Name,
}

impl<Name: Ord + Copy> Turns<Name> {
    /// Waits for a name's turn.
    pub(super) async fn of(&self, name: Name) -> Turn<'_, Name> {
        loop {
            let given_back = self.given_back.notified();
            if self.taken.borrow_mut().insert(name) {
                return Turn { turns: self, name };
            }
            given_back.await;
        }
    }
}

impl<Name: Ord> Drop for Turn<'_, Name> {
    fn drop(&mut self) {
        self.turns.taken.borrow_mut().remove(&self.name);
        self.turns.given_back.notify_waiters();
    }
}
