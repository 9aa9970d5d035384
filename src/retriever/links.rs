//! Names of one thing: the first that is restored is made, the others are linked to it.
//!
//! Two names belong together when they carry the same group number *and* everything else about them is the same, contents
//! and attributes: a group of different files, from a hostile index or because one changed while it was taken, comes back
//! as different files. Only names that were made by this restore are linked to.
//!
//! Memory is bounded: when there are too many groups the oldest are forgotten. A later name of a forgotten group is made
//! anew, and it is known that it may be a copy.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde_bytes::ByteBuf;
use tokio::sync::Notify;

use crate::format::encode;
use crate::format::index::{Content, Entry, Page, Piece, What};

/// Memory for the names that may still be linked to: tens of thousands of groups.
const REMEMBERED_BYTES_MAX: usize = 4 << 20;
/// Bits in which forgotten groups leave a mark.
const MARKS: usize = 1 << 21;

/// What tells whether two names belong together.
pub(super) type Print = [u8; 16];

/// Everything about an entry that all names of one thing share; `None` if it has one name only.
pub(super) fn print_of(base: &[u8], page: &Page, entry: &Entry) -> Option<Print> {
    entry.hard_link?;
    let mut same = entry.clone();
    same.path = ByteBuf::new();
    let mut hash = blake3::Hasher::new();
    // Numbers of chunks are those of a page; their names are the same everywhere.
    let mut name = |chunk: &mut u32| {
        let id = page.chunks.get(*chunk as usize);
        hash.update(id.map_or(&[], |id| &id.0));
        *chunk = 0;
    };
    if let What::File { content, .. } = &mut same.what {
        match content {
            Content::Empty => {}
            Content::Packed { chunk, .. } => name(chunk),
            Content::Pieces { pieces, .. } => {
                for piece in pieces {
                    if let Piece::Data { chunk, .. } = piece {
                        name(chunk);
                    }
                }
            }
        }
    }
    hash.update(&encode(&same));
    hash.update(base);
    let mut print = Print::default();
    hash.finalize_xof().fill(&mut print);
    Some(print)
}

/// The names met so far.
#[derive(Clone, Default)]
pub(super) struct Links(Rc<RefCell<Known>>);

#[derive(Default)]
struct Known {
    groups: BTreeMap<Print, State>,
    /// Groups whose first name stands, oldest first.
    order: VecDeque<Print>,
    bytes: usize,
    /// Marks of groups that were forgotten.
    forgotten: Vec<u8>,
}

enum State {
    /// Its first name is being made; whoever waits is woken when that is over.
    UnderWay(Rc<Notify>),
    /// It stands under this path below the target.
    Stands(Vec<u8>),
}

/// What is to be done for a name.
pub(super) enum Role {
    /// Make it, as the first.
    First(Turn),
    /// The first is being made.
    Waits,
    /// Link it to this path.
    Link(Vec<u8>),
}

/// The duty to make a group's first name. Dropped, it lets the next name be the first.
pub(super) struct Turn {
    links: Links,
    print: Print,
    /// Whether there may be an older name that was forgotten.
    pub(super) may_be_copy: bool,
}

impl Links {
    /// What is to be done for the next name of a group.
    pub(super) fn role(&self, print: Print) -> Role {
        let mut known = self.0.borrow_mut();
        match known.groups.get(&print) {
            Some(State::Stands(path)) => Role::Link(path.clone()),
            Some(State::UnderWay(_)) => Role::Waits,
            None => {
                let state = State::UnderWay(Rc::new(Notify::new()));
                known.groups.insert(print, state);
                Role::First(Turn {
                    links: self.clone(),
                    print,
                    may_be_copy: known.is_marked(&print),
                })
            }
        }
    }

    /// The same, once no first name is being made any more.
    pub(super) async fn settled_role(&self, print: Print) -> Role {
        loop {
            let waiting = match self.0.borrow().groups.get(&print) {
                Some(State::UnderWay(over)) => Some(over.clone()),
                Some(State::Stands(_)) | None => None,
            };
            match waiting {
                Some(over) => over.notified().await,
                None => return self.role(print),
            }
        }
    }

