//! What a developer runs: `cargo xtask ci`, `cross`, `fuzz`, `bench`. One small file or folder for each; this one only chooses.

#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a developer's tool runs outside the house: it starts programs and reads their times and sizes"
)]

use std::process::ExitCode;

mod bench;
mod ci;
mod cross;
mod fuzz;
mod sim;
mod steps;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  ci [--only STEP,... | --skip STEP,...]   all checks: fmt, clippy, test, corpus, sim, bench, doc, deny, advisories
  cross                                    the release program for a Box (aarch64, one static file), with its size
  fuzz [--seconds N] [TARGET ...]          every fuzz target, or those named, N seconds each (default 20; needs nightly)
  sim [--seed N | --seeds A..B] [--hours H] [--boxes N] | [--story NAME] | [--canaries]
                                           simulated weeks (without arguments: past seeds, then a minute of new ones)
  sim --scale [--day] [--boxes N] [--chunks N] [--seed N]
                                           fifty Boxes with a million chunks through a partition: what that costs
  bench [--quick] [--help]                 the table of `reserve` beside other programs of its kind, on this machine";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["ci", rest @ ..] => ci::Choice::parse(rest).map(|choice| ci::run(&choice)),
        ["cross"] => Some(cross::run()),
        ["fuzz", rest @ ..] => fuzz::Choice::parse(rest).map(|choice| fuzz::run(&choice)),
        ["sim", rest @ ..] => sim::Choice::parse(rest).map(|choice| sim::run(&choice)),
        ["bench", rest @ ..] => Some(bench::run(rest)),
        [bench::WRAPPER, file, line @ ..] => return bench::wrap(file, line),
        _ => None,
    };
    match outcome {
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(error)) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
