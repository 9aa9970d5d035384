//! Months in which snapshots leave history: by a rule, at a person's word, with power cuts in the middle of it, with a keeper that is off for
//! weeks. Whatever happens, what stays is kept: at each look all of it is claimed and whole on some keeper, what waits to go can still be had,
//! and when the time is up what is left comes back bit for bit.
//!
//! One seed decides all of it. What is found wrong is told in sentences; none means that the months were clean.

mod struck;
mod trio;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reserve::author::release::{Asked, ReleaseError};
use reserve::format::head::SignedHead;
use reserve::format::roster::Retention;
use reserve::world::World;

use crate::dice::Dice;
use crate::house::{Answer, DATA_PATH};
use crate::sim_box::{SimBox, SimWorld};
use crate::snapshot::{TreeSnapshot, differences};
use crate::story::run_within;
use crate::week::Weathered;
pub use struck::{Moment, struck};
use trio::Trio;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// What a keeper lets pass, and a day.
const DELAY_HOURS: u32 = 31 * 24;
const FILES: u64 = 14;
const RULE: Retention = Retention {
    last: 2,
    hourly: 0,
    daily: 5,
    weekly: 2,
    monthly: 0,
    yearly: 0,
};

/// Lives through so many days, and the month after them.
///
/// # Panics
/// If a task of a Box panics, or if something waits for ever.
#[must_use]
pub fn months(seed: u64, days: u64) -> Weathered {
    let limit = DAY * u32::try_from(days * 2 + 200).unwrap_or(u32::MAX);
    let ran = run_within(seed, limit, async |world: SimWorld| {
        let mut life = match Life::begin(world).await {
            Ok(life) => life,
            Err(error) => return (vec![format!("it did not begin: {error}")], BTreeMap::new()),
        };
        if let Err(error) = life.live(days).await {
            life.tell(format!("it could not be lived: {error}"));
        }
        (life.wrong, life.counts)
    });
    let (wrong, counts) = ran.value;
    Weathered {
        wrong,
        counts,
        trace: ran.trace,
    }
}

/// A thief with home's key gives up all there is on both keepers, and home takes it back in time; or nobody does. What is there afterwards?
///
/// # Errors
/// If it cannot be told.
pub async fn theft(world: SimWorld, is_undone: bool) -> Answer<Vec<String>> {
    let mut life = Life::begin(world).await?;
    for _ in 0..4 {
        life.tend()?;
        life.snapshot().await;
        life.trio.live(12).await;
    }
    let newest = life
        .taken
        .values()
        .next_back()
        .ok_or("some were taken")?
        .0
        .clone();
    for at in 0..2 {
        if !life.trio.give_up_everything(at, &newest).await? {
            return Err("a keeper did not take it".into());
        }
    }
    life.trio.live(29 * 24).await;
    let all: Vec<u64> = life.taken.keys().copied().collect();
    for (number, (head, _)) in &life.taken {
        if let Some(id) = life.trio.lacks(head, false).await? {
            return Err(format!("snapshot {number} lacks {} too early", id.short()).into());
        }
    }
    if is_undone {
        life.trio.undo().await?;
    }
    life.trio.live(10 * 24).await;
    life.trio.compact().await?;
    for number in all {
        life.ask_back(number).await;
    }
    Ok(life.wrong)
}

struct Life {
    dice: Dice,
    world: SimWorld,
    trio: Trio,
    /// How home's files were at each of its snapshots.
    taken: BTreeMap<u64, (SignedHead, TreeSnapshot)>,
    /// A keeper that is off, until that day.
    off: Option<(usize, u64)>,
    image: Option<SimBox>,
    day: u64,
    wrong: Vec<String>,
    counts: BTreeMap<String, u64>,
}

impl Life {
    async fn begin(world: SimWorld) -> Answer<Self> {
        Ok(Self {
            dice: world.dice("months"),
            trio: Trio::found(world.clone()).await?,
            world,
            taken: BTreeMap::new(),
            off: None,
            image: None,
            day: 0,
            wrong: Vec::new(),
            counts: BTreeMap::new(),
        })
    }

