//! The inviter's side of taking a new Box in: tickets, and what the new Box is given.
//!
//! A ticket's secret lives in memory only, and its number is on the disk before it is handed out. So after a restart every
//! number up to the recorded one is void, and no number is ever given twice: burning a ticket is forgetting it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use ed25519_dalek::SigningKey;
use serde_bytes::ByteBuf;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::{Identity, Roster, RosterError, Secrets, SetError, TICKETS_FILE, read, write};
use crate::format::message::{JoinGrant, JoinRequest, Refusal};
use crate::format::roster::{Subject, Value, name_is_legal};
use crate::format::ticket::Ticket;
use crate::format::{decode_file, encode_file};
use crate::terms::PeerKey;
use crate::terms::limits::{ADDRESSES_MAX, MEMBERS_MAX, TICKET_SECONDS};
use crate::world::{Disk, Entropy, Moment};

/// Invitations that may be open at once.
pub const INVITATIONS_MAX: usize = 16;

/// Why no ticket was given.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// Too many are out.
    #[error(
        "{INVITATIONS_MAX} invitations are open; use one of them, or wait until they lapse after ten minutes"
    )]
    TooMany,
    /// Nobody could reach this Box.
    #[error(
        "this Box knows no address of its own; name one with `reserve keeper --advertise ADDR`"
    )]
    NoAddress,
    /// The number could not be recorded.
    #[error(transparent)]
    Roster(#[from] RosterError),
}

struct Open {
    number: u64,
    since: Moment,
    secret: Zeroizing<[u8; 32]>,
}

/// The open invitations of this Box.
pub struct Invitations {
    open: RefCell<Vec<Open>>,
    given: Mutex<u64>,
}

impl Invitations {
    /// Starts with none open; numbers go on where they ended.
    pub async fn load(disk: &impl Disk) -> Result<Self, RosterError> {
        let file = TICKETS_FILE;
        let given = match read(disk, file).await? {
            // No ticket outlives a start, so a number that comes twice opens nothing: its secret is another.
            Some(bytes) => decode_file("tickets", &bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, "the file {file} is damaged: tickets are counted from the beginning");
                0
            }),
            None => 0,
        };
        Ok(Self {
            open: RefCell::new(Vec::with_capacity(INVITATIONS_MAX)),
            given: Mutex::new(given),
        })
    }

    /// Gives a ticket; its number is durable before it is handed out.
    pub async fn invite(
        &self,
        disk: &impl Disk,
        entropy: &impl Entropy,
        own: &Identity,
        addresses: &[SocketAddr],
        now: Moment,
    ) -> Result<Ticket, InviteError> {
        if addresses.is_empty() {
            return Err(InviteError::NoAddress);
        }
        let mut given = self.given.lock().await;
        self.forget_lapsed(now);
        if self.open.borrow().len() >= INVITATIONS_MAX {
            return Err(InviteError::TooMany);
        }
        let number = given.saturating_add(1);
        write(disk, TICKETS_FILE, &encode_file(&number), false).await?;
        *given = number;
        let secret = Zeroizing::new(entropy.bytes());
        let ticket = Ticket {
            addresses: addresses.iter().take(ADDRESSES_MAX).copied().collect(),
            noise: own.noise_public(),
            number,
            secret: *secret,
        };
        self.open.borrow_mut().push(Open {
            number,
            since: now,
            secret,
        });
        Ok(ticket)
    }

    /// The secret of a ticket that is still good.
    #[must_use]
    pub fn secret(&self, number: u64, now: Moment) -> Option<[u8; 32]> {
        self.forget_lapsed(now);
        let open = self.open.borrow();
        let invitation = open.iter().find(|open| open.number == number)?;
        Some(*invitation.secret)
    }

    /// Voids a ticket for ever, also across a restart; says whether it was still good. Only one of two askers gets a yes.
    pub fn burn(&self, number: u64, now: Moment) -> bool {
        self.forget_lapsed(now);
        let mut open = self.open.borrow_mut();
        let before = open.len();
        open.retain(|open| open.number != number);
        open.len() < before
    }

    fn forget_lapsed(&self, now: Moment) {
        let good = |open: &Open| now.since(open.since) < Duration::from_secs(TICKET_SECONDS);
        self.open.borrow_mut().retain(good);
    }
}

/// A Box taken in.
pub struct Granted {
    /// The inviter's roster from now on: save it, then burn the ticket, then send the grant.
    pub roster: Roster,
    /// What the new Box is sent.
    pub grant: JoinGrant,
}

/// Takes a new Box in, or in again if it is in already under its key (its answer was lost). `noise` is its static key as the
/// session saw it; that its proof is right was checked there.
pub fn grant(
    roster: &Roster,
    secrets: &Secrets,
    inviter: &SigningKey,
    request: &JoinRequest,
    noise: [u8; 32],
    seen_from: SocketAddr,
) -> Result<Granted, Refusal> {
    let peer = request.peer;
    let by = PeerKey(inviter.verifying_key().to_bytes());
    let legal = name_is_legal(&request.name) && name_is_legal(&request.site);
    let known = roster.member(&peer);
    let former = roster.former();
    if !legal
        || peer == by
        || former.iter().any(|member| member.key == peer)
        || known.as_ref().is_some_and(|known| known.noise != noise)
    {
        return Err(Refusal::NotUnderstood);
    }
    let taken = roster.by_name(&request.name);
    if taken.is_some_and(|member| member.key != peer) {
        return Err(Refusal::NameTaken);
    }
    let replaced = known.as_ref().and_then(|known| known.replaces);
    let replaces = match &request.replaces {
        None => None,
        Some(_) if replaced.is_some() => None,
        Some(name) => Some(roster.to_replace(name).ok_or(Refusal::NothingToReplace)?),
    };
    if known.is_none() && roster.members().len() + former.len() >= MEMBERS_MAX {
        return Err(Refusal::ReserveFull);
    }
    let mut roster = roster.clone();
    let mut set = |value| roster.set(Subject::Peer(peer), value, inviter);
    let mut say = || -> Result<(), SetError> {
        let known = known.as_ref();
        if known.is_none() {
            let proof = request.noise_proof;
            set(Value::Member { noise, proof })?;
        }
        if known.is_none_or(|known| known.name != request.name) {
            set(Value::Name(request.name.clone()))?;
        }
        if known.is_none_or(|known| known.site != request.site) {
            set(Value::Site(request.site.clone()))?;
        }
        if known.is_none_or(|known| known.fast_aes != request.fast_aes) {
            set(Value::FastAes(request.fast_aes))?;
        }
        if let Some(before) = replaces {
            set(Value::Replaces(before))?;
        }
        Ok(())
    };
    say().map_err(|_| Refusal::NotUnderstood)?;
    let grant = JoinGrant {
        roster: ByteBuf::from(roster.to_facts().encode()),
        secrets: secrets.up_to(secrets.epoch(&roster)).to_pairs(),
        seen_from,
    };
    Ok(Granted { roster, grant })
}
