//! The roster as it changes: made durable, told to everybody in reach, and what follows from it.
//!
//! A change of the roster may bring a new epoch's secret, make one necessary, or find somebody without it. All that is settled in
//! the one place where rosters are replaced, so that a secret is durable before the roster that names it.

use std::rc::Rc;
use std::time::Duration;

use super::Service;
use crate::console::control::ChangeView;
use crate::console::fault::{Exit, Fault};
use crate::format::message::{Message, Refusal};
use crate::format::roster::Facts;
use crate::monitor::Disagreement;
use crate::roster::{Removal, Roster, RosterError, Secrets};
use crate::session::Session;
use crate::terms::KeyEpoch;
use crate::world::{Clock, World};
use crate::{path, roster};

/// How long a peer may take to hear or tell the news.
const NEWS_PATIENCE: Duration = Duration::from_secs(10);
/// One that did not take it is told again after so long, then after twice as long each time.
const NEWS_AGAIN: Duration = Duration::from_secs(30);
/// And so often at the least.
const NEWS_AGAIN_MAX: Duration = Duration::from_secs(900);

impl<W: World> Service<W> {
    pub(super) fn secrets(&self) -> Rc<Secrets> {
        Rc::clone(&self.0.secrets.borrow())
    }

    /// The epoch everything new belongs to.
    pub(super) fn epoch(&self) -> KeyEpoch {
        self.secrets().epoch(&self.roster())
    }

    /// Whoever was removed changes nothing anybody would hear of.
    pub(super) fn refuse_if_removed(&self, unchanged: &str) -> Result<(), Fault> {
        if self.roster().member(&self.me()).is_some() {
            return Ok(());
        }
        Err(Fault::new(
            "this Box was removed from its reserve",
            unchanged,
            "Do it on another Box; to use this one again, `reserve join` it in an empty directory.",
        ))
    }

