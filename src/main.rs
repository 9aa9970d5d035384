//! The front door: reads the command line and hands over.

use std::process::ExitCode;

use clap::Parser;
use reserve::console;

fn main() -> ExitCode {
    let cli = console::cli::Cli::parse();
    match console::run(cli) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(fault) => {
            eprintln!("reserve: {fault}");
            ExitCode::from(fault.exit as u8)
        }
    }
}
