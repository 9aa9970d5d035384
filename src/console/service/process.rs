//! `reserve keeper`: the service as a process of this machine. Lock, store, listener, first line, signals.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::{Service, control};
use crate::console::cli::Keeper;
use crate::console::fault::{Exit, Fault};
use crate::dispatcher::Dispatcher;
use crate::keeper::{OpenReport, Store, StoreConfig};
use crate::roster::{Config, Invitations, LoadedBox};
use crate::terms::limits::TABLE_CHUNKS_DEFAULT;
use crate::world::uring::{self, Uring, UringListener};
use crate::world::{Clock, Listener, Net, World};

/// The program's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
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
    let _lock = lock(dir)?;
    uring::run(keep(dir, args)).map_err(|error| {
        Fault::from_sentence(
            &error.to_string(),
            "Nothing was changed.",
            "Look at `reserve doctor`.",
        )
    })?
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

/// The store of a Box, opened for work.
pub async fn open_store(
    world: &Uring,
    config: &Config,
) -> Result<(Store<Uring>, OpenReport), Fault> {
    let table_chunks = config
        .store
        .table_chunks
        .map_or(TABLE_CHUNKS_DEFAULT, |chunks| {
            usize::try_from(chunks).unwrap_or(usize::MAX)
        });
    let wanted = StoreConfig {
        table_chunks,
        capacity_bytes: config.store.capacity_bytes,
        quota_bytes_per_author: config.store.quota_bytes_per_author,
    };
    Store::open(world.clone(), wanted).await.map_err(|error| {
        Fault::from_sentence(
            &error.to_string(),
            "What is kept here is untouched.",
            "Look at `reserve doctor`.",
        )
    })
}

async fn keep(dir: &Path, args: Keeper) -> Result<Exit, Fault> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Fault::new(
            format!("{what}: {error}"),
            "What is kept here is untouched.",
            "Look at `reserve doctor`.",
        )
    };
    let mut ends = Ends::listen().map_err(|error| failed("signals cannot be heard", &error))?;
    let world = Uring::new(dir).map_err(|error| failed("the service cannot start", &error))?;
    let loaded = LoadedBox::load(world.disk()).await.map_err(|error| {
        Fault::from_sentence(
            &error.to_string(),
            "What is kept here is untouched.",
            "Look at `reserve doctor`.",
        )
    })?;
    let name = loaded.config.name.clone();
    let invitations = Invitations::load(world.disk()).await.map_err(|error| {
        Fault::from_sentence(
            &error.to_string(),
            "What is kept here is untouched.",
            "Look at `reserve doctor`.",
        )
    })?;
    let (dispatcher, _) = Dispatcher::open(world.clone(), loaded.identity.peer(), VERSION)
        .await
        .map_err(|error| failed("the journal of events cannot be opened", &error))?;
    let (store, report) = open_store(&world, &loaded.config).await?;
    tell(&report);

    let wanted = args
        .listen
        .map_or_else(|| loaded.config.listen.clone(), |at| vec![at]);
    let mut listeners = listen(&world, wanted).await?.into_iter();
    let (at, first) = listeners
        .next()
        .ok_or_else(|| failed("box.toml", &"it names no address to listen at"))?;
    let others: Vec<_> = listeners.collect();
    let mut told = if args.advertise.is_empty() {
        loaded.config.advertise.clone()
    } else {
        args.advertise
    };
    if told.is_empty() {
        let all = std::iter::once(at).chain(others.iter().map(|(at, _)| *at));
        told = all.flat_map(advertised).collect();
        told.sort_unstable();
        told.dedup();
    }
    let commands = control::open(dir).map_err(|error| failed("the control socket", &error))?;

    let service = Service::new(
        world.clone(),
        loaded,
        store.clone(),
        invitations,
        dispatcher.clone(),
        report.damaged_count,
    );
    service.lies_in(dir);
    service.announce(&told).await;
    service.start(first);
    for (at, listener) in others {
        tracing::info!(%at, "calls are answered here as well");
        service.hear(listener);
    }
    world.spawn(control::serve(service.clone(), commands));
    // Whoever started us may have gone; the service does not depend on it.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{name} is listening on {at}").and_then(|()| out.flush());
    tracing::info!(%name, %at, "the keeper runs");

    notify(&[NotifyState::Ready]);
    if let Some(period) = sd_notify::watchdog_enabled() {
        world.spawn(pet_watchdog(world.clone(), period));
    }

    ends.any().await;
    notify(&[NotifyState::Stopping]);
    tracing::info!("asked to end: acknowledging what is under way");
    store.close().await;
    dispatcher.close().await;
    // The socket goes with us, so that nobody calls a service that is not there.
    let _ = std::fs::remove_file(dir.join(crate::console::control::SOCKET));
    Ok(Exit::Done)
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

