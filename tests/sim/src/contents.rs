//! What is in people's files: bytes, holes and extended attributes. Blocks of zeros are holes: this file system keeps none.

use std::io;

use reserve::terms::Stamp;
use reserve::world::Xattrs;

use crate::wood::{BLOCK, Body, Node, is_hole};

impl Node {
    pub(crate) fn read(&self, into: &mut Vec<u8>, bytes_max: usize, offset: u64) -> usize {
        let state = self.state();
        let Body::File(content) = &state.body else {
            return 0;
        };
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(content.len());
        let len = bytes_max.min(content.len() - start);
        into.extend_from_slice(&content[start..start + len]);
        len
    }

    pub(crate) fn xattrs(&self) -> Xattrs {
        let kept = self.state().xattrs.clone().into_iter().collect();
        Xattrs {
            kept,
            left_out: Vec::new(),
        }
    }

    /// The first stretch from `offset` on that is no hole.
    pub(crate) fn next_data(&self, offset: u64, hole_bytes_min: u64) -> Option<(u64, u64)> {
        let state = self.state();
        let Body::File(content) = &state.body else {
            return None;
        };
        let first = usize::try_from(offset).ok()? / BLOCK;
        let data = content.chunks(BLOCK).enumerate().skip(first);
        let mut found: Option<(u64, u64)> = None;
        for (at, _) in data.filter(|(_, block)| !is_hole(block)) {
            let (start, end) = ((at * BLOCK) as u64, ((at + 1) * BLOCK) as u64);
            match &mut found {
                None => found = Some((start.max(offset), end)),
                Some((_, until)) if start - *until < hole_bytes_min.max(1) => *until = end,
                Some(_) => break,
            }
        }
        found
    }

    pub(crate) fn write(&self, bytes: &[u8], offset: u64, now: Stamp) -> io::Result<()> {
        let mut state = self.change(now);
        state.mtime = now;
        let Body::File(content) = &mut state.body else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start
            .checked_add(bytes.len())
            .ok_or(io::ErrorKind::FileTooLarge)?;
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn set_len(&self, bytes: u64, now: Stamp) -> io::Result<()> {
        let mut state = self.change(now);
        state.mtime = now;
        let Body::File(content) = &mut state.body else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        content.resize(
            usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?,
            0,
        );
        Ok(())
    }
}
