//! Steps of a run: announced, timed, and summed up at the end. A step that cannot run says why; it never passes in silence.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and found nothing wrong.
    Passed,
    /// It ran, found nothing wrong, and has something to tell.
    PassedWith(String),
    /// It ran and found something wrong.
    Failed(String),
    /// It could not run here.
    Skipped(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::PassedWith(what) => write!(f, "passed: {what}"),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
            Self::Skipped(why) => write!(f, "skipped, because {why}"),
        }
    }
}

/// The steps run so far.
#[derive(Default)]
pub struct Steps {
    done: Vec<(String, Outcome, Duration)>,
}

impl Steps {
    /// Runs a step and goes on, whatever its outcome: one run tells everything that is wrong.
    pub fn run(&mut self, name: &str, step: impl FnOnce() -> Result<Outcome>) {
        println!("--- {name}");
        let start = Instant::now();
        let outcome = step().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        println!("--- {name}: {outcome}");
        self.done.push((name.to_owned(), outcome, start.elapsed()));
    }

    /// Prints one line for each step; true if none failed.
    pub fn finish(&self) -> bool {
        println!();
        for (name, outcome, took) in &self.done {
            println!("{name:<12} {:>7.1} s  {outcome}", took.as_secs_f64());
        }
        let failed =
            |(_, outcome, _): &&(String, Outcome, Duration)| matches!(outcome, Outcome::Failed(_));
        self.done.iter().filter(failed).count() == 0
    }
}

/// Runs a program with its output on this terminal.
pub fn run(command: &mut Command) -> Result<Outcome> {
    let status = command
        .status()
        .with_context(|| format!("{} could not be started", program(command)))?;
    if status.success() {
        Ok(Outcome::Passed)
    } else {
        Ok(Outcome::Failed(format!(
            "{} ended with {status}",
            program(command)
        )))
    }
}

/// Runs a program and returns what it printed; an error if it failed or is not there.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("{} could not be started", program(command)))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} ended with {}: {}",
            program(command),
            output.status,
            message.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program is here and answers `--version`.
pub fn is_here(program: &str) -> bool {
    output(Command::new(program).arg("--version")).is_ok()
}

/// Whether cargo knows a subcommand.
pub fn cargo_has(subcommand: &str) -> bool {
    output(cargo().args([subcommand, "--version"])).is_ok()
}

/// The same cargo that runs this.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The top of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where cargo builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_run_and_a_skipped_one_does_not() {
        let mut steps = Steps::default();
        steps.run("a", || Ok(Outcome::Passed));
        steps.run("b", || Ok(Outcome::Skipped("it is not here".to_owned())));
        assert!(steps.finish());
        steps.run("c", || bail!("broken"));
        assert!(!steps.finish());
        assert_eq!(steps.done[2].1, Outcome::Failed("broken".to_owned()));
    }

    #[test]
    fn the_root_is_where_the_workspace_is() {
        assert!(root().join("Cargo.lock").is_file());
    }

    #[test]
    fn a_program_that_fails_is_a_failed_step() {
        assert!(matches!(
            run(&mut Command::new("false")),
            Ok(Outcome::Failed(_))
        ));
        assert!(run(&mut Command::new("no-such-program")).is_err());
        assert!(!is_here("no-such-program"));
    }
}
