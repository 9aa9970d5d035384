//! What stands in frames, read and checked: heads, and notes of what went. Reads only.

use super::reading::{Segment, Window};
use crate::format::decode;
use crate::format::head::SignedHead;
use crate::format::record::id_of;
use crate::format::release::Freed;
use crate::format::segment::{FrameHeader, FrameType};
use crate::terms::limits::{BLOCK_BYTES, FRAME_HEADER_BYTES};
use crate::terms::{PeerKey, SnapshotNumber};
use crate::world::Disk;

/// A frame with its payload; `None` if it cannot be read. `ahead` says how long it probably is.
pub(super) async fn frame_in<D: Disk>(
    window: &mut Window<D>,
    segment: &Segment<D>,
    offset: u64,
    ahead: usize,
) -> Option<(FrameHeader, Vec<u8>)> {
    let header = window.header(segment, offset, ahead).await.ok()??;
    let len = header.payload_bytes as usize;
    let mut payload = Vec::with_capacity(len);
    let from = offset + FRAME_HEADER_BYTES as u64;
    let there = window
        .stream(segment, from, len, |piece| payload.extend_from_slice(piece))
        .await
        .ok()?;
    there.then_some((header, payload))
}

/// The head in a frame, its signature checked; `None` if it cannot be read.
pub(super) async fn head_in<D: Disk>(
    window: &mut Window<D>,
    segment: &Segment<D>,
    offset: u64,
) -> Option<SignedHead> {
    let (header, payload) = frame_in(window, segment, offset, BLOCK_BYTES).await?;
    (header.frame == FrameType::Head)
        .then(|| SignedHead::decode(&payload).ok())
        .flatten()
}

/// Whose a note of what went is, and what it says; `None` if it cannot be read.
pub(super) async fn freed_in<D: Disk>(
    window: &mut Window<D>,
    segment: &Segment<D>,
    offset: u64,
) -> Option<(PeerKey, Freed)> {
    let (header, payload) = frame_in(window, segment, offset, BLOCK_BYTES).await?;
    (header.frame == FrameType::Freed && id_of(&payload) == header.id)
        .then(|| Some((header.author, Freed::decode(&payload).ok()?)))
        .flatten()
}

/// The number of the head in a frame. Its signature was checked when it was put; here its bytes are compared with their hash,
/// which is a hundred times faster.
pub(super) async fn head_number_in<D: Disk>(
    window: &mut Window<D>,
    segment: &Segment<D>,
    offset: u64,
) -> Option<SnapshotNumber> {
    let (header, payload) = frame_in(window, segment, offset, BLOCK_BYTES).await?;
    if header.frame != FrameType::Head || id_of(&payload) != header.id {
        return None;
    }
    let signed: SignedHead = decode("head", &payload).ok()?;
    Some(signed.head.number)
}
