//! A new Box asks an inviter to take it in: the conversation, the same in every world. Ends with a directory that is a Box.
//!
//! It may be repeated until it works: the key it asks with stays the same.

use std::cell::Cell;
use std::time::Duration;

use serde_bytes::ByteArray;
use smol_str::SmolStr;

use super::fault::{Exit, Fault};
use super::service::session_suite;
use super::setup::told;
use crate::format;
use crate::format::message::{JoinGrant, JoinRequest, Message, Refusal};
use crate::format::ticket::Ticket;
use crate::roster::{self, Config, Identity};
use crate::session::{self, Pool, Session, Side};
use crate::terms::limits::RECEIVE_POOL_BYTES;
use crate::world::{Clock, Disk, Net, World};

/// How long an address of the inviter may take to answer at all before the next one is tried.
const CALL_PATIENCE: Duration = Duration::from_secs(5);

/// What a Box says of itself.
pub struct Asking {
    /// Its `box.toml`, its name in it.
    pub config: Config,
    /// Where it stands; at a place of its own if not said.
    pub site: Option<SmolStr>,
    /// Whose history it continues.
    pub replaces: Option<SmolStr>,
    /// Whether it has AES instructions.
    pub fast_aes: bool,
}

/// Asks to be taken in, and makes this directory a Box.
///
/// # Errors
/// A sentence for people. This Box is unchanged: nothing is left of a try that nobody heard of.
pub async fn join<W: World>(world: &W, ticket: &Ticket, asking: Asking) -> Result<(), Fault> {
    let hearing = Hearing::begin(world.disk()).await?;
    let identity = roster::prepare_join(world.disk(), world.entropy())
        .await
        .map_err(|error| told(&error))?;
    let asked = ask_in(world, &identity, ticket, &asking, &hearing).await;
    let grant = hearing.end(world.disk(), asked).await?;
    roster::accept(world.disk(), &grant, identity, asking.config)
        .await
        .map_err(|error| told(&error))?;
    Ok(())
}

/// Whether somebody may know the key a Box asks with. Only then is the key worth keeping for the next try.
pub(super) struct Hearing {
    may_be_known: Cell<bool>,
}

impl Hearing {
    /// Before a try. The key of an earlier one, whose answer was lost, may be known.
    pub(super) async fn begin(disk: &impl Disk) -> Result<Self, Fault> {
        let asked = roster::has_asked(disk).await;
        Ok(Self {
            may_be_known: Cell::new(asked.map_err(|error| told(&error))?),
        })
    }

    /// From here on it may be.
    pub(super) fn is_heard(&self) {
        self.may_be_known.set(true);
    }

    /// Forgets the key of a try that failed before anybody could know it: nothing is left of such a try.
    pub(super) async fn end<T>(
        self,
        disk: &impl Disk,
        tried: Result<T, Fault>,
    ) -> Result<T, Fault> {
        if tried.is_err() && !self.may_be_known.get() {
            // Left where it is it does no harm: the next try uses it.
            let _ = roster::forget_asking(disk).await;
        }
        tried
    }
}

async fn ask_in<W: World>(
    world: &W,
    identity: &Identity,
    ticket: &Ticket,
    asking: &Asking,
    hearing: &Hearing,
) -> Result<JoinGrant, Fault> {
    let session = reach_inviter(world, identity, ticket).await?;
    let proof = session::prove(&identity.signing, session.handshake_hash(), Side::Initiator);
    let name = asking.config.name.clone();
    let site = asking.site.clone().unwrap_or_else(|| name.clone());
    let request = JoinRequest {
        peer: identity.peer(),
        proof: ByteArray::new(proof),
        noise_proof: identity.noise_proof(),
        name,
        site,
        fast_aes: asking.fast_aes,
        replaces: asking.replaces.clone(),
    };
    let was_known = hearing.may_be_known.replace(true);
    let answer = session.ask(Message::Join(request), None).await;
    session.close();
    if let Ok((Message::Refused(refusal), _)) = &answer
        && *refusal != Refusal::DiskFailed
    {
        hearing.may_be_known.set(was_known);
    }
    match answer {
        Ok((Message::Welcome, body)) => format::decode("join grant", &body).map_err(|error| {
            Fault::new(
                format!("the inviter's answer is unusable: {error}"),
                "This Box is unchanged.",
                "Are both programs of the same version? Ask for a new ticket.",
            )
        }),
        Ok((Message::Refused(Refusal::NameTaken), _)) => Err(Fault::new(
            Refusal::NameTaken.to_string(),
            "This Box is unchanged; the ticket is still good.",
            "Repeat the command with another --name.",
        )
        .exit(Exit::Usage)),
        Ok((Message::Refused(refusal), _)) => Err(Fault::new(
            refusal.to_string(),
            "This Box is unchanged.",
            "Look at `reserve status` on the Box that invited, then ask for a new ticket.",
        )),
        Ok(_) | Err(_) => Err(Fault::new(
            "the inviter hung up",
            "This Box is unchanged.",
            "Repeat the command; if the ticket is spent, ask for a new one.",
        )),
    }
}

async fn reach_inviter<W: World>(
    world: &W,
    identity: &Identity,
    ticket: &Ticket,
) -> Result<Session, Fault> {
    let pool = Pool::new(RECEIVE_POOL_BYTES);
    // The ticket does not say what the inviter is fast at; a join is a few hundred bytes.
    let suite = session_suite(false, false);
    let mut reasons = Vec::new();
    for address in &ticket.addresses {
        let called = world
            .clock()
            .within(CALL_PATIENCE, world.net().connect(*address))
            .await;
        let link = match called.unwrap_or_else(|| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(link) => link,
            Err(error) => {
                reasons.push(format!("{address}: {error}"));
                continue;
            }
        };
        match session::join(world, link, &identity.noise, ticket, suite, &pool).await {
            Ok(session) => return Ok(session),
            Err(session::OpenError::HungUp) => {
                reasons.push(format!(
                    "{address}: it does not know this ticket: used, expired, or of another Box"
                ));
            }
            Err(error) => reasons.push(format!("{address}: {error}")),
        }
    }
    Err(Fault::new(
        format!(
            "this ticket did not open the way into the reserve ({})",
            reasons.join("; ")
        ),
        "This Box is unchanged.",
        "A ticket is good for one Box and ten minutes, while the inviter's keeper runs: ask for a new one with `reserve invite`.",
    ))
}
