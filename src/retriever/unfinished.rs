//! Going on: the note in the target, which files of an earlier run count, and when what was written is made durable.
//!
//! An earlier run's file counts when it stands under its final name with the right size and time, and its bytes cannot have
//! been lost since: the machine has not been restarted, or they were on stable storage before. Until a file has its name it
//! is begun anew, except for large ones, of which the note tells how far they are.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::io;

use serde_bytes::ByteBuf;

use super::present::Existing;
use super::restore::Request;
use super::{RetrieveError, Source};
use crate::format::index::path_order;
use crate::format::unfinished::{NOTE_PARTS_MAX, Unfinished, UnfinishedPart};
use crate::retriever::files::Work;
use crate::world::{Entropy, Tree, World};

/// What may be lost by a power cut: after so many bytes all that was written is made durable and noted.
const DURABLE_EVERY_BYTES: u64 = 4 << 30;
/// A file of at least this length is gone on with when it is not whole.
pub(super) const PART_BYTES_MIN: u64 = 64 << 20;
/// What is fetched again of such a file at most, beside what was on its way.
pub(super) const PART_NOTED_EVERY_BYTES: u64 = 8 << 20;

/// The state of a restore that can be gone on with.
pub(super) struct Going {
    /// What an earlier run noted.
    before: Option<Unfinished>,
    note: RefCell<Unfinished>,
    /// The machine runs since the earlier run.
    same_boot: bool,
    not_durable_bytes: Cell<u64>,
}

/// Finds out whether an earlier run is gone on with, and what may be in the target. Nothing is written yet.
pub(super) async fn begin<W: World>(
    world: &W,
    root: &<W::Tree as Tree>::Root,
    request: &Request<'_>,
    is_empty: bool,
) -> Result<(Existing, Option<Going>), RetrieveError> {
    let tree = world.tree();
    let unusable = |why| RetrieveError::Target {
        path: String::from_utf8_lossy(request.target).into_owned(),
        why,
    };
    let noted = tree.note(root).await.map_err(unusable)?;
    let noted = noted.and_then(|bytes| Unfinished::decode(&bytes).ok());
    let wish = wish_of(request);
    let boot = tree.boot().await;
    let path = || String::from_utf8_lossy(request.target).into_owned();
    let (is_another, before) = match noted {
        Some(note) if note.wish == wish => (false, Some(note)),
        other => (other.is_some(), None),
    };
    let may_go_on = |note: &Unfinished| note.began_empty || request.into_nonempty;
    let existing = match (&before, is_empty) {
        // Nothing that was there before may be taken for an earlier run's: everything is fetched.
        (_, false) if request.overwrite => return Ok((Existing::MayGo, None)),
        (Some(note), _) if note.began_empty => Existing::Ours,
        (None, true) => Existing::Nothing,
        (Some(note), _) if may_go_on(note) => Existing::Stays,
        (None, false) if request.into_nonempty => Existing::Stays,
        (None, false) if is_another => return Err(RetrieveError::TargetOfAnother(path())),
        _ => return Err(RetrieveError::TargetNotEmpty(path())),
    };
    let same_boot = boot.is_some() && before.as_ref().is_some_and(|note| note.boot == boot);
    let note = match &before {
        // What a restart put in doubt stays in doubt: only what is durable counts from now on.
        Some(note) => Unfinished {
            boot: boot.filter(|_| same_boot),
            ..note.clone()
        },
        None => Unfinished {
            wish,
            tag: u64::from_le_bytes(world.entropy().bytes()).max(1),
            began_empty: is_empty,
            boot,
            durable: None,
            parts: Vec::new(),
        },
    };
    tree.tag_parts(root, note.tag).await;
    let going = Going {
        before,
        note: RefCell::new(note),
        same_boot,
        not_durable_bytes: Cell::new(0),
    };
    Ok((existing, Some(going)))
}

/// Which snapshot, and what of it.
fn wish_of(request: &Request<'_>) -> [u8; 32] {
    let mut paths: Vec<&Vec<u8>> = request.paths.iter().collect();
    paths.sort_unstable();
    paths.dedup();
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    add(&request.manifest.encode());
    add(request.data_set.unwrap_or_default().as_bytes());
    paths.into_iter().for_each(|path| add(path));
    *hasher.finalize().as_bytes()
}

impl Going {
    /// Whether an earlier run wrote some of what is there.
    pub(super) const fn goes_on(&self) -> bool {
        self.before.is_some()
    }

    /// Whether a whole file of an earlier run at this path cannot have lost its bytes.
    pub(super) fn trusts(&self, path: &[u8]) -> bool {
        let Some(before) = &self.before else {
            return false;
        };
        let is_durable = |mark: &ByteBuf| path_order(path, mark) != Ordering::Greater;
        self.same_boot || before.durable.as_ref().is_some_and(is_durable)
    }

    /// How many bytes of a large file's beginning an earlier run left.
    pub(super) fn bytes_of_part(&self, path: &[u8]) -> u64 {
        let parts = self.before.iter().flat_map(|note| &note.parts);
        let part = parts.into_iter().find(|part| part.path == path);
        part.map_or(0, |part| {
            if self.same_boot {
                part.bytes
            } else {
                part.durable_bytes
            }
        })
    }

    /// Notes how far a large file is.
    pub(super) fn part_is_at(&self, path: &[u8], bytes: u64) {
        let mut note = self.note.borrow_mut();
        if let Some(part) = note.parts.iter_mut().find(|part| part.path == path) {
            part.bytes = bytes;
        } else if note.parts.len() < NOTE_PARTS_MAX {
            note.parts.push(UnfinishedPart {
                path: ByteBuf::from(path.to_vec()),
                bytes,
                durable_bytes: 0,
            });
        }
        // One more than that is only begun anew.
    }

