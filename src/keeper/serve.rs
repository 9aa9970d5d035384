//! A keeper at work: answers one peer's requests from the store, each in a task of its own.
//!
//! Memory: bodies on their way in are leased from the session's pool; records are read a few at a time, over all peers, and each only
//! when its session has a place for it among the bytes on their way out.
//! Nothing is answered with yes before the store says it is durable.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::ask::{Ask, Keepers};
use super::further::Further;
use super::holding::Word;
use super::placement;
use super::places::Places;
use super::refuse::StoreError;
use super::remote::{bits_of, head_list};
use super::store::Store;
use super::turns::Turns;
use crate::format::head::SignedHead;
use crate::format::message::{Message, Refusal};
use crate::format::release::SignedRelease;
use crate::session::{Incoming, Session};
use crate::terms::limits::{HAVE_STEP_IDS, RECORD_BYTES_MAX};
use crate::terms::{ChunkId, PeerKey, ReserveId};
use crate::world::{Clock, World};

/// Records that are read at once, over all peers: bounds memory, keeps a disk busy. What was read waits in its session's queue.
const RECORDS_OUT_MAX: usize = 5;
/// Chunks that are fetched for `Pull`s at once, whoever asks.
const PULLS_AT_ONCE: usize = 3;
const _: () = assert!((RECORDS_OUT_MAX + PULLS_AT_ONCE) * RECORD_BYTES_MAX <= 17 << 20);
/// How long one keeper may take to hand out a chunk before another is asked: the longest record at 7 KiB a second.
pub(super) const FETCH_PATIENCE: Duration = Duration::from_secs(300);

/// What a keeper asks of the rest of the Box.
#[allow(async_fn_in_trait)] // one thread: no Send bounds are wanted
pub trait Host: Clone + 'static {
    /// The other keepers.
    type Keepers: Keepers;

    /// The other keepers.
    fn keepers(&self) -> Self::Keepers;
    /// Whether this is a member's key, or a former member's: only theirs are kept.
    fn is_ours(&self, author: PeerKey) -> bool;
    /// Where chunks belong.
    fn places(&self) -> Places;
    /// Which reserve this is.
    fn reserve(&self) -> ReserveId;
    /// Merges a peer's roster, durably.
    async fn merge_roster(&self, body: &[u8]) -> Result<(), Refusal>;
}

/// Whose word it is when a peer speaks of an author's claims.
fn word_of(peer: PeerKey, author: PeerKey) -> Word {
    if peer == author {
        Word::Own
    } else {
        Word::Fellow
    }
}

/// Serves peers from one store.
pub struct Server<W: World, H: Host> {
    pub(super) world: W,
    pub(super) store: Store<W>,
    pub(super) host: H,
    records_out: Rc<Semaphore>,
    pub(super) pulls: Arc<Semaphore>,
    fetching: Rc<Turns<ChunkId>>,
}

impl<W: World, H: Host> Clone for Server<W, H> {
    fn clone(&self) -> Self {
        Self {
            world: self.world.clone(),
            store: self.store.clone(),
            host: self.host.clone(),
            records_out: Rc::clone(&self.records_out),
            pulls: Arc::clone(&self.pulls),
            fetching: Rc::clone(&self.fetching),
        }
    }
}

impl<W: World, H: Host> Server<W, H> {
    /// Serves from this store.
    pub fn new(world: W, store: Store<W>, host: H) -> Self {
        Self {
            world,
            store,
            host,
            records_out: Rc::new(Semaphore::new(RECORDS_OUT_MAX)),
            pulls: Arc::new(Semaphore::new(PULLS_AT_ONCE)),
            fetching: Rc::default(),
        }
    }

    /// Answers a peer until its session is over.
    pub async fn serve(self, session: Session) {
        let peer = session.peer();
        while let Some(incoming) = session.next().await {
            let (server, session) = (self.clone(), session.clone());
            // What only reads or fetches for the peer ends with its session; what is being kept is kept.
            let ends = matches!(
                incoming.message,
                Message::Get { .. }
                    | Message::Pull { .. }
                    | Message::Prints(_)
                    | Message::Marks(_)
                    | Message::Claimed { .. }
            );
            self.world.spawn(async move {
                tokio::select! {
                    biased;
                    () = session.closed(), if ends => {}
                    () = server.answer(peer, incoming) => {}
                }
            });
        }
    }

