//! Chance from a seed: the same name throws the same numbers on every machine, so that a corpus can be made again.

/// A named stream of chance.
pub struct Dice {
    stream: blake3::OutputReader,
}

impl Dice {
    /// The stream of a name.
    pub fn new(name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"reserve bench corpus 1\0");
        hasher.update(name.as_bytes());
        Self {
            stream: hasher.finalize_xof(),
        }
    }

    /// Bytes no compressor can shorten.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.stream.fill(buffer);
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.stream.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }

    /// An index into something of this length.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// A number from 0 to 1.
    pub fn unit(&mut self) -> f64 {
        const BITS: u32 = 32;
        let number = self.below(1 << BITS) as f64;
        number / (1_u64 << BITS) as f64
    }

    /// `count` different indices below `len`, in order; all of them if there are not so many.
    pub fn choose(&mut self, count: usize, len: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..len).collect();
        for place in 0..count.min(len) {
            let other = place + self.index(len - place);
            all.swap(place, other);
        }
        all.truncate(count);
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_throws_the_same_and_another_name_does_not() {
        let throw = |name: &str| {
            let mut dice = Dice::new(name);
            (0..8).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(throw("a"), throw("a"));
        assert_ne!(throw("a"), throw("b"));
    }

    #[test]
    fn a_choice_has_no_index_twice() {
        let chosen = Dice::new("choice").choose(50, 100);
        assert_eq!(chosen.len(), 50);
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]) && chosen[49] < 100);
        assert_eq!(Dice::new("choice").choose(9, 3), [0, 1, 2]);
    }
}
