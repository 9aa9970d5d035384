//! Giving space back: which snapshots leave history, and what keepers need not keep for this author any more.
//!
//! The author compares. Of all snapshots that stay it lists what they need (`needed`), asks a keeper what it claims there, and gives up, in
//! signed words, what is not on the list (`surplus`). Nothing is reckoned from what was said before, so interrupted snapshots and whatever
//! else nobody needs come to light too. `choice` says which snapshots may leave, `history` who knows which, `forgotten` remembers what was
//! let go, `undo` takes it back.
//!
//! What always holds: if a manifest, node or page of one snapshot that stays cannot be read, nothing is given up anywhere. What was let go
//! is written down before a keeper hears of it. A keeper hears of snapshots before it hears of their chunks. Nothing is given up by a Box
//! whose memory is behind what others know of it. No snapshot is taken meanwhile: whoever calls sees to that.

mod choice;
mod forgotten;
mod history;
mod needed;
mod sorted;
mod surplus;
mod undo;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeSet;

pub use choice::{Stays, Wish};
pub use forgotten::{Forgotten, Gone};
pub use history::{History, Known};
pub use undo::{Cancelled, cancel, undo};

use choice::{SetsMet, staying};
use needed::{Needed, NeededBuilder};
use surplus::Beside;

use super::asked::AuthorIdentity;
use super::closure::CatchUpError;
use super::numbers::State;
use crate::format::compare::Prefix;
use crate::format::message::Refusal;
use crate::format::release::{Release, Waiting};
use crate::format::roster::Retention;
use crate::format::runs::Runs;
use crate::keeper::{Ask, AskError, Keepers};
use crate::terms::limits::RELEASE_RUNS_MAX;
use crate::terms::{PeerKey, SnapshotNumber};
use crate::world::{Clock, Entropy, World};

/// How often a keeper is asked anew since this Box claimed something there meanwhile.
const TRIES: usize = 5;
/// Where no name stands: asked for, it brings how things are and no claims.
const BEHIND_ALL: Prefix = [0xff; size_of::<Prefix>()];

/// Why nothing was given up.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// This Box's own disk.
    #[error("this Box's own disk: {0}; nothing was given up")]
    Io(#[from] std::io::Error),
    /// There is no snapshot.
    #[error("this Box has no snapshot yet; nothing was given up")]
    NothingYet,
    /// Others know of a snapshot that this Box does not remember.
    #[error(
        "others know of a snapshot that this Box does not remember (was its disk restored?); nothing was given up; take a snapshot first"
    )]
    MemoryBehind,
    /// It lost its memory once, and not everybody can say what it knows.
    #[error(
        "this Box once lost its memory, so every Box must be in reach to say which snapshots it knows; nothing was given up; \
         `reserve peers` shows who is not"
    )]
    OthersMayKnow,
    /// No accepted snapshot would stay.
    #[error("no accepted snapshot would stay; nothing was given up")]
    NothingWouldStay,
    /// A snapshot's manifest cannot be had.
    #[error(
        "snapshot {} cannot be read ({why}); nothing was given up; if it can never be read again, have it leave with \
         `reserve forget {}`", number.0, number.0
    )]
    Unreadable {
        /// Which.
        number: SnapshotNumber,
        /// Why.
        why: CatchUpError,
    },
    /// A part of an index cannot be had.
    #[error("a snapshot that stays cannot be read ({0}); nothing was given up")]
    Index(#[from] CatchUpError),
    /// A page tree that no author makes.
    #[error("an index is higher than any can be; nothing was given up")]
    TooHigh,
    /// There is no such snapshot.
    #[error("there is no snapshot \"{0}\" of this Box; nothing was given up")]
    Unknown(String),
    /// Several begin so.
    #[error(
        "several snapshots of this Box are meant by \"{0}\"; nothing was given up; write more of the ID"
    )]
    Ambiguous(String),
    /// More were let go than can be remembered.
    #[error(
        "as many snapshots wait to be forgotten as can be; nothing was given up; wait until keepers have let them go"
    )]
    TooMany,
}

