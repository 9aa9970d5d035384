//! Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere. Both say the same.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::control::{Counted, ProgressView};
use super::text::{self, bytes};

/// How long until the first plain line; each one after it waits twice as long as the one before.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// But no longer than this.
const LINE_EVERY_MAX: Duration = Duration::from_secs(60);
/// How fast it goes is reckoned over this long.
const RATE_OVER: Duration = Duration::from_secs(30);
/// From looks so far apart.
const RATE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// One piece of long work as people see it.
pub struct Progress {
    look: Look,
    verb: &'static str,
    began: Instant,
    pace: Pace,
}

enum Look {
    Bar { bar: ProgressBar, has_total: bool },
    Lines { last: Instant, every: Duration },
}

impl Progress {
    /// Begins.
    pub fn begin(verb: &'static str) -> Self {
        let began = Instant::now();
        let look = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            bar.set_style(style("{prefix} {spinner} {wide_msg}"));
            bar.set_prefix(verb);
            Look::Bar {
                bar,
                has_total: false,
            }
        } else {
            Look::Lines {
                last: began,
                every: LINE_EVERY,
            }
        };
        Self {
            look,
            verb,
            began,
            pace: Pace::default(),
        }
    }

    /// Tells how far it is.
    pub fn at(&mut self, far: &ProgressView) {
        let rate = self.pace.rate(self.began.elapsed(), far.bytes_read);
        let said = line(far, rate);
        match &mut self.look {
            Look::Bar { bar, has_total } => {
                let done = share(far);
                if !*has_total && let Some((_, total)) = done {
                    bar.set_length(total);
                    bar.set_style(style("{prefix} {bar:12} {wide_msg}"));
                    *has_total = true;
                }
                if let Some((done, total)) = done {
                    bar.set_length(total);
                    bar.set_position(done);
                }
                bar.set_message(said);
                bar.tick();
            }
            Look::Lines { last, every } => {
                if last.elapsed() >= *every {
                    *last = Instant::now();
                    *every = (*every * 2).min(LINE_EVERY_MAX);
                    text::tell(&format!("{}: {said}", self.verb));
                }
            }
        }
    }

    /// Ends; the bar goes away.
    pub fn end(self) {
        if let Look::Bar { bar, .. } = self.look {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is ours")
}

/// How much of all is done, in whatever tells it best. Pure.
fn share(far: &ProgressView) -> Option<(u64, u64)> {
    let counted = |counted: &Counted| Some((counted.done, counted.total?));
    let counted = far.counted.as_ref().and_then(counted);
    let read = far.bytes_total.map(|total| (far.bytes_read, total));
    let files = far.files_total.map(|total| (far.files, total));
    let done = read.or(counted).or(files);
    // Nothing to do is no share of anything.
    done.filter(|(_, total)| *total > 0)
        .map(|(done, total)| (done.min(total), total))
}

/// How far it is, how fast it goes and, if it can be known, the time left; what matters most comes first, since a terminal may be narrow.
/// Pure.
fn line(far: &ProgressView, rate: Option<u64>) -> String {
    let mut said = Vec::new();
    if far.counted.is_some() {
        said.push(text::how_far(far));
    } else {
        said.push(text::bytes_done(far));
        said.extend(rate.map(|rate| format!("{}/s", bytes(rate))));
        said.extend(left(far, rate).map(|seconds| format!("{} left", span(seconds))));
        said.push(text::files_done(far));
    }
    let words = [&far.phase, &far.path].into_iter();
    said.extend(words.filter(|word| !word.is_empty()).cloned());
    said.join(", ")
}

/// Seconds until all is read, at this rate. Pure.
fn left(far: &ProgressView, rate: Option<u64>) -> Option<u64> {
    let left = far.bytes_total?.checked_sub(far.bytes_read)?;
    left.checked_div(rate?).filter(|_| left > 0)
}

/// How fast it goes now: what was done before somebody looked, or was there already, is no work of now.
#[derive(Debug, Default)]
struct Pace(VecDeque<(Duration, u64)>);

impl Pace {
    /// Bytes a second, once that can be told.
    fn rate(&mut self, at: Duration, done: u64) -> Option<u64> {
        // Work that begins anew, or is of another kind, is reckoned anew.
        if self.0.back().is_some_and(|(_, before)| *before > done) {
            self.0.clear();
        }
        let is_due = |(last, _): &(Duration, u64)| at.saturating_sub(*last) >= RATE_LOOK_EVERY;
        if self.0.back().is_none_or(is_due) {
            self.0.push_back((at, done));
        }
        while let Some((second, _)) = self.0.get(1)
            && at.saturating_sub(*second) >= RATE_OVER
        {
            self.0.pop_front();
        }
        let (from, before) = self.0.front()?;
        let over = at.saturating_sub(*from);
        if over < RATE_LOOK_EVERY {
            return None;
        }
        let rate = u128::from(done - before) * 1000 / over.as_millis();
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn far(read: u64, total: Option<u64>) -> ProgressView {
        ProgressView {
            phase: "reading".into(),
            files: 12,
            bytes_read: read << 20,
            bytes_total: total.map(|total| total << 20),
            path: "a/b".into(),
            ..ProgressView::default()
        }
    }

    #[test]
    fn a_line_has_bytes_files_rate_and_the_time_left_where_it_can_be_known() {
        let rate = Some(10 << 20);
        assert_eq!(
            line(&far(100, Some(700)), rate),
            "100 MiB of 700 MiB, 10 MiB/s, 1 min left, 12 files, reading, a/b"
        );
        assert_eq!(
            line(&far(100, None), rate),
            "100 MiB, 10 MiB/s, 12 files, reading, a/b"
        );
        let standing = line(&far(0, Some(700)), Some(0));
        assert_eq!(standing, "0 B of 700 MiB, 0 B/s, 12 files, reading, a/b");
        let begun = line(&far(0, Some(700)), None);
        assert_eq!(begun, "0 B of 700 MiB, 12 files, reading, a/b");
        let mut all = far(700, Some(700));
        all.files_total = Some(12);
        all.path.clear();
        let done = "700 MiB of 700 MiB, 10 MiB/s, 12 of 12 files, reading";
        assert_eq!(line(&all, rate), done);
        assert_eq!(span(7_500), "2 h 5 min");
    }

    #[test]
    fn what_is_not_read_is_counted() {
        let mut leaving = far(0, None);
        (leaving.files, leaving.path) = (0, String::new());
        leaving.counted = Some(Counted {
            what: "snapshots".into(),
            done: 3,
            total: Some(40),
        });
        assert_eq!(line(&leaving, Some(0)), "3 of 40 snapshots, reading");
        assert_eq!(share(&leaving), Some((3, 40)));
    }

    #[test]
    fn more_than_all_is_never_shown() {
        assert_eq!(share(&far(800, Some(700))), Some((700 << 20, 700 << 20)));
        assert_eq!(share(&far(0, Some(0))), None);
        assert_eq!(share(&far(5, None)), None);
        assert!(!line(&far(800, Some(700)), Some(1)).contains("left"));
    }

    #[test]
    fn the_rate_is_that_of_now_and_not_of_what_was_done_before_anybody_looked() {
        let mut pace = Pace::default();
        let at = Duration::from_secs;
        assert_eq!(pace.rate(at(0), 5_000), None, "nothing is known of it yet");
        assert_eq!(pace.rate(Duration::from_millis(500), 5_100), None);
        assert_eq!(pace.rate(at(10), 6_000), Some(100));
        for second in 11..=200 {
            pace.rate(at(second), 6_000);
        }
        assert_eq!(pace.rate(at(201), 6_000), Some(0), "it stands");
        assert!(pace.0.len() < 40, "{pace:?}");
        assert_eq!(pace.rate(at(202), 0), None, "it began anew");
    }
}
