//! Bytes on the wire, counted where they arrive: what is lost on the way never was there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What one Box received and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes it received.
    pub bytes_in: u64,
    /// Bytes of it that others received.
    pub bytes_out: u64,
}

/// What all did.
#[derive(Default)]
pub(crate) struct Counted(RefCell<BTreeMap<IpAddr, Traffic>>);

impl Counted {
    pub(crate) fn add(&self, from: IpAddr, to: IpAddr, bytes: u64) {
        let mut counted = self.0.borrow_mut();
        counted.entry(from).or_default().bytes_out += bytes;
        counted.entry(to).or_default().bytes_in += bytes;
    }

    pub(crate) fn of(&self, ip: IpAddr) -> Traffic {
        self.0.borrow().get(&ip).copied().unwrap_or_default()
    }
}
