//! Copies that are made again: of this Box's older snapshots, and of everything a former Box took, when a Box is removed or lost,
//! when a keeper was started anew, and whenever it turns out that some are missing.
//!
//! Each author sees to its own snapshots. A former author cannot, so the member that ranks first for it among those in reach of
//! each other does; when two think they are it, the work is done twice and nothing else. Newest first, one question at a time, never
//! while a snapshot is being taken. What was confirmed is remembered durably and stands while the keeper's own mark says that it lost
//! nothing since, for one sweep period; then, and after any loss, everything is asked again.

use std::collections::BTreeMap;
use std::time::Duration;

use smol_str::SmolStr;

use super::Service;
use super::copying::Came;
use super::left_alone::What;
use super::views::name_of;
use crate::author::{Placement, Seen};
use crate::console::control::{FormerView, MendingView};
use crate::format::mended::{self as record, Confirmed};
use crate::keeper::{Keepers, MemberView, placement};
use crate::roster::{Member, Removal, Roster};
use crate::terms::limits::MENDED_MAX;
use crate::terms::{ChunkId, PeerKey, SnapshotNumber, Stamp};
use crate::world::{Clock, Disk, World};

/// Whatever nobody said: how often it is looked whether something is to be done.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// What the copies of former authors' and older snapshots have come to. One entry for each pair of members.
#[derive(Debug, Default)]
pub struct Mended {
    /// Grows when more has to be on those who remain.
    places: u64,
    /// When it last did.
    since: Option<Stamp>,
    done: BTreeMap<(PeerKey, PeerKey), Pass>,
    /// What is being done.
    pub(super) now: Option<MendingView>,
}

/// Where what was confirmed is remembered.
const PATH: &str = "mended";

/// A keeper confirmed all of an author's snapshots up to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pass {
    places: u64,
    unbroken: u64,
    newest: SnapshotNumber,
    /// When all of them were asked for.
    since: Stamp,
    /// The keeper's process of which this was told.
    seen_in: Option<u64>,
}

impl Pass {
    /// Up to which snapshot nothing has to be asked again within so many days. A clock that says less than then is wrong.
    fn stands_to(
        &self,
        (places, unbroken): (u64, u64),
        days: u16,
        now: Stamp,
    ) -> Option<SnapshotNumber> {
        let age = now.seconds.saturating_sub(self.since.seconds);
        let is_so = self.places == places && self.unbroken == unbroken;
        let is_young = (0..=i64::from(days) * 24 * 3600).contains(&age);
        (is_so && is_young).then_some(self.newest)
    }
}

/// Members, their sites, and the copies each chunk has: what placement depends on.
fn placed(roster: &Roster) -> (Vec<(PeerKey, SmolStr)>, u8) {
    let members = roster.members().into_iter();
    let mut members: Vec<_> = members.map(|member| (member.key, member.site)).collect();
    members.sort_unstable();
    (members, roster.factors().0)
}

/// Whether somebody who was a keeper before has to hold more now: then what was confirmed says too little.
pub fn places_more(before: &Roster, after: &Roster) -> bool {
    let (members, factor) = placed(before);
    places_more_than(&members, factor, after)
}

fn places_more_than(members: &[(PeerKey, SmolStr)], factor: u8, after: &Roster) -> bool {
    let remains =
        |(key, site): &(PeerKey, SmolStr)| after.member(key).is_some_and(|now| now.site == *site);
    !members.iter().all(remains) || factor < after.factors().0
}

impl<W: World> Service<W> {
    /// Which placement counts now; it changes when keepers have to hold more.
    pub(super) fn places(&self) -> u64 {
        self.0.mended.borrow().places
    }

    /// Nobody's earlier word says enough any more.
    pub(super) fn places_changed(&self) {
        {
            let mut mended = self.0.mended.borrow_mut();
            mended.places += 1;
            mended.since = Some(self.world().clock().wall());
        }
        self.0.protection.borrow_mut().forget();
        self.0.proven.notify_waiters();
        for session in self
            .mesh()
            .map(crate::path::Mesh::sessions)
            .unwrap_or_default()
        {
            let service = self.clone();
            let peer = session.peer();
            self.world()
                .spawn(async move { service.prove_to_peer(peer).await });
        }
        self.0.mend.notify_one();
    }

    /// Looks after copies for as long as the service runs.
    pub(super) async fn keep_mending(self) {
        self.remember_mended().await;
        loop {
            let news = self.0.mend.notified();
            let clock = self.world().clock();
            clock.within(clock.idly(LOOK_AGAIN), news).await;
            if self.roster().member(&self.me()).is_none() {
                continue;
            }
            // A store that is not where it was knows no history.
            if self.store().is_lost() {
                continue;
            }
            let authors = self.to_mend();
            self.lacking_only_of(&authors);
            self.mark_the_rest(&authors).await;
            for (author, newest) in authors {
                for peer in self.in_reach() {
                    if peer == author || self.is_busy() {
                        continue;
                    }
                    self.see_to(author, newest, peer).await;
                }
            }
        }
    }

