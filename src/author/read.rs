//! Reading a file that does not go into a pack: streamed through one buffer, cut, sealed and handed on piece by piece.
//!
//! Each byte is read once, if the file holds still. A file that changes is read again, twice at most, then taken with its
//! last read and named. A place that cannot be read is tried again by itself. A file so long that its pieces fill the list here is
//! handed on in parts before its end is seen; if it fails for good after that, the rest is zeros, and it is named.

use std::io;

use super::cut::Cutter;
use super::draft::{Draft, Made, MadePiece, Ref, TO_READ_AGAIN};
use super::error::SnapshotError;
use super::gather::Means;
use super::kinds::left_out;
use super::opened::Opened;
use super::sample::Called;
use super::seal::Sealer;
use super::sizes::Sizes;
use super::walk::joined;
use crate::keeper::Keepers;
use crate::terms::ChunkId;
use crate::world::{Clock, Stat, Tree, World};

/// Bytes of the one buffer files are read through: the longest piece, and some more.
const BUFFER_BYTES: usize = 5 << 19;
/// Times a changing file is read again.
const AGAIN_MAX: u32 = 2;
/// Parts of a file whose pieces are held until its end is seen.
const PARTS_HELD_MAX: usize = 16;
/// As much is read of a file whose file system does not say how long it is: its pieces are surely held until its end is seen.
const UNSAID_BYTES_MAX: u64 = 1 << 30;

/// The means of reading: a buffer, a cutter and a sealer.
pub struct Reader {
    /// Where it cuts.
    pub cutter: Cutter,
    /// How it seals.
    pub sealer: Sealer,
    /// How large everything is.
    pub sizes: Sizes,
    /// What is to be told of attributes of the file read last that stay behind.
    pub left_out: Vec<String>,
    /// Files that were read, by all names their first chunks may have had; where that is wanted.
    pub called: Vec<Called>,
    /// What is known of the file that is being read.
    was: Was,
    buffer: Vec<u8>,
    buffer_bytes: usize,
}

/// What a file was at the snapshot before.
#[derive(Default)]
struct Was {
    /// The first of its chunks; none if it was not there.
    chunks: Vec<ChunkId>,
    /// Which of the earlier epochs they were sealed in, if its start is what it was then.
    epoch: Option<usize>,
}

/// What became of a file.
pub enum Taken {
    /// It is in the drafts.
    Whole,
    /// It is in the drafts, but changed while it was read.
    Changed,
    /// It is in the drafts, but the rest of it is zeros.
    Cut(io::Error),
    /// It could not be read.
    Failed(io::Error),
}

struct Pieces {
    held: Vec<MadePiece>,
    parts: u32,
    reach: u64,
}

impl Reader {
    /// A reader with its buffer.
    pub fn new(cutter: Cutter, sealer: Sealer, sizes: Sizes) -> Self {
        let buffer_bytes = BUFFER_BYTES.min(4 * sizes.cut_bytes_max);
        Self {
            cutter,
            sealer,
            sizes,
            left_out: Vec::new(),
            called: Vec::new(),
            was: Was::default(),
            buffer: Vec::with_capacity(buffer_bytes),
            buffer_bytes,
        }
    }

    /// Whether the file that was read last begins as it did, though another epoch gives its data other names.
    pub const fn was_known(&self) -> bool {
        self.was.epoch.is_some()
    }

