//! Restores from an index that lies: an error, and nothing outside the target.

use super::Bench;
use crate::format::head::{Head, Manifest};
use crate::format::index::Page;
use crate::retriever::mock::{
    Draft, MockSource, PausedClock, child, data_set, dir, empty, link, node, pages, part, rooted,
    run,
};
use crate::retriever::{Request, RetrieveError, manifest_of, retrieve};
use crate::terms::{ChunkId, Kind, PeerKey, ReserveId, SnapshotNumber, Stamp};
use crate::world::Clock;
use std::time::Duration;

fn two_pages(first: &[Draft], second: &[Draft]) -> Vec<Page> {
    let mut both = pages(first, 99);
    both.extend(pages(second, 99));
    both
}

#[test]
fn paths_that_fall_back_from_page_to_page_are_refused() {
    let bench = Bench::default();
    // The parent lists them in order, but the first page goes further than the second begins.
    let all = two_pages(&[dir(""), empty("a"), empty("m")], &[empty("b")]);
    let rule = bench.refused(data_set(&bench.source, "photos", &all, 16));
    assert!(rule.contains("do not rise"), "{rule}");
    let again = two_pages(&[dir(""), empty("a")], &[empty("a")]);
    let bench = Bench::default();
    let rule = bench.refused(data_set(&bench.source, "photos", &again, 16));
    assert!(rule.contains("do not rise"), "{rule}");
}

#[test]
fn a_child_without_its_directory_is_refused() {
    for drafts in [
        vec![dir(""), empty("a/b")],
        vec![dir(""), empty("a"), empty("a/b")],
        vec![dir(""), link("a", "/etc"), empty("a/b")],
        vec![empty(""), empty("a")],
        vec![dir(""), dir("a"), dir("b"), empty("b/c/d")],
    ] {
        let bench = Bench::default();
        let rule = bench.refused(data_set(&bench.source, "photos", &pages(&drafts, 1), 16));
        assert!(rule.contains("does not come before it"), "{rule}");
        assert_eq!(bench.thing("a/b"), None);
    }
}

#[test]
fn a_node_on_another_level_than_its_parent_tells_is_refused() {
    let bench = Bench::default();
    let page = child(&bench.source, &pages(&[dir("")], 1)[0]);
    let low = node(&bench.source, 1, std::slice::from_ref(&page));
    let high = node(&bench.source, 3, std::slice::from_ref(&low));
    let rule = bench.refused(rooted("photos", &high, 3));
    assert!(rule.contains("level"), "{rule}");
    let rule = bench.refused(rooted("photos", &low, 2));
    assert!(rule.contains("level"), "{rule}");
}

#[test]
fn counts_and_beginnings_that_do_not_match_are_refused() {
    let bench = Bench::default();
    let good = child(&bench.source, &pages(&[dir(""), empty("a")], 9)[0]);
    let mut more = good.clone();
    more.entries = 3;
    let root = node(&bench.source, 1, &[more]);
    assert!(
        bench
            .refused(rooted("photos", &root, 1))
            .contains("more or fewer")
    );

    let mut elsewhere = good.clone();
    elsewhere.first = serde_bytes::ByteBuf::from(b"b".to_vec());
    let root = node(&bench.source, 1, &[elsewhere]);
    assert!(
        bench
            .refused(rooted("photos", &root, 1))
            .contains("does not begin")
    );

    let mut endless = good.clone();
    endless.entries = u64::MAX;
    let low = crate::format::index::Node {
        level: 1,
        children: vec![endless.clone(), endless.clone()],
    };
    let mut root = good.clone();
    root.id = bench.source.keep(Kind::Node, low.encode());
    assert!(
        bench
            .refused(rooted("photos", &root, 1))
            .contains("more or fewer")
    );

    let mut set = rooted("photos", &node(&bench.source, 1, &[good]), 1);
    set.entries = 1;
    assert!(bench.refused(set).contains("than its manifest tells"));
}

#[test]
fn a_file_whose_parts_do_not_add_up_is_refused() {
    let id = |bench: &Bench| Some(bench.keep(vec![1; 10]));
    let bench = Bench::default();
    let short = [dir(""), part("a", 30, 0, true, &[(id(&bench), 10)])];
    let rule = bench.refused(data_set(&bench.source, "photos", &pages(&short, 9), 16));
    assert!(rule.contains("do not add up"), "{rule}");

    let bench = Bench::default();
    let unending = [
        dir(""),
        part("a", 30, 0, false, &[(id(&bench), 10)]),
        empty("b"),
    ];
    let rule = bench.refused(data_set(&bench.source, "photos", &pages(&unending, 9), 16));
    assert!(rule.contains("no end"), "{rule}");

    let bench = Bench::default();
    let headless = [dir(""), part("a", 10, 1, true, &[(id(&bench), 10)])];
    let rule = bench.refused(data_set(&bench.source, "photos", &pages(&headless, 9), 16));
    assert!(rule.contains("not begun"), "{rule}");
    assert!(bench.names().is_empty());
}

