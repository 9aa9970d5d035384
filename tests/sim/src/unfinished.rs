//! What an unfinished restore leaves in a simulated Box's files: its note.

use std::io;
use std::rc::Rc;

use reserve::world::NOTE_NAME;

use crate::tree::{SimTree, TEMPORARY_SUFFIX};
use crate::wood::{Body, Hand, Node, Wood};

impl SimTree {
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
                root.take(name, hand.now)?;
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
}
