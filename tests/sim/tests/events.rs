//! The journal of events on a disk that forgets: what was told survives power cuts, numbers are never used again, and the oldest
//! normal events give way first.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use reserve::dispatcher::{
    Dispatcher, Event, EventFact, EventKind, EventType, FactName, Phase, Reporter, Subject,
};
use reserve::terms::PeerKey;
use reserve::terms::limits::JOURNAL_BYTES_MAX;
use reserve::world::{Clock, Disk, World};
use sim::{SimBox, run, run_within};

const ME: PeerKey = PeerKey([1; 32]);
const OFFICE: Subject = Subject::Peer(PeerKey([2; 32]));

type Events = Dispatcher<SimBox>;

async fn open(home: &SimBox) -> io::Result<(Events, Reporter, bool)> {
    let (dispatcher, opened) = Dispatcher::open(home.clone(), ME, "1").await?;
    assert_eq!(opened.damaged, 0);
    let reporter = dispatcher.reporter();
    Ok((dispatcher, reporter, opened.stopped_uncleanly))
}

async fn all(dispatcher: &Events) -> io::Result<Vec<Event>> {
    let mut events = Vec::new();
    dispatcher
        .read_after(0, async |event| {
            events.push(event);
            Ok(())
        })
        .await?;
    Ok(events)
}

/// Until everything told so far is durable.
async fn settled(home: &SimBox, dispatcher: &Events, last: u64) {
    let written = async {
        while dispatcher.newest() < last {
            dispatcher.newer_than(dispatcher.newest()).await;
        }
    };
    let patience = Duration::from_secs(600);
    home.clock()
        .within(patience, written)
        .await
        .expect("the journal is written");
}

fn kinds(events: &[Event]) -> Vec<(EventKind, Phase)> {
    let shown = |event: &Event| (event.known().expect("ours"), event.phase);
    events.iter().map(shown).collect()
}

#[test]
fn what_was_told_and_what_stands_survive_a_power_cut_and_the_next_start_says_so() -> io::Result<()>
{
    run(7, async |world| {
        let home = world.box_named("home");
        let (dispatcher, reporter, unclean) = open(&home).await?;
        assert!(!unclean, "the first start follows no other");
        reporter.raise(EventKind::BoxOutOfReach, OFFICE, &[]);
        reporter.tell(EventKind::SnapshotTaken, Subject::Snapshot(4), &[]);
        settled(&home, &dispatcher, 3).await;
        home.power_cut();
        let home = home.restart();

        let (dispatcher, reporter, unclean) = open(&home).await?;
        assert!(unclean);
        assert!(reporter.stands(EventKind::BoxOutOfReach, &OFFICE));
        // It stands already: no news.
        reporter.raise(EventKind::BoxOutOfReach, OFFICE, &[]);
        reporter.clear(EventKind::BoxOutOfReach, &OFFICE, &[]);
        settled(&home, &dispatcher, 6).await;
        let events = all(&dispatcher).await?;
        let wanted = [
            (EventKind::ServiceRuns, Phase::Raise),
            (EventKind::BoxOutOfReach, Phase::Raise),
            (EventKind::SnapshotTaken, Phase::Moment),
            (EventKind::StoppedUncleanly, Phase::Moment),
            (EventKind::ServiceRuns, Phase::Raise),
            (EventKind::BoxOutOfReach, Phase::Clear),
        ];
        assert_eq!(kinds(&events), wanted);
        assert_eq!(events[5].episode, events[1].sequence);
        dispatcher.close().await;

        let (_, reporter, unclean) = open(&home.restart()).await?;
        assert!(!unclean, "it ended in good order");
        assert!(!reporter.stands(EventKind::BoxOutOfReach, &OFFICE));
        Ok(())
    })
    .value
}

#[test]
fn numbers_rise_through_power_cuts_and_none_that_anybody_saw_is_used_again() -> io::Result<()> {
    for seed in 0..20 {
        run(seed, async |world| {
            let mut home = world.box_named("home");
            let mut seen = BTreeSet::new();
            for round in 0..6u64 {
                let (dispatcher, reporter, _) = open(&home).await?;
                for number in 0..=round * 7 {
                    reporter.tell(EventKind::SnapshotTaken, Subject::Snapshot(number), &[]);
                    reporter.tell(EventKind::BoxLost, OFFICE, &[]);
                    home.clock().sleep(Duration::from_millis(seed)).await;
                }
                let before = seen.clone();
                for event in all(&dispatcher).await? {
                    seen.insert(event.sequence);
                }
                assert!(seen.is_superset(&before));
                let newest = dispatcher.newest();
                home.torn_power_cut();
                home = home.restart();
                let (dispatcher, reporter, _) = open(&home).await?;
                reporter.tell(EventKind::BoxJoined, OFFICE, &[]);
                let next = all(&dispatcher).await?;
                assert!(next.iter().any(|event| event.sequence == newest) || newest == 0);
                home.power_cut();
                home = home.restart();
            }
            Ok::<_, io::Error>(())
        })
        .value?;
    }
    Ok(())
}

