//! Where a file is cut: FastCDC (2020) with a gear table seeded by the reserve's secret, so cut points tell nothing.
//!
//! It knows bytes in memory only; reading is the caller's. Cut points are part of what makes equal data one chunk, so a
//! test pins them: an update of the crate cannot move them silently.

use std::borrow::Cow;

use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};

use super::sizes::Sizes;

/// The cutter of one reserve.
pub struct Cutter {
    sizes: (usize, usize, usize),
    masks: (u64, u64),
    gear: (Cow<'static, [u64]>, Cow<'static, [u64]>),
}

impl Cutter {
    /// A cutter with the seed of [`crate::format::keys::DataKeys::cut_seed`].
    #[must_use]
    pub fn new(seed: u64, sizes: &Sizes) -> Self {
        Self {
            sizes: (
                sizes.cut_bytes_min,
                sizes.cut_bytes_average,
                sizes.cut_bytes_max,
            ),
            masks: select_masks(sizes.cut_bytes_average, Normalization::Level1),
            gear: get_gear_with_seed(seed),
        }
    }

    /// How long the piece at the start of `bytes` is, if `bytes` reaches to the file's end or at least the largest piece far.
    /// If it does not, a piece shorter than all of `bytes` is as good; one as long may go on. Not 0 unless `bytes` is empty.
    #[must_use]
    pub fn cut(&self, bytes: &[u8]) -> usize {
        let (min, average, max) = self.sizes;
        let (small, large) = self.masks;
        let (_, at) = cut_gear(
            bytes,
            min,
            average,
            max,
            small,
            large,
            small << 1,
            large << 1,
            &self.gear.0,
            &self.gear.1,
        );
        // Whatever the crate says, a piece is never longer than a chunk, never past the end, and never nothing.
        at.clamp(usize::from(!bytes.is_empty()), max.min(bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut reader = blake3::Hasher::new()
            .update(b"a byte string that never changes")
            .finalize_xof();
        reader.fill(&mut bytes);
        bytes
    }

    fn cuts(cutter: &Cutter, mut bytes: &[u8]) -> Vec<usize> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let at = cutter.cut(bytes);
            all.push(at);
            bytes = &bytes[at..];
        }
        all
    }

    #[test]
    fn cut_points_are_where_they_have_always_been() {
        let cutter = Cutter::new(0x0123_4567_89ab_cdef, &Sizes::default());
        assert_eq!(cuts(&cutter, &bytes(8 << 20)), GOLDEN);
        let cutter = Cutter::new(0x0123_4567_89ab_cdef, &Sizes::small());
        assert_eq!(cuts(&cutter, &bytes(12_001)), GOLDEN_SMALL);
    }

    #[test]
    fn another_seed_cuts_elsewhere() {
        let sizes = Sizes::small();
        let bytes = bytes(1 << 16);
        assert_ne!(
            cuts(&Cutter::new(1, &sizes), &bytes),
            cuts(&Cutter::new(2, &sizes), &bytes)
        );
    }

    #[test]
    fn a_cut_before_the_end_of_what_is_seen_is_final() {
        let cutter = Cutter::new(11, &Sizes::small());
        let bytes = bytes(1 << 15);
        for start in (0..bytes.len() - 4096).step_by(509) {
            let whole = cutter.cut(&bytes[start..]);
            for seen in (1..4096).step_by(37) {
                let part = cutter.cut(&bytes[start..start + seen]);
                assert!(part == whole || part == seen, "{start}, {seen}: {part}");
                assert!(seen > whole || part == seen, "{start}, {seen}: {part}");
            }
        }
    }

    #[test]
    fn an_insertion_moves_only_the_cuts_near_it() {
        let cutter = Cutter::new(7, &Sizes::small());
        let before = bytes(1 << 16);
        let mut after = before.clone();
        after.splice(30_000..30_000, *b"inserted");
        let pieces = |bytes: &[u8]| {
            let mut at = 0;
            cuts(&cutter, bytes)
                .into_iter()
                .map(|len| {
                    at += len;
                    bytes[at - len..at].to_vec()
                })
                .collect::<std::collections::BTreeSet<_>>()
        };
        let (before, after) = (pieces(&before), pieces(&after));
        assert!(
            after.difference(&before).count() <= 4,
            "{}",
            after.difference(&before).count()
        );
    }

    proptest::proptest! {
        #[test]
        fn pieces_add_up_and_keep_their_limits(len in 0usize..40_000, seed: u64) {
            let sizes = Sizes::small();
            let all = cuts(&Cutter::new(seed, &sizes), &bytes(len));
            proptest::prop_assert_eq!(all.iter().sum::<usize>(), len);
            proptest::prop_assert!(all.iter().all(|piece| *piece <= sizes.cut_bytes_max));
            let body = all.split_last().map_or(&[][..], |(_, body)| body);
            proptest::prop_assert!(body.iter().all(|piece| *piece >= sizes.cut_bytes_min));
        }
    }

    const GOLDEN: &[usize] = &[1203975, 434686, 1951409, 1405323, 1628422, 1144128, 620665];
    const GOLDEN_SMALL: &[usize] = &[
        1527, 1037, 1270, 471, 270, 1072, 1779, 453, 1241, 944, 576, 1169, 192,
    ];
}
