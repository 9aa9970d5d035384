//! What a restore tells while it runs and when it ends. Lists are bounded; counts are not.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::FetchError;
use crate::format::{Malformed, malformed};

/// Paths a report lists of each sort.
pub(super) const LISTED_MAX: usize = 1000;

/// How far a restore is, and how to reach it while it runs. Clones are the same.
#[derive(Clone, Default)]
pub struct Progress(Rc<Running>);

#[derive(Default)]
struct Running {
    stopped: Cell<bool>,
    view: RefCell<ProgressView>,
    tell: RefCell<Option<Tell>>,
}

/// Somebody who wants to hear of every single thing.
type Tell = Rc<dyn Fn(Told<'_>)>;

/// One thing that did not come back, or not as it went in.
#[derive(Debug, Clone, Copy)]
pub enum Told<'t> {
    /// It did not come back.
    Failed {
        /// Where it belongs, below the target.
        path: &'t [u8],
        /// Why.
        why: &'t str,
        /// How many things: more than one from here on when a part of the index is lost.
        count: u64,
    },
    /// It came back different.
    Differs {
        /// Where it is, below the target.
        path: &'t [u8],
        /// How.
        how: &'t Differs,
    },
    /// It was there before and was to stay.
    Stayed {
        /// Where it is, below the target.
        path: &'t [u8],
    },
}

/// How far a restore is, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgressView {
    /// Regular files done, failed ones included.
    pub files: u64,
    /// Their bytes written so far.
    pub bytes: u64,
    /// What there is of them, once that is known.
    pub total: Option<Total>,
    /// What is being restored, below the target.
    pub current: Vec<u8>,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Progress {
    /// The state now.
    #[must_use]
    pub fn view(&self) -> ProgressView {
        self.0.view.borrow().clone()
    }

    /// Has everything told that a report's bounded lists cannot hold, as it happens.
    pub fn tell(&self, tell: impl Fn(Told<'_>) + 'static) {
        *self.0.tell.borrow_mut() = Some(Rc::new(tell));
    }

    /// Asks the restore to end soon, so that it can be gone on with.
    pub fn stop(&self) {
        self.0.stopped.set(true);
    }

    /// What is told of a restore that did not end in time after it was asked to.
    #[must_use]
    pub fn stopped(&self) -> RetrieveError {
        RetrieveError::Stopped {
            files: self.0.view.borrow().files,
        }
    }

    /// Whether it was asked to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.0.stopped.get()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut ProgressView)) {
        change(&mut self.0.view.borrow_mut());
    }

    fn told(&self, told: Told<'_>) {
        let tell = self.0.tell.borrow().clone();
        if let Some(tell) = tell {
            tell(told);
        }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetrieveReport {
    /// Regular files restored whole, kept ones included.
    pub files: u64,
    /// Of these, files an earlier run of the same retrieval had restored.
    pub kept: u64,
    /// Directories restored.
    pub dirs: u64,
    /// Symbolic links restored.
    pub symlinks: u64,
    /// Named pipes and devices restored.
    pub specials: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// What did not come back, by path below the target, and why; the first thousand.
    pub failed: Vec<(Vec<u8>, String)>,
    /// How many there are; entries of a lost index page are counted one by one.
    pub failed_count: u64,
    /// How many of them are paths that were asked for and that the snapshot does not have: nothing is damaged.
    pub absent_count: u64,
    /// What came back different, and how; the first thousand.
    pub not_set: Vec<(Vec<u8>, Differs)>,
    /// How many there are.
    pub not_set_count: u64,
    /// What was in the target before and was to stay; the first thousand.
    pub stayed: Vec<Vec<u8>>,
    /// How many there are.
    pub stayed_count: u64,
}

/// A report that is being written; everything that goes into it is also told to whoever listens.
pub(super) struct Writing {
    report: RetrieveReport,
    progress: Progress,
}

/// How a thing that came back differs from what went in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differs {
    /// Owner or group: the caller has no right to set them.
    pub owner: bool,
    /// Set-user or set-group bits, left off because the owner could not be set.
    pub mode: bool,
    /// Names of extended attributes that could not be set.
    pub xattrs: Vec<Vec<u8>>,
    /// It is one of several names of one thing, but has a copy of its own.
    pub hard_link: bool,
    /// It is a device, which the caller has no right to make.
    pub not_made: bool,
    /// All attributes: the directory's entry was lost, or setting them failed.
    pub attributes: bool,
}

impl RetrieveReport {
    /// Whether everything came back as it went in.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.failed_count == 0 && self.not_set_count == 0
    }
}

impl Deref for Writing {
    type Target = RetrieveReport;

    fn deref(&self) -> &RetrieveReport {
        &self.report
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut RetrieveReport {
        &mut self.report
    }
}

impl Writing {
    pub(super) fn new(progress: &Progress) -> Self {
        Self {
            report: RetrieveReport::default(),
            progress: progress.clone(),
        }
    }

