//! Jobs as the control protocol shows them, and what came of them.

use serde::{Deserialize, Serialize};

use super::{ForgetView, RemovedView, SnapshotView, SweepView};
use crate::console::fault::Fault;

/// Long work of the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its number; counts from the start of the keeper.
    pub id: u64,
    /// What it does: `snapshot`, `sweep`, `remove` or `forget`.
    pub what: String,
    /// The Box it is about, if it is about one.
    #[serde(default)]
    pub subject: Option<String>,
    /// Where it stands.
    pub state: JobState,
    /// How far it is.
    pub progress: ProgressView,
    /// Whether it can still be ended.
    #[serde(default)]
    pub can_be_cancelled: bool,
    /// What came of it, if it is done.
    pub outcome: Option<JobOutcome>,
    /// Why nothing came of it, if it failed or was cancelled.
    pub fault: Option<Fault>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for its turn.
    Waiting,
    /// It is at work.
    Running,
    /// It did what it was for.
    Done,
    /// It could not.
    Failed,
    /// A person ended it.
    Cancelled,
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum JobOutcome {
    /// A snapshot was taken.
    Snapshot(Box<SnapshotOutcome>),
    /// Everything was read again.
    Sweep(SweepView),
    /// A Box is out.
    Removed(RemovedView),
    /// Snapshots leave, or would.
    Forgotten(ForgetView),
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProgressView {
    /// What it does now, as a person would say it.
    pub phase: String,
    /// Files seen.
    pub files: u64,
    /// Of so many, as far as is known: never less than were seen.
    #[serde(default)]
    pub files_total: Option<u64>,
    /// Bytes of files seen.
    pub bytes: u64,
    /// Bytes read: of a snapshot, because they were new or changed.
    pub bytes_read: u64,
    /// Bytes that are to be read in all, as far as is known: never less than were read.
    #[serde(default)]
    pub bytes_total: Option<u64>,
    /// Sealed bytes sent, all keepers together.
    pub bytes_sent: u64,
    /// Where it is.
    pub path: String,
    /// What is counted instead of bytes, where that tells how far it is.
    #[serde(default)]
    pub counted: Option<Counted>,
}

/// So many of so many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Of what, as a person would say it.
    pub what: String,
    /// Done.
    pub done: u64,
    /// There are to be, as far as is known: never less than are done.
    pub total: Option<u64>,
}

/// A snapshot job's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotOutcome {
    /// The snapshot.
    pub snapshot: SnapshotView,
    /// Whether at least the minimum number of other Boxes confirmed all of it.
    pub protected: bool,
    /// Other Boxes that hold each chunk, at least.
    pub copies: u32,
    /// Below this nothing is called protected.
    pub factor_min: u32,
    /// Files read, since they were new or changed.
    pub files_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Sealed bytes that keepers were sent and acknowledged, all together.
    pub bytes_sent: u64,
    /// Chunks that some keeper did not have and was sent.
    pub chunks_new: u64,
    /// Their sealed bytes: what the snapshot added.
    pub bytes_new: u64,
    /// Chunks made, whether keepers had them or not.
    pub chunks_sealed: u64,
    /// Their sealed bytes.
    pub bytes_sealed: u64,
    /// Whether nothing had changed, so that the snapshot is the one that was there before.
    pub unchanged: bool,
    /// Data sets that are in it as they were before, since they are not where they were: name and reason.
    pub held: Vec<(String, String)>,
    /// What a person should know before it happens.
    pub warnings: Vec<String>,
    /// Databases that were recognised and read so that they open.
    pub databases: u64,
    /// What could not be read or changed meanwhile: path and reason, bounded.
    pub unread: Vec<(String, String)>,
    /// How many.
    pub unread_count: u64,
    /// Sockets and the like, left out on purpose.
    pub skipped: u64,
    /// What each keeper confirmed.
    pub keepers: Vec<KeeperShare>,
}

impl SnapshotOutcome {
    /// Whether a person may sleep: all of it has its copies, and all of it is there.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.protected && self.unread_count == 0 && self.snapshot.accepted
    }
}

/// What a keeper confirmed of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperShare {
    /// The Box.
    pub name: String,
    /// Chunks placed there.
    pub needed: u64,
    /// Chunks it confirmed.
    pub confirmed: u64,
    /// Chunks it was sent and acknowledged.
    pub sent_chunks: u64,
    /// Their sealed bytes.
    pub sent_bytes: u64,
    /// Why it refused some, if it did.
    pub refused: Option<String>,
}
