//! Five keepers hold three copies of everything between them; one is lost, and the other four make its copies again among themselves.

use std::time::{Duration, Instant};

use reserve::keeper::{MemberView, Places};
use reserve::roster::LoadedBox;
use reserve::terms::PeerKey;
use reserve::world::World;

use super::caller;
use super::filling::{on_the_ring, open, record, small_len, world};
use super::stage::{BoxProcess, Stage};

const NAMES: [&str; 5] = ["anna", "bela", "cleo", "dora", "emil"];
/// Chunks that are put before anybody waits for them.
const BATCH: u32 = 4096;
/// An hour, or what a slow machine makes of it.
const LOOKS_MAX: u32 = 4 * 3600;

/// Where everything belongs, and whose it is: a Box that has never been there.
struct Layout {
    places: Places,
    author: PeerKey,
}

async fn layout(keeper: &BoxProcess) -> Layout {
    let world = world(&keeper.dir);
    let loaded = LoadedBox::load(world.disk()).await.unwrap();
    let members = loaded.roster.members();
    let author = members
        .iter()
        .find(|member| member.name == "author")
        .unwrap()
        .key;
    let mut members: Vec<_> = members
        .into_iter()
        .map(|member| MemberView {
            key: member.key,
            name: member.name,
            site: member.site,
        })
        .collect();
    members.sort_by_key(|member| member.key);
    let places = Places {
        members,
        wanted: 3,
        least: 2,
    };
    Layout { places, author }
}

/// Puts what belongs on a keeper that does not run into its store.
fn fill_share(keeper: &BoxProcess, chunks: u32) {
    on_the_ring(async {
        let Layout { places, author } = layout(keeper).await;
        let world = world(&keeper.dir);
        let loaded = LoadedBox::load(world.disk()).await.unwrap();
        let me = loaded.identity.peer();
        let (store, _) = open(&world).await;
        for first in (0..chunks).step_by(BATCH as usize) {
            let mut puts = Vec::new();
            for number in first..chunks.min(first + BATCH) {
                let (id, bytes) = record(number, small_len(number));
                let prefix = id.0.first_chunk().unwrap();
                if places.of(prefix, author).contains(&me) {
                    let store = store.clone();
                    puts.push(tokio::task::spawn_local(async move {
                        store.put(author, id, bytes).await.expect("it is kept");
                    }));
                }
            }
            for put in puts {
                put.await.expect("no put panics");
            }
        }
        store.close().await;
    });
}

fn chunks_of(keeper: &BoxProcess) -> u64 {
    caller::store_of(keeper)["chunks"].as_u64().unwrap()
}

/// Waits until all together have so many and, if that must be known too, until each of them was told so by the others.
fn until_copies_are(keepers: &[BoxProcess], all: u64, must_be_known: bool) {
    for _ in 0..LOOKS_MAX {
        let stores: Vec<_> = keepers.iter().map(caller::store_of).collect();
        let have = stores.iter().map(|store| store["chunks"].as_u64().unwrap());
        let are_known = stores.iter().all(|store| {
            let copies = &store["copies"];
            copies["enough"] == store["chunks"] && copies["few"] == 0 && copies["lacking"] == 0
        });
        if have.sum::<u64>() == all && (are_known || !must_be_known) {
            return;
        }
        // The keepers tell; nothing here guesses how long it takes, only when to give up.
        std::thread::sleep(Duration::from_millis(250));
    }
    let stores: Vec<_> = keepers.iter().map(caller::store_of).collect();
    panic!(
        "{all} copies never became: {stores:#?}\n{}",
        keepers[0].log()
    );
}

fn one_of_five_is_lost(chunks: u32, must_be_known: bool) {
    let stage = Stage::new();
    // It has nothing to protect, so nobody takes snapshots meanwhile.
    let mut first = stage.new_box(NAMES[0]);
    let sheet = stage.path("words");
    first.succeeds(&[
        "init",
        "--name",
        NAMES[0],
        "--sheet",
        sheet.to_str().unwrap(),
    ]);
    first.start();
    let mut keepers = vec![first];
    for name in &NAMES[1..] {
        let keeper = stage.joined_box(name, &keepers[0]);
        keepers.push(keeper);
    }
    caller::invited(&stage, "author", &keepers[0]);
    for keeper in &keepers {
        keeper.until(&["peers", "--json"], |peers| {
            let peers = peers.as_array().unwrap();
            let connected = peers.iter().filter(|peer| peer["connected"] == true);
            peers.len() == NAMES.len() + 1 && connected.count() == NAMES.len()
        });
    }
    for keeper in &mut keepers {
        keeper.stop();
    }
    let began = Instant::now();
    for keeper in &keepers {
        fill_share(keeper, chunks);
    }
    println!(
        "{chunks} chunks, three copies: put in {:?}",
        began.elapsed()
    );
    for keeper in &mut keepers {
        keeper.start();
    }
    let began = Instant::now();
    until_copies_are(&keepers, u64::from(chunks) * 3, true);
    println!("known to be there after {:?}", began.elapsed());

    let lost = keepers.pop().unwrap();
    let lost_chunks = chunks_of(&lost);
    drop(lost);
    let began = Instant::now();
    keepers[0].succeeds(&["remove", NAMES[4], "--lost"]);
    until_copies_are(&keepers, u64::from(chunks) * 3, must_be_known);
    println!(
        "{lost_chunks} copies made again after {:?}",
        began.elapsed()
    );
    for keeper in &keepers {
        println!(
            "{}: {} chunks, peak {} KiB",
            keeper.name,
            chunks_of(keeper),
            keeper.peak_kib()
        );
    }
    // Every one is whole, everywhere.
    for keeper in &keepers {
        let swept = keeper.json(&["sweep", "--now", "--json"]);
        assert_eq!(swept["damaged_count"], 0, "{swept}");
    }
}

#[test]
fn one_of_five_keepers_is_lost_and_all_its_copies_are_made_again() {
    one_of_five_is_lost(3_000, false);
}

#[test]
#[ignore = "a measurement: cargo test --release --test scale -- --ignored --nocapture five"]
fn one_of_five_keepers_with_two_hundred_thousand_chunks_is_lost() {
    one_of_five_is_lost(200_000, true);
}
