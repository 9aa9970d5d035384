//! Taking one data set: the walk beside the previous index, each thing taken over or read.

use std::io;

use serde_bytes::ByteBuf;
use smol_str::SmolStr;

use super::draft::{Draft, Made};
use super::gather::{Gather, Means, Totals};
use super::numbers::Seen;
use super::read::{Reader, Taken};
use super::replicate::Replicator;
use super::report::{Progress, SnapshotReport, Unread, add};
use super::seal::Sealer;
use super::shelf::{ShelfReader, ShelfWriter};
use super::snapshot::{DataSetConfig, SnapshotError, Trust};
use super::walk::{Step, Walk, joined};
use crate::format::head::DataSet;
use crate::format::keys::DataKeys;
use crate::keeper::Keepers;
use crate::terms::limits::{PATH_BYTES_MAX, SETTLED_SECONDS};
use crate::terms::{ConsistencyLabel, Stamp};
use crate::world::{Disk, FileKind, Stat, Tree, World};

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
    pub index_was_damaged: bool,
    pub unread: Vec<Unread>,
    pub skipped: Vec<Unread>,
    pub skipped_count: u64,
}

struct Notes {
    name: SmolStr,
    unread: Vec<Unread>,
    unread_count: u64,
    skipped: Vec<Unread>,
    skipped_count: u64,
    has_changed: bool,
}

impl Notes {
    fn unread(&mut self, path: &[u8], reason: &str) {
        let what = self.about(path, reason);
        SnapshotReport::push_bounded(&mut self.unread, &mut self.unread_count, what);
    }

    fn skipped(&mut self, path: &[u8], reason: &str) {
        let what = self.about(path, reason);
        SnapshotReport::push_bounded(&mut self.skipped, &mut self.skipped_count, what);
    }

    fn about(&self, path: &[u8], reason: &str) -> Unread {
        Unread {
            data_set: self.name.clone(),
            path: path.to_vec(),
            reason: reason.into(),
        }
    }
}

#[allow(clippy::too_many_arguments)] // the one caller has them all at hand, each of its own kind
pub(super) async fn take_data_set<W: World, K: Keepers>(
    world: &W,
    out: &Replicator<W, K>,
    keys: &DataKeys,
    progress: &Progress,
    (reader, dense): (&mut Reader, &mut Sealer),
    config: &DataSetConfig,
    started: Stamp,
    trust: &Trust<'_>,
) -> Result<TakenSet<W::Disk>, SnapshotError> {
    let missing = |reason: String| SnapshotError::DataSetMissing {
        name: config.name.clone(),
        reason,
    };
    let tree = world.tree();
    let found = |error: io::Error| missing(error.to_string());
    let root = tree.stat(&config.path).await.map_err(found)?;
    match root.kind {
        FileKind::Dir | FileKind::File => {}
        FileKind::Symlink => {
            return Err(missing(
                "it is a symbolic link; name what it points to".to_owned(),
            ));
        }
        FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
            return Err(missing("it is neither a directory nor a file".to_owned()));
        }
    }
    let file_system = tree.file_system(&config.path).await.map_err(found)?;

    let mut before = ShelfReader::open(world.disk().clone(), &config.name).await;
    let files_before = before.files();
    let sizes = reader.sizes;
    let part_bytes = sizes.shelf_part_bytes;
    let shelf = ShelfWriter::start(world.disk().clone(), &config.name, &before, part_bytes).await?;
    let mut gather = Gather::<W>::new(dense, sizes, keys, shelf);
    let means = Means {
        world,
        out,
        keys,
        progress,
        sizes,
        base: &config.path,
        device: root.device,
    };
    let mut notes = Notes {
        name: config.name.clone(),
        unread: Vec::new(),
        unread_count: 0,
        skipped: Vec::new(),
        skipped_count: 0,
        has_changed: false,
    };
    let (mut files_reused, mut rewritten) = (0u64, 0u64);

    let mut walk = Walk::new(tree.clone(), &config.path, root);
    while let Some(step) = walk.next().await {
        let (path, stat) = match step {
            Step::Skipped { path, kind } => {
                notes.skipped(&path, name_of_kind(kind));
                continue;
            }
            // A data set that cannot be listed at all is a disaster to report, not emptiness to copy.
            Step::Unread { path, reason } if path.is_empty() => return Err(found(reason)),
            Step::Unread { path, reason } => {
                notes.unread(&path, &reason.to_string());
                continue;
            }
            Step::Found { path, stat } => (path, stat),
        };
        progress.path.borrow_mut().clone_from(&path);
        let old = before.find(&path).await;
        match stat.kind {
            FileKind::File => {
                add(&progress.files, 1);
                add(&progress.bytes, stat.size);
                let had_contents = old.as_ref().is_some_and(super::shelf::is_file);
                if let Some(old) = old
                    && may_be_taken_over(&old, &stat, started, trust)
                {
                    files_reused += 1;
                    take_over(&mut gather, &means, &mut before, old, &stat).await?;
                } else {
                    rewritten += u64::from(had_contents);
                    take_file(&mut gather, &means, reader, &mut notes, path, stat).await?;
                }
            }
            FileKind::Symlink => match tree.read_link(&joined(&config.path, &path)).await {
                Ok(target) if is_target(&target) => {
                    gather.push(Draft::new(path, &stat, root.device, Made::Symlink(target)));
                }
                Ok(_) => notes.unread(&path, "it points to nothing that can be named"),
                Err(reason) => notes.unread(&path, &reason.to_string()),
            },
            FileKind::Dir => gather.push(Draft::new(path, &stat, root.device, Made::Dir)),
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {}
        }
        gather.settle(&means).await?;
        for (path, reason) in gather.trouble.drain(..) {
            notes.has_changed = true;
            notes.unread(&path, &reason);
        }
    }
    before.pass_rest().await;
    let (id, level) = gather
        .finish(&means)
        .await?
        .ok_or_else(|| missing("nothing of it could be read".to_owned()))?;
    for (path, reason) in gather.trouble.drain(..) {
        notes.has_changed = true;
        notes.unread(&path, &reason);
    }

    let label = if notes.has_changed {
        ConsistencyLabel::BestEffort
    } else {
        ConsistencyLabel::Crash
    };
    let totals = gather.totals;
    Ok(TakenSet {
        manifest: DataSet {
            name: config.name.clone(),
            path: ByteBuf::from(config.path.clone()),
            file_system,
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
            gone: before.gone,
            rewritten,
        },
        index_was_damaged: before.is_damaged,
        unread: notes.unread,
        skipped: notes.skipped,
        skipped_count: notes.skipped_count,
    })
}

