//! What rooms know, as the control protocol shows it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Service;
use super::minding::room_view;
use super::verdict::{Facts, verdict};
use crate::author::{self, SnapshotReport};
use crate::console::control::{
    KeeperShare, PeerView, ProgressView, SnapshotOutcome, SnapshotView, StatusView, StoreView,
};
use crate::console::names::shown;
use crate::console::{memory, text};
use crate::dispatcher::EventKind;
use crate::format::head::{Head, SignedHead};
use crate::format::roster::Retention;
use crate::keeper::Store;
use crate::roster::{Member, Roster};
use crate::terms::{HeadHash, PeerKey, SnapshotNumber, Stamp};
use crate::world::{Clock, World};

/// How long after its start a service may not know yet how safe things are.
const FRESH: Duration = Duration::from_secs(30);
/// Digits of a snapshot's id: enough to tell apart what one person has.
const ID_DIGITS: usize = 8;

/// A snapshot's id, as people type it.
pub fn snapshot_id(signed: &SignedHead) -> String {
    snapshot_id_of(&signed.hash())
}

/// The same of a head's hash.
pub fn snapshot_id_of(hash: &HeadHash) -> String {
    let mut id = hash.to_string();
    id.truncate(ID_DIGITS);
    id
}

/// What people call a Box, member or former.
pub fn name_of(roster: &Roster, peer: PeerKey) -> String {
    let found = roster.member(&peer).or_else(|| {
        roster
            .former()
            .into_iter()
            .find(|member| member.key == peer)
    });
    found.map_or_else(|| peer.short(), |member| member.name.to_string())
}

/// A snapshot as lists show it.
pub fn snapshot_view(roster: &Roster, signed: &SignedHead, holders: &[PeerKey]) -> SnapshotView {
    let head = &signed.head;
    SnapshotView {
        id: snapshot_id(signed),
        author: name_of(roster, head.author),
        author_key: head.author.to_string(),
        number: head.number.0,
        taken: text::utc(head.taken.seconds),
        taken_seconds: head.taken.seconds,
        chunks: head.chunks,
        sealed_bytes: head.sealed_bytes,
        held_by: holders.iter().map(|peer| name_of(roster, *peer)).collect(),
        accepted: head.accepted,
        is_lacking: false,
        kept_by: None,
        is_leaving: false,
        gone_in_seconds: None,
        data_sets: None,
    }
}

/// Says of each snapshot why the rule of retention keeps it, author by author.
pub fn say_what_is_kept(rule: &Retention, list: &mut [SnapshotView]) {
    let authors: BTreeSet<String> = list.iter().map(|one| one.author_key.clone()).collect();
    for author in authors {
        let mut of_author: Vec<_> = list
            .iter_mut()
            .filter(|one| one.author_key == author)
            .collect();
        let aged: Vec<_> = of_author
            .iter()
            .map(|one| author::Aged {
                number: SnapshotNumber(one.number),
                taken: Stamp {
                    seconds: one.taken_seconds,
                    nanos: 0,
                },
                is_accepted: one.accepted,
            })
            .collect();
        for (one, why) in of_author.iter_mut().zip(author::kept(rule, &aged)) {
            one.kept_by = why.map(|reason| reason.name().to_owned());
        }
    }
}

/// A Box as lists show it.
pub fn peer_view(
    member: &Member,
    me: PeerKey,
    connected: bool,
    version: Option<String>,
) -> PeerView {
    PeerView {
        name: member.name.to_string(),
        key: member.key.to_string(),
        site: member.site.to_string(),
        addresses: member.addresses.iter().map(ToString::to_string).collect(),
        is_me: member.key == me,
        connected,
        version,
        room: None,
        kept_bytes: 0,
    }
}

/// What a Box keeps for the others.
pub fn store_view<W: World>(store: &Store<W>) -> StoreView {
    let (figures, space) = (store.figures(), store.space());
    StoreView {
        chunks: figures.chunks as u64,
        chunks_max: figures.chunks_max as u64,
        bytes: figures.disk_bytes,
        live_bytes: space.live_bytes,
        released_bytes: space.released_bytes,
        reclaimable_bytes: space.reclaimable_bytes,
        free_bytes: figures.room_bytes,
        damaged: figures.damaged,
        damaged_at_start: 0,
        quota_bytes: figures.quota_bytes_per_author,
        segments: (
            u64::from(figures.segments),
            figures.segments_verified as u64,
        ),
        verified_seconds: figures.verified_oldest.map(|stamp| stamp.seconds),
        segments_read: figures.segments_read as u64,
        read_seconds: figures.read_oldest.map(|stamp| stamp.seconds),
        sweep_period_days: figures.sweep_period_days,
        syncs: figures.fdatasyncs,
        asked: figures.asked,
        copies: None,
    }
}

