//! This Box's own keeper, and any keeper whatever: local and remote are asked in the same words.

use std::rc::Rc;

use super::ask::{Ask, AskError};
use super::holding::Word;
use super::refuse::StoreError;
use super::remote::RemoteKeeper;
use super::store::Store;
use crate::format::compare::Prefix;
use crate::format::head::SignedHead;
use crate::format::message::{Refusal, Room};
use crate::format::release::{ClaimedPage, SignedRelease};
use crate::terms::{ChunkId, PeerKey, SnapshotNumber};
use crate::world::World;

/// A keeper, wherever it is.
pub enum AnyKeeper<W: World> {
    /// This Box's own store; puts are this Box's.
    Local {
        /// The store.
        store: Store<W>,
        /// This Box.
        me: PeerKey,
    },
    /// Another Box.
    Remote(RemoteKeeper),
}

impl<W: World> Clone for AnyKeeper<W> {
    fn clone(&self) -> Self {
        match self {
            Self::Local { store, me } => Self::Local {
                store: store.clone(),
                me: *me,
            },
            Self::Remote(remote) => Self::Remote(remote.clone()),
        }
    }
}

fn refused(error: StoreError) -> AskError {
    AskError::Refused(error.refusal())
}

/// Whose word it is when this Box speaks of an author's claims to its own store.
fn word(me: PeerKey, author: PeerKey) -> Word {
    if me == author {
        Word::Own
    } else {
        Word::Fellow
    }
}

impl<W: World> Ask for AnyKeeper<W> {
    async fn have(&self, author: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        match self {
            Self::Local { store, me } => {
                let held = store.have_for(author, word(*me, author), &ids).await;
                held.map_err(refused)
            }
            Self::Remote(remote) => remote.have(author, ids).await,
        }
    }

    async fn put(&self, id: ChunkId, record: Rc<Vec<u8>>) -> Result<(), AskError> {
        match self {
            Self::Local { store, me } => store.put(*me, id, record).await.map_err(refused),
            Self::Remote(remote) => remote.put(id, record).await,
        }
    }

    async fn get(&self, id: ChunkId) -> Result<Option<Vec<u8>>, AskError> {
        match self {
            Self::Local { store, .. } => store.get(id).await.map_err(refused),
            Self::Remote(remote) => remote.get(id).await,
        }
    }

    async fn pull(&self, author: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        match self {
            // Our own store is filled by asking others to hand over, not by asking ourselves.
            Self::Local { store, me } => {
                let held = store.have_for(author, word(*me, author), &ids).await;
                held.map_err(refused)
            }
            Self::Remote(remote) => remote.pull(author, ids).await,
        }
    }

    async fn room(&self) -> Result<Room, AskError> {
        match self {
            Self::Local { store, me } => Ok(store.room(*me).await),
            Self::Remote(remote) => remote.room().await,
        }
    }

    async fn put_head(&self, head: SignedHead) -> Result<(), AskError> {
        match self {
            Self::Local { store, me } => {
                let kept = store.put_head_for(&head, word(*me, head.head.author)).await;
                kept.map_err(refused)
            }
            Self::Remote(remote) => remote.put_head(head).await,
        }
    }

    async fn heads(
        &self,
        author: Option<PeerKey>,
        after: SnapshotNumber,
    ) -> Result<Vec<SignedHead>, AskError> {
        match self {
            Self::Local { store, .. } => store.heads(author, after).await.map_err(refused),
            Self::Remote(remote) => remote.heads(author, after).await,
        }
    }

    async fn claimed(&self, after: Option<Prefix>) -> Result<ClaimedPage, AskError> {
        match self {
            Self::Local { store, me } => Ok(store.claimed(*me, after).await),
            Self::Remote(remote) => remote.claimed(after).await,
        }
    }

    async fn release(&self, release: SignedRelease) -> Result<(), AskError> {
        match self {
            Self::Local { store, me } => {
                if release.release.keeper != *me || release.release.author != *me {
                    return Err(AskError::Refused(Refusal::NotUnderstood));
                }
                store.release(&release).await.map_err(refused)
            }
            Self::Remote(remote) => remote.release(release).await,
        }
    }
}
