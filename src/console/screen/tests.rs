//! The screen, word for word, in the situations people meet most.

use super::status;
use crate::console::control::{
    CopiesView, MendingView, PeerView, ProgressView, SnapshotView, StatusView, StoreView,
};
use crate::console::event_view::{EventView, SubjectView};
use crate::dispatcher::{EventType, Phase};

const NOW: i64 = 1_800_000_000;

fn peer(name: &str, is_me: bool, connected: bool) -> PeerView {
    PeerView {
        name: name.into(),
        key: "00".repeat(32),
        site: name.into(),
        addresses: vec![format!("{name}.example:7717")],
        is_me,
        connected,
        version: None,
        room: None,
        kept_bytes: 0,
    }
}

fn view() -> StatusView {
    StatusView {
        sentence: "All your files are safe: 2 copies elsewhere, newest 12 minutes old.".into(),
        todo: String::new(),
        safe: true,
        name: "home".into(),
        running: true,
        latest: Some(SnapshotView {
            id: "0a1b2c3d".into(),
            author: "home".into(),
            author_key: "00".repeat(32),
            number: 7,
            taken: String::new(),
            taken_seconds: NOW - 720,
            chunks: 10,
            sealed_bytes: 1 << 20,
            held_by: Vec::new(),
            accepted: true,
            is_lacking: false,
            kept_by: None,
            is_leaving: false,
            gone_in_seconds: None,
            data_sets: None,
        }),
        up_to_date_seconds: Some(NOW - 720),
        copies: 2,
        factor: 2,
        factor_min: 2,
        since_seconds: Some(NOW - 7_200),
        proven_seconds: Some(NOW - 30),
        data: vec![("photos".into(), "/srv/photos".into())],
        peers: vec![
            peer("home", true, true),
            peer("office", false, true),
            peer("friend", false, true),
        ],
        store: Some(StoreView {
            chunks: 12,
            chunks_max: 1_000_000,
            bytes: 3 << 20,
            live_bytes: 2 << 20,
            released_bytes: 1 << 20,
            reclaimable_bytes: 0,
            free_bytes: 5 << 30,
            damaged: 0,
            damaged_at_start: 0,
            quota_bytes: None,
            segments: (1, 0),
            verified_seconds: None,
            segments_read: 1,
            read_seconds: Some(NOW - 3 * 3600),
            sweep_period_days: 30,
            syncs: 4,
            asked: 5,
            copies: Some(CopiesView {
                chunks: 12,
                enough: 9,
                few: 1,
                extra: 2,
                taken: 0,
                lacking: 3,
                compared_seconds: NOW - 60,
                compared_with: 1,
            }),
        }),
        memory_bytes: Some((40 << 20, 48 << 20)),
        job: None,
        last_failure: None,
        unread_count: 0,
        standing: Vec::new(),
        mending: None,
        mending_since_seconds: None,
        former: Vec::new(),
        released: Vec::new(),
        conflicts: Vec::new(),
    }
}

#[test]
fn when_all_is_well() {
    let wanted = "\
All your files are safe: 2 copies elsewhere, newest 12 minutes old.

newest snapshot   0a1b2c3d (number 7), taken 12 minutes ago
copies elsewhere  2 of 2 wanted, 2 at least
since             2 hours ago
last proven       30 seconds ago
data set          photos = /srv/photos
keeps for others  12 chunks (1000000 at most), 3 MiB, 5 GiB free
given up          1 MiB wait for their time
read again        all of it within 30 days, the oldest part 3 hours ago
their copies      9 of 12 are on as many Boxes as they should, 1 on too few, 3 are lacking here, 2 belong elsewhere by now; compared 1 minute ago
memory            40 MiB, at most 48 MiB

name             site             state        addresses
home             home             this Box     home.example:7717
office           office           connected    office.example:7717
friend           friend           connected    friend.example:7717";
    assert_eq!(status(&view(), NOW), wanted);
}

#[test]
fn when_a_box_is_away_and_something_stands() {
    let standing = EventView {
        box_name: "home".into(),
        box_key: "00".repeat(32),
        sequence: 9,
        time: String::new(),
        time_seconds: NOW - 300,
        event_type: EventType::Warning,
        kind: "box_out_of_reach".into(),
        phase: Phase::Raise,
        episode: 9,
        subject: SubjectView::Box("office".into()),
        facts: std::collections::BTreeMap::new(),
        text: "office is out of reach".into(),
    };
    let away = StatusView {
        sentence: "Your files are NOT safe: 1 copy elsewhere, 2 are the minimum.".into(),
        todo: "Out of reach: office. A Box confirms its copies when it returns.".into(),
        safe: false,
        copies: 1,
        peers: vec![peer("home", true, true), peer("office", false, false)],
        standing: vec![standing],
        store: None,
        memory_bytes: None,
        ..view()
    };
    let wanted = "\
Your files are NOT safe: 1 copy elsewhere, 2 are the minimum.
Out of reach: office. A Box confirms its copies when it returns.

newest snapshot   0a1b2c3d (number 7), taken 12 minutes ago
copies elsewhere  1 of 2 wanted, 2 at least
since             2 hours ago
last proven       30 seconds ago
data set          photos = /srv/photos
WARNING           office is out of reach, since 5 minutes ago

name             site             state        addresses
home             home             this Box     home.example:7717
office           office           out of reach office.example:7717";
    assert_eq!(status(&away, NOW), wanted);
}

#[test]
fn when_no_keeper_runs() {
    let at_rest = StatusView {
        sentence: "The keeper of this Box does not run: nothing is being protected, and how safe your files are is not known.".into(),
        todo: "Start it with `reserve keeper`.".into(),
        safe: false,
        running: false,
        latest: None,
        peers: vec![peer("home", true, false), peer("office", false, false)],
        store: None,
        memory_bytes: None,
        ..view()
    };
    let wanted = "\
The keeper of this Box does not run: nothing is being protected, and how safe your files are is not known.
Start it with `reserve keeper`.

data set          photos = /srv/photos

name             site             state        addresses
home             home             this Box     home.example:7717
office           office           not asked    office.example:7717";
    assert_eq!(status(&at_rest, NOW), wanted);
}

#[test]
fn what_goes_on_is_said_with_how_much_of_it_is_done() {
    let mut view = view();
    view.job = Some(ProgressView {
        phase: "reading".into(),
        files: 120,
        files_total: Some(4_000),
        bytes: 1 << 40,
        bytes_read: 3 << 30,
        bytes_total: Some(20 << 30),
        ..ProgressView::default()
    });
    let mending = MendingView {
        author: "home".into(),
        keeper: "office".into(),
        number: 9,
        snapshots: 3,
        snapshots_total: Some(12),
        chunks: 700,
    };
    view.mending = Some(mending.clone());
    let screen = status(&view, NOW);
    let now = "now               reading: 3 GiB of 20 GiB, 120 of 4000 files\n";
    assert!(screen.contains(now), "{screen}");
    let again = "copies again      home at office: snapshot 9 (4 of 12), 700 chunks confirmed\n";
    assert!(screen.contains(again), "{screen}");
    // From a keeper that does not say of how many.
    view.mending = Some(MendingView {
        snapshots_total: None,
        ..mending
    });
    let screen = status(&view, NOW);
    assert!(screen.contains("snapshot 9, 700 chunks"), "{screen}");
}
