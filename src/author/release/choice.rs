//! Which snapshots may leave history. Decides only; asks nobody.
//!
//! Whatever a rule or a person says, these stay: the newest that was accepted, those that wait for a person, those that share a number,
//! and of each data set the last that has it.

use std::collections::BTreeSet;

use smol_str::SmolStr;

use crate::author::retention::{Aged, Reason, kept};
use crate::format::roster::Retention;

/// Why a snapshot does not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stays {
    /// The rule keeps it, or it is one of those that never go.
    Because(Reason),
    /// It is the last with this data set.
    LastOf(SmolStr),
}

impl Stays {
    /// What people read behind "it stays:".
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Because(Reason::LastAccepted) => "it is the newest accepted one".into(),
            Self::Because(Reason::Waits) => {
                "it waits for a person (`reserve snapshot --accept-loss`)".into()
            }
            Self::Because(Reason::Twice) => "another snapshot has the same number".into(),
            Self::Because(reason) => format!("the rule keeps it ({})", reason.name()),
            Self::LastOf(name) => format!("it is the last one with data set {name}"),
        }
    }
}

/// Who says what leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The rule of retention.
    Rule(Retention),
    /// A person, who names them by their places in the list.
    These(BTreeSet<usize>),
    /// Nobody: only what was forgotten before.
    Nothing,
}

/// Why each snapshot stays as far as that can be told without looking into it; `None` for those that may leave.
#[must_use]
pub fn staying(wish: &Wish, snapshots: &[Aged]) -> Vec<Option<Stays>> {
    let reasons = match wish {
        Wish::Rule(rule) => kept(rule, snapshots),
        Wish::These(_) | Wish::Nothing => never_go(snapshots),
    };
    let because = |(at, reason): (usize, Option<Reason>)| match (wish, reason) {
        (_, Some(reason)) => Some(Stays::Because(reason)),
        (Wish::Rule(_), None) => None,
        (Wish::These(named), None) => {
            (!named.contains(&at)).then_some(Stays::Because(Reason::NoRule))
        }
        (Wish::Nothing, None) => Some(Stays::Because(Reason::NoRule)),
    };
    reasons.into_iter().enumerate().map(because).collect()
}

/// Those that neither a rule nor a person can have go.
fn never_go(snapshots: &[Aged]) -> Vec<Option<Reason>> {
    // A rule that keeps one has no other reasons but these.
    let least = Retention {
        last: 1,
        ..Retention::default()
    };
    kept(&least, snapshots)
}

/// Which data sets were met in snapshots that stay, the newest first.
#[derive(Debug, Default)]
pub struct SetsMet {
    accepted: BTreeSet<SmolStr>,
    any: BTreeSet<SmolStr>,
}

impl SetsMet {
    /// A data set of this snapshot that no newer one which stays has. One that was never accepted is the last of a data set only while
    /// no accepted one has it.
    #[must_use]
    pub fn last_of<'a>(&self, names: &'a [SmolStr], is_accepted: bool) -> Option<&'a SmolStr> {
        let known = if is_accepted {
            &self.accepted
        } else {
            &self.any
        };
        names.iter().find(|name| !known.contains(*name))
    }

    /// This snapshot stays.
    pub fn note(&mut self, names: &[SmolStr], is_accepted: bool) {
        self.any.extend(names.iter().cloned());
        if is_accepted {
            self.accepted.extend(names.iter().cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::terms::{SnapshotNumber, Stamp};

    fn aged(number: u64, is_accepted: bool) -> Aged {
        Aged {
            number: SnapshotNumber(number),
            taken: Stamp {
                seconds: 86_400 * i64::try_from(number).expect("few"),
                nanos: 0,
            },
            is_accepted,
        }
    }

    /// Numbers of those that leave, of snapshots in rising order with their data sets.
    fn leaving(wish: &Wish, history: &[(Aged, Vec<SmolStr>)]) -> Vec<u64> {
        let aged: Vec<Aged> = history.iter().map(|(aged, _)| *aged).collect();
        let staying = staying(wish, &aged);
        let mut sets = SetsMet::default();
        let mut gone = Vec::new();
        for ((aged, names), stays) in history.iter().zip(staying).rev() {
            if stays.is_none() && sets.last_of(names, aged.is_accepted).is_none() {
                gone.push(aged.number.0);
            } else {
                sets.note(names, aged.is_accepted);
            }
        }
        gone.reverse();
        gone
    }

    fn all(history: &[(Aged, Vec<SmolStr>)]) -> Wish {
        Wish::These((0..history.len()).collect())
    }

    #[test]
    fn a_person_who_names_all_keeps_the_newest_what_waits_twins_and_the_last_of_each_data_set() {
        let set =
            |names: &[&'static str]| names.iter().map(|name| SmolStr::new_static(name)).collect();
        let history: Vec<(Aged, Vec<SmolStr>)> = vec![
            (aged(1, true), set(&["old", "photos"])),
            (aged(2, true), set(&["old", "photos"])),
            (aged(3, true), set(&["photos"])),
            (aged(4, true), set(&["photos"])),
            (aged(4, true), set(&["photos"])),
            (aged(5, false), set(&["photos"])),
            (aged(6, true), set(&["photos"])),
            (aged(7, false), set(&["photos"])),
        ];
        assert_eq!(leaving(&all(&history), &history), [1, 3, 5]);
        assert_eq!(leaving(&Wish::Nothing, &history), [0; 0]);
        let no_rule = Wish::Rule(Retention::default());
        assert_eq!(leaving(&no_rule, &history), [0; 0]);
    }

    proptest! {
        #[test]
        fn each_data_set_that_was_ever_accepted_has_its_last_accepted_snapshot_for_ever(
            snapshots in prop::collection::vec((any::<bool>(), prop::collection::btree_set(0..4u8, 1..4), any::<bool>()), 1..60),
            last in 1..5u16,
            by_rule in any::<bool>(),
        ) {
            let name = |set: &u8| SmolStr::from(format!("set{set}"));
            let history: Vec<(Aged, Vec<SmolStr>)> = snapshots
                .iter()
                .zip(1..)
                .map(|((accepted, sets, _), number)| (aged(number, *accepted), sets.iter().map(name).collect()))
                .collect();
            let wish = if by_rule {
                Wish::Rule(Retention { last, ..Retention::default() })
            } else {
                let named = snapshots.iter().enumerate().filter(|(_, (_, _, named))| *named);
                Wish::These(named.map(|(at, _)| at).collect())
            };
            let gone = leaving(&wish, &history);
            for set in (0..4u8).map(|set| name(&set)) {
                let mut with = history.iter().rev().filter(|(_, names)| names.contains(&set));
                let newest = with.clone().find(|(aged, _)| aged.is_accepted).or_else(|| with.next());
                if let Some((aged, _)) = newest {
                    prop_assert!(!gone.contains(&aged.number.0), "{set}: {gone:?}");
                }
            }
            let latest = history.iter().rev().find(|(aged, _)| aged.is_accepted);
            prop_assert!(latest.is_none_or(|(aged, _)| !gone.contains(&aged.number.0)));
            // What is chosen once is chosen again, and nothing more: deciding twice forgets nothing else.
            let left: Vec<_> = history.iter().filter(|(aged, _)| !gone.contains(&aged.number.0)).cloned().collect();
            if by_rule {
                prop_assert_eq!(leaving(&wish, &left), Vec::<u64>::new());
            }
        }
    }
}
