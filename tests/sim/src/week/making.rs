//! How each thing goes wrong in a week.

use std::time::Duration;

use reserve::world::World;
use tokio::time::timeout;

use super::{Deed, START_MAX, SWEEP_AFTER, Week};
use crate::meddling::Meddling;
use crate::trouble::Trouble;

/// So many Boxes begin anew in a week at most: each is another member for ever, and each that was lost another epoch.
const NEW_BOXES_MAX: u32 = 20;

impl Week {
    /// Something goes wrong.
    pub(super) async fn make_trouble(&mut self) {
        let mut trouble = Trouble::pick(&self.dice);
        let at = self.any(self.plan.boxes);
        let other = (at + 1 + self.any(self.plan.boxes - 1)) % self.plan.boxes;
        // A person who moves files about does so when nothing else is strange there.
        if trouble == Trouble::Emptied && self.people[at].are_away() {
            trouble = Trouble::PowerCut;
        }
        if trouble.hurts() && self.hurt.is_some_and(|hurt| hurt != at) {
            trouble = Trouble::TornPowerCut;
        }
        // A reserve has room for so many Boxes that once were, and a Box without a drive is none that is taken out.
        let is_spent = self.new_boxes >= NEW_BOXES_MAX;
        if matches!(trouble, Trouble::DriveReplaced | Trouble::TakenOut)
            && (is_spent || self.drive_is_dead.is_some())
        {
            trouble = Trouble::LinksReset;
        }
        let lasts = trouble.lasts(&self.dice);
        let world = self.reserve.world.clone();
        let home = self.reserve.houses[at].home.clone();
        let there = self.reserve.houses[other].home.clone();
        self.count(format!("{trouble:?}"));
        match trouble {
            Trouble::PowerCut | Trouble::TornPowerCut | Trouble::LongSleep => {
                self.reserve.houses[at].cut(trouble == Trouble::TornPowerCut);
                self.plan_in(lasts, Deed::Boot(at));
            }
            Trouble::ReadsFail => {
                let reads = 1 + u32::from(self.dice.coin());
                home.faults(|faults| faults.fail_reads(reads));
            }
            Trouble::SyncFails => home.faults(crate::Faults::fail_next_sync),
            Trouble::DiskFull => {
                let writes = u32::from(self.dice.coin());
                home.faults(|faults| faults.fill_up_after(writes));
                self.plan_in(lasts, Deed::Pass(at));
            }
            Trouble::DriveAway => {
                home.faults(crate::Faults::take_away);
                self.plan_in(lasts, Deed::Boot(at));
            }
            Trouble::DiskSlow => {
                let by = self.dice.time_below(Duration::from_secs(4));
                home.faults(|faults| faults.slow_down(by));
                self.plan_in(lasts, Deed::Pass(at));
            }
            Trouble::Partition => {
                world.partition(&home, &there);
                self.plan_in(lasts, Deed::Hear(at, other));
            }
            Trouble::OneWay => {
                world.silence(&home, &there);
                self.plan_in(lasts, Deed::Hear(at, other));
            }
            Trouble::LinksReset => world.reset_links(&home, &there),
            Trouble::LineSlow => {
                let by = self.dice.time_below(Duration::from_secs(3));
                world.slow_down(&home, &there, by);
                self.plan_in(lasts, Deed::Hear(at, other));
            }
            Trouble::ClockSet => {
                let most = if self.dice.below(8) == 0 {
                    4 * 365 * 86_400
                } else {
                    7200
                };
                let by = i64::try_from(self.dice.below(2 * most)).unwrap_or(0);
                let offset = by - i64::try_from(most).unwrap_or(0);
                self.set_clock(at, offset);
            }
            Trouble::NoClock => {
                self.reserve.houses[at].cut(false);
                let offset = -self.reserve.houses[at].home.wall_seconds();
                self.set_clock(at, offset);
                self.plan_in(lasts / 2, Deed::Boot(at));
                self.plan_in(lasts, Deed::TellTime(at));
            }
            Trouble::ReadOnly => {
                home.faults(crate::Faults::make_read_only);
                self.plan_in(lasts, Deed::Pass(at));
            }
            Trouble::BytesLost => world.meddle(&home, &there, Meddling::Lost),
            Trouble::BytesTwice => world.meddle(&home, &there, Meddling::Twice),
            Trouble::BytesForged => world.meddle(&home, &there, Meddling::Forged),
            Trouble::HalfOpen => world.forget_links(&home, &there),
            Trouble::StopsReading => {
                world.stop_reading(&home);
                self.plan_in(lasts, Deed::Read(at));
            }
            Trouble::Emptied => {
                let now = self.now();
                if let Err(error) = self.people[at].go_away(&home, now) {
                    self.tell(format!("a data set could not be moved away: {error}"));
                }
                self.plan_in(lasts, Deed::BringBack(at));
            }
            Trouble::SettingsApart => {
                world.partition(&home, &there);
                self.plan_in(lasts, Deed::Hear(at, other));
                for at in [at, other] {
                    let days = 20 + self.dice.below(20);
                    self.change_setting(at, days);
                }
            }
            Trouble::BitRot | Trouble::BadSector => self.hurt(at, trouble),
            Trouble::WriteLost | Trouble::WriteMisplaced => {
                home.faults(|faults| match trouble {
                    Trouble::WriteLost => faults.lose_next_write(),
                    _ => faults.misplace_next_write(),
                });
                self.hurt = Some(at);
                self.plan_in(SWEEP_AFTER, Deed::Sweep(at));
            }
            Trouble::DriveReplaced => self.lose_drive(at, lasts),
            Trouble::TakenOut => {
                let name = home.name().to_owned();
                let took = timeout(START_MAX, self.reserve.take_out(other, &name)).await;
                match took {
                    Ok(Ok(())) => {
                        self.count("taken out");
                        self.is_taken_out = true;
                        self.lose_drive(at, lasts);
                    }
                    // That not everybody is there to be asked is no wonder.
                    Ok(Err(_)) => {}
                    // It would go on until it can, and nobody here would know: whoever was asked is switched off instead.
                    Err(_) => {
                        self.reserve.houses[other].cut(false);
                        self.plan_in(lasts, Deed::Boot(other));
                    }
                }
            }
        }
    }

