//! What somebody with a stolen Box can do while it is still a member, and what stays out of his reach once it is shut out.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use reserve::format::head::{Head, SignedHead};
use reserve::format::keys::RecoveryWay;
use reserve::keeper::{Store, StoreConfig};
use reserve::roster::LoadedBox;
use reserve::session::{self, Pool, Session};
use reserve::terms::limits::{HANDSHAKES_OF_AN_ADDRESS_MAX, TABLE_CHUNKS_DEFAULT};
use reserve::terms::{ChunkId, PeerKey, ReserveId, SnapshotNumber, Stamp, Suite};
use reserve::world::uring::{self, Uring};
use reserve::world::{Net, World};
use stage::{BoxProcess, Stage, make_tree};

fn head(reserve: ReserveId, author: &SigningKey) -> SignedHead {
    let head = Head {
        reserve,
        author: PeerKey(author.verifying_key().to_bytes()),
        incarnation: [4; 8],
        number: SnapshotNumber(1),
        previous: None,
        manifest: ChunkId([7; 32]),
        taken: Stamp::default(),
        chunks: 1,
        sealed_bytes: 1,
        accepted: true,
    };
    SignedHead::sign(head, author)
}

/// Puts heads into the store of a Box whose keeper does not run, and gives the authors it knows then.
fn with_heads(of: &BoxProcess, make: impl Fn(&LoadedBox) -> Vec<SignedHead>) -> Vec<PeerKey> {
    uring::run(async {
        let world = Uring::new(&of.dir).unwrap();
        let loaded = LoadedBox::load(world.disk()).await.unwrap();
        let config = StoreConfig {
            table_chunks: TABLE_CHUNKS_DEFAULT,
            capacity_bytes: None,
            quota_bytes_per_author: None,
        };
        let (store, _) = Store::open(world, config).await.unwrap();
        for head in make(&loaded) {
            store.put_head(&head).await.unwrap();
        }
        let authors = store.newest_heads().into_iter().map(|(author, _)| author);
        let authors = authors.collect();
        store.close().await;
        authors
    })
    .unwrap()
}

#[test]
fn heads_of_authors_a_member_made_up_are_not_taken_from_it() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    office.kill();
    let made_up = |seed: u8| SigningKey::from_bytes(&[seed; 32]);
    let told = with_heads(&office, |office| {
        let reserve = office.roster.reserve();
        let mut heads: Vec<_> = (1..=3).map(|seed| head(reserve, &made_up(seed))).collect();
        // Its own comes last in what it tells: whoever has that has looked at the others.
        heads.push(head(reserve, &office.identity.signing));
        heads
    });
    assert_eq!(told.len(), 4);
    office.start();
    home.until(&["snapshots", "--json"], |list| {
        let is_office = |snapshot: &serde_json::Value| snapshot["author"] == "office";
        let list = list.as_array().unwrap().iter();
        list.filter(|snapshot| is_office(snapshot))
            .any(|snapshot| snapshot["held_by"].to_string().contains("home"))
    });
    home.kill();
    let known = with_heads(&home, |_| Vec::new());
    assert_eq!(known, [told[3]], "only the head of a member was taken");
}

fn epochs(of: &BoxProcess) -> usize {
    in_box(of, async |_, loaded| loaded.secrets.held().len())
}

/// What the files of a Box say now, whether its keeper runs or not.
fn in_box<T>(of: &BoxProcess, look: impl AsyncFnOnce(Uring, LoadedBox) -> T) -> T {
    uring::run(async {
        let world = Uring::new(&of.dir).unwrap();
        let loaded = LoadedBox::load(world.disk()).await.unwrap();
        look(world, loaded).await
    })
    .unwrap()
}

#[track_caller]
fn refused(of: &BoxProcess, args: &[&str], status: i32, says: &[&str]) {
    let output = of.run(args);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{told}");
    assert!(says.iter().all(|words| told.contains(words)), "{told}");
}

