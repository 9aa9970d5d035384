//! What an unfinished restore leaves in a simulated Box's files: its note, and names that are in the way.

use std::io;
use std::rc::Rc;

use reserve::world::{Attributes, NOTE_NAME, NotSet, Stat, Tree, TreeFile, Xattrs};

use crate::tree::{SimTree, SimTreeRoot, TEMPORARY_SUFFIX};
use crate::wood::{Body, Hand, Node, Wood};

impl SimTree {
    pub(crate) async fn stats_below(
        &self,
        root: &Rc<Node>,
        paths: Vec<Vec<u8>>,
    ) -> Vec<io::Result<Stat>> {
        let mut found = Vec::with_capacity(paths.len());
        for path in paths {
            let root = Rc::clone(root);
            let work = move |wood: &mut Wood, _: Hand, path: &[u8]| {
                let (dir, name) = wood.below(&root, path)?;
                Ok(dir.child(name)?.stat())
            };
            found.push(self.deed("stat below", &path, work).await);
        }
        found
    }

    pub(crate) async fn xattrs_at(&self, root: Rc<Node>, path: &[u8]) -> io::Result<Xattrs> {
        let work = move |wood: &mut Wood, _: Hand, path: &[u8]| {
            let (dir, name) = wood.below(&root, path)?;
            Ok(dir.child(name)?.xattrs())
        };
        self.deed("xattrs below", path, work).await
    }

    pub(crate) async fn take_below(&self, root: Rc<Node>, path: &[u8]) -> io::Result<()> {
        let work = move |wood: &mut Wood, hand: Hand, path: &[u8]| {
            let (dir, name) = wood.below(&root, path)?;
            match dir.child(name) {
                Ok(there) if there.dir().is_ok() => Err(io::ErrorKind::IsADirectory.into()),
                Ok(_) => dir.take(name, hand.now).map(|_| ()),
                Err(_) => Ok(()),
            }
        };
        self.deed("remove below", path, work).await
    }

    pub(crate) async fn read_note(&self, root: Rc<Node>) -> io::Result<Option<Vec<u8>>> {
        let work = move |_: &mut Wood, _: Hand, _: &[u8]| {
            let Ok(node) = root.child(NOTE_NAME.as_bytes()) else {
                return Ok(None);
            };
            let mut bytes = Vec::new();
            node.read(&mut bytes, usize::MAX, 0);
            Ok(Some(bytes))
        };
        self.deed("note", b"", work).await
    }

    pub(crate) async fn write_note(&self, root: Rc<Node>, note: Option<Vec<u8>>) -> io::Result<()> {
        let work = move |wood: &mut Wood, hand: Hand, _: &[u8]| {
            let name = NOTE_NAME.as_bytes();
            if root.child(name).is_ok() {
                // Taken away, it leaves the directory's own time as it was.
                let time = match note {
                    Some(_) => hand.now,
                    None => root.stat().mtime,
                };
                root.take(name, time)?;
            }
            match note {
                Some(bytes) => wood
                    .add(&root, name, Body::File(bytes), 0o600, hand)
                    .map(|_| ()),
                None => Ok(()),
            }
        };
        self.deed("set note", b"", work).await
    }

    /// Takes away what stands under the temporary name of a path.
    pub(crate) async fn remove_part(&self, root: Rc<Node>, path: &[u8]) -> io::Result<()> {
        let work = move |wood: &mut Wood, hand: Hand, path: &[u8]| {
            let (dir, name) = wood.below(&root, path)?;
            let name = [b".", name, TEMPORARY_SUFFIX].concat();
            if dir.child(&name).is_ok() {
                dir.take(&name, hand.now)?;
            }
            Ok(())
        };
        self.deed("remove part", path, work).await
    }

    /// A small file: created, written, named.
    pub(crate) async fn write_one(
        &self,
        root: &SimTreeRoot,
        path: &[u8],
        bytes: Vec<u8>,
        attributes: Attributes,
    ) -> io::Result<NotSet> {
        let file = self.create(root, path).await?;
        if let (Err(error), _) = file.write_at(bytes, 0).await {
            self.discard(root, file).await;
            return Err(error);
        }
        self.finish(root, file, path, attributes).await
    }
}
