//! `reserve retrieve`: the restore runs here, in the caller's process and with the caller's rights; chunks come opened and verified
//! from this Box's keeper over the control socket.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::control::{Ended, ProgressView, SnapshotView};
use super::fault::{Exit, Fault};
use super::names::shown;
use super::progress::Progress as Bar;
use super::source::{self, Opened, SocketSource};
use super::{cli, memory, text};
use crate::retriever::{self, RetrieveError, Told};
use crate::world::uring::{self, Uring};
use crate::world::{Clock, World};

/// Paths of each sort in the outcome.
const LISTED_MAX: usize = 1000;
/// Moves of the bar that what is under way is given to end after ctrl-C.
const STOP_ROUNDS_MAX: u32 = 25;
/// How long the keeper may take to note how it ended.
const TELL_PATIENCE: Duration = Duration::from_secs(5);
/// How often the bar moves.
const BAR_EVERY: Duration = Duration::from_millis(200);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrieveOutcome {
    /// Of which snapshot.
    pub snapshot: SnapshotView,
    /// Regular files restored whole.
    pub files: u64,
    /// Of these, files an earlier run of the same command had restored.
    #[serde(default)]
    pub kept: u64,
    /// Directories.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Named pipes and devices.
    #[serde(default)]
    pub specials: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of chunks that came from the keeper for it, index included.
    #[serde(default)]
    pub bytes_fetched: u64,
    /// What did not come back: path and reason, bounded; the lines before this one have all of it.
    pub failed: Vec<(String, String)>,
    /// How many.
    pub failed_count: u64,
    /// How many of them are paths that the snapshot does not have.
    #[serde(default)]
    pub absent_count: u64,
    /// Things with an attribute the caller may not set: path and which, bounded.
    pub not_set: Vec<(String, String)>,
    /// How many.
    pub not_set_count: u64,
    /// What was there before and stayed, bounded.
    #[serde(default)]
    pub stayed: Vec<String>,
    /// How many.
    #[serde(default)]
    pub stayed_count: u64,
    /// The most memory this command ever had.
    pub memory_peak_bytes: Option<u64>,
}

