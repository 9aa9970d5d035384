//! Where data enters: walk the data sets, cut, pack, seal, index, and see everything safely on other Boxes.
//!
//! The way of a byte: `walk` finds it, `read` and `gather` take it in, `cut` and `seal` make chunks, `index` makes
//! pages of entries, `replicate` sees chunks onto keepers, `snapshot` signs the head and publishes it, `closure` brings
//! keepers that were away up to date. `shelf`, `known` and `numbers` are what the author remembers until the next time, and
//! `rebuild` fetches what it forgot;
//! `sweep` reads what nobody touched again, and `rot` remembers what was found;
//! `footing` sees that a data set is where it was, `leveldb` that a database comes back whole, `fit` that there is room;
//! `again` bounds how often what cannot be read is tried once more.
//!
//! Memory: one read buffer, one window of sealed records, one pack, one page and node a level, a bounded store of names of
//! the directories the walk is in and of files with several names; nothing grows with the number of files or chunks.

mod again;
mod asked;
mod closure;
mod copies;
mod cut;
mod data_set;
mod draft;
mod error;
mod fit;
mod footing;
mod gather;
mod index;
mod index_source;
mod instead;
mod kinds;
mod known;
mod known_build;
mod lacks;
mod leveldb;
mod links;
mod numbers;
mod opened;
mod pace;
mod packing;
mod patient;
mod read;
mod rebuild;
mod recall;
pub mod release;
mod remembered;
mod replicate;
mod report;
mod retention;
mod rot;
mod sample;
mod seal;
mod set_walk;
mod shelf;
mod sizes;
mod snapshot;
mod still;
mod sweep;
mod untouched;
mod walk;

#[cfg(test)]
pub(crate) mod tests;

pub use asked::{AuthorIdentity, DataSetConfig, Options};
pub use closure::{
    CatchUpError, CaughtUp, Closure, Keyring, Placement, Seen, catch_up, catch_up_with,
    manifest_of, on_none_of,
};
pub use copies::copies_of;
pub use error::SnapshotError;
pub use lacks::{Lacks, Nowhere};
pub use patient::Patient;
pub use rebuild::rebuild_index;
pub use report::{KeeperShare, Phase, Progress, SnapshotReport, Unread};
pub use retention::{Aged, Reason, kept};
pub use rot::{Rotten, RottenFile};
pub use seal::SealError;
pub use sizes::Sizes;
pub use snapshot::{last_head, last_look, protect, publish, snapshot};
pub use still::still;
pub use sweep::{Extent, FileProgress, FileSweep, accepted_bytes, sweep_files};
