//! Stories of giving space back, in a small world in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    Asked, Cancelled, Decided, Forgotten, Means, Progress, ReleaseError, Share, cancel, sorted,
    undo,
};
use crate::author::SnapshotReport;
use crate::author::tests::house::{House, bytes, run};
use crate::author::tests::street::Street;
use crate::author::tests::world::{Small, Thing};
use crate::format::message::Refusal;
use crate::format::roster::Retention;
use crate::keeper::{AskError, Keepers};
use crate::terms::{ChunkId, PeerKey, SnapshotNumber};
use crate::world::{Clock, Disk, World};

const FIRST: PeerKey = PeerKey([1; 32]);
const SECOND: PeerKey = PeerKey([2; 32]);

/// Contents by path.
type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// A history: snapshots and what each should give back.
struct Past {
    house: House,
    taken: Vec<(SnapshotReport, Contents)>,
    progress: Progress,
}

impl Past {
    fn new() -> Self {
        Self {
            house: House::furnished(2, (2, 2)),
            taken: Vec::new(),
            progress: Progress::default(),
        }
    }

    async fn of(snapshots: u8) -> Self {
        let mut past = Self::new();
        for number in 0..snapshots {
            past.change(number);
            past.take().await;
        }
        past
    }

    /// Some files change.
    fn change(&self, number: u8) {
        let tree = &self.house.world.tree;
        tree.file("/d/b/huge", bytes("huge", number, 60_000));
        tree.file(
            format!("/d/a/small{}", number % 20),
            bytes("small", number, 500),
        );
        tree.file(format!("/d/b/c/new{number}"), bytes("new", number, 3_000));
    }

    async fn take(&mut self) {
        let clock = &self.house.world.clock.0;
        clock.set(clock.get() + 86_400);
        let report = Box::pin(self.house.take()).await.expect("taken");
        assert!(report.is_protected());
        self.taken.push((report, self.house.expected()));
    }

    fn means(&self) -> Means<'_, Small, Street> {
        Means {
            world: &self.house.world,
            keepers: &self.house.street,
            identity: &self.house.identity,
            progress: &self.progress,
        }
    }

    async fn decide(&self, asked: &Asked) -> Result<Decided<Small>, ReleaseError> {
        self.means().decide(asked).await
    }

    /// Decides, and tells all keepers in reach.
    async fn forget(&self, asked: &Asked) -> BTreeMap<PeerKey, Result<Share, AskError>> {
        let means = self.means();
        let mut decided = means.decide(asked).await.expect("all can be read");
        means.commit(&mut decided).await.expect("written");
        let mut told = BTreeMap::new();
        for peer in [FIRST, SECOND] {
            let share = means
                .tell(&mut decided, peer)
                .await
                .expect("the disk works");
            told.insert(peer, share);
        }
        decided.clean(&self.house.world).await.expect("cleaned");
        told
    }

    async fn forgotten(&self) -> Forgotten {
        Forgotten::load(&self.house.world.disk).await.expect("read")
    }

    /// Everything that is still listed gives back what went in, from either keeper alone.
    fn all_that_stays_is_there(&self, gone: &[u64]) {
        for (report, expected) in &self.taken {
            if gone.contains(&report.number.0) {
                continue;
            }
            assert_eq!(
                &self.house.contents(report),
                expected,
                "{:?}",
                report.number
            );
        }
    }
}

fn these(numbers: &[u64]) -> Asked {
    Asked::These(numbers.iter().map(ToString::to_string).collect())
}

