//! How near a store is to its limits, and which of them it met: it refused something for want of room, and there is none yet.
//!
//! Levels only, and pure but for the counts they are taken from; how fast a limit comes nearer is for forecasts.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::queue::stride_of;
use super::refuse::StoreError;
use super::room::{Need, table_room};
use super::store::Store;
use crate::format::message::Room;
use crate::terms::PeerKey;
use crate::terms::limits::{
    HEADS_MAX, NEARLY_FULL_OVER_PERCENT, NEARLY_FULL_PERCENT, RECORD_BYTES_MAX,
};
use crate::world::World;

/// How much of something is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// So much is used.
    pub used: u64,
    /// So much there is, what is used included.
    pub most: u64,
    /// Something was refused for want of it, and there is still too little.
    pub is_met: bool,
}

impl Level {
    const fn of(used: u64, most: u64) -> Self {
        Self {
            used,
            most,
            is_met: false,
        }
    }

    /// Whether people are to be warned; `was` says whether they are warned already.
    #[must_use]
    pub const fn is_near(self, was: bool) -> bool {
        let percent = if was {
            NEARLY_FULL_OVER_PERCENT
        } else {
            NEARLY_FULL_PERCENT
        };
        self.is_met || self.used.saturating_mul(100) >= self.most.saturating_mul(percent)
    }
}

/// How full a keeper is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fullness {
    /// Bytes of its disk, or of the part of it that the store may take.
    pub disk: Level,
    /// Places in its chunk table.
    pub table: Level,
    /// Bytes of each author that has a quota.
    pub quotas: Vec<(PeerKey, Level)>,
}

impl Fullness {
    /// As another keeper tells it to `author`. It says itself what it refuses when it is asked to keep something.
    #[must_use]
    pub fn of_room(room: &Room, author: PeerKey) -> Self {
        let quota = room.quota_bytes;
        let quota = quota.map(|quota| (author, Level::of(room.yours_bytes, quota)));
        Self {
            disk: Level::of(room.stored_bytes, room.stored_bytes + room.room_bytes),
            table: Level::of(room.chunks, room.chunks_max),
            quotas: quota.into_iter().collect(),
        }
    }
}

/// What a store refused for want of room, as long as there is none.
#[derive(Debug, Default)]
pub(super) struct Met {
    disk: Cell<bool>,
    table: Cell<bool>,
    /// At most one entry for each author the store knows.
    quotas: RefCell<BTreeSet<PeerKey>>,
}

impl Met {
    /// Remembers an answer, if it is a refusal for want of room.
    pub(super) fn note<T>(&self, author: PeerKey, answer: &Result<T, StoreError>) {
        match answer {
            Err(StoreError::DiskFull) => self.disk.set(true),
            Err(StoreError::TableFull | StoreError::HeadsFull) => self.table.set(true),
            Err(StoreError::QuotaFull) => {
                self.quotas.borrow_mut().insert(author);
            }
            Ok(_) | Err(_) => {}
        }
    }
}

