//! The stage of the stories: real processes of the real program, each Box with a directory of its own below one that is removed.
#![allow(dead_code)] // each story uses its own part of it
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used
)] // tests look at the machine themselves

pub mod mounted;
pub mod trio;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_reserve")
}

/// An ordinary user whom every system knows.
const NOBODY: u32 = 65_534;

/// Everything a story makes is below one directory.
pub struct Stage {
    dir: tempfile::TempDir,
    /// Who all processes run as, if not as whoever runs the story.
    user: Option<u32>,
    program: PathBuf,
}

impl Stage {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            user: None,
            program: program().into(),
        }
    }

    /// The same, where everything is done by an ordinary user, also when the story is run by the superuser.
    pub fn of_an_ordinary_user() -> Self {
        let mut stage = Self::new();
        if !rustix::process::geteuid().is_root() {
            return stage;
        }
        stage.user = Some(NOBODY);
        std::os::unix::fs::chown(stage.dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        // The program may lie where only its builder may look.
        stage.program = stage.path("reserve");
        fs::copy(program(), &stage.program).unwrap();
        stage
    }

    /// A Box out of its carton that is the superuser's all the same, if the story is run by the superuser.
    pub fn new_box_of_the_superuser(&self, name: &str) -> BoxProcess {
        let mut made = self.new_box(name);
        made.user = None;
        made
    }

    /// A Box whose commands are run by another program, in surroundings of its own: its state directory is `dir`.
    pub fn new_box_in(&self, name: &str, dir: PathBuf, program: PathBuf) -> BoxProcess {
        let mut made = self.new_box(name);
        (made.dir, made.program) = (dir, program);
        made
    }

    /// Has something done by the stage's user.
    pub fn as_user<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let Some(user) = self.user else {
            return work();
        };
        // A thread of its own is given away; the others stay who they are.
        std::thread::scope(|scope| {
            let work = move || {
                let (uid, gid) = (
                    rustix::process::Uid::from_raw(user),
                    rustix::process::Gid::from_raw(user),
                );
                rustix::thread::set_thread_groups(&[]).unwrap();
                rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
                work()
            };
            scope.spawn(work).join().unwrap()
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A Box out of its carton.
    pub fn new_box(&self, name: &str) -> BoxProcess {
        BoxProcess {
            name: name.to_owned(),
            dir: self.path(name),
            keeper: None,
            address: None,
            user: self.user,
            program: self.program.clone(),
        }
    }

    /// The first Box of a reserve, protecting `data`, with its keeper running.
    pub fn first_box(&self, name: &str, data: &Path) -> BoxProcess {
        let mut first = self.new_box(name);
        let sheet = self.path(&format!("{name}-words"));
        first.succeeds(&[
            "init",
            "--name",
            name,
            "--data",
            &format!("files={}", data.display()),
            "--sheet",
            sheet.to_str().unwrap(),
        ]);
        first.start();
        first
    }

    /// A new Box, invited by `inviter`, with its keeper running.
    pub fn joined_box(&self, name: &str, inviter: &BoxProcess) -> BoxProcess {
        let mut newcomer = self.new_box(name);
        let ticket = inviter.succeeds(&["invite"]);
        newcomer.succeeds(&["join", "--name", name, ticket.trim()]);
        newcomer.start();
        inviter.until_met(name);
        newcomer
    }
}

/// One Box: its state directory and, while it runs, its keeper.
pub struct BoxProcess {
    pub name: String,
    pub dir: PathBuf,
    keeper: Option<Child>,
    address: Option<String>,
    user: Option<u32>,
    program: PathBuf,
}

impl BoxProcess {
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("RESERVE_DIR", &self.dir).stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command().args(args).output().unwrap()
    }

    /// Runs a command that reads something from its standard input, which is a pipe.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Output {
        answered(self.command().args(args), input)
    }

    /// Runs a command on a terminal of its own, where somebody types something. What it shows is its standard output.
    pub fn on_a_terminal(&self, args: &str, typed: &str) -> Output {
        let mut script = Command::new("script");
        let command = format!("{} {args}", self.program.display());
        script.args(["-q", "-e", "-c", &command, "/dev/null"]);
        answered(script.env("RESERVE_DIR", &self.dir), typed)
    }

    /// Runs a command that must end with status 0; gives its standard output.
    #[track_caller]
    pub fn succeeds(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{} {args:?}: {output:?}\n{}",
            self.name,
            self.log()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command prints that must end with status 0. `status` may also say that something is not safe.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        let is_answer = output.status.success()
            || (args.first() == Some(&"status") && output.status.code() == Some(3));
        assert!(
            is_answer,
            "{} {args:?}: {output:?}\n{}",
            self.name,
            self.log()
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Takes a snapshot and waits; how the command ended, and what came of it.
    #[track_caller]
    pub fn taken(&self, more: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(&[&["snapshot", "--wait", "--json"], more].concat());
        let outcome = serde_json::from_slice(&output.stdout);
        let outcome = outcome.unwrap_or_else(|_| panic!("{output:?}\n{}", self.log()));
        (output.status.code(), outcome)
    }

    /// Waits until it has a session with another Box.
    #[track_caller]
    pub fn until_met(&self, name: &str) {
        self.until(&["peers", "--json"], |peers| {
            let peers = peers.as_array().unwrap();
            peers
                .iter()
                .any(|peer| peer["name"] == name && peer["connected"] == true)
        });
    }

    /// Starts the keeper and waits until it says where it listens.
    pub fn start(&mut self) {
        // The same address again after a restart, as a real Box would have.
        let listen = self.address.clone().unwrap_or_else(|| "127.0.0.1:0".into());
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut keeper = self
            .command()
            .args(["keeper", "--listen", &listen])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let first_line = BufReader::new(keeper.stdout.take().unwrap()).lines().next();
        self.keeper = Some(keeper);
        let line = first_line
            .unwrap_or_else(|| panic!("{} did not start\n{}", self.name, self.log()))
            .unwrap();
        self.address = line.rsplit(' ').next().map(str::to_owned);
    }

    /// All it told, oldest first.
    #[track_caller]
    pub fn events(&self, more: &[&str]) -> Vec<Value> {
        let told = self.succeeds(&[&["events", "--json"], more].concat());
        told.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Asks until there is such an event. The keeper tells; nothing here guesses how long it takes, only when to give up.
    #[track_caller]
    pub fn until_told(&self, kind: &str, phase: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let is = |event: &Value| event["kind"] == kind && event["phase"] == phase;
        for _ in 0..900 {
            let mut events = self.events(&[]).into_iter();
            if let Some(found) = events.find(|event| is(event) && is_wanted(event)) {
                return found;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!(
            "{kind} {phase} was never told: {:#?}\n{}",
            self.events(&[]),
            self.log()
        );
    }

    /// Where its keeper listens.
    pub fn address(&self) -> &str {
        self.address.as_deref().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.keeper.as_ref().unwrap().id()
    }

    /// SIGKILL: nothing can be tidied up.
    pub fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            keeper.kill().unwrap();
            keeper.wait().unwrap();
        }
    }

    /// SIGTERM: it ends in good order, with status 0.
    #[track_caller]
    pub fn stop(&mut self) {
        self.ends_at("-TERM");
    }

    /// It is sent a signal and ends in good order, with status 0.
    #[track_caller]
    pub fn ends_at(&mut self, name: &str) {
        let mut keeper = self.keeper.take().unwrap();
        signal(name, keeper.id());
        let end = keeper.wait().unwrap();
        assert_eq!(end.code(), Some(0), "{}\n{}", self.name, self.log());
    }

    /// Its disk is gone too.
    pub fn destroy(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.dir).unwrap();
    }

    /// The most memory its keeper ever had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        line.split_ascii_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Asks until the answer is as wanted. The keeper tells; nothing here guesses how long it takes, only when to give up.
    #[track_caller]
    pub fn until(&self, args: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..600 {
            let output = self.run(args);
            if let Ok(value) = serde_json::from_slice::<Value>(&output.stdout) {
                if wanted(&value) {
                    return value;
                }
                last = value;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!(
            "{} {args:?} never became as wanted: {last}\n{}",
            self.name,
            self.log()
        );
    }
}

/// Runs a command and answers what it asks for.
fn answered(command: &mut Command, input: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = piped.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    // It may end before it has read all of it.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    running.wait_with_output().unwrap()
}

/// Sends a signal to a process.
#[track_caller]
pub fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(sent.unwrap().success(), "{name} {pid}");
}

impl Drop for BoxProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What changed within two seconds of a walk is read again by the next: waits for the clock, not for luck.
pub fn until_settled() {
    let settled = SystemTime::now() + Duration::from_millis(2_100);
    while SystemTime::now() < settled {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Bytes no compressor can shorten, the same for the same name.
pub fn noise(name: &str, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut buffer);
    buffer
}

/// A small tree with everything a first snapshot must bring back.
pub fn make_tree(root: &Path, big_files: usize) {
    fs::create_dir_all(root.join("photos/2026")).unwrap();
    fs::create_dir_all(root.join("a-b")).unwrap();
    fs::create_dir_all(root.join("a")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    for number in 0..big_files {
        let name = format!("photos/2026/{number:03}.jpg");
        fs::write(root.join(&name), noise(&name, 3_000_001 + 1000 * number)).unwrap();
    }
    for number in 0..300 {
        fs::write(
            root.join(format!("a/{number}.txt")),
            format!("text {number} ").repeat(number * 3),
        )
        .unwrap();
    }
    fs::write(root.join("a.txt"), "sorts after a/").unwrap();
    fs::write(root.join("a-b/x"), "sorts before a.txt").unwrap();
    fs::write(root.join("nothing"), "").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"name \xff\xfe")), "no UTF-8").unwrap();
    fs::write(root.join("line\nbreak"), "a name with a line break").unwrap();
    symlink("a.txt", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    fs::set_permissions(root.join("a.txt"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o750)).unwrap();
    let old = UNIX_EPOCH + Duration::new(1_000_000, 123_456_789);
    File::open(root.join("a/7.txt"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    File::open(root.join("empty"))
        .unwrap()
        .set_modified(old)
        .unwrap();
}

/// Everything a tree consists of, by path: what the story compares.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(relative) = todo.pop() {
        let path = root.join(&relative);
        let meta = fs::symlink_metadata(&path).unwrap();
        let contents = if meta.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else if meta.is_file() {
            blake3::hash(&fs::read(&path).unwrap()).to_string()
        } else {
            todo.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| relative.join(entry.unwrap().file_name())),
            );
            String::new()
        };
        let mode = if meta.is_symlink() { 0 } else { meta.mode() };
        let told = format!(
            "{:?} {mode:o} {}:{} {}.{:09} {contents}",
            meta.file_type(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        found.insert(relative, told);
    }
    found
}

/// Compares two trees, attribute by attribute, and names what differs.
#[track_caller]
pub fn assert_same_trees(a: &Path, b: &Path) {
    let (ours, theirs) = (tree(a), tree(b));
    let differing: Vec<_> = ours
        .keys()
        .chain(theirs.keys())
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| {
            format!(
                "{path:?}: {:?} became {:?}",
                ours.get(path),
                theirs.get(path)
            )
        })
        .collect();
    assert!(
        differing.is_empty(),
        "{} differences:\n{}",
        differing.len(),
        differing.join("\n")
    );
}
