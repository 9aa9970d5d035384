//! `reserve keeper`: the service as a process of this machine. Lock, control socket, first line, signals; the rest is `opening`.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::control;
use super::opening::failed;
use crate::author::Sizes;
use crate::console::cli::Keeper;
use crate::console::fault::{Exit, Fault};
use crate::console::store_place;
use crate::world::uring::{self, Uring};
use crate::world::{Clock, World};

/// What the lock is called in the state directory.
pub const LOCK: &str = "keeper.lock";

/// How often a lock that is held is tried again.
const LOOKERS_MAX: u32 = 5;

/// Runs the service until SIGTERM or ctrl-C.
pub fn run(dir: &Path, args: Keeper) -> Result<Exit, Fault> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    if args.end_with_parent {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(|errno| {
                Fault::new(
                    format!("cannot tie itself to its parent: {errno}"),
                    "Nothing was changed.",
                    "Start it without --end-with-parent.",
                )
            })?;
    }
    keep_out_of_dumps();
    let lock = lock(dir)?;
    let end = uring::run(keep(dir, args)).map_err(|error| {
        Fault::from_sentence(
            &error.to_string(),
            "Nothing was changed.",
            "Look at `reserve doctor`.",
        )
    })??;
    match end {
        End::Asked => Ok(Exit::Done),
        End::HasItsStoreAgain => {
            drop(lock);
            Err(begin_anew())
        }
    }
}

/// Why the service ended.
enum End {
    /// It was asked to.
    Asked,
    /// It began without its store, which is here now.
    HasItsStoreAgain,
}

/// The same program with the same arguments in the place of this one: a store is opened once in a life. Returns only if that fails.
fn begin_anew() -> Fault {
    use std::os::unix::process::CommandExt;
    let error = match std::env::current_exe() {
        Ok(program) => std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .exec(),
        Err(error) => error,
    };
    Fault::new(
        format!("the store is back, and the service cannot begin anew: {error}"),
        "What is kept here is untouched.",
        "Start it again.",
    )
}

/// The keys in this process's memory go into no core dump, and no other process of the same user may look at them.
fn keep_out_of_dumps() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let limited = setrlimit(Resource::Core, none);
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(hidden) {
        tracing::warn!(%error, "a crash of this process may leave its memory on disk");
    }
}

/// Takes the directory for this process alone; the kernel gives it back when the process ends, however it ends.
pub fn lock(dir: &Path) -> Result<File, Fault> {
    let cannot = |error: std::io::Error| {
        let todo = if error.kind() == std::io::ErrorKind::PermissionDenied {
            "Run this as the user the keeper runs as, or as root."
        } else {
            "Is it this Box's state directory? Make it one with `reserve init` or `reserve join`, or name another with --dir."
        };
        Fault::new(
            format!("{}: {error}", dir.display()),
            "Nothing was changed.",
            todo,
        )
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(LOCK))
        .map_err(cannot)?;
    let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    let mut locked = rustix::fs::flock(&file, exclusive);
    // A command that looks whether a keeper runs holds it for an instant.
    for _ in 0..LOOKERS_MAX {
        if locked != Err(rustix::io::Errno::WOULDBLOCK) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
        locked = rustix::fs::flock(&file, exclusive);
    }
    match locked {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Fault::new(
            format!("another keeper runs for {}", dir.display()),
            "It goes on undisturbed.",
            "`reserve status` shows what it does; stop it before you start another.",
        )),
        Err(errno) => Err(cannot(errno.into())),
    }
}

async fn keep(dir: &Path, args: Keeper) -> Result<End, Fault> {
    let mut ends = Ends::listen().map_err(|error| failed("signals cannot be heard", &error))?;
    let world = store_place::world(dir);
    let world = world.map_err(|error| failed("the service cannot start", &error))?;
    let opening = super::opening::open(&world, args.listen, Sizes::default()).await?;
    let name = opening.service.name();
    let at = opening.at();
    let mut told = if args.advertise.is_empty() {
        opening.advertise.clone()
    } else {
        args.advertise
    };
    if told.is_empty() {
        told = opening.addresses().flat_map(advertised).collect();
        told.sort_unstable();
        told.dedup();
    }
    let commands = control::open(dir).map_err(|error| failed("the control socket", &error))?;

    opening.service.lies_in(dir);
    let service = opening.start(&told).await;
    world.spawn(control::serve(service.clone(), commands));
    // Whoever started us may have gone; the service does not depend on it.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{name} is listening on {at}").and_then(|()| out.flush());
    tracing::info!(%name, %at, "the keeper runs");

    notify(&[NotifyState::Ready]);
    if let Some(period) = sd_notify::watchdog_enabled() {
        world.spawn(pet_watchdog(world.clone(), period));
    }

    let end = tokio::select! {
        biased;
        () = ends.any() => End::Asked,
        () = service.has_its_store_again() => End::HasItsStoreAgain,
    };
    match end {
        End::Asked => {
            notify(&[NotifyState::Stopping]);
            tracing::info!("asked to end: acknowledging what is under way");
        }
        End::HasItsStoreAgain => {
            notify(&[NotifyState::Reloading]);
            tracing::info!("the store is back: the service begins anew");
        }
    }
    service.close().await;
    // The socket goes with us, so that nobody calls a service that is not there.
    let _ = std::fs::remove_file(dir.join(crate::console::control::SOCKET));
    Ok(end)
}

/// Tells the service manager, if there is one; one that does not listen is its own affair.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager does not listen");
    }
}

/// Says that this thread still turns, twice in each period.
async fn pet_watchdog(world: Uring, period: std::time::Duration) {
    loop {
        notify(&[NotifyState::Watchdog]);
        world.clock().sleep(period / 2).await;
    }
}

/// Where others are told to call: where it listens; at every address of this machine if it listens at all of them.
fn advertised(at: SocketAddr) -> Vec<SocketAddr> {
    if !at.ip().is_unspecified() {
        return vec![at];
    }
    let mut found: Vec<IpAddr> = own_addresses().unwrap_or_default();
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
        .filter(|ip| at.is_ipv6() || ip.is_ipv4())
        .map(|ip| SocketAddr::new(ip, at.port()))
        .collect()
}

/// Addresses of this machine's interfaces that another machine may use: not loopback, not link-local.
fn own_addresses() -> std::io::Result<Vec<IpAddr>> {
    let addresses = if_addrs::get_if_addrs()?;
    Ok(addresses
        .into_iter()
        .filter(|interface| !interface.is_loopback() && !interface.is_link_local())
        .map(|interface| interface.ip())
        .collect())
}

/// The signals that end the service in good order.
struct Ends {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    /// The terminal it was started from is gone.
    hangup: tokio::signal::unix::Signal,
}

impl Ends {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