#[test]
fn totals_without_end_and_names_that_lead_outside_do_no_harm() {
    let bench = Bench::default();
    let mut set = data_set(&bench.source, "photos", &pages(&[empty("")], 9), 16);
    (set.files, set.bytes) = (u64::MAX, u64::MAX);
    set.path = serde_bytes::ByteBuf::from(b"/srv/..".to_vec());
    let mut other = set.clone();
    other.name = "videos".into();
    let report = bench.restore(vec![set.clone(), other]);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(
        bench.names(),
        ["photos", "photos/photos", "videos", "videos/videos"]
    );

    let bench = Bench {
        source: bench.source.clone(),
        ..Bench::default()
    };
    set.name = "../photos".into();
    assert!(bench.refused(set).contains("no name"));
    assert!(bench.names().is_empty());
}

#[test]
fn a_manifest_of_another_snapshot_is_refused() {
    let source = MockSource::default();
    let manifest = Manifest {
        author: PeerKey([1; 32]),
        number: SnapshotNumber(1),
        data_sets: Vec::new(),
    };
    let mut head = Head {
        reserve: ReserveId([1; 16]),
        author: manifest.author,
        incarnation: [0; 8],
        number: SnapshotNumber(1),
        previous: None,
        manifest: source.keep(Kind::Manifest, manifest.encode()),
        taken: Stamp::default(),
        chunks: 1,
        sealed_bytes: 1,
        accepted: true,
    };
    assert_eq!(run(manifest_of(&source, &head)).ok(), Some(manifest));
    head.number = SnapshotNumber(2);
    let refused = run(manifest_of(&source, &head));
    assert!(
        matches!(refused, Err(RetrieveError::Index(_))),
        "{refused:?}"
    );
    head.manifest = ChunkId([0; 32]);
    let lost = run(manifest_of(&source, &head));
    assert!(
        matches!(lost, Err(RetrieveError::NoManifest(_))),
        "{lost:?}"
    );
}

#[test]
fn a_restore_that_is_given_up_names_nothing_afterwards() {
    let bench = Bench::default();
    let ids: Vec<ChunkId> = (1..40u8).map(|n| bench.keep(vec![n; 1000])).collect();
    let mut drafts = vec![dir("")];
    for (n, id) in ids.iter().enumerate() {
        drafts.push(part(
            &format!("f{n:02}"),
            1000,
            0,
            true,
            &[(Some(*id), 1000)],
        ));
    }
    let manifest = Manifest {
        author: PeerKey([1; 32]),
        number: SnapshotNumber(1),
        data_sets: vec![data_set(&bench.source, "photos", &pages(&drafts, 99), 16)],
    };
    let request = Request {
        manifest: &manifest,
        data_set: None,
        paths: &[],
        target: b"/to",
        into_nonempty: false,
        overwrite: false,
        try_anyway: false,
    };
    run(async {
        let restore = retrieve(&bench.world, &bench.source, request, &bench.progress);
        let given_up = PausedClock
            .within(Duration::from_millis(300), restore)
            .await;
        assert!(
            given_up.is_none(),
            "it was over before it could be given up"
        );
        let named = bench.names();
        assert!(!named.is_empty() && named.len() < ids.len(), "{named:?}");
        PausedClock.sleep(Duration::from_secs(60)).await;
        assert_eq!(bench.names(), named);
        assert!(bench.world.tree.0.borrow().temporary.is_empty());
    });
}

#[test]
fn a_node_that_contains_itself_is_refused() {
    let bench = Bench::default();
    let id = ChunkId([7; 32]);
    let mut me = child(&bench.source, &pages(&[dir("")], 1)[0]);
    me.id = id;
    for level in 2..=3 {
        let children = vec![me.clone()];
        let node = crate::format::index::Node { level, children };
        bench.source.keep_as(id, Kind::Node, node.encode());
        let rule = bench.refused(rooted("photos", &me, level));
        assert!(rule.contains("level"), "{rule}");
    }
    assert!(bench.source.fetched(Kind::Node) <= 6);
}

