//! What could not be read is tried again, a few times and after a pause: a disk that wakes up, a network file system that comes
//! back, rights that are just being given.
//!
//! What is not readable at all must not hold up the rest. So tries in vain are counted for each sort of error: after so many no more
//! is tried for that sort, and a million locked files cost a snapshot what a few do. A try that helped costs nothing, but all pauses
//! of a snapshot together are bounded too.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crate::world::Clock;

/// How long is waited before a try.
const PAUSE: Duration = Duration::from_millis(100);
/// Times one thing is tried again.
pub(super) const TRIES_MAX: u32 = 2;
/// Tries in vain in a snapshot for one sort of error: about three seconds.
pub(super) const IN_VAIN_MAX: u32 = 32;
/// Tries in a snapshot: a minute.
const TRIES_IN_ALL_MAX: u32 = 600;

/// What a snapshot may still try again.
pub struct Again<C> {
    clock: C,
    tries: Cell<u32>,
    in_vain: RefCell<BTreeMap<Sort, u32>>,
}

/// A sort of error: what the system calls it.
type Sort = (Option<i32>, io::ErrorKind);

/// How often one thing was tried again.
#[derive(Debug, Default)]
pub struct Tries {
    sorts: [Option<Sort>; TRIES_MAX as usize],
}

impl<C: Clock> Again<C> {
    /// Nothing was tried yet.
    pub fn new(clock: C) -> Self {
        Self {
            clock,
            tries: Cell::new(0),
            in_vain: RefCell::default(),
        }
    }

    /// Waits until something that failed is to be tried again; false if it is not.
    pub async fn wait(&self, tries: &mut Tries, reason: &io::Error) -> bool {
        let sort = sort_of(reason);
        let Some(try_now) = tries.sorts.iter_mut().find(|tried| tried.is_none()) else {
            return false;
        };
        let in_vain = self.in_vain.borrow().get(&sort).copied().unwrap_or(0);
        if is_final(reason) || in_vain >= IN_VAIN_MAX || self.tries.get() >= TRIES_IN_ALL_MAX {
            return false;
        }
        *try_now = Some(sort);
        self.tries.set(self.tries.get() + 1);
        self.in_vain.borrow_mut().insert(sort, in_vain + 1);
        self.clock.sleep(PAUSE).await;
        true
    }

    /// It works now: what was tried was not in vain.
    pub fn helped(&self, tries: &mut Tries) {
        for sort in tries.sorts.iter_mut().filter_map(Option::take) {
            if let Some(in_vain) = self.in_vain.borrow_mut().get_mut(&sort) {
                *in_vain = in_vain.saturating_sub(1);
            }
        }
    }
}

fn sort_of(reason: &io::Error) -> Sort {
    (reason.raw_os_error(), reason.kind())
}

/// Whether no waiting changes it: it is gone, or something else stands there.
fn is_final(reason: &io::Error) -> bool {
    matches!(
        reason.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::Unsupported
    )
}
