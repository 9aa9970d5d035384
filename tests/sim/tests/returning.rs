//! A keeper whose link breaks while it is asked: it is asked again when it is back, seconds later.

use std::time::Duration;

use reserve::world::{Clock, World};
use sim::{Answer, Reserve, SimWorld, bring_back, differences, run};

const HOME: usize = 0;
const OFFICE: usize = 1;
const FRIEND: usize = 2;

/// Breaks the link to the only keeper there is so long after the first question. The session was a good one for minutes before, and so
/// was the one with the keeper that is off.
async fn breaks_after(world: SimWorld, milliseconds: u64) -> Answer<()> {
    let mut reserve = Reserve::found(world.clone(), 3, 0).await?;
    let office = reserve.houses[OFFICE].home.clone();
    for number in 0..5 {
        let path = format!("/data/{number}");
        office
            .tree()
            .write_file(&path, path.repeat(1000).as_bytes())?;
    }
    let service = reserve.service(OFFICE).ok_or("it runs")?;
    let taken = service.take_now(false).await;
    assert!(taken.map_err(|fault| fault.to_string())?.protected);
    let head = service.shown().await.ok_or("it was taken")?.head.head;

    // Each end that was ever noted is an old one.
    let friend = reserve.houses[FRIEND].home.clone();
    world.reset_links(&office, &friend);
    reserve.houses[HOME].cut(false);
    let clock = office.clock().clone();
    clock.sleep(Duration::from_secs(300)).await;
    let breaks = async {
        clock.sleep(Duration::from_millis(milliseconds)).await;
        world.reset_links(&office, &friend);
    };
    let asked = bring_back(&office, head, "/back", move || service.source());
    let (back, ()) = tokio::join!(asked, breaks);
    let lost = differences(&office.tree().snapshot("/data")?, &back?);
    assert!(lost.is_empty(), "{lost:#?}");
    Ok(())
}

#[test]
fn a_keeper_whose_link_breaks_at_any_moment_of_a_retrieval_is_asked_again_when_it_is_back()
-> Answer<()> {
    for milliseconds in 0..40 {
        run(milliseconds, async |world| {
            breaks_after(world, milliseconds).await
        })
        .value
        .map_err(|error| format!("after {milliseconds} ms: {error}"))?;
    }
    Ok(())
}
