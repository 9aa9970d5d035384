//! Whether what is new will fit, before any of it is copied: a look at names and sizes against what keepers say.
//!
//! It guesses: what is new may be a copy of what is known, or shrink. So it warns, and refuses only when even what surely
//! grew finds no room on the minimum of keepers. A keeper that cannot be asked may have room.

use humansize::{BINARY, format_size};

use super::asked::DataSetConfig;
use super::data_set::Common;
use super::error::SnapshotError;
use super::footing::Footing;
use super::shelf::{ShelfReader, is_file};
use super::untouched::may_be_taken_over;
use super::walk::{Step, Walk};
use crate::keeper::{Ask, Keepers, MemberView};
use crate::terms::PeerKey;
use crate::world::{FileKind, Stat, Tree, World};

/// While every keeper has room for this much, and for twice what there is, nobody looks ahead: it costs a walk.
const PLENTY_BYTES: u64 = 64 << 30;

/// What a look ahead saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ahead {
    /// Bytes of files that are new or changed, less those of files that are gone: they may only have been renamed.
    pub likely_bytes: u64,
    /// The same, but of changed files only what they grew by.
    pub surely_bytes: u64,
    /// Regular files there are.
    pub files: u64,
    /// Bytes of files that are new or changed, and so are to be read.
    pub to_read_bytes: u64,
}

impl Ahead {
    fn add(&mut self, more: Self) {
        let sum = |one: u64, more: u64| one.saturating_add(more);
        *self = Self {
            likely_bytes: sum(self.likely_bytes, more.likely_bytes),
            surely_bytes: sum(self.surely_bytes, more.surely_bytes),
            files: sum(self.files, more.files),
            to_read_bytes: sum(self.to_read_bytes, more.to_read_bytes),
        };
    }
}

/// What came of the check.
#[derive(Default)]
pub(super) struct Checked<'d> {
    /// What people should know before it happens.
    pub warning: Option<String>,
    /// Data sets that nobody looked at: there is plenty of room.
    not_looked: Vec<&'d DataSetConfig>,
    /// What was seen of the others.
    ahead: Ahead,
}

/// A keeper's room, if it could be asked.
pub(super) type RoomOf<'a> = (&'a MemberView, Option<u64>);

/// What to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// Nothing.
    Fits,
    /// It will not fit everywhere.
    Short(String),
    /// It will not fit on enough keepers.
    Impossible(String),
}

/// Judges. Each keeper gets its share: with more keepers than copies a part of everything.
pub(super) fn judge(ahead: Ahead, rooms: &[RoomOf<'_>], (factor, minimum): (u8, u8)) -> Fit {
    let others = rooms.len() as u64;
    let share = |bytes: u64| bytes.saturating_mul(u64::from(factor).min(others)) / others.max(1);
    let short = |bytes: u64| -> Vec<_> {
        let need = share(bytes);
        let lacks = |(_, room): &&RoomOf<'_>| room.is_some_and(|room| room < need);
        rooms.iter().filter(lacks).collect()
    };
    let told = |bytes: u64, short: &[&RoomOf<'_>]| {
        let each: Vec<_> = short
            .iter()
            .map(|(member, room)| {
                format!(
                    "{} has room for {}",
                    member.name,
                    format_size(room.unwrap_or(0), BINARY)
                )
            })
            .collect();
        format!(
            "about {} of new files will not fit on {} of {others} keepers ({})",
            format_size(bytes, BINARY),
            short.len(),
            each.join(", ")
        )
    };
    let surely = short(ahead.surely_bytes);
    if rooms.len() - surely.len() < usize::from(minimum) && !surely.is_empty() {
        return Fit::Impossible(told(ahead.surely_bytes, &surely));
    }
    let likely = short(ahead.likely_bytes);
    if likely.is_empty() {
        return Fit::Fits;
    }
    Fit::Short(told(ahead.likely_bytes, &likely))
}

/// Asks keepers for their room, looks ahead if that may matter, and judges. `try_anyway`: what will not fit is no more than a warning.
pub(super) async fn check<'d, W: World, K: Keepers>(
    common: &Common<'_, W, K>,
    keepers: &K,
    data_sets: &'d [DataSetConfig],
    bytes_before: u64,
    try_anyway: bool,
) -> Result<Checked<'d>, SnapshotError> {
    let me = keepers.me();
    let members = keepers.members();
    let mut rooms = Vec::new();
    for member in members.iter().filter(|member| member.key != me) {
        rooms.push((member, room_of(keepers, member.key).await));
    }
    let mut checked = Checked::default();
    let tightest = rooms.iter().filter_map(|(_, room)| *room).min();
    let Some(tightest) = tightest else {
        checked.not_looked.extend(data_sets);
        return Ok(checked);
    };
    let is_plenty = tightest >= PLENTY_BYTES.max(bytes_before.saturating_mul(2));
    for config in data_sets {
        let index = ShelfReader::open(common.world.disk().clone(), &config.name).await;
        if is_plenty && index.is_there() {
            checked.not_looked.push(config);
            continue;
        }
        checked.ahead.add(look(common, config, index).await);
    }
    checked.warning = match judge(checked.ahead, &rooms, keepers.factors()) {
        Fit::Fits => None,
        Fit::Short(told) => Some(told),
        Fit::Impossible(told) if try_anyway => Some(told),
        Fit::Impossible(told) => return Err(SnapshotError::NoRoom(told)),
    };
    Ok(checked)
}

