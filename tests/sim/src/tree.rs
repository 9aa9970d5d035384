//! People's files as the product sees them.
//!
//! The product's deeds take virtual time and stop with the power. What was written is there after a power cut, synced or not:
//! only the keeper's disk forgets as yet. How stories make and change files is in `planting`.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use reserve::terms::FileSystemId;
use reserve::world::{
    Attributes, DirEntry, FileKind, NOTE_NAME, Names, NewFile, NotSet, Room, Stat, Tree, TreeFile,
    TreePath, Whole, Xattrs,
};

use crate::machine::{Boot, Machine, no_power};
use crate::wood::{Body, Dir, Hand, Node, Wood};

const ELOOP: i32 = 40;
const ENOENT: i32 = 2;
/// `f_type` of ext4.
const FILE_SYSTEM_MAGIC: u64 = 0xef53;
/// Beside its final name, a file that is being written is called like this.
pub(crate) const TEMPORARY_SUFFIX: &[u8] = b".part";

/// People's files on one Box.
#[derive(Clone)]
pub struct SimTree {
    pub(crate) boot: Boot,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// An open file.
#[derive(Clone)]
pub struct SimTreeFile {
    tree: SimTree,
    node: Rc<Node>,
    /// The directory it was created in and its temporary name there, until it is finished.
    unfinished: Rc<Cell<Option<Temporary>>>,
}

/// A directory to restore into.
#[derive(Clone)]
pub struct SimTreeRoot {
    node: Rc<Node>,
}

struct Temporary {
    dir: Rc<Node>,
    name: Vec<u8>,
}

impl SimTree {
    pub(crate) fn new(boot: Boot) -> Self {
        Self {
            boot,
            uid: 0,
            gid: 0,
        }
    }

    pub(crate) fn wood<T>(&self, work: impl FnOnce(&mut Wood) -> T) -> T {
        work(&mut self.boot.machine.wood.borrow_mut())
    }

    pub(crate) fn hand(&self) -> Hand {
        self.hand_at(&self.boot.machine)
    }

    fn hand_at(&self, machine: &Machine) -> Hand {
        Hand {
            uid: self.uid,
            gid: self.gid,
            now: machine.wall(),
        }
    }

    /// A deed on the tree that is traced, by its own caller's hand.
    pub(crate) async fn deed<T: 'static>(
        &self,
        what: &'static str,
        path: &[u8],
        work: impl FnOnce(&mut Wood, Hand, &[u8]) -> io::Result<T> + 'static,
    ) -> io::Result<T> {
        let (tree, path) = (self.clone(), path.to_vec());
        let takes = Duration::from_micros(self.boot.machine.dice.below(1000));
        let done = self.boot.deed(takes, move |machine| {
            let hand = tree.hand_at(machine);
            let result = work(&mut machine.wood.borrow_mut(), hand, &path);
            machine.event(what, &[u64::from(result.is_ok())], &path);
            result
        });
        done.await.unwrap_or_else(|| Err(no_power()))
    }
}

impl Tree for SimTree {
    type File = SimTreeFile;
    type Root = SimTreeRoot;

    async fn stat(&self, path: &TreePath) -> io::Result<Stat> {
        self.deed("stat", path, |wood, _, path| {
            Ok(wood.find(path, false)?.stat())
        })
        .await
    }

    async fn list(&self, dir: &TreePath, behind: &[u8], bytes_max: usize) -> io::Result<Names> {
        let behind = behind.to_vec();
        let work = move |wood: &mut Wood, _: Hand, dir: &[u8]| {
            let node = wood.find(dir, false)?;
            let entries = node.dir()?;
            let mut names = Names::new(false);
            for name in entries.keys().filter(|name| **name > behind) {
                if !names.is_empty() && names.memory_bytes() + name.len() > bytes_max {
                    names.has_more = true;
                    break;
                }
                names.push(name);
            }
            Ok(names)
        };
        self.deed("list tree", dir, work).await
    }

    async fn look(&self, dir: &TreePath, names: Vec<Vec<u8>>) -> Vec<DirEntry> {
        let asked = names.clone();
        let work = move |wood: &mut Wood, _: Hand, dir: &[u8]| {
            let node = wood.find(dir, false)?;
            let look = |name: Vec<u8>| {
                let stat = node.child(&name).map(|node| node.stat());
                let stat = stat.map_err(|_| ENOENT);
                DirEntry { name, stat }
            };
            Ok(names.into_iter().map(look).collect())
        };
        let gone = |_| {
            let gone = |name| DirEntry {
                name,
                stat: Err(ENOENT),
            };
            asked.into_iter().map(gone).collect()
        };
        self.deed("look", dir, work).await.unwrap_or_else(gone)
    }

