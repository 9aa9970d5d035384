//! What this Box forgot of its last snapshot, fetched from keepers before it walks: the index of each data set, so that what nobody
//! touched is not read again, what packs hold, and what stood where, so that the guard against vanishing has something to compare.
//!
//! Whatever cannot be had costs reading and nothing else: an index is put on the shelf whole or not at all, since a data set that
//! is not where it was is taken over from it. Pages do not tell how long sealed chunks are, nor how long a pack is: the most and the
//! least they can be stand in. A pack so looks more alive than it may be, never less. Memory: one page, and one node a level.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::asked::{AuthorIdentity, DataSetConfig};
use super::closure::{CatchUpError, manifest_of};
use super::draft::{Made, Ref};
use super::error::SnapshotError;
use super::footing::Footing;
use super::index::MadePage;
use super::index_source::IndexSource;
use super::known::Known;
use super::known_build;
use super::numbers::{AcceptedSet, Recalled, State};
use super::recall::{LastAccepted, last_accepted, newest_heads, recalled};
use super::remembered::{Remembered, RememberedSet};
use super::sample::Sampler;
use super::shelf::{ShelfReader, ShelfWriter};
use super::sizes::Sizes;
use super::snapshot::ASK_AGAIN;
use crate::format::head::{DataSet, SignedHead};
use crate::format::index::{Content, Entry, Page, Piece, What, path_order};
use crate::format::malformed;
use crate::keeper::Keepers;
use crate::terms::Stamp;
use crate::terms::limits::{RECORD_HEADER_BYTES, RECORD_SEAL_BYTES};
use crate::world::{Clock, Disk, World};

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Rebuilt {
    /// Data sets as the last accepted snapshot has them, if that was this Box's own and this Box had forgotten it.
    pub accepted: Vec<AcceptedSet>,
    /// What keepers know of that snapshot, if this Box had forgotten it.
    pub recalled: Option<Recalled>,
    /// A sample of what they held.
    pub remembered: Remembered,
    /// Whether some index came from keepers.
    pub has_index: bool,
}

/// Rebuilds what is missing of this Box's index, for whoever wants to compare with it before the next snapshot. Waits for nobody.
///
/// # Errors
/// If this Box's own state cannot be read. What keepers do not have is told and left out.
pub async fn rebuild_index<W: World, K: Keepers>(
    world: &W,
    keepers: &K,
    identity: &AuthorIdentity,
    data_sets: &[DataSetConfig],
    sizes: Sizes,
) -> Result<(), SnapshotError> {
    if !is_somebody_there(keepers) {
        return Ok(());
    }
    let rebuilt = rebuild(world, keepers, identity, data_sets, sizes).await;
    rebuilt.map(|_| ())
}

/// The same, and what is to be remembered of it. Somebody should be in reach.
pub(super) async fn rebuild<W: World, K: Keepers>(
    world: &W,
    keepers: &K,
    identity: &AuthorIdentity,
    data_sets: &[DataSetConfig],
    sizes: Sizes,
) -> Result<Rebuilt, SnapshotError> {
    let disk = world.disk();
    let memory = Memory::look(disk, data_sets).await?;
    let wanted = (memory.lost.as_slice(), sizes);
    let rebuilt = match memory.state.last() {
        _ if !memory.has_gaps() => Rebuilt::default(),
        Some(last) => from_keepers(world, keepers, identity, &last, wanted).await,
        None => forgotten(world, keepers, identity, wanted).await,
    };
    let has_some = memory.lost.len() < data_sets.len();
    let nothing = BTreeSet::new();
    if (has_some || rebuilt.has_index)
        && !Known::open(disk.clone(), &nothing, true).await.is_there()
        && let Err(error) = known_build::tell(world, &identity.keys, data_sets).await
    {
        tracing::warn!(%error, "what is in packs could not be noted: a renamed small file will be stored again");
    }
    Ok(rebuilt)
}

/// What this Box has of its own memory.
struct Memory<'a> {
    state: State,
    /// Data sets without an index.
    lost: Vec<&'a str>,
}

impl<'a> Memory<'a> {
    async fn look<D: Disk>(
        disk: &D,
        data_sets: &'a [DataSetConfig],
    ) -> Result<Self, SnapshotError> {
        let state = State::load(disk).await?;
        let mut lost = Vec::new();
        for config in data_sets {
            if !ShelfReader::open(disk.clone(), &config.name)
                .await
                .is_there()
            {
                lost.push(config.name.as_str());
            }
        }
        Ok(Self { state, lost })
    }

