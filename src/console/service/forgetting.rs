//! Letting snapshots go: by the rule of retention once a month on each keeper, or at a person's word; and taking it back.
//!
//! Decided and said in `author::release`; here it is put together with who is in touch. One at a time, and never while a snapshot is taken:
//! what is being sent belongs to no snapshot yet. What was let go is left alone by everything else this Box does: whoever claims it again
//! would take it back.

use std::rc::Rc;
use std::time::Duration;

use super::Service;
use super::job::{Job, Work};
use super::letting_go::{Deed, Forgetting};
use super::views::{name_of, snapshot_id_of};
use crate::author::release::{
    self, Asked, Cancelled, Forgotten, Known, Means, ReleaseError, Share,
};
use crate::console::control::{
    ForgetCall, ForgetShare, ForgetView, JobOutcome, LeavingSnapshot, SnapshotView,
    StayingSnapshot, WaitingView,
};
use crate::console::fault::{Exit, Fault};
use crate::console::text;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::format::head::SignedHead;
use crate::format::release::Waiting;
use crate::format::roster::Retention;
use crate::keeper::{AskError, Keepers};
use crate::terms::{HeadHash, PeerKey, SnapshotNumber};
use crate::world::{Clock, World};

/// How often it is looked whether something is to be let go or taken back.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How long after its start a Box looks for the first time, so that it has met the others.
const FIRST_LOOK: Duration = Duration::from_secs(300);
/// A keeper that takes longer to say what waits there is left out.
const PATIENCE: Duration = Duration::from_secs(10);

impl<W: World> Service<W> {
    /// Looks every hour whether something is to be let go, or taken back at a keeper that was away.
    pub(super) async fn keep_forgetting(self) {
        let mut wait = FIRST_LOOK;
        loop {
            self.world().clock().sleep(wait).await;
            wait = LOOK_EVERY;
            if self.roster().member(&self.me()).is_none() {
                continue;
            }
            if self.running_snapshot().is_some() {
                wait = FIRST_LOOK;
                continue;
            }
            let forgotten = self.forgotten().await;
            if !forgotten.to_cancel().is_empty() {
                // How it went is in the log; who did not hear it is asked again.
                let _ = self.begin_forgetting(Deed::Undo).ended().await;
            }
            let forgotten = self.forgotten().await;
            self.waiting_now().await;
            if self.is_anybody_due(&forgotten).await {
                let rule = self.roster().retention();
                let asked = match rule == Retention::default() {
                    true => Asked::Nothing,
                    false => Asked::Rule(rule),
                };
                let _ = self.begin_forgetting(Deed::ByItself(asked)).ended().await;
            }
        }
    }

    /// Whether some keeper in reach is to be compared with what is needed, and would hear it.
    async fn is_anybody_due(&self, forgotten: &Forgotten) -> bool {
        for peer in self.due_for_release(forgotten) {
            let Some(keeper) = self.keepers().reach(peer) else {
                continue;
            };
            let asking = release::waiting(&keeper);
            let clock = self.world().clock();
            if let Some(Ok(waiting)) = clock.within(PATIENCE, asking).await
                && waiting.is_none_or(|waiting| waiting.open_seconds > 0)
            {
                return true;
            }
        }
        false
    }

    fn due_for_release(&self, forgotten: &Forgotten) -> Vec<PeerKey> {
        let has_rule = self.roster().retention() != Retention::default();
        let now = self.world().clock().wall();
        let members = self.keepers().members().into_iter().map(|one| one.key);
        members
            .filter(|peer| forgotten.is_due(*peer, has_rule, now))
            .collect()
    }

    /// What a person typed.
    pub(super) fn begin_forgetting_as(&self, call: ForgetCall) -> Result<Rc<Job>, Fault> {
        self.refuse_if_removed("Nothing was given up.")?;
        let rule = self.roster().retention();
        if call.by_rule && rule == Retention::default() {
            return Err(Fault::new(
                "no rule of retention is set",
                "Nothing was given up.",
                "Set one with `reserve config set retention \"last=10 daily=30 monthly=24\"`, or name snapshots.",
            )
            .exit(Exit::Usage));
        }
        let asked = match (call.by_rule, call.snapshots.is_empty()) {
            (true, _) => Asked::Rule(rule),
            (false, true) => Asked::Nothing,
            (false, false) => Asked::These(call.snapshots),
        };
        Ok(self.begin_forgetting(match (call.undo, call.yes) {
            (true, _) => Deed::Undo,
            (false, true) => Deed::Forget(asked),
            (false, false) => Deed::Preview(asked),
        }))
    }

