//! Snapshots that are being let go, or taken back: what is to be done, and how far it is.

use std::cell::Cell;

use super::views::name_of;
use crate::author::release::{Asked, Progress};
use crate::console::control::{Counted, ProgressView};
use crate::roster::Roster;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// Say what would leave.
    Preview(Asked),
    /// Have it leave, on every keeper in reach.
    Forget(Asked),
    /// The same by itself, on keepers where it is due.
    ByItself(Asked),
    /// Take back what is not effective yet.
    Undo,
}

/// What is being let go, or taken back. Goes on when the command that asked for it ends.
pub struct Forgetting {
    pub(super) deed: Deed,
    /// How far the listing and comparing is.
    pub(super) progress: Progress,
    /// No snapshot may be taken now.
    pub(super) has_turn: Cell<bool>,
    /// Keepers that were asked, and how many there are to ask.
    asked: Cell<(u64, u64)>,
}

impl Forgetting {
    /// Nothing of it is done.
    pub(super) fn new(deed: Deed) -> Self {
        Self {
            deed,
            progress: Progress::default(),
            has_turn: Cell::default(),
            asked: Cell::default(),
        }
    }

    /// How far it is, for people.
    pub fn view(&self, roster: &Roster) -> ProgressView {
        let Progress {
            parts,
            parts_all,
            keeper,
            claims,
        } = &self.progress;
        let of_all = parts_all.get().map(|all| all.max(parts.get()));
        let of_all = of_all.map_or_else(String::new, |all| format!(" of about {all}"));
        let phase = match keeper.get() {
            Some(peer) => format!(
                "comparing what {} keeps: {} chunks",
                name_of(roster, peer),
                claims.get()
            ),
            None if parts.get() > 0 => format!(
                "listing what is needed: {}{of_all} parts of indexes read",
                parts.get()
            ),
            None => "waiting for its turn".into(),
        };
        let (done, all) = self.asked.get();
        let boxes = |total| Counted {
            what: "Boxes".into(),
            done,
            total: Some(total),
        };
        ProgressView {
            phase,
            counted: (all > 0).then(|| boxes(all)),
            ..ProgressView::default()
        }
    }

    /// One more keeper was asked, of so many.
    pub(super) fn asked_one(&self, all: usize) {
        self.asked.set((self.asked.get().0 + 1, all as u64));
    }
}
