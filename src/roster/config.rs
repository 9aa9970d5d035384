//! `box.toml`: what a person decides about one Box. Unknown keys and impossible values are refused by name and line.
//!
//! TOML is UTF-8, so a path that is not cannot be written here; the error says what to do.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use serde::Deserialize;
use smol_str::SmolStr;
use toml::Spanned;

use super::{CONFIG_FILE, RosterError, read, write};
use crate::format::roster::name_is_legal;
use crate::terms::limits::{
    ADDRESSES_MAX, DATA_SETS_MAX, PATH_BYTES_MAX, PORT_DEFAULT, SNAPSHOT_MINUTES_MAX,
};
use crate::world::Disk;

/// One Box's own configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What people call the Box.
    pub name: SmolStr,
    /// Where it waits for calls.
    pub listen: Vec<SocketAddr>,
    /// Where others are told to reach it, if not where it listens.
    pub advertise: Vec<SocketAddr>,
    /// What it protects.
    pub data: Vec<DataSet>,
    /// What it keeps for others.
    pub store: Store,
    /// When it takes snapshots by itself.
    pub snapshots: Snapshots,
}

/// When a Box takes snapshots by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshots {
    /// Minutes from the end of one to the next; 0: only when asked.
    pub every_minutes: u32,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { every_minutes: 60 }
    }
}

impl Snapshots {
    /// The time from the end of one to the next, if there is to be a next one.
    #[must_use]
    pub fn period(&self) -> Option<std::time::Duration> {
        let seconds = u64::from(self.every_minutes) * 60;
        (seconds > 0).then(|| std::time::Duration::from_secs(seconds))
    }
}

/// A file or directory that is protected, under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSet {
    /// What people call it.
    pub name: SmolStr,
    /// Where it is: absolute.
    pub path: String,
}

