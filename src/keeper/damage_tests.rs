//! What a store makes of disks that tore, rotted, failed or were mixed up, told in sentences.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ed25519_dalek::SigningKey;

use super::mock_world::MockWorld;
use super::open::{Damage, DamageKind};
use super::queue::Sizes;
use super::refuse::StoreError;
use super::store::Store;
use super::store_tests::{ANNA, BELA, CONFIG, FIRST, head, open, open_with, put, record, run};
use super::torn_tests::two_commits;
use super::verify_tests::sizes;
use crate::terms::ChunkId;
use crate::terms::limits::{BLOCK_BYTES, FRAME_HEADER_BYTES};

#[test]
fn damage_with_whole_frames_behind_it_is_told_and_never_cut() {
    run(async {
        let (disk, _, second, start) = two_commits().await;
        let len = disk.bytes(FIRST).len();
        for at in BLOCK_BYTES..BLOCK_BYTES + FRAME_HEADER_BYTES {
            let disk = disk.power_cut();
            disk.rot(FIRST, at);
            let (store, report) = open(&disk).await;
            assert_eq!(report.torn_bytes_cut, 0, "byte {at}");
            assert_eq!(disk.bytes(FIRST).len(), len);
            let kinds: Vec<_> = report.damaged.iter().map(|d| (d.kind, d.offset)).collect();
            assert_eq!(kinds.len(), 1, "byte {at}: {kinds:?}");
            assert_eq!(kinds[0].1, BLOCK_BYTES as u64);
            for id in &second {
                assert!(store.get(*id).await.expect("the disk works").is_some());
            }
            assert_eq!(report.chunks, 3);
        }
        assert!(start > BLOCK_BYTES);
    });
}

#[test]
fn a_rotten_chunk_is_missed_by_get_denied_by_have_and_replaced_by_put() {
    run(async {
        let (disk, first, second, _) = two_commits().await;
        disk.rot(FIRST, BLOCK_BYTES + FRAME_HEADER_BYTES + 300);
        let (store, report) = open(&disk.power_cut()).await;
        assert_eq!(
            report.chunks, 4,
            "bodies of old commits are not read at start"
        );
        let id = first[0];
        assert_eq!(store.get(id).await.expect("the disk works"), None);
        assert_eq!(store.figures().damaged, 1);
        let held = store.have(ANNA, &[id, second[0]]).await;
        assert_eq!(held.expect("the disk works"), [false, true]);
        drop(store);

        let disk = disk.power_cut();
        let (store, _) = open(&disk).await;
        assert_eq!(store.get(id).await.expect("the disk works"), None);
        put(&store, BELA, 1, 700).await;
        assert_eq!((store.figures().damaged, store.figures().chunks), (0, 4));
        for start in 0..2 {
            let disk = disk.power_cut();
            let (store, report) = open(&disk).await;
            assert_eq!(report.chunks, 4, "start {start}");
            assert!(store.get(id).await.expect("the disk works").is_some());
            let before = disk.syncs();
            let held = store.have(ANNA, &[id]).await.expect("the disk works");
            assert_eq!(
                (held, disk.syncs()),
                (vec![true], before),
                "her claim stayed"
            );
        }
    });
}

#[test]
fn a_failed_sync_refuses_its_commit_and_begins_a_new_segment() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let spared = put(&store, ANNA, 1, 700).await;
        let rotten = put(&store, ANNA, 2, 700).await;
        disk.fail_sync(0);
        disk.rot_at_failure(2 * BLOCK_BYTES + FRAME_HEADER_BYTES + 5);
        let (lost, bytes) = record(3, 700);
        let answer = store.put(ANNA, lost, Rc::clone(&bytes)).await;
        assert!(matches!(answer, Err(StoreError::DiskFailed)));
        let length = disk.bytes(FIRST).len();

        store
            .put(ANNA, lost, bytes)
            .await
            .expect("in a new segment");
        let held = store.have(ANNA, &[spared, rotten, lost]).await;
        assert_eq!(held.expect("the disk works"), [true, false, true]);
        assert_eq!(store.figures().damaged, 1, "read again, it was not whole");
        assert_eq!(disk.bytes(FIRST).len(), length, "never appended to again");
        assert!(disk.paths().contains(&"store/seg-000002".to_owned()));

        let (store, report) = open(&disk.power_cut()).await;
        let kinds: Vec<_> = report.damaged.iter().map(|damage| damage.kind).collect();
        assert_eq!(report.segments, 2);
        // It was acknowledged, it was never closed.
        assert_eq!(kinds, [DamageKind::Frames, DamageKind::Footer]);
        for id in [spared, lost] {
            assert!(store.get(id).await.expect("the disk works").is_some());
        }
        let held = store.have(ANNA, &[rotten]).await.expect("the disk works");
        assert_eq!(held, [false], "it was in that file's last commit");
    });
}

