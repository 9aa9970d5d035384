//! `reserve diff`: what two snapshots differ in, or a snapshot and files on a disk, a line for each thing.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::cli;
use super::fault::{Exit, Fault};
use super::names::{hex_unless_plain, shown};
use super::source::{self, Opened};
use crate::retriever::{
    Changes, DiffTotals, Difference, DiskKind, DiskThing, OnDisk, diff, diff_with,
};
use crate::terms::Stamp;
use crate::world::uring::{self, ShortPath, Uring};

/// Runs the command.
pub fn run(dir: &Path, args: &cli::Diff) -> Result<Exit, Fault> {
    let first = source::find(dir, args.author.as_deref(), &args.first)?;
    let second = match (&args.second, &args.with) {
        (Some(second), None) => {
            let author = first.view.snapshot.author_key.clone();
            Second::Snapshot(Box::new(source::find(dir, Some(&author), second)?))
        }
        (None, Some(path)) => Second::Disk(Disk::begin(path)?),
        _ => {
            let what = "compare with a second snapshot, or with files on disk";
            let todo = "Give one more ID, or --with DIR.";
            return Err(Fault::new(what, ONLY_LOOKED, todo).exit(Exit::Usage));
        }
    };
    uring::run_without_ring(async move { compare(first, second, args).await })
        .map_err(|error| Fault::new(error.to_string(), ONLY_LOOKED, "Repeat the command."))?
}

/// What every error of this command leaves as it was.
const ONLY_LOOKED: &str = "Nothing was changed: this command only looks.";

enum Second {
    Snapshot(Box<Opened>),
    Disk(Disk),
}

async fn compare(first: Opened, second: Second, args: &cli::Diff) -> Result<Exit, Fault> {
    let cannot =
        |error: std::io::Error| Fault::new(error.to_string(), ONLY_LOOKED, "Repeat the command.");
    let world = Uring::without_disk().map_err(cannot)?;
    let source = first.source(&world).map_err(cannot)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut failed = None;
    let mut show = |path: &[u8], difference: &Difference| {
        failed = line(&mut out, args.print.json, path, difference).err();
        failed.is_none()
    };
    let totals = match second {
        Second::Snapshot(second) => {
            let other = second.source(&world).map_err(cannot)?;
            let pair = ((&source, &first.manifest), (&other, &second.manifest));
            diff(pair.0, pair.1, &mut show).await
        }
        Second::Disk(mut disk) => {
            let snapshot = (&source, &first.manifest);
            diff_with(snapshot, &mut disk, args.contents, &mut show).await
        }
    };
    let totals = totals.map_err(|error| {
        let todo = "Bring the other Boxes online and repeat the command.";
        Fault::from_sentence(&error.to_string(), ONLY_LOOKED, todo).exit(Exit::Damaged)
    })?;
    let ended = match failed {
        Some(error) => Err(error),
        None => summary(&mut out, args.print.json, &totals).and_then(|()| out.flush()),
    };
    match ended {
        Ok(()) => {}
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(Exit::Done),
        Err(error) => {
            let what = format!("standard output cannot be written: {error}");
            let todo = "Give it a place to write to and repeat the command.";
            return Err(Fault::new(what, ONLY_LOOKED, todo));
        }
    }
    Ok(if totals.unknown > 0 {
        Exit::Damaged
    } else {
        Exit::Done
    })
}

fn line(
    out: &mut impl Write,
    json: bool,
    path: &[u8],
    difference: &Difference,
) -> std::io::Result<()> {
    let path = if path.is_empty() { b"." } else { path };
    let name = shown(path);
    if json {
        let mut line = match difference {
            Difference::Added => serde_json::json!({ "what": "added" }),
            Difference::Removed => serde_json::json!({ "what": "removed" }),
            Difference::Changed(changes) => {
                serde_json::json!({ "what": "changed", "changes": words(*changes) })
            }
            Difference::Renamed { from } => {
                serde_json::json!({ "what": "renamed", "from": shown(from), "from_hex": hex_unless_plain(from, &shown(from)) })
            }
            Difference::Unknown { entries, why } => {
                serde_json::json!({ "what": "unknown", "things": entries, "why": why.to_string() })
            }
        };
        if let Some(hex) = hex_unless_plain(path, &name) {
            line["path_hex"] = hex.into();
        }
        line["path"] = name.into();
        return writeln!(out, "{line}");
    }
    match difference {
        Difference::Added => writeln!(out, "+ {name}"),
        Difference::Removed => writeln!(out, "- {name}"),
        Difference::Changed(changes) => writeln!(out, "~ {name}  ({})", words(*changes).join(", ")),
        Difference::Renamed { from } => writeln!(out, "> {name}  (was {})", shown(from)),
        Difference::Unknown { entries: 1, why } => {
            writeln!(out, "? {name}  (cannot be compared: {why})")
        }
        Difference::Unknown { entries, why } => {
            writeln!(
                out,
                "? {name}  ({entries} from here on cannot be compared: {why})"
            )
        }
    }
}

