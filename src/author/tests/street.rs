//! Keepers in memory that go away, refuse, dawdle and come back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::format::head::SignedHead;
use crate::format::message::{Refusal, Room};
use crate::format::record;
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
            shops: keys.into_iter().map(|key| (key, Shop::default())).collect(),
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
        shop.chunks.borrow_mut().insert(id, record);
        Ok(())
    }
    async fn get(&self, id: ChunkId) -> Result<Option<Vec<u8>>, AskError> {
        let shop = self.shop().await?;
        let record = shop.chunks.borrow().get(&id).map(|record| record.to_vec());
        Ok(record)
    }
    async fn pull(&self, _: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        let shop = self.shop().await?;
        let mut bits = Vec::new();
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
        shop.heads.borrow_mut().push(head);
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
