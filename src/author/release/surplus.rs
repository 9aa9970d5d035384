//! What a keeper holds for this author and no snapshot that stays needs: its list of claims and the list of what is needed, both in order,
//! read side by side.

use std::io;

use super::sorted::Reader;
use crate::format::compare::{PREFIX_BYTES, Prefix};
use crate::world::Disk;

/// The part of a page of claims that is not needed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surplus {
    /// Names one after the other, rising.
    pub names: Vec<u8>,
    /// How many.
    pub chunks: u64,
    /// Bytes of their records.
    pub bytes: u64,
}

/// Reads what is needed beside the claims of one keeper.
pub struct Beside<'a, D: Disk> {
    needed: Reader<'a, D, PREFIX_BYTES>,
    next: Option<Prefix>,
    has_begun: bool,
    last: Option<Prefix>,
}

impl<'a, D: Disk> Beside<'a, D> {
    /// From the first on.
    pub const fn new(needed: Reader<'a, D, PREFIX_BYTES>) -> Self {
        Self {
            needed,
            next: None,
            has_begun: false,
            last: None,
        }
    }

    /// What of the next claims is not needed. `None` if they do not rise: then nothing that follows from them can be right.
    pub async fn surplus(
        &mut self,
        claims: impl Iterator<Item = (Prefix, u32)>,
    ) -> io::Result<Option<Surplus>> {
        let mut surplus = Surplus::default();
        for (claim, bytes) in claims {
            if self.last.is_some_and(|last| last >= claim) {
                return Ok(None);
            }
            self.last = Some(claim);
            if !self.has_begun {
                self.next = self.needed.next().await?;
                self.has_begun = true;
            }
            while self.next.is_some_and(|next| next < claim) {
                self.next = self.needed.next().await?;
            }
            if self.next != Some(claim) {
                surplus.names.extend(claim);
                surplus.chunks += 1;
                surplus.bytes += u64::from(bytes);
            }
        }
        Ok(Some(surplus))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::author::release::sorted::Sorter;
    use crate::author::tests::house::run;
    use crate::author::tests::world::SmallDisk;

    fn prefix(number: u16) -> Prefix {
        let mut prefix = Prefix::default();
        prefix[..2].copy_from_slice(&number.to_be_bytes());
        prefix
    }

    proptest! {
        #[test]
        fn nothing_that_is_needed_is_given_up_and_all_else_is_however_it_comes_in_pages(
            needed in prop::collection::btree_set(0..500u16, 0..300),
            claimed in prop::collection::btree_set(0..500u16, 0..300),
            page in 1..50usize,
        ) {
            let given = run(async {
                let mut sorter = Sorter::new(SmallDisk::default(), "needed", 1).with_runs_of(40);
                for number in &needed {
                    sorter.push(prefix(*number)).await.expect("written");
                }
                let sorted = sorter.finish().await.expect("merged");
                let mut beside = Beside::new(sorted.reader());
                let mut given = BTreeSet::new();
                let claimed: Vec<u16> = claimed.iter().copied().collect();
                for page in claimed.chunks(page) {
                    let claims = page.iter().map(|number| (prefix(*number), 10));
                    let surplus = beside.surplus(claims).await.expect("read").expect("they rise");
                    assert_eq!(surplus.bytes, surplus.chunks * 10);
                    for name in surplus.names.chunks(PREFIX_BYTES) {
                        given.insert(u16::from_be_bytes([name[0], name[1]]));
                    }
                }
                given
            });
            let expected: BTreeSet<u16> = claimed.difference(&needed).copied().collect();
            prop_assert_eq!(given, expected);
        }
    }

    #[test]
    fn claims_in_disorder_give_nothing_up() {
        run(async {
            let sorter = Sorter::new(SmallDisk::default(), "needed", 1);
            let sorted = sorter.finish().await.expect("merged");
            let mut beside = Beside::new(sorted.reader());
            let page = |numbers: &'static [u16]| numbers.iter().map(|one| (prefix(*one), 1));
            assert!(beside.surplus(page(&[3, 4])).await.expect("read").is_some());
            assert!(beside.surplus(page(&[4])).await.expect("read").is_none());
        });
    }
}
