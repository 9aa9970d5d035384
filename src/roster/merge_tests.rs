//! Rosters made apart become one, whatever order they meet in.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::SetError;
use super::found::reserve_id;
use super::merge::{COUNTER_JUMP_MAX, Roster, close};
use crate::format::keys::RecoveryKeys;
use crate::format::roster::{
    Choice, EpochNote, Fact, Facts, Retention, SignedFact, Subject, Value,
};
use crate::terms::limits::EPOCH_JUMP_MAX;
use crate::terms::{HeadHash, KeyEpoch, Limitation, PeerKey, ReserveId, SnapshotNumber, Suite};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn peer(seed: u8) -> PeerKey {
    PeerKey(key(seed).verifying_key().to_bytes())
}

fn recovery() -> SigningKey {
    RecoveryKeys::derive(&[9; 32]).sign
}

fn signed(subject: Subject, value: Value, counter: u32, signer: &SigningKey) -> SignedFact {
    let sign = PeerKey(recovery().verifying_key().to_bytes());
    let signer_key = PeerKey(signer.verifying_key().to_bytes());
    let fact = Fact {
        subject,
        value,
        counter,
        signer: signer_key,
    };
    SignedFact::sign(reserve_id(peer(0), sign, &[8; 32]), fact, signer)
}

fn member(of: u8, counter: u32, by: u8) -> SignedFact {
    let value = Value::member([of; 32], &key(of));
    signed(Subject::Peer(peer(of)), value, counter, &key(by))
}

/// A roster as somebody might send it: the root, the founder, and these; the first of each place stays.
fn sent(more: impl IntoIterator<Item = SignedFact>) -> Facts {
    let sign = PeerKey(recovery().verifying_key().to_bytes());
    let seal = [8; 32];
    let root = signed(Subject::Reserve, Value::Recovery { sign, seal }, 1, &key(0));
    let mut facts = BTreeMap::new();
    for fact in [root, member(0, 1, 0)].into_iter().chain(more) {
        let place = (fact.fact.subject, fact.fact.value.slot());
        facts.entry(place).or_insert(fact);
    }
    let facts = Facts {
        reserve: reserve_id(peer(0), sign, &seal),
        facts: facts.into_values().collect(),
    };
    Facts::decode(&facts.encode()).expect("signed, in order")
}

fn roster(more: impl IntoIterator<Item = SignedFact>) -> Roster {
    Roster::from_facts(&sent(more)).expect("it has a root")
}

fn joined(a: &Roster, b: &Roster) -> Roster {
    let mut result = a.clone();
    result.merge(&b.to_facts());
    result
}

fn note(epoch: u32, about: u8) -> EpochNote {
    EpochNote {
        epoch: KeyEpoch(epoch),
        held: vec![KeyEpoch(epoch)],
        without: Vec::new(),
        note: vec![about].into(),
    }
}

/// Anything signed by anybody (4 and 5 are often no members, 6 is the recovery key) about anybody.
fn any_fact() -> impl Strategy<Value = SignedFact> {
    (0u8..25, 0u8..6, 0u8..7, 1u32..5, 0u8..3).prop_map(|(what, about, by, counter, n)| {
        let value = match what {
            0..=4 => Value::member([n; 32], &key(about)),
            5 => Value::Name(["a", "b", "c"][usize::from(n)].into()),
            6 => Value::Addresses(vec![([127, 0, 0, n], 1).into()]),
            7 => Value::FastAes(n == 0),
            8 => Value::Removed { lost: n == 0 },
            9 => Value::Factor(n),
            10 => Value::FactorMin(n),
            11 => Value::ChunkSuite(if n == 0 {
                Suite::Aes256Gcm
            } else {
                Suite::ChaCha20Poly1305
            }),
            12 => Value::EpochSecret(note(n.into(), about)),
            13 => Value::Site("s".into()),
            14 => Value::Secrets(note(n.into(), about)),
            15 => Value::Stays,
            16 => Value::Replaces(peer((about + 1 + n) % 6)),
            17 => Value::EventPeriod(n.into()),
            18 => Value::WarningWindow(n.into()),
            19 => Value::WarningWindowOf(Limitation::ALL[usize::from(n)], n.into()),
            20 => Value::SweepPeriod(n.into()),
            21 => Value::KeeperAway(n.into()),
            22 => Value::ReleaseDelay(7 + u16::from(n)),
            23 => Value::Chosen(vec![Choice {
                number: SnapshotNumber(1),
                head: HeadHash([n; 32]),
                chunks: n.into(),
            }]),
            _ => Value::Retention(Retention {
                daily: n.into(),
                ..Retention::default()
            }),
        };
        let subject = if value.slot() <= 4 || value.slot() >= 32 {
            Subject::Reserve
        } else {
            Subject::Peer(peer(about))
        };
        let signer = if by == 6 { recovery() } else { key(by) };
        signed(subject, value, counter, &signer)
    })
}

fn any_roster() -> impl Strategy<Value = Roster> {
    prop::collection::vec(any_fact(), 0..14).prop_map(roster)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_gives_the_same_in_any_order_and_grouping(
        a in any_roster(), b in any_roster(), c in any_roster()
    ) {
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(&joined(&a, &a), &a);
        let all = joined(&a, &b);
        prop_assert_eq!(&joined(&all, &b), &all);
        // What was merged is entitled as a whole: another Box takes all of it.
        prop_assert_eq!(close(&all.to_facts()), Some((all, 0)));
    }
}

