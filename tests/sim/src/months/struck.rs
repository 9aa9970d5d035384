//! Snapshots leave history while one single deed of a disk goes wrong.

use reserve::author::release::Asked;
use reserve::format::roster::Retention;

use super::{DELAY_HOURS, Life};
use crate::house::Answer;
use crate::sim_box::SimWorld;
use crate::strike::Strike;

/// The two newest stay.
const RULE: Retention = Retention {
    last: 2,
    hourly: 0,
    daily: 0,
    weekly: 0,
    monthly: 0,
    yearly: 0,
};
const SNAPSHOTS: usize = 4;
/// The keeper that is struck.
const OFFICE: usize = 0;

/// When the disk is struck, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The author's, while it decides and tells all keepers.
    Deciding,
    /// A keeper's, when the time is up and the space is given back. What else may happen to a keeper: `giving_up`.
    GivingBack,
}

/// Takes some snapshots and lets go all but the newest two, while at that moment that deed of a disk is struck. Then everything starts again:
/// what stays has to be kept, and what waits can be had. At last it is let go once more, to its end. Whether there was such a deed.
///
/// # Errors
/// If anything is not as it should be, in a sentence.
pub async fn struck(world: SimWorld, moment: Moment, strike: Strike, deed: u64) -> Answer<bool> {
    let mut life = Life::begin(world).await?;
    for _ in 0..SNAPSHOTS {
        life.tend()?;
        life.snapshot().await;
        life.trio.live(1).await;
    }
    let home = match moment {
        Moment::Deciding => life.trio.home.clone(),
        Moment::GivingBack => life.trio.home_of(OFFICE),
    };
    if moment == Moment::GivingBack {
        life.trio.forget(Asked::Rule(RULE)).await??;
        life.trio.live(DELAY_HOURS - 25).await;
    }
    home.strike(deed, strike);
    match moment {
        // That it fails, or that the power went, is no surprise.
        Moment::Deciding => drop(life.trio.forget(Asked::Rule(RULE)).await),
        Moment::GivingBack => {
            life.trio.live(2).await;
            drop(life.trio.compact().await);
        }
    }
    let was_struck = home.call_off_strike();
    life.trio.restart_home();
    life.trio.cut(OFFICE, false);
    life.trio.start(OFFICE).await?;
    let staying = life.staying().await?;
    life.trio.catch_up(&staying).await;
    life.look().await?;

    for _ in 0..2 {
        life.trio.forget(Asked::Rule(RULE)).await??;
        life.trio.live(DELAY_HOURS).await;
    }
    life.trio.compact().await?;
    let listed = life.trio.listed().await?;
    let newest: Vec<u64> = life.taken.keys().copied().collect();
    let newest = &newest[newest.len() - 2..];
    if !listed.iter().eq(newest) {
        life.tell(format!(
            "the rule keeps {newest:?}, and {listed:?} are listed"
        ));
    }
    for number in listed {
        life.ask_back(number).await;
    }
    match life.wrong.is_empty() {
        true => Ok(was_struck),
        false => Err(life.wrong.join("; ").into()),
    }
}
