//! What a person sees of the service: jobs that go on, a doctor, a report without secrets, an end in good order, one clear sentence.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a story looks at the machine itself"
)]

mod stage;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use stage::mounted::Mounted;
use stage::{BoxProcess, Stage, make_tree, noise, program, signal};

/// Whether a process has a handler for ctrl-C by now.
fn hears_interrupt(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("SigCgt:"));
    let mask = u64::from_str_radix(line.unwrap()[7..].trim(), 16).unwrap();
    mask & 0b10 != 0
}

#[test]
fn a_job_goes_on_without_its_command_and_is_ended_only_when_told() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 1);
    let home = stage.first_box("home", &files);
    let office = stage.joined_box("office", &home);
    home.json(&["snapshot", "--wait", "--json"]);
    std::fs::write(files.join("more"), noise("more", 3_000_000)).unwrap();
    // Stopped, office takes nothing: whatever is new cannot be published.
    signal("-STOP", office.pid());
    let mut waiting = home
        .command()
        .args(["snapshot", "--wait"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let jobs = home.until(&["jobs", "--json"], |jobs| {
        jobs.as_array()
            .is_some_and(|jobs| jobs.iter().any(|job| job["state"] == "running"))
            && hears_interrupt(waiting.id())
    });
    let id = jobs.as_array().unwrap().last().unwrap()["id"].to_string();
    signal("-INT", waiting.id());
    let end = waiting.wait().unwrap();
    let mut said = String::new();
    waiting
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(end.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("goes on without this command (job {id})")),
        "{said}"
    );
    let jobs = home.json(&["jobs", "--json"]);
    assert_eq!(
        jobs.as_array().unwrap().last().unwrap()["state"],
        "running",
        "{jobs}"
    );

    home.succeeds(&["jobs", "cancel", &id]);
    let jobs = home.until(&["jobs", "--json"], |jobs| {
        jobs.as_array().unwrap().last().unwrap()["fault"] != Value::Null
    });
    assert_eq!(
        jobs.as_array().unwrap().last().unwrap()["state"],
        "cancelled",
        "{jobs}"
    );
    let again = home.run(&["jobs", "cancel", &id]);
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let followed = home.run(&["jobs", "follow", &id]);
    let said = String::from_utf8_lossy(&followed.stderr).into_owned();
    assert!(
        said.contains("was cancelled") && said.contains("unchanged"),
        "{said}"
    );
    let nobody = home.run(&["jobs", "cancel", "99"]);
    assert_eq!(nobody.status.code(), Some(2), "{nobody:?}");

    signal("-CONT", office.pid());
    let outcome = home.json(&["snapshot", "--wait", "--json"]);
    assert_eq!(
        (&outcome["protected"], &outcome["snapshot"]["number"]),
        (&true.into(), &2.into()),
        "the cancelled one left no number behind: {outcome}"
    );
}

#[test]
fn the_doctor_finds_what_is_wrong_with_and_without_a_keeper() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    let lines = home.json(&["doctor", "--json"]);
    let of = |lines: &Value, code: &str| -> Vec<Value> {
        let lines = lines.as_array().unwrap().iter();
        lines.filter(|line| line["code"] == code).cloned().collect()
    };
    for code in [
        "kernel",
        "io_uring",
        "memlock",
        "memory",
        "directory",
        "keys",
        "data set",
        "keeper",
        "addresses",
        "clock",
    ] {
        assert!(!of(&lines, code).is_empty(), "{code}: {lines}");
    }
    assert_eq!(of(&lines, "keeper")[0]["verdict"], "ok", "{lines}");

    home.kill();
    let identity = home.dir.join("identity");
    std::fs::set_permissions(&identity, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::rename(&files, stage.path("away")).unwrap();
    let sick = home.run(&["doctor", "--json"]);
    assert_eq!(sick.status.code(), Some(3), "{sick:?}");
    let lines: Value = serde_json::from_slice(&sick.stdout).unwrap();
    assert_eq!(of(&lines, "keeper")[0]["verdict"], "warning", "{lines}");
    assert_eq!(of(&lines, "data set")[0]["verdict"], "failure", "{lines}");
    let keys = &of(&lines, "keys")[0];
    assert!(
        keys["todo"].as_str().unwrap().contains("chmod 600"),
        "{keys}"
    );
    let shown = String::from_utf8(home.run(&["doctor"]).stdout).unwrap();
    assert!(
        shown.ends_with("warnings.\n") && shown.contains("FAILURE keys"),
        "{shown}"
    );

    let carton = stage.new_box("carton");
    assert_eq!(carton.run(&["doctor"]).status.code(), Some(3));
}

/// The lines of a code that the doctor found.
fn found(at: &BoxProcess, code: &str) -> Vec<Value> {
    let lines: Value = serde_json::from_slice(&at.run(&["doctor", "--json"]).stdout).unwrap();
    let lines = lines.as_array().unwrap().iter();
    lines.filter(|line| line["code"] == code).cloned().collect()
}

