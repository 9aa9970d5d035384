//! The oracle: it knows what was ever called protected, and when, and asks for it back.
//!
//! It takes the product at its word: a snapshot that a Box called protected once must come back, bit for bit, from the Boxes
//! that remain, as long as fewer of them are bad than the least number of copies.

use std::collections::BTreeMap;
use std::time::Duration;

use reserve::author::Seen;
use reserve::console::service::Service;
use reserve::format::head::SignedHead;
use reserve::keeper::Bounded;
use reserve::terms::{ChunkId, PeerKey, Stamp};
use reserve::world::World;
use tokio::time::timeout;

use crate::eye::Eye;
use crate::house::Answer;
use crate::people::People;
use crate::reserve::Reserve;
use crate::sim_box::SimBox;
use crate::snapshot::TreeSnapshot;

/// Where what comes back is put.
const BACK: &str = "/back";
/// Whoever waits longer for a few files waits for ever.
const RETRIEVAL_MAX: Duration = Duration::from_secs(1800);

/// A snapshot somebody took.
#[derive(Clone)]
pub struct Taken {
    /// Whose files: the Box's place in the reserve.
    pub house: usize,
    /// Which.
    pub head: SignedHead,
    /// The walk began not before this.
    pub from: Duration,
    /// It had ended by then.
    pub until: Duration,
    /// How many good copies there must be since it was called protected; 0 if it never was.
    pub copies_min: usize,
}

/// What was ever taken and called protected.
#[derive(Default)]
pub struct Oracle {
    /// In the order in which the oracle heard of it.
    pub taken: Vec<Taken>,
    known: BTreeMap<(PeerKey, [u8; 32]), usize>,
    /// Since when each Box's wall clock is how far off.
    clocks: BTreeMap<usize, Vec<(Duration, i64)>>,
    /// When there was nothing in each Box's data set though nobody deleted it.
    empty: Vec<(usize, Duration, Duration)>,
}

impl Oracle {
    /// A Box's clock was set.
    pub fn clock_was_set(&mut self, house: usize, at: Duration, offset_seconds: i64) {
        let clock = self.clocks.entry(house).or_default();
        clock.push((at, offset_seconds));
    }

    /// A Box's data set was empty for a while.
    pub fn was_empty(&mut self, house: usize, from: Duration, until: Duration) {
        self.empty.push((house, from, until));
    }

    /// Snapshots of nothing that were taken for what people meant.
    #[must_use]
    pub fn accepted_emptiness(&self) -> Vec<String> {
        let is_empty = |taken: &&Taken| {
            let within = |(house, from, until): &(usize, Duration, Duration)| {
                taken.house == *house && taken.from > *from && taken.until < *until
            };
            taken.head.head.accepted && self.empty.iter().any(within)
        };
        let told = self.taken.iter().filter(is_empty);
        told.map(|taken| {
            format!(
                "snapshot {} of Box {} became the newest though its data set was only away",
                taken.head.head.number.0, taken.house
            )
        })
        .collect()
    }

    /// Hears what every Box says of its newest snapshot now.
    pub async fn listen(&mut self, reserve: &Reserve, now: Duration) {
        for (at, house) in reserve.houses.iter().enumerate() {
            let Some(service) = &house.service else {
                continue;
            };
            let Some(shown) = service.shown().await else {
                continue;
            };
            let name = (shown.head.head.author, shown.head.hash().0);
            let place = *self.known.entry(name).or_insert_with(|| {
                let from = began(
                    &house.home,
                    self.clocks.get(&at),
                    shown.head.head.taken,
                    now,
                );
                self.taken.push(Taken {
                    house: at,
                    head: shown.head.clone(),
                    from,
                    until: now,
                    copies_min: 0,
                });
                self.taken.len() - 1
            });
            if shown.is_protected() {
                self.taken[place].copies_min = shown.factor_min as usize;
            }
        }
    }

    /// What a Box has more of in memory than it may, or, when nobody does anything, what it should have none of.
    #[must_use]
    pub fn out_of_bounds(reserve: &Reserve, at_rest: bool) -> Vec<String> {
        let mut told = Vec::new();
        for house in reserve.houses.iter().filter(|house| house.runs()) {
            for Bounded {
                what,
                now,
                most,
                ends,
            } in house.service.iter().flat_map(Service::bounded_now)
            {
                if now > most || (at_rest && ends && now > 0) {
                    let name = house.name();
                    told.push(format!("{name} has {now} of at most {most} {what}"));
                }
            }
        }
        told
    }