impl Checked<'_> {
    /// Finds out how much there is to read. Of data sets that nobody looked at only when so much was read already: a walk that finds nothing
    /// new is not to be made twice.
    pub(super) async fn count<W: World, K: Keepers>(
        &self,
        common: &Common<'_, W, K>,
        much_bytes: u64,
    ) {
        let mut ahead = self.ahead;
        if !self.not_looked.is_empty() {
            common.progress.reads(much_bytes).await;
        }
        for config in &self.not_looked {
            let index = ShelfReader::open(common.world.disk().clone(), &config.name).await;
            ahead.add(look(common, config, index).await);
        }
        common
            .progress
            .looked_ahead(ahead.files, ahead.to_read_bytes);
    }
}

async fn room_of<K: Keepers>(keepers: &K, peer: PeerKey) -> Option<u64> {
    let room = keepers.reach(peer)?.room().await.ok()?;
    Some(room.for_you_bytes())
}

/// Looks at one data set. What cannot be looked at is the walk's business.
async fn look<W: World, K: Keepers>(
    common: &Common<'_, W, K>,
    config: &DataSetConfig,
    mut before: ShelfReader<W::Disk>,
) -> Ahead {
    let tree = common.world.tree();
    let (Ok(_), Ok(root)) = (
        Footing::look(tree, &config.path).await,
        tree.stat(&config.path).await,
    ) else {
        return Ahead::default();
    };
    let (mut files, mut new, mut changed, mut grown) = (0u64, 0u64, 0u64, 0u64);
    let mut walk = Walk::new(tree.clone(), &config.path, root);
    while let Some(step) = walk.next().await {
        let Step::Found { path, stat } = step else {
            continue;
        };
        let old = before.find(&path).await;
        if stat.kind != FileKind::File {
            continue;
        }
        files += 1;
        let bytes = weight(&stat);
        match old.filter(is_file) {
            None => new += bytes,
            Some(old) if may_be_taken_over(&old, &stat, before.began, common.trust) => {}
            Some(old) => {
                changed += bytes;
                grown += bytes.saturating_sub(old.file_bytes().unwrap_or(bytes));
            }
        }
    }
    before.pass_rest().await;
    Ahead {
        likely_bytes: (new + changed).saturating_sub(before.gone_bytes),
        surely_bytes: (new + grown).saturating_sub(before.gone_bytes),
        files,
        to_read_bytes: new + changed,
    }
}

/// Holes take no room anywhere.
fn weight(stat: &Stat) -> u64 {
    match stat.blocks {
        // Some file systems do not tell.
        0 => stat.size,
        blocks => stat.size.min(blocks.saturating_mul(512)),
    }
}

/// Does the one thing, and the other beside it for no longer than that takes.
pub(super) async fn beside<T>(work: impl Future<Output = T>, other: impl Future<Output = ()>) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = work.as_mut() => return done,
        () = other => {}
    }
    work.await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &'static str) -> MemberView {
        MemberView {
            key: PeerKey([0; 32]),
            name: name.into(),
            site: name.into(),
        }
    }

    const GB: u64 = 1 << 30;

    fn ahead(likely: u64, surely: u64) -> Ahead {
        Ahead {
            likely_bytes: likely * GB,
            surely_bytes: surely * GB,
            ..Ahead::default()
        }
    }

    #[test]
    fn keepers_without_room_are_named_and_only_too_few_with_room_refuse() {
        let names = ["office", "friend", "cabin"].map(member);
        let rooms = |room: [Option<u64>; 3]| -> Vec<RoomOf<'_>> {
            names
                .iter()
                .zip(room.map(|room| room.map(|room| room * GB)))
                .collect()
        };
        let wide = rooms([Some(100), Some(100), None]);
        assert_eq!(judge(ahead(48, 48), &wide, (3, 2)), Fit::Fits);
        let one = rooms([Some(12), Some(100), Some(100)]);
        let Fit::Short(told) = judge(ahead(48, 48), &one, (3, 2)) else {
            panic!("office is short");
        };
        assert_eq!(
            told,
            "about 48 GiB of new files will not fit on 1 of 3 keepers (office has room for 12 GiB)"
        );
        let two = rooms([Some(12), Some(1), Some(100)]);
        assert!(matches!(
            judge(ahead(48, 48), &two, (3, 2)),
            Fit::Impossible(_)
        ));
        // What only changed may take no room at all: a warning is enough.
        assert!(matches!(judge(ahead(48, 0), &two, (3, 2)), Fit::Short(_)));
        // Who is away may have room.
        let away = rooms([Some(12), None, None]);
        assert!(matches!(judge(ahead(48, 48), &away, (3, 2)), Fit::Short(_)));
        // With two copies on three keepers each gets two thirds.
        let shared = rooms([Some(40), Some(40), Some(40)]);
        assert_eq!(judge(ahead(48, 48), &shared, (2, 2)), Fit::Fits);
        assert_eq!(judge(ahead(0, 0), &rooms([Some(0); 3]), (3, 2)), Fit::Fits);
    }
}
