//! A Box whose keeper does not run, read as it lies there: plain files, nothing changed, no ring needed.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::fault::Fault;
use super::store_place;
use crate::keeper::STORE_DIR;
use crate::roster::LoadedBox;
use crate::terms::Stamp;
use crate::terms::limits::STORE_BUFFER_BYTES;
use crate::world::{Buffer, Disk, DiskFile};

/// The files of a state directory, for reading.
#[derive(Debug, Clone)]
pub struct AtRest {
    root: PathBuf,
    /// Where the store lies, if not there.
    store: Option<PathBuf>,
}

impl AtRest {
    /// Of this state directory.
    pub fn new(dir: &Path) -> Self {
        Self {
            root: dir.into(),
            store: store_place::elsewhere(dir),
        }
    }

    /// Where a relative path is.
    fn place(&self, path: &str) -> PathBuf {
        let below = Path::new(path).strip_prefix(STORE_DIR);
        match (&self.store, below) {
            (Some(store), Ok(below)) => store.join(below),
            (Some(_), Err(_)) | (None, _) => self.root.join(path),
        }
    }

    /// What the Box knows of itself and its reserve.
    pub fn load(&self) -> Result<LoadedBox, Fault> {
        self.now(LoadedBox::load(self)).map_err(|error| {
            Fault::from_sentence(
                &error.to_string(),
                "Nothing was changed.",
                "Look at `reserve doctor`.",
            )
        })
    }

    /// The answer of a flow that only reads here: it never has to wait.
    pub fn now<T>(&self, flow: impl Future<Output = T>) -> T {
        let mut flow = pin!(flow);
        loop {
            if let Poll::Ready(answer) = flow.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                return answer;
            }
        }
    }
}

/// A buffer of one's own.
pub struct OwnBuffer(Vec<u8>);

impl Deref for OwnBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for OwnBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buffer for OwnBuffer {}

/// A file open for reading.
#[derive(Debug, Clone)]
pub struct ReadFile(Rc<File>);

fn only_reads<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::ReadOnlyFilesystem,
        "a Box at rest is only read",
    ))
}

impl DiskFile for ReadFile {
    type Buffer = OwnBuffer;

    async fn read_at(
        &self,
        mut buffer: OwnBuffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<usize>, OwnBuffer) {
        let mut there = 0;
        while there < len {
            let into = &mut buffer.0[at + there..at + len];
            match self.0.read_at(into, offset + there as u64) {
                Ok(0) => break,
                Ok(read) => there += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(there), buffer)
    }

    async fn write_at(
        &self,
        buffer: OwnBuffer,
        _: usize,
        _: usize,
        _: u64,
    ) -> (io::Result<()>, OwnBuffer) {
        (only_reads(), buffer)
    }

    async fn sync_data(&self) -> io::Result<()> {
        only_reads()
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    async fn changed(&self) -> io::Result<Stamp> {
        let found = self.0.metadata()?;
        Ok(Stamp {
            seconds: found.ctime(),
            nanos: u32::try_from(found.ctime_nsec()).unwrap_or(0),
        })
    }

    async fn is_named(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() > 0)
    }

    async fn set_len(&self, _: u64) -> io::Result<()> {
        only_reads()
    }
}

impl Disk for AtRest {
    type Buffer = OwnBuffer;
    type File = ReadFile;

    async fn buffer(&self) -> OwnBuffer {
        OwnBuffer(vec![0; STORE_BUFFER_BYTES])
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.place(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    async fn make_dir(&self, _: &str) -> io::Result<()> {
        only_reads()
    }

    async fn open(&self, path: &str, create_new: bool) -> io::Result<ReadFile> {
        if create_new {
            return only_reads();
        }
        Ok(ReadFile(Rc::new(File::open(self.place(path))?)))
    }

    async fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.place(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn replace_small(&self, _: &str, _: &[u8], _: bool) -> io::Result<()> {
        only_reads()
    }

    async fn remove(&self, _: &str) -> io::Result<()> {
        only_reads()
    }

    async fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        only_reads()
    }

    async fn sync_dir(&self, _: &str) -> io::Result<()> {
        only_reads()
    }

    async fn free_bytes(&self, dir: &str) -> io::Result<u64> {
        let space = rustix::fs::statvfs(self.place(dir))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn is_rotational(&self) -> bool {
        false
    }
}
