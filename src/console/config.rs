//! `reserve config`: this Box's own configuration and the one all Boxes share, read, changed, checked.
//!
//! What only this Box decides stands in its `box.toml`, which people edit; what all share is in the roster and changed with `set`.
//! Reading and checking need no keeper.

use std::path::Path;

use serde::Serialize;

use super::cli;
use super::client::{Client, NoService};
use super::control::{ChangeView, Reply, Want};
use super::fault::{Exit, Fault};
use super::setup::{in_world, told};
use super::{protectable, service, text};
use crate::roster::{Config, LoadedBox, SharedKey, SharedSetting};
use crate::world::World;

/// A setting as it is printed.
#[derive(Debug, Serialize)]
struct View {
    key: String,
    value: String,
    unit: &'static str,
    source: &'static str,
    /// Whether it has an effect in this version.
    in_force: bool,
}

/// Whether a shared setting has an effect: the others are kept and handed on for the versions that follow them.
const fn is_in_force(key: SharedKey) -> bool {
    match key {
        SharedKey::Factor
        | SharedKey::FactorMin
        | SharedKey::SweepPeriod
        | SharedKey::KeeperAway
        | SharedKey::ReleaseDelay
        | SharedKey::Retention => true,
        SharedKey::EventPeriod | SharedKey::WarningWindow | SharedKey::WarningWindowOf(_) => false,
    }
}

impl ChangeView {
    /// Of a setting as it was and as it is.
    pub fn of(before: SharedSetting, now: SharedSetting) -> Self {
        Self {
            key: now.key,
            before: before.value,
            now: now.value,
            unit: now.unit.to_owned(),
            is_default: !now.is_said,
        }
    }
}

/// `reserve config`
pub fn run(dir: &Path, args: cli::Config) -> Result<Exit, Fault> {
    match args {
        cli::Config::Get { key, print } => get(dir, key.as_deref(), print),
        cli::Config::Set { key, value, print } => set(dir, &key, &value, print),
        cli::Config::Check { file } => check(dir, file.as_deref()),
    }
}

fn load(dir: &Path) -> Result<LoadedBox, Fault> {
    in_world(dir, async |world| {
        LoadedBox::load(world.disk())
            .await
            .map_err(|error| told(&error))
    })
}

fn get(dir: &Path, key: Option<&str>, print: cli::Print) -> Result<Exit, Fault> {
    let loaded = load(dir)?;
    let mut all = local(&loaded.config);
    all.extend(SharedKey::all().into_iter().map(|key| {
        let setting = loaded.roster.setting(key);
        View {
            key: setting.key,
            value: setting.value,
            unit: setting.unit,
            source: if setting.is_said { "shared" } else { "default" },
            in_force: is_in_force(key),
        }
    }));
    let Some(key) = key else {
        if print.json {
            text::print_json(&all)?;
            return Ok(Exit::Done);
        }
        let lines: Vec<String> = all
            .iter()
            .map(|view| {
                let value = format!("{} {}", view.value, view.unit);
                let later = if view.in_force {
                    ""
                } else {
                    ", without effect yet"
                };
                format!(
                    "{:<30} {:<28} {}{later}",
                    view.key,
                    value.trim_end(),
                    view.source
                )
            })
            .collect();
        text::print(&lines.join("\n"))?;
        return Ok(Exit::Done);
    };
    let Some(view) = all.into_iter().find(|view| view.key == key) else {
        return Err(Fault::new(
            format!("there is no setting \"{}\"", key.escape_debug()),
            "Nothing was changed.",
            "`reserve config get` lists all.",
        )
        .exit(Exit::Usage));
    };
    if print.json {
        text::print_json(&view)?;
    } else {
        text::print(&view.value)?;
    }
    Ok(Exit::Done)
}

/// What `box.toml` says, and what it leaves as usual.
fn local(config: &Config) -> Vec<View> {
    let usual = Config::new(&config.name);
    let view = |key: &str, value: String, unit, is_usual: bool| View {
        key: key.to_owned(),
        value,
        unit,
        source: if is_usual { "default" } else { "local" },
        in_force: true,
    };
    let list = |addresses: &[std::net::SocketAddr]| {
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        texts.join(" ")
    };
    let number = |said: Option<u64>, otherwise: &str| {
        said.map_or_else(|| otherwise.to_owned(), |number| number.to_string())
    };
    let store = &config.store;
    let mut all = vec![
        view("name", config.name.to_string(), "", false),
        view(
            "listen",
            list(&config.listen),
            "",
            config.listen == usual.listen,
        ),
        view(
            "advertise",
            list(&config.advertise),
            "",
            config.advertise.is_empty(),
        ),
        view(
            "store.path",
            store
                .path
                .clone()
                .unwrap_or_else(|| "in the state directory".to_owned()),
            "",
            store.path.is_none(),
        ),
        view(
            "store.capacity_bytes",
            number(store.capacity_bytes, "what the file system has"),
            if store.capacity_bytes.is_some() {
                "bytes"
            } else {
                ""
            },
            store.capacity_bytes.is_none(),
        ),
        view(
            "store.quota_bytes_per_author",
            number(store.quota_bytes_per_author, "as much as fits"),
            if store.quota_bytes_per_author.is_some() {
                "bytes"
            } else {
                ""
            },
            store.quota_bytes_per_author.is_none(),
        ),
        view(
            "store.table_chunks",
            number(
                store.table_chunks,
                &crate::terms::limits::TABLE_CHUNKS_DEFAULT.to_string(),
            ),
            "chunks",
            store.table_chunks.is_none(),
        ),
        view(
            "snapshots.every_minutes",
            config.snapshots.every_minutes.to_string(),
            "minutes",
            config.snapshots == usual.snapshots,
        ),
    ];
    for set in &config.data {
        all.push(view(
            &format!("data.{}", set.name),
            set.path.clone(),
            "",
            false,
        ));
    }
    all
}

