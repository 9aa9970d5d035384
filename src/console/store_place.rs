//! Where a Box's store lies: in its state directory, or where `box.toml` says.

use std::path::{Path, PathBuf};

use crate::keeper::STORE_DIR;
use crate::roster::{CONFIG_FILE, Config};
use crate::world::uring::Uring;

/// Where `box.toml` says that it lies, if it says so. What is wrong with that file is told by whoever reads the rest of it; the store
/// is missed then, and never begun anew.
pub fn elsewhere(dir: &Path) -> Option<PathBuf> {
    let bytes = std::fs::read(dir.join(CONFIG_FILE)).ok()?;
    Config::from_bytes(&bytes)
        .ok()?
        .store
        .path
        .map(PathBuf::from)
}

/// Where it lies.
pub fn of(dir: &Path) -> PathBuf {
    elsewhere(dir).unwrap_or_else(|| dir.join(STORE_DIR))
}

/// The world of a Box with this state directory, its store where it lies.
///
/// # Errors
/// When the helper thread cannot be started.
pub fn world(dir: &Path) -> std::io::Result<Uring> {
    Uring::new_with(dir, elsewhere(dir).map(|place| (STORE_DIR, place)))
}
