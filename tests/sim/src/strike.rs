//! One thing that goes wrong at one certain deed of a disk: for stories that try every deed there is, one after the other.

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