    /// What was written.
    pub(super) fn take(&mut self) -> RetrieveReport {
        std::mem::take(&mut self.report)
    }

    pub(super) fn fail(&mut self, path: &[u8], reason: &str) {
        self.fail_many(path, reason, 1);
    }

    /// Notes a path that was asked for and that the snapshot does not have.
    pub(super) fn is_absent(&mut self, path: &[u8], reason: &str) {
        self.report.absent_count += 1;
        self.fail(path, reason);
    }

    pub(super) fn fail_many(&mut self, path: &[u8], reason: &str, count: u64) {
        let report = &mut self.report;
        report.failed_count = report.failed_count.saturating_add(count);
        if report.failed.len() < LISTED_MAX {
            report.failed.push((path.to_vec(), reason.to_owned()));
        }
        let why = reason;
        self.progress.told(Told::Failed { path, why, count });
    }

    pub(super) fn differs(&mut self, path: &[u8], how: Differs) {
        if how == Differs::default() {
            return;
        }
        self.progress.told(Told::Differs { path, how: &how });
        self.report.not_set_count += 1;
        if self.report.not_set.len() < LISTED_MAX {
            self.report.not_set.push((path.to_vec(), how));
        }
    }

    /// Notes what was there before and stayed.
    pub(super) fn stayed(&mut self, path: &[u8]) {
        self.report.stayed_count += 1;
        if self.report.stayed.len() < LISTED_MAX {
            self.report.stayed.push(path.to_vec());
        }
        self.progress.told(Told::Stayed { path });
    }
}

/// Why a restore ended early, or did not begin. Files under their final names are whole in every case.
#[derive(Debug, thiserror::Error)]
pub enum RetrieveError {
    /// The target has things in it.
    #[error("{} is not empty; nothing was written. Choose an empty directory with --to, or allow restoring into this one", .0)]
    TargetNotEmpty(String),
    /// The target has the note of another retrieval.
    #[error("{} belongs to an unfinished retrieval of something else; nothing was written. Go on with the command that began it, choose an empty directory with --to, or add --into-nonempty", .0)]
    TargetOfAnother(String),
    /// It was asked to end.
    #[error(
        "stopped: {files} files are in the target, each of them whole; give the same command again to go on"
    )]
    Stopped {
        /// Files that are there.
        files: u64,
    },
    /// There is not enough room.
    #[error("there is not enough room: the files need {}, {} are free in {path}; nothing was written. Make room, choose another disk with --to, get a part with --path, or add --try-anyway", size(*.needed_bytes), size(*.free_bytes))]
    NoRoom {
        /// The target.
        path: String,
        /// What is needed at least.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
    },
    /// The file system cannot hold so many things.
    #[error(
        "there is not enough room: {needed} files, directories and others are to be made, {path} has room for {free} more; nothing was written. Choose another disk with --to, get a part with --path, or add --try-anyway"
    )]
    NoRoomForThings {
        /// The target.
        path: String,
        /// How many are to be made.
        needed: u64,
        /// How many can be.
        free: u64,
    },
    /// The target cannot be used.
    #[error("{path} cannot be restored into: {why}; nothing was written")]
    Target {
        /// The directory.
        path: String,
        /// Why.
        why: io::Error,
    },
    /// The target's file system ran full or failed.
    #[error(
        "writing stopped: {why}; what stands in the target is whole ({files} files, {}) and stays. Make room and give the same command again to go on, or choose another target", size(*.bytes)
    )]
    TargetFailed {
        /// What the file system said.
        why: String,
        /// Files that are there.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A path that was asked for is none.
    #[error(transparent)]
    Selection(#[from] super::BadSelection),
    /// No such data set.
    #[error(
        "the snapshot has no data set `{0}`; nothing was written. `reserve ls` shows what it has"
    )]
    NoSuchDataSet(String),
    /// The manifest could not be had.
    #[error("the snapshot's manifest could not be had, nothing was written: {0}")]
    NoManifest(FetchError),
    /// The source is gone.
    #[error("{0}; what stands in the target is whole, and the same command goes on")]
    SourceEnded(FetchError),
    /// The index breaks a rule: its author's Box or the program that wrote it is not to be trusted.
    #[error(
        "the snapshot's index breaks a rule ({0}); stopped there, what stands in the target is whole. Retrieve an older snapshot"
    )]
    Index(Malformed),
    /// What was restored may not survive a power cut.
    #[error(
        "everything was written, but could not be made durable: {0}; retrieve again into another place"
    )]
    Sync(io::Error),
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    humansize::format_size(bytes, humansize::BINARY)
}

impl RetrieveError {
    /// Whether what was asked for can never be had, whatever Boxes are in reach.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Selection(_) | Self::NoSuchDataSet(_))
    }

    pub(super) const fn index(why: Malformed) -> Self {
        Self::Index(why)
    }

    pub(super) const fn wrong_index(rule: &'static str) -> Self {
        Self::Index(malformed("index", rule))
    }
}
