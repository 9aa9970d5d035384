//! Long work that survives the command that started it: what every sort of it has in common. What is done is in `Work`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;

use super::leaving::Leaving;
use super::letting_go::Forgetting;
use super::sweeping::Sweeping;
use super::views;
use crate::author;
use crate::console::control::{JobOutcome, JobState, JobView, ProgressView};
use crate::console::fault::Fault;
use crate::roster::Roster;

/// How a snapshot is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// A person accepts that much is gone.
    pub accept_loss: bool,
    /// Even if it looks as if there were no room for it.
    pub try_anyway: bool,
    /// Only if there is something new.
    pub only_news: bool,
}

impl Asked {
    /// By nobody: it was due.
    pub const BY_ITSELF: Self = Self {
        accept_loss: false,
        try_anyway: false,
        only_news: true,
    };

    /// Whether one that is taken like this also does what was asked for.
    pub fn serves(self, other: Self) -> bool {
        self == other || (other.only_news && !self.accept_loss)
    }
}

/// A snapshot being taken, or taken.
pub struct Taking {
    /// How far it is.
    pub progress: Rc<author::Progress>,
    /// How it is to be taken.
    pub asked: Asked,
}

/// What a job does, with how far it is.
pub enum Work {
    /// It takes a snapshot.
    Snapshot(Taking),
    /// It reads everything again.
    Sweep(Sweeping),
    /// It sees to it that a Box can leave, and shuts it out.
    Remove(Leaving),
    /// It lets snapshots go, or takes that back.
    Forget(Forgetting),
}

impl Work {
    /// A snapshot that is taken like this.
    pub fn snapshot(asked: Asked) -> Self {
        let progress = Rc::default();
        Self::Snapshot(Taking { progress, asked })
    }
}

/// One piece of long work, from when it was asked for until it is forgotten some time after its end.
pub struct Job {
    /// Its number; counts from the start of the service.
    pub id: u64,
    /// What it does.
    pub work: Work,
    begun: Cell<bool>,
    too_late: Cell<bool>,
    cancelled: Cell<bool>,
    cancel: Notify,
    end: RefCell<Option<Result<JobOutcome, Fault>>>,
    ended: Notify,
}

impl Job {
    /// Waits for its turn.
    pub fn new(id: u64, work: Work) -> Rc<Self> {
        Rc::new(Self {
            id,
            work,
            begun: Cell::new(false),
            too_late: Cell::new(false),
            cancelled: Cell::new(false),
            cancel: Notify::new(),
            end: RefCell::default(),
            ended: Notify::new(),
        })
    }

    /// Begins.
    pub fn begin(&self) {
        self.begun.set(true);
    }

    /// From here on it cannot be ended: what it does now is done as a whole.
    pub fn too_late(&self) {
        self.too_late.set(true);
    }

    /// Ends. What comes first counts.
    pub fn finish(&self, end: Result<JobOutcome, Fault>) {
        self.end.borrow_mut().get_or_insert(end);
        self.ended.notify_waiters();
    }

    /// Ends it, if that leaves nothing half done.
    pub fn cancel(&self) -> Result<(), Fault> {
        if self.end().is_some() {
            return Err(Fault::new(
                format!("job {} has ended already", self.id),
                "What came of it is unchanged.",
                "`reserve jobs` shows what.",
            ));
        }
        if !self.can_be_cancelled() {
            return Err(Fault::new(
                format!("job {} {}: it is too late to end it", self.id, self.last()),
                "It goes on.",
                format!("`reserve jobs follow {}` waits for it.", self.id),
            ));
        }
        self.cancelled.set(true);
        if let Work::Sweep(sweeping) = &self.work {
            sweeping.stop();
        }
        self.cancel.notify_one();
        if self.waits() {
            self.finish(Err(self.was_cancelled()));
        }
        Ok(())
    }

    /// Waits for its end.
    pub async fn ended(&self) -> Result<JobOutcome, Fault> {
        loop {
            let mut notified = std::pin::pin!(self.ended.notified());
            notified.as_mut().enable();
            if let Some(end) = self.end() {
                return end;
            }
            notified.await;
        }
    }