    /// Sees to it that a keeper has its share of an author's snapshots, as far as that is not known.
    async fn see_to(&self, author: PeerKey, newest: SnapshotNumber, peer: PeerKey) {
        let Some(unbroken) = self.unbroken_of(peer).await else {
            return;
        };
        let now = self.world().clock().wall();
        let places = self.places();
        let before = self.0.mended.borrow().done.get(&(author, peer)).copied();
        let days = self.roster().sweep_period_days();
        let ground = (places, unbroken);
        let stands_to = before.and_then(|pass| pass.stands_to(ground, days, now));
        if stands_to == Some(newest) {
            self.say_it_stands(author, peer);
            self.nothing_lacks((author, peer), (ground, newest)).await;
            return;
        }
        let moment = self.now().moment;
        let lacking_to = {
            let lacking = self.0.lacking.borrow();
            lacking.stands_to((author, peer), ground, moment)
        };
        if lacking_to == Some(newest) {
            return;
        }
        if self.is_left_alone((What::AllOf(author), peer)) {
            return;
        }
        let after = stands_to.or(lacking_to).unwrap_or(SnapshotNumber(0));
        let mut seen = Seen::default();
        let end = self
            .copy_all(author, (after, newest), peer, &mut seen)
            .await;
        if let (Some(_), Some(lost)) = (end, seen.nowhere.known())
            && self.places() == places
        {
            let is_some_asked = stands_to.is_none() && lacking_to.is_some();
            self.0.lacking.borrow_mut().note(
                (author, peer),
                lost,
                (ground, newest),
                (is_some_asked, moment),
            );
            self.mark_what_lacks(author, newest).await;
        }
        // Of what was lost before nobody was asked.
        let is_whole = end == Some(Came::Whole) && (stands_to.is_some() || lacking_to.is_none());
        {
            let mut mended = self.0.mended.borrow_mut();
            mended.now = None;
            if is_whole && mended.places == places {
                let since = before.filter(|_| stands_to.is_some());
                let pass = Pass {
                    places,
                    unbroken,
                    newest,
                    since: since.map_or(now, |before| before.since),
                    seen_in: self.0.boots.borrow().get(&peer).copied(),
                };
                mended.done.insert((author, peer), pass);
            } else if stands_to.is_none() && mended.done.remove(&(author, peer)).is_none() {
                return;
            }
        }
        self.write_mended().await;
    }

    /// There is more of an author's snapshots than was seen to: what keepers confirmed up to a number says too little.
    pub(super) fn looked_after_anew(&self, author: PeerKey) {
        let mut mended = self.0.mended.borrow_mut();
        mended.done.retain(|(of, _), _| *of != author);
        self.0.left_alone.borrow_mut().end_all_of(author);
        self.0.mend.notify_one();
    }

    /// Told once of each process that a keeper runs as.
    fn say_it_stands(&self, author: PeerKey, keeper: PeerKey) {
        let boot = self.0.boots.borrow().get(&keeper).copied();
        let mut mended = self.0.mended.borrow_mut();
        let Some(pass) = mended.done.get_mut(&(author, keeper)) else {
            return;
        };
        if std::mem::replace(&mut pass.seen_in, boot) != boot {
            let roster = self.roster();
            tracing::info!(author = %name_of(&roster, author), keeper = %name_of(&roster, keeper), newest = pass.newest.0,
                "what it confirmed before stands");
        }
    }

    /// What a keeper compares itself by; asked anew of each process it runs as.
    async fn unbroken_of(&self, peer: PeerKey) -> Option<u64> {
        if peer == self.me() {
            return Some(self.store().unbroken());
        }
        if self.room_of(peer).is_none()
            && let Some(session) = self.mesh().and_then(|mesh| mesh.session(peer))
        {
            self.look_at_room(&session).await;
        }
        self.room_of(peer).map(|room| room.unbroken)
    }

    /// Takes up what was confirmed to an earlier run, unless keepers have to hold more since.
    async fn remember_mended(&self) {
        let bytes = self.world().disk().read_small(PATH).await.ok().flatten();
        let Some(known) = bytes.and_then(|bytes| record::Mended::decode(&bytes).ok()) else {
            return;
        };
        if places_more_than(&known.members, known.factor, &self.roster()) {
            return;
        }
        let mut mended = self.0.mended.borrow_mut();
        if mended.places > 0 {
            return;
        }
        for one in known.confirmed {
            let pass = Pass {
                places: 0,
                unbroken: one.unbroken,
                newest: one.newest,
                since: one.since,
                seen_in: None,
            };
            mended.done.insert((one.author, one.keeper), pass);
        }
    }

    /// Without it all is asked again after a start, so that it cannot be written is no trouble.
    async fn write_mended(&self) {
        let (members, factor) = placed(&self.roster());
        let confirmed = {
            let mended = self.0.mended.borrow();
            let valid = mended.done.iter();
            let valid = valid.filter(|(_, pass)| pass.places == mended.places);
            let confirmed = valid.map(|((author, keeper), pass)| Confirmed {
                author: *author,
                keeper: *keeper,
                newest: pass.newest,
                unbroken: pass.unbroken,
                since: pass.since,
            });
            confirmed.take(MENDED_MAX).collect()
        };
        let bytes = record::Mended {
            members,
            factor,
            confirmed,
        }
        .encode();
        if let Err(error) = self.world().disk().replace_small(PATH, &bytes, false).await {
            tracing::debug!(%error, "what was confirmed is not written down");
        }
    }

