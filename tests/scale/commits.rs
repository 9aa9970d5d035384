//! Many small chunks share few commits.

use reserve::keeper::Ask;
use reserve::world::World;

use super::caller;
use super::filling::{ANNA, all_at_once, on_the_ring, open, record, small_len, world};
use super::stage::Stage;

const CHUNKS: u32 = 10_000;
const SYNCS_MAX: u64 = 500;

#[test]
fn ten_thousand_small_chunks_put_at_once_cost_at_most_five_hundred_syncs() {
    let dir = tempfile::tempdir().unwrap();
    on_the_ring(async {
        let world = world(dir.path());
        let (store, _) = open(&world).await;
        let before = world.disk().syncs();
        all_at_once(0..CHUNKS, |number| {
            let store = store.clone();
            async move {
                let (id, bytes) = record(number, small_len(number));
                store.put(ANNA, id, bytes).await.expect("it is kept");
            }
        })
        .await;
        let figures = store.figures();
        let syncs = world.disk().syncs() - before;
        println!(
            "{CHUNKS} chunks: {} commits, {syncs} syncs, {} bytes on disk",
            figures.commits, figures.disk_bytes
        );
        assert_eq!(figures.chunks, CHUNKS as usize);
        assert!(syncs <= SYNCS_MAX, "{syncs} syncs");
        assert!(figures.fdatasyncs <= syncs, "it counts what it did");
        store.close().await;
    });
}

#[test]
fn ten_thousand_small_chunks_of_three_peers_over_sessions_cost_at_most_five_hundred_syncs() {
    let stage = Stage::new();
    let files = stage.path("files");
    std::fs::create_dir(&files).unwrap();
    let home = stage.first_box("home", &files);
    let callers: Vec<_> = ["anna", "bela", "cleo"]
        .into_iter()
        .map(|name| caller::invited(&stage, name, &home))
        .collect();
    let address = caller::address_of(&home);
    let before = caller::store_of(&home);
    on_the_ring(async {
        let mut keepers = Vec::new();
        for caller in &callers {
            keepers.push(caller::call(&caller.dir, "home", &address).await);
        }
        all_at_once(0..CHUNKS, |number| {
            let keeper = keepers[number as usize % keepers.len()].clone();
            async move {
                let (id, bytes) = record(number, small_len(number));
                keeper.put(id, bytes).await.expect("it is kept");
            }
        })
        .await;
    });
    let after = caller::store_of(&home);
    let syncs = after["syncs"].as_u64().unwrap() - before["syncs"].as_u64().unwrap();
    println!("{CHUNKS} chunks over three sessions: {syncs} syncs");
    assert_eq!(after["chunks"], CHUNKS);
    assert!(syncs <= SYNCS_MAX, "{syncs} syncs");
}
