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
use crate::world::uring::{self, Uring};
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
    let _lock = lock(dir)?;
    uring::run(keep(dir, args)).map_err(|error| {
        Fault::from_sentence(
            &error.to_string(),
            "Nothing was changed.",
            "Look at `reserve doctor`.",
        )
    })?
}

/// Takes the directory for this process alone; the kernel gives it back when the process ends, however it ends.
pub fn lock(dir: &Path) -> Result<File, Fault> {
    let cannot = |error: &dyn std::fmt::Display| {
        Fault::new(
            format!("{}: {error}", dir.display()),
            "Nothing was changed.",
            "Is it this Box's state directory? Make it one with `reserve init` or `reserve join`, or name another with --dir.",
        )
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(LOCK))
        .map_err(|error| cannot(&error))?;
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
        Err(errno) => Err(cannot(&errno)),
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
        .or_else(|| loaded.config.listen.first().copied());
    let wanted = wanted.ok_or_else(|| failed("box.toml", &"it names no address to listen at"))?;
    let listener = world.net().listen(wanted).await.map_err(|error| {
        Fault::new(
            format!("cannot listen at {wanted}: {error}"),
            "What is kept here is untouched.",
            "Free the address, or name another with --listen.",
        )
    })?;
    let at = listener
        .local_addr()
        .map_err(|error| failed("the listener has no address", &error))?;
    let told = advertised(
        at,
        if args.advertise.is_empty() {
            &loaded.config.advertise
        } else {
            &args.advertise
        },
    );
    let commands = control::open(dir).map_err(|error| failed("the control socket", &error))?;

    let service = Service::new(
        world.clone(),
        loaded,
        store.clone(),
        invitations,
        dispatcher.clone(),
        report.damaged_count,
    );
    service.announce(&told).await;
    service.start(listener);
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

/// Where others are told to call: as configured, or where it listens; at every address of this machine if it listens at all of them.
fn advertised(at: SocketAddr, configured: &[SocketAddr]) -> Vec<SocketAddr> {
    if !configured.is_empty() {
        return configured.to_vec();
    }
    if !at.ip().is_unspecified() {
        return vec![at];
    }
    let mut found: Vec<IpAddr> = own_addresses().unwrap_or_default();
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
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
