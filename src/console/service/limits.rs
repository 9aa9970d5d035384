//! Limits, told: a warning when one is nearly met, a failure when something was refused for want of room. Levels; how soon a limit
//! will be met is for forecasts, which have `Roster::warning_window_days` for that.

use super::Service;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::format::message::Room;
use crate::keeper::{Fullness, Level};
use crate::terms::PeerKey;
use crate::world::World;

/// What stands of another Box as a keeper, for as long as it is one.
const OF_KEEPERS: [EventKind; 8] = [
    EventKind::BoxOutOfReach,
    EventKind::DiskFull,
    EventKind::TableFull,
    EventKind::QuotaReached,
    EventKind::DiskFailed,
    EventKind::DiskNearlyFull,
    EventKind::TableNearlyFull,
    EventKind::QuotaNearlyReached,
];

impl<W: World> Service<W> {
    /// Looks how near this Box's own store is to its limits.
    pub(super) async fn watch_limits(&self) {
        let full = self.store().fullness().await;
        let (itself, reporter) = (Subject::Itself, self.reporter());
        let disk = of_disk(full.disk);
        reporter.settle(full.disk.is_met, EventKind::DiskFull, itself.clone(), &disk);
        self.warn(EventKind::DiskNearlyFull, full.disk, itself.clone(), &disk);
        let table = of_table(full.table);
        let kind = EventKind::TableFull;
        reporter.settle(full.table.is_met, kind, itself.clone(), &table);
        self.warn(EventKind::TableNearlyFull, full.table, itself, &table);
        // What box.toml bounds no more is over, though it stood when this Box was started anew.
        for kind in [EventKind::AuthorAtQuota, EventKind::AuthorNearQuota] {
            for subject in reporter.subjects_of(kind) {
                let is_of = |(author, _): &(PeerKey, Level)| subject == Subject::Peer(*author);
                if !full.quotas.iter().any(is_of) {
                    reporter.clear(kind, &subject, &[]);
                }
            }
        }
        for (author, level) in full.quotas {
            let (subject, facts) = (Subject::Peer(author), of_quota(level));
            let kind = EventKind::AuthorAtQuota;
            reporter.settle(level.is_met, kind, subject.clone(), &facts);
            self.warn(EventKind::AuthorNearQuota, level, subject, &facts);
        }
    }

    /// Another keeper said how much room it has. What it refuses is told when it does.
    pub(super) fn tell_room(&self, keeper: PeerKey, room: &Room) {
        let full = Fullness::of_room(room, self.me());
        let subject = Subject::Peer(keeper);
        let (disk, table) = (of_disk(full.disk), of_table(full.table));
        self.warn(EventKind::DiskNearlyFull, full.disk, subject.clone(), &disk);
        self.warn(
            EventKind::TableNearlyFull,
            full.table,
            subject.clone(),
            &table,
        );
        let kind = EventKind::QuotaNearlyReached;
        match full.quotas.first() {
            Some((_, level)) => self.warn(kind, *level, subject, &of_quota(*level)),
            None => self.reporter().clear(kind, &subject, &[]),
        }
    }

    /// Forgets what stands of keepers that belong no more: nobody will ever hear that it is over. Not once, when one goes: the journal
    /// of a Box that was started anew says it again, and so may an answer that was under way.
    pub(super) fn forget_former(&self, belongs: impl Fn(&PeerKey) -> bool) {
        self.0
            .rooms
            .borrow_mut()
            .retain(|keeper, _| belongs(keeper));
        let reporter = self.reporter();
        for kind in OF_KEEPERS {
            for subject in reporter.subjects_of(kind) {
                if matches!(&subject, Subject::Peer(keeper) if !belongs(keeper)) {
                    reporter.forget(kind, &subject);
                }
            }
        }
    }

    fn warn(&self, kind: EventKind, level: Level, subject: Subject, facts: &[EventFact]) {
        let reporter = self.reporter();
        let is_near = level.is_near(reporter.stands(kind, &subject));
        reporter.settle(is_near, kind, subject, facts);
    }
}

fn of_disk(level: Level) -> [EventFact; 2] {
    [
        EventFact::new(FactName::Bytes, level.used),
        EventFact::new(FactName::RoomBytes, level.most.saturating_sub(level.used)),
    ]
}

fn of_table(level: Level) -> [EventFact; 2] {
    [
        EventFact::new(FactName::Count, level.used),
        EventFact::new(FactName::CountMax, level.most),
    ]
}

fn of_quota(level: Level) -> [EventFact; 2] {
    [
        EventFact::new(FactName::Bytes, level.used),
        EventFact::new(FactName::BytesMax, level.most),
    ]
}