    /// Reads one file into drafts. `emit` takes drafts in order; its parts come one after another. `was` are the first chunks it had: if they
    /// were sealed in an earlier epoch and its start is what it was, its data goes by the names of that epoch, so that nothing is sent again.
    pub async fn read<W: World, K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
        path: &[u8],
        was: &[ChunkId],
        mut emit: impl AsyncFnMut(Draft, &Stat) -> Result<(), SnapshotError>,
    ) -> Result<Taken, SnapshotError> {
        let at = joined(means.base, path);
        let mut tries = 0;
        self.was.chunks = was.to_vec();
        loop {
            self.was.epoch = None;
            let mut file = match Opened::open(&means.tree, means.again, &at).await {
                Ok(file) => file,
                Err(reason) => return Ok(Taken::Failed(reason)),
            };
            let before = file.stat;
            let mut made = Pieces {
                held: Vec::new(),
                parts: 0,
                reach: 0,
            };
            let mut model = Draft::new(path.to_vec(), &before, means.device, Made::Empty);
            model.has_holes = file.has_holes;
            self.left_out.clear();
            match file.xattrs().await {
                Ok(found) => {
                    self.left_out.extend(left_out(&found));
                    model.xattrs = found.kept;
                }
                Err(reason) => {
                    let reason = format!("its extended attributes could not be read: {reason}");
                    self.left_out.push(reason);
                    model.ctime = TO_READ_AGAIN;
                }
            }
            let mut emit = async |draft: Draft| emit(draft, &before).await;
            let is_unsaid = before.size == 0;
            let until = if is_unsaid {
                UNSAID_BYTES_MAX
            } else {
                before.size
            };
            let ended = self
                .stream(&mut file, until, means, &mut made, async |piece| {
                    emit(part(&model, before.size, piece)).await
                })
                .await?;
            // Of what cannot be read nor looked at any more another reading would be no better.
            let is_still = file.is_as_it_was().await.unwrap_or(ended.is_err());
            let is_handed_on = made.parts > 0;
            if !is_still && !is_handed_on && tries < AGAIN_MAX {
                tries += 1;
                continue;
            }
            let is_short = made.reach < before.size;
            let mut bytes = before.size;
            if is_unsaid && made.reach > 0 {
                bytes = made.reach;
                // Nothing that is told of it shows a change.
                model.ctime = TO_READ_AGAIN;
            }
            if is_unsaid && made.reach >= UNSAID_BYTES_MAX {
                let why = "its file system does not say how long it is: only its start was taken";
                self.left_out.push(why.to_owned());
            }
            if let Err(reason) = ended {
                if !is_handed_on {
                    return Ok(Taken::Failed(reason));
                }
                made.hole(before.size.saturating_sub(made.reach));
                model.ctime = TO_READ_AGAIN;
                made.finish(&model, bytes, self.sizes.entry_pieces_max, &mut emit)
                    .await?;
                return Ok(Taken::Cut(reason));
            }
            if is_short {
                if is_handed_on {
                    made.hole(before.size.saturating_sub(made.reach));
                } else {
                    bytes = made.reach;
                }
            }
            if !is_still || is_short {
                model.ctime = TO_READ_AGAIN;
            }
            made.finish(&model, bytes, self.sizes.entry_pieces_max, &mut emit)
                .await?;
            return Ok(if is_still && !is_short {
                Taken::Whole
            } else {
                Taken::Changed
            });
        }
    }

    /// Reads up to `size` bytes; the outer error ends the snapshot, the inner one is the file's. Long holes are passed over,
    /// short ones read as the zeros they are: the file's pieces stay as large as others'.
    async fn stream<T: Tree, C: Clock, W: World, K: Keepers>(
        &mut self,
        file: &mut Opened<'_, T, C>,
        size: u64,
        means: &Means<'_, W, K>,
        made: &mut Pieces,
        mut hand_on: impl AsyncFnMut((u32, bool, Vec<MadePiece>)) -> Result<(), SnapshotError>,
    ) -> Result<io::Result<()>, SnapshotError> {
        let mut offset = 0;
        while offset < size {
            let mut stretch = (offset, size);
            if file.has_holes {
                let hole_bytes_min = self.sizes.cut_bytes_average as u64;
                stretch = match file.next_data(offset, hole_bytes_min).await {
                    Ok(found) => found.unwrap_or((size, size)),
                    Err(reason) => return Ok(Err(reason)),
                };
            }
            let (start, end) = (stretch.0.clamp(offset, size), stretch.1.clamp(offset, size));
            made.hole(start - offset);
            let before = made.reach;
            let read = self.stretch(file, (start, end), means, made, &mut hand_on);
            if let Err(reason) = read.await? {
                return Ok(Err(reason));
            }
            if made.reach - before < end - start {
                // The file is shorter than it said.
                return Ok(Ok(()));
            }
            offset = end;
        }
        Ok(Ok(()))
    }

    /// Reads from `start` to `end`, or to the file's end if that comes first.
    async fn stretch<T: Tree, C: Clock, W: World, K: Keepers>(
        &mut self,
        file: &mut Opened<'_, T, C>,
        (start, end): (u64, u64),
        means: &Means<'_, W, K>,
        made: &mut Pieces,
        hand_on: &mut impl AsyncFnMut((u32, bool, Vec<MadePiece>)) -> Result<(), SnapshotError>,
    ) -> Result<io::Result<()>, SnapshotError> {
        let mut at = 0; // where the buffer's unused bytes start
        self.buffer.clear();
        let mut offset = start;
        let mut is_end = start >= end;
        loop {
            // A cut before the end of what is here is where it would be however much followed; at the end, more must be seen.
            let mut len = self.cutter.cut(&self.buffer[at..]);
            while !is_end && len == self.buffer.len() - at && len < self.sizes.cut_bytes_max {
                if at > 0 {
                    self.buffer.drain(..at);
                    at = 0;
                }
                let room = self.buffer_bytes - self.buffer.len();
                let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
                let buffer = std::mem::take(&mut self.buffer);
                let (read, buffer) = file.read_at(buffer, room.min(left), offset).await;
                self.buffer = buffer;
                match read {
                    Ok(0) => is_end = true,
                    Ok(read) => {
                        offset += read as u64;
                        means.progress.count_read(read as u64);
                        is_end = offset >= end;
                    }
                    Err(reason) => return Ok(Err(reason)),
                }
                len = self.cutter.cut(&self.buffer[at..]);
            }
            if at == self.buffer.len() {
                return Ok(Ok(()));
            }
            let plain = &self.buffer[at..at + len];
            at += len;
            if is_zeros(plain) {
                made.hole(len as u64);
            } else {
                let is_first = made.is_first();
                let (sealer, was, called) = (&mut self.sealer, &mut self.was, &mut self.called);
                let handed_in = hand_in(sealer, means, (plain, is_first), was, called);
                let (id, sealed_bytes, is_held) = handed_in.await?;
                made.data(id, sealed_bytes, len, is_held);
                // Sealing is the longest step; what waits behind it goes first now.
                tokio::task::yield_now().await;
            }
            let many = self.sizes.entry_pieces_max;
            while made.held.len() > many * PARTS_HELD_MAX {
                let rest = made.held.split_off(many);
                let first = std::mem::replace(&mut made.held, rest);
                hand_on((made.parts, false, first)).await?;
                made.parts += 1;
            }
        }
    }
}

