//! Smaller disasters than a flood, with the real rooms: the author dies during a snapshot, a keeper's disk rots or fails.

use std::error::Error;
use std::time::Duration;

use crate::reserve_of_three::{Answer, Cut, Reserve};
use reserve::world::{Clock, Disk, World};
use sim::{Faults, SimBox, SimWorld, TreeSnapshot, differences, run};

fn assert_same(expected: &TreeSnapshot, found: &TreeSnapshot) {
    let told = differences(expected, found);
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn an_author_that_dies_during_a_snapshot_loses_neither_the_last_one_nor_the_next() -> Answer<()> {
    let whole = run(0, async |world: SimWorld| {
        second_snapshot(world, None).await
    })
    .value?;
    for moment in 0..8 {
        let at = whole * moment / 8 + Duration::from_millis(1);
        run(u64::from(moment), async |world: SimWorld| {
            second_snapshot(world, Some(at)).await
        })
        .value
        .map_err(|error| format!("the author died after {at:?}: {error}"))?;
    }
    Ok(())
}

/// Takes a snapshot, changes files and takes another, during which the author may die. Returns how long that one took.
async fn second_snapshot(world: SimWorld, death: Option<Duration>) -> Answer<Duration> {
    let mut reserve = Reserve::found(world).await?;
    reserve.plant()?;
    // What is younger than two seconds when it is read is read again.
    reserve.home.clock().sleep(Duration::from_secs(60)).await;
    let first = reserve.snapshot().await?;
    let before = reserve.home.tree().snapshot("/data")?;
    reserve.home.clock().sleep(Duration::from_secs(60)).await;
    reserve.tend()?;
    let tended = reserve.home.tree().snapshot("/data")?;
    assert!(!differences(&before, &tended).is_empty());

    let start = reserve.home.clock().now();
    let second = reserve.begin_snapshot();
    if let Some(at) = death {
        reserve.home.clock().sleep(at).await;
        reserve.restart_home();
        // Whether it was published before the power went or not: what is there is whole.
        let is_published = second.await.is_ok();
        let found = reserve.retrieve().await?;
        if is_published || !differences(&before, &found).is_empty() {
            assert_same(&tended, &found);
        }
        let third = reserve.snapshot().await?;
        assert!(third.is_protected() && third.number > first.number);
    } else {
        let second = second.await?;
        assert!(second.is_protected() && second.number > first.number);
        assert!(
            second.files_reused > 50,
            "only {} files were taken over",
            second.files_reused
        );
    }
    let took = reserve.home.clock().now().since(start);
    assert_same(&tended, &reserve.retrieve().await?);
    Ok(took)
}

#[test]
fn what_the_author_noted_of_packs_may_be_torn_by_a_power_cut_and_never_misleads_it() -> Answer<()> {
    for seed in 0..6 {
        let story = async |world: SimWorld| {
            let mut reserve = Reserve::found(world).await?;
            reserve.plant()?;
            reserve.snapshot().await?;
            reserve.home.clock().sleep(Duration::from_secs(60)).await;
            reserve.restart_home();
            let tree = reserve.home.tree();
            tree.rename_path("/data/notes", "/data/moved notes")?;
            tree.rename_path("/data/photos/03", "/data/photos/april")?;
            let moved = tree.snapshot("/data")?;
            assert!(reserve.snapshot().await?.is_protected());
            assert_same(&moved, &reserve.retrieve().await?);
            reserve.restart_home();
            reserve
                .home
                .tree()
                .rename_path("/data/moved notes", "/data/notes")?;
            let back = reserve.home.tree().snapshot("/data")?;
            reserve.snapshot().await?;
            assert_same(&back, &reserve.retrieve().await?);
            Answer::Ok(())
        };
        run(seed, story).value?;
    }
    Ok(())
}

/// Every segment of a keeper's store, by path.
async fn segments(keeper: &SimBox) -> Result<Vec<String>, Box<dyn Error>> {
    let names = keeper.disk().list("store").await?;
    let segments = names.into_iter().filter(|name| name != "id");
    Ok(segments.map(|name| format!("store/{name}")).collect())
}

#[test]
fn what_rots_on_one_keeper_comes_from_the_other() -> Answer<()> {
    let story = async |world: SimWorld| {
        let mut reserve = Reserve::found(world).await?;
        reserve.plant()?;
        let before = reserve.home.tree().snapshot("/data")?;
        reserve.snapshot().await?;
        reserve.home.flood();
        for segment in segments(reserve.keeper(0)).await? {
            for place in 1..100 {
                reserve
                    .keeper(0)
                    .disk()
                    .flip_bit(&segment, place * 5003, 5)?;
            }
        }
        for segment in segments(reserve.keeper(1)).await? {
            reserve
                .keeper(1)
                .faults(|faults| faults.make_unreadable(&segment, 0..4096));
        }
        assert_same(&before, &reserve.retrieve().await?);

        reserve.keeper(1).faults(Faults::clear);
        reserve.cut_keeper(0, Cut::Clean);
        reserve.open_keeper(0).await?;
        assert_same(&before, &reserve.retrieve().await?);
        Answer::Ok(())
    };
    run(1, story).value
}

#[test]
fn a_keeper_whose_syncs_fail_during_a_snapshot_keeps_what_it_acknowledged() -> Answer<()> {
    for seed in 0..4 {
        let story = async |world: SimWorld| {
            let mut reserve = Reserve::found(world).await?;
            reserve.plant()?;
            let before = reserve.home.tree().snapshot("/data")?;
            let snapshot = reserve.begin_snapshot();
            for _ in 0..3 {
                reserve
                    .home
                    .clock()
                    .sleep(Duration::from_millis(30 + 11 * seed))
                    .await;
                reserve.keeper(0).faults(Faults::fail_next_sync);
            }
            // It may be called protected or not: the other keeper has everything, and what either acknowledged stays.
            let report = snapshot.await?;
            assert!(report.keepers.iter().any(|keeper| keeper.has_head));
            for keeper in [0, 1] {
                reserve.cut_keeper(keeper, Cut::Clean);
                reserve.open_keeper(keeper).await?;
                let lost = reserve.lost_by(keeper).await?;
                assert!(
                    lost.is_empty(),
                    "keeper {keeper} acknowledged and lost {lost:?}"
                );
            }
            assert_same(&before, &reserve.retrieve().await?);
            Answer::Ok(())
        };
        run(seed, story).value?;
    }
    Ok(())
}
