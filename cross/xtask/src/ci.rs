//! `cargo xtask ci`: every check there is, in the order of how soon each tells something.

use anyhow::Result;

use crate::steps::{Outcome, Steps, cargo, cargo_has, output, run as run_program, target_dir};

/// One check.
type Step = fn() -> Result<Outcome>;

/// The steps by name, in order.
const STEPS: &[(&str, Step)] = &[
    ("fmt", fmt),
    ("clippy", clippy),
    ("test", test),
    ("corpus", corpus),
    ("sim", crate::sim::checks),
    ("bench", bench),
    ("doc", doc),
    ("deny", deny),
    ("advisories", advisories),
];

/// Which steps to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice(Vec<&'static str>);

impl Choice {
    /// From the command line; `None` if it makes no sense.
    pub fn parse(arguments: &[&str]) -> Option<Self> {
        let all = || STEPS.iter().map(|(name, _)| *name);
        let (keep, list) = match arguments {
            [] => return Some(Self(all().collect())),
            ["--only", list] => (true, *list),
            ["--skip", list] => (false, *list),
            _ => return None,
        };
        let named: Vec<&str> = list.split(',').collect();
        named
            .iter()
            .all(|name| all().any(|step| step == *name))
            .then(|| Self(all().filter(|step| named.contains(step) == keep).collect()))
    }
}

/// Runs the steps; true if none failed.
pub fn run(choice: &Choice) -> Result<bool> {
    let mut steps = Steps::default();
    for (name, step) in STEPS {
        if choice.0.contains(name) {
            steps.run(name, step);
        }
    }
    Ok(steps.finish())
}

fn fmt() -> Result<Outcome> {
    if !cargo_has("fmt") {
        return Ok(Outcome::Skipped(
            "rustfmt is not installed (rustup component add rustfmt)".to_owned(),
        ));
    }
    run_program(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<Outcome> {
    if !cargo_has("clippy") {
        return Ok(Outcome::Skipped(
            "clippy is not installed (rustup component add clippy)".to_owned(),
        ));
    }
    run_program(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn test() -> Result<Outcome> {
    run_program(cargo().args(["test", "--workspace"]))
}

/// Part of the tests already; run by its own name where the tests are skipped or only the formats were touched.
fn corpus() -> Result<Outcome> {
    run_program(cargo().args([
        "test",
        "--quiet",
        "--package",
        "reserve",
        "--test",
        "corpus",
        "--test",
        "format_golden",
    ]))
}

/// The benchmark at a thousandth of its size, without peers: its figures mean nothing, that it runs to the end does.
fn bench() -> Result<Outcome> {
    let built = run_program(cargo().args(["build", "--package", "reserve", "--bin", "reserve"]))?;
    if built != Outcome::Passed {
        return Ok(built);
    }
    let program = target_dir().join("debug/reserve").display().to_string();
    let rows = "media-first,media-changed,media-retrieve,media-protected,small-first,small-unchanged,start";
    let arguments = ["--divisor", "1000", "--runs", "1", "--peers", "none"];
    let is_whole =
        crate::bench::run(&[&arguments[..], &["--only", rows, "--reserve", &program]].concat())?;
    Ok(if is_whole {
        Outcome::Passed
    } else {
        Outcome::Failed("a row could not be measured".to_owned())
    })
}

fn doc() -> Result<Outcome> {
    run_program(
        cargo()
            .args(["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn deny() -> Result<Outcome> {
    if let Some(why) = no_deny() {
        return Ok(Outcome::Skipped(why));
    }
    run_program(cargo().args(CHECK).args(["bans", "licenses", "sources"]))
}

fn advisories() -> Result<Outcome> {
    if let Some(why) = no_deny() {
        return Ok(Outcome::Skipped(why));
    }
    if let Err(error) = output(cargo().args(["deny", "fetch", "--config", CONFIG, "db"])) {
        return Ok(Outcome::Skipped(format!(
            "the list of advisories cannot be had: {error:#}"
        )));
    }
    run_program(cargo().args(CHECK).args(["--disable-fetch", "advisories"]))
}

const CONFIG: &str = ".cargo/deny.toml";
const CHECK: [&str; 5] = ["deny", "--workspace", "check", "--config", CONFIG];

fn no_deny() -> Option<String> {
    (!cargo_has("deny"))
        .then(|| "cargo-deny is not installed (cargo install cargo-deny)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_by_name_and_an_unknown_name_is_refused() {
        assert_eq!(
            Choice::parse(&["--only", "doc,fmt"]),
            Some(Choice(vec!["fmt", "doc"]))
        );
        let rest = Choice::parse(&["--skip", "test,corpus,sim,bench,deny,advisories"])
            .expect("they are steps");
        assert_eq!(rest, Choice(vec!["fmt", "clippy", "doc"]));
        assert_eq!(Choice::parse(&[]).map(|all| all.0.len()), Some(STEPS.len()));
        assert_eq!(Choice::parse(&["--only", "lint"]), None);
        assert_eq!(Choice::parse(&["fmt"]), None);
    }
}
