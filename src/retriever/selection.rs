//! What of a data set is wanted: which paths, and which stretches of the index may hold one. Plain decisions.

use std::cell::Cell;
use std::cmp::Ordering;

use crate::format::index::{path_is_legal, path_order};

/// A path that cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a path inside a data set; give it as `reserve ls` shows it: without `/` at its start, `.`, `..` and empty names"
)]
pub struct BadSelection(pub String);

/// What of a data set is wanted: everything, or the subtrees under some paths.
#[derive(Debug, Default)]
pub struct Selection {
    /// Empty: everything.
    paths: Vec<(Vec<u8>, Cell<bool>)>,
    /// Not what lies deeper than the names in what was asked for.
    names_only: bool,
}

/// How a path lies to a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It was asked for, or lies below what was asked for.
    Yes,
    /// A directory on the way to something asked for.
    OnTheWay,
    /// Not.
    No,
}

impl Selection {
    /// A selection of these paths, relative to the data set; none, or an empty path, is everything.
    pub fn new(paths: &[Vec<u8>]) -> Result<Self, BadSelection> {
        let mut kept = Vec::new();
        for path in paths {
            let mut path = path.as_slice();
            while let Some((b'/', rest)) = path.split_last() {
                path = rest;
            }
            if !path_is_legal(path) {
                return Err(BadSelection(String::from_utf8_lossy(path).into_owned()));
            }
            if path.is_empty() {
                return Ok(Self::default());
            }
            kept.push((path.to_vec(), Cell::new(false)));
        }
        Ok(Self {
            paths: kept,
            names_only: false,
        })
    }

    /// One path and, if it is a directory, the names in it.
    pub(super) fn names_in(path: &[u8]) -> Result<Self, BadSelection> {
        let mut selection = Self::new(&[path.to_vec()])?;
        if selection.paths.is_empty() {
            selection.paths.push((Vec::new(), Cell::new(false)));
        }
        selection.names_only = true;
        Ok(selection)
    }

    /// How a path lies to it; remembers which paths were met.
    pub(super) fn wants(&self, path: &[u8]) -> Wanted {
        let mut wanted = if self.paths.is_empty() {
            Wanted::Yes
        } else {
            Wanted::No
        };
        for (asked, met) in &self.paths {
            if lies_below(path, asked) {
                met.set(true);
                if self.names_only && name_in(asked, path).len() < path.len() {
                    continue;
                }
                wanted = Wanted::Yes;
            } else if wanted == Wanted::No && lies_below(asked, path) {
                wanted = Wanted::OnTheWay;
            }
        }
        wanted
    }

    /// The path of a selection of at most one; empty for everything.
    pub(super) fn only_path(&self) -> &[u8] {
        self.paths.first().map_or(&[], |(path, _)| path)
    }

    /// Whether nothing is left out.
    pub(super) const fn is_everything(&self) -> bool {
        self.paths.is_empty()
    }

    /// Paths that were asked for and never met.
    pub(super) fn not_met(&self) -> impl Iterator<Item = &[u8]> {
        self.paths
            .iter()
            .filter(|(_, met)| !met.get())
            .map(|(path, _)| path.as_slice())
    }

    /// Whether something wanted may stand between `first` and `until`, both included; `None` is the end.
    pub(super) fn may_lie_between(&self, first: &[u8], until: Option<&[u8]>) -> bool {
        let not_over =
            |path: &[u8]| until.is_none_or(|end| path_order(path, end) != Ordering::Greater);
        let begun = |path: &[u8]| path_order(first, path) != Ordering::Greater;
        self.paths.is_empty()
            || self.paths.iter().any(|(asked, _)| {
                if self.names_only && self.lies_deep(asked, first, until) {
                    return false;
                }
                let below = not_over(asked) && (begun(asked) || lies_below(first, asked));
                below || ancestors(asked).any(|dir| not_over(dir) && begun(dir))
            })
    }

    /// Whether all between `first` and `until` lies in one directory below `asked`, that directory itself not included.
    fn lies_deep(&self, asked: &[u8], first: &[u8], until: Option<&[u8]>) -> bool {
        let name = name_in(asked, first);
        lies_below(first, asked)
            && name.len() < first.len()
            && until.is_some_and(|until| until.len() > name.len() && lies_below(until, name))
    }
}

