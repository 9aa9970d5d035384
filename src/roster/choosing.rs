//! What people chose where several snapshots of a Box bear one number. What follows from it is `monitor`'s.

use ed25519_dalek::SigningKey;

use super::{DroppedEdit, Roster, SetError};
use crate::format::roster::{Choice, Facts, SignedFact, Subject, Value};
use crate::terms::PeerKey;
use crate::terms::limits::CHOICES_MAX;

use super::merge::close;

/// The slot of choices.
const CHOSEN_SLOT: u8 = 13;

impl Roster {
    /// What was chosen between snapshots of a Box, by number, rising.
    #[must_use]
    pub fn choices(&self, author: PeerKey) -> Vec<Choice> {
        choices_in(self.chosen(author)).to_vec()
    }

    /// Who chose last between snapshots of a Box.
    #[must_use]
    pub fn chosen_by(&self, author: PeerKey) -> Option<PeerKey> {
        self.chosen(author).map(|signed| signed.fact.signer)
    }

    /// Chooses; what was chosen before of the same number, and what `is_contrary` to it, is taken back. The oldest give way.
    pub fn choose(
        &mut self,
        author: PeerKey,
        choice: Choice,
        is_contrary: impl Fn(&Choice) -> bool,
        by: &SigningKey,
    ) -> Result<(), SetError> {
        let mut choices = self.choices(author);
        if choices.contains(&choice) && !choices.iter().any(&is_contrary) {
            return Ok(());
        }
        choices.retain(|old| old.number != choice.number && !is_contrary(old));
        choices.push(choice);
        choices.sort_unstable_by_key(|choice| choice.number);
        let too_many = choices.len().saturating_sub(CHOICES_MAX);
        choices.drain(..too_many);
        self.set(Subject::Peer(author), Value::Chosen(choices), by)
    }

    /// Choices between the same snapshots, made without knowing of each other, of which one is dropped when the rosters merge.
    #[must_use]
    pub fn choices_apart(&self, incoming: &Facts) -> Vec<DroppedEdit> {
        let theirs = (incoming.reserve == self.reserve).then(|| close(incoming));
        let Some((theirs, _)) = theirs.flatten() else {
            return Vec::new();
        };
        let boxes = self.members().into_iter().chain(self.former());
        let pair = |of: super::Member| {
            let (ours, other) = (self.chosen(of.key)?, theirs.chosen(of.key)?);
            let is_apart = ours.fact.counter == other.fact.counter
                && ours.fact.value != other.fact.value
                && ours.fact.signer != other.fact.signer;
            if !is_apart {
                return None;
            }
            let is_ours = self.better(ours, other).is_gt();
            let (won, dropped) = if is_ours {
                (ours, other)
            } else {
                (other, ours)
            };
            Some(DroppedEdit {
                key: format!("the snapshot of {} that stands", of.name),
                won: newest_of(won),
                won_by: won.fact.signer,
                dropped: newest_of(dropped),
                dropped_by: dropped.fact.signer,
            })
        };
        boxes.filter_map(pair).collect()
    }

    fn chosen(&self, author: PeerKey) -> Option<&SignedFact> {
        self.facts.get(&(Subject::Peer(author), CHOSEN_SLOT))
    }
}

fn choices_in(signed: Option<&SignedFact>) -> &[Choice] {
    match signed.map(|signed| &signed.fact.value) {
        Some(Value::Chosen(choices)) => choices,
        _ => &[],
    }
}

fn newest_of(signed: &SignedFact) -> String {
    let newest = choices_in(Some(signed)).last();
    newest.map_or_else(String::new, |choice| choice.head.short())
}

#[cfg(test)]
mod tests {
    use super::super::memory_disk::{Counting, MemoryDisk};
    use super::super::{Config, Founding, LoadedBox, init};
    use super::*;
    use crate::terms::{HeadHash, SnapshotNumber};

    async fn home() -> LoadedBox {
        let disk = MemoryDisk::new();
        let founding = Founding {
            config: Config::new("home"),
            site: None,
            fast_aes: false,
        };
        let made = init(&disk, &Counting::default(), founding, |_| Ok(())).await;
        made.expect("new");
        LoadedBox::load(&disk).await.expect("a Box")
    }

    fn choice(number: u64, head: u8, chunks: u64) -> Choice {
        Choice {
            number: SnapshotNumber(number),
            head: HeadHash([head; 32]),
            chunks,
        }
    }

    #[tokio::test]
    async fn a_choice_takes_back_what_is_contrary_to_it_and_the_oldest_give_way() {
        let mut home = home().await;
        let (by, me) = (home.identity.signing.clone(), home.identity.peer());
        let mut choose = |of: Choice, contrary: u64| {
            let is_contrary = |old: &Choice| old.number.0 == contrary;
            home.roster
                .choose(me, of, is_contrary, &by)
                .expect("a member may");
            home.roster.choices(me)
        };
        assert_eq!(choose(choice(4, 1, 9), 0), [choice(4, 1, 9)]);
        assert_eq!(choose(choice(4, 2, 9), 0), [choice(4, 2, 9)]);
        assert_eq!(
            choose(choice(7, 3, 9), 0),
            [choice(4, 2, 9), choice(7, 3, 9)]
        );
        assert_eq!(
            choose(choice(9, 4, 9), 7),
            [choice(4, 2, 9), choice(9, 4, 9)]
        );
        for number in 10..30 {
            choose(choice(number, 5, 9), 0);
        }
        let kept = choose(choice(29, 5, 9), 0);
        assert_eq!(kept.len(), CHOICES_MAX);
        assert_eq!(kept.first(), Some(&choice(22, 5, 9)));
        let before = home.roster.clone();
        home.roster
            .choose(me, choice(29, 5, 9), |_| false, &by)
            .expect("as it is");
        assert_eq!(home.roster, before, "nothing new was said");
    }

    #[tokio::test]
    async fn of_two_choices_made_apart_the_one_that_keeps_more_stands_everywhere_and_the_other_is_told()
     {
        let home = home().await;
        let (by_home, me) = (home.identity.signing.clone(), home.identity.peer());
        let mut at_home = home.roster;
        let by_office = SigningKey::from_bytes(&[7; 32]);
        let office = PeerKey(by_office.verifying_key().to_bytes());
        let member = Value::member([8; 32], &by_office);
        at_home
            .set(Subject::Peer(office), member, &by_home)
            .expect("it is taken in");
        let mut at_office = at_home.clone();
        let (more, less) = (choice(4, 1, 900), choice(4, 2, 800));
        at_home
            .choose(me, less, |_| false, &by_home)
            .expect("a member may");
        at_office
            .choose(me, more, |_| false, &by_office)
            .expect("a member may");
        let told = at_home.choices_apart(&at_office.to_facts());
        assert_eq!(told, at_office.choices_apart(&at_home.to_facts()));
        let [dropped] = told.as_slice() else {
            panic!("one was dropped: {told:?}");
        };
        assert_eq!((&dropped.won, dropped.won_by), (&more.head.short(), office));
        assert_eq!(
            (&dropped.dropped, dropped.dropped_by),
            (&less.head.short(), me)
        );
        let facts = at_home.to_facts();
        at_home.merge(&at_office.to_facts());
        at_office.merge(&facts);
        assert_eq!(at_home, at_office);
        assert_eq!(at_home.choices(me), [more]);
        assert_eq!(at_home.chosen_by(me), Some(office));
        assert_eq!(at_home.choices_apart(&at_office.to_facts()), []);
    }
}