/// Hands in a piece of a file, the first of its data or another: its name, how long it is sealed, and whether keepers had it by that name.
async fn hand_in<W: World, K: Keepers>(
    sealer: &mut Sealer,
    means: &Means<'_, W, K>,
    (plain, is_first): (&[u8], bool),
    was: &mut Was,
    called: &mut Vec<Called>,
) -> Result<(ChunkId, u32, bool), SnapshotError> {
    let mut sealed = None;
    if is_first && !was.chunks.is_empty() && !means.epochs.is_empty() {
        let now = sealer.piece(plain)?;
        if !was.chunks.contains(&now.0) {
            was.epoch = epoch_of(sealer, means, plain, &was.chunks).await;
        }
        sealed = Some(now);
    }
    let held = match was.epoch.filter(|_| means.believes_keepers) {
        // What was added to it later may have been sealed in an epoch between.
        Some(at) => {
            let (newer, rest) = means.epochs.split_at(at);
            let (its, older) = rest.split_at(1);
            let mut held = None;
            for keys in [its, newer, older] {
                let names = sealer.names_under(keys, plain, false);
                held = means.out.held(&names).await;
                if held.is_some() {
                    break;
                }
            }
            held
        }
        None => {
            let older = sealer.names_under(means.older, plain, false);
            means.out.held(&older).await
        }
    };
    let (id, sealed_bytes) = match held {
        Some(held) => held,
        None => {
            let (id, record) = match sealed {
                Some(sealed) => sealed,
                None => sealer.piece(plain)?,
            };
            let sealed_bytes = u32::try_from(record.len()).unwrap_or(u32::MAX);
            means.progress.count_made(sealed_bytes);
            means.out.submit(id, record).await?;
            (id, sealed_bytes)
        }
    };
    if is_first && !means.called_before.is_empty() {
        let names = sealer.names_under(means.called_before, plain, false);
        let names = names.into_iter().map(|(id, _)| id).collect();
        called.push(Called { names, now: id });
    }
    Ok((id, sealed_bytes, held.is_some()))
}