    /// Whether keepers may know more. One that was never in a snapshot has no index anywhere.
    fn has_gaps(&self) -> bool {
        let was_taken = |name: &&str| self.state.accepted.iter().any(|set| set.name == **name);
        self.state.head.is_none() || self.lost.iter().any(was_taken)
    }
}

/// Waits until a keeper is in reach if something is missing: without one there is no snapshot either.
pub(super) async fn until_helped<W: World, K: Keepers>(
    world: &W,
    keepers: &K,
    data_sets: &[DataSetConfig],
) -> Result<(), SnapshotError> {
    if Memory::look(world.disk(), data_sets).await?.has_gaps() {
        while !is_somebody_there(keepers) {
            world.clock().within(ASK_AGAIN, keepers.changed()).await;
        }
    }
    Ok(())
}

/// One Box alone protects nothing.
pub(super) fn are_others<K: Keepers>(keepers: &K) -> Result<(), SnapshotError> {
    let me = keepers.me();
    match keepers.members().iter().all(|member| member.key == me) {
        true => Err(SnapshotError::NoOtherBox),
        false => Ok(()),
    }
}

fn is_somebody_there<K: Keepers>(keepers: &K) -> bool {
    let me = keepers.me();
    let others = keepers.members().into_iter();
    let mut others = others.map(|member| member.key).filter(|key| *key != me);
    others.any(|key| keepers.reach(key).is_some())
}

/// Goes by what keepers know of the last accepted snapshot, of this Box or of one it goes on for.
async fn forgotten<W: World, K: Keepers>(
    world: &W,
    keepers: &K,
    identity: &AuthorIdentity,
    wanted: (&[&str], Sizes),
) -> Rebuilt {
    let known = newest_heads(keepers, identity).await;
    match last_accepted(keepers, identity, &known).await {
        LastAccepted::Nothing | LastAccepted::Unknown => Rebuilt::default(),
        LastAccepted::Head(last) => {
            let rebuilt = from_keepers(world, keepers, identity, &last, wanted).await;
            if rebuilt.has_index {
                let (number, taken) = (last.head.number.0, last.head.taken.seconds);
                tracing::info!(
                    number,
                    taken,
                    "what this Box forgot of its last snapshot came back from keepers"
                );
            }
            rebuilt
        }
    }
}

/// Fetches what is lost of this snapshot's indexes, and looks at what stood where.
async fn from_keepers<W: World, K: Keepers>(
    world: &W,
    keepers: &K,
    identity: &AuthorIdentity,
    head: &SignedHead,
    (lost, sizes): (&[&str], Sizes),
) -> Rebuilt {
    let mut rebuilt = Rebuilt::default();
    let manifest = match manifest_of(keepers, &identity.keyring, head).await {
        Ok(manifest) => manifest,
        Err(error) => {
            tracing::warn!(%error, "what this Box's last snapshot held cannot be looked up: everything is read again");
            return rebuilt;
        }
    };
    rebuilt.recalled = Some(recalled(&manifest));
    let disk = world.disk();
    for set in &manifest.data_sets {
        if lost.contains(&set.name.as_str()) {
            let index = IndexSource::new(keepers, &identity.keyring, head.head.author);
            match put_on_shelf(disk, &index, set, head.head.taken, sizes).await {
                Ok(()) => rebuilt.has_index = true,
                Err(error) => {
                    tracing::warn!(data_set = %set.name, %error, "its index cannot be had: all of it is read again");
                }
            }
        }
        // Where another Box had it says nothing of where this one has it.
        if head.head.author == identity.peer() {
            rebuilt
                .accepted
                .extend(stood(disk, set, head.head.taken).await);
            rebuilt.remembered.sets.push(drawn(disk, set).await);
        }
    }
    rebuilt
}