/// What a Box keeps for others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Store {
    /// Where it lies: absolute; without it, in the state directory.
    pub path: Option<String>,
    /// The most it may use, in bytes; without it, what the file system has.
    pub capacity_bytes: Option<u64>,
    /// Bytes of chunks that one author may have kept here; without it, as much as fits.
    pub quota_bytes_per_author: Option<u64>,
    /// Chunks the table has room for.
    pub table_chunks: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) name: Spanned<String>,
    pub(super) listen: Option<Spanned<Vec<SocketAddr>>>,
    #[serde(default)]
    pub(super) advertise: Option<Spanned<Vec<SocketAddr>>>,
    #[serde(default)]
    pub(super) data: Vec<RawDataSet>,
    #[serde(default)]
    pub(super) store: RawStore,
    #[serde(default)]
    pub(super) snapshots: RawSnapshots,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSnapshots {
    every_minutes: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDataSet {
    name: Spanned<String>,
    path: Spanned<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    path: Option<Spanned<String>>,
    capacity_bytes: Option<Spanned<u64>>,
    quota_bytes_per_author: Option<Spanned<u64>>,
    table_chunks: Option<Spanned<u64>>,
    keep: Option<Spanned<bool>>,
}

impl Config {
    /// A Box of this name with everything else as usual.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            listen: listen_default(),
            advertise: Vec::new(),
            data: Vec::new(),
            store: Store::default(),
            snapshots: Snapshots::default(),
        }
    }

    /// Reads the text of `box.toml`.
    pub fn from_toml(text: &str) -> Result<Self, RosterError> {
        let raw: Raw = toml::from_str(text).map_err(|error| RosterError::Config {
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            what: error.message().replace('\n', " "),
        })?;
        Self::from_raw(text, raw)
    }

    /// Reads the bytes of a file as `box.toml`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RosterError> {
        Self::from_toml(&text_of(bytes.to_vec())?)
    }

    /// What was read from `text`, if it is possible.
    pub(super) fn from_raw(text: &str, raw: Raw) -> Result<Self, RosterError> {
        let fail = |at: usize, what: String| RosterError::Config {
            line: line_of(text, at),
            what,
        };
        check_name(raw.name.get_ref()).map_err(|what| fail(raw.name.span().start, what))?;
        for (key, list, least) in [("listen", &raw.listen, 1), ("advertise", &raw.advertise, 0)] {
            let Some(list) = list else { continue };
            if !(least..=ADDRESSES_MAX).contains(&list.get_ref().len()) {
                let what = format!("{key} must have {least} to {ADDRESSES_MAX} addresses");
                return Err(fail(list.span().start, what));
            }
        }
        for (key, number) in [
            ("capacity_bytes", &raw.store.capacity_bytes),
            ("quota_bytes_per_author", &raw.store.quota_bytes_per_author),
            ("table_chunks", &raw.store.table_chunks),
        ] {
            if let Some(number) = number
                && *number.get_ref() == 0
            {
                let what = format!("{key} must not be 0");
                return Err(fail(number.span().start, what));
            }
        }
        if let Some(path) = &raw.store.path {
            check_path(path.get_ref()).map_err(|what| fail(path.span().start, what))?;
        }
        if let Some(keep) = &raw.store.keep
            && !keep.get_ref()
        {
            let what = "keep = false is not possible: a Box keeps for the others what they keep for it (capacity_bytes bounds how much)".to_owned();
            return Err(fail(keep.span().start, what));
        }
        let every = raw.snapshots.every_minutes;
        if let Some(every) = &every
            && *every.get_ref() > SNAPSHOT_MINUTES_MAX
        {
            let what = format!(
                "every_minutes must be at most {SNAPSHOT_MINUTES_MAX}, four weeks (0: only when asked)"
            );
            return Err(fail(every.span().start, what));
        }
        let mut config = Self {
            name: raw.name.into_inner().into(),
            listen: raw.listen.map_or_else(listen_default, Spanned::into_inner),
            advertise: raw.advertise.map(Spanned::into_inner).unwrap_or_default(),
            data: Vec::new(),
            store: Store {
                path: raw.store.path.map(Spanned::into_inner),
                capacity_bytes: raw.store.capacity_bytes.map(Spanned::into_inner),
                quota_bytes_per_author: raw.store.quota_bytes_per_author.map(Spanned::into_inner),
                table_chunks: raw.store.table_chunks.map(Spanned::into_inner),
            },
            snapshots: every.map_or_else(Snapshots::default, |every| Snapshots {
                every_minutes: every.into_inner(),
            }),
        };
        for set in raw.data {
            let at = set.name.span().start;
            check_name(set.name.get_ref()).map_err(|what| fail(at, what))?;
            check_path(set.path.get_ref()).map_err(|what| fail(set.path.span().start, what))?;
            config
                .push(DataSet {
                    name: set.name.into_inner().into(),
                    path: set.path.into_inner(),
                })
                .map_err(|what| fail(at, what))?;
        }
        Ok(config)
    }

    /// The text of `box.toml`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let list = |addresses: &[SocketAddr]| {
            let quoted: Vec<String> = addresses.iter().map(|at| format!("\"{at}\"")).collect();
            quoted.join(", ")
        };
        let mut text = format!("name = {}\n", quoted(&self.name));
        let mut line = |said: std::fmt::Arguments<'_>| {
            text.write_fmt(said).expect("a String takes any text");
        };
        line(format_args!("listen = [{}]\n", list(&self.listen)));
        line(format_args!("advertise = [{}]\n", list(&self.advertise)));
        line(format_args!("\n[store]\n"));
        if let Some(path) = &self.store.path {
            line(format_args!("path = {}\n", quoted(path)));
        }
        if let Some(bytes) = self.store.capacity_bytes {
            line(format_args!("capacity_bytes = {bytes}\n"));
        }
        if let Some(bytes) = self.store.quota_bytes_per_author {
            line(format_args!("quota_bytes_per_author = {bytes}\n"));
        }
        if let Some(chunks) = self.store.table_chunks {
            line(format_args!("table_chunks = {chunks}\n"));
        }
        let every = self.snapshots.every_minutes;
        line(format_args!("\n[snapshots]\nevery_minutes = {every}\n"));
        for set in &self.data {
            line(format_args!("{}", set.to_toml()));
        }
        text
    }

    /// Adds a data set if it may be there; says what is wrong if not.
    pub fn push(&mut self, set: DataSet) -> Result<(), String> {
        check_name(&set.name)?;
        check_path(&set.path)?;
        if self.data.iter().any(|other| other.name == set.name) {
            return Err(format!("there is a data set \"{}\" already", set.name));
        }
        if let Some(other) = self.data.iter().find(|other| other.path == set.path) {
            return Err(format!(
                "\"{}\" is protected under the name \"{}\" already",
                set.path.escape_debug(),
                other.name
            ));
        }
        let lies_within = |path: &str, dir: &str| Path::new(path).starts_with(dir);
        if let Some(store) = &self.store.path
            && (lies_within(store, &set.path) || lies_within(&set.path, store))
        {
            return Err(format!(
                "\"{}\" and what this Box keeps for others (path of [store]) lie within each other: that would go round in circles",
                set.path.escape_debug()
            ));
        }
        if self.data.len() >= DATA_SETS_MAX {
            return Err(format!("a Box has at most {DATA_SETS_MAX} data sets"));
        }
        self.data.push(set);
        Ok(())
    }

    /// Reads the Box's `box.toml`.
    pub async fn load(disk: &impl Disk) -> Result<Self, RosterError> {
        Self::from_toml(&Self::load_text(disk).await?)
    }

    /// Replaces the Box's `box.toml`.
    pub async fn save(&self, disk: &impl Disk) -> Result<(), RosterError> {
        write(disk, CONFIG_FILE, self.to_toml().as_bytes(), false).await
    }

    pub(super) async fn load_text(disk: &impl Disk) -> Result<String, RosterError> {
        let bytes = read(disk, CONFIG_FILE)
            .await?
            .ok_or(RosterError::NoConfig)?;
        text_of(bytes)
    }
}

