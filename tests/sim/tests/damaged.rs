//! What people are told of damage: as long as something is lost, and no longer.

use std::time::Duration;

use reserve::console::control::ForgetCall;
use reserve::console::service::Service;
use reserve::format::segment::{FrameHeader, FrameType};
use reserve::terms::ChunkId;
use reserve::terms::limits::{FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES};
use reserve::world::{Clock, World};
use sim::{Answer, House, Reserve, SimBox, SimWorld, run_within};

/// Whose store is damaged.
const OFFICE: usize = 1;
const FILES: usize = 40;
const HOUR: Duration = Duration::from_secs(3600);

/// Three Boxes, of which home has a protected snapshot.
async fn protected(world: &SimWorld) -> Answer<Reserve> {
    let reserve = Reserve::found(world.clone(), 3, 0).await?;
    take(&reserve, "first").await?;
    Ok(reserve)
}

/// Home's files say something else, and a snapshot of that is protected.
async fn take(reserve: &Reserve, what: &str) -> Answer<()> {
    for number in 0..FILES {
        let text = format!("{what} {number} ").repeat(1000);
        let tree = reserve.houses[0].home.tree();
        tree.write_file(&format!("/data/{number}"), text.as_bytes())?;
    }
    let service = reserve.service(0).ok_or("it runs")?;
    let taken = service.take_now(true).await;
    let taken = taken.map_err(|fault| fault.to_string())?;
    assert!(taken.protected, "{taken:?}");
    Ok(())
}

/// Where in each file of a store its chunks stand: the file's name, place of the header, and which chunk it is.
fn chunks(home: &SimBox) -> Vec<(String, u64, ChunkId)> {
    let mut chunks = Vec::new();
    home.each_file(|path, bytes| {
        if !path.starts_with("store/seg-") {
            return;
        }
        let mut rest = bytes;
        while let Some(header) = rest.first_chunk::<FRAME_HEADER_BYTES>() {
            let header = FrameHeader::decode(header).ok();
            let step = match header {
                Some(header) => header.stride_bytes(),
                None => FRAME_ALIGN_BYTES,
            };
            if let Some(header) = header.filter(|header| header.frame == FrameType::Chunk) {
                let place = (bytes.len() - rest.len()) as u64;
                chunks.push((path.to_owned(), place, header.id));
            }
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            rest = rest.get(step..).unwrap_or_default();
        }
    });
    chunks
}

/// One bit of each chunk rots, so far behind the beginning of its frame.
fn rot(home: &SimBox, chunks: &[(String, u64, ChunkId)], at: usize) -> Answer<()> {
    for (path, place, _) in chunks {
        home.disk().flip_bit(path, place + at as u64, 3)?;
    }
    Ok(())
}

/// The office finds its chunks damaged while nobody can help it, and its next start does not even find their names any more.
async fn forgets_what_it_told(reserve: &mut Reserve) -> Answer<()> {
    let office = &reserve.houses[OFFICE].home;
    let others = reserve
        .houses
        .iter()
        .filter(|house| house.name() != "office");
    for other in others {
        reserve.world.partition(office, &other.home);
    }
    let chunks = chunks(office);
    rot(office, &chunks, FRAME_HEADER_BYTES)?;
    let service = reserve.service(OFFICE).ok_or("it runs")?;
    let swept = service.sweep_now().await;
    swept.map_err(|fault| fault.to_string())?;
    assert!(!told(&service).is_empty());
    let office = &mut reserve.houses[OFFICE];
    office.cut(false);
    rot(&office.home, &chunks, 0)?;
    office.boot().await?;
    assert!(!told(&reserve.service(OFFICE).ok_or("it runs")?).is_empty());
    Ok(())
}

/// The damaged chunks people are told of.
fn told(service: &Service<SimBox>) -> Vec<String> {
    let standing = service.standing_now().into_iter();
    let of_chunks = standing.filter(|(kind, _)| kind == "chunk_damaged");
    of_chunks.map(|(_, text)| text).collect()
}

#[test]
fn a_damaged_chunk_that_belongs_elsewhere_by_now_is_told_no_more_when_another_box_has_it()
-> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let mut reserve = protected(&world).await?;
        let clock = reserve.houses[0].home.clock().clone();
        // From now on a part of what the office has belongs to others.
        for (at, name) in [(3, "attic"), (4, "cabin")] {
            reserve.houses.push(House::new(world.box_named(name)));
            reserve.take_in(at, 0, None).await?;
        }
        assert!(reserve.meet().await);
        clock.sleep(HOUR).await;
        let before = reserve.service(OFFICE).ok_or("it runs")?.store_now();

        forgets_what_it_told(&mut reserve).await?;
        world.calm_network();
        assert!(reserve.meet().await);
        clock.sleep(HOUR).await;
        let service = reserve.service(OFFICE).ok_or("it runs")?;
        let after = service.store_now();
        assert!(
            after.chunks > 0 && after.chunks < before.chunks,
            "what belongs elsewhere did not come back: {after:?}"
        );
        assert_eq!(told(&service), [""; 0]);
        Ok(())
    };
    run_within(1, 12 * HOUR, story).value
}

