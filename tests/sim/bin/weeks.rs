//! Runs simulated weeks: one seed, a range of them, or as many new ones as fit into some seconds. `cargo xtask sim` starts it.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is no part of the simulated world: it tells how long that took on the machine"
)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use sim::{Controls, Mistake, Plan, Weathered, never, weather};

const USAGE: &str = "\
usage: weeks [--seed N | --seeds A..B | --seconds S --from N] [--hours H] [--boxes N] [--quiet] | --canaries [SEEDS]";

/// A mistake must be caught within so many short lives.
const CANARY_SEEDS_MAX: u64 = 200;
/// From so many simulated hours on, something that never happened is a mistake of the simulation: what is rarest comes once in fifty.
const HOURS_FOR_REACH: u64 = 1000;

struct Choice {
    seeds: std::ops::Range<u64>,
    seconds: Option<u64>,
    plan: Plan,
    quiet: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--canaries", most)) = arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
        let most = most
            .first()
            .map_or(Ok(CANARY_SEEDS_MAX), |most| most.parse());
        let Ok(most) = most else {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        };
        return canaries(most);
    }
    let Some(choice) = choice(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let start = Instant::now();
    let mut counts = BTreeMap::<String, u64>::new();
    let (mut clean, mut dirty) = (0u64, Vec::new());
    for seed in choice.seeds.clone() {
        if choice
            .seconds
            .is_some_and(|most| start.elapsed().as_secs() >= most)
        {
            break;
        }
        let began = Instant::now();
        let Weathered {
            wrong,
            counts: of_seed,
            trace,
        } = lived(seed, choice.plan);
        for (what, times) in of_seed {
            *counts.entry(what).or_default() += times;
        }
        let took = began.elapsed().as_secs_f64();
        if wrong.is_empty() {
            clean += 1;
            if !choice.quiet {
                println!("seed {seed}: clean, trace {trace:?}, {took:.1} s");
            }
        } else {
            println!("seed {seed}: NOT clean, trace {trace:?}, {took:.1} s");
            for what in &wrong {
                println!("    {what}");
            }
            dirty.push(seed);
        }
    }
    println!("\nhow often:");
    for (what, times) in &counts {
        println!("  {times:>8}  {what}");
    }
    let seconds = start.elapsed().as_secs();
    println!(
        "{clean} seeds of {} h were clean, {} were not, in {seconds} s",
        choice.plan.hours,
        dirty.len()
    );
    let missing = never(&counts);
    if !missing.is_empty() {
        println!(
            "never happened, so nothing was proven about it: {}",
            missing.join(", ")
        );
    }
    // With one of two Boxes bad nothing is asked back before the end.
    let has_spare = choice.plan.boxes > 2;
    if has_spare && clean * choice.plan.hours >= HOURS_FOR_REACH && !missing.is_empty() {
        return ExitCode::FAILURE;
    }
    if dirty.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Makes every mistake this build can make, until it is caught.
fn canaries(seeds_max: u64) -> ExitCode {
    let mut controls = Controls::default();
    let mut missed = 0;
    for mistake in Mistake::all() {
        let began = Instant::now();
        let caught = mistake.caught(0..seeds_max, &mut controls);
        let took = began.elapsed().as_secs_f64();
        match caught {
            Some((seed, told)) => {
                println!("{mistake:?}: caught by seed {seed}, {took:.1} s: {told}")
            }
            None => {
                println!("{mistake:?}: NOT caught in {seeds_max} seeds, {took:.1} s");
                missed += 1;
            }
        }
    }
    if cfg!(not(feature = "canaries")) {
        println!(
            "this build has no mistakes of the product itself: build it with --features canaries"
        );
        missed += 1;
    }
    if missed > 0 {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn lived(seed: u64, plan: Plan) -> Weathered {
    let week = AssertUnwindSafe(|| weather(seed, plan));
    catch_unwind(week).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Weathered {
            wrong: vec![format!("panicked: {}", text.unwrap_or_default())],
            ..Weathered::default()
        }
    })
}

fn choice(arguments: &[String]) -> Option<Choice> {
    let mut choice = Choice {
        seeds: 0..1,
        seconds: None,
        plan: Plan::default(),
        quiet: false,
    };
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        if word == "--quiet" {
            choice.quiet = true;
            continue;
        }
        let value = rest.next()?;
        match word.as_str() {
            "--seed" => {
                let seed = value.parse().ok()?;
                choice.seeds = seed..seed + 1;
            }
            "--seeds" => {
                let (from, to) = value.split_once("..")?;
                choice.seeds = from.parse().ok()?..to.parse().ok()?;
            }
            "--from" => choice.seeds = value.parse().ok()?..u64::MAX,
            "--seconds" => choice.seconds = Some(value.parse().ok()?),
            "--hours" => choice.plan.hours = value.parse().ok()?,
            "--boxes" => {
                choice.plan.boxes = value.parse().ok().filter(|boxes| (2..6).contains(boxes))?
            }
            _ => return None,
        }
    }
    Some(choice)
}
