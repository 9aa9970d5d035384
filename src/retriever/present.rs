//! What is in the target already, and what becomes of it: it stays, it goes, or it is what an earlier run restored.

use std::io;

use super::Source;
use super::files::{IN_NO_DIR, OpenDir, SmallFile, Work};
use super::links::Turn;
use super::report::Differs;
use super::unfinished::Going;
use crate::terms::Stamp;
use crate::world::{Attributes, FileKind, Stat, Tree, World};

/// What may be in the target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// Nothing: the target was empty.
    Nothing,
    /// What an earlier run of this retrieval left.
    Ours,
    /// Things that must stay.
    Stays,
    /// Things that may be replaced by files of the same name.
    MayGo,
}

impl Existing {
    /// Whether the target was a person's before.
    pub(super) const fn is_theirs(self) -> bool {
        matches!(self, Self::Stays | Self::MayGo)
    }
}

/// What is to be done about a file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The file may be made.
    Free,
    /// It stands there already, with these attributes.
    Kept(Stat),
    /// It may not be made, and why was noted.
    Noted,
}

/// What is to stand under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sought {
    /// What it is.
    pub(super) kind: FileKind,
    /// The length of a file that counts when it stands there; `None` for what is made again at no cost.
    pub(super) bytes: Option<u64>,
    /// The time it has once it is whole.
    pub(super) mtime: Stamp,
}

impl Sought {
    /// Whether it is of this kind and time: nothing else gives a thing a time that is past. A file system may keep less of a time.
    fn is_time_of(&self, found: &Stat) -> bool {
        let nanos =
            |stamp: Stamp| i128::from(stamp.seconds) * 1_000_000_000 + i128::from(stamp.nanos);
        let lost = nanos(self.mtime) - nanos(found.mtime);
        found.kind == self.kind && (0..COARSEST_NANOS).contains(&lost)
    }
}

/// The coarsest times that file systems keep, those of FAT: two seconds.
const COARSEST_NANOS: i128 = 2_000_000_000;

/// What becomes of something that is in the way of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Goes,
    IsIt,
    Stays,
    Blocks,
}

/// What becomes of what is found where this belongs. `counts`: an earlier run's files count here.
///
/// A thing has its time before it has its name, so one of another time is a person's, whoever made it first, and stays.
fn verdict(
    existing: Existing,
    goes_on: bool,
    counts: bool,
    found: &Stat,
    sought: Sought,
) -> Verdict {
    let is_of_its_time = sought.is_time_of(found);
    let looks_like_it = is_of_its_time && sought.bytes == Some(found.size);
    match existing {
        _ if found.kind == FileKind::Dir => Verdict::Blocks,
        Existing::Nothing | Existing::MayGo => Verdict::Goes,
        Existing::Ours | Existing::Stays if looks_like_it && counts => Verdict::IsIt,
        // An earlier run made it, and a power cut may have taken its bytes.
        Existing::Ours if is_of_its_time => Verdict::Goes,
        Existing::Stays if looks_like_it && goes_on => Verdict::Goes,
        Existing::Ours | Existing::Stays => Verdict::Stays,
    }
}

impl<W: World, S: Source> Work<W, S> {
    /// Whether this may be made, or stands there already.
    pub(super) async fn place_of(&self, path: &[u8], sought: Sought) -> Place {
        if self.existing == Existing::Nothing {
            return Place::Free;
        }
        let tree = self.world.tree();
        let mut found = tree.stat_below(&self.root, vec![path.to_vec()]).await;
        found
            .pop()
            .map_or(Place::Free, |found| self.place_among(path, found, sought))
    }

    fn place_among(&self, path: &[u8], found: io::Result<Stat>, sought: Sought) -> Place {
        let found = match found {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Place::Free,
            Err(error) => {
                self.fail(path, &self.words_for(&error));
                return Place::Noted;
            }
        };
        let going = self.going.as_ref();
        let goes_on = going.is_some_and(Going::goes_on);
        let counts = going.is_some_and(|going| going.trusts(path));
        match verdict(self.existing, goes_on, counts, &found, sought) {
            Verdict::Goes => Place::Free,
            Verdict::IsIt => Place::Kept(found),
            Verdict::Stays => {
                self.report.borrow_mut().stayed(path);
                Place::Noted
            }
            Verdict::Blocks => {
                self.fail(
                    path,
                    "a directory of that name is there; it was left as it is",
                );
                Place::Noted
            }
        }
    }

    /// Names of extended attributes that a file which stands there should have and has not.
    async fn xattrs_missing(&self, path: &[u8], wanted: &Attributes) -> Vec<Vec<u8>> {
        if wanted.xattrs.is_empty() {
            return Vec::new();
        }
        let found = self.world.tree().xattrs_below(&self.root, path).await;
        let found = found.map(|found| found.kept).unwrap_or_default();
        let missing = wanted.xattrs.iter().filter(|xattr| !found.contains(xattr));
        missing.map(|(name, _)| name.clone()).collect()
    }

    /// Notes a file that an earlier run restored, and how it differs.
    pub(super) async fn kept(
        &self,
        path: &[u8],
        bytes: u64,
        wanted: &Attributes,
        found: &Stat,
        turn: Option<Turn>,
    ) {
        let xattrs = self.xattrs_missing(path, wanted).await;
        let mut report = self.report.borrow_mut();
        report.files += 1;
        report.kept += 1;
        report.bytes = report.bytes.saturating_add(bytes);
        let differs = Differs {
            owner: (found.uid, found.gid) != (wanted.uid, wanted.gid),
            mode: found.mode != wanted.mode,
            xattrs,
            ..Differs::default()
        };
        if let Some(turn) = turn {
            turn.stands(path);
        }
        report.differs(path, differs);
        self.progress.update(|progress| progress.bytes += bytes);
    }

