//! What is remembered of each data set beside its numbers: a sample of what it held when it was accepted, and what was mounted below
//! it. Bounded; replaced as a whole. What is lost of it makes the guards blunter and nothing else.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use smol_str::SmolStr;

use super::footing::Footing;
use super::sample::Sample;
use crate::format::{decode_file, encode_file};
use crate::world::Disk;

const REMEMBERED: &str = "what is remembered of an author's data sets";
const DIR: &str = "author";
const PATH: &str = "author/remembered";

/// All data sets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// One for each.
    pub sets: Vec<RememberedSet>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct RememberedSet {
    /// Its name.
    pub name: SmolStr,
    /// Of what it held when it was accepted last.
    pub sample: Sample,
    /// What was mounted below it, in path order.
    pub mounts: Vec<Mount>,
}

/// A file system below a data set's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mount {
    /// Where, below the data set.
    pub path: ByteBuf,
    /// What stood there.
    pub footing: Footing,
}

impl Remembered {
    /// Reads it.
    pub(super) async fn load<D: Disk>(disk: &D) -> Self {
        let bytes = disk.read_small(PATH).await.ok().flatten();
        bytes
            .and_then(|bytes| decode_file(REMEMBERED, &bytes).ok())
            .unwrap_or_default()
    }

    /// Writes it, durable when it returns.
    pub(super) async fn store<D: Disk>(&self, disk: &D) -> std::io::Result<()> {
        disk.make_dir(DIR).await?;
        disk.replace_small(PATH, &encode_file(self), false).await
    }

    /// What is remembered of a data set.
    pub(super) fn of(&self, data_set: &str) -> RememberedSet {
        let found = self.sets.iter().find(|set| set.name == data_set);
        found.cloned().unwrap_or_default()
    }

    /// Takes over what another one drew.
    pub(super) fn draw_as(&mut self, other: &Self) {
        for drawn in &other.sets {
            match self.sets.iter_mut().find(|set| set.name == drawn.name) {
                Some(set) => set.sample.clone_from(&drawn.sample),
                None => self.sets.push(drawn.clone()),
            }
        }
    }
}