#[test]
fn a_damaged_chunk_that_no_box_has_goes_on_being_told() -> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let mut reserve = protected(&world).await?;
        let clock = reserve.houses[0].home.clock().clone();
        forgets_what_it_told(&mut reserve).await?;
        for at in [0, 2] {
            reserve.houses[at].cut(false);
            let home = &reserve.houses[at].home;
            rot(home, &chunks(home), 0)?;
        }
        for number in 0..FILES {
            let tree = reserve.houses[0].home.tree();
            tree.remove(&format!("/data/{number}"))?;
        }
        world.calm_network();
        for at in [0, 2] {
            reserve.houses[at].boot().await?;
        }
        assert!(reserve.meet().await);
        clock.sleep(HOUR).await;
        let service = reserve.service(OFFICE).ok_or("it runs")?;
        let compared = service.compared_now();
        assert!(compared.comparisons > 0, "{compared:?}");
        assert!(!told(&service).is_empty());
        Ok(())
    };
    run_within(1, 12 * HOUR, story).value
}

#[test]
fn a_damaged_chunk_that_its_author_gave_up_is_told_no_more() -> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let reserve = protected(&world).await?;
        let keepers = [OFFICE, 2];
        let firsts = keepers.map(|at| chunks(&reserve.houses[at].home));
        take(&reserve, "second").await?;
        for (at, first) in keepers.into_iter().zip(firsts) {
            rot(&reserve.houses[at].home, &first, FRAME_HEADER_BYTES)?;
        }
        for at in keepers {
            let service = reserve.service(at).ok_or("it runs")?;
            let swept = service.sweep_now().await;
            swept.map_err(|fault| fault.to_string())?;
        }
        let service = reserve.service(0).ok_or("it runs")?;
        let call = ForgetCall {
            snapshots: vec!["1".into()],
            by_rule: false,
            yes: true,
            undo: false,
        };
        for at in keepers {
            assert!(!told(&reserve.service(at).ok_or("it runs")?).is_empty());
        }
        let forgotten = service.forget(call).await;
        let forgotten = forgotten.map_err(|fault| fault.to_string())?;
        assert!(forgotten.carried_out, "{forgotten:?}");
        // Any news has them compare.
        let (office, friend) = (&reserve.houses[OFFICE].home, &reserve.houses[2].home);
        world.reset_links(office, friend);
        office.clock().sleep(HOUR).await;
        for at in keepers {
            assert_eq!(told(&reserve.service(at).ok_or("it runs")?), [""; 0]);
        }
        Ok(())
    };
    run_within(1, 12 * HOUR, story).value
}

#[test]
fn a_chunk_that_was_mended_is_told_no_more_though_another_cannot_be() -> Answer<()> {
    let story = async |world: SimWorld| -> Answer<()> {
        let reserve = protected(&world).await?;
        let keepers = [OFFICE, 2].map(|at| &reserve.houses[at].home);
        let first = chunks(keepers[0]).remove(0).2;
        take(&reserve, "second").await?;
        let second = chunks(keepers[0]).pop().ok_or("it keeps some")?.2;
        assert_ne!(first, second);
        // Nobody has the one any more; of the other the friend has a whole copy, but cannot be reached.
        world.partition(keepers[0], keepers[1]);
        world.partition(keepers[0], &reserve.houses[0].home);
        for home in keepers {
            let mut of = chunks(home);
            of.retain(|(_, _, id)| *id == first);
            rot(home, &of, FRAME_HEADER_BYTES)?;
        }
        let mut of = chunks(keepers[0]);
        of.retain(|(_, _, id)| *id == second);
        rot(keepers[0], &of, FRAME_HEADER_BYTES)?;
        let service = reserve.service(OFFICE).ok_or("it runs")?;
        let swept = service.sweep_now().await;
        swept.map_err(|fault| fault.to_string())?;
        assert_eq!(told(&service).len(), 2);

        world.calm_network();
        keepers[0].clock().sleep(HOUR).await;
        assert_eq!(service.damaged_now(), 1, "nobody has it");
        assert_eq!(told(&service).len(), 1, "{:?}", told(&service));
        Ok(())
    };
    run_within(1, 12 * HOUR, story).value
}
