//! What a Box is told when it enters a reserve: on the command line, or in the file of an unattended first boot.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use smol_str::SmolStr;

use super::cli::{Init, Join, NamedPath, Recover};
use super::fault::{Exit, Fault};
use super::protectable;
use super::setup::{config, in_world, told};
use super::text;
use crate::roster::{Config, FirstBoot, LoadedBox, is_initialised};
use crate::world::World;

/// What a Box is told when it enters a reserve.
pub struct Entry {
    /// Its `box.toml`.
    pub config: Config,
    /// Where it stands, if not at a place of its own.
    pub site: Option<SmolStr>,
    /// Where the recovery words are written.
    pub sheet: Option<PathBuf>,
    /// The ticket, or `-` for standard input.
    pub ticket: Option<String>,
    /// Whose history it continues.
    pub replaces: Option<SmolStr>,
    /// Where the surviving Box listens.
    pub from: Option<SocketAddr>,
    /// Where the recovery words are.
    pub words_file: Option<PathBuf>,
    /// Boxes somebody else may have.
    pub lost: Vec<SmolStr>,
}

impl Entry {
    /// Of `reserve init`.
    pub fn of_init(dir: &Path, args: &Init) -> Result<Self, Fault> {
        let mut entry = Self::read(
            dir,
            args.from_file.as_deref(),
            args.name.as_ref(),
            &args.data,
        )?;
        for (key, is_there) in [
            ("ticket", entry.ticket.is_some()),
            ("replaces", entry.replaces.is_some()),
            ("from", entry.from.is_some()),
            ("words_file", entry.words_file.is_some()),
            ("lost", !entry.lost.is_empty()),
        ] {
            refuse(is_there, key, "init")?;
        }
        entry.site = entry.site.or_else(|| args.site.clone());
        entry.sheet = entry.sheet.or_else(|| args.sheet.clone());
        Ok(entry)
    }

    /// Of `reserve join`.
    pub fn of_join(dir: &Path, args: &Join) -> Result<Self, Fault> {
        let mut entry = Self::read(
            dir,
            args.from_file.as_deref(),
            args.name.as_ref(),
            &args.data,
        )?;
        for (key, is_there) in [
            ("sheet", entry.sheet.is_some()),
            ("from", entry.from.is_some()),
            ("words_file", entry.words_file.is_some()),
            ("lost", !entry.lost.is_empty()),
        ] {
            refuse(is_there, key, "join")?;
        }
        entry.site = entry.site.or_else(|| args.site.clone());
        entry.replaces = entry.replaces.or_else(|| args.replaces.clone());
        entry.ticket = entry.ticket.or_else(|| args.ticket.clone());
        Ok(entry)
    }

    /// Of `reserve recover`.
    pub fn of_recover(dir: &Path, args: &Recover) -> Result<Self, Fault> {
        let mut entry = Self::read(
            dir,
            args.from_file.as_deref(),
            args.name.as_ref(),
            &args.data,
        )?;
        for (key, is_there) in [
            ("sheet", entry.sheet.is_some()),
            ("ticket", entry.ticket.is_some()),
        ] {
            refuse(is_there, key, "recover")?;
        }
        entry.site = entry.site.or_else(|| args.site.clone());
        entry.replaces = entry.replaces.or_else(|| args.replaces.clone());
        entry.from = entry.from.or(args.from);
        entry.words_file = entry.words_file.or_else(|| args.words_file.clone());
        entry.lost.extend(args.lost.iter().cloned());
        Ok(entry)
    }

    fn read(
        dir: &Path,
        file: Option<&Path>,
        name: Option<&SmolStr>,
        data: &[NamedPath],
    ) -> Result<Self, Fault> {
        let Some(file) = file else {
            let name = name.ok_or_else(|| missing("name"))?;
            return Ok(Self {
                config: config(dir, name, data)?,
                site: None,
                sheet: None,
                ticket: None,
                replaces: None,
                from: None,
                words_file: None,
                lost: Vec::new(),
            });
        };
        let unread = |path: &Path, error: &std::io::Error| {
            Fault::new(
                format!("{}: {error}", path.display()),
                "Nothing was changed.",
                "Name a file that can be read.",
            )
            .exit(Exit::Usage)
        };
        let said = std::fs::read_to_string(file).map_err(|error| unread(file, &error))?;
        let machine = rustix::system::uname();
        let host = machine.nodename().to_string_lossy();
        let first = FirstBoot::from_toml(&said, &host).map_err(|error| {
            let what = error.to_string();
            let what = what.replacen("the file", &file.display().to_string(), 1);
            Fault::from_sentence(
                &what,
                "Nothing was changed.",
                "Correct it and repeat the command.",
            )
            .exit(Exit::Usage)
        })?;
        for set in &first.config.data {
            protectable::refuse_own_state(dir, Path::new(&set.path))?;
        }
        // A ticket's file may be gone once it was used: it is read only if this Box has still to enter.
        let ticket = match (&first.ticket, first.ticket_file.as_deref().map(Path::new)) {
            (Some(ticket), _) => Some(ticket.clone()),
            (None, Some(path)) if !is_box(dir)? => {
                Some(std::fs::read_to_string(path).map_err(|error| unread(path, &error))?)
            }
            _ => None,
        };
        Ok(Self {
            config: first.config,
            site: first.site,
            sheet: first.sheet.map(PathBuf::from),
            ticket,
            replaces: first.replaces,
            from: first.from,
            words_file: first.words_file.map(PathBuf::from),
            lost: first.lost,
        })
    }

    /// Whether the directory is this Box already: then it is said, and nothing is to be done.
    pub fn is_done(&self, dir: &Path) -> Result<bool, Fault> {
        if !is_box(dir)? {
            return Ok(false);
        }
        let there = in_world(dir, async |world| {
            LoadedBox::load(world.disk())
                .await
                .map_err(|error| told(&error))
        })?;
        if there.config.name != self.config.name {
            let name = there.config.name.into();
            return Err(told(&crate::roster::RosterError::AlreadyInitialised {
                name,
            }));
        }
        if there.roster.member(&there.identity.peer()).is_none() {
            return Err(Fault::new(
                format!("{} was removed from its reserve", self.config.name),
                "Nothing was changed.",
                "Take it in anew with an empty --dir: `reserve invite` there, `reserve join` here.",
            ));
        }
        text::tell(&format!(
            "{} belongs to its reserve already: done before, nothing was changed.",
            self.config.name
        ));
        Ok(true)
    }
}

pub(super) fn is_box(dir: &Path) -> Result<bool, Fault> {
    if !dir.exists() {
        return Ok(false);
    }
    in_world(dir, async |world| {
        is_initialised(world.disk())
            .await
            .map_err(|error| told(&error))
    })
}

/// What a command was not told.
pub fn missing(key: &str) -> Fault {
    Fault::new(
        format!("the file says no {key}"),
        "Nothing was changed.",
        format!("Add a line `{key} = ...` to it."),
    )
    .exit(Exit::Usage)
}

fn refuse(is_there: bool, key: &str, command: &str) -> Result<(), Fault> {
    if !is_there {
        return Ok(());
    }
    Err(Fault::new(
        format!("the file says {key}, which `reserve {command}` has no use for"),
        "Nothing was changed.",
        "Take it out, or call the command it is for.",
    )
    .exit(Exit::Usage))
}
