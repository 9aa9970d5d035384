//! Whether a Box runs twice, told of this Box itself: as long as there is a reason, and no longer.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use reserve::format::head::SignedHead;
use reserve::keeper::{Store, StoreConfig, StoreError};
use reserve::roster::LoadedBox;
use reserve::terms::SnapshotNumber;
use reserve::world::{Clock, World};
use sim::{Answer, Reserve, SimBox, SimWorld, run};

const STORE: StoreConfig = StoreConfig {
    table_chunks: 16 << 10,
    capacity_bytes: None,
    quota_bytes_per_author: None,
};

/// Longer than it takes until what nothing speaks for any more is told no more.
const OVER_BY: Duration = Duration::from_secs(2 * 3600);

async fn founded(world: &SimWorld, boxes: usize) -> Answer<Reserve> {
    let reserve = Reserve::found(world.clone(), boxes, 0).await?;
    if !reserve.meet().await {
        return Err("they did not meet".into());
    }
    Ok(reserve)
}

/// Home takes a snapshot of something new: its number, or why there is none.
async fn taken(reserve: &Reserve, word: &str) -> Answer<u64> {
    let (service, home) = (reserve.service(0), reserve.houses[0].home.clone());
    let service = service.ok_or("it runs")?;
    home.tree().write_file("/data/photo", word.as_bytes())?;
    let outcome = home.run(async move { service.take_now(false).await });
    let outcome = outcome.await?.map_err(|fault| fault.to_string())?;
    Ok(outcome.snapshot.number)
}

fn says_it_runs_twice(reserve: &Reserve) -> bool {
    let standing = reserve.service(0).map(|service| service.standing_now());
    let mut standing = standing.unwrap_or_default().into_iter();
    standing.any(|(kind, _)| kind == "box_runs_twice")
}

/// Another process of home signed a snapshot behind the newest that office has, and left it there.
async fn another_signs(reserve: &mut Reserve, key: &SigningKey) -> Answer<()> {
    reserve.houses[1].cut(false);
    reserve.houses[1].home = reserve.houses[1].home.restart();
    let office: SimBox = reserve.houses[1].home.clone();
    let (world, key) = (office.clone(), key.clone());
    let left = office.run(async move {
        let (store, _) = Store::open(world, STORE).await?;
        let author = reserve::terms::PeerKey(key.verifying_key().to_bytes());
        let mut heads = store.heads(Some(author), SnapshotNumber(0)).await?;
        if let Some(newest) = heads.pop() {
            let mut head = newest.head.clone();
            head.number = SnapshotNumber(head.number.0 + 1);
            head.previous = Some(newest.hash());
            store.put_head(&SignedHead::sign(head, &key)).await?;
        }
        store.close().await;
        Ok::<_, StoreError>(())
    });
    left.await??;
    reserve.houses[1].boot().await?;
    if !reserve.meet().await {
        return Err("they did not meet again".into());
    }
    Ok(())
}

#[test]
fn that_it_runs_twice_is_told_no_more_when_nobody_signs_for_it_though_it_was_started_anew()
-> Answer<()> {
    for is_started_anew in [false, true] {
        let story = async |world: SimWorld| -> Answer<()> {
            let mut reserve = founded(&world, 3).await?;
            let loaded = LoadedBox::load(reserve.houses[0].home.disk()).await?;
            let key = loaded.identity.signing.clone();
            assert_eq!(taken(&reserve, "first").await?, 1);
            another_signs(&mut reserve, &key).await?;
            assert_eq!(taken(&reserve, "second").await?, 3);
            assert!(says_it_runs_twice(&reserve));
            if is_started_anew {
                // What was told is on the disk by then.
                let clock = reserve.houses[0].home.clock().clone();
                clock.sleep(Duration::from_secs(60)).await;
                reserve.houses[0].cut(false);
                reserve.houses[0].boot().await?;
                assert!(says_it_runs_twice(&reserve), "it was told before");
            }
            // Nothing is new here, so nothing is signed.
            let clock = reserve.houses[0].home.clock().clone();
            clock.sleep(OVER_BY).await;
            assert!(!says_it_runs_twice(&reserve));
            Ok(())
        };
        run(188, story).value?;
    }
    Ok(())
}

#[test]
fn while_another_process_signs_and_this_one_does_not_it_goes_on_being_told() -> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let mut reserve = founded(&world, 3).await?;
        let loaded = LoadedBox::load(reserve.houses[0].home.disk()).await?;
        let key = loaded.identity.signing.clone();
        taken(&reserve, "first").await?;
        another_signs(&mut reserve, &key).await?;
        taken(&reserve, "second").await?;
        another_signs(&mut reserve, &key).await?;
        let clock = reserve.houses[0].home.clock().clone();
        clock.sleep(OVER_BY).await;
        assert!(says_it_runs_twice(&reserve));

        // The copy is off by now: two of its own in a row say so.
        taken(&reserve, "third").await?;
        assert!(says_it_runs_twice(&reserve));
        taken(&reserve, "fourth").await?;
        assert!(!says_it_runs_twice(&reserve));
        Ok(())
    };
    run(188, story).value
}
