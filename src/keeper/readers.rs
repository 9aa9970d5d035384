//! Who may still hold a place that a chunk had a moment ago. Whoever looks into the table and then reads from the disk enters here;
//! a segment's file is removed only when all have left who entered before its chunks were elsewhere. Nobody who enters ever waits.

use std::cell::Cell;

use tokio::sync::Notify;

/// Those who read, by whether they came before or after the last turn.
#[derive(Default)]
pub(super) struct Readers {
    turn: Cell<usize>,
    inside: [Cell<usize>; 2],
    left: Notify,
}

/// One who reads. Dropping it is leaving.
pub(super) struct Reading<'a> {
    readers: &'a Readers,
    turn: usize,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let inside = &self.readers.inside[self.turn];
        inside.set(inside.get() - 1);
        self.readers.left.notify_one();
    }
}

impl Readers {
    /// Somebody begins to read.
    pub(super) fn enter(&self) -> Reading<'_> {
        let turn = self.turn.get();
        self.inside[turn].set(self.inside[turn].get() + 1);
        Reading {
            readers: self,
            turn,
        }
    }

    /// Waits until all have left who are inside now. One waits at a time.
    pub(super) async fn earlier_ones_left(&self) {
        // Those before the last turn have left: it was waited for then. So their place is free for who comes now.
        let turn = self.turn.get();
        while self.inside[1 - turn].get() > 0 {
            self.left.notified().await;
        }
        self.turn.set(1 - turn);
        while self.inside[turn].get() > 0 {
            self.left.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_came_before_are_waited_for_and_those_who_come_later_are_not() {
        let readers = Readers::default();
        let before = readers.enter();
        let waiting = readers.earlier_ones_left();
        let mut waiting = Box::pin(waiting);
        for _ in 0..3 {
            let polled = futures_now(&mut waiting).await;
            assert!(!polled, "somebody is inside");
        }
        let later = readers.enter();
        drop(before);
        assert!(futures_now(&mut waiting).await);
        drop(later);
    }

    /// Whether a future ends when it is polled once.
    async fn futures_now(future: &mut (impl Future<Output = ()> + Unpin)) -> bool {
        tokio::select! {
            biased;
            () = future => true,
            () = std::future::ready(()) => false,
        }
    }
}