/// The part of a path below `dir` that ends with its first name in there.
fn name_in<'p>(dir: &[u8], path: &'p [u8]) -> &'p [u8] {
    let from = if dir.is_empty() { 0 } else { dir.len() + 1 };
    let end = path
        .get(from..)
        .and_then(|rest| rest.iter().position(|byte| *byte == b'/'));
    end.map_or(path, |end| &path[..from + end])
}

/// Whether `path` is `dir` or something in it.
pub(super) fn lies_below(path: &[u8], dir: &[u8]) -> bool {
    dir.is_empty()
        || path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The directory a path is in; the empty path is the data set's own.
pub(super) fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    &path[..end]
}

/// A path of a data set as a path below the target.
pub(super) fn placed(base: &[u8], path: &[u8]) -> Vec<u8> {
    if base.is_empty() || path.is_empty() {
        return [base, path].concat();
    }
    [base, path].join(&b'/')
}

fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(parent(path)), |dir| {
        (!dir.is_empty()).then(|| parent(dir))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_directory_are_its_own_and_no_deeper_ones() {
        for dir in ["", "a", "a/b"] {
            let selection = Selection::names_in(dir.as_bytes()).expect("legal");
            let below = |path: &str| {
                let whole = placed(dir.as_bytes(), path.as_bytes());
                selection.wants(&whole)
            };
            assert_eq!(below(""), Wanted::Yes);
            assert_eq!(below("x"), Wanted::Yes);
            assert_eq!(below("x/y"), Wanted::No);
            assert_eq!(below("x/y/z"), Wanted::No);
            let (deep, deeper) = (
                placed(dir.as_bytes(), b"x/y"),
                placed(dir.as_bytes(), b"x/z"),
            );
            let next = placed(dir.as_bytes(), b"y");
            assert!(!selection.may_lie_between(&deep, Some(&deeper)));
            assert!(selection.may_lie_between(&deep, Some(&next)));
            assert!(selection.may_lie_between(&placed(dir.as_bytes(), b"x"), Some(&deep)));
        }
    }

    #[test]
    fn nothing_that_is_wanted_lies_in_a_stretch_that_is_left_out() {
        let mut paths: Vec<Vec<u8>> = vec![Vec::new()];
        for a in ["a", "a!", "b", "ba"] {
            paths.push(a.as_bytes().to_vec());
            for b in ["x", "x-", "y"] {
                paths.push(format!("{a}/{b}").into_bytes());
                paths.push(format!("{a}/{b}/z").into_bytes());
            }
        }
        paths.sort_by(|a, b| path_order(a, b));
        let mut left_out = 0;
        let wholes = paths
            .iter()
            .map(|path| Selection::new(std::slice::from_ref(path)));
        let names = paths.iter().map(|path| Selection::names_in(path));
        for selection in wholes.chain(names) {
            let selection = selection.expect("legal");
            for start in 0..paths.len() {
                for end in start..paths.len() {
                    let until = paths.get(end + 1).map(Vec::as_slice);
                    let told = selection.may_lie_between(&paths[start], until);
                    let wanted = |path: &Vec<u8>| selection.wants(path) != Wanted::No;
                    let holds = paths[start..=end].iter().any(wanted);
                    assert!(told || !holds, "{selection:?} in {start}..={end}");
                    left_out += usize::from(!told);
                }
            }
        }
        assert!(left_out > 1000, "only {left_out} stretches were left out");
    }

    #[test]
    fn a_selection_knows_what_is_below_it_and_what_is_on_the_way() {
        let selection = Selection::new(&[b"a/b/".to_vec()]).expect("legal");
        let lies = |path: &str| selection.wants(path.as_bytes());
        assert_eq!(lies("a/b"), Wanted::Yes);
        assert_eq!(lies("a/b/c"), Wanted::Yes);
        assert_eq!(lies("a"), Wanted::OnTheWay);
        assert_eq!(lies(""), Wanted::OnTheWay);
        assert_eq!(lies("a/bc"), Wanted::No);
        assert_eq!(lies("b"), Wanted::No);
        for bad in ["/etc", "../x", "a//b"] {
            assert!(Selection::new(&[bad.as_bytes().to_vec()]).is_err(), "{bad}");
        }
    }
}