#[test]
fn what_leaves_gives_back_its_space_and_nothing_that_stays_is_touched() {
    run(async {
        let past = Past::of(6).await;
        let before = past.house.street.shop(1).chunks.borrow().len();
        let told = past.forget(&these(&[2, 3, 5])).await;
        for (key, peer) in [(1, FIRST), (2, SECOND)] {
            let shop = past.house.street.shop(key);
            let share = told[&peer].as_ref().expect("told");
            assert!(share.chunks > 0 && share.bytes > 0);
            assert_eq!(share.numbers.count(), 3);
            assert_eq!(shop.released.borrow().len() as u64, share.chunks);
            let waiting = share.waiting.as_ref().expect("it waits");
            assert_eq!((waiting.chunks, waiting.numbers.count()), (share.chunks, 3));
            shop.let_go();
            assert_eq!(
                shop.chunks.borrow().len() as u64,
                before as u64 - share.chunks
            );
        }
        past.all_that_stays_is_there(&[2, 3, 5]);
        // What is there now is needed, all of it: asked again, nothing more goes.
        for share in past.forget(&Asked::Nothing).await.into_values() {
            assert_eq!(share, Ok(Share::default()));
        }
        let scratch = past.house.world.disk.list("author").await.expect("listed");
        assert!(
            !scratch.iter().any(|file| file.starts_with("release-")),
            "{scratch:?}"
        );
    });
}

#[test]
fn each_part_of_an_index_is_read_once_however_many_snapshots_share_it() {
    run(async {
        let mut past = Past::of(1).await;
        let before = gets(&past);
        past.decide(&Asked::Nothing).await.expect("decided");
        let parts_of_one = gets(&past) - before;
        for _ in 0..10 {
            past.take().await;
        }
        let before = gets(&past);
        past.decide(&Asked::Nothing).await.expect("decided");
        let parts = gets(&past) - before;
        assert_eq!(
            parts,
            parts_of_one + 10,
            "ten manifests more, and nothing else"
        );
        assert_eq!(past.progress.parts.get(), parts);
        assert_eq!(past.progress.parts_all.get(), Some(parts));
    });
}

fn gets(past: &Past) -> u64 {
    [1, 2]
        .into_iter()
        .map(|key| past.house.street.shop(key).gets.get())
        .sum()
}

#[test]
fn while_one_part_of_what_stays_cannot_be_read_nothing_is_given_up_at_all() {
    run(async {
        let past = Past::of(4).await;
        let ids: Vec<ChunkId> = past
            .house
            .street
            .shop(1)
            .chunks
            .borrow()
            .keys()
            .copied()
            .collect();
        let mut refused = 0;
        for id in ids {
            let mut taken = Vec::new();
            for key in [1, 2] {
                taken.push(past.house.street.shop(key).chunks.borrow_mut().remove(&id));
            }
            match past.decide(&these(&[2])).await {
                Err(ReleaseError::Unreadable { number, .. }) => {
                    assert_ne!(number, SnapshotNumber(2));
                    refused += 1;
                }
                Err(ReleaseError::Index(_)) => refused += 1,
                Err(error) => panic!("{error}"),
                // Data, or what only the one that leaves needs: that it is missing changes nothing.
                Ok(_) => {}
            }
            for (key, record) in [1, 2].into_iter().zip(taken) {
                if let Some(record) = record {
                    past.house
                        .street
                        .shop(key)
                        .chunks
                        .borrow_mut()
                        .insert(id, record);
                }
            }
        }
        assert!(refused > 8, "{refused}");
        assert_eq!(past.house.street.shop(1).releases.get(), 0);
        assert!(past.forgotten().await.is_empty());
    });
}

#[test]
fn a_snapshot_whose_manifest_nobody_has_leaves_at_a_persons_word_and_by_no_rule() {
    run(async {
        let past = Past::of(4).await;
        let decided = past.decide(&Asked::Nothing).await.expect("all is there");
        let second = decided.history.snapshots()[1];
        decided.clean(&past.house.world).await.expect("cleaned");
        for key in [1, 2] {
            let shop = past.house.street.shop(key);
            assert!(shop.chunks.borrow_mut().remove(&second.manifest).is_some());
        }
        let rule = Asked::Rule(Retention {
            last: 1,
            ..Retention::default()
        });
        let refused = past.decide(&rule).await.err();
        assert!(
            matches!(refused, Some(ReleaseError::Unreadable { number, .. }) if number == second.number),
            "{refused:?}"
        );
        let decided = past.decide(&these(&[2])).await.expect("a person said so");
        assert_eq!(decided.leaving, [second]);
    });
}

