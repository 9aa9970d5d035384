//! `reserve conflicts`, as a person types it.

use clap::Args;

use super::Print;

/// `reserve conflicts`
#[derive(Debug, Args)]
pub struct Conflicts {
    /// Decide for all Boxes that this one stands: `latest` is it, or what its Box goes on to from it. The others stay retrievable by
    /// their ids. Nothing is deleted, and it can be decided anew.
    #[arg(long, value_name = "ID")]
    pub choose: Option<String>,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}