    /// Merges what somebody says of the roster; what changed is durable before it counts.
    pub(super) async fn take_in(&self, facts: &Facts) -> Result<(), Refusal> {
        let (mut apart, mut choices) = (Vec::new(), Vec::new());
        let taken = self
            .change_roster(|roster, _| {
                apart = roster.edits_apart(facts);
                choices = roster.choices_apart(facts);
                let merged = roster.merge(facts);
                if merged.refused.jumps + merged.refused.not_entitled > 0 {
                    tracing::warn!(refused = ?merged.refused, "a peer's roster says things nobody may say");
                }
                Ok(!merged.refused.foreign)
            })
            .await;
        if taken.is_ok() {
            self.tell_dropped(&apart, Disagreement::RosterField);
            self.tell_dropped(&choices, Disagreement::Choices);
        }
        match taken {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::NotUnderstood),
            Err(_) => Err(Refusal::DiskFailed),
        }
    }

    /// A peer's roster is this one: in a large reserve everybody hears the same from everybody.
    pub(super) async fn know_already(&self) -> Result<(), Refusal> {
        let seen_to = self.change_roster(|_, _| Ok(())).await;
        seen_to.map_err(|_| Refusal::DiskFailed)
    }

    /// Makes a roster durable, lets it count, and tells everybody in reach. Changes made meanwhile are merged in, never overwritten.
    pub(super) async fn keep_roster(&self, news: Roster) -> Result<(), RosterError> {
        self.change_roster(|roster, _| {
            if roster.merge(&news.to_facts()).refused.too_large {
                return Err(RosterError::Edit(
                    "the roster would be larger than it may be".into(),
                ));
            }
            Ok(())
        })
        .await
    }

    /// Changes a setting all Boxes share.
    pub(super) async fn set_config(&self, key: &str, text: &str) -> Result<ChangeView, Fault> {
        self.refuse_if_removed("Nothing was changed.")?;
        let by = &self.0.identity.signing;
        let changed = self
            .change_roster(|roster, _| roster.change_setting(key, text, by))
            .await;
        let (before, now) = changed.map_err(|error| {
            Fault::from_sentence(
                &error.to_string(),
                "Nothing was changed.",
                "Correct it and repeat the command.",
            )
            .exit(Exit::Usage)
        })?;
        tracing::info!(key, before = %before.value, now = %now.value, "a shared setting was changed");
        Ok(ChangeView::of(before, now))
    }

    /// Changes roster and secrets together. When `change` fails nothing is changed.
    pub(super) async fn change_roster<T>(
        &self,
        change: impl FnOnce(&mut Roster, &mut Secrets) -> Result<T, RosterError>,
    ) -> Result<T, RosterError> {
        let _turn = self.0.roster_turn.lock().await;
        let (before, had) = (self.roster(), self.secrets());
        let (mut roster, mut secrets) = (before.as_ref().clone(), had.as_ref().clone());
        let told = change(&mut roster, &mut secrets)?;
        self.settle_secrets(&mut roster, &mut secrets);
        let (now, had) = ((&roster, &secrets), (before.as_ref(), had.as_ref()));
        roster::keep(self.world().disk(), had, now).await?;
        if secrets.held() != had.1.held() {
            *self.0.secrets.borrow_mut() = Rc::new(secrets);
        }
        if roster != *before {
            self.roster_is(roster);
            self.tell_all();
        }
        Ok(told)
    }

    fn settle_secrets(&self, roster: &mut Roster, secrets: &mut Secrets) {
        let sessions = self.mesh().map(path::Mesh::sessions).unwrap_or_default();
        // Of those who notice at once the first is enough.
        let is_first = sessions
            .iter()
            .all(|session| roster.member(&session.peer()).is_none() || session.peer() > self.me());
        let entropy = self.world().entropy();
        match roster::settle(roster, secrets, &self.0.identity, is_first, entropy) {
            Ok(settled) if settled.begun => {
                tracing::info!("a new key epoch was begun: a lost Box knew the last");
            }
            Ok(settled) if settled.learned => {
                tracing::info!(
                    epochs = secrets.held().len(),
                    "the reserve has a new key epoch"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the reserve's secrets could not be seen to"),
        }
    }

    /// Whether two members may go on speaking in this session.
    pub(super) fn stands(&self, session: &Session) -> bool {
        self.roster().member(&session.peer()).is_some() && session.epoch() == Some(self.epoch())
    }

    /// Tells everybody in reach, and ends sessions that belong to an older epoch or with a Box that is out.
    fn tell_all(&self) {
        for session in self.mesh().map(path::Mesh::sessions).unwrap_or_default() {
            let peer = session.peer();
            let former = self.roster().former();
            let is_lost = former
                .iter()
                .any(|member| member.key == peer && member.removed == Some(Removal::Lost));
            if is_lost {
                tracing::info!(peer = %peer.short(), "shut out");
                session.close();
                continue;
            }
            let service = self.clone();
            self.world().spawn(async move {
                service.tell_until_heard(&session).await;
            });
        }
    }

    /// Tells one member how the roster is until it has it, the session ends, or there is something newer to tell. A session may live for
    /// months: whoever could not write it down, because its disk was full or slow for a while, must not wait for its next hello.
    pub(super) async fn tell_until_heard(&self, session: &Session) {
        let told = self.roster().hash();
        let mut pause = NEWS_AGAIN;
        loop {
            let is_heard = self.tell_roster(session).await;
            if !self.stands(session) {
                return session.close();
            }
            if is_heard {
                return;
            }
            let clock = self.world().clock();
            let is_over = clock.within(pause, session.closed()).await.is_some();
            if is_over || self.roster().hash() != told {
                return;
            }
            pause = (pause * 2).min(NEWS_AGAIN_MAX);
        }
    }

    /// Tells it once; whether there is no use in telling it again.
    async fn tell_roster(&self, session: &Session) -> bool {
        let body = Rc::new(self.roster().to_facts().encode());
        let telling = session.ask(Message::Roster, Some(body));
        let answer = self.world().clock().within(NEWS_PATIENCE, telling).await;
        match answer {
            Some(Ok((Message::Refused(Refusal::DiskFull | Refusal::DiskFailed), _))) | None => {
                false
            }
            // An end of the session is seen by whoever waits for it.
            Some(Ok(_) | Err(_)) => true,
        }
    }

    /// Two members that do not speak under the present epoch tell each other their rosters and nothing else: whoever was off
    /// learns the new secret so. Then they call each other again.
    pub(super) async fn exchange_news(self, session: Session) {
        let hear = async {
            while let Some(incoming) = session.next().await {
                if incoming.message != Message::Roster {
                    continue;
                }
                let answer = match Facts::decode(&incoming.body) {
                    Ok(facts) => self.take_in(&facts).await,
                    Err(_) => Err(Refusal::Damaged),
                };
                let answer = answer.map_or_else(Message::Refused, |()| Message::Done);
                return incoming.answer(answer, None).await;
            }
        };
        let tell = self.tell_roster(&session);
        let both = async { tokio::join!(hear, tell) };
        self.world().clock().within(NEWS_PATIENCE, both).await;
        session.close();
    }
}
