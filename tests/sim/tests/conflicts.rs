//! Two histories of one Box in the simulated world: whatever is cut or out of reach while they meet, all Boxes come to the same verdict,
//! and a person's choice reaches all of them.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use reserve::format::head::SignedHead;
use reserve::keeper::{Store, StoreConfig};
use reserve::roster::LoadedBox;
use reserve::terms::{HeadHash, SnapshotNumber};
use reserve::world::{Clock, World};
use sim::{Answer, Reserve, SimBox, SimWorld, run};

const STORE: StoreConfig = StoreConfig {
    table_chunks: 16 << 10,
    capacity_bytes: None,
    quota_bytes_per_author: None,
};

/// The newest head of home in a store whose Box's service does not run, and what signs for home.
async fn newest_in(of: &SimBox, home: &LoadedBox) -> Answer<SignedHead> {
    let (world, author) = (of.clone(), home.identity.peer());
    let found = of.run(async move {
        let (store, _) = Store::open(world, STORE).await?;
        let heads = store.heads(Some(author), SnapshotNumber(0)).await?;
        store.close().await;
        Ok::<_, reserve::keeper::StoreError>(heads)
    });
    found.await??.pop().ok_or_else(|| "it has none".into())
}

/// Puts a head into a store as if a copy of home's disk had been there.
async fn leave_in(of: &SimBox, head: SignedHead) -> Answer<()> {
    let world = of.clone();
    let left = of.run(async move {
        let (store, _) = Store::open(world, STORE).await?;
        store.put_head(&head).await?;
        store.close().await;
        Ok::<_, reserve::keeper::StoreError>(())
    });
    Ok(left.await??)
}

/// The same number once more, signed by home's own key, going on from `previous`.
fn another(one: &SignedHead, previous: Option<HeadHash>, key: &SigningKey) -> SignedHead {
    let mut head = one.head.clone();
    head.previous = previous;
    head.taken.seconds += 60;
    SignedHead::sign(head, key)
}

fn stands(reserve: &Reserve, at: usize) -> bool {
    let standing = reserve.service(at).map(|service| service.standing_now());
    let mut standing = standing.unwrap_or_default().into_iter();
    standing.any(|(kind, _)| kind == "unresolved_conflict")
}

/// Until all of these tell it, or tell it no more.
async fn until_all(reserve: &Reserve, those: &[usize], wanted: bool) -> Answer<()> {
    let clock = reserve.houses[those[0]].home.clock().clone();
    for _ in 0..3600 {
        if those.iter().all(|at| stands(reserve, *at) == wanted) {
            return Ok(());
        }
        clock.sleep(Duration::from_secs(10)).await;
    }
    let told: Vec<_> = those.iter().map(|at| stands(reserve, *at)).collect();
    Err(format!("not all came to it: {told:?}, wanted {wanted}").into())
}

/// Home took a snapshot and is gone; office has another of the same number.
async fn parted(world: &SimWorld) -> Answer<(Reserve, SignedHead, SignedHead)> {
    let mut reserve = Reserve::found(world.clone(), 4, 0).await?;
    if !reserve.meet().await {
        return Err("they did not meet".into());
    }
    let home = reserve.houses[0].home.clone();
    home.tree().write_file("/data/photo", &[7; 5000])?;
    let service = reserve.service(0).ok_or("it runs")?;
    let taken = service.take_now(false).await;
    if !taken.map_err(|fault| fault.to_string())?.protected {
        return Err("it is not protected".into());
    }
    let loaded = LoadedBox::load(home.disk()).await?;
    reserve.houses[0].cut(false);
    reserve.houses[1].cut(false);
    reserve.houses[1].home = reserve.houses[1].home.restart();
    let office = reserve.houses[1].home.clone();
    let ours = newest_in(&office, &loaded).await?;
    let theirs = another(&ours, ours.head.previous, &loaded.identity.signing);
    leave_in(&office, theirs.clone()).await?;
    Ok((reserve, ours, theirs))
}

#[test]
fn all_boxes_tell_it_and_heed_a_choice_wherever_the_power_is_cut_while_they_hear_of_it()
-> Answer<()> {
    for seed in 0..6 {
        let story = async |world: SimWorld| -> Answer<()> {
            let (mut reserve, ours, theirs) = parted(&world).await?;
            reserve.houses[1].boot().await?;
            let clock = reserve.houses[1].home.clock().clone();
            // Somebody loses power while it hears of it, at another moment each time.
            clock.sleep(Duration::from_millis(seed * 700)).await;
            reserve.houses[2].cut(true);
            reserve.houses[2].boot().await?;
            let there = [1, 2, 3];
            until_all(&reserve, &there, true).await?;

            // The choice is made on a Box that nobody reaches, and that loses power right after.
            let (friend, attic) = (
                reserve.houses[2].home.clone(),
                reserve.houses[3].home.clone(),
            );
            let office = reserve.houses[1].home.clone();
            world.partition(&friend, &office);
            world.partition(&friend, &attic);
            let service = reserve.service(2).ok_or("it runs")?;
            let chosen = if seed % 2 == 0 { &ours } else { &theirs };
            let id = chosen.hash().to_string();
            let deciding = friend.run(async move { service.decide(&id).await.map(drop) });
            let decided = deciding.await?;
            decided.map_err(|fault| fault.to_string())?;
            reserve.houses[2].cut(true);
            reserve.houses[2].boot().await?;
            until_all(&reserve, &[2], false).await?;
            assert!(
                stands(&reserve, 1) && stands(&reserve, 3),
                "they cannot know"
            );
            world.heal(&friend, &office);
            world.heal(&friend, &attic);
            until_all(&reserve, &there, false).await?;
            for at in there {
                let service = reserve.service(at).ok_or("it runs")?;
                let home = reserve.houses[at].home.clone();
                let views = home.run(async move { service.conflicts().await }).await?;
                let sides = &views[0].sides;
                let stance = |of: &SignedHead| {
                    let id = of.hash().to_string();
                    let side = sides.iter().find(|side| id.starts_with(&side.snapshot.id));
                    side.map(|side| side.stance.clone())
                };
                let other = if seed % 2 == 0 { &theirs } else { &ours };
                assert_eq!(stance(chosen).as_deref(), Some("stands"), "{at}: {views:?}");
                assert_eq!(
                    stance(other).as_deref(),
                    Some("not_chosen"),
                    "{at}: {views:?}"
                );
            }
            Ok(())
        };
        run(seed, story).value?;
    }
    Ok(())
}
