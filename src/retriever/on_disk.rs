//! Compares a snapshot with files on a disk, in the layout in which `retrieve` would put them there.
//!
//! A file of the same length and time is taken for the same unless its bytes are asked for; one whose time alone differs is
//! compared byte by byte, a stretch at a time.

use std::cmp::Ordering;
use std::io;

use super::cursor::{At, Cursor, Stretch, Taken, goes_on};
use super::differ::{Changes, DiffTotals, Difference, Held};
use super::selection::{lies_below, placed};
use super::{FetchError, RetrieveError, Source};
use crate::format::head::{DataSet, Manifest};
use crate::format::index::{What, path_order};
use crate::terms::{Kind, Stamp};

/// Bytes of a hole that are compared at once.
const HOLE_STEP_BYTES: usize = 1 << 20;

/// What a thing on the disk is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskKind {
    /// A directory.
    Dir,
    /// A file of this length.
    File(u64),
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A device.
    Device {
        /// Whether it is one of blocks.
        is_block: bool,
        /// Which.
        rdev: u64,
    },
    /// Anything else: no snapshot has it.
    Other,
}

/// A thing on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskThing {
    /// Its path below the directory that is compared; empty for that directory itself.
    pub path: Vec<u8>,
    /// What it is, or why that cannot be told.
    pub kind: Result<DiskKind, String>,
    /// Low 12 bits of `st_mode`.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Last change of contents.
    pub mtime: Stamp,
}

/// Files on a disk.
pub trait OnDisk {
    /// An open file.
    type File;
    /// The next thing, in path order.
    fn next(&mut self) -> Option<DiskThing>;
    /// Opens a file.
    fn open(&self, path: &[u8]) -> io::Result<Self::File>;
    /// Reads at an offset until the buffer is full or the file ends.
    fn read(&self, file: &Self::File, into: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// Compares; the snapshot is first, the disk second.
pub async fn diff_with<S: Source, D: OnDisk>(
    (source, manifest): (&S, &Manifest),
    disk: &mut D,
    reads_all: bool,
    show: impl FnMut(&[u8], &Difference) -> bool,
) -> Result<DiffTotals, RetrieveError> {
    let mut held = Held::new(show);
    let several = manifest.data_sets.len() > 1;
    let mut comparing = Comparing {
        source,
        reads_all,
        next: disk.next(),
        blind: None,
    };
    // The directory that is compared is nobody's when several data sets lie in it.
    if several
        && comparing
            .next
            .as_ref()
            .is_some_and(|thing| thing.path.is_empty())
    {
        comparing.next = disk.next();
    }
    for set in &manifest.data_sets {
        let base = if several { set.name.as_bytes() } else { b"" };
        comparing.set(set, base, disk, &mut held).await?;
    }
    while !held.is_over
        && let Some(thing) = comparing.next.take()
    {
        held.add(&thing.path, Difference::Added, None);
        comparing.next = disk.next();
    }
    Ok(held.end())
}

struct Comparing<'c, S> {
    source: &'c S,
    reads_all: bool,
    next: Option<DiskThing>,
    blind: Option<Blind>,
}

/// A directory on the disk that cannot be looked into: what of the snapshot lies in it is neither there nor gone.
struct Blind {
    path: Vec<u8>,
    why: String,
    entries: u64,
}

impl<S: Source> Comparing<'_, S> {
    async fn set<D: OnDisk>(
        &mut self,
        set: &DataSet,
        base: &[u8],
        disk: &mut D,
        held: &mut Held<impl FnMut(&[u8], &Difference) -> bool>,
    ) -> Result<(), RetrieveError> {
        let mut cursor = Cursor::new(self.source, set);
        while !held.is_over {
            match cursor.at() {
                None => break,
                Some(At::Subtree { .. }) => {
                    if let Some(lost) = cursor.open().await? {
                        let (path, until) = (placed(base, &lost.first), lost.until);
                        let until = until.map(|until| placed(base, &until));
                        // What is there on the disk may be what is lost here.
                        while self.next.as_ref().is_some_and(|thing| {
                            path_order(&thing.path, &path) != Ordering::Less
                                && until.as_ref().is_none_or(|until| {
                                    path_order(&thing.path, until) == Ordering::Less
                                })
                        }) {
                            self.next = disk.next();
                        }
                        let (entries, why) = (lost.entries, lost.why);
                        held.add(&path, Difference::Unknown { entries, why }, None);
                    }
                }
                Some(At::Entry(_)) => {
                    let Some(taken) = cursor.take() else { break };
                    let path = place(set, base, &taken);
                    self.leave_blind(Some(&path), held);
                    while let Some(thing) = &self.next
                        && path_order(&thing.path, &path) == Ordering::Less
                        && !held.is_over
                    {
                        // A data set that is a single file has a directory of its name around it.
                        if thing.path != base || thing.kind != Ok(DiskKind::Dir) {
                            held.add(&thing.path, Difference::Added, None);
                        }
                        self.next = disk.next();
                    }
                    let here = self.next.take_if(|thing| thing.path == path);
                    if here.is_some() {
                        self.next = disk.next();
                    }
                    self.pair(&mut cursor, taken, path, here, disk, held)
                        .await?;
                }
            }
        }
        self.leave_blind(None, held);
        Ok(())
    }

