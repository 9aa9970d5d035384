//! How stories make and change people's files: at once, by path, without virtual time passing.

use std::io;
use std::rc::Rc;

use reserve::terms::Stamp;
use reserve::world::FileKind;

use crate::snapshot::TreeSnapshot;
use crate::tree::SimTree;
use crate::wood::{Body, Dir, Node};

impl SimTree {
    /// The same tree in the hands of an ordinary user, who cannot give files away.
    #[must_use]
    pub fn as_user(&self, uid: u32, gid: u32) -> Self {
        Self {
            boot: self.boot.clone(),
            uid,
            gid,
        }
    }

    /// Writes a whole file in place, making it and its directories if they are not there.
    ///
    /// # Errors
    /// If something else has the name.
    pub fn write_file(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        let hand = self.hand();
        if let Ok(node) = dir.child(name.as_bytes()) {
            let mut state = node.change(hand.now);
            state.mtime = hand.now;
            let Body::File(content) = &mut state.body else {
                return Err(io::ErrorKind::AlreadyExists.into());
            };
            *content = bytes.to_vec();
            return Ok(());
        }
        self.add(&dir, name, Body::File(bytes.to_vec()), 0o644)
    }

    /// Makes a directory and its parents.
    ///
    /// # Errors
    /// If something else has one of the names.
    pub fn mkdir(&self, path: &str) -> io::Result<()> {
        self.wood(|wood| wood.make_dirs(path.as_bytes(), self.hand()))
            .map(|_| ())
    }

    /// Makes a directory on a file system of its own.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn mount(&self, path: &str, device: u64) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        let (body, hand) = (Body::Dir(Dir::new()), self.hand());
        self.wood(|wood| wood.add_on(&dir, name.as_bytes(), body, 0o755, hand, device))
            .map(|_| ())
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn symlink(&self, path: &str, target: &str) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        self.add(&dir, name, Body::Symlink(target.as_bytes().to_vec()), 0o777)
    }

    /// Makes something that is no file, directory or link.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn special(&self, path: &str, kind: FileKind) -> io::Result<()> {
        let rdev = match kind {
            FileKind::CharDevice | FileKind::BlockDevice => 0x0801,
            _ => 0,
        };
        let (dir, name) = self.place(path)?;
        self.add(&dir, name, Body::Special(kind, rdev), 0o600)
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// If there is no such file or the new name is taken.
    pub fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        let node = self.find(from)?;
        let (dir, name) = self.place(to)?;
        if dir.child(name.as_bytes()).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        node.count_links(1, self.hand().now);
        dir.put(name.as_bytes(), node, self.hand().now)
    }

    /// Renames something, over whatever has the new name.
    ///
    /// # Errors
    /// If there is nothing of that name.
    pub fn rename_path(&self, from: &str, to: &str) -> io::Result<()> {
        let (from_dir, from_name) = self.place(from)?;
        let (to_dir, to_name) = self.place(to)?;
        let now = self.hand().now;
        let node = from_dir.take(from_name.as_bytes(), now)?;
        to_dir.put(to_name.as_bytes(), node, now)
    }

    /// Sets when a file's contents were last changed; as always, the moment of setting is in `ctime`.
    ///
    /// # Errors
    /// If there is nothing of that name.
    pub fn set_mtime(&self, path: &str, mtime: Stamp) -> io::Result<()> {
        self.find(path)?.change(self.hand().now).mtime = mtime;
        Ok(())
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// If there is nothing of that name.
    pub fn set_xattr(&self, path: &str, name: &str, value: &[u8]) -> io::Result<()> {
        let node = self.find(path)?;
        let mut state = node.change(self.hand().now);
        state
            .xattrs
            .insert(name.as_bytes().to_vec(), value.to_vec());
        Ok(())
    }

    /// Sets permission bits.
    ///
    /// # Errors
    /// If there is nothing of that name.
    pub fn set_mode(&self, path: &str, mode: u32) -> io::Result<()> {
        self.find(path)?.change(self.hand().now).mode = mode;
        Ok(())
    }

    /// Sets owner and group.
    ///
    /// # Errors
    /// If there is nothing of that name.
    pub fn set_owner(&self, path: &str, uid: u32, gid: u32) -> io::Result<()> {
        let node = self.find(path)?;
        let mut state = node.change(self.hand().now);
        (state.uid, state.gid) = (uid, gid);
        Ok(())
    }

    /// Removes a file, a link or a whole directory.
    ///
    /// # Errors
    /// If there is nothing of that name.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        dir.take(name.as_bytes(), self.hand().now)?
            .count_links(-1, self.hand().now);
        Ok(())
    }

    /// Everything below a directory, for comparing two trees.
    ///
    /// # Errors
    /// If it is no directory.
    pub fn snapshot(&self, dir: &str) -> io::Result<TreeSnapshot> {
        let node = self.wood(|wood| wood.find(dir.as_bytes(), true))?;
        let mut kept = TreeSnapshot::new();
        crate::snapshot::collect(&node, &[], &mut kept)?;
        Ok(kept)
    }

    fn add(&self, dir: &Rc<Node>, name: &str, body: Body, mode: u32) -> io::Result<()> {
        let hand = self.hand();
        self.wood(|wood| wood.add(dir, name.as_bytes(), body, mode, hand))
            .map(|_| ())
    }

    fn find(&self, path: &str) -> io::Result<Rc<Node>> {
        self.wood(|wood| wood.find(path.as_bytes(), false))
    }

    /// The directory a story's path is in (made if it is not there) and the name in it.
    fn place<'p>(&self, path: &'p str) -> io::Result<(Rc<Node>, &'p str)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        let dir = self.wood(|wood| wood.make_dirs(dir.as_bytes(), self.hand()))?;
        Ok((dir, name))
    }
}