/// Goes on with all parts of a file whose contents are taken over.
async fn take_over<W: World, K: Keepers>(
    gather: &mut Gather<'_, W>,
    means: &Means<'_, W, K>,
    before: &mut ShelfReader<W::Disk>,
    mut draft: Draft,
    stat: &Stat,
) -> Result<(), SnapshotError> {
    loop {
        draft.mark(stat, means.device);
        let is_continued = matches!(draft.what, Made::Pieces { last: false, .. });
        let path = is_continued.then(|| draft.path.clone());
        gather.push(draft);
        gather.settle(means).await?;
        let Some(path) = path else {
            return Ok(());
        };
        match before.next_part(&path).await {
            Some(next) => draft = next,
            // Its first part is on its way already: the only sound thing is to begin again without the shelf.
            None => return Err(SnapshotError::ShelfBroken),
        }
    }
}

async fn take_file<W: World, K: Keepers>(
    gather: &mut Gather<'_, W>,
    means: &Means<'_, W, K>,
    reader: &mut Reader,
    notes: &mut Notes,
    path: Vec<u8>,
    stat: Stat,
) -> Result<(), SnapshotError> {
    if stat.size == 0 {
        gather.push(Draft::new(path, &stat, means.device, Made::Empty));
        return Ok(());
    }
    if stat.size <= means.sizes.small_file_bytes_max as u64 {
        let draft = Draft::new(path, &stat, means.device, Made::ToRead);
        gather.push_small(draft, stat);
        return Ok(());
    }
    let taken = reader
        .read(means, &path, async |draft| {
            gather.push(draft);
            gather.settle(means).await
        })
        .await?;
    match taken {
        Taken::Whole => {}
        Taken::Changed => {
            notes.has_changed = true;
            notes.unread(
                &path,
                "it changed while it was read; taken with its last read",
            );
        }
        Taken::Cut(reason) => {
            notes.has_changed = true;
            let reason = format!("its end could not be read and stands as zeros: {reason}");
            notes.unread(&path, &reason);
        }
        Taken::Failed(reason) => notes.unread(&path, &reason.to_string()),
    }
    Ok(())
}

/// Whether a file is as it was, so that its contents need not be read.
fn may_be_taken_over(old: &Draft, stat: &Stat, started: Stamp, trust: &Trust<'_>) -> bool {
    let (bytes, is_in_parts) = match &old.what {
        Made::Empty => (0, false),
        Made::Packed { bytes, .. } => (*bytes, false),
        Made::Pieces { bytes, last, .. } => (*bytes, !*last),
        Made::Dir | Made::Symlink(_) | Made::ToRead | Made::Dropped => return false,
    };
    let settled = Stamp {
        seconds: stat.ctime.seconds.saturating_add(SETTLED_SECONDS),
        ..stat.ctime
    };
    let is_trusted = trust.is_total
        && (!is_in_parts || trust.distrusted.is_empty())
        && old
            .refs()
            .all(|chunk| !trust.distrusted.contains(&chunk.id));
    bytes == stat.size
        && old.mtime == stat.mtime
        && old.ctime == stat.ctime
        && old.inode == stat.inode
        && settled <= started
        && is_trusted
}

fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= PATH_BYTES_MAX && !target.contains(&0)
}

const fn name_of_kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "a file",
        FileKind::Dir => "a directory",
        FileKind::Symlink => "a symbolic link",
        FileKind::Fifo => "a named pipe holds no data",
        FileKind::Socket => "a socket holds no data",
        FileKind::CharDevice | FileKind::BlockDevice => "a device holds no data of its own",
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
