//! Who is let in: this Box's answers to sessions, the mesh, its own keeper, and newcomers.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::{Directory, Service};
use crate::console::fault::Fault;
use crate::format::keys::NetworkKeys;
use crate::format::message::{JoinRequest, Message, Refusal};
use crate::format::roster::Facts;
use crate::session::{self, Answered, Gate, HelloFacts, LocalKeys, Session, Side};
use crate::terms::limits::RECEIVE_CREDIT_BYTES;
use crate::terms::{KeyEpoch, PeerKey, ReserveId, SnapshotNumber, Suite};
use crate::world::{Clock, Net, World};
use crate::{format, keeper, path, roster};

/// The program's version, as peers see it.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long a newcomer may take to say what it wants.
const NEWCOMER_PATIENCE: Duration = Duration::from_secs(10);

/// The session cipher: AES only where both sides have instructions for it.
#[must_use]
pub fn session_suite(mine_is_fast: bool, theirs_is_fast: bool) -> Suite {
    if mine_is_fast && theirs_is_fast {
        Suite::Aes256Gcm
    } else {
        Suite::ChaCha20Poly1305
    }
}

/// Whether this processor has AES instructions.
#[must_use]
pub fn has_fast_aes() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

impl<W: World> Service<W> {
    fn local_keys(&self) -> LocalKeys {
        LocalKeys {
            sign: self.0.identity.signing.clone(),
            noise: self.0.identity.noise.clone(),
        }
    }

    /// Merges what somebody says of the roster; what changed is durable before it counts.
    async fn take_in(&self, facts: &Facts) -> Result<(), Refusal> {
        let mut merging = self.roster().as_ref().clone();
        let merged = merging.merge(facts);
        if merged.refused.foreign {
            return Err(Refusal::NotUnderstood);
        }
        if merged.changed {
            self.keep_roster(merging)
                .await
                .map_err(|_| Refusal::DiskFailed)?;
        }
        Ok(())
    }

    /// Makes a roster durable, lets it count, and tells everybody in reach. Changes made meanwhile are merged in, never overwritten.
    pub(super) async fn keep_roster(
        &self,
        news: roster::Roster,
    ) -> Result<(), roster::RosterError> {
        let _turn = self.0.roster_turn.lock().await;
        let mut roster = self.roster().as_ref().clone();
        if roster.merge(&news.to_facts()).refused.too_large {
            return Err(roster::RosterError::Edit(
                "the roster would be larger than it may be".into(),
            ));
        }
        roster.save(self.world().disk()).await?;
        self.roster_is(roster);
        for session in self.mesh().map(path::Mesh::sessions).unwrap_or_default() {
            let service = self.clone();
            self.world()
                .spawn(async move { service.tell_roster(&session).await });
        }
        Ok(())
    }

    pub(super) async fn tell_roster(&self, session: &Session) {
        let body = Rc::new(self.roster().to_facts().encode());
        // Whoever did not hear it now compares hashes at its next hello.
        let _ = session.ask(Message::Roster, Some(body)).await;
    }

    /// Looks after somebody with a good ticket.
    async fn welcome(&self, session: Session, ticket: u64, from: SocketAddr) {
        let Some(Some(incoming)) = self
            .world()
            .clock()
            .within(NEWCOMER_PATIENCE, session.next())
            .await
        else {
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
            Err(refusal) => (Message::Refused(refusal), None),
        };
        incoming.answer(message, body).await;
        // The newcomer hangs up once it has the answer; its silence ends the session otherwise.
        self.world()
            .clock()
            .within(NEWCOMER_PATIENCE, session.closed())
            .await;
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
            &self.0.secrets,
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
        let addresses = self
            .roster()
            .member(&self.me())
            .map(|me| me.addresses)
            .unwrap_or_default();
        let (world, now) = (self.world(), self.world().clock().now());
        self.0
            .invitations
            .invite(
                world.disk(),
                world.entropy(),
                &self.0.identity,
                &addresses,
                now,
            )
            .await
            .map_err(|error| Fault::new(error.to_string(), "Nobody was invited.", ""))
    }
}

impl<W: World> Gate for Service<W> {
    fn network_keys(&self, epoch: KeyEpoch) -> Option<NetworkKeys> {
        (epoch == self.0.secrets.epoch()).then(|| self.0.secrets.network_keys())
    }

