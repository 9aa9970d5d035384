//! People: they add, change, rename, truncate and delete files on a Box while its service reads them, and this remembers
//! how every path stood at every moment.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use reserve::world::World;

use crate::dice::Dice;
use crate::house::DATA_PATH;
use crate::sim_box::SimBox;
use crate::snapshot::{Kept, TreeSnapshot};

/// More files than this on one Box and people begin to delete.
const FILES_MAX: u64 = 40;
/// The longest file, in bytes: a few simulated chunks.
const FILE_BYTES_MAX: u64 = 6000;
/// What people call things.
const WORDS: [&str; 8] = [
    "tax", "photo", "letter", "garden", "song", "map", "diary", "list",
];

/// Where files are while the data set is empty.
const AWAY_PATH: &str = "/away";

/// What a text is marked with that must never be seen outside its Box.
pub const MARK: &[u8] = b"PLAINTEXT-OF-SOMEBODY-";

/// Since when a path stood as it did; `None` when nothing was there.
type Version = (Duration, Option<Kept>);

/// One Box's files through time.
pub struct People {
    dice: Dice,
    now: TreeSnapshot,
    history: BTreeMap<Vec<u8>, Vec<Version>>,
    made: u64,
    away_since: Option<Duration>,
    back_since: Duration,
    done: Vec<Duration>,
    /// Changes of each kind, by name.
    pub deeds: BTreeMap<&'static str, u64>,
}

impl People {
    /// Whoever uses this Box. The first files are made at once.
    ///
    /// # Errors
    /// If its tree cannot be written.
    pub fn move_in(home: &SimBox, dice: Dice, now: Duration) -> io::Result<Self> {
        let mut people = Self {
            dice,
            now: TreeSnapshot::new(),
            history: BTreeMap::new(),
            made: 0,
            away_since: None,
            back_since: Duration::ZERO,
            done: Vec::new(),
            deeds: BTreeMap::new(),
        };
        home.tree().mkdir(DATA_PATH)?;
        for _ in 0..12 {
            people.add(home)?;
        }
        people.remember(home, now)?;
        Ok(people)
    }

    /// What the data set names is empty from now on: its disk is not mounted.
    ///
    /// # Errors
    /// If the tree cannot be written.
    pub fn go_away(&mut self, home: &SimBox, now: Duration) -> io::Result<()> {
        home.tree().rename_path(DATA_PATH, AWAY_PATH)?;
        home.tree().mkdir(DATA_PATH)?;
        self.away_since = Some(now);
        self.remember(home, now)
    }

    /// Whether nothing is where the files should be.
    #[must_use]
    pub fn are_away(&self) -> bool {
        self.away_since.is_some()
    }

    /// Since when everything is where it should be, if it is.
    #[must_use]
    pub fn are_here_since(&self) -> Option<Duration> {
        self.away_since.is_none().then_some(self.back_since)
    }

    /// How much people did since a moment.
    #[must_use]
    pub fn deeds_since(&self, moment: Duration) -> usize {
        self.done.len() - self.done.partition_point(|at| *at < moment)
    }

    /// Everything is where it was; since when it was not.
    ///
    /// # Errors
    /// If the tree cannot be written.
    pub fn come_back(&mut self, home: &SimBox, now: Duration) -> io::Result<Option<Duration>> {
        let Some(since) = self.away_since.take() else {
            return Ok(None);
        };
        home.tree().remove(DATA_PATH)?;
        home.tree().rename_path(AWAY_PATH, DATA_PATH)?;
        self.back_since = now;
        self.remember(home, now)?;
        Ok(Some(since))
    }

    /// Does one thing to the files.
    ///
    /// # Errors
    /// If the tree cannot be written.
    pub fn do_something(&mut self, home: &SimBox, now: Duration) -> io::Result<()> {
        let files = self.files();
        let many = files.len() as u64;
        let kind = self.dice.below(10);
        let what = if many < 4 || (kind < 3 && many < FILES_MAX) {
            self.add(home)?;
            "added"
        } else {
            let at = usize::try_from(self.dice.below(many)).unwrap_or(0);
            self.change(home, &files[at], kind)?
        };
        *self.deeds.entry(what).or_default() += 1;
        self.done.push(now);
        self.remember(home, now)
    }

