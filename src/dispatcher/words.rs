//! An event as a sentence for people. Pure; every window that shows words shows these.

use super::{Event, EventKind, FactName, Phase, Subject};
use crate::terms::PeerKey;

/// What people call a Box.
pub type Named<'a> = &'a dyn Fn(PeerKey) -> String;

/// The event in one sentence.
#[must_use]
pub fn words(event: &Event, named: Named<'_>) -> String {
    let Some(kind) = event.known() else {
        let code = event.kind;
        return format!("something of kind {code}, which this program is too old to know");
    };
    let is_over = event.phase == Phase::Clear;
    let subject = subject(event, named);
    let mut text = match (kind, is_over) {
        (EventKind::BoxJoined, _) => format!("{subject} was taken into the reserve"),
        (EventKind::BoxLeft, _) => format!("{subject} left the reserve"),
        (EventKind::BoxLost, _) => format!("{subject} was removed as lost"),
        (EventKind::BoxOutOfReach, false) => format!("{subject} is out of reach"),
        (EventKind::BoxOutOfReach, true) => format!("{subject} is back"),
        (EventKind::BoxRunsTwice, false) => format!("{subject} runs twice, on two machines"),
        (EventKind::BoxRunsTwice, true) => format!("{subject} runs on one machine again"),
        (EventKind::UnresolvedConflict, false) => format!(
            "{subject} has several newest snapshots{} and none of them stands: `reserve conflicts`",
            numbered(event)
        ),
        (EventKind::UnresolvedConflict, true) => {
            format!("it is decided which newest snapshot of {subject} stands")
        }
        (EventKind::HistoryParted, _) => {
            format!(
                "another snapshot{} of {subject} was found, and both are kept",
                numbered(event)
            )
        }
        (EventKind::SnapshotsLacking, false) => {
            format!("snapshots of {subject} lack parts that are on no Box: `reserve snapshots`")
        }
        (EventKind::SnapshotsLacking, true) => {
            format!("no snapshot of {subject} that is kept lacks anything any more")
        }
        (EventKind::SnapshotTaken, _) => format!("{subject} was taken"),
        (EventKind::SnapshotProtected, _) => format!("{subject} is protected"),
        (EventKind::NotProtected, false) => "the newest snapshot is NOT protected".into(),
        (EventKind::NotProtected, true) => "the newest snapshot is protected again".into(),
        (EventKind::SnapshotFailed, false) => "a snapshot could not be taken".into(),
        (EventKind::SnapshotFailed, true) => "snapshots are taken again".into(),
        (EventKind::FilesUnread, false) => "some files could not be read".into(),
        (EventKind::FilesUnread, true) => "all files could be read again".into(),
        (EventKind::LossPending, false) => {
            "much was gone or rewritten: the newest snapshot waits for a person".into()
        }
        (EventKind::LossPending, true) => "no snapshot waits for a person any more".into(),
        (EventKind::DataSetMissing, false) => format!("{subject} is not where it should be"),
        (EventKind::DataSetMissing, true) => format!("{subject} is there again"),
        (EventKind::FitWarning, false) => "what is new will not fit on enough Boxes".into(),
        (EventKind::FitWarning, true) => "what is new fits on enough Boxes again".into(),
        (EventKind::FilesRotten, false) => {
            format!("the disk of this Box damaged files of {subject}; their good versions are kept")
        }
        (EventKind::FilesRotten, true) => format!("no file of {subject} is damaged any more"),
        (EventKind::ReleaseHeld, false) => "old snapshots cannot be let go".into(),
        (EventKind::ReleaseHeld, true) => "old snapshots can be let go again".into(),
        (EventKind::SnapshotCancelled, _) => "a snapshot was cancelled".into(),
        (EventKind::DiskFull, false) => format!("the disk of {subject} is full"),
        (EventKind::DiskFull, true) => format!("there is room on the disk of {subject} again"),
        (EventKind::TableFull, false) => format!("the chunk table of {subject} is full"),
        (EventKind::TableFull, true) => {
            format!("there is room in the chunk table of {subject} again")
        }
        (EventKind::QuotaReached, false) => format!("the quota at {subject} is used up"),
        (EventKind::QuotaReached, true) => format!("there is room in the quota at {subject} again"),
        (EventKind::DiskFailed, false) => format!("the disk of {subject} fails"),
        (EventKind::DiskFailed, true) => format!("the disk of {subject} works again"),
        (EventKind::ChunkDamaged, false) => format!("{subject} is damaged"),
        (EventKind::ChunkDamaged, true) => format!("no damage of {subject} is left"),
        (EventKind::StoreLost, false) => format!("the store of {subject} is not where it was"),
        (EventKind::StoreLost, true) => format!("{subject} has its store again"),
        (EventKind::StoreDamaged, false) => format!("parts of the store of {subject} are damaged"),
        (EventKind::StoreDamaged, true) => {
            format!("nothing in the store of {subject} is damaged any more")
        }
        (EventKind::CopiesBelowFactor, false) => {
            "there are fewer copies than there should be".into()
        }
        (EventKind::CopiesBelowFactor, true) => {
            "there are as many copies as there should be again".into()
        }
        (EventKind::DiskNearlyFull, false) => format!("the disk of {subject} is nearly full"),
        (EventKind::DiskNearlyFull, true) => {
            format!("there is plenty of room on the disk of {subject} again")
        }
        (EventKind::TableNearlyFull, false) => {
            format!("the chunk table of {subject} is nearly full")
        }
        (EventKind::TableNearlyFull, true) => {
            format!("there is plenty of room in the chunk table of {subject} again")
        }
        (EventKind::QuotaNearlyReached, false) => {
            format!("the quota at {subject} is nearly used up")
        }
        (EventKind::QuotaNearlyReached, true) => {
            format!("there is plenty of room in the quota at {subject} again")
        }
        (EventKind::AuthorAtQuota, false) => {
            format!("{subject} has used up its quota on this Box")
        }
        (EventKind::AuthorAtQuota, true) => {
            format!("{subject} has room in its quota on this Box again")
        }
        (EventKind::AuthorNearQuota, false) => {
            format!("{subject} has nearly used up its quota on this Box")
        }
        (EventKind::AuthorNearQuota, true) => {
            format!("{subject} has plenty of room in its quota on this Box again")
        }
        (EventKind::ReleasePending, false) => {
            format!(
                "{subject} gives up what no rule lets go, or much of what this Box keeps for it"
            )
        }
        (EventKind::ReleasePending | EventKind::ReleaseWaiting, true) => {
            format!("{subject} gives up nothing on this Box any more")
        }
        (EventKind::ReleaseWaiting, false) => {
            format!("{subject} gives up what its rule lets go")
        }
        (EventKind::SpaceReleased, _) => {
            format!("what {subject} gave up is gone from this Box")
        }
        (EventKind::RetrievalDone, _) => "a retrieval is done".into(),
        (EventKind::RetrievalIncomplete, _) => "a retrieval is NOT complete".into(),
        (EventKind::ConfigurationChanged, _) => "the configuration changed".into(),
        (EventKind::EditDropped, _) => {
            "a setting was changed on two Boxes apart, and one change was dropped".into()
        }
        (EventKind::ServiceRuns, false) => "the service started".into(),
        (EventKind::ServiceRuns, true) => "the service ended in good order".into(),
        (EventKind::StoppedUncleanly, _) => {
            "the service's last run did not end in good order".into()
        }
        (EventKind::ClockJumped, _) => "the clock jumped".into(),
        (EventKind::EventsDropped, _) => "more happened than could be written down".into(),
        (EventKind::JournalDamaged, _) => "parts of the journal of events do not read".into(),
        (EventKind::StateRepaired, _) => {
            "a file of this Box's own did not read and was written again".into()
        }
    };
    let facts = facts(event);
    if !facts.is_empty() {
        text.push_str(&format!(" ({facts})"));
    }
    text
}