    /// The newest snapshot of a Box and the newest that nobody has to look at, as far as the oracle heard of them.
    #[must_use]
    pub fn newest_of(&self, house: usize) -> (Option<&Taken>, Option<&Taken>) {
        let mut newest = self.taken.iter().rev().filter(|taken| taken.house == house);
        let last = newest.next();
        let accepted = last.into_iter().chain(newest);
        (
            last,
            accepted.into_iter().find(|taken| taken.head.head.accepted),
        )
    }

    /// Everything that was ever called protected.
    pub fn protected(&self) -> impl DoubleEndedIterator<Item = &Taken> {
        self.taken.iter().filter(|taken| taken.copies_min > 0)
    }

    /// Of what was called protected, all that has fewer good copies than it must (or than `wanted`, if that is more), when so many
    /// Boxes are hurt that each may lack one.
    ///
    /// # Errors
    /// If it cannot be looked.
    pub async fn endangered(
        &self,
        reserve: &Reserve,
        wanted: usize,
        hurt: usize,
    ) -> Answer<Vec<String>> {
        let mut eye = Eye::open(reserve).await?;
        let mut seen = Seen::default();
        let mut told = Vec::new();
        for taken in self.protected().rev() {
            let (house, number) = (reserve.houses[taken.house].name(), taken.head.head.number.0);
            match eye.copies(&taken.head, &mut seen).await {
                Ok((copies, _)) if copies + hurt >= taken.copies_min.max(wanted) => {}
                Ok((copies, id)) => told.push(format!(
                    "of snapshot {number} of {house}, chunk {} has {copies} good copies",
                    id.short()
                )),
                Err(error) => told.push(format!("snapshot {number} of {house}: {error}")),
            }
        }
        Ok(told)
    }

    /// Why a chunk that is damaged on a Box should have been healed: which other Box has it, or what was called protected and needs it. If
    /// none has it and nothing does, nobody can heal it, and that it is told as damaged is the truth. What a start could not read is unknown
    /// until the next start, even if it could be read by now.
    ///
    /// # Errors
    /// If it cannot be looked.
    pub async fn should_be_healed(
        &self,
        reserve: &Reserve,
        on: usize,
        id: ChunkId,
    ) -> Answer<Option<String>> {
        let mut eye = Eye::open(reserve).await?;
        let holders = eye.holders(id).await?;
        for (at, house) in reserve.houses.iter().enumerate() {
            if at != on && house.key.is_some_and(|key| holders.contains(&key)) {
                return Ok(Some(format!("{} has it", house.name())));
            }
        }
        for taken in self.protected() {
            if eye.needs(&taken.head, id).await? {
                let (house, number) = (&reserve.houses[taken.house], taken.head.head.number.0);
                return Ok(Some(format!(
                    "snapshot {number} of {} needs it",
                    house.name()
                )));
            }
        }
        Ok(None)
    }

    /// Retrieves a snapshot on a Box and compares; says what is wrong.
    pub async fn ask_back(
        &self,
        reserve: &Reserve,
        on: usize,
        taken: &Taken,
        people: &People,
    ) -> Vec<String> {
        let (house, number) = (reserve.houses[taken.house].name(), taken.head.head.number.0);
        let what = format!(
            "snapshot {number} of {house}, asked for on {}",
            reserve.houses[on].name()
        );
        let Some(service) = reserve.service(on) else {
            return vec![format!("{what}: no service runs there")];
        };
        let home = reserve.houses[on].home.clone();
        let asked = bring_back(home, service, taken.head.clone());
        let back = match timeout(RETRIEVAL_MAX, asked).await {
            Ok(Ok(back)) => back,
            Ok(Err(error)) => return vec![format!("{what}: {error}")],
            Err(_) => return vec![format!("{what}: it took more than half an hour")],
        };
        let told = people.differences(taken.from, taken.until, &back);
        told.iter().map(|how| format!("{what}: {how}")).collect()
    }

    /// Whether what could not be found belongs to a snapshot that nobody called protected yet: it may be whole nowhere.
    fn is_of_one_never_protected(&self, of: usize, miss: &str) -> bool {
        let Some((_, rest)) = miss.split_once("the manifest of snapshot ") else {
            return false;
        };
        let id = rest.split(':').next().unwrap_or_default();
        let mut protected = self.protected().filter(|taken| taken.house == of);
        !protected.any(|taken| taken.head.hash().to_string().starts_with(id))
    }