/// Why an index could not be put on the shelf.
#[derive(Debug, thiserror::Error)]
enum NotPut {
    #[error(transparent)]
    Fetch(#[from] CatchUpError),
    #[error("this Box's own disk: {0}")]
    Disk(#[from] std::io::Error),
}

async fn put_on_shelf<D: Disk, K: Keepers>(
    disk: &D,
    index: &IndexSource<'_, K>,
    set: &DataSet,
    taken: Stamp,
    sizes: Sizes,
) -> Result<(), NotPut> {
    let nothing = ShelfReader::open(disk.clone(), &set.name).await;
    let part_bytes = sizes.shelf_part_bytes;
    let mut shelf = ShelfWriter::start(disk.clone(), &set.name, &nothing, part_bytes).await?;
    let mut todo = vec![(set.root, set.level)];
    let mut last: Option<Entry> = None;
    while let Some((id, level)) = todo.pop() {
        if level > 0 {
            let node = index.node(id, level).await?;
            let children = node.children.iter().rev();
            todo.extend(children.map(|child| (child.id, level - 1)));
            continue;
        }
        let page = index.page(id).await?;
        if !follows(last.as_ref(), &page) {
            let why = malformed("index page", "its paths do not rise from page to page");
            return Err(CatchUpError::from(why).into());
        }
        last = page.entries.last().cloned();
        let refs = refs_of(&page);
        let encoded = page.encode();
        shelf.push(&MadePage { page, refs }, encoded).await?;
    }
    // What was taken over as it was before says nothing of when that was: nothing of it counts as settled.
    let was_held = set.unread.iter().any(|(path, _)| path.is_empty());
    let began = if was_held { Stamp::default() } else { taken };
    shelf.commit(set.files, began).await?;
    Ok(())
}

/// Whether a page goes on where the one before it ended: whoever reads the shelf relies on it.
fn follows(last: Option<&Entry>, page: &Page) -> bool {
    let (Some(last), Some(first)) = (last, page.entries.first()) else {
        return true;
    };
    match path_order(&last.path, &first.path) {
        Ordering::Less => true,
        Ordering::Equal => last.is_continued_by(first),
        Ordering::Greater => false,
    }
}

/// A page's chunks with what their users tell of their lengths.
fn refs_of(page: &Page) -> Vec<Ref> {
    let mut refs: Vec<_> = page
        .chunks
        .iter()
        .map(|id| Ref {
            id: *id,
            sealed_bytes: 0,
            plain_bytes: 0,
            reused: true,
        })
        .collect();
    let mut reaches = |chunk: u32, end: u64| {
        if let Some(chunk) = refs.get_mut(chunk as usize) {
            let end = u32::try_from(end).unwrap_or(u32::MAX);
            chunk.plain_bytes = chunk.plain_bytes.max(end);
        }
    };
    for entry in &page.entries {
        let What::File { bytes, content, .. } = &entry.what else {
            continue;
        };
        match content {
            Content::Empty => {}
            Content::Packed { chunk, offset, .. } => reaches(*chunk, u64::from(*offset) + bytes),
            Content::Pieces { pieces, .. } => {
                for piece in pieces {
                    if let Piece::Data { chunk, bytes } = piece {
                        reaches(*chunk, u64::from(*bytes));
                    }
                }
            }
        }
    }
    let around = u32::try_from(RECORD_HEADER_BYTES + RECORD_SEAL_BYTES).expect("a few bytes");
    for chunk in &mut refs {
        chunk.sealed_bytes = chunk.plain_bytes.saturating_add(around);
    }
    refs
}

/// A data set as that snapshot had it. What it stood on is told by the first entry of its index.
async fn stood<D: Disk>(disk: &D, set: &DataSet, taken: Stamp) -> Option<AcceptedSet> {
    let root = ShelfReader::open(disk.clone(), &set.name)
        .await
        .next()
        .await?;
    root.path.is_empty().then(|| AcceptedSet {
        name: set.name.clone(),
        path: set.path.clone(),
        files: set.files,
        bytes: set.bytes,
        footing: Footing {
            magic: set.file_system.magic,
            device: set.file_system.device,
            serial: 0,
            inode: root.inode,
            is_dir: matches!(root.what, Made::Dir),
        },
        label: set.label,
        taken,
    })
}

/// What its index says it held. What was mounted below it is in no index.
async fn drawn<D: Disk>(disk: &D, set: &DataSet) -> RememberedSet {
    let mut index = ShelfReader::open(disk.clone(), &set.name).await;
    let mut sampler = Sampler::default();
    while let Some(draft) = index.next().await {
        sampler.see(&draft);
    }
    let sample = sampler.end().drawn;
    RememberedSet {
        name: set.name.clone(),
        sample,
        mounts: Vec::new(),
    }
}
