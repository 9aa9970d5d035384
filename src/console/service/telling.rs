//! What the service sees, said as events: snapshots, refusals, who belongs.

use super::Service;
use super::views::name_of;
use crate::author::{SnapshotError, SnapshotReport};
use crate::console::control::{Ended, SnapshotView};
use crate::dispatcher::{EventFact, EventKind, FactName, Reporter, Subject};
use crate::format::message::Refusal;
use crate::monitor::Disagreement;
use crate::roster::{DroppedEdit, Removal, Roster};
use crate::terms::{PeerKey, SnapshotNumber};
use crate::world::World;

/// Conditions of a keeper that takes no more.
const REFUSING: [EventKind; 4] = [
    EventKind::DiskFull,
    EventKind::TableFull,
    EventKind::QuotaReached,
    EventKind::DiskFailed,
];

impl<W: World> Service<W> {
    /// What rooms report to.
    pub(super) fn reporter(&self) -> Reporter {
        self.0.dispatcher.reporter()
    }

    /// A snapshot ended.
    pub(super) fn tell_snapshot(&self, end: &Result<SnapshotReport, SnapshotError>) {
        let reporter = self.reporter();
        let report = match end {
            Ok(report) => report,
            Err(error) => {
                if let SnapshotError::DataSetMissing { name, .. } = error {
                    let subject = Subject::DataSet(name.clone());
                    reporter.raise(EventKind::DataSetMissing, subject, &[]);
                }
                // That it failed is told by whoever began it, of whatever reason.
                return;
            }
        };
        let copies = EventFact::new(FactName::Copies, u64::from(report.copies));
        let facts = [
            EventFact::new(FactName::Files, report.files),
            EventFact::new(FactName::Bytes, report.bytes),
            copies,
        ];
        if !report.is_unchanged {
            let number = Subject::Snapshot(report.number.0);
            reporter.tell(EventKind::SnapshotTaken, number, &facts);
            self.0.unprotected.set(Some(report.number));
        }
        reporter.clear(EventKind::SnapshotFailed, &Subject::Itself, &[]);
        for (name, reason) in &report.held {
            let reason = [EventFact::new(FactName::Reason, reason.as_str())];
            let subject = Subject::DataSet(name.clone());
            reporter.raise(EventKind::DataSetMissing, subject, &reason);
        }
        for subject in reporter.subjects_of(EventKind::DataSetMissing) {
            let is_held = |name| report.held.iter().any(|(held, _)| held == name);
            if !matches!(&subject, Subject::DataSet(name) if is_held(name)) {
                reporter.clear(EventKind::DataSetMissing, &subject, &[]);
            }
        }
        let unread = [EventFact::new(FactName::Count, report.unread_count)];
        let some_unread = report.unread_count > 0;
        reporter.settle(
            some_unread,
            EventKind::FilesUnread,
            Subject::Itself,
            if some_unread { &unread } else { &[] },
        );
        let warned = report.warnings.first();
        let reason = warned.map(|said| EventFact::new(FactName::Reason, said.as_str()));
        reporter.settle(
            warned.is_some(),
            EventKind::FitWarning,
            Subject::Itself,
            reason.as_slice(),
        );
        let waits = !report.head.head.accepted;
        reporter.settle(waits, EventKind::LossPending, Subject::Itself, &[]);
        // One that is not may be in a moment, when a keeper is back or has caught up: what lasts is told by the watch.
        if report.is_protected() {
            self.tell_protected(report.number, u32::from(report.copies));
        }
    }

    /// A snapshot could not be taken.
    pub(super) fn tell_failed(&self, reason: &str) {
        let reason = [EventFact::new(FactName::Reason, reason)];
        let reporter = self.reporter();
        reporter.raise(EventKind::SnapshotFailed, Subject::Itself, &reason);
    }

    /// How many files the last snapshot of an earlier run could not read.
    pub(super) fn unread_before(&self) -> u64 {
        let standing = self.reporter().standing();
        let unread = standing
            .iter()
            .find(|event| event.known() == Some(EventKind::FilesUnread));
        // Without a number it stands all the same.
        unread.map_or(0, |event| event.number(FactName::Count).unwrap_or(1).max(1))
    }

    /// Why the last snapshot of an earlier run failed, if none was taken since.
    pub(super) fn failure_before(&self) -> Option<String> {
        let standing = self.reporter().standing();
        let failed = standing
            .iter()
            .find(|event| event.known() == Some(EventKind::SnapshotFailed))?;
        // The first part of the sentence says what happened; the rest is for whoever sees the error.
        let reason = failed.text(FactName::Reason)?;
        Some(reason.split("; ").next().unwrap_or(reason).to_owned())
    }

    /// Data sets that are not where they should be.
    pub(super) fn missing_data_sets(&self) -> Vec<String> {
        let subjects = self.reporter().subjects_of(EventKind::DataSetMissing);
        let named = subjects.into_iter().filter_map(|subject| match subject {
            Subject::DataSet(name) => Some(name.to_string()),
            _ => None,
        });
        named.collect()
    }

