//! Where data leaves: find out what a snapshot holds, gather its chunks, restore usable files.
//!
//! Two halves meet at [`Source`]. [`Gather`] and [`Heads`] run in the keeper process, which holds the data keys;
//! [`retrieve`] runs in the process of the person who asked, with that person's rights and no key at all.
//! Nothing half-written ever stands under a final name, and one lost chunk costs one file, not the rest.

mod cursor;
mod differ;
mod files;
mod gather;
mod heads;
mod kinds;
mod large;
mod links;
mod look;
mod on_disk;
mod packs;
mod parts;
mod plan;
mod present;
mod rebuild;
mod report;
mod restore;
mod room;
mod selection;
mod standing;
mod together;
mod unfinished;

#[cfg(test)]
mod differ_tests;
#[cfg(test)]
mod gather_tests;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod restore_tests;

use crate::format::head::{Head, Manifest};
use crate::format::message::Refusal;
use crate::format::record::OpenError;
use crate::terms::{ChunkId, Kind, PeerKey};

pub use differ::{Changes, DiffTotals, Difference, diff};
pub use gather::Gather;
pub use heads::{Collected, Heads, Held};
pub use look::{Look, LookEnd, Seen, look};
pub use on_disk::{DiskKind, DiskThing, OnDisk, diff_with};
pub use report::{Differs, Progress, ProgressView, RetrieveError, RetrieveReport, Told, Total};
pub use restore::{Request, retrieve};
pub use selection::{BadSelection, Selection};

/// Where a restore gets the plaintext of chunks.
///
/// Fetches may run at the same time. The caller bounds how many are in flight and so how much memory answers take
/// (see `RESTORE_WINDOW_KIB` in `files.rs`); [`Gather`] has a bound of its own besides, because it serves several callers.
#[allow(async_fn_in_trait)] // one thread: no Send bounds are wanted
pub trait Source: Clone + 'static {
    /// The plaintext of a chunk, which is of this kind and belongs to this name: the source has verified both.
    async fn fetch(&self, id: ChunkId, kind: Kind) -> Result<Vec<u8>, FetchError>;

    /// Takes the memory of an answer back, to use it again where that saves something.
    fn give_back(&self, memory: Vec<u8>) {
        drop(memory);
    }
}

/// Why the plaintext of a chunk could not be had. Nothing is changed by finding out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nobody who answered has it.
    #[error("chunk {} is on no Box that answered ({}); bring the other Boxes online and retrieve again", .id.short(), told(.asked))]
    Nowhere {
        /// Which chunk.
        id: ChunkId,
        /// What came of asking each member; at most `MEMBERS_MAX`.
        asked: Vec<(PeerKey, Outcome)>,
    },
    /// The bytes are right, but do not open: no other keeper could help.
    #[error("chunk {} cannot be read: {why}", .id.short())]
    Closed {
        /// Which chunk.
        id: ChunkId,
        /// Why.
        why: OpenError,
    },
    /// The index says one kind, the chunk is another.
    #[error("chunk {} holds a {found:?}, but a {wanted:?} was expected there; the snapshot's index is wrong", .id.short())]
    OtherKind {
        /// Which chunk.
        id: ChunkId,
        /// What the index says.
        wanted: Kind,
        /// What it is.
        found: Kind,
    },
    /// The keeper process said why, in words (the error crossed the control socket).
    #[error("{0}")]
    Told(String),
    /// The source itself is gone: no further fetch can succeed.
    #[error("the keeper process on this Box ended: {0}; start it and retrieve again")]
    Ended(String),
}

/// What came of asking one member for a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It said that it does not have it, or not whole.
    Absent,
    /// There is no session with it.
    NotReachable,
    /// It said no.
    Refused(Refusal),
    /// The session ended before the answer.
    Gone,
    /// It answered with other bytes.
    Wrong,
    /// It did not answer in time.
    Silent,
}

fn told(asked: &[(PeerKey, Outcome)]) -> String {
    let count = |wanted: fn(&Outcome) -> bool| asked.iter().filter(|(_, o)| wanted(o)).count();
    let absent = count(|outcome| matches!(outcome, Outcome::Absent));
    let away = count(|outcome| matches!(outcome, Outcome::NotReachable | Outcome::Gone));
    let wrong = count(|outcome| matches!(outcome, Outcome::Wrong));
    let other = asked.len() - absent - away - wrong;
    format!(
        "{absent} do not have it, {away} cannot be reached, {wrong} sent wrong bytes, {other} refused or did not answer"
    )
}

/// Fetches and reads the manifest that a head names.
pub async fn manifest_of<S: Source>(source: &S, head: &Head) -> Result<Manifest, RetrieveError> {
    let bytes = source
        .fetch(head.manifest, Kind::Manifest)
        .await
        .map_err(RetrieveError::NoManifest)?;
    let manifest = Manifest::decode(&bytes).map_err(RetrieveError::index)?;
    if manifest.author != head.author || manifest.number != head.number {
        return Err(RetrieveError::wrong_index(
            "its manifest belongs to another snapshot",
        ));
    }
    Ok(manifest)
}
