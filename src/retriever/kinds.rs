//! Restoring what is no file: symbolic links, pipes, devices; and second names of anything.

use std::io;
use std::rc::Rc;

use super::Source;
use super::files::{IN_NO_DIR, OpenDir, Work, after_set};
use super::links::{Print, Role, Turn, print_of};
use super::report::Differs;
use crate::format::index::{Entry, Page, What};
use crate::terms::Stamp;
use crate::world::{Attributes, FileKind, Tree, World};

/// What an entry wants set, and what of it cannot be.
pub(super) fn given(entry: &Entry) -> (Attributes, Differs) {
    let xattrs = entry.xattrs.iter();
    let attributes = Attributes {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        xattrs: xattrs
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
    };
    (attributes, Differs::default())
}

/// What an entry is, as the target tells it.
const fn kind_of(what: &What) -> FileKind {
    match what {
        What::Dir => FileKind::Dir,
        What::File { .. } => FileKind::File,
        What::Symlink { .. } => FileKind::Symlink,
        What::Fifo => FileKind::Fifo,
        What::Device { is_block: true, .. } => FileKind::BlockDevice,
        What::Device { .. } => FileKind::CharDevice,
    }
}

/// What is to be done for an entry's name.
pub(super) enum Name {
    /// Make it; of several names the first has a turn.
    Make(Option<Turn>),
    /// The first is on its way.
    Waits(Print),
    /// It stands, or cannot and that was noted.
    Done,
}

/// As what a linked name counts.
enum Counted {
    File(u64),
    Symlink,
    Special,
}

impl<W: World, S: Source> Work<W, S> {
    /// A symbolic link, a pipe or a device.
    pub(super) async fn make_small_thing(
        &self,
        base: &[u8],
        page: &Page,
        entry: &Entry,
        (dir, name): (&Rc<OpenDir>, &[u8]),
    ) {
        let place = dir.path_of(name);
        if !dir.usable {
            self.fail(&place, IN_NO_DIR);
            return;
        }
        let turn = match self.name_for(base, page, entry, &place, 0).await {
            Name::Make(turn) => turn,
            // Things like these are made at once, so nobody ever waits for one.
            Name::Waits(_) => None,
            Name::Done => return,
        };
        if !self
            .make_way(dir, &place, (kind_of(&entry.what), entry.mtime))
            .await
        {
            return;
        }
        let (tree, root) = (self.world.tree(), &self.root);
        let made = match &entry.what {
            What::Symlink { target } => tree.make_symlink(root, &place, target).await,
            What::Fifo => tree.make_special(root, &place, FileKind::Fifo, 0).await,
            What::Device { rdev, .. } => {
                let kind = kind_of(&entry.what);
                tree.make_special(root, &place, kind, *rdev).await
            }
            What::Dir | What::File { .. } => return,
        };
        if let Err(error) = made {
            let is_forbidden = matches!(entry.what, What::Device { .. })
                && error.kind() == io::ErrorKind::PermissionDenied;
            if is_forbidden {
                let not_made = Differs {
                    not_made: true,
                    ..Differs::default()
                };
                self.report.borrow_mut().differs(&place, not_made);
            } else {
                self.fail(&place, &self.words_for(&error));
            }
            return;
        }
        let (attributes, mut differs) = given(entry);
        differs.hard_link = turn.as_ref().is_some_and(|turn| turn.may_be_copy);
        let set = tree.set(root, &place, attributes).await;
        if let Some(turn) = turn {
            turn.stands(&place);
        }
        let mut report = self.report.borrow_mut();
        match &entry.what {
            What::Symlink { .. } => report.symlinks += 1,
            _ => report.specials += 1,
        }
        report.differs(&place, after_set(differs, set));
    }

    /// Links an entry's name to one that stands, or tells what is to be done instead.
    pub(super) async fn name_for(
        &self,
        base: &[u8],
        page: &Page,
        entry: &Entry,
        place: &[u8],
        bytes: u64,
    ) -> Name {
        let Some(print) = print_of(base, page, entry) else {
            return Name::Make(None);
        };
        let counted = match &entry.what {
            What::Symlink { .. } => Counted::Symlink,
            What::Dir | What::Fifo | What::Device { .. } => Counted::Special,
            What::File { .. } => Counted::File(bytes),
        };
        let role = self.links.role(print);
        let like = (kind_of(&entry.what), entry.mtime);
        self.take_role(role, print, place, (counted, like)).await
    }

    /// The same, once the first name is no longer on its way.
    pub(super) async fn name_after(
        &self,
        print: Print,
        place: &[u8],
        (bytes, mtime): (u64, Stamp),
    ) -> Name {
        let role = self.links.settled_role(print).await;
        let file = (Counted::File(bytes), (FileKind::File, mtime));
        self.take_role(role, print, place, file).await
    }

    async fn take_role(
        &self,
        role: Role,
        print: Print,
        place: &[u8],
        (counted, (kind, mtime)): (Counted, (FileKind, Stamp)),
    ) -> Name {
        let first = match role {
            Role::First(turn) => return Name::Make(Some(turn)),
            Role::Waits => return Name::Waits(print),
            Role::Link(first) => first,
        };
        if !self.may_be_made(place, kind, mtime).await {
            if matches!(counted, Counted::File(_)) {
                self.progress.update(|progress| progress.files += 1);
            }
            return Name::Done;
        }
        let linked = self.world.tree().link(&self.root, &first, place).await;
        if linked.is_ok() {
            match counted {
                Counted::File(bytes) => {
                    self.came_back(place, bytes, Differs::default());
                    self.progress.update(|progress| progress.bytes += bytes);
                }
                Counted::Symlink => self.report.borrow_mut().symlinks += 1,
                Counted::Special => self.report.borrow_mut().specials += 1,
            }
            return Name::Done;
        }
        // This file system has no such links, or no more of them: it becomes a copy, and later names are linked to that.
        self.links.give_up(print);
        match self.links.role(print) {
            Role::First(mut turn) => {
                turn.may_be_copy = true;
                Name::Make(Some(turn))
            }
            Role::Waits | Role::Link(_) => Name::Make(None),
        }
    }
}
