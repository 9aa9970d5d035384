//! Boxes that begin anew in their own place: after their drive died, and after a person took them out in good order.

use std::time::Duration;

use reserve::console::service::Service;
use reserve::format::head::Head;
use reserve::world::{Clock, World};
use sim::{Answer, Reserve, SimBox, SimWorld, bring_back, differences, run};

/// Which of the three begins anew.
const OFFICE: usize = 1;

/// Three Boxes, of which the office has files that are protected, and the head of their snapshot.
async fn with_files(world: &SimWorld) -> Answer<(Reserve, Head)> {
    let reserve = Reserve::found(world.clone(), 3, 0).await?;
    let office = &reserve.houses[OFFICE];
    for number in 0..20 {
        let text = format!("{number} ").repeat(300);
        let path = format!("/data/{number}");
        office.home.tree().write_file(&path, text.as_bytes())?;
    }
    let head = take(&reserve).await?;
    Ok((reserve, head))
}

async fn take(reserve: &Reserve) -> Answer<Head> {
    let service = reserve.service(OFFICE).ok_or("it runs")?;
    let taken = service.take_now(false).await;
    let taken = taken.map_err(|fault| fault.to_string())?;
    assert!(taken.protected, "{taken:?}");
    Ok(service.shown().await.ok_or("it was taken")?.head.head)
}

/// Its drive is empty, and it is taken in by home; then it gives back what it had before, and protects what it has.
async fn begins_anew(reserve: &mut Reserve, before: Head) -> Answer<()> {
    let office = &mut reserve.houses[OFFICE];
    office.cut(false);
    office.home.lose_drive();
    office.home = office.home.restart();
    reserve.replace(OFFICE, 0, "office").await?;
    assert!(reserve.meet().await);

    let office = &reserve.houses[OFFICE];
    let service = reserve.service(OFFICE).ok_or("it runs")?;
    let found = service.find(Some("office"), "latest").await;
    let found = found.ok().ok_or("it is not found")?;
    assert_eq!(found.snapshot.number, before.number.0);
    let back = bring_back(&office.home, before, "/back", move || service.source()).await?;
    let lost = differences(&office.home.tree().snapshot("/data")?, &back);
    assert!(lost.is_empty(), "{lost:#?}");
    office.home.clock().sleep(Duration::from_secs(900)).await;
    take(reserve).await.map(drop)
}

#[test]
fn a_box_whose_drive_died_is_taken_in_again_and_gets_back_what_it_had() -> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let (mut reserve, before) = with_files(&world).await?;
        reserve.houses[OFFICE].cut(false);
        reserve.shut_out(0, "office").await?;
        begins_anew(&mut reserve, before).await
    };
    run(1, story).value
}

#[test]
fn a_box_that_was_taken_out_in_good_order_can_begin_anew_under_its_old_name() -> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let (mut reserve, before) = with_files(&world).await?;
        reserve.take_out(0, "office").await?;
        begins_anew(&mut reserve, before).await
    };
    run(1, story).value
}

/// What a Box says of the disks of the others.
fn nearly_full(service: &Service<SimBox>) -> Vec<String> {
    let standing = service.standing_now().into_iter();
    let of_disks = standing.filter(|(kind, _)| kind == "disk_nearly_full");
    of_disks.map(|(_, text)| text).collect()
}

#[test]
fn what_was_told_of_a_disk_that_was_replaced_is_not_told_again_by_a_box_that_is_started_anew()
-> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let mut reserve = Reserve::found(world, 3, 0).await?;
        let office = reserve.houses[OFFICE].home.clone();
        office.faults(|faults| faults.fill_up_after(0));
        let home = reserve.service(0).ok_or("it runs")?;
        // It asks the others for their room every half a minute.
        office.clock().sleep(Duration::from_secs(120)).await;
        assert_eq!(nearly_full(&home).len(), 1, "{:?}", home.standing_now());

        let house = &mut reserve.houses[OFFICE];
        house.cut(false);
        house.home.lose_drive();
        house.home = house.home.restart();
        reserve.shut_out(0, "office").await?;
        reserve.replace(OFFICE, 0, "office").await?;
        assert!(reserve.meet().await);
        assert_eq!(nearly_full(&home), [""; 0]);

        reserve.houses[0].cut(false);
        reserve.houses[0].boot().await?;
        assert!(reserve.meet().await);
        let home = reserve.service(0).ok_or("it runs")?;
        let clock = reserve.houses[0].home.clock().clone();
        clock.sleep(Duration::from_secs(120)).await;
        assert_eq!(nearly_full(&home), [""; 0]);
        Ok(())
    };
    run(1, story).value
}
