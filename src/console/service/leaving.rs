//! A Box leaves: drained first, or shut out at once since it is lost.
//!
//! **Drained**: every snapshot of every author, the leaving Box's own among them, is seen onto those who remain, as they will be placed
//! then; the tombstone is signed when a whole pass found everything there and no new snapshot. It can be interrupted and repeated: what
//! was copied stays. **Lost**: a permanent tombstone and a new key epoch in one change of the roster; copies are made again
//! afterwards. Both refuse where the leaving Box has the last copy of something, unless told in full words.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Service;
use super::backwards::Backwards;
use super::job::{Job, Work};
use super::last_copies;
use super::views::name_of;
use crate::author::{self, Seen};
use crate::console::cli::{FULL_WORDS, Guests};
use crate::console::control::{Counted, JobOutcome, ProgressView, Removal, RemovedView};
use crate::console::fault::{Exit, Fault};
use crate::format::roster::{Subject, Value};
use crate::roster::{Member, RosterError, SetError};
use crate::terms::{PeerKey, SnapshotNumber};
use crate::world::World;

/// A Box that is leaving. Goes on when the command that asked for it ends.
pub struct Leaving {
    asked: Removal,
    peer: PeerKey,
    /// Who is shut out with it: brought in by it, and nobody's.
    guests: Vec<Member>,
    view: RefCell<LeavingView>,
}

/// How far a removal is.
#[derive(Debug, Clone, Default)]
pub struct LeavingView {
    /// The Box that leaves.
    pub name: String,
    /// What is done now, as a person would say it.
    phase: String,
    /// Whose snapshots are looked at.
    author: String,
    /// Which keeper is asked.
    keeper: String,
    /// Which snapshot.
    number: u64,
    /// Snapshots looked at, once for each keeper.
    snapshots: u64,
    /// Of so many, as far as is known.
    snapshots_all: u64,
    /// Chunks confirmed.
    chunks: u64,
}

impl Leaving {
    /// How far it is.
    pub fn view(&self) -> LeavingView {
        self.view.borrow().clone()
    }

    /// How far it is, for people.
    pub fn progress(&self) -> ProgressView {
        let view = self.view.borrow();
        let phase = match view.author.is_empty() {
            true => view.phase.clone(),
            false => format!(
                "{}: snapshot {} of {} at {}, {} chunks confirmed",
                view.phase, view.number, view.author, view.keeper, view.chunks
            ),
        };
        let total = (view.snapshots_all > 0).then(|| view.snapshots_all.max(view.snapshots));
        ProgressView {
            phase,
            counted: Some(Counted {
                what: "snapshots".into(),
                done: view.snapshots,
                total,
            }),
            ..ProgressView::default()
        }
    }
}

fn refused(what: impl Into<String>, todo: impl Into<String>) -> Fault {
    Fault::new(what, "Nobody was removed.", todo)
}

impl<W: World> Service<W> {
    /// Begins to remove a Box, or goes on with it.
    pub(super) fn begin_leaving(&self, asked: &Removal) -> Result<Rc<Job>, Fault> {
        let roster = self.roster();
        let Removal { name, lost, .. } = asked;
        let name = name.as_str();
        self.refuse_if_removed("Nobody was removed.")?;
        // One that left in good order still has keys: it can be shut out when it is lost later.
        let drained = || lost.then(|| roster.drained(name)).flatten();
        let Some(member) = roster.by_name(name).or_else(drained) else {
            let former = roster.former();
            if former.iter().any(|member| member.name == name) {
                let todo = "`reserve peers` shows who belongs.";
                return Err(
                    refused(format!("\"{name}\" was removed before"), todo).exit(Exit::Usage)
                );
            }
            let known: Vec<_> = roster
                .members()
                .into_iter()
                .map(|other| other.name)
                .collect();
            let todo = format!("Choose one of: {}.", known.join(", "));
            let what = format!("no Box of this reserve is called \"{name}\"");
            return Err(refused(what, todo).exit(Exit::Usage));
        };
        if *lost && member.key == self.me() {
            let todo = "Say so on another Box of the reserve.";
            return Err(refused("this Box itself cannot be lost to itself", todo).exit(Exit::Usage));
        }
        if member.key != self.me() && asked.this_box {
            let what = format!("{name} is not this Box, which --this-box means");
            let todo = format!(
                "Without --this-box {name} leaves; this Box is called {}.",
                self.0.name
            );
            return Err(refused(what, todo).exit(Exit::Usage));
        }
        if member.key == self.me() && !asked.this_box {
            let what = format!("{name} is this Box itself: it would leave for ever");
            let todo =
                "If another one is meant, name that; if this Box is to leave, add --this-box.";
            return Err(refused(what, todo).exit(Exit::Usage));
        }
        let guests = if *lost {
            self.guests_to_shut_out(&member, asked.guests)?
        } else {
            Vec::new()
        };
        let is_removal = |job: &Job| matches!(job.work, Work::Remove(_)) && job.goes_on();
        if let Some(running) = self.find_job(is_removal)
            && let Work::Remove(leaving) = &running.work
        {
            if leaving.asked == *asked && leaving.peer == member.key {
                return Ok(running);
            }
            let what = format!("{} is being removed now", leaving.view().name);
            let todo = "Wait for its end; `reserve jobs` shows how far it is.";
            return Err(refused(what, todo));
        }
        let job = self.new_job(Work::Remove(Leaving {
            asked: asked.clone(),
            peer: member.key,
            guests,
            view: RefCell::new(LeavingView {
                name: member.name.to_string(),
                ..LeavingView::default()
            }),
        }));
        let (service, running) = (self.clone(), Rc::clone(&job));
        self.world().spawn(async move {
            let Work::Remove(leaving) = &running.work else {
                return;
            };
            running.begin();
            let end = Box::pin(service.remove(&member, &running, leaving)).await;
            if let Err(fault) = &end {
                tracing::warn!(%fault, "a Box was not removed");
            }
            running.finish(end.map(JobOutcome::Removed));
        });
        Ok(job)
    }

