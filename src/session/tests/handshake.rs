//! Who gets in, and what strangers hear.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::spawn_local;

use super::harness::{
    Bare, Hand, Member, bytes, meet, meet_over, pair, run, serve_done, settle, tapped,
};
use crate::format::keys::RecoveryWay;
use crate::format::message::Message;
use crate::format::opening::{Opening, Wish};
use crate::format::ticket::Ticket;
use crate::session::{Answered, LocalKeys, OpenError, Side, join, prove, recover, verify};
use crate::terms::limits::{HANDSHAKE_SECONDS_MAX, ROSTER_BYTES_MAX};
use crate::terms::{KeyEpoch, PeerKey, Suite};
use crate::world::Clock;

const CHACHA: Suite = Suite::ChaCha20Poly1305;
/// Opening, code and first Noise message.
const FLIGHT_BYTES: usize = 13 + 16 + 96;

#[test]
fn two_members_meet_with_either_cipher_and_know_each_other() {
    run(async {
        for suite in [CHACHA, Suite::Aes256Gcm] {
            let (a, b) = pair();
            let (near, far) = meet(&a, &b, suite).await;
            assert_eq!(near.peer(), b.keys.peer());
            assert_eq!(far.peer(), a.keys.peer());
            assert!(near.initiated() && !far.initiated());
            assert_eq!(near.handshake_hash(), far.handshake_hash());
            assert_eq!(far.noise_static(), &a.keys.noise_static());
            assert_eq!(near.hello().boot, 5);
            serve_done(&far);
            let answer = near.ask(Message::Roster, None).await;
            assert_eq!(answer, Ok((Message::Done, Vec::new())));
        }
    });
}

/// Says these bytes to `b` and hangs up; tells why nothing came of it and how much `b` answered.
async fn say_to(b: &Member, said: &[u8]) -> (OpenError, usize) {
    let (mut near, far) = duplex(1 << 20);
    near.write_all(said).await.expect("in memory");
    near.shutdown().await.expect("in memory");
    let Err(error) = b.take(far).await else {
        panic!("{} bytes from nobody gave a session", said.len());
    };
    let mut heard = Vec::new();
    near.read_to_end(&mut heard).await.expect("in memory");
    (error, heard.len())
}

/// All that a caller says until its session stands.
async fn recorded(a: &Member, b: &Member) -> Vec<u8> {
    let (near, far, seen) = tapped(|_, byte| Hand::Pass(byte));
    let sessions = meet_over(a, b, CHACHA, near, far).await;
    drop(sessions);
    settle().await;
    seen.take()
}

#[test]
fn a_stranger_without_the_network_key_hears_nothing() {
    run(async {
        let (mut a, b) = pair();
        a.secret = [8; 32];
        let (near, far) = duplex(1 << 16);
        let to = b.callee(CHACHA);
        let (called, taken) = tokio::join!(a.call(near, &to), b.take(far));
        assert_eq!(called.err(), Some(OpenError::HungUp));
        assert_eq!(taken.err(), Some(OpenError::Stranger));

        let flight = recorded(
            &a,
            &Member {
                secret: [8; 32],
                ..b.clone()
            },
        )
        .await;
        assert_eq!(
            say_to(&b, &flight[..FLIGHT_BYTES]).await,
            (OpenError::Stranger, 0)
        );
    });
}

#[test]
fn a_wrong_pre_shared_key_alone_is_noticed_by_both() {
    run(async {
        let (mut a, b) = pair();
        a.psk_change = 1;
        let (near, far) = duplex(1 << 16);
        let to = b.callee(CHACHA);
        let (called, taken) = tokio::join!(a.call(near, &to), b.take(far));
        assert_eq!(called.err(), Some(OpenError::NotVerified));
        assert_eq!(taken.err(), Some(OpenError::HungUp));
    });
}

