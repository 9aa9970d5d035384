//! Whether what came back is what went in: names, kinds and bytes. Not measured, and not left out for anybody.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Bytes compared at a time.
const PIECE_BYTES: usize = 1 << 20;

/// An error that names the first difference.
pub fn compare(went_in: &Path, came_back: &Path) -> Result<()> {
    let came_back = top_of(went_in, came_back);
    let (ours, theirs) = (files(went_in)?, files(&came_back)?);
    if let Some(path) = ours.keys().find(|path| !theirs.contains_key(*path)) {
        bail!("{} did not come back", path.display());
    }
    if let Some(path) = theirs.keys().find(|path| !ours.contains_key(*path)) {
        bail!("{} came back and was never there", path.display());
    }
    let mut pieces = [vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]];
    for (path, bytes) in &ours {
        if theirs.get(path) != Some(bytes)
            || !is_same(&went_in.join(path), &came_back.join(path), &mut pieces)?
        {
            bail!("{} came back different", path.display());
        }
    }
    Ok(())
}

/// Some programs put the whole absolute path below the place they were given, some the last name.
fn top_of(went_in: &Path, came_back: &Path) -> PathBuf {
    let absolute = came_back.join(went_in.strip_prefix("/").unwrap_or(went_in));
    let last = came_back.join(went_in.file_name().unwrap_or_default());
    [absolute, last]
        .into_iter()
        .find(|dir| dir.is_dir())
        .unwrap_or_else(|| came_back.to_owned())
}

fn files(root: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                open.push(entry.path());
            } else {
                found.insert(entry.path().strip_prefix(root)?.to_owned(), meta.len());
            }
        }
    }
    Ok(found)
}

fn is_same(a: &Path, b: &Path, pieces: &mut [Vec<u8>; 2]) -> Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    let [ours, theirs] = pieces;
    loop {
        let len = a.read(ours)?;
        if len == 0 {
            return Ok(b.read(theirs)? == 0);
        }
        if b.read_exact(&mut theirs[..len]).is_err() || ours[..len] != theirs[..len] {
            return Ok(false);
        }
    }
}

/// Reads a tree once, so that nobody is the one who finds the cache cold.
pub fn warm(root: &Path) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    for path in files(root)?.into_keys() {
        let mut file = File::open(root.join(path))?;
        while file.read(&mut piece)? > 0 {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_strange_or_changed_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for (root, text) in [(&a, "same"), (&b.join("a"), "same")] {
            fs::create_dir_all(root.join("d")).expect("it is made");
            fs::write(root.join("d/x"), text).expect("it is written");
        }
        compare(&a, &b).expect("the same, below its last name");
        let told = |what: &str| {
            let error = compare(&a, &b).expect_err("they differ").to_string();
            assert!(error.contains(what), "{error}");
        };
        fs::write(b.join("a/d/x"), "some").expect("it is written");
        told("d/x came back different");
        fs::write(b.join("a/y"), "").expect("it is written");
        told("y came back and was never there");
        fs::remove_file(b.join("a/d/x")).expect("it is removed");
        told("d/x did not come back");
    }
}
