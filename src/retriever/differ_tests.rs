//! Tests of comparing snapshots: what is told, and how little is read for it.

use std::collections::BTreeMap;
use std::io;

use super::differ::{DiffTotals, Difference, diff};
use super::mock::{
    Draft, MockSource, child, data_set, dir, empty, link, node, packed, pages, part, rooted, run,
};
use super::on_disk::{DiskKind, DiskThing, OnDisk, diff_with};
use crate::format::head::{DataSet, Manifest};
use crate::format::index::{Content, Page, What};
use crate::terms::{Kind, PeerKey, SnapshotNumber, Stamp};

fn manifest(sets: Vec<DataSet>) -> Manifest {
    Manifest {
        author: PeerKey([1; 32]),
        number: SnapshotNumber(1),
        data_sets: sets,
    }
}

fn word(difference: &Difference) -> String {
    match difference {
        Difference::Added => "added".into(),
        Difference::Removed => "removed".into(),
        Difference::Changed(changes) => {
            let all = [
                (changes.kind, "kind"),
                (changes.contents, "contents"),
                (changes.mode, "mode"),
                (changes.owner, "owner"),
                (changes.mtime, "mtime"),
                (changes.xattrs, "xattrs"),
            ];
            let words = all.iter().filter(|(is, _)| *is).map(|(_, word)| *word);
            format!("changed {}", words.collect::<Vec<_>>().join("+"))
        }
        Difference::Renamed { from } => format!("was {}", String::from_utf8_lossy(from)),
        Difference::Unknown { entries, .. } => format!("{entries} unknown"),
    }
}

fn told(source: &MockSource, first: DataSet, second: DataSet) -> (Vec<String>, DiffTotals) {
    let mut lines = Vec::new();
    let (first, second) = (manifest(vec![first]), manifest(vec![second]));
    let totals = run(diff(
        (source, &first),
        (source, &second),
        |path, difference| {
            lines.push(format!(
                "{}: {}",
                String::from_utf8_lossy(path),
                word(difference)
            ));
            true
        },
    ));
    (lines, totals.expect("good indexes"))
}

/// A small file whose contents have this name.
fn named(path: &str, name: u8, source: &MockSource) -> Draft {
    let pack = source.keep(Kind::Data, vec![name; 10]);
    let mut draft = packed(path, pack, 0, 10);
    if let What::File {
        content: Content::Packed { name: place, .. },
        ..
    } = &mut draft.entry.what
    {
        *place = [name; 16];
    }
    draft
}

fn set(source: &MockSource, drafts: &[Draft], per_page: usize) -> DataSet {
    data_set(source, "photos", &pages(drafts, per_page), 16)
}

#[test]
fn what_was_added_removed_changed_and_renamed_is_told_in_the_order_of_paths() {
    let source = MockSource::default();
    let big = |n: u8| Some(source.keep(Kind::Data, vec![n; 2000]));
    let large = |path: &str, n: u8| part(path, 4000, 0, true, &[(big(n), 2000), (None, 2000)]);
    let before = [
        dir(""),
        named("a", 1, &source),
        named("b", 2, &source),
        dir("c"),
        named("c/gone", 3, &source),
        link("d", "x"),
        large("e", 9),
        large("f", 10),
        named("z", 4, &source),
    ];
    let mut mode = named("a", 1, &source);
    mode.entry.mode = 0o600;
    mode.entry.uid = 7;
    let mut newer = named("b", 22, &source);
    newer.entry.mtime.seconds += 1;
    let after = [
        dir(""),
        mode,
        newer,
        dir("c"),
        named("c/came", 4, &source),
        link("d", "y"),
        large("e2", 9),
        large("f", 11),
        empty("new"),
    ];
    for (per_page, other) in [(100, 100), (2, 3), (1, 100), (3, 1)] {
        let (first, second) = (set(&source, &before, per_page), set(&source, &after, other));
        let (lines, totals) = told(&source, first, second);
        let expected = [
            "a: changed mode+owner",
            "b: changed contents+mtime",
            "c/came: was z",
            "c/gone: removed",
            "d: changed contents",
            "e2: was e",
            "f: changed contents",
            "new: added",
        ];
        assert_eq!(lines, expected, "{per_page} {other}");
        assert_eq!((totals.added, totals.removed), (1, 1));
        assert_eq!((totals.changed, totals.renamed), (4, 2));
    }
}

