//! Which file of the journal gives way when it is full, and how files are named. Pure.

use crate::terms::EventType;

/// A file of the journal: events of kinds of one type, from this sequence number on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName {
    pub(super) series: EventType,
    pub(super) first: u64,
}

impl FileName {
    pub(super) fn of(name: &str) -> Option<Self> {
        let (series, first) = name.split_once('-')?;
        let series = EventType::ALL
            .into_iter()
            .find(|event_type| event_type.name() == series)?;
        let is_plain = first.len() == 20 && first.bytes().all(|byte| byte.is_ascii_digit());
        let first = first.parse().ok().filter(|_| is_plain)?;
        Some(Self { series, first })
    }

    pub(super) fn text(self) -> String {
        format!("{}-{:020}", self.series.name(), self.first)
    }
}

/// A file and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) name: FileName,
    pub(super) bytes: usize,
}

/// The file that goes first when there are more bytes than allowed: the oldest of the type that matters least, but never the
/// newest of a type.
pub(super) fn victim(files: &[Kept], bytes_max: usize) -> Option<FileName> {
    let bytes: usize = files.iter().map(|file| file.bytes).sum();
    if bytes <= bytes_max {
        return None;
    }
    let newest = |series: EventType| {
        let of_series = files.iter().filter(|file| file.name.series == series);
        of_series.map(|file| file.name.first).max()
    };
    files
        .iter()
        .map(|file| file.name)
        .filter(|name| newest(name.series) != Some(name.first))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(series: EventType, first: u64) -> Kept {
        let name = FileName { series, first };
        Kept { name, bytes: 10 }
    }

    #[test]
    fn a_name_leads_back_and_strangers_are_none() {
        let name = FileName {
            series: EventType::Failure,
            first: 42,
        };
        assert_eq!(name.text(), "failure-00000000000000000042");
        assert_eq!(FileName::of(&name.text()), Some(name));
        for stranger in [
            "standing",
            "failure-42",
            "failure-+0000000000000000042",
            "other-00000000000000000042",
            "normal-99999999999999999999",
        ] {
            assert_eq!(FileName::of(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn normal_events_go_first_and_failures_last_and_the_newest_file_of_each_stays() {
        use EventType::{Failure, Normal, Warning};
        let mut files = vec![
            kept(Failure, 1),
            kept(Warning, 2),
            kept(Normal, 3),
            kept(Normal, 5),
            kept(Warning, 8),
            kept(Failure, 9),
        ];
        let mut gone = Vec::new();
        while let Some(name) = victim(&files, 15) {
            files.retain(|file| file.name != name);
            gone.push((name.series, name.first));
        }
        assert_eq!(gone, [(Normal, 3), (Warning, 2), (Failure, 1)]);
        assert_eq!(victim(&files, 30), None);
    }
}
