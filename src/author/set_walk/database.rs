//! A database the walk comes by: read as one at the first of its files, handed on file by file in path order. One that did not hold
//! still is in the snapshot with what was read of it, and its data set is labelled best effort.

use std::collections::VecDeque;

use super::super::error::SnapshotError;
use super::super::leveldb::{self, Held};
use super::super::report::add;
use super::super::untouched::may_be_taken_over;
use super::SetWalk;
use crate::format::index::path_order;
use crate::keeper::Keepers;
use crate::world::{Stat, World};

/// What is told of a database that never held still.
const WRITTEN_TO: &str =
    "a database that was written to all the while; it may not open, or miss its last changes";
/// What is told of one with a file that could not be read.
const NOT_ALL_READ: &str = "a database of which not all could be read; it may not open";

impl<W: World, K: Keepers> SetWalk<'_, W, K> {
    /// Whether a file that is due next comes from the database that was read.
    pub(super) fn database_has(&self, path: &[u8]) -> bool {
        let files = self.database.as_ref().map(|known| &known.files);
        let next = files.and_then(VecDeque::front);
        next.is_some_and(|(next, ..)| next == path)
    }

    /// Whether a file belongs to the database the walk is in.
    fn is_of_database(&self, path: &[u8]) -> bool {
        let (dir, name) = leveldb::split(path);
        leveldb::is_own_name(name) && self.database.as_ref().is_some_and(|known| known.dir == dir)
    }

    /// Whether a file belongs to a database. At the first of its files the database is read, as it wants to be read.
    pub(super) async fn finds_database(&mut self, path: &[u8]) -> Result<bool, SnapshotError> {
        let (dir, name) = leveldb::split(path);
        if !leveldb::is_own_name(name) || self.plain_dir.as_deref() == Some(dir) {
            return Ok(false);
        }
        if self.is_of_database(path) {
            return Ok(true);
        }
        // One inside another's directory is taken file by file.
        if self
            .database
            .as_ref()
            .is_some_and(|known| !known.files.is_empty())
        {
            return Ok(false);
        }
        // Looks ahead in the previous index without moving in it.
        let mut ahead = self.before.clone();
        let (trust, began) = (self.common.trust, self.before.began);
        let known = self.means.known;
        let is_as_it_was = async |path: &[u8], stat: &Stat| {
            let old = ahead.find(path).await;
            old.is_some_and(|old| {
                may_be_taken_over(&old, stat, began, trust) && !known.is_in_sparse_pack(&old)
            })
        };
        let found = leveldb::read(&self.means, self.reader, dir, is_as_it_was).await?;
        let Some(database) = found else {
            self.plain_dir = Some(dir.to_vec());
            return Ok(false);
        };
        for (path, reason) in &database.unread {
            self.notes.unread(path, reason);
        }
        let called = std::mem::take(&mut self.reader.called);
        self.gather.sampler.meet(&called);
        if database.is_settled {
            self.databases += 1;
        } else {
            self.notes.has_changed = true;
            let why = if database.unread.is_empty() {
                WRITTEN_TO
            } else {
                NOT_ALL_READ
            };
            self.notes.unread(dir, why);
        }
        self.database = Some(database);
        Ok(true)
    }

    /// Hands on the database's files that stand before a path; all that are left at the end.
    pub(super) async fn emit_database(
        &mut self,
        until: Option<&[u8]>,
    ) -> Result<(), SnapshotError> {
        loop {
            let Some(database) = &mut self.database else {
                return Ok(());
            };
            let is_due = database.files.front().is_some_and(|(path, ..)| {
                until.is_none_or(|until| path_order(path, until).is_lt())
            });
            if !is_due {
                let is_left = until.is_none_or(|until| {
                    database.files.is_empty() && !until.starts_with(&database.dir)
                });
                if is_left {
                    self.database = None;
                }
                return Ok(());
            }
            let Some((path, stat, held)) = database.files.pop_front() else {
                return Ok(());
            };
            match held {
                Held::AsItWas => self.take_file(path, stat).await?,
                Held::Read(drafts) => {
                    add(&self.means.progress.files, 1);
                    add(&self.means.progress.bytes, stat.size);
                    self.before.find(&path).await;
                    for draft in drafts {
                        self.gather.push(draft);
                        self.gather.settle(&self.means).await?;
                    }
                }
            }
        }
    }
}
