//! The sweep of people's own files: what nobody touched since the last snapshot is read again within the sweep period and compared
//! with what it was. A difference is rot below the file system. Nothing is written to people's files here; what is found is
//! remembered (`rot`), so that the good version on the keepers is never replaced by the bad bytes.
//!
//! It goes through the index of the last snapshot in order and remembers how far it came, so that a restart goes on there. Small
//! files are compared by the name of their plaintext. A piece of a large one is sealed again and its name compared; where that
//! differs (another release may pack otherwise) it is compared, byte by byte, with what a keeper has, before anything is said.
//! Holes are not read.

use std::cell::Cell;
use std::io;

use serde_bytes::ByteBuf;
use smol_str::SmolStr;

use super::asked::{AuthorIdentity, DataSetConfig};
use super::draft::{Draft, Made, MadePiece, Ref};
use super::numbers::State;
use super::pace::{SweptTo, begins_anew, due_bytes};
use super::read::same_contents;
use super::report::add;
use super::rot::Rotten;
use super::seal::Sealer;
use super::shelf::ShelfReader;
use super::sizes::Sizes;
use super::untouched::{is_continued, is_untouched};
use super::walk::joined;
use crate::format::record::{self, RecordHeader};
use crate::format::{decode_file, encode_file};
use crate::keeper::placement::ranking;
use crate::keeper::{Ask, Keepers, Pace, Rest};
use crate::world::{Clock, Disk, Stat, Tree, TreeFile, World};

const SWEPT: &str = "how far files were read again";
const DIR: &str = "author";
const PATH: &str = "author/swept";
/// Files that are named in a report.
const NAMED_MAX: usize = 64;

/// What is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What is due when everything is to be read within so many days, gently.
    Due {
        /// The sweep period.
        period_days: u16,
    },
    /// Everything, now.
    All,
}

impl Extent {
    /// What a person waits for is read at full speed.
    const fn pace(self) -> Pace {
        match self {
            Self::Due { .. } => Pace::Gentle,
            Self::All => Pace::Full,
        }
    }
}

/// How far a sweep of files is.
#[derive(Debug, Default)]
pub struct FileProgress {
    /// Files compared.
    pub files: Cell<u64>,
    /// Their bytes.
    pub bytes: Cell<u64>,
    /// Bytes of files that are still to be looked at, if whoever began it said so.
    pub left: Cell<u64>,
    /// Somebody asks it to end soon.
    pub stopped: Cell<bool>,
}

/// What a sweep of files found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileSweep {
    /// Files compared.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first files that are not what was written: data set and path.
    pub rotten: Vec<(SmolStr, Vec<u8>)>,
    /// How many there are.
    pub rotten_count: u64,
    /// Files that differ by name, and no keeper could be asked what they were.
    pub undecided: u64,
    /// All that is known to be rotten by now, from this sweep and earlier ones.
    pub known: Rotten,
}

/// What comparing a file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is what was written.
    Whole,
    /// It is not, or cannot be read any more.
    Rotten,
    /// Nobody could be asked.
    Undecided,
    /// Somebody changed it: the next snapshot's business.
    Touched,
}

/// Reads untouched files again and compares them with the last snapshot.
///
/// # Errors
/// If what was found cannot be remembered. People's files that cannot be read are told as rotten, not as an error.
pub async fn sweep_files<W: World, K: Keepers>(
    world: &W,
    keepers: &K,
    identity: &AuthorIdentity,
    data_sets: &[DataSetConfig],
    (sizes, extent): (Sizes, Extent),
    progress: &FileProgress,
) -> io::Result<FileSweep> {
    let disk = world.disk();
    let bytes = disk.read_small(PATH).await.ok().flatten();
    let swept = bytes.and_then(|bytes| decode_file::<SweptTo>(SWEPT, &bytes).ok());
    if !has_index(disk, data_sets).await {
        // Nothing to compare with yet: a round that met nothing is not over.
        return Ok(FileSweep {
            known: Rotten::load(disk).await,
            ..FileSweep::default()
        });
    }
    let now = world.clock().wall();
    let fresh = SweptTo {
        began: now,
        ..SweptTo::default()
    };
    let (swept, is_new) = match (extent, swept) {
        (Extent::Due { period_days }, Some(swept)) if !begins_anew(now, &swept, period_days) => {
            (swept, false)
        }
        _ => (fresh, true),
    };
    let mut sets: Vec<_> = data_sets.to_vec();
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    let mut sweep = Sweep {
        world,
        keepers,
        identity,
        sizes,
        rest: Rest::new(extent.pace(), true),
        sealer: None,
        swept,
        found: FileSweep::default(),
        known: Rotten::load(disk).await,
        progress,
    };
    let known_before = sweep.known.clone();
    sweep.forget_rewritten(&sets).await;
    let budget = match extent {
        Extent::All => u64::MAX,
        Extent::Due { .. } if sweep.swept.is_at_end => 0,
        Extent::Due { period_days } => {
            let all = accepted_bytes(world).await;
            due_bytes(now, sweep.swept.began, period_days, all, sweep.swept.bytes)
        }
    };
    if is_new || budget > 0 {
        sweep.run(&sets, budget).await;
        disk.make_dir(DIR).await?;
        disk.replace_small(PATH, &encode_file(&sweep.swept), false)
            .await?;
    }
    if sweep.known != known_before {
        sweep.known.store(disk).await?;
    }
    Ok(FileSweep {
        known: sweep.known,
        ..sweep.found
    })
}