#[test]
fn a_caller_of_another_static_key_hears_nothing() {
    run(async {
        let (a, b) = pair();
        let mut to = b.callee(CHACHA);
        to.noise = a.keys.noise_static();
        let (near, far) = duplex(1 << 16);
        let (called, taken) = tokio::join!(a.call(near, &to), b.take(far));
        assert_eq!(called.err(), Some(OpenError::HungUp));
        assert_eq!(taken.err(), Some(OpenError::Stranger));
    });
}

#[test]
fn garbage_is_met_with_silence() {
    run(async {
        let (_, b) = pair();
        for seed in 0..200 {
            let (error, heard) = say_to(&b, &bytes(seed, 300)).await;
            assert!(matches!(error, OpenError::Malformed(_)), "{error}");
            assert_eq!(heard, 0);
        }
        let mut old = recorded(&pair().0, &pair().1).await;
        old[3] = 2;
        let unknown = OpenError::EpochUnknown(KeyEpoch(2));
        assert_eq!(say_to(&b, &old).await, (unknown, 0));
    });
}

#[test]
fn a_caller_who_says_nothing_is_not_waited_for_long() {
    run(async {
        let (a, b) = pair();
        let (near, far) = duplex(64);
        let before = b.world.now();
        let (mut near, taken) = (near, b.take(far).await);
        assert_eq!(taken.err(), Some(OpenError::TooSlow));
        let waited = b.world.now().since(before);
        assert_eq!(waited, Duration::from_secs(HANDSHAKE_SECONDS_MAX));
        assert_eq!(near.read(&mut [0; 8]).await.ok(), Some(0));

        let (near, far) = duplex(1 << 16);
        let called = a.call(near, &b.callee(CHACHA)).await;
        assert_eq!(called.err(), Some(OpenError::TooSlow));
        drop(far);
    });
}

#[test]
fn a_flight_cut_anywhere_gives_no_session_and_before_its_end_no_answer() {
    run(async {
        let (a, b) = pair();
        let said = recorded(&a, &b).await;
        assert!(said.len() > FLIGHT_BYTES + 100);
        for end in 0..FLIGHT_BYTES {
            assert_eq!(say_to(&b, &said[..end]).await, (OpenError::HungUp, 0));
        }
        // From here the handshake is answered, but never with a hello of ours: 2 + 48 bytes, and no more.
        for end in FLIGHT_BYTES..=said.len() {
            let (error, heard) = say_to(&b, &said[..end]).await;
            assert_eq!(heard, 50);
            let expected = if end == said.len() {
                OpenError::NotVerified
            } else {
                OpenError::HungUp
            };
            assert_eq!(error, expected, "cut at {end}");
        }
    });
}

#[test]
fn a_replayed_first_flight_gets_nowhere() {
    run(async {
        let (a, b) = pair();
        let said = recorded(&a, &b).await;
        let (mut near, far) = duplex(1 << 16);
        near.write_all(&said).await.expect("in memory");
        // The second handshake has another ephemeral key: the old hello does not verify under it.
        assert_eq!(b.take(far).await.err(), Some(OpenError::NotVerified));
    });
}

#[test]
fn one_changed_bit_anywhere_in_the_callers_part_gives_no_session() {
    run(async {
        let (a, b) = pair();
        let bytes = recorded(&a, &b).await.len();
        for place in 0..bytes {
            let (near, far, _) =
                tapped(move |at, byte| Hand::Pass(if at == place { byte ^ 0x10 } else { byte }));
            let to = b.callee(CHACHA);
            let call = async {
                // A changed length leaves both waiting: time ends it.
                a.call(near, &to).await
            };
            let (called, taken) = tokio::join!(call, b.take(far));
            assert!(taken.is_err(), "bit at {place} was not noticed");
            assert!(called.is_err(), "bit at {place} was not noticed");
        }
    });
}

#[test]
fn somebody_who_is_no_member_is_not_even_greeted() {
    run(async {
        let (a, b) = pair();
        b.admitted.borrow_mut().clear();
        let (near, far) = duplex(1 << 16);
        let to = b.callee(CHACHA);
        let (called, taken) = tokio::join!(a.call(near, &to), b.take(far));
        assert_eq!(taken.err(), Some(OpenError::NotMember));
        assert_eq!(called.err(), Some(OpenError::HungUp));
    });
}

