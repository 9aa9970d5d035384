//! Which snapshots' heads are in the store and where: author, number, place; the heads themselves stay on disk.

use crate::format::runs::Runs;
use crate::format::segment::Location;
use crate::terms::limits::HEADS_MAX;
use crate::terms::{AuthorIndex, SnapshotNumber};

/// One head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeadPlace {
    /// Whose.
    pub author: AuthorIndex,
    /// Its place in the author's history; an author that lost its memory may have used it twice.
    pub number: SnapshotNumber,
    /// Where its frame starts.
    pub location: Location,
}

/// All of them, sorted by author, number and place; room for all is taken at start.
pub struct HeadList(Vec<HeadPlace>);

impl HeadList {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self(Vec::with_capacity(HEADS_MAX))
    }

    /// Adds one at the end while the store is being opened; [`Self::sort`] must follow. False if the list is full.
    pub fn push(&mut self, head: HeadPlace) -> bool {
        let room = self.0.len() < HEADS_MAX;
        if room {
            self.0.push(head);
        }
        room
    }

    /// Brings those pushed into order.
    pub fn sort(&mut self) {
        self.0.sort_unstable();
    }

    /// Adds one in its place. False if the list is full.
    pub fn insert(&mut self, head: HeadPlace) -> bool {
        let room = self.0.len() < HEADS_MAX;
        if room {
            let at = self.0.partition_point(|other| *other < head);
            self.0.insert(at, head);
        }
        room
    }

    /// Forgets one that turned out unreadable, so that it is taken from others again. Whether it was there.
    pub fn remove(&mut self, location: Location) -> bool {
        let before = self.0.len();
        self.0.retain(|head| head.location != location);
        self.0.len() < before
    }

    /// Forgets those of an author that left.
    pub fn remove_numbers(&mut self, author: AuthorIndex, numbers: &Runs) {
        if !numbers.is_empty() {
            self.0
                .retain(|head| head.author != author || !numbers.has(head.number));
        }
    }

    /// Some stand elsewhere now: where each stood, rising, and where it stands.
    pub fn moved(&mut self, places: &[(Location, Location)]) {
        for head in &mut self.0 {
            if let Ok(at) = places.binary_search_by_key(&head.location, |(from, _)| *from) {
                head.location = places[at].1;
            }
        }
        self.sort();
    }

    /// Where those of a segment stand, rising.
    #[must_use]
    pub fn in_segment(&self, number: u32) -> Vec<Location> {
        let places = self.0.iter().map(|head| head.location);
        let mut places: Vec<_> = places.filter(|place| place.segment() == number).collect();
        places.sort_unstable();
        places
    }

    /// Whether any stands in a segment.
    #[must_use]
    pub fn has_segment(&self, number: u32) -> bool {
        self.0.iter().any(|head| head.location.segment() == number)
    }

    /// Forgets all of a segment that is gone.
    pub fn remove_segment(&mut self, number: u32) {
        self.0.retain(|head| head.location.segment() != number);
    }

    /// Those of one author with exactly this number.
    #[must_use]
    pub fn at(&self, author: AuthorIndex, number: SnapshotNumber) -> &[HeadPlace] {
        self.between(
            |head| (head.author, head.number) < (author, number),
            |head| (head.author, head.number) <= (author, number),
        )
    }

    /// Those of one author after a number, oldest first.
    #[must_use]
    pub fn after(&self, author: AuthorIndex, number: SnapshotNumber) -> &[HeadPlace] {
        self.between(
            |head| (head.author, head.number) <= (author, number),
            |head| head.author <= author,
        )
    }

    /// The last number of one author before the first that is not here, of those after one number and up to another.
    #[must_use]
    pub fn whole_until(
        &self,
        author: AuthorIndex,
        after: SnapshotNumber,
        until: SnapshotNumber,
    ) -> SnapshotNumber {
        let mut whole = after;
        for head in self.after(author, after) {
            if head.number > until || head.number.0 > whole.0 + 1 {
                break;
            }
            whole = head.number;
        }
        whole
    }

    /// All of one author, oldest first.
    #[must_use]
    pub fn of(&self, author: AuthorIndex) -> &[HeadPlace] {
        self.between(|head| head.author < author, |head| head.author <= author)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn between(
        &self,
        before: impl Fn(&HeadPlace) -> bool,
        until: impl Fn(&HeadPlace) -> bool,
    ) -> &[HeadPlace] {
        let from = self.0.partition_point(before);
        let to = self.0.partition_point(until);
        &self.0[from..to]
    }
}

impl Default for HeadList {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(author: u16, number: u64, at: u64) -> HeadPlace {
        HeadPlace {
            author: AuthorIndex(author),
            number: SnapshotNumber(number),
            location: Location::new(1, at * 32).expect("it fits"),
        }
    }

    #[test]
    fn heads_are_found_by_author_and_number_in_whatever_order_they_came() {
        let mut list = HeadList::new();
        for head in [place(1, 2, 0), place(0, 9, 1), place(1, 1, 2)] {
            assert!(list.push(head));
        }
        list.sort();
        assert!(list.insert(place(1, 2, 3)));
        assert!(list.insert(place(2, 1, 4)));
        assert_eq!(
            list.at(AuthorIndex(1), SnapshotNumber(2)),
            [place(1, 2, 0), place(1, 2, 3)]
        );
        assert_eq!(list.after(AuthorIndex(1), SnapshotNumber(1)).len(), 2);
        assert_eq!(list.after(AuthorIndex(1), SnapshotNumber(2)), []);
        let whole = |after, until| {
            list.whole_until(AuthorIndex(1), SnapshotNumber(after), SnapshotNumber(until))
        };
        assert_eq!(
            [whole(0, 9), whole(0, 1), whole(2, 9)].map(|n| n.0),
            [2, 1, 2]
        );
        let lacking = list.whole_until(AuthorIndex(0), SnapshotNumber(3), SnapshotNumber(9));
        assert_eq!(lacking, SnapshotNumber(3), "4 to 8 are not here");
        assert_eq!(list.of(AuthorIndex(0)), [place(0, 9, 1)]);
        assert_eq!((list.of(AuthorIndex(7)).len(), list.count()), (0, 5));
    }
}
