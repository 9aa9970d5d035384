//! A directory that a LevelDB (or one of its kind) keeps its data in, as OrbitDB does: read so that what is copied opens.
//!
//! Tables never change once they are written; the manifest, `CURRENT` and the log do. So the tables are read first, then the
//! others, and then the directory is looked at again: if no file came or went and no table changed, the copy is what a power
//! cut would have left, which such a database opens. If not, what is new is read and the others once more, a few times.
//! Memory: one place for each of its files, at most [`FILES_MAX`].

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::draft::Draft;
use super::error::SnapshotError;
use super::gather::Means;
use super::read::{Reader, Taken, same_contents};
use super::walk::joined;
use crate::keeper::Keepers;
use crate::world::{DirEntry, FileKind, Stat, Tree, World};

/// Files of a database that are read as one; a larger one is taken file by file.
const FILES_MAX: usize = 16_384;
/// Memory for names of its directory at a time.
const LIST_BYTES_MAX: usize = 256 << 10;
/// Times it is looked at again.
const ROUNDS_MAX: u32 = 6;

/// A database that was read.
pub(super) struct Database {
    /// Where it is, relative to the data set.
    pub dir: Vec<u8>,
    /// Its own files in path order.
    pub files: VecDeque<(Vec<u8>, Stat, Held)>,
    /// Those that could not be read, and why.
    pub unread: Vec<(Vec<u8>, String)>,
    /// Whether all of them are of one moment.
    pub is_settled: bool,
}

/// What became of one of its files.
pub(super) enum Held {
    /// It is as in the snapshot before.
    AsItWas,
    /// It was read.
    Read(Vec<Draft>),
}

/// What a name means to a database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Table,
    Log,
    Current,
    Manifest,
    /// What it tells people; nothing depends on it.
    Note,
}

