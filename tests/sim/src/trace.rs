//! What happened, folded into one hash: two runs with the same hash did the same deeds at the same virtual times.

use std::cell::Cell;
use std::fmt;

use tokio::time::Instant;

/// The hash of everything that happened in a run.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceHash([u64; 2]);

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0[0] ^ self.0[1].rotate_left(32))
    }
}

pub(crate) struct Trace {
    start: Instant,
    /// Folded fast and not against anybody: it tells two runs apart, and nearly all bytes that move in a run go through it.
    state: Cell<[u64; 2]>,
}

const MIX: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03];

/// Folds two words.
fn fold(state: [u64; 2], words: [u64; 2]) -> [u64; 2] {
    let one = u128::from(state[0] ^ words[0] ^ MIX[0]);
    let other = u128::from(state[1] ^ words[1] ^ MIX[1]);
    let both = one.wrapping_mul(other);
    let low = u64::try_from(both & u128::from(u64::MAX)).unwrap_or(0);
    let high = u64::try_from(both >> 64).unwrap_or(0);
    [
        low ^ state[1].rotate_left(29).wrapping_add(words[0]),
        high ^ state[0].rotate_left(17).wrapping_add(words[1]),
    ]
}

fn fold_bytes(mut state: [u64; 2], bytes: &[u8]) -> [u64; 2] {
    state = fold(state, [bytes.len() as u64, MIX[1]]);
    let (words, rest) = bytes.as_chunks::<8>();
    let (pairs, odd) = words.as_chunks::<2>();
    for [first, second] in pairs {
        state = fold(
            state,
            [u64::from_le_bytes(*first), u64::from_le_bytes(*second)],
        );
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let last = u64::from_le_bytes(last);
    let words = match odd {
        [] => [last, 0],
        [first, ..] => [u64::from_le_bytes(*first), last],
    };
    fold(state, words)
}

impl Trace {
    /// The seed is left out on purpose: it must tell two traces apart by what it makes happen.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            state: Cell::new(MIX),
        }
    }

    /// Folds one event: when, where, what, with which numbers and bytes.
    pub(crate) fn event(&self, place: &str, what: &str, numbers: &[u64], bytes: &[u8]) {
        let now = self.start.elapsed();
        let now = [now.as_secs(), u64::from(now.subsec_nanos())];
        let mut state = fold(self.state.get(), now);
        for text in [place, what] {
            state = fold_bytes(state, text.as_bytes());
        }
        for number in numbers {
            state = fold(state, [*number, MIX[0]]);
        }
        self.state.set(fold_bytes(state, bytes));
    }

    pub(crate) fn hash(&self) -> TraceHash {
        TraceHash(self.state.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_of_an_event_and_the_order_of_two_make_another_trace() {
        let mut seen = std::collections::BTreeSet::new();
        let bytes = [5; 41];
        for bit in 0..bytes.len() * 8 {
            let mut touched = bytes;
            touched[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(fold_bytes(MIX, &touched)), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(seen.insert(fold_bytes(MIX, &bytes[..len])), "length {len}");
        }
        let (a, b) = ([1, 2], [3, 4]);
        assert_ne!(fold(fold(MIX, a), b), fold(fold(MIX, b), a));
    }
}
