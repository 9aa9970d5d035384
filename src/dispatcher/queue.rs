//! How rooms report: a bounded queue between them and the journal, and what stands now.
//!
//! Reporting is a plain call: it never waits, and what finds no room is counted and told later.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use tokio::sync::Notify;

use crate::format::event::{Event, EventFact, EventFacts, FactValue, Phase, Subject};
use crate::terms::limits::{EVENT_QUEUE_MAX, EVENTS_STANDING_MAX};
use crate::terms::{EventKind, EventType, FactName, Lasting, PeerKey, Stamp};

/// What stands: the event that raised it, by kind and subject.
pub(super) type Standing = BTreeMap<(u16, Subject), Event>;

/// How a room reports. Clones report to the same journal.
#[derive(Clone)]
pub struct Reporter(pub(super) Rc<Queue>);

pub(super) struct Queue {
    origin: PeerKey,
    now: Box<dyn Fn() -> Stamp>,
    waiting: RefCell<VecDeque<Event>>,
    standing: RefCell<Standing>,
    next: Cell<u64>,
    dropped: Cell<u64>,
    pub(super) came: Notify,
    pub(super) closing: Cell<bool>,
    /// How often somebody wanted the journal to be read again.
    pub(super) checks: Cell<u64>,
}

impl Reporter {
    pub(super) fn new(
        origin: PeerKey,
        next: u64,
        standing: Standing,
        now: impl Fn() -> Stamp + 'static,
    ) -> Self {
        Self(Rc::new(Queue {
            origin,
            now: Box::new(now),
            waiting: RefCell::default(),
            standing: RefCell::new(standing),
            next: Cell::new(next),
            dropped: Cell::new(0),
            came: Notify::new(),
            closing: Cell::new(false),
            checks: Cell::new(0),
        }))
    }

    /// For a room of whose events nobody wants to know: a test, or a command without a service.
    #[must_use]
    pub fn to_nobody() -> Self {
        let silent = Self::new(PeerKey([0; 32]), 1, Standing::new(), Stamp::default);
        silent.0.closing.set(true);
        silent
    }

    /// Something happened. Of a condition it says that it stands, as [`Reporter::raise`].
    pub fn tell(&self, kind: EventKind, subject: Subject, facts: &[EventFact]) {
        match kind.lasting() {
            Lasting::Moment => self.0.tell(kind, subject, facts),
            Lasting::Condition => self.0.raise(kind, subject, facts),
        }
    }

    /// A condition stands. If it stood already, nothing is told.
    pub fn raise(&self, kind: EventKind, subject: Subject, facts: &[EventFact]) {
        self.tell(kind, subject, facts);
    }

    /// A condition is over. If it did not stand, nothing is told.
    pub fn clear(&self, kind: EventKind, subject: &Subject, facts: &[EventFact]) {
        self.0.clear(kind, subject, facts);
    }

    /// A condition stands or does not: [`Reporter::raise`] or [`Reporter::clear`].
    pub fn settle(&self, stands: bool, kind: EventKind, subject: Subject, facts: &[EventFact]) {
        if stands {
            self.raise(kind, subject, facts);
        } else {
            self.clear(kind, &subject, facts);
        }
    }

    /// Whether a condition stands.
    #[must_use]
    pub fn stands(&self, kind: EventKind, subject: &Subject) -> bool {
        let standing = self.0.standing.borrow();
        standing.contains_key(&(kind.code(), subject.clone()))
    }

    /// A condition cannot be over any more, since what it was about is gone. Nothing is told.
    pub fn forget(&self, kind: EventKind, subject: &Subject) {
        self.0.forget(kind, subject);
    }

    /// Subjects of which a condition stands.
    #[must_use]
    pub fn subjects_of(&self, kind: EventKind) -> Vec<Subject> {
        let standing = self.0.standing.borrow();
        let of_kind = standing.keys().filter(|(code, _)| *code == kind.code());
        of_kind.map(|(_, subject)| subject.clone()).collect()
    }

    /// The number that was told with a condition that stands.
    #[must_use]
    pub fn count_of(&self, kind: EventKind, subject: &Subject) -> Option<u64> {
        let standing = self.0.standing.borrow();
        let event = standing.get(&(kind.code(), subject.clone()))?;
        event.facts.iter().find_map(|fact| match fact.value {
            FactValue::Number(number) if fact.name == FactName::Count.code() => Some(number),
            FactValue::Number(_) | FactValue::Text(_) => None,
        })
    }

    /// All that stands: what matters most first, then the oldest.
    #[must_use]
    pub fn standing(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self.0.standing.borrow().values().cloned().collect();
        events.sort_by_key(|event| (std::cmp::Reverse(event.event_type), event.sequence));
        events
    }
}

impl Queue {
    fn tell(&self, kind: EventKind, subject: Subject, facts: &[EventFact]) {
        self.push(kind, Phase::Moment, None, subject, facts);
    }

    fn raise(&self, kind: EventKind, subject: Subject, facts: &[EventFact]) {
        let key = (kind.code(), subject);
        let mut standing = self.standing.borrow_mut();
        if standing.contains_key(&key) {
            return;
        }
        if standing.len() >= EVENTS_STANDING_MAX {
            self.drop_one();
            return;
        }
        // What is not written down does not stand either, so that it is told when it is said again.
        if let Some(event) = self.push(kind, Phase::Raise, None, key.1.clone(), facts) {
            standing.insert(key, event);
        }
    }

