//! How large pieces, packs, pages and nodes are: the house's limits, or smaller ones where a test wants many of them.

use crate::terms::limits;

/// Sizes of everything the author cuts. [`Default`] is what the product uses; none may exceed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The least a cut leaves, in bytes; even.
    pub cut_bytes_min: usize,
    /// What it aims at, in bytes; even.
    pub cut_bytes_average: usize,
    /// The most, in bytes; even.
    pub cut_bytes_max: usize,
    /// The largest file that goes into a pack, in bytes.
    pub small_file_bytes_max: usize,
    /// The largest pack, in bytes.
    pub pack_bytes_max: usize,
    /// Entries before a content cut may end a page.
    pub page_entries_min: usize,
    /// One entry in this many ends a page.
    pub page_entries_average: u32,
    /// A page ends here at the latest.
    pub page_entries_max: usize,
    /// A page's or node's plaintext ends here at the latest.
    pub page_bytes_max: usize,
    /// Pieces of one entry.
    pub entry_pieces_max: usize,
    /// Children before a content cut may end a node.
    pub node_children_min: usize,
    /// One child in this many ends a node.
    pub node_children_average: u32,
    /// A node ends here at the latest.
    pub node_children_max: usize,
    /// A part of the index kept on this Box ends after so many bytes: what is in memory while it is read or written.
    pub shelf_part_bytes: usize,
    /// Bytes a walk reads before it is worth a look how much more there is to read.
    pub much_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            cut_bytes_min: limits::CUT_BYTES_MIN,
            cut_bytes_average: limits::CUT_BYTES_AVERAGE,
            cut_bytes_max: limits::CUT_BYTES_MAX,
            small_file_bytes_max: limits::SMALL_FILE_BYTES_MAX,
            pack_bytes_max: limits::PACK_BYTES_MAX,
            page_entries_min: limits::PAGE_ENTRIES_MIN,
            page_entries_average: limits::PAGE_ENTRIES_AVERAGE,
            page_entries_max: limits::PAGE_ENTRIES_MAX,
            page_bytes_max: limits::PAGE_BYTES_MAX,
            entry_pieces_max: limits::ENTRY_CHUNKS_MAX,
            node_children_min: limits::NODE_CHILDREN_MIN,
            node_children_average: limits::NODE_CHILDREN_AVERAGE,
            node_children_max: limits::NODE_CHILDREN_MAX,
            shelf_part_bytes: 1 << 19,
            much_bytes: 64 << 20,
        }
    }
}

impl Sizes {
    /// Small ones, so that a few kilobytes of files make many pieces, packs, pages and nodes: for simulation and tests.
    #[must_use]
    pub fn small() -> Self {
        Self {
            cut_bytes_min: 256,
            cut_bytes_average: 1024,
            cut_bytes_max: 4096,
            small_file_bytes_max: 256,
            pack_bytes_max: 2048,
            page_entries_min: 4,
            page_entries_average: 8,
            page_entries_max: 32,
            entry_pieces_max: 8,
            node_children_min: 2,
            node_children_average: 4,
            node_children_max: 8,
            shelf_part_bytes: 4096,
            ..Self::default()
        }
    }
}