#[test]
fn a_segment_that_cannot_begin_refuses_and_leaves_nothing() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let (id, bytes) = record(1, 700);
        disk.fail_sync(0);
        let answer = store.put(ANNA, id, Rc::clone(&bytes)).await;
        assert!(matches!(answer, Err(StoreError::DiskFailed)));
        assert_eq!(disk.paths(), ["store-id", "store/id", "store/verified"]);
        store
            .put(ANNA, id, bytes)
            .await
            .expect("the next one works");
        assert!(store.get(id).await.expect("the disk works").is_some());
    });
}

#[test]
fn a_segment_that_was_never_begun_is_begun_again() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open(&disk).await;
        let id = put(&store, ANNA, 1, 700).await;
        for left in [vec![], vec![0; BLOCK_BYTES], vec![7; 100]] {
            let disk = disk.power_cut();
            let torn = left.len() as u64;
            disk.set_bytes("store/seg-000002", left);
            let (store, report) = open(&disk).await;
            assert_eq!((report.torn_bytes_cut, report.segments), (torn, 1));
            let new = put(&store, ANNA, 2, 700).await;
            let (store, report) = open(&disk.power_cut()).await;
            assert_eq!(
                (report.segments, report.damaged.as_slice()),
                (2, {
                    // The first one was not full when the second was begun by hand.
                    [Damage {
                        segment: 1,
                        offset: 2 * BLOCK_BYTES as u64,
                        bytes: 0,
                        kind: DamageKind::Footer,
                    }]
                    .as_slice()
                })
            );
            for id in [id, new] {
                assert!(store.get(id).await.expect("the disk works").is_some());
            }
        }
    });
}

#[test]
fn another_stores_segment_is_refused_and_nothing_is_touched() {
    run(async {
        let (disk, ..) = two_commits().await;
        let other = MockWorld::new();
        // A second draw gives a second name.
        let mut skipped = [0; 1];
        crate::world::Entropy::fill(crate::world::World::entropy(&other), &mut skipped);
        let (store, _) = Store::open(other.clone(), CONFIG).await.expect("it opens");
        put(&store, ANNA, 1, 10).await;
        let mut torn = disk.bytes(FIRST);
        torn.truncate(torn.len() - 100);
        let disk = other.disk.power_cut();
        disk.set_bytes("store/seg-000002", torn.clone());
        let opened = Store::open(MockWorld::on(disk.clone()), CONFIG).await;
        assert!(matches!(opened, Err(StoreError::ForeignStore { .. })));
        assert_eq!(disk.bytes("store/seg-000002"), torn);
    });
}

#[test]
fn a_lost_name_is_learned_from_the_segments() {
    run(async {
        let (disk, first, ..) = two_commits().await;
        let name = disk.bytes("store/id");
        disk.set_bytes("store/id", vec![1, 2, 3]);
        let (store, report) = open(&disk.power_cut()).await;
        assert_eq!(report.chunks, 4);
        assert!(store.get(first[0]).await.expect("the disk works").is_some());
        let disk = disk.power_cut();
        open(&disk).await;
        assert_eq!(disk.bytes("store/id"), name);
        let bare = MockWorld::new().disk;
        bare.set_bytes("store/id", vec![1, 2, 3]);
        let opened = Store::open(MockWorld::on(bare), CONFIG).await;
        assert!(matches!(opened, Err(StoreError::NoName(_))));
    });
}

