//! From samples to what people and programs read: medians, ratios, and whether each target is met.

use std::fmt::Write;

use serde_json::{Value, json};

use super::measure::Cost;
use super::rows::{Bound, Measure, PROMISED_MIB, Row, targets};

/// The name of our own line.
pub const OURS: &str = "reserve";

/// What became of one contender's attempt at one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// One sample a run.
    Measured(Vec<Cost>),
    /// There is nothing to measure, and why.
    Not(String),
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Which row.
    pub row: Row,
    /// Whose.
    pub who: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// All lines, in the order they were first measured.
#[derive(Debug)]
pub struct Table {
    lines: Vec<Line>,
    /// What the corpora were divided by.
    divisor: u32,
}

/// The middle, the smallest and the largest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Half are below.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one number.
    pub fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
        })
    }
}

/// What a measure is of one sample.
fn value(cost: &Cost, measure: Measure) -> Option<f64> {
    match measure {
        Measure::Wall => Some(cost.wall_s),
        Measure::Cpu => Some(cost.cpu_s()),
        Measure::Peak => Some(cost.peak_mib()),
        Measure::Stored => cost
            .stored_bytes
            .map(|bytes| bytes as f64 / f64::from(1 << 20)),
        Measure::Share => {
            let busiest = cost.parts.iter().map(|part| part.cpu_s).fold(0.0, f64::max);
            Some(busiest / cost.wall_s * 100.0)
        }
        Measure::Wakeups => cost.wakeups,
    }
}

impl Line {
    /// A measure over all runs.
    pub fn spread(&self, measure: Measure) -> Option<Spread> {
        match &self.outcome {
            Outcome::Measured(costs) => {
                Spread::of(costs.iter().filter_map(|cost| value(cost, measure)))
            }
            Outcome::Not(_) => None,
        }
    }

    fn median(&self, measure: Measure) -> Option<f64> {
        self.spread(measure).map(|spread| spread.median)
    }

    /// What counts where a target is asked: the middle of all runs, but the most memory of any.
    fn counted(&self, measure: Measure) -> Option<f64> {
        let spread = self.spread(measure)?;
        Some(match measure {
            Measure::Peak => spread.max,
            _ => spread.median,
        })
    }
}

/// Whether a target is met.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What was asked, what was reached, and the answer, in a few words.
    pub sentence: String,
    /// Whether it is met; `None` if it could not be told.
    pub is_met: Option<bool>,
    /// Whether it is promised: then it is met everywhere, or something is wrong.
    pub is_promise: bool,
}

impl Table {
    /// An empty one, of corpora divided by this.
    pub fn new(divisor: u32) -> Self {
        Self {
            lines: Vec::new(),
            divisor,
        }
    }

    /// Adds a sample, or why there is none. What was measured before stays; a failure of any run is the line's outcome.
    pub fn add(&mut self, row: Row, who: &str, attempt: Result<Cost, String>) {
        let found = self
            .lines
            .iter_mut()
            .find(|line| line.row == row && line.who == who);
        match (found, attempt) {
            (Some(line), Ok(cost)) => {
                if let Outcome::Measured(costs) = &mut line.outcome {
                    costs.push(cost);
                }
            }
            (Some(line), Err(why)) => line.outcome = Outcome::Not(why),
            (None, attempt) => self.lines.push(Line {
                row,
                who: who.to_owned(),
                outcome: attempt.map_or_else(Outcome::Not, |cost| Outcome::Measured(vec![cost])),
            }),
        }
    }

    /// Whose line of a row.
    fn line(&self, row: Row, who: &str) -> Option<&Line> {
        self.lines
            .iter()
            .find(|line| line.row == row && line.who == who)
    }

    /// Whether anything failed that ought to have worked, or took more memory than is promised.
    pub fn has_failures(&self) -> bool {
        let failed =
            |line: &Line| matches!(&line.outcome, Outcome::Not(why) if why.starts_with(FAILED));
        let verdicts = |row| self.verdicts(row).into_iter();
        self.lines.iter().any(failed)
            || self
                .rows()
                .into_iter()
                .flat_map(verdicts)
                .any(|verdict| verdict.is_promise && verdict.is_met == Some(false))
    }

