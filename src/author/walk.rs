//! The walk through a data set, in path order: a directory is followed at once by its contents.
//!
//! It holds the names of the directories it is in, up to a limit: what does not fit is listed again when its turn comes, so
//! memory does not grow with the tree. It never follows a link. What cannot be listed or looked at is told and the rest
//! goes on. It opens no file.

use std::io;
use std::vec::IntoIter;

use crate::format::index::path_is_legal;
use crate::world::{DirEntry, FileKind, Names, Stat, Tree};

/// Memory for the names of the innermost directory, and as much again for those of all outer ones.
const LIST_BYTES_MAX: usize = 2 << 20;
/// Names looked at in one go.
const LOOK_NAMES: usize = 256;

/// One step of the walk. Paths are relative to the data set; empty for the data set itself.
#[derive(Debug)]
pub enum Step {
    /// Anything but a socket.
    Found {
        /// Where.
        path: Vec<u8>,
        /// What its file system says of it.
        stat: Stat,
    },
    /// A socket: it is nothing without the process that answers it.
    Skipped {
        /// Where.
        path: Vec<u8>,
    },
    /// Something that could not be looked at. A directory that could not be listed was `Found` before.
    Unread {
        /// Where.
        path: Vec<u8>,
        /// Why.
        reason: io::Error,
    },
}

/// A walk under way.
pub struct Walk<T: Tree> {
    tree: T,
    base: Vec<u8>,
    /// The data set itself, before the first step.
    start: Option<Stat>,
    /// The path of the innermost directory.
    here: Vec<u8>,
    /// The directories the walk is in, outermost first.
    inside: Vec<Level>,
    /// A name was found to be a directory and is entered next.
    enter: bool,
    /// What was given out as unread last.
    failed: Option<Failed>,
    list_bytes_max: usize,
}

/// What could not be looked at.
enum Failed {
    Name(Vec<u8>),
    Listing(Level),
}

/// A directory the walk is in.
struct Level {
    /// Where the name of the one below it starts in `here`.
    path_bytes: usize,
    /// Names not looked at yet, from a place on.
    names: Names,
    at: usize,
    /// What stands under the next names.
    looked: IntoIter<DirEntry>,
    /// The name given out last: from where to list again.
    last: Vec<u8>,
}

impl Level {
    fn new(path_bytes: usize) -> Self {
        let mut level = Self {
            path_bytes,
            names: Names::default(),
            at: 0,
            looked: Vec::new().into_iter(),
            last: Vec::new(),
        };
        level.forget();
        level
    }

    /// Gives back its memory; what comes behind `last` is listed again.
    fn forget(&mut self) {
        self.names = Names::new(true);
        self.at = 0;
        self.looked = Vec::new().into_iter();
    }

    fn memory_bytes(&self) -> usize {
        self.names.memory_bytes() + self.looked.len() * (size_of::<DirEntry>() + 64)
    }
}

impl<T: Tree> Walk<T> {
    /// A walk from `base`, of which `stat` was told.
    pub fn new(tree: T, base: &[u8], stat: Stat) -> Self {
        Self {
            // What is below was met by its name: a link that takes the place of a directory leads nowhere.
            tree: tree.within(base),
            base: base.to_vec(),
            start: Some(stat),
            here: Vec::new(),
            inside: Vec::new(),
            enter: false,
            failed: None,
            list_bytes_max: LIST_BYTES_MAX,
        }
    }

    /// The next step, or `None` at the end.
    pub async fn next(&mut self) -> Option<Step> {
        self.failed = None;
        if let Some(stat) = self.start.take() {
            self.enter = stat.kind == FileKind::Dir;
            return Some(step(Vec::new(), stat));
        }
        if self.enter {
            self.enter = false;
            self.make_room();
            self.inside.push(Level::new(self.here.len()));
        }
        loop {
            let level = self.inside.last_mut()?;
            self.here.truncate(level.path_bytes);
            let Some(entry) = level.looked.next() else {
                if let Err(reason) = self.look_ahead().await {
                    let path = self.here.clone();
                    self.failed = self.inside.pop().map(Failed::Listing);
                    return Some(Step::Unread { path, reason });
                }
                continue;
            };
            let path = joined(&self.here, &entry.name);
            level.last.clone_from(&entry.name);
            if !path_is_legal(&path) {
                let reason = io::Error::new(io::ErrorKind::InvalidFilename, "its path is too long");
                return Some(Step::Unread { path, reason });
            }
            match entry.stat {
                Ok(stat) => {
                    self.enter = stat.kind == FileKind::Dir;
                    if self.enter {
                        self.here.clone_from(&path);
                    }
                    return Some(step(path, stat));
                }
                Err(errno) => {
                    let reason = io::Error::from_raw_os_error(errno);
                    // It went away since it was listed, as if it had gone a moment earlier.
                    if reason.kind() != io::ErrorKind::NotFound {
                        self.failed = Some(Failed::Name(entry.name));
                        return Some(Step::Unread { path, reason });
                    }
                }
            }
        }
    }

