//! `reserve` in the benchmark: Boxes with real keeper processes on loopback, each with a state directory of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::fault;
use super::measure::{Cost, Order, Watch, Watched, run};
use super::stage::{Stage, disk_bytes, kill_group};

/// How often and how long to ask whether the Boxes have found each other.
const LOOK: Duration = Duration::from_millis(50);
const LOOKS_MAX: usize = 1200;

/// One Box.
pub struct BoxProcess<'a> {
    stage: &'a Stage,
    program: &'a Path,
    name: &'static str,
    keeper: Option<(Child, Watched)>,
}

impl<'a> BoxProcess<'a> {
    /// A Box out of its carton.
    pub fn new(stage: &'a Stage, program: &'a Path, name: &'static str) -> Self {
        Self {
            stage,
            program,
            name,
            keeper: None,
        }
    }

    /// Its state directory.
    pub fn dir(&self) -> PathBuf {
        self.stage.path(&format!("box-{}", self.name))
    }

    /// Makes it the first of a reserve.
    pub fn init(&self, data: &Path) -> Result<()> {
        let sheet = self.stage.path("words");
        // A sheet that is there is not written over.
        let _ = fs::remove_file(&sheet);
        let order = self
            .order(&["init", "--name", self.name, "--sheet"])
            .arg(sheet)
            .arg("--data")
            .arg(format!("files={}", data.display()));
        run(self.stage, self.name, &order).map(drop)
    }

    /// Takes it into a reserve; the ticket goes through a pipe, as a person would do it.
    fn join(&self, inviter: &Self) -> Result<()> {
        let ticket = run(self.stage, inviter.name, &inviter.order(&["invite"]))?.stdout;
        let mut joining = Command::new(self.program)
            .args(["join", "--name", self.name, "-"])
            .env("RESERVE_DIR", self.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = joining.stdin.take() {
            stdin.write_all(ticket.as_bytes())?;
        }
        let done = joining.wait_with_output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            bail!("{} could not join: {}", self.name, said.trim());
        }
        Ok(())
    }

    /// Nothing happens by itself while something is measured; and a table of this many chunks, if not the default.
    fn configure(&self, table_chunks: Option<u32>) -> Result<()> {
        let file = self.dir().join("box.toml");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut lines = Vec::new();
        for line in text.lines() {
            if line.starts_with("every_minutes") {
                lines.push("every_minutes = 0".to_owned());
                continue;
            }
            lines.push(line.to_owned());
            if let ("[store]", Some(chunks)) = (line, table_chunks) {
                lines.push(format!("table_chunks = {chunks}"));
            }
        }
        fs::write(&file, lines.join("\n") + "\n").with_context(|| file.display().to_string())
    }

    /// Starts its keeper and waits until the others can reach it: seconds that took.
    pub fn start(&mut self) -> Result<f64> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let began = Instant::now();
        let mut keeper = Command::new(self.program)
            .args(["keeper", "--listen", "127.0.0.1:0", "--end-with-parent"])
            .env("RESERVE_DIR", self.dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        let pid = keeper.id();
        self.stage.began(pid);
        let stdout = keeper.stdout.take().context("it is piped")?;
        let name = format!("{} keeper", self.name);
        self.keeper = Some((keeper, Watched { name, pid }));
        let first = BufReader::new(stdout).lines().next().and_then(Result::ok);
        let wall_s = began.elapsed().as_secs_f64();
        if first.is_none_or(|line| !line.contains("listening on ")) {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            return Err(fault(
                &format!("the keeper of {} did not start: {}", self.name, log.trim()),
                "The other rows are measured all the same.",
                "",
            ));
        }
        Ok(wall_s)
    }

    /// Ends its keeper.
    pub fn stop(&mut self) {
        if let Some((mut keeper, watched)) = self.keeper.take() {
            kill_group(watched.pid);
            // It is what we want, however it ended.
            let _ = keeper.wait();
            self.stage.ended(watched.pid);
        }
    }

    /// Its keeper.
    pub fn watched(&self) -> Result<&Watched> {
        let keeper = self.keeper.as_ref().context("its keeper runs")?;
        Ok(&keeper.1)
    }

    /// A command on this Box.
    pub fn order(&self, arguments: &[&str]) -> Order {
        let mut order = Order::new([self.program]).env("RESERVE_DIR", self.dir());
        order.line.extend(arguments.iter().map(Into::into));
        order
    }

    fn log(&self) -> PathBuf {
        self.dir().with_extension("log")
    }
}

impl Drop for BoxProcess<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The Boxes of a reserve; the first is the author.
pub struct Reserve<'a> {
    stage: &'a Stage,
    boxes: Vec<BoxProcess<'a>>,
    /// Which of them gets files back.
    retriever: usize,
}

