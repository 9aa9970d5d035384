//! The command line's definition: what a person types. Nothing here acts.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

mod conflicts;
mod events;
mod forget;
mod jobs;

pub use conflicts::Conflicts;
pub use events::{Events, Since};
pub use forget::Forget;
pub use jobs::{Completions, JobDeed, Jobs, Man, Report, Shell};

use crate::terms::limits::PORT_DEFAULT;

/// Keeps copies of what is on each of your Boxes on your other Boxes.
#[derive(Debug, Parser)]
#[command(
    name = "reserve",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// The Box's state directory.
    #[arg(
        long,
        global = true,
        env = "RESERVE_DIR",
        default_value = "/var/lib/reserve",
        value_name = "DIR"
    )]
    pub dir: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Rehearse a flood with real keeper processes on this machine: protect PATH, destroy the author, retrieve on a new Box, compare.
    Drill(Drill),
    /// Make this Box the first of a new reserve; shows the recovery words once.
    Init(Init),
    /// Print a one-time ticket that takes one new Box into the reserve.
    Invite(Print),
    /// Take this (new) Box into a reserve with a ticket.
    Join(Join),
    /// Come back with the 24 recovery words through one Box that survived, when no other can invite.
    Recover(Recover),
    /// Take a Box out of the reserve: drained first, or shut out at once since it is lost.
    Remove(Remove),
    /// Add, remove or list the data sets this Box protects.
    #[command(subcommand)]
    Data(Data),
    /// Read, change and check the configuration of this Box and the one all Boxes share.
    #[command(subcommand)]
    Config(Config),
    /// Run the service itself, in the foreground.
    Keeper(Keeper),
    /// What this Box keeps for the others.
    #[command(subcommand)]
    Store(Store),
    /// Take a snapshot of this Box's data sets now.
    Snapshot(Snapshot),
    /// List what can be retrieved, newest first, of every author.
    Snapshots(Print),
    /// Have snapshots of this Box leave history, so that their space comes back; says what would leave unless told --yes.
    ///
    /// Keepers let go what no snapshot needs any more 30 days of their running time later (`release_delay_days`); until then everything
    /// can be retrieved, and --undo takes it back. Exit status 3 when a keeper could not be told yet.
    Forget(Forget),
    /// Snapshots of one Box that bear one number: what each holds, and which of them stands. Keepers keep all of them.
    Conflicts(Conflicts),
    /// Look into a snapshot: a line for each thing, like `ls -l`. Exit status 4 when a part of its index cannot be had.
    Ls(Ls),
    /// Compare two snapshots, or a snapshot with files on disk: what was added (+), removed (-), changed (~) or renamed (>).
    ///
    /// The exit status is 0 whether there are differences or not, and 4 when something cannot be compared (?).
    Diff(Diff),
    /// Get a snapshot's files back.
    ///
    /// What cannot be had is listed by path and the rest comes back; the exit status is 4 then. Owners and rights that you may not
    /// set, and files that were there and stayed, are listed too; the exit status is 0.
    Retrieve(Retrieve),
    /// Are my files safe now, how many copies, how old: one screen.
    Status(Print),
    /// What happened, oldest first.
    Events(Events),
    /// Long work of the keeper: list it, wait for it, end it.
    Jobs(Jobs),
    /// Look at this machine and this Box: kernel, memory, disks, keys, ports, the other Boxes, and what to do.
    Doctor(Print),
    /// What support needs to know, as JSON: figures and codes, without names, paths, addresses or keys.
    Report(Report),
    /// Print what makes a shell complete this command.
    Completions(Completions),
    /// Write the manual pages.
    #[command(hide = true)]
    Man(Man),
    /// The Boxes of this reserve and whether they can be reached.
    Peers(Print),
    /// Read everything this Box keeps for the others again, and fetch anew what is damaged. It is done by itself every 30 days.
    ///
    /// Exit status 4 when something is damaged and no other Box has it whole.
    Sweep(Sweep),
}

/// How to print.
#[derive(Debug, Clone, Copy, Args)]
pub struct Print {
    /// Print JSON for programs instead of text for people.
    #[arg(long)]
    pub json: bool,
}

/// `reserve store`
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Store {
    /// Begin a new, empty store: its disk was replaced, or is lost for good. Nothing is done unless the store is gone.
    New,
}

/// `reserve sweep`
#[derive(Debug, Args)]
pub struct Sweep {
    /// Read now, and wait for the end.
    #[arg(long, required = true)]
    pub now: bool,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}

/// `reserve drill`
#[derive(Debug, Args)]
pub struct Drill {
    /// What to protect (a file or a directory). It is only read. Without it a small mixed corpus is made.
    pub path: Option<PathBuf>,
    /// An existing directory with room, in which the drill makes one of its own and removes it at the end. Default: TMPDIR or /var/tmp.
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}

/// `NAME=PATH`
#[derive(Debug, Clone)]
pub struct NamedPath {
    /// The data set's name.
    pub name: SmolStr,
    /// Where it is.
    pub path: PathBuf,
}

