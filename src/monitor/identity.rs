//! Whether a Box runs twice: the same identity on two machines at once, most likely after its disk was copied. Pure.
//!
//! Of another Box: each process draws a number at its start and says it in its hello. A Box that is started anew says another one and never
//! the one before; two processes take turns, since each call of the one ends the session of the other ([`Processes`]). Of this Box itself:
//! another process signed a snapshot between two that this process signed ([`Signed`]).

use std::collections::BTreeMap;

use crate::format::head::SignedHead;
use crate::terms::{HeadHash, PeerKey, SnapshotNumber};
use crate::world::Moment;

/// Processes of one Box that are remembered.
const REMEMBERED_MAX: usize = 4;
/// Returns of a process that was followed by another, before it is believed: a call that was long on its way may look like one.
const RETURNS_MIN: u32 = 3;
/// Heads that this process signed and remembers: it may go on from any of them, where its disk lost the later ones.
const SIGNED_MAX: usize = 8;

/// Which processes of each Box were met, and when two took turns.
#[derive(Debug, Clone, Default)]
pub struct Processes(BTreeMap<PeerKey, Met>);

#[derive(Debug, Clone, Default)]
struct Met {
    /// The newest last.
    boots: heapless::Vec<u64, REMEMBERED_MAX>,
    returns: u32,
    returned: Option<Moment>,
}

impl Processes {
    /// A process of a Box was met.
    pub fn met(&mut self, peer: PeerKey, boot: u64, now: Moment) {
        let met = self.0.entry(peer).or_default();
        if met.boots.last() == Some(&boot) {
            return;
        }
        match met.boots.iter().position(|known| *known == boot) {
            Some(at) => {
                met.boots.remove(at);
                met.returns += 1;
                met.returned = Some(now);
            }
            None if met.boots.is_full() => {
                met.boots.remove(0);
            }
            None => {}
        }
        // There is room: one was removed if it was full.
        let _ = met.boots.push(boot);
    }

    /// When two processes of a Box last took turns, if they did.
    #[must_use]
    pub fn runs_twice(&self, peer: &PeerKey) -> Option<Moment> {
        let met = self.0.get(peer)?;
        met.returned.filter(|_| met.returns >= RETURNS_MIN)
    }

    /// It is over: from here on turns are counted anew.
    pub fn forget(&mut self, peer: &PeerKey) {
        self.0.remove(peer);
    }
}

/// What a head that this process signed goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoesOn {
    /// From one it signed itself: nobody signed for this Box in between.
    FromOwn,
    /// From one that another process signed since.
    FromAnother,
    /// From one that says nothing of that.
    FromBefore,
}

/// What this process of this Box signed, and when another process was found to have signed in between.
///
/// A head counts from when it was signed, whether its snapshot was published or not: the next one goes on from it all the same.
#[derive(Debug, Clone, Default)]
pub struct Signed {
    /// The newest last.
    heads: heapless::Vec<HeadHash, SIGNED_MAX>,
    newest: Option<SnapshotNumber>,
    overtaken: Option<Moment>,
}

impl Signed {
    /// This process signed a head. Where a person chose what it goes on from, it does not matter who signed that.
    pub fn sign(&mut self, signed: &SignedHead, is_chosen: bool, now: Moment) -> GoesOn {
        let (number, previous) = (signed.head.number, signed.head.previous);
        let is_further = self
            .newest
            .is_some_and(|newest| number.0 > newest.0.saturating_add(1));
        let goes_on = match previous {
            Some(previous) if self.heads.contains(&previous) => GoesOn::FromOwn,
            // What stands no further on than what this process signed last may be older than this process: its disk forgot the last one.
            Some(_) if is_further && !is_chosen => {
                self.overtaken = Some(now);
                GoesOn::FromAnother
            }
            Some(_) | None => GoesOn::FromBefore,
        };
        if self.heads.is_full() {
            self.heads.remove(0);
        }
        // There is room: one was removed if it was full.
        let _ = self.heads.push(signed.hash());
        self.newest = self.newest.max(Some(number));
        goes_on
    }

    /// When another process was last found to have signed, if one was.
    #[must_use]
    pub const fn overtaken(&self) -> Option<Moment> {
        self.overtaken
    }