    /// Whether a Box that is asked for the newest snapshot of an author offers one that is older than what was called protected.
    pub async fn ask_latest(&self, reserve: &Reserve, on: usize, of: usize) -> Vec<String> {
        let newest = self
            .protected()
            .filter(|taken| taken.house == of && taken.head.head.accepted);
        let newest = newest.map(|taken| taken.head.head.number.0).max();
        let (Some(newest), Some(service)) = (newest, reserve.service(on)) else {
            return Vec::new();
        };
        let name = reserve.houses[of].name();
        let (asked, on) = (name.to_owned(), reserve.houses[on].home.clone());
        let found = on.run(async move {
            service
                .find(Some(&asked), "latest")
                .await
                .map_err(|miss| format!("{miss:?}"))
        });
        match timeout(RETRIEVAL_MAX, found).await {
            Ok(Ok(Ok(view))) if view.snapshot.number >= newest => Vec::new(),
            Ok(Ok(Ok(view))) => vec![format!(
                "latest of {name} on {} is {}, but {newest} was called protected",
                on.name(),
                view.snapshot.number
            )],
            Ok(Ok(Err(miss))) if self.is_of_one_never_protected(of, &miss) => Vec::new(),
            Ok(Ok(Err(miss))) => vec![format!(
                "latest of {name} is not found on {}: {miss}",
                on.name()
            )],
            _ => vec![format!("latest of {name} is not told on {}", on.name())],
        }
    }
}

/// When a walk began: what its Box's clock said then, seen through how far off that clock was. A clock that was set back shows the same
/// time twice: then not before the first of them, since a walk that waits for a keeper goes on for as long as it takes.
fn began(
    home: &SimBox,
    clock: Option<&Vec<(Duration, i64)>>,
    shown: Stamp,
    now: Duration,
) -> Duration {
    let first = [(Duration::ZERO, 0)];
    let clock = first.iter().chain(clock.into_iter().flatten());
    let mut spans: Vec<(Duration, i64)> = clock.copied().collect();
    spans.push((now, 0));
    let fits = |pair: &[(Duration, i64)]| {
        let moment = home.moment_of(shown, pair[0].1)?;
        (moment >= pair[0].0 && moment <= pair[1].0).then_some(moment)
    };
    let fitting = spans.windows(2).find_map(fits);
    fitting.unwrap_or_default()
}

async fn bring_back(
    home: SimBox,
    service: Service<SimBox>,
    head: SignedHead,
) -> Answer<TreeSnapshot> {
    // What an earlier retrieval left.
    let _ = home.tree().remove(BACK);
    let back =
        crate::retrieval::bring_back(&home, head.head, BACK, move || service.source()).await?;
    home.tree().remove(BACK)?;
    Ok(back)
}

#[cfg(test)]
mod tests {
    use reserve::world::Clock;
    use tokio::time::{Instant, sleep_until};

    use super::*;
    use crate::story::run;

    /// When a walk is taken to have begun of which it is heard at the end, if the clock is set to these offsets at these seconds.
    fn heard(begins: u64, set: &[(u64, i64)], ends: u64) -> Duration {
        let begins = Duration::from_secs(begins);
        let set: Vec<_> = set
            .iter()
            .map(|(at, offset)| (Duration::from_secs(*at), *offset))
            .collect();
        let story = async |world: crate::SimWorld| {
            let start = Instant::now();
            let home = world.box_named("home");
            for (at, offset) in set.iter().filter(|(at, _)| *at < begins) {
                sleep_until(start + *at).await;
                home.set_wall_offset(*offset);
            }
            sleep_until(start + begins).await;
            let shown = home.clock().wall();
            began(&home, Some(&set), shown, Duration::from_secs(ends))
        };
        run(1, story).value
    }

    #[test]
    fn a_walk_that_went_on_while_its_clock_was_set_back_began_before_that() {
        // Shown a second time, later: at 4864.
        assert_eq!(heard(3876, &[(4208, -988)], 5100).as_secs(), 3876);
        // Of one that did begin then it is known only that it began not before.
        assert!(heard(4864, &[(4208, -988)], 5100).as_secs() <= 4864);
    }

    #[test]
    fn a_walk_whose_clock_was_far_off_began_when_it_did() {
        assert_eq!(heard(900, &[], 1000).as_secs(), 900);
        let far = &[(500, -1_000_000), (2000, 0)];
        assert_eq!(heard(900, far, 2500).as_secs(), 900);
        assert_eq!(heard(2100, far, 2500).as_secs(), 2100);
        assert_eq!(heard(900, &[(500, 7200)], 1000).as_secs(), 900);
    }
}
