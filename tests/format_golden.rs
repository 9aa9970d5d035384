//! Golden vectors: the exact bytes of every record of src/format under fixed keys, as src/format/FORMAT.md cites them.
//!
//! A difference means that the format changed: Boxes in the field could not read each other or their own disks. If the
//! change is meant, raise the record's version, say so in FORMAT.md, and write the vectors anew with
//! `RESERVE_WRITE_GOLDEN=1 cargo test --test format_golden every_record`. A file of tests/golden is a list of parts: a `#` line with
//! the part's name, then its bytes in hexadecimal; `zeros N` stands for N zero bytes.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test reads and writes its own files"
)]

use std::fs;
use std::path::{Path, PathBuf};

use reserve::format::compacted::Compacted;
use reserve::format::event;
use reserve::format::healed::Healed;
use reserve::format::index::{self, Node, Page};
use reserve::format::lived::Lived;
use reserve::format::mended::Mended;
use reserve::format::message::Envelope;
use reserve::format::opening::Opening;
use reserve::format::record;
use reserve::format::release::{ClaimedPage, Freed, NotedRelease, SignedRelease};
use reserve::format::roster::Facts;
use reserve::format::segment::{FooterEntry, FrameHeader, SegmentHeader, Trailer};
use reserve::format::ticket::Ticket;
use reserve::format::unmet::Unmet;
use reserve::format::verified::Verified;
use reserve::format::{decode_file, sealed_note};

#[path = "golden/events.rs"]
mod events;
#[path = "golden/messages.rs"]
mod messages;
#[path = "golden/releases.rs"]
mod releases;
#[path = "golden/snapshots.rs"]
mod snapshots;
#[path = "golden/vectors.rs"]
mod vectors;

use vectors::Part;

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Every golden file with the parts it must have.
fn all() -> Vec<(&'static str, Vec<Part>)> {
    vec![
        ("record", vectors::records()),
        ("keys", vectors::keys()),
        ("segment", vectors::segments()),
        ("index", snapshots::index()),
        ("path_order", snapshots::path_order()),
        ("snapshot", snapshots::snapshots()),
        ("roster", snapshots::roster()),
        ("ticket", vectors::tickets()),
        ("opening", vectors::openings()),
        ("message", messages::messages()),
        ("sealed_note", vectors::sealed_notes()),
        ("state_file", vectors::state_files()),
        ("event", events::events()),
        ("release", releases::releases()),
    ]
}

fn render(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        text.push_str(&format!("# {}\n", part.name));
        let zeros = part.bytes.iter().rev().take_while(|b| **b == 0).count();
        let kept = if zeros > 64 {
            part.bytes.len() - zeros
        } else {
            part.bytes.len()
        };
        for line in part.bytes[..kept].chunks(32) {
            text.push_str(&data_encoding::HEXLOWER.encode(line));
            text.push('\n');
        }
        if kept < part.bytes.len() {
            text.push_str(&format!("zeros {zeros}\n"));
        }
    }
    text
}

fn parse(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# ") {
            parts.push(Part {
                name: name.to_owned(),
                bytes: Vec::new(),
            });
            continue;
        }
        let bytes = &mut parts.last_mut().expect("a part starts with its name").bytes;
        if let Some(count) = line.strip_prefix("zeros ") {
            let count: usize = count.parse().expect("a number of zeros");
            bytes.resize(bytes.len() + count, 0);
        } else {
            bytes.extend(
                data_encoding::HEXLOWER
                    .decode(line.as_bytes())
                    .expect("hexadecimal"),
            );
        }
    }
    parts
}

