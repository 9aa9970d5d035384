//! Tests of a whole restore over a tree and a source in memory.

mod again;
mod hostile;
mod kinds;
mod trouble;

use super::mock::{
    Draft, MTIME_BASE, MockSource, MockWorld, Thing, child, data_set, dir, empty, link, packed,
    pages, part, run,
};
use super::{Progress, Request, RetrieveError, RetrieveReport, Total, retrieve};
use crate::format::head::{DataSet, Manifest};
use crate::terms::{ChunkId, Kind, PeerKey, SnapshotNumber};

#[derive(Default)]
struct Bench {
    world: MockWorld,
    source: MockSource,
    progress: Progress,
}

#[derive(Default)]
struct Wishes {
    data_set: Option<&'static str>,
    paths: Vec<Vec<u8>>,
    into_nonempty: bool,
    overwrite: bool,
    try_anyway: bool,
}

impl Bench {
    fn keep(&self, bytes: Vec<u8>) -> ChunkId {
        self.source.keep(Kind::Data, bytes)
    }

    fn try_once(
        &self,
        sets: Vec<DataSet>,
        change: impl FnOnce(&mut Wishes),
    ) -> Result<RetrieveReport, RetrieveError> {
        let manifest = Manifest {
            author: PeerKey([1; 32]),
            number: SnapshotNumber(1),
            data_sets: sets,
        };
        let mut wishes = Wishes::default();
        change(&mut wishes);
        let request = Request {
            manifest: &manifest,
            data_set: wishes.data_set,
            paths: &wishes.paths,
            target: b"/to",
            into_nonempty: wishes.into_nonempty,
            overwrite: wishes.overwrite,
            try_anyway: wishes.try_anyway,
        };
        run(retrieve(&self.world, &self.source, request, &self.progress))
    }

    fn try_with(
        &self,
        sets: Vec<DataSet>,
        change: impl FnOnce(&mut Wishes),
    ) -> Result<RetrieveReport, RetrieveError> {
        let done = self.try_once(sets, change);
        let state = self.world.tree.0.borrow();
        assert_eq!(state.mistakes, Vec::<String>::new());
        assert!(state.temporary.is_empty(), "a temporary file was left");
        assert_eq!(state.syncs > 0, done.is_ok(), "synced before success only");
        done
    }

    fn restore(&self, sets: Vec<DataSet>) -> RetrieveReport {
        self.try_with(sets, |_| ()).expect("a good snapshot")
    }

    fn restore_drafts(&self, drafts: &[Draft], per_page: usize) -> RetrieveReport {
        let set = data_set(&self.source, "photos", &pages(drafts, per_page), 16);
        self.restore(vec![set])
    }

    fn refused(&self, set: DataSet) -> String {
        match self.try_with(vec![set], |_| ()) {
            Err(RetrieveError::Index(malformed)) => malformed.rule.to_owned(),
            other => panic!("not refused: {other:?}"),
        }
    }

    fn thing(&self, path: &str) -> Option<Thing> {
        let state = self.world.tree.0.borrow();
        state.things.get(path.as_bytes()).cloned()
    }

    fn names(&self) -> Vec<String> {
        let state = self.world.tree.0.borrow();
        let names = state.things.keys();
        names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }
}

fn file(bytes: &[u8]) -> Option<Thing> {
    Some(Thing::File(bytes.to_vec()))
}

#[test]
fn what_comes_back_is_what_went_in() {
    let bench = Bench::default();
    let pack = bench.keep(b"helloworld".to_vec());
    let one = bench.keep(vec![1; 300_000]);
    let two = bench.keep(vec![2; 100_000]);
    let drafts = [
        dir(""),
        dir("a"),
        packed("a/hello", pack, 0, 5),
        dir("a/deep"),
        packed("a/deep/world", pack, 5, 5),
    ];
    let mut drafts = drafts.to_vec();
    drafts.sort_by(|a, b| crate::format::index::path_order(&a.entry.path, &b.entry.path));
    drafts.extend([
        empty("empty"),
        part(
            "large",
            500_000,
            0,
            true,
            &[
                (Some(one), 300_000),
                (None, 60_000),
                (Some(two), 100_000),
                (None, 40_000),
            ],
        ),
        link("link", "../anywhere"),
    ]);
    let report = bench.restore_drafts(&drafts, 100);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.files, report.dirs, report.symlinks), (4, 3, 1));
    assert_eq!(report.bytes, 500_010);
    assert_eq!(bench.thing("a/hello"), file(b"hello"));
    assert_eq!(bench.thing("a/deep/world"), file(b"world"));
    assert_eq!(bench.thing("empty"), file(b""));
    assert_eq!(
        bench.thing("link"),
        Some(Thing::Link(b"../anywhere".to_vec()))
    );
    let mut large = vec![1; 300_000];
    large.resize(360_000, 0);
    large.resize(460_000, 2);
    large.resize(500_000, 0);
    assert_eq!(bench.thing("large"), file(&large));
    let state = bench.world.tree.0.borrow();
    for draft in &drafts {
        let set = &state.attributes[draft.entry.path.as_slice()];
        assert_eq!(set.mode, draft.entry.mode);
        assert_eq!((set.uid, set.gid), (1000, 100));
        let seconds = MTIME_BASE + i64::try_from(draft.entry.path.len()).expect("short");
        assert_eq!(set.mtime.seconds, seconds);
    }
    let view = bench.progress.view();
    assert_eq!((view.files, view.bytes), (4, 400_010));
}

