//! The control protocol: versioned JSON, one document a line, over the Box's control socket.
//!
//! A command sends one [`Call`]; the service answers with [`Reply`] lines. Long work is a job that survives the command
//! that started it. After `Retrieve` is answered the connection carries chunk requests and plaintext in binary
//! ([`FETCH_BYTES`], [`CHUNK_HEADER_BYTES`]), since a JSON line is no place for a video.

use serde::{Deserialize, Serialize};

use super::cli::{Guests, Since};
use super::event_view::EventView;
use super::fault::Fault;

mod conflicts;
mod fetch;
mod forgetting;
mod jobs;
mod keeping;

pub use conflicts::{ConflictView, OpenConflict, SideSet, SideView};
pub use fetch::{CHUNK_HEADER_BYTES, Ended, FETCH_BYTES, Fetch, chunk_header, read_chunk_header};
pub use forgetting::{
    ForgetCall, ForgetShare, ForgetView, LeavingSnapshot, StayingSnapshot, WaitingView,
};
pub use jobs::{
    Counted, JobOutcome, JobState, JobView, KeeperShare, ProgressView, SnapshotOutcome,
};
pub use keeping::{CopiesView, RoomView, StoreView, SweepView};

/// The protocol's version.
pub const VERSION: u32 = 2;
/// The longest line either side accepts.
pub const LINE_BYTES_MAX: u64 = 8 << 20;
/// The socket's name in the state directory.
pub const SOCKET: &str = "control.sock";

/// What a command sends.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    /// [`VERSION`].
    pub v: u32,
    /// What is wanted.
    pub want: Want,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Want {
    /// A ticket.
    Invite {},
    /// Start a snapshot, or follow the one that is about to start.
    Snapshot {
        /// Accept that much is gone or rewritten.
        accept_loss: bool,
        /// Begin even if it looks as if there were no room for it.
        #[serde(default)]
        try_anyway: bool,
    },
    /// Jobs, oldest first.
    Jobs {},
    /// End a job that is not done yet.
    Cancel {
        /// Which.
        job: u64,
    },
    /// Follow a job until its end; a snapshot until it is protected, or cannot be.
    Follow {
        /// Which.
        job: u64,
    },
    /// What can be retrieved.
    Snapshots {},
    /// One screen.
    Status {},
    /// The Boxes.
    Peers {},
    /// What happened.
    Events {
        /// Only after this one.
        since: Option<Since>,
        /// Go on with what happens.
        follow: bool,
    },
    /// Change a setting all Boxes share.
    SetConfig {
        /// Which.
        key: String,
        /// The new value.
        value: String,
    },
    /// Remove a Box, or follow its removal; the job, progress, then the end. Goes on when nobody follows.
    Remove(Removal),
    /// Snapshots that bear one number.
    Conflicts {},
    /// Decide which of them stands.
    Choose {
        /// The start of its id.
        id: String,
    },
    /// Read everything this Box keeps again now; the job, progress, then the end.
    Sweep {},
    /// Have snapshots leave history, say which would, or take it back; the job, progress, then the end.
    Forget(ForgetCall),
    /// A manifest, then chunks.
    Retrieve {
        /// A Box's name or key.
        author: Option<String>,
        /// `latest`, a number, the start of an id, or `@SECONDS`: the newest taken at or before that moment (seconds since 1970).
        snapshot: String,
    },
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It was not done.
    Fault(Fault),
    /// The ticket.
    Ticket(TicketView),
    /// The job that works on it.
    Job {
        /// Its number.
        id: u64,
    },
    /// Jobs, oldest first.
    Jobs(Vec<JobView>),
    /// How far a job is.
    Progress(ProgressView),
    /// A snapshot job's end.
    Snapshot(SnapshotOutcome),
    /// What can be retrieved.
    Snapshots(SnapshotsView),
    /// One screen.
    Status(Box<StatusView>),
    /// The Boxes.
    Peers(Vec<PeerView>),
    /// Something that happened.
    Event(Box<EventView>),
    /// That was all.
    NoMore {},
    /// Snapshots that bear one number.
    Conflicts(Vec<ConflictView>),
    /// The end of a sweep.
    Sweep(SweepView),
    /// What leaves, or would.
    Forgotten(ForgetView),
    /// What is about to be retrieved; binary follows.
    Retrieve(RetrieveView),
    /// No author was named, and these have snapshots: one has to be chosen.
    Authors(Vec<String>),
    /// A setting that was changed.
    Changed(ChangeView),
    /// A removal's end.
    Removed(RemovedView),
}

