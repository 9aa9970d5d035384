//! What commands print for people. Programs use `--json`.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;

use super::consistency;
use super::control::{PeerView, ProgressView, RoomView, SnapshotOutcome, SnapshotView, SweepView};
use super::fault::Fault;

/// Prints on standard output. A reader that went away has seen enough; a full disk is an error like others, not a panic.
pub fn print(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        // Whoever reads has seen enough.
        .or_else(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        })
        .map_err(|error| {
            Fault::new(
                format!("standard output cannot be written: {error}"),
                "What was asked for was done.",
                "See that the disk or program it goes to has room.",
            )
        })
}

/// Prints a value as one line of JSON.
pub fn print_json<T: Serialize>(value: &T) -> Result<(), Fault> {
    print(&serde_json::to_string(value).expect("plain data"))
}

/// Tells something on standard error, where it does no harm if nobody can read it.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Bytes as people read them.
pub fn bytes(bytes: u64) -> String {
    humansize::format_size(bytes, humansize::BINARY)
}

/// A number of things, with the word that fits it.
pub fn count(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// How much of long work is done, and of how much where that is known. Pure.
pub fn how_far(far: &ProgressView) -> String {
    match &far.counted {
        Some(counted) => {
            let total = counted.total.map(|total| total.to_string());
            format!("{}{} {}", counted.done, of(total), counted.what)
        }
        None => format!("{}, {}", bytes_done(far), files_done(far)),
    }
}

/// The same, of bytes alone.
pub fn bytes_done(far: &ProgressView) -> String {
    format!(
        "{}{}",
        bytes(far.bytes_read),
        of(far.bytes_total.map(bytes))
    )
}

/// The same, of files alone.
pub fn files_done(far: &ProgressView) -> String {
    match far.files_total {
        Some(total) => format!("{} of {}", far.files, count(total, "file", "files")),
        None => count(far.files, "file", "files"),
    }
}

fn of(total: Option<String>) -> String {
    total.map_or_else(String::new, |total| format!(" of {total}"))
}

/// So many days and hours.
pub fn days(seconds: u64) -> String {
    let hours = seconds.div_ceil(3600);
    match (hours / 24, hours % 24) {
        (0, hours) => count(hours, "hour", "hours"),
        (days, 0) => count(days, "day", "days"),
        (days, hours) => format!(
            "{} and {}",
            count(days, "day", "days"),
            count(hours, "hour", "hours")
        ),
    }
}

/// The same for what something was done to.
fn was(number: u64, one: &str) -> String {
    if number == 1 {
        format!("1 {one} was")
    } else {
        format!("{number} {one}s were")
    }
}

/// How old something is, in the largest unit that says it; `None` if it lies ahead.
pub fn age(then_seconds: i64, now_seconds: i64) -> Option<String> {
    let seconds = now_seconds.saturating_sub(then_seconds);
    let (amount, unit) = match seconds {
        ..0 => return None,
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let s = if amount == 1 { "" } else { "s" };
    Some(format!("{amount} {unit}{s}"))
}

/// How long ago, in the largest unit that says it.
pub fn ago(then_seconds: i64, now_seconds: i64) -> String {
    age(then_seconds, now_seconds).map_or_else(
        || "in the future, by this Box's clock".into(),
        |age| format!("{age} ago"),
    )
}

/// `reserve snapshots`
pub fn snapshots(list: &[SnapshotView], now_seconds: i64) -> String {
    if list.is_empty() {
        return "No snapshots yet. Take one with `reserve snapshot` on a Box that has data sets."
            .into();
    }
    let mut text = format!(
        "{:<10} {:<12} {:>6}  {:<20}  {:>10}  known to\n",
        "ID", "author", "number", "taken (UTC)", "stored"
    );
    let mut has_label = false;
    for snapshot in list {
        let SnapshotView {
            id,
            author,
            number,
            taken,
            taken_seconds,
            sealed_bytes,
            held_by,
            accepted,
            is_lacking,
            kept_by,
            is_leaving,
            gone_in_seconds,
            data_sets,
            ..
        } = snapshot;
        let held = held_by.join(", ");
        let pending = if *accepted {
            ""
        } else {
            "  (waits for a person: much was gone)"
        };
        let lacking = if *is_lacking {
            "  (LACKS parts that are on no Box)"
        } else {
            ""
        };
        let label = consistency::in_list(data_sets.as_deref().unwrap_or_default());
        has_label |= !label.is_empty();
        let rule = match (kept_by.as_deref(), gone_in_seconds) {
            (_, Some(seconds)) => format!("  [leaves, gone in {} at the earliest]", days(*seconds)),
            _ if *is_leaving => "  [leaves]".into(),
            (Some("all" | "waits"), None) => String::new(),
            (Some(why), None) => format!("  [{why}]"),
            (None, None) => "  [beyond the rule]".into(),
        };
        let _ = writeln!(
            text,
            "{id:<10} {author:<12} {number:>6}  {taken:<20}  {:>10}  {held}, {}{pending}{lacking}{label}{rule}",
            bytes(*sealed_bytes),
            ago(*taken_seconds, now_seconds)
        );
    }
    if has_label {
        let _ = writeln!(text, "\n{}", consistency::BELOW_LIST);
    }
    if list.iter().any(|one| one.is_lacking) {
        let _ = writeln!(
            text,
            "\nA snapshot that lacks parts is retrieved without them: `reserve retrieve` names each file, and ends with status 4. `reserve forget` on its Box lets go of it."
        );
    }
    let beyond = list.iter();
    let beyond = beyond.filter(|one| one.kept_by.is_none() && !one.is_leaving);
    let beyond = beyond.count();
    if beyond > 0 {
        let _ = writeln!(
            text,
            "\nThe setting `retention` has no reason to keep {beyond} of these: their Boxes let them go within a month. `reserve forget --by-rule` on a Box shows what that gives back."
        );
    }
    if list.iter().any(|one| one.is_leaving) {
        let _ = writeln!(
            text,
            "\nWhat leaves can be retrieved until it is gone; `reserve forget --undo` on its Box takes it back."
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// `reserve peers`
pub fn peers(list: &[PeerView], is_running: bool) -> String {
    let mut text = format!("{:<16} {:<16} {:<12} addresses\n", "name", "site", "state");
    for peer in list {
        let state = match (peer.is_me, peer.connected) {
            (true, _) => "this Box",
            (false, true) => "connected",
            (false, false) if is_running => "out of reach",
            (false, false) => "not asked",
        };
        let _ = writeln!(
            text,
            "{:<16} {:<16} {state:<12} {}",
            peer.name,
            peer.site,
            peer.addresses.join(", ")
        );
        if let Some(room) = &peer.room {
            let _ = writeln!(text, "{:<16} {}", "", room_line(room));
        }
        if peer.kept_bytes > 0 {
            let _ = writeln!(text, "{:<16} has {} here", "", bytes(peer.kept_bytes));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

fn room_line(room: &RoomView) -> String {
    let quota = room.quota_bytes.map_or_else(String::new, |quota| {
        format!(" of {} it may have", bytes(quota))
    });
    let damaged = match room.damaged {
        0 => String::new(),
        damaged => format!("; {damaged} chunks are damaged there and being replaced"),
    };
    format!(
        "keeps {}{quota} for this Box, has room for {}{damaged}",
        bytes(room.used_bytes),
        bytes(room.room_bytes)
    )
}

/// `reserve sweep`
pub fn sweep(view: &SweepView) -> String {
    let mut text = format!(
        "Read {} in {} segments: {} frames compared with their names.",
        bytes(view.bytes),
        view.segments,
        view.frames
    );
    if view.files > 0 {
        let _ = write!(
            text,
            " {}, {}, compared with the last snapshot.",
            count(view.files, "own file", "own files"),
            bytes(view.file_bytes)
        );
    }
    if !view.state_repaired.is_empty() {
        let _ = write!(
            text,
            "\nOf this Box's own files {} did not read: written again from what the service knows.",
            view.state_repaired.join(" and ")
        );
    }
    if view.events_damaged > 0 {
        let _ = write!(
            text,
            "\nIn the journal of events {} not read.",
            count(view.events_damaged, "place does", "places do")
        );
    }
    if view.rotten_count > 0 {
        let _ = write!(
            text,
            "\n{} not what was written, though nobody changed it: the disk of this Box damages files.",
            if view.rotten_count == 1 {
                "1 own file is".to_owned()
            } else {
                format!("{} own files are", view.rotten_count)
            }
        );
        for file in &view.rotten {
            let _ = write!(text, "\n  {file}");
        }
        text.push_str(
            "\nTheir good versions are kept: `reserve retrieve --path PATH --to DIR`, then put them back.",
        );
    }
    if view.damaged_count == 0 {
        let is_whole =
            view.rotten_count == 0 && view.state_repaired.is_empty() && view.events_damaged == 0;
        if is_whole {
            text.push_str(" Everything is whole.");
        }
        return text;
    }
    let _ = write!(
        text,
        "\n{} places of the store are damaged; nothing was removed.",
        view.damaged_count
    );
    for place in &view.damaged {
        let _ = write!(text, "\n  {place}");
    }
    let _ = write!(
        text,
        "\n{} chunks were fetched anew from other Boxes, {} are still damaged.",
        view.replaced, view.still_damaged
    );
    if view.still_damaged > 0 {
        text.push_str(" This Box goes on asking the others for them.");
    }
    text
}

/// The end of `reserve snapshot`.
pub fn outcome(outcome: &SnapshotOutcome) -> String {
    let SnapshotOutcome {
        snapshot,
        copies,
        factor_min,
        files_read,
        bytes_read,
        bytes_new,
        bytes_sent,
        held,
        warnings,
        databases,
        ..
    } = outcome;
    let mut text = if outcome.protected {
        format!(
            "Snapshot {} (number {}) is protected: {} on other Boxes.",
            snapshot.id,
            snapshot.number,
            count(u64::from(*copies), "copy", "copies")
        )
    } else {
        format!(
            "Snapshot {} (number {}) is NOT protected yet: {} on other Boxes, {factor_min} are the minimum.",
            snapshot.id,
            snapshot.number,
            count(u64::from(*copies), "copy", "copies")
        )
    };
    let _ = write!(
        text,
        "\n  {files_read} new or changed files, {} read, {} new, {} sent",
        bytes(*bytes_read),
        bytes(*bytes_new),
        bytes(*bytes_sent)
    );
    if *databases > 0 {
        let _ = write!(
            text,
            "\n  {} read so that what comes back opens",
            count(*databases, "database", "databases")
        );
    }
    if !snapshot.accepted && held.is_empty() {
        text.push_str(
            "\n  It WAITS FOR YOU: much vanished or was rewritten at once. Until you say so `latest` stays the snapshot before it.\n    \
             `reserve diff` of both shows what is gone; if it is meant: `reserve snapshot --accept-loss`.",
        );
    }
    for warning in warnings {
        let _ = write!(text, "\n  Warning: {warning}.");
    }
    for (name, why) in held {
        let _ = write!(
            text,
            "\n  data set {name} was NOT taken and is in the snapshot as it was before: {why}\n    If it is right as it is now: `reserve snapshot --accept-loss`."
        );
    }
    for keeper in &outcome.keepers {
        let _ = write!(
            text,
            "\n  {}: {} of {} chunks confirmed",
            keeper.name, keeper.confirmed, keeper.needed
        );
        if let Some(why) = &keeper.refused {
            let _ = write!(text, "; it refused some: {why}");
        }
    }
    if outcome.unread_count > 0 {
        let _ = write!(
            text,
            "\n  {} could not be read or changed meanwhile:",
            outcome.unread_count
        );
        for (path, why) in outcome.unread.iter().take(20) {
            let _ = write!(text, "\n    {path}: {why}");
        }
    }
    if outcome.skipped > 0 {
        let _ = write!(text, "\n  {} left out", was(outcome.skipped, "socket"));
    }
    text
}

/// The seconds since 1970 a person's `ago` counts from.
pub fn now_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A moment as RFC 3339 in UTC, to the second.
pub fn utc(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(
        |_| format!("{seconds} s after 1970"),
        |moment| moment.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ago_uses_the_largest_unit_that_says_it() {
        for (seconds, text) in [
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (120, "2 minutes ago"),
            (7_200, "2 hours ago"),
            (86_400, "1 day ago"),
        ] {
            assert_eq!(ago(0, seconds), text);
        }
        assert!(ago(10, 0).contains("future"));
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(-1), "1969-12-31T23:59:59Z");
    }
}
