//! An author and two keepers whose time is counted: only the sessions between them are left out, so months are quick to live.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use reserve::author::release::{self, Asked, Cancelled, Forgotten, Means, Progress, ReleaseError};
use reserve::author::{
    self, AuthorIdentity, Closure, DataSetConfig, Keyring, Options, Placement, Seen, Sizes,
    SnapshotReport,
};
use reserve::format::compare::Prefix;
use reserve::format::head::SignedHead;
use reserve::format::keys::{DataKeys, ReserveSecret};
use reserve::format::record;
use reserve::format::release::Release;
use reserve::format::runs::Runs;
use reserve::keeper::{Ask, Keepers, MemberView, Pace, Store, StoreConfig};
use reserve::retriever::Gather;
use reserve::terms::{ChunkId, KeyEpoch, PeerKey, ReserveId, Suite};
use reserve::world::World;
use smol_str::SmolStr;
use tokio::time::sleep;

use crate::house::{Answer, DATA_PATH};
use crate::neighbours::Neighbours;
use crate::retrieval::bring_back;
use crate::sim_box::{SimBox, SimWorld};
use crate::snapshot::TreeSnapshot;

const HOUR: Duration = Duration::from_secs(3600);
const CONFIG: StoreConfig = StoreConfig {
    table_chunks: 16 << 10,
    capacity_bytes: None,
    quota_bytes_per_author: None,
};
/// Days a keeper lets pass: as people have it who said nothing.
const DELAY_DAYS: u16 = 30;
const RESERVE: ReserveId = ReserveId([5; 16]);
/// Who retrieves: a Box that was not there before.
const NEW_BOX: PeerKey = PeerKey([9; 32]);

struct Keeper {
    key: PeerKey,
    home: SimBox,
    store: Option<Store<SimBox>>,
}

/// Home and its two keepers.
pub(crate) struct Trio {
    pub(crate) home: SimBox,
    world: SimWorld,
    identity: AuthorIdentity,
    neighbours: Neighbours,
    keepers: [Keeper; 2],
    retrievals: u32,
}

fn key_of(number: u8) -> PeerKey {
    let key = SigningKey::from_bytes(&[number; 32]);
    PeerKey(key.verifying_key().to_bytes())
}

impl Trio {
    pub(crate) async fn found(world: SimWorld) -> Answer<Self> {
        let keyring: Keyring =
            Rc::new(|epoch| Some(DataKeys::derive(epoch, &ReserveSecret([7; 32]))));
        let identity = AuthorIdentity {
            signing: SigningKey::from_bytes(&[1; 32]),
            reserve: RESERVE,
            line: vec![key_of(1)],
            keys: Rc::new(DataKeys::derive(KeyEpoch(1), &ReserveSecret([7; 32]))),
            older: Vec::new(),
            keyring,
            suite: Suite::ChaCha20Poly1305,
            choices: Vec::new(),
        };
        let names = [(1, "home"), (2, "office"), (3, "friend")];
        let view = |(number, name): (u8, &'static str)| MemberView {
            key: key_of(number),
            name: SmolStr::new_static(name),
            site: SmolStr::new_static(name),
        };
        let mut members: Vec<MemberView> = names.into_iter().map(view).collect();
        members.sort_by_key(|member| member.key);
        let keeper = |number: u8, name: &str| Keeper {
            key: key_of(number),
            home: world.box_named(name),
            store: None,
        };
        let mut trio = Self {
            home: world.box_named("home"),
            identity,
            neighbours: Neighbours::new(key_of(1), members, (2, 1)),
            keepers: [keeper(2, "office"), keeper(3, "friend")],
            world,
            retrievals: 0,
        };
        for at in 0..2 {
            trio.start(at).await?;
        }
        Ok(trio)
    }

    /// Starts a keeper on what its disk holds.
    pub(crate) async fn start(&mut self, at: usize) -> Answer<()> {
        let keeper = &mut self.keepers[at];
        keeper.store = None;
        keeper.home = keeper.home.restart();
        let (store, _) = Store::open(keeper.home.clone(), CONFIG).await?;
        keeper.store = Some(store.clone());
        self.neighbours
            .start(keeper.key, keeper.home.clone(), store);
        Ok(())
    }

    /// A keeper loses power.
    pub(crate) fn cut(&mut self, at: usize, torn: bool) {
        let keeper = &mut self.keepers[at];
        match torn {
            true => keeper.home.torn_power_cut(),
            false => keeper.home.power_cut(),
        }
        keeper.store = None;
        self.neighbours.stop(keeper.key);
    }

