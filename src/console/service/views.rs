//! What rooms know, as the control protocol shows it.

use super::Service;
use crate::author::{self, SnapshotReport};
use crate::console::control::{
    KeeperShare, PeerView, ProgressView, SnapshotOutcome, SnapshotView, StatusView, StoreView,
};
use crate::console::{memory, text};
use crate::format::head::SignedHead;
use crate::keeper::Store;
use crate::roster::{Member, Roster};
use crate::terms::PeerKey;
use crate::world::World;

/// Digits of a snapshot's id: enough to tell apart what one person has.
const ID_DIGITS: usize = 8;

/// A snapshot's id, as people type it.
pub fn snapshot_id(signed: &SignedHead) -> String {
    let mut id = signed.hash().to_string();
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
    }
}

/// What a Box keeps for the others.
pub fn store_view<W: World>(store: &Store<W>) -> StoreView {
    let figures = store.figures();
    StoreView {
        chunks: figures.chunks as u64,
        chunks_max: figures.chunks_max as u64,
        bytes: figures.disk_bytes,
        free_bytes: figures.free_bytes,
        damaged: figures.damaged,
        syncs: figures.fdatasyncs,
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
    ProgressView {
        phase: phase.into(),
        files: progress.files.get(),
        bytes: progress.bytes.get(),
        bytes_read: progress.bytes_read.get(),
        bytes_sent: progress.bytes_sent.get(),
        path: String::from_utf8_lossy(&progress.path.borrow()).into_owned(),
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
    let shown = |unread: &author::Unread| {
        let path = String::from_utf8_lossy(&unread.path);
        if data_sets == 1 {
            path.into_owned()
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
            .map(|unread| (shown(unread), unread.reason.to_string()))
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
        let view = |member: &Member| {
            let session = self.mesh().and_then(|mesh| mesh.session(member.key));
            let version = session
                .as_ref()
                .map(|session| session.hello().version.to_string());
            peer_view(member, me, session.is_some() || member.key == me, version)
        };
        self.roster().members().iter().map(view).collect()
    }

    /// One screen.
    pub async fn status(&self) -> StatusView {
        let roster = self.roster();
        let (factor, factor_min) = roster.factors();
        let standing = self.standing().await;
        let peers = self.peers();
        let head = standing.as_ref().map(|(signed, _)| &signed.head);
        let (last_failure, unread_count) = match self.last_end() {
            Some(Ok(outcome)) => (None, outcome.unread_count),
            Some(Err(fault)) => (Some(fault.what), 0),
            None => (None, 0),
        };
        let proven = standing
            .as_ref()
            .and_then(|(_, standing)| standing.last_proven);
        let up_to_date = head.map(|head| {
            let looked = self.0.looked.get().map(|looked| looked.seconds);
            head.taken.seconds.max(looked.unwrap_or(i64::MIN))
        });
        let facts = Facts {
            is_out: roster.member(&self.me()).is_none(),
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
            failure: last_failure.clone(),
            unread: unread_count,
        };
        let (safe, sentence, todo) = verdict(&facts, text::now_seconds());
        let mut store = store_view(self.store());
        store.damaged += self.0.damaged_at_start;
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
            job: self.running_job().map(|job| job.view()),
            last_failure,
            unread_count,
            standing: self.standing_events(),
            mending,
            mending_since_seconds,
            former: self.former_views(),
        }
    }
}

/// What the sentence on top depends on.
#[derive(Debug, Clone, Default)]
struct Facts {
    is_out: bool,
    has_data: bool,
    others: usize,
    copies: u32,
    factor_min: u32,
    taken: Option<i64>,
    proven: Option<i64>,
    accepted: bool,
    away: Vec<String>,
    failure: Option<String>,
    unread: u64,
}

/// Whether a person may sleep, the answer in one sentence, and what to do about it.
fn verdict(facts: &Facts, now_seconds: i64) -> (bool, String, String) {
    let copies = if facts.copies == 1 {
        "1 copy".to_owned()
    } else {
        format!("{} copies", facts.copies)
    };
    let away = facts.away.join(" and ");
    let ago = |seconds: Option<i64>| {
        seconds.map_or_else(
            || "never".to_owned(),
            |seconds| text::ago(seconds, now_seconds),
        )
    };
    if facts.is_out {
        let todo = "Its snapshots are kept by the others. To use it again, take it in anew: `reserve join` with an empty --dir.";
        return (
            false,
            "This Box was removed from its reserve: it keeps and protects nothing.".into(),
            todo.into(),
        );
    }
    if facts.others == 0 {
        let todo =
            "Take another Box into the reserve: `reserve invite` here, `reserve join` there.";
        return (
            false,
            "This Box is alone: nothing is protected.".into(),
            todo.into(),
        );
    }
    if !facts.has_data {
        let sentence =
            "This Box keeps copies for the others and has no files of its own to protect.";
        return (true, sentence.into(), String::new());
    }
    if let Some(failure) = &facts.failure {
        let sentence = format!("The last snapshot was NOT taken: {failure}.");
        let todo = format!(
            "What was protected before is unchanged ({copies} elsewhere, taken {}). Then: `reserve snapshot --wait`.",
            ago(facts.taken)
        );
        return (false, sentence, todo);
    }
    let Some(taken) = facts.taken else {
        let todo = "Take one with `reserve snapshot --wait`.";
        return (
            false,
            "Nothing is protected yet: there is no snapshot.".into(),
            todo.into(),
        );
    };
    if !facts.accepted {
        let sentence = "Much was gone or rewritten when the newest snapshot was taken: it waits for you, and `latest` stays the one before.";
        let todo = "If that was meant: `reserve snapshot --accept-loss`. If not, see that every disk is there; nothing was deleted anywhere.";
        return (false, sentence.into(), todo.into());
    }
    if facts.copies < facts.factor_min {
        let sentence = format!(
            "Your files are NOT safe: {copies} elsewhere, {} are the minimum.",
            facts.factor_min
        );
        let todo = if facts.away.is_empty() {
            "All Boxes are in reach; whoever lacks something is asked every half minute. Look at its own `reserve status`: is there room?".to_owned()
        } else {
            format!("Out of reach: {away}. A Box confirms its copies when it returns.")
        };
        return (false, sentence, todo);
    }
    if facts.unread > 0 {
        let sentence = format!(
            "Your files are safe ({copies} elsewhere) except for {} that could not be read.",
            facts.unread
        );
        return (
            false,
            sentence,
            "`reserve snapshot --wait` names them.".into(),
        );
    }
    let sentence = format!(
        "All your files are safe: {copies} elsewhere, newest {}.",
        text::ago(taken, now_seconds)
    );
    let todo = if facts.away.is_empty() {
        String::new()
    } else {
        format!(
            "Out of reach now: {away}; the copies were last confirmed {}.",
            ago(facts.proven)
        )
    };
    (true, sentence, todo)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            has_data: true,
            others: 2,
            copies: 2,
            factor_min: 2,
            taken: Some(0),
            proven: Some(0),
            accepted: true,
            ..Facts::default()
        }
    }

    #[test]
    fn the_verdict_is_safe_only_when_enough_copies_of_everything_are_confirmed() {
        let (safe, sentence, todo) = verdict(&facts(), 720);
        assert_eq!(
            (safe, sentence.as_str(), todo.as_str()),
            (
                true,
                "All your files are safe: 2 copies elsewhere, newest 12 minutes ago.",
                ""
            )
        );
        let not_safe = [
            (
                Facts {
                    copies: 1,
                    ..facts()
                },
                "NOT safe: 1 copy",
            ),
            (
                Facts {
                    others: 0,
                    ..facts()
                },
                "alone",
            ),
            (
                Facts {
                    taken: None,
                    ..facts()
                },
                "no snapshot",
            ),
            (
                Facts {
                    accepted: false,
                    ..facts()
                },
                "waits for you",
            ),
            (
                Facts {
                    unread: 3,
                    ..facts()
                },
                "except for 3",
            ),
            (
                Facts {
                    failure: Some("data set a could not be found".into()),
                    ..facts()
                },
                "NOT taken: data set a",
            ),
        ];
        for (facts, said) in not_safe {
            let (safe, sentence, todo) = verdict(&facts, 720);
            assert!(
                !safe && sentence.contains(said) && !todo.is_empty(),
                "{sentence}"
            );
        }
    }

    #[test]
    fn boxes_out_of_reach_are_named_with_the_time_of_their_last_word() {
        let (safe, _, todo) = verdict(
            &Facts {
                away: vec!["office".into()],
                ..facts()
            },
            7200,
        );
        assert!(
            safe && todo.contains("office") && todo.contains("2 hours ago"),
            "{todo}"
        );
    }
}
