//! Getting chunks onto keepers: a window of sealed bytes, and one lane for each keeper.
//!
//! A chunk has landed when every keeper of its placement that could be reached has answered and at least one has it
//! durably. A keeper that goes away leaves its share to `catch_up`. What a lane asks is batched: names queue up while a
//! question is under way. Memory: [`SEND_WINDOW_BYTES`] of records, and [`NAMES_MAX`] names without a record.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::report::{KeeperShare, Progress};
use crate::format::message::Refusal;
use crate::keeper::placement::place;
use crate::keeper::{Ask, AskError, Keepers, MemberView};
use crate::terms::limits::{ASK_IDS_MAX, SEND_WINDOW_BYTES};
use crate::terms::{ChunkId, PeerKey};
use crate::world::{Clock, World};

/// Chunks taken over from the previous snapshot that may be asked about at once.
const NAMES_MAX: usize = 4 * ASK_IDS_MAX;
/// Records on their way to one keeper at once.
const PUTS_MAX: usize = 32;
/// Chunks nobody has that are told apart; beyond it nothing is taken over.
pub const LOST_MAX: usize = 4096;
/// Whatever `changed` says, chunks without a keeper are tried again after this long.
const RETRY: Duration = Duration::from_secs(5);

/// Every keeper of a chunk refused it; or, as `OtherPlaces`, others are to keep it by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NobodyKeeps(pub Refusal);

/// What all chunks of the walk have come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Each member's share.
    pub shares: Vec<KeeperShare>,
    /// The fewest confirmations any chunk has.
    pub copies: u8,
}

struct Flight {
    id: ChunkId,
    record: RefCell<Option<Rc<Vec<u8>>>>,
    permit: RefCell<Option<OwnedSemaphorePermit>>,
    /// Lanes that have not answered yet.
    open: Cell<usize>,
    confirmed: Cell<u8>,
    denied: Cell<bool>,
    refused: Cell<Option<Refusal>>,
    /// Whether some keeper of the placement may still take it: it was away, or went away.
    hope: Cell<bool>,
    counted: Cell<bool>,
    /// Whether some keeper was sent it.
    sent: Cell<bool>,
}

#[derive(Default)]
struct Lane {
    queue: RefCell<VecDeque<Rc<Flight>>>,
    wake: Notify,
    needed: Cell<u64>,
    confirmed: Cell<u64>,
    refused: Cell<u64>,
    /// It said that it has no room: it is asked what it has, but sent nothing.
    shut: Cell<Option<Refusal>>,
}

struct Shared<W: World, K: Keepers> {
    world: W,
    keepers: K,
    members: Vec<MemberView>,
    factor: u8,
    window: Arc<Semaphore>,
    names: Arc<Semaphore>,
    lanes: BTreeMap<PeerKey, Lane>,
    orphans: RefCell<Vec<Rc<Flight>>>,
    orphaned: Notify,
    flying: Cell<usize>,
    landed: Notify,
    closed: Cell<bool>,
    fatal: Cell<Option<Refusal>>,
    lost: RefCell<BTreeSet<ChunkId>>,
    copies: Cell<u8>,
    progress: Rc<Progress>,
}

/// The way out of the author. Dropping it ends its tasks.
pub struct Replicator<W: World, K: Keepers> {
    shared: Rc<Shared<W, K>>,
}

impl<W: World, K: Keepers> Drop for Replicator<W, K> {
    fn drop(&mut self) {
        self.shared.closed.set(true);
        for lane in self.shared.lanes.values() {
            lane.wake.notify_one();
        }
        self.shared.orphaned.notify_one();
    }
}

impl<W: World, K: Keepers> Replicator<W, K> {
    /// Starts a lane for every other member of now.
    pub fn start(world: W, keepers: K, progress: Rc<Progress>) -> Self {
        let members = keepers.members();
        let me = keepers.me();
        let lanes = members
            .iter()
            .filter(|member| member.key != me)
            .map(|member| (member.key, Lane::default()))
            .collect();
        let shared = Rc::new(Shared {
            factor: keepers.factors().0,
            window: Arc::new(Semaphore::new(SEND_WINDOW_BYTES)),
            names: Arc::new(Semaphore::new(NAMES_MAX)),
            world: world.clone(),
            keepers,
            members,
            lanes,
            orphans: RefCell::default(),
            orphaned: Notify::new(),
            flying: Cell::new(0),
            landed: Notify::new(),
            closed: Cell::new(false),
            fatal: Cell::new(None),
            lost: RefCell::default(),
            copies: Cell::new(u8::MAX),
            progress,
        });
        for peer in shared.lanes.keys().copied() {
            world.spawn(run_lane(shared.clone(), peer));
        }
        world.spawn(mind_orphans(shared.clone()));
        Self { shared }
    }

