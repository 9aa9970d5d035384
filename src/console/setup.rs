//! Commands that need no running keeper: making this directory a Box, its data sets, and a look at a Box at rest.

use std::io::{IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::at_rest::AtRest;
use super::cli::{self, NamedPath};
use super::control::{PeerView, SnapshotView, StatusView};
use super::entry::{Entry, is_box, missing};
use super::fault::{Exit, Fault};
use super::joining::{self, Asking};
use super::service::{self, has_fast_aes, peer_view, say_what_is_kept, snapshot_view};
use super::{events, protectable, store_place, text};
use crate::format::ticket::Ticket;
use crate::keeper;
use crate::roster::{self, Config, DataSet, Founded, Founding, RosterError};
use crate::world::World;
use crate::world::uring::{self, Uring};

pub(super) fn told(error: &RosterError) -> Fault {
    Fault::from_sentence(
        &error.to_string(),
        "Nothing was changed.",
        "Look at `reserve doctor`.",
    )
}

pub(super) fn in_world<T>(
    dir: &Path,
    work: impl AsyncFnOnce(Uring) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let cannot = |error: &std::io::Error| {
        Fault::from_sentence(
            &error.to_string(),
            "Nothing was changed.",
            "Look at `reserve doctor`.",
        )
    };
    uring::run(async {
        let world = store_place::world(dir).map_err(|error| cannot(&error))?;
        work(world).await
    })
    .map_err(|error| cannot(&error))?
}

/// The state directory: its owner's, and its socket's group may pass through. What had to be made for it is removed again when
/// the directory does not become a Box.
pub(super) fn make_dir(dir: &Path) -> Result<NewDirs, Fault> {
    let missing = dir.ancestors().take_while(|path| !path.exists());
    let made = NewDirs(missing.map(Path::to_path_buf).collect());
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(dir)
        .map_err(|error| {
            made.take_back();
            Fault::new(
                format!("{}: {error}", dir.display()),
                "Nothing was changed.",
                "Name a directory you may make with --dir, or run this as root.",
            )
        })?;
    Ok(made)
}

/// Directories that were made a moment ago, the innermost first.
pub(super) struct NewDirs(Vec<PathBuf>);

impl NewDirs {
    /// Removes them, as far as nothing but an empty lock is in them.
    pub fn take_back(&self) {
        if let Some(state) = self.0.first() {
            let is_bare = std::fs::read_dir(state).is_ok_and(|mut names| {
                names.all(|name| name.is_ok_and(|name| name.file_name() == service::LOCK))
            });
            if is_bare {
                let _ = std::fs::remove_file(state.join(service::LOCK));
            }
        }
        for dir in &self.0 {
            if std::fs::remove_dir(dir).is_err() {
                break;
            }
        }
    }
}

/// A Box's configuration as named on the command line; paths are made absolute here, where the caller stands.
pub(super) fn config(dir: &Path, name: &str, data: &[NamedPath]) -> Result<Config, Fault> {
    let mut config = Config::new(name);
    for set in data {
        let set = data_set(dir, set)?;
        tell_nested(&roster::nested(&config.data, &set));
        config.push(set).map_err(|what| {
            Fault::new(
                what,
                "Nothing was changed.",
                "Correct it and repeat the command.",
            )
            .exit(Exit::Usage)
        })?;
    }
    Ok(config)
}

fn tell_nested(nested: &[(smol_str::SmolStr, smol_str::SmolStr)]) {
    for (inner, outer) in nested {
        text::tell(&format!(
            "Note: data set {inner} lies inside {outer}: its files come back twice (they are kept once)."
        ));
    }
}

/// `dir` is the Box's own state: what it keeps for others is not to go round in circles.
fn data_set(dir: &Path, set: &NamedPath) -> Result<DataSet, Fault> {
    let path = std::fs::canonicalize(&set.path).map_err(|error| {
        Fault::new(
            format!("{}: {error}", set.path.display()),
            "Nothing was changed.",
            "Name a path that is there.",
        )
        .exit(Exit::Usage)
    })?;
    protectable::refuse_own_state(dir, &path)?;
    protectable::refuse_unreal(&path)?;
    DataSet::from_bytes(&set.name, path.as_os_str().as_bytes())
        .map_err(|error| told(&error).exit(Exit::Usage))
}

/// `reserve init`
pub fn init(dir: &Path, args: &cli::Init) -> Result<Exit, Fault> {
    let entry = Entry::of_init(dir, args)?;
    let name = entry.config.name.clone();
    // Before the lock: the keeper may run by now.
    if entry.is_done(dir)? {
        return done(dir, &name, args.print);
    }
    let founding = Founding {
        config: entry.config,
        site: entry.site,
        fast_aes: has_fast_aes(),
    };
    if entry.sheet.is_none() {
        only_on_a_terminal()?;
    }
    let made = make_dir(dir)?;
    let _lock = service::lock(dir)?;
    // Opened first: words that cannot be shown must not be made.
    let sheet = entry.sheet.as_deref().map(new_sheet).transpose();
    let mut sheet = sheet.inspect_err(|_| made.take_back())?;
    let founded = in_world(dir, async |world| {
        let show = |words: &roster::RecoveryWords| {
            show_words(words.text(), sheet.as_mut(), &name)?;
            // Whoever loses the power next still finds them.
            entry.sheet.as_deref().map_or(Ok(()), sync_name)
        };
        roster::init(world.disk(), world.entropy(), founding, show)
            .await
            .map_err(|error| told(&error))
    });
    // The sheet was made by us a moment ago. It stays if its words may be a Box's, also if making the Box was told as failed.
    if !matches!(founded, Ok(Founded::New(_)))
        && let Some(path) = &entry.sheet
        && (is_empty(path) || !is_box(dir).unwrap_or(true))
    {
        let _ = std::fs::remove_file(path);
    }
    match founded.inspect_err(|_| made.take_back())? {
        Founded::New(_) => text::tell(&format!(
            "{name} is the first Box of a new reserve. Next: `reserve keeper` here, then `reserve invite`."
        )),
        Founded::Already => text::tell(&format!(
            "{name} was made before; nothing was changed, its data sets included. Its recovery words were shown then."
        )),
    }
    done(dir, &name, args.print)
}

/// Shown anywhere else the recovery words would be kept by whoever listens: the log of an unattended first boot, or a file others may read.
fn only_on_a_terminal() -> Result<(), Fault> {
    if std::io::stderr().is_terminal() {
        return Ok(());
    }
    Err(Fault::new(
        "the recovery words would be written into a log or a file others may read: this is no terminal",
        "Nothing was changed; no words were made.",
        "Name a new file for them with --sheet (in the file of an unattended first boot: sheet = \"FILE\"), or type this on a terminal.",
    )
    .exit(Exit::Usage))
}

fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|sheet| sheet.len() == 0)
}

