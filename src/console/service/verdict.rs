//! The sentence on top of `reserve status`: may a person sleep, and if not, what is to be done. Pure.

use std::time::Duration;

use crate::console::text;

/// A snapshot that is so many periods old is no longer what a person believes to have.
const OVERDUE_PERIODS: u32 = 3;
/// But a Box that takes one every minute may take its time for one.
const OVERDUE_MIN: Duration = Duration::from_secs(3600);

/// Whether the newest snapshot is older than one who relies on this period expects.
pub fn is_overdue(taken: i64, period: Option<Duration>, now_seconds: i64) -> bool {
    let patience = period.map(|period| (period * OVERDUE_PERIODS).max(OVERDUE_MIN).as_secs());
    let age = u64::try_from(now_seconds.saturating_sub(taken)).unwrap_or(0);
    patience.is_some_and(|patience| age > patience)
}

/// What the sentence on top depends on.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// This Box was removed.
    pub is_out: bool,
    /// What it keeps for the others is not where it was, and why.
    pub store_lost: Option<&'static str>,
    /// There is something to protect.
    pub has_data: bool,
    /// Other Boxes.
    pub others: usize,
    /// Other Boxes that hold all of the newest snapshot, at least.
    pub copies: u32,
    /// Below this nothing is called protected.
    pub factor_min: u32,
    /// When the newest snapshot was as this Box is.
    pub taken: Option<i64>,
    /// When keepers last confirmed it.
    pub proven: Option<i64>,
    /// Whether `latest` may mean it.
    pub accepted: bool,
    /// Boxes out of reach.
    pub away: Vec<String>,
    /// All others are, for longer than a nap.
    pub is_cut_off: bool,
    /// Who takes no more, and why.
    pub refused: Vec<String>,
    /// Why the last snapshot was not taken.
    pub failure: Option<String>,
    /// Files that could not be read.
    pub unread: u64,
    /// Data sets that are not where they should be.
    pub missing: Vec<String>,
    /// How often a snapshot is due, if by itself.
    pub period: Option<Duration>,
    /// One is being taken.
    pub is_taking: bool,
    /// The service has just started, and keepers have not been asked yet.
    pub is_fresh: bool,
}