/// Who says what leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The rule of retention.
    Rule(Retention),
    /// A person: numbers, or starts of IDs.
    These(Vec<String>),
    /// Nobody: what was forgotten before is told to those who did not hear it.
    Nothing,
}

/// How far it is, shared with whoever shows it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Parts of indexes that were read.
    pub parts: Cell<u64>,
    /// About so many there are, once those above the last were read.
    pub parts_all: Cell<Option<u64>>,
    /// The keeper that is asked what it claims, if it came so far.
    pub keeper: Cell<Option<PeerKey>>,
    /// Claims that were compared.
    pub claims: Cell<u64>,
}

/// What it works with.
pub struct Means<'a, W: World, K: Keepers> {
    /// The world.
    pub world: &'a W,
    /// The way to keepers.
    pub keepers: &'a K,
    /// Whose snapshots.
    pub identity: &'a AuthorIdentity,
    /// How far it is.
    pub progress: &'a Progress,
}

/// What was decided, and what is needed of all that stays. Nothing was said to anybody yet.
pub struct Decided<W: World> {
    /// What everybody in reach knows.
    pub history: History,
    /// Snapshots that leave now, rising.
    pub leaving: Vec<Known>,
    /// Those that were asked for and stay, and why.
    pub staying: Vec<(Known, Stays)>,
    incarnation: [u8; 8],
    forgotten: Forgotten,
    needed: Needed<W::Disk>,
}

/// What a keeper holds that nobody needs, or was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// Snapshots of which it is told that they leave.
    pub numbers: Runs,
    /// Chunks that are not needed.
    pub chunks: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// What waits there by now.
    pub waiting: Option<Waiting>,
}

