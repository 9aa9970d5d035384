//! What a store says of itself to whoever compares: fingerprints and marks of the claims both should have, and the names of what is not
//! on the other side; and what it learns of the others that way.
//!
//! Read from the chunk table, some thousand places at a time, so that the one thread is never busy for long. Damaged chunks are not
//! there. The full names stand on the disk only, so they are read for what is told by name and for nothing else.

use super::places::{Places, Shares};
use super::sets::SetIndex;
use super::state::State;
use super::store::Store;
use super::table::{Entry, Prefix, prefix_of};
use crate::format::compare::{Marks, Prints, Ranges, Unmatched, first_of, leading, numbers};
use crate::format::message::Refusal;
use crate::terms::limits::COMPARE_NAMES_MAX;
use crate::terms::{ChunkId, PeerKey};
use crate::world::World;

/// Places of the table that are looked at in one go.
const SLICE: usize = 2048;

/// A claim that both should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// The first bytes of the chunk's name.
    pub prefix: Prefix,
    /// Whose claim.
    pub author: PeerKey,
    /// Its mark in this comparison.
    pub mark: u64,
}

/// How many copies the chunks of a store have, as far as comparisons told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copies {
    /// Chunks here that are whole.
    pub chunks: u64,
    /// Of these, known to be on as many keepers as they should be.
    pub enough: u64,
    /// Of these, known to be on fewer than the least number.
    pub few: u64,
    /// Chunks that do not belong here as placement is now.
    pub extra: u64,
}

