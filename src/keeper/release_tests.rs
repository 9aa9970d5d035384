//! What a keeper promises of what an author gives up, told in sentences.

use ed25519_dalek::SigningKey;

use super::holding::Word;
use super::letting_go::Settled;
use super::lived::LIVED_EVERY;
use super::mock_world::{MockDisk, MockWorld};
use super::refuse::StoreError;
use super::store_tests::{BELA, CONFIG, MockStore, head, open_with, put, record, run};
use super::table::{Prefix, prefix_of};
use super::verify::{Pace, Which};
use super::verify_tests::{read, sizes};
use crate::format::message::Refusal;
use crate::format::release::{Release, SignedRelease, Waiting};
use crate::terms::limits::RELEASE_DELAY_DAYS_DEFAULT;
use crate::terms::{ChunkId, PeerKey, ReserveId, SnapshotNumber};
use crate::world::{Clock, World};

const DAYS: u16 = RELEASE_DELAY_DAYS_DEFAULT;

pub(super) fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

pub(super) fn author() -> PeerKey {
    PeerKey(key().verifying_key().to_bytes())
}

fn signed(basis: u64, names: &[ChunkId], numbers: &[u64]) -> SignedRelease {
    let mut names: Vec<Prefix> = names.iter().map(prefix_of).collect();
    names.sort_unstable();
    names.dedup();
    let release = Release {
        reserve: ReserveId([1; 16]),
        author: author(),
        keeper: PeerKey([9; 32]),
        incarnation: [4; 8],
        basis,
        numbers: numbers.iter().copied().map(SnapshotNumber).collect(),
        names: names.concat().into(),
    };
    release.sign(&key())
}

/// Gives up on the basis of what the author is told now.
pub(super) async fn give_up(
    store: &MockStore,
    names: &[ChunkId],
    numbers: &[u64],
) -> Result<(), Refusal> {
    let basis = store.claimed(author(), None).await.basis;
    let given_up = store.release(&signed(basis, names, numbers)).await;
    given_up.map_err(|error| error.refusal())
}

/// Runs for so many hours, as a service does.
pub(super) async fn live_hours(store: &MockStore, hours: u64) -> Vec<Settled> {
    let mut settled = Vec::new();
    for _ in 0..hours {
        let clock = store.inner().world.clock();
        clock.sleep(LIVED_EVERY).await;
        settled.extend(store.settle_releases(DAYS, |_| true).await);
    }
    settled
}

/// The same for days, with looks as far apart as count.
pub(super) async fn live(store: &MockStore, days: u64) -> Vec<Settled> {
    let mut settled = Vec::new();
    for _ in 0..12 * days {
        let clock = store.inner().world.clock();
        clock.sleep(2 * LIVED_EVERY).await;
        settled.extend(store.settle_releases(DAYS, |_| true).await);
    }
    settled
}

/// What a store says of an author's claims: names and bytes not given up, what waits, heads, chunks in the table, bytes claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) claims: Vec<(Prefix, u32)>,
    pub(super) waiting: Option<Waiting>,
    pub(super) heads: Vec<SnapshotNumber>,
    pub(super) chunks: usize,
    pub(super) claimed: Vec<(PeerKey, u64)>,
}

pub(super) async fn said(store: &MockStore) -> Said {
    let page = store.claimed(author(), None).await;
    let heads = store.heads(Some(author()), SnapshotNumber(0)).await;
    let mut claimed = store.claimed_bytes();
    claimed.retain(|(_, bytes)| *bytes > 0);
    claimed.sort_unstable();
    Said {
        claims: page.claims().collect(),
        // Time that was not written down is lived again.
        waiting: page.waiting.map(|waiting| Waiting {
            effective_seconds: 0,
            open_seconds: 0,
            ..waiting
        }),
        heads: heads
            .expect("the disk works")
            .iter()
            .map(|head| head.head.number)
            .collect(),
        chunks: store.figures().chunks,
        claimed,
    }
}

/// The same store after a power cut: it must say the same.
pub(super) async fn again(disk: &MockDisk, store: MockStore) -> (MockDisk, MockStore) {
    let before = said(&store).await;
    drop(store);
    let disk = disk.power_cut();
    let (store, report) = open_with(&disk, CONFIG, sizes()).await;
    assert_eq!((report.damaged, report.damaged_count), (vec![], 0));
    assert_eq!(said(&store).await, before);
    (disk, store)
}

pub(super) async fn begin() -> (MockDisk, MockStore) {
    let disk = MockWorld::new().disk;
    let (store, _) = open_with(&disk, CONFIG, sizes()).await;
    (disk, store)
}