pub(super) fn done(dir: &Path, name: &str, how: cli::Print) -> Result<Exit, Fault> {
    if how.json {
        text::print_json(&serde_json::json!({ "name": name, "dir": dir }))?;
    }
    Ok(Exit::Done)
}

/// A new file; or an empty one, which a cut of the power before there were any words may have left.
fn new_sheet(path: &Path) -> Result<std::fs::File, Fault> {
    let mut how = std::fs::File::options();
    how.write(true).mode(0o600);
    let is_left =
        std::fs::symlink_metadata(path).is_ok_and(|left| left.is_file()) && is_empty(path);
    how.create_new(!is_left).open(path).map_err(|error| {
        Fault::new(
            format!("the sheet {}: {error}", path.display()),
            "Nothing was changed; no words were made.",
            "Name a new file with --sheet.",
        )
        .exit(Exit::Usage)
    })
}

/// Makes a new file's name durable.
fn sync_name(path: &Path) -> std::io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    std::fs::File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

fn show_words(words: &str, sheet: Option<&mut std::fs::File>, name: &str) -> std::io::Result<()> {
    let mut text = format!(
        "Recovery words of the reserve that began with {name}.\nWith them and any one Box everything can be retrieved. They are shown once and kept nowhere.\n\n"
    );
    for (at, word) in words.split(' ').enumerate() {
        let end = if at % 6 == 5 { '\n' } else { ' ' };
        text.push_str(&format!("{:>2}. {word:<9}{end}", at + 1));
    }
    if let Some(sheet) = sheet {
        return sheet
            .write_all(text.as_bytes())
            .and_then(|()| sheet.sync_all());
    }
    // With --json standard output is for programs.
    let mut out = std::io::stderr().lock();
    writeln!(out, "{text}").and_then(|()| out.flush())
}

/// `reserve join`
pub fn join(dir: &Path, args: &cli::Join) -> Result<Exit, Fault> {
    let entry = Entry::of_join(dir, args)?;
    let name = entry.config.name.clone();
    if entry.is_done(dir)? {
        return done(dir, &name, args.print);
    }
    let said = entry.ticket.as_deref().ok_or_else(|| missing("ticket"))?;
    let ticket = Ticket::from_text(&ticket_text(said)?).map_err(|error| {
        Fault::new(
            format!("this is no ticket: {error}"),
            "Nothing was changed.",
            "Copy the whole line `reserve invite` printed.",
        )
        .exit(Exit::Usage)
    })?;
    let made = make_dir(dir)?;
    let _lock = service::lock(dir)?;
    let joined = in_world(dir, async |world| {
        let asking = Asking {
            config: entry.config,
            site: entry.site,
            replaces: entry.replaces,
            fast_aes: has_fast_aes(),
        };
        joining::join(&world, &ticket, asking).await
    });
    joined.inspect_err(|_| made.take_back())?;
    text::tell(&format!(
        "{name} belongs to the reserve now. Next: `reserve keeper`."
    ));
    done(dir, &name, args.print)
}

