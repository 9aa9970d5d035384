//! Everything a snapshot consists of, as a stream of names; and bringing one keeper up to date with it.
//!
//! Pages and nodes are fetched from keepers, so this works on a Box that lost its own index. Memory: one page and one
//! node a level.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use super::index_source::{IndexSource, Sought};
use super::lacks::Nowhere;
use super::report::SnapshotReport;
use crate::format::Malformed;
use crate::format::head::{Manifest, SignedHead};
use crate::format::keys::DataKeys;
use crate::format::message::Refusal;
use crate::format::record::OpenError;
use crate::keeper::placement::place;
use crate::keeper::{Ask, AskError, Keepers, MemberView};
use crate::terms::canary::{self, Canary};
use crate::terms::limits::ASK_IDS_MAX;
use crate::terms::{ChunkId, KeyEpoch, PeerKey};

/// Finds the data keys of an epoch: a snapshot refers to chunks of older ones too.
pub type Keyring = Rc<dyn Fn(KeyEpoch) -> Option<DataKeys>>;

/// Why a keeper could not be brought up to date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatchUpError {
    /// It is no member, or not to be reached.
    #[error("the keeper cannot be reached; it is brought up to date when it comes back")]
    Away,
    /// It went away or said no.
    #[error("the keeper did not take its share: {0}; what it acknowledged before is safe")]
    Ask(#[from] AskError),
    /// A part of the index is on no keeper that can be reached.
    #[error(
        "chunk {0} of the snapshot's index is on no keeper that can be reached now; nothing was changed; try again when \
         more of them are there"
    )]
    Missing(ChunkId),
    /// A part of the index is not what it should be.
    #[error("a part of the snapshot's index cannot be used ({0}); take a new snapshot")]
    Malformed(#[from] Malformed),
    /// A part of the index does not open.
    #[error("a part of the snapshot's index cannot be opened ({0}); take a new snapshot")]
    Open(#[from] OpenError),
}

/// What a keeper had and got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaughtUp {
    /// Chunks placed there.
    pub needed: u64,
    /// Of these, confirmed now.
    pub confirmed: u64,
    /// The fewest complete keepers that any chunk is on, this one among them if it is complete now.
    pub copies: u8,
    /// Whether it has the head now.
    pub has_head: bool,
}

/// Where a snapshot's chunks should be.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Among these; the author is no keeper of its own.
    pub members: Vec<MemberView>,
    /// On so many.
    pub factor: u8,
}

/// The manifest of a snapshot, from whoever has it.
pub async fn manifest_of<K: Keepers>(
    keepers: &K,
    keyring: &Keyring,
    head: &SignedHead,
) -> Result<Manifest, CatchUpError> {
    let index = IndexSource::new(keepers, keyring, head.head.author);
    index.manifest(head.head.manifest).await
}

/// Parts of indexes that were walked through: snapshots of one author share most of theirs. Bounded; forgets when it is full. And what
/// nobody had of all that was to be brought.
#[derive(Debug, Default)]
pub struct Seen {
    parts: BTreeSet<ChunkId>,
    /// What nobody had.
    pub nowhere: Nowhere,
}

/// Half a mebibyte of names.
const SEEN_MAX: usize = 16_384;

impl Seen {
    /// Whether this is new.
    fn insert(&mut self, id: ChunkId) -> bool {
        if self.parts.len() == SEEN_MAX {
            self.parts.clear();
        }
        self.parts.insert(id)
    }
}

/// The names of a snapshot's closure: manifest, then each data set's tree from the root down.
pub struct Closure<'a, K: Keepers> {
    index: IndexSource<'a, K>,
    manifest: Option<ChunkId>,
    /// What is still to be opened: names and their levels (0 is a page).
    stack: Vec<(ChunkId, u8)>,
    ready: VecDeque<ChunkId>,
    /// What need not be walked through again.
    seen: Option<&'a mut Seen>,
}

impl<'a, K: Keepers> Closure<'a, K> {
    /// Of this snapshot.
    pub fn new(keepers: &'a K, keyring: &'a Keyring, head: &SignedHead) -> Self {
        Self {
            index: IndexSource::new(keepers, keyring, head.head.author),
            manifest: Some(head.head.manifest),
            stack: Vec::new(),
            ready: VecDeque::new(),
            seen: None,
        }
    }

    /// Leaves out what another snapshot had in common with this one.
    #[must_use]
    pub fn leaving_out(mut self, seen: &'a mut Seen) -> Self {
        self.seen = Some(seen);
        self
    }