    /// The name that stands cannot be linked to: the next one is made anew.
    pub(super) fn give_up(&self, print: Print) {
        self.0.borrow_mut().forget(&print);
    }
}

impl Turn {
    /// The name stands.
    pub(super) fn stands(self, path: &[u8]) {
        let mut known = self.links.0.borrow_mut();
        let state = State::Stands(path.to_vec());
        if let Some(State::UnderWay(over)) = known.groups.insert(self.print, state) {
            over.notify_waiters();
        }
        known.order.push_back(self.print);
        known.bytes += weight(path);
        while known.bytes > REMEMBERED_BYTES_MAX
            && let Some(oldest) = known.order.pop_front()
        {
            known.mark(&oldest);
            known.forget(&oldest);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut known = self.links.0.borrow_mut();
        if let Some(State::UnderWay(over)) = known.groups.get(&self.print) {
            over.notify_waiters();
            known.groups.remove(&self.print);
        }
    }
}

impl Known {
    fn forget(&mut self, print: &Print) {
        if let Some(State::Stands(path)) = self.groups.get(print) {
            self.bytes -= weight(path);
            self.groups.remove(print);
            if self.order.len() > 2 * self.groups.len() + 64 {
                let groups = &self.groups;
                self.order.retain(|print| groups.contains_key(print));
            }
        }
    }

    fn marks(print: &Print) -> [usize; 2] {
        let number = |at: usize| {
            let bytes = [print[at], print[at + 1], print[at + 2], print[at + 3]];
            u32::from_le_bytes(bytes) as usize % MARKS
        };
        [number(0), number(4)]
    }

    fn mark(&mut self, print: &Print) {
        if self.forgotten.is_empty() {
            self.forgotten = vec![0; MARKS / 8];
        }
        for at in Self::marks(print) {
            self.forgotten[at / 8] |= 1 << (at % 8);
        }
    }

    fn is_marked(&self, print: &Print) -> bool {
        let is_set = |at: usize| {
            self.forgotten
                .get(at / 8)
                .is_some_and(|b| b >> (at % 8) & 1 == 1)
        };
        Self::marks(print).into_iter().all(is_set)
    }
}

fn weight(path: &[u8]) -> usize {
    path.len() + 2 * size_of::<Print>() + 2 * size_of::<State>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(number: u32) -> Print {
        let hash = blake3::hash(&number.to_le_bytes());
        std::array::from_fn(|at| hash.as_bytes()[at])
    }

    fn first(links: &Links, number: u32) -> Turn {
        match links.role(print(number)) {
            Role::First(turn) => turn,
            Role::Waits | Role::Link(_) => panic!("{number} is no first"),
        }
    }

    #[test]
    fn a_first_name_that_fails_lets_the_next_be_the_first() {
        let links = Links::default();
        let turn = first(&links, 1);
        assert!(matches!(links.role(print(1)), Role::Waits));
        drop(turn);
        first(&links, 1).stands(b"a/b");
        let Role::Link(path) = links.role(print(1)) else {
            panic!("it stands");
        };
        assert_eq!(path, b"a/b");
        links.give_up(print(1));
        first(&links, 1);
    }

    #[test]
    fn memory_stays_bounded_and_what_was_forgotten_is_known_to_be() {
        let links = Links::default();
        let many = 100_000;
        for number in 0..many {
            let turn = first(&links, number);
            assert!(!turn.may_be_copy || number > 20_000, "{number}");
            turn.stands(&[b'x'; 100]);
        }
        assert!(links.0.borrow().bytes <= REMEMBERED_BYTES_MAX);
        assert!(links.0.borrow().groups.len() < 50_000);
        assert!(first(&links, 0).may_be_copy, "it was forgotten");
        assert!(matches!(links.role(print(many - 1)), Role::Link(_)));
        // Marks are many more than groups: hardly any new one is taken for a forgotten one.
        let doubted = (many..2 * many).filter(|number| first(&links, *number).may_be_copy);
        assert!(doubted.count() < 2_000);
    }
}
