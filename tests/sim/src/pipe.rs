//! One direction of a link: bytes on the wire, bytes that arrived, and how it ended. No network and no time of its own.
//!
//! Invariants: bytes arrive in order or not at all; at most [`PIPE_BYTES_MAX`] are between the two ends; the end comes after
//! every byte that arrived before it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Weak;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a pipe holds before the writer has to wait: about what a kernel grants a connection.
pub(crate) const PIPE_BYTES_MAX: usize = 256 << 10;

/// Something that travels.
pub(crate) enum Item {
    Bytes(Vec<u8>),
    /// The writer is done.
    Fin,
    /// The writer's Box does not know this connection any more.
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Open,
    Shut,
    Broken,
}

pub(crate) struct Pipe {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    /// Both, as the trace names them.
    pub(crate) way: String,
    pub(crate) latency: Duration,
    /// The other direction of the same link.
    pub(crate) back: Weak<Pipe>,
    /// What is sent into it arrives nowhere.
    pub(crate) is_dead: Cell<bool>,
    /// Wakes whoever carries.
    pub(crate) sent: Notify,
    state: RefCell<State>,
}

struct State {
    wire: VecDeque<(Instant, Item)>,
    arrived: VecDeque<u8>,
    between_bytes: usize,
    end: Option<End>,
    writer: Writer,
    reader_is_gone: bool,
    reading: Option<Waker>,
    writing: Option<Waker>,
}

impl Pipe {
    pub(crate) fn new(from: IpAddr, to: IpAddr, latency: Duration, back: Weak<Self>) -> Self {
        let state = State {
            wire: VecDeque::new(),
            arrived: VecDeque::new(),
            between_bytes: 0,
            end: None,
            writer: Writer::Open,
            reader_is_gone: false,
            reading: None,
            writing: None,
        };
        Self {
            from,
            to,
            way: format!("{from} {to}"),
            latency,
            back,
            is_dead: Cell::new(false),
            sent: Notify::new(),
            state: RefCell::new(state),
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        match state.writer {
            Writer::Broken => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Writer::Shut => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Writer::Open => {}
        }
        let len = bytes
            .len()
            .min(PIPE_BYTES_MAX.saturating_sub(state.between_bytes));
        if len == 0 && !bytes.is_empty() {
            state.writing = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.between_bytes += len;
        let arrives = Instant::now() + self.latency;
        state
            .wire
            .push_back((arrives, Item::Bytes(bytes[..len].to_vec())));
        drop(state);
        self.sent.notify_one();
        Poll::Ready(Ok(len))
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        if state.arrived.is_empty() {
            return match state.end {
                Some(End::Fin) => Poll::Ready(Ok(())),
                Some(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None => {
                    state.reading = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        let len = state.arrived.len().min(into.remaining());
        let (first, second) = state.arrived.as_slices();
        let from_first = len.min(first.len());
        into.put_slice(&first[..from_first]);
        into.put_slice(&second[..len - from_first]);
        state.arrived.drain(..len);
        state.between_bytes -= len;
        wake(&mut state.writing);
        Poll::Ready(Ok(()))
    }

    /// The writer ends its direction; what it wrote still arrives.
    pub(crate) fn shut(&self, how: Item) {
        let mut state = self.state.borrow_mut();
        if state.writer == Writer::Open {
            state.writer = Writer::Shut;
            state.wire.push_back((Instant::now() + self.latency, how));
            drop(state);
            self.sent.notify_one();
        }
    }

    /// The writer's next write fails.
    pub(crate) fn break_writer(&self) {
        let mut state = self.state.borrow_mut();
        state.writer = Writer::Broken;
        wake(&mut state.writing);
        drop(state);
        self.sent.notify_one();
    }

    /// Nobody will read any more: what arrives from now on breaks the writer.
    pub(crate) fn drop_reader(&self) {
        let mut state = self.state.borrow_mut();
        state.reader_is_gone = true;
        state.between_bytes -= state.arrived.len();
        state.arrived.clear();
        state.end = Some(End::Reset);
        wake(&mut state.reading);
        wake(&mut state.writing);
    }

    /// The next thing on the wire and when it arrives.
    pub(crate) fn next(&self) -> Option<(Instant, Item)> {
        self.state.borrow_mut().wire.pop_front()
    }

    /// Whether nothing will ever be sent again.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state.borrow();
        state.wire.is_empty() && state.writer != Writer::Open
    }

    /// Of bytes between the ends, so many were sent and so many arrive.
    pub(crate) fn are_now(&self, sent: usize, arriving: usize) {
        let mut state = self.state.borrow_mut();
        state.between_bytes = state.between_bytes - sent + arriving;
    }

    /// Hands over what arrived. False if nobody was there to take it.
    pub(crate) fn deliver(&self, item: Item) -> bool {
        let mut state = self.state.borrow_mut();
        match item {
            Item::Bytes(bytes) if state.reader_is_gone => {
                state.between_bytes -= bytes.len();
                return false;
            }
            Item::Bytes(bytes) => state.arrived.extend(bytes),
            Item::Fin => state.end = state.end.or(Some(End::Fin)),
            Item::Reset => state.end = state.end.or(Some(End::Reset)),
        }
        wake(&mut state.reading);
        true
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