    /// Begins, or gives the one that waits or runs if it does just that.
    pub(super) fn begin_forgetting(&self, deed: Deed) -> Rc<Job> {
        let is_same = |job: &Job| {
            job.goes_on() && matches!(&job.work, Work::Forget(other) if other.deed == deed)
        };
        if let Some(running) = self.find_job(is_same) {
            return running;
        }
        let begun = self.new_job(Work::Forget(Forgetting::new(deed)));
        let (service, job) = (self.clone(), Rc::clone(&begun));
        self.world().spawn(async move {
            let Work::Forget(forgetting) = &job.work else {
                return;
            };
            // A snapshot may take days; taking back waits for none.
            let quiet = match &forgetting.deed {
                Deed::Forget(_) | Deed::ByItself(_) => Some(service.0.snapshot_turn.lock().await),
                Deed::Preview(_) | Deed::Undo => None,
            };
            let _turn = service.0.forget_turn.lock().await;
            if job.end().is_some() {
                return;
            }
            job.begin();
            forgetting.has_turn.set(quiet.is_some());
            // Left where it stands: nothing was written down, and lists that were made are removed the next time.
            let end = tokio::select! {
                biased;
                () = job.cancelled() => Err(job.was_cancelled()),
                end = Box::pin(service.carry_out(&job, forgetting)) => end,
            };
            if let Err(fault) = &end {
                tracing::warn!(%fault, "snapshots were not let go");
            }
            forgetting.has_turn.set(false);
            job.finish(end.map(JobOutcome::Forgotten));
        });
        begun
    }

    async fn carry_out(&self, job: &Job, forgetting: &Forgetting) -> Result<ForgetView, Fault> {
        match &forgetting.deed {
            Deed::Preview(asked) => self.release((job, forgetting), asked, false).await,
            Deed::Forget(asked) | Deed::ByItself(asked) => {
                self.release((job, forgetting), asked, true).await
            }
            Deed::Undo => {
                job.too_late();
                self.undo(forgetting).await
            }
        }
    }

    async fn release(
        &self,
        (job, forgetting): (&Job, &Forgetting),
        asked: &Asked,
        says: bool,
    ) -> Result<ForgetView, Fault> {
        let (keepers, identity) = (self.patient(), self.author_identity());
        let means = Means {
            world: self.world(),
            keepers: &keepers,
            identity: &identity,
            progress: &forgetting.progress,
        };
        let decided = means.decide(asked).await;
        if says {
            self.tell_held(decided.as_ref().err());
        }
        let mut decided = decided.map_err(refused)?;
        if says {
            job.too_late();
            means.commit(&mut decided).await.map_err(refused)?;
            self.remember_forgotten().await;
        }
        let mut keepers = self.roster().members();
        if matches!(forgetting.deed, Deed::ByItself(_)) {
            let due = self.due_for_release(&*self.forgotten().await);
            keepers.retain(|member| due.contains(&member.key));
        }
        let mut shares = Vec::new();
        for member in &keepers {
            let share = match says {
                true => means.tell(&mut decided, member.key).await,
                false => means.look(&decided, member.key).await,
            };
            let share = share.map_err(refused)?;
            if says {
                tracing::info!(keeper = %member.name, ?share, "told what need not be kept");
            }
            shares.push(self.share_view(member.key, share));
            forgetting.asked_one(keepers.len());
        }
        let view = self.forget_view(says, &decided.leaving, &decided.staying, shares);
        if let Err(error) = decided.clean(self.world()).await {
            tracing::debug!(%error, "lists of what is needed are removed the next time");
        }
        if says {
            self.remember_forgotten().await;
            self.waiting_now().await;
            // What stays is claimed anew everywhere, long before anything is effective: a second look by other eyes.
            self.confirm_own_anew();
        }
        Ok(view)
    }

