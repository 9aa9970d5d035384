//! A whole reserve: three to five Boxes, or as many as there may be, each with the product's own service, founded as people found one.

use std::time::Duration;

use tokio::time::sleep;

use reserve::console::service::Service;
use reserve::roster::LoadedBox;
use reserve::world::World;

use crate::house::{Answer, House, TABLE_CHUNKS};
use crate::secrets;
use crate::sim_box::{SimBox, SimWorld};

/// What people call their Boxes; further ones are numbered.
pub const NAMES: [&str; 5] = ["home", "office", "friend", "attic", "cabin"];
/// Boxes that start together meet within this time: as long as the slowest wait between two calls, twice.
const MEETING: Duration = Duration::from_secs(60);

/// All Boxes of a reserve.
pub struct Reserve {
    /// The world they are in.
    pub world: SimWorld,
    /// The Boxes, the founder first.
    pub houses: Vec<House>,
    every_minutes: u32,
}

impl Reserve {
    /// Founds a reserve of so many Boxes that take snapshots so often, and starts all of them.
    ///
    /// # Errors
    /// As the product says.
    pub async fn found(world: SimWorld, boxes: usize, every_minutes: u32) -> Answer<Self> {
        let mut reserve = Self::begin(world, boxes, every_minutes, TABLE_CHUNKS).await?;
        for at in 1..reserve.houses.len() {
            reserve.take_in(at, 0, None).await?;
        }
        Ok(reserve)
    }

    /// Founds a reserve of Boxes with room for so many chunks each, takes in all of them while only the founder runs, and starts the
    /// others then.
    ///
    /// # Errors
    /// As the product says.
    pub async fn found_of_many(world: SimWorld, boxes: usize, table_chunks: u64) -> Answer<Self> {
        let mut reserve = Self::begin(world, boxes, 0, table_chunks).await?;
        for at in 1..reserve.houses.len() {
            reserve.join(at, 0, None).await?;
        }
        for house in &mut reserve.houses[1..] {
            house.start().await?;
        }
        Ok(reserve)
    }

    /// All Boxes, of which the first is founded and runs.
    async fn begin(
        world: SimWorld,
        boxes: usize,
        every_minutes: u32,
        table_chunks: u64,
    ) -> Answer<Self> {
        let known = NAMES.iter().map(|name| (*name).to_owned());
        let further = (NAMES.len() + 1..).map(|number| format!("box{number}"));
        let houses = known.chain(further).take(boxes).map(|name| House {
            table_chunks,
            ..House::new(world.box_named(&name))
        });
        let mut reserve = Self {
            houses: houses.collect(),
            world,
            every_minutes,
        };
        reserve.houses[0].found(every_minutes).await?;
        for key in secrets::keys_of(&reserve.houses[0].home).await? {
            reserve.world.watch_for(&key);
        }
        reserve.houses[0].start().await?;
        Ok(reserve)
    }

    /// Has one Box take in another, which starts then.
    ///
    /// # Errors
    /// As the product says.
    pub async fn take_in(&mut self, at: usize, by: usize, replaces: Option<&str>) -> Answer<()> {
        self.join(at, by, replaces).await?;
        self.houses[at].start().await
    }

    async fn join(&mut self, at: usize, by: usize, replaces: Option<&str>) -> Answer<()> {
        let service = self.service(by).ok_or("the inviter does not run")?;
        let ticket = self.houses[by]
            .home
            .run(async move { service.ticket().await });
        let ticket = ticket.await?.map_err(|fault| fault.to_string())?.ticket;
        self.houses[at]
            .join(&ticket, replaces, self.every_minutes)
            .await
    }

    /// Has one Box shut out another, of which nothing is left.
    ///
    /// # Errors
    /// As the product says, where a person says in full words that it is meant: others cannot be asked or do not have everything, and what
    /// is dead is dead.
    pub async fn shut_out(&self, by: usize, name: &str) -> Answer<()> {
        let service = self.service(by).ok_or("the inviter does not run")?;
        let (home, lost) = (self.houses[by].home.clone(), name.to_owned());
        let removed = home.run(async move {
            match service.remove_box(&lost, true, false).await {
                Ok(_) => Ok(()),
                Err(_) => service.remove_box(&lost, true, true).await.map(drop),
            }
        });
        match removed.await?.map_err(|fault| fault.to_string()) {
            // It was shut out before, by whoever had no time to say so.
            Err(told) if told.contains("was removed before") => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// Has one Box take out another in good order, which is still there.
    ///
    /// # Errors
    /// As the product says.
    pub async fn take_out(&self, by: usize, name: &str) -> Answer<()> {
        let service = self
            .service(by)
            .ok_or("the one that is asked does not run")?;
        let (home, leaving) = (self.houses[by].home.clone(), name.to_owned());
        let removed = home.run(async move { service.remove_box(&leaving, false, false).await });
        removed.await?.map_err(|fault| fault.to_string())?;
        Ok(())
    }

    /// Has one Box take in what stands in the place of another, which was shut out or taken out.
    ///
    /// # Errors
    /// As the product says.
    pub async fn replace(&mut self, at: usize, by: usize, name: &str) -> Answer<()> {
        // It may have been taken in before, and its power went before it said so.
        if LoadedBox::load(self.houses[at].home.disk()).await.is_ok() {
            return self.houses[at].start().await;
        }
        for key in secrets::keys_of(&self.houses[by].home).await? {
            self.world.watch_for(&key);
        }
        self.take_in(at, by, Some(name)).await
    }

    /// A Box's service, if it runs.
    #[must_use]
    pub fn service(&self, at: usize) -> Option<Service<SimBox>> {
        self.houses[at].service.clone()
    }

    /// Whether each Box that runs has a session with each other.
    #[must_use]
    pub fn all_have_met(&self) -> bool {
        let running = self
            .houses
            .iter()
            .filter_map(|house| house.service.as_ref());
        let running: Vec<_> = running.collect();
        running
            .iter()
            .all(|service| service.in_touch().len() + 1 >= running.len())
    }

    /// Waits until all Boxes that run have met; false if they have not within their time.
    pub async fn meet(&self) -> bool {
        for _ in 0..MEETING.as_secs() {
            if self.all_have_met() {
                return true;
            }
            sleep(Duration::from_secs(1)).await;
        }
        false
    }
}