    fn change(&mut self, home: &SimBox, path: &[u8], kind: u64) -> io::Result<&'static str> {
        let tree = home.tree();
        let full = full_path(path);
        let bytes = self.now[path].content.clone();
        match kind {
            0..4 => {
                tree.remove(&full)?;
                Ok("deleted")
            }
            4 => {
                self.made += 1;
                let to = format!("{full}.{}", self.made);
                tree.rename_path(&full, &to)?;
                Ok("renamed")
            }
            5 => {
                let keep = self.dice.below(bytes.len() as u64 + 1);
                tree.write_file(&full, &bytes[..usize::try_from(keep).unwrap_or(0)])?;
                Ok("truncated")
            }
            6 => {
                let more = self.bytes(500);
                tree.write_file(&full, &[bytes, more].concat())?;
                Ok("appended")
            }
            7 => {
                let mut changed = bytes;
                let len = changed.len() as u64;
                if len > 0 {
                    let at = usize::try_from(self.dice.below(len)).unwrap_or(0);
                    changed[at] ^= 1;
                }
                tree.write_file(&full, &changed)?;
                Ok("changed in one byte")
            }
            8 => {
                let mode = 0o600 + u32::from(self.dice.coin()) * 0o44;
                tree.set_mode(&full, mode)?;
                Ok("made private or public")
            }
            _ => {
                let anew = self.bytes(FILE_BYTES_MAX);
                tree.write_file(&full, &anew)?;
                Ok("written anew")
            }
        }
    }

    fn add(&mut self, home: &SimBox) -> io::Result<()> {
        self.made += 1;
        let word = |dice: &Dice| WORDS[usize::try_from(dice.below(8)).unwrap_or(0)];
        let (dir, name) = (word(&self.dice), word(&self.dice));
        // Most files are small; the few large ones have chunks of their own.
        let most = if self.dice.below(4) == 0 {
            FILE_BYTES_MAX
        } else {
            250
        };
        let bytes = self.bytes(most);
        let path = match self.dice.below(3) {
            0 => format!("{DATA_PATH}/{name}-{}", self.made),
            _ => format!("{DATA_PATH}/{dir}/{name}-{}", self.made),
        };
        home.tree().write_file(&path, &bytes)
    }

    /// A mark, and then noise or one letter many times: some of it can be compressed.
    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let mut bytes = MARK.to_vec();
        let len = usize::try_from(self.dice.below(most)).unwrap_or(0);
        let mut more = vec![b'x'; len];
        if self.dice.coin() {
            self.dice.fill(&mut more);
        }
        bytes.append(&mut more);
        bytes
    }

    fn files(&self) -> Vec<Vec<u8>> {
        let is_file = |kept: &Kept| kept.kind == reserve::world::FileKind::File;
        let files = self.now.iter().filter(|(_, kept)| is_file(kept));
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Notes what is otherwise than before.
    fn remember(&mut self, home: &SimBox, now: Duration) -> io::Result<()> {
        let after = home.tree().snapshot(DATA_PATH)?;
        let paths: BTreeSet<_> = self.now.keys().chain(after.keys()).cloned().collect();
        for path in paths {
            let stands = after.get(&path);
            if self.now.get(&path) != stands {
                let versions = self.history.entry(path).or_default();
                versions.push((now, stands.cloned()));
            }
        }
        self.now = after;
        Ok(())
    }

    /// How a tree that came back differs from everything that stood here between two moments, one sentence a path.
    #[must_use]
    pub fn differences(&self, from: Duration, to: Duration, back: &TreeSnapshot) -> Vec<String> {
        let mut told = Vec::new();
        for (path, versions) in &self.history {
            let began = versions.partition_point(|(at, _)| *at <= from);
            let later = versions[began..].iter().take_while(|(at, _)| *at <= to);
            let before = began.checked_sub(1).map(|at| versions[at].1.as_ref());
            let mut stood = std::iter::once(before.flatten()).chain(later.map(|(_, v)| v.as_ref()));
            let came = back.get(path);
            if !stood.any(|stood| stood == came) {
                let name = String::from_utf8_lossy(path);
                told.push(match (before.flatten(), came) {
                    (_, None) => format!("'{name}' did not come back"),
                    (None, Some(_)) => format!("'{name}' was not there"),
                    (Some(was), Some(came)) => format!(
                        "'{name}' came back with {} bytes, it had {}: {:?}, it had {:?}",
                        came.content.len(),
                        was.content.len(),
                        came.attributes,
                        was.attributes
                    ),
                });
            }
        }
        let unheard = back.keys().filter(|path| !self.history.contains_key(*path));
        told.extend(unheard.map(|path| format!("'{}' never was", String::from_utf8_lossy(path))));
        told
    }
}

fn full_path(path: &[u8]) -> String {
    format!("{DATA_PATH}/{}", String::from_utf8_lossy(path))
}