#[test]
fn a_stranger_cannot_make_itself_or_its_friends_members() {
    let stranger = [member(4, 1, 4), member(5, 2, 4)];
    let mut ours = roster([member(1, 2, 0)]);
    let before = ours.clone();
    let merged = ours.merge(&sent(stranger));
    assert_eq!((merged.changed, merged.refused.not_entitled), (false, 2));
    assert!(
        ours.set(Subject::Peer(peer(4)), Value::Name("x".into()), &key(1))
            .is_err()
    );
    assert!(
        ours.set(Subject::Peer(peer(1)), Value::Name("x".into()), &key(4))
            .is_err()
    );
    assert_eq!(ours, before);
}

#[test]
fn two_boxes_that_took_each_other_in_are_still_members_by_the_founders_word() {
    let a = roster([member(1, 2, 0), member(2, 3, 1)]);
    let b = roster([member(2, 2, 0), member(1, 3, 2)]);
    let all = joined(&a, &b);
    assert_eq!(all, roster([member(1, 2, 0), member(2, 2, 0)]));
    assert_eq!(joined(&b, &a), all);
}

#[test]
fn another_founder_is_another_reserve() {
    let mut ours = roster([]);
    let mut theirs = sent([]);
    theirs.reserve = ReserveId([1; 16]);
    assert!(ours.merge(&theirs).refused.foreign);
    let usurped: Vec<SignedFact> = theirs
        .facts
        .into_iter()
        .filter(|fact| fact.fact.subject != Subject::Reserve)
        .collect();
    let usurped = Facts {
        reserve: ours.reserve,
        facts: usurped,
    };
    assert!(ours.merge(&usurped).refused.foreign);
}

#[test]
fn guests_of_a_removed_box_stay_and_the_removed_box_never_returns() {
    let mut ours = roster([member(1, 2, 0), member(2, 3, 1)]);
    ours.set(
        Subject::Peer(peer(1)),
        Value::Removed { lost: true },
        &key(0),
    )
    .expect("a member may");
    let edited = signed(
        Subject::Peer(peer(1)),
        Value::Name("back".into()),
        900,
        &key(1),
    );
    let unlost = signed(
        Subject::Peer(peer(1)),
        Value::Removed { lost: false },
        900,
        &key(1),
    );
    ours.merge(&sent([member(1, 2, 0), edited, unlost]));
    assert!(ours.member(&peer(2)).is_some() && ours.member(&peer(1)).is_none());
    assert_eq!(ours.former()[0].removed, Some(crate::roster::Removal::Lost));
}

#[test]
fn the_recovery_key_has_the_last_word() {
    let mut ours = roster([member(1, 2, 0)]);
    let site = |text: &str| Value::Site(text.into());
    let about = Subject::Peer(peer(1));
    ours.set(about, site("there"), &key(1))
        .expect("a member may");
    ours.set(about, site("here"), &recovery())
        .expect("the owner may");
    assert_eq!(
        ours.set(about, site("there"), &key(1)),
        Err(SetError::Stands)
    );
    ours.merge(&sent([
        member(1, 2, 0),
        signed(about, site("there"), 77, &key(0)),
    ]));
    assert_eq!(ours.member(&peer(1)).expect("a member").site, "here");
    ours.set(
        Subject::Peer(peer(3)),
        Value::member([3; 32], &key(3)),
        &recovery(),
    )
    .expect("the owner may");
    assert!(ours.member(&peer(3)).is_some());
}

#[test]
fn a_box_the_words_keep_is_a_member_whatever_a_thief_said() {
    let mut ours = roster([member(1, 2, 0)]);
    let about = Subject::Peer(peer(0));
    ours.set(about, Value::Removed { lost: true }, &key(1))
        .expect("a thief has a member's key");
    assert!(ours.member(&peer(0)).is_none());
    assert!(ours.set(about, Value::Stays, &key(0)).is_err());
    let own_word = signed(about, Value::Stays, 9, &key(0));
    let merged = ours.merge(&sent([member(1, 2, 0), own_word]));
    assert_eq!((merged.changed, merged.refused.not_entitled), (false, 1));
    ours.set(about, Value::Stays, &recovery())
        .expect("the owner may");
    let again = ours.set(about, Value::Removed { lost: true }, &key(1));
    assert_eq!(again, Err(SetError::Stands));
    assert!(ours.member(&peer(0)).is_some());
    ours.set(about, Value::Removed { lost: false }, &recovery())
        .expect("the owner may change their mind");
    assert!(ours.member(&peer(0)).is_none());
}

#[test]
fn a_counter_or_an_epoch_that_jumps_is_refused() {
    let mut ours = roster([]);
    let far = COUNTER_JUMP_MAX + 1;
    let factor = signed(Subject::Reserve, Value::Factor(1), far, &key(0));
    let secret = Value::EpochSecret(note((EPOCH_JUMP_MAX + 1) << 16, 0));
    let merged = ours.merge(&sent([
        factor,
        signed(Subject::Reserve, secret, 1, &key(0)),
    ]));
    assert_eq!((merged.changed, merged.refused.jumps), (false, 2));
    let near = signed(Subject::Reserve, Value::Factor(1), far - 1, &key(0));
    assert!(ours.merge(&sent([near])).changed);
}

#[test]
fn of_two_values_said_at_once_the_safer_stands() {
    let said = |value| roster([signed(Subject::Reserve, value, 3, &key(0))]);
    for (safe, bold) in [
        (Value::Factor(0), Value::Factor(2)),
        (Value::FactorMin(3), Value::FactorMin(0)),
        (
            Value::ChunkSuite(Suite::ChaCha20Poly1305),
            Value::ChunkSuite(Suite::Aes256Gcm),
        ),
    ] {
        assert_eq!(joined(&said(bold), &said(safe.clone())), said(safe));
    }
}
