//! Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::text::{self, bytes};

/// How long until the first plain line; each one after it waits twice as long as the one before.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// But no longer than this.
const LINE_EVERY_MAX: Duration = Duration::from_secs(60);

/// One piece of long work as people see it.
pub struct Progress {
    look: Look,
    verb: &'static str,
    began: Instant,
    total_bytes: Option<u64>,
}

enum Look {
    Bar(ProgressBar),
    Lines { last: Instant, every: Duration },
}

impl Progress {
    /// Begins. `total_bytes` may be unknown.
    pub fn begin(verb: &'static str, total_bytes: Option<u64>) -> Self {
        let began = Instant::now();
        let look = if std::io::stderr().is_terminal() {
            let bar = total_bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let template = if total_bytes.is_some() {
                "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left  {wide_msg}"
            } else {
                "{prefix} {spinner} {bytes} {bytes_per_sec}  {wide_msg}"
            };
            bar.set_style(ProgressStyle::with_template(template).expect("the template is ours"));
            bar.set_prefix(verb);
            Look::Bar(bar)
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
            total_bytes,
        }
    }

    /// Tells how far it is.
    pub fn at(&mut self, bytes_done: u64, files: u64, what: &str) {
        match &mut self.look {
            Look::Bar(bar) => {
                bar.set_position(bytes_done);
                bar.set_message(format!("{files} files, {what}"));
            }
            Look::Lines { last, every } => {
                if last.elapsed() >= *every {
                    *last = Instant::now();
                    *every = (*every * 2).min(LINE_EVERY_MAX);
                    let elapsed = self.began.elapsed();
                    let far = Far {
                        bytes_done,
                        bytes_total: self.total_bytes,
                        files,
                        elapsed,
                    };
                    text::tell(&format!("{}: {}, {what}", self.verb, line(far)));
                }
            }
        }
    }

    /// Ends; the bar goes away.
    pub fn end(self) {
        if let Look::Bar(bar) = self.look {
            bar.finish_and_clear();
        }
    }
}

/// How far work is.
#[derive(Debug, Clone, Copy)]
struct Far {
    bytes_done: u64,
    bytes_total: Option<u64>,
    files: u64,
    elapsed: Duration,
}

/// Bytes, files, rate and, if it can be known, the time left. Pure.
fn line(far: Far) -> String {
    let seconds = far.elapsed.as_secs().max(1);
    let rate = far.bytes_done / seconds;
    let s = if far.files == 1 { "" } else { "s" };
    let done = bytes(far.bytes_done);
    let rate_shown = bytes(rate);
    match far.bytes_total {
        None => format!("{done}, {} file{s}, {rate_shown}/s", far.files),
        Some(total) => {
            let left = total.saturating_sub(far.bytes_done).checked_div(rate);
            let left = left.map_or_else(String::new, |seconds| format!(", {} left", span(seconds)));
            format!(
                "{done} of {}, {} file{s}, {rate_shown}/s{left}",
                bytes(total),
                far.files
            )
        }
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

    #[test]
    fn a_plain_line_has_bytes_files_rate_and_the_time_left_where_it_can_be_known() {
        let far = Far {
            bytes_done: 100 << 20,
            bytes_total: Some(700 << 20),
            files: 12,
            elapsed: Duration::from_secs(10),
        };
        assert_eq!(
            line(far),
            "100 MiB of 700 MiB, 12 files, 10 MiB/s, 1 min left"
        );
        let no_total = Far {
            bytes_total: None,
            files: 1,
            ..far
        };
        assert_eq!(line(no_total), "100 MiB, 1 file, 10 MiB/s");
        let not_begun = Far {
            bytes_done: 0,
            elapsed: Duration::ZERO,
            ..far
        };
        assert_eq!(line(not_begun), "0 B of 700 MiB, 12 files, 0 B/s");
        assert_eq!(span(7_500), "2 h 5 min");
    }
}
