//! One data set on its way into the snapshot: walked where it stands on the ground it stood on, or held as it was.

use std::rc::Rc;

use serde_bytes::ByteBuf;
use smol_str::SmolStr;

use super::again::Again;
use super::asked::DataSetConfig;
use super::error::SnapshotError;
use super::footing::Footing;
use super::gather::{Gather, Means, Totals};
use super::known::Known;
use super::numbers::{AcceptedSet, Seen};
use super::read::Reader;
use super::remembered::{Remembered, RememberedSet};
use super::replicate::Replicator;
use super::report::{Progress, Unread};
use super::rot::Rotten;
use super::sample::{Sample, Sampler};
use super::seal::Sealer;
use super::set_walk::{SetEnd, SetWalk};
use super::shelf::{ShelfReader, ShelfWriter};
use super::snapshot::Trust;
use crate::format::head::DataSet;
use crate::format::keys::DataKeys;
use crate::keeper::Keepers;
use crate::terms::{ConsistencyLabel, FileSystemId, Stamp};
use crate::world::{Disk, Tree, World};

/// Bytes of paths and reasons a manifest may spend on one data set's unread things: all data sets fit in one chunk.
const UNREAD_BYTES_MAX: usize = 48 << 10;

/// A data set as it went into the snapshot.
pub(super) struct TakenSet<D: Disk> {
    /// Its part of the manifest.
    pub manifest: DataSet,
    /// Counts for the head.
    pub totals: Totals,
    /// Its index, to be kept once the snapshot is published.
    pub shelf: ShelfWriter<D>,
    pub files_reused: u64,
    pub seen: Seen,
    /// What is remembered of it.
    pub accepted: AcceptedSet,
    /// What is remembered beside that: drawn of what it holds, and mounted below it.
    pub remembered: RememberedSet,
    /// What was looked for of what it held when it was accepted.
    pub looked_for: Sample,
    /// When the walk began that its index comes from.
    pub began: Stamp,
    /// Why it is in the snapshot as it was before.
    pub held: Option<SmolStr>,
    /// Whether what packs hold is to be told anew.
    pub has_moved: bool,
    pub databases: u64,
    pub index_was_damaged: bool,
    pub unread: Vec<Unread>,
    pub skipped: Vec<Unread>,
    pub skipped_count: u64,
}

/// What all data sets of a snapshot share.
pub(super) struct Common<'a, W: World, K: Keepers> {
    pub world: &'a W,
    pub out: &'a Replicator<W, K>,
    pub keys: &'a DataKeys,
    pub progress: &'a Progress,
    pub again: &'a Again<W::Clock>,
    pub older: &'a [Rc<DataKeys>],
    pub epochs: &'a [Rc<DataKeys>],
    pub called_before: &'a [Rc<DataKeys>],
    pub known: &'a Known<'a, W::Disk>,
    pub started: Stamp,
    /// Files whose disk damaged them.
    pub rotten: &'a Rotten,
    pub trust: &'a Trust<'a>,
    /// A person said that what is there now is right.
    pub accept_loss: bool,
    /// Of the snapshots before.
    pub remembered: &'a Remembered,
}

/// Why a data set was not taken.
pub(super) enum NotTaken {
    /// It is not there, or not what it was: what keepers have of it stays.
    Held(String),
    /// There is no snapshot at all.
    Snapshot(SnapshotError),
}

impl<E: Into<SnapshotError>> From<E> for NotTaken {
    fn from(error: E) -> Self {
        Self::Snapshot(error.into())
    }
}

