//! One keeper has its share of all of an author's snapshots, newest first, or it is known why not. It fetches what it lacks from whoever has it.

use super::Service;
use super::backwards::Backwards;
use super::left_alone::{Space, Stand, What};
use super::views::name_of;
use crate::author::{self, CatchUpError, Seen};
use crate::console::control::MendingView;
use crate::keeper::AskError;
use crate::terms::{PeerKey, SnapshotNumber};
use crate::world::World;

/// How a keeper was asked for its share, to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Came {
    /// It has all of it.
    Whole,
    /// It could not get something.
    NotAll,
    /// It said no.
    Refused,
}

/// What went wrong on the way.
#[derive(Default)]
struct Failed {
    count: u64,
    first: Option<CatchUpError>,
}

impl Failed {
    fn note(&mut self, error: CatchUpError) {
        self.count += 1;
        self.first.get_or_insert(error);
    }
}

impl<W: World> Service<W> {
    /// How things stand with a keeper, as far as it bears on whether it takes its share.
    fn stand_of(&self, peer: PeerKey) -> Stand {
        let room = self.room_of(peer);
        let boot = self.0.boots.borrow().get(&peer).copied();
        let unbroken = match peer == self.me() {
            true => self.store().unbroken(),
            false => room.map_or(0, |room| room.unbroken),
        };
        Stand {
            places: self.places(),
            keeper: (unbroken, boot),
            space: room.as_ref().map(Space::of),
            meetings: Some(self.0.healing.borrow().meetings()),
        }
    }

    /// Whether a keeper that did not take what it should is not to be asked again yet.
    pub(super) fn is_left_alone(&self, which: (What, PeerKey)) -> bool {
        let (stand, now) = (self.stand_of(which.1), self.now().moment);
        self.0.left_alone.borrow_mut().is(which, &stand, now)
    }

    /// A keeper did not take what it should. Whether that is news.
    pub(super) fn leave_alone(&self, which: (What, PeerKey), came: Came) -> bool {
        let mut stand = self.stand_of(which.1);
        if came == Came::Refused {
            // Whoever comes makes no difference.
            stand.meetings = None;
        }
        let now = self.now().moment;
        self.0.left_alone.borrow_mut().begin(which, stand, now)
    }

    /// Has one keeper confirm or fetch its share of an author's snapshots after a number; none if that was not seen to the end.
    pub(super) async fn copy_all(
        &self,
        author: PeerKey,
        (after, newest): (SnapshotNumber, SnapshotNumber),
        peer: PeerKey,
        seen: &mut Seen,
    ) -> Option<Came> {
        let (places, placement) = (self.places(), self.placement_of(author, None));
        let keyring = self.keyring();
        let mut view = MendingView {
            author: name_of(&self.roster(), author),
            keeper: name_of(&self.roster(), peer),
            snapshots_total: Some(self.store().heads_between(author, after, newest) as u64),
            ..MendingView::default()
        };
        let mut heads = Backwards::from(author, newest);
        let (mut came, mut failed) = (Came::Whole, Failed::default());
        let keepers = self.patient();
        while let Some(head) = heads.next(self).await {
            if self.places() != places || self.is_busy() {
                return None;
            }
            view.number = head.head.number.0;
            if head.head.number <= after {
                break;
            }
            // Asking for what was let go would take it back.
            if self.has_let_go(&head).await {
                view.snapshots += 1;
                continue;
            }
            self.0.mended.borrow_mut().now = Some(view.clone());
            let done =
                author::catch_up_with(&keepers, &keyring, &head, &placement, seen, peer).await;
            view.snapshots += 1;
            match done {
                Ok(done) => {
                    view.chunks += done.confirmed;
                    if !done.has_head {
                        came = came.max(Came::NotAll);
                    }
                }
                Err(
                    CatchUpError::Away | CatchUpError::Ask(AskError::Gone | AskError::Unanswered),
                ) => return None,
                Err(error) => {
                    came = came.max(match error {
                        CatchUpError::Ask(_) => Came::Refused,
                        _ => Came::NotAll,
                    });
                    // A part of the index that is missing is known as that; whatever else it was, the rest was not asked for.
                    if !matches!(error, CatchUpError::Missing(_)) {
                        seen.nowhere.unsure();
                    }
                    tracing::debug!(author = %view.author, number = view.number, keeper = %view.keeper, %error, "not copied");
                    failed.note(error);
                }
            }
        }
        if heads.has_skipped() {
            came = came.max(Came::NotAll);
        }
        self.note_copied((What::AllOf(author), peer), came, &view, &failed);
        Some(came)
    }

    fn note_copied(&self, which: (What, PeerKey), came: Came, view: &MendingView, failed: &Failed) {
        if came == Came::Whole {
            self.0.left_alone.borrow_mut().end(which);
        } else if self.leave_alone(which, came)
            && let Some(error) = &failed.first
        {
            tracing::warn!(author = %view.author, keeper = %view.keeper, snapshots = failed.count, first = %error,
                "copies of snapshots could not be made again; it is tried again, less and less often");
        }
        tracing::info!(author = %view.author, keeper = %view.keeper, snapshots = view.snapshots, of = view.snapshots_total, chunks = view.chunks, ?came,
            "looked after the copies of all snapshots");
    }
}
