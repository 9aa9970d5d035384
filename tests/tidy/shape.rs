//! The shape of files and of the repository: a header, a bound on length, honest names, nothing unfinished, no `unsafe`
//! without an argument, no path of a developer's machine, a closed top level.

use super::source::{Finding, Source, finding, line_of, places_of};

/// The longest a file may be. Most are far below; one that grows into this has two subjects.
const LINES_MAX: usize = 500;

/// What may stand at the top level. `.git` and `target` are not ours to name.
const TOP_LEVEL: [&str; 13] = [
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    ".gitignore",
    ".cargo",
    ".ci",
    "src",
    "board",
    "tests",
    "cross",
    "yocto",
    "README.md",
    "target",
];

/// File names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "util", "utils", "common", "helper", "helpers", "manager", "misc", "shared",
];

/// Files whose work cannot be done without `unsafe`; each block has a `SAFETY:` comment above it.
const UNSAFE_ALLOWED: [&str; 5] = [
    "src/world/uring/raw.rs",
    "tests/rot.rs",
    "tests/sim/bin/counting.rs",
    "tests/store_memory.rs",
    "tests/table_memory.rs",
];

/// Marks of unfinished work. Spelt apart, so that this file does not accuse itself.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

/// Checks one Rust file.
pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = source.path.as_str();
    if !source.text.starts_with("//! ") {
        findings.push(finding(
            path,
            1,
            "a file opens with `//!`: what it is, what it is not, which invariants hold",
        ));
    }
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        findings.push(finding(
            path,
            lines,
            format!("{lines} lines; split it by subject, {LINES_MAX} are the most"),
        ));
    }
    if path
        .trim_end_matches(".rs")
        .split('/')
        .any(|name| EMPTY_NAMES.contains(&name))
    {
        findings.push(finding(
            path,
            1,
            "the name says nothing; call the file by what it does",
        ));
    }
    findings.extend(unsafe_code(source));
    findings
}

fn unsafe_code(source: &Source) -> Vec<Finding> {
    let is_allowed = UNSAFE_ALLOWED.contains(&source.path.as_str());
    let lines: Vec<&str> = source.text.lines().collect();
    let mut findings = Vec::new();
    for at in places_of(&source.code, "unsafe") {
        // An `unsafe fn` of a trait does nothing by itself; the impl it stands in has its argument.
        let is_declaration = source.code[at..].starts_with("unsafe fn");
        let line = line_of(&source.code, at);
        let is_argued = lines[line.saturating_sub(6)..line]
            .iter()
            .any(|text| text.contains("SAFETY:"));
        if !is_allowed {
            findings.push(finding(
                &source.path,
                line,
                "no `unsafe` here; do it safely, or in a small file that tests/tidy/shape.rs lists",
            ));
        } else if !is_argued && !is_declaration {
            findings.push(finding(
                &source.path,
                line,
                "say in a `SAFETY:` comment just above why this is sound",
            ));
        }
    }
    findings
}

/// Checks any text file: what is unfinished, and paths of a developer's machine.
pub fn check_text(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for mark in UNFINISHED {
        for at in places_of(text, mark) {
            findings.push(finding(
                path,
                line_of(text, at),
                format!("`{mark}`: finish it or leave it out"),
            ));
        }
    }
    for place in [concat!("/wo", "rk/"), concat!("/ro", "ot/")] {
        for (at, _) in text.match_indices(place) {
            let before = text[..at].chars().next_back();
            // `${S}/x/` and `sysroot/x/` are places of a build, not of a machine.
            if before
                .is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '}' | '_' | '.' | '-' | '*'))
            {
                findings.push(finding(
                    path,
                    line_of(text, at),
                    format!(
                        "`{place}` is a path of one machine; say it relative to the repository"
                    ),
                ));
            }
        }
    }
    findings
}

/// Checks the names at the top level.
pub fn check_top_level(names: &[String]) -> Vec<Finding> {
    names
        .iter()
        .filter(|name| *name != ".git" && !TOP_LEVEL.contains(&name.as_str()))
        .map(|name| {
            finding(
                name,
                1,
                "the top level is closed; put it into one of its folders",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<usize> {
        check(&Source::new(path, text))
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn a_file_without_header_or_with_too_many_lines_is_found() {
        assert_eq!(findings("src/keeper/a.rs", "//! A.\n"), []);
        assert_eq!(findings("src/keeper/a.rs", "use b;\n"), [1]);
        assert_eq!(
            findings(
                "src/keeper/a.rs",
                &format!("//! A.\n{}", "\n".repeat(LINES_MAX - 1))
            ),
            []
        );
        assert_eq!(
            findings(
                "src/keeper/a.rs",
                &format!("//! A.\n{}", "\n".repeat(LINES_MAX))
            ),
            [LINES_MAX + 1]
        );
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        for name in EMPTY_NAMES {
            assert_eq!(findings(&format!("src/keeper/{name}.rs"), "//! A.\n"), [1]);
            assert_eq!(findings(&format!("src/{name}/mod.rs"), "//! A.\n"), [1]);
        }
        assert_eq!(findings("src/keeper/commons.rs", "//! A.\n"), []);
    }

    #[test]
    fn unsafe_code_is_found_outside_its_files_and_without_its_argument() {
        let bare = "//! A.\nfn f() { unsafe { g() } }\n";
        let argued = "//! A.\n// SAFETY: g has no conditions.\nfn f() { unsafe { g() } }\n";
        assert_eq!(findings("src/keeper/a.rs", argued), [3]);
        assert_eq!(findings(UNSAFE_ALLOWED[0], bare), [2]);
        assert_eq!(findings(UNSAFE_ALLOWED[0], argued), []);
        assert_eq!(
            findings(UNSAFE_ALLOWED[0], "//! A.\nunsafe impl B for C {}\n"),
            [2]
        );
        assert_eq!(
            findings(
                "src/lib.rs",
                "//! Nothing unsafe.\n#![forbid(unsafe_code)]\n"
            ),
            []
        );
    }

    #[test]
    fn unfinished_work_and_machine_paths_are_found() {
        for mark in UNFINISHED {
            assert_eq!(
                check_text("README.md", &format!("a\n{mark} b")).len(),
                1,
                "{mark}"
            );
        }
        assert_eq!(
            check_text("a.rs", concat!("x\n\"/wo", "rk/wt\""))
                .first()
                .map(|finding| finding.line),
            Some(2)
        );
        assert_eq!(
            check_text("a.bb", concat!("${S}/wo", "rk/x sysroot/ro", "ot/y")),
            []
        );
    }

    #[test]
    fn a_stranger_at_the_top_level_is_found() {
        let names = ["src", ".git", "docs", "Makefile"].map(str::to_owned);
        let found: Vec<String> = check_top_level(&names)
            .into_iter()
            .map(|finding| finding.path)
            .collect();
        assert_eq!(found, ["docs", "Makefile"]);
    }
}
