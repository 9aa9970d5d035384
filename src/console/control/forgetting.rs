//! What the control protocol says of snapshots that leave history.

use serde::{Deserialize, Serialize};

/// What is to be let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetCall {
    /// Numbers, or starts of IDs; none with `by_rule`: what no snapshot needs.
    pub snapshots: Vec<String>,
    /// Those the rule of retention has no reason to keep.
    pub by_rule: bool,
    /// Do it; without it say what would be done.
    pub yes: bool,
    /// Take back what is not effective yet instead.
    pub undo: bool,
}

/// What leaves, or would.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ForgetView {
    /// Whether keepers were told.
    pub carried_out: bool,
    /// Whether it was taken back.
    pub undone: bool,
    /// Snapshots that leave, oldest first.
    pub leaving: Vec<LeavingSnapshot>,
    /// Snapshots that were named and stay.
    pub staying: Vec<StayingSnapshot>,
    /// What each keeper holds that nobody needs then.
    pub keepers: Vec<ForgetShare>,
    /// Days a keeper lets pass, of its own running time.
    pub delay_days: u16,
}

/// A snapshot that leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingSnapshot {
    /// Its ID.
    pub id: String,
    /// Its number.
    pub number: u64,
    /// When it was taken, RFC 3339 in UTC.
    pub taken: String,
    /// The same, seconds since 1970.
    pub taken_seconds: i64,
}

/// A snapshot that was named and stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StayingSnapshot {
    /// Its ID.
    pub id: String,
    /// Its number.
    pub number: u64,
    /// Why.
    pub why: String,
}

/// What one keeper holds that is not needed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ForgetShare {
    /// The Box.
    pub keeper: String,
    /// Whether it answered to the end.
    pub is_told: bool,
    /// Snapshots of which it is told that they leave.
    pub snapshots: u64,
    /// Chunks that are not needed.
    pub chunks: u64,
    /// Bytes of their records. What another author needs too stays all the same.
    pub bytes: u64,
    /// Chunks that wait there by now, those told before included.
    pub waiting_chunks: u64,
    /// Bytes of their records.
    pub waiting_bytes: u64,
    /// Seconds of its running time until what waits there is gone, at the earliest.
    pub effective_seconds: Option<u64>,
    /// Why it was not told, or what became of what waited there.
    pub why: Option<String>,
}

/// What waits at a keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingView {
    /// The Box.
    pub keeper: String,
    /// Snapshots of this Box that leave there.
    pub snapshots: u64,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Seconds of its running time until they are gone, at the earliest.
    pub effective_seconds: u64,
}