    /// Hands over a fresh record. Returns when there is room for it in the window, not when it is safe.
    pub async fn submit(&self, id: ChunkId, record: Vec<u8>) -> Result<(), NobodyKeeps> {
        let bytes = u32::try_from(record.len().min(SEND_WINDOW_BYTES)).unwrap_or(u32::MAX);
        let permit = self.shared.window.clone().acquire_many_owned(bytes).await;
        self.take_in(id, Some(record), permit.ok())
    }

    /// Asks for a chunk taken over from the previous snapshot. Whether somebody has it is told by [`Self::land`].
    pub async fn confirm(&self, id: ChunkId) -> Result<(), NobodyKeeps> {
        let permit = self.shared.names.clone().acquire_owned().await;
        self.take_in(id, None, permit.ok())
    }

    /// The first of these that some keeper in reach has.
    pub async fn held(&self, names: &[(ChunkId, u32)]) -> Option<(ChunkId, u32)> {
        let Shared {
            keepers,
            members,
            factor,
            ..
        } = &*self.shared;
        let me = keepers.me();
        for (id, bytes) in names {
            for peer in place(*id, me, members, *factor) {
                let Some(keeper) = keepers.reach(peer) else {
                    continue;
                };
                if matches!(keeper.have(me, vec![*id]).await.as_deref(), Ok([true])) {
                    return Some((*id, *bytes));
                }
            }
        }
        None
    }

    fn take_in(
        &self,
        id: ChunkId,
        record: Option<Vec<u8>>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(), NobodyKeeps> {
        if let Some(refusal) = self.shared.fatal.get() {
            return Err(NobodyKeeps(refusal));
        }
        self.shared.flying.set(self.shared.flying.get() + 1);
        let flight = Rc::new(Flight {
            id,
            record: RefCell::new(record.map(Rc::new)),
            permit: RefCell::new(permit),
            open: Cell::new(0),
            confirmed: Cell::new(0),
            denied: Cell::new(false),
            refused: Cell::new(None),
            hope: Cell::new(false),
            counted: Cell::new(false),
            sent: Cell::new(false),
        });
        self.shared.dispatch(&flight);
        Ok(())
    }

    /// Waits until everything has landed; returns the taken-over chunks that nobody has.
    pub async fn land(&self) -> Result<BTreeSet<ChunkId>, NobodyKeeps> {
        loop {
            if let Some(refusal) = self.shared.fatal.get() {
                return Err(NobodyKeeps(refusal));
            }
            if self.shared.flying.get() == 0 {
                return Ok(self.shared.lost.borrow().clone());
            }
            self.shared.landed.notified().await;
        }
    }

    /// What it has come to so far.
    pub fn outcome(&self) -> Outcome {
        let shares = self
            .shared
            .lanes
            .iter()
            .map(|(key, lane)| KeeperShare {
                key: *key,
                needed: lane.needed.get(),
                confirmed: lane.confirmed.get(),
                refused: lane.refused.get(),
                refusal: lane.shut.get(),
                has_head: false,
            })
            .collect();
        let copies = match self.shared.copies.get() {
            u8::MAX => 0,
            copies => copies,
        };
        Outcome { shares, copies }
    }
}

impl<W: World, K: Keepers> Shared<W, K> {
    /// Queues a flight at every keeper of its placement that can be reached.
    fn dispatch(&self, flight: &Rc<Flight>) {
        let placed = place(flight.id, self.keepers.me(), &self.members, self.factor);
        let is_first = !flight.counted.replace(true);
        flight.hope.set(false);
        // Held open until all lanes have been given it.
        flight.open.set(1);
        for peer in &placed {
            let Some(lane) = self.lanes.get(peer) else {
                continue;
            };
            if is_first {
                lane.needed.set(lane.needed.get() + 1);
            }
            if self.keepers.reach(*peer).is_some() {
                flight.open.set(flight.open.get() + 1);
                lane.queue.borrow_mut().push_back(flight.clone());
                lane.wake.notify_one();
            } else {
                flight.hope.set(true);
            }
        }
        self.answered(flight);
    }

