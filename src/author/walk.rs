//! The walk through a data set, in path order: a directory is followed at once by its contents.
//!
//! It holds one listing for each level it is in and nothing else. It never follows a link. What cannot be listed or
//! looked at is told and the rest goes on. It opens no file.

use std::io;
use std::vec::IntoIter;

use crate::format::index::path_is_legal;
use crate::world::{DirEntry, FileKind, Stat, Tree};

/// One step of the walk. Paths are relative to the data set; empty for the data set itself.
#[derive(Debug)]
pub enum Step {
    /// A file, directory or symbolic link.
    Found {
        /// Where.
        path: Vec<u8>,
        /// What its file system says of it.
        stat: Stat,
    },
    /// Something that holds no data: a socket, a pipe, a device.
    Skipped {
        /// Where.
        path: Vec<u8>,
        /// What it is.
        kind: FileKind,
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
    /// A directory that was found and is to be listed next.
    enter: Option<Vec<u8>>,
    /// The directories the walk is in, outermost first, and what is left of each.
    inside: Vec<(Vec<u8>, IntoIter<DirEntry>)>,
}

impl<T: Tree> Walk<T> {
    /// A walk from `base`, of which `stat` was told.
    pub fn new(tree: T, base: &[u8], stat: Stat) -> Self {
        Self {
            tree,
            base: base.to_vec(),
            start: Some(stat),
            enter: None,
            inside: Vec::new(),
        }
    }

    /// The next step, or `None` at the end.
    pub async fn next(&mut self) -> Option<Step> {
        if let Some(stat) = self.start.take() {
            return Some(self.step(Vec::new(), stat));
        }
        if let Some(path) = self.enter.take() {
            match self.tree.list(&joined(&self.base, &path)).await {
                Ok(mut names) => {
                    // Names hold neither `/` nor NUL, so their byte order is path order. A tree may have sorted otherwise.
                    if !names.is_sorted_by(|a, b| a.name <= b.name) {
                        names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                    }
                    self.inside.push((path, names.into_iter()));
                }
                Err(reason) => return Some(Step::Unread { path, reason }),
            }
        }
        while let Some((dir, names)) = self.inside.last_mut() {
            let Some(entry) = names.next() else {
                self.inside.pop();
                continue;
            };
            let path = joined(dir, &entry.name);
            if !path_is_legal(&path) {
                let reason = io::Error::new(io::ErrorKind::InvalidFilename, "its path is too long");
                return Some(Step::Unread { path, reason });
            }
            return Some(match entry.stat {
                Ok(stat) => self.step(path, stat),
                Err(errno) => Step::Unread {
                    path,
                    reason: io::Error::from_raw_os_error(errno),
                },
            });
        }
        None
    }

    fn step(&mut self, path: Vec<u8>, stat: Stat) -> Step {
        match stat.kind {
            FileKind::Dir => self.enter = Some(path.clone()),
            FileKind::File | FileKind::Symlink => {}
            kind @ (FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice) => return Step::Skipped { path, kind },
        }
        Step::Found { path, stat }
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
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let found = runtime.block_on(async {
            let stat = tree.stat(b"/d").await.expect("it is there");
            let mut walk = Walk::new(tree, b"/d", stat);
            let mut found = Vec::new();
            while let Some(step) = walk.next().await {
                match step {
                    Step::Found { path, .. } => found.push(path),
                    other => panic!("{other:?}"),
                }
            }
            found
        });
        assert_eq!(found, expected);
    }
}
