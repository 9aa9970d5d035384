//! What an author's heads come to, told in sentences.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::history::{Judged, Latest, Stance, judge, judged_after};
use crate::format::head::{Head, SignedHead};
use crate::format::roster::Choice;
use crate::terms::{ChunkId, HeadHash, PeerKey, ReserveId, SnapshotNumber, Stamp};

/// A head of a number; `made` tells two of one number apart.
fn head(number: u64, made: u8, before: Option<&SignedHead>, accepted: bool) -> SignedHead {
    let key = SigningKey::from_bytes(&[3; 32]);
    let head = Head {
        reserve: ReserveId([1; 16]),
        author: PeerKey(key.verifying_key().to_bytes()),
        incarnation: [4; 8],
        number: SnapshotNumber(number),
        previous: before.map(SignedHead::hash),
        manifest: ChunkId([made; 32]),
        taken: Stamp::default(),
        chunks: 1,
        sealed_bytes: 1,
        accepted,
    };
    SignedHead::sign(head, &key)
}

/// Two histories that part after number 2: of 3 and 4 there are two each.
fn parted() -> Vec<SignedHead> {
    let one = head(1, 0, None, true);
    let two = head(2, 0, Some(&one), true);
    let [a, b] = [1, 2].map(|made| head(3, made, Some(&two), true));
    let [aa, bb] = [(1, &a), (2, &b)].map(|(made, on)| head(4, made, Some(on), true));
    vec![one, two, a, b, aa, bb]
}

fn choice(of: &SignedHead) -> Choice {
    Choice {
        number: of.head.number,
        head: of.hash(),
        chunks: of.head.chunks,
    }
}

fn stances(judged: &Judged) -> Vec<Stance> {
    let sides = judged.conflicts.iter().flat_map(|one| &one.sides);
    let mut stances: Vec<_> = sides.map(|side| side.stance).collect();
    stances.sort_unstable();
    stances
}

#[test]
fn without_two_of_one_number_the_newest_accepted_stands() {
    let one = head(1, 0, None, true);
    let two = head(2, 0, Some(&one), false);
    let judged = judge([&one, &two], &[]);
    assert_eq!(judged.latest, Latest::Stands(one.hash()));
    assert_eq!(judged.conflicts, []);
    assert_eq!(judge([&two], &[]).latest, Latest::Nothing);
    assert_eq!(judge([], &[]).latest, Latest::Nothing);
}

#[test]
fn two_newest_are_unresolved_and_what_they_have_in_common_is_undisputed() {
    let heads = parted();
    let judged = judge(&heads, &[]);
    let mut sides = vec![heads[4].hash(), heads[5].hash()];
    sides.sort_unstable();
    assert_eq!(judged.latest, Latest::Disputed(sides));
    assert_eq!(judged.undisputed, Some(heads[1].hash()));
    let [conflict] = judged.conflicts.as_slice() else {
        panic!("it is one conflict: {judged:?}");
    };
    assert_eq!(
        (conflict.from.0, conflict.until.0, conflict.of_one_number),
        (3, 4, 2)
    );
    assert!(conflict.is_open());
    assert_eq!(stances(&judged), [Stance::Open, Stance::Open]);
    // The heads in between are not told: what comes before the numbers that are doubled is.
    let few = [&heads[0], &heads[1], &heads[4], &heads[5]];
    assert_eq!(judge(few, &[]).undisputed, Some(heads[1].hash()));
    // Nothing is in common.
    assert_eq!(judge([&heads[4], &heads[5]], &[]).undisputed, None);
}

#[test]
fn the_one_its_author_went_on_from_stands_and_the_other_is_kept_aside() {
    let mut heads = parted();
    heads.push(head(5, 0, Some(&heads[5]), true));
    let judged = judge(&heads, &[]);
    assert_eq!(judged.latest, Latest::Stands(heads[6].hash()));
    let [newer, older] = judged.conflicts[0].sides.as_slice() else {
        panic!("two sides: {judged:?}");
    };
    let stance = |of: &SignedHead| {
        let side = [newer, older]
            .into_iter()
            .find(|side| side.head == of.hash());
        side.map(|side| side.stance)
    };
    assert_eq!(stance(&heads[5]), Some(Stance::Stands));
    assert_eq!(stance(&heads[4]), Some(Stance::Aside));
    // A snapshot that waits for a person decides nothing.
    let mut waiting = parted();
    waiting.push(head(5, 0, Some(&waiting[5]), false));
    assert!(matches!(judge(&waiting, &[]).latest, Latest::Disputed(_)));
}

#[test]
fn of_two_newest_one_that_waits_for_a_person_does_not_stand() {
    let one = head(1, 0, None, true);
    let [good, waits] = [true, false].map(|accepted| head(2, 1, Some(&one), accepted));
    let judged = judge([&one, &good, &waits], &[]);
    assert_eq!(judged.latest, Latest::Stands(good.hash()));
    assert_eq!(stances(&judged), [Stance::Stands, Stance::Waits]);
}

