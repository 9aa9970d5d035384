//! What a restore leaves beside its files while it is unfinished: its note, and large files that are not whole.
//!
//! Whoever else can write in the root may have put something else there: nothing is followed, and only plain files of our own
//! with one name are taken for ours.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::deep::below_open;
use super::raw::read_behind;
use super::reading::stat_below;
use super::restoring::{OpenParent, PART_PREFIX, Part, Root, write_all};
use super::xattrs::{self, Of};
use crate::world::{NOTE_NAME, Room, Stat, Xattrs};

/// The longest note that is read.
const NOTE_BYTES_MAX: usize = 1 << 20;
/// What a note is called until it takes its place.
const NOTE_ASIDE: &str = ".reserve-unfinished.new";

/// The run of the machine, as the kernel names it.
pub(super) fn boot() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text
        .trim()
        .chars()
        .filter(|letter| *letter != '-')
        .collect();
    let bytes = data_encoding::HEXLOWER.decode(digits.as_bytes()).ok()?;
    bytes.try_into().ok()
}

impl Root {
    /// What stands at a path below.
    pub(super) fn stat(&self, last: &mut Option<OpenParent>, path: &[u8]) -> io::Result<Stat> {
        let (dir, name) = self.parent(last, path)?;
        stat_below(&dir, name)
    }

    /// Extended attributes of what stands at a path below.
    pub(super) fn xattrs(&self, last: &mut Option<OpenParent>, path: &[u8]) -> io::Result<Xattrs> {
        let (dir, name) = self.parent(last, path)?;
        xattrs::read(&Of::Named(&below_open(&dir, name)))
    }

    /// Removes what is no directory; what is not there is no error.
    pub(super) fn remove(&self, last: &mut Option<OpenParent>, path: &[u8]) -> io::Result<()> {
        let (dir, name) = self.parent(last, path)?;
        match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// The note, if there is one that can be ours.
    pub(super) fn note(&self) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(self.dir(), NOTE_NAME, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            opened => opened?,
        };
        if !is_ours(&file)? {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while bytes.len() <= NOTE_BYTES_MAX {
            let (room, offset) = (NOTE_BYTES_MAX + 1 - bytes.len(), bytes.len() as u64);
            if read_behind(&file, &mut bytes, room, offset)? == 0 {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Replaces the note, or takes it away.
    pub(super) fn set_note(&self, note: Option<&[u8]>, durable: bool) -> io::Result<()> {
        let dir = self.dir();
        let remove = |name| match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        };
        match note {
            None => {
                // The directory's own time was set before and does not change by this.
                let found = rustix::fs::fstat(dir)?;
                remove(NOTE_NAME)?;
                let times = Timestamps {
                    last_access: Timespec {
                        tv_sec: 0,
                        tv_nsec: UTIME_OMIT,
                    },
                    last_modification: Timespec {
                        tv_sec: found.st_mtime,
                        tv_nsec: found.st_mtime_nsec.try_into().unwrap_or(UTIME_OMIT),
                    },
                };
                rustix::fs::futimens(dir, &times)?;
            }
            Some(bytes) => {
                remove(NOTE_ASIDE)?;
                let flags = OFlags::WRONLY
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC;
                let mode = Mode::RUSR | Mode::WUSR;
                let file = rustix::fs::openat(dir, NOTE_ASIDE, flags, mode)?;
                let written = write_all(&file, bytes, 0).and_then(|()| {
                    if durable {
                        rustix::fs::fsync(&file)?;
                    }
                    Ok(rustix::fs::renameat(dir, NOTE_ASIDE, dir, NOTE_NAME)?)
                });
                if written.is_err() {
                    // On a full disk the note there was still says what holds.
                    let _ = remove(NOTE_ASIDE);
                }
                written?;
            }
        }
        if durable {
            rustix::fs::fsync(dir)?;
        }
        Ok(())
    }

    /// Opens the unfinished file of a path as it is, or makes it: its name follows from the path and the tag.
    pub(super) fn open_part(
        &self,
        last: &mut Option<OpenParent>,
        path: &[u8],
    ) -> io::Result<(OwnedFd, Part)> {
        let (dir, _) = self.parent(last, path)?;
        let digits = data_encoding::HEXLOWER.encode(&blake3::hash(path).as_bytes()[..12]);
        let name = format!("{PART_PREFIX}{:016x}-of-{digits}", self.tag());
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, name.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
        if !is_ours(&file)? {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{name} is in the way"),
            ));
        }
        Ok((file, Part::new(dir, name)))
    }

    /// Removes what an earlier run of this restore left unfinished in a directory.
    pub(super) fn sweep_parts(&self, last: &mut Option<OpenParent>, path: &[u8]) -> io::Result<()> {
        let ours = format!("{PART_PREFIX}{:016x}-", self.tag());
        let dir = if path.is_empty() {
            Arc::clone(self.dir())
        } else {
            let (above, name) = self.parent(last, path)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Arc::new(rustix::fs::openat(&above, name, flags, Mode::empty())?)
        };
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            if entry.file_name().to_bytes().starts_with(ours.as_bytes()) {
                rustix::fs::unlinkat(&dir, entry.file_name(), AtFlags::empty())?;
            }
        }
        Ok(())
    }