impl<W: World> Store<W> {
    /// Goes through the whole chunks from a name on, but for those up to `after`, a slice at a time. Stops when told so.
    async fn each_entry(
        &self,
        from: Prefix,
        after: Option<Prefix>,
        mut sink: impl FnMut(&State, &Entry) -> bool,
    ) {
        let mut next = Some(after.map_or(from, |after| from.max(after)));
        while let Some(from) = next.take() {
            {
                let state = self.inner().shared.state.borrow();
                for (seen, entry) in state.table.scan_from(&from).enumerate() {
                    if seen >= SLICE && entry.prefix != from {
                        next = Some(entry.prefix);
                        break;
                    }
                    if entry.damaged || after.is_some_and(|after| entry.prefix <= after) {
                        continue;
                    }
                    if !sink(&state, &entry) {
                        return;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Goes through the claims both should have, range by range. Stops when told so.
    async fn each_claim(
        &self,
        shares: &mut Shares,
        ranges: &Ranges,
        after: Option<Prefix>,
        mut sink: impl FnMut(usize, &Entry, &State, Claimed) -> bool,
    ) {
        let depth = ranges.depth;
        let mut goes_on = true;
        for (at, range) in ranges.of.iter().enumerate() {
            self.each_entry(first_of(*range, depth), after, |state, entry| {
                let prefix = entry.prefix;
                if leading(&prefix, depth) != *range {
                    return false;
                }
                shares.meet(&state.authors);
                for who in state.sets.standing(entry.claims, state.groups.waiting()) {
                    if let Some((author, mark)) = shares.mark(&prefix, who) {
                        let claimed = Claimed {
                            prefix,
                            author,
                            mark,
                        };
                        goes_on = sink(at, entry, state, claimed);
                        if !goes_on {
                            return false;
                        }
                    }
                }
                true
            })
            .await;
            if !goes_on {
                return;
            }
            // Ranges in which nothing is are looked for as well.
            tokio::task::yield_now().await;
        }
    }

    /// The fingerprints of ranges, each cut into `2^split` parts: the sum of the marks in it.
    pub async fn prints(&self, shares: &mut Shares, ranges: &Ranges, split: u8) -> Vec<u64> {
        let parts = 1usize << split;
        let mut prints = vec![0u64; ranges.of.len() * parts];
        let depth = ranges.depth + split;
        self.each_claim(shares, ranges, None, |at, _, _, claimed| {
            let part = leading(&claimed.prefix, depth) as usize & (parts - 1);
            let print = &mut prints[at * parts + part];
            *print = print.wrapping_add(claimed.mark);
            true
        })
        .await;
        prints
    }

    /// The marks in ranges behind a name; `None` if there are more than so many.
    pub async fn marks(
        &self,
        shares: &mut Shares,
        ranges: &Ranges,
        after: Option<Prefix>,
        most: usize,
    ) -> Option<Vec<u64>> {
        let mut marks = Vec::new();
        let mut fits = true;
        self.each_claim(shares, ranges, after, |_, _, _, claimed| {
            fits = marks.len() < most;
            if fits {
                marks.push(claimed.mark);
            }
            fits
        })
        .await;
        fits.then_some(marks)
    }

    /// Answers `Prints`: which parts differ.
    pub async fn answer_prints(
        &self,
        places: &Places,
        pair: [PeerKey; 2],
        asked: &Prints,
    ) -> Result<Vec<bool>, Refusal> {
        if asked.basis.places != places.mark() {
            return Err(Refusal::OtherPlaces);
        }
        let mut shares = Shares::new(places, &asked.basis, pair);
        let mine = self.prints(&mut shares, &asked.ranges, asked.split).await;
        let theirs = numbers(&asked.prints);
        Ok(mine.into_iter().zip(theirs).map(|(a, b)| a != b).collect())
    }

    /// Answers `Marks`: what of it is not here, and the names of what is here besides.
    pub async fn answer_marks(
        &self,
        places: &Places,
        pair: [PeerKey; 2],
        asked: &Marks,
    ) -> Result<Unmatched, Refusal> {
        if asked.basis.places != places.mark() {
            return Err(Refusal::OtherPlaces);
        }
        let mut theirs: Vec<(u64, usize)> = numbers(&asked.marks).zip(0..).collect();
        theirs.sort_unstable();
        let mut lacking = vec![0xff_u8; theirs.len().div_ceil(8)];
        let mut besides: Vec<(Entry, PeerKey)> = Vec::new();
        let mut more = None;
        let mut shares = Shares::new(places, &asked.basis, pair);
        let below = usize::from(asked.copies_below);
        self.each_claim(
            &mut shares,
            &asked.ranges,
            asked.after,
            |_, entry, state, claimed| {
                let at = theirs.partition_point(|(mark, _)| *mark < claimed.mark);
                match theirs.get(at) {
                    Some((mark, bit)) if *mark == claimed.mark => {
                        lacking[bit / 8] &= !(1 << (bit % 8))
                    }
                    _ if below > 0 && state.copies_known(entry) >= below => {}
                    _ if besides.len() < COMPARE_NAMES_MAX => {
                        besides.push((*entry, claimed.author))
                    }
                    _ if more.is_none() => {
                        // Those of one name are told together, or by the next answer.
                        while besides
                            .pop_if(|(last, _)| last.prefix == claimed.prefix)
                            .is_some()
                        {}
                        more = besides.last().map(|(entry, _)| entry.prefix);
                    }
                    _ => {}
                }
                true
            },
        )
        .await;
        if let Some(bits) = theirs.len().checked_rem(8).filter(|bits| *bits > 0)
            && let Some(last) = lacking.last_mut()
        {
            *last &= (1 << bits) - 1;
        }
        Ok(Unmatched {
            lacking: lacking.into(),
            named: self.by_author(besides).await,
            more,
        })
    }

    /// A comparison told which of the claims in these ranges a keeper has: all but these marks, sorted.
    pub async fn note_holder(
        &self,
        shares: &mut Shares,
        keeper: PeerKey,
        ranges: &Ranges,
        lacking: &[u64],
    ) {
        let mut found: Vec<(Prefix, bool)> = Vec::with_capacity(SLICE);
        for range in &ranges.of {
            let one = Ranges {
                depth: ranges.depth,
                of: vec![*range],
            };
            let mut after = None;
            loop {
                found.clear();
                self.each_claim(shares, &one, after, |_, _, _, claimed| {
                    let has = lacking.binary_search(&claimed.mark).is_err();
                    let is_full = found.len() == SLICE;
                    match found.last_mut() {
                        // One claim it lacks is enough to be seen to.
                        Some((prefix, all)) if *prefix == claimed.prefix => *all &= has,
                        _ if is_full => return false,
                        _ => found.push((claimed.prefix, has)),
                    }
                    true
                })
                .await;
                let Some((last, _)) = found.last() else {
                    break;
                };
                after = Some(*last);
                self.inner().shared.state.borrow_mut().note(keeper, &found);
                if found.len() < SLICE {
                    break;
                }
            }
        }
    }

    /// Nothing is known any more of what a keeper has.
    pub async fn forget_holder(&self, keeper: PeerKey) {
        let mut next = Some([0; 12]);
        while let Some(from) = next.take() {
            next = self
                .inner()
                .shared
                .state
                .borrow_mut()
                .forget(keeper, &from, SLICE);
            tokio::task::yield_now().await;
        }
    }

    /// Chunks here that belong elsewhere as placement is now, and that a keeper where they belong is not known to have: by author, so
    /// many behind a name. Gives the name to go on from.
    pub async fn extras_for(
        &self,
        (me, keeper): (PeerKey, PeerKey),
        places: &Places,
        after: Option<Prefix>,
        most: usize,
    ) -> (Vec<(PeerKey, Vec<ChunkId>)>, Option<Prefix>) {
        let mut extras: Vec<(Entry, PeerKey)> = Vec::new();
        self.each_entry(Prefix::default(), after, |state, entry| {
            let is_extra = |author: &PeerKey| {
                let is_on = |who| places.is_on(who, &entry.prefix, *author);
                is_on(keeper) && !is_on(me)
            };
            if !state.is_held_by(entry, keeper) {
                let claimants = state.claimants(entry);
                extras.extend(claimants.filter(is_extra).map(|author| (*entry, author)));
            }
            extras.len() < most
        })
        .await;
        let more = extras.last().map(|(entry, _)| entry.prefix);
        let more = more.filter(|_| extras.len() >= most);
        (self.by_author(extras).await, more)
    }

    /// Full names, by author. One whose name cannot be read is found by the next sweep.
    async fn by_author(&self, entries: Vec<(Entry, PeerKey)>) -> Vec<(PeerKey, Vec<ChunkId>)> {
        let mut named: Vec<(PeerKey, Vec<ChunkId>)> = Vec::new();
        for (entry, author) in entries {
            let Some(id) = self.inner().name_of(&entry).await else {
                continue;
            };
            match named.iter_mut().find(|(known, _)| *known == author) {
                Some((_, ids)) => ids.push(id),
                None => named.push((author, vec![id])),
            }
        }
        named
    }

    /// A keeper said of these whether it has them.
    pub fn note_answer(&self, keeper: PeerKey, said: impl IntoIterator<Item = (ChunkId, bool)>) {
        let mut state = self.inner().shared.state.borrow_mut();
        for (id, has) in said {
            state.note(keeper, &[(prefix_of(&id), has)]);
        }
    }

    /// How many copies the chunks here have, as far as is known: this one, and what others had when they were compared last.
    pub async fn copies(&self, me: PeerKey, places: &Places) -> Copies {
        let mut copies = Copies::default();
        self.each_entry(Prefix::default(), None, |state, entry| {
            state.count_copies(entry, (me, places), &mut copies);
            true
        })
        .await;
        copies
    }
}

impl State {
    /// Keepers that are known to hold a chunk, this one among them.
    pub(super) fn copies_known(&self, entry: &Entry) -> usize {
        1 + self.sets.members(entry.holders).count()
    }

    /// Who claims a chunk and has not given it up.
    fn claimants(&self, entry: &Entry) -> impl Iterator<Item = PeerKey> {
        let numbers = self.sets.standing(entry.claims, self.groups.waiting());
        numbers.filter_map(|who| self.authors.key(who))
    }

    fn is_held_by(&self, entry: &Entry, keeper: PeerKey) -> bool {
        let who = self.authors.find(keeper);
        who.is_some_and(|who| self.sets.contains(entry.holders, who))
    }

    fn count_copies(&self, entry: &Entry, (me, places): (PeerKey, &Places), to: &mut Copies) {
        let claimants = || self.claimants(entry);
        // What is given up by all needs no copies.
        if claimants().next().is_none() {
            return;
        }
        to.chunks += 1;
        let holders = || {
            let numbers = self.sets.members(entry.holders);
            numbers.filter_map(|who| self.authors.key(who)).chain([me])
        };
        let known = |author: PeerKey| {
            let counts = |key: &PeerKey| *key != author && places.has(*key);
            holders().filter(counts).count()
        };
        let is_enough = claimants().all(|author| known(author) >= places.copies_of(author));
        let least = usize::from(places.least);
        let is_few = claimants().any(|author| known(author) < least.min(places.copies_of(author)));
        to.enough += u64::from(is_enough);
        to.few += u64::from(is_few);
        let is_here = claimants().any(|author| places.is_on(me, &entry.prefix, author));
        to.extra += u64::from(!is_here);
    }

    /// What a comparison told of a keeper, by names that rise. Without a place for one more set it stays unknown.
    fn note(&mut self, keeper: PeerKey, found: &[(Prefix, bool)]) {
        let (Some(who), Some((first, _))) = (self.authors.index_of(keeper), found.first()) else {
            return;
        };
        let sets = &mut self.sets;
        let mut found = found.iter().peekable();
        self.table.note_from(first, |entry| {
            while found
                .next_if(|(prefix, _)| *prefix < entry.prefix)
                .is_some()
            {}
            let Some((prefix, has)) = found.peek() else {
                return false;
            };
            if *prefix == entry.prefix {
                let holders = if *has {
                    sets.with_holder(entry.holders, who)
                } else {
                    sets.without_holder(entry.holders, who)
                };
                entry.holders = holders.unwrap_or(SetIndex::EMPTY);
            }
            true
        });
    }

    /// Takes a keeper out of so many chunks' holders; gives the name to go on from.
    fn forget(&mut self, keeper: PeerKey, from: &Prefix, most: usize) -> Option<Prefix> {
        let who = self.authors.find(keeper)?;
        let sets = &mut self.sets;
        let (mut seen, mut next) = (0, None);
        self.table.note_from(from, |entry| {
            if seen >= most && entry.prefix != *from {
                next = Some(entry.prefix);
                return false;
            }
            seen += 1;
            let rest = sets.without_holder(entry.holders, who);
            entry.holders = rest.unwrap_or(SetIndex::EMPTY);
            true
        });
        next
    }
}
