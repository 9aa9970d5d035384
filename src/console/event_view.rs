//! Events as the control protocol and `--json` show them, and as a line of text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::text;
use crate::dispatcher::{Event, EventKind, EventType, FactValue, Named, Phase, Subject, words};
use crate::terms::FactName;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// The Box that told it: its name.
    #[serde(rename = "box")]
    pub box_name: String,
    /// Its key.
    pub box_key: String,
    /// The event's place among all of that Box.
    pub sequence: u64,
    /// What that Box's clock said, RFC 3339 in UTC.
    pub time: String,
    /// The same, seconds since 1970.
    pub time_seconds: i64,
    /// How much it matters.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// What it is: a name of the closed list, or the number of one that this program does not know.
    pub kind: String,
    /// Where it stands in its episode.
    pub phase: Phase,
    /// The number of the event that began the episode.
    pub episode: u64,
    /// What it is about.
    pub subject: SubjectView,
    /// What else is known.
    pub facts: BTreeMap<String, FactValue>,
    /// All of it in one sentence.
    pub text: String,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectView {
    /// The Box that told it.
    Itself,
    /// A Box, by name.
    Box(String),
    /// A data set, by name.
    DataSet(String),
    /// A snapshot of the Box that told it, by number.
    Snapshot(u64),
    /// A chunk, by id.
    Chunk(String),
    /// The reserve as a whole.
    Reserve,
}

impl EventView {
    /// Whether it is a failure that somebody or something can end. What older snapshots lack is lost and stays told; whoever asks every hour
    /// whether all is well is not to hear of it for ever.
    #[must_use]
    pub fn is_to_be_mended(&self) -> bool {
        self.event_type == EventType::Failure && self.kind != EventKind::SnapshotsLacking.name()
    }
}

/// An event for people and programs.
pub fn view(event: &Event, named: Named<'_>) -> EventView {
    let fact_name = |code: u8| {
        FactName::from_code(code).map_or_else(|| code.to_string(), |name| name.name().to_owned())
    };
    EventView {
        box_name: named(event.origin),
        box_key: event.origin.to_string(),
        sequence: event.sequence,
        time: text::utc(event.time.seconds),
        time_seconds: event.time.seconds,
        event_type: event.event_type,
        kind: event
            .known()
            .map_or_else(|| event.kind.to_string(), |kind| kind.name().to_owned()),
        phase: event.phase,
        episode: event.episode,
        subject: match &event.subject {
            Subject::Itself => SubjectView::Itself,
            Subject::Peer(peer) => SubjectView::Box(named(*peer)),
            Subject::DataSet(name) => SubjectView::DataSet(name.to_string()),
            Subject::Snapshot(number) => SubjectView::Snapshot(*number),
            Subject::Chunk(id) => SubjectView::Chunk(id.to_string()),
            Subject::Reserve => SubjectView::Reserve,
        },
        facts: event
            .facts
            .iter()
            .map(|fact| (fact_name(fact.name), fact.value.clone()))
            .collect(),
        text: words(event, named),
    }
}

/// One line: where to go on from, when, how much it matters, what.
pub fn line(view: &EventView) -> String {
    let mark = match view.event_type {
        EventType::Normal => "       ",
        EventType::Warning => "WARNING",
        EventType::Failure => "FAILURE",
    };
    format!(
        "{} {mark} {}:{} {}",
        view.time, view.box_name, view.sequence, view.text
    )
}