#[test]
fn full_segments_are_closed_and_read_by_their_footers() {
    run(async {
        let sizes = Sizes {
            segment_bytes: 64 << 10,
            ..Sizes::default()
        };
        let disk = MockWorld::new().disk;
        let (store, _) = open_with(&disk, CONFIG, sizes).await;
        let mut ids = Vec::new();
        for number in 0..60 {
            ids.push(put(&store, ANNA, number, 5000).await);
        }
        let key = SigningKey::from_bytes(&[3; 32]);
        store.put_head(&head(&key, 1, 1)).await.expect("kept");
        let segments = store.figures().segments;
        assert!(segments > 5, "{segments} segments");
        let mut segments_of = disk.paths();
        segments_of.retain(|path| path.starts_with("store/seg-"));
        let lens = || segments_of.iter().map(|path| disk.bytes(path).len());
        assert!(lens().all(|len| len <= 64 << 10));
        assert_eq!(store.figures().disk_bytes, lens().sum::<usize>() as u64);

        let cut = disk.power_cut();
        let (store, report) = open_with(&cut, CONFIG, sizes).await;
        assert_eq!(
            (report.chunks, report.heads, report.damaged_count),
            (60, 1, 0)
        );
        let reads = cut.reads();
        assert!(reads <= 2 * segments as usize + 40, "{reads} reads");
        let held = store.have(ANNA, &ids).await.expect("the disk works");
        assert!(held.iter().all(|held| *held));

        // A frame's block that cannot be read costs the footer behind it nothing.
        let cut = disk.power_cut();
        cut.spoil_block(FIRST, cut.bytes(FIRST).len() - 2 * BLOCK_BYTES);
        let (_, report) = open_with(&cut, CONFIG, sizes).await;
        assert_eq!((report.chunks, report.damaged_count), (60, 0));

        // A damaged footer: the frames tell the same.
        let cut = disk.power_cut();
        let at = cut.bytes(FIRST).len() - 100;
        cut.rot(FIRST, at);
        let footer = cut.bytes(FIRST).len() - 10;
        cut.rot(FIRST, footer);
        cut.forget_marks();
        let (store, report) = open_with(&cut, CONFIG, sizes).await;
        assert_eq!((report.chunks, report.damaged_count), (60, 1));
        assert_eq!(report.damaged[0].kind, DamageKind::Footer);
        for id in ids {
            assert!(store.get(id).await.expect("the disk works").is_some());
        }
    });
}

#[test]
fn a_chunk_that_another_was_written_over_is_replaced_for_every_start_to_come() {
    run(async {
        let disk = MockWorld::new().disk;
        let (store, _) = open_with(&disk, CONFIG, sizes()).await;
        let mut ids = Vec::new();
        for number in 0..20 {
            ids.push(put(&store, ANNA, number, 700).await);
        }
        assert!(store.figures().segments > 1, "the first is closed");
        drop(store);

        // A write that landed in the wrong place: what stands there is a whole frame of another name.
        let disk = disk.power_cut();
        disk.write_over(FIRST, 2 * BLOCK_BYTES..3 * BLOCK_BYTES, BLOCK_BYTES);
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!(report.chunks, 20);
        let lost = ids[0];
        assert_eq!(store.get(lost).await.expect("the disk works"), None);
        assert_eq!(store.figures().damaged, 1);
        put(&store, BELA, 0, 700).await;
        assert_eq!((store.figures().damaged, store.figures().chunks), (0, 20));
        drop(store);

        let (store, report) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
        assert_eq!(report.chunks, 20, "it is here once");
        assert!(store.get(lost).await.expect("the disk works").is_some());
        assert_eq!(store.figures().damaged, 0, "nobody looks at its old place");
        let held = store.have(ANNA, &ids).await.expect("the disk works");
        assert!(held.iter().all(|held| *held), "her claims stayed");
    });
}

#[test]
fn what_a_killed_process_wrote_is_durable_before_it_counts() {
    run(async {
        let (disk, first, second, start) = two_commits().await;
        let disk = disk.power_cut();
        disk.unsync(FIRST, start);
        let (store, _) = open(&disk).await;
        let all: Vec<ChunkId> = first.into_iter().chain(second).collect();
        let held = store.have(ANNA, &all).await.expect("the disk works");
        assert_eq!(held, [true; 4]);
        let (store, report) = open(&disk.power_cut()).await;
        assert_eq!(report.chunks, 4, "a yes outlives a power cut");
        drop(store);
    });
}

