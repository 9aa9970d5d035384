//! The newest heads, and heads that bear one number. Which of them stands is not the store's to say.

use super::refuse::StoreError;
use super::remote::HEADS_IN_AN_ANSWER_MAX;
use super::store::Store;
use crate::format::head::SignedHead;
use crate::terms::{PeerKey, SnapshotNumber};
use crate::world::World;

impl<W: World> Store<W> {
    /// How many heads of an author there are, and the last number before the first that is not here, of those after one number and up
    /// to another.
    #[must_use]
    pub fn heads_whole_until(
        &self,
        author: PeerKey,
        after: SnapshotNumber,
        until: SnapshotNumber,
    ) -> (usize, SnapshotNumber) {
        let state = self.inner().shared.state.borrow();
        let Some(who) = state.authors.find(author) else {
            return (0, after);
        };
        let mut whole = state.heads.whole_until(who, after, until);
        // What left on its author's word is not lacking.
        while whole < until && state.is_forgotten(who, SnapshotNumber(whole.0 + 1)) {
            let next = SnapshotNumber(whole.0 + 1);
            whole = state.heads.whole_until(who, next, until);
        }
        (state.heads.of(who).len(), whole)
    }

    /// How many heads of an author are here, of those after one number and up to another.
    #[must_use]
    pub fn heads_between(
        &self,
        author: PeerKey,
        after: SnapshotNumber,
        until: SnapshotNumber,
    ) -> usize {
        let state = self.inner().shared.state.borrow();
        let heads = state.authors.find(author).map(|who| state.heads.of(who));
        let is_between = |number: SnapshotNumber| number > after && number <= until;
        let heads = heads.unwrap_or_default().iter();
        heads.filter(|head| is_between(head.number)).count()
    }

    /// The newest head of every author, then those that bear the same numbers, as many as an answer has room for.
    pub(super) async fn newest_of_all(&self) -> Result<Vec<SignedHead>, StoreError> {
        let inner = self.inner();
        let mut heads: Vec<SignedHead> = Vec::new();
        let authors = inner.shared.state.borrow().authors.keys().to_vec();
        for author in authors {
            heads.extend(inner.newest_head(author).await?);
        }
        for newest in heads.clone() {
            let room = HEADS_IN_AN_ANSWER_MAX.saturating_sub(heads.len());
            heads.extend(self.beside(&newest).await?.into_iter().take(room));
        }
        Ok(heads)
    }

    /// The newest number of every author.
    #[must_use]
    pub fn newest_heads(&self) -> Vec<(PeerKey, SnapshotNumber)> {
        let state = self.inner().shared.state.borrow();
        let newest = |key: &PeerKey| {
            let who = state.authors.find(*key)?;
            Some((*key, state.heads.of(who).last()?.number))
        };
        state.authors.keys().iter().filter_map(newest).collect()
    }

    /// Heads of the same author and number.
    async fn beside(&self, one: &SignedHead) -> Result<Vec<SignedHead>, StoreError> {
        let inner = self.inner();
        let places = {
            let state = inner.shared.state.borrow();
            let who = state.authors.find(one.head.author);
            who.map_or(Vec::new(), |who| {
                state.heads.at(who, one.head.number).to_vec()
            })
        };
        let mut others = Vec::new();
        for place in places {
            let other = inner.read_head(place.location).await?;
            others.extend(other.filter(|other| other != one && !others.contains(other)));
        }
        Ok(others)
    }

    /// Numbers that more than one head seems to bear, author by author, rising. Two frames may have one head: who wants to know reads them.
    #[must_use]
    pub fn doubled_numbers(&self) -> Vec<(PeerKey, SnapshotNumber)> {
        let state = self.inner().shared.state.borrow();
        let doubled = |key: &PeerKey| {
            let heads = state
                .authors
                .find(*key)
                .map_or(&[][..], |who| state.heads.of(who));
            let twice = heads
                .windows(2)
                .filter(|two| two[0].number == two[1].number);
            let mut numbers: Vec<_> = twice.map(|two| (*key, two[0].number)).collect();
            numbers.dedup();
            numbers
        };
        state.authors.keys().iter().flat_map(doubled).collect()
    }
}
