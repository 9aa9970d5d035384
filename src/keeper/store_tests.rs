//! What a store promises, told in sentences, on a disk that forgets what was not synced.

use std::future::Future;
use std::rc::Rc;

use ed25519_dalek::SigningKey;

use super::mock_world::{MockDisk, MockWorld};
use super::open::OpenReport;
use super::queue::Sizes;
use super::refuse::StoreError;
use super::store::{Store, StoreConfig};
use crate::format::head::{Head, SignedHead};
use crate::format::record::id_of;
use crate::terms::limits::{BLOCK_BYTES, HEADS_OF_ONE_NUMBER_MAX, RECORD_BYTES_MAX};
use crate::terms::{ChunkId, PeerKey, ReserveId, SnapshotNumber, Stamp};

pub(super) type MockStore = Store<MockWorld>;

pub(super) const ANNA: PeerKey = PeerKey([1; 32]);
pub(super) const BELA: PeerKey = PeerKey([2; 32]);
pub(super) const FIRST: &str = "store/seg-000001";
pub(super) const CONFIG: StoreConfig = StoreConfig {
    table_chunks: 20_000,
    capacity_bytes: None,
    quota_bytes_per_author: None,
};

pub(super) fn run<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers");
    tokio::task::LocalSet::new().block_on(&runtime, story)
}

pub(super) async fn open_with(
    disk: &MockDisk,
    config: StoreConfig,
    sizes: Sizes,
) -> (MockStore, OpenReport) {
    Store::open_sized(MockWorld::on(disk.clone()), config, sizes)
        .await
        .expect("it opens")
}

pub(super) async fn open(disk: &MockDisk) -> (MockStore, OpenReport) {
    open_with(disk, CONFIG, Sizes::default()).await
}

pub(super) fn record(number: u32, len: usize) -> (ChunkId, Rc<Vec<u8>>) {
    let mut bytes = vec![0; len.max(4)];
    blake3::Hasher::new()
        .update(&number.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    (id_of(&bytes), Rc::new(bytes))
}

pub(super) async fn put(store: &MockStore, author: PeerKey, number: u32, len: usize) -> ChunkId {
    let (id, bytes) = record(number, len);
    store.put(author, id, bytes).await.expect("it is kept");
    id
}

pub(super) fn head(author: &SigningKey, number: u64, chunks: u64) -> SignedHead {
    let head = Head {
        reserve: ReserveId([1; 16]),
        author: PeerKey(author.verifying_key().to_bytes()),
        incarnation: [4; 8],
        number: SnapshotNumber(number),
        previous: None,
        manifest: ChunkId([7; 32]),
        taken: Stamp::default(),
        chunks,
        sealed_bytes: 4,
        accepted: true,
    };
    SignedHead::sign(head, author)
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let small = put(&store, ANNA, 1, 100).await;
        let large = put(&store, BELA, 2, RECORD_BYTES_MAX).await;
        let disk = disk.power_cut();
        let (store, report) = open(&disk).await;
        assert_eq!(
            (report.chunks, report.damaged_count, report.torn_bytes_cut),
            (2, 0, 0)
        );
        for (id, number, len) in [(small, 1, 100), (large, 2, RECORD_BYTES_MAX)] {
            let kept = store.get(id).await.expect("the disk works");
            assert_eq!(kept.as_deref(), Some(record(number, len).1.as_slice()));
        }
        let before = disk.syncs();
        assert_eq!(store.have(ANNA, &[small]).await.expect("it works"), [true]);
        assert_eq!(disk.syncs(), before, "Anna's claim is there already");
        assert_eq!(store.have(ANNA, &[large]).await.expect("it works"), [true]);
        assert_eq!(
            disk.syncs(),
            before + 1,
            "Anna's claim of Bela's chunk is new"
        );
        let disk = disk.power_cut();
        let (store, _) = open(&disk).await;
        let before = disk.syncs();
        let missing = ChunkId([9; 32]);
        let held = store.have(ANNA, &[large, missing, small]).await;
        assert_eq!(held.expect("it works"), [true, false, true]);
        assert_eq!(disk.syncs(), before, "her claim survived too");
    });
}

