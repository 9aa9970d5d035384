//! Keepers in memory that go away, refuse, dawdle and come back.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tokio::sync::Notify;

use crate::format::compare::Prefix;
use crate::format::head::SignedHead;
use crate::format::message::{Refusal, Room};
use crate::format::record;
use crate::format::release::{ClaimedPage, SignedRelease, Waiting};
use crate::format::runs::Runs;
use crate::keeper::{Ask, AskError, Keepers, MemberView};
use crate::terms::limits::{ASK_IDS_MAX, SEND_WINDOW_BYTES};
use crate::terms::{ChunkId, PeerKey, SnapshotNumber};

/// One keeper in memory.
#[derive(Default)]
pub struct Shop {
    pub chunks: RefCell<BTreeMap<ChunkId, Rc<Vec<u8>>>>,
    pub heads: RefCell<Vec<SignedHead>>,
    /// Bytes it says it has room for.
    pub room: Cell<Option<u64>>,
    pub is_away: Cell<bool>,
    /// Goes away once so many records were put.
    pub leaves_after: Cell<Option<u64>>,
    pub refuses: Cell<Option<Refusal>>,
    pub puts: Cell<u64>,
    /// Puts wait for this while it is set.
    pub is_slow: Cell<bool>,
    /// Lives but answers nothing: each question ends when its session is given up.
    pub hangs: Cell<bool>,
    pub given_up: Cell<u64>,
    /// Cannot reach the other keepers.
    pub is_apart: Cell<bool>,
    pub in_flight: Cell<usize>,
    pub in_flight_max: Cell<usize>,
    pub gets: Cell<u64>,
    /// Counts what the author claims.
    pub basis: Cell<u64>,
    /// Names that were given up.
    pub released: RefCell<BTreeSet<Prefix>>,
    /// Numbers that leave.
    pub leaving: RefCell<Runs>,
    /// Releases that were taken.
    pub releases: Cell<u64>,
    /// Takes no more of them.
    pub is_closed: Cell<bool>,
    /// Claims on one page of a list.
    pub page: Cell<Option<usize>>,
    /// Something else is claimed while so many lists are asked for.
    pub is_restless: Cell<u32>,
}

/// The first bytes of a name.
fn prefix_of(id: &ChunkId) -> Prefix {
    *id.0.first_chunk().expect("a name is longer")
}

impl Shop {
    /// What was given up is effective.
    pub fn let_go(&self) {
        let released = self.released.take();
        let leaving = self.leaving.take();
        self.chunks
            .borrow_mut()
            .retain(|id, _| !released.contains(&prefix_of(id)));
        self.heads
            .borrow_mut()
            .retain(|head| !leaving.has(head.head.number));
    }

    /// The author claims these.
    fn claim<'a>(&self, ids: impl IntoIterator<Item = &'a ChunkId>) {
        self.basis.set(self.basis.get() + 1);
        for id in ids {
            self.released.borrow_mut().remove(&prefix_of(id));
        }
    }

    fn waits(&self) -> bool {
        !self.released.borrow().is_empty() || !self.leaving.borrow().is_empty()
    }
}

#[derive(Clone)]
pub struct Street(pub Rc<StreetInner>);

pub struct StreetInner {
    pub me: PeerKey,
    pub members: Vec<MemberView>,
    pub factors: (u8, u8),
    pub shops: BTreeMap<PeerKey, Shop>,
    pub news: Notify,
}

impl Street {
    pub fn new(me: PeerKey, others: u8, factors: (u8, u8)) -> Self {
        let keys: Vec<PeerKey> = (1..=others).map(|key| PeerKey([key; 32])).collect();
        let mut members: Vec<MemberView> = keys
            .iter()
            .chain([&me])
            .map(|key| MemberView {
                key: *key,
                name: key.short().into(),
                site: key.short().into(),
            })
            .collect();
        members.sort_by_key(|member| member.key);
        Self(Rc::new(StreetInner {
            me,
            members,
            factors,
            // A Box keeps for others too, whoever writes.
            shops: keys
                .into_iter()
                .chain([me])
                .map(|key| (key, Shop::default()))
                .collect(),
            news: Notify::new(),
        }))
    }