    async fn remove(
        &self,
        member: &Member,
        job: &Job,
        leaving: &Leaving,
    ) -> Result<RemovedView, Fault> {
        let lost = leaving.asked.lost;
        // Left where it stands: what was copied stays, and nothing was signed.
        tokio::select! {
            biased;
            () = job.cancelled() => return Err(job.was_cancelled()),
            looked = self.look_before(member, leaving) => looked?,
        }
        job.too_late();
        leaving.view.borrow_mut().phase = "signing".into();
        let own = &self.0.identity.signing;
        let entropy = self.world().entropy();
        let also = || leaving.guests.iter();
        let (epoch, begun) = self
            .change_roster(|roster, secrets| {
                for out in std::iter::once(member).chain(also()) {
                    roster.set(Subject::Peer(out.key), Value::Removed { lost }, own)?;
                }
                let begun = lost.then(|| roster.begin_epoch(secrets, own, entropy));
                let begun = match begun.transpose() {
                    Ok(begun) => begun.is_some(),
                    // It is out all the same: no session begins with its key.
                    Err(SetError::NoEpochLeft) => false,
                    Err(error) => return Err(error.into()),
                };
                Ok((secrets.epoch(roster), begun))
            })
            .await
            .map_err(|error: RosterError| refused(error.to_string(), ""))?;
        tracing::info!(name = %member.name, lost, "a Box was removed");
        let view = leaving.view();
        Ok(RemovedView {
            name: member.name.to_string(),
            lost,
            snapshots: view.snapshots,
            chunks: view.chunks,
            epoch: epoch.0,
            epoch_begun: begun,
            also: also().map(|guest| guest.name.to_string()).collect(),
        })
    }

    /// What comes before anything is signed: others have everything, or have it by then.
    async fn look_before(&self, member: &Member, leaving: &Leaving) -> Result<(), Fault> {
        let Removal { lost, forced, .. } = leaving.asked;
        if !lost {
            if !forced {
                self.refuse_below_minimum(member)?;
            }
            return self.drain(member, leaving).await;
        }
        // One that left before has no copies that count.
        if !forced && member.removed.is_none() {
            self.refuse_last_copies(member, leaving).await?;
        }
        Ok(())
    }

    /// Whoever has a lost Box may have brought in another one of its own, which would be sealed the new secrets: a person must say whose
    /// the Boxes are that came in by its word.
    fn guests_to_shut_out(
        &self,
        lost: &Member,
        guests: Option<Guests>,
    ) -> Result<Vec<Member>, Fault> {
        let mut came = self.roster().brought_in_by(&[lost.key]);
        came.retain(|guest| guest.key != self.me());
        match guests {
            _ if came.is_empty() => Ok(came),
            Some(Guests::Remove) => Ok(came),
            Some(Guests::Keep) => Ok(Vec::new()),
            None => {
                let names: Vec<_> = came.iter().map(|guest| guest.name.as_str()).collect();
                let names = names.join(", ");
                let what = format!(
                    "by the word of {} or of a Box that was lost before came in: {names}. Whoever has it may have brought in a Box of their own, which would be given the new keys",
                    lost.name
                );
                let todo = "`reserve peers` shows where they are. If all of them are yours, add --guests keep; if not, --guests remove shuts all of them out too.";
                Err(refused(what, todo))
            }
        }
    }

    /// The minimum a person asked for must be possible with those who remain.
    fn refuse_below_minimum(&self, leaving: &Member) -> Result<(), Fault> {
        // Without a word of a person the minimum follows the number of Boxes; one Box alone protects nothing.
        let least = self.roster().said_minimum().map_or(1, usize::from);
        let others = self.roster().members().len().saturating_sub(2);
        if others >= least {
            return Ok(());
        }
        let what = format!(
            "without {} there would be {others} other Boxes for each file, and {least} copies are the minimum",
            leaving.name
        );
        let todo = format!(
            "Take another Box in first (`reserve invite`), or say {FULL_WORDS} if that is what you want."
        );
        Err(refused(what, todo))
    }