impl<W: World, K: Keepers> Means<'_, W, K> {
    /// Decides what leaves and lists what is needed of all that stays.
    ///
    /// # Errors
    /// Whatever stands in the way: then nothing may be given up.
    pub async fn decide(&self, asked: &Asked) -> Result<Decided<W>, ReleaseError> {
        let disk = self.world.disk();
        sorted::clean(disk).await?;
        let state = State::load(disk).await?;
        let mut forgotten = Forgotten::load(disk).await?;
        let history = History::collect(self.keepers, &state).await;
        let incarnation = history.check(&state)?;
        let stays = history.snapshots().iter();
        let stays: Vec<Known> = stays
            .filter(|known| !forgotten.has(known.number, &known.hash))
            .copied()
            .collect();
        if !stays.iter().any(|known| known.is_accepted) {
            return Err(ReleaseError::NothingWouldStay);
        }
        let wish = self.wish(asked, &stays)?;
        let reasons = staying(&wish, &stays.iter().map(Known::aged).collect::<Vec<_>>());
        let is_named = |at: usize| matches!(&wish, Wish::These(named) if named.contains(&at));

        let id = u64::from_le_bytes(self.world.entropy().bytes());
        let keyring = &self.identity.keyring;
        let mut needed = NeededBuilder::new(disk, id, self.keepers, keyring, self.progress);
        let (mut leaving, mut kept) = (Vec::new(), Vec::new());
        let mut sets = SetsMet::default();
        for (at, (known, reason)) in stays.iter().zip(reasons).enumerate().rev() {
            let manifest = match needed.manifest(known.manifest, known.number).await {
                Ok(manifest) => manifest,
                // Nobody has it, and a person said so: a rule cannot know whether it is the last of a data set.
                Err(_) if is_named(at) && reason.is_none() && history.is_complete() => {
                    leaving.push(*known);
                    continue;
                }
                Err(why) => return Err((known.number, why).into()),
            };
            let names = manifest.data_sets.iter().map(|set| set.name.clone());
            let names: Vec<_> = names.collect();
            let last_of = sets.last_of(&names, known.is_accepted).cloned();
            match reason.or(last_of.map(Stays::LastOf)) {
                None => leaving.push(*known),
                Some(why) => {
                    sets.note(&names, known.is_accepted);
                    needed.add(known.manifest, &manifest).await?;
                    if is_named(at) {
                        kept.push((*known, why));
                    }
                }
            }
        }
        let needed = needed.finish().await?;
        leaving.reverse();
        kept.reverse();
        let gone = leaving.iter();
        if !forgotten.add(gone.map(|known| Gone::new(known.number, &known.hash))) {
            return Err(ReleaseError::TooMany);
        }
        Ok(Decided {
            history,
            leaving,
            staying: kept,
            incarnation,
            forgotten,
            needed,
        })
    }

    fn wish(&self, asked: &Asked, stays: &[Known]) -> Result<Wish, ReleaseError> {
        Ok(match asked {
            Asked::Rule(rule) => Wish::Rule(*rule),
            Asked::Nothing => Wish::Nothing,
            Asked::These(texts) => {
                let meant = texts.iter().map(|text| meant(text, stays));
                Wish::These(meant.collect::<Result<_, _>>()?)
            }
        })
    }

    /// What a keeper holds that would not be needed. Nothing is said to it.
    ///
    /// # Errors
    /// As it answers, or if this Box's own disk fails.
    pub async fn look(
        &self,
        decided: &Decided<W>,
        keeper: PeerKey,
    ) -> Result<Result<Share, AskError>, ReleaseError> {
        self.pass(decided, keeper, false).await
    }

    /// Writes down what leaves. From here on nothing of this Box claims it again, and every keeper is told sooner or later.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn commit(&self, decided: &mut Decided<W>) -> Result<(), ReleaseError> {
        let members: Vec<PeerKey> = self.keepers.members().iter().map(|one| one.key).collect();
        decided.forgotten.forget_keepers_but(&members);
        if decided.history.is_complete() {
            // What nobody lists any more cannot come back.
            let listed = decided.history.snapshots().iter();
            let listed = listed.map(|known| Gone::new(known.number, &known.hash));
            let listed: BTreeSet<Gone> = listed.collect();
            decided.forgotten.take_back(|gone| !listed.contains(gone));
        }
        Ok(decided.forgotten.store(self.world.disk()).await?)
    }

    /// Tells a keeper which snapshots leave and what it need not keep, in signed words.
    ///
    /// # Errors
    /// As it answers, or if this Box's own disk fails: then it was told a part, or nothing.
    pub async fn tell(
        &self,
        decided: &mut Decided<W>,
        keeper: PeerKey,
    ) -> Result<Result<Share, AskError>, ReleaseError> {
        let told = self.pass(decided, keeper, true).await?;
        let now = self.world.clock().wall();
        decided.forgotten.told(keeper, now, told.is_err());
        decided.forgotten.store(self.world.disk()).await?;
        Ok(told)
    }

    async fn pass(
        &self,
        decided: &Decided<W>,
        peer: PeerKey,
        says: bool,
    ) -> Result<Result<Share, AskError>, ReleaseError> {
        // Who did not say which snapshots it lists may list one that nobody else knows.
        let Some(keeper) = self
            .keepers
            .reach(peer)
            .filter(|_| decided.history.has_answered(peer))
        else {
            return Ok(Err(AskError::Gone));
        };
        self.progress.keeper.set(Some(peer));
        let mut told = Err(AskError::Refused(Refusal::ClaimedSince));
        for _ in 0..TRIES {
            self.progress.claims.set(0);
            told = self.compare(decided, peer, &keeper, says).await?;
            if told != Err(AskError::Refused(Refusal::ClaimedSince)) {
                break;
            }
        }
        Ok(told)
    }

    async fn compare(
        &self,
        decided: &Decided<W>,
        peer: PeerKey,
        keeper: &K::Keeper,
        says: bool,
    ) -> Result<Result<Share, AskError>, ReleaseError> {
        let mut share = Share {
            numbers: decided.history.to_tell(peer, &decided.forgotten),
            ..Share::default()
        };
        if share.numbers.runs() > RELEASE_RUNS_MAX {
            return Err(ReleaseError::TooMany);
        }
        let mut beside = Beside::new(decided.needed.reader());
        let (mut after, mut basis) = (None, None);
        loop {
            let page = match keeper.claimed(after).await {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            if *basis.get_or_insert(page.basis) != page.basis {
                return Ok(Err(Refusal::ClaimedSince.into()));
            }
            let Some(surplus) = beside.surplus(page.claims()).await? else {
                return Ok(Err(AskError::Nonsense));
            };
            if says {
                let statement = |numbers: Runs, names: Vec<u8>| {
                    let release = Release {
                        reserve: self.identity.reserve,
                        author: self.identity.peer(),
                        keeper: peer,
                        incarnation: decided.incarnation,
                        basis: page.basis,
                        numbers,
                        names: names.into(),
                    };
                    release.sign(&self.identity.signing)
                };
                // Snapshots leave before their chunks do.
                if after.is_none() && !share.numbers.is_empty() {
                    let signed = statement(share.numbers.clone(), Vec::new());
                    if let Err(error) = keeper.release(signed).await {
                        return Ok(Err(error));
                    }
                }
                if surplus.chunks > 0 {
                    let signed = statement(Runs::default(), surplus.names);
                    if let Err(error) = keeper.release(signed).await {
                        return Ok(Err(error));
                    }
                }
            }
            share.chunks += surplus.chunks;
            share.bytes += surplus.bytes;
            let last = page.claims().last().map(|(prefix, _)| prefix);
            let more = page.claims().count() as u64;
            self.progress.claims.set(self.progress.claims.get() + more);
            match last.filter(|_| page.more) {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        share.waiting = match keeper.claimed(Some(BEHIND_ALL)).await {
            Ok(page) => page.waiting,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(share))
    }
}

impl<W: World> Decided<W> {
    /// Removes the lists that were made for it.
    ///
    /// # Errors
    /// If the disk fails; the next one removes them.
    pub async fn clean(self, world: &W) -> std::io::Result<()> {
        drop(self.needed);
        sorted::clean(world.disk()).await
    }
}

/// The place of the snapshot that a text means: a number, or the start of an ID.
fn meant(text: &str, snapshots: &[Known]) -> Result<usize, ReleaseError> {
    let number = text.parse().ok().map(SnapshotNumber);
    let by_number = |known: &Known| Some(known.number) == number;
    let by_id = |known: &Known| {
        known
            .hash
            .to_string()
            .starts_with(&text.to_ascii_lowercase())
    };
    let places = |means: &dyn Fn(&Known) -> bool| -> Vec<usize> {
        let meant = snapshots.iter().enumerate();
        meant
            .filter(|(_, one)| means(one))
            .map(|(at, _)| at)
            .collect()
    };
    let mut found = places(&by_number);
    if found.is_empty() && text.len() >= ID_DIGITS_MIN {
        found = places(&by_id);
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(ReleaseError::Unknown(text.to_owned())),
        // Twins stay in any case; the first says so.
        [first, ..] if number.is_some() => Ok(*first),
        _ => Err(ReleaseError::Ambiguous(text.to_owned())),
    }
}

/// Fewer digits are a slip rather than an ID.
const ID_DIGITS_MIN: usize = 4;

/// What waits on a keeper, if it can be asked.
///
/// # Errors
/// As it answers.
pub async fn waiting<A: Ask>(keeper: &A) -> Result<Option<Waiting>, AskError> {
    Ok(keeper.claimed(Some(BEHIND_ALL)).await?.waiting)
}