pub(super) async fn chunks(store: &MockStore, numbers: std::ops::Range<u32>) -> Vec<ChunkId> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(put(store, author(), number, 20_000).await);
    }
    ids
}

pub(super) async fn has(store: &MockStore, id: ChunkId) -> bool {
    store.get(id).await.expect("the disk works").is_some()
}

#[test]
fn what_is_given_up_is_there_until_its_time_was_lived_through_and_its_space_comes_back() {
    run(async {
        let (disk, store) = begin().await;
        let ids = chunks(&store, 0..8).await;
        let kept = store.put_head_for(&head(&key(), 1, 3), Word::Own).await;
        kept.expect("there is room");
        let kept = store.put_head_for(&head(&key(), 2, 3), Word::Own).await;
        kept.expect("there is room");
        assert_eq!(give_up(&store, &ids[..5], &[1]).await, Ok(()));
        let waiting = said(&store).await.waiting.expect("it waits");
        assert_eq!((waiting.chunks, waiting.bytes), (5, 5 * 20_000));
        assert_eq!(
            said(&store).await.claims.len(),
            3,
            "what was given up is not told"
        );
        let space = store.space();
        assert_eq!((space.live_bytes, space.released_bytes), (60_000, 100_000));
        let (disk, store) = again(&disk, store).await;
        assert_eq!(live(&store, 29).await, []);
        let (disk, store) = again(&disk, store).await;
        assert_eq!(live_hours(&store, 23).await, []);
        for id in &ids {
            assert!(has(&store, *id).await);
        }
        assert_eq!(said(&store).await.heads.len(), 2);
        // What was lived between the last look and the power cut is lived again.
        let settled = live_hours(&store, 2).await;
        let wanted = Settled {
            author: author(),
            snapshots: 1,
            chunks: 5,
            bytes: 5 * 20_000,
            is_void: false,
        };
        assert_eq!(settled, [wanted]);
        let after = said(&store).await;
        assert_eq!(
            (after.chunks, after.claims.len(), after.waiting),
            (3, 3, None)
        );
        assert_eq!(after.heads, [SnapshotNumber(2)]);
        let (disk, store) = again(&disk, store).await;
        let before = store.figures().disk_bytes;
        let reclaimed = store.compact(Pace::Full).await.expect("the disk works");
        assert!(reclaimed.segments >= 2, "{reclaimed:?}");
        assert!(store.figures().disk_bytes < before - 80_000);
        let (_, store) = again(&disk, store).await;
        assert_eq!(store.figures().chunks, 3);
        for id in &ids[5..] {
            assert!(has(&store, *id).await);
        }
        assert_eq!(read(&store, Which::All).await.damaged, []);
    });
}

#[test]
fn any_new_claim_of_the_author_cancels_durably_and_a_fellows_word_does_not() {
    run(async {
        let (disk, store) = begin().await;
        let ids = chunks(&store, 0..4).await;
        assert_eq!(give_up(&store, &ids, &[]).await, Ok(()));
        assert_eq!(
            store.have(author(), &ids[..1]).await.expect("works"),
            [true]
        );
        let (id, bytes) = record(1, 20_000);
        assert_eq!(id, ids[1]);
        store.put(author(), id, bytes.clone()).await.expect("kept");
        // A fellow member saw the claims elsewhere.
        let asked = &ids[2..];
        let held = store.have_for(author(), Word::Fellow, asked).await;
        assert_eq!(held.expect("works"), [true; 2]);
        let (id, bytes) = record(2, 20_000);
        let kept = store.put_for(author(), Word::Fellow, id, bytes).await;
        kept.expect("it is here");
        assert_eq!(said(&store).await.waiting.expect("it waits").chunks, 2);
        let (disk, store) = again(&disk, store).await;
        let settled = live(&store, 31).await;
        assert_eq!(settled.iter().map(|group| group.chunks).sum::<u64>(), 2);
        let (_, store) = again(&disk, store).await;
        let held = store.have(author(), &ids).await.expect("works");
        assert_eq!(held, [true, true, false, false]);
    });
}

#[test]
fn what_two_authors_claim_stays_until_both_gave_it_up() {
    run(async {
        let (disk, store) = begin().await;
        let ids = chunks(&store, 0..1).await;
        assert_eq!(store.have(BELA, &ids).await.expect("works"), [true]);
        assert_eq!(give_up(&store, &ids, &[]).await, Ok(()));
        assert_eq!(store.space().released_bytes, 0, "Bela has not given it up");
        live(&store, 31).await;
        let (_, store) = again(&disk, store).await;
        assert!(has(&store, ids[0]).await);
        assert_eq!(
            store
                .claimed_bytes()
                .iter()
                .map(|(_, bytes)| bytes)
                .sum::<u64>(),
            20_000
        );
    });
}

