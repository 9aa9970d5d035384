//! A keeper as others see it, local and remote alike, and the directory of all of them.

use std::rc::Rc;

use smol_str::SmolStr;

use crate::format::compare::{Marks, Prefix, Prints, Unmatched};
use crate::format::head::SignedHead;
use crate::format::message::{Refusal, Room};
use crate::format::release::{ClaimedPage, SignedRelease};
use crate::terms::{ChunkId, PeerKey, SnapshotNumber};

/// Why a keeper did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The session ended before the answer came; whether it was done is not known.
    #[error("the connection to the keeper ended; what it acknowledged before is safe")]
    Gone,
    /// It lives, but left a question without an answer or a word for too long; whether it was done is not known.
    #[error(
        "the keeper lives but did not answer for {} minutes; its disk may hang; what it acknowledged before is safe",
        crate::terms::limits::ANSWER_SECONDS_MAX / 60
    )]
    Unanswered,
    /// The keeper said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The keeper answered something that is no answer.
    #[error("the keeper's answer makes no sense; the connection was closed")]
    Nonsense,
}

/// One keeper. Every yes it gives is durable on its side.
#[allow(async_fn_in_trait)] // one thread: no Send bounds are wanted
pub trait Ask: Clone + 'static {
    /// Which of these it has, verified; each yes is a claim of the author. At most `ASK_IDS_MAX`.
    async fn have(&self, author: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError>;
    /// Hands it a record of this author (the asking Box) to keep.
    async fn put(&self, id: ChunkId, record: Rc<Vec<u8>>) -> Result<(), AskError>;
    /// The record as it sent it: the caller verifies it against its name. `None` if it is not there or not whole.
    async fn get(&self, id: ChunkId) -> Result<Option<Vec<u8>>, AskError>;
    /// Has it fetch these from other keepers for this author; tells which it has now. At most `ASK_IDS_MAX`.
    async fn pull(&self, author: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError>;
    /// How much room it has, and how much of it the asking Box uses.
    async fn room(&self) -> Result<Room, AskError>;
    /// Hands it a snapshot's head to keep.
    async fn put_head(&self, head: SignedHead) -> Result<(), AskError>;
    /// Up to a hundred heads it has, oldest first: of one author after a number, or the newest of every author.
    async fn heads(
        &self,
        author: Option<PeerKey>,
        after: SnapshotNumber,
    ) -> Result<Vec<SignedHead>, AskError>;
    /// What the asking Box claims there as the author and has not given up, so many names behind one; and what of it waits.
    async fn claimed(&self, _after: Option<Prefix>) -> Result<ClaimedPage, AskError> {
        Err(AskError::Refused(Refusal::NotUnderstood))
    }
    /// Gives up what the asking Box does not need there any more.
    async fn release(&self, _release: SignedRelease) -> Result<(), AskError> {
        Err(AskError::Refused(Refusal::NotUnderstood))
    }
}

/// One keeper that can be compared with.
#[allow(async_fn_in_trait)]
pub trait Compare: Clone + 'static {
    /// Which of these parts differ there.
    async fn prints(&self, prints: Prints) -> Result<Vec<bool>, AskError>;
    /// What of these it lacks, and what it has besides.
    async fn marks(&self, marks: Marks) -> Result<Unmatched, AskError>;
}

/// What a room needs to know of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Who.
    pub key: PeerKey,
    /// What people call it.
    pub name: SmolStr,
    /// Where it stands.
    pub site: SmolStr,
}

/// The directory of keepers.
#[allow(async_fn_in_trait)]
pub trait Keepers: Clone + 'static {
    /// How one is asked.
    type Keeper: Ask;

    /// This Box.
    fn me(&self) -> PeerKey;
    /// All members of the reserve, this Box included, sorted by key.
    fn members(&self) -> Vec<MemberView>;
    /// Copies a chunk should have, and copies below which nothing is called protected; both count other Boxes only.
    fn factors(&self) -> (u8, u8);
    /// A keeper that can be asked now: this Box's own store (if it keeps one), or one with a live session.
    fn reach(&self, peer: PeerKey) -> Option<Self::Keeper>;
    /// Resolves when some keeper came or went since `reach` was last asked; may resolve once too often.
    async fn changed(&self);
    /// A keeper that fell away a moment ago, once it is there again: links break, and seconds later there are others. Nothing at once
    /// if there is no reason to expect it, and nothing after a while if it does not come.
    async fn returning(&self, _peer: PeerKey) -> Option<Self::Keeper> {
        None
    }
}