#[test]
fn what_was_sent_and_belongs_to_no_snapshot_comes_to_light() {
    run(async {
        let past = Past::of(2).await;
        let shop = past.house.street.shop(1);
        let stray = ChunkId([77; 32]);
        shop.chunks
            .borrow_mut()
            .insert(stray, std::rc::Rc::new(vec![0; 10]));
        let told = past.forget(&Asked::Nothing).await;
        let share = told[&FIRST].as_ref().expect("told");
        assert_eq!((share.chunks, share.bytes), (1, 10));
        assert!(share.numbers.is_empty());
        assert_eq!(told[&SECOND], Ok(Share::default()));
    });
}

#[test]
fn a_keeper_that_was_off_is_told_when_it_is_back() {
    run(async {
        let past = Past::of(5).await;
        past.house.street.set_away(2, true);
        let told = past.forget(&these(&[1, 2])).await;
        assert_eq!(told[&SECOND], Err(AskError::Gone));
        past.house.street.shop(1).let_go();
        let now = past.house.world.clock().wall();
        let forgotten = past.forgotten().await;
        assert!(forgotten.is_due(SECOND, false, now) && !forgotten.is_due(FIRST, false, now));

        // It still lists them; nobody has to say again that they leave, and that they cannot be read anywhere else stops nothing.
        past.house.street.set_away(2, false);
        let told = past.forget(&Asked::Nothing).await;
        assert_eq!(told[&SECOND].as_ref().expect("told").numbers.count(), 2);
        past.house.street.shop(2).let_go();
        past.all_that_stays_is_there(&[1, 2]);
        assert!(!past.forgotten().await.is_due(SECOND, false, now));
        past.forget(&Asked::Nothing).await;
        assert!(
            past.forgotten().await.is_empty(),
            "nobody lists them any more"
        );
    });
}

#[test]
fn a_keeper_that_waits_already_is_asked_again_later() {
    run(async {
        let past = Past::of(3).await;
        past.house.street.shop(1).is_closed.set(true);
        let told = past.forget(&these(&[1])).await;
        let refusal = Refusal::ReleaseWaits { seconds: 9 };
        assert_eq!(told[&FIRST], Err(refusal.into()));
        let now = past.house.world.clock().wall();
        assert!(past.forgotten().await.is_due(FIRST, false, now));
    });
}

#[test]
fn what_is_claimed_while_a_keeper_lists_its_claims_has_it_list_them_anew() {
    run(async {
        let past = Past::of(3).await;
        let shop = past.house.street.shop(1);
        shop.page.set(Some(5));
        shop.is_restless.set(3);
        let told = past.forget(&these(&[1])).await;
        assert!(told[&FIRST].as_ref().is_ok_and(|share| share.chunks > 0));
        shop.is_restless.set(u32::MAX);
        let told = past.forget(&these(&[2])).await;
        assert_eq!(told[&FIRST], Err(Refusal::ClaimedSince.into()));
    });
}

#[test]
fn a_box_whose_memory_is_behind_gives_nothing_up() {
    run(async {
        let mut past = Past::of(2).await;
        let image = past.house.world.disk.0.borrow().clone();
        past.change(9);
        past.take().await;
        for old in [image, BTreeMap::new()] {
            *past.house.world.disk.0.borrow_mut() = old;
            let refused = past.decide(&these(&[1])).await.err();
            assert!(matches!(refused, Some(ReleaseError::MemoryBehind)));
        }
        // It took one since; as long as somebody is away who may know of another one, nothing is given up.
        past.house.options.accept_loss = true;
        past.take().await;
        past.house.street.set_away(2, true);
        let refused = past.decide(&these(&[1])).await.err();
        assert!(matches!(refused, Some(ReleaseError::OthersMayKnow)));
        past.house.street.set_away(2, false);
        assert!(past.decide(&these(&[1])).await.is_ok());
    });
}

