//! A story of a keeper that fetches for an author whose line drops again and again: nothing is fetched twice.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use reserve::format::head::SignedHead;
use reserve::format::message::{Message, Refusal, Room};
use reserve::format::record::id_of;
use reserve::keeper::{
    Ask, AskError, Host, Keepers, MemberView, Places, Server, Store, StoreConfig,
};
use reserve::session::{Answered, Callee, answer, open};
use reserve::terms::limits::PORT_DEFAULT;
use reserve::terms::{ChunkId, KeyEpoch, PeerKey, ReserveId, SnapshotNumber, Suite};
use reserve::world::{Clock, Listener, Net, World};
use sim::{Member, SimBox, SimWorld, run};
use smol_str::SmolStr;

type Answer<T> = Result<T, Box<dyn Error>>;

const OFFICE: PeerKey = PeerKey([2; 32]);
const FRIEND: PeerKey = PeerKey([3; 32]);
const CHUNKS: u32 = 50;

/// A keeper behind a slow line that has everything, and counts what it sends.
#[derive(Clone)]
struct Friend {
    world: SimBox,
    records: Rc<BTreeMap<ChunkId, Vec<u8>>>,
    sent: Rc<Cell<u32>>,
}

impl Ask for Friend {
    async fn have(&self, _: PeerKey, _: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        Err(AskError::Gone)
    }
    async fn put(&self, _: ChunkId, _: Rc<Vec<u8>>) -> Result<(), AskError> {
        Err(AskError::Gone)
    }
    async fn get(&self, id: ChunkId) -> Result<Option<Vec<u8>>, AskError> {
        self.sent.set(self.sent.get() + 1);
        self.world.clock().sleep(Duration::from_secs(2)).await;
        Ok(self.records.get(&id).cloned())
    }
    async fn pull(&self, _: PeerKey, _: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        Err(AskError::Gone)
    }
    async fn room(&self) -> Result<Room, AskError> {
        Err(AskError::Gone)
    }
    async fn put_head(&self, _: SignedHead) -> Result<(), AskError> {
        Err(AskError::Gone)
    }
    async fn heads(
        &self,
        _: Option<PeerKey>,
        _: SnapshotNumber,
    ) -> Result<Vec<SignedHead>, AskError> {
        Err(AskError::Gone)
    }
}

impl Keepers for Friend {
    type Keeper = Self;

    fn me(&self) -> PeerKey {
        OFFICE
    }
    fn members(&self) -> Vec<MemberView> {
        let view = |key, name: &'static str| MemberView {
            key,
            name: SmolStr::new_static(name),
            site: SmolStr::new_static(name),
        };
        vec![view(OFFICE, "office"), view(FRIEND, "friend")]
    }
    fn factors(&self) -> (u8, u8) {
        (2, 1)
    }
    fn reach(&self, peer: PeerKey) -> Option<Self> {
        (peer == FRIEND).then(|| self.clone())
    }
    async fn changed(&self) {
        std::future::pending::<()>().await;
    }
}

impl Host for Friend {
    type Keepers = Self;

    fn keepers(&self) -> Self {
        self.clone()
    }
    fn is_ours(&self, _: PeerKey) -> bool {
        true
    }
    fn places(&self) -> Places {
        Places {
            members: self.members(),
            wanted: 2,
            least: 1,
        }
    }
    fn reserve(&self) -> ReserveId {
        ReserveId([1; 16])
    }
    async fn merge_roster(&self, _: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }
}

#[test]
fn what_is_pulled_while_the_line_drops_again_and_again_is_fetched_once() -> Answer<()> {
    let story = async |world: SimWorld| {
        let (home, office) = (world.box_named("home"), world.box_named("office"));
        let (me, keeper) = (Member::numbered(1), Member::numbered(2));
        let records: BTreeMap<_, _> = (0..CHUNKS)
            .map(|number| number.to_le_bytes().repeat(500))
            .map(|record| (id_of(&record), record))
            .collect();
        let ids: Vec<ChunkId> = records.keys().copied().collect();
        let friend = Friend {
            world: office.clone(),
            records: Rc::new(records),
            sent: Rc::default(),
        };
        let config = StoreConfig {
            table_chunks: 4096,
            capacity_bytes: None,
            quota_bytes_per_author: None,
        };
        let (store, _) = Store::open(office.clone(), config).await?;
        let server = Server::new(office.clone(), store, friend.clone());
        let address = SocketAddr::new(office.ip(), PORT_DEFAULT);
        let mut listener = office.net().listen(address).await?;
        let (serving, gate) = (office.clone(), Rc::clone(&keeper));
        office.spawn(async move {
            while let Ok((link, _)) = listener.accept().await {
                let answered =
                    answer(&serving, link, &gate.keys, &*gate, &gate.pool, &gate.pool).await;
                if let Ok(Answered::Session(session)) = answered {
                    serving.spawn(server.clone().serve(session));
                }
            }
        });
        let callee = Callee {
            peer: keeper.keys.peer(),
            noise: keeper.keys.noise_static(),
            epoch: KeyEpoch(1),
            suite: Suite::ChaCha20Poly1305,
        };
        for life in 0..4 {
            let link = home.net().connect(address).await?;
            let session = open(&home, link, &me.keys, &*me, &callee, &me.pool).await?;
            let author = me.keys.peer();
            let ids = ids.clone();
            let pull = session.ask(Message::Pull { author, ids }, None);
            match life {
                3 => {
                    let (held, _) = pull.await?;
                    let Message::Held { bits } = held else {
                        return Err(format!("{held:?}").into());
                    };
                    let held: u32 = bits.iter().map(|byte| byte.count_ones()).sum();
                    assert_eq!(held, CHUNKS);
                }
                _ => {
                    let cut = home.clock().within(Duration::from_secs(7), pull).await;
                    assert!(cut.is_none(), "the line drops before it is done");
                    session.close();
                }
            }
        }
        assert_eq!(friend.sent.get(), CHUNKS);
        Answer::Ok(())
    };
    run(1, story).value
}
