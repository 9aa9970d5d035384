//! What happened, folded into one hash: two runs with the same hash did the same deeds at the same virtual times.

use std::cell::RefCell;
use std::fmt;

use blake3::Hasher;
use tokio::time::Instant;

/// The hash of everything that happened in a run.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceHash([u8; 32]);

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0[..8] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

pub(crate) struct Trace {
    start: Instant,
    hasher: RefCell<Hasher>,
}

impl Trace {
    /// The seed is left out on purpose: it must tell two traces apart by what it makes happen.
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            hasher: RefCell::new(Hasher::new()),
        }
    }

    /// Folds one event: when, where, what, with which numbers and bytes.
    pub(crate) fn event(&self, place: &str, what: &str, numbers: &[u64], bytes: &[u8]) {
        let mut hasher = self.hasher.borrow_mut();
        hasher.update(&self.start.elapsed().as_nanos().to_le_bytes());
        for text in [place, what] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        for number in numbers {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }

    pub(crate) fn hash(&self) -> TraceHash {
        TraceHash(*self.hasher.borrow().finalize().as_bytes())
    }
}
