//! What a piece of work cost: seconds on the wall, seconds of processors, and the most memory of each process.
//!
//! A command runs below a small copy of this program that waits for it and asks the kernel what it and its children used
//! (`getrusage`). A process that stays, a keeper or a daemon, is read from /proc before and after.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

use super::fault;
use super::stage::Stage;

/// The hidden command of the small copy.
pub const WRAPPER: &str = "bench-measure";

/// One process's share.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Which process.
    pub name: String,
    /// Its user and system time, seconds.
    pub cpu_s: f64,
    /// The most memory it had, KiB.
    pub peak_kib: u64,
}

/// What one piece of work cost.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cost {
    /// From beginning to end, seconds.
    pub wall_s: f64,
    /// The processes that worked on it.
    pub parts: Vec<Part>,
    /// Bytes the store takes then, or took more than before.
    pub stored_bytes: Option<u64>,
    /// Wake-ups a second, where that is measured.
    pub wakeups: Option<f64>,
}

impl Cost {
    /// Of all processes together.
    pub fn cpu_s(&self) -> f64 {
        self.parts.iter().map(|part| part.cpu_s).sum()
    }

    /// What came after it, as one piece of work: the times of a process are added, and the most memory it had is kept.
    pub fn and_then(&mut self, more: Self) {
        self.wall_s += more.wall_s;
        for part in more.parts {
            match self.parts.iter_mut().find(|one| one.name == part.name) {
                Some(one) => {
                    one.cpu_s += part.cpu_s;
                    one.peak_kib = one.peak_kib.max(part.peak_kib);
                }
                None => self.parts.push(part),
            }
        }
    }

    /// Of the largest process, MiB.
    pub fn peak_mib(&self) -> f64 {
        let kib = self.parts.iter().map(|part| part.peak_kib).max();
        kib.unwrap_or(0) as f64 / 1024.0
    }
}

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The program, then its arguments.
    pub line: Vec<OsString>,
    /// Environment of it.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub dir: Option<PathBuf>,
}

