//! What a store does when one of its lists in memory is full, told in sentences.

use std::ops::Range;
use std::rc::Rc;

use ed25519_dalek::SigningKey;

use super::heads::HeadPlace;
use super::queue::Sizes;
use super::refuse::StoreError;
use super::release_tests::{author, give_up, has, live};
use super::sets::SetIndex;
use super::store::StoreConfig;
use super::store_tests::{ANNA, BELA, CONFIG, MockStore, head, open, open_with, put, record, run};
use crate::format::head::SignedHead;
use crate::format::record::id_of;
use crate::format::segment::Location;
use crate::terms::limits::{HEADS_MAX, TABLE_SETS_MAX};
use crate::terms::{AuthorIndex, ChunkId, PeerKey, SnapshotNumber};

/// Records whose names all belong at the very end of a table for 1,100 chunks.
fn crowd(count: usize) -> Vec<(ChunkId, Rc<Vec<u8>>)> {
    let homes = 1375_u64;
    (0_u32..)
        .map(|number| number.to_le_bytes().to_vec())
        .map(|bytes| (id_of(&bytes), bytes))
        .filter(|(id, _)| {
            let leading = u64::from_be_bytes(*id.0.first_chunk().expect("32 bytes"));
            leading >= u64::MAX / homes * (homes - 1) + homes
        })
        .map(|(id, bytes)| (id, Rc::new(bytes)))
        .take(count)
        .collect()
}

#[test]
fn a_chunk_that_finds_no_place_is_refused_and_the_next_start_has_all_that_was_kept() {
    run(async {
        let config = StoreConfig {
            table_chunks: 1100,
            ..CONFIG
        };
        let disk = super::mock_world::MockWorld::new().disk;
        let (store, _) = open_with(&disk, config, Sizes::default()).await;
        // All at once, so that what finds no place is seen only when it is written.
        let crowd = crowd(1060);
        let mut puts = Vec::new();
        for (id, bytes) in &crowd {
            let (store, id, bytes) = (store.clone(), *id, Rc::clone(bytes));
            puts.push(tokio::task::spawn_local(async move {
                store.put(ANNA, id, bytes).await
            }));
        }
        let mut kept = Vec::new();
        for (at, put) in puts.into_iter().enumerate() {
            match put.await.expect("it ends") {
                Ok(()) => kept.push(crowd[at].0),
                Err(error) => assert!(matches!(error, StoreError::TableFull), "{error}"),
            }
        }
        assert!(
            kept.len() > 1000 && kept.len() < crowd.len(),
            "{}",
            kept.len()
        );
        // One that comes alone is refused before it is written.
        let before = disk.syncs();
        let (id, bytes) = crowd.last().expect("many").clone();
        let answer = store.put(ANNA, id, bytes).await;
        assert!(matches!(answer, Err(StoreError::TableFull)));
        assert_eq!(disk.syncs(), before);

        let (store, report) = open_with(&disk.power_cut(), config, Sizes::default()).await;
        assert_eq!((report.chunks, report.damaged_count), (kept.len(), 0));
        for ids in kept.chunks(1000) {
            let held = store.have(ANNA, ids).await.expect("the disk works");
            assert!(held.iter().all(|held| *held));
        }
    });
}

#[test]
fn a_claim_that_finds_no_place_is_refused_before_it_is_written() {
    run(async {
        let disk = super::mock_world::MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let id = put(&store, ANNA, 1, 700).await;
        {
            let mut state = store.inner().shared.state.borrow_mut();
            for mask in 0..TABLE_SETS_MAX {
                let mut set = Some(SetIndex::EMPTY);
                // Anna's is the first number, Bela's is the second: no set has hers.
                for bit in (0..12_u16).filter(|bit| mask >> bit & 1 == 1) {
                    set = set.and_then(|set| state.sets.with(set, AuthorIndex(bit + 2)));
                }
            }
        }
        let before = disk.syncs();
        let answer = store.have(BELA, &[id]).await;
        assert!(matches!(answer, Err(StoreError::TableFull)), "{answer:?}");
        assert_eq!(disk.syncs(), before);
        let (store, report) = open(&disk.power_cut()).await;
        assert_eq!(report.damaged_count, 0);
        assert_eq!(store.have(ANNA, &[id]).await.expect("it works"), [true]);
    });
}