/// Runs the command.
pub fn run(dir: &Path, args: &cli::Retrieve) -> Result<Exit, Fault> {
    let opened = source::find(dir, args.author.as_deref(), &args.snapshot)?;
    let target = std::path::absolute(&args.to).map_err(|error| {
        Fault::new(
            format!("{}: {error}", args.to.display()),
            "Nothing was written.",
            "Give another directory with --to.",
        )
    })?;
    refuse_a_box(dir, &target)?;
    let made = missing_dirs(&target);
    let _alone = alone(&target)?;
    let outcome = uring::run_without_ring(async move { restore(opened, args, &target).await })
        .map_err(|error| {
            Fault::from_sentence(
                &error.to_string(),
                "Nothing was written.",
                "Look at `reserve doctor`, then repeat the command.",
            )
        })
        .flatten();
    if outcome.is_err() {
        // Those that were made for nothing; one with something in it stays.
        for dir in made {
            let _ = std::fs::remove_dir(dir);
        }
    }
    let outcome = outcome?;
    if args.print.json {
        text::print_json(&outcome)?;
    } else {
        text::print(&told(&outcome, &args.to))?;
    }
    Ok(if outcome.failed_count > outcome.absent_count {
        Exit::Damaged
    } else if outcome.absent_count > 0 {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// What comes back may have any name: among the files of a Box's state directory it could take the place of its keys.
fn refuse_a_box(dir: &Path, target: &Path) -> Result<(), Fault> {
    let refused = |state: &Path| {
        Fault::new(
            format!(
                "{} is, or has in it, a Box's state directory ({}): what comes back could take the place of its keys",
                target.display(),
                state.display()
            ),
            "Nothing was written.",
            "Choose a directory of its own with --to.",
        )
        .exit(Exit::Usage)
    };
    let there = target
        .ancestors()
        .find_map(|above| above.canonicalize().ok());
    let Some(there) = there else {
        return Ok(());
    };
    let is_a_box = |at: &&Path| at.join("identity").exists() && at.join("roster").exists();
    if let Some(state) = there.ancestors().find(is_a_box) {
        return Err(refused(state));
    }
    match dir.canonicalize() {
        Ok(state) if target.exists() && state.starts_with(&there) => Err(refused(&state)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Has the target for this command alone until it ends: two that write the same files there would take them from each other.
fn alone(target: &Path) -> Result<Option<std::fs::File>, Fault> {
    // What cannot be made or opened is told by the restore itself.
    let _ = std::fs::create_dir_all(target);
    let Ok(dir) = std::fs::File::open(target) else {
        return Ok(None);
    };
    match rustix::fs::flock(&dir, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Fault::new(
            format!("another retrieval writes into {} now", target.display()),
            "It goes on undisturbed; this one wrote nothing.",
            "Wait for its end, or choose another directory with --to.",
        )),
        // Not every file system has such locks.
        Ok(()) | Err(_) => Ok(Some(dir)),
    }
}

async fn restore(
    opened: Opened,
    args: &cli::Retrieve,
    target: &Path,
) -> Result<RetrieveOutcome, Fault> {
    let cannot = |error: std::io::Error| {
        Fault::new(
            format!("the restore cannot begin: {error}"),
            "Nothing was written.",
            "Repeat the command.",
        )
    };
    let world = Uring::without_disk().map_err(cannot)?;
    let source = opened.source(&world).map_err(cannot)?;
    let progress = retriever::Progress::default();
    if args.print.json {
        progress.tell(print_told);
    }
    let paths: Vec<Vec<u8>> = args
        .path
        .iter()
        .map(|path| path.as_bytes().to_vec())
        .collect();
    let request = retriever::Request {
        manifest: &opened.manifest,
        data_set: None,
        target: target.as_os_str().as_bytes(),
        paths: &paths,
        into_nonempty: args.into_nonempty || args.overwrite,
        overwrite: args.overwrite,
        try_anyway: args.try_anyway,
    };
    let report = restored(&world, &source, request, &progress).await?;
    Ok(outcome(&opened, &source, &report))
}

/// Directories that are to be made for a target, the innermost first.
fn missing_dirs(target: &Path) -> Vec<std::path::PathBuf> {
    let all = target.ancestors();
    all.take_while(|dir| !dir.exists())
        .map(Path::to_path_buf)
        .collect()
}

/// Restores, while a bar moves.
async fn restored(
    world: &Uring,
    source: &SocketSource,
    request: retriever::Request<'_>,
    progress: &retriever::Progress,
) -> Result<retriever::RetrieveReport, Fault> {
    let mut work = std::pin::pin!(retriever::retrieve(world, source, request, progress));
    let mut bar = Bar::begin("retrieving");
    // Nothing is done yet: what comes until the first look counts too.
    bar.at(&how_far(&progress.view()));
    // From now on, not from the first look on: whoever is quick is heard too.
    let mut asked_to_end = signal(SignalKind::interrupt()).ok();
    let mut rounds_left = None;
    let done = loop {
        // `within` drops only the reference: the work itself goes on in the next round.
        if let Some(done) = world.clock().within(BAR_EVERY, work.as_mut()).await {
            break done;
        }
        match &mut rounds_left {
            None => {
                if let Some(asked_to_end) = &mut asked_to_end
                    && let asked = world.clock().within(Duration::ZERO, asked_to_end.recv())
                    && asked.await.is_some()
                {
                    progress.stop();
                    rounds_left = Some(STOP_ROUNDS_MAX);
                }
            }
            // A keeper or a disk that does not answer: what was noted last has to do.
            Some(0) => break Err(progress.stopped()),
            Some(rounds) => *rounds -= 1,
        }
        bar.at(&how_far(&progress.view()));
    };
    bar.end();
    if let Some(ended) = ended(&done) {
        let telling = source.tell_end(ended);
        // It has what it needs to go on without an answer.
        let _ = world.clock().within(TELL_PATIENCE, telling).await;
    }
    done.map_err(|error| {
        let unchanged = "Files that stand under their final names are whole; nothing outside the target was touched.";
        let fault = Fault::from_sentence(&error.to_string(), unchanged, "Repeat the command.");
        if error.is_usage() { fault.exit(Exit::Usage) } else { fault }
    })
}

/// How far it is, as far as is known how much there is.
fn how_far(now: &retriever::ProgressView) -> ProgressView {
    let total = now.total.as_ref();
    ProgressView {
        files: now.files,
        files_total: total.map(|total| total.files.max(now.files)),
        bytes: now.bytes,
        bytes_read: now.bytes,
        bytes_total: total.map(|total| total.bytes.max(now.bytes)),
        path: shown(&now.current),
        ..ProgressView::default()
    }
}

/// What the keeper is told of it: nothing of a retrieval that did not begin, or that its person ended.
fn ended(done: &Result<retriever::RetrieveReport, RetrieveError>) -> Option<Ended> {
    let (files, bytes, missing, early) = match done {
        Ok(report) => (report.files, report.bytes, report.failed_count, false),
        Err(RetrieveError::TargetFailed { files, bytes, .. }) => (*files, *bytes, 0, true),
        Err(RetrieveError::Index(_) | RetrieveError::Sync(_)) => (0, 0, 0, true),
        Err(_) => return None,
    };
    Some(Ended {
        tag: 0,
        files,
        bytes,
        missing,
        early,
    })
}

/// One line of JSON for each thing that did not come back, or not as it went in: all of them, however many.
fn print_told(told: Told<'_>) {
    let line = match told {
        Told::Failed { path, why, count } => {
            serde_json::json!({ "failed": { "path": shown(path), "why": why, "things": count } })
        }
        Told::Differs { path, how } => {
            serde_json::json!({ "not_set": { "path": shown(path), "what": differs(how) } })
        }
        Told::Stayed { path } => serde_json::json!({ "stayed": { "path": shown(path) } }),
    };
    // Whoever does not listen any more still gets the files.
    let _ = text::print_json(&line);
}

fn outcome(
    opened: &Opened,
    source: &SocketSource,
    report: &retriever::RetrieveReport,
) -> RetrieveOutcome {
    let failed = report.failed.iter();
    let not_set = report.not_set.iter();
    let stayed = report.stayed.iter();
    RetrieveOutcome {
        snapshot: opened.view.snapshot.clone(),
        files: report.files,
        kept: report.kept,
        dirs: report.dirs,
        symlinks: report.symlinks,
        specials: report.specials,
        bytes: report.bytes,
        bytes_fetched: source.bytes_fetched(),
        failed: failed
            .take(LISTED_MAX)
            .map(|(path, why)| (shown(path), why.clone()))
            .collect(),
        failed_count: report.failed_count,
        absent_count: report.absent_count,
        not_set: not_set
            .take(LISTED_MAX)
            .map(|(path, how)| (shown(path), differs(how)))
            .collect(),
        not_set_count: report.not_set_count,
        stayed: stayed.take(LISTED_MAX).map(|path| shown(path)).collect(),
        stayed_count: report.stayed_count,
        memory_peak_bytes: memory::of_self().map(|(_, peak)| peak),
    }
}

fn differs(how: &retriever::Differs) -> String {
    let parts = [
        (how.owner, "owner"),
        (how.mode, "set-user or set-group bits"),
        (how.hard_link, "a copy of its own instead of a hard link"),
        (how.attributes, "all attributes"),
        (how.not_made, "a device, which only the superuser may make"),
    ];
    let parts = parts.iter().filter(|(is, _)| *is);
    let xattrs = how.xattrs.iter();
    parts
        .map(|(_, what)| (*what).to_owned())
        .chain(xattrs.map(|name| shown(name)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn told(outcome: &RetrieveOutcome, to: &Path) -> String {
    let RetrieveOutcome {
        snapshot,
        files,
        kept,
        bytes,
        failed,
        failed_count,
        absent_count,
        not_set,
        not_set_count,
        stayed,
        stayed_count,
        ..
    } = outcome;
    let mut lines = vec![format!(
        "{}, {} of {} (snapshot {}, number {}) {} in {}.",
        text::count(*files, "file", "files"),
        text::bytes(*bytes),
        snapshot.author,
        snapshot.id,
        snapshot.number,
        if *files == 1 { "is" } else { "are" },
        to.display()
    )];
    if *kept > 0 {
        lines.push(format!("{kept} of them had come back before."));
    }
    if *failed_count > 0 {
        let things = text::count(*failed_count, "thing", "things");
        lines.push(if failed_count == absent_count {
            format!("{things} asked for {} not in this snapshot (`reserve ls` shows what is):", if *failed_count == 1 { "is" } else { "are" })
        } else {
            format!("{things} did NOT come back (the same command tries again for what could not be had):")
        });
        lines.extend(
            failed
                .iter()
                .take(20)
                .map(|(path, why)| format!("  {path}: {why}")),
        );
    }
    if *not_set_count > 0 {
        lines.push(format!(
            "{} with attributes you may not set:",
            text::count(*not_set_count, "thing", "things")
        ));
        lines.extend(
            not_set
                .iter()
                .take(5)
                .map(|(path, what)| format!("  {path}: {what}")),
        );
    }
    if *stayed_count > 0 {
        lines.push(format!(
            "{} of the same name there before, changed since or not from this snapshot, which stay as they are:",
            text::count(*stayed_count, "thing", "things")
        ));
        lines.extend(stayed.iter().take(5).map(|path| format!("  {path}")));
    }
    lines.join("\n")
}