#[test]
fn ten_thousand_small_puts_at_once_cost_few_syncs() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let tasks: Vec<_> = (0..10_000)
            .map(|number| {
                let store = store.clone();
                tokio::task::spawn_local(async move {
                    put(&store, ANNA, number, 300).await;
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("each is kept");
        }
        let figures = store.figures();
        assert_eq!(figures.chunks, 10_000);
        assert!(figures.fdatasyncs <= 500, "{} syncs", figures.fdatasyncs);
    });
}

#[test]
fn nothing_is_acknowledged_before_it_is_synced() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        put(&store, ANNA, 0, 100).await;
        for number in 1..30 {
            let (id, bytes) = record(number, 9000);
            let mut call = Box::pin(store.put(ANNA, id, bytes));
            // Cut the power at each point where the call waits.
            loop {
                let (again, _) = open(&disk.power_cut()).await;
                let before = again.get(id).await.expect("the disk works").is_some();
                let polled = futures_poll(&mut call).await;
                let (again, _) = open(&disk.power_cut()).await;
                let after = again.get(id).await.expect("the disk works").is_some();
                assert!(before <= after);
                if let Some(done) = polled {
                    done.expect("it is kept");
                    assert!(after, "acknowledged and lost");
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    });
}

async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(done) => Some(done),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn a_put_whose_caller_went_away_is_kept_and_harms_nobody() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let (gone, bytes) = record(1, 5000);
        let mut call = Box::pin(store.put(ANNA, gone, bytes));
        assert!(futures_poll(&mut call).await.is_none());
        drop(call);
        put(&store, ANNA, 2, 100).await;
        let (store, _) = open(&disk.power_cut()).await;
        assert!(store.get(gone).await.expect("the disk works").is_some());
    });
}

#[test]
fn bytes_that_are_not_what_their_name_says_are_refused() {
    run(async {
        let (store, _) = open(&MockWorld::new().disk).await;
        let (id, _) = record(1, 100);
        let (_, other) = record(2, 100);
        assert!(matches!(
            store.put(ANNA, id, other).await,
            Err(StoreError::Damaged)
        ));
        let empty = Rc::new(Vec::new());
        assert!(matches!(
            store.put(ANNA, id_of(&[]), empty).await,
            Err(StoreError::NoRecord)
        ));
        assert_eq!(store.figures().chunks, 0);
    });
}

#[test]
fn the_same_chunk_put_by_many_at_once_stands_on_the_disk_once() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let store = store.clone();
                tokio::task::spawn_local(async move {
                    put(&store, PeerKey([number; 32]), 1, 8000).await;
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("each is kept");
        }
        assert_eq!(store.figures().chunks, 1);
        assert!(disk.bytes(FIRST).len() < 5 * BLOCK_BYTES);
        let disk = disk.power_cut();
        let (store, _) = open(&disk).await;
        let before = disk.syncs();
        for number in 0..20 {
            put(&store, PeerKey([number; 32]), 1, 8000).await;
        }
        assert_eq!(disk.syncs(), before, "all claims were durable");
    });
}

#[test]
fn a_full_table_refuses_new_chunks_and_serves_old_ones() {
    run(async {
        let config = StoreConfig {
            table_chunks: 3,
            ..CONFIG
        };
        let disk = MockWorld::new().disk;
        let (store, _) = open_with(&disk, config, Sizes::default()).await;
        let tasks = [1, 2, 3, 4, 5].map(|number| {
            let (store, (id, bytes)) = (store.clone(), record(number, 500));
            tokio::task::spawn_local(async move { (id, store.put(ANNA, id, bytes).await) })
        });
        let mut kept = Vec::new();
        for task in tasks {
            match task.await.expect("it ran") {
                (id, Ok(())) => kept.push(id),
                (_, answer) => assert!(matches!(answer, Err(StoreError::TableFull))),
            }
        }
        assert_eq!(kept.len(), 3);
        put(&store, BELA, 1, 500).await;
        let (store, _) = open_with(&disk.power_cut(), config, Sizes::default()).await;
        for id in kept {
            assert!(store.get(id).await.expect("the disk works").is_some());
        }
        let less = StoreConfig {
            table_chunks: 2,
            ..CONFIG
        };
        let opened = Store::open(MockWorld::on(disk.power_cut()), less).await;
        assert!(matches!(
            opened,
            Err(StoreError::TableTooSmall { chunks_max: 2 })
        ));
    });
}

