//! Runs many Boxes with many chunks and prints what each phase cost. `cargo xtask sim --scale` starts it.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is no part of the simulated world: it tells how long that took on the machine"
)]

mod counting;

use std::process::ExitCode;
use std::time::Instant;

use sim::scale::{Phase, Size, Spread, memory_max, scale, wire_max};

const USAGE: &str = "usage: scale [--day] [--boxes N] [--chunks N] [--seed N]";
/// The fewest that make two halves with more than one keeper each.
const BOXES_MIN: usize = 6;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((seed, size)) = choice(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("{} Boxes, {} chunks, seed {seed}", size.boxes, size.chunks);
    head();
    let began = Instant::now();
    let ran = scale(seed, size);
    print_memory(&ran.value.phases);
    for wrong in &ran.value.wrong {
        println!("  WRONG: {wrong}");
    }
    let took = began.elapsed().as_secs_f64();
    println!("trace {:?}, {took:.1} s", ran.trace);
    if ran.value.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn choice(words: &[String]) -> Option<(u64, Size)> {
    let mut seed = 1;
    let mut size = Size {
        boxes: 50,
        chunks: 1_000_000,
        heals: true,
        day: false,
        heap: counting::bytes,
        tell: print,
    };
    let (words, day) = match words {
        [first, rest @ ..] if first == "--day" => (rest, true),
        words => (words, false),
    };
    size.day = day;
    for pair in words.chunks(2) {
        let [name, value] = pair else {
            return None;
        };
        match name.as_str() {
            "--seed" => seed = value.parse().ok()?,
            "--boxes" => size.boxes = value.parse().ok()?,
            "--chunks" => size.chunks = value.parse().ok()?,
            _ => return None,
        }
    }
    let fits = (BOXES_MIN..=reserve::terms::limits::MEMBERS_MAX).contains(&size.boxes);
    fits.then_some((seed, size))
}

fn head() {
    println!(
        "{:<9} {:>7}  {:>24} {:>9} {:>9}  {:>7} {:>7} {:>8} {:>8} {:>5} {:>6}",
        "phase",
        "seconds",
        "KiB a Box least/mid/most",
        "KiB all",
        "expected",
        "compar.",
        "quest.",
        "taken",
        "brought",
        "sets",
        "MiB"
    );
}

fn print(phase: &Phase) {
    let Spread {
        least,
        middle,
        most,
    } = phase.wire;
    let spread = format!("{}/{}/{}", least >> 10, middle >> 10, most >> 10);
    println!(
        "{:<9} {:>7}  {spread:>24} {:>9} {:>9}  {:>7} {:>7} {:>8} {:>8} {:>5} {:>6}",
        phase.name,
        phase.took.as_secs(),
        phase.wire_all >> 10,
        wire_max(phase) >> 10,
        phase.compared.comparisons,
        phase.compared.questions,
        phase.compared.taken,
        phase.brought,
        phase.sets.most,
        phase.heap_bytes >> 20
    );
}

/// What a Box took more when it began to run.
fn print_memory(phases: &[Phase]) {
    let named = |name: &str| phases.iter().find(|phase| phase.name == name);
    let (Some(off), Some(on)) = (named("off"), named("start")) else {
        return;
    };
    let grown = on.heap_bytes.saturating_sub(off.heap_bytes) / on.boxes.max(1);
    println!(
        "a Box: {} chunks, roster {} B, {} KiB of memory more when it runs, of which the table {}; {} are expected",
        on.chunks.middle,
        on.roster_bytes,
        grown >> 10,
        on.table_bytes >> 10,
        memory_max(on) >> 10
    );
}
