//! Rosters and secrets in the simulated world: a power cut in the middle of an epoch change, and Boxes that meet now and then.

use std::error::Error;
use std::time::Duration;

use reserve::format::roster::{Facts, Subject, Value};
use reserve::roster::{
    Config, Founded, Founding, Identity, LoadedBox, Recovering, RecoveryWords, Roster, Secrets,
    init, keep, recover, settle,
};
use reserve::terms::KeyEpoch;
use reserve::terms::limits::TICKET_SECONDS;
use reserve::world::{Clock, Disk, Entropy, World};
use sim::{House, SimBox, SimWorld, run};

type Answer<T> = Result<T, Box<dyn Error>>;

/// Founds a reserve on a Box's disk; gives what it has, and the words.
async fn founded(home: &SimBox) -> Answer<(LoadedBox, RecoveryWords)> {
    let founding = Founding {
        config: Config::new("home"),
        site: None,
        fast_aes: false,
    };
    let made = init(home.disk(), home.entropy(), founding, |_| Ok(())).await?;
    let Founded::New(words) = made else {
        return Err("it was there before".into());
    };
    Ok((LoadedBox::load(home.disk()).await?, words))
}

fn take_in(roster: &mut Roster, by: &Identity, guest: &Identity) -> Answer<()> {
    let subject = Subject::Peer(guest.peer());
    let member = Value::member(guest.noise_public(), &guest.signing);
    roster.set(subject, member, &by.signing)?;
    Ok(())
}

#[test]
fn a_ticket_that_lay_for_ten_minutes_opens_nothing_and_leaves_nothing_behind() -> Answer<()> {
    run(7, async |world: SimWorld| -> Answer<()> {
        let mut home = House::new(world.box_named("home"));
        home.found(0).await?;
        home.start().await?;
        let guest = House::new(world.box_named("guest"));
        let service = home.service.clone().ok_or("it runs")?;
        let ticket = service.ticket().await.map_err(|fault| fault.to_string())?;
        let clock = home.home.clock().clone();
        clock.sleep(Duration::from_secs(TICKET_SECONDS)).await;
        let refused = guest.join(&ticket.ticket, None, 0).await;
        let told = refused.err().ok_or("it opened")?.to_string();
        assert!(told.contains("it does not know this ticket"), "{told}");
        assert!(guest.home.disk().list("").await?.is_empty());
        let ticket = service.ticket().await.map_err(|fault| fault.to_string())?;
        clock.sleep(Duration::from_secs(TICKET_SECONDS / 2)).await;
        guest.join(&ticket.ticket, None, 0).await
    })
    .value
}

#[test]
fn a_power_cut_while_a_lost_box_is_shut_out_leaves_the_old_epoch_or_the_new_one_whole() -> Answer<()>
{
    let (mut old, mut new) = (0, 0);
    for seed in 0..60 {
        let is_new = run(seed, async |world: SimWorld| {
            cut_amid_epoch(world, seed).await
        })
        .value?;
        if is_new {
            new += 1;
        } else {
            old += 1;
        }
    }
    assert!(old > 5 && new > 5, "both were met: {old} old, {new} new");
    Ok(())
}

/// Shuts a guest out while the power is cut at some moment; says which roster was found afterwards.
async fn cut_amid_epoch(world: SimWorld, seed: u64) -> Answer<bool> {
    let home = world.box_named("home");
    let (mut there, _) = founded(&home).await?;
    let (lost, friend) = (
        Identity::make(home.entropy()),
        Identity::make(home.entropy()),
    );
    let before = (there.roster.clone(), there.secrets.clone());
    take_in(&mut there.roster, &there.identity, &lost)?;
    take_in(&mut there.roster, &there.identity, &friend)?;
    keep(
        home.disk(),
        (&before.0, &before.1),
        (&there.roster, &there.secrets),
    )
    .await?;

    let (mut roster, mut secrets) = (there.roster.clone(), there.secrets.clone());
    let gone = Value::Removed { lost: true };
    roster.set(Subject::Peer(lost.peer()), gone, &there.identity.signing)?;
    roster.begin_epoch(&mut secrets, &there.identity.signing, home.entropy())?;
    let (disk, old) = (
        home.disk().clone(),
        (there.roster.clone(), there.secrets.clone()),
    );
    let now = (roster.clone(), secrets.clone());
    let clock = home.clock().clone();
    // How long it takes undisturbed is found on another Box's disk; the cut comes at some moment of that.
    let probe = world.box_named("probe");
    let start = probe.clock().now();
    now.1.save(probe.disk()).await?;
    now.0.save(probe.disk()).await?;
    let whole = probe
        .clock()
        .now()
        .since(start)
        .max(Duration::from_micros(1));
    let keeping = home.run(async move { keep(&disk, (&old.0, &old.1), (&now.0, &now.1)).await });
    let moment = whole * u32::try_from(seed % 30)? / 24;
    let cutting = async {
        clock.sleep(moment).await;
        if seed.is_multiple_of(2) {
            home.power_cut();
        } else {
            home.torn_power_cut();
        }
    };
    let (_, kept) = tokio::join!(cutting, keeping);
    let was_told = matches!(kept, Ok(Ok(())));

    let home = home.restart();
    let found = LoadedBox::load(home.disk()).await?;
    let is_new = found.roster == roster;
    assert!(
        is_new || found.roster == there.roster,
        "seed {seed}: neither"
    );
    assert!(is_new || !was_told, "seed {seed}: what was durable is gone");
    if is_new {
        assert_eq!(found.secrets.to_pairs(), secrets.to_pairs(), "seed {seed}");
        assert!(found.secrets.epoch(&found.roster) > KeyEpoch::FIRST);
    } else {
        // A secret nobody speaks of may be there; it is not in force.
        assert_eq!(
            found.secrets.epoch(&found.roster),
            KeyEpoch::FIRST,
            "seed {seed}"
        );
    }
    // Either way the Box goes on with it, and says nothing others would refuse.
    let (mut roster_now, mut secrets_now) = (found.roster.clone(), found.secrets.clone());
    let own = &found.identity;
    settle(&mut roster_now, &mut secrets_now, own, true, home.entropy())?;
    Facts::decode(&roster_now.to_facts().encode())?;
    // Whoever remains hears of it and has the secret, in one cut as well.
    let heard = there.secrets.learned(&roster, &friend).ok_or("no note")?;
    assert_eq!(heard.to_pairs(), secrets.to_pairs());
    Ok(is_new)
}

