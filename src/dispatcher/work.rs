//! The dispatcher at work: takes what was reported, writes it down, and wakes whoever follows.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use super::history::History;
use super::journal::{JOURNAL_DIR, Journal};
use super::queue::Reporter;
use crate::format::event::{Event, EventFact, Subject};
use crate::terms::{EventKind, FactName, PeerKey};
use crate::world::{Clock, Disk, World};

/// How long a journal that could not be written is left alone.
const WRITE_AGAIN: Duration = Duration::from_secs(5);
/// How long the end of the service waits for a disk that does not write.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// The wall clock may be this far behind the newest event without being called set back.
const CLOCK_TOLERANCE_SECONDS: i64 = 60;

/// What was found when the journal was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The last run did not end in good order.
    pub stopped_uncleanly: bool,
    /// Records of the journal that do not read.
    pub damaged: u64,
}

struct Inner<W: World> {
    world: W,
    reporter: Reporter,
    /// The highest number whose event, with all before it, is on disk.
    durable: Cell<u64>,
    wrote: Notify,
    ended: Cell<bool>,
    /// The last check of the journal, by its number, and what it found.
    checked: Cell<(u64, u64)>,
}

/// The dispatcher of one Box.
pub struct Dispatcher<W: World>(Rc<Inner<W>>);