#[test]
fn ten_thousand_files_come_back_through_two_levels_of_nodes_and_each_pack_is_fetched_once() {
    let bench = Bench::default();
    let mut drafts = vec![dir("")];
    let mut packs = Vec::new();
    for d in 0..100 {
        drafts.push(dir(&format!("d{d:03}")));
        let pack = bench.keep(format!("pack {d:03}").repeat(100).into_bytes());
        packs.push(pack);
        for f in 0..100u32 {
            drafts.push(packed(&format!("d{d:03}/f{f:03}"), pack, f * 8, 8));
        }
    }
    let set = data_set(&bench.source, "photos", &pages(&drafts, 70), 16);
    assert_eq!(set.level, 2);
    let report = bench.restore(vec![set]);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.files, report.dirs), (10_000, 101));
    assert_eq!(bench.thing("d042/f007"), file(b"pack 042"));
    assert_eq!(bench.source.fetched(Kind::Data), 100);
    assert_eq!(bench.source.fetched(Kind::Page), 145);
    let open = bench.world.tree.0.borrow().dirs_open_most;
    assert!(open < 20, "{open} directories were open at once");
}

#[test]
fn a_tree_a_thousand_directories_deep_comes_back() {
    let bench = Bench::default();
    let mut drafts = vec![dir("")];
    let mut path = String::new();
    for _ in 0..1000 {
        path.push_str(if path.is_empty() { "d" } else { "/d" });
        drafts.push(dir(&path));
    }
    drafts.push(empty(&format!("{path}/f")));
    let report = bench.restore_drafts(&drafts, 300);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.dirs, report.files), (1001, 1));
}

#[test]
fn a_file_of_many_entries_is_put_together_and_its_window_is_bounded() {
    let bench = Bench::default();
    let ids: Vec<ChunkId> = (0..64u8).map(|n| bench.keep(vec![n; 1 << 20])).collect();
    let mut drafts = vec![dir("")];
    for n in 0..16 {
        let pieces: Vec<_> = (0..4).map(|k| (Some(ids[n * 4 + k]), 1 << 20)).collect();
        let number = u32::try_from(n).expect("few");
        drafts.push(part("film", 64 << 20, number, n == 15, &pieces));
    }
    let mut set = data_set(&bench.source, "photos", &pages(&drafts, 3), 16);
    set.entries = 2; // the manifest counts things
    let report = bench.restore(vec![set]);
    assert!(report.is_complete(), "{report:?}");
    let Some(Thing::File(film)) = bench.thing("film") else {
        panic!("no film");
    };
    assert_eq!(film.len(), 64 << 20);
    assert!(
        film.chunks(1 << 20)
            .zip(0u8..)
            .all(|(piece, n)| piece.iter().all(|b| *b == n))
    );
    let most = bench.source.0.borrow().in_flight_bytes_most;
    assert!(most <= 13 << 20, "{most} bytes were in flight");
    assert!(most >= 8 << 20, "only {most} bytes were in flight");
}