    /// All that a keeper is goes, for good; what stands there then is to be taken in as a new Box.
    fn lose_drive(&mut self, at: usize, for_so_long: Duration) {
        self.reserve.houses[at].cut(false);
        self.reserve.houses[at].home.lose_drive();
        self.hurt = Some(at);
        self.drive_is_dead = Some(at);
        self.new_boxes += 1;
        self.plan_in(for_so_long, Deed::Replace(at));
    }

    pub(super) fn set_clock(&mut self, at: usize, offset: i64) {
        self.reserve.houses[at].home.set_wall_offset(offset);
        let now = self.now();
        self.oracle.clock_was_set(at, now, offset);
    }

    /// A person changes what all Boxes agree on. That it cannot be written down just now is no wonder.
    fn change_setting(&self, at: usize, days: u64) {
        if let Some(service) = self.reserve.service(at) {
            let home = self.reserve.houses[at].home.clone();
            home.spawn(async move {
                let days = days.to_string();
                let _ = service.change_setting("sweep_period_days", &days).await;
            });
        }
    }

    /// Damages some place of a Box's store.
    pub(super) fn hurt(&mut self, at: usize, trouble: Trouble) {
        let home = self.reserve.houses[at].home.clone();
        let files = home.files("store/seg-");
        if files.is_empty() {
            return;
        }
        let (path, len) = &files[self.any(files.len())];
        let place = self.dice.below((*len).max(1));
        if trouble == Trouble::BitRot {
            let bit = u8::try_from(self.dice.below(8)).unwrap_or(0);
            // It is there: it was listed a moment ago.
            let _ = home.disk().flip_bit(path, place, bit);
        } else {
            home.faults(|faults| faults.make_unreadable(path, place..place + 512));
        }
        if self.hurt.replace(at) != Some(at) {
            self.plan_in(SWEEP_AFTER, Deed::Sweep(at));
        }
    }
}
