//! Restores that end early and are gone on with.

use super::{Bench, MTIME_BASE, file};
use crate::format::head::DataSet;
use crate::retriever::RetrieveError;
use crate::retriever::mock::{Draft, Thing, data_set, dir, empty, link, packed, pages, part};
use crate::terms::{ChunkId, Kind};

impl Bench {
    /// The same target and source, some time later.
    pub(super) fn later(&self) {
        let mut state = self.world.tree.0.borrow_mut();
        // What is made now is not made after the end of this run.
        state.syncs = 0;
        state.attributes.remove(b"".as_slice());
        drop(state);
        let mut source = self.source.0.borrow_mut();
        source.fetched.clear();
        source.ends_after = None;
    }

    fn ends_after(&self, chunks: usize) {
        self.source.0.borrow_mut().ends_after = Some(chunks);
    }

    fn note(&self) -> Option<Vec<u8>> {
        self.world.tree.0.borrow().note.clone()
    }
}

/// A hundred packs of ten small files each, and some other things.
fn many(bench: &Bench) -> DataSet {
    let mut drafts = vec![dir("")];
    for n in 0..100u32 {
        let pack = bench.keep(format!("pack {n:04} ").repeat(10).into_bytes());
        for k in 0..10 {
            drafts.push(packed(&format!("f{n:03}-{k}"), pack, k * 10, 10));
        }
    }
    drafts.extend([link("g", "f000-0"), empty("h")]);
    data_set(&bench.source, "photos", &pages(&drafts, 20), 16)
}

fn film(bench: &Bench, mib: u32) -> Vec<Draft> {
    let ids: Vec<ChunkId> = (0..mib)
        .map(|n| bench.keep([&n.to_le_bytes()[..], &vec![7; (1 << 20) - 4]].concat()))
        .collect();
    let pieces: Vec<_> = ids.into_iter().map(|id| (Some(id), 1 << 20)).collect();
    vec![
        dir(""),
        part("film", u64::from(mib) << 20, 0, true, &pieces),
    ]
}

#[test]
fn the_second_run_fetches_only_what_the_first_did_not_restore() {
    let bench = Bench::default();
    let set = many(&bench);
    bench.ends_after(90);
    let ended = bench.try_with(vec![set.clone()], |_| ());
    assert!(
        matches!(ended, Err(RetrieveError::SourceEnded(_))),
        "{ended:?}"
    );
    let there = bench.names().len();
    assert!(there > 100 && bench.note().is_some(), "{there}");
    bench.later();
    let report = bench.restore(vec![set]);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.files, report.symlinks), (1001, 1));
    assert!(
        report.kept + 10 >= there as u64,
        "{} kept of {there}",
        report.kept
    );
    let fetched = bench.source.fetched(Kind::Data);
    assert!(fetched <= 60, "{fetched} of 100 packs");
    assert_eq!(bench.thing("f099-9"), file(b"pack 0099 "));
    assert_eq!(bench.note(), None);
}

#[test]
fn a_large_file_is_gone_on_with_where_it_ended() {
    let bench = Bench::default();
    let set = data_set(&bench.source, "photos", &pages(&film(&bench, 96), 9), 16);
    bench.ends_after(80);
    let sets = || vec![set.clone()];
    let ended = bench.try_once(sets(), |_| ());
    assert!(
        matches!(ended, Err(RetrieveError::SourceEnded(_))),
        "{ended:?}"
    );
    assert_eq!(bench.names(), Vec::<String>::new());
    bench.later();
    let report = bench.restore(sets());
    assert!(report.is_complete(), "{report:?}");
    let fetched = bench.source.fetched(Kind::Data);
    assert!((16..=40).contains(&fetched), "{fetched} of 96 pieces");
    let Some(Thing::File(film)) = bench.thing("film") else {
        panic!("it is not there");
    };
    assert_eq!(film.len(), 96 << 20);
    for (n, mib) in (0u32..).zip(film.chunks(1 << 20)) {
        assert_eq!(mib[..4], n.to_le_bytes(), "piece {n}");
    }
}

