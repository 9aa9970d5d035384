//! How a Box's service is put together from what its disk holds: the part of a start that is the same in every world.
//!
//! The process around it (lock, control socket, signals) is `process`; a Box of the simulated world has none of that.

use std::net::SocketAddr;

use super::Service;
use crate::author::Sizes;
use crate::console::fault::Fault;
use crate::dispatcher::Dispatcher;
use crate::keeper::{OpenReport, Store, StoreConfig};
use crate::roster::{Config, Invitations, LoadedBox};
use crate::terms::limits::TABLE_CHUNKS_DEFAULT;
use crate::world::{Listener, Net, World};

/// The program's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where calls are waited for.
type Heard<W> = Vec<(SocketAddr, <<W as World>::Net as Net>::Listener)>;

/// A service that is ready to answer and to call.
pub struct Opening<W: World> {
    /// The service. Nobody is called yet.
    pub service: Service<W>,
    /// Where `box.toml` says that others reach it.
    pub advertise: Vec<SocketAddr>,
    at: SocketAddr,
    first: <W::Net as Net>::Listener,
    others: Heard<W>,
}

impl<W: World> Opening<W> {
    /// The first address at which it waits for calls.
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// All of them.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.at).chain(self.others.iter().map(|(at, _)| *at))
    }

    /// Begins to answer and to call, after the others can be told where.
    pub async fn start(self, told: &[SocketAddr]) -> Service<W> {
        self.service.announce(told).await;
        self.service.start(self.first);
        for (at, listener) in self.others {
            tracing::info!(%at, "calls are answered here as well");
            self.service.hear(listener);
        }
        self.service
    }
}

/// Reads what the disk holds, opens the store and the journal, and takes the addresses. `at` goes before `box.toml`.
///
/// # Errors
/// A sentence for people. What is kept is untouched.
pub async fn open<W: World>(
    world: &W,
    at: Option<SocketAddr>,
    sizes: Sizes,
) -> Result<Opening<W>, Fault> {
    let loaded = LoadedBox::load(world.disk())
        .await
        .map_err(|error| from_sentence(&error))?;
    let invitations = Invitations::load(world.disk())
        .await
        .map_err(|error| from_sentence(&error))?;
    let (dispatcher, _) = Dispatcher::open(world.clone(), loaded.identity.peer(), VERSION)
        .await
        .map_err(|error| failed("the journal of events cannot be opened", &error))?;
    let (store, report) = open_store(world, &loaded.config).await?;
    tell(&report);

    let wanted = at.map_or_else(|| loaded.config.listen.clone(), |at| vec![at]);
    let mut listeners = listen(world, wanted).await?.into_iter();
    let (at, first) = listeners
        .next()
        .ok_or_else(|| failed("box.toml", &"it names no address to listen at"))?;
    let others = listeners.collect();
    let advertise = loaded.config.advertise.clone();
    let service = Service::new(
        world.clone(),
        loaded,
        store,
        invitations,
        dispatcher,
        sizes,
        report.damaged_count,
    );
    Ok(Opening {
        service,
        advertise,
        at,
        first,
        others,
    })
}

/// The store of a Box, opened for work.
///
/// # Errors
/// A sentence for people. What is kept is untouched.
pub async fn open_store<W: World>(
    world: &W,
    config: &Config,
) -> Result<(Store<W>, OpenReport), Fault> {
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
    Store::open(world.clone(), wanted)
        .await
        .map_err(|error| from_sentence(&error))
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

fn from_sentence(error: &dyn std::fmt::Display) -> Fault {
    Fault::from_sentence(
        &error.to_string(),
        "What is kept here is untouched.",
        "Look at `reserve doctor`.",
    )
}

pub(super) fn failed(what: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(
        format!("{what}: {error}"),
        "What is kept here is untouched.",
        "Look at `reserve doctor`.",
    )
}

/// Listens at each of these addresses. One that this machine cannot have (its kernel has no IPv6) is left out with a word as long as there is another.
async fn listen<W: World>(world: &W, mut wanted: Vec<SocketAddr>) -> Result<Heard<W>, Fault> {
    // `[::]` hears IPv4 as well, so it comes first, and `0.0.0.0` of the same port is then heard already.
    wanted.sort_by_key(|at| !hears_all(*at));
    let mut heard: Heard<W> = Vec::new();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::uring::{self, Uring};

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
