//! Which snapshots of an author the rule of retention keeps, and why. Decides only: nothing here lets anything go.
//!
//! No clock is read and none is believed. The order of snapshots is that of their numbers; what a clock said when each was taken only
//! parts them into hours, days, weeks, months and years, and a rule counts those that have snapshots, not those that went by. So a
//! clock that is years ahead or behind makes nothing old: readings that contradict the order are put where the order says.

use std::collections::BTreeMap;

use crate::format::roster::Retention;
use crate::terms::{SnapshotNumber, Stamp};

const HOUR_SECONDS: i64 = 3600;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// What is to be known of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aged {
    /// Its place in the author's history.
    pub number: SnapshotNumber,
    /// What the author's clock said.
    pub taken: Stamp,
    /// Whether it is none that waits for a person, having lost suspiciously much.
    pub is_accepted: bool,
}

/// Why a snapshot stays: the first reason of these that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No rule was set: all stay.
    NoRule,
    /// It is the newest that was accepted, which is what `latest` means.
    LastAccepted,
    /// It waits for a person to say whether the loss in it was meant.
    Waits,
    /// Another has the same number: a person has to say which is right.
    Twice,
    /// One of the newest.
    Last,
    /// The newest of its hour.
    Hourly,
    /// The newest of its day.
    Daily,
    /// The newest of its week.
    Weekly,
    /// The newest of its month.
    Monthly,
    /// The newest of its year.
    Yearly,
}

impl Reason {
    /// What people read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRule => "all",
            Self::LastAccepted => "latest",
            Self::Waits => "waits",
            Self::Twice => "twice",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

/// Why each of an author's snapshots stays, in the order given; `None` for those that the rule lets go.
///
/// The last one of each data set stays for ever whatever the rule says; that takes the manifests, so it is for whoever lets go.
#[must_use]
pub fn kept(rule: &Retention, snapshots: &[Aged]) -> Vec<Option<Reason>> {
    if *rule == Retention::default() {
        return vec![Some(Reason::NoRule); snapshots.len()];
    }
    let mut kept = vec![None; snapshots.len()];
    let mut oldest_first: Vec<usize> = (0..snapshots.len()).collect();
    oldest_first.sort_by_key(|at| (snapshots[*at].number, snapshots[*at].taken));
    let in_order: Vec<Aged> = oldest_first.iter().map(|at| snapshots[*at]).collect();
    for (reason, place) in reasons(rule, &in_order) {
        let of: &mut Option<Reason> = &mut kept[oldest_first[place]];
        *of = Some(of.map_or(reason, |other| other.min(reason)));
    }
    kept
}

/// Every reason for every place that has one; oldest first.
fn reasons(rule: &Retention, snapshots: &[Aged]) -> Vec<(Reason, usize)> {
    let mut found = Vec::new();
    let last_accepted = snapshots.iter().rposition(|one| one.is_accepted);
    found.extend(last_accepted.map(|at| (Reason::LastAccepted, at)));
    let waiting = last_accepted.map_or(0, |at| at + 1)..snapshots.len();
    found.extend(waiting.map(|at| (Reason::Waits, at)));
    for at in 1..snapshots.len() {
        if snapshots[at - 1].number == snapshots[at].number {
            found.extend([(Reason::Twice, at - 1), (Reason::Twice, at)]);
        }
    }
    let times = times(snapshots);
    let Retention {
        hourly,
        daily,
        weekly,
        monthly,
        yearly,
        last,
    } = *rule;
    let each = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
    let day = |at: usize| times[at].div_euclid(DAY_SECONDS);
    newest_of(Reason::Last, last, snapshots, each, &mut found);
    let hour = |at: usize| times[at].div_euclid(HOUR_SECONDS);
    newest_of(Reason::Hourly, hourly, snapshots, hour, &mut found);
    newest_of(Reason::Daily, daily, snapshots, day, &mut found);
    // The first day of 1970 was a Thursday, and a week begins on a Monday.
    let week = |at: usize| (day(at) + 3).div_euclid(7);
    newest_of(Reason::Weekly, weekly, snapshots, week, &mut found);
    let month = |at: usize| month_of(day(at));
    newest_of(Reason::Monthly, monthly, snapshots, month, &mut found);
    let year = |at: usize| month_of(day(at)).div_euclid(12);
    newest_of(Reason::Yearly, yearly, snapshots, year, &mut found);
    found
}

/// The newest of each of the newest `many` spans that have an accepted snapshot. One that was never accepted stands for a span
/// only where there is no other, and does not count.
fn newest_of(
    reason: Reason,
    many: u16,
    snapshots: &[Aged],
    span: impl Fn(usize) -> i64,
    found: &mut Vec<(Reason, usize)>,
) {
    let mut counted = 0;
    let mut end = snapshots.len();
    while end > 0 && counted < many {
        let newest = end - 1;
        let begin = (0..newest)
            .rev()
            .find(|at| span(*at) != span(newest))
            .map_or(0, |before| before + 1);
        let accepted = (begin..end).rev().find(|at| snapshots[*at].is_accepted);
        counted += u16::from(accepted.is_some());
        found.push((reason, accepted.unwrap_or(newest)));
        end = begin;
    }
}

/// When each was taken, in seconds, never less than the one before: readings that contradict the order are replaced.
fn times(snapshots: &[Aged]) -> Vec<i64> {
    let said: Vec<i64> = snapshots.iter().map(|one| one.taken.seconds).collect();
    let believed = longest_rising(&said);
    let forward = |from: usize, to: usize| said[to].saturating_sub(said[from]).max(0);
    let mut times = said.clone();
    // Before the first that is believed: back from it, as far apart as their clock said.
    let first = believed.first().copied().unwrap_or(0);
    for at in (0..first).rev() {
        let apart = if at + 1 == first {
            0
        } else {
            forward(at, at + 1)
        };
        times[at] = times[at + 1].saturating_sub(apart);
    }
    let ends = believed.iter().skip(1).copied().chain([said.len()]);
    for (begin, end) in believed.iter().copied().zip(ends) {
        let most = said.get(end).copied().unwrap_or(i64::MAX);
        for at in begin + 1..end {
            let apart = if at == begin + 1 {
                0
            } else {
                forward(at - 1, at)
            };
            times[at] = times[at - 1].saturating_add(apart).min(most);
        }
    }
    times
}

/// Places of a longest run of readings that never fall: what most of them agree on.
fn longest_rising(said: &[i64]) -> Vec<usize> {
    // The place of the smallest last reading of a run of each length, and what stands before each place in its run.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, reading) in said.iter().enumerate() {
        let length = ends.partition_point(|end| said[*end] <= *reading);
        if let Some(shorter) = length.checked_sub(1) {
            before.insert(at, ends[shorter]);
        }
        match ends.get_mut(length) {
            Some(end) => *end = at,
            None => ends.push(at),
        }
    }
    let mut run = Vec::with_capacity(ends.len());
    let mut next = ends.last().copied();
    while let Some(at) = next {
        run.push(at);
        next = before.get(&at).copied();
    }
    run.reverse();
    run
}

