//! Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::text::{self, bytes};

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// One piece of long work as people see it.
pub struct Progress {
    look: Look,
    verb: &'static str,
    began: Instant,
}

enum Look {
    Bar(ProgressBar),
    Lines { last: Instant },
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
            Look::Lines { last: began }
        };
        Self { look, verb, began }
    }

    /// Tells how far it is.
    pub fn at(&mut self, bytes_done: u64, files: u64, what: &str) {
        match &mut self.look {
            Look::Bar(bar) => {
                bar.set_position(bytes_done);
                bar.set_message(format!("{files} files, {what}"));
            }
            Look::Lines { last } => {
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    let seconds = self.began.elapsed().as_secs().max(1);
                    text::tell(&format!(
                        "{}: {files} files, {}, {}/s, {what}",
                        self.verb,
                        bytes(bytes_done),
                        bytes(bytes_done / seconds)
                    ));
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