impl<W: World, K: Keepers> Common<'_, W, K> {
    fn means<'m>(
        &'m self,
        config: &'m DataSetConfig,
        reader: &Reader,
        device: u64,
    ) -> Means<'m, W, K> {
        Means {
            tree: self.world.tree().within(&config.path),
            out: self.out,
            keys: self.keys,
            progress: self.progress,
            again: self.again,
            older: self.older,
            epochs: self.epochs,
            believes_keepers: self.trust.is_total,
            called_before: self.called_before,
            known: self.known,
            sizes: reader.sizes,
            base: &config.path,
            device,
        }
    }

    /// Takes a data set as it is now, or, if it is not where it was, as it was in the snapshot before.
    pub async fn take(
        &self,
        (reader, dense): (&mut Reader, &mut Sealer),
        config: &DataSetConfig,
        before: Option<&AcceptedSet>,
    ) -> Result<TakenSet<W::Disk>, SnapshotError> {
        let reason = match self.walk((&mut *reader, &mut *dense), config, before).await {
            Ok(taken) => return Ok(taken),
            Err(NotTaken::Snapshot(error)) => return Err(error),
            Err(NotTaken::Held(reason)) => reason,
        };
        let missing = || SnapshotError::DataSetMissing {
            name: config.name.clone(),
            reason: reason.clone(),
        };
        let before = before.ok_or_else(missing)?;
        tracing::warn!(data_set = %config.name, %reason, "not where it was: it stays in the snapshot as it was before");
        let held = self.hold((reader, dense), config, before, &reason).await?;
        held.ok_or_else(missing)
    }

    async fn walk(
        &self,
        (reader, dense): (&mut Reader, &mut Sealer),
        config: &DataSetConfig,
        accepted: Option<&AcceptedSet>,
    ) -> Result<TakenSet<W::Disk>, NotTaken> {
        let tree = self.world.tree();
        let footing = Footing::look(tree, &config.path)
            .await
            .map_err(NotTaken::Held)?;
        let stood = accepted.filter(|set| set.path == config.path && !self.accept_loss);
        if let Some(why) = stood.and_then(|set| footing.differs_from(&set.footing)) {
            return Err(NotTaken::Held(why.to_owned()));
        }
        let root = tree
            .stat(&config.path)
            .await
            .map_err(|error| NotTaken::Held(error.to_string()))?;
        let disk = self.world.disk();
        let before = ShelfReader::open(disk.clone(), &config.name).await;
        let shelf = ShelfWriter::start(
            disk.clone(),
            &config.name,
            &before,
            reader.sizes.shelf_part_bytes,
        )
        .await?;
        let files_before = before.files();
        let mut remembered = self.remembered.of(&config.name);
        if self.accept_loss || accepted.is_some_and(|set| set.path != config.path) {
            remembered.mounts.clear();
        }
        let sampler = Sampler::looking_for(remembered.sample);
        let gather = Gather::<W>::new(dense, reader.sizes, self.keys, (shelf, sampler));
        let means = self.means(config, reader, root.device);
        let ground = (footing, remembered.mounts);
        let walk = SetWalk::new(self, means, config, gather, before, reader, ground);
        let SetEnd {
            root: (id, level),
            gather,
            before,
            notes,
            files_reused,
            moves,
            databases,
            mounts,
        } = walk.run(root).await?;
        let totals = gather.totals;
        let sampled = gather.sampler.end();
        let label = notes.label();
        let gone = before.gone + moves.gone;
        let has_moved =
            moves.packed > 0 || gone > 0 || moves.rewritten > 0 || !self.known.is_there();
        Ok(TakenSet {
            manifest: DataSet {
                name: config.name.clone(),
                path: ByteBuf::from(config.path.clone()),
                file_system: FileSystemId {
                    magic: footing.magic,
                    device: footing.device,
                },
                label,
                root: id,
                level,
                entries: totals.entries,
                files: totals.files,
                bytes: totals.bytes,
                unread: listed(&notes.unread),
                unread_count: notes.unread_count,
            },
            totals,
            shelf: gather.into_shelf(),
            files_reused,
            seen: Seen {
                files_before,
                gone,
                moved: moves.moved,
                rewritten: moves.rewritten,
                met: sampled.met,
            },
            remembered: RememberedSet {
                name: config.name.clone(),
                sample: sampled.drawn,
                mounts,
            },
            looked_for: sampled.looked_for,
            accepted: AcceptedSet {
                name: config.name.clone(),
                path: ByteBuf::from(config.path.clone()),
                files: totals.files,
                bytes: totals.bytes,
                footing,
                label,
                taken: self.started,
            },
            began: self.started,
            held: None,
            has_moved,
            databases,
            index_was_damaged: before.is_damaged,
            unread: notes.unread,
            skipped: notes.skipped,
            skipped_count: notes.skipped_count,
        })
    }

    /// Takes over all of the snapshot before. `None` if this Box does not remember it.
    async fn hold(
        &self,
        (reader, dense): (&mut Reader, &mut Sealer),
        config: &DataSetConfig,
        accepted: &AcceptedSet,
        reason: &str,
    ) -> Result<Option<TakenSet<W::Disk>>, SnapshotError> {
        let disk = self.world.disk();
        let mut before = ShelfReader::open(disk.clone(), &config.name).await;
        let shelf = ShelfWriter::start(
            disk.clone(),
            &config.name,
            &before,
            reader.sizes.shelf_part_bytes,
        )
        .await?;
        let remembered = self.remembered.of(&config.name);
        let sampler = Sampler::looking_for(remembered.sample);
        let mut gather = Gather::<W>::new(dense, reader.sizes, self.keys, (shelf, sampler));
        let means = self.means(config, reader, accepted.footing.device);
        while let Some(draft) = before.next().await {
            // What nobody has any more cannot be read again now: that ends the snapshot, not the memory of it.
            if draft
                .refs()
                .any(|chunk| self.trust.distrusted.contains(&chunk.id))
            {
                return Ok(None);
            }
            gather.push(draft);
            gather.settle(&means).await?;
        }
        if before.is_damaged {
            return Ok(None);
        }
        let Some((id, level)) = gather.finish(&means).await? else {
            return Ok(None);
        };
        let unread = Unread {
            data_set: config.name.clone(),
            path: Vec::new(),
            reason: format!("all of it is as it was before: {reason}").into(),
        };
        let totals = gather.totals;
        let sampled = gather.sampler.end();
        Ok(Some(TakenSet {
            manifest: DataSet {
                name: config.name.clone(),
                path: accepted.path.clone(),
                file_system: FileSystemId {
                    magic: accepted.footing.magic,
                    device: accepted.footing.device,
                },
                label: accepted.label,
                root: id,
                level,
                entries: totals.entries,
                files: totals.files,
                bytes: totals.bytes,
                unread: listed(std::slice::from_ref(&unread)),
                unread_count: 1,
            },
            totals,
            shelf: gather.into_shelf(),
            files_reused: totals.files,
            seen: Seen {
                files_before: before.files(),
                met: sampled.met,
                ..Seen::default()
            },
            remembered: RememberedSet {
                name: config.name.clone(),
                sample: sampled.drawn,
                mounts: remembered.mounts,
            },
            looked_for: sampled.looked_for,
            accepted: AcceptedSet {
                files: totals.files,
                ..accepted.clone()
            },
            began: before.began,
            held: Some(reason.into()),
            has_moved: false,
            databases: 0,
            index_was_damaged: false,
            unread: vec![unread],
            skipped: Vec::new(),
            skipped_count: 0,
        }))
    }
}

