//! Keepers heal each other while the author is off: what one lost it finds out by comparing itself with the others, and takes from them.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::fs;

use serde_json::Value;
use stage::BoxProcess;
use stage::trio::Trio;

fn store_of(keeper: &BoxProcess) -> Value {
    keeper.json(&["status", "--json"])["store"].clone()
}

/// Home protected its files on office and friend, and is off.
struct Orphaned {
    reserve: Trio,
    chunks: u64,
}

impl Orphaned {
    fn new() -> Self {
        let mut reserve = Trio::protected();
        reserve.home.stop();
        let chunks = store_of(&reserve.office)["chunks"].as_u64().unwrap();
        assert!(chunks > 3, "{chunks} chunks");
        Self { reserve, chunks }
    }

    /// Office has everything again, knows that friend has it too, and gives it back alone.
    fn ends_healed(self) {
        let office = &self.reserve.office;
        office.until(&["status", "--json"], |status| {
            let store = &status["store"];
            store["chunks"] == self.chunks
                && store["damaged"] == 0
                && store["copies"]["few"] == 0
                && store["copies"]["enough"] == self.chunks
        });
        self.reserve.comes_back_from_office_alone();
    }
}

#[test]
fn an_emptied_keeper_is_filled_by_the_other_while_the_author_is_off_once_a_person_says_it_is() {
    let mut orphaned = Orphaned::new();
    let office = &mut orphaned.reserve.office;
    office.kill();
    fs::remove_dir_all(office.dir.join("store")).unwrap();
    office.start();
    office.succeeds(&["store", "new"]);
    orphaned.ends_healed();
}

#[test]
fn a_segment_that_vanishes_under_a_running_keeper_comes_back_from_the_other() {
    let orphaned = Orphaned::new();
    let office = &orphaned.reserve.office;
    fs::remove_file(office.dir.join("store/seg-000001")).unwrap();
    office.run(&["sweep", "--now"]);
    orphaned.ends_healed();
}
