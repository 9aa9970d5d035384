//! Two trees, attribute by attribute and byte by byte, by plain file-system calls and not by any of our own readers.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::alike;
use crate::console::control::SnapshotOutcome;
use crate::console::retrieve::RetrieveOutcome;
use crate::world::uring::ShortPath;

/// Differences that are listed; beyond them they are counted.
const LISTED_MAX: usize = 20;

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Size {
    /// Regular files.
    pub files: u64,
    /// Their lengths added up.
    pub bytes: u64,
    /// The same without holes.
    pub data_bytes: u64,
    /// It is one file, not a directory.
    pub is_file: bool,
}

/// What the comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Things compared.
    pub compared: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// Things that differ although nobody touched the source: path and how, bounded.
    pub different: Vec<(String, String)>,
    /// How many.
    pub different_count: u64,
    /// Things that changed in the source while the drill ran.
    pub changed_meanwhile: Vec<String>,
    /// Things the snapshot said it could not read.
    pub unread: u64,
    /// Sockets, left out on purpose.
    pub skipped: u64,
    /// Names of things that have several.
    pub hard_links: u64,
    /// Things with extended attributes or access lists.
    pub xattrs: u64,
    /// Files with holes.
    pub sparse: u64,
    /// Things whose owner an ordinary user may not set.
    pub owners_not_set: u64,
    /// Things of which the restore told that something could not be set or made here: path and what, bounded.
    pub not_set: Vec<(String, String)>,
    /// How many.
    pub not_set_count: u64,
}

/// Device and inode.
type Place = (u64, u64);

/// Which things of the source are which of what came back: names of one thing must be names of one thing again.
#[derive(Default)]
struct Names {
    there: BTreeMap<Place, Place>,
    back: BTreeMap<Place, Place>,
}

impl Names {
    fn agree(&mut self, ours: &Metadata, theirs: &Metadata) -> bool {
        if ours.is_dir() || (ours.nlink() < 2 && theirs.nlink() < 2) {
            return true;
        }
        let (a, b) = ((ours.dev(), ours.ino()), (theirs.dev(), theirs.ino()));
        *self.there.entry(a).or_insert(b) == b && *self.back.entry(b).or_insert(a) == a
    }
}

impl Comparison {
    /// Compares. What changed in the source since `began`, what the snapshot reported as unread, and what the restore reported
    /// as not settable here, is told apart.
    pub fn of(
        source: &Path,
        back: &Path,
        began: Option<SystemTime>,
        (snapshot, came_back): (&SnapshotOutcome, &RetrieveOutcome),
        stopped: &dyn Fn() -> bool,
    ) -> Self {
        let unread: BTreeMap<&str, &str> = snapshot
            .unread
            .iter()
            .map(|(path, why)| (path.as_str(), why.as_str()))
            .collect();
        let began = began.map(|began| {
            let since = began.duration_since(UNIX_EPOCH).unwrap_or_default();
            (
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                i64::from(since.subsec_nanos()),
            )
        });
        // A change is one whose time the kernel wrote after the drill began.
        let touched =
            |meta: &Metadata| began.is_some_and(|began| (meta.ctime(), meta.ctime_nsec()) > began);
        let not_set: BTreeMap<&str, &str> = came_back
            .not_set
            .iter()
            .map(|(path, what)| (path.as_str(), what.as_str()))
            .collect();
        let mut found = Self::default();
        let mut links = Names::default();
        let mut todo = vec![PathBuf::new()];
        while let Some(relative) = todo.pop() {
            if stopped() {
                return found;
            }
            let shown = alike::shown(&relative);
            let reached = (short(source, &relative), short(back, &relative));
            let (Ok(a), Ok(b)) = reached else {
                found.differs(shown, "its directory did not come back".into());
                continue;
            };
            let Ok(meta) = fs::symlink_metadata(&a) else {
                found.changed_meanwhile.push(shown);
                continue;
            };
            let kind = meta.file_type();
            if kind.is_socket() {
                found.skipped += 1;
                continue;
            }
            found.hard_links += u64::from(!kind.is_dir() && meta.nlink() > 1);
            found.xattrs += u64::from(!alike::xattrs(&a).is_empty());
            found.sparse += u64::from(kind.is_file() && meta.blocks() * 512 < meta.len());
            if unread.contains_key(shown.as_str()) {
                found.unread += 1;
                continue;
            }
            found.compared += 1;
            match found.pair((&a, &b), &meta, &mut links) {
                Ok(()) => {}
                Err(_) if touched(&meta) => found.changed_meanwhile.push(shown),
                Err(Unlike::InWhatItIs(how)) => found.differs(shown, how),
                Err(Unlike::InWhatIsSet(how)) => match not_set.get(shown.as_str()) {
                    Some(what) => {
                        found.not_set_count += 1;
                        if found.not_set.len() < LISTED_MAX {
                            found.not_set.push((shown, (*what).to_owned()));
                        }
                    }
                    None => found.differs(shown, how),
                },
            }
            if kind.is_dir() {
                found.names(&a, &b, &relative, touched(&meta), &mut todo);
            }
        }
        found
    }

    fn differs(&mut self, path: String, how: String) {
        self.different_count += 1;
        if self.different.len() < LISTED_MAX {
            self.different.push((path, how));
        }
    }

