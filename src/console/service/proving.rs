//! What makes a snapshot count: heads that travel to every keeper, and keepers that confirm their share anew whenever they return.

use std::time::Duration;

use super::Service;
use super::copying::Came;
use super::gate::told_of;
use super::left_alone::What;
use super::minding::has_lost;
use super::protection::Now;
use super::views::name_of;
use crate::author::{self, CatchUpError, SnapshotReport};
use crate::console::control::SnapshotOutcome;
use crate::format::head::SignedHead;
use crate::format::message::Refusal;
use crate::keeper::{Ask, AskError, Host, Keepers, RemoteKeeper, StoreError};
use crate::session::Session;
use crate::terms::{PeerKey, SnapshotNumber};
use crate::world::{Clock, World};

/// Among so many of an author's last heads one that is lacking here is asked for.
const HEADS_LOOKED_BACK: u64 = 100;

/// How far back heads are fetched, besides new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookBack {
    /// From the first that is lacking here. The last that is not lacking is fetched all the same: if it is another one than the one that is
    /// here, its author lost its memory, and numbers were used twice.
    ToTheFirstLacking,
    /// All of the last ones, whether their numbers are here or not.
    Deep,
    /// All there are: after a loss here any may be gone.
    All,
}
/// How long a keeper that did not confirm its share is left alone at least.
const ASK_AGAIN: Duration = Duration::from_secs(30);

