//! The reserve's secrets: which one is in force, how those who remain are given a new one, and who is shut out. Pure.
//!
//! A Box that is lost is shut out by a new epoch: a new secret, sealed to the Noise key of each Box that remains and to the
//! recovery key, as facts of the roster. So whoever merges the roster has it, also a Box that was off, and whoever is not meant
//! to read it carries it along unread. Each note holds all secrets, since chunks of older epochs stay readable.
//!
//! **In force** is the greatest epoch the roster names. Two Boxes that begin one apart name two (half of an epoch's name is drawn);
//! after the merge everybody has both secrets and the greater is in force.
//! **Sound** is an epoch whose secret no lost Box was given or gave. Two Boxes that shut out one lost Box each, apart, may merge to
//! an epoch that one of the two lost Boxes was given; then whoever notices begins another.

use super::identity::Secrets;
use super::{Identity, Removal, Roster, SetError};
use crate::format::keys::ReserveSecret;
use crate::format::roster::{EpochNote, Subject, Value};
use crate::format::{decode, encode, sealed_note};
use crate::terms::limits::EPOCHS_MAX;
use crate::terms::{KeyEpoch, PeerKey};
use crate::world::Entropy;
use ed25519_dalek::SigningKey;
use serde_bytes::{ByteArray, ByteBuf};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

impl Roster {
    /// Whether no lost Box was given, or gave, the secret that is in force.
    #[must_use]
    pub fn epoch_is_sound(&self) -> bool {
        let lost = self.lost();
        let Some((note, signer)) = self.note(Subject::Reserve) else {
            return false;
        };
        let given_by_lost = self.members().iter().any(|member| {
            self.note(Subject::Peer(member.key))
                .is_some_and(|(given, signer)| given.epoch == note.epoch && lost.contains(&signer))
        });
        !lost.contains(&signer)
            && !given_by_lost
            && lost.iter().all(|key| note.without.contains(key))
    }

    /// Boxes somebody else may have, sorted.
    pub(super) fn lost(&self) -> Vec<PeerKey> {
        let former = self.former().into_iter();
        let lost = former.filter(|member| member.removed == Some(Removal::Lost));
        lost.map(|member| member.key).collect()
    }

    fn note(&self, subject: Subject) -> Option<(&EpochNote, PeerKey)> {
        let slot = if subject == Subject::Reserve { 4 } else { 11 };
        let signed = self.facts.get(&(subject, slot))?;
        match &signed.fact.value {
            Value::EpochSecret(note) | Value::Secrets(note) => Some((note, signed.fact.signer)),
            _ => None,
        }
    }

    /// Begins a new epoch that no lost Box is given. Both results count together, the secrets first.
    pub fn begin_epoch(
        &mut self,
        secrets: &mut Secrets,
        by: &SigningKey,
        entropy: &impl Entropy,
    ) -> Result<KeyEpoch, SetError> {
        let now = self.note(Subject::Reserve).map(|(note, _)| note.epoch);
        let newest = now.max(secrets.held().last().copied());
        let newest = newest.unwrap_or(KeyEpoch::FIRST);
        if secrets.held().len() >= EPOCHS_MAX {
            return Err(SetError::NoEpochLeft);
        }
        let next = newest.next(entropy.bytes()).ok_or(SetError::NoEpochLeft)?;
        let mut roster = self.clone();
        let mut more = secrets.clone();
        more.add(next, ReserveSecret(entropy.bytes()));
        let without = roster.lost();
        roster.seal_to_all(next, &without, &more, by, entropy)?;
        *self = roster;
        *secrets = more;
        Ok(next)
    }

