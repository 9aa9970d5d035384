//! The journal on disk: small files, each replaced as a whole, so that a power cut leaves what was written before.
//!
//! Kinds of one type share a series of files, so that types give way apart and a condition's beginning and end stand in one series.
//! `standing` says what stood before the oldest file; it is written before a file goes.

use crate::format::event::{Event, Phase, append, file_start, read_file, record_bytes};
use crate::format::{Malformed, decode_file, encode_file};
use crate::terms::limits::{EVENT_FILE_BYTES_MAX, EVENTS_STANDING_MAX, JOURNAL_BYTES_MAX};
use crate::terms::{EventKind, EventType, PeerKey};
use crate::world::Disk;

use super::queue::Standing;
use super::retention::{FileName, Kept, victim};

/// Where the journal is in the state directory.
pub const JOURNAL_DIR: &str = "events";
const STANDING_FILE: &str = "events/standing";
/// How far numbers leap when a part of the journal does not read: more than one file can hold.
const LEAP: u64 = EVENT_FILE_BYTES_MAX as u64;

fn path_of(name: FileName) -> String {
    format!("{JOURNAL_DIR}/{}", name.text())
}

/// In which series an event stands: that of its kind, whatever its own type is.
fn series_of(event: &Event) -> EventType {
    event
        .known()
        .map_or(event.event_type, EventKind::event_type)
}

struct Active {
    name: FileName,
    bytes: Vec<u8>,
    is_written: bool,
}

/// What a journal holds, as its files tell.
#[derive(Default)]
pub(super) struct Known {
    pub(super) next: u64,
    pub(super) standing: Standing,
    /// The newest event's time in seconds.
    pub(super) newest_seconds: Option<i64>,
    pub(super) damaged: u64,
}

impl Known {
    fn begin(checkpoint: Option<Result<(u64, Vec<Event>), Malformed>>) -> Self {
        let mut known = Self {
            next: 1,
            ..Self::default()
        };
        match checkpoint {
            None => {}
            Some(Ok((next, standing))) => {
                known.next = next;
                known.standing = standing
                    .into_iter()
                    .map(|event| ((event.kind, event.subject.clone()), event))
                    .collect();
            }
            Some(Err(_)) => known.damaged += 1,
        }
        known
    }

    /// Takes in the events of one file; files of one series come in order.
    fn take_in(&mut self, bytes: &[u8], origin: PeerKey, from: u64) {
        let read = read_file(bytes);
        self.damaged += read.damaged;
        for event in read.events {
            if event.origin != origin || event.sequence < from {
                continue;
            }
            if event.sequence >= self.next {
                self.next = event.sequence.saturating_add(1);
                self.newest_seconds = Some(event.time.seconds);
            }
            let key = (event.kind, event.subject.clone());
            match event.phase {
                Phase::Moment => {}
                Phase::Raise if self.standing.len() >= EVENTS_STANDING_MAX => {}
                Phase::Raise => drop(self.standing.insert(key, event)),
                Phase::Clear => drop(self.standing.remove(&key)),
            }
        }
    }

    fn end(mut self) -> Self {
        if self.damaged > 0 {
            // What does not read may have had higher numbers.
            self.next = self.next.saturating_add(LEAP);
        }
        self
    }
}

/// What stood when a service last wrote it down, from the bytes of the journal's files, for whoever looks while none runs.
#[must_use]
pub fn read_standing(
    origin: PeerKey,
    checkpoint: Option<&[u8]>,
    files: impl Fn(&str) -> Option<Vec<u8>>,
    names: &[String],
) -> Vec<Event> {
    let mut known = Known::begin(checkpoint.map(read_checkpoint));
    let from = known.next;
    for name in in_order(names) {
        if let Some(bytes) = files(&name.text()) {
            known.take_in(&bytes, origin, if from == 1 { 0 } else { from });
        }
    }
    let mut standing: Vec<Event> = known.standing.into_values().collect();
    standing.sort_by_key(|event| (std::cmp::Reverse(event.event_type), event.sequence));
    standing
}

fn read_checkpoint(bytes: &[u8]) -> Result<(u64, Vec<Event>), Malformed> {
    let (next, standing): (u64, Vec<Event>) = decode_file("standing conditions", bytes)?;
    Ok((next.max(1), standing))
}

fn in_order(names: &[String]) -> Vec<FileName> {
    let mut files: Vec<FileName> = names.iter().filter_map(|name| FileName::of(name)).collect();
    files.sort_unstable();
    files
}

/// The journal, open for writing.
pub(super) struct Journal<D: Disk> {
    disk: D,
    /// All but the active ones.
    closed: Vec<Kept>,
    active: [Option<Active>; 3],
}

