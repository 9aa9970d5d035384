//! Which segments are worth compacting. Reads only.

use super::holding::Inner;
use super::refuse::StoreError;
use super::sets::SetIndex;
use super::writing::{STORE_DIR, number_of};
use crate::world::{Disk, World};

/// A segment is left alone while more than this part of the half that may count in it waits to go.
const WAITING_ONE_IN: u64 = 8;

impl<W: World> Inner<W> {
    /// Closed segments of which less than half is claimed, emptiest first: those that cost nothing make room for the others.
    pub(super) async fn sparse_segments(&self) -> Result<Vec<u32>, StoreError> {
        let names = self.world.disk().list(STORE_DIR).await;
        let names = names.map_err(StoreError::io("list the store's directory"))?;
        let (claimed, waiting) = {
            let state = self.shared.state.borrow();
            let is_claimed = |claims| claims != SetIndex::EMPTY;
            let groups = state.groups.waiting();
            let waits =
                |claims| is_claimed(claims) && state.sets.standing(claims, groups).next().is_none();
            let table = &state.table;
            let waiting = if groups == 0 {
                Vec::new()
            } else {
                table.bytes_by_segment(waits)
            };
            (table.bytes_by_segment(is_claimed), waiting)
        };
        let open = self.shared.open_segment().map(|(number, _)| number);
        let half = self.shared.sizes.segment_bytes / 2;
        let mut sparse = Vec::new();
        for number in names.iter().filter_map(|name| number_of(name)) {
            let of = |bytes: &[u64]| bytes.get(number as usize).copied().unwrap_or(0);
            let claimed = of(&claimed);
            let is_soon_emptier = of(&waiting) > half / WAITING_ONE_IN;
            if claimed < half
                && !is_soon_emptier
                && Some(number) != open
                && !self.compacted.borrow().has(number)
            {
                sparse.push((claimed, number));
            }
        }
        sparse.sort_unstable();
        Ok(sparse.into_iter().map(|(_, number)| number).collect())
    }
}