impl<W: World> Service<W> {
    /// Tells where this Box is reached, if that is news. That it cannot be written down (a full disk) or told (no network yet) is no
    /// reason not to serve what is kept.
    pub(super) async fn announce(&self, addresses: &[std::net::SocketAddr]) {
        if addresses.is_empty() {
            tracing::warn!(
                "this machine has no address yet that others could call; what they knew before stays"
            );
            return;
        }
        let mut roster = self.roster().as_ref().clone();
        let told = match roster.set_addresses(&self.0.identity, addresses) {
            Ok(false) => return,
            Ok(true) => self.keep_roster(roster).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = told {
            tracing::warn!(%error, "where this Box is could not be written down; it calls the others itself");
        }
    }

    /// Fetches the heads a peer knows and we do not, so that any one keeper knows of every snapshot.
    pub(super) async fn take_heads(&self, session: &Session) {
        let keeper = RemoteKeeper::new(session.clone());
        let newest = &session.hello().heads;
        self.take_heads_of(&keeper, newest, LookBack::ToTheFirstLacking)
            .await;
    }

    /// Fetches what a keeper knows by now.
    pub(super) async fn take_heads_again(&self, keeper: &RemoteKeeper, back: LookBack) {
        let Ok(newest) = keeper.heads(None, SnapshotNumber(0)).await else {
            return;
        };
        let newest: Vec<_> = newest
            .iter()
            .map(|signed| (signed.head.author, signed.head.number))
            .collect();
        self.take_heads_of(keeper, &newest, back).await;
    }

    /// Learns of every snapshot anybody in reach knows now, this Box's own newest among them.
    pub(super) async fn know_all_heads(&self) {
        if let Some(mine) = self.newest_of_mine().await {
            self.know_own_head(&mine).await;
        }
        let sessions = self.mesh().map(crate::path::Mesh::sessions);
        for session in sessions.unwrap_or_default() {
            let keeper = RemoteKeeper::new(session);
            self.take_heads_again(&keeper, LookBack::ToTheFirstLacking)
                .await;
        }
    }

    async fn take_heads_of(
        &self,
        keeper: &RemoteKeeper,
        newest: &[(PeerKey, SnapshotNumber)],
        back: LookBack,
    ) {
        // A member may tell what it likes; authors that never belonged would fill this store's lists for ever.
        let newest = newest.iter().filter(|(author, _)| self.is_ours(*author));
        for (author, theirs) in newest {
            let ours = told_of(&self.store().newest_heads(), *author);
            let known = ours.min(*theirs);
            let last = SnapshotNumber(known.0.saturating_sub(HEADS_LOOKED_BACK));
            let (many, whole) = self.store().heads_whole_until(*author, last, known);
            let after = match back {
                LookBack::ToTheFirstLacking => SnapshotNumber(whole.0.saturating_sub(1)),
                LookBack::Deep => last,
                LookBack::All => SnapshotNumber(0),
            };
            if !self.take_heads_after(keeper, *author, after, *theirs).await {
                return;
            }
            let is_told_twice = back == LookBack::ToTheFirstLacking
                && whole == known
                && self.store().heads_whole_until(*author, last, known).0 as u64
                    > many as u64 + (theirs.0 - known.0);
            if is_told_twice && !self.take_heads_after(keeper, *author, last, *theirs).await {
                return;
            }
        }
    }

    /// Fetches an author's heads after a number. False if the keeper is gone.
    async fn take_heads_after(
        &self,
        keeper: &RemoteKeeper,
        author: PeerKey,
        mut after: SnapshotNumber,
        theirs: SnapshotNumber,
    ) -> bool {
        while after < theirs {
            let Ok(heads) = keeper.heads(Some(author), after).await else {
                return false;
            };
            let last = heads.iter().map(|head| head.head.number).max();
            let Some(last) = last.filter(|last| *last > after) else {
                break;
            };
            let mut failed = (0, None);
            for head in &heads {
                if let Err(error) = self.take_head(head).await {
                    failed = (failed.0 + 1, Some(error));
                }
            }
            if let (count, Some(last)) = failed {
                tracing::warn!(author = %author.short(), count, %last, "a head could not be kept");
            }
            after = last;
        }
        true
    }

    /// Keeps a head another keeper knows. One that cannot be kept stops no other.
    async fn take_head(&self, head: &SignedHead) -> Result<(), StoreError> {
        if head.head.reserve != self.roster().reserve() || !self.is_ours(head.head.author) {
            return Ok(());
        }
        match self.store().put_head(head).await {
            // One that left on its author's word is no news.
            Ok(_) | Err(StoreError::Forgotten) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The same for one of this Box's own.
    async fn know_own_head(&self, head: &SignedHead) {
        if let Err(error) = self.take_head(head).await {
            tracing::warn!(number = head.head.number.0, %error, "this Box's own store could not note its newest snapshot");
        }
    }

    /// A snapshot was taken: what was confirmed counts, and whoever did not confirm is asked until it does.
    pub(super) fn snapshot_taken(&self, report: &SnapshotReport, places: u64) {
        *self.0.latest.borrow_mut() = Some(report.head.clone());
        // Its author knows of it too, whoever else is in reach later; that is no copy.
        let (service, head) = (self.clone(), report.head.clone());
        self.world().spawn(async move {
            service.know_own_head(&head).await;
        });
        // Shares were reckoned when it began: if keepers have to hold more since, all of them are asked.
        let counts = places == self.places();
        for share in &report.keepers {
            if share.has_head && counts {
                self.takes_all(share.key);
                self.proven(share.key, report.number);
            } else if let Some(refusal) = share.refusal {
                self.0.refusing.borrow_mut().insert(share.key, refusal);
                self.tell_refusal(share.key, Some(refusal));
                self.ask_room_of(share.key);
            }
        }
        let behind = if counts {
            report.behind()
        } else {
            report.keepers.iter().map(|share| share.key).collect()
        };
        for peer in behind {
            let service = self.clone();
            self.world()
                .spawn(async move { service.prove_to_peer(peer).await });
        }
    }

    pub(super) fn now(&self) -> Now {
        let clock = self.world().clock();
        Now {
            wall: clock.wall(),
            moment: clock.now(),
        }
    }

    /// Whatever it refused before is over.
    fn takes_all(&self, peer: PeerKey) {
        self.0.left_alone.borrow_mut().end((What::Newest, peer));
        self.0.refusing.borrow_mut().remove(&peer);
        self.tell_refusal(peer, None);
    }

    fn proven(&self, peer: PeerKey, number: SnapshotNumber) {
        self.0
            .protection
            .borrow_mut()
            .proven(peer, number, self.now());
        self.0.proven.notify_waiters();
    }

    /// This Box's newest snapshot: of this run, or the last it remembers.
    async fn newest_of_mine(&self) -> Option<SignedHead> {
        let known = self.0.latest.borrow().clone();
        if known.is_some() {
            return known;
        }
        let newest = match author::last_head(self.world()).await {
            Ok(Some(newest)) => newest,
            // Forgotten, not undone: what this Box signed lies in the stores, its own too.
            Ok(None) => self.newest_in_store().await?,
            Err(error) => {
                tracing::warn!(%error, "the author's state cannot be read");
                return None;
            }
        };
        Some(self.0.latest.borrow_mut().get_or_insert(newest).clone())
    }

    /// The newest head of this Box that its own store has.
    async fn newest_in_store(&self) -> Option<SignedHead> {
        let me = self.me();
        let newest = self.store().newest_heads();
        let (_, number) = newest.into_iter().find(|(author, _)| *author == me)?;
        let before = SnapshotNumber(number.0.saturating_sub(1));
        let heads = self.store().heads(Some(me), before).await.ok()?;
        heads.into_iter().max_by_key(|signed| signed.head.number)
    }

    /// Has a keeper confirm its share of our newest snapshot, fetching what it lacks from the others.
    pub(super) async fn prove_to_peer(&self, peer: PeerKey) {
        // The snapshot that runs sees to every keeper when it ends; one question at a time is enough for the rest.
        if self.is_busy() || !self.0.proving.borrow_mut().insert(peer) {
            return;
        }
        self.ask_for_share(peer).await;
        self.0.proving.borrow_mut().remove(&peer);
    }

    async fn ask_for_share(&self, peer: PeerKey) {
        let Some(head) = self.newest_of_mine().await else {
            return;
        };
        let identity = self.author_identity();
        let number = head.head.number;
        let complete = self.0.protection.borrow().complete(number);
        let (places, room) = (self.places(), self.room_of(peer));
        let done =
            author::catch_up(&self.patient(), &identity.keyring, &head, &complete, peer).await;
        let has_lost = match (room, self.room_of(peer)) {
            (Some(before), Some(now)) => has_lost(&before, &now),
            (None, _) | (_, None) => false,
        };
        if matches!(done, Ok(_) | Err(CatchUpError::Ask(AskError::Refused(_)))) {
            self.0.hanging.borrow_mut().remove(&peer);
        }
        match done {
            // Keepers have to hold more since, or it lost something while it was asked: it is asked again.
            Ok(_) if has_lost || self.places() != places => self.lacks_something(peer, None),
            Ok(done) if done.has_head => {
                self.takes_all(peer);
                self.proven(peer, number);
                tracing::info!(peer = %peer.short(), number = number.0, "confirmed its share of the newest snapshot");
            }
            Ok(done) => {
                if self.leave_alone((What::Newest, peer), Came::NotAll) {
                    self.0.schedule.borrow_mut().want();
                    tracing::warn!(peer = %peer.short(), needed = done.needed, confirmed = done.confirmed, "has not all of its share");
                }
                self.lacks_something(peer, None);
            }
            Err(CatchUpError::Away | CatchUpError::Ask(AskError::Gone)) => {}
            Err(error) => {
                let (came, refusal) = match error {
                    CatchUpError::Ask(AskError::Refused(refusal)) => (Came::Refused, Some(refusal)),
                    _ => (Came::NotAll, None),
                };
                if self.leave_alone((What::Newest, peer), came) {
                    if let CatchUpError::Missing(_) = error {
                        self.0.schedule.borrow_mut().want();
                    }
                    tracing::warn!(peer = %peer.short(), %error, "could not confirm its share");
                }
                self.lacks_something(peer, refusal);
                if refusal.is_some() {
                    self.ask_room_of(peer);
                }
            }
        }
    }

    /// It takes no more: how much it has and may have is told with that.
    fn ask_room_of(&self, peer: PeerKey) {
        if let Some(session) = self.mesh().and_then(|mesh| mesh.session(peer)) {
            let service = self.clone();
            self.world().spawn(async move {
                let _ = service.look_at_room(&session).await;
            });
        }
    }

    fn lacks_something(&self, peer: PeerKey, refusal: Option<Refusal>) {
        self.0.protection.borrow_mut().disproven(peer);
        self.tell_refusal(peer, refusal);
        let mut refusing = self.0.refusing.borrow_mut();
        match refusal {
            Some(refusal) => refusing.insert(peer, refusal),
            None => refusing.remove(&peer),
        };
        drop(refusing);
        self.0.proven.notify_waiters();
    }

    /// A session with a peer began. A process that was started anew says again what it has before its word counts.
    pub(super) fn met_again(&self, peer: PeerKey, boot: u64) {
        self.note_process(peer, boot, self.world().clock().now());
        let before = self.0.boots.borrow_mut().insert(peer, boot);
        if before != Some(boot) {
            // What it said before it was started anew says nothing of how whole it is now.
            self.0.rooms.borrow_mut().remove(&peer);
        }
        if before.is_some_and(|before| before != boot) {
            self.0.protection.borrow_mut().disproven(peer);
        }
    }

    /// It lives, but left a question without an answer: what it confirmed before may be on a disk that hangs.
    pub(super) fn left_unanswered(&self, peer: PeerKey) {
        self.0.hanging.borrow_mut().insert(peer);
        self.lacks_something(peer, None);
    }

    /// Whether there is a session with it, and it answers what it is asked.
    pub(super) fn answers(&self, peer: PeerKey) -> bool {
        let has_session = self.mesh().is_some_and(|mesh| mesh.session(peer).is_some());
        has_session && !self.0.hanging.borrow().contains(&peer)
    }

    /// The keepers for one pass over them: none is waited for twice.
    pub(super) fn patient(&self) -> author::Patient<super::Directory<W>, W::Clock> {
        author::Patient::new(self.keepers(), self.world().clock())
    }

    /// Asks again from time to time: a keeper may have room again, its disk may work again, or the one it has to fetch from came.
    pub(super) async fn keep_proving(self) {
        loop {
            let clock = self.world().clock();
            clock.sleep(clock.idly(ASK_AGAIN)).await;
            for session in self
                .mesh()
                .map(crate::path::Mesh::sessions)
                .unwrap_or_default()
            {
                self.0
                    .protection
                    .borrow_mut()
                    .seen(session.peer(), self.world().clock().now());
                // One that is slow must not keep the others waiting.
                let service = self.clone();
                self.world()
                    .spawn(async move { service.look_after(&session).await });
            }
        }
    }

    /// Asks a peer for its room, and for its share of our newest snapshot unless it has confirmed that.
    pub(super) async fn look_after(&self, session: &Session) {
        let peer = session.peer();
        let is_answered = self.look_at_room(session).await;
        let Some(head) = self.newest_of_mine().await else {
            // There is nothing more to ask it about.
            if is_answered {
                self.0.hanging.borrow_mut().remove(&peer);
            }
            return;
        };
        let complete = self.0.protection.borrow().complete(head.head.number);
        let hangs = self.0.hanging.borrow().contains(&peer);
        let is_left = !hangs && self.is_left_alone((What::Newest, peer));
        if !complete.contains(&peer) && !is_left {
            self.prove_to_peer(peer).await;
        }
    }

    /// Waits until enough other Boxes confirmed a snapshot, or cannot any more since they have no room, and tells how it stands then.
    pub(super) async fn until_protected(&self, mut outcome: SnapshotOutcome) -> SnapshotOutcome {
        loop {
            let proven = self.0.proven.notified();
            tokio::pin!(proven);
            proven.as_mut().enable();
            let (willing, refused) = self.willing();
            for share in &mut outcome.keepers {
                share.refused = refused
                    .iter()
                    .find(|(name, _)| *name == share.name)
                    .map(|(_, why)| why.clone());
            }
            if outcome.protected || willing < outcome.factor_min as usize {
                return outcome;
            }
            if let Some((head, standing)) = self.standing().await
                && head.head.number.0 >= outcome.snapshot.number
                && standing.copies >= outcome.factor_min
            {
                outcome.protected = true;
                outcome.copies = standing.copies;
                let complete = self.0.protection.borrow().complete(head.head.number);
                let names: Vec<_> = complete
                    .iter()
                    .map(|peer| name_of(&self.roster(), *peer))
                    .collect();
                for share in outcome
                    .keepers
                    .iter_mut()
                    .filter(|share| names.contains(&share.name))
                {
                    share.confirmed = share.needed;
                }
                return outcome;
            }
            proven.await;
        }
    }

    /// How many other Boxes take what they are sent, and which do not and why.
    pub(super) fn willing(&self) -> (usize, Vec<(String, String)>) {
        let roster = self.roster();
        let refusing = self.0.refusing.borrow();
        let refused: Vec<_> = refusing
            .iter()
            .map(|(peer, why)| (name_of(&roster, *peer), self.refusal_in_words(*peer, *why)))
            .collect();
        let others = roster.members().len().saturating_sub(1);
        (others.saturating_sub(refused.len()), refused)
    }

    /// Names of the other Boxes that have not confirmed this Box's newest snapshot, and whether they are in reach.
    pub(super) fn unconfirmed(&self, number: SnapshotNumber) -> Vec<(String, bool)> {
        let complete = self.0.protection.borrow().complete(number);
        let me = self.me();
        let members = self.roster().members();
        let open = members
            .iter()
            .filter(|member| member.key != me && !complete.contains(&member.key));
        open.map(|member| (member.name.to_string(), self.answers(member.key)))
            .collect()
    }

    /// How this Box's newest snapshot stands.
    pub(super) async fn standing(&self) -> Option<(SignedHead, super::protection::Standing)> {
        let head = self.newest_of_mine().await?;
        let me = self.me();
        let others: Vec<_> = self
            .keepers()
            .members()
            .into_iter()
            .map(|member| member.key)
            .filter(|key| *key != me)
            .collect();
        let (factor, _) = self.keepers().factors();
        let mut protection = self.0.protection.borrow_mut();
        let now = self.now();
        for session in self
            .mesh()
            .map(crate::path::Mesh::sessions)
            .unwrap_or_default()
        {
            protection.seen(session.peer(), now.moment);
        }
        let patience = self.keeper_patience();
        let standing =
            protection.standing(head.head.number, &others, u32::from(factor), now, patience);
        Some((head, standing))
    }
}
