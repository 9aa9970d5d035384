//! `reserve jobs`: long work of the keeper, which goes on without the command that started it.

use std::fmt::Write as _;
use std::path::Path;

use super::cli::{Jobs, Print};
use super::client::Client;
use super::control::{JobOutcome, JobState, JobView, Reply, Want};
use super::fault::{Exit, Fault};
use super::progress::Progress;
use super::{ask, forget, interrupt, remove, text};

/// `reserve jobs`
pub fn run(dir: &Path, args: &Jobs) -> Result<Exit, Fault> {
    match args.deed {
        None => list(dir, args.print),
        Some(super::cli::JobDeed::Cancel { id }) => cancel(dir, id, args.print),
        Some(super::cli::JobDeed::Follow { id }) => follow(dir, id, "job", args.print),
    }
}

fn list(dir: &Path, how: Print) -> Result<Exit, Fault> {
    match ask::call(dir, Want::Jobs {})?.reply()? {
        Reply::Jobs(jobs) => {
            ask::print(how, &jobs, || shown(&jobs))?;
            Ok(Exit::Done)
        }
        _ => Err(ask::nonsense()),
    }
}

fn cancel(dir: &Path, id: u64, how: Print) -> Result<Exit, Fault> {
    match ask::call(dir, Want::Cancel { job: id })?.reply()? {
        Reply::Job { id } => {
            ask::print(how, &serde_json::json!({ "job": id }), || {
                format!("Job {id} is cancelled. `reserve jobs` shows when it has ended.")
            })?;
            Ok(Exit::Done)
        }
        _ => Err(ask::nonsense()),
    }
}

/// Shows a job until its end; a snapshot until it is protected, or cannot be.
pub fn follow(dir: &Path, id: u64, verb: &'static str, how: Print) -> Result<Exit, Fault> {
    let following = ask::call(dir, Want::Follow { job: id })?;
    goes_on_alone(id);
    let outcome = match until_end(following, verb)? {
        Reply::Snapshot(outcome) => JobOutcome::Snapshot(Box::new(outcome)),
        Reply::Sweep(view) => JobOutcome::Sweep(view),
        Reply::Removed(view) => JobOutcome::Removed(view),
        Reply::Forgotten(view) => JobOutcome::Forgotten(view),
        _ => return Err(ask::nonsense()),
    };
    told(&outcome, how)
}

/// Has a job begun, or takes up the one that does just that, and shows it until its end.
pub fn begin(dir: &Path, want: Want, verb: &'static str) -> Result<Reply, Fault> {
    let mut following = ask::call(dir, want)?;
    let Reply::Job { id } = following.reply()? else {
        return Err(ask::nonsense());
    };
    goes_on_alone(id);
    until_end(following, verb)
}

/// What ctrl-C means from now on.
fn goes_on_alone(id: u64) {
    interrupt::says(format!(
        "It goes on without this command (job {id}).\n  `reserve jobs follow {id}` waits for it again, `reserve jobs cancel {id}` ends it."
    ));
}

fn until_end(mut following: Client, verb: &'static str) -> Result<Reply, Fault> {
    let mut bar = Progress::begin(verb);
    let end = loop {
        match following.reply() {
            Ok(Reply::Progress(now)) => bar.at(&now),
            end => break end,
        }
    };
    bar.end();
    end
}

/// Prints what came of a job.
pub fn told(outcome: &JobOutcome, how: Print) -> Result<Exit, Fault> {
    ask::print(how, outcome, || match outcome {
        JobOutcome::Snapshot(outcome) => text::outcome(outcome),
        JobOutcome::Sweep(view) => text::sweep(view),
        JobOutcome::Removed(view) => remove::summary(view),
        JobOutcome::Forgotten(view) => forget::shown(view, false),
    })?;
    Ok(match outcome {
        JobOutcome::Snapshot(outcome) if !outcome.is_safe() => Exit::NotSafe,
        JobOutcome::Sweep(view) if view.still_damaged > 0 || view.rotten_count > 0 => Exit::Damaged,
        JobOutcome::Forgotten(view) if !forget::is_everybody_told(view) => Exit::NotSafe,
        JobOutcome::Snapshot(_)
        | JobOutcome::Sweep(_)
        | JobOutcome::Removed(_)
        | JobOutcome::Forgotten(_) => Exit::Done,
    })
}

