//! What a start found damaged, and what of it was healed: a place where nothing is lacking any more is told no more.
//!
//! Invariant: only what this start found is remembered, so what is damaged again after it was whole is news.

use super::holding::Inner;
use crate::format::healed::{DamagedPlace, Healed};
use crate::terms::StoreId;
use crate::terms::limits::HEALED_PLACES_MAX;
use crate::world::{Disk, World};

const HEALED_PATH: &str = "store/healed";

/// What this start found.
#[derive(Default)]
pub(super) struct StartDamage {
    /// Something of these places may still be lacking.
    pub(super) open: Vec<DamagedPlace>,
    /// And of these nothing is.
    pub(super) healed: Vec<DamagedPlace>,
}

/// What was healed when the store was open last. Without it everything is told.
pub(super) async fn healed_of<W: World>(world: &W, store: StoreId) -> Healed {
    let bytes = world.disk().read_small(HEALED_PATH).await.ok().flatten();
    let healed = bytes.and_then(|bytes| Healed::decode(&bytes).ok());
    healed
        .filter(|healed| healed.store == store)
        .unwrap_or_else(|| Healed::new(store))
}

impl<W: World> Inner<W> {
    /// Nothing is lacking any more of what the start found.
    pub(super) async fn start_damage_is_healed(&self) {
        let healed = {
            let mut found = self.start_damage.borrow_mut();
            let room = HEALED_PLACES_MAX - found.healed.len();
            let open = std::mem::take(&mut found.open);
            found.healed.extend(open.into_iter().take(room));
            Healed {
                store: self.shared.store,
                places: found.healed.clone(),
            }
        };
        if !self.is_at_home().await {
            return;
        }
        let disk = self.world.disk();
        if let Err(error) = disk
            .replace_small(HEALED_PATH, &healed.encode(), false)
            .await
        {
            tracing::debug!(%error, "what is healed is not written down: the next start tells it anew");
        }
    }
}
