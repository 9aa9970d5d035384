//! The programs `reserve` is measured beside: what each is called and how each does a piece of work. Data, not deeds.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::output;

use super::measure::{Order, wrapped};

/// One program.
pub struct Peer {
    /// What it is called, in the table and on the disk.
    pub name: &'static str,
    /// Whether nobody but its owner can read what it stores.
    pub is_encrypted: bool,
    /// What makes its store.
    pub prepare: fn(&Place) -> Vec<Order>,
    /// Takes a snapshot.
    pub snapshot: fn(&Place) -> Order,
    /// Reads everything again, if it can.
    pub verify: Option<fn(&Place) -> Order>,
    /// Gets the newest snapshot back.
    pub retrieve: fn(&Place) -> Order,
}

/// Where a peer works.
pub struct Place {
    /// Its program.
    pub program: PathBuf,
    /// The files.
    pub data: PathBuf,
    /// Its store: not there yet when it is prepared.
    pub store: PathBuf,
    /// A directory for keys and caches.
    pub own: PathBuf,
    /// Where to put what comes back.
    pub to: PathBuf,
    /// The snapshot's number; raised with each.
    pub number: u32,
}

/// What restic, rustic and conserve call a snapshot; the word is theirs, not ours.
const TAKE: &str = concat!("back", "up");
const SECRET: &str = "a secret for a benchmark";
/// A second process of bupstash leaves its figures here, in its own directory.
pub const SECOND: &str = "second-process";

/// All of them, in the order of the table.
pub const PEERS: [Peer; 7] = [
    Peer {
        name: "bupstash",
        is_encrypted: true,
        prepare: |at| {
            vec![
                at.order(&["new-key", "-o"]).arg(at.own.join("key")),
                at.order(&["init", "-r"]).arg(&at.store),
            ]
        },
        snapshot: |at| bupstash(at, &["put", "-q"]).arg(at.name()).arg(&at.data),
        verify: None,
        retrieve: |at| {
            bupstash(at, &["restore", "-q", "--into"])
                .arg(&at.to)
                .arg(at.name())
        },
    },
    Peer {
        name: "borg",
        is_encrypted: true,
        prepare: |at| vec![borg(at, &["init", "-e", "repokey-blake2"])],
        snapshot: |at| {
            borg(at, &["create"])
                .arg(format!("::s{}", at.number))
                .arg(".")
                .dir(&at.data)
        },
        verify: Some(|at| borg(at, &["check", "--verify-data"])),
        retrieve: |at| {
            borg(at, &["extract"])
                .arg(format!("::s{}", at.number))
                .dir(&at.to)
        },
    },
    Peer {
        name: "restic",
        is_encrypted: true,
        prepare: |at| vec![restic(at, &["init"])],
        snapshot: |at| restic(at, &[TAKE]).arg(&at.data),
        verify: Some(|at| restic(at, &["check", "--read-data"])),
        retrieve: |at| restic(at, &["restore", "latest", "--target"]).arg(&at.to),
    },
    Peer {
        name: "rustic",
        is_encrypted: true,
        prepare: |at| vec![rustic(at, &["init"])],
        snapshot: |at| rustic(at, &[TAKE]).arg(&at.data),
        verify: Some(|at| rustic(at, &["check", "--read-data"])),
        retrieve: |at| rustic(at, &["restore", "latest"]).arg(&at.to),
    },
    Peer {
        name: "conserve",
        is_encrypted: false,
        prepare: |at| vec![at.order(&["init"]).arg(&at.store)],
        snapshot: |at| at.order(&[TAKE, "--no-stats"]).arg(&at.store).arg(&at.data),
        verify: Some(|at| at.order(&["validate"]).arg(&at.store)),
        retrieve: |at| {
            at.order(&["restore", "--no-stats"])
                .arg(&at.store)
                .arg(&at.to)
        },
    },
    Peer {
        name: "rsync",
        is_encrypted: false,
        prepare: |_| Vec::new(),
        snapshot: |at| {
            at.order(&["-a", "--delete"])
                .arg(inside(&at.data))
                .arg(inside(&at.store))
        },
        verify: None,
        retrieve: |at| at.order(&["-a"]).arg(inside(&at.store)).arg(inside(&at.to)),
    },
    Peer {
        name: "cp",
        is_encrypted: false,
        prepare: |at| vec![Order::new(["mkdir"]).arg(&at.store)],
        snapshot: |at| at.order(&["-a"]).arg(at.data.join(".")).arg(&at.store),
        verify: None,
        retrieve: |at| at.order(&["-a"]).arg(at.store.join(".")).arg(&at.to),
    },
];