fn words(changes: Changes) -> Vec<&'static str> {
    [
        (changes.kind, "kind"),
        (changes.contents, "contents"),
        (changes.mode, "mode"),
        (changes.owner, "owner"),
        (changes.mtime, "mtime"),
        (changes.xattrs, "xattrs"),
    ]
    .into_iter()
    .filter_map(|(is, word)| is.then_some(word))
    .collect()
}

fn summary(out: &mut impl Write, json: bool, totals: &DiffTotals) -> std::io::Result<()> {
    let DiffTotals {
        added,
        removed,
        changed,
        renamed,
        unknown,
        ..
    } = totals;
    if json {
        let line = serde_json::json!({ "summary": {
            "added": added, "removed": removed, "changed": changed, "renamed": renamed, "unknown": unknown,
        } });
        return writeln!(out, "{line}");
    }
    if added + removed + changed + renamed + unknown == 0 {
        return writeln!(out, "No differences.");
    }
    writeln!(
        out,
        "{added} added, {removed} removed, {changed} changed, {renamed} renamed, {unknown} not comparable"
    )
}

/// Files on a disk in path order. A directory's names are in memory while it is walked.
struct Disk {
    root: PathBuf,
    /// What comes next: the names of each open directory, last first, with the path of the directory.
    stack: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    began: bool,
}

impl Disk {
    fn begin(path: &Path) -> Result<Self, Fault> {
        let meta = fs::metadata(path).map_err(|error| {
            Fault::new(
                format!("{}: {error}", path.display()),
                ONLY_LOOKED,
                "Name another directory with --with.",
            )
        })?;
        if !meta.is_dir() {
            let what = format!("{} is no directory", path.display());
            let todo =
                "Name the directory in which the files lie as `reserve retrieve` would put them.";
            return Err(Fault::new(what, ONLY_LOOKED, todo).exit(Exit::Usage));
        }
        Ok(Self {
            root: path.to_owned(),
            stack: Vec::new(),
            began: false,
        })
    }

    /// However long the path is.
    fn whole(&self, path: &[u8]) -> std::io::Result<ShortPath> {
        if path.is_empty() {
            return ShortPath::of(&self.root);
        }
        ShortPath::of(&self.root.join(OsStr::from_bytes(path)))
    }

    fn thing(&mut self, path: Vec<u8>) -> DiskThing {
        let found = self.whole(&path).and_then(|whole| {
            // The directory itself may be reached through a link.
            let meta = if path.is_empty() {
                fs::metadata(&whole)
            } else {
                fs::symlink_metadata(&whole)
            };
            Ok((meta?, whole))
        });
        let (meta, whole) = match found {
            Ok(found) => found,
            Err(error) => {
                return DiskThing {
                    path,
                    kind: Err(error.to_string()),
                    mode: 0,
                    owner: (0, 0),
                    mtime: Stamp::default(),
                };
            }
        };
        let kind = if meta.is_dir() {
            self.enter(&whole, &path).map(|()| DiskKind::Dir)
        } else if meta.is_file() {
            Ok(DiskKind::File(meta.len()))
        } else if meta.is_symlink() {
            fs::read_link(&whole)
                .map(|target| DiskKind::Symlink(target.into_os_string().into_vec()))
        } else if meta.file_type().is_fifo() {
            Ok(DiskKind::Fifo)
        } else if meta.file_type().is_block_device() || meta.file_type().is_char_device() {
            Ok(DiskKind::Device {
                is_block: meta.file_type().is_block_device(),
                rdev: meta.rdev(),
            })
        } else {
            Ok(DiskKind::Other)
        };
        DiskThing {
            path,
            kind: kind.map_err(|error| error.to_string()),
            mode: meta.mode() & 0o7777,
            owner: (meta.uid(), meta.gid()),
            mtime: Stamp {
                seconds: meta.mtime(),
                nanos: u32::try_from(meta.mtime_nsec()).unwrap_or_default(),
            },
        }
    }

    fn enter(&mut self, whole: &Path, path: &[u8]) -> std::io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(whole)? {
            names.push(entry?.file_name().into_vec());
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.stack.push((path.to_vec(), names));
        Ok(())
    }
}

impl OnDisk for Disk {
    type File = fs::File;

    fn next(&mut self) -> Option<DiskThing> {
        if !self.began {
            self.began = true;
            return Some(self.thing(Vec::new()));
        }
        loop {
            let (dir, names) = self.stack.last_mut()?;
            if let Some(name) = names.pop() {
                let mut path = dir.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend(name);
                return Some(self.thing(path));
            }
            self.stack.pop();
        }
    }

    fn open(&self, path: &[u8]) -> std::io::Result<fs::File> {
        let mut options = fs::File::options();
        // A link or a pipe that took the file's place must not be followed or waited for.
        options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        options.open(self.whole(path)?)
    }

    fn read(&self, mut file: &fs::File, into: &mut [u8], offset: u64) -> std::io::Result<usize> {
        file.seek(SeekFrom::Start(offset))?;
        let mut have = 0;
        while have < into.len() {
            match file.read(&mut into[have..])? {
                0 => break,
                read => have += read,
            }
        }
        Ok(have)
    }
}