#[test]
fn the_doctor_names_a_peer_out_of_reach_and_an_address_that_another_program_has() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    let mut office = stage.joined_box("office", &home);
    let peer = &found(&home, "peer")[0];
    assert_eq!(peer["verdict"], "ok", "{peer}");
    office.kill();
    home.until(&["peers", "--json"], |peers| {
        let peers = peers.as_array().unwrap().iter();
        peers.filter(|peer| peer["connected"] == false).count() == 1
    });
    let peer = &found(&home, "peer")[0];
    assert_eq!(peer["verdict"], "warning", "{peer}");
    let text = peer["text"].as_str().unwrap();
    assert!(
        text.contains("office is out of reach at 127.0.0.1:"),
        "{text}"
    );

    home.stop();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let file = home.dir.join("box.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let others = config.lines().filter(|line| !line.starts_with("listen"));
    let config: Vec<_> = others.collect();
    // What stands before the first table is the Box's own.
    let config = format!("listen = [\"{address}\"]\n{}\n", config.join("\n"));
    std::fs::write(&file, config).unwrap();
    let keeper = &found(&home, "keeper")[0];
    assert_eq!(keeper["verdict"], "failure", "{keeper}");
    let text = keeper["text"].as_str().unwrap();
    assert!(
        text.contains(&format!("cannot listen at {address} (")),
        "{text}"
    );
    drop(other);
    let keeper = &found(&home, "keeper")[0];
    assert_eq!(keeper["verdict"], "warning", "{keeper}");
    let text = keeper["text"].as_str().unwrap();
    assert!(text.contains("its address is free"), "{text}");
}

#[test]
fn the_doctor_warns_of_a_state_directory_in_memory_and_of_one_that_cannot_be_written() {
    let stage = Stage::new();
    let home = stage.new_box("home");
    let Some(disk) = Mounted::small(home.dir.clone(), 64) else {
        return;
    };
    home.succeeds(&[
        "init",
        "--name",
        "home",
        "--sheet",
        stage.path("words").to_str().unwrap(),
    ]);
    let directory = &found(&home, "directory")[0];
    assert_eq!(directory["verdict"], "warning", "{directory}");
    let (text, todo) = (&directory["text"], &directory["todo"]);
    assert!(
        text.as_str().unwrap().contains(": tmpfs on "),
        "{directory}"
    );
    assert!(
        todo.as_str().unwrap().contains("empty after a restart"),
        "{directory}"
    );
    disk.remount("ro");
    let directory = &found(&home, "directory")[0];
    assert_eq!(directory["verdict"], "failure", "{directory}");
    assert!(
        directory["text"].as_str().unwrap().ends_with(", read-only"),
        "{directory}"
    );
}

#[test]
fn a_report_holds_no_name_path_address_or_key() {
    let stage = Stage::new();
    let files = stage.path("liebesbriefe");
    make_tree(&files, 0);
    let mut home = stage.first_box("dachboden", &files);
    let office = stage.joined_box("kontor", &home);
    home.json(&["snapshot", "--wait", "--json"]);
    std::fs::rename(&files, stage.path("away")).unwrap();
    home.run(&["snapshot", "--wait"]);
    let mut secrets: Vec<String> = ["dachboden", "kontor", "liebesbriefe", "127.0.0.1", "files="]
        .map(str::to_owned)
        .to_vec();
    secrets.push(stage.path("").display().to_string());
    for peer in home.json(&["peers", "--json"]).as_array().unwrap() {
        secrets.push(peer["key"].as_str().unwrap()[..8].to_owned());
    }
    for file in ["identity", "secrets"] {
        let bytes = std::fs::read(home.dir.join(file)).unwrap();
        let from = bytes.len() / 3;
        secrets.push(data_encoding::HEXLOWER.encode(&bytes[from..from + 8]));
        secrets.push(data_encoding::BASE64.encode(&bytes[from..from + 9]));
    }
    let words = std::fs::read_to_string(stage.path("dachboden-words")).unwrap();
    let word = words
        .lines()
        .find_map(|line| line.trim().strip_prefix("1. "))
        .unwrap();
    secrets.push(format!("\"{}", word.split(' ').next().unwrap()));

    let running = home.succeeds(&["report"]);
    home.kill();
    drop(office);
    let file = stage.path("report.json");
    home.succeeds(&["report", "--to", file.to_str().unwrap()]);
    let at_rest = std::fs::read_to_string(&file).unwrap();
    for report in [running, at_rest] {
        let value: Value = serde_json::from_str(&report).unwrap();
        for event in ["snapshot_taken", "data_set_missing", "box_joined"] {
            assert!(report.contains(event), "{event} {report}");
        }
        assert_eq!(value["configuration"]["data_sets"], 1, "{report}");
        assert!(value["checks"].as_array().unwrap().len() > 8, "{report}");
        for secret in &secrets {
            assert!(!report.contains(secret.as_str()), "{secret} is in {report}");
        }
    }
    let again = home.run(&["report", "--to", file.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "a report replaces no file");
}

#[test]
fn the_service_manager_hears_of_start_life_and_end() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    home.stop();
    let path = stage.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut keeper = home
        .command()
        .args(["keeper", "--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000")
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = Vec::new();
    let mut hear = |wanted: &str| {
        let mut buffer = [0; 256];
        loop {
            let length = manager.recv(&mut buffer).unwrap();
            let said = String::from_utf8_lossy(&buffer[..length]).trim().to_owned();
            heard.push(said.clone());
            if said == wanted {
                return;
            }
        }
    };
    hear("READY=1");
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    let first_line = BufReader::new(keeper.stdout.take().unwrap()).lines().next();
    assert!(first_line.unwrap().unwrap().contains("is listening on"));
    signal("-TERM", keeper.id());
    hear("STOPPING=1");
    assert_eq!(keeper.wait().unwrap().code(), Some(0));
    assert!(!heard[0].contains("WATCHDOG"), "{heard:?}");
    assert!(!home.dir.join("control.sock").exists());
}

#[test]
fn a_keeper_whose_terminal_is_closed_ends_in_good_order() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    home.ends_at("-HUP");
    home.start();
    let told = String::from_utf8(home.run(&["events"]).stdout).unwrap();
    assert!(told.contains("ended in good order"), "{told}");
    assert!(!told.contains("did not end in good order"), "{told}");
}