impl<D: Disk> Journal<D> {
    pub(super) async fn open(disk: D, origin: PeerKey) -> std::io::Result<(Self, Known)> {
        disk.make_dir(JOURNAL_DIR).await?;
        let checkpoint = disk.read_small(STANDING_FILE).await?;
        let mut known = Known::begin(checkpoint.as_deref().map(read_checkpoint));
        let from = known.next;
        let mut closed = Vec::new();
        for name in in_order(&disk.list(JOURNAL_DIR).await?) {
            let Some(bytes) = disk.read_small(&path_of(name)).await? else {
                continue;
            };
            known.take_in(&bytes, origin, if from == 1 { 0 } else { from });
            // A file's name is a promise too: it holds an event of that number, even if it does not read.
            known.next = known.next.max(name.first.saturating_add(1));
            closed.push(Kept {
                name,
                bytes: bytes.len(),
            });
        }
        let journal = Self {
            disk,
            closed,
            active: [const { None }; 3],
        };
        Ok((journal, known.end()))
    }

    /// Puts events into the files they belong to, as many as there is room for before [`Journal::write`]; nothing is durable yet.
    pub(super) fn add(&mut self, events: &[Event]) -> usize {
        for (taken, event) in events.iter().enumerate() {
            let series = series_of(event);
            let place = &mut self.active[series as usize];
            if let Some(active) = place
                && active.bytes.len() + record_bytes(event) > EVENT_FILE_BYTES_MAX
            {
                if !active.is_written {
                    return taken;
                }
                self.closed.push(Kept {
                    name: active.name,
                    bytes: active.bytes.len(),
                });
                *place = None;
            }
            let first = event.sequence;
            let active = place.get_or_insert_with(|| Active {
                name: FileName { series, first },
                bytes: file_start(),
                is_written: true,
            });
            append(&mut active.bytes, event);
            active.is_written = false;
        }
        events.len()
    }

    /// Makes what was added durable: failures first. May be repeated after an error.
    pub(super) async fn write(&mut self) -> std::io::Result<()> {
        for active in self.active.iter_mut().rev().flatten() {
            if !active.is_written {
                self.disk
                    .replace_small(&path_of(active.name), &active.bytes, false)
                    .await?;
                active.is_written = true;
            }
        }
        Ok(())
    }

    /// Reads its files again. What does not read is left out of its file from then on, what stands is written down, and the files that
    /// are written to are written anew from memory. Gives how many records were lost, and files that differed.
    pub(super) async fn check(
        &mut self,
        checkpoint: impl Fn() -> (u64, Vec<Event>),
    ) -> std::io::Result<u64> {
        let mut damaged = 0;
        for active in self.active.iter_mut().flatten() {
            let there = self.disk.read_small(&path_of(active.name)).await;
            if active.is_written && !matches!(there, Ok(Some(bytes)) if bytes == active.bytes) {
                damaged += 1;
                active.is_written = false;
            }
        }
        let mut at = 0;
        let mut is_lost = false;
        while let Some(kept) = self.closed.get_mut(at) {
            let path = path_of(kept.name);
            let read = match self.disk.read_small(&path).await {
                Ok(Some(bytes)) => read_file(&bytes),
                Ok(None) => {
                    (is_lost, damaged) = (true, damaged + 1);
                    self.closed.remove(at);
                    continue;
                }
                // Perhaps it reads another time.
                Err(_) => {
                    (is_lost, damaged, at) = (true, damaged + 1, at + 1);
                    continue;
                }
            };
            at += 1;
            if read.damaged == 0 {
                continue;
            }
            (is_lost, damaged) = (true, damaged + read.damaged);
            let mut bytes = file_start();
            for event in &read.events {
                append(&mut bytes, event);
            }
            kept.bytes = bytes.len();
            self.disk.replace_small(&path, &bytes, false).await?;
        }
        let standing = self.disk.read_small(STANDING_FILE).await;
        let reads = standing.map(|bytes| bytes.is_none_or(|bytes| read_checkpoint(&bytes).is_ok()));
        let is_broken = !matches!(reads, Ok(true));
        if is_lost || is_broken {
            // What stands is known here; the next start must not take it from what is left.
            self.write_standing(&checkpoint).await?;
        }
        self.write().await?;
        Ok(damaged + u64::from(is_broken))
    }

    async fn write_standing(
        &self,
        checkpoint: &impl Fn() -> (u64, Vec<Event>),
    ) -> std::io::Result<()> {
        let bytes = encode_file(&checkpoint());
        self.disk.replace_small(STANDING_FILE, &bytes, false).await
    }

    /// Lets files go until the rest is within bounds. What stands is written down first.
    pub(super) async fn trim(
        &mut self,
        checkpoint: impl Fn() -> (u64, Vec<Event>),
    ) -> std::io::Result<()> {
        let active: Vec<Kept> = self
            .active
            .iter()
            .flatten()
            .map(|active| Kept {
                name: active.name,
                bytes: active.bytes.len(),
            })
            .collect();
        let mut is_written = false;
        loop {
            let all: Vec<Kept> = self.closed.iter().chain(&active).copied().collect();
            let Some(name) = victim(&all, JOURNAL_BYTES_MAX) else {
                return Ok(());
            };
            if !is_written {
                self.write_standing(&checkpoint).await?;
                is_written = true;
            }
            self.disk.remove(&path_of(name)).await?;
            self.closed.retain(|kept| kept.name != name);
        }
    }
}
