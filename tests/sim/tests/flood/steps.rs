//! A snapshot while one single deed of one disk goes wrong: each deed there is, one after the other, until a run needs no more of them.

use std::time::Duration;

use reserve::world::{Clock, World};
use sim::{SimBox, SimWorld, Strike, TreeSnapshot, differences, run};

use crate::reserve_of_three::{Answer, Cut, Reserve};

/// A snapshot has fewer deeds than this on any disk, or the story never ends.
const DEEDS_MAX: u64 = 2000;
/// Nobody waits longer for a snapshot of a few files.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Whose disk is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Home,
    Keeper,
}

fn plant_little(home: &SimBox) -> Answer<TreeSnapshot> {
    for number in 0..3 {
        let text = format!("note {number}\n").repeat(40);
        home.tree()
            .write_file(&format!("/data/{number}.txt"), text.as_bytes())?;
    }
    home.tree().write_file("/data/video", &[7; 3000])?;
    Ok(home.tree().snapshot("/data")?)
}

/// Strikes each deed in turn. Returns how many there were.
fn each_deed(whose: Whose, strike: Strike) -> Answer<u64> {
    for deed in 0..DEEDS_MAX {
        let was_struck = run(deed, async |world: SimWorld| {
            struck(world, whose, strike, deed).await
        });
        let was_struck = was_struck
            .value
            .map_err(|error| format!("{strike:?} at deed {deed} of {whose:?}: {error}"))?;
        if !was_struck {
            return Ok(deed);
        }
    }
    Err("a snapshot never comes to an end of its deeds".into())
}

/// Takes a snapshot during which one deed is struck; whatever happened, what was acknowledged is there, and what comes back is right.
async fn struck(world: SimWorld, whose: Whose, strike: Strike, deed: u64) -> Answer<bool> {
    let mut reserve = Reserve::found(world.clone()).await?;
    let before = plant_little(&reserve.home)?;
    let target = match whose {
        Whose::Home => reserve.home.clone(),
        Whose::Keeper => reserve.keeper(0).clone(),
    };
    let clock = world.box_named("new").clock().clone();
    target.strike(deed, strike);
    let taking = reserve.begin_snapshot();
    let mut taking = std::pin::pin!(taking);
    let mut is_taken = false;
    while target.is_on() && !is_taken {
        let second = clock.within(Duration::from_secs(1), taking.as_mut()).await;
        is_taken = second.is_some();
        if clock.now().0 > PATIENCE {
            // A keeper whose disk failed it may refuse until it starts again.
            break;
        }
    }
    let was_struck = target.call_off_strike();
    match whose {
        Whose::Home => {
            reserve.restart_home();
            let report = reserve.snapshot().await?;
            assert!(report.is_protected(), "{report:?}");
        }
        Whose::Keeper => {
            reserve.cut_keeper(0, Cut::Torn);
            reserve.open_keeper(0).await?;
            if !is_taken {
                clock.within(PATIENCE, taking).await;
            }
            let report = reserve.snapshot().await?;
            assert!(report.is_protected(), "{report:?}");
            let lost = reserve.lost_by(0).await?;
            assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        }
    }
    let lost = reserve.lost_by(1).await?;
    assert!(lost.is_empty(), "nothing happened to this keeper: {lost:?}");
    // The struck keeper alone must be able to give everything back.
    reserve.home.flood();
    reserve.cut_keeper(0, Cut::Clean);
    reserve.open_keeper(0).await?;
    reserve.flood_keeper(1);
    let after = reserve.retrieve().await?;
    let told = differences(&before, &after);
    assert!(told.is_empty(), "{told:#?}");
    Ok(was_struck)
}

#[test]
fn a_keeper_may_lose_power_at_any_deed_of_its_disk_while_it_is_given_a_snapshot() -> Answer<()> {
    for strike in [Strike::CutBefore, Strike::CutAfter] {
        let deeds = each_deed(Whose::Keeper, strike)?;
        assert!(deeds > 5, "only {deeds} deeds were tried");
    }
    Ok(())
}

#[test]
fn an_author_may_lose_power_at_any_deed_of_its_disk_while_it_takes_a_snapshot() -> Answer<()> {
    for strike in [Strike::CutBefore, Strike::CutAfter] {
        let deeds = each_deed(Whose::Home, strike)?;
        assert!(deeds > 5, "only {deeds} deeds were tried");
    }
    Ok(())
}

#[test]
fn any_deed_of_a_keepers_disk_may_fail_or_read_wrong_while_it_is_given_a_snapshot() -> Answer<()> {
    for strike in [Strike::Fails, Strike::ReadsWrong] {
        let deeds = each_deed(Whose::Keeper, strike)?;
        assert!(deeds > 5, "only {deeds} deeds were tried");
    }
    Ok(())
}

#[test]
fn any_deed_of_an_authors_disk_may_fail_while_it_takes_a_snapshot() -> Answer<()> {
    let deeds = each_deed(Whose::Home, Strike::Fails)?;
    assert!(deeds > 5, "only {deeds} deeds were tried");
    Ok(())
}