    /// Tells of the directory that could not be looked into, once nothing more lies in it.
    fn leave_blind(
        &mut self,
        next: Option<&[u8]>,
        held: &mut Held<impl FnMut(&[u8], &Difference) -> bool>,
    ) {
        let lies_in = |blind: &Blind| next.is_some_and(|path| lies_below(path, &blind.path));
        if let Some(blind) = self.blind.take_if(|blind| !lies_in(blind)) {
            let why = FetchError::Told(blind.why);
            let entries = blind.entries;
            held.add(&blind.path, Difference::Unknown { entries, why }, None);
        }
    }

    /// One entry, with all that goes on with it, and what stands there.
    async fn pair<D: OnDisk>(
        &mut self,
        cursor: &mut Cursor<'_, S>,
        mut taken: Taken,
        path: Vec<u8>,
        here: Option<DiskThing>,
        disk: &D,
        held: &mut Held<impl FnMut(&[u8], &Difference) -> bool>,
    ) -> Result<(), RetrieveError> {
        let mut unknown = None;
        let mut changes = here.as_ref().map(|thing| self.quick(&taken, thing));
        let mut reading = None;
        if let (Some(thing), Some(changes)) = (&here, &mut changes) {
            if let Err(why) = &thing.kind {
                unknown = Some(why.clone());
            }
            if self.wants_bytes(&taken, *changes) {
                match disk.open(&path) {
                    Ok(file) => reading = Some((file, 0u64)),
                    Err(error) => unknown = Some(error.to_string()),
                }
            }
        }
        let whole_path = taken.entry.path.clone();
        loop {
            if let (Some((file, at)), Some(changes)) = (&mut reading, &mut changes)
                && !changes.contents
            {
                match self.same_bytes(&taken.stretches, file, at, disk).await {
                    Ok(same) => changes.contents = !same,
                    Err(ReadError::Source(ended @ FetchError::Ended(_))) => {
                        return Err(RetrieveError::SourceEnded(ended));
                    }
                    Err(ReadError::Source(why)) => unknown = Some(why.to_string()),
                    Err(ReadError::Disk(why)) => unknown = Some(why.to_string()),
                }
                if unknown.is_some() {
                    reading = None;
                }
            }
            match cursor.at() {
                Some(At::Entry(next)) if goes_on(next) && next.path == whole_path => {
                    let Some(more) = cursor.take() else { break };
                    taken = more;
                }
                Some(At::Subtree { first, .. }) if first == whole_path.as_slice() => {
                    if let Some(lost) = cursor.open().await? {
                        unknown = Some(lost.why.to_string());
                        break;
                    }
                    taken.stretches.clear();
                }
                _ => break,
            }
        }
        let is_blind = here.as_ref().is_some_and(|thing| thing.kind.is_err())
            && matches!(taken.entry.what, What::Dir);
        match (changes, unknown) {
            (None, _) if self.blind.is_some() => {
                let blind = self.blind.as_mut();
                blind.into_iter().for_each(|blind| blind.entries += 1);
            }
            (Some(_), Some(why)) if is_blind => {
                self.blind = Some(Blind {
                    path,
                    why,
                    entries: 1,
                });
            }
            (None, _) => held.add(&path, Difference::Removed, None),
            (Some(changes), None) if changes == Changes::default() => {}
            (Some(changes), None) => held.add(&path, Difference::Changed(changes), None),
            (Some(_), Some(why)) => {
                let why = FetchError::Told(why);
                held.add(&path, Difference::Unknown { entries: 1, why }, None);
            }
        }
        Ok(())
    }

