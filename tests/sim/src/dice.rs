//! Chance that can be repeated: a stream of numbers from the seed and a label. Not for keys of anything but simulated Boxes.

use std::cell::RefCell;
use std::time::Duration;

use blake3::{Hasher, OutputReader};

/// One stream of chance. Streams with different labels are independent, so a throw more here changes nothing there.
pub struct Dice(RefCell<OutputReader>);

impl Dice {
    pub(crate) fn new(seed: u64, label: &str) -> Self {
        let mut hasher = Hasher::new_derive_key("reserve sim dice 1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(label.as_bytes());
        Self(RefCell::new(hasher.finalize_xof()))
    }

    /// Fills the bytes.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.0.borrow_mut().fill(bytes);
    }

    /// A number below `end`, which is not zero. The bias of the remainder does not matter here.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes) % end
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
