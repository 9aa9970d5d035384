//! The walk of a data set beside the previous index: each thing taken over or read, the ground looked at from time to time.

mod as_it_was;
mod database;
pub(super) mod mounts;
mod said_empty;

use std::time::Duration;

use self::mounts::Mounts;
use super::again::Tries;
use super::asked::DataSetConfig;
use super::data_set::{Common, NotTaken, Notes};
use super::draft::{Draft, Made};
use super::error::SnapshotError;
use super::footing::Footing;
use super::gather::{Before, Gather, Means, Moves};
use super::kinds;
use super::known::Identity;
use super::leveldb::Database;
use super::read::{Reader, Taken};
use super::remembered::Mount;
use super::report::add;
use super::shelf::ShelfReader;
use super::untouched::{is_continued, may_be_taken_over};
use super::walk::{Step, Walk};
use crate::keeper::Keepers;
use crate::terms::ChunkId;
use crate::world::{Clock, FileKind, Moment, Stat, World};

/// The ground is looked at again after so many steps, or
const STEPS_BETWEEN_LOOKS: u32 = 1024;
/// after so long, whichever comes first.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Why a socket has no entry.
const SOCKET: &str = "a socket is nothing without the process that answers it";

/// A walk under way.
pub(super) struct SetWalk<'a, W: World, K: Keepers> {
    common: &'a Common<'a, W, K>,
    means: Means<'a, W, K>,
    config: &'a DataSetConfig,
    gather: Gather<'a, W>,
    before: ShelfReader<W::Disk>,
    reader: &'a mut Reader,
    notes: Notes,
    footing: Footing,
    steps: u32,
    looked: Moment,
    files_reused: u64,
    moves: Moves,
    /// The database whose directory the walk is in.
    database: Option<Database>,
    /// A directory that was looked at and holds none.
    plain_dir: Option<Vec<u8>>,
    databases: u64,
    mounts: Mounts,
}

/// What a walk came to.
pub(super) struct SetEnd<'a, W: World> {
    pub root: (ChunkId, u8),
    pub gather: Gather<'a, W>,
    pub before: ShelfReader<W::Disk>,
    pub notes: Notes,
    pub files_reused: u64,
    pub moves: Moves,
    pub databases: u64,
    pub mounts: Vec<Mount>,
}

impl<'a, W: World, K: Keepers> SetWalk<'a, W, K> {
    pub fn new(
        common: &'a Common<'a, W, K>,
        means: Means<'a, W, K>,
        config: &'a DataSetConfig,
        gather: Gather<'a, W>,
        before: ShelfReader<W::Disk>,
        reader: &'a mut Reader,
        (footing, mounts): (Footing, Vec<Mount>),
    ) -> Self {
        Self {
            looked: common.world.clock().now(),
            common,
            means,
            config,
            gather,
            before,
            reader,
            notes: Notes::new(config.name.clone()),
            footing,
            steps: 0,
            files_reused: 0,
            moves: Moves::default(),
            database: None,
            plain_dir: None,
            databases: 0,
            mounts: Mounts::expecting(mounts),
        }
    }

