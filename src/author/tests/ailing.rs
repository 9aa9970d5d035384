//! Things of the world in memory that fail a few times before they work.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

/// What is done with a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    List,
    Open,
    Stat,
    FindHoles,
    /// Reading at a place, or behind it.
    Read {
        from: usize,
    },
}

impl Deed {
    const fn is_met_by(self, other: Self) -> bool {
        match (self, other) {
            (Self::Read { from }, Self::Read { from: at }) => at >= from,
            (Self::List, Self::List)
            | (Self::Open, Self::Open)
            | (Self::Stat, Self::Stat)
            | (Self::FindHoles, Self::FindHoles) => true,
            _ => false,
        }
    }
}

/// What fails, how often and with which number.
#[derive(Default)]
pub struct Ailing(RefCell<BTreeMap<Vec<u8>, (Deed, u32, i32)>>);

/// It never works.
pub const FOR_EVER: u32 = u32::MAX;

impl Ailing {
    /// Has something fail.
    pub fn fail(&self, path: &str, deed: Deed, times: u32, errno: i32) {
        let mut ailing = self.0.borrow_mut();
        ailing.insert(path.as_bytes().to_vec(), (deed, times, errno));
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.0.borrow_mut().clear();
    }

    /// Whether all that was to fail for a while has failed.
    pub fn are_over(&self) -> bool {
        let ailing = self.0.borrow();
        ailing
            .values()
            .all(|(_, left, _)| *left == 0 || *left == FOR_EVER)
    }

    /// Does something with a thing.
    pub fn attempt(&self, path: &[u8], deed: Deed) -> io::Result<()> {
        match self.0.borrow_mut().get_mut(path) {
            Some((ailing, left, errno)) if *left > 0 && ailing.is_met_by(deed) => {
                if *left != FOR_EVER {
                    *left -= 1;
                }
                Err(io::Error::from_raw_os_error(*errno))
            }
            Some(_) | None => Ok(()),
        }
    }
}
