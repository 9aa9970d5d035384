//! When things are calm: what was called protected is asked back; and at the end of a week all must become well again.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{RECOVERY_MAX, START_MAX, Week};
use crate::oracle::{Oracle, Taken};
use crate::secrets;

/// So few files may be gone or rewritten, of however many: see `author/numbers`.
const GUARD_FILES: usize = 20;
/// Something is under way now and then; not so often that it is never seen to end.
const AT_REST_TRIES: u32 = 60;

impl Week {
    /// Everything that passes has passed, and all Boxes are on.
    pub(super) async fn calm(&mut self) {
        self.reserve.world.calm_network();
        for at in 0..self.plan.boxes {
            let is_away = self.reserve.houses[at]
                .home
                .faults(|faults| faults.is_away());
            if is_away {
                self.reserve.houses[at].cut(false);
            }
            self.reserve.houses[at].home.faults(crate::Faults::pass);
            self.boot(at).await;
        }
        self.meet().await;
        if let Some(at) = self.drive_is_dead {
            self.replace(at).await;
            if let Some(why) = self.why_not_replaced.take() {
                self.tell(format!(
                    "a Box with a new drive was not taken in again: {why}"
                ));
            }
            self.meet().await;
        }
    }

    async fn meet(&mut self) {
        if !self.reserve.meet().await {
            self.tell("the Boxes did not meet though nothing was in their way");
        }
    }

    /// A person looks at the Boxes that wait for one since so much is gone, and says that it was meant. If not much was done since the last
    /// accepted snapshot they should not have to.
    pub(super) async fn accept_what_waits(&mut self) {
        for at in 0..self.plan.boxes {
            let Some(service) = self.reserve.service(at) else {
                continue;
            };
            let waits = service.standing_now();
            let waits = waits.iter().any(|(kind, _)| kind == "loss_pending");
            let (Some(here_since), (Some(last), accepted)) =
                (self.people[at].are_here_since(), self.oracle.newest_of(at))
            else {
                continue;
            };
            if !waits || last.head.head.accepted || last.from < here_since {
                continue;
            }
            let since = accepted.map_or(Duration::ZERO, |taken| taken.from);
            let deeds = self.people[at].deeds_since(since);
            if deeds <= GUARD_FILES {
                let name = self.reserve.houses[at].name().to_owned();
                self.tell(format!(
                    "{name} waits for a person though only {deeds} things were done to files since its last accepted snapshot"
                ));
            }
            self.count("what was gone was meant");
            let home = self.reserve.houses[at].home.clone();
            let taken = home.run(async move { service.take_now(true).await.is_ok() });
            let _ = timeout(START_MAX, taken).await;
        }
    }

    /// In the middle of everything: whatever was called protected has its copies, and nothing secret lies about.
    pub(super) async fn look(&mut self) {
        if self.has_spare() {
            let hurt = usize::from(self.hurt.is_some());
            match self.oracle.endangered(&self.reserve, 0, hurt).await {
                Ok(told) => told.into_iter().take(3).for_each(|told| self.tell(told)),
                Err(error) => self.tell(error),
            }
        }
        for told in self.oracle.accepted_emptiness() {
            self.tell(told);
        }
        self.count("looked at");
    }

    /// Asks for one snapshot on any Box, hurt or not, while all are in reach: damage somewhere is no reason to get nothing.
    async fn ask_anywhere(&mut self) {
        let protected: Vec<&Taken> = self.oracle.protected().collect();
        let back = match self.dice.coin() {
            true => 0,
            false => self.any(protected.len().max(1)),
        };
        let Some(taken) = protected.into_iter().nth_back(back).cloned() else {
            return;
        };
        let on = self.hurt.unwrap_or_else(|| self.any(self.plan.boxes));
        if !self.reserve.houses[on].runs() {
            return;
        }
        self.count("asked anywhere");
        let people = &self.people[taken.house];
        for told in self
            .oracle
            .ask_back(&self.reserve, on, &taken, people)
            .await
        {
            self.tell(told);
        }
    }

    /// Asks for some of what was called protected, on Boxes that are not hurt, without the one that is.
    pub(super) async fn ask_back(&mut self, times: usize) {
        self.ask_anywhere().await;
        if let Some(hurt) = self.hurt {
            for other in (0..self.plan.boxes).filter(|other| *other != hurt) {
                let (one, other) = (
                    &self.reserve.houses[hurt].home,
                    &self.reserve.houses[other].home,
                );
                self.reserve.world.partition(one, other);
                self.reserve.world.reset_links(one, other);
            }
        }
        for time in 0..times {
            let protected: Vec<Taken> = self.oracle.protected().cloned().collect();
            if protected.is_empty() {
                break;
            }
            // The newest one first, then any.
            let taken = match time {
                0 => &protected[protected.len() - 1],
                _ => &protected[self.any(protected.len())],
            };
            let mut on = self.any(self.plan.boxes);
            if self.hurt == Some(on) {
                on = (on + 1) % self.plan.boxes;
            }
            self.count("asked back");
            let of = taken.house;
            let told = self
                .oracle
                .ask_back(&self.reserve, on, taken, &self.people[of])
                .await;
            for told in told {
                self.tell(told);
            }
            for told in self.oracle.ask_latest(&self.reserve, on, of).await {
                self.tell(told);
            }
        }
        self.reserve.world.calm_network();
    }

