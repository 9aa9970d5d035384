//! Space that is held back in earnest: a file whose blocks nobody else can take, so that index, claims and heads find room on a disk
//! that another program filled.
//!
//! It gives way to what is written, block by block, and is made again when there is room. It holds nothing, so whatever becomes of
//! it is no loss; where the file system cannot give blocks in advance, what is held back is only counted, as without it. Its bytes
//! count as free wherever the store reckons what it has room for.

use std::cell::{Cell, RefCell};
use std::io;

use super::holding::Inner;
use super::room::held_back_now;
use super::writing::STORE_DIR;
use crate::terms::limits::BLOCK_BYTES;
use crate::world::{Disk, DiskFile, World};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Where it lies.
pub(super) fn path() -> String {
    format!("{STORE_DIR}/held-back")
}

/// The file, and how much it holds back.
pub(super) struct HeldBack<D: Disk> {
    file: RefCell<Option<D::File>>,
    bytes: Cell<u64>,
    /// One change of its length at a time.
    turn: tokio::sync::Mutex<()>,
}

impl<D: Disk> Default for HeldBack<D> {
    fn default() -> Self {
        Self {
            file: RefCell::default(),
            bytes: Cell::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl<D: Disk> HeldBack<D> {
    /// How much it holds back now.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }
}

impl<W: World> Inner<W> {
    /// Asks anew what the file system has left.
    pub(super) async fn refresh_free(&self) {
        // When it cannot be told, the last answer stands and the disk itself says no.
        if let Ok(bytes) = self.world.disk().free_bytes(STORE_DIR).await {
            let bytes = bytes.saturating_add(self.held_back.bytes());
            self.shared.state.borrow_mut().free_bytes = bytes;
        }
    }

    /// Opens what there is, or makes it. Where that fails, nothing is held back but by counting.
    pub(super) async fn begin_holding_back(&self) {
        let disk = self.world.disk();
        let opened = match disk.open(&path(), false).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match disk.open(&path(), true).await {
                    Ok(file) => disk.sync_dir(STORE_DIR).await.map(|()| file),
                    Err(error) => Err(error),
                }
            }
            opened => opened,
        };
        let begun = match opened {
            Ok(file) => file.len().await.map(|bytes| (file, bytes)),
            Err(error) => Err(error),
        };
        match begun {
            Ok((file, bytes)) => {
                self.held_back.bytes.set(bytes);
                *self.held_back.file.borrow_mut() = Some(file);
            }
            Err(error) => {
                tracing::warn!(%error, "space for the index cannot be held back on this disk")
            }
        }
        self.refresh_free().await;
        self.hold_back().await;
    }

    /// Holds back as much as there is room for and is wanted; gives back what is too much.
    pub(super) async fn hold_back(&self) {
        let _turn = self.held_back.turn.lock().await;
        let (wanted, free) = {
            let state = self.shared.state.borrow();
            let wanted = held_back_now(&self.shared.limits, state.disk_bytes);
            (
                wanted,
                state.free_bytes.saturating_sub(self.held_back.bytes()),
            )
        };
        let missing = wanted.saturating_sub(self.held_back.bytes());
        // A block more than it takes, since file systems take some for themselves.
        let has_room = missing == 0 || free > missing + BLOCK;
        if wanted != self.held_back.bytes() && has_room {
            self.resize_held_back(wanted).await;
        }
    }

    /// Gives way to so many bytes that are about to be written, as far as the rest of the disk has no room for them. Whether it did.
    pub(super) async fn make_way(&self, bytes: u64) -> bool {
        let _turn = self.held_back.turn.lock().await;
        let held = self.held_back.bytes();
        if held == 0 {
            return false;
        }
        // Asked anew: others write to the same disk.
        self.refresh_free().await;
        let free = self.shared.state.borrow().free_bytes.saturating_sub(held);
        let lacking = bytes.saturating_sub(free).next_multiple_of(BLOCK);
        if lacking == 0 {
            return false;
        }
        self.resize_held_back(held.saturating_sub(lacking)).await;
        self.held_back.bytes() < held
    }

    /// Gives way with half of what there is, and with all of a little: the disk had no room although it said so.
    pub(super) async fn make_way_blindly(&self) -> bool {
        let _turn = self.held_back.turn.lock().await;
        let held = self.held_back.bytes();
        if held == 0 {
            return false;
        }
        let half = held / 2 / BLOCK * BLOCK;
        self.resize_held_back(if half < 64 * BLOCK { 0 } else { half })
            .await;
        self.held_back.bytes() < held
    }

    async fn resize_held_back(&self, bytes: u64) {
        let Some(file) = self.held_back.file.borrow().clone() else {
            return;
        };
        let grows = bytes > self.held_back.bytes();
        let done = match grows {
            // Durable, so that it is there when power comes back to a disk that is full by then.
            true => match file.allocate(bytes).await {
                Ok(()) => file.sync_data().await,
                Err(error) => Err(error),
            },
            false => file.set_len(bytes).await,
        };
        match done {
            Ok(()) => self.held_back.bytes.set(bytes),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::info!(
                    "this file system gives no space in advance: what is held back for the index is only counted"
                );
                *self.held_back.file.borrow_mut() = None;
                let _ = self.world.disk().remove(&path()).await;
            }
            Err(error) => {
                tracing::debug!(%error, "space could not be held back");
                // Whatever became of it is what counts.
                if let Ok(len) = file.len().await {
                    self.held_back.bytes.set(len);
                }
            }
        }
        self.refresh_free().await;
    }
}