#[test]
fn a_full_disk_refuses_data_but_takes_what_describes_it() {
    run(async {
        let sizes = Sizes {
            held_back_bytes: 200 << 10,
            ..Sizes::default()
        };
        let config = StoreConfig {
            capacity_bytes: Some(300 << 10),
            ..CONFIG
        };
        let disk = MockWorld::new().disk;
        let (store, _) = open_with(&disk, config, sizes).await;
        let mut kept = Vec::new();
        let refused = loop {
            let (id, bytes) = record(kept.len().try_into().expect("few"), 20_000);
            match store.put(ANNA, id, bytes).await {
                Ok(()) => kept.push(id),
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, StoreError::DiskFull));
        assert!((2..6).contains(&kept.len()), "{} kept", kept.len());
        let keys = crate::format::keys::DataKeys::derive(
            crate::terms::KeyEpoch(1),
            &crate::format::keys::ReserveSecret([9; 32]),
        );
        let (suite, codec) = (crate::terms::Suite::Aes256Gcm, crate::terms::Codec::Plain);
        for (kind, fits) in [
            (crate::terms::Kind::Data, false),
            (crate::terms::Kind::Page, true),
            (crate::terms::Kind::Manifest, true),
        ] {
            let body = vec![5; 20_000];
            let sealed = crate::format::record::seal(&keys, suite, kind, codec, 20_000, &body);
            let answer = store.put(ANNA, id_of(&sealed), Rc::new(sealed)).await;
            assert_eq!(answer.is_ok(), fits, "{kind:?}");
        }
        let key = SigningKey::from_bytes(&[3; 32]);
        store.put_head(&head(&key, 1, 1)).await.expect("kept");
        let held = store.have(BELA, &kept).await.expect("claims are kept");
        assert!(held.iter().all(|held| *held));

        // What the file system has left counts as well, and is asked again when it seems too little.
        let disk = MockWorld::new().disk;
        disk.set_free(100 << 10);
        let (store, _) = open_with(&disk, CONFIG, sizes).await;
        let (id, bytes) = record(1, 500);
        let answer = store.put(ANNA, id, Rc::clone(&bytes)).await;
        assert!(matches!(answer, Err(StoreError::DiskFull)));
        disk.set_free(1 << 30);
        store.put(ANNA, id, bytes).await.expect("there is room now");
    });
}

