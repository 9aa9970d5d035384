//! What people's files are made of: nodes with attributes, and the two ways to a node. Pure: no time, no tasks.
//!
//! Reading follows links on the way but not in the last name; writing below a root follows none and never leaves the root.
//! Every modification moves `ctime`. Nothing here forgets: people's files count as synced.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use reserve::terms::Stamp;
use reserve::world::{Attributes, FileKind, NotSet, Stat};

const ELOOP: i32 = 40;
const EXDEV: i32 = 18;

/// Links followed on the way before it counts as a circle, as on Linux.
const LINKS_FOLLOWED_MAX: usize = 40;
/// The file system's own block.
pub(crate) const BLOCK: usize = 4096;
const SPECIAL_BITS: u32 = 0o6000;

pub(crate) type Dir = BTreeMap<Vec<u8>, Rc<Node>>;

pub(crate) enum Body {
    File(Vec<u8>),
    Dir(Dir),
    Symlink(Vec<u8>),
    Special(FileKind, u64),
}

pub(crate) struct Node {
    inode: u64,
    device: u64,
    state: RefCell<NodeState>,
}

pub(crate) struct NodeState {
    pub(crate) body: Body,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Stamp,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    ctime: Stamp,
    links: u64,
}

/// Who does something, and when.
#[derive(Clone, Copy)]
pub(crate) struct Hand {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) now: Stamp,
}

/// All of a Box's tree.
pub(crate) struct Wood {
    root: Rc<Node>,
    inodes_used: u64,
}

impl Wood {
    pub(crate) fn new(ip: IpAddr) -> Self {
        let device = match ip {
            IpAddr::V4(ip) => 0x800 + u64::from(ip.octets()[3]),
            IpAddr::V6(_) => 0x800,
        };
        let hand = Hand {
            uid: 0,
            gid: 0,
            now: Stamp::default(),
        };
        let root = Node::new(1, device, Body::Dir(Dir::new()), 0o755, hand);
        Self {
            root: Rc::new(root),
            inodes_used: 1,
        }
    }

    /// The node at a path.
    pub(crate) fn find(&self, path: &[u8], follow_last: bool) -> io::Result<Rc<Node>> {
        let mut way = vec![Rc::clone(&self.root)];
        let mut ahead: Vec<Vec<u8>> = names_of(path).rev().map(<[u8]>::to_vec).collect();
        let mut links_followed = 0;
        if path.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        while let Some(name) = ahead.pop() {
            let here = way.last().unwrap_or(&self.root);
            if name == b".." {
                here.dir()?;
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            let next = here.child(&name)?;
            let target = next.target().filter(|_| follow_last || !ahead.is_empty());
            let Some(target) = target else {
                way.push(next);
                continue;
            };
            links_followed += 1;
            if links_followed > LINKS_FOLLOWED_MAX {
                return Err(io::Error::from_raw_os_error(ELOOP));
            }
            if target.starts_with(b"/") {
                way.truncate(1);
            }
            ahead.extend(names_of(&target).rev().map(<[u8]>::to_vec));
        }
        let found = way.pop().unwrap_or_else(|| Rc::clone(&self.root));
        if path.ends_with(b"/") {
            found.dir()?;
        }
        Ok(found)
    }

    /// The directory of a path below a root, and the last name.
    pub(crate) fn below<'p>(
        &self,
        root: &Rc<Node>,
        path: &'p [u8],
    ) -> io::Result<(Rc<Node>, &'p [u8])> {
        if path.starts_with(b"/") || path.split(|byte| *byte == b'/').any(|name| name == b"..") {
            return Err(io::Error::from_raw_os_error(EXDEV));
        }
        let mut names = names_of(path);
        let last = names.next_back().ok_or(io::ErrorKind::InvalidInput)?;
        let mut here = Rc::clone(root);
        for name in names {
            let next = here.child(name)?;
            if next.target().is_some() {
                return Err(io::Error::from_raw_os_error(ELOOP));
            }
            next.dir()?;
            here = next;
        }
        Ok((here, last))
    }

    /// Adds a node to a directory under a name that is free.
    pub(crate) fn add(
        &mut self,
        dir: &Rc<Node>,
        name: &[u8],
        body: Body,
        mode: u32,
        hand: Hand,
    ) -> io::Result<Rc<Node>> {
        let device = dir.device;
        self.add_on(dir, name, body, mode, hand, device)
    }

