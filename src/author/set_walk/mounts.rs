//! File systems mounted below a data set. Each that is met is remembered with what stood there; where one is missing, or another is in
//! its place, what was there stays in the snapshot as it was, and is told by its path. A person says that it is meant by accepting.
//!
//! Whoever unplugs a disk leaves an empty directory, or none at all where the mount point is made for it: both are noticed.

use std::collections::VecDeque;

use serde_bytes::ByteBuf;

use super::super::draft::TO_READ_AGAIN;
use super::super::error::SnapshotError;
use super::super::footing::Footing;
use super::super::remembered::Mount;
use super::super::untouched::had_settled;
use super::super::walk::{Step, joined};
use super::SetWalk;
use crate::format::index::path_order;
use crate::keeper::Keepers;
use crate::world::{FileKind, World};

/// Mounts that are remembered of a data set,
const MOUNTS_MAX: usize = 256;
/// and bytes of their paths.
const PATHS_BYTES_MAX: usize = 64 << 10;

/// What a walk knows of mounts.
#[derive(Default)]
pub(in super::super) struct Mounts {
    /// Those of the snapshot before that were not met yet.
    expected: VecDeque<Mount>,
    /// Those of this one.
    pub(in super::super) met: Vec<Mount>,
    /// The directories the walk is in, with their devices.
    inside: Vec<(Vec<u8>, u64)>,
}

impl Mounts {
    /// Expects these.
    pub(in super::super) fn expecting(before: Vec<Mount>) -> Self {
        Self {
            expected: before.into(),
            ..Self::default()
        }
    }

    /// The device of the directory a path is in.
    fn device_around(&mut self, path: &[u8]) -> Option<u64> {
        while self
            .inside
            .last()
            .is_some_and(|(dir, _)| !is_below(path, dir))
        {
            self.inside.pop();
        }
        self.inside.last().map(|(_, device)| *device)
    }

    fn remember(&mut self, mount: Mount) {
        let bytes: usize = self.met.iter().map(|mount| mount.path.len()).sum();
        if self.met.len() >= MOUNTS_MAX || bytes + mount.path.len() > PATHS_BYTES_MAX {
            let path = String::from_utf8_lossy(&mount.path).into_owned();
            tracing::warn!(
                path,
                "one mount more than can be remembered: nobody will notice when it vanishes"
            );
            return;
        }
        self.met.push(mount);
    }
}

/// Whether a path is below a directory of the data set.
fn is_below(path: &[u8], dir: &[u8]) -> bool {
    let rest = path.strip_prefix(dir);
    rest.is_some_and(|rest| !rest.is_empty() && (dir.is_empty() || rest[0] == b'/'))
}

impl<W: World, K: Keepers> SetWalk<'_, W, K> {
    /// Hands on what was mounted at places that the walk has passed by without meeting them.
    pub(super) async fn pass_by_mounts(
        &mut self,
        until: Option<&[u8]>,
    ) -> Result<(), SnapshotError> {
        loop {
            let next = self.mounts.expected.front();
            let is_passed = next.is_some_and(|mount| {
                until.is_none_or(|until| path_order(&mount.path, until).is_lt())
            });
            let Some(mount) = is_passed
                .then(|| self.mounts.expected.pop_front())
                .flatten()
            else {
                return Ok(());
            };
            self.emit_database(Some(&mount.path)).await?;
            // The directories on the way to it, as far as they are gone as well.
            for end in (0..mount.path.len()).filter(|at| mount.path[*at] == b'/') {
                if let Some(dir) = self.before.find(&mount.path[..end]).await {
                    self.gather.push(dir);
                }
            }
            let why = "what was mounted there is gone, and its directory as well";
            self.hold_mount(mount, why).await?;
        }
    }

    /// Looks whether something is or was mounted at this step of the walk. If it is not what was, all of it is handed on as it was, and
    /// true is returned: the walk is to stay out.
    pub(super) async fn holds_mount(&mut self, step: &Step) -> Result<bool, SnapshotError> {
        let (path, stat) = match step {
            Step::Found { path, stat } => (path, Some(stat)),
            Step::Skipped { path } | Step::Unread { path, .. } => (path, None),
        };
        let before = match self.mounts.expected.front() {
            Some(mount) if mount.path == *path => self.mounts.expected.pop_front(),
            Some(_) | None => None,
        };
        let Some(stat) = stat.filter(|stat| stat.kind == FileKind::Dir) else {
            let why = match step {
                Step::Unread { reason, .. } => {
                    format!("what was mounted there cannot be looked at: {reason}")
                }
                Step::Found { .. } | Step::Skipped { .. } => {
                    "something else is in the place of what was mounted there".to_owned()
                }
            };
            return match before {
                Some(before) => self.hold_mount(before, &why).await,
                None => Ok(false),
            };
        };
        let around = self.mounts.device_around(path);
        let at = joined(self.means.base, path);
        let footing = match around.is_some_and(|around| around != stat.device) {
            true => Footing::look(&self.means.tree, &at).await.ok(),
            false => None,
        };
        if let Some(before) = before {
            let why = match &footing {
                None => Some("what was mounted there is gone; is its disk connected?"),
                Some(now) => now.differs_from(&before.footing),
            };
            if let Some(why) = why
                && self.hold_mount(before, why).await?
            {
                return Ok(true);
            }
        }
        if let Some(footing) = footing {
            let path = ByteBuf::from(path.clone());
            self.mounts.remember(Mount { path, footing });
        }
        self.mounts.inside.push((path.clone(), stat.device));
        Ok(false)
    }

    /// Hands on all that was there in the snapshot before; false if that was nothing.
    async fn hold_mount(&mut self, mount: Mount, why: &str) -> Result<bool, SnapshotError> {
        let began = self.before.began;
        let mut stands = false;
        while let Some(mut old) = self.before.next_within(&mount.path).await {
            if !self.is_trusted(&old) {
                self.notes.unread(&old.path, "no keeper has it any more");
                continue;
            }
            stands = true;
            self.files_reused += u64::from(old.file_bytes().is_some());
            // What was young when it was read may have changed since without a trace; the rest need not be read when it is back.
            if !had_settled(old.ctime, began) {
                old.ctime = TO_READ_AGAIN;
            }
            self.gather.push(old);
            self.gather.settle(&self.means).await?;
        }
        if stands {
            let told =
                format!("it and all below it are in the snapshot as they were before: {why}");
            self.notes.unread(&mount.path, &told);
            let mounts = &mut self.mounts;
            let within = |other: &Mount| is_below(&other.path, &mount.path);
            let below: Vec<_> = mounts
                .expected
                .iter()
                .filter(|other| within(other))
                .cloned()
                .collect();
            mounts.expected.retain(|other| !within(other));
            mounts.remember(mount);
            for mount in below {
                mounts.remember(mount);
            }
        }
        Ok(stands)
    }
}
