//! `reserve remove`: a Box leaves in good order, or is shut out since it is lost.

use std::path::Path;

use super::cli::Remove;
use super::client::Client;
use super::control::{LeavingView, Removal, RemovedView, Reply, Want};
use super::fault::{Exit, Fault};
use super::progress::Progress;
use super::recover::still_readable;
use super::{interrupt, text};

/// `reserve remove`
pub fn run(dir: &Path, args: &Remove) -> Result<Exit, Fault> {
    let want = Want::Remove(Removal {
        name: args.name.to_string(),
        lost: args.lost,
        forced: args.even_if_copies_are_lost,
        this_box: args.this_box,
        guests: args.guests,
    });
    let mut following = Client::call_patiently(dir, &want).map_err(|no| no.fault(dir))?;
    interrupt::says(format!(
        "It goes on without this command.\n  `reserve remove {}` again shows how far it is.",
        args.name
    ));
    let mut bar = Progress::begin(
        if args.lost {
            "shutting out"
        } else {
            "draining"
        },
        None,
    );
    let end = loop {
        match following.reply() {
            Ok(Reply::Leaving(now)) => bar.at(0, now.chunks, &how_far(&now)),
            Ok(Reply::Removed(view)) => break Ok(view),
            Ok(_) => break Err(super::ask::nonsense()),
            Err(fault) => break Err(fault),
        }
    };
    bar.end();
    let removed = end?;
    if args.print.json {
        text::print_json(&removed)?;
    } else {
        text::print(&summary(&removed))?;
    }
    Ok(Exit::Done)
}

fn how_far(now: &LeavingView) -> String {
    if now.author.is_empty() {
        return now.phase.clone();
    }
    format!(
        "{}: snapshot {} of {} at {}",
        now.phase, now.number, now.author, now.keeper
    )
}

fn summary(removed: &RemovedView) -> String {
    if removed.lost {
        let out = [&[removed.name.clone()][..], &removed.also].concat();
        let out = out.join(" and ");
        if !removed.epoch_begun {
            return format!(
                "{out}: shut out for ever, no Box speaks with it. But there have been as many key epochs as there can be: no new one began, so\n  \
                 whoever has it also knows the keys of what is taken from now on. Begin a new reserve on the Boxes you have."
            );
        }
        return format!(
            "{}\n  A new key epoch began. Copies are made again on the Boxes that remain: `reserve status` shows how far.\n  \
             To continue its history on a new Box: `reserve invite` here, `reserve join --replaces {}` there.",
            still_readable(&out),
            removed.name
        );
    }
    format!(
        "{} has left: everything it kept or took is on the Boxes that remain ({} chunks confirmed). Its snapshots stay retrievable.\n  \
         Its state directory can be deleted. It still has the keys: if it goes to somebody else, delete it before; if it is stolen, `reserve remove {} --lost`.",
        removed.name, removed.chunks, removed.name
    )
}