#[test]
fn a_box_that_was_shut_out_hears_nothing_though_it_has_all_keys() {
    run(async {
        let (a, b) = pair();
        let flights = recorded(&a, &b).await;
        b.admitted.borrow_mut().clear();
        let (error, heard) = say_to(&b, &flights[..FLIGHT_BYTES]).await;
        assert_eq!((error, heard), (OpenError::NotMember, 0));
    });
}

#[test]
fn somebody_with_the_words_is_answered_and_somebody_with_others_is_not() {
    run(async {
        let (new, mut b) = pair();
        let way = |sign: u8| RecoveryWay::derive(&PeerKey([sign; 32]), &[9; 32]);
        for (theirs, ours, is_answered) in [
            (Some(way(1)), way(1), true),
            (Some(way(2)), way(1), false),
            (None, way(1), false),
        ] {
            b.way = theirs;
            let (near, far) = duplex(1 << 20);
            let calling = recover(&new.world, near, &new.keys.noise, &ours, CHACHA, &new.pool);
            let (called, taken) = tokio::join!(calling, b.take(far));
            match (called, taken) {
                (Ok(near), Ok(Answered::Recover(far))) => {
                    assert!(is_answered && near.epoch().is_none());
                    assert_eq!(near.handshake_hash(), far.handshake_hash());
                    assert_eq!(far.noise_static(), &new.keys.noise_static());
                }
                (Err(OpenError::HungUp), Err(OpenError::Stranger)) => assert!(!is_answered),
                _ => panic!("neither answered nor turned away"),
            }
        }
    });
}

#[test]
fn what_a_guest_brings_takes_nothing_of_the_members_pool() {
    run(async {
        let (new, mut b) = pair();
        b.way = Some(RecoveryWay::derive(&PeerKey([1; 32]), &[9; 32]));
        let way = b.way.clone().expect("set");
        let body = |len: usize| Some(Rc::new(bytes(1, len)));
        for (len, fits) in [(200_000, true), (ROSTER_BYTES_MAX + 1, false)] {
            let (near, far) = duplex(1 << 20);
            let calling = recover(&new.world, near, &new.keys.noise, &way, CHACHA, &new.pool);
            let (called, taken) = tokio::join!(calling, b.take(far));
            let (Ok(near), Ok(Answered::Recover(far))) = (called, taken) else {
                panic!("it has the words");
            };
            let told = near.clone();
            let body = body(len);
            let telling = spawn_local(async move { told.ask(Message::Roster, body).await });
            let incoming = far.next().await;
            assert_eq!(incoming.is_some(), fits);
            assert_eq!(b.pool.free_bytes(), b.pool.bytes());
            assert_eq!(b.guests.free_bytes() < b.guests.bytes(), fits);
            drop(incoming);
            near.close();
            let _ = telling.await;
        }
    });
}

#[test]
fn when_the_other_side_hangs_up_does_not_tell_which_epochs_and_tickets_are_good() {
    run(async {
        let (_, b) = pair();
        b.tickets.borrow_mut().push((11, [5; 32]));
        for wish in [
            Wish::Session(KeyEpoch(1)),
            Wish::Session(KeyEpoch(9)),
            Wish::Join(11),
            Wish::Join(12),
            Wish::Recover,
        ] {
            let opening = Opening {
                wish,
                suite: CHACHA,
                message_bytes: 96,
            };
            let (mut near, far) = duplex(1 << 16);
            near.write_all(&opening.clear()).await.expect("in memory");
            // It waits for the rest, whatever it was asked for.
            assert_eq!(
                b.take(far).await.err(),
                Some(OpenError::TooSlow),
                "{wish:?}"
            );
        }
    });
}

#[test]
fn a_member_with_another_noise_key_is_not_admitted() {
    run(async {
        let (mut a, b) = pair();
        let other = x25519_dalek::StaticSecret::from([66; 32]);
        a.keys = LocalKeys::new(a.keys.sign.clone(), other);
        let (near, far) = duplex(1 << 16);
        let to = b.callee(CHACHA);
        let (_, taken) = tokio::join!(a.call(near, &to), b.take(far));
        assert_eq!(taken.err(), Some(OpenError::NotMember));
    });
}

