//! What this Box's keeper does about what it lacks, without any author: it compares itself with the others, takes what it should have,
//! and has others take what belongs there and is here.
//!
//! Decided in `monitor`; here it is put together with who is in touch, and paced. What fewer keepers have than the least number comes
//! first, and at full speed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Service;
use super::proving::LookBack;
use super::views::name_of;
use crate::console::control::CopiesView;
use crate::format::unmet::Unmet;
use crate::keeper::{Ask, AskError, Copies, Host, Places, RemoteKeeper, Server};
use crate::monitor::{Away, Ground, Last, Outcome, Pair, Take, compare, is_due};
use crate::terms::limits::{ASK_IDS_MAX, REPAIR_BYTES_PER_SECOND};
use crate::terms::{ChunkId, PeerKey, Stamp};
use crate::world::{Clock, Disk, Entropy, Moment, World};

/// Where it is remembered who was not met.
const UNMET_PATH: &str = "unmet";
/// How often it is looked whether a comparison is due when nothing happens.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// While something is being kept here, comparing would name what is on its way; so long nothing may have come.
const QUIET: Duration = Duration::from_secs(2);
/// But where something always comes, it is waited so often only.
const QUIET_TRIES: u32 = 150;
/// How often all of the last heads a keeper knows are fetched.
const HEADS_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Chunks that are taken between two looks at the pace.
const PIECE: usize = 16;

/// What comparing came to in this run of the service, as the side that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    /// Comparisons that went to their end.
    pub comparisons: u64,
    /// Questions they asked.
    pub questions: u64,
    /// Claims that came here by them.
    pub taken: u64,
}

/// What is known of comparisons.
#[derive(Default)]
pub(super) struct Healing {
    last: BTreeMap<PeerKey, Last>,
    lines: BTreeMap<PeerKey, u64>,
    pub(super) away: Away,
    /// When all of the last heads a keeper knows were fetched last.
    heads: BTreeMap<PeerKey, Moment>,
    /// What comparisons came to in this run.
    compared: Compared,
    /// Claims each keeper has that were lacking here, and could not be taken, when it was compared with last.
    open: BTreeMap<PeerKey, u64>,
    /// Former members whose copies are not counted on any more.
    former: BTreeSet<PeerKey>,
    /// What is known of the copies of what is here, and when it was counted.
    copies: Option<(Copies, Stamp)>,
}

impl Compared {
    fn add(&mut self, outcome: &Outcome) {
        self.comparisons += 1;
        self.questions += outcome.questions;
        self.taken += outcome.taken;
    }
}

impl Healing {
    /// A line to a keeper began.
    pub(super) fn met(&mut self, peer: PeerKey) {
        *self.lines.entry(peer).or_default() += 1;
    }

    /// Lines to keepers that began, all together.
    pub(super) fn meetings(&self) -> u64 {
        self.lines.values().sum()
    }

    /// Nothing is lacking that a Box had which belongs no more.
    fn forget_all_but(&mut self, members: &[PeerKey]) {
        self.last.retain(|peer, _| members.contains(peer));
        self.lines.retain(|peer, _| members.contains(peer));
        self.heads.retain(|peer, _| members.contains(peer));
        self.open.retain(|peer, _| members.contains(peer));
    }
}

/// Fetches what is named, at a pace.
struct Fetching<'a, W: World> {
    service: &'a Service<W>,
    server: Server<W, Service<W>>,
    /// Bytes a second, if there is a limit.
    pace: Option<u64>,
}

impl<W: World> Take for Fetching<'_, W> {
    async fn take(&mut self, author: PeerKey, ids: Vec<ChunkId>) -> u64 {
        if !self.service.is_ours(author) {
            return 0;
        }
        let mut taken = 0;
        for some in ids.chunks(PIECE) {
            let began = self.service.now().moment;
            let bytes = self.service.store().figures().disk_bytes;
            match self.server.take(author, some).await {
                Ok(held) => taken += held.iter().filter(|held| **held).count() as u64,
                Err(refusal) => {
                    tracing::warn!(%refusal, "what is lacking here could not be taken");
                    break;
                }
            }
            if let Some(pace) = self.pace {
                let came = self
                    .service
                    .store()
                    .figures()
                    .disk_bytes
                    .saturating_sub(bytes);
                let due = Duration::from_millis(came.saturating_mul(1000) / pace);
                let took = self.service.now().moment.since(began);
                let clock = self.service.world().clock();
                if let Some(early) = due.checked_sub(took).filter(|early| !early.is_zero()) {
                    clock.sleep(early).await;
                }
            }
        }
        taken
    }
}

/// A keeper to be compared with.
struct Due {
    peer: PeerKey,
    keeper: RemoteKeeper,
    ground: Ground,
}

impl<W: World> Service<W> {
    /// Compares for as long as the service runs.
    pub(super) async fn keep_healing(self) {
        let mut remembered = self.remember_who_was_away().await;
        loop {
            let news = self.0.heal.notified();
            let clock = self.world().clock();
            clock.within(clock.idly(LOOK_AGAIN), news).await;
            if self.roster().member(&self.me()).is_none() {
                continue;
            }
            self.forget_former_keepers().await;
            let absent = self.look_who_is_away();
            self.write_who_is_away(&mut remembered).await;
            if self.due(&absent).is_empty() {
                continue;
            }
            self.until_quiet().await;
            self.heal(&absent).await;
        }
    }

