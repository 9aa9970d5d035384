//! The task that reads: large reads from the link, bodies opened straight into their own place, messages handed to whom they
//! concern. What does not verify or breaks a rule ends the session.

use std::ops::Range;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::SessionError;
use super::incoming::{Incoming, OpenRequest, Reply};
use super::noise::{LENGTH_BYTES, NotVerified, Opener, PLAIN_BYTES_MAX, TAG_BYTES};
use super::pool::{Lease, Room, kib};
use super::state::{State, count};
use crate::format::Malformed;
use crate::format::message::{Envelope, Message};
use crate::terms::limits::{
    LINK_BUFFER_BYTES, REQUEST_HEADERS_OPEN_KIB_MAX, REQUESTS_OPEN_MAX, SESSION_SILENCE_SECONDS_MAX,
};
use crate::world::Clock;

impl From<NotVerified> for SessionError {
    fn from(_: NotVerified) -> Self {
        Self::Tampered
    }
}

fn cut(rule: &'static str) -> SessionError {
    SessionError::Malformed(Malformed {
        record: "message",
        rule,
    })
}

/// What a message is to a session, which does not ask further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// For the session itself.
    Sign,
    /// Says how it goes with a request of ours.
    Word,
    /// Wants an answer.
    Request,
    /// Is one.
    Answer,
}

/// Tells them apart.
pub(super) fn standing(message: &Message) -> Standing {
    match message {
        Message::Hello(_) | Message::Ping | Message::Pong | Message::Credit { .. } => {
            Standing::Sign
        }
        Message::Working => Standing::Word,
        Message::Have { .. }
        | Message::Put { .. }
        | Message::Get { .. }
        | Message::Pull { .. }
        | Message::PutHead
        | Message::Heads { .. }
        | Message::AskRoom
        | Message::Prints(_)
        | Message::Marks(_)
        | Message::Claimed { .. }
        | Message::Release
        | Message::Roster
        | Message::Join(_)
        | Message::Recover { .. }
        | Message::AskLastCopies { .. } => Standing::Request,
        Message::Held { .. }
        | Message::Done
        | Message::Record
        | Message::Absent
        | Message::HeadList
        | Message::Room(_)
        | Message::Differ { .. }
        | Message::Unmatched(_)
        | Message::ClaimedPage
        | Message::Welcome
        | Message::Survivor { .. }
        | Message::LastCopies(_)
        | Message::Refused(_) => Standing::Answer,
    }
}

/// Whether a request may bring a body: what none is expected of would hold the pool until an answer is there.
fn brings_a_body(request: &Message) -> bool {
    matches!(
        request,
        Message::Put { .. } | Message::PutHead | Message::Release | Message::Roster
    )
}

/// The task that reads.
pub(super) struct Reader<R, C> {
    link: R,
    clock: C,
    opener: Opener,
    room: Room,
    state: Rc<State>,
    /// What came from the link; `unread` is the part of it that was not looked at.
    buffer: Vec<u8>,
    unread: Range<usize>,
    /// The plaintext of a message's first part.
    first: Vec<u8>,
}

impl<R: AsyncRead + Unpin, C: Clock> Reader<R, C> {
    pub(super) fn new(link: R, clock: C, opener: Opener, room: Room, state: Rc<State>) -> Self {
        Self {
            link,
            clock,
            opener,
            room,
            state,
            buffer: vec![0; LINK_BUFFER_BYTES],
            unread: 0..0,
            first: Vec::with_capacity(PLAIN_BYTES_MAX + TAG_BYTES),
        }
    }

    /// Reads until something ends it.
    pub(super) async fn run(mut self) -> SessionError {
        loop {
            if let Err(why) = self.message().await {
                return why;
            }
        }
    }

    async fn message(&mut self) -> Result<(), SessionError> {
        let sealed = self.noise_message().await?;
        self.first.clear();
        self.opener.open(&self.buffer[sealed], &mut self.first)?;
        let (length, rest) = self
            .first
            .split_first_chunk::<2>()
            .ok_or(cut("its header is cut"))?;
        let header_bytes = usize::from(u16::from_le_bytes(*length));
        let header = rest.get(..header_bytes).ok_or(cut("its header is cut"))?;
        let envelope = Envelope::decode(header)?;
        let body_at = 2 + header_bytes;
        match standing(&envelope.message) {
            Standing::Sign => self.sign(&envelope, body_at),
            Standing::Word => self.word(&envelope, body_at),
            Standing::Request => self.request(envelope, body_at).await,
            Standing::Answer => self.answer(envelope, body_at).await,
        }
    }

    fn sign(&mut self, envelope: &Envelope, body_at: usize) -> Result<(), SessionError> {
        if envelope.body_bytes != 0 || self.first.len() != body_at {
            return Err(cut("a sign has no body"));
        }
        match envelope.message {
            Message::Ping => self.state.pong(),
            Message::Pong => {}
            Message::Credit { bytes } => {
                if !self.state.sending.borrow_mut().give_back(bytes) {
                    return Err(SessionError::Rule("it gave credit for what was never sent"));
                }
                self.state.credit_came.notify_one();
            }
            _ => return Err(SessionError::Rule("it said hello twice")),
        }
        Ok(())
    }

