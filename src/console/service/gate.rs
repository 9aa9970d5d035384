//! Who is let in: this Box's answers to sessions, the mesh and its own keeper.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Directory, Service};
use crate::format::keys::{NetworkKeys, RecoveryWay};
use crate::format::message::Refusal;
use crate::format::roster::Facts;
use crate::keeper::Keepers;
use crate::session::{self, Answered, Gate, HelloFacts, OpenError, Session};
use crate::terms::limits::RECEIVE_CREDIT_BYTES;
use crate::terms::{KeyEpoch, PeerKey, ReserveId, SnapshotNumber, Suite};
use crate::world::{Clock, Net, World};
use crate::{keeper, path};

/// The program's version, as peers see it.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Callers that were turned away are told of this often at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

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
    /// Tells why a call came to nothing: to people here, never to the caller. A flood of strangers does not flood the log.
    fn turned_away(&self, from: SocketAddr, error: &OpenError) {
        if matches!(
            error,
            OpenError::HungUp | OpenError::Link(_) | OpenError::TooSlow
        ) {
            tracing::debug!(%from, %error, "a call came to nothing");
            return;
        }
        let now = self.world().clock().now();
        let (last, untold) = self.0.turned_away.get();
        let is_due = last.is_none_or(|last| now.since(last) >= TELL_EVERY);
        if is_due {
            tracing::warn!(%from, %error, untold, "a caller was turned away without an answer");
            self.0.turned_away.set((Some(now), 0));
        } else {
            self.0.turned_away.set((last, untold + 1));
        }
    }

    /// Which epoch a peer is called under: the present one, or after it hung up the one before, since it may have been off.
    fn epoch_to_try(&self, peer: PeerKey) -> KeyEpoch {
        let back = self.0.epochs_back.borrow().get(&peer).copied().unwrap_or(0);
        let held = self.secrets().held();
        let present = self.epoch();
        let older = held.iter().rev().filter(|epoch| **epoch != present);
        std::iter::once(&present)
            .chain(older)
            .nth(back % held.len().max(1))
            .copied()
            .unwrap_or(present)
    }
}

impl<W: World> Gate for Service<W> {
    fn network_keys(&self, epoch: KeyEpoch) -> Option<NetworkKeys> {
        self.secrets().network_keys_of(epoch)
    }

    fn ticket_secret(&self, number: u64) -> Option<[u8; 32]> {
        self.0
            .invitations
            .secret(number, self.world().clock().now())
    }

    fn recovery_way(&self) -> Option<RecoveryWay> {
        Some(self.0.recovery_way.clone())
    }

    fn knows(&self, noise_static: &[u8; 32]) -> bool {
        let members = self.roster().members();
        members.iter().any(|member| member.noise == *noise_static)
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
        let (me, epoch) = (self.me(), self.epoch());
        let roster = self.roster();
        if roster.member(&me).is_none() {
            return Vec::new();
        }
        let members = roster
            .members()
            .into_iter()
            .filter(|member| member.key != me);
        members
            .map(|member| path::Callee {
                peer: member.key,
                noise: member.noise,
                fast_aes: member.fast_aes,
                addresses: member.addresses,
                epoch,
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
            epoch: self.epoch_to_try(callee.peer),
            suite,
        };
        match session::open(self.world(), link, &self.0.keys, self, &to, &self.0.pool).await {
            Ok(session) => {
                self.0.epochs_back.borrow_mut().remove(&callee.peer);
                self.or_news(session)
            }
            Err(error) => {
                tracing::debug!(peer = %callee.peer.short(), %error, "no session");
                if error == OpenError::HungUp {
                    *self
                        .0
                        .epochs_back
                        .borrow_mut()
                        .entry(callee.peer)
                        .or_default() += 1;
                }
                None
            }
        }
    }

    async fn answer(&self, link: <W::Net as Net>::Link, from: SocketAddr) -> Option<Session> {
        let (pool, guests) = (&self.0.pool, &self.0.guests_pool);
        match session::answer(self.world(), link, &self.0.keys, self, pool, guests).await {
            Ok(Answered::Session(session)) => return self.or_news(session),
            // A Box that was shut out can come as far as a guest: the caller's place among strangers is held to the end.
            Ok(Answered::Join(session, ticket)) => self.welcome(session, ticket, from).await,
            Ok(Answered::Recover(session)) => self.survive(session, from).await,
            Err(error) => self.turned_away(from, &error),
        }
        None
    }

    fn met(&self, session: Session) {
        if !self.stands(&session) {
            // The epoch changed while it began.
            self.world().spawn(self.clone().exchange_news(session));
            return;
        }
        self.met_again(session.peer(), session.hello().boot);
        self.0.healing.borrow_mut().met(session.peer());
        let server = self.0.server.get().expect("set in new").clone();
        let (service, served) = (self.clone(), session.clone());
        self.world().spawn(async move {
            server.serve(served.clone()).await;
            if served.ended() == Some(session::SessionError::Unanswered) {
                service.left_unanswered(served.peer());
            }
        });
        if session.hello().roster != self.roster().hash() {
            let (service, told) = (self.clone(), session.clone());
            self.world()
                .spawn(async move { service.tell_until_heard(&told).await });
        }
        let service = self.clone();
        self.world().spawn(async move {
            service.take_heads(&session).await;
            service.look_after(&session).await;
            service.0.lacking.borrow_mut().ask_anew();
            service.0.mend.notify_one();
            service.0.heal.notify_one();
        });
    }
}

impl<W: World> Service<W> {
    /// A session under the present epoch, or nothing: under an older one only news are exchanged.
    fn or_news(&self, session: Session) -> Option<Session> {
        if self.stands(&session) {
            return Some(session);
        }
        self.world().spawn(self.clone().exchange_news(session));
        None
    }
}

impl<W: World> keeper::Host for Service<W> {
    type Keepers = Directory<W>;

    fn keepers(&self) -> Directory<W> {
        Service::keepers(self)
    }

    fn places(&self) -> keeper::Places {
        let (wanted, least) = self.roster().factors_wanted();
        keeper::Places {
            members: Service::keepers(self).members(),
            wanted,
            least,
        }
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
        if *blake3::hash(body).as_bytes() == self.roster().hash() {
            return self.know_already().await;
        }
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