fn named_path(text: &str) -> Result<NamedPath, String> {
    let (name, path) = text
        .split_once('=')
        .ok_or("expected NAME=PATH, for example photos=/srv/photos")?;
    if !crate::format::roster::name_is_legal(name) {
        return Err(LEGAL_NAMES.into());
    }
    if path.is_empty() {
        return Err("the path is empty".into());
    }
    Ok(NamedPath {
        name: name.into(),
        path: path.into(),
    })
}

/// An address; the service's port if none is said.
fn address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = text.parse().ok();
    let without = || {
        bare.parse()
            .ok()
            .map(|ip| SocketAddr::new(ip, PORT_DEFAULT))
    };
    with_port
        .or_else(without)
        .ok_or_else(|| "expected an address, for example 192.168.1.20 or 192.168.1.20:7717".into())
}

const LEGAL_NAMES: &str =
    "a name has 1 to 63 letters, digits, '-', '_' or '.', and does not start with '-' or '.'";

fn legal_name(text: &str) -> Result<SmolStr, String> {
    if crate::format::roster::name_is_legal(text) {
        Ok(text.into())
    } else {
        Err(LEGAL_NAMES.into())
    }
}

/// `reserve init`
#[derive(Debug, Args)]
pub struct Init {
    /// What to call this Box.
    #[arg(long, value_parser = legal_name, required_unless_present = "from_file")]
    pub name: Option<SmolStr>,
    /// What to protect; may be given several times.
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    pub data: Vec<NamedPath>,
    /// Where this Box stands; copies at one site share its fate. Default: the Box's name.
    #[arg(long, value_parser = legal_name)]
    pub site: Option<SmolStr>,
    /// Write the recovery words to this (new) file instead of the terminal. Where there is no terminal it must be given.
    #[arg(long, value_name = "FILE")]
    pub sheet: Option<PathBuf>,
    /// Take everything from this file (TOML), for an unattended first boot. May be run again without harm.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "data", "site", "sheet"])]
    pub from_file: Option<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}

/// `reserve join`
#[derive(Debug, Args)]
pub struct Join {
    /// What to call this Box.
    #[arg(long, value_parser = legal_name, required_unless_present = "from_file")]
    pub name: Option<SmolStr>,
    /// What to protect; may be given several times.
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    pub data: Vec<NamedPath>,
    /// Where this Box stands; copies at one site share its fate. Default: the Box's name.
    #[arg(long, value_parser = legal_name)]
    pub site: Option<SmolStr>,
    /// Continue the history of this removed Box: its snapshots go on under this one. Nothing is sent again.
    #[arg(long, value_name = "NAME")]
    pub replaces: Option<SmolStr>,
    /// The ticket `reserve invite` printed on a Box of the reserve; `-` reads it from standard input.
    #[arg(required_unless_present = "from_file")]
    pub ticket: Option<String>,
    /// Take everything from this file (TOML), for an unattended first boot. May be run again without harm.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "data", "site", "replaces", "ticket"])]
    pub from_file: Option<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}

/// The full words where something would be lost for good.
pub const FULL_WORDS: &str = "--even-if-copies-are-lost";

/// `reserve recover`
#[derive(Debug, Args)]
pub struct Recover {
    /// What to call this Box.
    #[arg(long, value_parser = legal_name, required_unless_present = "from_file")]
    pub name: Option<SmolStr>,
    /// Where the surviving Box listens; without a port, 7717.
    #[arg(long, value_name = "ADDR", value_parser = address, required_unless_present = "from_file")]
    pub from: Option<SocketAddr>,
    /// Read the words from this file, as `init --sheet` wrote it. Default: they are asked for.
    #[arg(long, value_name = "FILE")]
    pub words_file: Option<PathBuf>,
    /// A Box somebody else may have: shut out for ever, whatever it said of others; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub lost: Vec<SmolStr>,
    /// Shut out a lost Box even where it has the last good copy of something.
    #[arg(long)]
    pub even_if_copies_are_lost: bool,
    /// Continue the history of this removed or lost Box: its snapshots go on under this one. Nothing is sent again.
    #[arg(long, value_name = "NAME")]
    pub replaces: Option<SmolStr>,
    /// What to protect; may be given several times.
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    pub data: Vec<NamedPath>,
    /// Where this Box stands; copies at one site share its fate. Default: the Box's name.
    #[arg(long, value_parser = legal_name)]
    pub site: Option<SmolStr>,
    /// Take everything from this file (TOML), for an unattended first boot. May be run again without harm.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "data", "site", "replaces", "from", "words_file", "lost"])]
    pub from_file: Option<PathBuf>,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}

/// `reserve remove`
#[derive(Debug, Args)]
pub struct Remove {
    /// Which Box.
    pub name: SmolStr,
    /// Shut it out at once: somebody else may have it. A new key epoch begins.
    #[arg(long)]
    pub lost: bool,
    /// Go on where it would take away the last good copy of something, or leave fewer copies than the minimum.
    #[arg(long)]
    pub even_if_copies_are_lost: bool,
    /// What becomes of the Boxes that came in by a lost Box's word: whoever has it may have brought in one of their own.
    #[arg(long, requires = "lost")]
    pub guests: Option<Guests>,
    /// Go on where the Box is this one: it leaves for ever.
    #[arg(long, conflicts_with = "lost")]
    pub this_box: bool,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}

