//! The store's own upkeep: what is due is read again, what is damaged is fetched anew from the others; and how much room the others have.

use std::time::Duration;

use super::Service;
use crate::console::control::RoomView;
use crate::console::text::bytes;
use crate::dispatcher::EventKind;
use crate::format::message::{Refusal, Room};
use crate::keeper::{
    Ask, Damage, DamageKind, Keepers, Pace, RemoteKeeper, SweepProgress, SweepReport, Which,
};
use crate::monitor::Disagreement;
use crate::session::Session;
use crate::terms::PeerKey;
use crate::world::{Clock, World};

/// When it is tried again after the store could not be read at all.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// A chunk that people are told of is looked for so often.
const TOLD_AGAIN: Duration = Duration::from_secs(600);
/// How long the others are left alone when they had nothing to mend with, unless one comes or goes.
const MEND_AGAIN: Duration = Duration::from_secs(60);

impl<W: World> Service<W> {
    /// Reads the store again and again, spread over the sweep period: at the start what is not known to be whole, then as it comes due.
    pub(super) async fn mind_store(self) {
        loop {
            let progress = SweepProgress::default();
            let read = self.store().verify(Which::Due, Pace::Gentle, &progress);
            let calm = match read.await {
                Ok(report) => {
                    tell(&report);
                    report.calm
                }
                Err(error) => {
                    tracing::warn!(%error, "the store could not be read again");
                    LOOK_AGAIN
                }
            };
            match self.store().compact(Pace::Gentle).await {
                Ok(reclaimed) if reclaimed.segments > 0 => {
                    tracing::info!(?reclaimed, "space was given back");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the store could not be compacted"),
            }
            let freed = self.0.compact.notified();
            self.world().clock().within(calm, freed).await;
        }
    }

    /// Fetches anew what is found damaged, for as long as it takes.
    pub(super) async fn mend_store(self) {
        loop {
            // At the start too: what stood in the run before may be whole by now.
            self.tell_damage().await;
            self.damage_seen().await;
            self.store().remember().await;
            let mut told = self.store().figures().damaged;
            self.tell_damage().await;
            self.0.heal.notify_one();
            while self.store().figures().damaged > 0 {
                // Who comes or goes from here on is news; an older directory would call the same coming news for ever.
                let others = self.keepers();
                self.mend_own_store().await;
                // Some of it may have come from elsewhere, while the rest can still not be mended.
                let damaged = self.store().figures().damaged;
                let is_news = self.store().has_found_damage();
                if std::mem::replace(&mut told, damaged) != damaged || is_news {
                    self.tell_damage().await;
                }
                if damaged > 0 {
                    let clock = self.world().clock();
                    clock.within(MEND_AGAIN, others.changed()).await;
                }
            }
        }
    }

    /// Until something is found damaged. While people are told of a chunk it is looked for now and then: a start may have forgotten where it
    /// stood, and then whoever sends it again mends nothing and only keeps it.
    async fn damage_seen(&self) {
        loop {
            let stands = !self
                .reporter()
                .subjects_of(EventKind::ChunkDamaged)
                .is_empty();
            let seen = self.store().damage_seen();
            if !stands {
                return seen.await;
            }
            if self
                .world()
                .clock()
                .within(TOLD_AGAIN, seen)
                .await
                .is_some()
            {
                return;
            }
            self.tell_damage().await;
        }
    }

    pub(super) async fn mend_own_store(&self) {
        let Some(server) = self.0.server.get() else {
            return;
        };
        let repaired = server.repair().await;
        let replaced = self
            .0
            .replaced
            .get()
            .saturating_add(repaired.replaced as u64);
        self.0.replaced.set(replaced);
        if repaired.replaced > 0 {
            tracing::info!(
                replaced = repaired.replaced,
                "damaged chunks were fetched anew from other Boxes"
            );
        }
    }

    /// Asks a peer how much room it has. One that lost something since is asked again for its share.
    pub(super) async fn look_at_room(&self, session: &Session) -> bool {
        let peer = session.peer();
        let Ok(room) = RemoteKeeper::new(session.clone()).room().await else {
            return false;
        };
        let before = self.0.rooms.borrow_mut().insert(peer, room);
        if before.is_some_and(|before| has_lost(&before, &room)) {
            // What it confirmed of the newest snapshot, and of older ones, is asked again.
            self.0.protection.borrow_mut().disproven(peer);
            self.0.mend.notify_one();
            self.0.heal.notify_one();
        }
        self.tell_room(peer, &room);
        true
    }

    /// What a peer said of its room.
    pub(super) fn room_of(&self, peer: PeerKey) -> Option<Room> {
        self.0.rooms.borrow().get(&peer).copied()
    }

    /// Why a peer takes no more, with its figures and what to do.
    pub(super) fn refusal_in_words(&self, peer: PeerKey, refusal: Refusal) -> String {
        match Disagreement::behind(refusal) {
            Some(one) => format!("{refusal} ({})", one.reason()),
            None => limit_in_words(refusal, self.room_of(peer).as_ref()),
        }
    }
}

/// Whether a keeper lost something between two answers. Damage that nobody can heal is no news every time.
pub(super) const fn has_lost(before: &Room, now: &Room) -> bool {
    before.unbroken != now.unbroken || now.damaged > before.damaged
}

/// Why a keeper takes no more, with its figures and what to do.
fn limit_in_words(refusal: Refusal, room: Option<&Room>) -> String {
    let Some(room) = room else {
        return refusal.to_string();
    };
    match refusal {
        Refusal::DiskFull => format!(
            "its disk is full (it keeps {} and has room for {} more); give it more space there, it goes on by itself",
            bytes(room.stored_bytes),
            bytes(room.room_bytes)
        ),
        Refusal::TableFull => format!(
            "its chunk table is full ({} of {} places); raise table_chunks in its box.toml and restart it",
            room.chunks, room.chunks_max
        ),
        Refusal::QuotaFull => format!(
            "this Box may have {} there and has {}; raise quota_bytes_per_author in its box.toml and restart it",
            bytes(room.quota_bytes.unwrap_or(0)),
            bytes(room.yours_bytes)
        ),
        Refusal::Damaged
        | Refusal::DiskFailed
        | Refusal::HeadsFull
        | Refusal::HeadConflict
        | Refusal::TicketInvalid
        | Refusal::NameTaken
        | Refusal::ReserveFull
        | Refusal::NothingToReplace
        | Refusal::OtherPlaces
        | Refusal::ReleaseWaits { .. }
        | Refusal::ClaimedSince
        | Refusal::NewestStays
        | Refusal::OtherIncarnation
        | Refusal::Forgotten
        | Refusal::NotUnderstood => refusal.to_string(),
    }
}

/// As lists show it.
pub(super) fn room_view(room: &Room) -> RoomView {
    RoomView {
        chunks: room.chunks,
        chunks_max: room.chunks_max,
        stored_bytes: room.stored_bytes,
        room_bytes: room.room_bytes,
        used_bytes: room.yours_bytes,
        quota_bytes: room.quota_bytes,
        damaged: room.damaged,
    }
}

/// A place that is not whole, for people.
pub(super) fn in_words(damage: &Damage) -> String {
    let what = match damage.kind {
        DamageKind::Missing => "its file is gone",
        DamageKind::Unreadable => "its file cannot be opened: see what the disk says",
        DamageKind::Header => "its beginning does not read",
        DamageKind::Footer => "its list of contents does not read; they were found one by one",
        DamageKind::Frames => "what was acknowledged there does not read",
        DamageKind::Unwritable => "it cannot be written any more; what is in it is read",
        DamageKind::Head => "the head of a snapshot does not read",
        DamageKind::NoPlace => "what was kept here finds no place in the chunk table",
    };
    format!(
        "segment {} from byte {}: {what}",
        damage.segment, damage.offset
    )
}

/// What a reading found goes into the log.
pub(super) fn tell(report: &SweepReport) {
    if report.segments > 0 {
        tracing::info!(
            segments = report.segments,
            frames = report.frames,
            bytes = report.bytes,
            damaged = report.damaged_count,
            "the store was read again"
        );
    }
    for damage in &report.damaged {
        tracing::warn!(?damage, "damage in the store: nothing was removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_news_once_and_damage_that_stands_is_none() {
        let whole = Room {
            unbroken: 1,
            ..Room::default()
        };
        let damaged = Room {
            damaged: 1,
            unbroken: 2,
            ..whole
        };
        assert!(has_lost(&whole, &damaged));
        assert!(!has_lost(&damaged, &damaged));
        assert!(!has_lost(
            &damaged,
            &Room {
                damaged: 0,
                ..damaged
            }
        ));
        assert!(has_lost(
            &damaged,
            &Room {
                damaged: 2,
                ..damaged
            }
        ));
    }

    #[test]
    fn a_limit_is_told_with_its_figures_and_what_to_do() {
        let room = Room {
            chunks: 10,
            chunks_max: 12,
            stored_bytes: 3 << 30,
            room_bytes: 0,
            yours_bytes: 1 << 30,
            quota_bytes: Some(1 << 30),
            damaged: 0,
            ..Room::default()
        };
        let told = |refusal| limit_in_words(refusal, Some(&room));
        assert!(told(Refusal::DiskFull).contains("it keeps 3 GiB and has room for 0 B more"));
        assert!(told(Refusal::TableFull).contains("10 of 12 places"));
        assert!(told(Refusal::QuotaFull).contains("may have 1 GiB there and has 1 GiB"));
        assert_eq!(
            limit_in_words(Refusal::DiskFull, None),
            Refusal::DiskFull.to_string()
        );
    }
}
