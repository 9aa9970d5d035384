//! Gathers chunks in the keeper process: local store first, then the members that should have it, several at once.
//!
//! What comes back is verified against its name and opened here; a keeper that is wrong, empty, gone or slow costs
//! time and nothing else. Invariant: at most [`FETCHES_MAX`] fetches are in flight, whoever asks.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::standing::{LEAN_EMPTY, LEAN_MAX, Standing, Standings};
use super::together::Together;
use super::{FetchError, Outcome, Source};
use crate::format::keys::DataKeys;
use crate::format::record::{self, OpenError, RecordHeader};
use crate::keeper::{Ask, AskError, Keepers, MemberView};
use crate::terms::canary::{self, Canary};
use crate::terms::limits::CUT_BYTES_AVERAGE;
use crate::terms::{ChunkId, KeyEpoch, Kind, PeerKey};
use crate::world::{Clock, Moment, World};

/// Fetches in flight: each holds a record and its plaintext, 4 MiB at the very most and 1 to 2 usually.
const FETCHES_MAX: usize = 6;
/// When all were asked, this many more patiences are waited before those that are silent are given up.
const LAST_PATIENCES: u32 = 3;
/// For one chunk, keepers that come back are asked again so often.
const RETURNS_MAX: u32 = 8;
/// Finds the data keys of an epoch, if this Box has them.
type Keyring = Rc<dyn Fn(KeyEpoch) -> Option<DataKeys>>;

/// Gathers chunks from the keepers of the reserve.
pub struct Gather<K: Keepers, W: World> {
    keepers: K,
    world: W,
    keyring: Keyring,
    slots: Rc<Semaphore>,
    standings: Standings,
}

impl<K: Keepers, W: World> Clone for Gather<K, W> {
    fn clone(&self) -> Self {
        Self {
            keepers: self.keepers.clone(),
            world: self.world.clone(),
            keyring: self.keyring.clone(),
            slots: self.slots.clone(),
            standings: self.standings.clone(),
        }
    }
}

type Answer = (PeerKey, Result<Option<Vec<u8>>, AskError>);

impl<K: Keepers, W: World> Gather<K, W> {
    /// Gathers over these keepers; `keyring` finds the data keys of an epoch.
    pub fn new(
        keepers: K,
        world: W,
        keyring: impl Fn(KeyEpoch) -> Option<DataKeys> + 'static,
    ) -> Self {
        Self {
            keepers,
            world,
            keyring: Rc::new(keyring),
            slots: Rc::new(Semaphore::new(FETCHES_MAX)),
            standings: Standings::default(),
        }
    }

    /// The verified record of a chunk, sealed as it is. When nobody has it, those that only fell away a moment ago are asked once they
    /// are there again: a file is not given up for a link that broke.
    async fn record(&self, id: ChunkId, kind: Kind) -> Result<Vec<u8>, FetchError> {
        let mut answer = self.record_from(id, kind, self.order(id)).await;
        for _ in 0..RETURNS_MAX {
            let Err(FetchError::Nowhere { asked, .. }) = &mut answer else {
                break;
            };
            let Some(peer) = self.first_back(asked).await else {
                break;
            };
            asked.retain(|(other, _)| *other != peer);
            let before = std::mem::take(asked);
            answer = self.record_from(id, kind, [peer].into()).await;
            if let Err(FetchError::Nowhere { asked, .. }) = &mut answer {
                asked.extend(before);
            }
        }
        answer
    }

    /// The first that is there again of those that fell away.
    async fn first_back(&self, asked: &[(PeerKey, Outcome)]) -> Option<PeerKey> {
        let mut returns = Together::new();
        for (peer, outcome) in asked {
            if matches!(outcome, Outcome::Gone | Outcome::NotReachable) {
                let (keepers, peer) = (self.keepers.clone(), *peer);
                returns.add(async move { keepers.returning(peer).await.map(|_| peer) });
            }
        }
        while let Some(back) = returns.next().await {
            if back.is_some() {
                return back;
            }
        }
        None
    }

