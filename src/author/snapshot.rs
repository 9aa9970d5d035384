//! Taking a snapshot, from top to bottom: walk every data set, see its chunks on keepers, sign the head, publish it, and
//! bring keepers that were away up to date.
//!
//! Nothing is signed before every chunk of the closure is durable on at least one other Box.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use serde_bytes::ByteBuf;
use smol_str::SmolStr;

use super::again::Again;
use super::asked::{AuthorIdentity, DataSetConfig, Options};
use super::closure::CatchUpError;
use super::cut::Cutter;
use super::data_set::{Common, TakenSet, put_on_shelf};
use super::error::SnapshotError;
use super::fit;
use super::instead::instead_of;
use super::known::Known;
use super::known_build;
use super::numbers::{self, Loss, State};
use super::patient::Patient;
use super::read::Reader;
use super::rebuild::{Rebuilt, are_others, rebuild, until_helped};
use super::recall::{newest_heads, recall};
use super::remembered::Remembered;
use super::replicate::{LOST_MAX, Replicator};
use super::report::{Phase, Progress, SnapshotReport, Unread};
use super::rot::Rotten;
use super::seal::Sealer;
use crate::format::encode;
use crate::format::head::{Head, Manifest, SignedHead};
use crate::format::message::Refusal;
use crate::keeper::{Ask, AskError, Keepers};
use crate::terms::limits::{DATA_SETS_MAX, MEMBERS_MAX};
use crate::terms::{ChunkId, Kind, Stamp};
use crate::world::{Clock, Disk, Entropy, World};

/// Whatever `changed` says, keepers that may help are asked again after this long.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(30);
/// Times a snapshot is begun again because taken-over chunks turned out to be nowhere.
const BEGIN_MAX: usize = 3;

/// Takes a snapshot, publishes it and, if asked to, waits until it is protected.
pub async fn snapshot<W: World, K: Keepers>(
    world: &W,
    keepers: &K,
    identity: &AuthorIdentity,
    data_sets: &[DataSetConfig],
    options: &Options,
    progress: &Rc<Progress>,
) -> Result<SnapshotReport, SnapshotError> {
    let mut report = publish(world, keepers, identity, data_sets, options, progress).await?;
    if options.wait_protected {
        protect(keepers, identity, &mut report, progress).await;
    }
    progress.phase.set(Phase::Done);
    Ok(report)
}

/// Takes a snapshot and publishes its head to every keeper that has all of its share: to one at least.
pub async fn publish<W: World, K: Keepers>(
    world: &W,
    keepers: &K,
    identity: &AuthorIdentity,
    data_sets: &[DataSetConfig],
    options: &Options,
    progress: &Rc<Progress>,
) -> Result<SnapshotReport, SnapshotError> {
    let keepers = &Patient::new(keepers.clone(), world.clock());
    let mut data_sets = data_sets.to_vec();
    data_sets.sort_by(|a, b| a.name.cmp(&b.name));
    if data_sets.is_empty() {
        return Err(SnapshotError::NoDataSets);
    }
    if data_sets.len() > DATA_SETS_MAX || data_sets.windows(2).any(|two| two[0].name == two[1].name)
    {
        return Err(SnapshotError::BadDataSets);
    }
    are_others(keepers)?;
    until_helped(world, keepers, &data_sets).await?;
    // Rarely needed, and large: it is not to be part of every snapshot's future.
    let rebuilding = rebuild(world, keepers, identity, &data_sets, options.sizes);
    let rebuilt = Box::pin(rebuilding).await?;
    let mut distrusted = BTreeSet::new();
    let mut trusts_shelf = true;
    let (mut begun, mut moved) = (1, 0);
    while begun <= BEGIN_MAX {
        let mut taking = Taking {
            world,
            keepers,
            identity,
            options,
            progress,
            rebuilt: &rebuilt,
            out: Replicator::start(world.clone(), keepers.clone(), progress.clone()),
        };
        let trust = Trust {
            distrusted: &distrusted,
            is_total: trusts_shelf && begun < BEGIN_MAX && distrusted.len() < LOST_MAX,
        };
        match taking.take(&data_sets, &trust).await {
            Ok(Ok(report)) => return Ok(report),
            Ok(Err(lost)) => distrusted.extend(lost),
            Err(SnapshotError::ShelfBroken) if trusts_shelf => trusts_shelf = false,
            // Somebody came or went while it waited for somebody: nothing that was sent has to be sent again.
            Err(SnapshotError::NobodyKeeps(Refusal::OtherPlaces)) if moved < MEMBERS_MAX => {
                are_others(keepers)?;
                moved += 1;
                continue;
            }
            Err(error) => return Err(error),
        }
        begun += 1;
    }
    Err(SnapshotError::Vanishing)
}

