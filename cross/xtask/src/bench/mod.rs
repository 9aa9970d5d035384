//! `cargo xtask bench`: the corpora, `reserve`, and whoever of its kind is installed, in one run on one machine, with ratios.
//!
//! Real processes of the release program; nothing here is estimated. What it makes stands in one directory and is removed,
//! also after ctrl-C; what it starts is ended by its id.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Parser;

use crate::steps::{Outcome, cargo, run as run_program, target_dir};

mod boxes;
mod compare;
mod contender;
mod corpus;
#[cfg(test)]
mod corpus_tests;
mod daemon;
mod dice;
mod machine;
mod measure;
mod million;
mod peers;
mod rows;
mod scenes;
mod stage;
mod summary;
mod table;
mod writing;

use contender::Found;
use corpus::Corpus;
use machine::Machine;
pub use measure::WRAPPER;
use rows::{ROWS, Row, Work};
use scenes::Bench;
use stage::Stage;
use table::Table;

/// Measure `reserve` beside the programs of its kind that are installed.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Choice {
    /// Everything at a tenth of its size, once instead of three times: minutes, for a first look.
    #[arg(long)]
    quick: bool,
    /// With 400,000 small files, and what memory 200,000 and 1.5 GiB of media take, too.
    #[arg(long)]
    full: bool,
    /// Only these rows, for example media-first,small-unchanged,idle.
    #[arg(long, value_name = "ROW,...", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these peers (bupstash, borg, restic, rustic, conserve, rsync, cp), or `none`.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    peers: Vec<String>,
    /// Look for peers here first, then on PATH.
    #[arg(long, value_name = "DIR")]
    peers_dir: Option<PathBuf>,
    /// How often to measure each row. Default: 3, or 1 with --quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: Option<u32>,
    /// An existing directory with room, on the disk that is to be measured. Default: TMPDIR or /var/tmp.
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// The program to measure. Default: the release program, built first.
    #[arg(long, value_name = "PATH")]
    reserve: Option<PathBuf>,
    /// Print JSON for programs instead of text for people.
    #[arg(long)]
    json: bool,
    /// Divide all sizes by this.
    #[arg(long, hide = true, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    divisor: Option<u32>,
    /// How long to watch a keeper with nothing to do.
    #[arg(long, hide = true)]
    idle_seconds: Option<u64>,
}

/// An error in three parts: what happened, what is unchanged, what to do.
fn fault(what: &str, unchanged: &str, todo: &str) -> anyhow::Error {
    let parts = [what, unchanged, todo]
        .into_iter()
        .filter(|part| !part.is_empty());
    anyhow::Error::msg(parts.collect::<Vec<_>>().join("\n  "))
}

/// The hidden command: see [`measure`].
pub fn wrap(file: &str, line: &[&str]) -> ExitCode {
    measure::wrap(file, line)
}

/// Runs it; false if something failed, or a process of ours took more memory than is promised. A target that is not met is no
/// failure: the table says so.
pub fn run(arguments: &[&str]) -> Result<bool> {
    let choice = Choice::parse_from(std::iter::once(&"cargo xtask bench").chain(arguments));
    let rows = choice.rows()?;
    let (found, missing) = choice.find_peers()?;
    let program = choice.program()?;
    let divisor = choice.divisor();
    let parent = choice.work_dir.clone().unwrap_or_else(|| {
        std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
    });
    let machine = Machine::look();
    let stage = Arc::new(Stage::set_up(&parent, room(&rows, divisor))?);
    let runs = choice.runs.unwrap_or(if choice.quick { 1 } else { 3 });
    let idle_seconds = choice
        .idle_seconds
        .unwrap_or(if choice.quick { 20 } else { 60 });
    let peers: Vec<String> = found.iter().map(Found::told).collect();
    let story = std::thread::spawn({
        let stage = Arc::clone(&stage);
        move || {
            let mut bench = Bench {
                stage: &stage,
                program,
                found,
                missing,
                rows,
                runs,
                divisor,
                idle_seconds,
                table: Table::new(divisor),
            };
            let ended = bench.run();
            ended.map(|()| bench.table)
        }
    });
    let waited = stage::wait_for_end_or_signal(&story, &stage);
    let table = story.join();
    stage.clear();
    waited?;
    let table = table.map_err(|_| {
        fault(
            "the benchmark itself broke",
            "Everything it made is removed.",
            "Please report it with the lines above.",
        )
    })??;
    if choice.json {
        let told = serde_json::json!({
            "machine": machine.json(),
            "divisor": divisor,
            "runs": runs,
            "peers": peers,
            "table": table.json(),
        });
        println!("{told}");
    } else {
        println!("{}", machine.text());
        println!(
            "beside {}",
            if peers.is_empty() {
                "nobody".to_owned()
            } else {
                peers.join(", ")
            }
        );
        println!("{}\n", preamble(divisor, runs));
        print!("{}{}", table.text(), summary::text(&table));
    }
    Ok(!table.has_failures())
}

fn preamble(divisor: u32, runs: u32) -> String {
    let size = if divisor == 1 {
        "full size".to_owned()
    } else {
        format!("everything divided by {divisor}")
    };
    format!(
        "{size}, medians of {runs}, warm cache, whole processes.\n\
         `reserve` is the author's Box and one other, real keepers on loopback: everything goes through an\n\
         encrypted session and is stored durably. All processes are counted; the peak is of the largest.\n\
         A peer writes into a directory of its own and need not sync it; bupstash is two processes, too."
    )
}

