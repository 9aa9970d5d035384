//! The rules of the house, kept by a test: imports, what belongs outside, shape, words. Each file of tests/tidy holds one
//! kind of rule, and each rule is shown to catch an offender made up for it.
//!
//! Text only, no compiler: what the compiler or clippy can refuse is theirs.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test reads the repository's files"
)]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/faults.rs"]
mod faults;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/outside.rs"]
mod outside;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use source::{Finding, Source};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("a directory entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// Every file of the repository that people wrote, relative to its top.
fn files() -> Vec<String> {
    let mut files = Vec::new();
    let mut open: Vec<PathBuf> = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for name in names_in(&root().join(&dir)) {
            let path = dir.join(&name);
            let is_made = matches!(
                name.as_str(),
                ".git" | "target" | "Cargo.lock" | "artifacts" | "coverage" | "corpus"
            );
            if is_made {
                continue;
            }
            if root().join(&path).is_dir() {
                open.push(path);
            } else {
                files.push(path.to_str().expect("our names are plain").to_owned());
            }
        }
    }
    files.sort();
    files
}

/// The text of a file; `None` for one that is no text.
fn read(path: &str) -> Option<String> {
    String::from_utf8(fs::read(root().join(path)).expect("a file just listed")).ok()
}

fn sources() -> Vec<Source> {
    let texts = files().into_iter().filter(|path| path.ends_with(".rs"));
    let mut sources: Vec<Source> = texts
        .map(|path| Source::new(&path, &read(&path).expect("Rust is text")))
        .collect();
    let tests = source::test_modules(&sources);
    for source in &mut sources {
        let stem = source.path.trim_end_matches(".rs");
        if tests
            .iter()
            .any(|test| stem == test || stem.starts_with(&format!("{test}/")))
        {
            source.mark_as_test();
        }
    }
    sources
}

#[track_caller]
fn assert_clean(findings: Vec<Finding>) {
    let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(
        list.is_empty(),
        "{} to repair:\n{}\n",
        list.len(),
        list.join("\n")
    );
}

#[test]
fn rooms_import_only_what_they_may() {
    let sources = sources();
    assert!(
        sources.iter().any(|source| source.path == "src/lib.rs"),
        "nothing was read"
    );
    assert_clean(imports::check(&sources));
}

#[test]
fn rooms_reach_the_outside_only_through_the_world() {
    assert_clean(sources().iter().flat_map(outside::check).collect());
}

#[test]
fn every_file_has_its_shape() {
    assert_clean(sources().iter().flat_map(shape::check).collect());
}

#[test]
fn nothing_is_unfinished_and_no_path_is_of_one_machine() {
    let check =
        |path: &String| read(path).map_or(Vec::new(), |text| shape::check_text(path, &text));
    assert_clean(files().iter().flat_map(check).collect());
}

#[test]
fn the_top_level_is_closed() {
    let names = names_in(root());
    for needed in [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE",
        ".cargo",
        ".ci",
        "src",
        "tests",
        "cross",
    ] {
        assert!(
            names.iter().any(|name| name == needed),
            "{needed} is missing"
        );
    }
    assert_clean(shape::check_top_level(&names));
}

#[test]
fn errors_for_people_have_all_their_parts() {
    let findings: Vec<Finding> = sources().iter().flat_map(faults::check).collect();
    assert_clean(findings);
}

#[test]
fn people_read_only_the_words_of_the_house() {
    let in_code = sources();
    let of_product = in_code
        .iter()
        .filter(|source| !source.path.starts_with("tests/tidy"));
    let mut findings: Vec<Finding> = of_product
        .flat_map(|source| words::check(&source.path, &source.prose))
        .collect();
    for path in files().iter().filter(|path| path.ends_with(".md")) {
        findings.extend(words::check(path, &read(path).expect("a document is text")));
    }
    assert_clean(findings);
}