    /// The same on another file system: a mount point when it is a directory.
    pub(crate) fn add_on(
        &mut self,
        dir: &Rc<Node>,
        name: &[u8],
        body: Body,
        mode: u32,
        hand: Hand,
        device: u64,
    ) -> io::Result<Rc<Node>> {
        if dir.dir()?.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.inodes_used += 1;
        let node = Rc::new(Node::new(self.inodes_used, device, body, mode, hand));
        dir.put(name, Rc::clone(&node), hand.now)?;
        Ok(node)
    }

    /// The directory at an absolute path, made with its parents if it is not there.
    pub(crate) fn make_dirs(&mut self, path: &[u8], hand: Hand) -> io::Result<Rc<Node>> {
        let mut so_far = Vec::new();
        let mut here = Rc::clone(&self.root);
        for name in names_of(path) {
            so_far.push(b'/');
            so_far.extend_from_slice(name);
            here = match self.find(&so_far, true) {
                Ok(node) => node,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.add(&here, name, Body::Dir(Dir::new()), 0o755, hand)?
                }
                Err(error) => return Err(error),
            };
            here.dir()?;
        }
        Ok(here)
    }
}

impl Node {
    fn new(inode: u64, device: u64, body: Body, mode: u32, hand: Hand) -> Self {
        let links = if matches!(body, Body::Dir(_)) { 2 } else { 1 };
        let Hand { uid, gid, now } = hand;
        let state = NodeState {
            body,
            mode,
            uid,
            gid,
            mtime: now,
            xattrs: BTreeMap::new(),
            ctime: now,
            links,
        };
        Self {
            inode,
            device,
            state: RefCell::new(state),
        }
    }

