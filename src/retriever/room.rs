//! Whether what was asked for fits into the target, found out before the first byte is written.
//!
//! The manifest tells how much all of it is at most: holes take no room, further names of one thing neither, and an earlier
//! run may have left much. So only when that much would not fit the index is walked, and what is wanted of it is added up. Of a
//! part the manifest says nothing: the stretches of the index in which it lies are walked, few where it is small.

use std::collections::BTreeSet;

use super::Source;
use super::cursor::goes_on;
use super::files::Work;
use super::plan::{Stretch, Walk};
use super::present::Existing;
use super::report::{RetrieveError, Total};
use super::restore::{Chosen, Request};
use super::selection::{Wanted, placed};
use crate::format::index::{Content, Entry, Piece, What};
use crate::world::{FileKind, Room, Tree, World};

/// Groups of names of one thing that are remembered; of others nothing is counted.
const GROUPS_MAX: usize = 1 << 16;

/// What is wanted, and how much of it is not there yet.
#[derive(Default, Clone, Copy)]
struct Needed {
    files: u64,
    /// Their lengths.
    bytes: u64,
    /// Room they take.
    on_disk: u64,
    /// Things of any kind that are to be made.
    things: u64,
}

/// Checks it, and sets what progress counts up to.
pub(super) async fn check<W: World, S: Source>(
    work: &Work<W, S>,
    sets: &[Chosen<'_>],
    request: &Request<'_>,
) -> Result<(), RetrieveError> {
    let told = work.world.tree().room(&work.root).await;
    // A file system that does not tell is written to until it says no.
    let room = told.unwrap_or(Room {
        free_bytes: u64::MAX,
        free_things: u64::MAX,
        block_bytes: 1,
    });
    let mut needed = at_most(sets, room);
    let is_part = |chosen: &Chosen<'_>| !chosen.selection.is_everything();
    if sets.iter().any(is_part) || !fits(&needed, room) {
        needed = Needed::default();
        for chosen in sets {
            add_up(work, chosen, room, &mut needed).await?;
        }
    }
    work.progress.update(|progress| {
        progress.total = Some(Total {
            files: needed.files,
            bytes: needed.bytes,
        });
    });
    let path = || String::from_utf8_lossy(request.target).into_owned();
    if request.try_anyway {
        return Ok(());
    }
    if needed.on_disk > room.free_bytes {
        return Err(RetrieveError::NoRoom {
            path: path(),
            needed_bytes: needed.on_disk,
            free_bytes: room.free_bytes,
        });
    }
    if needed.things > room.free_things {
        return Err(RetrieveError::NoRoomForThings {
            path: path(),
            needed: needed.things,
            free: room.free_things,
        });
    }
    Ok(())
}

const fn fits(needed: &Needed, room: Room) -> bool {
    needed.on_disk <= room.free_bytes && needed.things <= room.free_things
}

/// What the manifest tells, with a block begun for each file.
fn at_most(sets: &[Chosen<'_>], room: Room) -> Needed {
    let sum = |of: fn(&Chosen<'_>) -> u64| sets.iter().map(of).fold(0, u64::saturating_add);
    let (files, bytes) = (
        sum(|chosen| chosen.set.files),
        sum(|chosen| chosen.set.bytes),
    );
    Needed {
        files,
        bytes,
        on_disk: bytes.saturating_add(files.saturating_mul(room.block_bytes.saturating_sub(1))),
        things: sum(|chosen| chosen.set.entries),
    }
}

async fn add_up<W: World, S: Source>(
    work: &Work<W, S>,
    chosen: &Chosen<'_>,
    room: Room,
    needed: &mut Needed,
) -> Result<(), RetrieveError> {
    let mut walk = Walk::new(&work.world, &work.source, &chosen.selection, chosen.set);
    let mut at = At::default();
    while let Some(stretch) = walk.next().await? {
        // What is lost takes no room.
        let Stretch::Page(page) = stretch else {
            continue;
        };
        let mut parts = Vec::new();
        for entry in &page.entries {
            if chosen.selection.wants(&entry.path) != Wanted::Yes {
                continue;
            }
            if let (false, What::File { bytes, .. }) = (goes_on(entry), &entry.what) {
                needed.files += 1;
                needed.bytes = needed.bytes.saturating_add(*bytes);
            }
            let mut part = at.take(entry);
            part.path = placed(&chosen.base, &entry.path);
            part.on_disk = part.on_disk.next_multiple_of(room.block_bytes.max(1));
            needed.on_disk = needed.on_disk.saturating_add(part.on_disk);
            needed.things += u64::from(part.is_thing);
            parts.push(part);
        }
        if work.existing != Existing::Nothing {
            leave_out_what_is_there(work, parts, needed).await;
        }
        if work.is_over() {
            return work.is_wanted();
        }
    }
    Ok(())
}

/// Where in a data set the adding up is.
#[derive(Default)]
struct At {
    /// Groups of names of one thing of which one was counted.
    groups: BTreeSet<u64>,
    /// Whether the file whose entries go on is counted, and how far they reach.
    counts: bool,
    reach: u64,
}

/// What an entry takes in the target.
#[derive(Default)]
struct Part {
    path: Vec<u8>,
    /// Where in its file it begins, and how long it is.
    from: u64,
    length: u64,
    on_disk: u64,
    is_thing: bool,
}

impl At {
    fn take(&mut self, entry: &Entry) -> Part {
        let (length, on_disk) = match &entry.what {
            What::File { bytes, content, .. } => match content {
                Content::Empty => (0, 0),
                Content::Packed { .. } => (*bytes, *bytes),
                Content::Pieces { pieces, .. } => of_pieces(pieces),
            },
            What::Dir | What::Symlink { .. } | What::Fifo | What::Device { .. } => (0, 0),
        };
        let is_first = !goes_on(entry);
        if is_first {
            self.reach = 0;
            self.counts = match entry.hard_link {
                None => true,
                Some(group) => self.groups.len() < GROUPS_MAX && self.groups.insert(group),
            };
        }
        let from = self.reach;
        self.reach = from.saturating_add(length);
        Part {
            path: Vec::new(),
            from,
            length,
            on_disk: if self.counts { on_disk } else { 0 },
            is_thing: is_first && self.counts,
        }
    }
}

/// How long pieces are, and what of that takes room.
fn of_pieces(pieces: &[Piece]) -> (u64, u64) {
    pieces
        .iter()
        .fold((0u64, 0u64), |(length, on_disk), piece| {
            let takes = match piece {
                Piece::Data { bytes, .. } => u64::from(*bytes),
                Piece::Hole { .. } => 0,
            };
            let length = length.saturating_add(piece.bytes());
            (length, on_disk.saturating_add(takes))
        })
}

/// Room that an earlier run has taken already, or that becomes free when something is replaced.
async fn leave_out_what_is_there<W: World, S: Source>(
    work: &Work<W, S>,
    parts: Vec<Part>,
    needed: &mut Needed,
) {
    let paths = parts.iter().map(|part| part.path.clone()).collect();
    let found = work.world.tree().stat_below(&work.root, paths).await;
    for (part, found) in parts.into_iter().zip(found) {
        let mut there = match work.going.as_ref() {
            Some(going) => going.bytes_of_part(&part.path),
            None => 0,
        };
        if let Ok(found) = found {
            needed.things = needed.things.saturating_sub(u64::from(part.is_thing));
            if found.kind == FileKind::File {
                there = there.max(found.size);
            }
        }
        let of_this = there.saturating_sub(part.from).min(part.length);
        needed.on_disk = needed.on_disk.saturating_sub(of_this.min(part.on_disk));
    }
}