#[test]
fn one_lost_chunk_costs_one_file_and_leaves_no_trace_of_it() {
    let bench = Bench::default();
    let good = bench.keep(vec![1; 1000]);
    let lost = bench.keep(vec![2; 1000]);
    let lost_pack = bench.keep(vec![3; 10]);
    bench.source.lose(lost);
    bench.source.lose(lost_pack);
    let drafts = [
        dir(""),
        part(
            "a",
            2000,
            0,
            true,
            &[(Some(good), 1000), (Some(lost), 1000)],
        ),
        part("b", 1000, 0, true, &[(Some(good), 1000)]),
        packed("c", lost_pack, 0, 5),
        empty("d"),
    ];
    let report = bench.restore_drafts(&drafts, 100);
    assert_eq!(report.files, 2);
    assert_eq!(report.failed_count, 2);
    let mut report = report;
    report.failed.sort();
    let failed: Vec<&[u8]> = report
        .failed
        .iter()
        .map(|(path, _)| path.as_slice())
        .collect();
    assert_eq!(failed, [b"a", b"c"]);
    assert!(report.failed[0].1.contains(&lost.short()), "{report:?}");
    assert_eq!(bench.names(), ["b", "d"]);
}

#[test]
fn a_chunk_of_another_length_than_the_index_says_fails_its_file() {
    let bench = Bench::default();
    let short = bench.keep(vec![1; 999]);
    let report = bench.restore_drafts(
        &[
            dir(""),
            part("a", 1000, 0, true, &[(Some(short), 1000)]),
            packed("b", short, 990, 10),
            packed("c", short, 0, 9),
        ],
        10,
    );
    assert_eq!(report.failed_count, 2, "{report:?}");
    assert_eq!(bench.names(), ["c"]);
}

#[test]
fn a_lost_page_costs_its_entries_and_what_lies_behind_it_comes_back() {
    let bench = Bench::default();
    let all = pages(
        &[
            dir(""),
            empty("a"),
            dir("b"),
            dir("b/c"),
            empty("b/c/d"),
            empty("e"),
        ],
        2,
    );
    let set = data_set(&bench.source, "photos", &all, 16);
    let lost = child(&bench.source, &all[1]).id;
    bench.source.lose(lost);
    let report = bench.restore(vec![set]);
    assert_eq!(report.failed_count, 2, "{report:?}");
    assert_eq!(report.failed[0].0, b"b");
    assert_eq!(bench.names(), ["a", "b", "b/c", "b/c/d", "e"]);
    assert!(
        report
            .not_set
            .iter()
            .any(|(path, how)| path == b"b/c" && how.attributes)
    );
}

#[test]
fn a_file_whose_beginning_or_end_is_lost_does_not_come_back() {
    for lost in [1, 3] {
        let bench = Bench::default();
        let id = bench.keep(vec![1; 10]);
        let piece = [(Some(id), 10)];
        let drafts = [
            dir(""),
            empty("a"),
            part("b", 30, 0, false, &piece),
            part("b", 30, 1, false, &piece),
            part("b", 30, 2, true, &piece),
            empty("c"),
            empty("d"),
            empty("e"),
        ];
        let mut all = pages(&drafts, 1);
        // Page 1 holds the beginning, page 3 the end.
        all = vec![
            pages(&drafts[..2], 2).remove(0),
            all[2].clone(),
            all[3].clone(),
            all[4].clone(),
            pages(&drafts[5..], 3).remove(0),
        ];
        let set = data_set(&bench.source, "photos", &all, 16);
        bench.source.lose(child(&bench.source, &all[lost]).id);
        let report = bench.restore(vec![set]);
        assert!(report.failed_count >= 2, "{report:?}");
        assert_eq!(bench.names(), ["a", "c", "d", "e"]);
    }
}

#[test]
fn only_what_was_asked_for_is_fetched() {
    let bench = Bench::default();
    let mut drafts = vec![dir("")];
    for d in 0..100 {
        drafts.push(dir(&format!("d{d:03}")));
        let pack = bench.keep(format!("pack {d:03}").into_bytes());
        for f in 0..50 {
            drafts.push(packed(&format!("d{d:03}/f{f:03}"), pack, 0, 8));
        }
    }
    let set = data_set(&bench.source, "photos", &pages(&drafts, 51), 16);
    assert_eq!(set.level, 2);
    let paths = [
        b"d042".to_vec(),
        b"d070/f003/".to_vec(),
        b"nowhere".to_vec(),
    ];
    let report = bench
        .try_with(vec![set], |wishes| wishes.paths = paths.to_vec())
        .expect("a good snapshot");
    assert_eq!((report.files, report.dirs), (51, 3));
    assert_eq!(report.failed.len(), 1);
    assert_eq!(report.failed[0].0, b"nowhere");
    assert_eq!((report.failed_count, report.absent_count), (1, 1));
    assert!(
        bench.world.tree.0.borrow().note.is_none(),
        "nothing is to come"
    );
    assert_eq!(bench.thing("d042/f049"), file(b"pack 042"));
    assert_eq!(bench.thing("d070/f003"), file(b"pack 070"));
    assert_eq!(bench.thing("d070/f004"), None);
    assert_eq!(bench.source.fetched(Kind::Data), 2);
    // The first page, the two of each path, and the one `nowhere` would be on: once to know how much it is, once to restore it.
    assert!(bench.source.fetched(Kind::Page) <= 2 * 6);
    assert!(bench.source.fetched(Kind::Node) <= 2 * 5);
    let (files, bytes) = (51, 51 * 8);
    let now = bench.progress.view();
    assert_eq!(now.total, Some(Total { files, bytes }), "of the part alone");
    assert_eq!((now.files, now.bytes), (files, bytes));
}

