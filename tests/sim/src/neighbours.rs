//! Keepers that ask each other's stores directly, without sessions: the shortest way to stories about stores, authors and
//! retrievers. What a keeper is asked runs on *its* Box and ends with it; a question and its answer each take a moment.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use reserve::format::compare::{Marks, Prefix, Prints, Unmatched};
use reserve::format::head::SignedHead;
use reserve::format::message::Room;
use reserve::format::release::{ClaimedPage, SignedRelease};
use reserve::keeper::{
    Ask, AskError, Compare, Keepers, MemberView, Places, Store, StoreError, Word,
};
use reserve::terms::{ChunkId, PeerKey, SnapshotNumber};

use crate::sim_box::SimBox;

/// How long a question or an answer is under way.
const TRIP: Duration = Duration::from_millis(2);

/// The directory of keepers as one Box sees it.
pub struct Neighbours {
    me: PeerKey,
    all: Rc<All>,
    /// The count of changes when `reach` was last asked.
    seen: Rc<Cell<u64>>,
}

struct All {
    factors: (u8, u8),
    members: RefCell<BTreeMap<PeerKey, Member>>,
    changes: Cell<u64>,
    changed: Notify,
    /// What each keeper said yes to, as far as the one who asked heard it.
    acknowledged: RefCell<BTreeMap<PeerKey, BTreeSet<ChunkId>>>,
}

/// A member, and its keeper if it runs.
struct Member {
    view: MemberView,
    keeper: Option<Neighbour>,
}

/// One keeper.
pub struct Neighbour {
    home: SimBox,
    store: Store<SimBox>,
    neighbours: Neighbours,
    is_asked_by: PeerKey,
}

impl Clone for Neighbours {
    fn clone(&self) -> Self {
        Self {
            me: self.me,
            all: Rc::clone(&self.all),
            seen: Rc::clone(&self.seen),
        }
    }
}

impl Clone for Neighbour {
    fn clone(&self) -> Self {
        Self {
            home: self.home.clone(),
            store: self.store.clone(),
            neighbours: self.neighbours.clone(),
            is_asked_by: self.is_asked_by,
        }
    }
}

impl Neighbours {
    /// A reserve of these members, none of whose keepers runs yet, seen by `me`. The factors are those of [`Keepers`].
    #[must_use]
    pub fn new(me: PeerKey, members: Vec<MemberView>, factors: (u8, u8)) -> Self {
        let members = members
            .into_iter()
            .map(|view| (view.key, Member { view, keeper: None }))
            .collect();
        let all = All {
            factors,
            members: RefCell::new(members),
            changes: Cell::new(0),
            changed: Notify::new(),
            acknowledged: RefCell::default(),
        };
        Self {
            me,
            all: Rc::new(all),
            seen: Rc::default(),
        }
    }

    /// The same reserve seen by another member.
    #[must_use]
    pub fn seen_by(&self, me: PeerKey) -> Self {
        Self {
            me,
            all: Rc::clone(&self.all),
            seen: Rc::default(),
        }
    }

    /// A member's keeper runs now.
    pub fn start(&self, key: PeerKey, home: SimBox, store: Store<SimBox>) {
        let neighbours = self.seen_by(key);
        let keeper = Neighbour {
            home,
            store,
            neighbours,
            is_asked_by: key,
        };
        self.change(key, Some(keeper));
    }

    /// A member's keeper does not run any more.
    pub fn stop(&self, key: PeerKey) {
        self.change(key, None);
    }

    /// Every chunk that a member's keeper ever said it has, durably.
    #[must_use]
    pub fn acknowledged_by(&self, key: PeerKey) -> BTreeSet<ChunkId> {
        self.all
            .acknowledged
            .borrow()
            .get(&key)
            .cloned()
            .unwrap_or_default()
    }

    fn change(&self, key: PeerKey, keeper: Option<Neighbour>) {
        let former = self
            .all
            .members
            .borrow_mut()
            .get_mut(&key)
            .and_then(|member| std::mem::replace(&mut member.keeper, keeper));
        drop(former);
        self.all.changes.set(self.all.changes.get() + 1);
        self.all.changed.notify_waiters();
    }
}

impl Neighbours {
    /// Where chunks belong.
    #[must_use]
    pub fn places(&self) -> Places {
        let (wanted, least) = self.all.factors;
        Places {
            members: self.members(),
            wanted,
            least,
        }
    }
}

impl Keepers for Neighbours {
    type Keeper = Neighbour;

    fn me(&self) -> PeerKey {
        self.me
    }

    fn members(&self) -> Vec<MemberView> {
        self.all
            .members
            .borrow()
            .values()
            .map(|member| member.view.clone())
            .collect()
    }

    fn factors(&self) -> (u8, u8) {
        self.all.factors
    }

    fn reach(&self, peer: PeerKey) -> Option<Neighbour> {
        self.seen.set(self.all.changes.get());
        let keeper = self.all.members.borrow().get(&peer)?.keeper.clone()?;
        Some(Neighbour {
            is_asked_by: self.me,
            ..keeper
        })
    }

