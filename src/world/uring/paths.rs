//! The one helper thread: calls that may hang as long as a dead disk likes are made there, so that the deciding thread goes on.
//!
//! Calls are served one after the other in the order asked. It decides nothing and keeps nothing but the last directory
//! opened for writing.

use std::io;

use tokio::sync::{mpsc, oneshot};

use super::restoring::OpenParent;

/// Calls that may wait for the thread before an asker has to wait for a place.
const CALLS_WAITING_MAX: usize = 64;

/// A call: runs on the helper thread and sends its own answer.
type Call = Box<dyn FnOnce(&mut Option<OpenParent>) + Send>;

/// The way to the helper thread. It ends when the last of these is dropped.
#[derive(Clone)]
pub(super) struct Paths {
    calls: mpsc::Sender<Call>,
}

impl Paths {
    /// Starts the thread.
    pub(super) fn new() -> io::Result<Self> {
        let (calls, mut asked) = mpsc::channel::<Call>(CALLS_WAITING_MAX);
        std::thread::Builder::new()
            .name("paths".to_owned())
            .spawn(move || {
                let mut parent = None;
                while let Some(call) = asked.blocking_recv() {
                    call(&mut parent);
                }
            })?;
        Ok(Self { calls })
    }

    /// Has `call` made on the helper thread and waits for its answer. Once there is a place for it, it is made even if the
    /// wait is dropped.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Option<OpenParent>) -> T + Send + 'static,
    ) -> T {
        let (tell, told) = oneshot::channel();
        let call: Call = Box::new(move |parent| drop(tell.send(call(parent))));
        match self.calls.try_send(call) {
            Ok(()) => {}
            Err(
                mpsc::error::TrySendError::Full(call) | mpsc::error::TrySendError::Closed(call),
            ) => {
                let calls = self.calls.clone();
                // A closed way shows below, as an answer that never comes.
                drop(tokio::task::spawn_local(async move {
                    drop(calls.send(call).await)
                }));
            }
        }
        told.await.expect(
            "the helper thread lives as long as there is a way to it, and answers every call",
        )
    }

    /// Has something dropped on the helper thread: closing a file of a dead disk may hang too.
    pub(super) fn dispose<T: Send + 'static>(&self, thing: T) {
        // With no place left it is dropped here: better late than never.
        drop(self.calls.try_send(Box::new(move |_| drop(thing))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::uring::tests::in_ring;

    #[test]
    fn more_calls_than_places_are_all_answered() {
        in_ring(async {
            let paths = Paths::new().expect("starts");
            let asked: Vec<_> = (0..3 * CALLS_WAITING_MAX)
                .map(|number| {
                    let paths = paths.clone();
                    tokio::task::spawn_local(async move { paths.ask(move |_| number).await })
                })
                .collect();
            for (number, answer) in asked.into_iter().enumerate() {
                assert_eq!(answer.await.expect("ends"), number);
            }
        });
    }

    #[test]
    fn a_call_nobody_waits_for_is_still_made() {
        in_ring(async {
            let paths = Paths::new().expect("starts");
            let (tell, told) = oneshot::channel();
            {
                let mut asking = std::pin::pin!(paths.ask(move |_| tell.send(())));
                let once = std::future::poll_fn(|context| {
                    let _ = asking.as_mut().poll(context);
                    std::task::Poll::Ready(())
                });
                once.await;
            }
            assert_eq!(told.await, Ok(()));
        });
    }
}
