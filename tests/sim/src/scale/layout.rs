//! Where every chunk of a run belongs, how it gets there before anybody runs, and whether it is there: looked for in the stores
//! themselves, through copies of their disks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use reserve::console::service::{Directory, Service, open_store};
use reserve::format::record::{RecordHeader, id_of};
use reserve::keeper::placement::Few;
use reserve::keeper::table::prefix_of;
use reserve::keeper::{Ask, Keepers, MemberView, Places, Store};
use reserve::roster::LoadedBox;
use reserve::terms::{ChunkId, Codec, KeyEpoch, Kind, PeerKey, Suite};
use reserve::world::World;

use crate::house::{Answer, House};
use crate::reserve::Reserve;
use crate::sim_box::SimBox;

/// Bytes of each chunk: the smallest record there can be.
pub const CHUNK_BYTES: usize = 64;
/// Chunks that are put before anybody waits for them.
const BATCH: usize = 16 << 10;
/// What is told of chunks that are not where they belong.
const TOLD_MAX: usize = 8;

/// Where chunks of one author belong.
pub struct Layout {
    places: Places,
    author: PeerKey,
}

/// The chunk of a number: a record that is valid under its name.
pub fn record(number: u32) -> (ChunkId, Rc<Vec<u8>>) {
    let header = RecordHeader {
        suite: Suite::ChaCha20Poly1305,
        kind: Kind::Data,
        codec: Codec::Plain,
        epoch: KeyEpoch(1),
        plain_bytes: 0,
        tag: *blake3::hash(&number.to_le_bytes()).as_bytes(),
    };
    let mut bytes = header.encode().to_vec();
    bytes.resize(CHUNK_BYTES, 0);
    (id_of(&bytes), Rc::new(bytes))
}

impl Layout {
    /// As a Box's roster says now; the author is the founder.
    pub async fn of(reserve: &Reserve) -> Answer<Self> {
        let founder = &reserve.houses[0];
        let loaded = LoadedBox::load(founder.home.disk()).await?;
        let view = |member: reserve::roster::Member| MemberView {
            key: member.key,
            name: member.name,
            site: member.site,
        };
        let mut members: Vec<_> = loaded.roster.members().into_iter().map(view).collect();
        members.sort_by_key(|member| member.key);
        let (wanted, least) = loaded.roster.factors();
        let places = Places {
            members,
            wanted,
            least,
        };
        let author = founder.key.ok_or("it was founded")?;
        Ok(Self { places, author })
    }

    /// The keepers that should have a chunk.
    pub fn keepers(&self, id: &ChunkId) -> Few {
        self.places.of(&prefix_of(id), self.author)
    }

    /// Copies of each chunk that should be.
    pub fn copies(&self) -> u64 {
        self.places.copies_of(self.author) as u64
    }
}

/// Puts the chunks of these numbers into the stores of all keepers where they belong. Nobody's service runs meanwhile, and no time
/// passes on their disks.
pub async fn fill(reserve: &mut Reserve, layout: &Layout, numbers: Range<u32>) -> Answer<()> {
    let mut stores = BTreeMap::new();
    for house in &mut reserve.houses {
        house.cut(false);
        house.home = house.home.restart();
        house.home.make_timeless();
        let key = house.key.ok_or("it was taken in")?;
        stores.insert(key, store_of(house).await?);
    }
    let numbers: Vec<u32> = numbers.collect();
    for batch in numbers.chunks(BATCH) {
        let mut puts = Vec::new();
        for number in batch {
            let (id, bytes) = record(*number);
            for keeper in &layout.keepers(&id) {
                let store = stores
                    .get(keeper)
                    .ok_or("a member is nobody's Box")?
                    .clone();
                let (author, bytes) = (layout.author, Rc::clone(&bytes));
                puts.push(tokio::task::spawn_local(async move {
                    store.put(author, id, bytes).await
                }));
            }
        }
        for put in puts {
            put.await??;
        }
    }
    for store in stores.values() {
        store.close().await;
    }
    for house in &mut reserve.houses {
        house.cut(false);
        house.home.make_timely();
    }
    Ok(())
}

async fn store_of(house: &House) -> Answer<Store<SimBox>> {
    let loaded = LoadedBox::load(house.home.disk()).await?;
    let opened = open_store(&house.home, &loaded.config).await;
    let (store, _) = opened.map_err(|fault| fault.to_string())?;
    Ok(store)
}

/// Has the author bring a chunk to all keepers it can reach of those that should have it; gives how many took it.
pub async fn bring(service: Service<SimBox>, keepers: Few, number: u32) -> usize {
    let directory = Directory::new(service);
    let (id, bytes) = record(number);
    let mut taken = 0;
    for keeper in keepers.iter().filter_map(|key| directory.reach(*key)) {
        taken += usize::from(keeper.put(id, Rc::clone(&bytes)).await.is_ok());
    }
    taken
}

/// What is not as it should be of these chunks in the stores of all Boxes that run: each where it belongs, whole, and nowhere else.
pub async fn wrong(reserve: &Reserve, layout: &Layout, numbers: &[u32]) -> Answer<Vec<String>> {
    let mut expected = BTreeMap::<PeerKey, Vec<u32>>::new();
    for number in numbers {
        for keeper in layout.keepers(&record(*number).0) {
            expected.entry(keeper).or_default().push(*number);
        }
    }
    let mut told = Vec::new();
    for house in reserve.houses.iter().filter(|house| house.runs()) {
        let key = house.key.ok_or("it was taken in")?;
        let wanted = expected.remove(&key).unwrap_or_default();
        let (there, lacking) = looked_into(reserve, house, &wanted).await?;
        if there != wanted.len() || lacking > 0 {
            let (name, wanted) = (house.name(), wanted.len());
            told.push(format!(
                "{name} has {there} chunks and should have {wanted}; {lacking} of them are not there"
            ));
        }
    }
    if !expected.is_empty() {
        told.push("chunks belong on Boxes that do not run".to_owned());
    }
    told.truncate(TOLD_MAX);
    Ok(told)
}

/// How many chunks are in a Box's store, and how many of those it should have are not there whole.
async fn looked_into(reserve: &Reserve, house: &House, wanted: &[u32]) -> Answer<(usize, usize)> {
    let copy = reserve.world.box_named("copy").restart();
    copy.make_timeless();
    copy.copy_disk_of(&house.home);
    let copied = House {
        table_chunks: house.table_chunks,
        ..House::new(copy.clone())
    };
    let store = store_of(&copied).await?;
    let mut lacking = 0;
    for number in wanted {
        let (id, bytes) = record(*number);
        lacking += usize::from(store.get(id).await? != Some(bytes.to_vec()));
    }
    let there = store.figures().chunks;
    drop(store);
    copy.power_cut();
    Ok((there, lacking))
}