impl Order {
    /// A program with arguments.
    pub fn new<T: Into<OsString>>(line: impl IntoIterator<Item = T>) -> Self {
        Self {
            line: line.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.line.push(arg.into());
        self
    }

    /// One more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Where it runs.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// What a person would have typed.
    pub fn told(&self) -> String {
        let words: Vec<_> = self
            .line
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        words.join(" ")
    }
}

/// The small copy's work: runs the command, writes `wall cpu peak-KiB` into the file.
pub fn wrap(file: &str, line: &[&str]) -> ExitCode {
    let Some((program, arguments)) = line.split_first() else {
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let status = Command::new(program).args(arguments).status();
    let wall_s = began.elapsed().as_secs_f64();
    let told = getrusage(UsageWho::RUSAGE_CHILDREN).map(|usage| {
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let cpu_s = seconds(usage.user_time()) + seconds(usage.system_time());
        format!("{wall_s} {cpu_s} {}\n", usage.max_rss())
    });
    match (status, told) {
        (Ok(status), Ok(told)) if fs::write(file, &told).is_ok() => ExitCode::from(
            status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(1),
        ),
        (Err(error), _) => {
            eprintln!("{program}: {error}");
            ExitCode::from(127)
        }
        _ => ExitCode::from(126),
    }
}

/// What the small copy wrote.
pub fn read_report(file: &Path, name: &str) -> Result<(f64, Part)> {
    let text = fs::read_to_string(file).with_context(|| format!("{name} left no figures"))?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [wall_s, cpu_s, peak_kib] = words.as_slice() else {
        bail!("{name} left no figures");
    };
    let part = Part {
        name: name.to_owned(),
        cpu_s: cpu_s.parse()?,
        peak_kib: peak_kib.parse()?,
    };
    Ok((wall_s.parse()?, part))
}

/// The line that runs another line below the small copy.
pub fn wrapped(file: &Path) -> Result<Vec<OsString>> {
    let this = std::env::current_exe().context("this program's own path")?;
    Ok(vec![this.into(), WRAPPER.into(), file.into()])
}

/// What a command did.
pub struct Done {
    /// Seconds on the wall.
    pub wall_s: f64,
    /// Its share.
    pub part: Part,
    /// Its standard output.
    pub stdout: String,
}

/// Runs commands, all at once if there are several, and waits for them. Exit statuses in `fine` are no failure.
pub fn run_all(stage: &Stage, name: &str, orders: &[Order], fine: &[i32]) -> Result<Vec<Done>> {
    stage.go_on()?;
    let mut children = Vec::new();
    for (number, order) in orders.iter().enumerate() {
        let report = stage.path(&format!("figures-{number}"));
        let (out, err) = (
            stage.path(&format!("out-{number}")),
            stage.path(&format!("err-{number}")),
        );
        let mut line = wrapped(&report)?;
        line.extend(order.line.iter().cloned());
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .envs(order.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out)?)
            .stderr(fs::File::create(&err)?)
            .process_group(0);
        if let Some(dir) = &order.dir {
            command.current_dir(dir);
        }
        let child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", order.told()))?;
        stage.began(child.id());
        children.push((child, order, report, out, err));
    }
    let mut all = Vec::new();
    for (child, ..) in &mut children {
        let status = child.wait();
        stage.ended(child.id());
        all.push(status?);
    }
    stage.go_on()?;
    let mut done = Vec::new();
    for ((_, order, report, out, err), status) in children.iter().zip(all) {
        let stdout = fs::read_to_string(out).unwrap_or_default();
        if !status
            .code()
            .is_some_and(|code| code == 0 || fine.contains(&code))
        {
            let said = fs::read_to_string(err).unwrap_or_default();
            let last: Vec<&str> = said.lines().chain(stdout.lines()).rev().take(4).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            return Err(fault(
                &format!(
                    "`{}` ended with {status}: {}",
                    order.told(),
                    last.join(" | ")
                ),
                "The other rows are measured all the same.",
                "Run it by hand to see more.",
            ));
        }
        let (wall_s, part) = read_report(report, name)?;
        done.push(Done {
            wall_s,
            part,
            stdout,
        });
    }
    Ok(done)
}

/// Runs one command.
pub fn run(stage: &Stage, name: &str, order: &Order) -> Result<Done> {
    let mut done = run_all(stage, name, std::slice::from_ref(order), &[])?;
    done.pop().context("it was one command")
}

/// A process that stays, watched from outside.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What it is called in the table.
    pub name: String,
    /// Its id.
    pub pid: u32,
}

/// How often and how long to look whether a process has come to rest.
const REST_LOOK: Duration = Duration::from_millis(100);
const REST_LOOKS_MAX: usize = 100;

impl Watched {
    /// User and system time so far, with that of children it waited for, in ticks.
    fn ticks(&self) -> Result<u64> {
        ticks_of(&self.proc("stat")?)
    }

    /// Seconds so far, as exactly as the kernel tells.
    pub fn cpu_s(&self) -> Result<f64> {
        let a_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel counts in no ticks")?;
        Ok(self.ticks()? as f64 / a_second as f64)
    }

    /// A line of its status, first number.
    pub fn status(&self, line: &str) -> Result<u64> {
        status_of(&self.proc("status")?, line)
            .with_context(|| format!("{} has no {line}", self.name))
    }

    /// Seconds its threads ran so far, to the nanosecond; in whole ticks where the kernel does not count them.
    pub fn run_s(&self) -> Result<f64> {
        let first = |stat: &str| stat.split_ascii_whitespace().next()?.parse::<u64>().ok();
        let all: Option<Vec<u64>> = self
            .of_threads("schedstat")?
            .iter()
            .map(|stat| first(stat))
            .collect();
        all.map_or_else(
            || self.cpu_s(),
            |all| Ok(all.iter().sum::<u64>() as f64 / 1e9),
        )
    }

