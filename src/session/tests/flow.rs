//! Questions and answers, credit, the pool, and time.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use serde_bytes::ByteBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::sleep;

use super::harness::{Hand, Member, bytes, meet, meet_over, pair, run, serve_done, settle, tapped};
use crate::format::message::{Message, Refusal};
use crate::session::{Incoming, Pool, Session, SessionError};
use crate::terms::limits::{
    BODY_BYTES_MAX, RECEIVE_CREDIT_BYTES, RECEIVE_POOL_BYTES, REQUESTS_OPEN_MAX,
    SEND_QUEUE_BYTES_MAX, SESSION_SILENCE_SECONDS_MAX,
};
use crate::terms::{ChunkId, Suite};

const CHACHA: Suite = Suite::ChaCha20Poly1305;

fn put(number: u8) -> Message {
    Message::Put {
        id: ChunkId([number; 32]),
    }
}

#[test]
fn a_place_on_the_way_out_is_waited_for_before_the_answer_is_made_and_what_is_too_much_is_given_back()
 {
    run(async {
        let (a, b) = pair();
        let (near, far) = meet(&a, &b, CHACHA).await;
        let mut asked = JoinSet::new();
        for number in 0..3 {
            let session = near.clone();
            let id = ChunkId([number; 32]);
            asked.spawn_local(async move { session.ask(Message::Get { id }, None).await });
        }
        let mut replies = Vec::new();
        for _ in 0..3 {
            let Incoming { reply, .. } = far.next().await.expect("asked");
            replies.push(reply);
        }
        let [mut first, mut second, mut third]: [_; 3] = replies.try_into().ok().expect("three");
        // More than half of all there is: one has a place, the others wait, and nothing was made for them.
        assert!(first.reserve(SEND_QUEUE_BYTES_MAX / 2).await);
        let mut waiting = Box::pin(second.reserve(SEND_QUEUE_BYTES_MAX / 2));
        settle_with(waiting.as_mut(), false).await;
        let body = Some(Rc::new(bytes(1, 100)));
        first.answer(Message::Record, body.clone()).await;
        settle_with(waiting.as_mut(), true).await;
        drop(waiting);
        second.answer(Message::Record, body.clone()).await;
        // One that turns out longer than what was reserved goes out all the same.
        assert!(third.reserve(0).await);
        third
            .answer(Message::Record, Some(Rc::new(bytes(2, BODY_BYTES_MAX))))
            .await;
        while let Some(answer) = asked.join_next().await {
            assert!(matches!(answer.expect("it ends"), Ok((Message::Record, _))));
        }
    });
}

/// Lets everything happen that can, and says whether this was done then.
async fn settle_with(work: std::pin::Pin<&mut impl Future<Output = bool>>, is_done: bool) {
    tokio::select! {
        biased;
        done = work => assert!(done && is_done),
        () = settle() => assert!(!is_done),
    }
}

#[test]
fn the_longest_bodies_go_both_ways_at_once() {
    run(async {
        for suite in [CHACHA, Suite::Aes256Gcm] {
            let (a, b) = pair();
            let (near, far) = meet(&a, &b, suite).await;
            let mut all = JoinSet::new();
            for (seed, session) in [near.clone(), far.clone()].into_iter().enumerate() {
                let seed = u8::try_from(seed).expect("small");
                let asked = session.clone();
                spawn_local(async move {
                    while let Some(incoming) = asked.next().await {
                        let body = Rc::new(incoming.body.clone());
                        incoming.answer(Message::Record, Some(body)).await;
                    }
                });
                for number in 0..4 {
                    let session = session.clone();
                    let body = Rc::new(bytes(seed * 8 + number, BODY_BYTES_MAX));
                    all.spawn_local(async move {
                        let answer = session.ask(put(number), Some(body.clone())).await;
                        assert_eq!(answer, Ok((Message::Record, body.to_vec())));
                    });
                }
            }
            while let Some(done) = all.join_next().await {
                done.expect("as it should be");
            }
            let (sent, got) = (near.counters(), far.counters());
            assert_eq!((sent.bodies_out, sent.bodies_in), (8, 8));
            assert_eq!((got.bodies_out, got.bodies_in), (8, 8));
            assert_eq!(a.pool.free_bytes(), RECEIVE_POOL_BYTES);
        }
    });
}