    /// From one of these.
    async fn record_from(
        &self,
        id: ChunkId,
        kind: Kind,
        mut next: VecDeque<PeerKey>,
    ) -> Result<Vec<u8>, FetchError> {
        let mut asked = Vec::new();
        let mut asks: Together<Answer> = Together::new();
        let mut open: Vec<(PeerKey, Moment)> = Vec::new();
        let mut waits_left = LAST_PATIENCES;
        loop {
            if asks.is_empty() {
                let Some(peer) = self.ask(id, kind, &mut next, &mut asks, &mut asked) else {
                    return Err(FetchError::Nowhere { id, asked });
                };
                open.push((peer, self.world.clock().now()));
            }
            let patience = self.patience(open.last());
            match self.world.clock().within(patience, asks.next()).await {
                Some(None) => {}
                Some(Some((peer, answer))) => {
                    open.retain(|(other, _)| *other != peer);
                    match judge(id, answer, peer == self.keepers.me()) {
                        Ok(record) => {
                            self.standings.had_it(peer);
                            return Ok(record);
                        }
                        Err(outcome) => {
                            let by = match outcome {
                                Outcome::Absent | Outcome::Refused(_) => -1,
                                Outcome::Wrong | Outcome::Silent => -LEAN_MAX,
                                Outcome::Gone | Outcome::NotReachable => 0,
                            };
                            self.standings.leans(peer, by);
                            asked.push((peer, outcome));
                            let another = self.ask(id, kind, &mut next, &mut asks, &mut asked);
                            open.extend(another.map(|peer| (peer, self.world.clock().now())));
                        }
                    }
                }
                None => {
                    // It may have told somebody else something meanwhile: then it is not stuck.
                    if !self.patience(open.last()).is_zero() {
                        continue;
                    }
                    if let Some((slow, _)) = open.last() {
                        self.standings.leans(*slow, LEAN_EMPTY);
                    }
                    match self.ask(id, kind, &mut next, &mut asks, &mut asked) {
                        Some(peer) => {
                            self.standings.spend();
                            open.push((peer, self.world.clock().now()));
                        }
                        None if waits_left > 0 => {
                            waits_left -= 1;
                            for (_, since) in &mut open {
                                *since = self.world.clock().now();
                            }
                        }
                        None => {
                            let silent = open.into_iter();
                            asked.extend(silent.map(|(peer, _)| (peer, Outcome::Silent)));
                            return Err(FetchError::Nowhere { id, asked });
                        }
                    }
                }
            }
        }
    }

    /// How long the peer asked last may still take before another is asked as well.
    fn patience(&self, asked: Option<&(PeerKey, Moment)>) -> Duration {
        asked.map_or(Duration::ZERO, |(peer, since)| {
            self.standings
                .patience(*peer, *since, self.world.clock().now())
        })
    }

    /// Asks the next peer in line that can be reached; those that cannot are noted.
    fn ask(
        &self,
        id: ChunkId,
        kind: Kind,
        line: &mut VecDeque<PeerKey>,
        asks: &mut Together<Answer>,
        asked: &mut Vec<(PeerKey, Outcome)>,
    ) -> Option<PeerKey> {
        while let Some(peer) = line.pop_front() {
            let Some(keeper) = self.keepers.reach(peer) else {
                if peer != self.keepers.me() {
                    asked.push((peer, Outcome::NotReachable));
                }
                continue;
            };
            let on_the_way = self.standings.expect(peer, expected_bytes(kind));
            let (standings, clock) = (self.standings.clone(), self.world.clock().clone());
            asks.add(async move {
                let asked_at = clock.now();
                let answer = keeper.get(id).await;
                drop(on_the_way);
                let bytes = answer
                    .as_ref()
                    .ok()
                    .and_then(Option::as_ref)
                    .map_or(0, Vec::len);
                standings.heard(peer, asked_at, clock.now(), bytes as u64);
                (peer, answer)
            });
            return Some(peer);
        }
        None
    }

    /// Whom to ask in which order.
    fn order(&self, id: ChunkId) -> VecDeque<PeerKey> {
        let me = self.keepers.me();
        let members = self.keepers.members();
        let (factor, _) = self.keepers.factors();
        let mut line: VecDeque<PeerKey> =
            line_up(&ranking(id, &members, me), usize::from(factor), |peer| {
                self.standings.of(peer)
            })
            .into();
        line.push_front(me);
        line
    }
}

impl<K: Keepers, W: World> Source for Gather<K, W> {
    async fn fetch(&self, id: ChunkId, kind: Kind) -> Result<Vec<u8>, FetchError> {
        let _slot = self
            .slots
            .acquire()
            .await
            .expect("this semaphore is never closed");
        let record = self.record(id, kind).await?;
        let closed = |why| FetchError::Closed { id, why };
        let header = RecordHeader::of(&record).map_err(|why| closed(why.into()))?;
        if header.kind != kind {
            return Err(FetchError::OtherKind {
                id,
                wanted: kind,
                found: header.kind,
            });
        }
        let keys =
            (self.keyring)(header.epoch).ok_or(closed(OpenError::OtherEpoch(header.epoch)))?;
        let (_, plain) = record::open(&keys, record).map_err(closed)?;
        Ok(plain)
    }
}

/// What an answer is worth. Our own store has compared the name of what it read, just now and here.
fn judge(
    id: ChunkId,
    answer: Result<Option<Vec<u8>>, AskError>,
    is_own: bool,
) -> Result<Vec<u8>, Outcome> {
    match answer {
        Ok(Some(record))
            if is_own
                || record::id_of(&record) == id
                || canary::sings(Canary::SkipVerification) =>
        {
            Ok(record)
        }
        Ok(Some(_)) | Err(AskError::Nonsense) => Err(Outcome::Wrong),
        Ok(None) => Err(Outcome::Absent),
        Err(AskError::Gone) => Err(Outcome::Gone),
        Err(AskError::Unanswered) => Err(Outcome::Silent),
        Err(AskError::Refused(refusal)) => Err(Outcome::Refused(refusal)),
    }
}

