//! Many Boxes with many chunks: what quiet costs, what a partition and its end cost, and what the loss of a Box costs.
//!
//! Everything is the product's own: founding, joining, the services, comparing and taking. Only the chunks are put where placement
//! wants them before the services start, as an author would in days. Then a run waits until nothing is left to do, and looks into the
//! stores themselves.

mod expectation;
mod figures;
mod layout;

use std::time::Duration;

use reserve::console::service::Service;
use reserve::world::{Disk, World};
use tokio::time::{Instant, sleep};

use crate::house::Answer;
use crate::reserve::Reserve;
use crate::sim_box::{SimBox, SimWorld};
use crate::story::{Ran, run_within};

pub use expectation::{memory_max, sets_max, wire_max};
pub use figures::{Phase, Spread};
pub use layout::CHUNK_BYTES;

use figures::{Meter, bounded};
use layout::{Layout, bring, fill, record, wrong};

/// How large a run is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Boxes, the author's among them.
    pub boxes: usize,
    /// Chunks that are there at the start.
    pub chunks: u32,
    /// Whether the partition ends.
    pub heals: bool,
    /// Whether a quiet day is lived through as well.
    pub day: bool,
    /// Bytes this process has taken; 0 if nobody counts them.
    pub heap: fn() -> u64,
    /// Who hears what a phase cost as soon as it is over.
    pub tell: fn(&Phase),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scaled {
    /// What each phase cost.
    pub phases: Vec<Phase>,
    /// What was not as it should be.
    pub wrong: Vec<String>,
}

impl Scaled {
    fn lived(&mut self, size: Size, phase: Phase) {
        (size.tell)(&phase);
        self.phases.push(phase);
    }
}

/// The longest a run may take.
const RUN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Until everything is where it belongs: the longest the product leaves two keepers uncompared that know that something is lacking, twice.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);
/// How often it is looked whether nothing is left to do.
const LOOK: Duration = Duration::from_secs(5);
/// How long nothing is done, to see what that costs.
const REST: Duration = Duration::from_secs(600);
/// How long the halves are apart: longer than anybody waits for an answer.
const APART: Duration = Duration::from_secs(1800);
/// One new chunk to so many old ones comes to one half while they are apart.
const NEW_ONE_IN: u32 = 100;
/// Segments of each store: one of them is lost.
const SEGMENTS: u64 = 16;
/// The smallest segment.
const SEGMENT_BYTES_MIN: u64 = 16 << 10;
/// What a chunk takes in a segment.
const FRAME_BYTES: u64 = 160;
/// Which Box loses a segment.
const LOSES_A_PART: usize = 1;
/// A day in which all are compared once.
const DAY: Duration = Duration::from_secs(25 * 3600);
/// Boxes that are told of.
const TOLD_MAX: usize = 8;
/// Chunks that an author has on their way.
const ON_THE_WAY: u32 = 64;

/// Lives through it.
///
/// # Panics
/// As [`crate::run`].
pub fn scale(seed: u64, size: Size) -> Ran<Scaled> {
    run_within(seed, RUN, async move |world| {
        let mut scaled = Scaled::default();
        if let Err(error) = live(world, size, &mut scaled).await {
            scaled.wrong.push(format!("it ended early: {error}"));
        }
        scaled
    })
}

struct Run {
    reserve: Reserve,
    layout: Layout,
    size: Size,
    numbers: Vec<u32>,
}

async fn live(world: SimWorld, size: Size, scaled: &mut Scaled) -> Answer<()> {
    let share = share(size);
    let reserve = Reserve::found_of_many(world, size.boxes, 2 * share + 4096).await?;
    let meter = Meter::begin(&reserve, size.heap);
    if !reserve.meet().await {
        return Err("not all Boxes met".into());
    }
    scaled.lived(size, meter.end(&reserve, "meeting", 0));
    for house in &reserve.houses {
        let bytes = share * FRAME_BYTES / SEGMENTS;
        house
            .home
            .make_segments(bytes.max(SEGMENT_BYTES_MIN).next_multiple_of(4096));
    }
    let layout = Layout::of(&reserve).await?;
    let mut run = Run {
        reserve,
        layout,
        size,
        numbers: (0..size.chunks).collect(),
    };
    run.start(scaled).await?;
    run.rest(scaled).await;
    run.apart(scaled).await?;
    run.together(scaled).await?;
    if size.day {
        run.day(scaled).await;
    }
    run.loss(scaled).await?;
    scaled.wrong.extend(expectation::exceeded(&scaled.phases));
    Ok(())
}