#[test]
fn heads_come_back_by_author_and_number_and_a_few_of_one_number_stand_beside_each_other() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let anna = SigningKey::from_bytes(&[3; 32]);
        let bela = SigningKey::from_bytes(&[4; 32]);
        let key = PeerKey(anna.verifying_key().to_bytes());
        let heads: Vec<SignedHead> = (1..=120).map(|number| head(&anna, number, 1)).collect();
        for signed in heads.iter().rev() {
            store.put_head(signed).await.expect("kept");
        }
        store.put_head(&head(&bela, 7, 1)).await.expect("kept");
        let before = disk.syncs();
        store.put_head(&heads[4]).await.expect("it is here");
        assert_eq!(disk.syncs(), before);
        let again = head(&anna, 5, 2);
        store.put_head(&again).await.expect("both are kept");
        let mut reborn = head(&anna, 5, 2).head;
        reborn.incarnation = [9; 8];
        let reborn = SignedHead::sign(reborn, &anna);
        store.put_head(&reborn).await.expect("another incarnation");

        let (one, two) = (head(&bela, 8, 1), head(&bela, 8, 2));
        let (first, second) = tokio::join!(store.put_head(&one), store.put_head(&two));
        first.expect("the first of two at once");
        second.expect("and the second");
        let (once, twice) = tokio::join!(store.put_head(&two), store.put_head(&two));
        once.and(twice).expect("it is here");
        for other in 3..=HEADS_OF_ONE_NUMBER_MAX as u64 {
            store.put_head(&head(&bela, 8, other)).await.expect("kept");
        }
        let refused = store.put_head(&head(&bela, 8, 9)).await;
        assert!(matches!(refused, Err(StoreError::HeadConflict)));
        store.put_head(&two).await.expect("what is here is here");

        for store in [store, open(&disk.power_cut()).await.0] {
            let listed = store.heads(Some(key), SnapshotNumber(10)).await;
            assert_eq!(listed.expect("the disk works"), heads[10..110]);
            let listed = store.heads(Some(key), SnapshotNumber(119)).await;
            assert_eq!(listed.expect("the disk works"), heads[119..]);
            let listed = store.heads(Some(ANNA), SnapshotNumber(0)).await;
            assert_eq!(listed.expect("the disk works"), []);
            let newest = store.heads(None, SnapshotNumber(0)).await.expect("works");
            assert_eq!(newest.len(), 1 + HEADS_OF_ONE_NUMBER_MAX);
            assert!(
                [&one, &two, &heads[119]]
                    .iter()
                    .all(|head| newest.contains(head))
            );
            let fifth = store
                .heads(Some(key), SnapshotNumber(4))
                .await
                .expect("works");
            let fifth: Vec<_> = fifth
                .iter()
                .filter(|head| head.head.number.0 == 5)
                .collect();
            assert_eq!(fifth.len(), 3);
            assert!(
                [&heads[4], &again, &reborn]
                    .iter()
                    .all(|head| fifth.contains(head))
            );
            let mut doubled = store.doubled_numbers();
            doubled.sort_by_key(|(_, number)| *number);
            let bela = PeerKey(bela.verifying_key().to_bytes());
            assert_eq!(
                doubled,
                [(key, SnapshotNumber(5)), (bela, SnapshotNumber(8))]
            );
            assert!(store.newest_heads().contains(&(key, SnapshotNumber(120))));
            assert_eq!(store.newest_heads().len(), 2);
        }
    });
}

#[test]
fn closing_writes_what_waits_and_takes_nothing_new() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let (id, bytes) = record(1, 500);
        let mut call = Box::pin(store.put(ANNA, id, bytes));
        assert!(futures_poll(&mut call).await.is_none());
        store.close().await;
        let (again, _) = open(&disk.power_cut()).await;
        assert!(again.get(id).await.expect("the disk works").is_some());
        call.await.expect("it was told too");
        let (id, bytes) = record(2, 500);
        let answer = store.put(ANNA, id, bytes).await;
        assert!(matches!(answer, Err(StoreError::Closed)));
        store.close().await;
    });
}

#[test]
fn a_commit_waits_a_little_for_a_call_that_is_still_reading() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let mut ids = Vec::new();
        for number in 0..5 {
            ids.push(put(&store, ANNA, number, 100_000).await);
        }
        let before = disk.syncs();
        let asking = store.have(BELA, &ids);
        let putting = put(&store, BELA, 9, 100);
        let (held, _) = tokio::join!(asking, putting);
        assert_eq!(held.expect("the disk works"), [true; 5]);
        assert_eq!(disk.syncs(), before + 1, "claims and chunk share a commit");
    });
}

#[test]
fn chunks_that_lie_close_together_are_found_in_few_reads() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let tasks: Vec<_> = (0..1024)
            .map(|number| {
                let store = store.clone();
                tokio::task::spawn_local(async move { put(&store, ANNA, number, 300).await })
            })
            .collect();
        let mut ids = Vec::new();
        for task in tasks {
            ids.push(task.await.expect("each is kept"));
        }
        let before = disk.reads();
        let held = store.have(ANNA, &ids).await.expect("the disk works");
        assert!(held.iter().all(|held| *held));
        let reads = disk.reads() - before;
        assert!(reads < 20, "{reads} reads");
    });
}
