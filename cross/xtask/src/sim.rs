//! `cargo xtask sim`: simulated weeks of a whole reserve, by seed; past seeds that taught something; named stories.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::steps::{Outcome, cargo, root, run as run_program};

/// Seeds that taught something: run before anything new.
const SEEDS: &str = "tests/sim/seeds.txt";
/// How long new seeds are tried in the checks, in seconds.
const NEW_SEEDS_SECONDS: &str = "60";
/// Hours of each new week in the checks: many short weeks meet more beginnings than few long ones.
const NEW_SEEDS_HOURS: &str = "12";

/// What can be told of how large a run of many Boxes is.
const SCALE: [&str; 3] = ["--boxes", "--chunks", "--seed"];

/// What to run.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// Past seeds, then new ones for a minute.
    Checks,
    /// What `weeks` is told.
    Weeks(Vec<String>),
    /// Mistakes made on purpose, each of which must be caught.
    Canaries,
    /// Stories whose names contain this.
    Story(String),
    /// Many Boxes with many chunks: what `scale` is told.
    Scale(Vec<String>),
}

/// A line of the list of past seeds.
#[derive(Debug, PartialEq, Eq)]
struct Past {
    seed: u64,
    boxes: u64,
    hours: u64,
    taught: String,
}

impl Choice {
    /// From the command line; `None` if it makes no sense.
    pub fn parse(arguments: &[&str]) -> Option<Self> {
        match arguments {
            [] => Some(Self::Checks),
            ["--canaries"] => Some(Self::Canaries),
            ["--story", name] => Some(Self::Story((*name).to_owned())),
            ["--scale", "--day", rest @ ..] => {
                let sizes = pairs(rest, &SCALE)?;
                Some(Self::Scale([vec!["--day".to_owned()], sizes].concat()))
            }
            ["--scale", rest @ ..] => pairs(rest, &SCALE).map(Self::Scale),
            _ => {
                let known = [
                    "--seed",
                    "--seeds",
                    "--hours",
                    "--boxes",
                    "--seconds",
                    "--from",
                ];
                pairs(arguments, &known).map(Self::Weeks)
            }
        }
    }
}

/// Names with values, if all of them are known.
fn pairs(arguments: &[&str], known: &[&str]) -> Option<Vec<String>> {
    let is_known = |pair: &[&str]| pair.len() == 2 && known.contains(&pair[0]);
    let mut pairs = arguments.chunks(2);
    pairs
        .all(is_known)
        .then(|| arguments.iter().map(|word| (*word).to_owned()).collect())
}

/// Runs it; true if all was clean.
pub fn run(choice: &Choice) -> Result<bool> {
    let outcome = match choice {
        Choice::Checks => checks()?,
        Choice::Weeks(arguments) => weeks(arguments)?,
        Choice::Canaries => canaries()?,
        Choice::Scale(arguments) => program("scale", arguments)?,
        Choice::Story(name) => run_program(cargo().args(["test", "--package", "sim", name]))?,
    };
    Ok(outcome == Outcome::Passed)
}

/// That it bites; past seeds; then new ones for a minute.
pub fn checks() -> Result<Outcome> {
    let outcome = canaries()?;
    if outcome != Outcome::Passed {
        return Ok(outcome);
    }
    let text = std::fs::read_to_string(root().join(SEEDS)).context(SEEDS)?;
    for past in past(&text)? {
        println!("seed {} ({})", past.seed, past.taught);
        let (seed, boxes, hours) = (past.seed, past.boxes, past.hours);
        let words = format!("--seed {seed} --boxes {boxes} --hours {hours}");
        let outcome = weeks(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())?;
        if outcome != Outcome::Passed {
            return Ok(outcome);
        }
    }
    let from = new_seed();
    let words = format!("--from {from} --seconds {NEW_SEEDS_SECONDS} --hours {NEW_SEEDS_HOURS}");
    weeks(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())
}

/// Where new seeds begin: other ones for every state of the repository, and the same for everybody who checks that state, so that
/// what was found can be found again. Without git it is one place for all.
fn new_seed() -> u64 {
    let tree = Command::new("git")
        .current_dir(root())
        .args(["rev-parse", "HEAD^{tree}"])
        .env_remove("GIT_DIR")
        .output();
    let name = tree.map(|tree| String::from_utf8_lossy(&tree.stdout).into_owned());
    seed_of(&name.unwrap_or_default())
}

fn seed_of(tree: &str) -> u64 {
    let digits = tree.get(..8).unwrap_or("0");
    u64::from_str_radix(digits, 16).unwrap_or(0) * 100 + 1_000
}

fn canaries() -> Result<Outcome> {
    weeks(&["--canaries".to_owned()])
}

fn weeks(arguments: &[String]) -> Result<Outcome> {
    program("weeks", arguments)
}

/// Runs one of the programs of the simulated world.
fn program(name: &str, arguments: &[String]) -> Result<Outcome> {
    let program = [
        "run",
        "--quiet",
        "--profile",
        "sim",
        "--package",
        "sim",
        "--features",
        "canaries",
        "--bin",
        name,
        "--",
    ];
    run_program(cargo().args(program).args(arguments))
}

fn past(text: &str) -> Result<Vec<Past>> {
    let lines = text.lines().map(str::trim);
    let told = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    told.map(|line| {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let [seed, boxes, hours, taught] = words.as_slice() else {
            bail!("{SEEDS}: not a seed, Boxes, hours and what it taught: {line}");
        };
        Ok(Past {
            seed: seed.parse()?,
            boxes: boxes.parse()?,
            hours: hours.parse()?,
            taught: (*taught).to_owned(),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_seeds_are_the_trees_own() {
        assert_eq!(seed_of("0000000affff"), 2_000);
        assert_ne!(seed_of("0123456789"), seed_of("1123456789"));
        assert_eq!(seed_of(""), 1_000, "without git");
    }

    #[test]
    fn weeks_stories_and_the_checks_are_told_apart() {
        assert_eq!(Choice::parse(&[]), Some(Choice::Checks));
        let story = Choice::parse(&["--story", "flood"]);
        assert_eq!(story, Some(Choice::Story("flood".to_owned())));
        assert!(matches!(
            Choice::parse(&["--seed", "7", "--hours", "3"]),
            Some(Choice::Weeks(_))
        ));
        assert_eq!(Choice::parse(&["--canaries"]), Some(Choice::Canaries));
        let scale = Choice::parse(&["--scale", "--boxes", "8"]);
        let told = ["--boxes", "8"].map(str::to_owned).to_vec();
        assert_eq!(scale, Some(Choice::Scale(told)));
        assert_eq!(Choice::parse(&["--scale"]), Some(Choice::Scale(Vec::new())));
        assert_eq!(Choice::parse(&["--scale", "--hours", "3"]), None);
        assert_eq!(Choice::parse(&["--seed"]), None);
        assert_eq!(Choice::parse(&["--sed", "7"]), None);
    }

    #[test]
    fn the_list_of_past_seeds_can_be_read() -> Result<()> {
        let text = std::fs::read_to_string(root().join(SEEDS))?;
        past(&text)?;
        let line = past("# why\n\n7 5 168 that a Box sleeps\n")?;
        assert_eq!(line.len(), 1);
        assert_eq!(
            (line[0].seed, line[0].taught.as_str()),
            (7, "that a Box sleeps")
        );
        assert!(past("7 5").is_err());
        Ok(())
    }
}
