//! Long work that survives the command that started it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::Notify;

use crate::author;
use crate::console::control::{JobState, JobView, ProgressView, SnapshotOutcome};
use crate::console::fault::Fault;

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
pub struct Job {
    /// Its number; counts from the start of the service.
    pub id: u64,
    /// How far it is.
    pub progress: Rc<author::Progress>,
    /// How it is to be taken.
    pub asked: Asked,
    begun: Cell<bool>,
    cancelled: Cell<bool>,
    cancel: Notify,
    end: RefCell<Option<Result<SnapshotOutcome, Fault>>>,
    ended: Notify,
}

impl Job {
    /// Waits for its turn.
    pub fn new(id: u64, asked: Asked) -> Rc<Self> {
        Rc::new(Self {
            id,
            progress: Rc::default(),
            asked,
            begun: Cell::new(false),
            cancelled: Cell::new(false),
            cancel: Notify::new(),
            end: RefCell::default(),
            ended: Notify::new(),
        })
    }

    /// Whether it waits for its turn.
    pub fn waits(&self) -> bool {
        !self.begun.get()
    }

    /// Begins.
    pub fn begin(&self) {
        self.begun.set(true);
    }

    /// Ends.
    pub fn finish(&self, end: Result<SnapshotOutcome, Fault>) {
        *self.end.borrow_mut() = Some(end);
        self.ended.notify_waiters();
    }

    /// Ends it, if it is not done and about to be published: then it is too late.
    pub fn cancel(&self) -> Result<(), Fault> {
        if self.end().is_some() {
            return Err(Fault::new(
                format!("job {} has ended already", self.id),
                "What came of it is unchanged.",
                "`reserve jobs` shows what.",
            ));
        }
        let is_too_late = matches!(
            self.progress.phase.get(),
            author::Phase::Publishing | author::Phase::CatchingUp | author::Phase::Done
        );
        if is_too_late {
            return Err(Fault::new(
                format!(
                    "job {} is publishing its snapshot: it is too late to end it",
                    self.id
                ),
                "It goes on.",
                format!("`reserve jobs follow {}` waits for it.", self.id),
            ));
        }
        self.cancelled.set(true);
        self.cancel.notify_one();
        if self.waits() {
            self.finish(Err(self.was_cancelled()));
        }
        Ok(())
    }

    /// Whether somebody ended it.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Resolves when somebody ends it.
    pub async fn cancelled(&self) {
        while !self.cancelled.get() {
            self.cancel.notified().await;
        }
    }

    /// What its followers are told then.
    pub fn was_cancelled(&self) -> Fault {
        Fault::new(
            format!("the snapshot was cancelled (job {})", self.id),
            "No snapshot was taken; what was protected before is unchanged.",
            "Take one with `reserve snapshot --wait`; what keepers have already is not sent again.",
        )
    }

    /// All of it, for people and programs.
    pub fn job_view(&self) -> JobView {
        let end = self.end();
        let state = match &end {
            _ if self.cancelled.get() => JobState::Cancelled,
            Some(Ok(_)) => JobState::Done,
            Some(Err(_)) => JobState::Failed,
            None if self.waits() => JobState::Waiting,
            None => JobState::Running,
        };
        JobView {
            id: self.id,
            what: "snapshot".into(),
            state,
            progress: self.view(),
            outcome: end.as_ref().and_then(|end| end.as_ref().ok()).cloned(),
            fault: end.and_then(Result::err),
        }
    }

    /// How it ended, if it did.
    pub fn end(&self) -> Option<Result<SnapshotOutcome, Fault>> {
        self.end.borrow().clone()
    }

    /// Waits for its end.
    pub async fn ended(&self) -> Result<SnapshotOutcome, Fault> {
        loop {
            let notified = self.ended.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(end) = self.end() {
                return end;
            }
            notified.await;
        }
    }

    /// How far it is, for people.
    pub fn view(&self) -> ProgressView {
        let mut view = super::views::progress(&self.progress);
        if self.waits() {
            view.phase = "waiting for the one before it".into();
        }
        view
    }
}
