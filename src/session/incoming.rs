//! A request from the peer, and the duty to answer it.

use std::rc::Rc;

use tokio::sync::OwnedSemaphorePermit;

use super::pool::{Lease, kib};
use super::queue::{Outgoing, header};
use super::state::State;
use crate::format::message::{Message, Refusal};

/// A request from the peer. Its parts may be taken apart; each does its own when dropped.
pub struct Incoming {
    /// What is asked.
    pub message: Message,
    /// The bytes that came with it.
    pub body: Vec<u8>,
    /// The body's place in the pool: to be held as long as the body is.
    pub lease: Lease,
    /// The way to answer.
    pub reply: Reply,
}

/// The way to say that a request is being worked on, before it is answered.
#[derive(Clone)]
pub struct Word {
    state: Rc<State>,
    request: u32,
}

impl Word {
    /// Says that it came further. Only while the request is open.
    pub fn working(&self) {
        self.state.working(self.request);
    }
}

impl Incoming {
    /// Answers, and gives back body and lease before.
    pub async fn answer(self, message: Message, body: Option<Rc<Vec<u8>>>) {
        let Self { reply, .. } = self;
        reply.answer(message, body).await;
    }
}

/// One of the peer's open requests, counted until its answer goes out.
pub(super) struct OpenRequest {
    state: Rc<State>,
    header_kib: usize,
}

impl OpenRequest {
    pub(super) fn new(state: Rc<State>, header_kib: usize) -> Self {
        let open = &state.open_requests;
        open.set(open.get() + 1);
        let headers = &state.open_header_kib;
        headers.set(headers.get() + header_kib);
        Self { state, header_kib }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let (open, headers) = (&self.state.open_requests, &self.state.open_header_kib);
        open.set(open.get().saturating_sub(1));
        headers.set(headers.get().saturating_sub(self.header_kib));
    }
}

/// The most the header of an answer with a reserved place takes.
const RESERVED_HEADER_BYTES: usize = 1024;

/// The way to answer a request. Dropped without an answer it says [`Refusal::NotUnderstood`], so that nobody waits for ever.
pub struct Reply {
    state: Rc<State>,
    request: u32,
    open: Option<OpenRequest>,
    /// A place among the bytes on their way out that was asked for before the answer was there.
    place: Option<OwnedSemaphorePermit>,
}

impl Reply {
    pub(super) fn new(state: Rc<State>, request: u32, open: OpenRequest) -> Self {
        Self {
            state,
            request,
            open: Some(open),
            place: None,
        }
    }

    /// Waits for a place on the way out for a body of up to so many bytes; false if the session is over. Whoever needs something others
    /// wait for too asks for the place first: a peer that does not read then keeps nobody but itself waiting.
    pub async fn reserve(&mut self, body_bytes: usize) -> bool {
        let size = kib(body_bytes + RESERVED_HEADER_BYTES);
        let place = self.state.send_room.clone().acquire_many_owned(size).await;
        self.place = place.ok();
        self.place.is_some()
    }

    /// The way to say that it is being worked on; not to be used once it is answered.
    #[must_use]
    pub fn word(&self) -> Word {
        Word {
            state: self.state.clone(),
            request: self.request,
        }
    }

    /// Answers. Waits while too many bytes are on their way to the peer already; does nothing if the session is over.
    pub async fn answer(mut self, message: Message, body: Option<Rc<Vec<u8>>>) {
        let bytes = body.as_ref().map(|body| body.as_slice());
        let Some(header) = header(self.request, message, bytes) else {
            return; // Too long to be understood: refused when `self` is dropped.
        };
        let size = kib(header.len() + bytes.map_or(0, <[u8]>::len));
        // Of a place that was reserved, what is not needed is given back.
        let reserved = self
            .place
            .take()
            .and_then(|mut all| all.split(size as usize));
        let room = match reserved {
            Some(room) => Ok(room),
            None => self.state.send_room.clone().acquire_many_owned(size).await,
        };
        if let Ok(room) = room {
            self.state.send(Outgoing {
                header,
                body,
                _room: Some(room),
                answers: self.open.take(),
                asks: None,
            });
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let refused = Message::Refused(Refusal::NotUnderstood);
        if let Some(header) = header(self.request, refused, None) {
            self.state.send(Outgoing {
                header,
                body: None,
                _room: None,
                answers: Some(open),
                asks: None,
            });
        }
    }
}
