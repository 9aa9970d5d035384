//! The way back in with the 24 words, through one Box that survived, when nobody else can invite. Pure.
//!
//! The surviving Box sends its roster and no secret: every secret is in it, sealed to the words. What the new Box says with the
//! recovery key beats whatever any member said, so a thief with a stolen Box cannot have removed everybody first.

use smol_str::SmolStr;

use super::identity::Secrets;
use super::{Identity, Roster, RosterError, SetError};
use crate::format::keys::RecoveryKeys;
use crate::format::message::Refusal;
use crate::format::roster::{Facts, Subject, Value};
use crate::terms::PeerKey;
use crate::world::Entropy;

/// What a person says when coming back.
#[derive(Debug, Clone, Default)]
pub struct Recovering {
    /// What to call this Box.
    pub name: SmolStr,
    /// Where it stands.
    pub site: SmolStr,
    /// Whether it has AES instructions.
    pub fast_aes: bool,
    /// Boxes somebody else may have: shut out with the words' authority.
    pub lost: Vec<SmolStr>,
    /// The former Box whose history this one continues; it may be one of the lost.
    pub replaces: Option<SmolStr>,
}

/// Makes a roster this Box is a member of, and finds the secrets, from what the surviving Box sent. May be repeated.
pub fn recover(
    sent: &Facts,
    survivor: PeerKey,
    words: &RecoveryKeys,
    own: &Identity,
    asked: &Recovering,
    entropy: &impl Entropy,
) -> Result<(Roster, Secrets), RosterError> {
    let bad = |_| RosterError::BadGrant("its roster does not parse");
    let mut roster = Roster::from_facts(sent).map_err(bad)?;
    if roster.recovery().0 != words.sign.verifying_key().to_bytes() {
        return Err(RosterError::BadGrant("it belongs to other words"));
    }
    let mut secrets = roster
        .secrets_for_recovery(&words.open)
        .ok_or(RosterError::BadGrant(
            "the words do not open the secrets in its roster",
        ))?;
    let me = Subject::Peer(own.peer());
    for name in &asked.lost {
        let lost = roster.by_name(name).or_else(|| {
            let former = roster.former();
            former.into_iter().find(|member| member.name == *name)
        });
        let lost = lost.ok_or_else(|| {
            RosterError::Edit(format!(
                "no Box of this reserve is called \"{name}\" and could be lost"
            ))
        })?;
        if lost.key == survivor || lost.key == own.peer() {
            return Err(RosterError::Edit(format!(
                "\"{name}\" is one of the two Boxes this is done with: it is not lost"
            )));
        }
        roster.set(
            Subject::Peer(lost.key),
            Value::Removed { lost: true },
            &words.sign,
        )?;
    }
    if roster.former().iter().any(|member| member.key == survivor) {
        roster.set(Subject::Peer(survivor), Value::Stays, &words.sign)?;
    }
    if roster.member(&survivor).is_none() {
        return Err(RosterError::BadGrant(
            "the Box that answered is not in its own roster",
        ));
    }
    let known = roster.member(&own.peer());
    if known.is_none() {
        let member = Value::member(own.noise_public(), &own.signing);
        roster.set(me, member, &words.sign)?;
    }
    let taken = roster.by_name(&asked.name);
    if taken.is_some_and(|member| member.key != own.peer()) {
        return Err(RosterError::Edit(format!(
            "{}. If that Box is lost, say so: --lost {}",
            Refusal::NameTaken,
            asked.name
        )));
    }
    for value in [
        Value::Name(asked.name.clone()),
        Value::Site(asked.site.clone()),
        Value::FastAes(asked.fast_aes),
    ] {
        roster.say(me, value, own)?;
    }
    let continues = known.and_then(|known| known.replaces);
    if let (Some(name), None) = (&asked.replaces, continues) {
        let before = roster
            .to_replace(name)
            .ok_or_else(|| RosterError::Edit(Refusal::NothingToReplace.to_string()))?;
        roster.say(me, Value::Replaces(before), own)?;
    }
    if !roster.epoch_is_sound() {
        match roster.begin_epoch(&mut secrets, &own.signing, entropy) {
            // Being back in and shutting the key out is worth more than nothing.
            Ok(_) | Err(SetError::NoEpochLeft) => {}
            Err(error) => return Err(error.into()),
        }
    }
    roster.share_secrets(&secrets, &own.signing, entropy)?;
    Ok((roster, secrets))
}

