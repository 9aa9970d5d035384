//! What waits to be sent: whole messages in order, and the small signs that go before them.
//!
//! It is bounded: requests and answers by the number of open ones and by the bytes they reserved before they came here, signs
//! because equal ones fall together.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use tokio::sync::OwnedSemaphorePermit;

use super::incoming::OpenRequest;
use crate::format::message::{Envelope, Message};

/// One message on its way out.
pub(super) struct Outgoing {
    /// The header with its length before it.
    pub(super) header: Vec<u8>,
    pub(super) body: Option<Rc<Vec<u8>>>,
    /// Its place in the queue's bytes.
    pub(super) _room: Option<OwnedSemaphorePermit>,
    /// The peer's request it answers: the peer may ask again only once the answer goes.
    pub(super) answers: Option<OpenRequest>,
    /// The number of the question it is.
    pub(super) asks: Option<u32>,
}

/// A header as it stands on the wire. `None` if it is longer than a peer would take.
pub(super) fn header(request: u32, message: Message, body: Option<&[u8]>) -> Option<Vec<u8>> {
    let body_bytes = u32::try_from(body.map_or(0, <[u8]>::len)).ok()?;
    let bytes = Envelope {
        request,
        message,
        body_bytes,
    }
    .encode();
    let too_long = bytes.len() > crate::terms::limits::MESSAGE_BYTES_MAX
        || body_bytes as usize > crate::terms::limits::BODY_BYTES_MAX;
    let length = u16::try_from(bytes.len()).ok().filter(|_| !too_long)?;
    let mut header = Vec::with_capacity(2 + bytes.len());
    header.extend(length.to_le_bytes());
    header.extend(bytes);
    Some(header)
}

/// What waits to be sent.
#[derive(Default)]
pub(super) struct Queue {
    messages: VecDeque<Outgoing>,
    ping: bool,
    pong: bool,
    credit: u64,
    /// Requests of the peer's that are being worked on: at most as many as may be open.
    working: BTreeSet<u32>,
}

impl Queue {
    pub(super) fn push(&mut self, outgoing: Outgoing) {
        self.messages.push_back(outgoing);
    }

    pub(super) fn push_ping(&mut self) {
        self.ping = true;
    }

    pub(super) fn push_pong(&mut self) {
        self.pong = true;
    }

    pub(super) fn push_credit(&mut self, bytes: u32) {
        self.credit += u64::from(bytes);
    }

    pub(super) fn push_working(&mut self, request: u32) {
        self.working.insert(request);
    }

    /// How much waits.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let signs = [self.ping, self.pong, self.credit > 0];
        self.messages.len() + signs.into_iter().filter(|sign| *sign).count()
    }

    /// The next to send.
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        match self.sign() {
            Some((request, sign)) => header(request, sign, None).map(|header| Outgoing {
                header,
                body: None,
                _room: None,
                asks: None,
                answers: None,
            }),
            None => self.messages.pop_front(),
        }
    }

    fn sign(&mut self) -> Option<(u32, Message)> {
        if std::mem::take(&mut self.pong) {
            Some((0, Message::Pong))
        } else if self.credit > 0 {
            let bytes = u32::try_from(self.credit).unwrap_or(u32::MAX);
            self.credit -= u64::from(bytes);
            Some((0, Message::Credit { bytes }))
        } else if std::mem::take(&mut self.ping) {
            Some((0, Message::Ping))
        } else {
            let request = self.working.pop_first();
            request.map(|request| (request, Message::Working))
        }
    }
}