    /// The faults stop: within a bounded time everything is protected again and all damage healed, and nobody stands in the way.
    pub(super) async fn recover(&mut self) {
        self.agenda.clear();
        for at in 0..self.plan.boxes {
            self.bring_files_back(at);
        }
        self.calm().await;
        self.look().await;
        for told in secrets::on_disks(&self.reserve) {
            self.tell(told);
        }
        for at in 0..self.plan.boxes {
            self.reserve.houses[at].home.faults(crate::Faults::clear);
        }
        let began = self.now();
        let mut unwell = Vec::new();
        for at in 0..self.plan.boxes {
            if let Some(service) = self.reserve.service(at) {
                let home = self.reserve.houses[at].home.clone();
                if timeout(
                    START_MAX,
                    home.run(async move { service.sweep_now().await }),
                )
                .await
                .is_err()
                {
                    self.tell("a sweep did not end");
                }
            }
        }
        while self.now() - began < RECOVERY_MAX {
            sleep(Duration::from_secs(300)).await;
            let now = self.now();
            self.oracle.listen(&self.reserve, now).await;
            self.accept_what_waits().await;
            unwell = self.unwell().await;
            if unwell.is_empty() {
                break;
            }
        }
        for told in unwell {
            self.tell(format!("four hours after the last fault: {told}"));
        }
        self.hurt = None;
        let last: Vec<Taken> = (0..self.plan.boxes)
            .filter_map(|at| {
                self.oracle
                    .protected()
                    .rfind(|taken| taken.house == at)
                    .cloned()
            })
            .collect();
        self.count(format!(
            "all {} have a protected snapshot: {}",
            self.plan.boxes,
            last.len() == self.plan.boxes
        ));
        for taken in last {
            let on = self.any(self.plan.boxes);
            let people = &self.people[taken.house];
            let mut told = self
                .oracle
                .ask_back(&self.reserve, on, &taken, people)
                .await;
            let latest = self.oracle.ask_latest(&self.reserve, on, taken.house);
            told.extend(latest.await);
            for told in told {
                self.tell(told);
            }
        }
        if self.has_spare() {
            self.ask_back(4).await;
        }
        // What was asked last is over by then; a snapshot may be under way on one Box or another.
        for _ in 0..AT_REST_TRIES {
            sleep(Duration::from_secs(10)).await;
            if Oracle::out_of_bounds(&self.reserve, true).is_empty() {
                break;
            }
        }
        self.look_at_bounds(true);
    }

    /// What is not well yet.
    async fn unwell(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut factor = 0;
        let running = self.reserve.houses.iter().flat_map(|house| &house.service);
        let settings: BTreeSet<u16> = running.map(|service| service.sweep_period_days()).collect();
        if settings.len() > 1 {
            told.push(format!("not all Boxes agree on a setting: {settings:?}"));
        }
        for (at, house) in self.reserve.houses.iter().enumerate() {
            let name = house.name();
            let Some(service) = &house.service else {
                told.push(format!("{name} does not run"));
                continue;
            };
            match service.shown().await {
                Some(shown) if shown.copies >= shown.factor => factor = shown.factor as usize,
                Some(shown) => told.push(format!(
                    "{name}: snapshot {} has {} of {} copies",
                    shown.head.head.number.0, shown.copies, shown.factor
                )),
                None => told.push(format!("{name} has no snapshot")),
            }
            // Damaged places whose names are lost too are judged by what is needed: all of it must have its copies, below.
            // With one of two Boxes what is damaged or lost may be so for good; on a disk that lied, bytes lie about that no store knows of.
            let (damaged, lost) = match self.has_spare() {
                true => (service.damaged_chunks_now().await, service.lost_now()),
                false => Default::default(),
            };
            for id in damaged {
                match self.oracle.should_be_healed(&self.reserve, at, id).await {
                    Ok(None) => {}
                    Ok(Some(why)) => {
                        told.push(format!("{name} still says that {id} is damaged, but {why}"))
                    }
                    Err(error) => told.push(format!("{name} says that {id} is damaged: {error}")),
                }
            }
            // Of what is told to be on no Box it is judged in the same way, no Box left out.
            for id in lost {
                let nobody = self.reserve.houses.len();
                match self
                    .oracle
                    .should_be_healed(&self.reserve, nobody, id)
                    .await
                {
                    Ok(None) => {}
                    Ok(Some(why)) => told.push(format!("{name} says that {id} is lost, but {why}")),
                    Err(error) => told.push(format!("{name} says that {id} is lost: {error}")),
                }
            }
            let seen = [
                "clock_jumped",
                "store_damaged",
                "chunk_damaged",
                "snapshots_lacking",
            ];
            for (kind, text) in service.standing_now() {
                if !seen.contains(&kind.as_str()) {
                    told.push(format!("{name} still says: {text}"));
                }
            }
        }
        if told.is_empty() && self.has_spare() {
            match self.oracle.endangered(&self.reserve, factor, 0).await {
                Ok(endangered) => told.extend(endangered.into_iter().take(5)),
                Err(error) => told.push(error.to_string()),
            }
        }
        told
    }
}