fn numbered(event: &Event) -> String {
    let number = event.number(FactName::Number);
    number.map_or_else(String::new, |number| format!(" of number {number}"))
}

fn subject(event: &Event, named: Named<'_>) -> String {
    match &event.subject {
        Subject::Itself => "this Box".into(),
        Subject::Peer(peer) => named(*peer),
        Subject::DataSet(name) => format!("data set {name}"),
        Subject::Snapshot(number) => format!("snapshot {number}"),
        Subject::Chunk(id) => format!("chunk {}", id.short()),
        Subject::Reserve => "the reserve".into(),
    }
}

/// What else is known, in the order of the record.
fn facts(event: &Event) -> String {
    let mut said: Vec<String> = Vec::new();
    let number = |name| event.number(name);
    if let Some(author) = event.text(FactName::Author) {
        said.push(format!("of {author}"));
    }
    if let Some(setting) = event.text(FactName::Setting) {
        said.push(setting.to_owned());
    }
    if let (Some(before), Some(now)) = (event.text(FactName::Before), event.text(FactName::Now)) {
        said.push(format!("from {before} to {now}"));
    }
    if let Some(by) = event.text(FactName::By) {
        said.push(format!("by {by}"));
    }
    if let (Some(now), Some(dropped)) = (event.text(FactName::Now), event.text(FactName::Dropped)) {
        let by = event.text(FactName::DroppedBy).unwrap_or("another Box");
        said.push(format!("{now} stands, {dropped} of {by} does not"));
    }
    if let Some(copies) = number(FactName::Copies) {
        let of = match (number(FactName::FactorMin), number(FactName::Factor)) {
            (Some(least), _) => format!(", {least} at least"),
            (None, Some(factor)) => format!(" of {factor}"),
            (None, None) => String::new(),
        };
        let s = if copies == 1 { "copy" } else { "copies" };
        said.push(format!("{copies} {s} on other Boxes{of}"));
    }
    match (number(FactName::Count), number(FactName::CountMax)) {
        (Some(count), Some(most)) => said.push(format!("{count} of {most}")),
        (Some(count), None) => said.push(count.to_string()),
        (None, _) => {}
    }
    if let Some(files) = number(FactName::Files) {
        let s = if files == 1 { "" } else { "s" };
        said.push(format!("{files} file{s}"));
    }
    let size = |bytes| humansize::format_size(bytes, humansize::BINARY);
    match (number(FactName::Bytes), number(FactName::BytesMax)) {
        (Some(bytes), Some(most)) => said.push(format!("{} of {}", size(bytes), size(most))),
        (Some(bytes), None) => said.push(size(bytes)),
        (None, _) => {}
    }
    if let Some(room) = number(FactName::RoomBytes) {
        said.push(format!("room for {} more", size(room)));
    }
    if let Some(seconds) = number(FactName::SecondsAhead) {
        said.push(format!("{seconds} seconds ahead"));
    }
    if let Some(seconds) = number(FactName::SecondsBehind) {
        said.push(format!("{seconds} seconds back"));
    }
    if let Some(path) = event.text(FactName::Path) {
        said.push(path.to_owned());
    }
    if let Some(version) = event.text(FactName::Version) {
        said.push(format!("version {version}"));
    }
    if let Some(reason) = event.text(FactName::Reason) {
        said.push(reason.to_owned());
    }
    said.join("; ")
}
