//! What this author has in packs, by plaintext: a small file that was renamed, copied or moved finds its place again.
//!
//! One file of blocks, sorted by name and addressed by it, so a question costs one block; a filter in memory answers most
//! of them without. It is a cache: a block that does not hold is a question without answer, and the file is stored again.
//! What it says counts only when keepers confirm that they have the pack. Memory: the filter and the table of live bytes,
//! both as large as the number of files asks for, and never larger than a fixed size.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::draft::{Draft, Made, Ref};
use crate::format::keys::DataKeys;
pub(super) use crate::format::keys::PlainName as Name;
use crate::terms::ChunkId;
use crate::terms::limits::BLOCK_BYTES;
use crate::world::{Disk, DiskFile, Stat};

/// Where it lies.
pub(super) const PATH: &str = "author/known";
/// Bytes before a block's entries.
pub(super) const HEAD_BYTES: usize = 64;
/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 64;
/// Entries of a full block.
pub(super) const ENTRIES_MAX: usize = (BLOCK_BYTES - HEAD_BYTES) / ENTRY_BYTES;
/// Packs whose live bytes are told apart at most; two that share a place look more alive, never less.
const PACK_SLOTS_MAX: usize = 1 << 15;
/// And at least.
const PACK_SLOTS_MIN: usize = 1 << 10;
/// Words of the filter at most: 512 KiB let three in a hundred of 400,000 strangers through.
const FILTER_WORDS_MAX: usize = 1 << 16;
/// Words for each block that names are spread over: a Box with few files writes little with each snapshot.
const FILTER_WORDS_A_BLOCK: u64 = 8;
/// How the first block begins. What began otherwise had tables of another size.
const MARK: &[u8] = b"RSVKNOW2";
const BODY_BYTES: usize = BLOCK_BYTES - HEAD_BYTES;

/// Where a small file's bytes are; or, with no bytes, that a large file with this identity was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub(super) name: Name,
    /// The pack.
    pub pack: Ref,
    /// Where in it.
    pub offset: u32,
    /// How many.
    pub bytes: u32,
}

impl Place {
    /// Of a small file with this plaintext's name.
    pub(super) fn of_small(name: &Name, pack: Ref, offset: u32, bytes: u32) -> Self {
        Self {
            name: *name,
            pack,
            offset,
            bytes,
        }
    }

    /// That a large file with this identity was there.
    pub(super) fn of_large(keys: &DataKeys, identity: Identity) -> Self {
        Self {
            name: identity.name(keys),
            pack: Ref {
                id: ChunkId([0; 32]),
                sealed_bytes: 0,
                plain_bytes: 0,
                reused: true,
            },
            offset: 0,
            bytes: 0,
        }
    }

    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        into.extend(self.name);
        into.extend(self.pack.id.0);
        for number in [
            self.pack.sealed_bytes,
            self.pack.plain_bytes,
            self.offset,
            self.bytes,
        ] {
            into.extend(number.to_le_bytes());
        }
    }

    pub(super) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let mut name = [0; 16];
        name.copy_from_slice(&bytes[..16]);
        let mut id = [0; 32];
        id.copy_from_slice(&bytes[16..48]);
        let number = |at: usize| {
            u32::from_le_bytes([
                bytes[48 + 4 * at],
                bytes[49 + 4 * at],
                bytes[50 + 4 * at],
                bytes[51 + 4 * at],
            ])
        };
        Self {
            name,
            pack: Ref {
                id: ChunkId(id),
                sealed_bytes: number(0),
                plain_bytes: number(1),
                reused: true,
            },
            offset: number(2),
            bytes: number(3),
        }
    }
}

/// What stays the same when a large file is renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime: crate::terms::Stamp,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.inode,
            size: stat.size,
            mtime: stat.mtime,
        }
    }

    /// Of a file in the index.
    pub(super) fn of_draft(draft: &Draft) -> Option<Self> {
        Some(Self {
            inode: draft.inode,
            size: draft.file_bytes()?,
            mtime: draft.mtime,
        })
    }

    fn name(&self, keys: &DataKeys) -> Name {
        let mut bytes = b"a file by its identity".to_vec();
        bytes.extend(self.inode.to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(self.mtime.seconds.to_le_bytes());
        bytes.extend(self.mtime.nanos.to_le_bytes());
        keys.lookup_name(&bytes)
    }
}

/// The first block: what the others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shape {
    /// Drawn anew for each file: a block of another one is never taken for one of this.
    pub id: u64,
    /// Blocks that names are spread over.
    pub spread: u64,
    /// Blocks with entries: a few more, since a full one spills into the next.
    pub blocks: u64,
}

impl Shape {
    /// The block in which a name would stand if there were room for all.
    pub(super) fn home(&self, name: &Name) -> u64 {
        let (first, _) = name.split_first_chunk::<8>().expect("a name has 16 bytes");
        let place = u128::from(u64::from_be_bytes(*first)) * u128::from(self.spread);
        u64::try_from(place >> 64).expect("below spread")
    }

