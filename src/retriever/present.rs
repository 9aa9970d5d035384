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

/// What becomes of something that is in the way of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Goes,
    IsIt,
    Stays,
    Blocks,
}

/// What is found where a file of this length and time belongs. `counts`: an earlier run's files count here.
fn verdict(
    existing: Existing,
    goes_on: bool,
    counts: bool,
    found: &Stat,
    (bytes, mtime): (u64, Stamp),
) -> Verdict {
    let looks_like_it = found.kind == FileKind::File && found.size == bytes && found.mtime == mtime;
    match existing {
        _ if found.kind == FileKind::Dir => Verdict::Blocks,
        Existing::Nothing | Existing::MayGo => Verdict::Goes,
        Existing::Ours if looks_like_it && counts => Verdict::IsIt,
        Existing::Ours => Verdict::Goes,
        Existing::Stays if looks_like_it && counts => Verdict::IsIt,
        // An earlier run made it, and a power cut may have taken its bytes.
        Existing::Stays if looks_like_it && goes_on => Verdict::Goes,
        Existing::Stays => Verdict::Stays,
    }
}

impl<W: World, S: Source> Work<W, S> {
    /// Whether a file of this length and time may be made, or stands there already.
    pub(super) async fn place_of(&self, path: &[u8], bytes: u64, mtime: Stamp) -> Place {
        if self.existing == Existing::Nothing {
            return Place::Free;
        }
        let tree = self.world.tree();
        let mut found = tree.stat_below(&self.root, vec![path.to_vec()]).await;
        found.pop().map_or(Place::Free, |found| {
            self.place_among(path, found, (bytes, mtime))
        })
    }

    fn place_among(&self, path: &[u8], found: io::Result<Stat>, file: (u64, Stamp)) -> Place {
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
        match verdict(self.existing, goes_on, counts, &found, file) {
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
            match self.place_among(&path, found, (bytes, file.attributes.mtime)) {
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

    /// Whether a thing without contents may be made; what keeps it from that is noted.
    pub(super) async fn may_be_made(&self, path: &[u8]) -> bool {
        // No such thing counts as there: it is made again, which costs less than comparing.
        let no_file = (u64::MAX, Stamp::default());
        let place = self.place_of(path, no_file.0, no_file.1).await;
        place == Place::Free
    }

    /// Whether a thing that cannot replace another may be made, which is taken away if it may go. What keeps it from that is noted.
    pub(super) async fn make_way(&self, dir: &OpenDir, path: &[u8]) -> bool {
        if !dir.usable {
            self.fail(path, IN_NO_DIR);
            return false;
        }
        if !self.may_be_made(path).await {
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
    fn only_a_file_of_the_right_length_and_time_whose_bytes_are_certain_counts() {
        let mtime = Stamp {
            seconds: 5,
            nanos: 6,
        };
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
        let told =
            |existing, goes_on, counts| verdict(existing, goes_on, counts, &found, (10, mtime));
        assert_eq!(told(Existing::Ours, true, true), Verdict::IsIt);
        assert_eq!(told(Existing::Ours, true, false), Verdict::Goes);
        assert_eq!(told(Existing::Stays, true, true), Verdict::IsIt);
        assert_eq!(told(Existing::Stays, true, false), Verdict::Goes);
        assert_eq!(told(Existing::Stays, false, false), Verdict::Stays);
        assert_eq!(told(Existing::MayGo, false, false), Verdict::Goes);
        for other in [(11, mtime), (10, Stamp::default())] {
            assert_eq!(
                verdict(Existing::Ours, true, true, &found, other),
                Verdict::Goes
            );
            assert_eq!(
                verdict(Existing::Stays, true, true, &found, other),
                Verdict::Stays
            );
        }
        let link = Stat {
            kind: FileKind::Symlink,
            ..found
        };
        assert_eq!(
            verdict(Existing::Ours, true, true, &link, (10, mtime)),
            Verdict::Goes
        );
        let dir = Stat {
            kind: FileKind::Dir,
            ..found
        };
        assert_eq!(
            verdict(Existing::MayGo, false, false, &dir, (10, mtime)),
            Verdict::Blocks
        );
    }
}
