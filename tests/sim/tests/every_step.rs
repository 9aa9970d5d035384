//! Sweeping, mending, comparing and changing a setting while one single deed of the disk goes wrong: each deed there is, one after the other.

use std::rc::Rc;
use std::time::Duration;

use reserve::format::message::Refusal;
use reserve::format::record::id_of;
use reserve::keeper::{
    Host, Keepers, MemberView, Pace, Places, Server, Store, StoreConfig, SweepProgress, Which,
};
use reserve::monitor::{Pair, Take, compare};
use reserve::terms::{ChunkId, PeerKey, ReserveId};
use reserve::world::World;
use sim::{Answer, Neighbours, Reserve, SimBox, SimWorld, Strike, at_every_deed};

const AUTHOR: PeerKey = PeerKey([1; 32]);
const HURT: PeerKey = PeerKey([2; 32]);
const WHOLE: PeerKey = PeerKey([3; 32]);
const CONFIG: StoreConfig = StoreConfig {
    table_chunks: 4096,
    capacity_bytes: None,
    quota_bytes_per_author: None,
};
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A keeper among others, as what mends it sees it.
#[derive(Clone)]
struct Office(Neighbours);

impl Host for Office {
    type Keepers = Neighbours;

    fn keepers(&self) -> Self::Keepers {
        self.0.clone()
    }
    fn is_ours(&self, _: PeerKey) -> bool {
        true
    }
    fn reserve(&self) -> ReserveId {
        ReserveId([1; 16])
    }
    fn places(&self) -> Places {
        self.0.places()
    }
    async fn merge_roster(&self, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }
}

fn view(key: PeerKey) -> MemberView {
    MemberView {
        key,
        name: key.short().into(),
        site: key.short().into(),
    }
}

fn records() -> Vec<(ChunkId, Rc<Vec<u8>>)> {
    let record = |number: u8| {
        let record: Vec<u8> = (0..9000u32)
            .map(|at| u8::try_from(at % 251).unwrap_or(0) ^ number)
            .collect();
        (id_of(&record), Rc::new(record))
    };
    (0..6).map(record).collect()
}

/// Sweeps a keeper two of whose chunks are damaged, and mends it from another, as often as it takes.
async fn sweep_and_mend(home: &SimBox, store: &Store<SimBox>, others: &Neighbours) {
    let progress = SweepProgress::default();
    // What it says is not believed: the chunks are looked at.
    let _ = store.verify(Which::All, Pace::Full, &progress).await;
    let server = Server::new(home.clone(), store.clone(), Office(others.clone()));
    server.repair().await;
}

/// Two keepers of one author: one that has everything, and one that is struck.
struct Hurt {
    home: SimBox,
    store: Store<SimBox>,
    others: Neighbours,
    records: Vec<(ChunkId, Rc<Vec<u8>>)>,
}

impl Hurt {
    /// Of all chunks the first few were put on it too.
    async fn with(world: &SimWorld, many: usize) -> Answer<Self> {
        let (whole, home) = (world.box_named("whole"), world.box_named("hurt"));
        let neighbours = Neighbours::new(AUTHOR, [AUTHOR, HURT, WHOLE].map(view).into(), (2, 1));
        let (good, _) = Store::open(whole.clone(), CONFIG).await?;
        let (store, _) = Store::open(home.clone(), CONFIG).await?;
        let records = records();
        for (at, (id, record)) in records.iter().enumerate() {
            good.put(AUTHOR, *id, Rc::clone(record)).await?;
            if at < many {
                store.put(AUTHOR, *id, Rc::clone(record)).await?;
            }
        }
        neighbours.start(WHOLE, whole, good);
        Ok(Self {
            home,
            store,
            others: neighbours.seen_by(HURT),
            records,
        })
    }

    /// Its power goes, something may happen to its disk, and it starts again.
    async fn again(self, meanwhile: impl FnOnce(&SimBox) -> Answer<()>) -> Answer<Self> {
        let Self {
            home,
            store,
            others,
            records,
        } = self;
        drop(store);
        home.power_cut();
        let home = home.restart();
        meanwhile(&home)?;
        let (store, _) = Store::open(home.clone(), CONFIG).await?;
        Ok(Self {
            home,
            store,
            others,
            records,
        })
    }

    /// How many chunks it hands out. What it hands out is right.
    async fn chunks(&self) -> Answer<usize> {
        let mut there = 0;
        for (id, record) in &self.records {
            let kept = self.store.get(*id).await?;
            let is_right = kept.as_ref().is_none_or(|kept| *kept == **record);
            assert!(is_right, "wrong bytes were handed out");
            there += usize::from(kept.is_some());
        }
        Ok(there)
    }

    /// Does something while its disk is struck; nothing comes of it if the power goes. And whether it was struck.
    async fn struck<T: 'static>(
        &self,
        (strike, deed): (Strike, u64),
        work: impl Future<Output = T> + 'static,
    ) -> (Option<T>, bool) {
        self.home.strike(deed, strike);
        let done = self.home.run(work).await;
        (done.ok(), self.home.call_off_strike())
    }
}

