//! Writing to segments: bytes are gathered in pooled buffers and leave in large writes, one under way while the next fills.
//!
//! Also the two things a segment has besides frames: its header block when it begins, its footer when it is closed.

use std::io;

use tokio::sync::oneshot;

use super::refuse::is_full;
use crate::format::segment::{
    FOOTER_ENTRY_BYTES, FooterEntry, SEGMENT_NUMBER_MAX, SegmentHeader, TRAILER_BYTES, Trailer,
};
use crate::terms::limits::{BLOCK_BYTES, MEMBERS_MAX};
use crate::terms::{PeerKey, StoreId};
use crate::world::{Disk, DiskFile, World};

const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Where segments are, below the Box's state directory.
pub const STORE_DIR: &str = "store";

/// A segment's file.
pub(super) fn path_of(number: u32) -> String {
    format!("{STORE_DIR}/seg-{number:06}")
}

/// Which segment a file is, by its name.
pub(super) fn number_of(name: &str) -> Option<u32> {
    let number: u32 = name.strip_prefix("seg-")?.parse().ok()?;
    let is_one = number <= SEGMENT_NUMBER_MAX && path_of(number) == format!("{STORE_DIR}/{name}");
    is_one.then_some(number)
}

/// Bytes of a footer of so many entries, its trailer and padding included, with room for every author there can be.
pub(super) const fn footer_room(entries: usize) -> u64 {
    let bytes = 32 * MEMBERS_MAX + FOOTER_ENTRY_BYTES * entries + TRAILER_BYTES;
    bytes.next_multiple_of(BLOCK_BYTES) as u64
}

/// Why bytes did not reach a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    /// The file system had no space for a write. Nothing that was there is affected, and nothing is under way any more.
    #[error("there is no space left")]
    Full,
    /// A write or a sync failed: the file is not to be trusted with more.
    #[error(transparent)]
    Failed(io::Error),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        if is_full(&error) {
            Self::Full
        } else {
            Self::Failed(error)
        }
    }
}

/// Bytes on their way to a file, from a block's start on.
pub(super) struct Stage<W: World> {
    world: W,
    file: <W::Disk as Disk>::File,
    buffer: Option<<W::Disk as Disk>::Buffer>,
    start: u64,
    filled: usize,
    under_way: Option<oneshot::Receiver<io::Result<()>>>,
}

impl<W: World> Stage<W> {
    /// From `start`, a multiple of the block.
    pub(super) fn new(world: &W, file: <W::Disk as Disk>::File, start: u64) -> Self {
        Self {
            world: world.clone(),
            file,
            buffer: None,
            start,
            filled: 0,
            under_way: None,
        }
    }

    /// Where the next byte will stand.
    pub(super) fn position(&self) -> u64 {
        self.start + self.filled as u64
    }

    /// Appends.
    pub(super) async fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let buffer = match &mut self.buffer {
                Some(buffer) => buffer,
                // Waits holding nothing: the write under way gives its buffer back when it ends.
                None => self.buffer.insert(self.world.disk().buffer().await),
            };
            let len = bytes.len().min(buffer.len() - self.filled);
            let (now, later) = bytes.split_at(len);
            buffer[self.filled..self.filled + len].copy_from_slice(now);
            self.filled += len;
            bytes = later;
            if self.filled == buffer.len() {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Appends zeros up to a multiple of `align` bytes, at most a block.
    pub(super) async fn pad(&mut self, align: u64) -> io::Result<()> {
        let position = self.position();
        let len = usize::try_from(position.next_multiple_of(align) - position)
            .expect("it is less than a block");
        self.push(&ZEROS[..len]).await
    }

    /// Writes what is left, padded to a block, and waits for all of it; returns where it ends.
    pub(super) async fn flush(&mut self) -> io::Result<u64> {
        self.pad(BLOCK_BYTES as u64).await?;
        if self.filled > 0 {
            self.send().await?;
        }
        self.settle().await?;
        Ok(self.start)
    }

    /// As [`Self::flush`], and makes it durable.
    async fn finish(mut self) -> Result<u64, Unwritten> {
        let end = self.flush().await?;
        self.file.sync_data().await.map_err(Unwritten::Failed)?;
        Ok(end)
    }

    async fn send(&mut self) -> io::Result<()> {
        self.settle().await?;
        let Some(buffer) = self.buffer.take() else {
            return Ok(());
        };
        let (tell, told) = oneshot::channel();
        let (file, len, offset) = (self.file.clone(), self.filled, self.start);
        self.world.spawn(async move {
            let (written, buffer) = file.write_at(buffer, 0, len, offset).await;
            drop(buffer);
            // Nobody waits any more when the commit failed already.
            let _ = tell.send(written);
        });
        self.under_way = Some(told);
        self.start += len as u64;
        self.filled = 0;
        Ok(())
    }

    async fn settle(&mut self) -> io::Result<()> {
        match self.under_way.take() {
            Some(told) => told
                .await
                .unwrap_or_else(|_| Err(io::Error::other("the write was dropped"))),
            None => Ok(()),
        }
    }
}

/// Creates a segment's file with its header, durable with its name.
pub(super) async fn begin_segment<W: World>(
    world: &W,
    store: StoreId,
    number: u32,
) -> io::Result<<W::Disk as Disk>::File> {
    let path = path_of(number);
    let file = world.disk().open(&path, true).await?;
    let written = async {
        let mut stage = Stage::new(world, file.clone(), 0);
        stage
            .push(&SegmentHeader { store, number }.encode())
            .await?;
        stage.flush().await?;
        file.sync_data().await?;
        world.disk().sync_dir(STORE_DIR).await
    };
    match written.await {
        Ok(()) => Ok(file),
        Err(error) => {
            // Nothing was acknowledged in it; if it cannot even be removed, its number is skipped next time.
            let _ = world.disk().remove(&path).await;
            Err(error)
        }
    }
}

/// What a footer says.
pub(super) struct Footer<'a> {
    pub(super) store: StoreId,
    pub(super) number: u32,
    pub(super) commit: u64,
    pub(super) authors: &'a [PeerKey],
    pub(super) entries: &'a [FooterEntry],
}

/// Writes a segment's footer from `start` on and makes it durable; returns the file's new length.
pub(super) async fn close_segment<W: World>(
    world: &W,
    file: <W::Disk as Disk>::File,
    start: u64,
    footer: &Footer<'_>,
) -> Result<u64, Unwritten> {
    let mut sum = crc32fast::Hasher::new();
    let mut stage = Stage::new(world, file, start);
    for author in footer.authors {
        sum.update(&author.0);
        stage.push(&author.0).await?;
    }
    for entry in footer.entries {
        let bytes = entry.encode();
        sum.update(&bytes);
        stage.push(&bytes).await?;
    }
    let trailer_at = (stage.position() + TRAILER_BYTES as u64).next_multiple_of(BLOCK_BYTES as u64)
        - TRAILER_BYTES as u64;
    let gap = usize::try_from(trailer_at - stage.position()).expect("it is less than a block");
    stage.push(&ZEROS[..gap]).await?;
    let count = |len: usize| u32::try_from(len).map_err(io::Error::other);
    let trailer = Trailer {
        store: footer.store,
        number: footer.number,
        footer_offset: u32::try_from(start).map_err(io::Error::other)?,
        authors: count(footer.authors.len())?,
        entries: count(footer.entries.len())?,
        footer_sum: sum.finalize(),
        commit: footer.commit,
    };
    stage.push(&trailer.encode()).await?;
    stage.finish().await
}
