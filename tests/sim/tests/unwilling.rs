//! Keepers that cannot take what they should: they are asked again, but not for all of a history every minute, and when they can again
//! nothing has to be told to them.

use std::time::Duration;

use reserve::world::{Clock, World};
use sim::{Answer, Reserve, SimBox, SimWorld, run_within};

/// Whose disk it is.
const OFFICE: usize = 1;
/// The other keeper of what is home's.
const OTHER: usize = 2;
const SNAPSHOTS: usize = 40;
const HOUR: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(48 * 3600);

/// Home's files say something else, and a snapshot of that is protected.
async fn take(reserve: &Reserve, number: usize) -> Answer<()> {
    let text = format!("{number} ").repeat(5000);
    let tree = reserve.houses[0].home.tree();
    tree.write_file(&format!("/data/{number}"), text.as_bytes())?;
    let service = reserve.service(0).ok_or("it runs")?;
    let taken = service.take_now(true).await;
    assert!(taken.map_err(|fault| fault.to_string())?.protected);
    Ok(())
}

/// What comes to the office in an hour.
async fn bytes_in_an_hour(reserve: &Reserve) -> u64 {
    let office = &reserve.houses[OFFICE].home;
    let before = office.traffic().bytes_in;
    office.clock().sleep(HOUR).await;
    office.traffic().bytes_in - before
}

/// Chunks that are kept by each of the others.
fn kept(reserve: &Reserve) -> Answer<[usize; 2]> {
    let of = |at| Ok::<_, String>(reserve.service(at).ok_or("it runs")?.store_now().chunks);
    Ok([of(OFFICE)?, of(OTHER)?])
}

/// The office takes nothing while a history grows, and then everything within a time, with nobody doing anything about it.
async fn says_no(
    world: SimWorld,
    no: fn(&SimBox),
    (yes, within): (fn(&SimBox), Duration),
) -> Answer<()> {
    let reserve = Reserve::found(world.clone(), 4, 0).await?;
    assert!(reserve.meet().await);
    take(&reserve, 0).await?;
    let clock = reserve.houses[0].home.clock().clone();
    clock.sleep(HOUR).await;
    let quiet = bytes_in_an_hour(&reserve).await;

    no(&reserve.houses[OFFICE].home);
    for number in 1..SNAPSHOTS {
        take(&reserve, number).await?;
    }
    // Once an hour for the history, oftener for the newest; it was a hundred and sixty times as much as in quiet.
    clock.sleep(3 * HOUR).await;
    let refusing = bytes_in_an_hour(&reserve).await;
    assert!(
        refusing < quiet * 6,
        "{refusing} bytes in an hour, {quiet} before"
    );
    let [office, other] = kept(&reserve)?;
    assert!(office < other, "{office} of {other}");

    yes(&reserve.houses[OFFICE].home);
    clock.sleep(within).await;
    let [office, other] = kept(&reserve)?;
    assert_eq!(office, other);
    let shown = reserve.service(0).ok_or("it runs")?.shown().await;
    assert!(shown.ok_or("there is one")?.is_protected());
    Ok(())
}

#[test]
fn a_keeper_whose_disk_takes_nothing_is_not_asked_for_a_whole_history_every_minute() -> Answer<()> {
    let story = |world| {
        says_no(
            world,
            |office| office.faults(|faults| faults.make_read_only()),
            (|office| office.faults(|faults| faults.clear()), HOUR),
        )
    };
    run_within(11, LIMIT, story).value
}

#[test]
fn a_keeper_that_is_full_is_asked_seldom_and_at_once_when_it_has_room_again() -> Answer<()> {
    let story = |world| {
        says_no(
            world,
            |office| office.faults(|faults| faults.set_capacity(0)),
            (|office| office.faults(|faults| faults.clear()), HOUR / 10),
        )
    };
    run_within(12, LIMIT, story).value
}