    async fn xattrs(&self, path: &TreePath) -> io::Result<Xattrs> {
        let work = |wood: &mut Wood, _: Hand, path: &[u8]| Ok(wood.find(path, false)?.xattrs());
        self.deed("xattrs", path, work).await
    }

    async fn read_link(&self, path: &TreePath) -> io::Result<Vec<u8>> {
        let work = |wood: &mut Wood, _: Hand, path: &[u8]| {
            wood.find(path, false)?
                .target()
                .ok_or_else(|| io::ErrorKind::InvalidInput.into())
        };
        self.deed("read link", path, work).await
    }

    async fn open(&self, path: &TreePath) -> io::Result<SimTreeFile> {
        let work = |wood: &mut Wood, _: Hand, path: &[u8]| open(wood, path);
        let node = self.deed("open tree", path, work).await?;
        Ok(SimTreeFile {
            tree: self.clone(),
            node,
            unfinished: Rc::default(),
        })
    }

    async fn read_many(&self, paths: Vec<Vec<u8>>, bytes_max: usize) -> Vec<io::Result<Whole>> {
        let mut read = Vec::with_capacity(paths.len());
        for path in paths {
            let work = move |wood: &mut Wood, _: Hand, path: &[u8]| {
                let node = open(wood, path)?;
                let mut bytes = Vec::new();
                node.read(&mut bytes, bytes_max, 0);
                let stat = node.stat();
                Ok(Whole {
                    stat,
                    bytes,
                    xattrs: node.xattrs(),
                    has_holes: stat.blocks * 512 < stat.size,
                })
            };
            read.push(self.deed("read whole", &path, work).await);
        }
        read
    }

    async fn file_system(&self, path: &TreePath) -> io::Result<FileSystemId> {
        let work = |wood: &mut Wood, _: Hand, path: &[u8]| {
            let device = wood.find(path, true)?.device();
            Ok(FileSystemId {
                magic: FILE_SYSTEM_MAGIC,
                device,
            })
        };
        self.deed("file system", path, work).await
    }

    async fn file_system_serial(&self, path: &TreePath) -> io::Result<u64> {
        let work = |wood: &mut Wood, _: Hand, path: &[u8]| Ok(wood.find(path, true)?.device());
        self.deed("file system", path, work).await
    }

    async fn root(&self, path: &TreePath) -> io::Result<SimTreeRoot> {
        let work = |wood: &mut Wood, hand: Hand, path: &[u8]| wood.make_dirs(path, hand);
        Ok(SimTreeRoot {
            node: self.deed("root", path, work).await?,
        })
    }

    async fn root_is_empty(&self, root: &SimTreeRoot) -> io::Result<bool> {
        let node = Rc::clone(&root.node);
        self.deed("root is empty", b"", move |_, _, _| {
            Ok(node.dir()?.keys().all(|name| name == NOTE_NAME.as_bytes()))
        })
        .await
    }

    async fn stat_below(&self, root: &SimTreeRoot, paths: Vec<Vec<u8>>) -> Vec<io::Result<Stat>> {
        self.stats_below(&root.node, paths).await
    }

    async fn xattrs_below(&self, root: &SimTreeRoot, path: &TreePath) -> io::Result<Xattrs> {
        self.xattrs_at(Rc::clone(&root.node), path).await
    }

    async fn remove_below(&self, root: &SimTreeRoot, path: &TreePath) -> io::Result<()> {
        self.take_below(Rc::clone(&root.node), path).await
    }

    async fn make_dir(&self, root: &SimTreeRoot, path: &TreePath) -> io::Result<()> {
        let root = Rc::clone(&root.node);
        let work = move |wood: &mut Wood, hand: Hand, path: &[u8]| {
            let (dir, name) = wood.below(&root, path)?;
            match dir.child(name) {
                Ok(there) if there.dir().is_ok() => Ok(()),
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => wood
                    .add(&dir, name, Body::Dir(Dir::new()), 0o700, hand)
                    .map(|_| ()),
            }
        };
        self.deed("make tree dir", path, work).await
    }