    /// Stays out of the directory that was given out last.
    pub const fn stay_out(&mut self) {
        self.enter = false;
    }

    /// Looks once more at what was given out as unread last: the next step tells what came of it.
    pub async fn try_again(&mut self) {
        match self.failed.take() {
            Some(Failed::Listing(level)) => self.inside.push(level),
            Some(Failed::Name(name)) => {
                let dir = joined(&self.base, &self.here);
                let mut looked = self.tree.look(&dir, vec![name]).await;
                if let Some(level) = self.inside.last_mut() {
                    looked.extend(std::mem::take(&mut level.looked));
                    level.looked = looked.into_iter();
                }
            }
            None => {}
        }
    }

    /// Looks at the next names of the innermost directory, or leaves it.
    async fn look_ahead(&mut self) -> io::Result<()> {
        let Some(level) = self.inside.last_mut() else {
            return Ok(());
        };
        let dir = joined(&self.base, &self.here);
        if level.at < level.names.len() {
            let end = level.names.len().min(level.at + LOOK_NAMES);
            let names = (level.at..end).filter_map(|at| level.names.get(at).map(<[u8]>::to_vec));
            level.looked = self.tree.look(&dir, names.collect()).await.into_iter();
            level.at = end;
        } else if level.names.has_more {
            // Names hold neither `/` nor NUL, so their byte order is path order.
            let listed = self.tree.list(&dir, &level.last, self.list_bytes_max);
            level.names = listed.await?;
            level.at = 0;
            if level.names.is_empty() {
                level.names.has_more = false;
            }
        } else {
            self.inside.pop();
        }
        Ok(())
    }

    /// Has outer directories forget their names when all of them together take too much.
    fn make_room(&mut self) {
        let mut held: usize = self.inside.iter().map(Level::memory_bytes).sum();
        for level in &mut self.inside {
            if held <= self.list_bytes_max {
                break;
            }
            held -= level.memory_bytes();
            level.forget();
        }
    }
}

fn step(path: Vec<u8>, stat: Stat) -> Step {
    match stat.kind {
        FileKind::Socket => Step::Skipped { path },
        FileKind::Dir
        | FileKind::File
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::CharDevice
        | FileKind::BlockDevice => Step::Found { path, stat },
    }
}

/// `base/path`, or either alone if the other is empty.
pub fn joined(base: &[u8], path: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(base.len() + 1 + path.len());
    whole.extend_from_slice(base);
    if !base.is_empty() && !path.is_empty() && !base.ends_with(b"/") {
        whole.push(b'/');
    }
    whole.extend_from_slice(path);
    whole
}

#[cfg(test)]
mod tests {
    use super::super::tests::world::{Files, Thing};
    use super::*;
    use crate::format::index::path_order;

    #[test]
    fn walk_order_is_path_order_whatever_the_names() {
        let tree = Files::default();
        tree.add("/d", Thing::Dir);
        let mut expected = vec![Vec::new()];
        let names: [&[u8]; 8] = [
            b"a", b"a!", b"a-b", b"a.b", b"a.txt", b"\x01", b"\xff", b"A",
        ];
        for name in names {
            tree.add([b"/d/", name].concat(), Thing::Dir);
            expected.push(name.to_vec());
            for inner in names {
                tree.file([b"/d/", name, b"/", inner].concat(), *b"x");
                expected.push([name, b"/", inner].concat());
            }
        }
        expected.sort_by(|a, b| path_order(a, b));
        // With hardly any memory every directory is listed again and again, and the walk is the same.
        for list_bytes_max in [LIST_BYTES_MAX, 40, 1] {
            let tree = tree.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            let found = runtime.block_on(async {
                let stat = tree.stat(b"/d").await.expect("it is there");
                let mut walk = Walk::new(tree, b"/d", stat);
                walk.list_bytes_max = list_bytes_max;
                let mut found = Vec::new();
                while let Some(step) = walk.next().await {
                    match step {
                        Step::Found { path, .. } => found.push(path),
                        other => panic!("{other:?}"),
                    }
                }
                found
            });
            assert_eq!(found, expected, "{list_bytes_max} bytes of names");
        }
    }
}
