//! What is remembered of the peers that are asked for chunks: who lately had something, how fast, and since when it is silent.
//!
//! Plain decisions; the clock is an argument. A peer that looks stuck is doubled by another one at once, but only out of an
//! allowance that grows with what arrives: a slow line is not made slower by asking for everything twice.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::terms::PeerKey;
use crate::terms::limits::CUT_BYTES_AVERAGE;
use crate::world::Moment;

/// How far a peer's record of hits and misses reaches.
pub(super) const LEAN_MAX: i8 = 8;
/// A peer at or below this looks as if it had nothing, and is asked last.
pub(super) const LEAN_EMPTY: i8 = -4;
/// After this many records, peers that had nothing or were silent are given a little of another chance.
const FORGIVE_EVERY: u32 = 256;

/// A peer that says nothing at all for this long, beyond the time a chunk takes on its line, looks stuck.
const STUCK_SECONDS: u64 = 2;
/// The speed of a line that was not measured, and the slowest that is believed.
const BYTES_PER_SECOND_MIN: u64 = 256 << 10;
/// How long any keeper may take to begin when there is no allowance to ask another.
const PATIENCE_SECONDS: u64 = 6;
/// Chunks that may be asked for twice at once: as many as are fetched at once, and a few.
const ALLOWANCE_MAX: u32 = 8;
/// One more after this many that arrived.
const ALLOWANCE_EVERY: u32 = 16;

/// What is remembered of a peer; one small record for each member.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    pub(super) in_flight_bytes: u64,
    pub(super) lean: i8,
    /// When it last answered anything.
    pub(super) heard: Option<Moment>,
    /// How fast answers came, lately; 0 when not measured.
    pub(super) bytes_per_second: u64,
}

impl Standing {
    /// How long it may be silent before it looks stuck.
    fn silence_max(&self) -> Duration {
        let speed = self.bytes_per_second.max(BYTES_PER_SECOND_MIN);
        let chunk = Duration::from_millis(CUT_BYTES_AVERAGE as u64 * 1000 / speed);
        Duration::from_secs(STUCK_SECONDS) + chunk
    }

    /// How long it may take for what is on its way, whatever it says meanwhile.
    fn patience_max(&self) -> Duration {
        let seconds = self.in_flight_bytes.div_ceil(BYTES_PER_SECOND_MIN);
        Duration::from_secs(PATIENCE_SECONDS + seconds)
    }
}

/// What is remembered of all.
#[derive(Clone)]
pub(super) struct Standings {
    peers: Rc<RefCell<BTreeMap<PeerKey, Standing>>>,
    records: Rc<Cell<u32>>,
    allowance: Rc<Cell<u32>>,
}

impl Default for Standings {
    fn default() -> Self {
        Self {
            peers: Rc::default(),
            records: Rc::default(),
            allowance: Rc::new(Cell::new(ALLOWANCE_MAX)),
        }
    }
}

impl Standings {
    pub(super) fn of(&self, peer: PeerKey) -> Standing {
        self.peers.borrow().get(&peer).copied().unwrap_or_default()
    }

    pub(super) fn leans(&self, peer: PeerKey, by: i8) {
        let mut all = self.peers.borrow_mut();
        let standing = all.entry(peer).or_default();
        standing.lean = (standing.lean + by).clamp(-LEAN_MAX, LEAN_MAX);
    }

    /// Notes that a peer had what it was asked for.
    pub(super) fn had_it(&self, peer: PeerKey) {
        self.leans(peer, 2);
        let records = self.records.get().wrapping_add(1);
        self.records.set(records);
        if records.is_multiple_of(ALLOWANCE_EVERY) {
            self.allowance
                .set((self.allowance.get() + 1).min(ALLOWANCE_MAX));
        }
        if records.is_multiple_of(FORGIVE_EVERY) {
            for standing in self.peers.borrow_mut().values_mut() {
                standing.lean += i8::from(standing.lean < 0);
            }
        }
    }

