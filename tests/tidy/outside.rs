//! What a room may not touch, because the outside is reached only through the traits of src/world: clocks, files, sockets,
//! randomness, threads, and maps whose order differs from run to run. Clippy refuses the same (.cargo/clippy.toml); this
//! reads the text, so that an `allow` in the wrong place, and what clippy cannot name, is seen too.

use super::imports::paths_from;
use super::source::{Finding, Source, finding, line_of, places_of};

/// Where the outside begins. Tests are free, and so is all that is not in src.
const OUTSIDE: [&str; 3] = ["src/world/uring/", "src/console/", "src/main.rs"];

/// Names refused wherever they stand, and what to use instead.
const NAMES: [(&str, &str); 13] = [
    ("Instant", "time comes from `world::Clock`"),
    ("SystemTime", "time comes from `world::Clock`"),
    (
        "RandomState",
        "its order differs from run to run; use BTreeMap",
    ),
    ("HashMap", "its order differs from run to run; use BTreeMap"),
    ("HashSet", "its order differs from run to run; use BTreeSet"),
    ("OsRng", "randomness comes from `world::Entropy`"),
    ("getrandom", "randomness comes from `world::Entropy`"),
    (
        "spawn_blocking",
        "one thread decides; `world` does what may block",
    ),
    ("spawn_local", "tasks are started with `World::spawn`"),
    (
        "block_in_place",
        "one thread decides; `world` does what may block",
    ),
    ("rustix", "the operating system is reached through `world`"),
    ("libc", "the operating system is reached through `world`"),
    ("tokio_uring", "the ring is behind `world`"),
];

/// Paths refused with all that is below them.
const PATHS: [(&str, &str); 15] = [
    ("tokio::time", "time comes from `world::Clock`"),
    ("tokio::net", "Boxes are reached through `world::Net`"),
    (
        "tokio::fs",
        "files are reached through `world::Disk` and `world::Tree`",
    ),
    ("tokio::spawn", "tasks are started with `World::spawn`"),
    (
        "tokio::task::spawn",
        "tasks are started with `World::spawn`",
    ),
    (
        "tokio::task::LocalSet",
        "tasks are started with `World::spawn`",
    ),
    ("tokio::signal", "signals are `main`'s business"),
    (
        "std::fs",
        "files are reached through `world::Disk` and `world::Tree`",
    ),
    ("std::thread", "there is one thread"),
    ("std::process", "other programs are the console's business"),
    (
        "std::os::unix::net",
        "the control socket is the console's business",
    ),
    (
        "std::os::unix::fs",
        "files are reached through `world::Disk` and `world::Tree`",
    ),
    (
        "std::net::TcpStream",
        "Boxes are reached through `world::Net`",
    ),
    (
        "std::net::TcpListener",
        "Boxes are reached through `world::Net`",
    ),
    (
        "std::net::UdpSocket",
        "Boxes are reached through `world::Net`",
    ),
];

/// What the simulated world may use of these: tokio's paused time and its tasks. Real time, the machine's files and its
/// randomness are refused there too, or a seed could not be run again.
const SIMULATION_MAY: [&str; 7] = [
    "Instant",
    "spawn_local",
    "tokio::time",
    "tokio::spawn",
    "tokio::task::spawn",
    "tokio::task::LocalSet",
    "std::process",
];

