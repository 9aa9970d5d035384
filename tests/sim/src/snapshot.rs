//! A whole tree as a value, so that two can be compared attribute by attribute and the differences said by name.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use reserve::world::{Attributes, FileKind};

use crate::wood::{Body, Node};

/// Paths below a directory (the empty one is the directory itself) and what stands there.
pub type TreeSnapshot = BTreeMap<Vec<u8>, Kept>;

/// What must come back of one thing in a tree: all but its number, its device and when it was last touched.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it is.
    pub kind: FileKind,
    /// What a retriever has to set.
    pub attributes: Attributes,
    /// A file's bytes, a symbolic link's target, or nothing.
    pub content: Vec<u8>,
    /// A device's number.
    pub rdev: u64,
    /// How many names it has; a directory has one.
    pub names: u64,
}

/// How two trees differ, one sentence each; none if they are the same.
#[must_use]
pub fn differences(expected: &TreeSnapshot, found: &TreeSnapshot) -> Vec<String> {
    let mut told = Vec::new();
    for (path, kept) in expected {
        let name = String::from_utf8_lossy(path);
        match found.get(path) {
            None => told.push(format!("'{name}' is missing")),
            Some(other) => tell_difference(&name, kept, other, &mut told),
        }
    }
    for path in found.keys().filter(|path| !expected.contains_key(*path)) {
        told.push(format!(
            "'{}' should not be there",
            String::from_utf8_lossy(path)
        ));
    }
    told
}

fn tell_difference(name: &str, expected: &Kept, found: &Kept, told: &mut Vec<String>) {
    if expected.kind != found.kind {
        told.push(format!(
            "'{name}' is a {:?}, not a {:?}",
            found.kind, expected.kind
        ));
    }
    if expected.attributes != found.attributes {
        let (found, expected) = (&found.attributes, &expected.attributes);
        told.push(format!("'{name}' has {found:?}, not {expected:?}"));
    }
    if (expected.rdev, expected.names) != (found.rdev, found.names) {
        let (names, rdev) = (found.names, found.rdev);
        told.push(format!(
            "'{name}' has {names} names and device number {rdev}, not {} and {}",
            expected.names, expected.rdev
        ));
    }
    if expected.content != found.content {
        let same = expected
            .content
            .iter()
            .zip(&found.content)
            .take_while(|(a, b)| a == b)
            .count();
        let (found, expected) = (found.content.len(), expected.content.len());
        told.push(format!(
            "'{name}' has {found} bytes, not {expected}; they differ from byte {same}"
        ));
    }
}

pub(crate) fn collect(node: &Rc<Node>, path: &[u8], kept: &mut TreeSnapshot) -> io::Result<()> {
    let stat = node.stat();
    let content = match &node.state().body {
        Body::File(content) | Body::Symlink(content) => content.clone(),
        Body::Dir(_) | Body::Special(..) => Vec::new(),
    };
    let attributes = Attributes {
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        mtime: stat.mtime,
        xattrs: node.state().xattrs.clone().into_iter().collect(),
    };
    kept.insert(
        path.to_vec(),
        Kept {
            kind: stat.kind,
            attributes,
            content,
            rdev: stat.rdev,
            names: if stat.kind == FileKind::Dir {
                1
            } else {
                stat.links
            },
        },
    );
    if stat.kind == FileKind::Dir {
        for (name, child) in node.dir()?.iter() {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            collect(child, &[path, slash, name].concat(), kept)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(mode: u32, content: &[u8]) -> Kept {
        let attributes = Attributes {
            mode,
            ..Attributes::default()
        };
        Kept {
            kind: FileKind::File,
            attributes,
            content: content.to_vec(),
            rdev: 0,
            names: 1,
        }
    }

    #[test]
    fn every_difference_is_said_by_name() {
        let tree = |things: &[(&str, Kept)]| -> TreeSnapshot {
            things
                .iter()
                .map(|(path, kept)| (path.as_bytes().to_vec(), kept.clone()))
                .collect()
        };
        let one = tree(&[
            ("a", kept(0o600, b"x")),
            ("b", kept(0o600, b"x")),
            ("c", kept(0o600, b"x")),
        ]);
        let other = tree(&[
            ("a", kept(0o644, b"x")),
            ("b", kept(0o600, b"y")),
            ("d", kept(0o600, b"x")),
        ]);
        assert!(differences(&one, &one).is_empty());
        let told = differences(&one, &other);
        assert_eq!(told.len(), 4);
        for (name, sentence) in ["'a'", "'b'", "'c'", "'d'"].iter().zip(&told) {
            assert!(sentence.starts_with(name), "{sentence}");
        }
    }
}