    fn filter_at(&self) -> u64 {
        1 + self.blocks
    }

    fn alive_at(&self) -> u64 {
        self.filter_at() + (self.filter_words() * 8).div_ceil(BODY_BYTES) as u64
    }

    /// Words of the filter.
    pub(super) fn filter_words(&self) -> usize {
        let wanted = self.spread.saturating_mul(FILTER_WORDS_A_BLOCK);
        let wanted = usize::try_from(wanted).unwrap_or(FILTER_WORDS_MAX);
        wanted.clamp(64, FILTER_WORDS_MAX).next_power_of_two()
    }

    /// Packs whose live bytes are told apart: far more than there can be of so many files, so that hardly two share a place.
    pub(super) fn pack_slots(&self) -> usize {
        self.filter_words().clamp(PACK_SLOTS_MIN, PACK_SLOTS_MAX)
    }

    /// The places of the filter's two bits.
    pub(super) fn filter_bits(&self, name: &Name) -> [usize; 2] {
        let bits = self.filter_words() * 64;
        let word = |at: usize| {
            let bytes = [name[at], name[at + 1], name[at + 2], 0];
            u32::from_le_bytes(bytes) as usize % bits
        };
        [word(8), word(12)]
    }

    /// The place of a pack in the table of live bytes.
    pub(super) fn slot(&self, pack: &ChunkId) -> usize {
        usize::from(u16::from_le_bytes([pack.0[0], pack.0[1]])) % self.pack_slots()
    }
}

/// A block as it lies on disk: check, file, place, number of entries, then the body.
pub(super) fn block(id: u64, number: u64, entries: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes.extend(id.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend((entries as u64).to_le_bytes());
    bytes.resize(HEAD_BYTES, 0);
    bytes.extend_from_slice(body);
    bytes.resize(BLOCK_BYTES, 0);
    let check = blake3::hash(&bytes[16..]);
    bytes[..16].copy_from_slice(&check.as_bytes()[..16]);
    bytes
}

/// Reads a block: which file it is of, how many entries it has, and its body. `None` if it does not hold.
pub(super) fn read_block(bytes: &[u8], number: u64) -> Option<(u64, usize, &[u8])> {
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let holds = bytes.len() == BLOCK_BYTES
        && blake3::hash(&bytes[16..]).as_bytes()[..16] == bytes[..16]
        && word(24)? == number;
    let entries = usize::try_from(word(32)?).ok()?;
    (holds && entries <= ENTRIES_MAX)
        .then(|| (word(16).unwrap_or_default(), entries, &bytes[HEAD_BYTES..]))
}

pub(super) fn shape_block(shape: &Shape) -> Vec<u8> {
    let mut body = MARK.to_vec();
    body.extend(shape.spread.to_le_bytes());
    body.extend(shape.blocks.to_le_bytes());
    block(shape.id, 0, 0, &body)
}

fn read_shape(bytes: &[u8]) -> Option<Shape> {
    let (id, _, body) = read_block(bytes, 0)?;
    let word = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("8 bytes"));
    (body.starts_with(MARK) && word(8) > 0).then(|| Shape {
        id,
        spread: word(8),
        blocks: word(16),
    })
}

/// Whole blocks from a file, by way of a buffer that is given back at once.
pub(super) async fn read_blocks<D: Disk>(
    disk: &D,
    file: &D::File,
    first: u64,
    many: usize,
) -> Option<Vec<u8>> {
    let buffer = disk.buffer().await;
    let (read, buffer) = file
        .read_at(buffer, 0, many * BLOCK_BYTES, first * BLOCK_BYTES as u64)
        .await;
    let read = read.ok()?;
    Some(buffer[..read - read % BLOCK_BYTES].to_vec())
}

/// What the previous snapshots of this Box put into packs.
pub struct Known<'a, D: Disk> {
    disk: D,
    open: Option<Open<D>>,
    distrusted: &'a BTreeSet<ChunkId>,
}

struct Open<D: Disk> {
    file: D::File,
    shape: Shape,
    alive: Vec<u32>,
    filter: RefCell<Option<Vec<u64>>>,
}

impl<'a, D: Disk> Known<'a, D> {
    /// Opens what there is, if it is trusted at all. Nothing is found in `distrusted` packs.
    pub async fn open(disk: D, distrusted: &'a BTreeSet<ChunkId>, is_trusted: bool) -> Self {
        let open = if is_trusted { open(&disk).await } else { None };
        Self {
            disk,
            open,
            distrusted,
        }
    }

    /// Whether there is anything.
    pub fn is_there(&self) -> bool {
        self.open.is_some()
    }