    /// Seals to everybody who remains what they have not been sealed yet, as far as this Box knows it. Says whether that was anything.
    pub fn share_secrets(
        &mut self,
        secrets: &Secrets,
        by: &SigningKey,
        entropy: &impl Entropy,
    ) -> Result<bool, SetError> {
        let Some((note, _)) = self.note(Subject::Reserve) else {
            return Ok(false);
        };
        // A power cut may have left the secret of an epoch no roster names; that is nobody's business.
        let secrets = &secrets.up_to(note.epoch);
        let held = secrets.held();
        // A reserve that never lost a Box has nothing to tell: whoever joined was given its one secret.
        if !held.contains(&note.epoch) || held.len() == 1 {
            return Ok(false);
        }
        let (epoch, without) = (note.epoch, note.without.clone());
        let mut roster = self.clone();
        let shared = roster.seal_to_all(epoch, &without, secrets, by, entropy)?;
        *self = roster;
        Ok(shared)
    }

    fn seal_to_all(
        &mut self,
        epoch: KeyEpoch,
        without: &[PeerKey],
        secrets: &Secrets,
        by: &SigningKey,
        entropy: &impl Entropy,
    ) -> Result<bool, SetError> {
        let held = secrets.held();
        let lacks = |note: Option<(&EpochNote, PeerKey)>| match note {
            None => true,
            Some((note, _)) => {
                let is_more = held.iter().any(|epoch| !note.held.contains(epoch));
                // What others know and this Box does not, it must not take out.
                let is_all = note.held.iter().all(|epoch| held.contains(epoch));
                (note.epoch < epoch || is_more) && is_all
            }
        };
        let seal = |to: &[u8; 32]| {
            let pairs = Zeroizing::new(encode(&secrets.to_pairs()));
            EpochNote {
                epoch,
                held: held.clone(),
                without: without.to_vec(),
                note: ByteBuf::from(sealed_note::seal(entropy.bytes(), to, &pairs)),
            }
        };
        let mut shared = false;
        if lacks(self.note(Subject::Reserve))
            && let Some(recovery) = self.recovery_seal()
        {
            self.set(Subject::Reserve, Value::EpochSecret(seal(&recovery)), by)?;
            shared = true;
        }
        for member in self.members() {
            let subject = Subject::Peer(member.key);
            if lacks(self.note(subject)) {
                self.set(subject, Value::Secrets(seal(&member.noise)), by)?;
                shared = true;
            }
        }
        Ok(shared)
    }

    /// The secrets sealed to the recovery key.
    #[must_use]
    pub fn secrets_for_recovery(&self, open: &StaticSecret) -> Option<Secrets> {
        let (note, _) = self.note(Subject::Reserve)?;
        read(note, open)
    }
}

impl Secrets {
    /// What the roster has for this Box beyond what it holds; `None` when there is nothing new.
    #[must_use]
    pub fn learned(&self, roster: &Roster, own: &Identity) -> Option<Self> {
        let (note, _) = roster.note(Subject::Peer(own.peer()))?;
        let held = self.held();
        if note.held.iter().all(|epoch| held.contains(epoch)) {
            return None;
        }
        let given = read(note, &own.noise)?;
        let mut all = self.clone();
        for (epoch, secret) in given.to_pairs() {
            all.add(KeyEpoch(epoch), ReserveSecret(secret.into_array()));
        }
        (all.held() != held).then_some(all)
    }

    /// The epoch everything new belongs to: the one in force, or while this Box was not given its secret, the newest it has.
    #[must_use]
    pub fn epoch(&self, roster: &Roster) -> KeyEpoch {
        let named = roster.note(Subject::Reserve).map(|(note, _)| note.epoch);
        let held = self.held();
        let known = named.filter(|epoch| held.contains(epoch));
        known.or(held.last().copied()).unwrap_or(KeyEpoch::FIRST)
    }
}

fn read(note: &EpochNote, key: &StaticSecret) -> Option<Secrets> {
    let plain = sealed_note::open(&note.note, key).ok()?;
    let pairs: Vec<(u32, ByteArray<32>)> = decode("sealed secrets", &plain).ok()?;
    Secrets::from_pairs(&pairs).ok()
}

#[cfg(test)]
mod tests {
    use super::super::memory_disk::{Counting, MemoryDisk};
    use super::super::{Config, Founding, LoadedBox, init, settle};
    use super::*;