    /// How often its threads were woken so far.
    pub fn wakeups(&self) -> Result<u64> {
        let all = self.of_threads("status")?;
        Ok(all
            .iter()
            .filter_map(|status| status_of(status, "voluntary_ctxt_switches"))
            .sum())
    }

    fn of_threads(&self, file: &str) -> Result<Vec<String>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid))
            .with_context(|| format!("{} is gone", self.name))?;
        let read =
            |task: std::io::Result<fs::DirEntry>| Ok(fs::read_to_string(task?.path().join(file))?);
        tasks.map(read).collect()
    }

    /// Forgets the most memory so far, so that the next row has its own.
    pub fn forget_peak(&self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").context("clear_refs")
    }

    fn proc(&self, file: &str) -> Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid))
            .with_context(|| format!("{} is gone", self.name))
    }
}

fn ticks_of(stat: &str) -> Result<u64> {
    let after_name = stat.rsplit_once(") ").context("no such stat")?.1;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    // utime, stime, cutime, cstime are fields 14 to 17; the first after the name is field 3.
    let times = fields.get(11..15).context("a short stat")?;
    times
        .iter()
        .try_fold(0, |sum, time| Ok(sum + time.parse::<u64>()?))
}

fn status_of(status: &str, line: &str) -> Option<u64> {
    let rest = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

/// What watched processes used since; after the work each is given time to come to rest, and that counts too.
pub struct Watch<'a> {
    all: Vec<(&'a Watched, f64)>,
}

impl<'a> Watch<'a> {
    /// Begins.
    pub fn begin(all: impl IntoIterator<Item = &'a Watched>) -> Result<Self> {
        let mut watch = Vec::new();
        for one in all {
            one.forget_peak()?;
            watch.push((one, one.cpu_s()?));
        }
        Ok(Self { all: watch })
    }

    /// Ends.
    pub fn end(self) -> Result<Vec<Part>> {
        let mut last = Vec::new();
        for _ in 0..REST_LOOKS_MAX {
            let now = self
                .all
                .iter()
                .map(|(one, _)| one.ticks())
                .collect::<Result<Vec<_>>>()?;
            if now == last {
                break;
            }
            last = now;
            sleep(REST_LOOK);
        }
        self.all
            .into_iter()
            .map(|(one, before)| {
                Ok(Part {
                    name: one.name.clone(),
                    cpu_s: one.cpu_s()? - before,
                    peak_kib: one.status("VmHWM")?,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read_whatever_the_program_is_called() {
        let stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0 1 0 5";
        assert_eq!(ticks_of(stat).ok(), Some(127));
        assert!(ticks_of("12 (a) S 1 2").is_err() && ticks_of("").is_err());
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nvoluntary_ctxt_switches:\t7\n";
        assert_eq!(status_of(status, "VmHWM"), Some(2048));
        assert_eq!(status_of(status, "voluntary_ctxt_switches"), Some(7));
        assert_eq!(status_of(status, "Vm"), None);
    }

    #[test]
    fn a_process_can_be_watched() {
        let me = Watched {
            name: "this test".to_owned(),
            pid: std::process::id(),
        };
        assert!(me.status("VmHWM").is_ok_and(|kib| kib > 500));
        assert!(me.cpu_s().is_ok());
    }

    #[test]
    fn costs_add_up_over_processes() {
        let part = |cpu_s, peak_kib| Part {
            name: String::new(),
            cpu_s,
            peak_kib,
        };
        let cost = Cost {
            parts: vec![part(1.5, 2048), part(0.25, 1024)],
            ..Cost::default()
        };
        assert!((cost.cpu_s() - 1.75).abs() < 1e-9 && (cost.peak_mib() - 2.0).abs() < 1e-9);
    }
}