    fn word(&self, envelope: &Envelope, body_at: usize) -> Result<(), SessionError> {
        if envelope.body_bytes != 0 || self.first.len() != body_at {
            return Err(cut("a word has no body"));
        }
        if !self.state.heard_of(envelope.request, self.clock.now()) {
            return Err(SessionError::Rule("it works on what was never asked"));
        }
        Ok(())
    }

    async fn request(&mut self, envelope: Envelope, body_at: usize) -> Result<(), SessionError> {
        let state = self.state.clone();
        let header_kib = kib(body_at) as usize;
        if state.open_requests.get() >= REQUESTS_OPEN_MAX
            || state.open_header_kib.get() + header_kib > REQUEST_HEADERS_OPEN_KIB_MAX
        {
            return Err(SessionError::Rule("it has too many requests open"));
        }
        let reply = Reply::new(
            state.clone(),
            envelope.request,
            OpenRequest::new(state.clone(), header_kib),
        );
        if envelope.body_bytes != 0 && !brings_a_body(&envelope.message) {
            return Err(cut("this question has no body"));
        }
        let credit_bytes = match envelope.message {
            Message::Put { .. } => envelope.body_bytes,
            _ => 0,
        };
        if !state.receiving.borrow_mut().take(credit_bytes) {
            return Err(SessionError::Rule("it sent more than it had credit for"));
        }
        let permit = match envelope.body_bytes {
            0 => None,
            bytes => Some(self.place(bytes as usize).await?),
        };
        let lease = Lease::new(state.clone(), permit, credit_bytes);
        let body = self.body(body_at, envelope.body_bytes as usize).await?;
        state.incoming.borrow_mut().push_back(Incoming {
            message: envelope.message,
            body,
            lease,
            reply,
        });
        state.incoming_came.notify_one();
        Ok(())
    }

    async fn answer(&mut self, envelope: Envelope, body_at: usize) -> Result<(), SessionError> {
        let body = self.body(body_at, envelope.body_bytes as usize).await?;
        let waiting = self.state.waiting.borrow_mut().remove(&envelope.request);
        let waiting = waiting.ok_or(SessionError::Rule("it answered what was never asked"))?;
        // Whoever asked may have lost interest.
        let _ = waiting.answer.send((envelope.message, body));
        Ok(())
    }

    /// Waits for a place in the pool. The link is not read meanwhile, and its silence is not the peer's fault.
    async fn place(
        &mut self,
        bytes: usize,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, SessionError> {
        self.state.is_reading.set(false);
        let before = self.clock.now();
        let permit = self.room.take(bytes).await;
        let now = self.clock.now();
        self.state.received_at.set(now);
        if now.since(before).as_secs() >= SESSION_SILENCE_SECONDS_MAX {
            self.state.reading_since.set(now);
        }
        self.state.is_reading.set(true);
        permit.ok_or(SessionError::Rule("it sent a body too long for the pool"))
    }

    /// The body whose start lies in the first part from `at`.
    async fn body(&mut self, at: usize, bytes: usize) -> Result<Vec<u8>, SessionError> {
        let start = &self.first[at..];
        if start.len() > bytes {
            return Err(cut("it is longer than it says"));
        }
        if bytes == 0 {
            return Ok(Vec::new());
        }
        // The cipher wants room for a tag behind the last part.
        let mut body = Vec::with_capacity(bytes + TAG_BYTES);
        body.extend_from_slice(start);
        while body.len() < bytes {
            let sealed = self.noise_message().await?;
            let more = sealed.len() - TAG_BYTES;
            if more == 0 || more > bytes - body.len() {
                return Err(cut("a part of it is empty or too long"));
            }
            self.opener.open(&self.buffer[sealed], &mut body)?;
        }
        count(&self.state.bodies_in, 1);
        Ok(body)
    }

    /// Where the next Noise message, at least a tag long, lies in the buffer.
    async fn noise_message(&mut self) -> Result<Range<usize>, SessionError> {
        loop {
            let unread = &self.buffer[self.unread.clone()];
            let mut wanted = LENGTH_BYTES;
            if let Some(length) = unread.first_chunk::<LENGTH_BYTES>() {
                let length = usize::from(u16::from_le_bytes(*length));
                if length < TAG_BYTES {
                    return Err(SessionError::Tampered);
                }
                wanted += length;
                if unread.len() >= wanted {
                    let end = self.unread.start + wanted;
                    let sealed = self.unread.start + LENGTH_BYTES..end;
                    self.unread.start = end;
                    return Ok(sealed);
                }
            }
            self.read_more(wanted).await?;
        }
    }

    /// Reads what there is, after making room for `wanted` bytes from the first unread one.
    async fn read_more(&mut self, wanted: usize) -> Result<(), SessionError> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.buffer.len() - self.unread.start < wanted {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let read = self.link.read(&mut self.buffer[self.unread.end..]).await;
        match read {
            Ok(0) => Err(SessionError::Gone),
            Ok(bytes) => {
                self.unread.end += bytes;
                self.state.received_at.set(self.clock.now());
                count(&self.state.bytes_in, bytes as u64);
                Ok(())
            }
            Err(error) => Err(SessionError::Link(error.kind())),
        }
    }
}
