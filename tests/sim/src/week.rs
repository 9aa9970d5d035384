//! A simulated week of a whole reserve: people change files, snapshots are taken by the product's own schedule, things go wrong
//! every few minutes. Then the faults stop, and everything has to be well again within a bounded time.
//!
//! One seed decides all of it. What is found wrong is told in sentences; none means that the week was clean.

mod making;
mod recovery;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::dice::Dice;
use crate::house::Answer;
use crate::lie::Lie;
use crate::oracle::Oracle;
use crate::people::{MARK, People};
use crate::reserve::{NAMES, Reserve};
use crate::sim_box::SimWorld;
use crate::story::run_within;
use crate::told::{self, SAID};
use crate::trace::TraceHash;
use crate::trouble::Trouble;

/// Looks that nobody waits for are this many times as far apart as in life.
const IDLENESS: u32 = 30;
/// Files of a store are so large: a week fills some dozens.
const SEGMENT_BYTES: u64 = 1 << 20;
/// How often the oracle hears what the Boxes say.
const LISTEN_EVERY: Duration = Duration::from_secs(300);
/// The longest pause between two things that go wrong.
const TROUBLE_EVERY: Duration = Duration::from_secs(480);
/// The longest pause between two things people do on one Box.
const PEOPLE_EVERY: Duration = Duration::from_secs(1200);
/// How often something is asked back, at the least.
const ASK_BACK_EVERY: Duration = Duration::from_secs(8 * 3600);
/// So many places of one store rot right before something is asked back, now and then: nobody has read them again by then.
const ROTTEN_PLACES: u32 = 6;
/// How long after damage a person has everything read again.
const SWEEP_AFTER: Duration = Duration::from_secs(3600);
/// Within this time after the last fault all must be well.
const RECOVERY_MAX: Duration = Duration::from_secs(4 * 3600);
/// A start that takes longer hangs.
const START_MAX: Duration = Duration::from_secs(600);

/// What kind of week.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Boxes.
    pub boxes: usize,
    /// Hours until the faults stop.
    pub hours: u64,
    /// Minutes between snapshots.
    pub every_minutes: u32,
    /// What all disks lie about.
    pub lie: Option<Lie>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            boxes: 5,
            hours: 168,
            every_minutes: 60,
            lie: None,
        }
    }
}

/// What came of a week.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Weathered {
    /// What was wrong; empty if the week was clean.
    pub wrong: Vec<String>,
    /// How often each thing went wrong, was done by people, or was checked.
    pub counts: BTreeMap<String, u64>,
    /// The hash of all that happened.
    pub trace: TraceHash,
}

/// What is to be done at some moment.
enum Deed {
    Listen,
    Live(usize),
    Trouble,
    Boot(usize),
    Hear(usize, usize),
    Pass(usize),
    Read(usize),
    TellTime(usize),
    BringBack(usize),
    Replace(usize),
    Sweep(usize),
    AskBack,
}

/// A week under way.
struct Week {
    plan: Plan,
    dice: Dice,
    start: Instant,
    reserve: Reserve,
    people: Vec<People>,
    oracle: Oracle,
    agenda: BTreeMap<(Duration, u64), Deed>,
    planned: u64,
    /// The one Box whose acknowledged copies may be hurt now.
    hurt: Option<usize>,
    /// The one Box that waits for a new drive, and whether it was taken out of the reserve before.
    drive_is_dead: Option<usize>,
    is_taken_out: bool,
    /// Boxes that began anew.
    new_boxes: u32,
    why_not_replaced: Option<String>,
    wrong: Vec<String>,
    counts: BTreeMap<String, u64>,
}

/// Lives through a week.
///
/// # Panics
/// If a task of a Box panics, or if something waits for ever.
pub fn weather(seed: u64, plan: Plan) -> Weathered {
    let limit = Duration::from_secs(plan.hours * 3600 * 2) + RECOVERY_MAX * 6;
    let lived = async |world: SimWorld| {
        let lived = Week::begin(world, plan).await;
        match lived {
            Ok(week) => week.live().await,
            Err(error) => (
                vec![format!("the reserve was not founded: {error}")],
                BTreeMap::new(),
            ),
        }
    };
    let (ran, told) = told::counted(|| run_within(seed, limit, lived));
    let (wrong, mut counts) = ran.value;
    let told = told.into_iter();
    counts.extend(told.map(|(text, times)| (format!("{SAID}{text}"), times)));
    Weathered {
        wrong,
        counts,
        trace: ran.trace,
    }
}

