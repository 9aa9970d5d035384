//! `reserve jobs`, and what is made from the command line's definition: what a person types.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Print;

/// `reserve jobs`
#[derive(Debug, Args)]
pub struct Jobs {
    /// What to do with one of them; without it they are listed.
    #[command(subcommand)]
    pub deed: Option<JobDeed>,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}

/// What to do with a job.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum JobDeed {
    /// End a job that is not done yet; nothing that was protected is touched.
    Cancel {
        /// Its number.
        id: u64,
    },
    /// Wait for a job and show how far it is.
    Follow {
        /// Its number.
        id: u64,
    },
}

/// `reserve completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// For which shell.
    pub shell: Shell,
}

/// A shell whose completions can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash: `reserve completions bash > /usr/share/bash-completion/completions/reserve`
    Bash,
    /// Zsh: `reserve completions zsh > /usr/share/zsh/site-functions/_reserve`
    Zsh,
    /// Fish: `reserve completions fish > /usr/share/fish/vendor_completions.d/reserve.fish`
    Fish,
}

/// `reserve man`
#[derive(Debug, Args)]
pub struct Man {
    /// An existing directory; one page for each command is written there.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// `reserve report`
#[derive(Debug, Args)]
pub struct Report {
    /// Write it to this new file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}
