//! The rooms put together: one Box's service on one ring.
//!
//! `Service` is the hub the rooms' small host interfaces lead to; it decides nothing that a room could decide. It is generic over the
//! world, so the simulated one runs the same composition; only `process` and `control` are of this machine.

mod backwards;
mod conflicts;
mod control;
mod copying;
mod damage;
mod directory;
mod events;
mod facade;
mod find;
mod following;
mod forgetting;
mod gate;
mod guests;
mod healing;
mod job;
mod jobs;
mod lacking;
pub mod last_copies;
mod leaving;
mod left_alone;
mod letting_go;
mod limits;
mod listing;
mod mending;
mod minding;
mod news;
mod opening;
mod own_files;
mod own_state;
mod presence;
mod process;
mod protection;
mod proving;
mod releasing;
mod schedule;
mod sides;
mod sweeping;
mod taking;
mod telling;
mod verdict;
mod views;
mod watch;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use smol_str::SmolStr;
use tokio::sync::{Notify, Semaphore};

use crate::author::Sizes;
use crate::author::release::Forgotten;
use crate::console::control::{DataSetView, TicketView};
use crate::console::fault::Fault;
use crate::dispatcher::{Dispatcher, EventFact, EventKind, FactName, Subject};
use crate::format::keys::RecoveryWay;
use crate::format::message::{Refusal, Room};
use crate::format::release::Waiting;
use crate::keeper::{Presence, Server, Store};
use crate::monitor::{Processes, Signed};
use crate::path::Mesh;
use crate::retriever::Gather;
use crate::roster::{DataSet, Identity, Invitations, LoadedBox, Roster, Secrets};
use crate::session::{LocalKeys, Pool};
use crate::terms::limits::{RECEIVE_POOL_BYTES, ROSTER_BYTES_MAX, TICKET_SECONDS};
use crate::terms::{HeadHash, KeyEpoch, PeerKey, SnapshotNumber, Stamp};
use crate::world::{Clock, Entropy, Moment, World};

pub use directory::Directory;
pub use facade::Shown;
pub use gate::{has_fast_aes, session_suite};
pub use healing::Compared;
pub use opening::{Opening, open, open_store};
pub use process::{LOCK, lock, run};
pub use views::{name_of, peer_view, say_what_is_kept, snapshot_view};

use healing::Healing;
use job::Job;
use mending::Mended;
use protection::Protection;

/// Chunks of plaintext on their way to commands at once, over all of them: 2 MiB each at most, 1 usually.
const CHUNKS_OUT_MAX: usize = 8;

struct Inner<W: World> {
    world: W,
    name: SmolStr,
    identity: Identity,
    secrets: RefCell<Rc<Secrets>>,
    roster: RefCell<Rc<Roster>>,
    roster_changed: Notify,
    /// Rosters are replaced one after the other.
    roster_turn: tokio::sync::Mutex<()>,
    invitations: Invitations,
    store: Store<W>,
    /// This Box's own keys, and how it answers whoever has the words: both made once.
    keys: LocalKeys,
    recovery_way: RecoveryWay,
    pool: Pool,
    /// What guests bring: a roster at most.
    guests_pool: Pool,
    boot: u64,
    began: Moment,
    mesh: OnceCell<Mesh<W, Service<W>>>,
    gather: OnceCell<Gather<Directory<W>, W>>,
    server: OnceCell<Server<W, Service<W>>>,
    protection: RefCell<Protection>,
    proven: Notify,
    /// Keepers that said why they take no more.
    refusing: RefCell<BTreeMap<PeerKey, Refusal>>,
    /// How many epochs back a peer is called, since it hung up.
    epochs_back: RefCell<BTreeMap<PeerKey, usize>>,
    /// When a caller was last told of that was turned away, and how many were not told of since.
    turned_away: Cell<(Option<Moment>, u64)>,
    /// What the copies of former authors' and older snapshots have come to.
    mended: RefCell<Mended>,
    /// What of snapshots is on no Box any more.
    lacking: RefCell<lacking::Lacking>,
    /// Keepers that did not take what they should.
    left_alone: RefCell<left_alone::LeftAlone>,
    /// Something may have to be mended.
    mend: Notify,
    /// Snapshots that bear one number, as they were seen last.
    conflicts: RefCell<conflicts::Seen>,
    /// Which processes of the others were met.
    processes: RefCell<Processes>,
    /// What this process signed.
    signed: RefCell<Signed>,
    /// What comparisons with other keepers told.
    healing: RefCell<Healing>,
    /// A comparison may be due.
    heal: Notify,
    /// There may be something to compact.
    compact: Notify,
    /// Which process of a peer was met last.
    boots: RefCell<BTreeMap<PeerKey, u64>>,
    /// What the others said of their room when they were asked last.
    rooms: RefCell<BTreeMap<PeerKey, Room>>,
    /// Damaged chunks that were fetched anew in this run.
    replaced: Cell<u64>,
    /// Keepers that are being asked for their share now.
    proving: RefCell<BTreeSet<PeerKey>>,
    /// Members that live but left a question without an answer, until they answer one that touches their disk.
    hanging: RefCell<BTreeSet<PeerKey>>,
    /// What stands where the store should be, as it was seen last.
    store_presence: Cell<Presence>,
    /// The store was not there, and is now.
    is_store_back: Cell<bool>,
    store_is_back: Notify,
    /// Data sets of snapshots that were listed last.
    data_sets: RefCell<BTreeMap<HeadHash, Vec<DataSetView>>>,
    jobs: RefCell<VecDeque<Rc<Job>>>,
    snapshot_turn: tokio::sync::Mutex<()>,
    /// Snapshots are let go, or taken back: one deed at a time.
    forget_turn: tokio::sync::Mutex<()>,
    /// What waits at keepers for its time, as it was heard last.
    waiting: RefCell<Vec<(PeerKey, Waiting)>>,
    /// What was let go, once it was looked up.
    forgotten: RefCell<Option<Rc<Forgotten>>>,
    data: RefCell<Vec<DataSet>>,
    state_dir: OnceCell<PathBuf>,
    /// Chunks on their way to commands, all together.
    chunks_out: Arc<Semaphore>,
    dispatcher: Dispatcher<W>,
    /// How large the author cuts.
    sizes: Sizes,
    /// The newest snapshot of this run, until it was told that it is protected.
    unprotected: Cell<Option<SnapshotNumber>>,
    /// Places in the store that were found damaged at the start, while something of them may be lacking.
    damaged_at_start: Cell<u64>,
    latest: RefCell<Option<crate::format::head::SignedHead>>,
    /// When the newest snapshot was last found to be what is there; data.
    looked: Cell<Option<Stamp>>,
    /// When keepers were last asked for all of a snapshot.
    asked_all: Cell<Option<Moment>>,
    /// Snapshots by themselves: when one ended last, and how often one is due.
    schedule: RefCell<schedule::Schedule>,
    period: Cell<Option<Duration>>,
}