impl Roster {
    /// Says something about this Box, if it is news.
    fn say(&mut self, subject: Subject, value: Value, own: &Identity) -> Result<(), SetError> {
        let standing = self.facts.get(&(subject, value.slot()));
        if standing.is_some_and(|fact| fact.fact.value == value) {
            return Ok(());
        }
        self.set(subject, value, &own.signing)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory_disk::{Counting, MemoryDisk};
    use super::super::{Config, Founded, Founding, LoadedBox, Removal, init};
    use super::*;
    use crate::terms::KeyEpoch;

    async fn founded(entropy: &Counting) -> (LoadedBox, RecoveryKeys) {
        let disk = MemoryDisk::new();
        let founding = Founding {
            config: Config::new("home"),
            site: None,
            fast_aes: false,
        };
        let made = init(&disk, entropy, founding, |_| Ok(())).await;
        let Ok(Founded::New(words)) = made else {
            panic!("a new reserve");
        };
        (LoadedBox::load(&disk).await.expect("a Box"), words.keys())
    }

    fn asked(name: &str) -> Recovering {
        Recovering {
            name: name.into(),
            site: name.into(),
            ..Recovering::default()
        }
    }

    fn guest(roster: &mut Roster, name: &str, inviter: &Identity, entropy: &Counting) -> Identity {
        let guest = Identity::make(entropy);
        let subject = Subject::Peer(guest.peer());
        let member = Value::member(guest.noise_public(), &guest.signing);
        for value in [member, Value::Name(name.into())] {
            roster
                .set(subject, value, &inviter.signing)
                .expect("a member may");
        }
        guest
    }

    #[tokio::test]
    async fn the_words_and_one_box_are_enough_and_may_be_used_twice() {
        let entropy = Counting::default();
        let (home, words) = founded(&entropy).await;
        let new = Identity::make(&entropy);
        let sent = home.roster.to_facts();
        let survivor = home.identity.peer();
        let back = recover(&sent, survivor, &words, &new, &asked("new"), &entropy);
        let (roster, secrets) = back.expect("back in");
        assert_eq!(secrets.to_pairs(), home.secrets.to_pairs());
        let mut ours = home.roster.clone();
        assert!(ours.merge(&roster.to_facts()).changed);
        assert!(ours.by_name("new").is_some_and(|me| me.key == new.peer()));
        let again = recover(
            &ours.to_facts(),
            survivor,
            &words,
            &new,
            &asked("new"),
            &entropy,
        );
        assert_eq!(again.expect("back in").0, ours);
        let other = RecoveryKeys::derive(&[1; 32]);
        let refused = recover(&sent, survivor, &other, &new, &asked("new"), &entropy);
        assert!(refused.is_err());
        let taken = recover(&sent, survivor, &words, &new, &asked("home"), &entropy);
        assert!(taken.is_err());
    }

    #[tokio::test]
    async fn a_thief_that_removed_everybody_first_is_out_and_learns_nothing_new() {
        let entropy = Counting::default();
        let (home, words) = founded(&entropy).await;
        let mut roster = home.roster.clone();
        let thief = guest(&mut roster, "office", &home.identity, &entropy);
        roster
            .set(
                Subject::Peer(home.identity.peer()),
                Value::Removed { lost: true },
                &thief.signing,
            )
            .expect("a thief has a member's key");
        let mut stolen = home.secrets.clone();
        roster
            .begin_epoch(&mut stolen, &thief.signing, &entropy)
            .expect("room");
        let new = Identity::make(&entropy);
        let mut asked = asked("new");
        asked.lost = vec!["office".into()];
        asked.replaces = Some("office".into());
        let (back, secrets) = recover(
            &roster.to_facts(),
            home.identity.peer(),
            &words,
            &new,
            &asked,
            &entropy,
        )
        .expect("back in");
        let names: Vec<_> = back
            .members()
            .into_iter()
            .map(|member| member.key)
            .collect();
        assert!(names.contains(&home.identity.peer()) && names.contains(&new.peer()));
        assert_eq!(names.len(), 2);
        assert_eq!(back.former()[0].removed, Some(Removal::Lost));
        assert!(back.epoch_is_sound() && secrets.epoch(&back) > KeyEpoch::FIRST);
        assert!(stolen.learned(&back, &thief).is_none());
        assert!(stolen.data_keys_of(secrets.epoch(&back)).is_none());
        let survivors = home.secrets.learned(&back, &home.identity);
        assert_eq!(survivors.expect("a note").to_pairs(), secrets.to_pairs());
        assert_eq!(back.lineage(new.peer()), [new.peer(), thief.peer()]);
        assert_eq!(back.authors_called("office"), [thief.peer()]);
    }

    #[tokio::test]
    async fn a_box_that_is_part_of_it_cannot_be_called_lost() {
        let entropy = Counting::default();
        let (home, words) = founded(&entropy).await;
        let new = Identity::make(&entropy);
        for lost in ["home", "nobody"] {
            let mut asked = asked("new");
            asked.lost = vec![lost.into()];
            let refused = recover(
                &home.roster.to_facts(),
                home.identity.peer(),
                &words,
                &new,
                &asked,
                &entropy,
            );
            assert!(matches!(refused, Err(RosterError::Edit(_))), "{lost}");
        }
    }
}
