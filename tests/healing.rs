//! Keepers heal each other while the author is off: what one lost it finds out by comparing itself with the others, and takes from them.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use stage::{BoxProcess, Stage, assert_same_trees, make_tree};

fn store_of(keeper: &BoxProcess) -> Value {
    keeper.json(&["status", "--json"])["store"].clone()
}

/// Home protected its files on office and friend, and is off.
struct Orphaned {
    stage: Stage,
    files: PathBuf,
    home: BoxProcess,
    office: BoxProcess,
    friend: BoxProcess,
    chunks: u64,
}

impl Orphaned {
    fn new() -> Self {
        let stage = Stage::new();
        let files = stage.path("files");
        make_tree(&files, 8);
        let mut home = stage.first_box("home", &files);
        let office = stage.joined_box("office", &home);
        let friend = stage.joined_box("friend", &home);
        let outcome = home.json(&["snapshot", "--wait", "--json"]);
        assert_eq!(outcome["protected"], true, "{outcome}");
        home.stop();
        let chunks = store_of(&office)["chunks"].as_u64().unwrap();
        assert!(chunks > 3, "{chunks} chunks");
        Self {
            stage,
            files,
            home,
            office,
            friend,
            chunks,
        }
    }

    /// Office has everything again, knows that friend has it too, and gives it back alone.
    fn ends_healed(mut self) {
        self.office.until(&["status", "--json"], |status| {
            let store = &status["store"];
            store["chunks"] == self.chunks
                && store["damaged"] == 0
                && store["copies"]["few"] == 0
                && store["copies"]["enough"] == self.chunks
        });
        self.home.destroy();
        self.friend.destroy();
        let to = self.stage.path("came-back");
        self.office
            .succeeds(&["retrieve", "--author", "home", "--to", to.to_str().unwrap()]);
        assert_same_trees(&self.files, &to);
    }
}

#[test]
fn an_emptied_keeper_is_filled_by_the_other_while_the_author_is_off_once_a_person_says_it_is() {
    let mut reserve = Orphaned::new();
    reserve.office.kill();
    fs::remove_dir_all(reserve.office.dir.join("store")).unwrap();
    reserve.office.start();
    reserve.office.succeeds(&["store", "new"]);
    reserve.ends_healed();
}

#[test]
fn a_segment_that_vanishes_under_a_running_keeper_comes_back_from_the_other() {
    let reserve = Orphaned::new();
    fs::remove_file(reserve.office.dir.join("store/seg-000001")).unwrap();
    reserve.office.run(&["sweep", "--now"]);
    reserve.ends_healed();
}
