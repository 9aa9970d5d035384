//! A world in memory: a tree of files that counts what is read, and a disk that keeps small files.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::ailing::{Ailing, Deed};
pub use super::disk::SmallDisk;
use super::open_file::OpenFile;
use crate::terms::{FileSystemId, Stamp};
use crate::world::{
    Attributes, Clock, DirEntry, Entropy, FileKind, Listener, Moment, Names, Net, NewFile, NotSet,
    Room, Stat, Tree, TreePath, Whole, World, Xattrs,
};

pub fn never() -> io::Error {
    io::Error::other("an author never does this")
}

#[derive(Clone, Default)]
pub struct Small {
    pub tree: Files,
    pub disk: SmallDisk,
    pub entropy: Counter,
    pub clock: Still,
}

impl World for Small {
    type Disk = SmallDisk;
    type Tree = Files;
    type Net = NoNet;
    type Clock = Still;
    type Entropy = Counter;

    fn disk(&self) -> &SmallDisk {
        &self.disk
    }
    fn tree(&self) -> &Files {
        &self.tree
    }
    fn net(&self) -> &NoNet {
        &NoNet
    }
    fn clock(&self) -> &Still {
        &self.clock
    }
    fn entropy(&self) -> &Counter {
        &self.entropy
    }
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(task);
    }
}

/// Stands still; the wall's is set by hand, in seconds. Short pauses are over at once, and counted.
#[derive(Clone)]
pub struct Still(pub Rc<Cell<i64>>, pub Rc<Cell<u32>>);

impl Default for Still {
    fn default() -> Self {
        Self(Rc::new(Cell::new(1_000_000)), Rc::default())
    }
}

impl Clock for Still {
    fn now(&self) -> Moment {
        Moment(Duration::ZERO)
    }
    fn wall(&self) -> Stamp {
        Stamp {
            seconds: self.0.get(),
            nanos: 0,
        }
    }
    async fn sleep(&self, how_long: Duration) {
        if how_long >= Duration::from_secs(1) {
            return std::future::pending().await;
        }
        self.1.set(self.1.get() + 1);
    }
}

#[derive(Clone, Default)]
pub struct Counter(Rc<Cell<u8>>);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.set(self.0.get().wrapping_add(1));
        bytes.fill(self.0.get());
    }
}

#[derive(Clone, Copy)]
pub struct NoNet;

impl Net for NoNet {
    type Link = tokio::io::DuplexStream;
    type Listener = NoListener;
    async fn connect(&self, _: SocketAddr) -> io::Result<Self::Link> {
        Err(never())
    }
    async fn listen(&self, _: SocketAddr) -> io::Result<NoListener> {
        Err(never())
    }
}

pub struct NoListener;

impl Listener for NoListener {
    type Link = tokio::io::DuplexStream;
    async fn accept(&mut self) -> io::Result<(Self::Link, SocketAddr)> {
        Err(never())
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(never())
    }
}

/// What stands at a path.
#[derive(Clone)]
pub enum Thing {
    Dir,
    File(Rc<Vec<u8>>),
    Link(Vec<u8>),
    /// A socket, pipe or device.
    Special(FileKind),
    /// A directory nobody may list, or a file nobody may open.
    Locked(FileKind),
}

/// What things say of the device they are on, if nothing is mounted.
pub const DATA_SETS_DEVICE: u64 = 5;

#[derive(Default)]
pub struct FilesInner {
    pub things: RefCell<BTreeMap<Vec<u8>, (Thing, Stat)>>,
    pub next_inode: Cell<u64>,
    pub files_read: Cell<u64>,
    /// The device everything is on.
    pub device: Cell<u64>,
    /// Files read after which the device is another one.
    pub device_changes_after: Cell<Option<u64>>,
    /// Extended attributes of some.
    pub xattrs: RefCell<BTreeMap<Vec<u8>, Xattrs>>,
    /// Bytes of large files that were read.
    pub bytes_read: Cell<u64>,
    /// Files of which nothing can be read from a place on.
    pub broken_from: RefCell<BTreeMap<Vec<u8>, usize>>,
    /// How often a look at a thing fails.
    pub unseen: RefCell<BTreeMap<Vec<u8>, u32>>,
    /// Goes at the moment when it is to be read.
    pub going: RefCell<BTreeSet<Vec<u8>>>,
    /// What fails a few times before it works.
    pub ailing: Ailing,
    /// How often each large file was opened.
    pub opened: RefCell<BTreeMap<Vec<u8>, u32>>,
    /// Things whose extended attributes cannot be read.
    pub mute: RefCell<Vec<Vec<u8>>>,
    /// Reads after which a file at this path is touched once more.
    pub restless: RefCell<BTreeMap<Vec<u8>, u32>>,
}

