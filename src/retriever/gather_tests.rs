//! Tests of gathering from keepers that are honest, empty, gone, lying or silent.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ed25519_dalek::SigningKey;

use super::mock::{MockWorld, PausedClock, run};
use super::{FetchError, Gather, Heads, Outcome, Source};
use crate::format::head::{Head, SignedHead};
use crate::format::keys::{DataKeys, ReserveSecret};
use crate::format::message::Room;
use crate::format::record;
use crate::format::roster::Choice;
use crate::keeper::{Ask, AskError, Keepers, MemberView};
use crate::terms::{
    ChunkId, Codec, KeyEpoch, Kind, PeerKey, ReserveId, SnapshotNumber, Stamp, Suite,
};
use crate::world::Clock;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    Lies,
    Gone,
    NeverAnswers,
}

#[derive(Clone)]
struct MockKeeper {
    manner: Rc<Cell<Manner>>,
    records: Rc<RefCell<BTreeMap<ChunkId, Vec<u8>>>>,
    heads: Rc<RefCell<Vec<SignedHead>>>,
    asked: Rc<Cell<u32>>,
}

impl Ask for MockKeeper {
    async fn have(&self, _: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        Ok(vec![false; ids.len()])
    }
    async fn put(&self, _: ChunkId, _: Rc<Vec<u8>>) -> Result<(), AskError> {
        Err(AskError::Gone)
    }
    async fn get(&self, id: ChunkId) -> Result<Option<Vec<u8>>, AskError> {
        self.asked.set(self.asked.get() + 1);
        tokio::task::yield_now().await;
        match self.manner.get() {
            Manner::Honest => Ok(self.records.borrow().get(&id).cloned()),
            Manner::Lies => Ok(Some(vec![7; 100])),
            Manner::Gone => Err(AskError::Gone),
            Manner::NeverAnswers => std::future::pending().await,
        }
    }
    async fn pull(&self, _: PeerKey, ids: Vec<ChunkId>) -> Result<Vec<bool>, AskError> {
        Ok(vec![false; ids.len()])
    }
    async fn room(&self) -> Result<Room, AskError> {
        Ok(Room::default())
    }
    async fn put_head(&self, _: SignedHead) -> Result<(), AskError> {
        Err(AskError::Gone)
    }
    async fn heads(
        &self,
        author: Option<PeerKey>,
        after: SnapshotNumber,
    ) -> Result<Vec<SignedHead>, AskError> {
        if self.manner.get() == Manner::NeverAnswers {
            std::future::pending::<()>().await;
        }
        let heads = self.heads.borrow();
        Ok(match author {
            Some(author) => {
                let mine = |h: &&SignedHead| h.head.author == author && h.head.number > after;
                heads.iter().filter(mine).take(100).cloned().collect()
            }
            None => {
                let authors: BTreeSet<PeerKey> = heads.iter().map(|h| h.head.author).collect();
                let newest = |author| {
                    heads
                        .iter()
                        .filter(|h| h.head.author == author)
                        .max_by_key(|h| h.head.number)
                };
                authors.into_iter().filter_map(newest).cloned().collect()
            }
        })
    }
}

#[derive(Clone)]
struct MockKeepers {
    me: PeerKey,
    keepers: Rc<RefCell<BTreeMap<PeerKey, MockKeeper>>>,
    offline: Rc<RefCell<BTreeSet<PeerKey>>>,
    /// These come back as soon as somebody waits for them.
    returning: Rc<RefCell<BTreeSet<PeerKey>>>,
}

impl Keepers for MockKeepers {
    type Keeper = MockKeeper;
    fn me(&self) -> PeerKey {
        self.me
    }
    fn members(&self) -> Vec<MemberView> {
        let view = |key: &PeerKey| MemberView {
            key: *key,
            name: key.short().into(),
            site: "here".into(),
        };
        self.keepers.borrow().keys().map(view).collect()
    }
    fn factors(&self) -> (u8, u8) {
        (3, 2)
    }
    fn reach(&self, peer: PeerKey) -> Option<MockKeeper> {
        if self.offline.borrow().contains(&peer) {
            return None;
        }
        self.keepers.borrow().get(&peer).cloned()
    }
    async fn changed(&self) {
        std::future::pending().await
    }
    async fn returning(&self, peer: PeerKey) -> Option<MockKeeper> {
        if !self.returning.borrow_mut().remove(&peer) {
            return None;
        }
        self.offline.borrow_mut().remove(&peer);
        let keeper = self.keepers.borrow().get(&peer).cloned()?;
        keeper.manner.set(Manner::Honest);
        Some(keeper)
    }
}