impl<'a> Reserve<'a> {
    /// The author's Box and `others` other Boxes, all connected, with tables of this many chunks if not the default.
    pub fn found(
        stage: &'a Stage,
        program: &'a Path,
        data: &Path,
        others: usize,
        table_chunks: Option<u32>,
    ) -> Result<Self> {
        let names = ["author", "other", "third"];
        let mut boxes: Vec<BoxProcess<'a>> = Vec::new();
        for name in &names[..=others] {
            super::stage::remove(&stage.path(&format!("box-{name}")))?;
            let mut one = BoxProcess::new(stage, program, name);
            match boxes.first() {
                None => one.init(data)?,
                Some(first) => one.join(first)?,
            }
            one.configure(table_chunks)?;
            one.start()?;
            boxes.push(one);
        }
        let reserve = Self {
            stage,
            boxes,
            retriever: 0,
        };
        reserve.until_connected()?;
        Ok(reserve)
    }

    /// Has the author's Box keep as many chunks as its table has room for.
    pub fn fill_author(&mut self, divisor: u32) -> Result<()> {
        super::million::fill(self.stage, &mut self.boxes[0], divisor)?;
        self.until_connected()
    }

    /// Takes a new Box in, which is the one that gets files back from now on.
    pub fn newcomer(&mut self, program: &'a Path) -> Result<()> {
        let mut new = BoxProcess::new(self.stage, program, "new");
        super::stage::remove(&new.dir())?;
        new.join(&self.boxes[0])?;
        new.configure(None)?;
        new.start()?;
        self.boxes.push(new);
        self.retriever = self.boxes.len() - 1;
        self.until_connected()
    }

    fn until_connected(&self) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            let mut is_whole = true;
            for one in &self.boxes {
                let told = run(self.stage, one.name, &one.order(&["peers", "--json"]))?.stdout;
                let peers: Value = serde_json::from_str(&told)?;
                let peers = peers.as_array().map_or(&[][..], Vec::as_slice);
                is_whole &= peers.len() == self.boxes.len()
                    && peers.iter().all(|peer| peer["connected"] == true);
            }
            if is_whole {
                return Ok(());
            }
            sleep(LOOK);
        }
        bail!("the Boxes did not find each other within a minute")
    }

    /// The keepers.
    pub fn watched(&self) -> Result<Vec<&Watched>> {
        self.boxes.iter().map(BoxProcess::watched).collect()
    }

    /// Runs a command on a Box and counts it, by its name, and all keepers.
    fn measured(&self, which: usize, arguments: &[&str]) -> Result<(Cost, Value)> {
        let watch = Watch::begin(self.watched()?)?;
        let one = &self.boxes[which];
        let name = arguments.first().copied().unwrap_or("command");
        let done = run(self.stage, name, &one.order(arguments))?;
        let mut parts = watch.end()?;
        parts.push(done.part);
        let told = serde_json::from_str(&done.stdout).unwrap_or(Value::Null);
        let cost = Cost {
            wall_s: done.wall_s,
            parts,
            ..Cost::default()
        };
        Ok((cost, told))
    }

    /// Takes a snapshot and returns when it is protected.
    pub fn snapshot(&self) -> Result<Cost> {
        let (cost, told) = self.measured(0, &["snapshot", "--wait", "--json"])?;
        if told["protected"] != true {
            bail!("the snapshot is not protected: {told}");
        }
        Ok(cost)
    }

    /// Reads everything again; `None` if this `reserve` cannot yet.
    pub fn sweep(&self) -> Result<Option<Cost>> {
        let one = &self.boxes[self.boxes.len() - 1];
        if run(self.stage, "command", &one.order(&["sweep", "--help"])).is_err() {
            self.stage.go_on()?;
            return Ok(None);
        }
        let (cost, _) = self.measured(self.boxes.len() - 1, &["sweep", "--now"])?;
        Ok(Some(cost))
    }

    /// Gets the author's files back, on the author's Box unless there is a new one, from the others.
    pub fn retrieve(&self, to: &Path) -> Result<Cost> {
        let to = to.to_string_lossy();
        let arguments = ["retrieve", "--author", "author", "--to", &to, "--json"];
        let (cost, told) = self.measured(self.retriever, &arguments)?;
        if told["failed_count"] != 0 {
            bail!("not everything came back: {told}");
        }
        Ok(cost)
    }

    /// Bytes the other Box's store takes.
    pub fn stored_bytes(&self) -> u64 {
        rustix::fs::sync();
        let other = &self.boxes[self.boxes.len() - 1];
        let store = other.dir().join("store");
        // Space that is only held back holds nothing.
        let held_back = fs::metadata(store.join("held-back"));
        let held_back = held_back.map_or(0, |meta| meta.blocks() * 512);
        disk_bytes(&store).saturating_sub(held_back)
    }
}
