//! Looks into a snapshot: its entries in path order, all below a path or only the names in it. Fetches index pages, no data.

use super::cursor::goes_on;
use super::plan::{Stretch, Walk};
use super::restore::{Chosen, chosen};
use super::selection::{Selection, Wanted, placed};
use super::{FetchError, RetrieveError, Source};
use crate::format::head::{DataSet, Manifest};
use crate::format::index::Entry;
use crate::world::World;

/// What to look at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'r> {
    /// The snapshot.
    pub manifest: &'r Manifest,
    /// A path as `retrieve` has it; empty is everything.
    pub path: &'r [u8],
    /// All that is below it, not only the names in it.
    pub recursive: bool,
}

/// One thing that was seen.
#[derive(Debug)]
pub enum Seen<'s> {
    /// A data set, of several.
    DataSet(&'s DataSet),
    /// An entry, and its path below the snapshot.
    Entry(&'s [u8], &'s Entry),
    /// Entries from this path on cannot be had.
    Lost(&'s [u8], u64, &'s FetchError),
}

/// How looking ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookEnd {
    /// All was shown, and this many entries could not be had.
    All {
        /// Entries of the index that are lost.
        lost: u64,
    },
    /// Whoever looked has seen enough.
    Enough,
    /// There is nothing of that name.
    Nothing,
}

/// Shows what there is, in path order, until `show` returns false.
pub async fn look<W: World, S: Source>(
    world: &W,
    source: &S,
    look: Look<'_>,
    mut show: impl FnMut(Seen<'_>) -> bool,
) -> Result<LookEnd, RetrieveError> {
    let several = look.manifest.data_sets.len() > 1;
    if several && look.path.is_empty() && !look.recursive {
        for set in &look.manifest.data_sets {
            if !show(Seen::DataSet(set)) {
                return Ok(LookEnd::Enough);
            }
        }
        return Ok(LookEnd::All { lost: 0 });
    }
    let path = [look.path.to_vec()];
    let paths = if look.path.is_empty() { &[][..] } else { &path };
    let (sets, unknown) = chosen(look.manifest, None, paths)?;
    if !unknown.is_empty() {
        return Ok(LookEnd::Nothing);
    }
    let mut lost_count = 0u64;
    let mut found = false;
    for Chosen {
        set,
        base,
        selection,
    } in sets
    {
        let selection = if look.recursive {
            selection
        } else {
            Selection::names_in(selection.only_path())?
        };
        let mut walk = Walk::new(world, source, &selection, set);
        while let Some(stretch) = walk.next().await? {
            match stretch {
                Stretch::Page(page) => {
                    for entry in &page.entries {
                        if selection.wants(&entry.path) != Wanted::Yes || goes_on(entry) {
                            continue;
                        }
                        found = true;
                        if !show(Seen::Entry(&placed(&base, &entry.path), entry)) {
                            return Ok(LookEnd::Enough);
                        }
                    }
                }
                Stretch::Lost {
                    first,
                    entries,
                    why,
                } => {
                    lost_count = lost_count.saturating_add(entries);
                    if !show(Seen::Lost(&placed(&base, &first), entries, &why)) {
                        return Ok(LookEnd::Enough);
                    }
                }
            }
        }
    }
    Ok(match (found, lost_count) {
        (false, 0) => LookEnd::Nothing,
        (_, lost) => LookEnd::All { lost },
    })
}

#[cfg(test)]
mod tests {
    use super::super::mock::{MockSource, MockWorld, child, data_set, dir, empty, pages, run};
    use super::*;
    use crate::terms::{Kind, PeerKey, SnapshotNumber};

    fn seen(
        source: &MockSource,
        set: &DataSet,
        path: &str,
        recursive: bool,
    ) -> (LookEnd, Vec<String>) {
        let manifest = Manifest {
            author: PeerKey([1; 32]),
            number: SnapshotNumber(1),
            data_sets: vec![set.clone()],
        };
        let wanted = Look {
            manifest: &manifest,
            path: path.as_bytes(),
            recursive,
        };
        let mut names = Vec::new();
        let end = run(look(&MockWorld::default(), source, wanted, |seen| {
            names.push(match seen {
                Seen::DataSet(set) => set.name.to_string(),
                Seen::Entry(path, _) => String::from_utf8_lossy(path).into_owned(),
                Seen::Lost(path, count, _) => {
                    format!("{count} lost from {}", String::from_utf8_lossy(path))
                }
            });
            names.len() < 1000
        }));
        (end.expect("a good index"), names)
    }

    #[test]
    fn names_are_listed_without_reading_what_lies_deeper() {
        let source = MockSource::default();
        let mut drafts = vec![dir("")];
        for d in 0..3 {
            drafts.push(dir(&format!("d{d}")));
            drafts.extend((0..500).map(|f| empty(&format!("d{d}/f{f:03}"))));
        }
        let set = data_set(&source, "photos", &pages(&drafts, 10), 16);
        let (end, names) = seen(&source, &set, "", false);
        assert_eq!(end, LookEnd::All { lost: 0 });
        assert_eq!(names, ["", "d0", "d1", "d2"]);
        let read = source.fetched(Kind::Page);
        assert!(read <= 6, "{read} pages of 151 were read");
        assert_eq!(seen(&source, &set, "d1", false).1.len(), 501);
        assert_eq!(seen(&source, &set, "d1/f007", true).1, ["d1/f007"]);
        assert_eq!(seen(&source, &set, "d1/f007/x", true).0, LookEnd::Nothing);
        assert_eq!(seen(&source, &set, "", true).0, LookEnd::Enough);
    }

    #[test]
    fn a_part_of_the_index_that_is_lost_is_told_and_the_rest_is_shown() {
        let source = MockSource::default();
        let all = pages(
            &[dir(""), empty("a"), empty("b"), empty("c"), empty("d")],
            2,
        );
        let set = data_set(&source, "photos", &all, 16);
        source.lose(child(&source, &all[1]).id);
        let (end, names) = seen(&source, &set, "", true);
        assert_eq!(end, LookEnd::All { lost: 2 });
        assert_eq!(names, ["", "a", "2 lost from b", "d"]);
    }
}