#[test]
fn of_four_hundred_thousand_files_only_the_pages_that_differ_are_read() {
    let source = MockSource::default();
    let mut drafts = vec![dir("")];
    for d in 0..400 {
        drafts.push(dir(&format!("d{d:03}")));
        drafts.extend((0..1000).map(|f| empty(&format!("d{d:03}/f{f:04}"))));
    }
    let before: Vec<Page> = pages(&drafts, 500);
    let mut after = before.clone();
    for n in 0..10 {
        let page = &mut after[n * 80 + 3];
        page.entries[n * 7].mtime.seconds += 1;
    }
    let tree = |all: &[Page]| data_set(&source, "photos", all, 128);
    let (first, second) = (tree(&before), tree(&after));
    assert_eq!((first.entries, first.level), (400_401, 2));
    let (lines, totals) = told(&source, first, second);
    assert_eq!((totals.changed, lines.len()), (10, 10), "{lines:?}");
    assert_eq!(source.fetched(Kind::Page), 20);
    assert!(
        source.fetched(Kind::Node) <= 2 + 2 * 7,
        "{}",
        source.fetched(Kind::Node)
    );
}

#[test]
fn however_pages_are_cut_the_same_is_told_as_by_comparing_entry_by_entry() {
    let source = MockSource::default();
    let mut dice = 12345u64;
    let mut roll = |below: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) % below
    };
    let few = |number: u64| usize::try_from(number).expect("below ten");
    for _ in 0..60 {
        let mut sides: [BTreeMap<String, u64>; 2] = Default::default();
        for n in 0..60 {
            for side in &mut sides {
                if roll(10) < 8 {
                    side.insert(format!("f{n:02}"), if roll(10) == 0 { 1 } else { 0 });
                }
            }
        }
        let cut = |side: &BTreeMap<String, u64>, per_page: usize, per_node: usize| {
            let mut drafts = vec![dir("")];
            drafts.extend(side.iter().map(|(path, newer)| {
                let mut draft = empty(path);
                draft.entry.mtime.seconds += i64::try_from(*newer).expect("small");
                draft
            }));
            let (page, node) = (per_page + 1, per_node + 2);
            data_set(&source, "photos", &pages(&drafts, page), node)
        };
        let first = cut(&sides[0], few(roll(9)), few(roll(4)));
        let second = cut(&sides[1], few(roll(9)), few(roll(4)));
        let (lines, _) = told(&source, first, second);
        let mut expected = Vec::new();
        let [a, b] = &sides;
        let all: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for path in all {
            match (a.get(path), b.get(path)) {
                (Some(_), None) => expected.push(format!("{path}: removed")),
                (None, Some(_)) => expected.push(format!("{path}: added")),
                (Some(x), Some(y)) if x != y => expected.push(format!("{path}: changed mtime")),
                _ => {}
            }
        }
        assert_eq!(lines, expected);
    }
}

#[test]
fn what_cannot_be_had_is_told_and_is_no_difference() {
    for (lost_of_first, per_page) in [(true, 3), (false, 3), (true, 4), (false, 2)] {
        let source = MockSource::default();
        let mut drafts = vec![dir("")];
        drafts.extend(["a", "b", "c", "d", "e", "f", "g"].map(empty));
        let before = pages(&drafts, 2);
        drafts[7].entry.mode = 0o600;
        let after = pages(&drafts, per_page);
        let lost = if lost_of_first { &before[1] } else { &after[1] };
        let lost = child(&source, lost).id;
        let first = data_set(&source, "photos", &before, 16);
        let second = data_set(&source, "photos", &after, 16);
        if first.root == lost || second.root == lost {
            continue;
        }
        source.lose(lost);
        let (lines, totals) = told(&source, first, second);
        assert_eq!(
            totals.unknown > 0,
            lines.iter().any(|line| line.contains("unknown"))
        );
        assert!(lines.contains(&"g: changed mode".to_owned()), "{lines:?}");
        assert!(
            !lines
                .iter()
                .any(|line| line.contains("added") || line.contains("removed")),
            "{lines:?}"
        );
    }
}

#[test]
fn an_index_that_leads_back_is_refused() {
    let source = MockSource::default();
    let page = child(&source, &pages(&[dir(""), empty("a")], 2)[0]);
    let top = node(&source, 1, &[page.clone(), page]);
    let (bad, none) = (
        manifest(vec![rooted("photos", &top, 1)]),
        manifest(Vec::new()),
    );
    let good = manifest(vec![set(&source, &[dir("")], 9)]);
    for (first, second) in [(&bad, &good), (&good, &bad)] {
        let refused = run(diff((&source, first), (&source, second), |_, _| true));
        assert!(refused.is_err(), "{refused:?}");
    }
    let mut lines = 0;
    let totals = run(diff((&source, &none), (&source, &bad), |_, _| {
        lines += 1;
        true
    }));
    assert_eq!((totals.expect("is not opened").added, lines), (1, 1));
}

struct Things(Vec<DiskThing>, BTreeMap<Vec<u8>, Vec<u8>>);