    fn wants_bytes(&self, taken: &Taken, changes: Changes) -> bool {
        let is_file = matches!(taken.entry.what, What::File { bytes, .. } if bytes > 0);
        is_file && !changes.kind && !changes.contents && (changes.mtime || self.reads_all)
    }

    /// What can be told without reading a file.
    fn quick(&self, taken: &Taken, thing: &DiskThing) -> Changes {
        let entry = &taken.entry;
        let (kind, contents) = match (&entry.what, &thing.kind) {
            (What::Dir, Ok(DiskKind::Dir)) => (false, false),
            (What::File { bytes, .. }, Ok(DiskKind::File(here))) => (false, bytes != here),
            (What::Symlink { target }, Ok(DiskKind::Symlink(here))) => {
                (false, target.as_slice() != here.as_slice())
            }
            (What::Fifo, Ok(DiskKind::Fifo)) => (false, false),
            (
                What::Device { is_block, rdev },
                Ok(DiskKind::Device {
                    is_block: block_here,
                    rdev: here,
                }),
            ) if is_block == block_here => (false, rdev != here),
            _ => (true, false),
        };
        let is_link = matches!(entry.what, What::Symlink { .. });
        Changes {
            kind,
            contents,
            mode: !kind && !is_link && entry.mode != thing.mode,
            owner: (entry.uid, entry.gid) != thing.owner,
            mtime: entry.mtime != thing.mtime,
            xattrs: false,
        }
    }

    async fn same_bytes<D: OnDisk>(
        &self,
        stretches: &[Stretch],
        file: &D::File,
        at: &mut u64,
        disk: &D,
    ) -> Result<bool, ReadError> {
        for stretch in stretches {
            match *stretch {
                Stretch::Chunk(id, offset, bytes) => {
                    let plain = self.source.fetch(id, Kind::Data).await;
                    let plain = plain.map_err(ReadError::Source)?;
                    let end = offset.saturating_add(bytes);
                    let Some(wanted) = plain.get(offset..end) else {
                        let short = FetchError::Told("a chunk is too short".to_owned());
                        return Err(ReadError::Source(short));
                    };
                    let mut here = vec![0; wanted.len()];
                    let read = disk.read(file, &mut here, *at).map_err(ReadError::Disk)?;
                    if here.get(..read) != Some(wanted) {
                        return Ok(false);
                    }
                    *at = at.saturating_add(bytes as u64);
                }
                Stretch::Hole(bytes) => {
                    let end = at.saturating_add(bytes);
                    while *at < end {
                        let step = usize::try_from(end - *at).unwrap_or(HOLE_STEP_BYTES);
                        let mut here = vec![0; step.min(HOLE_STEP_BYTES)];
                        let read = disk.read(file, &mut here, *at).map_err(ReadError::Disk)?;
                        if read < here.len() || here.iter().any(|byte| *byte != 0) {
                            return Ok(false);
                        }
                        *at += here.len() as u64;
                    }
                }
            }
        }
        Ok(true)
    }
}

enum ReadError {
    Source(FetchError),
    Disk(io::Error),
}

/// Where `retrieve` puts an entry: a data set that is a single file keeps its own last name.
fn place(set: &DataSet, base: &[u8], taken: &Taken) -> Vec<u8> {
    let is_single = taken.entry.path.is_empty() && !matches!(taken.entry.what, What::Dir);
    if is_single {
        let name = set.path.rsplit(|byte| *byte == b'/').next();
        let name = name.filter(|name| !name.is_empty() && *name != b".." && *name != b".");
        return placed(base, name.unwrap_or(set.name.as_bytes()));
    }
    placed(base, &taken.entry.path)
}