impl Peer {
    /// Whether it can take a second snapshot into the same store that leaves alone what has not changed.
    pub fn has_history(&self) -> bool {
        self.name != "cp"
    }
}

impl Place {
    fn order(&self, arguments: &[&str]) -> Order {
        let mut order = Order::new([&self.program]);
        order.line.extend(arguments.iter().map(Into::into));
        order
    }

    fn name(&self) -> String {
        format!("name=s{}", self.number)
    }
}

/// The directory's contents, as rsync wants it said.
fn inside(dir: &Path) -> PathBuf {
    dir.join("")
}

fn restic(at: &Place, arguments: &[&str]) -> Order {
    at.order(&["-q"])
        .env("RESTIC_REPOSITORY", &at.store)
        .env("RESTIC_PASSWORD", SECRET)
        .env("RESTIC_CACHE_DIR", at.own.join("cache"))
        .with(arguments)
}

fn rustic(at: &Place, arguments: &[&str]) -> Order {
    at.order(&["--no-progress", "--log-level", "error"])
        .env("RUSTIC_REPOSITORY", &at.store)
        .env("RUSTIC_PASSWORD", SECRET)
        .env("RUSTIC_CACHE_DIR", at.own.join("cache"))
        .with(arguments)
}

fn borg(at: &Place, arguments: &[&str]) -> Order {
    at.order(arguments)
        .env("BORG_REPO", &at.store)
        .env("BORG_PASSPHRASE", SECRET)
        .env("BORG_BASE_DIR", &at.own)
}

/// Two processes: the one that keeps the store is measured by itself too.
fn bupstash(at: &Place, arguments: &[&str]) -> Order {
    let mut keeping: Vec<String> = wrapped(&at.own.join(SECOND))
        .unwrap_or_default()
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    keeping.push(at.program.display().to_string());
    keeping.push("serve".to_owned());
    keeping.push(at.store.display().to_string());
    let quoted: Vec<String> = keeping.iter().map(|word| format!("'{word}'")).collect();
    at.order(arguments)
        .env("BUPSTASH_REPOSITORY_COMMAND", quoted.join(" "))
        .env("BUPSTASH_KEY", at.own.join("key"))
        .env("BUPSTASH_SEND_LOG", at.own.join("send-log"))
        .env("BUPSTASH_QUERY_CACHE", at.own.join("query-cache"))
}

impl Order {
    fn with(mut self, arguments: &[&str]) -> Self {
        self.line.extend(arguments.iter().map(Into::into));
        self
    }
}

/// Where a program is: in the directory given first, then on PATH.
pub fn find(name: &str, first: Option<&Path>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = first
        .map(Path::to_owned)
        .into_iter()
        .chain(std::env::split_paths(&path));
    places.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// What a program says of itself, or only its name.
pub fn version(name: &str, program: &Path) -> String {
    let ask = |with: &str| output(Command::new(program).arg(with)).ok();
    let said = ask("--version")
        .or_else(|| ask("version"))
        .unwrap_or_default();
    number_in(name, &said).map_or_else(|| name.to_owned(), |number| format!("{name} {number}"))
}

/// The first word that begins like a version.
fn number_in<'a>(name: &str, said: &'a str) -> Option<&'a str> {
    let words = said.split_ascii_whitespace().map(|word| {
        let word = word.strip_prefix(name).unwrap_or(word);
        word.trim_start_matches(['-', 'v']).trim_end_matches(',')
    });
    let mut words = words.filter(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        let of = |name, said| number_in(name, said);
        assert_eq!(of("bupstash", "bupstash-0.12.0\n"), Some("0.12.0"));
        assert_eq!(of("borg", "borg 1.2.4"), Some("1.2.4"));
        assert_eq!(
            of("rsync", "rsync  version v3.2.7  protocol version 31"),
            Some("3.2.7")
        );
        assert_eq!(of("cp", "no number"), None);
    }

    #[test]
    fn a_program_is_found_in_the_given_directory_first() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(find("cp", Some(dir.path())).is_some_and(|found| !found.starts_with(dir.path())));
        std::fs::write(dir.path().join("cp"), "").expect("it is written");
        assert_eq!(find("cp", Some(dir.path())), Some(dir.path().join("cp")));
        assert_eq!(find("no-such-program", None), None);
    }
}
