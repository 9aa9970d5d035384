//! Snapshots as jobs: one at a time, in the order asked for.
//!
//! Whoever asks while one waits for its turn follows that one; whoever asks while one runs gets a new one, since the walk may have
//! passed by what was changed a moment ago.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::job::{Asked, Job, Taking, Work};
use super::{Service, views};
use crate::author::{self, AuthorIdentity, DataSetConfig, KeeperShare, Options, SnapshotError};
use crate::console::control::{JobOutcome, SnapshotOutcome};
use crate::console::fault::{Exit, Fault};
use crate::console::protectable;
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::format::message::Refusal;
use crate::keeper::Keepers;
use crate::path::Mesh;
use crate::roster::{Config, DataSet};
use crate::terms::PeerKey;
use crate::world::{Clock, World};

/// Keepers are asked for every chunk of an unchanged snapshot anew after this long.
const CONFIRM_EVERY: Duration = Duration::from_secs(24 * 3600);

impl<W: World> Service<W> {
    pub(super) fn author_identity(&self) -> AuthorIdentity {
        let secrets = self.secrets();
        let keys = secrets
            .data_keys_of(self.epoch())
            .expect("the present epoch is one whose secret this Box has");
        let older = secrets.held().into_iter().rev();
        let older = older
            .filter(|epoch| *epoch < self.epoch())
            .filter_map(|epoch| secrets.data_keys_of(epoch).map(Rc::new));
        AuthorIdentity {
            signing: self.0.identity.signing.clone(),
            reserve: self.roster().reserve(),
            line: self.roster().lineage(self.me()),
            choices: self.roster().choices(self.me()),
            older: older.collect(),
            keys: Rc::new(keys),
            keyring: self.keyring(),
            suite: self.roster().chunk_suite(),
        }
    }

    /// What opens chunks of any epoch.
    pub(super) fn keyring(&self) -> author::Keyring {
        let service = self.clone();
        Rc::new(move |epoch| service.secrets().data_keys_of(epoch))
    }

    /// Takes up what `box.toml` names now.
    async fn read_data_sets(&self) -> Result<Vec<DataSet>, Fault> {
        let config = Config::load(self.world().disk()).await.map_err(|error| {
            Fault::from_sentence(
                &error.to_string(),
                "No snapshot was taken.",
                "Correct box.toml, then `reserve snapshot --wait`.",
            )
        })?;
        if let Some(dir) = self.0.state_dir.get()
            && let Some((set, why)) = config.data.iter().find_map(|set| {
                let why = protectable::is_own_state(dir, Path::new(&set.path))?;
                Some((set, why))
            })
        {
            return Err(Fault::new(
                format!("box.toml: data set {} {why}", set.name),
                "No snapshot was taken.",
                "Name a directory beside it in box.toml, then `reserve snapshot --wait`.",
            ));
        }
        let before = self.0.data.replace(config.data.clone());
        if before != config.data {
            let setting = [EventFact::new(FactName::Setting, "data")];
            let reporter = self.reporter();
            reporter.tell(EventKind::ConfigurationChanged, Subject::Itself, &setting);
        }
        Ok(config.data)
    }

    /// Starts a snapshot, or gives the one that is about to start.
    pub(super) async fn begin_snapshot(&self, asked: Asked) -> Result<Rc<Job>, Fault> {
        if self.roster().member(&self.me()).is_none() {
            return Err(Fault::new(
                "this Box was removed from its reserve: nobody keeps anything for it",
                "Its snapshots are kept by the others.",
                "To use it again, take it in anew: `reserve join` with an empty --dir.",
            ));
        }
        if self.read_data_sets().await?.is_empty() {
            return Err(Fault::new(
                "this Box has no data sets",
                "Nothing was changed.",
                "Name what to protect with `reserve data add NAME=PATH`.",
            ));
        }
        let serves = |job: &Job| {
            job.waits()
                && job.goes_on()
                && matches!(&job.work, Work::Snapshot(taking) if taking.asked.serves(asked))
        };
        if let Some(job) = self.find_job(serves) {
            return Ok(job);
        }
        let job = self.new_job(Work::snapshot(asked));
        let (service, running) = (self.clone(), Rc::clone(&job));
        self.world().spawn(async move {
            let Work::Snapshot(taking) = &running.work else {
                return;
            };
            let _turn = service.0.snapshot_turn.lock().await;
            if running.end().is_some() {
                return;
            }
            running.begin();
            let taken = Box::pin(async {
                let end = service.take_snapshot(taking).await;
                // Whoever asked is told; so is everybody else.
                end.inspect_err(|fault| service.tell_failed(&fault.what))
            });
            // Left where it stands, as a power cut would leave it: nothing of it is published.
            let end = tokio::select! {
                biased;
                () = running.cancelled() => {
                    let number = [EventFact::new(FactName::Number, running.id)];
                    let reporter = service.reporter();
                    reporter.tell(EventKind::SnapshotCancelled, Subject::Itself, &number);
                    Err(running.was_cancelled())
                }
                end = taken => end,
            };
            if let Err(fault) = &end {
                tracing::warn!(%fault, "the snapshot was not taken");
            }
            let now = service.world().clock().now();
            service.0.schedule.borrow_mut().ended(now, end.is_ok());
            running.finish(end.map(|outcome| JobOutcome::Snapshot(Box::new(outcome))));
        });
        Ok(job)
    }