fn keys() -> DataKeys {
    DataKeys::derive(KeyEpoch(1), &ReserveSecret([9; 32]))
}

fn peer(number: u8) -> PeerKey {
    PeerKey([number; 32])
}

/// Five Boxes; this one is number 0.
fn five() -> MockKeepers {
    let keeper = |number| {
        let keeper = MockKeeper {
            manner: Rc::new(Cell::new(Manner::Honest)),
            records: Rc::default(),
            heads: Rc::default(),
            asked: Rc::default(),
        };
        (peer(number), keeper)
    };
    MockKeepers {
        me: peer(0),
        keepers: Rc::new(RefCell::new((0..5).map(keeper).collect())),
        offline: Rc::default(),
        returning: Rc::default(),
    }
}

impl MockKeepers {
    fn keeper(&self, number: u8) -> MockKeeper {
        self.keepers.borrow()[&peer(number)].clone()
    }

    fn keep(&self, number: u8, plain: &[u8]) -> ChunkId {
        let record = sealed(plain);
        let id = record::id_of(&record);
        self.keeper(number).records.borrow_mut().insert(id, record);
        id
    }

    fn asked(&self) -> u32 {
        self.keepers.borrow().values().map(|k| k.asked.get()).sum()
    }

    fn gather(&self) -> Gather<Self, MockWorld> {
        let known = |epoch| (epoch == KeyEpoch(1)).then(keys);
        Gather::new(self.clone(), MockWorld::default(), known)
    }

    fn all_others(&self, manner: Manner) {
        for number in 1..5 {
            self.keeper(number).manner.set(manner);
        }
    }
}

fn sealed(plain: &[u8]) -> Vec<u8> {
    let suite = Suite::ChaCha20Poly1305;
    record::seal(&keys(), suite, Kind::Data, Codec::Plain, plain.len(), plain)
}

#[test]
fn what_is_here_is_not_asked_for_elsewhere() {
    let keepers = five();
    keepers.keep(1, b"photo");
    let id = keepers.keep(0, b"photo");
    let plain = run(keepers.gather().fetch(id, Kind::Data));
    assert_eq!(plain.as_deref(), Ok(&b"photo"[..]));
    assert_eq!(keepers.asked(), 1);
}

#[test]
fn keepers_that_lie_or_are_gone_cost_no_chunk() {
    for manner in [Manner::Lies, Manner::Gone, Manner::NeverAnswers] {
        for honest in 1..5 {
            let keepers = five();
            // Our own store compares what it reads itself: it may be gone or stuck, but has no other bytes.
            if manner != Manner::Lies {
                keepers.keeper(0).manner.set(manner);
            }
            keepers.all_others(manner);
            let id = keepers.keep(honest, b"photo");
            keepers.keeper(honest).manner.set(Manner::Honest);
            let plain = run(keepers.gather().fetch(id, Kind::Data));
            assert_eq!(plain.as_deref(), Ok(&b"photo"[..]));
        }
    }
}

#[test]
fn a_chunk_that_nobody_has_says_what_everybody_answered() {
    let keepers = five();
    keepers.keeper(1).manner.set(Manner::Lies);
    keepers.keeper(2).manner.set(Manner::NeverAnswers);
    keepers.offline.borrow_mut().insert(peer(3));
    let id = ChunkId([4; 32]);
    let told = run(keepers.gather().fetch(id, Kind::Data));
    let Err(FetchError::Nowhere { mut asked, .. }) = told else {
        panic!("found: {told:?}");
    };
    asked.sort_unstable_by_key(|(peer, _)| *peer);
    assert_eq!(
        asked,
        [
            (peer(0), Outcome::Absent),
            (peer(1), Outcome::Wrong),
            (peer(2), Outcome::Silent),
            (peer(3), Outcome::NotReachable),
            (peer(4), Outcome::Absent),
        ]
    );
}

