//! What this author has let go: which snapshots, by number and hash, and how far each keeper was told.
//!
//! Written durably before any keeper hears of it, so that a keeper that was off is told later, and nothing of this Box claims again
//! what it gave up. Losing it keeps too much: what it named counts as a snapshot that stays wherever a keeper still lists it.

use serde::{Deserialize, Serialize};

use crate::format::{Malformed, decode_file, encode_file, malformed};
use crate::terms::limits::{HEADS_MAX, MEMBERS_MAX};
use crate::terms::{HeadHash, PeerKey, SnapshotNumber, Stamp};
use crate::world::Disk;

const FORGOTTEN: &str = "list of forgotten snapshots";
const DIR: &str = "author";
const PATH: &str = "author/forgotten";
const DAY_SECONDS: i64 = 24 * 3600;
/// A rule is applied on a keeper this often at most.
const EVERY_DAYS: i64 = 30;

/// A snapshot that was let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gone {
    /// Its number.
    pub number: SnapshotNumber,
    /// The first bytes of its head's hash: another one with this number is not meant.
    pub hash: [u8; 8],
}

impl Gone {
    /// Which.
    #[must_use]
    pub fn new(number: SnapshotNumber, hash: &HeadHash) -> Self {
        let mut short = [0; 8];
        short.copy_from_slice(&hash.0[..8]);
        Self {
            number,
            hash: short,
        }
    }
}

/// How far a keeper was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Which keeper.
    pub keeper: PeerKey,
    /// When all it claims was last compared with what is needed.
    pub at: Stamp,
    /// Whether something is still to be said to it.
    pub is_open: bool,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Forgotten {
    /// Snapshots, rising.
    snapshots: Vec<Gone>,
    keepers: Vec<Told>,
    /// Keepers that are to keep all that waits there: it was taken back, and they did not hear it yet.
    to_cancel: Vec<PeerKey>,
}