/// Which of the earlier epochs gives this piece one of these names. Each is as long a step as sealing.
async fn epoch_of<W: World, K: Keepers>(
    sealer: &mut Sealer,
    means: &Means<'_, W, K>,
    plain: &[u8],
    names: &[ChunkId],
) -> Option<usize> {
    for (at, keys) in means.epochs.iter().enumerate() {
        let called = sealer.names_under(std::slice::from_ref(keys), plain, false);
        if called.iter().any(|(id, _)| names.contains(id)) {
            return Some(at);
        }
        tokio::task::yield_now().await;
    }
    None
}

impl Pieces {
    /// Whether there is nothing but holes yet.
    fn is_first(&self) -> bool {
        let is_data = |piece: &MadePiece| matches!(piece, MadePiece::Data(..));
        self.parts == 0 && !self.held.iter().any(is_data)
    }

    fn data(&mut self, id: ChunkId, sealed_bytes: u32, len: usize, reused: bool) {
        let bytes = u32::try_from(len).expect("a piece is at most CUT_BYTES_MAX long");
        let chunk = Ref {
            id,
            sealed_bytes,
            plain_bytes: bytes,
            reused,
        };
        self.held.push(MadePiece::Data(chunk, bytes));
        self.reach += len as u64;
    }

    fn hole(&mut self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.reach += bytes;
        match self.held.last_mut() {
            Some(MadePiece::Hole(before)) => *before += bytes,
            Some(MadePiece::Data(..)) | None => self.held.push(MadePiece::Hole(bytes)),
        }
    }

    async fn finish(
        mut self,
        model: &Draft,
        bytes: u64,
        many: usize,
        emit: &mut impl AsyncFnMut(Draft) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        if self.held.is_empty() && self.parts == 0 {
            return emit(model.clone()).await;
        }
        while self.held.len() > many {
            let rest = self.held.split_off(many);
            let first = std::mem::replace(&mut self.held, rest);
            emit(part(model, bytes, (self.parts, false, first))).await?;
            self.parts += 1;
        }
        emit(part(model, bytes, (self.parts, true, self.held))).await
    }
}

fn part(model: &Draft, bytes: u64, (part, last, pieces): (u32, bool, Vec<MadePiece>)) -> Draft {
    let xattrs = if part == 0 {
        model.xattrs.clone()
    } else {
        Vec::new()
    };
    Draft {
        xattrs,
        what: Made::Pieces {
            bytes,
            part,
            last,
            pieces,
        },
        ..model.clone()
    }
}

/// Whether two looks at a file saw the same contents.
#[must_use]
pub fn same_contents(a: &Stat, b: &Stat) -> bool {
    (a.size, a.mtime, a.ctime, a.inode) == (b.size, b.mtime, b.ctime, b.inode)
}

fn is_zeros(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<16>();
    chunks.iter().all(|chunk| u128::from_ne_bytes(*chunk) == 0)
        && rest.iter().all(|byte| *byte == 0)
}