impl<W: World> Store<W> {
    /// How full it is now. What it refused for want of room stands until the largest chunk would find room.
    pub async fn fullness(&self) -> Fullness {
        let inner = self.inner();
        // Other programs write to the same disk.
        inner.refresh_free().await;
        // There may be room again for what gave way.
        inner.hold_back().await;
        let (limits, met) = (inner.shared.limits, &inner.met);
        let state = inner.shared.state.borrow();
        let largest = stride_of(RECORD_BYTES_MAX);
        let room_bytes = limits.room_bytes(state.taken(), Need::Data);
        if room_bytes >= largest {
            met.disk.set(false);
        }
        let (chunks, chunks_max) = (state.table.chunks(), state.table.chunks_max());
        let places = table_room(chunks, chunks_max, Need::Data);
        if places > 0 && state.heads.count() < HEADS_MAX {
            met.table.set(false);
        }
        let mut quotas = Vec::new();
        for key in state.authors.keys() {
            let used = state
                .authors
                .find(*key)
                .map_or(0, |who| state.claimed_by(who));
            let (Some(quota), Some(left)) = (
                limits.quota_bytes_per_author,
                limits.quota_left(used, Need::Data),
            ) else {
                continue;
            };
            if left >= largest {
                met.quotas.borrow_mut().remove(key);
            }
            let is_met = met.quotas.borrow().contains(key);
            let level = Level::of(used, quota);
            quotas.push((*key, Level { is_met, ..level }));
        }
        Fullness {
            disk: Level {
                is_met: met.disk.get(),
                ..Level::of(state.disk_bytes, state.disk_bytes + room_bytes)
            },
            table: Level {
                is_met: met.table.get(),
                ..Level::of(chunks as u64, (chunks + places) as u64)
            },
            quotas,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::mock_world::MockWorld;
    use crate::keeper::store::StoreConfig;
    use crate::keeper::store_tests::{ANNA, BELA, CONFIG, record, run};

    #[test]
    fn a_warning_comes_before_the_limit_and_goes_below_where_it_came() {
        let at = |used| Level::of(used, 1000);
        assert!(!at(849).is_near(false) && at(850).is_near(false));
        assert!(at(800).is_near(true) && !at(799).is_near(true));
        let met = Level {
            is_met: true,
            ..at(0)
        };
        assert!(
            met.is_near(false),
            "what is refused is near whatever the figures"
        );
    }

    #[test]
    fn what_was_refused_stands_until_the_largest_chunk_would_find_room() {
        run(async {
            let world = MockWorld::new();
            let config = StoreConfig {
                capacity_bytes: Some(64 << 20),
                quota_bytes_per_author: Some(3 << 20),
                ..CONFIG
            };
            let (store, _) = Store::open(world.clone(), config).await.expect("it opens");
            for number in 0..2 {
                let (id, bytes) = record(number, 1_400_000);
                store.put(ANNA, id, bytes).await.expect("there is room");
            }
            assert!(!store.fullness().await.quotas[0].1.is_met);
            let (id, bytes) = record(3, 900_000);
            let refused = store.put(ANNA, id, bytes.clone()).await;
            assert!(matches!(refused, Err(StoreError::QuotaFull)));
            store.put(BELA, id, bytes).await.expect("she has room");
            let full = store.fullness().await;
            let met: Vec<_> = full
                .quotas
                .iter()
                .map(|(who, at)| (*who, at.is_met))
                .collect();
            assert_eq!(met, [(ANNA, true), (BELA, false)]);
            assert!(!full.disk.is_met && !full.table.is_met);

            world.disk.set_free(1 << 20);
            let disk = store.fullness().await.disk;
            assert!(
                disk.is_near(false) && !disk.is_met,
                "nothing was refused yet"
            );
            let (id, bytes) = record(4, 900_000);
            let refused = store.put(BELA, id, bytes).await;
            assert!(matches!(refused, Err(StoreError::DiskFull)));
            assert!(store.fullness().await.disk.is_met);
            world.disk.set_free(1 << 40);
            let disk = store.fullness().await.disk;
            assert!(!disk.is_met && !disk.is_near(true), "{disk:?}");
        });
    }

    #[test]
    fn a_table_that_is_full_is_met() {
        run(async {
            let config = StoreConfig {
                table_chunks: 640,
                ..CONFIG
            };
            let (store, _) = Store::open(MockWorld::new(), config)
                .await
                .expect("it opens");
            let mut refused = 0;
            for number in 0..1000 {
                let (id, bytes) = record(number, 60);
                match store.put(ANNA, id, bytes).await {
                    Ok(()) => assert_eq!(refused, 0),
                    Err(StoreError::TableFull) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(refused > 0 && store.fullness().await.table.is_met);
        });
    }
}
