//! The only unsafe lines of the real world: memory and descriptors as the kernel wants them.
//!
//! It is not a place for I/O. Each block says why it is sound.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use tokio_uring::buf::{IoBuf, IoBufMut};
use tokio_uring::fs::File;

use crate::terms::limits::BLOCK_BYTES;

/// Has all threads of this process allocate from one arena: the helper thread's buffers are freed by the deciding thread, and a
/// second arena would keep megabytes of holes for itself.
pub(super) fn one_arena() {
    // SAFETY: a plain libc call without pointers; it only changes how later allocations choose their arena. If it is
    // refused (it answers 0), memory is merely used less well.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// One block, aligned as the strictest common device wants it.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

const _: () = assert!(align_of::<Block>() == BLOCK_BYTES && size_of::<Block>() == BLOCK_BYTES);

/// Memory for direct I/O: aligned, all of it initialised, never moved and never resized.
pub(super) struct AlignedMemory(Box<[Block]>);

impl AlignedMemory {
    /// Zeroed memory; the length is rounded up to whole blocks.
    pub(super) fn new(bytes: usize) -> Self {
        let blocks = bytes.div_ceil(BLOCK_BYTES);
        Self(vec![Block([0; BLOCK_BYTES]); blocks].into_boxed_slice())
    }
}

// SAFETY: the pointer is that of a boxed slice, which stays where it is when the box moves, and `AlignedMemory` neither
// resizes nor replaces it. All bytes are initialised from the start (a `Block` is plain bytes without padding, asserted
// above), so the initialised length is the total length.
unsafe impl IoBuf for AlignedMemory {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }

    fn bytes_init(&self) -> usize {
        self.bytes_total()
    }

    fn bytes_total(&self) -> usize {
        self.0.len() * BLOCK_BYTES
    }
}

// SAFETY: the same pointer and length as above, borrowed mutably; any bytes are a valid `Block`. There is no shorter
// initialised part to track, so `set_init` has nothing to do.
unsafe impl IoBufMut for AlignedMemory {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    unsafe fn set_init(&mut self, _bytes: usize) {}
}

/// The descriptor of a file of the ring, for the calls the ring does not have.
pub(super) fn descriptor(file: &File) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open as long as `file` is not dropped or closed. The borrow's lifetime is that of the
    // reference to `file`, and closing takes `file` by value.
    unsafe { BorrowedFd::borrow_raw(file.as_raw_fd()) }
}

/// Reads at most `bytes_max` bytes at `offset` behind what `into` holds, without zeroing the room first.
pub(super) fn read_behind(
    from: impl AsFd,
    into: &mut Vec<u8>,
    bytes_max: usize,
    offset: u64,
) -> io::Result<usize> {
    into.reserve_exact(bytes_max);
    let room = into.spare_capacity_mut();
    let wanted = bytes_max.min(room.len());
    let (read, _) = rustix::io::retry_on_intr(|| {
        // Borrowed anew for each attempt; the answer is only a length, so that the borrow ends here.
        rustix::io::pread(from.as_fd(), &mut room[..wanted], offset)
            .map(|(read, rest)| (read.len(), rest.len()))
    })?;
    let bytes = into.len() + read;
    // SAFETY: the kernel initialised `read` bytes from the start of the spare room (rustix returns exactly that part as
    // initialised), and `read` is at most the length of that room, so `bytes` is at most the capacity.
    unsafe { into.set_len(bytes) };
    Ok(read)
}