fn shown(jobs: &[JobView]) -> String {
    if jobs.is_empty() {
        return "No jobs since the keeper started.".into();
    }
    let mut shown = format!("{:>4}  {:<9} {:<10} how far\n", "ID", "what", "state");
    for job in jobs {
        let state = match job.state {
            JobState::Waiting => "waiting",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        };
        let line = format!("{:>4}  {:<9} {state:<10} {}", job.id, job.what, far(job));
        let _ = writeln!(shown, "{}", line.trim_end());
    }
    shown.truncate(shown.trim_end().len());
    shown
}

fn far(job: &JobView) -> String {
    match (&job.outcome, &job.fault) {
        (Some(JobOutcome::Snapshot(outcome)), _) => {
            format!("snapshot {}", outcome.snapshot.number)
        }
        (Some(JobOutcome::Sweep(view)), _) => format!(
            "{} and {} of own files read",
            text::bytes(view.bytes),
            text::bytes(view.file_bytes)
        ),
        (Some(JobOutcome::Removed(view)), _) => format!("{} is out", view.name),
        (Some(JobOutcome::Forgotten(view)), _) => match (view.undone, view.carried_out) {
            (true, _) => "taken back".into(),
            (false, true) => format!("{} leave", snapshots(view.leaving.len())),
            (false, false) => format!("{} would leave", snapshots(view.leaving.len())),
        },
        (None, Some(fault)) => fault.what.clone(),
        (None, None) => {
            let whose = job.subject.as_ref();
            let whose = whose.map_or_else(String::new, |name| format!("{name}: "));
            let (phase, far) = (&job.progress.phase, text::how_far(&job.progress));
            format!("{whose}{phase}, {far}")
        }
    }
}

fn snapshots(many: usize) -> String {
    text::count(many as u64, "snapshot", "snapshots")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::control::{Counted, ProgressView, SweepView};

    fn job(id: u64, what: &str, state: JobState) -> JobView {
        JobView {
            id,
            what: what.into(),
            subject: None,
            state,
            can_be_cancelled: true,
            progress: ProgressView::default(),
            outcome: None,
            fault: None,
        }
    }

    #[test]
    fn jobs_of_every_sort_are_listed_with_how_far_they_are() {
        let mut sweep = job(1, "sweep", JobState::Running);
        sweep.progress.phase = "segment 2 of 5, 0 places damaged".into();
        (sweep.progress.bytes_read, sweep.progress.bytes_total) = (1 << 20, Some(4 << 20));
        let mut remove = job(2, "remove", JobState::Running);
        remove.subject = Some("office".into());
        remove.progress.phase = "copying to those who remain".into();
        remove.progress.counted = Some(Counted {
            what: "snapshots".into(),
            done: 3,
            total: Some(40),
        });
        let mut snapshot = job(3, "snapshot", JobState::Cancelled);
        let (unchanged, todo) = ("Nothing was changed.", "Take one.");
        snapshot.fault = Some(Fault::new("it was cancelled", unchanged, todo));
        let lines = [
            "  ID  what      state      how far",
            "   1  sweep     running    segment 2 of 5, 0 places damaged, 1 MiB of 4 MiB, 0 files",
            "   2  remove    running    office: copying to those who remain, 3 of 40 snapshots",
            "   3  snapshot  cancelled  it was cancelled",
        ];
        assert_eq!(shown(&[sweep, remove, snapshot]), lines.join("\n"));
    }

    #[test]
    fn what_came_of_a_job_is_read_back_as_what_it_was() {
        let sweep: SweepView = serde_json::from_str(
            r#"{"segments":1,"frames":2,"bytes":3,"milliseconds":4,"damaged":[],"damaged_count":0,"replaced":0,
                "still_damaged":0,"state_repaired":[],"events_damaged":0,"files":5,"file_bytes":6,"rotten":[],"rotten_count":0}"#,
        )
        .expect("a sweep's end");
        let outcome = JobOutcome::Sweep(sweep);
        let line = serde_json::to_string(&outcome).expect("plain data");
        assert_eq!(
            serde_json::from_str::<JobOutcome>(&line).ok(),
            Some(outcome)
        );
    }
}
