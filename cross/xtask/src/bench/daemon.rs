//! An rsync daemon on loopback with two places to put files: what MEDIA onto two other Boxes is measured beside.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::measure::{Cost, Order, Watch, Watched, run_all};
use super::stage::{Stage, kill_group};

const LOOK: Duration = Duration::from_millis(20);
const LOOKS_MAX: usize = 500;

struct Daemon<'a> {
    stage: &'a Stage,
    child: Child,
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        kill_group(self.child.id());
        // It is what we want, however it ended.
        let _ = self.child.wait();
        self.stage.ended(self.child.id());
    }
}

/// Sends the files to both places at once. Nothing is encrypted and nothing is synced.
pub fn two_targets(stage: &Stage, program: &Path, data: &Path) -> Result<Cost> {
    let own = stage.empty("peer")?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut config = format!(
        "use chroot = no\nmax verbosity = 0\npid file = {}\n",
        own.join("pid").display()
    );
    if rustix::process::geteuid().is_root() {
        config += "uid = 0\ngid = 0\n";
    }
    for name in ["one", "two"] {
        let path = own.join(name);
        fs::create_dir(&path)?;
        config += &format!("[{name}]\npath = {}\nread only = no\n", path.display());
    }
    let file = own.join("config");
    fs::write(&file, config)?;
    let child = Command::new(program)
        .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--config={}", file.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(own.join("log"))?)
        .process_group(0)
        .spawn()
        .context("the rsync daemon")?;
    stage.began(child.id());
    let daemon = Daemon { stage, child };
    let answers = (0..LOOKS_MAX).any(|_| {
        let is_here = TcpStream::connect(("127.0.0.1", port)).is_ok();
        if !is_here {
            sleep(LOOK);
        }
        is_here
    });
    if !answers {
        bail!("the rsync daemon does not answer");
    }
    let watched = Watched {
        name: "daemon".to_owned(),
        pid: daemon.child.id(),
    };
    let orders: Vec<Order> = ["one", "two"]
        .iter()
        .map(|name| {
            Order::new([program])
                .arg("-a")
                .arg(data.join(""))
                .arg(format!("rsync://127.0.0.1:{port}/{name}/"))
        })
        .collect();
    let watch = Watch::begin([&watched])?;
    let done = run_all(stage, "client", &orders, &[])?;
    let mut parts = watch.end()?;
    let wall_s = done.iter().map(|one| one.wall_s).fold(0.0, f64::max);
    parts.extend(done.into_iter().map(|one| one.part));
    for name in ["one", "two"] {
        super::compare::compare(data, &own.join(name))?;
    }
    Ok(Cost {
        wall_s,
        parts,
        ..Cost::default()
    })
}
