//! Reading the journal in order, without I/O of its own: it says which file it wants next and is given the bytes.
//!
//! At most one file of each type is in memory at a time.

use std::collections::VecDeque;

use super::retention::FileName;
use crate::format::event::{Event, read_file};
use crate::terms::EventType;

/// Events of the journal, oldest first.
pub struct History {
    series: [Series; 3],
    after: u64,
    damaged: u64,
}

#[derive(Default)]
struct Series {
    files: VecDeque<FileName>,
    open: VecDeque<Event>,
}

impl History {
    /// Of the files with these names (strangers among them are passed over): events after a sequence number.
    #[must_use]
    pub fn new(names: &[String], after: u64) -> Self {
        let series = EventType::ALL.map(|event_type| {
            let mut files: Vec<FileName> = names
                .iter()
                .filter_map(|name| FileName::of(name))
                .filter(|name| name.series == event_type)
                .collect();
            files.sort_unstable();
            // A file is of no use if the next one begins early enough.
            let useless = files
                .windows(2)
                .take_while(|two| two[1].first <= after.saturating_add(1))
                .count();
            Series {
                files: files.drain(useless..).collect(),
                open: VecDeque::new(),
            }
        });
        Self {
            series,
            after,
            damaged: 0,
        }
    }

    /// The file that must be given with [`History::give`] before the next event is known.
    #[must_use]
    pub fn wants(&self) -> Option<String> {
        let waiting = self
            .series
            .iter()
            .find(|series| series.open.is_empty() && !series.files.is_empty());
        Some(waiting?.files.front()?.text())
    }

    /// Gives the wanted file; `None` if it is not there any more.
    pub fn give(&mut self, bytes: Option<&[u8]>) {
        let after = self.after;
        let wanted = self
            .series
            .iter_mut()
            .find(|series| series.open.is_empty() && !series.files.is_empty());
        let Some(series) = wanted else { return };
        series.files.pop_front();
        let Some(bytes) = bytes else { return };
        let read = read_file(bytes);
        self.damaged += read.damaged;
        series.open.extend(
            read.events
                .into_iter()
                .filter(|event| event.sequence > after),
        );
    }

    /// The next event, once no file is wanted.
    pub fn next_event(&mut self) -> Option<Event> {
        if self.wants().is_some() {
            return None;
        }
        let first = self
            .series
            .iter_mut()
            .filter(|series| !series.open.is_empty())
            .min_by_key(|series| series.open[0].sequence)?;
        first.open.pop_front()
    }

    /// Records met so far that do not read.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::event::{EventFacts, Phase, Subject, append, file_start};
    use crate::terms::{EventKind, PeerKey, Stamp};

    fn file(kind: EventKind, sequences: &[u64]) -> Vec<u8> {
        let mut bytes = file_start();
        for sequence in sequences {
            let event = Event {
                origin: PeerKey([1; 32]),
                sequence: *sequence,
                time: Stamp::default(),
                kind: kind.code(),
                event_type: kind.event_type(),
                episode: *sequence,
                phase: Phase::Moment,
                subject: Subject::Itself,
                facts: EventFacts::new(),
            };
            append(&mut bytes, &event);
        }
        bytes
    }

    fn told(after: u64) -> (Vec<u64>, Vec<String>) {
        let name = |series: &str, first: u64| format!("{series}-{first:020}");
        let files = [
            (name("normal", 1), file(EventKind::BoxJoined, &[1, 2, 6])),
            (name("normal", 7), file(EventKind::BoxJoined, &[7, 9])),
            (name("warning", 3), file(EventKind::BoxLost, &[3, 8])),
            (name("failure", 4), file(EventKind::DiskFull, &[4, 5])),
        ];
        let mut names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
        names.push("standing".into());
        let mut history = History::new(&names, after);
        let (mut sequences, mut read) = (Vec::new(), Vec::new());
        loop {
            while let Some(wanted) = history.wants() {
                let found = files.iter().find(|(name, _)| *name == wanted);
                history.give(found.map(|(_, bytes)| bytes.as_slice()));
                read.push(wanted);
            }
            match history.next_event() {
                Some(event) => sequences.push(event.sequence),
                None => return (sequences, read),
            }
        }
    }

    #[test]
    fn events_of_all_types_come_in_one_order() {
        assert_eq!(told(0).0, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn files_that_end_before_what_is_asked_are_not_read() {
        let (sequences, read) = told(6);
        assert_eq!(sequences, [7, 8, 9]);
        assert!(!read.iter().any(|name| name.ends_with("01")), "{read:?}");
    }
}