    /// Who has figures, in the order of the first.
    pub fn measured(&self) -> impl Iterator<Item = String> {
        let has = |line: &&Line| matches!(line.outcome, Outcome::Measured(_));
        self.lines.iter().filter(has).map(|line| line.who.clone())
    }

    /// A measure of somebody's line over all runs.
    pub fn median(&self, row: Row, who: &str, measure: Measure) -> Option<f64> {
        self.line(row, who)?.median(measure)
    }

    /// The rows there are lines of, in their order.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.lines.iter().map(|line| line.row).collect();
        rows.sort_by_key(|row| super::rows::ROWS.iter().position(|other| other == row));
        rows.dedup();
        rows
    }

    /// The answers of a row's targets.
    pub fn verdicts(&self, row: Row) -> Vec<Verdict> {
        let ours = self.line(row, OURS);
        let mut verdicts = Vec::new();
        for (measure, bound) in targets(row) {
            let reached = ours.and_then(|line| line.counted(measure));
            let name = name_of(row, measure);
            let (asked, got, most) = match bound {
                Bound::Times(times, peer) => {
                    let theirs = self.line(row, peer).and_then(|line| line.median(measure));
                    let ratio = reached.zip(theirs).map(|(ours, theirs)| ours / theirs);
                    (format!("{name} <= {times} x {peer}"), ratio, times)
                }
                Bound::AtMost(most) => {
                    (format!("{name} <= {most}{}", unit(measure)), reached, most)
                }
                Bound::AtMostOfAll(most) => {
                    let most = most / f64::from(self.divisor);
                    (format!("{name} <= {most}{}", unit(measure)), reached, most)
                }
            };
            let is_met = got.map(|got| got <= most);
            let is_promise = measure == Measure::Peak && bound == Bound::AtMost(PROMISED_MIB);
            let answer = match (got, is_met) {
                (Some(got), Some(true)) => format!("{got:.2} yes"),
                (Some(got), _) if is_promise => format!("{got:.2} NO, AND IT IS PROMISED"),
                (Some(got), _) => format!("{got:.2} NO"),
                (None, _) => "cannot be told".to_owned(),
            };
            verdicts.push(Verdict {
                sentence: format!("{asked}: {answer}"),
                is_met,
                is_promise,
            });
        }
        verdicts
    }

    /// For people: a block for each row.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for row in self.rows() {
            // Writing to a string cannot fail.
            let _ = self.block(row, &mut out);
        }
        out
    }

    fn block(&self, row: Row, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}  [{}]", row.title(), row.key())?;
        writeln!(
            out,
            "  {:<9} {:>8} {:>17} {:>8} {:>9} {:>11}   reserve is x of it",
            "",
            "wall s",
            "(min - max)",
            "CPU s",
            "peak MiB",
            stored_heading(row)
        )?;
        let ours = self.line(row, OURS);
        let mut missing: Vec<String> = Vec::new();
        for line in self.lines.iter().filter(|line| line.row == row) {
            let costs = match &line.outcome {
                Outcome::Measured(costs) => costs,
                Outcome::Not(why) if why.starts_with(FAILED) => {
                    writeln!(out, "  {:<9} {why}", line.who)?;
                    continue;
                }
                Outcome::Not(why) => {
                    missing.push(format!("{} {why}", line.who));
                    continue;
                }
            };
            let (Some(wall), Some(cpu), Some(peak)) = (
                line.spread(Measure::Wall),
                line.median(Measure::Cpu),
                line.median(Measure::Peak),
            ) else {
                continue;
            };
            let stored = line
                .median(Measure::Stored)
                .map_or(String::new(), |mib| format!("{mib:.1}"));
            let range = format!("({:.2} - {:.2})", wall.min, wall.max);
            write!(
                out,
                "  {:<9} {:>8.2} {range:>17} {cpu:>8.2} {peak:>9.1} {stored:>11}",
                line.who, wall.median
            )?;
            if line.who == OURS {
                writeln!(out, "\n{}", shares(costs))?;
            } else {
                writeln!(out, "   {}", ratios(ours, line))?;
            }
        }
        if !missing.is_empty() {
            writeln!(out, "  {}", missing.join(" · "))?;
        }
        for verdict in self.verdicts(row) {
            writeln!(out, "  target  {}", verdict.sentence)?;
        }
        writeln!(out)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let lines: Vec<Value> = self.lines.iter().map(line_json).collect();
        let targets: Vec<Value> = self
            .rows()
            .into_iter()
            .flat_map(|row| {
                self.verdicts(row).into_iter().map(move |verdict| {
                    json!({"row": row.key(), "target": verdict.sentence, "met": verdict.is_met})
                })
            })
            .collect();
        json!({"lines": lines, "targets": targets})
    }
}

