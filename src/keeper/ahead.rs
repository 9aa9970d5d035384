//! Reading a file from front to end: one buffer is looked at while the next is on its way.
//!
//! It never waits for a buffer while another reader could be waiting for its own: the read under way is a task that holds nothing
//! until it has one.

use std::io;

use tokio::sync::oneshot;

use crate::terms::limits::{BLOCK_BYTES, STORE_BUFFER_BYTES};
use crate::world::{Disk, DiskFile, World};

const BLOCK: u64 = BLOCK_BYTES as u64;
const STEP: u64 = STORE_BUFFER_BYTES as u64;

type BufferOf<W> = <<W as World>::Disk as Disk>::Buffer;

/// A part of a file that came.
struct Part<W: World> {
    buffer: BufferOf<W>,
    start: u64,
    filled: usize,
}

/// The reader.
pub(super) struct Ahead<W: World> {
    world: W,
    file: <W::Disk as Disk>::File,
    /// Where the file ends.
    end: u64,
    here: Option<Part<W>>,
    coming: Option<oneshot::Receiver<io::Result<Part<W>>>>,
}

impl<W: World> Ahead<W> {
    /// From the block of `from` to `end`.
    pub(super) fn new(world: &W, file: <W::Disk as Disk>::File, from: u64, end: u64) -> Self {
        let mut ahead = Self {
            world: world.clone(),
            file,
            end,
            here: None,
            coming: None,
        };
        ahead.send_for(from / BLOCK * BLOCK);
        ahead
    }

    /// Some of the bytes from `offset` on, at most `len`; none at the file's end. Offsets only grow.
    pub(super) async fn piece(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        while self.here.as_ref().is_none_or(|part| offset >= end_of(part)) {
            if offset >= self.end || !self.turn().await? {
                return Ok(&[]);
            }
        }
        let Some(part) = &self.here else {
            return Ok(&[]);
        };
        let from = usize::try_from(offset.saturating_sub(part.start)).unwrap_or(usize::MAX);
        let from = from.min(part.filled);
        let to = from.saturating_add(len).min(part.filled);
        Ok(&part.buffer[from..to])
    }

    /// Goes on to the next part; false when there is none.
    async fn turn(&mut self) -> io::Result<bool> {
        // Given back before the next one is waited for.
        self.here = None;
        let Some(coming) = self.coming.take() else {
            return Ok(false);
        };
        let part = coming
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the read was dropped")))?;
        if part.filled == 0 {
            return Ok(false);
        }
        self.send_for(end_of(&part).next_multiple_of(BLOCK));
        self.here = Some(part);
        Ok(true)
    }

    fn send_for(&mut self, start: u64) {
        if start >= self.end {
            return;
        }
        let bytes = (self.end - start).min(STEP).next_multiple_of(BLOCK);
        let len = usize::try_from(bytes).expect("it is at most a buffer");
        let (tell, told) = oneshot::channel();
        let (world, file) = (self.world.clone(), self.file.clone());
        self.world.spawn(async move {
            let buffer = world.disk().buffer().await;
            let (read, buffer) = file.read_at(buffer, 0, len, start).await;
            // Nobody listens any more when the reading was given up.
            let _ = tell.send(read.map(|filled| Part {
                buffer,
                start,
                filled,
            }));
        });
        self.coming = Some(told);
    }
}

fn end_of<W: World>(part: &Part<W>) -> u64 {
    part.start + part.filled as u64
}