#[test]
fn a_choice_decides_for_all_that_descends_also_what_is_found_later() {
    let mut heads = parted();
    let chosen = [choice(&heads[4])];
    let judged = judge(&heads, &chosen);
    assert_eq!(judged.latest, Latest::Stands(heads[4].hash()));
    assert_eq!(stances(&judged), [Stance::Stands, Stance::NotChosen]);
    assert!(!judged.conflicts[0].is_open());
    // A Box that was away comes back and has more of the other history.
    heads.push(head(5, 0, Some(&heads[5]), true));
    let judged = judge(&heads, &chosen);
    assert_eq!(judged.latest, Latest::Stands(heads[4].hash()));
    assert!(judged.is_set_aside(&heads[6].hash()) && !judged.is_set_aside(&heads[4].hash()));
    // The author went on from the chosen one.
    heads.push(head(6, 0, Some(&heads[4]), true));
    assert_eq!(
        judge(&heads, &chosen).latest,
        Latest::Stands(heads[7].hash())
    );
}

#[test]
fn another_choice_further_on_may_take_up_what_was_set_aside() {
    let heads = parted();
    let changed_mind = [choice(&heads[2]), choice(&heads[5])];
    assert_eq!(
        judge(&heads, &changed_mind).latest,
        Latest::Stands(heads[5].hash())
    );
}

#[test]
fn a_chosen_snapshot_counts_as_accepted() {
    let one = head(1, 0, None, true);
    let [good, waits] = [true, false].map(|accepted| head(2, 1, Some(&one), accepted));
    let judged = judge([&one, &good, &waits], &[choice(&waits)]);
    assert_eq!(judged.latest, Latest::Stands(waits.hash()));
}

#[test]
fn a_chosen_snapshot_that_nobody_shows_is_missed_and_nothing_older_stands_for_it() {
    let heads = parted();
    let chosen = choice(&heads[4]);
    let others = [&heads[0], &heads[1], &heads[3], &heads[5]];
    let judged = judge(others, &[chosen]);
    assert_eq!(judged.latest, Latest::Unseen(chosen));
    assert_eq!(judged.undisputed, Some(heads[3].hash()));
    // Where the author went on from it nobody has to see it.
    let next = head(5, 0, Some(&heads[4]), true);
    let judged = judge(others.into_iter().chain([&next]), &[chosen]);
    assert_eq!(judged.latest, Latest::Stands(next.hash()));
}

#[test]
fn heads_are_asked_for_from_the_first_choice_that_is_still_followed() {
    let at = |number| Choice {
        number: SnapshotNumber(number),
        head: HeadHash([1; 32]),
        chunks: 1,
    };
    for (newest, choices, after) in [
        (7, vec![], 6),
        (7, vec![at(3), at(5)], 2),
        (7, vec![at(9)], 6),
        (0, vec![], 0),
        (1_003, vec![at(3)], 2),
        (1_004, vec![at(3)], 1_003),
    ] {
        let told = judged_after(SnapshotNumber(newest), &choices);
        assert_eq!(told, SnapshotNumber(after), "{newest} {choices:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Any histories: each head goes on from any earlier one, or from none.
    #[test]
    fn a_verdict_depends_on_no_order_and_is_reached_for_whatever_is_told(
        made in prop::collection::vec((0usize..6, any::<bool>(), any::<bool>()), 1..12),
        chosen in prop::collection::vec(0usize..12, 0..3),
        turn in 0usize..12,
    ) {
        let mut heads: Vec<SignedHead> = Vec::new();
        for (nth, (back, accepted, is_told)) in made.iter().enumerate() {
            let before = heads.len().checked_sub(1 + back).map(|at| heads[at].clone());
            let number = before.as_ref().map_or(1, |before| before.head.number.0 + 1);
            heads.push(head(number, u8::try_from(nth).expect("few"), before.as_ref(), *accepted || *is_told));
        }
        let mut choices: Vec<Choice> = Vec::new();
        for at in chosen {
            let new = choice(&heads[at % heads.len()]);
            choices.retain(|old| old.number != new.number);
            choices.push(new);
        }
        choices.sort_by_key(|choice| choice.number);
        let judged = judge(&heads, &choices);
        let mut turned = heads.clone();
        turned.rotate_left(turn % heads.len());
        turned.push(heads[0].clone());
        prop_assert_eq!(&judge(&turned, &choices), &judged);
        if let Latest::Stands(head) = judged.latest {
            prop_assert!(!judged.is_set_aside(&head));
            prop_assert!(judged.conflicts.iter().all(|conflict| !conflict.is_open()));
        }
        let numbers: BTreeSet<_> = heads.iter().map(|head| head.head.number).collect();
        prop_assert_eq!(judged.conflicts.is_empty(), numbers.len() == heads.len());
        for conflict in &judged.conflicts {
            prop_assert!(conflict.sides.len() > 1, "{:?}", conflict);
        }
    }
}
