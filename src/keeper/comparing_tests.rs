//! Two keepers compare, told in sentences; every question and answer goes through its bytes, which are counted.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::ask::{AskError, Compare};
use super::mock_world::MockWorld;
use super::places::Places;
use super::queue::Sizes;
use super::remote::bits_of;
use super::sets::SetIndex;
use super::store::{Store, StoreConfig};
use super::store_tests::{ANNA, BELA, MockStore, open, open_with, put, record, run};
use super::table::Entry;
use super::{Copies, MemberView};
use crate::format::compare::{Marks, Prints, Unmatched};
use crate::format::message::{Envelope, Message, Refusal};
use crate::format::segment::Location;
use crate::monitor::{Outcome, Pair, Take, compare};
use crate::terms::{ChunkId, PeerKey};

const HERE: PeerKey = PeerKey([8; 32]);
const THERE: PeerKey = PeerKey([9; 32]);

fn places(keys: &[PeerKey]) -> Places {
    let member = |key: &PeerKey| MemberView {
        key: *key,
        name: key.short().into(),
        site: key.short().into(),
    };
    Places {
        members: keys.iter().map(member).collect(),
        wanted: 3,
        least: 2,
    }
}

/// The other keeper, behind a wire that counts.
#[derive(Clone)]
struct Counted {
    store: MockStore,
    places: Places,
    bytes: Rc<Cell<usize>>,
}

impl Counted {
    fn new(store: &MockStore, places: &Places) -> Self {
        Self {
            store: store.clone(),
            places: places.clone(),
            bytes: Rc::default(),
        }
    }

    fn through(&self, message: Message) -> Message {
        let envelope = Envelope {
            request: 1,
            message,
            body_bytes: 0,
        };
        let bytes = envelope.encode();
        self.bytes.set(self.bytes.get() + bytes.len());
        Envelope::decode(&bytes)
            .expect("what is sent can be read")
            .message
    }
}

impl Compare for Counted {
    async fn prints(&self, prints: Prints) -> Result<Vec<bool>, AskError> {
        let Message::Prints(asked) = self.through(Message::Prints(prints)) else {
            return Err(AskError::Nonsense);
        };
        let pair = [HERE, THERE];
        let differ = self.store.answer_prints(&self.places, pair, &asked).await?;
        self.through(Message::Differ {
            bits: bits_of(&differ),
        });
        Ok(differ)
    }

    async fn marks(&self, marks: Marks) -> Result<Unmatched, AskError> {
        let Message::Marks(asked) = self.through(Message::Marks(marks)) else {
            return Err(AskError::Nonsense);
        };
        let pair = [HERE, THERE];
        let unmatched = self.store.answer_marks(&self.places, pair, &asked).await?;
        match self.through(Message::Unmatched(unmatched)) {
            Message::Unmatched(unmatched) => Ok(unmatched),
            _ => Err(AskError::Nonsense),
        }
    }
}

/// Takes from the other store, and remembers what.
struct Taker<'a> {
    from: &'a MockStore,
    to: &'a MockStore,
    taken: RefCell<Vec<(PeerKey, ChunkId)>>,
}

impl<'a> Taker<'a> {
    fn new(from: &'a MockStore, to: &'a MockStore) -> Self {
        Self {
            from,
            to,
            taken: RefCell::default(),
        }
    }
}

impl Take for Taker<'_> {
    async fn take(&mut self, author: PeerKey, ids: Vec<ChunkId>) -> u64 {
        for id in &ids {
            let record = self.from.get(*id).await.expect("it reads");
            let record = Rc::new(record.expect("it is there and whole"));
            self.to.put(author, *id, record).await.expect("it is kept");
            self.taken.borrow_mut().push((author, *id));
        }
        ids.len() as u64
    }
}

async fn compared(
    here: &MockStore,
    there: &Counted,
    below: u8,
    take: &mut impl Take,
) -> Result<Outcome, AskError> {
    let places = places(&[ANNA, BELA, HERE, THERE]);
    let pair = Pair {
        store: here,
        me: HERE,
        keeper: there,
        peer: THERE,
        places: &places,
        absent: &[],
        salt: 77,
    };
    compare(&pair, below, take).await
}