    async fn take_snapshot(&self, job: &Taking) -> Result<SnapshotOutcome, Fault> {
        let sets: Vec<_> = self
            .read_data_sets()
            .await?
            .into_iter()
            .map(|set| DataSetConfig {
                name: set.name,
                path: set.path.into_bytes(),
            })
            .collect();
        let began = self.world().clock().wall();
        let options = Options {
            accept_loss: job.asked.accept_loss,
            try_anyway: job.asked.try_anyway,
            only_news: job.asked.only_news,
            sizes: self.0.sizes,
            ..Options::default()
        };
        if job.asked.only_news
            && !job.asked.accept_loss
            && let Some(report) = self.still(&sets).await
        {
            self.tell_snapshot(&Ok(report.clone()));
            self.0.looked.set(Some(began));
            let many = sets.len();
            return Ok(views::outcome(&self.roster(), &report, &job.progress, many));
        }
        let places = self.places();
        let report = author::publish(
            self.world(),
            &self.keepers(),
            &self.author_identity(),
            &sets,
            &options,
            &job.progress,
        )
        .await;
        if let Some(signed) = job.progress.signed.take() {
            self.note_signed(&signed);
        }
        // Keepers that counted may be gone, and others be placed on: nothing is known then but what they say when they are asked again.
        let report = report.map(|mut report| {
            if places != self.places() {
                report.copies = 0;
            }
            report
        });
        self.tell_snapshot(&report);
        let report = match report {
            Ok(report) => report,
            Err(SnapshotError::NobodyKeeps(refusal)) => {
                return Err(self.nobody_keeps(refusal).await);
            }
            Err(error) => {
                let exit = match error {
                    SnapshotError::DataSetMissing { .. } => Exit::NotSafe,
                    _ => Exit::Failed,
                };
                let unchanged = "No snapshot was taken; what keepers have is unchanged.";
                let todo = "Look at `reserve status`, then `reserve snapshot --wait`.";
                return Err(Fault::from_sentence(&error.to_string(), unchanged, todo).exit(exit));
            }
        };
        self.0.looked.set(Some(began));
        self.0.asked_all.set(Some(self.world().clock().now()));
        // What they keep for this Box is another figure by now.
        for session in self.mesh().map(Mesh::sessions).unwrap_or_default() {
            let service = self.clone();
            self.world().spawn(async move {
                let _ = service.look_at_room(&session).await;
            });
        }
        self.snapshot_taken(&report, places);
        Ok(views::outcome(
            &self.roster(),
            &report,
            &job.progress,
            sets.len(),
        ))
    }

    /// The newest snapshot, if it is still what is there and its copies need not be confirmed anew: all keepers in reach confirmed
    /// all of it within a day and in their present run, none of them found damage since, and there are enough of them.
    async fn still(&self, sets: &[DataSetConfig]) -> Option<author::SnapshotReport> {
        let asked = self.0.asked_all.get()?;
        if self.world().clock().now().since(asked) >= CONFIRM_EVERY {
            return None;
        }
        let (head, standing) = self.standing().await?;
        let copies = u8::try_from(standing.copies).unwrap_or(u8::MAX);
        let copies_min = self.keepers().factors().1;
        let complete = self.0.protection.borrow().complete(head.head.number);
        let is_sound = |peer: PeerKey| {
            complete.contains(&peer) && self.room_of(peer).is_some_and(|room| room.damaged == 0)
        };
        let mut others = self.mesh().map(Mesh::sessions).unwrap_or_default();
        others.retain(|session| session.peer() != self.me());
        if copies < copies_min || !others.iter().all(|session| is_sound(session.peer())) {
            return None;
        }
        let share = |key: &PeerKey| KeeperShare {
            key: *key,
            needed: 0,
            confirmed: 0,
            refused: 0,
            refusal: None,
            has_head: true,
        };
        let shares = complete.iter().map(share).collect();
        match author::still(self.world(), sets, shares, (copies, copies_min)).await {
            Ok(report) => report.filter(|report| report.number == head.head.number),
            Err(error) => {
                tracing::warn!(%error, "a look without asking keepers failed; they are asked");
                None
            }
        }
    }

    /// Every keeper that could be reached refused: with what each says of its room.
    async fn nobody_keeps(&self, refusal: Refusal) -> Fault {
        let mut said = Vec::new();
        for session in self.mesh().map(Mesh::sessions).unwrap_or_default() {
            self.look_at_room(&session).await;
            let name = views::name_of(&self.roster(), session.peer());
            let why = self.refusal_in_words(session.peer(), refusal);
            said.push(format!("{name}: {why}"));
        }
        Fault::new(
            SnapshotError::NobodyKeeps(refusal).to_string(),
            "Earlier snapshots are unchanged.",
            said.join(". "),
        )
    }
}
