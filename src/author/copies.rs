//! On how many keepers all of a snapshot is, asked anew.

use super::closure::{CatchUpError, Closure, Keyring};
use crate::format::head::SignedHead;
use crate::keeper::{Ask, Keepers};
use crate::terms::limits::ASK_IDS_MAX;

/// The fewest keepers in reach, other than its author, that have any chunk of a snapshot.
pub async fn copies_of<K: Keepers>(
    keepers: &K,
    keyring: &Keyring,
    head: &SignedHead,
) -> Result<usize, CatchUpError> {
    let author = head.head.author;
    let mut closure = Closure::new(keepers, keyring, head);
    let (mut batch, mut fewest) = (Vec::new(), usize::MAX);
    loop {
        let next = closure.next().await?;
        batch.extend(next);
        if batch.len() == ASK_IDS_MAX || (next.is_none() && !batch.is_empty()) {
            let ids = std::mem::take(&mut batch);
            let mut copies = vec![0; ids.len()];
            for member in keepers.members() {
                let Some(keeper) = keepers.reach(member.key).filter(|_| member.key != author)
                else {
                    continue;
                };
                // Whoever does not answer now has nothing that can be counted on.
                let held = keeper.have(author, ids.clone()).await.unwrap_or_default();
                for (copies, held) in copies.iter_mut().zip(held) {
                    *copies += usize::from(held);
                }
            }
            fewest = copies.into_iter().fold(fewest, usize::min);
        }
        if next.is_none() {
            return Ok(fewest);
        }
    }
}
