//! Snapshots of one author that bear one number: noticed, told while nothing decides which of them stands, and decided by a person.
//! And Boxes that run twice, which is where such snapshots come from.
//!
//! What they come to is `monitor`'s verdict over the heads in this Box's own store, where every Box's heads arrive; nothing else waits for it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Service;
use super::views::name_of;
use crate::console::control::{ConflictView, OpenConflict};
use crate::console::fault::{Exit, Fault};
use crate::dispatcher::{EventFact, EventKind, FactName, Subject};
use crate::format::head::SignedHead;
use crate::format::roster::Choice;
use crate::keeper::Store;
use crate::monitor::{Disagreement, GoesOn, Judged, Latest, judge};
use crate::terms::limits::{CHOICE_FOLLOWED_NUMBERS, HEADS_OF_ONE_NUMBER_MAX};
use crate::terms::{PeerKey, SnapshotNumber};
use crate::world::{Clock, Moment, World};

/// A Box of which only one process was met for this long runs once again. So does this one, when no other process signed for it.
const ONCE_AGAIN: Duration = Duration::from_secs(3600);

/// What was seen of snapshots that bear one number.
#[derive(Debug, Default)]
pub struct Seen {
    /// Numbers with several heads. What was there at the start was told by an earlier run.
    doubled: BTreeSet<(PeerKey, SnapshotNumber)>,
    /// What the verdict that stands was reached on.
    ground: Option<Ground>,
    open: Vec<(PeerKey, SnapshotNumber)>,
}

/// Heads and choices: while they are the same, so is the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ground {
    doubled: Vec<(PeerKey, SnapshotNumber)>,
    heads: usize,
    newest: Vec<(PeerKey, SnapshotNumber)>,
    choices: Vec<Vec<Choice>>,
}

impl Seen {
    /// Before anybody was met.
    pub fn at_start<W: World>(store: &Store<W>) -> Self {
        Self {
            doubled: store.doubled_numbers().into_iter().collect(),
            ..Self::default()
        }
    }
}

impl<W: World> Service<W> {
    /// Authors whose newest snapshots are in conflict, for people.
    pub(super) fn open_conflicts(&self) -> Vec<OpenConflict> {
        let roster = self.roster();
        let seen = self.0.conflicts.borrow();
        let open = seen.open.iter().map(|(author, number)| OpenConflict {
            author: name_of(&roster, *author),
            number: number.0,
        });
        open.collect()
    }

    /// Looks whether heads came that bear one number with others, or whether it was decided which stands.
    pub(super) async fn watch_conflicts(&self) {
        let ground = self.ground();
        if self.0.conflicts.borrow().ground.as_ref() == Some(&ground) {
            return;
        }
        let mut authors: Vec<_> = ground.doubled.iter().map(|(author, _)| *author).collect();
        authors.dedup();
        let mut open = Vec::new();
        for author in &authors {
            let mut numbers = ground.doubled.iter().filter(|(of, _)| of == author);
            let Some((_, first)) = numbers.next() else {
                continue;
            };
            let Some(judged) = self.judged_here(*author, *first).await else {
                // Its disk is in the way: what stood stands, and it is looked again.
                return;
            };
            self.tell_parted(*author, &judged);
            let number = self.settle_conflict(*author, &judged);
            open.extend(number.map(|number| (*author, number)));
        }
        for subject in self.reporter().subjects_of(EventKind::UnresolvedConflict) {
            if !matches!(&subject, Subject::Peer(author) if authors.contains(author)) {
                self.reporter()
                    .clear(EventKind::UnresolvedConflict, &subject, &[]);
            }
        }
        let mut seen = self.0.conflicts.borrow_mut();
        seen.open = open;
        seen.ground = Some(ground);
    }

    fn ground(&self) -> Ground {
        let roster = self.roster();
        let doubled = self.store().doubled_numbers();
        Ground {
            choices: doubled
                .iter()
                .map(|(author, _)| roster.choices(*author))
                .collect(),
            heads: self.store().figures().heads,
            newest: self.store().newest_heads(),
            doubled,
        }
    }

