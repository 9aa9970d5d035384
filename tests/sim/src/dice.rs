//! Chance that can be repeated: a stream of numbers from the seed and a label. Not for keys of anything but simulated Boxes.

use std::cell::Cell;
use std::time::Duration;

use blake3::Hasher;

/// One stream of chance. Streams with different labels are independent, so a throw more here changes nothing there.
pub struct Dice(Cell<u64>);

impl Dice {
    pub(crate) fn new(seed: u64, label: &str) -> Self {
        let mut hasher = Hasher::new_derive_key("reserve sim dice 1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(label.as_bytes());
        let mut start = [0; 8];
        hasher.finalize_xof().fill(&mut start);
        Self(Cell::new(u64::from_le_bytes(start)))
    }

    /// The next of a stream (splitmix64, by Sebastiano Vigna, in the public domain): every deed throws at least once.
    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills the bytes.
    pub fn fill(&self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
    }

    /// A number below `end`, which is not zero. The bias of the remainder does not matter here.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        self.next() % end
    }

    /// A length of time below `end`, in milliseconds.
    #[must_use]
    pub fn time_below(&self, end: Duration) -> Duration {
        let ms = u64::try_from(end.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.below(ms.max(1)))
    }

    /// Heads or tails.
    #[must_use]
    pub fn coin(&self) -> bool {
        self.below(2) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_with_its_seed_and_label_only() {
        let numbers = |seed, label| {
            let dice = Dice::new(seed, label);
            [(); 4].map(|()| dice.below(1 << 40))
        };
        assert_eq!(numbers(1, "a"), numbers(1, "a"));
        assert_ne!(numbers(1, "a"), numbers(2, "a"));
        assert_ne!(numbers(1, "a"), numbers(1, "b"));
    }
}
