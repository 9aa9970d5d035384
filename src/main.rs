//! The front door: reads the command line and hands over.

use std::process::ExitCode;

use clap::Parser;
use reserve::console::{self, fault};

fn main() -> ExitCode {
    let wants_json = fault::wants_json(std::env::args_os());
    let cli = match console::cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if wants_json && error.use_stderr() => {
            return end(&fault::of_usage(&error.to_string()), true);
        }
        Err(error) => error.exit(),
    };
    match console::run(cli) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(fault) => end(&fault, wants_json),
    }
}

fn end(fault: &fault::Fault, as_json: bool) -> ExitCode {
    if as_json {
        eprintln!("{}", fault.to_json());
    } else {
        eprintln!("reserve: {fault}");
    }
    ExitCode::from(fault.exit as u8)
}