    pub(crate) fn home_of(&self, at: usize) -> SimBox {
        self.keepers[at].home.clone()
    }

    pub(crate) fn runs(&self, at: usize) -> bool {
        self.keepers[at].store.is_some()
    }

    /// Home loses power and starts again.
    pub(crate) fn restart_home(&mut self) {
        self.home.torn_power_cut();
        self.home = self.home.restart();
    }

    /// Home's disk is what that of another Box is.
    pub(crate) fn restore_home(&mut self, image: &SimBox) {
        self.home.power_cut();
        self.home.copy_disk_of(image);
        self.home = self.home.restart();
    }

    /// So many hours go by, and each keeper that runs counts them.
    pub(crate) async fn live(&self, hours: u32) {
        for _ in 0..hours {
            sleep(HOUR).await;
            for keeper in &self.keepers {
                let Some(store) = keeper.store.clone() else {
                    continue;
                };
                let all = |_| true;
                let settling = async move { store.settle_releases(DELAY_DAYS, all).await };
                // What a keeper whose power was cut did not do it does later.
                drop(keeper.home.run(settling).await);
            }
        }
    }

    /// Gives back the space of what nobody needs.
    pub(crate) async fn compact(&self) -> Answer<()> {
        for keeper in &self.keepers {
            if let Some(store) = keeper.store.clone() {
                keeper
                    .home
                    .run(async move { store.compact(Pace::Full).await })
                    .await??;
            }
        }
        Ok(())
    }

    /// Chunks all keepers have.
    pub(crate) fn chunks(&self) -> usize {
        let stores = self
            .keepers
            .iter()
            .filter_map(|keeper| keeper.store.as_ref());
        stores.map(|store| store.figures().chunks).sum()
    }

    pub(crate) async fn take(&self) -> Answer<SnapshotReport> {
        let (home, neighbours) = (self.home.clone(), self.neighbours.clone());
        let identity = self.identity.clone();
        let options = Options {
            wait_protected: false,
            accept_loss: true,
            only_news: false,
            try_anyway: false,
            sizes: Sizes::small(),
        };
        let data_set = DataSetConfig {
            name: SmolStr::new_static("data"),
            path: DATA_PATH.as_bytes().to_vec(),
        };
        let world = home.clone();
        let taken = home.run(async move {
            let progress = Rc::new(author::Progress::default());
            let sets = [data_set];
            let taking =
                author::snapshot(&world, &neighbours, &identity, &sets, &options, &progress);
            Box::pin(taking).await
        });
        Ok(taken.await??)
    }

    /// Decides and tells all keepers in reach, as the service does it. How many snapshots leave.
    pub(crate) async fn forget(&self, asked: Asked) -> Answer<Result<usize, ReleaseError>> {
        let (home, neighbours) = (self.home.clone(), self.neighbours.clone());
        let (identity, world) = (self.identity.clone(), self.home.clone());
        let done = home.run(async move {
            let progress = Progress::default();
            let means = Means {
                world: &world,
                keepers: &neighbours,
                identity: &identity,
                progress: &progress,
            };
            let mut decided = Box::pin(means.decide(&asked)).await?;
            means.commit(&mut decided).await?;
            for member in neighbours.members() {
                // Whoever did not hear it hears it later.
                drop(means.tell(&mut decided, member.key).await?);
            }
            let leaving = decided.leaving.len();
            decided.clean(&world).await?;
            Ok(leaving)
        });
        Ok(done.await?)
    }

    /// Takes back all that waits; how each keeper answered.
    pub(crate) async fn undo(&self) -> Answer<Vec<Option<Cancelled>>> {
        let (home, neighbours) = (self.home.clone(), self.neighbours.clone());
        let (identity, world) = (self.identity.clone(), self.home.clone());
        let done = home.run(async move {
            let progress = Progress::default();
            let means = Means {
                world: &world,
                keepers: &neighbours,
                identity: &identity,
                progress: &progress,
            };
            let mut answers = Vec::new();
            for peer in release::undo(&means).await? {
                if peer != neighbours.me() {
                    answers.push(release::cancel(&means, peer).await?.ok());
                }
            }
            Ok::<_, ReleaseError>(answers)
        });
        Ok(done.await??)
    }

