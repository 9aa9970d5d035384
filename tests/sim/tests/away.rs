//! A Box that stays away: its copies are made elsewhere after a day, also if the others restart meanwhile; a nap moves nothing.

use std::time::Duration;

use reserve::world::{Clock, World};
use sim::{Answer, Reserve, SimWorld, run_within};

/// The Box that stays away.
const CABIN: usize = 4;
const HOUR: Duration = Duration::from_secs(3600);

/// Copies that each Box made because another is away, together.
async fn moved(reserve: &Reserve) -> u64 {
    let mut moved = 0;
    for at in 0..CABIN {
        if let Some(service) = reserve.service(at) {
            let store = service.status().await.store;
            let copies = store.and_then(|store| store.copies);
            moved += copies.map_or(0, |copies| copies.taken);
        }
    }
    moved
}

#[test]
fn a_box_that_stays_away_for_a_day_is_replaced_though_all_others_restart_meanwhile() -> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let mut reserve = Reserve::found(world, 5, 0).await?;
        let home = reserve.houses[0].home.clone();
        for number in 0..20 {
            let text = format!("{number} ").repeat(1500);
            let path = format!("/data/{number}");
            home.tree().write_file(&path, text.as_bytes())?;
        }
        let service = reserve.service(0).ok_or("it runs")?;
        let taken = service.take_now(false).await;
        let taken = taken.map_err(|fault| fault.to_string())?;
        assert!(taken.protected, "{taken:?}");
        let clock = reserve.houses[0].home.clock().clone();
        clock.sleep(HOUR).await;
        let before = moved(&reserve).await;

        reserve.houses[CABIN].cut(false);
        clock.sleep(20 * HOUR).await;
        for at in 0..CABIN {
            reserve.houses[at].cut(false);
        }
        for at in 0..CABIN {
            reserve.houses[at].boot().await?;
        }
        assert!(reserve.meet().await);
        clock.sleep(2 * HOUR).await;
        assert_eq!(
            moved(&reserve).await,
            0,
            "22 hours, a nap still; {before} before"
        );
        clock.sleep(5 * HOUR).await;
        assert!(
            moved(&reserve).await > 0,
            "27 hours, most of them before the restart"
        );
        Ok(())
    };
    run_within(1, 48 * HOUR, story).value
}