    /// Walks all of it.
    pub async fn run(mut self, root: Stat) -> Result<SetEnd<'a, W>, NotTaken> {
        let mut walk = Walk::new(self.common.world.tree().clone(), &self.config.path, root);
        let mut tries = Tries::default();
        while let Some(step) = walk.next().await {
            self.look_around().await?;
            match &step {
                Step::Unread { reason, .. } => {
                    if self.means.again.wait(&mut tries, reason).await {
                        walk.try_again().await;
                        continue;
                    }
                    tries = Tries::default();
                }
                Step::Found { .. } | Step::Skipped { .. } => self.means.again.helped(&mut tries),
            }
            let path = match &step {
                Step::Found { path, .. } | Step::Skipped { path } | Step::Unread { path, .. } => {
                    path
                }
            };
            self.pass_by_mounts(Some(path)).await?;
            self.emit_database(Some(path)).await?;
            if self.holds_mount(&step).await? {
                walk.stay_out();
                self.note_trouble();
                continue;
            }
            match step {
                Step::Skipped { path } => self.notes.skipped(&path, SOCKET),
                // A data set that cannot be listed at all is a disaster to report, not emptiness to copy.
                Step::Unread { path, reason } if path.is_empty() => {
                    return Err(NotTaken::Held(reason.to_string()));
                }
                Step::Unread { path, reason } => {
                    // A database is read by itself; what could be read of it then is not missing.
                    let is_of_one = self.finds_database(&path).await?;
                    if !is_of_one || !self.database_has(&path) {
                        self.stand_in(&path, &reason).await?;
                    }
                }
                Step::Found { path, stat } => self.take(path, stat).await?,
            }
            self.gather.settle(&self.means).await?;
            self.note_trouble();
        }
        self.pass_by_mounts(None).await?;
        self.emit_database(None).await?;
        self.before.pass_rest().await;
        let ended = self.gather.finish(&self.means).await?;
        let root = ended.ok_or_else(|| NotTaken::Held("nothing of it could be read".to_owned()))?;
        self.note_trouble();
        self.look().await?;
        let small = self.gather.moves;
        Ok(SetEnd {
            root,
            gather: self.gather,
            before: self.before,
            notes: self.notes,
            files_reused: self.files_reused,
            moves: Moves {
                rewritten: self.moves.rewritten + small.rewritten,
                moved: self.moves.moved + small.moved,
                gone: self.moves.gone + small.gone,
                packed: small.packed,
            },
            databases: self.databases,
            mounts: self.mounts.met,
        })
    }

    /// Looks at the ground when it is time.
    async fn look_around(&mut self) -> Result<(), NotTaken> {
        self.steps += 1;
        let now = self.common.world.clock().now();
        if self.steps >= STEPS_BETWEEN_LOOKS || now.since(self.looked) >= LOOK_AGAIN {
            self.look().await?;
            self.steps = 0;
            self.looked = now;
        }
        Ok(())
    }

    async fn look(&self) -> Result<(), NotTaken> {
        let now = Footing::look(self.common.world.tree(), &self.config.path).await;
        let now = now.map_err(NotTaken::Held)?;
        if self.footing.still_is(&now) {
            return Ok(());
        }
        let why = "its file system changed while the snapshot was taken; is its disk connected?";
        Err(NotTaken::Held(why.to_owned()))
    }

    fn note_trouble(&mut self) {
        for trouble in self.gather.trouble.drain(..) {
            self.notes.has_changed |= trouble.has_changed;
            self.notes.unread(&trouble.path, &trouble.reason);
        }
    }

    async fn take(&mut self, path: Vec<u8>, stat: Stat) -> Result<(), SnapshotError> {
        self.means.progress.path.borrow_mut().clone_from(&path);
        let device = self.means.device;
        match stat.kind {
            FileKind::File if self.finds_database(&path).await? => {}
            FileKind::File => self.take_file(path, stat).await?,
            FileKind::Dir
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::CharDevice
            | FileKind::BlockDevice => {
                let old = self.before.find(&path).await;
                let (of, before) = ((&stat, device), (old, self.before.began));
                let (tree, base) = (&self.means.tree, self.means.base);
                let notes = &mut self.notes;
                let mut tell = |path: &[u8], reason: &str| notes.unread(path, reason);
                let taken = kinds::take(tree, base, &path, of, before, &mut tell).await;
                if let Some(draft) = taken {
                    self.gather.push(draft);
                }
            }
            FileKind::Socket => {}
        }
        Ok(())
    }

    /// Takes over a file that is as it was, or reads it.
    async fn take_file(&mut self, path: Vec<u8>, stat: Stat) -> Result<(), SnapshotError> {
        add(&self.means.progress.files, 1);
        add(&self.means.progress.bytes, stat.size);
        let old = self.before.find(&path).await;
        match old {
            Some(old) if self.is_rotten(&old, &stat).await => self.take_over(old, &stat).await,
            Some(old) if self.may_take_over(&old, &stat) && self.is_whole(&old).await => {
                self.files_reused += 1;
                self.take_over(old, &stat).await
            }
            old => self.read(path, stat, old).await,
        }
    }

    fn may_take_over(&self, old: &Draft, stat: &Stat) -> bool {
        may_be_taken_over(old, stat, self.before.began, self.common.trust)
            && !self.means.known.is_in_sparse_pack(old)
    }

    /// Whether a file was read to its end when its entry was made. Where that went wrong, the last part says so.
    async fn is_whole(&self, first: &Draft) -> bool {
        let mut goes_on = is_continued(first);
        if !goes_on {
            return true;
        }
        let mut ahead = self.before.clone();
        while goes_on {
            let Some(part) = ahead.next_part(&first.path).await else {
                return false;
            };
            if part.ctime != first.ctime {
                return false;
            }
            goes_on = is_continued(&part);
        }
        true
    }

    /// Goes on with all parts of a file whose contents are taken over.
    async fn take_over(&mut self, mut draft: Draft, stat: &Stat) -> Result<(), SnapshotError> {
        loop {
            draft.mark(stat, self.means.device);
            let path = is_continued(&draft).then(|| draft.path.clone());
            self.gather.push(draft);
            self.gather.settle(&self.means).await?;
            let Some(path) = path else {
                return Ok(());
            };
            match self.before.next_part(&path).await {
                Some(next) => draft = next,
                // Its first part is on its way already: the only sound thing is to begin again without the shelf.
                None => return Err(SnapshotError::ShelfBroken),
            }
        }
    }

    async fn read(
        &mut self,
        path: Vec<u8>,
        stat: Stat,
        old: Option<Draft>,
    ) -> Result<(), SnapshotError> {
        let device = self.means.device;
        let old = old.filter(super::shelf::is_file);
        let before = match old.as_ref().map(|old| &old.what) {
            None => Before::Nothing,
            Some(Made::Packed { name, .. }) => Before::Small(*name),
            Some(_) => Before::Other,
        };
        if stat.size == 0 {
            return self.read_said_empty(path, &stat, old).await;
        }
        if stat.links > 1 && self.take_from_other_name(&path, &stat, before).await? {
            return Ok(());
        }
        if stat.size <= self.means.sizes.small_file_bytes_max as u64 {
            let draft = Draft::new(path, &stat, device, Made::ToRead);
            let whole = |old: &Draft| !is_continued(old);
            let old = old.filter(|old| whole(old) && self.is_trusted(old));
            let (began, trust) = (self.before.began, self.common.trust);
            let is_untouched = |old: &Draft| may_be_taken_over(old, &stat, began, trust);
            let is_untouched = old.as_ref().is_some_and(is_untouched);
            self.gather
                .push_small(draft, stat, (before, is_untouched), old);
            return Ok(());
        }
        if old.is_none()
            && self
                .means
                .known
                .large(self.means.keys, Identity::of(&stat))
                .await
        {
            self.moves.moved += 1;
        }
        self.read_large(path, old).await
    }

    /// Reads a file that does not go into a pack.
    async fn read_large(&mut self, path: Vec<u8>, old: Option<Draft>) -> Result<(), SnapshotError> {
        let old_chunks: Vec<ChunkId> = old
            .iter()
            .flat_map(Draft::refs)
            .map(|chunk| chunk.id)
            .collect();
        let mut has_kept_some = old_chunks.is_empty();
        let (gather, means) = (&mut self.gather, &self.means);
        let taken = self
            .reader
            .read(means, &path, &old_chunks, async |draft, stat| {
                has_kept_some |= draft.refs().any(|chunk| old_chunks.contains(&chunk.id));
                gather.links.learn(&draft, stat);
                gather.push(draft);
                gather.settle(means).await
            })
            .await?;
        for reason in self.reader.left_out.drain(..) {
            self.notes.unread(&path, &reason);
        }
        let is_read = !matches!(taken, Taken::Failed(_));
        let has_kept_some = has_kept_some || self.reader.was_known();
        let called = std::mem::take(&mut self.reader.called);
        if is_read {
            self.gather.sampler.meet(&called);
        }
        self.moves.rewritten += u64::from(is_read && old.is_some() && !has_kept_some);
        match taken {
            Taken::Whole => {}
            Taken::Changed => {
                self.notes.has_changed = true;
                let why = "it changed while it was read; taken with its last read";
                self.notes.unread(&path, why);
            }
            Taken::Cut(reason) => {
                self.notes.has_changed = true;
                let reason = format!("its end could not be read and stands as zeros: {reason}");
                self.notes.unread(&path, &reason);
            }
            Taken::Failed(reason) if self.has_gone(&path, &reason).await => {
                self.moves.gone += u64::from(old.is_some());
            }
            Taken::Failed(reason) => match old {
                Some(old) if kinds::may_be_as_it_was(&reason) && self.is_trusted(&old) => {
                    self.notes.unread(&path, &kinds::as_it_was(&reason));
                    self.push_as_it_was(old).await?;
                    while let Some(part) = self.before.next_part(&path).await {
                        self.push_as_it_was(part).await?;
                    }
                }
                Some(_) | None => self.notes.unread(&path, &reason.to_string()),
            },
        }
        Ok(())
    }

    async fn has_gone(&self, path: &[u8], reason: &std::io::Error) -> bool {
        let at = super::walk::joined(self.means.base, path);
        kinds::has_gone(&self.means.tree, &at, reason).await
    }

    /// Takes what was read under another name of this file; false if that is to be read.
    async fn take_from_other_name(
        &mut self,
        path: &[u8],
        stat: &Stat,
        before: Before,
    ) -> Result<bool, SnapshotError> {
        let Some(parts) = self.gather.read_before(&self.means, stat, path).await? else {
            return Ok(false);
        };
        let is_rewritten = match (before, parts.first().map(|part| &part.what)) {
            (Before::Small(old), Some(Made::Packed { name, .. })) => old != *name,
            (Before::Small(_), _) => true,
            (Before::Nothing | Before::Other, _) => false,
        };
        self.moves.rewritten += u64::from(is_rewritten);
        for draft in parts {
            self.gather.push(draft);
            self.gather.settle(&self.means).await?;
        }
        Ok(true)
    }
}
