//! The author's memory of its own history: which snapshot was the last, and what comes next.
//!
//! A restored image must not use numbers again, so what keepers know counts as much as what this Box remembers.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use smol_str::SmolStr;

use super::footing::Footing;
use super::sample::Met;
use crate::format::head::SignedHead;
use crate::format::{decode_file, encode_file};
use crate::terms::canary::{self, Canary};
use crate::terms::{ConsistencyLabel, HeadHash, SnapshotNumber, Stamp};
use crate::world::Disk;

const STATE: &str = "author's state";
const DIR: &str = "author";
const PATH: &str = "author/state";

/// What a Box remembers of its last snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// The last head that was signed, encoded.
    pub head: Option<ByteBuf>,
    /// The data sets of the last accepted snapshot.
    pub accepted: Vec<AcceptedSet>,
    /// What the last snapshot waits for a person to accept.
    pub pending: Option<Loss>,
    /// BLAKE3 of the last snapshot's data sets as its manifest has them: equal when nothing changed.
    pub contents: Option<[u8; 32]>,
    /// When it was last found that nothing had changed since; data, not a reason.
    pub looked: Option<Stamp>,
}

/// A data set as it was when nothing was suspicious.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedSet {
    /// Its name.
    pub name: SmolStr,
    /// Where it was.
    pub path: ByteBuf,
    /// Its regular files.
    pub files: u64,
    /// Their lengths.
    pub bytes: u64,
    /// What it stood on.
    pub footing: Footing,
    /// What could be expected of it.
    pub label: ConsistencyLabel,
    /// What was taken, and when.
    pub taken: Stamp,
}

/// What a snapshot lost, suspiciously.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Much is gone, or another file system is in its place; over when it is back.
    Gone,
    /// Much was rewritten at once; only a person can tell.
    Rewritten,
}

impl State {
    /// Reads it; what is missing or damaged is forgotten, which is safe: keepers are asked before anything is signed.
    pub async fn load<D: Disk>(disk: &D) -> std::io::Result<Self> {
        let bytes = disk.read_small(PATH).await?;
        Ok(bytes
            .and_then(|bytes| decode_file(STATE, &bytes).ok())
            .unwrap_or_default())
    }

    /// Writes it, durable when it returns.
    pub async fn store<D: Disk>(&self, disk: &D) -> std::io::Result<()> {
        disk.make_dir(DIR).await?;
        disk.replace_small(PATH, &encode_file(self), false).await
    }

    /// The last head that was signed.
    #[must_use]
    pub fn last(&self) -> Option<SignedHead> {
        SignedHead::decode(self.head.as_ref()?).ok()
    }
}

/// Where the next head stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Its incarnation.
    pub incarnation: [u8; 8],
    /// Its number.
    pub number: SnapshotNumber,
    /// The one before it.
    pub previous: Option<HeadHash>,
}

/// What comes after what this Box remembers and what keepers know. `fresh` is a random incarnation, used when this Box's
/// memory is behind or contradicted. Where a person chose against what this Box remembers, it goes on from what stands `instead`.
#[must_use]
pub fn next(
    remembered: Option<&SignedHead>,
    known: &[SignedHead],
    instead: Option<&SignedHead>,
    fresh: [u8; 8],
) -> Next {
    let highest = |heads: &mut dyn Iterator<Item = &SignedHead>| {
        let numbers = heads.map(|head| head.head.number.0);
        SnapshotNumber(numbers.max().unwrap_or(0).saturating_add(1))
    };
    if let Some(instead) = instead {
        return Next {
            incarnation: fresh,
            number: highest(&mut known.iter().chain(remembered).chain([instead])),
            previous: Some(instead.hash()),
        };
    }
    let highest_known = known.iter().max_by_key(|head| head.head.number);
    let is_contradicted = |mine: &SignedHead| {
        known.iter().any(|other| {
            other.head.number > mine.head.number
                || (other.head.number == mine.head.number && other.hash() != mine.hash())
        })
    };
    match remembered {
        Some(mine) if !is_contradicted(mine) => Next {
            incarnation: mine.head.incarnation,
            number: SnapshotNumber(mine.head.number.0.saturating_add(1)),
            previous: Some(mine.hash()),
        },
        remembered => {
            // Of two of one number this Box goes on from its own: that is what it holds.
            let before = highest_known
                .into_iter()
                .chain(remembered)
                .max_by_key(|head| head.head.number);
            Next {
                incarnation: fresh,
                number: highest(&mut before.into_iter()),
                previous: before.map(SignedHead::hash),
            }
        }
    }
}

/// What the walk of a data set saw, compared with the index before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Files of the index before.
    pub files_before: u64,
    /// Of these, no longer there.
    pub gone: u64,
    /// Files at new paths whose contents were there before: renamed or moved, so not gone.
    pub moved: u64,
    /// Files of the index before that have other contents.
    pub rewritten: u64,
    /// What is still there, under whatever names, of what was drawn when the data set was accepted.
    pub met: Met,
}

/// What keepers know of the last accepted snapshot, when this Box itself remembers none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recalled {
    /// There was none.
    Nothing,
    /// There was one; what it held cannot be had now.
    Unknown,
    /// Its data sets with their files.
    Sets(Vec<(SmolStr, u64)>),
}

