//! Stories of one keeper's store: what it acknowledged is there after any power cut, torn or not, whenever it comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use reserve::format::record::id_of;
use reserve::keeper::{Store, StoreConfig};
use reserve::terms::{ChunkId, PeerKey};
use reserve::world::{Clock, Entropy, World};
use sim::{Faults, Lie, SimBox, SimWorld, run};

const AUTHOR: PeerKey = PeerKey([1; 32]);
const CONFIG: StoreConfig = StoreConfig {
    table_chunks: 4096,
    capacity_bytes: None,
    quota_bytes_per_author: None,
};
/// Boots of a keeper in one story.
const LIVES: u64 = 4;
/// Peers that put at the same time.
const PUTTERS: usize = 6;

/// What befalls a keeper in a story besides losing power.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// A power cut leaves a random part of what was not synced.
    TornWrites,
    /// A sync fails now and then.
    FailedSyncs,
}

type Answer<T> = Result<T, Box<dyn Error>>;
/// Every chunk a keeper said yes to, and its record.
type Acknowledged = Rc<RefCell<BTreeMap<ChunkId, Rc<Vec<u8>>>>>;

/// A record of random length and bytes; most short, some long.
fn draw(home: &SimBox) -> (ChunkId, Rc<Vec<u8>>) {
    let [kind, low, high] = home.entropy().bytes();
    let mut record =
        vec![0; 1 + usize::from(low) + usize::from(high) * if kind < 64 { 4000 } else { 40 }];
    home.entropy().fill(&mut record);
    (id_of(&record), Rc::new(record))
}

/// Puts one record after the other for ever and notes each yes.
async fn put_for_ever(home: SimBox, store: Store<SimBox>, acknowledged: Acknowledged) {
    loop {
        let (id, record) = draw(&home);
        if store.put(AUTHOR, id, Rc::clone(&record)).await.is_ok() {
            acknowledged.borrow_mut().insert(id, record);
        }
    }
}

/// Lets a sync fail now and then, for ever.
async fn fail_syncs(home: SimBox) {
    loop {
        let [chance] = home.entropy().bytes();
        home.clock()
            .sleep(Duration::from_millis(u64::from(chance) / 2))
            .await;
        home.faults(Faults::fail_next_sync);
    }
}

/// Lets a keeper live and lose power several times while it is busy, and counts what it acknowledged and what was lost.
async fn many_lives(world: SimWorld, lie: Option<Lie>, trouble: Trouble) -> Answer<(usize, usize)> {
    let mut home = world.box_named("keeper");
    home.lie_about(lie);
    let acknowledged = Acknowledged::default();
    for life in 0..LIVES {
        let (store, _) = Store::open(home.clone(), CONFIG).await?;
        for _ in 0..PUTTERS {
            home.spawn(put_for_ever(
                home.clone(),
                store.clone(),
                Rc::clone(&acknowledged),
            ));
        }
        drop(store);
        if trouble == Trouble::FailedSyncs {
            home.spawn(fail_syncs(home.clone()));
        }
        let [chance] = home.entropy().bytes();
        home.clock()
            .sleep(Duration::from_millis(20 + life * 40 + u64::from(chance)))
            .await;
        match trouble {
            Trouble::TornWrites => home.torn_power_cut(),
            Trouble::None | Trouble::FailedSyncs => home.power_cut(),
        }
        home = home.restart();
        home.faults(Faults::clear);
    }
    let (store, report) = Store::open(home.clone(), CONFIG).await?;
    let acknowledged = acknowledged.take();
    let ids: Vec<_> = acknowledged.keys().copied().collect();
    let mut lost = 0;
    for ids in ids.chunks(100) {
        for (id, has) in ids.iter().zip(store.have(AUTHOR, ids).await?) {
            let got = store.get(*id).await?;
            lost += usize::from(
                !has || got.as_deref() != acknowledged.get(id).map(|kept| kept.as_slice()),
            );
        }
    }
    assert!(report.chunks >= acknowledged.len() - lost);
    Ok((acknowledged.len(), lost))
}

#[test]
fn an_acknowledged_chunk_survives_power_cuts() -> Answer<()> {
    for (seed, trouble) in
        (0..).zip([Trouble::None, Trouble::TornWrites, Trouble::FailedSyncs].repeat(2))
    {
        let (kept, lost) = run(seed, async |world| many_lives(world, None, trouble).await).value?;
        assert!(kept > 50, "seed {seed}: only {kept} puts were acknowledged");
        assert_eq!(lost, 0, "seed {seed}: of {kept} acknowledged chunks");
    }
    Ok(())
}

#[test]
fn a_keeper_that_acknowledges_before_syncing_is_caught() -> Answer<()> {
    let caught = run(1, async |world| {
        many_lives(world, Some(Lie::NoSync), Trouble::None).await
    })
    .value;
    let (kept, lost) = caught?;
    assert!(kept > 50 && lost > 0, "{lost} of {kept} lost");
    Ok(())
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() -> Answer<()> {
    let story = async |world: SimWorld| {
        let home = world.box_named("keeper");
        let (store, _) = Store::open(home.clone(), CONFIG).await?;
        let mut kept = Vec::new();
        // Room for what the store holds back and a little more.
        home.faults(|faults| faults.set_capacity(70 << 20));
        let refused = loop {
            let mut record = vec![0; 1 << 20];
            home.entropy().fill(&mut record);
            let id = id_of(&record);
            match store.put(AUTHOR, id, Rc::new(record)).await {
                Ok(()) => kept.push(id),
                Err(error) => break error,
            }
            assert!(kept.len() < 100, "the disk never fills up");
        };
        assert_eq!(
            refused.refusal(),
            reserve::format::message::Refusal::DiskFull
        );
        home.power_cut();
        let home = home.restart();
        let (store, _) = Store::open(home, CONFIG).await?;
        for id in kept {
            assert!(store.get(id).await?.is_some());
        }
        Answer::Ok(())
    };
    run(1, story).value
}

#[test]
fn a_rotten_chunk_is_told_and_a_new_copy_takes_its_place() -> Answer<()> {
    let story = async |world: SimWorld| {
        let home = world.box_named("keeper");
        let (store, _) = Store::open(home.clone(), CONFIG).await?;
        let record = Rc::new(vec![0x55; 20_000]);
        let id = id_of(&record);
        store.put(AUTHOR, id, Rc::clone(&record)).await?;
        let [segment] = &segments(&home).await?[..] else {
            return Err("one segment".into());
        };
        home.disk().flip_bit(segment, 4096 + 9000, 0)?;
        assert_eq!(store.get(id).await?, None);
        assert_eq!(store.have(AUTHOR, &[id]).await?, [false]);
        store.put(AUTHOR, id, Rc::clone(&record)).await?;
        assert_eq!(store.get(id).await?.as_deref(), Some(record.as_slice()));
        Answer::Ok(())
    };
    run(1, story).value
}

async fn segments(home: &SimBox) -> Answer<Vec<String>> {
    use reserve::world::Disk;
    let names = home.disk().list("store").await?;
    let segments = names.into_iter().filter(|name| name.starts_with("seg-"));
    Ok(segments.map(|name| format!("store/{name}")).collect())
}
