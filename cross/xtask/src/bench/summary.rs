//! The whole table on one screen: seconds of everybody side by side, then which targets are met.

use std::fmt::Write;

use super::rows::Measure;
use super::table::{OURS, Table};

/// Columns of it at most.
const PEERS_MAX: usize = 6;

/// For people.
pub fn text(table: &Table) -> String {
    let mut peers: Vec<String> = Vec::new();
    for who in table.measured() {
        if who != OURS && !peers.contains(&who) {
            peers.push(who);
        }
    }
    peers.truncate(PEERS_MAX);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(out, "{:<18}", "wall s / CPU s");
    for who in std::iter::once(OURS).chain(peers.iter().map(String::as_str)) {
        let _ = write!(out, " {who:>12}");
    }
    let _ = writeln!(out);
    for row in table.rows() {
        let _ = write!(out, "{:<18}", row.key());
        for who in std::iter::once(OURS).chain(peers.iter().map(String::as_str)) {
            let of = |measure| table.median(row, who, measure);
            let cell = match (of(Measure::Wall), of(Measure::Cpu)) {
                (Some(wall), Some(cpu)) => format!("{wall:.2}/{cpu:.2}"),
                _ => "-".to_owned(),
            };
            let _ = write!(out, " {cell:>12}");
        }
        let _ = writeln!(out);
    }
    let verdicts = table.rows().into_iter().flat_map(|row| table.verdicts(row));
    let (mut met, mut all) = (0, 0);
    for verdict in verdicts {
        met += usize::from(verdict.is_met == Some(true));
        all += usize::from(verdict.is_met.is_some());
    }
    let _ = writeln!(out, "{met} of {all} targets met that could be told");
    out
}
