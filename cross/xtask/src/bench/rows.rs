//! The rows of the table, and what targets.md asks of each: data.

use super::corpus::Corpus;

/// A piece of work that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// A first snapshot into an empty store.
    First,
    /// Another, with nothing changed.
    Unchanged,
    /// Another, of version 2.
    Changed,
    /// Reading every byte again.
    Verify,
    /// Getting everything back.
    Retrieve,
    /// Protected on two other Boxes.
    Protected,
    /// The same, unchanged again, and back on a new Box, while the author's own chunk table is full.
    Memory,
    /// A keeper with a million chunks starts.
    Start,
    /// A keeper has nothing to do.
    Idle,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// What of.
    pub corpus: Option<Corpus>,
    /// What is done.
    pub work: Work,
}

const fn row(corpus: Corpus, work: Work) -> Row {
    Row {
        corpus: Some(corpus),
        work,
    }
}

/// All rows, in the order of the table.
pub const ROWS: [Row; 15] = [
    row(Corpus::Media, Work::First),
    row(Corpus::Media, Work::Unchanged),
    row(Corpus::Media, Work::Changed),
    row(Corpus::Media, Work::Verify),
    row(Corpus::Media, Work::Retrieve),
    row(Corpus::Media, Work::Protected),
    row(Corpus::Small, Work::First),
    row(Corpus::Small, Work::Unchanged),
    row(Corpus::Small, Work::Changed),
    row(Corpus::Small, Work::Retrieve),
    row(Corpus::Small10, Work::First),
    row(Corpus::Small10, Work::Unchanged),
    row(Corpus::Mixed, Work::Memory),
    Row {
        corpus: None,
        work: Work::Start,
    },
    Row {
        corpus: None,
        work: Work::Idle,
    },
];

impl Row {
    /// Whether it is left out unless asked for.
    pub fn is_long(self) -> bool {
        matches!(self.corpus, Some(Corpus::Small10 | Corpus::Mixed))
    }

    /// Its name on the command line and in JSON.
    pub fn key(self) -> String {
        let work = match self.work {
            Work::First => "first",
            Work::Unchanged => "unchanged",
            Work::Changed => "changed",
            Work::Verify => "verify",
            Work::Retrieve => "retrieve",
            Work::Protected => "protected",
            Work::Memory => "memory",
            Work::Start => "start",
            Work::Idle => "idle",
        };
        match self.corpus {
            Some(corpus) => format!("{}-{work}", corpus.name().to_lowercase()),
            None => work.to_owned(),
        }
    }

    /// What people read.
    pub fn title(self) -> String {
        let work = match self.work {
            Work::First => "first snapshot into one store",
            Work::Unchanged => "nothing changed",
            Work::Changed => "version 2",
            Work::Verify => "every byte verified",
            Work::Retrieve => "retrieved",
            Work::Protected => "protected on two other Boxes",
            Work::Memory => "a full table, two other Boxes and a new one",
            Work::Start => "a keeper starts with a million chunks",
            Work::Idle => "a keeper with a small table and nothing to do",
        };
        match self.corpus {
            Some(corpus) => format!("{}, {work}", corpus.name()),
            None => work.to_owned(),
        }
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Seconds on the wall.
    Wall,
    /// Seconds of processors, all processes together.
    Cpu,
    /// MiB of the largest process.
    Peak,
    /// MiB the store takes.
    Stored,
    /// Share of a core while idle, percent.
    Share,
    /// Wake-ups a second.
    Wakeups,
}

/// What it is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// At most this many times what a peer needs.
    Times(f64, &'static str),
    /// At most this.
    AtMost(f64),
    /// At most this at full size; it shrinks with the corpus.
    AtMostOfAll(f64),
}

/// The most memory a process of ours may ever have. It is a promise: whatever machine it is measured on, more than this is a fault.
pub const PROMISED_MIB: f64 = 64.0;

/// What targets.md asks of a row.
pub fn targets(row: Row) -> Vec<(Measure, Bound)> {
    use Bound::{AtMost, AtMostOfAll, Times};
    use Measure::{Cpu, Peak, Share, Stored, Wakeups, Wall};
    const MEMORY: (Measure, Bound) = (Peak, AtMost(PROMISED_MIB));
    let small_first = vec![(Wall, Times(0.8, "bupstash")), MEMORY];
    let mut asked = match (row.corpus, row.work) {
        (Some(Corpus::Media), Work::First) => vec![
            (Wall, Times(1.0, "bupstash")),
            (Cpu, Times(0.6, "borg")),
            MEMORY,
        ],
        (Some(Corpus::Media), Work::Changed) => {
            vec![(Wall, Times(0.5, "borg")), (Stored, AtMostOfAll(33.0))]
        }
        (Some(Corpus::Media), Work::Verify) => {
            vec![
                (Wall, Times(1.0, "conserve")),
                (Cpu, Times(0.5, "conserve")),
            ]
        }
        (Some(Corpus::Media), Work::Retrieve) => vec![(Wall, Times(1.1, "cp")), MEMORY],
        (Some(Corpus::Media), Work::Protected) => {
            vec![(Wall, AtMostOfAll(10.0)), (Cpu, AtMostOfAll(18.0)), MEMORY]
        }
        (Some(Corpus::Mixed), Work::Memory) => vec![MEMORY],
        (Some(Corpus::Small | Corpus::Small10), Work::First) => small_first,
        (Some(Corpus::Small | Corpus::Small10), Work::Unchanged) => {
            vec![(Wall, Times(1.0, "bupstash")), MEMORY]
        }
        (Some(Corpus::Small), Work::Changed) => {
            vec![(Wall, Times(1.0, "conserve")), (Stored, AtMostOfAll(4.0))]
        }
        (Some(Corpus::Small), Work::Retrieve) => vec![(Wall, Times(1.0, "cp"))],
        (None, Work::Start) => vec![(Wall, AtMost(2.0)), MEMORY],
        (None, Work::Idle) => vec![
            (Share, AtMost(0.1)),
            (Wakeups, AtMost(1.0)),
            (Peak, AtMost(16.0)),
        ],
        _ => Vec::new(),
    };
    if row.corpus == Some(Corpus::Small) && row.work == Work::First {
        asked.push((Stored, AtMostOfAll(62.0)));
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_name() {
        let mut keys: Vec<String> = ROWS.into_iter().map(Row::key).collect();
        assert!(
            keys.contains(&"small10-unchanged".to_owned()) && keys.contains(&"idle".to_owned())
        );
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), ROWS.len());
    }

    #[test]
    fn a_peer_that_sets_a_target_is_one_that_is_measured() {
        for (_, bound) in ROWS.into_iter().flat_map(targets) {
            if let Bound::Times(_, peer) = bound {
                let known = super::super::peers::PEERS
                    .iter()
                    .any(|one| one.name == peer);
                assert!(known, "{peer}");
            }
        }
    }
}
