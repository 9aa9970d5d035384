//! Whoever follows a job over the control socket: how far it is, again and again, then its end. The job does not need them.

use std::time::Duration;

use tokio::net::unix::OwnedWriteHalf;

use super::Service;
use super::control::say;
use super::job::Job;
use crate::console::control::{JobOutcome, ProgressView, Reply, SnapshotOutcome};
use crate::terms::SnapshotNumber;
use crate::world::{Clock, World};

/// How often a follower hears of a job.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Says which job was begun, or works on it already, and follows it.
pub async fn begun<W: World>(
    service: &Service<W>,
    job: &Job,
    writer: &mut OwnedWriteHalf,
) -> std::io::Result<()> {
    say(writer, &Reply::Job { id: job.id }).await?;
    follow(service, job, writer).await
}

/// Says how far it is until its end.
pub async fn follow<W: World>(
    service: &Service<W>,
    job: &Job,
    writer: &mut OwnedWriteHalf,
) -> std::io::Result<()> {
    loop {
        let clock = service.world().clock();
        let end = clock.within(PROGRESS_EVERY, job.ended()).await;
        let far = Reply::Progress(job.progress(&service.roster()));
        say(writer, &far).await?;
        let outcome = match end {
            None => continue,
            Some(Ok(outcome)) => outcome,
            Some(Err(fault)) => return say(writer, &Reply::Fault(fault)).await,
        };
        return match outcome {
            JobOutcome::Snapshot(outcome) => {
                say_when_protected(service, job, *outcome, writer).await
            }
            JobOutcome::Sweep(view) => say(writer, &Reply::Sweep(view)).await,
            JobOutcome::Removed(view) => say(writer, &Reply::Removed(view)).await,
            JobOutcome::Forgotten(view) => say(writer, &Reply::Forgotten(view)).await,
        };
    }
}

/// A keeper that was away may come back any time: says so while it waits, and notices when nobody listens any more.
async fn say_when_protected<W: World>(
    service: &Service<W>,
    job: &Job,
    outcome: SnapshotOutcome,
    writer: &mut OwnedWriteHalf,
) -> std::io::Result<()> {
    let number = outcome.snapshot.number;
    let mut waiting = std::pin::pin!(service.until_protected(outcome));
    loop {
        let clock = service.world().clock();
        if let Some(outcome) = clock.within(PROGRESS_EVERY, waiting.as_mut()).await {
            return say(writer, &Reply::Snapshot(outcome)).await;
        }
        let open = service.unconfirmed(SnapshotNumber(number));
        let named = |(name, is_reached): &(String, bool)| match is_reached {
            true => name.clone(),
            false => format!("{name} (out of reach)"),
        };
        let open = open.iter().map(named).collect::<Vec<_>>().join(" and ");
        let phase =
            format!("published; waiting for {open} to confirm it (ctrl-C does not stop that)");
        let far = ProgressView {
            phase,
            ..job.progress(&service.roster())
        };
        say(writer, &Reply::Progress(far)).await?;
    }
}
