//! What the tasks and handles of one session share, and the one way it ends.
//!
//! Nothing here waits, except on the latch that says it is over. No borrow lives longer than one line, and what is dropped is
//! taken out first: dropping a request or a lease comes back here.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::SessionError;
use super::credit::Book;
use super::incoming::Incoming;
use super::queue::{Outgoing, Queue};
use crate::format::message::{Hello, Message};
use crate::terms::KeyEpoch;
use crate::terms::limits::{REQUEST_HEADERS_OPEN_KIB_MAX, REQUESTS_OPEN_MAX, SEND_QUEUE_BYTES_MAX};
use crate::world::Moment;

/// A question of ours that is not answered yet.
pub(super) struct Waiting {
    pub(super) answer: oneshot::Sender<(Message, Vec<u8>)>,
    /// When it went out, or when the peer last said that it gets on with it; `None` while it waits to be sent.
    pub(super) heard_at: Option<Moment>,
    /// Its place among the open requests and their headers: free again when the answer is here, even if nobody waits for it.
    pub(super) _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// Who the two sides are.
pub(super) struct Parties {
    pub(super) theirs: Hello,
    pub(super) initiated: bool,
    pub(super) handshake_hash: [u8; 32],
    pub(super) noise_static: [u8; 32],
    /// Between members: under which epoch.
    pub(super) epoch: Option<KeyEpoch>,
}

/// What the tasks and handles of one session share.
pub(super) struct State {
    pub(super) parties: Parties,

    pub(super) queue: RefCell<Queue>,
    /// Rings when there is something to send.
    pub(super) to_send: Notify,
    pub(super) send_room: Arc<Semaphore>,

    pub(super) waiting: RefCell<BTreeMap<u32, Waiting>>,
    pub(super) next_request: Cell<u32>,
    pub(super) requests: Arc<Semaphore>,
    pub(super) headers: Arc<Semaphore>,

    /// What we may send.
    pub(super) sending: RefCell<Book>,
    /// Rings when credit came; only the first in the line listens.
    pub(super) credit_came: Notify,
    pub(super) credit_line: tokio::sync::Mutex<()>,
    /// What the peer may send.
    pub(super) receiving: RefCell<Book>,

    pub(super) incoming: RefCell<VecDeque<Incoming>>,
    pub(super) incoming_came: Notify,
    pub(super) open_requests: Cell<usize>,
    pub(super) open_header_kib: Cell<usize>,

    /// When something was last received, and whether the reader waits for the link (and not for the pool).
    pub(super) received_at: Cell<Moment>,
    pub(super) is_reading: Cell<bool>,
    /// Since when the reader reads without a long wait for the pool: answers could not have come before.
    pub(super) reading_since: Cell<Moment>,
    /// When the link last took something.
    pub(super) sent_at: Cell<Moment>,
    /// Since when the link has not taken what we have for it.
    pub(super) stuck_since: Cell<Option<Moment>>,

    pub(super) bytes_in: Cell<u64>,
    pub(super) bytes_out: Cell<u64>,
    pub(super) bodies_in: Cell<u64>,
    pub(super) bodies_out: Cell<u64>,

    end: Cell<Option<SessionError>>,
    over: watch::Sender<bool>,
}

/// Counts one more.
pub(super) fn count(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get().wrapping_add(more));
}

impl State {
    pub(super) fn new(parties: Parties, granted_bytes: u32, now: Moment) -> Self {
        Self {
            queue: RefCell::default(),
            to_send: Notify::new(),
            send_room: Arc::new(Semaphore::new(SEND_QUEUE_BYTES_MAX >> 10)),
            waiting: RefCell::default(),
            next_request: Cell::new(0),
            requests: Arc::new(Semaphore::new(REQUESTS_OPEN_MAX)),
            headers: Arc::new(Semaphore::new(REQUEST_HEADERS_OPEN_KIB_MAX)),
            sending: RefCell::new(Book::new(parties.theirs.credit_bytes)),
            credit_came: Notify::new(),
            credit_line: tokio::sync::Mutex::new(()),
            receiving: RefCell::new(Book::new(granted_bytes)),
            incoming: RefCell::default(),
            incoming_came: Notify::new(),
            open_requests: Cell::new(0),
            open_header_kib: Cell::new(0),
            received_at: Cell::new(now),
            is_reading: Cell::new(true),
            reading_since: Cell::new(now),
            sent_at: Cell::new(now),
            stuck_since: Cell::new(None),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            bodies_in: Cell::new(0),
            bodies_out: Cell::new(0),
            end: Cell::new(None),
            over: watch::Sender::new(false),
            parties,
        }
    }

    /// Why it is over, if it is.
    pub(super) fn ended(&self) -> Option<SessionError> {
        self.end.get()
    }

    /// Waits until it is over.
    pub(super) async fn over(&self) {
        let mut over = self.over.subscribe();
        // The sender lives in `self`, so the only way out is the flag.
        let _ = over.wait_for(|over| *over).await;
    }

    /// Ends it, once; the first reason stays. Every waiting question is told.
    pub(super) fn end(&self, why: SessionError) {
        if self.end.get().is_some() {
            return;
        }
        self.end.set(Some(why));
        self.send_room.close();
        self.requests.close();
        self.headers.close();
        let incoming = self.incoming.take();
        let waiting = self.waiting.take();
        drop((incoming, waiting));
        self.over.send_replace(true);
        self.incoming_came.notify_waiters();
        self.credit_came.notify_one();
        self.to_send.notify_one();
    }

    /// Hands a message to the writer.
    pub(super) fn send(&self, outgoing: Outgoing) {
        if self.end.get().is_none() {
            self.queue.borrow_mut().push(outgoing);
            self.to_send.notify_one();
        }
    }

    /// A question of ours went out, or the peer gets on with it; false if there is none of this number.
    pub(super) fn heard_of(&self, request: u32, now: Moment) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let waiting = waiting.get_mut(&request);
        waiting.is_some_and(|waiting| {
            waiting.heard_at = Some(now);
            true
        })
    }

    /// Since when nothing was heard of the question that waits longest.
    pub(super) fn unanswered_since(&self) -> Option<Moment> {
        let waiting = self.waiting.borrow();
        let oldest = waiting
            .values()
            .filter_map(|waiting| waiting.heard_at)
            .min();
        oldest.map(|at| at.max(self.reading_since.get()))
    }

    /// Says that a request of the peer's is being worked on.
    pub(super) fn working(&self, request: u32) {
        if self.end.get().is_none() {
            self.queue.borrow_mut().push_working(request);
            self.to_send.notify_one();
        }
    }

    /// Asks for a sign of life.
    pub(super) fn ping(&self) {
        self.queue.borrow_mut().push_ping();
        self.to_send.notify_one();
    }

    /// Gives a sign of life.
    pub(super) fn pong(&self) {
        self.queue.borrow_mut().push_pong();
        self.to_send.notify_one();
    }

    /// Lets the peer send so many bytes of bodies again.
    pub(super) fn return_credit(&self, bytes: u32) {
        if bytes > 0 && self.receiving.borrow_mut().give_back(bytes) {
            self.queue.borrow_mut().push_credit(bytes);
            self.to_send.notify_one();
        }
    }
}
