//! `reserve ls`: what is in a snapshot, a line for each thing, as it comes: memory does not grow with the list.

use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::tz::TimeZone;
use serde::Serialize;

use super::fault::{Exit, Fault};
use super::names::{hex_unless_plain, shown};
use super::source::{self, Opened};
use super::{cli, consistency, text};
use crate::format::head::DataSet;
use crate::format::index::{Entry, What};
use crate::retriever::{Look, LookEnd, Seen, look};
use crate::terms::Stamp;
use crate::world::uring::{self, Uring};

/// One thing, for programs.
#[derive(Debug, Serialize)]
struct Line<'l> {
    path: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    kind: &'static str,
    mode: u32,
    uid: u32,
    gid: u32,
    bytes: u64,
    mtime_seconds: i64,
    mtime_nanos: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hard_link: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<String>,
}

/// Runs the command.
pub fn run(dir: &Path, args: &cli::Ls) -> Result<Exit, Fault> {
    let opened = source::find(dir, args.author.as_deref(), &args.snapshot)?;
    uring::run_without_ring(async move { list(&opened, args).await }).map_err(|error| {
        Fault::from_sentence(
            &error.to_string(),
            "Nothing was changed.",
            "Look at `reserve doctor`, then repeat the command.",
        )
    })?
}

