//! The handle of a session: ask, be asked, know when it is over.

use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::SessionError;
use super::incoming::Incoming;
use super::noise::{Opener, Sealer};
use super::pool::{Pool, Room, kib};
use super::pulse;
use super::queue::{Outgoing, header};
use super::reader::{Reader, Standing, standing};
use super::state::{Parties, State, Waiting};
use super::surroundings::Surroundings;
use super::writer::Writer;
use crate::format::message::{Hello, Message};
use crate::terms::limits::KEEPALIVE_SECONDS;
use crate::terms::{KeyEpoch, PeerKey};
use crate::world::Clock;

/// What went through a session so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received, sealed.
    pub bytes_in: u64,
    /// Bytes sent, sealed.
    pub bytes_out: u64,
    /// Bodies received.
    pub bodies_in: u64,
    /// Bodies sent.
    pub bodies_out: u64,
}

struct Handle {
    state: Rc<State>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.state.end(SessionError::Closed);
    }
}

/// A conversation with one peer. Clones speak for the same one; when the last is dropped it is closed.
#[derive(Clone)]
pub struct Session(Rc<Handle>);

/// Starts the three tasks of a session.
pub(super) fn start<W, L>(
    world: &W,
    link: L,
    ciphers: (Sealer, Opener),
    parties: Parties,
    granted_bytes: u32,
    pool: &Pool,
) -> Session
where
    W: Surroundings,
    L: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let clock = world.clock().clone();
    let state = Rc::new(State::new(parties, granted_bytes, clock.now()));
    let (sealer, opener) = ciphers;
    let (from, to) = tokio::io::split(link);

    let reader = Reader::new(from, clock.clone(), opener, Room::new(pool), state.clone());
    world.spawn(until_over(state.clone(), reader.run()));
    world.spawn(until_over(
        state.clone(),
        pulse::watch(state.clone(), clock.clone()),
    ));
    let mut writer = Writer::new(to, clock.clone(), sealer, state.clone());
    let writers_state = state.clone();
    world.spawn(async move {
        let state = writers_state;
        until_over(state.clone(), writer.run()).await;
        if state.ended() == Some(SessionError::Closed) {
            let good_bye = std::time::Duration::from_secs(KEEPALIVE_SECONDS);
            clock.within(good_bye, writer.finish()).await;
        }
        // What was not sent holds the state that holds it.
        drop(state.queue.take());
    });
    Session(Rc::new(Handle { state }))
}

async fn until_over(state: Rc<State>, work: impl Future<Output = SessionError>) {
    tokio::select! {
        biased;
        () = state.over() => {}
        why = work => state.end(why),
    }
}

impl Session {
    /// Who is at the other end. Of a join session nobody knows before the request to join: it is the key of zeros, which
    /// signs nothing.
    #[must_use]
    pub fn peer(&self) -> PeerKey {
        self.state().parties.theirs.peer
    }

