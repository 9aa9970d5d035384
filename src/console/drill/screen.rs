//! What the drill tells at its end: one screen, or one JSON document.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::compare::{Comparison, Size};
use crate::console::control::SnapshotOutcome;
use crate::console::fault::Exit;
use crate::console::retrieve::RetrieveOutcome;

/// A drill's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillReport {
    /// What was protected.
    pub source: PathBuf,
    /// How much that is.
    pub size: Size,
    /// The snapshot.
    pub snapshot: SnapshotOutcome,
    /// From asking for the snapshot until it was protected.
    pub protect_seconds: f64,
    /// What came back.
    pub came_back: RetrieveOutcome,
    /// From asking for it until all was durable.
    pub retrieve_seconds: f64,
    /// Bytes on each survivor's disk.
    pub stored: Vec<(String, u64)>,
    /// The most memory each keeper process ever had.
    pub peaks: Vec<(String, u64)>,
    /// Source against what came back.
    pub comparison: Comparison,
}

impl DrillReport {
    /// How the command ends.
    pub fn exit(&self) -> Exit {
        if self.comparison.different_count > 0 || self.came_back.failed_count > 0 {
            Exit::Damaged
        } else if !self.snapshot.protected || self.comparison.unread > 0 {
            Exit::NotSafe
        } else {
            Exit::Done
        }
    }
}

/// Bytes as people read them.
pub fn bytes(bytes: u64) -> String {
    humansize::format_size(bytes, humansize::BINARY)
}

fn rate(bytes_done: u64, seconds: f64) -> String {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )] // shown with three digits
    let per_second = (bytes_done as f64 / seconds.max(0.001)) as u64;
    format!("in {seconds:.1} s, {}/s", bytes(per_second))
}

fn each(list: &[(String, u64)]) -> String {
    list.iter()
        .map(|(name, amount)| format!("{name} {}", bytes(*amount)))
        .collect::<Vec<_>>()
        .join(", ")
}

impl fmt::Display for DrillReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            size,
            snapshot,
            came_back,
            comparison,
            ..
        } = self;
        writeln!(f, "\nThe drill: a flood at home\n")?;
        writeln!(f, "  protected   {}", self.source.display())?;
        writeln!(
            f,
            "              {} files, {}, {}",
            size.files,
            bytes(size.bytes),
            rate(size.bytes, self.protect_seconds)
        )?;
        let keepers: Vec<_> = snapshot
            .keepers
            .iter()
            .map(|keeper| keeper.name.as_str())
            .collect();
        writeln!(
            f,
            "  copies      {} on other Boxes ({}); on disk: {}",
            snapshot.copies,
            keepers.join(", "),
            each(&self.stored)
        )?;
        writeln!(
            f,
            "  flood       home was killed (SIGKILL) and its state destroyed"
        )?;
        writeln!(
            f,
            "  came back   {} files, {}, {}",
            came_back.files,
            bytes(came_back.bytes),
            rate(came_back.bytes, self.retrieve_seconds)
        )?;
        writeln!(
            f,
            "              on the new Box, from office and friend alone"
        )?;
        writeln!(
            f,
            "  memory      peak of each keeper: {}",
            each(&self.peaks)
        )?;
        if let Some(peak) = came_back.memory_peak_bytes {
            writeln!(
                f,
                "              peak of the retrieve command: {}",
                bytes(peak)
            )?;
        }
        let changed = comparison.changed_meanwhile.len() as u64;
        let same = comparison.compared.saturating_sub(changed);
        let verdict = match (
            comparison.different_count + came_back.failed_count,
            changed + comparison.unread,
        ) {
            (0, 0) => format!(
                "yes: {same} things and {}, attribute by attribute",
                bytes(comparison.bytes)
            ),
            (0, _) => format!(
                "yes, all {same} things that could be compared; {changed} changed meanwhile, {} could not be read in the source",
                comparison.unread
            ),
            (different, _) => format!("NO: {different} things differ"),
        };
        writeln!(f, "  identical   {verdict}")?;
        for (path, how) in comparison.different.iter().chain(&came_back.failed) {
            writeln!(f, "              {path}: {how}")?;
        }
        if comparison.unread > 0 {
            for (path, why) in snapshot.unread.iter().take(20) {
                writeln!(f, "  not read    {path}: {why}")?;
            }
        }
        for path in comparison.changed_meanwhile.iter().take(20) {
            writeln!(
                f,
                "  changed     {path} (while the drill ran: compared no further)"
            )?;
        }
        if comparison.changed_meanwhile.len() > 20 {
            writeln!(
                f,
                "              and {} more",
                comparison.changed_meanwhile.len() - 20
            )?;
        }
        if comparison.skipped > 0 {
            writeln!(f, "  left out    {} sockets", comparison.skipped)?;
        }
        let special = [
            (comparison.hard_links, "names of things with several"),
            (comparison.sparse, "files with holes"),
            (
                comparison.xattrs,
                "things with extended attributes or access lists",
            ),
        ];
        let special: Vec<_> = special
            .iter()
            .filter(|(many, _)| *many > 0)
            .map(|(many, what)| format!("{many} {what}"))
            .collect();
        if !special.is_empty() {
            writeln!(f, "  among them  {}", special.join(", "))?;
        }
        if comparison.not_set_count > 0 {
            writeln!(
                f,
                "  not set     {} things have something that you may not set or make here:",
                comparison.not_set_count
            )?;
            for (path, what) in &comparison.not_set {
                writeln!(f, "              {path}: {what}")?;
            }
        }
        if comparison.owners_not_set > 0 {
            writeln!(
                f,
                "  owners      {} things belong to others, which only root may give back",
                comparison.owners_not_set
            )?;
        }
        if !snapshot.protected {
            writeln!(
                f,
                "  NOT SAFE    {} copies are below the minimum of {}",
                snapshot.copies, snapshot.factor_min
            )?;
        }
        Ok(())
    }
}