    async fn undo(&self, forgetting: &Forgetting) -> Result<ForgetView, Fault> {
        let (keepers, identity) = (self.patient(), self.author_identity());
        let means = Means {
            world: self.world(),
            keepers: &keepers,
            identity: &identity,
            progress: &forgetting.progress,
        };
        let all = release::undo(&means).await.map_err(refused)?;
        self.remember_forgotten().await;
        let mut shares = Vec::new();
        let many = all.len();
        for peer in all {
            let cancelled = release::cancel(&means, peer).await.map_err(refused)?;
            tracing::info!(keeper = %name_of(&self.roster(), peer), ?cancelled, "told that all of it stays");
            let why = match &cancelled {
                Ok(Cancelled::NothingWaited) => "nothing waited there".into(),
                Ok(Cancelled::All) => "all that waited there stays".into(),
                Ok(Cancelled::ChunksWait) => {
                    "what waited there stays as soon as it is asked for again, which begins now"
                        .into()
                }
                Err(error) => not_told(error),
            };
            shares.push(ForgetShare {
                keeper: name_of(&self.roster(), peer),
                is_told: cancelled.is_ok(),
                why: Some(why),
                ..ForgetShare::default()
            });
            forgetting.asked_one(many);
        }
        self.remember_forgotten().await;
        self.waiting_now().await;
        self.confirm_own_anew();
        Ok(ForgetView {
            undone: true,
            ..self.forget_view(true, &[], &[], shares)
        })
    }

    /// Whether snapshots are being let go now: what keepers claim for this Box is compared, so nothing else may be claimed.
    pub(super) fn is_forgetting(&self) -> bool {
        let has_turn =
            |job: &Job| matches!(&job.work, Work::Forget(forgetting) if forgetting.has_turn.get());
        self.find_job(has_turn).is_some()
    }

    /// What was let go, as it stands on the disk.
    pub(super) async fn forgotten(&self) -> Rc<Forgotten> {
        let known = self.0.forgotten.borrow().clone();
        match known {
            Some(known) => known,
            None => self.remember_forgotten().await,
        }
    }

    async fn remember_forgotten(&self) -> Rc<Forgotten> {
        let forgotten = match Forgotten::load(self.world().disk()).await {
            Ok(forgotten) => Rc::new(forgotten),
            Err(error) => {
                tracing::warn!(%error, "what was let go cannot be read: it is kept");
                Rc::default()
            }
        };
        *self.0.forgotten.borrow_mut() = Some(Rc::clone(&forgotten));
        forgotten
    }

    /// Whether this Box let a snapshot go: then it does not ask for it again.
    pub(super) async fn has_let_go(&self, head: &SignedHead) -> bool {
        let (author, number) = (head.head.author, head.head.number);
        author == self.me() && self.forgotten().await.has(number, &head.hash())
    }

    /// What waits at each keeper, as it was heard last.
    pub(super) fn released_views(&self) -> Vec<WaitingView> {
        let waiting = self.0.waiting.borrow();
        let view = |(peer, waiting): &(PeerKey, Waiting)| WaitingView {
            keeper: name_of(&self.roster(), *peer),
            snapshots: waiting.numbers.count(),
            chunks: waiting.chunks,
            bytes: waiting.bytes,
            effective_seconds: waiting.effective_seconds,
        };
        waiting.iter().map(view).collect()
    }

    /// Marks what leaves in a list of snapshots.
    pub(super) async fn mark_leaving(&self, list: &mut [(SnapshotView, HeadHash)]) {
        let (me, forgotten) = (self.me().to_string(), self.forgotten().await);
        let waiting = self.waiting_now().await;
        for (view, hash) in list.iter_mut().filter(|(view, _)| view.author_key == me) {
            let number = SnapshotNumber(view.number);
            let groups = waiting.iter().map(|(_, waiting)| waiting);
            let groups = groups.filter(|waiting| waiting.numbers.has(number));
            view.gone_in_seconds = groups.map(|waiting| waiting.effective_seconds).min();
            view.is_leaving = view.gone_in_seconds.is_some() || forgotten.has(number, hash);
        }
    }