    pub fn shop(&self, key: u8) -> &Shop {
        &self.0.shops[&PeerKey([key; 32])]
    }

    pub fn puts(&self) -> u64 {
        self.0.shops.values().map(|shop| shop.puts.get()).sum()
    }

    pub fn set_away(&self, key: u8, is_away: bool) {
        self.shop(key).is_away.set(is_away);
        self.0.news.notify_waiters();
    }

    pub fn any(&self, id: ChunkId) -> Option<Vec<u8>> {
        let mut shops = self.0.shops.values();
        shops.find_map(|shop| shop.chunks.borrow().get(&id).map(|record| record.to_vec()))
    }
}

impl Keepers for Street {
    type Keeper = Clerk;
    fn me(&self) -> PeerKey {
        self.0.me
    }
    fn members(&self) -> Vec<MemberView> {
        self.0.members.clone()
    }
    fn factors(&self) -> (u8, u8) {
        self.0.factors
    }
    fn reach(&self, peer: PeerKey) -> Option<Clerk> {
        let shop = self.0.shops.get(&peer)?;
        (!shop.is_away.get()).then(|| Clerk {
            street: self.clone(),
            key: peer,
        })
    }
    async fn changed(&self) {
        self.0.news.notified().await;
    }
}

#[derive(Clone)]
pub struct Clerk {
    street: Street,
    key: PeerKey,
}

impl Clerk {
    async fn shop(&self) -> Result<&Shop, AskError> {
        tokio::task::yield_now().await;
        let shop = &self.street.0.shops[&self.key];
        if shop.is_away.get() {
            return Err(AskError::Gone);
        }
        if shop.hangs.get() {
            shop.given_up.set(shop.given_up.get() + 1);
            return Err(AskError::Unanswered);
        }
        Ok(shop)
    }
}