    /// What an author's heads in this store come to, from its first doubled number on, but not further back than choices are followed.
    async fn judged_here(&self, author: PeerKey, first: SnapshotNumber) -> Option<Judged> {
        let newest = super::gate::told_of(&self.store().newest_heads(), author);
        let followed = newest.0.saturating_sub(CHOICE_FOLLOWED_NUMBERS);
        let mut after = SnapshotNumber(first.0.max(followed).saturating_sub(2));
        let mut heads: Vec<SignedHead> = Vec::new();
        while after < newest {
            let page = self.store().heads(Some(author), after).await.ok()?;
            let Some(last) = page.last().map(|head| head.head.number) else {
                break;
            };
            after = last.max(SnapshotNumber(after.0 + 1));
            heads.extend(page);
        }
        Some(judge(&heads, &self.roster().choices(author)))
    }

    /// Says once of each snapshot of a number that another one bears that it is there.
    fn tell_parted(&self, author: PeerKey, judged: &Judged) {
        for conflict in &judged.conflicts {
            let numbers = conflict.from.0..=conflict.until.0;
            let mut seen = self.0.conflicts.borrow_mut();
            let new =
                numbers.filter(|number| seen.doubled.insert((author, SnapshotNumber(*number))));
            let Some(number) = new.last() else {
                continue;
            };
            drop(seen);
            let facts = [
                EventFact::new(FactName::Number, number),
                EventFact::new(FactName::Reason, Disagreement::HeadsOfOneNumber.reason()),
            ];
            self.reporter()
                .tell(EventKind::HistoryParted, Subject::Peer(author), &facts);
            // What it consists of may be on too few keepers yet.
            self.looked_after_anew(author);
        }
    }

    /// Tells whether a person has to choose; the number it is about.
    fn settle_conflict(&self, author: PeerKey, judged: &Judged) -> Option<SnapshotNumber> {
        let roster = self.roster();
        let subject = Subject::Peer(author);
        let open = judged.conflicts.iter().find(|conflict| conflict.is_open());
        let Some(open) = open else {
            let by = roster.chosen_by(author).map(|by| name_of(&roster, by));
            let by = by.map(|by| EventFact::new(FactName::By, by.as_str()));
            let now = match &judged.latest {
                Latest::Stands(head) => Some(EventFact::new(FactName::Now, head.short().as_str())),
                Latest::Nothing | Latest::Disputed(_) | Latest::Unseen(_) => None,
            };
            let facts: Vec<_> = now.into_iter().chain(by).collect();
            self.reporter()
                .clear(EventKind::UnresolvedConflict, &subject, &facts);
            return None;
        };
        let mut facts = vec![
            EventFact::new(FactName::Number, open.until.0),
            EventFact::new(FactName::Reason, Disagreement::HeadsOfOneNumber.reason()),
        ];
        if open.of_one_number >= HEADS_OF_ONE_NUMBER_MAX {
            facts.push(EventFact::new(FactName::Count, open.of_one_number as u64));
            facts.push(EventFact::new(
                FactName::CountMax,
                HEADS_OF_ONE_NUMBER_MAX as u64,
            ));
        }
        self.reporter()
            .raise(EventKind::UnresolvedConflict, subject, &facts);
        Some(open.until)
    }

    /// A person decides: this one stands.
    pub(super) async fn choose(&self, id: &str) -> Result<Vec<ConflictView>, Fault> {
        self.refuse_if_removed("Nothing was changed.")?;
        let (author, head) = self.side_called(id).await?;
        let choice = Choice {
            number: head.head.number,
            head: head.hash(),
            chunks: head.head.chunks,
        };
        // One that was chosen further on may go on from what is set aside now.
        let is_contrary = |old: &Choice| old.number > choice.number;
        let by = &self.0.identity.signing;
        self.change_roster(|roster, _| Ok(roster.choose(author, choice, is_contrary, by)?))
            .await
            .map_err(|error| {
                Fault::from_sentence(
                    &error.to_string(),
                    "Nothing was changed.",
                    "Choose on another Box, or repeat the command.",
                )
            })?;
        self.watch_conflicts().await;
        Ok(self.conflicts().await)
    }