fn set(dir: &Path, key: &str, value: &str, print: cli::Print) -> Result<Exit, Fault> {
    if SharedKey::from_name(key).is_none() {
        let loaded = load(dir)?;
        if local(&loaded.config).iter().any(|view| view.key == key) {
            return Err(Fault::new(
                format!("{key} is this Box's own setting"),
                "Nothing was changed.",
                format!(
                    "Edit {} and then `reserve config check`; the keeper reads it when it starts.",
                    dir.join("box.toml").display()
                ),
            )
            .exit(Exit::Usage));
        }
    }
    let want = Want::SetConfig {
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let changed = match Client::call(dir, want) {
        Ok(mut client) => match client.reply()? {
            Reply::Changed(view) => view,
            _ => return Err(super::ask::nonsense()),
        },
        Err(NoService::NotRunning) => set_at_rest(dir, key, value)?,
        Err(no) => return Err(no.fault(dir)),
    };
    if print.json {
        text::print_json(&changed)?;
    } else {
        let how = if changed.is_default {
            " (the default)"
        } else {
            ""
        };
        let line = format!(
            "{}: {} {} (was {}){how}",
            changed.key, changed.now, changed.unit, changed.before
        );
        text::print(&line.replace("  ", " "))?;
    }
    tell_impossible(dir, key);
    if SharedKey::from_name(key).is_some_and(|key| !is_in_force(key)) {
        text::tell(
            "It is kept and handed on to the other Boxes, but has no effect in this version yet.",
        );
    }
    Ok(Exit::Done)
}

/// Says what of a number of copies cannot be had.
fn tell_impossible(dir: &Path, key: &str) {
    if !matches!(
        SharedKey::from_name(key),
        Some(SharedKey::Factor | SharedKey::FactorMin)
    ) {
        return;
    }
    let Ok(loaded) = load(dir) else { return };
    let others = loaded.roster.members().len().saturating_sub(1);
    let wanted = |key| {
        let setting = loaded.roster.setting(key);
        setting.value.parse().unwrap_or(0usize)
    };
    if let Some(note) = impossible(
        others,
        wanted(SharedKey::Factor),
        wanted(SharedKey::FactorMin),
    ) {
        text::tell(&format!("Note: {note}"));
    }
}

/// What is wrong with so many copies on so many other Boxes. Pure.
fn impossible(others: usize, factor: usize, factor_min: usize) -> Option<String> {
    let there = if others == 1 {
        "there is 1 other Box".to_owned()
    } else {
        format!("there are {others} other Boxes")
    };
    if others == 0 {
        Some(format!(
            "{there}, so nothing can be called protected yet: take in more Boxes."
        ))
    } else if factor_min > others {
        Some(format!(
            "{there}, so nothing can be called protected with a minimum of {factor_min}: take in more Boxes, or lower replication_factor_min."
        ))
    } else if factor_min > factor {
        Some(format!(
            "replication_factor is {factor}, so nothing can be called protected with a minimum of {factor_min}."
        ))
    } else if factor > others {
        Some(format!(
            "{there}: until more are taken in, there are as many copies."
        ))
    } else {
        None
    }
}

/// Without a keeper it stands on this Box, and the others hear of it when the keeper runs again.
fn set_at_rest(dir: &Path, key: &str, value: &str) -> Result<ChangeView, Fault> {
    let _lock = service::lock(dir)?;
    let changed = in_world(dir, async |world| {
        let mut loaded = LoadedBox::load(world.disk())
            .await
            .map_err(|error| told(&error))?;
        let by = &loaded.identity.signing;
        let (before, now) = loaded
            .roster
            .change_setting(key, value, by)
            .map_err(|error| told(&error).exit(Exit::Usage))?;
        loaded
            .roster
            .save(world.disk())
            .await
            .map_err(|error| told(&error))?;
        Ok(ChangeView::of(before, now))
    })?;
    text::tell("No keeper runs here: the other Boxes hear of it when one does.");
    Ok(changed)
}

fn check(dir: &Path, file: Option<&Path>) -> Result<Exit, Fault> {
    let path = file.map_or_else(|| dir.join("box.toml"), Path::to_owned);
    let read = std::fs::read(&path).map_err(|error| {
        Fault::new(
            format!("{}: {error}", path.display()),
            "Nothing was changed.",
            "Name the file with --file.",
        )
    })?;
    let config = Config::from_bytes(&read).map_err(|error| {
        let what = error
            .to_string()
            .replacen("box.toml", &path.display().to_string(), 1);
        Fault::from_sentence(
            &what,
            "Nothing was changed.",
            "Correct it and repeat the command.",
        )
    })?;
    for set in &config.data {
        protectable::refuse_own_state(dir, Path::new(&set.path))?;
    }
    text::print(&format!(
        "{} is in order: Box {}, {}.",
        path.display(),
        config.name,
        text::count(config.data.len() as u64, "data set", "data sets")
    ))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_copies_that_cannot_be_had_is_told() {
        assert_eq!(impossible(2, 2, 2), None);
        assert_eq!(impossible(2, 2, 1), None);
        assert!(impossible(0, 3, 1).is_some_and(|note| !note.contains("lower")));
        assert!(impossible(2, 3, 3).is_some_and(|note| note.contains("2 other Boxes")));
        assert!(impossible(3, 2, 3).is_some_and(|note| note.contains("replication_factor is 2")));
        assert!(impossible(1, 3, 1).is_some_and(|note| note.contains("1 other Box:")));
    }
}