/// How far a snapshot is, for people.
pub fn progress(progress: &author::Progress) -> ProgressView {
    let phase = match progress.phase.get() {
        author::Phase::Starting => "starting",
        author::Phase::Walking => "reading",
        author::Phase::Landing => "waiting for keepers",
        author::Phase::Publishing => "publishing",
        author::Phase::CatchingUp => "keepers catch up",
        author::Phase::Done => "done",
    };
    let (files, bytes_read) = (progress.files.get(), progress.bytes_read.get());
    // What was looked at ahead may have grown since.
    let files_total = progress.files_ahead.get();
    let bytes_total = progress.bytes_ahead.get();
    ProgressView {
        phase: phase.into(),
        files,
        files_total: files_total.map(|total| total.max(files)),
        bytes: progress.bytes.get(),
        bytes_read,
        bytes_total: bytes_total.map(|total| total.max(bytes_read)),
        bytes_sent: progress.bytes_sent.get(),
        path: shown(&progress.path.borrow()),
        counted: None,
    }
}

/// A snapshot's end, for people.
pub fn outcome(
    roster: &Roster,
    report: &SnapshotReport,
    progress: &author::Progress,
    data_sets: usize,
) -> SnapshotOutcome {
    let holders: Vec<_> = report
        .keepers
        .iter()
        .filter(|share| share.has_head)
        .map(|share| share.key)
        .collect();
    // With one data set a path inside it says everything.
    let place = |unread: &author::Unread| {
        let path = shown(&unread.path);
        if data_sets == 1 {
            path
        } else {
            format!("{}/{path}", unread.data_set)
        }
    };
    let sent = progress.sent.borrow();
    let sent_to = |share: &author::KeeperShare| sent.get(&share.key).copied().unwrap_or_default();
    let share = |share: &author::KeeperShare| KeeperShare {
        name: name_of(roster, share.key),
        needed: share.needed,
        confirmed: share.confirmed,
        sent_chunks: sent_to(share).0,
        sent_bytes: sent_to(share).1,
        refused: share.refusal.map(|refusal| refusal.to_string()),
    };
    SnapshotOutcome {
        snapshot: snapshot_view(roster, &report.head, &holders),
        protected: report.is_protected(),
        copies: u32::from(report.copies),
        factor_min: u32::from(report.copies_min),
        files_read: report.files.saturating_sub(report.files_reused),
        bytes_read: progress.bytes_read.get(),
        bytes_sent: progress.bytes_sent.get(),
        chunks_new: report.chunks_new,
        bytes_new: report.bytes_new,
        chunks_sealed: progress.chunks_sealed.get(),
        bytes_sealed: progress.bytes_sealed.get(),
        unchanged: report.is_unchanged,
        held: report
            .held
            .iter()
            .map(|(name, why)| (name.to_string(), why.to_string()))
            .collect(),
        warnings: report.warnings.iter().map(ToString::to_string).collect(),
        databases: report.databases,
        unread: report
            .unread
            .iter()
            .map(|unread| (place(unread), shown(unread.reason.as_bytes())))
            .collect(),
        unread_count: report.unread_count,
        skipped: report.skipped_count,
        keepers: report.keepers.iter().map(share).collect(),
    }
}

impl<W: World> Service<W> {
    /// The Boxes.
    pub fn peers(&self) -> Vec<PeerView> {
        let me = self.me();
        let kept = self.store().claimed_bytes();
        let view = |member: &Member| {
            let session = self.mesh().and_then(|mesh| mesh.session(member.key));
            let version = session
                .as_ref()
                .map(|session| session.hello().version.to_string());
            let mut view = peer_view(member, me, session.is_some() || member.key == me, version);
            view.room = self.room_of(member.key).as_ref().map(room_view);
            view.kept_bytes = kept
                .iter()
                .find(|(author, _)| *author == member.key)
                .map_or(0, |(_, bytes)| *bytes);
            view
        };
        self.roster().members().iter().map(view).collect()
    }

    /// When the newest snapshot was as this Box is: when it was taken, or looked at since and found to be what is there.
    pub(super) fn up_to_date(&self, head: &Head) -> i64 {
        let looked = self.0.looked.get().map(|looked| looked.seconds);
        head.taken.seconds.max(looked.unwrap_or(i64::MIN))
    }