#[test]
fn an_author_with_very_many_heads_leaves_room_for_those_of_others() {
    run(async {
        let disk = super::mock_world::MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let anna = SigningKey::from_bytes(&[3; 32]);
        let bela = SigningKey::from_bytes(&[4; 32]);
        store.put_head(&head(&anna, 1, 1)).await.expect("kept");
        {
            let mut state = store.inner().shared.state.borrow_mut();
            for number in 2..=HEADS_MAX as u64 / 2 {
                let place = HeadPlace {
                    author: AuthorIndex(0),
                    number: SnapshotNumber(number),
                    location: Location::new(1, 4096).expect("it fits"),
                };
                assert!(state.heads.push(place));
            }
        }
        let answer = store.put_head(&head(&anna, 1_000_000, 1)).await;
        assert!(matches!(answer, Err(StoreError::HeadsFull)), "{answer:?}");
        store.put_head(&head(&bela, 1, 1)).await.expect("kept");
    });
}

#[test]
fn heads_of_one_number_are_not_parted_by_the_end_of_an_answer() {
    run(async {
        let disk = super::mock_world::MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let key = SigningKey::from_bytes(&[3; 32]);
        for number in 1..=60 {
            let mut other = head(&key, number, 1).head;
            store.put_head(&head(&key, number, 1)).await.expect("kept");
            other.incarnation = [5; 8];
            let other = SignedHead::sign(other, &key);
            store.put_head(&other).await.expect("kept");
        }
        let author = PeerKey(key.verifying_key().to_bytes());
        let (mut count, mut after) = (0, SnapshotNumber(0));
        loop {
            let page = store.heads(Some(author), after).await.expect("they read");
            let Some(last) = page.iter().map(|head| head.head.number).max() else {
                break;
            };
            count += page.len();
            after = last;
        }
        assert_eq!(count, 120);
    });
}

/// Puts records of a length with these numbers; which were kept, and what the others were refused for.
async fn put_some(
    store: &MockStore,
    numbers: Range<u32>,
    bytes: usize,
) -> (Vec<ChunkId>, Vec<StoreError>) {
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for number in numbers {
        let (id, bytes) = record(number, bytes);
        match store.put(author(), id, bytes).await {
            Ok(()) => kept.push(id),
            Err(why) => refused.push(why),
        }
    }
    (kept, refused)
}

#[test]
fn what_an_author_gave_up_makes_room_in_a_full_table_and_a_full_quota_when_it_goes_and_not_before()
{
    let table = StoreConfig {
        table_chunks: 64,
        ..CONFIG
    };
    let quota = StoreConfig {
        quota_bytes_per_author: Some(63 * 60_800),
        ..CONFIG
    };
    for config in [table, quota] {
        run(async {
            let disk = super::mock_world::MockWorld::new().disk;
            let (store, _) = open_with(&disk, config, Sizes::default()).await;
            let is_met = async || {
                let full = store.fullness().await;
                full.table.is_met || full.quotas.iter().any(|(_, level)| level.is_met)
            };
            let (kept, refused) = put_some(&store, 0..70, 60_000).await;
            assert_eq!((kept.len(), refused.len()), (63, 7), "{refused:?}");
            assert!(is_met().await);
            assert_eq!(give_up(&store, &kept[..40], &[]).await, Ok(()));
            // It still has its places and its bytes: who gives up and puts again gets no more than its share.
            live(&store, 29).await;
            let (more, refused) = put_some(&store, 100..101, 60_000).await;
            assert_eq!((more.len(), refused.len()), (0, 1));
            assert!(is_met().await);

            live(&store, 2).await;
            assert!(!is_met().await);
            let (more, refused) = put_some(&store, 100..150, 60_000).await;
            assert_eq!((more.len(), refused.len()), (40, 10), "{refused:?}");
            for id in kept[40..].iter().chain(&more) {
                assert!(has(&store, *id).await);
            }
        });
    }
}
