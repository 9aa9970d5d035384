//! `reserve events`: what happened, oldest first, from the running keeper or from the journal as it lies there.

use std::path::Path;

use super::at_rest::AtRest;
use super::cli::{Events, Since};
use super::client::{Client, NoService};
use super::control::{Reply, Want};
use super::event_view::{self, EventView};
use super::fault::{Exit, Fault};
use super::service::name_of;
use super::text;
use crate::dispatcher::{EventType, History, JOURNAL_DIR, read_standing};
use crate::roster::LoadedBox;
use crate::world::Disk;

/// `reserve events`
pub fn run(dir: &Path, args: &Events) -> Result<Exit, Fault> {
    let since = args.since.clone();
    let want = Want::Events {
        since: since.clone(),
        follow: args.follow,
    };
    match Client::call(dir, want) {
        Ok(mut client) => loop {
            match client.reply()? {
                Reply::Event(view) => show(args, &view)?,
                Reply::NoMore {} => return Ok(Exit::Done),
                _ => return Err(super::ask::nonsense()),
            }
        },
        Err(NoService::NotRunning) => {
            text::tell(&format!(
                "No keeper runs for {}: this is its journal as it lies there.",
                dir.display()
            ));
            at_rest(dir, since.as_ref(), |view| show(args, &view))?;
            if args.follow {
                return Err(Fault::new(
                    "no keeper runs, so nothing will follow",
                    "Nothing was changed.",
                    "Start it with `reserve keeper`, then follow again.",
                ));
            }
            Ok(Exit::Done)
        }
        Err(no) => Err(no.fault(dir)),
    }
}

fn show(args: &Events, view: &EventView) -> Result<(), Fault> {
    if args.print.json {
        text::print_json(view)
    } else {
        text::print(&event_view::line(view))
    }
}

/// Where to go on from, in a Box's own numbers.
pub fn after(since: Option<&Since>, loaded_name: &str, key: &str) -> Result<u64, Fault> {
    match since {
        None => Ok(0),
        Some(since) if since.origin == loaded_name || key.starts_with(&since.origin) => {
            Ok(since.sequence)
        }
        Some(since) => Err(Fault::new(
            format!("there are no events of \"{}\" on this Box", since.origin),
            "Nothing was changed.",
            format!("Its own are of {loaded_name}: `--since {loaded_name}:SEQ`."),
        )
        .exit(Exit::Usage)),
    }
}

/// The journal of a Box whose keeper does not run.
pub fn at_rest(
    dir: &Path,
    since: Option<&Since>,
    mut each: impl FnMut(EventView) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let disk = AtRest::new(dir);
    let loaded = disk.load()?;
    let key = loaded.identity.peer();
    let after = after(since, &loaded.config.name, &key.to_string())?;
    let named = |peer| name_of(&loaded.roster, peer);
    let names = names(&disk)?;
    let mut history = History::new(&names, after);
    loop {
        while let Some(file) = history.wants() {
            history.give(read(&disk, &file)?.as_deref());
        }
        match history.next_event() {
            Some(event) => each(event_view::view(&event, &named))?,
            None => break,
        }
    }
    if history.damaged() > 0 {
        text::tell(&format!(
            "{} records of the journal do not read; the keeper tells it as an event when it starts.",
            history.damaged()
        ));
    }
    Ok(())
}

/// What stood when a keeper last wrote it down.
pub fn standing_at_rest(dir: &Path, loaded: &LoadedBox) -> Result<Vec<EventView>, Fault> {
    let disk = AtRest::new(dir);
    let checkpoint = read(&disk, "standing")?;
    let file = |name: &str| read(&disk, name).ok().flatten();
    let names = names(&disk)?;
    let key = loaded.identity.peer();
    let standing = read_standing(key, checkpoint.as_deref(), file, &names);
    let named = |peer| name_of(&loaded.roster, peer);
    Ok(standing
        .iter()
        .filter(|event| event.event_type > EventType::Normal)
        .map(|event| event_view::view(event, &named))
        .collect())
}

fn names(disk: &AtRest) -> Result<Vec<String>, Fault> {
    disk.now(disk.list(JOURNAL_DIR)).map_err(unreadable)
}

fn read(disk: &AtRest, file: &str) -> Result<Option<Vec<u8>>, Fault> {
    disk.now(disk.read_small(&format!("{JOURNAL_DIR}/{file}")))
        .map_err(unreadable)
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn unreadable(error: std::io::Error) -> Fault {
    Fault::new(
        format!("the journal of events cannot be read: {error}"),
        "Nothing was changed.",
        "Run this as root or as the user the keeper runs as, or look at the disk's health.",
    )
}
