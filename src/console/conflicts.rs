//! `reserve conflicts`: snapshots of one Box that bear one number, and the word that decides.

use std::fmt::Write as _;
use std::path::Path;

use super::cli::Conflicts;
use super::control::{ConflictView, Reply, SideView, Want};
use super::fault::{Exit, Fault};
use super::text::{ago, bytes, count};
use super::{ask, text};

/// `reserve conflicts`
pub fn run(dir: &Path, args: &Conflicts) -> Result<Exit, Fault> {
    let want = match &args.choose {
        Some(id) => Want::Choose { id: id.clone() },
        None => Want::Conflicts {},
    };
    let Reply::Conflicts(views) = ask::call(dir, want)?.reply()? else {
        return Err(ask::nonsense());
    };
    ask::print(args.print, &views, || shown(&views, text::now_seconds()))?;
    Ok(Exit::Done)
}

fn shown(views: &[ConflictView], now_seconds: i64) -> String {
    if views.is_empty() {
        return "No two snapshots bear one number: there is nothing to decide.".into();
    }
    let mut text = String::new();
    for view in views {
        let numbers = match view.from == view.until {
            true => view.until.to_string(),
            false => format!("{} to {}", view.from, view.until),
        };
        let state = match (view.open, &view.chosen_on) {
            (true, _) => "UNRESOLVED: nothing is `latest` until you choose".to_owned(),
            (false, Some(on)) => format!("decided on {on}"),
            (false, None) => "decided by what came after".to_owned(),
        };
        let _ = writeln!(text, "{}, number {numbers}: {state}", view.author);
        for side in &view.sides {
            side_shown(&mut text, side, now_seconds);
        }
        if let Some(id) = &view.undisputed {
            let _ = writeln!(text, "  Before they parted: {id}.");
        }
        if view.open {
            let _ = writeln!(
                text,
                "  Look into one with `reserve ls --snapshot ID`, compare two with `reserve diff ID ID`, then `reserve conflicts --choose ID`.\n  \
                 The others stay, and can be retrieved by their ids."
            );
        }
        let _ = writeln!(text);
    }
    let _ = write!(text, "The rule: {}.", views[0].reason);
    text
}

fn side_shown(text: &mut String, side: &SideView, now_seconds: i64) {
    let snapshot = &side.snapshot;
    let stance = match side.stance.as_str() {
        "stands" => "stands",
        "open" => "may stand",
        "not_chosen" => "was not chosen",
        "waits" => "waits for a person: much was gone",
        _ => "the history went on without it",
    };
    let _ = writeln!(
        text,
        "  {}  number {}, taken {} ({}), {} stored: {stance}",
        snapshot.id,
        snapshot.number,
        snapshot.taken,
        ago(snapshot.taken_seconds, now_seconds),
        bytes(snapshot.sealed_bytes)
    );
    let copies = match side.copies {
        Some(copies) => format!("{} in reach", count(copies, "copy", "copies")),
        None => "copies could not be counted now".to_owned(),
    };
    let _ = writeln!(text, "      known to {}; {copies}", known_to(side));
    let Some(sets) = &side.data_sets else {
        let _ = writeln!(text, "      what it holds cannot be looked up now");
        return;
    };
    for set in sets {
        let alike = match set.alike {
            Some(true) => ", alike on all sides",
            Some(false) => ", differs",
            None => "",
        };
        let files = count(set.files, "file", "files");
        let _ = writeln!(
            text,
            "      {}: {files}, {}{alike}",
            set.name,
            bytes(set.bytes)
        );
    }
}

fn known_to(side: &SideView) -> String {
    match side.snapshot.held_by.as_slice() {
        [] => "nobody in reach".to_owned(),
        some => some.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::control::{SideSet, SnapshotView};

    fn side(id: &str, stance: &str, alike: Option<bool>) -> SideView {
        SideView {
            snapshot: SnapshotView {
                id: id.into(),
                author: "home".into(),
                author_key: "ab".into(),
                number: 8,
                taken: "2026-11-20T14:00:00Z".into(),
                taken_seconds: 1_795_183_200,
                chunks: 9,
                sealed_bytes: 2048,
                held_by: vec!["office".into()],
                accepted: true,
                is_lacking: false,
                kept_by: None,
                is_leaving: false,
                gone_in_seconds: None,
                data_sets: None,
            },
            stance: stance.into(),
            data_sets: Some(vec![SideSet {
                name: "photos".into(),
                files: 1,
                bytes: 1024,
                alike,
            }]),
            copies: Some(2),
        }
    }

    #[test]
    fn each_side_says_what_it_holds_and_an_open_conflict_what_to_do() {
        let mut view = ConflictView {
            author: "home".into(),
            author_key: "ab".into(),
            from: 8,
            until: 8,
            open: true,
            chosen_on: None,
            sides: vec![
                side("aaaa", "open", Some(false)),
                side("bbbb", "open", Some(true)),
            ],
            undisputed: Some("cccc".into()),
            reason: "both are kept".into(),
        };
        let told = shown(&[view.clone()], 1_795_183_260);
        for words in [
            "home, number 8: UNRESOLVED",
            "aaaa  number 8, taken 2026-11-20T14:00:00Z (1 minute ago), 2 KiB stored: may stand",
            "known to office; 2 copies in reach",
            "photos: 1 file, 1 KiB, differs",
            "photos: 1 file, 1 KiB, alike on all sides",
            "Before they parted: cccc.",
            "reserve conflicts --choose ID",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        view.open = false;
        view.from = 7;
        view.chosen_on = Some("office".into());
        view.sides[1].data_sets = None;
        let told = shown(&[view], 1_795_183_260);
        assert!(
            told.contains("home, number 7 to 8: decided on office"),
            "{told}"
        );
        assert!(
            told.contains("cannot be looked up") && !told.contains("--choose"),
            "{told}"
        );
        assert!(shown(&[], 0).contains("nothing to decide"));
    }
}
