//! What went wrong, as a person needs it: what happened, what it left unchanged, what to do next. And the exit status.

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
    /// What it left unchanged; empty if that is plain.
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

    /// The same with another exit status.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
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
