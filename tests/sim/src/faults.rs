//! What is wrong with a Box's disk at the moment. Consulted at each deed of the disk; empty unless a story breaks something.
//!
//! A new kind of damage gets a field here, a method that breaks it, and one question the disk asks.

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::time::Duration;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// Bytes of a disk unless a story makes it smaller.
const CAPACITY_BYTES_DEFAULT: u64 = 1 << 40;

/// What is wrong with a disk.
#[derive(Debug, Clone)]
pub struct Faults {
    capacity_bytes: u64,
    syncs_to_fail: u32,
    writes_until_full: Option<u32>,
    /// What was used when another program took all that was left.
    full_at: Cell<Option<u64>>,
    unreadable: Vec<(String, Range<u64>)>,
    reads_to_fail: u32,
    is_gone: bool,
    is_read_only: bool,
    writes_to_lose: u32,
    writes_to_misplace: u32,
    slower: Duration,
}

/// What a drive does with a write it says it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landing {
    /// It is where it belongs.
    Right,
    /// It is nowhere.
    Nowhere,
    /// It is where it does not belong, and what was there is gone.
    Elsewhere,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            capacity_bytes: CAPACITY_BYTES_DEFAULT,
            syncs_to_fail: 0,
            writes_until_full: None,
            full_at: Cell::default(),
            unreadable: Vec::new(),
            reads_to_fail: 0,
            is_gone: false,
            is_read_only: false,
            writes_to_lose: 0,
            writes_to_misplace: 0,
            slower: Duration::ZERO,
        }
    }
}

impl Faults {
    /// The disk holds this much and not a block more; beyond it a write fails with "no space left".
    pub fn set_capacity(&mut self, bytes: u64) {
        self.capacity_bytes = bytes;
    }

    /// After so many more writes another program has taken all that was left: whatever wants a new block fails with "no space left".
    /// Until then the disk looks as if there was room.
    pub fn fill_up_after(&mut self, writes: u32) {
        self.writes_until_full = Some(writes);
    }

    /// The next sync of a file or directory fails. What it should have made durable never will be, as on Linux, though it
    /// can be read until the power goes.
    pub fn fail_next_sync(&mut self) {
        self.syncs_to_fail += 1;
    }

    /// Reads that touch these bytes of this file fail with an input/output error.
    pub fn make_unreadable(&mut self, path: &str, bytes: Range<u64>) {
        self.unreadable.push((path.to_owned(), bytes));
    }

    /// The next reads fail with an input/output error, wherever they are; read again, the bytes are there.
    pub fn fail_reads(&mut self, reads: u32) {
        self.reads_to_fail += reads;
    }

    /// The drive does not answer any more: whatever is asked of it fails, until everything is mended.
    pub fn take_away(&mut self) {
        self.is_gone = true;
    }

    /// The file system has become read-only, as after an error it does not trust itself with.
    pub fn make_read_only(&mut self) {
        self.is_read_only = true;
    }

    /// The next write to a segment is said to be done and is not.
    pub fn lose_next_write(&mut self) {
        self.writes_to_lose += 1;
    }

    /// The next write to a segment lands on what was written before.
    pub fn misplace_next_write(&mut self) {
        self.writes_to_misplace += 1;
    }

    /// No write that is still to come goes wrong.
    pub fn let_writes_land(&mut self) {
        self.writes_to_lose = 0;
        self.writes_to_misplace = 0;
    }

    pub(crate) fn landing(&mut self) -> Landing {
        if self.writes_to_lose > 0 {
            self.writes_to_lose -= 1;
            return Landing::Nowhere;
        }
        if self.writes_to_misplace > 0 {
            self.writes_to_misplace -= 1;
            return Landing::Elsewhere;
        }
        Landing::Right
    }

    /// Whether anything may be changed.
    pub(crate) fn check_writable(&self) -> io::Result<()> {
        self.check_there()?;
        if self.is_read_only {
            return Err(io::Error::from_raw_os_error(EROFS));
        }
        Ok(())
    }

    /// Every deed takes so much longer.
    pub fn slow_down(&mut self, by: Duration) {
        self.slower = by;
    }

    pub(crate) fn slowness(&self) -> Duration {
        self.slower
    }

    pub(crate) fn check_there(&self) -> io::Result<()> {
        if self.is_gone {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }

    /// Whether the drive does not answer.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.is_gone
    }

    /// What passes by itself has passed; what cannot be read stays so.
    pub fn pass(&mut self) {
        let unreadable = std::mem::take(&mut self.unreadable);
        *self = Self {
            unreadable,
            ..Self::default()
        };
    }

    /// Everything works again (the capacity too).
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn free_bytes(&self, used_bytes: u64) -> u64 {
        if self.writes_until_full == Some(0) {
            // What this keeper itself gives back it may take again.
            let full_at = self.full_at.get().unwrap_or(used_bytes);
            self.full_at.set(Some(full_at));
            return full_at.saturating_sub(used_bytes);
        }
        self.capacity_bytes.saturating_sub(used_bytes)
    }

    pub(crate) fn check_space(&self, used_bytes: u64, more_bytes: u64) -> io::Result<()> {
        if more_bytes > self.free_bytes(used_bytes) {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }

    /// A write that wants new blocks.
    pub(crate) fn check_write(&mut self, used_bytes: u64, more_bytes: u64) -> io::Result<()> {
        self.check_writable()?;
        match &mut self.writes_until_full {
            Some(0) | None => {}
            Some(left) => *left -= 1,
        }
        self.check_space(used_bytes, more_bytes)
    }

    pub(crate) fn check_sync(&mut self) -> io::Result<()> {
        self.check_there()?;
        if self.syncs_to_fail == 0 {
            return Ok(());
        }
        self.syncs_to_fail -= 1;
        Err(io::Error::from_raw_os_error(EIO))
    }

    pub(crate) fn check_read(&mut self, path: &str, bytes: Range<u64>) -> io::Result<()> {
        self.check_there()?;
        if self.reads_to_fail > 0 {
            self.reads_to_fail -= 1;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let touches = |(broken, range): &(String, Range<u64>)| {
            broken == path && range.start < bytes.end && bytes.start < range.end
        };
        if self.unreadable.iter().any(touches) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_fails_only_where_it_touches_the_broken_range() {
        let mut faults = Faults::default();
        faults.make_unreadable("a", 100..200);
        assert!(faults.check_read("a", 0..100).is_ok());
        assert!(faults.check_read("a", 0..101).is_err());
        assert!(faults.check_read("a", 199..300).is_err());
        assert!(faults.check_read("a", 200..300).is_ok());
        assert!(faults.check_read("b", 0..300).is_ok());
    }

    #[test]
    fn one_sync_fails_and_the_next_one_works() {
        let mut faults = Faults::default();
        faults.fail_next_sync();
        assert!(faults.check_sync().is_err());
        assert!(faults.check_sync().is_ok());
    }
}
