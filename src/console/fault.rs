//! What went wrong, as a person needs it: what happened, what it left unchanged, what to do next. And the exit status.

use std::ffi::OsString;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Done, but something is not safe: below the minimum factor, files that could not be read.
    NotSafe = 3,
    /// Data is damaged and could not be repaired, or did not come back.
    Damaged = 4,
}

/// One to three lines on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What happened.
    pub what: String,
    /// What it left unchanged.
    pub unchanged: String,
    /// What to do next.
    pub todo: String,
    /// How the command ends.
    pub exit: Exit,
}

impl Fault {
    /// A failure.
    pub fn new(
        what: impl Into<String>,
        unchanged: impl Into<String>,
        todo: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            unchanged: unchanged.into(),
            todo: todo.into(),
            exit: Exit::Failed,
        }
    }

    /// A failure whose sentence a room wrote, its parts parted by `; `: what happened, what is unchanged, what to do next. `unchanged`
    /// and `todo` stand in where the room does not say.
    pub fn from_sentence(sentence: &str, unchanged: &str, todo: &str) -> Self {
        let mut parts = sentence.split("; ").map(str::trim);
        let what = parts.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = parts.collect();
        let (said, next): (Vec<&str>, Vec<&str>) = rest.into_iter().partition(|part| is_calm(part));
        let unchanged = if said.is_empty() {
            unchanged.to_owned()
        } else {
            as_sentence(&said.join("; "))
        };
        let todo = if next.is_empty() {
            todo.to_owned()
        } else {
            as_sentence(&next.join("; "))
        };
        Self::new(what, unchanged, todo)
    }

    /// For programs: one line, its three parts and the exit status as a word and as a number.
    #[must_use]
    pub fn to_json(&self) -> String {
        let status = self.exit as u8;
        serde_json::json!({ "fault": self, "status": status }).to_string()
    }

    /// The same with another exit status.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// Whether a command line asks for JSON, also one that is wrong otherwise.
pub fn wants_json(args: impl IntoIterator<Item = OsString>) -> bool {
    let mut args = args.into_iter().take_while(|arg| arg != "--");
    args.any(|arg| arg == "--json")
}

/// A command line that was not understood, in the three parts.
#[must_use]
pub fn of_usage(said: &str) -> Fault {
    let what = said.lines().map(str::trim).find(|line| !line.is_empty());
    let what = what.unwrap_or_default();
    Fault::new(
        what.strip_prefix("error: ").unwrap_or(what),
        "Nothing was changed.",
        "`reserve --help`, or the command with --help, says what it takes.",
    )
    .exit(Exit::Usage)
}

/// Whether a part of a sentence says what is left as it was.
fn is_calm(part: &str) -> bool {
    [
        "nothing ",
        "no ",
        "what ",
        "this Box is unchanged",
        "it was not ",
        "the snapshot was not ",
        "both sides keep",
    ]
    .iter()
    .any(|start| part.starts_with(start))
}

fn as_sentence(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else {
        return String::new();
    };
    let end = if text.ends_with(['.', '?', '!']) {
        ""
    } else {
        "."
    };
    format!("{}{}{end}", first.to_uppercase(), chars.as_str())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for line in [&self.unchanged, &self.todo] {
            if !line.is_empty() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_the_three_parts_and_the_status_in_one_line() {
        let fault = Fault::new("a\nb", "c", "d").exit(Exit::NotSafe);
        let said: serde_json::Value = serde_json::from_str(&fault.to_json()).expect("JSON");
        assert_eq!(fault.to_json().lines().count(), 1);
        assert_eq!(said["fault"]["what"], "a\nb");
        assert_eq!(
            (&said["fault"]["exit"], &said["status"]),
            (&"not_safe".into(), &3.into())
        );
    }

    #[test]
    fn json_is_asked_for_before_two_dashes_and_nowhere_else() {
        let asks = |args: &[&str]| wants_json(args.iter().map(OsString::from));
        assert!(asks(&["reserve", "status", "--json"]));
        assert!(!asks(&["reserve", "retrieve", "--", "--json"]));
        assert!(!asks(&["reserve", "status"]));
    }
}
