//! `reserve drill`: a flood, rehearsed with real keeper processes on this machine.
//!
//! The story reads top-down in `rehearse`. It only reads the given path; everything it makes is below one directory that is
//! removed at the end, whatever the end is. After the flood nothing but the two survivors and the new Box take part, and
//! none of them has the path as a data set.

mod alike;
mod boxes;
mod compare;
#[cfg(test)]
mod compare_tests;
mod corpus;
mod screen;

use crate::console::text;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use super::cli;
use super::control::SnapshotOutcome;
use super::fault::{Exit, Fault};
use super::protectable;
use super::retrieve::RetrieveOutcome;
use boxes::{BoxProcess, Stage};
use compare::Comparison;
pub use screen::DrillReport;

/// Room the drill wants beyond the copies themselves: indexes, segments' footers, the corpus' own directories.
const SPARE_BYTES: u64 = 256 << 20;
/// Copies of the data that stand in the work directory at once: office's, friend's and what came back.
const COPIES: u64 = 3;

/// Runs the drill and prints its screen.
pub fn run(args: &cli::Drill) -> Result<Exit, Fault> {
    let stage = Arc::new(Stage::set_up(args.work_dir.as_deref())?);
    let story = {
        let stage = Arc::clone(&stage);
        let source = args.path.clone();
        let quiet = args.print.json;
        std::thread::Builder::new()
            .name("drill".into())
            .spawn(move || rehearse(&stage, source.as_deref(), quiet))
            .map_err(|error| {
                Fault::new(
                    format!("the drill could not start: {error}"),
                    "Nothing was changed.",
                    "End other programs and try again.",
                )
            })?
    };
    let interrupted = boxes::wait_for_end_or_signal(&story, &stage);
    let told = story.join().unwrap_or_else(|_| {
        Err(Fault::new(
            "the drill came to a sudden end",
            "The given files were only read.",
            "Please report this.",
        ))
    });
    stage.clear();
    if interrupted {
        return Err(Fault::new(
            "the drill was interrupted",
            "The given files were only read; everything the drill made is removed.",
            "Start it again when there is time.",
        ));
    }
    let report = told?;
    if args.print.json {
        text::print_json(&report)?;
    } else {
        text::print(&report.to_string())?;
    }
    Ok(report.exit())
}

/// The story.
fn rehearse(stage: &Stage, source: Option<&Path>, quiet: bool) -> Result<DrillReport, Fault> {
    let (source, is_ours) = match source {
        Some(path) => (legal_source(path, stage)?, false),
        None => (corpus::make(&stage.path("corpus"))?, true),
    };
    // Nobody else touches a corpus of our own: there, whatever differs is a difference.
    let began = (!is_ours).then(SystemTime::now);
    let size = compare::measure(&source).map_err(|error| {
        Fault::new(
            format!("{}: {error}", source.display()),
            "Nothing was changed.",
            "Give a path you may read.",
        )
    })?;
    stage.check_room(size.data_bytes * COPIES + SPARE_BYTES)?;
    say(
        quiet,
        &format!(
            "Protecting {}: {} files, {}",
            source.display(),
            size.files,
            screen::bytes(size.bytes)
        ),
    );

    let mut home = BoxProcess::new(stage, "home");
    home.init(&source)?;
    home.start()?;
    let mut office = joined(stage, &home, "office")?;
    let mut friend = joined(stage, &home, "friend")?;

    let clock = Instant::now();
    let snapshot: SnapshotOutcome = home.command_json(&["snapshot", "--wait", "--json"], quiet)?;
    let protect_seconds = clock.elapsed().as_secs_f64();

    say(quiet, "The flood: home is killed and its state destroyed.");
    let mut peaks = vec![("home".to_owned(), home.peak_bytes())];
    home.drown()?;

    let mut fresh = joined(stage, &office, "new")?;
    let target = stage.path("came-back");
    let clock = Instant::now();
    let target_text = target.to_string_lossy().into_owned();
    let came_back: RetrieveOutcome = fresh.command_json(
        &[
            "retrieve",
            "--author",
            "home",
            "--to",
            &target_text,
            "--json",
        ],
        quiet,
    )?;
    let retrieve_seconds = clock.elapsed().as_secs_f64();
    for survivor in [&office, &friend, &fresh] {
        peaks.push((survivor.name().to_owned(), survivor.peak_bytes()));
    }
    let stored: Vec<_> = [&office, &friend]
        .iter()
        .map(|keeper| (keeper.name().to_owned(), keeper.stored_bytes()))
        .collect();
    for keeper in [&mut office, &mut friend, &mut fresh] {
        keeper.stop();
    }

    say(quiet, "Comparing what came back with what was protected.");
    let came_back_root = if size.is_file {
        target.join(source.file_name().unwrap_or_default())
    } else {
        target
    };
    let comparison = Comparison::of(
        &source,
        &came_back_root,
        began,
        (&snapshot, &came_back),
        &|| stage.stopped.load(Ordering::Relaxed),
    );
    Ok(DrillReport {
        source,
        size,
        snapshot,
        protect_seconds,
        came_back,
        retrieve_seconds,
        stored,
        peaks,
        comparison,
    })
}

/// A new Box, invited by `inviter`, with its keeper running.
fn joined<'stage>(
    stage: &'stage Stage,
    inviter: &BoxProcess<'_>,
    name: &'static str,
) -> Result<BoxProcess<'stage>, Fault> {
    let mut newcomer = BoxProcess::new(stage, name);
    newcomer.join(&inviter.ticket()?)?;
    newcomer.start()?;
    Ok(newcomer)
}

fn legal_source(path: &Path, stage: &Stage) -> Result<PathBuf, Fault> {
    let absolute = std::fs::canonicalize(path).map_err(|error| {
        Fault::new(
            format!("{}: {error}", path.display()),
            "Nothing was changed.",
            "Give a file or directory that is there.",
        )
        .exit(Exit::Usage)
    })?;
    protectable::refuse_unreal(&absolute)?;
    let readable = std::fs::symlink_metadata(&absolute).and_then(|meta| match meta {
        meta if meta.is_dir() => std::fs::read_dir(&absolute).map(drop),
        meta if meta.is_file() => std::fs::File::open(&absolute).map(drop),
        _ => Err(std::io::Error::other("neither a file nor a directory")),
    });
    if let Err(error) = readable {
        return Err(Fault::new(
            format!("{} cannot be protected: {error}", path.display()),
            "Nothing was read or written.",
            "Give a file or directory you may read.",
        )
        .exit(Exit::Usage));
    }
    if stage.root().starts_with(&absolute) {
        return Err(Fault::new(
            format!(
                "the work directory {} lies inside {}",
                stage.root().display(),
                absolute.display()
            ),
            "Nothing was read or written.",
            "Give another one with --work-dir.",
        )
        .exit(Exit::Usage));
    }
    Ok(absolute)
}

fn say(quiet: bool, line: &str) {
    if !quiet {
        text::tell(line);
    }
}