#[test]
fn the_newest_what_waits_and_the_last_of_each_data_set_stay_whoever_names_them() {
    run(async {
        let mut past = Past::new();
        past.house.more = vec!["old"];
        past.house.world.tree.add("/old", Thing::Dir);
        past.house.world.tree.file("/old/letter", *b"dear");
        past.change(0);
        past.take().await;
        past.change(1);
        past.take().await;
        past.house.more.clear();
        past.change(2);
        past.take().await;
        past.change(3);
        past.take().await;
        let decided = past.decide(&these(&[1, 2, 3, 4])).await.expect("decided");
        let leaving: Vec<u64> = decided.leaving.iter().map(|one| one.number.0).collect();
        assert_eq!(leaving, [1, 3]);
        let why: Vec<(u64, String)> = decided
            .staying
            .iter()
            .map(|(known, why)| (known.number.0, why.in_words()))
            .collect();
        assert_eq!(why[0], (2, "it is the last one with data set old".into()));
        assert_eq!(why[1], (4, "it is the newest accepted one".into()));
        let unknown = past.decide(&these(&[9])).await.err();
        assert!(matches!(unknown, Some(ReleaseError::Unknown(_))));
    });
}

#[test]
fn what_was_let_go_is_taken_back_in_time_also_where_it_was_effective_already() {
    run(async {
        let past = Past::of(4).await;
        past.forget(&these(&[1, 2])).await;
        past.house.street.set_away(2, true);
        let means = past.means();
        let keepers = undo(&means).await.expect("written");
        assert_eq!(
            cancel(&means, FIRST).await.expect("written"),
            Ok(Cancelled::All)
        );
        assert_eq!(
            cancel(&means, SECOND).await.expect("written"),
            Err(AskError::Gone)
        );
        assert!(keepers.contains(&SECOND));
        assert!(past.forgotten().await.to_cancel().contains(&SECOND));
        past.house.street.set_away(2, false);
        assert_eq!(
            cancel(&means, SECOND).await.expect("written"),
            Ok(Cancelled::All)
        );
        assert_eq!(
            cancel(&means, SECOND).await.expect("written"),
            Ok(Cancelled::NothingWaited)
        );
        assert!(!past.forgotten().await.to_cancel().contains(&SECOND));
        for key in [1, 2] {
            past.house.street.shop(key).let_go();
        }
        past.all_that_stays_is_there(&[]);
        let members = past.house.street.members();
        assert_eq!(keepers.len(), members.len());
    });
}

#[test]
fn what_a_power_cut_left_of_the_lists_is_removed() {
    run(async {
        let past = Past::of(2).await;
        let disk = &past.house.world.disk;
        disk.0
            .borrow_mut()
            .insert("author/release-needed-3".into(), vec![1]);
        past.decide(&Asked::Nothing)
            .await
            .expect("decided")
            .clean(&past.house.world)
            .await
            .expect("cleaned");
        assert!(!disk.0.borrow().contains_key("author/release-needed-3"));
        sorted::clean(disk).await.expect("nothing there");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn whatever_changes_and_whatever_leaves_in_which_order_all_that_stays_comes_back(
        steps in prop::collection::vec((0..6u8, any::<u8>()), 4..16),
        last in 1..4u16,
    ) {
        run(async {
            let mut past = Past::of(2).await;
            let mut gone: Vec<u64> = Vec::new();
            for (step, number) in steps {
                match step {
                    0..3 => {
                        past.change(number);
                        past.take().await;
                    }
                    3 => {
                        let rule = Retention { last, ..Retention::default() };
                        past.forget(&Asked::Rule(rule)).await;
                    }
                    4 => {
                        let stays: Vec<u64> = past.taken.iter().map(|(report, _)| report.number.0).filter(|number| !gone.contains(number)).collect();
                        let chosen = stays[usize::from(number) % stays.len()];
                        past.forget(&these(&[chosen])).await;
                    }
                    _ => past.house.street.set_away(1 + number % 2, false),
                }
                for key in [1, 2] {
                    let shop = past.house.street.shop(key);
                    for (first, end) in shop.leaving.borrow().iter() {
                        gone.extend(first.0..=end.0);
                    }
                    shop.let_go();
                }
                past.all_that_stays_is_there(&gone);
                let heads = past.house.street.shop(1).heads.borrow().clone();
                for head in heads {
                    assert!(!gone.contains(&head.head.number.0), "it is listed and was let go");
                }
            }
        });
    }
}