    /// What it said of itself when the session began. Blank in a join session.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.state().parties.theirs
    }

    /// Whether this side called.
    #[must_use]
    pub fn initiated(&self) -> bool {
        self.state().parties.initiated
    }

    /// Under which epoch's keys two members speak; `None` with a guest.
    #[must_use]
    pub fn epoch(&self) -> Option<KeyEpoch> {
        self.state().parties.epoch
    }

    /// Names this session among all there ever were: what proofs of identity are made over.
    #[must_use]
    pub fn handshake_hash(&self) -> &[u8; 32] {
        &self.state().parties.handshake_hash
    }

    /// The Noise key the other side proved to have.
    #[must_use]
    pub fn noise_static(&self) -> &[u8; 32] {
        &self.state().parties.noise_static
    }

    /// How much waits to be sent.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.state().queue.borrow().len()
    }

    /// What went through so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let state = self.state();
        Counters {
            bytes_in: state.bytes_in.get(),
            bytes_out: state.bytes_out.get(),
            bodies_in: state.bodies_in.get(),
            bodies_out: state.bodies_out.get(),
        }
    }

    /// Asks, and waits for the answer. A `Put` waits for credit first, everything for its turn in a bounded queue. A question
    /// nobody waits for any more is still carried out.
    ///
    /// # Errors
    /// [`SessionError::Gone`] when the session ends before the answer; [`SessionError::Rule`] for what is no question or is
    /// longer than a peer would take.
    pub async fn ask(
        &self,
        message: Message,
        body: Option<Rc<Vec<u8>>>,
    ) -> Result<(Message, Vec<u8>), SessionError> {
        let state = self.state();
        if standing(&message) != Standing::Request {
            return Err(SessionError::Rule("this is no question"));
        }
        let body_bytes = body.as_ref().map_or(0, |body| body.len());
        let is_put = matches!(message, Message::Put { .. });
        let request = next_request(state);
        let header = header(request, message, body.as_ref().map(|body| body.as_slice()))
            .ok_or(SessionError::Rule("this is longer than a peer would take"))?;
        let credit = match u32::try_from(body_bytes) {
            Ok(bytes) if is_put => Some(Credit::take(state, bytes).await?),
            _ => None,
        };
        let gone = |_| SessionError::Gone;
        let requests = state.requests.clone();
        let open = requests.acquire_owned().await.map_err(gone)?;
        let headers = state.headers.clone();
        let headers = headers.acquire_many_owned(kib(header.len())).await;
        let headers = headers.map_err(gone)?;
        let room = state.send_room.clone();
        let room = room.acquire_many_owned(kib(header.len() + body_bytes));
        let room = room.await.map_err(gone)?;

        // From here to the queue nothing waits: what is booked is sent.
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            answer,
            heard_at: None,
            _places: (open, headers),
        };
        state.waiting.borrow_mut().insert(request, waiting);
        state.send(Outgoing {
            header,
            body,
            _room: Some(room),
            answers: None,
            asks: Some(request),
        });
        if let Some(credit) = credit {
            credit.spend();
        }
        answered.await.map_err(|_| SessionError::Gone)
    }

    /// The peer's next request; `None` when the session is over.
    pub async fn next(&self) -> Option<Incoming> {
        let state = self.state();
        loop {
            if state.ended().is_some() {
                return None;
            }
            let came = state.incoming_came.notified();
            if let Some(incoming) = state.incoming.borrow_mut().pop_front() {
                return Some(incoming);
            }
            came.await;
        }
    }

    /// Waits until the session is over.
    pub async fn closed(&self) {
        self.state().over().await;
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ended().is_some()
    }

    /// Why it is over, if it is.
    #[must_use]
    pub fn ended(&self) -> Option<SessionError> {
        self.state().ended()
    }

    /// Ends it. Answers already given still go out, if the peer takes them soon.
    pub fn close(&self) {
        self.state().end(SessionError::Closed);
    }

    fn state(&self) -> &Rc<State> {
        &self.0.state
    }
}

/// A number no open question has.
fn next_request(state: &State) -> u32 {
    let mut request = state.next_request.get();
    loop {
        request = request.wrapping_add(1).max(1);
        if !state.waiting.borrow().contains_key(&request) {
            state.next_request.set(request);
            return request;
        }
    }
}

/// Credit taken for a body; given back if the body is not sent after all.
struct Credit<'a> {
    state: &'a State,
    bytes: u32,
}

impl<'a> Credit<'a> {
    async fn take(state: &'a State, bytes: u32) -> Result<Self, SessionError> {
        let _in_line = state.credit_line.lock().await;
        loop {
            if state.ended().is_some() {
                return Err(SessionError::Gone);
            }
            if state.sending.borrow_mut().take(bytes) {
                return Ok(Self { state, bytes });
            }
            state.credit_came.notified().await;
        }
    }

    fn spend(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Credit<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.state.sending.borrow_mut().give_back(self.bytes);
            self.state.credit_came.notify_one();
        }
    }
}
