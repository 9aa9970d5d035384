//! A keeper that lives and says nothing: lists and retrievals go on without it, and it is named.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use stage::trio::Trio;
use stage::{BoxProcess, assert_same_trees};

/// A process that is there, holds its connections, and does nothing.
struct Stopped(rustix::process::Pid);

impl Stopped {
    fn of(keeper: &BoxProcess) -> Self {
        let pid = i32::try_from(keeper.pid()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.0, rustix::process::Signal::CONT);
    }
}

#[test]
fn whoever_does_not_answer_is_named_and_not_waited_for() {
    let trio = Trio::protected();
    trio.office.until_met("friend");
    let stopped = Stopped::of(&trio.friend);
    let listed = trio.office.run(&["snapshots", "--json"]);
    assert!(listed.status.success(), "{listed:?}");
    let list: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(list[0]["author"], "home", "{list}");
    assert_eq!(list[0]["held_by"], serde_json::json!(["office"]), "{list}");
    let told = String::from_utf8_lossy(&listed.stderr);
    assert!(told.contains("friend") && !told.contains("home"), "{told}");

    let to = trio.stage.path("back");
    let retrieved =
        trio.office
            .run(&["retrieve", "--author", "home", "--to", to.to_str().unwrap()]);
    assert!(retrieved.status.success(), "{retrieved:?}");
    let told = String::from_utf8_lossy(&retrieved.stderr);
    assert!(told.contains("friend"), "{told}");
    assert_same_trees(&trio.files, &to);

    // It is asked again as soon as it is itself again.
    drop(stopped);
    trio.office.until(&["snapshots", "--json"], |list| {
        let held_by = list[0]["held_by"].as_array();
        held_by.is_some_and(|holders| holders.len() == 2)
    });
}
