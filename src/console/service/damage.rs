//! Damage in this Box's own store, told: the first damaged chunks each as an episode of its own, from what was found to how it was
//! healed, and all of it by number.

use super::Service;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::keeper::Listing;
use crate::terms::ChunkId;
use crate::terms::limits::DAMAGED_TOLD_MAX;
use crate::world::World;

impl<W: World> Service<W> {
    /// What was found since this was last asked, what is whole again, and how much is damaged now.
    pub(super) async fn tell_damage(&self) {
        let reporter = self.reporter();
        let kind = EventKind::ChunkDamaged;
        for found in self.store().take_damage() {
            if reporter.subjects_of(kind).len() >= DAMAGED_TOLD_MAX {
                break;
            }
            let path = found.path();
            let reason = format!("what stands at byte {} is not what was kept", found.offset);
            let facts = [
                EventFact::new(FactName::Path, path.as_str()),
                EventFact::new(FactName::Reason, reason.as_str()),
            ];
            reporter.raise(kind, Subject::Chunk(found.id), &facts);
        }
        // What stood in an earlier run too: the disk decides, not a memory.
        for id in self.damaged_told() {
            if let Ok(Some(_)) = self.store().get(id).await {
                let how = "a whole copy is here again, from another Box or read after all";
                let how = [EventFact::new(FactName::Reason, how)];
                reporter.clear(kind, &Subject::Chunk(id), &how);
            }
        }
        let damaged = self.store().figures().damaged + self.0.damaged_at_start.get();
        let count = EventFact::new(FactName::Count, damaged);
        reporter.settle(
            damaged > 0,
            EventKind::StoreDamaged,
            Subject::Itself,
            &[count],
        );
    }

    /// Nobody knows any more what stood where a start found damage. When this Box was compared with all others since, and nothing that any
    /// of them knows to belong here is lacking, all of it that can be had is here again: the place is remembered and told no more.
    pub(super) async fn look_whether_start_is_healed(&self) {
        if self.0.damaged_at_start.get() == 0 || self.store().figures().damaged > 0 {
            return;
        }
        if !self.has_all_that_belongs_here() {
            return;
        }
        self.store().start_damage_is_healed().await;
        let places = self.0.damaged_at_start.take();
        tracing::info!(
            places,
            "nothing is lacking any more of what the start found damaged"
        );
        self.tell_damage().await;
    }

    /// What people are told of and nothing here will ever mend, though nothing is lost. What its authors gave up nobody needs. And a start may
    /// have forgotten where a chunk stood: if it belongs here it is lacking, and comes back; if it belongs elsewhere by now nobody sends it,
    /// and its copies are the others' to heal. It is told no more when nothing is lacking here and another Box hands it out whole. What nobody
    /// has goes on being told.
    pub(super) async fn look_whether_told_is_over(&self) {
        let Some(server) = self.0.server.get() else {
            return;
        };
        let told = self.damaged_told();
        let mut forgotten = told.clone();
        let lacks_nothing = self.has_all_that_belongs_here();
        forgotten.retain(|id| lacks_nothing && self.store().listing(*id) == Listing::Unlisted);
        let elsewhere = server.whole_elsewhere(&forgotten).await;
        for id in told {
            // It may have come while the others were asked: then it is told as what it is here.
            let how = match self.store().listing(id) {
                Listing::GivenUp => "everybody who needed it gave it up",
                Listing::Unlisted if elsewhere.contains(&id) => {
                    "it is whole on another Box, and nothing that belongs here is lacking"
                }
                Listing::Unlisted | Listing::Claimed => continue,
            };
            tracing::info!(chunk = %id, how, "a damaged chunk is told no more");
            let how = [EventFact::new(FactName::Reason, how)];
            let subject = Subject::Chunk(id);
            self.reporter()
                .clear(EventKind::ChunkDamaged, &subject, &how);
        }
    }

    /// The chunks that people are told are damaged.
    pub(super) fn damaged_told(&self) -> Vec<ChunkId> {
        let told = self.reporter().subjects_of(EventKind::ChunkDamaged);
        let told = told.into_iter().filter_map(|subject| match subject {
            Subject::Chunk(id) => Some(id),
            _ => None,
        });
        told.collect()
    }

    /// Whether this Box was compared with all others since it lost anything, and lacked nothing.
    fn has_all_that_belongs_here(&self) -> bool {
        let members = self.roster().members();
        let others: Vec<_> = members
            .iter()
            .map(|member| member.key)
            .filter(|key| *key != self.me())
            .collect();
        self.is_whole_beside(&others)
    }
}