/// One Box's service.
pub struct Service<W: World>(Rc<Inner<W>>);

impl<W: World> Clone for Service<W> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<W: World> Service<W> {
    /// Puts the rooms together; nobody is called and no call answered before [`Service::start`].
    pub fn new(
        world: W,
        loaded: LoadedBox,
        store: Store<W>,
        invitations: Invitations,
        dispatcher: Dispatcher<W>,
        sizes: Sizes,
        damaged_at_start: u64,
    ) -> Self {
        let presence_at_start = match store.is_lost() {
            true => Presence::Gone,
            false => Presence::Here,
        };
        let boot = u64::from_le_bytes(world.entropy().bytes());
        let (sign, seal) = loaded.roster.recovery_halves();
        let (signing, noise) = (&loaded.identity.signing, &loaded.identity.noise);
        let keys = LocalKeys::new(signing.clone(), noise.clone());
        let service = Self(Rc::new(Inner {
            world: world.clone(),
            name: loaded.config.name,
            identity: loaded.identity,
            secrets: RefCell::new(Rc::new(loaded.secrets)),
            roster: RefCell::new(Rc::new(loaded.roster)),
            roster_changed: Notify::new(),
            roster_turn: tokio::sync::Mutex::new(()),
            invitations,
            store: store.clone(),
            keys,
            recovery_way: RecoveryWay::derive(&sign, &seal),
            pool: Pool::new(RECEIVE_POOL_BYTES),
            guests_pool: Pool::new(ROSTER_BYTES_MAX),
            boot,
            began: world.clock().now(),
            mesh: OnceCell::new(),
            gather: OnceCell::new(),
            server: OnceCell::new(),
            protection: RefCell::default(),
            proven: Notify::new(),
            refusing: RefCell::default(),
            epochs_back: RefCell::default(),
            turned_away: Cell::default(),
            mended: RefCell::default(),
            lacking: RefCell::default(),
            left_alone: RefCell::default(),
            mend: Notify::new(),
            conflicts: RefCell::new(conflicts::Seen::at_start(&store)),
            processes: RefCell::default(),
            signed: RefCell::default(),
            healing: RefCell::default(),
            heal: Notify::new(),
            compact: Notify::new(),
            boots: RefCell::default(),
            rooms: RefCell::default(),
            replaced: Cell::new(0),
            proving: RefCell::default(),
            hanging: RefCell::default(),
            store_presence: Cell::new(presence_at_start),
            is_store_back: Cell::default(),
            store_is_back: Notify::new(),
            data_sets: RefCell::default(),
            jobs: RefCell::default(),
            snapshot_turn: tokio::sync::Mutex::new(()),
            forget_turn: tokio::sync::Mutex::new(()),
            waiting: RefCell::default(),
            forgotten: RefCell::default(),
            data: RefCell::new(loaded.config.data.clone()),
            state_dir: OnceCell::new(),
            chunks_out: Arc::new(Semaphore::new(CHUNKS_OUT_MAX)),
            dispatcher,
            sizes,
            unprotected: Cell::new(None),
            damaged_at_start: Cell::new(damaged_at_start),
            latest: RefCell::default(),
            looked: Cell::default(),
            asked_all: Cell::default(),
            schedule: RefCell::default(),
            period: Cell::new(loaded.config.snapshots.period()),
        }));
        let keyring = {
            let service = service.clone();
            move |epoch: KeyEpoch| service.secrets().data_keys_of(epoch)
        };
        let damaged = EventFact::new(FactName::Count, damaged_at_start);
        service.reporter().settle(
            damaged_at_start > 0,
            EventKind::StoreDamaged,
            Subject::Itself,
            &[damaged],
        );
        let days = service.roster().sweep_period_days();
        service.store().sweep_period_is(days);
        // Each is set here and nowhere else.
        let _ = service
            .0
            .gather
            .set(Gather::new(service.keepers(), world.clone(), keyring));
        let _ = service
            .0
            .server
            .set(Server::new(world, store, service.clone()));
        service
    }