    /// What a Box had that belongs no more is no copy: else it would seem that there are enough of what it had.
    async fn forget_former_keepers(&self) {
        let former = self.roster().former();
        // Who was brought back may leave again.
        let is_former = |key: &PeerKey| former.iter().any(|member| member.key == *key);
        self.0.healing.borrow_mut().former.retain(is_former);
        for member in former {
            let is_news = self.0.healing.borrow_mut().former.insert(member.key);
            if is_news {
                self.store().forget_holder(member.key).await;
            }
        }
    }

    /// Who was not met in earlier runs.
    async fn remember_who_was_away(&self) -> Unmet {
        let bytes = self.world().disk().read_small(UNMET_PATH).await;
        let bytes = bytes.ok().flatten();
        let unmet = bytes.and_then(|bytes| Unmet::decode(&bytes).ok());
        let unmet = unmet.unwrap_or_default();
        self.0.healing.borrow_mut().away = Away::after(&unmet.members);
        unmet
    }

    /// Whole hours alone are written down: at most once an hour for each member that is away, and never for a nap.
    async fn write_who_is_away(&self, remembered: &mut Unmet) {
        let members = self.0.healing.borrow().away.hours();
        if members == remembered.members {
            return;
        }
        remembered.members = members;
        let disk = self.world().disk();
        // Without it they are counted anew, so that it cannot be written is no trouble.
        if let Err(error) = disk
            .replace_small(UNMET_PATH, &remembered.encode(), false)
            .await
        {
            tracing::debug!(%error, "who was not met is not written down");
        }
    }

    fn look_who_is_away(&self) -> Vec<PeerKey> {
        let members: Vec<_> = self.roster().members().iter().map(|m| m.key).collect();
        let mut there = self.in_touch();
        there.push(self.me());
        let now = self.now().moment;
        let mut healing = self.0.healing.borrow_mut();
        healing.away.look(&members, &there, now);
        healing.forget_all_but(&members);
        healing.away.absent(self.keeper_patience())
    }