    fn is_new(&mut self, id: ChunkId) -> bool {
        self.seen.as_mut().is_none_or(|seen| seen.insert(id))
    }

    /// What came of looking for one of them, where that is kept.
    fn note(&mut self, note: impl FnOnce(&mut Nowhere)) {
        if let Some(seen) = self.seen.as_mut() {
            note(&mut seen.nowhere);
        }
    }

    /// The next name. A chunk that several pages refer to comes once for each.
    pub async fn next(&mut self) -> Result<Option<ChunkId>, CatchUpError> {
        if let Some(id) = self.manifest.take() {
            let manifest = self.index.manifest(id).await?;
            let roots = manifest.data_sets.iter().rev();
            self.stack.extend(roots.map(|set| (set.root, set.level)));
            return Ok(Some(id));
        }
        if let Some(id) = self.ready.pop_front() {
            return Ok(Some(id));
        }
        let (id, level) = loop {
            let Some((id, level)) = self.stack.pop() else {
                return Ok(None);
            };
            if self.is_new(id) {
                break (id, level);
            }
        };
        if level == 0 {
            self.ready.extend(self.index.page(id).await?.chunks);
        } else {
            let node = self.index.node(id, level).await?;
            let children = node.children.iter().rev();
            self.stack
                .extend(children.map(|child| (child.id, level - 1)));
        }
        Ok(Some(id))
    }
}

/// Brings one keeper up to date with a snapshot: has it confirm, or fetch from others, everything placed there, then hands
/// it the head. `complete` are the keepers known to have all of their share.
pub async fn catch_up<K: Keepers>(
    keepers: &K,
    keyring: &Keyring,
    head: &SignedHead,
    complete: &BTreeSet<PeerKey>,
    peer: PeerKey,
) -> Result<CaughtUp, CatchUpError> {
    let placement = Placement {
        members: keepers.members(),
        factor: keepers.factors().0,
    };
    let closure = Closure::new(keepers, keyring, head);
    bring(keepers, closure, &placement, head, complete, peer).await
}

/// The same for a placement of another time or another author, on behalf of whoever is its author. What is common with the
/// snapshots `seen` was used for is left out. What nobody has is noted there.
pub async fn catch_up_with<K: Keepers>(
    keepers: &K,
    keyring: &Keyring,
    head: &SignedHead,
    placement: &Placement,
    seen: &mut Seen,
    peer: PeerKey,
) -> Result<CaughtUp, CatchUpError> {
    let closure = Closure::new(keepers, keyring, head).leaving_out(seen);
    let nobody = BTreeSet::new();
    bring(keepers, closure, placement, head, &nobody, peer).await
}

/// How many chunks of a snapshot none of these keepers has.
pub async fn on_none_of<K: Keepers>(
    keepers: &K,
    keyring: &Keyring,
    head: &SignedHead,
    among: &[PeerKey],
    seen: &mut Seen,
) -> Result<u64, CatchUpError> {
    let author = head.head.author;
    let mut closure = Closure::new(keepers, keyring, head).leaving_out(seen);
    let (mut batch, mut missing) = (Vec::new(), 0);
    loop {
        let next = closure.next().await?;
        batch.extend(next);
        if batch.len() == ASK_IDS_MAX || (next.is_none() && !batch.is_empty()) {
            let mut ids = std::mem::take(&mut batch);
            for keeper in among.iter().filter_map(|peer| keepers.reach(*peer)) {
                if ids.is_empty() {
                    break;
                }
                // Whoever does not answer now has nothing that can be counted on.
                if let Ok(held) = keeper.have(author, ids.clone()).await
                    && held.len() == ids.len()
                {
                    ids = not_held(ids, held);
                }
            }
            missing += ids.len() as u64;
        }
        if next.is_none() {
            return Ok(missing);
        }
    }
}

