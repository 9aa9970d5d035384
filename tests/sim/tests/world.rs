//! What the simulated world drops, breaks and repeats besides its disks: tasks, time, links and the run itself.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use reserve::world::{Clock, Disk, Entropy, Listener, Net, World};
use sim::{PowerWasCut, SimBox, SimWorld, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 7717;

#[test]
fn a_power_cut_drops_every_task_of_its_box_and_of_no_other() {
    run(1, async |world| {
        let (home, office) = (world.box_named("home"), world.box_named("office"));
        let steps = Rc::new(Cell::new((0, 0)));
        let held = Rc::new(());
        for (at, counts_home) in [(&home, true), (&office, false)] {
            let (steps, clock, held) = (Rc::clone(&steps), at.clock().clone(), Rc::clone(&held));
            at.spawn(async move {
                let _held = held;
                loop {
                    clock.sleep(Duration::from_secs(1)).await;
                    let (one, other) = steps.get();
                    steps.set(if counts_home {
                        (one + 1, other)
                    } else {
                        (one, other + 1)
                    });
                }
            });
        }
        let waits = home.run(std::future::pending::<()>());
        let cuts = async {
            home.clock().sleep(Duration::from_millis(2500)).await;
            home.power_cut();
        };
        let (waited, ()) = tokio::join!(waits, cuts);
        assert_eq!(waited, Err(PowerWasCut));
        office.clock().sleep(Duration::from_secs(2)).await;
        assert_eq!(steps.get(), (2, 4));
        assert_eq!(Rc::strong_count(&held), 2);
        home.spawn(async { panic!("a Box without power starts nothing") });
        office.clock().sleep(Duration::from_secs(1)).await;
    });
}

#[test]
#[should_panic(expected = "a task of a Box panicked")]
fn a_panic_in_a_task_fails_the_story() {
    run(1, async |world| {
        world
            .box_named("home")
            .spawn(async { panic!("on purpose") });
        std::future::pending::<()>().await;
    });
}

#[test]
#[should_panic(expected = "something waits for ever")]
fn a_story_that_waits_for_ever_fails() {
    run(1, async |_| std::future::pending::<()>().await);
}

#[test]
fn monotonic_time_starts_again_with_the_box_and_wall_time_goes_on() {
    run(1, async |world| {
        let (home, office) = (world.box_named("home"), world.box_named("office"));
        home.clock().sleep(Duration::from_secs(100)).await;
        let home = {
            home.power_cut();
            home.restart()
        };
        home.set_wall_offset(-3600);
        assert_eq!(home.clock().now().0, Duration::ZERO);
        assert_eq!(office.clock().now().0, Duration::from_secs(100));
        assert_eq!(
            office.clock().wall().seconds - home.clock().wall().seconds,
            3600
        );
    });
}

/// A link from home to the office.
async fn link(home: &SimBox, office: &SimBox) -> io::Result<(sim::SimLink, sim::SimLink)> {
    let mut listener = office
        .net()
        .listen(SocketAddr::new(office.ip(), PORT))
        .await?;
    let (caller, called) = tokio::join!(
        home.net().connect(SocketAddr::new(office.ip(), PORT)),
        listener.accept()
    );
    let (called, from) = called?;
    assert_eq!(from.ip(), home.ip());
    Ok((caller?, called))
}

#[test]
fn a_partition_is_silent_and_what_was_sent_arrives_after_it_heals() -> io::Result<()> {
    run(1, async |world: SimWorld| {
        let (home, office) = (world.box_named("home"), world.box_named("office"));
        let (mut near, mut far) = link(&home, &office).await?;
        near.write_all(b"under way").await?;
        world.partition(&office, &home);
        let mut heard = [0; 9];
        let hour = Duration::from_secs(3600);
        let silence = office
            .clock()
            .within(hour, far.read_exact(&mut heard))
            .await;
        assert!(silence.is_none());
        let to = SocketAddr::new(office.ip(), PORT);
        let refused = home
            .net()
            .connect(to)
            .await
            .map(|_| ())
            .map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::TimedOut));
        world.heal(&home, &office);
        far.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"under way");
        Ok(())
    })
    .value
}

#[test]
fn a_call_during_a_short_partition_goes_through_when_it_heals() -> io::Result<()> {
    run(1, async |world: SimWorld| {
        let (home, office) = (world.box_named("home"), world.box_named("office"));
        world.partition(&home, &office);
        let heals = async {
            home.clock().sleep(Duration::from_secs(10)).await;
            world.heal(&home, &office);
        };
        let (linked, ()) = tokio::join!(link(&home, &office), heals);
        linked.map(|_| ())
    })
    .value
}

