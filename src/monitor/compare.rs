//! One comparison with one keeper, from the side that asks: what is lacking here is named and taken, what is lacking there is noted.
//!
//! Each keeper asks for itself, so each missing copy is made in one place and by one keeper: the one that should have it. Memory: the
//! fingerprints of one question, its ranges, the marks of another. Whoever answers remembers nothing.

use crate::format::compare::{Basis, Marks, Prefix, Prints, Ranges, to_bytes};
use crate::keeper::{AskError, Compare, Places, Shares, Store};
use crate::terms::limits::COMPARE_PRINTS_MAX;
use crate::terms::{ChunkId, PeerKey};
use crate::world::World;

use super::plan::{Plan, halves};

/// Who compares with whom, and how they place.
pub struct Pair<'a, W: World, C: Compare> {
    /// This Box's store.
    pub store: &'a Store<W>,
    /// This Box.
    pub me: PeerKey,
    /// The other keeper.
    pub keeper: &'a C,
    /// Who that is.
    pub peer: PeerKey,
    /// Where chunks belong.
    pub places: &'a Places,
    /// Whose copies this Box does not count on now, sorted.
    pub absent: &'a [PeerKey],
    /// Drawn for this comparison.
    pub salt: u64,
}

/// What a comparison came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Questions that were asked.
    pub questions: u64,
    /// Claims the other has and this keeper lacks.
    pub lacking_here: u64,
    /// Of these, taken now.
    pub taken: u64,
    /// Claims this keeper has and the other lacks.
    pub lacking_there: u64,
    /// Whether a fingerprint differed, or marks were told.
    pub has_differed: bool,
}

impl Outcome {
    /// Whether this keeper has all it should have in common with the other.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.lacking_here == self.taken
    }

    /// Whether the other lacks nothing either.
    #[must_use]
    pub const fn is_even(&self) -> bool {
        self.is_whole() && self.lacking_there == 0
    }
}

/// Takes what is lacking: for this author, these chunks. Gives how many of them are here now.
pub trait Take {
    /// Takes them.
    fn take(&mut self, author: PeerKey, ids: Vec<ChunkId>) -> impl Future<Output = u64>;
}

struct Walk<'a, W: World, C: Compare> {
    pair: &'a Pair<'a, W, C>,
    basis: Basis,
    shares: Shares,
    copies_below: u8,
    outcome: Outcome,
}

/// Compares, and takes what fewer keepers than `copies_below` are known to have; 0 takes all. Holders that were believed and are
/// none are corrected on the way.
///
/// # Errors
/// The other keeper went away or said no; what was taken by then stays.
pub async fn compare<W: World, C: Compare>(
    pair: &Pair<'_, W, C>,
    copies_below: u8,
    take: &mut impl Take,
) -> Result<Outcome, AskError> {
    let basis = Basis {
        salt: pair.salt,
        places: pair.places.mark(),
        absent: pair.absent.to_vec(),
    };
    let shares = Shares::new(pair.places, &basis, [pair.me, pair.peer]);
    let mut walk = Walk {
        pair,
        basis,
        shares,
        copies_below,
        outcome: Outcome::default(),
    };
    let plan = Plan::of(pair.store.figures().chunks);
    let all = Ranges {
        depth: 0,
        of: vec![0],
    };
    if plan.first == 0 {
        walk.list(all, take).await?;
        return Ok(walk.outcome);
    }
    let coarse = walk.differing(all, plan.first).await?;
    if plan.second == 0 || coarse.of.len() > COMPARE_PRINTS_MAX / 4 {
        walk.list(coarse, take).await?;
        return Ok(walk.outcome);
    }
    for some in coarse.of.chunks(COMPARE_PRINTS_MAX >> plan.second) {
        let some = Ranges {
            depth: coarse.depth,
            of: some.to_vec(),
        };
        let fine = walk.differing(some, plan.second).await?;
        walk.list(fine, take).await?;
    }
    Ok(walk.outcome)
}