async fn copies(here: &MockStore) -> Copies {
    here.copies(HERE, &places(&[ANNA, BELA, HERE, THERE])).await
}

async fn two_stores(config: StoreConfig) -> (MockStore, MockStore) {
    let open = async || {
        open_with(&MockWorld::new().disk, config, Sizes::default())
            .await
            .0
    };
    (open().await, open().await)
}

/// So many chunks that only a table knows: nobody asks for their names.
fn enter(store: &Store<MockWorld>, prefixes: &[[u8; 12]]) {
    let mut state = store.inner().shared.state.borrow_mut();
    let who = state.authors.index_of(ANNA).expect("there is room");
    let claims = state
        .sets
        .with(SetIndex::EMPTY, who)
        .expect("there is room");
    for prefix in prefixes {
        let entry = Entry {
            prefix: *prefix,
            location: Location::new(9, 4096).expect("it fits"),
            record_bytes: 1000,
            damaged: false,
            holders: SetIndex::EMPTY,
            claims,
        };
        state.table.insert(entry).expect("there is room");
    }
}

#[test]
fn a_million_names_of_which_a_hundred_differ_cost_three_questions_and_less_than_200_kb() {
    run(async {
        let config = StoreConfig {
            table_chunks: 1_100_000,
            ..super::store_tests::CONFIG
        };
        let (here, there) = two_stores(config).await;
        let mut names = vec![0; 12 * 999_900];
        blake3::Hasher::new()
            .update(b"a million names")
            .finalize_xof()
            .fill(&mut names);
        let mut prefixes = names.as_chunks::<12>().0.to_vec();
        prefixes.sort_unstable();
        enter(&here, &prefixes);
        enter(&there, &prefixes);
        let mut lacking = Vec::new();
        for number in 0..50 {
            put(&here, ANNA, number, 100).await;
            lacking.push((ANNA, put(&there, ANNA, 1000 + number, 100).await));
        }
        let wire = Counted::new(&there, &places(&[ANNA, BELA, HERE, THERE]));
        let mut taker = Taker::new(&there, &here);
        let outcome = compared(&here, &wire, 0, &mut taker)
            .await
            .expect("it answers");
        let taken = taker.taken.into_inner();
        lacking.sort_unstable();
        assert_eq!(taken, lacking, "by name, in order");
        assert_eq!((outcome.lacking_here, outcome.lacking_there), (50, 50));
        assert!(outcome.questions <= 4, "{outcome:?}");
        assert!(wire.bytes.get() <= 200_000, "{} bytes", wire.bytes.get());
    });
}

#[test]
fn whoever_has_nothing_gets_all_of_it_with_the_claims_of_both_authors_and_knows_the_copies() {
    run(async {
        let (here, _) = open(&MockWorld::new().disk).await;
        let (there, _) = open(&MockWorld::new().disk).await;
        for number in 0..700 {
            put(&there, ANNA, number, 40).await;
            if number % 3 == 0 {
                put(&there, BELA, number, 40).await;
            }
        }
        let wire = Counted::new(&there, &places(&[ANNA, BELA, HERE, THERE]));
        let mut taker = Taker::new(&there, &here);
        let outcome = compared(&here, &wire, 0, &mut taker)
            .await
            .expect("it answers");
        assert_eq!((outcome.lacking_here, outcome.taken), (934, 934));
        assert!(outcome.is_whole());
        let mut taker = Taker::new(&there, &here);
        let again = compared(&here, &wire, 0, &mut taker)
            .await
            .expect("it answers");
        assert_eq!((again.lacking_here, again.lacking_there), (0, 0));
        // Two other Boxes besides the author; this one and the other have it, BELA was never compared with.
        let known = copies(&here).await;
        let expected = Copies {
            chunks: 700,
            enough: 0,
            few: 0,
            extra: 0,
        };
        assert_eq!(known, expected);
    });
}

