//! Snapshots that bear one number, as the control protocol shows them.

use serde::{Deserialize, Serialize};

use super::SnapshotView;

/// An author whose newest snapshots are in conflict: nothing stands for `latest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConflict {
    /// The author's name.
    pub author: String,
    /// The number its newest snapshots bear.
    pub number: u64,
}

/// Two or more histories of one author.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictView {
    /// The author's name.
    pub author: String,
    /// The author's key.
    pub author_key: String,
    /// The first number that more than one snapshot bears.
    pub from: u64,
    /// The last.
    pub until: u64,
    /// Whether a person has to choose.
    pub open: bool,
    /// The name of the Box on which a person last chose between snapshots of this author, if one did.
    pub chosen_on: Option<String>,
    /// Each history by its last snapshot, newest first.
    pub sides: Vec<SideView>,
    /// While a person has to choose: the id of the newest accepted snapshot that all sides have in common.
    pub undisputed: Option<String>,
    /// The rule, in one sentence.
    pub reason: String,
}

/// One side of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideView {
    /// Its last snapshot.
    pub snapshot: SnapshotView,
    /// `stands`, `open`, `not_chosen`, `waits` or `aside`.
    pub stance: String,
    /// What it holds; none if its manifest cannot be had now.
    pub data_sets: Option<Vec<SideSet>>,
    /// Other Boxes in reach that have each of its chunks, at least; none if that could not be counted.
    pub copies: Option<u64>,
}

/// A data set of one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideSet {
    /// Its name.
    pub name: String,
    /// Its regular files.
    pub files: u64,
    /// Their lengths.
    pub bytes: u64,
    /// Whether all sides have it exactly alike; none if that is not known of all.
    pub alike: Option<bool>,
}
