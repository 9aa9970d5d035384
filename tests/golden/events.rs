//! Golden events: one of each phase, and a file of them.

use reserve::format::event::{Event, EventFact, EventFacts, Phase, Subject, append, file_start};
use reserve::terms::{ChunkId, EventKind, EventType, FactName, PeerKey, Stamp};

use super::vectors::{Part, part, ramp};

fn event(sequence: u64, kind: EventKind, phase: Phase, subject: Subject) -> Event {
    Event {
        origin: PeerKey(ramp(0x20)),
        sequence,
        time: Stamp {
            seconds: 1_795_000_000,
            nanos: 5,
        },
        kind: kind.code(),
        event_type: kind.event_type(),
        episode: sequence,
        phase,
        subject,
        facts: EventFacts::new(),
    }
}

fn three() -> [Event; 3] {
    let mut moment = event(
        300,
        EventKind::SnapshotTaken,
        Phase::Moment,
        Subject::Snapshot(7),
    );
    let fact = EventFact::new(FactName::Files, 4096);
    moment.facts.push(fact).expect("room for one");
    let mut raise = event(
        301,
        EventKind::DataSetMissing,
        Phase::Raise,
        Subject::DataSet("fotos".into()),
    );
    let fact = EventFact::new(FactName::Reason, "büro");
    raise.facts.push(fact).expect("room for one");
    let clear = Event {
        sequence: 302,
        event_type: EventType::Normal,
        phase: Phase::Clear,
        facts: EventFacts::new(),
        ..raise.clone()
    };
    [moment, raise, clear]
}

pub fn events() -> Vec<Part> {
    let [moment, raise, clear] = three();
    let mut file = file_start();
    for event in three() {
        append(&mut file, &event);
    }
    let about = |subject| event(303, EventKind::BoxJoined, Phase::Moment, subject).encode();
    vec![
        part("event moment", moment.encode()),
        part("event raise", raise.encode()),
        part("event clear", clear.encode()),
        part("event of a Box", about(Subject::Peer(PeerKey(ramp(0x40))))),
        part(
            "event of a chunk",
            about(Subject::Chunk(ChunkId(ramp(0x60)))),
        ),
        part("event of itself", about(Subject::Itself)),
        part("event of the reserve", about(Subject::Reserve)),
        part("journal file", file),
    ]
}