    /// Whether a number stands further on than all that this process signed. One that signed nothing has nothing to say to that.
    #[must_use]
    pub fn is_behind(&self, known: SnapshotNumber) -> bool {
        self.newest.is_some_and(|newest| known > newest)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::format::head::Head;
    use crate::terms::{ChunkId, ReserveId, Stamp};

    const HOME: PeerKey = PeerKey([1; 32]);

    fn told(boots: &[u64]) -> Option<u64> {
        let mut processes = Processes::default();
        for (second, boot) in boots.iter().enumerate() {
            processes.met(HOME, *boot, Moment(Duration::from_secs(second as u64)));
        }
        processes.runs_twice(&HOME).map(|moment| moment.0.as_secs())
    }

    #[test]
    fn a_box_that_is_started_anew_however_often_runs_once() {
        assert_eq!(told(&[1, 1, 2, 2, 3, 4, 5, 6, 7, 7, 8]), None);
    }

    #[test]
    fn two_that_take_turns_are_noticed_and_a_single_late_call_is_not() {
        assert_eq!(
            told(&[1, 2, 1, 2]),
            None,
            "one late call, and the answer to it"
        );
        assert_eq!(told(&[1, 2, 1, 2, 1]), Some(4));
        assert_eq!(told(&[1, 2, 3, 1, 2, 3, 3]), Some(5), "three machines");
    }

    #[test]
    fn what_is_over_is_counted_anew() {
        let mut processes = Processes::default();
        for boot in [1, 2, 1, 2, 1] {
            processes.met(HOME, boot, Moment(Duration::ZERO));
        }
        processes.forget(&HOME);
        processes.met(HOME, 2, Moment(Duration::ZERO));
        assert_eq!(processes.runs_twice(&HOME), None);
    }

    fn head(number: u64, manifest: u8, previous: Option<&SignedHead>) -> SignedHead {
        let key = SigningKey::from_bytes(&[3; 32]);
        let head = Head {
            reserve: ReserveId([1; 16]),
            author: HOME,
            incarnation: [4; 8],
            number: SnapshotNumber(number),
            previous: previous.map(SignedHead::hash),
            manifest: ChunkId([manifest; 32]),
            taken: Stamp::default(),
            chunks: 1,
            sealed_bytes: 1,
            accepted: true,
        };
        SignedHead::sign(head, &key)
    }

    /// What each of these comes to, signed one after the other by one process.
    fn signed(heads: &[&SignedHead]) -> (Signed, Vec<GoesOn>) {
        let mut signed = Signed::default();
        let came = heads
            .iter()
            .map(|head| signed.sign(head, false, Moment(Duration::from_secs(head.head.number.0))));
        let came = came.collect();
        (signed, came)
    }

    #[test]
    fn one_that_was_signed_between_two_of_this_process_is_another_ones() {
        let older = head(4, 1, None);
        let mine = head(5, 1, Some(&older));
        let others = head(6, 2, Some(&mine));
        let next = head(7, 1, Some(&others));
        let after = head(8, 1, Some(&next));
        let (signed, came) = signed(&[&mine, &next, &after]);
        let wanted = [GoesOn::FromBefore, GoesOn::FromAnother, GoesOn::FromOwn];
        assert_eq!(came, wanted);
        assert_eq!(signed.overtaken(), Some(Moment(Duration::from_secs(7))));
    }

    #[test]
    fn what_this_box_signed_before_this_process_began_says_nothing() {
        let (before, older) = (head(4, 1, None), head(3, 1, None));
        let mine = head(5, 1, Some(&before));
        // Its disk lost that, and all that came after `before`, or after `older`.
        for forgot in [
            head(5, 2, Some(&before)),
            head(4, 2, Some(&older)),
            head(1, 2, None),
        ] {
            let (signed, came) = signed(&[&mine, &forgot]);
            assert_eq!(came, [GoesOn::FromBefore; 2]);
            assert_eq!(signed.overtaken(), None);
        }
    }

    #[test]
    fn one_that_was_never_published_is_its_own_and_so_is_any_it_falls_back_to() {
        let first = head(1, 1, None);
        let unpublished = head(2, 1, Some(&first));
        let next = head(3, 1, Some(&unpublished));
        let fallen_back = head(3, 2, Some(&unpublished));
        let (signed, came) = signed(&[&first, &unpublished, &next, &fallen_back]);
        assert_eq!(came[1..], [GoesOn::FromOwn; 3]);
        assert_eq!(signed.overtaken(), None);
    }

    #[test]
    fn only_one_that_signed_something_can_be_behind() {
        let newest = SnapshotNumber(9);
        assert!(!Signed::default().is_behind(newest));
        let (signed, _) = signed(&[&head(8, 1, None)]);
        assert!(signed.is_behind(newest));
        assert!(!signed.is_behind(SnapshotNumber(8)));
    }

    #[test]
    fn going_on_from_what_a_person_chose_is_no_sign_of_another_process() {
        let mine = head(5, 1, None);
        let chosen = head(5, 2, None);
        let mut signed = Signed::default();
        signed.sign(&mine, false, Moment(Duration::ZERO));
        let next = head(9, 1, Some(&chosen));
        let came = signed.sign(&next, true, Moment(Duration::ZERO));
        assert_eq!((came, signed.overtaken()), (GoesOn::FromBefore, None));
    }

    #[test]
    fn what_is_remembered_of_heads_is_bounded() {
        let mut signed = Signed::default();
        let mut last = None;
        for number in 1..=2 * SIGNED_MAX as u64 {
            let next = head(number, 1, last.as_ref());
            let came = signed.sign(&next, false, Moment(Duration::ZERO));
            assert_eq!(came == GoesOn::FromOwn, number > 1);
            last = Some(next);
        }
        assert_eq!(signed.heads.len(), SIGNED_MAX);
    }
}