    /// Notes an answer of so many bytes.
    pub(super) fn heard(&self, peer: PeerKey, asked_at: Moment, now: Moment, bytes: u64) {
        let mut all = self.peers.borrow_mut();
        let standing = all.entry(peer).or_default();
        // Answers follow each other on a line: this one took its time from the one before.
        let began = standing.heard.map_or(asked_at, |heard| heard.max(asked_at));
        standing.heard = Some(now);
        if bytes >= BYTES_PER_SECOND_MIN / 4 {
            let micros = u64::try_from(now.since(began).as_micros()).unwrap_or(u64::MAX);
            let speed = bytes.saturating_mul(1_000_000) / micros.max(1);
            let before = standing.bytes_per_second;
            standing.bytes_per_second = if before == 0 {
                speed
            } else {
                before / 4 * 3 + speed / 4
            };
        }
    }

    /// How long a peer that was asked at some moment may still take before another is asked as well; zero when it is time.
    pub(super) fn patience(&self, peer: PeerKey, asked_at: Moment, now: Moment) -> Duration {
        let standing = self.of(peer);
        let silent_since = standing.heard.map_or(asked_at, |heard| heard.max(asked_at));
        let until_stuck = standing
            .silence_max()
            .saturating_sub(now.since(silent_since));
        let until_late = standing.patience_max().saturating_sub(now.since(asked_at));
        if self.allowance.get() == 0 {
            until_late
        } else {
            until_stuck.min(until_late)
        }
    }

    /// Counts a chunk that is asked for twice.
    pub(super) fn spend(&self) {
        self.allowance.set(self.allowance.get().saturating_sub(1));
    }

    /// Counts bytes as on their way from a peer until the guard goes.
    pub(super) fn expect(&self, peer: PeerKey, bytes: u64) -> OnTheWay {
        self.peers
            .borrow_mut()
            .entry(peer)
            .or_default()
            .in_flight_bytes += bytes;
        OnTheWay {
            standings: self.clone(),
            peer,
            bytes,
        }
    }
}

/// Bytes on their way from a peer.
pub(super) struct OnTheWay {
    standings: Standings,
    peer: PeerKey,
    bytes: u64,
}

impl Drop for OnTheWay {
    fn drop(&mut self) {
        if let Some(standing) = self.standings.peers.borrow_mut().get_mut(&self.peer) {
            standing.in_flight_bytes = standing.in_flight_bytes.saturating_sub(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerKey = PeerKey([1; 32]);

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn left(standings: &Standings, asked: u64, now: u64) -> u128 {
        standings.patience(PEER, at(asked), at(now)).as_millis()
    }

    #[test]
    fn a_fast_peer_that_falls_silent_looks_stuck_soon_and_a_slow_one_that_speaks_does_not() {
        let standings = Standings::default();
        assert_eq!(left(&standings, 0, 0), 6_000, "not measured yet");
        standings.heard(PEER, at(0), at(10), 1 << 20);
        assert_eq!(left(&standings, 10, 10), 2_010);
        assert_eq!(left(&standings, 10, 2_020), 0);
        // A slow one: a chunk every four seconds, six asked for at once.
        let _six = standings.expect(PEER, 6 << 20);
        for n in 1..=6 {
            standings.heard(PEER, at(10), at(10 + n * 4_000), 1 << 20);
            assert!(left(&standings, 10, 10 + n * 4_000) > 0, "after {n}");
        }
    }

    #[test]
    fn what_is_asked_for_twice_is_bounded_by_what_arrives() {
        let standings = Standings::default();
        let _on_the_way = standings.expect(PEER, 1 << 20);
        for _ in 0..ALLOWANCE_MAX {
            assert_eq!(left(&standings, 0, 6_000), 0);
            standings.spend();
        }
        assert_eq!(left(&standings, 0, 6_000), 4_000, "only when it is late");
        for _ in 0..ALLOWANCE_EVERY {
            standings.had_it(PEER);
        }
        assert_eq!(left(&standings, 0, 6_000), 0);
    }

    #[test]
    fn a_peer_that_had_nothing_gets_another_chance_in_the_long_run() {
        let standings = Standings::default();
        let other = PeerKey([2; 32]);
        standings.leans(PEER, LEAN_EMPTY);
        for _ in 0..FORGIVE_EVERY {
            assert!(standings.of(PEER).lean <= LEAN_EMPTY);
            standings.had_it(other);
        }
        assert!(standings.of(PEER).lean > LEAN_EMPTY);
    }
}