async fn list(opened: &Opened, args: &cli::Ls) -> Result<Exit, Fault> {
    let cannot = |error: std::io::Error| {
        Fault::new(
            error.to_string(),
            "Nothing was changed.",
            "Repeat the command.",
        )
    };
    let world = Uring::without_disk().map_err(cannot)?;
    let source = opened.source(&world).map_err(cannot)?;
    let path = args.path.as_deref().map_or(&[][..], OsStrExt::as_bytes);
    let wanted = Look {
        manifest: &opened.manifest,
        path,
        recursive: args.recursive,
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    let zone = TimeZone::system();
    let end = look(&world, &source, wanted, |seen| {
        let written = match seen {
            Seen::Lost(path, entries, why) => lost(&mut out, args, path, entries, &why.to_string()),
            Seen::DataSet(set) => data_set(&mut out, args, set, opened.view.snapshot.taken_seconds),
            Seen::Entry(path, entry) => one(&mut out, args, path, entry, &zone),
        };
        failed = written.err();
        failed.is_none()
    })
    .await
    .map_err(|error| {
        Fault::from_sentence(
            &error.to_string(),
            "Nothing was changed.",
            "See with `reserve peers` that all Boxes are in reach, then repeat the command.",
        )
        .exit(if error.is_usage() {
            Exit::Usage
        } else {
            Exit::Damaged
        })
    })?;
    let flushed = out.flush();
    match failed.map_or(flushed, Err) {
        Ok(()) => {}
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
        Err(error) => {
            let what = format!("standard output cannot be written: {error}");
            return Err(Fault::new(
                what,
                "Nothing was changed.",
                "See that the disk or program it goes to has room.",
            ));
        }
    }
    match end {
        LookEnd::All { lost: 0 } | LookEnd::Enough => Ok(Exit::Done),
        LookEnd::All { .. } => Ok(Exit::Damaged),
        LookEnd::Nothing => Err(nothing_there(opened, path)),
    }
}

/// Why there is nothing to show.
pub fn nothing_there(opened: &Opened, path: &[u8]) -> Fault {
    let snapshot = &opened.view.snapshot;
    Fault::new(
        format!(
            "snapshot {} of {} (number {}) has nothing called \"{}\"",
            snapshot.id,
            snapshot.author,
            snapshot.number,
            shown(path)
        ),
        "Nothing was changed.",
        "`reserve ls` without a path shows what is at its top.",
    )
}

fn data_set(
    out: &mut impl Write,
    args: &cli::Ls,
    set: &DataSet,
    taken_seconds: i64,
) -> std::io::Result<()> {
    if args.print.json {
        let line = serde_json::json!({
            "path": set.name, "kind": "data set", "files": set.files, "bytes": set.bytes,
            "from": shown(&set.path), "taken_seconds": taken_seconds,
            "consistency": consistency::in_words(set.label), "unread": set.unread_count,
        });
        return writeln!(out, "{line}");
    }
    writeln!(
        out,
        "data set  {:>9} files {:>11}  {}",
        set.files,
        text::bytes(set.bytes),
        set.name
    )
}

fn lost(
    out: &mut impl Write,
    args: &cli::Ls,
    path: &[u8],
    entries: u64,
    why: &str,
) -> std::io::Result<()> {
    let path = shown(path);
    if args.print.json {
        let line = serde_json::json!({ "lost": { "path": path, "things": entries, "why": why } });
        return writeln!(out, "{line}");
    }
    writeln!(
        out,
        "!  {entries} things from {path} on are listed in a part of the index that cannot be had: {why}"
    )
}

fn one(
    out: &mut impl Write,
    args: &cli::Ls,
    path: &[u8],
    entry: &Entry,
    zone: &TimeZone,
) -> std::io::Result<()> {
    let (kind, letter, bytes, target) = match &entry.what {
        What::Dir => ("directory", 'd', 0, None),
        What::File { bytes, .. } => ("file", '-', *bytes, None),
        What::Symlink { target } => ("symlink", 'l', target.len() as u64, Some(target.as_slice())),
        What::Fifo => ("pipe", 'p', 0, None),
        What::Device { is_block: true, .. } => ("block device", 'b', 0, None),
        What::Device { .. } => ("character device", 'c', 0, None),
    };
    let name = shown(if path.is_empty() { b"." } else { path });
    if args.print.json {
        let target_text = target.map(shown);
        let line = Line {
            path_hex: hex_unless_plain(if path.is_empty() { b"." } else { path }, &name),
            path: &name,
            kind,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            bytes,
            mtime_seconds: entry.mtime.seconds,
            mtime_nanos: entry.mtime.nanos,
            target_hex: target
                .zip(target_text.as_ref())
                .and_then(|(bytes, text)| hex_unless_plain(bytes, text)),
            target: target_text,
            hard_link: entry.hard_link,
            xattrs: entry.xattrs.iter().map(|(name, _)| shown(name)).collect(),
        };
        serde_json::to_writer(&mut *out, &line).map_err(std::io::Error::from)?;
        return writeln!(out);
    }
    let arrow = target.map_or_else(String::new, |target| format!(" -> {}", shown(target)));
    writeln!(
        out,
        "{letter}{} {:>5} {:>5} {bytes:>12} {} {name}{arrow}",
        rights(entry.mode),
        entry.uid,
        entry.gid,
        local(entry.mtime, zone)
    )
}

/// Rights as `ls -l` shows them.
pub fn rights(mode: u32) -> String {
    let mut text = String::with_capacity(9);
    for (shift, special, here, alone) in [
        (6, 0o4000, 's', 'S'),
        (3, 0o2000, 's', 'S'),
        (0, 0o1000, 't', 'T'),
    ] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => here,
            (false, true) => alone,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A moment in local time, to the second.
pub fn local(stamp: Stamp, zone: &TimeZone) -> String {
    jiff::Timestamp::from_second(stamp.seconds).map_or_else(
        |_| format!("{:>19}", stamp.seconds),
        |moment| {
            let zoned = moment.to_zoned(zone.clone());
            zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_look_as_everywhere() {
        for (mode, text) in [
            (0o644, "rw-r--r--"),
            (0o755, "rwxr-xr-x"),
            (0o4755, "rwsr-xr-x"),
            (0o2640, "rw-r-S---"),
            (0o1777, "rwxrwxrwt"),
            (0o7000, "--S--S--T"),
            (0, "---------"),
        ] {
            assert_eq!(rights(mode), text);
        }
    }

    #[test]
    fn times_are_local_and_impossible_ones_are_seconds() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let stamp = |seconds| Stamp { seconds, nanos: 5 };
        assert_eq!(local(stamp(0), &zone), "1970-01-01 01:00:00");
        assert_eq!(local(stamp(-1), &zone), "1970-01-01 00:59:59");
        assert_eq!(local(stamp(i64::MAX), &zone).trim(), i64::MAX.to_string());
    }
}
