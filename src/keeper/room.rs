//! Whether there is room: in the space given to the store, on the file system, in the table and within an author's quota.
//!
//! Data is refused first, so that what describes it still fits; claims and heads are refused last. Pure.

use crate::terms::limits::{BLOCK_BYTES, STORE_HELD_BACK_BYTES, TABLE_HELD_BACK_ONE_IN};

/// What is held back from data, as a part of a capacity that is small.
const HELD_BACK_ONE_IN: u64 = 8;
/// What is held back from the index, as a part of what is held back from data.
const FOR_CLAIMS_ONE_IN: u64 = 8;

/// What wants room; the first is refused first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// People's bytes.
    Data,
    /// Pages, nodes and manifests: without them data that is here cannot be found.
    Index,
    /// Claims and heads: small, and what makes a yes count.
    Claim,
}

/// What a store may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of all segments.
    pub(super) capacity_bytes: Option<u64>,
    /// Bytes of the chunks that one author claims.
    pub(super) quota_bytes_per_author: Option<u64>,
    /// Bytes held back from data.
    pub(super) held_back_bytes: u64,
}

/// What is taken, queued and free.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// Bytes of all segments.
    pub(super) disk_bytes: u64,
    /// Bytes that wait to be written.
    pub(super) queued_bytes: u64,
    /// What the file system has left, and what is held back on it.
    pub(super) free_bytes: u64,
}

/// What is held back from data in a store of this capacity.
pub(super) fn held_back_bytes(capacity_bytes: Option<u64>) -> u64 {
    capacity_bytes.map_or(STORE_HELD_BACK_BYTES, |capacity| {
        STORE_HELD_BACK_BYTES.min(capacity / HELD_BACK_ONE_IN)
    })
}

/// What is held back on the disk while segments take so much: all segments and it stay within the capacity.
pub(super) fn held_back_now(limits: &Limits, disk_bytes: u64) -> u64 {
    let given = limits.capacity_bytes.unwrap_or(u64::MAX);
    let bytes = limits.held_back_bytes.min(given.saturating_sub(disk_bytes));
    bytes - bytes % BLOCK_BYTES as u64
}

impl Limits {
    /// Bytes of frames that still find room. The block that a commit may have to fill up is left out.
    pub(super) fn room_bytes(&self, taken: Taken, need: Need) -> u64 {
        let given = self.capacity_bytes.map_or(u64::MAX, |capacity| {
            capacity.saturating_sub(taken.disk_bytes)
        });
        let not_ours = taken.queued_bytes + BLOCK_BYTES as u64 + self.held_back(need);
        given.min(taken.free_bytes).saturating_sub(not_ours)
    }

    /// Bytes an author may still claim by putting; `None` if nothing bounds them.
    pub(super) fn quota_left(&self, claimed_bytes: u64, need: Need) -> Option<u64> {
        let quota = self.quota_bytes_per_author?;
        let quota = match need {
            Need::Data => quota,
            // Its own index must fit when its data reaches the quota.
            Need::Index => quota.saturating_add(self.held_back_bytes),
            Need::Claim => return None,
        };
        Some(quota.saturating_sub(claimed_bytes))
    }

    fn held_back(&self, need: Need) -> u64 {
        match need {
            Need::Data => self.held_back_bytes,
            Need::Index => self.held_back_bytes / FOR_CLAIMS_ONE_IN,
            Need::Claim => 0,
        }
    }
}

/// Chunks a table of this size still takes.
pub(super) fn table_room(chunks: usize, chunks_max: usize, need: Need) -> usize {
    let held_back = match need {
        Need::Data => chunks_max / TABLE_HELD_BACK_ONE_IN,
        Need::Index | Need::Claim => 0,
    };
    chunks_max.saturating_sub(chunks + held_back)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        capacity_bytes: Some(1_000_000),
        quota_bytes_per_author: Some(500_000),
        held_back_bytes: 80_000,
    };

    fn taken(disk_bytes: u64, free_bytes: u64) -> Taken {
        Taken {
            disk_bytes,
            queued_bytes: 1000,
            free_bytes,
        }
    }

    #[test]
    fn data_is_refused_first_then_the_index_and_claims_last() {
        let block = BLOCK_BYTES as u64;
        let rooms = [Need::Data, Need::Index, Need::Claim]
            .map(|need| LIMITS.room_bytes(taken(900_000, 1 << 40), need));
        assert_eq!(
            rooms,
            [20_000, 90_000, 100_000].map(|left| left - block - 1000)
        );
        let full = [Need::Data, Need::Index, Need::Claim]
            .map(|need| LIMITS.room_bytes(taken(985_000, 1 << 40), need) > 0);
        assert_eq!(full, [false, false, true]);
        assert_eq!(LIMITS.room_bytes(taken(2_000_000, 1 << 40), Need::Claim), 0);
    }

    #[test]
    fn what_the_file_system_has_left_bounds_as_the_capacity_does() {
        assert_eq!(LIMITS.room_bytes(taken(0, 80_000), Need::Data), 0);
        assert!(LIMITS.room_bytes(taken(0, 80_000), Need::Index) > 60_000);
        let unbounded = Limits {
            capacity_bytes: None,
            ..LIMITS
        };
        assert_eq!(unbounded.room_bytes(taken(0, 100_000), Need::Data), 14_904);
    }

    #[test]
    fn an_author_at_its_quota_may_still_describe_and_claim_what_it_has() {
        assert_eq!(LIMITS.quota_left(499_000, Need::Data), Some(1000));
        assert_eq!(LIMITS.quota_left(600_000, Need::Data), Some(0));
        assert_eq!(LIMITS.quota_left(500_000, Need::Index), Some(80_000));
        assert_eq!(LIMITS.quota_left(1 << 50, Need::Claim), None);
    }

    #[test]
    fn a_table_keeps_places_for_the_index_and_a_small_store_holds_back_little() {
        assert_eq!(table_room(6_200, 6_400, Need::Data), 100);
        assert_eq!(table_room(6_350, 6_400, Need::Data), 0);
        assert_eq!(table_room(6_350, 6_400, Need::Index), 50);
        assert_eq!(held_back_bytes(None), STORE_HELD_BACK_BYTES);
        assert_eq!(held_back_bytes(Some(8 << 20)), 1 << 20);
        assert_eq!(held_back_bytes(Some(1 << 40)), STORE_HELD_BACK_BYTES);
    }
}