#[test]
fn a_tree_of_a_few_nodes_that_spells_out_to_more_pages_than_there_are_atoms_is_refused() {
    for lost in [true, false] {
        let bench = Bench::default();
        let page = child(&bench.source, &pages(&[dir(""), empty("a")], 2)[0]);
        if lost {
            bench.source.lose(page.id);
        }
        // Each node has the one below it sixty-four times: 2^60 pages of ten nodes.
        let mut top = page;
        for level in 1..=10 {
            top = node(&bench.source, level, &vec![top; 64]);
        }
        assert!(top.entries > 1 << 60);
        let rule = bench.refused(rooted("photos", &top, 10));
        assert!(
            rule.contains("lead back") || rule.contains("do not rise"),
            "{rule}"
        );
        let asked = bench.source.0.borrow().fetched.len();
        assert!(asked < 70_000, "{asked} chunks were asked for");
        assert!(bench.names().len() <= 1, "{:?}", bench.names());
    }
}

#[test]
fn many_entries_of_one_name_are_refused_before_one_of_them_is_made() {
    let bench = Bench::default();
    let drafts: Vec<Draft> = (0..1000).map(|_| empty("a")).collect();
    let rule = bench.refused(data_set(&bench.source, "photos", &pages(&drafts, 1000), 16));
    assert!(rule.contains("order"), "{rule}");
    assert!(bench.names().is_empty());
}

#[test]
fn a_million_entries_of_one_name_on_as_many_pages_are_refused_and_take_little_memory() {
    for lost in [true, false] {
        let bench = Bench::default();
        let mut same = child(&bench.source, &pages(&[empty("a")], 1)[0]);
        if lost {
            bench.source.lose(same.id);
        }
        let mut first = child(&bench.source, &pages(&[dir("")], 1)[0]);
        for level in 1..=2 {
            same = node(&bench.source, level, &vec![same; 512]);
            first = node(&bench.source, level, &[first]);
        }
        let all = [vec![first], vec![same; 4]].concat();
        let root = node(&bench.source, 3, &all);
        assert!(root.entries > 1_000_000);
        let rule = bench.refused(rooted("photos", &root, 3));
        let wanted = ["do not rise", "lead back"][usize::from(lost)];
        assert!(rule.contains(wanted), "{rule}");
        let source = bench.source.0.borrow();
        let (asked, most) = (source.fetched.len(), source.in_flight_bytes_most);
        // Of what cannot be had, nobody knows yet that it is the same again.
        let asked_max = if lost { 70_000 } else { 20 };
        assert!(asked < asked_max, "{asked} chunks were asked for");
        assert!(most < 1 << 20, "{most} bytes were under way");
        drop(source);
        assert!(bench.names().len() <= 1, "{:?}", bench.names());
    }
}

#[test]
fn an_index_that_lists_more_bytes_or_things_than_its_manifest_is_stopped() {
    let bench = Bench::default();
    let id = bench.keep(vec![1; 1000]);
    // One chunk, a thousand times: little to send, much to write.
    let pieces = vec![(Some(id), 1000); 1000];
    let bombs: Vec<Draft> = (0..9)
        .map(|n| part(&format!("bomb{n}"), 1_000_000, 0, true, &pieces))
        .collect();
    let mut drafts = vec![dir("")];
    drafts.extend(bombs);
    let tree = pages(&drafts, 2);
    let mut set = data_set(&bench.source, "photos", &tree, 16);
    set.bytes = 3_500_000;
    let rule = bench.refused(set);
    assert!(rule.contains("longer than its manifest tells"), "{rule}");
    assert!(bench.names().len() <= 3, "{:?}", bench.names());

    let bench = Bench::default();
    let hole = [
        dir(""),
        part("hole", 1_000_000_000, 0, true, &[(None, 1_000_000_000)]),
    ];
    let mut set = data_set(&bench.source, "photos", &pages(&hole, 9), 16);
    set.bytes = 999_999_999;
    assert!(
        bench
            .refused(set)
            .contains("longer than its manifest tells")
    );
    assert!(bench.names().is_empty());

    let bench = Bench::default();
    let many: Vec<Draft> = std::iter::once(dir(""))
        .chain((0..99).map(|n| empty(&format!("e{n:02}"))))
        .collect();
    let mut set = data_set(&bench.source, "photos", &pages(&many, 10), 16);
    set.entries = 25;
    assert!(
        bench
            .refused(set)
            .contains("more things than its manifest tells")
    );
    assert!(bench.names().len() <= 19, "{:?}", bench.names());
}