async fn mended_though(world: SimWorld, strike: Strike, deed: u64) -> Answer<bool> {
    let hurt = Hurt::with(&world, usize::MAX).await?;
    hurt.store.close().await;
    let rot = |home: &SimBox| {
        let (path, len) = home.files("store/seg-").remove(0);
        for part in [3, 5] {
            home.disk().flip_bit(&path, len * part / 8, 4)?;
        }
        Ok(())
    };
    let hurt = hurt.again(rot).await?;
    let (home, store, others) = (hurt.home.clone(), hurt.store.clone(), hurt.others.clone());
    let mending = async move { sweep_and_mend(&home, &store, &others).await };
    let (_, was_struck) = hurt.struck((strike, deed), mending).await;
    let hurt = hurt.again(|_| Ok(())).await?;
    hurt.chunks().await?;
    sweep_and_mend(&hurt.home, &hurt.store, &hurt.others).await;
    assert_eq!(hurt.chunks().await?, hurt.records.len(), "not mended");
    assert_eq!(hurt.store.figures().damaged, 0);
    Ok(was_struck)
}

#[test]
fn a_keeper_may_be_struck_at_any_deed_of_a_sweep_and_its_mending() -> Answer<()> {
    at_every_deed(&Strike::ALL, 6, DAY, mended_though)
}

/// Fetches what comparing names.
struct Fetch(Server<SimBox, Office>);

impl Take for Fetch {
    async fn take(&mut self, author: PeerKey, ids: Vec<ChunkId>) -> u64 {
        let held = self.0.take(author, &ids).await.unwrap_or_default();
        held.iter().filter(|held| **held).count() as u64
    }
}

/// Compares a keeper with the whole one and takes what it lacks. What was lacking and was not taken; nothing if it did not come to its end.
async fn compare_and_take(
    home: &SimBox,
    store: &Store<SimBox>,
    others: &Neighbours,
) -> Option<u64> {
    let server = Server::new(home.clone(), store.clone(), Office(others.clone()));
    let (keeper, places) = (others.reach(WHOLE)?, others.places());
    let pair = Pair {
        store,
        me: HURT,
        keeper: &keeper,
        peer: WHOLE,
        places: &places,
        absent: &[],
        salt: 5,
    };
    let mut fetch = Fetch(server);
    let outcome = Box::pin(compare(&pair, 0, &mut fetch)).await.ok()?;
    Some(outcome.lacking_here - outcome.taken)
}

async fn made_whole_though(world: SimWorld, strike: Strike, deed: u64) -> Answer<bool> {
    let hurt = Hurt::with(&world, 1).await?;
    let (home, store, others) = (hurt.home.clone(), hurt.store.clone(), hurt.others.clone());
    let comparing = async move { compare_and_take(&home, &store, &others).await };
    let (compared, was_struck) = hurt.struck((strike, deed), comparing).await;
    let hurt = hurt.again(|_| Ok(())).await?;
    let there = hurt.chunks().await?;
    if compared == Some(Some(0)) && strike != Strike::ReadsWrong {
        assert_eq!(there, hurt.records.len(), "it was said to lack nothing");
    }
    assert!(there > 0, "what it had before is gone");
    // Once for what a wrong reading made it doubt, once to see that nothing is lacking.
    let (home, store, others) = (&hurt.home, &hurt.store, &hurt.others);
    sweep_and_mend(home, store, others).await;
    compare_and_take(home, store, others).await;
    let lacking = compare_and_take(home, store, others).await;
    assert_eq!(lacking, Some(0), "it still lacks something");
    assert_eq!(hurt.chunks().await?, hurt.records.len(), "not taken");
    Ok(was_struck)
}

#[test]
fn a_keeper_may_be_struck_at_any_deed_of_comparing_and_taking_what_it_lacks() -> Answer<()> {
    at_every_deed(&Strike::ALL, 6, DAY, made_whole_though)
}

async fn set_though(world: SimWorld, strike: Strike, deed: u64) -> Answer<bool> {
    let mut reserve = Reserve::found(world, 1, 60).await?;
    let home = reserve.houses[0].home.clone();
    let service = reserve.service(0).ok_or("it runs")?;
    let before = service.sweep_period_days();
    home.strike(deed, strike);
    let changed = home
        .run(async move { service.change_setting("sweep_period_days", "77").await })
        .await;
    let was_struck = home.call_off_strike();
    reserve.houses[0].cut(true);
    reserve.houses[0].boot().await?;
    let after = reserve
        .service(0)
        .ok_or("it runs again")?
        .sweep_period_days();
    if matches!(changed, Ok(Ok(()))) {
        assert_eq!(after, 77, "it was said to be done");
    }
    assert!(after == 77 || after == before, "{after}");
    Ok(was_struck)
}

#[test]
fn a_box_may_be_struck_at_any_deed_of_changing_a_setting() -> Answer<()> {
    let strikes = [Strike::CutBefore, Strike::CutAfter, Strike::Fails];
    at_every_deed(&strikes, 1, DAY, set_though)
}
