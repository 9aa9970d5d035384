//! `reserve doctor`: what this machine and this Box are like, line by line, with what to do. Changes nothing, needs no keeper.
//!
//! Each line has a code and numbers of its own, so that a report for support can be made without copying a word of text.

mod machine;
mod of_box;

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::cli::Print;
use super::fault::{Exit, Fault};
use super::text;

/// How a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but look at it.
    Warning,
    /// It does not work.
    Failure,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was looked at; the same in every version.
    pub code: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// What to do; empty if nothing.
    pub todo: String,
    /// The numbers in it, if any.
    pub numbers: Vec<(&'static str, u64)>,
}

impl Line {
    fn new(
        verdict: Verdict,
        code: &'static str,
        text: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            code,
            verdict,
            text: text.into(),
            todo: todo.into(),
            numbers: Vec::new(),
        }
    }

    fn ok(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, code, text, "")
    }

    fn warning(code: &'static str, text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, code, text, todo)
    }

    fn failure(code: &'static str, text: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Verdict::Failure, code, text, todo)
    }

    fn with(mut self, numbers: &[(&'static str, u64)]) -> Self {
        self.numbers.extend_from_slice(numbers);
        self
    }
}

/// Looks at everything.
pub fn look(dir: &Path) -> Vec<Line> {
    let found = of_box::Found::look(dir);
    let mut lines = machine::look();
    lines.extend(machine::memory(
        &machine::plan(found.table_chunks(), found.peers()),
        machine::available_bytes(),
    ));
    lines.extend(of_box::lines(dir, &found));
    lines
}

/// `reserve doctor`
pub fn run(dir: &Path, how: Print) -> Result<Exit, Fault> {
    let lines = look(dir);
    if how.json {
        text::print_json(&lines)?;
    } else {
        text::print(&shown(&lines))?;
    }
    let is_sick = lines.iter().any(|line| line.verdict == Verdict::Failure);
    Ok(if is_sick { Exit::NotSafe } else { Exit::Done })
}

fn shown(lines: &[Line]) -> String {
    let mut shown = String::new();
    for line in lines {
        let mark = match line.verdict {
            Verdict::Ok => "ok     ",
            Verdict::Warning => "WARNING",
            Verdict::Failure => "FAILURE",
        };
        let _ = writeln!(shown, "{mark} {:<11} {}", line.code, line.text);
        if !line.todo.is_empty() {
            let _ = writeln!(shown, "{:<20}{}", "", line.todo);
        }
    }
    let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
    let (failures, warnings) = (count(Verdict::Failure), count(Verdict::Warning));
    let s = |count: usize| if count == 1 { "" } else { "s" };
    let _ = match (failures, warnings) {
        (0, 0) => write!(shown, "All is well."),
        _ => write!(
            shown,
            "{failures} failure{}, {warnings} warning{}.",
            s(failures),
            s(warnings)
        ),
    };
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_it_stands_and_what_to_do() {
        let lines = [
            Line::ok("kernel", "Linux 6.1"),
            Line::failure(
                "keys",
                "identity can be read by others",
                "Run `chmod 600 identity`.",
            ),
        ];
        let wanted = "ok      kernel      Linux 6.1\n\
                      FAILURE keys        identity can be read by others\n                    \
                      Run `chmod 600 identity`.\n\
                      1 failure, 0 warnings.";
        assert_eq!(shown(&lines), wanted);
        assert!(shown(&lines[..1]).ends_with("All is well."));
    }
}
