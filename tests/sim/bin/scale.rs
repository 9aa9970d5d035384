//! Runs many Boxes with many chunks and prints what each phase cost. `cargo xtask sim --scale` starts it.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is no part of the simulated world: it tells how long that took on the machine"
)]

use std::process::ExitCode;
use std::time::Instant;

use sim::scale::{Size, scale};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut seed = 1;
    let mut size = Size {
        boxes: 50,
        chunks: 1_000_000,
        heals: true,
        heap: || 0,
    };
    for pair in words.chunks(2) {
        match (pair[0].as_str(), pair[1].parse::<u64>().unwrap()) {
            ("--seed", n) => seed = n,
            ("--boxes", n) => size.boxes = n as usize,
            ("--chunks", n) => size.chunks = n as u32,
            _ => return ExitCode::from(2),
        }
    }
    let began = Instant::now();
    let ran = scale(seed, size);
    for phase in &ran.value.phases {
        println!("{phase:?}");
    }
    for wrong in &ran.value.wrong {
        println!("    {wrong}");
    }
    println!("trace {:?}, {:.1} s", ran.trace, began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
