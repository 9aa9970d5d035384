//! The machine: kernel, ring, memory that may be locked, memory there is, the clock.

use rustix::process::{Resource, getrlimit};

use super::Line;
use crate::console::text::{bytes, now_seconds, utc};
use crate::terms::limits::{
    CUT_BYTES_MAX, EVENT_BYTES_MAX, EVENT_FILE_BYTES_MAX, EVENT_QUEUE_MAX, LINK_BUFFER_BYTES,
    RECEIVE_GUARANTEED_BYTES, RECEIVE_POOL_BYTES, SEND_QUEUE_BYTES_MAX, SEND_WINDOW_BYTES,
    STORE_BUFFER_BYTES, STORE_BUFFERS, TABLE_LOAD_PERCENT_MAX, TABLE_SLOT_BYTES,
};
use crate::world::uring;

/// The first kernel that has every ring operation the service uses.
const KERNEL_MIN: (u32, u32) = (5, 19);
/// A clock before this cannot be right: 24 November 2026, when this began.
const CLOCK_SECONDS_MIN: i64 = 1_795_478_400;
/// Chunks of plaintext on their way to commands at once.
const CHUNKS_OUT: usize = 8;

/// Looks at the machine.
pub(super) fn look() -> Vec<Line> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    vec![
        Line::ok("version", format!("reserve {}", env!("CARGO_PKG_VERSION"))),
        kernel(&release),
        ring(),
        locked(
            getrlimit(Resource::Memlock).current,
            rustix::process::geteuid().is_root(),
        ),
        clock(now_seconds()),
    ]
}

fn kernel(release: &str) -> Line {
    let mut parts = release.split(['.', '-', '+']).map(str::parse::<u32>);
    let version = match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => {
            return Line::warning(
                "kernel",
                format!("Linux {release}: its version is not understood"),
                "See that it is 5.19 or newer.",
            );
        }
    };
    let numbers = [
        ("major", u64::from(version.0)),
        ("minor", u64::from(version.1)),
    ];
    let text = format!("Linux {release}");
    if version >= KERNEL_MIN {
        Line::ok("kernel", text).with(&numbers)
    } else {
        let todo = "Linux 5.19 or newer is needed: update the image.";
        Line::failure("kernel", text, todo).with(&numbers)
    }
}

fn ring() -> Line {
    match uring::run(async {}) {
        Ok(()) => Line::ok("io_uring", "a ring can be made"),
        Err(error) => {
            let sentence = error.to_string();
            let (what, todo) = sentence
                .split_once("; nothing was changed; ")
                .unwrap_or((&sentence, "See `reserve keeper`."));
            Line::failure("io_uring", what, todo)
        }
    }
}

fn locked(limit_bytes: Option<u64>, is_root: bool) -> Line {
    let wanted = (STORE_BUFFERS * STORE_BUFFER_BYTES) as u64;
    let Some(limit) = limit_bytes.filter(|_| !is_root) else {
        return Line::ok("memlock", "memory may be locked without a limit");
    };
    let text = format!(
        "{} may be locked, {} are wanted",
        bytes(limit),
        bytes(wanted)
    );
    let numbers = [("limit_bytes", limit), ("wanted_bytes", wanted)];
    if limit >= wanted {
        Line::ok("memlock", text).with(&numbers)
    } else {
        let todo = "The service works without, a little slower: raise `ulimit -l`, or LimitMEMLOCK= in the unit.";
        Line::warning("memlock", text, todo).with(&numbers)
    }
}

fn clock(now: i64) -> Line {
    let text = format!("the clock says {}", utc(now));
    if now < CLOCK_SECONDS_MIN {
        let todo = "That is in the past: see that time is fetched from the network, or change the clock's battery.";
        return Line::failure("clock", text, todo);
    }
    Line::ok("clock", text)
}

/// The largest things of fixed size, with the bytes each may have; not all of them are full at once.
pub(super) fn plan(table_chunks: u64, peers: u64) -> Vec<(&'static str, u64)> {
    let table =
        table_chunks.saturating_mul(TABLE_SLOT_BYTES as u64 * 100) / TABLE_LOAD_PERCENT_MAX as u64;
    let per_peer = SEND_QUEUE_BYTES_MAX + 2 * LINK_BUFFER_BYTES + RECEIVE_GUARANTEED_BYTES;
    vec![
        ("chunk table", table),
        ("store buffers", (STORE_BUFFERS * STORE_BUFFER_BYTES) as u64),
        ("receive pool", RECEIVE_POOL_BYTES as u64),
        ("send window", SEND_WINDOW_BYTES as u64),
        (
            "windows of the other Boxes, at most",
            per_peer as u64 * peers,
        ),
        (
            "chunks on their way to commands, at most",
            (CHUNKS_OUT * CUT_BYTES_MAX) as u64,
        ),
        (
            "events",
            (3 * EVENT_FILE_BYTES_MAX + EVENT_QUEUE_MAX * EVENT_BYTES_MAX) as u64,
        ),
    ]
}

/// The plan against what there is.
pub(super) fn memory(plan: &[(&'static str, u64)], available: Option<u64>) -> Vec<Line> {
    let total: u64 = plan.iter().map(|(_, bytes)| bytes).sum();
    let parts: Vec<String> = plan
        .iter()
        .map(|(what, size)| format!("{what} {}", bytes(*size)))
        .collect();
    let there = available.map_or_else(
        || "how much there is is not known".to_owned(),
        |available| format!("{} are available", bytes(available)),
    );
    let text = format!(
        "{} are the most that is planned, were all of it in use at once ({}); {there}",
        bytes(total),
        parts.join(", ")
    );
    let todo = "Give the table fewer chunks (table_chunks in box.toml), or end other programs.";
    let line = match available {
        Some(available) if available < total => Line::failure("memory", text, todo),
        Some(available) if available < 2 * total => Line::warning("memory", text, todo),
        _ => Line::ok("memory", text),
    };
    vec![
        line.with(plan)
            .with(&[("available_bytes", available.unwrap_or(0))]),
    ]
}

pub(super) fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn an_old_kernel_a_low_limit_and_a_clock_without_battery_are_said() {
        assert_eq!(kernel("6.1.0-13-arm64").verdict, Verdict::Ok);
        assert_eq!(kernel("5.19.0").verdict, Verdict::Ok);
        assert_eq!(kernel("5.10.110").verdict, Verdict::Failure);
        assert_eq!(kernel("strange").verdict, Verdict::Warning);
        assert_eq!(locked(Some(64 << 10), false).verdict, Verdict::Warning);
        assert_eq!(locked(Some(64 << 10), true).verdict, Verdict::Ok);
        assert_eq!(locked(None, false).verdict, Verdict::Ok);
        assert_eq!(clock(0).verdict, Verdict::Failure);
        assert_eq!(clock(CLOCK_SECONDS_MIN).verdict, Verdict::Ok);
    }

    #[test]
    fn the_plan_of_a_usual_box_fits_the_promise_and_a_table_too_large_for_the_memory_fails() {
        let usual = plan(1_000_000, 2);
        let table = usual.iter().find(|(what, _)| *what == "chunk table");
        assert!(table.is_some_and(|(_, bytes)| (24_000_000..30_000_000).contains(bytes)));
        assert_eq!(memory(&usual, Some(1 << 30))[0].verdict, Verdict::Ok);
        assert_eq!(memory(&usual, Some(100 << 20))[0].verdict, Verdict::Warning);
        assert_eq!(memory(&usual, Some(10 << 20))[0].verdict, Verdict::Failure);
    }
}
