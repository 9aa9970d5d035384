//! Members who keep to no rule, and hands on the link after the handshake.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::harness::{Hand, Raw, bytes, pair, run, serve_done, settle, tapped};
use crate::format::message::{Envelope, Hello, Message};
use crate::session::queue::header;
use crate::session::{Session, SessionError};
use crate::terms::limits::{BODY_BYTES_MAX, REQUESTS_OPEN_MAX};
use crate::terms::{ChunkId, PeerKey, SnapshotNumber, Suite};

const CHACHA: Suite = Suite::ChaCha20Poly1305;

async fn raw() -> (Raw, Session) {
    let (a, b) = pair();
    Raw::meet(&a, &b).await
}

fn put() -> Message {
    Message::Put {
        id: ChunkId([1; 32]),
    }
}

async fn reason(session: &Session) -> Option<SessionError> {
    session.closed().await;
    session.ended()
}

#[test]
fn a_peer_that_exceeds_its_credit_is_disconnected() {
    run(async {
        let (mut peer, session) = raw().await;
        let body = vec![0; BODY_BYTES_MAX];
        for request in 1..=3 {
            peer.tell(request, put(), &body).await;
        }
        peer.drain().await;
        let why = reason(&session).await;
        assert_eq!(
            why,
            Some(SessionError::Rule("it sent more than it had credit for"))
        );
    });
}

#[test]
fn a_peer_with_too_many_open_requests_is_disconnected() {
    run(async {
        let (mut peer, session) = raw().await;
        for request in 0..=u32::try_from(REQUESTS_OPEN_MAX).expect("small") {
            assert!(!session.is_closed());
            peer.tell(request, Message::Roster, &[]).await;
        }
        peer.drain().await;
        assert!(matches!(
            reason(&session).await,
            Some(SessionError::Rule(_))
        ));

        let (mut peer, session) = raw().await;
        let long = Message::Have {
            author: PeerKey([1; 32]),
            ids: vec![ChunkId([1; 32]); 1024],
        };
        for request in 0..20 {
            peer.tell(request, long.clone(), &[]).await;
        }
        peer.drain().await;
        assert!(matches!(
            reason(&session).await,
            Some(SessionError::Rule(_))
        ));
    });
}

#[test]
fn what_makes_no_sense_ends_the_session() {
    run(async {
        let hello = Message::Hello(Hello {
            peer: PeerKey([1; 32]),
            proof: serde_bytes::ByteArray::new([0; 64]),
            boot: 0,
            version: "x".into(),
            roster: [0; 32],
            credit_bytes: 0,
            heads: Vec::new(),
        });
        for message in [Message::Done, hello, Message::Credit { bytes: 1 }] {
            let (mut peer, session) = raw().await;
            peer.tell(1, message, &[]).await;
            assert!(matches!(
                reason(&session).await,
                Some(SessionError::Rule(_))
            ));
        }
        let honest = header(1, Message::PutHead, Some(&[7; 10])).expect("a header");
        let with = |more: usize| [honest.clone(), vec![0; more]].concat();
        let ping = header(1, Message::Ping, None).expect("a header");
        let too_long = Envelope {
            request: 1,
            message: Message::PutHead,
            body_bytes: u32::MAX,
        }
        .encode();
        let length = u16::try_from(too_long.len()).expect("short").to_le_bytes();
        for plain in [
            vec![vec![]],
            vec![vec![9]],
            vec![vec![255, 255, 0]],
            vec![vec![0, 0]],
            vec![bytes(1, 50)],
            vec![with(11)],
            vec![with(5), vec![]],
            vec![with(5), vec![0; 6]],
            vec![[ping, vec![0]].concat()],
            vec![[length.to_vec(), too_long].concat()],
        ] {
            let (mut peer, session) = raw().await;
            for part in &plain {
                peer.say(part).await;
            }
            let why = reason(&session).await;
            assert!(matches!(why, Some(SessionError::Malformed(_))), "{plain:?}");
        }
    });
}

#[test]
fn a_question_that_has_no_body_may_not_bring_one_and_hold_the_pool() {
    run(async {
        let (author, ids) = (PeerKey([1; 32]), vec![ChunkId([1; 32])]);
        for question in [
            Message::Get { id: ids[0] },
            Message::Have {
                author,
                ids: ids.clone(),
            },
            Message::Pull { author, ids },
            Message::Heads {
                author: None,
                after: SnapshotNumber(0),
            },
            Message::AskRoom,
        ] {
            let (a, b) = pair();
            let (mut peer, session) = Raw::meet(&a, &b).await;
            // The rest of it never comes.
            let header = header(1, question.clone(), Some(&[0; 200_000])).expect("a header");
            peer.say(&header).await;
            settle().await;
            assert_eq!(b.pool.free_bytes(), b.pool.bytes(), "{question:?}");
            assert!(
                matches!(session.ended(), Some(SessionError::Malformed(_))),
                "{question:?}"
            );
        }
    });
}

