//! A disk and a net that a room's tests never use: every call is refused.

use std::io;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use tokio::io::DuplexStream;

use super::{Buffer, Disk, DiskFile, Entropy, Listener, Net};
use crate::terms::Stamp;

/// What tests never use.
#[derive(Clone, Copy)]
pub(crate) struct Nothing;

pub(crate) fn nothing<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) struct NoBuffer;
impl Deref for NoBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &[]
    }
}
impl DerefMut for NoBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut []
    }
}
impl Buffer for NoBuffer {}

impl Disk for Nothing {
    type Buffer = NoBuffer;
    type File = Self;
    async fn buffer(&self) -> NoBuffer {
        NoBuffer
    }
    async fn list(&self, _: &str) -> io::Result<Vec<String>> {
        nothing()
    }
    async fn make_dir(&self, _: &str) -> io::Result<()> {
        nothing()
    }
    async fn open(&self, _: &str, _: bool) -> io::Result<Self> {
        nothing()
    }
    async fn read_small(&self, _: &str) -> io::Result<Option<Vec<u8>>> {
        nothing()
    }
    async fn replace_small(&self, _: &str, _: &[u8], _: bool) -> io::Result<()> {
        nothing()
    }
    async fn remove(&self, _: &str) -> io::Result<()> {
        nothing()
    }
    async fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        nothing()
    }
    async fn sync_dir(&self, _: &str) -> io::Result<()> {
        nothing()
    }
    async fn free_bytes(&self, _: &str) -> io::Result<u64> {
        nothing()
    }
    fn is_rotational(&self) -> bool {
        false
    }
}

impl DiskFile for Nothing {
    type Buffer = NoBuffer;
    async fn read_at(
        &self,
        b: NoBuffer,
        _: usize,
        _: usize,
        _: u64,
    ) -> (io::Result<usize>, NoBuffer) {
        (nothing(), b)
    }
    async fn write_at(
        &self,
        b: NoBuffer,
        _: usize,
        _: usize,
        _: u64,
    ) -> (io::Result<()>, NoBuffer) {
        (nothing(), b)
    }
    async fn sync_data(&self) -> io::Result<()> {
        nothing()
    }
    async fn len(&self) -> io::Result<u64> {
        nothing()
    }
    async fn changed(&self) -> io::Result<Stamp> {
        nothing()
    }
    async fn is_named(&self) -> io::Result<bool> {
        nothing()
    }
    async fn set_len(&self, _: u64) -> io::Result<()> {
        nothing()
    }
}

impl Net for Nothing {
    type Link = DuplexStream;
    type Listener = Self;
    async fn connect(&self, _: SocketAddr) -> io::Result<DuplexStream> {
        nothing()
    }
    async fn listen(&self, _: SocketAddr) -> io::Result<Self> {
        nothing()
    }
}

impl Listener for Nothing {
    type Link = DuplexStream;
    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        nothing()
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        nothing()
    }
}

impl Entropy for Nothing {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}
