//! The drill's Boxes: real processes of this very program, each with a state directory of its own, and the stage they stand on.

use crate::console::text;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde::de::DeserializeOwned;

use crate::console::fault::{Exit, Fault};

/// What a keeper prints once the others can reach it, before its address.
pub const LISTENING: &str = "listening on ";

/// The directory everything happens in, and every process that was started.
pub struct Stage {
    root: PathBuf,
    /// Process ids of keepers that run.
    running: Mutex<Vec<u32>>,
    /// Somebody pressed ctrl-C.
    pub stopped: AtomicBool,
}

impl Stage {
    /// Makes the directory.
    pub fn set_up(work_dir: Option<&Path>) -> Result<Self, Fault> {
        let parent = match work_dir {
            Some(dir) => dir.to_owned(),
            None => {
                std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
            }
        };
        let cannot = |error: std::io::Error| {
            Fault::new(
                format!("cannot work in {}: {error}", parent.display()),
                "Nothing was read or written.",
                "Give another directory with --work-dir.",
            )
        };
        let parent_path = std::fs::canonicalize(&parent).map_err(cannot)?;
        let root = parent_path.join(format!("reserve-drill-{}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&root)
            .map_err(cannot)?;
        Ok(Self {
            root,
            running: Mutex::new(Vec::new()),
            stopped: AtomicBool::new(false),
        })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A place on the stage.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Says so now if the copies will not fit, rather than half-way.
    pub fn check_room(&self, bytes: u64) -> Result<(), Fault> {
        let file_system = rustix::fs::statvfs(&self.root).map_err(|error| {
            Fault::new(
                format!("{}: {error}", self.root.display()),
                "Nothing was changed.",
                "Give another directory with --work-dir.",
            )
        })?;
        let free = file_system.f_bavail * file_system.f_frsize;
        if free >= bytes {
            return Ok(());
        }
        Err(Fault::new(
            format!(
                "the drill needs {} in {}, and {} are free",
                super::screen::bytes(bytes),
                self.root.display(),
                super::screen::bytes(free)
            ),
            "Nothing was protected yet; the given files were only looked at.",
            "Give a directory with more room with --work-dir, or a smaller path.",
        ))
    }

    /// Ends every keeper and removes everything.
    pub fn clear(&self) {
        self.end_all();
        // A directory that came back may be read-only: removing its contents needs the bit for an ordinary user.
        super::compare::make_removable(&self.root);
        if let Err(error) = std::fs::remove_dir_all(&self.root) {
            text::tell(&format!(
                "reserve: {} could not be removed ({error}); remove it by hand.",
                self.root.display()
            ));
        }
    }

    fn end_all(&self) {
        for pid in self
            .running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .drain(..)
        {
            kill(pid);
        }
    }
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself: nothing to do then.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Waits until the story is told, or ends its processes when somebody interrupts; tells whether somebody did.
pub fn wait_for_end_or_signal<T>(story: &JoinHandle<T>, stage: &Stage) -> bool {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return false;
    };
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        ) else {
            return false;
        };
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hang_up.recv() => break,
                _ = tick.tick() => if story.is_finished() { return false },
            }
        }
        stage.stopped.store(true, Ordering::Relaxed);
        // Every step of the story waits for one of these processes, or looks at `stopped`.
        while !story.is_finished() {
            stage.end_all();
            tick.tick().await;
        }
        true
    })
}

/// One Box.
pub struct BoxProcess<'stage> {
    stage: &'stage Stage,
    name: &'static str,
    keeper: Option<Child>,
}

