//! What becomes of what waits when the disk, the log or the count of the time is not as it was.

use super::lived::LIVED_PATH;
use super::release_tests::{again, author, begin, chunks, give_up, has, live, said};
use super::store_tests::{CONFIG, FIRST, open_with, record, run};
use super::verify::Pace;
use super::verify_tests::sizes;

#[test]
fn a_lost_count_of_the_time_makes_everything_wait_anew() {
    run(async {
        let (disk, store) = begin().await;
        let ids = chunks(&store, 0..1).await;
        live(&store, 3).await;
        assert_eq!(give_up(&store, &ids, &[]).await, Ok(()));
        live(&store, 29).await;
        drop(store);
        let disk = disk.power_cut();
        disk.lose(LIVED_PATH);
        let (store, _) = open_with(&disk, CONFIG, sizes()).await;
        assert_eq!(live(&store, 29).await, []);
        assert!(has(&store, ids[0]).await);
        let (_, store) = again(&disk, store).await;
        assert_eq!(live(&store, 2).await.len(), 1);
    });
}

#[test]
fn a_store_that_is_not_as_it_was_lets_nothing_go_that_was_given_up_before() {
    run(async {
        let (disk, store) = begin().await;
        let ids = chunks(&store, 0..6).await;
        assert_eq!(give_up(&store, &ids[2..], &[]).await, Ok(()));
        // The author wants one after all. Its claim is in a segment that is lost.
        assert_eq!(
            store.have(author(), &ids[2..3]).await.expect("works"),
            [true]
        );
        live(&store, 1).await;
        drop(store);
        let disk = disk.power_cut();
        disk.remove_now(FIRST);
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert!(report.damaged_count > 0);
        assert_eq!(said(&store).await.waiting, None);
        assert_eq!(live(&store, 31).await, []);
        // The damage is told at each start, but it is no news.
        let held = store.have(author(), &ids[5..]).await.expect("works");
        assert_eq!(held, [true]);
        assert_eq!(give_up(&store, &ids[5..], &[]).await, Ok(()));
        drop(store);
        let disk = disk.power_cut();
        let (store, report) = open_with(&disk, CONFIG, sizes()).await;
        assert!(report.damaged_count > 0);
        assert_eq!(live(&store, 31).await.len(), 1);
        assert!(!has(&store, ids[5]).await && has(&store, ids[3]).await);
    });
}

#[test]
fn a_disk_that_fails_while_something_waits_cancels_it() {
    run(async {
        let (disk, store) = begin().await;
        let ids = chunks(&store, 0..2).await;
        assert_eq!(give_up(&store, &ids, &[]).await, Ok(()));
        disk.fail_sync(0);
        let (id, bytes) = record(70, 1000);
        assert!(store.put(author(), id, bytes).await.is_err());
        assert_eq!(said(&store).await.waiting, None);
        assert_eq!(live(&store, 31).await, []);
        drop(store);
        let (store, _) = open_with(&disk.power_cut(), CONFIG, sizes()).await;
        assert_eq!(live(&store, 31).await, []);
        assert!(has(&store, ids[0]).await && has(&store, ids[1]).await);
    });
}

#[test]
fn a_disk_may_fail_at_any_sync_of_letting_go_and_compacting_and_nothing_that_is_needed_goes() {
    run(async {
        let mut ends = [0; 2];
        for nth in 0..14 {
            let (disk, store) = begin().await;
            let ids = chunks(&store, 0..8).await;
            assert_eq!(give_up(&store, &ids[..6], &[]).await, Ok(()));
            assert_eq!(
                store.have(author(), &ids[..1]).await.expect("works"),
                [true]
            );
            live(&store, 29).await;
            disk.fail_sync(nth);
            live(&store, 2).await;
            // What it says is not believed: the next start decides.
            let _ = store.compact(Pace::Full).await;
            drop(store);
            let disk = disk.power_cut();
            let (store, _) = open_with(&disk, CONFIG, sizes()).await;
            live(&store, 1).await;
            let _ = store.compact(Pace::Full).await;
            for at in [0, 6, 7] {
                let held = store.have(author(), &ids[at..=at]).await;
                assert_eq!(held.expect("works"), [true], "chunk {at} after sync {nth}");
                assert!(has(&store, ids[at]).await, "chunk {at} after sync {nth}");
            }
            let went = said(&store).await.claims.len() == 3;
            ends[usize::from(went)] += 1;
            if !went {
                assert_eq!(give_up(&store, &ids[1..6], &[]).await, Ok(()), "sync {nth}");
                live(&store, 31).await;
                assert_eq!(said(&store).await.claims.len(), 3, "sync {nth}");
            }
        }
        assert!(ends.iter().all(|count| *count > 0), "{ends:?}");
    });
}
