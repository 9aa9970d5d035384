//! Who has been away for so long that its copies are made elsewhere. Pure.
//!
//! Counted is time in which this Box ran and did not meet the other, so neither a clock that jumps nor a Box that was itself switched
//! off makes anybody absent. Whole hours are remembered over a restart, but nobody is absent before this run waited for it, too: it may
//! have come back while this Box was off.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::terms::PeerKey;
use crate::world::Moment;

const HOUR: Duration = Duration::from_secs(3600);
/// How long a run waits at the least for whoever was away before it began.
const RUN_LEAST: Duration = HOUR;

/// How long a member was not met.
#[derive(Debug, Clone, Copy, Default)]
struct Unmet {
    /// In earlier runs.
    before: Duration,
    /// In this one.
    now: Duration,
}

impl Unmet {
    const fn in_all(self) -> Duration {
        self.before.saturating_add(self.now)
    }
}

/// How long each member was not met while this Box ran.
#[derive(Debug, Clone, Default)]
pub struct Away {
    unmet: BTreeMap<PeerKey, Unmet>,
    looked: Option<Moment>,
}

impl Away {
    /// As it was remembered.
    #[must_use]
    pub fn after(hours: &[(PeerKey, u32)]) -> Self {
        let unmet = hours.iter().map(|(peer, hours)| {
            let before = HOUR.saturating_mul(*hours);
            let now = Duration::ZERO;
            (*peer, Unmet { before, now })
        });
        Self {
            unmet: unmet.collect(),
            looked: None,
        }
    }

    /// What is to be remembered: members that were not met for hours, and how many; sorted.
    #[must_use]
    pub fn hours(&self) -> Vec<(PeerKey, u32)> {
        let unmet = self.unmet.iter();
        let hours = unmet.map(|(peer, unmet)| {
            let hours = unmet.in_all().as_secs() / HOUR.as_secs();
            (*peer, u32::try_from(hours).unwrap_or(u32::MAX))
        });
        hours.filter(|(_, hours)| *hours > 0).collect()
    }

    /// Who of these members is there now.
    pub fn look(&mut self, members: &[PeerKey], there: &[PeerKey], now: Moment) {
        let passed = self
            .looked
            .map_or(Duration::ZERO, |looked| now.since(looked));
        self.looked = Some(now);
        self.unmet.retain(|peer, _| members.contains(peer));
        for peer in members {
            let unmet = self.unmet.entry(*peer).or_default();
            if there.contains(peer) {
                *unmet = Unmet::default();
            } else {
                unmet.now = unmet.now.saturating_add(passed);
            }
        }
    }

    /// Those who were not met for this long, sorted.
    #[must_use]
    pub fn absent(&self, patience: Duration) -> Vec<PeerKey> {
        let unmet = self.unmet.iter();
        let absent = unmet.filter(|(_, unmet)| {
            unmet.in_all() >= patience && unmet.now >= RUN_LEAST.min(patience)
        });
        absent.map(|(peer, _)| *peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: PeerKey = PeerKey([1; 32]);
    const A: PeerKey = PeerKey([2; 32]);
    const B: PeerKey = PeerKey([3; 32]);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn hour(hour: u64) -> Moment {
        Moment(Duration::from_secs(hour * 3600))
    }

    #[test]
    fn a_nap_makes_nobody_absent_and_a_day_does_until_it_is_back() {
        let mut away = Away::default();
        let all = [ME, A, B];
        away.look(&all, &all, hour(0));
        away.look(&all, &[ME, A], hour(1));
        assert!(away.absent(DAY).is_empty());
        away.look(&all, &all, hour(2));
        for at in 3..=25 {
            away.look(&all, &[ME, A], hour(at));
        }
        assert!(away.absent(DAY).is_empty(), "23 hours");
        away.look(&all, &[ME, A], hour(26));
        assert_eq!(away.absent(DAY), [B]);
        away.look(&all, &all, hour(27));
        assert!(away.absent(DAY).is_empty());
    }

    #[test]
    fn who_belongs_no_more_is_not_absent() {
        let mut away = Away::default();
        away.look(&[ME, A], &[ME], hour(0));
        away.look(&[ME, A], &[ME], hour(24));
        assert_eq!(away.absent(DAY), [A]);
        away.look(&[ME], &[ME], hour(25));
        assert!(away.absent(DAY).is_empty());
    }

    #[test]
    fn who_was_away_for_hours_is_remembered_over_a_restart_and_waited_for_once_more() {
        let all = [ME, A, B];
        let mut away = Away::default();
        away.look(&all, &[ME, A], hour(0));
        away.look(&all, &[ME, A], hour(23));
        assert_eq!(away.hours(), [(B, 23)]);
        // A new run, whose time begins anew.
        let mut away = Away::after(&[(B, 30)]);
        away.look(&all, &[ME], hour(0));
        assert!(away.absent(DAY).is_empty(), "it may be on its way");
        away.look(&all, &[ME, A], hour(1));
        assert_eq!(away.absent(DAY), [B]);
        assert_eq!(away.hours(), [(B, 31)]);
        let mut away = Away::after(&[(B, 30)]);
        away.look(&all, &[ME, A, B], hour(0));
        away.look(&all, &[ME, A], hour(2));
        assert!(away.absent(DAY).is_empty(), "it was back");
        assert_eq!(away.hours(), [(B, 2)]);
    }
}