    /// Where a small file with this plaintext's name lies already.
    pub async fn small(&self, name: &Name, bytes: usize) -> Option<Place> {
        let place = self.find(*name).await?;
        let fits = place.bytes as usize == bytes
            && u64::from(place.offset) + u64::from(place.bytes)
                <= u64::from(place.pack.plain_bytes);
        (fits && !self.distrusted.contains(&place.pack.id) && !self.is_sparse(&place.pack))
            .then_some(place)
    }

    /// Whether a large file of this identity was there under any name.
    pub(super) async fn large(&self, keys: &DataKeys, identity: Identity) -> bool {
        self.find(identity.name(keys)).await.is_some()
    }

    /// Whether a file lies in a pack of which less than half lives. Only packs are counted: of a chunk of a larger file the count of
    /// its slot says nothing.
    pub(super) fn is_in_sparse_pack(&self, file: &Draft) -> bool {
        matches!(&file.what, Made::Packed { pack: Some(pack), .. } if self.is_sparse(pack))
    }

    /// Whether less than half of a pack was alive in the last snapshot: what lives is packed anew then.
    fn is_sparse(&self, pack: &Ref) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let alive = u64::from(open.alive[open.shape.slot(&pack.id)]);
            pack.plain_bytes > 0 && alive > 0 && 2 * alive < u64::from(pack.plain_bytes)
        })
    }

    async fn find(&self, name: Name) -> Option<Place> {
        let open = self.open.as_ref()?;
        if open.filter.borrow().is_none() {
            let many = open.shape.filter_words();
            let filter = words(&self.disk, open, open.shape.filter_at(), many * 8).await;
            // One that does not hold lets everything through.
            let filter = filter.map_or_else(
                || vec![u64::MAX; many],
                |bytes| {
                    let (words, _) = bytes.as_chunks::<8>();
                    words.iter().map(|word| u64::from_le_bytes(*word)).collect()
                },
            );
            *open.filter.borrow_mut() = Some(filter);
        }
        let may_be = open.filter.borrow().as_ref().is_some_and(|filter| {
            let bits = open.shape.filter_bits(&name);
            bits.iter()
                .all(|bit| filter[bit / 64] >> (bit % 64) & 1 == 1)
        });
        if !may_be {
            return None;
        }
        let mut number = open.shape.home(&name);
        while number < open.shape.blocks {
            let bytes = read_blocks(&self.disk, &open.file, 1 + number, 1).await?;
            let (id, entries, body) = read_block(&bytes, 1 + number)?;
            if id != open.shape.id {
                return None;
            }
            let (places, _) = body.as_chunks::<ENTRY_BYTES>();
            let places = &places[..entries];
            if let Some(found) = places.iter().find(|place| place[..16] == name) {
                return Some(Place::decode(found));
            }
            let is_full = entries == ENTRIES_MAX;
            if !is_full || places.last().is_some_and(|last| last[..16] > name[..]) {
                return None;
            }
            number += 1;
        }
        None
    }
}

async fn open<D: Disk>(disk: &D) -> Option<Open<D>> {
    let file = disk.open(PATH, false).await.ok()?;
    let shape = read_shape(&read_blocks(disk, &file, 0, 1).await?)?;
    let mut open = Open {
        file,
        shape,
        alive: Vec::new(),
        filter: RefCell::new(None),
    };
    let alive = words(disk, &open, shape.alive_at(), shape.pack_slots() * 4).await?;
    let (numbers, _) = alive.as_chunks::<4>();
    open.alive = numbers
        .iter()
        .map(|number| u32::from_le_bytes(*number))
        .collect();
    Some(open)
}

/// A table that lies over several blocks.
async fn words<D: Disk>(disk: &D, open: &Open<D>, first: u64, many: usize) -> Option<Vec<u8>> {
    let blocks = many.div_ceil(BODY_BYTES);
    let bytes = read_blocks(disk, &open.file, first, blocks).await?;
    let mut table = Vec::with_capacity(blocks * BODY_BYTES);
    for (number, bytes) in (first..).zip(bytes.chunks(BLOCK_BYTES)) {
        let (id, _, body) = read_block(bytes, number)?;
        if id != open.shape.id {
            return None;
        }
        table.extend_from_slice(body);
    }
    table.truncate(many);
    (table.len() == many).then_some(table)
}

/// A table cut into blocks.
pub(super) fn word_blocks(shape: &Shape, filter: &[u64], alive: &[u32]) -> Vec<u8> {
    let filter: Vec<u8> = filter.iter().flat_map(|word| word.to_le_bytes()).collect();
    let alive: Vec<u8> = alive.iter().flat_map(|word| word.to_le_bytes()).collect();
    let bodies = filter.chunks(BODY_BYTES).chain(alive.chunks(BODY_BYTES));
    (shape.filter_at()..)
        .zip(bodies)
        .flat_map(|(number, body)| block(shape.id, number, 0, body))
        .collect()
}