/// A setting that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// Which.
    pub key: String,
    /// As it was.
    pub before: String,
    /// As it is.
    pub now: String,
    /// What it counts.
    pub unit: String,
    /// Whether that is as usual.
    pub is_default: bool,
}

/// What is asked of a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// A Box's name.
    pub name: String,
    /// Shut out at once.
    pub lost: bool,
    /// Even if last copies are lost.
    pub forced: bool,
    /// Even if it is the Box that is asked.
    pub this_box: bool,
    /// What becomes of those a lost Box brought in; nothing is done while nobody said so.
    pub guests: Option<Guests>,
}

/// A removal's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedView {
    /// The Box that is out.
    pub name: String,
    /// Whether as lost.
    pub lost: bool,
    /// Snapshots looked at, once for each keeper.
    pub snapshots: u64,
    /// Chunks confirmed on those who remain.
    pub chunks: u64,
    /// The key epoch in force now.
    pub epoch: u32,
    /// Whether that is a new one.
    pub epoch_begun: bool,
    /// Boxes it had brought in that were shut out with it.
    pub also: Vec<String>,
}

/// Copies being made again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MendingView {
    /// Whose snapshots.
    pub author: String,
    /// Which keeper is asked.
    pub keeper: String,
    /// Which snapshot.
    pub number: u64,
    /// Snapshots looked at in this pass.
    pub snapshots: u64,
    /// Of so many that are to be, as far as is known.
    #[serde(default)]
    pub snapshots_total: Option<u64>,
    /// Chunks confirmed in this pass.
    pub chunks: u64,
}

/// A former Box whose snapshots are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerView {
    /// Its name.
    pub name: String,
    /// Whether it was lost.
    pub is_lost: bool,
    /// The number of its newest snapshot.
    pub newest: u64,
    /// Which Box sees to its copies.
    pub looked_after_by: Option<String>,
    /// Boxes that confirmed each chunk of all its snapshots, at least; known where they are looked after.
    pub copies: Option<u64>,
    /// How many should.
    pub factor: u32,
}

/// A ticket and how long it is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketView {
    /// One line of text.
    pub ticket: String,
    /// Seconds from now.
    pub seconds: u64,
}

/// A snapshot as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotView {
    /// The start of its head's hash, enough to tell it apart.
    pub id: String,
    /// Its author's name.
    pub author: String,
    /// Its author's key.
    pub author_key: String,
    /// Its place in the author's history.
    pub number: u64,
    /// What the author's clock said, RFC 3339 in UTC.
    pub taken: String,
    /// The same, seconds since 1970.
    pub taken_seconds: i64,
    /// Chunks in its closure.
    pub chunks: u64,
    /// Their sealed bytes.
    pub sealed_bytes: u64,
    /// Names of the Boxes in reach that have its head.
    pub held_by: Vec<String>,
    /// Whether `latest` may mean it.
    pub accepted: bool,
    /// In lists: whether parts of it are on no Box any more, as far as this Box sees to its copies. What is left can be retrieved.
    #[serde(default)]
    pub is_lacking: bool,
    /// In lists: why the rule of retention keeps it; none if the rule has no reason to: then it leaves.
    pub kept_by: Option<String>,
    /// In lists: whether it was let go, and can be retrieved until it is gone.
    #[serde(default)]
    pub is_leaving: bool,
    /// Seconds of its running time until the first keeper lets it go, at the earliest, as far as that is known.
    #[serde(default)]
    pub gone_in_seconds: Option<u64>,
    /// Its data sets; none if its manifest was not looked into, or could not be had soon.
    #[serde(default)]
    pub data_sets: Option<Vec<DataSetView>>,
}

