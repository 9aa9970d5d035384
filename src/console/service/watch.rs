//! What is told because it lasts: who stays out of reach, whether the newest snapshot has its copies, whether the clock jumped.
//!
//! The decisions are pure and at the bottom; a Box that naps for a moment is no event.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Service;
use super::protection::Now;
use super::verdict::is_overdue;
use crate::console::text;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::path::Mesh;
use crate::terms::PeerKey;
use crate::world::{Clock, Moment, World};

/// How often is looked when nothing happens and all is well. What comes, goes or is confirmed is looked at at once.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How often while something lasts that is to be told if it goes on.
const LOOK_SOON: Duration = Duration::from_secs(5);
/// A Box may be gone this long before that is an event: as long as it may take to be called again.
const AWAY_PATIENCE: Duration = Duration::from_secs(15);
/// Copies may be missing this long before that is an event: keepers confirm one after the other.
const COPIES_PATIENCE: Duration = Duration::from_secs(60);
/// A Box that was off may take so long to take the snapshot that is due.
const OVERDUE_PATIENCE: Duration = Duration::from_secs(86_400);
/// A wall clock that moved this much more or less than time did has jumped.
const CLOCK_JUMP_SECONDS: u64 = 60;

impl<W: World> Service<W> {
    /// Watches for as long as the service runs.
    pub(super) async fn keep_watch(self) {
        let mut away = Lasts::default();
        let mut few = Lasts::default();
        let mut before = self.now();
        loop {
            let now = self.now();
            self.watch_clock(before, now);
            before = now;
            self.watch_peers(&mut away, now.moment);
            self.watch_copies(&mut few, now.moment).await;
            self.watch_limits().await;
            self.watch_conflicts().await;
            self.watch_processes(now.moment);
            let is_well = away.0.is_empty() && few.0.is_empty();
            let patience = if is_well { LOOK_EVERY } else { LOOK_SOON };
            self.wait_for_news(patience).await;
        }
    }

    /// Somebody came, went or confirmed, or it is time to look again.
    async fn wait_for_news(&self, patience: Duration) {
        let generation = self.mesh().map_or(0, Mesh::generation);
        let news = async {
            tokio::select! {
                biased;
                () = self.0.proven.notified() => {}
                () = async {
                    match self.mesh() {
                        Some(mesh) => mesh.changed_since(generation).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        };
        let clock = self.world().clock();
        clock.within(clock.idly(patience), news).await;
    }

    fn watch_clock(&self, before: Now, now: Now) {
        if let Some(jump) = clock_jump(before, now) {
            let (name, seconds) = if jump > 0 {
                (FactName::SecondsAhead, jump)
            } else {
                (FactName::SecondsBehind, jump)
            };
            let fact = EventFact::new(name, seconds.unsigned_abs());
            self.reporter()
                .tell(EventKind::ClockJumped, Subject::Itself, &[fact]);
        }
    }

    fn watch_peers(&self, away: &mut Lasts<PeerKey>, now: Moment) {
        let reporter = self.reporter();
        let me = self.me();
        let members = self.roster().members();
        for member in members.iter().filter(|member| member.key != me) {
            let subject = Subject::Peer(member.key);
            let is_here = self.answers(member.key);
            if is_here {
                reporter.clear(EventKind::BoxOutOfReach, &subject, &[]);
            }
            if away.lasts(member.key, !is_here, now) >= Some(AWAY_PATIENCE) {
                reporter.raise(EventKind::BoxOutOfReach, subject, &[]);
            }
        }
        let belongs = |peer: &PeerKey| members.iter().any(|member| member.key == *peer);
        self.forget_former(belongs);
    }

    async fn watch_copies(&self, few: &mut Lasts<EventKind>, now: Moment) {
        let Some((head, standing)) = self.standing().await else {
            return;
        };
        let (factor, factor_min) = self.roster().factors();
        let facts = [
            EventFact::new(FactName::Number, head.head.number.0),
            EventFact::new(FactName::Copies, u64::from(standing.copies)),
        ];
        let reporter = self.reporter();
        let now_seconds = self.world().clock().wall().seconds;
        let newest = self.up_to_date(&head.head);
        let has_data = !self.0.data.borrow().is_empty();
        // Whoever was off for a night takes one at once.
        let is_up = now.since(self.0.began) > OVERDUE_PATIENCE;
        if has_data && is_up && is_overdue(newest, self.0.period.get(), now_seconds) {
            let age = text::age(newest, now_seconds).unwrap_or_default();
            self.tell_failed(&format!("a snapshot is overdue, the newest is {age} old"));
        }
        // While one is being taken its copies are on their way.
        let is_busy = self.running_snapshot().is_some();
        for (kind, name, wanted) in [
            (EventKind::NotProtected, FactName::FactorMin, factor_min),
            (EventKind::CopiesBelowFactor, FactName::Factor, factor),
        ] {
            let is_few = standing.copies < u32::from(wanted);
            if !is_few {
                reporter.clear(kind, &Subject::Itself, &facts);
            }
            if few.lasts(kind, is_few && !is_busy, now) >= Some(COPIES_PATIENCE) {
                let of = EventFact::new(name, u64::from(wanted));
                let facts = [facts[0].clone(), facts[1].clone(), of];
                reporter.raise(kind, Subject::Itself, &facts);
            }
        }
        if standing.copies >= u32::from(factor_min) {
            self.tell_protected(head.head.number, standing.copies);
        }
    }
}

/// Since when something is so. Pure.
#[derive(Debug, Clone)]
struct Lasts<K>(BTreeMap<K, Moment>);

impl<K> Default for Lasts<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Lasts<K> {
    /// How long it is so already; `None` if it is not.
    fn lasts(&mut self, what: K, is_so: bool, now: Moment) -> Option<Duration> {
        if !is_so {
            self.0.remove(&what);
            return None;
        }
        Some(now.since(*self.0.entry(what).or_insert(now)))
    }
}

/// By how many seconds the wall clock moved more (or less) than time did, if that is a jump. Pure.
fn clock_jump(before: Now, now: Now) -> Option<i64> {
    let passed = i64::try_from(now.moment.since(before.moment).as_secs()).ok()?;
    let shown = now.wall.seconds.saturating_sub(before.wall.seconds);
    let jump = shown.saturating_sub(passed);
    (jump.unsigned_abs() > CLOCK_JUMP_SECONDS).then_some(jump)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::Stamp;

    fn at(wall: i64, moment: u64) -> Now {
        Now {
            wall: Stamp {
                seconds: wall,
                nanos: 0,
            },
            moment: Moment(Duration::from_secs(moment)),
        }
    }

    #[test]
    fn a_clock_that_is_set_has_jumped_and_one_that_stood_still_with_time_has_not() {
        assert_eq!(clock_jump(at(1000, 0), at(1005, 5)), None);
        assert_eq!(clock_jump(at(1000, 0), at(1070, 5)), Some(65));
        assert_eq!(clock_jump(at(1000, 0), at(5, 5)), Some(-1000));
        // A machine that slept: both went on.
        assert_eq!(clock_jump(at(1000, 0), at(9000, 8000)), None);
    }

    #[test]
    fn what_is_interrupted_begins_to_last_anew() {
        let mut lasts = Lasts::default();
        let mut at = |seconds, is_so| lasts.lasts("x", is_so, Moment(Duration::from_secs(seconds)));
        assert_eq!(at(0, true), Some(Duration::ZERO));
        assert_eq!(at(20, true), Some(Duration::from_secs(20)));
        assert_eq!(at(21, false), None);
        assert_eq!(at(30, true), Some(Duration::ZERO));
    }
}