    /// Leaves out of some small files those that are there already or may not be made: nothing is fetched for them.
    pub(super) async fn sift(&self, files: Vec<SmallFile>) -> Vec<SmallFile> {
        if self.existing == Existing::Nothing {
            return files;
        }
        let paths: Vec<Vec<u8>> = files
            .iter()
            .map(|file| file.dir.path_of(&file.name))
            .collect();
        let found = self
            .world
            .tree()
            .stat_below(&self.root, paths.clone())
            .await;
        let mut left = Vec::new();
        for ((file, path), found) in files.into_iter().zip(paths).zip(found) {
            let bytes = file.bytes as u64;
            let sought = Sought {
                kind: FileKind::File,
                bytes: Some(bytes),
                mtime: file.attributes.mtime,
            };
            match self.place_among(&path, found, sought) {
                // One in a directory that is not there is told later.
                Place::Free => {
                    left.push(file);
                    continue;
                }
                Place::Kept(found) => {
                    self.kept(&path, bytes, &file.attributes, &found, file.turn)
                        .await;
                }
                Place::Noted => {}
            }
            self.progress.update(|progress| progress.files += 1);
        }
        left
    }

    /// Whether a directory was there before this retrieval and keeps its attributes. That others are wanted is noted.
    pub(super) async fn is_theirs(&self, path: &[u8], wanted: Option<&Attributes>) -> bool {
        if self.existing != Existing::Stays {
            return false;
        }
        let tree = self.world.tree();
        let mut found = tree.stat_below(&self.root, vec![path.to_vec()]).await;
        let Some(Ok(found)) = found.pop() else {
            return false;
        };
        let is_other = |wanted: &Attributes| {
            (found.mode, found.uid, found.gid) != (wanted.mode, wanted.uid, wanted.gid)
        };
        if found.kind == FileKind::Dir && wanted.is_some_and(is_other) {
            self.report.borrow_mut().stayed(path);
        }
        found.kind == FileKind::Dir
    }

    /// Whether a thing without contents may be made; what keeps it from that is noted.
    pub(super) async fn may_be_made(&self, path: &[u8], kind: FileKind, mtime: Stamp) -> bool {
        // No such thing counts as there: it is made again, which costs less than comparing.
        let sought = Sought {
            kind,
            bytes: None,
            mtime,
        };
        self.place_of(path, sought).await == Place::Free
    }

    /// Whether a thing that cannot replace another may be made, which is taken away if it may go. What keeps it from that is noted.
    pub(super) async fn make_way(
        &self,
        dir: &OpenDir,
        path: &[u8],
        (kind, mtime): (FileKind, Stamp),
    ) -> bool {
        if !dir.usable {
            self.fail(path, IN_NO_DIR);
            return false;
        }
        if !self.may_be_made(path, kind, mtime).await {
            return false;
        }
        if matches!(self.existing, Existing::MayGo | Existing::Ours) {
            // Whatever is in the way by now is told by the call that makes the new one.
            let _ = self.world.tree().remove_below(&self.root, path).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_the_right_length_and_time_whose_bytes_are_certain_counts_and_one_of_another_time_stays()
     {
        let mtime = stamp(5, 6);
        let found = Stat {
            kind: FileKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 10,
            blocks: 8,
            mtime,
            ctime: mtime,
            inode: 1,
            device: 1,
            links: 1,
            rdev: 0,
        };
        let sought = Sought {
            kind: FileKind::File,
            bytes: Some(10),
            mtime,
        };
        let told = |existing, goes_on, counts| verdict(existing, goes_on, counts, &found, sought);
        assert_eq!(told(Existing::Ours, true, true), Verdict::IsIt);
        assert_eq!(told(Existing::Ours, true, false), Verdict::Goes);
        assert_eq!(told(Existing::Stays, true, true), Verdict::IsIt);
        assert_eq!(told(Existing::Stays, true, false), Verdict::Goes);
        assert_eq!(told(Existing::Stays, false, false), Verdict::Stays);
        assert_eq!(told(Existing::MayGo, false, false), Verdict::Goes);
        let other = |change: fn(&mut Stat)| {
            let mut other = found;
            change(&mut other);
            [Existing::Ours, Existing::Stays].map(|was| verdict(was, true, true, &other, sought))
        };
        // Of its time and not whole: a power cut took bytes.
        let cut = other(|found| found.size = 9);
        assert_eq!(cut, [Verdict::Goes, Verdict::Stays]);
        let edited = other(|found| found.mtime.seconds = 900);
        assert_eq!(edited, [Verdict::Stays; 2]);
        let edited_at_once = other(|found| found.mtime.nanos = 7);
        assert_eq!(edited_at_once, [Verdict::Stays; 2]);
        let coarse = other(|found| found.mtime = stamp(4, 0));
        assert_eq!(coarse, [Verdict::IsIt; 2]);
        let link = other(|found| found.kind = FileKind::Symlink);
        assert_eq!(link, [Verdict::Stays; 2]);
        let dir = other(|found| found.kind = FileKind::Dir);
        assert_eq!(dir, [Verdict::Blocks; 2]);
    }

    const fn stamp(seconds: i64, nanos: u32) -> Stamp {
        Stamp { seconds, nanos }
    }
}
