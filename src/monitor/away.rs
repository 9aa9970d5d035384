//! Who has been away for so long that its copies are made elsewhere. Pure.
//!
//! Counted is time in which this Box ran and did not meet the other, so neither a clock that jumps nor a Box that was itself switched
//! off makes anybody absent. It is counted anew when this Box restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::terms::PeerKey;
use crate::world::Moment;

/// How long each member was not met while this Box ran.
#[derive(Debug, Clone, Default)]
pub struct Away {
    unmet: BTreeMap<PeerKey, Duration>,
    looked: Option<Moment>,
}

impl Away {
    /// Who of these members is there now.
    pub fn look(&mut self, members: &[PeerKey], there: &[PeerKey], now: Moment) {
        let passed = self
            .looked
            .map_or(Duration::ZERO, |looked| now.since(looked));
        self.looked = Some(now);
        self.unmet.retain(|peer, _| members.contains(peer));
        for peer in members {
            let unmet = self.unmet.entry(*peer).or_default();
            *unmet = if there.contains(peer) {
                Duration::ZERO
            } else {
                unmet.saturating_add(passed)
            };
        }
    }

    /// Those who were not met for this long, sorted.
    #[must_use]
    pub fn absent(&self, patience: Duration) -> Vec<PeerKey> {
        let unmet = self.unmet.iter();
        let absent = unmet.filter(|(_, unmet)| **unmet >= patience);
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
}
