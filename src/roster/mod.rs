//! Who belongs: local and shared configuration, founding a reserve, joining one.
//!
//! A Box's state directory holds, as small files replaced whole: `box.toml` (for people), `identity` and `secrets` (mode 0600),
//! `roster` (shared, merged), `tickets` (the last number given) and, between asking to join and being taken in, `joining`.
//! `identity` is written last: with it the directory is a Box, without it nothing in it counts.
//!
//! Not here: who calls whom and how (`session`), and which Box keeps what (`keeper`).

mod apart;
mod choosing;
mod config;
mod data_sets;
mod edit;
mod epochs;
mod first_boot;
mod found;
mod heal;
mod identity;
mod invite;
mod join;
mod keep;
mod merge;
mod order;
mod recover;
mod settings;
mod view;

#[cfg(test)]
mod memory_disk;
#[cfg(test)]
mod merge_tests;

pub use apart::DroppedEdit;
pub use config::{Config, DataSet, Store};
pub use data_sets::{add_data_set, is_inside, list_data_sets, nested, remove_data_set};
pub use edit::SetError;
pub use first_boot::FirstBoot;
pub use found::{Founded, Founding, RecoveryWords, init};
pub use heal::heal_files;
pub use identity::{Identity, Secrets};
pub use invite::{Granted, INVITATIONS_MAX, Invitations, InviteError, grant};
pub use join::{accept, forget_asking, has_asked, prepare_join};
pub use keep::{Settled, keep, settle};
pub use merge::{COUNTER_JUMP_MAX, Merged, Refused, Roster};
pub use recover::{Recovering, recover};
pub use settings::{SharedKey, SharedSetting};
pub use view::{Member, Removal};

use std::io;

use zeroize::Zeroizing;

use crate::format::Malformed;
use crate::world::Disk;

pub(crate) const CONFIG_FILE: &str = "box.toml";
pub(crate) const IDENTITY_FILE: &str = "identity";
pub(crate) const SECRETS_FILE: &str = "secrets";
pub(crate) const ROSTER_FILE: &str = "roster";
pub(crate) const TICKETS_FILE: &str = "tickets";
pub(crate) const JOINING_FILE: &str = "joining";
/// Where the other rooms of a Box that was started have files.
const WORK_DIRS: [&str; 3] = ["store", "author", "events"];

/// Why the roster's files could not be read, written or changed.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// The directory was never founded or taken in.
    #[error("this directory is not a Box yet; run `reserve init` or `reserve join`")]
    NotABox,
    /// The directory is a Box of another name.
    #[error(
        "this directory is already the Box \"{name}\"; nothing was changed. For another Box choose another --dir"
    )]
    AlreadyInitialised {
        /// Its name.
        name: String,
    },
    /// The directory is a Box, but a file of it is gone.
    #[error(
        "the file {file} is missing from the Box's directory; nothing was changed. Restore it from a copy, or take this Box in anew with `reserve join` in an empty directory"
    )]
    Missing {
        /// Which.
        file: &'static str,
    },
    /// The directory is a Box, but a person's part of it is gone.
    #[error(
        "box.toml is missing from the Box's directory; nothing was changed. Restore it, or write one: `name = \"…\"` is enough to start with, and `reserve data add` names what it protects"
    )]
    NoConfig,
    /// A file's bytes are not what they should be.
    #[error(
        "the file {file} is damaged ({cause}); nothing was changed. Restore it from a copy, or take this Box in anew with `reserve join` in an empty directory"
    )]
    Damaged {
        /// Which.
        file: &'static str,
        /// The rule it breaks.
        cause: Malformed,
    },
    /// The configuration says something impossible.
    #[error("box.toml, line {line}: {what}; correct the file, nothing was changed")]
    Config {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// The file of a first boot says something impossible.
    #[error("the file, line {line}: {what}; correct the file, nothing was changed")]
    FirstBoot {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// An edit would make the configuration impossible.
    #[error("{0}; nothing was changed")]
    Edit(String),
    /// The disk failed.
    #[error("the file {file} could not be {deed}: {cause}; check the disk and try again")]
    Disk {
        /// Which.
        file: &'static str,
        /// Read or written.
        deed: &'static str,
        /// What the operating system says.
        cause: io::Error,
    },
    /// What the inviting Box sent is not a roster this Box is in.
    #[error(
        "the inviting Box's answer is unusable: {0}; this Box is unchanged, ask for a new ticket"
    )]
    BadGrant(&'static str),
    /// The recovery words are not 24 words of the list, or one is wrong.
    #[error("these are not the 24 recovery words ({0}); compare them with the sheet")]
    BadWords(String),
    /// The words could not be shown.
    #[error("the recovery words could not be shown ({0}); no Box was made. Try again")]
    WordsNotShown(io::Error),
    /// A fact about this Box could not be made.
    #[error(transparent)]
    Set(#[from] SetError),
}

/// Everything a Box knows of itself and its reserve at start.
pub struct LoadedBox {
    /// Local configuration.
    pub config: Config,
    /// Who it is.
    pub identity: Identity,
    /// The epochs' secrets.
    pub secrets: Secrets,
    /// Who belongs.
    pub roster: Roster,
}

impl LoadedBox {
    /// Reads the Box's files. Changes nothing.
    pub async fn load(disk: &impl Disk) -> Result<Self, RosterError> {
        let Some(identity) = Identity::load(disk, IDENTITY_FILE).await? else {
            is_initialised(disk).await?;
            return Err(RosterError::NotABox);
        };
        Ok(Self {
            config: Config::load(disk).await?,
            identity,
            secrets: Secrets::load(disk).await?,
            roster: Roster::load(disk).await?,
        })
    }
}

/// Whether the directory is a Box. One that was a Box and lost its identity is an error, not an empty place: its secrets and what
/// it keeps for others are still there, and nobody may write over them.
pub async fn is_initialised(disk: &impl Disk) -> Result<bool, RosterError> {
    let bytes = read(disk, IDENTITY_FILE).await?.map(Zeroizing::new);
    if bytes.is_some() {
        return Ok(true);
    }
    for dir in WORK_DIRS {
        let names = disk.list(dir).await.map_err(|cause| RosterError::Disk {
            file: dir,
            deed: "listed",
            cause,
        })?;
        if !names.is_empty() {
            let file = IDENTITY_FILE;
            return Err(RosterError::Missing { file });
        }
    }
    Ok(false)
}

pub(crate) async fn read(
    disk: &impl Disk,
    file: &'static str,
) -> Result<Option<Vec<u8>>, RosterError> {
    disk.read_small(file)
        .await
        .map_err(|cause| RosterError::Disk {
            file,
            deed: "read",
            cause,
        })
}

pub(crate) async fn write(
    disk: &impl Disk,
    file: &'static str,
    bytes: &[u8],
    secret: bool,
) -> Result<(), RosterError> {
    disk.replace_small(file, bytes, secret)
        .await
        .map_err(|cause| RosterError::Disk {
            file,
            deed: "written",
            cause,
        })
}
