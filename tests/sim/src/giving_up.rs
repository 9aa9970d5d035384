//! A month of a keeper whose author gives something up and wants part of it back: what must be there every day, and what must be gone
//! in the end.

use std::rc::Rc;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use reserve::format::compare::Prefix;
use reserve::format::head::{Head, SignedHead};
use reserve::format::record::id_of;
use reserve::format::release::Release;
use reserve::format::runs::Runs;
use reserve::keeper::{Store, StoreConfig, Word};
use reserve::terms::{ChunkId, PeerKey, ReserveId, SnapshotNumber, Stamp};
use reserve::world::{Clock, World};

use crate::house::Answer;
use crate::sim_box::{SimBox, SimWorld};

/// The delay of these stories, in days.
pub const DELAY_DAYS: u16 = 30;
/// The time between two looks at the clock; a keeper believes no more at once.
pub const LOOK: Duration = Duration::from_secs(2 * 3600);
/// How long a month and what comes behind it may take.
pub const MONTHS: Duration = Duration::from_secs(400 * 24 * 3600);

const CONFIG: StoreConfig = StoreConfig {
    table_chunks: 4096,
    capacity_bytes: None,
    quota_bytes_per_author: None,
};

/// A keeper on a Box, and the one author it keeps things for.
pub struct Keeping {
    /// Where the store is.
    pub home: SimBox,
    /// The store, open.
    pub store: Store<SimBox>,
    /// Everything the author ever put, by name.
    pub records: Vec<(ChunkId, Rc<Vec<u8>>)>,
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

/// Whose things are kept.
#[must_use]
pub fn author() -> PeerKey {
    PeerKey(key().verifying_key().to_bytes())
}

/// One of the author's snapshots.
#[must_use]
pub fn head(number: u64) -> SignedHead {
    let head = Head {
        reserve: ReserveId([1; 16]),
        author: author(),
        incarnation: [4; 8],
        number: SnapshotNumber(number),
        previous: None,
        manifest: ChunkId([7; 32]),
        taken: Stamp::default(),
        chunks: 3,
        sealed_bytes: 4,
        accepted: true,
    };
    SignedHead::sign(head, &key())
}

impl Keeping {
    /// A new store with some chunks and snapshots 1 to 3.
    ///
    /// # Errors
    /// If the store does not keep them.
    pub async fn begin(home: SimBox) -> Answer<Self> {
        let (store, _) = Store::open(home.clone(), CONFIG).await?;
        let record = |number: u8| {
            let bytes: Vec<u8> = (0..9000u32)
                .map(|at| u8::try_from(at % 251).unwrap_or(0) ^ number)
                .collect();
            (id_of(&bytes), Rc::new(bytes))
        };
        let records: Vec<_> = (0..8).map(record).collect();
        for (id, bytes) in &records {
            store.put(author(), *id, Rc::clone(bytes)).await?;
        }
        for number in 1..=3 {
            store.put_head_for(&head(number), Word::Own).await?;
        }
        Ok(Self {
            home,
            store,
            records,
        })
    }

    /// The names of some of the chunks.
    #[must_use]
    pub fn names(&self, some: std::ops::Range<usize>) -> Vec<ChunkId> {
        self.records[some].iter().map(|(id, _)| *id).collect()
    }

    /// After a power cut.
    ///
    /// # Errors
    /// If the store does not open.
    pub async fn again(self) -> Answer<Self> {
        let Self {
            home,
            store,
            records,
        } = self;
        drop(store);
        home.power_cut();
        let home = home.restart();
        let (store, _) = Store::open(home.clone(), CONFIG).await?;
        Ok(Self {
            home,
            store,
            records,
        })
    }

    /// Whether a chunk is here, whole.
    ///
    /// # Errors
    /// If the disk cannot say.
    pub async fn has(&self, at: usize) -> Answer<bool> {
        let (id, bytes) = &self.records[at];
        let there = self.store.get(*id).await?;
        Ok(there.is_some_and(|there| there == **bytes))
    }
}

/// The author gives up what it is told that it claims, as far as it is among these, and these snapshots.
///
/// # Errors
/// What the keeper says against it.
pub async fn give_up(
    store: &Store<SimBox>,
    names: &[ChunkId],
    numbers: &[u64],
) -> Result<(), reserve::keeper::StoreError> {
    let page = store.claimed(author(), None).await;
    let mut names: Vec<Prefix> = names
        .iter()
        .filter_map(|id| id.0.first_chunk().copied())
        .collect();
    names.sort_unstable();
    let numbers: Runs = numbers.iter().copied().map(SnapshotNumber).collect();
    let release = Release {
        reserve: ReserveId([1; 16]),
        author: author(),
        keeper: PeerKey([9; 32]),
        incarnation: [4; 8],
        basis: page.basis,
        numbers,
        names: names.concat().into(),
    };
    store.release(&release.sign(&key())).await
}

/// The keeper runs for so long, and looks at the clock as it should.
pub async fn live(home: &SimBox, store: &Store<SimBox>, how_long: Duration) {
    let mut left = how_long;
    while !left.is_zero() {
        let step = left.min(LOOK);
        home.clock().sleep(step).await;
        store.settle_releases(DELAY_DAYS, |_| true).await;
        left -= step;
    }
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

/// A month and some days; what was wrong.
///
/// # Errors
/// If the store does not do what is asked.
pub async fn month(world: SimWorld) -> Answer<Vec<String>> {
    let dice = world.dice("giving up");
    let mut keeping = Keeping::begin(world.box_named("keeper")).await?;
    let mut wrong = Vec::new();
    give_up(&keeping.store, &keeping.names(0..6), &[1]).await?;
    let wanted_on = dice.below(29);
    for day in 0..29 {
        if day == wanted_on {
            let held = keeping.store.have(author(), &keeping.names(0..2)).await?;
            if held != [true; 2] {
                wrong.push(format!(
                    "day {day}: what was given up cannot be claimed again"
                ));
            }
            let (id, record) = keeping.records[2].clone();
            keeping.store.put(author(), id, record).await?;
            keeping = keeping.again().await?;
        }
        live(&keeping.home, &keeping.store, days(1)).await;
        for at in 0..8 {
            if !keeping.has(at).await? {
                wrong.push(format!("day {day}: chunk {at} went before its time"));
            }
        }
    }
    live(&keeping.home, &keeping.store, days(4)).await;
    keeping = keeping.again().await?;
    for at in 0..8 {
        let stays = !(3..6).contains(&at);
        match (keeping.has(at).await?, stays) {
            (false, true) => wrong.push(format!("chunk {at} went though it was claimed")),
            (true, false) => wrong.push(format!("chunk {at} is still here")),
            (true, true) | (false, false) => {}
        }
    }
    let heads = keeping
        .store
        .heads(Some(author()), SnapshotNumber(0))
        .await?;
    if heads.len() != 2 {
        wrong.push(format!("{} snapshots are here", heads.len()));
    }
    Ok(wrong)
}