/// A data set in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSetView {
    /// Its name.
    pub name: String,
    /// Regular files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What may be expected of it when it comes back: `application`, `crash` or `best effort`.
    pub consistency: String,
    /// Things that are not, or not surely, in it as they were on the disk.
    pub unread_count: u64,
    /// The first of them, path and why; none in lists.
    #[serde(default)]
    pub unread: Vec<(String, String)>,
}

/// What can be retrieved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotsView {
    /// Newest first.
    pub snapshots: Vec<SnapshotView>,
    /// Boxes that could not be reached or did not answer: they may know more.
    pub not_asked: Vec<String>,
}

/// A Box as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: String,
    /// Where it stands.
    pub site: String,
    /// Where it can be reached.
    pub addresses: Vec<String>,
    /// This Box itself.
    pub is_me: bool,
    /// A session with it is alive (of this Box itself: the keeper runs).
    pub connected: bool,
    /// Its program's version, while connected.
    pub version: Option<String>,
    /// What it keeps for this Box, when it was asked last.
    pub room: Option<RoomView>,
    /// Bytes this Box keeps for it.
    pub kept_bytes: u64,
}

/// One screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// The answer in one sentence.
    pub sentence: String,
    /// What to do, if something is to be done.
    pub todo: String,
    /// Whether all files of the newest snapshot are protected.
    pub safe: bool,
    /// This Box's name.
    pub name: String,
    /// Whether this comes from a running keeper.
    pub running: bool,
    /// The newest snapshot of this Box.
    pub latest: Option<SnapshotView>,
    /// When it was last found to be what is on this Box, seconds since 1970: its time, or that of a later look that
    /// found nothing new.
    pub up_to_date_seconds: Option<i64>,
    /// Other Boxes that hold each of its chunks, at least.
    pub copies: u32,
    /// How many should.
    pub factor: u32,
    /// Below this nothing is called protected.
    pub factor_min: u32,
    /// Since when it is as it is, seconds since 1970.
    pub since_seconds: Option<i64>,
    /// When keepers last confirmed it, seconds since 1970.
    pub proven_seconds: Option<i64>,
    /// Data sets of this Box: name and path.
    pub data: Vec<(String, String)>,
    /// The Boxes.
    pub peers: Vec<PeerView>,
    /// What this Box keeps for the others.
    pub store: Option<StoreView>,
    /// Memory of the service in bytes: now, and at most since its start.
    pub memory_bytes: Option<(u64, u64)>,
    /// The job that runs, if one does.
    pub job: Option<ProgressView>,
    /// Why the last snapshot of this run of the keeper failed, if it did.
    pub last_failure: Option<String>,
    /// Things the last snapshot could not read.
    pub unread_count: u64,
    /// Warnings and failures that stand, what matters most first.
    pub standing: Vec<EventView>,
    /// Copies being made again now.
    #[serde(default)]
    pub mending: Option<MendingView>,
    /// When keepers last had to hold more, since a Box went or more copies are wanted; seconds since 1970.
    #[serde(default)]
    pub mending_since_seconds: Option<i64>,
    /// Former Boxes whose snapshots are kept.
    #[serde(default)]
    pub former: Vec<FormerView>,
    /// What this Box let go, as it waits at each keeper in reach.
    #[serde(default)]
    pub released: Vec<WaitingView>,
    /// Authors whose newest snapshots are in conflict.
    #[serde(default)]
    pub conflicts: Vec<OpenConflict>,
}

/// What is about to be retrieved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrieveView {
    /// The snapshot.
    pub snapshot: SnapshotView,
    /// The encoded manifest, hexadecimal.
    pub manifest: String,
    /// Boxes that could not be asked: they may know a newer snapshot.
    pub not_asked: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_one_line_of_json() {
        let call = Call {
            v: VERSION,
            want: Want::Retrieve {
                author: None,
                snapshot: "latest".into(),
            },
        };
        let line = serde_json::to_string(&call).expect("plain data");
        assert!(!line.contains('\n'));
        assert!(serde_json::from_str::<Call>(&line).is_ok_and(|back| back.want == call.want));
        assert!(serde_json::from_str::<Call>(r#"{"v":1,"want":{"explode":{}}}"#).is_err());
    }
}