    /// What waits at each keeper in reach.
    async fn waiting_now(&self) -> Vec<(PeerKey, Waiting)> {
        let mut all = Vec::new();
        for member in self.keepers().members() {
            let Some(keeper) = self.keepers().reach(member.key) else {
                continue;
            };
            let asking = release::waiting(&keeper);
            if let Some(Ok(Some(waiting))) = self.world().clock().within(PATIENCE, asking).await {
                all.push((member.key, waiting));
            }
        }
        self.0.waiting.borrow_mut().clone_from(&all);
        all
    }

    /// A rule that cannot be applied gives no space back: people hear of it.
    fn tell_held(&self, why: Option<&ReleaseError>) {
        let lasts = match why {
            Some(
                ReleaseError::Io(_)
                | ReleaseError::Unreadable { .. }
                | ReleaseError::Index(_)
                | ReleaseError::TooHigh
                | ReleaseError::NothingWouldStay
                | ReleaseError::TooMany,
            ) => true,
            Some(ReleaseError::Unknown(_) | ReleaseError::Ambiguous(_)) => return,
            // It passes when a snapshot is taken, or when the others are back.
            Some(
                ReleaseError::NothingYet | ReleaseError::MemoryBehind | ReleaseError::OthersMayKnow,
            )
            | None => false,
        };
        let why = why.map(ToString::to_string).unwrap_or_default();
        let reason = EventFact::new(FactName::Reason, why.as_str());
        self.reporter()
            .settle(lasts, EventKind::ReleaseHeld, Subject::Itself, &[reason]);
    }

    fn share_view(&self, peer: PeerKey, share: Result<Share, AskError>) -> ForgetShare {
        let keeper = name_of(&self.roster(), peer);
        match share {
            Ok(share) => ForgetShare {
                keeper,
                is_told: true,
                snapshots: share.numbers.count(),
                chunks: share.chunks,
                bytes: share.bytes,
                waiting_chunks: share.waiting.as_ref().map_or(0, |waiting| waiting.chunks),
                waiting_bytes: share.waiting.as_ref().map_or(0, |waiting| waiting.bytes),
                effective_seconds: share.waiting.map(|waiting| waiting.effective_seconds),
                why: None,
            },
            Err(error) => ForgetShare {
                keeper,
                why: Some(not_told(&error)),
                ..ForgetShare::default()
            },
        }
    }

    fn forget_view(
        &self,
        carried_out: bool,
        leaving: &[Known],
        staying: &[(Known, release::Stays)],
        keepers: Vec<ForgetShare>,
    ) -> ForgetView {
        let leaving = leaving.iter().map(|known| LeavingSnapshot {
            id: snapshot_id_of(&known.hash),
            number: known.number.0,
            taken: text::utc(known.taken.seconds),
            taken_seconds: known.taken.seconds,
        });
        let staying = staying.iter().map(|(known, why)| StayingSnapshot {
            id: snapshot_id_of(&known.hash),
            number: known.number.0,
            why: why.in_words(),
        });
        ForgetView {
            carried_out,
            undone: false,
            leaving: leaving.collect(),
            staying: staying.collect(),
            keepers,
            delay_days: self.roster().release_delay_days(),
        }
    }
}

fn not_told(error: &AskError) -> String {
    match error {
        AskError::Gone => "out of reach; it is told when it is back".into(),
        AskError::Refused(_) | AskError::Unanswered | AskError::Nonsense => {
            format!("{error}; it is told again later")
        }
    }
}

fn refused(error: ReleaseError) -> Fault {
    let exit = match error {
        ReleaseError::Unknown(_) | ReleaseError::Ambiguous(_) => Exit::Usage,
        ReleaseError::Unreadable { .. } | ReleaseError::Index(_) => Exit::Damaged,
        ReleaseError::Io(_)
        | ReleaseError::NothingYet
        | ReleaseError::MemoryBehind
        | ReleaseError::OthersMayKnow
        | ReleaseError::NothingWouldStay
        | ReleaseError::TooHigh
        | ReleaseError::TooMany => Exit::Failed,
    };
    let unchanged = "Nothing was given up.";
    let todo = "`reserve peers` shows who is in reach, `reserve snapshots` what there is.";
    Fault::from_sentence(&error.to_string(), unchanged, todo).exit(exit)
}
