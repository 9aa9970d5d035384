//! Randomness from the operating system.

use crate::world::Entropy;

/// The operating system's generator.
#[derive(Debug, Clone)]
pub struct UringEntropy;

impl Entropy for UringEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Nothing that needs a key can go on without it, and a weak key would be worse than a stop.
        if let Err(error) = getrandom::fill(bytes) {
            panic!(
                "the operating system gives no randomness ({error}); nothing was written; keys cannot be made here"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fills_differ() {
        let (first, second): ([u8; 32], [u8; 32]) = (UringEntropy.bytes(), UringEntropy.bytes());
        assert_ne!(first, second);
    }
}
