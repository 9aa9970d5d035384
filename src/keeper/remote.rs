//! Another Box's keeper, asked over a session.

use std::rc::Rc;

use serde_bytes::ByteBuf;

use super::ask::{Ask, AskError, Compare};
use crate::format::compare::{Marks, Prefix, Prints, Unmatched};
use crate::format::head::SignedHead;
use crate::format::message::{Message, Room};
use crate::format::release::{ClaimedPage, SignedRelease};
use crate::format::{decode, encode};
use crate::session::{Session, SessionError};
use crate::terms::{ChunkId, PeerKey, SnapshotNumber};

/// Heads in one answer.
pub const HEADS_IN_AN_ANSWER_MAX: usize = 100;
const HEAD_LIST: &str = "head list";

/// Another Box's keeper.
#[derive(Clone)]
pub struct RemoteKeeper {
    session: Session,
}

impl RemoteKeeper {
    /// At the other end of this session.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self { session }
    }

    async fn ask(
        &self,
        message: Message,
        body: Option<Rc<Vec<u8>>>,
    ) -> Result<(Message, Vec<u8>), AskError> {
        match self.session.ask(message, body).await {
            Ok((Message::Refused(refusal), _)) => Err(refusal.into()),
            Ok(answer) => Ok(answer),
            // Whatever was asked of it meanwhile is in the same state.
            Err(_) if self.session.ended() == Some(SessionError::Unanswered) => {
                Err(AskError::Unanswered)
            }
            Err(_) => Err(AskError::Gone),
        }
    }

    /// An answer that is none ends the session: whoever sent it is broken.
    fn nonsense(&self) -> AskError {
        self.session.close();
        AskError::Nonsense
    }

    async fn held(&self, message: Message, asked: usize) -> Result<Vec<bool>, AskError> {
        match self.ask(message, None).await? {
            (Message::Held { bits }, _) if bits.len() == asked.div_ceil(8) => {
                Ok(flags_of(&bits, asked))
            }
            _ => Err(self.nonsense()),
        }
    }

    async fn done(&self, message: Message, body: Rc<Vec<u8>>) -> Result<(), AskError> {
        match self.ask(message, Some(body)).await? {
            (Message::Done, _) => Ok(()),
            _ => Err(self.nonsense()),
        }
    }
}

/// The answer to a list of names.
pub(super) fn bits_of(held: &[bool]) -> ByteBuf {
    let mut bits = vec![0; held.len().div_ceil(8)];
    for (at, _) in held.iter().enumerate().filter(|(_, held)| **held) {
        bits[at / 8] |= 1 << (at % 8);
    }
    ByteBuf::from(bits)
}

/// The first bits, from the least significant of the first byte.
fn flags_of(bits: &[u8], many: usize) -> Vec<bool> {
    let flags = (0..many).map(|at| bits[at / 8] >> (at % 8) & 1 == 1);
    flags.collect()
}

/// The body that answers `Heads`.
pub(super) fn head_list(heads: &[SignedHead]) -> Vec<u8> {
    encode(
        &heads
            .iter()
            .map(|head| ByteBuf::from(head.encode()))
            .collect::<Vec<_>>(),
    )
}

/// Reads the body that answers `Heads`; every signature is checked.
pub fn read_head_list(body: &[u8]) -> Result<Vec<SignedHead>, crate::format::Malformed> {
    let list: Vec<ByteBuf> = decode(HEAD_LIST, body)?;
    if list.len() > HEADS_IN_AN_ANSWER_MAX {
        return Err(crate::format::Malformed {
            record: HEAD_LIST,
            rule: "it is longer than was asked for",
        });
    }
    list.iter().map(|bytes| SignedHead::decode(bytes)).collect()
}

impl Compare for RemoteKeeper {
    async fn prints(&self, prints: Prints) -> Result<Vec<bool>, AskError> {
        let parts = prints.ranges.of.len() << prints.split;
        match self.ask(Message::Prints(prints), None).await? {
            (Message::Differ { bits }, _) if bits.len() == parts.div_ceil(8) => {
                Ok(flags_of(&bits, parts))
            }
            _ => Err(self.nonsense()),
        }
    }

    async fn marks(&self, marks: Marks) -> Result<Unmatched, AskError> {
        let asked = marks.marks.len() / 8;
        match self.ask(Message::Marks(marks), None).await? {
            (Message::Unmatched(unmatched), _) if unmatched.lacking.len() == asked.div_ceil(8) => {
                Ok(unmatched)
            }
            _ => Err(self.nonsense()),
        }
    }
}

impl Ask for RemoteKeeper {
    async fn have(&self, author: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        let asked = ids.len();
        self.held(Message::Have { author, ids }, asked).await
    }

    async fn put(&self, id: ChunkId, record: Rc<Vec<u8>>) -> Result<(), AskError> {
        self.done(Message::Put { id }, record).await
    }

    async fn get(&self, id: ChunkId) -> Result<Option<Vec<u8>>, AskError> {
        match self.ask(Message::Get { id }, None).await? {
            (Message::Record, record) => Ok(Some(record)),
            (Message::Absent, _) => Ok(None),
            _ => Err(self.nonsense()),
        }
    }

    async fn pull(&self, author: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        let asked = ids.len();
        self.held(Message::Pull { author, ids }, asked).await
    }

    async fn room(&self) -> Result<Room, AskError> {
        match self.ask(Message::AskRoom, None).await? {
            (Message::Room(room), _) => Ok(room),
            _ => Err(self.nonsense()),
        }
    }

    async fn put_head(&self, head: SignedHead) -> Result<(), AskError> {
        self.done(Message::PutHead, Rc::new(head.encode())).await
    }

    async fn heads(
        &self,
        author: Option<PeerKey>,
        after: SnapshotNumber,
    ) -> Result<Vec<SignedHead>, AskError> {
        match self.ask(Message::Heads { author, after }, None).await? {
            (Message::HeadList, body) => read_head_list(&body).map_err(|_| self.nonsense()),
            _ => Err(self.nonsense()),
        }
    }

    async fn claimed(&self, after: Option<Prefix>) -> Result<ClaimedPage, AskError> {
        let page = match self.ask(Message::Claimed { after }, None).await? {
            (Message::ClaimedPage, body) => ClaimedPage::decode(&body).ok(),
            _ => None,
        };
        let is_behind = |page: &ClaimedPage| {
            let first = page.claims().next().map(|(prefix, _)| Some(prefix));
            first.is_none_or(|first| first > after)
        };
        page.filter(is_behind).ok_or_else(|| self.nonsense())
    }

    async fn release(&self, release: SignedRelease) -> Result<(), AskError> {
        self.done(Message::Release, Rc::new(release.encode())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_heads_from_nowhere_is_refused() {
        assert_eq!(read_head_list(&head_list(&[])), Ok(Vec::new()));
        assert!(read_head_list(&encode(&vec![ByteBuf::from(b"x".to_vec())])).is_err());
        assert!(read_head_list(&encode(&vec![ByteBuf::new(); 101])).is_err());
    }
}