impl<W: World> Clone for Dispatcher<W> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<W: World> Dispatcher<W> {
    /// Opens the journal in the Box's state directory, begins to write what is reported, and reports the start itself.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn open(world: W, origin: PeerKey, version: &str) -> std::io::Result<(Self, Opened)> {
        let (journal, known) = Journal::open(world.disk().clone(), origin).await?;
        let clock = world.clock().clone();
        let reporter = Reporter::new(origin, known.next, known.standing, move || clock.wall());
        let opened = Opened {
            stopped_uncleanly: reporter.stands(EventKind::ServiceRuns, &Subject::Itself),
            damaged: known.damaged,
        };
        let dispatcher = Self(Rc::new(Inner {
            durable: Cell::new(known.next - 1),
            world: world.clone(),
            reporter: reporter.clone(),
            wrote: Notify::new(),
            ended: Cell::new(false),
            checked: Cell::default(),
        }));
        let itself = Subject::Itself;
        if opened.damaged > 0 {
            let count = [EventFact::new(FactName::Count, opened.damaged)];
            reporter.tell(EventKind::JournalDamaged, itself.clone(), &count);
        }
        if opened.stopped_uncleanly {
            reporter.tell(EventKind::StoppedUncleanly, itself.clone(), &[]);
            // Its end was not told, and the next start begins an episode of its own.
            reporter.0.forget(EventKind::ServiceRuns, &itself);
        }
        let behind = known.newest_seconds.map_or(0, |newest| {
            newest.saturating_sub(world.clock().wall().seconds)
        });
        if behind > CLOCK_TOLERANCE_SECONDS {
            let behind = EventFact::new(FactName::SecondsBehind, behind.unsigned_abs());
            reporter.tell(EventKind::ClockJumped, itself.clone(), &[behind]);
        }
        let version = [EventFact::new(FactName::Version, version)];
        reporter.raise(EventKind::ServiceRuns, itself, &version);
        world.spawn(dispatcher.clone().work(journal));
        Ok((dispatcher, opened))
    }

    /// What rooms report to.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        self.0.reporter.clone()
    }

    async fn work(self, mut journal: Journal<W::Disk>) {
        let Inner {
            world,
            reporter,
            durable,
            wrote,
            ended,
            checked,
        } = &*self.0;
        let queue = &reporter.0;
        loop {
            let came = queue.came.notified();
            let wanted = queue.checks.get();
            if wanted > checked.get().0 {
                let damaged = check(&mut journal, reporter).await;
                checked.set((wanted, damaged));
                wrote.notify_waiters();
                continue;
            }
            if queue.is_empty() {
                if queue.closing.get() {
                    break;
                }
                came.await;
                continue;
            }
            let events = queue.take();
            let mut added = 0;
            while added < events.len() {
                added += journal.add(&events[added..]);
                let mut is_told = false;
                while let Err(error) = journal.write().await {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "events cannot be written down; what does not fit meanwhile is counted");
                    }
                    if queue.closing.get() {
                        ended.set(true);
                        wrote.notify_waiters();
                        return;
                    }
                    world.clock().sleep(WRITE_AGAIN).await;
                }
            }
            if let Some(last) = events.last() {
                durable.set(last.sequence);
                wrote.notify_waiters();
            }
            if let Err(error) = journal.trim(|| queue.checkpoint()).await {
                tracing::warn!(%error, "the journal of events is larger than it should be");
            }
        }
        ended.set(true);
        wrote.notify_waiters();
    }

    /// Has the journal read again, and what does not read any more left out of it. Gives how many places that were; it is told, too.
    pub async fn check_journal(&self) -> u64 {
        let queue = &self.0.reporter.0;
        let number = queue.checks.get() + 1;
        queue.checks.set(number);
        queue.came.notify_one();
        loop {
            let wrote = self.0.wrote.notified();
            tokio::pin!(wrote);
            wrote.as_mut().enable();
            let (checked, damaged) = self.0.checked.get();
            if checked >= number {
                return damaged;
            }
            if self.0.ended.get() {
                return 0;
            }
            wrote.await;
        }
    }

    /// The number of the newest event on disk.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.0.durable.get()
    }

    /// Resolves when an event after this one is on disk, or there will be none.
    pub async fn newer_than(&self, sequence: u64) {
        loop {
            let wrote = self.0.wrote.notified();
            tokio::pin!(wrote);
            wrote.as_mut().enable();
            if self.0.durable.get() > sequence || self.0.ended.get() {
                return;
            }
            wrote.await;
        }
    }

    /// Hands events after a number to `each`, oldest first; gives the number up to which all were told.
    ///
    /// # Errors
    /// What the disk or `each` says.
    pub async fn read_after(
        &self,
        sequence: u64,
        mut each: impl AsyncFnMut(Event) -> std::io::Result<()>,
    ) -> std::io::Result<u64> {
        let newest = self.newest();
        let disk = self.0.world.disk();
        let mut history = History::new(&disk.list(JOURNAL_DIR).await?, sequence);
        loop {
            while let Some(file) = history.wants() {
                let bytes = disk.read_small(&format!("{JOURNAL_DIR}/{file}")).await?;
                history.give(bytes.as_deref());
            }
            match history.next_event() {
                // Written while we read: told next time, with what may still be missing before it.
                Some(event) if event.sequence > newest => return Ok(newest),
                Some(event) => each(event).await?,
                None => return Ok(newest),
            }
        }
    }

    /// The service ends in good order: that is told, and all that waits is written.
    pub async fn close(&self) {
        let reporter = &self.0.reporter;
        reporter.clear(EventKind::ServiceRuns, &Subject::Itself, &[]);
        reporter.0.closing.set(true);
        reporter.0.came.notify_one();
        let ended = async {
            while !self.0.ended.get() {
                self.newer_than(u64::MAX).await;
            }
        };
        self.0.world.clock().within(CLOSE_PATIENCE, ended).await;
    }
}

async fn check<D: Disk>(journal: &mut Journal<D>, reporter: &Reporter) -> u64 {
    match journal.check(|| reporter.0.checkpoint()).await {
        Ok(0) => 0,
        Ok(damaged) => {
            let count = [EventFact::new(FactName::Count, damaged)];
            reporter.tell(EventKind::JournalDamaged, Subject::Itself, &count);
            damaged
        }
        Err(error) => {
            tracing::warn!(%error, "the journal of events could not be read again");
            0
        }
    }
}