impl OnDisk for Things {
    type File = Vec<u8>;
    fn next(&mut self) -> Option<DiskThing> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
    fn open(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        self.1
            .get(path)
            .cloned()
            .ok_or(io::ErrorKind::NotFound.into())
    }
    fn read(&self, file: &Vec<u8>, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).expect("small").min(file.len());
        let len = into.len().min(file.len() - start);
        into[..len].copy_from_slice(&file[start..start + len]);
        Ok(len)
    }
}

#[test]
fn files_on_a_disk_are_read_only_where_length_and_time_do_not_tell() {
    let source = MockSource::default();
    let drafts = [
        dir(""),
        named("changed", 1, &source),
        named("rotten", 2, &source),
        named("same", 3, &source),
        named("touched", 4, &source),
        named("gone", 5, &source),
    ];
    let mut drafts = drafts.to_vec();
    drafts.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    let set = set(&source, &drafts, 3);
    let things = || {
        let mut things = Vec::new();
        let mut files = BTreeMap::new();
        for draft in &drafts {
            let path = draft.entry.path.to_vec();
            let is_dir = matches!(draft.entry.what, What::Dir);
            things.push(DiskThing {
                kind: Ok(if is_dir {
                    DiskKind::Dir
                } else {
                    DiskKind::File(10)
                }),
                mode: draft.entry.mode,
                owner: (draft.entry.uid, draft.entry.gid),
                mtime: draft.entry.mtime,
                path,
            });
        }
        for (path, byte) in [("changed", 9), ("rotten", 9), ("same", 3), ("touched", 4)] {
            files.insert(path.as_bytes().to_vec(), vec![byte; 10]);
        }
        things.retain(|thing| thing.path != b"gone");
        for thing in &mut things {
            if thing.path == b"changed" || thing.path == b"touched" {
                thing.mtime = Stamp::default();
            }
        }
        let mut extra = things[1].clone();
        extra.path = b"extra".to_vec();
        things.insert(2, extra);
        Things(things, files)
    };
    let compare = |reads_all| {
        let mut lines = Vec::new();
        let manifest = manifest(vec![set.clone()]);
        let totals = run(diff_with(
            (&source, &manifest),
            &mut things(),
            reads_all,
            |path, difference| {
                lines.push(format!(
                    "{}: {}",
                    String::from_utf8_lossy(path),
                    word(difference)
                ));
                true
            },
        ));
        totals.expect("a good index");
        lines
    };
    let quick = [
        "changed: changed contents+mtime",
        "extra: added",
        "gone: removed",
        "touched: changed mtime",
    ];
    assert_eq!(compare(false), quick);
    assert_eq!(source.fetched(Kind::Data), 2);
    let all = compare(true);
    assert!(
        all.contains(&"rotten: changed contents".to_owned()) && all.len() == 5,
        "{all:?}"
    );
}

#[test]
fn pipes_and_devices_are_known_and_below_what_cannot_be_looked_into_nothing_is_told_to_be_gone() {
    let source = MockSource::default();
    let special = |path: &str, what: What| {
        let mut draft = empty(path);
        draft.entry.what = what;
        draft
    };
    let disk = |rdev| What::Device {
        is_block: true,
        rdev,
    };
    let drafts = [
        dir(""),
        dir("closed"),
        named("closed/a", 1, &source),
        dir("closed/b"),
        named("closed/b/c", 2, &source),
        named("gone", 3, &source),
        special("other disk", disk(9)),
        special("pipe", What::Fifo),
        special("same disk", disk(7)),
    ];
    let set = set(&source, &drafts, 3);
    let of = |draft: &Draft, kind| DiskThing {
        kind,
        mode: draft.entry.mode,
        owner: (draft.entry.uid, draft.entry.gid),
        mtime: draft.entry.mtime,
        path: draft.entry.path.to_vec(),
    };
    let device = DiskKind::Device {
        is_block: true,
        rdev: 7,
    };
    let things = vec![
        of(&drafts[0], Ok(DiskKind::Dir)),
        of(&drafts[1], Err("permission denied".into())),
        of(&drafts[6], Ok(device.clone())),
        of(&drafts[7], Ok(DiskKind::Fifo)),
        of(&drafts[8], Ok(device)),
    ];
    let mut lines = Vec::new();
    let totals = run(diff_with(
        (&source, &manifest(vec![set])),
        &mut Things(things, BTreeMap::new()),
        false,
        |path, difference| {
            lines.push((path.to_vec(), word(difference)));
            true
        },
    ));
    let totals = totals.expect("a good index");
    assert_eq!((totals.removed, totals.changed, totals.unknown), (1, 1, 4));
    let paths: Vec<&[u8]> = lines.iter().map(|(path, _)| path.as_slice()).collect();
    assert_eq!(paths, [&b"closed"[..], b"gone", b"other disk"], "{lines:?}");
}
