//! The task that writes: whole messages one after the other, sealed straight into one buffer that goes out in large writes.

use std::rc::Rc;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::SessionError;
use super::noise::{LENGTH_BYTES, PLAIN_BYTES_MAX, Sealer};
use super::queue::Outgoing;
use super::state::{State, count};
use crate::terms::limits::{LINK_BUFFER_BYTES, NOISE_MESSAGE_BYTES_MAX};
use crate::world::Clock;

/// The task that writes.
pub(super) struct Writer<L, C> {
    link: L,
    clock: C,
    sealer: Sealer,
    state: Rc<State>,
    /// The message under way and how many of its bytes are sealed.
    current: Option<(Outgoing, usize)>,
    /// Sealed bytes; those before `sent` are out.
    buffer: Vec<u8>,
    sent: usize,
}

impl<L: AsyncWrite + Unpin, C: Clock> Writer<L, C> {
    pub(super) fn new(link: L, clock: C, sealer: Sealer, state: Rc<State>) -> Self {
        Self {
            link,
            clock,
            sealer,
            state,
            current: None,
            buffer: Vec::with_capacity(LINK_BUFFER_BYTES),
            sent: 0,
        }
    }

    /// Writes until something ends it.
    pub(super) async fn run(&mut self) -> SessionError {
        loop {
            match self.write_all_there_is().await {
                Ok(()) => self.state.to_send.notified().await,
                Err(why) => return why,
            }
        }
    }

    /// Writes what is left and says good-bye to the link.
    pub(super) async fn finish(mut self) {
        if self.write_all_there_is().await.is_ok() {
            let _ = self.link.shutdown().await;
        }
    }

    async fn write_all_there_is(&mut self) -> Result<(), SessionError> {
        loop {
            self.fill()?;
            if self.buffer.is_empty() {
                return Ok(());
            }
            self.flush().await?;
        }
    }

    /// Seals parts of messages into the buffer while a longest one still fits.
    fn fill(&mut self) -> Result<(), SessionError> {
        while self.buffer.len() + LENGTH_BYTES + NOISE_MESSAGE_BYTES_MAX <= LINK_BUFFER_BYTES {
            let next = self.current.take().or_else(|| {
                let next = self.state.queue.borrow_mut().pop();
                next.map(|outgoing| (outgoing, 0))
            });
            let Some((mut outgoing, done)) = next else {
                return Ok(());
            };
            // It goes out now: the peer may ask again.
            drop(outgoing.answers.take());
            let (done, is_whole) = self.seal_part(&outgoing, done)?;
            if !is_whole {
                self.current = Some((outgoing, done));
                continue;
            }
            if let Some(request) = outgoing.asks {
                self.state.heard_of(request, self.clock.now());
            }
            if outgoing.body.is_some_and(|body| !body.is_empty()) {
                count(&self.state.bodies_out, 1);
            }
        }
        Ok(())
    }

    /// Seals the part after `done` bytes; tells how many are done then, and whether that is all.
    fn seal_part(
        &mut self,
        outgoing: &Outgoing,
        done: usize,
    ) -> Result<(usize, bool), SessionError> {
        let body = outgoing.body.as_ref().map_or(&[][..], |body| body);
        let all = outgoing.header.len() + body.len();
        let end = all.min(done + PLAIN_BYTES_MAX);
        let header = outgoing.header.len();
        // Header and body meet in the first part only; a header always fits into it.
        let (first, second) = match done {
            0 => (&outgoing.header[..], &body[..end - header]),
            _ => (&body[done - header..end - header], &[][..]),
        };
        self.sealer.seal(first, second, &mut self.buffer)?;
        Ok((end, end == all))
    }

    async fn flush(&mut self) -> Result<(), SessionError> {
        while self.sent < self.buffer.len() {
            self.state.stuck_since.set(Some(self.clock.now()));
            let written = self.link.write(&self.buffer[self.sent..]).await;
            match written {
                Ok(0) => return Err(SessionError::Link(std::io::ErrorKind::WriteZero)),
                Ok(bytes) => {
                    self.sent += bytes;
                    self.state.sent_at.set(self.clock.now());
                    count(&self.state.bytes_out, bytes as u64);
                }
                Err(error) => return Err(SessionError::Link(error.kind())),
            }
        }
        let flushed = self.link.flush().await;
        self.state.stuck_since.set(None);
        self.buffer.clear();
        self.sent = 0;
        flushed.map_err(|error| SessionError::Link(error.kind()))
    }
}
