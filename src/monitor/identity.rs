//! Whether a Box runs twice: the same identity on two machines at once, most likely after its disk was copied. Pure.
//!
//! Each process draws a number at its start and says it in its hello. A Box that is started anew says another one and never the one before;
//! two processes take turns, since each call of the one ends the session of the other.

use std::collections::BTreeMap;

use crate::terms::PeerKey;
use crate::world::Moment;

/// Processes of one Box that are remembered.
const REMEMBERED_MAX: usize = 4;
/// Returns of a process that was followed by another, before it is believed: a call that was long on its way may look like one.
const RETURNS_MIN: u32 = 3;

/// Which processes of each Box were met, and when two took turns.
#[derive(Debug, Clone, Default)]
pub struct Processes(BTreeMap<PeerKey, Met>);

#[derive(Debug, Clone, Default)]
struct Met {
    /// The newest last.
    boots: heapless::Vec<u64, REMEMBERED_MAX>,
    returns: u32,
    returned: Option<Moment>,
}

impl Processes {
    /// A process of a Box was met.
    pub fn met(&mut self, peer: PeerKey, boot: u64, now: Moment) {
        let met = self.0.entry(peer).or_default();
        if met.boots.last() == Some(&boot) {
            return;
        }
        match met.boots.iter().position(|known| *known == boot) {
            Some(at) => {
                met.boots.remove(at);
                met.returns += 1;
                met.returned = Some(now);
            }
            None if met.boots.is_full() => {
                met.boots.remove(0);
            }
            None => {}
        }
        // There is room: one was removed if it was full.
        let _ = met.boots.push(boot);
    }

    /// When two processes of a Box last took turns, if they did.
    #[must_use]
    pub fn runs_twice(&self, peer: &PeerKey) -> Option<Moment> {
        let met = self.0.get(peer)?;
        met.returned.filter(|_| met.returns >= RETURNS_MIN)
    }

    /// It is over: from here on turns are counted anew.
    pub fn forget(&mut self, peer: &PeerKey) {
        self.0.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOME: PeerKey = PeerKey([1; 32]);

    fn told(boots: &[u64]) -> Option<u64> {
        let mut processes = Processes::default();
        for (second, boot) in boots.iter().enumerate() {
            processes.met(HOME, *boot, Moment(Duration::from_secs(second as u64)));
        }
        processes.runs_twice(&HOME).map(|moment| moment.0.as_secs())
    }

    #[test]
    fn a_box_that_is_started_anew_however_often_runs_once() {
        assert_eq!(told(&[1, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8]), None);
    }

    #[test]
    fn two_that_take_turns_are_noticed_and_a_single_late_call_is_not() {
        assert_eq!(
            told(&[1, 2, 1, 2]),
            None,
            "one late call, and the answer to it"
        );
        assert_eq!(told(&[1, 2, 1, 2, 1]), Some(4));
        assert_eq!(told(&[1, 2, 3, 1, 2, 3, 3]), Some(5), "three machines");
    }

    #[test]
    fn what_is_over_is_counted_anew() {
        let mut processes = Processes::default();
        for boot in [1, 2, 1, 2, 1] {
            processes.met(HOME, boot, Moment(Duration::ZERO));
        }
        processes.forget(&HOME);
        processes.met(HOME, 2, Moment(Duration::ZERO));
        assert_eq!(processes.runs_twice(&HOME), None);
    }
}
