//! `reserve jobs`: long work of the keeper, which goes on without the command that started it.

use std::fmt::Write as _;
use std::path::Path;

use super::cli::{Jobs, Print};
use super::client::Client;
use super::control::{JobState, JobView, Reply, SnapshotOutcome, Want};
use super::fault::{Exit, Fault};
use super::progress::Progress;
use super::{ask, interrupt, text};

/// `reserve jobs`
pub fn run(dir: &Path, args: &Jobs) -> Result<Exit, Fault> {
    match args.deed {
        None => list(dir, args.print),
        Some(super::cli::JobDeed::Cancel { id }) => cancel(dir, id, args.print),
        Some(super::cli::JobDeed::Follow { id }) => follow(dir, id, args.print),
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
                format!(
                    "Job {id} is cancelled. What keepers have of it already is used by the next snapshot."
                )
            })?;
            Ok(Exit::Done)
        }
        _ => Err(ask::nonsense()),
    }
}

/// Shows a job until its snapshot is protected, or cannot be.
pub fn follow(dir: &Path, id: u64, how: Print) -> Result<Exit, Fault> {
    let mut following: Client = ask::call(dir, Want::Follow { job: id })?;
    interrupt::says(format!(
        "The snapshot goes on without this command (job {id}).\n  `reserve jobs follow {id}` waits for it again, `reserve jobs cancel {id}` ends it."
    ));
    let mut bar = Progress::begin("protecting", None);
    let outcome = loop {
        match following.reply() {
            Ok(Reply::Progress(now)) => {
                bar.at(now.bytes, now.files, &format!("{} {}", now.phase, now.path));
            }
            Ok(Reply::Snapshot(outcome)) => break Ok(outcome),
            Ok(_) => break Err(ask::nonsense()),
            Err(fault) => break Err(fault),
        }
    };
    bar.end();
    let outcome: SnapshotOutcome = outcome?;
    ask::print(how, &outcome, || text::outcome(&outcome))?;
    Ok(if outcome.is_safe() {
        Exit::Done
    } else {
        Exit::NotSafe
    })
}

fn shown(jobs: &[JobView]) -> String {
    if jobs.is_empty() {
        return "No jobs since the keeper started.".into();
    }
    let mut shown = format!("{:>4}  {:<9} {:<10} how far\n", "ID", "what", "state");
    for job in jobs {
        let how_far = match (&job.outcome, &job.fault) {
            (Some(outcome), _) => format!("snapshot {}", outcome.snapshot.number),
            (None, Some(fault)) => fault.what.clone(),
            (None, None) => format!(
                "{}, {} files, {}",
                job.progress.phase,
                job.progress.files,
                text::bytes(job.progress.bytes)
            ),
        };
        let state = match job.state {
            JobState::Waiting => "waiting",
            JobState::Running => "running",
            JobState::Done => "done",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        };
        let _ = writeln!(
            shown,
            "{:>4}  {:<9} {state:<10} {how_far}",
            job.id, job.what
        );
    }
    shown.truncate(shown.trim_end().len());
    shown
}
