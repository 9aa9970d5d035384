//! The flood: a snapshot, two keepers, the author lost, everything retrieved on a new Box. With the real author, the real
//! stores and the real retriever; only the sessions between them are left out.

mod disasters;
mod reserve_of_three;
mod steps;

use std::time::Duration;

use reserve::world::{Clock, World};
use reserve_of_three::{Answer, Cut, Reserve};
use sim::{Incomplete, Lie, SimWorld, differences, run};

#[test]
fn after_a_flood_everything_comes_back_as_it_was() -> Answer<()> {
    for seed in 0..3 {
        let told = run(seed, async |world: SimWorld| flood(world, None).await).value?;
        assert!(told.is_empty(), "seed {seed}: {told:#?}");
    }
    Ok(())
}

#[test]
fn keepers_that_acknowledge_before_syncing_are_caught_by_the_flood() {
    let told = run(1, async |world: SimWorld| {
        flood(world, Some(Lie::NoSync)).await
    })
    .value;
    match told {
        Ok(differences) => assert!(!differences.is_empty(), "the loss was not noticed"),
        Err(error) => {
            let told = error.to_string();
            let is_loss = told.contains(NOTHING_LEFT) || told.contains(MANIFEST_LOST);
            assert!(is_loss || error.is::<Incomplete>(), "{error}");
        }
    }
}

const NOTHING_LEFT: &str = "no snapshot";
/// The head survived with something that was synced later, what it names did not.
const MANIFEST_LOST: &str = "manifest could not be had";

/// Protects, floods, cuts the power of both keepers, retrieves on a new Box; says what came back different.
async fn flood(world: SimWorld, keepers_lie_about: Option<Lie>) -> Answer<Vec<String>> {
    let mut reserve = Reserve::found(world).await?;
    for keeper in 0..2 {
        reserve.keeper(keeper).lie_about(keepers_lie_about);
    }
    reserve.plant()?;
    let before = reserve.home.tree().snapshot("/data")?;
    let report = reserve.snapshot().await?;
    assert!(report.is_protected(), "{:?}", report.keepers);
    assert_eq!(report.unread_count, 0, "{:?}", report.unread);

    reserve.home.flood();
    reserve.cut_keeper(0, Cut::Clean);
    reserve.cut_keeper(1, Cut::Torn);
    reserve.open_keeper(0).await?;
    reserve.open_keeper(1).await?;
    if reserve.latest().await.is_none() {
        return Err(NOTHING_LEFT.into());
    }
    let after = reserve.retrieve().await?;
    Ok(differences(&before, &after))
}

#[test]
fn the_rooms_do_the_same_again_with_the_same_seed() -> Answer<()> {
    let trace = |seed| {
        let ran = run(seed, async |world: SimWorld| {
            a_death(world, Some((Duration::from_millis(100), Cut::Torn))).await
        });
        ran.value.map(|_| ran.trace)
    };
    assert_eq!(trace(1)?, trace(1)?);
    assert_ne!(trace(1)?, trace(2)?);
    Ok(())
}

#[test]
fn a_keeper_that_dies_during_a_snapshot_comes_back_and_keeps_what_it_acknowledged() -> Answer<()> {
    let whole = run(0, async |world: SimWorld| a_death(world, None).await).value?;
    for moment in 0..8 {
        let at = whole * moment / 8 + Duration::from_millis(1);
        let cut = if moment % 2 == 0 {
            Cut::Clean
        } else {
            Cut::Torn
        };
        run(u64::from(moment), async |world: SimWorld| {
            a_death(world, Some((at, cut))).await
        })
        .value
        .map_err(|error| format!("keeper died after {at:?}: {error}"))?;
    }
    Ok(())
}

/// Takes a snapshot while a keeper dies and comes back, and looks for everything any keeper ever acknowledged. Returns how
/// long the snapshot took.
async fn a_death(world: SimWorld, death: Option<(Duration, Cut)>) -> Answer<Duration> {
    let mut reserve = Reserve::found(world).await?;
    reserve.plant()?;
    let before = reserve.home.tree().snapshot("/data")?;
    let start = reserve.home.clock().now();
    let snapshot = reserve.begin_snapshot();
    if let Some((at, cut)) = death {
        reserve.home.clock().sleep(at).await;
        reserve.cut_keeper(0, cut);
        reserve.home.clock().sleep(Duration::from_secs(3)).await;
        reserve.open_keeper(0).await?;
    }
    let report = snapshot.await?;
    let took = reserve.home.clock().now().since(start);
    assert!(report.is_protected(), "{:?}", report.keepers);

    for keeper in [0, 1] {
        reserve.cut_keeper(keeper, Cut::Torn);
        reserve.open_keeper(keeper).await?;
        let lost = reserve.lost_by(keeper).await?;
        assert!(
            lost.is_empty(),
            "keeper {keeper} acknowledged and lost {lost:?}"
        );
    }
    let after = reserve.retrieve().await?;
    let told = differences(&before, &after);
    assert!(told.is_empty(), "{told:#?}");
    Ok(took)
}

#[test]
fn one_keeper_alone_gives_everything_back() -> Answer<()> {
    let story = async |world: SimWorld| {
        let reserve = Reserve::found(world).await?;
        reserve.plant()?;
        let before = reserve.home.tree().snapshot("/data")?;
        reserve.snapshot().await?;
        reserve.home.flood();
        reserve.flood_keeper(1);
        let after = reserve.retrieve().await?;
        let told = differences(&before, &after);
        assert!(told.is_empty(), "{told:#?}");
        Answer::Ok(())
    };
    run(1, story).value
}