/// What is lost against what others remember. A data set that this Box does not have counts as well: who goes on for another
/// Box may have forgotten one.
#[must_use]
pub fn loss_since(recalled: &Recalled, now: &[(AcceptedSet, Seen)]) -> Option<Loss> {
    let is_lost = match recalled {
        Recalled::Nothing => false,
        Recalled::Unknown => true,
        Recalled::Sets(before) => before.iter().any(|(name, files)| {
            let here = now.iter().find(|(set, _)| set.name == *name);
            let left = here.map_or(0, |(set, _)| set.files);
            (left == 0 && *files > 0) || is_much(files.saturating_sub(left), *files, 10)
        }),
    };
    is_lost.then_some(Loss::Gone)
}

/// Few enough to be an evening's work of tidying, whatever part of the whole.
const FEW: u64 = 20;

/// What is lost so suspiciously that `latest` must not mean this snapshot before a person looked. Each data set is judged
/// by itself: one that lost everything does not hide behind a larger one.
#[must_use]
pub fn loss(state: &State, now: &[(AcceptedSet, Seen)]) -> Option<Loss> {
    if canary::sings(Canary::AcceptEmptiness) {
        return None;
    }
    if state.pending == Some(Loss::Rewritten) {
        return state.pending;
    }
    let is_less = |before: &AcceptedSet| {
        now.iter()
            .find(|(set, _)| set.name == before.name)
            .is_some_and(|(set, _)| {
                let is_emptied = set.files == 0 && before.files > 0;
                let gone = before.files.saturating_sub(set.files);
                is_emptied || is_much(gone, before.files, 10)
            })
    };
    if state.accepted.iter().any(is_less) {
        return Some(Loss::Gone);
    }
    // As many files as before may be strange ones: what is gone is back when it is there itself.
    let is_missing = |before: &AcceptedSet| {
        now.iter()
            .find(|(set, _)| set.name == before.name)
            .is_some_and(|(_, seen)| is_much(seen.met.missing_of(before.files), before.files, 10))
    };
    if state.pending == Some(Loss::Gone) && state.accepted.iter().any(is_missing) {
        return Some(Loss::Gone);
    }
    let is_gone =
        |seen: &Seen| is_much(seen.gone.saturating_sub(seen.moved), seen.files_before, 10);
    // What is missing against the index of a snapshot that itself waits says nothing.
    if state.pending.is_none() && now.iter().any(|(_, seen)| is_gone(seen)) {
        return Some(Loss::Gone);
    }
    let is_rewritten = |seen: &Seen| is_much(seen.rewritten, seen.files_before, 2);
    now.iter()
        .any(|(_, seen)| is_rewritten(seen))
        .then_some(Loss::Rewritten)
}