/// Checks one file.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(selects(source));
    let is_simulation = source.path.starts_with("tests/sim/src/");
    let is_outside = OUTSIDE.iter().any(|place| source.path.starts_with(place));
    if is_outside || !(source.path.starts_with("src/") || is_simulation) {
        return findings;
    }
    let code = &source.product;
    let mut refuse = |at: usize, name: &str, instead: &str| {
        let what = format!("`{name}` belongs outside: {instead}");
        findings.push(finding(&source.path, line_of(code, at), what));
    };
    let is_free = |name: &str| is_simulation && SIMULATION_MAY.contains(&name);
    for (name, instead) in NAMES.into_iter().filter(|(name, _)| !is_free(name)) {
        for at in places_of(code, name) {
            refuse(at, name, instead);
        }
    }
    for start in ["tokio", "std"] {
        for import in paths_from(code, start) {
            let path = format!("{start}::{}::", import.names.join("::"));
            // It only asks.
            if path == "std::thread::panicking::" {
                continue;
            }
            let is_refused = |name: &str| path.starts_with(&format!("{name}::")) && !is_free(name);
            if let Some((name, instead)) = PATHS.iter().find(|(name, _)| is_refused(name)) {
                refuse(import.at, name, instead);
            }
            if is_simulation && path == "std::time::Instant::" {
                refuse(
                    import.at,
                    "std::time::Instant",
                    "simulated time is tokio's, paused",
                );
            }
        }
    }
    if !is_simulation {
        for lint in ["clippy::disallowed_methods", "clippy::disallowed_types"] {
            for at in places_of(code, lint) {
                refuse(
                    at,
                    lint,
                    "only world/uring, console, main and tests may allow it",
                );
            }
        }
    }
    findings
}

/// A select that is not biased asks a random number which branch goes first.
fn selects(source: &Source) -> Vec<Finding> {
    let code = &source.code;
    places_of(code, "select!")
        .into_iter()
        .filter(|at| {
            let inside = code[at + "select!".len()..]
                .trim_start()
                .trim_start_matches(['{', '(']);
            !inside.trim_start().starts_with("biased;")
        })
        .map(|at| {
            finding(
                &source.path,
                line_of(code, at),
                "a `select!` starts with `biased;`: without it a run cannot be repeated",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Source::new(path, text))
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn every_refused_name_and_path_is_found_in_a_room() {
        for (name, _) in NAMES {
            assert_eq!(
                lines(
                    "src/keeper/a.rs",
                    &format!("//! a\nfn f() {{ {name}(); }}\n")
                ),
                [2],
                "{name}"
            );
        }
        for (path, _) in PATHS {
            assert_eq!(
                lines("src/keeper/a.rs", &format!("//! a\n\nuse {path};\n")),
                [3],
                "{path}"
            );
            let (start, rest) = path.split_once("::").expect("a path");
            assert_eq!(
                lines(
                    "src/keeper/a.rs",
                    &format!("use {start}::{{{rest}::x, y}};\n")
                ),
                [1],
                "{path}"
            );
        }
    }

    #[test]
    fn prose_tests_and_the_outside_are_free() {
        let text = "//! Not an Instant.\nfn f() { say(\"HashMap\"); }\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(lines("src/keeper/a.rs", text), []);
        assert_eq!(lines("src/world/uring/disk.rs", "use std::fs;"), []);
        assert_eq!(lines("src/console/run.rs", "use std::time::Instant;"), []);
        assert_eq!(lines("tests/stories.rs", "use std::fs;"), []);
        assert_eq!(lines("src/path/a.rs", "std::thread::panicking();"), []);
        assert_eq!(
            lines(
                "src/world/mod.rs",
                "use std::{io, net::SocketAddr, time::Duration};"
            ),
            []
        );
    }

    #[test]
    fn the_simulation_has_paused_time_and_nothing_of_the_machine() {
        let path = "tests/sim/src/clock.rs";
        assert_eq!(lines(path, "use tokio::time::{self, Instant};"), []);
        assert_eq!(lines(path, "use std::{io, time::Instant};"), [1]);
        assert_eq!(
            lines(path, "use std::fs;\n\nuse std::collections::HashMap;"),
            [3, 1]
        );
    }

    #[test]
    fn an_allow_in_a_room_is_found() {
        assert_eq!(
            lines(
                "src/author/mod.rs",
                "#![allow(clippy::disallowed_methods)]\n"
            ),
            [1]
        );
    }

    #[test]
    fn a_select_without_bias_is_found() {
        assert_eq!(
            lines("src/path/a.rs", "\ntokio::select! {\n    a = b => {}\n}"),
            [2]
        );
        assert_eq!(
            lines(
                "src/path/a.rs",
                "tokio::select! {\n    biased;\n    a = b => {}\n}"
            ),
            []
        );
    }
}