    /// The founder and two guests, each with its identity and its secrets.
    struct Three {
        entropy: Counting,
        roster: Roster,
        boxes: Vec<(Identity, Secrets)>,
    }

    async fn three() -> Three {
        let entropy = Counting::default();
        let disk = MemoryDisk::new();
        let founding = Founding {
            config: Config::new("home"),
            site: None,
            fast_aes: false,
        };
        init(&disk, &entropy, founding, |_| Ok(()))
            .await
            .expect("new");
        let home = LoadedBox::load(&disk).await.expect("a Box");
        let mut roster = home.roster;
        let mut boxes = vec![(home.identity, home.secrets)];
        for _ in 0..2 {
            let guest = Identity::make(&entropy);
            let member = Value::member(guest.noise_public(), &guest.signing);
            roster
                .set(Subject::Peer(guest.peer()), member, &boxes[0].0.signing)
                .expect("a member may");
            boxes.push((guest, boxes[0].1.clone()));
        }
        Three {
            entropy,
            roster,
            boxes,
        }
    }

    impl Three {
        fn shut_out(&self, lost: usize, by: usize, roster: &mut Roster) -> Secrets {
            let (own, secrets) = &self.boxes[by];
            let gone = Subject::Peer(self.boxes[lost].0.peer());
            roster
                .set(gone, Value::Removed { lost: true }, &own.signing)
                .expect("a member may");
            let mut secrets = secrets.clone();
            roster
                .begin_epoch(&mut secrets, &own.signing, &self.entropy)
                .expect("room");
            secrets
        }
    }

    #[tokio::test]
    async fn who_remains_is_given_the_new_secret_and_the_lost_box_is_not() {
        let three = three().await;
        let mut roster = three.roster.clone();
        assert!(roster.epoch_is_sound());
        let begun = three.shut_out(2, 0, &mut roster);
        assert!(roster.epoch_is_sound() && begun.held().len() == 2);
        let (remaining, before) = &three.boxes[1];
        let learned = before.learned(&roster, remaining).expect("a note for it");
        assert_eq!(learned.to_pairs(), begun.to_pairs());
        assert!(learned.epoch(&roster) > KeyEpoch::FIRST);
        assert_eq!(before.epoch(&roster), KeyEpoch::FIRST);
        assert!(learned.learned(&roster, remaining).is_none());
        let (lost, old) = &three.boxes[2];
        assert!(old.learned(&roster, lost).is_none());
        // What was cut and named before is found again.
        let keys = |secrets: &Secrets, epoch| secrets.data_keys_of(epoch).expect("held");
        let (first, next) = (
            keys(&begun, KeyEpoch::FIRST),
            keys(&begun, begun.epoch(&roster)),
        );
        assert!(first.cut == next.cut && first.lookup == next.lookup);
        assert!(first.tag != next.tag && first.seal != next.seal);
    }

    #[tokio::test]
    async fn two_epochs_begun_apart_leave_everybody_with_both_secrets_and_one_in_force() {
        let three = three().await;
        let (mut a, mut b) = (three.roster.clone(), three.roster.clone());
        let ours = three.shut_out(2, 0, &mut a);
        let theirs = three.shut_out(2, 1, &mut b);
        assert_ne!(ours.epoch(&a), theirs.epoch(&b));
        a.merge(&b.to_facts());
        b.merge(&a.to_facts());
        assert_eq!(a, b);
        // Either learns the other's, and says what only it could say.
        let mut all = [(0, ours), (1, theirs)].map(|(at, secrets)| {
            let own = &three.boxes[at].0;
            (own, secrets.learned(&a, own).unwrap_or(secrets))
        });
        for _ in 0..2 {
            for (own, secrets) in &mut all {
                if let Some(more) = secrets.learned(&a, own) {
                    *secrets = more;
                }
                a.share_secrets(secrets, &own.signing, &three.entropy)
                    .expect("a member may");
            }
        }
        let [(_, one), (_, other)] = &all;
        assert_eq!(one.held().len(), 3);
        assert_eq!(one.to_pairs(), other.to_pairs());
        assert_eq!(one.epoch(&a), other.epoch(&a));
        assert!(a.epoch_is_sound());
    }