/// Which chunks of the previous snapshot may be taken over.
pub(super) struct Trust<'a> {
    /// Not these: nobody has them.
    pub distrusted: &'a BTreeSet<ChunkId>,
    /// All others.
    pub is_total: bool,
}

struct Taking<'a, W: World, K: Keepers> {
    world: &'a W,
    keepers: &'a K,
    identity: &'a AuthorIdentity,
    options: &'a Options,
    progress: &'a Rc<Progress>,
    rebuilt: &'a Rebuilt,
    out: Replicator<W, K>,
}

impl<W: World, K: Keepers> Taking<'_, W, K> {
    /// The inner error is the taken-over chunks that nobody has.
    async fn take(
        &mut self,
        data_sets: &[DataSetConfig],
        trust: &Trust<'_>,
    ) -> Result<Result<SnapshotReport, BTreeSet<ChunkId>>, SnapshotError> {
        let keys = &self.identity.keys;
        let sizes = self.options.sizes;
        let disk = self.world.disk();
        let mut state = State::load(disk).await?;
        let had_forgotten = state.accepted.is_empty();
        if had_forgotten {
            state.accepted.clone_from(&self.rebuilt.accepted);
        }
        let files_before = state.accepted.iter().map(|set| set.files).sum();
        let has_taken = !state.accepted.is_empty();
        self.progress.walk_begins(has_taken.then_some(files_before));
        let cutter = Cutter::new(keys.cut_seed(), &sizes);
        let sealer = || Sealer::new(keys.clone(), self.identity.suite);
        let mut reader = Reader::new(cutter, sealer()?, sizes);
        let mut dense = sealer()?;

        let taken_at = self.world.clock().wall();
        let known = Known::open(disk.clone(), trust.distrusted, trust.is_total).await;
        let rotten = Rotten::load(disk).await;
        let noted = Remembered::load(disk).await;
        let mut remembered = noted.clone();
        if had_forgotten {
            remembered.draw_as(&self.rebuilt.remembered);
        }
        let again = Again::new(self.world.clock().clone());
        // What all keepers gave up is sealed anew when it is back, and what was sealed anew may be found by its older name: it is
        // what was missing all the same.
        let called_before: Vec<_> = match state.pending {
            Some(Loss::Gone) if !self.identity.older.is_empty() => {
                let older = self.identity.older.iter();
                older.chain([&self.identity.keys]).cloned().collect()
            }
            Some(Loss::Gone | Loss::Rewritten) | None => Vec::new(),
        };
        let common = Common {
            remembered: &remembered,
            again: &again,
            world: self.world,
            rotten: &rotten,
            out: &self.out,
            keys,
            progress: self.progress,
            // A Box that remembers its last snapshot takes over what it was made of, whatever it was sealed with; not what that one lacked
            // and is back now.
            older: if trust.is_total
                && (self.rebuilt.has_index
                    || !known.is_there()
                    || state.pending == Some(Loss::Gone))
            {
                &self.identity.older
            } else {
                &[]
            },
            epochs: &self.identity.older,
            called_before: &called_before,
            known: &known,
            started: taken_at,
            trust,
            accept_loss: self.options.accept_loss,
        };
        let bytes_before = state.accepted.iter().map(|set| set.bytes).sum();
        let try_anyway = self.options.try_anyway;
        let checking = fit::check(&common, self.keepers, data_sets, bytes_before, try_anyway);
        let checked = checking.await?;
        if let Some(warning) = &checked.warning {
            tracing::warn!("{warning}");
        }
        let taking = async {
            let (mut sets, mut absent) = (Vec::new(), Vec::new());
            for config in data_sets {
                let before = state.accepted.iter().find(|set| set.name == config.name);
                let means = (&mut reader, &mut dense);
                match common.take(means, config, before).await {
                    Ok(set) => sets.push(set),
                    // One that was never taken has nothing to lose; the others are not to wait for it.
                    Err(SnapshotError::DataSetMissing { name, reason }) if before.is_none() => {
                        absent.push((name, reason));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok((sets, absent))
        };
        let counting = Box::pin(checked.count(&common, sizes.much_bytes));
        let (mut sets, mut absent) = fit::beside(taking, counting).await?;
        if sets.is_empty()
            && let Some((name, reason)) = absent.pop()
        {
            return Err(SnapshotError::DataSetMissing { name, reason });
        }
        if let Some(set) = sets
            .iter()
            .find(|_| sets.iter().all(|set| set.held.is_some()))
        {
            return Err(SnapshotError::DataSetMissing {
                name: set.manifest.name.clone(),
                reason: set
                    .held
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            });
        }
        drop(reader);
        self.progress.walk_ends();
        let manifest_sets: Vec<_> = sets.iter().map(|set| set.manifest.clone()).collect();
        let contents = *blake3::hash(&encode(&manifest_sets)).as_bytes();
        let instead = instead_of(self.keepers, self.identity, state.last().as_ref()).await;
        let is_old = self.options.only_news
            && state.contents == Some(contents)
            && !self.options.accept_loss
            && instead.is_none();
        let last = state.last().filter(|_| is_old);
        if let Some(last) = &last {
            self.out.confirm(last.head.manifest).await?;
        }
        let mut lost = self.out.land().await?;
        let last = last.filter(|last| !lost.remove(&last.head.manifest));
        if !lost.is_empty() {
            return Ok(Err(lost));
        }
        if let Some(last) = last {
            state.looked = Some(taken_at);
            state.store(disk).await?;
            remember(disk, &noted, &sets, state.pending.is_some()).await;
            let mut report = self.report(last, &mut sets, absent, checked.warning);
            report.is_unchanged = true;
            self.hand_out(&mut report).await?;
            // What was young when it was looked at last has rested by now: the next look need not doubt it.
            put_on_shelf(sets).await;
            return Ok(Ok(report));
        }

        let now: Vec<_> = sets
            .iter()
            .map(|set| (set.accepted.clone(), set.seen))
            .collect();
        let known = newest_heads(self.keepers, self.identity).await;
        state.pending = if self.options.accept_loss {
            None
        } else if had_forgotten {
            let recalled = match &self.rebuilt.recalled {
                Some(recalled) => recalled.clone(),
                None => recall(self.keepers, self.identity, &known).await,
            };
            numbers::loss_since(&recalled, &now).or_else(|| numbers::loss(&state, &now))
        } else {
            numbers::loss(&state, &now)
        };
        let fresh = self.world.entropy().bytes();
        let next = numbers::next(state.last().as_ref(), &known, instead.as_ref(), fresh);
        let manifest = Manifest {
            author: self.identity.peer(),
            number: next.number,
            data_sets: manifest_sets,
        };
        let (manifest_id, record) = dense.dense(Kind::Manifest, &manifest.encode())?;
        let manifest_bytes = record.len();
        self.progress
            .count_made(u32::try_from(manifest_bytes).unwrap_or(u32::MAX));
        self.out.submit(manifest_id, record).await?;
        self.out.land().await?;

        let head = Head {
            reserve: self.identity.reserve,
            author: self.identity.peer(),
            incarnation: next.incarnation,
            number: next.number,
            previous: next.previous,
            manifest: manifest_id,
            taken: taken_at,
            chunks: 1 + sets.iter().map(|set| set.totals.chunks).sum::<u64>(),
            sealed_bytes: manifest_bytes as u64
                + sets.iter().map(|set| set.totals.sealed_bytes).sum::<u64>(),
            accepted: state.pending.is_none(),
        };
        let head = SignedHead::sign(head, &self.identity.signing);
        self.progress.signed.replace(Some(head.clone()));
        // Remembered before anybody sees it: a number is never signed twice.
        state.head = Some(ByteBuf::from(head.encode()));
        if state.pending.is_none() {
            state.accepted = now.into_iter().map(|(set, _)| set).collect();
        }
        state.contents = Some(contents);
        state.looked = Some(taken_at);
        // From here on it is too late to end it: what is remembered goes out with the next look.
        self.progress.phase.set(Phase::Publishing);
        state.store(disk).await?;
        remember(disk, &noted, &sets, state.pending.is_some()).await;

        let mut report = self.report(head, &mut sets, absent, checked.warning);
        self.hand_out(&mut report).await?;
        let has_moved = sets.iter().any(|set| set.has_moved);
        put_on_shelf(sets).await;
        if has_moved && let Err(error) = known_build::tell(self.world, keys, data_sets).await {
            tracing::warn!(%error, "what is in packs could not be noted: a renamed small file will be stored again");
        }
        Ok(Ok(report))
    }

    fn report(
        &self,
        head: SignedHead,
        sets: &mut [TakenSet<W::Disk>],
        absent: Vec<(SmolStr, String)>,
        warning: Option<String>,
    ) -> SnapshotReport {
        let outcome = self.out.outcome();
        let mut report = SnapshotReport::bare(head, outcome.shares, self.keepers.factors().1);
        report.copies = outcome.copies;
        report.warnings.extend(warning.map(SmolStr::from));
        report.chunks_new = self.progress.chunks_new.get();
        report.bytes_new = self.progress.bytes_new.get();
        for set in sets {
            report.files += set.manifest.files;
            report.bytes += set.manifest.bytes;
            report.files_reused += set.files_reused;
            report.databases += set.databases;
            if let Some(why) = &set.held {
                report.held.push((set.manifest.name.clone(), why.clone()));
            }
            report.index_was_damaged |= set.index_was_damaged;
            report.unread_count += set.manifest.unread_count;
            report.skipped_count += set.skipped_count;
            report.add_unread(std::mem::take(&mut set.unread));
            report.add_skipped(std::mem::take(&mut set.skipped));
        }
        let absent = absent.into_iter().map(|(data_set, reason)| Unread {
            data_set,
            path: Vec::new(),
            reason: format!("it is not in the snapshot: {reason}").into(),
        });
        let absent: Vec<_> = absent.collect();
        report.unread_count += absent.len() as u64;
        report.add_unread(absent);
        report
    }

    /// Publishes the head to keepers that are complete; if there is none, completes one.
    async fn hand_out(&self, report: &mut SnapshotReport) -> Result<(), SnapshotError> {
        for share in &mut report.keepers {
            if !share.is_complete() {
                continue;
            }
            let Some(keeper) = self.keepers.reach(share.key) else {
                continue;
            };
            match keeper.put_head(report.head.clone()).await {
                Ok(()) => share.has_head = true,
                Err(AskError::Refused(refusal)) => share.refusal = Some(refusal),
                Err(AskError::Gone | AskError::Unanswered | AskError::Nonsense) => {}
            }
        }
        while report.keepers.iter().all(|share| !share.has_head) {
            let pass = catch_up_reachable(self.keepers, self.identity, report).await;
            if report.keepers.iter().any(|share| share.has_head) {
                break;
            }
            if pass.index_is_nowhere {
                return Err(SnapshotError::Vanishing);
            }
            if !pass.someone_is_away {
                let refusal = report.keepers.iter().find_map(|share| share.refusal);
                let why = refusal.map_or(AskError::Gone, AskError::Refused);
                return Err(SnapshotError::Unpublished(why));
            }
            let news = self.keepers.changed();
            self.world.clock().within(ASK_AGAIN, news).await;
        }
        Ok(())
    }
}

struct Pass {
    someone_is_away: bool,
    /// A part of the index is on nobody that can be reached.
    index_is_nowhere: bool,
}

/// Brings every keeper up to date that is behind and can be reached.
async fn catch_up_reachable<K: Keepers>(
    keepers: &K,
    identity: &AuthorIdentity,
    report: &mut SnapshotReport,
) -> Pass {
    let mut pass = Pass {
        someone_is_away: false,
        index_is_nowhere: false,
    };
    for peer in report.behind() {
        match report.catch_up(keepers, &identity.keyring, peer).await {
            Ok(()) | Err(CatchUpError::Ask(AskError::Refused(_))) => {}
            Err(
                CatchUpError::Away
                | CatchUpError::Ask(AskError::Gone | AskError::Unanswered | AskError::Nonsense),
            ) => pass.someone_is_away = true,
            Err(CatchUpError::Missing(_)) => {
                pass.someone_is_away = true;
                pass.index_is_nowhere = true;
            }
            Err(reason @ (CatchUpError::Malformed(_) | CatchUpError::Open(_))) => {
                tracing::error!(%peer, %reason, "a keeper could not be brought up to date");
            }
        }
    }
    pass
}

/// Notes what data sets hold and what is mounted below them, if that is not what was noted. What waits for a person is compared with
/// what was accepted.
async fn remember<D: Disk>(disk: &D, noted: &Remembered, sets: &[TakenSet<D>], waits: bool) {
    let mut now = Remembered::default();
    for set in sets {
        let (mut set, looked_for) = (set.remembered.clone(), set.looked_for.clone());
        if waits {
            set.sample = looked_for;
        }
        now.sets.push(set);
    }
    if now != *noted
        && let Err(error) = now.store(disk).await
    {
        tracing::warn!(%error, "what a data set held and what is mounted below it could not be noted");
    }
}

/// Brings keepers up to date until the snapshot is protected, or until none that may still come can make it so.
pub async fn protect<K: Keepers>(
    keepers: &K,
    identity: &AuthorIdentity,
    report: &mut SnapshotReport,
    progress: &Progress,
) {
    progress.phase.set(Phase::CatchingUp);
    loop {
        let pass = catch_up_reachable(keepers, identity, report).await;
        if report.is_protected() || !pass.someone_is_away {
            return;
        }
        keepers.changed().await;
    }
}

/// When this Box last found that its newest snapshot is still what is there.
pub async fn last_look<W: World>(world: &W) -> Result<Option<Stamp>, SnapshotError> {
    Ok(State::load(world.disk()).await?.looked)
}

/// The last head this Box signed, if it remembers one.
pub async fn last_head<W: World>(world: &W) -> Result<Option<SignedHead>, SnapshotError> {
    Ok(State::load(world.disk()).await?.last())
}