/// Whether a snapshot of any of them is remembered.
async fn has_index<D: Disk>(disk: &D, data_sets: &[DataSetConfig]) -> bool {
    for set in data_sets {
        if ShelfReader::open(disk.clone(), &set.name).await.is_there() {
            return true;
        }
    }
    false
}

/// Bytes of all data sets, as the last accepted snapshot has them.
pub async fn accepted_bytes<W: World>(world: &W) -> u64 {
    let state = State::load(world.disk()).await.unwrap_or_default();
    let bytes = state.accepted.iter().map(|set| set.bytes);
    bytes.fold(0, u64::saturating_add)
}

struct Sweep<'a, W: World, K: Keepers> {
    world: &'a W,
    keepers: &'a K,
    identity: &'a AuthorIdentity,
    sizes: Sizes,
    rest: Rest,
    /// Made when the first large file is met: its contexts take memory.
    sealer: Option<Sealer>,
    swept: SweptTo,
    found: FileSweep,
    known: Rotten,
    progress: &'a FileProgress,
}

impl<W: World, K: Keepers> Sweep<'_, W, K> {
    /// What somebody wrote anew is not what was found.
    async fn forget_rewritten(&mut self, sets: &[DataSetConfig]) {
        for file in self.known.files.clone() {
            let set = sets.iter().find(|set| set.name == file.data_set);
            let is_there = match set {
                Some(set) => {
                    let tree = self.world.tree().within(&set.path);
                    let stat = tree.stat(&joined(&set.path, &file.path)).await;
                    match stat {
                        Ok(stat) => file.looks_like(&stat),
                        Err(error) => error.kind() != io::ErrorKind::NotFound,
                    }
                }
                None => false,
            };
            if !is_there {
                self.known.forget(&file.data_set, &file.path);
            }
        }
    }

    async fn run(&mut self, sets: &[DataSetConfig], budget: u64) {
        let mut left = budget;
        let from = self.swept.data_set.clone();
        for set in sets.iter().filter(|set| set.name >= from) {
            let mut shelf = ShelfReader::open(self.world.disk().clone(), &set.name).await;
            if self.swept.data_set != set.name {
                self.swept.data_set = set.name.clone();
                self.swept.path.clear();
            } else if !self.swept.path.is_empty() {
                let path = self.swept.path.to_vec();
                shelf.find(&path).await;
            }
            let tree = self.world.tree().within(&set.path);
            while let Some(draft) = shelf.next().await {
                let Some(bytes) = draft.file_bytes() else {
                    continue;
                };
                if left == 0 || self.progress.stopped.get() {
                    return;
                }
                let path = draft.path.clone();
                let verdict = self.look(&tree, set, draft, &mut shelf).await;
                if self.progress.stopped.get() {
                    return;
                }
                self.swept.path = ByteBuf::from(path);
                let ahead = self.progress.left.get().saturating_sub(bytes);
                self.progress.left.set(ahead);
                if verdict != Verdict::Touched {
                    left = left.saturating_sub(bytes);
                    self.swept.bytes = self.swept.bytes.saturating_add(bytes);
                    self.found.files += 1;
                    self.found.bytes = self.found.bytes.saturating_add(bytes);
                    add(&self.progress.files, 1);
                    add(&self.progress.bytes, bytes);
                }
            }
        }
        self.swept.is_at_end = true;
        self.progress.left.set(0);
    }

    /// Compares one file, if it is as it was.
    async fn look(
        &mut self,
        tree: &W::Tree,
        set: &DataSetConfig,
        draft: Draft,
        shelf: &mut ShelfReader<W::Disk>,
    ) -> Verdict {
        let (path, began) = (draft.path.clone(), shelf.began);
        let at = joined(&set.path, &path);
        let bytes = draft.file_bytes();
        let Ok(before) = tree.stat(&at).await else {
            return Verdict::Touched;
        };
        let is_known = self.known.has(&set.name, &path, &before);
        let is_as_it_was = |stat: &Stat| {
            Some(stat.size) == bytes && (is_known || is_untouched(&draft, stat, began))
        };
        if !is_as_it_was(&before) {
            return Verdict::Touched;
        }
        let verdict = match &draft.what {
            Made::Packed { name, .. } => {
                let most = self.sizes.small_file_bytes_max + 1;
                self.looked_at(bytes.unwrap_or(0)).await;
                match tree.read_many(vec![at.clone()], most).await.pop() {
                    Some(Ok(whole)) if !same_contents(&before, &whole.stat) => Verdict::Touched,
                    Some(Ok(whole)) if self.identity.keys.lookup_name(&whole.bytes) == *name => {
                        Verdict::Whole
                    }
                    Some(Ok(_)) => Verdict::Rotten,
                    Some(Err(error)) => unreadable(&error),
                    None => Verdict::Touched,
                }
            }
            Made::Pieces { .. } => match self.look_at_pieces(tree, &at, draft.clone(), shelf).await
            {
                Ok(verdict) => verdict,
                Err(error) => unreadable(&error),
            },
            _ => Verdict::Whole,
        };
        // Whatever came between the two looks is somebody's change.
        let after = tree.stat(&at).await;
        if !after.is_ok_and(|after| same_contents(&before, &after)) {
            return Verdict::Touched;
        }
        match verdict {
            Verdict::Rotten => {
                self.found.rotten_count += 1;
                if self.found.rotten.len() < NAMED_MAX {
                    self.found.rotten.push((set.name.clone(), path.clone()));
                }
                self.known.add(&set.name, &path, &before);
            }
            Verdict::Whole if is_known => self.known.forget(&set.name, &path),
            Verdict::Undecided => self.found.undecided += 1,
            Verdict::Whole | Verdict::Touched => {}
        }
        verdict
    }

    async fn look_at_pieces(
        &mut self,
        tree: &W::Tree,
        at: &[u8],
        mut part: Draft,
        shelf: &mut ShelfReader<W::Disk>,
    ) -> io::Result<Verdict> {
        let file = tree.open(at).await?;
        let (mut offset, mut verdict, mut plain) = (0u64, Verdict::Whole, Vec::new());
        loop {
            let Made::Pieces { pieces, .. } = &part.what else {
                return Ok(Verdict::Touched);
            };
            for piece in pieces {
                match piece {
                    MadePiece::Hole(bytes) => offset += bytes,
                    MadePiece::Data(..) if self.progress.stopped.get() => {
                        return Ok(Verdict::Touched);
                    }
                    MadePiece::Data(chunk, bytes) => {
                        self.looked_at(u64::from(*bytes)).await;
                        plain.clear();
                        let want = *bytes as usize;
                        while plain.len() < want {
                            let (from, more) = (offset + plain.len() as u64, want - plain.len());
                            let (read, back) = file.read_at(plain, more, from).await;
                            plain = back;
                            if read? == 0 {
                                return Ok(Verdict::Touched);
                            }
                        }
                        offset += u64::from(*bytes);
                        match self.is_it(&plain, chunk).await? {
                            Some(true) => {}
                            Some(false) => return Ok(Verdict::Rotten),
                            None => verdict = Verdict::Undecided,
                        }
                    }
                }
            }
            if !is_continued(&part) {
                return Ok(verdict);
            }
            match shelf.next_part(&part.path).await {
                Some(next) => part = next,
                None => return Ok(Verdict::Touched),
            }
        }
    }

    /// Whether these bytes are what a chunk holds; `None` if nobody can say.
    async fn is_it(&mut self, plain: &[u8], chunk: &Ref) -> io::Result<Option<bool>> {
        let identity = self.identity;
        let sealer = match &mut self.sealer {
            Some(sealer) => sealer,
            None => self
                .sealer
                .insert(Sealer::new(identity.keys.clone(), identity.suite)?),
        };
        let present = [identity.keys.clone()];
        let mut names = sealer.names_under(&present, plain, false);
        if names.iter().all(|(name, _)| *name != chunk.id) {
            names = sealer.names_under(&identity.older, plain, false);
        }
        if names.iter().any(|(name, _)| *name == chunk.id) {
            return Ok(Some(true));
        }
        for peer in ranking(chunk.id, self.keepers.me(), &self.keepers.members()) {
            let Some(keeper) = self.keepers.reach(peer) else {
                continue;
            };
            let Ok(Some(sealed)) = keeper.get(chunk.id).await else {
                continue;
            };
            if record::id_of(&sealed) != chunk.id {
                continue;
            }
            let keys = RecordHeader::of(&sealed).ok();
            let keys = keys.and_then(|header| (identity.keyring)(header.epoch));
            if let Some(Ok((_, kept))) = keys.map(|keys| record::open(&keys, sealed)) {
                return Ok(Some(kept.as_slice() == plain));
            }
        }
        Ok(None)
    }

    /// So much is looked at: the disk and the processor are left to others from time to time.
    async fn looked_at(&mut self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.rest.take(self.world, bytes, false).await;
    }
}

/// A file that is there and cannot be read is damaged; one that is gone or may not be read is not.
fn unreadable(error: &io::Error) -> Verdict {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput => {
            Verdict::Touched
        }
        _ => Verdict::Rotten,
    }
}
