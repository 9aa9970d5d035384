//! A keeper whose disk hangs: it lives, answers signs of life, and leaves what touches its disk without an answer.

use std::time::Duration;

use reserve::console::service::Service;
use reserve::world::{Clock, World};
use sim::{Answer, Reserve, SimBox, SimWorld, run};

/// Longer than an answer is waited for, by far.
const HANGS: Duration = Duration::from_secs(2 * 3600);

/// Who is told to be out of reach, besides what else stands.
fn out_of_reach(service: &Service<SimBox>) -> usize {
    let standing = service.standing_now();
    let away = standing
        .iter()
        .filter(|(kind, _)| kind == "box_out_of_reach");
    away.count()
}

fn fill(home: &SimBox, what: &str) -> Answer<()> {
    for number in 0..20 {
        let text = format!("{what} {number} ").repeat(400);
        let path = format!("/data/{what}-{number}");
        home.tree().write_file(&path, text.as_bytes())?;
    }
    Ok(())
}

#[test]
fn a_keeper_whose_disk_hangs_holds_up_no_snapshot_is_told_and_counts_again_when_it_works()
-> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let reserve = Reserve::found(world.clone(), 4, 0).await?;
        assert!(reserve.meet().await);
        let home = &reserve.houses[0].home;
        let clock = home.clock().clone();
        let service = reserve.service(0).ok_or("it runs")?;
        fill(home, "first")?;
        let taken = service.take_now(false).await;
        assert!(taken.map_err(|fault| fault.to_string())?.protected);

        let office = &reserve.houses[1].home;
        office.faults(|faults| faults.slow_down(HANGS));
        fill(home, "second")?;
        let began = clock.now();
        let taken = service.take_now(false).await;
        let taken = taken.map_err(|fault| fault.to_string())?;
        assert!(taken.protected, "two keepers are enough");
        let took = clock.now().since(began);
        assert!(
            took < Duration::from_secs(1800),
            "it was waited for {took:?}"
        );
        clock.sleep(Duration::from_secs(120)).await;
        assert!(service.in_touch().len() == 3, "all of them live");
        assert_eq!(out_of_reach(&service), 1);
        assert_eq!(service.shown().await.ok_or("it has one")?.copies, 2);

        office.faults(|faults| faults.slow_down(Duration::ZERO));
        clock.sleep(HANGS + Duration::from_secs(3600)).await;
        assert_eq!(out_of_reach(&service), 0);
        assert_eq!(service.shown().await.ok_or("it has one")?.copies, 3);
        Ok(())
    };
    run(3, story).value
}
