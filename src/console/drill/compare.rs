//! Two trees, attribute by attribute and byte by byte, by plain file-system calls and not by any of our own readers.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::console::control::SnapshotOutcome;

/// Differences that are listed; beyond them they are counted.
const LISTED_MAX: usize = 20;

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Size {
    /// Regular files.
    pub files: u64,
    /// Their lengths added up.
    pub bytes: u64,
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
    /// Sockets and the like, left out on purpose.
    pub skipped: u64,
    /// Names of files that have several: each came back as a file of its own.
    pub hard_links: u64,
    /// Things with extended attributes or access lists, which do not come back yet.
    pub xattrs: u64,
    /// Things whose owner an ordinary user may not set.
    pub owners_not_set: u64,
}

impl Comparison {
    /// Compares. What changed in the source since `began`, and what the snapshot reported as unread, is told apart.
    pub fn of(
        source: &Path,
        back: &Path,
        began: Option<SystemTime>,
        snapshot: &SnapshotOutcome,
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
        let mut found = Self::default();
        let mut todo = vec![PathBuf::new()];
        while let Some(relative) = todo.pop() {
            if stopped() {
                return found;
            }
            let (a, b) = (join(source, &relative), join(back, &relative));
            let Ok(meta) = fs::symlink_metadata(&a) else {
                found.changed_meanwhile.push(relative.display().to_string());
                continue;
            };
            let kind = meta.file_type();
            if kind.is_socket() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device()
            {
                found.skipped += 1;
                continue;
            }
            let mut shown = String::from_utf8_lossy(relative.as_os_str().as_bytes()).into_owned();
            if shown.is_empty() {
                shown.push('.');
            }
            found.hard_links += u64::from(kind.is_file() && meta.nlink() > 1);
            found.xattrs += u64::from(has_xattrs(&a));
            if unread.contains_key(shown.as_str()) {
                found.unread += 1;
                continue;
            }
            found.compared += 1;
            match found.pair(&a, &meta, &b) {
                Ok(()) => {}
                Err(_) if touched(&meta) => found.changed_meanwhile.push(shown),
                Err(how) => {
                    found.different_count += 1;
                    if found.different.len() < LISTED_MAX {
                        found.different.push((shown, how));
                    }
                }
            }
            if kind.is_dir() {
                found.names(&a, &b, &relative, touched(&meta), &mut todo);
            }
        }
        found
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
                self.different_count += 1;
                if self.different.len() < LISTED_MAX {
                    self.different
                        .push((shown, "came back but is not in the source".into()));
                }
            }
        }
        todo.extend(ours.into_iter().rev().map(|name| relative.join(name)));
    }

    fn pair(&mut self, a: &Path, ours: &Metadata, b: &Path) -> Result<(), String> {
        let theirs =
            fs::symlink_metadata(b).map_err(|error| format!("did not come back ({error})"))?;
        if ours.file_type() != theirs.file_type() {
            return Err("is of another type".into());
        }
        let is_link = ours.file_type().is_symlink();
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
        if !is_link && mode != their_mode {
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
        if is_link {
            let same = fs::read_link(a).ok() == fs::read_link(b).ok();
            return if same {
                Ok(())
            } else {
                Err("points elsewhere".into())
            };
        }
        if ours.is_file() {
            if ours.len() != theirs.len() {
                return Err(format!("length {} became {}", ours.len(), theirs.len()));
            }
            self.bytes += ours.len();
            // An empty file is equal to another whether or not one may open it.
            if ours.len() > 0 {
                same_bytes(a, b)?;
            }
        }
        Ok(())
    }
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
        } else if meta.is_dir() {
            for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                if let Ok(meta) = entry.metadata() {
                    todo.push((entry.path(), meta));
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
        let _ = fs::set_permissions(&dir, fs::Permissions::from_mode(0o700));
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(entry.path());
            }
        }
    }
}

/// Whether a person or program gave it extended attributes; what the system itself keeps there does not count.
fn has_xattrs(path: &Path) -> bool {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let counts = |name: &[u8]| name.starts_with(b"user.") || name.starts_with(b"system.posix_acl");
    names[..length.min(names.len())]
        .split(|byte| *byte == 0)
        .any(counts)
}

/// `join` with an empty path would add a slash, which a file does not take.
fn join(root: &Path, relative: &Path) -> PathBuf {
    if relative.as_os_str().is_empty() {
        root.to_owned()
    } else {
        root.join(relative)
    }
}

fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    let mut names: Vec<_> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}

fn same_bytes(a: &Path, b: &Path) -> Result<(), String> {
    let open = |path: &Path| File::open(path).map_err(|error| format!("cannot be read ({error})"));
    let (mut a, mut b) = (open(a)?, open(b)?);
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at: u64 = 0;
    loop {
        let (n, m) = (fill(&mut a, &mut ours)?, fill(&mut b, &mut theirs)?);
        if ours[..n] != theirs[..m] {
            let equal = ours[..n]
                .iter()
                .zip(&theirs[..m])
                .take_while(|(x, y)| x == y)
                .count();
            return Err(format!("differs at byte {}", at + equal as u64));
        }
        if n == 0 {
            return Ok(());
        }
        at += n as u64;
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> Result<usize, String> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("cannot be read ({error})")),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;
    use crate::console::control::SnapshotView;

    fn outcome() -> SnapshotOutcome {
        let snapshot = SnapshotView {
            id: String::new(),
            author: String::new(),
            author_key: String::new(),
            number: 1,
            taken: String::new(),
            taken_seconds: 0,
            chunks: 0,
            sealed_bytes: 0,
            held_by: Vec::new(),
            accepted: true,
        };
        SnapshotOutcome {
            snapshot,
            protected: true,
            copies: 2,
            factor_min: 2,
            files_read: 0,
            bytes_read: 0,
            bytes_sent: 0,
            bytes_new: 0,
            chunks_sealed: 0,
            bytes_sealed: 0,
            unchanged: false,
            held: Vec::new(),
            warnings: Vec::new(),
            databases: 0,
            chunks_new: 0,
            unread: Vec::new(),
            unread_count: 0,
            skipped: 0,
            keepers: Vec::new(),
        }
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("a")).expect("made");
        fs::write(dir.path().join("a/photo"), vec![7; 2_500_000]).expect("written");
        symlink("a/photo", dir.path().join("link")).expect("linked");
        dir
    }

    /// The same times on both sides: of what was made just now.
    fn same_times(a: &Path, b: &Path) {
        for relative in ["a/photo", "a", ""] {
            let time = fs::metadata(a.join(relative))
                .expect("there")
                .modified()
                .expect("a time");
            File::open(b.join(relative))
                .expect("opens")
                .set_modified(time)
                .expect("set");
        }
        fs::remove_file(a.join("link"))
            .and_then(|()| fs::remove_file(b.join("link")))
            .expect("removed");
        for side in [a, b] {
            File::open(side)
                .expect("opens")
                .set_modified(UNIX_EPOCH)
                .expect("set");
        }
    }

    #[test]
    fn equal_trees_are_equal_and_one_flipped_byte_is_found() {
        let (a, b) = (tree(), tree());
        same_times(a.path(), b.path());
        let later = Some(SystemTime::now() + Duration::from_secs(10));
        let equal = Comparison::of(a.path(), b.path(), later, &outcome(), &|| false);
        assert_eq!(
            (
                equal.different_count,
                equal.changed_meanwhile.len(),
                equal.bytes
            ),
            (0, 0, 2_500_000),
            "{equal:?}"
        );

        let time = fs::metadata(b.path().join("a/photo"))
            .expect("there")
            .modified()
            .expect("a time");
        let mut bytes = vec![7; 2_500_000];
        bytes[2_000_000] = 8;
        fs::write(b.path().join("a/photo"), bytes).expect("written");
        File::options()
            .write(true)
            .open(b.path().join("a/photo"))
            .expect("opens")
            .set_modified(time)
            .expect("set");
        fs::write(b.path().join("extra"), "x").expect("written");
        File::open(b.path())
            .expect("opens")
            .set_modified(UNIX_EPOCH)
            .expect("set");
        let different = Comparison::of(a.path(), b.path(), later, &outcome(), &|| false);
        assert_eq!(different.different_count, 2, "{different:?}");
        assert!(
            different
                .different
                .contains(&("a/photo".into(), "differs at byte 2000000".into())),
            "{different:?}"
        );
    }

    #[test]
    fn what_changed_since_the_drill_began_is_named_as_such() {
        let (a, b) = (tree(), tree());
        fs::write(a.path().join("a/photo"), "new").expect("written");
        let found = Comparison::of(a.path(), b.path(), Some(UNIX_EPOCH), &outcome(), &|| false);
        assert_eq!(found.different_count, 0);
        assert!(found.changed_meanwhile.contains(&"a/photo".to_owned()));
    }
}