    /// Space on its file system for whoever calls.
    pub(super) fn room(&self) -> io::Result<Room> {
        let found = rustix::fs::fstatvfs(self.dir())?;
        Ok(Room {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            // Where things are not counted, all numbers are zero.
            free_things: match found.f_files {
                0 => u64::MAX,
                _ => found.f_favail,
            },
            block_bytes: found.f_frsize.max(1),
        })
    }
}

/// A plain file with one name that belongs to whoever runs this.
fn is_ours(file: &OwnedFd) -> io::Result<bool> {
    let found = rustix::fs::fstat(file)?;
    Ok(
        FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
            && found.st_nlink == 1
            && found.st_uid == rustix::process::geteuid().as_raw(),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::restoring::tests::place;
    use super::*;

    #[test]
    fn a_note_is_replaced_and_taken_away_and_a_link_is_none() {
        let place = place();
        assert_eq!(place.root.note().expect("reads"), None);
        place.root.set_note(Some(b"first"), true).expect("writes");
        place.root.set_note(Some(b"second"), false).expect("writes");
        assert_eq!(
            place.root.note().expect("reads").as_deref(),
            Some(&b"second"[..])
        );
        assert!(
            place.root.is_empty().expect("tells"),
            "a note does not count"
        );
        let time = || {
            std::fs::metadata(place.path())
                .expect("is there")
                .modified()
                .expect("has one")
        };
        let before = time();
        place.root.set_note(None, true).expect("removes");
        assert_eq!(time(), before);
        place.root.set_note(None, true).expect("is no error");
        let note = place.path().join(NOTE_NAME);
        symlink(place.path().join("elsewhere"), &note).expect("links");
        assert_eq!(place.root.note().expect("is none"), None);
        place
            .root
            .set_note(Some(b"third"), true)
            .expect("takes the link's place");
        assert!(!place.path().join("elsewhere").exists());
        assert!(place.root.room().expect("tells").block_bytes >= 1);
    }

    #[test]
    fn an_unfinished_file_is_found_again_by_its_path_and_swept_with_its_tag_only() {
        let mut place = place();
        place.root.set_tag(7);
        place.root.make_dir(&mut place.last, b"d").expect("makes");
        let (file, _) = place
            .root
            .open_part(&mut place.last, b"d/film")
            .expect("makes");
        write_all(&file, b"half", 0).expect("writes");
        let (again, _) = place
            .root
            .open_part(&mut place.last, b"d/film")
            .expect("opens");
        assert_eq!(rustix::fs::fstat(&again).expect("tells").st_size, 4);
        place
            .root
            .create(&mut place.last, b"d/small")
            .expect("makes");
        place.root.set_tag(8);
        place
            .root
            .sweep_parts(&mut place.last, b"d")
            .expect("sweeps");
        let dir = place.path().join("d");
        let names = || std::fs::read_dir(&dir).expect("lists").count();
        assert_eq!(names(), 2, "those of another retrieval stay");
        place.root.set_tag(7);
        place
            .root
            .sweep_parts(&mut place.last, b"d")
            .expect("sweeps");
        assert_eq!(names(), 0);
        // Something that is no plain file of ours is not written into.
        let (_, part) = place
            .root
            .open_part(&mut place.last, b"d/film")
            .expect("makes");
        part.remove();
        let outside = place.path().join("outside-file");
        std::fs::write(&outside, "old").expect("writes");
        std::fs::hard_link(&outside, place.path().join("d").join(part.name())).expect("links");
        assert!(place.root.open_part(&mut place.last, b"d/film").is_err());
        assert_eq!(std::fs::read(&outside).expect("reads"), b"old");
    }
}
