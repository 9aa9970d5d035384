//! The jobs a service remembers: those that wait or run, and the last few that ended.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Service;
use super::job::{Job, Work};
use crate::console::control::{JobOutcome, JobView, SnapshotOutcome};
use crate::console::fault::Fault;
use crate::world::World;

/// Jobs that are remembered for those who follow them.
const REMEMBERED_MAX: usize = 8;

impl<W: World> Service<W> {
    /// A new job, which waits for its turn.
    pub(super) fn new_job(&self, work: Work) -> Rc<Job> {
        let mut jobs = self.0.jobs.borrow_mut();
        let id = jobs.back().map_or(1, |last| last.id + 1);
        let job = Job::new(id, work);
        make_room(&mut jobs);
        jobs.push_back(Rc::clone(&job));
        job
    }

    /// The oldest job that is as wanted.
    pub(super) fn find_job(&self, is_wanted: impl Fn(&Job) -> bool) -> Option<Rc<Job>> {
        let jobs = self.0.jobs.borrow();
        jobs.iter().find(|job| is_wanted(job)).cloned()
    }

    /// The one with this number.
    pub(super) fn job(&self, id: u64) -> Option<Rc<Job>> {
        self.find_job(|job| job.id == id)
    }

    /// The snapshot that is being taken.
    pub(super) fn running_snapshot(&self) -> Option<Rc<Job>> {
        self.find_job(|job| is_snapshot(job) && !job.waits() && job.end().is_none())
    }

    /// How the last snapshot ended.
    pub(super) fn last_snapshot_end(&self) -> Option<Result<SnapshotOutcome, Fault>> {
        let jobs = self.0.jobs.borrow();
        match jobs[last_told(&jobs)?].end()? {
            Ok(JobOutcome::Snapshot(outcome)) => Some(Ok(*outcome)),
            Ok(JobOutcome::Sweep(_) | JobOutcome::Removed(_) | JobOutcome::Forgotten(_)) => None,
            Err(fault) => Some(Err(fault)),
        }
    }

    /// Jobs that are remembered, oldest first.
    pub(super) fn job_views(&self) -> Vec<JobView> {
        let (jobs, roster) = (self.0.jobs.borrow(), self.roster());
        jobs.iter().map(|job| job.view(&roster)).collect()
    }
}

fn is_snapshot(job: &Job) -> bool {
    matches!(job.work, Work::Snapshot(_))
}

/// The place of the last snapshot that came to an end by itself.
fn last_told(jobs: &VecDeque<Rc<Job>>) -> Option<usize> {
    let is_told = |job: &Rc<Job>| is_snapshot(job) && !job.is_cancelled() && job.end().is_some();
    jobs.iter().rposition(is_told)
}

/// Forgets the oldest job that has ended, if there are many: never one that runs or waits, nor how the last snapshot went.
fn make_room(jobs: &mut VecDeque<Rc<Job>>) {
    let told = last_told(jobs);
    let mut places = 0..jobs.len();
    if jobs.len() >= REMEMBERED_MAX
        && let Some(oldest) = places.find(|at| Some(*at) != told && jobs[*at].end().is_some())
    {
        jobs.remove(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::Asked;
    use super::super::sweeping::Sweeping;
    use super::*;

    fn snapshot(id: u64) -> Rc<Job> {
        Job::new(id, Work::snapshot(Asked::BY_ITSELF))
    }

    fn refused() -> Fault {
        Fault::new("it did not work", "Nothing was changed.", "Try again.")
    }

    #[test]
    fn a_job_that_runs_is_remembered_however_many_that_wait_are_cancelled() {
        let mut jobs = VecDeque::new();
        let last = 3 * REMEMBERED_MAX as u64;
        for id in 1..=last {
            make_room(&mut jobs);
            let job = snapshot(id);
            jobs.push_back(Rc::clone(&job));
            if id == 1 {
                job.begin();
            } else {
                job.cancel().expect("it only waits");
            }
        }
        assert_eq!((jobs.len(), jobs[0].id), (REMEMBERED_MAX, 1));
        assert_eq!(jobs.back().map(|job| job.id), Some(last));
    }

    #[test]
    fn how_the_last_snapshot_went_is_remembered_however_many_sweeps_come_after_it() {
        let mut jobs = VecDeque::from([snapshot(1), snapshot(2)]);
        for job in &jobs {
            job.begin();
            job.finish(Err(refused()));
        }
        for id in 3..30 {
            make_room(&mut jobs);
            let sweep = Job::new(id, Work::Sweep(Sweeping::default()));
            sweep.finish(Err(refused()));
            jobs.push_back(sweep);
        }
        assert_eq!((jobs.len(), jobs[0].id), (REMEMBERED_MAX, 2));
    }

    #[test]
    fn a_job_is_ended_until_it_is_too_late_and_its_first_end_stands() {
        let job = Job::new(1, Work::Sweep(Sweeping::default()));
        job.begin();
        job.too_late();
        assert!(
            job.cancel()
                .is_err_and(|fault| fault.what.contains("too late"))
        );
        assert!(job.goes_on());
        let other = Job::new(2, Work::Sweep(Sweeping::default()));
        other.cancel().expect("it only waits");
        assert!(other.end().is_some_and(|end| end.is_err()));
        other.finish(Err(refused()));
        assert_eq!(other.end(), Some(Err(other.was_cancelled())));
        assert!(other.cancel().is_err(), "it has ended");
    }
}
