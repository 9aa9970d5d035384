//! Building the index: entries into pages, pages into a tree. Both are cut by content, so equal stretches of two
//! snapshots give equal pages.
//!
//! It seals and sends nothing; it hands out what is finished. Memory: one page, and one unfinished node a level.
//! Invariant: every page and node it hands out is accepted by [`Page::decode`] and [`Node::decode`].

use std::collections::BTreeMap;

use serde_bytes::ByteBuf;

use super::draft::{Draft, Made, Ref};
use super::sizes::Sizes;
use crate::format::index::{Child, Node, Page};
use crate::terms::ChunkId;

/// A finished page with what is known of its chunks.
#[derive(Debug, Default)]
pub struct MadePage {
    /// The page.
    pub page: Page,
    /// For each of its chunks: length, and whether it is taken over.
    pub refs: Vec<Ref>,
}

/// Gathers entries into pages.
pub struct PageBuilder {
    sizes: Sizes,
    cut: [u8; 32],
    made: MadePage,
    numbers: BTreeMap<ChunkId, u32>,
    entry_bytes: usize,
}

/// The most a page's own fields take: version byte and two lengths.
const PAGE_FIXED_BYTES: usize = 16;
/// The most an entry's fields of fixed size take, with every number at its longest.
const ENTRY_FIXED_BYTES: usize = 160;
/// The most a piece takes.
const PIECE_BYTES: usize = 12;

impl PageBuilder {
    /// A builder that cuts under the reserve's cut key.
    #[must_use]
    pub fn new(cut: [u8; 32], sizes: Sizes) -> Self {
        Self {
            sizes,
            cut,
            made: MadePage::default(),
            numbers: BTreeMap::new(),
            entry_bytes: 0,
        }
    }

    /// Adds the next entry in order; returns the pages that are finished by it: none, one, or two.
    pub fn push(&mut self, draft: Draft) -> [Option<MadePage>; 2] {
        if matches!(draft.what, Made::Dropped) {
            return [None, None];
        }
        let own = own_bytes(&draft);
        let fresh = draft
            .refs()
            .filter(|chunk| !self.numbers.contains_key(&chunk.id))
            .count();
        let is_full = self.made.page.entries.len() >= self.sizes.page_entries_max
            || PAGE_FIXED_BYTES + self.entry_bytes + own + 32 * (self.made.refs.len() + fresh)
                > self.sizes.page_bytes_max;
        let before = if is_full { self.finish() } else { None };

        let ends = self.ends_after(&draft);
        let Self { made, numbers, .. } = self;
        let refs = &mut made.refs;
        let chunks = &mut made.page.chunks;
        let entry = draft.entry(|chunk| {
            *numbers.entry(chunk.id).or_insert_with(|| {
                chunks.push(chunk.id);
                refs.push(chunk);
                u32::try_from(refs.len() - 1).expect("a page has far fewer chunks")
            })
        });
        let Some(entry) = entry else {
            return [before, None];
        };
        made.page.entries.push(entry);
        self.entry_bytes += own;
        let after = if ends { self.finish() } else { None };
        [before, after]
    }

    /// The last page, if anything is in it.
    pub fn finish(&mut self) -> Option<MadePage> {
        self.numbers.clear();
        self.entry_bytes = 0;
        let made = std::mem::take(&mut self.made);
        (!made.page.entries.is_empty()).then_some(made)
    }

    fn ends_after(&self, draft: &Draft) -> bool {
        if self.made.page.entries.len() + 1 < self.sizes.page_entries_min {
            return false;
        }
        let part = match &draft.what {
            Made::Pieces { part, .. } => *part,
            Made::Dir
            | Made::Symlink(_)
            | Made::Fifo
            | Made::Device { .. }
            | Made::Empty
            | Made::Packed { .. }
            | Made::ToRead
            | Made::Dropped => 0,
        };
        let mut hash = blake3::Hasher::new_keyed(&self.cut);
        hash.update(&draft.path);
        hash.update(&part.to_le_bytes());
        one_in(self.sizes.page_entries_average, hash.finalize().as_bytes())
    }
}

fn own_bytes(draft: &Draft) -> usize {
    let more = match &draft.what {
        Made::Symlink(target) => target.len(),
        Made::Pieces { pieces, .. } => pieces.len() * PIECE_BYTES,
        Made::Dir
        | Made::Fifo
        | Made::Device { .. }
        | Made::Empty
        | Made::Packed { .. }
        | Made::ToRead
        | Made::Dropped => 0,
    };
    ENTRY_FIXED_BYTES + draft.path.len() + draft.xattr_bytes() + more
}

fn one_in(many: u32, hash: &[u8; 32]) -> bool {
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]).is_multiple_of(many.max(1))
}