    /// A snapshot of this run is protected; said once of each.
    pub(super) fn tell_protected(&self, number: SnapshotNumber, copies: u32) {
        if self.0.unprotected.get() != Some(number) {
            return;
        }
        self.0.unprotected.set(None);
        let reporter = self.reporter();
        let copies = [EventFact::new(FactName::Copies, u64::from(copies))];
        let subject = Subject::Snapshot(number.0);
        reporter.tell(EventKind::SnapshotProtected, subject, &copies);
        reporter.clear(EventKind::NotProtected, &Subject::Itself, &copies);
    }

    /// Somebody's retrieval ended.
    pub(super) fn tell_retrieval(&self, snapshot: &SnapshotView, ended: &Ended) {
        let mut facts = vec![
            EventFact::new(FactName::Author, snapshot.author.as_str()),
            EventFact::new(FactName::Number, snapshot.number),
            EventFact::new(FactName::Files, ended.files),
            EventFact::new(FactName::Bytes, ended.bytes),
        ];
        let kind = if ended.missing > 0 || ended.early {
            let reason = if ended.early {
                "it ended early".to_owned()
            } else {
                let s = if ended.missing == 1 { "" } else { "s" };
                format!("{} thing{s} did not come back", ended.missing)
            };
            facts.push(EventFact::new(FactName::Reason, reason.as_str()));
            EventKind::RetrievalIncomplete
        } else {
            EventKind::RetrievalDone
        };
        self.reporter().tell(kind, Subject::Itself, &facts);
    }

    /// A keeper refused something, or took it (again).
    pub(super) fn tell_refusal(&self, keeper: PeerKey, refusal: Option<Refusal>) {
        let now = refusal.and_then(kind_of);
        let subject = Subject::Peer(keeper);
        for kind in REFUSING {
            self.reporter()
                .settle(now == Some(kind), kind, subject.clone(), &[]);
        }
    }

    /// Edits made apart, of which one does not stand.
    pub(super) fn tell_dropped(&self, edits: &[DroppedEdit], why: Disagreement) {
        let roster = self.roster();
        for edit in edits {
            let (by, dropped_by) = (
                name_of(&roster, edit.won_by),
                name_of(&roster, edit.dropped_by),
            );
            let facts = [
                EventFact::new(FactName::Setting, edit.key.as_str()),
                EventFact::new(FactName::Now, edit.won.as_str()),
                EventFact::new(FactName::By, by.as_str()),
                EventFact::new(FactName::Dropped, edit.dropped.as_str()),
                EventFact::new(FactName::DroppedBy, dropped_by.as_str()),
                EventFact::new(FactName::Reason, why.reason()),
            ];
            tracing::info!(key = %edit.key, stands = %edit.won, dropped = %edit.dropped, "a setting was changed on two Boxes apart");
            self.reporter()
                .tell(EventKind::EditDropped, Subject::Reserve, &facts);
        }
    }

    /// The roster is another one.
    pub(super) fn tell_roster_change(&self, before: &Roster, after: &Roster) {
        let reporter = self.reporter();
        for member in after.members() {
            if before.member(&member.key).is_none() {
                let subject = Subject::Peer(member.key);
                reporter.tell(EventKind::BoxJoined, subject, &[]);
            }
        }
        for (was, is, by) in after.settings_changed_since(before) {
            let by = by.map(|by| name_of(after, by)).unwrap_or_default();
            let facts = [
                EventFact::new(FactName::Setting, is.key.as_str()),
                EventFact::new(FactName::Before, was.value.as_str()),
                EventFact::new(FactName::Now, is.value.as_str()),
                EventFact::new(FactName::By, by.as_str()),
            ];
            reporter.tell(EventKind::ConfigurationChanged, Subject::Reserve, &facts);
        }
        for member in after.former() {
            if before.member(&member.key).is_some() {
                let kind = match member.removed {
                    Some(Removal::Lost) => EventKind::BoxLost,
                    Some(Removal::Left) | None => EventKind::BoxLeft,
                };
                reporter.tell(kind, Subject::Peer(member.key), &[]);
            }
        }
        self.forget_former(|peer| after.member(peer).is_some());
    }
}

/// The condition a refusal speaks of, if it is one of the keeper's and not of what it was asked.
fn kind_of(refusal: Refusal) -> Option<EventKind> {
    match refusal {
        Refusal::DiskFull => Some(EventKind::DiskFull),
        Refusal::TableFull | Refusal::HeadsFull => Some(EventKind::TableFull),
        Refusal::QuotaFull => Some(EventKind::QuotaReached),
        Refusal::DiskFailed => Some(EventKind::DiskFailed),
        Refusal::Damaged
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
        | Refusal::NotUnderstood => None,
    }
}
