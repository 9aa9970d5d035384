//! People's files and a network for tests of a store, which asks for neither: every call is a mistake.

use std::io;
use std::net::SocketAddr;

use crate::terms::FileSystemId;
use crate::world::{
    Attributes, DirEntry, FileKind, Listener, Names, Net, NewFile, NotSet, Room, Stat, Tree,
    TreeFile, TreePath, Whole, Xattrs,
};

/// People's files and the network: not here.
#[derive(Clone)]
pub(super) struct Nothing;

const NOT_HERE: &str = "a store asks for no files of people and no network";

impl Tree for Nothing {
    type File = Nothing;
    type Root = ();

    async fn stat(&self, _: &TreePath) -> io::Result<Stat> {
        unreachable!("{NOT_HERE}")
    }
    async fn list(&self, _: &TreePath, _: &[u8], _: usize) -> io::Result<Names> {
        unreachable!("{NOT_HERE}")
    }
    async fn look(&self, _: &TreePath, _: Vec<Vec<u8>>) -> Vec<DirEntry> {
        unreachable!("{NOT_HERE}")
    }
    async fn xattrs(&self, _: &TreePath) -> io::Result<Xattrs> {
        unreachable!("{NOT_HERE}")
    }
    async fn read_link(&self, _: &TreePath) -> io::Result<Vec<u8>> {
        unreachable!("{NOT_HERE}")
    }
    async fn open(&self, _: &TreePath) -> io::Result<Nothing> {
        unreachable!("{NOT_HERE}")
    }
    async fn read_many(&self, _: Vec<Vec<u8>>, _: usize) -> Vec<io::Result<Whole>> {
        unreachable!("{NOT_HERE}")
    }
    async fn file_system(&self, _: &TreePath) -> io::Result<FileSystemId> {
        unreachable!("{NOT_HERE}")
    }
    async fn file_system_serial(&self, _: &TreePath) -> io::Result<u64> {
        unreachable!("{NOT_HERE}")
    }
    async fn root(&self, _: &TreePath) -> io::Result<()> {
        unreachable!("{NOT_HERE}")
    }
    async fn root_is_empty(&self, (): &()) -> io::Result<bool> {
        unreachable!("{NOT_HERE}")
    }
    async fn stat_below(&self, (): &(), _: Vec<Vec<u8>>) -> Vec<io::Result<Stat>> {
        unreachable!("{NOT_HERE}")
    }
    async fn xattrs_below(&self, (): &(), _: &TreePath) -> io::Result<Xattrs> {
        unreachable!("{NOT_HERE}")
    }
    async fn remove_below(&self, (): &(), _: &TreePath) -> io::Result<()> {
        unreachable!("{NOT_HERE}")
    }
    async fn make_dir(&self, (): &(), _: &TreePath) -> io::Result<()> {
        unreachable!("{NOT_HERE}")
    }
    async fn make_symlink(&self, (): &(), _: &TreePath, _: &[u8]) -> io::Result<()> {
        unreachable!("{NOT_HERE}")
    }
    async fn make_special(&self, (): &(), _: &TreePath, _: FileKind, _: u64) -> io::Result<()> {
        unreachable!("{NOT_HERE}")
    }
    async fn link(&self, (): &(), _: &TreePath, _: &TreePath) -> io::Result<()> {
        unreachable!("{NOT_HERE}")
    }
    async fn create(&self, (): &(), _: &TreePath) -> io::Result<Nothing> {
        unreachable!("{NOT_HERE}")
    }
    async fn finish(&self, (): &(), _: Nothing, _: &TreePath, _: Attributes) -> io::Result<NotSet> {
        unreachable!("{NOT_HERE}")
    }
    async fn write_many(&self, (): &(), _: Vec<NewFile>) -> Vec<io::Result<NotSet>> {
        unreachable!("{NOT_HERE}")
    }
    async fn discard(&self, (): &(), _: Nothing) {
        unreachable!("{NOT_HERE}")
    }
    async fn set(&self, (): &(), _: &TreePath, _: Attributes) -> io::Result<NotSet> {
        unreachable!("{NOT_HERE}")
    }
    async fn room(&self, (): &()) -> io::Result<Room> {
        unreachable!("{NOT_HERE}")
    }
    async fn boot(&self) -> Option<[u8; 16]> {
        unreachable!("{NOT_HERE}")
    }
    async fn note(&self, (): &()) -> io::Result<Option<Vec<u8>>> {
        unreachable!("{NOT_HERE}")
    }
    async fn set_note(&self, (): &(), _: Option<Vec<u8>>, _: bool) -> io::Result<()> {
        unreachable!("{NOT_HERE}")
    }
    async fn tag_parts(&self, (): &(), _: u64) {}
    async fn open_part(&self, (): &(), _: &TreePath) -> io::Result<Nothing> {
        unreachable!("{NOT_HERE}")
    }
    async fn sweep_parts(&self, (): &(), _: &TreePath) -> io::Result<()> {
        unreachable!("{NOT_HERE}")
    }
    async fn sync(&self, (): &()) -> io::Result<()> {
        unreachable!("{NOT_HERE}")
    }
}

impl TreeFile for Nothing {
    async fn stat(&self) -> io::Result<Stat> {
        unreachable!("{NOT_HERE}")
    }
    async fn read_at(&self, _: Vec<u8>, _: usize, _: u64) -> (io::Result<usize>, Vec<u8>) {
        unreachable!("{NOT_HERE}")
    }
    async fn xattrs(&self) -> io::Result<Xattrs> {
        unreachable!("{NOT_HERE}")
    }
    async fn next_data(&self, _: u64, _: u64) -> io::Result<Option<(u64, u64)>> {
        unreachable!("{NOT_HERE}")
    }
    async fn write_around_zeros(&self, _: Vec<u8>, _: u64) -> (io::Result<()>, Vec<u8>) {
        unreachable!("{NOT_HERE}")
    }
    async fn write_at(&self, _: Vec<u8>, _: u64) -> (io::Result<()>, Vec<u8>) {
        unreachable!("{NOT_HERE}")
    }
    async fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("{NOT_HERE}")
    }
}

impl Net for Nothing {
    type Link = tokio::io::DuplexStream;
    type Listener = Nothing;

    async fn connect(&self, _: SocketAddr) -> io::Result<Self::Link> {
        unreachable!("{NOT_HERE}")
    }
    async fn listen(&self, _: SocketAddr) -> io::Result<Nothing> {
        unreachable!("{NOT_HERE}")
    }
}

impl Listener for Nothing {
    type Link = tokio::io::DuplexStream;

    async fn accept(&mut self) -> io::Result<(Self::Link, SocketAddr)> {
        unreachable!("{NOT_HERE}")
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        unreachable!("{NOT_HERE}")
    }
}
