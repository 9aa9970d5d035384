//! An event as it stands in the journal, and the files it stands in.
//!
//! A record stands for itself: its length and checksum let a reader step over one that is damaged, and a tail that was cut short
//! costs what was cut and nothing else.

use heapless::Vec as FewVec;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Malformed, decode, encode, malformed};
use crate::terms::limits::{EVENT_BYTES_MAX, EVENT_FACTS_MAX, EVENT_TEXT_BYTES_MAX};
use crate::terms::{ChunkId, EventKind, EventType, FactName, PeerKey, Stamp};

const EVENT: &str = "event";
const MAGIC: &[u8; 8] = b"RSVEVT\x01\n";
/// What stands before each record in a file: its length and its checksum.
const BEFORE_BYTES: usize = 6;

/// Where an event stands in its episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It happened and was over.
    Moment,
    /// It began.
    Raise,
    /// It is over.
    Clear,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The Box that tells it.
    Itself,
    /// A Box.
    Peer(PeerKey),
    /// A data set of the Box that tells it.
    DataSet(SmolStr),
    /// A snapshot of the Box that tells it, by number.
    Snapshot(u64),
    /// A chunk.
    Chunk(ChunkId),
    /// The reserve as a whole.
    Reserve,
}

/// What a fact says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactValue {
    /// A number.
    Number(u64),
    /// A text.
    Text(SmolStr),
}

impl From<u64> for FactValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for FactValue {
    /// A text that is too long is cut where a character ends.
    fn from(text: &str) -> Self {
        let mut end = text.len().min(EVENT_TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self::Text(text[..end].into())
    }
}

/// A fact of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFact {
    /// [`FactName::code`].
    pub name: u8,
    /// What it says.
    pub value: FactValue,
}

impl EventFact {
    /// A fact.
    #[must_use]
    pub fn new(name: FactName, value: impl Into<FactValue>) -> Self {
        Self {
            name: name.code(),
            value: value.into(),
        }
    }
}

/// Facts of one event.
pub type EventFacts = FewVec<EventFact, EVENT_FACTS_MAX>;

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The Box that tells it.
    pub origin: PeerKey,
    /// Its place among all events of that Box. Never used again.
    pub sequence: u64,
    /// What that Box's clock said: data, never a reason.
    pub time: Stamp,
    /// [`EventKind::code`].
    pub kind: u16,
    /// How much it matters; that a condition is over is normal.
    pub event_type: EventType,
    /// The sequence number of the event that began the episode: its own, unless it ends one.
    pub episode: u64,
    /// Where it stands in its episode.
    pub phase: Phase,
    /// What it is about.
    pub subject: Subject,
    /// What else is known.
    pub facts: EventFacts,
}

impl Event {
    /// What it is, if this program knows it.
    #[must_use]
    pub fn known(&self) -> Option<EventKind> {
        EventKind::from_code(self.kind)
    }

    /// The number a fact says.
    #[must_use]
    pub fn number(&self, name: FactName) -> Option<u64> {
        self.facts.iter().find_map(|fact| match &fact.value {
            FactValue::Number(number) if fact.name == name.code() => Some(*number),
            _ => None,
        })
    }

    /// The text a fact says.
    #[must_use]
    pub fn text(&self, name: FactName) -> Option<&str> {
        self.facts.iter().find_map(|fact| match &fact.value {
            FactValue::Text(text) if fact.name == name.code() => Some(text.as_str()),
            _ => None,
        })
    }

    /// Its bytes, as a record's payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > EVENT_BYTES_MAX {
            return Err(malformed(EVENT, "it is longer than an event may be"));
        }
        let event: Self = decode(EVENT, bytes)?;
        if event.time.nanos >= 1_000_000_000 {
            return Err(malformed(EVENT, "its time has too many nanoseconds"));
        }
        let is_own_episode = event.episode == event.sequence;
        if is_own_episode == (event.phase == Phase::Clear) || event.episode > event.sequence {
            return Err(malformed(EVENT, "its episode does not fit its place in it"));
        }
        Ok(event)
    }
}

/// The first bytes of a file of events.
#[must_use]
pub fn file_start() -> Vec<u8> {
    MAGIC.to_vec()
}

/// Adds a record to a file of events.
///
/// # Panics
/// When the event is longer than an event may be; its facts and texts are bounded so that it is not.
pub fn append(file: &mut Vec<u8>, event: &Event) {
    let payload = event.encode();
    assert!(
        payload.len() <= EVENT_BYTES_MAX,
        "facts and texts of an event are bounded"
    );
    let length = u16::try_from(payload.len()).expect("just compared");
    file.extend(length.to_le_bytes());
    file.extend(crc32fast::hash(&payload).to_le_bytes());
    file.extend(payload);
}

