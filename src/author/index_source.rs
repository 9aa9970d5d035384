//! Parts of an author's indexes, from whichever keeper has them: manifests, page-tree nodes and pages.

use super::closure::{CatchUpError, Keyring};
use crate::format::head::Manifest;
use crate::format::index::{Node, Page};
use crate::format::record::{self, OpenError, RecordHeader};
use crate::keeper::placement::ranking;
use crate::keeper::{Ask, AskError, Keepers, MemberView};
use crate::terms::{ChunkId, Kind, PeerKey};

/// What came of looking for a record.
pub enum Sought {
    /// Here it is.
    Found(Vec<u8>),
    /// All who were to be asked answered, and none has it.
    Nowhere,
    /// Nobody who answered has it.
    Unknown,
}

/// Where they come from.
pub struct IndexSource<'a, K: Keepers> {
    keepers: &'a K,
    keyring: &'a Keyring,
    author: PeerKey,
    members: Vec<MemberView>,
}

impl<'a, K: Keepers> IndexSource<'a, K> {
    /// Of this author.
    pub fn new(keepers: &'a K, keyring: &'a Keyring, author: PeerKey) -> Self {
        Self {
            keepers,
            keyring,
            author,
            members: keepers.members(),
        }
    }

    /// A snapshot's manifest.
    pub async fn manifest(&self, id: ChunkId) -> Result<Manifest, CatchUpError> {
        Ok(Manifest::decode(&self.plain(id, Kind::Manifest).await?)?)
    }

    /// A page.
    pub async fn page(&self, id: ChunkId) -> Result<Page, CatchUpError> {
        Ok(Page::decode(&self.plain(id, Kind::Page).await?)?)
    }

    /// A node that stands so high above pages.
    pub async fn node(&self, id: ChunkId, level: u8) -> Result<Node, CatchUpError> {
        let node = Node::decode(&self.plain(id, Kind::Node).await?)?;
        if node.level != level {
            let rule = "its level is not the one its parent names";
            return Err(crate::format::malformed("page-tree node", rule).into());
        }
        Ok(node)
    }

    async fn plain(&self, id: ChunkId, kind: Kind) -> Result<Vec<u8>, CatchUpError> {
        let record = self.record(id, None).await;
        let record = record.ok_or(CatchUpError::Missing(id))?;
        let epoch = RecordHeader::of(&record)?.epoch;
        let keys = (self.keyring)(epoch).ok_or(OpenError::OtherEpoch(epoch))?;
        let (header, plain) = record::open(&keys, record)?;
        if header.kind != kind {
            return Err(crate::format::malformed("index chunk", "it is of another kind").into());
        }
        Ok(plain)
    }

    /// A whole record from any keeper that can be reached, `but_not` this one.
    pub async fn record(&self, id: ChunkId, but_not: Option<PeerKey>) -> Option<Vec<u8>> {
        match self.sought(id, but_not).await {
            Sought::Found(record) => Some(record),
            Sought::Nowhere | Sought::Unknown => None,
        }
    }

    /// The same, and whether it is certain that there is none. Its author, who is no keeper of its own, may have it for another.
    pub async fn sought(&self, id: ChunkId, but_not: Option<PeerKey>) -> Sought {
        let author = self.members.iter().map(|member| member.key);
        let author = author.filter(|key| *key == self.author);
        let mut all_answered = true;
        for peer in ranking(id, self.author, &self.members)
            .into_iter()
            .chain(author)
        {
            if Some(peer) == but_not {
                continue;
            }
            let answer = match self.keepers.reach(peer) {
                Some(keeper) => keeper.get(id).await,
                None => Err(AskError::Gone),
            };
            match answer {
                Ok(Some(bytes)) if record::id_of(&bytes) == id => return Sought::Found(bytes),
                Ok(_) => {}
                Err(_) => all_answered = false,
            }
        }
        if all_answered {
            Sought::Nowhere
        } else {
            Sought::Unknown
        }
    }
}