#[test]
fn bodies_of_every_length_around_a_noise_message_arrive_whole() {
    run(async {
        let (a, b) = pair();
        let (near, far) = meet(&a, &b, CHACHA).await;
        spawn_local(async move {
            while let Some(incoming) = far.next().await {
                let body = Rc::new(incoming.body.clone());
                incoming.answer(Message::Record, Some(body)).await;
            }
        });
        let around = |middle: usize| middle - 60..middle + 60;
        for len in [0, 1]
            .into_iter()
            .chain(around(65_519))
            .chain(around(2 * 65_519))
        {
            let body = bytes(1, len);
            let answer = near
                .ask(Message::PutHead, Some(Rc::new(body.clone())))
                .await;
            assert_eq!(answer, Ok((Message::Record, body)));
        }
    });
}

#[test]
fn many_questions_at_once_get_each_its_own_answer() {
    run(async {
        let (a, b) = pair();
        let (near, far) = meet(&a, &b, CHACHA).await;
        let open = Rc::new(Cell::new((0, 0)));
        spawn_local({
            let open = open.clone();
            async move {
                while let Some(incoming) = far.next().await {
                    let (now, most) = open.get();
                    open.set((now + 1, most.max(now + 1)));
                    let open = open.clone();
                    spawn_local(async move {
                        let Message::Get { id } = incoming.message else {
                            panic!("nothing else was asked");
                        };
                        // Later questions are answered earlier.
                        sleep(Duration::from_millis(u64::from(255 - id.0[0]))).await;
                        open.set((open.get().0 - 1, open.get().1));
                        let bits = ByteBuf::from(id.0.to_vec());
                        let reply = incoming.reply;
                        reply.answer(Message::Held { bits }, None).await;
                    });
                }
            }
        });
        let mut all = JoinSet::new();
        for number in 0..1000_u32 {
            let session = near.clone();
            all.spawn_local(async move {
                let mut id = [0; 32];
                id[..4].copy_from_slice(&number.to_le_bytes());
                let answer = session.ask(Message::Get { id: ChunkId(id) }, None).await;
                let bits = ByteBuf::from(id.to_vec());
                assert_eq!(answer, Ok((Message::Held { bits }, Vec::new())));
            });
        }
        while let Some(done) = all.join_next().await {
            done.expect("as it should be");
        }
        assert_eq!(open.get(), (0, REQUESTS_OPEN_MAX));
    });
}

/// Puts so many bodies of the longest kind at once; the counter tells how many were acknowledged.
fn put_many(session: &Session, how_many: u8) -> Rc<Cell<u32>> {
    let done = Rc::new(Cell::new(0));
    for number in 0..how_many {
        let (session, done) = (session.clone(), done.clone());
        spawn_local(async move {
            let body = Rc::new(vec![number; BODY_BYTES_MAX]);
            let answer = session.ask(put(number), Some(body)).await;
            assert_eq!(answer, Ok((Message::Done, Vec::new())));
            done.set(done.get() + 1);
        });
    }
    done
}

async fn all_that_came(session: &Session) -> Vec<Incoming> {
    let mut came = Vec::new();
    while let Ok(Some(incoming)) =
        tokio::time::timeout(Duration::from_secs(1), session.next()).await
    {
        came.push(incoming);
    }
    came
}

#[test]
fn a_slow_receiver_gets_no_more_than_it_gave_credit_for() {
    run(async {
        let (a, b) = pair();
        let (near, far) = meet(&a, &b, CHACHA).await;
        let done = put_many(&near, 9);
        let at_once = RECEIVE_CREDIT_BYTES as usize / BODY_BYTES_MAX;
        let mut held = all_that_came(&far).await;
        assert_eq!(held.len(), at_once);
        let mut acknowledged = 0;
        while let Some(incoming) = held.pop() {
            incoming.answer(Message::Done, None).await;
            acknowledged += 1;
            held.extend(all_that_came(&far).await);
            assert!(held.len() <= at_once);
            assert_eq!(done.get(), acknowledged);
        }
        assert_eq!(done.get(), 9);
        assert!(!near.is_closed() && !far.is_closed());
    });
}

#[test]
fn an_answer_gives_no_credit_while_the_body_is_still_held() {
    run(async {
        let (a, mut b) = pair();
        b.credit_bytes = 0;
        let (near, far) = meet(&a, &b, CHACHA).await;
        let done = put_many(&near, 2);
        let Incoming {
            body, lease, reply, ..
        } = far.next().await.expect("the first");
        assert!(body.iter().all(|byte| *byte == 0));
        reply.answer(Message::Done, None).await;
        assert_eq!(all_that_came(&far).await.len(), 0);
        assert_eq!(done.get(), 1);
        let longest = BODY_BYTES_MAX.div_ceil(1024) << 10;
        assert_eq!(b.pool.free_bytes(), RECEIVE_POOL_BYTES - longest);
        drop(lease);
        assert_eq!(b.pool.free_bytes(), RECEIVE_POOL_BYTES);
        assert_eq!(all_that_came(&far).await.len(), 1);
    });
}