/// What becomes of the Boxes a lost Box brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guests {
    /// All of them are this reserve's: they stay.
    Keep,
    /// They are shut out too.
    Remove,
}

/// `reserve config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print one setting, or all with where they come from (local, shared, default) and what they count.
    Get {
        /// Which; all if none is named.
        key: Option<String>,
        /// How to print.
        #[command(flatten)]
        print: Print,
    },
    /// Change a setting all Boxes share; "default" takes back what was said. It reaches the other Boxes by itself.
    Set {
        /// Which.
        key: String,
        /// The new value.
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// How to print.
        #[command(flatten)]
        print: Print,
    },
    /// Check `box.toml` without using it.
    Check {
        /// Another file to check as if it were this Box's `box.toml`.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// `reserve data`
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Protect a path under a name.
    Add {
        /// The name and the path.
        #[arg(value_name = "NAME=PATH", value_parser = named_path)]
        data: NamedPath,
    },
    /// Protect it no longer; its snapshots stay.
    Remove {
        /// The name.
        name: SmolStr,
    },
    /// What this Box protects.
    List(Print),
}

/// `reserve keeper`
#[derive(Debug, Args)]
pub struct Keeper {
    /// Where to wait for the other Boxes; port 0 takes any free one.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Where the others reach this Box, if that differs; may be given several times.
    #[arg(long, value_name = "ADDR")]
    pub advertise: Vec<SocketAddr>,
    /// End when the process that started this one ends.
    #[arg(long, hide = true)]
    pub end_with_parent: bool,
}

/// `reserve snapshot`
#[derive(Debug, Args)]
pub struct Snapshot {
    /// Return when the snapshot is protected.
    #[arg(long)]
    pub wait: bool,
    /// Accept that much is gone or rewritten since the last snapshot, so that `latest` means the new one.
    #[arg(long)]
    pub accept_loss: bool,
    /// Begin even if it looks as if the keepers had no room for what is new.
    #[arg(long)]
    pub try_anyway: bool,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}

/// `reserve ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// Whose files: a Box's name. Default: this Box's own, or the only author there is.
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,
    /// Which snapshot: `latest`, a number, the start of an ID from `reserve snapshots`, or a day or time like `2026-11-20` or
    /// `2026-11-20T14:00` (local time; the newest taken until then).
    #[arg(long, value_name = "ID", default_value = "latest")]
    pub snapshot: String,
    /// A file, or a directory to list. Default: the top.
    pub path: Option<std::ffi::OsString>,
    /// All that is below it too.
    #[arg(long, short = 'r')]
    pub recursive: bool,
    /// How to print. JSON is one document a line; a path that is no plain UTF-8 comes with its bytes in `path_hex`.
    #[command(flatten)]
    pub print: Print,
}

/// `reserve diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// Whose files: a Box's name. Default: this Box's own, or the only author there is.
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,
    /// The older snapshot: `latest`, a number, the start of an ID, or a day or time.
    #[arg(value_name = "ID")]
    pub first: String,
    /// The newer one.
    #[arg(
        value_name = "ID",
        conflicts_with = "with",
        required_unless_present = "with"
    )]
    pub second: Option<String>,
    /// Compare with files on disk: a directory with what `retrieve` would put into it.
    #[arg(long, value_name = "DIR")]
    pub with: Option<PathBuf>,
    /// Read files too whose length and time are the same; others are read where their time alone differs.
    #[arg(long, requires = "with")]
    pub contents: bool,
    /// How to print. JSON is one document a line, a summary last.
    #[command(flatten)]
    pub print: Print,
}

/// `reserve retrieve`
#[derive(Debug, Args)]
pub struct Retrieve {
    /// Whose files: a Box's name. Default: this Box's own, or the only author there is.
    #[arg(long, value_name = "NAME")]
    pub author: Option<String>,
    /// Which snapshot: `latest`, a number, the start of an ID from `reserve snapshots`, or a day or time like `2026-11-20` or
    /// `2026-11-20T14:00` (local time; the newest taken until then).
    #[arg(long, value_name = "ID", default_value = "latest")]
    pub snapshot: String,
    /// Only this path inside the snapshot (with what is below it); may be given several times.
    #[arg(long, value_name = "PATH")]
    pub path: Vec<std::ffi::OsString>,
    /// Where to put the files: a new or empty directory.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// The directory may have things in it. They stay as they are, also where the snapshot has something of the same name.
    #[arg(long)]
    pub into_nonempty: bool,
    /// Like --into-nonempty, but files of the same name are replaced.
    #[arg(long)]
    pub overwrite: bool,
    /// Begin also when there seems to be too little room (where a file system compresses, less may be enough).
    #[arg(long)]
    pub try_anyway: bool,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_data_set_needs_a_legal_name_and_a_path() {
        assert!(named_path("photos=/srv/photos").is_ok_and(|data| data.name == "photos"));
        for bad in ["photos", "=x", "a b=/x", "photos="] {
            assert!(named_path(bad).is_err(), "{bad}");
        }
    }
}
