//! A small mixed corpus for a drill without a path: photos nobody can compress, texts, odd names, links, empty things.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use crate::console::fault::Fault;

/// Makes it and tells where it is.
pub fn make(root: &Path) -> Result<PathBuf, Fault> {
    fill(root).map_err(|error| {
        Fault::new(
            format!(
                "the drill's own files could not be made in {}: {error}",
                root.display()
            ),
            "Nothing of yours was touched.",
            "Give a --work-dir with room.",
        )
    })?;
    Ok(root.to_owned())
}

fn fill(root: &Path) -> std::io::Result<()> {
    for dir in ["photos/2026", "notes", "orbitdb/keystore", "empty"] {
        fs::create_dir_all(root.join(dir))?;
    }
    // The BLAKE3 stream of a name looks random to every compressor and is the same in each drill.
    let noise = |name: &str, bytes: usize| {
        let mut buffer = vec![0; bytes];
        blake3::Hasher::new()
            .update(name.as_bytes())
            .finalize_xof()
            .fill(&mut buffer);
        buffer
    };
    for number in 0..24 {
        let name = format!("photos/2026/IMG_{number:04}.jpg");
        fs::write(root.join(&name), noise(&name, 1_000_003 + number * 200_000))?;
    }
    fs::write(root.join("photos/film.mp4"), noise("film", 24 << 20))?;
    for number in 0..600_usize {
        let text = format!("Note {number}. ").repeat(20 + number * 7 % 900);
        fs::write(root.join(format!("notes/{number:03}.txt")), text)?;
        fs::write(
            root.join(format!("orbitdb/{number:06}.ldb")),
            noise(&format!("table {number}"), 300 + number * 37 % 9000),
        )?;
    }
    fs::write(root.join("notes/nothing.txt"), "")?;
    fs::write(
        root.join("photos")
            .join(OsStr::from_bytes(b"not \xff utf-8.jpg")),
        "a name as old cameras wrote it",
    )?;
    symlink("../photos/film.mp4", root.join("notes/film"))?;
    symlink("nowhere/at all", root.join("notes/dangling"))?;
    fs::set_permissions(
        root.join("orbitdb/keystore"),
        fs::Permissions::from_mode(0o700),
    )?;
    fs::set_permissions(
        root.join("notes/000.txt"),
        fs::Permissions::from_mode(0o444),
    )?;
    let old = UNIX_EPOCH + Duration::new(86_400 * 365, 123_456_789);
    File::open(root.join("notes/001.txt"))?.set_modified(old)?;
    File::open(root.join("empty"))?.set_modified(old)
}