#[test]
fn the_pool_bounds_what_all_peers_together_may_send() {
    run(async {
        let (a, b) = pair();
        let longest = BODY_BYTES_MAX.div_ceil(1024) << 10;
        let pool = Pool::new(3 * longest);
        let b = Member { pool, ..b };
        let mut sessions = Vec::new();
        let mut done = Vec::new();
        for _ in 0..4 {
            let (near, far) = meet(&a, &b, CHACHA).await;
            done.push(put_many(&near, 5));
            sessions.push((near, far));
        }
        let mut held = Vec::new();
        let mut acknowledged = 0;
        while acknowledged < 20 {
            for (_, far) in &sessions {
                held.extend(all_that_came(far).await);
            }
            assert_eq!(held.len(), 3.min(20 - acknowledged));
            assert_eq!(b.pool.free_bytes(), (3 - held.len()) * longest);
            held.remove(0).answer(Message::Done, None).await;
            acknowledged += 1;
        }
        settle().await;
        // No session was starved, and none was ended though all waited for much longer than silence is borne.
        assert!(done.iter().all(|done| done.get() == 5));
        assert!(
            sessions
                .iter()
                .all(|(near, far)| !near.is_closed() && !far.is_closed())
        );
    });
}

#[test]
fn a_small_body_finds_room_when_the_pool_is_empty() {
    run(async {
        let (a, b) = pair();
        let pool = Pool::new(0);
        let b = Member { pool, ..b };
        let (near, far) = meet(&a, &b, CHACHA).await;
        serve_done(&far);
        let small = Rc::new(vec![1; 60 << 10]);
        let answer = near.ask(Message::Roster, Some(small)).await;
        assert_eq!(answer, Ok((Message::Done, Vec::new())));
        let large = Rc::new(vec![1; 65 << 10]);
        let answer = near.ask(Message::Roster, Some(large)).await;
        assert_eq!(answer, Err(SessionError::Gone));
        assert!(matches!(far.ended(), Some(SessionError::Rule(_))));
    });
}

#[test]
fn a_request_dropped_without_an_answer_is_refused() {
    run(async {
        let (a, b) = pair();
        let (near, far) = meet(&a, &b, CHACHA).await;
        let (answer, ()) = tokio::join!(near.ask(Message::Roster, None), async {
            drop(far.next().await);
        });
        let refused = Message::Refused(Refusal::NotUnderstood);
        assert_eq!(answer, Ok((refused, Vec::new())));
        let answer = near.ask(Message::Ping, None).await;
        assert!(matches!(answer, Err(SessionError::Rule(_))));
    });
}

#[test]
fn a_question_nobody_waits_for_any_more_disturbs_nothing() {
    run(async {
        let (a, b) = pair();
        let (near, far) = meet(&a, &b, CHACHA).await;
        for _ in 0..2 * REQUESTS_OPEN_MAX {
            let body = Rc::new(vec![1; 9000]);
            let asking = near.ask(put(1), Some(body));
            let gave_up = tokio::time::timeout(Duration::from_millis(1), asking).await;
            assert!(gave_up.is_err());
        }
        serve_done(&far);
        let answer = near.ask(Message::Roster, None).await;
        assert_eq!(answer, Ok((Message::Done, Vec::new())));
    });
}

#[test]
fn an_idle_session_lives_on_at_little_cost() {
    run(async {
        let (a, b) = pair();
        let (near, far) = meet(&a, &b, CHACHA).await;
        sleep(Duration::from_secs(3600)).await;
        assert!(!near.is_closed() && !far.is_closed());
        assert!(near.counters().bytes_out < 64 << 10);
    });
}