    /// Begins to answer and to call.
    pub fn start(&self, listener: <W::Net as crate::world::Net>::Listener) {
        // Set here and nowhere else; a second start would be a mistake of the caller's that changes nothing.
        let _ = self
            .0
            .mesh
            .set(Mesh::start(self.0.world.clone(), self.clone(), listener));
        self.world().spawn(self.clone().keep_proving());
        self.world().spawn(self.clone().keep_schedule());
        self.world().spawn(self.clone().keep_watch());
        self.world().spawn(self.clone().keep_mending());
        let service = self.clone();
        self.world().spawn(async move {
            // What a power cut left half done: a secret in the roster that was not taken out yet.
            if let Err(error) = service.change_roster(|_, _| Ok(())).await {
                tracing::warn!(%error, "the roster could not be brought up to date");
            }
        });
        self.world().spawn(self.clone().mind_store());
        self.world().spawn(self.clone().mind_releases());
        self.world().spawn(self.clone().mind_presence());
        self.world().spawn(self.clone().mend_store());
        self.world().spawn(self.clone().mind_own_files());
        self.world().spawn(self.clone().mind_own_state());
        self.world().spawn(self.clone().keep_healing());
        self.world().spawn(self.clone().keep_forgetting());
    }

    /// Where its own state is: nothing of that is a data set.
    pub fn lies_in(&self, dir: &Path) {
        // Told once, at the start.
        let _ = self.0.state_dir.set(dir.to_owned());
    }

    /// Answers calls at one more place.
    pub fn hear(&self, listener: <W::Net as crate::world::Net>::Listener) {
        if let Some(mesh) = self.mesh() {
            mesh.hear(listener);
        }
    }

    /// Ends in good order: acknowledges what is under way, writes down what waits.
    pub async fn close(&self) {
        self.0.store.close().await;
        self.0.dispatcher.close().await;
    }

    /// What people call this Box.
    #[must_use]
    pub fn name(&self) -> SmolStr {
        self.0.name.clone()
    }

    pub(super) fn world(&self) -> &W {
        &self.0.world
    }

    pub(super) fn me(&self) -> PeerKey {
        self.0.identity.peer()
    }

    pub(super) fn store(&self) -> &Store<W> {
        &self.0.store
    }

    /// The roster as it is now; a later change makes a new one.
    pub(super) fn roster(&self) -> Rc<Roster> {
        Rc::clone(&self.0.roster.borrow())
    }

    pub(super) fn mesh(&self) -> Option<&Mesh<W, Self>> {
        self.0.mesh.get()
    }

    pub(super) fn keepers(&self) -> Directory<W> {
        Directory::new(self.clone())
    }

    pub(super) fn gather(&self) -> Gather<Directory<W>, W> {
        self.0.gather.get().expect("set in new").clone()
    }

    /// Replaces the roster by one that was made durable.
    pub(super) fn roster_is(&self, roster: Roster) {
        let before = self.roster();
        self.tell_roster_change(&before, &roster);
        self.store().sweep_period_is(roster.sweep_period_days());
        *self.0.roster.borrow_mut() = Rc::new(roster);
        if mending::places_more(&before, &self.roster()) {
            self.places_changed();
        }
        self.0.roster_changed.notify_waiters();
        self.0.heal.notify_one();
    }

    /// A one-time ticket.
    pub(super) async fn invite(&self) -> Result<TicketView, Fault> {
        let ticket = self.new_ticket().await?;
        Ok(TicketView {
            ticket: ticket.to_text(),
            seconds: TICKET_SECONDS,
        })
    }
}
