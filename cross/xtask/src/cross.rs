//! `cargo xtask cross`: the program as a Box runs it: aarch64, GNU libc, one static file.
//!
//! Flags and compilers stand in .cargo/config.toml, so that a plain `cargo build --target` gives the same file.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::steps::{Outcome, Steps, cargo, is_here, output, run as run_program, target_dir};

const TARGET: &str = "aarch64-unknown-linux-gnu";
const COMPILER: &str = "aarch64-linux-gnu-gcc";
const PACKAGES: [&str; 2] = ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"];

/// Builds and measures; true unless something that could be built was not, or is not static.
pub fn run() -> Result<bool> {
    let mut steps = Steps::default();
    steps.run("cross", || match missing() {
        Some(why) => Ok(Outcome::Skipped(why)),
        None => build(),
    });
    Ok(steps.finish())
}

/// What is needed and can neither be found nor be had.
fn missing() -> Option<String> {
    if !has_target()
        && let Err(error) = output(Command::new("rustup").args(["target", "add", TARGET]))
    {
        return Some(format!(
            "the Rust target {TARGET} cannot be installed: {error:#}"
        ));
    }
    if is_here(COMPILER) {
        return None;
    }
    let by_hand = format!(
        "{COMPILER} is missing (apt-get install {})",
        PACKAGES.join(" ")
    );
    if !is_root() {
        return Some(by_hand);
    }
    println!("installing {}", PACKAGES.join(" "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let installed = output(apt().args(["update", "-qq"])).and_then(|_| {
        output(
            apt()
                .args(["install", "-y", "-qq", "--no-install-recommends"])
                .args(PACKAGES),
        )
    });
    match installed {
        Ok(_) if is_here(COMPILER) => None,
        Ok(_) => Some(by_hand),
        Err(error) => Some(format!("{by_hand}, and it cannot be installed: {error:#}")),
    }
}

/// Whether the standard library for the target is here, with or without rustup.
fn has_target() -> bool {
    output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))
        .is_ok_and(|dir| Path::new(dir.trim()).is_dir())
}

fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn build() -> Result<Outcome> {
    let built = run_program(cargo().args([
        "build",
        "--profile",
        "box",
        "--package",
        "reserve",
        "--bin",
        "reserve",
        "--target",
        TARGET,
    ]))?;
    if built != Outcome::Passed {
        return Ok(built);
    }
    let program = target_dir().join(TARGET).join("box/reserve");
    let bytes = fs::read(&program).with_context(|| program.display().to_string())?;
    if let Err(why) = check_static(&bytes) {
        return Ok(Outcome::Failed(format!("the program {why}")));
    }
    println!("{TARGET}: static, {}", mebibytes(bytes.len() as u64));
    let stripped = program.with_extension("stripped");
    let strip = COMPILER.replace("gcc", "strip");
    match output(Command::new(strip).arg("-o").arg(&stripped).arg(&program)) {
        Ok(_) => println!("stripped: {}", mebibytes(fs::metadata(&stripped)?.len())),
        Err(error) => println!("stripped: not measured, because {error:#}"),
    }
    Ok(Outcome::Passed)
}

fn mebibytes(bytes: u64) -> String {
    let hundredths = bytes * 100 / (1 << 20);
    format!("{}.{:02} MiB", hundredths / 100, hundredths % 100)
}

/// Whether an ELF file is one for a Box that asks for no interpreter and no shared library.
fn check_static(bytes: &[u8]) -> Result<()> {
    const MACHINE_AARCH64: u64 = 183;
    const SEGMENT_INTERPRETER: u64 = 3;
    let number = |at: usize, len: usize| -> Result<u64> {
        let field = bytes.get(at..at + len).context("is cut short")?;
        Ok(field
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if bytes.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!("is no 64-bit little-endian ELF file");
    }
    if number(18, 2)? != MACHINE_AARCH64 {
        bail!("is built for another processor");
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for place in 0..count {
        let at = usize::try_from(table + place * size).context("has an impossible header table")?;
        if number(at, 4)? == SEGMENT_INTERPRETER {
            bail!("asks for an interpreter: it is linked dynamically");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header with one program header of a type.
    fn elf(machine: u8, segment: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = machine;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64] = segment;
        bytes
    }

    #[test]
    fn only_a_static_file_for_a_box_passes() {
        assert!(check_static(&elf(183, 1)).is_ok());
        assert!(
            check_static(&elf(183, 3)).is_err(),
            "it asks for an interpreter"
        );
        assert!(check_static(&elf(62, 1)).is_err(), "another processor");
        assert!(
            check_static(&elf(183, 1)[..80]).is_ok() && check_static(&elf(183, 1)[..64]).is_err()
        );
        assert!(check_static(b"#!/bin/sh\n").is_err());
    }

    #[test]
    fn sizes_are_told_in_mebibytes() {
        assert_eq!(mebibytes(1_600_000), "1.52 MiB");
    }
}