#[test]
fn a_half_open_link_ends_in_time_and_every_question_with_it() {
    run(async {
        let (a, b) = pair();
        let is_dead = Rc::new(Cell::new(false));
        let dead = is_dead.clone();
        let (near, far, _) = tapped(move |_, byte| match dead.get() {
            true => Hand::Swallow,
            false => Hand::Pass(byte),
        });
        let (near, far) = meet_over(&a, &b, CHACHA, near, far).await;
        serve_done(&far);
        assert!(near.ask(Message::Roster, None).await.is_ok());
        is_dead.set(true);
        let limit = Duration::from_secs(SESSION_SILENCE_SECONDS_MAX + 1);
        let asked = tokio::time::timeout(limit, near.ask(Message::Roster, None)).await;
        assert_eq!(asked, Ok(Err(SessionError::Gone)));
        assert_eq!(far.ended(), Some(SessionError::Silent));
        assert!(near.is_closed() && near.next().await.is_none() && far.next().await.is_none());
        near.closed().await;
    });
}

#[test]
fn a_question_that_is_never_answered_ends_the_session_unless_the_peer_says_that_it_works_on_it() {
    run(async {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        for is_told in [true, false] {
            let (near, far) = pair();
            let (a, b) = meet(&near, &far, CHACHA).await;
            let asked = spawn_local({
                let a = a.clone();
                async move { a.ask(Message::AskRoom, None).await }
            });
            let incoming = b.next().await.expect("asked");
            let word = incoming.reply.word();
            for _ in 0..5 {
                sleep(minutes(9)).await;
                if is_told {
                    word.working();
                }
            }
            if is_told {
                assert!(!a.is_closed() && !asked.is_finished());
                incoming.answer(Message::Done, None).await;
                assert_eq!(asked.await.expect("ran"), Ok((Message::Done, Vec::new())));
            } else {
                assert_eq!(a.ended(), Some(SessionError::Unanswered));
                assert_eq!(asked.await.expect("ran"), Err(SessionError::Gone));
            }
        }
    });
}

#[test]
fn an_answer_given_before_closing_still_arrives() {
    run(async {
        let (a, b) = pair();
        let (near, far) = meet(&a, &b, CHACHA).await;
        let body = Rc::new(bytes(1, BODY_BYTES_MAX));
        let (answer, ()) = tokio::join!(near.ask(Message::Roster, None), async {
            let incoming = far.next().await.expect("a question");
            incoming.answer(Message::Welcome, Some(body.clone())).await;
            drop(far);
        });
        assert_eq!(answer, Ok((Message::Welcome, body.to_vec())));
        near.closed().await;
        assert_eq!(near.ended(), Some(SessionError::Gone));
    });
}

#[test]
fn dropping_the_last_handle_closes_the_link() {
    run(async {
        let (a, b) = pair();
        let (near, far) = meet(&a, &b, CHACHA).await;
        let other = near.clone();
        drop(near);
        settle().await;
        assert!(!far.is_closed());
        drop(other);
        far.closed().await;
        assert_eq!(far.ended(), Some(SessionError::Gone));
    });
}

#[test]
fn what_is_no_put_needs_no_credit() {
    run(async {
        let (a, mut b) = pair();
        b.credit_bytes = 0;
        let (near, far) = meet(&a, &b, CHACHA).await;
        let done = put_many(&near, 1);
        let held = far.next().await.expect("a body");
        let body = Some(Rc::new(vec![1; 1000]));
        let (answer, ()) = tokio::join!(near.ask(Message::Roster, body), async {
            let incoming = far.next().await.expect("a roster");
            incoming.answer(Message::Done, None).await;
        });
        assert_eq!(answer, Ok((Message::Done, Vec::new())));
        held.answer(Message::Done, None).await;
        settle().await;
        assert_eq!(done.get(), 1);
    });
}

#[test]
fn a_link_that_needs_half_a_minute_for_one_body_is_borne() {
    run(async {
        let (a, b) = pair();
        let (near, near_hand) = duplex(4096);
        let (far_hand, far) = duplex(4096);
        let (mut from_near, mut to_near) = tokio::io::split(near_hand);
        let (mut from_far, mut to_far) = tokio::io::split(far_hand);
        spawn_local(async move {
            let mut buffer = [0; 1400];
            while let Ok(bytes @ 1..) = from_near.read(&mut buffer).await {
                sleep(Duration::from_millis(20)).await;
                if to_far.write_all(&buffer[..bytes]).await.is_err() {
                    return;
                }
            }
        });
        spawn_local(async move {
            let _ = tokio::io::copy(&mut from_far, &mut to_near).await;
        });
        let (near, far) = meet_over(&a, &b, CHACHA, near, far).await;
        serve_done(&far);
        let done = put_many(&near, 3);
        sleep(Duration::from_secs(25)).await;
        assert_eq!(done.get(), 0);
        sleep(Duration::from_secs(100)).await;
        assert_eq!(done.get(), 3);
    });
}