fn role(name: &[u8]) -> Option<Role> {
    let is_number =
        |digits: &[u8]| (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if name == b"CURRENT" {
        return Some(Role::Current);
    }
    if name == b"LOG" || name == b"LOG.old" {
        return Some(Role::Note);
    }
    if let Some(number) = name.strip_prefix(b"MANIFEST-") {
        return is_number(number).then_some(Role::Manifest);
    }
    let at = name.iter().position(|byte| *byte == b'.')?;
    let (number, end) = name.split_at(at);
    let role = match end {
        b".ldb" | b".sst" => Role::Table,
        b".log" => Role::Log,
        _ => return None,
    };
    is_number(number).then_some(role)
}

/// Whether a database calls files of its own like this. They come and go as it works.
pub(super) fn is_own_name(name: &[u8]) -> bool {
    role(name).is_some()
}

/// Directory and name of a path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

type Listing = BTreeMap<Vec<u8>, (Role, Stat)>;

/// A database's own files in a directory, if it is one.
fn own_files(entries: Vec<DirEntry>) -> Option<Listing> {
    let mut found = Listing::new();
    for entry in entries {
        let (Some(role), Ok(stat)) = (role(&entry.name), entry.stat) else {
            continue;
        };
        if stat.kind == FileKind::File {
            found.insert(entry.name, (role, stat));
        }
    }
    let has = |wanted: &[Role]| found.values().any(|(role, _)| wanted.contains(role));
    let is_one = has(&[Role::Current]) && has(&[Role::Manifest]) && has(&[Role::Table, Role::Log]);
    (is_one && found.len() <= FILES_MAX).then_some(found)
}

/// What stands in a directory under names that a database uses; `None` if it cannot be listed or has too many of them.
async fn listing_of<T: Tree>(tree: &T, dir: &[u8]) -> Option<Vec<DirEntry>> {
    let mut behind = Vec::new();
    let mut found = Vec::new();
    loop {
        let names = tree.list(dir, &behind, LIST_BYTES_MAX).await.ok()?;
        let all = (0..names.len()).filter_map(|at| names.get(at));
        let own: Vec<Vec<u8>> = all
            .filter(|name| is_own_name(name))
            .map(<[u8]>::to_vec)
            .collect();
        if found.len() + own.len() > FILES_MAX {
            return None;
        }
        found.extend(tree.look(dir, own).await);
        let last = names.len().checked_sub(1).and_then(|at| names.get(at));
        match last {
            Some(last) if names.has_more => behind = last.to_vec(),
            Some(_) | None => return Some(found),
        }
    }
}

/// Whether nothing happened between two listings but that logs and manifests grew.
fn is_same(before: &Listing, after: &Listing) -> bool {
    let that_matter = |listing: &Listing| {
        let some = listing.iter().filter(|(_, (role, _))| *role != Role::Note);
        some.map(|(name, file)| (name.clone(), *file))
            .collect::<Vec<_>>()
    };
    let (before, after) = (that_matter(before), that_matter(after));
    before.len() == after.len()
        && before
            .iter()
            .zip(&after)
            .all(|((name, (role, old)), (other, (_, new)))| {
                let holds = match role {
                    Role::Table | Role::Current => same_contents(old, new),
                    Role::Note => true,
                    Role::Log | Role::Manifest => old.inode == new.inode && old.size <= new.size,
                };
                name == other && holds
            })
}

/// Reads the database in a directory, if there is one. `is_as_it_was` is asked about tables in path order.
pub(super) async fn read<W: World, K: Keepers>(
    means: &Means<'_, W, K>,
    reader: &mut Reader,
    dir: &[u8],
    mut is_as_it_was: impl AsyncFnMut(&[u8], &Stat) -> bool,
) -> Result<Option<Database>, SnapshotError> {
    let at = joined(means.base, dir);
    let tree = &means.tree;
    let Some(mut listing) = listing_of(tree, &at).await.and_then(own_files) else {
        return Ok(None);
    };
    let mut files: BTreeMap<Vec<u8>, (Stat, Held)> = BTreeMap::new();
    for (name, (role, stat)) in &listing {
        if *role == Role::Table && is_as_it_was(&joined(dir, name), stat).await {
            files.insert(name.clone(), (*stat, Held::AsItWas));
        }
    }
    let mut unread: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    let mut is_settled = false;
    for _ in 0..ROUNDS_MAX {
        let mut is_whole = true;
        for wanted in [
            &[Role::Table][..],
            &[Role::Manifest, Role::Current],
            &[Role::Log, Role::Note],
        ] {
            for (name, (role, stat)) in &listing {
                let is_done = *role == Role::Table
                    && files
                        .get(name)
                        .is_some_and(|(done, _)| same_contents(done, stat));
                if !wanted.contains(role) || is_done {
                    continue;
                }
                match read_one(means, reader, &joined(dir, name)).await? {
                    Ok(drafts) => {
                        unread.remove(name);
                        files.insert(name.clone(), (*stat, Held::Read(drafts)));
                    }
                    Err(reason) => {
                        unread.insert(name.clone(), reason.to_string());
                        files.remove(name);
                        is_whole &= *role == Role::Note;
                    }
                }
            }
        }
        let Some(after) = listing_of(tree, &at).await.and_then(own_files) else {
            break;
        };
        let is_at_rest = is_same(&listing, &after);
        is_settled = is_whole && is_at_rest;
        listing = after;
        files.retain(|name, _| listing.contains_key(name));
        // What is gone meanwhile was the database's own doing.
        unread.retain(|name, _| listing.contains_key(name));
        // What could not be read at rest, however often it was tried, another round would not read either.
        if is_at_rest {
            break;
        }
    }
    let files = files
        .into_iter()
        .map(|(name, (stat, held))| (joined(dir, &name), stat, held))
        .collect();
    Ok(Some(Database {
        dir: dir.to_vec(),
        files,
        unread: unread
            .into_iter()
            .map(|(name, reason)| (joined(dir, &name), reason))
            .collect(),
        is_settled,
    }))
}

/// One file's drafts. Its start as it is now is enough: what is written to it meanwhile stands behind.
async fn read_one<W: World, K: Keepers>(
    means: &Means<'_, W, K>,
    reader: &mut Reader,
    path: &[u8],
) -> Result<Result<Vec<Draft>, io::Error>, SnapshotError> {
    let mut drafts = Vec::new();
    let taken = reader
        .read(means, path, &[], async |draft, _| {
            drafts.push(draft);
            Ok(())
        })
        .await?;
    Ok(match taken {
        Taken::Whole | Taken::Changed => Ok(drafts),
        Taken::Cut(reason) | Taken::Failed(reason) => Err(reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Stamp;

    fn stat(size: u64, inode: u64) -> Stat {
        Stat {
            kind: FileKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            blocks: 0,
            mtime: Stamp::default(),
            ctime: Stamp::default(),
            inode,
            device: 1,
            links: 1,
            rdev: 0,
        }
    }

    fn listing(names: &[(&str, u64)]) -> Option<Listing> {
        let entries = (1..).zip(names).map(|(inode, (name, size))| DirEntry {
            name: name.as_bytes().to_vec(),
            stat: Ok(stat(*size, inode)),
        });
        own_files(entries.collect())
    }

    #[test]
    fn a_database_is_known_by_its_files_and_nothing_else_is_one() {
        let whole = [
            ("000003.log", 9),
            ("000005.ldb", 9),
            ("CURRENT", 16),
            ("LOCK", 0),
            ("MANIFEST-000002", 50),
        ];
        let found = listing(&whole).expect("it is one");
        assert_eq!(found.len(), 4);
        for without in [0usize, 2, 4] {
            let mut names = whole.to_vec();
            names.remove(without);
            assert_eq!(listing(&names).is_some(), without == 0);
        }
        assert!(listing(&[("CURRENT", 1), ("MANIFEST-x", 1), ("a.log", 1)]).is_none());
        for (name, is_own) in [
            ("000001.sst", true),
            ("1.log", true),
            ("kept.log", false),
            ("000001.ldb.bak", false),
            ("CURRENT.bak", false),
            ("LOG", true),
            (".log", false),
        ] {
            assert_eq!(is_own_name(name.as_bytes()), is_own, "{name}");
        }
    }

    #[test]
    fn logs_may_grow_but_no_file_may_come_go_or_change() {
        let names = [
            ("3.log", 9),
            ("5.ldb", 9),
            ("CURRENT", 16),
            ("MANIFEST-2", 50),
        ];
        let before = listing(&names).expect("one");
        let with = |at: usize, size: u64| {
            let mut names = names.to_vec();
            names[at].1 = size;
            listing(&names).expect("one")
        };
        assert!(is_same(&before, &before));
        assert!(is_same(&before, &with(0, 100)) && is_same(&before, &with(3, 60)));
        assert!(!is_same(&before, &with(1, 10)) && !is_same(&before, &with(2, 15)));
        assert!(!is_same(&before, &with(0, 3)));
        let more = [names.to_vec(), vec![("6.ldb", 1)]].concat();
        assert!(!is_same(&before, &listing(&more).expect("one")));
    }
}