/// More than one part in `part_of`, and more than a few.
fn is_much(many: u64, of: u64, part_of: u64) -> bool {
    many > FEW && many.saturating_mul(part_of) > of
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::format::head::Head;
    use crate::terms::{ChunkId, PeerKey, ReserveId, Stamp};

    fn head(number: u64, manifest: u8) -> SignedHead {
        let key = SigningKey::from_bytes(&[3; 32]);
        let head = Head {
            reserve: ReserveId([1; 16]),
            author: PeerKey(key.verifying_key().to_bytes()),
            incarnation: [4; 8],
            number: SnapshotNumber(number),
            previous: None,
            manifest: ChunkId([manifest; 32]),
            taken: Stamp::default(),
            chunks: 1,
            sealed_bytes: 1,
            accepted: true,
        };
        SignedHead::sign(head, &key)
    }

    #[test]
    fn a_box_that_remembers_goes_on_in_its_incarnation() {
        let mine = head(7, 1);
        let next = next(Some(&mine), &[head(6, 2), mine.clone()], None, [9; 8]);
        assert_eq!(next.incarnation, [4; 8]);
        assert_eq!(next.number, SnapshotNumber(8));
        assert_eq!(next.previous, Some(mine.hash()));
    }

    #[test]
    fn a_restored_image_never_uses_a_number_again() {
        let newer = head(9, 2);
        for remembered in [None, Some(&head(7, 1))] {
            let next = next(remembered, &[head(3, 1), newer.clone()], None, [9; 8]);
            assert_eq!(next.incarnation, [9; 8]);
            assert_eq!(next.number, SnapshotNumber(10));
            assert_eq!(next.previous, Some(newer.hash()));
        }
    }

    #[test]
    fn another_head_of_the_same_number_starts_a_new_incarnation() {
        let next = next(Some(&head(7, 1)), &[head(7, 2)], None, [9; 8]);
        assert_eq!((next.incarnation, next.number), ([9; 8], SnapshotNumber(8)));
        assert_eq!(next.previous, Some(head(7, 1).hash()), "it has its own");
    }

    #[test]
    fn where_a_person_chose_against_it_a_box_goes_on_from_what_was_chosen() {
        let (mine, chosen) = (head(9, 1), head(7, 2));
        let known = [mine.clone(), head(9, 3)];
        let next = next(Some(&mine), &known, Some(&chosen), [9; 8]);
        assert_eq!(
            (next.incarnation, next.number),
            ([9; 8], SnapshotNumber(10))
        );
        assert_eq!(next.previous, Some(chosen.hash()));
    }

    #[test]
    fn the_first_snapshot_is_number_one() {
        let next = next(None, &[], None, [9; 8]);
        assert_eq!((next.number, next.previous), (SnapshotNumber(1), None));
    }

    fn set(name: &str, files: u64) -> AcceptedSet {
        AcceptedSet {
            name: name.into(),
            path: ByteBuf::from(b"/d".to_vec()),
            files,
            bytes: 0,
            footing: Footing {
                magic: 1,
                device: 2,
                serial: 3,
                inode: 4,
                is_dir: true,
            },
            label: ConsistencyLabel::Crash,
            taken: Stamp::default(),
        }
    }

    fn seen(files_before: u64, gone: u64, moved: u64, rewritten: u64) -> Seen {
        Seen {
            files_before,
            gone,
            moved,
            rewritten,
            met: Met::default(),
        }
    }

    fn judged(state: &State, files: u64, seen: Seen) -> Option<Loss> {
        loss(state, &[(set("d", files), seen)])
    }

    #[test]
    fn much_gone_is_suspicious_and_a_little_is_not() {
        let none = State::default();
        assert_eq!(judged(&none, 79, seen(100, 21, 0, 0)), Some(Loss::Gone));
        assert_eq!(judged(&none, 10, seen(30, 20, 0, 0)), None);
        assert_eq!(judged(&none, 900, seen(1000, 100, 0, 0)), None);
        assert_eq!(
            judged(&none, 100, seen(100, 0, 0, 51)),
            Some(Loss::Rewritten)
        );
        assert_eq!(judged(&none, 100, seen(100, 0, 0, 50)), None);
    }

    #[test]
    fn what_was_moved_is_not_gone_and_what_replaces_it_does_not_hide_it() {
        let state = State {
            accepted: vec![set("d", 100)],
            ..State::default()
        };
        assert_eq!(judged(&state, 100, seen(100, 60, 60, 0)), None);
        // As many files as before, under other names and with other contents: what a thief of files does.
        assert_eq!(judged(&state, 100, seen(100, 60, 0, 0)), Some(Loss::Gone));
    }

    #[test]
    fn a_small_data_set_does_not_hide_behind_a_large_one() {
        let state = State {
            accepted: vec![set("large", 100_000), set("small", 60)],
            ..State::default()
        };
        let large = (set("large", 100_000), seen(100_000, 0, 0, 0));
        for (small, expected) in [
            ((set("small", 30), seen(60, 30, 0, 0)), Some(Loss::Gone)),
            ((set("small", 60), seen(60, 30, 0, 0)), Some(Loss::Gone)),
            (
                (set("small", 60), seen(60, 0, 0, 31)),
                Some(Loss::Rewritten),
            ),
            ((set("small", 55), seen(60, 5, 0, 0)), None),
        ] {
            assert_eq!(loss(&state, &[large.clone(), small]), expected);
        }
    }

    #[test]
    fn emptiness_is_suspicious_however_few_files_there_were() {
        let state = State {
            accepted: vec![set("d", 3)],
            ..State::default()
        };
        assert_eq!(judged(&state, 0, seen(3, 3, 0, 0)), Some(Loss::Gone));
        assert_eq!(judged(&state, 2, seen(3, 1, 0, 0)), None);
        assert_eq!(loss(&state, &[]), None, "a person removed the data set");
    }

    #[test]
    fn a_few_files_may_be_rewritten_all_at_once() {
        // A dump of a database, every hour.
        assert_eq!(judged(&State::default(), 1, seen(1, 0, 0, 1)), None);
        assert_eq!(judged(&State::default(), 20, seen(20, 0, 0, 20)), None);
    }

    #[test]
    fn strange_files_do_not_make_up_for_those_that_are_gone() {
        let state = State {
            accepted: vec![set("d", 100)],
            pending: Some(Loss::Gone),
            ..State::default()
        };
        let met = |missing| Seen {
            met: Met {
                drawn: 100,
                missing,
            },
            ..seen(100, 0, 0, 0)
        };
        assert_eq!(judged(&state, 100, met(40)), Some(Loss::Gone));
        assert_eq!(judged(&state, 100, met(3)), None);
    }

    #[test]
    fn what_is_gone_is_forgiven_when_it_is_back_and_what_was_rewritten_is_not() {
        let gone = State {
            accepted: vec![set("d", 100)],
            pending: Some(Loss::Gone),
            ..State::default()
        };
        assert_eq!(judged(&gone, 50, seen(50, 0, 0, 0)), Some(Loss::Gone));
        assert_eq!(judged(&gone, 100, seen(50, 0, 0, 0)), None);
        let rewritten = State {
            pending: Some(Loss::Rewritten),
            ..gone
        };
        assert_eq!(
            judged(&rewritten, 100, seen(100, 0, 0, 0)),
            Some(Loss::Rewritten)
        );
    }
}
