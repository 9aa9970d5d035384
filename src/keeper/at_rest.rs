//! A store whose keeper does not run, looked at as it lies there: heads of snapshots, read from footers and frames. Nothing is
//! changed, made durable, locked or cut, and no table is made.

use std::io;

use super::frames::{freed_in, head_in};
use super::loading::{footer_of, header_of};
use super::reading::{Segment, Window};
use super::scan::scan;
use super::writing::{STORE_DIR, number_of, path_of};
use crate::format::head::SignedHead;
use crate::format::segment::{FOOTER_ENTRY_BYTES, FooterEntry, FrameType};
use crate::terms::AuthorIndex;
use crate::terms::limits::HEADS_MAX;
use crate::world::{Disk, DiskFile};

/// The authors of a footer, in bytes each.
const AUTHOR_BYTES: usize = 32;

/// The heads in a store, in no order, each once, and how many segments could not be looked into.
///
/// # Errors
/// If the store's directory cannot be listed. One segment that cannot be read is counted, and the others go on.
pub async fn heads_at_rest<D: Disk>(disk: &D) -> io::Result<(Vec<SignedHead>, usize)> {
    let names = disk.list(STORE_DIR).await?;
    let mut window = Window::new(disk).await;
    let (mut heads, mut unread) = (Vec::new(), 0);
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| number_of(name)).collect();
    // What left does so behind where it stood.
    numbers.sort_unstable();
    for number in numbers {
        let looked = async {
            let segment = (number, disk.open(&path_of(number), false).await?);
            heads_of(&mut window, &segment, &mut heads).await
        };
        match looked.await {
            Ok(true) => {}
            Ok(false) | Err(_) => unread += 1,
        }
    }
    heads.sort_by_key(|head: &SignedHead| (head.head.author, head.hash().0));
    heads.dedup();
    Ok((heads, unread))
}

/// Adds the heads of one segment; false if it does not say whose it is.
async fn heads_of<D: Disk>(
    window: &mut Window<D>,
    segment: &Segment<D>,
    heads: &mut Vec<SignedHead>,
) -> io::Result<bool> {
    let len = segment.1.len().await?;
    let Some(header) = header_of(window, segment).await else {
        return Ok(false);
    };
    let mut footer = Vec::new();
    let whole = footer_of(window, segment, len, header.store, &mut footer).await;
    let entries: Vec<FooterEntry> = if let Some(trailer) = whole {
        let entries = footer.get(trailer.authors as usize * AUTHOR_BYTES..);
        let (entries, _) = entries
            .unwrap_or_default()
            .as_chunks::<FOOTER_ENTRY_BYTES>();
        let entries = entries.iter().map(FooterEntry::decode);
        entries.filter_map(Result::ok).collect()
    } else {
        // Whose a frame is does not matter here: a head says so itself.
        let anybody = |_| Some(AuthorIndex(0));
        scan(window, segment, len, header.store, len, anybody)
            .await
            .entries
    };
    for entry in entries {
        let offset = u64::from(entry.offset);
        if entry.frame == FrameType::Head && heads.len() < HEADS_MAX {
            heads.extend(head_in(window, segment, offset).await);
        }
        if entry.frame == FrameType::Freed
            && let Some((author, freed)) = freed_in(window, segment, offset).await
        {
            heads.retain(|SignedHead { head, .. }| {
                head.author != author || !freed.numbers.has(head.number)
            });
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::super::mock_world::MockWorld;
    use super::super::store_tests::{ANNA, FIRST, head, open, put, run};
    use super::*;

    #[test]
    fn heads_are_found_in_closed_and_open_segments_and_nothing_is_changed() {
        run(async {
            let disk = MockWorld::new().disk;
            let key = SigningKey::from_bytes(&[3; 32]);
            let (store, _) = open(&disk).await;
            let (first, second) = (head(&key, 1, 1), head(&key, 2, 1));
            store.put_head(&first).await.expect("it is kept");
            store.close().await;
            let (store, _) = open(&disk).await;
            put(&store, ANNA, 1, 5000).await;
            store.put_head(&second).await.expect("it is kept");
            // As a power cut leaves it: no footer, and a tail that nobody acknowledged.
            let disk = disk.power_cut();
            let whole = disk.bytes(FIRST);
            let last = disk.list(STORE_DIR).await.expect("lists");
            let last = last.iter().filter_map(|name| number_of(name)).max();
            let last = path_of(last.expect("there is a segment"));
            let torn = [disk.bytes(&last), vec![7; 3000]].concat();
            disk.set_bytes(&last, torn.clone());
            let (found, unread) = heads_at_rest(&disk).await.expect("it can be listed");
            assert_eq!((found.len(), unread), (2, 0));
            assert!(found.contains(&first) && found.contains(&second));
            assert_eq!(
                disk.bytes(&last),
                torn,
                "a torn tail is for the keeper to cut"
            );
            if last != FIRST {
                assert_eq!(disk.bytes(FIRST), whole);
            }
        });
    }
}
