//! Which of two sessions with one peer stays. Pure, and the same on both sides.

use crate::terms::PeerKey;

/// What the rule needs to know of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Who called.
    pub caller: PeerKey,
    /// The peer's process, as it said hello.
    pub boot: u64,
}

/// Whether the session that is there stays and the new one is closed.
///
/// A peer that was started anew knows nothing of its old session, so the new one stays. Otherwise the session called for by the
/// lower key stays; of two by the same caller the newer, since its caller has given up the older.
#[must_use]
pub fn keeps_old(old: Candidate, new: Candidate, lower: PeerKey) -> bool {
    old.boot == new.boot && old.caller == lower && new.caller != lower
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: PeerKey = PeerKey([1; 32]);
    const HIGH: PeerKey = PeerKey([2; 32]);

    fn by(caller: PeerKey) -> Candidate {
        Candidate { caller, boot: 7 }
    }

    #[test]
    fn both_sides_keep_the_call_of_the_lower_key_whichever_came_first() {
        assert!(keeps_old(by(LOW), by(HIGH), LOW));
        assert!(!keeps_old(by(HIGH), by(LOW), LOW));
    }

    #[test]
    fn a_second_call_of_the_same_side_replaces_the_first() {
        assert!(!keeps_old(by(LOW), by(LOW), LOW));
        assert!(!keeps_old(by(HIGH), by(HIGH), LOW));
    }

    #[test]
    fn a_restarted_peer_is_never_turned_away_for_its_dead_session() {
        assert!(!keeps_old(
            by(LOW),
            Candidate {
                boot: 8,
                ..by(HIGH)
            },
            LOW
        ));
    }
}