impl Week {
    async fn begin(world: SimWorld, plan: Plan) -> Answer<Self> {
        let start = Instant::now();
        world.watch_for(MARK);
        for name in NAMES.iter().take(plan.boxes) {
            world.box_named(name).make_segments(SEGMENT_BYTES);
        }
        let reserve = Reserve::found(world.clone(), plan.boxes, plan.every_minutes).await?;
        let mut people = Vec::new();
        for house in &reserve.houses {
            house.home.idle(IDLENESS);
            house.home.lie_about(plan.lie);
            let dice = world.dice(&format!("people of {}", house.name()));
            people.push(People::move_in(&house.home, dice, start.elapsed())?);
        }
        let mut week = Self {
            plan,
            dice: world.dice("week"),
            start,
            reserve,
            people,
            oracle: Oracle::default(),
            agenda: BTreeMap::new(),
            planned: 0,
            hurt: None,
            drive_is_dead: None,
            is_taken_out: false,
            new_boxes: 0,
            why_not_replaced: None,
            wrong: Vec::new(),
            counts: BTreeMap::new(),
        };
        week.plan_in(Duration::ZERO, Deed::Listen);
        week.plan_in(Duration::from_secs(600), Deed::Trouble);
        week.plan_in(week.ask_back_every(), Deed::AskBack);
        for at in 0..plan.boxes {
            week.plan_in(PEOPLE_EVERY, Deed::Live(at));
        }
        Ok(week)
    }

    async fn live(mut self) -> (Vec<String>, BTreeMap<String, u64>) {
        let end = Duration::from_secs(self.plan.hours * 3600);
        while let Some(((at, number), deed)) = self.agenda.pop_first() {
            if at > end {
                self.agenda.insert((at, number), deed);
                break;
            }
            sleep_until(self.start + at).await;
            self.act(deed).await;
            if self.wrong.len() > 5 {
                return self.ended();
            }
        }
        self.recover().await;
        self.ended()
    }

    fn ended(mut self) -> (Vec<String>, BTreeMap<String, u64>) {
        for people in &self.people {
            for (deed, times) in &people.deeds {
                *self.counts.entry(format!("files {deed}")).or_default() += times;
            }
        }
        self.wrong.extend(self.reserve.world.leaks());
        (self.wrong, self.counts)
    }

    /// Three times at the least in a short life.
    fn ask_back_every(&self) -> Duration {
        ASK_BACK_EVERY.min(Duration::from_secs(self.plan.hours * 3600 / 3))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn plan_in(&mut self, wait: Duration, deed: Deed) {
        self.planned += 1;
        self.agenda.insert((self.now() + wait, self.planned), deed);
    }

    fn count(&mut self, what: impl Into<String>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    /// Something is wrong: when, and what.
    fn tell(&mut self, what: impl std::fmt::Display) {
        let seconds = self.now().as_secs();
        self.wrong.push(format!(
            "{} h {} min: {what}",
            seconds / 3600,
            seconds / 60 % 60
        ));
    }

    /// Whether a Box may be bad and all that was called protected is there all the same. With one of two it is not: then it must be whole
    /// again at the end, as far as its author still has it.
    const fn has_spare(&self) -> bool {
        self.plan.boxes > 2
    }

    fn any(&self, end: usize) -> usize {
        usize::try_from(self.dice.below(end as u64)).unwrap_or(0)
    }

    async fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Listen => {
                let now = self.now();
                self.oracle.listen(&self.reserve, now).await;
                self.look_at_bounds(false);
                self.plan_in(LISTEN_EVERY, Deed::Listen);
            }
            Deed::Live(at) => {
                let home = &self.reserve.houses[at].home;
                if home.is_on()
                    && !self.people[at].are_away()
                    && let Err(error) = self.people[at].do_something(home, self.start.elapsed())
                {
                    self.tell(format!("people could not use their files: {error}"));
                }
                let wait = self.dice.time_below(PEOPLE_EVERY);
                self.plan_in(wait, Deed::Live(at));
            }
            Deed::Trouble => {
                self.make_trouble().await;
                let wait = self.dice.time_below(TROUBLE_EVERY);
                self.plan_in(wait, Deed::Trouble);
            }
            Deed::Boot(at) => self.boot(at).await,
            Deed::Hear(one, other) => {
                let (one, other) = (
                    &self.reserve.houses[one].home,
                    &self.reserve.houses[other].home,
                );
                self.reserve.world.heal(one, other);
                self.reserve.world.slow_down(one, other, Duration::ZERO);
            }
            Deed::Pass(at) => self.reserve.houses[at].home.faults(crate::Faults::pass),
            Deed::Read(at) => self.reserve.world.read_again(&self.reserve.houses[at].home),
            Deed::TellTime(at) => self.set_clock(at, 0),
            Deed::BringBack(at) => self.bring_files_back(at),
            Deed::Replace(at) => self.replace(at).await,
            Deed::Sweep(at) => self.sweep(at).await,
            Deed::AskBack => {
                self.look().await;
                self.calm().await;
                self.accept_what_waits().await;
                if self.has_spare() && self.hurt.is_none() && self.dice.coin() {
                    let at = self.any(self.plan.boxes);
                    self.count("hurt before something was asked back");
                    for _ in 0..ROTTEN_PLACES {
                        self.hurt(at, Trouble::BitRot);
                    }
                }
                if self.has_spare() {
                    self.ask_back(3).await;
                }
                self.plan_in(self.ask_back_every(), Deed::AskBack);
            }
        }
    }

