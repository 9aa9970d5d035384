//! The canary: a world whose disk says "synced" and does nothing. Stories about durability must fail on it, or they prove nothing.

use std::future::Future;
use std::io;

use reserve::terms::Stamp;
use reserve::world::{Disk, DiskFile, World};

/// A world like another, but syncing a file does nothing and says that all is well.
#[derive(Clone)]
pub struct Liar<W: World> {
    world: W,
    disk: LyingDisk<W::Disk>,
}

/// A disk that forgets to sync.
#[derive(Clone)]
pub struct LyingDisk<D>(D);

/// One of its files.
#[derive(Clone)]
pub struct LyingFile<F>(F);

impl<W: World> Liar<W> {
    /// Makes a liar of a world.
    #[must_use]
    pub fn new(world: W) -> Self {
        Self {
            disk: LyingDisk(world.disk().clone()),
            world,
        }
    }
}

impl<W: World> World for Liar<W> {
    type Disk = LyingDisk<W::Disk>;
    type Tree = W::Tree;
    type Net = W::Net;
    type Clock = W::Clock;
    type Entropy = W::Entropy;

    fn disk(&self) -> &Self::Disk {
        &self.disk
    }

    fn tree(&self) -> &W::Tree {
        self.world.tree()
    }

    fn net(&self) -> &W::Net {
        self.world.net()
    }

    fn clock(&self) -> &W::Clock {
        self.world.clock()
    }

    fn entropy(&self) -> &W::Entropy {
        self.world.entropy()
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.world.spawn(task);
    }
}

impl<D: Disk> Disk for LyingDisk<D> {
    type Buffer = D::Buffer;
    type File = LyingFile<D::File>;

    async fn buffer(&self) -> D::Buffer {
        self.0.buffer().await
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.list(dir).await
    }

    async fn make_dir(&self, dir: &str) -> io::Result<()> {
        self.0.make_dir(dir).await
    }

    async fn open(&self, path: &str, create_new: bool) -> io::Result<Self::File> {
        self.0.open(path, create_new).await.map(LyingFile)
    }

    async fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.0.read_small(path).await
    }

    async fn replace_small(&self, path: &str, bytes: &[u8], secret: bool) -> io::Result<()> {
        self.0.replace_small(path, bytes, secret).await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path).await
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to).await
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.0.sync_dir(dir).await
    }

    async fn free_bytes(&self, dir: &str) -> io::Result<u64> {
        self.0.free_bytes(dir).await
    }

    fn is_rotational(&self) -> bool {
        self.0.is_rotational()
    }
}

impl<F: DiskFile> DiskFile for LyingFile<F> {
    type Buffer = F::Buffer;

    async fn read_at(
        &self,
        buffer: F::Buffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<usize>, F::Buffer) {
        self.0.read_at(buffer, at, len, offset).await
    }

    async fn write_at(
        &self,
        buffer: F::Buffer,
        at: usize,
        len: usize,
        offset: u64,
    ) -> (io::Result<()>, F::Buffer) {
        self.0.write_at(buffer, at, len, offset).await
    }

    async fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    async fn len(&self) -> io::Result<u64> {
        self.0.len().await
    }

    async fn changed(&self) -> io::Result<Stamp> {
        self.0.changed().await
    }

    async fn is_named(&self) -> io::Result<bool> {
        self.0.is_named().await
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes).await
    }
}
