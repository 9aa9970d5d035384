//! The eye that sees all disks at once: how many good copies there are of every chunk of a snapshot, whatever the Boxes say.
//!
//! It looks at copies of the disks as a power cut now would leave them, through the product's own store, and checks each
//! record against its name itself. Nothing on the Boxes is touched by it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use reserve::author::{Closure, Keyring, Seen};
use reserve::format::head::SignedHead;
use reserve::format::record::{RecordHeader, id_of};
use reserve::keeper::{Ask, Keepers, MemberView, Store, StoreConfig};
use reserve::roster::LoadedBox;
use reserve::terms::{ChunkId, PeerKey};
use reserve::world::World;

use crate::house::{Answer, TABLE_CHUNKS};
use crate::neighbours::Neighbours;
use crate::reserve::Reserve;

/// What no Box of a story is called.
const NOBODY: PeerKey = PeerKey([0; 32]);

/// All disks at one moment.
pub struct Eye {
    neighbours: Neighbours,
    keyring: Keyring,
    keys: Vec<PeerKey>,
    holders: BTreeMap<ChunkId, BTreeSet<PeerKey>>,
    /// What each record's key follows from: one key may never seal two.
    sealed_by: BTreeMap<(u32, u8, [u8; 32]), ChunkId>,
}

impl Eye {
    /// Looks at all disks now.
    ///
    /// # Errors
    /// If no Box's own files can be read.
    pub async fn open(reserve: &Reserve) -> Answer<Self> {
        let mut opened = Vec::new();
        let mut secrets = None;
        for house in reserve.houses.iter().filter(|house| house.key.is_some()) {
            let copy = reserve
                .world
                .box_named(&format!("copy of {}", house.name()));
            let copy = copy.restart();
            copy.make_timeless();
            copy.copy_disk_of(&house.home);
            if let Ok(loaded) = LoadedBox::load(copy.disk()).await {
                secrets = Some(loaded.secrets);
            }
            let config = StoreConfig {
                table_chunks: usize::try_from(TABLE_CHUNKS)?,
                capacity_bytes: None,
                quota_bytes_per_author: None,
            };
            let Ok((store, _)) = Store::open(copy.clone(), config).await else {
                continue;
            };
            if let Some(key) = house.key {
                opened.push((key, house.name().to_owned(), copy, store));
            }
        }
        let secrets = Rc::new(secrets.ok_or("no Box has its own files any more")?);
        let view = |(key, name, _, _): &(PeerKey, String, _, _)| MemberView {
            key: *key,
            name: name.as_str().into(),
            site: name.as_str().into(),
        };
        let members = opened.iter().map(view).collect();
        let neighbours = Neighbours::new(NOBODY, members, (1, 1));
        let keys = opened.iter().map(|(key, ..)| *key).collect();
        for (key, _, copy, store) in opened {
            neighbours.start(key, copy, store);
        }
        Ok(Self {
            neighbours,
            keyring: Rc::new(move |epoch| secrets.data_keys_of(epoch)),
            keys,
            holders: BTreeMap::new(),
            sealed_by: BTreeMap::new(),
        })
    }

    /// The fewest good copies any chunk of a snapshot has on Boxes other than its author's; and which chunk that is. What was
    /// looked at for another snapshot is left out.
    ///
    /// # Errors
    /// If a part of the index is nowhere at all.
    pub async fn copies(&mut self, head: &SignedHead, seen: &mut Seen) -> Answer<(usize, ChunkId)> {
        let (neighbours, keyring) = (self.neighbours.clone(), self.keyring.clone());
        let mut closure = Closure::new(&neighbours, &keyring, head).leaving_out(seen);
        let mut fewest = (usize::MAX, head.head.manifest);
        while let Some(id) = closure.next().await? {
            let holders = self.holders(id).await?;
            let others = holders.iter().filter(|key| **key != head.head.author);
            fewest = fewest.min((others.count(), id));
        }
        Ok(fewest)
    }

    /// Whether a snapshot needs a chunk.
    ///
    /// # Errors
    /// If a part of the index is nowhere at all.
    pub async fn needs(&self, head: &SignedHead, id: ChunkId) -> Answer<bool> {
        let (neighbours, keyring) = (self.neighbours.clone(), self.keyring.clone());
        let mut closure = Closure::new(&neighbours, &keyring, head);
        while let Some(needed) = closure.next().await? {
            if needed == id {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The Boxes that hold a good copy of a chunk.
    ///
    /// # Errors
    /// If a record that was good a moment ago is none.
    pub async fn holders(&mut self, id: ChunkId) -> Answer<BTreeSet<PeerKey>> {
        if let Some(known) = self.holders.get(&id) {
            return Ok(known.clone());
        }
        let mut holders = BTreeSet::new();
        for key in &self.keys {
            let Some(keeper) = self.neighbours.reach(*key) else {
                continue;
            };
            if let Ok(Some(record)) = keeper.get(id).await
                && id_of(&record) == id
            {
                let header = RecordHeader::of(&record)?;
                let key_of = (header.epoch.0, header.kind.byte(), header.tag);
                let same = *self.sealed_by.entry(key_of).or_insert(id);
                if same != id {
                    return Err(format!("one key sealed both {id} and {same}").into());
                }
                holders.insert(*key);
            }
        }
        self.holders.insert(id, holders.clone());
        Ok(holders)
    }
}
