//! Commands that ask the service of this Box and print what it says.

use std::path::Path;

use serde::Serialize;

use super::cli::{Print, Snapshot, Sweep};
use super::client::{Client, NoService};
use super::control::{JobOutcome, Reply, Want};
use super::event_view::EventView;
use super::fault::{Exit, Fault};
use super::{jobs, screen, setup, text};

pub fn call(dir: &Path, want: Want) -> Result<Client, Fault> {
    Client::call_patiently(dir, &want).map_err(|no| no.fault(dir))
}

pub fn nonsense() -> Fault {
    Fault::new(
        "the keeper's answer is not understood",
        "What the keeper does goes on undisturbed.",
        "The command and the keeper may be of different versions: restart the keeper.",
    )
}

pub fn print<T: Serialize>(
    how: Print,
    value: &T,
    shown: impl FnOnce() -> String,
) -> Result<(), Fault> {
    if how.json {
        text::print_json(value)
    } else {
        text::print(&shown())
    }
}

/// `reserve invite`
pub fn invite(dir: &Path, how: Print) -> Result<Exit, Fault> {
    match call(dir, Want::Invite {})?.reply()? {
        Reply::Ticket(view) => {
            print(how, &view, || view.ticket.clone())?;
            text::tell(&format!(
                "Good for one Box, for {} minutes: `reserve join --name NAME TICKET` there.",
                view.seconds / 60
            ));
            Ok(Exit::Done)
        }
        _ => Err(nonsense()),
    }
}

/// `reserve snapshot`
pub fn snapshot(dir: &Path, args: &Snapshot) -> Result<Exit, Fault> {
    let Reply::Job { id } = call(
        dir,
        Want::Snapshot {
            accept_loss: args.accept_loss,
            try_anyway: args.try_anyway,
        },
    )?
    .reply()?
    else {
        return Err(nonsense());
    };
    if !args.wait {
        print(args.print, &serde_json::json!({ "job": id }), || {
            format!("Snapshot begun (job {id}). `reserve jobs follow {id}` waits for it.")
        })?;
        return Ok(Exit::Done);
    }
    jobs::follow(dir, id, "protecting", args.print)
}

/// `reserve sweep`
pub fn sweep(dir: &Path, args: &Sweep) -> Result<Exit, Fault> {
    match jobs::begin(dir, Want::Sweep {}, "reading again")? {
        Reply::Sweep(view) => jobs::told(&JobOutcome::Sweep(view), args.print),
        _ => Err(nonsense()),
    }
}

/// `reserve snapshots`
pub fn snapshots(dir: &Path, how: Print) -> Result<Exit, Fault> {
    let list = match Client::call(dir, Want::Snapshots {}) {
        Ok(mut client) => match client.reply()? {
            Reply::Snapshots(view) => {
                if !view.not_asked.is_empty() {
                    text::tell(&format!(
                        "Out of reach or without an answer, and perhaps with more snapshots than these: {}.",
                        view.not_asked.join(", ")
                    ));
                }
                view.snapshots
            }
            _ => return Err(nonsense()),
        },
        Err(NoService::NotRunning) => {
            let (list, unread) = setup::snapshots_at_rest(dir)?;
            text::tell(&format!(
                "No keeper runs for {}: these are the snapshots whose heads are on this Box itself, read as they lie there.",
                dir.display()
            ));
            if unread > 0 {
                let parts = text::count(unread as u64, "part", "parts");
                text::tell(&format!(
                    "{parts} of its store could not be read; there may be more snapshots. `reserve keeper` says what is damaged."
                ));
            }
            list
        }
        Err(no) => return Err(no.fault(dir)),
    };
    print(how, &list, || text::snapshots(&list, text::now_seconds()))?;
    Ok(Exit::Done)
}

/// `reserve peers`
pub fn peers(dir: &Path, how: Print) -> Result<Exit, Fault> {
    let (list, is_running) = match Client::call(dir, Want::Peers {}) {
        Ok(mut client) => match client.reply()? {
            Reply::Peers(list) => (list, true),
            _ => return Err(nonsense()),
        },
        Err(NoService::NotRunning) => {
            text::tell(&format!(
                "No keeper runs for {}: nobody is connected.",
                dir.display()
            ));
            (setup::status_at_rest(dir)?.peers, false)
        }
        Err(no) => return Err(no.fault(dir)),
    };
    print(how, &list, || text::peers(&list, is_running))?;
    Ok(Exit::Done)
}

/// `reserve status`
pub fn status(dir: &Path, how: Print) -> Result<Exit, Fault> {
    let view = match Client::call(dir, Want::Status {}) {
        Ok(mut client) => match client.reply()? {
            Reply::Status(view) => *view,
            _ => return Err(nonsense()),
        },
        Err(NoService::NotRunning) => setup::status_at_rest(dir)?,
        Err(no) => return Err(no.fault(dir)),
    };
    print(how, &view, || screen::status(&view, text::now_seconds()))?;
    let is_well = view.safe && !view.standing.iter().any(EventView::is_to_be_mended);
    Ok(if is_well { Exit::Done } else { Exit::NotSafe })
}
