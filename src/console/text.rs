//! What commands print for people. Programs use `--json`.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;

use super::control::{PeerView, SnapshotOutcome, SnapshotView, StatusView};
use super::fault::Fault;
use crate::dispatcher::EventType;

/// Prints on standard output. A reader that went away or a full disk is an error like others, not a panic.
pub fn print(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| {
            Fault::new(
                format!("standard output cannot be written: {error}"),
                "What was asked for was done.",
                "",
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

/// How long ago, in the largest unit that says it.
pub fn ago(then_seconds: i64, now_seconds: i64) -> String {
    let seconds = now_seconds.saturating_sub(then_seconds);
    let (amount, unit) = match seconds {
        ..0 => return "in the future, by this Box's clock".into(),
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let s = if amount == 1 { "" } else { "s" };
    format!("{amount} {unit}{s} ago")
}

/// `reserve snapshots`
pub fn snapshots(list: &[SnapshotView], now_seconds: i64) -> String {
    if list.is_empty() {
        return "No snapshots yet. Take one with `reserve snapshot` on a Box that has data sets."
            .into();
    }
    let mut text = format!(
        "{:<10} {:<12} {:>6}  {:<20}  {:>10}  held by\n",
        "ID", "author", "number", "taken (UTC)", "stored"
    );
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
            ..
        } = snapshot;
        let held = held_by.join(", ");
        let pending = if *accepted {
            ""
        } else {
            "  (waits for a person: much was gone)"
        };
        let _ = writeln!(
            text,
            "{id:<10} {author:<12} {number:>6}  {taken:<20}  {:>10}  {held}, {}{pending}",
            bytes(*sealed_bytes),
            ago(*taken_seconds, now_seconds)
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// `reserve peers`
pub fn peers(list: &[PeerView]) -> String {
    let mut text = format!("{:<16} {:<16} {:<12} addresses\n", "name", "site", "state");
    for peer in list {
        let state = match (peer.is_me, peer.connected) {
            (true, _) => "this Box",
            (false, true) => "connected",
            (false, false) => "out of reach",
        };
        let _ = writeln!(
            text,
            "{:<16} {:<16} {state:<12} {}",
            peer.name,
            peer.site,
            peer.addresses.join(", ")
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// `reserve status`
pub fn status(view: &StatusView, now_seconds: i64) -> String {
    let mut text = format!("{}\n", view.sentence);
    if !view.todo.is_empty() {
        let _ = writeln!(text, "{}", view.todo);
    }
    let _ = writeln!(text);
    if let Some(latest) = &view.latest {
        let _ = writeln!(
            text,
            "newest snapshot   {} (number {}), taken {}",
            latest.id,
            latest.number,
            ago(latest.taken_seconds, now_seconds)
        );
        if let Some(looked) = view.up_to_date_seconds
            && looked > latest.taken_seconds
        {
            let _ = writeln!(
                text,
                "last look         {}: nothing had changed since",
                ago(looked, now_seconds)
            );
        }
        let _ = writeln!(
            text,
            "copies elsewhere  {} of {} wanted, {} at least",
            view.copies, view.factor, view.factor_min
        );
        if let Some(since) = view.since_seconds {
            let _ = writeln!(text, "since             {}", ago(since, now_seconds));
        }
        if let Some(proven) = view.proven_seconds {
            let _ = writeln!(text, "last proven       {}", ago(proven, now_seconds));
        }
    }
    for (name, path) in &view.data {
        let _ = writeln!(text, "data set          {name} = {path}");
    }
    for event in &view.standing {
        let mark = match event.event_type {
            EventType::Normal => "normal",
            EventType::Warning => "WARNING",
            EventType::Failure => "FAILURE",
        };
        let _ = writeln!(
            text,
            "{mark:<17} {}, since {}",
            event.text,
            ago(event.time_seconds, now_seconds)
        );
    }
    if let Some(job) = &view.job {
        let _ = writeln!(
            text,
            "now               {}: {} files, {} read",
            job.phase,
            job.files,
            bytes(job.bytes_read)
        );
    }
    for former in &view.former {
        let copies = match (former.copies, &former.looked_after_by) {
            (Some(copies), _) => format!("{copies} of {} copies confirmed", former.factor),
            (None, Some(by)) => format!("looked after by {by}"),
            (None, None) => "looked after by nobody in reach".to_owned(),
        };
        let how = if former.is_lost { "lost" } else { "left" };
        let _ = writeln!(
            text,
            "former Box        {} ({how}), snapshots up to {}: {copies}",
            former.name, former.newest
        );
    }
    if let Some(since) = view.mending_since_seconds {
        let _ = writeln!(text, "a Box went        {}", ago(since, now_seconds));
    }
    if let Some(mending) = &view.mending {
        let _ = writeln!(
            text,
            "copies again      {} at {}: snapshot {}, {} chunks confirmed",
            mending.author, mending.keeper, mending.number, mending.chunks
        );
    }
    if let Some(store) = &view.store {
        let _ = writeln!(
            text,
            "keeps for others  {} chunks ({} at most), {}, {} free",
            store.chunks,
            store.chunks_max,
            bytes(store.bytes),
            bytes(store.free_bytes)
        );
        if store.damaged > 0 {
            let _ = writeln!(
                text,
                "damaged           {} chunks are not whole here",
                store.damaged
            );
        }
    }
    if let Some((now, peak)) = view.memory_bytes {
        let _ = writeln!(
            text,
            "memory            {}, at most {}",
            bytes(now),
            bytes(peak)
        );
    }
    let _ = write!(text, "\n{}", peers(&view.peers));
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
            "Snapshot {} (number {}) is protected: {copies} copies on other Boxes.",
            snapshot.id, snapshot.number
        )
    } else {
        format!(
            "Snapshot {} (number {}) is NOT protected yet: {copies} copies on other Boxes, {factor_min} are the minimum.",
            snapshot.id, snapshot.number
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
        let _ = write!(text, "\n  {databases} databases read so that they open");
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
        let _ = write!(
            text,
            "\n  {} sockets, pipes or devices were left out",
            outcome.skipped
        );
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
