//! Small files on their way into packs: read in batches, put where their bytes lie already or into the open pack.

use std::io;

use super::again::Tries;
use super::draft::{Draft, Made, Ref, TO_READ_AGAIN};
use super::error::SnapshotError;
use super::gather::{Before, Gather, Means, Small, Trouble};
use super::kinds::{as_it_was, has_gone, left_out, may_be_as_it_was};
use super::read::same_contents;
use super::rot;
use super::sizes::Sizes;
use super::walk::joined;
use crate::format::keys::PlainName;
use crate::keeper::Keepers;
use crate::terms::Kind;
use crate::world::{FileKind, Tree, Whole, World};

/// Times a changing small file is read again.
const AGAIN_MAX: u32 = 2;

impl<W: World> Gather<'_, W> {
    pub(super) async fn read_batch<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
    ) -> Result<(), SnapshotError> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let bytes_max = means.sizes.small_file_bytes_max + 1;
        let paths = batch
            .iter()
            .map(|small| joined(means.base, &small.path))
            .collect();
        let answers = means.tree.read_many(paths, bytes_max).await;
        for (small, mut answer) in batch.into_iter().zip(answers) {
            let Small {
                number,
                path,
                stat: mut seen,
                before,
                is_untouched,
                old,
            } = small;
            let (mut changes, mut failed) = (0, Tries::default());
            // Unchanged since the listing, or between two reads: then the bytes are those of one moment.
            loop {
                match &answer {
                    Err(reason) if means.again.wait(&mut failed, reason).await => {}
                    Err(_) => break,
                    Ok(whole) => {
                        means.again.helped(&mut failed);
                        if same_contents(&seen, &whole.stat) || changes == AGAIN_MAX {
                            break;
                        }
                        changes += 1;
                        seen = whole.stat;
                    }
                }
                let again = vec![joined(means.base, &path)];
                let mut answers = means.tree.read_many(again, bytes_max).await;
                match answers.pop() {
                    Some(next) => answer = next,
                    None => break,
                }
            }
            let at = usize::try_from(number - self.left).unwrap_or(usize::MAX);
            match answer {
                Err(reason) if has_gone(&means.tree, &joined(means.base, &path), &reason).await => {
                    self.drop(at);
                    self.moves.gone += u64::from(before != Before::Nothing);
                }
                Err(reason) => self.stand_in(at, path, &reason, old),
                Ok(whole) if whole.stat.kind != FileKind::File => {
                    let reason = io::Error::new(io::ErrorKind::NotFound, "it is no longer a file");
                    self.stand_in(at, path, &reason, None);
                }
                Ok(whole)
                    if is_untouched
                        && changes == 0
                        && same_contents(&seen, &whole.stat)
                        && is_other(before, means, &whole) =>
                {
                    // Its own disk damaged it: the good version stays.
                    if let (Some(draft), Some(old)) = (self.waiting.get_mut(at), old) {
                        self.waiting_bytes += old.xattr_bytes();
                        *draft = *old;
                    }
                    self.tell(path, rot::WHY.to_owned(), false);
                }
                Ok(mut whole) => {
                    // What grew out of a pack since it was listed gives its start, and is named.
                    whole.bytes.truncate(means.sizes.small_file_bytes_max);
                    for reason in left_out(&whole.xattrs) {
                        self.tell(path.clone(), reason, false);
                    }
                    let stat = &mut whole.stat;
                    if !same_contents(&seen, stat) || stat.size != whole.bytes.len() as u64 {
                        let reason = "it changed while it was read; taken with its last read";
                        self.tell(path, reason.to_owned(), true);
                        stat.ctime = TO_READ_AGAIN;
                    }
                    means.progress.count_read(whole.bytes.len() as u64);
                    self.pack_file(means, number, whole, before).await?;
                }
            }
        }
        Ok(())
    }

    /// What was to be read is not in the snapshot.
    fn drop(&mut self, at: usize) {
        if let Some(draft) = self.waiting.get_mut(at) {
            draft.what = Made::Dropped;
        }
    }

    fn tell(&mut self, path: Vec<u8>, reason: String, has_changed: bool) {
        self.trouble.push(Trouble {
            path,
            reason,
            has_changed,
        });
    }

    /// A file that cannot be read is in the snapshot as it was before, if it was; one whose place something else took is not.
    fn stand_in(&mut self, at: usize, path: Vec<u8>, reason: &io::Error, old: Option<Box<Draft>>) {
        let old = old.filter(|_| may_be_as_it_was(reason));
        let told = if old.is_some() {
            as_it_was(reason)
        } else {
            reason.to_string()
        };
        match (old, self.waiting.get_mut(at)) {
            (Some(mut old), Some(draft)) => {
                old.ctime = TO_READ_AGAIN;
                self.waiting_bytes += old.xattr_bytes();
                *draft = *old;
            }
            (None, _) => self.drop(at),
            (Some(_), None) => {}
        }
        self.tell(path, told, false);
    }

    /// Finds a place for a small file: where its plaintext lies already, or in the open pack.
    pub async fn pack_file<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
        number: u64,
        whole: Whole,
        before: Before,
    ) -> Result<(), SnapshotError> {
        let plain = whole.bytes.as_slice();
        let name = means.keys.lookup_name(plain);
        let is_rewritten = match before {
            Before::Nothing => false,
            Before::Small(before) => before != name,
            Before::Other => true,
        };
        self.moves.rewritten += u64::from(is_rewritten);
        let what = if plain.is_empty() {
            Made::Empty
        } else {
            self.place(means, name, plain, before == Before::Nothing)
                .await?
        };
        let at = usize::try_from(number - self.left).unwrap_or(usize::MAX);
        if let Some(draft) = self.waiting.get_mut(at) {
            draft.mark(&whole.stat, means.device);
            draft.what = what;
            draft.has_holes = whole.has_holes;
            draft.xattrs = whole.xattrs.kept;
            self.waiting_bytes += draft.xattr_bytes();
            self.links.learn(draft, &whole.stat);
        }
        if ends_pack(&name, plain.len(), self.pack.len(), &means.sizes) {
            self.close_pack(means).await?;
        }
        Ok(())
    }

    async fn place<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
        name: PlainName,
        plain: &[u8],
        is_new_path: bool,
    ) -> Result<Made, SnapshotError> {
        let bytes = plain.len() as u64;
        if let Some(offset) = self.places.get(&name)
            && self.pack[*offset as usize..].starts_with(plain)
        {
            return Ok(Made::Packed {
                bytes,
                name,
                pack: None,
                offset: *offset,
            });
        }
        if let Some(place) = means.known.small(&name, plain.len()).await {
            self.moves.moved += u64::from(is_new_path);
            return Ok(Made::Packed {
                bytes,
                name,
                pack: Some(place.pack),
                offset: place.offset,
            });
        }
        if self.pack.len() + plain.len() > means.sizes.pack_bytes_max {
            self.close_pack(means).await?;
        }
        let offset = u32::try_from(self.pack.len()).expect("a pack is at most PACK_BYTES_MAX long");
        self.pack.extend_from_slice(plain);
        self.places.insert(name, offset);
        self.moves.packed += 1;
        Ok(Made::Packed {
            bytes,
            name,
            pack: None,
            offset,
        })
    }

    pub(super) async fn close_pack<K: Keepers>(
        &mut self,
        means: &Means<'_, W, K>,
    ) -> Result<(), SnapshotError> {
        self.places.clear();
        if self.pack.is_empty() {
            return Ok(());
        }
        let mut plain = std::mem::take(&mut self.pack);
        let plain_bytes =
            u32::try_from(plain.len()).expect("a pack is at most PACK_BYTES_MAX long");
        let older = self.sealer.names_under(means.older, &plain, true);
        let held = means.out.held(&older).await;
        let (id, sealed_bytes) = match held {
            Some(held) => held,
            None => {
                let sealed = self.seal(means, Kind::Data, &plain).await?;
                // Counted with its page, like all data.
                self.totals.chunks -= 1;
                self.totals.sealed_bytes -= u64::from(sealed.1);
                sealed
            }
        };
        plain.clear();
        self.pack = plain;
        let closed = Ref {
            id,
            sealed_bytes,
            plain_bytes,
            reused: held.is_some(),
        };
        self.links.pack_closed(closed);
        for draft in &mut self.waiting {
            if let Made::Packed { pack, .. } = &mut draft.what
                && pack.is_none()
            {
                *pack = Some(closed);
            }
        }
        Ok(())
    }
}

/// Whether a small file has other contents than before.
fn is_other<W: World, K: Keepers>(before: Before, means: &Means<'_, W, K>, whole: &Whole) -> bool {
    matches!(before, Before::Small(name) if means.keys.lookup_name(&whole.bytes) != name)
}

/// Whether a pack ends after this file. The files themselves decide, so that the packs behind a change are as they were.
fn ends_pack(name: &PlainName, file_bytes: usize, pack_bytes: usize, sizes: &Sizes) -> bool {
    let draw = u32::from_le_bytes([name[0], name[1], name[2], name[3]]);
    let mean = sizes.pack_bytes_max as u64 * 3 / 8;
    pack_bytes >= sizes.pack_bytes_max / 2 && (u64::from(draw) * mean) >> 32 < file_bytes as u64
}
