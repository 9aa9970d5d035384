//! What the README tells people to type is taken out of it and typed, as it is written, in one shell from top to bottom: with real
//! keepers in the background. A block this story does not know fails it, so that the README stays true.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

#[path = "readme/blocks.rs"]
mod blocks;
mod stage;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Command;

use blocks::{Block, blocks, named_commands};
use stage::{Stage, assert_same_trees, make_tree};

const README: &str = include_str!("../README.md");

/// Under this heading everything is typed, unless it is listed in `BLOCKS`.
const BY_HAND: &str = "By hand";

/// What becomes of a block.
enum Play {
    /// Typed, behind one script and before another.
    Between(&'static str, &'static str),
    /// Put into `$boxes/block.toml` behind these lines; then a script uses it.
    InFile(&'static str, &'static str),
    /// A list of commands with what each is for: whether there are such commands is asked, none is carried out.
    List,
    /// It cannot be typed here.
    Not,
}

/// Blocks, by their first line, that are not simply typed, and why.
const BLOCKS: [(&str, Play); 9] = [
    // A story of its own does: tests/drill.rs.
    ("cargo run --release -- drill", Play::Not),
    // This story is one of them.
    ("cargo test --workspace", Play::Not),
    // The program under test stands on the path as `reserve` already.
    ("cargo install --path .", Play::Not),
    // Only the office is left, and the Box is a new one; the words are typed.
    (
        "reserve recover --name new --from 192.168.1.20 --lost home --replaces home",
        Play::Between(
            "lose 0; lose 2; export RESERVE_DIR=$boxes/new; exec <$boxes/recovery-words",
            "exec </dev/null; reserve keeper --listen 127.0.0.1:0 & settle; reserve retrieve --to $boxes/recovered",
        ),
    ),
    (
        "[snapshots]",
        Play::InFile(
            "name = \"home\"",
            "reserve config check --file $boxes/block.toml",
        ),
    ),
    // It needs the compiler for the Box; .ci/run calls it.
    ("cargo xtask cross", Play::Not),
    // Twice, as at each boot.
    (
        "ticket_file = \"/run/ticket\"",
        Play::InFile(
            "name = \"attic\"",
            "RESERVE_DIR=$boxes/office reserve invite >$boxes/ticket; export RESERVE_DIR=$boxes/attic; \
             reserve join --from-file $boxes/block.toml; rm $boxes/ticket; reserve join --from-file $boxes/block.toml",
        ),
    ),
    // They need two Boxes in conflict: tests/conflicts.rs.
    ("reserve conflicts  ", Play::List),
    // It measures this machine for a quarter of an hour; `cargo xtask ci` does it at a thousandth of the size.
    ("cargo xtask bench --quick", Play::Not),
];