#[test]
fn blocks_that_cannot_be_read_cost_only_what_is_in_them() {
    run(async {
        let (disk, first, second, start) = two_commits().await;
        let len = disk.bytes(FIRST).len();
        for (bad, kept) in [
            (0, [&first[..], &second[..]].concat()),
            (BLOCK_BYTES, second.clone()),
            (start, first.clone()),
            (len - BLOCK_BYTES, first.clone()),
        ] {
            let disk = disk.power_cut();
            disk.spoil_block(FIRST, bad);
            let (store, report) = open(&disk).await;
            assert_eq!(report.torn_bytes_cut, 0, "block at {bad}");
            assert!(report.damaged_count > 0, "block at {bad}");
            assert!(disk.bytes(FIRST).len() >= len, "nothing was cut");
            let new = put(&store, ANNA, 50, 800).await;
            let (store, again) = open(&disk.power_cut()).await;
            assert!(again.segments == 2);
            for id in kept.iter().chain([&new]) {
                let record = store.get(*id).await.expect("the disk works");
                assert!(record.is_some(), "block at {bad}");
            }
        }
    });
}

#[test]
fn a_tail_too_long_for_an_unfinished_commit_is_told_and_not_cut() {
    run(async {
        let (disk, first, ..) = two_commits().await;
        let mut left = disk.bytes(FIRST);
        let whole = left.len() as u64;
        left.resize(16 << 20, 0);
        let disk = disk.power_cut();
        disk.set_bytes(FIRST, left);
        let (store, report) = open(&disk).await;
        assert_eq!((report.torn_bytes_cut, report.chunks), (0, 4));
        assert_eq!(report.damaged[0].kind, DamageKind::Frames);
        assert_eq!(report.damaged[0].offset, whole);
        let new = put(&store, ANNA, 50, 800).await;
        let (store, again) = open(&disk.power_cut()).await;
        assert_eq!((again.damaged_count, again.chunks), (0, 5), "it was closed");
        for id in [first[0], new] {
            assert!(store.get(id).await.expect("the disk works").is_some());
        }
    });
}

#[test]
fn through_many_power_cuts_all_that_was_acknowledged_stays() {
    for seed in 0..40_u32 {
        run(async move {
            let mut drawn = 0_u32;
            let mut draw = move |below: u32| {
                drawn += 1;
                let mut hasher = blake3::Hasher::new();
                hasher.update(&seed.to_le_bytes());
                let hash = hasher.update(&drawn.to_le_bytes()).finalize();
                u32::from_le_bytes(*hash.as_bytes().first_chunk().expect("32 bytes")) % below
            };
            let sizes = Sizes {
                segment_bytes: 128 << 10,
                ..Sizes::default()
            };
            let mut disk = MockWorld::new().disk;
            let mut acknowledged: BTreeMap<u32, usize> = BTreeMap::new();
            let mut number = 0;
            for life in 0..12 {
                let (store, report) = open_with(&disk, CONFIG, sizes).await;
                assert_eq!(report.damaged, [], "seed {seed}, life {life}");
                for (number, len) in &acknowledged {
                    let (id, bytes) = record(*number, *len);
                    let kept = store.get(id).await.expect("the disk works");
                    assert_eq!(kept.as_ref(), Some(&*bytes), "seed {seed}, life {life}");
                }
                let done = Rc::new(RefCell::new(Vec::new()));
                for _ in 0..draw(30) {
                    // Sometimes one that was put before, acknowledged or not.
                    let again = draw(4) == 0;
                    let which = if again { draw(number + 1) } else { number };
                    number += u32::from(!again);
                    let len = 50 + (which as usize * 7919) % 17_000;
                    let (store, done) = (store.clone(), Rc::clone(&done));
                    tokio::task::spawn_local(async move {
                        put(&store, BELA, which, len).await;
                        done.borrow_mut().push((which, len));
                    });
                    for _ in 0..draw(6) {
                        tokio::task::yield_now().await;
                    }
                }
                acknowledged.extend(done.borrow().iter().copied());
                disk = disk.torn_power_cut(|| draw(2) == 0);
            }
            assert!(
                acknowledged.len() > 20,
                "seed {seed}: {}",
                acknowledged.len()
            );
        });
    }
}
