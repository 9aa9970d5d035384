//! One thing that goes wrong at one certain deed of a disk, and stories that try every deed there is, one after the other.

use std::time::Duration;

use crate::house::Answer;
use crate::sim_box::SimWorld;
use crate::story::run_within;

/// No story has more deeds than this.
const DEEDS_MAX: u64 = 2000;

/// What happens at that deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// The power goes before it is done.
    CutBefore,
    /// The power goes when it is done, before anybody hears of it.
    CutAfter,
    /// It fails with an input/output error; a sync that does loses what it was for.
    Fails,
    /// If it reads, one bit of what it brings is wrong.
    ReadsWrong,
}

impl Strike {
    /// All there are.
    pub const ALL: [Self; 4] = [
        Self::CutBefore,
        Self::CutAfter,
        Self::Fails,
        Self::ReadsWrong,
    ];
}

/// Lives through a story again and again, each time struck one deed later, until there is no such deed any more: with each of these strikes.
/// A story says whether it was struck.
///
/// # Errors
/// What a story says, with the strike and the deed.
///
/// # Panics
/// If fewer deeds than `least` were struck, or if a story never ends.
pub fn at_every_deed(
    strikes: &[Strike],
    least: u64,
    limit: Duration,
    story: impl AsyncFn(SimWorld, Strike, u64) -> Answer<bool>,
) -> Answer<()> {
    for strike in strikes {
        let mut deed = 0;
        while run_within(deed, limit, async |world| story(world, *strike, deed).await)
            .value
            .map_err(|error| format!("{strike:?} at deed {deed}: {error}"))?
        {
            deed += 1;
            assert!(deed < DEEDS_MAX, "{strike:?}: it never ends");
        }
        assert!(deed >= least, "{strike:?}: only {deed} deeds were struck");
    }
    Ok(())
}

/// Counts the deeds of a disk and knows which one is struck.
#[derive(Debug, Default)]
pub(crate) struct Strikes {
    deeds: u64,
    planned: Option<(u64, Strike)>,
    now: Option<Strike>,
}

impl Strikes {
    /// So many deeds from now this happens, once; 0 is the next one.
    pub(crate) fn plan(&mut self, deeds: u64, strike: Strike) {
        self.planned = Some((self.deeds + deeds, strike));
    }

    /// Nothing is planned any more; whether what was has happened.
    pub(crate) fn call_off(&mut self) -> bool {
        self.planned.take().is_none()
    }

    /// A deed begins: what happens at it.
    pub(crate) fn begin(&mut self) -> Option<Strike> {
        let number = self.deeds;
        self.deeds += 1;
        self.now = self
            .planned
            .take_if(|(at, _)| *at == number)
            .map(|(_, strike)| strike);
        self.now
    }

    /// It is over.
    pub(crate) fn end(&mut self) {
        self.now = None;
    }

    /// Whether the deed that is being done is struck so.
    pub(crate) fn is_now(&self, strike: Strike) -> bool {
        self.now == Some(strike)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_planned_deed_is_struck() {
        let mut strikes = Strikes::default();
        strikes.begin();
        strikes.plan(1, Strike::Fails);
        assert_eq!(strikes.begin(), None);
        assert!(!strikes.is_now(Strike::Fails));
        assert_eq!(strikes.begin(), Some(Strike::Fails));
        assert!(strikes.is_now(Strike::Fails) && strikes.call_off());
        strikes.end();
        assert!(!strikes.is_now(Strike::Fails) && strikes.begin().is_none());
        strikes.plan(0, Strike::Fails);
        assert!(!strikes.call_off() && strikes.begin().is_none());
    }
}