#[test]
fn a_keeper_whose_link_broke_is_asked_once_it_is_there_again() {
    for manner in [Manner::Honest, Manner::Gone] {
        let keepers = five();
        let id = keepers.keep(3, b"photo");
        let mut away = keepers.offline.borrow_mut();
        away.insert(peer(1));
        if manner == Manner::Honest {
            away.insert(peer(3));
        }
        drop(away);
        keepers.keeper(3).manner.set(manner);
        let told = run(keepers.gather().fetch(id, Kind::Data));
        assert!(matches!(told, Err(FetchError::Nowhere { .. })), "{told:?}");
        keepers.returning.borrow_mut().extend([peer(1), peer(3)]);
        let plain = run(keepers.gather().fetch(id, Kind::Data));
        assert_eq!(plain.as_deref(), Ok(&b"photo"[..]));
    }
}

#[test]
fn a_keeper_that_has_nothing_or_is_silent_is_soon_asked_last() {
    for manner in [Manner::Honest, Manner::NeverAnswers] {
        let keepers = five();
        keepers.keeper(1).manner.set(manner);
        let mut ids = Vec::new();
        for number in 0..200u32 {
            for keeper in 2..5 {
                ids.push(keepers.keep(keeper, &number.to_le_bytes()));
            }
        }
        ids.dedup();
        let gather = keepers.gather();
        run(async {
            for id in ids {
                assert!(gather.fetch(id, Kind::Data).await.is_ok());
            }
        });
        let useless = keepers.keeper(1).asked.get();
        assert!((1..=8).contains(&useless), "asked {useless} times");
    }
}

#[test]
fn a_keeper_that_falls_silent_holds_a_restore_up_for_seconds_and_little_is_asked_for_twice() {
    let keepers = five();
    let mut ids = Vec::new();
    for number in 0..300u32 {
        for keeper in [1, 2] {
            ids.push(keepers.keep(keeper, &noise(number)));
        }
    }
    ids.dedup();
    let gather = keepers.gather();
    let (took, asked_before) = run(async {
        for id in &ids[..100] {
            assert!(gather.fetch(*id, Kind::Data).await.is_ok());
        }
        let asked_before = keepers.asked();
        keepers.keeper(1).manner.set(Manner::NeverAnswers);
        let began = PausedClock.now();
        let fetches = ids[100..].iter().map(|id| {
            let (gather, id) = (gather.clone(), *id);
            tokio::task::spawn_local(async move { gather.fetch(id, Kind::Data).await.is_ok() })
        });
        for fetch in fetches.collect::<Vec<_>>() {
            assert!(fetch.await.expect("no panic"));
        }
        (PausedClock.now().since(began), asked_before)
    });
    // Of the world's own time, in which nothing else takes any.
    assert!(took.as_secs() <= 10, "{took:?}");
    let of_silent = keepers.keeper(1).asked.get();
    let asked = keepers.asked() - asked_before;
    assert!(
        asked <= 900,
        "{asked} questions for 200 chunks, {of_silent} to the silent one"
    );
}

