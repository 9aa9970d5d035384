//! Keepers as one snapshot sees them: whoever leaves a question without an answer is out of reach for a while.
//!
//! A keeper whose disk hangs is called again as soon as its session was ended, and lives as before. Without this each step of a
//! snapshot would wait for it anew. A snapshot that waits for keepers to come (there is no other) asks it again later.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::format::compare::Prefix;
use crate::format::head::SignedHead;
use crate::format::message::Room;
use crate::format::release::{ClaimedPage, SignedRelease};
use crate::keeper::{Ask, AskError, Keepers, MemberView};
use crate::terms::limits::ANSWER_SECONDS_MAX;
use crate::terms::{ChunkId, PeerKey, SnapshotNumber};
use crate::world::{Clock, Moment};

/// How long it is left alone: a snapshot is longer without it than with it, several times over.
const LEFT_ALONE: Duration = Duration::from_secs(6 * ANSWER_SECONDS_MAX);

type GivenUp = Rc<RefCell<BTreeMap<PeerKey, Moment>>>;

/// The directory of keepers but for those that were given up.
#[derive(Clone)]
pub struct Patient<K, C> {
    keepers: K,
    clock: C,
    given_up: GivenUp,
}

impl<K: Keepers, C: Clock> Patient<K, C> {
    /// All of them, at first.
    pub fn new(keepers: K, clock: &C) -> Self {
        Self {
            keepers,
            clock: clock.clone(),
            given_up: Rc::default(),
        }
    }
}

impl<K: Keepers, C: Clock> Keepers for Patient<K, C> {
    type Keeper = PatientKeeper<K::Keeper, C>;

    fn me(&self) -> PeerKey {
        self.keepers.me()
    }

    fn members(&self) -> Vec<MemberView> {
        self.keepers.members()
    }

    fn factors(&self) -> (u8, u8) {
        self.keepers.factors()
    }

    fn reach(&self, peer: PeerKey) -> Option<Self::Keeper> {
        // The inner one is asked in any case: that is how it knows which comings and goings were seen.
        let keeper = self.keepers.reach(peer)?;
        let given_up = self.given_up.borrow().get(&peer).copied();
        let is_left_alone = given_up.is_some_and(|at| self.clock.now().since(at) < LEFT_ALONE);
        (!is_left_alone).then(|| PatientKeeper {
            keeper,
            peer,
            clock: self.clock.clone(),
            given_up: Rc::clone(&self.given_up),
        })
    }

    async fn changed(&self) {
        self.keepers.changed().await;
    }
}

/// One of them.
#[derive(Clone)]
pub struct PatientKeeper<A, C> {
    keeper: A,
    peer: PeerKey,
    clock: C,
    given_up: GivenUp,
}

impl<A: Ask, C: Clock> PatientKeeper<A, C> {
    fn noted<T>(&self, answer: Result<T, AskError>) -> Result<T, AskError> {
        if matches!(answer, Err(AskError::Unanswered)) {
            self.given_up
                .borrow_mut()
                .insert(self.peer, self.clock.now());
            tracing::warn!(peer = %self.peer.short(), "a keeper lives but does not answer; it is left alone for a while and the rest goes on");
        }
        answer
    }
}

impl<A: Ask, C: Clock> Ask for PatientKeeper<A, C> {
    async fn have(&self, author: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        self.noted(self.keeper.have(author, ids).await)
    }

    async fn put(&self, id: ChunkId, record: Rc<Vec<u8>>) -> Result<(), AskError> {
        self.noted(self.keeper.put(id, record).await)
    }

    async fn get(&self, id: ChunkId) -> Result<Option<Vec<u8>>, AskError> {
        self.noted(self.keeper.get(id).await)
    }

    async fn pull(&self, author: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        self.noted(self.keeper.pull(author, ids).await)
    }

    async fn room(&self) -> Result<Room, AskError> {
        self.noted(self.keeper.room().await)
    }

    async fn put_head(&self, head: SignedHead) -> Result<(), AskError> {
        self.noted(self.keeper.put_head(head).await)
    }

    async fn heads(
        &self,
        author: Option<PeerKey>,
        after: SnapshotNumber,
    ) -> Result<Vec<SignedHead>, AskError> {
        self.noted(self.keeper.heads(author, after).await)
    }

    async fn claimed(&self, after: Option<Prefix>) -> Result<ClaimedPage, AskError> {
        self.noted(self.keeper.claimed(after).await)
    }

    async fn release(&self, release: SignedRelease) -> Result<(), AskError> {
        self.noted(self.keeper.release(release).await)
    }
}
