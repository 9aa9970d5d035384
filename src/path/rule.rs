//! Which of two sessions with one peer stays. Pure, and the same on both sides.

use std::net::{IpAddr, Ipv6Addr};

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

/// Where a caller counts as being: of IPv6 the network, since whoever has one address there has 2^64 of them.
#[must_use]
pub fn whereabouts(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Ipv6Addr::from_bits(network).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one_caller() {
        let at = |text: &str| whereabouts(text.parse().expect("an address"));
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff:1:2:3"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_ne!(at("::ffff:192.0.2.1"), at("::ffff:192.0.2.2"));
    }

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