#[test]
fn a_holder_that_was_believed_and_lost_a_chunk_is_believed_no_more() {
    run(async {
        let disk = MockWorld::new().disk;
        let (here, _) = open(&MockWorld::new().disk).await;
        let (there, _) = open(&disk).await;
        for number in 0..10 {
            put(&here, ANNA, number, 40).await;
            put(&there, ANNA, number, 40).await;
        }
        let three = places(&[ANNA, HERE, THERE]);
        let wire = Counted::new(&there, &three);
        let pair = Pair {
            store: &here,
            me: HERE,
            keeper: &wire,
            peer: THERE,
            places: &three,
            absent: &[],
            salt: 5,
        };
        let mut taker = Taker::new(&there, &here);
        compare(&pair, 0, &mut taker).await.expect("it answers");
        let known = here.copies(HERE, &three).await;
        assert_eq!((known.chunks, known.enough, known.few), (10, 10, 0));
        // One is damaged there.
        let (id, _) = record(4, 40);
        let location = there.inner().candidates(&id)[0].location;
        there.inner().flag(&id, location);
        let outcome = compare(&pair, 0, &mut taker).await.expect("it answers");
        assert_eq!((outcome.lacking_here, outcome.lacking_there), (0, 1));
        let known = here.copies(HERE, &three).await;
        assert_eq!((known.chunks, known.enough, known.few), (10, 9, 1));
        here.forget_holder(THERE).await;
        let known = here.copies(HERE, &three).await;
        assert_eq!((known.enough, known.few), (0, 10));
    });
}

#[test]
fn what_others_are_known_to_have_can_wait_and_the_rest_is_named_first() {
    run(async {
        let (here, _) = open(&MockWorld::new().disk).await;
        let (there, _) = open(&MockWorld::new().disk).await;
        let mut ids = Vec::new();
        for number in 0..6 {
            ids.push(put(&there, ANNA, number, 40).await);
        }
        // BELA is known there to hold the first three.
        let mut prefixes: Vec<_> = ids[..3].iter().map(super::table::prefix_of).collect();
        prefixes.sort_unstable();
        let everything = crate::format::compare::Ranges {
            depth: 0,
            of: vec![0],
        };
        let basis = crate::format::compare::Basis {
            salt: 1,
            places: [0; 16],
            absent: vec![],
        };
        let all = places(&[ANNA, BELA, HERE, THERE]);
        let mut shares = super::Shares::new(&all, &basis, [THERE, BELA]);
        let marks = there
            .marks(&mut shares, &everything, None, 9)
            .await
            .expect("six");
        let marker = crate::format::compare::Marker::new(1, ANNA);
        let first: Vec<u64> = prefixes.iter().map(|prefix| marker.mark(prefix)).collect();
        let mut rest: Vec<u64> = marks.into_iter().filter(|m| !first.contains(m)).collect();
        rest.sort_unstable();
        there
            .note_holder(&mut shares, BELA, &everything, &rest)
            .await;
        let wire = Counted::new(&there, &all);
        let mut taker = Taker::new(&there, &here);
        let urgent = compared(&here, &wire, 2, &mut taker)
            .await
            .expect("it answers");
        assert_eq!(urgent.taken, 3);
        let taken = taker.taken.into_inner();
        assert!(
            ids[3..].iter().all(|id| taken.contains(&(ANNA, *id))),
            "{taken:?}"
        );
        let mut taker = Taker::new(&there, &here);
        let later = compared(&here, &wire, 0, &mut taker)
            .await
            .expect("it answers");
        assert_eq!(later.taken, 3);
    });
}

#[test]
fn boxes_that_do_not_know_the_same_members_do_not_compare() {
    run(async {
        let (here, _) = open(&MockWorld::new().disk).await;
        let (there, _) = open(&MockWorld::new().disk).await;
        put(&there, ANNA, 1, 40).await;
        let wire = Counted::new(&there, &places(&[ANNA, HERE, THERE]));
        let mut taker = Taker::new(&there, &here);
        let outcome = compared(&here, &wire, 0, &mut taker).await;
        assert_eq!(outcome, Err(AskError::Refused(Refusal::OtherPlaces)));
        assert!(taker.taken.into_inner().is_empty());
    });
}
