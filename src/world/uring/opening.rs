//! How a keeper's file is opened: directly past the page cache where that is to be had, and for reading alone where its file system became
//! read-only.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use tokio_uring::fs::{File, OpenOptions};

/// For what is written; others may not read it.
pub(super) fn read_write() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// For what can no longer be written.
pub(super) fn read_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

/// Opens a file, with direct I/O if that is wanted and to be had; `plain` is the file without it, if it is open already.
pub(super) async fn open_as(
    how: fn() -> OpenOptions,
    path: &Path,
    (direct, plain): (bool, Option<File>),
) -> io::Result<(File, bool)> {
    if direct {
        let flags = OFlags::DIRECT.bits().cast_signed();
        match how().custom_flags(flags).open(path).await {
            Err(error) if is_refusal(&error) => {}
            opened => return Ok((opened?, true)),
        }
    }
    match plain {
        Some(file) => Ok((file, false)),
        None => Ok((how().open(path).await?, false)),
    }
}

/// Whether a file is there and may be read, but not written: its file system is read-only, or it is marked so.
pub(super) fn only_reads(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let error = Errno::from_io_error(error);
    matches!(error, Some(Errno::ROFS | Errno::ACCESS | Errno::PERM))
}

/// Whether a file system said that it has no direct I/O.
fn is_refusal(error: &io::Error) -> bool {
    rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::INVAL)
}
