//! Sweeping, mending, comparing and changing a setting while one single deed of the disk goes wrong: each deed there is, one after the other.

use std::rc::Rc;

use reserve::format::message::Refusal;
use reserve::format::record::id_of;
use reserve::keeper::{
    Host, Keepers, MemberView, Pace, Places, Server, Store, StoreConfig, SweepProgress, Which,
};
use reserve::monitor::{Pair, Take, compare};
use reserve::terms::{ChunkId, PeerKey, ReserveId};
use reserve::world::World;
use sim::{Answer, Neighbours, Reserve, SimBox, SimWorld, Strike, run};

const AUTHOR: PeerKey = PeerKey([1; 32]);
const HURT: PeerKey = PeerKey([2; 32]);
const WHOLE: PeerKey = PeerKey([3; 32]);
const CONFIG: StoreConfig = StoreConfig {
    table_chunks: 4096,
    capacity_bytes: None,
    quota_bytes_per_author: None,
};
/// Whatever is done here has fewer deeds than this.
const DEEDS_MAX: u64 = 1000;

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

async fn mended_though(world: SimWorld, strike: Strike, deed: u64) -> Answer<bool> {
    let (whole, mut hurt) = (world.box_named("whole"), world.box_named("hurt"));
    let neighbours = Neighbours::new(AUTHOR, [AUTHOR, HURT, WHOLE].map(view).into(), (2, 1));
    let (good, _) = Store::open(whole.clone(), CONFIG).await?;
    let (store, _) = Store::open(hurt.clone(), CONFIG).await?;
    let records = records();
    for (id, record) in &records {
        good.put(AUTHOR, *id, Rc::clone(record)).await?;
        store.put(AUTHOR, *id, Rc::clone(record)).await?;
    }
    store.close().await;
    neighbours.start(WHOLE, whole, good);
    hurt.power_cut();
    hurt = hurt.restart();
    let (path, len) = hurt.files("store/seg-").remove(0);
    for part in [3, 5] {
        hurt.disk().flip_bit(&path, len * part / 8, 4)?;
    }
    let (store, _) = Store::open(hurt.clone(), CONFIG).await?;
    let others = neighbours.seen_by(HURT);
    hurt.strike(deed, strike);
    let (at, mended, from) = (hurt.clone(), store.clone(), others.clone());
    // An error means that the power went.
    let _ = hurt
        .run(async move { sweep_and_mend(&at, &mended, &from).await })
        .await;
    let was_struck = hurt.call_off_strike();
    drop(store);
    hurt.power_cut();
    hurt = hurt.restart();
    let (store, _) = Store::open(hurt.clone(), CONFIG).await?;
    for (id, record) in &records {
        let there = store.get(*id).await?;
        let is_right = there.is_none_or(|there| there == **record);
        assert!(is_right, "wrong bytes were handed out");
    }
    sweep_and_mend(&hurt, &store, &others).await;
    for (id, record) in &records {
        let there = store.get(*id).await?;
        assert!(there.is_some_and(|there| there == **record), "not mended");
    }
    assert_eq!(store.figures().damaged, 0);
    Ok(was_struck)
}

#[test]
fn a_keeper_may_be_struck_at_any_deed_of_a_sweep_and_its_mending() -> Answer<()> {
    for strike in [
        Strike::CutBefore,
        Strike::CutAfter,
        Strike::Fails,
        Strike::ReadsWrong,
    ] {
        let mut deeds = 0;
        while run(deeds, async |world| {
            mended_though(world, strike, deeds).await
        })
        .value
        .map_err(|error| format!("{strike:?} at deed {deeds}: {error}"))?
        {
            deeds += 1;
            assert!(deeds < DEEDS_MAX, "a sweep never ends");
        }
        assert!(deeds > 5, "only {deeds} deeds were tried");
    }
    Ok(())
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
    let (whole, mut hurt) = (world.box_named("whole"), world.box_named("hurt"));
    let neighbours = Neighbours::new(AUTHOR, [AUTHOR, HURT, WHOLE].map(view).into(), (2, 1));
    let (good, _) = Store::open(whole.clone(), CONFIG).await?;
    let (store, _) = Store::open(hurt.clone(), CONFIG).await?;
    let records = records();
    for (at, (id, record)) in records.iter().enumerate() {
        good.put(AUTHOR, *id, Rc::clone(record)).await?;
        // The first it had before.
        if at == 0 {
            store.put(AUTHOR, *id, Rc::clone(record)).await?;
        }
    }
    neighbours.start(WHOLE, whole, good);
    let others = neighbours.seen_by(HURT);
    hurt.strike(deed, strike);
    let (at, lacking, from) = (hurt.clone(), store.clone(), others.clone());
    // An error means that the power went.
    let compared = hurt
        .run(async move { compare_and_take(&at, &lacking, &from).await })
        .await;
    let was_struck = hurt.call_off_strike();
    drop(store);
    hurt.power_cut();
    hurt = hurt.restart();
    let (store, _) = Store::open(hurt.clone(), CONFIG).await?;
    let mut there = 0;
    for (id, record) in &records {
        let kept = store.get(*id).await?;
        assert!(
            kept.as_ref().is_none_or(|kept| *kept == **record),
            "wrong bytes were handed out"
        );
        there += usize::from(kept.is_some());
    }
    if matches!(compared, Ok(Some(0))) && strike != Strike::ReadsWrong {
        assert_eq!(there, records.len(), "it was said to lack nothing");
    }
    assert!(there > 0, "what it had before is gone");
    // Once for what a wrong reading made it doubt, once to see that nothing is lacking.
    sweep_and_mend(&hurt, &store, &others).await;
    compare_and_take(&hurt, &store, &others).await;
    assert_eq!(
        compare_and_take(&hurt, &store, &others).await,
        Some(0),
        "it still lacks something"
    );
    for (id, record) in &records {
        let there = store.get(*id).await?;
        assert!(there.is_some_and(|there| there == **record), "not taken");
    }
    Ok(was_struck)
}

#[test]
fn a_keeper_may_be_struck_at_any_deed_of_comparing_and_taking_what_it_lacks() -> Answer<()> {
    for strike in [
        Strike::CutBefore,
        Strike::CutAfter,
        Strike::Fails,
        Strike::ReadsWrong,
    ] {
        let mut deeds = 0;
        while run(deeds, async |world| {
            made_whole_though(world, strike, deeds).await
        })
        .value
        .map_err(|error| format!("{strike:?} at deed {deeds}: {error}"))?
        {
            deeds += 1;
            assert!(deeds < DEEDS_MAX, "a comparison never ends");
        }
        assert!(deeds > 5, "only {deeds} deeds were tried");
    }
    Ok(())
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
    for strike in [Strike::CutBefore, Strike::CutAfter, Strike::Fails] {
        let mut deeds = 0;
        while run(deeds, async |world| set_though(world, strike, deeds).await)
            .value
            .map_err(|error| format!("{strike:?} at deed {deeds}: {error}"))?
        {
            deeds += 1;
            assert!(deeds < DEEDS_MAX, "a change never ends");
        }
        assert!(deeds > 0, "no deed was tried");
    }
    Ok(())
}