    async fn side_called(&self, id: &str) -> Result<(PeerKey, SignedHead), Fault> {
        let id = id.to_ascii_lowercase();
        let mut sides: Vec<(PeerKey, SignedHead)> = Vec::new();
        for found in self.histories().await {
            for conflict in &found.judged.conflicts {
                let heads = conflict
                    .sides
                    .iter()
                    .filter_map(|side| found.head(&side.head));
                sides.extend(heads.map(|head| (found.author, head.clone())));
            }
        }
        let all: Vec<_> = sides
            .iter()
            .map(|(_, head)| super::views::snapshot_id(head))
            .collect();
        sides.retain(|(_, head)| id.len() >= 4 && head.hash().to_string().starts_with(&id));
        match (sides.len(), sides.pop()) {
            (1, Some(side)) => Ok(side),
            _ => {
                let todo = match all.as_slice() {
                    [] => {
                        "No two snapshots bear one number: there is nothing to choose.".to_owned()
                    }
                    some => format!(
                        "Choose one of {}: `reserve conflicts` shows them.",
                        some.join(", ")
                    ),
                };
                let what = format!("\"{}\" names no side of a conflict", id.escape_debug());
                Err(Fault::new(what, "Nothing was changed.", todo).exit(Exit::Usage))
            }
        }
    }

    /// A session with a process of a Box began.
    pub(super) fn note_process(&self, peer: PeerKey, boot: u64, now: Moment) {
        let mut processes = self.0.processes.borrow_mut();
        processes.met(peer, boot, now);
        if processes.runs_twice(&peer).is_some() {
            self.tell_twice(Subject::Peer(peer));
        }
    }

    /// Whoever ran twice and was met once only for a while runs once. Of this Box itself nobody else may have signed in that time, as far as
    /// heads came here: what was told of it outlives the process that told it, and there may be nothing new to sign for long.
    pub(super) fn watch_processes(&self, now: Moment) {
        for subject in self.reporter().subjects_of(EventKind::BoxRunsTwice) {
            let last = match &subject {
                Subject::Peer(peer) => self.0.processes.borrow().runs_twice(peer),
                Subject::Itself if self.is_overtaken() => continue,
                Subject::Itself => self.0.signed.borrow().overtaken(),
                _ => continue,
            };
            if now.since(last.unwrap_or(self.0.began)) < ONCE_AGAIN {
                continue;
            }
            if let Subject::Peer(peer) = &subject {
                self.0.processes.borrow_mut().forget(peer);
            }
            self.reporter()
                .clear(EventKind::BoxRunsTwice, &subject, &[]);
        }
    }

    /// Whether heads came here that stand further on than what this process signed: another one did.
    fn is_overtaken(&self) -> bool {
        let known = super::gate::told_of(&self.store().newest_heads(), self.me());
        self.0.signed.borrow().is_behind(known)
    }

    /// A head was signed, whatever became of its snapshot: if another process signed one since this process signed its last, this Box runs
    /// twice.
    pub(super) fn note_signed(&self, signed: &SignedHead) {
        let now = self.world().clock().now();
        let choices = self.roster().choices(self.me());
        let previous = signed.head.previous;
        let is_chosen = choices.iter().any(|choice| Some(choice.head) == previous);
        let goes_on = self.0.signed.borrow_mut().sign(signed, is_chosen, now);
        match goes_on {
            GoesOn::FromOwn => {
                self.reporter()
                    .clear(EventKind::BoxRunsTwice, &Subject::Itself, &[]);
            }
            GoesOn::FromAnother => self.tell_twice(Subject::Itself),
            GoesOn::FromBefore => {}
        }
    }

    fn tell_twice(&self, subject: Subject) {
        let reason = EventFact::new(FactName::Reason, Disagreement::BoxRunsTwice.reason());
        self.reporter()
            .raise(EventKind::BoxRunsTwice, subject, &[reason]);
    }
}
