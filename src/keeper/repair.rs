//! What a keeper does about chunks it found damaged: it fetches them anew from the other keepers and puts them in the place of the
//! damaged ones. What they replace stays where it is until its segment is compacted.

use std::rc::Rc;

use super::ask::{Ask, Keepers};
use super::further::Further;
use super::holding::{Inner, Word};
use super::loading::footer_of;
use super::placement;
use super::reading::Window;
use super::serve::{FETCH_PATIENCE, Host, Server};
use super::store::Store;
use super::table::{Entry, prefix_of};
use crate::format::record::id_of;
use crate::format::segment::{FOOTER_ENTRY_BYTES, FooterEntry, FrameType};
use crate::terms::limits::{ASK_IDS_MAX, BLOCK_BYTES};
use crate::terms::{ChunkId, PeerKey};
use crate::world::{Clock, DiskFile, World};

/// Damaged chunks that are looked at in one go: bounds the list of them.
const REPAIR_MAX: usize = 1024;

/// What the table knows of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Somebody claims it.
    Claimed,
    /// Everybody who claimed it gave it up.
    GivenUp,
    /// Nothing: it never was here, or a start did not find it any more.
    Unlisted,
}

/// What a repair came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Damaged chunks whose names are known.
    pub known: usize,
    /// Of these, replaced by a good copy.
    pub replaced: usize,
}

impl<W: World> Store<W> {
    /// What the table knows of a chunk, damaged or not.
    #[must_use]
    pub fn listing(&self, id: ChunkId) -> Listing {
        let state = self.inner().shared.state.borrow();
        let waiting = state.groups.waiting();
        let stands = |entry: Entry| state.sets.standing(entry.claims, waiting).next().is_some();
        let mut listing = Listing::Unlisted;
        for entry in state.table.matches(&id) {
            if stands(entry) {
                return Listing::Claimed;
            }
            listing = Listing::GivenUp;
        }
        listing
    }

    /// Damaged chunks by name, each with an author that claims it; two thousand or so at most. The name stands in the frame's header or in
    /// the segment's footer; where both are gone only the author knows it.
    pub async fn damaged_chunks(&self) -> Vec<(ChunkId, PeerKey)> {
        let inner = self.inner();
        let _reading = inner.readers.enter();
        let mut chunks = Vec::new();
        let mut seen = 0;
        while chunks.len() < REPAIR_MAX {
            let entries: Vec<Entry> = {
                let state = inner.shared.state.borrow();
                let damaged = state.table.scan().filter(|entry| entry.damaged);
                damaged.skip(seen).take(REPAIR_MAX).collect()
            };
            if entries.is_empty() {
                break;
            }
            seen += entries.len();
            for entry in entries {
                let author = {
                    let state = inner.shared.state.borrow();
                    // What is given up by all is not worth a line's time; claimed again, it is sent again.
                    let waiting = state.groups.waiting();
                    let first = state.sets.standing(entry.claims, waiting).next();
                    first.and_then(|who| state.authors.key(who))
                };
                if let (Some(author), Some(id)) = (author, inner.name_of(&entry).await) {
                    chunks.push((id, author));
                }
            }
        }
        chunks
    }
}

impl<W: World> Inner<W> {
    /// The whole name of a chunk whose frame may be damaged.
    pub(super) async fn name_of(&self, entry: &Entry) -> Option<ChunkId> {
        let location = entry.location;
        let segment = self.segment(location.segment()).await.ok()?;
        let mut window = Window::new(self.world.disk()).await;
        let header = window
            .header(&segment, location.offset(), BLOCK_BYTES)
            .await;
        let is_this = |id: &ChunkId| prefix_of(id) == entry.prefix;
        let by_header = header.ok().flatten().map(|header| header.id);
        if let Some(id) = by_header.filter(is_this) {
            return Some(id);
        }
        let len = segment.1.len().await.ok()?;
        let mut footer = Vec::new();
        let store = self.shared.store;
        let trailer = footer_of(&mut window, &segment, len, store, &mut footer).await?;
        let (_, entries) = footer.split_at(32 * trailer.authors as usize);
        let (entries, _) = entries.as_chunks::<FOOTER_ENTRY_BYTES>();
        let listed = entries
            .iter()
            .filter_map(|bytes| FooterEntry::decode(bytes).ok());
        let here = |listed: &FooterEntry| {
            listed.frame == FrameType::Chunk && u64::from(listed.offset) == location.offset()
        };
        listed.filter(here).map(|listed| listed.id).find(is_this)
    }
}

impl<W: World, H: Host> Server<W, H> {
    /// Fetches what is damaged here from the other keepers that can be reached, several at once.
    pub async fn repair(&self) -> Repaired {
        let mut damaged = self.store.damaged_chunks().await;
        damaged.sort_unstable_by_key(|(id, author)| (*author, *id));
        let mut repaired = Repaired::default();
        let nobody_waits = Rc::new(Further::new(None, self.world.clock()));
        for of_author in damaged.chunk_by(|(_, one), (_, next)| one == next) {
            for some in of_author.chunks(ASK_IDS_MAX) {
                let ids: Vec<ChunkId> = some.iter().map(|(id, _)| *id).collect();
                repaired.known += ids.len();
                let Ok(held) = self
                    .pull((some[0].1, Word::Fellow), &ids, &nobody_waits)
                    .await
                else {
                    continue;
                };
                repaired.replaced += held.iter().filter(|held| **held).count();
            }
        }
        repaired
    }

    /// Which of these another keeper that can be reached hands out whole. Nothing of them is kept here. Whoever does not answer in time is
    /// asked no further.
    pub async fn whole_elsewhere(&self, ids: &[ChunkId]) -> Vec<ChunkId> {
        let keepers = self.host.keepers();
        let mut members = keepers.members();
        let mut whole = Vec::new();
        for id in ids {
            let _memory = self.pulls.acquire().await;
            for peer in placement::ranking(*id, keepers.me(), &members) {
                let Some(keeper) = keepers.reach(peer) else {
                    continue;
                };
                let got = self.world.clock().within(FETCH_PATIENCE, keeper.get(*id));
                match got.await {
                    Some(Ok(Some(record))) if id_of(&record) == *id => {
                        whole.push(*id);
                        break;
                    }
                    Some(_) => {}
                    None => members.retain(|member| member.key != peer),
                }
            }
        }
        whole
    }

    /// The other keepers.
    pub fn others(&self) -> H::Keepers {
        self.host.keepers()
    }
}
