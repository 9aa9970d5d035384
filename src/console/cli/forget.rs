//! `reserve forget`, as it is typed.

use clap::Args;

use super::Print;

/// `reserve forget`
#[derive(Debug, Args)]
pub struct Forget {
    /// Snapshots of this Box: numbers, or starts of IDs from `reserve snapshots`. The newest, those that wait for a person and the last of
    /// each data set stay in any case.
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Those that the shared setting `retention` has no reason to keep.
    #[arg(long, conflicts_with = "snapshots")]
    pub by_rule: bool,
    /// Do it. Without it is only said what would leave, and what space would come back where and when.
    #[arg(long)]
    pub yes: bool,
    /// Take back all that was let go and is not gone yet.
    #[arg(long, conflicts_with_all = ["snapshots", "by_rule", "yes"])]
    pub undo: bool,
    /// How to print.
    #[command(flatten)]
    pub print: Print,
}