impl Ask for Clerk {
    async fn have(&self, _: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        assert!(!ids.is_empty() && ids.len() <= ASK_IDS_MAX);
        let shop = self.shop().await?;
        shop.claim(&ids);
        let chunks = shop.chunks.borrow();
        Ok(ids.iter().map(|id| chunks.contains_key(id)).collect())
    }
    async fn put(&self, id: ChunkId, record: Rc<Vec<u8>>) -> Result<(), AskError> {
        let shop = self.shop().await?;
        assert_eq!(record::id_of(&record), id);
        shop.in_flight.set(shop.in_flight.get() + record.len());
        shop.in_flight_max
            .set(shop.in_flight_max.get().max(shop.in_flight.get()));
        assert!(shop.in_flight.get() <= SEND_WINDOW_BYTES);
        while shop.is_slow.get() {
            self.street.0.news.notified().await;
        }
        shop.in_flight.set(shop.in_flight.get() - record.len());
        if let Some(refusal) = shop.refuses.get() {
            return Err(AskError::Refused(refusal));
        }
        if let Some(left) = shop.leaves_after.get() {
            if left == 0 {
                self.street.set_away(self.key.0[0], true);
                return Err(AskError::Gone);
            }
            shop.leaves_after.set(Some(left - 1));
        }
        shop.puts.set(shop.puts.get() + 1);
        shop.claim([&id]);
        shop.chunks.borrow_mut().insert(id, record);
        Ok(())
    }
    async fn get(&self, id: ChunkId) -> Result<Option<Vec<u8>>, AskError> {
        let shop = self.shop().await?;
        shop.gets.set(shop.gets.get() + 1);
        let record = shop.chunks.borrow().get(&id).map(|record| record.to_vec());
        Ok(record)
    }
    async fn pull(&self, _: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        let shop = self.shop().await?;
        let mut bits = Vec::new();
        shop.claim(&ids);
        for id in ids {
            let other = self
                .street
                .0
                .shops
                .values()
                .filter(|other| !other.is_away.get() && !shop.is_apart.get())
                .find_map(|other| other.chunks.borrow().get(&id).cloned());
            if let Some(refusal) = shop.refuses.get() {
                return Err(AskError::Refused(refusal));
            }
            bits.push(other.is_some());
            if let Some(record) = other {
                shop.chunks.borrow_mut().insert(id, record);
            }
        }
        Ok(bits)
    }
    async fn room(&self) -> Result<Room, AskError> {
        let shop = self.shop().await?;
        Ok(Room {
            chunks_max: u64::MAX,
            room_bytes: shop.room.get().unwrap_or(u64::MAX),
            ..Room::default()
        })
    }
    async fn put_head(&self, head: SignedHead) -> Result<(), AskError> {
        let shop = self.shop().await?;
        shop.claim([]);
        if shop.leaving.borrow().has(head.head.number) {
            shop.leaving.take();
            shop.released.take();
        }
        let mut heads = shop.heads.borrow_mut();
        if !heads.contains(&head) {
            heads.push(head);
            heads.sort_by_key(|head| head.head.number);
        }
        Ok(())
    }
    async fn claimed(&self, after: Option<Prefix>) -> Result<ClaimedPage, AskError> {
        let shop = self.shop().await?;
        if let Some(left) = shop.is_restless.get().checked_sub(1) {
            shop.is_restless.set(left);
            shop.claim([]);
        }
        let mut page = ClaimedPage {
            basis: shop.basis.get(),
            waiting: shop.waits().then(|| Waiting {
                numbers: shop.leaving.borrow().clone(),
                chunks: shop.released.borrow().len() as u64,
                open_seconds: u64::from(!shop.is_closed.get()),
                ..Waiting::default()
            }),
            ..ClaimedPage::default()
        };
        for (id, record) in shop.chunks.borrow().iter() {
            let prefix = prefix_of(id);
            if after.is_some_and(|after| prefix <= after)
                || shop.released.borrow().contains(&prefix)
            {
                continue;
            }
            if page.claims().count() == shop.page.get().unwrap_or(50) {
                page.more = true;
                break;
            }
            page.push(&prefix, u32::try_from(record.len()).expect("small"));
        }
        Ok(page)
    }
    async fn release(&self, release: SignedRelease) -> Result<(), AskError> {
        let shop = self.shop().await?;
        let release = SignedRelease::decode(&release.encode())
            .expect("it is signed")
            .release;
        assert_eq!(release.keeper, self.key);
        if shop.is_closed.get() {
            return Err(Refusal::ReleaseWaits { seconds: 9 }.into());
        }
        if release.basis != shop.basis.get() {
            return Err(Refusal::ClaimedSince.into());
        }
        let newest = shop.heads.borrow().last().map(|head| head.head.number);
        if newest.is_some_and(|newest| release.numbers.has(newest)) {
            return Err(Refusal::NewestStays.into());
        }
        shop.releases.set(shop.releases.get() + 1);
        shop.leaving.borrow_mut().add_all(&release.numbers);
        shop.released.borrow_mut().extend(release.prefixes());
        Ok(())
    }
    async fn heads(
        &self,
        author: Option<PeerKey>,
        after: SnapshotNumber,
    ) -> Result<Vec<SignedHead>, AskError> {
        let shop = self.shop().await?;
        let heads = shop.heads.borrow();
        if let Some(author) = author {
            let asked = |head: &&SignedHead| head.head.author == author && head.head.number > after;
            return Ok(heads.iter().filter(asked).cloned().collect());
        }
        let newest = heads.iter().max_by_key(|head| head.head.number).cloned();
        Ok(newest.into_iter().collect())
    }
}
