//! Whether the simulated world bites: mistakes that are made on purpose, each of which must be caught within a few short lives.
//!
//! A life without the mistake is lived from the same seed first: only if that one is clean does it mean anything that the other is not.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::catch_unwind;

#[cfg(feature = "canaries")]
use reserve::terms::canary::{self, Canary};

#[cfg(feature = "canaries")]
use crate::giving_up;
use crate::lie::Lie;
#[cfg(feature = "canaries")]
use crate::months::months;
#[cfg(feature = "canaries")]
use crate::story::run_within;
use crate::week::{Plan, Weathered, weather};

/// What lives are lived to catch a mistake.
const SHORT: Plan = Plan {
    boxes: 3,
    hours: 5,
    every_minutes: 20,
    lie: None,
};

/// Days of letting go within which a mistake must show.
#[cfg(feature = "canaries")]
const FEW_DAYS: u64 = 12;

/// A mistake made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// Of the world, which lies about a disk.
    Lie(Lie),
    /// Of the product itself.
    #[cfg(feature = "canaries")]
    Canary(Canary),
}

/// Lives that were lived without any mistake, by seed: whether they were clean.
#[derive(Default)]
pub struct Controls(BTreeMap<u64, bool>);

impl Mistake {
    /// All that this build can make.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let lies = Lie::ALL.into_iter().map(Self::Lie);
        #[cfg(feature = "canaries")]
        let lies = lies.chain(Canary::ALL.into_iter().map(Self::Canary));
        lies.collect()
    }

    /// The first of these seeds whose life goes wrong with this mistake and well without it, and what was told then.
    #[must_use]
    pub fn caught(self, seeds: Range<u64>, controls: &mut Controls) -> Option<(u64, String)> {
        #[cfg(feature = "canaries")]
        if let Self::Canary(canary @ (Canary::ReleaseAtOnce | Canary::ClaimWithoutCancelling)) =
            self
        {
            return caught_in_a_month(canary, seeds);
        }
        #[cfg(feature = "canaries")]
        if let Self::Canary(canary @ Canary::ForgetNeededPage) = self {
            return caught_in_months(canary, seeds);
        }
        for seed in seeds {
            let lived = self.lived(seed);
            let Some(told) = lived.wrong.first() else {
                continue;
            };
            let is_clean = *controls
                .0
                .entry(seed)
                .or_insert_with(|| weather_or_panic(seed, None).wrong.is_empty());
            if is_clean {
                return Some((seed, told.clone()));
            }
        }
        None
    }

    fn lived(self, seed: u64) -> Weathered {
        match self {
            Self::Lie(lie) => weather_or_panic(seed, Some(lie)),
            #[cfg(feature = "canaries")]
            Self::Canary(canary) => {
                canary::sing(Some(canary));
                let lived = weather_or_panic(seed, None);
                canary::sing(None);
                lived
            }
        }
    }
}

/// What comes out only when a keeper waits for weeks is looked for on one keeper alone, without and with the mistake.
#[cfg(feature = "canaries")]
fn caught_in_a_month(canary: Canary, seeds: Range<u64>) -> Option<(u64, String)> {
    let month = |seed| {
        let lived = catch_unwind(|| run_within(seed, giving_up::MONTHS, giving_up::month).value);
        match lived {
            Ok(Ok(wrong)) => wrong,
            Ok(Err(error)) => vec![error.to_string()],
            Err(_) => vec!["a panic; its message is above".to_owned()],
        }
    };
    seeds.into_iter().find_map(|seed| {
        canary::sing(Some(canary));
        let wrong = month(seed);
        canary::sing(None);
        let told = wrong.into_iter().next()?;
        month(seed).is_empty().then_some((seed, told))
    })
}

/// A life; a panic in it is something that was told.
fn weather_or_panic(seed: u64, lie: Option<Lie>) -> Weathered {
    let plan = Plan { lie, ..SHORT };
    let lived = catch_unwind(|| weather(seed, plan));
    lived.unwrap_or_else(|_| Weathered {
        wrong: vec!["a panic; its message is above".to_owned()],
        ..Weathered::default()
    })
}

/// What an author forgets shows where it lets snapshots go.
#[cfg(feature = "canaries")]
fn caught_in_months(canary: Canary, seeds: Range<u64>) -> Option<(u64, String)> {
    let lived = |seed| {
        let lived = catch_unwind(|| months(seed, FEW_DAYS).wrong);
        lived.unwrap_or_else(|_| vec!["a panic; its message is above".to_owned()])
    };
    seeds.into_iter().find_map(|seed| {
        canary::sing(Some(canary));
        let wrong = lived(seed);
        canary::sing(None);
        let told = wrong.into_iter().next()?;
        lived(seed).is_empty().then_some((seed, told))
    })
}

#[cfg(all(test, feature = "canaries"))]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_month_shows_is_caught_in_one() {
        for canary in [Canary::ReleaseAtOnce, Canary::ClaimWithoutCancelling] {
            let caught = Mistake::Canary(canary).caught(0..3, &mut Controls::default());
            let (seed, told) = caught.expect("it is caught");
            assert!(told.contains("went"), "seed {seed}: {told}");
        }
    }

    #[test]
    fn an_author_that_forgets_a_page_that_is_needed_is_caught() {
        let canary = Mistake::Canary(Canary::ForgetNeededPage);
        let (seed, told) = canary
            .caught(0..3, &mut Controls::default())
            .expect("it is caught");
        assert!(told.contains("is kept by nobody"), "seed {seed}: {told}");
    }
}
