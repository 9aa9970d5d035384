//! `reserve remove`: a Box leaves in good order, or is shut out since it is lost.

use std::path::Path;

use super::cli::Remove;
use super::control::{JobOutcome, Removal, RemovedView, Reply, Want};
use super::fault::{Exit, Fault};
use super::recover::still_readable;
use super::{ask, jobs};

/// `reserve remove`
pub fn run(dir: &Path, args: &Remove) -> Result<Exit, Fault> {
    let want = Want::Remove(Removal {
        name: args.name.to_string(),
        lost: args.lost,
        forced: args.even_if_copies_are_lost,
        this_box: args.this_box,
        guests: args.guests,
    });
    let verb = if args.lost {
        "shutting out"
    } else {
        "draining"
    };
    match jobs::begin(dir, want, verb)? {
        Reply::Removed(view) => jobs::told(&JobOutcome::Removed(view), args.print),
        _ => Err(ask::nonsense()),
    }
}

/// A removal's end, for people.
pub fn summary(removed: &RemovedView) -> String {
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
