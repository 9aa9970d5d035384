//! Files of an accepted data set, picked by chance and told by what they hold: enough to tell later how much of it is still there,
//! under whatever names. Pure; of bounded size.
//!
//! Contents are drawn, not paths: those whose names are the lowest, so that two walks of the same files draw the same ones. Up to
//! [`SAMPLE_MAX`] different contents the answer is exact, above it is off by a few in a hundred.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::draft::{Draft, Made, MadePiece};
use crate::terms::ChunkId;

/// Contents that are drawn: 8 KiB for each data set.
pub(super) const SAMPLE_MAX: usize = 1024;

/// What was drawn.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Sample {
    /// The starts of their names, sorted.
    names: Vec<u64>,
}

/// How much of a sample was met again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Met {
    /// Contents that were looked for.
    pub drawn: u64,
    /// Of these, not met under any name.
    pub missing: u64,
}

impl Met {
    /// How many of so many files are not there any more, as far as the sample tells.
    pub(super) fn missing_of(&self, files: u64) -> u64 {
        let missing = u128::from(files) * u128::from(self.missing);
        let missing = missing.checked_div(u128::from(self.drawn)).unwrap_or(0);
        u64::try_from(missing).unwrap_or(files)
    }
}

/// Draws a sample of what passes, and looks for an earlier one in it.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    drawn: BTreeSet<u64>,
    before: Sample,
    met: BTreeSet<u64>,
    /// What was met by another name than it goes by from now on.
    renamed: BTreeMap<u64, u64>,
}

/// What a sampler came to.
pub(super) struct Sampled {
    /// What was drawn of what passed.
    pub drawn: Sample,
    /// What was looked for, by the names it goes by now.
    pub looked_for: Sample,
    /// How much of it passed.
    pub met: Met,
}

/// A file that was read, by its first chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Called {
    /// What it would be called, had it been sealed in one epoch or another.
    pub names: Vec<ChunkId>,
    /// What it is called from now on.
    pub now: ChunkId,
}

impl Sampler {
    /// Looks for this one.
    pub(super) fn looking_for(before: Sample) -> Self {
        Self {
            before,
            ..Self::default()
        }
    }

    /// The next thing that goes into the index.
    pub(super) fn see(&mut self, draft: &Draft) {
        let Some(name) = content_name(draft) else {
            return;
        };
        if self.before.names.binary_search(&name).is_ok() {
            self.met.insert(name);
        }
        if self.drawn.len() < SAMPLE_MAX || self.drawn.last().is_some_and(|last| name < *last) {
            self.drawn.insert(name);
            if self.drawn.len() > SAMPLE_MAX {
                self.drawn.pop_last();
            }
        }
    }

    /// Looks for files that were read under all names they may have had.
    pub(super) fn meet(&mut self, called: &[Called]) {
        for Called { names, now } in called {
            for name in names.iter().filter_map(|id| start_of(&id.0)) {
                if self.before.names.binary_search(&name).is_ok() {
                    self.met.insert(name);
                    // The next walk takes it over from the index as it stands there.
                    self.renamed.extend(start_of(&now.0).map(|now| (name, now)));
                }
            }
        }
    }

    /// What was drawn, and what was met.
    pub(super) fn end(&self) -> Sampled {
        let before = &self.before.names;
        let met = Met {
            drawn: before.len() as u64,
            missing: (before.len() - self.met.len()) as u64,
        };
        let now = |name: &u64| *self.renamed.get(name).unwrap_or(name);
        let mut looked_for: Vec<_> = before.iter().map(now).collect();
        looked_for.sort_unstable();
        looked_for.dedup();
        Sampled {
            drawn: Sample {
                names: self.drawn.iter().copied().collect(),
            },
            looked_for: Sample { names: looked_for },
            met,
        }
    }
}

/// What a file holds: of a small one its plaintext's name, of a large one its first chunk, since what is appended or written in its
/// middle leaves it the file it was. A file without bytes says nothing.
fn content_name(draft: &Draft) -> Option<u64> {
    let bytes: &[u8] = match &draft.what {
        Made::Packed { name, .. } => name,
        Made::Pieces {
            part: 0, pieces, ..
        } => pieces.iter().find_map(|piece| match piece {
            MadePiece::Data(chunk, _) => Some(&chunk.id.0),
            MadePiece::Hole(_) => None,
        })?,
        Made::Pieces { .. }
        | Made::Dir
        | Made::Symlink(_)
        | Made::Fifo
        | Made::Device { .. }
        | Made::Empty
        | Made::ToRead
        | Made::Dropped => return None,
    };
    start_of(bytes)
}

fn start_of(name: &[u8]) -> Option<u64> {
    let (first, _) = name.split_first_chunk::<8>()?;
    Some(u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Stamp;

    fn file(number: u64) -> Draft {
        let hash = blake3::hash(&number.to_le_bytes());
        Draft {
            path: number.to_string().into_bytes(),
            what: Made::Packed {
                bytes: 1,
                name: *hash.as_bytes().first_chunk().expect("it is shorter"),
                pack: None,
                offset: 0,
            },
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Stamp::default(),
            ctime: Stamp::default(),
            inode: number,
            hard_link: None,
            has_holes: false,
            xattrs: Vec::new(),
        }
    }

    fn walked(before: Sample, files: impl Iterator<Item = u64>) -> (Sample, Met) {
        let mut sampler = Sampler::looking_for(before);
        files.for_each(|number| sampler.see(&file(number)));
        let sampled = sampler.end();
        (sampled.drawn, sampled.met)
    }

    #[test]
    fn a_small_data_set_is_drawn_whole_and_each_missing_file_is_counted() {
        let (sample, nothing) = walked(Sample::default(), 0..300);
        assert_eq!(nothing, Met::default());
        let (_, met) = walked(sample.clone(), 7..900);
        assert_eq!((met.drawn, met.missing), (300, 7));
        assert_eq!(met.missing_of(300), 7);
        // The same whatever their order.
        assert_eq!(walked(Sample::default(), (0..300).rev()).0, sample);
    }

    #[test]
    fn of_a_large_one_the_share_that_is_missing_is_told() {
        let (sample, _) = walked(Sample::default(), 0..50_000);
        assert_eq!(sample.names.len(), SAMPLE_MAX);
        let (_, all) = walked(sample.clone(), 0..60_000);
        assert_eq!(all.missing, 0);
        let (_, half) = walked(sample.clone(), 25_000..90_000);
        let missing = half.missing_of(50_000);
        assert!((22_500..27_500).contains(&missing), "{missing}");
        let (_, none) = walked(sample, 50_000..100_000);
        assert_eq!(none.missing_of(50_000), 50_000);
    }
}
