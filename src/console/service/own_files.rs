//! The sweep of this Box's own data sets: a slice every hour, all of it when somebody asks, and what is told of files that rotted.

use std::io;
use std::time::Duration;

use super::Service;
use crate::author::{self, DataSetConfig, Extent, FileProgress, FileSweep, Rotten};
use crate::console::names::shown;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::roster::Config;
use crate::world::{Clock, World};

/// How often a slice is read.
const SLICE_EVERY: Duration = Duration::from_secs(3600);

impl<W: World> Service<W> {
    /// Reads untouched files again, evenly over the sweep period.
    pub(super) async fn mind_own_files(self) {
        loop {
            self.world().clock().sleep(SLICE_EVERY).await;
            // One thing at a time reads the disk; what is due waits an hour more.
            if self.running_snapshot().is_some() {
                continue;
            }
            let period_days = self.roster().sweep_period_days();
            let extent = Extent::Due { period_days };
            let swept = self.sweep_own_files(extent, &FileProgress::default()).await;
            if let Err(error) = swept {
                tracing::warn!(%error, "this Box's own files could not be read again");
            }
        }
    }

    /// Compares own files with the last snapshot and tells what rotted.
    pub(super) async fn sweep_own_files(
        &self,
        extent: Extent,
        progress: &FileProgress,
    ) -> io::Result<FileSweep> {
        let config = Config::load(self.world().disk()).await;
        // A wrong box.toml is told by whoever takes snapshots.
        let sets = config.map(|config| config.data).unwrap_or_default();
        let sets: Vec<_> = sets
            .into_iter()
            .map(|set| DataSetConfig {
                name: set.name,
                path: set.path.into_bytes(),
            })
            .collect();
        if sets.is_empty() {
            return Ok(FileSweep::default());
        }
        let (keepers, identity) = (self.keepers(), self.author_identity());
        let how = (self.0.sizes, extent);
        // Who lost its index has nothing to compare with. A snapshot that is being taken sees to that itself.
        if let Ok(_turn) = self.0.snapshot_turn.try_lock() {
            let (world, sizes) = (self.world(), self.0.sizes);
            let rebuilt = author::rebuild_index(world, &keepers, &identity, &sets, sizes).await;
            if let Err(error) = rebuilt {
                tracing::warn!(%error, "what this Box remembers of its last snapshot cannot be read");
            }
        }
        let swept =
            author::sweep_files(self.world(), &keepers, &identity, &sets, how, progress).await?;
        for (set, path) in &swept.rotten {
            tracing::error!(file = named(set, path), "a file is not what was written");
        }
        if swept.undecided > 0 {
            tracing::warn!(
                files = swept.undecided,
                "no keeper could be asked what these files were: they are compared again"
            );
        }
        self.tell_rotten(&sets, &swept.known);
        Ok(swept)
    }

    fn tell_rotten(&self, sets: &[DataSetConfig], known: &Rotten) {
        let reporter = self.reporter();
        let names = sets.iter().map(|set| set.name.clone());
        let before = reporter.subjects_of(EventKind::FilesRotten);
        let before = before.into_iter().filter_map(|subject| match subject {
            Subject::DataSet(name) => Some(name),
            _ => None,
        });
        let mut names: Vec<_> = names.chain(before).collect();
        names.sort();
        names.dedup();
        for name in names {
            let mut files = known.files.iter().filter(|file| file.data_set == name);
            let subject = Subject::DataSet(name.clone());
            let Some(first) = files.next() else {
                reporter.clear(EventKind::FilesRotten, &subject, &[]);
                continue;
            };
            // As `--path` takes it.
            let path = if sets.len() > 1 {
                named(&name, &first.path)
            } else {
                shown(&first.path)
            };
            let todo = "`reserve retrieve --path PATH --to DIR` gets the good version";
            let facts = [
                EventFact::new(FactName::Count, 1 + files.count() as u64),
                EventFact::new(FactName::Path, path.as_str()),
                EventFact::new(FactName::Reason, todo),
            ];
            reporter.raise(EventKind::FilesRotten, subject, &facts);
        }
    }
}

/// A file as people see it.
pub(super) fn named(data_set: &str, path: &[u8]) -> String {
    format!("{data_set}/{}", shown(path))
}