    /// All of this Box's own snapshots are to be confirmed anew by every keeper.
    pub(super) fn confirm_own_anew(&self) {
        let me = self.me();
        let mut mended = self.0.mended.borrow_mut();
        mended.done.retain(|(author, _), _| *author != me);
        drop(mended);
        self.0.left_alone.borrow_mut().end_all_of(me);
        self.0.lacking.borrow_mut().ask_anew();
        self.0.mend.notify_one();
    }

    /// Whether a snapshot is being taken or let go: then keepers are asked for nothing else.
    pub(super) fn is_busy(&self) -> bool {
        self.running_snapshot().is_some() || self.is_forgetting()
    }

    /// This Box, and members with a live session.
    fn in_reach(&self) -> Vec<PeerKey> {
        let sessions = self
            .mesh()
            .map(crate::path::Mesh::sessions)
            .unwrap_or_default();
        let mut reach: Vec<_> = sessions.iter().map(|session| session.peer()).collect();
        reach.push(self.me());
        reach
    }

    /// Authors this Box looks after, each with its newest snapshot known here.
    fn to_mend(&self) -> Vec<(PeerKey, SnapshotNumber)> {
        let mut newest = self.store().newest_heads();
        newest.retain(|(author, _)| {
            *author == self.me() || self.guardian_of(*author) == Some(self.me())
        });
        newest
    }

    /// Who looks after a former author: the first in its ranking of those in reach.
    fn guardian_of(&self, author: PeerKey) -> Option<PeerKey> {
        let former = self.roster().former();
        if !former.iter().any(|member| member.key == author) {
            return None;
        }
        let reach = self.in_reach();
        let members = self.keepers().members();
        let there: Vec<MemberView> = members
            .into_iter()
            .filter(|member| reach.contains(&member.key))
            .collect();
        let ranked = placement::ranking(ChunkId(author.0), author, &there);
        ranked.first().copied()
    }

    /// Where an author's chunks belong.
    pub(super) fn placement_of(&self, author: PeerKey, without: Option<PeerKey>) -> Placement {
        let mut members = self.keepers().members();
        members.retain(|member| Some(member.key) != without);
        let (factor, _) = self.roster().factor_for(author, without);
        Placement { members, factor }
    }

    /// What copies are being made again now, and since when more had to be.
    pub(super) fn mending_view(&self) -> (Option<MendingView>, Option<i64>) {
        let mended = self.0.mended.borrow();
        (mended.now.clone(), mended.since.map(|since| since.seconds))
    }

    /// How the snapshots of former Boxes stand, as far as this Box looks after them.
    pub(super) fn former_views(&self) -> Vec<FormerView> {
        let roster = self.roster();
        let newest = self.store().newest_heads();
        let mended = self.0.mended.borrow();
        let view = |member: &Member| {
            let (_, number) = newest.iter().find(|(author, _)| *author == member.key)?;
            let guardian = self.guardian_of(member.key);
            let (factor, _) = roster.factor_for(member.key, None);
            let others = roster.members();
            let whole = others
                .iter()
                .filter(|other| {
                    let pass = mended.done.get(&(member.key, other.key));
                    pass.is_some_and(|pass| pass.places == mended.places && pass.newest == *number)
                })
                .count();
            let copies = usize::from(factor).saturating_sub(others.len() - whole);
            Some(FormerView {
                name: member.name.to_string(),
                is_lost: member.removed == Some(Removal::Lost),
                newest: number.0,
                looked_after_by: guardian.map(|guardian| name_of(&roster, guardian)),
                copies: (guardian == Some(self.me())).then_some(copies as u64),
                factor: u32::from(factor),
            })
        };
        roster.former().iter().filter_map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_confirmed_stands_while_nothing_was_lost_or_placed_anew_for_one_period() {
        let at = |day: i64| Stamp {
            seconds: day * 24 * 3600,
            nanos: 0,
        };
        let pass = Pass {
            places: 3,
            unbroken: 7,
            newest: SnapshotNumber(9),
            since: at(100),
            seen_in: None,
        };
        let stands = |places, unbroken, day| pass.stands_to((places, unbroken), 30, at(day));
        assert_eq!(stands(3, 7, 100), Some(SnapshotNumber(9)));
        assert_eq!(stands(3, 7, 130), Some(SnapshotNumber(9)));
        assert_eq!(
            stands(3, 7, 131),
            None,
            "it is asked again from time to time"
        );
        assert_eq!(stands(3, 7, 99), None, "its clock is wrong");
        assert_eq!(stands(3, 8, 100), None, "the keeper lost something");
        assert_eq!(stands(4, 7, 100), None, "it has to hold more");
    }
}