#[derive(Clone, Default)]
pub struct Files(pub Rc<FilesInner>);

impl Files {
    pub fn add(&self, path: impl AsRef<[u8]>, thing: Thing) {
        let inode = self.0.next_inode.get() + 1;
        self.0.next_inode.set(inode);
        let (kind, size) = match &thing {
            Thing::Dir => (FileKind::Dir, 0),
            Thing::File(bytes) => (FileKind::File, bytes.len() as u64),
            Thing::Link(target) => (FileKind::Symlink, target.len() as u64),
            Thing::Special(kind) => (*kind, 0),
            Thing::Locked(kind) => (*kind, 10),
        };
        let stamp = Stamp {
            seconds: i64::try_from(inode).expect("few files"),
            nanos: 0,
        };
        let stat = Stat {
            kind,
            mode: 0o644,
            uid: 1,
            gid: 2,
            size,
            blocks: size.div_ceil(512),
            mtime: stamp,
            ctime: stamp,
            inode,
            device: DATA_SETS_DEVICE,
            links: 1,
            rdev: 0,
        };
        let path = path.as_ref().to_vec();
        self.0.things.borrow_mut().insert(path, (thing, stat));
    }

    pub fn file(&self, path: impl AsRef<[u8]>, bytes: impl Into<Vec<u8>>) {
        self.add(path, Thing::File(Rc::new(bytes.into())));
    }

    /// Gives a path and all below it another name; nothing else of it changes but its last change of anything.
    pub fn rename(&self, from: &str, to: &str) {
        let mut things = self.0.things.borrow_mut();
        let (from, to) = (from.as_bytes(), to.as_bytes());
        let below = |path: &Vec<u8>| {
            let rest = path.strip_prefix(from)?;
            (rest.is_empty() || rest[0] == b'/').then(|| [to, rest].concat())
        };
        let moved: Vec<_> = things
            .keys()
            .filter_map(|path| Some((path.clone(), below(path)?)))
            .collect();
        for (from, to) in moved {
            if let Some(thing) = things.remove(&from) {
                things.insert(to, thing);
            }
        }
    }

    /// Changes the times of everything.
    pub fn touch_all(&self) {
        for (_, stat) in self.0.things.borrow_mut().values_mut() {
            stat.mtime.nanos += 1;
            stat.ctime.nanos += 1;
        }
    }

    fn count_read(&self) {
        let read = self.0.files_read.get() + 1;
        self.0.files_read.set(read);
        if let Some(left) = self.0.device_changes_after.get() {
            self.0.device_changes_after.set(left.checked_sub(1));
            if left == 0 {
                self.0.device.set(99);
            }
        }
    }