    /// Whoever has home's key gives up all there is on a keeper. Whether the keeper took it.
    pub(crate) async fn give_up_everything(&self, at: usize, newest: &SignedHead) -> Answer<bool> {
        let peer = self.keepers[at].key;
        let keeper = self.neighbours.reach(peer).ok_or("it does not run")?;
        let heads = keeper
            .heads(Some(key_of(1)), reserve::terms::SnapshotNumber(0))
            .await?;
        let numbers = heads.iter().map(|head| head.head.number);
        let numbers: Runs = numbers
            .filter(|number| *number < newest.head.number)
            .collect();
        let page = keeper.claimed(None).await?;
        let names: Vec<u8> = page.claims().flat_map(|(prefix, _)| prefix).collect();
        let release = Release {
            reserve: RESERVE,
            author: key_of(1),
            keeper: peer,
            incarnation: newest.head.incarnation,
            basis: page.basis,
            numbers,
            names: names.into(),
        };
        Ok(keeper
            .release(release.sign(&self.identity.signing))
            .await
            .is_ok())
    }

    /// What home let go, as it remembers.
    pub(crate) async fn forgotten(&self) -> Answer<Forgotten> {
        Ok(Forgotten::load(self.home.disk()).await?)
    }

    /// What a keeper lacks of snapshots that stay it is given: what a service does when one is back.
    pub(crate) async fn catch_up(&self, heads: &[SignedHead]) {
        let members = self.neighbours.members();
        for keeper in self.keepers.iter().filter(|keeper| keeper.store.is_some()) {
            let placement = Placement {
                members: members.clone(),
                factor: 2,
            };
            let (neighbours, keyring) = (self.neighbours.clone(), self.identity.keyring.clone());
            let (heads, peer) = (heads.to_vec(), keeper.key);
            let caught_up = self.home.run(async move {
                let mut seen = Seen::default();
                for head in heads {
                    let caught_up = author::catch_up_with(
                        &neighbours,
                        &keyring,
                        &head,
                        &placement,
                        &mut seen,
                        peer,
                    );
                    // The look that follows says what is missing.
                    let _ = caught_up.await;
                }
            });
            let _ = caught_up.await;
        }
    }

    /// Numbers that each keeper that runs lists.
    pub(crate) async fn listed(&self) -> Answer<BTreeSet<u64>> {
        let mut listed = BTreeSet::new();
        for keeper in &self.keepers {
            let Some(keeper) = self.neighbours.reach(keeper.key) else {
                continue;
            };
            let mut after = reserve::terms::SnapshotNumber(0);
            loop {
                let heads = keeper.heads(Some(key_of(1)), after).await?;
                let Some(last) = heads.iter().map(|head| head.head.number).max() else {
                    break;
                };
                listed.extend(heads.iter().map(|head| head.head.number.0));
                after = last;
            }
        }
        Ok(listed)
    }

    /// A chunk of a snapshot that no keeper which runs has whole, or (if asked) that none is to keep.
    pub(crate) async fn lacks(&self, head: &SignedHead, claimed: bool) -> Answer<Option<ChunkId>> {
        let mut kept: Vec<(PeerKey, BTreeSet<Prefix>)> = Vec::new();
        for keeper in &self.keepers {
            let Some(store) = &keeper.store else { continue };
            let mut names = BTreeSet::new();
            let mut after = None;
            loop {
                let page = store.claimed(key_of(1), after).await;
                names.extend(page.claims().map(|(prefix, _)| prefix));
                after = names.last().copied().filter(|_| page.more);
                if after.is_none() {
                    break;
                }
            }
            kept.push((keeper.key, names));
        }
        let (neighbours, keyring) = (self.neighbours.seen_by(NEW_BOX), &self.identity.keyring);
        let mut closure = Closure::new(&neighbours, keyring, head);
        'names: while let Some(id) = closure.next().await? {
            let prefix: &Prefix = id.0.first_chunk().ok_or("a name is longer")?;
            for (peer, names) in &kept {
                let Some(keeper) = neighbours.reach(*peer) else {
                    continue;
                };
                if (!claimed || names.contains(prefix))
                    && let Some(bytes) = keeper.get(id).await?
                    && record::id_of(&bytes) == id
                {
                    continue 'names;
                }
            }
            return Ok(Some(id));
        }
        Ok(None)
    }

    /// Everything of a snapshot, on a new Box.
    pub(crate) async fn retrieve(&mut self, head: &SignedHead) -> Answer<TreeSnapshot> {
        let new = self.world.box_named("new");
        self.retrievals += 1;
        let target = format!("/back/{}", self.retrievals);
        let (world, keyring) = (new.clone(), self.identity.keyring.clone());
        let keepers = self.neighbours.seen_by(NEW_BOX);
        let source = move || Gather::new(keepers, world, move |epoch| keyring(epoch));
        bring_back(&new, head.head.clone(), &target, source).await
    }
}