    fn ticket_secret(&self, number: u64) -> Option<[u8; 32]> {
        self.0
            .invitations
            .secret(number, self.world().clock().now())
    }

    fn admits(&self, peer: &PeerKey, noise_static: &[u8; 32]) -> bool {
        *peer != self.me()
            && self
                .roster()
                .member(peer)
                .is_some_and(|member| member.noise == *noise_static)
    }

    fn hello(&self) -> HelloFacts {
        HelloFacts {
            boot: self.0.boot,
            version: VERSION.into(),
            roster: self.roster().hash(),
            credit_bytes: RECEIVE_CREDIT_BYTES,
            heads: self.store().newest_heads(),
        }
    }
}

impl<W: World> path::Host<W> for Service<W> {
    fn me(&self) -> PeerKey {
        Service::me(self)
    }

    fn callees(&self) -> Vec<path::Callee> {
        let me = self.me();
        let members = self
            .roster()
            .members()
            .into_iter()
            .filter(|member| member.key != me);
        members
            .map(|member| path::Callee {
                peer: member.key,
                noise: member.noise,
                fast_aes: member.fast_aes,
                addresses: member.addresses,
            })
            .collect()
    }

    async fn roster_changed(&self) {
        self.0.roster_changed.notified().await;
    }

    async fn open(&self, link: <W::Net as Net>::Link, callee: &path::Callee) -> Option<Session> {
        let suite = session_suite(has_fast_aes(), callee.fast_aes);
        let to = session::Callee {
            peer: callee.peer,
            noise: callee.noise,
            epoch: self.0.secrets.epoch(),
            suite,
        };
        match session::open(
            self.world(),
            link,
            &self.local_keys(),
            self,
            &to,
            &self.0.pool,
        )
        .await
        {
            Ok(session) => Some(session),
            Err(error) => {
                tracing::debug!(peer = %callee.peer.short(), %error, "no session");
                None
            }
        }
    }

    async fn answer(&self, link: <W::Net as Net>::Link, from: SocketAddr) -> Option<Session> {
        match session::answer(self.world(), link, &self.local_keys(), self, &self.0.pool).await {
            Ok(Answered::Session(session)) => Some(session),
            Ok(Answered::Join(session, ticket)) => {
                let service = self.clone();
                self.world()
                    .spawn(async move { service.welcome(session, ticket, from).await });
                None
            }
            Err(error) => {
                tracing::debug!(%from, %error, "a call came to nothing");
                None
            }
        }
    }

    fn met(&self, session: Session) {
        self.met_again(session.peer(), session.hello().boot);
        let server = self.0.server.get().expect("set in new").clone();
        self.world().spawn(server.serve(session.clone()));
        let service = self.clone();
        self.world().spawn(async move {
            if session.hello().roster != service.roster().hash() {
                service.tell_roster(&session).await;
            }
            service.take_heads(&session).await;
            service.prove_to_peer(session.peer()).await;
        });
    }
}

impl<W: World> keeper::Host for Service<W> {
    type Keepers = Directory<W>;

    fn keepers(&self) -> Directory<W> {
        Service::keepers(self)
    }

    fn reserve(&self) -> ReserveId {
        self.roster().reserve()
    }

    fn is_ours(&self, author: PeerKey) -> bool {
        let roster = self.roster();
        roster.member(&author).is_some()
            || roster.former().iter().any(|member| member.key == author)
    }

    async fn merge_roster(&self, body: &[u8]) -> Result<(), Refusal> {
        let facts = Facts::decode(body).map_err(|_| Refusal::Damaged)?;
        self.take_in(&facts).await
    }
}

/// The number of this author's newest head in a hello.
#[must_use]
pub fn told_of(heads: &[(PeerKey, SnapshotNumber)], author: PeerKey) -> SnapshotNumber {
    heads
        .iter()
        .find(|(of, _)| *of == author)
        .map_or(SnapshotNumber(0), |(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_is_used_only_where_both_sides_are_fast_at_it() {
        assert_eq!(session_suite(true, true), Suite::Aes256Gcm);
        assert_eq!(session_suite(true, false), Suite::ChaCha20Poly1305);
        assert_eq!(session_suite(false, true), Suite::ChaCha20Poly1305);
    }
}
