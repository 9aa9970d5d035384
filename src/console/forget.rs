//! `reserve forget`: snapshots leave history, after a look at what that means; and it is taken back.

use std::fmt::Write as _;
use std::path::Path;

use super::cli::Forget;
use super::control::{ForgetCall, ForgetShare, ForgetView, Reply, Want};
use super::fault::{Exit, Fault};
use super::text::{bytes, count, days};
use super::{ask, jobs};

/// Snapshots that are named one by one; of more the first and the last.
const NAMED_MAX: usize = 20;

/// `reserve forget`
pub fn run(dir: &Path, args: &Forget) -> Result<Exit, Fault> {
    let call = ForgetCall {
        snapshots: args.snapshots.clone(),
        by_rule: args.by_rule,
        yes: args.yes,
        undo: args.undo,
    };
    let Reply::Forgotten(view) = jobs::begin(dir, Want::Forget(call), "comparing")? else {
        return Err(ask::nonsense());
    };
    ask::print(args.print, &view, || shown(&view, args.by_rule))?;
    Ok(match is_everybody_told(&view) {
        true => Exit::Done,
        false => Exit::NotSafe,
    })
}

/// Whether every keeper knows of what was carried out.
pub fn is_everybody_told(view: &ForgetView) -> bool {
    !view.carried_out || view.keepers.iter().all(|share| share.is_told)
}

/// What leaves, for people. `by_rule`: the rule of retention was to say so.
pub fn shown(view: &ForgetView, by_rule: bool) -> String {
    if view.undone {
        return undone(view);
    }
    let mut text = leaving(view);
    for stays in &view.staying {
        let _ = writeln!(
            text,
            "{} (number {}) stays: {}.",
            stays.id, stays.number, stays.why
        );
    }
    for share in &view.keepers {
        let _ = writeln!(text, "{:<16} {}", share.keeper, at_keeper(share, view));
    }
    let nothing = view.leaving.is_empty() && view.keepers.iter().all(|share| share.chunks == 0);
    let last = match (view.carried_out, nothing) {
        (false, true) => "Nothing would come back.".to_owned(),
        (false, false) => format!(
            "Nothing was changed. Add --yes to have it leave; for {} days of each Box's running time it can be taken back with `reserve forget --undo`.",
            view.delay_days
        ),
        (true, true) => "Nothing was to be let go.".to_owned(),
        (true, false) => {
            "Until then everything can be retrieved, and `reserve forget --undo` takes it back."
                .to_owned()
        }
    };
    let by_rule = match by_rule && view.leaving.is_empty() {
        true => "The rule has a reason to keep every snapshot (`reserve config get retention`). ",
        false => "",
    };
    let _ = write!(text, "{by_rule}{last}");
    text
}

fn leaving(view: &ForgetView) -> String {
    let mut text = String::new();
    let many = view.leaving.len();
    if many == 0 {
        return text;
    }
    let verb = match (view.carried_out, many) {
        (true, 1) => "leaves",
        (true, _) => "leave",
        (false, _) => "would leave",
    };
    let _ = writeln!(
        text,
        "{} {verb}:",
        count(many as u64, "snapshot", "snapshots")
    );
    for (at, one) in view.leaving.iter().enumerate() {
        if many > NAMED_MAX && at == NAMED_MAX / 2 {
            let _ = writeln!(text, "  ... {} more ...", many - NAMED_MAX);
        }
        if many > NAMED_MAX && (NAMED_MAX / 2..many - NAMED_MAX / 2).contains(&at) {
            continue;
        }
        let _ = writeln!(text, "  {:<10} {:>6}  {}", one.id, one.number, one.taken);
    }
    text
}

fn at_keeper(share: &ForgetShare, view: &ForgetView) -> String {
    if let Some(why) = &share.why {
        return why.clone();
    }
    if share.chunks == 0 && share.waiting_chunks == 0 {
        return "keeps nothing that is not needed".into();
    }
    let mut text = format!(
        "{} ({}) {} not needed",
        bytes(share.bytes),
        count(share.chunks, "chunk", "chunks"),
        if view.carried_out { "are" } else { "would be" }
    );
    match share.effective_seconds {
        Some(seconds) if view.carried_out => {
            let _ = write!(
                text,
                "; {} come back there after {} of its running time, at the earliest",
                bytes(share.waiting_bytes),
                days(seconds)
            );
        }
        Some(seconds) => {
            let _ = write!(
                text,
                "; {} wait there already, for {} more",
                bytes(share.waiting_bytes),
                days(seconds)
            );
        }
        None => {
            let _ = write!(
                text,
                "; they would come back after {} days of its running time",
                view.delay_days
            );
        }
    }
    text
}

fn undone(view: &ForgetView) -> String {
    let mut text = String::new();
    for share in &view.keepers {
        let why = share.why.as_deref().unwrap_or_default();
        let _ = writeln!(text, "{:<16} {why}", share.keeper);
    }
    text.push_str(
        "What was let go stays; what is gone already does not come back. Where a rule is set it says the same again within a month: change it with `reserve config set retention`.",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::control::{LeavingSnapshot, StayingSnapshot};

    fn view(many: u64) -> ForgetView {
        let snapshot = |number| LeavingSnapshot {
            id: format!("id{number}"),
            number,
            taken: "2026-11-29T00:00:00Z".into(),
            taken_seconds: 0,
        };
        ForgetView {
            leaving: (1..=many).map(snapshot).collect(),
            staying: vec![StayingSnapshot {
                id: "id99".into(),
                number: 99,
                why: "it is the newest accepted one".into(),
            }],
            keepers: vec![
                ForgetShare {
                    keeper: "office".into(),
                    is_told: true,
                    snapshots: many,
                    chunks: 7,
                    bytes: 1 << 20,
                    ..ForgetShare::default()
                },
                ForgetShare {
                    keeper: "friend".into(),
                    why: Some("out of reach; it is told when it is back".into()),
                    ..ForgetShare::default()
                },
            ],
            delay_days: 30,
            ..ForgetView::default()
        }
    }

    #[test]
    fn a_preview_says_what_would_leave_and_that_nothing_did() {
        let told = shown(&view(2), false);
        assert!(told.contains("2 snapshots would leave:\n  id1"), "{told}");
        assert!(
            told.contains("id99 (number 99) stays: it is the newest"),
            "{told}"
        );
        assert!(
            told.contains("7 chunks) would be not needed") || told.contains("(7 chunks)"),
            "{told}"
        );
        assert!(told.contains("friend           out of reach"), "{told}");
        assert!(told.contains("Nothing was changed. Add --yes"), "{told}");
        let many = shown(&view(100), true);
        assert!(
            many.contains("... 80 more ...") && many.contains("id100"),
            "{many}"
        );
        assert!(!many.contains("  id50 "), "{many}");
    }

    #[test]
    fn what_leaves_is_said_with_the_time_that_is_left() {
        let mut view = view(1);
        view.carried_out = true;
        view.keepers[0].waiting_bytes = 3 << 20;
        view.keepers[0].effective_seconds = Some(30 * 86_400 - 1);
        let told = shown(&view, false);
        assert!(told.contains("1 snapshot leaves:"), "{told}");
        assert!(
            told.contains("come back there after 30 days of its running time"),
            "{told}"
        );
        assert!(told.contains("--undo"), "{told}");
        assert_eq!(days(3601), "2 hours");
        assert_eq!(days(25 * 3600), "1 day and 1 hour");
    }
}
