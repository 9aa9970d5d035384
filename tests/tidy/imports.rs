//! Who may know whom: the import rules of the house.
//!
//! - `terms` imports nothing of ours, `format` and `world` import only `terms`.
//! - A room may import `terms`, `format`, `world` and the doors of other rooms. A room's door is what its mod.rs shows:
//!   names, or one module that is declared `pub mod` there. Modules shown with `pub(crate)` are its insides.
//! - `world::uring` is chosen only by `console` and `main`, and only `main` knows `console`.
//! - No two rooms import each other, by whatever detour. Tests inside a file are free.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Finding, Source, finding, line_of, places_of};

/// The rooms of the house, in reading order. A new one needs a line here, in src/lib.rs and in the design.
const ROOMS: [&str; 12] = [
    "terms",
    "format",
    "world",
    "author",
    "keeper",
    "retriever",
    "monitor",
    "dispatcher",
    "roster",
    "session",
    "path",
    "console",
];

/// Cycles that were thought about: (room, room) pairs whose first may import the second all the same. None so far.
const CYCLES_DECLARED: [(&str, &str); 0] = [];

/// A path in code: where, and its names.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    pub at: usize,
    pub names: Vec<String>,
}

/// Every path that starts with this name, braces opened: `a::{b, c::d}` is `a::b` and `a::c::d`.
pub fn paths_from(code: &str, start: &str) -> Vec<Import> {
    let mut imports = Vec::new();
    for at in places_of(code, start) {
        let rest = &code[at + start.len()..];
        let is_nested = code[..at].ends_with("::") || code[..at].ends_with(['$', '.']);
        if rest.starts_with("::") && !is_nested {
            open(&rest[2..], &[], at, &mut imports);
        }
    }
    imports
}

/// Reads one path or braced list; returns what follows it.
fn open<'a>(mut rest: &'a str, before: &[String], at: usize, out: &mut Vec<Import>) -> &'a str {
    let mut names = before.to_vec();
    loop {
        rest = rest.trim_start();
        if let Some(mut list) = rest.strip_prefix('{') {
            loop {
                list = list.trim_start().trim_start_matches(',').trim_start();
                if list.is_empty() || list.starts_with('}') {
                    return list.strip_prefix('}').unwrap_or(list);
                }
                let after = open(list, &names, at, out).trim_start();
                // `as name`, `*` and whatever else is no path: go on behind it.
                let next = after.find([',', '}']).unwrap_or(after.len());
                list = &after[next..];
            }
        }
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if end > 0 {
            names.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(more) if end > 0 => rest = more,
            _ => {
                out.push(Import { at, names });
                return rest;
            }
        }
    }
}

/// What a file imports of ours, as paths below the crate.
fn imports_of(source: &Source) -> Vec<Import> {
    let code = &source.product;
    let mut imports = paths_from(code, "crate");
    if source.room() == Some("main") {
        imports.extend(paths_from(code, "reserve"));
    }
    let module = source.module();
    for import in paths_from(code, "super") {
        let more = import
            .names
            .iter()
            .take_while(|name| *name == "super")
            .count();
        // As many steps up as the module is deep lead to the top; fewer stay in the room.
        if module.len() == more + 1 {
            imports.push(Import {
                at: import.at,
                names: import.names[more..].to_vec(),
            });
        }
    }
    imports
}

/// Checks all files of src.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut edges: BTreeMap<&str, BTreeMap<String, (String, usize)>> = BTreeMap::new();
    for source in sources {
        let Some(room) = source.room() else { continue };
        if !ROOMS.contains(&room) && !matches!(room, "main" | "lib") {
            findings.push(finding(&source.path, 1, format!("`{room}` is not on the map of the house; put the file into a room of the design")));
        }
        for import in imports_of(source) {
            let Some(other) = import
                .names
                .first()
                .filter(|other| ROOMS.contains(&other.as_str()))
            else {
                continue;
            };
            if other == room || matches!(room, "main" | "lib") {
                continue;
            }
            let line = line_of(&source.product, import.at);
            findings.extend(
                fault(room, &import.names, sources).map(|what| finding(&source.path, line, what)),
            );
            edges
                .entry(room)
                .or_default()
                .entry(other.clone())
                .or_insert((source.path.clone(), line));
        }
    }
    findings.extend(cycles(&edges));
    findings
}

/// What is wrong with a room's import of a path of another room.
fn fault(room: &str, names: &[String], sources: &[Source]) -> Option<String> {
    let path = names.join("::");
    let (other, inner) = (names[0].as_str(), names.get(1).map_or("", String::as_str));
    match (room, other) {
        ("terms", _) => {
            return Some(format!(
                "`terms` imports nothing of ours, but here is `{path}`; move what is needed into `terms`"
            ));
        }
        ("format" | "world", "terms") => return None,
        ("format" | "world", _) => {
            return Some(format!(
                "`{room}` imports only `terms`, but here is `{path}`; turn the dependency round"
            ));
        }
        (_, "console") => {
            return Some(format!(
                "only `main` knows `console`, but here is `{path}`; move what is shared into a room below"
            ));
        }
        ("console", _) => {}
        (_, "world") if inner == "uring" => {
            return Some("a room is generic over `world::World`; only `console` and `main` choose `world::uring`".to_owned());
        }
        (_, "terms" | "format" | "world") => return None,
        _ => {}
    }
    let door = sources
        .iter()
        .find(|source| source.path == format!("src/{other}/mod.rs"))?;
    let is_inside = door.code.contains(&format!("pub(crate) mod {inner};"))
        || door.code.contains(&format!("pub(super) mod {inner};"));
    let is_module = |name: &String| name.starts_with(|c: char| c.is_lowercase());
    let modules = names[1..names.len().max(2) - 1]
        .iter()
        .filter(|name| is_module(name))
        .count();
    (is_inside || modules > 1).then(|| {
        format!("`{path}` is inside `{other}`; use what src/{other}/mod.rs shows with `pub use` or one `pub mod`")
    })
}