#[test]
fn several_data_sets_go_into_a_directory_each_and_a_single_file_keeps_its_name() {
    let bench = Bench::default();
    let source = &bench.source;
    let sets = || {
        let photos = data_set(source, "photos", &pages(&[dir(""), empty("a")], 9), 16);
        let notes = data_set(source, "notes", &pages(&[empty("")], 9), 16);
        vec![notes, photos]
    };
    let report = bench.restore(sets());
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(
        bench.names(),
        ["notes", "notes/notes.db", "photos", "photos/a"]
    );

    let one = Bench {
        source: bench.source.clone(),
        ..Bench::default()
    };
    let only = |request: &mut Wishes| request.data_set = Some("notes");
    one.try_with(sets(), only).expect("a good snapshot");
    assert_eq!(one.names(), ["notes.db"]);

    let part = Bench {
        source: bench.source.clone(),
        ..Bench::default()
    };
    let paths = [b"photos/a".to_vec()];
    part.try_with(sets(), |wishes| wishes.paths = paths.to_vec())
        .expect("a good snapshot");
    assert_eq!(part.names(), ["photos", "photos/a"]);
}

#[test]
fn a_target_with_things_in_it_is_left_alone_unless_told_otherwise() {
    let bench = Bench::default();
    let pack = bench.keep(b"new".to_vec());
    let there = |name: &str| {
        let mut state = bench.world.tree.0.borrow_mut();
        state
            .things
            .insert(name.as_bytes().to_vec(), Thing::File(b"old".to_vec()));
        state.attributes.clear();
        state.syncs = 0;
    };
    there("a");
    let set = || {
        let drafts = [dir(""), packed("a", pack, 0, 3), packed("b", pack, 0, 3)];
        vec![data_set(&bench.source, "photos", &pages(&drafts, 9), 16)]
    };
    let refused = bench.try_with(set(), |_| ());
    assert!(matches!(refused, Err(RetrieveError::TargetNotEmpty(_))));
    assert_eq!(bench.names(), ["a"]);

    let report = bench
        .try_with(set(), |request| request.into_nonempty = true)
        .expect("a good snapshot");
    assert_eq!((report.failed_count, report.stayed_count), (0, 1));
    assert_eq!(report.stayed, [b"a"]);
    assert_eq!(
        (bench.thing("a"), bench.thing("b")),
        (file(b"old"), file(b"new"))
    );

    there("b");
    let report = bench
        .try_with(set(), |request| {
            request.into_nonempty = true;
            request.overwrite = true;
        })
        .expect("a good snapshot");
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(
        (bench.thing("a"), bench.thing("b")),
        (file(b"new"), file(b"new"))
    );
}

#[test]
fn a_directory_that_was_there_keeps_its_rights_and_is_told() {
    let bench = Bench::default();
    let mut state = bench.world.tree.0.borrow_mut();
    for name in ["private", "same"] {
        state.things.insert(name.into(), Thing::Dir);
    }
    drop(state);
    let mode_of = |name: &str, mode: u32| {
        let mut state = bench.world.tree.0.borrow_mut();
        let attributes = state.attributes.entry(name.into()).or_default();
        (attributes.mode, attributes.uid, attributes.gid) = (mode, 1000, 100);
    };
    let same = dir("same");
    mode_of("private", 0o700);
    mode_of("same", same.entry.mode);
    let drafts = [dir(""), dir("new"), dir("private"), same];
    let set = data_set(&bench.source, "photos", &pages(&drafts, 9), 16);
    let report = bench
        .try_with(vec![set], |wishes| wishes.into_nonempty = true)
        .expect("a good snapshot");
    assert_eq!(report.stayed, [b"private"]);
    let state = bench.world.tree.0.borrow();
    assert_eq!(state.attributes[b"private".as_slice()].mode, 0o700);
    assert_eq!(
        state.attributes[b"new".as_slice()].mode,
        drafts[1].entry.mode
    );
}
