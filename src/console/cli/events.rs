//! `reserve events`: what a person types.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Print;

/// `BOX:SEQ`: an event, by the Box that told it and its number there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// A Box's name, or the start of its key.
    pub origin: String,
    /// The event's number.
    pub sequence: u64,
}

fn since(text: &str) -> Result<Since, String> {
    let wanted = "expected BOX:SEQ as `reserve events` shows it, for example home:42";
    let (origin, sequence) = text.rsplit_once(':').ok_or(wanted)?;
    let sequence = sequence.parse().map_err(|_| wanted)?;
    if origin.is_empty() {
        return Err(wanted.into());
    }
    Ok(Since {
        origin: origin.into(),
        sequence,
    })
}

/// `reserve events`
#[derive(Debug, Args)]
pub struct Events {
    /// Go on with what happens, until ctrl-C.
    #[arg(long)]
    pub follow: bool,
    /// Only what came after this event.
    #[arg(long, value_name = "BOX:SEQ", value_parser = since)]
    pub since: Option<Since>,
    /// How to print; JSON is one document a line.
    #[command(flatten)]
    pub print: Print,
}