    fn clear(&self, kind: EventKind, subject: &Subject, facts: &[EventFact]) {
        let key = (kind.code(), subject.clone());
        let mut standing = self.standing.borrow_mut();
        let Some(raised) = standing.get(&key) else {
            return;
        };
        let episode = Some(raised.episode);
        if self
            .push(kind, Phase::Clear, episode, subject.clone(), facts)
            .is_some()
        {
            standing.remove(&key);
        }
    }

    /// A condition stands no more, and nobody knows when it ended.
    pub(super) fn forget(&self, kind: EventKind, subject: &Subject) {
        let key = (kind.code(), subject.clone());
        self.standing.borrow_mut().remove(&key);
    }

    fn push(
        &self,
        kind: EventKind,
        phase: Phase,
        episode: Option<u64>,
        subject: Subject,
        facts: &[EventFact],
    ) -> Option<Event> {
        let mut waiting = self.waiting.borrow_mut();
        if self.closing.get() || waiting.len() >= EVENT_QUEUE_MAX {
            self.drop_one();
            return None;
        }
        let sequence = self.next.get();
        self.next.set(sequence + 1);
        let event_type = match phase {
            Phase::Clear => EventType::Normal,
            Phase::Moment | Phase::Raise => kind.event_type(),
        };
        let event = Event {
            origin: self.origin,
            sequence,
            time: (self.now)(),
            kind: kind.code(),
            event_type,
            episode: episode.unwrap_or(sequence),
            phase,
            subject,
            facts: facts
                .iter()
                .take(EventFacts::new().capacity())
                .cloned()
                .collect(),
        };
        waiting.push_back(event.clone());
        drop(waiting);
        self.came.notify_one();
        Some(event)
    }

    fn drop_one(&self) {
        self.dropped.set(self.dropped.get().saturating_add(1));
    }

    /// Everything that waits; and, if some found no room, that this is so.
    pub(super) fn take(&self) -> Vec<Event> {
        let mut taken: Vec<Event> = self.waiting.borrow_mut().drain(..).collect();
        let dropped = self.dropped.take();
        if dropped > 0 && !self.closing.get() {
            let count = [EventFact::new(FactName::Count, dropped)];
            self.tell(EventKind::EventsDropped, Subject::Itself, &count);
            taken.extend(self.waiting.borrow_mut().drain(..));
        }
        taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty() && (self.dropped.get() == 0 || self.closing.get())
    }

    /// What the next event will be numbered, and what stands then.
    pub(super) fn checkpoint(&self) -> (u64, Vec<Event>) {
        let standing = self.standing.borrow().values().cloned().collect();
        (self.next.get(), standing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reporter() -> Reporter {
        Reporter::new(PeerKey([1; 32]), 5, Standing::new(), Stamp::default)
    }

    const OFFICE: Subject = Subject::Peer(PeerKey([2; 32]));

    fn phases(events: &[Event]) -> Vec<(u64, u64, Phase)> {
        let shown = |event: &Event| (event.sequence, event.episode, event.phase);
        events.iter().map(shown).collect()
    }

    #[test]
    fn a_condition_that_is_said_again_makes_no_new_event_until_it_was_over() {
        let reporter = reporter();
        for _ in 0..3 {
            reporter.raise(EventKind::BoxOutOfReach, OFFICE, &[]);
        }
        reporter.clear(EventKind::BoxOutOfReach, &OFFICE, &[]);
        reporter.clear(EventKind::BoxOutOfReach, &OFFICE, &[]);
        reporter.raise(EventKind::BoxOutOfReach, OFFICE, &[]);
        assert_eq!(
            phases(&reporter.0.take()),
            [
                (5, 5, Phase::Raise),
                (6, 5, Phase::Clear),
                (7, 7, Phase::Raise)
            ]
        );
        assert!(reporter.stands(EventKind::BoxOutOfReach, &OFFICE));
        assert!(!reporter.stands(EventKind::BoxOutOfReach, &Subject::Itself));
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_and_does_not_stand() {
        let reporter = reporter();
        for _ in 0..EVENT_QUEUE_MAX {
            reporter.tell(EventKind::SnapshotTaken, Subject::Snapshot(1), &[]);
        }
        reporter.raise(EventKind::DiskFull, Subject::Itself, &[]);
        reporter.tell(EventKind::BoxJoined, OFFICE, &[]);
        assert!(!reporter.stands(EventKind::DiskFull, &Subject::Itself));
        let taken = reporter.0.take();
        let last = taken.last().expect("the count");
        assert_eq!(last.known(), Some(EventKind::EventsDropped));
        assert_eq!(last.number(FactName::Count), Some(2));
        reporter.raise(EventKind::DiskFull, Subject::Itself, &[]);
        assert!(reporter.stands(EventKind::DiskFull, &Subject::Itself));
    }

    #[test]
    fn what_matters_most_stands_first() {
        let reporter = reporter();
        reporter.raise(EventKind::ServiceRuns, Subject::Itself, &[]);
        reporter.raise(EventKind::BoxOutOfReach, OFFICE, &[]);
        reporter.raise(EventKind::DiskFull, Subject::Itself, &[]);
        let kinds: Vec<_> = reporter.standing().iter().map(Event::known).collect();
        let wanted = [
            EventKind::DiskFull,
            EventKind::BoxOutOfReach,
            EventKind::ServiceRuns,
        ];
        assert_eq!(kinds, wanted.map(Some));
    }
}