    /// One screen.
    pub async fn status(&self) -> StatusView {
        let roster = self.roster();
        let (factor, factor_min) = roster.factors();
        let standing = self.standing().await;
        let peers = self.peers();
        let head = standing.as_ref().map(|(signed, _)| &signed.head);
        let (last_failure, unread_count) = match self.last_snapshot_end() {
            Some(Ok(outcome)) => (None, outcome.unread_count),
            Some(Err(fault)) => (Some(fault.what), self.unread_before()),
            None => (None, self.unread_before()),
        };
        let proven = standing
            .as_ref()
            .and_then(|(_, standing)| standing.last_proven);
        let up_to_date = head.map(|head| self.up_to_date(head));
        let facts = Facts {
            is_out: roster.member(&self.me()).is_none(),
            store_lost: self.store_lost(),
            has_data: !self.0.data.borrow().is_empty(),
            others: peers.iter().filter(|peer| !peer.is_me).count(),
            copies: standing.as_ref().map_or(0, |(_, standing)| standing.copies),
            factor_min: u32::from(factor_min),
            taken: up_to_date,
            proven: proven.map(|stamp| stamp.seconds),
            accepted: head.is_none_or(|head| head.accepted),
            away: peers
                .iter()
                .filter(|peer| !peer.connected)
                .map(|peer| peer.name.clone())
                .collect(),
            is_cut_off: {
                let away = self.reporter().subjects_of(EventKind::BoxOutOfReach);
                peers.iter().all(|peer| peer.is_me || !peer.connected)
                    && away.len() + 1 >= peers.len()
            },
            refused: self
                .willing()
                .1
                .into_iter()
                .map(|(name, why)| format!("{name}: {why}"))
                .collect(),
            failure: last_failure.clone().or_else(|| self.failure_before()),
            unread: unread_count,
            missing: self.missing_data_sets(),
            period: self.0.period.get(),
            is_taking: self.running_snapshot().is_some(),
            is_fresh: self.world().clock().now().since(self.0.began) < FRESH,
        };
        let (safe, sentence, todo) = verdict(&facts, self.world().clock().wall().seconds);
        let mut store = store_view(self.store());
        store.damaged_at_start = self.0.damaged_at_start.get();
        store.copies = self.copies_view();
        let (mending, mending_since_seconds) = self.mending_view();
        StatusView {
            sentence,
            todo,
            safe,
            name: self.0.name.to_string(),
            running: true,
            latest: standing
                .as_ref()
                .map(|(signed, _)| snapshot_view(&roster, signed, &[])),
            up_to_date_seconds: up_to_date,
            copies: facts.copies,
            factor: u32::from(factor),
            factor_min: facts.factor_min,
            since_seconds: standing
                .as_ref()
                .and_then(|(_, standing)| standing.since)
                .map(|stamp| stamp.seconds),
            proven_seconds: facts.proven,
            data: self
                .0
                .data
                .borrow()
                .iter()
                .map(|set| (set.name.to_string(), set.path.clone()))
                .collect(),
            peers,
            store: Some(store),
            memory_bytes: memory::of_self(),
            job: self.running_snapshot().map(|job| job.progress(&roster)),
            last_failure,
            unread_count,
            standing: self.standing_events(),
            mending,
            mending_since_seconds,
            former: self.former_views(),
            released: self.released_views(),
            conflicts: self.open_conflicts(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(author: &str, number: u64, accepted: bool) -> SnapshotView {
        SnapshotView {
            id: format!("{author}{number}"),
            author: author.into(),
            author_key: author.into(),
            number,
            taken: String::new(),
            taken_seconds: 1_795_000_000,
            chunks: 1,
            sealed_bytes: 1,
            held_by: Vec::new(),
            accepted,
            is_lacking: false,
            kept_by: None,
            is_leaving: false,
            gone_in_seconds: None,
            data_sets: None,
        }
    }

    #[test]
    fn each_author_has_its_own_reasons_and_what_has_none_is_said() {
        let mut list: Vec<_> = (1..=3)
            .rev()
            .flat_map(|number| [view("a", number, true), view("b", number, number < 3)])
            .collect();
        say_what_is_kept(&Retention::default(), &mut list);
        assert!(list.iter().all(|one| one.kept_by.as_deref() == Some("all")));
        let rule = Retention {
            last: 1,
            ..Retention::default()
        };
        say_what_is_kept(&rule, &mut list);
        let why: Vec<_> = list.iter().map(|one| one.kept_by.as_deref()).collect();
        let latest = Some("latest");
        assert_eq!(why, [latest, Some("waits"), None, latest, None, None]);
        let told = text::snapshots(&list, 1_795_000_000);
        assert!(told.contains("no reason to keep 3 of these"), "{told}");
    }
}
