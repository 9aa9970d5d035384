//! The fuzz targets of tests/fuzz over their committed corpus, as an ordinary test: each input whole, cut at every length
//! and with every single bit turned. What a fuzzer finds is added to the corpus and stays found.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    reason = "a test reads its own files; the targets make small numbers from indices"
)]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

#[path = "fuzz/src/lib.rs"]
mod targets;

use targets::{TARGETS, Target};

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| entry.expect("a directory entry").file_name())
        .map(|name| name.into_string().expect("our names are plain"))
        .collect();
    names.sort();
    names
}

fn survives(target: Target, bytes: &[u8], what: &str) {
    let outcome = catch_unwind(|| target(bytes));
    assert!(
        outcome.is_ok(),
        "{what} makes the parser panic: {}",
        data_encoding::HEXLOWER.encode(bytes)
    );
}

#[test]
fn every_parser_survives_its_corpus_cut_at_every_length_and_with_every_bit_turned() {
    for (name, target) in TARGETS {
        let dir = fuzz_dir().join("corpus").join(name);
        for file in names_in(&dir) {
            let bytes = fs::read(dir.join(&file)).expect("a corpus file");
            survives(*target, &bytes, &format!("{name}/{file}"));
            for length in 0..bytes.len() {
                survives(
                    *target,
                    &bytes[..length],
                    &format!("{name}/{file} cut to {length} bytes"),
                );
            }
            let mut turned = bytes.clone();
            for bit in 0..bytes.len() * 8 {
                turned[bit / 8] ^= 1 << (bit % 8);
                survives(
                    *target,
                    &turned,
                    &format!("{name}/{file} with bit {bit} turned"),
                );
                turned[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}

#[test]
fn every_target_has_a_program_an_entry_in_the_manifest_and_a_small_corpus() {
    let mut wanted: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    wanted.sort();
    assert_eq!(
        names_in(&fuzz_dir().join("corpus")),
        wanted,
        "tests/fuzz/corpus against TARGETS"
    );
    let programs: Vec<String> = wanted.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(
        names_in(&fuzz_dir().join("fuzz_targets")),
        programs,
        "fuzz_targets against TARGETS"
    );
    let manifest = fs::read_to_string(fuzz_dir().join("Cargo.toml")).expect("the manifest");
    for name in &wanted {
        let entry = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(
            manifest.contains(&entry),
            "tests/fuzz/Cargo.toml has no [[bin]] for {name}"
        );
        let program = fs::read_to_string(fuzz_dir().join(format!("fuzz_targets/{name}.rs")));
        assert!(
            program
                .expect("listed above")
                .contains(&format!("fuzz::{name}(")),
            "{name}"
        );
        let dir = fuzz_dir().join("corpus").join(name);
        let files = names_in(&dir);
        assert!(files.len() >= 2, "{name} has too few seeds to start from");
        for file in files {
            let bytes = fs::metadata(dir.join(&file)).expect("listed above").len();
            assert!(
                bytes <= 4096,
                "corpus/{name}/{file} is too long to be cut at every length"
            );
        }
    }
}