#[test]
fn a_journal_that_is_full_lets_normal_events_go_and_remembers_failures_and_what_stands()
-> io::Result<()> {
    run_within(3, Duration::from_secs(24 * 3600), async |world| {
        let home = world.box_named("home");
        let (dispatcher, reporter, _) = open(&home).await?;
        reporter.raise(EventKind::BoxOutOfReach, OFFICE, &[]);
        reporter.tell(EventKind::RetrievalIncomplete, Subject::Snapshot(1), &[]);
        let long = "x".repeat(200);
        let mut told = 3;
        while told < 9_000 {
            for _ in 0..100 {
                let fact = EventFact::new(FactName::Reason, long.as_str());
                reporter.tell(
                    EventKind::ConfigurationChanged,
                    Subject::Itself,
                    std::slice::from_ref(&fact),
                );
                reporter.tell(EventKind::BoxLost, OFFICE, &[fact]);
                told += 2;
            }
            settled(&home, &dispatcher, told).await;
        }
        let mut bytes = 0;
        for name in home.disk().list("events").await? {
            bytes += home
                .disk()
                .read_small(&format!("events/{name}"))
                .await?
                .map_or(0, |file| file.len());
        }
        assert!(bytes <= JOURNAL_BYTES_MAX + (64 << 10), "{bytes} bytes");
        let events = all(&dispatcher).await?;
        let count = |event_type| {
            events
                .iter()
                .filter(|event| event.event_type == event_type)
                .count()
        };
        assert_eq!(count(EventType::Failure), 1, "failures go last");
        assert!(count(EventType::Warning) > 3 * count(EventType::Normal));
        let last = events.last().expect("many");
        assert_eq!(last.sequence, told);
        let raised = |event: &Event| event.known() == Some(EventKind::BoxOutOfReach);
        assert!(!events.iter().any(raised), "its record had to give way");
        home.power_cut();
        let (_, reporter, _) = open(&home.restart()).await?;
        assert!(
            reporter.stands(EventKind::BoxOutOfReach, &OFFICE),
            "but it is known to stand"
        );
        Ok(())
    })
    .value
}

#[test]
fn a_disk_that_fails_costs_no_room_its_time_and_what_waited_is_written_when_it_works_again()
-> io::Result<()> {
    run(5, async |world| {
        let home = world.box_named("home");
        let (dispatcher, reporter, _) = open(&home).await?;
        settled(&home, &dispatcher, 1).await;
        home.faults(|faults| faults.set_capacity(0));
        for number in 0..1000 {
            reporter.tell(EventKind::SnapshotTaken, Subject::Snapshot(number), &[]);
        }
        home.clock().sleep(Duration::from_secs(20)).await;
        assert_eq!(
            dispatcher.newest(),
            1,
            "nothing is told that is not durable"
        );
        home.faults(sim::Faults::clear);
        settled(&home, &dispatcher, 257).await;
        let events = all(&dispatcher).await?;
        let dropped = events
            .iter()
            .find(|event| event.known() == Some(EventKind::EventsDropped))
            .and_then(|event| event.number(FactName::Count));
        assert_eq!(dropped, Some(1000 - 256));
        Ok(())
    })
    .value
}

#[test]
fn a_damaged_file_is_told_and_numbers_leap_over_what_it_may_have_held() -> io::Result<()> {
    run(9, async |world| {
        let home = world.box_named("home");
        let (dispatcher, reporter, _) = open(&home).await?;
        for number in 0..50 {
            reporter.tell(EventKind::SnapshotTaken, Subject::Snapshot(number), &[]);
        }
        settled(&home, &dispatcher, 51).await;
        let file = format!("events/normal-{:020}", 1);
        let mut bytes = home.disk().read_small(&file).await?.expect("the journal");
        let end = bytes.len() - 40;
        bytes.truncate(end);
        home.disk().replace_small(&file, &bytes, false).await?;
        home.power_cut();
        let home = home.restart();
        let (dispatcher, opened) = Dispatcher::open(home.clone(), ME, "1").await?;
        assert_eq!(opened.damaged, 1);
        dispatcher.newer_than(dispatcher.newest()).await;
        let events = all(&dispatcher).await?;
        let fresh: Vec<_> = events.iter().filter(|event| event.sequence > 50).collect();
        assert_eq!(fresh[0].known(), Some(EventKind::JournalDamaged));
        assert!(fresh[0].sequence > 51, "the lost one had this number");
        Ok(())
    })
    .value
}
