//! How people reach it: the command line, the control socket, and the composition of the rooms into the service.
//!
//! The command line is a process of its own: it may block, read clocks and touch files directly. What runs inside the
//! service is under `service`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a command is the caller's own process, not the ring's thread"
)]

pub mod cli;
pub mod control;
pub mod fault;
pub mod joining;
pub mod service;

mod ask;
mod at_rest;
mod client;
mod config;
mod conflicts;
mod consistency;
mod diff;
mod doctor;
mod drill;
mod entry;
mod event_view;
mod events;
mod forget;
mod interrupt;
mod jobs;
mod ls;
mod memory;
mod names;
mod pages;
mod progress;
mod protectable;
mod recover;
mod remove;
mod report;
mod retrieve;
mod screen;
mod setup;
mod source;
mod store;
mod store_place;
mod text;
mod when;

use cli::{Cli, Command};
use fault::{Exit, Fault};

/// Carries out a command.
pub fn run(cli: Cli) -> Result<Exit, Fault> {
    let dir = std::path::absolute(&cli.dir).map_err(|error| {
        Fault::new(
            format!("{}: {error}", cli.dir.display()),
            "Nothing was changed.",
            "Name the Box's state directory with --dir.",
        )
        .exit(Exit::Usage)
    })?;
    match cli.command {
        Command::Drill(args) => drill::run(&args),
        Command::Init(args) => setup::init(&dir, &args),
        Command::Join(args) => setup::join(&dir, &args),
        Command::Recover(args) => recover::run(&dir, &args),
        Command::Remove(args) => remove::run(&dir, &args),
        Command::Data(args) => setup::data(&dir, args),
        Command::Config(args) => config::run(&dir, args),
        Command::Keeper(args) => service::run(&dir, args),
        Command::Store(cli::Store::New) => store::begin_anew(&dir),
        Command::Invite(print) => ask::invite(&dir, print),
        Command::Snapshot(args) => ask::snapshot(&dir, &args),
        Command::Snapshots(print) => ask::snapshots(&dir, print),
        Command::Forget(args) => forget::run(&dir, &args),
        Command::Conflicts(args) => conflicts::run(&dir, &args),
        Command::Status(print) => ask::status(&dir, print),
        Command::Peers(print) => ask::peers(&dir, print),
        Command::Diff(args) => diff::run(&dir, &args),
        Command::Sweep(args) => ask::sweep(&dir, &args),
        Command::Ls(args) => ls::run(&dir, &args),
        Command::Jobs(args) => jobs::run(&dir, &args),
        Command::Doctor(print) => doctor::run(&dir, print),
        Command::Report(args) => report::run(&dir, &args),
        Command::Completions(args) => pages::completions(&args),
        Command::Man(args) => pages::man(&args),
        Command::Events(args) => events::run(&dir, &args),
        Command::Retrieve(args) => retrieve::run(&dir, &args),
    }
}