/// Gathers pages into a tree.
pub struct TreeBuilder {
    sizes: Sizes,
    cut: [u8; 32],
    /// Unfinished children lists, and their bytes; the first list holds pages.
    levels: Vec<(Vec<Child>, usize)>,
}

/// What is left to do at the end.
#[derive(Debug)]
pub enum Closing {
    /// This node is finished: seal it and push it at its level.
    Node(Node),
    /// This is the root, with its level.
    Root(Child, u8),
    /// Nothing was ever pushed.
    Nothing,
}

impl TreeBuilder {
    /// A builder that cuts under the reserve's cut key.
    #[must_use]
    pub fn new(cut: [u8; 32], sizes: Sizes) -> Self {
        Self {
            sizes,
            cut,
            levels: Vec::new(),
        }
    }

    /// Adds a finished child of this level (0 for a page); returns the node it finishes, if any. That node is to be
    /// sealed and pushed at its own level.
    pub fn push(&mut self, level: u8, child: Child) -> Option<Node> {
        let at = usize::from(level);
        while self.levels.len() <= at {
            self.levels.push((Vec::new(), 0));
        }
        let mut hash = blake3::Hasher::new_keyed(&self.cut);
        hash.update(&child.id.0);
        let cut_here = one_in(self.sizes.node_children_average, hash.finalize().as_bytes());
        let (children, bytes) = &mut self.levels[at];
        *bytes += 64 + child.first.len();
        children.push(child);
        let ends = children.len() >= self.sizes.node_children_max
            || *bytes >= self.sizes.page_bytes_max
            || (cut_here && children.len() >= self.sizes.node_children_min);
        ends.then(|| self.take(at))
    }

    /// The next thing to do after the last page.
    pub fn close(&mut self) -> Closing {
        let Some(at) = self
            .levels
            .iter()
            .position(|(children, _)| !children.is_empty())
        else {
            return Closing::Nothing;
        };
        let is_top = self.levels[at + 1..]
            .iter()
            .all(|(children, _)| children.is_empty());
        if is_top && self.levels[at].0.len() == 1 {
            let (mut children, _) = std::mem::take(&mut self.levels[at]);
            if let Some(root) = children.pop() {
                return Closing::Root(root, level_of(at));
            }
        }
        Closing::Node(self.take(at))
    }

    fn take(&mut self, at: usize) -> Node {
        let (children, _) = std::mem::take(&mut self.levels[at]);
        Node {
            level: level_of(at + 1),
            children,
        }
    }
}

fn level_of(at: usize) -> u8 {
    u8::try_from(at).expect("a tree of 255 levels has more pages than there are atoms")
}

/// The child that stands for a finished node.
#[must_use]
pub fn child_of_node(id: ChunkId, node: &Node) -> Child {
    Child {
        id,
        first: node
            .children
            .first()
            .map_or_else(ByteBuf::new, |child| child.first.clone()),
        entries: node.children.iter().map(|child| child.entries).sum(),
    }
}