/// Chunks each keeper should have.
fn share(size: Size) -> u64 {
    let keepers = size.boxes.saturating_sub(1).max(1) as u64;
    (u64::from(size.chunks) * 3).div_ceil(keepers)
}

impl Run {
    /// All start with all they should have.
    async fn start(&mut self, scaled: &mut Scaled) -> Answer<()> {
        fill(&mut self.reserve, &self.layout, 0..self.size.chunks).await?;
        let off = Meter::begin(&self.reserve, self.size.heap);
        scaled.lived(self.size, off.end(&self.reserve, "off", 0));
        let meter = Meter::begin(&self.reserve, self.size.heap);
        for house in &mut self.reserve.houses {
            house.boot().await?;
        }
        self.until(scaled, "start", Self::all_know).await;
        scaled.lived(self.size, meter.end(&self.reserve, "start", 0));
        Ok(())
    }

    /// Nothing happens.
    async fn rest(&mut self, scaled: &mut Scaled) {
        let meter = Meter::begin(&self.reserve, self.size.heap);
        sleep(REST).await;
        scaled.lived(self.size, meter.end(&self.reserve, "rest", 0));
    }

    /// The two halves do not hear each other; one keeper loses a part of its store, and the author brings new chunks to its own half.
    async fn apart(&mut self, scaled: &mut Scaled) -> Answer<()> {
        let meter = Meter::begin(&self.reserve, self.size.heap);
        let began = Instant::now();
        self.each_pair_apart(SimWorld::partition);
        self.lose_a_segment(LOSES_A_PART).await?;
        let brought = self.bring_new().await?;
        sleep(APART.saturating_sub(began.elapsed())).await;
        scaled.lived(self.size, meter.end(&self.reserve, "apart", brought));
        Ok(())
    }

    /// They hear each other again.
    async fn together(&mut self, scaled: &mut Scaled) -> Answer<()> {
        let meter = Meter::begin(&self.reserve, self.size.heap);
        if self.size.heals {
            self.each_pair_apart(SimWorld::heal);
        }
        self.until(scaled, "together", Self::all_have).await;
        scaled.lived(self.size, meter.end(&self.reserve, "together", 0));
        self.look(scaled, "together").await
    }

    /// A quiet day: at its end each Box was compared with each other one, and knows how many copies there are of what it has.
    async fn day(&mut self, scaled: &mut Scaled) {
        let meter = Meter::begin(&self.reserve, self.size.heap);
        sleep(DAY).await;
        scaled.lived(self.size, meter.end(&self.reserve, "day", 0));
        if !self.all_know() {
            scaled
                .wrong
                .push("day: not all Boxes know how many copies there are".to_owned());
            scaled.wrong.extend(self.restless());
        }
    }

    /// The last Box is lost and shut out.
    async fn loss(&mut self, scaled: &mut Scaled) -> Answer<()> {
        let meter = Meter::begin(&self.reserve, self.size.heap);
        let lost = self.reserve.houses.len() - 1;
        let house = &mut self.reserve.houses[lost];
        house.home.flood();
        house.service = None;
        let name = house.name().to_owned();
        self.reserve.shut_out(0, &name).await?;
        self.layout = Layout::of(&self.reserve).await?;
        self.until(scaled, "loss", Self::all_know).await;
        scaled.lived(self.size, meter.end(&self.reserve, "loss", 0));
        self.look(scaled, "loss").await
    }

    fn each_pair_apart(&self, deed: impl Fn(&SimWorld, &SimBox, &SimBox)) {
        let (ours, theirs) = self.reserve.houses.split_at(self.half());
        for one in ours {
            for other in theirs {
                deed(&self.reserve.world, &one.home, &other.home);
            }
        }
    }

    fn half(&self) -> usize {
        self.reserve.houses.len() / 2
    }

