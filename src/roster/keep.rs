//! What follows from a roster that changed, and how both it and the secrets become durable.
//!
//! A secret is durable before the roster that names it: a power cut between the two leaves a secret nobody speaks of yet, which is
//! found in the roster again or never used. The other way round a Box would name an epoch it cannot speak under.

use super::identity::Secrets;
use super::{Identity, Roster, RosterError, SetError};
use crate::world::{Disk, Entropy};

/// What [`settle`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// This Box was given a secret it did not have.
    pub learned: bool,
    /// It began a new epoch, since a lost Box knew the secret of the last.
    pub begun: bool,
    /// It sealed secrets to somebody who lacked them.
    pub shared: bool,
}

/// Takes the secrets the roster has for this Box, and sees that everybody who remains is given all, and no lost Box the present one.
/// `may_begin`: of several who notice at once, one is enough.
pub fn settle(
    roster: &mut Roster,
    secrets: &mut Secrets,
    own: &Identity,
    may_begin: bool,
    entropy: &impl Entropy,
) -> Result<Settled, SetError> {
    let mut settled = Settled::default();
    if let Some(more) = secrets.learned(roster, own) {
        *secrets = more;
        settled.learned = true;
    }
    // Whoever is out has nothing to say any more.
    if roster.member(&own.peer()).is_none() {
        return Ok(settled);
    }
    if may_begin && !roster.epoch_is_sound() {
        settled.begun = match roster.begin_epoch(secrets, &own.signing, entropy) {
            Ok(_) => true,
            // Who is out stays out, and what there is must still be shared.
            Err(SetError::NoEpochLeft) => false,
            Err(error) => return Err(error),
        };
    }
    settled.shared = roster.share_secrets(secrets, &own.signing, entropy)?;
    Ok(settled)
}

/// Makes what changed durable, the secrets first.
pub async fn keep(
    disk: &impl Disk,
    before: (&Roster, &Secrets),
    now: (&Roster, &Secrets),
) -> Result<(), RosterError> {
    if now.1.held() != before.1.held() {
        now.1.save(disk).await?;
    }
    if now.0 != before.0 {
        now.0.save(disk).await?;
    }
    Ok(())
}