async fn bring<K: Keepers>(
    keepers: &K,
    mut closure: Closure<'_, K>,
    placement: &Placement,
    head: &SignedHead,
    complete: &BTreeSet<PeerKey>,
    peer: PeerKey,
) -> Result<CaughtUp, CatchUpError> {
    let keeper = keepers.reach(peer).ok_or(CatchUpError::Away)?;
    let author = head.head.author;
    let mut done = CaughtUp::default();
    // If this keeper turns out to be complete it counts, else it does not.
    let (mut copies_without, mut copies_with) = (u8::MAX, u8::MAX);
    let (mut batch, mut missing_part) = (Vec::new(), None);
    loop {
        let next = match closure.next().await {
            // What else it consists of is brought all the same: that much of it comes back.
            Err(CatchUpError::Missing(id)) => {
                let sought = closure.index.sought(id, None).await;
                closure.note(|nowhere| match sought {
                    Sought::Found(_) => nowhere.unsure(),
                    Sought::Nowhere | Sought::Unknown => nowhere.note(id, &sought),
                });
                missing_part.get_or_insert(id);
                continue;
            }
            next => next?,
        };
        if let Some(id) = next {
            let placed = place(id, author, &placement.members, placement.factor);
            let others = placed
                .iter()
                .filter(|key| **key != peer && complete.contains(*key))
                .count();
            let others = u8::try_from(others).unwrap_or(u8::MAX);
            let is_here = placed.contains(&peer);
            copies_without = copies_without.min(others);
            copies_with = copies_with.min(others.saturating_add(u8::from(is_here)));
            if is_here {
                batch.push(id);
            }
        }
        if batch.len() == ASK_IDS_MAX || (next.is_none() && !batch.is_empty()) {
            done.needed += batch.len() as u64;
            let ids = std::mem::take(&mut batch);
            let (held, missing) = confirm(&keeper, author, ids).await?;
            done.confirmed += held;
            for id in missing {
                // It cannot reach whoever has this one; this Box may, so it goes through here.
                let sought = closure.index.sought(id, Some(peer)).await;
                closure.note(|nowhere| nowhere.note(id, &sought));
                if let Sought::Found(record) = sought {
                    keeper.put(id, Rc::new(record)).await?;
                    // A put is a claim of whoever speaks; the author is whose snapshot it is.
                    if author == keepers.me() || keeper.have(author, vec![id]).await? == [true] {
                        done.confirmed += 1;
                    } else {
                        closure.note(Nowhere::unsure);
                    }
                }
            }
        }
        if next.is_none() {
            break;
        }
    }
    if let Some(id) = missing_part {
        return Err(CatchUpError::Missing(id));
    }
    done.copies = copies_without;
    if done.confirmed == done.needed {
        done.copies = copies_with;
        match keeper.put_head(head.clone()).await {
            // It left there on its author's word, and comes back on nobody else's.
            Ok(()) | Err(AskError::Refused(Refusal::Forgotten)) => done.has_head = true,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

async fn confirm<A: Ask>(
    keeper: &A,
    author: PeerKey,
    ids: Vec<ChunkId>,
) -> Result<(u64, Vec<ChunkId>), CatchUpError> {
    let asked = ids.len();
    if canary::sings(Canary::BelieveHolder) {
        return Ok((asked as u64, Vec::new()));
    }
    let held = keeper.have(author, ids.clone()).await?;
    if held.len() != asked {
        return Err(AskError::Nonsense.into());
    }
    let missing = not_held(ids, held);
    if missing.is_empty() {
        return Ok((asked as u64, missing));
    }
    let held = keeper.pull(author, missing.clone()).await?;
    if held.len() != missing.len() {
        return Err(AskError::Nonsense.into());
    }
    let missing = not_held(missing, held);
    Ok(((asked - missing.len()) as u64, missing))
}

fn not_held(ids: Vec<ChunkId>, held: Vec<bool>) -> Vec<ChunkId> {
    let both = ids.into_iter().zip(held);
    both.filter_map(|(id, held)| (!held).then_some(id))
        .collect()
}

impl SnapshotReport {
    /// Keepers known to have all of their share.
    #[must_use]
    pub fn complete(&self) -> BTreeSet<PeerKey> {
        self.keepers
            .iter()
            .filter(|keeper| keeper.is_complete())
            .map(|keeper| keeper.key)
            .collect()
    }

    /// Brings one keeper up to date with this snapshot and notes what it has: for a keeper that came back.
    pub async fn catch_up<K: Keepers>(
        &mut self,
        keepers: &K,
        keyring: &Keyring,
        peer: PeerKey,
    ) -> Result<(), CatchUpError> {
        let done = catch_up(keepers, keyring, &self.head, &self.complete(), peer).await;
        let share = self.keepers.iter_mut().find(|share| share.key == peer);
        match &done {
            Ok(caught_up) => {
                self.copies = self.copies.max(caught_up.copies);
                if let Some(share) = share {
                    share.needed = caught_up.needed;
                    share.confirmed = caught_up.confirmed;
                    share.has_head |= caught_up.has_head;
                }
            }
            Err(CatchUpError::Ask(AskError::Refused(refusal))) => {
                if let Some(share) = share {
                    share.refusal = Some(*refusal);
                }
            }
            Err(_) => {}
        }
        done.map(|_| ())
    }
}