fn noise(number: u32) -> Vec<u8> {
    let mut bytes = vec![0; 300_000];
    blake3::Hasher::new()
        .update(&number.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

#[test]
fn chunks_fetched_at_once_come_from_several_keepers() {
    let keepers = five();
    let mut ids = Vec::new();
    for number in 0..60u32 {
        for keeper in 1..5 {
            ids.push(keepers.keep(keeper, &number.to_le_bytes()));
        }
    }
    ids.dedup();
    let gather = keepers.gather();
    run(async {
        let fetches = ids.into_iter().map(|id| {
            let gather = gather.clone();
            tokio::task::spawn_local(async move { gather.fetch(id, Kind::Data).await.is_ok() })
        });
        for fetch in fetches.collect::<Vec<_>>() {
            assert!(fetch.await.expect("no panic"));
        }
    });
    for number in 1..5 {
        let asked = keepers.keeper(number).asked.get();
        assert!(
            (8..=22).contains(&asked),
            "keeper {number} was asked {asked} times of 60"
        );
    }
}

#[test]
fn a_chunk_of_another_kind_or_without_its_key_is_told_as_such() {
    let keepers = five();
    let id = keepers.keep(2, b"photo");
    let gather = keepers.gather();
    let other = run(gather.fetch(id, Kind::Page));
    assert!(
        matches!(
            other,
            Err(FetchError::OtherKind {
                found: Kind::Data,
                ..
            })
        ),
        "{other:?}"
    );
    let no_keys = Gather::new(keepers.clone(), MockWorld::default(), |_| None);
    let closed = run(no_keys.fetch(id, Kind::Data));
    assert!(
        matches!(closed, Err(FetchError::Closed { .. })),
        "{closed:?}"
    );
}

fn head(author: u8, number: u64, accepted: bool, salt: u8) -> SignedHead {
    let key = SigningKey::from_bytes(&[author; 32]);
    let head = Head {
        reserve: ReserveId([1; 16]),
        author: PeerKey(key.verifying_key().to_bytes()),
        incarnation: [salt; 8],
        number: SnapshotNumber(number),
        previous: None,
        manifest: ChunkId([salt; 32]),
        taken: Stamp::default(),
        chunks: 1,
        sealed_bytes: 1,
        accepted,
    };
    SignedHead::sign(head, &key)
}

#[test]
fn heads_are_merged_newest_first_and_conflicting_ones_are_both_kept() {
    let keepers = five();
    let author = head(9, 1, true, 0).head.author;
    let mut forged = head(9, 9, true, 0);
    forged.head.chunks = 77;
    *keepers.keeper(1).heads.borrow_mut() = (1..=3).map(|n| head(9, n, true, 0)).collect();
    *keepers.keeper(2).heads.borrow_mut() = vec![
        head(9, 2, true, 0),
        head(9, 3, true, 5),
        head(9, 4, false, 0),
        forged,
    ];
    *keepers.keeper(3).heads.borrow_mut() = vec![head(8, 7, true, 0)];
    keepers.keeper(4).manner.set(Manner::NeverAnswers);
    let heads = Heads::new(keepers.clone(), MockWorld::default());
    let all = run(heads.of(author, 100));
    let numbers: Vec<u64> = all.heads.iter().map(|h| h.head.number.0).collect();
    assert_eq!(numbers, [4, 3, 3, 2, 1]);
    assert_eq!(all.missing, [peer(4)]);
    assert_eq!(run(heads.of(author, 2)).heads.len(), 2);

    let collected = run(heads.latest(author, &[]));
    let undisputed = collected.undisputed.map(|h| h.head.number.0);
    assert_eq!(undisputed, Some(2));
    let latest = collected.heads;
    let numbers: Vec<u64> = latest.iter().map(|h| h.head.number.0).collect();
    assert_eq!(numbers, [3, 3], "4 waits for a person, 3 exists twice");

    let choice = |head: &SignedHead| Choice {
        number: head.head.number,
        head: head.hash(),
        chunks: head.head.chunks,
    };
    for (one, other) in [(&latest[0], &latest[1]), (&latest[1], &latest[0])] {
        let chosen = run(heads.latest(author, &[choice(one)]));
        assert_eq!(chosen.heads, std::slice::from_ref(one));
        assert_eq!(chosen.unseen, None);
        assert_ne!(one, other);
    }
    let nowhere = choice(&head(9, 3, true, 77));
    let missed = run(heads.latest(author, &[nowhere]));
    assert_eq!((missed.heads.len(), missed.unseen), (0, Some(nowhere)));
    assert_eq!(missed.undisputed.map(|h| h.head.number.0), Some(2));

    let authors = run(heads.of_all_authors()).heads;
    assert_eq!(authors.len(), 2);
}

#[test]
fn a_long_history_is_read_to_its_end_and_only_the_newest_are_kept() {
    let keepers = five();
    let author = head(9, 1, true, 0).head.author;
    *keepers.keeper(1).heads.borrow_mut() = (1..=350).map(|n| head(9, n, n < 20, 0)).collect();
    let heads = Heads::new(keepers, MockWorld::default());
    let newest = run(heads.of(author, 10)).heads;
    assert_eq!(newest.first().map(|h| h.head.number.0), Some(350));
    assert_eq!(newest.len(), 10);
    let latest = run(heads.latest(author, &[])).heads;
    assert_eq!(latest.first().map(|h| h.head.number.0), Some(19));
}
