//! The drill, as a person runs it.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::process::Command;

use stage::{Stage, make_tree, program};

fn drill(stage: &Stage, extra: &[&str]) -> (i32, serde_json::Value, String) {
    let work = stage.path("work");
    std::fs::create_dir_all(&work).unwrap();
    let output = Command::new(program())
        .args(["drill", "--json", "--work-dir", work.to_str().unwrap()])
        .args(extra)
        .output()
        .unwrap();
    assert_eq!(
        std::fs::read_dir(&work).unwrap().count(),
        0,
        "the drill left something behind"
    );
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code().unwrap(),
        serde_json::from_slice(&output.stdout).unwrap_or_default(),
        told,
    )
}

#[test]
fn a_drill_of_ones_own_files_comes_back_identical_and_leaves_nothing_behind() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 5);
    let before = stage::tree(&files);
    let (exit, report, told) = drill(&stage, &[files.to_str().unwrap()]);
    assert_eq!(exit, 0, "{report} {told}");
    assert_eq!(report["comparison"]["different_count"], 0, "{report}");
    assert_eq!(report["snapshot"]["copies"], 2, "{report}");
    assert_eq!(before, stage::tree(&files), "the drill only reads");
    for peak in report["peaks"].as_array().unwrap() {
        assert!(
            peak[1].as_u64() > Some(0) && peak[1].as_u64() <= Some(64 << 20),
            "{peak}"
        );
    }
}

#[test]
fn a_drill_without_a_path_makes_a_corpus_of_its_own() {
    let stage = Stage::new();
    let (exit, report, told) = drill(&stage, &[]);
    assert_eq!(exit, 0, "{report} {told}");
    assert!(
        report["came_back"]["files"].as_u64() > Some(1000),
        "{report}"
    );
}

#[test]
fn a_drill_of_nothing_of_the_kernels_files_and_one_inside_its_own_work_directory_are_refused() {
    let stage = Stage::new();
    let (exit, _, told) = drill(&stage, &["/there/is/nothing"]);
    assert_eq!(exit, 2, "{told}");
    let (exit, _, told) = drill(&stage, &[stage.path("work").to_str().unwrap()]);
    assert_eq!(exit, 2, "{told}");
    let (exit, _, told) = drill(&stage, &["/proc"]);
    assert_eq!(exit, 2, "{told}");
    assert!(told.contains("made up by the kernel"), "{told}");
}

#[test]
fn an_interrupted_drill_removes_everything_and_ends_its_keepers() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 60);
    let work = stage.path("work");
    std::fs::create_dir_all(&work).unwrap();
    let mut child = Command::new(program())
        .args([
            "drill",
            "--json",
            "--work-dir",
            work.to_str().unwrap(),
            files.to_str().unwrap(),
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Interrupt once a keeper of it has a store, so that there is something to tidy up.
    let office_store = work.join(format!("reserve-drill-{}/office/store", child.id()));
    while !office_store.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(std::fs::read_dir(&work).unwrap().count(), 0);
}
