//! Home with its files protected on office and friend: what most stories of loss begin with.

use std::path::PathBuf;

use super::{BoxProcess, Stage, assert_same_trees, make_tree};

pub struct Trio {
    pub stage: Stage,
    pub files: PathBuf,
    pub home: BoxProcess,
    pub office: BoxProcess,
    pub friend: BoxProcess,
}

impl Trio {
    pub fn protected() -> Self {
        let stage = Stage::new();
        let files = stage.path("files");
        make_tree(&files, 8);
        let home = stage.first_box("home", &files);
        let office = stage.joined_box("office", &home);
        let friend = stage.joined_box("friend", &home);
        let outcome = home.json(&["snapshot", "--wait", "--json"]);
        assert_eq!(outcome["protected"], true, "{outcome}");
        Self {
            stage,
            files,
            home,
            office,
            friend,
        }
    }

    /// All but office are lost, and it gives everything back.
    pub fn comes_back_from_office_alone(mut self) {
        self.home.destroy();
        self.friend.destroy();
        let to = self.stage.path("came-back");
        self.office
            .succeeds(&["retrieve", "--author", "home", "--to", to.to_str().unwrap()]);
        assert_same_trees(&self.files, &to);
    }
}