#[test]
fn after_a_restart_of_the_machine_what_was_not_durable_is_fetched_again() {
    let bench = Bench::default();
    let set = many(&bench);
    bench.ends_after(90);
    let ended = bench.try_with(vec![set.clone()], |_| ());
    assert!(ended.is_err());
    bench.later();
    bench.world.tree.0.borrow_mut().boot += 1;
    // What a power cut may do: the right length, other bytes.
    let lost = Thing::File(vec![0; 10]);
    let mut state = bench.world.tree.0.borrow_mut();
    state.things.insert(b"f000-0".to_vec(), lost);
    drop(state);
    let report = bench.restore(vec![set]);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.kept, report.files), (0, 1001));
    assert_eq!(bench.thing("f000-0"), file(b"pack 0000 "));
}

#[test]
fn another_selection_is_not_gone_on_with_and_a_stop_is() {
    let bench = Bench::default();
    let set = many(&bench);
    let pack = bench.keep(b"pack 0000 ".repeat(10).to_vec());
    bench.progress.stop();
    let ended = bench.try_with(vec![set.clone()], |_| ());
    assert!(
        matches!(ended, Err(RetrieveError::Stopped { .. })),
        "{ended:?}"
    );
    bench.later();
    // An earlier run gave it its name, and a power cut took its bytes.
    let mut state = bench.world.tree.0.borrow_mut();
    let cut = b"f000-0".to_vec();
    state.things.insert(cut.clone(), Thing::File(Vec::new()));
    let attributes = state.attributes.entry(cut).or_default();
    attributes.mtime = packed("f000-0", pack, 0, 10).entry.mtime;
    drop(state);
    let bench = Bench {
        world: bench.world.clone(),
        source: bench.source.clone(),
        ..Bench::default()
    };
    let other = bench.try_with(vec![set.clone()], |wishes| {
        wishes.paths = vec![b"h".to_vec()];
    });
    assert!(
        matches!(other, Err(RetrieveError::TargetOfAnother(_))),
        "{other:?}"
    );
    let report = bench.restore(vec![set]);
    assert!(report.is_complete() && report.files == 1001, "{report:?}");
    assert_eq!(bench.thing("f000-0"), file(b"pack 0000 "));
}

#[test]
fn what_was_missing_comes_back_when_the_same_is_asked_for_again() {
    let bench = Bench::default();
    let set = many(&bench);
    let pack = bench.keep(b"pack 0042 ".repeat(10).to_vec());
    bench.source.lose(pack);
    let report = bench.restore(vec![set.clone()]);
    assert_eq!((report.failed_count, report.files), (10, 991));
    assert!(bench.note().is_some());
    bench.later();
    bench.source.0.borrow_mut().missing.clear();
    let report = bench.restore(vec![set]);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.kept, bench.source.fetched(Kind::Data)), (991, 1));
    assert_eq!(bench.note(), None);
}

#[test]
fn what_a_person_edited_between_two_runs_stays_and_is_told() {
    let bench = Bench::default();
    let set = many(&bench);
    let pack = bench.keep(b"pack 0042 ".repeat(10).to_vec());
    bench.source.lose(pack);
    let report = bench.restore(vec![set.clone()]);
    assert_eq!((report.failed_count, report.stayed_count), (10, 0));
    bench.later();
    bench.source.0.borrow_mut().missing.clear();
    let mut state = bench.world.tree.0.borrow_mut();
    for (path, thing) in [
        ("f000-0", Thing::File(b"mine by now".to_vec())),
        ("g", Thing::Link(b"elsewhere".to_vec())),
        ("f042-3", Thing::File(b"pasted from memory".to_vec())),
    ] {
        state.things.insert(path.into(), thing);
        let attributes = state.attributes.entry(path.into()).or_default();
        attributes.mtime.seconds = MTIME_BASE + 172_800;
    }
    drop(state);
    let report = bench.restore(vec![set]);
    assert_eq!((report.failed_count, report.stayed_count), (0, 3));
    let stayed: Vec<&[u8]> = report.stayed.iter().map(Vec::as_slice).collect();
    assert_eq!(stayed, [&b"f000-0"[..], b"f042-3", b"g"]);
    assert_eq!(bench.thing("f000-0"), file(b"mine by now"));
    assert_eq!(bench.thing("g"), Some(Thing::Link(b"elsewhere".to_vec())));
    assert_eq!(bench.thing("f042-3"), file(b"pasted from memory"));
    assert_eq!(bench.thing("f042-4"), file(b"pack 0042 "));
}