fn ticket_text(argument: &str) -> Result<String, Fault> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    std::io::stdin()
        .take(4096)
        .read_to_string(&mut text)
        .map_err(|error| {
            Fault::new(
                format!("standard input: {error}"),
                "Nothing was changed.",
                "Give the ticket on the command line.",
            )
        })?;
    Ok(text)
}

/// `reserve data`
pub fn data(dir: &Path, args: cli::Data) -> Result<Exit, Fault> {
    match args {
        cli::Data::Add { data } => {
            let set = data_set(dir, &data)?;
            let nested = in_world(dir, async |world| {
                roster::add_data_set(world.disk(), set)
                    .await
                    .map_err(|error| told(&error).exit(Exit::Usage))
            })?;
            tell_nested(&nested);
            text::tell(&format!(
                "{} is protected from the next snapshot on.",
                data.name
            ));
        }
        cli::Data::Remove { name } => {
            in_world(dir, async |world| {
                roster::remove_data_set(world.disk(), &name)
                    .await
                    .map_err(|error| told(&error).exit(Exit::Usage))
            })?;
            text::tell(&format!(
                "{name} is left out from the next snapshot on; its snapshots stay."
            ));
        }
        cli::Data::List(print) => {
            let sets = in_world(dir, async |world| {
                roster::list_data_sets(world.disk())
                    .await
                    .map_err(|error| told(&error))
            })?;
            if print.json {
                let list: Vec<_> = sets
                    .iter()
                    .map(|set| serde_json::json!({ "name": set.name, "path": set.path }))
                    .collect();
                text::print_json(&list)?;
            } else {
                for set in sets {
                    text::print(&format!("{} = {}", set.name, set.path))?;
                }
            }
        }
    }
    Ok(Exit::Done)
}

/// What can be said of a Box whose keeper does not run.
pub fn status_at_rest(dir: &Path) -> Result<StatusView, Fault> {
    let loaded = AtRest::new(dir).load()?;
    let standing = events::standing_at_rest(dir, &loaded)?;
    let me = loaded.identity.peer();
    let (factor, factor_min) = loaded.roster.factors();
    let peers: Vec<PeerView> = loaded
        .roster
        .members()
        .iter()
        .map(|member| peer_view(member, me, false, None))
        .collect();
    Ok(StatusView {
        sentence: "The keeper of this Box does not run: nothing is being protected, and how safe your files are is not known.".into(),
        todo: "Start it with `reserve keeper`.".into(),
        safe: false,
        name: loaded.config.name.to_string(),
        running: false,
        latest: None,
        up_to_date_seconds: None,
        copies: 0,
        factor: u32::from(factor),
        factor_min: u32::from(factor_min),
        since_seconds: None,
        proven_seconds: None,
        data: loaded.config.data.iter().map(|set| (set.name.to_string(), set.path.clone())).collect(),
        peers,
        store: None,
        memory_bytes: None,
        job: None,
        last_failure: None,
        unread_count: 0,
        standing,
        mending: None,
        mending_since_seconds: None,
        former: Vec::new(),
        released: Vec::new(),
        conflicts: Vec::new(),
    })
}

/// Snapshots whose heads are on this Box itself, while its keeper does not run, and how many parts of its store could not be looked
/// into. Nothing is changed, and no keeper is kept from starting.
pub fn snapshots_at_rest(dir: &Path) -> Result<(Vec<SnapshotView>, usize), Fault> {
    let at_rest = AtRest::new(dir);
    let loaded = at_rest.load()?;
    let found = at_rest.now(keeper::heads_at_rest(&at_rest));
    let (heads, unread) = found.map_err(|error| {
        Fault::new(
            format!("{}: {error}", store_place::of(dir).display()),
            "Nothing was changed.",
            "Look at `reserve doctor`.",
        )
    })?;
    let me = [loaded.identity.peer()];
    let views = heads
        .iter()
        .map(|head| snapshot_view(&loaded.roster, head, &me));
    let mut found: Vec<_> = views.collect();
    found.sort_by_key(|view| std::cmp::Reverse((view.taken_seconds, view.number)));
    say_what_is_kept(&loaded.roster.retention(), &mut found);
    Ok((found, unread))
}