/// The committed parts of one golden file.
fn committed(name: &str) -> Vec<Part> {
    let path = golden_dir().join(format!("{name}.hex"));
    parse(&fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

#[test]
fn every_record_is_encoded_as_its_golden_vector_says() {
    let write = std::env::var_os("RESERVE_WRITE_GOLDEN").is_some();
    let mut changed = Vec::new();
    for (name, parts) in all() {
        let path = golden_dir().join(format!("{name}.hex"));
        let wanted = render(&parts);
        if write {
            fs::write(&path, &wanted).expect("tests/golden can be written");
            write_seeds(name, &parts);
        }
        if fs::read_to_string(&path).unwrap_or_default() != wanted {
            changed.push(format!("tests/golden/{name}.hex"));
        }
    }
    assert!(
        changed.is_empty(),
        "the format changed: {changed:?} no longer match what src/format writes. If that was not meant, undo it: Boxes in \
         the field could not read their own disks. If it was, raise the record's version, say so in src/format/FORMAT.md \
         and run: RESERVE_WRITE_GOLDEN=1 cargo test --test format_golden every_record"
    );
}

/// A fuzz target named like the golden file starts from its parts, each whole, cut short and with one bit turned.
fn write_seeds(target: &str, parts: &[Part]) {
    let dir = golden_dir().join("../fuzz/corpus").join(target);
    if !dir.is_dir() {
        return;
    }
    for (number, part) in parts.iter().enumerate() {
        let name: String = part
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        // A block's padding teaches a fuzzer nothing.
        let bytes = &part.bytes[..part.bytes.len().min(1024)];
        let write = |kind: &str, bytes: &[u8]| {
            fs::write(dir.join(format!("{name}{kind}")), bytes).expect("the corpus can be written");
        };
        write("", bytes);
        if number % 4 == 0 && bytes.len() > 2 {
            write("-cut", &bytes[..bytes.len() / 2]);
            let mut turned = bytes.to_vec();
            turned[bytes.len() / 3] ^= 0x10;
            write("-turned", &turned);
        }
    }
}

#[test]
fn golden_records_open_to_what_was_sealed() {
    for part in committed("record") {
        let (header, plain) = record::open(&vectors::data_keys(), part.bytes)
            .unwrap_or_else(|e| panic!("{}: {e}", part.name));
        assert_eq!(plain, vectors::plaintext(&part.name), "{}", part.name);
        assert_eq!(header.plain_bytes as usize, plain.len());
    }
}

#[test]
fn golden_segments_read_back() {
    let parts = committed("segment");
    for part in &parts {
        let again = match part.name.split(' ').next() {
            Some("segment") => SegmentHeader::decode(&part.bytes).map(|x| x.encode().to_vec()),
            Some("frame") => FrameHeader::decode(&part.bytes).map(|x| x.encode().to_vec()),
            Some("footer") => {
                let entry = part
                    .bytes
                    .as_slice()
                    .try_into()
                    .expect("a footer entry's length");
                FooterEntry::decode(entry).map(|x| x.encode().to_vec())
            }
            Some("trailer") => Trailer::decode(&part.bytes).map(|x| x.encode().to_vec()),
            other => panic!("no parser for {other:?}"),
        };
        assert_eq!(again.as_ref(), Ok(&part.bytes), "{}", part.name);
    }
}

#[test]
fn golden_events_read_back() {
    for part in committed("event") {
        let bytes = &part.bytes;
        if part.name == "journal file" {
            let read = event::read_file(bytes);
            assert_eq!((read.events.len(), read.damaged), (3, 0));
        } else {
            let again = event::Event::decode(bytes).map(|x| x.encode());
            assert_eq!(again.as_ref(), Ok(bytes), "{}", part.name);
        }
    }
}

#[test]
fn golden_pages_nodes_snapshots_and_rosters_read_back() {
    for file in ["index", "snapshot", "roster"] {
        for part in committed(file) {
            let bytes = &part.bytes;
            let again = match part.name.split(' ').next() {
                Some("page") => Page::decode(bytes).map(|x| x.encode()),
                Some("node") => Node::decode(bytes).map(|x| x.encode()),
                Some("head") => {
                    reserve::format::head::SignedHead::decode(bytes).map(|x| x.encode())
                }
                Some("manifest") => {
                    reserve::format::head::Manifest::decode(bytes).map(|x| x.encode())
                }
                Some("roster") => Facts::decode(bytes).map(|x| x.encode()),
                other => panic!("no parser for {other:?}"),
            };
            assert_eq!(again.as_ref(), Ok(bytes), "{}", part.name);
        }
    }
}

#[test]
fn golden_tickets_openings_notes_and_files_read_back() {
    for part in committed("ticket") {
        let text = String::from_utf8(part.bytes).expect("a ticket is text");
        assert_eq!(
            Ticket::from_text(&text).expect("a golden ticket").to_text(),
            text
        );
    }
    for part in committed("opening") {
        let (clear, mac) = part
            .bytes
            .split_first_chunk::<13>()
            .expect("an opening's length");
        let opening = Opening::decode(clear).expect("a golden opening");
        assert_eq!(opening.clear(), *clear, "{}", part.name);
        assert_eq!(vectors::opening_mac(&opening), *mac, "{}", part.name);
    }
    for part in committed("sealed_note") {
        let secret = sealed_note::open(&part.bytes, &vectors::note_key()).expect("a golden note");
        assert_eq!(secret.as_slice(), vectors::NOTE_SECRET);
    }
    for part in committed("state_file") {
        if part.name == "verified segments" {
            let verified = Verified::decode(&part.bytes).expect("a golden list of marks");
            assert_eq!(verified.encode(), part.bytes);
        } else if part.name == "confirmed snapshots" {
            let mended = Mended::decode(&part.bytes).expect("a golden list of confirmations");
            assert_eq!(mended.encode(), part.bytes);
        } else if part.name == "compacted segments" {
            let compacted = Compacted::decode(&part.bytes).expect("a golden list of segments");
            assert_eq!(compacted.encode(), part.bytes);
        } else if part.name == "healed places" {
            let healed = Healed::decode(&part.bytes).expect("a golden list of places");
            assert_eq!(healed.encode(), part.bytes);
        } else if part.name == "members not met" {
            let unmet = Unmet::decode(&part.bytes).expect("a golden list of members");
            assert_eq!(unmet.encode(), part.bytes);
        } else {
            assert_eq!(decode_file("state file", &part.bytes), Ok(vectors::state()));
        }
    }
}

#[test]
fn golden_releases_read_back() {
    for part in committed("release") {
        let bytes = &part.bytes;
        let again = match part.name.split(' ').next() {
            Some("release") => SignedRelease::decode(bytes).map(|x| x.encode()),
            Some("claims") => ClaimedPage::decode(bytes).map(|x| x.encode()),
            Some("noted") => NotedRelease::decode(bytes).map(|(x, _)| x.encode()),
            Some("freed") => Freed::decode(bytes).map(|x| x.encode()),
            Some("lived") => Lived::decode(bytes).map(|x| x.encode()),
            other => panic!("no parser for {other:?}"),
        };
        assert_eq!(again.as_ref(), Ok(bytes), "{}", part.name);
    }
}

#[test]
fn golden_messages_read_back_and_every_message_has_one() {
    let mut seen = vec![false; messages::MESSAGES];
    for part in committed("message") {
        let envelope = Envelope::decode(&part.bytes).expect("a golden message");
        assert_eq!(envelope.encode(), part.bytes, "{}", part.name);
        seen[messages::place(&envelope.message)] = true;
    }
    assert!(
        seen.iter().all(|seen| *seen),
        "a message has no golden vector: {seen:?}"
    );
}

#[test]
fn golden_paths_are_in_path_order() {
    let paths = committed("path_order");
    assert!(paths.len() > 5);
    for pair in paths.windows(2) {
        assert!(
            index::path_order(&pair[0].bytes, &pair[1].bytes).is_lt(),
            "{}",
            pair[1].name
        );
    }
}

#[test]
fn a_golden_file_reads_back_from_its_text() {
    let parts = vec![
        Part {
            name: "short".to_owned(),
            bytes: vec![0, 1, 2],
        },
        Part {
            name: "padded".to_owned(),
            bytes: [vec![7; 40], vec![0; 100]].concat(),
        },
        Part {
            name: "none".to_owned(),
            bytes: Vec::new(),
        },
    ];
    assert_eq!(parse(&render(&parts)), parts);
}