    /// The power of a Box goes, and when it is back a file of its store is not.
    async fn lose_a_segment(&mut self, at: usize) -> Answer<()> {
        let house = &mut self.reserve.houses[at];
        house.cut(false);
        house.home = house.home.restart();
        let segments = house.home.files("store/seg-");
        let (path, _) = segments.into_iter().nth(1).ok_or("it has few segments")?;
        house.home.disk().remove(&path).await?;
        house.home.disk().sync_dir("store").await?;
        house.boot().await
    }

    /// The author brings what belongs on at least one Box of its half.
    async fn bring_new(&mut self) -> Answer<u64> {
        let ours = self.reserve.houses[..self.half()].iter();
        let ours: Vec<_> = ours.filter_map(|house| house.key).collect();
        let author = self.reserve.service(0).ok_or("the author runs")?;
        while !ours[1..].iter().all(|key| author.in_touch().contains(key)) {
            sleep(LOOK).await;
        }
        let mut brought = 0;
        let mut next = self.size.chunks;
        let until = next + (self.size.chunks / NEW_ONE_IN).max(1);
        while next < until {
            let mut puts = Vec::new();
            for number in next..until.min(next + ON_THE_WAY) {
                let mut keepers = self.layout.keepers(&record(number).0);
                keepers.retain(|key| ours.contains(key));
                if !keepers.is_empty() {
                    self.numbers.push(number);
                    puts.push(tokio::task::spawn_local(bring(
                        author.clone(),
                        keepers,
                        number,
                    )));
                }
            }
            next = until.min(next + ON_THE_WAY);
            for put in puts {
                match put.await? {
                    0 => return Err("a new chunk was taken by nobody".into()),
                    taken => brought += taken as u64,
                }
            }
        }
        Ok(brought)
    }

    /// Waits until it is so.
    async fn until(&self, scaled: &mut Scaled, phase: &str, is_so: fn(&Self) -> bool) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if is_so(self) {
                return;
            }
            sleep(LOOK).await;
        }
        let (there, wanted) = (self.copies_there(), self.copies_wanted());
        scaled.wrong.push(format!(
            "{phase}: after {PATIENCE:?} there are {there} copies of {wanted}"
        ));
        scaled.wrong.extend(self.restless());
    }

    /// Whether all copies are there, and nobody lacks anything.
    fn all_have(&self) -> bool {
        let lacks = |service: &Service<SimBox>| {
            service.copies_now().is_none_or(|copies| copies.lacking > 0)
        };
        self.copies_there() == self.copies_wanted()
            && !self.services().any(|(_, service)| lacks(service))
    }

    /// Whether besides each Box knows it of all it has.
    fn all_know(&self) -> bool {
        self.all_have() && self.restless().is_empty()
    }

    fn services(&self) -> impl Iterator<Item = (&str, &Service<SimBox>)> {
        let houses = self.reserve.houses.iter();
        houses.filter_map(|house| Some((house.name(), house.service.as_ref()?)))
    }

    fn copies_there(&self) -> u64 {
        self.services()
            .map(|(_, service)| bounded(service, "chunks"))
            .sum()
    }

    fn copies_wanted(&self) -> u64 {
        self.numbers.len() as u64 * self.layout.copies()
    }

    /// The Boxes that have work left, or do not know that they have none.
    fn restless(&self) -> Vec<String> {
        let mut told = Vec::new();
        for (name, service) in self.services() {
            let chunks = bounded(service, "chunks");
            let copies = service.copies_now();
            let is_even = copies.is_some_and(|copies| {
                (copies.chunks, copies.enough) == (chunks, chunks)
                    && copies.few + copies.lacking + copies.extra == 0
            });
            if !is_even {
                told.push(format!("{name} with {chunks} chunks: {copies:?}"));
            }
        }
        told.truncate(TOLD_MAX);
        told
    }

    async fn look(&self, scaled: &mut Scaled, phase: &str) -> Answer<()> {
        for what in wrong(&self.reserve, &self.layout, &self.numbers).await? {
            scaled.wrong.push(format!("{phase}: {what}"));
        }
        Ok(())
    }
}
