//! What two files share beyond their names and times: bytes, holes, extended attributes.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::console::names;

/// Bytes compared in one go.
const STEP_BYTES: usize = 1 << 20;
/// How much more than the source a sparse file may take for each stretch of data: file systems differ in their blocks.
const BLOCK_BYTES_MAX: u64 = 64 << 10;

/// Extended attributes that a person or program gave it, sorted by name; what the system keeps there for itself does not count.
pub fn xattrs(path: &Path) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let mut value = vec![0; 64 << 10];
    let mut found: Vec<_> = names[..length.min(names.len())]
        .split(|byte| *byte == 0)
        .filter(|name| counts(name))
        .map(|name| {
            let read = rustix::fs::lgetxattr(path, name, &mut value).ok();
            (name.to_vec(), read.map(|length| value[..length].to_vec()))
        })
        .collect();
    found.sort();
    found
}

fn counts(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || (name.starts_with(b"trusted.") && !name.starts_with(b"trusted.overlay."))
        || name.starts_with(b"system.posix_acl")
        || name == b"security.capability"
}

/// The names of attributes that differ.
pub fn xattrs_that_differ(a: &Path, b: &Path) -> Vec<String> {
    let (ours, theirs) = (xattrs(a), xattrs(b));
    let (gone, new) = (
        ours.iter().filter(|xattr| !theirs.contains(xattr)),
        theirs.iter().filter(|xattr| !ours.contains(xattr)),
    );
    let mut names: Vec<_> = gone
        .chain(new)
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Compares bytes and holes; what is a hole on both sides is not read.
pub fn same_contents(a: &Path, b: &Path, bytes: u64) -> Result<(), String> {
    let open = |path: &Path| File::open(path).map_err(|error| format!("cannot be read ({error})"));
    let (a, b) = (open(a)?, open(b)?);
    let (mut ours, mut theirs) = (vec![0; STEP_BYTES], vec![0; STEP_BYTES]);
    let mut at = 0;
    while at < bytes {
        let next = [next_data(&a, at), next_data(&b, at)];
        let next = next.into_iter().flatten().map(|(start, _)| start).min();
        let Some(start) = next.filter(|start| *start < bytes) else {
            break;
        };
        at = start.max(at);
        let (n, m) = (fill(&a, &mut ours, at)?, fill(&b, &mut theirs, at)?);
        if ours[..n] != theirs[..m] {
            let equal = ours[..n]
                .iter()
                .zip(&theirs[..m])
                .take_while(|(x, y)| x == y)
                .count();
            return Err(format!("differs at byte {}", at + equal as u64));
        }
        if n == 0 {
            break;
        }
        at += n as u64;
    }
    same_holes(&a, &b, bytes)
}

/// A file with holes must not come back without them.
fn same_holes(a: &File, b: &File, bytes: u64) -> Result<(), String> {
    let (ours, stretches) = data_in(a, bytes);
    if ours == bytes {
        return Ok(());
    }
    let (theirs, _) = data_in(b, bytes);
    if theirs > ours + BLOCK_BYTES_MAX * (1 + stretches) {
        return Err(format!(
            "has holes and {ours} bytes of data, but came back with {theirs}"
        ));
    }
    Ok(())
}

/// How much of a file is no hole, in how many stretches.
fn data_in(file: &File, bytes: u64) -> (u64, u64) {
    let (mut at, mut data, mut stretches) = (0, 0, 0);
    while let Some((start, end)) = next_data(file, at) {
        if start >= bytes {
            break;
        }
        data += end.min(bytes) - start;
        stretches += 1;
        at = end;
        if at >= bytes {
            break;
        }
    }
    (data, stretches)
}

fn next_data(file: &File, at: u64) -> Option<(u64, u64)> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => {
            let end = rustix::fs::seek(file, SeekFrom::Hole(start));
            Some((start, end.unwrap_or(u64::MAX)))
        }
        Err(Errno::NXIO) => None,
        // File systems that do not know of holes.
        Err(_) => Some((at, u64::MAX)),
    }
}

fn fill(file: &File, buffer: &mut [u8], at: u64) -> Result<usize, String> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("cannot be read ({error})")),
        }
    }
    Ok(filled)
}

/// A path as it is shown.
pub fn shown(path: &Path) -> String {
    let shown = names::shown(path.as_os_str().as_bytes());
    if shown.is_empty() { ".".into() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of holes and two islands.
    fn sparse(dir: &Path, name: &str) -> std::path::PathBuf {
        let path = dir.join(name);
        let file = File::create(&path).expect("created");
        file.set_len(64 << 30).expect("extended");
        file.write_all_at(b"one", 5 << 30).expect("written");
        file.write_all_at(b"two", 60 << 30).expect("written");
        path
    }

    #[test]
    fn files_of_holes_are_compared_at_once_and_a_difference_in_an_island_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (sparse(dir.path(), "a"), sparse(dir.path(), "b"));
        assert_eq!(same_contents(&a, &b, 64 << 30), Ok(()));
        let other = File::options().write(true).open(&b).expect("opens");
        other.write_all_at(b"x", (60 << 30) + 1).expect("written");
        let told = same_contents(&a, &b, 64 << 30).expect_err("differs");
        assert_eq!(told, format!("differs at byte {}", (60u64 << 30) + 1));
    }

    #[test]
    fn holes_that_came_back_as_zeros_are_a_difference() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        File::create(&a)
            .and_then(|file| file.set_len(4 << 20))
            .expect("extended");
        std::fs::write(&b, vec![0; 4 << 20]).expect("written");
        let (data, _) = data_in(&File::open(&b).expect("opens"), 4 << 20);
        if data < 4 << 20 {
            eprintln!("skipped, because this file system makes holes of zeros itself");
            return;
        }
        let told = same_contents(&a, &b, 4 << 20).expect_err("has no holes");
        assert!(told.starts_with("has holes"), "{told}");
        assert_eq!(
            same_contents(&b, &a, 4 << 20),
            Ok(()),
            "fewer bytes are no harm"
        );
    }
}