#[test]
fn a_caller_takes_only_the_box_it_called() {
    run(async {
        let (a, b) = pair();
        let (near, far) = duplex(1 << 16);
        let mut to = b.callee(CHACHA);
        to.peer = a.keys.peer();
        let (called, _) = tokio::join!(a.call(near, &to), b.take(far));
        assert_eq!(called.err(), Some(OpenError::OtherBox));

        a.admitted.borrow_mut().clear();
        let (near, far) = duplex(1 << 16);
        let to = b.callee(CHACHA);
        let (called, _) = tokio::join!(a.call(near, &to), b.take(far));
        assert_eq!(called.err(), Some(OpenError::NotMember));
    });
}

#[test]
fn a_proof_is_good_for_one_key_one_session_and_one_side() {
    let (a, b) = (
        ed25519_dalek::SigningKey::from_bytes(&[1; 32]),
        ed25519_dalek::SigningKey::from_bytes(&[2; 32]),
    );
    let name = |key: &ed25519_dalek::SigningKey| PeerKey(key.verifying_key().to_bytes());
    let proof = prove(&a, &[3; 32], Side::Initiator);
    assert!(verify(&name(&a), &[3; 32], Side::Initiator, &proof));
    assert!(!verify(&name(&b), &[3; 32], Side::Initiator, &proof));
    assert!(!verify(&name(&a), &[4; 32], Side::Initiator, &proof));
    assert!(!verify(&name(&a), &[3; 32], Side::Responder, &proof));
    let nobody = PeerKey([0; 32]);
    assert!(!verify(&nobody, &[3; 32], Side::Initiator, &[0; 64]));
}

fn ticket(b: &Member, secret: u8) -> Ticket {
    Ticket {
        addresses: Vec::new(),
        noise: b.keys.noise_static(),
        number: 11,
        secret: [secret; 32],
    }
}

#[test]
fn a_new_box_with_a_good_ticket_can_ask_to_join() {
    run(async {
        let (_, b) = pair();
        b.tickets.borrow_mut().push((11, [5; 32]));
        let new = Member::new(&Bare::new(), 3);
        let (near, far) = duplex(1 << 16);
        let good = ticket(&b, 5);
        let call = join(&new.world, near, &new.keys.noise, &good, CHACHA, &new.pool);
        let (called, taken) = tokio::join!(call, b.take(far));
        let (near, far) = match (called, taken) {
            (Ok(near), Ok(Answered::Join(far, 11))) => (near, far),
            _ => panic!("no join session"),
        };
        assert_eq!(near.handshake_hash(), far.handshake_hash());
        assert_eq!(far.noise_static(), &new.keys.noise_static());
        let proof = prove(&new.keys.sign, near.handshake_hash(), Side::Initiator);
        assert!(verify(
            &new.keys.peer(),
            far.handshake_hash(),
            Side::Initiator,
            &proof
        ));
        serve_done(&far);
        let answer = near.ask(Message::Roster, None).await;
        assert_eq!(answer, Ok((Message::Done, Vec::new())));
    });
}

#[test]
fn a_wrong_or_used_ticket_is_met_with_silence() {
    run(async {
        let (_, b) = pair();
        let new = Member::new(&Bare::new(), 3);
        for (held, error) in [
            (None, OpenError::TicketUnknown(11)),
            (Some((11, [6; 32])), OpenError::Stranger),
        ] {
            *b.tickets.borrow_mut() = held.into_iter().collect();
            let (near, far) = duplex(1 << 16);
            let bad = ticket(&b, 5);
            let call = join(&new.world, near, &new.keys.noise, &bad, CHACHA, &new.pool);
            let (called, taken) = tokio::join!(call, b.take(far));
            assert_eq!(called.err(), Some(OpenError::HungUp));
            assert_eq!(taken.err(), Some(error));
        }
    });
}
