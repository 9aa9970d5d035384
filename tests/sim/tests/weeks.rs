//! Whole Boxes in the simulated world: the service of the product itself, three to five of them, while everything goes wrong.

use std::time::Duration;

use reserve::world::{Clock, World};
use sim::{Answer, Lie, Plan, Reserve, SimWorld, run, weather};

/// Short enough for a test; whole weeks are run by `cargo xtask sim`.
const MORNING: Plan = Plan {
    boxes: 3,
    hours: 6,
    every_minutes: 30,
    lie: None,
};

#[test]
fn a_morning_of_trouble_ends_well_and_is_the_same_with_the_same_seed() {
    let morning = weather(1, MORNING);
    assert!(morning.wrong.is_empty(), "{:#?}", morning.wrong);
    assert!(morning.counts["asked back"] > 0 && morning.counts["started"] > 0);
    let again = weather(1, MORNING);
    assert_eq!(morning, again);
    let other = weather(2, MORNING);
    assert!(other.wrong.is_empty(), "{:#?}", other.wrong);
    assert_ne!(morning.trace, other.trace);
}

#[test]
fn keepers_that_acknowledge_before_syncing_are_caught_in_a_morning() {
    let lying = Plan {
        lie: Some(Lie::NoSync),
        ..MORNING
    };
    let caught = (0..20).any(|seed| !weather(seed, lying).wrong.is_empty());
    assert!(caught, "twenty mornings of lies went unnoticed");
}

#[test]
fn a_keeper_that_cannot_mend_its_damage_yet_waits_for_news_and_then_mends_it() -> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let reserve = Reserve::found(world.clone(), 3, 60).await?;
        let clock = reserve.houses[0].home.clock().clone();
        for number in 0..40 {
            let text = format!("{number} ").repeat(400);
            let path = format!("/data/{number}");
            reserve.houses[0]
                .home
                .tree()
                .write_file(&path, text.as_bytes())?;
        }
        let service = reserve.service(0).ok_or("it runs")?;
        service
            .take_now(false)
            .await
            .map_err(|fault| fault.to_string())?;
        let friend = &reserve.houses[2];
        let (path, len) = friend
            .home
            .files("store/seg-")
            .pop()
            .ok_or("it keeps something")?;
        for place in (8192..len).step_by(4096) {
            friend.home.disk().flip_bit(&path, place + 200, 3)?;
        }
        for other in &reserve.houses[..2] {
            world.partition(&friend.home, &other.home);
        }
        let service = reserve.service(2).ok_or("it runs")?;
        service
            .sweep_now()
            .await
            .map_err(|fault| fault.to_string())?;
        let damaged = service.damaged_now();
        assert!(damaged > 0);
        clock.sleep(Duration::from_secs(300)).await;
        let before = friend.home.disk_stats().reads;
        clock.sleep(Duration::from_secs(3600)).await;
        let reads = friend.home.disk_stats().reads - before;
        assert!(
            reads <= 61 * (damaged + 1) * 4,
            "{reads} reads in an hour for {damaged} places"
        );

        world.calm_network();
        clock.sleep(Duration::from_secs(600)).await;
        assert_eq!(service.damaged_now(), 0);
        Ok(())
    };
    run(1, story).value
}