    fn look_at_bounds(&mut self, at_rest: bool) {
        self.count("bounds looked at");
        for told in Oracle::out_of_bounds(&self.reserve, at_rest) {
            self.tell(told);
        }
    }

    async fn boot(&mut self, at: usize) {
        let house = &mut self.reserve.houses[at];
        if self.drive_is_dead == Some(at) {
            return;
        }
        if house.service.is_some() && house.home.faults(|faults| !faults.is_away()) {
            return;
        }
        house.home.faults(crate::Faults::pass);
        self.count("started");
        match timeout(START_MAX, self.reserve.houses[at].boot()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let name = self.reserve.houses[at].name().to_owned();
                self.tell(format!("{name} does not start: {error}"));
            }
            Err(_) => self.tell("a start took more than ten minutes"),
        }
    }

    /// The disk with a person's files is there again.
    fn bring_files_back(&mut self, at: usize) {
        let (home, now) = (self.reserve.houses[at].home.clone(), self.now());
        match self.people[at].come_back(&home, now) {
            Ok(None) => {}
            Ok(Some(since)) => self.oracle.was_empty(at, since, now),
            Err(error) => self.tell(format!("a data set could not be brought back: {error}")),
        }
    }

    /// A Box whose drive died is taken in again by another, in its own place.
    async fn replace(&mut self, at: usize) {
        // Somebody saw to it before.
        if self.drive_is_dead != Some(at) {
            return;
        }
        let others = (0..self.plan.boxes).filter(|other| *other != at);
        let Some(by) = others
            .into_iter()
            .find(|by| self.reserve.houses[*by].runs())
        else {
            self.plan_in(SWEEP_AFTER / 4, Deed::Replace(at));
            return;
        };
        let home = self.reserve.houses[at].home.restart();
        self.reserve.houses[at].home = home;
        let name = self.reserve.houses[at].name().to_owned();
        let (reserve, is_taken_out) = (&mut self.reserve, &mut self.is_taken_out);
        let taken_in = async {
            if !*is_taken_out {
                reserve.shut_out(by, &name).await?;
                // Once: what has this name from here on is the new Box.
                *is_taken_out = true;
            }
            reserve.replace(at, by, &name).await
        };
        let taken_in = timeout(START_MAX, taken_in).await;
        self.why_not_replaced = match taken_in {
            Ok(Ok(())) => {
                self.count("replaced");
                self.why_not_replaced = None;
                self.drive_is_dead = None;
                self.is_taken_out = false;
                self.plan_in(SWEEP_AFTER, Deed::Sweep(at));
                return;
            }
            // Something else is in the way just now.
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it took more than ten minutes".to_owned()),
        };
        self.plan_in(SWEEP_AFTER / 4, Deed::Replace(at));
    }

    /// A person has a Box read everything again; when all that was called protected has its copies again, it is hurt no more.
    async fn sweep(&mut self, at: usize) {
        if self.hurt != Some(at) {
            return;
        }
        let home = &self.reserve.houses[at].home;
        home.faults(crate::Faults::let_writes_land);
        if let Some(service) = self.reserve.service(at) {
            self.count("swept");
            let home = self.reserve.houses[at].home.clone();
            // What it finds is not believed: the eye looks for itself.
            let _ = timeout(
                START_MAX,
                home.run(async move { service.sweep_now().await }),
            )
            .await;
        }
        let endangered = match self.has_spare() {
            true => self.oracle.endangered(&self.reserve, 0, 0).await,
            false => Ok(Vec::new()),
        };
        match endangered {
            Ok(told) if told.is_empty() => {
                self.count("healed");
                self.hurt = None;
            }
            _ => self.plan_in(SWEEP_AFTER, Deed::Sweep(at)),
        }
    }
}