impl DataSet {
    /// From what a person typed, `NAME=PATH`.
    pub fn from_bytes(name: &str, path: &[u8]) -> Result<Self, RosterError> {
        let path = str::from_utf8(path).map_err(|_| {
            RosterError::Edit("this path is not UTF-8 and cannot be named in box.toml; protect the directory above it or rename it".into())
        })?;
        check_name(name)
            .and_then(|()| check_path(path))
            .map_err(RosterError::Edit)?;
        Ok(Self {
            name: name.into(),
            path: path.to_owned(),
        })
    }

    pub(super) fn to_toml(&self) -> String {
        let (name, path) = (quoted(&self.name), quoted(&self.path));
        format!("\n[[data]]\nname = {name}\npath = {path}\n")
    }
}

fn text_of(bytes: Vec<u8>) -> Result<String, RosterError> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(good);
        RosterError::Config {
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
            what: "the text is not UTF-8; a path that is not cannot be named here, protect the directory above it or rename it".into(),
        }
    })
}

pub(super) fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name_is_legal(name) {
        return Ok(());
    }
    Err(format!(
        "\"{}\" cannot be a name: 1 to 63 bytes of letters, digits, -, _ and ., not starting with - or .",
        name.escape_debug()
    ))
}

fn check_path(path: &str) -> Result<(), String> {
    if path.starts_with('/') && !path.contains('\0') && path.len() <= PATH_BYTES_MAX {
        return Ok(());
    }
    Err(format!(
        "\"{}\" must be an absolute path (it starts with /)",
        path.escape_debug()
    ))
}

fn listen_default() -> Vec<SocketAddr> {
    let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    any.map(|ip| SocketAddr::new(ip, PORT_DEFAULT)).to_vec()
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_reads_back_from_its_own_text() {
        let mut config = Config::new("home");
        config.advertise = vec![([192, 0, 2, 1], 9).into()];
        config.store.capacity_bytes = Some(5);
        config.store.path = Some("/mnt/my \"disk\"".into());
        config.snapshots.every_minutes = 0;
        let set = DataSet::from_bytes("photos", b"/srv/my \"best\" \\ photos\n'''").expect("legal");
        config.push(set).expect("room");
        assert_eq!(Config::from_toml(&config.to_toml()).expect("legal"), config);
    }

    #[test]
    fn a_wrong_line_is_refused_by_name_and_number() {
        let bad = [
            ("name = \"a\"\nlisen = []\n", 2, "lisen"),
            ("name = \"a b\"\n", 1, "a b"),
            ("name = \"a\"\n\nlisten = []\n", 3, "listen"),
            (
                "name = \"a\"\n[store]\ncapacity_bytes = 0\n",
                3,
                "capacity_bytes",
            ),
            ("name = \"a\"\n[store]\npath = \"disk\"\n", 3, "absolute"),
            (
                "name = \"a\"\n[store]\npath = \"/mnt/disk/store\"\n[[data]]\nname = \"x\"\npath = \"/mnt/disk\"\n",
                5,
                "circles",
            ),
            ("name = \"a\"\n[store]\nkeep = true\nsize = 1\n", 4, "size"),
            ("name = \"a\"\n[store]\nkeep = false\n", 3, "keep = false"),
            (
                "name = \"a\"\n\n[snapshots]\nevery_minutes = 99999\n",
                4,
                "every_minutes",
            ),
            (
                "name = \"a\"\n[snapshots]\nevery_hours = 1\n",
                3,
                "every_hours",
            ),
            (
                "name = \"a\"\n[[data]]\nname = \"x\"\npath = \"here\"\n",
                4,
                "absolute",
            ),
            (
                "name = \"a\"\n[[data]]\nname = \"x\"\npath = \"/a\"\n[[data]]\nname = \"x\"\npath = \"/b\"\n",
                6,
                "already",
            ),
        ];
        for (text, at, word) in bad {
            let Err(RosterError::Config { line, what }) = Config::from_toml(text) else {
                panic!("{text}");
            };
            assert!(line == at && what.contains(word), "{text}: {line}, {what}");
        }
    }
}