/// Whether a person may sleep, the answer in one sentence, and what to do about it.
pub fn verdict(facts: &Facts, now_seconds: i64) -> (bool, String, String) {
    let copies = if facts.copies == 1 {
        "1 copy".to_owned()
    } else {
        format!("{} copies", facts.copies)
    };
    let away = facts.away.join(" and ");
    let ago = |seconds: Option<i64>| {
        seconds.map_or_else(
            || "never".to_owned(),
            |seconds| text::ago(seconds, now_seconds),
        )
    };
    if facts.is_out {
        let todo = "Its snapshots are kept by the others. To use it again, take it in anew: `reserve join` with an empty --dir.";
        return (
            false,
            "This Box was removed from its reserve: it keeps and protects nothing.".into(),
            todo.into(),
        );
    }
    if facts.others == 0 {
        let todo =
            "Take another Box into the reserve: `reserve invite` here, `reserve join` there.";
        return (
            false,
            "This Box is alone: nothing is protected.".into(),
            todo.into(),
        );
    }
    let lost_todo = "When the right disk is back it goes on by itself; nothing is deleted anywhere. If it was replaced or is gone for good: `reserve store new`.";
    if let (false, Some(why)) = (facts.has_data, facts.store_lost) {
        let sentence = format!("What this Box keeps for the others is not here: {why}");
        return (false, sentence, lost_todo.into());
    }
    if !facts.has_data {
        let sentence =
            "This Box keeps copies for the others and has no files of its own to protect.";
        return (true, sentence.into(), String::new());
    }
    if let Some(failure) = &facts.failure {
        let sentence = format!("The last snapshot was NOT taken: {failure}.");
        let before = match facts.copies >= facts.factor_min {
            true => format!("What was protected before is unchanged ({copies} elsewhere"),
            false => format!(
                "What was taken before is NOT safe either ({copies} elsewhere, {} are the minimum",
                facts.factor_min
            ),
        };
        let todo = format!(
            "{before}, taken {}). Then: `reserve snapshot --wait`.",
            ago(facts.taken)
        );
        return (false, sentence, todo);
    }
    let Some(taken) = facts.taken else {
        let todo = "Take one with `reserve snapshot --wait`.";
        return (
            false,
            "Nothing is protected yet: there is no snapshot.".into(),
            todo.into(),
        );
    };
    if !facts.accepted {
        let sentence = "Much was gone or rewritten when the newest snapshot was taken: it waits for you, and `latest` stays the one before.";
        let todo = "If that was meant: `reserve snapshot --accept-loss`. If not, see that every disk is there; nothing was deleted anywhere.";
        return (false, sentence.into(), todo.into());
    }
    if facts.copies < facts.factor_min && facts.is_fresh {
        let sentence = format!(
            "How safe your files are is not known yet: {copies} confirmed elsewhere so far, {} are the minimum.",
            facts.factor_min
        );
        let todo = if facts.away.len() < facts.others {
            "The keeper has just started and asks the other Boxes; look again in a minute.".into()
        } else {
            format!(
                "The keeper has just started and has reached none of the other Boxes yet: {away}."
            )
        };
        return (false, sentence, todo);
    }
    if facts.copies < facts.factor_min {
        let sentence = format!(
            "Your files are NOT safe: {copies} elsewhere, {} are the minimum.",
            facts.factor_min
        );
        let todo = if facts.factor_min as usize > facts.others {
            format!(
                "Each copy needs a Box of its own, and there {}: take in more with `reserve invite`, or lower replication_factor_min with `reserve config set`.",
                if facts.others == 1 {
                    "is 1 other".to_owned()
                } else {
                    format!("are {} others", facts.others)
                }
            )
        } else if !facts.refused.is_empty() {
            format!("{}.", facts.refused.join(". "))
        } else if facts.away.is_empty() {
            "All Boxes are in reach; whoever lacks something is asked again, within ten minutes. Look at its own `reserve status`: is there room? `reserve snapshot --wait` sends what no Box has any more.".to_owned()
        } else {
            format!("Out of reach: {away}. A Box confirms its copies when it returns.")
        };
        return (false, sentence, todo);
    }
    if let Some(why) = facts.store_lost {
        let sentence = format!(
            "Your files are safe ({copies} elsewhere), but what this Box keeps for the others is not here: {why}"
        );
        return (false, sentence, lost_todo.into());
    }
    if !facts.missing.is_empty() {
        let missing = facts.missing.join(" and ");
        let sentence = format!(
            "What was protected is safe ({copies} elsewhere), but {missing} is not where it should be."
        );
        let todo = format!(
            "See that its disk is connected; the snapshots keep it as it was. If it is gone for good: `reserve data remove {missing}`."
        );
        return (false, sentence, todo);
    }
    if facts.unread > 0 {
        let sentence = format!(
            "Your files are safe ({copies} elsewhere) except for {} that could not be read.",
            facts.unread
        );
        return (
            false,
            sentence,
            "`reserve snapshot --wait` names them.".into(),
        );
    }
    if is_overdue(taken, facts.period, now_seconds) {
        let taken = ago(facts.taken);
        let sentence = format!(
            "Your files are safe as they were {taken} ({copies} elsewhere), but nothing newer is protected: a snapshot is overdue."
        );
        let todo = if facts.is_taking {
            "One is being taken: `reserve jobs` shows how far it is."
        } else {
            "`reserve snapshot --wait` takes one, or says what is in the way."
        };
        return (false, sentence, todo.into());
    }
    if facts.is_cut_off {
        let sentence = format!(
            "Your files were safe when the other Boxes were last heard {} ({copies} elsewhere), but none of them is in reach now.",
            ago(facts.proven)
        );
        let todo = format!("Is this Box's network up? Out of reach: {away}.");
        return (false, sentence, todo);
    }
    let newest = text::age(taken, now_seconds).map_or_else(
        || "of a time that is still to come, by this Box's clock".to_owned(),
        |age| format!("{age} old"),
    );
    let sentence = format!("All your files are safe: {copies} elsewhere, newest {newest}.");
    let todo = if facts.away.is_empty() {
        String::new()
    } else {
        format!(
            "Out of reach now: {away}; the copies were last confirmed {}.",
            ago(facts.proven)
        )
    };
    (true, sentence, todo)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            has_data: true,
            others: 2,
            copies: 2,
            factor_min: 2,
            taken: Some(0),
            proven: Some(0),
            accepted: true,
            ..Facts::default()
        }
    }

    #[test]
    fn the_verdict_is_safe_only_when_enough_copies_of_everything_are_confirmed() {
        let (safe, sentence, todo) = verdict(&facts(), 720);
        assert_eq!(
            (safe, sentence.as_str(), todo.as_str()),
            (
                true,
                "All your files are safe: 2 copies elsewhere, newest 12 minutes old.",
                ""
            )
        );
        let not_safe = [
            (
                Facts {
                    copies: 1,
                    ..facts()
                },
                "NOT safe: 1 copy",
            ),
            (
                Facts {
                    others: 0,
                    ..facts()
                },
                "alone",
            ),
            (
                Facts {
                    taken: None,
                    ..facts()
                },
                "no snapshot",
            ),
            (
                Facts {
                    accepted: false,
                    ..facts()
                },
                "waits for you",
            ),
            (
                Facts {
                    unread: 3,
                    ..facts()
                },
                "except for 3",
            ),
            (
                Facts {
                    away: vec!["office".into(), "friend".into()],
                    is_cut_off: true,
                    ..facts()
                },
                "none of them is in reach now",
            ),
            (
                Facts {
                    failure: Some("data set a could not be found".into()),
                    ..facts()
                },
                "NOT taken: data set a",
            ),
            (
                Facts {
                    missing: vec!["photos".into()],
                    ..facts()
                },
                "photos is not where it should be",
            ),
            (
                Facts {
                    taken: Some(720 - 10 * 86_400),
                    period: Some(Duration::from_secs(3600)),
                    ..facts()
                },
                "as they were 10 days ago (2 copies elsewhere), but nothing newer",
            ),
            (
                Facts {
                    copies: 0,
                    is_fresh: true,
                    ..facts()
                },
                "not known yet",
            ),
        ];
        for (facts, said) in not_safe {
            let (safe, sentence, todo) = verdict(&facts, 720);
            assert!(
                !safe && sentence.contains(said) && !todo.is_empty(),
                "{sentence}"
            );
        }
    }

    #[test]
    fn three_periods_without_a_snapshot_are_too_long_and_a_box_that_takes_none_by_itself_is_not_judged()
     {
        let hour = Some(Duration::from_secs(3600));
        for (age, period, overdue) in [
            (3 * 3600, hour, false),
            (3 * 3600 + 1, hour, true),
            (3600, Some(Duration::from_secs(60)), false),
            (3601, Some(Duration::from_secs(60)), true),
            (1 << 40, None, false),
            (-500, hour, false),
        ] {
            assert_eq!(is_overdue(0, period, age), overdue, "{age} {period:?}");
        }
    }

    #[test]
    fn a_minimum_that_cannot_be_met_is_told_as_such() {
        let (safe, _, todo) = verdict(
            &Facts {
                factor_min: 3,
                ..facts()
            },
            720,
        );
        assert!(!safe && todo.contains("there are 2 others"), "{todo}");
    }

    #[test]
    fn boxes_out_of_reach_are_named_with_the_time_of_their_last_word() {
        let (safe, _, todo) = verdict(
            &Facts {
                away: vec!["office".into()],
                ..facts()
            },
            7200,
        );
        assert!(
            safe && todo.contains("office") && todo.contains("2 hours ago"),
            "{todo}"
        );
    }
}