/// So that it fits on a screen.
const LINE_CHARS_MAX: usize = 100;

/// How a line begins that tells of a failure.
pub const FAILED: &str = "FAILED: ";

fn stored_heading(row: Row) -> &'static str {
    match row.work {
        super::rows::Work::First => "stored MiB",
        super::rows::Work::Changed => "grew MiB",
        _ => "",
    }
}

fn name_of(row: Row, measure: Measure) -> &'static str {
    match measure {
        Measure::Wall => "wall",
        Measure::Cpu => "CPU",
        Measure::Peak => "peak of each process",
        Measure::Stored if row.work == super::rows::Work::Changed => "grew",
        Measure::Stored => "stored",
        Measure::Share => "share of a core",
        Measure::Wakeups => "wake-ups",
    }
}

fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::Wall | Measure::Cpu => " s",
        Measure::Peak | Measure::Stored => " MiB",
        Measure::Share => " %",
        Measure::Wakeups => " a second",
    }
}

/// How the sum is made up: the middle of all runs for each process, and the most memory it had in any.
fn shares(costs: &[Cost]) -> String {
    let names = costs.first().map_or(&[][..], |cost| &cost.parts);
    let share = |(place, part): (usize, &super::measure::Part)| {
        let of = |pick: fn(&super::measure::Part) -> f64| {
            let all = costs
                .iter()
                .filter_map(|cost| cost.parts.get(place))
                .map(pick);
            Spread::of(all)
        };
        format!(
            "{} {:.2} s, {:.0} MiB",
            part.name,
            of(|part| part.cpu_s).map_or(0.0, |spread| spread.median),
            of(|part| part.peak_kib as f64 / 1024.0).map_or(0.0, |spread| spread.max)
        )
    };
    let mut lines = vec!["            CPU:".to_owned()];
    for (place, part) in names.iter().enumerate() {
        let share = share((place, part));
        let is_full =
            |line: &String| line.chars().count() + share.chars().count() > LINE_CHARS_MAX - 3;
        if lines.last().is_none_or(is_full) {
            lines.push("                ".to_owned());
        }
        let line = lines.len() - 1;
        let between = if place == 0 || lines[line].trim().is_empty() {
            " "
        } else {
            " · "
        };
        lines[line] += &format!("{between}{share}");
    }
    lines.join("\n")
}

fn ratios(ours: Option<&Line>, theirs: &Line) -> String {
    let ratio = |measure| {
        let ours = ours?.median(measure)?;
        let theirs = theirs.median(measure)?;
        (theirs > 0.0).then(|| ours / theirs)
    };
    match (ratio(Measure::Wall), ratio(Measure::Cpu)) {
        (Some(wall), Some(cpu)) => format!("wall {wall:.2}  CPU {cpu:.2}"),
        (Some(wall), None) => format!("wall {wall:.2}"),
        _ => String::new(),
    }
}

fn line_json(line: &Line) -> Value {
    let row = line.row.key();
    match &line.outcome {
        Outcome::Not(why) => json!({"row": row, "who": line.who, "not": why}),
        Outcome::Measured(costs) => {
            let runs: Vec<Value> = costs
                .iter()
                .map(|cost| {
                    let parts: Vec<Value> = cost
                        .parts
                        .iter()
                        .map(|part| json!({"name": part.name, "cpu_s": part.cpu_s, "peak_kib": part.peak_kib}))
                        .collect();
                    json!({
                        "wall_s": cost.wall_s,
                        "cpu_s": cost.cpu_s(),
                        "stored_bytes": cost.stored_bytes,
                        "wakeups_a_second": cost.wakeups,
                        "processes": parts,
                    })
                })
                .collect();
            json!({"row": row, "who": line.who, "runs": runs})
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
