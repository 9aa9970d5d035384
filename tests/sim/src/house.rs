//! A whole Box: the very service of the product on a simulated Box, started from what its disk holds.
//!
//! Nothing of a start is written here: founding, joining and opening are the product's own. A service ends as it does in
//! life, by a power cut; [`House::start`] begins it again.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use reserve::author::Sizes;
use reserve::console::joining::{self, Asking};
use reserve::console::service::{self, Service};
use reserve::format::ticket::Ticket;
use reserve::roster::{Config, DataSet, Founded, Founding, RecoveryWords, init};
use reserve::terms::PeerKey;
use reserve::terms::limits::PORT_DEFAULT;
use reserve::world::World;

use crate::sim_box::SimBox;

/// What stories and their steps end with.
pub type Answer<T> = Result<T, Box<dyn Error>>;

/// Where each Box's files are.
pub const DATA_PATH: &str = "/data";
/// Chunks a simulated keeper has room for.
pub(crate) const TABLE_CHUNKS: u64 = 16 << 10;

/// One Box.
pub struct House {
    /// The hardware, switched on or not.
    pub home: SimBox,
    /// The service, if it runs.
    pub service: Option<Service<SimBox>>,
    /// Who it is, once it is a Box of a reserve.
    pub key: Option<PeerKey>,
    /// Chunks its keeper has room for.
    pub table_chunks: u64,
}

impl House {
    /// A Box that belongs to nobody yet.
    #[must_use]
    pub fn new(home: SimBox) -> Self {
        Self {
            home,
            service: None,
            key: None,
            table_chunks: TABLE_CHUNKS,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.home.name()
    }

    /// Whether its service runs, on a Box that is switched on.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.service.is_some() && self.home.is_on()
    }

    /// Makes it the first Box of a reserve.
    ///
    /// # Errors
    /// As the roster says, or if the power is cut.
    pub async fn found(&self, every_minutes: u32) -> Answer<RecoveryWords> {
        let founding = Founding {
            config: self.config(every_minutes)?,
            site: None,
            fast_aes: false,
        };
        let world = self.home.clone();
        let made = self
            .home
            .run(async move { init(world.disk(), world.entropy(), founding, |_| Ok(())).await });
        match made.await?? {
            Founded::New(words) => Ok(words),
            Founded::Already => Err("it was there before".into()),
        }
    }

    /// Asks the Box that gave the ticket to be taken in.
    ///
    /// # Errors
    /// As the inviter says, or if the power is cut.
    pub async fn join(
        &self,
        ticket: &str,
        replaces: Option<&str>,
        every_minutes: u32,
    ) -> Answer<()> {
        let ticket = Ticket::from_text(ticket)?;
        let asking = Asking {
            config: self.config(every_minutes)?,
            site: None,
            replaces: replaces.map(Into::into),
            fast_aes: false,
        };
        let world = self.home.clone();
        let joined = self
            .home
            .run(async move { joining::join(&world, &ticket, asking).await });
        joined.await?.map_err(|fault| fault.to_string().into())
    }

    /// Starts the service on a Box that is switched on.
    ///
    /// # Errors
    /// As the service says, or if the power is cut.
    pub async fn start(&mut self) -> Answer<()> {
        let world = self.home.clone();
        let started = self.home.run(async move {
            let opening = service::open(&world, None, Sizes::small()).await?;
            let at = opening.at();
            Ok::<_, reserve::console::fault::Fault>(opening.start(&[at]).await)
        });
        let service = started.await?.map_err(|fault| fault.to_string())?;
        self.key = Some(service.key());
        self.service = Some(service);
        Ok(())
    }

    /// Cuts the power; with `torn`, a random part of what was not synced survives.
    pub fn cut(&mut self, torn: bool) {
        if torn {
            self.home.torn_power_cut();
        } else {
            self.home.power_cut();
        }
        self.service = None;
    }

    /// Switches the Box on again and starts the service.
    ///
    /// # Errors
    /// As [`House::start`].
    pub async fn boot(&mut self) -> Answer<()> {
        self.service = None;
        self.home = self.home.restart();
        self.start().await
    }

    fn config(&self, every_minutes: u32) -> Answer<Config> {
        let mut config = Config::new(self.name());
        config.listen = vec![address(self.home.ip())];
        config.store.table_chunks = Some(self.table_chunks);
        config.snapshots.every_minutes = every_minutes;
        config.push(DataSet::from_bytes("data", DATA_PATH.as_bytes())?)?;
        Ok(config)
    }
}

fn address(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, PORT_DEFAULT)
}