/// Months since the year 0 of a day since 1970, by the Gregorian calendar. (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`.)
fn month_of(day: i64) -> i64 {
    let day = day.saturating_add(719_468);
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    // From March on, January and February belong to the year before.
    (era * 400 + year) * 12 + from_march + 2
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A day in October 2026.
    const BEGIN: i64 = 20_730 * DAY_SECONDS;
    const YEARS: i64 = 64 * 365 * DAY_SECONDS;

    fn aged(number: u64, seconds: i64) -> Aged {
        Aged {
            number: SnapshotNumber(number),
            taken: Stamp { seconds, nanos: 0 },
            is_accepted: true,
        }
    }

    /// One an hour for so many days.
    fn hourly(days: u64) -> Vec<Aged> {
        let at = |hour: u64| BEGIN + i64::try_from(hour).expect("few") * HOUR_SECONDS;
        (0..24 * days)
            .map(|hour| aged(hour + 1, at(hour)))
            .collect()
    }

    const RULE: Retention = Retention {
        hourly: 48,
        daily: 30,
        weekly: 12,
        monthly: 24,
        yearly: 10,
        last: 3,
    };

    /// The true days, by number, of which something stays.
    fn days_left(snapshots: &[Aged], rule: &Retention) -> BTreeSet<u64> {
        let kept = kept(rule, snapshots);
        let kept = snapshots.iter().zip(kept).filter(|(_, why)| why.is_some());
        kept.map(|(one, _)| (one.number.0 - 1) / 24).collect()
    }

    fn survivors(snapshots: &[Aged], rule: &Retention) -> Vec<Aged> {
        let kept = kept(rule, snapshots);
        let kept = snapshots.iter().zip(kept).filter(|(_, why)| why.is_some());
        kept.map(|(one, _)| *one).collect()
    }

    #[test]
    fn each_age_keeps_its_newest_and_no_rule_keeps_all() {
        let two_years = hourly(730);
        let all = kept(&Retention::default(), &two_years);
        assert!(all.iter().all(|why| *why == Some(Reason::NoRule)));
        let why = kept(&RULE, &two_years);
        let count = |reason| why.iter().filter(|why| **why == Some(reason)).count();
        assert_eq!(why.last(), Some(&Some(Reason::LastAccepted)));
        assert_eq!(count(Reason::Last), 2, "the third is the latest");
        assert_eq!(count(Reason::Hourly), 45);
        assert_eq!(count(Reason::Daily), 28, "two days are in the hours");
        assert!((6..=8).contains(&count(Reason::Weekly)));
        let left = why.iter().filter(|why| why.is_some()).count();
        assert!(left < 48 + 30 + 12 + 24 + 10, "{left}");
        assert_eq!(survivors(&survivors(&two_years, &RULE), &RULE).len(), left);
    }

    #[test]
    fn months_and_years_are_those_of_the_calendar() {
        for (day, month) in [
            (0, 1970 * 12),
            (30, 1970 * 12),
            (31, 1970 * 12 + 1),
            (-1, 1969 * 12 + 11),
            (11_016, 2000 * 12 + 1),
            (11_017, 2000 * 12 + 2),
            (20_454, 2026 * 12),
        ] {
            assert_eq!(month_of(day), month, "day {day}");
        }
    }

    #[test]
    fn what_waits_for_a_person_stays_and_what_was_accepted_before_it_too() {
        let mut snapshots = hourly(100);
        for one in &mut snapshots[50 * 24..] {
            one.is_accepted = false;
        }
        let why = kept(&RULE, &snapshots);
        assert_eq!(why[50 * 24 - 1], Some(Reason::LastAccepted));
        assert!(why[50 * 24..].iter().all(|why| *why == Some(Reason::Waits)));
        let days = days_left(&snapshots, &RULE);
        assert!((20..100).all(|day| days.contains(&day)), "{days:?}");
    }

    #[test]
    fn two_of_one_number_both_stay() {
        let mut snapshots = hourly(100);
        snapshots.insert(30, aged(30, BEGIN + 7));
        let why = kept(&RULE, &snapshots);
        let twice = why.iter().filter(|why| **why == Some(Reason::Twice));
        assert_eq!(twice.count(), 2);
    }

    /// Ways in which a clock goes wrong; a list of a hundred days goes through each.
    fn wrong_clocks() -> Vec<(&'static str, Vec<Aged>)> {
        let change = |change: &dyn Fn(usize, &mut i64)| {
            let mut snapshots = hourly(100);
            for (at, one) in snapshots.iter_mut().enumerate() {
                change(at, &mut one.taken.seconds);
            }
            snapshots
        };
        let ahead = |from: usize, to: usize, by: i64| {
            move |at: usize, said: &mut i64| *said += if (from..to).contains(&at) { by } else { 0 }
        };
        vec![
            ("ahead for a day", change(&ahead(1500, 1524, YEARS))),
            ("behind for a day", change(&ahead(1500, 1524, -YEARS))),
            ("ahead for a month", change(&ahead(1500, 2220, YEARS))),
            ("ahead at first", change(&ahead(0, 1000, YEARS))),
            ("ahead for good", change(&ahead(1500, 2400, YEARS))),
            ("set right at last", change(&ahead(0, 2390, YEARS))),
            ("behind for good", change(&ahead(1500, 2400, -YEARS))),
            (
                "1970 after each start",
                change(&|at, said| {
                    if at % 24 == 0 {
                        *said = 12;
                    }
                }),
            ),
            (
                "2090 now and then",
                change(&|at, said| {
                    if at % 17 == 0 {
                        *said = BEGIN + YEARS;
                    }
                }),
            ),
        ]
    }

    #[test]
    fn a_clock_that_jumps_makes_nothing_old() {
        for (how, snapshots) in wrong_clocks() {
            let days = days_left(&snapshots, &RULE);
            let newest_month = (70..100).filter(|day| days.contains(day)).count();
            assert!(newest_month >= 29, "{how}: {newest_month} days, {days:?}");
            let newest = days_left(&snapshots[2352..], &RULE);
            assert!(newest.len() == 2, "{how}");
        }
    }

    proptest! {
        #[test]
        fn whatever_clocks_say_the_newest_stay_and_no_more_than_the_rule_says(
            readings in prop::collection::vec((any::<i64>(), any::<bool>()), 1..200),
            last in 1..20u16,
            daily in 0..20u16,
        ) {
            let rule = Retention { last, daily, ..Retention::default() };
            let snapshots: Vec<Aged> = readings
                .iter()
                .zip(1..)
                .map(|((seconds, is_accepted), number)| Aged {
                    is_accepted: *is_accepted,
                    ..aged(number, *seconds)
                })
                .collect();
            let times = times(&snapshots);
            prop_assert!(times.is_sorted());
            let why = kept(&rule, &snapshots);
            prop_assert!(why.last().is_some_and(Option::is_some));
            let last_accepted = snapshots.iter().rposition(|one| one.is_accepted);
            let newest = &why[last_accepted.unwrap_or(0)..];
            prop_assert!(newest.iter().all(Option::is_some));
            let accepted = |at: &usize| snapshots[*at].is_accepted;
            let newest: Vec<usize> =
                (0..snapshots.len()).rev().filter(accepted).take(last.into()).collect();
            prop_assert!(newest.iter().all(|at| why[*at].is_some()));
            let left = (0..snapshots.len()).filter(accepted).filter(|at| why[*at].is_some());
            prop_assert!(left.count() <= usize::from(last) + usize::from(daily) + 1);
            // The order they are given in says nothing.
            let mut turned = snapshots.clone();
            turned.reverse();
            let mut turned_why = kept(&rule, &turned);
            turned_why.reverse();
            prop_assert_eq!(turned_why, why);
        }
    }
}