/// Runs the program where the kernel refuses to make a ring. A filter holds for a thread and what it starts.
fn without_io_uring(args: &[&str], dir: &std::path::Path) -> std::process::Output {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    const IO_URING_SETUP: i64 = 425;
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        let filter = SeccompFilter::new(
            [(IO_URING_SETUP, Vec::new())].into_iter().collect(),
            SeccompAction::Allow,
            SeccompAction::Errno(1),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let program_of_filter: BpfProgram = filter.unwrap().try_into().unwrap();
        seccompiler::apply_filter(&program_of_filter).unwrap();
        let mut command = Command::new(program());
        command.env("RESERVE_DIR", dir).args(args).output().unwrap()
    })
    .join()
    .unwrap()
}

#[test]
fn without_io_uring_there_is_one_clear_sentence_and_what_only_reads_still_works() {
    let stage = Stage::new();
    let files = stage.path("files");
    make_tree(&files, 0);
    let mut home = stage.first_box("home", &files);
    home.stop();
    let refused = without_io_uring(&["keeper", "--listen", "127.0.0.1:0"], &home.dir);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("reserve: this kernel or container does not allow io_uring"),
        "{said}"
    );
    assert!(
        said.contains("Nothing was changed.") && said.contains("kernel.io_uring_disabled"),
        "{said}"
    );
    assert!(said.lines().count() <= 3, "{said}");
    let doctor = without_io_uring(&["doctor", "--json"], &home.dir);
    assert_eq!(doctor.status.code(), Some(3), "{doctor:?}");
    let lines: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let ring = lines
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["code"] == "io_uring");
    assert_eq!(ring.unwrap()["verdict"], "failure", "{lines}");
    for reading in ["status", "events", "peers", "snapshots"] {
        let read = without_io_uring(&[reading, "--json"], &home.dir);
        assert!(
            matches!(read.status.code(), Some(0 | 3)),
            "{reading}: {read:?}"
        );
        assert!(!read.stdout.is_empty(), "{reading}: {read:?}");
    }
}

#[test]
fn completions_and_manual_pages_come_from_the_command_line_itself() {
    let stage = Stage::new();
    let carton = stage.new_box("carton");
    let script = carton.succeeds(&["completions", "bash"]);
    let file = stage.path("reserve.bash");
    std::fs::write(&file, script).unwrap();
    let asked = Command::new("bash")
        .arg("-c")
        .arg(format!(
            "source {}; COMP_WORDS=(reserve snap); COMP_CWORD=1; _reserve reserve snap reserve; echo \"${{COMPREPLY[@]}}\"",
            file.display()
        ))
        .output()
        .unwrap();
    let offered = String::from_utf8_lossy(&asked.stdout).into_owned();
    assert!(
        offered.contains("snapshot") && offered.contains("snapshots"),
        "{asked:?}"
    );
    for shell in ["zsh", "fish"] {
        assert!(
            carton
                .succeeds(&["completions", shell])
                .contains("retrieve")
        );
    }
    let pages = stage.path("man1");
    std::fs::create_dir(&pages).unwrap();
    carton.succeeds(&["man", "--to", pages.to_str().unwrap()]);
    let page = std::fs::read_to_string(pages.join("reserve-snapshot.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("accept"), "{page}");
    assert!(pages.join("reserve.1").exists());
}