    /// Resolves when somebody ends it.
    pub async fn cancelled(&self) {
        while !self.cancelled.get() {
            self.cancel.notified().await;
        }
    }

    /// Whether somebody ended it.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Whether it waits for its turn.
    pub fn waits(&self) -> bool {
        !self.begun.get()
    }

    /// Whether it is still to come to its end, and nobody ended it.
    pub fn goes_on(&self) -> bool {
        self.end.borrow().is_none() && !self.cancelled.get()
    }

    /// How it ended, if it did.
    pub fn end(&self) -> Option<Result<JobOutcome, Fault>> {
        self.end.borrow().clone()
    }

    /// What its followers are told when somebody ended it.
    pub fn was_cancelled(&self) -> Fault {
        let (what, unchanged, todo) = match &self.work {
            Work::Snapshot(_) => (
                "the snapshot was",
                "No snapshot was taken; what was protected before is unchanged.",
                "Take one with `reserve snapshot --wait`; what keepers have already is not sent again.",
            ),
            Work::Sweep(_) => (
                "the sweep was",
                "What it found by then is known and told; nothing else was changed.",
                "`reserve sweep --now` begins again; what is due is read within the sweep period in any case.",
            ),
            Work::Remove(_) => (
                "the removal was",
                "Nobody was removed; what was copied stays.",
                "Repeat it to go on.",
            ),
            Work::Forget(_) => (
                "letting go of snapshots was",
                "Nothing was given up.",
                "Repeat it when you want it done.",
            ),
        };
        Fault::new(
            format!("{what} cancelled (job {})", self.id),
            unchanged,
            todo,
        )
    }

    /// How far it is, for people.
    pub fn progress(&self, roster: &Roster) -> ProgressView {
        match &self.work {
            Work::Snapshot(taking) => {
                let mut view = views::progress(&taking.progress);
                if self.waits() {
                    view.phase = "waiting for the one before it".into();
                }
                view
            }
            Work::Sweep(sweeping) => sweeping.view(),
            Work::Remove(leaving) => leaving.progress(),
            Work::Forget(forgetting) => forgetting.view(roster),
        }
    }

    /// All of it, for people and programs.
    pub fn view(&self, roster: &Roster) -> JobView {
        let end = self.end();
        let state = match &end {
            _ if self.cancelled.get() => JobState::Cancelled,
            Some(Ok(_)) => JobState::Done,
            Some(Err(_)) => JobState::Failed,
            None if self.waits() => JobState::Waiting,
            None => JobState::Running,
        };
        let (what, subject) = match &self.work {
            Work::Snapshot(_) => ("snapshot", None),
            Work::Sweep(_) => ("sweep", None),
            Work::Remove(leaving) => ("remove", Some(leaving.view().name)),
            Work::Forget(_) => ("forget", None),
        };
        JobView {
            id: self.id,
            what: what.into(),
            subject,
            state,
            can_be_cancelled: end.is_none() && self.can_be_cancelled(),
            progress: self.progress(roster),
            outcome: end.as_ref().and_then(|end| end.as_ref().ok()).cloned(),
            fault: end.and_then(Result::err),
        }
    }

    fn can_be_cancelled(&self) -> bool {
        let is_publishing = |taking: &Taking| {
            matches!(
                taking.progress.phase.get(),
                author::Phase::Publishing | author::Phase::CatchingUp | author::Phase::Done
            )
        };
        let is_too_late = match &self.work {
            Work::Snapshot(taking) => is_publishing(taking),
            Work::Sweep(_) | Work::Remove(_) | Work::Forget(_) => self.too_late.get(),
        };
        !is_too_late
    }

    /// What it does when nobody can end it any more.
    fn last(&self) -> &'static str {
        match &self.work {
            Work::Snapshot(_) => "is publishing its snapshot",
            Work::Sweep(_) => "has read everything",
            Work::Remove(_) => "is shutting the Box out",
            Work::Forget(_) => "is telling keepers what they need not keep any more, or what stays",
        }
    }
}
