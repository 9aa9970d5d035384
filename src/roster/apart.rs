//! Edits of one shared setting that were made apart: which stands, and which is dropped when the rosters merge. Pure.
//!
//! The rule which stands is `order`'s; this only sees that it is told. Edits that follow each other have rising counters, so two of
//! one counter were made apart. One that was made apart *and* has the lower counter cannot be told from one that was known.

use super::merge::close;
use super::{Roster, SharedKey};
use crate::format::roster::{Facts, Subject};
use crate::terms::PeerKey;

/// An edit of a shared setting that another one, made apart, won against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedEdit {
    /// The setting, as people type it.
    pub key: String,
    /// What stands.
    pub won: String,
    /// Who said that.
    pub won_by: PeerKey,
    /// What does not.
    pub dropped: String,
    /// Who said that.
    pub dropped_by: PeerKey,
}

impl Roster {
    /// Edits of shared settings, made without knowing of each other, that this roster and another one disagree about. One of each pair
    /// is dropped when they merge. Edits that follow each other have rising counters; equal ones were made apart.
    #[must_use]
    pub fn edits_apart(&self, incoming: &Facts) -> Vec<DroppedEdit> {
        let theirs = (incoming.reserve == self.reserve).then(|| close(incoming));
        let Some((theirs, _)) = theirs.flatten() else {
            return Vec::new();
        };
        let pair = |key: SharedKey| {
            let place = (Subject::Reserve, key.slot()?);
            let (ours, other) = (self.facts.get(&place)?, theirs.facts.get(&place)?);
            let apart = ours.fact.counter == other.fact.counter
                && ours.fact.value != other.fact.value
                && ours.fact.signer != other.fact.signer;
            if !apart {
                return None;
            }
            let is_ours = self.better(ours, other).is_gt();
            let (won, dropped) = if is_ours {
                (self, &theirs)
            } else {
                (&theirs, self)
            };
            Some(DroppedEdit {
                key: key.name(),
                won: won.setting(key).value,
                won_by: won.said_by(key)?,
                dropped: dropped.setting(key).value,
                dropped_by: dropped.said_by(key)?,
            })
        };
        SharedKey::all().into_iter().filter_map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::super::memory_disk::{Counting, MemoryDisk};
    use super::super::{Config, Founding, LoadedBox, init};
    use super::*;
    use crate::format::roster::Value;

    #[tokio::test]
    async fn of_two_edits_made_apart_both_sides_name_the_same_one_as_dropped() {
        let disk = MemoryDisk::new();
        let founding = Founding {
            config: Config::new("home"),
            site: None,
            fast_aes: false,
        };
        let made = init(&disk, &Counting::default(), founding, |_| Ok(())).await;
        made.expect("new");
        let home = LoadedBox::load(&disk).await.expect("a Box");
        let (by_home, mut at_home) = (home.identity.signing.clone(), home.roster);
        let by_office = SigningKey::from_bytes(&[7; 32]);
        let office = PeerKey(by_office.verifying_key().to_bytes());
        let member = Value::member([8; 32], &by_office);
        at_home
            .set(Subject::Peer(office), member, &by_home)
            .expect("it is taken in");
        let mut at_office = at_home.clone();
        let set = |roster: &mut Roster, key: &str, value: &str, by: &SigningKey| {
            roster.change_setting(key, value, by).expect("possible");
        };
        set(&mut at_home, "warning_window_days", "20", &by_home);
        set(&mut at_office, "warning_window_days", "90", &by_office);
        set(&mut at_office, "sweep_period_days", "7", &by_office);
        let at_both = at_home.edits_apart(&at_office.to_facts());
        assert_eq!(at_both, at_office.edits_apart(&at_home.to_facts()));
        let dropped = DroppedEdit {
            key: "warning_window_days".into(),
            won: "90".into(),
            won_by: office,
            dropped: "20".into(),
            dropped_by: home.identity.peer(),
        };
        assert_eq!(at_both, [dropped]);
        at_home.merge(&at_office.to_facts());
        assert_eq!(at_home.edits_apart(&at_office.to_facts()), []);
        // What follows another edit drops nothing.
        set(&mut at_home, "warning_window_days", "30", &by_home);
        assert_eq!(at_office.edits_apart(&at_home.to_facts()), []);
    }
}
