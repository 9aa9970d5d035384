//! Damage in this Box's own store, told: the first damaged chunks each as an episode of its own, from what was found to how it was
//! healed, and all of it by number.

use super::Service;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
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
        for subject in reporter.subjects_of(kind) {
            let Subject::Chunk(id) = subject else {
                continue;
            };
            if let Ok(Some(_)) = self.store().get(id).await {
                let how = "a whole copy is here again, from another Box or read after all";
                let how = [EventFact::new(FactName::Reason, how)];
                reporter.clear(kind, &subject, &how);
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
        let members = self.roster().members();
        let others: Vec<_> = members
            .iter()
            .map(|member| member.key)
            .filter(|key| *key != self.me())
            .collect();
        if !self.is_whole_beside(&others) {
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
}
