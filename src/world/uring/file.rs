//! One open file of the keeper's own: direct I/O with registered buffers where the system allows it.
//!
//! Short transfers are continued here; a caller sees all of what it asked for, the end of the file, or an error.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use tokio_uring::buf::BoundedBuf;
use tokio_uring::buf::fixed::FixedBuf;
use tokio_uring::fs::File;

use super::buffer::UringBuffer;
use super::raw::descriptor;
use super::task::to_its_end;
use crate::terms::Stamp;
use crate::terms::limits::BLOCK_BYTES;
use crate::world::DiskFile;

/// An open file of the state directory.
#[derive(Clone)]
pub struct UringFile {
    shared: Rc<Shared>,
}

pub(super) struct Shared {
    pub(super) file: File,
    /// Opened with O_DIRECT: offsets, lengths and memory must be aligned.
    pub(super) direct: bool,
    /// The pool's buffers may be named by number.
    pub(super) registered: bool,
    pub(super) syncs: Rc<Cell<u64>>,
}

impl UringFile {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared: Rc::new(shared),
        }
    }

    /// Whether reads and writes pass the page cache by.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.shared.direct
    }
}

impl Shared {
    async fn read(
        &self,
        memory: FixedBuf,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<usize>, FixedBuf) {
        let part = memory.slice(at..at + len);
        let (read, part) = match self.registered {
            true => self.file.read_fixed_at(part, offset).await,
            false => self.file.read_at(part, offset).await,
        };
        (read, part.into_inner())
    }

    async fn write(
        &self,
        memory: FixedBuf,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<usize>, FixedBuf) {
        let part = memory.slice(at..at + len);
        let (written, part) = match self.registered {
            true => self.file.write_fixed_at(part, offset).await,
            false => self.file.write_at(part, offset).submit().await,
        };
        (written, part.into_inner())
    }

    /// Reads until the part is full or the file ends.
    async fn read_all(
        &self,
        mut memory: FixedBuf,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<usize>, FixedBuf) {
        let mut done = 0;
        while done < len {
            let (read, back) = self
                .read(memory, at + done, len - done, offset + done as u64)
                .await;
            memory = back;
            match read {
                Ok(0) => break,
                Ok(read) => {
                    done += read;
                    // Less than whole blocks is the end; asking direct I/O for the rest of a block would be refused.
                    if !read.is_multiple_of(BLOCK_BYTES) {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), memory),
            }
        }
        (Ok(done), memory)
    }

    async fn write_all(
        &self,
        mut memory: FixedBuf,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<()>, FixedBuf) {
        let mut done = 0;
        while done < len {
            let (written, back) = self
                .write(memory, at + done, len - done, offset + done as u64)
                .await;
            memory = back;
            match written {
                Ok(written) => {
                    // After a short direct write the broken block is written again: only whole blocks may be asked for.
                    let counted = if done + written < len && self.direct {
                        written - written % BLOCK_BYTES
                    } else {
                        written
                    };
                    if counted == 0 {
                        return (Err(io::ErrorKind::WriteZero.into()), memory);
                    }
                    done += counted;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), memory),
            }
        }
        (Ok(()), memory)
    }
}

/// Whether a part lies inside a buffer.
fn check_part(buffer: &UringBuffer, at: usize, len: usize) -> io::Result<()> {
    match at.checked_add(len) {
        Some(end) if end <= buffer.len() => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the part asked for is not inside the buffer",
        )),
    }
}

impl DiskFile for UringFile {
    type Buffer = UringBuffer;

    async fn read_at(
        &self,
        buffer: UringBuffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<usize>, UringBuffer) {
        if let Err(error) = check_part(&buffer, at, len) {
            return (Err(error), buffer);
        }
        let shared = Rc::clone(&self.shared);
        to_its_end(async move {
            let (memory, turn) = buffer.into_parts();
            let (read, memory) = shared.read_all(memory, at, len, offset).await;
            (read, UringBuffer::from_parts(memory, turn))
        })
        .await
    }

    async fn write_at(
        &self,
        buffer: UringBuffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<()>, UringBuffer) {
        if let Err(error) = check_part(&buffer, at, len) {
            return (Err(error), buffer);
        }
        let shared = Rc::clone(&self.shared);
        to_its_end(async move {
            let (memory, turn) = buffer.into_parts();
            let (written, memory) = shared.write_all(memory, at, len, offset).await;
            (written, UringBuffer::from_parts(memory, turn))
        })
        .await
    }

    async fn forget_cached(&self) {
        if !self.shared.direct {
            // Only an advice: pages that wait to be written stay.
            let _ = rustix::fs::fadvise(
                descriptor(&self.shared.file),
                0,
                None,
                rustix::fs::Advice::DontNeed,
            );
        }
    }

    async fn sync_data(&self) -> io::Result<()> {
        let shared = Rc::clone(&self.shared);
        shared.syncs.set(shared.syncs.get() + 1);
        to_its_end(async move { shared.file.sync_data().await }).await
    }

    async fn len(&self) -> io::Result<u64> {
        let found = rustix::fs::fstat(descriptor(&self.shared.file))?;
        u64::try_from(found.st_size).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    async fn changed(&self) -> io::Result<Stamp> {
        let found = rustix::fs::fstat(descriptor(&self.shared.file))?;
        Ok(Stamp {
            seconds: found.st_ctime,
            nanos: u32::try_from(found.st_ctime_nsec).map_err(io::Error::other)?,
        })
    }

    async fn is_named(&self) -> io::Result<bool> {
        Ok(rustix::fs::fstat(descriptor(&self.shared.file))?.st_nlink > 0)
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::ftruncate(descriptor(&self.shared.file), bytes)?)
    }

    async fn allocate(&self, bytes: u64) -> io::Result<()> {
        let shared = Rc::clone(&self.shared);
        // What the system's library does where a file system cannot is to write zeros: the ring asks the file system alone.
        let done = to_its_end(async move { shared.file.fallocate(0, bytes, 0).await }).await;
        done.map_err(|error| match rustix::io::Errno::from_io_error(&error) {
            Some(rustix::io::Errno::OPNOTSUPP) => io::ErrorKind::Unsupported.into(),
            Some(_) | None => error,
        })
    }
}