    fn tell(&mut self, what: impl std::fmt::Display) {
        self.wrong.push(format!("day {}: {what}", self.day));
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    async fn live(&mut self, days: u64) -> Answer<()> {
        for day in 0..days {
            self.day = day;
            for _ in 0..2 {
                self.tend()?;
                self.snapshot().await;
                self.trio.live(12).await;
            }
            match self.dice.below(8) {
                0 => self.cut_a_keeper().await?,
                1 => self.have_one_off().await?,
                2 => self.forget(Asked::Rule(RULE)).await?,
                3 => self.forget_one().await?,
                4 => self.take_back().await?,
                5 => self.restore().await?,
                6 => self.forget(Asked::Nothing).await?,
                _ => {}
            }
            if self.wrong.len() > 3 {
                return Ok(());
            }
        }
        self.end().await
    }

    /// People change some files and leave others.
    fn tend(&self) -> Answer<()> {
        let tree = self.trio.home.tree();
        tree.mkdir(DATA_PATH)?;
        for _ in 0..3 {
            let (dir, name) = (self.dice.below(3), self.dice.below(FILES));
            let mut bytes = vec![0; usize::try_from(self.dice.below(5000))?];
            self.dice.fill(&mut bytes);
            let dir = format!("{DATA_PATH}/{dir}");
            tree.mkdir(&dir)?;
            let path = format!("{dir}/{name}");
            if self.dice.below(4) == 0 {
                // It may not be there.
                let _ = tree.remove(&path);
            } else {
                tree.write_file(&path, &bytes)?;
            }
        }
        Ok(())
    }

    async fn snapshot(&mut self) {
        let Ok(before) = self.trio.home.tree().snapshot(DATA_PATH) else {
            return;
        };
        match self.trio.take().await {
            Ok(report) => {
                self.count("taken");
                self.taken.insert(report.number.0, (report.head, before));
            }
            Err(error) => self.tell(format!("a snapshot was not taken: {error}")),
        }
    }

    async fn forget(&mut self, asked: Asked) -> Answer<()> {
        match self.trio.forget(asked).await? {
            Ok(0) => self.count("nothing to let go"),
            Ok(_) => self.count("let go"),
            // Of a Box whose disk was restored, while somebody is off who may know more.
            Err(ReleaseError::OthersMayKnow | ReleaseError::MemoryBehind) => self.count("held"),
            // It was let go before.
            Err(ReleaseError::Unknown(_)) => self.count("named twice"),
            // What only the one that is off has cannot be read now.
            Err(_) if self.off.is_some() => self.count("held"),
            Err(error) => self.tell(error),
        }
        // At once, before anything that would heal a mistake.
        self.look().await
    }

    async fn forget_one(&mut self) -> Answer<()> {
        let listed: Vec<u64> = self.trio.listed().await?.into_iter().collect();
        let any = usize::try_from(self.dice.below(listed.len() as u64))?;
        self.forget(Asked::These(vec![listed[any].to_string()]))
            .await
    }

    async fn take_back(&mut self) -> Answer<()> {
        self.trio.undo().await?;
        self.count("taken back");
        let staying = self.staying().await?;
        self.trio.catch_up(&staying).await;
        self.look().await
    }

    /// The power of a keeper, or of home, goes while something is let go.
    async fn cut_a_keeper(&mut self) -> Answer<()> {
        self.count("power cut");
        let torn = self.dice.coin();
        let wait = self.dice.time_below(Duration::from_millis(400));
        let at = usize::try_from(self.dice.below(3))?;
        {
            let letting_go = self.trio.forget(Asked::Rule(RULE));
            // Dropped where it stands; what its Box does goes on until its power goes.
            let _ = tokio::time::timeout(wait, letting_go).await;
        }
        if at == 2 {
            self.trio.restart_home();
        } else if self.trio.runs(at) {
            self.trio.cut(at, torn);
            self.trio.start(at).await?;
        }
        self.look().await
    }

    /// A keeper is off for weeks, or is back.
    async fn have_one_off(&mut self) -> Answer<()> {
        match self.off.take() {
            Some((at, until)) if self.day >= until => {
                self.trio.start(at).await?;
                let staying = self.staying().await?;
                self.trio.catch_up(&staying).await;
                self.count("on again");
                self.look().await?;
            }
            Some(still) => self.off = Some(still),
            None => {
                let at = usize::try_from(self.dice.below(2))?;
                self.trio.cut(at, true);
                self.off = Some((at, self.day + self.dice.below(40)));
                self.count("off");
            }
        }
        Ok(())
    }

    /// Home's disk is what it was some days before; or what it is is kept for that.
    async fn restore(&mut self) -> Answer<()> {
        match self.image.take() {
            None => {
                let image = self.world.box_named("image").restart();
                image.copy_disk_of(&self.trio.home);
                self.image = Some(image);
                Ok(())
            }
            Some(image) => {
                self.trio.restore_home(&image);
                self.count("restored");
                self.forget(Asked::Rule(RULE)).await
            }
        }
    }

    /// Snapshots that a keeper lists and home did not let go, as home remembers.
    async fn staying(&self) -> Answer<Vec<SignedHead>> {
        let forgotten = self.trio.forgotten().await?;
        let listed = self.trio.listed().await?;
        let heads = self
            .taken
            .iter()
            .filter(|(number, _)| listed.contains(number));
        let heads = heads.map(|(_, (head, _))| head.clone());
        let stays = |head: &SignedHead| !forgotten.has(head.head.number, &head.hash());
        Ok(heads.filter(stays).collect())
    }

    /// All that stays is claimed and whole; what waits can still be had. While a keeper is off nothing is said of what only it has.
    async fn look(&mut self) -> Answer<()> {
        self.count("looked");
        if self.off.is_some() {
            return Ok(());
        }
        let staying: BTreeSet<u64> = self
            .staying()
            .await?
            .iter()
            .map(|head| head.head.number.0)
            .collect();
        for number in self.trio.listed().await? {
            let Some((head, _)) = self.taken.get(&number) else {
                continue;
            };
            let stays = staying.contains(&number);
            // What home forgot that it let go, since its disk was restored, waits all the same.
            let is_claimed = stays && !self.counts.contains_key("restored");
            match self.trio.lacks(head, is_claimed).await {
                Ok(None) => {}
                Ok(Some(id)) => {
                    self.tell(format!(
                        "snapshot {number} (stays: {stays}): chunk {} is kept by nobody",
                        id.short()
                    ));
                }
                Err(error) => self.tell(format!("snapshot {number} (stays: {stays}): {error}")),
            }
        }
        Ok(())
    }

    /// All are on; the rule is applied, the time passes, space comes back, and what is left comes back.
    async fn end(&mut self) -> Answer<()> {
        if let Some((at, _)) = self.off.take() {
            self.trio.start(at).await?;
        }
        self.tend()?;
        self.snapshot().await;
        let staying = self.staying().await?;
        self.trio.catch_up(&staying).await;
        let before = self.trio.chunks();
        for _ in 0..2 {
            // What waits there since before takes no more; so it is said again afterwards.
            self.forget(Asked::Rule(RULE)).await?;
            self.trio.live(DELAY_HOURS).await;
        }
        self.trio.compact().await?;
        if self.trio.chunks() >= before {
            self.tell("nothing came back");
        }
        for at in 0..2 {
            self.trio.cut(at, true);
            self.trio.start(at).await?;
        }
        let listed = self.trio.listed().await?;
        if listed.is_empty() || listed.len() > 10 {
            self.tell(format!(
                "the rule keeps nine at most, and these are listed: {listed:?}"
            ));
        }
        *self.counts.entry("gone".into()).or_default() += (self.taken.len() - listed.len()) as u64;
        for number in listed {
            self.ask_back(number).await;
        }
        Ok(())
    }

    async fn ask_back(&mut self, number: u64) {
        self.count("asked back");
        let Some((head, expected)) = self.taken.get(&number) else {
            self.tell(format!("snapshot {number} is listed and was never taken"));
            return;
        };
        let told = match self.trio.retrieve(head).await {
            Ok(back) => differences(expected, &back),
            Err(error) => vec![error.to_string()],
        };
        for told in told.into_iter().take(3) {
            self.tell(format!("snapshot {number}: {told}"));
        }
    }
}