    /// Shutting out must not take away what nobody else has.
    async fn refuse_last_copies(&self, lost: &Member, leaving: &Leaving) -> Result<(), Fault> {
        leaving.view.borrow_mut().phase = "looking whether others have everything".into();
        let guests = leaving.guests.iter().map(|guest| guest.key);
        let out: Vec<_> = std::iter::once(lost.key).chain(guests).collect();
        let looked = || leaving.view.borrow_mut().snapshots += 1;
        let last = self.last_copies(&out, looked).await;
        match last_copies::refusal(&self.roster(), &[lost.name.as_str()], &last) {
            Some((what, todo)) => Err(refused(what, todo)),
            None => Ok(()),
        }
    }

    /// Sees everything onto those who remain.
    ///
    /// What others put on the leaving Box between the last pass and the tombstone is not seen here, and need not be: whoever hears of the
    /// tombstone forgets what was confirmed (`places_changed`), so no snapshot counts as protected by such a copy; a snapshot that was
    /// under way has all its shares asked anew (`snapshot_taken` compares `places`), and its author, which still has the files, brings
    /// them to those who remain. Each such chunk also has its other copies, since one keeper is never all of a factor above one.
    async fn drain(&self, member: &Member, leaving: &Leaving) -> Result<(), Fault> {
        let mut passed: BTreeMap<PeerKey, SnapshotNumber> = BTreeMap::new();
        loop {
            let (there, away) = self.remaining(&[member.key]);
            if !away.is_empty() && !leaving.asked.forced {
                let away: Vec<_> = away
                    .iter()
                    .map(|peer| name_of(&self.roster(), *peer))
                    .collect();
                let what = format!(
                    "{} cannot be asked whether everything {} has is there too",
                    away.join(", "),
                    member.name
                );
                let todo = format!("Repeat it when they are back, or say {FULL_WORDS}.");
                return Err(refused(what, todo));
            }
            self.know_all_heads().await;
            let mut newest = self.store().newest_heads();
            newest.retain(|(author, number)| passed.get(author) < Some(number));
            if newest.is_empty() {
                return Ok(());
            }
            {
                let mut view = leaving.view.borrow_mut();
                view.phase = "copying to those who remain".into();
                for (author, number) in &newest {
                    let peers = there.iter().filter(|peer| *peer != author).count();
                    let heads = self
                        .store()
                        .heads_between(*author, SnapshotNumber(0), *number);
                    view.snapshots_all += (heads * peers) as u64;
                }
            }
            for (author, number) in newest {
                for peer in there.iter().filter(|peer| **peer != author) {
                    self.drain_to(member, leaving, author, number, *peer)
                        .await?;
                }
                passed.insert(author, number);
            }
        }
    }

    async fn drain_to(
        &self,
        member: &Member,
        leaving: &Leaving,
        author: PeerKey,
        newest: SnapshotNumber,
        peer: PeerKey,
    ) -> Result<(), Fault> {
        let (keepers, keyring) = (self.keepers(), self.keyring());
        let placement = self.placement_of(author, Some(member.key));
        let (whose, keeper) = (
            name_of(&self.roster(), author),
            name_of(&self.roster(), peer),
        );
        let mut seen = Seen::default();
        let mut heads = Backwards::from(author, newest);
        while let Some(head) = heads.next(self).await {
            if self.has_let_go(&head).await {
                leaving.view.borrow_mut().snapshots += 1;
                continue;
            }
            {
                let mut view = leaving.view.borrow_mut();
                view.author.clone_from(&whose);
                view.keeper.clone_from(&keeper);
                view.number = head.head.number.0;
            }
            let done =
                author::catch_up_with(&keepers, &keyring, &head, &placement, &mut seen, peer).await;
            let trouble = match done {
                Ok(done) => {
                    let mut view = leaving.view.borrow_mut();
                    view.snapshots += 1;
                    view.chunks += done.confirmed;
                    let lacks = done.needed - done.confirmed;
                    (lacks > 0).then(|| format!("{lacks} chunks are nowhere in reach"))
                }
                Err(error) => Some(error.to_string()),
            };
            let Some(trouble) = trouble else { continue };
            if leaving.asked.forced {
                tracing::warn!(author = %whose, keeper = %keeper, %trouble, "removed in spite of it");
                continue;
            }
            let what = format!(
                "{keeper} could not be given its share of snapshot {} of {whose}: {trouble}",
                head.head.number
            );
            let todo = format!(
                "What was copied stays; repeat it to go on. To remove {} all the same, say {FULL_WORDS}.",
                member.name
            );
            return Err(refused(what, todo));
        }
        Ok(())
    }
}