/// What every script may use. A command that fails ends the script; whatever was started ends with it.
const PRELUDE: &str = r#"
set -eEu -o pipefail
at=nowhere
keepers=()
trap 'echo "README.md:$at: status $?: $BASH_COMMAND" >&2' ERR
trap 'set +e; for pid in $(jobs -pr); do kill -KILL "$pid"; done; wait' EXIT
# Every keeper that was started a moment ago says that it listens. (Commands wait for one that starts, but not for ever.)
settle() {
    local pid
    for pid in $(jobs -p); do
        [[ " ${keepers[*]-} " == *" $pid "* ]] && continue
        keepers+=("$pid")
        until (( $(grep -c 'is listening on' "$out" || true) >= ${#keepers[@]} )); do
            kill -0 "$pid"
            sleep 0.05
        done
    done
}
# A keeper, counted in the order they were started, is gone without a word.
lose() {
    kill -KILL "${keepers[$1]}"
    wait "${keepers[$1]}" || true
}
# All that still run end in good order.
stop() {
    local pid
    for pid in $(jobs -pr); do
        kill -TERM "$pid"
        wait "$pid"
    done
}
exec </dev/null
"#;

/// The script that types a block.
fn script(block: &Block) -> String {
    let typed = block.lines.join("\n");
    let (before, after) = match known(block) {
        Some((_, Play::Not | Play::List)) => return String::new(),
        Some((_, Play::Between(before, after))) => (before.to_string(), *after),
        Some((_, Play::InFile(before, after))) => {
            let file = format!("cat >$boxes/block.toml <<'END'\n{before}\n{typed}\nEND");
            return format!("at={}\n{file}\n{after}\nsettle\n", block.line);
        }
        None if block.section == BY_HAND => (String::new(), ""),
        None => panic!(
            "README.md:{}: this story does not know what becomes of this block",
            block.line
        ),
    };
    format!("at={}\n{before}\n{typed}\n{after}\nsettle\n", block.line)
}

fn known(block: &Block) -> Option<&'static (&'static str, Play)> {
    let mut all = BLOCKS.iter();
    all.find(|(first, _)| block.lines[0].starts_with(first))
}

/// Three addresses nobody listens at, and where nobody is led who asks for any that is free.
fn free_addresses() -> [String; 3] {
    let first = 10_000 + (std::process::id() % 20_000) as u16;
    let mut free = (first..32_000).filter_map(|port| {
        let taken = TcpListener::bind(("127.0.0.1", port)).ok()?;
        Some(taken.local_addr().unwrap().to_string())
    });
    [(); 3].map(|()| free.next().unwrap())
}

#[test]
fn what_the_readme_tells_to_type_works_as_it_is_written() {
    let stage = Stage::new();
    let [boxes, person, programs] = ["boxes", "person", "programs"].map(|name| stage.path(name));
    fs::create_dir(&programs).unwrap();
    symlink(stage::program(), programs.join("reserve")).unwrap();
    let pictures = person.join("Pictures");
    make_tree(&pictures, 3);

    let all = blocks(README);
    for (first, _) in &BLOCKS {
        let is_there = all.iter().any(|block| block.lines[0].starts_with(first));
        assert!(
            is_there,
            "the README has no block that begins with: {first}"
        );
    }
    let mut typed: String = all.iter().map(script).collect();
    let [home, office, friend] = free_addresses();
    for (written, here) in [
        ("/tmp/boxes", boxes.to_str().unwrap()),
        (
            "/tmp/report.json",
            boxes.join("report.json").to_str().unwrap(),
        ),
        ("/run/ticket", boxes.join("ticket").to_str().unwrap()),
        ("/srv/photos", pictures.to_str().unwrap()),
        ("127.0.0.1:7717", &home),
        ("127.0.0.1:7718", &office),
        ("127.0.0.1:7719", &friend),
        ("192.168.1.20", &office),
    ] {
        assert!(typed.contains(written), "the README types no {written}");
        typed = typed.replace(written, here);
    }
    let script = stage.path("script");
    fs::write(&script, format!("{PRELUDE}\n{typed}\nstop\n")).unwrap();

    let out = stage.path("out");
    let path = std::env::var("PATH").unwrap();
    let ended = Command::new("bash")
        .arg(&script)
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("HOME", &person)
        .env("boxes", &boxes)
        .env("out", &out)
        .env_remove("RESERVE_DIR")
        .stdout(File::create(&out).unwrap())
        .output()
        .unwrap();
    let said = fs::read_to_string(&out).unwrap();
    let complaints = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{complaints}\n{said}");

    assert_same_trees(&pictures, &boxes.join("came-back"));
    assert_same_trees(&pictures, &boxes.join("recovered"));
    for told in [
        "All your files are safe: 2 copies elsewhere",
        "No differences.",
    ] {
        assert!(said.contains(told), "{said}");
    }
    let report = fs::read(boxes.join("report.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&report).unwrap();
}

/// Whether the command line's definition knows a command with all its options; nothing is carried out.
fn is_understood(command: &str) -> Result<(), String> {
    // `a|b` is a choice; what a person is to fill in stands in capitals, and an ID may have to be a number.
    let words = command.split(' ').map(|word| match word.split_once('|') {
        Some((first, _)) => first,
        None if word == "ID" => "12",
        None => word,
    });
    let line = words.collect::<Vec<_>>().join(" ");
    let line = line.replacen("reserve", "\"$program\"", 1) + " --help";
    let asked = Command::new("bash")
        .args(["-c", &line])
        .env("program", stage::program())
        .output()
        .unwrap();
    match asked.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command}: {}",
            String::from_utf8_lossy(&asked.stderr)
        )),
    }
}

#[test]
fn every_command_the_readme_names_is_one() {
    let lists = blocks(README);
    let lists = lists
        .iter()
        .filter(|block| matches!(known(block), Some((_, Play::List))));
    let listed = lists.flat_map(|block| &block.lines);
    // What it is for stands behind the gap.
    let listed = listed.map(|line| line.split("   ").next().unwrap().trim().to_owned());
    let all: BTreeSet<String> = named_commands(README).into_iter().chain(listed).collect();
    assert!(all.len() > 20, "{all:?}");
    let wrong: Vec<_> = all
        .iter()
        .filter_map(|command| is_understood(command).err())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for no_command in ["reserve photograph", "reserve status --loud"] {
        assert!(is_understood(no_command).is_err(), "{no_command}");
    }
}
