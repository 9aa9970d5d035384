//! Plans a restore: walks a data set's page tree in order, a few pages ahead, leaving out what nobody asked for.
//!
//! The index may be hostile. Besides what `format` checks of one page or node, this keeps: levels go down one by one,
//! a child begins with the path its parent tells and holds as many entries, and paths rise across pages as within them,
//! so that a walk ends even when nothing of a tree can be had, and no more comes than the manifest tells. A page or node that cannot be had is told as lost, and the walk goes on behind it.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::vec::IntoIter;

use serde_bytes::ByteBuf;
use tokio::sync::oneshot;

use super::cursor::goes_on;
use super::selection::Selection;
use super::{FetchError, RetrieveError, Source};
use crate::format::head::DataSet;
use crate::format::index::{Child, Entry, Node, Page, What, path_order};
use crate::terms::{ChunkId, Kind};
use crate::world::World;

/// Pages asked for before they are needed: half a MiB each at most.
const PAGES_AHEAD: usize = 4;
/// Children that may begin with the same path: only a file that goes on does that, and this many pages of one list 800 TiB.
const SAME_FIRST_MAX: u32 = 1 << 16;

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
    /// What the manifest tells of it, less what was met: things, and lengths of files.
    left: (u64, u64),
    /// Where the page asked for last begins, and how many before it began there too.
    begun: (ByteBuf, u32),
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
            left: (set.entries, set.bytes),
            begun: (ByteBuf::new(), 0),
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
            self.goes_forward(&child)?;
            let expected = Expected {
                id: child.id,
                first: Some(child.first),
                entries: Some(child.entries),
            };
            self.enter(expected, level, until).await?;
        }
        Ok(())
    }

    /// Whatever can be had of it: a tree that leads back to where it was, or does not come forward, has no end.
    fn goes_forward(&mut self, child: &Child) -> Result<(), RetrieveError> {
        let (first, times) = &mut self.begun;
        match path_order(first, &child.first) {
            Ordering::Less => self.begun = (child.first.clone(), 0),
            Ordering::Equal if *times < SAME_FIRST_MAX => *times += 1,
            Ordering::Equal | Ordering::Greater => {
                return Err(RetrieveError::wrong_index(
                    "its pages lead back to where they were",
                ));
            }
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

    /// No more may come than the manifest tells: a short index can list the same chunk over and over.
    fn count(&mut self, page: &Page) -> Result<(), RetrieveError> {
        let (things, bytes) = &mut self.left;
        for entry in page.entries.iter().filter(|entry| !goes_on(entry)) {
            *things = things.checked_sub(1).ok_or(RetrieveError::wrong_index(
                "it lists more things than its manifest tells",
            ))?;
            if let What::File { bytes: more, .. } = entry.what {
                *bytes = bytes.checked_sub(more).ok_or(RetrieveError::wrong_index(
                    "its files are longer than its manifest tells",
                ))?;
            }
        }
        Ok(())
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
        self.count(page)?;
        self.last = Some(last.clone());
        Ok(())
    }
}