/// Rooms that import each other.
fn cycles(edges: &BTreeMap<&str, BTreeMap<String, (String, usize)>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (room, others) in edges {
        for (other, (path, line)) in others {
            let is_declared = CYCLES_DECLARED.iter().any(|(a, b)| a == room && b == other);
            if !is_declared && reaches(edges, other, room) {
                findings.push(finding(path, *line, format!("`{room}` imports `{other}`, which imports `{room}` (perhaps through others); let one of them take a trait or a value instead")));
            }
        }
    }
    findings
}

fn reaches(
    edges: &BTreeMap<&str, BTreeMap<String, (String, usize)>>,
    from: &str,
    to: &str,
) -> bool {
    let mut seen: BTreeSet<&str> = BTreeSet::from([from]);
    let mut open: Vec<&str> = vec![from];
    while let Some(room) = open.pop() {
        for next in edges.get(room).into_iter().flat_map(BTreeMap::keys) {
            let is_declared = CYCLES_DECLARED
                .iter()
                .any(|(a, b)| *a == room && *b == next.as_str());
            if !is_declared && seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen.contains(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        let sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| Source::new(path, text))
            .collect();
        check(&sources)
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect()
    }

    fn is_refused(path: &str, text: &str) -> bool {
        let door = (
            "src/keeper/mod.rs",
            "mod store;\npub mod table;\npub(crate) mod segment;\n",
        );
        !lines(&[door, (path, text)]).is_empty()
    }

    #[test]
    fn braces_are_opened() {
        let code =
            "use crate::{terms::{A, limits::B as C}, keeper::D};\nfn f(x: crate::world::E) {}";
        let paths: Vec<String> = paths_from(code, "crate")
            .iter()
            .map(|import| import.names.join("::"))
            .collect();
        assert_eq!(
            paths,
            ["terms::A", "terms::limits::B", "keeper::D", "world::E"]
        );
    }

    #[test]
    fn the_ground_floor_imports_nothing_above_it() {
        assert!(is_refused(
            "src/terms/ids.rs",
            "use crate::format::Malformed;"
        ));
        assert!(is_refused("src/format/head.rs", "use crate::world::Stat;"));
        assert!(is_refused("src/world/tree.rs", "use crate::keeper::Ask;"));
        assert!(!is_refused(
            "src/format/head.rs",
            "use crate::terms::ChunkId;"
        ));
    }

    #[test]
    fn only_a_door_is_a_way_into_a_room() {
        assert!(!is_refused(
            "src/author/cut.rs",
            "use crate::keeper::{Ask, Keepers};"
        ));
        assert!(!is_refused(
            "src/author/cut.rs",
            "use crate::keeper::table::Table;"
        ));
        assert!(is_refused(
            "src/author/cut.rs",
            "use crate::keeper::segment::Writer;"
        ));
        assert!(is_refused(
            "src/author/cut.rs",
            "use crate::{terms::Kind, keeper::segment};"
        ));
        assert!(is_refused(
            "src/author/cut.rs",
            "fn f() { crate::keeper::table::slot::Slot::new() }"
        ));
        assert!(is_refused(
            "src/author/mod.rs",
            "use super::keeper::segment::Writer;"
        ));
        assert!(!is_refused(
            "src/author/cut.rs",
            "use super::index::Builder;"
        ));
    }

    #[test]
    fn a_room_does_not_choose_its_world_nor_know_the_console() {
        assert!(is_refused(
            "src/keeper/store.rs",
            "use crate::world::uring::Ring;"
        ));
        assert!(is_refused(
            "src/keeper/store.rs",
            "use crate::console::Progress;"
        ));
        assert!(!is_refused(
            "src/console/run.rs",
            "use crate::world::uring::Ring;"
        ));
        assert!(!is_refused("src/main.rs", "use reserve::console::run;"));
    }

    #[test]
    fn rooms_that_import_each_other_are_found_on_any_detour() {
        let files = [
            ("src/author/a.rs", "\nuse crate::keeper::Ask;"),
            ("src/keeper/b.rs", "use crate::roster::Roster;"),
            ("src/roster/c.rs", "use crate::author::Cut;"),
        ];
        let expected = [
            ("src/author/a.rs".to_owned(), 2),
            ("src/keeper/b.rs".to_owned(), 1),
            ("src/roster/c.rs".to_owned(), 1),
        ];
        assert_eq!(lines(&files), expected);
        assert_eq!(lines(&files[..2]), []);
    }

    #[test]
    fn a_room_that_is_not_on_the_map_is_found_and_tests_are_free() {
        assert_eq!(
            lines(&[("src/storage/mod.rs", "")]),
            [("src/storage/mod.rs".to_owned(), 1)]
        );
        assert!(!is_refused(
            "src/terms/ids.rs",
            "#[cfg(test)]\nmod tests { use crate::format::encode; }"
        ));
    }
}