#[test]
fn a_release_that_was_late_meets_nothing_that_was_claimed_after_it() {
    run(async {
        let (disk, store) = begin().await;
        let ids = chunks(&store, 0..2).await;
        let late = |basis| signed(basis, &ids, &[]);
        let refused = async |store: &MockStore, basis| {
            let refused = store.release(&late(basis)).await;
            refused.map_err(|error| error.refusal())
        };
        let basis = store.claimed(author(), None).await.basis;
        assert_eq!(
            store.have(author(), &ids[..1]).await.expect("works"),
            [true]
        );
        assert_eq!(refused(&store, basis).await, Err(Refusal::ClaimedSince));
        let basis = store.claimed(author(), None).await.basis;
        chunks(&store, 2..3).await;
        assert_eq!(refused(&store, basis).await, Err(Refusal::ClaimedSince));
        let basis = store.claimed(author(), None).await.basis;
        let kept = store.put_head_for(&head(&key(), 1, 3), Word::Own).await;
        kept.expect("there is room");
        assert_eq!(refused(&store, basis).await, Err(Refusal::ClaimedSince));
        let basis = store.claimed(author(), None).await.basis;
        store
            .put_head(&head(&key(), 1, 3))
            .await
            .expect("a fellow's word");
        assert_eq!(
            store
                .have_for(author(), Word::Fellow, &ids)
                .await
                .expect("works"),
            [true; 2]
        );
        assert_eq!(refused(&store, basis).await, Ok(()));
        assert_eq!(
            refused(&store, basis).await,
            Ok(()),
            "said twice is said once"
        );
        let (_, store) = again(&disk, store).await;
        assert_ne!(
            store.claimed(author(), None).await.basis,
            basis.wrapping_add(1)
        );
    });
}

#[test]
fn a_claim_behind_a_release_that_is_being_written_is_said() {
    run(async {
        for order in 0..6 {
            let (disk, store) = begin().await;
            let ids = chunks(&store, 0..2).await;
            let basis = store.claimed(author(), None).await.basis;
            let giving_up = {
                let (store, ids) = (store.clone(), ids.clone());
                tokio::task::spawn_local(
                    async move { store.release(&signed(basis, &ids, &[])).await },
                )
            };
            for _ in 0..order {
                tokio::task::yield_now().await;
            }
            let held = store.have(author(), &ids[..1]).await.expect("works");
            assert_eq!(held, [true]);
            let given_up = giving_up.await.expect("it ended");
            let claims = said(&store).await.claims;
            match given_up {
                Ok(()) => assert_eq!(claims.len(), 1, "{order}"),
                Err(error) => assert_eq!(error.refusal(), Refusal::ClaimedSince),
            }
            assert!(
                claims
                    .iter()
                    .any(|(prefix, _)| *prefix == prefix_of(&ids[0]))
            );
            let (_, store) = again(&disk, store).await;
            live(&store, 31).await;
            assert!(has(&store, ids[0]).await, "{order}");
        }
    });
}

#[test]
fn the_authors_word_for_a_snapshot_cancels_what_leaves_with_it_and_brings_back_what_left() {
    run(async {
        let (disk, store) = begin().await;
        let ids = chunks(&store, 0..2).await;
        for number in 1..=4 {
            let kept = store
                .put_head_for(&head(&key(), number, 3), Word::Own)
                .await;
            kept.expect("there is room");
        }
        assert_eq!(give_up(&store, &ids, &[1, 2]).await, Ok(()));
        store
            .put_head_for(&head(&key(), 3, 3), Word::Own)
            .await
            .expect("it is here");
        store
            .put_head(&head(&key(), 1, 3))
            .await
            .expect("a fellow has it still");
        assert!(said(&store).await.waiting.is_some());
        store
            .put_head_for(&head(&key(), 2, 3), Word::Own)
            .await
            .expect("it is here");
        assert_eq!(said(&store).await.waiting, None);
        assert_eq!(said(&store).await.claims.len(), 2);
        let (disk, store) = again(&disk, store).await;
        assert_eq!(live(&store, 31).await, []);
        assert_eq!(said(&store).await.heads.len(), 4);
        assert_eq!(give_up(&store, &ids, &[1, 2]).await, Ok(()));
        assert_eq!(live(&store, 31).await.len(), 1);
        let (disk, store) = again(&disk, store).await;
        assert_eq!(
            said(&store).await.heads,
            [SnapshotNumber(3), SnapshotNumber(4)]
        );
        let fellow = store.put_head(&head(&key(), 1, 3)).await;
        assert!(matches!(fellow, Err(StoreError::Forgotten)), "{fellow:?}");
        store
            .put_head_for(&head(&key(), 1, 3), Word::Own)
            .await
            .expect("there is room");
        let (disk, store) = again(&disk, store).await;
        assert_eq!(said(&store).await.heads.first(), Some(&SnapshotNumber(1)));
        store
            .put_head(&head(&key(), 1, 3))
            .await
            .expect("it is here");
        let fellow = store.put_head(&head(&key(), 2, 3)).await;
        assert!(matches!(fellow, Err(StoreError::Forgotten)), "{fellow:?}");
        again(&disk, store).await;
    });
}

