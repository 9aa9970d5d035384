//! Why the store did not do what it was asked, and what that means to the one who asked.

use std::io;

use crate::format::Malformed;
use crate::format::message::Refusal;
use crate::terms::StoreId;

/// Why the store did not do what it was asked. Nothing it held before is affected by any of these.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The bytes are not what their name says.
    #[error("what arrived is not what its name says; it was not kept; send it again")]
    Damaged,
    /// The bytes are no record at all: empty, or longer than a record may be.
    #[error("what arrived is empty or longer than a record may be; it was not kept")]
    NoRecord,
    /// The chunk table, or one of the lists beside it, is full.
    #[error(
        "the chunk table is full; nothing it holds is affected; raise the chunks it has room for and restart"
    )]
    TableFull,
    /// The disk, or the space given to the store, is full.
    #[error("the disk is full; nothing the store holds is affected; give it more space")]
    DiskFull,
    /// The author claims as much as one author may.
    #[error("this author has all it may have here; nothing it has is affected; raise its quota")]
    QuotaFull,
    /// The disk failed while writing or making durable.
    #[error(
        "the disk failed; what was being written is not kept, what was acknowledged before is checked again; look at the disk's health"
    )]
    DiskFailed,
    /// The list of heads is full.
    #[error("the list of snapshots is full; nothing it holds is affected")]
    HeadsFull,
    /// As many heads of the same author and number are here as are kept.
    #[error(
        "as many snapshots of this author and number are here as are kept; nothing that is here is affected; `reserve conflicts` shows them"
    )]
    HeadConflict,
    /// A snapshot left on its author's word, and another Box has it still.
    #[error(
        "this snapshot left on its author's word; it stays away until the author says otherwise"
    )]
    Forgotten,
    /// An author may not give up what it wants to give up now.
    #[error(transparent)]
    NotGivenUp(Refusal),
    /// The store was closed.
    #[error("the store is closed; nothing was changed")]
    Closed,
    /// The store holds more chunks than the table it was opened with has room for.
    #[error(
        "the store holds more than the {chunks_max} chunks the table has room for; nothing was changed; raise the number and start again"
    )]
    TableTooSmall {
        /// What the table was made for.
        chunks_max: usize,
    },
    /// A segment belongs to another store.
    #[error(
        "{path} belongs to another store ({found}, not {ours}); nothing was changed; is the right disk mounted?"
    )]
    ForeignStore {
        /// The segment's file.
        path: String,
        /// Whose it is.
        found: StoreId,
        /// This store.
        ours: StoreId,
    },
    /// The store's own name cannot be read, and no segment tells it.
    #[error(
        "store/id cannot be read ({0}) and no segment tells the store's name; nothing was changed"
    )]
    NoName(Malformed),
    /// All numbers a segment can have are used.
    #[error("the store has used all its segment numbers; nothing it holds is affected")]
    SegmentsFull,
    /// The operating system said no.
    #[error("could not {deed}: {error}; nothing was changed")]
    Io {
        /// What was tried.
        deed: &'static str,
        /// What it said.
        error: io::Error,
    },
}

impl StoreError {
    /// What a peer is told.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Damaged => Refusal::Damaged,
            Self::NoRecord => Refusal::NotUnderstood,
            Self::TableFull | Self::TableTooSmall { .. } => Refusal::TableFull,
            Self::DiskFull | Self::SegmentsFull => Refusal::DiskFull,
            Self::QuotaFull => Refusal::QuotaFull,
            Self::HeadsFull => Refusal::HeadsFull,
            Self::HeadConflict => Refusal::HeadConflict,
            Self::Forgotten => Refusal::Forgotten,
            Self::NotGivenUp(refusal) => *refusal,
            Self::DiskFailed
            | Self::Closed
            | Self::ForeignStore { .. }
            | Self::NoName(_)
            | Self::Io { .. } => Refusal::DiskFailed,
        }
    }

    /// For `map_err`: what was tried, and what the operating system said.
    pub(super) fn io(deed: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| {
            if is_full(&error) {
                Self::DiskFull
            } else {
                Self::Io { deed, error }
            }
        }
    }
}

/// Whether the file system said that it is full: a limitation, after which everything works as before.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero
    )
}

/// Whether the system is short of something, which says nothing about the file that was asked for.
pub(super) fn is_want(error: &io::Error) -> bool {
    // ENOMEM, ENFILE, EMFILE and ENOBUFS as Linux numbers them on every processor this runs on; only the first has a kind.
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105))
        || error.kind() == io::ErrorKind::OutOfMemory
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        error.refusal()
    }
}