/// Keeps the indexes of data sets for the next walk. They only save reading: the snapshot stands without them.
pub(super) async fn put_on_shelf<D: Disk>(sets: Vec<TakenSet<D>>) {
    for set in sets {
        if let Err(error) = set.shelf.commit(set.manifest.files, set.began).await {
            tracing::warn!(%error, "this Box's own index could not be kept: the next snapshot reads everything");
        }
    }
}

fn listed(unread: &[Unread]) -> Vec<(ByteBuf, SmolStr)> {
    let mut room = UNREAD_BYTES_MAX;
    unread
        .iter()
        .map_while(|unread| {
            room = room.checked_sub(unread.path.len() + unread.reason.len() + 10)?;
            Some((ByteBuf::from(unread.path.clone()), unread.reason.clone()))
        })
        .collect()
}

/// What is told of a data set on the way.
pub(super) struct Notes {
    pub name: SmolStr,
    pub unread: Vec<Unread>,
    pub unread_count: u64,
    pub skipped: Vec<Unread>,
    pub skipped_count: u64,
    pub has_changed: bool,
}

impl Notes {
    pub fn new(name: SmolStr) -> Self {
        Self {
            name,
            unread: Vec::new(),
            unread_count: 0,
            skipped: Vec::new(),
            skipped_count: 0,
            has_changed: false,
        }
    }

    pub fn unread(&mut self, path: &[u8], reason: &str) {
        let what = self.about(path, reason);
        super::report::SnapshotReport::push_bounded(&mut self.unread, &mut self.unread_count, what);
    }

    pub fn skipped(&mut self, path: &[u8], reason: &str) {
        let what = self.about(path, reason);
        super::report::SnapshotReport::push_bounded(
            &mut self.skipped,
            &mut self.skipped_count,
            what,
        );
    }

    fn about(&self, path: &[u8], reason: &str) -> Unread {
        Unread {
            data_set: self.name.clone(),
            path: path.to_vec(),
            reason: reason.into(),
        }
    }

    fn label(&self) -> ConsistencyLabel {
        if self.has_changed {
            ConsistencyLabel::BestEffort
        } else {
            ConsistencyLabel::Crash
        }
    }
}