/// The child that stands for a finished page.
#[must_use]
pub fn child_of_page(id: ChunkId, page: &Page) -> Child {
    Child {
        id,
        first: page
            .entries
            .first()
            .map_or_else(ByteBuf::new, |entry| entry.path.clone()),
        entries: page.entries.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::draft::MadePiece;
    use super::*;
    use crate::format::index::{Entry, path_order};
    use crate::terms::Stamp;

    fn draft(path: Vec<u8>, what: Made) -> Draft {
        Draft {
            path,
            mode: 0o7777,
            uid: u32::MAX,
            gid: u32::MAX,
            mtime: Stamp {
                seconds: i64::MIN,
                nanos: 999_999_999,
            },
            ctime: Stamp {
                seconds: i64::MAX,
                nanos: 999_999_999,
            },
            inode: u64::MAX,
            hard_link: (!matches!(what, Made::Dir)).then_some(u64::MAX),
            has_holes: true,
            xattrs: Vec::new(),
            what,
        }
    }

    fn chunk(number: u32) -> Ref {
        Ref {
            id: ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes()),
            sealed_bytes: number,
            plain_bytes: 0,
            reused: false,
        }
    }

    fn made(kind: u8, number: u32, many: usize) -> Made {
        match kind {
            0 => Made::Dir,
            1 => Made::Symlink(vec![b'x'; 1 + many]),
            2 => Made::Empty,
            3 => Made::Packed {
                bytes: 1,
                name: [1; 16],
                pack: Some(chunk(number % 7)),
                offset: 1_000_000,
            },
            _ => Made::Pieces {
                bytes: u64::MAX / 2,
                part: 0,
                last: true,
                pieces: (0..=many)
                    .map(|at| match at % 3 {
                        0 => MadePiece::Hole(1 << 40),
                        _ => MadePiece::Data(
                            chunk(number + u32::try_from(at).expect("few")),
                            2 << 20,
                        ),
                    })
                    .collect(),
            },
        }
    }

    type Store = BTreeMap<ChunkId, Vec<u8>>;

    fn keep(store: &mut Store, bytes: Vec<u8>) -> ChunkId {
        let id = ChunkId(*blake3::hash(&bytes).as_bytes());
        store.insert(id, bytes);
        id
    }

    fn climb(store: &mut Store, tree: &mut TreeBuilder, mut level: u8, mut child: Child) {
        while let Some(node) = tree.push(level, child) {
            child = child_of_node(keep(store, node.encode()), &node);
            level = node.level;
        }
    }

    /// Builds pages and tree of these drafts; returns all entries as the tree gives them back.
    fn build(drafts: Vec<Draft>, sizes: Sizes) -> Vec<Entry> {
        let mut store = Store::new();
        let mut pages = PageBuilder::new([3; 32], sizes);
        let mut tree = TreeBuilder::new([3; 32], sizes);
        let mut finished = Vec::new();
        for draft in drafts {
            finished.extend(pages.push(draft).into_iter().flatten());
        }
        finished.extend(pages.finish());
        for made in finished {
            let id = keep(&mut store, made.page.encode());
            climb(&mut store, &mut tree, 0, child_of_page(id, &made.page));
        }
        let (root, level) = loop {
            match tree.close() {
                Closing::Root(root, level) => break (root, level),
                Closing::Nothing => return Vec::new(),
                Closing::Node(node) => {
                    let child = child_of_node(keep(&mut store, node.encode()), &node);
                    climb(&mut store, &mut tree, node.level, child);
                }
            }
        };
        let mut entries = Vec::new();
        descend(&store, &root, level, &mut entries);
        entries
    }

    fn descend(store: &Store, child: &Child, level: u8, into: &mut Vec<Entry>) {
        let before = into.len();
        if level == 0 {
            into.extend(Page::decode(&store[&child.id]).expect("a page").entries);
        } else {
            let node = Node::decode(&store[&child.id]).expect("a node");
            assert_eq!(node.level, level);
            for child in &node.children {
                descend(store, child, level - 1, into);
            }
        }
        assert_eq!((into.len() - before) as u64, child.entries);
        assert_eq!(into[before].path, child.first);
    }

    proptest! {
        #[test]
        fn every_entry_comes_back_once_and_in_order(
            things in prop::collection::btree_map("[a-z]{1,12}(/[a-z!.-]{3,8}){0,3}", (0u8..5, any::<u16>(), 0usize..40), 1..300),
            is_small: bool,
        ) {
            let mut sizes = if is_small { Sizes::small() } else { Sizes::default() };
            if is_small {
                // Pages that end for want of room, too.
                sizes.page_bytes_max = 4096;
            }
            let mut drafts: Vec<Draft> = things
                .into_iter()
                .map(|(path, (kind, number, many))| {
                    draft(path.into_bytes(), made(kind, u32::from(number), many))
                })
                .collect();
            drafts.sort_by(|a, b| path_order(&a.path, &b.path));
            let paths: Vec<Vec<u8>> = drafts.iter().map(|draft| draft.path.clone()).collect();
            let entries = build(drafts, sizes);
            let found: Vec<Vec<u8>> = entries.into_iter().map(|entry| entry.path.into_vec()).collect();
            prop_assert_eq!(found, paths);
        }
    }

    #[test]
    fn pages_of_the_longest_paths_stay_below_their_limit() {
        let long = |number: u32| {
            let mut path = format!("{number:08}");
            while path.len() + 201 < crate::terms::limits::PATH_BYTES_MAX {
                path.push('/');
                path.push_str(&"x".repeat(200));
            }
            draft(path.into_bytes(), made(1, 0, 60_000))
        };
        let drafts: Vec<Draft> = (0..40).map(long).collect();
        assert_eq!(build(drafts, Sizes::default()).len(), 40);
    }

    #[test]
    fn a_change_in_the_middle_leaves_the_other_pages_as_they_were() {
        let pages = |changed: Option<u32>| {
            let mut pages = PageBuilder::new([3; 32], Sizes::small());
            let mut all = Vec::new();
            for number in 0..400u32 {
                let what = if changed == Some(number) {
                    Made::Dir
                } else {
                    Made::Empty
                };
                let draft = draft(format!("{number:04}").into_bytes(), what);
                all.extend(pages.push(draft).into_iter().flatten());
            }
            all.extend(pages.finish());
            let encoded = all.iter().map(|made| made.page.encode());
            encoded.collect::<std::collections::BTreeSet<_>>()
        };
        let (before, after) = (pages(None), pages(Some(200)));
        assert!(before.len() > 20);
        assert_eq!(after.difference(&before).count(), 1);
    }
}
