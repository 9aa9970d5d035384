//! The new Box's side of being taken in. May be repeated until it works: the key it asks with stays the same.

use super::found::settle;
use super::{
    Config, IDENTITY_FILE, Identity, JOINING_FILE, LoadedBox, Roster, RosterError, Secrets,
    is_initialised,
};
use crate::format::message::JoinGrant;
use crate::format::roster::Facts;
use crate::world::{Disk, Entropy};

/// The identity to ask with: the one of an earlier try, or a new one, durable before anybody hears of it.
pub async fn prepare_join(
    disk: &impl Disk,
    entropy: &impl Entropy,
) -> Result<Identity, RosterError> {
    if is_initialised(disk).await? {
        let name = LoadedBox::load(disk).await?.config.name.into();
        return Err(RosterError::AlreadyInitialised { name });
    }
    if let Some(identity) = Identity::load(disk, JOINING_FILE).await? {
        return Ok(identity);
    }
    let identity = Identity::make(entropy);
    identity.save(disk, JOINING_FILE).await?;
    Ok(identity)
}

/// Makes the directory the Box that was taken in. Doing it again with the same identity does no harm.
pub async fn accept(
    disk: &impl Disk,
    grant: &JoinGrant,
    identity: Identity,
    config: Config,
) -> Result<LoadedBox, RosterError> {
    if is_initialised(disk).await? {
        let there = LoadedBox::load(disk).await?;
        if there.identity.peer() == identity.peer() {
            forget_asking(disk).await?;
            return Ok(there);
        }
        let name = there.config.name.into();
        return Err(RosterError::AlreadyInitialised { name });
    }
    let bad = |_| RosterError::BadGrant("its roster or its secrets do not parse");
    let facts = Facts::decode(&grant.roster).map_err(bad)?;
    let roster = Roster::from_facts(&facts).map_err(bad)?;
    let secrets = Secrets::from_pairs(&grant.secrets).map_err(bad)?;
    let member = roster
        .member(&identity.peer())
        .ok_or(RosterError::BadGrant("this Box is not in its roster"))?;
    if member.noise != identity.noise_public() {
        return Err(RosterError::BadGrant(
            "its roster has another key for this Box",
        ));
    }
    settle(disk, &secrets, &roster, &config).await?;
    identity.save(disk, IDENTITY_FILE).await?;
    forget_asking(disk).await?;
    Ok(LoadedBox {
        config,
        identity,
        secrets,
        roster,
    })
}

/// Whether this directory asked before, with a key that somebody may know.
///
/// # Errors
/// If that cannot be read.
pub async fn has_asked(disk: &impl Disk) -> Result<bool, RosterError> {
    Ok(Identity::load(disk, JOINING_FILE).await?.is_some())
}

