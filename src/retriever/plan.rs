//! Plans a restore: walks a data set's page tree in order, a few pages ahead, leaving out what nobody asked for.
//!
//! The index may be hostile. Besides what `format` checks of one page or node, this keeps: levels go down one by one,
//! a child begins with the path its parent tells and holds as many entries, and paths rise across pages as within them.
//! A page or node that cannot be had is told as lost, and the walk goes on behind it.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::vec::IntoIter;

use serde_bytes::ByteBuf;
use tokio::sync::oneshot;

use super::{FetchError, RetrieveError, Source};
use crate::format::head::DataSet;
use crate::format::index::{Child, Entry, Node, Page, path_is_legal, path_order};
use crate::terms::{ChunkId, Kind};
use crate::world::World;

/// Pages asked for before they are needed: half a MiB each at most.
const PAGES_AHEAD: usize = 4;

/// A path that cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a path inside a data set; nothing was written. Give it without `.`, `..` and empty names"
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
    fn may_lie_between(&self, first: &[u8], until: Option<&[u8]>) -> bool {
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

/// The next stretch of a data set.
#[derive(Debug)]
pub(super) enum Stretch {
    /// A page.
    Page(Page),
    /// Entries that cannot be had.
    Lost {
        /// The first one's path, as the parent tells it.
        first: Vec<u8>,
        /// How many.
        entries: u64,
        /// Why.
        why: FetchError,
    },
}

/// What a parent says of a child.
#[derive(Debug, Clone)]
struct Expected {
    id: ChunkId,
    first: Option<ByteBuf>,
    entries: Option<u64>,
}

enum Ahead {
    Page(Expected, oneshot::Receiver<Result<Vec<u8>, FetchError>>),
    Lost(Expected, FetchError),
}

struct Frame {
    /// The children's level.
    level: u8,
    children: std::iter::Peekable<IntoIter<Child>>,
    /// The path that comes after all of them.
    until: Option<ByteBuf>,
}

/// A walk through a data set's pages.
pub(super) struct Walk<'r, W, S> {
    world: &'r W,
    source: &'r S,
    selection: &'r Selection,
    root: Option<(ChunkId, u8)>,
    entries: u64,
    frames: Vec<Frame>,
    ahead: VecDeque<Ahead>,
    last: Option<Entry>,
}

impl<'r, W: World, S: Source> Walk<'r, W, S> {
    pub(super) fn new(
        world: &'r W,
        source: &'r S,
        selection: &'r Selection,
        set: &DataSet,
    ) -> Self {
        Self {
            world,
            source,
            selection,
            root: Some((set.root, set.level)),
            entries: set.entries,
            frames: Vec::new(),
            ahead: VecDeque::new(),
            last: None,
        }
    }

    /// The next stretch that may hold something wanted.
    pub(super) async fn next(&mut self) -> Result<Option<Stretch>, RetrieveError> {
        if let Some((id, level)) = self.root.take() {
            let expected = Expected {
                id,
                first: Some(ByteBuf::new()),
                entries: None,
            };
            self.enter(expected, level, None).await?;
        }
        self.look_ahead().await?;
        let Some(ahead) = self.ahead.pop_front() else {
            return Ok(None);
        };
        let (expected, bytes) = match ahead {
            Ahead::Page(expected, answer) => {
                let never = || Err(FetchError::Ended("the fetch was dropped".to_owned()));
                (expected, answer.await.unwrap_or_else(|_| never()))
            }
            Ahead::Lost(expected, why) => (expected, Err(why)),
        };
        match bytes {
            Ok(bytes) => {
                let page = Page::decode(&bytes).map_err(RetrieveError::index)?;
                self.check(&expected, &page)?;
                Ok(Some(Stretch::Page(page)))
            }
            Err(why @ FetchError::Ended(_)) => Err(RetrieveError::SourceEnded(why)),
            Err(why) => Ok(Some(Stretch::Lost {
                first: expected.first.map(ByteBuf::into_vec).unwrap_or_default(),
                entries: expected.entries.unwrap_or(self.entries),
                why,
            })),
        }
    }