    #[tokio::test]
    async fn an_epoch_a_lost_box_was_given_or_gave_is_not_sound() {
        let three = three().await;
        let (mut a, mut b) = (three.roster.clone(), three.roster.clone());
        three.shut_out(2, 0, &mut a);
        // Box 2 shuts out box 1 on its own, with a secret that only thieves know.
        three.shut_out(1, 2, &mut b);
        a.merge(&b.to_facts());
        // Which of the two is in force is drawn; either way one of the lost knows it.
        assert!(!a.epoch_is_sound());
        let (home, secrets) = &three.boxes[0];
        let mut secrets = secrets.learned(&a, home).unwrap_or(secrets.clone());
        a.begin_epoch(&mut secrets, &home.signing, &three.entropy)
            .expect("room");
        assert!(a.epoch_is_sound());
    }

    #[tokio::test]
    async fn who_came_in_by_the_word_of_a_lost_box_is_known_however_far_from_it() {
        let mut three = three().await;
        // 2 brought in 3, and 3 brought in 4; 1 brought in nobody.
        for inviter in [2, 3] {
            let guest = Identity::make(&three.entropy);
            let member = Value::member(guest.noise_public(), &guest.signing);
            let by = &three.boxes[inviter].0.signing;
            let subject = Subject::Peer(guest.peer());
            three.roster.set(subject, member, by).expect("a member may");
            three.boxes.push((guest, three.boxes[0].1.clone()));
        }
        let keys: Vec<_> = three.boxes.iter().map(|(own, _)| own.peer()).collect();
        let came = |roster: &Roster, lost: usize| {
            let came = roster.brought_in_by(&[keys[lost]]);
            let place = |key| keys.iter().position(|of| *of == key).expect("one of them");
            let mut came: Vec<_> = came.iter().map(|member| place(member.key)).collect();
            came.sort_unstable();
            came
        };
        let mut roster = three.roster.clone();
        assert_eq!(came(&roster, 1), [0; 0]);
        assert_eq!(came(&roster, 2), [3, 4]);
        assert_eq!(came(&roster, 0), [1, 2, 3, 4]);
        // A thief with two Boxes says with the second what the first signed.
        three.shut_out(2, 0, &mut roster);
        assert_eq!(came(&roster, 1), [3, 4]);
    }

    #[tokio::test]
    async fn the_words_open_all_secrets_and_epochs_end_some_time() {
        let three = three().await;
        let mut roster = three.roster.clone();
        let (home, secrets) = &three.boxes[0];
        let mut secrets = secrets.clone();
        for _ in 1..EPOCHS_MAX {
            roster
                .begin_epoch(&mut secrets, &home.signing, &three.entropy)
                .expect("room");
        }
        let before = (roster.clone(), secrets.held());
        let refused = roster.begin_epoch(&mut secrets, &home.signing, &three.entropy);
        assert_eq!(refused, Err(SetError::NoEpochLeft));
        assert_eq!((&roster, secrets.held()), (&before.0, before.1));
        // A thief can use them up: whoever is shut out then is out all the same, and what is known is shared.
        let gone = Subject::Peer(three.boxes[2].0.peer());
        roster
            .set(gone, Value::Removed { lost: true }, &home.signing)
            .expect("a member may");
        settle(&mut roster, &mut secrets, home, true, &three.entropy).expect("it goes on");
        let late = Identity::make(&three.entropy);
        let member = Value::member(late.noise_public(), &late.signing);
        roster
            .set(Subject::Peer(late.peer()), member, &home.signing)
            .expect("a member may");
        let settled = settle(&mut roster, &mut secrets, home, true, &three.entropy);
        assert!(settled.expect("it goes on").shared);
        assert!(roster.member(&three.boxes[2].0.peer()).is_none());
    }
}