/// Removes the key a Box asked with: it is the Box's own by now, or nobody knows it.
///
/// # Errors
/// If the file cannot be removed.
pub async fn forget_asking(disk: &impl Disk) -> Result<(), RosterError> {
    let removed = disk.remove(JOINING_FILE).await;
    removed.map_err(|cause| RosterError::Disk {
        file: JOINING_FILE,
        deed: "removed",
        cause,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_bytes::ByteArray;

    use super::super::memory_disk::{Counting, MemoryDisk};
    use super::super::{Founding, INVITATIONS_MAX, Invitations, InviteError, grant, init};
    use super::*;
    use crate::format::message::{JoinRequest, Refusal};
    use crate::format::roster::{Subject, Value};
    use crate::terms::limits::TICKET_SECONDS;
    use crate::world::Moment;

    async fn founder(entropy: &Counting) -> (MemoryDisk, LoadedBox) {
        let disk = MemoryDisk::new();
        let founding = Founding {
            config: Config::new("home"),
            site: None,
            fast_aes: false,
        };
        init(&disk, entropy, founding, |_| Ok(()))
            .await
            .expect("new");
        let there = LoadedBox::load(&disk).await.expect("a Box");
        (disk, there)
    }

    fn ask(identity: &Identity, name: &str) -> JoinRequest {
        JoinRequest {
            peer: identity.peer(),
            proof: ByteArray::new([0; 64]),
            noise_proof: identity.noise_proof(),
            name: name.into(),
            site: "office".into(),
            fast_aes: true,
            replaces: None,
        }
    }

    fn take(
        inviter: &LoadedBox,
        of: &Identity,
        request: &JoinRequest,
    ) -> Result<super::super::Granted, Refusal> {
        let (key, noise) = (&inviter.identity.signing, of.noise_public());
        let from = ([192, 0, 2, 7], 7717).into();
        grant(&inviter.roster, &inviter.secrets, key, request, noise, from)
    }

    #[tokio::test]
    async fn a_box_joins_and_a_lost_answer_is_given_again() {
        let entropy = Counting::default();
        let (_, mut home) = founder(&entropy).await;
        let disk = MemoryDisk::new();
        let new = prepare_join(&disk, &entropy).await.expect("memory");
        let first = take(&home, &new, &ask(&new, "office")).expect("taken in");
        home.roster = first.roster;
        let same = prepare_join(&disk, &entropy).await.expect("memory");
        assert_eq!(same.peer(), new.peer());
        let again = take(&home, &same, &ask(&same, "office")).expect("taken in again");
        assert_eq!(again.roster, home.roster);
        for writes in 0..5 {
            disk.writes_left.set(writes);
            let config = Config::new("office");
            let done = accept(&disk, &again.grant, same.clone(), config).await;
            assert_eq!(done.is_ok(), writes == 4, "{writes} writes");
            assert_eq!(LoadedBox::load(&disk).await.is_ok(), writes == 4);
        }
        let there = LoadedBox::load(&disk).await.expect("a Box");
        assert_eq!(there.roster, home.roster);
        assert_eq!(there.secrets.to_pairs(), home.secrets.to_pairs());
        assert!(!disk.files.borrow().contains_key(JOINING_FILE));
        accept(&disk, &again.grant, same, Config::new("office"))
            .await
            .expect("harmless");
        let refused = prepare_join(&disk, &entropy).await;
        assert!(matches!(
            refused,
            Err(RosterError::AlreadyInitialised { .. })
        ));
    }

    #[tokio::test]
    async fn a_box_does_not_join_a_roster_that_has_not_its_keys() {
        let entropy = Counting::default();
        let (_, home) = founder(&entropy).await;
        let disk = MemoryDisk::new();
        let new = Identity::make(&entropy);
        let mut granted = take(&home, &new, &ask(&new, "office"))
            .expect("taken in")
            .grant;
        let other = Identity::make(&entropy);
        let mixed = Identity {
            signing: new.signing.clone(),
            noise: other.noise.clone(),
        };
        assert!(
            accept(&disk, &granted, other, Config::new("x"))
                .await
                .is_err()
        );
        assert!(
            accept(&disk, &granted, mixed, Config::new("x"))
                .await
                .is_err()
        );
        granted.secrets.clear();
        assert!(
            accept(&disk, &granted, new, Config::new("x"))
                .await
                .is_err()
        );
        assert!(disk.files.borrow().is_empty());
    }

    #[tokio::test]
    async fn a_taken_name_and_a_removed_key_are_refused() {
        let entropy = Counting::default();
        let (_, mut home) = founder(&entropy).await;
        let new = Identity::make(&entropy);
        assert_eq!(
            take(&home, &new, &ask(&new, "home")).err(),
            Some(Refusal::NameTaken)
        );
        assert_eq!(
            take(&home, &new, &ask(&new, "a b")).err(),
            Some(Refusal::NotUnderstood)
        );
        home.roster = take(&home, &new, &ask(&new, "office"))
            .expect("taken in")
            .roster;
        let own = home.identity.signing.clone();
        let gone = Value::Removed { lost: false };
        home.roster
            .set(Subject::Peer(new.peer()), gone, &own)
            .expect("a member may");
        assert_eq!(
            take(&home, &new, &ask(&new, "office")).err(),
            Some(Refusal::NotUnderstood)
        );
        let next = Identity::make(&entropy);
        assert!(take(&home, &next, &ask(&next, "office")).is_ok());
    }

    #[tokio::test]
    async fn a_full_reserve_takes_nobody() {
        let entropy = Counting::default();
        let (_, mut home) = founder(&entropy).await;
        for n in 1..crate::terms::limits::MEMBERS_MAX {
            let new = Identity::make(&entropy);
            home.roster = take(&home, &new, &ask(&new, &format!("b{n}")))
                .expect("room")
                .roster;
        }
        let new = Identity::make(&entropy);
        assert_eq!(
            take(&home, &new, &ask(&new, "more")).err(),
            Some(Refusal::ReserveFull)
        );
    }

    #[tokio::test]
    async fn two_boxes_that_took_one_name_apart_can_be_told_apart() {
        let entropy = Counting::default();
        let (_, mut home) = founder(&entropy).await;
        let (a, b) = (Identity::make(&entropy), Identity::make(&entropy));
        let one = take(&home, &a, &ask(&a, "office")).expect("taken in");
        let other = take(&home, &b, &ask(&b, "office")).expect("taken in");
        home.roster = one.roster;
        assert!(home.roster.merge(&other.roster.to_facts()).changed);
        let (first, second) = (a.peer().min(b.peer()), a.peer().max(b.peer()));
        let renamed = format!("office-{}", second.short());
        for (name, key) in [("office", first), (renamed.as_str(), second)] {
            assert_eq!(
                home.roster.by_name(name).map(|member| member.key),
                Some(key)
            );
        }
    }

    #[tokio::test]
    async fn addresses_are_told_only_when_they_change() {
        let (_, mut home) = founder(&Counting::default()).await;
        let at = [([192, 0, 2, 7], 7717).into()];
        assert_eq!(home.roster.set_addresses(&home.identity, &at), Ok(true));
        let hash = home.roster.hash();
        assert_eq!(home.roster.set_addresses(&home.identity, &at), Ok(false));
        assert_eq!(home.roster.hash(), hash);
        assert_eq!(home.roster.members()[0].addresses, at);
    }

    #[tokio::test]
    async fn a_ticket_is_good_once_for_ten_minutes_and_not_after_a_restart() {
        let entropy = Counting::default();
        let (disk, home) = founder(&entropy).await;
        let at = [([192, 0, 2, 7], 7717).into()];
        let later = |seconds| Moment(Duration::from_secs(seconds));
        let invitations = Invitations::load(&disk).await.expect("none yet");
        let own = &home.identity;
        let give =
            async |given: &Invitations, now| given.invite(&disk, &entropy, own, &at, now).await;
        let ticket = give(&invitations, later(5)).await.expect("a ticket");
        let last = later(5 + TICKET_SECONDS - 1);
        assert_eq!(invitations.secret(ticket.number, last), Some(ticket.secret));
        assert!(invitations.burn(ticket.number, last) && !invitations.burn(ticket.number, last));
        assert_eq!(invitations.secret(ticket.number, last), None);
        let second = give(&invitations, later(5)).await.expect("a ticket");
        assert_eq!(
            invitations.secret(second.number, later(5 + TICKET_SECONDS)),
            None
        );
        for _ in 0..INVITATIONS_MAX {
            give(&invitations, last).await.expect("room");
        }
        assert!(matches!(
            give(&invitations, last).await,
            Err(InviteError::TooMany)
        ));
        let restarted = Invitations::load(&disk).await.expect("the counter");
        assert_eq!(restarted.secret(second.number, later(5)), None);
        let third = give(&restarted, later(0)).await.expect("a ticket");
        assert_eq!(third.number, 3 + INVITATIONS_MAX as u64);
    }
}
