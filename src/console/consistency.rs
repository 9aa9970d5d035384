//! What may be expected of data sets that come back: said where a person chooses what to retrieve.

use std::fmt::Write as _;

use super::control::DataSetView;
use super::names::shown;
use crate::format::head::{DataSet, Manifest};
use crate::terms::ConsistencyLabel;

/// Things of a data set that are named.
const NAMED_MAX: usize = 10;
/// How a data set is labelled that did not hold still, or of whose database not all could be read.
const BEST_EFFORT: &str = "best effort";

/// A label as people and programs read it.
pub const fn in_words(label: ConsistencyLabel) -> &'static str {
    match label {
        ConsistencyLabel::Application => "application",
        ConsistencyLabel::Crash => "crash",
        ConsistencyLabel::BestEffort => BEST_EFFORT,
    }
}

/// The data sets of a snapshot. Paths are those that `reserve ls` shows.
pub fn data_sets(manifest: &Manifest) -> Vec<DataSetView> {
    let several = manifest.data_sets.len() > 1;
    let path = |set: &DataSet, path: &[u8]| match (several, path.is_empty()) {
        (true, true) => set.name.to_string(),
        (true, false) => format!("{}/{}", set.name, shown(path)),
        (false, true) => ".".to_owned(),
        (false, false) => shown(path),
    };
    let view = |set: &DataSet| DataSetView {
        name: set.name.to_string(),
        files: set.files,
        bytes: set.bytes,
        consistency: in_words(set.label).to_owned(),
        unread_count: set.unread_count,
        unread: set
            .unread
            .iter()
            .take(NAMED_MAX)
            .map(|(at, why)| (path(set, at), why.to_string()))
            .collect(),
    };
    manifest.data_sets.iter().map(view).collect()
}

/// Those that may not be as they were at any one moment.
fn best_effort(sets: &[DataSetView]) -> impl Iterator<Item = &DataSetView> {
    sets.iter().filter(|set| set.consistency == BEST_EFFORT)
}

/// What a list of snapshots adds to one of them.
pub fn in_list(sets: &[DataSetView]) -> String {
    let names: Vec<_> = best_effort(sets).map(|set| set.name.as_str()).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("  ({BEST_EFFORT}: {})", names.join(", "))
}

/// What stands below a list that has such snapshots.
pub const BELOW_LIST: &str = "Best effort: that data set may not be whole, or not of one moment; a database in it may not open. \
                              `reserve ls --snapshot ID` says why.";

/// What is told before a snapshot is looked into or retrieved; nothing if all of it held still.
pub fn told(sets: &[DataSetView]) -> Option<String> {
    let mut text = String::new();
    for set in best_effort(sets) {
        let _ = writeln!(
            text,
            "Data set {} is {BEST_EFFORT} in this snapshot: it may not be whole, or not of one moment:",
            set.name
        );
        for (path, why) in &set.unread {
            let _ = writeln!(text, "  {path}: {why}");
        }
        let more = set.unread_count.saturating_sub(set.unread.len() as u64);
        if more > 0 {
            let _ = writeln!(text, "  and {more} more");
        }
    }
    text.truncate(text.trim_end().len());
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::{ChunkId, FileSystemId, PeerKey, SnapshotNumber};

    fn set(name: &str, label: ConsistencyLabel, unread: &[(&str, &str)]) -> DataSet {
        let unread = unread.iter();
        let unread: Vec<_> = unread
            .map(|(path, why)| (path.as_bytes().to_vec().into(), (*why).into()))
            .collect();
        DataSet {
            name: name.into(),
            path: b"/d".to_vec().into(),
            file_system: FileSystemId {
                magic: 1,
                device: 2,
            },
            label,
            root: ChunkId([1; 32]),
            level: 0,
            entries: 1,
            files: 1,
            bytes: 1,
            unread_count: unread.len() as u64,
            unread,
        }
    }

    fn views(sets: Vec<DataSet>) -> Vec<DataSetView> {
        data_sets(&Manifest {
            author: PeerKey([1; 32]),
            number: SnapshotNumber(1),
            data_sets: sets,
        })
    }

    #[test]
    fn only_what_changed_while_it_was_read_is_told_and_by_the_paths_of_ls() {
        let quiet = set("films", ConsistencyLabel::Crash, &[("locked", "denied")]);
        let busy = |unread| set("orbit", ConsistencyLabel::BestEffort, unread);
        let sets = views(vec![quiet.clone(), busy(&[("base", "it may not open")])]);
        assert_eq!(in_list(&sets), "  (best effort: orbit)");
        let text = told(&sets).expect("one is");
        assert!(text.ends_with(":\n  orbit/base: it may not open"), "{text}");
        assert!(!text.contains("films"), "{text}");
        let alone = views(vec![busy(&[("base", "why"), ("", "all of it")])]);
        let text = told(&alone).expect("it is");
        assert!(text.ends_with("  base: why\n  .: all of it"), "{text}");
        let quiet = views(vec![quiet]);
        assert_eq!((told(&quiet), in_list(&quiet)), (None, String::new()));
    }

    #[test]
    fn of_many_the_first_are_named_and_the_rest_counted() {
        let many: Vec<_> = (0..12).map(|number| (number.to_string(), "x")).collect();
        let many: Vec<_> = many
            .iter()
            .map(|(path, why)| (path.as_str(), *why))
            .collect();
        let sets = views(vec![set("d", ConsistencyLabel::BestEffort, &many)]);
        let text = told(&sets).expect("it is");
        assert!(text.ends_with("  9: x\n  and 2 more"), "{text}");
    }
}
