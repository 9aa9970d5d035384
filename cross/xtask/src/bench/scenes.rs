//! The order of things: for each corpus and each run, every contender does all its rows before the next one's turn.
//!
//! So whatever the machine does besides, it does to all alike. The files are read before each contender begins (warm cache),
//! and what is still to be written of the one before is written first.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::boxes::Reserve;
use super::compare::{compare, warm};
use super::contender::{Contender, Found, PeerAtWork};
use super::corpus::{Changes, Corpus};
use super::measure::Cost;
use super::rows::{Row, Work};
use super::stage::{Stage, remove};
use super::table::{FAILED, OURS, Table};
use super::{daemon, million};

/// A file whose last change is younger than this is read again by a careful program.
const SETTLED: Duration = Duration::from_millis(2_100);

/// Chunks a small table has room for: what a Box of a few dozen GiB needs.
const SMALL_TABLE_CHUNKS: u32 = 50_000;

/// What is measured, and with what.
pub struct Bench<'a> {
    /// Where.
    pub stage: &'a Stage,
    /// `reserve` itself.
    pub program: PathBuf,
    /// The peers that were found.
    pub found: Vec<Found>,
    /// Those that were not.
    pub missing: Vec<&'static str>,
    /// Which rows.
    pub rows: Vec<Row>,
    /// How often each.
    pub runs: u32,
    /// What the corpora are divided by.
    pub divisor: u32,
    /// How long to watch a keeper with nothing to do.
    pub idle_seconds: u64,
    /// What came of it.
    pub table: Table,
}

