//! Directories in order, with an end to the memory they take however many names they have.
//!
//! A directory whose names take more than the asker allows is read again for the next ones: a pass keeps the lowest names
//! behind those that were given out, and forgets the higher half whenever there are too many. No file is needed for it,
//! and 100,000 names take two or three passes.

use std::io;

use rustix::fs::{Dir, Mode, OFlags};

use super::deep::reach;
use super::reading::{open_quietly, stat_below};
use crate::world::{DirEntry, Names};

/// The lowest names met so far behind some name, in any order until they are handed out.
struct Lowest {
    bytes: Vec<u8>,
    /// Where each name starts and ends.
    places: Vec<(u32, u32)>,
    bytes_max: usize,
    /// Names from here on were forgotten.
    ceiling: Option<Vec<u8>>,
}

impl Lowest {
    const fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            places: Vec::new(),
            bytes_max,
            ceiling: None,
        }
    }

    fn name(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.bytes[start as usize..end as usize]
    }

    fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.places.len() * size_of::<(u32, u32)>()
    }

    fn add(&mut self, name: &[u8]) {
        if self
            .ceiling
            .as_deref()
            .is_some_and(|ceiling| name >= ceiling)
        {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let place = |at| u32::try_from(at).expect("the limit is far below 4 GiB");
        self.places.push((place(start), place(self.bytes.len())));
        if self.memory_bytes() > self.bytes_max && self.places.len() > 1 {
            self.forget_half();
        }
    }

    fn sort(&mut self) {
        let mut places = std::mem::take(&mut self.places);
        places.sort_unstable_by(|a, b| self.name(*a).cmp(self.name(*b)));
        self.places = places;
    }

    fn forget_half(&mut self) {
        self.sort();
        let kept = self.places.len() / 2;
        self.ceiling = Some(self.name(self.places[kept]).to_vec());
        self.places.truncate(kept);
        let mut bytes = Vec::with_capacity(self.bytes_max / 2);
        for place in &mut self.places {
            let start = bytes.len();
            bytes.extend_from_slice(&self.bytes[place.0 as usize..place.1 as usize]);
            let at = |at| u32::try_from(at).expect("the limit is far below 4 GiB");
            *place = (at(start), at(bytes.len()));
        }
        self.bytes = bytes;
    }

    fn into_names(mut self) -> Names {
        self.sort();
        let mut names = Names::new(self.ceiling.is_some());
        for place in &self.places {
            names.push(self.name(*place));
        }
        names
    }
}

/// The names behind `behind`.
pub(super) fn list(path: &[u8], behind: &[u8], bytes_max: usize) -> io::Result<Names> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = open_quietly(&reach(path)?, flags)?;
    let mut lowest = Lowest::new(bytes_max);
    for entry in Dir::new(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && name > behind {
            lowest.add(name);
        }
    }
    Ok(lowest.into_names())
}

/// What stands under these names of a directory.
pub(super) fn look(path: &[u8], names: Vec<Vec<u8>>) -> Vec<DirEntry> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = reach(path).and_then(|place| {
        let opened = rustix::fs::openat(&place, place.rest, flags, Mode::empty());
        Ok(opened?)
    });
    let errno = |error: &io::Error| error.raw_os_error().unwrap_or(libc::EIO);
    let look = |name: Vec<u8>| {
        let stat = match &dir {
            Ok(dir) => stat_below(dir, &name).map_err(|error| errno(&error)),
            Err(error) => Err(errno(error)),
        };
        DirEntry { name, stat }
    };
    names.into_iter().map(look).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_directory_too_large_for_its_memory_comes_in_passes_and_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut expected = Vec::new();
        for number in 0..500u32 {
            // Names of all lengths, in no order.
            let name = format!("{:x}", number.wrapping_mul(2_654_435_761));
            fs::write(dir.path().join(&name), b"").expect("writes");
            expected.push(name.into_bytes());
        }
        expected.sort_unstable();
        let path = dir.path().as_os_str().as_bytes();
        for bytes_max in [1, 100, 4000, 1 << 20] {
            let (mut found, mut passes) = (Vec::<Vec<u8>>::new(), 0);
            loop {
                let behind = found.last().cloned().unwrap_or_default();
                let names = list(path, &behind, bytes_max).expect("lists");
                assert!(names.memory_bytes() <= 2 * bytes_max.max(64), "{bytes_max}");
                found.extend((0..names.len()).filter_map(|at| names.get(at).map(<[u8]>::to_vec)));
                passes += 1;
                if !names.has_more {
                    break;
                }
            }
            assert_eq!(found, expected, "{bytes_max}");
            assert_eq!(passes == 1, bytes_max > 10_000, "{passes} passes");
        }
    }

    #[test]
    fn one_name_that_cannot_be_looked_at_does_not_stop_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("here"), b"123").expect("writes");
        let path = dir.path().as_os_str().as_bytes();
        let asked = vec![b"here".to_vec(), b"gone".to_vec()];
        let found = look(path, asked.clone());
        assert_eq!(found[0].stat.expect("is there").size, 3);
        assert_eq!(found[1].stat.expect_err("is gone"), libc::ENOENT);
        let found = look(b"/nowhere/at/all", asked);
        assert!(found.iter().all(|entry| entry.stat == Err(libc::ENOENT)));
    }
}