impl Forgotten {
    /// Reads it.
    ///
    /// # Errors
    /// If it is not what it should be.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let all: Self = decode_file(FORGOTTEN, bytes)?;
        if all.snapshots.len() > HEADS_MAX
            || all.keepers.len() > MEMBERS_MAX
            || all.to_cancel.len() > MEMBERS_MAX
        {
            return Err(malformed(FORGOTTEN, "it is longer than it can be"));
        }
        if !all.snapshots.is_sorted_by(|one, next| one < next) {
            return Err(malformed(FORGOTTEN, "its snapshots do not rise"));
        }
        Ok(all)
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode_file(self)
    }

    /// Reads it from the disk; what is missing or damaged is nothing.
    pub async fn load<D: Disk>(disk: &D) -> std::io::Result<Self> {
        let bytes = disk.read_small(PATH).await?;
        Ok(bytes
            .and_then(|bytes| Self::decode(&bytes).ok())
            .unwrap_or_default())
    }

    /// Writes it, durable when it returns.
    pub async fn store<D: Disk>(&self, disk: &D) -> std::io::Result<()> {
        disk.make_dir(DIR).await?;
        disk.replace_small(PATH, &self.encode(), false).await
    }

    /// Whether this snapshot was let go.
    #[must_use]
    pub fn has(&self, number: SnapshotNumber, hash: &HeadHash) -> bool {
        self.snapshots
            .binary_search(&Gone::new(number, hash))
            .is_ok()
    }

    /// Whether none was.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.snapshots.is_empty()
    }

    /// Lets these go; every keeper is to be told. False if there are more than can be remembered.
    pub fn add(&mut self, gone: impl IntoIterator<Item = Gone>) -> bool {
        let before = self.snapshots.len();
        self.snapshots.extend(gone);
        self.snapshots.sort_unstable();
        self.snapshots.dedup();
        if self.snapshots.len() > before {
            for told in &mut self.keepers {
                told.is_open = true;
            }
        }
        self.snapshots.len() <= HEADS_MAX
    }

    /// These stay after all.
    pub fn take_back(&mut self, which: impl Fn(&Gone) -> bool) {
        self.snapshots.retain(|gone| !which(gone));
    }

    /// A keeper was asked for all it claims and told what it need not keep, but for what it would not hear yet.
    pub fn told(&mut self, keeper: PeerKey, at: Stamp, is_open: bool) {
        self.keepers.retain(|told| told.keeper != keeper);
        self.keepers.push(Told {
            keeper,
            at,
            is_open,
        });
        self.keepers.sort_by_key(|told| told.keeper);
    }

    /// All that was let go was taken back: whatever waits at these keepers is to stay.
    pub fn is_to_cancel(&mut self, keepers: &[PeerKey]) {
        self.to_cancel = keepers.to_vec();
        for told in &mut self.keepers {
            told.is_open = false;
        }
    }

    /// This one heard it.
    pub fn was_cancelled(&mut self, keeper: PeerKey) {
        self.to_cancel.retain(|other| *other != keeper);
    }

    /// Keepers that did not hear it yet.
    #[must_use]
    pub fn to_cancel(&self) -> &[PeerKey] {
        &self.to_cancel
    }

    /// Whoever belongs no more is told nothing more.
    pub fn forget_keepers_but(&mut self, members: &[PeerKey]) {
        self.keepers.retain(|told| members.contains(&told.keeper));
        self.to_cancel.retain(|keeper| members.contains(keeper));
    }

    /// Whether a keeper is to be told something, or compared with what is needed: once a month where there is a rule. A clock that says
    /// less than then is wrong, and asking once too often does no harm.
    #[must_use]
    pub fn is_due(&self, keeper: PeerKey, has_rule: bool, now: Stamp) -> bool {
        let told = self.keepers.iter().find(|told| told.keeper == keeper);
        let Some(told) = told else {
            return has_rule || !self.is_empty();
        };
        let age = now.seconds.saturating_sub(told.at.seconds);
        told.is_open || (has_rule && !(0..EVERY_DAYS * DAY_SECONDS).contains(&age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerKey = PeerKey([1; 32]);
    const B: PeerKey = PeerKey([2; 32]);

    fn gone(number: u64) -> Gone {
        Gone::new(SnapshotNumber(number), &HeadHash([9; 32]))
    }

    fn day(day: i64) -> Stamp {
        Stamp {
            seconds: day * DAY_SECONDS,
            nanos: 0,
        }
    }

    #[test]
    fn it_reads_back_and_another_snapshot_of_the_same_number_is_not_meant() {
        let mut forgotten = Forgotten::default();
        assert!(forgotten.add([gone(7), gone(3), gone(7)]));
        forgotten.told(B, day(1), true);
        assert_eq!(
            Forgotten::decode(&forgotten.encode()).as_ref(),
            Ok(&forgotten)
        );
        assert!(forgotten.has(SnapshotNumber(3), &HeadHash([9; 32])));
        assert!(!forgotten.has(SnapshotNumber(3), &HeadHash([8; 32])));
        forgotten.take_back(|gone| gone.number == SnapshotNumber(3));
        assert!(!forgotten.has(SnapshotNumber(3), &HeadHash([9; 32])));
        forgotten.snapshots.reverse();
        forgotten.snapshots.push(gone(1));
        assert!(Forgotten::decode(&forgotten.encode()).is_err());
    }

    #[test]
    fn a_rule_is_applied_once_a_month_and_what_was_not_heard_is_said_again() {
        let mut forgotten = Forgotten::default();
        assert!(!forgotten.is_due(A, false, day(100)));
        assert!(forgotten.is_due(A, true, day(100)));
        forgotten.told(A, day(100), false);
        assert!(!forgotten.is_due(A, true, day(129)));
        assert!(forgotten.is_due(A, true, day(130)));
        assert!(forgotten.is_due(A, true, day(99)), "its clock is wrong");
        assert!(!forgotten.is_due(A, false, day(200)));
        forgotten.add([gone(4)]);
        assert!(forgotten.is_due(A, false, day(101)) && forgotten.is_due(B, false, day(101)));
        forgotten.told(A, day(101), false);
        assert!(!forgotten.is_due(A, false, day(102)) && forgotten.is_due(B, false, day(102)));
        forgotten.forget_keepers_but(&[B]);
        assert!(forgotten.is_due(A, false, day(102)));
        forgotten.is_to_cancel(&[A, B]);
        forgotten.was_cancelled(A);
        assert_eq!(forgotten.to_cancel(), [B]);
    }
}
