//! Operations that run to their end even if nobody waits for them any more.
//!
//! A dropped future of the ring forgets its buffer and its answer, so no caller ever holds one: it holds the handle of a
//! task. The tasks are counted, so that [`super::run`] can see the last of them off.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::sync::oneshot;

thread_local! {
    static UNDERWAY: Cell<usize> = const { Cell::new(0) };
    static LAST_ENDS: RefCell<Option<oneshot::Sender<()>>> = const { RefCell::new(None) };
}

/// Counts one operation for as long as it lives.
struct Underway;

impl Underway {
    fn begin() -> Self {
        UNDERWAY.set(UNDERWAY.get() + 1);
        Self
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        // A thread that is going away has no counters any more and nobody to tell.
        let left = UNDERWAY.try_with(|underway| {
            underway.set(underway.get().saturating_sub(1));
            underway.get()
        });
        if left == Ok(0)
            && let Ok(Some(waiter)) = LAST_ENDS.try_with(RefCell::take)
        {
            let _ = waiter.send(());
        }
    }
}

/// Starts `work` as a task of its own and waits for it; dropping the wait does not stop the work.
pub(super) async fn to_its_end<T: 'static>(work: impl Future<Output = T> + 'static) -> T {
    let underway = Underway::begin();
    let task = tokio::task::spawn_local(async move {
        let answer = at_once(work).await;
        drop(underway);
        answer
    });
    match task.await {
        Ok(answer) => answer,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being torn down, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Hands what `work` asks of the ring to the kernel at once.
///
/// By itself tokio-uring 0.5 does that only when the thread has nothing left to do: a task that seals chunks and yields between
/// them would keep every write waiting until it is done. The ring's queue has [one place](super::RING_ENTRIES), so whatever
/// comes next pushes out what is there; here it is an operation that does nothing and whose end nobody waits for.
async fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            let pushing = pin!(tokio_uring::no_op());
            let _: Poll<_> = pushing.poll(context);
        }
        polled
    })
    .await
}

/// Waits until no operation is underway on this thread.
pub(super) async fn all_ended() {
    while UNDERWAY.get() > 0 {
        let (tell, told) = oneshot::channel();
        LAST_ENDS.with(|waiter| waiter.replace(Some(tell)));
        // An error means that another waiter took this one's place: look again.
        drop(told.await);
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::world::uring::tests::in_ring;

    #[test]
    fn an_operation_goes_on_while_another_task_never_rests() {
        in_ring(async {
            let dir = tempfile::tempdir().expect("a directory");
            let path = dir.path().join("a");
            let asked = tokio::task::spawn_local(to_its_end(tokio_uring::fs::File::create(path)));
            let start = Instant::now();
            while !asked.is_finished() {
                // Only tells a hang from a wait; no machine is that slow.
                assert!(
                    start.elapsed() < Duration::from_secs(60),
                    "the ring never got its turn"
                );
                tokio::task::yield_now().await;
            }
            asked.await.expect("ends").expect("creates");
        });
    }

    #[test]
    fn a_panic_of_an_operation_is_its_callers() {
        in_ring(async {
            let asked = tokio::task::spawn_local(to_its_end(async { panic!("on purpose") }));
            let ended: Result<(), _> = asked.await;
            assert!(ended.expect_err("panics").is_panic());
            all_ended().await;
        });
    }
}
