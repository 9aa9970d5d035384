//! `cargo xtask fuzz`: each target of tests/fuzz for a while, from its committed corpus.
//!
//! What is found new goes to a directory under target/, so that the committed corpus stays small; a crash leaves its input
//! in tests/fuzz/artifacts: put it into the target's corpus, and the ordinary tests keep it found.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::steps::{Outcome, Steps, cargo_has, output, root, target_dir};

/// What to run and for how long.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    seconds: u32,
    targets: Vec<String>,
}

impl Choice {
    /// From the command line; `None` if it makes no sense.
    pub fn parse(arguments: &[&str]) -> Option<Self> {
        let (seconds, targets) = match arguments {
            ["--seconds", seconds, targets @ ..] => (seconds.parse().ok()?, targets),
            targets => (20, targets),
        };
        let sane = targets.iter().all(|name| !name.starts_with('-'));
        (sane && seconds > 0).then(|| Self {
            seconds,
            targets: targets.iter().map(|name| (*name).to_owned()).collect(),
        })
    }
}

/// Runs the targets; true if none found anything.
pub fn run(choice: &Choice) -> Result<bool> {
    let mut steps = Steps::default();
    if let Some(why) = missing() {
        steps.run("fuzz", || Ok(Outcome::Skipped(why)));
        return Ok(steps.finish());
    }
    // The product's pinned versions; cargo adds what only the fuzzer needs.
    fs::copy(
        root().join("Cargo.lock"),
        root().join("tests/fuzz/Cargo.lock"),
    )
    .context("tests/fuzz/Cargo.lock cannot be written")?;
    let targets = if choice.targets.is_empty() {
        all()?
    } else {
        choice.targets.clone()
    };
    for target in targets {
        steps.run(&target, || fuzz(&target, choice.seconds));
    }
    Ok(steps.finish())
}

fn missing() -> Option<String> {
    if output(Command::new("cargo").args(["+nightly", "--version"])).is_err() {
        return Some(
            "the nightly compiler is not installed (rustup toolchain install nightly)".to_owned(),
        );
    }
    (!cargo_has("fuzz"))
        .then(|| "cargo-fuzz is not installed (cargo install cargo-fuzz)".to_owned())
}

/// The targets: one program each.
fn all() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in
        fs::read_dir(root().join("tests/fuzz/fuzz_targets")).context("tests/fuzz/fuzz_targets")?
    {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

fn fuzz(target: &str, seconds: u32) -> Result<Outcome> {
    let found = target_dir().join("fuzz-corpus").join(target);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let seeds = root().join("tests/fuzz/corpus").join(target);
    // `cargo` by name: rustup understands +nightly, the cargo that runs this does not.
    let ran = Command::new("cargo")
        .current_dir(root())
        .env_remove("RUSTUP_TOOLCHAIN")
        .args([
            "+nightly",
            "fuzz",
            "run",
            "--fuzz-dir",
            "tests/fuzz",
            target,
        ])
        .args([&found, &seeds])
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args([
            "-max_len=8192",
            "-timeout=10",
            "-print_final_stats=1",
            "-verbosity=0",
        ])
        .output()
        .context("cargo could not be started")?;
    let told = String::from_utf8_lossy(&ran.stderr);
    if !ran.status.success() {
        eprint!("{told}");
        return Ok(Outcome::Failed(format!("it ended with {}", ran.status)));
    }
    match executions(&told) {
        Some(count) if count > 0 => Ok(Outcome::PassedWith(format!("{count} executions"))),
        Some(_) | None => {
            eprint!("{told}");
            Ok(Outcome::Failed("nothing was executed".to_owned()))
        }
    }
}

/// How many inputs libFuzzer says it tried.
fn executions(told: &str) -> Option<u64> {
    told.lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .and_then(|count| count.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_come_first_and_must_be_a_number() {
        let choice = Choice::parse(&["--seconds", "5", "index"]).expect("it makes sense");
        assert_eq!(
            (choice.seconds, choice.targets),
            (5, vec!["index".to_owned()])
        );
        assert_eq!(Choice::parse(&[]).map(|all| all.seconds), Some(20));
        assert_eq!(Choice::parse(&["--seconds", "many"]), None);
        assert_eq!(Choice::parse(&["--seconds", "0"]), None);
        assert_eq!(Choice::parse(&["--forever"]), None);
    }

    #[test]
    fn executions_are_what_libfuzzer_says() {
        let told =
            "Done 7 runs\nstat::number_of_executed_units: 123456\nstat::new_units_added: 9\n";
        assert_eq!(executions(told), Some(123_456));
        assert_eq!(executions("error: no such target"), None);
    }

    #[test]
    fn the_targets_are_the_programs() {
        assert!(
            all()
                .expect("the directory is there")
                .contains(&"record".to_owned())
        );
    }
}