    fn confirmed(&self, lane: &Lane, flight: &Rc<Flight>) {
        lane.confirmed.set(lane.confirmed.get() + 1);
        flight
            .confirmed
            .set(flight.confirmed.get().saturating_add(1));
        self.answered(flight);
    }

    fn away(&self, flight: &Rc<Flight>) {
        flight.hope.set(true);
        self.answered(flight);
    }

    fn denied(&self, flight: &Rc<Flight>) {
        flight.denied.set(true);
        self.answered(flight);
    }

    fn refused(&self, lane: &Lane, flight: &Rc<Flight>, refusal: Refusal) {
        match refusal {
            Refusal::TableFull | Refusal::DiskFull | Refusal::QuotaFull | Refusal::DiskFailed => {
                lane.shut.set(Some(refusal));
            }
            Refusal::Damaged
            | Refusal::HeadsFull
            | Refusal::HeadConflict
            | Refusal::TicketInvalid
            | Refusal::NameTaken
            | Refusal::ReserveFull
            | Refusal::NothingToReplace
            | Refusal::OtherPlaces
            | Refusal::ReleaseWaits { .. }
            | Refusal::ClaimedSince
            | Refusal::NewestStays
            | Refusal::OtherIncarnation
            | Refusal::Forgotten
            | Refusal::NotUnderstood => {}
        }
        lane.refused.set(lane.refused.get() + 1);
        flight.refused.set(Some(refusal));
        self.answered(flight);
    }

    /// Nothing more lands.
    fn end(&self, why: Refusal) {
        self.fatal.set(Some(why));
        self.window.close();
        self.names.close();
        self.landed.notify_one();
    }