    /// How long a keeper may stay away before its copies count no more and are made elsewhere.
    pub(super) fn keeper_patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.roster().keeper_away_hours()) * 3600)
    }

    /// Who is to be compared with now.
    fn due(&self, absent: &[PeerKey]) -> Vec<Due> {
        let places = self.places_now(absent);
        let [a, b, c, d, e, f, g, h, ..] = places.mark();
        let places = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let (now, mine) = (self.now().moment, self.store().unbroken());
        let sessions = self.mesh().map(crate::path::Mesh::sessions);
        let healing = self.0.healing.borrow();
        let due = sessions
            .unwrap_or_default()
            .into_iter()
            .filter_map(|session| {
                let peer = session.peer();
                // Who did not say yet how it stands is asked when it did.
                let room = self.room_of(peer)?;
                let ground = Ground {
                    line: healing.lines.get(&peer).copied().unwrap_or(0),
                    mine,
                    theirs: room.unbroken,
                    places,
                    their_chunks: room.chunks,
                    taken: healing.compared.taken,
                };
                is_due(healing.last.get(&peer), &ground, now).then(|| Due {
                    peer,
                    keeper: RemoteKeeper::new(session),
                    ground,
                })
            });
        due.collect()
    }

    fn places_now(&self, absent: &[PeerKey]) -> Places {
        Host::places(self).without(absent)
    }

    /// Waits until nothing was kept here for a moment.
    async fn until_quiet(&self) {
        for _ in 0..QUIET_TRIES {
            let commits = self.store().figures().commits;
            self.world().clock().sleep(QUIET).await;
            if self.store().figures().commits == commits {
                return;
            }
        }
    }

    /// What is most endangered first, of all keepers; then the rest, gently; then what is here and belongs elsewhere.
    async fn heal(&self, absent: &[PeerKey]) {
        let Some(server) = self.0.server.get() else {
            return;
        };
        let least = Host::places(self).least;
        let mut open = Vec::new();
        for due in self.due(absent) {
            let mut fetching = Fetching {
                service: self,
                server: server.clone(),
                pace: None,
            };
            let before = self.0.healing.borrow().last.get(&due.peer).copied();
            if before.is_some_and(|before| before.ground.theirs != due.ground.theirs) {
                self.store().forget_holder(due.peer).await;
            }
            let lost = match before {
                Some(before) => before.ground.mine != due.ground.mine,
                None => self.0.damaged_at_start.get() > 0,
            };
            self.take_heads_again(&due.keeper, self.look_back(due.peer, lost))
                .await;
            let outcome = self.compare_with(&due, absent, least, &mut fetching).await;
            open.push((due, outcome));
        }
        for (mut due, urgent) in open {
            let mut fetching = Fetching {
                service: self,
                server: server.clone(),
                pace: Some(REPAIR_BYTES_PER_SECOND),
            };
            let mut outcome = urgent;
            // Until nothing more comes: what was just taken is compared once more, so that who holds it is known and not assumed.
            let mut again = outcome.as_ref().is_ok_and(|outcome| outcome.has_differed);
            while again {
                outcome = self.compare_with(&due, absent, 0, &mut fetching).await;
                again = outcome.as_ref().is_ok_and(|outcome| outcome.taken > 0);
                due.ground.taken = self.compared().taken;
            }
            self.note_comparison(&due, outcome);
            self.hand_on(&due, absent).await;
        }
        let places = self.places_now(absent);
        let copies = self.store().copies(self.me(), &places).await;
        let now = self.world().clock().wall();
        self.0.healing.borrow_mut().copies = Some((copies, now));
        self.look_whether_start_is_healed().await;
        self.look_whether_told_is_over().await;
    }

    /// Whether it was compared with each of them since it lost anything, and nothing was lacking here. With nobody it never is.
    pub(super) fn is_whole_beside(&self, others: &[PeerKey]) -> bool {
        let mine = self.store().unbroken();
        let healing = self.0.healing.borrow();
        let is_whole = |peer: &PeerKey| {
            let last = healing.last.get(peer);
            last.is_some_and(|last| last.is_whole && last.ground.mine == mine)
        };
        !others.is_empty() && others.iter().all(is_whole)
    }

    /// How far back the heads a keeper knows are fetched: once a day as far as one may ever have been missed.
    fn look_back(&self, peer: PeerKey, lost: bool) -> LookBack {
        if lost {
            return LookBack::All;
        }
        let now = self.now().moment;
        let mut healing = self.0.healing.borrow_mut();
        let last = healing.heads.entry(peer).or_insert(self.0.began);
        if now.since(*last) < HEADS_EVERY {
            return LookBack::ToTheFirstLacking;
        }
        *last = now;
        LookBack::Deep
    }

    async fn compare_with(
        &self,
        due: &Due,
        absent: &[PeerKey],
        copies_below: u8,
        fetching: &mut Fetching<'_, W>,
    ) -> Result<Outcome, AskError> {
        let places = Host::places(self);
        let pair = Pair {
            store: self.store(),
            me: self.me(),
            keeper: &due.keeper,
            peer: due.peer,
            places: &places,
            absent,
            salt: u64::from_le_bytes(self.world().entropy().bytes()),
        };
        let outcome = compare(&pair, copies_below, fetching).await?;
        self.0.healing.borrow_mut().compared.add(&outcome);
        if outcome.taken > 0 {
            tracing::info!(from = %name_of(&self.roster(), due.peer), taken = outcome.taken, lacking = outcome.lacking_here,
                "took what was lacking here, found by comparing");
        }
        Ok(outcome)
    }

    fn note_comparison(&self, due: &Due, outcome: Result<Outcome, AskError>) {
        let name = name_of(&self.roster(), due.peer);
        let (is_whole, is_even, open) = match outcome {
            Ok(outcome) => {
                tracing::debug!(peer = %name, ?outcome, "compared");
                let open = outcome.lacking_here - outcome.taken;
                (outcome.is_whole(), outcome.is_even(), open)
            }
            Err(error) => {
                tracing::debug!(peer = %name, %error, "could not be compared to the end");
                (false, false, 0)
            }
        };
        let last = Last {
            ground: due.ground,
            at: self.now().moment,
            is_whole,
            is_even,
        };
        let mut healing = self.0.healing.borrow_mut();
        healing.open.insert(due.peer, open);
        healing.last.insert(due.peer, last);
    }

    /// Names to a keeper what is here and belongs there and not here: it takes what it lacks. What is here stays.
    async fn hand_on(&self, due: &Due, absent: &[PeerKey]) {
        let places = self.places_now(absent);
        let mut after = None;
        loop {
            let pair = (self.me(), due.peer);
            let (named, more) = self
                .store()
                .extras_for(pair, &places, after, ASK_IDS_MAX)
                .await;
            for (author, ids) in named {
                let Ok(held) = due.keeper.pull(author, ids.clone()).await else {
                    return;
                };
                self.store()
                    .note_answer(due.peer, ids.into_iter().zip(held));
            }
            after = more;
            if after.is_none() {
                return;
            }
        }
    }

    /// What comparing came to in this run.
    pub(super) fn compared(&self) -> Compared {
        self.0.healing.borrow().compared
    }

    /// How many copies there are of what is kept here, for people; counted at the end of each comparison.
    pub(super) fn copies_view(&self) -> Option<CopiesView> {
        let healing = self.0.healing.borrow();
        let (copies, at) = healing.copies?;
        Some(CopiesView {
            chunks: copies.chunks,
            enough: copies.enough,
            few: copies.few,
            extra: copies.extra,
            taken: healing.compared.taken,
            lacking: healing.open.values().sum(),
            compared_seconds: at.seconds,
            compared_with: u32::try_from(healing.open.len()).unwrap_or(u32::MAX),
        })
    }
}