    async fn make_symlink(
        &self,
        root: &SimTreeRoot,
        path: &TreePath,
        target: &[u8],
    ) -> io::Result<()> {
        let (root, target) = (Rc::clone(&root.node), target.to_vec());
        let work = move |wood: &mut Wood, hand: Hand, path: &[u8]| {
            let (dir, name) = wood.below(&root, path)?;
            wood.add(&dir, name, Body::Symlink(target), 0o777, hand)
                .map(|_| ())
        };
        self.deed("make symlink", path, work).await
    }

    async fn make_special(
        &self,
        root: &SimTreeRoot,
        path: &TreePath,
        kind: FileKind,
        rdev: u64,
    ) -> io::Result<()> {
        let root = Rc::clone(&root.node);
        let work = move |wood: &mut Wood, hand: Hand, path: &[u8]| {
            if kind == FileKind::Socket {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            if kind != FileKind::Fifo && hand.uid != 0 {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let (dir, name) = wood.below(&root, path)?;
            wood.add(&dir, name, Body::Special(kind, rdev), 0o600, hand)
                .map(|_| ())
        };
        self.deed("make special", path, work).await
    }

    async fn link(
        &self,
        root: &SimTreeRoot,
        existing: &TreePath,
        path: &TreePath,
    ) -> io::Result<()> {
        let (root, existing) = (Rc::clone(&root.node), existing.to_vec());
        let work = move |wood: &mut Wood, hand: Hand, path: &[u8]| {
            let (from, from_name) = wood.below(&root, &existing)?;
            let node = from.child(from_name)?;
            let (dir, name) = wood.below(&root, path)?;
            if node.dir().is_ok() || dir.child(name).is_ok_and(|there| there.dir().is_ok()) {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if dir.child(name).is_ok_and(|there| Rc::ptr_eq(&there, &node)) {
                return Ok(());
            }
            node.count_links(1, hand.now);
            dir.put(name, node, hand.now)
        };
        self.deed("link", path, work).await
    }

    async fn create(&self, root: &SimTreeRoot, path: &TreePath) -> io::Result<SimTreeFile> {
        let root = Rc::clone(&root.node);
        let work = move |wood: &mut Wood, hand: Hand, path: &[u8]| {
            let (dir, name) = wood.below(&root, path)?;
            let name = [b".", name, TEMPORARY_SUFFIX].concat();
            let node = wood.add(&dir, &name, Body::File(Vec::new()), 0o600, hand)?;
            Ok((node, Temporary { dir, name }))
        };
        let (node, temporary) = self.deed("create", path, work).await?;
        Ok(SimTreeFile {
            tree: self.clone(),
            node,
            unfinished: Rc::new(Cell::new(Some(temporary))),
        })
    }

    async fn finish(
        &self,
        root: &SimTreeRoot,
        file: SimTreeFile,
        path: &TreePath,
        attributes: Attributes,
    ) -> io::Result<NotSet> {
        let root = Rc::clone(&root.node);
        let work = move |wood: &mut Wood, hand: Hand, path: &[u8]| {
            let (dir, name) = wood.below(&root, path)?;
            if dir.child(name).is_ok_and(|there| there.dir().is_ok()) {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let temporary = file.unfinished.take().ok_or(io::ErrorKind::InvalidInput)?;
            let not_set = file.node.change(hand.now).set(attributes, hand);
            let node = temporary.dir.take(&temporary.name, hand.now)?;
            dir.put(name, node, hand.now)?;
            Ok(not_set)
        };
        self.deed("finish", path, work).await
    }

    async fn write_many(&self, root: &SimTreeRoot, files: Vec<NewFile>) -> Vec<io::Result<NotSet>> {
        let mut written = Vec::with_capacity(files.len());
        for new in files {
            let path = new.path;
            written.push(self.write_one(root, &path, new.bytes, new.attributes).await);
        }
        written
    }

    async fn discard(&self, _root: &SimTreeRoot, file: SimTreeFile) {
        let work = move |_: &mut Wood, hand: Hand, _: &[u8]| match file.unfinished.take() {
            Some(temporary) => temporary.dir.take(&temporary.name, hand.now).map(|_| ()),
            None => Ok(()),
        };
        // Nothing can be told and nothing is lost: at worst a temporary file stays.
        let _ = self.deed("discard", b"", work).await;
    }

    async fn set(
        &self,
        root: &SimTreeRoot,
        path: &TreePath,
        attributes: Attributes,
    ) -> io::Result<NotSet> {
        let root = Rc::clone(&root.node);
        let work = move |wood: &mut Wood, hand: Hand, path: &[u8]| {
            let node = if path.is_empty() {
                root
            } else {
                let (dir, name) = wood.below(&root, path)?;
                dir.child(name)?
            };
            Ok(node.change(hand.now).set(attributes, hand))
        };
        self.deed("set", path, work).await
    }

    async fn room(&self, _root: &SimTreeRoot) -> io::Result<Room> {
        Ok(Room {
            free_bytes: u64::MAX,
            free_things: u64::MAX,
            block_bytes: 4096,
        })
    }

    async fn boot(&self) -> Option<[u8; 16]> {
        None
    }
    async fn note(&self, root: &SimTreeRoot) -> io::Result<Option<Vec<u8>>> {
        self.read_note(Rc::clone(&root.node)).await
    }

    async fn set_note(
        &self,
        root: &SimTreeRoot,
        note: Option<Vec<u8>>,
        _durable: bool,
    ) -> io::Result<()> {
        self.write_note(Rc::clone(&root.node), note).await
    }

    async fn tag_parts(&self, _root: &SimTreeRoot, _tag: u64) {}

    async fn open_part(&self, root: &SimTreeRoot, path: &TreePath) -> io::Result<SimTreeFile> {
        // Nobody goes on with a file here: one that was left is begun anew.
        self.remove_part(Rc::clone(&root.node), path).await?;
        self.create(root, path).await
    }

    async fn sweep_parts(&self, _root: &SimTreeRoot, _dir: &TreePath) -> io::Result<()> {
        Ok(())
    }

    async fn sync(&self, _root: &SimTreeRoot) -> io::Result<()> {
        self.deed("sync tree", b"", |_, _, _| Ok(())).await
    }
}

impl TreeFile for SimTreeFile {
    async fn stat(&self) -> io::Result<Stat> {
        let node = Rc::clone(&self.node);
        self.tree
            .deed("stat open", b"", move |_, _, _| Ok(node.stat()))
            .await
    }

    async fn read_at(
        &self,
        mut into: Vec<u8>,
        bytes_max: usize,
        offset: u64,
    ) -> (io::Result<usize>, Vec<u8>) {
        let node = Rc::clone(&self.node);
        let work = move |_: &mut Wood, _: Hand, _: &[u8]| {
            let len = node.read(&mut into, bytes_max, offset);
            Ok((len, into))
        };
        match self.tree.deed("read tree", b"", work).await {
            Ok((len, into)) => (Ok(len), into),
            Err(error) => (Err(error), Vec::new()),
        }
    }

    async fn xattrs(&self) -> io::Result<Xattrs> {
        let node = Rc::clone(&self.node);
        let work = move |_: &mut Wood, _: Hand, _: &[u8]| Ok(node.xattrs());
        self.tree.deed("xattrs of open", b"", work).await
    }

    async fn next_data(&self, offset: u64, hole_bytes_min: u64) -> io::Result<Option<(u64, u64)>> {
        let node = Rc::clone(&self.node);
        let work =
            move |_: &mut Wood, _: Hand, _: &[u8]| Ok(node.next_data(offset, hole_bytes_min));
        self.tree.deed("next data", b"", work).await
    }

    async fn write_around_zeros(&self, bytes: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>) {
        // This file system keeps no blocks of zeros anyway.
        self.write_at(bytes, offset).await
    }

    async fn write_at(&self, bytes: Vec<u8>, offset: u64) -> (io::Result<()>, Vec<u8>) {
        let node = Rc::clone(&self.node);
        let work = move |_: &mut Wood, hand: Hand, _: &[u8]| {
            node.write(&bytes, offset, hand.now)?;
            Ok(bytes)
        };
        match self.tree.deed("write tree", b"", work).await {
            Ok(bytes) => (Ok(()), bytes),
            Err(error) => (Err(error), Vec::new()),
        }
    }

    async fn set_len(&self, bytes: u64) -> io::Result<()> {
        let node = Rc::clone(&self.node);
        let work = move |_: &mut Wood, hand: Hand, _: &[u8]| node.set_len(bytes, hand.now);
        self.tree.deed("set tree len", b"", work).await
    }
}

fn open(wood: &Wood, path: &[u8]) -> io::Result<Rc<Node>> {
    let node = wood.find(path, false)?;
    let kind = node.stat().kind;
    match kind {
        FileKind::File => Ok(node),
        FileKind::Symlink => Err(io::Error::from_raw_os_error(ELOOP)),
        FileKind::Dir => Err(io::ErrorKind::IsADirectory.into()),
        FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}