    /// Changes what a thing says of itself.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Stat)) {
        let mut things = self.0.things.borrow_mut();
        let (_, stat) = things.get_mut(path.as_bytes()).expect("it is there");
        change(stat);
    }

    /// Gives a file one more name.
    pub fn link(&self, from: &str, to: &str) {
        let thing = self.at(from.as_bytes()).expect("it is there");
        let inode = thing.1.inode;
        self.0.things.borrow_mut().insert(to.into(), thing);
        for (_, stat) in self.0.things.borrow_mut().values_mut() {
            if stat.inode == inode {
                stat.links += 1;
            }
        }
    }

    pub fn xattrs_of(&self, path: &[u8]) -> io::Result<Xattrs> {
        if self.0.mute.borrow().iter().any(|mute| mute == path) {
            return Err(denied());
        }
        let xattrs = self.0.xattrs.borrow();
        Ok(xattrs.get(path).cloned().unwrap_or_default())
    }

    /// Replaces what a file holds, and nothing it says of itself.
    pub fn swap(&self, path: &str, bytes: Vec<u8>) {
        let mut things = self.0.things.borrow_mut();
        let (thing, _) = things.get_mut(path.as_bytes()).expect("it is there");
        *thing = Thing::File(Rc::new(bytes));
    }

    fn let_go(&self, path: &[u8]) {
        if self.0.going.borrow_mut().remove(path) {
            self.0.things.borrow_mut().remove(path);
        }
    }

    pub fn remove(&self, path: &str) {
        self.0.things.borrow_mut().remove(path.as_bytes());
    }

    pub fn at(&self, path: &[u8]) -> io::Result<(Thing, Stat)> {
        let things = self.0.things.borrow();
        things
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Changes a restless file's time after a read.
    pub fn stir(&self, path: &[u8]) {
        let mut restless = self.0.restless.borrow_mut();
        if let Some(left) = restless.get_mut(path)
            && *left > 0
        {
            *left -= 1;
            if let Some((_, stat)) = self.0.things.borrow_mut().get_mut(path) {
                stat.mtime.nanos += 1;
            }
        }
    }
}

pub fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

impl Tree for Files {
    type File = OpenFile;
    type Root = ();