impl<W: World, C: Compare> Walk<'_, W, C> {
    /// Which parts of these ranges differ. The others are the same on both sides, so the other keeper holds all of them.
    async fn differing(&mut self, ranges: Ranges, split: u8) -> Result<Ranges, AskError> {
        let store = self.pair.store;
        let prints = store.prints(&mut self.shares, &ranges, split).await;
        let depth = ranges.depth + split;
        let parts = |range: &u32| {
            let first = range << split;
            first..first + (1 << split)
        };
        let parts: Vec<u32> = ranges.of.iter().flat_map(parts).collect();
        let asked = Prints {
            basis: self.basis.clone(),
            ranges,
            split,
            prints: to_bytes(&prints),
        };
        self.outcome.questions += 1;
        let differ = self.pair.keeper.prints(asked).await?;
        if differ.len() != parts.len() {
            return Err(AskError::Nonsense);
        }
        let of = |wanted: bool| {
            let both = parts.iter().zip(&differ);
            let of = both.filter_map(|(part, differs)| (*differs == wanted).then_some(*part));
            Ranges {
                depth,
                of: of.collect(),
            }
        };
        self.note(&of(false), &[]).await;
        Ok(of(true))
    }

    async fn note(&mut self, ranges: &Ranges, lacking: &[u64]) {
        let store = self.pair.store;
        store
            .note_holder(&mut self.shares, self.pair.peer, ranges, lacking)
            .await;
    }

    /// Goes through ranges mark by mark, as many at once as fit into a question.
    async fn list(&mut self, ranges: Ranges, take: &mut impl Take) -> Result<(), AskError> {
        let mut open = vec![ranges];
        while let Some(ranges) = open.pop() {
            if ranges.of.is_empty() {
                continue;
            }
            let store = self.pair.store;
            let marks = store
                .marks(&mut self.shares, &ranges, None, COMPARE_PRINTS_MAX)
                .await;
            match (marks, halves(&ranges)) {
                (Some(marks), _) => self.exchange(&ranges, marks, take).await?,
                (None, Some([front, back])) => open.extend([back, front]),
                // More than a question of claims whose names begin alike: nobody has that many.
                (None, None) => return Err(AskError::Nonsense),
            }
        }
        Ok(())
    }

    async fn exchange(
        &mut self,
        ranges: &Ranges,
        marks: Vec<u64>,
        take: &mut impl Take,
    ) -> Result<(), AskError> {
        self.outcome.has_differed = true;
        let unmatched = self.ask(ranges, &marks, None).await?;
        let is_lacking = |at: usize| {
            unmatched
                .lacking
                .get(at / 8)
                .is_some_and(|b| b >> (at % 8) & 1 == 1)
        };
        let lacking = marks.iter().enumerate().filter(|(at, _)| is_lacking(*at));
        let mut lacking: Vec<u64> = lacking.map(|(_, mark)| *mark).collect();
        lacking.sort_unstable();
        self.outcome.lacking_there += lacking.len() as u64;
        self.note(ranges, &lacking).await;
        let (mut named, mut more) = (unmatched.named, unmatched.more);
        loop {
            for (author, ids) in named {
                let many = ids.len() as u64;
                self.outcome.lacking_here += many;
                self.outcome.taken += take.take(author, ids).await.min(many);
            }
            let Some(after) = more else {
                return Ok(());
            };
            // What comes behind the last name it told; what is here is still the same there.
            let store = self.pair.store;
            let rest = store.marks(&mut self.shares, ranges, Some(after), COMPARE_PRINTS_MAX);
            let rest = rest.await.unwrap_or_default();
            let unmatched = self.ask(ranges, &rest, Some(after)).await?;
            if unmatched.more.is_some_and(|next| next <= after) {
                return Err(AskError::Nonsense);
            }
            (named, more) = (unmatched.named, unmatched.more);
        }
    }

    async fn ask(
        &mut self,
        ranges: &Ranges,
        marks: &[u64],
        after: Option<Prefix>,
    ) -> Result<crate::format::compare::Unmatched, AskError> {
        self.outcome.questions += 1;
        let asked = Marks {
            basis: self.basis.clone(),
            ranges: ranges.clone(),
            after,
            copies_below: self.copies_below,
            marks: to_bytes(marks),
        };
        self.pair.keeper.marks(asked).await
    }
}
