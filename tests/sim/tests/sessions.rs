//! Stories of two Boxes that speak with each other over a network that falls silent and Boxes that lose power.

use std::cell::RefCell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use reserve::format::message::Message;
use reserve::format::record::id_of;
use reserve::keeper::{Store, StoreConfig};
use reserve::session::{Answered, Callee, Session, SessionError, answer, open};
use reserve::terms::limits::{KEEPALIVE_SECONDS, PORT_DEFAULT, SESSION_SILENCE_SECONDS_MAX};
use reserve::terms::{ChunkId, KeyEpoch, Suite};
use reserve::world::{Clock, Entropy, Listener, Net, World};
use sim::{Member, SimBox, SimWorld, run};

const CONFIG: StoreConfig = StoreConfig {
    table_chunks: 4096,
    capacity_bytes: None,
    quota_bytes_per_author: None,
};

type Answer<T> = Result<T, Box<dyn Error>>;

/// Starts a keeper on a Box: it takes calls and puts what it is sent into its store. Returns where its sessions can be seen.
async fn keep(home: &SimBox, member: Rc<Member>) -> Answer<Rc<RefCell<Vec<Session>>>> {
    let (store, _) = Store::open(home.clone(), CONFIG).await?;
    let mut listener = home
        .net()
        .listen(SocketAddr::new(home.ip(), PORT_DEFAULT))
        .await?;
    let sessions = Rc::new(RefCell::new(Vec::new()));
    let (world, seen) = (home.clone(), Rc::clone(&sessions));
    home.spawn(async move {
        while let Ok((link, _)) = listener.accept().await {
            let answered = {
                let pool = &member.pool;
                answer(&world, link, &member.keys, &*member, pool, pool).await
            };
            let Ok(Answered::Session(session)) = answered else {
                continue;
            };
            seen.borrow_mut().push(session.clone());
            world.spawn(serve(world.clone(), session, store.clone()));
        }
    });
    Ok(sessions)
}

/// Answers every `Put` after it is durable, several at a time.
async fn serve(world: SimBox, session: Session, store: Store<SimBox>) {
    while let Some(incoming) = session.next().await {
        let Message::Put { id } = incoming.message else {
            return;
        };
        let (store, author) = (store.clone(), session.peer());
        world.spawn(async move {
            let kept = store.put(author, id, Rc::new(incoming.body)).await;
            drop(incoming.lease);
            let told = kept.map_or_else(
                |error| Message::Refused(error.refusal()),
                |()| Message::Done,
            );
            incoming.reply.answer(told, None).await;
        });
    }
}

async fn call(home: &SimBox, me: &Member, to: &SimBox, callee: &Member) -> Answer<Session> {
    let link = home
        .net()
        .connect(SocketAddr::new(to.ip(), PORT_DEFAULT))
        .await?;
    let callee = Callee {
        peer: callee.keys.peer(),
        noise: callee.keys.noise_static(),
        epoch: KeyEpoch(1),
        suite: Suite::ChaCha20Poly1305,
    };
    Ok(open(home, link, &me.keys, me, &callee, &me.pool).await?)
}

fn record_of(home: &SimBox) -> (ChunkId, Rc<Vec<u8>>) {
    let [kib] = home.entropy().bytes();
    let mut record = vec![0; 1 + usize::from(kib) * 1024];
    home.entropy().fill(&mut record);
    (id_of(&record), Rc::new(record))
}

/// Puts one record after the other until the session is over; notes what was acknowledged.
async fn put_until_over(home: SimBox, session: Session, acknowledged: Rc<RefCell<Vec<ChunkId>>>) {
    loop {
        let (id, record) = record_of(&home);
        match session.ask(Message::Put { id }, Some(record)).await {
            Ok((Message::Done, _)) => acknowledged.borrow_mut().push(id),
            Ok(other) => panic!("a healthy keeper answered {other:?}"),
            Err(_) => return,
        }
    }
}

#[test]
fn what_a_keeper_acknowledged_over_a_session_survives_its_power_cut() -> Answer<()> {
    for seed in 0..4 {
        run(seed, async |world: SimWorld| {
            let (home, office) = (world.box_named("home"), world.box_named("office"));
            let (me, keeper) = (Member::numbered(1), Member::numbered(2));
            keep(&office, Rc::clone(&keeper)).await?;
            let session = call(&home, &me, &office, &keeper).await?;
            let acknowledged = Rc::new(RefCell::new(Vec::new()));
            for _ in 0..4 {
                home.spawn(put_until_over(
                    home.clone(),
                    session.clone(),
                    Rc::clone(&acknowledged),
                ));
            }
            home.clock()
                .sleep(Duration::from_millis(500 + 77 * seed))
                .await;
            if seed % 2 == 0 {
                office.power_cut()
            } else {
                office.torn_power_cut()
            }
            session.closed().await;

            let (store, _) = Store::open(office.restart(), CONFIG).await?;
            let acknowledged = acknowledged.take();
            assert!(
                acknowledged.len() > 20,
                "only {} puts came through",
                acknowledged.len()
            );
            for id in acknowledged {
                assert!(
                    store.get(id).await?.is_some(),
                    "seed {seed}: {id:?} is lost"
                );
            }
            Answer::Ok(())
        })
        .value?;
    }
    Ok(())
}

#[test]
fn both_sides_give_up_a_silent_session_and_meet_again_when_the_network_heals() -> Answer<()> {
    let story = async |world: SimWorld| {
        let (home, office) = (world.box_named("home"), world.box_named("office"));
        let (me, keeper) = (Member::numbered(1), Member::numbered(2));
        let sessions = keep(&office, Rc::clone(&keeper)).await?;
        let session = call(&home, &me, &office, &keeper).await?;
        let (id, record) = record_of(&home);
        home.clock().sleep(Duration::from_secs(3600)).await;
        assert!(!session.is_closed(), "a session without work lives on");

        world.partition(&home, &office);
        let asked = session.ask(Message::Put { id }, Some(Rc::clone(&record)));
        let silence = Duration::from_secs(SESSION_SILENCE_SECONDS_MAX + KEEPALIVE_SECONDS);
        let gone = home.clock().within(silence, asked).await;
        assert!(matches!(gone, Some(Err(SessionError::Gone))), "{gone:?}");
        let theirs = sessions
            .borrow()
            .first()
            .cloned()
            .ok_or("no session was answered")?;
        assert!(
            office
                .clock()
                .within(silence, theirs.closed())
                .await
                .is_some()
        );

        world.heal(&home, &office);
        let session = call(&home, &me, &office, &keeper).await?;
        let (told, _) = session.ask(Message::Put { id }, Some(record)).await?;
        assert_eq!(told, Message::Done);
        Answer::Ok(())
    };
    run(1, story).value
}
