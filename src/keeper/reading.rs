//! Reading from segments through one pooled buffer: a window that moves over a file.
//!
//! A window holds one buffer of the disk's few for as long as it lives, and never waits for a second one.

use std::io;

use crate::format::segment::FrameHeader;
use crate::terms::ChunkId;
use crate::terms::limits::{BLOCK_BYTES, FRAME_HEADER_BYTES, STORE_BUFFER_BYTES};
use crate::world::{Disk, DiskFile};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// A segment's number and its open file.
pub(super) type Segment<D> = (u32, <D as Disk>::File);

/// The window.
pub(super) struct Window<D: Disk> {
    disk: D,
    buffer: Option<D::Buffer>,
    segment: u32,
    start: u64,
    filled: usize,
}

impl<D: Disk> Window<D> {
    /// Takes a buffer, waiting for one if all are out.
    pub(super) async fn new(disk: &D) -> Self {
        Self {
            disk: disk.clone(),
            buffer: Some(disk.buffer().await),
            segment: 0,
            start: 0,
            filled: 0,
        }
    }

    /// The bytes at `offset`, fewer than `len` only at the file's end; at most a buffer less two blocks. When they are not in
    /// the window it is moved there and reads up to `ahead` bytes at once.
    pub(super) async fn bytes(
        &mut self,
        segment: &Segment<D>,
        offset: u64,
        len: usize,
        ahead: usize,
    ) -> io::Result<&[u8]> {
        if !self.covers(segment.0, offset, len) {
            self.fill(segment, offset, len.max(ahead)).await?;
        }
        let Some(buffer) = &self.buffer else {
            return Ok(&[]);
        };
        let from = usize::try_from(offset - self.start)
            .unwrap_or(usize::MAX)
            .min(self.filled);
        let to = from.saturating_add(len).min(self.filled);
        Ok(&buffer[from..to])
    }

    /// Hands `bytes` bytes from `offset` to `sink`, piece by piece; false if the file ends before.
    pub(super) async fn stream(
        &mut self,
        segment: &Segment<D>,
        mut offset: u64,
        mut bytes: usize,
        mut sink: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        while bytes > 0 {
            let want = bytes.min(STORE_BUFFER_BYTES - 2 * BLOCK_BYTES);
            let piece = self.bytes(segment, offset, want, want).await?;
            if piece.is_empty() {
                return Ok(false);
            }
            sink(piece);
            bytes -= piece.len();
            offset += piece.len() as u64;
        }
        Ok(true)
    }

    /// The frame's header at `offset`, if there is one. It may be of another store.
    pub(super) async fn header(
        &mut self,
        segment: &Segment<D>,
        offset: u64,
        ahead: usize,
    ) -> io::Result<Option<FrameHeader>> {
        let bytes = self
            .bytes(segment, offset, FRAME_HEADER_BYTES, ahead)
            .await?;
        Ok(FrameHeader::decode(bytes).ok())
    }

    /// Whether the payload of the frame at `offset` is what its header says.
    pub(super) async fn is_whole(
        &mut self,
        segment: &Segment<D>,
        offset: u64,
        payload_bytes: u32,
        id: &ChunkId,
    ) -> io::Result<bool> {
        let mut hasher = blake3::Hasher::new();
        let from = offset + FRAME_HEADER_BYTES as u64;
        let there = self
            .stream(segment, from, payload_bytes as usize, |piece| {
                hasher.update(piece);
            })
            .await?;
        Ok(there && *hasher.finalize().as_bytes() == id.0)
    }

    fn covers(&self, segment: u32, offset: u64, len: usize) -> bool {
        self.segment == segment
            && offset >= self.start
            && offset + len as u64 <= self.start + self.filled as u64
    }

    async fn fill(&mut self, segment: &Segment<D>, offset: u64, want: usize) -> io::Result<()> {
        let start = offset / BLOCK * BLOCK;
        let skip = usize::try_from(offset - start).expect("it is less than a block");
        let buffer = match self.buffer.take() {
            Some(buffer) => buffer,
            // A read whose future was dropped took the buffer with it.
            None => self.disk.buffer().await,
        };
        let len = (skip + want)
            .next_multiple_of(BLOCK_BYTES)
            .min(buffer.len());
        self.filled = 0;
        let (read, buffer) = segment.1.read_at(buffer, 0, len, start).await;
        self.buffer = Some(buffer);
        self.segment = segment.0;
        self.start = start;
        self.filled = read?.min(len);
        Ok(())
    }
}