#[test]
fn the_newest_snapshot_stays_and_an_author_that_lost_its_memory_gives_nothing_up() {
    run(async {
        let (_, store) = begin().await;
        let ids = chunks(&store, 0..1).await;
        for number in 1..=2 {
            let kept = store
                .put_head_for(&head(&key(), number, 3), Word::Own)
                .await;
            kept.expect("there is room");
        }
        assert_eq!(
            give_up(&store, &ids, &[1, 2]).await,
            Err(Refusal::NewestStays)
        );
        let basis = store.claimed(author(), None).await.basis;
        let mut other = signed(basis, &ids, &[1]).release;
        other.incarnation = [5; 8];
        let refused = store.release(&other.sign(&key())).await;
        assert_eq!(
            refused.map_err(|error| error.refusal()),
            Err(Refusal::OtherIncarnation)
        );
        assert_eq!(said(&store).await.waiting, None);
        // What was not the newest when it was given up may be it when it should go.
        assert_eq!(give_up(&store, &[], &[9]).await, Ok(()));
        let kept = store.put_head(&head(&key(), 9, 3)).await;
        kept.expect("a fellow had it");
        live(&store, 31).await;
        assert_eq!(said(&store).await.heads.last(), Some(&SnapshotNumber(9)));
    });
}

#[test]
fn a_group_takes_more_for_a_day_and_counts_from_its_last() {
    run(async {
        let (disk, store) = begin().await;
        let ids = chunks(&store, 0..3).await;
        assert_eq!(give_up(&store, &ids[..1], &[]).await, Ok(()));
        live_hours(&store, 20).await;
        assert_eq!(give_up(&store, &ids[1..2], &[]).await, Ok(()));
        let (disk, store) = again(&disk, store).await;
        live_hours(&store, 4).await;
        let refused = give_up(&store, &ids[2..], &[]).await;
        let Err(Refusal::ReleaseWaits { seconds }) = refused else {
            panic!("{refused:?}");
        };
        assert!((29 * 86_400..30 * 86_400).contains(&seconds), "{seconds}");
        assert_eq!(live_hours(&store, 29 * 24 + 19).await, []);
        let (_, store) = again(&disk, store).await;
        assert_eq!(live_hours(&store, 2).await.len(), 1);
        assert_eq!(
            give_up(&store, &ids[2..], &[]).await,
            Ok(()),
            "another one begins"
        );
    });
}

#[test]
fn nothing_of_an_author_that_is_no_member_goes() {
    run(async {
        let (disk, store) = begin().await;
        let ids = chunks(&store, 0..2).await;
        assert_eq!(give_up(&store, &ids, &[]).await, Ok(()));
        live(&store, 29).await;
        let settled = store.settle_releases(DAYS, |_| false).await;
        assert!(settled.len() == 1 && settled[0].is_void);
        let (disk, store) = again(&disk, store).await;
        assert_eq!(live(&store, 31).await, []);
        let (_, store) = again(&disk, store).await;
        assert_eq!(said(&store).await.claims.len(), 2);
    });
}

#[test]
fn a_page_of_claims_goes_on_behind_the_last() {
    run(async {
        let (_, store) = begin().await;
        let ids = chunks(&store, 0..3).await;
        put(&store, BELA, 80, 20_000).await;
        let mut wanted: Vec<Prefix> = ids.iter().map(prefix_of).collect();
        wanted.sort_unstable();
        let page = store.claimed(author(), Some(wanted[0])).await;
        let told: Vec<_> = page.claims().collect();
        assert_eq!(told, [(wanted[1], 20_000), (wanted[2], 20_000)]);
        assert!(!page.more);
        let page = store.claimed(author(), Some([0xff; 12])).await;
        assert_eq!(page.claims().count(), 0);
    });
}
