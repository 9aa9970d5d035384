//! Giving up, wanting back and letting go while one single deed of the keeper's disk goes wrong: each deed there is, one after the other.

use std::rc::Rc;
use std::time::Duration;

use reserve::keeper::Word;
use reserve::terms::SnapshotNumber;
use sim::giving_up::{DELAY_DAYS, Keeping, LOOK, MONTHS, author, give_up, head, live, month};
use sim::{Answer, SimWorld, Strike, at_every_deed, run_within};

const DELAY: Duration = Duration::from_secs(DELAY_DAYS as u64 * 24 * 3600);

/// What the disk is struck in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// The author gives up chunks 0 to 5 and snapshot 1.
    GiveUp,
    /// It asks for chunk 0 and puts chunk 1 again.
    WantBack,
    /// It says that it wants snapshot 1.
    WantSnapshot,
    /// Its time has come.
    LetGo,
}

/// One story; whether the strike came, and whether the deed was said to be done.
async fn story(world: SimWorld, what: Deed, strike: Strike, deed: u64) -> Answer<bool> {
    let mut keeping = Keeping::begin(world.box_named("keeper")).await?;
    let given_up = keeping.names(0..6);
    if what != Deed::GiveUp {
        give_up(&keeping.store, &given_up, &[1]).await?;
        // The note of it is not in the last commit.
        live(&keeping.home, &keeping.store, LOOK).await;
    }
    if what == Deed::LetGo {
        live(&keeping.home, &keeping.store, DELAY - LOOK - LOOK).await;
    }
    let (home, store) = (keeping.home.clone(), keeping.store.clone());
    let (names, (id, record)) = (given_up.clone(), keeping.records[1].clone());
    keeping.home.strike(deed, strike);
    let done = keeping
        .home
        .run(async move {
            match what {
                Deed::GiveUp => give_up(&store, &names, &[1]).await.is_ok(),
                Deed::WantBack => {
                    let held = store.have(author(), &names[..1]).await;
                    let put = store.put(author(), id, Rc::clone(&record)).await;
                    held.is_ok_and(|held| held == [true]) && put.is_ok()
                }
                Deed::WantSnapshot => store.put_head_for(&head(1), Word::Own).await.is_ok(),
                Deed::LetGo => {
                    live(&home, &store, 2 * LOOK).await;
                    store.waiting_releases().is_empty()
                }
            }
        })
        .await
        .unwrap_or(false);
    let was_struck = keeping.home.call_off_strike();
    keeping = keeping.again().await?;
    // Longer than what was given up waits, also when it waits anew.
    live(&keeping.home, &keeping.store, DELAY + DELAY).await;
    keeping = keeping.again().await?;
    let cut = matches!(strike, Strike::CutBefore | Strike::CutAfter);
    let stays = |at: usize| at >= 6 || done && what == Deed::WantBack && at < 2;
    for at in 0..8 {
        let is_here = keeping.has(at).await?;
        assert!(is_here || !stays(at), "chunk {at} went");
        let was_given_up =
            matches!(what, Deed::LetGo | Deed::WantBack) || done && what == Deed::GiveUp;
        if cut && was_given_up && at < 6 && !stays(at) && (done || what != Deed::WantBack) {
            assert!(!is_here, "chunk {at} is still here");
        }
        if done && what == Deed::WantSnapshot {
            assert!(is_here, "chunk {at} of a snapshot that was wanted went");
        }
    }
    let heads = keeping
        .store
        .heads(Some(author()), SnapshotNumber(0))
        .await?;
    assert!(heads.len() >= 2, "a snapshot that nobody gave up went");
    if done && what == Deed::WantSnapshot {
        assert_eq!(heads.len(), 3, "a snapshot that was wanted went");
    }
    // What is not needed can be given up at last, and only that goes.
    let rest: Vec<_> = (0..6)
        .filter(|at| !stays(*at))
        .map(|at| given_up[at])
        .collect();
    give_up(&keeping.store, &rest, &[1]).await?;
    live(&keeping.home, &keeping.store, DELAY + LOOK).await;
    keeping = keeping.again().await?;
    for at in 0..8 {
        assert_eq!(keeping.has(at).await?, stays(at), "chunk {at} in the end");
    }
    let heads = keeping
        .store
        .heads(Some(author()), SnapshotNumber(0))
        .await?;
    assert_eq!(heads.len(), 2);
    Ok(was_struck)
}

fn at_every_deed_of(what: Deed) -> Answer<()> {
    at_every_deed(&Strike::ALL, 3, MONTHS, async |world, strike, deed| {
        story(world, what, strike, deed).await
    })
}

#[test]
fn a_keeper_may_be_struck_at_any_deed_of_taking_a_release() -> Answer<()> {
    at_every_deed_of(Deed::GiveUp)
}

#[test]
fn a_keeper_may_be_struck_at_any_deed_of_taking_one_back() -> Answer<()> {
    at_every_deed_of(Deed::WantBack)
}

#[test]
fn a_keeper_may_be_struck_at_any_deed_of_keeping_a_snapshot_after_all() -> Answer<()> {
    at_every_deed_of(Deed::WantSnapshot)
}

#[test]
fn a_keeper_may_be_struck_at_any_deed_of_letting_go() -> Answer<()> {
    at_every_deed_of(Deed::LetGo)
}

#[test]
fn a_month_of_giving_up_goes_as_it_should() -> Answer<()> {
    for seed in 0..5 {
        let wrong = run_within(seed, MONTHS, month).value?;
        assert_eq!(wrong, Vec::<String>::new(), "seed {seed}");
    }
    Ok(())
}