#[test]
fn a_noise_message_too_short_for_a_seal_ends_the_session() {
    run(async {
        for length in 0..16_u16 {
            let (mut peer, session) = raw().await;
            let sealed = [&length.to_le_bytes()[..], &[0; 16]].concat();
            peer.link.write_all(&sealed).await.expect("in memory");
            assert_eq!(reason(&session).await, Some(SessionError::Tampered));
        }
    });
}

#[test]
fn a_peer_that_stops_reading_is_dropped_though_it_gives_signs_of_life() {
    run(async {
        let (mut peer, session) = raw().await;
        let asking = {
            let session = session.clone();
            tokio::task::spawn_local(async move {
                let body = Some(Rc::new(vec![1; BODY_BYTES_MAX]));
                session.ask(Message::PutHead, body).await
            })
        };
        for _ in 0..70 {
            sleep(Duration::from_secs(1)).await;
            peer.tell(0, Message::Pong, &[]).await;
        }
        assert_eq!(session.ended(), Some(SessionError::Stalled));
        let asked = asking.await.expect("it ends");
        assert_eq!(asked, Err(SessionError::Gone));
    });
}

#[test]
fn a_peer_that_floods_with_pings_and_does_not_read_costs_no_memory() {
    run(async {
        let (mut peer, session) = raw().await;
        // The link is full of a body it does not read: every pong has to wait.
        let asking = session.clone();
        let asked = tokio::task::spawn_local(async move {
            let body = Some(Rc::new(vec![1; BODY_BYTES_MAX]));
            asking.ask(Message::PutHead, body).await
        });
        settle().await;
        assert_eq!(session.queued(), 0);
        let before = session.counters();
        for _ in 0..100_000 {
            peer.tell(0, Message::Ping, &[]).await;
        }
        settle().await;
        let after = session.counters();
        assert!(after.bytes_in > before.bytes_in + 100_000 * 16, "all came");
        assert_eq!((session.queued(), session.ended()), (1, None));
        drop(peer);
        assert_eq!(asked.await.expect("it ends"), Err(SessionError::Gone));
    });
}

#[test]
fn a_peer_that_vanishes_amid_a_body_ends_the_session_and_frees_the_pool() {
    run(async {
        let (a, b) = pair();
        let (mut peer, session) = Raw::meet(&a, &b).await;
        let mut plain = header(1, put(), Some(&[0; 200_000])).expect("a header");
        plain.extend([0; 50_000]);
        peer.say(&plain).await;
        drop(peer);
        assert_eq!(reason(&session).await, Some(SessionError::Gone));
        assert_eq!(b.pool.free_bytes(), b.pool.bytes());
    });
}

#[test]
fn one_changed_bit_anywhere_in_the_stream_ends_the_session() {
    run(async {
        let (a, b) = pair();
        let body = Rc::new(bytes(1, 140_000));
        let mut place = 0;
        let mut ended = 0;
        // Sparse steps through the handshake and the long body, every byte around the borders of messages.
        loop {
            let at_place = place;
            let (near, far, seen) =
                tapped(move |at, byte| Hand::Pass(if at == at_place { byte ^ 1 } else { byte }));
            let begun = Rc::new(Cell::new(0));
            let to = b.callee(CHACHA);
            let (called, taken) = tokio::join!(a.call(near, &to), b.take(far));
            if let (Ok(near), Ok(crate::session::Answered::Session(far))) = (called, taken) {
                begun.set(seen.borrow().len());
                serve_done(&far);
                let asked = near.ask(Message::PutHead, Some(body.clone())).await;
                if asked.is_ok() {
                    // Nothing was changed: we are past the end.
                    assert!(place >= 140_000, "a changed bit at {place} went unnoticed");
                    break;
                }
                assert_eq!(asked, Err(SessionError::Gone));
                far.closed().await;
                assert!(matches!(
                    far.ended(),
                    Some(
                        SessionError::Tampered | SessionError::Silent | SessionError::Malformed(_)
                    )
                ));
                ended += 1;
                let offset = place.saturating_sub(begun.get()) % 65_537;
                place += if (24..65_500).contains(&offset) {
                    4001.min(65_500 - offset)
                } else {
                    1
                };
            } else {
                place += 41;
            }
        }
        assert!(ended > 100, "{ended}");
    });
}