    pub(crate) fn state(&self) -> Ref<'_, NodeState> {
        self.state.borrow()
    }

    /// The state, to change it now.
    pub(crate) fn change(&self, now: Stamp) -> RefMut<'_, NodeState> {
        let mut state = self.state.borrow_mut();
        state.ctime = now;
        state
    }

    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    pub(crate) fn dir(&self) -> io::Result<Ref<'_, Dir>> {
        Ref::filter_map(self.state.borrow(), |state| match &state.body {
            Body::Dir(dir) => Some(dir),
            Body::File(_) | Body::Symlink(_) | Body::Special(..) => None,
        })
        .map_err(|_| io::ErrorKind::NotADirectory.into())
    }

    pub(crate) fn child(&self, name: &[u8]) -> io::Result<Rc<Self>> {
        self.dir()?
            .get(name)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Where a symbolic link points.
    pub(crate) fn target(&self) -> Option<Vec<u8>> {
        match &self.state.borrow().body {
            Body::Symlink(target) => Some(target.clone()),
            Body::File(_) | Body::Dir(_) | Body::Special(..) => None,
        }
    }

    /// Gives a node a name here, in place of whatever had it.
    pub(crate) fn put(&self, name: &[u8], node: Rc<Self>, now: Stamp) -> io::Result<()> {
        self.dir()?;
        let mut state = self.change(now);
        state.mtime = now;
        if let Body::Dir(dir) = &mut state.body
            && let Some(former) = dir.insert(name.to_vec(), node)
        {
            former.change(now).links -= 1;
        }
        Ok(())
    }

    /// Takes a name away; whoever has the node open keeps it.
    pub(crate) fn take(&self, name: &[u8], now: Stamp) -> io::Result<Rc<Self>> {
        self.child(name)?;
        let mut state = self.change(now);
        state.mtime = now;
        match &mut state.body {
            Body::Dir(dir) => dir.remove(name),
            Body::File(_) | Body::Symlink(_) | Body::Special(..) => None,
        }
        .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// One name more or less for this node.
    pub(crate) fn count_links(&self, change: i64, now: Stamp) {
        let mut state = self.change(now);
        state.links = state.links.saturating_add_signed(change);
    }

    pub(crate) fn stat(&self) -> Stat {
        let state = self.state.borrow();
        let (kind, size, blocks, rdev) = match &state.body {
            Body::File(bytes) => (FileKind::File, bytes.len(), blocks_of(bytes), 0),
            Body::Dir(_) => (FileKind::Dir, BLOCK, 1, 0),
            Body::Symlink(target) => (FileKind::Symlink, target.len(), 0, 0),
            Body::Special(kind, rdev) => (*kind, 0, 0, *rdev),
        };
        Stat {
            kind,
            mode: state.mode,
            uid: state.uid,
            gid: state.gid,
            size: size as u64,
            blocks: blocks as u64 * 8,
            mtime: state.mtime,
            ctime: state.ctime,
            inode: self.inode,
            device: self.device,
            links: state.links,
            rdev,
        }
    }
}

impl NodeState {
    /// Sets what `hand` has the right to set; tells what was not.
    pub(crate) fn set(&mut self, attributes: Attributes, hand: Hand) -> NotSet {
        let Attributes {
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        } = attributes;
        let may = hand.uid == 0 || (self.uid, self.gid) == (uid, gid);
        if may {
            (self.uid, self.gid) = (uid, gid);
        }
        let special_lost = !may && mode & SPECIAL_BITS != 0;
        if !matches!(self.body, Body::Symlink(_)) {
            self.mode = if may { mode } else { mode & !SPECIAL_BITS };
        }
        self.mtime = mtime;
        let mut refused = Vec::new();
        for (name, value) in xattrs {
            if hand.uid == 0 || name.starts_with(b"user.") || name.starts_with(b"system.") {
                self.xattrs.insert(name, value);
            } else {
                refused.push(name);
            }
        }
        NotSet {
            owner: !may,
            mode: special_lost,
            xattrs: refused,
        }
    }
}

/// Blocks that are not zeros only: this file system keeps no others.
fn blocks_of(bytes: &[u8]) -> usize {
    bytes.chunks(BLOCK).filter(|block| !is_hole(block)).count()
}

pub(crate) fn is_hole(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

fn names_of(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HAND: Hand = Hand {
        uid: 0,
        gid: 0,
        now: Stamp {
            seconds: 5,
            nanos: 0,
        },
    };

    fn wood() -> io::Result<Wood> {
        let mut wood = Wood::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let dir = wood.make_dirs(b"/a/b", HAND)?;
        wood.add(&dir, b"file", Body::File(vec![1]), 0o644, HAND)?;
        wood.add(&dir, b"up", Body::Symlink(b"../b".to_vec()), 0o777, HAND)?;
        wood.add(&dir, b"self", Body::Symlink(b"self".to_vec()), 0o777, HAND)?;
        Ok(wood)
    }

    #[test]
    fn reading_follows_links_on_the_way_but_not_at_the_end() -> io::Result<()> {
        let wood = wood()?;
        assert_eq!(
            wood.find(b"/a/b/up/file", false)?.stat().kind,
            FileKind::File
        );
        assert_eq!(wood.find(b"/a/b/up", false)?.stat().kind, FileKind::Symlink);
        assert_eq!(wood.find(b"/a/b/up", true)?.stat().kind, FileKind::Dir);
        assert!(wood.find(b"/a/b/self/x", false).is_err());
        assert!(wood.find(b"/a/b/file/x", false).is_err());
        Ok(())
    }

    #[test]
    fn writing_below_a_root_goes_through_no_link_and_not_upwards() -> io::Result<()> {
        let wood = wood()?;
        let root = wood.find(b"/a", true)?;
        assert!(wood.below(&root, b"b/new").is_ok());
        for path in [
            &b"b/up/new"[..],
            b"../new",
            b"b/../new",
            b"/a/new",
            b"b/file/new",
            b"none/new",
            b"",
        ] {
            assert!(wood.below(&root, path).is_err(), "{path:?}");
        }
        Ok(())
    }

    #[test]
    fn someone_who_is_not_the_owner_cannot_give_a_file_away_or_set_special_bits() -> io::Result<()>
    {
        let file = wood()?.find(b"/a/b/file", false)?;
        let attributes = Attributes {
            mode: 0o4755,
            uid: 7,
            gid: 7,
            xattrs: vec![
                (b"trusted.x".to_vec(), Vec::new()),
                (b"user.x".to_vec(), Vec::new()),
            ],
            ..Attributes::default()
        };
        let stranger = Hand {
            uid: 9,
            gid: 9,
            ..HAND
        };
        let not_set = file.change(HAND.now).set(attributes.clone(), stranger);
        assert!(not_set.owner && not_set.mode);
        assert_eq!(not_set.xattrs, [b"trusted.x"]);
        assert_eq!((file.stat().mode, file.stat().uid), (0o755, 0));
        let not_set = file.change(HAND.now).set(attributes, HAND);
        assert_eq!(not_set, NotSet::default());
        assert_eq!((file.stat().mode, file.stat().uid), (0o4755, 7));
        Ok(())
    }
}
