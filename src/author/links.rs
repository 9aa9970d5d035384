//! Things with several names: what was read under one of them serves the others.
//!
//! Memory is bounded: the oldest are forgotten when there are too many. A name whose fellow was forgotten is read again; its
//! chunks are the same, so nothing is sent twice, and it carries the same group number, so it comes back as a link all the same.

use std::collections::{BTreeMap, VecDeque};

use super::draft::{Draft, Made, MadePiece, Ref, TO_READ_AGAIN};
use super::read::same_contents;
use crate::world::Stat;

/// Memory for what is remembered, roughly: some thousands of ordinary files.
const REMEMBERED_BYTES_MAX: usize = 2 << 20;

/// Files with several names that were read.
#[derive(Default)]
pub struct Links {
    known: BTreeMap<Place, Known>,
    /// Oldest first; some may be gone already.
    order: VecDeque<Place>,
    bytes: usize,
}

/// Device and inode.
type Place = (u64, u64);

struct Known {
    stat: Stat,
    /// All parts, without a path.
    parts: Vec<Draft>,
    bytes: usize,
    /// Names that may still be met.
    names_left: u64,
}

const fn place(stat: &Stat) -> Place {
    (stat.device, stat.inode)
}

impl Links {
    /// Remembers a part of a file that was read under its first name.
    pub fn learn(&mut self, draft: &Draft, stat: &Stat) {
        let (number, is_last) = match &draft.what {
            Made::Pieces { part, last, .. } => (*part as usize, *last),
            Made::Packed { .. } => (0, true),
            Made::Dir
            | Made::Symlink(_)
            | Made::Fifo
            | Made::Device { .. }
            | Made::Empty
            | Made::ToRead
            | Made::Dropped => return,
        };
        if stat.links < 2 || draft.hard_link.is_none() {
            return;
        }
        let at = place(stat);
        if draft.ctime == TO_READ_AGAIN {
            self.forget(at);
            return;
        }
        if number == 0 {
            self.forget(at);
            let known = Known {
                stat: *stat,
                parts: Vec::new(),
                bytes: 0,
                names_left: stat.links - 1,
            };
            self.known.insert(at, known);
            self.order.push_back(at);
        }
        let Some(known) = self.known.get_mut(&at) else {
            return;
        };
        if known.parts.len() != number || !same_contents(&known.stat, stat) {
            self.forget(at);
            return;
        }
        let own =
            size_of::<Known>() + size_of::<Draft>() + draft.xattr_bytes() + piece_bytes(draft);
        known.parts.push(Draft {
            path: Vec::new(),
            ..draft.clone()
        });
        known.bytes += own;
        self.bytes += own;
        // A file of which only a part fits is of no use.
        if known.bytes > REMEMBERED_BYTES_MAX / 2 && !is_last {
            self.forget(at);
        }
        while self.bytes > REMEMBERED_BYTES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(oldest);
        }
    }

    /// What was read under another name, for this one.
    pub fn find(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<Draft>> {
        let at = place(stat);
        let known = self.known.get_mut(&at)?;
        let is_whole = known.parts.last().is_some_and(|part| match part.what {
            Made::Pieces { last, .. } => last,
            _ => true,
        });
        if !is_whole || !same_contents(&known.stat, stat) {
            self.forget(at);
            return None;
        }
        let named = |part: &Draft| Draft {
            path: path.to_vec(),
            ..part.clone()
        };
        let parts = known.parts.iter().map(named).collect();
        known.names_left = known.names_left.saturating_sub(1);
        if known.names_left == 0 {
            self.forget(at);
        }
        Some(parts)
    }

    /// The open pack was closed and is called this.
    pub fn pack_closed(&mut self, closed: Ref) {
        for draft in self.known.values_mut().flat_map(|known| &mut known.parts) {
            if let Made::Packed { pack, .. } = &mut draft.what
                && pack.is_none()
            {
                *pack = Some(closed);
            }
        }
    }

    fn forget(&mut self, at: Place) {
        if let Some(known) = self.known.remove(&at) {
            self.bytes -= known.bytes;
        }
        // Names met soon after each other leave no trail.
        while self
            .order
            .front()
            .is_some_and(|old| !self.known.contains_key(old))
        {
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.known.len() + 64 {
            self.order.retain(|old| self.known.contains_key(old));
        }
    }
}

fn piece_bytes(draft: &Draft) -> usize {
    match &draft.what {
        Made::Pieces { pieces, .. } => pieces.len() * size_of::<MadePiece>(),
        _ => 0,
    }
}
