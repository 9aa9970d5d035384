//! What authors gave up on this keeper: once an hour the time it ran is counted and what has waited for it goes; what waits is told.
//!
//! Whether it is told as a warning is a matter of what a thief or a bad program would do: give up most of what an author has here,
//! or its newest snapshots, or snapshots that no rule lets go. What a rule does month after month wakes nobody.

use super::Service;
use crate::console::text::bytes;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::format::roster::Retention;
use crate::keeper::{LIVED_EVERY, Settled, WaitingRelease};
use crate::terms::PeerKey;
use crate::world::{Clock, World};

const DAY_SECONDS: u64 = 24 * 3600;
const WAITS: [EventKind; 2] = [EventKind::ReleasePending, EventKind::ReleaseWaiting];

impl<W: World> Service<W> {
    /// Counts time, lets go and tells, for as long as the service runs.
    pub(super) async fn mind_releases(self) {
        loop {
            let roster = self.roster();
            let is_member = |author: PeerKey| {
                let members = roster.members();
                members.iter().any(|member| member.key == author)
            };
            let days = roster.release_delay_days();
            let settled = self.store().settle_releases(days, is_member).await;
            for group in &settled {
                self.tell_settled(group);
            }
            if !settled.is_empty() {
                self.0.compact.notify_one();
            }
            self.tell_releases();
            // Whose author was removed is void from then on, whoever brings it back.
            let changed = async {
                tokio::select! {
                    biased;
                    () = self.0.roster_changed.notified() => {}
                    () = self.store().releases_changed() => {}
                }
            };
            self.world().clock().within(LIVED_EVERY, changed).await;
        }
    }

    fn tell_settled(&self, group: &Settled) {
        let subject = Subject::Peer(group.author);
        if group.is_void || group.chunks + group.snapshots == 0 {
            return;
        }
        let how = format!(
            "{} chunks and {} snapshots left",
            group.chunks, group.snapshots
        );
        let facts = [
            EventFact::new(FactName::Bytes, group.bytes),
            EventFact::new(FactName::Reason, how.as_str()),
        ];
        self.reporter()
            .tell(EventKind::SpaceReleased, subject, &facts);
    }

    /// What waits and what waits no more.
    fn tell_releases(&self) {
        let waiting = self.store().waiting_releases();
        let reporter = self.reporter();
        let kept = self.roster().retention();
        for release in &waiting {
            let subject = Subject::Peer(release.author);
            let was_alarming = reporter.stands(EventKind::ReleasePending, &subject);
            let is_alarming = was_alarming || is_alarming(release, kept);
            let [now, other] = if is_alarming {
                WAITS
            } else {
                [WAITS[1], WAITS[0]]
            };
            let how = said_of(release, is_alarming);
            let facts = [
                EventFact::new(FactName::Bytes, release.waiting.bytes),
                EventFact::new(FactName::Reason, how.as_str()),
            ];
            reporter.raise(now, subject.clone(), &facts);
            reporter.clear(other, &subject, &[]);
        }
        for kind in WAITS {
            for subject in reporter.subjects_of(kind) {
                let is_this = |release: &WaitingRelease| subject == Subject::Peer(release.author);
                if !waiting.iter().any(is_this) {
                    reporter.clear(kind, &subject, &[]);
                }
            }
        }
    }
}

/// Whether people must hear of it.
fn is_alarming(release: &WaitingRelease, kept: Retention) -> bool {
    let is_most = release.waiting.bytes.saturating_mul(2) > release.claimed_bytes;
    let is_by_rule = kept != Retention::default();
    let is_recent = release.newer < u64::from(kept.last.max(1));
    is_most || release.newest.is_some() && (is_recent || !is_by_rule)
}

/// What goes, when, and what may be done about it.
fn said_of(release: &WaitingRelease, is_alarming: bool) -> String {
    let days = release.waiting.effective_seconds.div_ceil(DAY_SECONDS);
    let mut text = format!(
        "{} snapshots and {} go after {days} days of running",
        release.waiting.numbers.count(),
        bytes(release.waiting.bytes)
    );
    if is_alarming {
        text.push_str(
            "; if nobody meant that: `reserve forget --undo` there, or `reserve remove NAME --lost`",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::release::Waiting;
    use crate::terms::SnapshotNumber;

    fn release(bytes: u64, numbers: &[u64], newer: u64) -> WaitingRelease {
        let numbers = numbers.iter().copied().map(SnapshotNumber);
        WaitingRelease {
            author: PeerKey([1; 32]),
            group: 1,
            newest: numbers.clone().next_back(),
            waiting: Waiting {
                numbers: numbers.collect(),
                bytes,
                effective_seconds: 30 * DAY_SECONDS,
                ..Waiting::default()
            },
            claimed_bytes: 100,
            newer,
        }
    }

    #[test]
    fn what_a_rule_lets_go_wakes_nobody_and_what_a_thief_would_do_does() {
        let rule = Retention {
            last: 5,
            daily: 30,
            ..Retention::default()
        };
        assert!(!is_alarming(&release(10, &[1, 2], 9), rule));
        assert!(!is_alarming(&release(10, &[], 0), rule), "leftovers");
        assert!(
            is_alarming(&release(51, &[1], 9), rule),
            "most of what it has"
        );
        assert!(
            is_alarming(&release(10, &[1], 4), rule),
            "one of the newest"
        );
        assert!(
            is_alarming(&release(10, &[1], 9), Retention::default()),
            "by hand"
        );
        let told = said_of(&release(51, &[1, 2], 9), true);
        assert!(
            told.starts_with("2 snapshots and 51 B go after 30 days"),
            "{told}"
        );
        assert!(
            told.len() <= crate::terms::limits::EVENT_TEXT_BYTES_MAX,
            "{}",
            told.len()
        );
    }
}
