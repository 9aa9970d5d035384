//! What a reading of the store found, and what follows from it: what is not whole counts no more, what is whole after all counts again.
//! Nothing is deleted here.

use super::holding::Inner;
use super::open::{Damage, DamageKind};
use super::queue::stride_of;
use super::table::prefix_of;
use super::verify::{SweepProgress, SweepReport};
use crate::format::segment::{FooterEntry, FrameType, Location};
use crate::world::World;

impl<W: World> Inner<W> {
    /// What could not be read before and can be now counts again: its bytes are what their name says, and it may be the last copy.
    pub(super) fn is_whole_after_all(&self, number: u32, entry: &FooterEntry) {
        let location = Location::new(number, u64::from(entry.offset));
        let (Some(location), FrameType::Chunk) = (location, entry.frame) else {
            return;
        };
        let mut state = self.shared.state.borrow_mut();
        if state.damaged == 0 {
            return;
        }
        let mut was_damaged = false;
        state.table.update(&entry.id, location, |entry| {
            was_damaged = std::mem::take(&mut entry.damaged);
        });
        state.damaged -= u64::from(was_damaged);
        if was_damaged {
            tracing::info!(chunk = %entry.id, segment = number, "a chunk can be read again");
        }
    }

    /// What is not whole no longer counts. A chunk that has a newer copy here is no loss.
    pub(super) fn is_not_whole(
        &self,
        number: u32,
        entry: &FooterEntry,
        progress: &SweepProgress,
        report: &mut SweepReport,
    ) {
        let Some(location) = Location::new(number, u64::from(entry.offset)) else {
            return;
        };
        let (is_loss, kind) = match entry.frame {
            FrameType::Chunk => (self.flag(&entry.id, location), DamageKind::Frames),
            FrameType::Head => {
                let was_there = self.shared.state.borrow_mut().heads.remove(location);
                if was_there {
                    self.is_broken();
                }
                (was_there, DamageKind::Head)
            }
            FrameType::Claim | FrameType::Release | FrameType::Freed => {
                self.shared.void_all();
                (true, DamageKind::Frames)
            }
        };
        if is_loss {
            let damage = Damage {
                segment: number,
                offset: location.offset(),
                bytes: stride_of(entry.payload_bytes as usize),
                kind,
            };
            report.tell(progress, damage);
        }
    }

    /// Chunks that the table has in a segment and that were not found there.
    pub(super) fn flag_unlisted(
        &self,
        number: u32,
        len: u64,
        entries: &[FooterEntry],
        progress: &SweepProgress,
        report: &mut SweepReport,
    ) {
        let mut lost = self.shared.state.borrow().table.in_segment(number);
        // What was written behind the end while it was read is none of this reading's business.
        lost.retain(|(_, place)| place.offset() < len);
        // A whole frame of something else at that place is a write that went astray.
        lost.retain(|(id, place)| {
            let listed = entries.binary_search_by_key(&place.offset(), |e| u64::from(e.offset));
            listed.map_or(true, |at| {
                entries[at].frame != FrameType::Chunk || prefix_of(&entries[at].id) != prefix_of(id)
            })
        });
        for (id, location) in lost {
            if self.flag_nameless(&id, location).0 {
                let damage = Damage {
                    segment: number,
                    offset: location.offset(),
                    bytes: 0,
                    kind: DamageKind::Frames,
                };
                report.tell(progress, damage);
            }
        }
    }

    /// A segment's file is gone: nothing that was in it counts any more.
    pub(super) fn segment_is_gone(&self, number: u32) {
        self.forget_file(number);
        let lost = self.shared.state.borrow().table.in_segment(number);
        for (id, location) in &lost {
            self.flag_nameless(id, *location);
        }
        self.shared.state.borrow_mut().heads.remove_segment(number);
        self.shared.void_all();
        self.is_broken();
        self.trust.borrow_mut().doubt(number);
    }

    pub(super) fn segment_is_missing(
        &self,
        number: u32,
        progress: &SweepProgress,
        report: &mut SweepReport,
    ) {
        self.segment_is_gone(number);
        let damage = Damage::from_start(number, 0, DamageKind::Missing);
        report.tell(progress, damage);
    }
}
