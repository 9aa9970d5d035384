//! A setting reaches every Box, also one that could not write it down when it was told.

use std::time::Duration;

use reserve::world::{Clock, World};
use sim::{Answer, Faults, Reserve, SimWorld, run};

/// The Box whose disk is of no use for a while.
const OFFICE: usize = 1;

#[test]
fn a_box_that_could_not_write_a_setting_down_is_told_again_in_the_same_session() -> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let reserve = Reserve::found(world.clone(), 3, 0).await?;
        assert!(reserve.meet().await);
        let home = reserve.houses[0].home.clone();
        let office = &reserve.houses[OFFICE].home;
        office.faults(Faults::make_read_only);
        let service = reserve.service(0).ok_or("it runs")?;
        let changed =
            home.run(async move { service.change_setting("sweep_period_days", "23").await });
        changed.await?.map_err(|fault| fault.to_string())?;
        home.clock().sleep(Duration::from_secs(600)).await;
        let days = |at: usize| {
            reserve
                .service(at)
                .map(|service| service.sweep_period_days())
        };
        assert_eq!((days(0), days(2)), (Some(23), Some(23)));
        assert_ne!(days(OFFICE), Some(23), "nothing can be written there");

        office.faults(Faults::pass);
        home.clock().sleep(Duration::from_secs(1000)).await;
        assert_eq!(days(OFFICE), Some(23));
        Ok(())
    };
    run(1, story).value
}