    /// Forgets a large file: it is whole, or given up.
    pub(super) fn part_is_over(&self, path: &[u8]) {
        self.note
            .borrow_mut()
            .parts
            .retain(|part| part.path != path);
    }

    /// Counts what was written; tells when it is time to make it durable.
    pub(super) fn wrote(&self, bytes: u64) -> bool {
        let all = self.not_durable_bytes.get().saturating_add(bytes);
        self.not_durable_bytes.set(all);
        all >= DURABLE_EVERY_BYTES
    }

    fn is_durable_until(&self, mark: Option<&[u8]>, parts: &[UnfinishedPart]) {
        let mut note = self.note.borrow_mut();
        for part in &mut note.parts {
            let then = parts.iter().find(|then| then.path == part.path);
            part.durable_bytes = then.map_or(part.durable_bytes, |then| then.bytes.min(part.bytes));
        }
        let Some(mark) = mark else {
            return;
        };
        let is_further = |old: &ByteBuf| path_order(mark, old) == Ordering::Greater;
        if note.durable.as_ref().is_none_or(is_further) {
            note.durable = Some(ByteBuf::from(mark.to_vec()));
        }
    }
}

impl<W: World, S: Source> Work<W, S> {
    /// Leaves a note of this run: from now on there is something to go on with.
    pub(super) async fn leave_note(&self) -> io::Result<()> {
        let Some(going) = &self.going else {
            return Ok(());
        };
        let note = going.note.borrow().encode();
        let tree = self.world.tree();
        tree.set_note(&self.root, Some(note), true).await
    }

    /// Makes all that was written durable and notes it. With a mark, all up to that path is written.
    pub(super) async fn make_durable(&self, mark: Option<&[u8]>) -> Result<(), RetrieveError> {
        let Some(going) = &self.going else {
            return Ok(());
        };
        going.not_durable_bytes.set(0);
        let parts = going.note.borrow().parts.clone();
        let synced = self.world.tree().sync(&self.root).await;
        synced.map_err(RetrieveError::Sync)?;
        going.is_durable_until(mark, &parts);
        self.save_note(true).await;
        Ok(())
    }

    /// Whether it is time to make what was written durable.
    pub(super) fn should_be_durable(&self) -> bool {
        self.going.as_ref().is_some_and(|going| going.wrote(0))
    }

    /// Writes the note. Without it only less could be gone on with.
    pub(super) async fn save_note(&self, durable: bool) {
        if let Some(going) = &self.going {
            let note = going.note.borrow().encode();
            let _ = self
                .world
                .tree()
                .set_note(&self.root, Some(note), durable)
                .await;
        }
    }

    /// The end: nothing is unfinished any more.
    pub(super) async fn remove_note(&self) -> Result<(), RetrieveError> {
        let removed = self.world.tree().set_note(&self.root, None, true).await;
        removed.map_err(RetrieveError::Sync)
    }

    /// Counts what was written.
    pub(super) fn wrote(&self, bytes: u64) {
        if let Some(going) = &self.going {
            going.wrote(bytes);
        }
    }

    /// Removes what an earlier run left half-written in a directory in which all is done.
    pub(super) async fn sweep(&self, path: &[u8]) {
        if self.going.as_ref().is_some_and(Going::goes_on) {
            // At worst a file stays whose name says what it is.
            let _ = self.world.tree().sweep_parts(&self.root, path).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn going(same_boot: bool, durable: Option<&str>) -> Going {
        let note = Unfinished {
            wish: [0; 32],
            tag: 1,
            began_empty: true,
            boot: None,
            durable: durable.map(|path| ByteBuf::from(path.as_bytes())),
            parts: vec![UnfinishedPart {
                path: ByteBuf::from(b"film".to_vec()),
                bytes: 100,
                durable_bytes: 40,
            }],
        };
        Going {
            before: Some(note.clone()),
            note: RefCell::new(note),
            same_boot,
            not_durable_bytes: Cell::new(0),
        }
    }

    #[test]
    fn after_a_restart_of_the_machine_only_what_was_durable_counts() {
        let same = going(true, None);
        assert!(same.trusts(b"z") && same.bytes_of_part(b"film") == 100);
        let other = going(false, Some("d/m"));
        assert!(other.trusts(b"d/m") && other.trusts(b"d/a/x") && other.trusts(b"d"));
        assert!(!other.trusts(b"d/n") && !other.trusts(b"d-"));
        assert_eq!(
            (other.bytes_of_part(b"film"), other.bytes_of_part(b"x")),
            (40, 0)
        );
        assert!(!going(false, None).trusts(b"a"));
    }

    #[test]
    fn a_mark_only_goes_forward_and_parts_are_durable_as_far_as_they_were_before_the_sync() {
        let going = going(true, Some("m"));
        let then = going.note.borrow().parts.clone();
        going.part_is_at(b"film", 900);
        going.is_durable_until(Some(b"c"), &then);
        assert_eq!(
            going.note.borrow().durable.as_deref().map(Vec::as_slice),
            Some(&b"m"[..])
        );
        assert_eq!(going.note.borrow().parts[0].durable_bytes, 100);
        going.is_durable_until(Some(b"n/x"), &[]);
        assert_eq!(
            going.note.borrow().durable.as_deref().map(Vec::as_slice),
            Some(&b"n/x"[..])
        );
        going.part_is_over(b"film");
        assert!(going.note.borrow().parts.is_empty());
    }
}
