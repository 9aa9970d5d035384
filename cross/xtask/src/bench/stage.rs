//! Where the benchmark happens: one directory that is removed, and every process that was started, ended by its id.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::fault;

/// The directory everything happens in, and every process that was started.
pub struct Stage {
    root: PathBuf,
    /// Process groups that run.
    running: Mutex<Vec<u32>>,
    /// Somebody pressed ctrl-C.
    stopped: AtomicBool,
}

impl Stage {
    /// Makes the directory; `bytes` must be free.
    pub fn set_up(parent: &Path, bytes: u64) -> Result<Self> {
        let cannot = |error: &dyn std::fmt::Display| {
            fault(
                &format!("cannot work in {}: {error}", parent.display()),
                "Nothing was written.",
                "Give another directory with --work-dir.",
            )
        };
        let parent = fs::canonicalize(parent).map_err(|error| cannot(&error))?;
        let file_system = rustix::fs::statvfs(&parent).map_err(|error| cannot(&error))?;
        let free = file_system.f_bavail * file_system.f_frsize;
        if free < bytes {
            return Err(fault(
                &format!(
                    "the benchmark needs {} MiB in {}, and {} MiB are free",
                    bytes >> 20,
                    parent.display(),
                    free >> 20
                ),
                "Nothing was written.",
                "Give a directory with more room with --work-dir, or measure a tenth with --quick.",
            ));
        }
        let root = parent.join(format!("reserve-bench-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&root)
            .map_err(|error| cannot(&error))?;
        Ok(Self {
            root,
            running: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// A place on the stage.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A new empty directory of this name; what stood there is gone.
    pub fn empty(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        remove(&path)?;
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Whether somebody wants it to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// An error once somebody wants it to end.
    pub fn go_on(&self) -> Result<()> {
        if self.is_stopped() {
            return Err(fault(
                "the benchmark was interrupted",
                "Everything it made is removed and nothing it started still runs.",
                "",
            ));
        }
        Ok(())
    }

    /// Remembers a process, the head of a group of its own.
    pub fn began(&self, pid: u32) {
        self.list().push(pid);
    }

    /// It was waited for.
    pub fn ended(&self, pid: u32) {
        self.list().retain(|running| *running != pid);
    }

    fn list(&self) -> MutexGuard<'_, Vec<u32>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_all(&self) {
        for pid in self.list().drain(..) {
            kill_group(pid);
        }
    }

    /// Ends what still runs and removes everything.
    pub fn clear(&self) {
        self.end_all();
        if let Err(error) = remove(&self.root) {
            eprintln!("xtask: {error:#}; remove it by hand");
        }
    }
}

/// SIGKILL to a process group.
pub fn kill_group(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself: nothing to do then.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Removes a tree, if there is one.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

/// Bytes a tree takes on its disk; the caller has synced.
pub fn disk_bytes(root: &Path) -> u64 {
    let mut bytes = 0;
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += meta.blocks() * 512;
            if meta.is_dir() {
                open.push(entry.path());
            }
        }
    }
    bytes
}

/// Waits until the story is told, or ends its processes when somebody interrupts.
pub fn wait_for_end_or_signal<T>(story: &JoinHandle<T>, stage: &Stage) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hang_up.recv() => break,
                _ = tick.tick() => if story.is_finished() { return Ok(()) },
            }
        }
        eprintln!("interrupted: ending what runs and removing everything");
        stage.stopped.store(true, Ordering::Relaxed);
        // Every step of the story waits for one of these processes, or looks whether it is to go on.
        while !story.is_finished() {
            stage.end_all();
            tick.tick().await;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_is_said_before_anything_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let told = Stage::set_up(dir.path(), u64::MAX)
            .err()
            .expect("nobody has so much")
            .to_string();
        assert!(
            told.contains("MiB are free") && told.contains("--work-dir"),
            "{told}"
        );
        assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
    }

    #[test]
    fn a_cleared_stage_is_gone_with_its_processes() {
        use std::os::unix::process::CommandExt;
        let dir = tempfile::tempdir().expect("a directory");
        let stage = Stage::set_up(dir.path(), 1).expect("a stage");
        let mut sleeper = std::process::Command::new("sleep")
            .arg("1000")
            .process_group(0)
            .spawn()
            .expect("it sleeps");
        stage.began(sleeper.id());
        stage.empty("a").expect("a place");
        stage.clear();
        assert!(!sleeper.wait().expect("it ended").success());
        assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
    }
}