    /// The names in a directory, on both sides.
    fn names(
        &mut self,
        a: &Path,
        b: &Path,
        relative: &Path,
        was_touched: bool,
        todo: &mut Vec<PathBuf>,
    ) {
        let (Ok(ours), Ok(theirs)) = (names(a), names(b)) else {
            return;
        };
        for extra in theirs
            .iter()
            .filter(|name| ours.binary_search(name).is_err())
        {
            let shown = relative.join(extra).display().to_string();
            if was_touched {
                self.changed_meanwhile.push(shown);
            } else {
                self.differs(shown, "came back but is not in the source".into());
            }
        }
        todo.extend(ours.into_iter().rev().map(|name| relative.join(name)));
    }

    fn pair(
        &mut self,
        (a, b): (&Path, &Path),
        ours: &Metadata,
        links: &mut Names,
    ) -> Result<(), Unlike> {
        let kind = ours.file_type();
        let theirs = fs::symlink_metadata(b).map_err(|error| {
            let how = format!("did not come back ({error})");
            if kind.is_char_device() || kind.is_block_device() {
                Unlike::InWhatIsSet(how)
            } else {
                Unlike::InWhatItIs(how)
            }
        })?;
        self.same_thing((a, b), ours, &theirs)
            .map_err(Unlike::InWhatItIs)?;
        self.same_attributes((a, b), ours, &theirs, links)
            .map_err(Unlike::InWhatIsSet)
    }

    fn same_thing(
        &mut self,
        (a, b): (&Path, &Path),
        ours: &Metadata,
        theirs: &Metadata,
    ) -> Result<(), String> {
        if ours.file_type() != theirs.file_type() {
            return Err("is of another type".into());
        }
        if ours.rdev() != theirs.rdev() {
            return Err(format!("device {} became {}", ours.rdev(), theirs.rdev()));
        }
        if ours.is_symlink() && fs::read_link(a).ok() != fs::read_link(b).ok() {
            return Err("points elsewhere".into());
        }
        if ours.is_file() {
            if ours.len() != theirs.len() {
                return Err(format!("length {} became {}", ours.len(), theirs.len()));
            }
            self.bytes += ours.len();
            // An empty file is equal to another whether or not one may open it.
            if ours.len() > 0 {
                alike::same_contents(a, b, ours.len())?;
            }
        }
        Ok(())
    }

    fn same_attributes(
        &mut self,
        (a, b): (&Path, &Path),
        ours: &Metadata,
        theirs: &Metadata,
        links: &mut Names,
    ) -> Result<(), String> {
        if !links.agree(ours, theirs) {
            return Err("is a name of another file than before".into());
        }
        let owner_differs = (ours.uid(), ours.gid()) != (theirs.uid(), theirs.gid());
        let may_own = rustix::process::geteuid().is_root();
        if owner_differs && may_own {
            return Err(format!(
                "owner {}:{} became {}:{}",
                ours.uid(),
                ours.gid(),
                theirs.uid(),
                theirs.gid()
            ));
        }
        self.owners_not_set += u64::from(owner_differs);
        // Without the owner the set-user and set-group bits must not come back either.
        let mode_mask = if owner_differs { 0o1777 } else { 0o7777 };
        let (mode, their_mode) = (
            ours.permissions().mode() & mode_mask,
            theirs.permissions().mode() & mode_mask,
        );
        if !ours.is_symlink() && mode != their_mode {
            return Err(format!("mode {mode:04o} became {their_mode:04o}"));
        }
        if (ours.mtime(), ours.mtime_nsec()) != (theirs.mtime(), theirs.mtime_nsec()) {
            return Err(format!(
                "mtime {}.{:09} became {}.{:09}",
                ours.mtime(),
                ours.mtime_nsec(),
                theirs.mtime(),
                theirs.mtime_nsec()
            ));
        }
        let xattrs = alike::xattrs_that_differ(a, b);
        if xattrs.is_empty() {
            Ok(())
        } else {
            Err(format!("differs in {}", xattrs.join(", ")))
        }
    }
}

/// How two things differ.
enum Unlike {
    /// In what they are or hold: nothing excuses that.
    InWhatItIs(String),
    /// In what a restore sets, which may not be allowed here.
    InWhatIsSet(String),
}

fn read_dir(path: &Path) -> io::Result<fs::ReadDir> {
    fs::read_dir(ShortPath::of(path)?)
}

/// Counts files and bytes; what cannot be looked into is left out, the snapshot will name it.
pub fn measure(root: &Path) -> io::Result<Size> {
    let meta = fs::symlink_metadata(root)?;
    let mut size = Size {
        is_file: !meta.is_dir(),
        ..Size::default()
    };
    let mut todo = vec![(root.to_owned(), meta)];
    while let Some((path, meta)) = todo.pop() {
        if meta.is_file() {
            size.files += 1;
            size.bytes += meta.len();
            size.data_bytes += meta.len().min(meta.blocks() * 512);
        } else if meta.is_dir() {
            for entry in read_dir(&path).into_iter().flatten().flatten() {
                if let Ok(meta) = entry.metadata() {
                    todo.push((path.join(entry.file_name()), meta));
                }
            }
        }
    }
    Ok(size)
}

/// Gives every directory below (not through links) its write bit, so that it can be removed.
pub fn make_removable(root: &Path) {
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        // What cannot be changed is reported when the removal fails.
        let Ok(short) = ShortPath::of(&dir) else {
            continue;
        };
        let _ = fs::set_permissions(&short, fs::Permissions::from_mode(0o700));
        for entry in read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(dir.join(entry.file_name()));
            }
        }
    }
}

/// A place in a tree, however long its path is. `join` with an empty path would add a slash, which a file does not take.
fn short(root: &Path, relative: &Path) -> io::Result<ShortPath> {
    if relative.as_os_str().is_empty() {
        ShortPath::of(root)
    } else {
        ShortPath::of(&root.join(relative))
    }
}

fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let mut names: Vec<_> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}