/// Other members in the order in which placement chooses keepers for this name: rendezvous, the best of each site first.
/// The same rule as placement's own; it stands here because this side does not know the author, whom placement leaves out,
/// and because asking in another order costs time only.
fn ranking(id: ChunkId, members: &[MemberView], me: PeerKey) -> Vec<PeerKey> {
    let score = |member: &&MemberView| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&id.0);
        hasher.update(&member.key.0);
        Reverse(*hasher.finalize().as_bytes())
    };
    let mut scored: Vec<&MemberView> = members.iter().collect();
    scored.sort_by_cached_key(score);
    let mut sites = BTreeSet::new();
    let (firsts, rest): (Vec<_>, Vec<_>) = scored
        .into_iter()
        .partition(|member| sites.insert(&member.site));
    let ranked = firsts.into_iter().chain(rest).map(|member| member.key);
    ranked.filter(|key| *key != me).collect()
}

/// Likely holders first, those that lately had nothing last; among equals the one with the least on its way.
fn line_up(
    ranked: &[PeerKey],
    factor: usize,
    standing: impl Fn(PeerKey) -> Standing,
) -> Vec<PeerKey> {
    let mut line: Vec<(u8, u64, usize, PeerKey)> = ranked
        .iter()
        .enumerate()
        .map(|(rank, peer)| {
            let standing = standing(*peer);
            // The author's own Box is passed over when copies are placed, so the likely ones are one more.
            let class = match () {
                () if standing.lean <= LEAN_EMPTY => 2,
                () if rank > factor => 1,
                () => 0,
            };
            (class, standing.in_flight_bytes, rank, *peer)
        })
        .collect();
    line.sort_unstable();
    line.into_iter().map(|(.., peer)| peer).collect()
}

/// What a chunk of this kind weighs before it is known.
const fn expected_bytes(kind: Kind) -> u64 {
    match kind {
        Kind::Data => CUT_BYTES_AVERAGE as u64,
        Kind::Page | Kind::Node | Kind::Manifest => 64 << 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEERS: [PeerKey; 4] = [
        PeerKey([1; 32]),
        PeerKey([2; 32]),
        PeerKey([3; 32]),
        PeerKey([4; 32]),
    ];

    fn lined_up(factor: usize, standings: [(u64, i8); 4]) -> Vec<u8> {
        let standing = |peer: PeerKey| {
            let (in_flight_bytes, lean) = standings[usize::from(peer.0[0]) - 1];
            Standing {
                in_flight_bytes,
                lean,
                ..Standing::default()
            }
        };
        let line = line_up(&PEERS, factor, standing);
        line.into_iter().map(|peer| peer.0[0]).collect()
    }

    #[test]
    fn likely_holders_come_first_then_the_rest_and_the_empty_ones_last() {
        assert_eq!(lined_up(3, [(0, 0); 4]), [1, 2, 3, 4]);
        assert_eq!(lined_up(3, [(9, 0), (0, 0), (5, 0), (1, 0)]), [2, 4, 3, 1]);
        assert_eq!(lined_up(1, [(9, 0), (8, 0), (0, 0), (0, 0)]), [2, 1, 3, 4]);
        assert_eq!(lined_up(3, [(0, -8), (9, 0), (9, 8), (9, 0)]), [2, 3, 4, 1]);
    }

    fn members(sites: [&str; 4]) -> Vec<MemberView> {
        let member = |(key, site): (PeerKey, &str)| MemberView {
            key,
            name: key.short().into(),
            site: site.into(),
        };
        PEERS.into_iter().zip(sites).map(member).collect()
    }

    #[test]
    fn each_name_has_a_ranking_of_its_own_that_does_not_depend_on_the_order_of_members() {
        let members = members(["a", "b", "c", "d"]);
        let backwards: Vec<MemberView> = members.iter().rev().cloned().collect();
        let me = PeerKey([9; 32]);
        let mut firsts = BTreeSet::new();
        for n in 0..64 {
            let id = ChunkId([n; 32]);
            let ranked = ranking(id, &members, me);
            assert_eq!(ranked, ranking(id, &backwards, me));
            firsts.insert(ranked[0]);
        }
        assert_eq!(firsts.len(), PEERS.len());
        assert_eq!(ranking(ChunkId([0; 32]), &members, PEERS[2]).len(), 3);
    }

    #[test]
    fn the_best_of_each_site_is_asked_before_its_neighbours() {
        let members = members(["a", "a", "a", "b"]);
        for n in 0..64 {
            let ranked = ranking(ChunkId([n; 32]), &members, PeerKey([9; 32]));
            assert!(ranked[..2].contains(&PEERS[3]));
        }
    }
}
