//! How safe this Box's newest snapshot is: what keepers confirmed in this run of the service, never what was true once. Pure.
//!
//! A keeper that naps keeps its copies; one that stays away too long counts as lost, and one that is asked again and lacks
//! something counts no more until it confirms anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::terms::canary::{self, Canary};
use crate::terms::{PeerKey, SnapshotNumber, Stamp};
use crate::world::Moment;

#[derive(Debug, Clone, Copy)]
struct Proof {
    number: SnapshotNumber,
    at: Stamp,
    seen: Moment,
}

/// What was confirmed, by whom and when.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    proofs: BTreeMap<PeerKey, Proof>,
    shown: Option<(u32, Stamp)>,
}

/// As it stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Other Boxes that hold each chunk of the snapshot, at least.
    pub copies: u32,
    /// Since when it is so.
    pub since: Option<Stamp>,
    /// When the last confirmation came.
    pub last_proven: Option<Stamp>,
}

/// The present: as data, and as what decides.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The clock on the wall.
    pub wall: Stamp,
    /// Monotonic time.
    pub moment: Moment,
}

impl Protection {
    /// A keeper confirmed all of its share of a snapshot.
    pub fn proven(&mut self, keeper: PeerKey, number: SnapshotNumber, now: Now) {
        let proof = Proof {
            number,
            at: now.wall,
            seen: now.moment,
        };
        self.proofs.insert(keeper, proof);
    }

    /// A keeper was asked and lacks something.
    pub fn disproven(&mut self, keeper: PeerKey) {
        self.proofs.remove(&keeper);
    }

    /// Keepers have to hold more than they confirmed.
    pub fn forget(&mut self) {
        self.proofs.clear();
    }

    /// A keeper is in reach.
    pub fn seen(&mut self, keeper: PeerKey, moment: Moment) {
        if let Some(proof) = self.proofs.get_mut(&keeper) {
            proof.seen = moment;
        }
    }

    /// Keepers that confirmed all of their share of a snapshot, or of a later one.
    pub fn complete(&self, number: SnapshotNumber) -> BTreeSet<PeerKey> {
        let complete = self
            .proofs
            .iter()
            .filter(|(_, proof)| proof.number >= number);
        complete.map(|(peer, _)| *peer).collect()
    }

    /// How the snapshot of this number stands with these other members.
    ///
    /// Every chunk is placed on `factor` of the others. If `absent` of them have not confirmed their share, a chunk may be
    /// among their shares that often at most, so at least `factor - absent` copies of it are confirmed. One that was not in reach for longer
    /// than `patience` counts as absent: then its copies are made elsewhere.
    pub fn standing(
        &mut self,
        number: SnapshotNumber,
        others: &[PeerKey],
        factor: u32,
        now: Now,
        patience: Duration,
    ) -> Standing {
        let counts =
            |proof: &&Proof| proof.number >= number && now.moment.since(proof.seen) <= patience;
        let confirmed: Vec<Stamp> = others
            .iter()
            .filter_map(|peer| self.proofs.get(peer))
            .filter(counts)
            .map(|proof| proof.at)
            .collect();
        let absent = u32::try_from(others.len() - confirmed.len()).unwrap_or(u32::MAX);
        let absent = match canary::sings(Canary::CountItself) {
            true => absent.saturating_sub(1),
            false => absent,
        };
        let copies = factor.saturating_sub(absent);
        let since = match self.shown {
            Some((shown, since)) if shown == copies => since,
            _ => now.wall,
        };
        self.shown = Some((copies, since));
        Standing {
            copies,
            since: Some(since),
            last_proven: confirmed.into_iter().max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerKey = PeerKey([1; 32]);
    const B: PeerKey = PeerKey([2; 32]);
    const C: PeerKey = PeerKey([3; 32]);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn at(seconds: u32) -> Now {
        let wall = Stamp {
            seconds: i64::from(seconds),
            nanos: 0,
        };
        Now {
            wall,
            moment: Moment(Duration::from_secs(u64::from(seconds))),
        }
    }

    #[test]
    fn only_what_was_confirmed_for_this_snapshot_counts() {
        let mut protection = Protection::default();
        let number = SnapshotNumber(2);
        assert_eq!(
            protection.standing(number, &[A, B], 2, at(1), DAY).copies,
            0
        );
        protection.proven(A, number, at(2));
        protection.proven(B, SnapshotNumber(1), at(2));
        assert_eq!(
            protection.standing(number, &[A, B], 2, at(3), DAY).copies,
            1
        );
        protection.proven(B, number, at(4));
        let standing = protection.standing(number, &[A, B], 2, at(5), DAY);
        let expected = Standing {
            copies: 2,
            since: Some(at(5).wall),
            last_proven: Some(at(4).wall),
        };
        assert_eq!(standing, expected);
        assert_eq!(
            protection.standing(number, &[A, B], 2, at(9), DAY).since,
            Some(at(5).wall)
        );
    }

    #[test]
    fn a_keeper_that_lacks_something_counts_no_more() {
        let mut protection = Protection::default();
        protection.proven(A, SnapshotNumber(1), at(1));
        protection.disproven(A);
        assert_eq!(
            protection
                .standing(SnapshotNumber(1), &[A], 1, at(2), DAY)
                .copies,
            0
        );
    }

    #[test]
    fn a_keeper_that_naps_counts_and_one_that_stays_away_does_not() {
        let mut protection = Protection::default();
        protection.proven(A, SnapshotNumber(1), at(0));
        let day = u32::try_from(DAY.as_secs()).expect("a day");
        assert_eq!(
            protection
                .standing(SnapshotNumber(1), &[A], 1, at(day), DAY)
                .copies,
            1
        );
        assert_eq!(
            protection
                .standing(SnapshotNumber(1), &[A], 1, at(day + 1), DAY)
                .copies,
            0
        );
        protection.seen(A, at(day + 1).moment);
        assert_eq!(
            protection
                .standing(SnapshotNumber(1), &[A], 1, at(day + 2), DAY)
                .copies,
            1
        );
    }

    #[test]
    fn with_more_keepers_than_copies_the_count_is_the_least_there_can_be() {
        let mut protection = Protection::default();
        protection.proven(A, SnapshotNumber(1), at(1));
        protection.proven(B, SnapshotNumber(1), at(1));
        // Factor 2 on three keepers: a chunk may have one of its two copies on C, which has confirmed nothing.
        assert_eq!(
            protection
                .standing(SnapshotNumber(1), &[A, B, C], 2, at(2), DAY)
                .copies,
            1
        );
    }
}
