//! `cargo xtask sim`: simulated weeks of a whole reserve, by seed; past seeds that taught something; named stories.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::steps::{Outcome, cargo, root, run as run_program};

/// Seeds that taught something: run before anything new.
const SEEDS: &str = "tests/sim/seeds.txt";
/// How long new seeds are tried in the checks, in seconds.
const NEW_SEEDS_SECONDS: &str = "60";
/// Hours of each new week in the checks: many short weeks meet more beginnings than few long ones.
const NEW_SEEDS_HOURS: &str = "48";

/// What to run.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// Past seeds, then new ones for a minute.
    Checks,
    /// What `weeks` is told.
    Weeks(Vec<String>),
    /// Stories whose names contain this.
    Story(String),
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
            ["--story", name] => Some(Self::Story((*name).to_owned())),
            _ => {
                let pairs = arguments.chunks(2);
                let known = [
                    "--seed",
                    "--seeds",
                    "--hours",
                    "--boxes",
                    "--seconds",
                    "--from",
                ];
                let is_known = |pair: &[&str]| pair.len() == 2 && known.contains(&pair[0]);
                pairs
                    .into_iter()
                    .all(is_known)
                    .then(|| Self::Weeks(arguments.iter().map(|word| (*word).to_owned()).collect()))
            }
        }
    }
}

/// Runs it; true if all was clean.
pub fn run(choice: &Choice) -> Result<bool> {
    let outcome = match choice {
        Choice::Checks => checks()?,
        Choice::Weeks(arguments) => weeks(arguments)?,
        Choice::Story(name) => run_program(cargo().args(["test", "--package", "sim", name]))?,
    };
    Ok(outcome == Outcome::Passed)
}

/// Past seeds first, then new ones for a minute.
pub fn checks() -> Result<Outcome> {
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
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let words = format!("--from {now}00 --seconds {NEW_SEEDS_SECONDS} --hours {NEW_SEEDS_HOURS}");
    weeks(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())
}

fn weeks(arguments: &[String]) -> Result<Outcome> {
    let program = [
        "run",
        "--quiet",
        "--profile",
        "sim",
        "--package",
        "sim",
        "--bin",
        "weeks",
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
    fn weeks_stories_and_the_checks_are_told_apart() {
        assert_eq!(Choice::parse(&[]), Some(Choice::Checks));
        let story = Choice::parse(&["--story", "flood"]);
        assert_eq!(story, Some(Choice::Story("flood".to_owned())));
        assert!(matches!(
            Choice::parse(&["--seed", "7", "--hours", "3"]),
            Some(Choice::Weeks(_))
        ));
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