    async fn stat(&self, path: &TreePath) -> io::Result<Stat> {
        self.at(path).map(|(_, stat)| stat)
    }
    async fn list(&self, dir: &TreePath, behind: &[u8], bytes_max: usize) -> io::Result<Names> {
        self.0.ailing.attempt(dir, Deed::List)?;
        match self.at(dir)?.0 {
            Thing::Dir => {}
            Thing::Locked(_) => return Err(denied()),
            Thing::File(_) | Thing::Link(_) | Thing::Special(_) => return Err(never()),
        }
        let things = self.0.things.borrow();
        let below = things.keys().filter_map(|path| {
            let name = path.strip_prefix(dir)?.strip_prefix(b"/")?;
            (!name.contains(&b'/') && name > behind).then_some(name)
        });
        let mut names = Names::new(false);
        for name in below {
            if !names.is_empty() && names.memory_bytes() + name.len() > bytes_max {
                names.has_more = true;
                break;
            }
            names.push(name);
        }
        Ok(names)
    }
    async fn look(&self, dir: &TreePath, names: Vec<Vec<u8>>) -> Vec<DirEntry> {
        let look = |name: Vec<u8>| {
            let path = [dir, &name].join(&b'/');
            if let Some(left) = self.0.unseen.borrow_mut().get_mut(&path)
                && *left > 0
            {
                *left -= 1;
                let stat = Err(libc::EIO);
                return DirEntry { name, stat };
            }
            let found = self.at(&path);
            let stat = found.map(|(_, stat)| stat).map_err(|_| libc::ENOENT);
            DirEntry { name, stat }
        };
        names.into_iter().map(look).collect()
    }
    async fn xattrs(&self, path: &TreePath) -> io::Result<Xattrs> {
        self.at(path)?;
        self.xattrs_of(path)
    }
    async fn read_link(&self, path: &TreePath) -> io::Result<Vec<u8>> {
        match self.at(path)?.0 {
            Thing::Link(target) => Ok(target),
            Thing::Dir | Thing::File(_) | Thing::Special(_) | Thing::Locked(_) => Err(never()),
        }
    }
    async fn open(&self, path: &TreePath) -> io::Result<OpenFile> {
        self.0.ailing.attempt(path, Deed::Open)?;
        self.let_go(path);
        match self.at(path)?.0 {
            Thing::File(_) => {}
            Thing::Dir | Thing::Link(_) | Thing::Special(_) | Thing::Locked(_) => {
                return Err(denied());
            }
        }
        self.count_read();
        *self.0.opened.borrow_mut().entry(path.to_vec()).or_default() += 1;
        Ok(OpenFile {
            files: self.clone(),
            path: path.to_vec(),
        })
    }
    async fn read_many(&self, paths: Vec<Vec<u8>>, bytes_max: usize) -> Vec<io::Result<Whole>> {
        let mut answers = Vec::new();
        for path in paths {
            self.count_read();
            self.stir(&path);
            self.let_go(&path);
            if let Err(error) = self.0.ailing.attempt(&path, Deed::Read { from: 0 }) {
                answers.push(Err(error));
                continue;
            }
            answers.push(self.at(&path).and_then(|(thing, stat)| match thing {
                Thing::File(bytes) => Ok(Whole {
                    stat,
                    bytes: bytes[..bytes.len().min(bytes_max)].to_vec(),
                    xattrs: self.xattrs_of(&path)?,
                    has_holes: stat.blocks * 512 < stat.size,
                }),
                Thing::Dir | Thing::Link(_) | Thing::Special(_) | Thing::Locked(_) => Err(denied()),
            }));
        }
        answers
    }
    async fn file_system(&self, path: &TreePath) -> io::Result<FileSystemId> {
        let (_, stat) = self.at(path)?;
        let device = match stat.device {
            DATA_SETS_DEVICE => self.0.device.get(),
            mounted => mounted,
        };
        Ok(FileSystemId { magic: 1, device })
    }
    async fn file_system_serial(&self, path: &TreePath) -> io::Result<u64> {
        self.at(path)?;
        Ok(0)
    }
    async fn root(&self, _: &TreePath) -> io::Result<()> {
        Err(never())
    }
    async fn root_is_empty(&self, (): &()) -> io::Result<bool> {
        Err(never())
    }
    async fn stat_below(&self, (): &(), _: Vec<Vec<u8>>) -> Vec<io::Result<Stat>> {
        Vec::new()
    }
    async fn xattrs_below(&self, (): &(), _: &TreePath) -> io::Result<Xattrs> {
        Err(never())
    }
    async fn remove_below(&self, (): &(), _: &TreePath) -> io::Result<()> {
        Err(never())
    }
    async fn make_dir(&self, (): &(), _: &TreePath) -> io::Result<()> {
        Err(never())
    }
    async fn make_symlink(&self, (): &(), _: &TreePath, _: &[u8]) -> io::Result<()> {
        Err(never())
    }
    async fn make_special(&self, (): &(), _: &TreePath, _: FileKind, _: u64) -> io::Result<()> {
        Err(never())
    }
    async fn link(&self, (): &(), _: &TreePath, _: &TreePath) -> io::Result<()> {
        Err(never())
    }
    async fn create(&self, (): &(), _: &TreePath) -> io::Result<OpenFile> {
        Err(never())
    }
    async fn finish(
        &self,
        (): &(),
        _: OpenFile,
        _: &TreePath,
        _: Attributes,
    ) -> io::Result<NotSet> {
        Err(never())
    }
    async fn write_many(&self, (): &(), _: Vec<NewFile>) -> Vec<io::Result<NotSet>> {
        Vec::new()
    }
    async fn discard(&self, (): &(), _: OpenFile) {}
    async fn set(&self, (): &(), _: &TreePath, _: Attributes) -> io::Result<NotSet> {
        Err(never())
    }
    async fn room(&self, (): &()) -> io::Result<Room> {
        unreachable!("an author restores nothing")
    }
    async fn boot(&self) -> Option<[u8; 16]> {
        unreachable!("an author restores nothing")
    }
    async fn note(&self, (): &()) -> io::Result<Option<Vec<u8>>> {
        unreachable!("an author restores nothing")
    }
    async fn set_note(&self, (): &(), _: Option<Vec<u8>>, _: bool) -> io::Result<()> {
        unreachable!("an author restores nothing")
    }
    async fn tag_parts(&self, (): &(), _: u64) {}
    async fn open_part(&self, (): &(), _: &TreePath) -> io::Result<OpenFile> {
        unreachable!("an author restores nothing")
    }
    async fn sweep_parts(&self, (): &(), _: &TreePath) -> io::Result<()> {
        unreachable!("an author restores nothing")
    }
    async fn sync(&self, (): &()) -> io::Result<()> {
        Err(never())
    }
}