    async fn answer(&self, peer: PeerKey, incoming: Incoming) {
        let Incoming {
            message,
            body,
            lease,
            mut reply,
        } = incoming;
        let (answer, records) = match message {
            Message::Get { id } => {
                // Its place on the way out comes first: a turn to read is for who can be sent something.
                if !reply.reserve(RECORD_BYTES_MAX).await {
                    return;
                }
                let _turn = self.records_out.acquire().await;
                match self.store.get(id).await {
                    Ok(Some(record)) => (Message::Record, Some(Rc::new(record))),
                    Ok(None) => (Message::Absent, None),
                    Err(error) => (Message::Refused(error.refusal()), None),
                }
            }
            Message::Claimed { after } => {
                if !reply.reserve(RECORD_BYTES_MAX).await {
                    return;
                }
                let _turn = self.records_out.acquire().await;
                let page = self.store.claimed(peer, after).await;
                (Message::ClaimedPage, Some(Rc::new(page.encode())))
            }
            Message::Heads { author, after } => match self.store.heads(author, after).await {
                Ok(heads) => (Message::HeadList, Some(Rc::new(head_list(&heads)))),
                Err(error) => (Message::Refused(error.refusal()), None),
            },
            other => {
                let further = Rc::new(Further::new(Some(reply.word()), self.world.clock()));
                let done = self.carry_out(peer, other, body, &further).await;
                (done.unwrap_or_else(Message::Refused), None)
            }
        };
        drop(lease);
        reply.answer(answer, records).await;
    }

    /// Requests whose answer has no body.
    async fn carry_out(
        &self,
        peer: PeerKey,
        message: Message,
        body: Vec<u8>,
        further: &Rc<Further<W::Clock>>,
    ) -> Result<Message, Refusal> {
        match message {
            Message::Have { author, .. } | Message::Pull { author, .. }
                if !self.host.is_ours(author) =>
            {
                Err(Refusal::NotUnderstood)
            }
            Message::Have { author, ids } => {
                let word = word_of(peer, author);
                let mut held = Vec::with_capacity(ids.len());
                for some in ids.chunks(HAVE_STEP_IDS) {
                    let more = self.store.have_for(author, word, some).await;
                    held.extend(more.map_err(|error| error.refusal())?);
                    further.note();
                }
                Ok(Message::Held {
                    bits: bits_of(&held),
                })
            }
            Message::Put { id } => {
                self.store
                    .put(peer, id, Rc::new(body))
                    .await
                    .map_err(|error| error.refusal())?;
                Ok(Message::Done)
            }
            Message::Pull { author, ids } => Ok(Message::Held {
                bits: bits_of(
                    &self
                        .pull((author, word_of(peer, author)), &ids, further)
                        .await?,
                ),
            }),
            Message::PutHead => {
                let head = SignedHead::decode(&body).map_err(|_| Refusal::Damaged)?;
                if head.head.reserve != self.host.reserve() || !self.host.is_ours(head.head.author)
                {
                    return Err(Refusal::NotUnderstood);
                }
                self.store
                    .put_head_for(&head, word_of(peer, head.head.author))
                    .await
                    .map_err(|error| error.refusal())?;
                Ok(Message::Done)
            }
            Message::Prints(prints) => {
                let (places, pair) = (self.host.places(), [peer, self.host.keepers().me()]);
                let differ = self.store.answer_prints(&places, pair, &prints).await?;
                Ok(Message::Differ {
                    bits: bits_of(&differ),
                })
            }
            Message::Marks(marks) => {
                let (places, pair) = (self.host.places(), [peer, self.host.keepers().me()]);
                let unmatched = self.store.answer_marks(&places, pair, &marks).await?;
                Ok(Message::Unmatched(unmatched))
            }
            Message::Release => {
                let release = SignedRelease::decode(&body).map_err(|_| Refusal::Damaged)?;
                let (to, by) = (release.release.keeper, release.release.author);
                let is_to_us = to == self.host.keepers().me()
                    && release.release.reserve == self.host.reserve();
                // Only its author hands it over, and only a member may.
                if !is_to_us || by != peer || !self.host.is_ours(by) {
                    return Err(Refusal::NotUnderstood);
                }
                let given_up = self.store.release(&release).await;
                given_up.map_err(|error| error.refusal())?;
                Ok(Message::Done)
            }
            Message::AskRoom => Ok(Message::Room(self.store.room(peer).await)),
            Message::Roster => {
                self.host.merge_roster(&body).await?;
                Ok(Message::Done)
            }
            Message::Hello(_)
            | Message::Ping
            | Message::Pong
            | Message::Credit { .. }
            | Message::Get { .. }
            | Message::Heads { .. }
            | Message::Join(_)
            | Message::Recover { .. }
            | Message::Survivor { .. }
            | Message::AskLastCopies { .. }
            | Message::LastCopies(_)
            | Message::Held { .. }
            | Message::Done
            | Message::Record
            | Message::Absent
            | Message::HeadList
            | Message::Welcome
            | Message::Room(_)
            | Message::Working
            | Message::Differ { .. }
            | Message::Unmatched(_)
            | Message::Claimed { .. }
            | Message::ClaimedPage
            | Message::Refused(_) => Err(Refusal::NotUnderstood),
        }
    }

