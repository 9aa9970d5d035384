//! Packs: chunks that many small files share. A pack is fetched once while its files lie together.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use tokio::sync::OnceCell;

use super::{FetchError, Source};
use crate::terms::{ChunkId, Kind};

/// Packs remembered, 2 MiB each at the very most: neighbours of old snapshots lie in a few packs at once.
const PACKS_MAX: usize = 4;

type Fetched = Result<Rc<Vec<u8>>, FetchError>;

/// The packs used last, newest at the back. A pack that is still on its way is in here too, so nobody asks twice;
/// one that could not be had stays as well, so that its files do not wait for it one after the other.
#[derive(Default)]
pub(super) struct Packs(RefCell<VecDeque<(ChunkId, Rc<OnceCell<Fetched>>)>>);

impl Packs {
    /// The pack's plaintext, fetched if it is not here.
    pub(super) async fn get<S: Source>(&self, source: &S, id: ChunkId) -> Fetched {
        let cell = self.cell(id);
        cell.get_or_init(|| async { source.fetch(id, Kind::Data).await.map(Rc::new) })
            .await
            .clone()
    }

    fn cell(&self, id: ChunkId) -> Rc<OnceCell<Fetched>> {
        let mut packs = self.0.borrow_mut();
        let at = packs.iter().position(|(known, _)| *known == id);
        let entry = at
            .and_then(|at| packs.remove(at))
            .unwrap_or_else(|| (id, Rc::new(OnceCell::new())));
        let cell = entry.1.clone();
        packs.push_back(entry);
        if packs.len() > PACKS_MAX {
            packs.pop_front();
        }
        cell
    }
}