impl Bench<'_> {
    /// All of it. An error only if somebody interrupts or the disk cannot be used; what fails in a row stands in the table.
    pub fn run(&mut self) -> Result<()> {
        for corpus in [Corpus::Media, Corpus::Small, Corpus::Small10, Corpus::Mixed] {
            let works = self.works(Some(corpus));
            if !works.is_empty() {
                self.corpus(corpus, &works)?;
            }
        }
        let alone = self.works(None);
        if alone.contains(&Work::Start) {
            self.starts()?;
        }
        if alone.contains(&Work::Idle) {
            let row = Row {
                corpus: None,
                work: Work::Idle,
            };
            let cost = self.idle();
            self.note(row, OURS, cost)?;
        }
        Ok(())
    }

    fn works(&self, corpus: Option<Corpus>) -> Vec<Work> {
        let rows = self.rows.iter().filter(|row| row.corpus == corpus);
        rows.map(|row| row.work).collect()
    }

    fn corpus(&mut self, corpus: Corpus, works: &[Work]) -> Result<()> {
        let plan = corpus.plan(self.divisor);
        eprintln!(
            "making {}: {} files, {} MiB",
            corpus.name(),
            plan.files.len(),
            plan.bytes() >> 20
        );
        let data = self.stage.path("data");
        plan.make(&data, &|| self.stage.is_stopped())?;
        self.stage.go_on()?;
        let changes = plan.changes();
        for name in &self.missing {
            for work in works.iter().filter(|work| !is_ours(**work)) {
                let row = Row {
                    corpus: Some(corpus),
                    work: *work,
                };
                self.table
                    .add(row, name, Err("is not installed".to_owned()));
            }
        }
        for number in 1..=self.runs {
            for who in std::iter::once(None).chain((0..self.found.len()).map(Some)) {
                self.turn(corpus, works, number, who, &changes)?;
            }
            if works.contains(&Work::Protected) {
                self.protected(corpus, number)?;
            }
            if works.contains(&Work::Memory) {
                self.memory(corpus, number)?;
            }
        }
        remove(&data)
    }

    fn settle(&self) -> Result<()> {
        rustix::fs::sync();
        sleep(SETTLED);
        warm(&self.stage.path("data"))
    }

    /// One contender's turn: all its rows, from an empty store to its end.
    fn turn(
        &mut self,
        corpus: Corpus,
        works: &[Work],
        number: u32,
        who: Option<usize>,
        changes: &Changes,
    ) -> Result<()> {
        if works.iter().all(|work| is_ours(*work)) {
            return Ok(());
        }
        let name = who.map_or(OURS, |who| self.found[who].peer.name);
        eprintln!("{}, run {number}: {name}", corpus.name());
        self.settle()?;
        let mut told: Vec<(Work, Result<Cost, String>)> = Vec::new();
        let ended = self.act(works, who, changes, &mut told);
        let row = |work| Row {
            corpus: Some(corpus),
            work,
        };
        for (work, attempt) in told {
            if works.contains(&work) {
                self.table.add(row(work), name, attempt);
            }
        }
        if let Err((work, error)) = ended {
            self.note(row(work), name, Err(error))?;
        }
        for place in ["peer", "came-back", "box-author", "box-other"] {
            remove(&self.stage.path(place))?;
        }
        Ok(())
    }

    /// What a contender does; on an error, the piece of work that failed.
    fn act(
        &self,
        works: &[Work],
        who: Option<usize>,
        changes: &Changes,
        told: &mut Vec<(Work, Result<Cost, String>)>,
    ) -> Result<(), (Work, anyhow::Error)> {
        let data = self.stage.path("data");
        let mut contender = match who {
            None => {
                Reserve::found(self.stage, &self.program, &data, 1, None).map(Contender::Reserve)
            }
            Some(who) => {
                let found = &self.found[who];
                PeerAtWork::prepare(self.stage, found.peer, &found.program, &data)
                    .map(|peer| Contender::Peer(Box::new(peer)))
            }
        }
        .map_err(|error| (Work::First, error))?;
        let mut cost = contender.snapshot().map_err(|error| (Work::First, error))?;
        let first_bytes = contender.stored_bytes();
        cost.stored_bytes = Some(first_bytes);
        told.push((Work::First, Ok(cost)));
        let has_history = contender.has_history();
        if works.contains(&Work::Unchanged) && has_history {
            let cost = contender
                .snapshot()
                .map_err(|error| (Work::Unchanged, error))?;
            told.push((Work::Unchanged, Ok(cost)));
        }
        if works.contains(&Work::Verify) {
            let cost = contender.verify().map_err(|error| (Work::Verify, error))?;
            let why = if who.is_none() {
                "is not there yet"
            } else {
                "cannot"
            };
            told.push((Work::Verify, cost.ok_or_else(|| why.to_owned())));
        }
        if works.contains(&Work::Retrieve) {
            let cost = self
                .retrieve(&mut contender)
                .map_err(|error| (Work::Retrieve, error))?;
            told.push((Work::Retrieve, Ok(cost)));
        }
        if works.contains(&Work::Changed) && has_history {
            let aside = self.stage.path("aside");
            let before = contender.stored_bytes();
            let changed = changes.make(&data, &aside).and_then(|()| {
                self.settle()?;
                contender.snapshot()
            });
            let undone = changes
                .undo(&data, &aside)
                .context("the files could not be changed back");
            let mut cost = changed
                .and_then(|cost| undone.map(|()| cost))
                .map_err(|error| (Work::Changed, error))?;
            cost.stored_bytes = Some(contender.stored_bytes().saturating_sub(before));
            told.push((Work::Changed, Ok(cost)));
        }
        Ok(())
    }

    fn retrieve(&self, contender: &mut Contender<'_>) -> Result<Cost> {
        let to = self.stage.empty("came-back")?;
        let cost = contender.retrieve(&to)?;
        compare(&self.stage.path("data"), &to)?;
        remove(&to)?;
        Ok(cost)
    }

    fn protected(&mut self, corpus: Corpus, number: u32) -> Result<()> {
        let row = Row {
            corpus: Some(corpus),
            work: Work::Protected,
        };
        let data = self.stage.path("data");
        eprintln!(
            "{}, run {number}: {OURS} onto two other Boxes",
            corpus.name()
        );
        self.settle()?;
        let cost = Reserve::found(self.stage, &self.program, &data, 2, None)
            .and_then(|reserve| reserve.snapshot());
        self.note(row, OURS, cost)?;
        for place in ["box-author", "box-other", "box-third"] {
            remove(&self.stage.path(place))?;
        }
        let Some(rsync) = self.found.iter().find(|found| found.peer.name == "rsync") else {
            return Ok(());
        };
        eprintln!(
            "{}, run {number}: rsync to a daemon, two targets",
            corpus.name()
        );
        self.settle()?;
        let cost = daemon::two_targets(self.stage, &rsync.program, &data);
        self.note(row, "rsync", cost)?;
        remove(&self.stage.path("peer"))
    }

    /// A Box whose chunk table is full protects all of it on two others, looks again, and a new Box gets it back: the peak of all.
    fn memory(&mut self, corpus: Corpus, number: u32) -> Result<()> {
        let row = Row {
            corpus: Some(corpus),
            work: Work::Memory,
        };
        let data = self.stage.path("data");
        eprintln!("{}, run {number}: {OURS} with a full table", corpus.name());
        self.settle()?;
        let measured = |stage, program: &PathBuf, divisor| -> Result<Cost> {
            let mut reserve = Reserve::found(stage, program, &data, 2, None)?;
            reserve.fill_author(divisor)?;
            let mut cost = reserve.snapshot()?;
            let again = reserve.snapshot()?;
            reserve.newcomer(program)?;
            let to = stage.empty("came-back")?;
            let back = reserve.retrieve(&to)?;
            compare(&data, &to)?;
            remove(&to)?;
            cost.and_then(again);
            cost.and_then(back);
            Ok(cost)
        };
        let cost = measured(self.stage, &self.program, self.divisor);
        self.note(row, OURS, cost)?;
        for place in [
            "came-back",
            "box-author",
            "box-other",
            "box-third",
            "box-new",
        ] {
            remove(&self.stage.path(place))?;
        }
        Ok(())
    }

    fn starts(&mut self) -> Result<()> {
        let row = Row {
            corpus: None,
            work: Work::Start,
        };
        eprintln!("a keeper starts with a million chunks");
        let stage = self.stage;
        let program = self.program.clone();
        let mut full = match million::full_box(stage, &program, self.divisor) {
            Ok(full) => full,
            Err(error) => return self.note(row, OURS, Err(error)),
        };
        for _ in 0..self.runs {
            let cost = million::start(&mut full);
            self.note(row, OURS, cost)?;
        }
        remove(&self.stage.path("box-full"))
    }

    fn idle(&self) -> Result<Cost> {
        eprintln!("keepers with nothing to do, {} s", self.idle_seconds);
        let data = self.stage.empty("data")?;
        std::fs::write(data.join("one"), "one small file")?;
        let reserve = Reserve::found(
            self.stage,
            &self.program,
            &data,
            1,
            Some(SMALL_TABLE_CHUNKS),
        )?;
        reserve.snapshot()?;
        million::idle(self.stage, &reserve, self.idle_seconds)
    }

    /// Writes it down; an error only if nothing more is to be done.
    fn note(&mut self, row: Row, who: &str, cost: Result<Cost>) -> Result<()> {
        self.stage.go_on()?;
        if let Err(error) = &cost {
            eprintln!("{}, {who}: {error:#}", row.title());
        }
        self.table.add(row, who, cost.map_err(failed));
        Ok(())
    }
}

/// Rows that no single store of a peer's can be measured with.
fn is_ours(work: Work) -> bool {
    matches!(work, Work::Protected | Work::Memory)
}

/// As it stands in the table: one line.
fn failed(error: anyhow::Error) -> String {
    let text = format!("{error:#}");
    let first = text.lines().next().unwrap_or_default();
    let short: String = first.chars().take(80).collect();
    format!("{FAILED}{short}")
}