    /// Has what is missing here fetched from the other keepers for an author; tells which of these are here then.
    ///
    /// # Errors
    /// Why nothing more can be kept here.
    pub async fn take(&self, author: PeerKey, ids: &[ChunkId]) -> Result<Vec<bool>, Refusal> {
        let nobody_waits = Rc::new(Further::new(None, self.world.clock()));
        self.pull((author, Word::Fellow), ids, &nobody_waits).await
    }

    /// Fetches what is missing here from the other keepers, several at once. Where there is no room nothing more is fetched.
    pub(super) async fn pull(
        &self,
        (author, word): (PeerKey, Word),
        ids: &[ChunkId],
        further: &Rc<Further<W::Clock>>,
    ) -> Result<Vec<bool>, Refusal> {
        let mut held = self
            .store
            .have_for(author, word, ids)
            .await
            .map_err(|error| error.refusal())?;
        further.note();
        let missing: Vec<usize> = (0..ids.len()).filter(|at| !held[*at]).collect();
        let limit: Rc<Cell<Option<Refusal>>> = Rc::default();
        // At most `ASK_IDS_MAX` small results wait in it.
        let (done, mut finished) = tokio::sync::mpsc::unbounded_channel();
        for at in missing {
            let permit = Arc::clone(&self.pulls).acquire_owned().await;
            if limit.get().is_some() {
                break;
            }
            let (server, done, id, limit) = (self.clone(), done.clone(), ids[at], limit.clone());
            let further = Rc::clone(further);
            self.world.spawn(async move {
                let fetched = match server.fetch((author, word), id, &further).await {
                    Ok(fetched) => fetched,
                    Err(refusal) => {
                        limit.set(Some(refusal));
                        false
                    }
                };
                drop(permit);
                // Nobody listens when the asking session is over.
                let _ = done.send((at, fetched));
            });
        }
        drop(done);
        while let Some((at, fetched)) = finished.recv().await {
            held[at] = fetched;
        }
        limit.get().map_or(Ok(held), Err)
    }

    /// One chunk, from whichever keeper has it whole. An error is our own: asking another keeper would not help.
    async fn fetch(
        &self,
        (author, word): (PeerKey, Word),
        id: ChunkId,
        further: &Further<W::Clock>,
    ) -> Result<bool, Refusal> {
        let _turn = self.fetching.of(id).await;
        // It may have come meanwhile, by another question or from its author.
        let here = self.store.have_for(author, word, &[id]).await;
        if here.map_err(|error| error.refusal())? == [true] {
            return Ok(true);
        }
        let keepers = self.host.keepers();
        let me = keepers.me();
        for peer in placement::ranking(id, author, &keepers.members()) {
            if peer == me {
                continue;
            }
            let Some(keeper) = keepers.reach(peer) else {
                continue;
            };
            let got = self.world.clock().within(FETCH_PATIENCE, keeper.get(id));
            let got = got.await;
            further.note();
            let Some(Ok(Some(record))) = got else {
                continue;
            };
            match self.store.put_for(author, word, id, Rc::new(record)).await {
                Ok(()) => return Ok(true),
                // It sent something else, or rotten bytes.
                Err(StoreError::Damaged | StoreError::NoRecord) => {}
                Err(error) => return Err(error.refusal()),
            }
        }
        Ok(false)
    }
}