    /// One lane fewer to wait for; at the last one the flight lands, is lost, or waits for a keeper to come.
    fn answered(&self, flight: &Rc<Flight>) {
        flight.open.set(flight.open.get().saturating_sub(1));
        if flight.open.get() > 0 {
            return;
        }
        if flight.confirmed.get() > 0 {
            self.copies
                .set(self.copies.get().min(flight.confirmed.get()));
        } else if flight.record.borrow().is_none() && flight.denied.get() {
            // Somebody was asked and neither it nor anybody it can reach has it: the file is at hand, so it is read again.
            let mut lost = self.lost.borrow_mut();
            if lost.len() < LOST_MAX {
                lost.insert(flight.id);
            }
        } else if let (false, Some(refusal)) = (flight.hope.get(), flight.refused.get()) {
            self.end(refusal);
        } else {
            self.orphans.borrow_mut().push(flight.clone());
            self.orphaned.notify_one();
            return;
        }
        flight.record.borrow_mut().take();
        flight.permit.borrow_mut().take();
        self.flying.set(self.flying.get().saturating_sub(1));
        self.landed.notify_one();
    }
}

/// Asks one keeper for one batch after another.
async fn run_lane<W: World, K: Keepers>(shared: Rc<Shared<W, K>>, peer: PeerKey) {
    let me = shared.keepers.me();
    let puts = Arc::new(Semaphore::new(PUTS_MAX));
    let Some(lane) = shared.lanes.get(&peer) else {
        return;
    };
    loop {
        if shared.closed.get() {
            return;
        }
        let batch: Vec<Rc<Flight>> = {
            let mut queue = lane.queue.borrow_mut();
            let many = queue.len().min(ASK_IDS_MAX);
            queue.drain(..many).collect()
        };
        if batch.is_empty() {
            lane.wake.notified().await;
            continue;
        }
        let Some(keeper) = shared.keepers.reach(peer) else {
            batch.iter().for_each(|flight| shared.away(flight));
            continue;
        };
        let ids = batch.iter().map(|flight| flight.id).collect();
        let bits = match keeper.have(me, ids).await {
            Ok(bits) if bits.len() == batch.len() => bits,
            Ok(_) | Err(AskError::Gone | AskError::Unanswered | AskError::Nonsense) => {
                batch.iter().for_each(|flight| shared.away(flight));
                continue;
            }
            Err(AskError::Refused(refusal)) => {
                for flight in &batch {
                    shared.refused(lane, flight, refusal);
                }
                continue;
            }
        };
        let mut pulls = Vec::new();
        for (flight, is_held) in batch.into_iter().zip(bits) {
            let record = flight.record.borrow().clone();
            match record {
                _ if is_held => shared.confirmed(lane, &flight),
                None => pulls.push(flight),
                Some(record) => {
                    if let Some(refusal) = lane.shut.get() {
                        shared.refused(lane, &flight, refusal);
                        continue;
                    }
                    let Ok(permit) = puts.clone().acquire_owned().await else {
                        return;
                    };
                    let task = put(shared.clone(), peer, keeper.clone(), flight, record, permit);
                    shared.world.spawn(task);
                }
            }
        }
        if !pulls.is_empty() {
            shared
                .world
                .spawn(pull(shared.clone(), peer, keeper, pulls));
        }
    }
}

async fn put<W: World, K: Keepers>(
    shared: Rc<Shared<W, K>>,
    peer: PeerKey,
    keeper: K::Keeper,
    flight: Rc<Flight>,
    record: Rc<Vec<u8>>,
    permit: OwnedSemaphorePermit,
) {
    let Some(lane) = shared.lanes.get(&peer) else {
        return;
    };
    let bytes = record.len() as u64;
    let answer = keeper.put(flight.id, record).await;
    drop(permit);
    match answer {
        Ok(()) => {
            let is_first = !flight.sent.replace(true);
            shared.progress.count_sent(peer, bytes, is_first);
            shared.confirmed(lane, &flight);
        }
        Err(AskError::Gone | AskError::Unanswered | AskError::Nonsense) => shared.away(&flight),
        Err(AskError::Refused(refusal)) => shared.refused(lane, &flight, refusal),
    }
}

async fn pull<W: World, K: Keepers>(
    shared: Rc<Shared<W, K>>,
    peer: PeerKey,
    keeper: K::Keeper,
    flights: Vec<Rc<Flight>>,
) {
    let Some(lane) = shared.lanes.get(&peer) else {
        return;
    };
    let ids = flights.iter().map(|flight| flight.id).collect();
    match keeper.pull(shared.keepers.me(), ids).await {
        Ok(bits) if bits.len() == flights.len() => {
            for (flight, is_held) in flights.iter().zip(bits) {
                if is_held {
                    shared.confirmed(lane, flight);
                } else {
                    shared.denied(flight);
                }
            }
        }
        Ok(_) | Err(AskError::Gone | AskError::Unanswered | AskError::Nonsense) => {
            flights.iter().for_each(|flight| shared.away(flight));
        }
        Err(AskError::Refused(refusal)) => {
            for flight in &flights {
                shared.refused(lane, flight, refusal);
            }
        }
    }
}

/// Sends out again what no keeper has, whenever keepers come or go; when others belong to the reserve meanwhile it ends.
async fn mind_orphans<W: World, K: Keepers>(shared: Rc<Shared<W, K>>) {
    loop {
        if shared.closed.get() {
            return;
        }
        if shared.orphans.borrow().is_empty() {
            shared.orphaned.notified().await;
            continue;
        }
        // Whoever can be reached was asked a moment ago: wait for news before asking again.
        shared
            .world
            .clock()
            .within(RETRY, shared.keepers.changed())
            .await;
        if shared.closed.get() {
            return;
        }
        // Whom they wait for may belong no more, and whoever came has no lane: it all begins anew.
        if shared.keepers.members() != shared.members {
            shared.end(Refusal::OtherPlaces);
            return;
        }
        // From here on whoever comes is news, whether anybody is asked now or not.
        let _ = shared.keepers.reach(shared.keepers.me());
        let orphans = std::mem::take(&mut *shared.orphans.borrow_mut());
        for flight in orphans {
            shared.dispatch(&flight);
        }
    }
}