impl<'stage> BoxProcess<'stage> {
    /// A Box out of its carton.
    pub fn new(stage: &'stage Stage, name: &'static str) -> Self {
        Self {
            stage,
            name,
            keeper: None,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Makes it the first of a reserve.
    pub fn init(&self, source: &Path) -> Result<(), Fault> {
        let sheet = self.stage.path("recovery-words");
        let mut data = std::ffi::OsString::from("drill=");
        data.push(source);
        let mut command = self.command();
        command
            .args(["init", "--name", self.name, "--sheet"])
            .arg(sheet)
            .arg("--data")
            .arg(data);
        self.run(command, true).map(drop)
    }

    /// Takes it into a reserve. The ticket goes through a pipe: a command line is there for everybody to read.
    pub fn join(&self, ticket: &str) -> Result<(), Fault> {
        let (reader, mut writer) =
            std::io::pipe().map_err(|error| self.fault(&error.to_string()))?;
        writer
            .write_all(ticket.as_bytes())
            .map_err(|error| self.fault(&error.to_string()))?;
        drop(writer);
        let mut command = self.command();
        command
            .args(["join", "--name", self.name, "-"])
            .stdin(reader);
        self.run(command, true).map(drop)
    }

    /// A ticket for a newcomer.
    pub fn ticket(&self) -> Result<String, Fault> {
        let mut command = self.command();
        command.arg("invite");
        Ok(self.run(command, true)?.trim().to_owned())
    }

    /// Starts its keeper and waits until the others can reach it.
    pub fn start(&mut self) -> Result<(), Fault> {
        let log = File::create(self.log_path())
            .map_err(|error| self.fault(&format!("no log: {error}")))?;
        let mut keeper = self
            .command()
            .args(["keeper", "--listen", "127.0.0.1:0", "--end-with-parent"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| self.fault(&error.to_string()))?;
        self.stage
            .running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(keeper.id());
        let stdout = keeper.stdout.take();
        self.keeper = Some(keeper);
        let first_line = stdout
            .and_then(|stdout| BufReader::new(stdout).lines().next())
            .and_then(Result::ok);
        match first_line {
            Some(line) if line.contains(LISTENING) => Ok(()),
            _ => {
                let told = self.log_tail();
                Err(self.fault(&format!("its keeper did not start\n{told}")))
            }
        }
    }

    /// SIGKILL, and everything it had is gone.
    pub fn drown(&mut self) -> Result<(), Fault> {
        self.stop();
        std::fs::remove_dir_all(self.stage.path(self.name))
            .map_err(|error| self.fault(&format!("its state could not be destroyed: {error}")))
    }

    /// SIGKILL.
    pub fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            let pid = keeper.id();
            // It may have ended by itself: that is what we want.
            let _ = keeper.kill();
            let _ = keeper.wait();
            self.stage
                .running
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .retain(|running| *running != pid);
        }
    }

    /// The most memory its keeper ever had, in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.keeper
            .as_ref()
            .and_then(|keeper| crate::console::memory::of_process(keeper.id()))
            .map_or(0, |(_, peak)| peak)
    }

    /// Bytes of its store's segments.
    pub fn stored_bytes(&self) -> u64 {
        let segments = std::fs::read_dir(self.stage.path(self.name).join("store"))
            .into_iter()
            .flatten()
            .flatten();
        segments
            .filter_map(|entry| entry.metadata().ok())
            .map(|meta| std::os::unix::fs::MetadataExt::blocks(&meta) * 512)
            .sum()
    }

    /// Runs a command on this Box and reads its JSON; its progress goes to our standard error unless `quiet`.
    pub fn command_json<T: DeserializeOwned>(
        &self,
        args: &[&str],
        quiet: bool,
    ) -> Result<T, Fault> {
        let mut command = self.command();
        command.args(args);
        let text = self.run(command, quiet)?;
        serde_json::from_str(text.trim()).map_err(|error| {
            self.fault(&format!(
                "`reserve {}` printed no report ({error})",
                args[0]
            ))
        })
    }

    fn command(&self) -> Command {
        let program = std::env::current_exe().unwrap_or_else(|_| "reserve".into());
        let mut command = Command::new(program);
        command
            .env("RESERVE_DIR", self.stage.path(self.name))
            .stdin(Stdio::null());
        command
    }

    /// Runs to the end; statuses 0, 3 and 4 come with a result.
    fn run(&self, mut command: Command, quiet: bool) -> Result<String, Fault> {
        if self.stage.stopped.load(Ordering::Relaxed) {
            return Err(self.fault("interrupted"));
        }
        let verb = command
            .get_args()
            .next()
            .map(|verb| verb.to_string_lossy().into_owned())
            .unwrap_or_default();
        command.stdout(Stdio::piped()).stderr(if quiet {
            Stdio::piped()
        } else {
            Stdio::inherit()
        });
        let mut child = command
            .spawn()
            .map_err(|error| self.fault(&error.to_string()))?;
        let pid = child.id();
        self.stage
            .running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(pid);
        let mut text = String::new();
        // Standard error is at most a few lines when piped, less than a pipe holds, so reading one after the other cannot lock up.
        let read = child
            .stdout
            .take()
            .map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut text));
        let mut complaint = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let _ = stderr.read_to_string(&mut complaint);
        }
        let status = child.wait();
        self.stage
            .running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .retain(|running| *running != pid);
        let code = status
            .map_err(|error| self.fault(&error.to_string()))?
            .code();
        let has_result = [Exit::Done, Exit::NotSafe, Exit::Damaged]
            .iter()
            .any(|exit| code == Some(i32::from(*exit as u8)));
        if read.is_ok() && has_result {
            return Ok(text);
        }
        let told = self.log_tail();
        Err(self.fault(&format!(
            "`reserve {verb}` failed\n{}{told}",
            complaint.trim_end()
        )))
    }

    fn log_path(&self) -> PathBuf {
        self.stage.path(&format!("{}.log", self.name))
    }

    /// What its keeper said last.
    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..]
            .iter()
            .map(|line| format!("\n  {} keeper: {line}", self.name))
            .collect()
    }

    fn fault(&self, what: &str) -> Fault {
        Fault::new(
            format!("the drill's Box {}: {what}", self.name),
            "The given files were only read; everything the drill made is removed.",
            "If it happens again, please report it with the lines above.",
        )
    }
}

impl Drop for BoxProcess<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}