fn tell(report: &OpenReport) {
    tracing::info!(
        chunks = report.chunks,
        heads = report.heads,
        segments = report.segments,
        "the store is open"
    );
    let torn_bytes = report.torn_bytes_cut + report.unfinished_bytes;
    if torn_bytes > 0 {
        tracing::info!(
            bytes = torn_bytes,
            "the last run ended while something was written: it was never acknowledged and is left out; nothing is lost"
        );
    }
    for damage in &report.damaged {
        tracing::warn!(?damage, "damage in the store: nothing was removed");
    }
}

/// Listens at each of these addresses. One that this machine cannot have (its kernel has no IPv6) is left out with a word as long as there is another.
async fn listen(
    world: &Uring,
    mut wanted: Vec<SocketAddr>,
) -> Result<Vec<(SocketAddr, UringListener)>, Fault> {
    // `[::]` hears IPv4 as well, so it comes first, and `0.0.0.0` of the same port is then heard already.
    wanted.sort_by_key(|at| !hears_all(*at));
    let mut heard: Vec<(SocketAddr, UringListener)> = Vec::new();
    let mut reason = None;
    for at in wanted {
        let opened = world.net().listen(at).await;
        let opened = opened.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let error = match opened {
            Ok(opened) => {
                heard.push(opened);
                continue;
            }
            Err(error) => error,
        };
        let is_taken = error.kind() == std::io::ErrorKind::AddrInUse;
        let is_same = |(other, _): &(SocketAddr, _)| hears_all(*other) && other.port() == at.port();
        if is_taken && at.is_ipv4() && at.ip().is_unspecified() && heard.iter().any(is_same) {
            continue;
        }
        let fault = Fault::new(
            format!("cannot listen at {at}: {error}"),
            "What is kept here is untouched.",
            "Free the address, or name another with --listen.",
        );
        if is_taken || error.kind() == std::io::ErrorKind::PermissionDenied {
            return Err(fault);
        }
        tracing::warn!(%at, %error, "cannot listen here");
        reason = Some(fault);
    }
    match reason {
        Some(fault) if heard.is_empty() => Err(fault),
        _ => Ok(heard),
    }
}

/// Whether it is every address of this machine, of either family.
fn hears_all(at: SocketAddr) -> bool {
    at.is_ipv6() && at.ip().is_unspecified()
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
}

impl Ends {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_is_to_listen_everywhere_is_heard_over_both_families_on_one_port() {
        let dir = tempfile::tempdir().expect("a place");
        uring::run(async {
            let world = Uring::new(dir.path()).expect("a world");
            let net = world.net();
            let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
            let any = net.listen(at("0.0.0.0:0")).await.expect("listens");
            let port = any.local_addr().expect("an address").port();
            drop(any);
            let both = ["0.0.0.0", "[::]"].map(|ip| at(&format!("{ip}:{port}")));
            let heard = listen(&world, both.to_vec()).await.expect("listens");
            assert!(!heard.is_empty());
            for family in ["127.0.0.1:0", "[::1]:0"] {
                // A kernel without IPv6 has no such address to call.
                let Ok(there) = net.listen(at(family)).await else {
                    continue;
                };
                let ip = there.local_addr().expect("an address").ip();
                let called = net.connect(SocketAddr::new(ip, port)).await;
                assert!(called.is_ok(), "{ip}: {called:?}");
            }
            let held = listen(&world, vec![at("127.0.0.1:0")]).await;
            let held = held.expect("listens");
            let refused = listen(&world, vec![held[0].0, at("127.0.0.1:0")]).await;
            assert!(refused.is_err(), "a taken address is told, not left out");
        })
        .expect("a ring");
    }
}