/// One Box of a reserve whose Boxes meet now and then.
struct Wanderer {
    own: Identity,
    roster: Roster,
    secrets: Secrets,
}

impl Wanderer {
    fn settle(&mut self, entropy: &impl Entropy) -> Answer<()> {
        settle(
            &mut self.roster,
            &mut self.secrets,
            &self.own,
            true,
            entropy,
        )?;
        Ok(())
    }

    /// Two that may still speak tell each other all they know.
    fn meet(&mut self, other: &mut Self, entropy: &impl Entropy) -> Answer<()> {
        let (a, b) = (self.own.peer(), other.own.peer());
        if self.roster.member(&b).is_none() || other.roster.member(&a).is_none() {
            return Ok(());
        }
        self.roster.merge(&other.roster.to_facts());
        self.settle(entropy)?;
        other.roster.merge(&self.roster.to_facts());
        other.settle(entropy)?;
        self.roster.merge(&other.roster.to_facts());
        self.settle(entropy)
    }
}

#[test]
fn boxes_that_meet_now_and_then_end_with_one_roster_and_every_secret() -> Answer<()> {
    for seed in 0..12 {
        run(seed, async |world: SimWorld| wander(world, seed).await).value?;
    }
    Ok(())
}

async fn wander(world: SimWorld, seed: u64) -> Answer<()> {
    let home = world.box_named("home");
    let entropy = home.entropy().clone();
    let below = |end: usize| usize::from(entropy.bytes::<1>()[0]) % end;
    let (there, words) = founded(&home).await?;
    let mut roster = there.roster;
    let guests: Vec<Identity> = (0..5).map(|_| Identity::make(&entropy)).collect();
    for guest in &guests {
        take_in(&mut roster, &there.identity, guest)?;
    }
    let mut all: Vec<Wanderer> = std::iter::once(there.identity)
        .chain(guests)
        .map(|own| Wanderer {
            own,
            roster: roster.clone(),
            secrets: there.secrets.clone(),
        })
        .collect();
    // The last two are lost some time; who shuts them out, apart or not, is chance.
    let mut shut_out = 0;
    for step in 0..60 {
        let at = below(all.len());
        match below(6) {
            0 => {
                let days = (1 + below(90)).to_string();
                let key = [
                    "sweep_period_days",
                    "warning_window_days",
                    "event_period_hours",
                ][below(3)];
                let one = &mut all[at];
                if one.roster.member(&one.own.peer()).is_some() {
                    let by = one.own.signing.clone();
                    one.roster.change_setting(key, &days, &by)?;
                }
            }
            1 if at < 4 && step > 10 && shut_out < 4 => {
                let lost = Subject::Peer(all[4 + below(2)].own.peer());
                let one = &mut all[at];
                let by = one.own.signing.clone();
                // It may be out already, by this Box's own or another's word.
                if one
                    .roster
                    .set(lost, Value::Removed { lost: true }, &by)
                    .is_ok()
                {
                    one.roster.begin_epoch(&mut one.secrets, &by, &entropy)?;
                    shut_out += 1;
                }
            }
            _ => {
                let other = below(all.len());
                if other != at {
                    let (low, high) = all.split_at_mut(at.max(other));
                    low[at.min(other)].meet(&mut high[0], &entropy)?;
                }
            }
        }
    }
    // Faults stop; those who remain meet until nothing is news.
    all.truncate(4);
    for _ in 0..6 {
        for a in 0..4 {
            for b in a + 1..4 {
                let (low, high) = all.split_at_mut(b);
                low[a].meet(&mut high[0], &entropy)?;
            }
        }
    }
    let first = &all[0];
    assert!(first.roster.epoch_is_sound(), "seed {seed}");
    for other in &all[1..] {
        assert_eq!(other.roster, first.roster, "seed {seed}");
        assert_eq!(
            other.secrets.to_pairs(),
            first.secrets.to_pairs(),
            "seed {seed}"
        );
        assert_eq!(
            other.secrets.epoch(&other.roster),
            first.secrets.epoch(&first.roster)
        );
    }
    // And the words open everything, through whichever Box is left.
    let new = Identity::make(&entropy);
    let asked = Recovering {
        name: "new".into(),
        site: "new".into(),
        ..Recovering::default()
    };
    let survivor = first.own.peer();
    let sent = first.roster.to_facts();
    let (_, secrets) = recover(&sent, survivor, &words.keys(), &new, &asked, &entropy)?;
    let opened: Vec<_> = secrets.held();
    assert!(
        first
            .secrets
            .held()
            .iter()
            .all(|epoch| opened.contains(epoch)),
        "seed {seed}"
    );
    Ok(())
}