    /// Asks for pages until enough are on their way.
    async fn look_ahead(&mut self) -> Result<(), RetrieveError> {
        while self.ahead.len() < PAGES_AHEAD {
            let Some(frame) = self.frames.last_mut() else {
                return Ok(());
            };
            let Some(child) = frame.children.next() else {
                self.frames.pop();
                continue;
            };
            let level = frame.level;
            let until = match frame.children.peek() {
                Some(next) => Some(next.first.clone()),
                None => frame.until.clone(),
            };
            let bound = until.as_ref().map(|path| path.as_slice());
            if !self.selection.may_lie_between(&child.first, bound) {
                continue;
            }
            let expected = Expected {
                id: child.id,
                first: Some(child.first),
                entries: Some(child.entries),
            };
            self.enter(expected, level, until).await?;
        }
        Ok(())
    }

    /// Begins a page, or reads a node and goes down into it.
    async fn enter(
        &mut self,
        expected: Expected,
        level: u8,
        until: Option<ByteBuf>,
    ) -> Result<(), RetrieveError> {
        let Some(below) = level.checked_sub(1) else {
            let (tell, answer) = oneshot::channel();
            let (source, id) = (self.source.clone(), expected.id);
            self.world.spawn(async move {
                // Nobody waits any more when the restore was given up.
                let _ = tell.send(source.fetch(id, Kind::Page).await);
            });
            self.ahead.push_back(Ahead::Page(expected, answer));
            return Ok(());
        };
        let bytes = match self.source.fetch(expected.id, Kind::Node).await {
            Ok(bytes) => bytes,
            Err(why) => {
                self.ahead.push_back(Ahead::Lost(expected, why));
                return Ok(());
            }
        };
        let node = Node::decode(&bytes).map_err(RetrieveError::index)?;
        if node.level != level {
            return Err(RetrieveError::wrong_index(
                "a node is not on the level its parent tells",
            ));
        }
        let sum = node
            .children
            .iter()
            .try_fold(0u64, |sum, child| sum.checked_add(child.entries));
        if sum.is_none() || !self.counts_agree(&expected, sum.unwrap_or(0)) {
            return Err(RetrieveError::wrong_index(
                "a node holds more or fewer entries than its parent tells",
            ));
        }
        let first = node.children.first().map(|child| &child.first);
        if first != expected.first.as_ref() {
            return Err(RetrieveError::wrong_index(
                "a node does not begin where its parent tells",
            ));
        }
        self.frames.push(Frame {
            level: below,
            children: node.children.into_iter().peekable(),
            until,
        });
        Ok(())
    }

    /// A parent's count is exact. The manifest counts things, of which one may take several entries.
    fn counts_agree(&self, expected: &Expected, found: u64) -> bool {
        match expected.entries {
            Some(told) => told == found,
            None => self.entries <= found,
        }
    }

    fn check(&mut self, expected: &Expected, page: &Page) -> Result<(), RetrieveError> {
        let (Some(first), Some(last)) = (page.entries.first(), page.entries.last()) else {
            return Err(RetrieveError::wrong_index("a page is empty"));
        };
        if !self.counts_agree(expected, page.entries.len() as u64) {
            return Err(RetrieveError::wrong_index(
                "a page holds more or fewer entries than its parent tells",
            ));
        }
        if Some(&first.path) != expected.first.as_ref() {
            return Err(RetrieveError::wrong_index(
                "a page does not begin where its parent tells",
            ));
        }
        if let Some(before) = &self.last {
            let in_order = match path_order(&before.path, &first.path) {
                Ordering::Less => true,
                Ordering::Equal => before.is_continued_by(first),
                Ordering::Greater => false,
            };
            if !in_order {
                return Err(RetrieveError::wrong_index(
                    "paths do not rise from page to page",
                ));
            }
        }
        self.last = Some(last.clone());
        Ok(())
    }
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
