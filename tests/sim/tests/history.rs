//! Months in which snapshots leave history.

use std::time::Duration;

use sim::{Answer, Moment, SimWorld, Strike, at_every_deed, months, run_within, struck, theft};

const MONTHS: Duration = Duration::from_secs(100 * 24 * 3600);

#[test]
fn months_of_letting_go_lose_nothing_that_stays_whatever_goes_wrong() {
    let mut gone = 0;
    for seed in 0..3 {
        let lived = months(seed, 25);
        assert!(lived.wrong.is_empty(), "seed {seed}: {:#?}", lived.wrong);
        gone += lived.counts.get("gone").copied().unwrap_or(0);
    }
    assert!(gone > 20, "{gone}");
    assert_eq!(
        months(1, 10),
        months(1, 10),
        "the same seed lives the same months"
    );
}

#[test]
fn a_thief_with_the_authors_key_destroys_nothing_that_is_taken_back_within_a_month() -> Answer<()> {
    let undone = run_within(1, MONTHS, async |world: SimWorld| theft(world, true).await);
    assert!(
        undone.value.as_ref().is_ok_and(Vec::is_empty),
        "{:?}",
        undone.value
    );
    let too_late = run_within(1, MONTHS, async |world: SimWorld| theft(world, false).await);
    let told = too_late.value?;
    assert!(!told.is_empty(), "the story itself would not notice a loss");
    Ok(())
}

#[test]
fn an_author_may_be_struck_at_any_deed_of_letting_snapshots_go() -> Answer<()> {
    at_every_deed(&Strike::ALL, 11, MONTHS * 2, async |world, strike, deed| {
        struck(world, Moment::Deciding, strike, deed).await
    })
}

#[test]
fn a_keeper_may_be_struck_at_any_deed_of_letting_go_and_giving_space_back() -> Answer<()> {
    at_every_deed(&Strike::ALL, 11, MONTHS * 2, async |world, strike, deed| {
        struck(world, Moment::GivingBack, strike, deed).await
    })
}