/// Bytes a record takes in a file.
#[must_use]
pub fn record_bytes(event: &Event) -> usize {
    BEFORE_BYTES + event.encode().len()
}

/// What a file of events holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFile {
    /// Its events that read.
    pub events: Vec<Event>,
    /// Records, or a tail, that do not.
    pub damaged: u64,
}

/// Reads a file of events: everything in it that reads.
#[must_use]
pub fn read_file(bytes: &[u8]) -> EventFile {
    let mut file = EventFile::default();
    let Some(mut rest) = bytes.strip_prefix(MAGIC.as_slice()) else {
        file.damaged = 1;
        return file;
    };
    while !rest.is_empty() {
        let Some((record, after)) = split_record(rest) else {
            // A tail that was cut short, or a length that leads nowhere.
            file.damaged += 1;
            break;
        };
        match record.and_then(Event::decode) {
            Ok(event) => file.events.push(event),
            Err(_) => file.damaged += 1,
        }
        rest = after;
    }
    file
}

type Record<'a> = Result<&'a [u8], Malformed>;

fn split_record(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let ([a, b, sum @ ..], rest) = bytes.split_first_chunk::<BEFORE_BYTES>()?;
    let (payload, after) = rest.split_at_checked(usize::from(u16::from_le_bytes([*a, *b])))?;
    let is_whole = crc32fast::hash(payload) == u32::from_le_bytes(*sum);
    let record = if is_whole {
        Ok(payload)
    } else {
        Err(malformed(EVENT, "its checksum does not match"))
    };
    Some((record, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64) -> Event {
        let mut facts = EventFacts::new();
        facts
            .push(EventFact::new(FactName::Reason, "because"))
            .expect("room");
        facts
            .push(EventFact::new(FactName::Count, sequence))
            .expect("room");
        Event {
            origin: PeerKey([7; 32]),
            sequence,
            time: Stamp::default(),
            kind: EventKind::DiskFull.code(),
            event_type: EventType::Failure,
            episode: sequence,
            phase: Phase::Raise,
            subject: Subject::Itself,
            facts,
        }
    }

    fn file(count: u64) -> Vec<u8> {
        let mut bytes = file_start();
        for sequence in 1..=count {
            append(&mut bytes, &event(sequence));
        }
        bytes
    }

    #[test]
    fn a_file_cut_anywhere_still_gives_every_whole_event_before_the_cut() {
        let bytes = file(5);
        let each = record_bytes(&event(1));
        for length in MAGIC.len()..bytes.len() {
            let read = read_file(&bytes[..length]);
            let whole = (length - MAGIC.len()) / each;
            assert_eq!(read.events.len(), whole, "cut to {length}");
            let is_torn = !(length - MAGIC.len()).is_multiple_of(each);
            assert_eq!(read.damaged, u64::from(is_torn));
        }
    }

    #[test]
    fn a_damaged_record_costs_itself_alone() {
        let mut bytes = file(5);
        let each = record_bytes(&event(1));
        bytes[MAGIC.len() + 2 * each + BEFORE_BYTES + 3] ^= 4;
        let read = read_file(&bytes);
        let left: Vec<u64> = read.events.iter().map(|event| event.sequence).collect();
        assert_eq!((left, read.damaged), (vec![1, 2, 4, 5], 1));
    }

    #[test]
    fn the_longest_event_fits_its_bound() {
        let mut longest = event(u64::MAX);
        longest.subject = Subject::DataSet("n".repeat(63).into());
        longest.time = Stamp {
            seconds: i64::MIN,
            nanos: 999_999_999,
        };
        longest.facts.clear();
        let text = "ü".repeat(EVENT_TEXT_BYTES_MAX);
        while longest
            .facts
            .push(EventFact::new(FactName::Reason, text.as_str()))
            .is_ok()
        {}
        assert!(longest.encode().len() <= EVENT_BYTES_MAX);
        assert_eq!(Event::decode(&longest.encode()), Ok(longest));
    }

    #[test]
    fn an_episode_that_does_not_fit_is_refused() {
        let mut ends = event(9);
        ends.phase = Phase::Clear;
        assert!(Event::decode(&ends.encode()).is_err());
        ends.episode = 4;
        assert!(Event::decode(&ends.encode()).is_ok());
        ends.episode = 10;
        assert!(Event::decode(&ends.encode()).is_err());
    }
}
