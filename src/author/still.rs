//! A look that costs keepers nothing: whether everything is as the last snapshot has it, told by the walk alone.
//!
//! It reads no file, asks nobody and writes no index. On any doubt it says no; then a snapshot is taken as always. It says
//! nothing about copies: whoever calls it knows what keepers confirmed and when they are to be asked again.

use super::asked::DataSetConfig;
use super::draft::{Draft, Made};
use super::error::SnapshotError;
use super::footing::Footing;
use super::kinds;
use super::numbers::{AcceptedSet, State};
use super::report::{KeeperShare, SnapshotReport};
use super::shelf::ShelfReader;
use super::snapshot::Trust;
use super::untouched::{is_untouched, may_be_taken_over};
use super::walk::{Step, Walk};
use crate::terms::Stamp;
use crate::world::{Clock, FileKind, Stat, Tree, World};

/// The last snapshot's report, if what is there now is what it has; that it was looked is remembered. `shares` are those that
/// keepers confirmed, on `copies` others, of `copies_min` that it takes.
pub async fn still<W: World>(
    world: &W,
    data_sets: &[DataSetConfig],
    shares: Vec<KeeperShare>,
    (copies, copies_min): (u8, u8),
) -> Result<Option<SnapshotReport>, SnapshotError> {
    let started = world.clock().wall();
    let mut state = State::load(world.disk()).await?;
    let Some(head) = state.last() else {
        return Ok(None);
    };
    let is_plain = state.pending.is_none()
        && state.contents.is_some()
        && state.accepted.len() == data_sets.len();
    if !is_plain {
        return Ok(None);
    }
    for config in data_sets {
        let accepted = state.accepted.iter().find(|set| set.name == config.name);
        let Some(accepted) = accepted else {
            return Ok(None);
        };
        if !is_still(world, config, accepted).await {
            return Ok(None);
        }
    }
    state.looked = Some(started);
    state.store(world.disk()).await?;
    let mut report = SnapshotReport::bare(head, shares, copies_min);
    report.is_unchanged = true;
    report.copies = copies;
    report.files = state.accepted.iter().map(|set| set.files).sum();
    report.bytes = state.accepted.iter().map(|set| set.bytes).sum();
    report.files_reused = report.files;
    Ok(Some(report))
}

/// Whether a data set is where it was and as its index has it, thing by thing.
async fn is_still<W: World>(world: &W, config: &DataSetConfig, accepted: &AcceptedSet) -> bool {
    let tree = world.tree();
    let Ok(footing) = Footing::look(tree, &config.path).await else {
        return false;
    };
    if accepted.path != config.path || footing != accepted.footing {
        return false;
    }
    let Ok(root) = tree.stat(&config.path).await else {
        return false;
    };
    let mut before = ShelfReader::open(world.disk().clone(), &config.name).await;
    let mut walk = Walk::new(tree.clone(), &config.path, root);
    while let Some(step) = walk.next().await {
        let (path, stat) = match step {
            Step::Found { path, stat } => (path, stat),
            Step::Skipped { .. } => continue,
            Step::Unread { .. } => return false,
        };
        let Some(mut old) = before.next().await else {
            return false;
        };
        if old.path != path || !is_as_it_was(&old, &stat, root.device, before.began) {
            return false;
        }
        while matches!(old.what, Made::Pieces { last: false, .. }) {
            match before.next_part(&path).await {
                Some(next) => old = next,
                None => return false,
            }
        }
    }
    let is_all = before.next().await.is_none() && !before.is_damaged;
    let ground = Footing::look(tree, &config.path).await;
    is_all && ground.is_ok_and(|now| footing.still_is(&now))
}

fn is_as_it_was(old: &Draft, stat: &Stat, device: u64, began: Stamp) -> bool {
    let nothing = std::collections::BTreeSet::new();
    let trust = Trust {
        distrusted: &nothing,
        is_total: true,
    };
    let is_as_before = match stat.kind {
        FileKind::File => may_be_taken_over(old, stat, began, &trust),
        FileKind::Dir
        | FileKind::Symlink
        | FileKind::Fifo
        | FileKind::CharDevice
        | FileKind::BlockDevice
        | FileKind::Socket => {
            kinds::kind_of(old) == Some(stat.kind) && is_untouched(old, stat, began)
        }
    };
    let mut marked = old.clone();
    marked.mark(stat, device);
    is_as_before && marked == *old
}