fn all_meet(of: &BoxProcess, count: usize) {
    of.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap();
        peers.len() == count && peers.iter().all(|peer| peer["connected"] == true)
    });
}

#[test]
fn who_came_in_by_a_stolen_boxs_word_is_named_before_any_secret_is_sealed_to_it() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    // A thief with the office's keys can do just this.
    let thiefs = stage.joined_box("nas", &office);
    all_meet(&home, 3);

    let lost = ["remove", "office", "--lost"];
    refused(
        &home,
        &lost,
        1,
        &["nas", "--guests keep", "--guests remove"],
    );
    assert_eq!(epochs(&home), 1, "nothing was changed");
    home.succeeds(&[&lost[..], &["--guests", "remove"]].concat());
    let left = home.json(&["peers", "--json"]);
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    let (own, before) = in_box(&thiefs, async |_, nas| (nas.identity, nas.secrets));
    in_box(&home, async |_, home| {
        assert_eq!(home.secrets.held().len(), 2);
        assert!(before.learned(&home.roster, &own).is_none());
    });
}

#[test]
fn a_box_that_left_can_be_shut_out_when_it_is_stolen_later_and_changes_nothing_any_more() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let _friend = stage.joined_box("friend", &home);
    office.succeeds(&["data", "add", &format!("work={}", files.display())]);
    all_meet(&home, 3);
    all_meet(&office, 3);

    // One word mistyped must not end the protection of the Box one sits at.
    refused(&home, &["remove", "home"], 2, &["--this-box"]);
    let other = ["remove", "office", "--this-box"];
    refused(&home, &other, 2, &["office is not this Box", "called home"]);
    office.succeeds(&["remove", "office", "--this-box"]);
    home.until(&["peers", "--json"], |peers| {
        peers.as_array().unwrap().len() == 2
    });
    let out = ["removed from its reserve"];
    refused(&office, &["snapshot", "--wait"], 1, &out);
    refused(
        &office,
        &["config", "set", "replication_factor", "2"],
        1,
        &out,
    );
    refused(&office, &["remove", "friend"], 1, &out);
    let to = stage.path("to");
    let to = to.to_str().unwrap();
    refused(
        &office,
        &["retrieve", "--author", "home", "--to", to],
        1,
        &out,
    );

    office.kill();
    assert_eq!(epochs(&home), 1);
    let told = home.json(&["remove", "office", "--lost", "--json"]);
    assert_eq!(told["epoch_begun"], true, "{told}");
    assert_eq!(epochs(&home), 2);
    refused(
        &home,
        &["remove", "office", "--lost"],
        2,
        &["removed before"],
    );
}

#[test]
fn somebody_without_the_words_holds_no_more_places_than_a_stranger_has() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    office.kill();
    let address = home.address().parse().unwrap();
    in_box(&office, async |world, stolen| {
        let (sign, seal) = stolen.roster.recovery_halves();
        let (way, pool) = (RecoveryWay::derive(&sign, &seal), Pool::new(1 << 20));
        let mut open: Vec<Session> = Vec::new();
        // Each is silent for as long as it is let; the first is let go after ten seconds at the earliest.
        let start = Instant::now();
        loop {
            let link = world.net().connect(address).await.unwrap();
            let noise = &stolen.identity.noise;
            let suite = Suite::ChaCha20Poly1305;
            match session::recover(&world, link, noise, &way, suite, &pool).await {
                Ok(session) => open.push(session),
                Err(_) => break,
            }
            if start.elapsed() < Duration::from_secs(8) {
                assert!(open.len() <= HANDSHAKES_OF_AN_ADDRESS_MAX);
            } else {
                open.retain(|session| !session.is_closed());
            }
        }
        assert!(
            !open.is_empty(),
            "it is answered as long as there is a place"
        );
    });
    // The members have their room and are not kept out.
    office.start();
    all_meet(&home, 2);
}