/// Bytes that must be free for these rows.
fn room(rows: &[Row], divisor: u32) -> u64 {
    const SLACK: u64 = 512 << 20;
    let of = |corpus: Corpus| {
        let works: Vec<Work> = rows
            .iter()
            .filter(|row| row.corpus == Some(corpus))
            .map(|row| row.work)
            .collect();
        if works.is_empty() {
            return 0;
        }
        // The files, a store, and either another store or what comes back; stores may hold a little more than they were given.
        let copies = if works.contains(&Work::Memory) {
            4
        } else if works.contains(&Work::Retrieve) || works.contains(&Work::Protected) {
            3
        } else {
            2
        };
        corpus.plan(divisor).disk_bytes() * (copies * 21) / 20
    };
    let most = [Corpus::Media, Corpus::Small, Corpus::Small10, Corpus::Mixed]
        .into_iter()
        .map(of)
        .max();
    most.unwrap_or(0) + SLACK
}

impl Choice {
    fn divisor(&self) -> u32 {
        self.divisor.unwrap_or(if self.quick { 10 } else { 1 })
    }

    fn rows(&self) -> Result<Vec<Row>> {
        if self.only.is_empty() {
            let all = ROWS.into_iter().filter(|row| self.full || !row.is_long());
            return Ok(all.collect());
        }
        let named = |key: &String| {
            ROWS.into_iter()
                .find(|row| row.key() == *key)
                .ok_or_else(|| {
                    let all: Vec<String> = ROWS.into_iter().map(Row::key).collect();
                    fault(
                        &format!("there is no row {key}"),
                        "Nothing was measured.",
                        &format!("The rows are {}.", all.join(", ")),
                    )
                })
        };
        self.only.iter().map(named).collect()
    }

    /// Those that are here and those that are not, of those that are wanted.
    fn find_peers(&self) -> Result<(Vec<Found>, Vec<&'static str>)> {
        let is_known =
            |name: &&String| *name == "none" || peers::PEERS.iter().any(|peer| peer.name == **name);
        if let Some(strange) = self.peers.iter().find(|name| !is_known(name)) {
            let all: Vec<&str> = peers::PEERS.iter().map(|peer| peer.name).collect();
            return Err(fault(
                &format!("there is no peer {strange}"),
                "Nothing was measured.",
                &format!("The peers are {}, or none.", all.join(", ")),
            ));
        }
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for peer in &peers::PEERS {
            if !self.peers.is_empty() && !self.peers.iter().any(|name| name == peer.name) {
                continue;
            }
            match peers::find(peer.name, self.peers_dir.as_deref()) {
                Some(program) => {
                    let version = peers::version(peer.name, &program);
                    found.push(Found {
                        peer,
                        program,
                        version,
                    });
                }
                None => missing.push(peer.name),
            }
        }
        Ok((found, missing))
    }

    fn program(&self) -> Result<PathBuf> {
        if let Some(given) = &self.reserve {
            return std::fs::canonicalize(given).map_err(|error| {
                fault(
                    &format!("{} cannot be run: {error}", given.display()),
                    "Nothing was measured.",
                    "Give the program with --reserve, or leave it out: then it is built.",
                )
            });
        }
        let built = run_program(cargo().args([
            "build",
            "--release",
            "--package",
            "reserve",
            "--bin",
            "reserve",
        ]))?;
        if built != Outcome::Passed {
            return Err(fault(
                "the release program was not built",
                "Nothing was measured.",
                "The compiler's words are above.",
            ));
        }
        Ok(std::path::absolute(target_dir().join("release/reserve"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(arguments: &[&str]) -> Choice {
        Choice::parse_from(std::iter::once(&"bench").chain(arguments))
    }

    #[test]
    fn an_unknown_row_or_peer_is_refused_with_those_there_are() {
        let rows = choice(&["--only", "media-first,idle"])
            .rows()
            .expect("they are rows");
        assert_eq!(
            rows.iter().map(|row| row.key()).collect::<Vec<_>>(),
            ["media-first", "idle"]
        );
        let told = choice(&["--only", "media"])
            .rows()
            .expect_err("no row")
            .to_string();
        assert!(
            told.contains("no row media") && told.contains("small10-first"),
            "{told}"
        );
        let told = choice(&["--peers", "tar"])
            .find_peers()
            .err()
            .expect("no peer")
            .to_string();
        assert!(
            told.contains("no peer tar") && told.contains("bupstash"),
            "{told}"
        );
        assert!(
            choice(&["--peers", "none"])
                .find_peers()
                .is_ok_and(|(found, missing)| found.is_empty() && missing.is_empty())
        );
    }

    #[test]
    fn the_largest_corpus_is_left_out_unless_asked_for() {
        let has = |rows: Vec<Row>| rows.iter().any(|row| row.corpus == Some(Corpus::Small10));
        assert!(!has(choice(&[]).rows().expect("all")));
        assert!(has(choice(&["--full"]).rows().expect("all")));
    }

    #[test]
    fn room_is_asked_for_the_largest_corpus_only() {
        let rows = choice(&[]).rows().expect("all");
        let media = Corpus::Media.plan(1).bytes();
        assert!(room(&rows, 1) > 3 * media && room(&rows, 1) < 4 * media);
        assert!(room(&choice(&["--only", "idle"]).rows().expect("idle"), 1) < 1 << 30);
    }
}