#[test]
fn a_writer_waits_when_nobody_reads() -> io::Result<()> {
    run(1, async |world: SimWorld| {
        let (home, office) = (world.box_named("home"), world.box_named("office"));
        let (mut near, mut far) = link(&home, &office).await?;
        let much = vec![7; 1 << 20];
        let hour = Duration::from_secs(3600);
        assert!(
            home.clock()
                .within(hour, near.write_all(&much))
                .await
                .is_none()
        );
        let mut some = vec![0; 100_000];
        far.read_exact(&mut some).await?;
        assert!(
            home.clock()
                .within(hour, near.write_all(&some))
                .await
                .is_some()
        );
        Ok(())
    })
    .value
}

#[test]
fn a_power_cut_ends_the_links_of_the_box_on_both_sides() -> io::Result<()> {
    let (mut ends, mut resets) = (0, 0);
    for seed in 0..8 {
        let heard = run(seed, async |world: SimWorld| {
            let (home, office) = (world.box_named("home"), world.box_named("office"));
            let (mut near, mut far) = link(&home, &office).await?;
            far.write_all(b"sent before").await?;
            office.power_cut();
            let mut before = [0; 11];
            near.read_exact(&mut before).await?;
            assert_eq!(&before, b"sent before");
            let ended = near.read(&mut [0; 1]).await;
            home.clock().sleep(Duration::from_secs(1)).await;
            let _ = near.write_all(b"into the void").await;
            home.clock().sleep(Duration::from_secs(1)).await;
            assert!(near.write_all(b"into the void").await.is_err());
            assert!(far.write_all(b"from the dead").await.is_err());
            io::Result::Ok(ended.map_err(|error| error.kind()))
        });
        match heard.value? {
            Ok(len) => {
                assert_eq!(len, 0);
                ends += 1;
            }
            Err(kind) => {
                assert_eq!(kind, io::ErrorKind::ConnectionReset);
                resets += 1;
            }
        }
    }
    assert!(ends > 0 && resets > 0);
    Ok(())
}

#[test]
fn a_box_without_power_does_not_answer_and_one_that_came_back_refuses() -> io::Result<()> {
    run(1, async |world: SimWorld| {
        let (home, office) = (world.box_named("home"), world.box_named("office"));
        let to = SocketAddr::new(office.ip(), PORT);
        let _listener = office.net().listen(to).await?;
        office.power_cut();
        let kind = |error: io::Error| error.kind();
        let dead = home.net().connect(to).await.map(|_| ()).map_err(kind);
        assert_eq!(dead, Err(io::ErrorKind::TimedOut));
        let office = office.restart();
        let refused = home.net().connect(to).await.map(|_| ()).map_err(kind);
        assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused));
        let _again = office.net().listen(to).await?;
        home.net().connect(to).await.map(|_| ())
    })
    .value
}

/// Something of everything, with random bytes sent to and fro and a power cut.
async fn a_day(world: SimWorld) -> io::Result<()> {
    let (home, office) = (world.box_named("home"), world.box_named("office"));
    let (mut near, mut far) = link(&home, &office).await?;
    for _ in 0..3 {
        near.write_all(&home.entropy().bytes::<32>()).await?;
        let mut heard = [0; 32];
        far.read_exact(&mut heard).await?;
        office.disk().replace_small("heard", &heard, false).await?;
    }
    home.tree().write_file("/data/a", b"x")?;
    office.torn_power_cut();
    office.restart().disk().list("").await.map(|_| ())
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() -> io::Result<()> {
    let trace = |seed| {
        let ran = run(seed, a_day);
        ran.value.map(|()| ran.trace)
    };
    assert_eq!(trace(1)?, trace(1)?);
    assert_eq!(trace(2)?, trace(2)?);
    assert_ne!(trace(1)?, trace(2)?);
    Ok(())
}

#[test]
fn two_boxes_and_two_draws_have_nothing_random_in_common() {
    run(1, async |world| {
        let (home, office) = (world.box_named("home"), world.box_named("office"));
        let draws: [[u8; 32]; 3] = [
            home.entropy().bytes(),
            home.entropy().bytes(),
            office.entropy().bytes(),
        ];
        assert!(draws[0] != draws[1] && draws[0] != draws[2] && draws[1] != draws[2]);
    });
}
