//! A handful of futures waited for together; whichever is ready first comes out first. Dropping it drops them all.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// The futures. Each wake-up polls all of them, so this is for a few, not for hundreds.
pub(super) struct Together<T> {
    waiting: Vec<Pin<Box<dyn Future<Output = T>>>>,
}

impl<T> Together<T> {
    pub(super) const fn new() -> Self {
        Self {
            waiting: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, future: impl Future<Output = T> + 'static) {
        self.waiting.push(Box::pin(future));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next one that is done, or `None` when there are none. Losing the race against a timer loses nothing.
    pub(super) async fn next(&mut self) -> Option<T> {
        poll_fn(|context| {
            if self.waiting.is_empty() {
                return Poll::Ready(None);
            }
            for at in 0..self.waiting.len() {
                if let Poll::Ready(done) = self.waiting[at].as_mut().poll(context) {
                    drop(self.waiting.remove(at));
                    return Poll::Ready(Some(done));
                }
            }
            Poll::Pending
        })
        .await
    }
}