    async fn changed(&self) {
        while self.seen.get() == self.all.changes.get() {
            self.all.changed.notified().await;
        }
        self.seen.set(self.all.changes.get());
    }
}

impl Neighbour {
    /// Has the work done on the keeper's Box.
    async fn there<T: 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + 'static,
    ) -> Result<T, AskError> {
        let trip = if self.is_asked_by == self.neighbours.me {
            Duration::ZERO
        } else {
            TRIP
        };
        sleep(trip).await;
        let answer = self.home.run(work).await.map_err(|_| AskError::Gone)?;
        sleep(trip).await;
        answer.map_err(|error| AskError::Refused(error.refusal()))
    }

    fn note(&self, ids: impl IntoIterator<Item = ChunkId>) {
        let mut all = self.neighbours.all.acknowledged.borrow_mut();
        all.entry(self.neighbours.me).or_default().extend(ids);
    }

    fn note_held(&self, ids: &[ChunkId], held: &[bool]) {
        let yes = ids.iter().zip(held).filter(|(_, held)| **held);
        self.note(yes.map(|(id, _)| *id));
    }

    async fn pull_one(&self, author: PeerKey, id: ChunkId) -> Result<bool, AskError> {
        for member in self.neighbours.members() {
            let other = self.neighbours.reach(member.key);
            let Some(other) = other.filter(|_| member.key != self.neighbours.me) else {
                continue;
            };
            if let Ok(Some(record)) = other.get(id).await {
                self.store
                    .put(author, id, Rc::new(record))
                    .await
                    .map_err(|e| e.refusal())?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Ask for Neighbour {
    async fn have(&self, author: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        let (store, asked) = (self.store.clone(), ids.clone());
        let held = self
            .there(async move { store.have(author, &ids).await })
            .await?;
        self.note_held(&asked, &held);
        Ok(held)
    }

    async fn put(&self, id: ChunkId, record: Rc<Vec<u8>>) -> Result<(), AskError> {
        let (store, author) = (self.store.clone(), self.is_asked_by);
        self.there(async move { store.put(author, id, record).await })
            .await?;
        self.note([id]);
        Ok(())
    }

    async fn get(&self, id: ChunkId) -> Result<Option<Vec<u8>>, AskError> {
        let store = self.store.clone();
        self.there(async move { store.get(id).await }).await
    }

    async fn pull(&self, author: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        let (keeper, asked) = (self.clone(), ids.clone());
        let pulled = self.there(async move {
            let mut have = keeper.store.have(author, &ids).await?;
            for (id, have) in ids.iter().zip(&mut have).filter(|(_, have)| !**have) {
                // Whatever stood in the way: it does not have it.
                *have = keeper.pull_one(author, *id).await.unwrap_or(false);
            }
            Ok(have)
        });
        let held = pulled.await?;
        self.note_held(&asked, &held);
        Ok(held)
    }

    async fn room(&self) -> Result<Room, AskError> {
        let (store, author) = (self.store.clone(), self.is_asked_by);
        self.there(async move { Ok(store.room(author).await) })
            .await
    }

    async fn put_head(&self, head: SignedHead) -> Result<(), AskError> {
        let store = self.store.clone();
        let word = match self.is_asked_by == head.head.author {
            true => Word::Own,
            false => Word::Fellow,
        };
        self.there(async move { store.put_head_for(&head, word).await })
            .await
    }

    async fn claimed(&self, after: Option<Prefix>) -> Result<ClaimedPage, AskError> {
        let (store, author) = (self.store.clone(), self.is_asked_by);
        self.there(async move { Ok(store.claimed(author, after).await) })
            .await
    }

    async fn release(&self, release: SignedRelease) -> Result<(), AskError> {
        let store = self.store.clone();
        self.there(async move { store.release(&release).await })
            .await
    }

    async fn heads(
        &self,
        author: Option<PeerKey>,
        after: SnapshotNumber,
    ) -> Result<Vec<SignedHead>, AskError> {
        let store = self.store.clone();
        self.there(async move { store.heads(author, after).await })
            .await
    }
}

impl Compare for Neighbour {
    async fn prints(&self, prints: Prints) -> Result<Vec<bool>, AskError> {
        let (store, places) = (self.store.clone(), self.neighbours.places());
        let pair = [self.is_asked_by, self.neighbours.me];
        let answer = async move { Ok(store.answer_prints(&places, pair, &prints).await) };
        Ok(self.there(answer).await??)
    }

    async fn marks(&self, marks: Marks) -> Result<Unmatched, AskError> {
        let (store, places) = (self.store.clone(), self.neighbours.places());
        let pair = [self.is_asked_by, self.neighbours.me];
        let answer = async move { Ok(store.answer_marks(&places, pair, &marks).await) };
        Ok(self.there(answer).await??)
    }
}
