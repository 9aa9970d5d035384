//! Why there is no snapshot, for people.

use smol_str::SmolStr;

use super::replicate::NobodyKeeps;
use super::seal::SealError;
use crate::format::message::Refusal;
use crate::keeper::AskError;
use crate::terms::limits::DATA_SETS_MAX;

/// Why there is no snapshot. Whatever it says, earlier snapshots are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Nothing to protect.
    #[error("this Box has no data sets; name some with `reserve data add NAME=PATH`")]
    NoDataSets,
    /// The list of data sets is impossible.
    #[error(
        "there are two data sets of one name, or more than {DATA_SETS_MAX}; correct the list of data sets"
    )]
    BadDataSets,
    /// Nobody to protect it.
    #[error("there is no other Box in this reserve yet; take one in with `reserve invite`")]
    NoOtherBox,
    /// A data set is not there.
    #[error(
        "data set {name} was not taken: {reason}; the snapshot that was there before stays the newest; see that its disk is \
         connected; if it is right as it is, `reserve snapshot --accept-loss`, or remove it with `reserve data remove {name}`"
    )]
    DataSetMissing {
        /// Which.
        name: SmolStr,
        /// Why.
        reason: String,
    },
    /// This Box's own small files.
    #[error(
        "this Box's own state could not be read or written ({0}); no snapshot was taken; look at `reserve doctor`"
    )]
    State(#[from] std::io::Error),
    /// What this Box kept of the previous index breaks off; the snapshot is begun again without it.
    #[error(
        "this Box's own index of the previous snapshot is damaged; what keepers have is unchanged; take the snapshot again"
    )]
    ShelfBroken,
    /// Bad memory.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Every keeper of a chunk refused it.
    #[error(
        "no keeper took a chunk ({0}); the snapshot was not published; look at `reserve status` on the keepers: at their room, and at their disks"
    )]
    NobodyKeeps(Refusal),
    /// It would not fit.
    #[error(
        "{0}: too few are left for the copies you want at least; no snapshot was taken and earlier ones are unchanged; make \
         room there, or try with `reserve snapshot --try-anyway` (copies of what is known take no room)"
    )]
    NoRoom(String),
    /// Chunks vanish as fast as they are made.
    #[error(
        "chunks of this snapshot vanished from all keepers while it was taken, three times; it was not published; sweep the \
         keepers with `reserve sweep --now`"
    )]
    Vanishing,
    /// All chunks are safe, but nobody takes the head.
    #[error(
        "all chunks are on keepers, but none took the snapshot's head ({0}); it was not published; take it again"
    )]
    Unpublished(AskError),
}

impl From<NobodyKeeps> for SnapshotError {
    fn from(NobodyKeeps(refusal): NobodyKeeps) -> Self {
        Self::NobodyKeeps(refusal)
    }
}
