//! One Box's own words in the roster: making facts, and the `roster` file. What is made here is entitled, or it is not made.

use std::net::SocketAddr;

use ed25519_dalek::SigningKey;

use super::merge::{MEMBER_SLOT, close};
use super::{Identity, ROSTER_FILE, Roster, RosterError, read, write};
use crate::format::roster::{Fact, Facts, SignedFact, Subject, Value};
use crate::format::{Malformed, decode_file, encode_file, malformed};
use crate::terms::PeerKey;
use crate::terms::limits::ADDRESSES_MAX;
use crate::world::Disk;

/// Why a fact was not made. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The signer is no member, or the subject never was.
    #[error(
        "only members can change the roster, and only about Boxes that belong to it; nothing was changed"
    )]
    NotEntitled,
    /// Something better stands there.
    #[error(
        "what stands in the roster cannot be changed this way (the recovery key or a removal decided it); nothing was changed"
    )]
    Stands,
    /// There have been as many epochs as there can be.
    #[error(
        "this reserve has lost as many Boxes as it can shut out; nothing was changed. Begin a new reserve"
    )]
    NoEpochLeft,
    /// The value does not fit.
    #[error("{0}; nothing was changed")]
    Impossible(#[from] Malformed),
}

impl Roster {
    /// Reads the Box's `roster` file.
    pub async fn load(disk: &impl Disk) -> Result<Self, RosterError> {
        let file = ROSTER_FILE;
        let bytes = read(disk, file)
            .await?
            .ok_or(RosterError::Missing { file })?;
        decode_file::<Facts>("roster", &bytes)
            .and_then(|facts| Facts::decode(&facts.encode()))
            .and_then(|facts| Self::from_facts(&facts))
            .map_err(|cause| RosterError::Damaged { file, cause })
    }

    /// Replaces the Box's `roster` file.
    pub async fn save(&self, disk: &impl Disk) -> Result<(), RosterError> {
        write(disk, ROSTER_FILE, &encode_file(&self.to_facts()), false).await
    }

    /// Says something: makes the next counter, signs, and takes it in.
    pub fn set(
        &mut self,
        subject: Subject,
        value: Value,
        signer: &SigningKey,
    ) -> Result<(), SetError> {
        let by = PeerKey(signer.verifying_key().to_bytes());
        let place = (subject, value.slot());
        let standing = self.facts.get(&place);
        let counter = if place.1 == MEMBER_SLOT {
            self.rank(&by).ok_or(SetError::NotEntitled)?.checked_add(1)
        } else {
            standing.map_or(Some(1), |fact| fact.fact.counter.checked_add(1))
        };
        let fact = Fact {
            subject,
            value,
            counter: counter.ok_or(SetError::Stands)?,
            signer: by,
        };
        let signed = SignedFact::sign(self.reserve, fact, signer);
        signed.check(self.reserve)?;
        if standing.is_some_and(|standing| self.better(&signed, standing).is_le()) {
            return Err(SetError::Stands);
        }
        let mut next = self.to_facts();
        next.facts
            .retain(|fact| (fact.fact.subject, fact.fact.value.slot()) != place);
        next.facts.push(signed);
        let (next, 0) = close(&next).ok_or(SetError::Stands)? else {
            return Err(SetError::NotEntitled);
        };
        if next.is_too_large() {
            return Err(malformed("roster", "it would be larger than a roster may be").into());
        }
        *self = next;
        Ok(())
    }

    /// Tells where a Box can be reached, if that is news; says whether it was.
    pub fn set_addresses(
        &mut self,
        own: &Identity,
        addresses: &[SocketAddr],
    ) -> Result<bool, SetError> {
        let mut addresses = addresses.to_vec();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        let subject = Subject::Peer(own.peer());
        let value = Value::Addresses(addresses);
        let standing = self.facts.get(&(subject, value.slot()));
        if standing.is_some_and(|fact| fact.fact.value == value) {
            return Ok(false);
        }
        self.set(subject, value, &own.signing)?;
        Ok(true)
    }
}
