//! What is made from the command line's definition: shell completions and man pages.

use clap::CommandFactory;

use super::cli::{Cli, Completions, Man, Shell};
use super::fault::{Exit, Fault};
use super::text;

/// `reserve completions`
pub fn completions(args: &Completions) -> Result<Exit, Fault> {
    let mut made = Vec::new();
    let mut definition = Cli::command();
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, &mut definition, "reserve", &mut made);
    text::print(String::from_utf8_lossy(&made).trim_end())?;
    Ok(Exit::Done)
}

/// `reserve man`
pub fn man(args: &Man) -> Result<Exit, Fault> {
    clap_mangen::generate_to(Cli::command(), &args.to).map_err(|error| {
        Fault::new(
            format!("{}: {error}", args.to.display()),
            "Pages that were written before are there; nothing else was changed.",
            "Name an existing directory you may write to.",
        )
    })?;
    Ok(Exit::Done)
}
