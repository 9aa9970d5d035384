//! `reserve sweep --now`: everything that is kept here, and this Box's own files, read again at once as a job.

use super::Service;
use super::job::{Job, Work};
use super::minding::{in_words, tell};
use super::own_files::named;
use crate::author::{self, Extent, FileProgress};
use crate::console::control::{JobOutcome, ProgressView, SweepView};
use crate::console::fault::Fault;
use crate::keeper::{Pace, SweepProgress, Which};
use crate::world::{Clock, World};
use std::cell::Cell;
use std::rc::Rc;

/// How far a reading of everything is.
#[derive(Default)]
pub(super) struct Sweeping {
    store: SweepProgress,
    files: FileProgress,
    /// Bytes of the store that are still to be read, as far as that can be known before they are.
    store_bytes: Cell<u64>,
    is_store_read: Cell<bool>,
}

impl Sweeping {
    /// Has it end soon.
    pub(super) fn stop(&self) {
        self.store.stopped.set(true);
        self.files.stopped.set(true);
    }

    /// How far it is, for people.
    pub(super) fn view(&self) -> ProgressView {
        let SweepProgress {
            segments_all,
            segments,
            bytes,
            damaged,
            ..
        } = &self.store;
        let (files, read) = (&self.files, bytes.get());
        let store_bytes = match self.is_store_read.get() {
            true => read,
            false => self.store_bytes.get().max(read),
        };
        let phase = match self.is_store_read.get() {
            true => "own files".to_owned(),
            false => format!(
                "segment {} of {}, {} places damaged",
                (segments.get() + 1).min(segments_all.get()),
                segments_all.get(),
                damaged.get()
            ),
        };
        let done = read.saturating_add(files.bytes.get());
        let left = (store_bytes - read).saturating_add(files.left.get());
        ProgressView {
            phase,
            files: files.files.get(),
            bytes: done,
            bytes_read: done,
            bytes_total: Some(done.saturating_add(left)),
            ..ProgressView::default()
        }
    }
}

impl<W: World> Service<W> {
    /// Starts reading everything, or gives the reading that somebody else asked for.
    pub(super) fn begin_sweep(&self) -> Rc<Job> {
        let is_one = |job: &Job| matches!(job.work, Work::Sweep(_)) && job.goes_on();
        if let Some(running) = self.find_job(is_one) {
            return running;
        }
        let job = self.new_job(Work::Sweep(Sweeping::default()));
        let (service, running) = (self.clone(), Rc::clone(&job));
        self.world().spawn(async move {
            running.begin();
            let end = match &running.work {
                Work::Sweep(sweeping) => service.sweep(&running, sweeping).await,
                Work::Snapshot(_) | Work::Remove(_) | Work::Forget(_) => return,
            };
            running.finish(end.map(JobOutcome::Sweep));
        });
        job
    }

    async fn sweep(&self, job: &Job, sweeping: &Sweeping) -> Result<SweepView, Fault> {
        let failed = |what: String| {
            Fault::new(
                what,
                "Nothing was changed.",
                "See what `reserve doctor` says of the disk, then sweep again.",
            )
        };
        let began = self.world().clock().now();
        let replaced = self.0.replaced.get();
        sweeping.store_bytes.set(self.store().figures().disk_bytes);
        let own = author::accepted_bytes(self.world()).await;
        sweeping.files.left.set(own);
        let report = self
            .store()
            .verify(Which::All, Pace::Full, &sweeping.store)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let took = self.world().clock().now().since(began);
        sweeping.is_store_read.set(true);
        tell(&report);
        self.tell_damage().await;
        if job.is_cancelled() {
            return Err(job.was_cancelled());
        }
        self.mend_own_store().await;
        let state = self.heal_own_state().await;
        let files = self.sweep_own_files(Extent::All, &sweeping.files).await;
        let files = files.map_err(|error| {
            failed(format!(
                "what the sweep found could not be remembered: {error}"
            ))
        })?;
        if job.is_cancelled() {
            return Err(job.was_cancelled());
        }
        let still_damaged = self.store().figures().damaged;
        let rotten = files.rotten.iter();
        Ok(SweepView {
            segments: report.segments,
            frames: report.frames,
            bytes: report.bytes,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            damaged: report.damaged.iter().map(in_words).collect(),
            damaged_count: report.damaged_count,
            // Also those that were fetched while the reading went on.
            replaced: self.0.replaced.get().saturating_sub(replaced),
            still_damaged,
            state_repaired: state.repaired,
            events_damaged: state.events_damaged,
            files: files.files,
            file_bytes: files.bytes,
            rotten: rotten.map(|(set, path)| named(set, path)).collect(),
            rotten_count: files.rotten_count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_as_far_as_it_has_read_and_never_further_than_all() {
        let sweeping = Sweeping::default();
        let seen = || {
            let view = sweeping.view();
            (view.bytes_read, view.bytes_total)
        };
        sweeping.store_bytes.set(1000);
        sweeping.files.left.set(500);
        assert_eq!(seen(), (0, Some(1500)));
        sweeping.store.bytes.set(400);
        assert_eq!(seen(), (400, Some(1500)));
        // More came into the store meanwhile.
        sweeping.store.bytes.set(1100);
        assert_eq!(seen(), (1100, Some(1600)));
        sweeping.is_store_read.set(true);
        sweeping.files.bytes.set(300);
        // Somebody changed a file: nothing of it is read.
        sweeping.files.left.set(100);
        assert_eq!(seen(), (1400, Some(1500)));
        sweeping.files.left.set(0);
        assert_eq!(seen(), (1400, Some(1400)));
    }
}
