//! Guests: somebody with a ticket, and somebody with the recovery words.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde_bytes::ByteArray;

use super::Service;
use crate::console::fault::Fault;
use crate::format::message::{JoinRequest, Message, Refusal};
use crate::format::roster::Facts;
use crate::session::{self, Session, Side};
use crate::world::{Clock, World};
use crate::{format, roster};

/// How long a guest may take to say what it wants.
const GUEST_PATIENCE: Duration = Duration::from_secs(10);

impl<W: World> Service<W> {
    /// Looks after somebody with a good ticket.
    pub(super) async fn welcome(&self, session: Session, ticket: u64, from: SocketAddr) {
        let clock = self.world().clock();
        let Some(Some(incoming)) = clock.within(GUEST_PATIENCE, session.next()).await else {
            return;
        };
        let granted = match &incoming.message {
            Message::Join(request)
                if session::verify(
                    &request.peer,
                    session.handshake_hash(),
                    Side::Initiator,
                    &request.proof,
                ) =>
            {
                self.grant(request, ticket, *session.noise_static(), from)
                    .await
            }
            _ => Err(Refusal::NotUnderstood),
        };
        let (message, body) = match granted {
            Ok(grant) => (Message::Welcome, Some(Rc::new(grant))),
            Err(refusal) => {
                tracing::warn!(%from, %refusal, "a Box with a good ticket was not taken in");
                (Message::Refused(refusal), None)
            }
        };
        incoming.answer(message, body).await;
        // The newcomer hangs up once it has the answer; its silence ends the session otherwise.
        clock.within(GUEST_PATIENCE, session.closed()).await;
    }

    async fn grant(
        &self,
        request: &JoinRequest,
        ticket: u64,
        noise: [u8; 32],
        from: SocketAddr,
    ) -> Result<Vec<u8>, Refusal> {
        let roster = self.roster();
        let granted = roster::grant(
            &roster,
            &self.secrets(),
            &self.0.identity.signing,
            request,
            noise,
            from,
        )?;
        if !self.0.invitations.burn(ticket, self.world().clock().now()) {
            return Err(Refusal::TicketInvalid);
        }
        // The newcomer is a member, durably, before any secret leaves this Box.
        self.keep_roster(granted.roster)
            .await
            .map_err(|_| Refusal::DiskFailed)?;
        tracing::info!(name = %request.name, peer = %request.peer.short(), "a new Box was taken in");
        Ok(format::encode(&granted.grant))
    }

    /// A one-time ticket.
    pub(super) async fn new_ticket(&self) -> Result<format::ticket::Ticket, Fault> {
        let me = self.roster().member(&self.me());
        let me = me.ok_or_else(|| {
            Fault::new(
                "this Box was removed from its reserve",
                "Nobody was invited.",
                "Invite from another Box.",
            )
        })?;
        let (world, now) = (self.world(), self.world().clock().now());
        self.0
            .invitations
            .invite(
                world.disk(),
                world.entropy(),
                &self.0.identity,
                &me.addresses,
                now,
            )
            .await
            .map_err(|error| {
                Fault::from_sentence(
                    &error.to_string(),
                    "Nobody was invited.",
                    "Look at `reserve doctor`.",
                )
            })
    }

    /// Looks after somebody who says to have the recovery words. Nothing is said before that is proven; no secret is said at all.
    pub(super) async fn survive(&self, session: Session, from: SocketAddr) {
        let clock = self.world().clock();
        let Some(Some(incoming)) = clock.within(GUEST_PATIENCE, session.next()).await else {
            return;
        };
        let recovery = self.roster().recovery();
        let (hash, side) = (*session.handshake_hash(), Side::Initiator);
        let is_owner = matches!(&incoming.message, Message::Recover { proof }
            if session::verify(&recovery, &hash, side, proof));
        if !is_owner {
            tracing::warn!(%from, "somebody without the recovery words tried to recover; nothing was answered");
            session.close();
            return;
        }
        let proof = session::prove(&self.0.identity.signing, &hash, Side::Responder);
        let survivor = Message::Survivor {
            peer: self.me(),
            proof: ByteArray::new(proof),
        };
        let body = Rc::new(self.roster().to_facts().encode());
        incoming.answer(survivor, Some(body)).await;
        let incoming = loop {
            let Some(Some(incoming)) = clock.within(GUEST_PATIENCE, session.next()).await else {
                return;
            };
            let Message::AskLastCopies { out } = &incoming.message else {
                break incoming;
            };
            let (out, word) = (out.clone(), incoming.reply.word());
            let last = self.last_copies(&out, || word.working()).await;
            incoming.answer(Message::LastCopies(last), None).await;
        };
        let taken = match (&incoming.message, Facts::decode(&incoming.body)) {
            (Message::Roster, Ok(facts)) => self.take_in(&facts).await,
            _ => Err(Refusal::NotUnderstood),
        };
        if taken.is_ok() {
            tracing::info!(%from, "a Box came back with the recovery words");
        }
        let answer = taken.map_or_else(Message::Refused, |()| Message::Done);
        incoming.answer(answer, None).await;
        clock.within(GUEST_PATIENCE, session.closed()).await;
    }
}
